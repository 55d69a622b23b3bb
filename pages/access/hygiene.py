"""How well keys and projects are kept, what is worst, and how far the move to service accounts is."""

import json

import pandas as pd
import streamlit as st

from monitor.domain.assessment import lines, worst_first
from monitor.domain.hygiene import GRADES
from monitor.domain.hygiene_rules import TITLES, Assessed
from monitor.domain.rotation import by_key
from monitor.domain.timeline import Window
from monitor.domain.words import capital
from monitor.ui import blocks, charts, data, filters, hygiene
from monitor.ui.format import age, csv_of, escape, plural, viewer_zone

blocks.guard()
blocks.renew()
now, zone = data.now(), viewer_zone()
found = data.hygiene(now)
if not found.projects:
    blocks.show('<div class="verdict"><span class="unknown">No project is configured.</span></div>')
    blocks.empty(
        "There is nothing to judge yet.",
        "Name your projects in <code>monitor.toml</code>; the poller reads it again by itself.",
    )
    st.stop()
place = st.container()
with st.container(key="hygiene_filters"):
    one, two, three, four, five = st.columns([3, 2, 2, 2, 2], vertical_alignment="bottom")
    with one:
        project = filters.project(now, every="All projects")
    with two:
        grade = filters.choice("grade", "Grade", [letter for letter, _ in GRADES], every="Any grade")
    with three:
        rule = filters.choice("rule", "Broken rule", list(TITLES), every="Any rule")
    with four:
        owner = filters.choice(
            "owner", "Owner", sorted({p.facts.project.owner or "" for p in found.projects} - {""}), every="All owners"
        )
    with five:
        environment = filters.choice(
            "environment",
            "Environment",
            sorted({p.facts.project.environment or "" for p in found.projects} - {""}),
            every="All environments",
        )
chosen = found.project(project) if project else None
window = Window.last(max(filters.window(now).length, filters.WINDOWS["30d"]), now, filters.WINDOWS["1h"])


def wanted(each: Assessed) -> bool:
    """Whether the filters let it through."""
    facts = each.facts.project
    if (owner and facts.owner != owner) or (environment and facts.environment != environment):
        return False
    if (grade and each.card.grade != grade) or (project and each.name != project):
        return False
    return rule is None or rule in each.card.rules


shown = sorted((each for each in found.projects if wanted(each)), key=worst_first)
card = chosen.card if chosen else found.card
with place:
    who = chosen.name if chosen else "The organization"
    if card.score is None:
        said, css = f"{who} cannot be graded: nothing is known that a rule could judge.", "unknown"
    else:
        said = f"{who} is graded {card.grade}: {card.score} of 100."
        css = {"A": "ok", "B": "ok", "C": "degraded", "D": "degraded", "F": "failing"}[card.grade]
    worst = card.findings[:1]
    if chosen:
        then = f"Worst: {worst[0].reason}" if worst else "No rule is broken."
    else:
        costly = [each for each in found.rules() if each.broken][:3]
        then = ", ".join(f"{each.title} ({each.broken:,})" for each in costly)
        then = f"What costs most: {then}." if then else "No rule is broken."
    if card.unknown:
        then += f" {plural(len(card.unknown), 'judgement')} cannot be made, and count for nobody."
    blocks.show(
        f'<div class="verdict" role="status"><span class="{css}">{escape(said)}</span>'
        f'<span class="then">{escape(then)}</span></div>'
    )

left, right = st.columns([3, 2])
with left:
    keys = [key_card for each in shown for key_card in each.key_cards]
    blocks.heading("Grades", "projects, then keys; each part leads to them")
    blocks.show(
        hygiene.distribution((each.card for each in shown), "project", "hygiene")
        + '<div style="height:.4rem"></div>'
        + hygiene.distribution(keys, "key", "keys")
    )
    blocks.show(f'<div class="note">{escape(hygiene.HOW)}</div>')
with right:
    blocks.heading("Score over time", f"last {window.length.days} days")
    trend = data.score_trend(card.subject, window)
    if trend.empty:
        blocks.empty(
            "There is no history yet.", "The service judges every hour, and after each reading of the organization’s record."
        )
    else:
        last = pd.DataFrame({"start": [pd.Timestamp(now)], "score": [trend["score"].iloc[-1]]})
        drawn = pd.concat([trend[["start", "score"]], last], ignore_index=True)
        st.plotly_chart(charts.score(drawn, window, zone), config=charts.CONFIG, key="score")

