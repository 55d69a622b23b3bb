"""The sample organization and its story: what it has, what breaks when, and when it is mended.

The story is told relative to an anchor, the moment the sample was made: a month before it, two weeks after it. The same anchor
gives the same story, so an emulator that is started again goes on where it was.
"""

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from monitor.emulator.limits import Traffic
from monitor.emulator.world import World

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
PAST = 30 * DAY
FUTURE = 14 * DAY

ORGANIZATION = "org-SAMPLEHarborBooks"
_RETIRED = "gpt-4-turbo-preview"

_MODELS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("gpt-4o", {"latency": 0.62, "requests_per_minute": 10_000, "tokens_per_minute": 2_000_000}),
    ("gpt-4o-mini", {"latency": 0.41, "requests_per_minute": 30_000, "tokens_per_minute": 10_000_000}),
    ("gpt-4.1", {"latency": 0.70, "requests_per_minute": 10_000, "tokens_per_minute": 2_000_000}),
    ("gpt-4.1-mini", {"latency": 0.45, "requests_per_minute": 30_000, "tokens_per_minute": 10_000_000}),
    ("gpt-5", {"latency": 1.35, "requests_per_minute": 10_000, "tokens_per_minute": 4_000_000}),
    ("gpt-5-mini", {"latency": 0.83, "requests_per_minute": 10_000, "tokens_per_minute": 10_000_000}),
    ("gpt-5-pro", {"latency": 3.1, "family": "responses", "requests_per_minute": 1_000, "tokens_per_minute": 500_000}),
    ("text-embedding-3-small", {"latency": 0.16, "family": "embeddings", "tokens_per_minute": 10_000_000}),
    ("text-embedding-3-large", {"latency": 0.21, "family": "embeddings", "tokens_per_minute": 10_000_000}),
    (_RETIRED, {"latency": 0.80, "requests_per_minute": 5_000, "tokens_per_minute": 600_000}),
)


@dataclass(frozen=True)
class SampleKey:
    """A key of the sample: a label and an obviously fake secret."""

    label: str
    secret: str
    scopes: tuple[str, ...] | None = None


@dataclass(frozen=True)
class SampleProject:
    """A project of the sample, as its people would configure it."""

    name: str
    owner: str
    environment: str
    models: tuple[str, ...]
    keys: tuple[SampleKey, ...]
    services: tuple[str, ...] = ()
    denied_models: tuple[str, ...] = ()
    bound: bool = True
    """Whether its people configured the project's id."""

    @property
    def id(self) -> str:
        """The project's id on the platform."""
        return f"proj_SAMPLE{self.name.replace('-', '')}"


def _key(label: str, name: str, prefix: str = "sk-svcacct-", scopes: tuple[str, ...] | None = None) -> SampleKey:
    return SampleKey(label, f"{prefix}SAMPLE-{name}-{label}-not-a-key-{random.Random(name + label).randrange(1000, 9999)}", scopes)


def _project(name: str, owner: str, environment: str, models: str, *keys: SampleKey, **more: Any) -> SampleProject:
    return SampleProject(name, owner, environment, tuple(models.split()), keys or (_key("backend", name),), **more)


