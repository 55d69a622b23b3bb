"""From deadlines to people, on a real store."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from monitor.config import Settings, load_settings
from monitor.domain.alerting import NotifyReason, Silence
from monitor.domain.deadlines import STEPS
from monitor.domain.organization import Item, ItemKind
from monitor.domain.reminders import digest
from monitor.domain.taxonomy import Lane
from monitor.notify.outbox import deliver
from monitor.notify.reminders import remind
from monitor.store import outbox, queries, silences
from monitor.store.organization import OrganizationWriter
from monitor.store.outbox import DeliveryState
from tests.notify.test_outbox import Post
from tests.postgres import server
from tests.store.conftest import BACKENDS
from tests.store.helpers import inventory, new_store, project, sqlite_url

__all__ = ["server"]

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
PROJECTS = "".join(
    f'[[projects]]\nname = "{name}"\nowner = "{owner}"\nenvironment = "production"\n[[projects.keys]]\nsecret = "env:A_KEY"\n'
    for name, owner in (("checkout", "team-a"), ("search", "team-b"), ("batch", "team-a"))
)
ONE = '[[channels]]\nname = "chat"\nurl = "env:CHAT"\n'
TWO = ONE + '[[channels]]\nname = "mail"\nurl = "env:MAIL"\n'
ROUTED = TWO + '[[routes]]\nchannel = "chat"\nowners = ["team-a"]\n[[routes]]\nchannel = "mail"\nowners = ["team-b"]\n'
Load = Callable[[str], Settings]


@pytest.fixture(params=BACKENDS)
def engine(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Engine]:
    on_file = request.param == "sqlite"
    found, writer = new_store(sqlite_url(tmp_path / "monitor.db") if on_file else request.getfixturevalue("server").cleared())
    owners = {"checkout": "team-a", "search": "team-b", "batch": "team-a"}
    writer.sync_inventory(inventory(*(project(name, owner=owner) for name, owner in owners.items())), NOW)
    yield found
    found.dispose()


@pytest.fixture
def settings(tmp_path: Path) -> Load:
    def load(text: str) -> Settings:
        (tmp_path / "monitor.toml").write_text('[monitor]\ndashboard_url = "https://watch.example"\n' + text + PROJECTS)
        return load_settings(tmp_path / "monitor.toml", {}, tmp_path)

    return load


def keys(engine: Engine, **ahead: float) -> None:
    """Each project's key expires so many days after `NOW`."""
    acme = OrganizationWriter(engine, "acme", NOW)
    for name, days in ahead.items():
        facts = {"name": "backend", "expires_at": int((NOW + days * DAY).timestamp())}
        acme.save(
            ItemKind.API_KEY, f"proj_{name}", NOW, [Item(ItemKind.API_KEY, f"key_{name}", f"proj_{name}", facts)], lambda *_: []
        )
    acme.synced(NOW)


def sent(engine: Engine) -> list[tuple[str, str]]:
    return sorted((row.channel, row.subject) for row in outbox.log(engine) if row.state is not DeliveryState.NOT_SENT)


def unsaid(engine: Engine) -> list[tuple[str, NotifyReason]]:
    return sorted((row.channel, row.reason) for row in queries.reminders(engine) if row.state is DeliveryState.NOT_SENT)


async def test_a_deadline_is_told_at_each_step_and_when_it_has_passed(engine: Engine, settings: Load) -> None:
    keys(engine, checkout=40)
    told = [day for day in range(60) for hour in (0, 5, 9) if remind(engine, settings(ONE), NOW + day * DAY + hour * HOUR)]
    assert told == [10, 26, 33, 39, 40]
    subjects = [row.subject for row in reversed(outbox.log(engine))]
    assert [each.partition(" · ")[0] for each in subjects] == ["In 30 days", "In 14 days", "In 7 days", "Tomorrow", "Passed"]
    assert subjects[0].endswith("key checkout/backend expires")
    post = Post()
    assert await deliver(engine, post, "a", NOW + 41 * DAY) == 5
    assert {row.state for row in queries.reminders(engine)} == {DeliveryState.DELIVERED}


def test_what_one_owner_has_to_do_is_one_message(engine: Engine, settings: Load) -> None:
    keys(engine, checkout=6, batch=5, search=6)
    assert remind(engine, settings(ROUTED), NOW) == 2
    assert sent(engine) == [
        ("chat", "2 deadlines of team-a · in 5 days: key batch/backend expires"),
        ("mail", "In 6 days · key search/backend expires"),
    ]
    body = next(row.body for row in outbox.log(engine) if row.channel == "chat")
    assert "Do: Create a new key for batch" in body
    assert "Else: OpenAI refuses every call with the key" in body
    assert body.endswith("https://watch.example/deadlines?owner=team-a")


