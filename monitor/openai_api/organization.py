"""What the Administration API's answers say: parts of the record, read to their end.

Answers are read leniently, because OpenAI adds fields and leaves some out: what is unknown is ignored, what has the wrong type is
absent, texts are redacted, and people have an id and a name but no address.
"""

import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self
from urllib.parse import quote

from monitor.domain.organization import AuditEvent, CostRow, Item, ItemKind, UsageRow
from monitor.domain.redact import clean, redact
from monitor.openai_api.admin import Ask, Unreadable

MOST_PAGES = 500
"""Of one list. A list that goes on after that is not read on: it would go on for ever."""
_PAGE = 100

# Reading leniently ----------------------------------------------------------------------------------------------------------------

_ADDRESS = re.compile(r"[^\s<>@\"'(),;:]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,199}")
_MOST_LISTED = 2000
_MOST_MONEY = 10**13


class Facts:
    """Facts out of one JSON object; each is taken only where it is there and has the right type."""

    def __init__(self, raw: object, *, personal: bool = False) -> None:
        self.raw: Mapping[str, Any] = raw if isinstance(raw, dict) else {}
        self.personal = personal
        self.taken: dict[str, Any] = {}

    def text(self, *names: str, into: str | None = None) -> Self:
        """Short texts, redacted and (unless personal data are wanted) without mail addresses."""
        for name in names:
            value = self.raw.get(name)
            if isinstance(value, str) and value.strip():
                shown = redact(value if self.personal else _ADDRESS.sub("…", value))
                self.taken[into or name] = clean(shown.strip(), 200)
        return self

    def number(self, *names: str, into: str | None = None) -> Self:
        """Whole numbers."""
        for name in names:
            if (value := whole(self.raw.get(name))) is not None:
                self.taken[into or name] = value
        return self

    def flag(self, *names: str) -> Self:
        """True or false."""
        for name in names:
            if isinstance(self.raw.get(name), bool):
                self.taken[name] = self.raw[name]
        return self

    def within(self, name: str) -> "Facts":
        """The object under `name`; empty where none is."""
        return Facts(self.raw.get(name), personal=self.personal)

    @property
    def id(self) -> str | None:
        """The object's id, where it has a usable one."""
        value = self.raw.get("id")
        return value if isinstance(value, str) and _ID.fullmatch(value) and "sk-" not in value else None


def whole(value: object) -> int | None:
    """A whole number that a column can hold; never a truth value."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if -_MOST_MONEY < value < _MOST_MONEY and int(value) == value else None


def _strings(value: object) -> list[str]:
    if not isinstance(value, list):
        return []
    return sorted({clean(redact(each), 200) for each in value[:_MOST_LISTED] if isinstance(each, str) and each})


# Items ----------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reading:
    """One part of the record, read to its end."""

    items: tuple[Item, ...]
    dropped: int = 0
    """Entries that could not be understood: what is missing may be among them, so nothing is gone because it is not here."""

    @property
    def reason(self) -> str | None:
        """Why the reading is not whole, in words."""
        return f"{self.dropped:,} entries could not be understood" if self.dropped else None


Make = Callable[[Facts, str | None], Item | None]
"""Makes an item of an entry's facts and the project it was asked for."""


def _api_key(raw: Facts, project: str | None) -> Item | None:
    facts = raw.text("name", "redacted_value", "owner_project_access").number("created_at", "last_used_at", "expires_at").taken
    if (shown := _redacted_value(raw)) is not None:
        facts["redacted_value"] = shown
    facts.update(_owner(raw))
    return Item(ItemKind.API_KEY, raw.id, project, facts) if raw.id else None


def _redacted_value(raw: Facts) -> str | None:
    """`sk-abc...def` as OpenAI sends it, to be compared in memory; the store gets less. A whole key is never taken."""
    value = raw.raw.get("redacted_value")
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_-]{0,24}(?:\.{2,6}|…|\*{2,200})[A-Za-z0-9_-]{0,8}", value):
        return value
    return None


