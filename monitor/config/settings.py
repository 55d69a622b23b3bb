"""Settings: what is watched and how. Frozen and valid once read."""

import re
from dataclasses import replace
from datetime import time, timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    ValidationError,
    model_validator,
)

from monitor.config.values import (
    Address,
    Age,
    BaseUrl,
    DatabaseUrl,
    DigestEvery,
    Interval,
    Label,
    Lease,
    ModelName,
    Moment,
    OpenAiId,
    Patience,
    Pause,
    Port,
    Quiet,
    Reminder,
    SecretRef,
    Slug,
    TimeOfDay,
    Unused,
    Wait,
    Words,
    wrong,
)
from monitor.domain.flood import AT_MOST
from monitor.domain.health import HealthPolicy
from monitor.domain.hygiene import HygienePolicy
from monitor.domain.inventory import ProbeKind
from monitor.domain.redact import redact
from monitor.domain.sli import OBJECTIVE


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


Checks = Annotated[StrictInt, Field(ge=1, le=21)]
"""Of a target; a state remembers 21."""
Part = Annotated[StrictFloat, Field(gt=0, le=1)]


class HealthSettings(Table):
    """How much evidence a change of health needs; what each means stands in `HealthPolicy`."""

    fail_after: Checks = 2
    fail_window: Checks = 3
    definitive_fail_after: Checks = 2
    recover_after: Checks = 2
    flap_start: Part = 0.5
    flap_stop: Part = 0.25

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.fail_after > self.fail_window:
            raise wrong("needs fail_after ≤ fail_window", "Raise fail_window or lower fail_after.")
        if self.flap_stop >= self.flap_start:
            raise wrong("needs flap_stop < flap_start", "Lower flap_stop or raise flap_start.")
        return self


class HealthOverrides(Table):
    """What one project judges differently."""

    fail_after: Checks | None = None
    fail_window: Checks | None = None
    definitive_fail_after: Checks | None = None
    recover_after: Checks | None = None
    flap_start: Part | None = None
    flap_stop: Part | None = None

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for a, b in (("fail_after", "fail_window"), ("flap_stop", "flap_start")):
            if (getattr(self, a) is None) is not (getattr(self, b) is None):
                raise wrong(f"needs both {a} and {b}, or neither", "Write the other one too: the two belong together.")
        HealthSettings(**self.model_dump(exclude_none=True))
        return self


class SloSettings(Table):
    """What is promised."""

    objective: Annotated[StrictFloat, Field(ge=0.5, lt=1)] = OBJECTIVE
    """The part of the valid checks that shall be good."""


_HYGIENE = HygienePolicy()


class HygieneSettings(Table):
    """When a key is too old, too near its end, or not needed; what each means stands in `HygienePolicy`."""

    max_age: Age = _HYGIENE.max_age
    expiry_notice: Age = _HYGIENE.expiry_notice
    unused_after: Unused = _HYGIENE.unused_after
    quiet_before_delete: Quiet = _HYGIENE.quiet_before_delete
    production: tuple[Words, ...] = _HYGIENE.production
    try_binding: StrictBool = _HYGIENE.try_binding

    @property
    def policy(self) -> HygienePolicy:
        """As the rules take it."""
        return HygienePolicy(**{name: getattr(self, name) for name in type(self).model_fields})


def hygiene_policy(said: object) -> HygienePolicy:
    """The policy of a stored `[monitor.hygiene]`; the default where another version of the program wrote it otherwise."""
    try:
        return HygieneSettings.model_validate(said if isinstance(said, dict) else {}).policy
    except ValidationError:
        return HygienePolicy()


class Budget(Table):
    """The most that inference probes of one project may use in a day (UTC)."""

    requests_per_day: Annotated[StrictInt, Field(ge=0, le=1_000_000)] = 2_000
    tokens_per_day: Annotated[StrictInt, Field(ge=0, le=1_000_000_000)] = 100_000


