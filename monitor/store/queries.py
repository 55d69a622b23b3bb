"""The read side: one function per question. Nothing here writes; every function takes the engine and, where it matters, `now`."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pandas as pd
from sqlalchemy import Engine

from monitor.domain.health import Health, LaneState
from monitor.domain.inventory import KeyKind, ProbeKind, Target
from monitor.domain.observation import RateLimitHit, RateLimitSnapshot, Verdict
from monitor.domain.taxonomy import FailureKind, Lane, Scope
from monitor.domain.timeline import Window


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
    """The auth probe's status, for the diagnosis."""


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
    """The target that decides the health: what to explain first."""
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


def data_version(engine: Engine) -> int:
    """A number that grows with every commit of the poller: pages key their caches on it."""
    raise NotImplementedError


def heartbeat(engine: Engine) -> Heartbeat | None:
    """The newest heartbeat, or None where no poller ever ran."""
    raise NotImplementedError


def fleet(engine: Engine, now: datetime) -> list[ProjectStatus]:
    """Every configured project, worst first, then by name."""
    raise NotImplementedError


def project(engine: Engine, name: str, now: datetime) -> ProjectStatus | None:
    """One project, or None where no such one is configured."""
    raise NotImplementedError


def targets(engine: Engine, now: datetime, project: str | None = None) -> list[TargetStatus]:
    """The current state of every active target (of one project, or of all with the control probes), worst first."""
    raise NotImplementedError


def keys(engine: Engine, now: datetime, project: str | None = None) -> list[KeyStatus]:
    """Every configured key with its current health, worst first."""
    raise NotImplementedError


def strips(engine: Engine, window: Window, cells: int = 48) -> pd.DataFrame:
    """Per project and cell of the window what happened: `project, cell, ok, failed, inconclusive, failure`.

    `cell` counts from 0 at the window's start; `failure` is the commonest kind of the cell or None. Cells without data have no row.
    """
    raise NotImplementedError


def failure_trend(engine: Engine, window: Window, step: timedelta, project: str | None = None) -> pd.DataFrame:
    """Failures by kind over time: `start` (UTC), `failure` (identifier), `count`. Only rows with a count above zero."""
    raise NotImplementedError


def check_counts(engine: Engine, window: Window, step: timedelta, project: str | None = None) -> pd.DataFrame:
    """Checks over time: `start`, `ok`, `failed`, `inconclusive`. A step without any check has no row: no data is not zero."""
    raise NotImplementedError


def latency_trend(
    engine: Engine, window: Window, step: timedelta, project: str | None = None, probe: ProbeKind | None = None
) -> pd.DataFrame:
    """Latency percentiles over time: `start`, `p50`, `p95`, `p99` (milliseconds), `checks`."""
    raise NotImplementedError


def limits_history(engine: Engine, window: Window, step: timedelta, project: str) -> pd.DataFrame:
    """What the headers said over time: `start, model, bucket, limit, remaining` (the least of the step); unknown stays missing."""
    raise NotImplementedError


def limits_now(engine: Engine, project: str | None = None) -> pd.DataFrame:
    """The newest snapshot of every bucket: `project, key, model, bucket, limit, remaining, reset, window, at`."""
    raise NotImplementedError


def rate_limit_trend(engine: Engine, window: Window, step: timedelta, project: str | None = None) -> pd.DataFrame:
    """429s (lanes rate and quota) by kind over time: `start`, `project`, `failure`, `count`."""
    raise NotImplementedError


def model_matrix(engine: Engine, now: datetime) -> pd.DataFrame:
    """Project × model: `project, model, need` (required|denied), `listed` and `usable` (Health values, or None where not probed),
    `failure`, `message`, `at`.
    """
    raise NotImplementedError


def observations(
    engine: Engine,
    window: Window,
    where: EvidenceFilter = EvidenceFilter(),
    limit: int = 500,
    offset: int = 0,
) -> pd.DataFrame:
    """Raw observations, newest first: `target_id, at, project, key, probe, model, verdict, failure, lane, status, code, type, param,
    message, request_id, latency_ms, processing_ms, scope, retry_after, hint`.
    """
    raise NotImplementedError


def observation(engine: Engine, target_id: int, at: datetime) -> dict[str, Any] | None:
    """Everything stored of one observation, limits and redacted body included."""
    raise NotImplementedError


def probe_cost(engine: Engine, window: Window) -> pd.DataFrame:
    """What probing used: `project`, `probe`, `requests`, `tokens`."""
    raise NotImplementedError


def effective_config(engine: Engine) -> EffectiveConfig | None:
    """The configuration the poller runs with, or None before its first start."""
    raise NotImplementedError
