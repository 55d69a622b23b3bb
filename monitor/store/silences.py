"""Silences as stored: none is ever deleted, so who wanted quiet, about what and until when can be read afterwards."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, Row

from monitor.domain.alerting import Silence
from monitor.domain.taxonomy import Lane
from monitor.domain.timeline import from_ms, to_ms
from monitor.store import codec, meta
from monitor.store.engine import reading, writing
from monitor.store.tables import silences


def add(engine: Engine, silence: Silence) -> int:
    """Store a silence; its id. Raises ValueError for one that ends before it starts."""
    with writing(engine) as connection:
        return write_add(connection, silence)


def write_add(connection: Connection, silence: Silence) -> int:
    """The same within a transaction."""
    if silence.until <= silence.starts:
        raise ValueError(f"a silence ends after it starts: {silence.starts} … {silence.until}")
    row = {
        "starts": to_ms(silence.starts),
        "until": to_ms(silence.until),
        "by": codec.said(silence.by),
        "text": codec.said(silence.text),
        "project": codec.clean(silence.project),
        "owner": codec.clean(silence.owner),
        "environment": codec.clean(silence.environment),
        "lane": silence.lane.value if silence.lane else None,
        "incident_id": silence.incident_id,
        "ended_at": codec.at_ms(silence.ended_at),
        "ended_by": codec.said(silence.ended_by),
    }
    number: int = connection.execute(sa.insert(silences).returning(silences.c.id), row).scalar_one()
    meta.bump(connection)
    return number


def end(engine: Engine, silence_id: int, now: datetime, by: str) -> bool:
    """End a silence before its time; False where none of that id is left to end."""
    with writing(engine) as connection:
        return write_end(connection, silence_id, now, by)


def write_end(connection: Connection, silence_id: int, now: datetime, by: str) -> bool:
    """The same within a transaction."""
    c = silences.c
    left = (c.id == codec.number(silence_id), c.ended_at.is_(None), c.until > to_ms(now))
    ended = connection.execute(sa.update(silences).where(*left).values(ended_at=to_ms(now), ended_by=codec.said(by)))
    if not ended.rowcount:
        return False
    meta.bump(connection)
    return True


def active(engine: Engine, now: datetime) -> list[Silence]:
    """Those in force at `now`, the first to end first."""
    c, at = silences.c, to_ms(now)
    in_force = sa.select(silences).where(c.until > at, c.starts <= at, sa.or_(c.ended_at.is_(None), c.ended_at > at))
    with reading(engine) as connection:
        return [_silence(row) for row in connection.execute(in_force.order_by(c.until, c.id))]


def all_(engine: Engine, limit: int = 200) -> list[Silence]:
    """Every silence there ever was, newest first."""
    with reading(engine) as connection:
        return [_silence(row) for row in connection.execute(sa.select(silences).order_by(silences.c.id.desc()).limit(limit))]


def _silence(row: Row[Any]) -> Silence:
    return Silence(
        starts=from_ms(row.starts),
        until=from_ms(row.until),
        by=row.by,
        text=row.text,
        project=row.project,
        owner=row.owner,
        environment=row.environment,
        lane=Lane(row.lane) if row.lane else None,
        incident_id=row.incident_id,
        ended_at=codec.moment(row.ended_at),
        ended_by=row.ended_by,
        id=row.id,
    )
