"""Every question, on a story short enough to be counted by hand; then on no story, a hostile one, and any."""

import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from monitor.domain import access_standing
from monitor.domain.health import Health
from monitor.domain.inventory import ApiKey, Inventory, KeyKind, ProbeKind, Project, Target
from monitor.domain.model_access import Probed
from monitor.domain.observation import Observation, Verdict
from monitor.domain.taxonomy import FailureKind, Lane
from monitor.domain.timeline import Window, to_ms
from monitor.store import queries
from monitor.store.status import EvidenceFilter, Heartbeat
from tests.store.conftest import Store
from tests.store.helpers import CHECKOUT, START, answer, inventory, limits, new_store, project, span, sqlite_url, story

HOUR = Window(START, START + span("1h"))
END = HOUR.end
MODEL = Target(ProbeKind.MODEL_ACCESS, "checkout", "backend", "gpt-4o")
INFERENCE = Target(ProbeKind.INFERENCE, "checkout", "backend", "gpt-4o")
DENIED = Target(ProbeKind.DENIED_MODEL, "checkout", "backend", "gpt-4-32k")
SEARCH = Target(ProbeKind.AUTH, "search", "backend")
CONTROL = Target(ProbeKind.CONTROL, host="https://api.openai.com/v1")
CAST = inventory(project("checkout", denied_models=("gpt-4-32k",)), project("search", project_id=None), project("idle"), every="1h")


def tell(store: Store) -> None:
    """An hour: checkout's key dies at 12:06, its model is rate limited from 12:15; search is well; idle is never asked."""
    store.writer.sync_inventory(CAST, START)
    paid = [
        answer("ok", INFERENCE, START, latency_ms=100.0, tokens=9, limits=limits(9)),
        answer("429", INFERENCE, START + span("15m"), latency_ms=200.0, tokens=9, limits=limits(0), retry_after=2.5),
        answer("429", INFERENCE, START + span("30m"), latency_ms=300.0, tokens=9),
        answer("tokens", INFERENCE, START + span("45m"), latency_ms=400.0, tokens=9),
    ]
    told = [
        *story("ok*6 401*4"),
        *paid,
        answer("ok", MODEL, START),
        answer("ok", DENIED, START + span("5m"), finding="denied_model_usable"),
        *story("ok ? ok", target=SEARCH),
        *story("ok 500", target=CONTROL),
    ]
    store.writer.record(told, END)


def rows(frame: pd.DataFrame, *columns: str) -> list[tuple[Any, ...]]:
    """The frame's rows; times as `12:15`, missing numbers as None."""
    kept = frame[list(columns)] if columns else frame
    return [tuple(_plain(value) for value in row) for row in kept.itertuples(index=False, name=None)]


def _plain(value: Any) -> Any:
    if isinstance(value, pd.Timestamp):
        return f"{value:%H:%M}"
    return None if pd.isna(value) else value


# --- how things stand ----------------------------------------------------------------------------------------------------


def test_the_fleet_is_every_configured_project_worst_first(store: Store) -> None:
    tell(store)
    fleet = queries.fleet(store.pages, END)
    assert [(one.name, one.health) for one in fleet] == [
        ("checkout", Health.FAILING),
        ("idle", Health.UNKNOWN),
        ("search", Health.HEALTHY),
    ]
    checkout, idle, search = fleet
    assert [checkout.lamps[lane].health for lane in (Lane.AUTH, Lane.ACCESS, Lane.RATE)] == [
        Health.FAILING,
        Health.DEGRADED,
        Health.DEGRADED,
    ]
    assert (checkout.since, checkout.last_at) == (START + span("7m"), START + span("45m"))
    assert (checkout.keys, checkout.targets) == (1, 4)
    assert checkout.findings == ("denied_model_usable",)
    assert checkout.worst is not None
    assert (checkout.worst.target, checkout.worst.message) == (CHECKOUT, "it said 401")
    assert (idle.last_at, idle.findings, idle.since) == (None, (), None)
    assert search.findings == ("no_project_id",)
    assert (checkout.owner, checkout.models, checkout.denied_models) == ("team-a", ("gpt-4o",), ("gpt-4-32k",))


