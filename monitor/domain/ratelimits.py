"""What OpenAI says of its limits: the text of a 429, the `x-ratelimit-*` headers, how long to wait.

None is "not said", never zero: a limit that is absent, negative or garbled is unknown.
"""

import math
import re
from collections.abc import Iterable
from datetime import datetime
from email.utils import parsedate_to_datetime

from monitor.domain.observation import RateLimitHit, RateLimitSnapshot

Headers = Iterable[tuple[str, str]]

LONGEST_WAIT = 31 * 86400.0
"""Seconds. Waits of 114 h were seen; a header that asks for more than a month is garbled, not true."""

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = r"\d{1,12}(?:\.\d{1,12})?(?:ms|us|µs|μs|ns|d|h|m|s)"
_DURATION = re.compile(rf"(?:{_PART})+\Z", re.ASCII)
_PARTS = re.compile(r"(\d+(?:\.\d+)?)(ms|us|µs|μs|ns|d|h|m|s)", re.ASCII)
_BARE = re.compile(r"\d{1,12}(?:\.\d{1,12})?\Z", re.ASCII)


def go_duration(text: str) -> float | None:
    """Seconds of a Go duration such as `6ms`, `1m30.5s`, `1h8m25.745s`, or of a bare number; None for anything else."""
    text = text.strip()
    if _BARE.match(text):
        return float(text)
    if not _DURATION.match(text):
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in _PARTS.findall(text))


_NUMBER = r"(\d[\d,]{0,20}(?:\.\d{1,9})?)"
_NAME = r"([^\s,()]{1,200})"
_LIMIT = re.compile(rf"limit:? {_NUMBER}")
_USED = re.compile(rf"used:? {_NUMBER}")
_CURRENT = re.compile(rf"current:? {_NUMBER}")
_REQUESTED = re.compile(rf"requested:? {_NUMBER}")
_METRIC = re.compile(r"\b([a-z][a-z_-]{0,30}|concurrent [a-z]{1,20}) per (sec|min|hour|day)")
_ABBREVIATION = re.compile(r"\b(r|t|i|a)p(s|m|h|d)\b")
_ENQUEUED = re.compile(rf"limit: {_NUMBER} (enqueued tokens)")
_ACTIVE = re.compile(
    rf"maximum of {_NUMBER} (active requests|concurrent [a-z]{{1,20}})(?: \((\d{{1,9}}) running, (\d{{1,9}}) pending\))?"
)
_MODEL = re.compile(
    rf"\b(?:reached|exceeded|too large) for (?:(?:the )?model:? )?(?!project |organization |org )[`'\"]?{_NAME}", re.IGNORECASE
)
_FOR_THE_MODEL = re.compile(rf"\bfor the model [`'\"]?{_NAME}", re.IGNORECASE)
_POOL = re.compile(r"\(for limit ([^)]{1,200})\)", re.IGNORECASE)
_PROJECT = re.compile(rf"\b(?:in|for) project {_NAME}", re.IGNORECASE)
_ORGANIZATION = re.compile(rf"\b(?:in|for|project \S{{1,200}}) organization {_NAME}", re.IGNORECASE)
_LETTERS = {"r": "requests", "t": "tokens", "i": "images", "a": "audio", "s": "sec", "m": "min", "h": "hour", "d": "day"}


def parse_hit(message: str | None) -> RateLimitHit | None:
    """The limit that a 429's text names, or None where it names none. Reads every wording seen since 2023."""
    if not message:
        return None
    message = message[:2000]
    text = message.lower()
    if "limit" not in text and "too large" not in text:
        return None
    metric, window = _metric(text)
    limit, used = _number(_LIMIT, text), _number(_USED, text)
    if used is None:
        used = _number(_CURRENT, text)
    if (active := _ACTIVE.search(text)) is not None:
        metric, limit = active[2], _float(active[1])
        used = float(int(active[3]) + int(active[4])) if active[3] else None
    elif (enqueued := _ENQUEUED.search(text)) is not None:
        metric = enqueued[2]
    if metric is None and limit is None:
        return None
    model = _name(_MODEL, message)
    if model is not None and metric is not None and f"for {model} per".lower() in text:
        model = None  # "Rate limit exceeded for images per minute": the metric, not a model
    return RateLimitHit(
        metric=metric,
        window=window,
        limit=limit,
        used=used,
        requested=_number(_REQUESTED, text),
        model=model or (_name(_FOR_THE_MODEL, message) if "for the model" in text else None),
        pool=_name(_POOL, message),
        project=_name(_PROJECT, message) if "project " in text else None,
        organization=_name(_ORGANIZATION, message),
    )


def never_fits(hit: RateLimitHit | None) -> bool:
    """Whether the limit is smaller than what was asked for alone, or zero: then no wait is long enough."""
    if hit is None or hit.limit is None:
        return False
    return hit.limit == 0 or (hit.requested is not None and hit.requested > hit.limit)


def _metric(text: str) -> tuple[str | None, str | None]:
    if (said := _METRIC.search(text)) is not None:
        return said[1], said[2]
    if (short := _ABBREVIATION.search(text)) is not None:
        return _LETTERS[short[1]], _LETTERS[short[2]]
    return None, None


