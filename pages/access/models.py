"""Which project may use which model: what is needed, allowed, listed and true, and where these disagree."""

import pandas as pd
import streamlit as st

from monitor.domain.access_findings import SOON, AccessFindingKind, days
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
every, disagreements = data.model_access(now, project)
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
    model = filters.choice("model", "Model", sorted({each.model for each in every}), every="All models")
with three:
    owner = filters.choice("owner", "Owner", sorted({each.owner for each in every if each.owner}), every="All owners")
with four:
    only = filters.switch("broken", "Only what disagrees or does not work")


def wanted(each: Access) -> bool:
    """Whether the filters of model and owner let it through."""
    return (not model or each.model == model) and (not owner or each.owner == owner)


chosen = [each for each in every if wanted(each)]
found = [each for each in disagreements if wanted(each.access)]
# What goes is told by itself: it disagrees with nothing.
unlike = [each for each in found if each.kind is not AccessFindingKind.SHUTTING_DOWN]
going = exposures(chosen, today)
lacking = [each for each in chosen if each.need is Need.REQUIRED and access.ill(each)]
loose = [each for each in chosen if each.need is Need.DENIED and each.truth is Truth.USABLE]
asked = [each for each in chosen if each.need is not Need.NONE]
with place:
    then = []
    if silent:
        said, css = "Nothing is known of the models while the poller is silent.", "unknown"
    elif lacking:
        said, css = f"{len(lacking):,} of {plural(len(asked), 'model')} asked for cannot be used as needed.", "failing"
    elif loose:
        said, css = f"Every needed model is there, but {plural(len(loose), 'denied model')} can be used.", "degraded"
    elif any(each.truth is Truth.UNKNOWN for each in asked):
        said, css = "No model is missing, but not all have a fresh answer.", "unknown"
    elif unlike:
        many = "something disagrees" if len(unlike) == 1 else f"{len(unlike):,} things disagree"
        said, css = f"Every needed model can be used, but {many}.", "degraded"
    else:
        said, css = "Every project can use the models it needs, and only those.", "ok"
    if going and going[0].days_left <= SOON:
        first = going[0]
        when = f"in {days(first.days_left)}" if first.days_left > 0 else "today" if not first.days_left else f"since {first.day}"
        who = "1 project needs or uses" if len(first.who) == 1 else f"{len(first.who):,} projects need or use"
        then.append(f"<b>{escape(first.model)}</b> is shut down {when}; {who} it.")
    if note := access.unknown_policy(chosen):
        then.append(f'<span class="soft">{escape(note)}</span>')
    rest = f'<span class="then">{" ".join(then)}</span>' if then else ""
    blocks.show(f'<div class="verdict"><span class="{css}">{said}</span>{rest}</div>')

troubled = {(each.access.project, each.access.model) for each in unlike}
bad = {(each.project, each.model) for each in chosen if access.ill(each)} | troubled
shown = [each for each in chosen if (each.project, each.model) in bad] if only else chosen
if not shown:
    blocks.empty("Nothing to show with these filters.", "Every model is as it should be, or no project and model fit.")
    st.stop()
held = {(each.project, each.model): each for each in shown}
worst = {each.project for each in shown if access.ill(each)}
unclear = {name for name, _ in bad}
order = sorted({each.project for each in shown}, key=lambda name: (name not in worst, name not in unclear, name))
window = filters.window_name()
box = st.container()
page = order[filters.rows(len(order))]
models = sorted({each.model for each in shown if each.project in set(page)})
with box:
    lines = [
        (blocks.project_link(name, window), *(access.cell(held.get((name, each)), today, window, silent=silent) for each in models))
        for name in page
    ]
    blocks.table([("Project", "nw"), *((each, "") for each in models)], lines, css="mx")
left, right = st.columns([3, 1], vertical_alignment="center")


def export() -> str:
    """The projects and models of these filters as CSV."""
    return csv_of(pd.DataFrame(access.csv_rows(shown, found, now)))


with right, st.container(horizontal=True, horizontal_alignment="right"):
    st.download_button("Download CSV", export, "models.csv", "text/csv", on_click="ignore")
left.html(f'<span class="soft">{access.LEGEND}</span>')

here = set(page)
on_page = [each for each in unlike if each.access.project in here]
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
access.models_table(shown, window)