def test_one_project_is_the_same_as_in_the_fleet(store: Store) -> None:
    tell(store)
    for one in queries.fleet(store.pages, END):
        assert queries.project(store.pages, one.name, END) == one


def test_what_is_late_is_unknown_but_keeps_its_last_answer(store: Store) -> None:
    tell(store)
    later = END + span("3h")
    assert {one.health for one in queries.fleet(store.pages, later)} == {Health.UNKNOWN}
    (auth,) = [one for one in queries.targets(store.pages, later, "checkout") if one.target == CHECKOUT]
    assert (auth.health, auth.status, auth.last_ok_at) == (Health.UNKNOWN, 401, START + span("5m"))


def test_targets_are_the_active_ones_worst_first(store: Store) -> None:
    tell(store)
    found = queries.targets(store.pages, END)
    assert [(one.target, one.health) for one in found][:3] == [
        (CHECKOUT, Health.FAILING),
        (INFERENCE, Health.DEGRADED),
        (DENIED, Health.DEGRADED),
    ]
    assert {one.target for one in found} == {check.target for check in CAST.checks}
    assert {one.target for one in queries.targets(store.pages, END, "search")} == {
        check.target for check in CAST.checks if check.target.project == "search"
    }
    (inference,) = [one for one in found if one.target == INFERENCE]
    assert (inference.verdict, inference.last_failure, inference.latency_ms) == (Verdict.FAILED, FailureKind.RATE_TOKENS, 400.0)
    assert (inference.limits, inference.limits_at) == (limits(0), START + span("15m"))


def test_what_is_checked_is_listed_for_the_choices_of_a_page(store: Store) -> None:
    tell(store)
    keys, models = queries.asked_of(store.pages)
    assert keys == sorted({check.target.key for check in CAST.checks if check.target.key})
    assert models == sorted({check.target.model for check in CAST.checks if check.target.model})
    mine = {check.target.model for check in CAST.checks if check.target.project == "search" and check.target.model}
    assert queries.asked_of(store.pages, "search")[1] == sorted(mine)
    assert queries.asked_of(store.pages, "nobody") == ([], [])


def test_the_models_of_one_project_are_its_part_of_the_whole(store: Store) -> None:
    tell(store)
    whole = queries.model_access(store.pages, END)
    assert queries.model_access(store.pages, END, "checkout") == [each for each in whole if each.project == "checkout"]
    assert queries.model_access(store.pages, END, "nobody") == []
    assert queries.model_access(store.pages, END, names=["search", "idle", "no\0body"]) == [
        each for each in whole if each.project != "checkout"
    ]
    assert queries.model_access(store.pages, END, names=[]) == []


def test_what_is_said_of_all_models_in_little_is_what_each_of_them_says(store: Store) -> None:
    alike = [project(f"alike-{number}", models=("gpt-4o", "o3"), owner=f"team-{number % 2}") for number in range(6)]
    other = project("other", models=("gpt-4o",), denied_models=("o3",))
    known = inventory(*alike, other, project("idle", models=()))
    store.writer.sync_inventory(known, START)
    said = {Target(ProbeKind.INFERENCE, "alike-3", "backend", "o3"): "403", Target(ProbeKind.AUTH, "alike-4", "backend"): "401"}
    for minute in range(4):
        at = START + span("1m") * minute
        store.writer.record([answer(said.get(check.target, "ok"), check.target, at) for check in known.checks], at)
    for now in (START + span("4m"), START + span("3h")):
        whole = queries.model_access(store.pages, now)
        found = queries.access_overview(store.pages, now)
        assert {each.project: each.cells for each in found.standings} == access_standing.cells(whole, now.date())
        assert [(each.project, each.owner) for each in found.standings] == sorted({(one.project, one.owner) for one in whole})
        one = queries.access_overview(store.pages, now, "alike-3")
        assert one.standings == tuple(each for each in found.standings if each.project == "alike-3")
    assert len({each.cells for each in queries.access_overview(store.pages, START + span("4m")).standings}) == 3
    assert queries.access_overview(store.pages, START, "nobody").standings == ()


