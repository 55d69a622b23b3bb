"""What changed, there and here, newest first, and what of it broke something."""

import pandas as pd
import streamlit as st

from monitor.domain.changes import ChangeSource, Family, family_of
from monitor.domain.timeline import Window
from monitor.domain.what_changed import SOURCES
from monitor.store.queries import ChangeFilter
from monitor.ui import blocks, changes, data, filters
from monitor.ui.format import csv_of, plural, viewer_zone

MOST_EXPORTED = 20_000

blocks.guard(together=True)
zone = viewer_zone()
name = filters.window_name()
now = data.now()
place = st.container()
one, two, three, four, five = st.columns([3, 3, 2, 2, 2], vertical_alignment="bottom")
with one:
    text = filters.text("text", "Search", "a model, a person, a word")
with two:
    project = filters.choice("project", "Project", data.names(now), every="All projects", kept=True, free=True)
with three:
    family = filters.choice("family", "Kind", [each.value for each in Family], every="Any kind")
with four:
    source = filters.choice("source", "How it is known", [each.value for each in ChangeSource], every="Any way")
with five:
    actor = filters.choice("actor", "Who", data.change_actors(filters.window(now)), every="Anybody", free=True)
where = ChangeFilter(project, Family(family) if family else None, ChangeSource(source) if source else None, actor, text)


def draw() -> None:
    at = data.now()
    window = filters.window(at)
    count = data.change_count(window, where)
    with place:
        draw_verdict(count, window)
    if not count:
        if where == ChangeFilter():
            blocks.empty("No change is known in this window.", "Choose a longer window above to look further back.")
        else:
            blocks.empty("No change fits these filters.", "Clear the search box, or choose a longer window above.")
        return
    box = st.container()
    part = filters.rows(count)
    events = data.changes(window, where, part.start, part.stop - part.start)
    near = changes.span_of(events)
    with box:
        changes.feed(events, changes.broken_by(events, data.incidents_begun(near)) if near else {}, at, zone, name)
        if len(events) < count:
            last = part.start + len(events)
            blocks.show(f'<span class="soft">{part.start + 1:,} to {last:,} of {plural(count, "change")}, newest first.</span>')


def draw_verdict(count: int, window: Window) -> None:
    at = data.now()
    began = [each for each in data.incidents_begun(window) if project is None or project in each.projects]
    blocks.show(changes.verdict(count, began, name, name, at, zone, silent=data.silent(at)))
    gaps, read_at = data.changes_not_known()
    if note := changes.not_all(gaps, read_at, at, zone):
        blocks.show(note)


def export() -> str:
    """The changes of these filters as CSV."""
    found = data.changes(filters.window(data.now()), where, 0, MOST_EXPORTED)
    rows = [
        {
            "at": each.at,
            "not before": each.after,
            "kind": each.kind.value,
            "family": family_of(each.kind).value,
            "what": each.text,
            "project": each.project,
            "project id": each.project_id,
            "key": each.key,
            "model": each.model,
            "subject": each.subject,
            "who": each.actor,
            "how it is known": SOURCES[each.source],
        }
        for each in found
    ]
    return csv_of(pd.DataFrame(rows))


blocks.live(draw)
with st.container(horizontal=True, horizontal_alignment="right"):
    st.download_button("Download CSV", export, "changes.csv", "text/csv", on_click="ignore")
