"""The facts that deadlines are made of, from everything that is stored."""

import json
from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from monitor.domain.alerting import MaintenanceWindow
from monitor.domain.deadlines import DAY, NEEDED, Calendar, Facts, Spent
from monitor.domain.deadlines import calendar as made
from monitor.domain.organization import ItemKind
from monitor.domain.spend import RATE_FROM
from monitor.domain.timeline import floor, to_ms
from monitor.store import organization, silences
from monitor.store.engine import reading
from monitor.store.matrix import leaving_access
from monitor.store.tables import costs, effective_config, organizations

_FEW = 500
"""Projects that are asked for by name; where more have a limit, all are read."""


def calendar(engine: Engine, now: datetime) -> Calendar:
    """Every deadline, soonest first, and what cannot be said.

    Maintenance windows are those of the configuration that the poller runs with.
    """
    known, accesses, listed = leaving_access(engine, now)
    record = organization.organization(engine, kinds=(*NEEDED, ItemKind.PROJECT), telling={ItemKind.API_KEY: "expires_at"})
    limited = {item.project for item in record.of(ItemKind.SPEND_LIMIT)}
    with reading(engine) as connection:
        spent = _costs(connection, limited, now) if limited else {}
        windows = tuple(_windows(connection))
        matches = organization.matches_in(connection, [item.id for item in record.of(ItemKind.API_KEY)])
    facts = Facts(
        projects=tuple(known),
        organization=record,
        matches=tuple(matches),
        accesses=tuple(accesses),
        listed=listed,
        costs=spent,
        silences=tuple(silences.active(engine, now)),
        windows=windows,
    )
    return made(facts, now)


def _costs(connection: Connection, limited: Collection[str | None], now: datetime) -> Spent:
    """What each day of this month and of the two weeks before today cost the projects that have a limit, and everybody together.

    A project's days come as one text: a row for each would take most of the time.
    """
    c, today = costs.c, floor(now, timedelta(days=1))
    start = min(today.replace(day=1), today - RATE_FROM)
    mine = c.organization_id.in_(sa.select(organizations.c.id))  # said, so that the rows are sought
    window = (mine, c.day >= to_ms(start), c.day <= to_ms(today))
    days = {str(to_ms(start + number * DAY)): start + number * DAY for number in range((today - start) // DAY + 1)}
    amount = sa.cast(c.day, sa.Text) + ":" + sa.cast(c.amount, sa.Text)
    queries = []
    if None in limited:
        told = sa.func.aggregate_strings(amount, " ")
        queries.append(sa.select(sa.null(), c.currency, told).where(*window).group_by(c.currency))
    if names := sorted(name for name in limited if name is not None):
        query = sa.select(c.project, c.currency, sa.func.aggregate_strings(amount, " ")).where(*window)
        query = query.where(c.project.in_(names) if len(names) <= _FEW else c.project != "")
        queries.append(query.group_by(c.project, c.currency))
    found: dict[tuple[str | None, str], dict[datetime, float]] = {}
    for query in queries:
        for project, currency, told in connection.execute(query):
            if project not in limited:
                continue
            spent = found.setdefault((project, (currency or "usd").lower()), {})
            for each in told.split(" "):
                day, _, cost = each.partition(":")
                if at := days.get(day):
                    spent[at] = spent.get(at, 0.0) + float(cost)
    return found


def _windows(connection: Connection) -> Iterator[MaintenanceWindow]:
    """The maintenance windows that the poller was told, but for those that come again and again."""
    newest = sa.select(effective_config.c.text).order_by(effective_config.c.id.desc()).limit(1)
    said = connection.execute(newest).scalar()
    config = json.loads(said) if said else {}
    told = config.get("maintenance") if isinstance(config, dict) else None
    for each in told if isinstance(told, list) else ():
        if isinstance(each, dict) and (window := _window(each)) is not None:
            yield window


def _window(said: dict[str, Any]) -> MaintenanceWindow | None:
    """One window, or None for what another version of the program may have written otherwise."""
    if said.get("every") is not None:
        return None
    try:
        starts, until = datetime.fromisoformat(said["starts"]), datetime.fromisoformat(said["until"])
    except (KeyError, TypeError, ValueError):
        return None
    if starts.tzinfo is None or until.tzinfo is None:
        return None
    projects, owners, environments = (tuple(map(str, said.get(name) or ())) for name in ("projects", "owners", "environments"))
    name = str(said.get("name", ""))
    return MaintenanceWindow(name=name, starts=starts, until=until, projects=projects, owners=owners, environments=environments)
