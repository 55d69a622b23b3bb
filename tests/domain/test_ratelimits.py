"""The grammar of a 429, the headers of limits, how long to wait. NULL is never 0."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.domain.observation import RateLimitHit, RateLimitSnapshot
from monitor.domain.ratelimits import LONGEST_WAIT, go_duration, headroom, infer_window, parse_hit, retry_after, snapshots


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0s", 0),
        ("6ms", 0.006),
        ("59.5s", 59.5),
        ("1.182s", 1.182),
        ("14m24s", 864),
        ("20m52.666s", 1252.666),
        ("1h2m3s", 3723),
        ("1h8m25.745s", 4105.745),
        ("17d", 17 * 86400),
        ("114h18m0s", 411480),
        ("7m12s", 432),
        ("250us", 0.00025),
        ("250µs", 0.00025),
        ("1ns", 1e-9),
        ("59.70", 59.70),
        ("60", 60),
        (" 6ms ", 0.006),
    ],
)
def test_a_duration_is_read_as_go_writes_it(text: str, seconds: float) -> None:
    assert go_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "-1s", "1x", "6 ms", "1m 2s", "∞", "nan", "inf", "1e9", "٣s", "1..5s", "9" * 20, "1s2"])
def test_what_is_no_duration_is_unknown(text: str) -> None:
    assert go_duration(text) is None


HITS = """
Rate limit reached for gpt-4o in organization org-F on requests per min (RPM): Limit 3, Used 3, Requested 1. Please try again in 20s.
    requests min 3 3 1 gpt-4o - - org-F
Rate limit reached for organization org-F on requests per min (RPM): Limit 3000, Used 3000, Requested 1. Please try again in 20ms.
    requests min 3000 3000 1 - - - org-F
Rate limit reached for project proj_F organization org-F on tokens per min (TPM): Limit 25000, Used 23255, Requested 5872. Please
    tokens min 25000 23255 5872 - - proj_F org-F
Rate limit reached for gpt-4o in project proj_F organization org-F on tokens per min (TPM): Limit 9, Used 8, Requested 7.
    tokens min 9 8 7 gpt-4o - proj_F org-F
Rate limit reached for o3 in organization org-F on requests per day (RPD): Limit 200, Used 200, Requested 1. Please try again in 7m12s.
    requests day 200 200 1 o3 - - org-F
Request too large for gpt-4.1-2025-04-14 (for limit gpt-4.1) in organization org-F on tokens per min (TPM): Limit 30000, Requested 37313.
    tokens min 30000 - 37313 gpt-4.1-2025-04-14 gpt-4.1 - org-F
Rate limit reached for 10KTPM-200RPM in organization org-F on tokens per min. Limit: 10000 / min. Please try again in 6ms. Contact us
    tokens min 10000 - - 10KTPM-200RPM - - org-F
Rate limit reached for default-global in organization org-F on requests per min. Limit: 3 / min. Current: 4 / min. Please try again in 20s.
    requests min 3 4 - default-global - - org-F
Rate limit exceeded for images per minute in organization org-F. Limit: 5/1min. Current: 6/1min.
    images min 5 6 - - - - org-F
Rate limit reached for gpt-image-1 in organization org-F on input-images per min (IPM): Limit 250, Used 247, Requested 8.
    input-images min 250 247 8 gpt-image-1 - - org-F
Rate limit reached for o3 in organization org-F on tokens per min (TPM): Limit 1,000,000, Used 999,999.5, Requested 2.
    tokens min 1000000 999999.5 2 o3 - - org-F
Enqueued token limit reached for gpt-4o in organization org-F. Limit: 90,000 enqueued tokens. Please try again once some batches
    enqueued_tokens - 90000 - - gpt-4o - - org-F
This fine-tune request has been rate-limited. Your organization has reached the maximum of 1 active requests (1 running, 0 pending) for the model 'x'.
    active_requests - 1 1 - x - - -
