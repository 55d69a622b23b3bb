"""The organization's own record, behind the Administration API: who and what it has, what it allows and spends, who changed what.

It tells what the platform does: `World` asks it whether a key is accepted, and tells it what happens. What may happen to the record
itself is in `administration`.
"""

import hashlib
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from monitor.emulator.endpoint_trouble import EndpointTrouble
from monitor.emulator.limits import Bucket, Traffic
from monitor.emulator.organization import (
    AdminKey,
    Certificate,
    KeyRecord,
    Organization,
    ProjectRecord,
    ServiceAccount,
    SpendLimit,
    User,
)
from monitor.emulator.redaction import documented, kind_of
from monitor.emulator.shelf import Shelf
from monitor.emulator.usage import Epoch, Ledger, Series

if TYPE_CHECKING:
    from monitor.emulator.world import Key, Project, World

ASSUMED_LIMIT = 10_000
"""Cents, where a limit is reached that nobody set."""


class Register:
    """The record of every organization of a world: what `World` tells it, and asks it."""

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
        self._redacted: Callable[[str], str] = documented
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
            self._joined(project.organization, email, "Olive Owner", "owner", 0)
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
        kind = kind_of(key.secret)
        who: User | ServiceAccount
        if kind in ("sk-svcacct-", "sk-service-"):
            who = self._service_account(record, owner or name or "service", moment)
        else:
            organization = self.organizations[record.project.organization]
            who = self._user(owner) if owner is not None else organization.owner
            if who.role != "owner" and who.id not in record.members:
                record.members.add(who.id, (who, "member", int(moment)), moment)
        number, shown = self._id("key_", key.secret), self._redacted(key.secret)
        made = KeyRecord(number, name or "key", shown, who, int(moment), whole(expires_at))
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
            return SpendLimit(limit.cents if limit else ASSUMED_LIMIT, enforcing=True)
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

    def _joined(self, organization: str, email: str, name: str, role: str, moment: float) -> User:
        """A person is in the organization, which need not exist before. Raises ValueError for one who is there already."""
        if email in self._people:
            raise ValueError(f"{email} is there already")
        found = self.organizations.setdefault(organization, Organization(organization))
        user = User(self._id("user-", organization, email), organization, email, name, role, int(moment))
        found.users.add(user.id, user, moment)
        self._people[email] = self._people[user.id] = user
        return user

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


def whole(moment: float | None) -> int | None:
    """Whole seconds."""
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
