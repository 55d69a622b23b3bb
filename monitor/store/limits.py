"""What headers said of limits is kept by five minutes for a week, and after that by the hour: the least that remained."""

import json
import time
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from monitor.store import dialect, meta, tables
from monitor.store.engine import breathe, reading, writing
from monitor.store.tables import HOUR

_MARK = "limits_by_the_hour"
_DAY, _TOGETHER = 24, 600
"""Hours gone through at once, and hours of a target in one transaction: some thousand rows."""


class _Pass(NamedTuple):
    """Some hours, gone through target by target."""

    since: int
    until: int
    target: int
    """Those up to this one are done."""


def thin(engine: Engine, since: int, before: int, slices: int) -> int:
    """Put the five minutes of each hour in [since, before) into one row: of the hours after those that were done already, in at
    most `slices` transactions; how many of them are left. What comes late for an hour that is done stays as it is.
    """
    before -= before % HOUR
    while slices > 0:
        with reading(engine) as connection:
            here = _next(connection, since, before)
            if here is None:
                break
            numbers = sa.select(tables.targets.c.id).where(tables.targets.c.id > here.target).order_by(tables.targets.c.id)
            some = list(connection.execute(numbers.limit(max(1, _TOGETHER * HOUR // (here.until - here.since)))).scalars())
        began = time.monotonic()
        with writing(engine) as connection:
            gone = _fold(connection, some, here) if some else 0
            done = here._replace(target=some[-1]) if some else _Pass(here.until, here.until, 0)
            meta.write(connection, _MARK, json.dumps(done))
        slices -= gone > 0
        breathe(began)
    return slices


def _next(connection: Connection, oldest: int, before: int) -> _Pass | None:
    """What is to be done next; None where all is."""
    held = meta.read(connection, _MARK)
    if held:
        here = _Pass(*json.loads(held))
        if here.since < here.until:
            return here
        since = here.until
    else:
        first = connection.execute(sa.select(sa.func.min(tables.buckets[HOUR].c.start))).scalar()
        since = before if first is None else int(first)
    since = max(since, oldest - oldest % HOUR)
    return _Pass(since, min(before, since + _DAY * HOUR), 0) if since < before else None


def _fold(connection: Connection, targets: list[int], here: _Pass) -> int:
    c = tables.limit_buckets.c
    taken = (
        sa.delete(tables.limit_buckets)
        .where(c.target_id.in_(targets), c.start >= here.since, c.start < here.until, c.start % HOUR != 0)
        .returning(c.target_id, c.start, c.bucket, c.limit, c.remaining)
    )
    rows = [(number, start - start % HOUR, *rest) for number, start, *rest in connection.execute(taken)]
    together = dialect.upsert(connection.engine, tables.limit_buckets, most=["limit"], least=["remaining"])
    together.run(connection, sorted(rows, key=lambda row: row[:3]))
    return len(rows)
