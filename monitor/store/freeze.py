"""The evidence of an incident, taken when it opens: what observations said is pruned one day, this is not."""

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from monitor.domain.incidents import Incident
from monitor.domain.inventory import Target
from monitor.domain.observation import Verdict
from monitor.domain.redact import redact
from monitor.domain.taxonomy import Scope
from monitor.domain.timeline import from_ms, to_ms
from monitor.store import codec, evidence, packs, tables
from monitor.store.register import target_of

_LOOK_BACK = 3_600_000
"""Errors are counted from the first bad answer on, or this long before now, where it is longer ago."""
_MOST_ROWS = 20_000
_MOST_REQUEST_IDS = 10
_MOST_ERRORS = 50
_MOST_LIMITS = 100
_MOST_PROJECTS = 20
_AT_ONCE = 500


class Freezer:
    """Reads once what all incidents of a batch need; `evidence` then sorts it by incident."""

    def __init__(self, connection: Connection, incidents: Sequence[Incident], now: datetime) -> None:
        self._connection = connection
        self._now = to_ms(now)
        at = tables.observations.c.at
        starts = sorted({to_ms(incident.first_bad_at) for incident in incidents})
        since = max(starts[0], self._now - _LOOK_BACK)
        newest = _notable().where(at.between(since, self._now)).order_by(at.desc()).limit(_MOST_ROWS)
        rows = list(connection.execute(newest))
        old = [start for start in starts if start < since or len(rows) == _MOST_ROWS]
        for first in range(0, len(old), _AT_ONCE):
            rows += connection.execute(_notable().where(at.in_(old[first : first + _AT_ONCE])).limit(_MOST_ROWS))
        unique = {(row.target_id, row.at): row for row in rows}
        self._bad: dict[str | None, list[tuple[Target, Row[Any]]]] = defaultdict(list)
        """By project, oldest first."""
        for _, row in sorted(unique.items(), key=lambda item: (item[0][1], item[0][0])):
            self._bad[row.project].append((_target(row), row))
        self._config = self._effective_config()

    def evidence(self, incident: Incident) -> dict[str, Any]:
        """As `IncidentRecord.evidence` says."""
        start, lane, is_hit = to_ms(incident.first_bad_at), incident.cause.lane.value, hit_by(incident)
        places = (None, *incident.projects)
        bad = [(target, row) for place in places for target, row in self._bad.get(place, ()) if row.at >= start and is_hit(target)]
        bad.sort(key=lambda pair: pair[1].at)
        # Another kind may come first in one illness: a time-out, then the 401 that explains it.
        first = min(bad, key=lambda pair: (pair[1].at != start, _lane(pair[1]) != lane), default=None)
        alike = [row for target, row in bad if _lane(row) == lane or (first and target == first[0])]
        shown: dict[str, Any] = {
            "first_bad": _facts(*first) if first else None,
            "last_good": self._last_good(*first) if first else None,
            "errors": _errors(alike),
            "limits": self._limits(incident, is_hit),
            "config": self._config_of(incident),
        }
        return _redacted(shown)  # type: ignore[no-any-return]

    def _last_good(self, target: Target, row: Row[Any]) -> dict[str, Any] | None:
        """The last good answer of the target before it failed; not sought further back than thirty days."""
        o = tables.observations.c
        before = row.at - timedelta(days=30) // timedelta(milliseconds=1)
        query = _joined().where(o.target_id == row.target_id, o.at < row.at, o.at >= before)
        query = query.where(tables.answers.c.verdict == Verdict.OK.value).order_by(o.at.desc()).limit(1)
        found: Any = self._connection.execute(query).first()
        packed = packs.newest_before(self._connection, row.target_id, row.at, found.at if found else before)
        if packed is not None and (found is None or packed.at > found.at):
            found = evidence.whole(self._connection, [packed])[0]
        return _facts(target, found) if found else None

    def _limits(self, incident: Incident, is_hit: Callable[[Target], bool]) -> list[dict[str, Any]]:
        """What the headers said last, of the targets that were hit."""
        t, s, p = tables.targets.c, tables.target_states.c, tables.projects.c
        shown: list[dict[str, Any]] = []
        for first in range(0, len(incident.projects), _AT_ONCE):
            names = incident.projects[first : first + _AT_ONCE]
            query = (
                sa.select(p.name.label("project"), t.probe, t.key, t.model, t.host, s.limits, s.limits_at)
                .select_from(tables.projects)
                .join(tables.targets, t.project_id == p.id)
                .join(tables.target_states, s.target_id == t.id)
                .where(p.name.in_(names), s.limits.is_not(None))
                .order_by(p.name, t.key, t.model)
            )
            for row in self._connection.execute(query):
                target = _target(row)
                if is_hit(target):
                    seen = {"at": _moment(row.limits_at), "limits": json.loads(row.limits)}
                    shown.append({"project": target.project, "key": target.key, "model": target.model} | seen)
                    if len(shown) == _MOST_LIMITS:
                        return shown
        return shown

    def _effective_config(self) -> dict[str, Any]:
        c = tables.effective_config.c
        text = self._connection.execute(sa.select(c.text).order_by(c.id.desc()).limit(1)).scalar()
        return json.loads(text) if text else {}

    def _config_of(self, incident: Incident) -> dict[str, Any]:
        """The projects that were hit (the first twenty) as configured, and what holds for all."""
        hit = set(incident.projects[:_MOST_PROJECTS])
        projects = self._config.get("projects")
        known = [one for one in projects if isinstance(one, dict) and one.get("name") in hit] if isinstance(projects, list) else []
        return {name: value for name, value in self._config.items() if name != "projects"} | {"projects": known}


