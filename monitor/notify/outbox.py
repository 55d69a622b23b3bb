"""From incidents to people in two steps, so that no restart loses a message and no second poller repeats one.

`Teller.tell` decides and puts messages into the outbox, once for each key. `deliver` empties it: claim, send, note what became
of it, try again later.
"""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import Protocol

from monitor.config import Settings, alerts
from monitor.domain import alerting
from monitor.domain.alerting import Decision, NotifyReason, Sent
from monitor.domain.flood import AT_MOST, WITHIN, Past, rationed
from monitor.domain.incidents import Event, EventKind, Incident
from monitor.domain.words import clock, duration
from monitor.notify import messages
from monitor.store import incidents, outbox, silences
from monitor.store.engine import Engine
from monitor.store.outbox import DeliveryState, NewMessage, NotSent

log = logging.getLogger(__name__)

RETRIES = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 15, 60))
"""After each attempt that failed; the last one again and again."""
GIVE_UP_AFTER = timedelta(hours=24)
LOOK_BACK = timedelta(days=7)
"""How far back a start looks for incidents that ended while nobody said so, or in a silence."""
_MOST = 20_000
_CLAIM = 20
_PATIENCE = 30.0
"""Seconds after which the rest of a claim is handed back: the lease must not end while a message is on its way."""


class Sender(Protocol):
    """What sends: `monitor.notify.channels.Channels`."""

    def send(self, channel: str, subject: str, body: str) -> str | None:
        """Send one message; None, or why it was not taken."""
        ...


# Deciding -----------------------------------------------------------------------------------------------------------------------

_SETTLED = frozenset(
    {
        NotifyReason.ALREADY_SENT,
        NotifyReason.NEVER_SENT,
        NotifyReason.NOT_ROUTED,
        NotifyReason.BELOW_SEVERITY,
        NotifyReason.MERGED,
        NotifyReason.KEPT_FOR_DIGEST,
    }
)
"""About an incident that is over: these will not be decided otherwise."""


