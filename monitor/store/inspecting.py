"""Whether what is stored in bytes of our own still says what it said: every packed hour and every sketch is read once."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from monitor.store import tables
from monitor.store.packing import unpack
from monitor.store.sketch import values

Progress = Callable[[str, int], object]
"""Told the table that is read, and how many of its rows were."""
_AT_ONCE = 10_000
_MOST = 20
"""Damaged rows of a table that are named; a damaged disk has thousands."""


def damaged(connection: Connection, progress: Progress) -> Iterator[str]:
    """What cannot be read any more, or says something else than its row does; in words."""
    yield from islice(_packs(connection, progress), _MOST)
    for table in tables.buckets.values():
        yield from islice(_sketches(connection, table, progress), _MOST)


def _packs(connection: Connection, progress: Progress) -> Iterator[str]:
    c = tables.packs.c
    query = sa.select(c.start, c.target_id, c.answer_id, c.count, c.data)
    for number, (start, target, answer, count, data) in enumerate(_rows(connection, query)):
        if number % _AT_ONCE == 0:
            progress(tables.packs.name, number)
        try:
            found = len(unpack(start, data))
        except ValueError as error:
            yield f"damaged: packs: hour {start} of target {target}, answer {answer}: {error}"
            continue
        if found != count:
            yield f"damaged: packs: hour {start} of target {target}, answer {answer}: {found} answers, {count} were packed"


def _sketches(connection: Connection, table: sa.Table, progress: Progress) -> Iterator[str]:
    c = table.c
    query = sa.select(c.start, c.project_id, c.probe, c.ok + c.failed + c.inconclusive, c.sketch).where(c.sketch.is_not(None))
    for number, (start, project, probe, count, sketch) in enumerate(_rows(connection, query)):
        if number % _AT_ONCE == 0:
            progress(table.name, number)
        try:
            found = values(sketch)
        except ValueError as error:
            yield f"damaged: {table.name}: {start} of project {project}, probe {probe}: its latencies: {error}"
            continue
        if found > count:  # fewer are well: some answers took no time
            yield f"damaged: {table.name}: {start} of project {project}, probe {probe}: {found} latencies of {count} answers"


def _rows(connection: Connection, query: sa.Select[Any]) -> Iterator[Any]:
    """As they come: there may be millions."""
    yield from connection.execute(query.execution_options(yield_per=_AT_ONCE))
