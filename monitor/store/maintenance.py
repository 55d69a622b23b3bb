"""Looking after the database: copying it while it is in use, checking it, and forgetting what is old."""

import contextlib
import os
import shlex
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, Select, Table

from monitor.domain.timeline import to_ms
from monitor.store import counts, grains, limits, meta, migrate, packs, partitions, statistics, tables
from monitor.store.engine import Problem, StoreError, breathe, explain, reading, shown, sqlite_path, writing
from monitor.store.inspecting import Progress, damaged
from monitor.store.tables import DAY, FLEET, HOUR, MINUTE, QUARTER

# --- backup --------------------------------------------------------------------------------------------------------------


def backup(engine: Engine, to: Path) -> None:
    """Copy the whole database to the new file `to` while poller and pages go on. Raises `StoreError`; then there is no file.

    Copying the file by other means loses what is still in its `-wal` file beside it.
    """
    if engine.dialect.name != "sqlite":
        at = engine.url
        there = shown(sa.URL.create("postgresql", at.username, None, at.host, at.port, at.database, at.query))
        command = f"pg_dump --format=custom --file={shlex.quote(str(to))} {shlex.quote(there)}"
        raise StoreError(Problem.URL, f"this database is a server's, which copies itself; run: {command}")
    if to.exists():
        raise StoreError(Problem.FOLDER, f"{to} is already there: name a new file")
    half = to.with_name(to.name + ".part")
    try:
        half.unlink(missing_ok=True)
        _copy(engine, half)
        os.replace(half, to)  # noqa: PTH105 - a rename is the moment the backup exists
    except (OSError, sqlite3.Error) as error:
        with contextlib.suppress(OSError):
            half.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise StoreError(Problem.FOLDER, f"{to} cannot be written: {error.strerror}") from None
        ours = getattr(error, "sqlite_errorname", "").startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB"))
        why = explain(engine.url if ours else sa.URL.create("sqlite", database=str(half)), error)
        raise StoreError(why.problem, f"the backup to {to} failed: {why}") from None


def _copy(engine: Engine, to: Path) -> None:
    with contextlib.closing(_reader(engine)) as source, contextlib.closing(sqlite3.connect(to)) as copy:
        # Without a transaction of its own the copy begins again whenever the poller commits, and might never end.
        source.execute("BEGIN")
        source.execute("SELECT count(*) FROM sqlite_master").fetchone()
        source.backup(copy, pages=2000)
        copy.execute("PRAGMA journal_mode=delete")  # one file, complete in itself


def _reader(engine: Engine) -> sqlite3.Connection:
    return sqlite3.connect(sqlite_path(engine.url).absolute().as_uri() + "?mode=ro", uri=True)


# --- check ---------------------------------------------------------------------------------------------------------------

_HOURS_CHECKED = 3


def check(engine: Engine, progress: Progress = lambda _table, _rows: None) -> list[str]:
    """What is wrong with the database, in words; empty when nothing is.

    Besides the file itself: that what is derived agrees with what it is derived from, over the newest hours, and that everything
    packed can be read: of a large fleet that takes minutes, which `progress` hears of.
    """
    try:
        with reading(engine) as connection:
            return list(_problems(connection, progress))
    except StoreError as error:
        return [str(error)]


def _problems(connection: Connection, progress: Progress) -> Iterator[str]:
    if connection.dialect.name == "sqlite":
        for (line,) in connection.exec_driver_sql("PRAGMA integrity_check(20)"):
            if line != "ok":
                yield f"damaged: {line}"
        for table, *_ in connection.exec_driver_sql("PRAGMA foreign_key_check"):
            yield f"a row of {table} points at nothing"
    revision = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    if revision != migrate.REVISIONS[-1]:
        yield f"the schema is {revision}, this version of the monitor needs {migrate.REVISIONS[-1]}"
        return
    yield from _orphans(connection)
    broken = list(damaged(connection, progress))
    yield from broken
    if any("packs:" in line for line in broken):
        return  # which what follows would stumble over
    newest = connection.execute(sa.select(sa.func.max(tables.buckets[HOUR].c.start))).scalar()
    if newest is not None:
        since = max(newest - (_HOURS_CHECKED - 1) * HOUR, _whole_since(connection))
        yield from _states_without_evidence(connection, since)
        yield from _counts_that_differ(connection, since)
        yield from _days_that_differ(connection, newest)


def _whole_since(connection: Connection) -> int:
    """The first hour of which `prune` has forgotten nothing."""
    pruned = int(meta.read(connection, _PRUNED) or 0)
    return pruned + -pruned % HOUR


def _orphans(connection: Connection) -> Iterator[str]:
    t, a = tables.targets.c.id, tables.answers.c.id
    for table in (tables.target_states, tables.transitions):
        lost = sa.select(sa.func.count()).select_from(table).where(table.c.target_id.not_in(sa.select(t)))
        if count := connection.execute(lost).scalar():
            yield f"{count} rows of {table.name} belong to no target"
    said = tables.target_states.c.answer_id
    lost = sa.select(sa.func.count()).select_from(tables.target_states).where(said.not_in(sa.select(a)))
    if count := connection.execute(lost).scalar():
        yield f"{count} targets answered with an answer that is not stored"


