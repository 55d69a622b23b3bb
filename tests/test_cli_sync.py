"""`monitor sync` and the admin key in `doctor`, as people and scripts meet them."""

import re
from pathlib import Path

import pytest

from monitor.sync_words import under_way
from tests.test_cli import api, break_it, house, lines, monitor

__all__ = ["api", "house"]

ADMIN = "sk-admin-EMULATED-not-a-key-0000"


@pytest.fixture
def organized(house: Path, api: str) -> Path:
    """The same folder, with an organization."""
    config = house / "monitor.toml"
    more = f'\n[[organizations]]\nname = "acme"\nadmin_key = "env:ADMIN"\nbase_url = "{api}"\n'
    more += "[organizations.sync]\nrequests_per_second = 100\n"  # the pace is not what is tested here
    config.write_text(config.read_text() + more)
    with (house / ".env").open("a") as file:
        file.write(f"ADMIN={ADMIN}\n")
    break_it(api, "heal_administration")
    return house


def test_without_an_organization_it_says_what_would_be_gained_and_how(house: Path) -> None:
    done = monitor("sync", cwd=house)
    assert done.returncode == 2
    for words in ("read-only admin key", "[[organizations]]", "api.management.read", "nothing is ever changed"):
        assert words in done.stderr


def test_it_reads_everything_once_and_says_what(organized: Path) -> None:
    done = monitor("sync", cwd=organized)
    assert (done.returncode, done.stderr) == (0, "")
    assert "acme: 1 projects read" in done.stdout
    assert "model permissions" in done.stdout
    assert "  Everything is at most " in done.stdout
    [line] = lines(monitor("sync", "--json", "--organization", "acme", cwd=organized))
    assert (line["organization"], line["projects"], line["refused"], line["not_read"]) == ("acme", 1, None, [])
    assert line["read"]["api_key"] == 1
    assert (line["parts_left"], line["own_admin_key_problem"]) == (0, None)
    assert re.fullmatch(r"\d{4}-.*Z", line["oldest_read_at"])
    assert ADMIN not in done.stdout + repr(line)
    status = lines(monitor("status", "--json", cwd=organized))
    assert re.fullmatch(r"\d{4}-.*Z", status[0]["synced"]["acme"])


@pytest.mark.parametrize(
    ("done", "elapsed", "said"),
    [
        (0, 0.0, "0 of 16,000 parts of its projects"),
        (20, 2.0, "20 of 16,000 parts of its projects"),
        (600, 60.0, "600 of 16,000 parts of its projects; about 25 min 40 s to go"),
        (16_000, 1600.0, "16,000 of 16,000 parts of its projects"),
    ],
)
def test_how_far_it_is_and_how_long_it_takes_still(done: int, elapsed: float, said: str) -> None:
    assert under_way("acme", done, 16_000, elapsed) == f"Reading acme: {said}"


def test_what_changed_since_the_last_time_is_told(organized: Path, api: str) -> None:
    monitor("sync", cwd=organized)
    break_it(api, "hosted_tool", project="proj_emulated", tool="mcp", enabled=False)
    done = monitor("sync", cwd=organized)
    break_it(api, "hosted_tool", project="proj_emulated", tool="mcp", enabled=True)
    assert "emulated: MCP, a tool that OpenAI hosts, is no longer allowed." in done.stdout


def test_what_cannot_be_read_is_named_with_its_reason(organized: Path, api: str) -> None:
    break_it(api, "administration_trouble", kind="forbidden", endpoint="rate_limits")
    done = monitor("sync", cwd=organized)
    break_it(api, "heal_administration")
    assert done.returncode == 3
    assert re.search(r"not read: rate limits of proj_emulated: .*HTTP 403", done.stdout)


def test_an_unknown_organization_is_named(organized: Path) -> None:
    done = monitor("sync", "--organization", "other", cwd=organized)
    assert done.returncode == 2
    assert "No such organization: other. Configured are acme." in done.stderr


@pytest.mark.parametrize(
    ("key", "said"),
    [("sk-admin-WRONG-not-a-key-0000", "the admin key is refused (HTTP 401)"), ("sk-proj-WRONG-not-a-key-0000", "is no admin key")],
)
def test_a_key_that_opens_nothing_is_one_line_and_doctor_says_it_too(organized: Path, key: str, said: str) -> None:
    done = monitor("sync", cwd=organized, ADMIN=key)
    assert done.returncode == 3
    assert said in done.stdout
    assert len(done.stdout.splitlines()) == 1
    shown = monitor("doctor", cwd=organized, ADMIN=key)
    assert said in shown.stdout
    assert shown.returncode == 2
    assert "not-a-key" not in done.stdout + shown.stdout


def test_doctor_says_that_the_admin_key_works_and_when_it_expires(organized: Path, api: str) -> None:
    shown = monitor("doctor", cwd=organized).stdout
    assert re.search(r"admin key of acme.*opens the record", shown)
    soon = "sk-admin-EMULATED-not-a-key-soon"
    break_it(api, "add_admin_key", organization="org-emulated", secret=soon, name="soon", expires_at=4_102_444_800)
    assert "it expires on 2100-01-01" in monitor("doctor", cwd=organized, ADMIN=soon).stdout
