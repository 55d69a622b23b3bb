"""The Administration API, read side: who may ask, how its parameters are read, and what each endpoint says. Nothing here writes."""

import asyncio
import base64
import binascii
import calendar
import json
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from monitor.emulator.administration import Administration
from monitor.emulator.answers import Answer, Ask, edge, error, invalid_key, no_key
from monitor.emulator.endpoint_trouble import TENANT_LOG
from monitor.emulator.organization import (
    HOSTED_TOOLS,
    AdminKey,
    Certificate,
    KeyRecord,
    Organization,
    ProjectRecord,
    SpendLimit,
    User,
)
from monitor.emulator.shelf import Shelf
from monitor.emulator.usage import DAY, HOUR, MINUTE, Counts, Series
from monitor.emulator.world import World

ROOT = "/v1/organization"
MANAGEMENT_READ = "api.management.read"
_WIDTHS = {"1m": (MINUTE, 60, 1440), "1h": (HOUR, 24, 168), "1d": (DAY, 7, 31)}
"""Seconds, buckets unless asked for, and most buckets."""
_EMPTY_USAGE = (
    "moderations", "images", "audio_speeches", "audio_transcriptions", "vector_stores", "code_interpreter_sessions",
    "file_search_calls", "web_search_calls", "decisions",
)  # fmt: skip
_GROUPS = ("project_id", "user_id", "api_key_id", "model", "batch", "service_tier", "api_source", "size", "source", "context_level")
_COST_GROUPS = ("project_id", "user_id", "line_item", "api_key_id", "api_source")
_ROWS = 100
"""Objects on a page at most."""

Said = dict[str, Any]


