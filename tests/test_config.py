"""Settings: what is read from where, and what every wrong file is told."""

import json
import os
import pickle
import re
import tomllib
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.config import (
    ConfigError,
    ConfigErrors,
    ConfigWatcher,
    Intervals,
    Settings,
    configured,
    find_config,
    findings,
    format_duration,
    hygiene_policy,
    inventory,
    load_settings,
    open_secrets,
    parse_duration,
    probe_plan,
    secret_errors,
)
from monitor.domain.health import HealthPolicy
from monitor.domain.hygiene import HygienePolicy
from monitor.domain.inventory import KeyKind, ProbeKind
from tests.conftest import ROOT
from tests.rights import as_somebody_else, open_folder

FAKE = "sk-proj-FAKE-notAKey-000000000000WXYZ"
ONE_PROJECT = """
[[projects]]
name = "checkout"
project_id = "proj_checkout"
[[projects.keys]]
label = "backend"
secret = "env:CHECKOUT_KEY"
"""


@pytest.fixture
def load(tmp_path: Path):
    """Write monitor.toml and load it."""

    def write_and_load(text: str | bytes, env: dict[str, str] | None = None) -> Settings:
        path = tmp_path / "monitor.toml"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return load_settings(path, env or {}, tmp_path)

    return write_and_load


@pytest.fixture
def errors(load):
    """The errors of a monitor.toml that is wrong, one line each."""

    def lines(text: str | bytes, env: dict[str, str] | None = None) -> list[str]:
        with pytest.raises(ConfigErrors) as caught:
            load(text, env)
        assert len(caught.value.errors) == len(str(caught.value).splitlines())
        return str(caught.value).splitlines()

    return lines


# What is read


def test_a_minimal_file_gets_the_documented_defaults(load) -> None:
    found = load(ONE_PROJECT)
    assert found.database_url == "sqlite:///data/monitor.db"
    assert found.intervals == Intervals(
        auth=timedelta(seconds=60),
        model_access=timedelta(minutes=5),
        inference=timedelta(minutes=15),
        control=timedelta(seconds=60),
    )
    assert (found.dashboard.address, found.dashboard.port) == ("127.0.0.1", 8501)
    assert (found.metrics.address, found.metrics.port) == ("127.0.0.1", 9464)
    assert found.poller.concurrency == 128
    assert found.poller.deadline == timedelta(seconds=15)
    assert not found.demo
    [project] = found.projects
    assert project.base_url == "https://api.openai.com/v1"
    assert project.inference == "minimal"
    assert project.keys[0].secret == "env:CHECKOUT_KEY"


def test_the_source_is_the_path_of_the_file(load, tmp_path: Path) -> None:
    assert load(ONE_PROJECT).source == str(tmp_path / "monitor.toml")


def test_a_sample_says_that_it_is_one(load) -> None:
    found = load("[monitor]\ndemo = true\n" + ONE_PROJECT)
    assert found.demo
    assert found.source == "demo"


def test_settings_do_not_change_once_read(load) -> None:
    found = load(ONE_PROJECT)
    with pytest.raises(ValueError, match="frozen"):
        found.demo = True


def test_the_example_loads() -> None:
    found = load_settings(ROOT / "monitor.example.toml", {}, ROOT)
    assert [project.name for project in found.projects] == ["prod-chatbot"]


def test_which_of_openai_s_keys_it_is_may_be_named(load) -> None:
    [key] = load(ONE_PROJECT).projects[0].keys
    assert key.key_id is None
    named = load(ONE_PROJECT + 'key_id = "key_abc"\n')
    assert named.projects[0].keys[0].key_id == "key_abc"
    assert named.redacted()["projects"][0]["keys"][0]["key_id"] == "key_abc"
    assert "key_id" not in load(ONE_PROJECT).redacted()["projects"][0]["keys"][0]  # it changes no configuration that lacks it
    with pytest.raises(ConfigErrors, match=r"keys\[0\].key_id.* is not an OpenAI id"):
        load(ONE_PROJECT + 'key_id = "key abc"\n')


def test_the_example_names_every_setting_with_its_default(load) -> None:
    text = (ROOT / "monitor.example.toml").read_text()
    uncommented = re.sub(r"(?m)^#(?=[a-z_\[])", "", text)
    raw = tomllib.loads(uncommented)
    written, default = load(uncommented), load(ONE_PROJECT)
    for field in ("database_url", "demo", "intervals", "poller", "dashboard", "metrics", "retention", "health", "slo", "hygiene"):
        assert getattr(written, field) == getattr(default, field), field
        value = raw["monitor"][field]
        if isinstance(value, dict):
            assert set(value) == set(type(getattr(default, field)).model_fields), field
    project = written.projects[0]
    assert set(raw["projects"][0]) == set(type(project).model_fields)
    assert set(raw["projects"][0]["keys"][0]) == set(type(project.keys[0]).model_fields)
    assert project.budget == default.projects[0].budget
    assert project.inference == default.projects[0].inference
    assert set(raw["projects"][0]["intervals"]) == {"auth", "model_access", "inference"}
    assert set(raw["projects"][0]["health"]) == set(type(project.health).model_fields)
    assert written.health_policy == written.health_policies()["prod-chatbot"] == HealthPolicy()


