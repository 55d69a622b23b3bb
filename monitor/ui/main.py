"""The router: page set-up, the line about the data's age, the time window, then the page."""

from functools import partial
from pathlib import Path

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from monitor.store.engine import StoreError
from monitor.ui import blocks, data, filters
from monitor.ui.format import viewer_zone
from monitor.ui.theme import STYLE

# A file: a named symbol would be fetched from Google by the viewer's browser.
ICON = str(Path(__file__).with_name("icon.svg"))
PAGES = Path(__file__).resolve().parents[2] / "pages"


def menu() -> dict[str, list[object]]:
    """Every page by section."""
    page = st.Page
    return {
        "Fleet": [
            page(PAGES / "fleet/overview.py", title="Overview", icon=":material/monitor_heart:", default=True),
            page(PAGES / "fleet/project.py", title="Project", icon=":material/deployed_code:", url_path="project"),
            page(PAGES / "fleet/incidents.py", title="Incidents", icon=":material/crisis_alert:", url_path="incidents"),
            page(PAGES / "fleet/changes.py", title="Changes", icon=":material/history:", url_path="changes"),
        ],
        "Access": [
            page(PAGES / "access/keys.py", title="Keys", icon=":material/key:", url_path="keys"),
            page(PAGES / "access/models.py", title="Models", icon=":material/grid_on:", url_path="models"),
            page(PAGES / "access/hygiene.py", title="Hygiene", icon=":material/health_and_safety:", url_path="hygiene"),
            page(PAGES / "access/deadlines.py", title="Deadlines", icon=":material/event_upcoming:", url_path="deadlines"),
        ],
        "Limits": [
            page(PAGES / "limits/rate_limits.py", title="Rate limits", icon=":material/speed:", url_path="rate_limits"),
        ],
        "System": [
            page(PAGES / "system/evidence.py", title="Evidence", icon=":material/receipt_long:", url_path="evidence"),
            page(PAGES / "system/monitor.py", title="Monitor", icon=":material/settings_heart:", url_path="monitor"),
        ],
    }


def _pulse(age: DeltaGenerator, alarm: DeltaGenerator) -> None:
    """How old the data are, and what makes them untrue. Two places, but one run: a run costs more than what it draws."""
    beat, now, zone = data.heartbeat(), data.now(), viewer_zone()
    with age:
        blocks.data_age(beat, data.effective_config(), now, zone)
    with alarm:
        blocks.alarm(beat, now, zone)


def main() -> None:
    """Draw what all pages share, then the page that was asked for."""
    st.set_page_config(page_title="Key monitor", page_icon=ICON, layout="wide")
    page = st.navigation(menu())  # type: ignore[arg-type]
    st.html(STYLE)
    left, right = st.columns([3, 2], vertical_alignment="top")
    with right.container(horizontal=True, horizontal_alignment="right"):
        filters.window_choice()
    try:
        with blocks.routed(partial(_pulse, left, st.container())):
            page.run()
    except StoreError as error:
        blocks.no_database(error)
        blocks.try_again(data.heartbeat)


main()
