"""A month of checks every minute through the real write path and the real retention: what it takes on the disk.

Fifty targets stand for ten thousand: bytes are told per check. Two minutes of work; nothing is kept.
"""

import random
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import Engine

from monitor.config.settings import Retention
from monitor.domain.inventory import ApiKey, Check, Inventory, KeyKind, ProbeKind, Project, Target
from monitor.domain.observation import Observation, Verdict
from monitor.domain.taxonomy import FailureKind
from monitor.store import maintenance, tables
from monitor.store.engine import open_engine, reading
from monitor.store.migrate import migrate
from monitor.store.record import Writer
from monitor.store.tables import DAY, HOUR, MINUTE, QUARTER

PROJECTS = 10
MODELS = ("gpt-4o", "gpt-4o-mini", "gpt-4.1", "o4-mini", "gpt-5")
DAYS = 30
BEGAN = datetime(2026, 10, 1, tzinfo=UTC)
ILL = 0.005
"""The part of all checks that fail: of two thousand projects, ten are broken at any time."""
FLEET_OF = 2_000
_MEGA = 1_000_000


class Dice:
    """Answers as services give them: latencies of a lognormal kind, a schedule kept to some hundredths of a second, and outages
    of an hour that hit one project at a time.
    """

    def __init__(self) -> None:
        self._random = random.Random(4)
        self._usual = {model: self._random.uniform(4.2, 5.6) for model in MODELS}

    def is_ill(self) -> bool:
        """Whether an hour of a project is an outage."""
        return self._random.random() < ILL

    def answer(self, target: Target, due: datetime, *, ill: bool) -> Observation:
        """One answer that was due at this moment."""
        dice = self._random
        at = due + timedelta(milliseconds=dice.expovariate(1 / 20))
        inner = dice.lognormvariate(self._usual[target.model or ""], 0.35)
        facts = {"target": target, "at": at, "latency_ms": inner + 12 + dice.expovariate(1 / 6), "processing_ms": float(int(inner))}
        if not ill:
            return Observation(**facts, verdict=Verdict.OK, status=200, project_echo=target.project)
        return Observation(
            **facts,
            verdict=Verdict.FAILED,
            failure=FailureKind.AUTH_INVALID_KEY,
            status=401,
            code="invalid_api_key",
            message="Incorrect API key provided: …. You can find your API key at https://platform.openai.com/account/api-keys.",
            request_id=f"req_{dice.getrandbits(128):032x}",
        )


def watched(projects: int) -> Inventory:
    """Projects with one key, asked for five models every minute."""
    known, checks = [], []
    for number in range(projects):
        name = f"project-{number:04}"
        key = ApiKey("backend", f"env:KEY_{number}", KeyKind.SERVICE_ACCOUNT)
        known.append(Project(name=name, project_id=f"proj_{number}", models=MODELS, keys=(key,)))
        checks += [Check(Target(ProbeKind.MODEL_ACCESS, name, "backend", model), timedelta(minutes=1)) for model in MODELS]
    return Inventory(tuple(known), tuple(checks))


def live(url: str, days: int, projects: int = PROJECTS, policy: maintenance.RetentionPolicy | None = None) -> tuple[Engine, int]:
    """A store after so many days, and how many checks that were; every hour it is pruned, as the service does."""
    engine = open_engine(url)
    migrate(engine)
    writer, known, dice = Writer(engine), watched(projects), Dice()
    writer.sync_inventory(known, BEGAN)
    keep = policy or Retention()
    phases = [timedelta(milliseconds=60_000 * place // len(known.checks)) for place in range(len(known.checks))]
    count = 0
    for hour in range(24 * days):
        ill = {project.name for project in known.projects if dice.is_ill()}
        for minute in range(60):
            at = BEGAN + timedelta(hours=hour, minutes=minute)
            told = [
                dice.answer(check.target, at + phase, ill=check.target.project in ill)
                for check, phase in zip(known.checks, phases, strict=True)
            ]
            writer.record(told, at + timedelta(minutes=1))
            count += len(told)
        while not maintenance.prune(engine, at + timedelta(minutes=1), keep, slices=1000).finished:
            pass
    return engine, count


def sizes(engine: Engine) -> dict[str, int]:
    """Bytes of every table and index."""
    query = "SELECT name, sum(pgsize) FROM dbstat GROUP BY name"
    if engine.dialect.name != "sqlite":
        query = (
            "SELECT relname, pg_relation_size(c.oid) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace"
            " WHERE nspname = 'public' AND relkind IN ('r', 'i')"
        )
    with reading(engine) as connection:
        return {name: int(size) for name, size in connection.exec_driver_sql(query)}


def rollups(engine: Engine) -> float:
    """Megabytes that the buckets of two thousand projects take after a year: what a bucket of each width takes here, times how
    many there will be.
    """
    keep, room = Retention(), sizes(engine)
    kept = {MINUTE: keep.minutes, QUARTER: keep.quarters, HOUR: keep.hours, DAY: timedelta(days=365)}
    whole = 0.0
    with reading(engine) as connection:
        for grain, length in kept.items():
            for table in (tables.buckets[grain], tables.failures[grain]):
                c = table.c
                rows, first, last = connection.execute(
                    sa.select(sa.func.count(), sa.func.min(c.start), sa.func.max(c.start)).where(c.project_id > 0)
                ).one()
                if rows:
                    there = timedelta(milliseconds=last - first + grain)
                    whole += room[table.name] * (length / there) * (FLEET_OF / PROJECTS)
    return whole / _MEGA


def figures() -> Iterator[dict[str, object]]:
    """Bytes of a check over a month, indexes included, and of a year's rollups."""
    with tempfile.TemporaryDirectory() as folder:
        path, began = Path(folder) / "month.db", time.process_time()
        engine, count = live(f"sqlite:///{path}", DAYS)
        with engine.connect() as connection:
            connection.exec_driver_sql("ROLLBACK")
            connection.exec_driver_sql("PRAGMA wal_checkpoint(truncate)")
        about = {"checks": count, "failed": ILL, "days": DAYS, "projects": PROJECTS, "cpu_s": round(time.process_time() - began)}
        parts = {name: round(size / count, 2) for name, size in sorted(sizes(engine).items(), key=lambda each: -each[1])[:12]}
        yield {"figure": "bytes_per_check", "value": round(path.stat().st_size / count, 2), "goal": 4, **about, "of": parts}
        yield {"figure": "rollups_of_a_year_mb", "value": round(rollups(engine)), "goal": 1000, "projects": FLEET_OF}
        engine.dispose()