def test_the_example_of_env_sets_nothing_until_it_is_filled_in(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text((ROOT / ".env.example").read_text())
    assert not configured(None, {}, tmp_path)


def test_a_byte_order_mark_is_no_error(load) -> None:
    assert load(b"\xef\xbb\xbf" + ONE_PROJECT.encode()).projects[0].name == "checkout"


def test_a_project_may_override_intervals_one_by_one(load) -> None:
    found = load(ONE_PROJECT.replace("[[projects.keys]]", '[projects.intervals]\nauth = "5s"\n[[projects.keys]]'))
    project = found.projects[0]
    assert found.interval(project, ProbeKind.AUTH) == timedelta(seconds=5)
    assert found.interval(project, ProbeKind.MODEL_ACCESS) == timedelta(minutes=5)
    assert found.interval(project, ProbeKind.DENIED_MODEL) == found.interval(project, ProbeKind.INFERENCE) == timedelta(minutes=15)
    assert found.interval(project, ProbeKind.CONTROL) == timedelta(seconds=60)


def test_a_project_may_be_judged_in_its_own_way(load) -> None:
    own = "[projects.health]\nfail_after = 4\nfail_window = 5\n[[projects.keys]]"
    found = load("[monitor.health]\nrecover_after = 3\nflap_start = 0.6\n" + ONE_PROJECT.replace("[[projects.keys]]", own))
    assert found.health_policy == HealthPolicy(recover_after=3, flap_start=0.6)
    assert found.health_policies() == {"checkout": HealthPolicy(fail_after=4, fail_window=5, recover_after=3, flap_start=0.6)}
    assert load(ONE_PROJECT).health_policies() == {}


@pytest.mark.parametrize(
    ("own", "words"),
    [
        ("fail_after = 2", "needs both fail_after and fail_window"),
        ("fail_after = 4\nfail_window = 3", "needs fail_after ≤ fail_window"),
        ("flap_start = 0.2\nflap_stop = 0.3", "needs flap_stop < flap_start"),
    ],
)
def test_a_judgement_that_could_never_fall_is_refused(errors, own: str, words: str) -> None:
    [line] = errors(ONE_PROJECT.replace("[[projects.keys]]", f"[projects.health]\n{own}\n[[projects.keys]]"))
    assert "projects[0].health" in line
    assert words in line


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("https://api.openai.com/v1/", "https://api.openai.com/v1"),
        ("HTTPS://API.OpenAI.com/v1", "https://api.openai.com/v1"),
        ("http://127.0.0.1:8123/v1", "http://127.0.0.1:8123/v1"),
        ("http://[::1]:8123/v1", "http://[::1]:8123/v1"),
        ("https://gateway_1.internal", "https://gateway_1.internal"),
    ],
)
def test_equal_hosts_get_one_spelling(load, written: str, read: str) -> None:
    assert load(ONE_PROJECT.replace("project_id", f'base_url = "{written}"\nproject_id')).projects[0].base_url == read


# Where it is read from


def test_a_named_file_counts_before_the_environment_and_the_folder(tmp_path: Path) -> None:
    (tmp_path / "monitor.toml").touch()
    env = {"MONITOR_CONFIG": "other.toml"}
    assert find_config("/named.toml", env, tmp_path) == Path("/named.toml")
    assert find_config(None, env, tmp_path) == tmp_path / "other.toml"
    assert find_config(None, {}, tmp_path) == tmp_path / "monitor.toml"


def test_a_home_that_is_unknown_leaves_a_path_that_does_not_exist(tmp_path: Path) -> None:
    assert find_config("~nobody-of-that-name/monitor.toml", {}, tmp_path) == tmp_path / "~nobody-of-that-name/monitor.toml"


def test_nothing_is_configured_in_an_empty_folder(tmp_path: Path) -> None:
    assert find_config(None, {}, tmp_path) is None
    assert not configured(None, {}, tmp_path)
    assert not configured(None, {"OPENAI_API_KEY": ""}, tmp_path)


def test_a_link_to_nowhere_is_an_error_and_not_the_demo(tmp_path: Path) -> None:
    (tmp_path / "monitor.toml").symlink_to("gone.toml")
    assert configured(None, {}, tmp_path)
    with pytest.raises(ConfigErrors, match="does not exist"):
        load_settings(find_config(None, {}, tmp_path), {}, tmp_path)


