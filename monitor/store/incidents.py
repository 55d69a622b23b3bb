"""Incidents as stored: what `correlate` decided, the timeline, and the evidence that is frozen when one opens. Kept for ever.

The reading functions take any engine. Those that write are for the one service that keeps the incidents.
"""

import functools
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, Row

from monitor.domain.diagnosis import Diagnosis
from monitor.domain.incidents import Cause, Change, Event, EventKind, Incident, IncidentRecord, OpenIncidents, Severity
from monitor.domain.taxonomy import FailureKind, Lane, Owner, Scope
from monitor.domain.timeline import Window, from_ms, to_ms
from monitor.domain.words import Confidence
from monitor.store import around, codec, dialect, meta, story, tables
from monitor.store.engine import reading, writing
from monitor.store.freeze import Freezer

_HIT = ("projects", "keys", "models", "services", "owners", "environments")

# --- writing -------------------------------------------------------------------------------------------------------------


def apply(engine: Engine, changes: Sequence[Change], now: datetime) -> list[Incident]:
    """Store what changed, all or nothing; the incidents come back in order, with their ids.

    One without an id is new, and its evidence is frozen in the same transaction. An acknowledgement that was stored meanwhile
    stays, unless the incident was reopened since.
    """
    if not changes:
        return []
    with writing(engine) as connection:
        fresh = [change.incident for change in changes if change.incident.id is None]
        freezer = Freezer(connection, fresh, now) if fresh else None
        stored = [_change(connection, each.incident) if each.incident.id else each.incident for each in changes]
        if freezer is not None:
            stored = [each if each.id else _open(connection, each, freezer.evidence(each), to_ms(now)) for each in stored]
        for incident, change in zip(stored, changes, strict=True):
            _link(engine, connection, incident)
            _say(connection, incident.id, change.events)
        meta.bump(connection)
    return stored


def _open(connection: Connection, incident: Incident, evidence: dict[str, Any], now: int) -> Incident:
    if incident.last_good_at is None and (good := evidence["last_good"]):
        incident = replace(incident, last_good_at=datetime.fromisoformat(good["at"]))
    number = connection.execute(sa.insert(tables.incidents).returning(tables.incidents.c.id), _row(incident)).scalar_one()
    frozen = {"incident_id": number, "at": now, "evidence": _json(evidence)}
    connection.execute(sa.insert(tables.incident_evidence), frozen)
    return replace(incident, id=number)


def _change(connection: Connection, incident: Incident) -> Incident:
    c, row = tables.incidents.c, _row(incident)
    if incident.acknowledged_at is None:
        for name in ("acknowledged_at", "acknowledged_by"):
            row[name] = sa.case((c.reopened == incident.reopened, c[name]), else_=None)
    connection.execute(sa.update(tables.incidents).where(c.id == incident.id).values(row))
    return incident


def _link(engine: Engine, connection: Connection, incident: Incident) -> None:
    rows = [(codec.clean(name), incident.id) for name in incident.projects]
    dialect.insert(engine, tables.incident_projects, ignore=True).run(connection, rows)


def _say(connection: Connection, number: int | None, events: Sequence[Event]) -> None:
    if events:
        rows = [
            {
                "incident_id": number,
                "at": to_ms(event.at),
                "kind": event.kind.value,
                "text": codec.said(event.text),
                "by": codec.said(event.by),
            }
            for event in events
        ]
        connection.execute(sa.insert(tables.incident_events), rows)


def add_event(engine: Engine, incident_id: int, event: Event) -> bool:
    """Add a line to the timeline; False where there is no such incident."""
    return update(engine, incident_id, event)


def update(engine: Engine, incident_id: int, event: Event, **changed: Any) -> bool:
    """Change fields of an incident (`acknowledged_at`, `acknowledged_by`, …) and tell it; False where there is no such incident."""
    with writing(engine) as connection:
        return write_update(connection, engine, incident_id, event, **changed)


def write_update(connection: Connection, engine: Engine, incident_id: int, event: Event, **changed: Any) -> bool:
    """The same within a transaction."""
    query = sa.select(tables.incidents).where(tables.incidents.c.id == codec.number(incident_id)).with_for_update()
    row = connection.execute(query).first()
    if row is None:
        return False
    if changed:
        new = replace(_incident(row), **changed)
        connection.execute(sa.update(tables.incidents).where(tables.incidents.c.id == incident_id).values(_row(new)))
        _link(engine, connection, new)
    _say(connection, incident_id, [event])
    meta.bump(connection)
    return True


