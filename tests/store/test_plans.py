"""No page reads a whole table of history: every query seeks."""

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from monitor.domain.alerting import NotifyReason, Silence
from monitor.domain.incidents import Change, Event, EventKind
from monitor.domain.inventory import ProbeKind
from monitor.domain.observation import Verdict
from monitor.domain.taxonomy import FailureKind, Lane
from monitor.domain.timeline import Window
from monitor.store import incidents, intents, maintenance, outbox, queries, silences, slo, tables
from monitor.store.engine import reading
from monitor.store.incidents import IncidentFilter
from monitor.store.intents import Intent
from monitor.store.outbox import NewMessage, NotSent
from monitor.store.record import Writer
from monitor.store.status import EvidenceFilter
from monitor.store.use import daily_use
from tests.store.conftest import Store, files_only
from tests.store.helpers import START, Keep, answer, incident, inventory, opened, span

pytestmark = files_only
DAY = Window(START - span("1d"), START)
YEAR = Window(START - span("395d"), START)
HOUR = span("1h")
HISTORY = {
    "observations",
    "transitions",
    "limit_buckets",
    "probe_use",
    "lag_history",
    "incidents",
    "incident_projects",
    "incident_events",
    "incident_evidence",
    "outbox",
    "silences",
    "intents",
    "usage",
    "costs",
} | {table.name for table in (*tables.buckets.values(), *tables.failures.values())}


def sent_by(engine: Engine, question: Callable[[Engine], object]) -> list[tuple[str, object]]:
    """Every statement that the question sends and that has a plan, with its parameters."""
    sent: list[tuple[str, object]] = []

    def note(_connection: object, _cursor: object, statement: str, parameters: object, *_rest: object) -> None:
        if statement.lstrip().startswith(("SELECT", "WITH", "DELETE", "INSERT", "UPDATE")):
            sent.append((statement, parameters[0] if isinstance(parameters, list) else parameters))

    sa.event.listen(engine, "before_cursor_execute", note)
    question(engine)
    sa.event.remove(engine, "before_cursor_execute", note)
    assert sent
    return sent


def asked(engine: Engine, question: Callable[[Engine], object]) -> list[str]:
    """The plans of SQLite, line by line, of every statement that the question sends."""
    sent = sent_by(engine, question)
    with reading(engine) as connection:
        return [
            row[-1]
            for statement, parameters in sent
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        ]


def read_whole(plan: list[str]) -> set[str]:
    """The tables of history that a plan reads from end to end, with an index or without."""
    # An index that holds only what nobody has taken yet may be read from end to end.
    scanned = {match[1] for line in plan if (match := re.match(r"SCAN (\w+)(?! USING INDEX ix_intents_not_taken)", line))}
    return scanned & HISTORY


