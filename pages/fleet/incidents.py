"""What went wrong and what was done about it: every incident, or the one that the address names."""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from monitor.domain.alerting import label
from monitor.domain.incidents import Incident, IncidentRecord
from monitor.domain.postmortem import as_json, markdown
from monitor.domain.taxonomy import Lane, Scope
from monitor.store.engine import StoreError
from monitor.store.intents import Kind
from monitor.store.queries import IncidentFilter
from monitor.ui import blocks, changes, data, filters, incidents, panels
from monitor.ui.format import csv_of, escape, plural, viewer_zone

SILENCES = {
    "1 hour": timedelta(hours=1),
    "4 hours": timedelta(hours=4),
    "12 hours": timedelta(hours=12),
    "1 day": timedelta(days=1),
    "3 days": timedelta(days=3),
    "1 week": timedelta(weeks=1),
}
EXPORTS = (("Markdown", markdown, "md", "text/markdown"), ("JSON", as_json, "json", "application/json"))
TROUBLE = "incidents.trouble"
MOST_EXPORTED = 20_000

blocks.guard(together=True)
zone = viewer_zone()
chosen = filters.window_name()


def ask(kind: Kind, **facts: Any) -> None:
    """Leave a wish for the service, in the name that was given."""
    by = filters.person()
    if not by:
        st.session_state[TROUBLE] = "Say who you are first: it is written into the timeline."
        return
    try:
        data.ask(kind, by, data.now(), **facts)
    except StoreError as error:
        st.session_state[TROUBLE] = f"That could not be stored: {error}."


def trouble() -> None:
    """What went wrong with the last wish, once."""
    said = st.session_state.pop(TROUBLE, None)
    if said:
        blocks.show(f'<div class="note loud" role="alert">{escape(said)}</div>')


# --- one incident ----------------------------------------------------------------------------------------------------------


def one(number: int) -> None:
    """Where it stands, what to do, what happened, what it rests on."""
    found = data.incident(number)
    if found is None:
        blocks.empty(f"There is no incident INC-{number}.", 'See <a href="incidents" target="_self">all incidents</a>.')
        return

    def draw_head() -> None:
        at, record = data.now(), data.incident(number) or found
        silent = data.silent(at)
        if _stands(record.incident) != _stands(found.incident):
            st.rerun()
        incidents.head(record.incident, at, zone, chosen, silent=silent)
        for silence in data.silences_now(at):
            if silence.incident_id == number or (silence.project and (silence.project,) == record.incident.projects):
                blocks.show(f'<div class="note">{incidents.silence_line(silence, at, zone)}</div>')

    def draw_rest() -> None:
        at, record = data.now(), data.incident(number) or found
        asked = [each for each in data.waiting() if each.incident_id == number]
        if hurried and not asked:
            st.rerun()
        incidents.waiting(asked, silent=data.silent(at))
        hit = record.incident.projects
        targets = data.targets(at, hit[0]) if len(hit) == 1 else []
        incidents.card(record.incident, targets, at, zone, chosen, silent=data.silent(at))
        changes.around(record, at, zone, chosen)
        incidents.times(record.incident, at, zone)
        left, right = st.columns([3, 2])
        with left:
            blocks.heading("Timeline", "newest first")
            incidents.timeline(record.events, at, zone)
        with right:
            blocks.heading("Who is hit" if record.incident.open else "Who was hit")
            incidents.who(record.incident, chosen)
        blocks.heading("Messages", "who was told, and why or why not")
        incidents.deliveries(data.deliveries(number), at, zone)

    hurried = any(each.incident_id == number for each in data.waiting())
    blocks.live(draw_head)
    actions(found.incident, number)
    trouble()
    blocks.live(draw_rest, every=blocks.SOON if hurried else blocks.REFRESH)

    now = data.now()
    blocks.heading("Evidence", "frozen when it opened, kept for ever; secrets taken out")
    incidents.evidence(found.evidence, now, zone)
    left, right = st.columns(2)
    with left:
        blocks.heading("Limits then")
        incidents.limits(found.evidence, now, zone)
    with right:
        blocks.heading("Configuration then")
        config = found.evidence.get("config")
        if isinstance(config, dict) and config:
            panels.settings(config)
        else:
            blocks.show('<span class="soft">None was stored.</span>')
    alike = data.similar(found.incident)
    blocks.heading("Similar ones before", "the same failure first")
    if alike:
        incidents.table(alike, now, zone, chosen)
    else:
        blocks.empty("There was none like it.", "It is the first of its kind here.")


def _stands(incident: Incident) -> tuple[bool, bool]:
    """What decides which actions there are."""
    return incident.open, incident.acknowledged_at is not None


