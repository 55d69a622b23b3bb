"""Messages on their way to people. A message is put here once, claimed by one worker at a time, and its row says what became of it.

A worker that dies holding a message loses it when its lease ends, and another one sends it: after a crash between sending and
`delivered` a message may come twice, never not at all.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, Row

from monitor.domain.alerting import NotifyReason
from monitor.domain.incidents import Severity
from monitor.domain.taxonomy import Scope
from monitor.domain.timeline import from_ms, to_ms
from monitor.store import codec, dialect, meta
from monitor.store.engine import reading, writing
from monitor.store.tables import WAITING, outbox

LEASE = timedelta(seconds=60)
"""How long a worker may take for what it claimed before another may claim it."""
MAX_BODY = 16 * 1024
"""Characters of a message's body that are kept and sent."""


class DeliveryState(StrEnum):
    """What became of a message."""

    WAITING = "waiting"
    """To be sent, being sent, or to be tried again."""
    DELIVERED = "delivered"
    FAILED = "failed"
    """Given up."""
    TOGETHER = "together"
    """Told in one message about many."""
    NOT_SENT = "not_sent"
    """Decided not to send one; the reason says why."""


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message to be sent once."""

    incident_id: int | None
    """None for one about several, as a digest is."""
    channel: str
    reason: NotifyReason
    dedup_key: str
    """A channel gets one message of a key, ever."""
    subject: str
    body: str
    severity: Severity | None = None
    """What it says; so the next."""
    scope: Scope | None = None


@dataclass(frozen=True, slots=True)
class NotSent:
    """A decision to say nothing to a channel for now."""

    incident_id: int
    channel: str
    reason: NotifyReason
    why: str
    """The reason in a sentence."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message that this worker has claimed."""

    id: int
    incident_id: int | None
    channel: str
    reason: NotifyReason
    subject: str
    body: str
    attempts: int
    """This one counted."""
    at: datetime
    """When it was put here: how long it has been tried."""


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """A message, or a decision not to send one, as it stands."""

    id: int
    incident_id: int | None
    channel: str
    reason: NotifyReason
    state: DeliveryState
    at: datetime
    """When it was decided."""
    subject: str
    body: str
    attempts: int
    due_at: datetime | None
    """When a waiting one is tried (again)."""
    finished_at: datetime | None
    """When it was delivered or given up."""
    text: str | None
    """The last error, or why nothing was sent."""
    dedup_key: str | None
    severity: Severity | None
    scope: Scope | None


# --- sending -------------------------------------------------------------------------------------------------------------


def enqueue(engine: Engine, messages: Sequence[NewMessage], now: datetime) -> int:
    """Put messages here to be sent, all or nothing; how many are new: a channel's second one of a key is ignored."""
    if not messages:
        return 0
    with writing(engine) as connection:
        added = sum(_enqueue(engine, connection, message, to_ms(now)) for message in messages)
        if added:
            meta.bump(connection)
    return added


def _enqueue(
    engine: Engine, connection: Connection, message: NewMessage, now: int, changed: Mapping[str, Any] | None = None
) -> int:
    row = {
        "incident_id": message.incident_id,
        "channel": codec.clean(message.channel),
        "reason": message.reason.value,
        "dedup_key": codec.clean(message.dedup_key),
        "severity": message.severity.value if message.severity else None,
        "scope": message.scope.value if message.scope else None,
        "subject": codec.said(message.subject),
        "body": codec.said(message.body, MAX_BODY),
        "state": DeliveryState.WAITING.value,
        "at": now,
        "due_at": now,
        "attempts": 0,
        **(changed or {}),
    }
    return len(connection.execute(dialect.insert_new(engine, outbox).values(row).returning(outbox.c.id)).all())


def enqueue_together(engine: Engine, message: NewMessage, those: Sequence[NewMessage], now: datetime) -> int:
    """Put one message here instead of `those`, which count as told with it; 0 where all of them were told before, else 1."""
    with writing(engine) as connection:
        told = {
            "state": DeliveryState.TOGETHER.value,
            "due_at": None,
            "finished_at": to_ms(now),
            "text": codec.said(message.subject),
        }
        if not sum(_enqueue(engine, connection, each, to_ms(now), told) for each in those):
            return 0
        added = _enqueue(engine, connection, message, to_ms(now))
        meta.bump(connection)
    return added


def lately(engine: Engine, since: datetime, most: int = 20_000) -> list[tuple[str, NotifyReason, datetime]]:
    """Channel, reason and time of what was put here since, newest first; without what was told together with others."""
    c = outbox.c
    newest = sa.select(c.channel, c.reason, c.at, c.state).order_by(c.id.desc()).limit(most)
    quiet = (DeliveryState.NOT_SENT.value, DeliveryState.TOGETHER.value)
    found = []
    with reading(engine) as connection:
        for channel, reason, at, state in connection.execute(newest):
            if at < to_ms(since):
                break
            if state not in quiet:
                found.append((channel, NotifyReason(reason), from_ms(at)))
    return found