def test_keys_show_the_lamp_of_authentication(store: Store) -> None:
    tell(store)
    found = queries.keys(store.pages, END)
    assert [(one.project, one.health) for one in found] == [
        ("checkout", Health.FAILING),
        ("idle", Health.UNKNOWN),
        ("search", Health.HEALTHY),
    ]
    checkout = found[0]
    assert (checkout.label, checkout.kind, checkout.source) == ("backend", KeyKind.SERVICE_ACCOUNT, "env:CHECKOUT_KEY")
    assert (checkout.failure, checkout.since, checkout.first_seen) == (FailureKind.AUTH_INVALID_KEY, START + span("7m"), START)
    assert (checkout.last_at, checkout.last_ok_at) == (START + span("45m"), START + span("5m"))
    assert checkout.auth is not None
    assert checkout.auth.target == CHECKOUT
    assert queries.keys(store.pages, END, "search") == [found[2]]


def test_a_key_that_replaces_another_begins_anew(store: Store) -> None:
    tell(store)
    old = CAST.projects[1].keys[0]
    new = replace(old, fingerprint="0123456789abcdef…9999")
    changed = replace(CAST, projects=(CAST.projects[0], replace(CAST.projects[1], keys=(new,)), CAST.projects[2]))
    store.writer.sync_inventory(changed, END)
    (key,) = queries.keys(store.pages, END, "search")
    assert (key.fingerprint, key.first_seen) == (new.fingerprint, END)
    store.writer.sync_inventory(CAST, END + span("1m"))
    (key,) = queries.keys(store.pages, END, "search")
    assert (key.fingerprint, key.first_seen) == (old.fingerprint, START)


def test_a_key_that_cannot_be_read_just_now_is_still_the_one_it_was(store: Store) -> None:
    store.writer.sync_inventory(CAST, START)
    (known,) = queries.keys(store.pages, END, "search")
    blind = replace(CAST.projects[1].keys[0], fingerprint=None, problem="env:SEARCH_KEY is not set")
    changed = replace(CAST, projects=(CAST.projects[0], replace(CAST.projects[1], keys=(blind,)), CAST.projects[2]))
    store.writer.sync_inventory(changed, END)
    (key,) = queries.keys(store.pages, END, "search")
    assert (key.fingerprint, key.first_seen) == (known.fingerprint, START)
    assert key.problem == "env:SEARCH_KEY is not set"


def test_a_project_that_leaves_is_gone_and_one_that_returns_has_its_history(store: Store) -> None:
    tell(store)
    rest = Inventory(CAST.projects[1:], tuple(check for check in CAST.checks if check.target.project != "checkout"))
    before = queries.fleet(store.pages, END)
    store.writer.sync_inventory(rest, END)
    assert [one.name for one in queries.fleet(store.pages, END)] == ["idle", "search"]
    assert queries.project(store.pages, "checkout", END) is None
    assert {one.project for one in queries.keys(store.pages, END)} == {"idle", "search"}
    assert set(queries.strips(store.pages, HOUR)["project"]) == {"search"}
    assert int(queries.check_counts(store.pages, HOUR, span("1h"), "checkout")["ok"].iloc[0]) == 9
    store.writer.sync_inventory(CAST, END)
    assert queries.fleet(store.pages, END) == before


def test_the_worst_answer_of_each_question_is_said_of_a_model(store: Store) -> None:
    tell(store)
    found = [(each.project, each.model, each.need, each.truth, each.probed) for each in queries.model_access(store.pages, END)]
    rate, unknown = FailureKind.RATE_TOKENS, Probed(Health.UNKNOWN, Health.UNKNOWN)
    limited = Probed(Health.HEALTHY, Health.DEGRADED, rate, rate, "it said tokens", START + span("45m"))
    assert found == [
        ("checkout", "gpt-4-32k", "denied", "usable", Probed(None, Health.DEGRADED, at=START + span("5m"))),
        ("checkout", "gpt-4o", "required", "failing", limited),
        ("idle", "gpt-4o", "required", "unknown", unknown),
        ("search", "gpt-4o", "required", "unknown", unknown),
    ]


# --- what happened -------------------------------------------------------------------------------------------------------

