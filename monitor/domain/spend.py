"""When a spend limit is reached, if every day costs what days cost lately."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median, quantiles

from monitor.domain.timeline import floor

DAY = timedelta(days=1)
RATE_FROM = timedelta(days=14)
"""Complete days before today that the daily rate is the median of."""
FEWEST_DAYS = 3


@dataclass(frozen=True, slots=True)
class Projection:
    """When an amount is spent, if every day costs what days cost lately."""

    at: datetime
    earliest: datetime
    latest: datetime | None
    """None where it would not be in this month."""
    spent: float
    rate: float
    """A day, the median."""
    days: int
    """That the rate rests on."""


def month_ends(now: datetime) -> datetime:
    """When spend limits begin anew: on the first of the next month, UTC."""
    first = floor(now, DAY).replace(day=1)
    return (first + timedelta(days=32)).replace(day=1)


def project_spend(daily: Mapping[datetime, float], limit: float, now: datetime) -> Projection | str | None:
    """When the costs of this month reach `limit`; None where not in this month, and a reason where it cannot be said.

    `daily` are costs by the day's beginning, UTC. Today's are not complete: they count as spent, not for the rate.
    """
    today = floor(now, DAY)
    month, since, ends = today.replace(day=1), today - RATE_FROM, month_ends(now)
    known = {day: max(0.0, cost) for day, cost in daily.items() if math.isfinite(cost)}
    lately = [cost for day, cost in known.items() if since <= day < today]
    spent = sum(cost for day, cost in known.items() if month <= day <= today)
    if spent >= limit:
        return Projection(now, now, now, spent, median(lately) if lately else 0.0, len(lately))
    if len(lately) < FEWEST_DAYS:
        return f"costs of {len(lately)} complete days are known, and {FEWEST_DAYS} are needed"
    before = sum(cost for day, cost in known.items() if month <= day < today)
    if before + max(lately) * ((ends - today) / DAY) < limit:
        return None  # not even if every day were as dear as the dearest: most projects, so the rest is not worked out
    low, rate, high = quantiles(lately, n=4, method="inclusive")

    def when(pace: float) -> datetime | None:
        days = (limit - before) / pace if pace > 0 else math.inf
        at = today + DAY * days if days < 62 else None
        return max(at, now) if at is not None and at < ends else None

    at = when(rate)
    if at is None:
        return None
    return Projection(at, when(high) or at, when(low), spent, rate, len(lately))