def _owner(raw: Facts) -> dict[str, Any]:
    owner = raw.within("owner")
    kind = owner.text("type").taken.get("type")
    person = owner.within("service_account" if kind == "service_account" else "user")
    if person.id is None and owner.id is not None:  # of admin keys the owner is the person itself
        person = owner
    found = person.text("name", into="owner_name").text("role", into="owner_role").taken
    if raw.personal:
        found = person.text("email", into="owner_email").taken
    found.pop("type", None)
    if person.id:
        found["owner_id"] = person.id
    if kind in ("user", "service_account"):
        found["owner_type"] = kind
    return found


def _project(raw: Facts, _: str | None) -> Item | None:
    facts = raw.text("name", "status").number("created_at", "archived_at").taken
    return Item(ItemKind.PROJECT, raw.id, raw.id, facts) if raw.id else None


def _service_account(raw: Facts, project: str | None) -> Item | None:
    facts = raw.text("name", "role").number("created_at").taken
    return Item(ItemKind.SERVICE_ACCOUNT, raw.id, project, facts) if raw.id else None


def _person(kind: ItemKind) -> Make:
    def make(raw: Facts, project: str | None) -> Item | None:
        facts = raw.text("name", "role").number("added_at").taken
        if raw.personal:
            facts = raw.text("email").taken
        number = f"{project}/{raw.id}" if project else raw.id
        return Item(kind, number, project, facts) if raw.id and number else None

    return make


_LIMIT = re.compile(r"max_[a-z0-9_]{1,60}|batch_[a-z0-9_]{1,60}")


def _rate_limit(raw: Facts, project: str | None) -> Item | None:
    names = [name for name in raw.raw if isinstance(name, str) and _LIMIT.fullmatch(name)]
    facts = raw.text("model").number(*names[:40]).taken
    return Item(ItemKind.RATE_LIMIT, f"{project}/{raw.id}", project, facts) if raw.id and "model" in facts else None


def _model_permissions(raw: Facts, project: str | None) -> Item | None:
    facts = raw.text("mode").taken
    if facts.get("mode") not in ("allow_list", "deny_list"):
        return None
    facts["model_ids"] = _strings(raw.raw.get("model_ids"))
    return Item(ItemKind.MODEL_PERMISSIONS, f"{project}", project, facts)


_TOOLS = ("file_search", "web_search", "image_generation", "mcp", "code_interpreter")


def _hosted_tools(raw: Facts, project: str | None) -> Item | None:
    facts = {}
    for tool in _TOOLS:
        found = raw.within(tool).flag("enabled").taken
        if "enabled" in found:
            facts[tool] = found["enabled"]
    return Item(ItemKind.HOSTED_TOOLS, f"{project}", project, facts) if facts else None


def _spend_limit(raw: Facts, project: str | None) -> Item | None:
    facts = raw.number("threshold_amount").text("currency", "interval").taken
    if "threshold_amount" not in facts:
        return None
    facts.update(raw.within("enforcement").text("status", into="enforcement").taken)
    return Item(ItemKind.SPEND_LIMIT, project or "organization", project, facts)


def _spend_alert(raw: Facts, project: str | None) -> Item | None:
    facts = raw.number("threshold_amount").text("currency", "interval").taken
    return Item(ItemKind.SPEND_ALERT, raw.id, project, facts) if raw.id else None


def _certificate(raw: Facts, project: str | None) -> Item | None:
    facts = raw.text("name").flag("active").taken | raw.within("certificate_details").number("valid_at", "expires_at").taken
    number = f"{project}/{raw.id}" if project else raw.id
    return Item(ItemKind.CERTIFICATE, number, project, facts) if raw.id and number else None


def _admin_key(raw: Facts, _: str | None) -> Item | None:
    facts = raw.text("name").number("created_at", "last_used_at", "expires_at").taken
    if (shown := _redacted_value(raw)) is not None:
        facts["redacted_value"] = shown
    facts.update({name: value for name, value in _owner(raw).items() if name in ("owner_name", "owner_id", "owner_email")})
    return Item(ItemKind.ADMIN_KEY, raw.id, None, facts) if raw.id else None


@dataclass(frozen=True, slots=True)
class Part:
    """Where the items of a kind are read."""

    kind: ItemKind
    path: str
    """Below `/organization`; `{project}` is OpenAI's id of one."""
    make: Make
    listed: bool = True
    """A list in pages; else one object, or a 404 where there is none."""
    parameters: Mapping[str, Any] | None = None

    @property
    def of_project(self) -> bool:
        """Whether every project has its own."""
        return "{project}" in self.path


