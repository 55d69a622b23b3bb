"""What changed, as stored: each change once, for ever."""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, Row

from monitor.domain.changes import (
    LOGGED,
    ONCE,
    SLACK,
    TENANTS,
    ChangeEvent,
    ChangeKind,
    ChangeSource,
    Family,
    family_of,
    like,
    same,
    same_entry,
)  # fmt: skip
from monitor.domain.timeline import Window, from_ms, to_ms
from monitor.store import codec, dialect, meta, tables
from monitor.store.engine import reading, writing
from monitor.store.tables import change_events

_KINDS = {kind.value: kind for kind in ChangeKind}
_MOST_LABEL = 300


def record(engine: Engine, events: Iterable[ChangeEvent]) -> list[ChangeEvent]:
    """Store what is not stored yet; those that are new, with their ids. Raises `StoreError`."""
    events = list(events)
    if not events:
        return []
    with writing(engine) as connection:
        return write(connection, engine, events)


def write(connection: Connection, engine: Engine, events: Iterable[ChangeEvent]) -> list[ChangeEvent]:
    """The same within a transaction.

    Where two readings tell a change and the audit log tells it too, it is kept once: the log knows who and when, the readings
    know what was before and what is now. What stands in both of OpenAI's logs is kept once too, with what either of them knows.
    """
    c = change_events.c
    new, moved = [], False
    insert = dialect.insert_new(engine, change_events).returning(c.id)
    for event in events:
        row = row_of(event)
        known = connection.execute(sa.select(c.id).where(c.dedup == row["dedup"])).scalar()
        twin = (_entry(connection, event) or _twin(connection, event)) if known is None else None
        number = connection.execute(insert, row).scalar() if twin is None else None
        if number is not None:
            new.append(replace(event, id=number))
            moved = True
            continue
        here = c.dedup == row["dedup"] if twin is None else c.id == twin.id
        if event.source is ChangeSource.AUDIT_LOG:
            exact = {"at": row["at"], "source": row["source"], "actor": row["actor"], "after": None, "dedup": row["dedup"]}
            told = sa.update(change_events).where(here, c.source == ChangeSource.SYNC.value).values(exact)
            moved = _completed(connection, here, row) or moved
            if twin is not None and not row["dedup"].startswith(LOGGED + TENANTS):
                # The ordinary log counts: a second entry of it, near the first, is another happening.
                tenants = c.dedup.startswith(LOGGED + TENANTS, autoescape=True)
                connection.execute(sa.update(change_events).where(here, tenants).values(dedup=row["dedup"]))
        elif event.source is ChangeSource.SYNC:
            whole = {name: row[name] for name in ("kind", "text", "project_id", "project", "subject", "key", "model")}
            told = sa.update(change_events).where(here, c.source == ChangeSource.AUDIT_LOG.value).values(whole)
        else:
            continue
        moved = bool(connection.execute(told).rowcount) or moved
    if moved:
        renew(connection, engine)
        meta.bump(connection)
    return new


_VERSION = "changes_version"


def renew(connection: Connection, engine: Engine) -> None:
    """Let whoever explains incidents look again."""
    dialect.upsert(engine, tables.meta, put=["value"]).run(connection, [(_VERSION, secrets.token_hex(8))])


def version(engine: Engine) -> str | None:
    """Another one whenever something was added to what changed, or is known more exactly; None where nothing ever was."""
    return meta.get(engine, _VERSION)


def _completed(connection: Connection, here: sa.ColumnElement[bool], row: dict[str, Any]) -> bool:
    """Tell what an entry of the log lacks and another one, of the same happening, knows. Whether there was anything."""
    c = change_events.c
    known = {name: row[name] for name in ("project_id", "project", "key", "actor") if row[name] is not None}
    if not known:
        return False
    lacks = sa.or_(*(c[name].is_(None) for name in known))
    filled = {name: sa.func.coalesce(c[name], value) for name, value in known.items()}
    logged = c.source == ChangeSource.AUDIT_LOG.value
    return bool(connection.execute(sa.update(change_events).where(here, logged, lacks).values(filled)).rowcount)


