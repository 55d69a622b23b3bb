"""Who is told what, and when: a table of situations, and what may never happen whatever comes."""

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.domain.alerting import (
    CALM,
    Decision,
    MaintenanceWindow,
    NotifyReason,
    Person,
    Quiet,
    Route,
    Sent,
    Silence,
    decide,
    decide_all,
    digest_slot,
    digests,
    quiet_now,
    quiets,
)
from monitor.domain.correlation import REOPEN_WITHIN
from monitor.domain.diagnosis import Context, diagnose
from monitor.domain.incidents import Cause, Incident, Severity
from monitor.domain.taxonomy import FailureKind, Lane, Scope

R = NotifyReason
NOW = datetime(2026, 11, 23, 2, 14, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
PEOPLE = {
    "checkout": Person("team-shop", "production"),
    "search": Person("team-shop", "staging"),
    "legacy": Person("team-old", "production"),
    "orphan": Person(),
}
ROUTE = Route(channel="chat")


def incident(**changes: object) -> Incident:
    """Open since ten minutes."""
    plain = Incident(
        cause=Cause(Scope.KEY, Lane.AUTH, "checkout/web"),
        failure=FailureKind.AUTH_INVALID_KEY,
        severity=Severity.CRITICAL,
        first_bad_at=NOW - 11 * MINUTE,
        opened_at=NOW - 10 * MINUTE,
        title="Key “web” of checkout: key refused",
        diagnosis=diagnose(FailureKind.AUTH_INVALID_KEY, Context(project="checkout")),
        projects=("checkout",),
        owners=("team-shop",),
        environments=("production",),
        ill=1,
        id=12,
    )
    return replace(plain, **changes)


def sent(reason: NotifyReason, ago: timedelta, **changes: object) -> Sent:
    told = {"severity": Severity.CRITICAL, "scope": Scope.KEY} if reason in (R.FIRST, R.WORSENED) else {}
    return Sent(reason, NOW - ago, **{**told, **changes})


def silence(**changes: object) -> Silence:
    """For the hour around now, of everything."""
    return Silence(**{"starts": NOW - HOUR / 2, "until": NOW + HOUR / 2, "by": "Ada", "text": "we know", **changes})


def quiet(*silences: Silence, windows: tuple[MaintenanceWindow, ...] = (), now: datetime = NOW) -> list[Quiet]:
    return quiets(silences, windows, PEOPLE, now)


FIRST, RESOLVED, REMINDER = sent(R.FIRST, 9 * MINUTE), sent(R.RESOLVED, 5 * MINUTE), sent(R.REMINDER, HOUR)
OVER = {"resolved_at": NOW - CALM, "ill": 0}
TAKEN = {"acknowledged_at": NOW - 4 * MINUTE, "acknowledged_by": "Ada"}
ESCALATES = replace(ROUTE, escalate_after=timedelta(minutes=30))
OLD = {"opened_at": NOW - 31 * MINUTE}
DIGEST = replace(ROUTE, digest_every=timedelta(days=1))
WIDER = {"cause": Cause(Scope.ORGANIZATION, Lane.AUTH, "org-A")}


@pytest.mark.parametrize(
    ("what", "route", "told", "silences", "reason", "sends"),
    [
        # first
        ({}, ROUTE, [], [], R.FIRST, True),
        ({"opened_at": NOW - timedelta(seconds=14)}, ROUTE, [], [], R.TOO_SOON, False),
        ({"opened_at": NOW - timedelta(seconds=15)}, ROUTE, [], [], R.FIRST, True),
        ({"opened_at": NOW}, replace(ROUTE, group_wait=timedelta()), [], [], R.FIRST, True),
        (TAKEN, ROUTE, [], [], R.ACKNOWLEDGED, False),
        ({}, ROUTE, [FIRST], [], R.ALREADY_SENT, False),
        # routing
        ({}, replace(ROUTE, owners=("team-shop",)), [], [], R.FIRST, True),
        ({}, replace(ROUTE, owners=("team-old",)), [], [], R.NOT_ROUTED, False),
        ({}, replace(ROUTE, environments=("staging", "production")), [], [], R.FIRST, True),
        ({}, replace(ROUTE, environments=("staging",)), [], [], R.NOT_ROUTED, False),
        ({}, replace(ROUTE, lanes=(Lane.QUOTA,)), [], [], R.NOT_ROUTED, False),
        ({}, replace(ROUTE, projects=("checkout",), lanes=(Lane.AUTH,)), [], [], R.FIRST, True),
        ({}, replace(ROUTE, projects=("search",)), [], [], R.NOT_ROUTED, False),
        ({"projects": (), "owners": ()}, replace(ROUTE, owners=("team-old",)), [], [], R.FIRST, True),
        ({"severity": Severity.INFO}, ROUTE, [], [], R.BELOW_SEVERITY, False),
        ({"severity": Severity.WARNING}, replace(ROUTE, min_severity=Severity.CRITICAL), [], [], R.BELOW_SEVERITY, False),
        ({"severity": Severity.INFO}, replace(ROUTE, min_severity=Severity.INFO), [], [], R.FIRST, True),
        (OVER, replace(ROUTE, owners=("team-old",)), [], [], R.NOT_ROUTED, False),
        # reminders
        ({}, ROUTE, [sent(R.FIRST, 4 * HOUR)], [], R.REMINDER, True),
        ({}, ROUTE, [sent(R.FIRST, 4 * HOUR - MINUTE)], [], R.ALREADY_SENT, False),
        ({}, ROUTE, [sent(R.FIRST, 9 * HOUR), REMINDER], [], R.ALREADY_SENT, False),
        ({}, replace(ROUTE, remind_every=None), [sent(R.FIRST, 400 * HOUR)], [], R.ALREADY_SENT, False),
        (TAKEN, ROUTE, [sent(R.FIRST, 9 * HOUR)], [], R.ACKNOWLEDGED, False),
        # worse
        ({}, ROUTE, [sent(R.FIRST, 9 * MINUTE, severity=Severity.WARNING)], [], R.WORSENED, True),
        (TAKEN, ROUTE, [sent(R.FIRST, 9 * MINUTE, severity=Severity.WARNING)], [], R.WORSENED, True),
        (WIDER, ROUTE, [FIRST], [], R.WORSENED, True),
        (WIDER, ROUTE, [FIRST, sent(R.WORSENED, MINUTE, scope=Scope.ORGANIZATION)], [], R.ALREADY_SENT, False),
        ({"severity": Severity.WARNING}, ROUTE, [FIRST], [], R.ALREADY_SENT, False),
        ({"projects": ("checkout", "search", "legacy")}, ROUTE, [FIRST], [], R.ALREADY_SENT, False),
        # over
        (OVER, ROUTE, [FIRST], [], R.RESOLVED, True),
        ({**OVER, **TAKEN}, ROUTE, [FIRST], [], R.RESOLVED, True),
        (OVER, ROUTE, [], [], R.NEVER_SENT, False),
        (OVER, ROUTE, [FIRST, RESOLVED], [], R.ALREADY_SENT, False),
        ({**OVER, "severity": Severity.INFO}, ROUTE, [FIRST], [], R.RESOLVED, True),
        (OVER, replace(ROUTE, owners=("team-old",)), [FIRST], [], R.RESOLVED, True),
        # it came back
        ({"reopened": 1}, ROUTE, [FIRST, RESOLVED], [], R.FIRST, True),
        ({"reopened": 0}, ROUTE, [FIRST, RESOLVED], [], R.ALREADY_SENT, False),
        ({"reopened": 1}, ROUTE, [FIRST], [], R.ALREADY_SENT, False),
        ({**OVER, "reopened": 1}, ROUTE, [FIRST], [], R.FLAPPING, False),
        ({**OVER, "reopened": 3, "resolved_at": NOW - REOPEN_WITHIN}, ROUTE, [FIRST], [], R.RESOLVED, True),
        # merged
        ({**OVER, "merged_into": 3}, ROUTE, [FIRST], [], R.MERGED, False),
        ({"merged_into": 3}, ROUTE, [], [], R.MERGED, False),
        # escalation
        ({}, ESCALATES, [], [], R.TOO_SOON, False),
        (OLD, ESCALATES, [], [], R.ESCALATION, True),
        ({**OLD, **TAKEN}, ESCALATES, [], [], R.ACKNOWLEDGED, False),
        (OLD, ESCALATES, [sent(R.ESCALATION, MINUTE)], [], R.ALREADY_SENT, False),
        ({**OLD, **OVER}, ESCALATES, [sent(R.ESCALATION, 2 * MINUTE)], [], R.RESOLVED, True),
        ({**OLD, **OVER}, ESCALATES, [], [], R.NEVER_SENT, False),
        (OLD, ESCALATES, [FIRST], [], R.ESCALATION, True),
        ({**OLD, "severity": Severity.INFO}, ESCALATES, [], [], R.BELOW_SEVERITY, False),
        # digest
        ({}, DIGEST, [], [], R.KEPT_FOR_DIGEST, False),
        (OVER, DIGEST, [], [], R.KEPT_FOR_DIGEST, False),
        ({"severity": Severity.INFO}, DIGEST, [], [], R.BELOW_SEVERITY, False),
        # silence
        ({}, ROUTE, [], [silence()], R.SILENCED, False),
        (OLD, ESCALATES, [], [silence()], R.SILENCED, False),
        (OVER, ROUTE, [FIRST], [silence()], R.SILENCED, False),
        ({}, ROUTE, [sent(R.FIRST, 9 * HOUR)], [silence()], R.SILENCED, False),
        (WIDER, ROUTE, [FIRST], [silence()], R.SILENCED, False),
        ({}, ROUTE, [], [silence(starts=NOW + MINUTE)], R.FIRST, True),
        ({}, ROUTE, [], [silence(until=NOW)], R.FIRST, True),
        ({}, ROUTE, [], [silence(ended_at=NOW, ended_by="Bob")], R.FIRST, True),
        ({}, ROUTE, [FIRST], [silence(until=NOW)], R.REMINDER, True),
        ({}, ROUTE, [FIRST], [silence(ended_at=NOW - MINUTE, ended_by="Bob")], R.REMINDER, True),
        ({}, ROUTE, [FIRST, sent(R.REMINDER, MINUTE)], [silence(until=NOW - 2 * MINUTE)], R.ALREADY_SENT, False),
        (TAKEN, ROUTE, [FIRST], [silence(until=NOW)], R.ACKNOWLEDGED, False),
        ({}, ROUTE, [FIRST], [silence(until=NOW, project="search")], R.ALREADY_SENT, False),
        (OVER, ROUTE, [FIRST], [silence(until=NOW)], R.RESOLVED, True),
    ],
)  # fmt: skip
def test_each_situation_has_its_answer(
    what: dict[str, object], route: Route, told: list[Sent], silences: list[Silence], reason: NotifyReason, sends: bool
) -> None:
    decision = decide(incident(**what), route, told, quiet(*silences), NOW)
    assert (decision.reason, decision.send) == (reason, sends), decision.why
    assert bool(decision.dedup_key) is sends
    assert decision.why


@pytest.mark.parametrize(
    ("criteria", "what", "covered"),
    [
        ({}, {}, True),
        ({"project": "checkout"}, {}, True),
        ({"project": "search"}, {}, False),
        ({"owner": "team-shop"}, {}, True),
        ({"owner": "team-shop", "environment": "staging"}, {}, False),
        ({"environment": "production", "lane": Lane.AUTH}, {}, True),
        ({"lane": Lane.QUOTA}, {}, False),
        ({"incident_id": 12}, {}, True),
        ({"incident_id": 13}, {}, False),
        ({"owner": "team-shop"}, {"projects": ("checkout", "search")}, True),
        ({"owner": "team-shop"}, {"projects": ("checkout", "orphan")}, False),
        ({"project": "checkout"}, {"projects": ("checkout", "legacy")}, False),
        ({"project": "checkout"}, {"projects": ()}, False),
        ({}, {"projects": ()}, True),
        ({"project": "removed-since"}, {"projects": ("removed-since",)}, True),
    ],
)
def test_a_silence_covers_those_whom_it_names_and_nobody_else(
    criteria: dict[str, object], what: dict[str, object], covered: bool
) -> None:
    assert (quiet_now(incident(**what), quiet(silence(**criteria)), NOW) is not None) is covered


def test_several_silences_together_cover_all_who_are_hit() -> None:
    hit = incident(projects=("checkout", "legacy"))
    one, other = silence(project="checkout"), silence(project="legacy", until=NOW + MINUTE)
    assert quiet_now(hit, quiet(one, other), NOW).ends == NOW + MINUTE
    assert quiet_now(hit, quiet(one, replace(other, lane=Lane.QUOTA)), NOW) is None
    later = decide(hit, ROUTE, [FIRST], quiet(one, other), NOW + MINUTE)
    assert (later.send, later.reason) == (True, R.REMINDER)


@pytest.mark.parametrize(
    ("now", "covered"),
    [
        (NOW - MINUTE, False),
        (NOW, True),
        (NOW + HOUR - MINUTE, True),
        (NOW + HOUR, False),
        (NOW + 24 * HOUR, True),
        (NOW + 25 * HOUR, False),
        (NOW + 240 * HOUR + MINUTE, True),
    ],
)
def test_a_window_comes_again(now: datetime, covered: bool) -> None:
    window = MaintenanceWindow(name="works", starts=NOW, until=NOW + HOUR, every=24 * HOUR, owners=("team-shop",))
    found = quiet_now(incident(), quiet(windows=(window,), now=now), now)
    assert (found is not None) is covered
    if found:
        assert decide(incident(), ROUTE, [], [found], now).reason is R.MAINTENANCE


def test_what_is_open_when_a_recurring_window_ends_is_said_once() -> None:
    window = MaintenanceWindow(name="works", starts=NOW - 49 * HOUR, until=NOW - 48 * HOUR, every=24 * HOUR)
    old, told = incident(opened_at=NOW - 30 * HOUR), sent(R.FIRST, 29 * HOUR)
    never = replace(ROUTE, remind_every=None)
    assert decide(old, never, [told], quiet(windows=(window,)), NOW).reason is R.REMINDER
    assert decide(old, never, [told, sent(R.REMINDER, timedelta())], quiet(windows=(window,)), NOW).reason is R.ALREADY_SENT


def test_the_reason_is_said_in_words_for_the_screen() -> None:
    assert decide(incident(), ROUTE, [], quiet(silence()), NOW).why == "silenced by Ada until 2026-11-23 02:44:00 UTC: we know"
    assert "Ada has acknowledged it" in decide(incident(**TAKEN), ROUTE, [FIRST], [], NOW).why
    assert "a reminder follows at 2026-11-23 06:05:00 UTC" in decide(incident(), ROUTE, [FIRST], [], NOW).why
    assert "INC-3" in decide(incident(merged_into=3), ROUTE, [], [], NOW).why


def test_a_decision_says_when_it_may_fall_otherwise() -> None:
    early = incident(opened_at=NOW)
    due = decide(early, ROUTE, [], [], NOW).due
    assert due is not None
    assert decide(early, ROUTE, [], [], due).send


def test_a_stored_message_reads_back() -> None:
    decision = decide(incident(), ROUTE, [], [], NOW)
    assert Sent.read(decision.reason, NOW, decision.dedup_key) == Sent(R.FIRST, NOW, 0, Severity.CRITICAL, Scope.KEY)
    over = decide(
        incident(
            **OVER,
            reopened=2,
        ),
        ROUTE,
        [FIRST],
        [],
        NOW + HOUR,
    )
    assert Sent.read(over.reason, NOW, over.dedup_key) == Sent(R.RESOLVED, NOW, 2)
    assert Sent.read("not_routed", NOW, "") == Sent(R.NOT_ROUTED, NOW)
    assert Sent.read("first", NOW, "an:older:way:of:writing") == Sent(R.FIRST, NOW)


def test_what_was_decided_not_to_be_sent_does_not_count_as_told() -> None:
    before = [Sent(R.SILENCED, NOW - MINUTE), Sent(R.TOO_SOON, NOW - MINUTE)]
    assert decide(incident(), ROUTE, before, [], NOW).reason is R.FIRST


def test_two_pollers_that_see_different_things_write_the_same_key() -> None:
    worse = incident()
    as_first = decide(worse, ROUTE, [], [], NOW)
    as_worsened = decide(worse, ROUTE, [sent(R.FIRST, MINUTE, severity=Severity.WARNING)], [], NOW)
    assert (as_first.reason, as_worsened.reason) == (R.FIRST, R.WORSENED)
    assert as_first.dedup_key == as_worsened.dedup_key


def test_of_two_routes_to_a_channel_one_that_sends_counts() -> None:
    other = replace(ROUTE, owners=("team-old",))
    quiet_one = replace(ROUTE, channel="mail", owners=("team-old",))
    found = decide_all(incident(), [other, ROUTE, quiet_one], {}, [], NOW)
    assert {channel: each.reason for channel, each in found.items()} == {"chat": R.FIRST, "mail": R.NOT_ROUTED}
    found = decide_all(incident(), [ROUTE, other], {"chat": [FIRST]}, [], NOW)
    assert found["chat"].reason is R.ALREADY_SENT


# Digests


def test_a_digest_speaks_of_the_stretch_that_is_complete() -> None:
    daily = replace(DIGEST, digest_at=time(6), min_severity=Severity.INFO)
    assert digest_slot(daily, NOW) == (datetime(2026, 11, 21, 6, tzinfo=UTC), datetime(2026, 11, 22, 6, tzinfo=UTC))
    start, end = digest_slot(daily, NOW)
    told = [
        incident(id=1, opened_at=start, resolved_at=start + HOUR),
        incident(id=2, opened_at=start - 99 * HOUR),
        incident(id=3, opened_at=end - MINUTE, severity=Severity.INFO),
    ]
    left_out = [
        incident(id=4, opened_at=end),
        incident(id=5, opened_at=start - HOUR, resolved_at=start - MINUTE),
        incident(id=6, opened_at=start, merged_into=2, resolved_at=start),
    ]
    [digest] = digests([daily], [*told, *left_out], NOW)
    assert [each.id for each in digest.incidents] == [3, 2, 1]
    assert digests([daily], told, NOW + MINUTE)[0].dedup_key == digest.dedup_key
    assert digests([daily], told, NOW + 24 * HOUR)[0].dedup_key != digest.dedup_key


def test_where_nothing_happened_no_digest_comes() -> None:
    assert digests([DIGEST], [], NOW) == []
    assert digests([DIGEST], [incident(severity=Severity.INFO, opened_at=NOW - 40 * HOUR)], NOW) == []
    assert digests([ROUTE], [incident(opened_at=NOW - 40 * HOUR)], NOW) == []


def test_two_digest_routes_to_a_channel_make_one_message() -> None:
    routes = [replace(DIGEST, owners=("team-shop",)), replace(DIGEST, owners=("team-old",))]
    old = NOW - 40 * HOUR
    [digest] = digests(routes, [incident(id=1, opened_at=old), incident(id=2, opened_at=old, owners=("team-old",))], NOW)
    assert {each.id for each in digest.incidents} == {1, 2}


# Whatever comes


@dataclass
class Life:
    """One incident through whatever happens to it, with two routes; what is sent is kept as the store would."""

    routes: tuple[Route, ...]
    now: datetime = NOW
    one: Incident = field(default_factory=lambda: incident(opened_at=NOW, severity=Severity.WARNING))
    silences: list[Silence] = field(default_factory=list)
    keys: set[tuple[str, str]] = field(default_factory=set)
    told: dict[str, list[Sent]] = field(default_factory=dict)
    log: list[tuple[str, Decision, Incident, Quiet | None]] = field(default_factory=list)
    """What was sent, of which incident, and what should have kept it quiet."""

    def happen(self, what: str) -> None:
        one = self.one
        match what:
            case "acknowledge" if one.open:
                self.one = replace(one, acknowledged_at=self.now, acknowledged_by="Ada")
            case "worse" if one.open:
                self.one = replace(one, severity=Severity.CRITICAL)
            case "wider" if one.open:
                self.one = replace(one, cause=Cause(Scope.ORGANIZATION, Lane.AUTH, "org-A"), projects=("checkout", "legacy"))
            case "recover" if one.open:
                self.one = replace(one, resolved_at=self.now)
            case "break" if one.resolved_at and self.now - one.resolved_at <= REOPEN_WITHIN and one.merged_into is None:
                self.one = replace(one, resolved_at=None, reopened=one.reopened + 1, acknowledged_at=None)
            case "merge" if one.open:
                self.one = replace(one, merged_into=7, resolved_at=self.now)
            case "silence":
                self.silences.append(silence(starts=self.now, until=self.now + HOUR))
            case "silence one":
                self.silences.append(silence(starts=self.now, until=self.now + HOUR, project="checkout"))
            case "end":
                self.silences = [each if each.ended_at else replace(each, ended_at=self.now) for each in self.silences]
            case _:
                pass

    def quiets(self) -> list[Quiet]:
        return quiets(self.silences, (), PEOPLE, self.now)

    def tell(self) -> None:
        for channel, decision in decide_all(self.one, self.routes, self.told, self.quiets(), self.now).items():
            if decision.send and (channel, decision.dedup_key) not in self.keys:
                self.keys.add((channel, decision.dedup_key))
                self.told.setdefault(channel, []).append(Sent.read(decision.reason, self.now, decision.dedup_key))
                self.log.append((channel, decision, self.one, quiet_now(self.one, self.quiets(), self.now)))


HAPPENINGS = ("acknowledge", "worse", "wider", "recover", "break", "break", "silence", "silence one", "end", "nothing", "merge")
STEPS = st.lists(st.tuples(st.sampled_from(HAPPENINGS), st.sampled_from([1, 20, 240, 960, 3700, 15_000])), max_size=40)
ROUTES = (
    ROUTE,
    replace(ROUTE, owners=("team-shop",), remind_every=HOUR),
    Route(channel="boss", min_severity=Severity.CRITICAL, escalate_after=HOUR),
    Route(channel="mail", remind_every=None, group_wait=timedelta(minutes=5)),
)


def live(steps: list[tuple[str, int]]) -> Life:
    life = Life(ROUTES)
    for what, seconds in steps:
        life.happen(what)
        life.tell()
        life.now += timedelta(seconds=seconds)
        life.tell()
    return life


@given(STEPS)
def test_at_most_one_message_for_each_thing_and_channel(steps: list[tuple[str, int]]) -> None:
    life = live(steps)
    for channel, told in life.told.items():
        levels = Counter((each.generation, each.severity, each.scope) for each in told if each.severity is not None)
        assert max(levels.values(), default=0) <= 1, channel
    before = len(life.log)
    life.tell()
    life.tell()
    assert len(life.log) == before


@given(STEPS)
def test_what_is_acknowledged_is_reminded_of_no_more_but_called_over(steps: list[tuple[str, int]]) -> None:
    life = live(steps)
    for _, decision, one, _ in life.log:
        if one.acknowledged_at is not None:
            assert decision.reason in (R.WORSENED, R.RESOLVED)
    if life.one.acknowledged_at is None or not life.one.open:
        return
    life.happen("end")
    life.happen("recover")
    speaking = {channel for channel, told in life.told.items() if told and told[-1].reason is not R.RESOLVED}
    life.now += REOPEN_WITHIN
    life.tell()
    assert all(life.told[channel][-1].reason is R.RESOLVED for channel in speaking)


@given(STEPS)
def test_nothing_is_said_in_a_silence_and_what_is_open_after_it_once(steps: list[tuple[str, int]]) -> None:
    life = live(steps)
    assert all(hush is None for *_, hush in life.log)
    if not life.one.open or life.one.acknowledged_at is not None:
        return
    life.happen("silence")
    life.now += 2 * HOUR
    before = len([each for each in life.log if each[0] == "mail"])
    for _ in range(3):
        life.tell()
        life.now += HOUR
    assert len([each for each in life.log if each[0] == "mail"]) == before + 1


@given(STEPS)
def test_it_is_called_over_only_where_something_was_said(steps: list[tuple[str, int]]) -> None:
    for told in live(steps).told.values():
        for before, each in zip([None, *told], told, strict=False):
            if each.reason is R.RESOLVED:
                assert before is not None
                assert before.reason is not R.RESOLVED
            elif before is None or before.reason is R.RESOLVED:
                assert each.reason in (R.FIRST, R.ESCALATION)


@given(st.lists(st.integers(1, 899), min_size=1, max_size=60))
def test_an_incident_that_comes_and_goes_does_not_repeat_itself(gaps: list[int]) -> None:
    life = Life((Route(channel="mail", remind_every=None),))
    for gap in gaps:
        for what in ("recover", "break"):
            life.happen(what)
            life.tell()
            life.now += timedelta(seconds=gap)
            life.tell()
    life.happen("recover")
    life.now += REOPEN_WITHIN
    life.tell()
    said = Counter(each.reason for each in life.told.get("mail", ()))
    assert said[R.FIRST] <= 2
    assert said[R.RESOLVED] <= 2
    assert said[R.FIRST] == said[R.RESOLVED]


@given(STEPS)
def test_what_was_merged_says_nothing_of_its_own(steps: list[tuple[str, int]]) -> None:
    assert all(one.merged_into is None for _, _, one, _ in live(steps).log)


@given(
    st.lists(st.sampled_from([FIRST, RESOLVED, REMINDER, sent(R.ESCALATION, MINUTE), Sent(R.SILENCED, NOW), Sent(R.FIRST, NOW)])),
    st.sampled_from((*ROUTES, DIGEST)),
    st.sampled_from([{}, OVER, TAKEN, OLD, WIDER, {"reopened": 2}, {"id": None}, {"projects": ()}, {"opened_at": NOW + HOUR}]),
    st.lists(st.sampled_from([silence(), silence(project="checkout"), silence(until=NOW - HOUR)])),
)
def test_every_question_has_an_answer(told: list[Sent], route: Route, what: dict[str, object], silences: list[Silence]) -> None:
    decision = decide(incident(**what), route, told, quiet(*silences), NOW)
    assert decision.send is bool(decision.dedup_key)
    assert decision.reason.value
    assert decision.why
