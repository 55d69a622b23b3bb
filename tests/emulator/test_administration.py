"""The Administration API of the emulator: its answers against OpenAI's own document and SDK, and against what the platform does."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from starlette.testclient import TestClient

from monitor.emulator.app import create_app
from monitor.emulator.sample import SAMPLE_ADMIN_KEY, SAMPLE_PROJECTS, sample_world
from monitor.emulator.world import World
from monitor.openai_api.transport import in_process

NOW = 1_795_400_000.0 - 1_795_400_000.0 % 86400 + 10 * 3600
"""A moment at ten in the morning, UTC."""
ADMIN = "sk-admin-TEST-not-a-key-9001"
READER = "sk-admin-TEST-not-a-key-9002"
KEY = "sk-proj-TEST-not-a-key-0001"
SERVICE = "sk-svcacct-TEST-not-a-key-0002"
HOME, PROJECT = "org-TEST", "proj_TESTone"
PROJECT_PATHS = (
    "", "/api_keys", "/service_accounts", "/users", "/rate_limits", "/model_permissions", "/hosted_tool_permissions",
    "/service_tier_settings", "/spend_limit", "/spend_alerts", "/certificates",
)  # fmt: skip
USAGES = (
    "completions", "embeddings", "moderations", "images", "audio_speeches", "audio_transcriptions", "vector_stores",
    "code_interpreter_sessions", "file_search_calls", "web_search_calls", "decisions",
)  # fmt: skip


class Platform:
    """A small organization, a clock that is set by hand, and a client."""

    def __init__(self) -> None:
        self.now = NOW
        self.world = world = World(lambda: self.now)
        world.latency_factor = 0.0
        for name in ("gpt-4o", "gpt-4o-mini"):
            world.add_model(name)
        world.add_model("text-embedding-3-small", family="embeddings")
        world.add_project(PROJECT, HOME, "one", created_at=NOW - 86400)
        world.administration.add_user(HOME, "mia@test.example", "Mia Member", created_at=NOW - 86400)
        world.administration.add_member(PROJECT, "mia@test.example", created_at=NOW - 86400)
        world.add_key(KEY, PROJECT, name="laptop", owner="mia@test.example", created_at=NOW - 86400)
        world.add_key(SERVICE, PROJECT, name="backend", created_at=NOW - 86400)
        world.administration.add_admin_key(HOME, ADMIN, created_at=NOW - 86400)
        self.client = TestClient(create_app(world))

    def do(self, verb: str, **arguments: Any) -> None:
        """A verb, as it is done over HTTP."""
        said = self.client.post(f"/_emulator/{verb}", json=arguments)
        assert said.status_code == 200, said.text

    def ask(self, path: str, secret: str = ADMIN, **parameters: Any) -> httpx2.Response:
        """GET below /v1/organization."""
        headers = {"authorization": f"Bearer {secret}"}
        made: Any = self.client.get(f"/v1/organization{path}", params=parameters, headers=headers)
        return made  # type: ignore[no-any-return]

    def read(self, path: str, **parameters: Any) -> Any:
        """The same, which must be answered."""
        said = self.ask(path, **parameters)
        assert said.status_code == 200, said.text
        return said.json()

    def chat(self, secret: str = KEY, model: str = "gpt-4o", **more: Any) -> tuple[int, str | None]:
        """A call with a project's key: status and code."""
        headers = {"authorization": f"Bearer {secret}"}
        body = {"model": model, "messages": [{"role": "user", "content": "ping"}], **more}
        said = self.client.post("/v1/chat/completions", json=body, headers=headers)
        return said.status_code, (said.json().get("error") or {}).get("code")

    def named(self, **parameters: Any) -> dict[str, Any]:
        """The project's keys by name."""
        found = self.read(f"/projects/{PROJECT}/api_keys", owner_project_access="any", **parameters)["data"]
        return {key["name"]: key for key in found}

    def events(self, **parameters: Any) -> list[Any]:
        """The audit log, newest first."""
        return self.read("/audit_logs", limit=100, **parameters)["data"]  # type: ignore[no-any-return]

    def results(self, kind: str = "usage/completions", **parameters: Any) -> list[Any]:
        """All rows of today's usage."""
        asked = {"start_time": int(NOW - NOW % 86400), "limit": 7, **parameters}
        return [row for bucket in self.read(f"/{kind}", **asked)["data"] for row in bucket["results"]]


@pytest.fixture
def platform() -> Platform:
    """A platform of its own."""
    return Platform()


# Shapes -------------------------------------------------------------------------------------------------------------------------


def _schema(document: dict[str, Any], path: str) -> dict[str, Any] | None:
    known = document["paths"].get(path, {}).get("get", {})
    good = known.get("responses", {}).get("200", {})
    return good.get("content", {}).get("application/json", {}).get("schema")  # type: ignore[no-any-return]


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    kinds: dict[str, Any] = {
        "string": str,
        "integer": int,
        "number": int | float,
        "array": list,
        "object": dict,
        "null": type(None),
    }
    return kind in kinds and isinstance(value, kinds[kind])


