"""Counts of a batch, per bucket: folded in memory first, so that the database is asked once for each bucket."""

from collections import Counter
from typing import NamedTuple

from sqlalchemy import Connection, Engine

from monitor.domain.observation import Verdict
from monitor.domain.taxonomy import FailureKind
from monitor.store import dialect
from monitor.store.sketch import ONE, bin_of, merge
from monitor.store.tables import FLEET, MINUTE, buckets, failures

Place = tuple[int, int, int]
"""Project, start and probe of a bucket."""


class Cell:
    """What one bucket gains."""

    __slots__ = ("failed", "inconclusive", "ok", "parts")

    def __init__(self) -> None:
        self.ok = self.failed = self.inconclusive = 0
        self.parts: list[bytes] = []

    def add(self, other: "Cell") -> None:
        """Gain what `other` gained."""
        self.ok += other.ok
        self.failed += other.failed
        self.inconclusive += other.inconclusive
        self.parts += other.parts


class Counts:
    """The gains of one batch."""

    def __init__(self) -> None:
        self._minutes: dict[Place, Cell] = {}
        self._failures: Counter[tuple[int, int, FailureKind]] = Counter()

    def add(
        self, project_id: int, probe: int, at: int, verdict: Verdict, failure: FailureKind | None, latency_ms: float | None
    ) -> None:
        """Count one observation."""
        start = at - at % MINUTE
        place = (project_id, start, probe)
        cell = self._minutes.get(place)
        if cell is None:
            cell = self._minutes[place] = Cell()
        if verdict is Verdict.OK:
            cell.ok += 1
        elif verdict is Verdict.FAILED:
            cell.failed += 1
        else:
            cell.inconclusive += 1
        if latency_ms is not None:
            cell.parts.append(ONE[bin_of(latency_ms)])
        if failure is not None:
            self._failures[project_id, start, failure] += 1

    def cells(self, grain: int) -> dict[Place, Cell]:
        """Gains at this width, those of the fleet included."""
        found: dict[Place, Cell] = {}
        for (project_id, minute, probe), gained in self._minutes.items():
            start = minute - minute % grain
            for place in ((project_id, start, probe), (FLEET, start, probe)):
                cell = found.get(place)
                if cell is None:
                    cell = found[place] = Cell()
                cell.add(gained)
                if project_id == FLEET:
                    break
        return found

    def failures(self, grain: int) -> "Counter[tuple[int, int, str]]":
        """Failures at this width, those of the fleet included."""
        found: Counter[tuple[int, int, str]] = Counter()
        for (project_id, minute, failure), count in self._failures.items():
            start = minute - minute % grain
            found[project_id, start, failure.value] += count
            if project_id != FLEET:
                found[FLEET, start, failure.value] += count
        return found


class _Statements(NamedTuple):
    cells: dialect.Batch
    failures: dialect.Batch


class CountsWriter:
    """Adds counts to every grain."""

    def __init__(self, engine: Engine) -> None:
        self._statements = {
            grain: _Statements(
                dialect.upsert(engine, buckets[grain], add=["ok", "failed", "inconclusive"], put=["sketch"]),
                dialect.upsert(engine, failures[grain], add=["count"]),
            )
            for grain in buckets
        }

    def write(self, connection: Connection, counts: Counts) -> None:
        """Add them, in the order of the tables' keys: neighbours share pages."""
        for grain, statements in self._statements.items():
            cells = counts.cells(grain)
            known = _sketches(connection, buckets[grain].name, cells)
            statements.cells.run(
                connection,
                [
                    (*place, cell.ok, cell.failed, cell.inconclusive, merge([known.get(place), *cell.parts]) or None)
                    for place, cell in sorted(cells.items(), key=lambda item: item[0])
                ],
            )
            statements.failures.run(connection, [(*place, count) for place, count in sorted(counts.failures(grain).items())])


def _sketches(connection: Connection, table: str, places: dict[Place, Cell]) -> dict[Place, bytes]:
    """The sketches that these buckets hold already."""
    values = ",".join(map(str, places))  # numbers of our own: nothing to escape
    rows = connection.exec_driver_sql(
        f"WITH wanted(project_id, start, probe) AS (VALUES {values}) "  # noqa: S608
        f"SELECT project_id, start, probe, sketch FROM wanted JOIN {table} USING (project_id, start, probe)"
    )
    return {(project_id, start, probe): held for project_id, start, probe, held in rows}
