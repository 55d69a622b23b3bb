"""Latency sketches: a histogram on a logarithmic scale, in bytes that merge by being joined.

An entry of two bytes holds a bin and a count: one value costs two bytes, and `a + b` is the sketch of both. Percentiles are
within 2 % of the value. Where many neighbouring bins are filled, `compact` writes a block instead: the counts of a run of bins in
as few bits each as pays, and what does not fit into those as entries after it. Blocks and entries may follow each other in any
order. Written with every batch, so nothing here is slow.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import log
from struct import Struct, unpack

GAMMA = 1.04
"""Each bin is 4 % wider than the one before: its middle is at most 1.96 % from anything in it."""
FLOOR_MS = 0.1
"""Bin 0 holds all that is faster; the last bin, 511, begins after fourteen hours."""
_BINS = 512
_LOG_GAMMA = log(GAMMA)
_CEILING_MS = FLOOR_MS * GAMMA ** (_BINS - 2)
_MIDDLE = 2 * GAMMA / (GAMMA + 1)

COUNTS = (*range(1, 97), *(128 << power for power in range(31)))
"""The counts that an entry can say, by the upper seven of its sixteen bits; greater ones take several entries."""
_BLOCK = len(COUNTS)
"""What these bits say where a block begins: the lower nine are then its number of bins. The next two bytes say how many bits each
count has (the upper seven, less one) and the first bin (the lower nine); then come the counts, the first one lowest, and at the
end as many zeros as make an even number of bytes.
"""

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


def shortened(data: bytes) -> bytes:
    """The same sketch, made compact where it is long."""
    return data if len(data) <= LONG else compact(data)


def compact(data: bytes) -> bytes:
    """The same sketch in fewer bytes, where there is a way."""
    return _pack(_counts(data))


def _counts(data: bytes) -> dict[int, int]:
    entries = unpack(f"<{len(data) // 2}H", data)
    counts: dict[int, int] = {}
    loose: list[int] = []
    place = 0
    for mark in [number for number, entry in enumerate(entries) if entry >= _BLOCK << 9]:
        if mark < place:
            continue  # within a block, where it says something else
        loose += entries[place:mark]
        bins, first, width = entries[mark] & 0x1FF, entries[mark + 1] & 0x1FF, (entries[mark + 1] >> 9) + 1
        place = mark + 2 + _even(bins * width) // 2
        bits, most = int.from_bytes(data[2 * mark + 4 : 2 * place], "little"), (1 << width) - 1
        for index in range(first, first + bins):
            if count := bits & most:
                counts[index] = counts.get(index, 0) + count
            bits >>= width
    for entry, times in Counter((*loose, *entries[place:])).items():
        index = entry & 0x1FF
        counts[index] = counts.get(index, 0) + times * COUNTS[entry >> 9]
    return counts


def values(data: bytes) -> int:
    """How many values a sketch holds. Raises ValueError for bytes that are none."""
    entries, place = unpack(f"<{len(data) // 2}H", data[: len(data) // 2 * 2]), 0
    while place < len(entries):
        if entries[place] >> 9 != _BLOCK:
            place += 1
            continue
        if place + 1 == len(entries):
            raise ValueError("a block is cut short")
        bins, first, width = entries[place] & 0x1FF, entries[place + 1] & 0x1FF, (entries[place + 1] >> 9) + 1
        place += 2 + _even(bins * width) // 2
        if not bins or first + bins > _BINS or place > len(entries):
            raise ValueError("a block is cut short, or has bins that there are not")
    if len(data) % 2:
        raise ValueError("half an entry")
    return sum(_counts(data).values())


def _pack(counts: Mapping[int, int]) -> bytes:
    """As entries, or as a block and entries, whichever is shorter."""
    if len(counts) < _WORTH_A_BLOCK:
        return _entries(counts)
    first, last = _run(sorted(counts))
    run = [counts.get(index, 0) for index in range(first, last + 1)]
    width = _width(run)
    most = (1 << width) - 1
    bits = 0
    for count in reversed(run):
        bits = bits << width | (min(most, count))
    rest = {index: count - most for index, count in enumerate(run, first) if count > most}
    if len(counts) > len(run) - run.count(0):
        rest |= {index: count for index, count in counts.items() if not first <= index <= last}
    head = _ENTRY.pack(_BLOCK << 9 | len(run)) + _ENTRY.pack((width - 1) << 9 | first)
    dense = head + bits.to_bytes(_even(len(run) * width), "little") + _entries(rest)
    if len(dense) < 2 * len(counts):
        return dense  # there are no fewer entries than bins
    loose = _entries(counts)
    return dense if len(dense) < len(loose) else loose


def _width(run: Sequence[int]) -> int:
    """How many bits for each count take the least room, with the entries for what they cannot say."""
    longer = [0] * 9
    for count in run:
        longer[min(8, count.bit_length())] += 1
    best, least = 8, _even(8 * len(run)) + 2 * sum(count > 255 for count in run)
    above = 0
    for width in range(7, 0, -1):
        above += longer[width + 1]
        if (size := _even(width * len(run)) + 2 * above) < least:
            best, least = width, size
    return best


_WORTH_A_BLOCK = 4
_FAR = 8
"""Empty bins that cost more in a block than the one behind them does as an entry."""


def _run(bins: Sequence[int]) -> tuple[int, int]:
    """The first and last of the neighbouring bins: without those far out at either end."""
    low, high = 0, len(bins) - 1
    while low < high and bins[low + 1] - bins[low] > _FAR:
        low += 1
    while high > low and bins[high] - bins[high - 1] > _FAR:
        high -= 1
    return bins[low], min(bins[high], bins[low] + _BINS - 2)


def _even(bits: int) -> int:
    """Bytes for so many bits, an even number."""
    return -(-bits // 16) * 2


def _entries(counts: Mapping[int, int]) -> bytes:
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
    counts, loose, place = np.zeros(_BINS), [], 0
    for mark in np.flatnonzero(entries >> 9 == _BLOCK).tolist():
        if mark < place:
            continue  # within a block, where it says something else
        loose.append(entries[place:mark])
        bins, first, width = int(entries[mark]) & 0x1FF, int(entries[mark + 1]) & 0x1FF, (int(entries[mark + 1]) >> 9) + 1
        place = mark + 2 + _even(bins * width) // 2
        bits = np.unpackbits(entries[mark + 2 : place].view("u1"), count=bins * width, bitorder="little")
        counts[first : first + bins] += bits.reshape(bins, width) @ (1 << np.arange(width))
    loose.append(entries[place:])
    single = np.concatenate(loose)
    counts += np.bincount(single & 0x1FF, weights=np.array(COUNTS, dtype=float)[single >> 9], minlength=_BINS)
    upto = counts.cumsum()
    ranks = np.maximum(np.ceil(np.array(fractions) * upto[-1] - 1e-9), 1)
    return [value_of(int(index)) for index in np.searchsorted(upto, ranks)]
