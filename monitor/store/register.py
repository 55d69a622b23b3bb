"""Which row stands for which project, key and target. History keeps pointing at rows, so rows are never deleted."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, Table

from monitor.domain.inventory import ApiKey, Inventory, Project, Target
from monitor.store import codec
from monitor.store.engine import reading
from monitor.store.tables import FLEET, PROBES, keys, projects, targets

_PROBE_OF = {code: probe for probe, code in PROBES.items()}
_MILLISECOND = timedelta(milliseconds=1)
_UNKNOWN_INTERVAL = 60_000


class TargetRow(NamedTuple):
    """A target as stored."""

    id: int
    project_id: int
    probe: int
    interval: int
    active: int


class _ProjectRow(NamedTuple):
    id: int
    active: int
    facts: str


class _KeyRow(NamedTuple):
    id: int
    fingerprint: str
    kind: str
    source: str
    problem: str | None
    active: int


def target_of(project: str | None, probe: int, key: str, model: str, host: str) -> Target:
    """The target of a row's columns, where absent is empty."""
    return Target(_PROBE_OF[probe], project or None, key or None, model or None, host or None)


@dataclass
class Register:
    """Rows by what they stand for. Changed only by `adopt`, after the commit: a failed one leaves it as the database is."""

    projects: dict[str, _ProjectRow] = field(default_factory=dict)
    keys: dict[tuple[int, str], _KeyRow] = field(default_factory=dict)
    """The present row of each (project, label)."""
    targets: dict[Target, TargetRow] = field(default_factory=dict)

    @classmethod
    def load(cls, engine: Engine) -> "Register":
        """As the database knows them."""
        loaded = cls()
        with reading(engine) as connection:
            columns = (projects.c.name, projects.c.id, projects.c.active, projects.c.facts)
            for name, *rest in connection.execute(sa.select(*columns)):
                loaded.projects[name] = _ProjectRow(*rest)
            k = keys.c
            facts = (k.id, k.fingerprint, k.kind, k.source, k.problem, k.active)
            present = sa.select(k.project_id, k.label, *facts).where(k.replaced_at.is_(None))
            for project_id, label, *rest in connection.execute(present):
                loaded.keys[project_id, label] = _KeyRow(*rest)
            names = {row.id: name for name, row in loaded.projects.items()}
            t = targets.c
            rows = connection.execute(sa.select(t.project_id, t.probe, t.key, t.model, t.host, t.id, t.interval, t.active))
            for project_id, probe, key, model, host, number, interval, active in rows:
                target = target_of(names.get(project_id), probe, key, model, host)
                loaded.targets[target] = TargetRow(number, project_id, probe, interval, active)
        return loaded

    def adopt(self, change: "Change") -> None:
        """Take over what was committed."""
        self.projects |= change.projects
        self.keys |= change.keys
        self.targets |= change.targets


