"""What is asked for, kept in the address: a link shows to others what it shows to you.

Project and time window are the same on every page. What the address says and nobody can understand is left out, with a hint.
"""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta

import streamlit as st

from monitor.domain.timeline import Window
from monitor.ui import data
from monitor.ui.format import escape

WINDOWS = {
    "1h": timedelta(hours=1),
    "6h": timedelta(hours=6),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
    "90d": timedelta(days=90),
    "13mo": timedelta(days=396),
}
DEFAULT_WINDOW = "24h"
_KEPT = "kept."
_LONGEST = 200


def asked(name: str, allowed: Collection[str] | None = None, *, kept: bool = False) -> str | None:
    """What the address says under `name`, or None. A value that is not allowed is taken out, and a hint says so.

    One that is `kept` outlives a change of the page, which empties the address.
    """
    value = st.query_params.get(name)
    if value is None and kept:
        value = st.session_state.get(_KEPT + name)
        if value is not None and (allowed is None or value in allowed):
            st.query_params[name] = value
    if value is None or value == "":
        return None
    if len(value) > _LONGEST or (allowed is not None and value not in allowed):
        st.query_params.pop(name, None)
        st.session_state.pop(_KEPT + name, None)
        shown = value if len(value) <= 40 else value[:40] + "…"
        st.html(f'<div class="m"><div class="note">There is no {escape(name)} “{escape(shown)}”, so it is left out.</div></div>')
        return None
    if kept:
        st.session_state[_KEPT + name] = value
    return value


def remember(name: str, value: str | None, *, kept: bool = False) -> None:
    """Put a choice into the address, or take it out."""
    if value:
        st.query_params[name] = value
    else:
        st.query_params.pop(name, None)
    if kept:
        st.session_state[_KEPT + name] = value


def _changed(name: str, key: str, kept: bool, empty: str | int | None) -> None:
    value = st.session_state.get(key)
    st.query_params.pop("page", None)  # of other rows, the first are wanted first
    remember(name, None if value in (None, "", empty, False) else "1" if value is True else str(value), kept=kept)


def window_choice() -> None:
    """The choice of the time window, drawn once by the router for every page."""
    chosen = asked("window", WINDOWS, kept=True) or DEFAULT_WINDOW
    st.session_state["w.window"] = chosen
    st.segmented_control(
        "Time window",
        list(WINDOWS),
        key="w.window",
        label_visibility="collapsed",
        on_change=_changed,
        args=("window", "w.window", True, DEFAULT_WINDOW),
        required=True,
    )


def window_name() -> str:
    """The chosen window as the address says it."""
    value = st.session_state.get(_KEPT + "window")
    return value if value in WINDOWS else DEFAULT_WINDOW


def window(now: datetime) -> Window:
    """The chosen window, ending with this minute; a longer one with this quarter of an hour, hour or day (UTC)."""
    length = WINDOWS[window_name()]
    return Window.last(length, now, grain(length))


_GRAINS = (timedelta(minutes=1), timedelta(minutes=15), timedelta(hours=1), timedelta(days=1))


def grain(length: timedelta, most: int = 200) -> timedelta:
    """The finest width of which the length has at most so many; days, where it has more of all."""
    return next((width for width in _GRAINS if length / width <= most), _GRAINS[-1])


def cells(window: Window, most: int = 48, buckets: int = 200) -> int:
    """How many cells a strip over the window has: at most so many, each of the same whole number of minutes, quarters of an hour,
    hours or days, of which about `buckets` are read for each project and probe.
    """
    parts = round(window.length / grain(window.length, buckets))
    return next(count for count in range(min(most, parts), 0, -1) if parts % count == 0)


def choice(
    name: str, label: str, options: Iterable[str], *, every: str | None = None, kept: bool = False, free: bool = False
) -> str | None:
    """A choice of one kept in the address. With `every`, the words for no choice at all; `free` takes unlisted values too."""
    known = list(options)
    value = asked(name, None if free else known, kept=kept)
    if value is not None and value not in known:
        known.append(value)
    shown = ([every] if every else []) + known
    if not shown:
        return None
    key = f"w.{name}"
    st.session_state[key] = value if value is not None else shown[0]
    st.selectbox(label, shown, key=key, on_change=_changed, args=(name, key, kept, every))
    return value if value is not None or every else shown[0]


def text(name: str, label: str, placeholder: str = "") -> str:
    """A text kept in the address."""
    key = f"w.{name}"
    st.session_state[key] = asked(name) or ""
    st.text_input(label, key=key, placeholder=placeholder, on_change=_changed, args=(name, key, False, None))
    return str(st.session_state[key]).strip()


def number(name: str, label: str, *, least: int, most: int) -> int | None:
    """A whole number kept in the address."""
    key = f"w.{name}"
    value = asked(name)
    if value is not None and not (value.isascii() and value.isdigit() and len(value) <= 9 and least <= int(value) <= most):
        asked(name, ())
        value = None
    st.session_state[key] = int(value) if value else None
    st.number_input(label, least, most, None, key=key, placeholder="any", on_change=_changed, args=(name, key, False, None))
    return int(value) if value else None


def rows(total: int, size: int = 50) -> slice:
    """Which of so many rows are shown: those of the page in the address. The choice of another is drawn where there are several."""
    pages = max(1, -(-total // size))
    value = asked("page")
    if value is not None and not (value.isascii() and value.isdigit() and 0 < len(value) <= 6 and int(value)):
        asked("page", ())
        value = None
    page = min(int(value), pages) if value else 1  # a list that has become shorter ends where it ends
    if pages > 1:
        st.session_state["w.page"] = page
        st.pagination(pages, key="w.page", on_change=_changed, args=("page", "w.page", False, 1))
    return slice((page - 1) * size, page * size)


def switch(name: str, label: str) -> bool:
    """A yes or no kept in the address."""
    key = f"w.{name}"
    st.session_state[key] = asked(name, ("1",)) == "1"
    st.toggle(label, key=key, on_change=_changed, args=(name, key, False, None))
    return bool(st.session_state[key])


_PERSON = "kept.person"


def person() -> str:
    """Who looks, as they said; empty where they have not."""
    return str(st.session_state.get("w.person") or st.session_state.get(_PERSON) or "").strip()[:_LONGEST]


def person_choice() -> None:
    """Asks who looks: once, then it is known for as long as the page is open. It is no sign-in, and never in an address."""
    st.session_state["w.person"] = person()
    st.session_state[_PERSON] = person()
    st.text_input("You are", key="w.person", placeholder="your name, for the record", max_chars=80, width=240, on_change=_named)


def _named() -> None:
    st.session_state[_PERSON] = st.session_state["w.person"]


def project(now: datetime, *, every: str | None = None) -> str | None:
    """The project that all pages share; without `every` the worst one where none is chosen."""
    fleet = [status.name for status in data.fleet(now)]
    order = sorted(fleet) if every else fleet
    return choice("project", "Project", order, every=every, kept=True)