def test_the_config_may_be_named_in_dotenv(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("MONITOR_CONFIG=conf/watch.toml\n")
    assert find_config(None, {}, tmp_path) == tmp_path / "conf/watch.toml"


def test_two_variables_make_one_project(tmp_path: Path) -> None:
    env = {
        "OPENAI_API_KEY": FAKE,
        "OPENAI_PROJECT_ID": "proj_a",
        "OPENAI_ORG_ID": "org-a",
        "OPENAI_BASE_URL": "http://127.0.0.1:9/v1/",
    }
    assert configured(None, env, tmp_path)
    found = load_settings(None, env, tmp_path)
    [project] = found.projects
    assert found.source == "environment"
    assert (project.name, project.project_id, project.organization) == ("default", "proj_a", "org-a")
    assert project.base_url == "http://127.0.0.1:9/v1"
    assert project.models == ()
    assert open_secrets(None, env, tmp_path).resolve(project.keys[0].secret).value == FAKE


def test_two_variables_in_dotenv_make_one_project(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"OPENAI_API_KEY={FAKE}   # of the shop\nOPENAI_PROJECT_ID='proj_a'\n")
    assert configured(None, {}, tmp_path)
    assert load_settings(None, {}, tmp_path).projects[0].project_id == "proj_a"


def test_errors_of_the_environment_name_the_variable(tmp_path: Path) -> None:
    env = {"OPENAI_API_KEY": FAKE, "OPENAI_BASE_URL": "api.openai.com", "MONITOR_DATABASE_URL": "mysql://u:hunter2@h/db"}
    with pytest.raises(ConfigErrors) as caught:
        load_settings(None, env, tmp_path)
    assert [error.key_path for error in caught.value.errors] == ["MONITOR_DATABASE_URL", "OPENAI_BASE_URL"]
    assert "hunter2" not in str(caught.value)


def test_a_project_id_without_a_key_is_a_project_whose_secret_is_missing(tmp_path: Path) -> None:
    env = {"OPENAI_PROJECT_ID": "proj_a"}
    assert configured(None, env, tmp_path)
    found = load_settings(None, env, tmp_path)
    [error] = secret_errors(found, open_secrets(None, env, tmp_path))
    assert "OPENAI_API_KEY is set neither" in str(error)


def test_nothing_at_all_says_how_to_begin(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors, match=r"monitor\.example\.toml"):
        load_settings(None, {}, tmp_path)


def test_the_database_of_the_environment_counts_before_dotenv_and_file(load, tmp_path: Path) -> None:
    text = '[monitor]\ndatabase_url = "sqlite:///file.db"\n' + ONE_PROJECT
    assert load(text).database_url == "sqlite:///file.db"
    (tmp_path / ".env").write_text("MONITOR_DATABASE_URL=sqlite:///dotenv.db\n")
    assert load(text).database_url == "sqlite:///dotenv.db"
    assert load(text, {"MONITOR_DATABASE_URL": "sqlite:///env.db"}).database_url == "sqlite:///env.db"
    assert load(text, {"MONITOR_DATABASE_URL": ""}).database_url == "sqlite:///dotenv.db"


def test_a_sample_never_goes_into_the_database_of_the_real_projects(load) -> None:
    text = '[monitor]\ndemo = true\ndatabase_url = "sqlite:///sample.db"\n' + ONE_PROJECT
    assert load(text, {"MONITOR_DATABASE_URL": "sqlite:///real.db"}).database_url == "sqlite:///sample.db"


def test_the_dotenv_beside_the_file_counts_before_the_one_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    path = tmp_path / "conf" / "monitor.toml"
    path.write_text(ONE_PROJECT)
    (tmp_path / ".env").write_text("CHECKOUT_KEY=from-the-folder\n")
    assert open_secrets(path, {}, tmp_path).resolve("env:CHECKOUT_KEY").value == "from-the-folder"
    (tmp_path / "conf" / ".env").write_text("CHECKOUT_KEY=from-beside\n")
    assert open_secrets(path, {}, tmp_path).resolve("env:CHECKOUT_KEY").value == "from-beside"


# Errors


def test_every_error_is_listed_at_once_with_its_place(errors) -> None:
    lines = errors("""
databse_url = "sqlite:///x.db"
[monitor]
intervls = 1
[monitor.intervals]
auth = 60
inference = "soon"
[monitor.dashboard]
port = "8501"
[[projects]]
name = "Check Out"
models = ["gpt-4o", "gpt-4o", 5]
inference = "sometimes"
keys = []
[[projects]]
name = "search"
api_key = "env:X"
base_url = "ftp://example.com"
[[projects.keys]]
secret = "vault:kv/search"
[[projects.keys]]
secret = "env:1 2"
[[projects]]
name = "search"
""")
    assert [line.split(": ")[1].partition(" ")[0] for line in lines] == [
        "databse_url",
        "monitor.dashboard.port",
        "monitor.intervals.auth",
        "monitor.intervals.inference",
        "monitor.intervls",
        "projects[0].inference",
        "projects[0].keys",
        "projects[0].models[1]",
        "projects[0].models[2]",
        "projects[0].name",
        "projects[1].api_key",
        "projects[1].base_url",
        "projects[1].keys[0].secret",
        "projects[1].keys[1].label",
        "projects[1].keys[1].secret",
        "projects[2].keys",
        "projects[2].name",
    ]
    text = "\n".join(lines)
    assert 'Did you mean "database_url" in [monitor]?' in text
    assert 'Did you mean "intervals"?' in text
    assert '(project "search")' in text
    assert "is the name of projects[1] as well" in text


@pytest.mark.parametrize(
    ("unknown", "advice"),
    [
        ('api_key = "env:X"', 'Did you mean "keys"|Did you mean "secret" in'),
        ('organisation = "org-a"', 'Did you mean "organization"?'),
        ('org = "org-a"', 'Did you mean "organization"?'),
        ('Models = ["gpt-4o"]', 'Did you mean "models"?'),
        ('url = "https://x/v1"', 'Did you mean "base_url"?'),
        ("port = 1", 'Did you mean "port" in [monitor.dashboard]?'),
        ("zzzz = 1", "Known here: name, project_id"),
    ],
)
def test_an_unknown_key_is_told_what_was_probably_meant(errors, unknown: str, advice: str) -> None:
    [line] = errors(ONE_PROJECT.replace("project_id", f"{unknown}\nproject_id"))
    assert any(part in line for part in advice.split("|")), line


@pytest.mark.parametrize(
    "text",
    ["0s", "-5s", "", "5", "5 minutes", "1y", "s", "1e3s", "½h", "١s", "5m-", "99999999999d", "999999999w", "1h" * 50, "0h0m"],
)
def test_a_length_of_time_that_is_none_is_refused(errors, text: str) -> None:
    [line] = errors(f'[monitor.intervals]\nauth = "{text}"\n{ONE_PROJECT}')
    assert "monitor.intervals.auth" in line


@pytest.mark.parametrize("value", ["60", "60.0", "true", "1979-05-27", "[]", "{}", "inf", "nan"])
def test_a_length_of_time_needs_its_unit(errors, value: str) -> None:
    [line] = errors(f"[monitor.intervals]\nauth = {value}\n{ONE_PROJECT}")
    assert "in quotes" in line
    assert '"60s"' in line


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("60s", 60),
        ("5m", 300),
        ("1h30m", 5400),
        ("1h 30m", 5400),
        ("7d", 604800),
        ("250ms", 0.25),
        ("1.5h", 5400),
        (" 2w ", 1209600),
    ],
)
def test_lengths_of_time_are_read_as_people_write_them(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@given(st.integers(min_value=1, max_value=10**12))
def test_a_formatted_length_of_time_reads_back_as_itself(ms: int) -> None:
    assert parse_duration(format_duration(timedelta(milliseconds=ms))) == timedelta(milliseconds=ms)


@pytest.mark.parametrize(
    "url",
    [
        "api.openai.com/v1", "ftp://x/v1", "https://", "https:///v1", "https://user:hunter2@x/v1", "https://x:99999/v1",
        "https://x:0/v1", "https://[::1/v1", "https://x/v1?key=hunter2", "https://x/v1#a", "https://x y/v1", "https://exämple/v1",
        "https://x/\\u0000", "javascript:alert(1)", "", "https://x:hunter2/v1",
    ],
)  # fmt: skip
def test_a_base_url_that_cannot_work_is_refused_and_not_repeated(errors, url: str) -> None:
    [line] = errors(ONE_PROJECT.replace("project_id", f'base_url = "{url}"\nproject_id'))
    assert 'projects[0].base_url (project "checkout")' in line
    assert "hunter2" not in line


@pytest.mark.parametrize("name", ["", "Checkout", "-a", "a b", "a/b", "ü", "x" * 64, "../etc", "a\\n"])
def test_a_project_name_that_is_no_slug_is_refused(errors, name: str) -> None:
    [line] = errors(ONE_PROJECT.replace('"checkout"', f'"{name}"'))
    assert "projects[0].name" in line


@pytest.mark.parametrize("model", ["", "../files", "a/../../b", "gpt 4", "gpt-4o\\n", "x" * 201, "-x", "gpt?x"])
def test_a_model_that_would_change_the_path_of_the_request_is_refused(errors, model: str) -> None:
    [line] = errors(ONE_PROJECT.replace("project_id", f'models = ["{model}"]\nproject_id'))
    assert "projects[0].models[0]" in line


@pytest.mark.parametrize(
    "model", ["gpt-4o", "ft:gpt-4o-mini-2024-07-18:acme::abc123", "openai/gpt-4o", "o3.5", "text-embedding-3-small"]
)
def test_models_are_named_as_the_api_names_them(load, model: str) -> None:
    assert load(ONE_PROJECT.replace("project_id", f'models = ["{model}"]\nproject_id')).projects[0].models == (model,)


def test_a_model_cannot_be_required_and_denied(errors) -> None:
    [line] = errors(ONE_PROJECT.replace("project_id", 'models = ["a"]\ndenied_models = ["a"]\nproject_id'))
    assert "denied_models[0]" in line
    assert "required" in line


@pytest.mark.parametrize("field", ["owner", "environment"])
@pytest.mark.parametrize("value", ["", "  ", "a\\nb", "x" * 201, "a\\u202eb", "a\\u0000b"])
def test_words_that_no_page_can_show_are_refused(errors, field: str, value: str) -> None:
    [line] = errors(ONE_PROJECT.replace("project_id", f'{field} = "{value}"\nproject_id'))
    assert f"projects[0].{field}" in line


@pytest.mark.parametrize("ref", ["", "env:", "file:", "env:A-B", "env:1A", "ENV:A", "vault:a", "file:a\\u0000b", "CHECKOUT_KEY"])
def test_a_secret_that_says_not_where_it_is_is_refused(errors, ref: str) -> None:
    [line] = errors(ONE_PROJECT.replace("env:CHECKOUT_KEY", ref))
    assert 'projects[0].keys[0].secret (project "checkout")' in line
    assert "env:" in line or "file:" in line


@pytest.mark.parametrize("field", ["project_id", "organization"])
@pytest.mark.parametrize("value", ["", "proj a", "proj_ä", "a\\r\\nX-Evil: 1"])
def test_an_id_that_no_header_should_hold_is_refused(errors, field: str, value: str) -> None:
    text = ONE_PROJECT.replace('project_id = "proj_checkout"', f'{field} = "{value}"')
    [line] = errors(text)
    assert f"projects[0].{field}" in line


@pytest.mark.parametrize(
    "url",
    [
        "",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "mysql://u:hunter2@h/d",
        "postgres://u:hunter2@h/d",
        "data/monitor.db",
        "sqlite:///a\\nb",
    ],
)
def test_a_database_that_cannot_serve_is_refused_without_its_password(errors, url: str) -> None:
    [line] = errors(f'[monitor]\ndatabase_url = "{url}"\n{ONE_PROJECT}')
    assert "monitor.database_url" in line
    assert "hunter2" not in line


@pytest.mark.parametrize(
    ("table", "place"),
    [
        ("[monitor.poller]\nconcurrency = 0", "monitor.poller.concurrency"),
        ("[monitor.poller]\nconcurrency = true", "monitor.poller.concurrency"),
        ("[monitor.poller]\nconcurrency = 1.0", "monitor.poller.concurrency"),
        ('[monitor.poller]\ndeadline = "1s"', "monitor.poller"),
        ("[monitor.poller]\nmax_body = 10", "monitor.poller.max_body"),
        ("[monitor.metrics]\nport = 70000", "monitor.metrics.port"),
        ("[monitor.metrics]\nport = -1", "monitor.metrics.port"),
        ("[monitor.metrics]\nport = 8501", "monitor"),
        ('[monitor.metrics]\naddress = "a b"', "monitor.metrics.address"),
        ('[monitor.retention]\nfailures = "1d"', "monitor.retention"),
        ('[monitor.retention]\nhours = "1d"', "monitor.retention"),
        ('[monitor.retention]\nobservations = "1s"', "monitor.retention.observations"),
        ("[monitor.health]\nfail_after = 22", "monitor.health.fail_after"),
        ("[monitor.health]\nfail_after = 4", "monitor.health"),
        ("[monitor.health]\nflap_start = 0.25", "monitor.health"),
        ("[monitor]\ndemo = 1", "monitor.demo"),
        ('[monitor]\nsource = "x"', "monitor.source"),
        ("monitor = 5", "monitor"),
    ],
)
def test_limits_out_of_range_are_refused(errors, table: str, place: str) -> None:
    [line] = errors(f"{table}\n{ONE_PROJECT}")
    assert line.startswith(f"monitor.toml: {place}: "), line


# Secrets in the wrong place


@pytest.mark.parametrize(
    "text",
    [
        ONE_PROJECT.replace("env:CHECKOUT_KEY", FAKE),
        ONE_PROJECT.replace("env:CHECKOUT_KEY", f"Bearer {FAKE}"),
        ONE_PROJECT.replace("env:CHECKOUT_KEY", f"env:{FAKE}"),
        ONE_PROJECT.replace("project_id", f'owner = "{FAKE}"\nproject_id'),
        ONE_PROJECT.replace("project_id", f'api_key = "{FAKE}"\nproject_id'),
        ONE_PROJECT.replace('"checkout"', f'"{FAKE}"'),
        ONE_PROJECT.replace("project_id", f'"{FAKE}" = 1\nproject_id'),
        ONE_PROJECT.replace("project_id", f'tags = [["{FAKE}"]]\nproject_id'),
        ONE_PROJECT.replace("project_id", f'base_url = "https://{FAKE}@host/v1"\nproject_id'),
        ONE_PROJECT.replace("project_id", f"{FAKE}\nproject_id"),
        ONE_PROJECT.replace("project_id", f'x = "{FAKE}\nproject_id'),
        ONE_PROJECT.replace("env:CHECKOUT_KEY", "hunter2-is-my-gateway-password"),
        f"{FAKE} = 1\n{FAKE} = 2\n",
    ],
)  # fmt: skip
def test_a_secret_pasted_into_the_file_is_refused_and_never_repeated(errors, text: str) -> None:
    shown = "\n".join(errors(text))
    assert FAKE not in shown
    assert "notAKey" not in shown
    assert "hunter2" not in shown


def test_a_key_in_clear_is_told_where_it_belongs(errors) -> None:
    [line] = errors(ONE_PROJECT.replace("env:CHECKOUT_KEY", FAKE))
    assert "in clear" in line
    assert "env:NAME" in line
    assert "rotate" in line


# Files that are not what they should be


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"# nothing\n", "is empty"),
        (b"[monitor]\n", "names nothing to watch"),
        (b"projects = []\n", "names nothing to watch"),
        (b"[[project]]\nname = 'a'\n", 'Did you mean "projects"'),
        (b"[projects]\nname = 'a'\n", "must be a list"),
        (b"projects = 5\n", "must be a list"),
        (b"projects = [5]\n", "must be a table"),
        (b"[[projects]\n", "line 1"),
        (b"\n\nname = \n", "line 3"),
        (b"a = 1\na = 2\n", "line 2"),
        (b"\xff\xfea\x00=\x001\x00", "UTF-16"),
        (b"name = '\xe9t\xe9'", "is not UTF-8 text (byte 9)"),
        (b"a = 1\nb\x00 = 2", "NUL byte in line 2"),
        (b"a = " + b"[" * 20_000, "TOML"),
        (b"a = 2024-02-31T00:00:00Z", "TOML"),
        (b"a." * 5_000 + b"a = 1", ""),
    ],
)
def test_a_broken_file_is_named_with_what_is_wrong(errors, content: bytes, words: str) -> None:
    shown = "\n".join(errors(content))
    assert shown.startswith("monitor.toml: ")
    assert words in shown


