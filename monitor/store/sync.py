"""Making projects, keys and targets as configured: what is new gets a row, what is gone becomes inactive, what is back finds
its row again.
"""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Table

from monitor.domain import own_changes
from monitor.domain.changes import ChangeEvent
from monitor.domain.inventory import ApiKey, Inventory, Project
from monitor.domain.timeline import from_ms
from monitor.store import codec
from monitor.store.register import Register, columns_of
from monitor.store.tables import FLEET, keys, projects, targets

_Rows = list[dict[str, Any]]
_MILLISECOND = timedelta(milliseconds=1)


def sync(connection: Connection, known: Register, inventory: Inventory, now: int) -> tuple[Register | None, list[ChangeEvent]]:
    """Change what differs; the register after it, or None where nothing did, and the secrets that took another one's place."""
    rotated: list[ChangeEvent] = []
    changed = _sync_projects(connection, known, inventory.projects, now)
    ids = dict(connection.execute(sa.select(projects.c.name, projects.c.id)).all())
    changed += _sync_keys(connection, known, inventory.projects, ids, now, rotated)
    changed += _sync_targets(connection, known, inventory, ids, now)
    return (Register.load(connection) if changed else None), rotated


def _sync_projects(connection: Connection, known: Register, wanted: Iterable[Project], now: int) -> int:
    new: _Rows = []
    edited: _Rows = []
    names = set()
    for project in wanted:
        names.add(project.name)
        facts = codec.project_facts(project)
        row = known.projects.get(project.name)
        if row is None:
            new.append({"name": project.name, "active": 1, "facts": facts, "first_seen": now})
        elif row.facts != facts or not row.active:
            edited.append({"row": row.id, "active": 1, "facts": facts, "removed_at": None})
    for name, row in known.projects.items():
        if name not in names and row.active:
            edited.append({"row": row.id, "active": 0, "facts": row.facts, "removed_at": now})
    return _insert(connection, projects, new) + _update(connection, projects, edited)


def _sync_keys(
    connection: Connection,
    known: Register,
    wanted: Iterable[Project],
    ids: dict[str, int],
    now: int,
    rotated: list[ChangeEvent],
) -> int:
    new: _Rows = []
    edited: _Rows = []
    replaced: _Rows = []
    places = set()
    for project in wanted:
        for key in project.keys:
            places.add((project.name, key.label))
            row = known.keys.get((project.name, key.label))
            # A secret that cannot be read just now is still the one it was.
            fingerprint = key.fingerprint or (row.fingerprint if row else "")
            facts = _key_facts(key)
            if row is not None and row.fingerprint not in ("", fingerprint):
                replaced.append({"row": row.id, "active": 0, "replaced_at": now})
                was = (project.name, project.project_id, key.label, row.fingerprint, fingerprint)
                rotated.append(own_changes.rotated(from_ms(now), *was))
                row = None
            if row is None:
                place = {"project_id": ids[project.name], "label": key.label, "fingerprint": fingerprint}
                if not _back_in_use(connection, place, facts):
                    new.append({**place, **facts, "first_seen": now})
            elif row.fingerprint != fingerprint:  # readable for the first time
                edited.append({"row": row.id, **facts, "fingerprint": fingerprint, "first_seen": now})
            elif row[2:] != tuple(facts.values()):
                edited.append({"row": row.id, **facts})
    for (name, label), row in known.keys.items():
        if (name, label) not in places and row.active:
            replaced.append({"row": row.id, "active": 0, "replaced_at": None})
    gone = _update(connection, keys, replaced)
    return gone + _insert(connection, keys, new) + sum(_update(connection, keys, [one]) for one in edited)


def _key_facts(key: ApiKey) -> dict[str, Any]:
    return {"kind": key.kind.value, "source": key.source, "problem": codec.clean(key.problem), "active": 1}


def _back_in_use(connection: Connection, place: dict[str, Any], facts: dict[str, Any]) -> bool:
    """Whether the secret was used before under this label; then its row is the present one again."""
    again = sa.update(keys).filter_by(**place).values(replaced_at=None, **facts)
    return connection.execute(again).rowcount > 0


def _sync_targets(connection: Connection, known: Register, inventory: Inventory, ids: dict[str, int], now: int) -> int:
    new: _Rows = []
    edited: _Rows = []
    wanted = {check.target: round(check.interval / _MILLISECOND) for check in inventory.checks}
    for target, interval in wanted.items():
        row = known.targets.get(target)
        if row is None:
            project_id = ids[target.project] if target.project else FLEET
            facts = {"interval": interval, "active": 1, "first_seen": now}
            new.append({"project_id": project_id, **columns_of(target), **facts})
        elif (row.interval, row.active) != (interval, 1):
            edited.append({"row": row.id, "interval": interval, "active": 1})
    for target, row in known.targets.items():
        if target not in wanted and row.active:
            edited.append({"row": row.id, "interval": row.interval, "active": 0})
    return _insert(connection, targets, new) + _update(connection, targets, edited)


def _insert(connection: Connection, table: Table, rows: _Rows) -> int:
    if rows:
        connection.execute(sa.insert(table), rows)
    return len(rows)


def _update(connection: Connection, table: Table, rows: _Rows) -> int:
    """Each row names its own by `row`; all of them set the same columns."""
    if rows:
        connection.execute(sa.update(table).where(table.c.id == sa.bindparam("row")), rows)
    return len(rows)
