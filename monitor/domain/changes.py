"""Something that changed: the feed behind "what changed just before"."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class ChangeKind(StrEnum):
    """What changed. Stored: never rename."""

    KEY_CREATED = "key.created"
    KEY_DELETED = "key.deleted"
    KEY_EXPIRED = "key.expired"
    KEY_CHANGED = "key.changed"
    KEY_ROTATED = "key.rotated"
    """The configuration here gives another secret under the same label."""
    SERVICE_ACCOUNT_CREATED = "service_account.created"
    SERVICE_ACCOUNT_DELETED = "service_account.deleted"
    SERVICE_ACCOUNT_CHANGED = "service_account.changed"
    MEMBER_ADDED = "member.added"
    MEMBER_REMOVED = "member.removed"
    MEMBER_CHANGED = "member.changed"
    """Also the owner of a key who lost or won access to its project."""
    PROJECT_CREATED = "project.created"
    PROJECT_ARCHIVED = "project.archived"
    PROJECT_CHANGED = "project.changed"
    RATE_LIMIT_LOWERED = "rate_limit.lowered"
    RATE_LIMIT_RAISED = "rate_limit.raised"
    RATE_LIMIT_CHANGED = "rate_limit.changed"
    MODEL_REMOVED = "model.removed"
    """A model that the project's model permissions no longer allow."""
    MODEL_ADDED = "model.added"
    MODEL_LISTED = "model.listed"
    """OpenAI's catalogue has it for the first time."""
    MODEL_DELISTED = "model.delisted"
    """OpenAI's catalogue no longer has it."""
    MODEL_SHUTDOWN = "model.shutdown"
    """OpenAI announced, moved or withdrew the day on which it is shut down."""
    TOOL_DISABLED = "tool.disabled"
    TOOL_ENABLED = "tool.enabled"
    SPEND_LIMIT_REACHED = "spend_limit.reached"
    """Enforcement began."""
    SPEND_LIMIT_LIFTED = "spend_limit.lifted"
    SPEND_LIMIT_CHANGED = "spend_limit.changed"
    SPEND_ALERT_CHANGED = "spend_alert.changed"
    CERTIFICATE_CHANGED = "certificate.changed"
    CERTIFICATE_EXPIRED = "certificate.expired"
    ADMIN_KEY_CHANGED = "admin_key.changed"
    IP_ALLOWLIST_CHANGED = "ip_allowlist.changed"
    ROLE_CHANGED = "role.changed"
    POLICY_CHANGED = "policy.changed"
    """Of the organization: who may use which product or resource."""
    ORGANIZATION_CHANGED = "organization.changed"
    CONFIG_CHANGED = "config.changed"
    """Of this monitor."""
    OTHER = "other"
    """An audit event that we have no word for."""


class ChangeSource(StrEnum):
    """How we know."""

    SYNC = "sync"
    """Two readings differ: it happened between them."""
    AUDIT_LOG = "audit_log"
    CONFIGURATION = "configuration"
    CALENDAR = "calendar"
    """A date that was known came."""
    CATALOGUE = "catalogue"
    """OpenAI lists other models than before."""


class Family(StrEnum):
    """Kinds of change that belong together: what people filter by."""

    KEYS = "keys"
    PEOPLE = "people"
    MODELS = "models"
    LIMITS = "limits"
    MONEY = "money"
    PROJECTS = "projects"
    ACCESS = "network access"
    CONFIGURATION = "configuration"
    OTHER = "other"


_FAMILIES = {
    "key": Family.KEYS,
    "service_account": Family.KEYS,
    "admin_key": Family.KEYS,
    "member": Family.PEOPLE,
    "role": Family.PEOPLE,
    "policy": Family.PEOPLE,
    "model": Family.MODELS,
    "tool": Family.MODELS,
    "rate_limit": Family.LIMITS,
    "spend_limit": Family.MONEY,
    "spend_alert": Family.MONEY,
    "project": Family.PROJECTS,
    "organization": Family.PROJECTS,
    "certificate": Family.ACCESS,
    "ip_allowlist": Family.ACCESS,
    "config": Family.CONFIGURATION,
}


