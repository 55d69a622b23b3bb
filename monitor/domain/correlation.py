"""How everything that is ill becomes incidents: one for each cause, at the smallest scope that explains it.

Pure: `correlate` compares what is ill now with what is open, and says what changed. Nothing is remembered between two calls but
the open incidents themselves, so a restart loses nothing.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from monitor.domain.diagnosis import Diagnosis
from monitor.domain.health import Health
from monitor.domain.incidents import Cause, Change, Event, EventKind, Ill, Incident, Severity
from monitor.domain.inventory import ProbeKind, Project, Target
from monitor.domain.redact import redact
from monitor.domain.taxonomy import KINDS, KNOWS_BETTER, FailureKind, Lane, Scope

# What explains what is ill ------------------------------------------------------------------------------------------------------

OPEN_AFTER = timedelta(seconds=15)
"""From the first bad answer: in that time the neighbours were asked, and one outage does not begin as two hundred incidents."""
OPEN_ALONE_AFTER = timedelta(seconds=60)
"""The same where one or two have trouble with network or server: one call in a hundred always has."""
REOPEN_WITHIN = timedelta(minutes=15)
_APART = timedelta(hours=1)
_TOGETHER = timedelta(minutes=3)
"""Illnesses that begin within it may have one cause."""

SAMPLE = 3
"""Others that are asked when one fails. Where all of them fail alike, few causes are left, however many nobody has asked yet."""

_WIDTH = {scope: rank for rank, scope in enumerate(Scope)}


def _reach(cause: Cause) -> tuple[int, int]:
    """How far a cause reaches; greater is further. No subject is everybody at that scope; a model may be one project's or all's."""
    of_all = cause.scope is Scope.MODEL and "/" not in cause.subject
    return _WIDTH[cause.scope], 2 if not cause.subject else int(of_all)


@dataclass(frozen=True, slots=True)
class Fleet:
    """Who there is: what tells one broken key from a broken platform."""

    projects: Mapping[str, Project]
    hosts: Mapping[str, frozenset[str]]
    """The projects at each base URL."""
    organizations: Mapping[str, frozenset[str]]
    """The projects of each organization; those without a configured one belong to that of their host."""
    twins: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The places, as `project/key`, where one secret is configured, by each of them; those of which there is one are left out."""

    @classmethod
    def of(cls, projects: Iterable[Project]) -> "Fleet":
        """The fleet of an inventory."""
        named = {project.name: project for project in projects}
        hosts, organizations, secrets = defaultdict(set), defaultdict(set), defaultdict(list)
        for project in named.values():
            hosts[project.base_url].add(project.name)
            organizations[_organization(project)].add(project.name)
            for key in project.keys:
                if key.fingerprint:
                    secrets[key.fingerprint].append(f"{project.name}/{key.label}")
        return cls(
            named,
            {host: frozenset(names) for host, names in hosts.items()},
            {organization: frozenset(names) for organization, names in organizations.items()},
            {place: tuple(places) for places in secrets.values() if len(places) > 1 for place in places},
        )

    def host(self, target: Target) -> str:
        """Where the target is asked."""
        project = self.projects.get(target.project or "")
        return target.host or (project.base_url if project else "")

    def organization(self, target: Target) -> str:
        """Whose it is."""
        project = self.projects.get(target.project or "")
        return _organization(project) if project else ""


def _organization(project: Project) -> str:
    return project.organization or f"the organization at {project.base_url}"


def causes(ill: Sequence[Ill], fleet: Fleet) -> dict[Cause, tuple[Ill, ...]]:
    """Everything that is ill by what explains it, at the smallest scope that explains all of it."""
    found: dict[Cause, list[Ill]] = defaultdict(list)
    wide = _wide(ill, fleet)
    models, emptied = _models(ill, fleet), _emptied(ill, fleet)
    for one in ill:
        found[wide.get(one.target) or _cause(one, fleet, models, emptied)].append(one)
    return {cause: tuple(sorted(members, key=lambda one: (one.since, str(one.target)))) for cause, members in found.items()}


