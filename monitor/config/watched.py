"""What a configuration amounts to: the inventory of checks, what deserves a look, and what probing costs."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from monitor.config import alerts
from monitor.config.errors import ConfigError
from monitor.config.settings import KeySettings, ProjectSettings, Settings
from monitor.domain.inventory import ApiKey, Check, Inventory, KeyKind, ProbeKind, Project, Target, fingerprint
from monitor.secrets import Secrets


def secret_errors(settings: Settings, secrets: Secrets) -> list[ConfigError]:
    """Every project's secret that cannot be used. The poller goes on without those keys; `check` and `doctor` say so."""
    place = _place(settings)
    return [
        ConfigError(
            place,
            f"projects[{index}].keys[{number}].secret",
            f"{key.secret}: {problem}",
            "Set it right; it is read again without a restart.",
            project.name,
        )
        for index, project in enumerate(settings.projects)
        for number, key in enumerate(project.keys)
        if (problem := secrets.resolve(key.secret).problem)
    ]


def admin_key_errors(settings: Settings, secrets: Secrets) -> list[ConfigError]:
    """Every admin key that cannot be used. Watching goes on without the organization's own record; `sync` and `doctor` say so."""
    fix = "Set it right; it is read again without a restart."
    return [
        ConfigError(_place(settings), f"organizations[{index}].admin_key", f"{organization.admin_key}: {problem}", fix)
        for index, organization in enumerate(settings.organizations)
        if (problem := secrets.resolve(organization.admin_key, admin=True).problem)
    ]


def _place(settings: Settings) -> str:
    return {"environment": "environment", "demo": "monitor.toml"}.get(settings.source, Path(settings.source).name)


def inventory(settings: Settings, secrets: Secrets, salt: bytes) -> Inventory:
    """Everything that is watched: projects with their keys (no secrets), and every check with its interval."""
    projects = tuple(_project(project, secrets, salt) for project in settings.projects)
    hosts = dict.fromkeys(project.base_url for project in settings.projects)
    control = [Check(Target(ProbeKind.CONTROL, host=host), settings.intervals.control) for host in hosts]
    checks = [check for project in settings.projects for check in _checks(project, settings)]
    return Inventory(projects, (*control, *checks))


def _project(project: ProjectSettings, secrets: Secrets, salt: bytes) -> Project:
    return Project(
        name=project.name,
        project_id=project.project_id,
        organization=project.organization,
        base_url=project.base_url,
        environment=project.environment,
        owner=project.owner,
        services=project.services,
        tags=project.tags,
        models=project.models,
        denied_models=project.denied_models,
        keys=tuple(_api_key(key, secrets, salt) for key in project.keys),
    )


def _api_key(key: KeySettings, secrets: Secrets, salt: bytes) -> ApiKey:
    secret = secrets.resolve(key.secret)
    printed = fingerprint(secret.value, salt) if secret.value else None
    return ApiKey(key.label, key.secret, secret.kind, printed, secret.problem)


def _checks(project: ProjectSettings, settings: Settings) -> Iterator[Check]:
    """Access is asked with every key; what a call costs, with the first key only."""

    def check(probe: ProbeKind, key: KeySettings, model: str | None = None) -> Check:
        return Check(Target(probe, project.name, key.label, model), settings.interval(project, probe))

    for key in project.keys:
        yield check(ProbeKind.AUTH, key)
        for model in project.models:
            yield check(ProbeKind.MODEL_ACCESS, key, model)
    if project.inference == "off":
        return  # nor is a denied model called: if it were usable, the call would cost
    for model in project.models:
        yield check(ProbeKind.INFERENCE, project.keys[0], model)
    for model in project.denied_models:
        yield check(ProbeKind.DENIED_MODEL, project.keys[0], model)


@dataclass(frozen=True, slots=True)
class ConfigFinding:
    """Something that works but deserves a look."""

    code: str
    """Stable: `no_project_id`, `key_legacy`, …"""
    project: str | None
    key: str | None
    message: str
    fix: str


def findings(settings: Settings, secrets: Secrets) -> list[ConfigFinding]:
    """What works but deserves a look, in the order of the configuration."""
    found = [*_monitor_findings(settings), *_alert_findings(settings, secrets)]
    for project in settings.projects:
        found += _project_findings(project, settings)
        for key in project.keys:
            found += _key_findings(project, key, secrets)
    return found


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine and no other."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _monitor_findings(settings: Settings) -> Iterator[ConfigFinding]:
    for name, address in (("dashboard", settings.dashboard.address), ("metrics", settings.metrics.address)):
        if not is_loopback(address):
            message = f"the {name} is reachable from other machines, without a password"
            yield ConfigFinding("open_address", None, None, message, "Put a proxy with a login in front, or use 127.0.0.1.")


