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

_MOST = 3_600_000
"""Milliseconds of an hour, and so the answers of one target in it: no two have the same time."""


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
    inner = _Lengths([one.processing_us for one in ordered])
    lengths = _Lengths([one.latency_us for one in ordered], inner)
    return b"".join((_number(len(ordered)), _number(times[0]), _column(steps), inner.packed(), lengths.packed()))


def unpack(start: int, data: bytes) -> list[Good]:
    """The inverse of `pack`, oldest first. Raises ValueError for bytes that it never wrote."""
    reader = _Reader(data)
    count, at = reader.number(), start + reader.number()
    if not 0 < count <= _MOST:
        raise ValueError(f"{count} answers in one hour")
    times = [at]
    for step in reader.column(count - 1):
        at += step
        times.append(at)
    inner = reader.lengths(count, None)
    lengths = reader.lengths(count, inner)
    reader.end()
    if not start <= times[0] <= times[-1] < start + _MOST:
        raise ValueError("answers of another hour")
    return list(map(Good, times, lengths, inner))


_ALONE, _ABOVE = 0, 1
"""Lengths that stand for themselves, one more than they are because 0 is not known; or by how much they are above others."""


class _Lengths:
    """Lengths of time as they are kept: in a unit, and where all are known as what they are above `others`. What a call takes
    beyond OpenAI's own time varies little, so it needs few bits.
    """

    def __init__(self, values: Sequence[int | None], others: "_Lengths | None" = None) -> None:
        known = [value for value in values if value is not None]
        self._unit = _WHOLE if others is None and all(value % _WHOLE == 0 for value in known) else TENTH
        self.kept = [None if value is None else (value + self._unit // 2) // self._unit * self._unit for value in values]
        self._others = others.kept if others is not None and None not in self.kept and None not in others.kept else None

    def packed(self) -> bytes:
        """The unit, how they are told, and the numbers."""
        if self._others is None:
            told = [0 if value is None else 1 + value // self._unit for value in self.kept]
            return _number(self._unit) + _number(_ALONE) + _column(told)
        pairs = zip(self.kept, self._others, strict=True)
        above = [(value - other) // self._unit for value, other in pairs if value is not None and other is not None]
        return _number(self._unit) + _number(_ABOVE) + _column(above)


def _column(values: Sequence[int]) -> bytes:
    """The least with its sign in the lowest bit, the number of bits of what each has more, and those bits."""
    if not values:
        return b""
    least = min(values)
    width = (max(values) - least).bit_length()
    bits = 0
    for value in reversed(values):
        bits = bits << width | (value - least)
    return (
        _number(2 * least if least >= 0 else -2 * least - 1)
        + _number(width)
        + bits.to_bytes(-(-width * len(values) // 8), "little")
    )


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
            if self._place >= len(self._data) or shift > 63:
                raise ValueError("it is cut short, or has a number that is none")
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
        sign, width = self.number(), self.number()
        least = sign // 2 if sign % 2 == 0 else -(sign // 2) - 1
        end = self._place + -(-width * count // 8)
        if end > len(self._data):
            raise ValueError("it is cut short")
        bits = int.from_bytes(self._data[self._place : end], "little")
        self._place = end
        mask, found = (1 << width) - 1, []
        for _ in range(count):
            found.append(least + (bits & mask))
            bits >>= width
        return found

    def lengths(self, count: int, others: Sequence[int | None] | None) -> list[int | None]:
        """The next so many lengths of time, microseconds."""
        unit, how = self.number(), self.number()
        told = self.column(count)
        if how == _ALONE:
            return [unit * (value - 1) if value else None for value in told]
        return [other + unit * above if other is not None else None for above, other in zip(told, others or (), strict=True)]

    def end(self) -> None:
        """Nothing may be left."""
        if self._place != len(self._data):
            raise ValueError("it is longer than it says")
