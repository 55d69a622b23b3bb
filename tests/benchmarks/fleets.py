"""Stores of fleets with history, filled through the real write path."""

import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from monitor.config.settings import Retention
from monitor.domain.inventory import ApiKey, Check, Inventory, KeyKind, ProbeKind, Project, Target
from monitor.domain.observation import Observation, RateLimitSnapshot, Verdict
from monitor.domain.taxonomy import FailureKind
from monitor.store import maintenance
from monitor.store.engine import open_engine
from monitor.store.migrate import REVISIONS, migrate
from monitor.store.queries import Heartbeat
from monitor.store.record import Writer
from tests.conftest import ROOT

MODELS = ("gpt-4o", "gpt-4o-mini", "gpt-4.1", "o4-mini", "gpt-5")
LIMITS = (
    RateLimitSnapshot("requests", 10_000, 9_120, 0.36, 60.0),
    RateLimitSnapshot("tokens", 2_000_000, 1_240_000, 22.8, 60.0),
)
NOTE = "history: one check of each probe a project, daily before the last week, hourly in it, each 15 min in the last day; then all"
CACHE = ROOT / "data" / "bench"
"""Where large stores are kept between runs."""


def fleet(projects: int) -> Inventory:
    """Projects with one key, each asked for five models: 11 checks a project."""
    known, checks = [], []
    for number in range(projects):
        name = f"project-{number:04}"
        key = ApiKey("backend", f"env:KEY_{number}", KeyKind.SERVICE_ACCOUNT)
        owner, environment = f"team-{number % 40}", ("production", "staging")[number % 7 == 0]
        known.append(Project(name, f"proj_{number}", owner=owner, environment=environment, models=MODELS, keys=(key,)))
        checks.append(Check(Target(ProbeKind.AUTH, name, "backend"), timedelta(minutes=1)))
        checks += [Check(Target(ProbeKind.MODEL_ACCESS, name, "backend", model), timedelta(minutes=5)) for model in MODELS]
        checks += [Check(Target(ProbeKind.INFERENCE, name, "backend", model), timedelta(minutes=15)) for model in MODELS]
    return Inventory(tuple(known), tuple(checks))


def answers(checks: Sequence[Check], at: datetime, ill: int | None = None) -> list[Observation]:
    """One answer of every check within a minute after `at`. One project in twenty comes and goes; `ill` says whose turn it is."""
    turn = (at.hour // 3 + at.day) % 20 if ill is None else ill
    found = []
    for place, check in enumerate(checks):
        target = check.target
        said = {}
        if int((target.project or "0")[-4:]) % 20 == turn:
            if target.probe is ProbeKind.AUTH and turn % 2:
                said = {
                    "failure": FailureKind.AUTH_INVALID_KEY,
                    "status": 401,
                    "code": "invalid_api_key",
                    "message": "Incorrect key",
                }
            elif target.probe is ProbeKind.INFERENCE:
                said = {"failure": FailureKind.RATE_TOKENS, "status": 429, "message": "Rate limit reached on tokens per min"}
        good = {"verdict": Verdict.FAILED if said else Verdict.OK, "status": 200, "latency_ms": 80.0 + place * 7 % 900}
        if target.probe is ProbeKind.INFERENCE:
            good["limits"] = LIMITS
        found.append(Observation(target=target, at=at + timedelta(milliseconds=place * 2 % 60_000), **(good | said)))
    return found


def moments(now: datetime, since: datetime) -> Iterator[datetime]:
    """When something is asked: so that every bucket that is kept holds something."""
    at = since
    while at < now - timedelta(minutes=2):
        yield at
        left = now - at
        daily, hourly = timedelta(days=8), timedelta(days=1)
        at += timedelta(days=1) if left > daily else timedelta(hours=1) if left > hourly else timedelta(minutes=15)


def fill(url: str, now: datetime, projects: int, days: int) -> Writer:
    """A migrated store of that many projects and days, pruned, or one that was made before brought up to now; gives its writer."""
    known = fleet(projects)
    some = [check for check in known.checks if check.target.model in (None, MODELS[0])]
    engine = open_engine(url)
    migrate(engine)
    writer = Writer(engine)
    writer.sync_inventory(known, now - timedelta(days=days))
    newest = max((state.last_at for state in writer.states().values() if state.last_at), default=None)
    for at in moments(now, newest.replace(second=0, microsecond=0) if newest else now - timedelta(days=days)):
        writer.record(answers(some, at), at)
    for minutes in (2, 1):  # twice, so that health is as sure as it gets
        writer.record(answers(known.checks, now - timedelta(minutes=minutes), ill=3), now)
    while not maintenance.prune(engine, now, Retention(), slices=10_000).finished:
        pass
    beat(writer, now)
    return writer


def kept(now: datetime, projects: int, days: int) -> tuple[str, float]:
    """The URL of such a store, made once and gone on with ever after, and how many seconds that took. Thirteen months of two
    thousand projects take some six minutes the first time, and two gigabytes; a run within the next days takes seconds.
    """
    CACHE.mkdir(parents=True, exist_ok=True)
    path = CACHE / f"{REVISIONS[-1]}-{projects}x{days}.db"
    if path.exists() and time.time() - path.stat().st_mtime > 7 * 86_400:
        path.unlink()  # too much would be missing in the middle
    began = time.perf_counter()
    fill(f"sqlite:///{path}", now, projects, days)
    return f"sqlite:///{path}", time.perf_counter() - began


def beat(writer: Writer, now: datetime) -> None:
    """The poller lives."""
    writer.beat(Heartbeat(at=now, started_at=now, pid=1, host="bench", version="bench", checks=1, lag_p99_ms=3.0, in_flight=0))
