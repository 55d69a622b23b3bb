"""What is known of one organization, in memory and in the store, and how one part of it is read anew. When is another matter."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Concatenate, ParamSpec, TypeVar

from monitor import admin_usage
from monitor.admin_line import Line, Rank
from monitor.admin_log import LOGS
from monitor.admin_turns import record_age
from monitor.clock import Clock
from monitor.config import OrganizationSettings, Settings
from monitor.domain import coverage, drift
from monitor.domain.changes import ChangeEvent
from monitor.domain.organization import OWN_ADMIN_KEY, PROJECT_KINDS, Difference, Item, ItemKind, RecordAge
from monitor.openai_api import organization as record
from monitor.openai_api.admin import AdminClient, Unreadable
from monitor.openai_api.organization import ORGANIZATION_PARTS, PROJECT_PARTS, Part
from monitor.secrets import Secrets
from monitor.store.engine import Engine
from monitor.store.organization import OrganizationWriter, PartState, Place, labels, matches, organization

P = ParamSpec("P")
T = TypeVar("T")

CALENDAR = "calendar"
_WHOLE = ("usage", admin_usage.COSTS)
_OF_PROJECTS = tuple(part.kind for part in PROJECT_PARTS if part.kind not in {each.kind for each in ORGANIZATION_PARTS})


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


class Record:
    """The record of one organization as it is known, and the only one who changes it."""

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
        self.clock = clock
        self.watched = watched
        self.line = Line(client.ask, settings.sync.requests_per_second)
        self.summary = Summary()
        """Of what was done since the last round began."""
        self.parts: dict[Place, PartState] = {}
        self.projects: dict[str, Item] = {}
        self.keys: dict[str, tuple[Item, ...]] = {}
        """By project, as OpenAI sent them: beginning and end of a key stay in memory."""
        self._client = client
        self._engine = engine
        self._secrets = secrets
        self._thread = thread
        self._made: OrganizationWriter | None = None
        self._labels: dict[str, tuple[str, str]] = {}
        self._named: tuple[tuple[Settings, dict[str, tuple[str, str]]], drift.Names] | None = None
        """What things are called, and of which settings and labels that was made."""
        self._homes: dict[str, str] = {}
        """OpenAI's projects of our projects, by their keys: where no id is configured."""
        self._has_certificates = True
        self._number = itertools.count(1)
        self._newest: dict[Place, int] = {}
        """Which reading of a part was stored last."""
        self._expired: set[str] = set()

    @property
    def begun(self) -> bool:
        """Whether what is known already was learned."""
        return self._made is not None

    @property
    def requests(self) -> int:
        """How many were sent."""
        return self._client.requests

    # The store ------------------------------------------------------------------------------------------------------------------

    async def begin(self) -> None:
        """Learn what is known already. Raises `StoreError`."""

        def load() -> None:
            self._made = OrganizationWriter(self._engine, self.settings.name, self.clock.now())
            self.parts = self._made.parts()
            self.projects = {item.id: item for item in self._made.items(ItemKind.PROJECT)}
            self._labels = dict(labels(matches(self._engine)))
            self._has_certificates = (
                self.state(ItemKind.CERTIFICATE.value).read_at is None or len(self._made.items(ItemKind.CERTIFICATE)) > 0
            )

        await self._in_thread(load)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def store(self, method: Callable[Concatenate[OrganizationWriter, P], T], *arguments: P.args, **named: P.kwargs) -> T:
        """Call a method of the writer in its thread. Raises `StoreError`."""
        writer = self._made
        assert writer is not None, "begin() comes first"  # noqa: S101
        return await self._in_thread(lambda: method(writer, *arguments, **named))

    def state(self, part: str, project: str | None = None) -> PartState:
        """How far a part is known."""
        return self.parts.get((part, project), PartState())

    def read_at(self, place: Place) -> datetime | None:
        """When a part was read last."""
        return self.state(*place).read_at

    def is_read(self, place: Place, since: datetime) -> bool:
        """Whether a part was read since then."""
        return (at := self.read_at(place)) is not None and at >= since

    def names(self, known: dict[str, Item] | None = None) -> drift.Names:
        """What things are called, as configured now; `known` is what the store knows of those in question."""
        about = (self.watched(), self._labels)
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
        return [number for number in self.projects if self.is_active(number)]

    def is_active(self, project: str | None) -> bool:
        """Whether a project is there and not archived."""
        item = self.projects.get(project or "")
        return item is not None and item.facts.get("status") != "archived"

    def kinds(self) -> list[ItemKind]:
        """What every project is asked for."""
        return [kind for kind in PROJECT_KINDS if kind is not ItemKind.CERTIFICATE or self._has_certificates]

    def age(self) -> RecordAge:
        """How old what is known of the projects is."""
        return record_age([(kind.value, project) for project in self.active for kind in self.kinds()], self.read_at)

    def of_person(self, user: str | None) -> list[str]:
        """The projects where a person owns keys: what becomes of the person becomes of them."""
        return [project for project, keys in self.keys.items() if any(key.facts.get("owner_id") == user for key in keys)]

    def numbers(self, names: Collection[str]) -> Iterator[str]:
        """OpenAI's ids of projects by our names."""
        for project in self.watched().projects:
            number = project.project_id or self._homes.get(project.name)
            if project.name in names and number is not None:
                yield number

    # Parts ----------------------------------------------------------------------------------------------------------------------

    async def read_part(self, part: Part, project: str | None, rank: Rank) -> Unreadable | None:
        """Read one part and tell what changed. A failure is noted and given; what was known stays. Raises `StoreError`."""
        kind, number = part.kind, next(self._number)
        try:
            reading = await record.read(self.line.at(part.path, rank), part, project, personal=self.settings.personal_data)
        except Unreadable as error:
            await self.fails(kind.value, project, error)
            return error
        if number < self._newest.get((kind.value, project), 0):
            return None  # one that began later was faster: this one tells what was before
        self._newest[kind.value, project] = number
        at, names = self.clock.now(), self.names()
        if kind is ItemKind.API_KEY and project is not None:
            self.keys[project] = reading.items
        items = [_storable(item) for item in reading.items]
        if kind is ItemKind.ADMIN_KEY:
            items = await self._find_ours(reading, items)

        def tell(changed: Sequence[Difference], after: datetime) -> Iterator[ChangeEvent]:
            return drift.told(changed, at, after, names)

        self.summary.changes += await self.store(OrganizationWriter.save, kind, project, at, items, tell, reading.reason)
        self.parts[kind.value, project] = PartState(at, reading.reason)
        self.summary.read[kind.value] += 1
        self.summary.failed.pop((kind.value, project), None)
        if kind is ItemKind.PROJECT:
            self.projects = {item.id: item for item in reading.items} | (self.projects if reading.reason else {})
        if kind is ItemKind.CERTIFICATE and project is None:
            self._has_certificates = bool(items) or reading.reason is not None
        return None

    async def _find_ours(self, reading: record.Reading, items: list[Item]) -> list[Item]:
        """Mark the admin key that this sync reads with: the store knows no secret to find it by."""
        secret = self._secrets.resolve(self.settings.admin_key, admin=True).value
        own, why = coverage.own_admin_key(secret, reading.items, whole=reading.reason is None)
        if why is not None:
            self.summary.own_key = f"which one is the monitor's own is not certain: {why}"
            self.parts[OWN_ADMIN_KEY, None] = PartState(reason=self.summary.own_key)
            await self.store(OrganizationWriter.fail, OWN_ADMIN_KEY, None, self.summary.own_key, self.clock.now())
            return items
        self.summary.own_key = None
        await self._mend(OWN_ADMIN_KEY)
        return [replace(item, facts={**item.facts, "ours": item.id == own}) for item in items]

    async def fails(self, part: str, project: str | None, error: Unreadable) -> None:
        """Note that a part cannot be read; what was known of it stays. Raises `StoreError`."""
        self.summary.failed[part, project] = str(error)
        self.parts[part, project] = replace(self.state(part, project), reason=str(error))
        await self.store(OrganizationWriter.fail, part, project, str(error), self.clock.now())

    async def read_own_parts(self, rank: Rank = Rank.ROUND) -> bool:
        """What is the organization's own, its projects first. False where the key opens nothing: then no more is asked."""
        first, *rest = ORGANIZATION_PARTS
        error = await self.read_part(first, None, rank)
        if error is not None and not error.again and not error.absent:
            await self._bar(error)
            return False
        if error is not None:
            return bool(self.projects)  # those that are known can be asked for
        await self._unbar()
        for part in rest:
            await self.read_part(part, None, rank)
        return True

    async def _bar(self, error: Unreadable) -> None:
        """The key opens nothing: every part says so."""
        self.summary.refused = str(error)
        for part in (*(kind.value for kind in ItemKind if kind is not ItemKind.PROJECT), *_WHOLE, *LOGS):
            await self.fails(part, None, error)

    async def _unbar(self) -> None:
        """The key opens something: the rest says itself whether it can be read, the logs within minutes."""
        for part in (*(kind.value for kind in _OF_PROJECTS), *_WHOLE):
            await self._mend(part)

    async def _mend(self, part: str) -> None:
        """A part of everybody's that could not be read can be."""
        if self.state(part).reason is not None:
            await self.store(OrganizationWriter.mend, part, self.clock.now())
            self.parts[part, None] = replace(self.state(part), reason=None)

    # Dates and keys -------------------------------------------------------------------------------------------------------------

    async def tell_dates(self) -> None:
        """Tell which keys and certificates expired since the record was first kept. Raises `StoreError`."""
        now, since = self.clock.now(), self.state(CALENDAR).read_until
        if since is None:
            await self.store(OrganizationWriter.read_until, CALENDAR, now, now)
            self.parts[CALENDAR, None] = PartState(now, read_until=now)
            return
        kinds = (ItemKind.API_KEY, ItemKind.ADMIN_KEY, ItemKind.CERTIFICATE)

        def tell() -> list[ChangeEvent]:
            dated = organization(self._engine, self.settings.name, kinds=kinds).items
            told = [event for event in drift.expired(dated, since, now, self.names()) if event.dedup not in self._expired]
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
            (project, key, secret)
            for project in self.watched().projects
            if self._may_be_ours(project.project_id, project.organization)
            for key in project.keys
            if (secret := self._secrets.resolve(key.secret).value) is not None
        ]
        whole = all(project in self.keys for project in self.active)
        found = list(
            coverage.matches(
                [(project.name, project.project_id, key.label, secret, key.key_id) for project, key, secret in configured],
                [item for items in self.keys.values() for item in items],
                self.settings.name,
                whole=whole,
            )
        )
        await self.store(OrganizationWriter.save_matches, found, self.clock.now())
        self._labels = dict(await self._in_thread(lambda: labels(matches(self._engine))))
        self._homes = {each.project: each.api_key_project for each in found if each.api_key_project}

    def _may_be_ours(self, project_id: str | None, organization_id: str | None) -> bool:
        """Whether a configured project may be of this organization: it is on its list, names it, or there is no other."""
        if project_id is not None and project_id in self.projects:
            return True
        if organization_id is not None and self.settings.id is not None:
            return organization_id == self.settings.id
        return len(self.watched().organizations) == 1


def _storable(item: Item) -> Item:
    """Without more of a key than may be stored."""
    shown = item.facts.get("redacted_value")
    if shown is None:
        return item
    facts = {name: value for name, value in item.facts.items() if name != "redacted_value"}
    if (less := coverage.kept(shown)) is not None:
        facts["redacted_value"] = less
    return replace(item, facts=facts)