COUNTS = {
    "1h": [("12:00", 12, 8, 1)],
    "15m": [("12:00", 12, 5, 1), ("12:15", 0, 1, 0), ("12:30", 0, 1, 0), ("12:45", 0, 1, 0)],
    "5m": [("12:00", 10, 1, 1), ("12:05", 2, 4, 0), ("12:15", 0, 1, 0), ("12:30", 0, 1, 0), ("12:45", 0, 1, 0)],
}


@pytest.mark.parametrize("step", COUNTS)
def test_checks_are_counted_by_step_and_a_step_without_any_has_no_row(store: Store, step: str) -> None:
    tell(store)
    assert rows(queries.check_counts(store.pages, HOUR, span(step))) == COUNTS[step]


def test_checks_of_one_project(store: Store) -> None:
    tell(store)
    assert rows(queries.check_counts(store.pages, HOUR, span("1h"), "checkout")) == [("12:00", 9, 7, 0)]
    assert rows(queries.check_counts(store.pages, HOUR, span("1h"), "search")) == [("12:00", 2, 0, 1)]
    assert rows(queries.check_counts(store.pages, HOUR, span("1h"), "idle")) == []


def test_failures_by_kind(store: Store) -> None:
    tell(store)
    assert rows(queries.failure_trend(store.pages, HOUR, span("15m"))) == [
        ("12:00", "auth.invalid_key", 4),
        ("12:00", "server.error", 1),
        ("12:00", "unknown", 1),
        ("12:15", "rate.requests", 1),
        ("12:30", "rate.requests", 1),
        ("12:45", "rate.tokens", 1),
    ]
    assert rows(queries.failure_trend(store.pages, HOUR, span("1h"), "checkout")) == [
        ("12:00", "auth.invalid_key", 4),
        ("12:00", "rate.requests", 2),
        ("12:00", "rate.tokens", 1),
    ]


def test_latency_of_one_probe_of_one_project(store: Store) -> None:
    tell(store)
    (row,) = rows(queries.latency_trend(store.pages, HOUR, span("1h"), "checkout", ProbeKind.INFERENCE))
    assert row == ("12:00", pytest.approx(200, rel=0.02), pytest.approx(400, rel=0.02), pytest.approx(400, rel=0.02), 4)
    (row,) = rows(queries.latency_trend(store.pages, HOUR, span("1h")))
    assert row == ("12:00", pytest.approx(120, rel=0.02), pytest.approx(300, rel=0.02), pytest.approx(400, rel=0.02), 21)
    halves = queries.latency_trend(store.pages, HOUR, span("30m"), "checkout", ProbeKind.INFERENCE)
    assert rows(halves, "start", "checks") == [("12:00", 2), ("12:30", 2)]
    assert rows(queries.latency_trend(store.pages, HOUR, span("1h"), "search", ProbeKind.INFERENCE)) == []


def test_strips_name_the_commonest_failure_of_each_cell(store: Store) -> None:
    tell(store)
    found = queries.strips(store.pages, HOUR, cells=4)
    assert rows(found) == [
        ("checkout", 0, 9, 4, 0, "auth.invalid_key"),
        ("checkout", 1, 0, 1, 0, "rate.requests"),
        ("checkout", 2, 0, 1, 0, "rate.requests"),
        ("checkout", 3, 0, 1, 0, "rate.tokens"),
        ("search", 0, 2, 0, 1, "unknown"),
    ]
    fine = queries.strips(store.pages, HOUR, cells=60)
    assert rows(fine[(fine["project"] == "checkout") & (fine["failed"] > 0)], "cell") == [(n,) for n in (6, 7, 8, 9, 15, 30, 45)]


def test_of_equally_common_failures_a_strip_always_names_the_same(store: Store) -> None:
    store.writer.sync_inventory(CAST, START)
    store.writer.record(story("500 401 timeout", every="1s"), START)
    assert list(queries.strips(store.pages, HOUR, 4)["failure"]) == ["auth.invalid_key"]


def test_strips_count_every_check_of_the_window_once_however_many_cells(store: Store) -> None:
    tell(store)
    day = Window(END - span("24h"), END)
    for cells in (1, 7, 24, 48, 96, 333):
        found = queries.strips(store.pages, day, cells)
        assert found[["ok", "failed", "inconclusive"]].sum().tolist() == [11, 7, 1], cells
        assert found["cell"].between(0, cells - 1).all()
        assert not found.duplicated(["project", "cell"]).any()


