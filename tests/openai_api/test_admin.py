"""The Administration API, read: nothing but GET, to the end, whatever the answers look like."""

import ast
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from monitor.domain.organization import AuditEvent, Item, ItemKind
from monitor.openai_api import organization as record
from monitor.openai_api.admin import AdminClient, ReadOnlyTransport, Unreadable
from monitor.openai_api.organization import ORGANIZATION_PARTS, PROJECT_PARTS, Part
from monitor.openai_api.transport import in_process
from monitor.secrets import Secret
from tests.conftest import ROOT

BASE = "http://127.0.0.1:9/v1"
KEY = "sk-admin-TEST-not-a-key-000000000000000000-WXYZ"
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
PART = {part.kind: part for part in (*ORGANIZATION_PARTS, *PROJECT_PARTS)}
KEYS = PART[ItemKind.API_KEY]
Reply = Callable[[Request], object]


def client(reply: Reply, *, key: str | None = KEY, problem: str | None = None, **more: Any) -> AdminClient:
    """A client whose server answers with what `reply` gives: JSON, bytes, or a whole response."""

    async def answer(request: Request) -> Response:
        said = reply(request)
        if isinstance(said, Response):
            return said
        return Response(said if isinstance(said, bytes) else json.dumps(said), media_type="application/json")

    app = Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST", "PUT", "PATCH", "DELETE"])])
    secret = Secret("env:ADMIN", key, problem)
    return AdminClient(BASE, lambda: secret, transport=in_process(app), **more)


def page(*entries: object, more: bool = False, last: str | None = None) -> dict[str, object]:
    return {"object": "list", "data": list(entries), "has_more": more, "last_id": last, "first_id": None}


def api_key(number: str = "key_1", **more: object) -> dict[str, object]:
    owner = {"type": "user", "user": {"id": "user_1", "name": "Ada", "email": "ada@example.com", "role": "owner", "created_at": 1}}
    return {
        "object": "organization.project.api_key",
        "id": number,
        "name": "backend",
        "redacted_value": "sk-abc...def",
        "created_at": 1711471533,
        "last_used_at": 1711471534,
        "owner_project_access": "active",
        "owner": owner,
    } | more


async def read(reply: Reply, part: Part = KEYS, project: str | None = "proj_1", *, personal: bool = False) -> record.Reading:
    async with client(reply) as admin:
        return await record.read(admin.ask, part, project, personal=personal)


async def refused(reply: Reply, part: Part = KEYS) -> Unreadable:
    with pytest.raises(Unreadable) as caught:
        await read(reply, part)
    return caught.value


