"""Moving everything to another database: from a file to a server when one machine is no longer enough, and back."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, Table

from monitor.store import current, migrate, partitions
from monitor.store.engine import Problem, StoreError, explained, open_engine, parse, reading, shown
from monitor.store.lock import WriterLock
from monitor.store.tables import meta, metadata, observations

BATCH = 5_000
"""Rows read and written at a time."""


@dataclass(frozen=True, slots=True)
class Step:
    """How far the copy is: `done` of `rows` rows of one table."""

    table: str
    done: int
    rows: int


def copy(source: str, target: str, now: datetime, told: Callable[[Step], object] = lambda _: None) -> int:
    """Copy every table from one database to another, which must be empty; how many rows that were. `told` hears of each step.

    All or nothing: the target is filled in one transaction, and what it then holds is counted before that is committed. No
    poller may run meanwhile: what it recorded would stay behind. Raises `StoreError`; then the target has our tables at most.
    """
    if parse(source) == parse(target):
        raise StoreError(Problem.URL, "both are the same database: name another one to copy to")
    with WriterLock(source), WriterLock(target):
        origin = open_engine(source, readonly=True)
        try:
            _refuse(origin, now)
            copied = open_engine(target)
            try:
                if (revision := migrate.current(copied)) in migrate.REVISIONS[:-1]:
                    raise StoreError(
                        Problem.NOT_A_DATABASE,
                        f"{shown(copied.url)} is not empty (there are tables of schema {revision}): name a new database",
                    )
                migrate.migrate(copied)
                with reading(origin) as found, explained(copied), copied.begin() as made:
                    return _copy_all(found, made, told)
            finally:
                copied.dispose()
        finally:
            origin.dispose()


def _refuse(origin: Engine, now: datetime) -> None:
    migrate.require(origin)
    beat = current.heartbeat(origin)
    # A file's poller holds its lock; a server has no such lock, but whoever writes to it proves to be alive.
    if origin.dialect.name != "sqlite" and beat is not None and not beat.late(now):
        raise StoreError(
            Problem.LOCKED, f"a poller on {beat.host} writes to {shown(origin.url)}: stop every poller, wait a minute, copy again"
        )


def _copy_all(found: Connection, made: Connection, told: Callable[[Step], object]) -> int:
    tables = metadata.sorted_tables  # each after those that it points at
    if made.dialect.name == "postgresql":
        names = ", ".join(made.dialect.identifier_preparer.format_table(table) for table in tables)
        made.exec_driver_sql(f"LOCK TABLE {names} IN EXCLUSIVE MODE")
    for table in tables:
        if table is not meta and _count(made, table):
            raise StoreError(
                Problem.NOT_A_DATABASE,
                f"{shown(made.engine.url)} is not empty (there are rows in {table.name}): name a new database",
            )
    made.execute(sa.delete(meta))  # the little that a new database has
    oldest, newest = found.execute(sa.select(sa.func.min(observations.c.at), sa.func.max(observations.c.at))).one()
    partitions.cover(made, oldest, newest)
    return sum(_copy(found, made, table, told) for table in tables)


def _copy(found: Connection, made: Connection, table: Table, told: Callable[[Step], object]) -> int:
    rows, done = _count(found, table), 0
    told(Step(table.name, done, rows))
    everything = sa.select(table).order_by(*table.primary_key).execution_options(yield_per=BATCH)
    for some in found.execute(everything).mappings().partitions():
        made.execute(sa.insert(table), [dict(row) for row in some])
        done += len(some)
        told(Step(table.name, done, rows))
    if (arrived := _count(made, table)) != rows:
        raise StoreError(Problem.OTHER, f"{table.name} has {rows} rows, of which {arrived} arrived: nothing was copied")
    _count_on(made, table)
    return rows


def _count_on(made: Connection, table: Table) -> None:
    """Let the next new row have a number of its own: SQLite looks what is there, PostgreSQL counts by itself."""
    column = table.autoincrement_column
    if made.dialect.name != "postgresql" or column is None:
        return
    newest = sa.select(sa.func.max(column)).scalar_subquery()
    sequence = sa.func.pg_get_serial_sequence(table.name, column.name)
    made.execute(sa.select(sa.func.setval(sequence, newest)).where(newest.is_not(None)))


def _count(connection: Connection, table: Table) -> int:
    return int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())
