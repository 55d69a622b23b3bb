"""How several pollers share the work: who holds which part of the targets, and what each should take or hand over.

Targets are divided into shards by project, so that a key's checks, its budget and what is remembered of it stay with one poller.
Who holds a shard stands in a lease that runs out: a poller that dies loses its shards without anybody having to notice.
"""

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from monitor.domain.inventory import Target

SHARDS = 64
"""Never changed: pollers of two versions would divide differently."""
LEADER = -1
"""The lease of the one poller that keeps the incidents, decides who is told, and forgets what is old."""


def shard_of(target: Target) -> int:
    """Where a target belongs: with its project, and a control check with its host."""
    name = target.project or target.host or ""
    return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=1).digest()[0] % SHARDS


class Rhythm(NamedTuple):
    """The times of a lease of some length. A poller that dies has lost its shards to another one within that length: its leases
    have run out after `term`, and the others look every `round`.
    """

    term: timedelta
    """For how long a lease is written."""
    round: timedelta
    """How often each poller renews, and looks for what it may take."""
    trust: timedelta
    """How long after its last renewal a poller starts checks: it stops before others may begin."""
    hang: timedelta
    """How long a transaction may stand still before the database ends it: a paused poller must not hold the others up."""

    @classmethod
    def of(cls, lease: timedelta) -> "Rhythm":
        """Of a lease: a fifth of it passes between two renewals, two thirds until it runs out."""
        return cls(term=lease * 2 / 3, round=lease / 5, trust=lease * 3 / 5, hang=lease / 3)


@dataclass(frozen=True, slots=True)
class Lease:
    """A shard, or `LEADER`, and whose it is."""

    shard: int
    holder: str | None
    """None where it was never taken, or handed over."""
    ran_out: bool = False
    """The holder has not renewed it in time."""


class Moves(NamedTuple):
    """What one poller does with the leases."""

    keep: frozenset[int]
    take: frozenset[int]
    release: frozenset[int]
    leave: frozenset[int]
    """Of what it keeps: no more than its share would be without these. It stops checking them, and releases them when the last
    answer is recorded.
    """


def fair_share(pollers: int) -> int:
    """The most shards that one of so many pollers holds."""
    return -(-SHARDS // max(pollers, 1))


def divide(
    leases: Iterable[Lease], me: str, pollers: int, leaving: Collection[int], left: Collection[int], *, settled: bool
) -> Moves:
    """What `me`, one of so many living pollers, does now.

    `left` are those that it has stopped to check for good, and `leaving` those that it is about to. Only a poller that is `settled`
    takes what others let run out: one that was itself cut off cannot tell whether they are dead or were cut off with it.
    """
    leases = list(leases)
    mine = {lease.shard for lease in leases if lease.holder == me}
    free = sorted(lease.shard for lease in leases if lease.holder is None or (settled and lease.ran_out and lease.holder != me))
    release = mine & set(left)
    keep = mine - release
    staying = sorted(shard for shard in keep - set(leaving) if shard != LEADER)
    share = fair_share(pollers)
    take = [shard for shard in free if shard != LEADER][: max(share - len(staying), 0)]
    if LEADER in free:
        take.append(LEADER)
    return Moves(frozenset(keep), frozenset(take), frozenset(release), frozenset(leaving) & keep | frozenset(staying[share:]))