def _entry(connection: Connection, event: ChangeEvent) -> ChangeEvent | None:
    """The same happening as OpenAI's other log told it; what happens once only is found by its sign."""
    if event.source is not ChangeSource.AUDIT_LOG or event.subject is None or not event.dedup.startswith(LOGGED):
        return None
    c = change_events.c
    tenants = c.dedup.startswith(LOGGED + TENANTS, autoescape=True)
    query = sa.select(change_events).where(
        c.kind.in_([kind.value for kind in like(event.kind)]),
        c.source == ChangeSource.AUDIT_LOG.value,
        c.subject == codec.clean(event.subject, _MOST_LABEL),
        c.at >= to_ms(event.at - SLACK),
        c.at <= to_ms(event.at + SLACK),
        sa.not_(tenants) if event.dedup.startswith(LOGGED + TENANTS) else tenants,
    )
    others = [event_of(row) for row in connection.execute(query.order_by(c.at).limit(_MOST_TWINS))]
    return next((other for other in others if same_entry(other, event)), None)


def _twin(connection: Connection, event: ChangeEvent) -> ChangeEvent | None:
    """The same change as somebody else told it before; what happens once only is found by its sign."""
    if event.kind in ONCE or event.subject is None or event.source not in _TOLD_BY_BOTH:
        return None
    c = change_events.c
    logged = event.source is ChangeSource.AUDIT_LOG
    query = sa.select(change_events).where(
        c.kind.in_([kind.value for kind in like(event.kind)]),
        c.source == (ChangeSource.SYNC if logged else ChangeSource.AUDIT_LOG).value,
        c.subject == codec.clean(event.subject, _MOST_LABEL),
    )
    if logged:
        query = query.where(c.at >= to_ms(event.at - SLACK)).order_by(c.at)
    elif event.after is None:
        return None
    else:
        query = query.where(c.at >= to_ms(event.after - SLACK), c.at <= to_ms(event.at + SLACK)).order_by(c.at.desc())
    others = [event_of(row) for row in connection.execute(query.limit(_MOST_TWINS))]
    return next((other for other in others if (same(other, event) if logged else same(event, other))), None)


_TOLD_BY_BOTH = (ChangeSource.SYNC, ChangeSource.AUDIT_LOG)
_MOST_TWINS = 200


def find(engine: Engine, window: Window, project: str | None = None, limit: int = 1000) -> list[ChangeEvent]:
    """What changed in the window, newest first; with a project's name, that project's and what concerns the whole organization."""
    c = change_events.c
    query = sa.select(change_events).where(c.at >= to_ms(window.start), c.at < to_ms(window.end))
    if project is not None:
        query = query.where(sa.or_(c.project == codec.clean(project), sa.and_(c.project.is_(None), c.project_id.is_(None))))
    with reading(engine) as connection:
        return [event_of(row) for row in connection.execute(query.order_by(c.at.desc(), c.id.desc()).limit(limit))]


@dataclass(frozen=True, slots=True)
class ChangeFilter:
    """Which changes; None or empty is all."""

    project: str | None = None
    """That project's, and what concerns the whole organization."""
    family: Family | None = None
    source: ChangeSource | None = None
    actor: str | None = None
    text: str = ""
    """A part of what is told, of who did it, or of what it is about; capitals do not matter."""


def page(engine: Engine, window: Window, where: ChangeFilter, first: int = 0, most: int = 50) -> list[ChangeEvent]:
    """Some of what changed in the window, newest first, from the `first` (counted from 0) on."""
    c = change_events.c
    with reading(engine) as connection:
        query = sa.select(change_events).where(*_within(connection, window), *_conditions(connection, where))
        rows = connection.execute(query.order_by(c.at.desc(), c.id.desc()).limit(most).offset(first))
        return [event_of(row) for row in rows]