# --- reading -------------------------------------------------------------------------------------------------------------

_NEWEST = (tables.incidents.c.opened_at.desc(), tables.incidents.c.id.desc())


def open_ones(engine: Engine) -> list[Incident]:
    """Those that go on, oldest first."""
    c = tables.incidents.c
    return _asked(engine, sa.select(tables.incidents).where(c.resolved_at.is_(None)).order_by(c.opened_at, c.id))


def recently_resolved(engine: Engine, since: datetime) -> list[Incident]:
    """Those that ended at `since` or later, by themselves: one that was merged went on as another."""
    c = tables.incidents.c
    query = sa.select(tables.incidents).where(c.resolved_at >= to_ms(since), c.merged_into.is_(None))
    return _asked(engine, query.order_by(c.resolved_at.desc(), c.id.desc()))


def find(
    engine: Engine, since: datetime | None = None, open_only: bool = False, project: str | None = None, limit: int = 200
) -> list[Incident]:
    """Newest first: those that went on at `since` or later, of one project or of all."""
    query = _find(since is not None and not open_only, open_only, project is not None)
    given = {"limit": limit, "since": codec.at_ms(since), "project": codec.clean(project)}
    with reading(engine) as connection:
        return [_incident(row) for row in connection.execute(query, given)]


@functools.cache
def _find(since: bool, open_only: bool, project: bool) -> sa.Select[Any]:
    """The question, made once: it is asked every second, and making it costs more than its answer."""
    c, hit = tables.incidents.c, tables.incident_projects.c
    query = sa.select(tables.incidents).order_by(*_NEWEST).limit(sa.bindparam("limit"))
    if open_only:
        query = query.where(c.resolved_at.is_(None))
    elif since:
        # Two seeks: asked in one, SQLite walks through all incidents there ever were.
        every = tables.incidents.alias().c
        ended = sa.select(every.id).where(every.resolved_at >= sa.bindparam("since"))
        query = query.where(c.id.in_(sa.select(every.id).where(every.resolved_at.is_(None)).union_all(ended)))
    if project:
        query = query.where(c.id.in_(sa.select(hit.incident_id).where(hit.project == sa.bindparam("project"))))
    return query


@dataclass(frozen=True, slots=True)
class IncidentFilter:
    """Which incidents; None is all."""

    since: datetime | None = None
    """Those that went on then or later."""
    open_only: bool = False
    project: str | None = None
    owner: str | None = None
    lane: str | None = None
    scope: str | None = None


def page(engine: Engine, where: IncidentFilter, first: int = 0, most: int = 50) -> list[Incident]:
    """Some of them, from the `first` (counted from 0) on: open ones first, of these the most severe, then what nobody has taken;
    then the newest.
    """
    c = tables.incidents.c
    goes_on = c.resolved_at.is_(None)
    severity = sa.case({each.value: each.rank + 1 for each in Severity}, value=c.severity, else_=0)
    order = (
        sa.case((goes_on, severity), else_=-1).desc(),
        sa.case((sa.and_(goes_on, c.acknowledged_at.is_(None)), 1), else_=0).desc(),
    )
    query = sa.select(c.id).where(*_conditions(where)).order_by(*order, *_NEWEST).limit(most).offset(first)
    with reading(engine) as connection:
        numbers = list(connection.execute(query).scalars())  # sorted without their long texts
        rows = connection.execute(sa.select(tables.incidents).where(c.id.in_(numbers)))
        found = {row.id: _incident(row) for row in rows}
    return [found[number] for number in numbers]


def count(engine: Engine, where: IncidentFilter) -> tuple[int, int]:
    """How many there are, and how many of them go on."""
    c = tables.incidents.c
    others = (
        sa.select(sa.func.count()).select_from(tables.incidents).where(*_conditions(replace(where, open_only=False, since=None)))
    )
    over = c.resolved_at >= to_ms(where.since) if where.since is not None else c.resolved_at.is_not(None)
    with reading(engine) as connection:  # two seeks: asked in one, PostgreSQL looks through all incidents there ever were
        going_on = int(connection.execute(others.where(c.resolved_at.is_(None))).scalar_one())
        ended = 0 if where.open_only else int(connection.execute(others.where(over)).scalar_one())
    return going_on + ended, going_on


