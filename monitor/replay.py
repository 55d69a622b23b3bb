"""Stored observations read again under another policy: what would have changed, and what would have been told."""

from collections.abc import Iterator, Mapping
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy import Engine

from monitor.domain.correlation import Fleet
from monitor.domain.health import HealthPolicy
from monitor.domain.inventory import Target
from monitor.domain.observation import Observation, Verdict
from monitor.domain.replay import DEFAULT, Again, Replay, Step, moment, replay
from monitor.domain.taxonomy import Scope
from monitor.domain.timeline import Window, from_ms, to_ms
from monitor.store import codec, tables
from monitor.store.engine import reading
from monitor.store.register import target_of
from monitor.store.tables import HOUR

LEAD = timedelta(hours=1)
"""Read before the window, so that what was ill already is no news in it."""


def run(
    engine: Engine,
    window: Window,
    policy: HealthPolicy = DEFAULT,
    policies: Mapping[str, HealthPolicy] | None = None,
    project: str | None = None,
) -> Iterator[Step]:
    """Every change of a target's health and of an incident in the window, in the order of time, as `policy` would have had it.

    `policies` are those of projects that judge differently. One project alone cannot tell its own trouble from everybody's. Raises
    `StoreError`.
    """
    again = Again(policy, fleet(engine), policies)
    for seen in stored(engine, _led(window), project):
        yield from (step for step in again.take(seen) if moment(step) >= window.start)
    yield from (step for step in again.finish() if moment(step) >= window.start)


def result(
    engine: Engine,
    window: Window,
    policy: HealthPolicy = DEFAULT,
    policies: Mapping[str, HealthPolicy] | None = None,
    project: str | None = None,
) -> Replay:
    """All of it together: the transitions of the window, and the incidents that went on in it. Raises `StoreError`."""
    return replay(stored(engine, _led(window), project), policy, fleet(engine), policies, since=window.start)


def _led(window: Window) -> Window:
    return Window(window.start - LEAD, window.end)


def fleet(engine: Engine) -> Fleet:
    """The configured projects: what tells one broken key from a broken platform."""
    p = tables.projects.c
    with reading(engine) as connection:
        rows = connection.execute(sa.select(p.name, p.facts).where(p.active == 1)).all()
    return Fleet.of(codec.project_of(name, facts) for name, facts in rows)


def stored(engine: Engine, window: Window, project: str | None = None) -> Iterator[Observation]:
    """The raw observations of the window, oldest first, with as much of each as health and incidents are made of.

    Good ones are kept for two weeks, bad ones for much longer (`[monitor.retention]`): further back there is nothing but
    failures, and a replay of it is worth nothing.
    """
    t, p = tables.targets.c, tables.projects.c
    query = sa.select(t.id, p.name, t.probe, t.key, t.model, t.host).select_from(tables.targets)
    query = query.outerjoin(tables.projects, p.id == t.project_id)
    if project is not None:
        query = query.where(p.name == codec.clean(project))
    with reading(engine) as connection:
        known = {row.id: target_of(row.name, row.probe, row.key, row.model, row.host) for row in connection.execute(query)}
    start, end = to_ms(window.start), to_ms(window.end)
    for since in range(start, end, HOUR):  # an hour at once: a fleet of any size fits into memory
        yield from _part(engine, known, since, min(end, since + HOUR), project)


def _part(engine: Engine, known: dict[int, Target], since: int, until: int, project: str | None) -> list[Observation]:
    o, a, t = tables.observations.c, tables.answers.c, tables.targets.c
    # Each target's rows are sought by themselves: they lie together, and time comes second.
    wanted = sa.select(t.id).correlate(None)
    if project is not None:
        wanted = wanted.where(
            t.project_id.in_(sa.select(tables.projects.c.id).where(tables.projects.c.name == codec.clean(project)))
        )
    query = (
        sa.select(o.target_id, o.at, a.verdict, a.failure, a.scope, a.hint, a.finding)
        .join_from(tables.observations, tables.answers, a.id == o.answer_id)
        .where(o.target_id.in_(wanted), o.at >= since, o.at < until)
        .order_by(o.at, o.target_id)
    )
    with reading(engine) as connection:
        return [
            Observation(
                known[row.target_id],
                from_ms(row.at),
                Verdict(row.verdict),
                failure=codec.kind_of(row.failure),
                scope=Scope(row.scope) if row.scope else None,
                hint=row.hint,
                finding=row.finding,
            )
            for row in connection.execute(query)
            if row.target_id in known  # a target may be new since they were read
        ]