def test_rate_limits_by_project(store: Store) -> None:
    tell(store)
    store.writer.record([answer("quota", SEARCH, START + span("20m"))], END)
    assert rows(queries.rate_limit_trend(store.pages, HOUR, span("15m"))) == [
        ("12:15", "checkout", "rate.requests", 1),
        ("12:15", "search", "quota.credits", 1),
        ("12:30", "checkout", "rate.requests", 1),
        ("12:45", "checkout", "rate.tokens", 1),
    ]
    assert rows(queries.rate_limit_trend(store.pages, HOUR, span("1h"), "search")) == [("12:00", "search", "quota.credits", 1)]


def test_limits_now_and_then(store: Store) -> None:
    tell(store)
    assert rows(queries.limits_now(store.pages)) == [("checkout", "backend", "gpt-4o", "requests", 100, 0, 1.5, 60, "12:15")]
    assert rows(queries.limits_now(store.pages, "search")) == []
    assert rows(queries.limits_history(store.pages, HOUR, span("15m"), "checkout")) == [
        ("12:00", "gpt-4o", "requests", 100, 9),
        ("12:15", "gpt-4o", "requests", 100, 0),
    ]
    assert rows(queries.limits_history(store.pages, HOUR, span("1h"), "checkout")) == [("12:00", "gpt-4o", "requests", 100, 0)]
    assert len(queries.limits_history(store.pages, HOUR, span("1m"), "checkout")) == 2
    assert rows(queries.limits_history(store.pages, HOUR, span("1h"), "search")) == []


def test_changes_of_health_newest_first(store: Store) -> None:
    tell(store)
    found = rows(queries.transitions(store.pages, HOUR))
    assert found[:3] == [
        ("12:30", "checkout", "backend", "inference", "gpt-4o", "healthy", "degraded", "rate.requests"),
        ("12:07", "checkout", "backend", "auth", None, "healthy", "failing", "auth.invalid_key"),
        ("12:05", "checkout", "backend", "denied_model", "gpt-4-32k", "unknown", "degraded", None),
    ]
    assert Counter(row[1:4] for row in found[3:]) == Counter(
        [
            ("checkout", "backend", "auth"),
            ("checkout", "backend", "inference"),
            ("checkout", "backend", "model_access"),
            ("search", "backend", "auth"),
            (None, None, "control"),
        ]
    )
    assert rows(queries.transitions(store.pages, HOUR, "search")) == [
        ("12:00", "search", "backend", "auth", None, "unknown", "healthy", None)
    ]
    assert len(queries.transitions(store.pages, Window(START + span("7m"), START + span("30m")))) == 1  # half-open


def test_what_probing_cost(store: Store) -> None:
    tell(store)
    assert rows(queries.probe_cost(store.pages, HOUR)) == [
        ("checkout", "auth", 10, 0),
        ("checkout", "model_access", 1, 0),
        ("checkout", "inference", 4, 36),
        ("checkout", "denied_model", 1, 0),
        ("search", "auth", 3, 0),
    ]
    assert rows(queries.probe_cost(store.pages, Window(END + span("1d"), END + span("2d")))) == []


def test_the_worst_lag_of_each_step(store: Store) -> None:
    for second, lag, busy in ((0, 3.0, 5), (15, 9.0, 2), (60, None, 7), (3000, 1.0, 1)):
        at = START + timedelta(seconds=second)
        store.writer.beat(Heartbeat(at, START, 1, "host", "1", 0, lag, busy))
    assert rows(queries.lag_trend(store.pages, HOUR, span("1m"))) == [("12:00", 9.0, 5), ("12:01", None, 7), ("12:50", 1.0, 1)]
    assert rows(queries.lag_trend(store.pages, HOUR, span("1h"))) == [("12:00", 9.0, 7)]