class Refused(Exception):  # noqa: N818 - an answer on its way out
    """The request gets this answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


class Query:
    """The parameters of a request. Every reader raises `Refused` with a 400 for a value that is none."""

    def __init__(self, request: Request) -> None:
        self._given = request.query_params
        self.blind = False
        """Whether cursors are ignored: a list that is broken on purpose."""

    def many(self, name: str) -> list[str]:
        """All values, whether the name was written with brackets or without."""
        return [*self._given.getlist(name), *self._given.getlist(f"{name}[]")]

    def text(self, name: str) -> str | None:
        """One value."""
        return None if self.blind and name in ("after", "before", "page") else self._given.get(name)

    def number(self, name: str, least: int = 0, most: int = 2**53) -> int | None:
        """A whole number from `least` to `most`."""
        given = self._given.get(name)
        if given is None:
            return None
        try:
            value = int(given) if given.isascii() and len(given) < 20 else None
        except ValueError:
            value = None
        if value is None:
            raise _bad(name, f"expected an integer, but got '{given[:40]}' instead", "invalid_type")
        if value < least:
            raise _bad(name, f"integer below minimum value. Expected a value >= {least}, but got {value} instead", _BELOW)
        if value > most:
            raise _bad(name, f"integer above maximum value. Expected a value <= {most}, but got {value} instead", _ABOVE)
        return value

    def truth(self, name: str) -> bool:
        """`true` or `false`."""
        return self.choice(name, ("true", "false"), "false") == "true"

    def choice(self, name: str, choices: Sequence[str], otherwise: str) -> str:
        """One of `choices`."""
        given = self._given.get(name, otherwise)
        if given not in choices:
            raise _bad(name, f"'{given[:40]}' is not one of {', '.join(repr(one) for one in choices)}", "invalid_value")
        return given


_BELOW, _ABOVE = "integer_below_min_value", "integer_above_max_value"


def _bad(name: str, text: str, code: str) -> Refused:
    return Refused(error(400, f"Invalid '{name}': {text}.", code, param=name))


def _missing(what: str, name: str) -> Refused:
    return Refused(error(404, f"No such {what}: '{name[:80]}'", "not_found", param=None))


class Reading:
    """One request: who asks, about which organization, and with which parameters."""

    def __init__(self, world: World, request: Request) -> None:
        self.world = world
        self.record: Administration = world.administration
        self.request = request
        self.path = request.url.path.removeprefix(ROOT)
        self.query = Query(request)
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        self.secret = secret.strip() if scheme.lower() == "bearer" else ""
        key = self.record.admin_keys.get(self.secret)
        self.key: AdminKey | None = key if key is not None and _lives(key, world.clock()) else None

    @property
    def home(self) -> Organization:
        """The organization of the key."""
        assert self.key is not None  # noqa: S101 - admit() has found it
        return self.record.organizations[self.key.organization]

    @property
    def project(self) -> ProjectRecord:
        """The project that the path names. Raises `Refused` where the organization has none such."""
        name = self.request.path_params["project"]
        found = self.home.projects.get(name)
        if found is None:
            if self.path.endswith("/rate_limits"):
                body = {"code": 404, "message": f"The project {name[:80]} was not found"}
                raise Refused(Answer(404, json.dumps(body).encode()))
            raise _missing("project", name)
        return found

    @property
    def open_project(self) -> ProjectRecord:
        """The same, which must not be archived: lists of such are refused."""
        found = self.project
        if found.archived_at is not None:
            raise Refused(error(400, f"Project '{found.project.id}' is archived and cannot be used.", "project_archived"))
        return found

    @property
    def is_list(self) -> bool:
        """Whether the answer may have pages."""
        return self.path.rsplit("/", 1)[-1] in _LISTS or self.path.startswith("/usage/")

    def admit(self) -> None:
        """Let an admin key in. Raises `Refused` for everybody else."""
        if not self.secret:
            raise Refused(no_key(Ask(endpoint=self.request.url.path)))
        if self.key is None:
            if self.world.find_key(self.secret) is not None:
                raise Refused(_unscoped())
            raise Refused(invalid_key(Ask(self.secret)))
        named = self.request.headers.get("openai-organization")
        if named and named != self.key.organization:
            text = "OpenAI-Organization header should match organization for API key"
            raise Refused(error(401, text, "mismatched_organization"))
        if self.key.scopes is not None and MANAGEMENT_READ not in self.key.scopes:
            raise Refused(_unscoped())
        self.key.record.last_used_at = int(self.world.clock())

    def limited(self) -> None:
        """Count the request. Raises `Refused` where there were too many."""
        bucket = self.record.bucket
        wait = bucket.take(1, self.world.clock()) if bucket is not None else 0.0
        if wait:
            raise Refused(_too_many(wait))

    def page(self, shelf: Shelf[Any], describe: Callable[[Any], Said], **how: Any) -> Said:
        """A page of a list."""
        limit = self.query.number("limit", 1, _ROWS) or 20
        after, before = self.query.text("after"), self.query.text("before")
        for name, cursor in (("after", after), ("before", before)):
            if cursor and cursor not in shelf:
                raise _bad(name, f"there is no '{cursor[:80]}' to go on from", "invalid_value")
        things, more = shelf.page(limit, after or None, before or None, **how)
        return listed([describe(thing) for thing in things], more=more)


def listed(data: list[Said], *, more: bool) -> Said:
    """The envelope of a list."""
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": more,
    }


def _lives(key: AdminKey, now: float) -> bool:
    return key.record.expires_at is None or now < key.record.expires_at


def _unscoped() -> Answer:
    text = (
        f"You have insufficient permissions for this operation. Missing scopes: {MANAGEMENT_READ}. Check that you have the correct "
        "role in your organization, and if you're using a restricted API key, that it has the necessary scopes."
    )
    return error(401, text)


def _too_many(wait: float) -> Answer:
    text = "Rate limit reached for requests to the Administration API. Please try again later."
    return error(429, text, "rate_limit_exceeded", "requests", headers={"retry-after": str(max(1, math.ceil(wait)))})


# What things look like ----------------------------------------------------------------------------------------------------------


def _project(record: ProjectRecord) -> Said:
    said: Said = {
        "object": "organization.project",
        "id": record.project.id,
        "name": record.project.name,
        "created_at": record.created_at,
        "archived_at": record.archived_at,
        "status": "active" if record.archived_at is None else "archived",
        "external_key_id": None,
    }
    return said | ({"residency": record.residency} if record.residency is not None else {})


def _owner(record: ProjectRecord, made: KeyRecord) -> Said:
    owner = made.owner
    if isinstance(owner, User):
        member = record.members.get(owner.id)
        role = member[1] if member is not None else "owner" if owner.role == "owner" else "member"
        about = {"id": owner.id, "name": owner.name, "email": owner.email, "role": role, "created_at": owner.added_at}
        return {"type": "user", "user": about}
    about = {"id": owner.id, "name": owner.name, "role": owner.role, "created_at": owner.created_at}
    return {"type": "service_account", "service_account": about}


def _certificate(made: Certificate, where: str, kind: str) -> Said:
    return {
        "object": kind,
        "id": made.id,
        "name": made.name,
        "created_at": made.created_at,
        "certificate_details": {"valid_at": made.valid_at, "expires_at": made.expires_at},
        "active": where in made.active,
    }


def _admin_key(key: AdminKey) -> Said:
    made = key.record
    assert isinstance(made.owner, User)  # noqa: S101 - an admin key is a person's
    return {
        "object": "organization.admin_api_key",
        "id": made.id,
        "name": made.name,
        "redacted_value": made.redacted,
        "created_at": made.created_at,
        "last_used_at": made.last_used_at,
        "expires_at": made.expires_at,
        "owner": {
            "type": "user",
            "object": "organization.user",
            "id": made.owner.id,
            "name": made.owner.name,
            "created_at": made.owner.added_at,
            "role": "owner",
        },
    }


def _spend(kind: str, limit: SpendLimit | None) -> Said:
    if limit is None:
        raise _missing("spend limit", kind)
    status = "enforcing" if limit.enforcing else "inactive"
    return {
        "object": kind,
        "threshold_amount": limit.cents,
        "currency": "USD",
        "interval": "month",
        "enforcement": {"status": status},
    }


# Endpoints ----------------------------------------------------------------------------------------------------------------------


def _projects(reading: Reading) -> Said:
    archived = reading.query.truth("include_archived")
    return reading.page(reading.home.projects, _project, keep=None if archived else lambda record: record.archived_at is None)


def _one_project(reading: Reading) -> Said:
    return _project(reading.project)


def _key(reading: Reading, record: ProjectRecord, secret: str) -> Said:
    made = reading.record.keys[secret]
    return {
        "object": "organization.project.api_key",
        "id": made.id,
        "name": made.name,
        "redacted_value": made.redacted,
        "created_at": made.created_at,
        "last_used_at": reading.record.last_used(secret),
        "expires_at": made.expires_at,
        "owner": _owner(record, made),
        "owner_project_access": "active" if reading.record.has_access(record, made) else "inactive",
    }


def _keys(reading: Reading) -> Said:
    record = reading.open_project
    wanted = reading.query.choice("owner_project_access", ("active", "inactive", "any"), "active")

    def keep(secret: str) -> bool:
        access = reading.record.has_access(record, reading.record.keys[secret])
        return wanted == "any" or access == (wanted == "active")

    return reading.page(record.keys, lambda secret: _key(reading, record, secret), keep=keep)


def _one_key(reading: Reading) -> Said:
    record, name = reading.project, reading.request.path_params["key"]
    secret = record.keys.get(name)
    if secret is None:
        raise _missing("API key", name)
    return _key(reading, record, secret)


def _service_accounts(reading: Reading) -> Said:
    return reading.page(
        reading.open_project.service_accounts,
        lambda one: {
            "object": "organization.project.service_account",
            "id": one.id,
            "name": one.name,
            "role": one.role,
            "created_at": one.created_at,
        },
    )


def _project_users(reading: Reading) -> Said:
    def describe(member: tuple[User, str, int]) -> Said:
        user, role, added_at = member
        about = {"id": user.id, "name": user.name, "email": user.email, "role": role, "added_at": added_at}
        return {"object": "organization.project.user", **about}

    return reading.page(reading.open_project.members, describe)


def _users(reading: Reading) -> Said:
    emails = set(reading.query.many("emails"))

    def describe(user: User) -> Said:
        about = {"id": user.id, "name": user.name, "email": user.email, "role": user.role, "added_at": user.added_at}
        return {"object": "organization.user", **about}

    return reading.page(reading.home.users, describe, keep=(lambda user: user.email in emails) if emails else None)


def _rate_limits(reading: Reading) -> Said:
    record, query = reading.open_project, reading.query
    names = [model.name for model in reading.world.visible()]
    ids = [f"rl-{name}" for name in names]
    limit = query.number("limit", 1, 1000) or 100
    begin, end = 0, len(ids)
    for cursor in ("after", "before"):
        given = query.text(cursor)
        if given and given not in ids:
            raise _bad(cursor, f"there is no '{given[:80]}' to go on from", "invalid_value")
        if given:
            begin, end = (ids.index(given) + 1, end) if cursor == "after" else (begin, ids.index(given))
    if query.text("before") and not query.text("after"):
        shown = range(max(begin, end - limit), end)
        more = end - limit > begin
    else:
        shown = range(begin, min(begin + limit, end))
        more = begin + limit < end
    data = []
    for index in shown:
        requests, tokens = reading.record.limits_of(record.project, names[index])
        limits = {"max_requests_per_1_minute": requests, "max_tokens_per_1_minute": tokens}
        data.append({"object": "project.rate_limit", "id": ids[index], "model": names[index], **limits})
    return listed(data, more=more)


def _model_permissions(reading: Reading) -> Said:
    project = reading.project.project
    mode, models = ("deny_list", project.denied) if project.allowed is None else ("allow_list", project.allowed - project.denied)
    return {"object": "project.model_permissions", "mode": mode, "model_ids": sorted(models)}


def _hosted_tools(reading: Reading) -> Said:
    off = reading.project.tools_off
    return {"object": "project.hosted_tool_permissions", **{tool: {"enabled": tool not in off} for tool in HOSTED_TOOLS}}


def _service_tiers(reading: Reading) -> Said:
    record = reading.project
    return {"object": "project.service_tier_settings", "default": record.default_tier, "enabled_tiers": record.tiers}


def _project_spend(reading: Reading) -> Said:
    return _spend("project.spend_limit", reading.record.spend_limit_of(reading.project.project.id))


def _organization_spend(reading: Reading) -> Said:
    return _spend("organization.spend_limit", reading.record.spend_limit_of(reading.home.id))


def _alerts(reading: Reading, whose: str, kind: str) -> Said:
    def describe(alert: tuple[str, int, list[str]]) -> Said:
        channel = {"type": "email", "recipients": alert[2], "subject_prefix": None}
        about = {"threshold_amount": alert[1], "currency": "USD", "interval": "month", "notification_channel": channel}
        return {"object": kind, "id": alert[0], **about}

    newest_first = reading.query.choice("order", ("asc", "desc"), "asc") == "desc"
    return reading.page(reading.record.spend_alerts.get(whose, Shelf()), describe, newest_first=newest_first)


def _project_alerts(reading: Reading) -> Said:
    return _alerts(reading, reading.project.project.id, "project.spend_alert")


def _organization_alerts(reading: Reading) -> Said:
    return _alerts(reading, reading.home.id, "organization.spend_alert")


def _certificates(reading: Reading, where: str, kind: str) -> Said:
    newest_first = reading.query.choice("order", ("asc", "desc"), "desc") == "desc"
    return reading.page(
        reading.home.certificates,
        lambda made: _certificate(made, where, kind),
        newest_first=newest_first,
        keep=(lambda made: where in made.active) if kind == "organization.project.certificate" else None,
    )


def _project_certificates(reading: Reading) -> Said:
    return _certificates(reading, reading.project.project.id, "organization.project.certificate")


def _organization_certificates(reading: Reading) -> Said:
    return _certificates(reading, reading.home.id, "organization.certificate")


def _admin_keys(reading: Reading) -> Said:
    newest_first = reading.query.choice("order", ("asc", "desc"), "asc") == "desc"
    return reading.page(reading.home.admin_keys, _admin_key, newest_first=newest_first)


def _is_tenants(type: str) -> bool:  # noqa: A002 - OpenAI's word
    """Whether an event is told only to whoever asks for the tenant's alone."""
    return type.startswith("tenant.") or type in ("role.bound_to_resource", "role.unbound_from_resource")