def _wide(ill: Sequence[Ill], fleet: Fleet) -> dict[Target, Cause]:
    """The causes beyond a project: those of a host as a whole, of one model, and refusals that many projects get at once."""
    found: dict[Target, Cause] = {}
    by_host: dict[tuple[str, Lane], list[Ill]] = defaultdict(list)
    alike: dict[tuple[str, FailureKind], list[Ill]] = defaultdict(list)
    for one in ill:
        lane = one.failure.lane
        if lane in (Lane.NETWORK, Lane.SERVER):
            by_host[fleet.host(one.target), lane].append(one)
        elif lane is Lane.AUTH or one.failure is FailureKind.ACCESS_POLICY:
            alike[fleet.host(one.target), one.failure].append(one)
        elif one.failure is FailureKind.CLIENT_CONFIGURATION:
            alike["", one.failure].append(one)
    found |= _paths({host: members for (host, lane), members in by_host.items() if lane is Lane.NETWORK}, fleet)
    for (host, _), everyone in alike.items():
        members = _newest(everyone)
        if _is_common(members, fleet.hosts.get(host, frozenset()) if host else frozenset(fleet.projects)):
            found |= dict.fromkeys((one.target for one in members), _of_many(members, host, fleet))
    for (host, lane), members in by_host.items():
        if lane is Lane.SERVER:
            found |= _servers(members, host, fleet)
    return _everywhere(found, fleet)


def _paths(by_host: Mapping[str, Sequence[Ill]], fleet: Fleet) -> dict[Target, Cause]:
    """The hosts to which the way is broken, or which are slow as a whole, or for one model."""
    found: dict[Target, Cause] = {}
    broken = [host for host, members in by_host.items() if _is_the_path(members, fleet.hosts.get(host, frozenset()))]
    all_of_them = len(broken) > 1 and len(broken) == len(fleet.hosts)
    for host, members in by_host.items():
        slow = all(_is_slow(one) for one in members)
        of_one = _of_one_model(_of_now(members), host, fleet) if slow and not all_of_them else None
        if of_one is not None:
            found |= {one.target: of_one for one in members if one.target.model == of_one.subject.rpartition("/")[2]}
        elif host in broken:
            scope = Scope.OPENAI if slow and not all_of_them else Scope.MONITOR
            found |= dict.fromkeys((one.target for one in members), Cause(scope, Lane.NETWORK, "" if all_of_them else host))
    return found


def _is_slow(one: Ill) -> bool:
    """The way is open, and the answer does not come."""
    return one.failure is FailureKind.NETWORK_TIMEOUT and not (one.hint or "").startswith("connect")


def _servers(members: Sequence[Ill], host: str, fleet: Fleet) -> dict[Target, Cause]:
    """What fails at OpenAI: one model, what it does for one project, or all of a host.

    One other that is ill besides may be so by chance: it speaks for itself when it stays so.
    """
    lane, counted = Lane.SERVER, _of_now(members)
    found = dict.fromkeys((one.target for one in members), Cause(Scope.OPENAI, lane, host))
    of_one = _of_one_model(counted, host, fleet)
    if of_one is not None:
        return found | {one.target: of_one for one in members if one.target.model == of_one.subject.rpartition("/")[2]}
    projects = Counter(one.target.project for one in counted if one.target.project)
    if projects and len(fleet.hosts.get(host, ())) > 1 and not any(one.target.probe is ProbeKind.CONTROL for one in counted):
        name, many = projects.most_common(1)[0]
        if len(counted) - many < min(2, many):
            alone = Cause(Scope.PROJECT, lane, name)
            return found | {one.target: alone for one in members if one.target.project == name}
    return found


def _of_now(members: Sequence[Ill]) -> list[Ill]:
    """Those that are ill for sure, and the suspects of the minutes in which that began. A suspect of later is one by chance."""
    sure = [one for one in members if one.confirmed]
    if not sure:
        return list(members)
    began = min(one.since for one in sure)
    return [one for one in members if one.confirmed or abs(one.since - began) <= _TOGETHER]


