"""Which projects are broken, and why."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pandas as pd
import streamlit as st

from monitor.domain.health import Health
from monitor.domain.taxonomy import LAMPS
from monitor.domain.timeline import EPOCH
from monitor.store.queries import ProjectStatus
from monitor.ui import blocks, data, deadlines, filters, incidents
from monitor.ui.format import csv_of, plural, viewer_zone, zone_name

ORDERS: dict[str, Callable[[ProjectStatus], Any]] = {
    "Worst first": lambda _: 0,
    "By name": lambda project: project.name,
    "By owner": lambda project: (project.owner is None, project.owner or "", project.name),
    "Newest change first": lambda project: -(project.since or EPOCH).timestamp(),
    "Oldest answer first": lambda project: project.last_at or EPOCH,
}

blocks.guard(together=True)
place = st.container()
fleet = data.fleet(data.now())
if fleet:
    with st.container(key="overview_filters"):
        one, two, three, four, five = st.columns([3, 2, 2, 2, 2], vertical_alignment="bottom")
        with one:
            search = filters.text("search", "Search", "name, owner, service, tag or model").lower()
        with two:
            owner = filters.choice("owner", "Owner", sorted({p.owner for p in fleet if p.owner}), every="All owners")
        with three:
            environment = filters.choice(
                "environment", "Environment", sorted({p.environment for p in fleet if p.environment}), every="All environments"
            )
        with four:
            order = filters.choice("order", "Order", list(ORDERS)[1:], every="Worst first") or "Worst first"
        with five:
            only_ill = filters.switch("broken", "Only what is not healthy")


def wanted(project: ProjectStatus) -> bool:
    """Whether the filters let it through."""
    if (owner and project.owner != owner) or (environment and project.environment != environment):
        return False
    if only_ill and project.health in (Health.HEALTHY, Health.PAUSED):
        return False
    if not search:
        return True
    texts = (project.name, project.owner, project.project_id, *project.services, *project.tags, *project.models)
    return any(search in text.lower() for text in texts if text)


def chosen(now: datetime) -> list[ProjectStatus]:
    """The projects of these filters, in this order."""
    return data.drawn(
        "chosen",
        now,
        (search, owner, environment, only_ill, order),
        lambda: sorted((project for project in data.fleet(now) if wanted(project)), key=ORDERS[order]),
    )


def draw_verdict() -> None:
    now, zone, beat, going = data.now(), viewer_zone(), data.heartbeat(), data.incidents_going()
    said = data.drawn("verdict", now, (zone_name(zone),), lambda: blocks.verdict(data.fleet(now), beat, now, zone, going))
    blocks.show(said)
    worst = data.open_incidents(most=incidents.FEW) if going.count else []
    incidents.open_ones(worst, going.count, now, zone, filters.window_name(), silent=data.silent(now))
    name, known = filters.window_name(), data.deadlines(now).deadlines
    if line := data.drawn("next deadline", now, (name, id(known)), lambda: deadlines.next_line(known, now, name)):
        blocks.show(line)


def draw_table() -> None:
    now, zone, silent = data.now(), viewer_zone(), data.silent(data.now())
    found = chosen(now)
    if not found:
        blocks.empty("No project fits these filters.", "Clear the search box, or choose all owners and environments.")
        return
    box = st.container()
    part = filters.rows(len(found))
    shown = found[part]
    name, window = filters.window_name(), filters.window(now)

    def table() -> str:
        cells = filters.cells(window)
        strips = blocks.strips(data.strips(window, [project.name for project in shown], cells), window, zone, cells)
        return blocks.fleet_table(shown, strips, name, now, zone, silent=silent)

    key = (search, owner, environment, only_ill, order, part.start, name, zone_name(zone), silent)
    with box:
        blocks.show(data.drawn("fleet table", now, key, table))
        if len(shown) < len(found):
            until = part.start + len(shown)
            blocks.show(f'<span class="soft">{part.start + 1:,} to {until:,} of {plural(len(found), "project")}.</span>')


def export() -> str:
    """The projects of these filters as CSV."""
    now = data.now()
    silent = data.silent(now)
    rows = [
        {
            "project": each.name,
            "health": Health.UNKNOWN if silent else each.health,
            "since": each.since,
            "what is wrong": blocks.what_is_wrong(each),
            **{lane.value: Health.UNKNOWN if silent else each.lamps[lane].health for lane in LAMPS},
            "owner": each.owner,
            "environment": each.environment,
            "project id": each.project_id,
            "services": " ".join(each.services),
            "models": " ".join(each.models),
            "last answer": each.last_at,
            "findings": " ".join(each.findings),
        }
        for each in chosen(now)
    ]
    return csv_of(pd.DataFrame(rows))


def draw() -> None:
    """One run for both: it costs more than what it draws."""
    with place:
        draw_verdict()
    if fleet:
        draw_table()


blocks.live(draw)
if fleet:
    with st.container(horizontal=True, horizontal_alignment="right"):
        st.download_button("Download CSV", export, "projects.csv", "text/csv", on_click="ignore")
else:
    blocks.empty(
        "There is nothing to watch yet.",
        "Copy <code>monitor.example.toml</code> to <code>monitor.toml</code> and name your projects and where their keys are kept; "
        "the poller reads it again by itself. "
        "<code>python -m monitor up --demo</code> shows a sample organization.",
    )
