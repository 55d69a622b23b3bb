"""The part of the targets that one poller checks: all of them, or what its leases give it."""

import hashlib
import logging
from collections.abc import Collection
from math import inf

from monitor.domain.inventory import Inventory, Target
from monitor.domain.sharing import shard_of
from monitor.store.errors import Problem, StoreError
from monitor.store.leases import Held, Leases

log = logging.getLogger(__name__)


class Share:
    """What this poller holds, and for how long it may be sure of it."""

    def __init__(self, leases: Leases | None) -> None:
        """Without leases, everything is checked here."""
        self.leases = leases
        self.held = Held(frozenset(), frozenset(), leads=leases is None, pollers={})
        """What is checked here, and who else there is. The poller takes it over from a round, when it is ready for it."""
        self._sure_until = inf if leases is None else -inf
        self._inventory = ""
        self._others: frozenset[str] = frozenset()

    def holds(self, target: Target) -> bool:
        """Whether the target is checked here."""
        return self.leases is None or shard_of(target) in self.held.shards

    def sure(self, at: float) -> bool:
        """Whether nobody else can have taken over what is held here. Time is the loop's: one that was paused is not sure when it
        wakes.
        """
        return at < self._sure_until

    def told(self, inventory: Inventory) -> None:
        """Remember what this poller was told to watch, so that the others see whether they were told the same."""
        self._inventory = hashlib.blake2b(repr(inventory).encode("utf-8", "replace"), digest_size=8).hexdigest()

    def renew(self, at: float, left: Collection[int]) -> Held:
        """One round of the leases; `left` is what nobody checks here any more. Raises `StoreError`."""
        if self.leases is None:
            return self.held
        until = at + self.leases.rhythm.trust.total_seconds()
        try:
            held = self.leases.round(at, self.held.leaving, left, self._inventory)
        except StoreError as error:
            # A server that is down renews nobody's leases and gives them to nobody else: the checks go on. One that does not answer
            # may have answered the others.
            if error.problem is Problem.REFUSED:
                self._sure_until = until
            raise
        self._sure_until = until
        others = frozenset(name for name, told in held.pollers.items() if told and told != self._inventory)
        if others - self._others:
            log.warning(
                "%s was told to watch something else than this poller: what was configured last is shown; give all pollers the "
                "same configuration and secrets",
                ", ".join(sorted(others)),
            )
        self._others = others
        return held
