"""How things stand now: the state of keys and targets, read from one row a target."""

import json
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, Row

from monitor.domain.health import STALE_AT_LEAST, Health, HealthPolicy, HealthState, LaneState, TargetHealth, fresh_health, lamps
from monitor.domain.inventory import KeyKind, ProbeKind
from monitor.domain.observation import Verdict
from monitor.domain.taxonomy import Lane, Scope
from monitor.domain.timeline import from_ms, to_us
from monitor.store import codec, meta, tables
from monitor.store.dialect import Int
from monitor.store.engine import reading
from monitor.store.register import probe_of, target_of
from monitor.store.status import EffectiveConfig, Heartbeat, KeyStatus, TargetStatus


def data_version(engine: Engine) -> int:
    """A number that grows with every commit of the poller: pages key their caches on it."""
    with reading(engine) as connection:
        return meta.data_version(connection)


def heartbeat(engine: Engine) -> Heartbeat | None:
    """The newest heartbeat, or None where no poller ever ran."""
    query = sa.select(tables.heartbeats.c.beat).order_by(tables.heartbeats.c.at.desc()).limit(1)
    with reading(engine) as connection:
        text = connection.execute(query).scalar()
    if text is None:
        return None
    beat = json.loads(text)
    return Heartbeat(**beat | {"at": from_ms(beat["at"]), "started_at": from_ms(beat["started_at"])})


def effective_config(engine: Engine) -> EffectiveConfig | None:
    """The configuration the poller runs with, or None before its first start."""
    c = tables.effective_config.c
    with reading(engine) as connection:
        row = connection.execute(sa.select(c.at, c.source, c.text).order_by(c.id.desc()).limit(1)).first()
    return EffectiveConfig(from_ms(row.at), row.source, json.loads(row.text)) if row else None


def targets(engine: Engine, now: datetime, project: str | None = None) -> list[TargetStatus]:
    """The current state of every active target (of one project, or of all with the control probes), worst first."""
    with reading(engine) as connection:
        states = [_Reading(row, now) for row in connection.execute(_states(project))]
        said = _answers(connection, states)
    return sorted((state.status(said) for state in states), key=_worst_first)


def asked_of(engine: Engine, project: str | None = None) -> tuple[list[str], list[str]]:
    """The keys and the models that are checked (of one project, or of all), sorted."""
    t = tables.targets.c
    query = sa.select(t.key, t.model).where(t.active == 1).distinct()
    if project is not None:
        query = query.join(tables.projects, tables.projects.c.id == t.project_id).where(tables.projects.c.name == project)
    with reading(engine) as connection:
        rows = connection.execute(query).all()
    return sorted({key for key, _ in rows if key}), sorted({model for _, model in rows if model})


def keys(engine: Engine, now: datetime, project: str | None = None) -> list[KeyStatus]:
    """Every configured key with its current health, worst first."""
    k = tables.keys.c
    query = (
        sa.select(tables.projects.c.name, k.label, k.kind, k.fingerprint, k.source, k.problem, k.first_seen)
        .join_from(tables.keys, tables.projects)
        .where(k.active == 1, tables.projects.c.active == 1, k.replaced_at.is_(None))
    )
    if project is not None:
        query = query.where(tables.projects.c.name == project)
    with reading(engine) as connection:
        rows = connection.execute(query).all()
        checks: dict[tuple[str, str], _KeyChecks] = defaultdict(_KeyChecks)
        for name, label, *sums in connection.execute(_key_sums(now, project)):
            checks[name, label].add(*sums)
        for row in connection.execute(_states(project).where(well(now) == 0, tables.targets.c.key != "")):
            checks[row.project, row.key].notable.append(_Reading(row, now))
        auths = [one for found in checks.values() for one in found.notable if one.target.probe is ProbeKind.AUTH]
        said = _answers(connection, auths)
    found = [_key_status(row, checks[row.name, row.label], said) for row in rows]
    return sorted(found, key=lambda key: (-key.health.rank, key.project, key.label))


