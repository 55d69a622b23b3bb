"""What belongs to the story of an incident beside its own events: answers, changes of health, what changed, who was told."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby, pairwise
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from monitor.domain import story
from monitor.domain.changes import ChangeSource
from monitor.domain.health import Health
from monitor.domain.incidents import Event, EventKind, Incident
from monitor.domain.observation import Verdict
from monitor.domain.story import Run, Turn
from monitor.domain.timeline import Window, from_ms, to_ms
from monitor.store import codec, packs, tables
from monitor.store.freeze import hit_by
from monitor.store.register import target_of

_MOST_TURNS = 20_000
_MOST_CHANGES = 1_000
_MOST_CHECKS = 20
"""Checks whose answers are read one by one; where everything fails, they are as good as all."""
_LONGEST = timedelta(hours=12)
"""So long after its begin are single answers read: what goes on for days says the same again and again."""
_FOR_EVER = datetime(9000, 1, 1, tzinfo=UTC)
_TOLD = frozenset({EventKind.NOTIFIED, EventKind.NOT_NOTIFIED})


def read(connection: Connection, incident: Incident, events: Sequence[Event], evidence: Mapping[str, Any]) -> tuple[Event, ...]:
    """The whole story; `events` are the incident's own, oldest first."""
    window = story.window_of(incident, incident.resolved_at or _FOR_EVER)
    numbered = list(_turns(connection, incident, window))
    told = list(_told(connection, incident))
    if told:
        events = [event for event in events if event.kind not in _TOLD]
    changes = [
        *_configured(connection, incident, window),
        *_rotated(connection, incident, window),
        *_changed(connection, incident, window),
    ]
    runs = list(_runs(connection, incident, window, _first_hit(numbered, evidence)))
    return story.whole([*events, *told], [turn for _, turn in numbered], evidence, changes, runs)


def _turns(connection: Connection, incident: Incident, window: Window) -> Iterator[tuple[int, Turn]]:
    """The changes of health of what it hit with the numbers of the targets, oldest first."""
    c, t, p = tables.transitions.c, tables.targets.c, tables.projects.c
    is_hit = hit_by(incident)
    query = (
        sa.select(c.target_id, c.at, c.old, c.new, c.failure, p.name, t.probe, t.key, t.model, t.host)
        .join_from(tables.transitions, tables.targets, c.target_id == t.id)
        .outerjoin(tables.projects, p.id == t.project_id)
        .where(c.at >= to_ms(window.start), c.at < to_ms(window.end))
        .order_by(c.at, c.id)
        .limit(_MOST_TURNS)
    )
    if len(incident.projects) == 1:
        query = query.where(p.name == codec.clean(incident.projects[0]))
    for number, at, old, new, failure, name, *place in connection.execute(query):
        target = target_of(name, *place)
        if is_hit(target):
            yield number, Turn(from_ms(at), target, Health(old), Health(new), codec.kind_of(failure))


def _first_hit(numbered: Sequence[tuple[int, Turn]], evidence: Mapping[str, Any]) -> list[int]:
    """The numbers of the checks that it hit first."""
    frozen = evidence.get("first_bad")
    first = frozen.get("target_id") if isinstance(frozen, dict) else None
    ill = [number for number, turn in numbered if turn.failure is not None]
    return list(dict.fromkeys([*([first] if isinstance(first, int) else []), *ill]))[:_MOST_CHECKS]


def _runs(connection: Connection, incident: Incident, window: Window, numbers: Sequence[int]) -> Iterator[Run]:
    """Each change of what these checks said, with how often it was said on end."""
    o, a, t, p = tables.observations.c, tables.answers.c, tables.targets.c, tables.projects.c
    start, end = to_ms(window.start), to_ms(min(window.end, incident.first_bad_at + _LONGEST))
    raw = sa.select(o.target_id, o.at, o.answer_id).where(o.target_id.in_(numbers), o.at >= start, o.at < end)
    rows: list[tuple[int, int, int]] = [(number, at, answer_id) for number, at, answer_id in connection.execute(raw)]
    rows += [(one.target_id, one.at, one.answer_id) for one in packs.answers(connection, start, end, numbers)]
    alike = [(place, list(some)) for place, some in groupby(sorted(rows), key=itemgetter(0, 2))][:_MOST_CHANGES]
    places = sa.select(t.id, p.name, t.probe, t.key, t.model, t.host).select_from(tables.targets)
    places = places.outerjoin(tables.projects, p.id == t.project_id).where(t.id.in_(numbers))
    targets = {number: target_of(*rest) for number, *rest in connection.execute(places)}
    answers = sorted({answer_id for (_, answer_id), _ in alike})
    said = {row.id: row for row in connection.execute(sa.select(tables.answers).where(a.id.in_(answers)))}
    for (number, answer_id), some in alike:
        row = said[answer_id]
        facts = {"failure": row.failure, "status": row.status, "message": row.message}
        yield Run(targets[number], from_ms(some[0][1]), from_ms(some[-1][1]), len(some), row.verdict == Verdict.OK.value, facts)


