"""What a database knows of its own rows, kept fresh: else a plan that was right for a hundred rows stays for a million."""

from datetime import datetime

from sqlalchemy import Engine

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

    Nobody waits for it: SQLite is asked a table at a time, and PostgreSQL goes on writing meanwhile.
    """
    on_sqlite = engine.dialect.name == "sqlite"
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
