"""What changed around an incident, and what of that cannot be known."""

from collections.abc import Sequence
from datetime import datetime
from itertools import chain

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from monitor.domain.changes import ChangeEvent
from monitor.domain.incidents import Incident
from monitor.domain.organization import NO_ADMIN_KEY, TENANT_LOG, Gap
from monitor.domain.timeline import from_ms, to_ms
from monitor.domain.what_changed import LONGEST, window_of
from monitor.store import changes, codec
from monitor.store.engine import reading
from monitor.store.tables import change_events, organization_parts, organizations, projects

_MOST = 2000
_MANY = 200
"""Projects that are named in a question; where more are hit, everything that changed is read."""
_NO_CHANGES = frozenset({"usage", "costs"})
"""Parts of the record that tell no change."""


def read(engine: Engine, incident: Incident) -> tuple[ChangeEvent, ...]:
    """What may have changed in the time around its begin, for those who were hit or for everybody; the nearest where many did."""
    with reading(engine) as connection:
        return changes_of(connection, incident)


def changes_of(connection: Connection, incident: Incident) -> tuple[ChangeEvent, ...]:
    """The same within a transaction."""
    c, window, bad = change_events.c, window_of(incident), to_ms(incident.first_bad_at)
    start, end, latest = to_ms(window.start), to_ms(window.end), to_ms(incident.first_bad_at + LONGEST)
    exactly = sa.and_(c.at >= start, c.at < end)
    seen_later = sa.and_(c.at >= end, c.at < latest, c.after < end)  # a reading that came when it was over for long
    everybodys = sa.and_(c.project.is_(None), c.project_id.is_(None))
    those: list[sa.ColumnElement[bool]] = [sa.true()]
    if len(incident.projects) <= _MANY:
        those = [c.project.in_([codec.clean(name) for name in incident.projects]), everybodys]
    found = []
    for whose in those:
        for when in (exactly, seen_later):
            query = sa.select(change_events).where(when, whose).order_by(sa.func.abs(c.at - bad), c.id).limit(_MOST)
            found.append(connection.execute(query))
    nearest = sorted(chain(*found), key=lambda row: (abs(row.at - bad), row.id))[:_MOST]
    return tuple(changes.event_of(row) for row in nearest)


def gaps(engine: Engine) -> tuple[tuple[Gap, ...], datetime | None]:
    """What cannot be known of what changed in the whole organization, and until when the rest is known."""
    with reading(engine) as connection:
        return not_known(connection, ())


def not_known(connection: Connection, names: Sequence[str]) -> tuple[tuple[Gap, ...], datetime | None]:
    """The parts of the record that could not be read, of everybody or of these projects; and until when the others are known."""
    o, p = organizations.c, organization_parts.c
    read_at = list(connection.execute(sa.select(o.synced_at)).scalars())
    if not read_at:
        return (Gap("audit_log", None, NO_ADMIN_KEY),), None
    ids = _ids(connection, names[:_MANY]) if names else []
    query = sa.select(p.part, p.project, p.reason, p.since).where(
        p.reason.is_not(None), p.project.in_(["", *ids]), p.part.not_in(_NO_CHANGES),
        sa.or_(p.part != TENANT_LOG, p.read_at.is_not(None)),  # an organization that has none lacks nothing
    )  # fmt: skip
    gaps = tuple(
        Gap(part, whose or None, reason, codec.moment(since))
        for part, whose, reason, since in connection.execute(query.order_by(p.part, p.project))
        if part.partition(".")[0] not in _NO_CHANGES
    )
    known = [at for at in read_at if at is not None]
    return gaps, from_ms(min(known)) if len(known) == len(read_at) else None


def _ids(connection: Connection, names: Sequence[str]) -> list[str]:
    """OpenAI's ids of these projects."""
    c = projects.c
    rows = connection.execute(sa.select(c.name, c.facts).where(c.name.in_([codec.clean(name) for name in names])))
    return [found for name, facts in rows if (found := codec.project_of(name, facts).project_id)]
