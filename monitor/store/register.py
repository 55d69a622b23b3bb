"""Which row stands for which project, key and target. History keeps pointing at rows, so rows are never deleted."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection, Table

from monitor.domain.inventory import ProbeKind, Target
from monitor.store.tables import FLEET, PROBES, keys, projects, targets

_PROBE_OF = {code: probe for probe, code in PROBES.items()}
UNKNOWN_INTERVAL = 60_000


class ProjectRow(NamedTuple):
    """A project as stored."""

    id: int
    active: int
    facts: str


class KeyRow(NamedTuple):
    """A key as stored: the present row of its label."""

    id: int
    fingerprint: str
    kind: str
    source: str
    problem: str | None
    active: int


class TargetRow(NamedTuple):
    """A target as stored."""

    id: int
    project_id: int
    probe: int
    interval: int
    active: int


def probe_of(code: int) -> ProbeKind:
    """The probe of a row's column."""
    return _PROBE_OF[code]


def target_of(project: str | None, probe: int, key: str, model: str, host: str) -> Target:
    """The target of a row's columns, where absent is empty."""
    return Target(_PROBE_OF[probe], project or None, key or None, model or None, host or None)


def columns_of(target: Target) -> dict[str, Any]:
    """The columns of a target, but for its project."""
    return {"probe": PROBES[target.probe], "key": target.key or "", "model": target.model or "", "host": target.host or ""}


@dataclass
class Register:
    """Rows by what they stand for."""

    projects: dict[str, ProjectRow] = field(default_factory=dict)
    keys: dict[tuple[str, str], KeyRow] = field(default_factory=dict)
    """By project and label."""
    targets: dict[Target, TargetRow] = field(default_factory=dict)

    @classmethod
    def load(cls, connection: Connection) -> "Register":
        """As the database knows them."""
        p, k, t = projects.c, keys.c, targets.c
        loaded = cls()
        for name, *rest in connection.execute(sa.select(p.name, p.id, p.active, p.facts)):
            loaded.projects[name] = ProjectRow(*rest)
        names = {row.id: name for name, row in loaded.projects.items()}
        facts = (k.id, k.fingerprint, k.kind, k.source, k.problem, k.active)
        present = sa.select(k.project_id, k.label, *facts).where(k.replaced_at.is_(None))
        for project_id, label, *rest in connection.execute(present):
            loaded.keys[names[project_id], label] = KeyRow(*rest)
        parts = (t.project_id, t.probe, t.key, t.model, t.host)
        for number, interval, active, project_id, *rest in connection.execute(sa.select(t.id, t.interval, t.active, *parts)):
            loaded.targets[target_of(names.get(project_id), *rest)] = TargetRow(number, project_id, rest[0], interval, active)
        return loaded

    def admit(self, known: "Register", connection: Connection, target: Target, now: int) -> TargetRow:
        """The row of a target that `known` has not: new here, and inactive, because nobody configured it."""
        if target in self.targets:
            return self.targets[target]
        project_id = FLEET
        if target.project:
            project = known.projects.get(target.project) or self.projects.get(target.project)
            if project is None:
                number = _insert(connection, projects, name=target.project, active=0, facts="{}", first_seen=now)
                project = self.projects[target.project] = ProjectRow(number, 0, "{}")
            project_id = project.id
        place = columns_of(target)
        rest = {"interval": UNKNOWN_INTERVAL, "active": 0, "first_seen": now}
        number = _insert(connection, targets, project_id=project_id, **place, **rest)
        self.targets[target] = row = TargetRow(number, project_id, place["probe"], UNKNOWN_INTERVAL, 0)
        return row

    def adopt(self, admitted: "Register") -> None:
        """Take over what was admitted, once it is committed."""
        self.projects |= admitted.projects
        self.targets |= admitted.targets


def _insert(connection: Connection, table: Table, **values: Any) -> int:
    number: int = connection.execute(sa.insert(table).returning(table.c.id), values).scalar_one()
    return number
