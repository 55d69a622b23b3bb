"""Data out, as Parquet or CSV files for people's own notebooks. Read in pieces: a year does not fit into memory."""

import csv
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from heapq import merge
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from monitor.domain.timeline import Window, from_ms, to_ms
from monitor.store import codec, evidence, packs, tables
from monitor.store.engine import reading
from monitor.store.errors import Problem, StoreError
from monitor.store.grains import oldest_kept
from monitor.store.register import target_of
from monitor.store.sketch import percentiles
from monitor.store.tables import DAY, FLEET, HOUR, PROBES

T = TypeVar("T")
Type = Literal["time", "int", "float", "text"]
Row = tuple[Any, ...]
Form = Literal["parquet", "csv"]
PIECE = 20_000
"""Rows that are held in memory."""
_PROBE_NAMES = {code: probe.value for probe, code in PROBES.items()}


@dataclass(frozen=True, slots=True)
class Sheet:
    """One file of an export: what stands in it, and how it is read. Times are aware, UTC."""

    name: str
    columns: tuple[tuple[str, Type], ...]
    rows: Callable[[Connection, Window, str | None], Iterator[Row]]
    """Of a window, and of one project or all."""


def export(engine: Engine, sheet: Sheet, window: Window, to: Path, form: Form, project: str | None = None) -> int:
    """Write one sheet to the file `to`, which appears when it is complete; gives the number of its rows.

    Raises `StoreError` where the database cannot be read or the file not be written.
    """
    half = to.with_name(to.name + ".part")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        sink = _WRITERS[form](half, sheet.columns)
        count = 0
        try:
            with reading(engine) as connection:
                for piece in _pieces(sheet.rows(connection, window, codec.clean(project))):
                    sink.write(piece)
                    count += len(piece)
        finally:
            sink.close()
        os.replace(half, to)  # noqa: PTH105 - a rename is the moment the file exists
    except OSError as error:
        raise StoreError(Problem.FOLDER, f"{to} cannot be written: {error.strerror or error}") from None
    finally:
        with suppress(OSError):
            half.unlink(missing_ok=True)
    return count


def _pieces(rows: Iterator[T]) -> Iterator[list[T]]:
    piece: list[T] = []
    for row in rows:
        piece.append(row)
        if len(piece) == PIECE:
            yield piece
            piece = []
    if piece:
        yield piece


# --- what is written -----------------------------------------------------------------------------------------------------

OBSERVATION_COLUMNS: tuple[tuple[str, Type], ...] = (
    ("at", "time"), ("project", "text"), ("key", "text"), ("probe", "text"), ("model", "text"), ("host", "text"),
    ("verdict", "text"), ("failure", "text"), ("status", "int"), ("code", "text"), ("type", "text"), ("param", "text"),
    ("message", "text"), ("request_id", "text"), ("latency_ms", "float"), ("processing_ms", "float"), ("scope", "text"),
    ("hint", "text"), ("missing_scopes", "text"), ("finding", "text"), ("project_echo", "text"), ("organization_echo", "text"),
    ("classifier_version", "int"), ("evidence", "text"),
)  # fmt: skip
"""`evidence` is JSON: retry_after, hit, limits, tokens, body (redacted)."""


def _observations(connection: Connection, window: Window, project: str | None) -> Iterator[Row]:
    """By the hour where there are packed ones, within that by target, then by time: neither all of a month nor a day is held."""
    since, until = to_ms(window.start), to_ms(window.end)
    wanted = _targets_of(project)
    end = since
    for hour in packs.hours(connection, since, until):
        start, end_before = max(since, hour), end
        end = min(until, hour + HOUR)
        if end_before < start:
            yield from _raw(connection, end_before, start, project)
        packed = packs.of_hour(connection, hour, start, end, wanted)
        whole = (evidence.whole(connection, some) for some in _pieces(packed))
        good = (_exported(row) for some in whole for row in some)
        yield from (row for _, row in merge(_numbered(connection, start, end, project), good, key=itemgetter(0)))
    if end < until:
        yield from _raw(connection, end, until, project)


def _targets_of(project: str | None) -> sa.Select[Any] | None:
    if project is None:
        return None
    t, p = tables.targets.c, tables.projects.c
    return sa.select(t.id).join_from(tables.targets, tables.projects, p.id == t.project_id).where(p.name == project)


def _raw(connection: Connection, since: int, until: int, project: str | None) -> Iterator[Row]:
    return (row for _, row in _numbered(connection, since, until, project))