# Read-only ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "url"),
    [
        ("POST", f"{BASE}/organization/projects"),
        ("DELETE", f"{BASE}/organization/projects/proj_1/api_keys/key_1"),
        ("PATCH", f"{BASE}/organization/x"),
        ("HEAD", f"{BASE}/organization/x"),
        ("GET", f"{BASE}/models"),
        ("GET", f"{BASE}/organizations/x"),
        ("GET", f"{BASE}/organization/../models"),
        ("GET", f"{BASE}/organization/%2e%2e/models"),
        ("GET", "http://127.0.0.1:10/v1/organization/projects"),
        ("GET", "https://127.0.0.1:9/v1/organization/projects"),
        ("GET", "http://example.com/v1/organization/projects"),
    ],
)
async def test_everything_but_reading_the_record_is_refused_before_it_is_sent(method: str, url: str) -> None:
    sent = []

    class Wire(httpx2.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            sent.append(request)
            return httpx2.Response(200)

    transport = ReadOnlyTransport(Wire(), f"{BASE}/organization")
    with pytest.raises(PermissionError):
        await transport.handle_async_request(httpx2.Request(method, url))
    assert sent == []
    await transport.handle_async_request(httpx2.Request("GET", f"{BASE}/organization/projects?limit=1"))
    assert len(sent) == 1


async def test_a_writing_call_of_the_sdk_itself_does_not_leave() -> None:
    asked = []
    async with client(lambda request: asked.append(request.method) or {}) as admin:
        assert admin._sdk is not None
        with pytest.raises(Exception):  # noqa: B017, PT011 - whatever the SDK makes of it
            await admin._sdk.with_options(admin_api_key=KEY).admin.organization.projects.archive("proj_1")
        with pytest.raises(Exception):  # noqa: B017, PT011 - whatever the SDK makes of it
            await admin._sdk.with_options(api_key=KEY).models.list()
    assert asked == []


_WRITES = {"create", "update", "delete", "archive", "activate", "deactivate", "modify", "post", "put", "patch", "cancel", "remove",
           "update_rate_limit", "delete_rate_limit"}  # fmt: skip
_BY_NAME = {"methodcaller", "attrgetter", "__getattribute__"}
_ALLOWED = {
    ("client.py", f"self._sdk.{what}.with_raw_response.create")
    for what in ("chat.completions", "completions", "embeddings", "responses")
}
"""The inference probes: they create answers, not things."""


def test_no_source_of_ours_calls_a_method_of_the_sdk_that_writes() -> None:
    """Whether it is called there, or only named to be called elsewhere; and no method is looked up by a name made at run time."""
    found = set()
    for file in (ROOT / "monitor" / "openai_api").glob("*.py"):
        tree = ast.parse(file.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load) and node.attr in _WRITES:
                found.add((file.name, ast.unparse(node)))
            if isinstance(node, ast.Name | ast.Attribute) and ast.unparse(node).rpartition(".")[2] in _BY_NAME:
                found.add((file.name, ast.unparse(node)))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "getattr":
                assert isinstance(node.args[1], ast.Constant), f"{file.name} looks up a name: {ast.unparse(node)}"
                assert node.args[1].value not in _WRITES, f"{file.name}: {ast.unparse(node)}"
    assert found - {("organization.py", "facts.update")} == _ALLOWED  # a dictionary
    for file in (ROOT / "monitor").rglob("*.py"):
        if "emulator" in file.parts:
            continue
        text = file.read_text()
        assert "admin.organization" not in text, f"{file.name} reaches for the SDK's administration methods"
        if file.parent.name != "openai_api":
            assert "import openai" not in text.replace("from monitor.openai_api import openai", ""), file.name


def test_the_only_verbs_of_the_admin_client_are_get() -> None:
    tree = ast.parse((ROOT / "monitor" / "openai_api" / "admin.py").read_text())
    calls = {
        node.func.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and "_sdk" in ast.unparse(node.func.value)
    }
    assert calls == {"get"}


_ASKING = {"post", "put", "patch", "delete", "request", "send", "stream", "urlopen", "build_request"}
_UNMISTAKABLE = {"post", "put", "patch", "delete", "urlopen", "build_request"}
"""Named is enough: what is passed on may be called elsewhere."""
_MAY = {
    ("openai_api/transport.py", "self._session.request"): "the network below the SDK, whose verb the guard has seen",
    ("incident_keeper.py", "poller.request"): "a question as an object, unsent",
    ("hygiene_keeper.py", "poller.request"): "a question as an object, unsent",
    ("hygiene_keeper.py", "bindings.put"): "the database",
    ("store/statistics.py", "meta.put"): "the database",
    ("notify/channels.py", "channels.send"): "a message to people",
    ("notify/outbox.py", "channels.send"): "a message to people",
    ("notify/dead_man.py", "urllib.request.urlopen"): "a sign of life to whom the configuration names",
}


def test_nothing_of_ours_asks_anybody_in_another_way() -> None:
    """Every call in the program whose name could send something, but for SQL: each is known and says why it is there."""
    found = set()
    for file in (ROOT / "monitor").rglob("*.py"):
        place = file.relative_to(ROOT / "monitor").as_posix()
        if place.startswith("emulator/"):
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            called = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _ASKING
            if called or (isinstance(node, ast.Attribute) and node.attr in _UNMISTAKABLE):
                call = ast.unparse(node.func if isinstance(node, ast.Call) else node)
                if not call.startswith("sa."):
                    found.add((place, call))
    assert found == set(_MAY)


def test_only_the_guarded_client_knows_where_the_record_is() -> None:
    for file in (ROOT / "monitor").rglob("*.py"):
        place = file.relative_to(ROOT / "monitor").as_posix()
        if not place.startswith("emulator/"):
            nodes = [node.value for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Constant)]
            paths = [text for text in nodes if isinstance(text, str) and "/organization/" in text and " " not in text]
            assert place == "openai_api/admin.py" or not paths, place


async def test_the_admin_key_is_sent_and_no_project() -> None:
    seen: list[Mapping[str, str]] = []

    def reply(request: Request) -> object:
        seen.append(dict(request.headers))
        return page()

    await read(reply)
    assert seen[0]["authorization"] == f"Bearer {KEY}"
    assert "openai-project" not in seen[0]
    assert "openai-organization" not in seen[0]


