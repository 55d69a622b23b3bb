"""Settings of the organization's own record: where its admin key is, and that no admin key is ever a project's."""

import re
import tomllib
from datetime import timedelta
from pathlib import Path

import pytest

from monitor.config import ConfigErrors, Settings, SyncSettings, admin_key_errors, load_settings, open_secrets
from monitor.domain.inventory import KeyKind
from tests.conftest import ROOT

PROJECT = '\n[[projects]]\nname = "checkout"\n[[projects.keys]]\nsecret = "env:CHECKOUT_KEY"\n'
ORGANIZATION = '[[organizations]]\nname = "acme"\nadmin_key = "env:ADMIN_KEY"\n'
ADMIN = "sk-admin-FAKE-notAKey-0000000000000000-WXYZ"


@pytest.fixture
def load(tmp_path: Path):
    def write_and_load(text: str) -> Settings:
        (tmp_path / "monitor.toml").write_text(text + PROJECT)
        return load_settings(tmp_path / "monitor.toml", {}, tmp_path)

    return write_and_load


def test_without_an_organization_none_is_read(load) -> None:
    assert load("").organizations == ()


def test_a_name_and_a_key_are_enough(load) -> None:
    [acme] = load(ORGANIZATION).organizations
    assert (acme.name, acme.id, acme.base_url, acme.personal_data) == ("acme", None, "https://api.openai.com/v1", False)
    assert acme.sync == SyncSettings()
    assert acme.sync.audit_log == timedelta(minutes=5)
    assert acme.sync.requests_per_second == 10


def test_the_example_names_every_setting_with_its_default(load) -> None:
    uncommented = re.sub(r"(?m)^#(?=[a-z_\[])", "", (ROOT / "monitor.example.toml").read_text())
    [raw] = tomllib.loads(uncommented)["organizations"]
    [written], [default] = load(uncommented.partition("\n[[projects]]")[0]).organizations, load(ORGANIZATION).organizations
    assert set(raw) == set(type(written).model_fields)
    assert set(raw["sync"]) == set(SyncSettings.model_fields)
    assert (written.sync, written.base_url, written.personal_data) == (default.sync, default.base_url, default.personal_data)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[organizations]]\nname = "acme"\n', "organizations[0].admin_key: is missing. Add admin_key"),
        (ORGANIZATION * 2, "organizations[1].name: is the name of organizations[0] as well"),
        (ORGANIZATION + "colour = 1\n", "organizations[0].colour: is not a known setting"),
        (ORGANIZATION + '[organizations.sync]\nconfiguration = "0s"\n', "organizations[0].sync.configuration: must be between"),
        (ORGANIZATION + "[organizations.sync]\nrequests_per_second = 0\n", "requests_per_second: must be at least 1"),
        (ORGANIZATION + "[organizations.sync]\nrequests_per_second = 1000\n", "requests_per_second: must be at most 100"),
        (ORGANIZATION + 'personal_data = "yes"\n', "personal_data: must be true or false"),
        (ORGANIZATION.replace("env:ADMIN_KEY", "ADMIN_KEY"), "admin_key: must say where the secret is"),
        (ORGANIZATION.replace("ADMIN_KEY", "CHECKOUT_KEY"), "projects[0].keys[0].secret (project "),
        ("organizations = 1\n", "organizations: must be a list"),
        ('organizations = ["x"]\n', "organizations[0]: must be a table"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(load, text: str, said: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        load(text)
    assert said in str(caught.value)


def test_an_admin_key_in_clear_is_refused_and_not_repeated(load) -> None:
    with pytest.raises(ConfigErrors) as caught:
        load(ORGANIZATION.replace("env:ADMIN_KEY", ADMIN))
    assert "holds a key in clear" in str(caught.value)
    assert "FAKE" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("sk-proj-FAKE-notAKey-0000000000000000-WXYZ", "is no admin key"),
        ("sk-svcacct-FAKE-notAKey-0000000000000000", "is no admin key"),
        ("changeme", "is no admin key"),
        ("sk-admin-FAKE with a space", "space inside"),
        (None, "is set neither"),
    ],
)
def test_no_other_key_is_taken_for_an_admin_key(load, tmp_path: Path, value: str | None, said: str) -> None:
    found = load(ORGANIZATION)
    secrets = open_secrets(tmp_path / "monitor.toml", {"ADMIN_KEY": value} if value else {}, tmp_path)
    [error] = admin_key_errors(found, secrets)
    assert error.key_path == "organizations[0].admin_key"
    assert said in error.message
    assert "WXYZ" not in str(error)
    assert secrets.resolve("env:ADMIN_KEY", admin=True).value is None


def test_the_same_place_gives_an_admin_key_to_the_record_alone(load, tmp_path: Path) -> None:
    secrets = open_secrets(tmp_path / "monitor.toml", {"ADMIN_KEY": f"Bearer {ADMIN}"}, tmp_path)
    assert admin_key_errors(load(ORGANIZATION), secrets) == []
    for _ in range(2):  # what was read for the one use must not be handed to the other from memory
        assert secrets.resolve("env:ADMIN_KEY", admin=True).value == ADMIN
        refused = secrets.resolve("env:ADMIN_KEY")
        assert (refused.value, refused.kind) == (None, KeyKind.ADMIN)
        assert "refused" in (refused.problem or "")
