"""Bringing a database to this version's schema."""

from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from monitor.store.engine import Problem, StoreError, explained, reading

REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006")
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
    with reading(engine) as connection:  # one look: another process may be migrating, and half of its work would look strange
        revision = _revision(connection)
        strangers = sa.inspect(connection).get_table_names() if revision is None else []
    if revision == REVISIONS[-1]:
        return
    if revision is not None and revision not in REVISIONS:
        raise StoreError(
            Problem.NEWER,
            f"{engine.url.render_as_string(hide_password=True)} was written by a newer version of the monitor (schema {revision}, "
            f"this one knows {REVISIONS[-1]}): upgrade the monitor, or use another database",
        )
    if strangers:
        raise StoreError(
            Problem.NOT_A_DATABASE,
            f"{engine.url.render_as_string(hide_password=True)} is another program's database (it has {', '.join(strangers[:3])})",
        )
    _upgrade(engine)


def _upgrade(engine: Engine) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    with explained(engine), engine.begin() as connection:
        if engine.dialect.name == "postgresql":  # another poller may start at the same time: it then finds nothing left to do
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(hashtext('monitor.migrate'))"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