async def test_without_a_usable_admin_key_nothing_is_asked() -> None:
    asked: list[str] = []
    admin = client(lambda request: asked.append("x"), key=None, problem="ADMIN is not set")
    async with admin:
        with pytest.raises(Unreadable, match="ADMIN is not set"):
            await admin.ask("projects", {})
    assert asked == []


# Pages ----------------------------------------------------------------------------------------------------------------------------


async def test_a_list_is_read_to_its_end_by_its_cursor() -> None:
    asked = []

    def reply(request: Request) -> object:
        asked.append(dict(request.query_params))
        at = int(request.query_params.get("after", "key_0").removeprefix("key_"))
        return page(api_key(f"key_{at + 1}"), api_key(f"key_{at + 2}"), more=at < 4, last=f"key_{at + 2}")

    found = await read(reply)
    assert [item.id for item in found.items] == [f"key_{number}" for number in range(1, 7)]
    assert [one.get("after") for one in asked] == [None, "key_2", "key_4"]
    assert {one["limit"] for one in asked} == {"100"}


@pytest.mark.parametrize("last", ["key_1", None, 7, ""])
async def test_a_list_that_never_ends_is_given_up(last: object) -> None:
    asked = []

    def reply(request: Request) -> object:
        asked.append(1)
        return page(api_key("key_1"), more=True, last=last)  # type: ignore[arg-type]

    error = await refused(reply)
    assert "repeat" in str(error)
    assert len(asked) <= 2


async def test_a_list_of_ever_new_pages_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def reply(request: Request) -> object:
        asked.append(1)
        return page(api_key(f"key_{len(asked)}"), more=True, last=f"key_{len(asked)}")

    error = await refused(reply)
    assert "more than 500 pages" in str(error)
    assert len(asked) == record.MOST_PAGES


async def test_an_id_that_would_leave_the_path_stays_within() -> None:
    asked = []

    def reply(request: Request) -> object:
        asked.append(request.scope["path"])
        return page()

    async with client(reply) as admin:
        with pytest.raises(Unreadable):
            await record.read(admin.ask, KEYS, "../../models?x=")
        await record.read(admin.ask, KEYS, "models?x=")
    assert asked == ["/v1/organization/projects/models?x=/api_keys"]


# What answers say -----------------------------------------------------------------------------------------------------------------


async def test_a_key_is_read_with_its_owner_and_without_an_address() -> None:
    found = await read(lambda _: page(api_key()))
    [item] = found.items
    assert item == Item(
        ItemKind.API_KEY,
        "key_1",
        "proj_1",
        {
            "name": "backend",
            "redacted_value": "sk-abc...def",
            "created_at": 1711471533,
            "last_used_at": 1711471534,
            "owner_project_access": "active",
            "owner_type": "user",
            "owner_id": "user_1",
            "owner_name": "Ada",
            "owner_role": "owner",
        },
    )
    [wanted] = (await read(lambda _: page(api_key()), personal=True)).items
    assert wanted.facts["owner_email"] == "ada@example.com"


async def test_an_address_in_a_name_is_taken_out() -> None:
    [item] = (await read(lambda _: page(api_key(name="ada@example.com's key")))).items
    assert item.facts["name"] == "…'s key"


async def test_a_whole_key_in_an_answer_is_never_taken() -> None:
    whole = "sk-proj-TEST-not-a-key-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-4f2c"
    [item] = (await read(lambda _: page(api_key(redacted_value=whole, name=f"old {whole}")))).items
    assert "not-a-key" not in str(item)


_ODD: list[tuple[dict[str, object], dict[str, object]]] = [
    ({"owner": None}, {"name": "backend"}),
    ({"owner": "ada"}, {"name": "backend"}),
    ({"owner": {"type": None, "user": None}}, {"name": "backend"}),
    ({"created_at": "yesterday", "last_used_at": None, "expires_at": True}, {"name": "backend"}),
    ({"created_at": 1e300, "expires_at": float("1711471533")}, {"expires_at": 1711471533}),
    ({"name": ["x"], "unknown": {"deep": [1]}}, {"owner_name": "Ada"}),
    ({"name": "nul\x00 \ud800 text"}, {"name": "nul\ufffd \ufffd text"}),
    ({"name": "x" * 5000}, {"name": "x" * 199 + "…"}),
]


@pytest.mark.parametrize(("odd", "kept"), _ODD)
async def test_what_has_the_wrong_type_is_absent_and_the_rest_stays(odd: dict[str, object], kept: dict[str, object]) -> None:
    [item] = (await read(lambda _: page(api_key(**odd)))).items
    assert kept.items() <= item.facts.items()
    for name in ("created_at", "last_used_at", "expires_at"):
        assert isinstance(item.facts.get(name, 1), int)
        assert not isinstance(item.facts.get(name, 1), bool)


