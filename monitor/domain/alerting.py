"""Who is told what about an incident, and when: one message for what happened, and a named reason for every silence.

Pure: `decide` looks at the incident as it is now, at what this channel was told about it before, and at the silences. Nothing
is remembered between two calls, so a restart loses nothing and two pollers come to the same words with the same key.
"""

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from enum import StrEnum

from monitor.domain.incidents import Incident, Severity
from monitor.domain.taxonomy import Lane, Scope


class NotifyReason(StrEnum):
    """Why a message was sent, or was not."""

    FIRST = "first"
    WORSENED = "worsened"
    """Severity or scope grew beyond what the channel was told."""
    REMINDER = "reminder"
    """Still open, nobody took it; or a silence ended and it is still open."""
    ESCALATION = "escalation"
    RESOLVED = "resolved"
    DIGEST = "digest"

    TOO_SOON = "too_soon"
    """Group wait, or the time until it is escalated."""
    ALREADY_SENT = "already_sent"
    ACKNOWLEDGED = "acknowledged"
    SILENCED = "silenced"
    MAINTENANCE = "maintenance"
    FLAPPING = "flapping"
    """Came back before: that it is over is said when it has been quiet for a while."""
    MERGED = "merged"
    """The wider incident speaks for it."""
    NEVER_SENT = "never_sent"
    """Over before anything was said, so there is nothing to take back."""
    KEPT_FOR_DIGEST = "kept_for_digest"
    NOT_ROUTED = "not_routed"
    BELOW_SEVERITY = "below_severity"


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """Somebody wants quiet about something, until a moment. Every criterion that is given must match; none is everything."""

    starts: datetime
    until: datetime
    by: str
    text: str = ""
    """Why."""
    project: str | None = None
    owner: str | None = None
    environment: str | None = None
    lane: Lane | None = None
    incident_id: int | None = None
    ended_at: datetime | None = None
    """Ended by hand before its time."""
    ended_by: str | None = None
    id: int | None = None
    """Given by the store."""

    @property
    def ends(self) -> datetime:
        """When it is over, by the clock or by hand."""
        return self.until if self.ended_at is None else min(self.until, self.ended_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class MaintenanceWindow:
    """Quiet that was planned, from the configuration. An empty tuple is everybody."""

    name: str
    starts: datetime
    until: datetime
    every: timedelta | None = None
    """Comes again after this long."""
    projects: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()
    environments: tuple[str, ...] = ()
    lanes: tuple[Lane, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Which incidents go to a channel. An empty tuple is everybody."""

    channel: str
    owners: tuple[str, ...] = ()
    environments: tuple[str, ...] = ()
    lanes: tuple[Lane, ...] = ()
    projects: tuple[str, ...] = ()
    min_severity: Severity = Severity.WARNING
    group_wait: timedelta = timedelta(seconds=15)
    """How long an incident is given to gather what belongs to it."""
    remind_every: timedelta | None = timedelta(hours=4)
    escalate_after: timedelta | None = None
    """This route is told only what nobody has acknowledged for so long."""
    digest_every: timedelta | None = None
    """This route is told nothing at once, but everything together, this often."""
    digest_at: time = time(6)
    """UTC: when in the day digests begin to be counted."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that a channel was given about an incident."""

    reason: NotifyReason
    at: datetime
    """When it was put into the outbox."""
    severity: Severity | None = None
    """What it said, if it said so."""
    scope: Scope | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a channel is told something now."""

    send: bool
    reason: NotifyReason
    dedup_key: str
    """One message per channel and key, ever. Empty where nothing is sent."""
    why: str
    """The reason in a sentence, for the screen."""
    due: datetime | None = None
    """When it is decided anew, where that is known."""


def label(incident: Incident) -> str:
    """What people call it: `INC-12`."""
    return f"INC-{incident.id}"