def going(engine: Engine) -> OpenIncidents:
    """What goes on, counted."""
    c = tables.incidents.c
    query = sa.select(c.severity, c.acknowledged_at, c.hit).where(c.resolved_at.is_(None))
    with reading(engine) as connection:
        rows = connection.execute(query).all()
    # Counted here: to group by texts as long as these takes the database three times as long.
    severities = {Severity(each) for each in {severity for severity, _, _ in rows}}
    hits: Counter[tuple[str, ...]] = Counter()
    for hit, many in Counter(hit for _, _, hit in rows).items():
        hits[_projects_of(hit)] += many
    return OpenIncidents(
        len(rows),
        sum(at is not None for _, at, _ in rows),
        max(severities, key=lambda each: each.rank, default=None),
        tuple(hits.items()),
    )


@functools.lru_cache(maxsize=16_384)
def _projects_of(hit: str) -> tuple[str, ...]:
    return tuple(json.loads(hit).get("projects", ()))


def _conditions(where: IncidentFilter) -> list[sa.ColumnElement[bool]]:
    c, hit, every = tables.incidents.c, tables.incident_projects.c, tables.incidents.alias().c
    found: list[sa.ColumnElement[bool]] = []
    if where.open_only:
        found.append(c.resolved_at.is_(None))
    elif where.since is not None:  # two seeks: asked in one, SQLite walks through all incidents there ever were
        ended = sa.select(every.id).where(every.resolved_at >= to_ms(where.since))
        found.append(c.id.in_(sa.select(every.id).where(every.resolved_at.is_(None)).union_all(ended)))
    if where.project is not None:
        found.append(c.id.in_(sa.select(hit.incident_id).where(hit.project == codec.clean(where.project))))
    if where.owner is not None:
        # Among the owners and nowhere else: no name can hold a quotation mark that is not written as two characters.
        name = _escaped(_json(where.owner))
        found.append(c.hit.like(f'%"owners":[%{name}%],"environments"%', escape="\\"))
    if where.lane is not None:
        found.append(c.lane == codec.clean(where.lane))
    if where.scope is not None:
        found.append(c.scope == codec.clean(where.scope))
    return found


def _escaped(text: str) -> str:
    for sign in ("\\", "%", "_"):
        text = text.replace(sign, f"\\{sign}")
    return text


def began(engine: Engine, window: Window, limit: int = 500) -> list[Incident]:
    """Those that were opened in the window, newest first, without those that another one explains."""
    c = tables.incidents.c
    query = sa.select(tables.incidents).where(
        c.opened_at >= to_ms(window.start), c.opened_at < to_ms(window.end), c.merged_into.is_(None)
    )
    return _asked(engine, query.order_by(*_NEWEST).limit(limit))


def record(engine: Engine, incident_id: int) -> IncidentRecord | None:
    """An incident with its whole story and its evidence, or None where there is no such incident."""
    number, e = codec.number(incident_id), tables.incident_events.c
    with reading(engine) as connection:
        row = connection.execute(sa.select(tables.incidents).where(tables.incidents.c.id == number)).first()
        if row is None:
            return None
        told = connection.execute(sa.select(e.at, e.kind, e.text, e.by).where(e.incident_id == number).order_by(e.at, e.id)).all()
        f = tables.incident_evidence.c
        frozen = connection.execute(sa.select(f.evidence).where(f.incident_id == number)).scalar()
        incident, evidence = _incident(row), json.loads(frozen) if frozen else {}
        events = [Event(from_ms(at), EventKind(kind), text, by) for at, kind, text, by in told]
        whole = story.read(connection, incident, events, evidence)
        changed = around.changes_of(connection, incident)
        return IncidentRecord(incident, whole, evidence, changed, *around.not_known(connection, incident.projects))


