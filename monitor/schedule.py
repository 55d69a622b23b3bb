"""When a check is due next. Pure: no clock, no loop."""

import hashlib
from datetime import timedelta

from monitor.domain.health import Health, HealthState
from monitor.domain.inventory import ProbeKind, Target
from monitor.domain.taxonomy import KINDS, Lane

RESTING = 2
"""Intervals between checks while asking more often would cost and tell nothing. Less than the three after which data are late."""

FIRST_CHECKS_PER_SECOND = 200
"""How fast the first round goes: a handful of checks start within a second, twelve thousand take a minute."""

LATE_CHECKS_PER_SECOND = 500


def phase(target: Target) -> float:
    """A number from 0 to 1 that spreads checks evenly; the same at every start."""
    digest = hashlib.blake2b(str(target).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def first_delay(target: Target, interval: timedelta, checks: int) -> timedelta:
    """How long after the start the first check comes."""
    return min(interval, timedelta(seconds=checks / FIRST_CHECKS_PER_SECOND)) * phase(target)


def resumed_delay(target: Target, interval: timedelta, due: timedelta, late: int) -> timedelta:
    """How long after the start, or after it was taken over from another poller, the first check of a target comes that was asked
    before: when it is `due`, as if nothing had happened. Those that are `late` by now, so many, share the next seconds.
    """
    if timedelta(0) < due <= interval:
        return due
    return min(interval, timedelta(seconds=late / LATE_CHECKS_PER_SECOND)) * phase(target)


def next_delay(probe: ProbeKind, interval: timedelta, state: HealthState, look_again: timedelta | None) -> timedelta:
    """How long after an answer the next check comes.

    Suspect and recovering targets are looked at again soon. A key that is known to be dead does not get deader, and a project
    without money or at its limit is not helped by more calls: those rest for two intervals.
    """
    if look_again is not None:
        return min(look_again, interval)
    kind = state.failure
    if kind is None or state.health not in (Health.FAILING, Health.DEGRADED):
        return interval
    dead = kind.lane is Lane.AUTH and KINDS[kind].definitive
    spent = kind.lane in (Lane.RATE, Lane.QUOTA) and probe in (ProbeKind.INFERENCE, ProbeKind.DENIED_MODEL)
    return interval * RESTING if dead or spent else interval


def next_due(due: float, delay: float, now: float) -> float:
    """When to check next, in the loop's seconds: on the grid of the last due time. Missed turns are skipped, not caught up."""
    after = due + delay
    if after >= now:
        return after
    return now + delay - (now - due) % delay if delay > 0 else now
