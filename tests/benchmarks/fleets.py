"""Stores of fleets with history.

Yesterday and today are recorded by the real write path and pruned by the real retention. The days before repeat what these left of
yesterday, row by row with the time moved, each table for as long as retention keeps it: a fleet that has always been watched.
"""

import shutil
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import Engine

from monitor.config.settings import Retention
from monitor.domain.inventory import ApiKey, Check, Inventory, KeyKind, ProbeKind, Project, Target
from monitor.domain.observation import Observation, RateLimitSnapshot, Verdict
from monitor.domain.taxonomy import FailureKind
from monitor.domain.timeline import floor, to_ms
from monitor.store import maintenance, queries, statistics, tables
from monitor.store.engine import open_engine, reading, writing
from monitor.store.migrate import REVISIONS, migrate
from monitor.store.queries import Heartbeat
from monitor.store.record import Writer
from monitor.store.tables import DAY, HOUR, MINUTE, QUARTER
from tests.conftest import ROOT

MODELS = ("gpt-4o", "gpt-4o-mini", "gpt-4.1", "o4-mini", "gpt-5")
LIMITS = (
    RateLimitSnapshot("requests", 10_000, 9_120, 0.36, 60.0),
    RateLimitSnapshot("tokens", 2_000_000, 1_240_000, 22.8, 60.0),
)
NOTE = "recorded: three checks a project, hourly, each 15 min in the last day; then all. Days before repeat what is left of one"
_ONE_IN = 100
"""Of two thousand projects, twenty are broken at any time."""
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
    """One answer of every check within a minute after `at`. One project in a hundred comes and goes; `ill` says
    whose turn it is."""
    turn = (at.hour // 3 + at.day) % _ONE_IN if ill is None else ill
    found = []
    for place, check in enumerate(checks):
        target = check.target
        said = {}
        if int((target.project or "0")[-4:]) % _ONE_IN == turn:
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
    """When something is asked."""
    at = since
    while at < now - timedelta(minutes=2):
        yield at
        at += timedelta(hours=1) if now - at > timedelta(days=1, hours=12) else timedelta(minutes=15)


def fill(url: str, now: datetime, projects: int, days: int) -> Writer:
    """A migrated store of that many projects and days, of none with the newest answers alone; one that is there already is brought
    up to now. Gives its writer.
    """
    known = fleet(projects)
    some = [check for check in known.checks if check.target.model in (None, MODELS[0])]
    engine = open_engine(url)
    migrate(engine)
    writer = Writer(engine)
    writer.sync_inventory(known, now - timedelta(days=days))
    yesterday = floor(now, timedelta(days=1)) - timedelta(days=1)
    before = queries.heartbeat(engine)
    for at in moments(now, max(yesterday, before.at) if before else yesterday) if days else ():
        writer.record(answers(some, at), at)
    for minutes in (2, 1):  # twice, so that health is as sure as it gets
        writer.record(answers(known.checks, now - timedelta(minutes=minutes), ill=3), now)
    if before is None:
        while not maintenance.prune(engine, now, Retention(), slices=10_000).finished:
            pass
        repeat(engine, now, 1, days)
    beat(writer, now)
    return writer


def repeat(engine: Engine, now: datetime, first: int, last: int) -> None:
    """Give the days that began so many before yesterday (`last` not included) what is left of yesterday."""
    yesterday, keep = to_ms(now) // DAY * DAY - DAY, Retention()
    kept = {MINUTE: keep.minutes, QUARTER: keep.quarters, HOUR: keep.hours, DAY: timedelta(days=last)}
    some = [
        *((table, "start", kept[grain]) for grain, table in (*tables.buckets.items(), *tables.failures.items())),
        (tables.packs, "start", keep.observations),
        (tables.observations, "at", keep.failures),
        (tables.limit_buckets, "start", keep.hours),
        (tables.probe_use, "day", timedelta(days=last)),
        (tables.transitions, "at", timedelta(days=last)),
    ]
    for table, column, length in some:
        time_ = table.c[column]
        days = sa.select(sa.literal(min(last, length.days) - 1).label("back")).cte("days", recursive=True)
        days = days.union_all(sa.select(days.c.back - 1).where(days.c.back > first))
        copied = [column.name for column in table.columns if column.name != "id"]
        moved = [time_ - days.c.back * DAY if name == column else table.c[name] for name in copied]
        query = (
            sa.select(*moved)
            .join_from(table, days, sa.true())
            .where(time_ >= yesterday, time_ < yesterday + DAY, days.c.back >= first)
        )
        if table is tables.observations:
            query = query.where(tables.NOTABLE)
        if table is tables.limit_buckets:  # by the hour, once a week is over
            query = query.where(sa.or_(days.c.back < keep.quarters.days, time_ % HOUR == 0))
        # As the tables lie: those that begin with the time day by day, the others one series after the other.
        order = [-days.c.back, *table.primary_key] if time_ is next(iter(table.primary_key)) else [*table.primary_key, -days.c.back]
        with writing(engine) as connection:
            connection.execute(sa.insert(table).from_select(copied, query.order_by(*order)))
    statistics.refresh(engine, now + timedelta(days=1))  # as the hourly maintenance does


def kept(now: datetime, projects: int, days: int, before: tuple[int, Path] | None = None) -> tuple[Path, float]:
    """Where such a store is, new or made within the last hour, and how many seconds it took. `before` is one of fewer days to
    make it from.
    """
    CACHE.mkdir(parents=True, exist_ok=True)
    path = CACHE / f"{REVISIONS[-1]}-{projects}x{days}.db"
    if path.exists() and time.time() - path.stat().st_mtime < 3_600:
        return path, 0.0
    for old in CACHE.glob(f"*-{projects}x{days}.db*"):
        old.unlink()
    began = time.perf_counter()
    if before is None:
        fill(f"sqlite:///{path}", now, projects, days)
    else:
        shutil.copyfile(before[1], path)
        repeat(open_engine(f"sqlite:///{path}"), now, before[0], days)
    with open_engine(f"sqlite:///{path}").connect() as connection:
        connection.exec_driver_sql("ROLLBACK")
        connection.exec_driver_sql("PRAGMA wal_checkpoint(truncate)")
    return path, time.perf_counter() - began


def checks(engine: Engine) -> int:
    """How many answers a store counts."""
    c = tables.buckets[DAY].c
    with reading(engine) as connection:
        query = sa.select(sa.func.sum(c.ok + c.failed + c.inconclusive)).where(c.project_id == tables.FLEET)
        return int(connection.execute(query).scalar() or 0)


def beat(writer: Writer, now: datetime) -> None:
    """The poller lives."""
    writer.beat(Heartbeat(at=now, started_at=now, pid=1, host="bench", version="bench", checks=1, lag_p99_ms=3.0, in_flight=0))
