"""Who is told what about an incident, and when: one message for what happened, and a named reason for every silence.

Pure: `decide` looks at the incident as it is now, at what this channel was told about it before, and at the silences. Nothing
is remembered between two calls, so a restart loses nothing and two pollers come to the same words with the same key.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum

from monitor.domain.correlation import REOPEN_WITHIN
from monitor.domain.incidents import Incident, Severity
from monitor.domain.taxonomy import Lane, Scope
from monitor.domain.words import clock, duration

CALM = timedelta(minutes=3)
"""From the end of an incident to the message that says so: much of what ends comes back at once."""


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
    MANY = "many"
    """One message about very many incidents: too many to be told one by one."""
    DEADLINE = "deadline"
    """A day that was known ahead is near, or has just passed."""

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
    TOO_MANY = "too_many"
    """The channel was given very many messages: the next one tells all that wait."""
    NOT_ROUTED = "not_routed"
    BELOW_SEVERITY = "below_severity"
    TOO_LATE = "too_late"
    """The day passed before anybody could be told."""


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
    generation: int = 0
    """How often the incident had come back by then."""
    severity: Severity | None = None
    """What it said, of a first message and of one that it got worse."""
    scope: Scope | None = None

    @classmethod
    def read(cls, reason: str, at: datetime, dedup_key: str) -> "Sent":
        """A stored message. What its key does not tell is left out."""
        parts = dedup_key.split(":")
        generation = int(parts[1]) if len(parts) > 2 and parts[1].isdecimal() else 0
        level = parts[2:4] if len(parts) == 4 and parts[2] in set(Severity) and parts[3] in set(Scope) else None
        if level is None:
            return cls(NotifyReason(reason), at, generation)
        return cls(NotifyReason(reason), at, generation, Severity(level[0]), Scope(level[1]))


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
    """When it may be decided otherwise, where that is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quiet:
    """A silence, or one occurrence of a maintenance window, with everybody it speaks of."""

    reason: NotifyReason
    """`silenced` or `maintenance`."""
    text: str
    starts: datetime
    ends: datetime
    projects: frozenset[str] | None = None
    """None is everybody."""
    lanes: frozenset[Lane] = frozenset()
    """None is every lane."""
    incident_id: int | None = None


@dataclass(frozen=True, slots=True)
class Person:
    """Whose a project is: what silences and windows may name instead of it."""

    owner: str | None = None
    environment: str | None = None


# Quiet --------------------------------------------------------------------------------------------------------------------------


def quiets(
    silences: Iterable[Silence], windows: Iterable[MaintenanceWindow], people: Mapping[str, Person], now: datetime
) -> list[Quiet]:
    """All silences and windows, those that are over too: when one ends, what is still open is said.

    `people` has every project that is configured. Somebody who is named only by the owner of another project stays loud.
    """
    found = [_of_silence(silence, people) for silence in silences]
    for window in windows:
        projects = None
        if window.projects or window.owners or window.environments:
            projects = _who(people, window.projects, window.owners, window.environments)
        starts, ends = _latest(window, now)
        found.append(
            Quiet(
                reason=NotifyReason.MAINTENANCE,
                text=f"maintenance “{window.name}” until {clock(ends)}",
                starts=starts,
                ends=ends,
                projects=projects,
                lanes=frozenset(window.lanes),
            )
        )
    return found


def _of_silence(silence: Silence, people: Mapping[str, Person]) -> Quiet:
    projects = None
    if silence.project is not None or silence.owner is not None or silence.environment is not None:
        named = [tuple(() if name is None else (name,)) for name in (silence.project, silence.owner, silence.environment)]
        projects = _who(people, *named)
    because = f": {silence.text}" if silence.text else ""
    return Quiet(
        reason=NotifyReason.SILENCED,
        text=f"silenced by {silence.by} until {clock(silence.ends)}{because}",
        starts=silence.starts,
        ends=silence.ends,
        projects=projects,
        lanes=frozenset() if silence.lane is None else frozenset({silence.lane}),
        incident_id=silence.incident_id,
    )