SAMPLE_PROJECTS: tuple[SampleProject, ...] = (
    _project("checkout", "team-payments", "production", "gpt-4o gpt-4o-mini", services=("checkout-api",),
             denied_models=("gpt-5-pro",)),
    _project("search", "team-discovery", "production", "gpt-4.1 text-embedding-3-large", services=("search-api", "indexer")),
    _project("batch", "team-data", "production", "gpt-4.1-mini", _key("worker", "batch"), services=("nightly-enrichment",)),
    _project("legacy", "team-platform", "production", "gpt-4o", _key("cron", "legacy", "sk-"), services=("invoice-reader",)),
    _project("support-bot", "team-conversations", "production", "gpt-5 gpt-5-mini", _key("web", "support-bot"),
             _key("worker", "support-bot"), services=("chat-widget", "mail-triage")),
    _project("recommendations", "team-discovery", "production", f"gpt-4o-mini {_RETIRED}", services=("home-feed",)),
    _project("translations", "team-content", "production", "gpt-4.1 gpt-4.1-mini", services=("book-pages",)),
    _project("moderation", "team-trust", "production", "gpt-4o-mini", services=("review-filter",)),
    _project("pricing", "team-payments", "production", "gpt-5-mini"),
    _project("mobile-app", "team-mobile", "production", "gpt-4o-mini",
             _key("app", "mobile-app", scopes=("model.request", "api.responses.write"))),
    _project("voice-notes", "team-mobile", "production", "gpt-4o"),
    _project("fraud-scoring", "team-trust", "production", "gpt-5", denied_models=("gpt-5-pro",)),
    _project("reporting", "team-data", "production", "gpt-4.1", services=("weekly-report",)),
    _project("editor-assist", "team-content", "production", "gpt-5 text-embedding-3-small"),
    _project("staging", "team-platform", "staging", "gpt-4o-mini", denied_models=("gpt-5-pro",)),
    _project("load-tests", "team-platform", "staging", "gpt-4o-mini"),
    _project("data-science", "team-data", "development", "gpt-5 text-embedding-3-large",
             _key("notebooks", "data-science", "sk-proj-")),
    _project("intern-lab", "team-platform", "development", "gpt-4o-mini", _key("shared", "intern-lab", "sk-None-"), bound=False),
)  # fmt: skip


def sample_world(anchor: float, clock: Callable[[], float] = time.time) -> World:
    """The sample organization at `anchor` (seconds since the epoch), with its whole story ahead and behind."""
    world = World(clock, seed=int(anchor) % 10_000)
    for name, facts in _MODELS:
        world.add_model(name, **facts)
    for project in SAMPLE_PROJECTS:
        world.add_project(project.id, ORGANIZATION, project.name, slug="harbor-books-sample")
        for key in project.keys:
            world.add_key(key.secret, project.id, list(key.scopes) if key.scopes is not None else None)
    # The platform refuses what the projects want refused, but for one: staging forgot the list.
    for name in ("checkout", "fraud-scoring"):
        world.deny_model(name, "gpt-5-pro")
    ids = {project.name: project.id for project in SAMPLE_PROJECTS}
    world.throttle(ids["batch"], "gpt-4.1-mini", requests=500, tokens=200_000)
    world.traffic(ids["batch"], "gpt-4.1-mini", requests=_noisy(240, 0.2, 3), tokens=_batches(anchor))
    world.throttle(ids["load-tests"], "gpt-4o-mini", requests=300)
    world.traffic(ids["load-tests"], "gpt-4o-mini", requests=_evenings(90, 330))
    for project in SAMPLE_PROJECTS:
        for model in project.models:
            given = world.models[model]
            share = random.Random(project.name + model).uniform(0.05, 0.3)
            requests = _noisy(given.requests_per_minute * share, 0.3, 11)
            world.traffic(ORGANIZATION, model, requests, _noisy(given.tokens_per_minute * share, 0.3, 13))
    world.trouble("server.error", share=0.0015)
    world.cut(share=0.0005)
    for moment, lasting, failure, arguments in _story(ids):
        _tell(world, anchor, moment, lasting, failure, arguments)
    return world


def eventful(anchor: float) -> list[tuple[float, float]]:
    """When something happens, as stretches in seconds since the epoch: where a simulation must look closely."""
    ids = {project.name: project.id for project in SAMPLE_PROJECTS}
    return sorted((anchor + moment, anchor + moment + (lasting or 20 * MINUTE)) for moment, lasting, _, _ in _story(ids))


_Event = tuple[float, float | None, str, dict[str, Any]]
"""When it begins (seconds after the anchor), how long it lasts (None: nobody mended it), what, and of whom."""


