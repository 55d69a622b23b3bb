"""Which project may use which model: what is needed, allowed, listed and true, and where these disagree."""

from collections import Counter

import pandas as pd
import streamlit as st

from monitor.domain.access_findings import SOON, AccessFindingKind, days
from monitor.domain.access_standing import Cell, Standing
from monitor.domain.model_access import Access, Need, Truth, exposures
from monitor.ui import access, blocks, data, filters
from monitor.ui.format import csv_of, escape, plural

blocks.guard()
blocks.renew()
now, silent = data.now(), data.silent(data.now())
today = now.date()
place = st.container()
one, two, three, four = st.columns([2, 2, 2, 3], vertical_alignment="bottom")
with one:
    project = filters.project(now, every="All projects")
overview = data.access_overview(now, project)
every = overview.standings
if not every:
    with place:
        whose = " of this project" if project else ""
        blocks.show(f'<div class="verdict"><span class="unknown">No model{whose} is watched.</span></div>')
    blocks.empty(
        "No project names a model it needs." if not project else "The project names no model it needs.",
        'Add <code>models = ["gpt-4o"]</code> to a project in <code>monitor.toml</code>, '
        "and <code>denied_models</code> for those it must not be able to use.",
    )
    st.stop()
with two:
    model = filters.choice("model", "Model", sorted({cell.model for each in every for cell in each.cells}), every="All models")
with three:
    owner = filters.choice("owner", "Owner", sorted({each.owner for each in every if each.owner}), every="All owners")
with four:
    only = filters.switch("broken", "Only what is wrong")


def wanted(each: Access | Standing) -> bool:
    """Whether the filter of owners lets it through."""
    return not owner or each.owner == owner


def of_model(cells: tuple[Cell, ...]) -> tuple[Cell, ...]:
    """Those of the model that was chosen."""
    return cells if not model else tuple(cell for cell in cells if cell.model == model)


chosen = {each.project: cells for each in every if wanted(each) and (cells := of_model(each.cells))}
counts = Counter(chosen.values())  # projects that are alike are counted together
going = exposures((each for each in overview.leaving if wanted(each) and model in (None, each.model)), today)
lacking = access.count(counts, lambda cell: cell.need is Need.REQUIRED and cell.ill)
loose = access.count(counts, lambda cell: cell.need is Need.DENIED and cell.truth is Truth.USABLE)
asked = access.count(counts, lambda cell: cell.need is not Need.NONE)
unclear = access.count(counts, lambda cell: cell.need is not Need.NONE and cell.truth is Truth.UNKNOWN)
with place:
    then = []
    if silent:
        said, css = "Nothing is known of the models while the poller is silent.", "unknown"
    elif lacking:
        said, css = f"{lacking:,} of {plural(asked, 'model')} asked for cannot be used as needed.", "failing"
    elif loose:
        said, css = f"Every needed model is there, but {plural(loose, 'denied model')} can be used.", "degraded"
    elif unclear:
        said, css = "No model is missing, but not all have a fresh answer.", "unknown"
    elif unlike := access.count(counts, lambda cell: cell.unlike):
        many = "something disagrees" if unlike == 1 else f"{unlike:,} things disagree"
        said, css = f"Every needed model can be used, but {many}.", "degraded"
    else:
        said, css = "Every project can use the models it needs, and only those.", "ok"
    if going and going[0].days_left <= SOON:
        first = going[0]
        when = f"in {days(first.days_left)}" if first.days_left > 0 else "today" if not first.days_left else f"since {first.day}"
        who = "1 project needs or uses" if len(first.who) == 1 else f"{len(first.who):,} projects need or use"
        then.append(f"<b>{escape(first.model)}</b> is shut down {when}; {who} it.")
    if note := access.unknown_policy(chosen, counts):
        then.append(f'<span class="soft">{escape(note)}</span>')
    rest = f'<span class="then">{" ".join(then)}</span>' if then else ""
    blocks.show(f'<div class="verdict"><span class="{css}">{said}</span>{rest}</div>')

if only:
    chosen = {name: part for name, cells in chosen.items() if (part := tuple(cell for cell in cells if cell.ill or cell.unlike))}
    counts = Counter(chosen.values())
if not chosen:
    blocks.empty("Nothing to show with these filters.", "Every model is as it should be, or no project and model fit.")
    st.stop()
rank = {cells: access.rank(cells) for cells in counts}
order = sorted(chosen, key=lambda name: (rank[chosen[name]], name))
window = filters.window_name()
box = st.container()
page = order[filters.rows(len(order))]
shown = {name: {cell.model for cell in chosen[name]} for name in page}
models = sorted(set().union(*shown.values()))
accesses, disagreements = data.model_access(now, page, project)
held = {(each.project, each.model): each for each in accesses if each.model in shown.get(each.project, ())}
with box:
    lines = [
        (blocks.project_link(name, window), *(access.cell(held.get((name, each)), today, window, silent=silent) for each in models))
        for name in page
    ]
    blocks.table([("Project", "nw"), *((each, "") for each in models)], lines, css="mx stack")
left, right = st.columns([3, 1], vertical_alignment="center")


def export() -> str:
    """The projects and models of these filters as CSV."""
    found, unlike = data.model_access(now, order, project)
    kept = {name: {cell.model for cell in cells} for name, cells in chosen.items()}
    rows = [each for each in found if each.model in kept.get(each.project, ())]
    return csv_of(pd.DataFrame(access.csv_rows(rows, unlike, now)))


with right, st.container(horizontal=True, horizontal_alignment="right"):
    st.download_button("Download CSV", export, "models.csv", "text/csv", on_click="ignore")
with left:
    blocks.show(f'<span class="soft">{access.LEGEND}</span>')

on_page = [
    each
    for each in disagreements
    if each.kind is not AccessFindingKind.SHUTTING_DOWN and (each.access.project, each.access.model) in held
]
if on_page and not silent:
    blocks.heading("What disagrees", "worst first" + (f"; of the {len(page):,} projects above" if len(page) < len(order) else ""))
    access.findings_table(on_page[:60], window)
    if len(on_page) > 60:
        blocks.show(f'<span class="soft">and {len(on_page) - 60:,} more: choose a project, a model or an owner.</span>')
if going:
    blocks.heading("What OpenAI shuts down", "days left, and who needs or uses it")
    access.exposures_table(going, window)
    if all(each.requests is None for each in going):
        blocks.show('<span class="soft">How much each is used is not known: usage needs an admin key.</span>')
blocks.heading("The models", "as their names and OpenAI’s list tell them")
access.models_table(counts, window)
