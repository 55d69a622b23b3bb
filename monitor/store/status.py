"""What the read side answers with."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from monitor.domain.health import Health, LaneState
from monitor.domain.inventory import KeyKind, ProbeKind, Target
from monitor.domain.observation import RateLimitHit, RateLimitSnapshot, Verdict
from monitor.domain.taxonomy import FailureKind, Lane, Scope


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The poller's proof of life."""

    at: datetime
    started_at: datetime
    pid: int
    host: str
    version: str
    checks: int
    """Checks finished since it started."""
    lag_p99_ms: float | None
    """Schedule lag: how late checks started, 99th percentile of the last minute."""
    in_flight: int
    config_error: str | None = None
    """Why the newest configuration was not taken; the one before it goes on."""
    demo: bool = False

    def late(self, now: datetime) -> bool:
        """Whether the poller has been silent for longer than it may: 45 s, three beats."""
        return now - self.at > timedelta(seconds=45)


@dataclass(frozen=True, slots=True)
class TargetStatus:
    """The current state of one target with its last answer."""

    id: int
    target: Target
    interval: timedelta
    health: Health
    """Fresh: unknown where data is late."""
    since: datetime | None
    failure: FailureKind | None
    """The cause while ill."""
    suspect: bool
    last_at: datetime | None
    last_ok_at: datetime | None
    verdict: Verdict | None
    last_failure: FailureKind | None
    """Of the last answer, whether or not it moved the health."""
    status: int | None
    code: str | None
    type: str | None
    param: str | None
    message: str | None
    request_id: str | None
    latency_ms: float | None
    retry_after: float | None
    scope: Scope | None
    hit: RateLimitHit | None
    hint: str | None
    missing_scopes: tuple[str, ...]
    finding: str | None
    project_echo: str | None
    limits: tuple[RateLimitSnapshot, ...]
    """The newest snapshot seen for this target, perhaps older than `last_at`."""
    limits_at: datetime | None


@dataclass(frozen=True, slots=True)
class KeyStatus:
    """One key as configured and as observed."""

    project: str
    label: str
    kind: KeyKind
    fingerprint: str | None
    source: str
    problem: str | None
    health: Health
    since: datetime | None
    failure: FailureKind | None
    first_seen: datetime
    """When this fingerprint was first seen here: a rotation begins it anew."""
    last_at: datetime | None
    last_ok_at: datetime | None
    auth: TargetStatus | None
    """The status of the auth check where it is not simply well, for the diagnosis."""


@dataclass(frozen=True, slots=True)
class ProjectStatus:
    """One project: what the overview shows of it."""

    name: str
    project_id: str | None
    organization: str | None
    base_url: str
    environment: str | None
    owner: str | None
    services: tuple[str, ...]
    tags: tuple[str, ...]
    models: tuple[str, ...]
    denied_models: tuple[str, ...]
    health: Health
    since: datetime | None
    lamps: dict[Lane, LaneState]
    worst: TargetStatus | None
    """What to explain first: the target that decides the health, or of a healthy project one that is suspect. Else None."""
    keys: int
    targets: int
    last_at: datetime | None
    findings: tuple[str, ...] = ()
    """`denied_model_usable`, `key_legacy`, `key_unscoped`, `no_project_id`, …"""


@dataclass(frozen=True, slots=True)
class EvidenceFilter:
    """Which raw observations are asked for; None and empty mean any."""

    project: str | None = None
    key: str | None = None
    model: str | None = None
    probe: ProbeKind | None = None
    verdict: Verdict | None = None
    lane: Lane | None = None
    failure: FailureKind | None = None
    status: int | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class EffectiveConfig:
    """What the poller runs with, without secrets."""

    at: datetime
    source: str
    """The file's path, `environment`, or `demo`."""
    text: dict[str, Any] = field(default_factory=dict)
