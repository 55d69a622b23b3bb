"""Real servers on loopback that answer whatever a test wants, and keep what they were asked."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from monitor.domain.inventory import ProbeKind, Target
from monitor.domain.observation import Observation
from monitor.openai_api.client import ApiClient
from monitor.openai_api.observe import ProbeRequest
from monitor.openai_api.probes import PROBES

KEY = "sk-proj-TEST-000-notakey-notakey-notakey-0000"
PROJECT = "proj_TEST000"
AT = datetime(2026, 11, 23, 10, tzinfo=UTC)
FROM_OPENAI = {
    "Content-Type": "application/json",
    "openai-organization": "acme-test",
    "openai-processing-ms": "44",
    "openai-project": PROJECT,
    "x-request-id": "req_TEST000",
}
MODELS = {"object": "list", "data": [{"id": "gpt-4o", "object": "model", "created": 1, "owned_by": "system"}]}
MODEL = {"id": "gpt-4o", "object": "model", "created": 1, "owned_by": "system"}
NO_KEY = "You didn't provide an API key."


@dataclass
class Asked:
    """One request as it came over the wire."""

    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        """Every value of a header."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)


Road = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Answer = bytes | Callable[[Asked, Road], Awaitable[None]]
"""Bytes to write, or what to do with the connection; afterwards it is closed."""


@dataclass
class Loopback:
    """A server. Answers in turn what it was given; the last answer again and again."""

    answers: list[Answer]
    asked: list[Asked] = field(default_factory=list)
    port: int = 0
    scheme: str = "http"

    @property
    def url(self) -> str:
        """The base URL."""
        return f"{self.scheme}://127.0.0.1:{self.port}/v1"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection."""
        try:
            asked = await _read(reader)
            answer = self.answers[min(len(self.asked), len(self.answers) - 1)]
            self.asked.append(asked)
            if isinstance(answer, bytes):
                writer.write(answer)
                await writer.drain()
            else:
                await answer(asked, (reader, writer))
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client hung up, as some tests want it to
        finally:
            writer.close()


async def _read(reader: asyncio.StreamReader) -> Asked:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip("\r\n").split("\r\n")
    method, path, _ = first.split(" ")
    asked = Asked(method, path, [tuple(line.split(": ", 1)) for line in lines], b"")  # type: ignore[misc]
    if length := asked.all("content-length"):
        asked.body = await reader.readexactly(int(length[0]))
    return asked


@asynccontextmanager
async def server(*answers: Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[Loopback]:
    """A running server."""
    made = Loopback(list(answers), scheme="https" if tls else "http")
    running = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=tls)
    made.port = running.sockets[0].getsockname()[1]
    async with running:
        yield made


def reply(status: int = 200, body: object = MODELS, headers: dict[str, str] | None = None) -> bytes:
    """An HTTP answer; without `headers` one with the headers of OpenAI's API."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = {"Content-Length": str(len(content)), "Connection": "close", **(FROM_OPENAI if headers is None else headers)}
    head = "\r\n".join([f"HTTP/1.1 {status} Test", *(f"{name}: {value}" for name, value in lines.items())])
    return head.encode("latin-1") + b"\r\n\r\n" + content


def refusal(status: int, message: str, code: str | None = None, headers: dict[str, str] | None = None) -> bytes:
    """An error in OpenAI's envelope."""
    body = {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}
    return reply(status, body, FROM_OPENAI | (headers or {}))


async def until_hung_up(asked: Asked, road: Road) -> None:
    """Say nothing until the client has gone."""
    await road[0].read()


@asynccontextmanager
async def client(**options: Any) -> AsyncIterator[ApiClient]:
    """The client that is tested. Its patience outlasts a machine that is busy: a test of impatience says how short it is."""
    patient = {"timeout": 20.0, "connect_timeout": 20.0, "deadline": 30.0}
    waits = {name: timedelta(seconds=options.pop(name, seconds)) for name, seconds in patient.items()}
    async with ApiClient(**waits, **options) as made:
        yield made


def request(url: str, probe: ProbeKind = ProbeKind.AUTH, model: str | None = None, **more: Any) -> ProbeRequest:
    """A question with the test key."""
    if probe is ProbeKind.CONTROL:
        return ProbeRequest(target=Target(probe, host=url), base_url=url, at=AT)
    target = Target(probe, "shop", "backend", model)
    return ProbeRequest(**{"target": target, "base_url": url, "secret": KEY, "project_id": PROJECT, "at": AT, **more})


async def ask(url: str, probe: ProbeKind = ProbeKind.AUTH, model: str | None = None, **more: Any) -> Observation:
    """Ask one question with a client of its own. `api` are options of the client."""
    async with client(**more.pop("api", {})) as api:
        return await PROBES[probe](api, request(url, probe, model, **more))
