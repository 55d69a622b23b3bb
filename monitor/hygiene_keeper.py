"""Keeps the scorecards: judges everything once an hour and after each sync, and tries each key under another project's id daily.

The judgement is `monitor.domain`'s; here it gets its time, its facts and its place in the store.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from monitor.clock import Clock
from monitor.config import ProjectSettings
from monitor.domain.binding import Binding, concluded
from monitor.domain.hygiene import HygienePolicy
from monitor.domain.inventory import ProbeKind, Target
from monitor.openai_api.probes import PROBES
from monitor.poller import Poller
from monitor.store import bindings, queries, scores
from monitor.store.engine import Engine, StoreError

log = logging.getLogger(__name__)

LOOK_EVERY = 60.0
"""Seconds."""
JUDGE_EVERY = timedelta(hours=1)
TRY_EVERY = timedelta(days=1)
_DAY_IN_LOOKS = TRY_EVERY.total_seconds() / LOOK_EVERY


class HygieneKeeper:
    """Looks after the scorecards beside one poller."""

    def __init__(self, engine: Engine, leading: Engine, clock: Clock) -> None:
        """`leading` is the database for what only one of several pollers may do."""
        self._engine = engine
        self._leading = leading
        self._clock = clock
        self._judged_at: datetime | None = None
        self._synced: tuple[datetime | None, ...] = ()

    async def run(self, poller: Poller) -> None:
        """Look again and again until cancelled. Nothing that goes wrong here ends it."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            try:
                await self.look(poller)
            except StoreError as error:
                log.warning("the scorecards could not be kept: %s", error)
            except Exception:
                log.exception("the scorecards could not be kept")

    async def look(self, poller: Poller) -> None:
        """Try the few keys whose turn it is, and judge where it is time. Raises `StoreError`."""
        policy = poller.settings.hygiene.policy
        if policy.try_binding:
            await self.try_bindings(poller)
        if poller.share.held.leads:
            await asyncio.to_thread(self.judge, policy)

    def judge(self, policy: HygienePolicy) -> int | None:
        """Judge everything where an hour has passed or a sync has ended since; how many scores changed, None where it was not time.

        Raises `StoreError`.
        """
        now = self._clock.now()
        synced = tuple(queries.organizations(self._leading).values())
        if self._judged_at is not None and now - self._judged_at < JUDGE_EVERY and synced == self._synced:
            return None
        changed = scores.record(self._leading, now, queries.hygiene(self._leading, now, policy).scores())
        self._judged_at, self._synced = now, synced
        return changed

    # Bindings -------------------------------------------------------------------------------------------------------------------

    async def try_bindings(self, poller: Poller) -> int:
        """Try the next keys whose turn it is, spread over the day and only if they are well; how many were. Raises `StoreError`."""
        now = self._clock.now()
        projects = {each.name: each for each in poller.settings.projects}
        waiting = await asyncio.to_thread(bindings.due, self._engine, now, TRY_EVERY)
        mine = [(place, printed) for place, printed in waiting if poller.share.holds(_target(place))]
        keys = sum(len(each.keys) for each in projects.values())
        most = max(1, round(2 * keys / _DAY_IN_LOOKS))
        tried = 0
        for place, printed in mine:
            other = _other(projects, place[0])
            if other is not None:
                tried += await self._try(poller, place, printed, projects[place[0]], other)
            if tried >= most:
                break
        return tried

    async def _try(self, poller: Poller, place: bindings.Place, printed: str, own: ProjectSettings, other: ProjectSettings) -> bool:
        request = poller.request(_target(place))
        if request is None or request.secret is None or own.project_id is None or other.project_id is None:
            return False
        seen = await PROBES[ProbeKind.AUTH](poller.client, replace(request, project_id=other.project_id))
        await poller.count_use([seen])
        trial = Binding(seen.at, concluded(seen, own.project_id, other.project_id), own.base_url, printed or None, other.name)
        await poller.in_thread(lambda: bindings.put(self._engine, place, trial))
        return True


def _target(place: bindings.Place) -> Target:
    return Target(ProbeKind.AUTH, *place)


def _other(projects: dict[str, ProjectSettings], name: str) -> ProjectSettings | None:
    """Another project at the same host whose id is known, of the same organization where there is one."""
    own = projects.get(name)
    if own is None or own.project_id is None:
        return None
    there: Sequence[ProjectSettings] = [
        each
        for each in projects.values()
        if each.base_url == own.base_url and each.project_id is not None and each.project_id != own.project_id
    ]
    return min(there, key=lambda each: (each.organization != own.organization, each.name), default=None)


__all__ = ["HygieneKeeper"]
