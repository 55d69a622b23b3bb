"""Who was reminded of which deadline, or not and why: rows of the outbox that belong to no incident.

A message about several deadlines names them all in its key, so what was told is known without a table of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Engine

from monitor.domain.alerting import NotifyReason
from monitor.domain.reminders import note_key, told
from monitor.domain.timeline import from_ms, to_ms
from monitor.store import codec, dialect, meta
from monitor.store.engine import reading, writing
from monitor.store.outbox import DeliveryState
from monitor.store.tables import outbox


@dataclass(frozen=True, slots=True)
class ReminderRow:
    """A message about deadlines, or a decision not to send one."""

    channel: str
    """Empty where no channel is meant for it."""
    reason: NotifyReason
    state: DeliveryState
    at: datetime
    """When it was decided."""
    digests: tuple[str, ...]
    """What it is about, as `monitor.domain.reminders.digest` calls it."""
    text: str | None
    """Why nothing was sent, or the last error."""


@dataclass(frozen=True, slots=True)
class Unsaid:
    """A decision to remind a channel of nothing for now."""

    digest: str
    channel: str
    reason: NotifyReason
    why: str


def note(engine: Engine, decisions: Sequence[Unsaid], now: datetime) -> int:
    """Note why channels are told nothing; how many are news: each channel, deadline, step and reason once."""
    if not decisions:
        return 0
    rows = [
        {
            "channel": codec.clean(each.channel) or "",
            "reason": each.reason.value,
            "dedup_key": note_key(each.digest, each.reason),
            "subject": "",
            "body": "",
            "state": DeliveryState.NOT_SENT.value,
            "at": to_ms(now),
            "attempts": 0,
            "text": codec.said(each.why),
        }
        for each in decisions
    ]
    with writing(engine) as connection:
        insert = dialect.insert_new(engine, outbox).returning(outbox.c.id)
        added = sum(connection.execute(insert, row).scalar() is not None for row in rows)
        if added:
            meta.bump(connection)
    return added


def log(engine: Engine, since: datetime | None = None) -> list[ReminderRow]:
    """Every message about deadlines, and every decision not to send one, newest first."""
    c = outbox.c
    about = sa.or_(c.dedup_key.startswith("deadline:"), c.dedup_key.startswith("no-deadline:"))
    query = sa.select(c.channel, c.reason, c.state, c.at, c.dedup_key, c.text).where(c.incident_id.is_(None), about)
    if since is not None:
        query = query.where(c.at >= to_ms(since))
    with reading(engine) as connection:
        return [
            ReminderRow(channel, NotifyReason(reason), DeliveryState(state), from_ms(at), told(key), text)
            for channel, reason, state, at, key, text in connection.execute(query.order_by(c.id.desc()))
        ]