def _of_one_model(counted: Sequence[Ill], host: str, fleet: Fleet) -> Cause | None:
    """The one model that is ill, for all or for one project, at a host where others are used too. None where more is ill, or nobody
    can tell.
    """
    models = Counter(one.target.model for one in counted if one.target.model)
    if not models:
        return None
    model, many = models.most_common(1)[0]
    used = {each for name in fleet.hosts.get(host, frozenset()) for each in fleet.projects[name].models}
    others = [one for one in counted if one.target.model != model]
    alone = len(others) < min(2, many) and not any(one.target.probe is ProbeKind.CONTROL for one in others)
    if not alone or not used - {model}:
        return None
    projects = {one.target.project for one in counted if one.target.model == model}
    return Cause(Scope.MODEL, counted[0].failure.lane, model if len(projects) > 1 else f"{projects.pop()}/{model}")


def _of_many(members: Sequence[Ill], host: str, fleet: Fleet) -> Cause:
    """What refuses many projects at once: their organization, OpenAI, or the place where our secrets lie."""
    kind = members[0].failure
    if kind is FailureKind.CLIENT_CONFIGURATION:
        return Cause(Scope.MONITOR, kind.lane, "")
    organizations = {fleet.organization(one.target) for one in members}
    others = {_organization(fleet.projects[name]) for name in fleet.hosts[host]} - organizations
    of_one = len(organizations) == 1 and (others or kind in _OF_THE_ORGANIZATION)
    return Cause(Scope.ORGANIZATION, kind.lane, next(iter(organizations))) if of_one else Cause(Scope.OPENAI, kind.lane, host)


def _everywhere(found: dict[Target, Cause], fleet: Fleet) -> dict[Target, Cause]:
    """The same, with what OpenAI does at every host at once as one cause."""
    for lane in (Lane.AUTH, Lane.ACCESS, Lane.SERVER):
        here = {cause.subject for cause in found.values() if (cause.scope, cause.lane) == (Scope.OPENAI, lane)}
        if len(here) > 1 and here >= set(fleet.hosts):
            whole = Cause(Scope.OPENAI, lane, "")
            found |= {target: whole for target, cause in found.items() if (cause.scope, cause.lane) == (Scope.OPENAI, lane)}
    return found


_OF_THE_ORGANIZATION = frozenset(
    {
        FailureKind.AUTH_IP_NOT_ALLOWED,
        FailureKind.AUTH_ACCOUNT_DEACTIVATED,
        FailureKind.AUTH_WRONG_REGION_HOST,
        FailureKind.ACCESS_POLICY,
    }
)


def _is_the_path(members: Sequence[Ill], there: frozenset[str]) -> bool:
    """Whether it is the way to a host, not one project: the question without a key fails too, or half of the projects do."""
    if any(one.target.probe is ProbeKind.CONTROL for one in members):
        return True
    hit = {one.target.project for one in members}
    return len(hit) >= 2 and 2 * len(hit) >= len(there)


def _newest(members: Iterable[Ill]) -> list[Ill]:
    """Those that belong together in time: a key that has been dead for a week is no part of tonight's outage."""
    found: list[Ill] = []
    for one in sorted(members, key=lambda each: each.since, reverse=True):
        if found and found[-1].since - one.since > _APART:
            break
        found.append(one)
    return found


