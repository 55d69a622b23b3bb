"""Keeps the records of all configured organizations beside one poller: each in loops of its own, only where that poller leads."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from monitor import admin_usage
from monitor.admin_log import LOG
from monitor.admin_record import Record
from monitor.admin_sync import AdminSync, together
from monitor.clock import Clock
from monitor.config import OrganizationSettings, Settings
from monitor.domain.organization import ItemKind
from monitor.openai_api.admin import AdminClient
from monitor.poller import Poller
from monitor.secrets import Secret, Secrets
from monitor.store.engine import Engine, StoreError
from monitor.store.organization import DAYS, HOURS, MINUTES

if TYPE_CHECKING:
    from httpx2 import AsyncBaseTransport

log = logging.getLogger(__name__)

LOOK_EVERY = 2.0
"""Seconds between looks at who leads and what is configured."""
KEY_EVERY = 5.0
"""Seconds between looks at the admin key."""
ROUND_AGAIN = timedelta(minutes=5)
STORE_AGAIN = 30.0
"""Seconds until a store that could not be written is tried again."""

Client = Callable[[OrganizationSettings], AdminClient]
"""Makes the client of an organization."""


def admin_client(secrets: Secrets, transport: "AsyncBaseTransport | None" = None) -> Client:
    """Clients that ask with the admin key as it is then; `transport` replaces the network."""

    def make(settings: OrganizationSettings) -> AdminClient:
        key = settings.admin_key
        return AdminClient(
            settings.base_url,
            lambda: secrets.resolve(key, admin=True),
            organization=settings.id,
            transport=transport,
        )

    return make


@contextlib.asynccontextmanager
async def opened(
    settings: OrganizationSettings,
    client: Client,
    engine: Engine,
    clock: Clock,
    watched: Callable[[], Settings],
    secrets: Secrets,
) -> AsyncIterator[AdminSync]:
    """The sync of one organization with its client and its thread."""
    thread = ThreadPoolExecutor(1, f"sync-{settings.name}")
    try:
        async with client(settings) as admin:
            sync = AdminSync(Record(settings, admin, engine, clock, watched, secrets, thread))
            try:
                yield sync
            finally:
                await sync.end()
    finally:
        thread.shutdown(wait=False, cancel_futures=True)


class OrganizationKeeper:
    """Runs a sync for each configured organization, and takes over what is configured anew."""

    def __init__(self, engine: Engine, clock: Clock, secrets: Secrets, client: Client | None = None) -> None:
        self._engine = engine
        self._clock = clock
        self._secrets = secrets
        self._client = client or admin_client(secrets)
        self._syncs: dict[str, AdminSync] = {}
        self._running: dict[OrganizationSettings, asyncio.Task[None]] = {}

    def look_now(self, projects: Collection[str]) -> None:
        """Something broke in these projects: what changed just before is read at once. Cheap; returns at once."""
        for sync in self._syncs.values():
            sync.look_now(projects)

    async def run(self, poller: Poller) -> None:
        """Sync until cancelled."""
        try:
            while True:
                wanted = poller.settings.organizations if poller.share.held.leads else ()
                for settings in [each for each, task in self._running.items() if each not in wanted or task.done()]:
                    await _end(self._running.pop(settings))
                for settings in wanted:
                    if settings not in self._running:
                        self._running[settings] = asyncio.create_task(self._keep(settings, lambda: poller.settings))
                await asyncio.sleep(LOOK_EVERY)
        finally:
            await _end(*self._running.values())
            self._running.clear()

    async def _keep(self, settings: OrganizationSettings, watched: Callable[[], Settings]) -> None:
        while True:
            try:
                async with opened(settings, self._client, self._engine, self._clock, watched, self._secrets) as sync:
                    await sync.begin()
                    self._syncs[settings.name] = sync
                    await Loops(sync, self._clock, self._secrets).run()
            except StoreError as error:
                log.warning("the record of %s cannot be kept: %s", settings.name, error)
            except Exception:
                log.exception("the record of %s cannot be kept", settings.name)
            finally:
                self._syncs.pop(settings.name, None)
            await asyncio.sleep(STORE_AGAIN)


async def _end(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class Loops:
    """Does each step of one sync when it is due."""

    def __init__(self, sync: AdminSync, clock: Clock, secrets: Secrets) -> None:
        self._sync = sync
        self._clock = clock
        self._secrets = secrets
        self._awake = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled. After a restart, what is not due waits."""
        sync, every = self._sync, self._sync.settings.sync

        def read_at(part: str) -> datetime | None:
            return sync.state(part).read_at

        def usage(width: timedelta) -> tuple[Callable[[], Awaitable[object]], datetime | None]:
            return lambda: sync.read_usage(width), read_at(admin_usage.part_of("completions", width))

        async with together() as group:
            group.create_task(self._every(every.configuration, self._round, read_at(ItemKind.PROJECT.value)))
            group.create_task(self._turns())
            group.create_task(self._notice_another_key())
            await sync.known.wait()  # without the record, the log tells of things without a name
            group.create_task(self._every(every.audit_log, self._log_and_dates, read_at(LOG)))
            group.create_task(self._every(every.usage_days, *usage(DAYS)))
            group.create_task(self._every(every.usage_days, sync.read_costs, read_at(admin_usage.COSTS)))
            group.create_task(self._every(every.usage_hours, *usage(HOURS)))
            group.create_task(self._every(every.usage_minutes, *usage(MINUTES)))

    async def _round(self) -> timedelta | None:
        """Where not even the projects can be read, the next round comes sooner."""
        summary = await self._sync.round()
        if summary.age is not None:
            log.info("the record of %s: %s", self._sync.settings.name, summary.age.said(self._clock.now()))
        return ROUND_AGAIN if (ItemKind.PROJECT.value, None) in summary.failed else None

    async def _log_and_dates(self) -> None:
        await self._sync.read_log()
        await self._sync.tell_dates()

    async def _every(self, every: timedelta, step: Callable[[], Awaitable[object]], last: datetime | None) -> None:
        """Repeat a step, sooner where it says so, at once where the admin key is another one."""
        loop = asyncio.get_running_loop()
        wait = max((last + every - self._clock.now()).total_seconds(), 0.0) if last is not None else 0.0
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._awake.wait(), min(wait, every.total_seconds()))
            wait, began = every.total_seconds(), loop.time()
            try:
                sooner = await step()
                wait = max(wait - (loop.time() - began), 0.0)  # a round takes minutes, and the next is due by the clock
                if isinstance(sooner, timedelta):
                    wait = min(wait, sooner.total_seconds())
            except StoreError as error:
                log.warning("the record of %s could not be stored: %s", self._sync.settings.name, error)
                wait = min(STORE_AGAIN, wait)
            except Exception:
                # A defect in one step must not end the others.
                log.exception("a part of the record of %s could not be read", self._sync.settings.name)

    async def _turns(self) -> None:
        while True:
            try:
                wait = await self._sync.turn()
            except StoreError:
                wait = STORE_AGAIN
            await asyncio.sleep(wait)

    async def _notice_another_key(self) -> None:
        """Where the admin key was replaced, what the old one could not read is asked at once."""
        known: Secret | None = None
        while True:
            found = self._secrets.resolve(self._sync.settings.admin_key, admin=True)
            if known is not None and (found.value, found.problem) != (known.value, known.problem):
                log.info("the admin key of %s was replaced", self._sync.settings.name)
                self._sync.line.forgive()
                self._awake.set()
                self._awake = asyncio.Event()
            known = found
            await asyncio.sleep(KEY_EVERY)
