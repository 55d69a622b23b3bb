"""The sample organization and its story: what it has, what breaks when, and when it is mended.

The story is told relative to an anchor, the moment the sample was made: a month before it, two weeks after it. The same anchor
gives the same story, so an emulator that is started again goes on where it was.
"""

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from monitor.emulator.limits import Traffic
from monitor.emulator.organization_api import spent_this_month
from monitor.emulator.world import World

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
PAST = 30 * DAY
FUTURE = 14 * DAY

ORGANIZATION = "org-SAMPLEHarborBooks"
_RETIRED = "gpt-4-turbo-preview"

_MODELS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("gpt-4o", {"price": (2.5, 10.0), "latency": 0.62, "requests_per_minute": 10_000, "tokens_per_minute": 2_000_000}),
    ("gpt-4o-mini", {"price": (0.15, 0.6), "latency": 0.41, "requests_per_minute": 30_000, "tokens_per_minute": 10_000_000}),
    ("gpt-4.1", {"price": (2.0, 8.0), "latency": 0.70, "requests_per_minute": 10_000, "tokens_per_minute": 2_000_000}),
    ("gpt-4.1-mini", {"price": (0.4, 1.6), "latency": 0.45, "requests_per_minute": 30_000, "tokens_per_minute": 10_000_000}),
    ("gpt-5", {"price": (1.25, 10.0), "latency": 1.35, "requests_per_minute": 10_000, "tokens_per_minute": 4_000_000}),
    ("gpt-5-mini", {"price": (0.25, 2.0), "latency": 0.83, "requests_per_minute": 10_000, "tokens_per_minute": 10_000_000}),
    (
        "gpt-5-pro",
        {"price": (15.0, 120.0), "latency": 3.1, "family": "responses", "requests_per_minute": 1_000, "tokens_per_minute": 500_000},
    ),
    ("text-embedding-3-small", {"price": (0.02, 0.0), "latency": 0.16, "family": "embeddings", "tokens_per_minute": 10_000_000}),
    ("text-embedding-3-large", {"price": (0.13, 0.0), "latency": 0.21, "family": "embeddings", "tokens_per_minute": 10_000_000}),
    (_RETIRED, {"price": (10.0, 30.0), "latency": 0.80, "requests_per_minute": 5_000, "tokens_per_minute": 600_000}),
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
    _project("legacy", "team-platform", "production", "gpt-4o", _key("cron", "legacy", "sk-proj-"), services=("invoice-reader",)),
    _project("support-bot", "team-conversations", "production", "gpt-5 gpt-5-mini", _key("web", "support-bot"),
             _key("worker", "support-bot"), services=("chat-widget", "mail-triage")),
    _project("recommendations", "team-discovery", "production", f"gpt-4o-mini {_RETIRED}", services=("home-feed",)),
    _project("translations", "team-content", "production", "gpt-4.1 gpt-4.1-mini", services=("book-pages",)),
    _project("moderation", "team-trust", "production", "gpt-4o-mini", services=("review-filter",)),
    _project("pricing", "team-payments", "production", "gpt-5-mini", _key("backend", "pricing", "sk-proj-")),
    _project("mobile-app", "team-mobile", "production", "gpt-4o-mini",
             _key("app", "mobile-app", scopes=("model.request", "api.responses.write"))),
    _project("voice-notes", "team-mobile", "production", "gpt-4o"),
    _project("fraud-scoring", "team-trust", "production", "gpt-5", denied_models=("gpt-5-pro",)),
    _project("reporting", "team-data", "production", "gpt-4.1", services=("weekly-report",)),
    _project("editor-assist", "team-content", "production", "gpt-5 text-embedding-3-small"),
    _project("staging", "team-platform", "staging", "gpt-4o-mini", denied_models=("gpt-5-pro",)),
    _project("load-tests", "team-platform", "staging", "gpt-4o-mini", _key("backend", "load-tests", "sk-")),
    _project("data-science", "team-data", "development", "gpt-5 text-embedding-3-large",
             _key("notebooks", "data-science", "sk-proj-")),
    _project("intern-lab", "team-platform", "development", "gpt-4o-mini", _key("shared", "intern-lab", "sk-None-"), bound=False),
)  # fmt: skip


SAMPLE_ADMIN_KEY = SampleKey("administration", "sk-admin-SAMPLE-harbor-books-not-a-key-7341", ("api.management.read",))
"""A key for the sample's Administration API that may only read."""

