"""The kinds of values settings are made of, each with its own words for what is wrong."""

import re
from datetime import datetime, time, timedelta
from typing import Annotated
from urllib.parse import SplitResult, urlsplit, urlunsplit

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, StrictInt
from pydantic_core import PydanticCustomError

from monitor.secrets import ENV_NAME


def wrong(message: str, fix: str = "") -> PydanticCustomError:
    """An error whose words are ours; they hold no part of the value."""
    return PydanticCustomError("ours", "{message}", {"message": message, "fix": fix})


_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_DURATION = re.compile(r"(?:\d{1,9}(?:\.\d{1,6})?\s*(?:ms|[smhdw])\s*)+", re.ASCII)
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|[smhdw])", re.ASCII)


def parse_duration(text: str) -> timedelta:
    """The length of time that `60s`, `5m`, `1h30m` or `7d` names. Raises ValueError."""
    if len(text) > 64 or not _DURATION.fullmatch(text.strip()):
        raise ValueError('not a length of time such as "60s", "5m", "1h30m" or "7d"')
    seconds = sum(float(number) * _UNITS[unit] for number, unit in _DURATION_PART.findall(text))
    try:
        return timedelta(seconds=seconds)
    except OverflowError:
        raise ValueError("longer than any calendar") from None


def format_duration(length: timedelta) -> str:
    """The shortest text that `parse_duration` reads back as `length`: `1h30m`."""
    ms = round(length / timedelta(milliseconds=1))
    text = ""
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, ms = divmod(ms, size)
        text += f"{count}{unit}" if count else ""
    return text or "0s"


def _to_duration(value: object) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str):
        raise wrong("must be a length of time in quotes", 'Write it with its unit, such as "60s", "5m", "1h30m" or "7d".')
    try:
        return parse_duration(value)
    except ValueError as error:
        raise wrong(f"is {error}", "Write a number and a unit: ms, s, m, h, d or w.") from None


def _between(least: str, most: str) -> AfterValidator:
    low, high = parse_duration(least), parse_duration(most)

    def check(value: timedelta) -> timedelta:
        if not low <= value <= high:
            raise wrong(f"must be between {least} and {most}", f'Write a length of time in that range, such as "{least}".')
        return value

    return AfterValidator(check)


_Duration = Annotated[timedelta, BeforeValidator(_to_duration), PlainSerializer(format_duration)]
Interval = Annotated[_Duration, _between("1s", "30d")]
Wait = Annotated[_Duration, _between("100ms", "5m")]
Age = Annotated[_Duration, _between("1h", "3650d")]
Lease = Annotated[_Duration, _between("2s", "5m")]
Unused = Annotated[_Duration, _between("1d", "90d")]
"""Usage by day is asked about for three months."""
Quiet = Annotated[_Duration, _between("1h", "90d")]
Pause = Annotated[_Duration, _between("0s", "1h")]
Patience = Annotated[_Duration, _between("1m", "30d")]
DigestEvery = Annotated[_Duration, _between("1h", "30d")]


def _to_reminder(value: object) -> timedelta | None:
    """A length of time, or None for `never`."""
    if value is None or value == "never":
        return None
    length = _to_duration(value)
    if not timedelta(minutes=1) <= length <= timedelta(days=30):
        raise wrong('must be between 1m and 30d, or "never"', 'Write a length of time in that range, such as "4h".')
    return length


Reminder = Annotated[
    timedelta | None,
    BeforeValidator(_to_reminder),
    PlainSerializer(lambda length: "never" if length is None else format_duration(length)),
]


def _to_moment(value: object) -> datetime:
    fix = "Write it with its offset and without quotes, such as 2026-12-01T22:00:00+01:00."
    if not isinstance(value, datetime):
        raise wrong("must be a date with a time", fix)
    if value.tzinfo is None:
        raise wrong("does not say in which time zone it is", fix)
    return value


Moment = Annotated[datetime, BeforeValidator(_to_moment)]


def _to_time(value: object) -> time:
    if isinstance(value, time):
        return value
    if isinstance(value, str) and re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", value, re.ASCII):
        return time.fromisoformat(value)
    raise wrong("must be a time of day", 'Write hours and minutes (UTC) in quotes, such as "06:00".')


TimeOfDay = Annotated[time, BeforeValidator(_to_time), PlainSerializer(lambda at: f"{at:%H:%M}")]


def _matching(pattern: str, message: str, fix: str) -> AfterValidator:
    compiled = re.compile(pattern, re.ASCII)

    def check(value: str) -> str:
        if not compiled.fullmatch(value):
            raise wrong(message, fix)
        return value

    return AfterValidator(check)


