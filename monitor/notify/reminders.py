"""From deadlines to people: what is due is put into the outbox, once for each deadline, step and channel.

Nothing is remembered here. What was told stands in the outbox, so a restart, or another poller that leads from now on, goes on
where it was.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

from monitor.config import Settings, alerts
from monitor.domain import alerting
from monitor.domain.alerting import Decision, NotifyReason
from monitor.domain.deadlines import Deadline
from monitor.domain.reminders import Reminder, decide_all, dedup_key, digest, reminders, step
from monitor.notify import messages
from monitor.store import outbox, queries
from monitor.store.engine import Engine
from monitor.store.outbox import DeliveryState, NewMessage
from monitor.store.reminders import Unsaid, log, note

LOOK_BACK = timedelta(days=100)
"""How far back what was told still matters: beyond the first step ahead and the last day that is told late."""
_MOST_SILENCES = 5000
_NO_NEWS = frozenset({NotifyReason.ALREADY_SENT, NotifyReason.TOO_SOON, NotifyReason.NOT_ROUTED})


def remind(engine: Engine, settings: Settings, now: datetime) -> int:
    """Put what is due into the outbox, and note why other things are not said; how many messages are new.

    Blocks for the store. Raises `StoreError`.
    """
    routes = alerts.routes(settings)
    if not routes:
        return 0
    sent: dict[str, set[str]] = defaultdict(set)
    for row in log(engine, since=now - LOOK_BACK):
        if row.state is not DeliveryState.NOT_SENT:
            sent[row.channel].update(row.digests)
    people = alerts.people(settings)
    quiet = alerting.quiets(queries.silences(engine, _MOST_SILENCES), alerts.windows(settings), people, now)
    decided: list[tuple[Deadline, str, Decision]] = []
    unsaid: list[Unsaid] = []
    for deadline in queries.deadlines(engine, now).deadlines:
        decisions = decide_all(deadline, routes, sent, quiet, now)
        decided += [(deadline, channel, decision) for channel, decision in decisions.items()]
        unsaid += _unsaid(deadline, decisions, now)
    added = outbox.enqueue(engine, [_message(each, settings.dashboard_url, now) for each in reminders(decided)], now)
    note(engine, unsaid, now)
    return added


def _unsaid(deadline: Deadline, decisions: Mapping[str, Decision], now: datetime) -> Iterator[Unsaid]:
    """What is worth a note: why a channel that is meant is told nothing, or that none is meant."""
    at_step = step(deadline, now)
    if at_step is None:
        return
    about = digest(deadline, at_step)
    if all(each.reason is NotifyReason.NOT_ROUTED for each in decisions.values()):
        yield Unsaid(about, "", NotifyReason.NOT_ROUTED, "no route sends it to a channel")
    for channel, each in decisions.items():
        if not each.send and each.reason not in _NO_NEWS:
            yield Unsaid(about, channel, each.reason, each.why)


def _message(found: Reminder, base_url: str | None, now: datetime) -> NewMessage:
    subject, body = messages.reminder(found, base_url, now)
    severity = max((each.severity(now) for each, _ in found.due), key=lambda each: each.rank)
    key = dedup_key(about for _, about in found.due)
    return NewMessage(None, found.channel, NotifyReason.DEADLINE, key, subject, body, severity)
