"""What a database knows of its own rows, kept fresh: else a plan that was right for a hundred rows stays for a million."""

import sqlite3
from contextlib import closing
from datetime import datetime
from functools import cache

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from monitor.domain.timeline import to_ms
from monitor.store import meta, tables
from monitor.store.engine import reading, writing
from monitor.store.tables import DAY, HOUR

_AT = "statistics_at"
_LIMIT = 400
"""Rows of each index that SQLite looks at, as its documentation advises: the whole takes some milliseconds at any size."""
_WHOLE = {table.name for table in (tables.projects, tables.keys, tables.targets, tables.target_states)}
"""As large as what is configured, and no larger with time: read whole, because guesses differ from index to index."""
_LOCK_WAIT_MS = 2_000


def refresh(engine: Engine, now: datetime) -> bool:
    """Look at the rows again where that was not done for long; whether it was done. Raises `StoreError`.

    Where SQLite would answer wrongly because of it, nothing is known instead, and nothing is left of what was.

    Nobody waits for it: SQLite is asked a table at a time, and PostgreSQL goes on writing meanwhile.
    """
    on_sqlite = engine.dialect.name == "sqlite"
    if on_sqlite and not trusted():
        with writing(engine) as connection:
            _forget(connection)
        return False
    with reading(engine) as connection:
        last = int(meta.read(connection, _AT) or 0)
    if 0 <= to_ms(now) - last < (HOUR if on_sqlite else DAY):
        return False
    if on_sqlite:
        for name in tables.metadata.tables:
            with writing(engine) as connection:
                connection.exec_driver_sql(f"PRAGMA analysis_limit = {0 if name in _WHOLE else _LIMIT}")
                connection.exec_driver_sql(f"ANALYZE {name}")
    else:
        # The server does it by itself, but for what lies in partitions: those it knows, and not the whole.
        with writing(engine) as connection:
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = {_LOCK_WAIT_MS}")
            connection.exec_driver_sql(f"ANALYZE {tables.observations.name}")
    meta.put(engine, _AT, str(to_ms(now)))
    return True


def _forget(connection: Connection) -> None:
    if sa.inspect(connection).has_table("sqlite_stat1"):
        connection.exec_driver_sql("DELETE FROM sqlite_stat1")
        connection.exec_driver_sql("ANALYZE sqlite_schema")  # what other connections read when they were opened is void


@cache
def trusted() -> bool:
    """Whether this SQLite still answers rightly when it knows its rows. Some do not, among them 3.40.1 of Debian 12: of `a IN (…)
    AND b < 5` over an index of both they give what is not below five, once there are statistics. Retention must not ask those.
    """
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE t (a INTEGER, b INTEGER, c INTEGER, PRIMARY KEY (a, b, c)) WITHOUT ROWID")
        connection.executemany("INSERT INTO t VALUES (2, ?, 1)", [(10,), (11,), (12,), (13,)])
        connection.execute("ANALYZE")
        found = connection.execute("SELECT b FROM t WHERE a IN (VALUES (1), (2), (3), (4)) AND b < 5").fetchall()
    return not found