def test_a_file_that_is_all_errors_is_answered_in_a_bounded_list(errors) -> None:
    lines = errors("[[projects]]\n" * 3000)
    assert len(lines) == 1001
    assert lines[0] == "monitor.toml: has 5,000 more errors. Mend those that are listed first."


def test_a_huge_file_is_not_read(errors) -> None:
    [line] = errors(b"#" * (50 * 1024 * 1024))
    assert "larger than 4,194,304 bytes" in line


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors, match=r"gone\.toml: does not exist\. Copy monitor\.example\.toml"):
        load_settings(tmp_path / "gone.toml", {}, tmp_path)


@pytest.mark.parametrize("make", ["folder", "pipe", "loop", "device", "nul"])
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, make: str) -> None:
    path = tmp_path / "monitor.toml"
    match make:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "loop":
            path.symlink_to(path)
        case "device":
            path.symlink_to("/dev/zero")
        case "nul":
            path = tmp_path / "monitor\0.toml"
    with pytest.raises(ConfigErrors):
        load_settings(path, {}, tmp_path)


def test_a_file_of_somebody_else_says_so() -> None:
    with open_folder() as folder:
        path = folder / "monitor.toml"
        path.write_text(ONE_PROJECT)
        path.chmod(0)
        with as_somebody_else(), pytest.raises(ConfigErrors, match="permission denied"):
            load_settings(path, {}, folder)


