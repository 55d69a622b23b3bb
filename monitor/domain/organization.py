"""What the Administration API says of an organization: its projects, keys, limits and rules, as items with a few facts each.

Every answer is read leniently: a fact that is absent is absent, never a default. Times in facts are whole seconds since the
epoch, as OpenAI sends them; amounts of money are cents. Facts hold no secret: keys come redacted, as `sk-abc...def`.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from monitor.domain.words import duration


class ItemKind(StrEnum):
    """What an item is, with the facts it may have."""

    PROJECT = "project"
    """`name status(active|archived) created_at archived_at`. Its id is also its `project`."""
    API_KEY = "api_key"
    """`name redacted_value created_at last_used_at expires_at owner_type(user|service_account) owner_id owner_name owner_role
    owner_project_access(active|inactive)`. As stored, `redacted_value` is `sk-…` and the last four characters at most."""
    SERVICE_ACCOUNT = "service_account"
    """`name role created_at`."""
    MEMBER = "member"
    """A user of a project: `name role added_at`. Its id is `project/user`."""
    USER = "user"
    """A user of the organization: `name role added_at`."""
    RATE_LIMIT = "rate_limit"
    """Of a project for a model: `model max_requests_per_1_minute max_tokens_per_1_minute max_requests_per_1_day …`. Its id is
    `project/rl-…`, for OpenAI's own is the same in every project."""
    MODEL_PERMISSIONS = "model_permissions"
    """Of a project: `mode(allow_list|deny_list) model_ids` (sorted). Absent where the project has none: every model is allowed."""
    HOSTED_TOOLS = "hosted_tools"
    """Of a project: `file_search web_search image_generation mcp code_interpreter`, each true or false."""
    SPEND_LIMIT = "spend_limit"
    """Of a project, or of the organization where `project` is None: `threshold_amount(cents) currency interval enforcement
    (inactive|enforcing)`."""
    SPEND_ALERT = "spend_alert"
    """`threshold_amount(cents) currency interval`, of a project or the organization."""
    CERTIFICATE = "certificate"
    """`name active valid_at expires_at`, of the organization or activated for a project (then its id is `project/cert_…`)."""
    ADMIN_KEY = "admin_key"
    """`name redacted_value created_at last_used_at expires_at owner_name`, and `ours`, true of the one that reads this record and
    false of the others; absent where that is not certain."""


@dataclass(frozen=True, slots=True)
class Item:
    """One thing of the organization, as OpenAI described it last."""

    kind: ItemKind
    id: str
    project: str | None = None
    """OpenAI's id of the project it belongs to, or None for the organization's own."""
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What people call it; its id where it has no name."""
        return str(self.facts.get("name") or self.facts.get("model") or self.id)

    def time(self, fact: str) -> datetime | None:
        """A fact that is a time, aware, UTC; None where it is absent or no time."""
        value = self.facts.get(fact)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 253_402_300_800:
            return None
        return datetime.fromtimestamp(value, tz=UTC)


@dataclass(frozen=True, slots=True)
class UsageRow:
    """What reached the models in one bucket of time. Calls that were refused (401, 403, 404, 429) are in no usage figure."""

    start: datetime
    width: timedelta
    project: str | None
    api_key: str | None
    model: str | None
    requests: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class CostRow:
    """What one UTC day cost."""

    day: datetime
    project: str | None
    line_item: str | None
    amount: float
    currency: str = "usd"


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """Who did what and when, without the address, browser and mailbox that OpenAI also tells."""

    id: str
    type: str
    """OpenAI's word: `api_key.deleted`, `rate_limit.updated`, …"""
    at: datetime
    project: str | None
    subject: str | None
    """The id of what was changed, where the event names it."""
    actor: str | None
    """The id of a user, service account or key (`user-…`, `key_…`); never an address."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What was asked for, redacted."""


PROJECT_KINDS = (
    ItemKind.API_KEY,
    ItemKind.RATE_LIMIT,
    ItemKind.MODEL_PERMISSIONS,
    ItemKind.SPEND_LIMIT,
    ItemKind.HOSTED_TOOLS,
    ItemKind.SERVICE_ACCOUNT,
    ItemKind.MEMBER,
    ItemKind.SPEND_ALERT,
    ItemKind.CERTIFICATE,
)
"""What is read of every project, each a part of its own; certificates only where the organization has any."""


