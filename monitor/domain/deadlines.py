"""Days that are known ahead: what ends, when, what breaks then, and who should act before. One list, soonest first.

What cannot be said is said too: `Calendar.open_questions`.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from monitor.domain.alerting import MaintenanceWindow, Silence
from monitor.domain.catalogue import moment
from monitor.domain.coverage import KeyMatch
from monitor.domain.incidents import Severity
from monitor.domain.inventory import Project
from monitor.domain.model_access import Access, Need, exposures
from monitor.domain.organization import Item, ItemKind, Organization
from monitor.domain.spend import Projection, month_ends, project_spend
from monitor.domain.taxonomy import Lane
from monitor.domain.words import Confidence, clock

DAY = timedelta(days=1)
STEPS = (30, 14, 7, 1)
"""Days ahead at which somebody is reminded."""
KEPT = timedelta(days=30)
"""How long a day that has passed stays on the list."""


class DeadlineKind(StrEnum):
    """What ends. Shown, exported, and part of what is remembered of reminders: never rename."""

    KEY_EXPIRY = "key_expiry"
    ADMIN_KEY_EXPIRY = "admin_key_expiry"
    CERTIFICATE_EXPIRY = "certificate_expiry"
    MODEL_SHUTDOWN = "model_shutdown"
    SPEND_LIMIT = "spend_limit"
    """The projected day on which the spend limit is reached."""
    SILENCE_END = "silence_end"
    MAINTENANCE_END = "maintenance_end"


LANES = {
    DeadlineKind.KEY_EXPIRY: Lane.AUTH,
    DeadlineKind.ADMIN_KEY_EXPIRY: Lane.AUTH,
    DeadlineKind.CERTIFICATE_EXPIRY: Lane.AUTH,
    DeadlineKind.MODEL_SHUTDOWN: Lane.ACCESS,
    DeadlineKind.SPEND_LIMIT: Lane.QUOTA,
}
"""What will fail when it comes, by kind. The end of a quiet breaks nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadline:
    """One day ahead, or just passed."""

    kind: DeadlineKind
    at: datetime
    title: str
    """`key checkout/backend expires`: fits behind “in 6 days:”."""
    mark: str
    """The same for one deadline however often it is looked at, and another when its day moves."""
    breaks: str
    """What happens when nobody acts."""
    next_step: str
    evidence: tuple[str, ...] = ()
    confidence: Confidence = Confidence.CERTAIN
    projects: tuple[str, ...] = ()
    """Names here, or OpenAI's where none is configured; empty for the whole organization's."""
    owner: str | None = None
    environments: tuple[str, ...] = ()
    earliest: datetime | None = None
    """Of a projected day, the interval that half of the days would give; None where it has none."""
    latest: datetime | None = None
    """None also where it would not be before the month is over."""
    begins: datetime | None = None
    """Of a quiet, when it began: nobody is reminded of what is shorter than the step."""
    model: str | None = None
    key: str | None = None
    """The label here of a key."""

    def days_left(self, now: datetime) -> int:
        """Whole days by the calendar (UTC) from today; 0 on the day itself, negative once the moment has passed."""
        left = (self.at.date() - now.date()).days
        return left if self.at > now else min(left, -1)

    def severity(self, now: datetime) -> Severity:
        """How much it hurts if nothing is done now."""
        if self.kind not in LANES:
            return Severity.INFO
        left = self.days_left(now)
        return Severity.CRITICAL if left <= STEPS[-1] else Severity.WARNING if left <= STEPS[0] else Severity.INFO


@dataclass(frozen=True, slots=True)
class Calendar:
    """Every deadline, soonest first, and what cannot be said."""

    deadlines: tuple[Deadline, ...] = ()
    open_questions: tuple[str, ...] = ()
    """Sentences: `Key expiry: no admin key is configured.`"""


Spent = Mapping[tuple[str | None, str], Mapping[datetime, float]]
"""By OpenAI's project id and currency (small letters), what each day cost."""
_NEVER_READ = Organization()


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What deadlines are made of."""

    projects: tuple[Project, ...] = ()
    organization: Organization = _NEVER_READ
    matches: tuple[KeyMatch, ...] = ()
    accesses: tuple[Access, ...] = ()
    """At least those of models whose shutdown is announced."""
    listed: bool = False
    """Whether any project was listed the models yet."""
    costs: Spent = field(default_factory=dict)
    """Of this month and of the 14 days before today, for projects with a spend limit; for the organization's under None."""
    silences: tuple[Silence, ...] = ()
    windows: tuple[MaintenanceWindow, ...] = ()


