"""Which projects are broken, and why."""

import streamlit as st

from monitor.domain.health import Health
from monitor.store.queries import ProjectStatus
from monitor.ui import blocks, data, filters, incidents
from monitor.ui.format import plural, viewer_zone

AT_FIRST = 100

blocks.guard()
place = st.container()
fleet = data.fleet(data.now())
if fleet:
    with st.container(key="overview_filters"):
        one, two, three, four = st.columns([3, 2, 2, 2], vertical_alignment="bottom")
        with one:
            search = filters.text("search", "Search", "name, owner, service, tag or model").lower()
        with two:
            owner = filters.choice("owner", "Owner", sorted({p.owner for p in fleet if p.owner}), every="All owners")
        with three:
            environment = filters.choice(
                "environment", "Environment", sorted({p.environment for p in fleet if p.environment}), every="All environments"
            )
        with four:
            only_ill = filters.switch("broken", "Only what is not healthy")
            everything = filters.asked("show", ("all",)) == "all"


def wanted(project: ProjectStatus) -> bool:
    """Whether the filters let it through."""
    if (owner and project.owner != owner) or (environment and project.environment != environment):
        return False
    if only_ill and project.health in (Health.HEALTHY, Health.PAUSED):
        return False
    texts = (project.name, project.owner, project.project_id, *project.services, *project.tags, *project.models)
    return not search or any(search in text.lower() for text in texts if text)


def draw_verdict() -> None:
    now = data.now()
    going = data.open_incidents()
    blocks.verdict(data.fleet(now), data.heartbeat(), now, viewer_zone(), going)
    incidents.open_ones(going, now, viewer_zone(), filters.window_name(), silent=data.silent(now))


def draw_table() -> None:
    now, zone = data.now(), viewer_zone()
    chosen = [project for project in data.fleet(now) if wanted(project)]
    ill = sum(project.health.rank > Health.UNKNOWN.rank for project in chosen)
    shown = chosen if everything else chosen[: ill + AT_FIRST]
    window = filters.window(now)
    strips = blocks.strips(data.strips(window, [project.name for project in shown]), window, zone)
    if not chosen:
        blocks.empty("No project fits these filters.", "Clear the search box, or choose all owners and environments.")
        return
    strips = {project.name: strips.get(project.name, blocks.NO_STRIP) for project in shown}
    blocks.show(blocks.fleet_table(shown, strips, filters.window_name(), now, zone, silent=data.silent(now)))
    if len(shown) < len(chosen):
        blocks.show(f'<span class="soft">{plural(len(chosen) - len(shown), "more project")}, none of them ill.</span>')


with place:
    blocks.live(draw_verdict)
if fleet:
    blocks.live(draw_table)
    if len(fleet) > AT_FIRST and not everything:
        st.button("Show all", on_click=filters.remember, args=("show", "all"))
else:
    blocks.empty(
        "There is nothing to watch yet.",
        "Copy <code>monitor.example.toml</code> to <code>monitor.toml</code> and name your projects and where their keys are kept. "
        "<code>python -m monitor up --demo</code> shows a sample organization.",
    )