def _audit_logs(reading: Reading) -> Said:
    query = reading.query
    begin, end = -math.inf, math.inf
    for name, shift in (("gt", 1), ("gte", 0)):
        value = query.number(f"effective_at[{name}]")
        begin = max(begin, value + shift) if value is not None else begin
    for name, shift in (("lt", 0), ("lte", 1)):
        value = query.number(f"effective_at[{name}]")
        end = min(end, value + shift) if value is not None else end
    projects, types, emails, actors, resources = (
        set(query.many(name)) for name in ("project_ids", "event_types", "actor_emails", "actor_ids", "resource_ids")
    )
    tenant = query.truth("tenant_only")
    if tenant and (others := sorted(name for name in types if not _is_tenants(name))):
        raise _bad("event_types[]", f"'{others[0][:40]}' is not tenant-scoped", "invalid_value")

    def keep(event: Said) -> bool:
        user = event["actor"]["session"]["user"]
        return (
            _is_tenants(event["type"]) is tenant
            and (not projects or event.get("project", {}).get("id") in projects)
            and (not types or event["type"] in types)
            and (not emails or user["email"] in emails)
            and (not actors or user["id"] in actors)
            and (not resources or event[event["type"]].get("id") in resources)
        )

    return reading.page(reading.home.audit, lambda event: event, newest_first=True, keep=keep, between=(begin, end))


