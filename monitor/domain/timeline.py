"""Stretches of time: half-open windows in UTC, cut into equal buckets on the epoch's grid."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_ms(at: datetime) -> int:
    """Milliseconds since the epoch. Raises ValueError for a naive datetime: whose midnight would it be?"""
    if at.tzinfo is None:
        raise ValueError(f"a time needs its zone: {at!r}")
    since = at - EPOCH
    return (since.days * 86400 + since.seconds) * 1000 + (since.microseconds + 500) // 1000


def to_us(at: datetime) -> int:
    """Microseconds since the epoch."""
    return (at - EPOCH) // timedelta(microseconds=1)


def from_ms(ms: float) -> datetime:
    """The aware UTC time of `ms` milliseconds since the epoch."""
    return EPOCH + timedelta(milliseconds=ms)


@dataclass(frozen=True, slots=True)
class Window:
    """Half-open `[start, end)` in UTC."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if to_ms(self.end) <= to_ms(self.start):
            raise ValueError(f"a window ends after it starts: {self.start} … {self.end}")

    @classmethod
    def last(cls, length: timedelta, now: datetime, step: timedelta = timedelta(minutes=1)) -> "Window":
        """The window of `length` that ends at the first multiple of `step` after `now`, so that its key repeats in caches."""
        end = floor(now, step) + step
        return cls(end - length, end)

    @property
    def length(self) -> timedelta:
        """How long it is."""
        return self.end - self.start

    def step(self, at_most: int = 200) -> timedelta:
        """The finest tidy bucket width that cuts the window into `at_most` buckets."""
        for seconds in _STEPS:
            if self.length / timedelta(seconds=seconds) <= at_most:
                return timedelta(seconds=seconds)
        return timedelta(days=-(-self.length // timedelta(days=at_most)))


_STEPS = (60, 300, 900, 1800, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 86400)


def floor(at: datetime, step: timedelta) -> datetime:
    """The start of the bucket of width `step` that holds `at`."""
    return at - (at - EPOCH) % step
