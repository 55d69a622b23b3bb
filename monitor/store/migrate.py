"""Bringing a database to this version's schema."""

from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from monitor.store.engine import Problem, StoreError, explained, reading, shown

REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009")
"""Every schema there ever was, oldest first: known here so that a start without anything to do need not import Alembic (0.8 s)."""

FOLDER = Path(__file__).parent / "migrations"


def current(engine: Engine) -> str | None:
    """The revision of the database, or None where it has no tables of ours."""
    with reading(engine) as connection:
        return _revision(connection)


def _revision(connection: Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    return found


def migrate(engine: Engine) -> None:
    """Bring the schema to this version, all or nothing. Raises `StoreError`, also when the database is from a newer version."""
    if current(engine) == REVISIONS[-1]:
        return
    with explained(engine), engine.begin() as connection:
        # One at a time: whoever waited here finds the work done. SQLite's transaction has locked the file already.
        if connection.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        _refuse_strangers(connection)
        _upgrade(connection)


def refuse_newer(engine: Engine) -> None:
    """For whoever reads: what a newer version wrote may mean something else. Raises `StoreError`."""
    _refuse_newer(shown(engine.url), current(engine))


def require(engine: Engine) -> None:
    """For whoever writes without migrating. Raises `StoreError` where the schema is not that of this version."""
    revision = current(engine)
    _refuse_newer(shown(engine.url), revision)
    if revision != REVISIONS[-1]:
        raise StoreError(
            Problem.OLDER, f"{shown(engine.url)} has no schema of this version yet: run `python -m monitor db upgrade`"
        )


_LOCK = 0x6D6F6E69746F72
"""An advisory lock's number, our own: the word `monitor`."""


def _refuse_strangers(connection: Connection) -> None:
    where = shown(connection.engine.url)
    revision = _revision(connection)
    if revision is None and (strangers := sa.inspect(connection).get_table_names()):
        raise StoreError(Problem.NOT_A_DATABASE, f"{where} is another program's database (it has {', '.join(strangers[:3])})")
    _refuse_newer(where, revision)


def _refuse_newer(where: str, revision: str | None) -> None:
    if revision is not None and revision not in REVISIONS:
        raise StoreError(
            Problem.NEWER,
            f"{where} was written by a newer version of the monitor (schema {revision}, "
            f"this one knows {REVISIONS[-1]}): upgrade the monitor, or use another database",
        )


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