def _faults(value: Any, schema: dict[str, Any], document: dict[str, Any], where: str = "") -> list[str]:
    """What a value has against a schema, as far as types, enumerations and required fields go."""
    if "$ref" in schema:
        return _faults(value, document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]], document, where)
    for choice in ("anyOf", "oneOf"):
        if choice in schema:
            found = [_faults(value, one, document, where) for one in schema[choice]]
            return min(found, key=len)
    faults = [fault for one in schema.get("allOf", ()) for fault in _faults(value, one, document, where)]
    kind = schema.get("type")
    if kind is not None and not _is(value, kind):
        return [*faults, f"{where}: {value!r} is no {kind}"]
    if "enum" in schema and value not in schema["enum"]:
        faults.append(f"{where}: {value!r} is none of {schema['enum']}")
    if isinstance(value, dict):
        faults += [f"{where}.{name} is missing" for name in schema.get("required", ()) if name not in value]
        for name, inner in schema.get("properties", {}).items():
            if name in value:
                faults += _faults(value[name], inner, document, f"{where}.{name}")
    if isinstance(value, list) and "items" in schema:
        for number, one in enumerate(value):
            faults += _faults(one, schema["items"], document, f"{where}[{number}]")
    return faults


@pytest.fixture(scope="module")
def document(shared: Path) -> dict[str, Any]:
    """OpenAI's own document of its API."""
    return json.loads((shared / "openapi" / "openai-subset.json").read_text())  # type: ignore[no-any-return]


def test_the_validator_finds_faults(document: dict[str, Any]) -> None:
    schema = {"$ref": "#/components/schemas/ProjectListResponse"}
    assert _faults({"object": "list", "data": [{"id": 7}]}, schema, document)


def test_every_answer_of_the_sample_is_as_the_document_says(document: dict[str, Any]) -> None:
    client = TestClient(create_app(_fast_sample()))
    headers = {"authorization": f"Bearer {SAMPLE_ADMIN_KEY.secret}"}
    known, empty = 0, []
    project = next(project.id for project in SAMPLE_PROJECTS if project.name == "checkout")
    paths = [f"/organization/projects/{{project_id}}{end}" for end in PROJECT_PATHS]
    paths += [f"/organization/{end}" for end in ("projects", "users", "spend_limit", "spend_alerts", "certificates")]
    paths += [f"/organization/{end}" for end in ("admin_api_keys", "audit_logs", "costs", *(f"usage/{one}" for one in USAGES))]
    for path in paths:
        parameters = {"start_time": int(NOW - 86400), "group_by": "project_id"} if "costs" in path or "usage" in path else {}
        said = client.get("/v1" + path.replace("{project_id}", project), params=parameters, headers=headers)
        assert said.status_code == 200, (path, said.text)
        schema = _schema(document, path)
        if schema is not None:
            known += 1
            assert _faults(said.json(), schema, document, path) == []
        if not said.json().get("data", [1]):
            empty.append(path)
    assert known >= 25
    assert empty == []


def _fast_sample() -> World:
    world = sample_world(NOW, lambda: NOW)
    world.latency_factor = 0.0
    world.advance()
    world.heal()
    return world


def _sdk(world: World, secret: str = ADMIN) -> Any:
    @asynccontextmanager
    async def opened() -> AsyncIterator[openai.AsyncOpenAI]:
        http = httpx2.AsyncClient(transport=in_process(create_app(world)))
        async with openai.AsyncOpenAI(
            admin_api_key=secret,
            base_url="http://127.0.0.1:9/v1",
            max_retries=0,
            http_client=http,
            _strict_response_validation=True,
        ) as client:
            yield client

    return opened()


def test_the_real_sdk_reads_every_endpoint_strictly() -> None:
    async def scene() -> None:
        async with _sdk(_fast_sample(), SAMPLE_ADMIN_KEY.secret) as client:
            home = client.admin.organization
            projects = [project async for project in home.projects.list(limit=5, include_archived=True)]
            assert {project.id for project in projects} >= {project.id for project in SAMPLE_PROJECTS}
            checkout = next(project.id for project in projects if project.name == "checkout")
            assert (await home.projects.retrieve(checkout)).name == "checkout"
            lists = (
                home.projects.api_keys.list(checkout, owner_project_access="any"), home.projects.service_accounts.list(checkout),
                home.projects.users.list(checkout), home.projects.rate_limits.list_rate_limits(checkout),
                home.projects.spend_alerts.list(checkout), home.projects.certificates.list(checkout), home.users.list(),
                home.spend_alerts.list(), home.certificates.list(), home.admin_api_keys.list(), home.audit_logs.list(limit=7),
            )  # fmt: skip
            for pages in lists:
                found = [one async for one in pages]
                assert found
                assert len({one.id for one in found}) == len(found)
            key = (await home.projects.api_keys.list(checkout)).data[0]
            assert (await home.projects.api_keys.retrieve(key.id, project_id=checkout)).redacted_value == key.redacted_value
            assert (await home.projects.model_permissions.retrieve(checkout)).api_model_ids == ["gpt-5-pro"]
            assert (await home.projects.hosted_tool_permissions.retrieve(checkout)).web_search.enabled
            assert (await home.projects.service_tier_settings.retrieve(checkout)).default == "standard"
            assert (await home.projects.spend_limit.retrieve(checkout)).enforcement.status == "inactive"
            assert (await home.spend_limit.retrieve()).threshold_amount > 0
            start = int(NOW - 3600)
            for kind in USAGES:
                page = await getattr(home.usage, kind)(start_time=start, bucket_width="1m", group_by=["project_id"])
                assert (len(page.data), page.has_more) == (60, False)
            costs = await home.usage.costs(start_time=start - 86400, group_by=["project_id", "line_item"])
            assert any(row.amount.value > 0 for bucket in costs.data for row in bucket.results)

    asyncio.run(scene())


