"""Things in the order of their moments: what lists of the Administration API are made of."""

import math
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Shelf(Generic[T]):
    """Things in the order of their moments, found by id, and paged by cursor without looking at all of them."""

    def __init__(self) -> None:
        self._order: list[tuple[float, int, str]] = []
        self._places: dict[str, tuple[float, int, str]] = {}
        self._things: dict[str, T] = {}
        self._added = 0

    def __contains__(self, id: str) -> bool:  # noqa: A002 - OpenAI's word
        return id in self._things

    def __iter__(self) -> Iterator[T]:
        return (self._things[place[2]] for place in self._order)

    def __len__(self) -> int:
        return len(self._order)

    def get(self, id: str) -> T | None:  # noqa: A002 - OpenAI's word
        """The thing with the id."""
        return self._things.get(id)

    def add(self, id: str, thing: T, moment: float) -> None:  # noqa: A002 - OpenAI's word
        """Put a thing where its moment belongs."""
        self._added += 1
        place = (moment, self._added, id)
        insort(self._order, place)
        self._places[id], self._things[id] = place, thing

    def remove(self, id: str) -> None:  # noqa: A002 - OpenAI's word
        """Take a thing away."""
        place = self._places.pop(id)
        del self._order[bisect_left(self._order, place)]
        del self._things[id]

    def since(self, moment: float) -> int:
        """How many are older than `moment`."""
        return bisect_left(self._order, (moment, 0, ""))

    def page(
        self,
        limit: int,
        after: str | None = None,
        before: str | None = None,
        *,
        newest_first: bool = False,
        keep: Callable[[T], bool] | None = None,
        between: tuple[float, float] = (-math.inf, math.inf),
    ) -> tuple[list[T], bool]:
        """At most `limit` things, of moments in [from, until), and whether there are more. Raises KeyError for a wrong cursor."""
        low, high = self.since(between[0]), self.since(between[1])
        first, last = (after, before) if not newest_first else (before, after)
        if first is not None:
            low = max(low, bisect_left(self._order, self._places[first]) + 1)
        if last is not None:
            high = min(high, bisect_left(self._order, self._places[last]))
        # The page before a cursor is the one that ends at it.
        from_the_end = before is not None and after is None
        forwards = newest_first == from_the_end
        found: list[T] = []
        for index in range(low, high) if forwards else range(high - 1, low - 1, -1):
            thing = self._things[self._order[index][2]]
            if keep is None or keep(thing):
                found.append(thing)
                if len(found) > limit:
                    break
        more, found = len(found) > limit, found[:limit]
        return found[::-1] if from_the_end else found, more