_scalars = st.one_of(
    st.text(max_size=20), st.integers(), st.booleans(), st.floats(allow_nan=False), st.sampled_from([FAKE, "env:A", "5m"])
)
_known = st.sampled_from(
    [
        "monitor",
        "projects",
        "keys",
        "name",
        "label",
        "secret",
        "models",
        "intervals",
        "auth",
        "budget",
        "base_url",
        "port",
        "tags",
        "demo",
    ]
)
_trees = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_known | st.text(max_size=8), inner, max_size=4),
    max_leaves=25,
)


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(c):08x}" if not "\ud800" <= c <= "\udfff" else "?" for c in value) + '"'
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(key)} = {_toml(item)}" for key, item in value.items()) + "}"
    return repr(value)


def _loads_or_says_why(path: Path | None, env: dict[str, str], cwd: Path) -> None:
    """The one promise: settings with something to watch, or errors of one line each that repeat no key."""
    errors: tuple[ConfigError, ...] = ()
    try:
        assert load_settings(path, env, cwd).projects
    except ConfigErrors as found:
        errors = found.errors or pytest.fail("errors without an error")
    text = "\n".join(str(error) for error in errors)
    assert "notAKey" not in text
    assert len(text.splitlines()) == len(errors)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(_known | st.text(max_size=8), _trees, max_size=4))
