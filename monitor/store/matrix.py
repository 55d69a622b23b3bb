"""Which project may use which model: what is needed, allowed, listed and true, side by side."""

from collections import defaultdict
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from monitor.domain.health import Health
from monitor.domain.inventory import ProbeKind, Project
from monitor.domain.model_access import Access, Permissions, Probed, leaving, matrix
from monitor.domain.organization import ItemKind
from monitor.domain.taxonomy import FailureKind
from monitor.store import catalogue, codec, organization, tables
from monitor.store.current import statuses
from monitor.store.engine import reading
from monitor.store.fleet import well
from monitor.store.register import probe_of
from monitor.store.use import daily_use


class _Answer(NamedTuple):
    """What one check says of one model; of several keys the worst counts, of equals the first."""

    order: tuple[int, str]
    health: Health
    failure: FailureKind | None
    message: str | None
    at: int | None


def model_access(engine: Engine, now: datetime, project: str | None = None) -> list[Access]:
    """Every model that a project needs, must not have, or uses although it is to be shut down, by project and model.

    Of one `project` also the models that it uses otherwise, and those that its model permissions name. What a project uses is
    known for one project, and of models whose shutdown is announced.
    """
    with reading(engine) as connection:
        known = _projects(connection, project)
        probed = _probed(connection, now, project)
        ids = _ids(connection)
    permissions = _permissions(engine, _owners(engine, known), ids)
    lists = catalogue.find(engine, project)
    if project is None:
        use = daily_use(engine, now, models=set(leaving(lists.values())))
    else:
        number = permissions.of(known[0])[0] if known else None
        use = daily_use(engine, now, project=number) if number else None
    return matrix(known, permissions, lists, probed, use, whole=() if project is None else (project,))


def leaving_access(engine: Engine, now: datetime) -> tuple[list[Project], list[Access], bool]:
    """Every project, what they need and use of models whose shutdown is announced, and whether any was listed its models yet.

    Policy and truth are not asked for.
    """
    with reading(engine) as connection:
        known = _projects(connection, None)
    lists = catalogue.find(engine)
    models = set(leaving(lists.values()))
    permissions = Permissions({}, (), {None: "not asked"}, _owners(engine, known))
    found = matrix(known, permissions, lists, {}, daily_use(engine, now, models=models), only=models) if models else []
    return known, found, bool(lists)


def _projects(connection: Connection, name: str | None) -> list[Project]:
    p = tables.projects.c
    query = sa.select(p.name, p.facts).where(p.active == 1)
    if name is not None:
        query = query.where(p.name == codec.clean(name))
    return [codec.project_of(found, facts) for found, facts in connection.execute(query)]


def _probed(connection: Connection, now: datetime, project: str | None) -> dict[tuple[str, str], Probed]:
    """What the checks of models said."""
    t, s, p = tables.targets.c, tables.target_states.c, tables.projects.c
    query = (
        sa.select(t.id, p.name, t.model, t.probe, t.key, s.last_at, well(now))
        .join_from(tables.targets, tables.projects, p.id == t.project_id)
        .outerjoin(tables.target_states, s.target_id == t.id)
        .where(t.active == 1, t.model != "")
    )
    if project is not None:
        query = query.where(p.name == codec.clean(project))
    rows = connection.execute(query).all()
    told = statuses(connection, (row[0] for row in rows if not row[-1]), now)
    asked: dict[tuple[str, str], dict[bool, _Answer]] = defaultdict(dict)
    for number, name, model, code, key, at, is_well in rows:
        answer = _Answer((-Health.HEALTHY.rank, key), Health.HEALTHY, None, None, at)
        if not is_well:
            one = told[number]
            message = one.message if one.failure or one.suspect else None
            answer = _Answer((-one.health.rank, key), one.health, one.failure, message, at)
        held, calls = asked[name, model], probe_of(code) is not ProbeKind.MODEL_ACCESS
        if calls not in held or answer.order < held[calls].order:
            held[calls] = answer
    return {place: _worst(answers.get(False), answers.get(True)) for place, answers in asked.items()}


def _worst(looked_up: _Answer | None, called: _Answer | None) -> Probed:
    worst = max((each for each in (looked_up, called) if each), key=lambda each: (each.health.rank, each is called))
    return Probed(
        looked_up.health if looked_up else None,
        called.health if called else None,
        called.failure if called else None,
        worst.failure,
        worst.message,
        codec.moment(worst.at),
    )


def _ids(connection: Connection) -> set[str]:
    """OpenAI's ids of all projects on the record."""
    i = tables.organization_items.c
    mine = i.organization_id.in_(sa.select(tables.organizations.c.id))  # said, so that the rows are sought
    query = sa.select(i.id).where(mine, i.kind == ItemKind.PROJECT.value, i.gone_at.is_(None))
    return set(connection.execute(query).scalars())


def _owners(engine: Engine, projects: list[Project]) -> dict[str, str]:
    """OpenAI's ids of the projects that name none here, where their key was found."""
    nameless = {each.name for each in projects if each.project_id is None}
    found = organization.matches(engine) if nameless else []
    return {each.project: each.api_key_project for each in found if each.project in nameless and each.api_key_project}


def _permissions(engine: Engine, owners: dict[str, str], ids: set[str]) -> Permissions:
    """What is known of the projects' model permissions."""
    record = organization.organization(engine, kinds=(ItemKind.MODEL_PERMISSIONS,))
    unread = {gap.project: gap.reason for gap in record.gaps}
    if record.synced_at is None:
        unread.setdefault(None, "the organization's record has not been read to its end yet")
    lists = {item.project: item for item in record.of(ItemKind.MODEL_PERMISSIONS) if item.project}
    return Permissions(lists, ids, unread, owners)