def calendar(facts: Facts, now: datetime) -> Calendar:
    """Every deadline that is known at `now`, soonest first. What passed more than 30 days ago is history."""
    people = _People(facts)
    spend, too_few = _spend(facts, people, now)
    found = [
        *_keys(facts, people),
        *_admin_keys(facts),
        *_certificates(facts, people),
        *_models(facts, now),
        *spend,
        *_silences(facts.silences, now),
        *_windows(facts.windows, now),
    ]
    near = (each for each in found if each.at > now - KEPT)
    ordered = tuple(sorted(near, key=lambda each: (each.at, each.kind, each.title)))
    return Calendar(ordered, (*_unread(facts), *too_few))


_PARTS = {
    ItemKind.API_KEY: "Key expiry",
    ItemKind.ADMIN_KEY: "Expiry of admin keys",
    ItemKind.CERTIFICATE: "Expiry of certificates",
    ItemKind.SPEND_LIMIT: "The day a spend limit is reached",
}
_BY_PART = {kind.value: what for kind, what in _PARTS.items()}
NEEDED = tuple(_PARTS)
"""What of the organization's record deadlines are made of."""


def _unread(facts: Facts) -> Iterator[str]:
    for gap in facts.organization.gaps:
        what = _BY_PART.get(gap.part)
        if what is not None:
            yield f"{what}{f' of {gap.project}' if gap.project else ''}: {gap.reason}."
    if not facts.listed:
        yield "Model shutdowns: no project was listed its models yet."


class _People:
    """Whose what is."""

    def __init__(self, facts: Facts) -> None:
        self._here = {project.project_id: project for project in facts.projects if project.project_id}
        self._there = {item.id: item.name for item in facts.organization.of(ItemKind.PROJECT)}
        self.archived = {item.id for item in facts.organization.of(ItemKind.PROJECT) if item.facts.get("status") == "archived"}
        """Nothing works there any more, so nothing can end."""
        self._labels = {each.api_key: each for each in facts.matches if each.api_key}
        self._named = {project.name: project for project in facts.projects}

    def name(self, project_id: str | None) -> tuple[str, ...]:
        """What the project is called here, else there."""
        if project_id is None:
            return ()
        here = self._here.get(project_id)
        return (here.name if here else self._there.get(project_id, project_id),)

    def of(self, names: Iterable[str]) -> tuple[str | None, tuple[str, ...]]:
        """The owner, where all have the same, and the environments of projects by their names here."""
        known = [self._named[name] for name in names if name in self._named]
        owners = {project.owner for project in known}
        environments = sorted({project.environment for project in known if project.environment})
        return (owners.pop() if len(owners) == 1 else None), tuple(environments)

    def label(self, key: Item) -> KeyMatch | None:
        """Which configured key one of OpenAI's is."""
        return self._labels.get(key.id)


def _shown(item: Item) -> str:
    """The few characters that may be shown of a key."""
    said = item.facts.get("redacted_value")
    return f" ({said})" if isinstance(said, str) and said else ""


def _used(item: Item) -> str:
    at = item.time("last_used_at")
    return f"Last used {clock(at)}." if at else "OpenAI tells no last use."


def _keys(facts: Facts, people: _People) -> Iterator[Deadline]:
    for item in facts.organization.of(ItemKind.API_KEY):
        at = item.time("expires_at")
        if at is None or item.project in people.archived:
            continue
        match = people.label(item)
        projects = (match.project,) if match else people.name(item.project)
        owner, environments = people.of(projects)
        name = f"{match.project}/{match.label}" if match else f"{'/'.join((*projects, item.name))}"
        here = f"configured here as {name}" if match else "which is not configured here"
        yield Deadline(
            kind=DeadlineKind.KEY_EXPIRY,
            at=at,
            title=f"key {name} expires",
            mark=f"{DeadlineKind.KEY_EXPIRY}:{item.id}:{clock(at)}",
            breaks=f"OpenAI refuses every call with the key{_shown(item)} (401).",
            next_step=f"Create a new key for {', '.join(projects) or 'the project'}, put it where this one is read, delete this.",
            evidence=(f"OpenAI's key “{item.name}”{_shown(item)}, {here}, expires {clock(at)}.", _used(item)),
            projects=projects,
            owner=owner,
            environments=environments,
            key=match.label if match else None,
        )


_BLIND = (
    "the organization's record no more, and with it end inventory, changes, usage and most of these deadlines. Watching goes on."
)
_NEW_ADMIN_KEY = (
    "Let an owner of the organization create one that may only read, and put it where the old one is read: no restart is needed."
)


