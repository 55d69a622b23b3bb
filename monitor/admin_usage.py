"""Reading usage and costs: what is new, and what may still change.

OpenAI says that usage may be late, and not by how much. So each reading asks again for what was read before: minutes of the last
hour, hours of the last day, days of the last three (a day's last hours may come a day late), costs of the last week, because they
are settled later than they are used. What comes later still is in the wider buckets, which look back further.
"""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from monitor.admin_line import Line, Rank
from monitor.openai_api import organization as record
from monitor.openai_api.admin import Unreadable
from monitor.store.organization import DAYS, HOURS, MINUTES, OrganizationWriter, PartState, Place

BACK = {MINUTES: timedelta(hours=1), HOURS: timedelta(days=1), DAYS: timedelta(days=3)}
"""How far what was read before is read again."""
FIRST = {MINUTES: timedelta(hours=6), HOURS: timedelta(days=14), DAYS: timedelta(days=180)}
"""How far the first reading goes back, and one after a long pause: what is older is in the wider buckets."""
COSTS_BACK = timedelta(days=7)
COSTS_FIRST = timedelta(days=180)
BY = ("project_id", "api_key_id", "model")
_ALWAYS = "completions"
COSTS = "costs"

Store = Callable[..., Awaitable[object]]
"""Calls a method of the writer, with what follows, in its thread."""


def part_of(endpoint: str, width: timedelta) -> str:
    """How the state of one endpoint's buckets is called."""
    return f"usage.{endpoint}.{round(width.total_seconds())}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a reading gave."""

    busy: frozenset[str]
    """The endpoints that had traffic."""
    failed: dict[str, str]
    """Parts that could not be read, and why."""


async def read_usage(
    line: Line, store: Store, parts: dict[Place, PartState], width: timedelta, now: datetime, endpoints: Collection[str]
) -> Outcome:
    """Read the buckets of one width. What one endpoint cannot give does not hold up the others. Raises `StoreError`."""
    busy, failed = set(), {}
    end = _floor(now, MINUTES)
    for endpoint in endpoints:
        part = part_of(endpoint, width)
        state = parts.get((part, None), PartState())
        start = end - FIRST[width]
        if state.read_until is not None:
            start = max(state.read_until - BACK[width], start)
        start = _floor(start, width)  # a bucket that is cut would count less than it has
        try:
            pages = record.usage(line.at(f"usage/{endpoint}", Rank.USAGE), endpoint, width, start, end, BY)
            async for page in pages:
                if page.rows:
                    busy.add(endpoint)
                await store(OrganizationWriter.replace_usage, endpoint, width, page.starts, page.rows)
        except Unreadable as error:
            failed[part] = str(error)
            await store(OrganizationWriter.fail, part, None, f"{endpoint}: {error}", now)
        else:
            await store(OrganizationWriter.read_until, part, end, now)
            parts[part, None] = PartState(now, read_until=end)
    return Outcome(frozenset(busy), failed)


async def read_costs(line: Line, store: Store, parts: dict[Place, PartState], now: datetime) -> Outcome:
    """Read what each day cost. Raises `StoreError`."""
    end = _floor(now, MINUTES)
    state = parts.get((COSTS, None), PartState())
    start = end - COSTS_FIRST
    if state.read_until is not None:
        start = max(state.read_until - COSTS_BACK, start)
    busy = False
    try:
        async for days, rows in record.costs(line.at(COSTS, Rank.USAGE), _floor(start, DAYS), end):
            busy = busy or bool(rows)
            await store(OrganizationWriter.replace_costs, days, rows)
    except Unreadable as error:
        await store(OrganizationWriter.fail, COSTS, None, str(error), now)
        return Outcome(frozenset(), {COSTS: str(error)})
    await store(OrganizationWriter.read_until, COSTS, end, now)
    parts[COSTS, None] = PartState(now, read_until=end)
    return Outcome(frozenset({COSTS} if busy else ()), {})


def asked(busy: Collection[str]) -> list[str]:
    """The endpoints worth asking often: those that had traffic lately, and always the one that most use."""
    return [endpoint for endpoint in record.USAGE_ENDPOINTS if endpoint == _ALWAYS or endpoint in busy]


def _floor(at: datetime, width: timedelta) -> datetime:
    zero = datetime(1970, 1, 1, tzinfo=UTC)
    return zero + (at - zero) // width * width
