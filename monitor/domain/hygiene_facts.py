"""What is known of each key and project when the rules look at them: ours and OpenAI's side by side, each with when it was read."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from monitor.domain.binding import Binding, Tried
from monitor.domain.coverage import KeyMatch, Matched
from monitor.domain.inventory import ApiKey, KeyKind, Project
from monitor.domain.organization import NO_ADMIN_KEY, Item, ItemKind, Organization

NO_USAGE = "the usage of the organization has not been read"


@dataclass(frozen=True, slots=True)
class Reading:
    """Whether a part of the organization's record is known."""

    at: datetime | None = None
    """When it was read last; None where it never was."""
    why: str = NO_ADMIN_KEY
    """Why it was not, in words."""


@dataclass(frozen=True, slots=True)
class KeyUse:
    """What OpenAI counted for one key. Calls that were refused, and free ones, are in no usage figure."""

    since: datetime
    """From here on usage is known …"""
    until: datetime
    """… up to here."""
    requests: int = 0
    """Of the last 30 days."""
    input_tokens: int = 0
    """Of the last 30 days."""
    last_at: datetime | None = None
    """The last day (UTC) with a request; None where there is none in what is known, or in 90 days."""
    models: tuple[str, ...] = ()
    """Of the last 30 days, sorted."""

    def days(self) -> int:
        """For how many whole days usage is known."""
        return max((self.until - self.since).days, 0)

    def quiet(self, days: int) -> bool:
        """Whether there was no request in so many days, at most 90."""
        return self.last_at is None or self.last_at < self.until - timedelta(days=days + 1)


@dataclass(frozen=True, slots=True)
class DeniedModel:
    """What the probe found of a model that must be refused."""

    model: str
    usable: bool
    at: datetime | None


Limits = Mapping[str, tuple[tuple[str, int], ...]]
"""By model, its limits as name and value, sorted."""


@dataclass(frozen=True, slots=True)
class ProjectFacts:
    """One project, with its keys apart."""

    project: Project
    readings: Mapping[ItemKind, Reading] = field(default_factory=dict)
    record: Item | None = None
    permissions: Item | None = None
    spend_limit: Item | None = None
    organization_spend_limit: Item | None = None
    limits: Limits | None = None
    """None where they are not known; empty where the project has none."""
    highest: Limits = field(default_factory=dict)
    """Of each model, the limits that the most generous projects have, where at least two have the same."""
    denied: tuple[DeniedModel, ...] = ()
    unbound_keys: int = 0
    """Keys here that belong to no project."""

    @property
    def name(self) -> str:
        """Its name here."""
        return self.project.name

    def reading(self, kind: ItemKind) -> Reading:
        """How far a part of its record is known."""
        return self.readings.get(kind, Reading())


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """One key: configured here, known to OpenAI, or both."""

    project: ProjectFacts
    label: str | None = None
    """None where nobody configured it."""
    kind: KeyKind = KeyKind.UNKNOWN
    fingerprint: str | None = None
    source: str | None = None
    first_seen: datetime | None = None
    record: Item | None = None
    record_reading: Reading = Reading()
    owner_gone: str | None = None
    """Why the owner counts as gone, in words; None where nothing says so."""
    same_secret: tuple[str, ...] = ()
    """Others here with the same secret or the same record, as `project/label`, sorted."""
    use: KeyUse | None = None
    own_requests: int = 0
    """At most so many calls the monitor itself made with it in the last 30 days."""
    binding: Binding | None = None
    refuses: bool = False
    """Whether the endpoint that was asked for the binding refused at least one key."""
    only_key: bool = False
    """Whether its project has no other key here."""
    perhaps_watched: bool = False
    """Of a key that only OpenAI knows: whether a key configured here cannot be told from it."""

    @property
    def name(self) -> str:
        """What people call it."""
        return self.label or (self.record.name if self.record else "")

    @property
    def api_key(self) -> str | None:
        """OpenAI's id of it."""
        return self.record.id if self.record else None

    @property
    def subject(self) -> str:
        """As its scores are stored."""
        return f"key:{self.project.name}/{self.label}" if self.label is not None else f"key:{self.api_key}"

    def expires_in(self, now: datetime) -> str | None:
        """When it expires, in words; None where OpenAI names no day, or its record is not known. Days are those of the calendar
        (UTC), as of every deadline.
        """
        ends = self.record.time("expires_at") if self.record else None
        if ends is None:
            return None
        days = abs((ends.date() - now.date()).days)
        if days == 0:
            return "today"
        said = "1 day" if days == 1 else f"{days:,} days"
        return f"in {said}" if ends > now else f"{said} ago"

    @property
    def owner_type(self) -> str | None:
        """`user`, `service_account`, or None where neither OpenAI nor the prefix says. OpenAI's word counts more."""
        said = self.record.facts.get("owner_type") if self.record else None
        if said in ("user", "service_account"):
            return str(said)
        return _BY_PREFIX.get(self.kind)

    @property
    def tail(self) -> str:
        """Its last four characters, where they are known."""
        shown = self.fingerprint.partition("…")[2] if self.fingerprint else ""
        return shown or (str(self.record.facts.get("redacted_value") or "").rpartition("…")[2][-4:] if self.record else "")


