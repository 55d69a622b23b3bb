"""When very much breaks at once: the worst is told one by one, everything else together. Nothing is left out, nobody is drowned."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from monitor.domain.alerting import Decision
from monitor.domain.incidents import Incident

WITHIN = timedelta(minutes=10)
"""The time over which messages are counted, and from one message about many to the next."""
AT_MOST = 20
"""Messages about single incidents that a channel takes in this time, where its configuration says nothing else."""
FEW = 2
"""So many more are not worth a message about many."""

Wanted = Sequence[tuple[Incident, Decision]]


@dataclass(frozen=True, slots=True)
class Past:
    """What a channel was given lately."""

    singly: Sequence[datetime] = ()
    together: datetime | None = None
    """The last message about many."""


@dataclass(frozen=True, slots=True)
class Rationed:
    """What becomes of the messages that are due to one channel."""

    singly: Wanted = ()
    together: Wanted = ()
    """In one message."""
    later: Wanted = ()
    until: datetime | None = None
    """When these are told together."""


def rationed(wanted: Wanted, past: Past, at_most: int, now: datetime) -> Rationed:
    """Divide what is due to a channel: the most severe, then the oldest, come first."""
    since = now - WITHIN
    room = max(0, at_most - sum(since < at <= now for at in past.singly))
    flooded = past.together is not None and since < past.together <= now
    if len(wanted) <= (room if flooded else room + FEW):
        return Rationed(singly=wanted)
    ranked = sorted(wanted, key=lambda each: (-each[0].severity.rank, each[0].opened_at, each[0].id or 0))
    rest = ranked[room:]
    if flooded and past.together is not None:
        return Rationed(ranked[:room], later=rest, until=past.together + WITHIN)
    return Rationed(ranked[:room], together=rest)