# --- evidence ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("where", "count"),
    [
        (EvidenceFilter(), 21),
        (EvidenceFilter(project="checkout"), 16),
        (EvidenceFilter(project="nobody"), 0),
        (EvidenceFilter(key="backend"), 19),
        (EvidenceFilter(model="gpt-4o"), 5),
        (EvidenceFilter(probe=ProbeKind.CONTROL), 2),
        (EvidenceFilter(verdict=Verdict.OK), 12),
        (EvidenceFilter(verdict=Verdict.INCONCLUSIVE), 1),
        (EvidenceFilter(lane=Lane.RATE), 3),
        (EvidenceFilter(failure=FailureKind.RATE_TOKENS), 1),
        (EvidenceFilter(status=401), 4),
        (EvidenceFilter(status=200, project="checkout"), 9),
        (EvidenceFilter(request_id="req_121500"), 1),
        (EvidenceFilter(lane=Lane.AUTH, verdict=Verdict.OK), 0),
    ],
)
def test_evidence_by_every_filter(store: Store, where: EvidenceFilter, count: int) -> None:
    tell(store)
    found = queries.observations(store.pages, HOUR, where)
    assert len(found) == count
    assert found["at"].is_monotonic_decreasing


def test_every_filter_has_a_test_above() -> None:
    marks = test_evidence_by_every_filter.pytestmark  # type: ignore[attr-defined]
    used = {field.name for where, _ in marks[0].args[1] for field in fields(where) if getattr(where, field.name) is not None}
    assert used == {field.name for field in fields(EvidenceFilter)}


@pytest.mark.parametrize("size", [1, 4, 7, 21, 100])
def test_pages_of_evidence_put_together_are_all_of_it(store: Store, size: int) -> None:
    tell(store)
    whole = queries.observations(store.pages, HOUR)
    parts = [queries.observations(store.pages, HOUR, limit=size, offset=first) for first in range(0, 30, size)]
    pages = pd.concat([part for part in parts if len(part)], ignore_index=True)
    assert rows(pages, "at", "target_id", "message") == rows(whole, "at", "target_id", "message")


def test_the_newest_evidence_is_found_wherever_in_the_window_it_lies(store: Store) -> None:
    store.writer.sync_inventory(CAST, START)
    for days in (0, 1, 30, 300):
        store.writer.record([answer("ok", at=START - days * span("1d"))], START)
    year = Window(START - span("365d"), START + span("1h"))
    assert len(queries.observations(store.pages, year, limit=2)) == 2
    assert len(queries.observations(store.pages, year)) == 4
    assert len(queries.observations(store.pages, Window(START - span("30d"), START))) == 2  # half-open


def test_one_observation_or_none(store: Store) -> None:
    tell(store)
    row = queries.observations(store.pages, HOUR, EvidenceFilter(request_id="req_121500")).iloc[0]
    found = queries.observation(store.pages, int(row["target_id"]), row["at"].to_pydatetime())
    assert found is not None
    assert (found["retry_after"], found["tokens"], found["project"]) == (2.5, 9, "checkout")
    assert found["limits"] == [{"bucket": "requests", "limit": 100, "remaining": 0, "reset": 1.5, "window": 60.0}]
    assert queries.observation(store.pages, int(row["target_id"]), START + span("16m")) is None
    assert queries.observation(store.pages, 999, START) is None
    assert queries.observation(store.pages, 2**70, START) is None


# --- no story ------------------------------------------------------------------------------------------------------------

FRAMES: dict[str, Callable[[Engine, str], pd.DataFrame]] = {
    "strips": lambda engine, name: queries.strips(engine, HOUR),
    "failure_trend": lambda engine, name: queries.failure_trend(engine, HOUR, span("1m"), name),
    "check_counts": lambda engine, name: queries.check_counts(engine, HOUR, span("1m"), name),
    "latency_trend": lambda engine, name: queries.latency_trend(engine, HOUR, span("1m"), name),
    "limits_history": lambda engine, name: queries.limits_history(engine, HOUR, span("5m"), name),
    "limits_now": queries.limits_now,
    "rate_limit_trend": lambda engine, name: queries.rate_limit_trend(engine, HOUR, span("1m"), name),
    "transitions": lambda engine, name: queries.transitions(engine, HOUR, name),
    "probe_cost": lambda engine, name: queries.probe_cost(engine, HOUR),
    "lag_trend": lambda engine, name: queries.lag_trend(engine, HOUR),
    "observations": lambda engine, name: queries.observations(engine, HOUR, EvidenceFilter(project=name)),
}
NOT_FRAMES = {
    "access_overview", "asked_of", "data_version", "effective_config", "fleet", "heartbeat", "keys", "model_access", "observation",
    "project", "targets",
}  # fmt: skip
TOLD_ELSEWHERE = {
    "incidents", "incident", "incident_count", "incident_page", "incidents_going",
    "open_incidents", "similar_incidents", "deliveries", "silences", "active_silences", "waiting_intents",
    "organization", "organizations", "key_matches", "changes", "change_actors", "change_count", "change_page",
    "changes_not_known", "changes_version", "incidents_begun", "usage", "costs", "sharing",
    "catalogues", "covering", "deadlines", "hygiene", "reminders", "score_trend",
}  # fmt: skip
"""In test_incidents, test_outbox, test_intents, test_organization, test_leases, test_catalogue and test_deadlines."""