""".strip().split("\n")  # noqa: E501 - as OpenAI words them
"""A message, then what it says: metric, window, limit, used, requested, model, pool, project, organization; `-` where nothing."""


@pytest.mark.parametrize(("message", "said"), list(zip(HITS[::2], HITS[1::2], strict=True)))
def test_the_text_of_a_429_names_its_limit_and_nothing_it_does_not_say(message: str, said: str) -> None:
    metric, window, limit, used, requested, *names = (None if word == "-" else word for word in said.split())
    counts = [float(count) if count else None for count in (limit, used, requested)]
    assert parse_hit(message) == RateLimitHit(metric.replace("_", " ") if metric else None, window, *counts, *names)


@pytest.mark.parametrize(
    "message", [None, "", "Rate limit reached", "Slow down", "You exceeded your current quota.", "the limit", "Request too large"]
)
def test_a_text_that_names_no_limit_is_no_hit(message: str | None) -> None:
    assert parse_hit(message) is None


@pytest.mark.parametrize(("window", "short"), [("sec", "RPS"), ("min", "RPM"), ("hour", "RPH"), ("day", "RPD")])
def test_every_window_is_read_in_full_and_from_the_abbreviation(window: str, short: str) -> None:
    for on in (f"requests per {window}", f"requests per {window} ({short})", short):
        hit = parse_hit(f"Rate limit reached for gpt-4o on {on}: Limit 5, Used 5")
        assert hit is not None
        assert (hit.metric, hit.window, hit.limit) == ("requests", window, 5)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.sampled_from(
                [
                    "Rate limit reached",
                    "for",
                    "project",
                    "organization",
                    "on",
                    "per min",
                    "(TPM):",
                    "Limit",
                    "Used",
                    "Requested",
                    "(for limit",
                ]
            ),
            st.text(max_size=8),
            st.integers(0, 10**30).map(str),
        ),
        max_size=20,
    ).map(" ".join)
)
def test_any_text_gives_a_hit_or_none(message: str) -> None:
    hit = parse_hit(message)
    assert hit is None or hit.metric is not None or hit.limit is not None


# Headers ------------------------------------------------------------------------------------------------------------------------


def headers(bucket: str, limit: str | None, remaining: str | None, reset: str | None) -> list[tuple[str, str]]:
    """The three headers of a bucket, those that are there."""
    given = (("limit", limit), ("remaining", remaining), ("reset", reset))
    return [(f"x-ratelimit-{part}-{bucket}", value) for part, value in given if value is not None]


@pytest.mark.parametrize(
    ("limit", "remaining", "reset", "shown"),
    [
        ("10000", "9999", "6ms", (10000, 9999, 0.006, 60)),
        ("10000", "9999", "8.64s", (10000, 9999, 8.64, 86400)),
        ("200", "0", "24h0m0s", (200, 0, 86400, 86400)),
        ("150000000", "149999792", "0s", (150000000, 149999792, 0, None)),
        ("100", "100", "0s", (100, 100, 0, None)),
        # Zero is zero: exhausted. Absent is unknown.
        ("100", "0", "59.5s", (100, 0, 59.5, 60)),
        ("100", "0", None, (100, 0, None, None)),
        ("100", None, None, (100, None, None, None)),
        ("100", None, "6ms", (100, None, 0.006, None)),
        (None, "0", "6ms", (None, None, 0.006, None)),
        (None, "5", None, None),
        (None, None, "x", None),
        ("", "", "", None),
        # Azure's "unknown".
        ("-1", "-1", "0s", (None, None, 0, None)),
        ("-1", "-1", None, None),
        ("0", "0", None, None),
        ("0", "0", "0", (None, None, 0, None)),
        # Garbled.
        ("abc", "1", "1s", (None, None, 1, None)),
        ("100", "101", "1s", (100, None, 1, None)),
        ("100", "-5", "1s", (100, None, 1, None)),
        ("100", "nan", "1s", (100, None, 1, None)),
        ("1e3", "1", None, None),
        ("9" * 16, "1", None, None),
        ("100", "50", "32d", (100, 50, None, None)),
        ("100.0", " 50 ", "30s", (100, 50, 30, 60)),
        ("١٠٠", "1", None, None),
    ],
)
@pytest.mark.parametrize("bucket", ["requests", "tokens", "project-tokens", "project-requests", "input-images"])
def test_a_bucket_is_shown_as_the_headers_say_and_absence_is_unknown(
    bucket: str, limit: str | None, remaining: str | None, reset: str | None, shown: tuple[float | None, ...] | None
) -> None:
    expected = (RateLimitSnapshot(bucket, *shown),) if shown else ()  # type: ignore[arg-type]
    assert snapshots(headers(bucket, limit, remaining, reset)) == expected


def test_buckets_are_told_apart_whatever_the_case_and_the_first_of_repeats_counts() -> None:
    given = [
        ("X-RateLimit-Limit-Requests", "10"),
        ("content-type", "application/json"),
        ("x-ratelimit-limit-tokens_usage_based", "7"),
        ("x-ratelimit-limit-requests", "99"),
        ("x-ratelimit-remaining-requests", "4"),
        ("x-ratelimit-limit-", "1"),
        ("x-ratelimit-burst-requests", "1"),
    ]
    assert [(one.bucket, one.limit, one.remaining) for one in snapshots(given)] == [
        ("requests", 10, 4),
        ("tokens-usage-based", 7, None),
    ]


def test_no_header_is_no_bucket() -> None:
    assert snapshots([]) == ()
    assert snapshots([("x-request-id", "req_1"), ("openai-organization", "acme")]) == ()


@pytest.mark.parametrize(
    ("limit", "remaining", "part"), [(100, 25, 0.25), (100, 0, 0.0), (100, 100, 1.0), (100, None, None), (None, None, None)]
)
def test_headroom_is_unknown_where_a_number_is_missing(limit: int | None, remaining: int | None, part: float | None) -> None:
    assert headroom(RateLimitSnapshot("requests", limit, remaining, None)) == part


@given(window=st.sampled_from([60.0, 86400.0]), limit=st.integers(10, 10**6), part=st.floats(0.01, 1.0))
def test_the_window_is_found_again_from_what_a_bucket_of_it_would_show(window: float, limit: int, part: float) -> None:
    used = max(1, int(limit * part))
    reset = round(window * used / limit, 3)
    assert infer_window(limit, limit - used, reset) in ((window,) if reset >= 0.1 else (window, None))


@given(st.none() | st.integers(-9, 10**15), st.none() | st.integers(-9, 10**15), st.none() | st.floats(0, 1e9))
def test_a_window_is_one_of_three_or_unknown(limit: int | None, remaining: int | None, reset: float | None) -> None:
    assert infer_window(limit, remaining, reset) in (None, 60, 3600, 86400)


# How long to wait ---------------------------------------------------------------------------------------------------------------

NOW = datetime(2026, 11, 23, 14, 5, 20, tzinfo=UTC)
TEXT = "Rate limit reached. Please try again in 9.904s. Visit …"
EXHAUSTED = RateLimitSnapshot("tokens", 100, 0, 40.0)
OPEN = RateLimitSnapshot("requests", 100, 1, 50.0)


@pytest.mark.parametrize(
    ("given", "message", "shown", "seconds"),
    [
        ([], None, [], None),
        ([("retry-after-ms", "1500"), ("retry-after", "9")], TEXT, [EXHAUSTED], 1.5),
        ([("Retry-After", "9")], TEXT, [EXHAUSTED], 9),
        ([("Retry-After", "0")], TEXT, [EXHAUSTED], 0),
        ([("retry-after", "Mon, 23 Nov 2026 14:05:50 GMT")], TEXT, [EXHAUSTED], 30),
        ([], TEXT, [EXHAUSTED], 9.904),
        ([], "Please try again in 7m12s.", [], 432),
        ([], "Please try again in 114h18m0s.", [], 411480),
        ([], "Please try again in 6ms.", [], 0.006),
        ([], "Please retry after 20 seconds.", [], 20),
        ([], "Please try again in 2 minutes.", [], 120),
        ([], "Please try again later.", [EXHAUSTED, OPEN], 40),
        ([], None, [OPEN], None),
        ([], None, [RateLimitSnapshot("tokens", None, None, 40.0)], None),
        # What cannot be true gives way to the next source.
        ([("retry-after", "-1")], TEXT, [], 9.904),
        ([("retry-after", "nan")], TEXT, [], 9.904),
        ([("retry-after", "inf")], TEXT, [], 9.904),
        ([("retry-after", "soon")], TEXT, [], 9.904),
        ([("retry-after", "1e12")], TEXT, [], 9.904),
        ([("retry-after", "Mon, 23 Nov 2026 14:05:10 GMT")], None, [], None),
        ([("retry-after", "")], None, [], None),
    ],
)
def test_the_wait_comes_from_the_best_source(
    given: list[tuple[str, str]], message: str | None, shown: list[RateLimitSnapshot], seconds: float | None
) -> None:
    assert retry_after(given, message, shown, NOW) == (pytest.approx(seconds) if seconds is not None else None)


@settings(max_examples=300)
@given(st.text(max_size=30), st.text(max_size=40), st.text(max_size=30))
def test_a_wait_is_never_negative_nor_longer_than_a_month(header: str, message: str, reset: str) -> None:
    shown = snapshots(headers("tokens", "100", "0", reset))
    wait = retry_after([("retry-after", header)], "Please try again in " + message, shown, NOW)
    assert wait is None or 0 <= wait <= LONGEST_WAIT