_OTHER_KEYS = {
    "unused": _key("old-export", "reporting"),
    "unknown": _key("migration-script", "checkout", "sk-proj-"),
    "orphaned": _key("experiments", "data-science", "sk-proj-"),
}
_UNWATCHED = ("hackathon 2026", _key("demo", "hackathon", "sk-proj-"))
"""A project that is on the record, and that nobody told the monitor of."""
"""Keys that are on the record and that nobody configured: never used, used by nobody knows whom, of a person who left."""

_OWNERS = ("olivia.okafor", "ben.bauer")
_PEOPLE = {
    "team-payments": ("mia.moreau", "tariq.aziz"),
    "team-discovery": ("sven.larsen",),
    "team-data": ("dana.kowalska", "lee.park"),
    "team-platform": ("ines.castro",),
    "team-conversations": ("noor.haddad",),
    "team-content": ("ada.byrne",),
    "team-trust": ("kofi.mensah",),
    "team-mobile": ("yuki.tanaka",),
}
_LEFT = "sam.rivers"


def _email(name: str) -> str:
    return f"{name}@harbor-books.example"


def sample_world(anchor: float, clock: Callable[[], float] = time.time) -> World:
    """The sample organization at `anchor` (seconds since the epoch), with its whole story ahead and behind."""
    begin = anchor - PAST - 15 * DAY
    world = World(lambda: begin, seed=int(anchor) % 10_000)
    for name, facts in _MODELS:
        world.add_model(name, **facts)
    _record(world, anchor)
    # The platform refuses what the projects want refused, but for one: staging forgot the list.
    for name in ("checkout", "fraud-scoring"):
        world.deny_model(name, "gpt-5-pro")
    ids = {project.name: project.id for project in SAMPLE_PROJECTS}
    _traffic(world, anchor, ids)
    _money(world, anchor, ids)
    world.clock = clock
    world.trouble("server.error", share=0.0015)
    world.cut(share=0.0005)
    for moment, lasting, failure, arguments in _story(ids):
        _tell(world, anchor, moment, lasting, failure, arguments)
    for moment, verb, arguments in _errands(ids, anchor):
        world.at(anchor + moment, verb, **arguments)
    return world


def _record(world: World, anchor: float) -> None:
    """People, projects, keys and certificates, older than the story."""
    record, ages = world.administration, random.Random(41)
    for name in (*_OWNERS, *(name for names in _PEOPLE.values() for name in names), _LEFT):
        title = name.replace(".", " ").title()
        record.add_user(
            ORGANIZATION, _email(name), title, "owner" if name in _OWNERS else "reader", anchor - ages.uniform(500, 900) * DAY
        )
    for project in SAMPLE_PROJECTS:
        born = anchor - ages.uniform(120, 480) * DAY
        world.add_project(project.id, ORGANIZATION, project.name, slug="harbor-books-sample", created_at=born)
        for name in _PEOPLE[project.owner]:
            record.add_member(project.id, _email(name), "owner" if name == _PEOPLE[project.owner][0] else "member", born)
        for key in project.keys:
            person = not key.secret.startswith("sk-svcacct-")
            world.add_key(
                key.secret,
                project.id,
                list(key.scopes) if key.scopes is not None else None,
                name=key.label,
                owner=_email(_PEOPLE[project.owner][0]) if person else f"{project.name}-{key.label}",
                created_at=born + ages.uniform(1, 60) * DAY,
                expires_at=anchor + 9 * DAY if project.name == "editor-assist" else None,
            )
    ids = {project.name: project.id for project in SAMPLE_PROJECTS}
    record.add_member(ids["data-science"], _email(_LEFT), "member", anchor - 300 * DAY)
    for why, name, owner, used in (
        ("unused", "reporting", "reporting-old-export", None),
        ("unknown", "checkout", _email("tariq.aziz"), 2 * DAY),
        ("orphaned", "data-science", _email(_LEFT), 13 * DAY),
    ):
        key = _OTHER_KEYS[why]
        world.add_key(key.secret, ids[name], name=key.label, owner=owner, created_at=anchor - 210 * DAY)
        record.keys[key.secret].last_used_at = None if used is None else int(anchor - used)
    name, key = _UNWATCHED
    begun = anchor - 37 * DAY
    world.add_project("proj_SAMPLEhackathon", ORGANIZATION, name, slug="harbor-books-sample", created_at=begun)
    world.add_key(key.secret, "proj_SAMPLEhackathon", name=key.label, owner=_email("yuki.tanaka"), created_at=begun)
    admin = SAMPLE_ADMIN_KEY
    scopes, begun, ends = list(admin.scopes or ()), anchor - 60 * DAY, anchor + 26 * DAY
    record.add_admin_key(ORGANIZATION, admin.secret, "monitor, read only", scopes, created_at=begun, expires_at=ends)
    other = "sk-admin-SAMPLE-terraform-not-a-key-0912"
    record.add_admin_key(ORGANIZATION, other, "terraform", created_at=anchor - 350 * DAY, expires_at=anchor + 120 * DAY)
    for name, days in (("harbor-mtls-2025", 41), ("harbor-mtls-2026", 320)):
        record.add_certificate(ORGANIZATION, name, anchor - 320 * DAY, anchor + days * DAY, created_at=anchor - 320 * DAY)
    for name in ("checkout", "fraud-scoring"):
        record.activate_certificate("harbor-mtls-2025", ids[name])
        record.present_certificate(ids[name], "harbor-mtls-2025")
    record.present_certificate(ORGANIZATION, "harbor-mtls-2026")
    record.activate_certificate("harbor-mtls-2026", ORGANIZATION)


