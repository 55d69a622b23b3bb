"""How the projects stand now, folded from one row a target.

Most projects are simply well. Those the database sums up, one row for each; of the others it gives a row for each probe, and only
what is not well is read one by one, and of that only the check that decides a project's health in full.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import chain
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

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
from monitor.store.current import briefs, statuses, well
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
        checks = {row[0]: _Checks(*row[1:]) for row in connection.execute(_of(_all_summed(now), tables.targets.c.project_id, name))}
        _look_closer(connection, {number: mine for number, mine in checks.items() if not mine.all_well}, now)
        health = {number: mine.health() for number, mine in checks.items()}
        notable = ((number, mine.worst(health[number][1])) for number, mine in checks.items() if mine.notable)
        worst = {number: one.id for number, one in notable if one}
        told = statuses(connection, worst.values(), now)
        loose = set(connection.execute(_of(_USABLE_THOUGH_DENIED, tables.targets.c.project_id, name)).scalars())
    made = []
    for number, called, facts, keys, kinds in rows:  # by place: two thousand rows are read for every page
        known, mine = codec.project_of(called, facts), checks.get(number, _NOTHING)
        lanes, worst_lane = health.get(number) or mine.health()
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
                health=worst_lane.health,
                since=worst_lane.since,
                lamps=lanes,
                worst=told[worst[number]] if number in worst else None,
                keys=keys,
                targets=mine.count,
                last_at=codec.moment(mine.last_at),
                findings=_findings(known.project_id, kinds, loose=number in loose),
            )
        )
    return sorted(made, key=lambda status: (-status.health.rank, status.name))


_AT_ONCE = 5_000
"""Projects that are asked for in one statement."""


def _look_closer(connection: Connection, checks: Mapping[int, "_Checks"], now: datetime) -> None:
    """Read of these projects what is well of each probe, and what is not."""
    numbers = sorted(checks)
    for first in range(0, len(numbers), _AT_ONCE):
        here = tables.targets.c.project_id.in_(numbers[first : first + _AT_ONCE])
        for project_id, probe, since in connection.execute(_well_of_probes(now).where(here)):
            checks[project_id].well.append((probe, since))
        for project_id, *notable in connection.execute(_not_well(now).where(here)):
            checks[project_id].notable.append(_Notable(now, *notable))


# --- the fold ------------------------------------------------------------------------------------------------------------


class _Checks:
    """The checks of one project: those that are simply well in sums, the others one by one."""

    __slots__ = ("all_well", "count", "last_at", "notable", "since", "well")

    def __init__(self, count: int, well: int, last_at: int | None, *since: int | None) -> None:
        self.count, self.last_at = count, last_at
        self.all_well = well == 1
        self.since = since
        """Of each of `_PROBES`: since when the last of its targets is as it is."""
        self.well: _Well = []
        """Of a project that is not all well: probes, and since when the last of their targets that are well is."""
        self.notable: list[_Notable] = []

    def health(self) -> tuple[dict[Lane, LaneState], LaneState]:
        """The lamps, and the worst of them."""
        if self.all_well:
            return _all_well(self.since)
        lanes = lamps(chain(briefs(self.well), (one.brief for one in self.notable)))
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


_Well = list[tuple[int, int | None]]
_PROBES = tuple(number for kind, number in PROBES.items() if kind is not ProbeKind.CONTROL)
_NOTHING = _Checks(0, 1, None, *(None for _ in _PROBES))
"""Of a project that nothing is asked of."""


class _Notable:
    """A target that is ill, suspect, late, paused or not yet answered."""

    __slots__ = ("brief", "id", "suspect")

    def __init__(
        self,
        now: datetime,
        number: int,
        probe: int,
        interval: int,
        health: str | None,
        since: int | None,
        failure: str | None,
        recent: str | None,
        last_at: int | None,
    ) -> None:
        known = HealthState()
        if health is not None:
            said = (recent[-1] == "1",) if recent else ()  # the last check alone makes a suspect
            known = HealthState(Health(health), codec.moment(since), codec.kind_of(failure), said, last_at=codec.moment(last_at))
        fresh = fresh_health(known, timedelta(milliseconds=interval), now)
        self.id = number
        self.brief = TargetHealth(probe_of(probe), fresh, known.failure, known.since)
        self.suspect = known.suspect


@lru_cache(maxsize=16_384)
def _all_well(since: tuple[int | None, ...]) -> tuple[dict[Lane, LaneState], LaneState]:
    """Lamps, and the worst of them, where all of every probe's targets are well since then; None where it has none."""
    lanes = lamps(briefs((probe, at) for probe, at in zip(_PROBES, since, strict=True) if at is not None))
    return lanes, overall(lanes.values())


# --- the questions -------------------------------------------------------------------------------------------------------

_PRESENT = sa.and_(tables.keys.c.project_id == tables.projects.c.id, tables.keys.c.active == 1, tables.keys.c.replaced_at.is_(None))
_PROJECTS = (
    sa.select(
        tables.projects.c.id,
        tables.projects.c.name,
        tables.projects.c.facts,
        sa.func.count(tables.keys.c.id).label("keys"),
        sa.func.aggregate_strings(tables.keys.c.kind, " ").label("kinds"),
    )
    .select_from(tables.projects)
    .outerjoin(tables.keys, _PRESENT)
    .where(tables.projects.c.active == 1)
    .group_by(tables.projects.c.id)
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


def _all_summed(now: datetime) -> sa.Select[Any]:
    """For each project: how many targets, 1 where all are well, the newest answer, and when the last of each probe's began."""
    t, s = tables.targets.c, tables.target_states.c
    since = (sa.func.max(sa.case((t.probe == probe, s.since))) for probe in _PROBES)
    return _active(t.project_id, sa.func.count(), sa.func.min(well(now)), sa.func.max(s.last_at), *since).group_by(t.project_id)


def _well_of_probes(now: datetime) -> sa.Select[Any]:
    """For each project and probe that has any target that is well: since when the last of those is."""
    t, s = tables.targets.c, tables.target_states.c
    return _active(t.project_id, t.probe, sa.func.max(s.since)).where(well(now) == 1).group_by(t.project_id, t.probe)


def _not_well(now: datetime) -> sa.Select[Any]:
    t, s = tables.targets.c, tables.target_states.c
    state = (s.health, s.since, s.failure, s.recent, s.last_at)
    return _active(t.project_id, t.id, t.probe, t.interval, *state).where(well(now) == 0).order_by(t.id)


_KIND_FINDINGS = {KeyKind.USER_LEGACY.value: "key_legacy", KeyKind.USER_UNSCOPED.value: "key_unscoped"}


@lru_cache(maxsize=64)
def _kind_findings(kinds: str) -> tuple[str, ...]:
    return tuple(sorted({_KIND_FINDINGS[kind] for kind in kinds.split() if kind in _KIND_FINDINGS}))


def _findings(project_id: str | None, kinds: str | None, *, loose: bool) -> tuple[str, ...]:
    found = _kind_findings(kinds or "")
    if loose:
        found = ("denied_model_usable", *found)
    return found if project_id is not None else (*found, "no_project_id")
