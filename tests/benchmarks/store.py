"""Recording and reading with 2,000 projects of five models each: the largest fleet we promise to serve."""

import gc
import sqlite3
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine

from monitor.config.settings import Retention
from monitor.domain.inventory import ApiKey, Check, Inventory, KeyKind, ProbeKind, Project, Target
from monitor.domain.observation import Observation, Verdict
from monitor.domain.taxonomy import FailureKind
from monitor.domain.timeline import Window
from monitor.store import maintenance, queries
from monitor.store.engine import open_engine
from monitor.store.migrate import migrate
from monitor.store.record import Writer

PROJECTS = 2_000
MODELS = ("gpt-4o", "gpt-4o-mini", "gpt-4.1", "o4-mini", "gpt-5")
HOURS = 24
BATCH = 500
"""Observations in one commit: what 10,000 checks a minute give in three seconds."""
ROUNDS = 7
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def fleet() -> Inventory:
    """2,000 projects with one key, each asked for five models."""
    projects, checks = [], []
    for number in range(PROJECTS):
        name = f"project-{number:04}"
        key = ApiKey("backend", f"env:KEY_{number}", KeyKind.SERVICE_ACCOUNT)
        projects.append(Project(name=name, project_id=f"proj_{number}", owner=f"team-{number % 40}", models=MODELS, keys=(key,)))
        checks += [Check(Target(ProbeKind.MODEL_ACCESS, name, "backend", model), timedelta(minutes=1)) for model in MODELS]
    return Inventory(tuple(projects), tuple(checks))


def minute(known: Inventory, at: datetime) -> list[Observation]:
    """One answer of every check, spread over the minute; one in twenty is a failure."""
    found = []
    for place, check in enumerate(known.checks):
        ill = place % 20 == at.minute % 20
        found.append(
            Observation(
                target=check.target,
                at=at + timedelta(milliseconds=6 * place),
                verdict=Verdict.FAILED if ill else Verdict.OK,
                failure=FailureKind.RATE_TOKENS if ill else None,
                status=429 if ill else 200,
                message="Rate limit reached for … on tokens per min" if ill else None,
                request_id=f"req_{at:%H%M}{place:06}",
                latency_ms=80.0 + place * 7 % 900,
            )
        )
    return found


def batches_of(told: list[Observation]) -> Iterator[list[Observation]]:
    """What is committed together."""
    for first in range(0, len(told), BATCH):
        yield told[first : first + BATCH]


def spent(work: Callable[[], Any]) -> tuple[float, float]:
    """Seconds of clock and of processor that `work` takes."""
    clock, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - clock, time.process_time() - processor


Sent = list[tuple[str, list[tuple[Any, ...]]]]
"""Statements with the rows that were sent with each."""


@contextmanager
def overheard(engine: Engine) -> Iterator[Sent]:
    """What is written while the block runs: whoever reads it empties it."""
    sent: Sent = []

    def note(_connection: object, _cursor: object, statement: str, rows: Any, _context: object, many: bool) -> None:
        if many:
            sent.append((statement, rows))

    sa.event.listen(engine, "before_cursor_execute", note)
    yield sent
    sa.event.remove(engine, "before_cursor_execute", note)


def plainly(connection: sqlite3.Connection, sent: Sent) -> None:
    """Write the same rows, in one commit as they were, by `sqlite3` alone."""
    connection.execute("BEGIN IMMEDIATE")
    for statement, rows in sent:
        connection.executemany(statement, rows)
    connection.execute("COMMIT")