def _traffic(world: World, anchor: float, ids: dict[str, str]) -> None:
    """What the applications send; an organization's traffic is the sum of its projects'."""
    users = [model for project in SAMPLE_PROJECTS for model in project.models]
    sums: dict[str, float] = {}
    for project in SAMPLE_PROJECTS:
        for model in project.models:
            share = random.Random(project.name + model).uniform(0.05, 0.3) / users.count(model)
            share *= 1.0 if project.environment == "production" else 0.05
            sums[model] = sums.get(model, 0.0) + share
            _send(world, project.id, model, share)
    for model, share in sums.items():
        _send(world, ORGANIZATION, model, share)
    world.throttle(ids["batch"], "gpt-4.1-mini", requests=500, tokens=200_000)
    world.traffic(ids["batch"], "gpt-4.1-mini", requests=_noisy(240, 0.2, 3), tokens=_batches(anchor))
    world.throttle(ids["load-tests"], "gpt-4o-mini", requests=300)
    world.traffic(ids["load-tests"], "gpt-4o-mini", requests=_evenings(90, 330))


def _send(world: World, whose: str, model: str, share: float) -> None:
    """Traffic that uses about `share` of what the platform gives for a model. With the same noise for all, shares add up."""
    given = world.models[model]
    requests = _noisy(given.requests_per_minute * share, 0.3, 11)
    world.traffic(whose, model, requests, _noisy(given.tokens_per_minute * share, 0.3, 13))


def _money(world: World, anchor: float, ids: dict[str, str]) -> None:
    """Spend limits: one nearly used, one reached in the story, two with room; and who is written to."""
    clock, record = world.clock, world.administration

    def spent(name: str, moment: float) -> float:
        world.clock = lambda: moment
        try:
            return spent_this_month(world, ids[name])
        finally:
            world.clock = clock

    near = max(spent("translations", anchor) / 0.91, 1.0)
    record.spend_limit(ids["translations"], int(near * 100))
    # Spending goes on: the limit is met as soon as the month's costs pass it.
    month = time.gmtime(anchor).tm_mon
    moment = anchor
    while (moment := moment + 6 * HOUR) < anchor + FUTURE and time.gmtime(moment).tm_mon == month:
        if spent("translations", moment) >= near:
            world.at(moment, "reach_spend_limit", whose=ids["translations"])
            break
    record.spend_limit(ids["reporting"], max(int(spent("reporting", anchor - 26 * HOUR) * 100), 500))
    record.spend_limit(ids["checkout"], 5_000_000)
    record.spend_limit(ORGANIZATION, 90_000_000)
    record.spend_alert(ids["checkout"], 4_000_000, [_email("mia.moreau")])
    record.spend_alert(ORGANIZATION, 70_000_000, [_email(name) for name in _OWNERS])


def _day(moment: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(moment))


def _errands(ids: dict[str, str], anchor: float) -> list[tuple[float, str, dict[str, Any]]]:
    """What people did besides, before incidents or to mend them: (seconds after the anchor, verb, arguments)."""
    region = {"id": ids["translations"], "changes_requested": {"title": "translations"}}
    overage = {"whose": ORGANIZATION, "type": "tenant.billing.overage_limit.updated", "by": _email("olivia.okafor")}
    return [
        (-26.2 * DAY, "add_member", {"project": ids["pricing"], "user": _email("tariq.aziz"), "by": _email("mia.moreau")}),
        (-24.2 * DAY, "throttle", _limit(ids["voice-notes"], 3_000)),
        (-24.0 * DAY, "throttle", _limit(ids["voice-notes"], None)),
        (-21.5 * DAY, "add_service_account", {"project": ids["reporting"], "name": "quarterly", "by": _email("dana.kowalska")}),
        (-19.2 * DAY - 4 * MINUTE, "audit", overage | {"detail": {"previous": {"limit": 20_000}, "limit": 0}}),
        (-12.2 * DAY, "remove_user", {"user": _email(_LEFT), "by": _email("ben.bauer")}),
        (-9.45 * DAY, "audit", {"whose": ids["translations"], "type": "project.updated", "detail": region}),
        (-9.45 * DAY, "reside", {"project": ids["translations"], "residency": "EU_STORAGE_PROCESSING"}),
        (-9.3 * DAY, "reside", {"project": ids["translations"]}),
        (-20.4 * DAY, "announce_shutdown", {"model": "gpt-4o", "date": _day(anchor + 152 * DAY)}),
        (-8.6 * DAY, "announce_shutdown", {"model": "text-embedding-3-small", "date": _day(anchor + 23 * DAY)}),
        (-3.4 * DAY, "change_role", {"user": _email("kofi.mensah"), "role": "owner", "by": _email("olivia.okafor")}),
    ]


