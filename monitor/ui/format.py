"""Values as people read them: ages, moments, numbers, and texts from outside made harmless."""

import html
import re
from datetime import UTC, datetime, tzinfo
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import pandas as pd
import streamlit as st

from monitor.domain.taxonomy import KINDS, FailureKind
from monitor.domain.words import duration

MISSING = "–"
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+\-.!|<>~$:&])")
_MOMENT = re.compile(r"\b(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC\b")
_ZONE = re.compile(r"[A-Za-z0-9_+\-]+(/[A-Za-z0-9_+\-]+){0,2}")


def visible(text: object) -> str:
    """The text with characters that cannot be seen, or that turn the reading direction, replaced."""
    return "".join(char if char.isprintable() or char == "\n" else "\N{REPLACEMENT CHARACTER}" for char in str(text))


def visible_lines(text: str) -> str:
    """The same for a text of several lines, with tabs as spaces."""
    return visible(text.replace("\t", "    "))


def escape(text: object) -> str:
    """Text from outside, ready to stand in HTML, between tags or in a quoted attribute."""
    return html.escape(visible(text), quote=True)


def markdown(text: object) -> str:
    """Text from outside, ready to stand in Markdown as it is written."""
    return _MARKDOWN.sub(r"\\\1", visible(text).replace("\n", " "))


def link(page: str, **params: str | None) -> str:
    """The address of a page of ours with these parameters, relative and escaped for an attribute."""
    given = {name: value for name, value in params.items() if value}
    return html.escape((page or ".") + (f"?{urlencode(given)}" if given else ""), quote=True)


def zone_of(name: object) -> tzinfo:
    """The zone of that name, or UTC: browsers may call it anything."""
    if not isinstance(name, str) or len(name) > 64 or not _ZONE.fullmatch(name):
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        return UTC


def viewer_zone() -> tzinfo:
    """The zone of whoever looks."""
    return zone_of(st.context.timezone)


def zone_name(zone: tzinfo) -> str:
    """How the zone is called, e.g. `Europe/Berlin` or `UTC`."""
    return getattr(zone, "key", None) or "UTC"


def age(at: datetime | None, now: datetime) -> str:
    """`12 s ago`, or `never`."""
    if at is None:
        return "never"
    seconds = (now - at).total_seconds()
    return f"{span(seconds)} ago" if seconds >= 1 else "just now"


def span(seconds: float) -> str:
    """A stretch of time in whole seconds or larger units."""
    return duration(max(0, round(seconds)) if seconds >= 1 else 1)


def clock(at: datetime, now: datetime, zone: tzinfo) -> str:
    """`02:14` today, `21 Nov 02:14` this year, else with the year."""
    here, today = at.astimezone(zone), now.astimezone(zone)
    if here.date() == today.date():
        return f"{here:%H:%M}"
    return f"{here.day} {here:%b %H:%M}" if here.year == today.year else f"{here.day} {here:%b %Y %H:%M}"


def exact(at: datetime, now: datetime, zone: tzinfo) -> str:
    """The same with seconds."""
    return f"{clock(at, now, zone)}:{at.astimezone(zone):%S}"


def local(text: str, now: datetime, zone: tzinfo) -> str:
    """A text of ours with its moments in UTC as the reader's clock shows them: a page has one zone."""

    def said(found: re.Match[str]) -> str:
        try:
            return exact(datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC), now, zone)
        except (ValueError, OverflowError):
            return found[0]

    return _MOMENT.sub(said, text)


def since(at: datetime | None, now: datetime, zone: tzinfo) -> str:
    """`since 02:14 (3 h 12 min)`, or nothing where it is not known."""
    if at is None:
        return ""
    return f"since {clock(at, now, zone)} ({span((now - at).total_seconds())})"


def number(value: float | None) -> str:
    """`12,300`, or a dash where it is not known."""
    return MISSING if value is None or value != value else f"{value:,.0f}"  # noqa: PLR0124 - NaN


def milliseconds(value: float | None) -> str:
    """`120 ms`, `1.4 s`, or a dash."""
    return MISSING if value is None or value != value else duration(value / 1000)  # noqa: PLR0124 - NaN


def plural(count: int, one: str, many: str | None = None) -> str:
    """`1 project`, `3 projects`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def title(kind: FailureKind | str | None) -> str:
    """What a kind of failure is called, also one that this version does not know."""
    if kind is None:
        return ""
    try:
        return KINDS[FailureKind(kind)].title
    except ValueError:
        return str(kind)


def words(identifier: str) -> str:
    """`model_access` as `model access`."""
    return identifier.replace("_", " ")


def safe_cell(text: object) -> str:
    """Text from outside for a cell that may end in a spreadsheet, where some first characters begin a formula."""
    shown = visible(text)
    return "'" + shown if shown.lstrip().startswith(("=", "+", "-", "@")) else shown


def csv_of(frame: pd.DataFrame) -> str:
    """The frame as CSV that no spreadsheet takes for formulas."""
    safe = frame.copy()
    for name in safe.columns:
        if safe[name].dtype.kind == "O":
            safe[name] = safe[name].map(safe_cell, na_action="ignore")
    return str(safe.to_csv(index=False))
