"""How things stand now: the state of keys and targets, read from one row a target."""

import json
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, Row

from monitor.domain.health import HealthState, TargetHealth, fresh_health, lamps
from monitor.domain.inventory import KeyKind, ProbeKind
from monitor.domain.observation import Verdict
from monitor.domain.taxonomy import Lane, Scope
from monitor.domain.timeline import from_ms
from monitor.store import codec, meta, tables
from monitor.store.engine import reading
from monitor.store.register import target_of
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
        checks: dict[tuple[str, str], list[_Reading]] = defaultdict(list)
        for row in connection.execute(_states(project)):
            checks[row.project, row.key].append(_Reading(row, now))
        auths = [one for found in checks.values() for one in found if one.target.probe is ProbeKind.AUTH]
        said = _answers(connection, auths)
    found = [_key_status(row, checks[row.name, row.label], said) for row in rows]
    return sorted(found, key=lambda key: (-key.health.rank, key.project, key.label))


def _key_status(row: Row[*tuple[Any, ...]], checks: list["_Reading"], said: dict[int, Row[Any]]) -> KeyStatus:
    lamp = lamps(check.brief for check in checks)[Lane.AUTH]
    auth = next((check for check in checks if check.target.probe is ProbeKind.AUTH), None)
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
        last_at=max((check.state.last_at for check in checks if check.state.last_at), default=None),
        last_ok_at=max((check.state.last_ok_at for check in checks if check.state.last_ok_at), default=None),
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