class _KeyChecks:
    """The checks of one key: those that are simply well in sums, the others one by one."""

    __slots__ = ("last_at", "last_ok_at", "notable", "well")

    def __init__(self) -> None:
        self.last_at: int | None = None
        self.last_ok_at: int | None = None
        self.well: list[tuple[int, int | None]] = []
        """Probes, and since when the last of their targets is well."""
        self.notable: list[_Reading] = []

    def add(self, probe: int, well: int, since: int | None, last_at: int | None, last_ok_at: int | None) -> None:
        """Take in the sums of one probe."""
        if last_at is not None and (self.last_at is None or last_at > self.last_at):
            self.last_at = last_at
        if last_ok_at is not None and (self.last_ok_at is None or last_ok_at > self.last_ok_at):
            self.last_ok_at = last_ok_at
        if well:
            self.well.append((probe, since))

    def lamp(self) -> LaneState:
        """Whether the key authenticates."""
        if not self.notable:
            return _all_well(tuple(self.well))
        return lamps([*briefs(self.well), *(check.brief for check in self.notable)])[Lane.AUTH]


@lru_cache(maxsize=8192)
def _all_well(well: tuple[tuple[int, int | None], ...]) -> LaneState:
    return lamps(briefs(well))[Lane.AUTH]


def briefs(well: Iterable[tuple[int, int | None]]) -> list[TargetHealth]:
    """One target a probe stands for all that are well: a lamp is green since the last of them is."""
    return [TargetHealth(probe_of(probe), Health.HEALTHY, None, codec.moment(since)) for probe, since in well]


def _key_sums(now: datetime, project: str | None) -> sa.Select[Any]:
    """For each key and probe: how many targets are well, since when the last of them is, the newest answer, the newest good one."""
    t, s, is_well = tables.targets.c, tables.target_states.c, well(now)
    query = (
        sa.select(
            tables.projects.c.name, t.key, t.probe,
            sa.func.sum(is_well), sa.func.max(sa.case((is_well == 1, s.since))), sa.func.max(s.last_at), sa.func.max(s.last_ok_at),
        )
        .join_from(tables.targets, tables.projects, tables.projects.c.id == t.project_id)
        .outerjoin(tables.target_states, s.target_id == t.id)
        .where(t.active == 1, t.key != "")
        .group_by(t.project_id, tables.projects.c.name, t.key, t.probe)
    )  # fmt: skip
    return query.where(tables.projects.c.name == project) if project is not None else query


def _key_status(row: Row[*tuple[Any, ...]], checks: _KeyChecks, said: dict[int, Row[Any]]) -> KeyStatus:
    lamp = checks.lamp()
    auth = next((check for check in checks.notable if check.target.probe is ProbeKind.AUTH), None)
    return KeyStatus(
        project=row.name,
        label=row.label,
        kind=KeyKind(row.kind),
        fingerprint=row.fingerprint or None,
        source=row.source,
        problem=row.problem,
        health=lamp.health,
        since=lamp.since,
        failure=lamp.failure,
        first_seen=from_ms(row.first_seen),
        last_at=codec.moment(checks.last_at),
        last_ok_at=codec.moment(checks.last_ok_at),
        auth=auth.status(said) if auth else None,
    )


def statuses(connection: Connection, numbers: Iterable[int], now: datetime) -> dict[int, TargetStatus]:
    """The current state of these targets, by their rows."""
    wanted = sorted(numbers)
    found: list[_Reading] = []
    for start in range(0, len(wanted), 5000):
        query = _states(None).where(tables.targets.c.id.in_(wanted[start : start + 5000]))
        found += (_Reading(row, now) for row in connection.execute(query))
    said = _answers(connection, found)
    return {status.id: status for status in (reading.status(said) for reading in found)}


_STATE = (*(tables.target_states.c[name] for name in codec.STATE_COLUMNS),)


def _states(project: str | None) -> sa.Select[Any]:
    t, s = tables.targets.c, tables.target_states.c
    query = (
        sa.select(
            *_STATE, t.id, t.project_id, tables.projects.c.name.label("project"), t.probe, t.key, t.model, t.host, t.interval,
            s.answer_id, s.latency_us, s.request_id, s.retry_after, s.hit, s.limits, s.limits_at,
        )
        .select_from(tables.targets)
        .outerjoin(tables.projects, tables.projects.c.id == t.project_id)
        .outerjoin(tables.target_states, s.target_id == t.id)
        .where(t.active == 1)
    )  # fmt: skip
    return query.where(tables.projects.c.name == project) if project is not None else query


