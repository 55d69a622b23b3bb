"""Reads the two audit logs of one organization: each is resumed where it was left, whatever becomes of the other."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from monitor.domain import audit
from monitor.domain.changes import ChangeEvent
from monitor.domain.drift import Names
from monitor.domain.organization import TENANT_LOG, AuditEvent, Item
from monitor.openai_api import organization as record
from monitor.openai_api.admin import Ask, Unreadable
from monitor.store.organization import OrganizationWriter, PartState, Place

FIRST = timedelta(days=30)
"""How far back a log is read at first."""
OVERLAP = timedelta(hours=1)
"""Of two readings of a log: an event may be logged later than it happened."""
LOG = "audit_log"
LOGS = (LOG, TENANT_LOG)
"""As parts of the record, and as endpoints at the line: one that fails does not hold up the other."""

Store = Callable[..., Awaitable[Any]]
"""Calls a method of the writer, with what follows, in its thread."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a reading of one log told."""

    new: list[ChangeEvent]
    told: list[tuple[AuditEvent, str | None]]
    """The entries behind what is new, each with its project."""
    reason: str | None
    """Why it could not be read to its end."""
    known_until: bool
    """Whether everything before is known now, or given up."""


async def read(
    part: str,
    ask: Ask,
    store: Store,
    parts: dict[Place, PartState],
    now: datetime,
    names: Callable[[dict[str, Item]], Names],
    *,
    personal: bool = False,
) -> Outcome:
    """Read what one log tells since it was read last, and store it. A failure is noted. Raises `StoreError`."""
    state = parts.get((part, None), PartState())
    since = (state.read_until or now - FIRST) - OVERLAP
    events: list[AuditEvent] = []
    pages, reason = 0, None
    try:
        async for page in record.audit_log(ask, since, tenant=part == TENANT_LOG, personal=personal):
            events += page
            pages += 1
    except Unreadable as error:
        reason = str(error)
    known = await store(OrganizationWriter.known, audit.mentioned(events)) if events else {}
    told = list(audit.logged(events, names(known)))
    new = await store(OrganizationWriter.save_audit, [one for _, one in told])
    known_until = reason is None or pages >= record.MOST_AUDIT_PAGES  # what is older than so many pages is given up
    if known_until:
        await store(OrganizationWriter.read_until, part, now, now, reason)
        parts[part, None] = PartState(now, reason, read_until=now)
    fresh = {one.dedup for one in new}
    return Outcome(new, [(event, one.project_id) for event, one in told if one.dedup in fresh], reason, known_until)