def family_of(kind: ChangeKind) -> Family:
    """The family of a kind; a secret that was rotated here is a matter of keys."""
    return _FAMILIES.get(kind.value.partition(".")[0], Family.OTHER)


@dataclass(frozen=True, slots=True)
class ChangeEvent:
    """One thing that changed. Times are aware, UTC."""

    at: datetime
    """When it happened; of a difference, when it was seen."""
    kind: ChangeKind
    source: ChangeSource
    text: str
    """One sentence without an address or a secret: `Key “backend” (sk-…4f2c) was deleted.`"""
    project_id: str | None = None
    """OpenAI's project, where it is one project's change."""
    project: str | None = None
    """The project's name here; None where it is not configured, or for the whole organization's changes."""
    subject: str | None = None
    """The id, or the label, of what changed."""
    key: str | None = None
    """The label here of the key that it concerns."""
    model: str | None = None
    actor: str | None = None
    after: datetime | None = None
    """Of a difference: the reading before; it happened between `after` and `at`."""
    dedup: str = ""
    """The same for one change however often it is told; the store keeps it once."""
    id: int | None = None
    """Given by the store."""


ONCE = frozenset(
    {
        ChangeKind.KEY_CREATED,
        ChangeKind.KEY_DELETED,
        ChangeKind.SERVICE_ACCOUNT_CREATED,
        ChangeKind.SERVICE_ACCOUNT_DELETED,
        ChangeKind.PROJECT_CREATED,
        ChangeKind.PROJECT_ARCHIVED,
    }
)
"""What happens to a thing at most once: the kind and the subject alone say which change it is."""
SLACK = timedelta(minutes=1)
"""By so much our clock and OpenAI's may differ."""
_LIMITS = frozenset({ChangeKind.RATE_LIMIT_LOWERED, ChangeKind.RATE_LIMIT_RAISED, ChangeKind.RATE_LIMIT_CHANGED})
_MEMBERS = frozenset({ChangeKind.MEMBER_ADDED, ChangeKind.MEMBER_REMOVED, ChangeKind.MEMBER_CHANGED})


def like(kind: ChangeKind) -> frozenset[ChangeKind]:
    """The kinds that the same change may have when somebody else tells it: the log does not say what was before."""
    if kind in _LIMITS:
        return _LIMITS
    if kind is ChangeKind.ROLE_CHANGED:
        return _MEMBERS | {kind}
    return frozenset({kind, ChangeKind.ROLE_CHANGED}) if kind in _MEMBERS else frozenset({kind})


def same(seen: ChangeEvent, logged: ChangeEvent) -> bool:
    """Whether what two readings told and what the audit log tells are one change.

    The log does not always name the project: what an admin key does is logged under the default one.
    """
    where = seen.project_id == logged.project_id or (
        logged.project_id is None and logged.kind in _LIMITS | {ChangeKind.ROLE_CHANGED} and seen.project_id is not None
    )
    when = seen.after is not None and seen.after - SLACK <= logged.at <= seen.at + SLACK
    what = logged.kind in like(seen.kind) and seen.subject is not None and seen.subject == logged.subject
    return what and where and when


LOGGED, TENANTS = "audit ", "tenant "
"""How the sign of an entry of the audit log begins, and how it goes on for one of the tenant's log."""
_TOLD_APART_BY_WORDS = frozenset({ChangeKind.ROLE_CHANGED, ChangeKind.POLICY_CHANGED, ChangeKind.OTHER})
"""Kinds of which given and taken away are one: only the words say which it was."""


def same_entry(one: ChangeEvent, other: ChangeEvent) -> bool:
    """Whether two entries, one of each of OpenAI's two audit logs, are one happening. The logs' clocks may differ, their ids do.

    One of them may know the project and the other not. What readings told too has their kind and words by now.
    """
    alike = one.kind is other.kind
    what = one.kind in like(other.kind) and one.subject is not None and one.subject == other.subject
    where = one.project_id == other.project_id or (alike and None in (one.project_id, other.project_id))
    words = not alike or one.kind not in _TOLD_APART_BY_WORDS or one.text == other.text
    return what and where and words and abs(one.at - other.at) <= SLACK