# Who may ask --------------------------------------------------------------------------------------------------------------------


def test_only_an_admin_key_that_may_read_reads(platform: Platform) -> None:
    platform.do("add_admin_key", organization=HOME, secret=READER, scopes=["api.management.read"], expires_at=NOW + 60)
    assert platform.ask("/projects", READER).status_code == 200
    assert platform.ask("/projects", "sk-admin-TEST-unknown").json()["error"]["code"] == "invalid_api_key"
    for secret in (KEY, SERVICE):
        said = platform.ask("/projects", secret)
        assert (said.status_code, said.json()["error"]["code"]) == (401, None)
        assert "Missing scopes: api.management.read" in said.json()["error"]["message"]
    platform.do("restrict_admin_key", secret=READER, scopes=["api.management.write"])
    assert "Missing scopes: api.management.read" in platform.ask("/projects", READER).json()["error"]["message"]
    platform.do("restrict_admin_key", secret=READER)
    assert platform.ask("/projects", READER).status_code == 200
    platform.now += 61
    assert platform.ask("/projects", READER).json()["error"]["code"] == "invalid_api_key"
    platform.do("revoke_admin_key", secret=ADMIN)
    assert platform.ask("/projects").status_code == 401
    assert platform.client.get("/v1/organization/projects").status_code == 401
    assert platform.chat(ADMIN) == (401, "invalid_api_key")


def test_nothing_is_written_here(platform: Platform) -> None:
    headers = {"authorization": f"Bearer {ADMIN}"}
    for path in ("", "/projects", f"/projects/{PROJECT}", f"/projects/{PROJECT}/archive", f"/projects/{PROJECT}/spend_limit"):
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            said = platform.client.request(method, f"/v1/organization{path}", headers=headers)
            assert said.status_code in (404, 405), (method, path)
            assert said.json()["error"]["type"] == "invalid_request_error"


def test_what_is_not_there_is_404_and_another_organization_is_not_there(platform: Platform) -> None:
    platform.world.add_project("proj_TESTother", "org-TESTother", "other")
    for name in ("proj_nobody", "proj_TESTother", "..%2Fusers", "%00"):
        for end in PROJECT_PATHS:
            said = platform.ask(f"/projects/{name}{end}")
            assert said.status_code == 404, (name, end)
    assert platform.ask("/projects/proj_nobody/rate_limits").json() == {
        "code": 404,
        "message": "The project proj_nobody was not found",
    }
    assert platform.ask(f"/projects/{PROJECT}/api_keys/key_nobody").status_code == 404
    assert platform.ask(f"/projects/{PROJECT}/spend_limit").status_code == 404
    assert [project["id"] for project in platform.read("/projects")["data"]] == [PROJECT]


# Pages and parameters -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["0", "-1", str(10**9), str(10**30), "many", "1.5", "٣", "", "true"])
def test_a_limit_that_is_none_is_refused(platform: Platform, value: str) -> None:
    lists = ["/projects", "/users", "/audit_logs", "/admin_api_keys", "/certificates", "/spend_alerts"]
    lists += [f"/projects/{PROJECT}{end}" for end in PROJECT_PATHS if end.endswith("s") and not end.endswith(("ions", "ings"))]
    lists += ["/costs?start_time=1", "/usage/completions?start_time=1", "/usage/images?start_time=1"]
    for path in lists:
        said = platform.client.get(
            f"/v1/organization{path}{'&' if '?' in path else '?'}limit={value}", headers={"authorization": f"Bearer {ADMIN}"}
        )
        assert (said.status_code, said.json()["error"]["param"]) == (400, "limit"), path