class KeySettings(Table):
    """One key of a project."""

    label: Label = "default"
    secret: SecretRef
    key_id: Annotated[OpenAiId | None, Field(exclude_if=lambda value: value is None)] = None
    """Which of OpenAI's keys it is; needed only where several look alike in the few characters that OpenAI shows."""


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
    health: HealthOverrides = HealthOverrides()
    keys: Annotated[tuple[KeySettings, ...], AfterValidator(_at_least_one)]


LaneName = Literal["auth", "access", "rate", "quota", "server", "network", "client", "unknown"]


class ChannelSettings(Table):
    """Where messages go."""

    name: Slug
    url: SecretRef
    """Where an Apprise URL is, such as `slack://…` or `mailto://…`: it holds a secret."""
    at_most: Annotated[StrictInt, Field(ge=1, le=1000)] = AT_MOST
    """Messages about single incidents in ten minutes; what is more comes as one message about all of them."""


class RouteSettings(Table):
    """Which incidents go to a channel. An empty list is everybody."""

    channel: Slug
    owners: tuple[Words, ...] = ()
    environments: tuple[Words, ...] = ()
    lanes: tuple[LaneName, ...] = ()
    projects: tuple[Slug, ...] = ()
    min_severity: Literal["info", "warning", "critical"] = "warning"
    group_wait: Pause = timedelta(seconds=15)
    """How long an incident gathers what belongs to it before it is told."""
    remind_every: Reminder = timedelta(hours=4)
    """While nobody acknowledges it. None is never."""
    escalate_after: Patience | None = None
    """This route is told only what nobody has acknowledged for so long."""
    digest_every: DigestEvery | None = None
    """This route is told everything together, so often, and nothing at once."""
    digest_at: TimeOfDay = time(6)
    """UTC."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.escalate_after is not None and self.digest_every is not None:
            raise wrong("cannot both escalate and be a digest", "Make two routes of it.")
        return self


class MaintenanceSettings(Table):
    """A time for which quiet is planned. Checks go on; nobody is told. An empty list is everybody."""

    name: Words
    starts: Moment
    until: Moment
    every: Interval | None = None
    """It comes again so often."""
    projects: tuple[Slug, ...] = ()
    owners: tuple[Words, ...] = ()
    environments: tuple[Words, ...] = ()
    lanes: tuple[LaneName, ...] = ()

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.until <= self.starts:
            raise wrong("ends before it starts", "Let until be later than starts.")
        if self.every is not None and self.every <= self.until - self.starts:
            raise wrong("comes again before it is over: it would be quiet for ever", "Make every longer, or the window shorter.")
        return self


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
    lease: Lease = timedelta(seconds=15)
    """Of several pollers on one PostgreSQL: within this time the others take over from one that dies."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.connect_timeout <= self.timeout <= self.deadline:
            raise wrong("needs connect_timeout ≤ timeout ≤ deadline", "Raise the deadline or lower the timeouts.")
        return self


class SyncSettings(Table):
    """How often what of the organization's record is read again, and how fast."""

    configuration: Interval = timedelta(hours=1)
    """Projects, keys, limits, permissions, members."""
    audit_log: Interval = timedelta(minutes=5)
    usage_minutes: Interval = timedelta(minutes=5)
    usage_hours: Interval = timedelta(hours=1)
    usage_days: Interval = timedelta(days=1)
    """Also of the costs."""
    requests_per_second: Annotated[StrictInt, Field(ge=1, le=100)] = 10