def test_every_question_is_asked_here() -> None:
    assert set(FRAMES) | NOT_FRAMES | TOLD_ELSEWHERE == {name for name in queries.__all__ if name.islower()}


@pytest.mark.parametrize("question", FRAMES)
def test_an_empty_frame_has_the_columns_and_types_of_a_full_one(store: Store, question: str) -> None:
    empty = FRAMES[question](store.pages, "checkout")
    assert len(empty) == 0
    tell(store)
    store.writer.beat(Heartbeat(START, START, 1, "host", "1", 0, 1.0, 0))
    full = FRAMES[question](store.pages, "checkout")
    assert len(full) > 0
    assert dict(empty.dtypes) == dict(full.dtypes)


def test_an_empty_store_answers_every_other_question_too(store: Store) -> None:
    assert queries.data_version(store.pages) == 0
    assert queries.effective_config(store.pages) is None
    assert queries.heartbeat(store.pages) is None
    assert queries.fleet(store.pages, START) == []
    assert queries.project(store.pages, "checkout", START) is None
    assert queries.keys(store.pages, START) == []
    assert queries.targets(store.pages, START) == []
    assert queries.observation(store.pages, 1, START) is None


def test_a_window_of_all_time_costs_no_more_than_what_is_stored(store: Store) -> None:
    ever = Window(datetime(1970, 1, 2, tzinfo=UTC), datetime(9998, 1, 1, tzinfo=UTC))
    assert len(queries.check_counts(store.pages, ever, span("1m"))) == 0
    tell(store)
    assert len(queries.check_counts(store.pages, ever, span("1m"))) == 13
    assert rows(queries.check_counts(store.pages, ever, span("1m"), "search"), "ok") == [(1,), (0,), (1,)]
    assert int(queries.failure_trend(store.pages, ever, span("1m"))["count"].sum()) == 9


# --- a hostile one -------------------------------------------------------------------------------------------------------

HOSTILE = {
    "quotes": 'o\'hara "inc"; DROP TABLE projects; --',
    "wildcards": "%_\\*?[a-z]",
    "nul": "nul\0inside",
    "long": "x" * 10_000,
    "right to left": "\N{RIGHT-TO-LEFT OVERRIDE}txet",
    "digits": "0",
    "blank": " ",
}


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE.keys())
def test_any_name_is_a_name_and_matches_itself_alone(store: Store, name: str) -> None:
    if "\0" in name and store.engine.dialect.name == "postgresql":
        pytest.skip("text without NUL is all that PostgreSQL stores, and the configuration refuses such a name")
    key = ApiKey(name, f"env:{name}", KeyKind.UNKNOWN, None)
    hostile = inventory(Project(name, models=(name,), keys=(key,)), "checkout", every="1h")
    store.writer.sync_inventory(hostile, START)
    target = Target(ProbeKind.INFERENCE, name, name, name)
    store.writer.record([*story("429 429", target=target, limits=limits(1)), answer("ok")], START)
    assert [one.name for one in queries.fleet(store.pages, START)] == sorted((name, "checkout"), key=lambda one: one == "checkout")
    found = queries.project(store.pages, name, START)
    assert found is not None
    assert (found.name, found.models) == (name, (name,))
    assert [one.label for one in queries.keys(store.pages, START, name)] == [name]
    assert target in {one.target for one in queries.targets(store.pages, START, name)}
    for question in set(FRAMES) - {"lag_trend"}:
        frame = FRAMES[question](store.pages, name)
        assert len(frame) > 0, question
        frame.to_csv()
    where = EvidenceFilter(project=name, key=name, model=name)
    assert len(queries.observations(store.pages, HOUR, where)) == 2
    again = new_store(store.url)[1]
    again.sync_inventory(hostile, START)
    assert again.states().keys() == store.writer.states().keys()


