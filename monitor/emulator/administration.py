"""The organization's own record, behind the Administration API: who and what it has, what it allows and spends, who changed what.

It tells what the platform does: `World` asks it whether a key is accepted, and tells it what happens. A person or certificate that
is made with a `created_at` was there before the story begins; what is made without is made now, and audited.
"""

import hashlib
import math
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from monitor.emulator.limits import Bucket, Traffic
from monitor.emulator.usage import Epoch, Ledger, Series

if TYPE_CHECKING:
    from monitor.emulator.world import Key, Project, World

T = TypeVar("T")

MANAGEMENT_READ = "api.management.read"
HOSTED_TOOLS = ("file_search", "web_search", "image_generation", "mcp", "code_interpreter")
TROUBLES = ("error", "forbidden", "absent", "unauthorized", "limited", "not_json", "same_page", "endless")
"""What may be wrong with an endpoint: 500, 403, 404, 401, 429, a page of HTML, a last page that says there is more after it, and a
list that goes on for ever with new ids."""
TENANT_LOG = "tenant_audit_logs"
"""How the audit log is called as an endpoint where it is asked for the tenant's events alone."""

_KINDS = ("sk-proj-", "sk-svcacct-", "sk-service-", "sk-admin-", "sk-None-", "sk-")
_ASSUMED_LIMIT = 10_000


class Shelf(Generic[T]):
    """Things in the order of their moments, found by id, and paged by cursor without looking at all of them."""

    def __init__(self) -> None:
        self._order: list[tuple[float, int, str]] = []
        self._places: dict[str, tuple[float, int, str]] = {}
        self._things: dict[str, T] = {}
        self._added = 0

    def __contains__(self, id: str) -> bool:  # noqa: A002 - OpenAI's word
        return id in self._things

    def __iter__(self) -> Iterator[T]:
        return (self._things[place[2]] for place in self._order)

    def __len__(self) -> int:
        return len(self._order)

    def get(self, id: str) -> T | None:  # noqa: A002 - OpenAI's word
        """The thing with the id."""
        return self._things.get(id)

    def add(self, id: str, thing: T, moment: float) -> None:  # noqa: A002 - OpenAI's word
        """Put a thing where its moment belongs."""
        self._added += 1
        place = (moment, self._added, id)
        insort(self._order, place)
        self._places[id], self._things[id] = place, thing

    def remove(self, id: str) -> None:  # noqa: A002 - OpenAI's word
        """Take a thing away."""
        place = self._places.pop(id)
        del self._order[bisect_left(self._order, place)]
        del self._things[id]

    def since(self, moment: float) -> int:
        """How many are older than `moment`."""
        return bisect_left(self._order, (moment, 0, ""))

    def page(
        self,
        limit: int,
        after: str | None = None,
        before: str | None = None,
        *,
        newest_first: bool = False,
        keep: Callable[[T], bool] | None = None,
        between: tuple[float, float] = (-math.inf, math.inf),
    ) -> tuple[list[T], bool]:
        """At most `limit` things, of moments in [from, until), and whether there are more. Raises KeyError for a wrong cursor."""
        low, high = self.since(between[0]), self.since(between[1])
        first, last = (after, before) if not newest_first else (before, after)
        if first is not None:
            low = max(low, bisect_left(self._order, self._places[first]) + 1)
        if last is not None:
            high = min(high, bisect_left(self._order, self._places[last]))
        # The page before a cursor is the one that ends at it.
        from_the_end = before is not None and after is None
        forwards = newest_first == from_the_end
        found: list[T] = []
        for index in range(low, high) if forwards else range(high - 1, low - 1, -1):
            thing = self._things[self._order[index][2]]
            if keep is None or keep(thing):
                found.append(thing)
                if len(found) > limit:
                    break
        more, found = len(found) > limit, found[:limit]
        return found[::-1] if from_the_end else found, more


@dataclass
class User:
    """A person of an organization. `role` is owner or reader."""

    id: str
    organization: str
    email: str
    name: str
    role: str
    added_at: int


@dataclass
class ServiceAccount:
    """What a key of a service belongs to."""

    id: str
    name: str
    role: str
    created_at: int


@dataclass
class KeyRecord:
    """A key of a project, without its secret."""

    id: str
    name: str
    redacted: str
    owner: User | ServiceAccount
    created_at: int
    expires_at: int | None = None
    last_used_at: int | None = None


@dataclass
class AdminKey:
    """A key that may ask the Administration API. `scopes` None is an unrestricted key."""

    secret: str
    organization: str
    record: KeyRecord
    scopes: frozenset[str] | None = None


