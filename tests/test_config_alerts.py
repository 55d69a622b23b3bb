"""Settings of who is told: channels, routes, maintenance."""

import re
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from time import process_time

import pytest

from monitor.config import ConfigErrors, Settings, alerts, findings, load_settings, open_secrets
from monitor.config.settings import ChannelSettings, MaintenanceSettings, RouteSettings
from monitor.domain.alerting import Person, Route
from monitor.domain.incidents import Severity
from monitor.domain.taxonomy import Lane
from tests.conftest import ROOT

PROJECT = """
[[projects]]
name = "checkout"
owner = "team-shop"
environment = "production"
[[projects.keys]]
label = "backend"
secret = "env:CHECKOUT_KEY"
"""
CHANNEL = '[[channels]]\nname = "chat"\nurl = "env:CHAT_URL"\n'
WINDOW = '[[maintenance]]\nname = "works"\nstarts = 2026-12-01T22:00:00+01:00\nuntil = 2026-12-02T02:00:00+01:00\n'


@pytest.fixture
def load(tmp_path: Path):
    def write_and_load(text: str) -> Settings:
        (tmp_path / "monitor.toml").write_text(text + PROJECT)
        return load_settings(tmp_path / "monitor.toml", {}, tmp_path)

    return write_and_load


@pytest.fixture
def errors(load):
    def lines(text: str) -> list[str]:
        with pytest.raises(ConfigErrors) as caught:
            load(text)
        return str(caught.value).splitlines()

    return lines


def test_without_channels_nobody_is_told(load) -> None:
    found = load("")
    assert (found.channels, found.routes, found.maintenance) == ((), (), ())
    assert alerts.routes(found) == ()
    assert found.dead_man_url is None
    assert found.dashboard_url is None


def test_without_routes_every_channel_is_told_what_is_worth_a_warning(load) -> None:
    found = load(CHANNEL + CHANNEL.replace("chat", "mail"))
    assert alerts.routes(found) == (Route(channel="chat"), Route(channel="mail"))
    assert alerts.routes(found)[0].min_severity is Severity.WARNING


def test_a_route_with_everything(load) -> None:
    found = load(
        CHANNEL
        + """
[[routes]]
channel = "chat"
owners = ["team-shop"]
environments = ["production"]
lanes = ["auth", "quota"]
projects = ["checkout"]
min_severity = "critical"
group_wait = "1m"
remind_every = "never"
escalate_after = "30m"
[[routes]]
channel = "chat"
digest_every = "7d"
digest_at = "07:30"
"""
    )
    first, second = alerts.routes(found)
    assert first == Route(
        channel="chat",
        owners=("team-shop",),
        environments=("production",),
        lanes=(Lane.AUTH, Lane.QUOTA),
        projects=("checkout",),
        min_severity=Severity.CRITICAL,
        group_wait=timedelta(minutes=1),
        remind_every=None,
        escalate_after=timedelta(minutes=30),
    )
    assert (second.digest_every, second.digest_at) == (timedelta(days=7), time(7, 30))
    assert alerts.people(found) == {"checkout": Person("team-shop", "production")}


def test_a_window_keeps_its_moment_in_any_time_zone(load) -> None:
    [window] = alerts.windows(load(WINDOW + 'every = "7d"\nlanes = ["network"]\n'))
    assert window.starts == datetime(2026, 12, 1, 21, tzinfo=UTC)
    assert window.until == datetime(2026, 12, 2, 1, tzinfo=UTC)
    assert window.every == timedelta(days=7)
    assert window.lanes == (Lane.NETWORK,)


def test_every_error_is_listed_at_once_with_its_place_and_a_fix(errors) -> None:
    lines = errors("""
[monitor]
dashboard_url = "monitor.example.com"
dead_man_url = "https://hc-ping.com/0000"
[[channels]]
name = "chat"
url = "slack://TokenA/TokenB/TokenC"
[[channels]]
name = "chat"
[[routes]]
channel = "chatt"
lanes = ["autth"]
min_severity = "bad"
group_wait = "2h"
remind_every = "1s"
escalate_after = 30
digest_at = "25:00"
[[routes]]
severity = "critical"
[[maintenance]]
name = "works"
starts = 2026-12-01T22:00:00
until = "tomorrow"
[[maintenance]]
name = "works"
starts = 2026-12-01T22:00:00Z
until = 2026-12-01T21:00:00Z
""")
    places = [line.split(": ")[1].partition(" ")[0] for line in lines]
    assert places == [
        "channels[0].url",
        "channels[1].name",
        "channels[1].url",
        "maintenance[0].starts",
        "maintenance[0].until",
        "maintenance[1]",
        "monitor.dashboard_url",
        "monitor.dead_man_url",
        "routes[0].channel",
        "routes[0].digest_at",
        "routes[0].escalate_after",
        "routes[0].group_wait",
        "routes[0].lanes[0]",
        "routes[0].min_severity",
        "routes[0].remind_every",
        "routes[1].channel",
        "routes[1].severity",
    ]
    text = "\n".join(lines)
    assert "TokenA" not in text
    assert "hc-ping" not in text
    assert 'Did you mean "chat"?' in text
    assert 'Did you mean "min_severity"?' in text
    assert "does not say in which time zone it is" in text
    assert "ends before it starts" in text