@pytest.mark.parametrize(
    ("path", "parameters", "param"),
    [
        ("/projects", {"after": "proj_nobody"}, "after"),
        ("/projects", {"include_archived": "perhaps"}, "include_archived"),
        ("/audit_logs", {"before": "audit_log-nobody"}, "before"),
        ("/audit_logs", {"effective_at[gt]": "yesterday"}, "effective_at[gt]"),
        ("/audit_logs", {"effective_at[lte]": "-5"}, "effective_at[lte]"),
        (f"/projects/{PROJECT}/rate_limits", {"after": "rl-nobody"}, "after"),
        (f"/projects/{PROJECT}/api_keys", {"owner_project_access": "all"}, "owner_project_access"),
        ("/admin_api_keys", {"order": "random"}, "order"),
        ("/usage/completions", {}, "start_time"),
        ("/usage/completions", {"start_time": "now"}, "start_time"),
        ("/usage/completions", {"start_time": 9, "end_time": 9}, "end_time"),
        ("/usage/completions", {"start_time": 9, "bucket_width": "5m"}, "bucket_width"),
        ("/usage/completions", {"start_time": 9, "bucket_width": "1h", "limit": 169}, "limit"),
        ("/usage/completions", {"start_time": 9, "group_by": "secret"}, "group_by"),
        ("/usage/completions", {"start_time": 9, "page": "page_%%%"}, "page"),
        ("/usage/completions", {"start_time": 9, "page": "page_AAAA"}, "page"),
        ("/costs", {"start_time": 9, "bucket_width": "1m"}, "bucket_width"),
        ("/costs", {"start_time": 9, "limit": 181}, "limit"),
        ("/costs", {"start_time": 9, "group_by": ["user_id", "project_id"]}, "group_by"),
    ],
)
def test_hostile_parameters_are_answered_with_400(platform: Platform, path: str, parameters: Any, param: str) -> None:
    said = platform.ask(path, **parameters)
    assert (said.status_code, said.json()["error"]["param"]) == (400, param)
    assert said.headers["x-request-id"]


def test_pages_of_projects_and_archived_ones(platform: Platform) -> None:
    for number in range(7):
        platform.do("create_project", id=f"proj_TEST{number}", organization=HOME, name=f"p{number}")
        platform.now += 1
    platform.do("archive_project", project="p3")
    seen, after = [], None
    while True:
        page = platform.read("/projects", limit=3, **({"after": after} if after else {}))
        seen += [project["id"] for project in page["data"]]
        assert (page["first_id"], page["last_id"]) == (page["data"][0]["id"], page["data"][-1]["id"])
        if not page["has_more"]:
            break
        after = page["last_id"]
    assert seen == [PROJECT, *(f"proj_TEST{number}" for number in (0, 1, 2, 4, 5, 6))]
    archived = platform.read("/projects", include_archived="true", limit=100)["data"][4]
    assert (archived["status"], archived["archived_at"]) == ("archived", int(NOW + 7))
    assert platform.read("/projects", after="proj_TEST6") == {
        "object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False,
    }  # fmt: skip


def test_the_audit_log_is_newest_first_and_paged_both_ways(platform: Platform) -> None:
    for number in range(5):
        platform.now = NOW + number
        platform.do("audit", whose=PROJECT, type="project.updated", detail={"id": str(number)})
    every = platform.events()
    assert [event["project.updated"]["id"] for event in every] == ["4", "3", "2", "1", "0"]
    first = platform.read("/audit_logs", limit=2)
    assert (first["data"], first["has_more"]) == (every[:2], True)
    second = platform.read("/audit_logs", limit=2, after=first["last_id"])
    assert (second["data"], second["has_more"]) == (every[2:4], True)
    assert platform.read("/audit_logs", limit=2, before=every[3]["id"])["data"] == every[1:3]
    assert platform.events(**{"effective_at[gt]": int(NOW), "effective_at[lte]": int(NOW) + 2}) == every[2:4]
    assert platform.events(**{"effective_at[gte]": int(NOW) + 4}) == every[:1]
    assert platform.events(**{"effective_at[lt]": int(NOW) + 1}) == every[4:]
    platform.do("audit", whose=HOME, type="brand.new", by="mia@test.example")
    assert [event["type"] for event in platform.events(**{"event_types[]": ["brand.new"]})] == ["brand.new"]
    assert [event["type"] for event in platform.events(**{"actor_emails[]": ["mia@test.example"]})] == ["brand.new"]
    assert platform.events(**{"project_ids[]": [PROJECT]}) == platform.events(project_ids=PROJECT) == every


def test_the_tenant_s_events_are_given_alone_and_only_when_asked_for(platform: Platform) -> None:
    for number, kind in enumerate(("project.updated", "tenant.policy.updated", "role.bound_to_resource", "tenant.brand.new")):
        platform.now = NOW + number
        platform.do("audit", whose=HOME, type=kind, detail={"id": str(number)}, by="mia@test.example")
    assert [event["type"] for event in platform.events()] == ["project.updated"]
    tenants = ["tenant.brand.new", "role.bound_to_resource", "tenant.policy.updated"]
    assert [event["type"] for event in platform.events(tenant_only="true")] == tenants
    assert [event["type"] for event in platform.events(tenant_only="false")] == ["project.updated"]
    assert platform.events(**{"event_types[]": ["tenant.policy.updated"]}) == []
    [one] = platform.events(tenant_only="true", **{"event_types[]": ["tenant.policy.updated"]})
    assert one["tenant.policy.updated"] == {"id": "1"}
    assert len(platform.events(tenant_only="true", **{"effective_at[gt]": int(NOW) + 1})) == 2
    refused = platform.ask("/audit_logs", tenant_only="true", **{"event_types[]": ["tenant.policy.updated", "user.added"]})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "event_types[]")
    assert platform.ask("/audit_logs", tenant_only="maybe").status_code == 400
    first = platform.read("/audit_logs", limit=1, tenant_only="true")
    second = platform.read("/audit_logs", limit=2, tenant_only="true", after=first["last_id"])
    assert ([event["type"] for event in second["data"]], second["has_more"]) == (tenants[1:], False)


