"""The harness of every probe: it sets the deadline, measures, reads status, headers and raw bytes, and never raises.

A 401, a 429, a cut line are results. No text of an exception is kept: the SDK's may hold the whole key.
"""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import httpx2
import openai

from monitor.domain import ratelimits
from monitor.domain.classify import classify
from monitor.domain.inventory import Target
from monitor.domain.observation import Observation, TransportFault, Verdict, WireAnswer
from monitor.domain.redact import redact_body
from monitor.domain.taxonomy import KINDS, FailureKind
from monitor.openai_api.client import AdminKeyRefused, ApiClient
from monitor.openai_api.transport import WireFault


@dataclass(frozen=True, slots=True)
class ProbeRequest:
    """What a probe needs to ask its question."""

    target: Target
    at: datetime
    base_url: str
    secret: str | None = None
    """Hidden nowhere in here: never log a request."""
    project_id: str | None = None
    organization: str | None = None
    inference: str = "minimal"
    """`minimal`, `zero_token` or `off`."""

    def __repr__(self) -> str:
        """Without the secret."""
        return f"ProbeRequest({self.target}, {self.at:%H:%M:%S})"


@dataclass(frozen=True, slots=True)
class Answered:
    """An observation with the answer it was made from, for probes that look closer."""

    observation: Observation
    answer: WireAnswer


async def observe(client: ApiClient, request: ProbeRequest, endpoint: str, call: Awaitable[Any]) -> Answered:
    """Await `call`, a raw-response method of the SDK, and make an observation of whatever comes."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    answer = await _answer(client, endpoint, call)
    latency = (loop.time() - began) * 1000
    return Answered(_observation(request, answer, latency), answer)


async def _answer(client: ApiClient, endpoint: str, call: Awaitable[Any]) -> WireAnswer:
    try:
        async with asyncio.timeout(client.deadline):
            raw = await call
        return _wire_answer(raw.http_response, endpoint)
    except openai.APIStatusError as error:
        return _wire_answer(error.response, endpoint)
    except openai.APIConnectionError as error:
        return _no_answer(endpoint, *_fault(error.__cause__))
    except TimeoutError:
        return _no_answer(endpoint, TransportFault.DEADLINE)
    except (UnicodeError, AdminKeyRefused):
        return _no_answer(endpoint, TransportFault.ILLEGAL_REQUEST)
    except (openai.OpenAIError, httpx2.HTTPError, ValueError, AttributeError, TypeError, RecursionError):
        # The SDK stumbles over answers that are none: what came was HTTP, but nothing it could read.
        return _no_answer(endpoint, TransportFault.NOT_HTTP)


def _wire_answer(response: httpx2.Response, endpoint: str) -> WireAnswer:
    headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in response.headers.raw)
    return WireAnswer(response.status_code, headers, response.content, endpoint)


def _no_answer(endpoint: str, fault: TransportFault, text: str | None = None) -> WireAnswer:
    return WireAnswer(None, endpoint=endpoint, fault=fault, fault_text=text)


_FAULTS: tuple[tuple[type[BaseException], TransportFault], ...] = (
    (httpx2.ConnectTimeout, TransportFault.CONNECT_TIMEOUT),
    (httpx2.TimeoutException, TransportFault.READ_TIMEOUT),
    (httpx2.LocalProtocolError, TransportFault.ILLEGAL_REQUEST),
    (httpx2.UnsupportedProtocol, TransportFault.ILLEGAL_REQUEST),
    (httpx2.RemoteProtocolError, TransportFault.NOT_HTTP),
    (httpx2.ConnectError, TransportFault.UNREACHABLE),
)


def _fault(cause: BaseException | None) -> tuple[TransportFault, str | None]:
    """Why there was no answer. Of foreign causes only the class is read, never the text."""
    if isinstance(cause, WireFault):
        return cause.fault, str(cause) or None
    return next((fault for kind, fault in _FAULTS if isinstance(cause, kind)), TransportFault.RESET), None


def _observation(request: ProbeRequest, answer: WireAnswer, latency_ms: float) -> Observation:
    found = classify(answer, now=request.at)
    headers = {name.lower(): value for name, value in answer.headers}
    made = Observation(
        target=request.target,
        at=request.at,
        verdict=found.verdict,
        latency_ms=latency_ms,
        failure=found.failure,
        status=answer.status,
        code=found.code,
        type=found.type,
        param=found.param,
        message=found.message,
        request_id=(headers.get("x-request-id") or "")[:200] or None,
        processing_ms=_number(headers.get("openai-processing-ms")),
        scope=found.scope,
        retry_after=found.retry_after,
        hit=found.hit,
        hint=found.hint,
        missing_scopes=found.missing_scopes,
        limits=ratelimits.snapshots(answer.headers),
        project_echo=_echo(headers.get("openai-project")),
        organization_echo=_echo(headers.get("openai-organization")),
        body=redact_body(answer.body) if found.failure and answer.body else None,
    )
    return _asserted(made, request.project_id)


def _asserted(made: Observation, project_id: str | None) -> Observation:
    """A good answer that was given for another project is the wrong key's: its use is counted and paid there."""
    echo = made.project_echo
    if made.verdict is not Verdict.OK or not echo or not project_id or echo == project_id:
        return made
    if not (echo.startswith("proj_") and project_id.startswith("proj_")):
        return made
    kind = FailureKind.AUTH_WRONG_PROJECT
    hint = f"OpenAI counted the call for {echo}, the configuration says {project_id}"
    return replace(made, verdict=Verdict.FAILED, failure=kind, scope=KINDS[kind].scope, hint=hint)


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 <= value < 1e9 else None


def _echo(text: str | None) -> str | None:
    return text[:100] if text and text.isprintable() else None


def host_of(base_url: str) -> str:
    """Host and port: what concurrency is bounded by."""
    return urlsplit(base_url).netloc