def actions(incident: Incident, number: int) -> None:
    """What a person can do about it."""
    with st.container(horizontal=True, vertical_alignment="bottom", key="incident_actions"):
        filters.person_choice()
        if incident.open and incident.acknowledged_at is None:
            st.button(
                "Acknowledge",
                type="primary",
                help="I take it: reminders stop, the message that it is over still comes",
                on_click=ask,
                args=("acknowledge",),
                kwargs={"incident_id": number},
            )
        with st.popover("Comment"), st.form("comment", clear_on_submit=True, border=False):
            st.text_area("What should others know?", key="incident.comment", max_chars=2000)
            st.form_submit_button("Add to the timeline", on_click=comment, args=(number,))
        if incident.open:
            with st.popover("Silence"), st.form("silence", clear_on_submit=True, border=False):
                only = [f"Only {label(incident)}", *(f"Everything of {name}" for name in incident.projects[:1])]
                st.radio("What", only if len(incident.projects) == 1 else only[:1], key="incident.silence.what")
                st.selectbox("For", list(SILENCES), key="incident.silence.length")
                st.text_input("Why", key="incident.silence.why", max_chars=500)
                st.form_submit_button("Silence", on_click=silence, args=(incident, number))
            if len(incident.projects) == 1:
                st.button(
                    "Check now",
                    help="Every check of the project, without waiting for its time",
                    on_click=ask,
                    args=("probe_now",),
                    kwargs={"incident_id": number, "project": incident.projects[0]},
                )
        for name, make, kind, mime in EXPORTS:
            st.download_button(name, partial(export, make, number), f"{label(incident)}.{kind}", mime, on_click="ignore")


def export(make: Callable[[IncidentRecord], str], number: int) -> str:
    """The incident as it is now."""
    record = data.incident(number)
    return make(record) if record else ""


def comment(number: int) -> None:
    """Take what was written."""
    said = str(st.session_state.get("incident.comment") or "").strip()
    if said:
        ask("comment", incident_id=number, text=said)


def silence(incident: Incident, number: int) -> None:
    """Take the silence that was chosen."""
    length = SILENCES[st.session_state["incident.silence.length"]]
    why = str(st.session_state.get("incident.silence.why") or "").strip()
    project = None if str(st.session_state["incident.silence.what"]).startswith("Only ") else incident.projects[0]
    ask("silence", incident_id=None if project else number, project=project, text=why, until=data.now() + length)


# --- all of them -----------------------------------------------------------------------------------------------------------


def every() -> None:
    """Open ones first."""
    place = st.container()
    now = data.now()
    columns = st.columns(5, vertical_alignment="bottom")
    with columns[0]:
        project = filters.choice("project", "Project", data.names(now), every="All projects", kept=True, free=True)
    owners = sorted({each.owner for each in data.fleet(now) if each.owner})
    with columns[1]:
        owner = filters.choice("owner", "Owner", owners, every="All owners", free=True)
    with columns[2]:
        lane = filters.choice("lane", "Family of failure", [each.value for each in Lane], every="Any family")
    with columns[3]:
        scope = filters.choice("scope", "Scope", [each.value for each in Scope], every="Any scope")
    with columns[4]:
        only_open = filters.switch("open", "Only open ones")

    def where(at: datetime) -> IncidentFilter:
        return IncidentFilter(filters.window(at).start, only_open, project, owner, lane, scope)

    def draw_verdict() -> None:
        incidents.verdict(data.incidents_going(), silent=data.silent(data.now()))

    def draw() -> None:
        at = data.now()
        many = data.incident_count(where(at))
        incidents.waiting(data.waiting(), silent=data.silent(at))
        if not many[0]:
            blocks.empty(
                "No incident in this window.",
                "Choose a longer window above or fewer filters. An incident opens by itself as soon as a failure is confirmed.",
            )
            return
        incidents.figures(data.incidents(where(at)), many, chosen)
        box = st.container()
        part = filters.rows(many[0])
        shown = data.incidents(where(at), part.start, part.stop - part.start)
        with box:
            incidents.table(shown, at, zone, chosen, silent=data.silent(at))
            if len(shown) < many[0]:
                told = f"{part.start + 1:,} to {part.start + len(shown):,} of {plural(many[0], 'incident')}"
                blocks.show(f'<span class="soft">{told}, open ones first.</span>')

    with place:
        blocks.live(draw_verdict)
    blocks.live(draw)
    if data.incident_count(where(now))[0]:
        with st.container(horizontal=True, horizontal_alignment="right"):
            st.download_button(
                "Download CSV",
                lambda: csv_of(pd.DataFrame(incidents.as_rows(data.incidents(where(data.now()), 0, MOST_EXPORTED)))),
                "incidents.csv",
                "text/csv",
                on_click="ignore",
            )
    silences(now)


def silences(now: datetime) -> None:
    """What is kept quiet, each with its end."""
    held = data.silences_now(now)
    if not held:
        return
    blocks.heading("Silences", "in force now; each ends by itself")
    filters.person_choice()
    trouble()
    for each in held[:50]:
        with st.container(horizontal=True, vertical_alignment="center"):
            blocks.show(f"<div>{incidents.silence_line(each, now, zone)}</div>")
            st.button("End now", key=f"silence.{each.id}", on_click=ask, args=("end_silence",), kwargs={"silence_id": each.id})


asked = filters.asked("incident")
if asked is not None and not (asked.isascii() and asked.isdigit() and len(asked) <= 15):
    filters.asked("incident", ())
    asked = None
if asked is None:
    every()
else:
    one(int(asked))