def test_what_happens_to_keys_and_accounts_stands_in_both_logs(platform: Platform) -> None:
    platform.do("create_key", secret="sk-proj-TESTmore-not-a-key-more", project=PROJECT, name="more")
    platform.do("add_service_account", project=PROJECT, name="nightly")
    platform.do("remove_service_account", project=PROJECT, name="nightly")
    ordinary, tenants = platform.events(), platform.events(tenant_only="true")
    told = {event["type"]: event[event["type"]]["id"] for event in (*ordinary, *tenants)}
    assert told["tenant.project_api_key.created"] == told["api_key.created"]
    assert told["tenant.service_account.deleted"] == told["service_account.deleted"]
    assert not {event["id"] for event in ordinary} & {event["id"] for event in tenants}


def test_either_log_may_be_in_trouble_alone(platform: Platform) -> None:
    platform.do("administration_trouble", kind="absent", endpoint="tenant_audit_logs")
    assert platform.ask("/audit_logs").status_code == 200
    assert platform.ask("/audit_logs", tenant_only="true").status_code == 404
    platform.do("heal_administration")
    platform.do("administration_trouble", kind="forbidden", endpoint="audit_logs")
    assert platform.ask("/audit_logs").status_code == 403
    assert platform.ask("/audit_logs", tenant_only="true").status_code == 200


# What it tells is what it does --------------------------------------------------------------------------------------------------


def test_a_key_is_recorded_moves_as_it_is_used_and_goes(platform: Platform) -> None:
    laptop = platform.named()["laptop"]
    assert (laptop["redacted_value"], laptop["last_used_at"], laptop["expires_at"]) == ("sk-pro...001", None, None)
    assert (laptop["owner"]["type"], laptop["owner"]["user"]["email"]) == ("user", "mia@test.example")
    assert platform.named()["backend"]["owner"]["service_account"]["name"] == "backend"
    platform.now += 30
    assert platform.chat() == (200, None)
    assert platform.named()["laptop"]["last_used_at"] == int(NOW) + 30
    platform.do("revoke", secret=KEY, by="mia@test.example")
    assert platform.chat() == (401, "invalid_api_key")
    assert "laptop" not in platform.named()
    assert platform.ask(f"/projects/{PROJECT}/api_keys/{laptop['id']}").status_code == 404
    event = platform.events()[0]
    assert (event["type"], event["api_key.deleted"], event["project"]["id"]) == ("api_key.deleted", {"id": laptop["id"]}, PROJECT)
    session = event["actor"]["session"]
    assert session["user"]["email"] == "mia@test.example"
    assert session["ip_address"]
    assert session["user_agent"]
    platform.do("restore", secret=KEY)
    assert platform.chat() == (200, None)
    assert platform.named()["laptop"]["id"] != laptop["id"]


def test_a_key_expires(platform: Platform) -> None:
    platform.do("expire_key", secret=KEY, at=NOW + 60)
    assert platform.named()["laptop"]["expires_at"] == int(NOW) + 60
    assert platform.chat() == (200, None)
    platform.now += 60
    assert platform.chat() == (401, "invalid_api_key")
    assert platform.events()[0]["type"] == "api_key.updated"


def test_a_rotation_is_a_new_record_and_the_old_one_goes_later(platform: Platform) -> None:
    new = KEY.replace("0001", "0003")
    platform.do("rotate", secret=KEY, new=new, grace=60)
    both = platform.read(f"/projects/{PROJECT}/api_keys")["data"]
    assert [key["redacted_value"][-3:] for key in both if key["name"] == "laptop"] == ["001", "003"]
    assert (platform.chat(KEY)[0], platform.chat(new)[0]) == (200, 200)
    platform.now += 60
    assert (platform.chat(KEY)[0], platform.chat(new)[0]) == (401, 200)
    assert [event["type"] for event in platform.events()[:2]] == ["api_key.deleted", "api_key.created"]