# Usage --------------------------------------------------------------------------------------------------------------------------


def _buckets(reading: Reading, widths: dict[str, tuple[int, int, int]]) -> tuple[list[tuple[int, int]], str | None]:
    """The buckets to answer with, and the cursor of the next page. The first and the last are cut to what was asked for."""
    query, now = reading.query, int(reading.world.clock())
    start = query.number("start_time")
    if start is None:
        raise Refused(error(400, "Missing required parameter: 'start_time'.", "missing_required_parameter", param="start_time"))
    width, usual, most = widths[query.choice("bucket_width", tuple(widths), "1d")]
    limit = query.number("limit", 1, most) or usual
    given = query.number("end_time")
    if given is not None and given <= start:
        raise _bad("end_time", "it must be after 'start_time'", "invalid_value")
    end = min(given, now + width) if given is not None else now
    page = query.text("page")
    if page:
        start = max(start, _from_cursor(page))
    found: list[tuple[int, int]] = []
    while start < end and len(found) < limit:
        stop = min(start - start % width + width, end)
        found.append((start, stop))
        start = stop
    return found, _cursor(start) if start < end else None


def _cursor(start: int) -> str:
    return "page_" + base64.urlsafe_b64encode(str(start).encode()).decode().rstrip("=")


def _from_cursor(page: str) -> int:
    try:
        text = page.removeprefix("page_")
        return int(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, binascii.Error):
        raise _bad("page", "it is not the 'next_page' of an answer", "invalid_value") from None