_K = ItemKind
ORGANIZATION_PARTS: tuple[Part, ...] = (
    Part(_K.PROJECT, "projects", _project, parameters={"include_archived": True}),
    Part(_K.USER, "users", _person(_K.USER)),
    Part(_K.ADMIN_KEY, "admin_api_keys", _admin_key),
    Part(_K.SPEND_LIMIT, "spend_limit", _spend_limit, listed=False),
    Part(_K.SPEND_ALERT, "spend_alerts", _spend_alert),
    Part(_K.CERTIFICATE, "certificates", _certificate),
)
"""What is the organization's own. The projects come first: all else hangs on them."""
PROJECT_PARTS: tuple[Part, ...] = (
    Part(_K.API_KEY, "projects/{project}/api_keys", _api_key, parameters={"owner_project_access": "any"}),
    Part(_K.RATE_LIMIT, "projects/{project}/rate_limits", _rate_limit),
    Part(_K.MODEL_PERMISSIONS, "projects/{project}/model_permissions", _model_permissions, listed=False),
    Part(_K.SPEND_LIMIT, "projects/{project}/spend_limit", _spend_limit, listed=False),
    Part(_K.HOSTED_TOOLS, "projects/{project}/hosted_tool_permissions", _hosted_tools, listed=False),
    Part(_K.SERVICE_ACCOUNT, "projects/{project}/service_accounts", _service_account),
    Part(_K.MEMBER, "projects/{project}/users", _person(_K.MEMBER)),
    Part(_K.SPEND_ALERT, "projects/{project}/spend_alerts", _spend_alert),
    Part(_K.CERTIFICATE, "projects/{project}/certificates", _certificate),
)
"""What every project has, the most telling first."""


async def read(ask: Ask, part: Part, project: str | None = None, *, personal: bool = False) -> Reading:
    """Read a part to its end. Raises `Unreadable`, with nothing of it read."""
    path = part.path.format(project=quote(project or "", safe=""))
    if not part.listed:
        try:
            answer = await ask(path, {})
        except Unreadable as error:
            if error.absent:
                return Reading(())
            raise
        made = part.make(Facts(answer, personal=personal), project)
        if made is None and not _says_nothing(answer):
            raise Unreadable("the answer could not be understood")
        return Reading((made,) if made else ())
    found: dict[str, Item] = {}
    dropped = 0
    async for entries in _pages(ask, path, {"limit": _PAGE, **(part.parameters or {})}):
        for entry in entries:
            item = part.make(Facts(entry, personal=personal), project)
            if item is None:
                dropped += 1
            else:
                found[item.id] = item
    return Reading(tuple(found.values()), dropped)


def _says_nothing(answer: Mapping[str, Any]) -> bool:
    """Whether an object only says that there is none: all of it is null."""
    return all(value is None for name, value in answer.items() if name not in ("object", "id"))


async def _pages(ask: Ask, path: str, parameters: Mapping[str, Any], most: int = MOST_PAGES) -> AsyncIterator[list[Any]]:
    """The pages of a list, oldest cursor first. Raises `Unreadable` for one that never ends."""
    after: str | None = None
    seen: set[str] = set()
    for _ in range(most):
        answer = await ask(path, parameters if after is None else {**parameters, "after": after})
        entries = answer.get("data")
        if not isinstance(entries, list):
            raise Unreadable("the answer is no list")
        yield entries
        if answer.get("has_more") is not True:
            return
        last = entries[-1] if entries else None
        after = answer.get("last_id") or (last.get("id") if isinstance(last, dict) else None)
        if not isinstance(after, str) or not after or after in seen:
            raise Unreadable("its pages repeat: the list does not end")
        seen.add(after)
    raise Unreadable(f"the list has more than {most:,} pages")


# The audit log --------------------------------------------------------------------------------------------------------------------

MOST_AUDIT_PAGES = 100
_PRIVATE = ("email", "phone", "ip_address", "user_agent", "ja3", "ja4", "ip_address_details", "allowed_ips", "error_message")
_NO_CHANGE = (
    "login.", "logout.", "tenant.workload_identity.access_token.issued", "tenant.principal_authentication_policy.resolved",
    "tenant.user.looked_up",
)  # fmt: skip
"""How the types begin of what is done all day and changes nothing."""