class _Reading:
    """A target's row, read as far as every caller needs; `status` reads the rest."""

    __slots__ = ("_row", "brief", "state", "target")

    def __init__(self, row: Row[Any], now: datetime) -> None:
        self._row = row
        self.target = target_of(row.project, row.probe, row.key, row.model, row.host)
        self.state = codec.state_of(row[: len(_STATE)]) if row.health else HealthState()
        health = fresh_health(self.state, timedelta(milliseconds=row.interval), now)
        self.brief = TargetHealth(self.target.probe, health, self.state.failure, self.state.since)

    @property
    def answer_id(self) -> int | None:
        """The row of what it said last."""
        found: int | None = self._row.answer_id
        return found

    def status(self, said: dict[int, Row[Any]]) -> TargetStatus:
        """All of it."""
        row, state = self._row, self.state
        answer = said.get(row.answer_id)
        return TargetStatus(
            id=row.id,
            target=self.target,
            interval=timedelta(milliseconds=row.interval),
            health=self.brief.health,
            since=state.since,
            failure=state.failure,
            suspect=state.suspect,
            last_at=state.last_at,
            last_ok_at=state.last_ok_at,
            verdict=Verdict(answer.verdict) if answer else None,
            last_failure=codec.kind_of(answer.failure) if answer else None,
            status=answer.status if answer else None,
            code=answer.code if answer else None,
            type=answer.type if answer else None,
            param=answer.param if answer else None,
            message=answer.message if answer else None,
            request_id=row.request_id,
            latency_ms=codec.milliseconds(row.latency_us),
            retry_after=row.retry_after,
            scope=Scope(answer.scope) if answer and answer.scope else None,
            hit=codec.hit_of(row.hit),
            hint=answer.hint if answer else None,
            missing_scopes=tuple(answer.missing_scopes.split()) if answer and answer.missing_scopes else (),
            finding=answer.finding if answer else None,
            project_echo=answer.project_echo if answer else None,
            limits=codec.limits_of(row.limits),
            limits_at=codec.moment(row.limits_at),
        )


def well(now: datetime) -> sa.Case[int]:
    """1 where a target is healthy, not suspect, and its answer as new as `fresh_health` asks; else 0."""
    t, s, at = tables.targets.c, tables.target_states.c, to_us(now)
    allowed = t.interval * sa.literal(round(HealthPolicy().stale_after * 1000), Int) // 1000
    least = sa.literal(STALE_AT_LEAST // timedelta(milliseconds=1), Int)
    # Neither older nor from further ahead than that: in whole milliseconds, as answers are kept.
    first, last = sa.literal(-(-at // 1000), Int), sa.literal(at // 1000, Int)
    fresh = (
        sa.or_(s.last_at >= first - least, s.last_at >= first - allowed),
        sa.or_(s.last_at <= last + least, s.last_at <= last + allowed),
    )
    # The last check that told anything failed for some kind of reason, or for none.
    return sa.case((sa.and_(s.health == Health.HEALTHY.value, s.failure.is_(None), s.last_kind.is_(None), *fresh), 1), else_=0)


def _answers(connection: Connection, readings: Iterable[_Reading]) -> dict[int, Row[Any]]:
    """What was said last, by its row."""
    wanted = sorted({reading.answer_id for reading in readings if reading.answer_id is not None})
    found: dict[int, Row[Any]] = {}
    for start in range(0, len(wanted), 5000):
        rows = connection.execute(sa.select(tables.answers).where(tables.answers.c.id.in_(wanted[start : start + 5000])))
        found |= {row.id: row for row in rows}
    return found


def _worst_first(status: TargetStatus) -> tuple[Any, ...]:
    target = status.target
    return (-status.health.rank, target.project or "", list(ProbeKind).index(target.probe), target.key or "", target.model or "")