QUESTIONS: dict[str, Callable[[Engine], object]] = {
    "data_version": queries.data_version,
    "heartbeat": queries.heartbeat,
    "effective_config": queries.effective_config,
    "fleet": lambda engine: queries.fleet(engine, START),
    "project": lambda engine: queries.project(engine, "project-7", START),
    "targets": lambda engine: queries.targets(engine, START),
    "targets of one": lambda engine: queries.targets(engine, START, "project-7"),
    "keys": lambda engine: queries.keys(engine, START),
    "model_access": lambda engine: queries.model_access(engine, START),
    "model_access of one": lambda engine: queries.model_access(engine, START, "project-7"),
    "model_access of some": lambda engine: queries.model_access(engine, START, names=["project-3", "project-7"]),
    "access_overview": lambda engine: queries.access_overview(engine, START),
    "catalogues": queries.catalogues,
    "deadlines": lambda engine: queries.deadlines(engine, START),
    "reminders": queries.reminders,
    "daily_use": lambda engine: daily_use(engine, START, models={"gpt-4o"}),
    "strips": lambda engine: queries.strips(engine, DAY),
    "strips of some": lambda engine: queries.strips(engine, DAY, projects=["project-3", "project-7"]),
    "failure_trend": lambda engine: queries.failure_trend(engine, DAY, HOUR),
    "failure_trend by the minute": lambda engine: queries.failure_trend(engine, DAY, span("1m")),
    "failure_trend of one": lambda engine: queries.failure_trend(engine, DAY, HOUR, "project-7"),
    "check_counts": lambda engine: queries.check_counts(engine, DAY, span("15m")),
    "check_counts of one": lambda engine: queries.check_counts(engine, DAY, span("15m"), "project-7"),
    "latency_trend": lambda engine: queries.latency_trend(engine, DAY, HOUR),
    "latency_trend of one": lambda engine: queries.latency_trend(engine, DAY, HOUR, "project-7", ProbeKind.AUTH),
    "rate_limit_trend": lambda engine: queries.rate_limit_trend(engine, DAY, HOUR),
    "rate_limit_trend of one": lambda engine: queries.rate_limit_trend(engine, DAY, HOUR, "project-7"),
    "failure_trend by the day": lambda engine: queries.failure_trend(engine, YEAR, span("1d")),
    "check_counts by the day, of one": lambda engine: queries.check_counts(engine, YEAR, span("7d"), "project-7"),
    "latency_trend by the day": lambda engine: queries.latency_trend(engine, YEAR, span("1d")),
    "rate_limit_trend by the day": lambda engine: queries.rate_limit_trend(engine, YEAR, span("1d")),
    "levels": lambda engine: slo.levels(engine, DAY),
    "levels of a month": lambda engine: slo.levels(engine, Window(START - span("28d"), START)),
    "levels of a month, of one": lambda engine: slo.levels(engine, Window(START - span("28d"), START), "project-7"),
    "table": lambda engine: slo.table(engine, START),
    "burning": lambda engine: slo.burning(engine, START),
    "burning of one": lambda engine: slo.burning(engine, START, project="project-7"),
    "limits_now": queries.limits_now,
    "limits_history": lambda engine: queries.limits_history(engine, DAY, HOUR, "project-7"),
    "transitions": lambda engine: queries.transitions(engine, DAY),
    "transitions of one": lambda engine: queries.transitions(engine, DAY, "project-7"),
    "lag_trend": lambda engine: queries.lag_trend(engine, DAY),
    "probe_cost": lambda engine: queries.probe_cost(engine, DAY),
    "observation": lambda engine: queries.observation(engine, 3, START),
    "incidents of a project": lambda engine: queries.incidents(engine, project="project-7"),
    "incidents of a window": lambda engine: queries.incidents(engine, since=START - span("7d")),
    "incidents of a project and a window": lambda engine: queries.incidents(engine, since=START - span("7d"), project="project-7"),
    "incidents that are open": lambda engine: queries.incidents(engine, open_only=True),
    "open_incidents": queries.open_incidents,
    "incidents_going": queries.incidents_going,
    "a page of incidents": lambda engine: queries.incident_page(engine, IncidentFilter(since=START - span("7d"))),
    "a page of open incidents": lambda engine: queries.incident_page(engine, IncidentFilter(open_only=True, owner="a")),
    "a page of a project's incidents": lambda engine: queries.incident_page(engine, IncidentFilter(project="project-7")),
    "how many incidents": lambda engine: queries.incident_count(engine, IncidentFilter(since=START - span("7d"), lane="auth")),
    "recently_resolved": lambda engine: incidents.recently_resolved(engine, START),
    "incident": lambda engine: queries.incident(engine, 3),
    "similar_incidents": lambda engine: queries.similar_incidents(engine, incident("project-7", START, id=3)),
    "deliveries of an incident": lambda engine: queries.deliveries(engine, 3),
    "last_sent": lambda engine: outbox.last_sent(engine, 3, "team-3"),
    "active_silences": lambda engine: queries.active_silences(engine, START),
    "waiting_intents": queries.waiting_intents,
}
FILTERS = [
    EvidenceFilter(),
    EvidenceFilter(project="project-7"),
    EvidenceFilter(model="gpt-4o"),
    EvidenceFilter(key="backend"),
    EvidenceFilter(status=401),
    EvidenceFilter(probe=ProbeKind.AUTH),
    EvidenceFilter(verdict=Verdict.OK),
    EvidenceFilter(verdict=Verdict.FAILED),
    EvidenceFilter(project="project-7", lane=Lane.AUTH),
    EvidenceFilter(failure=FailureKind.RATE_TOKENS),
    EvidenceFilter(request_id="req_120000"),
]
for _number, _where in enumerate(FILTERS):
    QUESTIONS[f"observations {_number}"] = partial(queries.observations, window=DAY, where=_where)


@pytest.fixture
def filled(store: Store) -> Store:
    """Twenty projects with something of everything, so that a plan is one that a real store gets."""
    known = inventory(*(f"project-{number}" for number in range(20)))
    store.writer.sync_inventory(known, START)
    store.writer.record([answer(word, check.target, START - span("1h")) for check in known.checks for word in ("ok", "401")], START)
    past = opened(store.engine, *(incident(f"project-{number % 20}", START - number * span("1d")) for number in range(40)))
    over = [Change(replace(one, resolved_at=one.opened_at + span("1h")), ()) for one in past[1:]]
    incidents.apply(store.engine, over, START)
    told = [NewMessage(number, f"team-{number % 4}", NotifyReason.FIRST, str(number), "a", "b") for number in range(40)]
    outbox.enqueue(store.engine, told, START - span("1h"))
    for each in outbox.claim(store.engine, "a", START - span("1h"), 38):
        outbox.delivered(store.engine, each.id, START)
    for number in range(20):
        silences.add(
            store.engine, Silence(starts=START - number * span("1d"), until=START + span("1h") - number * span("1d"), by="a")
        )
        intents.submit(store.url, Intent(kind="comment", by="a", at=START))
    intents.carry_out(store.engine, START)
    return store


