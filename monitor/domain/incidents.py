"""Related failures with one root cause: what an incident is. How it comes to be is in `correlation`."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from monitor.domain.changes import ChangeEvent
from monitor.domain.diagnosis import Diagnosis
from monitor.domain.health import Health
from monitor.domain.inventory import Target
from monitor.domain.organization import Gap
from monitor.domain.taxonomy import FailureKind, Lane, Scope


class Severity(StrEnum):
    """How much it hurts, worst last."""

    INFO = "info"
    WARNING = "warning"
    """Degraded: some calls pass, or time heals it."""
    CRITICAL = "critical"
    """Somebody's calls fail, and go on failing."""

    @property
    def rank(self) -> int:
        """Greater is worse."""
        return list(Severity).index(self)


@dataclass(frozen=True, slots=True, order=True)
class Cause:
    """What an incident is about: a family of failures at the smallest scope that explains all of them."""

    scope: Scope
    lane: Lane
    subject: str
    """Whom it concerns there: `project/key`, `project/model`, `model`, `project`, an organization, a host, or empty for all."""

    @property
    def key(self) -> str:
        """Stored and compared: `scope:lane:subject`."""
        return f"{self.scope.value}:{self.lane.value}:{self.subject}"


@dataclass(frozen=True, slots=True)
class Ill:
    """A target that is failing or degraded, or suspect."""

    target: Target
    failure: FailureKind
    health: Health
    since: datetime
    """The first bad answer of this illness."""
    scope: Scope | None = None
    """As the answer itself says, e.g. whose rate limit."""
    hint: str | None = None
    flapping: bool = False
    confirmed: bool = True
    """False: seen once so far. It tells how far a cause may reach, and opens nothing."""
    recovering: bool = False
    """Its last answer was a good one."""
    sampled: bool = False
    """It was asked because another one had failed, and was well before: that it fails too is no chance."""


@dataclass(frozen=True, slots=True)
class Incident:
    """One root cause over its life. Times are aware, UTC."""

    cause: Cause
    failure: FailureKind
    """The kind that leads: what the diagnosis speaks of."""
    severity: Severity
    first_bad_at: datetime
    """The first bad answer: where the outage begins as far as anybody can know."""
    opened_at: datetime
    title: str
    """One sentence without names of people: `Project “legacy”: key refused`."""
    diagnosis: Diagnosis
    projects: tuple[str, ...] = ()
    """Everybody who was hit at any time of it, sorted; so the next three."""
    keys: tuple[str, ...] = ()
    """`project/key`."""
    models: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()
    environments: tuple[str, ...] = ()
    last_good_at: datetime | None = None
    named_at: datetime | None = None
    """When the cause was first what it is now."""
    acknowledged_at: datetime | None = None
    acknowledged_by: str | None = None
    resolved_at: datetime | None = None
    reopened: int = 0
    merged_into: int | None = None
    """The wider incident that explains this one too."""
    ill: int = 0
    """Targets that are ill now."""
    id: int | None = None
    """Given by the store; shown as `INC-12`."""

    @property
    def open(self) -> bool:
        """Whether it goes on."""
        return self.resolved_at is None


@dataclass(frozen=True, slots=True)
class OpenIncidents:
    """What goes on, counted: thousands are read as quickly as few."""

    count: int = 0
    taken: int = 0
    """How many of them somebody has acknowledged."""
    worst: Severity | None = None
    hits: tuple[tuple[tuple[str, ...], int], ...] = ()
    """Projects that are hit together, and by how many incidents."""

    @property
    def projects(self) -> frozenset[str]:
        """Everybody who is hit."""
        return frozenset(name for names, _ in self.hits for name in names)

    def causes(self, projects: Collection[str]) -> int:
        """How many of them hit any of these projects."""
        wanted = frozenset(projects)
        return sum(count for names, count in self.hits if not wanted.isdisjoint(names))


NOTHING_OPEN = OpenIncidents()


class EventKind(StrEnum):
    """What happened in an incident's life."""

    OPENED = "opened"
    WIDENED = "widened"
    """Scope, severity or those who are hit grew."""
    CAUSE = "cause"
    """The leading kind changed."""
    EXPERIMENT = "experiment"
    ACKNOWLEDGED = "acknowledged"
    SILENCED = "silenced"
    COMMENT = "comment"
    NOTIFIED = "notified"
    NOT_NOTIFIED = "not_notified"
    MERGED = "merged"
    RESOLVED = "resolved"
    REOPENED = "reopened"
    CHECK = "check"
    """What was answered. Told by the evidence, like the next two not stored as an event."""
    HEALTH = "health"
    """Checks that it hit changed their health."""
    CHANGE = "change"
    """Something was changed shortly before or meanwhile."""


@dataclass(frozen=True, slots=True)
class Event:
    """One line of an incident's timeline."""

    at: datetime
    kind: EventKind
    text: str
    by: str | None = None
    """Who did it; None is the monitor."""


@dataclass(frozen=True, slots=True)
class Change:
    """An incident as it shall be stored, with what happened to it now."""

    incident: Incident
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class IncidentRecord:
    """An incident with all that is kept of it, for ever."""

    incident: Incident
    events: tuple[Event, ...] = ()
    """The whole story, oldest first: what was done about it, and what its checks said meanwhile."""
    evidence: dict[str, object] = field(default_factory=dict)
    """Frozen when it was opened, JSON-ready, redacted. Keys: `first_bad` and `last_good` (an observation's facts or None), `errors`
    (each distinct one: `failure status code message count request_ids first last`), `limits`, `config` (the project's effective
    configuration)."""
    changed: tuple[ChangeEvent, ...] = ()
    """What changed around its begin, for those who were hit or for everybody. `what_changed` ranks them."""
    gaps: tuple[Gap, ...] = ()
    """Parts of the organization's record that could not be read: what changed there is not known."""
    record_read_at: datetime | None = None
    """Until when changes there are known; None where the record was never read."""
