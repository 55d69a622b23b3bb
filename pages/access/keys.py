"""Every key: whose it is, where it comes from, whether OpenAI takes it."""

import pandas as pd
import streamlit as st

from monitor.domain.health import Health
from monitor.store.queries import KeyStatus
from monitor.ui import blocks, data, filters
from monitor.ui.format import plural, safe_cell, title, viewer_zone, visible, zone_name
from monitor.ui.panels import KINDS_OF_KEYS, WHY_FLAGGED
from monitor.ui.theme import look

blocks.guard()
blocks.renew()
now, zone = data.now(), viewer_zone()
keys, silent = data.keys(now), data.silent(now)
if not keys:
    blocks.show('<div class="verdict"><span class="unknown">No key is configured.</span></div>')
    blocks.empty(
        "A project needs at least one key.",
        "Name it in <code>monitor.toml</code> under <code>[[projects.keys]]</code>, with where its secret is kept.",
    )
    st.stop()
place = st.container()
one, two, three, four = st.columns([2, 2, 2, 3], vertical_alignment="bottom")
with one:
    project = filters.project(now, every="All projects")
with two:
    kind = filters.choice("kind", "Kind", sorted({key.kind.value for key in keys}), every="All kinds")
with three:
    state = filters.choice("health", "Health", [health.value for health in reversed(Health)], every="Any health")
with four:
    flagged = filters.switch("flagged", "Only keys that are a risk or a problem")


def wanted(key: KeyStatus) -> bool:
    """Whether the filters let it through."""
    if (project and key.project != project) or (kind and key.kind.value != kind) or (state and key.health.value != state):
        return False
    return not flagged or bool(key.problem or key.failure or key.kind in WHY_FLAGGED)


chosen = [key for key in keys if wanted(key)]
refused = sum(key.health is Health.FAILING for key in keys)
risky = sum(key.kind in WHY_FLAGGED for key in keys)
with place:
    if silent:
        first, css = "Nothing is known of the keys while the poller is silent.", "unknown"
    elif refused:
        first, css = f"{refused:,} of {plural(len(keys), 'key')} {'does' if refused == 1 else 'do'} not work.", "failing"
    elif any(key.health is Health.UNKNOWN for key in keys):
        first, css = "No key is refused, but not all have a fresh answer.", "unknown"
    else:
        first, css = f"OpenAI accepts {'the key' if len(keys) == 1 else f'all {len(keys):,} keys'}.", "ok"
    note = f'<span class="then">{plural(risky, "key")} not bound to a project or not meant for a service.</span>' if risky else ""
    blocks.show(f'<div class="verdict"><span class="{css}">{first}</span>{note}</div>')
if not chosen:
    blocks.empty("No key fits these filters.", "Choose all projects, all kinds and any health.")
    st.stop()

health = [Health.UNKNOWN if silent else key.health for key in chosen]
table = pd.DataFrame(
    {
        "Project": [key.project for key in chosen],
        "Key": [safe_cell(key.label) for key in chosen],
        "Health": [f"{look(each).shape} {look(each).word}" for each in health],
        "What is wrong": [safe_cell(key.problem or title(key.failure)) for key in chosen],
        "Since": [key.since if key.failure else None for key in chosen],
        "Kind": [("⚑ " if key.kind in WHY_FLAGGED else "") + KINDS_OF_KEYS[key.kind] for key in chosen],
        "Ends in": [visible((key.fingerprint or "").partition("…")[2]) for key in chosen],
        "Source": [safe_cell(key.source) for key in chosen],
        "Last good": [key.last_ok_at for key in chosen],
        "First seen": [key.first_seen for key in chosen],
    }
)
st.dataframe(
    table,
    hide_index=True,
    placeholder="",
    height="content" if len(table) <= 25 else 830,
    column_config={
        "Ends in": st.column_config.TextColumn(width="small"),
        "Since": st.column_config.DatetimeColumn(format="D MMM HH:mm", width=100, timezone=zone_name(zone)),
        "Last good": st.column_config.DatetimeColumn(format="D MMM HH:mm:ss", timezone=zone_name(zone)),
        "First seen": st.column_config.DatetimeColumn(format="D MMM YYYY HH:mm", timezone=zone_name(zone)),
    },
)
found = [(each, why) for each, why in WHY_FLAGGED.items() if any(key.kind is each for key in chosen)]
if found:
    blocks.heading("Flagged", "⚑ works, but is a risk")
    for each, why in found:
        where = ", ".join(f"{key.project}/{key.label}" for key in chosen if key.kind is each)
        blocks.finding(KINDS_OF_KEYS[each], where, why)
ill = [key for key in chosen if key.auth and (key.failure or key.auth.suspect)]
if ill:
    blocks.heading("What is wrong", "and what to do")
    fleet = {each.name: each for each in data.fleet(now)}
    said = [(key.auth, blocks.diagnosis_of(key.auth, fleet.get(key.project), key, now)) for key in ill[:20] if key.auth]
    window = filters.window_name()
    blocks.show("".join(blocks.diagnosis_card(auth, words, now, zone, window, named=True) for auth, words in said if words))