_BY_PREFIX = {
    KeyKind.PROJECT_USER: "user",
    KeyKind.USER_LEGACY: "user",
    KeyKind.USER_UNSCOPED: "user",
    KeyKind.SERVICE_ACCOUNT: "service_account",
}
UNBOUND = (KeyKind.USER_LEGACY, KeyKind.USER_UNSCOPED)


@dataclass(frozen=True, slots=True)
class Gathered:
    """Everything that an evaluation needs, as the store has it."""

    projects: tuple[Project, ...]
    """With their keys."""
    organization: Organization = field(default_factory=Organization)
    """Projects, keys, members, users, service accounts, model permissions, spend limits; rate limits are apart."""
    readings: Mapping[tuple[str, str | None], Reading] = field(default_factory=dict)
    """By part and OpenAI's project id."""
    never_read: str = NO_ADMIN_KEY
    """Why a part that is in no reading is not known."""
    matches: tuple[KeyMatch, ...] = ()
    first_seen: Mapping[tuple[str, str], datetime] = field(default_factory=dict)
    limits: Mapping[str, Limits] = field(default_factory=dict)
    """By OpenAI's project id."""
    use: Mapping[str, KeyUse] = field(default_factory=dict)
    """By OpenAI's key id."""
    no_use: KeyUse | None = None
    """What a key that is in no usage row was used: nothing, in the time that is known. None where usage is not known."""
    own_requests: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """By project's name and label: calls that the monitor itself made with the key in the last 30 days."""
    denied: Mapping[str, tuple[DeniedModel, ...]] = field(default_factory=dict)
    bindings: Mapping[tuple[str, str], Binding] = field(default_factory=dict)


_OF_PROJECT = (
    ItemKind.API_KEY,
    ItemKind.SERVICE_ACCOUNT,
    ItemKind.MEMBER,
    ItemKind.RATE_LIMIT,
    ItemKind.MODEL_PERMISSIONS,
    ItemKind.SPEND_LIMIT,
)


def assembled(known: Gathered) -> Iterator[tuple[ProjectFacts, tuple[KeyFacts, ...]]]:
    """Each configured project with its keys: those configured here first, then those that only OpenAI knows, by name."""
    there = _Joined(known)
    for project in known.projects:
        facts = there.project(project)
        keys = [there.configured(facts, key) for key in project.keys]
        rest = (item for item in there.records.get(project.project_id or "", ()) if item.id not in there.taken)
        unproven = any(each.record is None and there.may_be_any(each) for each in keys)
        keys += [there.unwatched(facts, item, unproven) for item in sorted(rest, key=lambda item: (item.name, item.id))]
        yield facts, tuple(keys)


