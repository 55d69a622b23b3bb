"""The installation's own few values."""

import secrets

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from monitor.store import dialect
from monitor.store.engine import reading, writing
from monitor.store.tables import meta

_DATA_VERSION = "data_version"
_SALT = "salt"


def get(engine: Engine, key: str) -> str | None:
    """The value stored under `key`."""
    with reading(engine) as connection:
        return read(connection, key)


def read(connection: Connection, key: str) -> str | None:
    """The same within a transaction."""
    found: str | None = connection.execute(_READ, {"key": key}).scalar()
    return found


_READ = sa.select(meta.c.value).where(meta.c.key == sa.bindparam("key"))
"""The question, made once: it is asked every second, and making it costs more than its answer."""


def put(engine: Engine, key: str, value: str) -> None:
    """Store `value` under `key`."""
    with writing(engine) as connection:
        write(connection, key, value)


def write(connection: Connection, key: str, value: str) -> None:
    """The same within a transaction."""
    dialect.upsert(connection.engine, meta, put=["value"]).run(connection, [(key, value)])


def salt(engine: Engine) -> bytes:
    """The salt of this installation's fingerprints; made at the first call, and the same ever after."""
    if (found := get(engine, _SALT)) is None:
        with writing(engine) as connection:
            dialect.insert(engine, meta, ignore=True).run(connection, [(_SALT, secrets.token_hex(32))])
            found = read(connection, _SALT)
    return bytes.fromhex(found or "")


def data_version(connection: Connection) -> int:
    """How many times something that pages show was committed."""
    return int(read(connection, _DATA_VERSION) or 0)


def alone(connection: Connection) -> None:
    """Let no other transaction that calls this, or counts its commit, go on until this one ends.

    On SQLite a writer is alone from its first statement. On PostgreSQL two pollers that add to the fleet's counts, or make the
    same project, would otherwise wait for each other for ever, or overwrite what the other one added.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(meta.c.value).where(meta.c.key == _DATA_VERSION).with_for_update())


def bump(connection: Connection) -> None:
    """Count a commit: pages throw away what they cached."""
    connection.execute(_BUMP)


_BUMP = sa.update(meta).where(meta.c.key == _DATA_VERSION).values(value=sa.cast(sa.cast(meta.c.value, sa.BigInteger) + 1, sa.Text))
