"""What may happen to the record of an organization: the verbs of a story.

A person or certificate that is made with a `created_at` was there before the story begins; what is made without is made now, and
audited.
"""

import hashlib
import math
from collections.abc import Callable
from typing import Any

from monitor.emulator.endpoint_trouble import TROUBLES, EndpointTrouble
from monitor.emulator.limits import Bucket
from monitor.emulator.organization import HOSTED_TOOLS, AdminKey, Certificate, KeyRecord, SpendLimit
from monitor.emulator.redaction import REDACTIONS
from monitor.emulator.register import ASSUMED_LIMIT, Register, whole
from monitor.emulator.shelf import Shelf


class Administration(Register):
    """The record, and everything that people do to it. Every verb may raise ValueError for what there is not."""

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
        user = self._joined(organization, email, name, role, self._moment(created_at))
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
        self.spend_limits.setdefault(whose, SpendLimit(ASSUMED_LIMIT)).enforcing = True
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
        made = KeyRecord(self._id("key_", secret), name, self._redacted(secret), who, int(moment), whole(expires_at))
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
