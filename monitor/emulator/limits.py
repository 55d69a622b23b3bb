"""Token buckets with the numbers that the API's headers show of them."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

Traffic = Callable[[float], float]
"""Units a minute that others use at a moment (seconds since the epoch)."""

_LOOK_BACK = 30
"""Windows after which a bucket has forgotten."""


def nobody(_: float) -> float:
    """No other traffic."""
    return 0.0


@dataclass
class Bucket:
    """`limit` units that refill evenly over `window` seconds, drained by our requests and by other traffic."""

    limit: int
    window: float = 60.0
    traffic: Traffic = nobody
    _level: float = field(default=-1.0, init=False)
    _at: float = field(default=0.0, init=False)

    def _settle(self, now: float) -> None:
        """Refill and drain up to `now`, window by window; half an hour of windows says all that matters."""
        if self._level < 0 or now < self._at:
            self._level, self._at = float(self.limit), now - _LOOK_BACK * self.window
        begin = max(self._at, now - _LOOK_BACK * self.window)
        steps = math.ceil((now - begin) / self.window)
        width = (now - begin) / steps if steps else 0.0
        for step in range(steps):
            used = self.traffic(begin + (step + 0.5) * width) / 60 * width
            self._level = min(max(self._level + self.limit / self.window * width - used, 0.0), float(self.limit))
        self._at = now

    def take(self, wanted: float, now: float) -> float:
        """Take `wanted` units; 0, or the seconds to wait where there are not as many."""
        self._settle(now)
        if self._level >= wanted:
            self._level -= wanted
            return 0.0
        return max((wanted - self._level) * self.window / self.limit, 0.001) if self.limit else self.window

    def remaining(self, now: float) -> int:
        """Units left."""
        self._settle(now)
        return int(self._level)

    def reset(self, now: float) -> str:
        """Until it is completely full again, written as Go writes a duration."""
        self._settle(now)
        return go_duration((self.limit - self._level) * self.window / self.limit if self.limit else 0.0)


def go_duration(seconds: float) -> str:
    """`6ms`, `1.182s`, `20m52.666s`, `1h8m25.745s`, `0s`."""
    ms = round(seconds * 1000)
    if ms < 1000:
        return f"{ms}ms" if ms else "0s"
    hours, rest = divmod(ms, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    tail = f"{rest / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    return f"{hours}h{minutes}m{tail}" if hours else f"{minutes}m{tail}" if minutes else tail