async def audit_log(ask: Ask, since: datetime, *, tenant: bool = False, personal: bool = False) -> AsyncIterator[list[AuditEvent]]:
    """What was done since then, newest first, a page at a time. Logins are left out: they change nothing. Raises `Unreadable`.

    OpenAI keeps two logs: what concerns the tenant (its billing, policies, admin keys, people) is only given when asked for alone.
    """
    parameters = {"limit": _PAGE, "effective_at": {"gte": int(since.timestamp())}} | ({"tenant_only": True} if tenant else {})
    async for entries in _pages(ask, "audit_logs", parameters, MOST_AUDIT_PAGES):
        yield [event for entry in entries if (event := _audit_event(entry, personal=personal)) is not None]


def _audit_event(entry: object, *, personal: bool) -> AuditEvent | None:
    raw = Facts(entry, personal=personal)
    told = raw.text("type").number("effective_at").taken
    kind, at = told.get("type"), moment(told.get("effective_at"))
    if raw.id is None or kind is None or at is None or kind.startswith(_NO_CHANGE):
        return None
    detail = raw.within(kind)
    actor = raw.within("actor")
    by_key = actor.text("type").taken.get("type") == "api_key"
    # What an admin key does is logged under the default project, whatever project it concerns.
    project = None if by_key else raw.within("project").id
    if kind.startswith("project."):
        project = detail.id or project
    elif project is None:
        project = Facts({"id": detail.raw.get("project_id")}).id
    asked: dict[str, Any] = {}
    if isinstance(entry, dict) and isinstance(entry.get(kind), dict):
        for name, value in _flat(entry[kind], personal=personal):
            asked.setdefault(name, value)
    return AuditEvent(raw.id, kind, at, project, detail.id, _actor(actor), asked)


def _actor(actor: Facts) -> str | None:
    """The person or account behind an action: through a key, whose key it is."""
    for way in (actor.within("session"), actor.within("api_key")):
        for who in (way.within("user"), way.within("service_account"), way):
            if who.id:
                return who.id
    return None


_DEEPEST, _MOST_FACTS = 3, 40
_BEFORE = ("previous", "old", "before")


