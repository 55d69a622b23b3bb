"""Counts of a batch, per bucket: folded in memory first, so that the database is asked once for each bucket."""

import json
import time
from collections import Counter
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from monitor.domain.observation import Verdict
from monitor.domain.taxonomy import FailureKind
from monitor.domain.timeline import to_ms
from monitor.store import dialect, meta
from monitor.store.engine import breathe, writing
from monitor.store.sketch import LONG, ONE, bin_of, compact, shortened
from monitor.store.tables import DAY, FLEET, HOUR, MINUTE, QUARTER, buckets, failures

OPEN = 35 * DAY
"""How late an answer may be recorded and still count. Before that, figures are closed: what was reported of a month stays so for
ever. An answer that comes later is kept as evidence (its raw row) and counts in no bucket, limit or use of any grain. How late it
is tells the `now` with which it is recorded: an import of old history, which brings its own time, counts.
"""
Place = tuple[int, int, int]
"""Start, project and probe of a bucket."""
Named = tuple[int, int, str]
"""Start, project and kind of failure."""
Gain = tuple[int, int, int, bytes]
"""What a bucket gains: ok, failed, inconclusive, and the sketch of their latencies."""

_PLACE_OF = {Verdict.OK: 0, Verdict.FAILED: 1, Verdict.INCONCLUSIVE: 2}


class Counts:
    """The gains of one batch, by minute; each observation counts for its project, and in what is read for the fleet too."""

    def __init__(self) -> None:
        self._cells: dict[Place, list[Any]] = {}
        """Ok, failed, inconclusive, and the sketches of single latencies."""
        self._failures: dict[Named, int] = {}

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

    def asked(self) -> Counter[Place]:
        """How many questions were answered after some time, by project, day and probe; the fleet's own are nobody's."""
        found: Counter[Place] = Counter()
        for (start, project_id, probe), cell in self._cells.items():
            if project_id != FLEET and cell[3]:
                found[project_id, start - start % DAY, probe] += len(cell[3])
        return found

    def cells(self) -> dict[Place, Gain]:
        """Gains by the minute, of the projects and the fleet."""
        own = {
            place: (ok, failed, other, shortened(b"".join(sketches)))
            for place, (ok, failed, other, sketches) in self._cells.items()
        }
        return own | _summed(((start, FLEET, probe), gain) for (start, _, probe), gain in own.items())

    def failures(self) -> dict[Named, int]:
        """Failures by the minute, of the projects and the fleet."""
        found = dict(self._failures)
        for (start, project_id, failure), count in self._failures.items():
            if project_id != FLEET:
                found[start, FLEET, failure] = found.get((start, FLEET, failure), 0) + count
        return found


def _summed(gains: Iterable[tuple[Place, Gain]]) -> dict[Place, Gain]:
    """One gain for each place, its sketch no longer than it needs to be."""
    alike: dict[Place, list[Gain]] = {}
    for place, gain in gains:
        alike.setdefault(place, []).append(gain)
    return {place: some[0] if len(some) == 1 else _sum(some) for place, some in alike.items()}


def _sum(gains: Iterable[Gain]) -> Gain:
    ok, failed, inconclusive, sketches = zip(*gains, strict=True)
    return sum(ok), sum(failed), sum(inconclusive), shortened(b"".join(sketches))


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
        self._grown: dict[int, dict[Place, int]] = {grain: {} for grain in buckets}
        """How many bytes were joined to the sketch of each bucket, since it was last looked at."""

    def write(self, connection: Connection, counts: Counts) -> None:
        """Add them, in the order of the tables' keys: neighbours share pages, and two who write at once do not wait in a circle."""
        if not counts:
            return
        cells, failed = counts.cells(), counts.failures()
        for grain, statements in self._statements.items():  # each holds whole ones of the grain before it
            cells = _summed(
                ((start - start % grain, project_id, probe), gain) for (start, project_id, probe), gain in cells.items()
            )
            ordered = sorted(cells.items())
            statements.cells.run(connection, [(*place, *gain[:3], gain[3] or None) for place, gain in ordered])
            # The rows just written are ours until the commit: nobody else can join to a sketch while it is made shorter.
            long = _long_sketches(connection, buckets[grain].name, self._grown_long(grain, ordered))
            statements.compact.run(connection, [(compact(held), *place) for place, held in long])
            rows: Counter[Named] = Counter()
            for (start, project_id, failure), count in failed.items():
                rows[start - start % grain, project_id, failure] += count
            statements.failures.run(connection, [(*place, count) for place, count in sorted(rows.items())])

    def _grown_long(self, grain: int, gains: Iterable[tuple[Place, Gain]]) -> list[Place]:
        """Those of these buckets to whose sketches much was joined since they were looked at."""
        grown = self._grown[grain]
        if len(grown) > _MOST_GROWN:
            grown.clear()
        long = []
        for place, gain in gains:
            grown[place] = size = grown.get(place, 0) + len(gain[3])
            if size > LONG:  # at once, and not first when its time is over: room once taken in a file is hardly given back
                long.append(place)
                del grown[place]
        return long


_KEY = ("start", "project_id", "probe")
_MOST_GROWN = 50_000
"""Buckets of one width that are followed; then all are forgotten, and followed from where they are."""
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


def _long_sketches(connection: Connection, table: str, places: Collection[Place]) -> list[tuple[Place, bytes]]:
    """Those of these buckets whose sketches have grown beyond what is read fast, in the order of their places."""
    if not places:
        return []
    values = ",".join([f"({start},{project_id},{probe})" for start, project_id, probe in places])  # numbers: nothing to escape
    rows = connection.exec_driver_sql(
        f"WITH wanted(start, project_id, probe) AS (VALUES {values}) "  # noqa: S608
        f"SELECT start, project_id, probe, sketch FROM wanted JOIN {table} USING (start, project_id, probe) "
        f"WHERE length(sketch) > {LONG}"
    )
    return sorted(((start, project_id, probe), held) for start, project_id, probe, held in rows)
