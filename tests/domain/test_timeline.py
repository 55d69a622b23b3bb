"""Windows, buckets and milliseconds."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.domain.timeline import EPOCH, Window, floor, from_ms, to_ms

NOW = datetime(2026, 11, 23, 14, 5, 20, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
TIMES = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis wants them so


@pytest.mark.parametrize(
    ("at", "ms"),
    [
        (EPOCH, 0),
        (datetime(1970, 1, 1, 0, 0, 1, 500, tzinfo=UTC), 1001),
        (datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC), -1000),
        (datetime(2026, 11, 23, 15, 5, 20, tzinfo=timezone(HOUR)), 1795442720000),
    ],
)
def test_a_time_is_milliseconds_since_the_epoch(at: datetime, ms: int) -> None:
    assert to_ms(at) == ms


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="zone"):
        to_ms(NOW.replace(tzinfo=None))


@given(TIMES)
def test_a_time_comes_back_to_the_millisecond(at: datetime) -> None:
    assert abs(from_ms(to_ms(at)) - at) <= timedelta(microseconds=500)
    assert to_ms(from_ms(to_ms(at))) == to_ms(at)


@given(TIMES, st.sampled_from([MINUTE, 5 * MINUTE, HOUR, DAY]))
def test_a_bucket_starts_on_the_grid_and_holds_its_time(at: datetime, step: timedelta) -> None:
    start = floor(at, step)
    assert start <= at < start + step
    assert to_ms(start) % (step // timedelta(milliseconds=1)) == 0


@pytest.mark.parametrize("length", [timedelta(), -MINUTE])
def test_a_window_ends_after_it_starts(length: timedelta) -> None:
    with pytest.raises(ValueError, match="ends after"):
        Window(NOW, NOW + length)


def test_the_last_hour_holds_now_and_stays_the_same_for_a_minute() -> None:
    window = Window.last(HOUR, NOW)
    assert (window.start, window.end) == (datetime(2026, 11, 23, 13, 6, tzinfo=UTC), datetime(2026, 11, 23, 14, 6, tzinfo=UTC))
    assert window == Window.last(HOUR, NOW + timedelta(seconds=39))
    assert window != Window.last(HOUR, NOW + timedelta(seconds=40))


@given(TIMES, st.integers(1, 400 * 24))
def test_a_window_that_ends_now_holds_now_and_has_its_length(now: datetime, hours: int) -> None:
    window = Window.last(hours * HOUR, now)
    assert window.start <= now < window.end
    assert window.length == hours * HOUR


@pytest.mark.parametrize(
    ("length", "step"),
    [
        (HOUR, MINUTE),
        (200 * MINUTE, MINUTE),
        (201 * MINUTE, 5 * MINUTE),
        (DAY, 15 * MINUTE),
        (7 * DAY, HOUR),
        (30 * DAY, 6 * HOUR),
        (90 * DAY, 12 * HOUR),
        (200 * DAY, DAY),
        (400 * DAY, 2 * DAY),
    ],
)
def test_the_step_is_the_finest_tidy_one(length: timedelta, step: timedelta) -> None:
    assert Window(NOW - length, NOW).step() == step


@given(st.integers(1, 3 * 366 * 1440), st.integers(1, 1000))
def test_a_window_is_never_cut_into_more_buckets_than_asked_for(minutes: int, at_most: int) -> None:
    window = Window(NOW - minutes * MINUTE, NOW)
    assert window.length / window.step(at_most) <= at_most