@dataclass
class Certificate:
    """A certificate for mutual TLS, and where it is active: project ids, or the organization's."""

    id: str
    organization: str
    name: str
    created_at: int
    valid_at: int
    expires_at: int
    active: set[str] = field(default_factory=set)


@dataclass
class SpendLimit:
    """What may be spent in a month, in cents."""

    cents: int
    enforcing: bool = False


@dataclass
class ProjectRecord:
    """What is known of a project beside its models."""

    project: "Project"
    created_at: int
    archived_at: int | None = None
    residency: str | None = None
    keys: Shelf[str] = field(default_factory=Shelf)
    """Secrets, by key id."""
    secrets: list[str] = field(default_factory=list)
    """All there ever were, and those that no list shows."""
    service_accounts: Shelf[ServiceAccount] = field(default_factory=Shelf)
    members: Shelf[tuple[User, str, int]] = field(default_factory=Shelf)
    """User, role and when added."""
    tools_off: set[str] = field(default_factory=set)
    default_tier: str = "standard"
    tiers: str | list[str] = "all"


@dataclass
class Organization:
    """What an organization has."""

    id: str
    projects: Shelf[ProjectRecord] = field(default_factory=Shelf)
    users: Shelf[User] = field(default_factory=Shelf)
    admin_keys: Shelf[AdminKey] = field(default_factory=Shelf)
    certificates: Shelf[Certificate] = field(default_factory=Shelf)
    audit: Shelf[dict[str, Any]] = field(default_factory=Shelf)

    @property
    def owner(self) -> User:
        """Who does what nobody else is named for."""
        return next(user for user in self.users if user.role == "owner")


@dataclass(frozen=True)
class EndpointTrouble:
    """Something wrong with endpoints of the Administration API on purpose."""

    kind: str
    endpoint: str | None
    project: str | None
    share: float
    until: float

    def hits(self, path: str, now: float, chance: float) -> bool:
        """Whether it concerns a request for `path`, as it stands below /v1/organization."""
        parts = path.strip("/").split("/")
        here = self.endpoint is None or self.endpoint in (path.strip("/"), parts[-1], "/".join(parts[-2:]), parts[0])
        mine = self.project is None or (len(parts) > 1 and parts[0] == "projects" and parts[1] == self.project)
        return here and mine and now < self.until and chance < self.share


