"""Which project may use which model: what is needed, allowed, listed and true, side by side."""

from collections import defaultdict
from collections.abc import Collection
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from monitor.domain.access_standing import AccessOverview, Standing, cells
from monitor.domain.health import Health
from monitor.domain.inventory import ProbeKind, Project
from monitor.domain.model_access import Access, Permissions, Probed, leaving, matrix
from monitor.domain.organization import ItemKind
from monitor.domain.taxonomy import FailureKind
from monitor.store import catalogue, codec, organization, tables
from monitor.store.current import statuses, well
from monitor.store.engine import reading
from monitor.store.register import probe_of
from monitor.store.use import daily_use

_AT_ONCE = 500
"""Projects that one question names."""


class _Answer(NamedTuple):
    """What one check says of one model; of several keys the worst counts, of equals the first."""

    order: tuple[int, str]
    health: Health
    failure: FailureKind | None
    message: str | None
    at: int | None


def model_access(
    engine: Engine, now: datetime, project: str | None = None, *, names: Collection[str] | None = None
) -> list[Access]:
    """Every model that a project needs, must not have, or uses although it is to be shut down, by project and model; with `names`,
    of these projects alone.

    Of one `project` also the models that it uses otherwise, and those that its model permissions name. What a project uses is
    known for one project, and of models whose shutdown is announced.
    """
    wanted = names if project is None else (project,)
    with reading(engine) as connection:
        known = _projects(connection, wanted)
        probed = _probed(connection, now, wanted)
        ids = _ids(connection)
    permissions = _permissions(engine, _owners(engine, known), ids)
    lists = catalogue.find(engine, project)
    if project is None:
        use = daily_use(engine, now, models=set(leaving(lists.values())))
    else:
        number = permissions.of(known[0])[0] if known else None
        use = daily_use(engine, now, project=number) if number else None
    return matrix(known, permissions, lists, probed, use, whole=() if project is None else (project,))


def access_overview(engine: Engine, now: datetime, project: str | None = None) -> AccessOverview:
    """How the models of every project stand, or those of one, in little.

    Projects whose checks are all well, and that are asked, allowed and listed the same, stand alike: one of them is read for all.
    """
    if project is not None:
        found = model_access(engine, now, project)
        owner = found[0].owner if found else None
        stands = tuple(Standing(name, owner, those) for name, those in cells(found, now.date()).items())
        return AccessOverview(stands, tuple(one for one in found if one.shutdown is not None))
    with reading(engine) as connection:
        known = _projects(connection, None)
        asked = _asked(connection, now)
        ids = _ids(connection)
    owners = _owners(engine, known)
    permissions = _permissions(engine, owners, ids)
    lists = catalogue.find(engine)
    models = set(leaving(lists.values()))
    use = daily_use(engine, now, models=models)
    used: dict[str, tuple[str, ...]] = {}
    for user, model in sorted(use or ()):
        used[user] = (*used.get(user, ()), model)
    alike: dict[Any, list[Project]] = defaultdict(list)
    for each in known:
        number, names, unknown = permissions.of(each)
        listed, said = lists.get(each.name), asked.get(each.name, "")
        facts = (id(listed.models) if listed else None, id(names.facts) if names else unknown, used.get(number or ""))
        alike[each.name if said is None else (each.models, each.denied_models, said, *facts)].append(each)
    chosen = [those[0] for those in alike.values()]
    with reading(engine) as connection:
        probed = _probed(connection, now, [each.name for each in chosen])
    made = cells(matrix(chosen, permissions, lists, probed, use), now.date())
    every = [
        Standing(each.name, each.owner, made[those[0].name]) for those in alike.values() for each in those if those[0].name in made
    ]
    gone = matrix(known, _not_asked(owners), lists, {}, use, only=models) if models else []
    return AccessOverview(tuple(sorted(every, key=lambda one: one.project)), tuple(gone))


def leaving_access(engine: Engine, now: datetime) -> tuple[list[Project], list[Access], bool]:
    """Every project, what they need and use of models whose shutdown is announced, and whether any was listed its models yet.

    Policy and truth are not asked for.
    """
    with reading(engine) as connection:
        known = _projects(connection, None)
    lists = catalogue.find(engine)
    models = set(leaving(lists.values()))
    permissions = _not_asked(_owners(engine, known))
    found = matrix(known, permissions, lists, {}, daily_use(engine, now, models=models), only=models) if models else []
    return known, found, bool(lists)


def _not_asked(owners: dict[str, str]) -> Permissions:
    return Permissions({}, (), {None: "not asked"}, owners)


def _projects(connection: Connection, names: Collection[str] | None) -> list[Project]:
    p = tables.projects.c
    query = sa.select(p.name, p.facts).where(p.active == 1)
    if names is not None:
        query = query.where(p.name.in_(_cleaned(names)))
    return [codec.project_of(found, facts) for found, facts in connection.execute(query)]


def _cleaned(names: Collection[str]) -> list[str]:
    return [cleaned for name in names if (cleaned := codec.clean(name))]


def _asked(connection: Connection, now: datetime) -> dict[str, str | None]:
    """By project, which models its checks ask about and how, as one text; None where one of them is not simply well."""
    t, s, p = tables.targets.c, tables.target_states.c, tables.projects.c
    each = t.model + ":" + sa.cast(t.probe, sa.Text)
    query = (
        sa.select(p.name, sa.func.min(well(now)), sa.func.aggregate_strings(each, " "))
        .join_from(tables.targets, tables.projects, p.id == t.project_id)
        .outerjoin(tables.target_states, s.target_id == t.id)
        .where(t.active == 1, t.model != "")
        .group_by(p.id, p.name)
    )
    return {name: said if is_well else None for name, is_well, said in connection.execute(query)}


def _probed(connection: Connection, now: datetime, names: Collection[str] | None) -> dict[tuple[str, str], Probed]:
    """What the checks of models said."""
    t, s, p = tables.targets.c, tables.target_states.c, tables.projects.c
    query = (
        sa.select(t.id, p.name, t.model, t.probe, t.key, s.last_at, well(now))
        .join_from(tables.targets, tables.projects, p.id == t.project_id)
        .outerjoin(tables.target_states, s.target_id == t.id)
        .where(t.active == 1, t.model != "")
    )
    rows: list[Any] = []
    if names is None:
        rows = list(connection.execute(query))
    else:
        wanted = _cleaned(names)
        for first in range(0, len(wanted), _AT_ONCE):
            rows += connection.execute(query.where(p.name.in_(wanted[first : first + _AT_ONCE])))
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
