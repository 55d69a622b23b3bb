"""Does a failure pass by itself, and when? What OpenAI said decides, where it said something."""

from datetime import UTC, datetime, timedelta

from monitor.domain.observation import RateLimitHit
from monitor.domain.ratelimits import never_fits
from monitor.domain.taxonomy import KINDS, FailureKind
from monitor.domain.words import clock, duration

_MONTHLY = frozenset({FailureKind.QUOTA_PROJECT_SPEND, FailureKind.QUOTA_ORGANIZATION_SPEND})
"""Limits of a calendar month (UTC): what was spent is counted from nothing on its first day."""


def by_itself(
    kind: FailureKind,
    now: datetime,
    *,
    at: datetime | None = None,
    retry_after: float | None = None,
    hit: RateLimitHit | None = None,
) -> str:
    """One or two sentences. `at` is when the answer came that said to wait `retry_after` seconds, and named the limit `hit`."""
    if kind in _MONTHLY:
        return f"Only when the month is over, {clock(_next_month(now))}; before that when somebody raises the limit."
    if not KINDS[kind].retry_helps or never_fits(hit):
        return "No: it stays until somebody acts. It is seen here within a minute or two after that."
    if retry_after is None or at is None:
        return "Yes, it may pass without anybody's help; when, nobody said."
    over = at + timedelta(seconds=retry_after)
    if over > now:
        return f"Yes: OpenAI said to try again in {duration(retry_after)}, about {clock(over)}."
    said = f"OpenAI said at {clock(at)} to try again in {duration(retry_after)}"
    return f"Yes, it may pass without anybody's help. {said}: that has passed."


def _next_month(now: datetime) -> datetime:
    today = now.astimezone(UTC)
    return datetime(today.year + today.month // 12, today.month % 12 + 1, 1, tzinfo=UTC)