def _alert_findings(settings: Settings, secrets: Secrets) -> Iterator[ConfigFinding]:
    for name, problem in alerts.unreadable(settings, secrets):
        message = f"{name} cannot be used, so nobody is told there: {problem}"
        yield ConfigFinding("channel_unreadable", None, None, message, "Set it right; it is read again without a restart.")
    for place, name in alerts.nobody_has(settings):
        yield ConfigFinding(
            "nobody_has", None, None, f"{place} names “{name}”, which no project has", "Correct it, or take it out."
        )
    if settings.routes:
        for channel in sorted({each.name for each in settings.channels} - {each.channel for each in settings.routes}):
            message = f"channel {channel} is told nothing: no route leads to it"
            yield ConfigFinding("channel_unused", None, None, message, "Add [[routes]] with its name, or take it out.")


def _project_findings(project: ProjectSettings, settings: Settings) -> Iterator[ConfigFinding]:
    def found(code: str, message: str, fix: str) -> ConfigFinding:
        return ConfigFinding(code, project.name, None, message, fix)

    if project.project_id is None:
        yield found("no_project_id", "has no project_id: nothing proves that the key belongs to this project", "Add project_id.")
    elif not project.project_id.startswith("proj_"):
        yield found("odd_project_id", "has a project_id that does not begin with proj_", "Copy it from the project's settings.")
    url = urlsplit(project.base_url)
    if url.scheme == "http" and not is_loopback(url.hostname or ""):
        yield found("plain_http", "sends its key over plain http, readable on the way", "Use https.")
    if not re.search(r"/v\d+$", url.path):
        yield found(
            "base_url_without_v1", "has a base_url that does not end with /v1", "OpenAI's own is https://api.openai.com/v1."
        )
    if project.inference == "off" and project.denied_models:
        yield found("denied_unchecked", "lists denied_models but inference is off, so nothing tries them", "Turn inference on.")
    daily = _daily(project, settings)
    if _over_budget(project, daily) > 1:
        planned = sum(daily.get(probe, 0.0) for probe in _PAID)
        message = f"plans {planned:,.0f} inference calls a day, more than its budget allows: some will be left out"
        yield found("budget_below_plan", message, "Raise the budget, or the interval of inference.")


_KIND_FINDINGS = {
    KeyKind.USER_LEGACY: (
        "key_legacy",
        "is a legacy user key: not bound to a project, dies with its user",
        "Use a service account's key of this project.",
    ),
    KeyKind.USER_UNSCOPED: (
        "key_unscoped",
        "is a user key without a project: it reaches whatever its user may",
        "Use a service account's key of this project.",
    ),
}


def _key_findings(project: ProjectSettings, key: KeySettings, secrets: Secrets) -> Iterator[ConfigFinding]:
    secret = secrets.resolve(key.secret)
    if secret.value and secret.kind in _KIND_FINDINGS:
        code, message, fix = _KIND_FINDINGS[secret.kind]
        yield ConfigFinding(code, project.name, key.label, message, fix)
    for sentence in secret.findings:
        yield ConfigFinding("secret_odd", project.name, key.label, sentence, "Store the key alone, without anything around it.")


class PlanRow(NamedTuple):
    """What one probe of one project costs in a month of 30 days."""

    project: str | None
    """None for the control probes, which belong to a host."""
    probe: ProbeKind
    requests_per_month: int
    tokens_per_month: int


TOKENS_PER_INFERENCE = 25
"""About nine in and sixteen out: the least that every endpoint family accepts."""
_PAID = (ProbeKind.INFERENCE, ProbeKind.DENIED_MODEL)
_DAYS = 30


def probe_plan(settings: Settings) -> list[PlanRow]:
    """What probing will cost in a month, per project and probe. Inference is capped by the project's daily budget."""
    hosts = len({project.base_url for project in settings.projects})
    control = timedelta(days=_DAYS) / settings.intervals.control * hosts
    rows = [PlanRow(None, ProbeKind.CONTROL, round(control), 0)]
    for project in settings.projects:
        daily = _daily(project, settings)
        share = min(1.0, 1 / _over_budget(project, daily))
        for probe, count in daily.items():
            requests = count * _DAYS * (share if probe in _PAID else 1)
            rows.append(PlanRow(project.name, probe, round(requests), round(requests * _tokens(project, probe))))
    return rows


def _daily(project: ProjectSettings, settings: Settings) -> dict[ProbeKind, float]:
    """Requests a day by probe, if nothing holds them back."""
    counts: dict[ProbeKind, float] = {}
    for check in _checks(project, settings):
        probe = check.target.probe
        counts[probe] = counts.get(probe, 0.0) + timedelta(days=1) / check.interval
    return counts


def _tokens(project: ProjectSettings, probe: ProbeKind) -> int:
    """Tokens of one request. A denied model is refused before it uses any."""
    return TOKENS_PER_INFERENCE if probe is ProbeKind.INFERENCE and project.inference == "minimal" else 0


def _over_budget(project: ProjectSettings, daily: dict[ProbeKind, float]) -> float:
    """How many times its budget a project's paid probes would use: above 1, some will be left out."""
    requests = sum(daily.get(probe, 0.0) for probe in _PAID)
    tokens = sum(daily.get(probe, 0.0) * _tokens(project, probe) for probe in _PAID)
    used = ((requests, project.budget.requests_per_day), (tokens, project.budget.tokens_per_day))
    return max(amount / allowed if allowed else math.inf for amount, allowed in used if amount) if requests else 1.0