@dataclass(frozen=True, slots=True)
class RecordAge:
    """How old what is known of the projects is: everything is at most as old as the oldest part."""

    parts: int
    """Of all active projects."""
    unread: int = 0
    """Those that were never read."""
    oldest_at: datetime | None = None
    """When the oldest was read; None where none was."""
    kind: str | None = None
    """What the oldest is, and whose (OpenAI's id)."""
    project: str | None = None

    def said(self, now: datetime) -> str:
        """In words, to go on a sentence: `everything is at most 58 min old`."""
        if not self.parts:
            return "there is no active project"
        if self.oldest_at is None:
            return "nothing of its projects was read yet"
        old = f"at most {duration(max((now - self.oldest_at).total_seconds(), 0.0))} old"
        if not self.unread:
            return f"everything is {old}"
        return f"{self.unread:,} of {self.parts:,} parts of its projects were never read; the others are {old}"


NO_ADMIN_KEY = "no admin key is configured"
TENANT_LOG = "tenant_audit_log"
"""The part of the record that is OpenAI's second audit log; not every organization has one."""
OWN_ADMIN_KEY = f"{ItemKind.ADMIN_KEY.value}.own"
"""The part of the record that says which admin key is the one that reads it: a gap where that is not certain."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A part of the record that could not be read, so that questions about it stay open."""

    part: str
    """An item kind, `audit_log`, `tenant_audit_log`, `usage` or `costs`, with the project where it is only one project's."""
    project: str | None
    reason: str
    """In words: `the admin key lacks api.management.read`."""
    since: datetime | None = None
    """None where nobody ever tried."""


@dataclass(frozen=True, slots=True)
class Organization:
    """The record as it was read last. Empty without an admin key: then `gaps` says which answers are lacking."""

    items: tuple[Item, ...] = ()
    gaps: tuple[Gap, ...] = ()
    synced_at: datetime | None = None
    """When a sync last came to its end; None where none ever did."""
    _by_kind: Mapping[ItemKind, tuple[Item, ...]] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        found: dict[ItemKind, list[Item]] = {}
        for item in self.items:
            found.setdefault(item.kind, []).append(item)
        object.__setattr__(self, "_by_kind", {kind: tuple(those) for kind, those in found.items()})

    def of(self, kind: ItemKind, project: str | None = None) -> tuple[Item, ...]:
        """Every item of a kind; with a project id, that project's."""
        those = self._by_kind.get(kind, ())
        return those if project is None else tuple(item for item in those if item.project == project)

    def one(self, kind: ItemKind, project: str | None) -> Item | None:
        """The item of a kind that a project (or, with None, the organization) has once at most."""
        return next((item for item in self._by_kind.get(kind, ()) if item.project == project), None)

    def project(self, project_id: str) -> Item | None:
        """A project by its id."""
        return next((item for item in self._by_kind.get(ItemKind.PROJECT, ()) if item.id == project_id), None)


@dataclass(frozen=True, slots=True)
class Difference:
    """What is not as it was between two readings of one item."""

    kind: ItemKind
    id: str
    project: str | None
    before: Item | None
    """None where it is new."""
    after: Item | None
    """None where it is gone."""

    @property
    def changed(self) -> tuple[str, ...]:
        """The facts that differ, sorted; empty for what is new or gone."""
        if self.before is None or self.after is None:
            return ()
        old, new = self.before.facts, self.after.facts
        return tuple(sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name)))


_RESTLESS = frozenset({"last_used_at"})
"""Facts that change by use: stored, but no news."""


def differences(before: Iterable[Item], after: Iterable[Item]) -> Iterator[Difference]:
    """What changed between two complete readings of the same parts, in the order of kind and id."""
    old = {(item.kind, item.id): item for item in before}
    new = {(item.kind, item.id): item for item in after}
    for place in sorted(old.keys() | new.keys()):
        was, became = old.get(place), new.get(place)
        there = became or was
        if there is None or (was is not None and became is not None and not _differs(was, became)):
            continue
        yield Difference(place[0], place[1], there.project, was, became)


def _differs(one: Item, other: Item) -> bool:
    names = (one.facts.keys() | other.facts.keys()) - _RESTLESS
    return any(one.facts.get(name) != other.facts.get(name) for name in names)