class Change:
    """Changes to the register inside one transaction, not yet committed."""

    def __init__(self, register: Register, connection: Connection, now_ms: int) -> None:
        self._register = register
        self._connection = connection
        self._now = now_ms
        self.projects: dict[str, _ProjectRow] = {}
        self.keys: dict[tuple[int, str], _KeyRow] = {}
        self.targets: dict[Target, TargetRow] = {}

    def target(self, target: Target) -> TargetRow:
        """The row of `target`; one that nobody configured gets a row too, inactive."""
        found = self.targets.get(target) or self._register.targets.get(target)
        if found is None:
            found = self._add_target(target, _UNKNOWN_INTERVAL, active=0)
        return found

    def sync(self, inventory: Inventory) -> None:
        """Make projects, keys and targets as configured; what is no longer configured becomes inactive."""
        wanted = {project.name: project for project in inventory.projects}
        for project in wanted.values():
            self._sync_project(project)
        for name, row in self._register.projects.items():
            if name not in wanted and row.active:
                self._update(projects, row.id, active=0, removed_at=self._now)
                self.projects[name] = row._replace(active=0)
        self._sync_keys(wanted.values())
        self._sync_targets({check.target: round(check.interval / _MILLISECOND) for check in inventory.checks})

    def _sync_project(self, project: Project) -> None:
        facts = codec.project_facts(project)
        row = self._register.projects.get(project.name)
        if row is None:
            self._add_project(project.name, facts, active=1)
        elif row.facts != facts or not row.active:
            self._update(projects, row.id, facts=facts, active=1, removed_at=None)
            self.projects[project.name] = _ProjectRow(row.id, 1, facts)

    def _sync_keys(self, wanted: Iterable[Project]) -> None:
        seen = set()
        for project in wanted:
            project_id = self._project(project.name).id
            for key in project.keys:
                seen.add((project_id, key.label))
                self._sync_key(project_id, key)
        for place, row in self._register.keys.items():
            if place not in seen and row.active:
                self._update(keys, row.id, active=0)
                self.keys[place] = row._replace(active=0)

    def _sync_key(self, project_id: int, key: ApiKey) -> None:
        row = self._register.keys.get((project_id, key.label))
        # A secret that cannot be read just now is still the one it was.
        fingerprint = key.fingerprint or (row.fingerprint if row else "")
        facts: dict[str, Any] = {"kind": key.kind.value, "source": key.source, "problem": codec.clean(key.problem), "active": 1}
        if row is not None and row.fingerprint not in ("", fingerprint):
            self._update(keys, row.id, replaced_at=self._now, active=0)
            row = None
        if row is None:
            number = self._revive_key(project_id, key.label, fingerprint, facts)
        else:
            number = row.id
            if row.fingerprint != fingerprint:  # readable for the first time
                self._update(keys, number, fingerprint=fingerprint, first_seen=self._now, **facts)
            elif row[2:] != tuple(facts.values()):
                self._update(keys, number, **facts)
        self.keys[project_id, key.label] = _KeyRow(number, fingerprint, **facts)

    def _revive_key(self, project_id: int, label: str, fingerprint: str, facts: dict[str, Any]) -> int:
        """The row of a secret that was used before under this label, in use again; or a new one."""
        place = {"project_id": project_id, "label": label, "fingerprint": fingerprint}
        again = sa.update(keys).filter_by(**place).values(replaced_at=None, **facts).returning(keys.c.id)
        found = self._connection.execute(again).scalar()
        return found if found is not None else self._insert(keys, **place, first_seen=self._now, **facts)

    def _sync_targets(self, wanted: dict[Target, int]) -> None:
        for target, interval in wanted.items():
            row = self._register.targets.get(target)
            if row is None:
                self._add_target(target, interval, active=1)
            elif (row.interval, row.active) != (interval, 1):
                self._update(targets, row.id, interval=interval, active=1)
                self.targets[target] = row._replace(interval=interval, active=1)
        for target, row in self._register.targets.items():
            if target not in wanted and row.active:
                self._update(targets, row.id, active=0)
                self.targets[target] = row._replace(active=0)

    def _project(self, name: str) -> _ProjectRow:
        return self.projects.get(name) or self._register.projects.get(name) or self._add_project(name, "{}", active=0)

    def _add_project(self, name: str, facts: str, *, active: int) -> _ProjectRow:
        number = self._insert(projects, name=name, active=active, facts=facts, first_seen=self._now)
        self.projects[name] = row = _ProjectRow(number, active, facts)
        return row

    def _add_target(self, target: Target, interval: int, *, active: int) -> TargetRow:
        project_id = self._project(target.project).id if target.project else FLEET
        probe = PROBES[target.probe]
        number = self._insert(
            targets,
            project_id=project_id,
            probe=probe,
            key=target.key or "",
            model=target.model or "",
            host=target.host or "",
            interval=interval,
            active=active,
            first_seen=self._now,
        )
        self.targets[target] = row = TargetRow(number, project_id, probe, interval, active)
        return row

    def _insert(self, table: Table, **values: Any) -> int:
        number: int = self._connection.execute(sa.insert(table).returning(table.c.id), values).scalar_one()
        return number

    def _update(self, table: Table, number: int, **values: Any) -> None:
        self._connection.execute(sa.update(table).where(table.c.id == number), values)

    def __iter__(self) -> Iterator[object]:
        """What was changed, for asking whether anything was."""
        yield from (*self.projects, *self.keys, *self.targets)