def _admin_keys(facts: Facts) -> Iterator[Deadline]:
    for item in facts.organization.of(ItemKind.ADMIN_KEY):
        at = item.time("expires_at")
        if at is None:
            continue
        ours = item.facts.get("ours")
        evidence = [f"Admin key “{item.name}”{_shown(item)} expires {clock(at)}.", _used(item)]
        if ours is True:
            title, breaks, next_step = f"our admin key “{item.name}” expires", f"The monitor reads {_BLIND}", _NEW_ADMIN_KEY
            evidence.append("It is the one that this monitor reads with: beginning and end are those of the configured secret.")
        elif ours is False:
            title, breaks = f"admin key “{item.name}” expires", "Whoever uses it is refused by the Administration API."
            next_step = "Ask its owner whether it is still needed; if so, replace it before."
            evidence.append("It is not the monitor's own.")
        else:
            title, next_step = f"admin key “{item.name}” expires", _NEW_ADMIN_KEY
            breaks = "Whoever uses it is refused by the Administration API. If it is the monitor's own, the monitor reads " + _BLIND
        yield Deadline(
            kind=DeadlineKind.ADMIN_KEY_EXPIRY,
            at=at,
            title=title,
            mark=f"{DeadlineKind.ADMIN_KEY_EXPIRY}:{item.id}:{clock(at)}",
            breaks=breaks,
            next_step=next_step,
            evidence=tuple(evidence),
        )


def _certificates(facts: Facts, people: _People) -> Iterator[Deadline]:
    """One deadline for each certificate, however many projects it is activated for."""
    copies: dict[str, list[Item]] = defaultdict(list)
    for item in facts.organization.of(ItemKind.CERTIFICATE):
        copies[item.id.rpartition("/")[2]].append(item)
    for number, items in copies.items():
        at = next((at for item in items if (at := item.time("expires_at")) is not None), None)
        if at is None:
            continue
        active = [item for item in items if item.facts.get("active") is True]
        projects = tuple(sorted({name for item in active for name in people.name(item.project)}))
        owner, environments = people.of(projects)
        everybody = any(item.project is None for item in active)
        name = items[0].name
        whose = "every project" if everybody else ", ".join(projects)
        yield Deadline(
            kind=DeadlineKind.CERTIFICATE_EXPIRY,
            at=at,
            title=f"certificate “{name}” expires",
            mark=f"{DeadlineKind.CERTIFICATE_EXPIRY}:{number}:{clock(at)}",
            breaks=f"Calls of {whose} over mutual TLS are refused." if active else "Nothing: it is not active anywhere.",
            next_step="Upload and activate its successor before, then move the services to it." if active else "Delete it.",
            evidence=(f"Certificate “{name}” expires {clock(at)}; active for {whose or 'nobody'}.",),
            projects=() if everybody else projects,
            owner=None if everybody else owner,
            environments=() if everybody else environments,
        )


def _models(facts: Facts, now: datetime) -> Iterator[Deadline]:
    """One deadline for each model and owner."""
    for each in exposures(facts.accesses, now.date()):
        by_owner: dict[str | None, list[Access]] = defaultdict(list)
        for access in each.who:
            by_owner[access.owner].append(access)
        for owner, who in by_owner.items():
            known = [access.use for access in who if access.use is not None]
            asked = f"about {sum(use.requests for use in known):,.0f} requests a day" if known else "how many is not known"
            names = [access.project for access in who]
            needs = sum(access.need is Need.REQUIRED for access in who)
            yield Deadline(
                kind=DeadlineKind.MODEL_SHUTDOWN,
                at=moment(each.day),
                title=f"model {each.model} is shut down",
                mark=f"{DeadlineKind.MODEL_SHUTDOWN}:{each.model}:{owner or ''}:{each.day}",
                breaks=f"Calls of {each.model} by {_named(names)} are refused ({asked}).",
                next_step=f"Move {_named(names)} to the successor named on platform.openai.com/docs/deprecations.",
                evidence=(
                    f"OpenAI's list of models says {each.day} for {each.model}.",
                    f"{needs} of {len(who)} name it in monitor.toml; {asked}.",
                ),
                projects=tuple(names),
                owner=owner,
                environments=tuple(sorted({access.environment for access in who if access.environment})),
                model=each.model,
            )


def _named(names: Collection[str], most: int = 4) -> str:
    shown = sorted(names) if len(names) <= most else [*sorted(names)[: most - 1], f"{len(names) - most + 1} more"]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


# Spend ----------------------------------------------------------------------------------------------------------------------------