def _states_without_evidence(connection: Connection, since: int) -> Iterator[str]:
    o, s = tables.observations.c, tables.target_states.c
    seen = sa.exists().where(o.target_id == s.target_id, o.at == s.last_at)
    lost = {(number, at) for number, at in connection.execute(sa.select(s.target_id, s.last_at).where(s.last_at >= since, ~seen))}
    if lost:
        first, last = min(at for _, at in lost), max(at for _, at in lost)
        lost -= {(one.target_id, one.at) for one in packs.answers(connection, first, last + 1)}
    if lost:
        yield f"{len(lost)} targets have a state whose last observation is not stored"


def _counts_that_differ(connection: Connection, since: int) -> Iterator[str]:
    raw = _raw_counts(connection, since)
    for grain in (MINUTE, QUARTER, HOUR):
        table = tables.buckets[grain]
        found = _bucket_counts(connection, table, since, HOUR)
        for place in sorted(raw.keys() | found.keys()):
            if raw.get(place) != found.get(place):
                start, project_id, probe = place
                yield (
                    f"{table.name}: hour {start} of project {project_id}, probe {probe} counts {found.get(place)}, "
                    f"its observations are {raw.get(place)}"
                )


def _days_that_differ(connection: Connection, newest: int) -> Iterator[str]:
    """The day of the newest hour, against its hours: they are kept for at least a day."""
    day = newest - newest % DAY
    hours, found = (_bucket_counts(connection, tables.buckets[grain], day, DAY) for grain in (HOUR, DAY))
    for place in sorted(hours.keys() | found.keys()):
        if hours.get(place) != found.get(place):
            start, project_id, probe = place
            yield (
                f"day_buckets: day {start} of project {project_id}, probe {probe} counts {found.get(place)}, "
                f"its hours are {hours.get(place)}"
            )


def _raw_counts(connection: Connection, since: int) -> dict[tuple[int, ...], tuple[int, ...]]:
    """Per hour, project (the fleet included) and probe: ok, failed, inconclusive, from raw rows and packed ones."""
    o, t, a, c = tables.observations.c, tables.targets.c, tables.answers.c, tables.packs.c
    hour = (o.at - o.at % HOUR).label("hour")
    query = (
        sa.select(hour, t.project_id, t.probe, a.verdict, sa.func.count())
        .join_from(tables.targets, tables.observations, sa.and_(o.target_id == t.id, o.at >= since))
        .join(tables.answers, a.id == o.answer_id)
        .group_by(hour, t.project_id, t.probe, a.verdict)
    )
    packed = (
        sa.select(c.start, t.project_id, t.probe, sa.literal("ok"), sa.func.sum(c.count))
        .join_from(tables.packs, tables.targets, t.id == c.target_id)
        .where(c.start >= since)
        .group_by(c.start, t.project_id, t.probe)
    )
    found: dict[tuple[int, ...], list[int]] = {}
    for start, project_id, probe, verdict, count in (*connection.execute(query), *connection.execute(packed)):
        for owner in {project_id, FLEET}:
            found.setdefault((start, owner, probe), [0, 0, 0])[("ok", "failed", "inconclusive").index(verdict)] += int(count)
    return {place: tuple(count) for place, count in found.items()}


def _bucket_counts(connection: Connection, table: Table, since: int, width: int) -> dict[tuple[int, ...], tuple[int, ...]]:
    """The same from buckets, per hour or per day."""
    c = table.c
    start = (c.start - c.start % width).label("start")
    sums = [sa.func.sum(c[name]) for name in ("ok", "failed", "inconclusive")]
    query = sa.select(start, c.project_id, c.probe, *sums).where(c.start >= since).group_by(start, c.project_id, c.probe)
    return {(row[0], row[1], row[2]): tuple(row[3:]) for row in connection.execute(query)}


# --- prune ---------------------------------------------------------------------------------------------------------------


class RetentionPolicy(Protocol):
    """How long what is kept."""

    @property
    def observations(self) -> timedelta:
        """Raw successes."""

    @property
    def failures(self) -> timedelta:
        """Raw observations that were not simply good."""

    @property
    def minutes(self) -> timedelta:
        """Minute buckets."""

    @property
    def quarters(self) -> timedelta:
        """Quarter-hour buckets; never for a shorter time than minutes."""

    @property
    def hours(self) -> timedelta:
        """Hour buckets, what the headers said of limits, schedule lag. What is counted by the day is kept for ever."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a run of `prune` did."""

    rows: int
    """How many it forgot."""
    finished: bool
    """Whether nothing old is left; else call again."""


_SLICE = 5_000
"""Rows forgotten in one transaction: some 20 ms, so that the poller never waits long."""
_OWNERS = 200
_PRUNED = "pruned_before"
_FORGOTTEN = {"observations": "good_forgotten_before", "failures": "others_forgotten_before"}