def not_sent(engine: Engine, decisions: Sequence[NotSent], now: datetime) -> int:
    """Note why a channel was told nothing; how many are news: what was noted last about an incident and channel is not repeated."""
    if not decisions:
        return 0
    with reading(engine) as connection:
        newest = _newest(connection, {decision.incident_id for decision in decisions})
    rows = []
    for decision in decisions:
        place = (decision.incident_id, codec.clean(decision.channel) or "")
        said = (DeliveryState.NOT_SENT.value, decision.reason.value)
        if newest.get(place) != said:
            newest[place] = said
            facts = {"incident_id": place[0], "channel": place[1], "state": said[0], "reason": said[1]}
            rows.append(facts | {"subject": "", "body": "", "at": to_ms(now), "attempts": 0, "text": codec.said(decision.why)})
    if rows:
        with writing(engine) as connection:
            connection.execute(sa.insert(outbox), rows)
            meta.bump(connection)
    return len(rows)


def _newest(connection: Connection, incidents: Collection[int]) -> dict[tuple[int, str], tuple[str, str]]:
    """State and reason of the newest row by incident and channel."""
    c = outbox.c
    found: dict[tuple[int, str], tuple[str, str]] = {}
    for number in incidents:
        last = sa.select(sa.func.max(c.id)).where(c.incident_id == number).group_by(c.channel)
        for channel, state, reason in connection.execute(sa.select(c.channel, c.state, c.reason).where(c.id.in_(last))):
            found[number, channel] = (state, reason)
    return found


def claim(engine: Engine, worker: str, now: datetime, limit: int = 20, lease: timedelta = LEASE) -> list[Delivery]:
    """Take up to `limit` messages that are due, oldest first; nobody else gets them until the lease ends. Say `delivered` or
    `failed` of each.
    """
    c, at = outbox.c, to_ms(now)
    due = (WAITING, c.due_at <= at)
    with reading(engine) as connection:
        if connection.execute(sa.select(c.id).where(*due).limit(1)).first() is None:
            return []
    some = sa.select(c.id).where(*due).order_by(c.due_at, c.id).limit(limit).with_for_update(skip_locked=True)
    with writing(engine) as connection:
        # Not as a subquery of the update: PostgreSQL may ask that again for each row, and then takes more than the limit.
        numbers = connection.execute(some).scalars().all()
        taken = connection.execute(
            sa.update(outbox)
            .where(c.id.in_(numbers), *due)
            .values(worker=codec.clean(worker), due_at=to_ms(now + lease), attempts=c.attempts + 1)
            .returning(c.id, c.incident_id, c.channel, c.reason, c.subject, c.body, c.attempts, c.at)
        )
        found = [
            Delivery(
                row.id, row.incident_id, row.channel, NotifyReason(row.reason), row.subject, row.body, row.attempts, from_ms(row.at)
            )
            for row in taken
        ]
    return sorted(found, key=lambda delivery: (delivery.at, delivery.id))


def delivered(engine: Engine, delivery_id: int, now: datetime) -> None:
    """The channel took the message."""
    _finish(engine, delivery_id, outbox.c.state != DeliveryState.DELIVERED.value, now, DeliveryState.DELIVERED, text=None)


def failed(engine: Engine, delivery_id: int, now: datetime, error: str, retry_at: datetime | None) -> None:
    """The channel did not take it: to be tried again at `retry_at`, or given up. What was delivered meanwhile stays delivered."""
    if retry_at is None:
        _finish(engine, delivery_id, WAITING, now, DeliveryState.FAILED, text=codec.said(error))
        return
    with writing(engine) as connection:
        again = {"due_at": to_ms(retry_at), "worker": None, "text": codec.said(error)}
        connection.execute(sa.update(outbox).where(outbox.c.id == codec.number(delivery_id), WAITING).values(again))
        meta.bump(connection)


def _finish(
    engine: Engine, delivery_id: int, when: sa.ColumnElement[bool], now: datetime, state: DeliveryState, text: str | None
) -> None:
    done = {"state": state.value, "due_at": None, "finished_at": to_ms(now), "text": text}
    with writing(engine) as connection:
        connection.execute(sa.update(outbox).where(outbox.c.id == codec.number(delivery_id), when).values(done))
        meta.bump(connection)


# --- reading -------------------------------------------------------------------------------------------------------------


def log(engine: Engine, incident_id: int | None = None, limit: int = 200) -> list[DeliveryRow]:
    """Messages and decisions not to send one, newest first; of one incident or of all."""
    query = sa.select(outbox).order_by(outbox.c.id.desc()).limit(limit)
    if incident_id is not None:
        query = query.where(outbox.c.incident_id == codec.number(incident_id))
    return _asked(engine, query)


def last_sent(engine: Engine, incident_id: int, channel: str) -> list[DeliveryRow]:
    """The messages that a channel was given about an incident, oldest first, whatever became of them."""
    c = outbox.c
    query = sa.select(outbox).where(c.incident_id == codec.number(incident_id), c.channel == codec.clean(channel))
    return _asked(engine, query.where(c.state != DeliveryState.NOT_SENT.value).order_by(c.id))


def _asked(engine: Engine, query: sa.Select[Any]) -> list[DeliveryRow]:
    with reading(engine) as connection:
        return [_delivery(row) for row in connection.execute(query)]


def _delivery(row: Row[Any]) -> DeliveryRow:
    return DeliveryRow(
        id=row.id,
        incident_id=row.incident_id,
        channel=row.channel,
        reason=NotifyReason(row.reason),
        state=DeliveryState(row.state),
        at=from_ms(row.at),
        subject=row.subject,
        body=row.body,
        attempts=row.attempts,
        due_at=codec.moment(row.due_at),
        finished_at=codec.moment(row.finished_at),
        text=row.text,
        dedup_key=row.dedup_key,
        severity=Severity(row.severity) if row.severity else None,
        scope=Scope(row.scope) if row.scope else None,
    )
