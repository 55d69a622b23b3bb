"""What service levels are counted from: sums of buckets over a window, for one project or for all."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import Engine

from monitor.domain.inventory import ProbeKind
from monitor.domain.sli import OBJECTIVE, BurnAlert, Counts, availability, burn_alerts, by_lane, error_budget, whole, windows
from monitor.domain.taxonomy import FailureKind, Lane
from monitor.domain.timeline import Window, from_ms
from monitor.store import codec, tables
from monitor.store.engine import reading
from monitor.store.frames import frame
from monitor.store.grains import buckets_of, holds, pieces
from monitor.store.tables import FLEET, PROBES

if TYPE_CHECKING:
    import pandas as pd

DAYS = (7, 28, 90)
"""The windows that service levels are told over."""
_PROBE_OF = {code: probe for probe, code in PROBES.items()}


@dataclass(frozen=True, slots=True)
class Level:
    """The valid checks of one project in a window."""

    whole: Counts
    lanes: Mapping[Lane, Counts]
    since: datetime
    """The first bucket of the window that holds anything: a project of yesterday has no 90 days."""


def levels(engine: Engine, window: Window, project: str | None = None) -> dict[str, Level]:
    """The valid checks of every configured project, or of one, by name; without any check in the window it is missing.

    Summed from the widest buckets that fit (days from four days on, hours from four hours on, …), and from the next finer ones
    before the first whole one: of 28 days the beginning is true to an hour, and the end is the window's where that is the present.
    """
    p = tables.projects.c
    checks: dict[int, dict[ProbeKind, Counts]] = defaultdict(dict)
    failures: dict[int, dict[FailureKind, int]] = defaultdict(dict)
    since: dict[int, int] = {}
    names = sa.select(p.id, p.name).where(p.active == 1)
    if project is not None:
        names = names.where(p.name == codec.clean(project))
    with reading(engine) as connection:
        known = dict(connection.execute(names).all())
        if not known:
            return {}
        named = next(iter(known.values())) if project is not None else None
        for grain, part in pieces(connection, window):
            c, f = tables.buckets[grain].c, tables.failures[grain].c
            sums = (c.project_id, c.probe, sa.func.sum(c.ok), sa.func.sum(c.failed), sa.func.min(c.start))
            query = _within(tables.buckets[grain], part, grain, named, *sums).group_by(*sums[:2])
            for number, code, ok, bad, first in connection.execute(query):
                of = checks[number]
                of[_PROBE_OF[code]] = of.get(_PROBE_OF[code], Counts()) + Counts(int(ok), int(bad))  # PostgreSQL sums to decimals
                since[number] = min(first, since.get(number, first))
            told = (f.project_id, f.failure, sa.func.sum(f.count))
            for number, failure, count in connection.execute(
                _within(tables.failures[grain], part, grain, named, *told).group_by(*told[:2])
            ):
                kind = codec.kind_of(failure) or FailureKind.UNKNOWN
                failures[number][kind] = failures[number].get(kind, 0) + int(count)
    return {
        name: Level(whole(checks[number], failures[number]), by_lane(checks[number], failures[number]), from_ms(since[number]))
        for number, name in sorted(known.items(), key=lambda each: each[1])
        if number in checks
    }


def lane_counts(engine: Engine, window: Window, project: str | None = None) -> "pd.DataFrame":
    """Valid checks by lane: `project, lane, ok, failed`. The six lamps, in order; a lane that nothing proved has two zeros."""
    found = levels(engine, window, project)
    rows = [(name, lane.value, counts.ok, counts.failed) for name, level in found.items() for lane, counts in level.lanes.items()]
    return frame(("project", "lane", "ok", "failed"), rows)


def table(engine: Engine, now: datetime, objective: float = OBJECTIVE, project: str | None = None) -> "pd.DataFrame":
    """Service levels over 7, 28 and 90 days: `project, days, lane, ok, failed, availability, left`.

    `lane` is None for the project as a whole. `availability` is from 0 to 1 and `left` the part of the error budget that is left,
    below 0 where it is overspent; both are missing where nothing was measured. The network has no budget: it counts against nobody.
    """
    rows = []
    for days in DAYS:
        length = timedelta(days=days)
        for name, level in levels(engine, Window.last(length, now, timedelta(hours=1)), project).items():
            for lane, counts in ((None, level.whole), *level.lanes.items()):
                left = None if lane is Lane.NETWORK else error_budget(counts, objective, length).left
                shown = lane.value if lane else None
                rows.append((name, days, shown, counts.ok, counts.failed, availability(counts), left))
    columns = ("project", "days", "lane", "ok", "failed", "availability", "left")
    return frame(columns, rows).astype({"days": "int64", "availability": "float64", "left": "float64"})


def burning(
    engine: Engine, now: datetime, objective: float = OBJECTIVE, project: str | None = None
) -> dict[str, tuple[BurnAlert, ...]]:
    """The projects that spend their budget too fast now, by name, with the rules that say so."""
    by_length = {length: levels(engine, Window.last(length, now), project) for length in windows()}
    found = {
        name: burn_alerts({length: there[name].whole for length, there in by_length.items() if name in there}, objective)
        for name in by_length[max(by_length)]
    }
    return {name: alerts for name, alerts in found.items() if alerts}


def _within(table: sa.Table, window: Window, grain: int, project: str | None, *columns: Any) -> sa.Select[Any]:
    """The buckets of the window: one stretch for all projects, or a seek for each bucket of one, because time comes first."""
    if project is not None:
        return buckets_of(table, window, grain, project, *columns)
    return sa.select(*columns).where(holds(table.c.start, window, grain), table.c.project_id != FLEET)