Slug = Annotated[
    str,
    _matching(
        r"[a-z0-9][a-z0-9._-]{0,62}",
        "must be 1 to 63 small letters, digits, dots, dashes or underscores, beginning with a letter or digit",
        'Choose a short name such as "prod-chatbot".',
    ),
]
Label = Annotated[
    str,
    _matching(
        r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}",
        "must be 1 to 63 letters, digits, dots, dashes or underscores, beginning with a letter or digit",
        'Choose a short label such as "backend".',
    ),
]
ModelName = Annotated[
    str,
    _matching(
        r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,199}",
        "is not a model's name",
        'Write it as the API does, such as "gpt-4o-mini" or "ft:gpt-4o-mini-2024-07-18:acme::abc123".',
    ),
]
OpenAiId = Annotated[
    str,
    _matching(
        r"[A-Za-z0-9_-]{1,200}",
        "is not an OpenAI id (letters, digits, dashes and underscores)",
        "Copy it from the OpenAI dashboard, or leave the line out.",
    ),
]


def _check_words(value: str) -> str:
    # isprintable refuses control characters, lone surrogates and the marks that turn the writing direction of a page.
    if not value.strip() or len(value) > 200 or not value.isprintable():
        raise wrong("must be 1 to 200 printable characters on one line", "Shorten it, or leave the line out.")
    return value


Words = Annotated[str, AfterValidator(_check_words)]
Address = Annotated[
    str,
    _matching(
        r"[A-Za-z0-9_.:-]{1,253}", "is not an address", 'Write "127.0.0.1" for this machine only, or "0.0.0.0" for every network.'
    ),
]
Port = Annotated[StrictInt, Field(ge=0, le=65535)]


def _to_base_url(value: str) -> str:
    """The base URL in one spelling, so that equal hosts are equal: small letters, no slash at the end."""
    fix = 'Write it as "https://api.openai.com/v1".'
    if not re.fullmatch(r"[!-~]{1,2000}", value):
        raise wrong("must be plain ASCII without spaces, at most 2,000 characters", fix)
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        raise wrong("is not a URL (its host or port cannot be read)", fix) from None
    if parts.scheme not in ("http", "https"):
        raise wrong("must begin with https:// (or http://)", fix)
    if "@" in parts.netloc:
        raise wrong("must hold no user name or password", "Leave out everything up to the @; the key alone identifies you.")
    if "?" in value or "#" in value:
        raise wrong("must end with its path, without ? or #", fix)
    if not parts.hostname or not re.fullmatch(r"[a-z0-9_.-]+|[0-9a-f:.]+(%[a-z0-9]+)?", parts.hostname) or port == 0:
        raise wrong("has no usable host name", fix)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    netloc = host if port is None else f"{host}:{port}"
    return urlunsplit(SplitResult(parts.scheme, netloc, parts.path.rstrip("/"), "", ""))


BaseUrl = Annotated[str, AfterValidator(_to_base_url)]


def _check_database_url(value: str) -> str:
    """The URL as given. Its errors must not show it: it may hold a password."""
    if not value.isprintable():
        raise wrong("has a control character inside", "Type it again.")
    scheme, separator, rest = value.partition("://")
    if scheme == "sqlite" and separator:
        path = rest.removeprefix("/").partition("?")[0]
        if not rest.startswith("/") or path in ("", ":memory:"):
            raise wrong(
                "must name a file: poller and pages are two processes, and memory is shared by neither",
                'Write "sqlite:///data/monitor.db", or with four slashes an absolute path.',
            )
        return value
    if scheme in ("postgresql", "postgresql+psycopg") and len(rest) > 1:
        return value
    raise wrong(
        "must be an SQLite file or a PostgreSQL database",
        'Write "sqlite:///data/monitor.db" or "postgresql+psycopg://user:password@host/name".',
    )


DatabaseUrl = Annotated[str, AfterValidator(_check_database_url)]

KEY_IN_CLEAR = re.compile(
    r"sk-(?:proj|svcacct|admin|service|None)-[A-Za-z0-9_-]{8,}|sk-[A-Za-z0-9]{20,}|T3BlbkFJ|sess-[A-Za-z0-9]{20,}"
)


def _check_secret_ref(value: str) -> str:
    scheme, _, rest = value.partition(":")
    if scheme == "env" and ENV_NAME.fullmatch(rest):
        return value
    if scheme == "env":
        raise wrong("names no environment variable after env:", 'Write "env:" and a name of letters, digits and underscores.')
    if scheme == "file" and rest and "\x00" not in rest:
        return value
    if scheme == "file":
        raise wrong("names no file after file:", 'Write "file:" and a path, such as "file:secrets/backend".')
    raise wrong(
        "must say where the secret is, not what it is",
        'Put the key into .env and write "env:NAME", or into a file and write "file:PATH".',
    )


SecretRef = Annotated[str, AfterValidator(_check_secret_ref)]