def _is_common(members: Sequence[Ill], there: frozenset[str], most: int | None = None) -> bool:
    """Whether one refusal of many has one cause: half of them, a tenth (or `most`) that began together, or a whole sample."""
    first: dict[str | None, datetime] = {}
    for one in members:
        first[one.target.project] = min(one.since, first.get(one.target.project, one.since))
    if len(first) < 3:
        return False
    if 2 * len(first) >= len(there):
        return True
    if len({one.target.project for one in members if one.sampled}) >= SAMPLE:
        return True
    times = sorted(first.values())
    needed = max(3, min(-(-len(there) // 10), most or len(there)))
    return any(times[at + needed - 1] - times[at] <= _TOGETHER for at in range(len(times) - needed + 1))


def _models(ill: Sequence[Ill], fleet: Fleet) -> set[str]:
    """The models that are the matter of more than one project: retired, found by nobody, or taken from many at once."""
    missing: dict[str, set[str]] = defaultdict(set)
    barred: dict[str, list[Ill]] = defaultdict(list)
    found = set()
    for one in ill:
        model = one.target.model
        if model is None:
            continue
        if one.failure is FailureKind.ACCESS_MODEL_RETIRED:
            found.add(model)
        elif one.failure is FailureKind.ACCESS_MODEL_NOT_FOUND:
            missing[model].add(one.target.project or "")
        elif one.failure is FailureKind.ACCESS_MODEL_NOT_ALLOWED:
            barred[model].append(one)
    found |= {model for model, projects in missing.items() if len(projects) > 1}
    for model, members in barred.items():
        users = frozenset(name for name, project in fleet.projects.items() if model in project.models)
        if _is_common(_newest(members), users, most=_MANY):
            found.add(model)
    return found


_MANY = 10
"""Projects that lose one model within minutes: nobody takes it from each of them by hand."""


def _emptied(ill: Sequence[Ill], fleet: Fleet) -> set[tuple[str, FailureKind]]:
    """The projects whose keys, of which there are several, are all refused alike since the same minutes: it is the project."""
    since: dict[tuple[str, FailureKind], dict[str, datetime]] = defaultdict(dict)
    for one in ill:
        project, key = one.target.project, one.target.key
        if project and key and KINDS[one.failure].scope is Scope.KEY and one.failure.lane in (Lane.AUTH, Lane.CLIENT):
            seen = since[project, one.failure]
            seen[key] = min(one.since, seen.get(key, one.since))
    return {
        (name, kind)
        for (name, kind), keys in since.items()
        if name in fleet.projects
        and len(keys) > 1
        and keys.keys() >= {key.label for key in fleet.projects[name].keys}
        and max(keys.values()) - min(keys.values()) <= _TOGETHER
    }


def _cause(one: Ill, fleet: Fleet, models: Collection[str], emptied: Collection[tuple[str, FailureKind]]) -> Cause:
    """What explains one illness by itself."""
    kind, lane, target = one.failure, one.failure.lane, one.target
    project = fleet.projects.get(target.project or "")
    scope = KINDS[kind].scope
    if lane is Lane.RATE and one.scope is not None and kind is not FailureKind.RATE_REQUEST_TOO_LARGE:
        scope = one.scope
    if kind is FailureKind.QUOTA_EXHAUSTED and one.scope is Scope.PROJECT:
        scope = Scope.PROJECT
    if (target.project or "", kind) in emptied or (kind is FailureKind.AUTH_WRONG_PROJECT and "archived" in (one.hint or "")):
        scope = Scope.PROJECT
    if target.project is None and scope is not Scope.MONITOR:
        return Cause(Scope.OPENAI, lane, fleet.host(target))
    if lane is Lane.NETWORK:
        return Cause(Scope.PROJECT, lane, target.project or "")
    if scope is Scope.ORGANIZATION:
        return Cause(scope, lane, fleet.organization(target))
    if scope is Scope.MONITOR:
        return Cause(scope, lane, "")
    if scope is Scope.MODEL and target.model:
        return Cause(scope, lane, target.model if target.model in models else f"{target.project}/{target.model}")
    if scope is Scope.PROJECT or project is None or target.key is None:
        return Cause(Scope.PROJECT, lane, target.project or "")
    return Cause(Scope.KEY, lane, _one_secret(one, fleet))


_OF_THE_SECRET = frozenset({FailureKind.AUTH_INVALID_KEY, FailureKind.AUTH_NO_ORGANIZATION, FailureKind.AUTH_ACCOUNT_DEACTIVATED})
"""Refusals of a secret wherever it is configured."""


def _one_secret(one: Ill, fleet: Fleet) -> str:
    """`project/key`; where one secret is configured in several places, the first of them for all."""
    place = f"{one.target.project}/{one.target.key}"
    return min([place, *fleet.twins.get(place, ())]) if one.failure in _OF_THE_SECRET else place


# What changed -------------------------------------------------------------------------------------------------------------------

Describe = Callable[[Cause, FailureKind, tuple[Ill, ...]], Diagnosis]
"""The words for a cause; asked when an incident opens and when its cause changes."""


def correlate(
    ill: Sequence[Ill],
    fleet: Fleet,
    open_ones: Sequence[Incident],
    lately: Sequence[Incident],
    now: datetime,
    describe: Describe,
) -> list[Change]:
    """What happened to the incidents: opened, widened, merged, resolved, reopened, another cause. Nothing where nothing changed.

    `ill` may hold suspects (`confirmed` false): they tell how far a cause reaches, and open nothing. `lately` are incidents that
    were resolved within the last 15 minutes.
    """
    held: dict[str, list[Ill]] = defaultdict(list)
    """By the key of the open incident that they belong to."""
    known = {incident.cause.key: incident for incident in open_ones}
    moved: dict[str, tuple[Cause, list[Incident]]] = {}
    fresh: list[tuple[Cause, tuple[Ill, ...]]] = []
    for cause, members in sorted(causes(ill, fleet).items(), key=lambda item: _reach(item[0]), reverse=True):
        home = known.get(cause.key) or _wider(cause, members, open_ones, fleet)
        if home is not None:
            held[home.cause.key] += members
        elif _is_ripe(cause, members, fleet, now) and (absorbed := _narrower(cause, members, open_ones, moved, fleet)):
            first = min(absorbed, key=lambda incident: (incident.first_bad_at, incident.id or 0))
            moved[first.cause.key] = (cause, [incident for incident in absorbed if incident is not first])
            held[first.cause.key] += members
        else:
            fresh.append((cause, members))
    merged = {incident.cause.key: first for first, (_, others) in moved.items() for incident in others}
    changes: list[Change | None] = []
    for incident in open_ones:
        key = incident.cause.key
        if key in merged:
            changes.append(_merged(incident, known[merged[key]], now))
        elif not held[key]:
            changes.append(_resolved(incident, now))
        else:
            cause = moved[key][0] if key in moved else incident.cause
            changes.append(_updated(incident, cause, tuple(held[key]), fleet, now, describe))
    for cause, members in fresh:
        if not _is_ripe(cause, members, fleet, now) or all(one.recovering for one in members if one.confirmed):
            continue  # or: what is just passing needs no incident any more
        before = next((each for each in lately if _is_recent(each, now) and _comes_back(each, cause, members, fleet)), None)
        if before is not None:
            wider = max(before.cause, cause, key=_reach)
            changes.append(_reopened(before, wider, members, fleet, now, describe))
        else:
            changes.append(_opened(cause, members, fleet, now, describe))
    return [change for change in changes if change is not None]


def _is_ripe(cause: Cause, members: tuple[Ill, ...], fleet: Fleet, now: datetime) -> bool:
    """Whether it is time to open an incident: trouble with network or server must be more than what chance gives a fleet."""
    sure = [one for one in members if one.confirmed]
    if not sure:
        return False
    after = OPEN_AFTER
    # The question without a key is no better than others where nobody but it fails.
    agreed = len(sure) > 1 and any(one.target.probe is ProbeKind.CONTROL for one in sure)
    if cause.lane in (Lane.NETWORK, Lane.SERVER) and not agreed:
        by_chance = max(2, len(_projects(cause, fleet)) // 50)
        after = OPEN_ALONE_AFTER if len(sure) <= by_chance else OPEN_AFTER
    return now - min(one.since for one in sure) >= after


def _is_recent(incident: Incident, now: datetime) -> bool:
    return incident.merged_into is None and incident.resolved_at is not None and now - incident.resolved_at <= REOPEN_WITHIN


def _wider(cause: Cause, members: tuple[Ill, ...], open_ones: Sequence[Incident], fleet: Fleet) -> Incident | None:
    """The open incident that explains these too: what is left of a wide outage is no new one."""
    for incident in open_ones:
        if incident.cause.lane is cause.lane and _reach(incident.cause) > _reach(cause):
            began = incident.first_bad_at - _TOGETHER
            if all(_covers(incident, one, fleet) and one.since >= began for one in members):
                return incident
    return None


def _covers(incident: Incident, one: Ill, fleet: Fleet) -> bool:
    subject, target = incident.cause.subject, one.target
    if incident.cause.lane is Lane.AUTH and incident.failure is not one.failure:
        return False
    match incident.cause.scope:
        case Scope.PROJECT:
            return target.project == subject
        case Scope.MODEL:
            return subject in (target.model, f"{target.project}/{target.model}")
        case Scope.ORGANIZATION:
            return fleet.organization(target) == subject
        case Scope.OPENAI | Scope.MONITOR:
            return subject in ("", fleet.host(target))
        case _:
            return False


def _narrower(
    cause: Cause, members: tuple[Ill, ...], open_ones: Sequence[Incident], moved: Mapping[str, object], fleet: Fleet
) -> list[Incident]:
    """The open incidents that a wider cause turns out to explain: what they hit lies within it, and began with it."""
    there = _projects(cause, fleet) | {one.target.project or "" for one in members}
    began = min(one.since for one in members) - _APART
    return [
        incident
        for incident in open_ones
        if incident.cause.lane is cause.lane
        and incident.cause.key not in moved
        and _reach(incident.cause) < _reach(cause)
        and incident.projects
        and set(incident.projects) <= there
        and incident.first_bad_at >= began
        and any(one.failure is incident.failure for one in members)
    ]


def _projects(cause: Cause, fleet: Fleet) -> frozenset[str]:
    """Everybody within a cause's reach."""
    if cause.scope is Scope.ORGANIZATION:
        return fleet.organizations.get(cause.subject, frozenset())
    if cause.scope in (Scope.OPENAI, Scope.MONITOR):
        return fleet.hosts.get(cause.subject, frozenset()) if cause.subject else frozenset(fleet.projects)
    return frozenset()


def _opened(cause: Cause, members: tuple[Ill, ...], fleet: Fleet, now: datetime, describe: Describe) -> Change:
    kind = leading(members)
    incident = _with_members(
        Incident(
            cause=cause,
            failure=kind,
            severity=_severity(members),
            first_bad_at=members[0].since,
            opened_at=now,
            named_at=now,
            title="",
            diagnosis=describe(cause, kind, members),
        ),
        members,
        fleet,
    )
    return Change(incident, (Event(now, EventKind.OPENED, incident.title),))


def _updated(
    incident: Incident, cause: Cause, members: tuple[Ill, ...], fleet: Fleet, now: datetime, describe: Describe
) -> Change | None:
    sure = tuple(one for one in members if one.confirmed) or members
    kind = leading(sure)
    if cause == incident.cause and kind not in KNOWS_BETTER and any(one.failure is incident.failure for one in sure):
        kind = incident.failure  # what it was called stays while it is true
    severity = max(incident.severity, _severity(sure), key=lambda each: each.rank)
    new = _with_members(replace(incident, cause=cause, failure=kind, severity=severity), members, fleet)
    events = []
    if cause != incident.cause:
        events.append(Event(now, EventKind.WIDENED, f"It reaches further than it seemed: {new.title}."))
    elif kind is not incident.failure:
        events.append(Event(now, EventKind.CAUSE, f"The cause is another one now: {new.title}."))
    elif severity is not incident.severity:
        events.append(Event(now, EventKind.WIDENED, "It got worse: calls fail now."))
    elif len(new.projects) > len(incident.projects):
        more = [name for name in new.projects if name not in incident.projects]
        events.append(Event(now, EventKind.WIDENED, f"Also hit: {_few(more)}."))
    if cause != incident.cause or kind is not incident.failure:
        new = replace(new, named_at=now, diagnosis=describe(cause, kind, sure))
    return Change(new, tuple(events)) if new != incident else None


def _comes_back(before: Incident, cause: Cause, members: tuple[Ill, ...], fleet: Fleet) -> bool:
    """Whether it is the same trouble again. A platform that is half up shows now at one host and now at all of them."""
    if before.cause.key == cause.key:
        return True
    if cause.lane not in (Lane.SERVER, Lane.NETWORK) or before.cause.lane is not cause.lane:
        return False
    if _reach(before.cause) > _reach(cause):
        return all(_covers(before, one, fleet) for one in members)
    return _reach(before.cause) < _reach(cause) and before.cause.scope is cause.scope


def _reopened(before: Incident, cause: Cause, members: tuple[Ill, ...], fleet: Fleet, now: datetime, describe: Describe) -> Change:
    again = replace(before, resolved_at=None, reopened=before.reopened + 1, acknowledged_at=None, acknowledged_by=None)
    change = _updated(again, cause, members, fleet, now, describe) or Change(again, ())
    said = Event(now, EventKind.REOPENED, "It came back within a quarter of an hour.")
    return Change(change.incident, (said, *change.events))


def _merged(incident: Incident, into: Incident, now: datetime) -> Change:
    said = Event(now, EventKind.MERGED, f"A wider incident explains it: INC-{into.id}.")
    return Change(replace(incident, merged_into=into.id, resolved_at=now, ill=0), (said,))


def _resolved(incident: Incident, now: datetime) -> Change:
    return Change(replace(incident, resolved_at=now, ill=0), (Event(now, EventKind.RESOLVED, "Everything it hit is well again."),))


def _severity(members: Iterable[Ill]) -> Severity:
    failing = any(one.health is Health.FAILING and one.confirmed for one in members)
    return Severity.CRITICAL if failing else Severity.WARNING


def leading(members: Sequence[Ill]) -> FailureKind:
    """The kind to speak of: the commonest of those that settle their cause, else the commonest; of equals the one seen first."""
    counts = Counter(one.failure for one in members)
    for kind in KNOWS_BETTER & counts.keys():
        return kind
    return max(counts, key=lambda kind: (KINDS[kind].definitive, counts[kind]))


def _with_members(incident: Incident, members: Iterable[Ill], fleet: Fleet) -> Incident:
    """The incident with those who are hit now added to those who were."""
    members = tuple(members)
    names = {one.target.project for one in members if one.target.project}
    hit = [fleet.projects[name] for name in names if name in fleet.projects]
    new = replace(
        incident,
        projects=_union(incident.projects, names),
        keys=_union(incident.keys, {f"{one.target.project}/{one.target.key}" for one in members if one.target.key}),
        models=_union(incident.models, {one.target.model for one in members if one.target.model}),
        services=_union(incident.services, {service for project in hit for service in project.services}),
        owners=_union(incident.owners, {project.owner for project in hit if project.owner}),
        environments=_union(incident.environments, {project.environment for project in hit if project.environment}),
        first_bad_at=min([incident.first_bad_at, *(one.since for one in members if incident.id is None)]),
        ill=sum(one.confirmed for one in members),
    )
    return replace(new, title=redact(title(new)))


def _union(old: tuple[str, ...], new: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({*old, *new}))


def title(incident: Incident) -> str:
    """What it is in a few words: `Key “cron” of legacy: key refused`."""
    what, subject = KINDS[incident.failure].title, incident.cause.subject
    many = f" ({len(incident.projects)} projects)" if len(incident.projects) > 1 else ""
    match incident.cause.scope:
        case Scope.KEY:
            project, _, key = subject.partition("/")
            return f"Key “{key}” of {project}: {what}{many}"
        case Scope.MODEL:
            project, _, model = subject.partition("/")
            return f"{model} in {project}: {what}" if model and project in incident.projects else f"{subject}: {what}{many}"
        case Scope.PROJECT:
            return f"Project {subject}: {what}"
        case Scope.ORGANIZATION:
            named = f"Organization {subject}" if "://" not in subject else "The organization"
            return f"{named}: {what}{many}"
        case Scope.OPENAI:
            return f"OpenAI: {what.removeprefix('OpenAI ')}{many}"
        case _:
            part = "secrets" if incident.cause.lane is Lane.CLIENT else "network"
            return f"The monitor's own {part}: {what}{many}"


def _few(names: Sequence[str], most: int = 5) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