def similar(engine: Engine, incident: Incident, limit: int = 5) -> list[Incident]:
    """Earlier ones that are over: those with the same failure and scope (of the same subject first), then those of the same
    subject; each newest first.
    """
    c = tables.incidents.c
    same_subject = c.subject == codec.clean(incident.cause.subject)
    same_failure = sa.and_(c.failure == incident.failure.value, c.scope == incident.cause.scope.value)
    past = sa.select(tables.incidents).where(
        c.opened_at <= to_ms(incident.opened_at), c.resolved_at.is_not(None), c.merged_into.is_(None)
    )
    if incident.id is not None:
        past = past.where(c.id != incident.id)
    found: dict[int, Incident] = {}
    with reading(engine) as connection:
        for alike in (sa.and_(same_failure, same_subject), same_failure, same_subject):
            for row in connection.execute(past.where(alike).order_by(*_NEWEST).limit(limit)):
                found.setdefault(row.id, _incident(row))
    return list(found.values())[:limit]


def _asked(engine: Engine, query: sa.Select[Any]) -> list[Incident]:
    with reading(engine) as connection:
        return [_incident(row) for row in connection.execute(query)]


# --- rows ----------------------------------------------------------------------------------------------------------------


def _row(incident: Incident) -> dict[str, Any]:
    """All columns but the id."""
    cause = incident.cause
    return {
        "scope": cause.scope.value,
        "lane": cause.lane.value,
        "subject": codec.clean(cause.subject),
        "failure": incident.failure.value,
        "severity": incident.severity.value,
        "title": codec.clean(incident.title),
        "first_bad_at": to_ms(incident.first_bad_at),
        "last_good_at": codec.at_ms(incident.last_good_at),
        "opened_at": to_ms(incident.opened_at),
        "named_at": codec.at_ms(incident.named_at),
        "acknowledged_at": codec.at_ms(incident.acknowledged_at),
        "acknowledged_by": codec.said(incident.acknowledged_by),
        "resolved_at": codec.at_ms(incident.resolved_at),
        "reopened": incident.reopened,
        "merged_into": incident.merged_into,
        "ill": incident.ill,
        "diagnosis": _json(asdict(incident.diagnosis)),
        "hit": _json({name: getattr(incident, name) for name in _HIT}),
    }


_COLUMNS = tuple(column.name for column in tables.incidents.c)


def _incident(row: Row[Any]) -> Incident:
    """Of a row with every column of the table, in its order."""
    return _read(tuple(row))


@functools.lru_cache(maxsize=16_384)
def _read(values: tuple[Any, ...]) -> Incident:
    """A row as an incident. Kept: the same rows are read again with every look, and few of them have changed."""
    row = dict(zip(_COLUMNS, values, strict=True))
    hit = {name: tuple(names) for name, names in json.loads(row["hit"]).items() if name in _HIT}
    return Incident(
        cause=Cause(Scope(row["scope"]), Lane(row["lane"]), row["subject"]),
        failure=codec.kind_of(row["failure"]) or FailureKind.UNKNOWN,
        severity=Severity(row["severity"]),
        first_bad_at=from_ms(row["first_bad_at"]),
        opened_at=from_ms(row["opened_at"]),
        title=row["title"],
        diagnosis=_diagnosis(json.loads(row["diagnosis"])),
        last_good_at=codec.moment(row["last_good_at"]),
        named_at=codec.moment(row["named_at"]),
        acknowledged_at=codec.moment(row["acknowledged_at"]),
        acknowledged_by=row["acknowledged_by"],
        resolved_at=codec.moment(row["resolved_at"]),
        reopened=row["reopened"],
        merged_into=row["merged_into"],
        ill=row["ill"],
        id=row["id"],
        **hit,
    )


_SAID = frozenset(field.name for field in fields(Diagnosis))


def _diagnosis(facts: Mapping[str, Any]) -> Diagnosis:
    """The inverse of `asdict`; what another version said besides is left out."""
    known: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in facts.items() if name in _SAID
    }
    if isinstance(known.get("plain"), dict):
        known["plain"] = _diagnosis(known["plain"])
    return Diagnosis(**known | {"confidence": Confidence(known["confidence"]), "owner": Owner(known["owner"])})


def _json(value: Any) -> str:
    """Compact JSON that every database takes: half a surrogate pair becomes a question mark."""
    return codec.dumps(value).encode("utf-8", "replace").decode()
