"""An hour of good answers of one target in one row: when, how long, how long there; in as many bits as they need.

A row for each answer costs 35 bytes, packed it costs about four. Times are kept to the millisecond, latencies to a tenth of one.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

TENTH = 100
"""Microseconds: how true a latency is kept."""
_WHOLE = 1000
"""Microseconds. OpenAI tells its own processing time in whole milliseconds: as long as it does, no bits are spent on more."""


class Good(NamedTuple):
    """A good answer as far as it is its own; what it says stands in `answers`."""

    at: int
    latency_us: int | None
    processing_us: int | None


def pack(start: int, answers: Iterable[Good]) -> bytes:
    """The answers, at least one, of the hour that begins at `start`."""
    ordered = sorted(answers, key=lambda one: one.at)
    times = [one.at - start for one in ordered]
    steps = [after - before for before, after in pairwise(times)]
    lengths, inner = [one.latency_us for one in ordered], [one.processing_us for one in ordered]
    return b"".join((_number(len(ordered)), _number(times[0]), _column(steps), _lengths(lengths), _lengths(inner)))


def unpack(start: int, data: bytes) -> list[Good]:
    """The inverse of `pack`, oldest first."""
    reader = _Reader(data)
    count, at = reader.number(), start + reader.number()
    times = [at]
    for step in reader.column(count - 1):
        at += step
        times.append(at)
    lengths = reader.lengths(count)
    return list(map(Good, times, lengths, reader.lengths(count)))


def _lengths(values: Sequence[int | None]) -> bytes:
    """Their unit in microseconds, and one more than how many of it each is: 0 is not known."""
    known = [value for value in values if value is not None]
    unit = _WHOLE if all(value % _WHOLE == 0 for value in known) else TENTH
    return _number(unit) + _column([0 if value is None else 1 + (value + unit // 2) // unit for value in values])


def _column(values: Sequence[int]) -> bytes:
    """The least, the number of bits of what each has more, and those bits."""
    if not values:
        return b""
    least = min(values)
    width = (max(values) - least).bit_length()
    bits = 0
    for value in reversed(values):
        bits = bits << width | (value - least)
    return _number(least) + _number(width) + bits.to_bytes(-(-width * len(values) // 8), "little")


def _number(value: int) -> bytes:
    """Seven bits in each byte, the lowest first; the eighth says that more follow."""
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


class _Reader:
    """Reads what `pack` wrote, from its beginning."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    def number(self) -> int:
        """The next whole number."""
        found = shift = 0
        while True:
            byte = self._data[self._place]
            self._place += 1
            found |= (byte & 0x7F) << shift
            if byte < 0x80:
                return found
            shift += 7

    def column(self, count: int) -> list[int]:
        """The next so many numbers."""
        if not count:
            return []
        least, width = self.number(), self.number()
        end = self._place + -(-width * count // 8)
        bits = int.from_bytes(self._data[self._place : end], "little")
        self._place = end
        mask, found = (1 << width) - 1, []
        for _ in range(count):
            found.append(least + (bits & mask))
            bits >>= width
        return found

    def lengths(self, count: int) -> list[int | None]:
        """The next so many lengths of time, microseconds."""
        unit = self.number()
        return [unit * (value - 1) if value else None for value in self.column(count)]
