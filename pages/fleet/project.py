"""Everything about one project: what ails it, its keys, its history."""

import streamlit as st

from monitor.store.queries import EvidenceFilter, IncidentFilter
from monitor.ui import blocks, charts, data, filters, hygiene, incidents, levels, panels
from monitor.ui.format import link, viewer_zone

blocks.guard()
now, zone = data.now(), viewer_zone()
with st.container(key="project_choice", width=320):
    chosen = filters.project(now)
if chosen is None:
    blocks.empty(
        "No project is configured.",
        "Name your projects in <code>monitor.toml</code>; the poller reads it again by itself.",
    )
    st.stop()
name: str = chosen


def draw_state() -> None:
    at = data.now()
    window = filters.window(at)
    found = data.project(name, at)
    if found is None:
        blocks.empty("This project is no longer configured.", "Choose another one above.")
        return
    silent = data.silent(at)
    keys = {key.label: key for key in data.keys(at, name)}
    targets = data.targets(at, name)
    score = data.score(f"project:{name}", at)
    badge = hygiene.badge(score, link("hygiene", project=name)) if score is not None else ""
    blocks.project_head(found, at, zone, filters.window_name(), badge, silent=silent)
    panels.project_strip(name, window, zone)
    going_on = data.open_incidents(name)
    many, _ = data.incident_count(IncidentFilter(open_only=True, project=name))
    panels.diagnoses(found, targets, keys, at, zone, filters.window_name(), going_on, silent=silent)
    incidents.more(many - len(going_on), filters.window_name(), name)
    blocks.heading("Keys")
    panels.key_table(list(keys.values()), at, zone, filters.window_name(), silent=silent)
    blocks.heading("Checks", "each question that is asked of this project, worst first")
    panels.target_table(targets, at, zone, filters.window_name(), silent=silent)


def draw_level() -> None:
    at = data.now()
    if data.project(name, at):
        levels.service_level(data.service_level(name, at), name, at, zone, silent=data.silent(at))


def draw_history() -> None:
    window = filters.window(data.now())
    step = data.bars(window)
    blocks.heading("Failures by kind", f"last {filters.window_name()}")
    failures = data.failure_trend(window, name)
    if failures.empty:
        blocks.empty("No failure in this window.", "Choose a longer window above to look further back.")
    else:
        st.plotly_chart(charts.failure_trend(failures, window, step, zone), config=charts.CONFIG, key="failures")
    left, right = st.columns(2)
    with left:
        blocks.heading("Latency", "of every answer, as seen from here")
        times = data.latency_trend(window, name)
        if times.empty:
            blocks.empty("No answer was timed in this window.", "Choose a longer window above.")
        else:
            st.plotly_chart(charts.latency(times, window, data.points(window), zone), config=charts.CONFIG, key="latency")
    with right:
        blocks.heading("Limits remaining", "the least of each step, as OpenAI's headers said")
        limits = data.limits_history(window, name)
        if limits.empty:
            blocks.empty(
                "Nothing is known of its limits.", "They are told with answers to inference checks; name <code>models</code>."
            )
        else:
            st.plotly_chart(charts.remaining(limits, window, data.points(window), zone), config=charts.CONFIG, key="limits")
    left, right = st.columns([2, 3])
    with left:
        blocks.heading("What changed", f"last {filters.window_name()}")
        panels.changes(data.transitions(window, name), data.now(), zone)
    with right:
        address = link("evidence", project=name, window=filters.window_name())
        blocks.heading("Last answers")
        panels.answers(data.observations(window, EvidenceFilter(project=name), 20), zone)
        blocks.show(f'<a href="{address}" target="_self">All raw answers of this project</a>')


blocks.live(draw_state)
blocks.live(draw_level, quiet=True, every=blocks.SLOW)
blocks.live(draw_history, every=blocks.SLOW)
