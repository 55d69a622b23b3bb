"""Settings: what is watched and how. Frozen and valid once read."""

import re
from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, StrictInt, model_validator

from monitor.config.values import (
    Address,
    Age,
    BaseUrl,
    DatabaseUrl,
    Interval,
    Label,
    ModelName,
    OpenAiId,
    Port,
    SecretRef,
    Slug,
    Wait,
    Words,
    wrong,
)
from monitor.domain.inventory import ProbeKind
from monitor.domain.redact import redact


class Table(BaseModel):
    """A table of the file: unknown keys are errors, values never change once read, errors never show them."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=False)


class Intervals(Table):
    """How often each probe asks."""

    control: Interval = timedelta(seconds=60)
    auth: Interval = timedelta(seconds=60)
    model_access: Interval = timedelta(minutes=5)
    inference: Interval = timedelta(minutes=15)
    """Of the inference probe, and of the probe that a denied model is refused."""


class IntervalOverrides(Table):
    """What one project does differently. `control` is missing: it belongs to a host that projects share."""

    auth: Interval | None = None
    model_access: Interval | None = None
    inference: Interval | None = None


class Budget(Table):
    """The most that inference probes of one project may use in a day (UTC)."""

    requests_per_day: Annotated[StrictInt, Field(ge=0, le=1_000_000)] = 2_000
    tokens_per_day: Annotated[StrictInt, Field(ge=0, le=1_000_000_000)] = 100_000


class KeySettings(Table):
    """One key of a project."""

    label: Label = "default"
    secret: SecretRef


def _at_least_one(keys: tuple[KeySettings, ...]) -> tuple[KeySettings, ...]:
    # Not min_length: with one key that is wrong it would also complain that there is none.
    if not keys:
        raise wrong("must not be empty", 'Add [[projects.keys]], with label = "backend" and secret = "env:NAME".')
    return keys


class ProjectSettings(Table):
    """One OpenAI project to watch."""

    name: Slug
    project_id: OpenAiId | None = None
    organization: OpenAiId | None = None
    base_url: BaseUrl = "https://api.openai.com/v1"
    environment: Words | None = None
    owner: Words | None = None
    services: tuple[Words, ...] = ()
    tags: tuple[Words, ...] = ()
    models: tuple[ModelName, ...] = ()
    denied_models: tuple[ModelName, ...] = ()
    inference: Literal["minimal", "zero_token", "off"] = "minimal"
    budget: Budget = Budget()
    intervals: IntervalOverrides = IntervalOverrides()
    keys: Annotated[tuple[KeySettings, ...], AfterValidator(_at_least_one)]


class PollerSettings(Table):
    """Limits of the poller."""

    concurrency: Annotated[StrictInt, Field(ge=1, le=2048)] = 128
    """Requests at the same time to one host."""
    timeout: Wait = timedelta(seconds=10)
    """For one read."""
    connect_timeout: Wait = timedelta(seconds=3)
    deadline: Wait = timedelta(seconds=15)
    """For one probe as a whole: a body that trickles outlives any timeout per read."""
    max_body: Annotated[StrictInt, Field(ge=64 * 1024, le=64 * 1024 * 1024)] = 1024 * 1024
    """Bytes read of one answer."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.connect_timeout <= self.timeout <= self.deadline:
            raise wrong("needs connect_timeout ≤ timeout ≤ deadline", "Raise the deadline or lower the timeouts.")
        return self


class DashboardSettings(Table):
    """Where the pages are served."""

    address: Address = "127.0.0.1"
    port: Port = 8501


class MetricsSettings(Table):
    """Where the poller serves /metrics, /healthz and /api/status."""

    address: Address = "127.0.0.1"
    port: Port = 9464


class Retention(Table):
    """How long what is kept."""

    observations: Age = timedelta(days=14)
    """Raw successes."""
    failures: Age = timedelta(days=400)
    """Raw failures: thirteen months, so that last year's incident can still be read."""
    minutes: Age = timedelta(days=60)
    """Minute buckets."""
    hours: Age = timedelta(days=400)
    """Hour buckets."""

    @model_validator(mode="after")
    def _failures_longest(self) -> Self:
        if self.failures < self.observations:
            raise wrong("must keep failures at least as long as observations", "Raise failures or lower observations.")
        if self.hours < self.minutes:
            raise wrong("must keep hours at least as long as minutes", "Raise hours or lower minutes.")
        return self


class MonitorTable(Table):
    """The `[monitor]` table."""

    database_url: Annotated[DatabaseUrl, Field(repr=False)] = "sqlite:///data/monitor.db"
    demo: StrictBool = False
    """Label everything as sample data."""
    intervals: Intervals = Intervals()
    poller: PollerSettings = PollerSettings()
    dashboard: DashboardSettings = DashboardSettings()
    metrics: MetricsSettings = MetricsSettings()
    retention: Retention = Retention()

    @model_validator(mode="after")
    def _ports_differ(self) -> Self:
        if self.dashboard.port == self.metrics.port != 0:
            raise wrong("has the same port for dashboard and metrics", "Give them different ports (8501 and 9464 by default).")
        return self


class ConfigFile(Table):
    """The whole of `monitor.toml`."""

    monitor: MonitorTable = MonitorTable()
    projects: tuple[ProjectSettings, ...] = ()


class Settings(MonitorTable):
    """Everything the monitor runs with. Frozen and valid; nobody checks again."""

    source: str
    """The file's path, `environment`, or `demo`."""
    projects: tuple[ProjectSettings, ...]

    def interval(self, project: ProjectSettings, probe: ProbeKind) -> timedelta:
        """How often `probe` asks for `project`."""
        field = {ProbeKind.DENIED_MODEL: "inference"}.get(probe, probe.value)
        override: timedelta | None = getattr(project.intervals, field, None)
        chosen: timedelta = override or getattr(self.intervals, field)
        return chosen

    def redacted(self) -> dict[str, Any]:
        """Everything that may be shown, as JSON-ready values: no password, no secret, only where secrets come from."""
        shown = self.model_dump(mode="json")
        url = re.sub(r"(?<=://).*@", "…@", self.database_url)
        shown["database_url"] = re.sub(r"(?<=password=)[^&]*", "…", url)
        redacted: dict[str, Any] = _redact_all(shown)
        return redacted


def _redact_all(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {key: _redact_all(item) for key, item in value.items()}
    return [_redact_all(item) for item in value] if isinstance(value, list) else value
