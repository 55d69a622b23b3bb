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
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Concatenate, ParamSpec, TypeVar

from monitor import admin_log, admin_usage
from monitor.admin_line import Line, Rank
from monitor.admin_log import LOG, LOGS
from monitor.admin_turns import TOLD, led_to, order, record_age
from monitor.clock import Clock
from monitor.config import OrganizationSettings, Settings
from monitor.domain import coverage, drift
from monitor.domain.changes import ChangeEvent
from monitor.domain.organization import OWN_ADMIN_KEY, PROJECT_KINDS, AuditEvent, Difference, Item, ItemKind, RecordAge
from monitor.openai_api import organization as record
from monitor.openai_api.admin import AdminClient, Unreadable
from monitor.openai_api.organization import ORGANIZATION_PARTS, PROJECT_PARTS, Part
from monitor.secrets import Secrets
from monitor.store.engine import Engine, StoreError
from monitor.store.organization import DAYS, HOURS, MINUTES, OrganizationWriter, PartState, Place, labels, matches, organization

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

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
CALENDAR = "calendar"
_WHOLE = ("usage", admin_usage.COSTS)
_OF_PROJECTS = tuple(part.kind for part in PROJECT_PARTS if part.kind not in {each.kind for each in ORGANIZATION_PARTS})
_PARTS = {part.kind: part for part in PROJECT_PARTS}
_OWN_PARTS = {part.kind: part for part in ORGANIZATION_PARTS}

Progress = Callable[[int, int], object]
"""Told how many parts of how many are read."""


@dataclass
class Summary:
    """What a sync did."""

    read: Counter[str] = field(default_factory=Counter)
    """Parts that were read, by kind."""
    failed: dict[Place, str] = field(default_factory=dict)
    """What could not be read, and why."""
    changes: list[ChangeEvent] = field(default_factory=list)
    projects: int = 0
    left: int = 0
    """Parts of projects that are still to be read by turns."""
    own_key: str | None = None
    """Why it is not certain which admin key is the one that reads."""
    age: RecordAge | None = None
    """How old what is known of the projects was at the end of it."""
    requests: int = 0
    refused: str | None = None
    """Why nothing at all can be read."""