def _projects_asked(reading: Reading) -> set[str]:
    wanted = set(reading.query.many("project_ids"))
    mine = reading.home.projects
    return {name for name in wanted if name in mine} if wanted else {record.project.id for record in mine}


def _kept(reading: Reading, series: Series) -> bool:
    query = reading.query
    wanted = (("api_key_ids", series.key), ("user_ids", series.user), ("models", series.model))
    return all(not query.many(name) or value in query.many(name) for name, value in wanted)


def _groups(reading: Reading, allowed: Sequence[str]) -> list[str]:
    groups = reading.query.many("group_by")
    for group in groups:
        if group not in allowed:
            raise _bad("group_by", f"'{group[:40]}' is not one of {', '.join(repr(one) for one in allowed)}", "invalid_value")
    return groups


def _paged(buckets: list[Said], next_page: str | None) -> Said:
    return {"object": "page", "data": buckets, "has_more": next_page is not None, "next_page": next_page}


def _usage(kind: str) -> Callable[[Reading], Awaitable[Said]]:
    async def answer(reading: Reading) -> Said:
        groups = _groups(reading, _GROUPS)
        found, next_page = _buckets(reading, _WIDTHS)
        projects = _projects_asked(reading) if kind in ("completions", "embeddings") else set()
        batches = reading.query.truth("batch")  # nothing here comes in batches
        buckets = []
        for start, stop in found:
            await asyncio.sleep(0)  # a month is long: others are answered meanwhile
            sums: dict[tuple[Any, ...], Counts] = {}
            for series, counts in ({} if batches else reading.record.usage.sums(start, stop, projects)).items():
                if (reading.world.models[series.model].family == "embeddings") != (kind == "embeddings"):
                    continue
                if _kept(reading, series):
                    values = _values(series)
                    group = tuple(values.get(name) for name in groups)
                    sums.setdefault(group, Counts()).add(counts.requests, counts.input, counts.output)
            results = [_usage_row(kind, dict(zip(groups, group, strict=True)), counts) for group, counts in sums.items()]
            buckets.append({"object": "bucket", "start_time": start, "end_time": stop, "results": results})
        return _paged(buckets, next_page)

    return answer