def _flat(raw: Mapping[str, Any], *, personal: bool, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """What was asked for as plain facts: `changes_requested.max_tokens_per_1_minute` becomes `max_tokens_per_1_minute`, and what
    `previous` holds begins with that word.
    """
    for name, value in list(raw.items())[:_MOST_FACTS]:
        if name == "id" or (not personal and any(word in name for word in _PRIVATE)):
            continue
        if isinstance(value, dict) and depth < _DEEPEST:
            before = "previous_" if name in _BEFORE else ""
            for inner, fact in _flat(value, personal=personal, depth=depth + 1):
                yield f"{before}{inner}"[:60], fact
        elif isinstance(value, list) and value and all(isinstance(each, str) for each in value):
            yield name[:60], [text if personal else _ADDRESS.sub("…", text) for text in _strings(value)[:50]]
        else:
            taken = Facts({"value": value}, personal=personal).text("value").number("value").flag("value").taken
            if taken:
                yield name[:60], taken["value"]


# Usage and costs ------------------------------------------------------------------------------------------------------------------

USAGE_ENDPOINTS = ("completions", "embeddings", "images", "moderations", "audio_speeches", "audio_transcriptions")
"""Those whose figures are requests to a model."""
_BUCKETS = {timedelta(minutes=1): ("1m", 10, 1440), timedelta(hours=1): ("1h", 6, 168), timedelta(days=1): ("1d", 4, 31)}
"""How OpenAI calls the width, how many buckets we ask for at once (few enough that a large organization fits in a page), and how
many where each is one row: as many as OpenAI gives.
"""


@dataclass(frozen=True, slots=True)
class UsagePage:
    """Some buckets, whole, with what reached the models in them. A bucket without rows had no traffic."""

    starts: tuple[datetime, ...]
    rows: tuple[UsageRow, ...]


async def usage(
    ask: Ask, endpoint: str, width: timedelta, start: datetime, end: datetime, by: Sequence[str]
) -> AsyncIterator[UsagePage]:
    """The usage of one endpoint in [start, end), a page at a time, by some of `project_id`, `api_key_id` and `model`, or summed up.

    Raises `Unreadable`; the pages before it are good.
    """
    name, few, many = _BUCKETS[width]
    parameters = {
        "start_time": int(start.timestamp()),
        "end_time": int(end.timestamp()),
        "bucket_width": name,
        "group_by": list(by),
        "limit": few if by else many,
    }
    async for buckets in _bucket_pages(ask, f"usage/{endpoint}", parameters):
        rows = [row for at, results in buckets for raw in results if (row := _usage_row(Facts(raw), at, width)) is not None]
        yield UsagePage(tuple(at for at, _ in buckets), tuple(rows))


def _usage_row(raw: Facts, at: datetime, width: timedelta) -> UsageRow | None:
    told = raw.text("project_id", "api_key_id", "model")
    counts = told.number("num_model_requests", "input_tokens", "output_tokens", "input_cached_tokens").taken
    if "num_model_requests" not in counts:
        return None
    return UsageRow(
        at,
        width,
        counts.get("project_id"),
        counts.get("api_key_id"),
        counts.get("model"),
        max(counts["num_model_requests"], 0),
        max(counts.get("input_tokens", 0), 0),
        max(counts.get("output_tokens", 0), 0),
        max(counts.get("input_cached_tokens", 0), 0),
    )


async def costs(ask: Ask, start: datetime, end: datetime) -> AsyncIterator[tuple[tuple[datetime, ...], tuple[CostRow, ...]]]:
    """What each UTC day in [start, end) cost by project and line item: the days of a page and their rows. Raises `Unreadable`."""
    parameters = {
        "start_time": int(start.timestamp()),
        "end_time": int(end.timestamp()),
        "bucket_width": "1d",
        "group_by": ["project_id", "line_item"],
        "limit": 7,
    }
    async for buckets in _bucket_pages(ask, "costs", parameters):
        rows = [row for at, results in buckets for raw in results if (row := _cost_row(raw, at)) is not None]
        yield tuple(at for at, _ in buckets), tuple(rows)


def _cost_row(entry: object, at: datetime) -> CostRow | None:
    raw = Facts(entry)
    told = raw.text("project_id", "line_item").taken
    amount = entry.get("amount") if isinstance(entry, dict) else None
    value = amount.get("value") if isinstance(amount, dict) else None
    if isinstance(value, str):  # decimals come as text in some answers
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not -_MOST_MONEY < value < _MOST_MONEY:
        return None
    currency = raw.within("amount").text("currency").taken.get("currency", "usd")
    return CostRow(at, told.get("project_id"), told.get("line_item"), float(value), str(currency).lower()[:8])


async def _bucket_pages(ask: Ask, path: str, parameters: Mapping[str, Any]) -> AsyncIterator[list[tuple[datetime, Iterable[Any]]]]:
    """The buckets of each page with their results. Raises `Unreadable`."""
    page: str | None = None
    seen: set[str] = set()
    for _ in range(MOST_PAGES):
        answer = await ask(path, parameters if page is None else {**parameters, "page": page})
        buckets = answer.get("data")
        if not isinstance(buckets, list):
            raise Unreadable("the answer is no list")
        found: list[tuple[datetime, Iterable[Any]]] = []
        for bucket in buckets:
            at = moment(whole(bucket.get("start_time"))) if isinstance(bucket, dict) else None
            results = bucket.get("results", bucket.get("result")) if isinstance(bucket, dict) else None
            if at is not None and isinstance(results, list):
                found.append((at, results))
        yield found
        if answer.get("has_more") is not True:
            return
        page = answer.get("next_page")
        if not isinstance(page, str) or not page or page in seen:
            raise Unreadable("its pages repeat: the list does not end")
        seen.add(page)
    raise Unreadable(f"the list has more than {MOST_PAGES:,} pages")


def moment(seconds: int | None) -> datetime | None:
    """A time of OpenAI's, aware, UTC; None for what is none."""
    return datetime.fromtimestamp(seconds, UTC) if seconds is not None and 0 < seconds < 253_402_300_800 else None