class AdminSync:
    """Reads one organization's record. Every step is a method; `run` does each when it is due."""

    def __init__(
        self,
        settings: OrganizationSettings,
        client: AdminClient,
        engine: Engine,
        clock: Clock,
        watched: Callable[[], Settings],
        secrets: Secrets,
        thread: Executor | None = None,
    ) -> None:
        """`watched` gives what is configured now; `thread` is the one that writes."""
        self.settings = settings
        self.line = Line(client.ask, settings.sync.requests_per_second)
        self.summary = Summary()
        """Of what was done since the last round began."""
        self._client = client
        self._engine = engine
        self._clock = clock
        self._watched = watched
        self._secrets = secrets
        self._thread = thread
        self._made: OrganizationWriter | None = None
        self._parts: dict[Place, PartState] = {}
        self._projects: dict[str, Item] = {}
        self._keys: dict[str, tuple[Item, ...]] = {}
        """By project, as OpenAI sent them: beginning and end of a key stay in memory."""
        self._labels: dict[str, tuple[str, str]] = {}
        self._named: tuple[tuple[Settings, dict[str, tuple[str, str]]], drift.Names] | None = None
        """What things are called, and of which settings and labels that was made."""
        self._homes: dict[str, str] = {}
        """OpenAI's projects of our projects, by their keys: where no id is configured."""
        self.left: list[Place] = []
        """What the last round had no time for, in the order of its turns."""
        self._told: dict[Place, None] = {}
        """What the log told of, to be read at once."""
        self._busy: frozenset[str] = frozenset(record.USAGE_ENDPOINTS)
        """The endpoints that had traffic in the last day."""
        self._has_certificates = True
        self._number = itertools.count(1)
        self._newest: dict[Place, int] = {}
        """Which reading of a part was stored last."""
        self._expired: set[str] = set()
        self._looked: dict[str, datetime] = {}
        self._looks: set[asyncio.Task[None]] = set()
        self.known = asyncio.Event()
        """Set when the record was read once."""

    # The store ------------------------------------------------------------------------------------------------------------------

    async def begin(self) -> None:
        """Learn what is known already. Raises `StoreError`."""

        def load() -> None:
            self._made = OrganizationWriter(self._engine, self.settings.name, self._clock.now())
            self._parts = self._made.parts()
            self._projects = {item.id: item for item in self._made.items(ItemKind.PROJECT)}
            self._labels = dict(labels(matches(self._engine)))
            self._has_certificates = (
                self.state(ItemKind.CERTIFICATE.value).read_at is None or len(self._made.items(ItemKind.CERTIFICATE)) > 0
            )

        await self._in_thread(load)
        if (began := self.state(ItemKind.PROJECT.value).read_at) is not None:
            self.known.set()
            self.left = [place for place in self._order() if not self._is_read(place, began)]

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _store(self, method: Callable[Concatenate[OrganizationWriter, P], T], *arguments: P.args, **named: P.kwargs) -> T:
        writer = self._made
        assert writer is not None, "begin() comes first"  # noqa: S101
        return await self._in_thread(lambda: method(writer, *arguments, **named))

    def state(self, part: str, project: str | None = None) -> PartState:
        """How far a part is known."""
        return self._parts.get((part, project), PartState())

    @property
    def requests(self) -> int:
        """How many were sent."""
        return self._client.requests

    def _read_at(self, place: Place) -> datetime | None:
        return self.state(*place).read_at

    def _is_read(self, place: Place, since: datetime) -> bool:
        return (at := self._read_at(place)) is not None and at >= since

    def _names(self, known: dict[str, Item] | None = None) -> drift.Names:
        about = (self._watched(), self._labels)
        if self._named is None or self._named[0][0] is not about[0] or self._named[0][1] is not about[1]:
            configured = [project for project in about[0].projects if project.project_id]
            names = drift.Names(
                projects={str(project.project_id): project.name for project in reversed(configured)},
                keys=self._labels,
                models={str(project.project_id): project.models for project in configured},
            )
            self._named = about, names
        return replace(self._named[1], known=known) if known else self._named[1]

    @property
    def active(self) -> list[str]:
        """The projects that are not archived."""
        return [number for number in self._projects if self._is_active(number)]

    def _is_active(self, project: str | None) -> bool:
        item = self._projects.get(project or "")
        return item is not None and item.facts.get("status") != "archived"

    # Parts ----------------------------------------------------------------------------------------------------------------------

    async def read_part(self, part: Part, project: str | None, rank: Rank) -> Unreadable | None:
        """Read one part and tell what changed. A failure is noted and given; what was known stays. Raises `StoreError`."""
        kind, number = part.kind, next(self._number)
        try:
            reading = await record.read(self.line.at(part.path, rank), part, project, personal=self.settings.personal_data)
        except Unreadable as error:
            await self._fails(kind.value, project, error)
            return error
        if number < self._newest.get((kind.value, project), 0):
            return None  # one that began later was faster: this one tells what was before
        self._newest[kind.value, project] = number
        at, names = self._clock.now(), self._names()
        if kind is ItemKind.API_KEY and project is not None:
            self._keys[project] = reading.items
        items = [_storable(item) for item in reading.items]
        if kind is ItemKind.ADMIN_KEY:
            items = await self._find_ours(reading, items)

        def tell(changed: Sequence[Difference], after: datetime) -> Iterator[ChangeEvent]:
            return drift.told(changed, at, after, names)

        self.summary.changes += await self._store(OrganizationWriter.save, kind, project, at, items, tell, reading.reason)
        self._parts[kind.value, project] = PartState(at, reading.reason)
        self.summary.read[kind.value] += 1
        self.summary.failed.pop((kind.value, project), None)
        if kind is ItemKind.PROJECT:
            self._projects = {item.id: item for item in reading.items} | (self._projects if reading.reason else {})
        if kind is ItemKind.CERTIFICATE and project is None:
            self._has_certificates = bool(items) or reading.reason is not None
        return None

    async def _find_ours(self, reading: record.Reading, items: list[Item]) -> list[Item]:
        """Mark the admin key that this sync reads with: the store knows no secret to find it by."""
        secret = self._secrets.resolve(self.settings.admin_key, admin=True).value
        own, why = coverage.own_admin_key(secret, reading.items, whole=reading.reason is None)
        if why is not None:
            self.summary.own_key = f"which one is the monitor's own is not certain: {why}"
            self._parts[OWN_ADMIN_KEY, None] = PartState(reason=self.summary.own_key)
            await self._store(OrganizationWriter.fail, OWN_ADMIN_KEY, None, self.summary.own_key, self._clock.now())
            return items
        self.summary.own_key = None
        await self._mend(OWN_ADMIN_KEY)
        return [replace(item, facts={**item.facts, "ours": item.id == own}) for item in items]

    async def _fails(self, part: str, project: str | None, error: Unreadable) -> None:
        self.summary.failed[part, project] = str(error)
        self._parts[part, project] = replace(self.state(part, project), reason=str(error))
        await self._store(OrganizationWriter.fail, part, project, str(error), self._clock.now())

    async def read_own_parts(self, rank: Rank = Rank.ROUND) -> bool:
        """What is the organization's own, its projects first. False where the key opens nothing: then no more is asked."""
        first, *rest = ORGANIZATION_PARTS
        error = await self.read_part(first, None, rank)
        if error is not None and not error.again and not error.absent:
            await self._bar(error)
            return False
        if error is not None:
            return bool(self._projects)  # those that are known can be asked for
        await self._unbar()
        for part in rest:
            await self.read_part(part, None, rank)
        return True

    async def _bar(self, error: Unreadable) -> None:
        """The key opens nothing: every part says so."""
        self.summary.refused = str(error)
        for part in (*(kind.value for kind in ItemKind if kind is not ItemKind.PROJECT), *_WHOLE, *LOGS):
            await self._fails(part, None, error)

    async def _unbar(self) -> None:
        """The key opens something: the rest says itself whether it can be read, the logs within minutes."""
        for part in (*(kind.value for kind in _OF_PROJECTS), *_WHOLE):
            await self._mend(part)

    async def _mend(self, part: str) -> None:
        """A part of everybody's that could not be read can be."""
        if self.state(part).reason is not None:
            await self._store(OrganizationWriter.mend, part, self._clock.now())
            self._parts[part, None] = replace(self.state(part), reason=None)

    # Rounds ---------------------------------------------------------------------------------------------------------------------

    async def round(self, progress: Progress = lambda _, __: None, most: float | None = ROUND_MOST) -> Summary:
        """Read what decides of every project, and of the rest what time allows: `most` seconds, or all. Raises `StoreError`."""
        loop = asyncio.get_running_loop()
        began, requests = loop.time(), self._client.requests
        self.summary = summary = Summary()
        if await self.read_own_parts():
            summary.projects = len(self.active)
            places = self._order()
            self.left = await self._work(places, None if most is None else began + most, progress)
            summary.left = len(self.left)
            await self.match_keys()
            await self.tell_dates()
            now = self._clock.now()
            await self._store(OrganizationWriter.forget_usage, now)
            await self._store(OrganizationWriter.synced, now)
            summary.age = self.age()
            self.known.set()
        summary.requests = self._client.requests - requests
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
        scarce = len(self.active) * len(self._kinds()) > sync.requests_per_second * sync.configuration.total_seconds()
        watched = {project.project_id for project in self._watched().projects}
        return order(self.active, self._kinds(), self._read_at, self._clock.now(), watched, told if scarce else None)

    def _kinds(self) -> list[ItemKind]:
        """What every project is asked for."""
        return [kind for kind in PROJECT_KINDS if kind is not ItemKind.CERTIFICATE or self._has_certificates]

    def age(self) -> RecordAge:
        """How old what is known of the projects is."""
        return record_age([(kind.value, project) for project in self.active for kind in self._kinds()], self._read_at)

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
                self._told |= dict.fromkeys(place for place in urgent if not self._is_read(place, now))
                raise
            return 0.0
        while self.left and (not self._is_active(self.left[0][1]) or self._is_read(self.left[0], began)):
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
        old = list(itertools.takewhile(lambda place: not self._is_read(place, late), self.left[: AT_A_TIME - len(told)]))
        del self.left[: len(old)]
        return [place for place in dict.fromkeys([*told, *old]) if self._is_active(place[1])]

    # The log --------------------------------------------------------------------------------------------------------------------

    async def read_log(self, rank: Rank = Rank.LOG) -> list[ChangeEvent]:
        """Read what both logs tell since the last time, and of what they tell the newest state. Raises `StoreError`."""
        async with together() as group:
            reading = [group.create_task(self._read_one_log(part, rank)) for part in LOGS]
        return [event for each in reading for event in each.result()]

    async def _read_one_log(self, part: str, rank: Rank) -> list[ChangeEvent]:
        first, ask = self.state(part).read_until is None, self.line.at(part, rank)
        now, personal = self._clock.now(), self.settings.personal_data
        outcome = await admin_log.read(part, ask, self._store, self._parts, now, self._names, personal=personal)
        if outcome.reason is None or outcome.known_until:
            self.summary.read[part] += 1
            self.summary.failed.pop((part, None), None)
        else:
            await self._fails(part, None, Unreadable(outcome.reason))
        self.summary.changes += outcome.new
        if outcome.told and not first:
            await self._follow(outcome.told, rank)
        return outcome.new

    async def _follow(self, events: Iterable[tuple[AuditEvent, str | None]], rank: Rank) -> None:
        """Read again what the log says has changed, of exactly the projects it is about: only the record knows what it is now.

        The first few are read before this returns, so that a burst of events does not keep the log waiting; the rest follows at
        full pace.
        """
        before = set(self._projects)
        own, places = led_to(events, self._of_person)
        for kind in own:
            await self.read_part(_OWN_PARTS[kind], None, rank)
        active = set(self.active)
        new = [(kind.value, each) for each in active - before for kind in self._kinds()]
        told = [place for place in dict.fromkeys([*places, *new]) if place[1] in active]
        await self._work(told[:AT_A_TIME], rank=rank)
        self._told |= dict.fromkeys(told[AT_A_TIME:])

    def _of_person(self, user: str | None) -> list[str]:
        """The projects where a person owns keys: what becomes of the person becomes of them."""
        return [project for project, keys in self._keys.items() if any(key.facts.get("owner_id") == user for key in keys)]

    # Usage ----------------------------------------------------------------------------------------------------------------------

    async def read_usage(self, width: timedelta) -> None:
        """Read the buckets of one width: minutes only where the last day's hours had traffic. Raises `StoreError`."""
        endpoints = admin_usage.asked(self._busy) if width == MINUTES else list(record.USAGE_ENDPOINTS)
        outcome = await admin_usage.read_usage(self.line, self._store, self._parts, width, self._clock.now(), endpoints)
        if width == HOURS:
            self._busy = outcome.busy
        self._count("usage", outcome, len(endpoints))

    async def read_costs(self) -> None:
        """Read what each day cost. Raises `StoreError`."""
        self._count("costs", await admin_usage.read_costs(self.line, self._store, self._parts, self._clock.now()), 1)

    def _count(self, what: str, outcome: admin_usage.Outcome, asked: int) -> None:
        self.summary.read[what] += asked - len(outcome.failed)
        self.summary.failed |= {(part, None): reason for part, reason in outcome.failed.items()}

    # Dates and keys -------------------------------------------------------------------------------------------------------------

    async def tell_dates(self) -> None:
        """Tell which keys and certificates expired since the record was first kept. Raises `StoreError`."""
        now, since = self._clock.now(), self.state(CALENDAR).read_until
        if since is None:
            await self._store(OrganizationWriter.read_until, CALENDAR, now, now)
            self._parts[CALENDAR, None] = PartState(now, read_until=now)
            return
        kinds = (ItemKind.API_KEY, ItemKind.ADMIN_KEY, ItemKind.CERTIFICATE)

        def tell() -> list[ChangeEvent]:
            dated = organization(self._engine, self.settings.name, kinds=kinds).items
            told = [event for event in drift.expired(dated, since, now, self._names()) if event.dedup not in self._expired]
            assert self._made is not None  # noqa: S101
            new = self._made.save_audit(told)
            self._expired |= {event.dedup for event in told}
            return new

        self.summary.changes += await self._in_thread(tell)

    async def match_keys(self) -> None:
        """Find out which of the organization's keys the configured secrets are. Secrets and what is shown of keys stay in memory.

        That a key is nobody's, or more than one, is only said when the keys of all projects were read. Raises `StoreError`.
        """
        configured = [
            (project, key.label, secret)
            for project in self._watched().projects
            if self._may_be_ours(project.project_id, project.organization)
            for key in project.keys
            if (secret := self._secrets.resolve(key.secret).value) is not None
        ]
        whole = all(project in self._keys for project in self.active)
        found = list(
            coverage.matches(
                [(project.name, project.project_id, label, secret) for project, label, secret in configured],
                [item for items in self._keys.values() for item in items],
                self.settings.name,
                whole=whole,
            )
        )
        await self._store(OrganizationWriter.save_matches, found, self._clock.now())
        self._labels = dict(await self._in_thread(lambda: labels(matches(self._engine))))
        self._homes = {each.project: each.api_key_project for each in found if each.api_key_project}

    def _may_be_ours(self, project_id: str | None, organization_id: str | None) -> bool:
        """Whether a configured project may be of this organization: it is on its list, names it, or there is no other."""
        if project_id is not None and project_id in self._projects:
            return True
        if organization_id is not None and self.settings.id is not None:
            return organization_id == self.settings.id
        return len(self._watched().organizations) == 1

    # At once --------------------------------------------------------------------------------------------------------------------

    def look_now(self, projects: Collection[str]) -> None:
        """Something broke in these projects (by our names): read the log and their parts now. Cheap; returns at once."""
        if self._made is None:
            return
        now = self._clock.now()
        wanted = [
            number
            for number in dict.fromkeys(self._numbers(projects))
            if number in self._projects and now - self._looked.get(number, now - LOOK_AGAIN) >= LOOK_AGAIN
        ][:MOST_LOOKS]
        if wanted:
            self._looked |= dict.fromkeys(wanted, now)
            task = asyncio.get_running_loop().create_task(self._look(wanted))
            self._looks.add(task)
            task.add_done_callback(self._looks.discard)

    def _numbers(self, names: Collection[str]) -> Iterator[str]:
        for project in self._watched().projects:
            number = project.project_id or self._homes.get(project.name)
            if project.name in names and number is not None:
                yield number

    async def _look(self, projects: Sequence[str]) -> None:
        try:
            await self.read_log(Rank.URGENT)
            active = set(self.active)
            async with together() as group:
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
        summary.requests = self._client.requests
        return summary


def _storable(item: Item) -> Item:
    """Without more of a key than may be stored."""
    shown = item.facts.get("redacted_value")
    if shown is None:
        return item
    facts = {name: value for name, value in item.facts.items() if name != "redacted_value"}
    if (less := coverage.kept(shown)) is not None:
        facts["redacted_value"] = less
    return replace(item, facts=facts)


@contextlib.asynccontextmanager
async def together() -> AsyncIterator[asyncio.TaskGroup]:
    """Several at once; the first that fails ends the others and is raised as itself."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except* StoreError as errors:
        raise errors.exceptions[0] from None