def _configured(connection: Connection, incident: Incident, window: Window) -> Iterator[Event]:
    """Each change of the configuration in the window, told as what differs."""
    c = tables.effective_config.c
    start, end = to_ms(window.start), to_ms(window.end)
    before = sa.select(sa.func.max(c.id)).where(c.at < start).scalar_subquery()
    query = sa.select(c.at, c.text).where(sa.or_(c.id == before, sa.and_(c.at >= start, c.at < end))).order_by(c.id)
    rows = connection.execute(query.limit(_MOST_CHANGES)).all()
    for old, new in pairwise(rows):
        if event := story.configured(from_ms(new.at), json.loads(old.text), json.loads(new.text), incident.projects):
            yield event


def _rotated(connection: Connection, incident: Incident, window: Window) -> Iterator[Event]:
    """Each secret in the window that took the place of another one."""
    k, p = tables.keys.c, tables.projects.c
    start, end = to_ms(window.start), to_ms(window.end)
    replaced = tables.keys.alias().c
    query = (
        sa.select(replaced.replaced_at, p.name, k.label, replaced.fingerprint, k.fingerprint)
        .join_from(tables.keys, tables.projects, p.id == k.project_id)
        .where(
            replaced.project_id == k.project_id,
            replaced.label == k.label,
            replaced.id != k.id,
            # One that was used before and is back has kept its first day: what is used now follows what was replaced last.
            sa.or_(k.first_seen == replaced.replaced_at, sa.and_(k.active == 1, k.first_seen < replaced.replaced_at)),
            replaced.replaced_at >= start,
            replaced.replaced_at < end,
        )
        .order_by(replaced.replaced_at)
        .limit(_MOST_CHANGES)
    )
    if len(incident.projects) == 1:
        query = query.where(p.name == codec.clean(incident.projects[0]))
    hit = frozenset(incident.keys)
    for at, project, label, old, new in connection.execute(query):
        if f"{project}/{label}" in hit:
            yield story.rotated(from_ms(at), project, label, old, new)


def _changed(connection: Connection, incident: Incident, window: Window) -> Iterator[Event]:
    """What the organization changed: limits, keys, members, permissions. What changed here is told by the two above."""
    c = tables.change_events.c
    query = (
        sa.select(c.at, c.text, c.actor, c.project)
        .where(c.at >= to_ms(window.start), c.at < to_ms(window.end), c.source != ChangeSource.CONFIGURATION.value)
        .order_by(c.at, c.id)
        .limit(_MOST_CHANGES)
    )
    if len(incident.projects) == 1:
        query = query.where(
            sa.or_(c.project == codec.clean(incident.projects[0]), sa.and_(c.project.is_(None), c.project_id.is_(None)))
        )
    for at, text, actor, project in connection.execute(query):
        if project is None or project in incident.projects:
            yield Event(from_ms(at), EventKind.CHANGE, text, actor)


_NOT_TOLD = {"not_sent": "was not told", "waiting": "is still to be told", "failed": "could not be told"}


def _told(connection: Connection, incident: Incident) -> Iterator[Event]:
    """Who was told what and why, or why not."""
    c = tables.outbox.c
    query = (
        sa.select(c.at, c.finished_at, c.channel, c.reason, c.state, c.subject, c.text)
        .where(c.incident_id == incident.id)
        .order_by(c.id)
        .limit(_MOST_CHANGES)
    )
    for row in connection.execute(query):
        reason = row.reason.replace("_", " ")
        at = from_ms(row.at if row.finished_at is None else row.finished_at)
        if row.state == "delivered":
            yield Event(at, EventKind.NOTIFIED, f"“{row.channel}” was told ({reason}): {row.subject}")
        else:
            why = f": {row.text}" if row.text else ""
            yield Event(at, EventKind.NOT_NOTIFIED, f"“{row.channel}” {_NOT_TOLD[row.state]} ({reason}){why}")
