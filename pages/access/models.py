"""Which project may use which model."""

from typing import Any

import pandas as pd
import streamlit as st

from monitor.domain.health import Health
from monitor.domain.taxonomy import FailureKind
from monitor.ui import blocks, data, filters
from monitor.ui.blocks import lamp
from monitor.ui.format import age, csv_of, escape, link, plural, title, viewer_zone

blocks.guard()
blocks.renew()
now, zone = data.now(), viewer_zone()
frame, silent = data.model_matrix(now), data.silent(now)
if frame.empty:
    blocks.show('<div class="verdict"><span class="unknown">No model is watched.</span></div>')
    blocks.empty(
        "No project names a model it needs.",
        'Add <code>models = ["gpt-4o"]</code> to a project in <code>monitor.toml</code>, '
        "and <code>denied_models</code> for those it must not be able to use.",
    )
    st.stop()
place = st.container()
one, two, three = st.columns([2, 2, 4], vertical_alignment="bottom")
with one:
    project = filters.project(now, every="All projects")
with two:
    model = filters.choice("model", "Model", sorted(set(frame["model"])), every="All models")
with three:
    only_ill = filters.switch("broken", "Only what is not as it should be")
if project:
    frame = frame[frame["project"] == project]
if model:
    frame = frame[frame["model"] == model]
rows: list[dict[Any, Any]] = frame.to_dict("records")


def ill(row: dict[Any, Any]) -> bool:
    """Whether the project lacks a model, or can use one it must not."""
    return any(row[asked] in (Health.FAILING, Health.DEGRADED) for asked in ("listed", "usable"))


def cell(row: dict[Any, Any] | None) -> str:
    """What is known of one model in one project."""
    if row is None:
        return '<span class="soft">·</span>'
    if silent:
        return lamp(Health.UNKNOWN)
    listed, usable = row["listed"], row["usable"]
    if row["need"] == "denied":
        if usable == Health.DEGRADED:
            return lamp(Health.DEGRADED, "usable, but denied")
        return lamp(usable, "refused, as it must be" if usable == Health.HEALTHY else None)
    why = title(row["failure"]) or None
    proof = link("evidence", project=row["project"], model=row["model"], verdict="failed", window=filters.window_name())
    proof = proof if row["failure"] else ""
    if usable is None:
        return lamp(listed, {"healthy": "listed", "failing": why}.get(listed or ""), "the call itself is not probed", href=proof)
    if usable == Health.HEALTHY:
        return lamp(usable, "usable" if listed in (None, Health.HEALTHY) else "usable, not listed")
    return lamp(usable, why, f"listed: {listed or 'not asked'}", href=proof)


lacking = [row for row in rows if ill(row) and row["need"] == "required"]
loose = [row for row in rows if row["need"] == "denied" and row["usable"] == Health.DEGRADED]
with place:
    if silent:
        said, css = "Nothing is known of the models while the poller is silent.", "unknown"
    elif lacking:
        said, css = f"{len(lacking):,} of {plural(len(rows), 'model')} asked for cannot be used as needed.", "failing"
    elif loose:
        said, css = f"Every needed model is there, but {plural(len(loose), 'denied model')} can be used.", "degraded"
    elif any(Health.UNKNOWN in (row["listed"], row["usable"]) for row in rows):
        said, css = "No model is missing, but not all have a fresh answer.", "unknown"
    else:
        said, css = "Every project can use the models it needs, and only those.", "ok"
    blocks.show(f'<div class="verdict"><span class="{css}">{said}</span></div>')

shown = [row for row in rows if ill(row)] if only_ill else rows
if not shown:
    blocks.empty("Nothing to show with these filters.", "Every model is as it should be, or no project and model fit.")
    st.stop()
held = {(row["project"], row["model"]): row for row in sorted(shown, key=lambda row: not ill(row), reverse=True)}
worst = {row["project"] for row in shown if ill(row)}
order = sorted({row["project"] for row in shown}, key=lambda name: (name not in worst, name))
window = filters.window_name()
box = st.container()
page = order[filters.rows(len(order))]
models = sorted({row["model"] for row in shown if row["project"] in set(page)})
lines = []
for name in page:
    cells = [cell(held.get((name, each))) for each in models]
    lines.append((blocks.project_link(name, window), *cells))
with box:
    blocks.table([("Project", "nw"), *((each, "") for each in models)], lines, css="mx")
left, right = st.columns([3, 1], vertical_alignment="center")
with right, st.container(horizontal=True, horizontal_alignment="right"):
    st.download_button("Download CSV", lambda: csv_of(pd.DataFrame(shown)), "models.csv", "text/csv", on_click="ignore")
left.html(
    '<span class="soft">“Usable” is proved by a small paid call, “listed” only by the free list of models: a model can be '
    "listed and still be refused. A dot: not asked for by this project.</span>"
)

failures = [row for row in shown if row["project"] in set(page) and (row["failure"] or row["message"] or ill(row))]
if failures:
    blocks.heading("What OpenAI said", "the worst answer of each")
    blocks.table(
        [("Project", "nw"), ("Model", "nw"), ("State", "nw"), ("In OpenAI’s words", ""), ("Asked", "r nw"), ("", "r nw")],
        [
            (
                escape(row["project"]),
                f'<span class="mono">{escape(row["model"])}</span>',
                cell(row),
                blocks.dash(None if row["failure"] == FailureKind.CLIENT_CONFIGURATION else row["message"]),
                escape(age(row["at"].to_pydatetime(), now) if row["at"] == row["at"] else "never"),
                blocks.raw_answers(window, project=row["project"], model=row["model"]),
            )
            for row in failures
        ],
    )
