"""Counts of a batch, per bucket: folded in memory first, so that the database is asked once for each bucket."""

import json
import time
from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from monitor.domain.observation import Verdict
from monitor.domain.taxonomy import FailureKind
from monitor.domain.timeline import to_ms
from monitor.store import dialect, meta
from monitor.store.engine import breathe, writing
from monitor.store.sketch import LONG, ONE, bin_of, compact, merge
from monitor.store.tables import DAY, FLEET, HOUR, MINUTE, QUARTER, buckets, failures

OPEN = 35 * DAY
"""How late an answer may be recorded and still count. Before that, figures are closed: what was reported of a month stays so for
ever. An answer that comes later is kept as evidence (its raw row) and counts in no bucket, limit or use of any grain. How late it
is tells the `now` with which it is recorded: an import of old history, which brings its own time, counts.
"""
Place = tuple[int, int, int]
"""Start, project and probe of a bucket."""
Gain = tuple[int, int, int, bytes]
"""What a bucket gains: ok, failed, inconclusive, and the sketch of their latencies."""

_PLACE_OF = {Verdict.OK: 0, Verdict.FAILED: 1, Verdict.INCONCLUSIVE: 2}


class Counts:
    """The gains of one batch, by minute; each observation counts for its project, and in what is read for the fleet too."""

    def __init__(self) -> None:
        self._cells: dict[Place, list[Any]] = {}
        """Ok, failed, inconclusive, and the sketches of single latencies, which are joined when they are written."""
        self._failures: dict[tuple[int, int, str], int] = {}

    def add(
        self, project_id: int, probe: int, at: int, verdict: Verdict, failure: FailureKind | None, latency_ms: float | None
    ) -> None:
        """Count one observation."""
        start = at - at % MINUTE
        cell = self._cells.get((start, project_id, probe))
        if cell is None:
            cell = self._cells[start, project_id, probe] = [0, 0, 0, []]
        cell[_PLACE_OF[verdict]] += 1
        if latency_ms is not None:
            cell[3].append(ONE[bin_of(latency_ms)])
        if failure is not None:
            name = (start, project_id, failure.value)
            self._failures[name] = self._failures.get(name, 0) + 1

    def __bool__(self) -> bool:
        return bool(self._cells)

    def cells(self, grain: int) -> dict[Place, Gain]:
        """Gains at this width, of the projects and the fleet."""
        found: dict[Place, list[Any]] = {}
        for (minute, project_id, probe), (ok, failed, inconclusive, sketches) in self._cells.items():
            start = minute - minute % grain
            for owner in (project_id, FLEET) if project_id != FLEET else (FLEET,):
                cell = found.get((start, owner, probe))
                if cell is None:
                    found[start, owner, probe] = [ok, failed, inconclusive, list(sketches)]
                else:
                    cell[0] += ok
                    cell[1] += failed
                    cell[2] += inconclusive
                    cell[3] += sketches
        return {place: (ok, failed, inconclusive, b"".join(parts)) for place, (ok, failed, inconclusive, parts) in found.items()}

    def failures(self, grain: int) -> dict[tuple[int, int, str], int]:
        """Failures at this width, of the projects and the fleet."""
        found: dict[tuple[int, int, str], int] = {}
        for (minute, project_id, failure), count in self._failures.items():
            for owner in {project_id, FLEET}:
                place = (minute - minute % grain, owner, failure)
                found[place] = found.get(place, 0) + count
        return found


class _Statements(NamedTuple):
    cells: dialect.Batch
    compact: dialect.Batch
    failures: dialect.Batch


class CountsWriter:
    """Adds counts to every grain."""

    def __init__(self, engine: Engine) -> None:
        self._statements = {
            grain: _Statements(
                dialect.upsert(engine, buckets[grain], add=["ok", "failed", "inconclusive"], join=["sketch"]),
                dialect.update(engine, buckets[grain], ["sketch"], *_KEY),
                dialect.upsert(engine, failures[grain], add=["count"]),
            )
            for grain in buckets
        }

    def write(self, connection: Connection, counts: Counts) -> None:
        """Add them, in the order of the tables' keys: neighbours share pages, and two who write at once do not wait in a circle."""
        if not counts:
            return
        for grain, statements in self._statements.items():
            cells = sorted(counts.cells(grain).items())
            statements.cells.run(
                connection,
                [
                    (*place, ok, failed, inconclusive, merge(None, gained) or None)
                    for place, (ok, failed, inconclusive, gained) in cells
                ],
            )
            # The rows just written are ours until the commit: nobody else can join to a sketch while it is made shorter.
            long = _long_sketches(connection, buckets[grain].name, [place for place, _ in cells])
            statements.compact.run(connection, [(compact(held), *place) for place, held in long])
            statements.failures.run(connection, [(*place, count) for place, count in sorted(counts.failures(grain).items())])


_KEY = ("start", "project_id", "probe")
_CLOSED = "sketches_closed"
_AT_ONCE = 1_000
"""Buckets whose sketches are made shorter in one transaction, some 50 ms."""


def close(engine: Engine, now: datetime, slices: int) -> int:
    """Make the sketches of buckets that are over as short as they can be: at most `slices` transactions; how many of them are left.

    They are read alike before and after; what comes late is joined to them as to any.
    """
    for grain in (QUARTER, HOUR, DAY):
        while slices > 0:
            began = time.monotonic()
            rows, more = _close_some(engine, grain, to_ms(now) - HOUR - grain)
            slices -= rows > 0
            breathe(began)
            if not more:
                break
    return slices


def _close_some(engine: Engine, grain: int, until: int) -> tuple[int, bool]:
    """The next buckets after those that were closed last: how many, and whether there are more."""
    table = buckets[grain]
    key, mark = [table.c[name] for name in _KEY], f"{_CLOSED}.{grain}"
    shorter = dialect.update(engine, table, ["sketch"], *_KEY)
    with writing(engine) as connection:
        held = meta.read(connection, mark)
        done = json.loads(held) if held else [0, 0, 0]
        query = sa.select(*key, table.c.sketch).where(
            table.c.start >= done[0], table.c.start <= until, sa.tuple_(*key) > sa.tuple_(*map(sa.literal, done))
        )
        # Locked, because what comes late would be lost if it was joined between reading and writing.
        rows = connection.execute(query.order_by(*key).limit(_AT_ONCE).with_for_update()).all()
        if not rows:
            return 0, False
        made = [(compact(sketch), len(sketch), place) for *place, sketch in rows if sketch is not None]
        shorter.run(connection, [(sketch, *place) for sketch, before, place in made if len(sketch) < before])
        meta.write(connection, mark, json.dumps([int(part) for part in rows[-1][:3]]))
    return len(rows), len(rows) == _AT_ONCE


def _long_sketches(connection: Connection, table: str, places: Iterable[Place]) -> list[tuple[Place, bytes]]:
    """Those of these buckets whose sketches have grown beyond what is read fast, in the order of their places."""
    values = ",".join([f"({start},{project_id},{probe})" for start, project_id, probe in places])  # numbers: nothing to escape
    rows = connection.exec_driver_sql(
        f"WITH wanted(start, project_id, probe) AS (VALUES {values}) "  # noqa: S608
        f"SELECT start, project_id, probe, sketch FROM wanted JOIN {table} USING (start, project_id, probe) "
        f"WHERE length(sketch) > {LONG}"
    )
    return sorted(((start, project_id, probe), held) for start, project_id, probe, held in rows)