if chosen:
    own = [each for each in chosen.card.findings if each.key is None]
    if own:
        blocks.heading("Broken by the project", "heaviest first")
        hygiene.findings(own, now, zone)
    of_keys = [each for each in chosen.card.findings if each.key is not None]
    if of_keys:
        blocks.heading("Broken by its keys", "heaviest first")
        box = st.container()
        page = of_keys[filters.rows(len(of_keys), 20)]
        with box:
            hygiene.findings(page, now, zone, named=True)
    if not chosen.card.findings:
        blocks.empty("No rule is broken.", "What could not be judged is listed below.")
else:
    blocks.heading("Worst rules", "weight times how often it is broken; each leads to those that break it")
    broken = [each for each in found.rules(shown) if each.broken]
    if broken:
        hygiene.rule_table(broken, filters.window_name())
    else:
        blocks.empty("No rule is broken.", "What could not be judged is listed below.")
    blocks.heading("Worst projects", "the lowest score first")
    if shown:
        box = st.container()
        part = filters.rows(len(shown), 25)
        with box:
            hygiene.project_table(shown[part])
            if len(shown) > 25:
                until = min(part.stop, len(shown))
                blocks.show(f'<span class="soft">{part.start + 1:,} to {until:,} of {plural(len(shown), "project")}.</span>')
    else:
        blocks.empty("No project fits these filters.", "Choose any grade, any rule, all owners and environments.")
    blocks.heading("By owner", "the lowest score first")
    hygiene.owner_table(shown, filters.window_name())

names = {each.name for each in shown}
moving = [each for each in found.migrations if each.project in names]
blocks.heading("From people’s keys to service accounts", "a service account stays when people go")
if not chosen:
    hygiene.progress(found.progress)
if moving:
    hygiene.migration_table(moving[:25])
    if len(moving) > 25:
        blocks.show(
            f'<span class="soft">and {plural(len(moving) - 25, "key")} more: choose a project, or take the CSV below.</span>'
        )
else:
    blocks.show('<span class="soft">No key is known to belong to a person here.</span>')

turning = [each for each in found.rotations if each.project in names]
if turning:
    blocks.heading("Rotations", "keys that are being replaced, the newest first")
    hygiene.rotation_table(turning[:25], now, zone)

blocks.heading("What cannot be judged", "and what it would need")
hygiene.not_judged([chosen.card] if chosen else [each.card for each in shown])
if found.gaps:
    told = "".join(f"<li>{escape(each.part.replace('_', ' '))}: {escape(each.reason)}</li>" for each in found.gaps[:12])
    blocks.show(f'<details><summary class="soft">parts of the record that could not be read</summary><ul>{told}</ul></details>')
read = f"OpenAI’s record was read {age(found.synced_at, now)}" if found.synced_at else "OpenAI’s record has never been read"
blocks.show(f'<span class="soft">Judged {age(found.at, now)}. {escape(capital(read))}.</span>')


def as_json() -> str:
    """The same lines as `scorecard --json`."""
    return "\n".join(
        json.dumps(line, ensure_ascii=False) for line in lines(found, names if len(names) < len(found.projects) else ())
    )


def as_csv() -> str:
    """Every key with its grade and next step."""
    known = by_key(found.rotations)
    rows = [pair for each in shown for pair in zip(each.keys, each.key_cards, strict=True)]
    return csv_of(hygiene.export_rows(found, rows, known))


def checklist() -> str:
    """The migration, a line a key."""
    rows = [
        {
            "project": each.project,
            "key": each.key,
            "owner": each.owner,
            "production": {True: "yes", False: "no", None: "not known"}[each.production],
            "state": each.stage.value,
            "next step": each.next_step,
        }
        for each in moving
    ]
    return csv_of(pd.DataFrame(rows))


with st.container(horizontal=True, horizontal_alignment="right"):
    st.download_button("Keys as CSV", as_csv, "scorecard.csv", "text/csv", on_click="ignore")
    st.download_button("Checklist as CSV", checklist, "migration.csv", "text/csv", on_click="ignore")
    st.download_button("Scorecard as JSON", as_json, "scorecard.jsonl", "application/json", on_click="ignore")