@pytest.mark.parametrize("question", QUESTIONS)
def test_no_question_of_a_page_reads_a_whole_history(filled: Store, question: str) -> None:
    plan = asked(filled.pages, QUESTIONS[question])
    assert read_whole(plan) == set(), plan


@pytest.mark.parametrize("question", QUESTIONS)
def test_no_question_reads_a_whole_history_where_nothing_is_known_of_it_yet(store: Store, question: str) -> None:
    plan = asked(store.pages, QUESTIONS[question])
    assert read_whole(plan) == set(), plan


def test_years_are_read_from_days(filled: Store) -> None:
    for question in ("failure_trend by the day", "latency_trend by the day", "rate_limit_trend by the day"):
        plan = asked(filled.pages, QUESTIONS[question])
        assert any(re.search(r"SEARCH day_\w+ USING PRIMARY KEY \(start", line) for line in plan), plan
        assert not any(re.search(r"SEARCH (hour|quarter|minute)_\w+ USING PRIMARY KEY \(start", line) for line in plan), plan


def test_a_scan_would_be_found(filled: Store) -> None:
    def scan(engine: Engine) -> None:
        with reading(engine) as connection:
            connection.exec_driver_sql(
                "SELECT count(*) FROM observations WHERE latency_us > 5 UNION SELECT ok FROM hour_buckets"
            ).all()

    assert read_whole(asked(filled.pages, scan)) == {"observations", "hour_buckets"}


@pytest.mark.parametrize("where", [EvidenceFilter(lane=Lane.AUTH), EvidenceFilter(verdict=Verdict.FAILED)])
def test_failures_are_found_by_the_index_that_holds_failures_alone(filled: Store, where: EvidenceFilter) -> None:
    plan = asked(filled.pages, lambda engine: queries.observations(engine, DAY, where))
    assert any("ix_observations_notable (at>" in line for line in plan), plan


def test_a_request_id_is_found_by_its_index(filled: Store) -> None:
    plan = asked(filled.pages, lambda engine: queries.observations(engine, DAY, EvidenceFilter(request_id="req_110000")))
    assert any("ix_observations_request (request_id=" in line for line in plan), plan


def test_the_trend_of_the_fleet_reads_one_row_for_each_bucket_and_not_one_for_each_project(filled: Store) -> None:
    plan = asked(filled.pages, lambda engine: queries.check_counts(engine, DAY, span("15m")))
    assert any(re.search(r"quarter_buckets USING PRIMARY KEY \(start=\? AND project_id=\?\)", line) for line in plan), plan


def test_recording_reads_no_whole_history(filled: Store) -> None:
    told = [answer(word, at=START + span("1h")) for word in ("ok", "401", "429", "ok")]
    plan = asked(filled.engine, lambda engine: filled.writer.record(told, START))
    assert any("SEARCH observations" in line for line in plan)  # two answers of one millisecond: a free one is sought
    assert read_whole(plan) == set(), plan


def test_a_restart_reads_no_whole_history(filled: Store) -> None:
    assert read_whole(asked(filled.engine, Writer)) == set()


WRITES: dict[str, Callable[[Engine], object]] = {
    "open": lambda engine: opened(engine, incident("project-7", START - span("1h"))),
    "change": lambda engine: incidents.apply(engine, [Change(queries.open_incidents(engine)[0], ())], START),
    "comment": lambda engine: incidents.add_event(engine, 3, Event(START, EventKind.COMMENT, "a", "b")),
    "enqueue": lambda engine: outbox.enqueue(engine, [NewMessage(3, "team-3", NotifyReason.FIRST, "x", "a", "b")], START),
    "not sent": lambda engine: outbox.not_sent(engine, [NotSent(3, "team-3", NotifyReason.TOO_SOON, "a")], START),
    "claim": lambda engine: outbox.claim(engine, "a", START),
    "delivered": lambda engine: outbox.delivered(engine, 3, START),
    "failed": lambda engine: outbox.failed(engine, 3, START, "a", START),
    "end a silence": lambda engine: silences.end(engine, 3, START, "a"),
    "take": lambda engine: intents.carry_out(engine, START),
}


@pytest.mark.parametrize("write", WRITES)
def test_no_write_reads_a_whole_history(filled: Store, write: str) -> None:
    intents.submit(filled.url, Intent(kind="comment", by="a", at=START))
    plan = asked(filled.engine, WRITES[write])
    assert read_whole(plan) == set(), plan


def test_what_is_due_is_found_by_the_index_that_holds_waiting_messages_alone(filled: Store) -> None:
    plan = asked(filled.engine, lambda engine: outbox.claim(engine, "a", START))
    assert any("ix_outbox_due (due_at<" in line for line in plan), plan


def test_pruning_seeks_the_old_rows_of_each_target(filled: Store) -> None:
    plan = asked(filled.engine, lambda engine: maintenance.prune(engine, START, Keep()))
    assert read_whole(plan) <= {"lag_history"}, plan  # a row a minute, from one poller