def _numbered(connection: Connection, since: int, until: int, project: str | None) -> Iterator[tuple[tuple[int, int], Row]]:
    """Rows as they are exported with target and time, in the order of both."""
    o, t, p = tables.observations.c, tables.targets.c, tables.projects.c
    query = evidence.joined().where(o.at >= since, o.at < until).where(o.target_id.in_(sa.select(t.id).correlate(None)))
    if project is not None:
        query = query.where(p.name == project)
    for row in _streamed(connection, query.order_by(o.target_id, o.at)):
        yield _exported(row)


def _exported(row: Any) -> tuple[tuple[int, int], Row]:
    target = target_of(row.project, row.probe, row.key, row.model, row.host)
    place = (target.project, target.key, target.probe.value, target.model, target.host)
    said = (row.verdict, row.failure, row.status, row.code, row.type, row.param, row.message, row.request_id)
    lengths = (codec.milliseconds(row.latency_us), codec.milliseconds(row.processing_us))
    rest = (row.scope, row.hint, row.missing_scopes, row.finding, row.project_echo, row.organization_echo)
    return (row.target_id, row.at), (from_ms(row.at), *place, *said, *lengths, *rest, row.classifier_version, row.evidence)


def _checks(connection: Connection, window: Window, project: str | None) -> Iterator[Row]:
    p = tables.projects.c
    for grain, since, until in _grains(connection, window):
        b = tables.buckets[grain].c
        columns = (b.start, p.name, b.probe, b.ok, b.failed, b.inconclusive, b.sketch)
        query = _counted(tables.buckets[grain], since, until, project, *columns)
        for start, name, probe, ok, failed, inconclusive, held in _streamed(connection, query):
            latencies = percentiles(held or b"", (0.5, 0.95, 0.99))
            yield (from_ms(start), name, _PROBE_NAMES[probe], ok, failed, inconclusive, *latencies)


def _failures(connection: Connection, window: Window, project: str | None) -> Iterator[Row]:
    p = tables.projects.c
    for grain, since, until in _grains(connection, window):
        f = tables.failures[grain].c
        query = _counted(tables.failures[grain], since, until, project, f.start, p.name, f.failure, f.count)
        for start, *rest in _streamed(connection, query):
            yield (from_ms(start), *rest)


def _transitions(connection: Connection, window: Window, project: str | None) -> Iterator[Row]:
    c, t, p = tables.transitions.c, tables.targets.c, tables.projects.c
    query = (
        sa.select(c.at, p.name, t.key, t.probe, t.model, c.old, c.new, c.failure)
        .join_from(tables.transitions, tables.targets, c.target_id == t.id)
        .outerjoin(tables.projects, p.id == t.project_id)
        .where(c.at >= to_ms(window.start), c.at < to_ms(window.end))
        .order_by(c.at, c.id)
    )
    if project is not None:
        query = query.where(p.name == project)
    for at, name, key, probe, model, *rest in _streamed(connection, query):
        yield (from_ms(at), name, key or None, _PROBE_NAMES[probe], model or None, *rest)


def _incidents(connection: Connection, window: Window, project: str | None) -> Iterator[Row]:
    c = tables.incidents.c
    times = (c.first_bad_at, c.opened_at, c.named_at, c.acknowledged_at, c.resolved_at)
    query = sa.select(c.id, c.scope, c.lane, c.subject, c.failure, c.severity, c.title, c.merged_into, *times).where(
        c.opened_at < to_ms(window.end), sa.or_(c.resolved_at.is_(None), c.resolved_at >= to_ms(window.start))
    )
    if project is not None:
        hit = tables.incident_projects.c
        query = query.where(c.id.in_(sa.select(hit.incident_id).where(hit.project == project)))
    for number, *rest in _streamed(connection, query.order_by(c.id)):
        yield (number, *rest[:7], *(codec.moment(at) for at in rest[7:]))


def _limits(connection: Connection, window: Window, project: str | None) -> Iterator[Row]:
    c, t, p = tables.limit_buckets.c, tables.targets.c, tables.projects.c
    query = (
        sa.select(c.start, p.name, t.key, t.model, c.bucket, c.limit, c.remaining)
        .select_from(tables.targets)
        .join(tables.limit_buckets, sa.and_(c.target_id == t.id, c.start >= to_ms(window.start), c.start < to_ms(window.end)))
        .join(tables.projects, p.id == t.project_id)
        .order_by(c.target_id, c.start, c.bucket)
    )
    if project is not None:
        query = query.where(p.name == project)
    for start, name, key, model, *rest in _streamed(connection, query):
        yield (from_ms(start), name, key or None, model or None, *rest)


