"""How much each project uses each model, from the organization's own usage."""

from collections.abc import Collection
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from monitor.domain.model_access import Use
from monitor.domain.timeline import floor, to_ms
from monitor.store.engine import reading
from monitor.store.tables import DAY, organizations, usage

LATELY = timedelta(days=7)
"""Complete days (UTC) that an average is made of: a week, so that weekends count as they should."""


def daily_use(
    engine: Engine, now: datetime, *, models: Collection[str] | None = None, project: str | None = None
) -> dict[tuple[str, str], Use] | None:
    """The average of the last complete days by OpenAI's project id and model, of these models or this project (its id) alone.

    None where no usage of these days is known: then nobody can say that something is not used.
    """
    end = to_ms(floor(now, timedelta(days=1)))
    start = end - LATELY // timedelta(milliseconds=1)
    u = usage.c
    with reading(engine) as connection:
        first = _first_day(connection, start, end)
        if first is None:
            return None
        requests, tokens = sa.func.sum(u.requests), sa.func.sum(u.input_tokens + u.output_tokens)
        mine = u.organization_id.in_(sa.select(organizations.c.id))  # said, so that the rows are sought
        query = sa.select(u.project, u.model, requests, tokens).where(mine, u.width == DAY, u.start >= first, u.start < end)
        if models is not None:
            query = query.where(u.model.in_(sorted(models)))
        if project is not None:
            query = query.where(u.project == project)
        days = (end - first) // DAY
        rows = connection.execute(query.group_by(u.project, u.model)).all() if models is None or models else []
    return {(number, model): Use(float(sent) / days, float(used) / days) for number, model, sent, used in rows if number and model}


def _first_day(connection: Connection, start: int, end: int) -> int | None:
    """The first day from which on usage is known."""
    u = usage.c
    mine = u.organization_id.in_(sa.select(organizations.c.id))
    query = sa.select(u.start).where(mine, u.width == DAY, u.start >= start, u.start < end).order_by(u.start).limit(1)
    found: int | None = connection.execute(query).scalar()
    return found