def _joined() -> sa.Select[Any]:
    o, t, a = tables.observations.c, tables.targets.c, tables.answers.c
    said = (a.verdict, a.failure, a.status, a.code, a.type, a.param, a.message, a.scope, a.hint, a.missing_scopes, a.finding)
    echoes = (a.project_echo, a.organization_echo)
    place = (t.probe, t.key, t.model, t.host, tables.projects.c.name.label("project"))
    return (
        sa.select(o.target_id, o.at, o.latency_us, o.processing_us, o.request_id, o.evidence, *place, *said, *echoes)
        .select_from(tables.observations)
        .join(tables.targets, t.id == o.target_id)
        .join(tables.answers, a.id == o.answer_id)
        .outerjoin(tables.projects, tables.projects.c.id == t.project_id)
    )


def _notable() -> sa.Select[Any]:
    return _joined().where(tables.NOTABLE, tables.answers.c.verdict == Verdict.FAILED.value)


def _target(row: Row[*tuple[Any, ...]]) -> Target:
    return target_of(row.project, row.probe, row.key, row.model, row.host)


def hit_by(incident: Incident) -> Callable[[Target], bool]:
    """Whether a target is one of those that the incident hits."""
    cause, keys, models = incident.cause, frozenset(incident.keys), frozenset(incident.models)

    def is_hit(target: Target) -> bool:
        if target.project is None:
            return cause.scope in (Scope.OPENAI, Scope.MONITOR) and cause.subject in ("", target.host)
        return f"{target.project}/{target.key}" in keys and (cause.scope is not Scope.MODEL or target.model in models)

    return is_hit


def _lane(row: Row[Any]) -> str | None:
    kind = codec.kind_of(row.failure)
    return kind.lane.value if kind else None


def _moment(at: int) -> str:
    return from_ms(at).isoformat(timespec="milliseconds")


def _facts(target: Target, row: Row[Any]) -> dict[str, Any]:
    """One observation, JSON-ready: times are ISO 8601, lengths milliseconds; only what is known."""
    stored = json.loads(row.evidence) if row.evidence else {}
    facts = {
        "at": _moment(row.at),
        "target_id": row.target_id,
        "project": target.project,
        "key": target.key,
        "probe": target.probe.value,
        "model": target.model,
        "host": target.host,
        **{name: getattr(row, name) for name in ("verdict", "failure", "status", "code", "type", "param", "message", "request_id")},
        "latency_ms": codec.milliseconds(row.latency_us),
        "processing_ms": codec.milliseconds(row.processing_us),
        **{name: getattr(row, name) for name in ("scope", "hint", "finding", "project_echo", "organization_echo")},
        "missing_scopes": row.missing_scopes.split() if row.missing_scopes else None,
        **{name: stored.get(name) for name in ("retry_after", "hit", "limits", "tokens", "body")},
    }
    return {name: value for name, value in facts.items() if value is not None}


def _errors(rows: Sequence[Row[Any]]) -> list[dict[str, Any]]:
    """Each distinct error, the commonest first; `rows` are oldest first."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows:
        said = (row.failure, row.status, row.code, row.message)
        error = found.get(said)
        if error is None:
            facts = dict(zip(("failure", "status", "code", "message"), said, strict=True))
            error = found[said] = facts | {"count": 0, "request_ids": [], "first": _moment(row.at)}
        error["count"] += 1
        error["last"] = _moment(row.at)
        if row.request_id and len(error["request_ids"]) < _MOST_REQUEST_IDS:
            error["request_ids"].append(row.request_id)
    return sorted(found.values(), key=lambda error: -error["count"])[:_MOST_ERRORS]


def _redacted(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {name: _redacted(item) for name, item in value.items()}
    return [_redacted(item) for item in value] if isinstance(value, list) else value
