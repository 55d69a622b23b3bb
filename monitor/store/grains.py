"""Which buckets answer a question about a window, and how they are sought."""

import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection

from monitor.domain.timeline import Window, from_ms, to_ms
from monitor.store import meta, tables
from monitor.store.dialect import Int
from monitor.store.tables import DAY, FLEET, HOUR, MINUTE, QUARTER

GRAINS = (MINUTE, QUARTER, HOUR, DAY)
MOST = 1_500
"""Buckets of one series that a question reads: a day of minutes, a fortnight of quarter hours, two months of hours, or years."""


def grain_of(connection: Connection, window: Window, step: int) -> int:
    """The widest buckets of which a step of `step` milliseconds holds a whole number.

    Wider ones, and so fewer and wider steps than asked, where those would be too many or no longer reach as far back as the window:
    a coarse answer is better than a slow one or a hole.
    """
    return fewest(connection, window, next((grain for grain in (DAY, HOUR, QUARTER) if step % grain == 0), MINUTE))


def fewest(connection: Connection, window: Window, fitting: int) -> int:
    """Buckets of the width `fitting`, or of the next wider one of which there are not too many and that reach far enough back."""
    held = _Held(connection)
    start, end = to_ms(window.start), to_ms(window.end)
    few = (grain for grain in GRAINS if grain >= fitting and held.length(grain, start, end) <= MOST * grain)
    return held.reaching(start, next(few, DAY))


def pieces(connection: Connection, window: Window) -> list[tuple[int, Window]]:
    """The window in one or two stretches, each with the grain it is best summed from: wide buckets, before them finer ones.

    What is summed begins within a bucket of the finer ones of the window's start, and ends with the last wide one that began in it.
    """
    held = _Held(connection)
    start, end = to_ms(window.start), to_ms(window.end)
    wide = held.reaching(start, next((grain for grain in (DAY, HOUR, QUARTER) if end - start >= 4 * grain), MINUTE))
    finer = GRAINS[max(0, GRAINS.index(wide) - 1)]
    border = start + -start % wide
    if not start < border < end or held.reaching(start, finer) != finer:
        return [(wide, window)]
    return [(finer, Window(window.start, from_ms(border))), (wide, Window(from_ms(border), window.end))]


def keep(connection: Connection, since: Mapping[int, int]) -> None:
    """Remember from when on the buckets of each width are complete. Before that, they may be half forgotten already, or the few
    that late answers made anew.
    """
    meta.write(connection, _KEPT, json.dumps({str(grain): moment for grain, moment in since.items()}))


_KEPT = "buckets_kept_since"


def oldest_kept(connection: Connection, grain: int) -> int | None:
    """The first bucket of this width before which buckets were forgotten; None where all there ever were are there."""
    held = _Held(connection)
    return held.oldest(grain) if held.reaching(0, grain) != grain else None


class _Held:
    """How far back the buckets of each grain reach."""

    def __init__(self, connection: Connection) -> None:
        tops = [_extreme(tables.buckets[grain], sa.func.min) for grain in GRAINS]
        kept = sa.select(tables.meta.c.value).where(tables.meta.c.key == _KEPT).scalar_subquery()
        *oldest, newest, said = connection.execute(sa.select(*tops, _extreme(tables.buckets[DAY], sa.func.max), kept)).one()
        since = json.loads(said) if said else {}
        self._oldest = {
            grain: max(first, since.get(str(grain), first)) if first is not None else None
            for grain, first in zip(GRAINS, oldest, strict=True)
        }
        self._end = (newest or 0) + DAY

    def oldest(self, grain: int) -> int:
        """The start of the first bucket, where there is none the end of all."""
        found = self._oldest[grain]
        return self._end if found is None else found

    def length(self, grain: int, start: int, end: int) -> int:
        """How much of the stretch can hold buckets."""
        return min(end, self._end) - max(start, self._oldest[grain] or 0)

    def reaching(self, start: int, grain: int) -> int:
        """`grain`, or the next wider one that holds what was before its oldest bucket and after `start`."""
        for wider in GRAINS[GRAINS.index(grain) + 1 :]:
            fine, coarse = self._oldest[grain], self._oldest[wider]
            # The wide bucket around the oldest fine one began before it: only a whole one more says that fine ones were dropped.
            if coarse is not None and (fine is None or (start < fine and coarse + wider <= fine)):
                grain = wider
        return grain


def starts_of(table: sa.Table, window: Window, grain: int) -> sa.CTE:
    """Every bucket's `start` in the window: in these tables time comes first, so each is sought by itself."""
    begins, ends = to_ms(window.start), to_ms(window.end)
    first, oldest, newest = sa.literal(begins - begins % grain, Int), _extreme(table, sa.func.min), _extreme(table, sa.func.max)
    # Nothing is sought before or after what is stored: a window may be of any length.
    one = sa.select(sa.case((first < oldest, oldest), else_=first).label("start")).cte("starts", recursive=True)
    following = one.c.start + grain
    return one.union_all(sa.select(following).where(following < ends, following <= newest))


def buckets_of(table: sa.Table, window: Window, grain: int, project: str | None, *columns: Any) -> sa.Select[*tuple[Any, ...]]:
    """Buckets of one project, or of the fleet: a seek for each, because in these tables time comes before the project."""
    starts = starts_of(table, window, grain)
    here = sa.and_(table.c.start == starts.c.start, table.c.project_id == project_id(project))
    # All that is stored may lie behind the window.
    return sa.select(*columns).join_from(starts, table, here).where(starts.c.start < to_ms(window.end))


def holds(column: ColumnElement[int], window: Window, grain: int) -> ColumnElement[bool]:
    """Whether the bucket overlaps the window."""
    start = to_ms(window.start)
    return sa.and_(column >= start - start % grain, column < to_ms(window.end))


def project_id(project: str | None) -> Any:
    """The project's row, asked in the same query; the fleet's where none is named."""
    if project is None:
        return FLEET
    return sa.select(tables.projects.c.id).where(tables.projects.c.name == project).scalar_subquery()


def _extreme(table: sa.Table, function: Any) -> sa.ScalarSelect[int]:
    return sa.select(function(table.c.start)).scalar_subquery()
