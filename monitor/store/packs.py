"""Good answers are rows for an hour or two; then an hour of a target becomes one row, and is read here as if it were still many.

What is packed left `observations` in the same transaction: an answer is in one of both, never in none and never in two.
"""

import time
from collections import defaultdict
from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from monitor.domain.timeline import to_ms
from monitor.store import dialect, tables
from monitor.store.dialect import Int
from monitor.store.engine import breathe, reading, writing
from monitor.store.errors import Problem, StoreError
from monitor.store.packing import Good, pack, unpack
from monitor.store.tables import GOOD, HOUR

RESTS = HOUR
"""How long an hour is over before it is packed: what comes later than that is added to its row."""
_AT_ONCE = 5_000
"""Answers packed in one transaction, some 50 ms; a target with more in one hour is packed by itself."""
_LOCK = 0x7061636B
"""An advisory lock's number, our own: the word `pack`."""


class Answer(NamedTuple):
    """A good answer that was packed, as much as a row of `observations` says of one."""

    target_id: int
    at: int
    answer_id: int
    latency_us: int | None
    processing_us: int | None


# --- reading -------------------------------------------------------------------------------------------------------------


def hours(connection: Connection, since: int, until: int) -> list[int]:
    """The hours with anything packed of [since, until), oldest first: a seek for each."""
    c = tables.packs.c
    first = sa.select(sa.func.min(c.start)).where(c.start >= sa.literal(since - since % HOUR, Int)).scalar_subquery()
    one = sa.select(first.label("start")).cte("hours", recursive=True)
    after = sa.select(sa.func.min(c.start)).where(c.start > one.c.start).correlate(one).scalar_subquery()
    found = one.union_all(sa.select(after).where(one.c.start < until))
    query = sa.select(found.c.start).where(found.c.start < until).order_by(found.c.start)
    return list(connection.execute(query).scalars())


def answers(
    connection: Connection, since: int, until: int, wanted: sa.Select[Any] | Collection[int] | None = None, *more: Any
) -> Iterator[Answer]:
    """What was packed of [since, until), hour by hour, of targets in the order of their numbers: of all, or of those that are
    `wanted`. `more` are conditions on `packs`.
    """
    for start in hours(connection, since, until):
        yield from of_hour(connection, start, since, until, wanted, *more)


def of_hour(
    connection: Connection, start: int, since: int, until: int, wanted: sa.Select[Any] | Collection[int] | None, *more: Any
) -> Iterator[Answer]:
    """The same of one hour."""
    c = tables.packs.c
    query = sa.select(c.target_id, c.answer_id, c.data).where(c.start == start, *more).order_by(c.target_id, c.answer_id)
    if wanted is not None:
        query = query.where(c.target_id.in_(wanted))
    for number, answer_id, data in connection.execute(query):
        for one in unpacked(start, number, data):
            if since <= one.at < until:
                yield Answer(number, one.at, answer_id, one.latency_us, one.processing_us)


def unpacked(start: int, target_id: int, data: bytes) -> list[Good]:
    """The answers of a target's hour, oldest first. Raises `StoreError` where it is damaged."""
    try:
        return unpack(start, data)
    except ValueError as error:
        raise StoreError(
            Problem.DAMAGED, f"A packed hour of target {target_id} is damaged ({error}): see `db check`, and restore a backup."
        ) from error


def newest_before(connection: Connection, target_id: int, at: int, since: int) -> Answer | None:
    """The last packed answer of the target in [since, at)."""
    for start in reversed(hours(connection, since, at)):
        found = max(of_hour(connection, start, since, at, [target_id]), key=lambda one: one.at, default=None)
        if found is not None:
            return found
    return None


# --- packing -------------------------------------------------------------------------------------------------------------


class Due(NamedTuple):
    """Targets whose answers of an hour are packed together."""

    start: int
    targets: list[int]


def due(engine: Engine, now: datetime) -> list[Due]:
    """What is to be packed of the oldest hour that is over and has any; nothing where all is done."""
    o = tables.observations.c
    before = to_ms(now) - RESTS
    before -= before % HOUR
    with reading(engine) as connection:
        oldest = connection.execute(sa.select(o.at).where(GOOD, o.at < before).order_by(o.at).limit(1)).scalar()
        if oldest is None:
            return []
        start = oldest - oldest % HOUR
        here = (GOOD, o.at >= start, o.at < start + HOUR)
        rows = connection.execute(sa.select(o.target_id, sa.func.count()).where(*here).group_by(o.target_id)).all()
    parts: list[Due] = []
    room = 0
    for number, count in sorted(rows):
        if count > room:
            parts.append(Due(start, []))
            room = _AT_ONCE
        parts[-1].targets.append(number)
        room -= count
    return parts


def fold(engine: Engine, part: Due) -> int:
    """Pack these; how many answers that were. Raises `StoreError` with nothing changed."""
    o, c = tables.observations.c, tables.packs.c
    taken = (
        sa.delete(tables.observations)
        .where(GOOD, o.target_id.in_(part.targets), o.at >= part.start, o.at < part.start + HOUR)
        .returning(o.target_id, o.answer_id, o.at, o.latency_us, o.processing_us)
    )
    # Late answers find the hour packed: they are added to what is there.
    there = sa.select(c.target_id, c.answer_id, c.data).where(c.start == part.start, c.target_id.in_(part.targets))
    found: dict[tuple[int, int], list[Good]] = defaultdict(list)
    with writing(engine) as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        count = 0
        for number, answer_id, *one in connection.execute(taken):
            found[number, answer_id].append(Good(*one))
            count += 1
        for number, answer_id, data in connection.execute(there).all():
            if (number, answer_id) in found:
                found[number, answer_id] += unpacked(part.start, number, data)
        rows = [(part.start, *place, len(told), pack(part.start, told)) for place, told in sorted(found.items())]
        dialect.upsert(engine, tables.packs, put=["count", "data"]).run(connection, rows)
    return count


def fold_due(engine: Engine, now: datetime, slices: int) -> int:
    """Pack what is due in at most `slices` transactions, with as long a pause after each as it took; how many are left of them."""
    while slices > 0 and (parts := due(engine, now)):
        for part in parts[:slices]:
            began = time.monotonic()
            fold(engine, part)
            breathe(began)
        slices -= len(parts)
    return max(0, slices)
