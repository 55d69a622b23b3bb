"""Who is reminded of what, when, and why not."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.domain.alerting import NotifyReason, Quiet, Route
from monitor.domain.deadlines import Deadline, DeadlineKind
from monitor.domain.incidents import Severity
from monitor.domain.reminders import (
    MOST_AT_ONCE,
    concerns,
    decide,
    decide_all,
    dedup_key,
    digest,
    note_key,
    reminders,
    step,
    told,
)
from monitor.domain.taxonomy import Lane

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
R = NotifyReason
ROUTE = Route(channel="chat")


def deadline(ahead: float = 6, **more: Any) -> Deadline:
    facts: dict[str, Any] = {
        "kind": DeadlineKind.KEY_EXPIRY, "at": NOW + ahead * DAY, "title": "key checkout/backend expires", "mark": "key_1",
        "breaks": "Calls are refused.", "next_step": "Make a new one.", "projects": ("checkout",), "owner": "team-a",
        "environments": ("production",),
    }  # fmt: skip
    return Deadline(**facts | more)


@pytest.mark.parametrize(
    ("ahead", "expected"),
    [(40, None), (31, None), (30, 30), (15, 30), (14, 14), (8, 14), (7, 7), (2, 7), (1, 1), (0.1, 1), (-0.01, 0), (-20, 0)],
)
def test_the_nearest_step_counts(ahead: float, expected: int | None) -> None:
    assert step(deadline(ahead), NOW) == expected


@given(st.floats(-50, 50), st.floats(0, 60))
def test_steps_only_come_nearer(ahead: float, later: float) -> None:
    one = deadline(ahead)
    before, after = step(one, NOW), step(one, NOW + later * DAY)
    assert (after if after is not None else 99) <= (before if before is not None else 99)


def test_each_step_is_told_once_and_a_later_one_again() -> None:
    one, sent = deadline(6), set[str]()
    first = decide(one, ROUTE, sent, (), NOW)
    assert (first.send, first.reason) == (True, R.DEADLINE)
    sent.add(first.dedup_key)
    assert decide(one, ROUTE, sent, (), NOW + HOUR).reason is R.ALREADY_SENT
    assert decide(one, ROUTE, sent, (), NOW + 4 * DAY).reason is R.ALREADY_SENT
    last = decide(one, ROUTE, sent, (), NOW + 5 * DAY)
    assert last.send
    sent.add(last.dedup_key)
    passed = decide(one, ROUTE, sent, (), NOW + 6.1 * DAY)
    assert passed.send
    assert passed.why == "has passed"
    sent.add(passed.dedup_key)
    assert {decide(one, ROUTE, sent, (), NOW + days * DAY).reason for days in (6.2, 7, 9, 20)} == {R.ALREADY_SENT}


def test_a_day_that_wanders_back_is_not_told_anew_and_one_that_moved_is() -> None:
    told_near = {digest(deadline(6), 7)}
    assert decide(deadline(9), ROUTE, told_near, (), NOW).reason is R.ALREADY_SENT
    assert decide(deadline(9, mark="key_1 moved"), ROUTE, told_near, (), NOW).send


QUIET = deadline(kind=DeadlineKind.SILENCE_END)
EAR = Route(channel="c", min_severity=Severity.INFO)


@pytest.mark.parametrize(
    ("one", "route", "quiet", "reason"),
    [
        (deadline(40), ROUTE, (), R.TOO_SOON),
        (deadline(-6), ROUTE, (), R.DEADLINE),
        (deadline(-8), ROUTE, (), R.TOO_LATE),
        (deadline(), Route(channel="c", owners=("team-b",)), (), R.NOT_ROUTED),
        (deadline(), Route(channel="c", environments=("staging",)), (), R.NOT_ROUTED),
        (deadline(), Route(channel="c", projects=("search",)), (), R.NOT_ROUTED),
        (deadline(), Route(channel="c", lanes=(Lane.QUOTA,)), (), R.NOT_ROUTED),
        (deadline(), Route(channel="c", lanes=(Lane.AUTH,), owners=("team-a", "x")), (), R.DEADLINE),
        (deadline(), Route(channel="c", escalate_after=HOUR), (), R.NOT_ROUTED),
        (deadline(), Route(channel="c", digest_every=DAY), (), R.DEADLINE),
        (deadline(), Route(channel="c", min_severity=Severity.CRITICAL), (), R.BELOW_SEVERITY),
        (deadline(1), Route(channel="c", min_severity=Severity.CRITICAL), (), R.DEADLINE),
        (deadline(projects=(), owner=None, environments=()), Route(channel="c", owners=("team-b",)), (), R.DEADLINE),
        (deadline(projects=()), Route(channel="c", owners=("team-b",)), (), R.NOT_ROUTED),
        (replace(QUIET, begins=NOW - 3 * DAY), ROUTE, (), R.DEADLINE),
        (replace(QUIET, begins=NOW - HOUR), ROUTE, (), R.TOO_SOON),
        (replace(QUIET, begins=NOW - 3 * DAY), Route(channel="c", min_severity=Severity.CRITICAL), (), R.BELOW_SEVERITY),
        (replace(QUIET, begins=NOW - HOUR), EAR, (), R.TOO_SOON),
        (replace(QUIET, begins=NOW - 3 * DAY), EAR, (), R.DEADLINE),
    ],
)  # fmt: skip
def test_who_is_told(one: Deadline, route: Route, quiet: tuple[Quiet, ...], reason: NotifyReason) -> None:
    assert decide(one, route, (), quiet, NOW).reason is reason


def silence(**more: Any) -> Quiet:
    facts: dict[str, Any] = {"reason": R.SILENCED, "text": "silenced by ada", "starts": NOW - HOUR, "ends": NOW + HOUR}
    return Quiet(**facts | more)


@pytest.mark.parametrize(
    ("quiet", "kept"),
    [
        (silence(), True),
        (silence(projects=frozenset({"checkout"})), True),
        (silence(projects=frozenset({"search"})), False),
        (silence(lanes=frozenset({Lane.QUOTA})), False),
        (silence(incident_id=7), False),
        (silence(starts=NOW + HOUR, ends=NOW + DAY), False),
        (silence(reason=R.MAINTENANCE), True),
    ],
)
def test_silences_are_respected_and_what_was_silenced_is_told_after(quiet: Quiet, kept: bool) -> None:
    said = decide(deadline(), ROUTE, (), (quiet,), NOW)
    assert said.send is not kept
    if kept:
        assert said.reason is quiet.reason
        assert decide(deadline(), ROUTE, (), (quiet,), NOW + 2 * HOUR).send


def test_nobody_is_woken_for_what_has_a_week() -> None:
    night = NOW.replace(hour=3)
    asleep = decide(deadline(6), ROUTE, (), (), night)
    assert (asleep.reason, asleep.due) == (R.TOO_SOON, NOW.replace(hour=6))
    assert decide(deadline(6), ROUTE, (), (), NOW.replace(hour=6)).send
    assert decide(replace(deadline(), at=night + HOUR), ROUTE, (), (), night).send


def test_several_routes_to_one_channel_are_one_decision() -> None:
    routes = (Route(channel="chat", owners=("team-b",)), Route(channel="chat", min_severity=Severity.CRITICAL), ROUTE)
    assert decide_all(deadline(), routes, {}, (), NOW)["chat"].send
    assert decide_all(deadline(), routes[:2], {}, (), NOW)["chat"].reason is R.BELOW_SEVERITY
    assert decide_all(deadline(), (), {}, (), NOW) == {}
    assert not concerns(deadline(), routes[0])


def test_what_is_due_for_one_owner_and_channel_is_one_message() -> None:
    ones = [deadline(6, mark="b", title="b"), deadline(5, mark="a", title="a"), deadline(6, mark="c", owner="team-b")]
    decided = [(each, channel, decide(each, Route(channel=channel), (), (), NOW)) for each in ones for channel in ("chat", "mail")]
    found = {(each.channel, each.owner): [one.title for one, _ in each.due] for each in reminders(decided)}
    assert found == {
        ("chat", "team-a"): ["a", "b"], ("mail", "team-a"): ["a", "b"],
        ("chat", "team-b"): [ones[2].title], ("mail", "team-b"): [ones[2].title],
    }  # fmt: skip
    many = [deadline(6, mark=str(number)) for number in range(MOST_AT_ONCE + 1)]
    sizes = [len(each.due) for each in reminders((each, "chat", decide(each, ROUTE, (), (), NOW)) for each in many)]
    assert sizes == [MOST_AT_ONCE, 1]


@given(st.lists(st.tuples(st.text(), st.sampled_from([0, 1, 7, 14, 30])), min_size=1, max_size=MOST_AT_ONCE))
def test_a_key_says_what_was_told(about: list[tuple[str, int]]) -> None:
    digests = [digest(deadline(mark=mark), at_step) for mark, at_step in about]
    assert set(told(dedup_key(digests))) == set(digests)
    assert len(dedup_key(digests)) < 1000
    assert told(note_key(digests[0], R.SILENCED)) == (digests[0],)


@pytest.mark.parametrize("key", [None, "", "12:0:warning:key", "digest:2026", "deadlines"])
def test_other_keys_say_nothing_of_deadlines(key: str | None) -> None:
    assert told(key) == ()