def _grains(connection: Connection, window: Window) -> list[tuple[int, int, int]]:
    """The window as days, where hours are no longer kept, and from the first whole day of those on as hours."""
    start, end = to_ms(window.start), to_ms(window.end)
    border = oldest_kept(connection, HOUR)
    if border is None or border <= start:
        return [(HOUR, start - start % HOUR, end)]
    border += -border % DAY
    return [(DAY, start - start % DAY, min(border, end)), (HOUR, border, end)]


def _counted(table: sa.Table, since: int, until: int, project: str | None, *columns: Any) -> sa.Select[Any]:
    c, p = table.c, tables.projects.c
    query = (
        sa.select(*columns)
        .join_from(table, tables.projects, p.id == c.project_id)
        .where(c.start >= since, c.start < until, c.project_id != FLEET)
        .order_by(*table.primary_key)
    )
    return query.where(p.name == project) if project is not None else query


def _streamed(connection: Connection, query: sa.Select[Any]) -> Iterator[Any]:
    yield from connection.execution_options(yield_per=PIECE).execute(query)


SHEETS: dict[str, Sheet] = {
    sheet.name: sheet
    for sheet in (
        Sheet("observations", OBSERVATION_COLUMNS, _observations),
        Sheet(
            "checks",
            (
                ("start", "time"), ("project", "text"), ("probe", "text"), ("ok", "int"), ("failed", "int"),
                ("inconclusive", "int"), ("p50_ms", "float"), ("p95_ms", "float"), ("p99_ms", "float"),
            ),
            _checks,
        ),
        Sheet("failures", (("start", "time"), ("project", "text"), ("failure", "text"), ("count", "int")), _failures),
        Sheet(
            "transitions",
            (
                ("at", "time"), ("project", "text"), ("key", "text"), ("probe", "text"), ("model", "text"), ("old", "text"),
                ("new", "text"), ("failure", "text"),
            ),
            _transitions,
        ),
        Sheet(
            "incidents",
            (
                ("id", "int"), ("scope", "text"), ("lane", "text"), ("subject", "text"), ("failure", "text"), ("severity", "text"),
                ("title", "text"), ("merged_into", "int"), ("first_bad_at", "time"), ("opened_at", "time"), ("named_at", "time"),
                ("acknowledged_at", "time"), ("resolved_at", "time"),
            ),
            _incidents,
        ),
        Sheet(
            "limits",
            (
                ("start", "time"), ("project", "text"), ("key", "text"), ("model", "text"), ("bucket", "text"), ("limit", "int"),
                ("remaining", "int"),
            ),
            _limits,
        ),
    )
}  # fmt: skip
"""What can be exported: raw observations; checks with latencies (ms) and failures by the hour, by the UTC day where hours are no
longer kept; transitions; incidents; and the least that the headers said remained of each rate limit, by five minutes."""


# --- how it is written ---------------------------------------------------------------------------------------------------


class _Sink(Protocol):
    def write(self, piece: Sequence[Row]) -> None: ...

    def close(self) -> None: ...


class _Csv:
    """UTF-8 with a header line; absent is empty, times are ISO 8601."""

    def __init__(self, path: Path, columns: Sequence[tuple[str, Type]]) -> None:
        self._file = path.open("w", encoding="utf-8", errors="replace", newline="")
        self._times = [place for place, (_, kind) in enumerate(columns) if kind == "time"]
        self._writer = csv.writer(self._file)
        self._writer.writerow([name for name, _ in columns])

    def write(self, piece: Sequence[Row]) -> None:
        for row in piece:
            cells = list(row)
            for place in self._times:
                cells[place] = cells[place].isoformat(timespec="milliseconds") if cells[place] is not None else None
            self._writer.writerow(cells)

    def close(self) -> None:
        self._file.close()


class _Parquet:
    """Typed columns: the same whether there are rows or not."""

    def __init__(self, path: Path, columns: Sequence[tuple[str, Type]]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        types = {"time": pa.timestamp("ms", tz="UTC"), "int": pa.int64(), "float": pa.float64(), "text": pa.string()}
        self._schema = pa.schema([(name, types[kind]) for name, kind in columns])
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")

    def write(self, piece: Sequence[Row]) -> None:
        import pyarrow as pa

        arrays = [pa.array(values, type=field.type) for values, field in zip(zip(*piece, strict=True), self._schema, strict=True)]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))

    def close(self) -> None:
        self._writer.close()


_WRITERS: dict[Form, Callable[[Path, Sequence[tuple[str, Type]]], _Sink]] = {"csv": _Csv, "parquet": _Parquet}
