"""The Administration API of the emulator: its answers against OpenAI's own document and SDK, and against what the platform does."""

import asyncio
import json
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

    def keys(self, **parameters: Any) -> dict[str, Any]:
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