def test_any_toml_gives_settings_or_errors(tmp_path: Path, tree: dict[str, object]) -> None:
    path = tmp_path / "monitor.toml"
    path.write_text("\n".join(f"{_toml(key)} = {_toml(value)}" for key, value in tree.items()))
    _loads_or_says_why(path, {}, tmp_path)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_give_settings_or_errors(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "monitor.toml"
    path.write_bytes(content)
    _loads_or_says_why(path, {}, tmp_path)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.sampled_from(["OPENAI_API_KEY", "OPENAI_PROJECT_ID", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "MONITOR_DATABASE_URL"]),
        st.text(),
    )
)
def test_any_environment_gives_settings_or_errors(tmp_path: Path, env: dict[str, str]) -> None:
    _loads_or_says_why(None, env, tmp_path)


# Noticing changes


def test_the_watcher_notices_each_way_a_file_changes(tmp_path: Path) -> None:
    path = tmp_path / "monitor.toml"
    watcher = ConfigWatcher(path, tmp_path)
    assert not watcher.changed()
    path.write_text(ONE_PROJECT)
    assert watcher.changed()
    assert not watcher.changed()
    replacement = tmp_path / "new"
    replacement.write_text(ONE_PROJECT)
    replacement.replace(path)
    assert watcher.changed()
    (tmp_path / ".env").write_text("A=1\n")
    assert watcher.changed()
    path.unlink()
    assert watcher.changed()
    assert not watcher.changed()


