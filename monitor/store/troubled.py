"""Everything that is ill, suspected or unsettled now, with the answer that says so: what incidents are made of."""

from collections.abc import Collection, Iterator
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Engine

from monitor.domain.health import Health, HealthState
from monitor.domain.inventory import Target
from monitor.domain.observation import Observation, Verdict
from monitor.domain.taxonomy import Scope
from monitor.domain.timeline import from_ms
from monitor.store import codec
from monitor.store.engine import reading
from monitor.store.register import target_of
from monitor.store.tables import answers, projects, target_states, targets

_T, _S, _A = targets.c, target_states.c, answers.c
_ILL = sa.or_(
    _S.health.in_([Health.FAILING.value, Health.DEGRADED.value]),
    _S.recent.like("%0"),  # the last check failed: suspect
    _S.flapping == 1,
)
_PLACE = (projects.c.name, _T.probe, _T.key, _T.model, _T.host)
_MOST = 5000


def newest(engine: Engine) -> dict[int, tuple[Target, datetime]]:
    """The targets by their rows, and when each answered last."""
    query = (
        sa.select(_T.id, _S.last_at, *_PLACE)
        .join_from(targets, target_states, _S.target_id == _T.id)
        .outerjoin(projects, projects.c.id == _T.project_id)
        .where(_T.active == 1, _S.last_at.is_not(None), _ILL)
    )
    with reading(engine) as connection:
        return {number: (target_of(*place), from_ms(at)) for number, at, *place in connection.execute(query)}


def read(engine: Engine, rows: Collection[int]) -> Iterator[tuple[Observation, HealthState]]:
    """The last answer that moved the health of each of these targets, as far as it is kept, and the health after it."""
    state = [_S[name] for name in codec.STATE_COLUMNS]
    said = (_A.verdict, _A.failure, _A.status, _A.code, _A.type, _A.param, _A.message, _A.scope, _A.hint, _A.missing_scopes)
    rest = (_A.finding, _A.project_echo, _A.organization_echo, _S.latency_us, _S.request_id, _S.retry_after, _S.hit)
    query = (
        sa.select(*state, *_PLACE, *said, *rest)
        .join_from(targets, target_states, _S.target_id == _T.id)
        .join(answers, _A.id == _S.answer_id)
        .outerjoin(projects, projects.c.id == _T.project_id)
    )
    wanted = sorted(rows)
    for start in range(0, len(wanted), _MOST):
        with reading(engine) as connection:
            found = connection.execute(query.where(_T.id.in_(wanted[start : start + _MOST]))).all()
        for row in found:
            health = codec.state_of(row[: len(state)])
            seen = Observation(
                target=target_of(*row[len(state) : len(state) + len(_PLACE)]),
                at=health.last_at or from_ms(0),
                verdict=Verdict(row.verdict),
                failure=codec.kind_of(row.failure),
                status=row.status,
                code=row.code,
                type=row.type,
                param=row.param,
                message=row.message,
                scope=Scope(row.scope) if row.scope else None,
                hint=row.hint,
                missing_scopes=tuple(row.missing_scopes.split()) if row.missing_scopes else (),
                finding=row.finding,
                project_echo=row.project_echo,
                organization_echo=row.organization_echo,
                latency_ms=codec.milliseconds(row.latency_us),
                request_id=row.request_id,
                retry_after=row.retry_after,
                hit=codec.hit_of(row.hit),
            )
            yield seen, health