def _values(series: Series) -> Said:
    return {
        "project_id": series.project,
        "user_id": series.user,
        "api_key_id": series.key,
        "model": series.model,
        "batch": False,
        "service_tier": "default",
        "api_source": "unlabeled",
    }


def _usage_row(kind: str, group: Said, counts: Counts) -> Said:
    said: Said = {"object": f"organization.usage.{kind}.result", "input_tokens": counts.input}
    names = ["project_id", "user_id", "api_key_id", "model"]
    if kind == "completions":
        said |= {"input_cached_tokens": 0, "input_uncached_tokens": counts.input, "output_tokens": counts.output}
        said |= {"input_text_tokens": counts.input, "output_text_tokens": counts.output, "input_cached_text_tokens": 0}
        said |= {"input_audio_tokens": 0, "output_audio_tokens": 0}
        names += ["batch", "service_tier"]
    return said | {"num_model_requests": counts.requests} | {name: group.get(name) for name in names}


async def _costs(reading: Reading) -> Said:
    groups = _groups(reading, _COST_GROUPS)
    if {"user_id", "project_id"} <= set(groups):
        raise _bad("group_by", "'user_id' and 'project_id' cannot be combined", "invalid_value")
    found, next_page = _buckets(reading, {"1d": (DAY, 7, 180)})
    projects, wanted = _projects_asked(reading), reading.query.many("line_items")
    buckets = []
    for start, stop in found:
        await asyncio.sleep(0)
        sums: dict[tuple[Any, ...], list[float]] = {}
        for series, counts in reading.record.usage.sums(start, stop, projects).items():
            if not _kept(reading, series):
                continue
            price = reading.world.models[series.model].price
            for tokens, dollars, direction in ((counts.input, price[0], "input"), (counts.output, price[1], "output")):
                item = f"{series.model}, {direction}"
                if tokens and (not wanted or item in wanted):
                    values = _values(series) | {"line_item": item}
                    sum_ = sums.setdefault(tuple(values.get(name) for name in groups), [0.0, 0.0])
                    sum_[0] += tokens * dollars / 1e6
                    sum_[1] += tokens
        results = [_cost_row(dict(zip(groups, group, strict=True)), *values) for group, values in sums.items()]
        buckets.append({"object": "bucket", "start_time": start, "end_time": stop, "results": results})
    return _paged(buckets, next_page)


def _cost_row(group: Said, dollars: float, tokens: float) -> Said:
    by_item = "line_item" in group
    return {
        "object": "organization.costs.result",
        "amount": {"value": round(dollars, 8), "currency": "usd"},
        "line_item": group.get("line_item"),
        "project_id": group.get("project_id"),
        "api_key_id": group.get("api_key_id"),
        "quantity": tokens if by_item else None,
        "quantity_unit": "tokens" if by_item else None,
    }


def spent_this_month(world: World, project: str) -> float:
    """What a project has cost since the month began (UTC), in US dollars."""
    now = time.gmtime(world.clock())
    begin = calendar.timegm((now.tm_year, now.tm_mon, 1, 0, 0, 0))
    total = 0.0
    for series, counts in world.administration.usage.sums(begin, int(world.clock()), {project}).items():
        price = world.models[series.model].price
        total += (counts.input * price[0] + counts.output * price[1]) / 1e6
    return total


_LISTS = (
    "projects", "api_keys", "service_accounts", "users", "rate_limits", "spend_alerts", "certificates", "admin_api_keys",
    "audit_logs", "costs",
)  # fmt: skip

_Maker = Callable[[Reading], Said | Awaitable[Said]]