def count(engine: Engine, window: Window, where: ChangeFilter) -> int:
    """How many there are."""
    with reading(engine) as connection:
        query = (
            sa.select(sa.func.count())
            .select_from(change_events)
            .where(*_within(connection, window), *_conditions(connection, where))
        )
        return int(connection.execute(query).scalar_one())


def actors(engine: Engine, window: Window, most: int = 100) -> list[str]:
    """Who changed something in the window, the busiest first."""
    c = change_events.c
    with reading(engine) as connection:
        query = sa.select(c.actor).where(*_within(connection, window), c.actor.is_not(None))
        return list(connection.execute(query.group_by(c.actor).order_by(sa.func.count().desc(), c.actor).limit(most)).scalars())


def _within(connection: Connection, window: Window) -> list[sa.ColumnElement[bool]]:
    """The window as far as it leaves anything out. Where it holds much of all there is, its rows are not sought: to read everything
    in a row takes a third of the time.
    """
    c = change_events.c
    ends = (sa.select(end(c.at)).scalar_subquery() for end in (sa.func.min, sa.func.max))  # two seeks; in one it would be a scan
    first, last = connection.execute(sa.select(*ends)).one()
    start, until = to_ms(window.start), to_ms(window.end)
    if first is None:
        return []
    at = c.at if 3 * (min(until, last) - max(start, first)) < last - first else c.at + 0  # no index is of a sum
    return [*([at >= start] if first < start else []), *([at < until] if last >= until else [])]


def _conditions(connection: Connection, where: ChangeFilter) -> list[sa.ColumnElement[bool]]:
    c = change_events.c
    found: list[sa.ColumnElement[bool]] = []
    if where.project is not None:
        everybodys = sa.and_(c.project.is_(None), c.project_id.is_(None))
        found.append(sa.or_(c.project == codec.clean(where.project, _MOST_LABEL), everybodys))
    if where.family is not None:
        found.append(c.kind.in_([kind.value for kind in ChangeKind if family_of(kind) is where.family]))
    if where.source is not None:
        found.append(c.source == where.source.value)
    if where.actor is not None:
        found.append(c.actor == codec.clean(where.actor, _MOST_LABEL))
    if sought := codec.clean(where.text, _MOST_LABEL):
        texts = (c.text, c.actor, c.project, c.model, c.subject)
        found.append(sa.or_(*(dialect.holds(connection, text, sought) for text in texts)))
    return found


def row_of(event: ChangeEvent) -> dict[str, Any]:
    """An event as a row."""
    at = to_ms(event.at)
    return {
        "at": at,
        "kind": event.kind.value,
        "source": event.source.value,
        "text": codec.said(event.text),
        "project_id": codec.clean(event.project_id, _MOST_LABEL),
        "project": codec.clean(event.project, _MOST_LABEL),
        "subject": codec.clean(event.subject, _MOST_LABEL),
        "key": codec.clean(event.key, _MOST_LABEL),
        "model": codec.clean(event.model, _MOST_LABEL),
        "actor": codec.said(event.actor, _MOST_LABEL),
        "after": codec.at_ms(event.after),
        "dedup": codec.clean(event.dedup or f"{event.kind.value} {event.project_id} {event.subject} {at}", _MOST_LABEL),
    }


def event_of(row: Row[Any]) -> ChangeEvent:
    """A row as an event."""
    return ChangeEvent(
        at=from_ms(row.at),
        kind=_KINDS.get(row.kind, ChangeKind.OTHER),
        source=ChangeSource(row.source),
        text=row.text,
        project_id=row.project_id,
        project=row.project,
        subject=row.subject,
        key=row.key,
        model=row.model,
        actor=row.actor,
        after=codec.moment(row.after),
        dedup=row.dedup,
        id=row.id,
    )
