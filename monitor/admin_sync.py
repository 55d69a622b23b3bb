"""Keeps the record of one organization as OpenAI has it: reads it, tells what changed, and says what could not be read.

One reading of every part of two thousand projects is 16,000 requests, 27 minutes at ten a second. So a round reads of every
project what decides (its keys, its model permissions), then the rest by turns, the oldest reading first and what no audit event
tells before what one does, until its time is over. What is left is read evenly until the next round, but for what was never read
and what the log tells of: that comes at once. Of a small organization a round reads everything.
"""

import asyncio
import contextlib
import itertools
import logging
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from datetime import datetime, timedelta

from monitor import admin_log, admin_usage
from monitor.admin_line import Rank
from monitor.admin_log import LOG, LOGS
from monitor.admin_record import Record, Summary
from monitor.admin_turns import TOLD, led_to, order
from monitor.domain.changes import ChangeEvent
from monitor.domain.organization import TENANT_LOG, AuditEvent, ItemKind, RecordAge
from monitor.openai_api.admin import Unreadable
from monitor.openai_api.organization import ORGANIZATION_PARTS, PROJECT_PARTS, USAGE_ENDPOINTS
from monitor.store.engine import StoreError
from monitor.store.organization import DAYS, HOURS, MINUTES, OrganizationWriter, Place

log = logging.getLogger(__name__)

ROUND_MOST = 560.0
"""Seconds of a round: with what every organization has once and the logs, all of it stays within ten minutes."""
AT_ONCE = 8
"""Questions under way together: answers take longer than the pause between two questions."""
LOOK_AGAIN = timedelta(minutes=1)
"""Between two looks at one project because something broke."""
MOST_LOOKS = 10
"""Projects that are looked at because something broke: where it is more, it is nobody's own change."""
LATEST = 1.1
"""Intervals after which a part is read again at full pace, whatever its turn."""
AT_A_TIME = 100
"""Parts that are read together at full pace, before it is looked again what is most urgent."""
_PARTS = {part.kind: part for part in PROJECT_PARTS}
_OWN_PARTS = {part.kind: part for part in ORGANIZATION_PARTS}

Progress = Callable[[int, int], object]
"""Told how many parts of how many are read."""