def test_without_a_file_the_watcher_waits_for_one(tmp_path: Path) -> None:
    watcher = ConfigWatcher(None, tmp_path)
    (tmp_path / "monitor.toml").write_text(ONE_PROJECT)
    assert watcher.changed()


# What it amounts to


TWO_PROJECTS = """
[[projects]]
name = "checkout"
models = ["gpt-4o", "gpt-4o-mini"]
denied_models = ["gpt-4-32k"]
[[projects.keys]]
label = "backend"
secret = "env:BACKEND"
[[projects.keys]]
label = "worker"
secret = "env:WORKER"
[[projects]]
name = "search"
base_url = "https://eu.api.openai.com/v1"
models = ["gpt-4o"]
denied_models = ["gpt-4-32k"]
inference = "off"
[[projects.keys]]
secret = "env:SEARCH"
"""
KEYS = {
    "BACKEND": "sk-proj-FAKE-backend-0000000000-abcd",
    "WORKER": "sk-FAKE000000000000000000000000wxyz",
    "SEARCH": "sk-admin-FAKE-0000000000000000-zzzz",
}


def test_the_inventory_holds_every_check_and_no_secret(load, tmp_path: Path) -> None:
    found = load(TWO_PROJECTS)
    made = inventory(found, open_secrets(tmp_path / "monitor.toml", KEYS, tmp_path), b"salt")
    assert [str(check.target) for check in made.checks] == [
        "https://api.openai.com/v1/control",
        "https://eu.api.openai.com/v1/control",
        "checkout/backend/auth",
        "checkout/backend/model_access/gpt-4o",
        "checkout/backend/model_access/gpt-4o-mini",
        "checkout/worker/auth",
        "checkout/worker/model_access/gpt-4o",
        "checkout/worker/model_access/gpt-4o-mini",
        "checkout/backend/inference/gpt-4o",
        "checkout/backend/inference/gpt-4o-mini",
        "checkout/backend/denied_model/gpt-4-32k",
        "search/default/auth",
        "search/default/model_access/gpt-4o",
    ]
    assert len({check.target for check in made.checks}) == len(made.checks)
    backend, worker, search = [key for project in made.projects for key in project.keys]
    assert backend.kind is KeyKind.PROJECT_USER
    assert backend.fingerprint is not None
    assert backend.fingerprint.endswith("…abcd")
    assert worker.kind is KeyKind.USER_LEGACY
    assert (search.kind, search.fingerprint) == (KeyKind.ADMIN, None)
    assert "admin key" in (search.problem or "")
    for secret in KEYS.values():
        assert secret[:-4] not in repr(made)


def test_a_missing_secret_concerns_its_key_alone(load, tmp_path: Path) -> None:
    found = load(TWO_PROJECTS)
    secrets = open_secrets(tmp_path / "monitor.toml", {"BACKEND": KEYS["BACKEND"], "SEARCH": "sk-proj-FAKE"}, tmp_path)
    [error] = secret_errors(found, secrets)
    assert str(error).startswith('monitor.toml: projects[0].keys[1].secret (project "checkout"): env:WORKER: WORKER is set neither')
    keys = {key.label: key for key in inventory(found, secrets, b"").projects[0].keys}
    assert keys["worker"].problem
    assert keys["backend"].problem is None


def test_what_works_but_deserves_a_look_is_found(load, tmp_path: Path) -> None:
    text = TWO_PROJECTS.replace("https://eu.api.openai.com/v1", "http://gateway.internal").replace(
        '"search"', '"search"\nproject_id = "search"'
    )
    found = load('[monitor.dashboard]\naddress = "0.0.0.0"\n' + text)
    secrets = open_secrets(tmp_path / "monitor.toml", {**KEYS, "BACKEND": " 'sk-None-FAKE-0000000000000000-abcd'"}, tmp_path)
    codes = [(finding.code, finding.project, finding.key) for finding in findings(found, secrets)]
    assert codes == [
        ("open_address", None, None),
        ("no_project_id", "checkout", None),
        ("key_unscoped", "checkout", "backend"),
        ("secret_odd", "checkout", "backend"),
        ("secret_odd", "checkout", "backend"),
        ("key_legacy", "checkout", "worker"),
        ("odd_project_id", "search", None),
        ("plain_http", "search", None),
        ("base_url_without_v1", "search", None),
        ("denied_unchecked", "search", None),
    ]