class OrganizationSettings(Table):
    """An OpenAI organization whose own record is read."""

    name: Slug
    id: OpenAiId | None = None
    """Sent as OpenAI-Organization where it is given; an admin key belongs to one organization anyhow."""
    admin_key: SecretRef
    """Where the admin key is. It needs to read, and nothing more."""
    base_url: BaseUrl = "https://api.openai.com/v1"
    personal_data: StrictBool = False
    """Keep mail addresses too. Without it people have an id and a name."""
    sync: SyncSettings = SyncSettings()


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

    observations: Age = timedelta(days=10)
    """Raw successes."""
    failures: Age = timedelta(days=400)
    """Raw failures: thirteen months, so that last year's incident can still be read."""
    minutes: Age = timedelta(hours=30)
    """Minute buckets: what charts of some hours are made of."""
    quarters: Age = timedelta(days=8)
    """Quarter-hour buckets: a week. Minutes that are kept for longer keep these as long."""
    hours: Age = timedelta(days=65)
    """Hour buckets: two months. Days are kept for ever."""

    @model_validator(mode="after")
    def _failures_longest(self) -> Self:
        if self.failures < self.observations:
            raise wrong("must keep failures at least as long as observations", "Raise failures or lower observations.")
        if self.hours < self.minutes:
            raise wrong("must keep hours at least as long as minutes", "Raise hours or lower minutes.")
        if self.hours < self.quarters:
            raise wrong("must keep hours at least as long as quarters", "Raise hours or lower quarters.")
        return self


class MonitorTable(Table):
    """The `[monitor]` table."""

    database_url: Annotated[DatabaseUrl, Field(repr=False)] = "sqlite:///data/monitor.db"
    demo: StrictBool = False
    """Label everything as sample data."""
    dashboard_url: BaseUrl | None = None
    """Where people find the pages: messages link there."""
    dead_man_url: SecretRef | None = None
    """Where a URL is that is asked every minute; who is behind it notices when that stops."""
    intervals: Intervals = Intervals()
    poller: PollerSettings = PollerSettings()
    dashboard: DashboardSettings = DashboardSettings()
    metrics: MetricsSettings = MetricsSettings()
    retention: Retention = Retention()
    health: HealthSettings = HealthSettings()
    slo: SloSettings = SloSettings()
    hygiene: HygieneSettings = HygieneSettings()

    @model_validator(mode="after")
    def _ports_differ(self) -> Self:
        if self.dashboard.port == self.metrics.port != 0:
            raise wrong("has the same port for dashboard and metrics", "Give them different ports (8501 and 9464 by default).")
        return self


class ConfigFile(Table):
    """The whole of `monitor.toml`."""

    monitor: MonitorTable = MonitorTable()
    organizations: tuple[OrganizationSettings, ...] = ()
    projects: tuple[ProjectSettings, ...] = ()
    channels: tuple[ChannelSettings, ...] = ()
    routes: tuple[RouteSettings, ...] = ()
    maintenance: tuple[MaintenanceSettings, ...] = ()


class Settings(MonitorTable):
    """Everything the monitor runs with. Frozen and valid; nobody checks again."""

    source: str
    """The file's path, `environment`, or `demo`."""
    projects: tuple[ProjectSettings, ...]
    organizations: tuple[OrganizationSettings, ...] = ()
    """Without any, no admin key is needed and none is used."""
    channels: tuple[ChannelSettings, ...] = ()
    routes: tuple[RouteSettings, ...] = ()
    """Without any, every channel is told everything that is worth a warning."""
    maintenance: tuple[MaintenanceSettings, ...] = ()

    def interval(self, project: ProjectSettings, probe: ProbeKind) -> timedelta:
        """How often `probe` asks for `project`."""
        field = {ProbeKind.DENIED_MODEL: "inference"}.get(probe, probe.value)
        override: timedelta | None = getattr(project.intervals, field, None)
        chosen: timedelta = override or getattr(self.intervals, field)
        return chosen

    @property
    def health_policy(self) -> HealthPolicy:
        """How health is judged where a project says nothing else."""
        return HealthPolicy(**self.health.model_dump())

    def health_policies(self) -> dict[str, HealthPolicy]:
        """The policies of the projects that judge differently, by name."""
        own = {project.name: project.health.model_dump(exclude_none=True) for project in self.projects}
        return {name: replace(self.health_policy, **changed) for name, changed in own.items() if changed}

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