@pytest.mark.parametrize("entry", [None, 7, "x", [], {}, {"id": None}, {"id": 7}, {"id": "../x y"}, {"id": "sk-proj-abcdefgh"}])
async def test_an_entry_without_an_id_is_left_out_and_counted(entry: object) -> None:
    found = await read(lambda _: page(api_key(), entry))
    assert [item.id for item in found.items] == ["key_1"]
    assert found.dropped == 1
    assert "1 entries" in (found.reason or "")


@pytest.mark.parametrize(
    ("kind", "answer", "facts"),
    [
        (
            ItemKind.MODEL_PERMISSIONS,
            {"object": "project.model_permissions", "mode": "allow_list", "model_ids": ["o3", "gpt-4.1", None, 3]},
            {"mode": "allow_list", "model_ids": ["gpt-4.1", "o3"]},
        ),
        (
            ItemKind.HOSTED_TOOLS,
            {
                "file_search": {"enabled": True},
                "web_search": {"enabled": "yes"},
                "mcp": None,
                "code_interpreter": {"enabled": False},
            },
            {"file_search": True, "code_interpreter": False},
        ),
    ],
)
async def test_an_object_is_read(kind: ItemKind, answer: object, facts: dict[str, object]) -> None:
    [item] = (await read(lambda _: answer, PART[kind])).items
    assert item.facts == facts


async def test_a_spend_limit_is_read_in_cents() -> None:
    part = next(each for each in PROJECT_PARTS if each.kind is ItemKind.SPEND_LIMIT)
    answer = {"threshold_amount": 10000, "currency": "USD", "interval": "month", "enforcement": {"status": "enforcing"}}
    [item] = (await read(lambda _: answer, part)).items
    assert item.facts == {"threshold_amount": 10000, "currency": "USD", "interval": "month", "enforcement": "enforcing"}
    assert (await read(lambda _: {"object": "x", "threshold_amount": None, "currency": None}, part)).items == ()
    assert (await read(lambda _: Response(json.dumps({"error": {"message": "no"}}), 404), part)).items == ()


async def test_a_rate_limit_has_every_number_that_openai_names() -> None:
    limit = {
        "id": "rl-ada",
        "model": "ada",
        "max_requests_per_1_minute": 600,
        "batch_1_day_max_input_tokens": 7,
        "max_new_thing": 1,
    }
    [item] = (await read(lambda _: page(limit), PART[ItemKind.RATE_LIMIT])).items
    assert item.id == "proj_1/rl-ada"
    numbers = {"max_requests_per_1_minute": 600, "batch_1_day_max_input_tokens": 7, "max_new_thing": 1}
    assert item.facts == {"model": "ada"} | numbers


# Answers that are none ------------------------------------------------------------------------------------------------------------


def _error(status: int, message: str, code: str | None = None, **headers: str) -> Response:
    return Response(json.dumps({"error": {"message": message, "type": "x", "code": code, "param": None}}), status, headers=headers)


@pytest.mark.parametrize(
    ("reply", "said", "again"),
    [
        (
            _error(401, "Incorrect API key provided: sk-admin*WXYZ.", "invalid_api_key"),
            "the admin key is refused (HTTP 401)",
            False,
        ),
        (
            _error(403, "You have insufficient permissions for this operation. Missing scopes: api.management.read."),
            "the admin key lacks api.management.read (HTTP 403)",
            False,
        ),
        (_error(404, "not found"), "OpenAI knows no such thing (HTTP 404)", False),
        (_error(429, "Rate limit reached", "rate_limit_exceeded"), "HTTP 429", True),
        (_error(500, "The server had an error"), "HTTP 500", True),
        (Response("<html>Sign in</html>", 200, media_type="text/html"), "no JSON object", True),
        (Response("[1]", 200), "no JSON object", True),
        (Response("[" * 100_000, 200), "no JSON object", True),
        (Response('{"data": 7}', 200), "no list", False),
        (Response('{"data": null, "has_more": true}', 200), "no list", False),
        (Response("", 302, headers={"location": "https://evil.example/"}), "", False),
        (Response("x" * 3_000_000, 200), "larger than any", False),
    ],
)
async def test_what_is_no_answer_says_why_in_words(reply: Response, said: str, again: bool) -> None:
    with pytest.raises(Unreadable) as caught:
        async with client(lambda _: reply, max_body=1_000_000) as admin:
            await record.read(admin.ask, KEYS, "proj_1")
    assert said in str(caught.value)
    assert caught.value.again is again
    assert "WXYZ" not in str(caught.value)
    assert len(str(caught.value)) <= 300


