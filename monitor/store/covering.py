"""What is configured beside what the organization says it has: what nobody watches, what is gone, and which answers are lacking."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Engine

from monitor.domain.coverage import Coverage, coverage
from monitor.domain.inventory import ApiKey, Fingerprint, KeyKind, Project
from monitor.domain.organization import Gap, Item, ItemKind, RecordAge
from monitor.store import codec
from monitor.store.engine import reading
from monitor.store.organization import gaps, matches, names, organization, standing
from monitor.store.tables import FLEET, keys, projects


@dataclass(frozen=True, slots=True)
class Covering:
    """The comparison, and how far it can be trusted."""

    coverage: Coverage
    gaps: tuple[Gap, ...]
    synced: dict[str, datetime | None]
    """When each organization's record was last read to its end. Empty where no admin key was ever configured."""
    names: dict[str, str]
    """The projects that are watched, by OpenAI's ids."""
    watched: tuple[str, ...]
    """The names that are taken here."""
    standing: dict[str, tuple[RecordAge, Item | None]]
    """Of each organization: how old what is known of its projects is, and our own admin key."""


def watched(engine: Engine) -> list[Project]:
    """The projects that are watched now, with their keys, by name."""
    p, k = projects.c, keys.c
    with reading(engine) as connection:
        mine: dict[int, list[ApiKey]] = defaultdict(list)
        present = sa.select(k.project_id, k.label, k.source, k.kind, k.fingerprint, k.problem)
        for project_id, label, source, kind, mark, problem in connection.execute(
            present.where(k.replaced_at.is_(None), k.active == 1).order_by(k.label)
        ):
            mine[project_id].append(ApiKey(label, source, KeyKind(kind), Fingerprint(mark) if mark else None, problem))
        rows = connection.execute(sa.select(p.id, p.name, p.facts).where(p.active == 1, p.id != FLEET).order_by(p.name))
        return [codec.project_of(name, facts, tuple(mine[number])) for number, name, facts in rows]


def covering(engine: Engine) -> Covering:
    """Compare what is watched with the record as it was read last."""
    known = watched(engine)
    record = organization(engine, kinds=(ItemKind.PROJECT, ItemKind.API_KEY))
    found = coverage(known, record, matches(engine))
    ours = {project.project_id: project.name for project in known if project.project_id}
    return Covering(found, gaps(engine), names(engine), ours, tuple(project.name for project in known), standing(engine))
