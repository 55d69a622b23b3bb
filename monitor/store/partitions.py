"""PostgreSQL keeps raw rows in one partition a month: a query of a day reads one of them, and the oldest go by being dropped.

Rows of a month without a partition lie in `observations_rest`, so that none is ever lost: very late ones, and all when nobody made
partitions ahead. SQLite has one table, whose key does the same work at its size.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, Engine

from monitor.domain.timeline import from_ms, to_ms
from monitor.store.engine import reading, writing

REST = "observations_rest"
AHEAD = 3
"""Months that have a partition before they begin."""
_LOCK_WAIT_MS = 2_000
"""How long the poller and pages may be kept waiting for a change of partitions; then it is left for the next time."""
_LONGEST = timedelta(days=800)
_NAME = re.compile(r"observations_(\d{4})_(\d{2})")
_ALL = "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'observations'::regclass"


def keep(engine: Engine, now: datetime, keep_for: timedelta) -> int:
    """Make partitions for the months to come, and drop those in which everything is older than `keep_for`; how many were dropped.

    Raises `StoreError`, also where somebody else used the table for too long: the next call does what is left.
    """
    if engine.dialect.name != "postgresql":
        return 0
    with reading(engine) as connection:
        known = _months(connection)
    wanted = [month for month in ahead(now) if month not in known]
    if wanted:
        with _changing(engine) as connection:
            make(connection, wanted)
    old = [month for month in sorted(known) if _next(month) <= now - keep_for]
    for month in old:
        with _changing(engine) as connection:
            connection.exec_driver_sql(f"DROP TABLE IF EXISTS {_name(month)}")
    return len(old)


def make(connection: Connection, months: Iterable[datetime]) -> None:
    """Give these months, each named by its first moment, a partition of their own, with the rows that came before it."""
    # Whoever inserts waits here, and not when its row has been sent to the rest already, which then may not take it any more.
    connection.exec_driver_sql("LOCK TABLE observations IN SHARE ROW EXCLUSIVE MODE")
    for month in months:
        name, start, end = _name(month), to_ms(month), to_ms(_next(month))
        connection.exec_driver_sql(f"LOCK TABLE {REST} IN ACCESS EXCLUSIVE MODE")
        if month in _months(connection):
            continue  # another poller was faster
        connection.exec_driver_sql(f"CREATE TABLE {name} (LIKE observations INCLUDING DEFAULTS)")
        connection.exec_driver_sql(
            f"WITH early AS (DELETE FROM {REST} WHERE at >= {start} AND at < {end} RETURNING *) "  # noqa: S608 - our own names
            f"INSERT INTO {name} SELECT * FROM early"
        )
        connection.exec_driver_sql(f"ALTER TABLE observations ATTACH PARTITION {name} FOR VALUES FROM ({start}) TO ({end})")


def cover(connection: Connection, oldest: int | None, newest: int | None) -> None:
    """Give every month between these moments a partition, before the rows come; what a wrong clock put far back is rest."""
    if connection.dialect.name != "postgresql" or oldest is None or newest is None:
        return
    first = max(from_ms(oldest), from_ms(newest) - _LONGEST)
    make(connection, between(first, from_ms(newest)))


def between(first: datetime, last: datetime) -> list[datetime]:
    """The months that hold any moment from `first` to `last`."""
    months = [first.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)]
    while _next(months[-1]) <= last:
        months.append(_next(months[-1]))
    return months


def ahead(now: datetime) -> list[datetime]:
    """This month and those to come that want a partition already."""
    months = between(now, now)
    for _ in range(AHEAD):
        months.append(_next(months[-1]))
    return months


@contextmanager
def _changing(engine: Engine) -> Iterator[Connection]:
    """A transaction that gives up rather than keep everybody waiting behind it."""
    with writing(engine) as connection:
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {_LOCK_WAIT_MS}")
        yield connection


def _months(connection: Connection) -> set[datetime]:
    names = (_NAME.fullmatch(name) for (name,) in connection.exec_driver_sql(_ALL))
    return {datetime(int(found[1]), int(found[2]), 1, tzinfo=UTC) for found in names if found}


def _name(month: datetime) -> str:
    return f"observations_{month:%Y_%m}"


def _next(month: datetime) -> datetime:
    return (month + timedelta(days=31)).replace(day=1)