async def test_a_server_that_does_not_answer_is_given_up_and_a_wait_is_told() -> None:
    async with AdminClient("http://127.0.0.1:9/v1", lambda: Secret("env:ADMIN", KEY)) as admin:
        with pytest.raises(Unreadable) as caught:
            await admin.ask("projects", {})
    assert caught.value.again
    error = await refused(lambda _: _error(429, "Slow down", "rate_limit_exceeded", **{"retry-after": "7"}))
    assert error.retry_after == 7


async def test_an_answer_that_echoes_the_key_does_not_tell_it_on() -> None:
    error = await refused(lambda _: _error(400, f"what is {KEY}?"))
    assert "not-a-key" not in str(error)
    [item] = (await read(lambda _: page(api_key(name=KEY)))).items
    assert "not-a-key" not in str(item)


# Audit log, usage, costs ----------------------------------------------------------------------------------------------------------


def event(kind: str = "api_key.deleted", **more: object) -> dict[str, object]:
    actor = {
        "type": "session",
        "session": {"user": {"id": "user-1", "email": "ada@example.com"}, "ip_address": "203.0.113.7", "user_agent": "Firefox"},
    }
    found = {"id": "audit_1", "type": kind, "effective_at": 1722461446, "actor": actor, "project": {"id": "proj_1"}}
    return found | {kind: {"id": "key_1"}} | more


async def events(*entries: object) -> list[AuditEvent]:
    async with client(lambda _: page(*entries)) as admin:
        return [one async for some in record.audit_log(admin.ask, NOW) for one in some]


async def test_an_event_says_who_did_what_and_nothing_private() -> None:
    [found] = await events(event())
    at = datetime.fromtimestamp(1722461446, UTC)
    assert found == AuditEvent("audit_1", "api_key.deleted", at, "proj_1", "key_1", "user-1")


async def test_what_an_admin_key_did_is_not_taken_for_the_default_project_s() -> None:
    actor = {"type": "api_key", "api_key": {"id": "key_admin", "type": "service_account", "service_account": {"id": "svc_1"}}}
    asked = {
        "id": "rl-1",
        "changes_requested": {"max_tokens_per_1_minute": 5, "note": "by ada@example.com", "ip_address": "1.2.3.4"},
    }
    [found] = await events(event("rate_limit.updated", actor=actor, **{"rate_limit.updated": asked}))
    assert (found.project, found.actor) == (None, "svc_1")
    assert found.facts == {"max_tokens_per_1_minute": 5, "note": "by …"}
    [archived] = await events(event("project.archived", actor=actor, **{"project.archived": {"id": "proj_9"}}))
    assert archived.project == "proj_9"


@pytest.mark.parametrize(
    "odd", [None, 7, {}, event("login.failed"), event(effective_at="x"), event(effective_at=1e30), event(id=None), event(type=7)]
)
async def test_an_event_that_changes_nothing_or_makes_no_sense_is_left_out(odd: object) -> None:
    assert [one.id for one in await events(odd, event(id="audit_2"))] == ["audit_2"]


async def test_the_tenant_s_log_is_asked_for_alone_and_what_changes_nothing_is_left_out_of_it() -> None:
    asked: list[dict[str, str]] = []

    def reply(request: Request) -> object:
        asked.append(dict(request.query_params))
        noise = ("tenant.workload_identity.access_token.issued", "tenant.principal_authentication_policy.resolved")
        return page(*(event(kind) for kind in noise), event("tenant.billing.overage_limit.updated"))

    async with client(reply) as admin:
        told = [one async for some in record.audit_log(admin.ask, NOW, tenant=True) for one in some]
        ordinary = [one async for some in record.audit_log(admin.ask, NOW) for one in some]
    assert [one.type for one in told] == [one.type for one in ordinary] == ["tenant.billing.overage_limit.updated"]
    since = {"limit": "100", "effective_at[gte]": str(int(NOW.timestamp()))}
    assert asked == [since | {"tenant_only": "true"}, since]


OVERAGE = "tenant.billing.overage_limit.updated"