def test_a_key_dies_with_its_owners_access(platform: Platform) -> None:
    platform.do("remove_member", project="one", user="mia@test.example")
    assert platform.chat() == (401, "invalid_api_key")
    path = f"/projects/{PROJECT}/api_keys"
    assert [key["name"] for key in platform.read(path)["data"]] == ["backend"]
    assert [key["name"] for key in platform.read(path, owner_project_access="inactive")["data"]] == ["laptop"]
    assert platform.named()["laptop"]["owner_project_access"] == "inactive"
    assert platform.events()[0]["type"] == "role.assignment.deleted"
    platform.do("add_member", project="one", user="mia@test.example", role="owner")
    assert platform.chat() == (200, None)
    assert platform.named()["laptop"]["owner"]["user"]["role"] == "owner"
    platform.do("remove_user", user="mia@test.example")
    assert platform.chat() == (401, "invalid_api_key")
    assert platform.events()[0]["type"] == "user.deleted"
    platform.do("remove_service_account", project="one", name="backend")
    assert platform.chat(SERVICE) == (401, "invalid_api_key")
    assert list(platform.named()) == ["laptop"]
    assert [event["type"] for event in platform.events()[:2]] == ["service_account.deleted", "api_key.deleted"]
    assert [user["name"] for user in platform.read("/users")["data"]] == ["Olive Owner"]


def test_models_are_allowed_and_denied_without_an_event(platform: Platform) -> None:
    path = f"/projects/{PROJECT}/model_permissions"
    assert platform.read(path) == {"object": "project.model_permissions", "mode": "deny_list", "model_ids": []}
    platform.do("deny_model", project="one", model="gpt-4o")
    assert platform.read(path)["model_ids"] == ["gpt-4o"]
    assert platform.chat() == (403, "model_not_found")
    platform.do("allow_model", project="one", model="gpt-4o")
    platform.do("allow_only", project="one", models=["gpt-4o-mini"])
    assert platform.read(path) == {"object": "project.model_permissions", "mode": "allow_list", "model_ids": ["gpt-4o-mini"]}
    assert (platform.chat()[0], platform.chat(model="gpt-4o-mini")[0]) == (403, 200)
    platform.do("allow_model", project="one", model="gpt-4o")
    assert platform.chat() == (200, None)
    assert platform.events() == []


def test_a_lowered_limit_limits_and_is_told(platform: Platform) -> None:
    path = f"/projects/{PROJECT}/rate_limits"

    def told() -> int:
        rows = {row["model"]: row["max_requests_per_1_minute"] for row in platform.read(path)["data"]}
        return rows["gpt-4o"]  # type: ignore[no-any-return]

    assert told() == 10_000
    platform.do("throttle", whose=PROJECT, model="gpt-4o", requests=2)
    assert told() == 2
    assert [platform.chat()[0] for _ in range(3)] == [200, 200, 429]
    event = platform.events()[0]
    assert (event["type"], event["rate_limit.updated"]["changes_requested"]) == (
        "rate_limit.updated",
        {"max_requests_per_1_minute": 2},
    )
    platform.do("throttle", whose=PROJECT, model="gpt-4o")
    assert told() == 10_000
    assert platform.events()[0]["type"] == "rate_limit.deleted"
    rows = platform.read(path, limit=2)
    assert (len(rows["data"]), rows["has_more"]) == (2, True)
    assert platform.read(path, after=rows["last_id"])["data"][0]["id"] == "rl-text-embedding-3-small"
    assert platform.read(path, before=rows["last_id"])["data"] == rows["data"][:1]


def test_a_spend_limit_that_is_reached_refuses_and_says_so(platform: Platform) -> None:
    path = f"/projects/{PROJECT}/spend_limit"
    platform.do("spend_limit", whose="one", cents=10_000)
    assert (platform.read(path)["threshold_amount"], platform.read(path)["enforcement"]["status"]) == (10_000, "inactive")
    platform.do("reach_spend_limit", whose="one")
    assert platform.read(path)["enforcement"]["status"] == "enforcing"
    assert platform.chat() == (429, "project_spend_limit_exceeded")
    platform.do("relieve_spend_limit", whose="one")
    assert platform.chat() == (200, None)
    platform.do("trouble", failure="quota.project_spend", project=PROJECT)
    assert platform.read(path)["enforcement"]["status"] == "enforcing"
    platform.do("heal")
    platform.do("reach_spend_limit", whose=HOME)
    assert platform.chat() == (429, "organization_spend_limit_exceeded")
    assert platform.read("/spend_limit")["enforcement"]["status"] == "enforcing"
    assert platform.events() == []


def test_an_archived_project_is_over(platform: Platform) -> None:
    platform.do("archive_project", project="one")
    assert platform.chat() == (401, "invalid_api_key")
    assert platform.read(f"/projects/{PROJECT}")["status"] == "archived"
    assert platform.ask(f"/projects/{PROJECT}/api_keys").status_code == 400
    assert platform.events()[0]["type"] == "project.archived"