def _number(pattern: re.Pattern[str], text: str) -> float | None:
    found = pattern.search(text)
    return _float(found[1]) if found else None


def _float(digits: str) -> float:
    return float(digits.replace(",", ""))


def _name(pattern: re.Pattern[str], message: str) -> str | None:
    found = pattern.search(message)
    name = found[1].rstrip(".:;").strip("`'\"") if found else ""
    return name if any(character.isalnum() for character in name) else None


_PREFIX = "x-ratelimit-"


def snapshots(headers: Headers) -> tuple[RateLimitSnapshot, ...]:
    """Every bucket that the `x-ratelimit-*` headers show, in order of appearance. Buckets that say nothing usable are left out."""
    found: dict[str, dict[str, str]] = {}
    for name, value in headers:
        if name[:12].lower() != _PREFIX:
            continue
        part, _, bucket = name[12:].lower().partition("-")
        if bucket and part in ("limit", "remaining", "reset"):
            found.setdefault(bucket.replace("_", "-")[:64], {}).setdefault(part, value)
    read = (_snapshot(bucket, said) for bucket, said in found.items())
    return tuple(snapshot for snapshot in read if snapshot is not None)


def _snapshot(bucket: str, said: dict[str, str]) -> RateLimitSnapshot | None:
    limit = _count(said.get("limit"))
    remaining = _count(said.get("remaining"))
    if not limit:
        limit = remaining = None  # Azure says -1 and 0 for "unknown": without a limit a remaining 0 means nothing
    elif remaining is not None and remaining > limit:
        remaining = None
    reset = go_duration(said.get("reset", ""))
    if reset is not None and reset > LONGEST_WAIT:
        reset = None
    if limit is None and reset is None:
        return None
    return RateLimitSnapshot(bucket, limit, remaining, reset, infer_window(limit, remaining, reset))


def _count(text: str | None) -> int | None:
    """A count of at most 15 digits, or None. A fraction that is zero (`200.0`) is tolerated."""
    digits = (text or "").strip().removesuffix(".0")
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 15 else None


_WINDOWS = (60.0, 3600.0, 86400.0)
_ROUNDING = 0.001
"""Resets are given in whole milliseconds."""


def infer_window(limit: int | None, remaining: int | None, reset: float | None) -> float | None:
    """The bucket's window in seconds (60, 3600 or 86400), or None where it cannot be told.

    A bucket refills evenly, so `reset / used` seconds a unit times `limit` units is the window. A request bucket is sometimes the
    day's, and nothing else in the headers says so.
    """
    if not limit or remaining is None or not reset or remaining >= limit:
        return None
    per_unit = limit / (limit - remaining)
    least, most = 0.9 * per_unit * max(reset - _ROUNDING, 0.0), 1.1 * per_unit * (reset + _ROUNDING)
    fits = [window for window in _WINDOWS if least <= window <= most]
    return fits[0] if len(fits) == 1 else None


def headroom(snapshot: RateLimitSnapshot) -> float | None:
    """The unused part of a bucket at the instant of the answer, 0 to 1; None where it is not known."""
    if not snapshot.limit or snapshot.remaining is None:
        return None
    return snapshot.remaining / snapshot.limit


_TRY_AGAIN = re.compile(
    rf"(?:try again (?:in|after)|retry (?:again )?(?:after|in)|please wait) ((?:{_PART})+|\d{{1,9}}(?:\.\d{{1,9}})?)"
    r"(?: (second|minute|hour|day)s?)?",
    re.ASCII,
)
_LONG_UNITS = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86400.0}


def retry_after(
    headers: Headers, message: str | None, shown: Iterable[RateLimitSnapshot], now: datetime | None = None
) -> float | None:
    """Seconds to wait by the best source there is, or None when nobody said.

    In order: `retry-after-ms`, `retry-after` (seconds or an HTTP date), "try again in …" of the text, the reset of the exhausted
    bucket. `now` is needed for a date only; without it the answer's own `date` header serves.
    """
    said = {name.lower(): value for name, value in headers}
    for seconds in (
        _scaled(said.get("retry-after-ms"), 1e-3),
        _scaled(said.get("retry-after"), 1.0),
        _until(said.get("retry-after"), now, said.get("date")),
        _told(message),
        max((bucket.reset for bucket in shown if bucket.remaining == 0 and bucket.reset), default=None),
    ):
        if seconds is not None and 0 <= seconds <= LONGEST_WAIT:
            return seconds
    return None


def _scaled(text: str | None, factor: float) -> float | None:
    try:
        seconds = float(text.strip()) * factor if text else math.nan
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) else None


def _until(text: str | None, now: datetime | None, answered: str | None) -> float | None:
    at = _date(text)
    if at is None:
        return None
    now = now or _date(answered)
    return (at - now).total_seconds() if now is not None and now.tzinfo is not None else None


def _date(text: str | None) -> datetime | None:
    if not text or "," not in text:
        return None
    try:
        at = parsedate_to_datetime(text[:64])
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return at if at.tzinfo is not None else None


def _told(message: str | None) -> float | None:
    found = _TRY_AGAIN.search(message[:2000].lower()) if message else None
    if found is None:
        return None
    return float(found[1]) * _LONG_UNITS[found[2]] if found[2] and _BARE.match(found[1]) else go_duration(found[1])