class Administration:
    """The record of every organization of a world."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.organizations: dict[str, Organization] = {}
        self.projects: dict[str, ProjectRecord] = {}
        self.keys: dict[str, KeyRecord] = {}
        """By secret. Deleted keys are not in it."""
        self.admin_keys: dict[str, AdminKey] = {}
        self.spend_limits: dict[str, SpendLimit] = {}
        """Of projects and organizations, by their id."""
        self.spend_alerts: dict[str, Shelf[tuple[str, int, list[str]]]] = {}
        """Id, cents and recipients, by the id of project or organization."""
        self.presented: dict[str, str] = {}
        """Ids of certificates, by the id of the project or organization whose calls come with them."""
        self._redacted: Callable[[str], str] = _documented
        self.usage = Ledger(lambda: world.clock())  # noqa: PLW0108 - a story stops the clock by replacing it
        self.troubles: list[EndpointTrouble] = []
        self.bucket: Bucket | None = None
        """The limit of requests a second, where there is one."""
        self._carriers: dict[tuple[str, str], str] = {}
        """Whose key carries the traffic of a project for a model: secrets."""
        self._people: dict[str, User] = {}
        """By id and by e-mail."""
        self._gone: dict[str, KeyRecord] = {}
        """Deleted keys, by secret."""
        self._made: dict[str, int] = {}

    # What World tells -----------------------------------------------------------------------------------------------------------

    def project_added(self, project: "Project", created_at: float | None = None) -> None:
        """A project is there."""
        organization = self.organizations.get(project.organization)
        if organization is None:
            organization = self.organizations[project.organization] = Organization(project.organization)
        if not len(organization.users):
            email = f"owner@{self._world.slugs[project.organization]}.example"
            self.add_user(project.organization, email, "Olive Owner", "owner", 0)
        moment = self._moment(created_at)
        self.projects[project.id] = record = ProjectRecord(project, int(moment))
        organization.projects.add(project.id, record, moment)

    def key_added(
        self,
        key: "Key",
        name: str = "",
        owner: str | None = None,
        created_at: float | None = None,
        expires_at: float | None = None,
    ) -> None:
        """A key is there. `owner` is a person's e-mail or the name of a service account; without it, what the key's prefix says."""
        record, moment = self.projects[key.project], self._moment(created_at)
        kind = _kind(key.secret)
        who: User | ServiceAccount
        if kind in ("sk-svcacct-", "sk-service-"):
            who = self._service_account(record, owner or name or "service", moment)
        else:
            organization = self.organizations[record.project.organization]
            who = self._user(owner) if owner is not None else organization.owner
            if who.role != "owner" and who.id not in record.members:
                record.members.add(who.id, (who, "member", int(moment)), moment)
        number, shown = self._id("key_", key.secret), self._redacted(key.secret)
        made = KeyRecord(number, name or "key", shown, who, int(moment), _whole(expires_at))
        self.keys[key.secret] = made
        record.secrets.append(key.secret)
        if kind not in ("sk-", "sk-None-"):  # those belong to a person and to no project: no list of a project has them
            record.keys.add(made.id, key.secret, moment)
        self.reckon(key.project)

    def key_deleted(self, key: "Key", by: str | None = None) -> None:
        """A key is gone for good."""
        made = self.keys.pop(key.secret, None)
        if made is None:
            return
        self._gone[key.secret] = made
        record = self.projects[key.project]
        if made.id in record.keys:
            record.keys.remove(made.id)
        self.note("api_key.deleted", {"id": made.id}, key.project, by)
        self.reckon(key.project)

    def key_created(self, key: "Key", by: str | None = None) -> None:
        """The audit events of a key that was added: it stands in both logs."""
        scopes = {"data": {"scopes": sorted(key.scopes)}} if key.scopes is not None else {}
        self.note("api_key.created", {"id": self.keys[key.secret].id, **scopes}, key.project, by)
        self.note("tenant.project_api_key.created", {"id": self.keys[key.secret].id}, key.project, by)

    def key_restored(self, key: "Key", by: str | None = None) -> None:
        """A deleted key works again: on the record it is a new one with the old name and owner."""
        was = self._gone[key.secret]
        self.key_added(key, was.name, was.owner.email if isinstance(was.owner, User) else was.owner.name)
        self.key_created(key, by)

    def key_restricted(self, key: "Key", by: str | None = None) -> None:
        """The scopes of a key changed."""
        scopes = sorted(key.scopes) if key.scopes is not None else ["api.all"]
        if key.secret in self.keys:
            self.note("api_key.updated", {"id": self.keys[key.secret].id, "changes_requested": {"scopes": scopes}}, key.project, by)

    def key_replaced(self, old: "Key", new: "Key", by: str | None = None) -> None:
        """A key took over the name, the owner and the traffic of another, which is still there."""
        was = self.keys[old.secret]
        self.key_added(new, was.name, was.owner.email if isinstance(was.owner, User) else was.owner.name)
        self.key_created(new, by)
        for whose, secret in self._carriers.items():
            if secret == old.secret:
                self._carriers[whose] = new.secret
        self.reckon(new.project)

    def limited(self, whose: str, model: str, changed: dict[str, int], by: str | None = None) -> None:
        """The limits of a project for a model were set, or reset with nothing in `changed`. No event tells of an organization's."""
        if whose in self.projects:
            names = {"requests": "max_requests_per_1_minute", "tokens": "max_tokens_per_1_minute"}
            requested = {names[metric]: value for metric, value in changed.items()}
            detail = {"id": f"rl-{model}"} | ({"changes_requested": requested} if requested else {})
            self.note("rate_limit.updated" if requested else "rate_limit.deleted", detail, whose, by)
            self.reckon(whose)
        elif whose in self.organizations:
            for record in self.organizations[whose].projects:
                self.reckon(record.project.id)

    def traffic_set(self, project: str, model: str, requests: Traffic, tokens: Traffic, secret: str | None = None) -> None:
        """A project has traffic for a model: of the key `secret`, or of its first."""
        if secret is not None:
            self._carriers[project, model] = secret
        flow = self.usage.begin(project, model)
        flow.change(self._epoch(project, model, requests, tokens))

    def used(self, key: "Key", model: str, input: int, output: int) -> None:  # noqa: A002 - OpenAI's word
        """A call of a key reached the model."""
        self.usage.count(self._series(key, model), 1, input, output)

    def touched(self, key: "Key") -> None:
        """A key was accepted."""
        made = self.keys.get(key.secret)
        if made is not None:
            made.last_used_at = int(self._now())

    # What World asks ------------------------------------------------------------------------------------------------------------

    def accepts(self, key: "Key") -> bool:
        """Whether the key opens anything: there is no telling the reasons apart from outside."""
        made, record = self.keys.get(key.secret), self.projects[key.project]
        if made is None or record.archived_at is not None:
            return False
        return (made.expires_at is None or self._now() < made.expires_at) and self.has_access(record, made)

    def admits(self, project: "Project") -> bool:
        """Whether calls of a project come with a certificate that is demanded and has not expired, or none is demanded.

        Uploading one demands nothing; the active ones of project and organization are, and any of them will do.
        """
        home = self.organizations[project.organization]
        demanded = [made for made in home.certificates if not made.active.isdisjoint((project.id, home.id))]
        shown = self.presented.get(project.id, self.presented.get(home.id))
        return not demanded or any(made.id == shown and self._now() < made.expires_at for made in demanded)

    def has_access(self, record: ProjectRecord, made: KeyRecord) -> bool:
        """Whether the owner of a key still belongs to the project."""
        if isinstance(made.owner, ServiceAccount):
            return made.owner.id in record.service_accounts
        if made.owner.id not in self.organizations[record.project.organization].users:
            return False
        return made.owner.role == "owner" or made.owner.id in record.members

    def spent(self, project: "Project") -> str | None:
        """The failure of a project whose own or whose organization's spend limit is enforced."""
        for whose, failure in ((project.id, "quota.project_spend"), (project.organization, "quota.organization_spend")):
            limit = self.spend_limits.get(whose)
            if limit is not None and limit.enforcing:
                return failure
        return None

    def spend_limit_of(self, whose: str) -> SpendLimit | None:
        """The spend limit of a project or organization, enforced too where the answers already say so."""
        limit = self.spend_limits.get(whose)
        failure = "quota.project_spend" if whose in self.projects else "quota.organization_spend"
        if self._world.suffers(failure, whose):
            return SpendLimit(limit.cents if limit else _ASSUMED_LIMIT, enforcing=True)
        return limit

    def limits_of(self, project: "Project", model: str) -> tuple[int, int]:
        """Requests and tokens a minute that a project may use of a model."""
        return self._world.limit(project, model, "requests"), self._world.limit(project, model, "tokens")

    def last_used(self, secret: str) -> int | None:
        """When a key was last accepted, traffic included."""
        made, key, now = self.keys[secret], self._world.keys[secret], self._now()
        for flow in self.usage.flows(key.project).values():
            epoch = flow.now
            if epoch is not None and epoch.series is not None and epoch.series.key == made.id:
                return int(min(now, epoch.expires - 1))
        return made.last_used_at

    def note(
        self,
        type: str,  # noqa: A002 - OpenAI's word
        detail: dict[str, Any],
        whose: str,
        by: str | None = None,
    ) -> None:
        """Write an audit event about a project or organization, done by a person (e-mail; without one, the first owner)."""
        record = self.projects.get(whose)
        organization = self.organizations[record.project.organization if record else whose]
        user = self._user(by) if by is not None else organization.owner
        moment = self._now()
        event: dict[str, Any] = {
            "id": self._id("audit_log-", type, str(int(moment * 1000)), whose, str(detail.get("id"))),
            "type": type,
            "effective_at": int(moment),
            "actor": {"type": "session", "session": _session(user)},
            type: detail,
        }
        if record is not None:
            event["project"] = {"id": record.project.id, "name": record.project.name}
        organization.audit.add(event["id"], event, int(moment))

    def reckon(self, project: str) -> None:
        """Judge the traffic of a project anew: something changed."""
        for model, flow in self.usage.flows(project).items():
            last = flow.now
            if last is None:
                continue
            epoch = self._epoch(project, model, last.requests, last.tokens)
            carrier = self.keys.get(self._carriers.get((project, model), ""))
            if last.series is not None and epoch.series is None and carrier is not None:
                carrier.last_used_at = int(self._now())
            flow.change(epoch)

    # Verbs ----------------------------------------------------------------------------------------------------------------------

    def rename_project(self, project: str, name: str, by: str | None = None) -> None:
        """A project gets another name."""
        record = self._project(project)
        record.project.name = name
        self.note("project.updated", {"id": record.project.id, "changes_requested": {"title": name}}, record.project.id, by)

    def archive_project(self, project: str, by: str | None = None) -> None:
        """A project is closed, for good: its keys open nothing any more."""
        record = self._project(project)
        record.archived_at = int(self._now())
        self.note("project.archived", {"id": record.project.id}, record.project.id, by)
        self.reckon(record.project.id)

    def reside(self, project: str, residency: str | None = None) -> None:
        """Where the project's data stays, such as `EU_STORAGE_PROCESSING`. The host is another matter: the verb `region`."""
        self._project(project).residency = residency

    def expire_key(self, secret: str, at: float | None = None, by: str | None = None) -> None:
        """The key expires `at` that moment (seconds since the epoch), or now."""
        key = self._world.keys.get(secret)
        made = self.keys.get(secret)
        if key is None or made is None:
            raise ValueError(f"no such key: …{secret[-4:]}")
        made.expires_at = int(self._now() if at is None else at)
        self.note("api_key.updated", {"id": made.id}, key.project, by)
        self.reckon(key.project)

    def add_user(
        self,
        organization: str,
        email: str,
        name: str,
        role: str = "reader",
        created_at: float | None = None,
        by: str | None = None,
    ) -> None:
        """A person joins the organization, which need not exist before."""
        if role not in ("owner", "reader"):
            raise ValueError("role is owner or reader")
        found = self.organizations.setdefault(organization, Organization(organization))
        if email in self._people:
            raise ValueError(f"{email} is there already")
        moment = self._moment(created_at)
        user = User(self._id("user-", organization, email), organization, email, name, role, int(moment))
        found.users.add(user.id, user, moment)
        self._people[email] = self._people[user.id] = user
        if created_at is None:
            self.note("user.added", {"id": user.id, "data": {"role": role}}, organization, by)

    def change_role(self, user: str, role: str, by: str | None = None) -> None:
        """A person becomes owner or reader."""
        who = self._user(user)
        organization = self.organizations[who.organization]
        if role not in ("owner", "reader"):
            raise ValueError("role is owner or reader")
        if role != "owner" and [one for one in organization.users if one.role == "owner"] == [who]:
            raise ValueError("an organization keeps one owner")
        who.role = role
        self.note("user.updated", {"id": who.id, "changes_requested": {"role": role}}, organization.id, by)
        self._reckon_all(organization)

    def remove_user(self, user: str, by: str | None = None) -> None:
        """A person leaves the organization, and with it all projects: keys stay, and are refused."""
        who = self._user(user)
        organization = self.organizations[who.organization]
        if [one for one in organization.users if one.role == "owner"] == [who]:
            raise ValueError("an organization keeps one owner")
        organization.users.remove(who.id)
        del self._people[who.id], self._people[who.email]
        for record in organization.projects:
            if who.id in record.members:
                record.members.remove(who.id)
        self.note("user.deleted", {"id": who.id}, organization.id, by)
        self._reckon_all(organization)

    def add_member(
        self,
        project: str,
        user: str,
        role: str = "member",
        created_at: float | None = None,
        by: str | None = None,
    ) -> None:
        """A person of the organization joins a project."""
        record, who, moment = self._project(project), self._user(user), self._moment(created_at)
        if who.id in record.members:
            record.members.remove(who.id)
        record.members.add(who.id, (who, role, int(moment)), moment)
        if created_at is None:
            self._assigned("role.assignment.created", record, who, by)
        self.reckon(record.project.id)

    def remove_member(self, project: str, user: str, by: str | None = None) -> None:
        """A person leaves a project: keys stay there, and are refused."""
        record, who = self._project(project), self._user(user)
        if who.id not in record.members:
            raise ValueError(f"{who.email} is no member of it")
        record.members.remove(who.id)
        self._assigned("role.assignment.deleted", record, who, by)
        self.reckon(record.project.id)

    def add_service_account(self, project: str, name: str, role: str = "member", by: str | None = None) -> None:
        """A project gets a service account."""
        record = self._project(project)
        if any(one.name == name for one in record.service_accounts):
            raise ValueError(f"{name} is there already")
        made = self._service_account(record, name, self._now(), role)
        self.note("service_account.created", {"id": made.id, "data": {"role": role}}, record.project.id, by)

    def remove_service_account(self, project: str, name: str, by: str | None = None) -> None:
        """A service account goes, and its keys with it."""
        record = self._project(project)
        made = next((one for one in record.service_accounts if one.name == name), None)
        if made is None:
            raise ValueError(f"no such service account: {name}")
        for secret in [secret for secret in record.keys if self.keys[secret].owner is made]:
            self._world.revoke(secret, by=by)
        record.service_accounts.remove(made.id)
        for log in ("service_account.deleted", "tenant.service_account.deleted"):
            self.note(log, {"id": made.id}, record.project.id, by)

    def hosted_tool(self, project: str, tool: str, enabled: bool) -> None:
        """A tool that OpenAI hosts is switched on or off for a project. Nothing of it stands in the audit log."""
        if tool not in HOSTED_TOOLS:
            raise ValueError(f"no such tool: {tool}; there are {', '.join(HOSTED_TOOLS)}")
        off = self._project(project).tools_off
        off.discard(tool) if enabled else off.add(tool)

    def service_tiers(self, project: str, default: str = "standard", enabled: str | list[str] = "all") -> None:
        """The service tiers of a project: `all`, or a list of flex, fast and ultrafast. Nothing of it stands in the audit log."""
        record = self._project(project)
        record.default_tier, record.tiers = default, enabled

    def spend_limit(self, whose: str, cents: int | None = None) -> None:
        """The limit of a month of a project or organization, in cents; None is none. Nothing of it stands in the audit log."""
        whose = self._whose(whose)
        self.spend_limits.pop(whose, None)
        if cents is not None:
            self.spend_limits[whose] = SpendLimit(cents)
        self._reckon_of(whose)

    def reach_spend_limit(self, whose: str) -> None:
        """The month's money of a project or organization is spent."""
        whose = self._whose(whose)
        self.spend_limits.setdefault(whose, SpendLimit(_ASSUMED_LIMIT)).enforcing = True
        self._reckon_of(whose)

    def relieve_spend_limit(self, whose: str) -> None:
        """A new month, or a higher limit."""
        whose = self._whose(whose)
        if whose in self.spend_limits:
            self.spend_limits[whose].enforcing = False
        self._reckon_of(whose)

    def spend_alert(self, whose: str, cents: int, recipients: list[str]) -> None:
        """E-mail goes out when a project or organization has spent `cents` in a month."""
        whose = self._whose(whose)
        made = self._id("alert_", whose, str(cents))
        self.spend_alerts.setdefault(whose, Shelf()).add(made, (made, cents, list(recipients)), self._now())

    def add_certificate(
        self,
        organization: str,
        name: str,
        valid_at: float,
        expires_at: float,
        created_at: float | None = None,
        by: str | None = None,
    ) -> None:
        """A certificate for mutual TLS is uploaded. It demands nothing yet."""
        home, moment = self._organization(organization), self._moment(created_at)
        made = Certificate(self._id("cert_", organization, name), organization, name, int(moment), int(valid_at), int(expires_at))
        home.certificates.add(made.id, made, moment)
        if created_at is None:
            self.note("certificate.created", {"id": made.id, "name": name}, organization, by)

    def activate_certificate(self, name: str, whose: str, by: str | None = None) -> None:
        """A certificate is demanded by a project or organization."""
        self._switched(name, whose, by, on=True)

    def deactivate_certificate(self, name: str, whose: str, by: str | None = None) -> None:
        """A certificate is demanded no more."""
        self._switched(name, whose, by, on=False)

    def present_certificate(self, whose: str, name: str | None = None) -> None:
        """The calls of a project, or of a whole organization, come with this certificate from now on; None is without any.

        Which one a client of the emulator has is agreed here: between two processes of one machine there is no TLS.
        """
        where = self._whose(whose)
        self.presented.pop(where, None)
        if name is not None:
            self.presented[where] = self._certificate(name).id
        self._reckon_of(where)

    def remove_certificate(self, name: str, by: str | None = None) -> None:
        """A certificate is deleted."""
        made = self._certificate(name)
        self.organizations[made.organization].certificates.remove(made.id)
        self.note("certificate.deleted", {"id": made.id, "name": name}, made.organization, by)

    def ip_allowlist(self, whose: str, active: bool, addresses: list[str] | None = None, by: str | None = None) -> None:
        """A list of addresses is enforced for a project or organization, and keeps our checks out; or it is enforced no more."""
        whose = self._whose(whose)
        made = f"ipal_{hashlib.sha256(whose.encode()).hexdigest()[:16]}"
        if active and addresses is not None:
            self.note("ip_allowlist.created", {"id": made, "name": "offices", "allowed_ips": list(addresses)}, whose, by)
        kind = f"ip_allowlist.config.{'activated' if active else 'deactivated'}"
        self.note(kind, {"configs": [{"id": made, "name": "offices"}]}, whose, by)
        scope: dict[str, Any] = {"project": whose} if whose in self.projects else {"organization": whose}
        if active:
            self._world.trouble("auth.ip_not_allowed", **scope)
        else:
            self._world.heal("auth.ip_not_allowed", **scope)

    def add_admin_key(
        self,
        organization: str,
        secret: str,
        name: str = "administration",
        scopes: list[str] | None = None,
        owner: str | None = None,
        created_at: float | None = None,
        expires_at: float | None = None,
    ) -> None:
        """A key for the Administration API. Without `scopes` it is unrestricted."""
        home, moment = self._organization(organization), self._moment(created_at)
        who = self._user(owner) if owner is not None else home.owner
        made = KeyRecord(self._id("key_", secret), name, self._redacted(secret), who, int(moment), _whole(expires_at))
        key = AdminKey(secret, organization, made, frozenset(scopes) if scopes is not None else None)
        self.admin_keys[secret] = key
        home.admin_keys.add(made.id, key, moment)
        if created_at is None:
            self.note("tenant.admin_api_key.created", {"id": made.id}, organization, owner)

    def redaction(self, form: str = "documented") -> None:
        """How keys are shown from now on, those that are there too."""
        if form not in REDACTIONS:
            raise ValueError(f"no such form: {form}; there are {', '.join(REDACTIONS)}")
        self._redacted = REDACTIONS[form]
        for secret, made in self.keys.items():
            made.redacted = self._redacted(secret)
        for secret, key in self.admin_keys.items():
            key.record.redacted = self._redacted(secret)

    def revoke_admin_key(self, secret: str) -> None:
        """An admin key is deleted."""
        key = self.admin_keys.pop(self._admin(secret).secret)
        self.organizations[key.organization].admin_keys.remove(key.record.id)
        self.note("tenant.admin_api_key.deleted", {"id": key.record.id}, key.organization)

    def restrict_admin_key(self, secret: str, scopes: list[str] | None = None) -> None:
        """An admin key keeps only these scopes; without `scopes` all."""
        key = self._admin(secret)
        key.scopes = frozenset(scopes) if scopes is not None else None
        self.note("tenant.admin_api_key.updated", {"id": key.record.id}, key.organization)

    def audit(self, whose: str, type: str, detail: dict[str, Any] | None = None, by: str | None = None) -> None:  # noqa: A002
        """Any audit event about a project or organization, of a type that may be new."""
        self.note(type, detail or {}, self._whose(whose), by)

    def usage_delay(self, seconds: float) -> None:
        """Usage and costs are told this much later."""
        self.usage.delay = max(float(seconds), 0.0)

    def administration_limit(self, per_second: int | None = None) -> None:
        """The Administration API answers 429 to more requests a second than this; None is no limit."""
        if per_second is not None and per_second < 1:
            raise ValueError("per_second is 1 or more")
        self.bucket = None if per_second is None else Bucket(per_second, window=1.0)

    def administration_trouble(
        self,
        kind: str,
        endpoint: str | None = None,
        project: str | None = None,
        share: float = 1.0,
        seconds: float | None = None,
    ) -> None:
        """Something is wrong with an endpoint (its last words: `api_keys`, `usage/completions`), of a project or of all."""
        if kind not in TROUBLES:
            raise ValueError(f"no such trouble: {kind}; there are {', '.join(TROUBLES)}")
        mine = self._project(project).project.id if project is not None else None
        until = math.inf if seconds is None else self._now() + seconds
        self.troubles.append(EndpointTrouble(kind, endpoint, mine, share, until))

    def heal_administration(self) -> None:
        """Nothing is wrong with the Administration API any more."""
        self.troubles.clear()

    # Parts ----------------------------------------------------------------------------------------------------------------------

    def _now(self) -> float:
        return self._world.clock()

    def _moment(self, created_at: float | None) -> float:
        return self._now() if created_at is None else float(created_at)

    def _id(self, prefix: str, *what: str) -> str:
        """An id that a restarted emulator gives again: it depends on the thing, not on the order of requests."""
        base = "\n".join(what)
        count = self._made[base] = self._made.get(base, 0) + 1
        return prefix + hashlib.sha256(f"{prefix}{base}\n{count}".encode()).hexdigest()[:24]

    def _project(self, name: str) -> ProjectRecord:
        return self.projects[self._world.find_project(name).id]

    def _organization(self, name: str) -> Organization:
        if name not in self.organizations:
            raise ValueError(f"no such organization: {name}")
        return self.organizations[name]

    def _whose(self, name: str) -> str:
        return name if name in self.organizations else self._project(name).project.id

    def _user(self, name: str) -> User:
        if name not in self._people:
            raise ValueError(f"no such user: {name}")
        return self._people[name]

    def _admin(self, secret: str) -> AdminKey:
        if secret not in self.admin_keys:
            raise ValueError(f"no such admin key: …{secret[-4:]}")
        return self.admin_keys[secret]

    def _certificate(self, name: str) -> Certificate:
        for home in self.organizations.values():
            for made in home.certificates:
                if name in (made.id, made.name):
                    return made
        raise ValueError(f"no such certificate: {name}")

    def _switched(self, name: str, whose: str, by: str | None, *, on: bool) -> None:
        made, where = self._certificate(name), self._whose(whose)
        made.active.add(where) if on else made.active.discard(where)
        detail = {"certificates": [{"id": made.id, "name": made.name}]}
        self.note(f"certificates.{'activated' if on else 'deactivated'}", detail, where, by)
        self._reckon_of(where)

    def _assigned(self, type: str, record: ProjectRecord, who: User, by: str | None) -> None:  # noqa: A002 - OpenAI's word
        resource = {"resource_id": record.project.id, "resource_type": "api.project"}
        made = self._id("role_assignment_", record.project.id, who.id, type)
        self.note(type, {"id": made, "principal_id": who.id, "principal_type": "user", **resource}, record.project.id, by)

    def _service_account(self, record: ProjectRecord, name: str, moment: float, role: str = "member") -> ServiceAccount:
        for one in record.service_accounts:
            if one.name == name:
                return one
        made = ServiceAccount(self._id("svc_acct_", record.project.id, name), name, role, int(moment))
        record.service_accounts.add(made.id, made, moment)
        return made

    def _series(self, key: "Key", model: str) -> Series:
        made = self.keys.get(key.secret)
        user = made.owner.id if made is not None and isinstance(made.owner, User) else None
        return Series(key.project, made.id if made is not None else None, user, model)

    def _epoch(self, project: str, model: str, requests: Traffic, tokens: Traffic) -> Epoch:
        found = self._world.projects[project]
        carrier = self._carriers.get((project, model))
        if carrier is None:
            carrier = next(iter(self.projects[project].secrets), None)
            if carrier is not None:
                self._carriers[project, model] = carrier
        key = self._world.keys.get(carrier or "")
        accepted = key is not None and not key.revoked and self.accepts(key) and self.spent(found) is None and self.admits(found)
        series = self._series(key, model) if accepted and key is not None and self._world.may_use(found, model) else None
        made = self.keys.get(carrier or "")
        expires = made.expires_at if made is not None and made.expires_at is not None else math.inf
        generates = self._world.models[model].family != "embeddings"
        return Epoch(self._now(), series, requests, tokens, *self.limits_of(found, model), expires, generates)

    def _reckon_of(self, whose: str) -> None:
        if whose in self.projects:
            self.reckon(whose)
        else:
            self._reckon_all(self.organizations[whose])

    def _reckon_all(self, organization: Organization) -> None:
        for record in organization.projects:
            self.reckon(record.project.id)


