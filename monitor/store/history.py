"""What happened: counts, percentiles and limits over time, from buckets.

Each function chooses the coarsest buckets that its step allows, so that no chart reads raw history; where buckets of that width
would be too many, or are no longer kept, the steps that come back are wider than asked (`grains.grain_of`). Frames have the
documented columns also when they are empty; times are aware, UTC.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Engine

from monitor.domain.inventory import ProbeKind
from monitor.domain.taxonomy import Lane
from monitor.domain.timeline import Window
from monitor.store import codec, tables
from monitor.store.engine import reading
from monitor.store.frames import frame
from monitor.store.grains import MOST, buckets_of, grain_of, holds, project_id
from monitor.store.register import target_of
from monitor.store.sketch import percentiles
from monitor.store.tables import DAY, LIMIT_STEP, MINUTE, PROBES

if TYPE_CHECKING:
    import pandas as pd

_VERDICTS = ("ok", "failed", "inconclusive")


def failure_trend(engine: Engine, window: Window, step: timedelta, project: str | None = None) -> "pd.DataFrame":
    """Failures by kind over time: `start` (UTC), `failure` (identifier), `count`. Only rows with a count above zero.

    Inconclusive answers count here too, under what they said. Without a project: all checks, control probes included.
    """
    with reading(engine) as connection:
        grain = grain_of(connection, window, _width(step))
        failed = tables.failures[grain]
        c, at = failed.c, _step(failed.c.start, step, grain)
        query = buckets_of(failed, window, grain, project, at, c.failure, sa.func.sum(c.count))
        rows = connection.execute(query.group_by(at, c.failure).order_by(at, c.failure)).all()
    return frame(("start", "failure", "count"), rows)


def check_counts(engine: Engine, window: Window, step: timedelta, project: str | None = None) -> "pd.DataFrame":
    """Checks over time: `start`, `ok`, `failed`, `inconclusive`. A step without any check has no row: no data is not zero."""
    with reading(engine) as connection:
        grain = grain_of(connection, window, _width(step))
        counted = tables.buckets[grain]
        at = _step(counted.c.start, step, grain)
        query = buckets_of(counted, window, grain, project, at, *_sums(counted))
        rows = connection.execute(query.group_by(at).order_by(at)).all()
    return frame(("start", *_VERDICTS), rows)


def latency_trend(
    engine: Engine, window: Window, step: timedelta, project: str | None = None, probe: ProbeKind | None = None
) -> "pd.DataFrame":
    """Latency percentiles over time: `start`, `p50`, `p95`, `p99` (milliseconds, within 2 %), `checks`.

    Of every answer that was timed, good or bad; without a probe, of all probes together.
    """
    sketches: dict[int, list[bytes]] = defaultdict(list)
    checks: dict[int, int] = defaultdict(int)
    with reading(engine) as connection:
        grain = grain_of(connection, window, _width(step))
        counted = tables.buckets[grain]
        c = counted.c
        columns = (_step(c.start, step, grain), c.sketch, c.ok + c.failed + c.inconclusive)
        query = buckets_of(counted, window, grain, project, *columns).where(c.sketch.is_not(None))
        if probe is not None:
            query = query.where(c.probe == PROBES[probe])
        for at, held, count in connection.execute(query):
            sketches[at].append(held)
            checks[at] += count
    rows = [(at, *percentiles(b"".join(sketches[at]), (0.5, 0.95, 0.99)), checks[at]) for at in sorted(sketches)]
    return frame(("start", "p50", "p95", "p99", "checks"), rows)


def limits_history(engine: Engine, window: Window, step: timedelta, project: str) -> "pd.DataFrame":
    """What the headers said over time: `start, model, bucket, limit, remaining` (the least of the step); unknown stays missing.

    Kept per five minutes, of the weeks before the last per hour; a shorter step gives those, and a longer one where they are many.
    """
    c, t = tables.limit_buckets.c, tables.targets.c
    at = _step(c.start, max(step, window.step(MOST)), LIMIT_STEP)
    query = (
        sa.select(at, t.model, c.bucket, sa.func.max(c.limit), sa.func.min(c.remaining))
        .join_from(tables.targets, tables.limit_buckets, sa.and_(c.target_id == t.id, holds(c.start, window, LIMIT_STEP)))
        .where(t.project_id == project_id(project))
        .group_by(at, t.model, c.bucket)
        .order_by(at, t.model, c.bucket)
    )
    with reading(engine) as connection:
        rows = [(start, model or None, *rest) for start, model, *rest in connection.execute(query)]
    return frame(("start", "model", "bucket", "limit", "remaining"), rows)


def limits_now(engine: Engine, project: str | None = None) -> "pd.DataFrame":
    """The newest snapshot of every bucket: `project, key, model, bucket, limit, remaining, reset, window, at`."""
    p, t, s = tables.projects.c, tables.targets.c, tables.target_states.c
    query = (
        sa.select(p.name, t.key, t.model, s.limits, s.limits_at)
        .join_from(tables.targets, tables.target_states, s.target_id == t.id)
        .join(tables.projects, p.id == t.project_id)
        .where(t.active == 1, s.limits.is_not(None))
        .order_by(p.name, t.key, t.model, t.probe)
    )
    if project is not None:
        query = query.where(p.name == project)
    with reading(engine) as connection:
        rows = [
            (name, key or None, model or None, one.bucket, one.limit, one.remaining, one.reset, one.window, at)
            for name, key, model, limits, at in connection.execute(query)
            for one in codec.limits_of(limits)
        ]
    return frame(("project", "key", "model", "bucket", "limit", "remaining", "reset", "window", "at"), rows)


def rate_limit_trend(engine: Engine, window: Window, step: timedelta, project: str | None = None) -> "pd.DataFrame":
    """429s (lanes rate and quota) by kind over time: `start`, `project`, `failure`, `count`."""
    with reading(engine) as connection:
        grain = grain_of(connection, window, _width(step))
        failed = tables.failures[grain]
        c, p, at = failed.c, tables.projects.c, _step(failed.c.start, step, grain)
        columns = (at, p.name, c.failure, sa.func.sum(c.count))
        if project is None:
            query = sa.select(*columns).where(holds(c.start, window, grain)).select_from(failed)
        else:
            query = buckets_of(failed, window, grain, project, *columns)
        query = (
            query.join(tables.projects, p.id == c.project_id)
            .where(c.failure.in_(codec.kinds(Lane.RATE, Lane.QUOTA)))
            .group_by(at, p.name, c.failure)
            .order_by(at, p.name, c.failure)
        )
        rows = connection.execute(query).all()
    return frame(("start", "project", "failure", "count"), rows)


def transitions(engine: Engine, window: Window, project: str | None = None, limit: int = 5_000) -> "pd.DataFrame":
    """Changes of health, newest first: `at, project, key, probe, model, old, new, failure`."""
    c, t = tables.transitions.c, tables.targets.c
    query = (
        sa.select(c.at, t.probe, tables.projects.c.name, t.key, t.model, t.host, c.old, c.new, c.failure)
        .join_from(tables.transitions, tables.targets, c.target_id == t.id)
        .outerjoin(tables.projects, tables.projects.c.id == t.project_id)
        .where(holds(c.at, window, 1))
        .order_by(c.at.desc(), c.id.desc())
        .limit(limit)
    )
    if project is not None:
        query = query.where(t.project_id == project_id(project))
    with reading(engine) as connection:
        rows = [
            (at, name, key or None, target_of(name, probe, key, model, host).probe.value, model or None, old, new, failure)
            for at, probe, name, key, model, host, old, new, failure in connection.execute(query)
        ]
    return frame(("at", "project", "key", "probe", "model", "old", "new", "failure"), rows)


def probe_cost(engine: Engine, window: Window) -> "pd.DataFrame":
    """What probing used: `project`, `probe`, `requests`, `tokens`. Counted by UTC day: every day that the window touches, whole."""
    c, p = tables.probe_use.c, tables.projects.c
    query = (
        sa.select(p.name, c.probe, sa.func.sum(c.requests), sa.func.sum(c.tokens))
        .join_from(tables.projects, tables.probe_use, sa.and_(c.project_id == p.id, holds(c.day, window, DAY)))
        .group_by(p.name, c.probe)
        .order_by(p.name, c.probe)
    )
    names = {code: probe.value for probe, code in PROBES.items()}
    with reading(engine) as connection:
        rows = [(name, names[probe], *rest) for name, probe, *rest in connection.execute(query)]
    return frame(("project", "probe", "requests", "tokens"), rows)


def lag_trend(engine: Engine, window: Window, step: timedelta | None = None) -> "pd.DataFrame":
    """Schedule lag over time: `start`, `lag_p99_ms` and `in_flight`, the worst of each step.

    Where no step is given, the window's own.
    """
    c = tables.lag_history.c
    at = _step(c.start, max(step, window.step(MOST)) if step else window.step(), MINUTE)
    query = (
        sa.select(at, sa.func.max(c.lag_p99_ms), sa.func.max(c.in_flight))
        .where(holds(c.start, window, MINUTE))
        .group_by(at)
        .order_by(at)
    )
    return _asked(engine, query, "start", "lag_p99_ms", "in_flight")


# --- parts of queries ----------------------------------------------------------------------------------------------------


def _asked(engine: Engine, query: sa.Select[*tuple[Any, ...]], *columns: str) -> "pd.DataFrame":
    with reading(engine) as connection:
        return frame(columns, connection.execute(query).all())


def _width(step: timedelta) -> int:
    return round(step / timedelta(milliseconds=1))


def _step(column: ColumnElement[int], step: timedelta, grain: int) -> ColumnElement[int]:
    """The start of the step that holds the bucket; steps are not finer than buckets."""
    return (column - column % max(_width(step), grain)).label("at")


def _sums(table: sa.Table) -> Iterable[ColumnElement[int]]:
    return (sa.func.sum(table.c[name]) for name in _VERDICTS)
