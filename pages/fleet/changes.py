"""Everything that changed: at OpenAI, in this monitor's configuration, and by the calendar."""

from datetime import datetime
from itertools import groupby

import pandas as pd
import streamlit as st

from monitor.domain.changes import ChangeEvent, ChangeKind, ChangeSource
from monitor.domain.incidents import Incident
from monitor.domain.timeline import Window
from monitor.domain.what_changed import SOURCES, explained
from monitor.domain.words import capital
from monitor.store.queries import ChangeFilter
from monitor.ui import blocks, data, filters, incidents
from monitor.ui.format import csv_of, escape, local, plural, viewer_zone

SIZE = 50
MOST_EXPORTED = 20_000
LEAD = "A change is told once, however often it was seen; it is kept for ever."

blocks.guard()
blocks.renew()
now, zone = data.now(), viewer_zone()
window = filters.window(now)
# A change of the last minute counts too: windows of incidents and charts end with a whole minute.
window = Window(window.start, max(window.end, now))
place = st.container()
one, two, three, four = st.columns([2, 2, 2, 3], vertical_alignment="bottom")
with one:
    project = filters.project(now, every="All projects")
with two:
    families = sorted({kind.value.partition(".")[0] for kind in ChangeKind})
    family = filters.choice("family", "What", families, every="Everything")
with three:
    source = filters.choice("source", "Known from", [each.value for each in ChangeSource], every="Any source")
with four:
    text = filters.text("text", "Search", "a key, a model, a person …")
where = ChangeFilter(project, family, ChangeSource(source) if source else None, text)


def export() -> str:
    """The changes of these filters as CSV."""
    rows = [
        {
            "at": each.at,
            "not before": each.after,
            "kind": each.kind.value,
            "what": each.text,
            "project": each.project,
            "project id": each.project_id,
            "key": each.key,
            "model": each.model,
            "by": each.actor,
            "known from": each.source.value,
        }
        for each in data.change_feed(window, where, MOST_EXPORTED)
    ]
    return csv_of(pd.DataFrame(rows))


def line(each: ChangeEvent, led_to: list[Incident]) -> tuple[str, ...]:
    """One change as a row."""
    at = each.at.astimezone(zone)
    since = f"<small>after {each.after.astimezone(zone):%H:%M}</small>" if each.after and each.after < each.at else ""
    whose = blocks.project_link(each.project, filters.window_name()) if each.project else blocks.dash(each.project_id)
    broke = "".join(
        f'<small>{incidents.state(one)} <a href="{incidents.address(one, filters.window_name())}" target="_self">'
        f"{escape(one.title)}</a></small>"
        for one in led_to[:5]
    )
    return (
        f'<span class="soft">{at:%H:%M:%S}</span>{since}',
        f'<span class="tag">{escape(each.kind.value.partition(".")[0].replace("_", " "))}</span>',
        f'<span class="said">{escape(local(each.text, now, zone))}</span>{broke}',
        whose,
        escape(each.actor) if each.actor else '<span class="soft">not known</span>',
        f'<span class="soft">{escape(SOURCES[each.source])}</span>',
    )


def day_of(each: ChangeEvent) -> str:
    """The day of a change where the viewer is."""
    at: datetime = each.at.astimezone(zone)
    return f"{at:%A}, {at.day} {at:%B %Y}"


total = data.change_count(window, where)
broken = [each for each in data.incidents_since(window.start, project) if each.diagnosis.changed]
with place:
    css = "unknown" if not total else "degraded" if broken else "ok"
    first = f"{plural(total, 'change')} in the last {filters.window_name()}." if total else "Nothing that is known changed."
    then = (
        f"{capital(plural(len(broken), 'incident'))} came just after one that explains {'it' if len(broken) == 1 else 'them'}."
        if broken
        else LEAD
        if total
        else ""
    )
    blocks.show(f'<div class="verdict" role="status"><span class="{css}">{first}</span><span class="then">{then}</span></div>')
if not total:
    blocks.empty(
        "No change fits.",
        "Choose a longer window above, or fewer filters. Changes at OpenAI (keys, members, limits, models, money) are known with a "
        "read-only admin key: name it in <code>monitor.toml</code> under <code>[[organizations]]</code>.",
    )
    st.stop()

box = st.container()
part = filters.rows(total, SIZE)
shown = data.change_feed(window, where, SIZE, part.start)
causes = explained(data.incidents_since(window.start, project), shown)
columns = [("When", "nw"), ("", "nw"), ("What changed", ""), ("Project", "nw"), ("By", "nw"), ("Known from", "nw")]
with box:
    for day, those in groupby(shown, day_of):
        blocks.heading(day)
        blocks.table(columns, [line(each, causes.get(each.dedup, [])) for each in those])
with st.container(horizontal=True, horizontal_alignment="right"):
    st.download_button("Download CSV", export, "changes.csv", "text/csv", on_click="ignore")
