"""From incidents to messages on a real store, with channels that take them, refuse them, or wait."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from monitor.config import Settings, load_settings
from monitor.domain.alerting import CALM, NotifyReason, Silence
from monitor.domain.incidents import Cause, Event, EventKind, Incident, Severity
from monitor.domain.taxonomy import FailureKind, Lane, Scope
from monitor.notify.channels import Channels
from monitor.notify.outbox import RETRIES, Teller, deliver
from monitor.secrets import Secrets
from monitor.store import incidents, outbox, silences
from monitor.store.outbox import DeliveryState
from tests.notify.conftest import Hook
from tests.notify.examples import MINUTE, NOW, change, incident
from tests.postgres import server
from tests.store.conftest import BACKENDS
from tests.store.helpers import new_store, sqlite_url

__all__ = ["server"]

R = NotifyReason
PROJECT = """
[[projects]]
name = "checkout"
owner = "team-shop"
[[projects.keys]]
secret = "env:CHECKOUT_KEY"
"""
ONE = '[[channels]]\nname = "chat"\nurl = "env:CHAT"\n'
TWO = ONE + '[[channels]]\nname = "mail"\nurl = "env:MAIL"\n'
ROUTED = TWO + '[[routes]]\nchannel = "chat"\n[[routes]]\nchannel = "mail"\nlanes = ["quota"]\n'
DAILY = ONE + '[[routes]]\nchannel = "chat"\ndigest_every = "1d"\n'


@dataclass
class Post:
    """Keeps what it is given, for the channels that are not down."""

    down: set[str] = field(default_factory=set)
    given: list[tuple[str, str]] = field(default_factory=list)

    def send(self, channel: str, subject: str, body: str) -> str | None:
        self.given.append((channel, subject.partition(" · ")[0]))
        return "out of order" if channel in self.down else None


@pytest.fixture(params=BACKENDS)
def engine(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Engine]:
    on_file = request.param == "sqlite"
    found, _ = new_store(sqlite_url(tmp_path / "monitor.db") if on_file else request.getfixturevalue("server").cleared())
    yield found
    found.dispose()


@pytest.fixture
def settings(tmp_path: Path) -> Callable[[str], Settings]:
    def load(text: str) -> Settings:
        (tmp_path / "monitor.toml").write_text(text + PROJECT)
        return load_settings(tmp_path / "monitor.toml", {}, tmp_path)

    return load


def put(engine: Engine, *several: Incident, now: datetime = NOW) -> list[Incident]:
    return incidents.apply(engine, [change(each, at=now) for each in several], now)


def over(engine: Engine, one: Incident, now: datetime) -> None:
    incidents.apply(engine, [change(replace(one, resolved_at=now, ill=0), EventKind.RESOLVED, now)], now)


async def test_an_incident_is_told_once_and_called_over_once(engine: Engine, settings) -> None:
    teller, post = Teller(engine, settings(ONE)), Post()
    [one] = put(engine, incident())
    assert [teller.tell(NOW + second * timedelta(seconds=1)) for second in range(3)] == [1, 0, 0]
    assert await deliver(engine, post, "a", NOW) == 1
    over(engine, one, NOW + MINUTE)
    assert [teller.tell(NOW + MINUTE + after) for after in (timedelta(), CALM, CALM + MINUTE)] == [0, 1, 0]
    assert await deliver(engine, post, "a", NOW + 2 * MINUTE + CALM) == 1
    assert post.given == [("chat", "Critical"), ("chat", "Over")]
    timeline = incidents.record(engine, one.id).events
    assert [each.text.partition(" ·")[0] for each in timeline if each.kind is EventKind.NOTIFIED] == [
        "“chat” was told (first): Critical",
        "“chat” was told (resolved): Over",
    ]


async def test_several_pollers_say_one_thing_once(engine: Engine, settings) -> None:
    post = Post()
    tellers = [Teller(engine, settings(TWO)) for _ in range(3)]
    one, other = put(engine, incident(), incident(cause=replace(incident().cause, subject="search/web")))
    for hours in (0, 0.01, 4, 4.01, 8, 8.01):
        now = NOW + timedelta(hours=hours)
        for teller in tellers:
            teller.tell(now)
        for worker in "abc":
            await deliver(engine, post, worker, now)
    over(engine, one, NOW + timedelta(hours=9))
    over(engine, other, NOW + timedelta(hours=9))
    for teller in reversed(tellers):
        teller.tell(NOW + timedelta(hours=9) + CALM)
    await deliver(engine, post, "a", NOW + timedelta(hours=9) + CALM)
    for channel in ("chat", "mail"):
        said = [opening for name, opening in post.given if name == channel]
        assert sorted(said) == sorted(["Critical", "Still open", "Still open", "Over"] * 2)


async def test_a_restart_forgets_nothing_and_repeats_nothing(engine: Engine, settings) -> None:
    [one] = put(engine, incident())
    assert Teller(engine, settings(ONE)).tell(NOW) == 1
    assert Teller(engine, settings(ONE)).tell(NOW + MINUTE) == 0
    over(engine, one, NOW + MINUTE)
    later = NOW + timedelta(days=2)
    assert Teller(engine, settings(ONE)).tell(later) == 1
    assert Teller(engine, settings(ONE)).tell(later) == 0


async def test_why_nothing_was_said_is_kept_once(engine: Engine, settings) -> None:
    teller = Teller(engine, settings(ROUTED))
    [one] = put(engine, incident())
    for second in range(5):
        teller.tell(NOW + timedelta(seconds=second))
    Teller(engine, settings(ROUTED)).tell(NOW + MINUTE)
    rows = outbox.log(engine, one.id)
    assert sorted((row.channel, row.reason.value, row.state.value) for row in rows) == [
        ("chat", "first", "waiting"),
        ("mail", "not_routed", "not_sent"),
    ]


async def test_after_a_silence_what_is_open_and_what_is_over_is_said(engine: Engine, settings) -> None:
    teller, post = Teller(engine, settings(ONE)), Post()
    told, untold = put(
        engine, incident(), incident(cause=replace(incident().cause, subject="checkout/cron"), opened_at=NOW + 3 * MINUTE)
    )
    incidents.update(engine, untold.id, Event(NOW, EventKind.COMMENT, "x"), resolved_at=NOW)
    teller.tell(NOW)
    silences.add(engine, Silence(starts=NOW + MINUTE, until=NOW + 60 * MINUTE, by="Ada", owner="team-shop"))
    [third] = put(engine, incident(cause=replace(incident().cause, subject="checkout/x"), opened_at=NOW + 2 * MINUTE))
    over(engine, told, NOW + 5 * MINUTE)
    for minutes in (2, 5, 30, 59):
        assert teller.tell(NOW + minutes * MINUTE) == 0
    assert teller.tell(NOW + 60 * MINUTE) == 2
    await deliver(engine, post, "a", NOW + 60 * MINUTE)
    assert sorted(post.given) == [("chat", "Critical"), ("chat", "Over")]
    assert [row.reason for row in outbox.log(engine, third.id)] == [R.FIRST, R.SILENCED]


async def test_a_channel_that_is_down_is_tried_again_and_stops_nobody(engine: Engine, settings) -> None:
    teller, post = Teller(engine, settings(TWO)), Post(down={"chat"})
    [one] = put(engine, incident())
    teller.tell(NOW)
    assert await deliver(engine, post, "a", NOW) == 1
    assert await deliver(engine, post, "a", NOW + timedelta(seconds=59)) == 0
    at = NOW
    for wait in RETRIES[:-1]:
        at += wait
        assert await deliver(engine, post, "b", at) == 0
    post.down.clear()
    assert await deliver(engine, post, "a", at + RETRIES[-1]) == 1
    assert post.given.count(("chat", "Critical")) == 5
    assert post.given.count(("mail", "Critical")) == 1
    assert {row.state for row in outbox.log(engine, one.id)} == {DeliveryState.DELIVERED}


async def test_after_a_day_it_is_given_up_and_noted(engine: Engine, settings) -> None:
    teller, post = Teller(engine, settings(ONE)), Post(down={"chat"})
    [one] = put(engine, incident())
    teller.tell(NOW)
    for hours in range(30):
        for minutes in (0, 1, 6, 21):
            await deliver(engine, post, "a", NOW + timedelta(hours=hours, minutes=minutes))
    [row] = outbox.log(engine, one.id)
    assert (row.state, row.text) == (DeliveryState.FAILED, "out of order")
    assert row.finished_at is not None
    assert timedelta(hours=22) < row.finished_at - NOW <= timedelta(hours=24)
    [event] = [each for each in incidents.record(engine, one.id).events if each.kind is EventKind.NOT_NOTIFIED]
    assert "out of order" in event.text


async def test_a_message_that_comes_too_late_gives_way_to_the_later_one(engine: Engine, settings) -> None:
    teller, post = Teller(engine, settings(ONE)), Post(down={"chat"})
    [one] = put(engine, incident())
    teller.tell(NOW)
    await deliver(engine, post, "a", NOW)
    over(engine, one, NOW + timedelta(seconds=30))
    teller.tell(NOW + timedelta(seconds=30) + CALM)
    post.down.clear()
    assert await deliver(engine, post, "a", NOW + MINUTE + CALM) == 1
    assert post.given == [("chat", "Critical"), ("chat", "Over")]
    states = {row.reason: row.state for row in outbox.log(engine, one.id)}
    assert states == {R.FIRST: DeliveryState.FAILED, R.RESOLVED: DeliveryState.DELIVERED}


async def test_a_digest_is_one_message_about_all(engine: Engine, settings) -> None:
    teller, post = Teller(engine, settings(DAILY)), Post()
    [one] = put(engine, incident(), now=NOW)
    assert teller.tell(NOW) == 0
    end = datetime(2026, 11, 23, 6, tzinfo=NOW.tzinfo)
    assert teller.tell(end - MINUTE) == 0
    assert [teller.tell(end), teller.tell(end + MINUTE), Teller(engine, settings(DAILY)).tell(end + MINUTE)] == [1, 0, 0]
    await deliver(engine, post, "a", end)
    assert post.given == [("chat", "Digest")]
    over(engine, one, end)
    assert teller.tell(end + timedelta(days=1)) == 1
    assert teller.tell(end + timedelta(days=2)) == 0


async def test_other_settings_count_at_once(engine: Engine, settings) -> None:
    teller = Teller(engine, settings(""))
    put(engine, incident())
    assert teller.tell(NOW) == 0
    teller.configure(settings(ONE))
    assert teller.tell(NOW) == 1


async def test_what_got_worse_is_told_again(engine: Engine, settings) -> None:
    teller, post = Teller(engine, settings(ONE)), Post()
    [one] = put(engine, incident(severity=Severity.WARNING))
    teller.tell(NOW)
    await deliver(engine, post, "a", NOW)
    incidents.apply(engine, [change(replace(one, severity=Severity.CRITICAL), EventKind.WIDENED)], NOW)
    assert [teller.tell(NOW + MINUTE), teller.tell(NOW + 2 * MINUTE)] == [1, 0]
    await deliver(engine, post, "a", NOW + MINUTE)
    assert post.given == [("chat", "Warning"), ("chat", "Worse")]


async def test_all_the_way_to_a_web_hook(engine: Engine, settings, hook: Hook, tmp_path: Path) -> None:
    found = settings('[monitor]\ndashboard_url = "https://monitor.example.com"\n' + ONE)
    channels = Channels(found, Secrets({"CHAT": hook.url}, None, tmp_path))
    hook.statuses = [503, 200]
    [one] = put(engine, incident())
    Teller(engine, found).tell(NOW)
    assert await deliver(engine, channels, "a", NOW) == 0
    assert await deliver(engine, channels, "a", NOW + MINUTE) == 1
    assert hook.said[0] == hook.said[1]
    assert hook.said[1]["title"] == f"Critical · INC-{one.id} · Key “web” of checkout: key refused"
    assert hook.said[1]["message"].endswith(f"https://monitor.example.com/incidents?incident={one.id}")
    [row] = outbox.log(engine, one.id)
    assert (row.state, row.attempts) == (DeliveryState.DELIVERED, 2)


async def test_a_slow_channel_holds_up_no_other(engine: Engine, settings) -> None:
    arrived = threading.Event()

    class OneWaits:
        def send(self, channel: str, subject: str, body: str) -> str | None:
            if channel == "mail":
                arrived.set()
                return None
            return None if arrived.wait(10) else "the other one never came"

    put(engine, incident())
    Teller(engine, settings(TWO)).tell(NOW)
    assert await deliver(engine, OneWaits(), "a", NOW) == 2


# Very much at once ----------------------------------------------------------------------------------------------------------------

FEW = ONE + "at_most = 5\n"


def storm(engine: Engine, count: int, now: datetime = NOW) -> list[Incident]:
    """Incidents that nothing explains together."""
    some = (Severity.WARNING, Severity.WARNING, Severity.CRITICAL)
    return put(
        engine,
        *(incident(title=f"Thing {n}", severity=some[n % 3], cause=Cause(Scope.KEY, Lane.AUTH, f"p{n}/web")) for n in range(count)),
        now=now,
    )


async def sent(engine: Engine, post: Post, now: datetime) -> list[str]:
    """What arrives of all that waits."""
    post.given.clear()
    while await deliver(engine, post, "a", now):
        pass
    return [word for _, word in post.given]


async def test_a_storm_is_few_messages_and_each_incident_counts_as_told(engine: Engine, settings) -> None:
    teller, post = Teller(engine, settings(FEW)), Post()
    those = storm(engine, 345)
    assert teller.tell(NOW) == 6
    assert await sent(engine, post, NOW) == ["Critical"] * 5 + ["And 340 more incidents"]
    (about,) = [row for row in outbox.log(engine, limit=1000) if row.reason is R.MANY]
    assert about.subject == "And 340 more incidents · 230 warning, 110 critical"
    assert "… and 325 more: see the page of incidents" in about.body
    told = {row.incident_id: row.state for row in outbox.log(engine, limit=1000) if row.incident_id}
    assert len(told) == 345
    assert set(told.values()) == {DeliveryState.DELIVERED, DeliveryState.TOGETHER}
    assert teller.tell(NOW + MINUTE) == Teller(engine, settings(FEW)).tell(NOW + MINUTE) == 0
    for one in those:
        over(engine, one, NOW + 20 * MINUTE)
    assert teller.tell(NOW + 30 * MINUTE) == 6
    assert await sent(engine, post, NOW + 30 * MINUTE) == ["Over"] * 5 + ["And 340 more incidents"]


async def test_what_comes_after_a_storm_waits_for_the_next_message_about_many(engine: Engine, settings) -> None:
    teller, post = Teller(engine, settings(FEW)), Post()
    storm(engine, 50)
    teller.tell(NOW)
    await sent(engine, post, NOW)
    late = storm(engine, 30, NOW + MINUTE)
    assert teller.tell(NOW + MINUTE) == Teller(engine, settings(FEW)).tell(NOW + 2 * MINUTE) == 0
    (row,) = outbox.log(engine, late[0].id)
    assert (row.state, row.reason) == (DeliveryState.NOT_SENT, R.TOO_MANY)
    assert row.text is not None
    assert "it is told with others at 2026-11-23 02:24:00 UTC (this channel was not told of it yet)" in row.text
    assert teller.tell(NOW + 10 * MINUTE) == 6
    assert await sent(engine, post, NOW + 10 * MINUTE) == ["Critical"] * 5 + ["And 25 more incidents"]


async def test_one_channel_in_a_storm_takes_nothing_from_another(engine: Engine, settings) -> None:
    post = Post()
    storm(engine, 30)
    quota = put(engine, incident(cause=Cause(Scope.PROJECT, Lane.QUOTA, "checkout"), failure=FailureKind.QUOTA_CREDITS))
    assert quota
    Teller(engine, settings(FEW + '[[channels]]\nname = "mail"\nurl = "env:MAIL"\n' + ROUTED.removeprefix(TWO))).tell(NOW)
    post.given.clear()
    while await deliver(engine, post, "a", NOW):
        pass
    assert [word for channel, word in post.given if channel == "mail"] == ["Critical"]
    assert len([word for channel, word in post.given if channel == "chat"]) == 6
