"""Incidents as stored: what was decided comes back, the evidence stays as it was, and nothing is ever lost of either."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from monitor.domain.incidents import Cause, Change, Event, EventKind, Incident, IncidentRecord, OpenIncidents, Severity
from monitor.domain.inventory import ProbeKind, Target
from monitor.domain.taxonomy import FailureKind, Lane, Scope
from monitor.store import incidents, maintenance, queries, tables
from monitor.store.engine import StoreError, reading
from monitor.store.incidents import IncidentFilter
from tests.benchmarks.organizations import storm
from tests.store.conftest import Store, files_only
from tests.store.helpers import CHECKOUT, START, Keep, answer, incident, inventory, limits, opened, span, story

SECRET = "sk-proj-TEST-000-notakey-abcdefgh"
OPENED = Event(START, EventKind.OPENED, "Opened.")


def ids(found: list[Incident]) -> list[int | None]:
    return [one.id for one in found]


def record(store: Store, one: Incident) -> IncidentRecord:
    found = incidents.record(store.pages, one.id or 0)
    assert found is not None
    return found


def frozen(store: Store, one: Incident) -> dict[str, Any]:
    return record(store, one).evidence


def resolved(store: Store, one: Incident, after: str = "10m") -> Incident:
    at = one.opened_at + span(after)
    return incidents.apply(store.engine, [Change(replace(one, resolved_at=at, ill=0), ())], at)[0]


# --- writing -------------------------------------------------------------------------------------------------------------


def test_an_incident_comes_back_as_it_was_decided(store: Store) -> None:
    told = incident(
        models=("gpt-4o",),
        services=("api", "batch"),
        owners=("team-a",),
        environments=("production",),
        last_good_at=START - span("1m"),
        named_at=START + span("20s"),
        reopened=2,
    )
    (stored,) = opened(store.engine, told)
    assert stored == replace(told, id=stored.id)
    assert incidents.open_ones(store.pages) == [stored]


def test_a_change_is_stored_with_what_happened_to_it(store: Store) -> None:
    (one,) = opened(store.engine, incident())
    wider = replace(
        one, cause=Cause(Scope.PROJECT, Lane.AUTH, "checkout"), severity=Severity.WARNING, projects=("checkout", "search"), ill=3
    )
    told = (Event(START + span("1m"), EventKind.WIDENED, "Another key too."),)
    assert incidents.apply(store.engine, [Change(wider, told)], START) == [wider]
    kept = queries.incident(store.pages, one.id or 0)
    assert kept is not None
    assert kept.incident == wider
    assert [event.kind for event in kept.events] == [EventKind.OPENED, EventKind.WIDENED]
    assert ids(incidents.find(store.pages, project="search")) == [one.id]


def test_several_changes_come_back_in_their_order(store: Store) -> None:
    (old,) = opened(store.engine, incident("a"))
    stored = incidents.apply(
        store.engine, [Change(incident("b"), (OPENED,)), Change(old, ()), Change(incident("c"), (OPENED,))], START
    )
    assert [one.projects for one in stored] == [("b",), ("a",), ("c",)]
    assert len(set(ids(stored))) == 3


def test_what_cannot_be_stored_changes_nothing(store: Store) -> None:
    impossible = Change(incident("b", first_bad_at=START.replace(tzinfo=None)), (OPENED,))
    with pytest.raises(ValueError, match="zone"):
        incidents.apply(store.engine, [Change(incident("a"), (OPENED,)), impossible], START)
    assert incidents.find(store.pages) == []


def test_pages_learn_of_every_change(store: Store) -> None:
    seen = [queries.data_version(store.pages)]
    (one,) = opened(store.engine, incident())
    seen.append(queries.data_version(store.pages))
    incidents.add_event(store.engine, one.id or 0, Event(START, EventKind.COMMENT, "looking", "ada"))
    seen.append(queries.data_version(store.pages))
    assert seen == sorted(set(seen))


def test_an_acknowledgement_survives_a_change_that_knew_nothing_of_it(store: Store) -> None:
    (one,) = opened(store.engine, incident())
    said = Event(START, EventKind.ACKNOWLEDGED, "Acknowledged.", "ada")
    assert incidents.update(store.engine, one.id or 0, said, acknowledged_at=START, acknowledged_by="ada")
    incidents.apply(store.engine, [Change(replace(one, ill=5), ())], START)
    (found,) = incidents.open_ones(store.pages)
    assert (found.acknowledged_by, found.acknowledged_at, found.ill) == ("ada", START, 5)


def test_a_reopened_incident_is_nobodys_again(store: Store) -> None:
    (one,) = opened(store.engine, incident(acknowledged_at=START, acknowledged_by="ada"))
    again = replace(resolved(store, one), resolved_at=None, reopened=1, acknowledged_at=None, acknowledged_by=None)
    incidents.apply(store.engine, [Change(again, ())], START)
    (found,) = incidents.open_ones(store.pages)
    assert (found.acknowledged_by, found.acknowledged_at) == (None, None)


@pytest.mark.parametrize("number", [0, -1, 7, 2**63, 2**70])
def test_an_incident_that_is_not_there_takes_no_words(store: Store, number: int) -> None:
    assert not incidents.add_event(store.engine, number, OPENED)
    assert not incidents.update(store.engine, number, OPENED, acknowledged_by="ada")
    assert incidents.record(store.pages, number) is None


# --- finding -------------------------------------------------------------------------------------------------------------


def test_open_ones_and_those_that_ended(store: Store) -> None:
    a, b, c = opened(store.engine, incident("a"), incident("b", START + span("1m")), incident("c", START + span("2m")))
    a = resolved(store, a)
    merged = replace(b, merged_into=c.id, resolved_at=START + span("5m"), ill=0)
    incidents.apply(store.engine, [Change(merged, ())], START)
    assert ids(incidents.open_ones(store.pages)) == [c.id]
    assert ids(incidents.recently_resolved(store.pages, START)) == [a.id]
    assert ids(incidents.recently_resolved(store.pages, START + span("11m"))) == []


def test_newest_first_of_a_window_of_a_project_and_no_more_than_asked(store: Store) -> None:
    told = [incident("ab"[n % 2], START + n * span("1h")) for n in range(6)]
    stored = [resolved(store, one) for one in opened(store.engine, *told[:5])] + opened(store.engine, told[5])
    newest = ids(stored)[::-1]
    assert ids(incidents.find(store.pages)) == newest
    assert ids(incidents.find(store.pages, limit=2)) == newest[:2]
    assert ids(incidents.find(store.pages, open_only=True)) == newest[:1]
    assert ids(incidents.find(store.pages, project="a")) == newest[1::2]
    assert ids(incidents.find(store.pages, project="nobody")) == []
    # One that began before and ended within belongs to the window.
    assert ids(incidents.find(store.pages, since=START + span("3h") + span("5m"))) == newest[:3]


def test_an_open_incident_belongs_to_every_window(store: Store) -> None:
    (one,) = opened(store.engine, incident())
    assert ids(incidents.find(store.pages, since=START + span("400d"))) == [one.id]


def test_similar_ones_are_past_and_the_likest_come_first(store: Store) -> None:
    def past(name: str, day: int, failure: FailureKind = FailureKind.AUTH_INVALID_KEY) -> Incident:
        return resolved(store, opened(store.engine, incident(name, START - day * span("1d"), failure=failure))[0])

    same, other_subject = past("checkout", 9), past("search", 3)
    other_failure = past("checkout", 2, FailureKind.AUTH_MISSING_SCOPE)
    past("elsewhere", 1, FailureKind.QUOTA_CREDITS)
    (still_open,) = opened(store.engine, incident("checkout", START - span("1h")))
    (now,) = opened(store.engine, incident("checkout"))
    past("checkout", -1)  # later than the one that is asked about
    assert ids(incidents.similar(store.pages, now)) == ids([same, other_subject, other_failure])
    assert ids(incidents.similar(store.pages, now, limit=2)) == ids([same, other_subject])
    assert still_open.id not in ids(incidents.similar(store.pages, now))


def test_no_incident_is_no_trouble(store: Store) -> None:
    assert incidents.apply(store.engine, [], START) == []
    assert incidents.open_ones(store.pages) == incidents.find(store.pages) == incidents.recently_resolved(store.pages, START) == []
    assert incidents.similar(store.pages, incident()) == []


# --- evidence ------------------------------------------------------------------------------------------------------------


def broken(store: Store) -> Incident:
    """A key that worked, met a time-out, and is refused since; the incident is open."""
    store.writer.sync_inventory(inventory("checkout", "search"), START)
    config = {"monitor": {"demo": False}, "projects": [{"name": "checkout", "owner": "a"}, {"name": "search"}]}
    store.writer.save_effective_config("monitor.toml", config, START)
    store.writer.record(story("ok ok timeout 401 401 401", limits=limits(3)), START)
    store.writer.record(story("ok ok 500", target=Target(ProbeKind.AUTH, "search", "backend")), START)
    bad = START + span("2m")
    return opened(store.engine, incident(first_bad_at=bad, opened_at=START + span("5m") + span("1s")))[0]


def test_the_evidence_is_what_was_known_when_it_opened(store: Store) -> None:
    one = broken(store)
    kept = record(store, one)
    first, good, config = kept.evidence["first_bad"], kept.evidence["last_good"], kept.evidence["config"]
    assert (first["at"], first["failure"]) == ("2026-11-20T12:02:00.000+00:00", "network.timeout")
    assert (good["at"], good["verdict"]) == ("2026-11-20T12:01:00.000+00:00", "ok")
    assert one.last_good_at == START + span("1m")
    errors = kept.evidence["errors"]
    assert [(error["failure"], error["count"], error["request_ids"]) for error in errors] == [
        ("auth.invalid_key", 3, ["req_120300", "req_120400", "req_120500"]),
        ("network.timeout", 1, ["req_120200"]),
    ]
    assert (errors[0]["first"], errors[0]["last"]) == ("2026-11-20T12:03:00.000+00:00", "2026-11-20T12:05:00.000+00:00")
    shown = kept.evidence["limits"]
    assert [(each["key"], each["limits"][0]["remaining"]) for each in shown] == [("backend", 3)]
    assert config == {"monitor": {"demo": False}, "projects": [{"name": "checkout", "owner": "a"}]}
    assert json.loads(json.dumps(kept.evidence)) == kept.evidence


def test_frozen_evidence_outlives_what_it_was_taken_from(store: Store) -> None:
    one = broken(store)
    before = record(store, one)
    later = START + span("500d")
    assert maintenance.prune(store.engine, later, Keep()).finished
    with reading(store.pages) as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(tables.observations)).scalar() == 0
    after = record(store, one)
    assert (after.incident, after.evidence) == (before.incident, before.evidence)

    def answers(kept: IncidentRecord) -> list[str]:
        return [event.text.partition(",")[0] for event in kept.events if event.kind is EventKind.CHECK]

    assert answers(after)[:2] == answers(before)[:2] == ["Last good answer", "First bad answer"]


def test_frozen_evidence_is_not_taken_again(store: Store) -> None:
    one = broken(store)
    before = frozen(store, one)
    store.writer.record(story("500 500", start=START + span("6m")), START)
    resolved(store, one)
    incidents.apply(store.engine, [Change(replace(one, reopened=1), ())], START + span("20m"))
    assert frozen(store, one) == before


def test_an_incident_of_a_host_shows_the_question_without_a_key(store: Store) -> None:
    known = inventory("checkout")
    store.writer.sync_inventory(known, START)
    control = Target(ProbeKind.CONTROL, host="https://api.openai.com/v1")
    store.writer.record([answer("ok", control), answer("timeout", control, START + span("1m"))], START)
    told = incident(
        first_bad_at=START + span("1m"),
        opened_at=START + span("2m"),
        cause=Cause(Scope.MONITOR, Lane.NETWORK, ""),
        failure=FailureKind.NETWORK_TIMEOUT,
        projects=(),
        keys=(),
    )
    kept = record(store, opened(store.engine, told)[0])
    first = kept.evidence["first_bad"]
    assert (first["probe"], first["host"]) == ("control", control.host)


def test_each_of_many_incidents_gets_its_own_evidence(store: Store) -> None:
    names = [f"p{number}" for number in range(30)]
    store.writer.sync_inventory(inventory(*names), START)
    store.writer.record(
        [answer("401", Target(ProbeKind.AUTH, name, "backend"), START, message=f"for {name}") for name in names], START
    )
    changes = [Change(incident(name), (OPENED,)) for name in names]
    for name, one in zip(names, incidents.apply(store.engine, changes, START + span("1m")), strict=True):
        kept = record(store, one)
        errors = kept.evidence["errors"]
        assert [error["message"] for error in errors] == [f"for {name}"]


def test_an_illness_older_than_the_hour_that_is_counted_still_shows_how_it_began(store: Store) -> None:
    store.writer.record(story("ok 401", every="1m"), START)
    store.writer.record(story("401", start=START + span("3d")), START)
    (one,) = opened(store.engine, incident(first_bad_at=START + span("1m"), opened_at=START + span("3d") + span("1s")))
    kept = record(store, one)
    first, errors = kept.evidence["first_bad"], kept.evidence["errors"]
    assert first["at"] == "2026-11-20T12:01:00.000+00:00"
    assert errors[0]["count"] == 2


def test_without_any_observation_the_evidence_says_so(store: Store) -> None:
    kept = record(store, opened(store.engine, incident())[0])
    assert kept.evidence == {"first_bad": None, "last_good": None, "errors": [], "limits": [], "config": {"projects": []}}


# --- hostile texts -------------------------------------------------------------------------------------------------------

HOSTILE = ["", "\0", "\ud800 half", "'; DROP TABLE incidents; --", "é" * 10_000, "</script><b>", "%s {0} \\", "\u202eabc"]


@pytest.mark.parametrize("text", HOSTILE)
def test_any_text_is_stored(store: Store, text: str) -> None:
    target = replace(CHECKOUT)
    store.writer.record([answer("401", target, START, message=text, code=text, body=text)], START)
    (one,) = opened(store.engine, incident(title=text, services=(text,)))
    assert incidents.update(store.engine, one.id or 0, Event(START, EventKind.COMMENT, text, text), acknowledged_by=text)
    kept = record(store, one)
    assert [event.kind for event in kept.events] == [EventKind.CHECK, EventKind.COMMENT, EventKind.OPENED]
    assert len(kept.incident.title) <= 4096
    incidents.find(store.pages, project=text)


def test_a_secret_that_was_pasted_is_stored_nowhere(store: Store) -> None:
    store.writer.save_effective_config("m", {"projects": [{"name": "checkout", "owner": SECRET}]}, START)
    (one,) = opened(store.engine, incident())
    incidents.update(store.engine, one.id or 0, Event(START, EventKind.COMMENT, SECRET, SECRET), acknowledged_by=SECRET)
    kept = record(store, one)
    assert "notakey" not in str(kept)


def test_what_is_stored_is_not_another_incident_than_the_one_decided(store: Store) -> None:
    """Else every look would find that something changed."""
    (one,) = opened(store.engine, incident(title="Key “sk-proj-labelled-like-a-key-0123456789” of a: key refused"))
    assert incidents.open_ones(store.pages) == [one]


def test_a_store_without_the_tables_is_called_older(store: Store) -> None:
    with store.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE incidents RENAME TO gone")
    with pytest.raises(StoreError, match="db upgrade"):
        incidents.open_ones(store.pages)


# --- many ----------------------------------------------------------------------------------------------------------------

OPEN = IncidentFilter(open_only=True)
EVER = IncidentFilter()


def test_the_worst_open_ones_come_first_and_what_is_over_last(store: Store) -> None:
    facts = [
        (Severity.WARNING, None, None),
        (Severity.CRITICAL, START, None),
        (Severity.CRITICAL, None, None),
        (Severity.INFO, None, None),
        (Severity.CRITICAL, None, START),
        (Severity.CRITICAL, None, None),
    ]
    made = [
        incident(f"p{n}", START + n * span("1m"), severity=severity, acknowledged_at=taken, resolved_at=over)
        for n, (severity, taken, over) in enumerate(facts)
    ]
    numbers = ids(opened(store.engine, *made))
    order = [numbers[place] for place in (5, 2, 1, 0, 3, 4)]
    assert ids(incidents.page(store.pages, EVER)) == order
    assert [ids(incidents.page(store.pages, OPEN, first, 2)) for first in (0, 2, 4, 6)] == [order[:2], order[2:4], [order[4]], []]
    assert incidents.count(store.pages, EVER) == (6, 5)
    assert incidents.count(store.pages, OPEN) == (5, 5)
    going = incidents.going(store.pages)
    assert (going.count, going.taken, going.worst) == (5, 1, Severity.CRITICAL)
    assert going.projects == {"p0", "p1", "p2", "p3", "p5"}
    assert going.causes(["p1", "p4", "p5"]) == 2


def test_nothing_open_is_counted_as_nothing(store: Store) -> None:
    assert incidents.going(store.pages) == OpenIncidents()
    assert incidents.page(store.pages, EVER) == []
    assert incidents.count(store.pages, EVER) == (0, 0)


NASTY = 'a"],"environments":["b', "100%_sure", "back\\slash", "ä'; DROP TABLE incidents; --"


def test_filters_of_incidents(store: Store) -> None:
    key, money = Cause(Scope.KEY, Lane.AUTH, "a"), Cause(Scope.PROJECT, Lane.QUOTA, "b")
    made = [
        incident("checkout", cause=key, owners=("team-a", "team-b")),
        incident("mail", START + span("1h"), cause=money, owners=("team-b",), environments=("team-a",)),
        incident("old", START - span("3d"), cause=key, owners=NASTY, resolved_at=START - span("2d")),
    ]
    numbers = ids(opened(store.engine, *made))

    def found(**where: Any) -> set[int]:
        numbered = {one.id: place for place, one in enumerate(made)} | {number: place for place, number in enumerate(numbers)}
        return {numbered[one.id] for one in incidents.page(store.pages, IncidentFilter(**where))}

    assert found(since=START) == {0, 1}
    assert found(since=START - span("5d")) == {0, 1, 2}
    assert found(project="mail") == {1}
    assert found(owner="team-a") == {0}
    assert found(owner="team-b") == {0, 1}
    assert found(owner="team") == found(owner="%") == found(owner="team_a") == found(owner="") == set()
    for name in NASTY:
        assert found(owner=name) == {2}
        assert incidents.count(store.pages, IncidentFilter(owner=name)) == (1, 0)
    assert found(lane="quota") == {1}
    assert found(scope="key", owner="team-b") == {0}
    assert found(lane="x" * 9000) == found(project="no\0body") == set()


@files_only
def test_ten_thousand_open_incidents_are_counted_not_read(store: Store) -> None:
    storm(store.engine, START, 10_000, 2_000)
    going = incidents.going(store.pages)
    assert (going.count, len(going.projects), going.worst) == (10_000, 2_000, Severity.CRITICAL)
    first = incidents.page(store.pages, OPEN, 0, 8)
    assert [each.severity for each in first] == [Severity.CRITICAL] * 8
    assert incidents.page(store.pages, OPEN, 9_995, 50)[-1].severity is Severity.INFO

    def seconds(question: Callable[[], object]) -> float:
        times = []
        for _ in range(5):
            began = time.process_time()
            question()
            times.append(time.process_time() - began)
        return min(times)

    def everything() -> object:
        incidents._read.cache_clear()
        return incidents.open_ones(store.pages)

    whole = seconds(everything)
    for question in (lambda: incidents.going(store.pages), lambda: incidents.page(store.pages, OPEN, 0, 8)):
        assert seconds(question) < whole / 2
