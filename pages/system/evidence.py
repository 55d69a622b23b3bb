"""Every raw answer, filtered, inspected and exported."""

from datetime import datetime, timedelta

import pandas as pd
import streamlit as st

from monitor.domain.inventory import ProbeKind
from monitor.domain.observation import Verdict
from monitor.domain.taxonomy import FailureKind, Lane
from monitor.domain.timeline import Window, from_ms, to_ms
from monitor.store.queries import EvidenceFilter
from monitor.ui import blocks, data, filters, panels
from monitor.ui.format import csv_of, link, plural, safe_cell, title, viewer_zone, words, zone_name
from monitor.ui.theme import look

MOST = 500
MOST_EXPORTED = 20_000

blocks.guard()
now, zone = data.now(), viewer_zone()
blocks.show(
    '<div class="verdict">Evidence<span class="then">Every answer as it came, newest first. '
    "Click one to see all of it.</span></div>"
)
one, two, three, four, five = st.columns(5)
with one:
    project = filters.project(now, every="All projects")
keys, models = data.asked_of(project)
with two:
    key = filters.choice("key", "Key", keys, every="All keys", free=True)
with three:
    model = filters.choice("model", "Model", models, every="All models", free=True)
with four:
    probe = filters.choice("probe", "Check", [each.value for each in ProbeKind], every="All checks")
with five:
    verdict = filters.choice("verdict", "Verdict", [each.value for each in Verdict], every="Any verdict")
one, two, three, four, five = st.columns(5, vertical_alignment="bottom")
with one:
    lane = filters.choice("lane", "Family of failure", [each.value for each in Lane], every="Any family")
with two:
    failure = filters.choice("failure", "Failure", [each.value for each in FailureKind], every="Any failure")
with three:
    status = filters.number("status", "HTTP status", least=100, most=599)
with four:
    request_id = filters.text("request_id", "Request id", "req_…") or None
where = EvidenceFilter(
    project=project,
    key=key,
    model=model,
    probe=ProbeKind(probe) if probe else None,
    verdict=Verdict(verdict) if verdict else None,
    lane=Lane(lane) if lane else None,
    failure=FailureKind(failure) if failure else None,
    status=status,
    request_id=request_id,
)
# The rows stand still while they are read: without this a click would select another row, because new ones came on top.
asked_for = (where, filters.window_name())
with five:
    again = st.button("Look again", help="Take in what came since the page was opened")
if again or st.session_state.get("evidence.asked") != asked_for:
    st.session_state["evidence.asked"] = asked_for
    st.session_state["evidence.until"] = now - timedelta(seconds=1)
until: datetime = st.session_state["evidence.until"]
window = Window(until - filters.WINDOWS[filters.window_name()], until)
frame = data.observations(window, where, MOST)


def export() -> str:
    """All rows of the filter as CSV."""
    return csv_of(data.observations(window, where, MOST_EXPORTED))


def inspected() -> tuple[int, datetime] | None:
    """The answer that the address names."""
    target, at = st.query_params.get("target", ""), st.query_params.get("at", "")
    plain = target.isascii() and target.isdigit() and at.isascii() and at.isdigit()
    return (int(target), from_ms(int(at))) if plain and len(target) <= 15 and len(at) <= 14 else None


named = inspected()
if frame.empty:
    blocks.empty(
        "No answer fits.",
        "Choose a longer window above or fewer filters. Good answers are kept for ten days "
        "unless <code>monitor.toml</code> says otherwise.",
    )
else:
    shown = pd.DataFrame(
        {
            "When": frame["at"],
            "Project": frame["project"].map(safe_cell, na_action="ignore"),
            "Check": frame["probe"].map(words),
            "Key": frame["key"].map(safe_cell, na_action="ignore"),
            "Model": frame["model"].map(safe_cell, na_action="ignore"),
            "Verdict": [f"{look(panels.VERDICTS[each]).shape} {panels.VERDICT_WORDS[each]}" for each in frame["verdict"]],
            "Failure": [title(each) for each in frame["failure"]],
            "HTTP": frame["status"],
            "Code": frame["code"].map(safe_cell, na_action="ignore"),
            "In OpenAI’s words": frame["message"].map(safe_cell, na_action="ignore"),
            "ms": frame["latency_ms"].round(),
            "Request id": frame["request_id"].map(safe_cell, na_action="ignore"),
        }
    )
    event = st.dataframe(
        shown,
        hide_index=True,
        height="content" if len(shown) <= 14 else 526,
        on_select="rerun",
        selection_mode="single-row",
        key=f"evidence.rows.{to_ms(until)}",
        placeholder="",
        column_config={
            "When": st.column_config.DatetimeColumn(format="D MMM HH:mm:ss", timezone=zone_name(zone), width=120),
            "Project": st.column_config.TextColumn(width=110),
            "Model": st.column_config.TextColumn(width=120),
            "Verdict": st.column_config.TextColumn(width=80),
            "Failure": st.column_config.TextColumn(width=140),
            "Code": st.column_config.TextColumn(width=130),
            "In OpenAI’s words": st.column_config.TextColumn(width=220),
            "HTTP": st.column_config.NumberColumn(width=55),
            "ms": st.column_config.NumberColumn(width=60, format="localized"),
        },
    )
    left, right = st.columns([3, 1], vertical_alignment="center")
    with left:
        more = f", the newest {MOST:,} of the window" if len(frame) == MOST else ""
        blocks.show(f'<span class="soft">{plural(len(frame), "answer")}{more}.</span>')
    with right, st.container(horizontal=True, horizontal_alignment="right"):
        st.download_button("Download CSV", export, f"evidence-{until:%Y%m%d-%H%M%S}.csv", "text/csv", on_click="ignore")
    rows = event.selection.rows
    if rows and rows[0] < len(frame):
        row = frame.iloc[rows[0]]
        named = (int(row["target_id"]), row["at"].to_pydatetime())

if named is None:
    st.stop()
found = data.observation(*named)
if found is None:
    blocks.empty(
        "This answer is not there, or no longer.", "Good answers are kept for a shorter time than failures: see the monitor page."
    )
else:
    blocks.heading("The answer", "everything that was kept of it")
    panels.inspector(found, data.project(found["project"], now) if found["project"] else None, now, zone)
    address = link("evidence", target=str(named[0]), at=str(to_ms(named[1])))
    blocks.show(f'<a href="{address}" target="_self">Address of this answer</a>')