def copied(engine: Engine, to: Path) -> sqlite3.Connection:
    """A copy of the store as it is now, with the pragmas that make SQLite fast here."""
    maintenance.backup(engine, to)
    connection = sqlite3.connect(to, isolation_level=None)
    for pragma in ("journal_mode=wal", "synchronous=normal", "cache_size=-32768", "wal_autocheckpoint=4000"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def figures() -> Iterator[dict[str, object]]:
    """Throughput, processor time beside plain SQLite's, commit latency, and the time of the pages' queries."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.db"
        engine = open_engine(f"sqlite:///{path}")
        migrate(engine)
        writer = Writer(engine)
        known = fleet()
        clock, _ = spent(lambda: writer.sync_inventory(known, NOW))
        yield {"figure": "first_sync_s", "value": round(clock, 2), "projects": PROJECTS, "checks": len(known.checks)}
        for hour in range(HOURS):
            writer.record(minute(known, NOW - timedelta(hours=HOURS - hour)), NOW)
        yield from _recording(engine, writer, known, Path(folder))
        pages = open_engine(f"sqlite:///{path}", readonly=True)
        yield from _reading(pages)
        pages.dispose()
        engine.dispose()


def _recording(engine: Engine, writer: Writer, known: Inventory, folder: Path) -> Iterator[dict[str, object]]:
    clocks, ours, theirs, rows = [], [], [], 0
    gc.collect()
    gc.freeze()  # as the poller does once it has started
    with overheard(engine) as sent, closing(copied(engine, folder / "bare.db")) as plain:
        for number in range(ROUNDS):
            taken, beside = [], []
            for batch in batches_of(minute(known, NOW + timedelta(minutes=number))):
                taken.append(spent(partial(writer.record, batch, NOW)))
                beside.append(spent(partial(plainly, plain, sent))[1])  # at once, so that both meet the machine in one mood
                rows += sum(len(some) for _, some in sent)
                sent.clear()
            clocks += [clock for clock, _ in taken]
            ours.append(sum(processor for _, processor in taken) / len(known.checks) * 1e6)
            theirs.append(sum(beside) / len(known.checks) * 1e6)
    ranked = sorted(clocks)
    cpu, yardstick = statistics.median(ours), statistics.median(theirs)
    yield {"figure": "recorded_per_s", "value": round(ROUNDS * len(known.checks) / sum(clocks)), "batch": BATCH}
    yield {"figure": "cpu_us_per_observation", "value": round(cpu, 1), "batch": BATCH}
    yield {
        "figure": "rate_over_bare_executemany",
        "value": round(statistics.median(bare / own for bare, own in zip(theirs, ours, strict=True)), 2),
        "goal": 0.33,
        "bare_us": round(yardstick, 1),
        "rows_an_observation": round(rows / ROUNDS / len(known.checks), 1),
        "note": "bare: the same rows of all tables, of the same statements, in the same commits, by sqlite3 alone",
    }
    yield from _beside_pruning(engine, writer, known)
    yield {
        "figure": "group_commit_ms",
        "value": round(statistics.median(ranked) * 1000, 1),
        "p99": round(ranked[int(0.99 * (len(ranked) - 1))] * 1000, 1),
        "batch": BATCH,
    }
    single = [[one] for one in minute(known, NOW + timedelta(minutes=ROUNDS + 1))[:200]]
    ones = sorted(spent(partial(writer.record, batch, NOW))[0] for batch in single)
    yield {"figure": "single_commit_ms", "value": round(ones[100] * 1000, 2), "p99": round(ones[197] * 1000, 2)}


def _beside_pruning(engine: Engine, writer: Writer, known: Inventory) -> Iterator[dict[str, object]]:
    """How long the writer waits while a day is packed and forgotten in another thread, as the service does it."""
    batches = list(batches_of(minute(known, NOW + timedelta(minutes=ROUNDS))))
    thread = threading.Thread(target=maintenance.prune, args=(engine, NOW + timedelta(hours=1), Retention(), 200))
    thread.start()
    clocks = []
    for batch in batches:
        time.sleep(0.2)
        clocks.append(spent(partial(writer.record, batch, NOW))[0])
    thread.join()
    yield {
        "figure": "commit_while_pruning_ms",
        "value": round(statistics.median(clocks) * 1000, 1),
        "worst": round(max(clocks) * 1000, 1),
    }


def _reading(engine: Engine) -> Iterator[dict[str, object]]:
    now = NOW + timedelta(minutes=ROUNDS)
    day = Window(now - timedelta(days=1), now)
    questions: dict[str, Callable[[], Any]] = {
        "fleet": lambda: queries.fleet(engine, now),
        "project": lambda: queries.project(engine, "project-0042", now),
        "strips": lambda: queries.strips(engine, day),
        "failure_trend": lambda: queries.failure_trend(engine, day, timedelta(minutes=15)),
        "check_counts": lambda: queries.check_counts(engine, day, timedelta(minutes=15)),
        "latency_trend": lambda: queries.latency_trend(engine, day, timedelta(hours=1)),
        "targets": lambda: queries.targets(engine, now),
        "model_access": lambda: queries.model_access(engine, now),
        "observations": lambda: queries.observations(engine, day),
    }
    for name, question in questions.items():
        question()
        times = [spent(question)[0] for _ in range(7)]
        facts = {"rows": len(found)} if hasattr(found := question(), "__len__") else {}
        yield {"figure": f"{name}_ms", "value": round(statistics.median(times) * 1000, 1), "projects": PROJECTS, **facts}
