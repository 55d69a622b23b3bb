"""Whether a failure passes by itself, in words."""

from datetime import UTC, datetime, timedelta

import pytest

from monitor.domain.observation import RateLimitHit
from monitor.domain.recovery import by_itself
from monitor.domain.taxonomy import KINDS, FailureKind

NOW = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)


def test_what_openai_said_is_told_while_it_lasts_and_after_it_has_passed() -> None:
    asked = NOW - timedelta(seconds=30)
    waits = by_itself(FailureKind.RATE_TOKENS, NOW, at=asked, retry_after=90.0)
    assert waits == "Yes: OpenAI said to try again in 1 min 30 s, about 2026-11-23 14:01:00 UTC."
    over = by_itself(FailureKind.RATE_TOKENS, NOW, at=asked, retry_after=1.0)
    assert over.endswith("OpenAI said at 2026-11-23 13:59:30 UTC to try again in 1 s: that has passed.")


def test_nothing_is_promised_that_nobody_said() -> None:
    assert by_itself(FailureKind.SERVER_OVERLOADED, NOW).endswith("when, nobody said.")
    assert by_itself(FailureKind.SERVER_OVERLOADED, NOW, retry_after=20.0).endswith("when, nobody said.")  # nobody knows since when


@pytest.mark.parametrize("hit", [RateLimitHit(limit=0), RateLimitHit(limit=1_000, requested=1_001)])
def test_no_wait_is_long_enough_for_what_never_fits(hit: RateLimitHit) -> None:
    assert by_itself(FailureKind.RATE_TOKENS, NOW, at=NOW, retry_after=1.0, hit=hit).startswith("No: it stays")


@pytest.mark.parametrize(
    ("now", "first"),
    [
        (NOW, "2026-12-01 00:00:00 UTC"),
        (datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC), "2027-01-01 00:00:00 UTC"),
        (datetime.fromisoformat("2026-12-01T00:30:00+01:00"), "2026-12-01 00:00:00 UTC"),  # still November in UTC
    ],
)
def test_a_monthly_limit_ends_with_the_month(now: datetime, first: str) -> None:
    for kind in (FailureKind.QUOTA_PROJECT_SPEND, FailureKind.QUOTA_ORGANIZATION_SPEND):
        assert first in by_itself(kind, now)


def test_every_kind_has_an_answer() -> None:
    for kind in FailureKind:
        said = by_itself(kind, NOW)
        assert said.startswith(("Yes", "No:", "Only when"))
        assert KINDS[kind].retry_helps == said.startswith("Yes")
