"""One answered question: the currency of probes, store, health and pages."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from monitor.domain.catalogue import Catalogue
from monitor.domain.inventory import Target
from monitor.domain.taxonomy import FailureKind, Lane, Scope

CLASSIFIER_VERSION = 2
"""Stored with each observation, so that history can be read again when OpenAI changes its words."""


class Verdict(StrEnum):
    """What an answer says of its target."""

    OK = "ok"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"
    """Could not tell: moves no state."""


class TransportFault(StrEnum):
    """Why there is no HTTP answer."""

    CONNECT_TIMEOUT = "connect_timeout"
    READ_TIMEOUT = "read_timeout"
    DEADLINE = "deadline"
    """The overall deadline of the probe passed: a body that trickles outlives any timeout per read."""
    REFUSED = "refused"
    DNS = "dns"
    RESET = "reset"
    UNREACHABLE = "unreachable"
    TLS = "tls"
    NOT_HTTP = "not_http"
    """Bytes came back that are not HTTP."""
    BODY_TOO_LARGE = "body_too_large"
    ILLEGAL_REQUEST = "illegal_request"
    """The request could not be written, e.g. a key that no header may hold."""


@dataclass(frozen=True, slots=True)
class WireAnswer:
    """What came back over the wire: all that the classifier may read."""

    status: int | None
    """None when there was no HTTP answer; then `fault` says why."""
    headers: tuple[tuple[str, str], ...] = ()
    """As received; names in any case, repeats kept."""
    body: bytes = b""
    endpoint: str = ""
    """Method and path, e.g. `GET /v1/models`; empty when not known."""
    fault: TransportFault | None = None
    fault_text: str | None = None
    """The operating system's words for the fault, without any part of the request."""


@dataclass(frozen=True, slots=True)
class RateLimitHit:
    """The limit that a 429 names in its text. None is "not said", never zero."""

    metric: str | None = None
    """`requests`, `tokens`, `images`, …"""
    window: str | None = None
    """`sec`, `min`, `day`, …"""
    limit: float | None = None
    used: float | None = None
    requested: float | None = None
    model: str | None = None
    pool: str | None = None
    """The limit's own name where it differs from the model's, e.g. `gpt-4.1` for a snapshot of it."""
    project: str | None = None
    organization: str | None = None


@dataclass(frozen=True, slots=True)
class RateLimitSnapshot:
    """One bucket as the `x-ratelimit-*` headers showed it at the instant of one answer. None is unknown, never zero."""

    bucket: str
    """The name in the headers: `requests`, `tokens`, `project-tokens`, `project-requests`, `input-images`, …"""
    limit: int | None
    remaining: int | None
    reset: float | None
    """Seconds until the bucket is completely full again: not until the next request may pass."""
    window: float | None = None
    """Seconds of the bucket's window as inferred: about 60 or 86400, or None where it cannot be told."""


@dataclass(frozen=True, slots=True)
class Classification:
    """What the classifier read out of one answer."""

    verdict: Verdict
    failure: FailureKind | None = None
    code: str | None = None
    type: str | None = None
    param: str | None = None
    message: str | None = None
    """OpenAI's words with ids, keys and addresses replaced: the same cause gives the same template."""
    scope: Scope | None = None
    retry_after: float | None = None
    """Seconds to wait, from the best source there is; None when nobody said."""
    hit: RateLimitHit | None = None
    missing_scopes: tuple[str, ...] = ()
    hint: str | None = None
    """One fact worth showing beside the kind: the right regional host, the masked key's length, the fault's words."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One answered question."""

    target: Target
    at: datetime
    """When the request was sent; aware, UTC, to the millisecond."""
    verdict: Verdict
    latency_ms: float | None = None
    """From sending to the last byte of the body; None when nothing was sent."""
    failure: FailureKind | None = None
    status: int | None = None
    code: str | None = None
    type: str | None = None
    param: str | None = None
    message: str | None = None
    request_id: str | None = None
    processing_ms: float | None = None
    """OpenAI's own time, from `openai-processing-ms`."""
    scope: Scope | None = None
    retry_after: float | None = None
    hit: RateLimitHit | None = None
    hint: str | None = None
    missing_scopes: tuple[str, ...] = ()
    finding: str | None = None
    """Something wrong although the answer was good: `denied_model_usable`, …"""
    limits: tuple[RateLimitSnapshot, ...] = field(default=())
    project_echo: str | None = None
    organization_echo: str | None = None
    tokens: int = 0
    """Tokens this probe used, as the answer reported them."""
    body: str | None = None
    """The body of a failure, redacted and capped at 4 KiB."""
    classifier_version: int = CLASSIFIER_VERSION
    catalogue: Catalogue | None = None
    """The models that a good answer lists, where they were asked for: reading them costs more than the call."""

    @property
    def lane(self) -> Lane | None:
        """The lane of the failure, if there is one."""
        return self.failure.lane if self.failure else None