def test_the_plan_counts_what_a_month_of_probing_asks(load) -> None:
    rows = {(row.project, row.probe): (row.requests_per_month, row.tokens_per_month) for row in probe_plan(load(TWO_PROJECTS))}
    assert rows == {
        (None, ProbeKind.CONTROL): (2 * 43_200, 0),
        ("checkout", ProbeKind.AUTH): (2 * 43_200, 0),
        ("checkout", ProbeKind.MODEL_ACCESS): (4 * 8_640, 0),
        ("checkout", ProbeKind.INFERENCE): (2 * 2_880, 2 * 2_880 * 25),
        ("checkout", ProbeKind.DENIED_MODEL): (2_880, 0),
        ("search", ProbeKind.AUTH): (43_200, 0),
        ("search", ProbeKind.MODEL_ACCESS): (8_640, 0),
    }


@pytest.mark.parametrize("budget", ["requests_per_day = 24", "tokens_per_day = 600", "requests_per_day = 0", "tokens_per_day = 0"])
def test_the_plan_never_exceeds_the_budget(load, tmp_path: Path, budget: str) -> None:
    found = load(ONE_PROJECT.replace("[[projects.keys]]", f'models = ["a"]\n[projects.budget]\n{budget}\n[[projects.keys]]'))
    [row] = [row for row in probe_plan(found) if row.probe is ProbeKind.INFERENCE]
    assert row.requests_per_month == (0 if budget.endswith(" 0") else 720)
    secrets = open_secrets(tmp_path / "monitor.toml", {"CHECKOUT_KEY": FAKE}, tmp_path)
    assert "budget_below_plan" in [finding.code for finding in findings(found, secrets)]


def test_the_plan_of_calls_without_tokens_has_none(load) -> None:
    found = load(ONE_PROJECT.replace("project_id", 'models = ["a"]\ninference = "zero_token"\nproject_id'))
    [row] = [row for row in probe_plan(found) if row.probe is ProbeKind.INFERENCE]
    assert (row.requests_per_month, row.tokens_per_month) == (2_880, 0)


def test_the_effective_config_shows_no_password(load) -> None:
    for url in (
        "postgresql+psycopg://monitor:hunter2@db/monitor",
        "postgresql+psycopg://monitor:hun/ter2@hunter2@db/monitor",
        "postgresql://db/monitor?user=u&password=hunter2&sslmode=require",
    ):
        found = load(f'[monitor]\ndatabase_url = "{url}"\n{ONE_PROJECT}')
        shown = str(found.redacted())
        assert "hunter2" not in shown
        assert "hunter2" not in repr(found)
        assert "db/monitor" in shown


def test_the_effective_config_is_plain_json(load) -> None:
    import json

    shown = json.loads(json.dumps(load(TWO_PROJECTS).redacted()))
    assert shown["intervals"] == {"control": "1m", "auth": "1m", "model_access": "5m", "inference": "15m"}
    assert shown["projects"][0]["keys"][0] == {"label": "backend", "secret": "env:BACKEND"}


def test_errors_can_be_carried_to_another_process(load) -> None:
    with pytest.raises(ConfigErrors) as caught:
        load("")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_two_thousand_projects_load_in_reasonable_time(load) -> None:
    keys = '\n[[projects.keys]]\nsecret = "env:K"\n'
    text = "".join(
        f'[[projects]]\nname = "p{n}"\nproject_id = "proj_{n}"\nmodels = ["a", "b", "c", "d", "e"]{keys}' for n in range(2000)
    )
    assert len(load(text).projects) == 2000


def test_the_policy_of_hygiene_is_read_and_its_mistakes_are_told(load) -> None:
    text = '[monitor.hygiene]\nmax_age = "90d"\nproduction = ["live"]\ntry_binding = false\n' + ONE_PROJECT
    policy = load(text).hygiene.policy
    assert (policy.max_age, policy.production, policy.try_binding) == (timedelta(days=90), ("live",), False)
    assert policy.expiry_notice == HygienePolicy().expiry_notice
    for line, said in (
        ('max_age = "10s"', "monitor.hygiene.max_age: must be between 1h and 3650d"),
        ('unused_after = "91d"', "monitor.hygiene.unused_after: must be between 1d and 90d"),
        ("production = [1]", "monitor.hygiene.production[0]"),
        ("try_binding = 1", "monitor.hygiene.try_binding: must be true or false"),
        ("colour = 1", "monitor.hygiene.colour: is not a known setting"),
    ):
        with pytest.raises(ConfigErrors, match=re.escape(said)):
            load(f"[monitor.hygiene]\n{line}\n" + ONE_PROJECT)


def test_the_policy_comes_back_from_what_was_stored_of_it(load) -> None:
    stored = load('[monitor.hygiene]\nmax_age = "90d"\n' + ONE_PROJECT).redacted()["hygiene"]
    assert hygiene_policy(json.loads(json.dumps(stored))).max_age == timedelta(days=90)
    for odd in (None, [], {"max_age": 5}, {"colour": 1}):
        assert hygiene_policy(odd) == HygienePolicy()