def _spend(facts: Facts, people: _People, now: datetime) -> tuple[list[Deadline], list[str]]:
    found, unknown, few = [], [], []
    for item in facts.organization.of(ItemKind.SPEND_LIMIT):
        cents, currency = item.facts.get("threshold_amount"), str(item.facts.get("currency") or "usd")
        names = people.name(item.project)
        whose = names[0] if names else "the organization"
        if (
            item.project in people.archived
            or isinstance(cents, bool)
            or not isinstance(cents, int | float)
            or not 0 < cents < 10**15
        ):
            continue
        if item.facts.get("interval", "month") != "month":
            unknown.append(f"The day the spend limit of {whose} is reached: it does not run by the month.")
            continue
        made = project_spend(facts.costs.get((item.project, currency.lower()), {}), cents / 100, now)
        if isinstance(made, str):
            few.append((whose, made))
        elif made is not None:
            found.append(_spend_deadline(item, made, cents / 100, currency.upper(), names, people, now))
    reasons: dict[str, list[str]] = defaultdict(list)
    for whose, reason in few:
        reasons[reason].append(whose)
    unknown += [f"The day the spend limit of {_named(who)} is reached: {reason}." for reason, who in reasons.items()]
    return found, unknown


def _spend_deadline(
    item: Item, made: Projection, limit: float, currency: str, names: tuple[str, ...], people: _People, now: datetime
) -> Deadline:
    owner, environments = people.of(names)
    whose = names[0] if names else "the organization"
    reached = made.spent >= limit
    enforced = item.facts.get("enforcement") == "enforcing"
    span = f"between {made.earliest:%Y-%m-%d} and " + (f"{made.latest:%Y-%m-%d}" if made.latest else "the end of the month")
    pace = f"{made.rate:,.2f} a day, the median of {made.days} days"
    rests = f"{made.spent:,.2f} of {limit:,.2f} {currency} are spent this month"
    return Deadline(
        kind=DeadlineKind.SPEND_LIMIT,
        at=made.at,
        title=f"the spend limit of {whose} is reached",
        # Neither the day nor the rate, which change with every day's costs.
        mark=f"{DeadlineKind.SPEND_LIMIT}:{item.project or ''}:{now:%Y-%m}:{limit:.2f}",
        breaks=f"OpenAI refuses the calls of {whose} until {month_ends(now):%Y-%m-%d}, or until the limit is raised"
        + (": it does so now." if enforced else "."),
        next_step=f"Find what costs so much, or raise the limit of {whose} in platform.openai.com → Limits.",
        evidence=(f"{rests}.",) if reached else (f"{rests}; {pace}.", f"Likely {span}."),
        confidence=Confidence.CERTAIN if reached else Confidence.LIKELY if made.days >= 7 else Confidence.POSSIBLE,
        projects=names,
        owner=owner,
        environments=environments,
        earliest=None if reached else made.earliest,
        latest=None if reached else made.latest,
    )  # fmt: skip


# Quiet ----------------------------------------------------------------------------------------------------------------------------


def _silences(silences: Iterable[Silence], now: datetime) -> Iterator[Deadline]:
    for each in silences:
        if not each.starts <= now < each.ends:
            continue
        about = [part for part in (each.project, each.owner, each.environment, each.lane.value if each.lane else None) if part]
        about += [f"INC-{each.incident_id}"] if each.incident_id else []
        what = ", ".join(about) or "everything"
        yield Deadline(
            kind=DeadlineKind.SILENCE_END,
            at=each.ends,
            title=f"the silence about {what} ends",
            mark=f"{DeadlineKind.SILENCE_END}:{each.id}:{clock(each.ends)}",
            breaks="What is still open then is told.",
            next_step="Mend what was silenced, or renew the silence.",
            evidence=(f"By {each.by}, since {clock(each.starts)}{f': {each.text}' if each.text else ''}.",),
            projects=(each.project,) if each.project else (),
            owner=each.owner,
            environments=(each.environment,) if each.environment else (),
            begins=each.starts,
        )


def _windows(windows: Iterable[MaintenanceWindow], now: datetime) -> Iterator[Deadline]:
    """Those that go on. One that comes again and again ends nothing."""
    for each in windows:
        if each.every is not None or not each.starts <= now < each.until:
            continue
        yield Deadline(
            kind=DeadlineKind.MAINTENANCE_END,
            at=each.until,
            title=f"the maintenance “{each.name}” ends",
            mark=f"{DeadlineKind.MAINTENANCE_END}:{each.name}:{clock(each.until)}",
            breaks="What is still open then is told.",
            next_step="End the work, or make the window longer in monitor.toml.",
            evidence=(f"Planned from {clock(each.starts)}.",),
            projects=each.projects,
            owner=each.owners[0] if len(each.owners) == 1 else None,
            environments=each.environments,
            begins=each.starts,
        )
