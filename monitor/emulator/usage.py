"""What was used, as the platform counts it: by project, key and model, in minutes, hours and days. Refused calls count nowhere."""

import math
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass, field

from monitor.emulator.limits import Traffic

MINUTE, HOUR, DAY = 60, 3600, 86400
_KEPT = {MINUTE: 3 * DAY, HOUR: 70 * DAY, DAY: 400 * DAY}
"""How long counts of each width are kept. Of older time the ragged ends of a range are lost."""

_TOKENS_A_REQUEST = 20
"""What a request is worth where traffic names only one of the two."""


@dataclass(frozen=True, slots=True)
class Series:
    """Whose usage it is."""

    project: str
    key: str | None
    """The id of the key."""
    user: str | None
    model: str


@dataclass(slots=True)
class Counts:
    """Requests that reached the model, and tokens."""

    requests: int = 0
    input: int = 0
    output: int = 0

    def add(self, requests: int, input: int, output: int) -> None:  # noqa: A002 - OpenAI's word
        """Count more."""
        self.requests += requests
        self.input += input
        self.output += output


@dataclass(frozen=True)
class Epoch:
    """Traffic of a project for a model from a moment on, as long as nothing changes in how it is judged."""

    start: float
    series: Series | None
    """None where all of it is refused."""
    requests: Traffic
    tokens: Traffic
    requests_limit: int
    tokens_limit: int
    expires: float = math.inf
    """When the key of it expires."""
    generates: bool = True
    """Whether a fifth of the tokens are the model's."""

    def minute(self, start: int) -> tuple[int, int, int]:
        """What is accepted in the minute from `start`: requests, input and output tokens."""
        requests, tokens, accepted = self.requests(start + 30), self.tokens(start + 30), 1.0
        if requests > self.requests_limit:
            accepted = self.requests_limit / requests
        if tokens * accepted > self.tokens_limit:
            accepted = self.tokens_limit / tokens
        if requests <= 0 or tokens <= 0:
            requests = max(requests, tokens / _TOKENS_A_REQUEST, 0.0)
            tokens = max(tokens, requests * _TOKENS_A_REQUEST)
        all_tokens = int(tokens * accepted)
        output = all_tokens // 5 if self.generates else 0
        return int(requests * accepted), all_tokens - output, output


@dataclass
class Flow:
    """The traffic of one project for one model, with its changes. Sums of whole hours and days that are over are remembered."""

    epochs: list[Epoch] = field(default_factory=list)
    _over: dict[tuple[int, int], dict[Series, Counts]] = field(default_factory=dict)
    """By width and start."""

    def change(self, epoch: Epoch) -> None:
        """From `epoch.start` on it is this; history stays what it was."""
        last = self.epochs[-1] if self.epochs else None
        if last is None or last.series != epoch.series or _facts(last) != _facts(epoch):
            self.epochs.append(epoch)
            for width in (HOUR, DAY):
                self._over.pop((width, int(epoch.start // width) * width), None)

    def sums(self, start: int, end: int, *, over: bool) -> dict[Series, Counts]:
        """Accepted traffic in [start, end): a minute, an hour or a day. `over` where nothing can change in it any more."""
        width = end - start
        if over and (width, start) in self._over:
            return self._over[width, start]
        found: dict[Series, Counts] = {}
        if over and width == DAY:  # hours are asked for too, and remembered
            for hour in range(start, end, HOUR):
                for series, counts in self.sums(hour, hour + HOUR, over=True).items():
                    found.setdefault(series, Counts()).add(counts.requests, counts.input, counts.output)
            self._over[width, start] = found
            return found
        for epoch, begin, stop in self._stretches(start, end):
            if epoch.series is not None:
                counts = found.setdefault(epoch.series, Counts())
                minutes = [epoch.minute(minute) for minute in range(begin, stop, MINUTE)]
                counts.add(*map(sum, zip(*minutes, strict=True)))
        if over and width > MINUTE:
            self._over[width, start] = found
        return found

    def _stretches(self, start: int, end: int) -> Iterator[tuple[Epoch, int, int]]:
        """Each epoch with the minutes of [start, end) that begin in it."""
        for epoch, following in zip(self.epochs, [*self.epochs[1:], None], strict=True):
            until = min(following.start if following else math.inf, epoch.expires, end)
            begin = max(math.ceil(epoch.start / MINUTE) * MINUTE, start)
            stop = int(min(math.ceil(until / MINUTE) * MINUTE, end))
            if begin < stop:
                yield epoch, begin, stop

    @property
    def now(self) -> Epoch | None:
        """The epoch that lasts."""
        return self.epochs[-1] if self.epochs else None


def _facts(epoch: Epoch) -> tuple[object, ...]:
    return (epoch.requests, epoch.tokens, epoch.requests_limit, epoch.tokens_limit, epoch.expires)


class Ledger:
    """Counts of accepted calls and of accepted traffic."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.delay = 0.0
        """Seconds after which usage is told."""
        self._counted: dict[int, dict[int, dict[str, dict[Series, Counts]]]] = {MINUTE: {}, HOUR: {}, DAY: {}}
        self._flows: dict[str, dict[str, Flow]] = {}

    def count(self, series: Series, requests: int, input: int, output: int) -> None:  # noqa: A002 - OpenAI's word
        """An accepted call."""
        now = int(self._clock())
        for width, buckets in self._counted.items():
            start = now - now % width
            bucket = buckets.get(start)
            if bucket is None:
                bucket = buckets[start] = {}
                for old in [moment for moment in buckets if moment < now - _KEPT[width]]:
                    del buckets[old]
            bucket.setdefault(series.project, {}).setdefault(series, Counts()).add(requests, input, output)

    def flow(self, project: str, model: str) -> Flow | None:
        """The traffic of a project for a model, where it has some."""
        return self._flows.get(project, {}).get(model)

    def begin(self, project: str, model: str) -> Flow:
        """The same, begun where there was none."""
        return self._flows.setdefault(project, {}).setdefault(model, Flow())

    def flows(self, project: str) -> dict[str, Flow]:
        """All traffic of a project, by model."""
        return self._flows.get(project, {})

    def sums(self, start: int, end: int, projects: Set[str]) -> dict[Series, Counts]:
        """Usage of `projects` in the minutes that begin in [start, end), as far as it is told by now."""
        told = int(self._clock() - self.delay)
        start, end = -(-start // MINUTE) * MINUTE, min(end, told - told % MINUTE)
        found: dict[Series, Counts] = {}
        pieces = list(_pieces(start, end))
        for width, piece in pieces:
            counted = self._counted[width].get(piece, {})
            for project in projects & counted.keys():
                for series, counts in counted[project].items():
                    found.setdefault(series, Counts()).add(counts.requests, counts.input, counts.output)
        for project in projects & self._flows.keys():
            for flow in self._flows[project].values():
                for width, piece in pieces:
                    for series, counts in flow.sums(piece, piece + width, over=piece + width <= told).items():
                        found.setdefault(series, Counts()).add(counts.requests, counts.input, counts.output)
        return {series: counts for series, counts in found.items() if counts.requests or counts.input}


def _pieces(start: int, end: int) -> Iterator[tuple[int, int]]:
    """[start, end) in whole days, hours and minutes, as (width, start)."""
    while start < end:
        width = next(width for width in (DAY, HOUR, MINUTE) if start % width == 0 and (start + width <= end or width == MINUTE))
        yield width, start
        start += width
