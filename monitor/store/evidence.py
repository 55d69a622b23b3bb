"""Raw observations: single answers as they were given, those that were packed included."""

import json
from collections.abc import Iterable
from datetime import datetime
from heapq import nsmallest
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, Row

from monitor.domain.observation import Verdict
from monitor.domain.timeline import Window, to_ms
from monitor.store import codec, packs, tables
from monitor.store.engine import reading
from monitor.store.frames import frame
from monitor.store.packs import Answer
from monitor.store.register import target_of
from monitor.store.status import EvidenceFilter
from monitor.store.tables import HOUR, MINUTE, PROBES

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = (
    "target_id", "at", "project", "key", "probe", "model", "verdict", "failure", "lane", "status", "code", "type", "param",
    "message", "request_id", "latency_ms", "processing_ms", "scope", "retry_after", "hint",
)  # fmt: skip
_FIRST_LOOK = 15 * MINUTE
_ANY = EvidenceFilter()
_AT_ONCE = 5_000


def observations(
    engine: Engine,
    window: Window,
    where: EvidenceFilter = _ANY,
    limit: int = 500,
    offset: int = 0,
) -> "pd.DataFrame":
    """Raw observations, newest first: `target_id, at, project, key, probe, model, verdict, failure, lane, status, code, type,
    param, message, request_id, latency_ms, processing_ms, scope, retry_after, hint`.
    """
    start, end = to_ms(window.start), to_ms(window.end)
    most = limit + offset
    query = _query(where).limit(most)
    at = tables.observations.c.at
    look = _FIRST_LOOK if not _only_notable(where) else end - start
    with reading(engine) as connection:
        # Raw rows lie by target: the newest of all are found by looking at the last moments first, then further back.
        while True:
            since = max(start, end - look)
            rows: list[Any] = list(connection.execute(query.where(at >= since, at < end)))
            if not _only_notable(where):
                rows = nsmallest(most, [*rows, *_packed(connection, where, since, end, most)], _newest_first)
            if len(rows) >= most or since == start:
                return frame(_COLUMNS, [_shown(row) for row in rows[offset:]])
            look *= 8


def observation(engine: Engine, target_id: int, at: datetime) -> dict[str, Any] | None:
    """Everything stored of one observation, limits and redacted body included; None where it is not, or no longer, there.

    The body is kept for the first of a run of equal answers.
    """
    if not 0 <= target_id < 2**63:
        return None  # no row has that number, and no column takes it
    o, moment = tables.observations.c, to_ms(at)
    query = joined().where(o.target_id == target_id, o.at == moment)
    with reading(engine) as connection:
        row: Any = connection.execute(query).first()
        if row is None:
            hour = moment - moment % HOUR
            row = next(iter(whole(connection, packs.of_hour(connection, hour, moment, moment + 1, [target_id]))), None)
    if row is None:
        return None
    stored = json.loads(row.evidence) if row.evidence else {}
    found = dict(zip(_COLUMNS, _shown(row), strict=True))
    return found | {
        "at": at,
        "missing_scopes": row.missing_scopes.split() if row.missing_scopes else [],
        "finding": row.finding,
        "project_echo": row.project_echo,
        "organization_echo": row.organization_echo,
        "classifier_version": row.classifier_version,
        "hit": stored.get("hit"),
        "limits": stored.get("limits", []),
        "tokens": stored.get("tokens", 0),
        "body": stored.get("body"),
    }


# --- rows ----------------------------------------------------------------------------------------------------------------

_OWN = ("target_id", "at", "latency_us", "processing_us", "request_id", "evidence")
_PLACE = ("probe", "key", "model", "host")


def joined() -> sa.Select[Any]:
    """Raw rows with the columns of what they point at."""
    o, t, a, p = tables.observations.c, tables.targets.c, tables.answers.c, tables.projects.c
    return (
        sa.select(
            *(o[name] for name in _OWN),
            *(t[name] for name in _PLACE),
            p.name.label("project"),
            *(a[name] for name in codec.ANSWER_COLUMNS),
        )
        .select_from(tables.targets)
        .join(tables.observations, o.target_id == t.id)
        .join(tables.answers, a.id == o.answer_id)
        .outerjoin(tables.projects, p.id == t.project_id)
    )


