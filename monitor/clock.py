"""Where time comes from: taken once at the edge, passed on as `now`."""

import asyncio
import selectors
from collections.abc import Callable
from concurrent.futures import Executor
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> datetime:
        """The time, aware, UTC."""
        ...


class SystemClock:
    """The machine's wall clock."""

    def now(self) -> datetime:
        """The time, aware, UTC."""
        return datetime.now(UTC)


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose time jumps to the next timer whenever nothing is ready.

    A month of polling runs in seconds, with every sleep, timeout and deadline in the right order. Only for work without
    real I/O: an in-process endpoint, a file. What is handed to an executor runs at once, in place: while a thread worked,
    the loop would see nothing ready and jump ahead.
    """

    def __init__(self) -> None:
        super().__init__(_NeverWaits(self))
        self._elapsed = 0.0

    def time(self) -> float:
        """Seconds since the loop was made, on its own time."""
        return self._elapsed

    def skip(self, seconds: float) -> None:
        """Let `seconds` pass."""
        self._elapsed += seconds

    def run_in_executor(  # type: ignore[override]
        self,
        executor: Executor | None,  # noqa: ARG002 - everything runs in place
        func: Callable[..., T],
        *args: Any,
    ) -> "asyncio.Future[T]":
        """Run `func` now and return its finished future."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - handed to whoever awaits, as an executor would
            future.set_exception(error)
        return future


class _NeverWaits(selectors.DefaultSelector):
    """A selector that lets virtual time pass where another would wait."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError("nothing will ever happen: the virtual loop waits for real I/O or for nobody")
            if timeout > 0:
                self._loop.skip(timeout)
        return ready


class VirtualClock:
    """The wall clock of a `VirtualTimeLoop`: `start` plus the loop's own time."""

    def __init__(self, start: datetime, loop: VirtualTimeLoop) -> None:
        self._start = start
        self._loop = loop

    def now(self) -> datetime:
        """The simulated time, aware, UTC."""
        return self._start + timedelta(seconds=self._loop.time())
