"""What happened to each project in each part of a window: the coloured strips of pages and reports."""

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection, Engine

from monitor.domain.timeline import Window, to_ms
from monitor.store import tables
from monitor.store.engine import reading
from monitor.store.frames import frame
from monitor.store.grains import fewest, starts_of
from monitor.store.tables import DAY, FLEET, HOUR, MINUTE, QUARTER

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = ("project", "cell", "ok", "failed", "inconclusive", "failure")


def strips(engine: Engine, window: Window, cells: int = 48, projects: Collection[str] | None = None) -> "pd.DataFrame":
    """Per project (of those named, or of all) and cell of the window: `project, cell, ok, failed, inconclusive, failure`.

    `cell` counts from 0 at the window's start; `failure` is the commonest kind of the cell or None. Cells without data have no
    row. Cells are made of whole quarter hours (minutes where they are shorter), so their edges are true to a quarter hour; where
    the window is longer than the two weeks for which that many can be read, to an hour or a day.
    """
    with reading(engine) as connection:
        names = _names(connection, projects)
        grain = _grain(connection, window, cells)
        counts, causes = _asked(window, cells, grain, None if projects is None else list(names))
        commonest: dict[int, str] = dict(connection.execute(causes).all())
        rows = [
            (names[place // cells], place % cells, *rest, commonest.get(place))
            for place, *rest in connection.execute(counts)
            if place // cells in names
        ]
    return frame(_COLUMNS, rows)


def _names(connection: Connection, projects: Collection[str] | None) -> dict[int, str]:
    p = tables.projects.c
    query = sa.select(p.id, p.name).where(p.active == 1)
    if projects is not None:
        query = query.where(p.name.in_(projects))
    return dict(connection.execute(query).all())


def _grain(connection: Connection, window: Window, cells: int) -> int:
    """The widest buckets that fill each cell, else quarter hours (minutes where cells are shorter); wider ones where those are too
    many, or are no longer kept.
    """
    width = to_ms(window.end) - to_ms(window.start)
    shortest = QUARTER if width >= QUARTER * cells else MINUTE
    fitting = next((grain for grain in (DAY, HOUR) if width % (grain * cells) == 0), shortest)
    return fewest(connection, window, fitting)


def _asked(window: Window, cells: int, grain: int, numbers: list[int] | None) -> tuple[sa.Select[Any], sa.Select[Any]]:
    """The queries for the counts of each cell, and for the kinds of failure of each, the commonest last.

    A place is the project's number times `cells`, and the cell: rows are sorted by one number, which is faster than by two.
    """
    counted, failed = tables.buckets[grain], tables.failures[grain]

    def of(table: sa.Table, *columns: ColumnElement[Any]) -> sa.Select[Any]:
        starts = _cells(table, window, cells, grain)
        query = sa.select((table.c.project_id * cells + starts.c.cell).label("place"), *columns)
        some = table.c.project_id != FLEET if numbers is None else table.c.project_id.in_(numbers)
        return query.join_from(starts, table, table.c.start == starts.c.start).where(some)

    place, sums = sa.text("place"), (sa.func.sum(counted.c[name]) for name in ("ok", "failed", "inconclusive"))
    counts = of(counted, *sums).group_by(place).order_by(place)
    causes = (
        of(failed, failed.c.failure)
        .group_by(place, failed.c.failure)
        .order_by(sa.func.sum(failed.c.count), failed.c.failure.desc())
    )
    return counts, causes


def _cells(table: sa.Table, window: Window, cells: int, grain: int) -> sa.CTE:
    """Every bucket's start in the window, and the cell it lies in."""
    start, width = to_ms(window.start), to_ms(window.end) - to_ms(window.start)
    at = starts_of(table, window, grain).c.start
    # A bucket that began before the window belongs to its first cell.
    cell = sa.case((at < start, 0), else_=(at - start) * cells // width).label("cell")
    return sa.select(at, cell).cte("cells").prefix_with("MATERIALIZED")
