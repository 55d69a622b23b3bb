"""What ends, when, what breaks then, and who was told."""

import pandas as pd
import streamlit as st

from monitor.domain.deadlines import LANES, Deadline
from monitor.domain.ics import calendar_file
from monitor.domain.organization import NO_ADMIN_KEY
from monitor.domain.words import capital
from monitor.ui import blocks, data, deadlines, filters
from monitor.ui.format import csv_of, escape, plural, viewer_zone

blocks.guard()
blocks.renew()
now, zone = data.now(), viewer_zone()
calendar, told = data.deadlines(now), deadlines.by_digest(data.reminders())
every, channels, window = calendar.deadlines, data.channels(), filters.window_name()
place = st.container()
one, two, three, _ = st.columns([2, 2, 2, 3], vertical_alignment="bottom")
with one:
    owner = filters.choice("owner", "Owner", sorted({each.owner for each in every if each.owner}), every="All owners")
with two:
    project = filters.project(now, every="All projects")
with three:
    kind = filters.choice("kind", "Kind", sorted({each.kind.value for each in every}), every="All kinds")


def wanted(each: Deadline) -> bool:
    """Whether the filters let it through. What names no project is everybody's."""
    if (owner and each.owner != owner) or (kind and each.kind.value != kind):
        return False
    return not project or not each.projects or project in each.projects


chosen = [each for each in every if wanted(each)]
passed = [each for each in chosen if each.days_left(now) < 0]
ahead = [each for each in chosen if each.days_left(now) >= 0]
# The end of a quiet breaks nothing: it is named first only where nothing else is near.
coming = [each for each in ahead if each.kind in LANES] or ahead
without_key = any(NO_ADMIN_KEY in question for question in calendar.open_questions)
with place:
    then = f"After that: {escape(coming[1].title)} {deadlines.ahead(coming[1], now)}." if len(coming) > 1 else ""
    if passed:
        said, css = f"{plural(len(passed), 'deadline has', 'deadlines have')} passed.", "failing"
        named = "; ".join(f"{escape(each.title)}: {deadlines.ahead(each, now)}" for each in passed[-3:])
        then = f"{capital(named)}{' and others' if len(passed) > 3 else ''}."
        then += f" Next: {escape(coming[0].title)} {deadlines.ahead(coming[0], now)}." if coming else ""
    elif coming:
        near = coming[0].days_left(now)
        said = f"Next: {coming[0].title} {deadlines.ahead(coming[0], now)}."
        css = "ok" if near > 30 or coming[0].kind not in LANES else "failing" if near <= 1 else "degraded"
    elif without_key:
        said, css = "No deadline is known, and not all can be: there is no admin key.", "unknown"
    else:
        said, css = "No deadline is near.", "ok"
    rest = f'<span class="then">{then}</span>' if then else ""
    blocks.show(f'<div class="verdict"><span class="{css}">{escape(said)}</span>{rest}</div>')

if chosen:
    part = chosen[filters.rows(len(chosen))]
    for heading in deadlines.GROUPS:
        those = [each for each in part if deadlines.group(each, now) == heading]
        if those:
            many = sum(deadlines.group(each, now) == heading for each in chosen)
            blocks.heading(heading, plural(many, "deadline"))
            deadlines.table(those, told, channels, now, zone, window)
    with st.container(horizontal=True, horizontal_alignment="right"):
        st.download_button(
            "Download CSV",
            lambda: csv_of(pd.DataFrame(deadlines.csv_rows(chosen, told, now))),
            "deadlines.csv",
            "text/csv",
            on_click="ignore",
        )
        st.download_button("Calendar file", lambda: calendar_file(chosen, now), "deadlines.ics", "text/calendar", on_click="ignore")
    blocks.show(
        '<span class="soft">Owners are reminded 30, 14, 7 and 1 days ahead, and once when a day has passed, through the channels '
        "and routes of <code>monitor.toml</code>; what is due on one day for one owner is one message.</span>"
    )
elif every:
    blocks.empty("No deadline fits these filters.", "Choose all owners, projects and kinds.")
else:
    more = (
        "<br>Expiry of keys, admin keys and certificates, and spend limits, need an admin key: name one in "
        "<code>monitor.toml</code> under <code>[[organizations]]</code>. Model shutdowns and the ends of silences need none."
    )
    blocks.empty(
        "Nothing on the list.",
        "What has no expiry has no deadline, nor have models without an announced shutdown, and spend limits that this month’s "
        f"costs will not reach.{more if without_key else ''}",
    )
if calendar.open_questions:
    blocks.heading("What cannot be said", "and why")
    shown = calendar.open_questions[:12]
    items = "".join(f"<div>{escape(question)}</div>" for question in shown)
    left = len(calendar.open_questions) - len(shown)
    blocks.show(f'<div class="note">{items}{f"<div>and {left:,} more</div>" if left > 0 else ""}</div>')
