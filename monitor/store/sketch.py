"""Latency sketches: a histogram on a logarithmic scale, in bytes that merge by being joined.

Two bytes hold a bin and a count. One value costs two bytes, `a + b` is the sketch of both, and any number of sketches is
read by one pass of numpy. Percentiles are within 2 % of the value. Written with every batch, so nothing here is slow.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from math import log
from struct import Struct

GAMMA = 1.04
"""Each bin is 4 % wider than the one before: its middle is at most 1.96 % from anything in it."""
FLOOR_MS = 0.1
"""Bin 0 holds all that is faster; the last bin, 511, begins after fourteen hours."""
_BINS = 512
_LOG_GAMMA = log(GAMMA)
_CEILING_MS = FLOOR_MS * GAMMA ** (_BINS - 2)
_MIDDLE = 2 * GAMMA / (GAMMA + 1)

COUNTS = (*range(1, 97), *(128 << power for power in range(32)))
"""The counts that an entry can say, by the upper seven of its sixteen bits; greater ones take several entries."""

_ENTRY = Struct("<H")
LONG = 256
"""Bytes; shorter sketches are left as they were joined."""


def bin_of(latency_ms: float) -> int:
    """The bin of a latency."""
    if latency_ms <= FLOOR_MS:
        return 0
    return int(log(latency_ms / FLOOR_MS) / _LOG_GAMMA) + 1 if latency_ms < _CEILING_MS else _BINS - 1


def value_of(index: float) -> float:
    """The middle of a bin, milliseconds."""
    return FLOOR_MS * GAMMA ** (index - 1) * _MIDDLE if index > 0 else FLOOR_MS


ONE = tuple(_ENTRY.pack(index) for index in range(_BINS))
"""The sketch of a single value, by bin."""


def sketch(latencies_ms: Iterable[float]) -> bytes:
    """The sketch of these values."""
    return _pack(Counter(map(bin_of, latencies_ms)))


def merge(held: bytes | None, gained: bytes) -> bytes:
    """The sketch of both."""
    joined = held + gained if held else gained
    return joined if len(joined) <= LONG else compact(joined)


def compact(data: bytes) -> bytes:
    """The same sketch in the fewest bytes."""
    counts: Counter[int] = Counter()
    for (entry,) in _ENTRY.iter_unpack(data):
        counts[entry & 0x1FF] += COUNTS[entry >> 9]
    return _pack(counts)


def _pack(counts: Counter[int]) -> bytes:
    packed = []
    for index in sorted(counts):
        left = counts[index]
        while left:
            code = bisect_right(COUNTS, left) - 1
            packed.append(_ENTRY.pack(code << 9 | index))
            left -= COUNTS[code]
    return b"".join(packed)


def percentiles(data: bytes, fractions: Iterable[float]) -> list[float | None]:
    """The values, in milliseconds, at or under which these fractions of all values lie; None where there are none."""
    import numpy as np  # the poller writes sketches and never reads one

    fractions = list(fractions)
    entries = np.frombuffer(data, dtype="<u2")
    if not len(entries):
        return [None] * len(fractions)
    counts = np.bincount(entries & 0x1FF, weights=np.array(COUNTS, dtype=float)[entries >> 9], minlength=_BINS)
    upto = counts.cumsum()
    ranks = np.maximum(np.ceil(np.array(fractions) * upto[-1] - 1e-9), 1)
    return [value_of(int(index)) for index in np.searchsorted(upto, ranks)]
