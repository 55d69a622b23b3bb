"""Service levels: how much of what was asked was answered well, what an objective leaves to spend, and how fast it is spent.

Pure. Counted are valid checks alone: those that can tell. Not valid are answers that could not be read, what this monitor did
wrong itself (its configuration), and hours in which it did not look; nothing of that makes a number better or worse. Trouble on the
way to OpenAI has a lane of its own and counts in no project's number, because it may be the monitor's own network.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from monitor.domain.health import PROVES
from monitor.domain.inventory import ProbeKind
from monitor.domain.taxonomy import LAMPS, FailureKind, Lane

COUNTED = (Lane.AUTH, Lane.ACCESS, Lane.RATE, Lane.QUOTA, Lane.SERVER)
"""The lanes whose failures count against a project."""

OBJECTIVE = 0.999
"""Where the configuration says nothing else."""


ENOUGH = 50
"""Valid checks below which a share is too rough to be held against a promise: of ten, one failure would be a tenth."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Valid checks: those that were good and those that were not."""

    ok: int = 0
    failed: int = 0

    @property
    def valid(self) -> int:
        """All of them."""
        return self.ok + self.failed

    @property
    def enough(self) -> bool:
        """Whether they are enough to say more than that there were some."""
        return self.valid >= ENOUGH

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.ok + other.ok, self.failed + other.failed)


def availability(counts: Counts) -> float | None:
    """The good part of the valid checks, 0 to 1; None where there were none: no data is not 100 %."""
    return counts.ok / counts.valid if counts.valid else None


# What proves a lane -------------------------------------------------------------------------------------------------------------

_LISTING = frozenset({ProbeKind.AUTH, ProbeKind.MODEL_ACCESS})
_ANSWERED_BY_OPENAI = (Lane.AUTH, Lane.ACCESS, Lane.RATE, Lane.QUOTA)


def by_lane(checks: Mapping[ProbeKind, Counts], failures: Mapping[FailureKind, int]) -> dict[Lane, Counts]:
    """The valid checks of one project for each of its six lanes.

    `checks` are the good and failed ones of each probe, `failures` how often each kind was said. A check that failed for one
    reason says nothing of the other lanes, except that whoever refuses a key has a server that spoke and a network that carried.
    A key that only may not list models is restricted, not unavailable: those answers are left out.
    """
    by_kind = dict(failures)
    listing = sum(counts.failed for probe, counts in checks.items() if probe in _LISTING)
    scope = by_kind.get(FailureKind.AUTH_MISSING_SCOPE, 0)
    by_kind[FailureKind.AUTH_MISSING_SCOPE] = max(0, scope - listing)
    failed = {lane: sum(count for kind, count in by_kind.items() if kind.lane is lane) for lane in LAMPS}
    spoke = sum(failed[lane] for lane in _ANSWERED_BY_OPENAI) + min(scope, listing)
    return {
        lane: Counts(
            sum(counts.ok for probe, counts in checks.items() if probe in PROVES[lane])
            + (spoke if lane in (Lane.SERVER, Lane.NETWORK) else 0),
            failed[lane],
        )
        for lane in LAMPS
    }


def whole(checks: Mapping[ProbeKind, Counts], failures: Mapping[FailureKind, int]) -> Counts:
    """The valid checks of one project altogether: good ones, and those that failed in a lane that counts."""
    lanes = by_lane(checks, failures)
    return Counts(sum(counts.ok for counts in checks.values()), sum(lanes[lane].failed for lane in COUNTED))


# What an objective leaves ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Budget:
    """What an objective allows to fail in a window, and what did."""

    objective: float
    window: timedelta
    counts: Counts

    @property
    def allowed(self) -> float:
        """Failed checks that the objective forgives, of as many as there were."""
        return (1 - self.objective) * self.counts.valid

    @property
    def spent(self) -> float | None:
        """The part of the budget that is gone, from 0; 1 is all of it and more is overspent. None without data."""
        # Rounded, because 1 - 0.999 is not quite 0.001, and a budget that is just used is not overspent.
        return round(self.counts.failed / self.allowed, 9) if self.counts.valid else None

    @property
    def left(self) -> float | None:
        """The part that is left, 1 to 0, and below 0 where it is overspent."""
        return None if self.spent is None else 1 - self.spent

    @property
    def time(self) -> timedelta:
        """The budget as if it were spent in one piece: how long everything may fail in the window."""
        return self.window * (1 - self.objective)

    @property
    def down(self) -> timedelta | None:
        """What failed as if it had been one piece: rather too long, because failed checks are asked again sooner."""
        return self.window * (self.counts.failed / self.counts.valid) if self.counts.valid else None


def error_budget(counts: Counts, objective: float, window: timedelta) -> Budget:
    """The budget of a window. Raises ValueError for an objective that leaves none, or that asks for nothing."""
    if not 0 < objective < 1:
        raise ValueError(f"an objective lies between 0 and 1, not at {objective}")
    return Budget(objective, window, counts)


def burn_rate(counts: Counts, objective: float) -> float | None:
    """How fast the budget goes: at 1 it lasts exactly the window of the objective, at 14.4 one of 30 days is gone in 50 hours.

    None without data.
    """
    if not 0 < objective < 1:
        raise ValueError(f"an objective lies between 0 and 1, not at {objective}")
    return counts.failed / counts.valid / (1 - objective) if counts.valid else None


@dataclass(frozen=True, slots=True)
class BurnRule:
    """Too fast over a long window, and still so over a short one: what is over no longer alarms."""

    factor: float
    long: timedelta
    short: timedelta
    at_least: int = 3
    """Failed checks in the long window: of sixty checks in an hour, one that fails would be a rate of 16."""


RULES = (
    BurnRule(14.4, timedelta(hours=1), timedelta(minutes=5)),
    BurnRule(6, timedelta(hours=6), timedelta(minutes=30)),
)
"""A fiftieth of a month's budget in an hour, or a twentieth in six."""


@dataclass(frozen=True, slots=True)
class BurnAlert:
    """A rule that is met."""

    rule: BurnRule
    rate: float
    """Over the long window."""
    rate_now: float
    """Over the short one."""
    gone_in: timedelta
    """How long a whole budget of 30 days lasts at this rate."""


def burn_alerts(
    counts: Mapping[timedelta, Counts], objective: float = OBJECTIVE, rules: Iterable[BurnRule] = RULES
) -> tuple[BurnAlert, ...]:
    """The rules that are met, the fastest first. `counts` are those of the last so-and-so long, for every window of the rules."""
    met = []
    for rule in rules:
        lately = counts.get(rule.long, Counts())
        rate, rate_now = burn_rate(lately, objective), burn_rate(counts.get(rule.short, Counts()), objective)
        if rate is None or rate_now is None or lately.failed < rule.at_least:
            continue
        if _reaches(rate, rule.factor) and _reaches(rate_now, rule.factor):
            met.append(BurnAlert(rule, rate, rate_now, timedelta(days=30) / rate))
    return tuple(sorted(met, key=lambda alert: alert.rate, reverse=True))


def _reaches(rate: float, factor: float) -> bool:
    """Whether a rate is as high as the rule's, however the division was rounded."""
    return rate > factor or math.isclose(rate, factor)


def windows(rules: Iterable[BurnRule] = RULES) -> tuple[timedelta, ...]:
    """The windows that the rules look at, shortest first."""
    return tuple(sorted({length for rule in rules for length in (rule.long, rule.short)}))