class _Joined:
    """What many keys and projects look up, sorted once."""

    def __init__(self, known: Gathered) -> None:
        self.known = known
        organization = known.organization
        self.items = {item.id: item for item in organization.of(ItemKind.PROJECT)}
        self.records = _by_project(organization.of(ItemKind.API_KEY))
        self.permissions = {item.project: item for item in organization.of(ItemKind.MODEL_PERMISSIONS)}
        self.spend = {item.project: item for item in organization.of(ItemKind.SPEND_LIMIT)}
        self.users = {item.id: item for item in organization.of(ItemKind.USER)}
        self.members = {item.id for item in organization.of(ItemKind.MEMBER)}
        self.accounts = {item.id for item in organization.of(ItemKind.SERVICE_ACCOUNT)}
        self.matches = {(each.project, each.label): each for each in known.matches}
        self.taken = {each.api_key for each in known.matches if each.api_key}
        self.by_id = {item.id: item for item in organization.of(ItemKind.API_KEY)}
        self.highest = _highest(known.limits)
        self.same = _same_secrets(known.projects, self.matches)
        self.refusing = {each.host for each in known.bindings.values() if each.tried is Tried.REFUSED}

    def reading(self, kind: ItemKind, project: str | None) -> Reading:
        return self.known.readings.get((kind.value, project)) or Reading(None, self.known.never_read)

    def project(self, project: Project) -> ProjectFacts:
        number = project.project_id
        missing = Reading(None, "the project’s id is not configured, so its record cannot be found")
        readings = {kind: self.reading(kind, number) if number else missing for kind in _OF_PROJECT}
        listed = self.reading(ItemKind.PROJECT, None)
        readings[ItemKind.PROJECT] = listed if number else missing
        if number and listed.at is not None and number not in self.items:
            gone = Reading(None, "the organization whose record is read has no such project")
            readings = dict.fromkeys(readings, gone)
        return ProjectFacts(
            project,
            readings,
            record=self.items.get(number or ""),
            permissions=self.permissions.get(number) if number else None,
            spend_limit=self.spend.get(number) if number else None,
            organization_spend_limit=self.spend.get(None),
            limits=self.known.limits.get(number, {}) if number and readings[ItemKind.RATE_LIMIT].at else None,
            highest=self.highest,
            denied=self.known.denied.get(project.name, ()),
            unbound_keys=sum(key.kind in UNBOUND for key in project.keys),
        )

    def configured(self, facts: ProjectFacts, key: ApiKey) -> KeyFacts:
        place = (facts.name, key.label)
        match = self.matches.get(place)
        record = self.by_id.get(match.api_key or "") if match else None
        reading = self.reading(ItemKind.API_KEY, record.project) if record else self._why_no_record(facts, match)
        binding = self.known.bindings.get(place)
        if binding is not None and binding.fingerprint != key.fingerprint:
            binding = None  # another secret was tried
        return KeyFacts(
            facts,
            key.label,
            key.kind,
            key.fingerprint,
            key.source,
            self.known.first_seen.get(place),
            record,
            reading,
            self._owner_gone(record),
            self.same.get(place, ()),
            self._use(record),
            self.known.own_requests.get(place, 0),
            binding,
            refuses=binding is not None and binding.host in self.refusing,
            only_key=len(facts.project.keys) == 1,
        )

    def may_be_any(self, key: KeyFacts) -> bool:
        """Whether a key here may be one of OpenAI's that nobody could tell."""
        match = self.matches.get((key.project.name, key.label or ""))
        return match is None or match.matched is Matched.AMBIGUOUS

    def unwatched(self, facts: ProjectFacts, record: Item, unproven: bool) -> KeyFacts:
        reading = self.reading(ItemKind.API_KEY, record.project)
        return KeyFacts(
            facts,
            record=record,
            record_reading=reading,
            owner_gone=self._owner_gone(record),
            use=self._use(record),
            perhaps_watched=unproven,
        )

    def _use(self, record: Item | None) -> KeyUse | None:
        return self.known.use.get(record.id, self.known.no_use) if record else None

    def _why_no_record(self, facts: ProjectFacts, match: KeyMatch | None) -> Reading:
        listed = facts.reading(ItemKind.API_KEY)
        if listed.at is None:
            return listed
        if match is None:
            return Reading(None, "it has not been compared with the organization’s keys yet")
        if match.matched is Matched.AMBIGUOUS:
            return Reading(None, "several of OpenAI’s keys look like it: say which by key_id in the configuration")
        return Reading(None, "none of the organization’s keys looks like it")

    def _owner_gone(self, record: Item | None) -> str | None:
        """Where OpenAI itself says that the owner has access, nothing is concluded from lists."""
        if record is None:
            return None
        facts = record.facts
        access, owner, kind = facts.get("owner_project_access"), facts.get("owner_id"), facts.get("owner_type")
        if access == "inactive":
            return "OpenAI says that its owner has no access to the project any more"
        if access == "active" or not isinstance(owner, str):
            return None
        if kind == "service_account":
            listed = self.reading(ItemKind.SERVICE_ACCOUNT, record.project).at
            return "its service account is not in the project any more" if listed and owner not in self.accounts else None
        if self.reading(ItemKind.USER, None).at and owner not in self.users:
            return "its owner is not in the organization any more"
        member = f"{record.project}/{owner}" in self.members
        user = self.users.get(owner)
        # Who owns the organization is in every project without being listed in it.
        if self.reading(ItemKind.MEMBER, record.project).at and not member and user and user.facts.get("role") == "reader":
            return "its owner is not a member of the project any more"
        return None


def _by_project(items: Collection[Item]) -> dict[str, list[Item]]:
    found: dict[str, list[Item]] = {}
    for item in items:
        found.setdefault(item.project or "", []).append(item)
    return found


def _same_secrets(
    projects: Collection[Project], matches: Mapping[tuple[str, str], KeyMatch]
) -> dict[tuple[str, str], tuple[str, ...]]:
    """Who else has the same secret, by its fingerprint here or because both were found to be one key of OpenAI's."""
    holders: dict[str, set[tuple[str, str]]] = {}
    for project in projects:
        for key in project.keys:
            place = (project.name, key.label)
            match = matches.get(place)
            for mark in (key.fingerprint, match.api_key if match else None):
                if mark:
                    holders.setdefault(mark, set()).add(place)
    found: dict[tuple[str, str], set[str]] = {}
    for places in holders.values():
        if len(places) > 1:
            for place in places:
                found.setdefault(place, set()).update(f"{name}/{label}" for name, label in places if (name, label) != place)
    return {place: tuple(sorted(others)) for place, others in found.items()}


def _highest(limits: Mapping[str, Limits]) -> dict[str, tuple[tuple[str, int], ...]]:
    """Of each model the most generous limits, where at least two projects have the same: what nobody lowered looks like that."""
    seen: dict[str, dict[tuple[tuple[str, int], ...], int]] = {}
    for each in limits.values():
        for model, values in each.items():
            of_model = seen.setdefault(model, {})
            of_model[values] = of_model.get(values, 0) + 1
    found = {}
    for model, counts in seen.items():
        most = max(counts, key=lambda values: (sum(number for _, number in values), values))
        names = {name for values in counts for name, _ in values}
        tops = {name: max((dict(values).get(name, 0) for values in counts), default=0) for name in names}
        if counts[most] > 1 and dict(most) == tops:
            found[model] = most
    return found