@pytest.mark.parametrize("name", [*HOSTILE.values(), "", "CHECKOUT", "checkout ", "checkout\0", "check%"])
def test_a_name_nobody_has_finds_nothing(store: Store, name: str) -> None:
    tell(store)
    assert queries.project(store.pages, name, END) is None
    assert queries.keys(store.pages, END, name) == []
    assert queries.targets(store.pages, END, name) == []
    for question in set(FRAMES) - {"strips", "probe_cost", "lag_trend"}:
        assert len(FRAMES[question](store.pages, name)) == 0, question
    for where in (EvidenceFilter(model=f"{name}!"), EvidenceFilter(key=f"{name}!"), EvidenceFilter(request_id=name)):
        assert len(queries.observations(store.pages, HOUR, where)) == 0
    assert len(queries.fleet(store.pages, END)) == 3


# --- any story -----------------------------------------------------------------------------------------------------------

WORDS = st.sampled_from(["ok", "ok", "?", "401", "429", "tokens", "500", "timeout"])
ANY = st.lists(
    st.builds(
        lambda word, target, second: answer(word, target, START + timedelta(seconds=second)),
        WORDS,
        st.sampled_from([CHECKOUT, INFERENCE, SEARCH, CONTROL]),
        st.integers(-9_000, 9_000),
    ),
    max_size=60,
    unique_by=lambda one: (one.target, one.at),  # a second answer of one millisecond is moved, perhaps into the next bucket
)
AROUND = Window(START - span("3h"), START + span("3h"))


def counted(told: list[Observation], step: timedelta, project: str | None) -> dict[int, tuple[int, ...]]:
    """What `check_counts` must say, from the observations themselves."""
    found: dict[int, Counter[Verdict]] = {}
    for one in told:
        if project is None or one.target.project == project:
            at = to_ms(one.at)
            found.setdefault(at - at % (step // timedelta(milliseconds=1)), Counter())[one.verdict] += 1
    return {start: tuple(count[verdict] for verdict in Verdict) for start, count in found.items()}


def failed(told: list[Observation], step: timedelta, project: str | None) -> Counter[tuple[int, str]]:
    """What `failure_trend` must say."""
    ills = [one for one in told if one.failure and (project is None or one.target.project == project)]
    width = step // timedelta(milliseconds=1)
    return Counter((to_ms(one.at) - to_ms(one.at) % width, one.failure.value) for one in ills if one.failure)


@settings(deadline=None, max_examples=15)
@given(told=ANY, cuts=st.lists(st.integers(0, 60), max_size=3))
def test_counts_of_every_grain_are_those_of_the_raw_observations(told: list[Observation], cuts: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        engine, writer = new_store(sqlite_url(Path(folder) / "any.db"))
        writer.sync_inventory(CAST, START)
        edges = [0, *sorted(cuts), len(told)]
        for first, last in pairwise(edges):
            writer.record(told[first:last], START)
        for step in (span("1m"), span("5m"), span("15m"), span("1h"), span("3h")):
            for name in (None, "checkout", "search", "idle"):
                counts = queries.check_counts(engine, AROUND, step, name).itertuples(index=False, name=None)
                assert {to_ms(at): tuple(rest) for at, *rest in counts} == counted(told, step, name)
                kinds = queries.failure_trend(engine, AROUND, step, name).itertuples(index=False, name=None)
                assert {(to_ms(at), kind): count for at, kind, count in kinds} == failed(told, step, name)
        strips = queries.strips(engine, AROUND, 24)
        assert strips[["ok", "failed", "inconclusive"]].sum().tolist() == [
            sum(one.verdict is verdict and one.target.project is not None for one in told) for verdict in Verdict
        ]
        raw = queries.observations(engine, AROUND)
        assert sorted(raw["at"]) == sorted(one.at for one in told)
        engine.dispose()
