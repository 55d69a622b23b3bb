"""The write path: one transaction, nothing lost, nothing counted twice."""

import json
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from monitor.domain.changes import ChangeKind, ChangeSource
from monitor.domain.health import Health, HealthPolicy, HealthState, Transition, advance, look_again_after
from monitor.domain.inventory import ProbeKind, Target
from monitor.domain.observation import Observation, RateLimitHit, RateLimitSnapshot, Verdict
from monitor.domain.taxonomy import FailureKind, Scope
from monitor.domain.timeline import Window, to_ms
from monitor.store import codec, maintenance, queries, tables
from monitor.store.engine import StoreError, open_engine, reading
from monitor.store.record import Writer
from monitor.store.sketch import compact, percentiles
from monitor.store.status import EvidenceFilter, Heartbeat
from tests.store.conftest import Store
from tests.store.helpers import CHECKOUT, START, Keep, answer, inventory, limits, new_store, project, story

DAY = Window(START - timedelta(days=1), START + timedelta(days=1))
INFERENCE = Target(ProbeKind.INFERENCE, "checkout", "backend", "gpt-4o")


def count(engine: Engine, table: sa.Table) -> int:
    """Rows of a table."""
    with reading(engine) as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


def everything(engine: Engine) -> dict[str, list[Any]]:
    """Every row that a batch writes, but for the number of commits; sketches and answers by what they say, in whatever order."""
    written = [tables.observations, tables.target_states, tables.limit_buckets, tables.probe_use]
    written += [*tables.buckets.values(), *tables.failures.values()]
    with reading(engine) as connection:
        a = tables.answers.c
        digests = dict(connection.execute(sa.select(a.id, a.digest)).all())
        found = {
            table.name: [
                tuple(digests.get(value) if name == "answer_id" else _said(value) for name, value in row._mapping.items())
                for row in connection.execute(sa.select(table))
            ]
            for table in written
        }
        t = tables.transitions.c
        found["transitions"] = [tuple(row) for row in connection.execute(sa.select(t.target_id, t.at, t.old, t.new, t.failure))]
    return found


def _said(value: Any) -> Any:
    return compact(value) if isinstance(value, bytes) else value


def test_what_is_recorded_comes_back_in_order_with_its_state(store: Store) -> None:
    told = story("ok 401 401 ok ok")
    done = store.writer.record(told, START)
    assert [one.observation for one in done] == told
    assert [one.transition.new if one.transition else None for one in done] == [
        Health.HEALTHY,
        None,
        Health.FAILING,
        None,
        Health.HEALTHY,
    ]
    assert done[1].look_again_after == timedelta(seconds=5)
    assert done[-1].state == store.writer.states()[CHECKOUT]


def test_an_empty_batch_is_no_commit(store: Store) -> None:
    assert store.writer.record([], START) == []
    assert queries.data_version(store.pages) == 0


def test_every_commit_is_counted(store: Store) -> None:
    store.writer.sync_inventory(inventory("checkout"), START)
    store.writer.record(story("ok"), START)
    store.writer.record(story("ok", start=START + timedelta(minutes=1)), START)
    assert queries.data_version(store.pages) == 3


def test_a_restart_remembers_what_the_fold_knew(store: Store) -> None:
    told = story("ok ? 401 401 429 ok scope 500 timeout ok ok")
    store.writer.record(told, START)
    assert Writer(store.engine).states() == store.writer.states() != {}


def test_every_field_of_the_state_is_stored() -> None:
    assert {field.name for field in fields(HealthState)} == set(codec.STATE_COLUMNS)


def test_a_target_nobody_configured_is_recorded_but_not_shown(store: Store) -> None:
    store.writer.record(story("ok 401 401", target=Target(ProbeKind.AUTH, "stranger", "k")), START)
    store.writer.record(story("ok", target=Target(ProbeKind.CONTROL, host="https://eu.api.openai.com/v1")), START)
    assert queries.fleet(store.pages, START) == []
    assert queries.targets(store.pages, START) == []
    assert set(queries.observations(store.pages, DAY)["project"]) == {"stranger", None}
    assert Writer(store.engine).states().keys() == store.writer.states().keys()