class Teller:
    """Decides what every channel is told. What it remembers only saves questions to the store."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self.forget()
        self.configure(settings)

    def forget(self) -> None:
        """Ask the store again: another poller may have decided meanwhile."""
        self._sent: dict[int, dict[str, list[Sent]]] = {}
        self._unsettled: dict[int, Incident] = {}
        """Those that are over, and some channel still has to hear it."""
        self._noted: dict[tuple[int, str], NotifyReason] = {}
        self._past: dict[str, Past] | None = None
        """What each channel was given lately."""
        self._digested: set[tuple[str, str]] = set()
        self._since: datetime | None = None

    def configure(self, settings: Settings) -> None:
        """Take other settings."""
        self._routes = alerts.routes(settings)
        self._windows = alerts.windows(settings)
        self._people = alerts.people(settings)
        self._base_url = settings.dashboard_url
        self._at_most = {channel.name: channel.at_most for channel in settings.channels}
        self._digested.clear()

    def tell(self, now: datetime) -> int:
        """Put what there is to say into the outbox, and note why other things are not said; how many messages are new.

        Blocks for the store. Raises `StoreError`.
        """
        if not self._routes:
            return 0
        since = self._since or now - LOOK_BACK
        lately = incidents.find(self._engine, since=since, limit=_MOST)
        self._since = max(since, now - timedelta(minutes=5))
        known = self._unsettled | {each.id: each for each in lately if each.id is not None}
        quiet = alerting.quiets(silences.all_(self._engine, _MOST), self._windows, self._people, now) if known else []
        due: dict[str, list[tuple[Incident, Decision]]] = defaultdict(list)
        unsaid: list[NotSent] = []
        self._unsettled = {}
        for number, incident in known.items():
            decisions = alerting.decide_all(incident, self._routes, self._told(number), quiet, now)
            if not incident.open and any(each.send or each.reason not in _SETTLED for each in decisions.values()):
                self._unsettled[number] = incident
            for channel, decision in decisions.items():
                if decision.send:
                    due[channel].append((incident, decision))
                elif self._news(number, channel, decision.reason):
                    unsaid.append(NotSent(number, channel, decision.reason, decision.why))
        added = sum(self._tell(channel, wanted, unsaid, now) for channel, wanted in due.items())
        added += outbox.enqueue(self._engine, list(self._digests(now)), now)
        outbox.not_sent(self._engine, unsaid, now)
        self._forget(known.keys())
        return added

    def _news(self, number: int, channel: str, reason: NotifyReason) -> bool:
        """Whether that nothing is said for this reason is worth a note."""
        if self._noted.get((number, channel)) is reason:
            return False
        self._noted[number, channel] = reason
        return reason is not NotifyReason.ALREADY_SENT

    def _tell(self, channel: str, wanted: list[tuple[Incident, Decision]], unsaid: list[NotSent], now: datetime) -> int:
        """Put what is due to one channel into the outbox: one by one, or together where it is very much; how many messages."""
        part = rationed(wanted, self._lately(channel, now), self._at_most.get(channel, AT_MOST), now)
        singly, those = ([self._message(*each, channel, now) for each in some] for some in (part.singly, part.together))
        added = outbox.enqueue(self._engine, singly, now)
        if those:
            subject, body = messages.together([(one, decision.reason) for one, decision in part.together], self._base_url)
            about = NewMessage(None, channel, NotifyReason.MANY, f"many:{those[0].dedup_key}", subject, body)
            added += outbox.enqueue_together(self._engine, about, those, now)
        for incident, decision in part.later:
            if self._news(incident.id or 0, channel, NotifyReason.TOO_MANY):
                why = f"very much is to be told at once: it is told with others at {clock(part.until or now)} ({decision.why})"
                unsaid.append(NotSent(incident.id or 0, channel, NotifyReason.TOO_MANY, why))
        for message in (*singly, *those):
            self._sent.pop(message.incident_id or 0, None)
        past = self._lately(channel, now)
        self._past = {
            **(self._past or {}),
            channel: Past((*past.singly, *(now for _ in singly)), now if those else past.together),
        }
        return added

    def _lately(self, channel: str, now: datetime) -> Past:
        """What a channel was given lately; asked of the store once, then kept."""
        if self._past is None:
            singly: dict[str, list[datetime]] = defaultdict(list)
            together: dict[str, datetime] = {}
            for name, reason, at in outbox.lately(self._engine, now - WITHIN):
                if reason is NotifyReason.MANY:
                    together.setdefault(name, at)
                else:
                    singly[name].append(at)
            self._past = {name: Past(singly[name], together.get(name)) for name in {*singly, *together}}
        past = self._past.get(channel, Past())
        return Past([at for at in past.singly if at > now - WITHIN], past.together)

    def _told(self, number: int) -> dict[str, list[Sent]]:
        """What each channel was given about an incident."""
        if number not in self._sent:
            told: dict[str, list[Sent]] = {}
            for row in reversed(outbox.log(self._engine, number, _MOST)):
                if row.state is not DeliveryState.NOT_SENT:
                    told.setdefault(row.channel, []).append(Sent.read(row.reason, row.at, row.dedup_key or ""))
            self._sent[number] = told
        return self._sent[number]

    def _message(self, incident: Incident, decision: Decision, channel: str, now: datetime) -> NewMessage:
        subject, body = messages.message(incident, decision.reason, self._base_url, now, decision.why)
        return NewMessage(
            incident.id, channel, decision.reason, decision.dedup_key, subject, body, incident.severity, incident.cause.scope
        )

    def _digests(self, now: datetime) -> Iterator[NewMessage]:
        """The digests of a stretch that has just ended, looked at once."""
        routes = [each for each in self._routes if each.digest_every is not None]
        fresh = [each for each in routes if (each.channel, str(alerting.digest_slot(each, now))) not in self._digested]
        if not fresh:
            return
        starts = min(alerting.digest_slot(each, now)[0] for each in fresh)
        for found in alerting.digests(routes, incidents.find(self._engine, since=starts, limit=_MOST), now):
            subject, body = messages.digest(found, self._base_url)
            yield NewMessage(None, found.channel, NotifyReason.DIGEST, found.dedup_key, subject, body)
        self._digested = {(each.channel, str(alerting.digest_slot(each, now))) for each in routes}

    def _forget(self, known: Iterable[int]) -> None:
        kept = set(known)
        self._sent = {number: told for number, told in self._sent.items() if number in kept}
        self._noted = {place: reason for place, reason in self._noted.items() if place[0] in kept}


# Sending ------------------------------------------------------------------------------------------------------------------------


async def deliver(engine: Engine, channels: Sender, worker: str, now: datetime) -> int:
    """Send what is due; how many messages arrived. Channels do not wait for one another, nor the loop for any of them.

    Raises `StoreError`. What was claimed then is sent when its lease ends.
    """
    claimed = await asyncio.to_thread(outbox.claim, engine, worker, now, _CLAIM)
    by_channel = groupby(sorted(claimed, key=lambda each: each.channel), key=lambda each: each.channel)
    until = time.monotonic() + _PATIENCE
    turns = [asyncio.to_thread(_in_turn, engine, channels, list(those), now, until) for _, those in by_channel]
    return sum(await asyncio.gather(*turns))


def _in_turn(engine: Engine, channels: Sender, claimed: Sequence[outbox.Delivery], now: datetime, until: float) -> int:
    """Send the messages of one channel, oldest first. When one fails the rest waits with it: they would fail too."""
    arrived = 0
    for at, each in enumerate(claimed):
        if time.monotonic() > until:
            for left in claimed[at:]:
                outbox.failed(engine, left.id, now, "waits for its turn", now)
            break
        if _overtaken(engine, each):
            outbox.failed(engine, each.id, now, "a later message about the same incident took its place", None)
            continue
        error = channels.send(each.channel, each.subject, each.body)
        if error is None:
            outbox.delivered(engine, each.id, now)
            _note(engine, each, Event(now, EventKind.NOTIFIED, f"Told “{each.channel}”: {each.subject}"))
            arrived += 1
            continue
        log.warning("channel %s did not take a message: %s", each.channel, error)
        _put_off(engine, each, now, error)
        for left in claimed[at + 1 :]:
            _put_off(engine, left, now, f"waits for the channel: {error}")
        break
    return arrived


def _overtaken(engine: Engine, delivery: outbox.Delivery) -> bool:
    """Whether the channel was, or will be, given a later message about the incident: it says all that this one does."""
    if delivery.incident_id is None:
        return False
    return any(row.id > delivery.id for row in outbox.last_sent(engine, delivery.incident_id, delivery.channel))


def _put_off(engine: Engine, delivery: outbox.Delivery, now: datetime, error: str) -> None:
    retry_at = now + RETRIES[min(delivery.attempts, len(RETRIES)) - 1]
    if retry_at - delivery.at <= GIVE_UP_AFTER:
        outbox.failed(engine, delivery.id, now, error, retry_at)
        return
    outbox.failed(engine, delivery.id, now, error, None)
    tried = duration((now - delivery.at).total_seconds())
    _note(engine, delivery, Event(now, EventKind.NOT_NOTIFIED, f"“{delivery.channel}” could not be told for {tried}: {error}"))


def _note(engine: Engine, delivery: outbox.Delivery, event: Event) -> None:
    if delivery.incident_id is not None:
        incidents.add_event(engine, delivery.incident_id, event)