def test_a_demanded_certificate_lets_only_those_in_that_present_it(platform: Platform) -> None:
    for name, lasts in (("old", 100), ("new", 9e6)):
        platform.do("add_certificate", organization=HOME, name=name, valid_at=NOW - 9, expires_at=NOW + lasts)
    platform.do("present_certificate", whose="one", name="old")
    assert platform.chat()[0] == 200
    platform.do("activate_certificate", name="old", whose="one")
    assert platform.chat()[0] == 200
    platform.do("activate_certificate", name="new", whose=HOME)
    platform.now = NOW + 101  # the old one has expired
    assert platform.chat()[0] == 401
    platform.do("present_certificate", whose="one", name="new")
    assert platform.chat()[0] == 200
    platform.do("present_certificate", whose="one")
    assert platform.chat()[0] == 401
    platform.do("present_certificate", whose=HOME, name="new")  # the project's own say is over
    assert platform.chat()[0] == 200
    for name, whose in (("old", "one"), ("new", HOME)):
        platform.do("deactivate_certificate", name=name, whose=whose)
    platform.do("present_certificate", whose=HOME)
    assert platform.chat()[0] == 200  # none is demanded
    assert "present_certificate" not in str(platform.events())  # that a client has one is no event


def test_keys_are_shown_in_the_form_that_is_set(platform: Platform) -> None:
    assert platform.read("/admin_api_keys")["data"][0]["redacted_value"] == f"sk-admin...{ADMIN[-3:]}"
    platform.do("redaction", form="starred")
    shown = platform.read(f"/projects/{PROJECT}/api_keys", owner_project_access="any")["data"]
    assert {(each["redacted_value"].count("*") > 3, each["redacted_value"][-4:]) for each in shown} == {
        (True, KEY[-4:]),
        (True, SERVICE[-4:]),
    }
    assert platform.client.post("/_emulator/redaction", json={"form": "plain"}).status_code == 400


def test_tools_tiers_and_certificates(platform: Platform) -> None:
    platform.do("hosted_tool", project="one", tool="web_search", enabled=False)
    assert not platform.read(f"/projects/{PROJECT}/hosted_tool_permissions")["web_search"]["enabled"]
    assert platform.chat(tools=[{"type": "web_search_preview"}])[0] == 400
    assert platform.chat(tools=[{"type": "mcp"}, "nonsense", {}])[0] == 200
    platform.do("service_tiers", project="one", enabled=["flex"])
    assert platform.read(f"/projects/{PROJECT}/service_tier_settings")["enabled_tiers"] == ["flex"]
    assert (platform.chat(service_tier="flex")[0], platform.chat(service_tier="fast")[0]) == (200, 400)
    assert platform.events() == []
    platform.do("add_certificate", organization=HOME, name="mtls", valid_at=NOW - 9, expires_at=NOW + 99)
    assert platform.read(f"/projects/{PROJECT}/certificates")["data"] == []
    platform.do("activate_certificate", name="mtls", whose="one")
    assert platform.read(f"/projects/{PROJECT}/certificates")["data"][0]["active"]
    assert not platform.read("/certificates")["data"][0]["active"]
    assert [event["type"] for event in platform.events()] == ["certificates.activated", "certificate.created"]


@pytest.mark.parametrize(
    ("verb", "arguments"),
    [
        ("archive_project", {"project": "nobody"}),
        ("remove_member", {"project": "one", "user": "nobody"}),
        ("remove_user", {"user": "owner@test.example"}),
        ("hosted_tool", {"project": "one", "tool": "hammer", "enabled": True}),
        ("administration_trouble", {"kind": "plague"}),
        ("administration_limit", {"per_second": 0}),
        ("expire_key", {"secret": "sk-proj-TEST-unknown"}),
        ("create_key", {"secret": KEY, "project": "one"}),
        ("create_project", {"id": PROJECT, "organization": HOME}),
        ("spend_limit", {"cents": 5}),
    ],
)
def test_a_verb_about_what_is_not_there_is_refused(platform: Platform, verb: str, arguments: Any) -> None:
    said = platform.client.post(f"/_emulator/{verb}", json=arguments)
    assert said.status_code == 400
    assert KEY not in said.text
    assert platform.events() == []


# Usage --------------------------------------------------------------------------------------------------------------------------


def test_accepted_calls_are_usage_and_refused_ones_are_not(platform: Platform) -> None:
    for secret, model in ((KEY, "gpt-4o"), (KEY, "gpt-4o"), (SERVICE, "gpt-4o-mini"), (KEY, "gpt-9")):
        platform.chat(secret, model)
    platform.do("throttle", whose=PROJECT, model="gpt-4o", requests=0)
    assert platform.chat()[0] == 429
    platform.now += 60
    row = platform.results()[0]
    assert (row["num_model_requests"], row["input_tokens"], row["output_tokens"]) == (3, 24, 27)
    assert [row[name] for name in ("project_id", "api_key_id", "model", "user_id")] == [None] * 4
    keys = platform.named()
    grouped = {row["api_key_id"]: row for row in platform.results(**{"group_by[]": ["api_key_id", "project_id"]})}
    assert grouped[keys["laptop"]["id"]]["num_model_requests"] == 2
    assert grouped[keys["backend"]["id"]]["project_id"] == PROJECT
    assert [row["model"] for row in platform.results(group_by="model", api_key_ids=keys["backend"]["id"])] == ["gpt-4o-mini"]
    assert platform.results(project_ids="proj_nobody") == []
    assert platform.results("usage/embeddings") == []
    costs = platform.results("costs", group_by="line_item")
    assert {row["line_item"]: row["quantity"] for row in costs}["gpt-4o, output"] == 18


