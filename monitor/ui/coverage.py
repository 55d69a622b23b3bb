"""What nobody watches, and which answers are lacking: the organization's own record beside what is configured here."""

from collections.abc import Iterator, Sequence
from datetime import datetime, tzinfo

import pandas as pd
import streamlit as st

from monitor.domain.coverage import table_of
from monitor.domain.deadlines import STEPS
from monitor.domain.inventory import KeyKind
from monitor.domain.organization import Gap, Item
from monitor.store.queries import Covering
from monitor.ui import blocks, data, filters
from monitor.ui.format import age, clock, csv_of, escape, number, plural

_OLD_KINDS = (KeyKind.USER_LEGACY, KeyKind.USER_UNSCOPED)
_MOST_TABLES = 20
_MOST_ALIKE = 5
_WHAT = {
    "gone": ("failing", "✕", "Configured, gone"),
    "unknown": ("failing", "✕", "Key not found"),
    "old": ("unknown", "?", "Key of an old kind"),
    "unproven": ("unknown", "?", "Key not told apart"),
    "project": ("degraded", "⚑", "Project not watched"),
    "key": ("degraded", "⚑", "Key not watched"),
}

Row = tuple[str, str, str, str]
"""What it is, its project, its key, and what to make of it; plain texts."""


def section(now: datetime, zone: tzinfo, chosen: str) -> None:
    """All of it, or how to get it."""
    found = data.covering(now)
    blocks.heading("What nobody watches", "what the organization has and nobody configured here; what is configured and gone")
    if not found.synced:
        blocks.empty(
            "Only what is configured here is known.",
            "With a read-only admin key the monitor also finds projects and keys that nobody watches, and those that are gone: "
            "add <code>[[organizations]]</code> to <code>monitor.toml</code>; <code>python -m monitor sync</code> says how.",
        )
        return
    for name, at in found.synced.items():
        _standing(name, at, found, now, zone)
    rows = list(_rows(found, now))
    if not any(at is not None for at in found.synced.values()):
        blocks.empty("Nothing can be compared yet.", "The record has to be read once; what stands in its way is below.")
    elif not rows:
        blocks.empty("Everything is watched.", "Each project and key of the organization is configured here, and none is gone.")
    else:
        blocks.show(f"<p>{escape(_sentence(found))}</p>")
        _table(rows, chosen)
        _tables(found)
    _gaps(found.gaps, now, zone)


def _standing(name: str, at: datetime | None, found: Covering, now: datetime, zone: tzinfo) -> None:
    """When the record was read, how old the oldest of it is, and until when our own admin key opens it."""
    known, own = found.standing.get(name, (None, None))
    said = f"read {age(at, now)}" if at is not None else "was never read to its end"
    if known is not None and known.parts:
        said += f"; {known.said(now)}"
        if known.oldest_at is not None and known.kind is not None:
            whose = found.names.get(known.project or "", known.project or "")
            said += f" (oldest: {known.kind.replace('_', ' ')} of {whose})"
    blocks.show(f'<span class="soft">The record of <b>{escape(name)}</b>: {escape(said)}.</span>')
    if own is None:
        return
    shown, ends = own.facts.get("redacted_value"), own.time("expires_at")
    called = f"“{own.name}”{f' ({shown})' if shown else ''}"
    if ends is None:
        blocks.show(f'<span class="soft">Our admin key {escape(called)} has no expiry.</span>')
        return
    days = (ends.date() - now.date()).days
    when = "expired" if ends <= now else "expires today" if days == 0 else f"expires in {plural(days, 'day')}"
    css = "failing" if days <= 1 or ends <= now else "degraded" if days <= STEPS[0] else "soft"
    mark = "" if css == "soft" else '<i aria-hidden="true">⚑</i> '
    told = f"Our admin key {called} {when}, {clock(ends, now, zone)}."
    blocks.show(f'<a class="{css}" href="deadlines" target="_self">{mark}{escape(told)}</a>')


def _rows(found: Covering, now: datetime) -> Iterator[tuple[str, Row]]:
    seen = found.coverage
    for project in seen.gone_projects:
        yield "gone", (_id(project.project_id), project.name, "", "The organization has no such project, or has archived it.")
    for project, key in seen.unknown_keys:
        if key.kind in _OLD_KINDS:
            why = "OpenAI lists keys of this kind in no project: only an answer tells whether it is still there."
            yield "old", (_id(project.project_id), project.name, key.label, why)
        else:
            why = "No key of the organization looks like it: deleted, mistyped, or of another organization."
            yield "unknown", (_id(project.project_id), project.name, key.label, why)
    for project, key, alike in seen.unproven_keys:
        yield "unproven", (_id(project.project_id), project.name, key.label, _which(alike, now))
    for item in seen.unwatched_projects:
        made = item.time("created_at")
        why = f"Made {age(made, now)}." if made is not None else ""
        if _may_be_ours(found, item):
            why = f"Perhaps it is “{item.name}” here, which names no project_id."
        yield "project", (item.id, item.name, "", why)
    for item in seen.unwatched_keys:
        yield "key", (_id(item.project), _project_of(found, item), _key(item), _of_key(item, now))