def test_a_window_that_never_ends_is_refused(errors) -> None:
    [line] = errors(WINDOW + 'every = "4h"\n')
    assert "quiet for ever" in line


def test_a_route_cannot_both_escalate_and_wait_for_the_digest(errors) -> None:
    [line] = errors(CHANNEL + '[[routes]]\nchannel = "chat"\nescalate_after = "1h"\ndigest_every = "1d"\n')
    assert "cannot both" in line


def test_a_channel_as_a_single_table_is_told_of_double_brackets(errors) -> None:
    [line] = errors('[channels]\nname = "chat"\nurl = "env:X"\n')
    assert "double ones" in line


@pytest.mark.parametrize("table", ["channels = 1", "channels = [1]", "routes = [[]]", "maintenance = {}", 'routes = ["chat"]'])
def test_any_shape_is_answered_in_words(errors, table: str) -> None:
    assert errors(table + "\n")


def test_what_will_reach_nobody_deserves_a_look(load, tmp_path: Path) -> None:
    found = load(
        '[monitor]\ndead_man_url = "env:DEAD_MAN"\n'
        + CHANNEL
        + CHANNEL.replace("chat", "mail").replace("CHAT", "MAIL")
        + '[[routes]]\nchannel = "chat"\nowners = ["team-shop", "team-gone"]\n'
        + WINDOW
        + 'projects = ["check-out"]\n'
    )
    secrets = open_secrets(None, {"CHAT_URL": "json://localhost", "CHECKOUT_KEY": "sk-proj-TEST-000-notakey"}, tmp_path)
    said = [f"{each.code}: {each.message}" for each in findings(found, secrets) if each.project is None]
    assert any(line.startswith("channel_unreadable: channel mail") for line in said)
    assert any(line.startswith("channel_unreadable: dead_man_url") for line in said)
    assert not any("channel chat" in line for line in said)
    assert any("routes[0].owners names “team-gone”" in line for line in said)
    assert any("maintenance[0].projects names “check-out”" in line for line in said)
    assert any("channel mail is told nothing" in line for line in said)


def test_the_example_names_every_setting_with_its_default(tmp_path: Path) -> None:
    text = re.sub(r"(?m)^#(?=[a-z_\[])", "", (ROOT / "monitor.example.toml").read_text())
    (tmp_path / "monitor.toml").write_text(text)
    found = load_settings(tmp_path / "monitor.toml", {}, tmp_path)
    assert set(found.channels[0].model_fields_set) == set(ChannelSettings.model_fields)
    assert set().union(*(each.model_fields_set for each in found.routes)) == set(RouteSettings.model_fields)
    assert found.maintenance[0].model_fields_set == set(MaintenanceSettings.model_fields)
    default = RouteSettings(channel="on-call")
    for field in ("min_severity", "group_wait", "remind_every"):
        assert getattr(found.routes[0], field) == getattr(default, field), field
    assert found.routes[2].digest_at == default.digest_at


def test_shown_settings_say_where_a_channel_is_and_not_what(load) -> None:
    shown = load(CHANNEL + '[[routes]]\nchannel = "chat"\nremind_every = "never"\n' + WINDOW).redacted()
    assert shown["channels"] == [{"name": "chat", "url": "env:CHAT_URL", "at_most": 20}]
    assert shown["routes"][0]["remind_every"] == "never"
    assert shown["routes"][0]["digest_at"] == "06:00"
    assert shown["maintenance"][0]["until"].startswith("2026-12-02T02:00:00")


def test_a_file_full_of_routes_that_lead_nowhere_is_answered_in_time(errors) -> None:
    text = "".join(f'[[channels]]\nname = "c{number}"\nurl = "env:C"\n' for number in range(2000))
    text += "".join(f'[[routes]]\nchannel = "x{number}"\n' for number in range(5000))
    started = process_time()
    assert len(errors(text)) == 1000
    assert process_time() - started < 20


def test_how_many_messages_a_channel_takes(load) -> None:
    assert load(CHANNEL).channels[0].at_most == 20
    assert load(CHANNEL + "at_most = 3\n").channels[0].at_most == 3


@pytest.mark.parametrize("value", ["0", "-1", "1001", "2.5", '"many"', "true"])
def test_a_number_of_messages_that_is_none(errors, value: str) -> None:
    [line] = errors(CHANNEL + f"at_most = {value}\n")
    assert "channels[0].at_most" in line