def test_two_answers_of_one_millisecond_are_both_kept(store: Store) -> None:
    done = store.writer.record([answer("ok"), answer("401"), answer("401")], START)
    assert done[-1].state.health is Health.FAILING
    done = store.writer.record([answer("500")], START)
    assert count(store.engine, tables.observations) == 4
    seen = queries.observations(store.pages, DAY)
    assert [at.microsecond // 1000 for at in reversed(list(seen["at"]))] == [0, 1, 2, 3]
    assert maintenance.check(store.engine) == []


def test_the_millisecond_that_was_moved_is_still_taken_after_a_restart(store: Store) -> None:
    store.writer.record([answer("ok"), answer("ok")], START)
    again = Writer(store.engine)
    again.record([answer("401", at=START + timedelta(milliseconds=1))], START)
    assert count(store.engine, tables.observations) == 3


def test_a_late_answer_is_counted_where_it_belongs_and_moves_no_state(store: Store) -> None:
    store.writer.record(story("ok*10"), START)
    before = store.writer.states()
    late = answer("401", at=START + timedelta(minutes=6, seconds=30))
    (done,) = store.writer.record([late], START)
    assert done.transition is None
    assert store.writer.states() == before
    trend = queries.failure_trend(store.pages, Window(START, START + timedelta(days=1)), timedelta(minutes=1))
    assert list(trend["start"]) == [START + timedelta(minutes=6)]
    (status,) = [one for one in queries.targets(open_after_sync(store), START) if one.target == CHECKOUT]
    assert status.verdict is Verdict.OK
    assert maintenance.check(store.engine) == []


LATE = (
    START - timedelta(seconds=30),
    START - timedelta(minutes=20),
    START - timedelta(hours=3),
    START - timedelta(days=34, hours=9),
)


@pytest.mark.parametrize("at", LATE, ids=["minute", "quarter", "hour", "day"])
def test_what_comes_late_and_out_of_order_is_counted_in_its_own_bucket_of_every_grain(store: Store, at: datetime) -> None:
    store.writer.record([answer("ok"), answer("ok", at=START - timedelta(days=36))], START)
    store.writer.record([answer("429", at=at), answer("500", at=at - timedelta(seconds=1))], START)
    for grain in tables.buckets:
        counted, failed = tables.buckets[grain].c, tables.failures[grain].c
        with reading(store.pages) as connection:
            query = sa.select(counted.start, sa.func.sum(counted.failed)).where(counted.project_id == 1, counted.failed > 0)
            found = dict(connection.execute(query.group_by(counted.start)).all())
            kinds = connection.execute(sa.select(failed.start, failed.failure).where(failed.project_id == 1)).all()
        starts = [to_ms(each) // grain * grain for each in (at, at - timedelta(seconds=1))]
        assert found == {start: starts.count(start) for start in starts}
        assert set(kinds) == set(zip(starts, ("rate.requests", "server.error"), strict=True))
    assert maintenance.check(store.engine) == []


def test_closed_figures_never_change_and_what_comes_too_late_is_still_evidence(store: Store) -> None:
    store.writer.record(story("ok*5 429", target=INFERENCE, limits=limits(5)), START)
    later = START + timedelta(days=35, minutes=30)
    before = {name: rows for name, rows in everything(store.engine).items() if name != "observations"}
    store.writer.record(story("401*3", target=CHECKOUT, start=START + timedelta(minutes=7), limits=limits(1)), later)
    told = Target(ProbeKind.AUTH, "checkout", "backend")
    after = everything(store.engine)
    unchanged = set(before) - {"target_states", "transitions"}
    assert {name: after[name] for name in unchanged} == {name: before[name] for name in unchanged}
    assert len(queries.observations(store.pages, DAY, EvidenceFilter(key=told.key, status=401))) == 3
    just_in_time = answer("401", at=START + timedelta(minutes=31))
    store.writer.record([just_in_time], later)
    assert _totals(store.engine, tables.DAY)[0]["failed"] == 2


def test_forgetting_changes_no_figure_of_a_month_that_is_over(store: Store) -> None:
    """What was counted stays as reported while what it was counted from goes, and whatever is told of that month afterwards."""
    month = datetime(2026, 10, 1, tzinfo=UTC)
    for day in range(31):
        store.writer.record(
            story("ok*5 429 500", target=INFERENCE, start=month + timedelta(days=day, hours=7)), month + timedelta(days=day)
        )
    end = datetime(2026, 11, 1, tzinfo=UTC)
    figures = [_totals(store.engine, tables.DAY), *(_rows_of(store.engine, table) for table in _MONTHLY)]
    now = end + timedelta(days=36)
    late = [answer("401", target=INFERENCE, at=month + timedelta(days=day, hours=9)) for day in range(31)]
    store.writer.record(late, now)
    keep = Keep(observations=timedelta(days=1), failures=timedelta(days=2), minutes=timedelta(days=1), hours=timedelta(days=3))
    while not maintenance.prune(store.engine, now, keep).finished:
        pass
    assert count(store.engine, tables.observations) == 0
    assert [_totals(store.engine, tables.DAY), *(_rows_of(store.engine, table) for table in _MONTHLY)] == figures


_MONTHLY = (tables.failures[tables.DAY], tables.probe_use)


def _rows_of(engine: Engine, table: sa.Table) -> list[tuple[object, ...]]:
    with reading(engine) as connection:
        return sorted(tuple(row) for row in connection.execute(sa.select(table)))


def open_after_sync(store: Store) -> Engine:
    """The pages' view once the cast is configured."""
    store.writer.sync_inventory(inventory("checkout"), START)
    return store.pages


def test_a_clock_that_was_set_back_freezes_nothing_and_collides_with_nothing(store: Store) -> None:
    store.writer.record(story("ok*30", every="10s"), START)
    (done,) = store.writer.record([answer("401", at=START - timedelta(hours=1))], START)
    assert done.state.last_at == START - timedelta(hours=1)
    again = Writer(store.engine)
    again.record(story("401*30", every="10s"), START)
    assert count(store.engine, tables.observations) == 61
    assert again.states()[CHECKOUT].health is Health.FAILING
    assert maintenance.check(store.engine) == []


@pytest.mark.parametrize("broken", [0, 3, 9])
def test_a_naive_time_is_refused_with_the_whole_batch(store: Store, broken: int) -> None:
    told = story("ok*10")
    told[broken] = replace(told[broken], at=told[broken].at.replace(tzinfo=None))
    with pytest.raises(ValueError, match="zone"):
        store.writer.record(told, START)
    with pytest.raises(ValueError, match="zone"):
        store.writer.record(story("ok"), START.replace(tzinfo=None))
    assert count(store.engine, tables.observations) == 0
    assert store.writer.states() == {}
    assert len(store.writer.record(story("ok*10"), START)) == 10


def test_any_zone_is_stored_as_the_same_moment(store: Store) -> None:
    tokyo = timezone(timedelta(hours=9))
    store.writer.record([answer("ok", at=START.astimezone(tokyo))], START.astimezone(tokyo))
    assert list(queries.observations(store.pages, DAY)["at"]) == [START]


def test_microseconds_are_rounded_the_same_way_in_memory_and_on_disk(store: Store) -> None:
    store.writer.record([answer("ok", at=START + timedelta(microseconds=1_600))], START)
    assert Writer(store.engine).states() == store.writer.states()


def test_one_batch_folds_like_one_by_one(tmp_path: Any) -> None:
    told = [one for word in ("ok 401 ? ok 429 429", "500 ok") for one in story(word)]
    results = []
    for name, size in (("one", 1), ("all", len(told))):
        engine, writer = new_store(f"sqlite:///{tmp_path / name}.db")
        for first in range(0, len(told), size):
            writer.record(told[first : first + size], START)
        results.append(everything(engine))
    assert results[0] == results[1]


WORDS = st.sampled_from(["ok", "ok", "?", "401", "403", "429", "tokens", "quota", "500", "timeout", "scope"])
TARGETS = st.sampled_from(
    [CHECKOUT, INFERENCE, Target(ProbeKind.AUTH, "search", "k"), Target(ProbeKind.CONTROL, host="https://api.openai.com/v1")]
)
TOLD = st.lists(
    st.builds(
        lambda word, target, second, latency, left: answer(
            word, target, START + timedelta(seconds=second), latency_ms=latency, limits=limits(left) if left is not None else ()
        ),
        WORDS,
        TARGETS,
        st.integers(-40_000, 40_000),
        st.none() | st.floats(0.1, 20_000),
        st.none() | st.integers(0, 100),
    ),
    max_size=40,
)


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(told=TOLD, cut=st.integers(0, 40))
def test_any_story_in_any_order_is_counted_alike_in_every_grain(tmp_path_factory: Any, told: list[Observation], cut: int) -> None:
    folder = tmp_path_factory.mktemp("told")
    results = []
    for name, batches in (("whole", [told]), ("cut", [told[:cut], told[cut:]])):
        engine, writer = new_store(f"sqlite:///{folder / name}.db")
        for batch in batches:
            writer.record(batch, START)
        assert maintenance.check(engine) == []
        totals = [_totals(engine, grain) for grain in tables.buckets]
        assert totals == [_raw_totals(told)] * 4
        assert Writer(engine).states() == writer.states() == _folded(told)
        results.append(everything(engine))
        engine.dispose()
    assert results[0] == results[1]


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seen=st.lists(st.tuples(st.integers(0, 4 * 86_400), st.floats(0.2, 60_000)), min_size=1, max_size=120),
    width=st.sampled_from(list(tables.buckets)),
)
def test_percentiles_of_every_grain_are_within_two_percent_of_the_raw_ones(
    tmp_path_factory: Any, seen: list[tuple[int, float]], width: int
) -> None:
    engine, writer = new_store(f"sqlite:///{tmp_path_factory.mktemp('told')}/monitor.db")
    told = [answer("ok", at=START + timedelta(seconds=second), latency_ms=latency) for second, latency in seen]
    for first in range(0, len(told), 7):
        writer.record(told[first : first + 7], START + timedelta(days=4))
    found = queries.latency_trend(engine, Window(START, START + timedelta(days=5)), timedelta(days=5))
    assert int(found["checks"].sum()) == len(told)
    with reading(engine) as connection:
        c = tables.buckets[width].c
        rows = connection.execute(sa.select(c.start, c.sketch).where(c.project_id == tables.FLEET)).all()
    raw: dict[int, list[float]] = defaultdict(list)
    for one in told:
        raw[to_ms(one.at) // width * width].append(one.latency_ms or 0)
    assert {start for start, _ in rows} == set(raw)
    for start, held in rows:
        exact = [sorted(raw[start])[max(math.ceil(part * len(raw[start]) - 1e-9), 1) - 1] for part in (0.5, 0.95, 0.99)]
        assert percentiles(held, (0.5, 0.95, 0.99)) == pytest.approx(exact, rel=0.02)
    engine.dispose()


def _totals(engine: Engine, grain: int) -> tuple[dict[str, int], dict[str, int]]:
    c, f = tables.buckets[grain].c, tables.failures[grain].c
    with reading(engine) as connection:
        sums = [sa.func.coalesce(sa.func.sum(c[verdict.value]), 0) for verdict in Verdict]
        row = connection.execute(sa.select(*sums).where(c.project_id == tables.FLEET)).one()
        kinds = sa.select(f.failure, sa.func.sum(f.count)).where(f.project_id == tables.FLEET).group_by(f.failure)
        return dict(zip(map(str, Verdict), row, strict=True)), dict(connection.execute(kinds).all())


def _raw_totals(told: Sequence[Observation]) -> tuple[dict[str, int], dict[str, int]]:
    kinds = [one.failure.value for one in told if one.failure]
    verdicts = [one.verdict.value for one in told]
    return {str(one): verdicts.count(str(one)) for one in Verdict}, {kind: kinds.count(kind) for kind in set(kinds)}


def _folded(told: Sequence[Observation]) -> dict[Target, HealthState]:
    states: dict[Target, HealthState] = {}
    taken: set[tuple[Target, datetime]] = set()
    for one in told:
        seen = one
        while (seen.target, seen.at) in taken:
            seen = replace(seen, at=seen.at + timedelta(milliseconds=1))
        taken.add((seen.target, seen.at))
        states[seen.target] = advance(states.get(seen.target, HealthState()), seen)[0]
    return states


def test_the_policy_that_was_given_is_the_one_that_decides(store: Store) -> None:
    strict = Writer(store.engine, HealthPolicy(definitive_fail_after=1))
    (_, done) = strict.record(story("ok 401"), START)
    assert done.state.health is Health.FAILING
    assert done.look_again_after == look_again_after(done.state, HealthPolicy(definitive_fail_after=1))


def test_a_project_is_judged_by_its_own_policy(store: Store) -> None:
    other = Target(ProbeKind.AUTH, "search", "backend")
    writer = Writer(store.engine, policies={"checkout": HealthPolicy(definitive_fail_after=1)})
    *_, strict = writer.record(story("ok 401"), START)
    *_, usual = writer.record(story("ok 401", target=other), START)
    assert (strict.state.health, usual.state.health) == (Health.FAILING, Health.HEALTHY)
    writer.judge_by(HealthPolicy())
    *_, now_usual = writer.record(story("ok ok 401", start=START + timedelta(minutes=9)), START)
    assert now_usual.state.health is Health.HEALTHY


def test_a_transition_is_a_row_once(store: Store) -> None:
    store.writer.record(story("ok 401 401 401 401 ok ok ok"), START)
    moved = queries.transitions(store.pages, DAY)
    assert list(moved["new"]) == ["healthy", "failing", "healthy"]
    assert list(moved["failure"]) == [None, "auth.invalid_key", None]
    assert isinstance(store.writer.record(story("401", start=START + timedelta(hours=1)), START)[0].transition, Transition | None)


FULL = Observation(
    target=INFERENCE,
    at=START,
    verdict=Verdict.FAILED,
    latency_ms=123.456,
    failure=FailureKind.RATE_TOKENS,
    status=429,
    code="rate_limit_exceeded",
    type="tokens",
    param="max_tokens",
    message="Rate limit reached for … 模型 ☃",
    request_id="req_0123",
    processing_ms=17.25,
    scope=Scope.PROJECT,
    retry_after=1.5,
    hit=RateLimitHit("tokens", "min", 1000.0, 990.0, 20.0, "gpt-4o", "gpt-4o-long", "proj_1", "org-1"),
    hint="shared with gpt-4o-mini",
    missing_scopes=("api.model.read", "model.request"),
    finding="denied_model_usable",
    limits=(RateLimitSnapshot("tokens", 1000, 0, 6.0, 60.0), RateLimitSnapshot("requests", None, None, None, None)),
    project_echo="proj_1",
    organization_echo="org-1",
    tokens=12,
    body='{"error":{}}',
    classifier_version=3,
)


def test_every_field_of_a_failure_can_be_read_again(store: Store) -> None:
    store.writer.record([FULL], START)
    (target_id,) = queries.observations(store.pages, DAY)["target_id"]
    found = queries.observation(store.pages, int(target_id), START)
    assert found is not None
    assert found["at"] == START
    for name in (
        "status", "code", "type", "param", "message", "request_id", "hint", "finding", "project_echo", "organization_echo",
        "tokens", "body", "retry_after", "latency_ms", "processing_ms", "classifier_version",
    ):  # fmt: skip
        assert found[name] == getattr(FULL, name), name
    assert found["limits"] == [
        {"bucket": "tokens", "limit": 1000, "remaining": 0, "reset": 6.0, "window": 60.0},
        {"bucket": "requests"},
    ]
    assert RateLimitHit(**found["hit"]) == FULL.hit
    assert found["missing_scopes"] == ["api.model.read", "model.request"]
    assert (found["probe"], found["lane"], found["scope"]) == ("inference", "rate", "project")
    json.dumps(found | {"at": None})


def test_the_emptiest_observation_is_kept_as_empty(store: Store) -> None:
    store.writer.record([Observation(INFERENCE, START, Verdict.INCONCLUSIVE)], START)
    row = queries.observations(store.pages, DAY).iloc[0]
    assert row["verdict"] == "inconclusive"
    for name in ("failure", "lane", "code", "type", "param", "message", "request_id", "scope", "hint"):
        assert row[name] is None
    for name in ("status", "latency_ms", "processing_ms", "retry_after"):
        assert bool(queries.observations(store.pages, DAY)[name].isna().all())


@pytest.mark.parametrize(
    "text", ["\ud800 half a pair", "nul \0 inside", "x" * 1_000_000, "'; DROP TABLE observations; --", "\N{BYTE ORDER MARK}", "𝔘𝔫𝔦"]
)
def test_hostile_words_from_the_wire_are_stored_and_read(store: Store, text: str) -> None:
    hit = RateLimitHit(model=text)
    snapshot = RateLimitSnapshot(text[:50], 1, 1, 1.0)
    words = {"code": text, "type": text, "param": text, "message": text, "request_id": text, "hint": text, "body": text}
    hostile = answer("429", **words, project_echo=text, hit=hit, limits=(snapshot,), missing_scopes=(text,))
    store.writer.record([hostile, replace(hostile, target=INFERENCE)], START)
    store.writer.sync_inventory(inventory("checkout"), START)
    frame = queries.observations(store.pages, DAY)
    assert len(frame) == 2
    frame.to_csv()
    assert all(len(message) <= 4096 for message in frame["message"])
    assert queries.observation(store.pages, int(frame["target_id"][0]), START) is not None
    assert len(queries.targets(store.pages, START)) == 4
    queries.limits_now(store.pages)
    queries.limits_history(store.pages, DAY, timedelta(hours=1), "checkout")


@pytest.mark.parametrize("number", [2**63, -(2**70), 10**40])
def test_numbers_no_column_holds_are_unknown_not_an_error(store: Store, number: int) -> None:
    store.writer.record([answer("429", limits=limits(number, number), tokens=number, retry_after=float(number))], START)
    history = queries.limits_history(store.pages, DAY, timedelta(hours=1), "checkout")
    assert bool(history["remaining"].isna().all())
    assert bool(history["limit"].isna().all())


def test_an_outage_that_repeats_itself_stores_its_words_and_body_once(store: Store) -> None:
    told = [replace(one, body="B" * 4000, message="M" * 1000) for one in story("401*500", every="1s")]
    store.writer.record(told[:250], START)
    Writer(store.engine).record(told[250:], START)
    assert count(store.engine, tables.answers) == 1
    with reading(store.engine) as connection:
        stored = connection.execute(sa.select(sa.func.sum(sa.func.length(tables.observations.c.evidence)))).scalar()
    assert stored is not None
    assert stored < 5000
    assert queries.observation(store.pages, 1, START)["body"] == "B" * 4000  # type: ignore[index]


def test_a_good_answer_keeps_no_words(store: Store) -> None:
    store.writer.record([answer("ok", request_id="req_1", limits=limits(5))], START)
    with reading(store.engine) as connection:
        row = connection.execute(sa.select(tables.observations)).one()
    assert (row.request_id, row.evidence, row.notable) == (None, None, 0)
    store.writer.sync_inventory(inventory("checkout"), START)
    (status,) = [one for one in queries.targets(store.pages, START) if one.target == CHECKOUT]
    assert status.request_id == "req_1"
    assert status.limits == limits(5)


def test_a_good_answer_with_a_finding_is_evidence(store: Store) -> None:
    loose = Target(ProbeKind.DENIED_MODEL, "checkout", "backend", "gpt-4-32k")
    store.writer.record([answer("ok", loose, finding="denied_model_usable", request_id="req_7")], START)
    assert list(queries.observations(store.pages, DAY, EvidenceFilter(request_id="req_7"))["project"]) == ["checkout"]


def test_limits_stay_known_when_the_next_answer_does_not_name_them(store: Store) -> None:
    store.writer.sync_inventory(inventory("checkout"), START)
    store.writer.record([answer("ok", limits=limits(5)), answer("500", at=START + timedelta(minutes=1))], START)
    (status,) = [one for one in queries.targets(store.pages, START) if one.target == CHECKOUT]
    assert (status.limits, status.limits_at, status.last_at) == (limits(5), START, START + timedelta(minutes=1))


def test_the_least_that_remained_is_kept_and_unknown_is_not_zero(store: Store) -> None:
    told = [
        answer("ok", at=START + timedelta(seconds=second), limits=limits(left)) for second, left in enumerate((None, 9, 3, None, 7))
    ]
    for one in told:
        store.writer.record([one], START)
    history = queries.limits_history(store.pages, DAY, timedelta(hours=1), "checkout")
    assert list(history["remaining"]) == [3.0]


def test_paid_probes_spend_the_budget_and_free_ones_do_not(store: Store) -> None:
    store.writer.sync_inventory(inventory("checkout"), START)
    used = [answer("ok", INFERENCE, START + timedelta(minutes=minute), tokens=9) for minute in range(3)]
    store.writer.record([*used, answer("ok"), answer("429", INFERENCE, START + timedelta(hours=1))], START)
    nothing_sent = answer("?", INFERENCE, START + timedelta(hours=2), latency_ms=None)
    store.writer.record([nothing_sent], START)
    assert store.writer.spent_today("checkout", START) == (4, 27)
    assert Writer(store.engine).spent_today("checkout", START) == (4, 27)
    assert store.writer.spent_today("checkout", START + timedelta(days=1)) == (0, 0)
    assert store.writer.spent_today("nobody", START) == (0, 0)
    cost = queries.probe_cost(store.pages, DAY).set_index("probe")
    assert cost.loc["auth", "requests"] == 1
    assert (cost.loc["inference", "requests"], cost.loc["inference", "tokens"]) == (4, 27)


def test_questions_beside_the_checks_cost_as_much(store: Store) -> None:
    store.writer.sync_inventory(inventory("checkout"), START)
    nothing_sent = answer("ok", INFERENCE, START, latency_ms=None, tokens=9)
    nobody = answer("ok", Target(ProbeKind.INFERENCE, "nobody", "k"), START, tokens=9)
    store.writer.count_use([answer("ok", INFERENCE, START, tokens=9), answer("401"), nothing_sent, nobody])
    store.writer.count_use([])
    assert store.writer.spent_today("checkout", START) == (1, 9)
    assert Writer(store.engine).spent_today("checkout", START) == (1, 9)
    cost = queries.probe_cost(store.pages, DAY).set_index("probe")
    assert (cost.loc["auth", "requests"], cost.loc["inference", "tokens"]) == (1, 9)
    assert queries.observations(store.pages, DAY, EvidenceFilter()).empty


def test_a_failed_commit_changes_nothing_in_memory(store: Store) -> None:
    store.writer.sync_inventory(inventory("checkout"), START)
    store.writer.record([answer("ok", INFERENCE, START, tokens=5)], START)
    before = (store.writer.states(), store.writer.spent_today("checkout", START))

    def refuse(connection: object) -> None:
        raise sa.exc.OperationalError("COMMIT", {}, Exception("the disk is gone"))

    sa.event.listen(store.engine, "commit", refuse)
    stranger = answer("401", Target(ProbeKind.AUTH, "stranger", "k"), START)
    batch = [*story("401 401", target=INFERENCE, start=START + timedelta(hours=1), tokens=5), stranger]
    with pytest.raises(StoreError, match="disk is gone"):
        store.writer.record(batch, START)
    with pytest.raises(StoreError, match="disk is gone"):
        store.writer.sync_inventory(inventory("checkout", "search"), START)
    sa.event.remove(store.engine, "commit", refuse)
    assert (store.writer.states(), store.writer.spent_today("checkout", START)) == before
    store.writer.record(batch, START)
    told = [answer("ok", INFERENCE, START, tokens=5), *batch]
    assert [_totals(store.engine, grain) for grain in tables.buckets] == [_raw_totals(told)] * 4
    store.writer.sync_inventory(inventory("checkout", "search"), START)
    assert store.writer.spent_today("checkout", START) == (3, 15)
    assert Writer(store.engine).states() == store.writer.states()
    assert maintenance.check(store.engine) == []


def test_the_newest_heartbeat_is_the_one_shown(store: Store) -> None:
    assert queries.heartbeat(store.pages) is None
    first = Heartbeat(START, START - timedelta(hours=1), 4711, "host-a", "1.0", 12, 3.5, 7, "bad file", demo=True)
    store.writer.beat(first)
    assert queries.heartbeat(store.pages) == first
    store.writer.beat(replace(first, at=START + timedelta(seconds=15), lag_p99_ms=None))
    found = queries.heartbeat(store.pages)
    assert found is not None
    assert found.at == START + timedelta(seconds=15)
    assert not found.late(START + timedelta(seconds=30))
    lag = queries.lag_trend(store.pages, Window(START, START + timedelta(hours=1)))
    assert list(lag["lag_p99_ms"]) == [3.5]


def test_a_configuration_that_changes_is_told_for_each_project_and_the_first_is_no_change(store: Store) -> None:
    ever = Window(START - timedelta(days=1), START + timedelta(days=1))
    before = {"intervals": {"auth": "60s"}, "projects": [{"name": "checkout", "project_id": "proj_a", "owner": "team-a"}]}
    after = {"intervals": {"auth": "30s"}, "projects": [{"name": "checkout", "project_id": "proj_a", "owner": "team-b"}]}
    store.writer.save_effective_config("monitor.toml", before, START)
    store.writer.save_effective_config("monitor.toml", before, START)
    assert queries.changes(store.pages, ever) == []
    store.writer.save_effective_config("monitor.toml", after, START + timedelta(hours=1))
    own, shared = queries.changes(store.pages, ever)
    assert (own.kind, own.source) == (ChangeKind.CONFIG_CHANGED, ChangeSource.CONFIGURATION)
    assert (own.project, own.project_id, own.at) == ("checkout", "proj_a", START + timedelta(hours=1))
    assert own.text == "The configuration changed: checkout: owner team-a → team-b."
    assert (shared.project, shared.text) == (None, "The configuration changed: intervals.auth 60s → 30s.")


def test_another_secret_is_told_with_its_registering_and_a_secret_that_is_new_is_not(store: Store) -> None:
    ever = Window(START - timedelta(days=1), START + timedelta(days=1))
    known = inventory("checkout")
    store.writer.sync_inventory(known, START)
    assert queries.changes(store.pages, ever) == []
    [checkout] = known.projects

    def with_mark(mark: str | None):
        key = replace(checkout.keys[0], fingerprint=mark)  # type: ignore[arg-type]
        return replace(known, projects=(replace(checkout, keys=(key,)),))

    for hour, mark in enumerate((None, "ffffffffffffffff…9999", "ffffffffffffffff…9999")):  # an unreadable one is still the same
        store.writer.sync_inventory(with_mark(mark), START + timedelta(hours=1 + hour))
    [event] = queries.changes(store.pages, ever)
    assert (event.kind, event.key, event.project) == (ChangeKind.KEY_ROTATED, "backend", "checkout")
    assert event.at == START + timedelta(hours=2)
    assert event.text.endswith("→ …9999.")
    store.writer.sync_inventory(known, START + timedelta(hours=5))
    assert len(queries.changes(store.pages, ever)) == 2


def test_the_same_configuration_is_stored_once(store: Store) -> None:
    assert queries.effective_config(store.pages) is None
    for minute in range(3):
        store.writer.save_effective_config("monitor.toml", {"projects": ["checkout"]}, START + timedelta(minutes=minute))
    store.writer.save_effective_config("monitor.toml", {"projects": ["checkout", "search"]}, START + timedelta(hours=1))
    assert count(store.engine, tables.effective_config) == 2
    found = queries.effective_config(store.pages)
    assert found is not None
    assert (found.at, found.source, found.text) == (
        START + timedelta(hours=1),
        "monitor.toml",
        {"projects": ["checkout", "search"]},
    )


def test_years_at_the_edge_of_time_are_stored(store: Store) -> None:
    for at in (datetime(1970, 1, 1, tzinfo=UTC), datetime(9998, 12, 31, tzinfo=UTC)):
        store.writer.record([answer("ok", Target(ProbeKind.AUTH, f"p{to_ms(at)}", "k"), at)], START)
    assert count(store.engine, tables.observations) == 2


def test_five_thousand_projects_are_synced_recorded_and_shown(store: Store) -> None:
    many = inventory(*(project(f"projekt-{number:04}-ü", models=()) for number in range(5000)))
    store.writer.sync_inventory(many, START)
    store.writer.record([answer("ok", check.target, START) for check in many.checks], START)
    fleet = queries.fleet(store.pages, START)
    assert len(fleet) == 5000
    assert {one.health for one in fleet} == {Health.HEALTHY}
    assert len(queries.strips(store.pages, DAY)) == 5000
    assert len(Writer(open_engine(store.url)).states()) == 5001