def test_usage_comes_late_in_minutes_that_add_up(platform: Platform) -> None:
    platform.do("usage_delay", seconds=300)
    platform.do("traffic", whose=PROJECT, model="gpt-4o", requests=120, tokens=60_000)
    platform.now += 600
    start = int(NOW)
    page = platform.read("/usage/completions", start_time=start, bucket_width="1m", limit=4, group_by="model")
    assert [(bucket["start_time"], bucket["end_time"]) for bucket in page["data"]] == [
        (start + 60 * i, start + 60 * i + 60) for i in range(4)
    ]
    assert page["has_more"]
    more = platform.read("/usage/completions", start_time=start, bucket_width="1m", limit=4, page=page["next_page"])
    assert [len(bucket["results"]) for bucket in [*page["data"], *more["data"]]] == [1, 1, 1, 1, 1, 0, 0, 0]
    assert page["data"][0]["results"][0]["num_model_requests"] == 120
    platform.do("usage_delay", seconds=0)
    platform.now = NOW + 3600 * 30
    hours = platform.results(bucket_width="1h", limit=168)
    days = platform.results(bucket_width="1d")
    assert sum(row["input_tokens"] for row in hours) == sum(row["input_tokens"] for row in days) == 48_000 * 60 * 30


def test_traffic_is_accepted_up_to_the_limit_and_while_its_key_lives(platform: Platform) -> None:
    platform.do("traffic", whose=PROJECT, model="gpt-4o", requests=100, tokens=10_000, secret=SERVICE)
    platform.now += 120
    platform.do("throttle", whose=PROJECT, model="gpt-4o", requests=40)
    platform.now += 120
    assert platform.named()["backend"]["last_used_at"] == int(platform.now)
    platform.do("revoke", secret=SERVICE)
    platform.now += 120
    page = platform.read("/usage/completions", start_time=int(NOW), bucket_width="1m")
    counts = [sum(row["num_model_requests"] for row in bucket["results"]) for bucket in page["data"]]
    assert counts == [100, 100, 40, 40, 0, 0]


# Protection of the reader -------------------------------------------------------------------------------------------------------


def test_too_many_requests_and_trouble_with_one_endpoint(platform: Platform) -> None:
    platform.do("administration_limit", per_second=3)
    codes = [platform.ask("/projects") for _ in range(4)]
    assert [said.status_code for said in codes] == [200, 200, 200, 429]
    assert int(codes[-1].headers["retry-after"]) >= 1
    platform.do("administration_limit")
    platform.do("administration_trouble", kind="error", endpoint="api_keys", project="one", seconds=60)
    assert platform.ask(f"/projects/{PROJECT}/api_keys").status_code == 500
    assert platform.ask(f"/projects/{PROJECT}/users").status_code == 200
    platform.now += 60
    assert platform.ask(f"/projects/{PROJECT}/api_keys").status_code == 200
    platform.do("administration_trouble", kind="same_page", endpoint="users")
    pages = [platform.read("/users")]
    pages.append(platform.read("/users", after=pages[0]["last_id"]))
    assert pages[0] == pages[1]
    assert pages[0]["has_more"]
    platform.do("heal_administration")
    platform.do("administration_trouble", kind="endless")
    pages = [platform.read("/users")]
    for _ in range(5):
        pages.append(platform.read("/users", after=pages[-1]["last_id"]))
    assert len({page["last_id"] for page in pages}) == 6
    assert all(page["has_more"] for page in pages)
    assert platform.read("/usage/completions", start_time=1, page="page_no")["next_page"]
    platform.do("heal")
    assert not platform.read("/users")["has_more"]


def test_two_thousand_projects_are_answered_in_milliseconds() -> None:
    platform = Platform()
    for number in range(2_000):
        platform.world.add_project(f"proj_TEST{number:04}", HOME, f"p{number}", created_at=NOW - 3600)
        for key in range(3):
            platform.world.add_key(f"sk-svcacct-TEST-{number:04}-{key}", f"proj_TEST{number:04}", name=f"k{key}")
    for number in range(3_000):
        platform.world.administration.audit(f"proj_TEST{number % 2_000:04}", "project.updated", {"id": str(number)})
    last = platform.read("/projects", limit=100, after="proj_TEST1899")
    assert last["has_more"] is False

    def milliseconds(path: str, **parameters: Any) -> float:
        took = []
        for _ in range(7):
            begin = time.process_time()  # what others do meanwhile is not counted
            platform.read(path, **parameters)
            took.append(time.process_time() - begin)
        return min(took) * 1000

    # Against an answer with nothing in it: the client and the framework take their part of the time.
    nothing = milliseconds("/spend_alerts")
    assert milliseconds("/projects/proj_TEST1777/api_keys") < nothing + 5
    assert milliseconds("/projects/proj_TEST1777/rate_limits") < nothing + 5
    assert milliseconds("/projects", limit=100, after="proj_TEST1700") < nothing + 10
    assert milliseconds("/audit_logs", limit=100) < nothing + 10