def _who(
    people: Mapping[str, Person], projects: Sequence[str], owners: Sequence[str], environments: Sequence[str]
) -> frozenset[str]:
    """The projects that fulfil every criterion that is given."""
    return frozenset(
        name
        for name in {*people, *projects}
        if (not projects or name in projects)
        and (not owners or people.get(name, _NOBODY).owner in owners)
        and (not environments or people.get(name, _NOBODY).environment in environments)
    )


_NOBODY = Person()


def _latest(window: MaintenanceWindow, now: datetime) -> tuple[datetime, datetime]:
    """When the window is, or was last."""
    times = max(0, (now - window.starts) // window.every) if window.every is not None else 0
    offset = times * (window.every or timedelta())
    return window.starts + offset, window.until + offset


def quiet_now(incident: Incident, silences: Iterable[Quiet], now: datetime) -> Quiet | None:
    """What keeps the incident quiet: one silence that covers all who are hit, or several together. Else None.

    Somebody who is hit and whom nobody silenced must hear of it.
    """
    mine = (each for each in silences if each.incident_id in (None, incident.id))
    return quiet_for(incident.projects, incident.cause.lane, mine, now)


def quiet_for(projects: Iterable[str], lane: Lane, silences: Iterable[Quiet], now: datetime) -> Quiet | None:
    """The same for any trouble of these projects. None of them is everybody's."""
    near = [each for each in silences if each.starts <= now < each.ends and (not each.lanes or lane in each.lanes)]
    hit = frozenset(projects)
    whole = [each for each in near if each.projects is None or (hit and hit <= each.projects)]
    if whole:
        return max(whole, key=lambda each: each.ends)
    together = frozenset[str]().union(*(each.projects or () for each in near))
    return min(near, key=lambda each: each.ends) if hit and hit <= together else None


def _ended_since(incident: Incident, silences: Sequence[Quiet], since: datetime, now: datetime) -> bool:
    """Whether the incident was kept quiet at a time after `since`, and is no longer."""
    ends = [each.ends for each in silences if max(since, incident.opened_at) < each.ends <= now]
    return any(quiet_now(incident, silences, end - timedelta.resolution) for end in ends)


# Decisions ----------------------------------------------------------------------------------------------------------------------


def label(incident: Incident) -> str:
    """What people call it: `INC-12`."""
    return f"INC-{incident.id}"


def concerns(incident: Incident, route: Route) -> bool:
    """Whether the route is for this incident, whatever its severity. One that names no project is everybody's."""
    if route.lanes and incident.cause.lane not in route.lanes:
        return False
    if not incident.projects:
        return True
    given = ((route.projects, incident.projects), (route.owners, incident.owners), (route.environments, incident.environments))
    return all(not wanted or not set(wanted).isdisjoint(hit) for wanted, hit in given)


def decide(incident: Incident, route: Route, sent: Sequence[Sent], silences: Sequence[Quiet], now: datetime) -> Decision:
    """Whether the route's channel is told something of the incident now, and why or why not. Never raises.

    `sent` is everything the channel was given about this incident, `silences` what `quiets` made of all of them.
    """
    before = sorted((each for each in sent if each.reason in _TOLD), key=lambda each: each.at)
    over = [each for each in before if each.reason is NotifyReason.RESOLVED]
    life = before if not over else before[max(at for at, each in enumerate(before) if each.reason is NotifyReason.RESOLVED) + 1 :]
    if incident.merged_into is not None:
        return _no(NotifyReason.MERGED, f"INC-{incident.merged_into} explains it and speaks for it")
    if incident.resolved_at is not None and life:
        return _of_resolved(incident, incident.resolved_at, silences, now)
    if unwanted := _unwanted(incident, route):
        return unwanted
    if route.digest_every is not None:
        return _no(NotifyReason.KEPT_FOR_DIGEST, "is told in the next digest", digest_slot(route, now)[1] + route.digest_every)
    if over and (incident.resolved_at is not None or over[-1].generation >= incident.reopened):
        return _no(NotifyReason.ALREADY_SENT, f"was told as over at {clock(over[-1].at)}")
    if incident.resolved_at is not None:
        return _no(NotifyReason.NEVER_SENT, "was over before this channel was told of it")
    if quiet := quiet_now(incident, silences, now):
        return _no(quiet.reason, quiet.text, quiet.ends)
    start = f"{incident.id}:{over[-1].generation + 1 if over else 0}"
    if route.escalate_after is not None:
        return _of_escalation(incident, route.escalate_after, life, start, now)
    return _of_open(incident, route, life, silences, start, now)


_TOLD = frozenset(
    {NotifyReason.FIRST, NotifyReason.WORSENED, NotifyReason.REMINDER, NotifyReason.ESCALATION, NotifyReason.RESOLVED}
)


def _no(reason: NotifyReason, why: str, due: datetime | None = None) -> Decision:
    return Decision(send=False, reason=reason, dedup_key="", why=why, due=due)


def _yes(reason: NotifyReason, key: str, why: str) -> Decision:
    return Decision(send=True, reason=reason, dedup_key=key, why=why)


def _unwanted(incident: Incident, route: Route) -> Decision | None:
    """Why the route is not for this incident, or None if it is."""
    if not concerns(incident, route):
        return _no(NotifyReason.NOT_ROUTED, "no route sends it to this channel")
    if incident.severity.rank < route.min_severity.rank:
        return _no(
            NotifyReason.BELOW_SEVERITY, f"is {incident.severity.value}; this channel is told from {route.min_severity.value}"
        )
    return None


def _of_resolved(incident: Incident, resolved_at: datetime, silences: Sequence[Quiet], now: datetime) -> Decision:
    """The channel was told of it, and now it is over."""
    if quiet := quiet_now(incident, silences, now):
        return _no(quiet.reason, quiet.text, quiet.ends)
    stable_at = resolved_at + REOPEN_WITHIN
    if incident.reopened and now < stable_at:
        often = "once" if incident.reopened == 1 else f"{incident.reopened} times"
        return _no(
            NotifyReason.FLAPPING, f"came back {often}: it is called over if it stays so until {clock(stable_at)}", stable_at
        )
    if now < (calm_at := resolved_at + CALM):
        return _no(NotifyReason.TOO_SOON, f"is called over if it stays so until {clock(calm_at)}", calm_at)
    return _yes(NotifyReason.RESOLVED, f"{incident.id}:{incident.reopened}:resolved", "is over, and this channel was told of it")


def _of_escalation(incident: Incident, after: timedelta, life: list[Sent], start: str, now: datetime) -> Decision:
    """A route that is told only what nobody took. It is told once."""
    if any(each.reason is NotifyReason.ESCALATION for each in life):
        return _no(NotifyReason.ALREADY_SENT, "was escalated already")
    if incident.acknowledged_at is not None:
        return _no(NotifyReason.ACKNOWLEDGED, f"{incident.acknowledged_by or 'somebody'} has acknowledged it")
    due = incident.opened_at + after
    if now < due:
        return _no(NotifyReason.TOO_SOON, f"is escalated at {clock(due)} if nobody acknowledges it", due)
    why = f"nobody has acknowledged it for {duration(after.total_seconds())}"
    return _yes(NotifyReason.ESCALATION, f"{start}:escalation", why)


def _of_open(incident: Incident, route: Route, life: list[Sent], silences: Sequence[Quiet], start: str, now: datetime) -> Decision:
    acknowledged = None
    if incident.acknowledged_at is not None:
        acknowledged = _no(NotifyReason.ACKNOWLEDGED, f"{incident.acknowledged_by or 'somebody'} has acknowledged it")
    # The key says what is told, not why: a first message of one poller and a worsened one of another cannot both be sent.
    level = f"{start}:{incident.severity.value}:{incident.cause.scope.value}"
    if not life:
        due = incident.opened_at + route.group_wait
        if acknowledged is None and now < due:
            return _no(NotifyReason.TOO_SOON, "waits a moment for what belongs to it", due)
        return acknowledged or _yes(NotifyReason.FIRST, level, "this channel was not told of it yet")
    if worse := _worse(incident, life):
        return _yes(NotifyReason.WORSENED, level, worse)
    if acknowledged is not None:
        return acknowledged
    last = life[-1].at
    number = 1 + sum(each.reason is NotifyReason.REMINDER for each in life)
    if _ended_since(incident, silences, last, now):
        return _yes(NotifyReason.REMINDER, f"{start}:reminder:{number}", "the silence has ended and it is still open")
    said = f"was told at {clock(last)}"
    if route.remind_every is None:
        return _no(NotifyReason.ALREADY_SENT, said)
    if now < last + route.remind_every:
        return _no(
            NotifyReason.ALREADY_SENT,
            f"{said}; a reminder follows at {clock(last + route.remind_every)}",
            last + route.remind_every,
        )
    why = f"nobody has acknowledged it, {duration((now - last).total_seconds())} after the last message"
    return _yes(NotifyReason.REMINDER, f"{start}:reminder:{number}", why)


def _worse(incident: Incident, life: Iterable[Sent]) -> str | None:
    """How it grew beyond everything that was told of it, or None."""
    severities = [each.severity.rank for each in life if each.severity is not None]
    scopes = [_WIDTH[each.scope] for each in life if each.scope is not None]
    if severities and incident.severity.rank > max(severities):
        return f"it is {incident.severity.value} now"
    if scopes and _WIDTH[incident.cause.scope] > max(scopes):
        return f"it reaches further than was told: {incident.cause.scope.value}"
    return None


_WIDTH = {scope: rank for rank, scope in enumerate(Scope)}


def decide_all(
    incident: Incident, routes: Iterable[Route], sent: Mapping[str, Sequence[Sent]], silences: Sequence[Quiet], now: datetime
) -> dict[str, Decision]:
    """One decision for each channel, of all routes that lead to it: a message if one of them sends it, else the nearest to one."""
    found: dict[str, Decision] = {}
    for route in routes:
        decision = decide(incident, route, sent.get(route.channel, ()), silences, now)
        other = found.get(route.channel)
        if other is None or _nearness(decision) > _nearness(other):
            found[route.channel] = decision
    return found


_FURTHEST_FIRST = (NotifyReason.NOT_ROUTED, NotifyReason.BELOW_SEVERITY, NotifyReason.KEPT_FOR_DIGEST, NotifyReason.TOO_SOON)


def _nearness(decision: Decision) -> int:
    if decision.send:
        return len(_FURTHEST_FIRST) + 1
    return _FURTHEST_FIRST.index(decision.reason) if decision.reason in _FURTHEST_FIRST else len(_FURTHEST_FIRST)


# Digests ------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Digest:
    """What a channel is told together."""

    channel: str
    dedup_key: str
    starts: datetime
    ends: datetime
    incidents: tuple[Incident, ...]
    """What was open at any time in between: still open ones first, then the newest. Never empty."""


_A_MONDAY = datetime(1970, 1, 5, tzinfo=UTC)


def digest_slot(route: Route, now: datetime) -> tuple[datetime, datetime]:
    """The last stretch of time that is complete: when it began and when it ended."""
    every = route.digest_every or timedelta(days=1)
    anchor = _A_MONDAY + timedelta(hours=route.digest_at.hour, minutes=route.digest_at.minute)
    ends = anchor + (now - anchor) // every * every
    return ends - every, ends


def digests(routes: Iterable[Route], incidents: Iterable[Incident], now: datetime) -> list[Digest]:
    """The digests that are due by now, one for each channel. Where nothing happened there is none.

    `incidents` are those that were open at any time since the stretch began.
    """
    incidents = list(incidents)
    found: dict[tuple[str, datetime, datetime], dict[int | None, Incident]] = {}
    for route in routes:
        if route.digest_every is None:
            continue
        starts, ends = digest_slot(route, now)
        for incident in incidents:
            within = incident.opened_at < ends and (incident.resolved_at is None or incident.resolved_at >= starts)
            if within and incident.merged_into is None and _unwanted(incident, route) is None:
                found.setdefault((route.channel, starts, ends), {})[incident.id] = incident
    return [
        Digest(
            channel,
            f"digest:{starts:%Y-%m-%dT%H:%M}/{ends:%Y-%m-%dT%H:%M}",
            starts,
            ends,
            tuple(sorted(each.values(), key=lambda one: (not one.open, -one.opened_at.timestamp()))),
        )
        for (channel, starts, ends), each in found.items()
    ]