_ENDPOINTS: dict[str, _Maker] = {
    "/projects": _projects,
    "/projects/{project}": _one_project,
    "/projects/{project}/api_keys": _keys,
    "/projects/{project}/api_keys/{key}": _one_key,
    "/projects/{project}/service_accounts": _service_accounts,
    "/projects/{project}/users": _project_users,
    "/projects/{project}/rate_limits": _rate_limits,
    "/projects/{project}/model_permissions": _model_permissions,
    "/projects/{project}/hosted_tool_permissions": _hosted_tools,
    "/projects/{project}/service_tier_settings": _service_tiers,
    "/projects/{project}/spend_limit": _project_spend,
    "/projects/{project}/spend_alerts": _project_alerts,
    "/projects/{project}/certificates": _project_certificates,
    "/users": _users,
    "/spend_limit": _organization_spend,
    "/spend_alerts": _organization_alerts,
    "/certificates": _organization_certificates,
    "/admin_api_keys": _admin_keys,
    "/audit_logs": _audit_logs,
    "/costs": _costs,
    **{f"/usage/{kind}": _usage(kind) for kind in ("completions", "embeddings", *_EMPTY_USAGE)},
}


def administration_routes(world: World) -> list[Route]:
    """The endpoints over `world`: all of them read."""

    def route(path: str, make: _Maker) -> Route:
        async def endpoint(request: Request) -> Response:
            world.advance()  # what just happened may concern the key
            return await _answered(Reading(world, request), make)

        return Route(ROOT + path, endpoint, methods=["GET"])

    return [route(path, make) for path, make in _ENDPOINTS.items()]


async def _answered(reading: Reading, make: _Maker) -> Response:
    """Judge a request and answer it."""
    world = reading.world
    headers = {"x-request-id": world.request_id(), "openai-version": "2020-10-01"}
    answer: Answer | None = None
    try:
        ask = Ask(reading.secret, model="", endpoint=reading.request.url.path)
        answer = world.refuse(("network.", "server."), ask)
        if answer is None:
            reading.admit()
            headers["openai-organization"] = world.slugs[reading.home.id]
            reading.limited()
            made: Response = JSONResponse(await _disturbed(reading, make))
    except Refused as refused:
        answer = refused.answer
    if answer is not None:
        kind = answer.headers.get("content-type", "application/json")
        made = Response(answer.body, answer.status, dict(answer.headers), kind)
    took = world.latency(0.04, None)
    await asyncio.sleep(took)
    if answer is None or not answer.edge:
        made.headers.update(headers | {"openai-processing-ms": str(max(1, int(took * 900)))})
    return made


async def _said(reading: Reading, make: _Maker) -> Said:
    said = make(reading)
    return said if isinstance(said, dict) else await said


async def _disturbed(reading: Reading, make: _Maker) -> Said:
    """The answer, or what is wrong with it on purpose."""
    world, now = reading.world, reading.world.clock()
    log = reading.path.strip("/") == "audit_logs" and reading.query.truth("tenant_only")
    path = TENANT_LOG if log else reading.path
    trouble = next((one for one in reading.record.troubles if one.hits(path, now, world.chance())), None)
    if trouble is None:
        return await _said(reading, make)
    if trouble.kind == "error":
        raise Refused(error(500, "The server had an error processing your request. Sorry about that!", type="server_error"))
    if trouble.kind == "forbidden":
        raise Refused(error(403, "You are not allowed to read this.", "forbidden"))
    if trouble.kind == "absent":
        raise Refused(error(404, "There is no such thing.", "not_found"))
    if trouble.kind == "unauthorized":
        raise Refused(_unscoped())
    if trouble.kind == "limited":
        raise Refused(_too_many(7.0))
    if trouble.kind == "not_json":
        raise Refused(edge(200, "Welcome to the guest network"))
    reading.query.blind = True
    said = await _said(reading, make)
    if reading.is_list:
        said["has_more"] = True
        if said["object"] == "page":
            said["next_page"] = _cursor(0) if trouble.kind == "same_page" else f"page_{world.request_id()[4:]}"
        elif trouble.kind == "endless" and said["data"]:
            last = {**said["data"][-1], "id": f"{said['data'][-1]['id'][:4]}{world.request_id()[4:28]}"}
            said["data"] = [*said["data"][:-1], last]
            said["last_id"] = last["id"]
    return said