def _story(ids: dict[str, str]) -> list[_Event]:
    secrets = {project.name: project.keys[0].secret for project in SAMPLE_PROJECTS}
    told: list[_Event] = [
        # What is broken now.
        (-5.2 * HOUR, None, "revoke", {"secret": secrets["legacy"]}),
        (-2.9 * DAY, None, "deny_model", {"project": ids["search"], "model": "gpt-4.1"}),
        (-26 * HOUR, None, "quota.project_spend", {"project": ids["reporting"]}),
        (-6.4 * DAY, None, "retire_model", {"model": _RETIRED}),
        # What was, and was mended.
        (-27.5 * DAY, 70 * MINUTE, "auth.wrong_project", {"project": ids["pricing"]}),
        (-24.1 * DAY, 1.2 * HOUR, "rate.requests", {"project": ids["voice-notes"], "share": 0.5}),
        (-19.2 * DAY, 80 * MINUTE, "quota.credits", {"organization": ORGANIZATION}),
        (-16.3 * DAY, 1.5 * HOUR, "auth.missing_scope", {"share": 0.35, "scopes": ["model.request"]}),
        (-14.6 * DAY, 2 * HOUR, "access.organization_unverified", {"project": ids["editor-assist"], "model": "gpt-5"}),
        (-11.7 * DAY, 55 * MINUTE, "server.overloaded", {"share": 0.75}),
        (-9.4 * DAY, 1.6 * HOUR, "auth.wrong_region_host", {"project": ids["translations"], "host": "eu.api.openai.com"}),
        (-8.1 * DAY, 40 * MINUTE, "revoke", {"secret": secrets["moderation"]}),
        (-5.3 * DAY, 2.5 * HOUR, "rate.tokens", {"project": ids["data-science"], "share": 0.6}),
        (-4.2 * DAY, 14 * MINUTE, "slow_down", {"seconds": 25.0}),
        (-1.9 * DAY, 90 * MINUTE, "auth.ip_not_allowed", {"project": ids["fraud-scoring"]}),
        (-15.5 * HOUR, 35 * MINUTE, "server.error", {"share": 0.5}),
        (-9.1 * HOUR, 25 * MINUTE, "network.not_openai", {"project": ids["pricing"]}),
    ]
    # What will be, so that somebody who watches sees something happen.
    later = random.Random(20)
    names = ("checkout", "voice-notes", "pricing", "editor-assist", "translations", "support-bot", "moderation", "data-science")
    kinds = ("rate.requests", "server.overloaded", "auth.missing_scope", "slow_down", "rate.tokens", "server.error")
    at = 8 * MINUTE
    while at < FUTURE:
        kind = later.choice(kinds)
        arguments: dict[str, Any] = {"project": ids[later.choice(names)]}
        arguments |= {"seconds": 25.0} if kind == "slow_down" else {"share": later.uniform(0.6, 1.0)}
        told.append((at, later.uniform(6, 25) * MINUTE, kind, arguments))
        at += later.uniform(0.7, 4) * HOUR
    return told


_UNDONE = {"revoke": "restore", "deny_model": "allow_model", "retire_model": "revive_model"}


def _tell(world: World, anchor: float, moment: float, lasting: float | None, what: str, arguments: dict[str, Any]) -> None:
    if what == "slow_down":
        world.at(anchor + moment, what, **arguments, lasting=lasting)
    elif what in _UNDONE:
        world.at(anchor + moment, what, **arguments)
        if lasting is not None:
            world.at(anchor + moment + lasting, _UNDONE[what], **arguments)
    else:
        world.at(anchor + moment, "trouble", failure=what, seconds=lasting, **arguments)


# Traffic of others, units a minute -----------------------------------------------------------------------------------------------


def _noisy(base: float, spread: float, salt: int) -> Traffic:
    """About `base`, more on working days, wandering with every minute."""

    def at(moment: float) -> float:
        hour = moment / HOUR % 24
        day = 1.0 + 0.5 * math.cos((hour - 15) / 24 * 2 * math.pi)
        return base * day * (1 + spread * _noise(moment, salt))

    return at


def _batches(anchor: float) -> Traffic:
    """Enrichment jobs that live at the limit of 200,000 tokens a minute: every third job overshoots, and one does at the anchor."""

    def at(moment: float) -> float:
        job = math.floor((moment - anchor) / (4 * HOUR) + 0.5)
        base = 214_000 if job % 3 == 0 else 165_000
        return base * (1 + 0.12 * _noise(moment, 5))

    return at


def _evenings(base: float, peak: float) -> Traffic:
    """Load tests: quiet, but in the evening above a limit of 300 requests a minute."""

    def at(moment: float) -> float:
        hour = moment / HOUR % 24
        return (peak if 19 <= hour < 20.5 else base) * (1 + 0.1 * _noise(moment, 9))

    return at


def _noise(moment: float, salt: int) -> float:
    """From -1 to 1, the same for a minute, without memory."""
    return math.sin(math.floor(moment / 60) * 12.9898 + salt * 78.233) * 43758.5453 % 2 - 1