@pytest.mark.parametrize("detail", [None, "text", 7, [], [{"id": "x"}], {"id": 7}, {"id": {"id": "x"}}, {"limit": "a" * 10**6}])
async def test_a_tenant_s_event_with_a_detail_of_another_shape_is_still_one(detail: object) -> None:
    [found] = await events(event(OVERAGE, **{OVERAGE: detail}))
    assert (found.type, found.project, found.actor) == (OVERAGE, "proj_1", "user-1")
    assert found.subject is None
    assert all(len(str(fact)) <= 200 for fact in found.facts.values())


async def test_a_tenant_s_event_without_a_detail_or_with_enormous_texts_is_still_one() -> None:
    bare = {name: value for name, value in event(OVERAGE).items() if name != OVERAGE}
    huge = event("tenant.policy.updated", id="audit_2", **{"tenant.policy.updated": {"id": "x" * 9_000, "name": "<b>" * 10**5}})
    endless = event("tenant." + "x" * 10**5, id="audit_3")
    found = await events(bare, huge, endless)
    assert [(one.id, one.subject) for one in found] == [("audit_1", None), ("audit_2", None), ("audit_3", None)]
    assert all(len(one.type) <= 200 and len(str(one.facts)) <= 300 for one in found)


async def test_what_was_before_is_told_apart_from_what_is_now_and_nobody_s_address_is_kept() -> None:
    detail = {
        "previous": {"limit": 5_000, "by": "ada@example.com"},
        "changes_requested": {"limit": 100},
        "contact_email": "ada@example.com",
        "phone_number": "+49 40 1234",
        "ip_address": "203.0.113.7",
        "project_id": "proj_7",
    }
    [found] = await events(event(OVERAGE, project=None, **{OVERAGE: detail}))
    assert found.facts == {"previous_limit": 5_000, "previous_by": "…", "limit": 100, "project_id": "proj_7"}
    assert found.project == "proj_7"


@pytest.mark.parametrize("actor", [None, "ada", {}, {"type": "session"}, {"type": "api_key", "api_key": None}])
async def test_an_event_without_an_actor_is_still_one(actor: object) -> None:
    [found] = await events(event(actor=actor))
    assert found.actor is None


async def test_usage_is_read_by_pages_with_whole_buckets() -> None:
    asked = []

    def reply(request: Request) -> object:
        asked.append(request.query_params)
        start = int(request.query_params["start_time"])
        second = request.query_params.get("page") == "two"
        result = {"project_id": "proj_1", "model": "gpt-4o", "num_model_requests": 3, "input_tokens": 10, "output_tokens": None}
        bucket = {"start_time": start + 60 * second, "end_time": 0, "results": [] if second else [result, {"model": "x"}, None]}
        return {"object": "page", "data": [bucket, "odd"], "has_more": not second, "next_page": None if second else "two"}

    async with client(reply) as admin:
        minute = timedelta(minutes=1)
        pages = [
            one async for one in record.usage(admin.ask, "completions", minute, NOW, NOW + 2 * minute, ("project_id", "model"))
        ]
    assert [one.starts for one in pages] == [(NOW,), (NOW + minute,)]
    [row] = pages[0].rows
    assert (row.project, row.api_key, row.requests, row.input_tokens, row.output_tokens) == ("proj_1", None, 3, 10, 0)
    assert asked[0].getlist("group_by[]") == ["project_id", "model"]
    assert asked[0]["bucket_width"] == "1m"


async def test_usage_whose_pages_repeat_is_given_up() -> None:
    async with client(lambda _: {"data": [], "has_more": True, "next_page": "again"}) as admin:
        with pytest.raises(Unreadable, match="repeat"):
            [one async for one in record.usage(admin.ask, "completions", timedelta(hours=1), NOW, NOW, ("model",))]


async def test_costs_are_read_whatever_form_the_amount_has() -> None:
    results = [
        {"amount": {"value": 0.06, "currency": "usd"}, "line_item": "gpt-4o, input", "project_id": "proj_1"},
        {"amount": {"value": "1.5", "currency": "USD"}, "line_item": None, "project_id": None},
        {"amount": {"value": "much"}},
        {"amount": None},
        {"amount": {"value": float("1e300")}},
    ]
    async with client(lambda _: {"data": [{"start_time": 1732406400, "results": results}], "has_more": False}) as admin:
        [(days, rows)] = [one async for one in record.costs(admin.ask, NOW, NOW)]
    assert days == (datetime.fromtimestamp(1732406400, UTC),)
    assert [(row.amount, row.currency, row.line_item) for row in rows] == [(0.06, "usd", "gpt-4o, input"), (1.5, "usd", None)]
