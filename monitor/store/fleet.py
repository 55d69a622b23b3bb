"""How the projects stand now, folded from one row a target.

Most targets are simply well. Those the database sums up, one row for each project and probe; only the others are read one by
one, and of them only the one that decides a project's health in full.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import chain
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine

from monitor.domain.health import (
    Health,
    HealthState,
    LaneState,
    TargetHealth,
    fresh_health,
    lamps,
    overall,
)
from monitor.domain.inventory import KeyKind, ProbeKind
from monitor.domain.taxonomy import Lane
from monitor.domain.timeline import EPOCH
from monitor.store import codec, tables
from monitor.store.current import statuses, well
from monitor.store.engine import reading
from monitor.store.register import probe_of
from monitor.store.status import ProjectStatus
from monitor.store.tables import FLEET, PROBES


def fleet(engine: Engine, now: datetime) -> list[ProjectStatus]:
    """Every configured project, worst first, then by name."""
    return _projects(engine, now, None)


def project(engine: Engine, name: str, now: datetime) -> ProjectStatus | None:
    """One project, or None where no such one is configured."""
    found = _projects(engine, now, name)
    return found[0] if found else None


def _projects(engine: Engine, now: datetime, name: str | None) -> list[ProjectStatus]:
    with reading(engine) as connection:
        rows = connection.execute(_of(_PROJECTS, tables.projects.c.id, name)).all()
        checks: dict[int, _Checks] = defaultdict(_Checks)
        for project_id, *sums in connection.execute(_of(_summed(now), tables.targets.c.project_id, name)).all():
            checks[project_id].add(*sums)
        for project_id, *notable in connection.execute(_of(_not_well(now), tables.targets.c.project_id, name)):
            checks[project_id].notable.append(_Notable(now, *notable))
        kinds: dict[int, list[str]] = defaultdict(list)
        for project_id, kind in connection.execute(_of(_PRESENT_KINDS, tables.keys.c.project_id, name)):
            kinds[project_id].append(kind)
        found = [(row, checks[row.id], *checks[row.id].health()) for row in rows]
        worst = {row.id: one.id for row, mine, _, health in found if (one := mine.worst(health))}
        told = statuses(connection, worst.values(), now)
        loose = set(connection.execute(_of(_USABLE_THOUGH_DENIED, tables.targets.c.project_id, name)).scalars())
    made = []
    for row, mine, lanes, health in found:
        known = codec.project_of(row.name, row.facts)
        made.append(
            ProjectStatus(
                name=known.name,
                project_id=known.project_id,
                organization=known.organization,
                base_url=known.base_url,
                environment=known.environment,
                owner=known.owner,
                services=known.services,
                tags=known.tags,
                models=known.models,
                denied_models=known.denied_models,
                health=health.health,
                since=health.since,
                lamps=lanes,
                worst=told.get(worst.get(row.id, 0)),
                keys=len(kinds[row.id]),
                targets=mine.count,
                last_at=codec.moment(mine.last_at),
                findings=_findings(known.project_id, kinds[row.id], loose=row.id in loose),
            )
        )
    return sorted(made, key=lambda status: (-status.health.rank, status.name))


# --- the fold ------------------------------------------------------------------------------------------------------------


class _Checks:
    """The checks of one project: those that are simply well in sums, the others one by one."""

    __slots__ = ("count", "last_at", "notable", "well")

    def __init__(self) -> None:
        self.count = 0
        self.last_at: int | None = None
        self.well: list[tuple[int, int | None]] = []
        """Probes, and since when the last of their targets is well."""
        self.notable: list[_Notable] = []

    def add(self, probe: int, count: int, well: int, since: int | None, last_at: int | None) -> None:
        """Take in the sums of one probe."""
        self.count += count
        if last_at is not None and (self.last_at is None or last_at > self.last_at):
            self.last_at = last_at
        if well:
            self.well.append((probe, since))

    def health(self) -> tuple[dict[Lane, LaneState], LaneState]:
        """The lamps, and the worst of them."""
        if not self.notable:
            return _all_well(tuple(self.well))
        lanes = lamps(chain(_briefs(self.well), (one.brief for one in self.notable)))
        return lanes, overall(lanes.values())

    def worst(self, health: LaneState) -> "_Notable | None":
        """The check that decides the health: the worst one with the same cause, of equals the one that began first. Of a
        healthy project, the one that is suspect.
        """
        if health.health is Health.HEALTHY:
            causes = [one for one in self.notable if one.suspect]
        else:
            same = (health.health, health.failure)
            causes = [one for one in self.notable if (one.brief.health, one.brief.failure) == same] or self.notable
        return min(
            causes, key=lambda one: (-one.brief.health.rank, one.brief.since is None, one.brief.since or EPOCH), default=None
        )


class _Notable:
    """A target that is ill, suspect, late, paused or not yet answered."""

    __slots__ = ("brief", "id", "suspect")

    def __init__(self, now: datetime, number: int, probe: int, interval: int, *state: Any) -> None:
        known = codec.state_of(state) if state[0] else HealthState()
        health = fresh_health(known, timedelta(milliseconds=interval), now)
        self.id = number
        self.brief = TargetHealth(probe_of(probe), health, known.failure, known.since)
        self.suspect = known.suspect


@lru_cache(maxsize=4096)
def _all_well(well: tuple[tuple[int, int | None], ...]) -> tuple[dict[Lane, LaneState], LaneState]:
    lanes = lamps(_briefs(well))
    return lanes, overall(lanes.values())


def _briefs(well: Iterable[tuple[int, int | None]]) -> Iterator[TargetHealth]:
    """One target a probe stands for all that are well: a lamp is green since the last of them is."""
    return (TargetHealth(probe_of(probe), Health.HEALTHY, None, codec.moment(since)) for probe, since in well)


# --- the questions -------------------------------------------------------------------------------------------------------

_PROJECTS = sa.select(tables.projects.c.id, tables.projects.c.name, tables.projects.c.facts).where(tables.projects.c.active == 1)
_PRESENT_KINDS = sa.select(tables.keys.c.project_id, tables.keys.c.kind).where(
    tables.keys.c.active == 1, tables.keys.c.replaced_at.is_(None)
)
_USABLE_THOUGH_DENIED = (
    sa.select(tables.targets.c.project_id)
    .join_from(tables.targets, tables.target_states, tables.target_states.c.target_id == tables.targets.c.id)
    .join(tables.answers, tables.answers.c.id == tables.target_states.c.answer_id)
    .where(
        tables.targets.c.active == 1,
        tables.targets.c.probe == PROBES[ProbeKind.DENIED_MODEL],
        tables.answers.c.finding.is_not(None),
    )
)
"""Projects where a model that must be refused was usable at the last look."""


def _of(query: sa.Select[Any], project_id: sa.ColumnElement[int], name: str | None) -> sa.Select[Any]:
    """The same of the project of that name alone."""
    if name is None:
        return query
    return query.where(project_id == sa.select(tables.projects.c.id).where(tables.projects.c.name == name).scalar_subquery())


def _active(*columns: Any) -> sa.Select[Any]:
    t, s = tables.targets.c, tables.target_states.c
    states = sa.select(*columns).select_from(tables.targets).outerjoin(tables.target_states, s.target_id == t.id)
    return states.where(t.active == 1, t.project_id != FLEET)


def _summed(now: datetime) -> sa.Select[Any]:
    """For each project and probe: how many targets, how many of them well, since when the last of those, the newest answer."""
    t, s, is_well = tables.targets.c, tables.target_states.c, well(now)
    columns = (sa.func.count(), sa.func.sum(is_well), sa.func.max(sa.case((is_well == 1, s.since))), sa.func.max(s.last_at))
    return _active(t.project_id, t.probe, *columns).group_by(t.project_id, t.probe)


def _not_well(now: datetime) -> sa.Select[Any]:
    t, s = tables.targets.c, tables.target_states.c
    state = (s[name] for name in codec.STATE_COLUMNS)
    return _active(t.project_id, t.id, t.probe, t.interval, *state).where(well(now) == 0).order_by(t.id)


_KIND_FINDINGS = {KeyKind.USER_LEGACY.value: "key_legacy", KeyKind.USER_UNSCOPED.value: "key_unscoped"}


def _findings(project_id: str | None, kinds: Iterable[str], *, loose: bool) -> tuple[str, ...]:
    found = ["denied_model_usable"] if loose else []
    found += sorted({_KIND_FINDINGS[kind] for kind in kinds if kind in _KIND_FINDINGS})
    if project_id is None:
        found.append("no_project_id")
    return tuple(found)