def _query(where: EvidenceFilter) -> sa.Select[Any]:
    o, t, a = tables.observations.c, tables.targets.c, tables.answers.c
    query = joined().where(*_of_targets(where)).order_by(o.at.desc(), o.target_id)
    exact = {a.verdict: where.verdict, a.failure: where.failure, a.status: where.status, o.request_id: where.request_id}
    for column, value in exact.items():
        if value is not None:
            query = query.where(column == value)
    if where.lane is not None:
        query = query.where(a.failure.in_(codec.kinds(where.lane)))
    if _only_notable(where):
        return query.where(tables.NOTABLE)
    # Each target's newest rows are sought by themselves; told of a join alone, SQLite reads every row there is.
    return query.where(o.target_id.in_(sa.select(t.id).correlate(None)))


def _of_targets(where: EvidenceFilter) -> list[sa.ColumnElement[bool]]:
    """What the filter asks of targets and their projects."""
    t = tables.targets.c
    exact: dict[Any, Any] = {tables.projects.c.name: where.project, t.key: where.key, t.model: where.model}
    found = [column == value for column, value in exact.items() if value is not None]
    return found if where.probe is None else [*found, t.probe == PROBES[where.probe]]


def _only_notable(where: EvidenceFilter) -> bool:
    """Whether the filter asks for answers that the index of notable ones holds, and that are never packed."""
    ill = where.verdict in (Verdict.FAILED, Verdict.INCONCLUSIVE)
    return ill or where.lane is not None or where.failure is not None or where.request_id is not None


def _packed(connection: Connection, where: EvidenceFilter, since: int, until: int, most: int) -> "list[_Packed]":
    """At least the newest so many packed answers that the filter asks for."""
    t, a = tables.targets.c, tables.answers.c
    wanted, more = None, []
    if asked := _of_targets(where):
        wanted = sa.select(t.id).outerjoin_from(tables.targets, tables.projects, tables.projects.c.id == t.project_id).where(*asked)
    if where.status is not None:
        more = [sa.exists().where(a.id == tables.packs.c.answer_id, a.status == where.status)]
    found: list[Answer] = []
    for start in reversed(packs.hours(connection, since, until)):
        found += packs.of_hour(connection, start, since, until, wanted, *more)
        if len(found) >= most:
            break  # those of earlier hours are older
    return whole(connection, nsmallest(most, found, _newest_first))


class _Packed(NamedTuple):
    """A packed answer with what it points at: reads as a row of `joined` does."""

    target_id: int
    at: int
    latency_us: int | None
    processing_us: int | None
    probe: int
    key: str
    model: str
    host: str
    project: str | None
    verdict: str
    failure: None
    status: int | None
    code: str | None
    type: str | None
    param: str | None
    message: str | None
    scope: str | None
    hint: str | None
    missing_scopes: str | None
    finding: None
    project_echo: str | None
    organization_echo: str | None
    classifier_version: int
    request_id: None = None
    evidence: None = None


def whole(connection: Connection, told: Iterable[Answer]) -> list[_Packed]:
    """Packed answers with the columns of what they point at, in their order."""
    told = list(told)
    t, a, p = tables.targets.c, tables.answers.c, tables.projects.c
    places = sa.select(t.id, *(t[name] for name in _PLACE), p.name).outerjoin_from(
        tables.targets, tables.projects, p.id == t.project_id
    )
    place = _by_number(connection, places, t.id, {one.target_id for one in told})
    said = _by_number(
        connection, sa.select(a.id, *(a[name] for name in codec.ANSWER_COLUMNS)), a.id, {one.answer_id for one in told}
    )
    return [
        _Packed(one.target_id, one.at, one.latency_us, one.processing_us, *place[one.target_id], *said[one.answer_id])
        for one in told
    ]


def _by_number(connection: Connection, query: sa.Select[Any], number: Any, wanted: set[int]) -> dict[int, tuple[Any, ...]]:
    """Rows by the number that comes first in them."""
    ordered = sorted(wanted)
    found: dict[int, tuple[Any, ...]] = {}
    for first in range(0, len(ordered), _AT_ONCE):
        for key, *rest in connection.execute(query.where(number.in_(ordered[first : first + _AT_ONCE]))):
            found[key] = tuple(rest)
    return found


def _newest_first(row: Any) -> tuple[int, int]:
    return -row.at, row.target_id


def _shown(row: Row[Any] | _Packed) -> tuple[Any, ...]:
    target = target_of(row.project, row.probe, row.key, row.model, row.host)
    kind = codec.kind_of(row.failure)
    retry_after = json.loads(row.evidence).get("retry_after") if row.evidence else None
    return (
        row.target_id, row.at, row.project, target.key, target.probe.value, target.model, row.verdict, row.failure,
        kind.lane.value if kind else None, row.status, row.code, row.type, row.param, row.message, row.request_id,
        codec.milliseconds(row.latency_us), codec.milliseconds(row.processing_us), row.scope, retry_after, row.hint,
    )  # fmt: skip