def _kind(secret: str) -> str:
    return next((kind for kind in _KINDS if secret.startswith(kind)), "")


def _documented(secret: str) -> str:
    """As the reference's examples: `sk-abc...def`, and `sk-admin...def`, which tells nothing but the kind and three characters."""
    return f"{'sk-admin' if secret.startswith('sk-admin-') else secret[:6]}...{secret[-3:]}"


def _prefixed(secret: str) -> str:
    kind = _kind(secret)
    return f"{kind}{secret[len(kind) : len(kind) + 3]}...{secret[-3:]}"


def _starred(secret: str) -> str:
    kind = _kind(secret)
    return f"{kind}{'*' * min(max(len(secret) - len(kind) - 4, 2), 150)}{secret[-4:]}"


REDACTIONS: dict[str, Callable[[str], str]] = {"documented": _documented, "prefixed": _prefixed, "starred": _starred}
"""How keys are shown. What the real API shows of a key is published nowhere: the default are its reference's examples."""


def _whole(moment: float | None) -> int | None:
    return None if moment is None else int(moment)


def _session(user: User) -> dict[str, Any]:
    """Who did it, from where and with what: personal data, as the platform tells it."""
    number = int(hashlib.sha256(user.id.encode()).hexdigest()[:4], 16)
    return {
        "user": {"id": user.id, "email": user.email},
        "ip_address": f"203.0.113.{number % 254 + 1}",
        "user_agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
        "ip_address_details": {"country": "DE", "city": "Hamburg", "region": "Hamburg", "asn": "64500"},
    }


ADMINISTRATION_VERBS: tuple[Callable[..., None], ...] = (
    Administration.rename_project, Administration.archive_project, Administration.reside, Administration.expire_key,
    Administration.add_user, Administration.change_role, Administration.remove_user, Administration.add_member,
    Administration.remove_member, Administration.add_service_account, Administration.remove_service_account,
    Administration.hosted_tool, Administration.service_tiers, Administration.spend_limit, Administration.reach_spend_limit,
    Administration.relieve_spend_limit, Administration.spend_alert, Administration.add_certificate,
    Administration.activate_certificate, Administration.deactivate_certificate, Administration.present_certificate,
    Administration.remove_certificate,
    Administration.ip_allowlist, Administration.redaction, Administration.add_admin_key,
    Administration.revoke_admin_key, Administration.restrict_admin_key,
    Administration.audit, Administration.usage_delay, Administration.administration_limit, Administration.administration_trouble,
    Administration.heal_administration,
)  # fmt: skip
"""What may happen to the record. `World` offers them beside its own."""
