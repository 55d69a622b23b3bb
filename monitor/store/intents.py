"""What people ask for on a page. Pages only read, but for this: one small row, which the service finds and carries out."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, Row

from monitor.domain.alerting import Silence
from monitor.domain.incidents import Event, EventKind
from monitor.domain.timeline import from_ms, to_ms
from monitor.domain.words import clock
from monitor.store import codec, incidents, meta, silences
from monitor.store.engine import Problem, StoreError, open_engine, parse, reading, sqlite_path, writing
from monitor.store.tables import NOT_TAKEN, intents

Kind = Literal["acknowledge", "silence", "end_silence", "comment", "probe_now"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """One wish of one person."""

    kind: Kind
    by: str
    at: datetime
    """When it was asked for: one of hours ago may no longer make sense."""
    incident_id: int | None = None
    silence_id: int | None = None
    """Which silence `end_silence` ends."""
    project: str | None = None
    text: str = ""
    until: datetime | None = None
    """When a silence ends."""
    id: int | None = None
    """Given by the store."""


def submit(url: str, intent: Intent) -> int:
    """Leave a wish for the service in the database at `url`; its id. Raises `StoreError`, also where no poller ever made the file.

    Waits up to five seconds while another process writes.
    """
    parsed = parse(url)
    if parsed.get_backend_name() == "sqlite" and not sqlite_path(parsed).exists():
        raise StoreError(Problem.MISSING, f"there is no database at {sqlite_path(parsed)}: start the poller, it makes one")
    row = {
        "at": to_ms(intent.at),
        "kind": intent.kind,
        "by": codec.said(intent.by),
        "incident_id": _number(intent.incident_id),
        "silence_id": _number(intent.silence_id),
        "project": codec.clean(intent.project),
        "text": codec.said(intent.text),
        "until": codec.at_ms(intent.until),
    }
    engine = open_engine(url)
    try:
        with writing(engine) as connection:
            number: int = connection.execute(sa.insert(intents).returning(intents.c.id), row).scalar_one()
            meta.bump(connection)
    finally:
        engine.dispose()
    return number


def carry_out(engine: Engine, now: datetime) -> list[Intent]:
    """Do what was asked for and not yet done, oldest first, and give it back: each is given out once, whoever asks.

    It is taken and done in one transaction: whoever dies in between has done nothing, and it waits for the next one. To check
    something now is left to the caller.
    """
    if not waiting(engine):
        return []
    with writing(engine) as connection:
        taken = connection.execute(sa.update(intents).where(NOT_TAKEN).values(taken_at=to_ms(now)).returning(intents))
        found = sorted((_intent(row) for row in taken), key=lambda intent: intent.id or 0)
        for intent in found:
            _do(connection, engine, intent, now)
        meta.bump(connection)
    return found


def _do(connection: Connection, engine: Engine, intent: Intent, now: datetime) -> None:
    """Carry out one wish. One about something that is not there, or is over, does nothing."""

    def tell(kind: EventKind, text: str, **changed: Any) -> None:
        if intent.incident_id is not None:
            incidents.write_update(connection, engine, intent.incident_id, Event(now, kind, text, intent.by), **changed)

    if intent.kind == "acknowledge":
        tell(EventKind.ACKNOWLEDGED, intent.text or "Acknowledged.", acknowledged_at=now, acknowledged_by=intent.by)
    elif intent.kind == "comment":
        tell(EventKind.COMMENT, intent.text)
    elif intent.kind == "silence" and intent.until is not None and intent.until > now:
        quiet = Silence(
            starts=now, until=intent.until, by=intent.by, text=intent.text, project=intent.project, incident_id=intent.incident_id
        )
        silences.write_add(connection, quiet)
        tell(EventKind.SILENCED, f"Silent until {clock(intent.until)}. {intent.text}".strip())
    elif intent.kind == "end_silence" and intent.silence_id is not None:
        silences.write_end(connection, intent.silence_id, now, intent.by)


def waiting(engine: Engine) -> list[Intent]:
    """What nobody has taken yet, oldest first."""
    with reading(engine) as connection:
        return [_intent(row) for row in connection.execute(_WAITING)]


_WAITING = sa.select(intents).where(NOT_TAKEN).order_by(intents.c.id)


def _intent(row: Row[Any]) -> Intent:
    return Intent(
        kind=row.kind,
        by=row.by,
        at=from_ms(row.at),
        incident_id=row.incident_id,
        silence_id=row.silence_id,
        project=row.project,
        text=row.text,
        until=codec.moment(row.until),
        id=row.id,
    )


def _number(number: int | None) -> int | None:
    return None if number is None else codec.number(number)
