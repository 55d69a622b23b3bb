"""The line at the organization's record: so many questions a second, the urgent ones first, and rest for what fails.

Several may ask at once; each waits for its turn. Times are the loop's, in seconds.
"""

import asyncio
import heapq
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from monitor.openai_api.admin import Ask, Unreadable

TRIES = 4
"""Of one question."""
LONGEST_REST = 60.0
"""Whoever is told to wait longer gives up until later: the rest goes on."""
GIVE_UP_AFTER = 8
"""Failures of an endpoint on end; then it is left alone for a while."""
GIVEN_UP_FOR = 300.0
_SLOWEST = 0.2
"""Questions a second, however often we are told that there are too many."""


class Rank(IntEnum):
    """Who is asked first."""

    URGENT = 0
    """Something broke just now."""
    LOG = 1
    ROUND = 2
    USAGE = 3
    TURNS = 4


class Pace:
    """Lets one through after the other, evenly, the lowest rank first. Slower when told that it is too fast, then slowly faster."""

    def __init__(self, per_second: float) -> None:
        self.per_second = per_second
        self.now_per_second = per_second
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._number = itertools.count()
        self._free_at = 0.0
        self._slowed_at = float("-inf")
        self._timer: asyncio.TimerHandle | None = None

    async def turn(self, rank: Rank) -> None:
        """Wait for the turn."""
        mine = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (rank, next(self._number), mine))
        self._serve()
        await mine

    def too_fast(self) -> None:
        """Half as fast from now on. Of several answers at once that say so, one counts."""
        now = asyncio.get_running_loop().time()
        if now - self._slowed_at < 1.0:
            return
        self._slowed_at = now
        self.now_per_second = max(self.now_per_second / 2, min(_SLOWEST, self.per_second))

    def went_well(self) -> None:
        """A little faster again, up to what is configured."""
        self.now_per_second = min(self.now_per_second * 1.02, self.per_second)

    def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting and self._timer is None:
            if self._waiting[0][2].done():  # whoever waited was cancelled
                heapq.heappop(self._waiting)
                continue
            now = loop.time()
            if now < self._free_at:
                self._timer = loop.call_at(self._free_at, self._again)
                return
            heapq.heappop(self._waiting)[2].set_result(None)
            # Not from when it was free: who slept for a minute must not make up for it all at once.
            self._free_at = now + 1 / self.now_per_second

    def _again(self) -> None:
        self._timer = None
        self._serve()


@dataclass(slots=True)
class _Endpoint:
    """How an endpoint did lately."""

    failures: int = 0
    """On end."""
    rests_until: float = 0.0
    given_up_until: float = 0.0
    reason: str = ""


class Line:
    """Asks `ask` at a pace, and again where that may help. Failures of one endpoint do not hold up the others."""

    def __init__(self, ask: Ask, per_second: float) -> None:
        self._ask = ask
        self.pace = Pace(per_second)
        self._endpoints: dict[str, _Endpoint] = {}

    def at(self, endpoint: str, rank: Rank) -> Ask:
        """To ask one endpoint. What fails for good, or too often, raises `Unreadable`."""

        async def ask(path: str, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
            return await self._patiently(self._endpoints.setdefault(endpoint, _Endpoint()), rank, path, parameters)

        return ask

    def forgive(self) -> None:
        """Ask again what was given up: the key is another one now."""
        self._endpoints.clear()

    async def _patiently(self, there: _Endpoint, rank: Rank, path: str, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        loop = asyncio.get_running_loop()
        for left in range(TRIES - 1, -1, -1):
            if loop.time() < there.given_up_until:
                raise Unreadable(there.reason, again=True)
            if (wait := there.rests_until - loop.time()) > 0:
                await asyncio.sleep(wait)
            await self.pace.turn(rank)
            try:
                answer = await self._ask(path, parameters)
            except Unreadable as error:
                if error.absent:
                    there.failures = 0
                    raise
                self._failed(there, error, loop.time())
                if not error.again or not left or there.rests_until - loop.time() > LONGEST_REST:
                    raise
            else:
                there.failures = 0
                self.pace.went_well()
                return answer
        raise AssertionError  # the last try answers or raises

    def _failed(self, there: _Endpoint, error: Unreadable, now: float) -> None:
        there.failures += 1
        there.reason = str(error)
        if error.many or error.retry_after is not None:
            self.pace.too_fast()
        if error.again:
            wait = error.retry_after if error.retry_after is not None else 2.0 ** min(there.failures - 1, 6)
            there.rests_until = max(there.rests_until, now + wait)
        if there.failures >= GIVE_UP_AFTER or there.rests_until - now > LONGEST_REST:
            there.given_up_until = max(now + GIVEN_UP_FOR, there.rests_until)