def _limit(project: str, requests: int | None) -> dict[str, Any]:
    return {"whose": project, "model": "gpt-4o", "requests": requests, "by": _email("ines.castro")}


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
        (-5.2 * HOUR, None, "revoke", {"secret": secrets["legacy"], "by": _email("ben.bauer")}),
        (-2.9 * DAY, None, "deny_model", {"project": ids["search"], "model": "gpt-4.1"}),
        (-26 * HOUR, None, "reach_spend_limit", {"whose": ids["reporting"]}),
        (-6.4 * DAY, None, "retire_model", {"model": _RETIRED}),
        # What was, and was mended.
        (-27.5 * DAY, 70 * MINUTE, "auth.wrong_project", {"project": ids["pricing"]}),
        (-24.1 * DAY, 1.2 * HOUR, "rate.requests", {"project": ids["voice-notes"], "share": 0.5}),
        (-19.2 * DAY, 80 * MINUTE, "quota.credits", {"organization": ORGANIZATION}),
        (-16.3 * DAY, 1.5 * HOUR, "auth.missing_scope", {"share": 0.35, "scopes": ["model.request"]}),
        (-14.6 * DAY, 2 * HOUR, "access.organization_unverified", {"project": ids["editor-assist"], "model": "gpt-5"}),
        (-11.7 * DAY, 55 * MINUTE, "server.overloaded", {"share": 0.75}),
        (-9.4 * DAY, 1.6 * HOUR, "auth.wrong_region_host", {"project": ids["translations"], "host": "eu.api.openai.com"}),
        (-8.1 * DAY, 40 * MINUTE, "revoke", {"secret": secrets["moderation"], "by": _email("kofi.mensah")}),
        (-5.3 * DAY, 2.5 * HOUR, "rate.tokens", {"project": ids["data-science"], "share": 0.6}),
        (-4.2 * DAY, 14 * MINUTE, "slow_down", {"seconds": 25.0}),
        (
            -1.9 * DAY,
            90 * MINUTE,
            "ip_allowlist",
            {"whose": ids["fraud-scoring"], "active": True, "addresses": ["198.51.100.0/24"], "by": _email("kofi.mensah")},
        ),
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


_UNDONE: dict[str, tuple[str, dict[str, Any]]] = {
    "revoke": ("restore", {}),
    "deny_model": ("allow_model", {}),
    "retire_model": ("revive_model", {}),
    "reach_spend_limit": ("relieve_spend_limit", {}),
    "ip_allowlist": ("ip_allowlist", {"active": False}),
}


def _tell(world: World, anchor: float, moment: float, lasting: float | None, what: str, arguments: dict[str, Any]) -> None:
    if what == "slow_down":
        world.at(anchor + moment, what, **arguments, lasting=lasting)
    elif what in _UNDONE:
        world.at(anchor + moment, what, **arguments)
        if lasting is not None:
            verb, changed = _UNDONE[what]
            world.at(anchor + moment + lasting, verb, **{**arguments, **changed})
    else:
        world.at(anchor + moment, "trouble", failure=what, seconds=lasting, **arguments)


# Traffic of others, units a minute -----------------------------------------------------------------------------------------------


def _noisy(base: float, spread: float, salt: int) -> Traffic:
    """About `base`, more on working days, wandering with every minute."""
    return lambda moment: base * _busy(int(moment // 60), spread, salt)


@lru_cache(maxsize=150_000)  # a month of minutes for each of the few noises that all projects share
def _busy(minute: int, spread: float, salt: int) -> float:
    """How a minute compares with the average."""
    moment = minute * 60.0
    hour = moment / HOUR % 24
    day = 1.0 + 0.5 * math.cos((hour - 15) / 24 * 2 * math.pi)
    return day * (1 + spread * _noise(moment, salt))


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