def forgotten_before(connection: Connection) -> tuple[int, int]:
    """The moments before which raw answers are forgotten: good ones, and others. 0 where none ever were."""
    good, others = (int(meta.read(connection, name) or 0) for name in _FORGOTTEN.values())
    return good, others


def prune(engine: Engine, now: datetime, policy: RetentionPolicy, slices: int = 100) -> Pruned:
    """Pack the good answers of hours that are over, shorten what is kept of their latencies, and forget what is older than
    `policy`: at most `slices` short transactions of it, between which others write. Transitions and days stay for ever. When
    nothing old is left, look at what there is, so that queries go on being planned well.
    """
    before = _horizons(now, policy)
    with writing(engine) as connection:
        meta.write(connection, _PRUNED, str(max(before.values())))
        for kind, name in _FORGOTTEN.items():
            latest = max(before[kind], int(meta.read(connection, name) or 0))  # a retention that is longer now brings nothing back
            meta.write(connection, name, str(latest))
        grains.keep(connection, {grain: before[name] for grain, name in _KEPT.items()})
    partitions.keep(engine, now, max(policy.observations, policy.failures))
    good, slices = _forget(engine, [_before(tables.observations, "at", before["observations"], tables.GOOD)], slices)
    slices = packs.fold_due(engine, now, slices)
    slices = counts.close(engine, now, slices)
    slices = limits.thin(engine, before["hours"], before["quarters"], slices)
    others, slices = _forget(engine, _old(engine, before), slices)
    if slices > 0:
        statistics.refresh(engine, now)
    return Pruned(good + others, finished=slices > 0)


def _forget(engine: Engine, some: Iterable[Select[Any]], slices: int) -> tuple[int, int]:
    """Forget what these find, one after the other until they find no more, in at most `slices` transactions: how many rows went,
    and how many transactions are left; none where something may be left too.
    """
    rows = 0
    for old in some:
        gone = _SLICE
        while gone == _SLICE:
            if slices <= 0:
                return rows, 0
            with reading(engine) as connection:
                if connection.execute(old.limit(1)).first() is None:
                    break  # without the lock that those wait for who write
            began = time.monotonic()
            with writing(engine) as connection:
                gone = connection.execute(_deleting(old.limit(_SLICE))).rowcount
            slices -= 1
            rows += gone
            breathe(began)
    return rows, slices


_KEPT = {MINUTE: "minutes", QUARTER: "quarters", HOUR: "hours"}


def _horizons(now: datetime, policy: RetentionPolicy) -> dict[str, int]:
    """The moment before which all of a kind is old."""
    kept = {name: getattr(policy, name) for name in ("observations", "failures", "minutes", "hours")}
    kept["quarters"] = max(policy.quarters, policy.minutes)
    return {name: to_ms(now - length) for name, length in kept.items()}


def _old(engine: Engine, before: Mapping[str, int]) -> Iterator[Select[Any]]:
    """The keys of what is to be forgotten, table by table."""
    for grain, name in _KEPT.items():
        yield _before(tables.buckets[grain], "start", before[name])
        yield _before(tables.failures[grain], "start", before[name])
    yield _before(tables.observations, "at", before["failures"], tables.NOTABLE)
    yield _before(tables.packs, "start", before["observations"] - HOUR + 1)
    for some in _slices(engine, tables.targets):
        yield _before_of(tables.limit_buckets, "start", before["hours"], some)
    yield _before(tables.lag_history, "start", before["hours"])
    yield _before(tables.heartbeats, "at", before["hours"])


def _before(table: Table, column: str, before: int, *only: sa.ColumnElement[bool]) -> Select[Any]:
    return sa.select(*table.primary_key).where(table.c[column] < before, *only)


def _deleting(old: Select[Any]) -> sa.Delete:
    """Forget the rows with these keys."""
    key = list(old.selected_columns)
    (table,) = {column.table for column in key}
    return sa.delete(table).where(sa.tuple_(*key).in_(old))


def _slices(engine: Engine, owners: Table) -> Iterator[sa.Select[int]]:
    """The rows of `owners`, some at a time."""
    number = owners.c.id
    with reading(engine) as connection:
        found = list(connection.execute(sa.select(number).order_by(number)).scalars())
    for first in range(0, len(found), _OWNERS):
        yield sa.select(number).where(number.between(found[first], found[min(first + _OWNERS, len(found)) - 1]))


def _before_of(table: Table, column: str, before: int, owners: sa.Select[int]) -> Select[Any]:
    """The same for tables that lie by target: the oldest rows of each are sought by themselves."""
    key = list(table.primary_key)
    # From the first moment on: with an upper bound alone, SQLite 3.40 finds rows beyond it too once it has statistics (it scans
    # instead of seeking, after IN and a query), and they would be forgotten.
    return sa.select(*key).where(key[0].in_(owners), table.c[column] >= 0, table.c[column] < before)