def test_a_restart_or_another_leader_repeats_nothing(engine: Engine, settings: Load) -> None:
    keys(engine, checkout=6)
    assert [remind(engine, settings(TWO), NOW + minute * timedelta(minutes=1)) for minute in range(3)] == [2, 0, 0]
    keys(engine, checkout=6, batch=6)
    assert remind(engine, settings(TWO), NOW + HOUR) == 2
    assert sent(engine)[0] == ("chat", "In 6 days · key batch/backend expires")


def test_a_day_that_moves_is_told_anew(engine: Engine, settings: Load) -> None:
    keys(engine, checkout=6)
    assert remind(engine, settings(ONE), NOW) == 1
    keys(engine, checkout=7)
    assert remind(engine, settings(ONE), NOW) == 1


def test_what_is_silenced_is_told_afterwards_and_the_page_knows_why(engine: Engine, settings: Load) -> None:
    keys(engine, checkout=6)
    silences.add(engine, Silence(starts=NOW - HOUR, until=NOW + 5 * HOUR, by="ada", text="moving house", owner="team-a"))
    assert remind(engine, settings(ONE), NOW) == 0
    assert remind(engine, settings(ONE), NOW + HOUR) == 0
    assert unsaid(engine) == [("chat", NotifyReason.SILENCED)]
    (row,) = queries.reminders(engine)
    assert "silenced by ada" in (row.text or "")
    (deadline,) = [each for each in queries.deadlines(engine, NOW).deadlines if each.projects == ("checkout",)]
    assert row.digests == (digest(deadline, STEPS[2]),)
    assert remind(engine, settings(ONE), NOW + 6 * HOUR) == 1


def test_a_silence_about_money_does_not_keep_keys_quiet(engine: Engine, settings: Load) -> None:
    keys(engine, checkout=6)
    silences.add(engine, Silence(starts=NOW - HOUR, until=NOW + 5 * HOUR, by="ada", lane=Lane.QUOTA))
    assert remind(engine, settings(ONE), NOW) == 1


def test_whom_no_route_names_is_noted_once(engine: Engine, settings: Load) -> None:
    keys(engine, checkout=6)
    routed = ONE + '[[routes]]\nchannel = "chat"\nowners = ["team-b"]\n'
    assert [remind(engine, settings(routed), NOW + hour * HOUR) for hour in range(3)] == [0, 0, 0]
    assert unsaid(engine) == [("", NotifyReason.NOT_ROUTED)]
    severe = ONE + '[[routes]]\nchannel = "chat"\nmin_severity = "critical"\n'
    remind(engine, settings(severe), NOW + 3 * HOUR)
    assert ("chat", NotifyReason.BELOW_SEVERITY) in unsaid(engine)


def test_without_a_channel_nobody_is_told_and_nothing_is_written(engine: Engine, settings: Load) -> None:
    keys(engine, checkout=6)
    assert remind(engine, settings(""), NOW) == 0
    assert queries.reminders(engine) == []


def test_old_days_of_a_first_look_are_not_told(engine: Engine, settings: Load) -> None:
    keys(engine, checkout=-20, search=-2)
    assert remind(engine, settings(ONE), NOW) == 1
    assert sent(engine) == [("chat", "Passed · key search/backend expires")]
    assert unsaid(engine) == [("chat", NotifyReason.TOO_LATE)]


@pytest.mark.parametrize("nasty", ["<!channel> @everyone", "sk-proj-TEST-not-a-key-0123456789abcd", "a\0b\n\n" * 50, "ü" * 3000])
def test_hostile_names_neither_wake_a_chat_nor_show_a_secret(engine: Engine, settings: Load, nasty: Any) -> None:
    acme = OrganizationWriter(engine, "acme", NOW)
    facts = {"name": nasty, "expires_at": int((NOW + 6 * DAY).timestamp())}
    acme.save(ItemKind.API_KEY, "proj_x", NOW, [Item(ItemKind.API_KEY, "key_x", "proj_x", facts)], lambda *_: [])
    acme.synced(NOW)
    assert remind(engine, settings(ONE), NOW) == 1
    (row,) = outbox.log(engine)
    assert "0123456789" not in row.subject + row.body
    assert "<!channel>" not in row.subject + row.body
    assert "@everyone" not in row.subject + row.body
    assert len(row.subject) <= 200
    assert len(row.body) <= 3000
