"""Recording on PostgreSQL with 2,000 projects of five models each, beside a bare `executemany` of the raw rows alone."""

import contextlib
import statistics
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import psycopg

from monitor.domain.inventory import Target
from monitor.domain.observation import Observation
from monitor.domain.timeline import to_ms
from monitor.store.engine import open_engine
from monitor.store.record import Writer
from tests.benchmarks.store import BATCH, NOW, ROUNDS, batches_of, fleet, minute, spent
from tests.postgres import MISSING, Server, server_or_none

_RAW = (
    "CREATE TABLE bare (target bigint, at bigint, answer bigint, notable bigint, latency bigint, processing bigint,"
    " request_id text, evidence text, PRIMARY KEY (target, at))"
)


def raw_rows(batch: list[Observation], numbers: dict[Target, int]) -> list[tuple[Any, ...]]:
    """The same observations as the rows that `bare` writes."""
    return [
        (numbers[one.target], to_ms(one.at), 1, int(one.failure is not None), int((one.latency_ms or 0) * 1000), None, None, None)
        for one in batch
    ]


def bare(server: Server, name: str, rounds: list[list[tuple[Any, ...]]]) -> float:
    """Seconds that plain psycopg takes for the raw rows, in the same commits."""
    with psycopg.connect(server.dsn(name)) as connection:
        connection.execute("DROP TABLE IF EXISTS bare")
        connection.execute(_RAW)
        connection.commit()

        def write() -> None:
            for rows in rounds:
                with connection.cursor() as cursor:
                    cursor.executemany("INSERT INTO bare VALUES (%s,%s,%s,%s,%s,%s,%s,%s)", sorted(rows))
                connection.commit()

        return spent(write)[0]


def figures() -> Iterator[dict[str, object]]:
    """Observations per second, and bytes for each, on a server of this machine."""
    server = server_or_none()
    if server is None:
        yield {"figure": "skipped", "note": MISSING}
        return
    with contextlib.closing(server):
        url = server.migrated()
        name = url.rpartition("/")[2]
        engine, known = open_engine(url), fleet()
        writer = Writer(engine)
        writer.sync_inventory(known, NOW)
        numbers = {check.target: number for number, check in enumerate(known.checks)}
        ours, theirs = [], []
        writer.record(minute(known, NOW - timedelta(minutes=1)), NOW)
        before = size(server, name)
        for number in range(ROUNDS):
            batches = list(batches_of(minute(known, NOW + timedelta(minutes=number))))
            ours.append(sum(spent(partial(writer.record, batch, NOW))[0] for batch in batches))
            theirs.append(bare(server, name, [raw_rows(batch, numbers) for batch in batches]))
        checks = len(known.checks)
        yield {
            "figure": "recorded_per_s",
            "value": round(checks / statistics.median(ours)),
            "bare_per_s": round(checks / statistics.median(theirs)),
            "ratio": round(statistics.median(ours) / statistics.median(theirs), 1),
            "batch": BATCH,
            "note": "bare: raw rows only; ours: also health, buckets of every width, sketches, current state; both without fsync",
        }
        server.execute("DROP TABLE bare", name)
        grown = (size(server, name) - before) / (ROUNDS * checks)
        yield {"figure": "bytes_per_observation", "value": round(grown), "rounds": ROUNDS, "projects": len(known.projects)}
        engine.dispose()


def size(server: Server, name: str) -> int:
    """Bytes of everything we keep, without what VACUUM would give back; the bare table left out."""
    server.execute("VACUUM FULL", name)
    with psycopg.connect(server.dsn(name)) as connection:
        row = connection.execute(
            "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relkind = 'r' AND relname <> 'bare'"
            " AND relnamespace = 'public'::regnamespace"
        ).fetchone()
        return int(row[0]) if row else 0
