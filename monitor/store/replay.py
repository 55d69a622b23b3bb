"""What a replay reads: stored observations in the order of time, with as much of each as health and incidents are made of."""

from collections.abc import Collection, Iterator
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine

from monitor.domain.correlation import Fleet
from monitor.domain.inventory import Target
from monitor.domain.observation import Observation, Verdict
from monitor.domain.taxonomy import Scope
from monitor.domain.timeline import Window, from_ms, to_ms
from monitor.store import codec, packs, tables
from monitor.store.engine import reading
from monitor.store.register import target_of
from monitor.store.tables import HOUR


def fleet(engine: Engine) -> Fleet:
    """The configured projects: what tells one broken key from a broken platform."""
    p = tables.projects.c
    with reading(engine) as connection:
        rows = connection.execute(sa.select(p.name, p.facts).where(p.active == 1)).all()
    return Fleet.of(codec.project_of(name, facts) for name, facts in rows)


def stored(engine: Engine, window: Window, projects: Collection[str] | None = None) -> Iterator[Observation]:
    """The raw observations of the window, oldest first, with as much of each as health and incidents are made of.

    Good ones are kept for ten days, bad ones for much longer (`[monitor.retention]`): further back there is nothing but
    failures, and a replay of it is worth nothing.
    """
    t, p = tables.targets.c, tables.projects.c
    query = sa.select(t.id, p.name, t.probe, t.key, t.model, t.host).select_from(tables.targets)
    query = query.outerjoin(tables.projects, p.id == t.project_id)
    if projects is not None:
        query = query.where(p.name.in_([codec.clean(name) for name in projects]))
    with reading(engine) as connection:
        known = {row.id: target_of(row.name, row.probe, row.key, row.model, row.host) for row in connection.execute(query)}
    start, end = to_ms(window.start), to_ms(window.end)
    for since in range(start, end, HOUR):  # an hour at once: a fleet of any size fits into memory
        yield from _part(engine, known, since, min(end, since + HOUR), projects)


def _part(engine: Engine, known: dict[int, Target], since: int, until: int, projects: Collection[str] | None) -> list[Observation]:
    o, a, t = tables.observations.c, tables.answers.c, tables.targets.c
    # Each target's rows are sought by themselves: they lie together, and time comes second.
    wanted = sa.select(t.id).correlate(None)
    if projects is not None:
        names = [codec.clean(name) for name in projects]
        wanted = wanted.where(t.project_id.in_(sa.select(tables.projects.c.id).where(tables.projects.c.name.in_(names))))
    query = (
        sa.select(o.target_id, o.at, a.verdict, a.failure, a.scope, a.hint, a.finding)
        .join_from(tables.observations, tables.answers, a.id == o.answer_id)
        .where(o.target_id.in_(wanted), o.at >= since, o.at < until)
    )
    with reading(engine) as connection:
        rows: list[tuple[Any, ...]] = [tuple(row) for row in connection.execute(query)]
        packed = list(packs.answers(connection, since, until, None if projects is None else wanted))
        numbers = sorted({one.answer_id for one in packed})
        good = sa.select(a.id, a.verdict, a.failure, a.scope, a.hint, a.finding).where(a.id.in_(numbers))
        said = {number: rest for number, *rest in connection.execute(good)}
    rows += [(one.target_id, one.at, *said[one.answer_id]) for one in packed]
    return [
        Observation(
            known[number],
            from_ms(at),
            Verdict(verdict),
            failure=codec.kind_of(failure),
            scope=Scope(scope) if scope else None,
            hint=hint,
            finding=finding,
        )
        for number, at, verdict, failure, scope, hint, finding in sorted(rows, key=itemgetter(1, 0))
        if number in known  # a target may be new since they were read
    ]
