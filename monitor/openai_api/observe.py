"""The harness of every probe: it bounds, times and classifies one call, and never lets a failure out as an exception."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

from monitor.domain.classify import classify
from monitor.domain.inventory import Target
from monitor.domain.observation import Observation, TransportFault, Verdict, WireAnswer
from monitor.domain.ratelimits import snapshots
from monitor.domain.redact import label, redact_body
from monitor.domain.taxonomy import KINDS, FailureKind
from monitor.openai_api.client import ApiClient, Caller, UnusableKeyError
from monitor.openai_api.wire import CURRENT, Exchange


@dataclass(frozen=True, slots=True)
class ProbeRequest:
    """What a probe needs to ask its question."""

    target: Target
    base_url: str
    secret: str | None = field(default=None, repr=False)
    """None for a control probe, and where the secret cannot be read."""
    project_id: str | None = None
    organization: str | None = None
    inference_mode: Literal["minimal", "zero_token", "off"] = "minimal"
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    problem: str | None = None
    """Why there is no secret, in words."""
    catalogue: bool = False
    """Whether to read which models a list holds."""


Call = Callable[[Caller], Awaitable[Any]]
"""Makes one call with the SDK; what it returns or raises is not read."""


@dataclass(frozen=True, slots=True)
class Answered:
    """One call, over: what it says of the target, and the answer for probes that look closer."""

    observation: Observation
    answer: WireAnswer


async def observe(api: ApiClient, request: ProbeRequest, call: Call) -> Answered:
    """Make one call within the deadline and say what came of it. Raises nothing but CancelledError."""
    exchange = Exchange()
    before = CURRENT.set(exchange)
    try:
        caller = api.caller(request.base_url, request.secret, request.project_id, request.organization)
        async with asyncio.timeout(api.deadline):
            await call(caller)
    except UnusableKeyError as error:
        exchange.fault, exchange.fault_text = TransportFault.ILLEGAL_REQUEST, str(error)
    except TimeoutError:
        # Ours: the transport turns its own into faults. What came until now stays as evidence.
        exchange.fault = TransportFault.DEADLINE
    except Exception as error:  # noqa: BLE001 - the exchange knows what happened; the SDK's words, which may hold a key, are not read
        if exchange.sent is None:
            exchange.fault, exchange.fault_text = TransportFault.ILLEGAL_REQUEST, type(error).__name__
    finally:
        CURRENT.reset(before)
    # Measured around the transport: the SDK's own time, a third of a second where it loads a module, is not the API's.
    latency = (exchange.ended - exchange.sent) * 1000 if exchange.sent is not None and exchange.ended is not None else None
    answer = without(exchange.answer(), request.secret)
    return Answered(_observation(request, answer, latency), answer)


def _observation(request: ProbeRequest, answer: WireAnswer, latency_ms: float | None) -> Observation:
    meaning = classify(answer, now=request.at)
    said = {name.lower(): value for name, value in answer.headers}
    made = Observation(
        target=request.target,
        at=request.at,
        verdict=meaning.verdict,
        latency_ms=latency_ms,
        failure=meaning.failure,
        status=answer.status,
        code=meaning.code,
        type=meaning.type,
        param=meaning.param,
        message=meaning.message,
        request_id=_id(said.get("x-request-id")),
        processing_ms=_milliseconds(said.get("openai-processing-ms")),
        scope=meaning.scope,
        retry_after=meaning.retry_after,
        hit=meaning.hit,
        hint=meaning.hint,
        missing_scopes=meaning.missing_scopes,
        limits=snapshots(answer.headers),
        project_echo=_id(said.get("openai-project")),
        organization_echo=_id(said.get("openai-organization")),
        body=redact_body(answer.body) if meaning.failure is not None and answer.body else None,
    )
    return asserted(made, request.project_id)


def without(answer: WireAnswer, secret: str | None) -> WireAnswer:
    """The answer without the key that was sent, should somebody on the way echo it whole. Its length and last four characters stay,
    as in OpenAI's own echo.
    """
    if secret is None or len(secret) < _TOO_SHORT_TO_FIND or not secret.isascii():
        return answer
    key, shown = secret.encode(), 4 if len(secret) >= 20 else 0
    if key not in answer.body and not any(secret in value or secret in name for name, value in answer.headers):
        return answer
    mask = "*" * (len(secret) - shown) + secret[len(secret) - shown :]
    headers = tuple((name.replace(secret, mask), value.replace(secret, mask)) for name, value in answer.headers)
    return replace(answer, body=answer.body.replace(key, mask.encode()), headers=headers)


_TOO_SHORT_TO_FIND = 8
"""Characters. A shorter one would be found inside ordinary words."""


def asserted(made: Observation, configured: str | None) -> Observation:
    """A good answer that names another project than the configured one comes from another project's key: it is counted and paid
    there. Only two ids can be compared: a slug or a name says nothing.
    """
    echo = made.project_echo
    if echo is None or configured is None or echo == configured or made.verdict is not Verdict.OK:
        return made
    if not (configured.startswith("proj_") and echo.startswith("proj_")):
        return made
    kind = FailureKind.AUTH_WRONG_PROJECT
    hint = f"OpenAI counts the call for {echo}, the configuration says {configured}"
    return replace(made, verdict=Verdict.FAILED, failure=kind, scope=KINDS[kind].scope, code="project_echo_differs", hint=hint)


_SHORT = 200


def _id(text: str | None) -> str | None:
    """An id out of a header, safe to store: redacted, and never longer than ids are."""
    if not text:
        return None
    if len(text) > _SHORT or not text.isascii() or not text.isprintable() or "sk-" in text:
        return label(text)
    return text


def _milliseconds(text: str | None) -> float | None:
    """OpenAI's own time; None where it is missing or no sensible number."""
    if text is None or len(text) > 12 or not text.isascii() or not text.replace(".", "", 1).isdigit():
        return None
    return float(text)