class AdminSync:
    """Keeps one organization's record: says when what is read. Every step is a method; who runs it does each when it is due."""

    def __init__(self, record: Record) -> None:
        """`record` is what is kept, and who reads it."""
        self.record = record
        self.settings = record.settings
        self.line = record.line
        self.read_part = record.read_part
        self.tell_dates = record.tell_dates
        self.state = record.state
        self._clock = record.clock
        self.left: list[Place] = []
        """What the last round had no time for, in the order of its turns."""
        self._told: dict[Place, None] = {}
        """What the log told of, to be read at once."""
        self._busy: frozenset[str] = frozenset(USAGE_ENDPOINTS)
        """The endpoints that had traffic in the last day."""
        self._looked: dict[str, datetime] = {}
        self._looks: set[asyncio.Task[None]] = set()
        self.known = asyncio.Event()
        """Set when the record was read once."""

    async def begin(self) -> None:
        """Learn what is known already. Raises `StoreError`."""
        await self.record.begin()
        if (began := self.state(ItemKind.PROJECT.value).read_at) is not None:
            self.known.set()
            self.left = [place for place in self._order() if not self.record.is_read(place, began)]

    @property
    def summary(self) -> Summary:
        """Of what was done since the last round began."""
        return self.record.summary

    @property
    def requests(self) -> int:
        """How many were sent."""
        return self.record.requests

    def age(self) -> RecordAge:
        """How old what is known of the projects is."""
        return self.record.age()

    # Rounds ---------------------------------------------------------------------------------------------------------------------

    async def round(self, progress: Progress = lambda _, __: None, most: float | None = ROUND_MOST) -> Summary:
        """Read what decides of every project, and of the rest what time allows: `most` seconds, or all. Raises `StoreError`."""
        loop = asyncio.get_running_loop()
        began, requests = loop.time(), self.requests
        self.record.summary = summary = Summary()
        if await self.record.read_own_parts():
            summary.projects = len(self.record.active)
            places = self._order()
            self.left = await self._work(places, None if most is None else began + most, progress)
            summary.left = len(self.left)
            await self.record.match_keys()
            await self.tell_dates()
            now = self._clock.now()
            await self.record.store(OrganizationWriter.forget_usage, now)
            await self.record.store(OrganizationWriter.synced, now)
            summary.age = self.age()
            self.known.set()
        summary.requests = self.requests - requests
        return summary

    async def _work(
        self,
        places: Sequence[Place],
        until: float | None = None,
        progress: Progress = lambda _, __: None,
        rank: Rank = Rank.ROUND,
    ) -> list[Place]:
        """Read the places, several at once; those for which no time is left come back."""
        waiting, done, loop = list(reversed(places)), 0, asyncio.get_running_loop()

        async def work() -> None:
            nonlocal done
            while waiting and (until is None or loop.time() < until):
                kind, project = waiting.pop()
                await self.read_part(_PARTS[ItemKind(kind)], project, rank)
                done += 1
                progress(done, len(places))

        async with together() as group:
            for _ in range(AT_ONCE):
                group.create_task(work())
        return list(reversed(waiting))

    def _order(self) -> list[Place]:
        """What to read of the projects; where an interval has no room for all, what the log tells of comes half as often."""
        sync, log = self.settings.sync, self.state(LOG)
        told = TOLD if log.read_at is not None and log.reason is None else frozenset()
        scarce = len(self.record.active) * len(self.record.kinds()) > sync.requests_per_second * sync.configuration.total_seconds()
        watched = {project.project_id for project in self.record.watched().projects}
        return order(
            self.record.active, self.record.kinds(), self.record.read_at, self._clock.now(), watched, told if scarce else None
        )

    async def turn(self) -> float:
        """Read some of what the log told of, nobody ever read or is too old, else one of what the last round left; gives the
        seconds to wait for the next, so that all are read before a new round. Raises `StoreError`.
        """
        now = self._clock.now()
        began = self.state(ItemKind.PROJECT.value).read_at or now
        if urgent := self._urgent():
            try:
                await self._work(urgent, rank=Rank.TURNS)
            except StoreError:
                self._told |= dict.fromkeys(place for place in urgent if not self.record.is_read(place, now))
                raise
            return 0.0
        while self.left and (not self.record.is_active(self.left[0][1]) or self.record.is_read(self.left[0], began)):
            self.left.pop(0)
        if not self.left:
            return 5.0
        kind, project = self.left.pop(0)
        await self.read_part(_PARTS[ItemKind(kind)], project, Rank.TURNS)
        time_left = (began + self.settings.sync.configuration - self._clock.now()).total_seconds()
        return max(time_left / (len(self.left) + 1), 1.5 / self.settings.sync.requests_per_second)

    def _urgent(self) -> list[Place]:
        """The next few parts that are not to wait for their turn; they are nobody else's from now on."""
        told = list(itertools.islice(self._told, AT_A_TIME))
        for place in told:
            del self._told[place]
        late = self._clock.now() - LATEST * self.settings.sync.configuration
        old = list(itertools.takewhile(lambda place: not self.record.is_read(place, late), self.left[: AT_A_TIME - len(told)]))
        del self.left[: len(old)]
        return [place for place in dict.fromkeys([*told, *old]) if self.record.is_active(place[1])]

    # The log --------------------------------------------------------------------------------------------------------------------

    async def read_log(self, rank: Rank = Rank.LOG) -> list[ChangeEvent]:
        """Read what both logs tell since the last time, and of what they tell the newest state. Raises `StoreError`."""
        async with together() as group:
            reading = [group.create_task(self._read_one_log(part, rank)) for part in LOGS]
        return [event for each in reading for event in each.result()]

    async def _read_one_log(self, part: str, rank: Rank) -> list[ChangeEvent]:
        first, ask = self.state(part).read_until is None, self.line.at(part, rank)
        now, personal = self._clock.now(), self.settings.personal_data
        outcome = await admin_log.read(part, ask, self.record.store, self.record.parts, now, self.record.names, personal=personal)
        if outcome.reason is None or outcome.known_until:
            self.summary.read[part] += 1
            self.summary.failed.pop((part, None), None)
        else:
            await self.record.fails(part, None, Unreadable(outcome.reason))
        self.summary.changes += outcome.new
        if outcome.told and not first:
            await self._follow(outcome.told, rank)
        return outcome.new

    async def _follow(self, events: Iterable[tuple[AuditEvent, str | None]], rank: Rank) -> None:
        """Read again what the log says has changed, of exactly the projects it is about: only the record knows what it is now.

        The first few are read before this returns, so that a burst of events does not keep the log waiting; the rest follows at
        full pace.
        """
        before = set(self.record.projects)
        own, places = led_to(events, self.record.of_person)
        for kind in own:
            await self.read_part(_OWN_PARTS[kind], None, rank)
        active = set(self.record.active)
        new = [(kind.value, each) for each in active - before for kind in self.record.kinds()]
        told = [place for place in dict.fromkeys([*places, *new]) if place[1] in active]
        await self._work(told[:AT_A_TIME], rank=rank)
        self._told |= dict.fromkeys(told[AT_A_TIME:])

    # Usage ----------------------------------------------------------------------------------------------------------------------

    async def read_usage(self, width: timedelta) -> None:
        """Read the buckets of one width: minutes only where the last day's hours had traffic. Raises `StoreError`."""
        endpoints = admin_usage.asked(self._busy) if width == MINUTES else list(USAGE_ENDPOINTS)
        outcome = await admin_usage.read_usage(self.line, self.record.store, self.record.parts, width, self._clock.now(), endpoints)
        if width == HOURS:
            self._busy = outcome.busy
        self._count("usage", outcome, len(endpoints))

    async def read_costs(self) -> None:
        """Read what each day cost. Raises `StoreError`."""
        self._count("costs", await admin_usage.read_costs(self.line, self.record.store, self.record.parts, self._clock.now()), 1)

    def _count(self, what: str, outcome: admin_usage.Outcome, asked: int) -> None:
        self.summary.read[what] += asked - len(outcome.failed)
        self.summary.failed |= {(part, None): reason for part, reason in outcome.failed.items()}

    # At once --------------------------------------------------------------------------------------------------------------------

    def look_now(self, projects: Collection[str]) -> None:
        """Something broke in these projects (by our names): read the log and their parts now. Cheap; returns at once."""
        if not self.record.begun:
            return
        now = self._clock.now()
        wanted = [
            number
            for number in dict.fromkeys(self.record.numbers(projects))
            if number in self.record.projects and now - self._looked.get(number, now - LOOK_AGAIN) >= LOOK_AGAIN
        ][:MOST_LOOKS]
        if wanted:
            self._looked |= dict.fromkeys(wanted, now)
            task = asyncio.get_running_loop().create_task(self._look(wanted))
            self._looks.add(task)
            task.add_done_callback(self._looks.discard)

    async def _look(self, projects: Sequence[str]) -> None:
        try:
            await self._read_one_log(LOG, Rank.URGENT)
            active = set(self.record.active)
            async with together() as group:
                group.create_task(self._read_one_log(TENANT_LOG, Rank.URGENT))  # which may be slow: nothing waits for it
                group.create_task(self.read_part(_OWN_PARTS[ItemKind.SPEND_LIMIT], None, Rank.URGENT))
                for project in projects:
                    for part in PROJECT_PARTS if project in active else ():
                        group.create_task(self.read_part(part, project, Rank.URGENT))
        except StoreError as error:
            log.warning("what changed just before could not be stored: %s", error)  # the next round tells it too
        except Exception:
            log.exception("what changed just before could not be read")

    async def end(self) -> None:
        """Look no longer at what broke."""
        for task in self._looks:
            task.cancel()
        await asyncio.gather(*self._looks, return_exceptions=True)

    # Once -----------------------------------------------------------------------------------------------------------------------

    async def once(self, progress: Progress = lambda _, __: None) -> Summary:
        """Everything once, for as long as it takes. Raises `StoreError`."""
        await self.begin()
        first = self.state(ItemKind.PROJECT.value).read_at is None
        if not first:
            await self.read_log()
        before = self.summary
        summary = await self.round(progress, most=None)
        summary.changes = [*before.changes, *summary.changes]
        if summary.refused is None:
            if first:
                await self.read_log()
            for width in (DAYS, HOURS, MINUTES):
                await self.read_usage(width)
            await self.read_costs()
        summary.requests = self.requests
        return summary


@contextlib.asynccontextmanager
async def together() -> AsyncIterator[asyncio.TaskGroup]:
    """Several at once; the first that fails ends the others and is raised as itself."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except* StoreError as errors:
        raise errors.exceptions[0] from None