def _which(alike: Sequence[Item], now: datetime) -> str:
    """The question which of the organization's keys a configured one is, and how to answer it."""
    if not alike:
        return "It was not compared yet: not all keys could be read, or its secret cannot be."
    told = [f"{item.id} (“{item.name}”{_made(item, now)})" for item in alike]
    more = f" and {len(told) - _MOST_ALIKE:,} more" if len(told) > _MOST_ALIKE else ""
    said = f"{'; '.join(told[:_MOST_ALIKE])}{more} end alike"
    return f"Which one is it? {said}. Add its key_id under [[projects.keys]] in monitor.toml."


def _made(item: Item, now: datetime) -> str:
    at = item.time("created_at")
    return f", made {age(at, now)}" if at is not None else ""


def _may_be_ours(found: Covering, item: Item) -> bool:
    """Whether a project of that name is watched without saying which one it is."""
    return item.name in found.watched and item.name not in found.names.values()


def _id(number: str | None) -> str:
    return number or ""


def _project_of(found: Covering, item: Item) -> str:
    return found.names.get(item.project or "", item.project or "")


def _key(item: Item) -> str:
    shown = item.facts.get("redacted_value")
    return f"{item.name} ({shown})" if shown else item.name


def _of_key(item: Item, now: datetime) -> str:
    used, owner = item.time("last_used_at"), item.facts.get("owner_name")
    said = f"Used {age(used, now)}" if used is not None else "Never used, as far as OpenAI tells"
    return f"{said}{f'; of {owner}' if owner else ''}."


def _sentence(found: Covering) -> str:
    seen = found.coverage
    old = sum(key.kind in _OLD_KINDS for _, key in seen.unknown_keys)
    parts = [
        (len(seen.gone_projects), "configured project is gone", "configured projects are gone"),
        (
            len(seen.unknown_keys) - old,
            "configured key is none of the organization's",
            "configured keys are none of the organization's",
        ),
        (len(seen.unwatched_projects), "project is watched by nobody", "projects are watched by nobody"),
        (
            len(seen.unwatched_keys),
            "key of a watched project is watched by nobody",
            "keys of watched projects are watched by nobody",
        ),
        (len(seen.unproven_keys) + old, "configured key cannot be compared", "configured keys cannot be compared"),
    ]
    return "; ".join(f"{number(count)} {one if count == 1 else many}" for count, one, many in parts if count) + "."


def _table(rows: list[tuple[str, Row]], chosen: str) -> None:
    shown = []
    for what, (project_id, name, key, why) in rows[filters.rows(len(rows), 25)]:
        css, shape, word = _WHAT[what]
        place = f"<b>{escape(name)}</b>" if what == "project" else blocks.project_link(name, chosen)
        lamp = f'<span class="{css}"><i aria-hidden="true">{shape}</i> {escape(word)}</span>'
        shown.append((lamp, place, f'<span class="mono">{escape(project_id)}</span>', blocks.dash(key), escape(why)))
    columns = [("What", "nw"), ("Project", "nw"), ("Id at OpenAI", "nw"), ("Key", "nw"), ("", "nw")]
    blocks.table(columns, shown, css="stack")
    frame = pd.DataFrame(
        [(_WHAT[what][2], *row) for what, row in rows], columns=["what", "project_id", "project", "key", "explanation"]
    )
    st.download_button("Download CSV", lambda: csv_of(frame), "not-watched.csv", "text/csv", on_click="ignore")


def _tables(found: Covering) -> None:
    """What to add to the configuration, ready to copy."""
    items = [item for item in found.coverage.unwatched_projects if not _may_be_ours(found, item)]
    if not items:
        return
    taken, tables = list(found.watched), []
    for item in items[:_MOST_TABLES]:
        tables.append(table_of(item, taken))
        taken.append(tables[-1].split('"')[1])
    more = f"the first {_MOST_TABLES} of {len(items):,}" if len(items) > _MOST_TABLES else f"{len(items):,}"
    with st.expander(f"Watch them: add to monitor.toml ({more})"):
        st.code("\n\n".join(tables), language="toml")


def _gaps(gaps: tuple[Gap, ...], now: datetime, zone: tzinfo) -> None:
    if not gaps:
        blocks.show('<span class="soft">Every part of the record could be read.</span>')
        return
    blocks.heading("Which answers are lacking", "what was known before is still shown, and is as old as this says")
    rows = [
        (escape(gap.part.replace("_", " ")), blocks.dash(gap.project), escape(gap.reason), _since(gap, now, zone)) for gap in gaps
    ]
    blocks.table([("Part", "nw"), ("Project", "nw"), ("Why", ""), ("Since", "nw")], rows[:50])
    if len(rows) > 50:
        blocks.show(f'<span class="soft">and {len(rows) - 50:,} more.</span>')


def _since(gap: Gap, now: datetime, zone: tzinfo) -> str:
    return escape(clock(gap.since, now, zone)) if gap.since is not None else "never read"
