"""Every key: whether OpenAI takes it, whose it is, how well it is kept. With `key` in the address, one key's story."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import streamlit as st

from monitor.domain.health import Health
from monitor.domain.hygiene import GRADES
from monitor.domain.hygiene_rules import KEY_RULES
from monitor.domain.rotation import Light, by_key
from monitor.domain.taxonomy import Lane
from monitor.domain.timeline import EPOCH
from monitor.ui import blocks, data, filters, hygiene, key_story, panels
from monitor.ui.blocks import dash, lamp
from monitor.ui.format import age, csv_of, escape, link, plural, since, viewer_zone
from monitor.ui.key_story import KeyRow
from monitor.ui.panels import KINDS_OF_KEYS, WHY_FLAGGED

_FAR = datetime.max.replace(tzinfo=EPOCH.tzinfo)

blocks.guard()
blocks.renew()
now, zone = data.now(), viewer_zone()
found, silent = data.hygiene(now), data.silent(now)
keys = data.keys(now)
if not keys:
    blocks.show('<div class="verdict"><span class="unknown">No key is configured.</span></div>')
    blocks.empty(
        "A project needs at least one key.",
        "Name it in <code>monitor.toml</code> under <code>[[projects.keys]]</code>, with where its secret is kept.",
    )
    st.stop()
rows = key_story.rows(found, now)
turning = by_key(found.rotations)


wanted_key = filters.asked("key")
if wanted_key is not None:
    asked_project = filters.asked("project", {row.card.project or "" for row in rows}, kept=True)
    here = [row for row in rows if wanted_key in (row.facts.label, row.facts.api_key) and asked_project in (None, row.card.project)]
    if len(here) == 1:
        key_story.story(here[0], found, now, zone, silent=silent)
    else:
        several = f"Several projects have a key {wanted_key}" if here else f"There is no key {wanted_key} in this project"
        blocks.show(f'<div class="verdict"><span class="unknown">{escape(several)}.</span></div>')
        blocks.empty(
            "Choose one from the list.",
            f'See <a href="{link("keys", window=filters.window_name())}" target="_self">all keys</a>. '
            "One that was deleted is among the changes of its project.",
        )
    st.stop()


def health_of(row: KeyRow) -> Health:
    """How a key is now."""
    return row.health(silent=silent)


def score_of(row: KeyRow) -> int:
    """For sorting: what could not be judged comes last."""
    return 101 if row.card.score is None else row.card.score


def named(row: KeyRow) -> tuple[str, bool, str]:
    """For sorting: by project, then those configured here."""
    return (row.facts.project.name, row.facts.label is None, row.facts.name)


ORDERS: dict[str, Callable[[KeyRow], Any]] = {
    "Worst first": lambda row: (-max(health_of(row).rank, Health.UNKNOWN.rank), score_of(row), named(row)),
    "Lowest score first": lambda row: (score_of(row), named(row)),
    "By project": named,
    "First to expire": lambda row: (row.time("expires_at") or _FAR, named(row)),
    "Oldest first": lambda row: (row.time("created_at") or row.facts.first_seen or _FAR, named(row)),
    "Longest unused first": lambda row: (row.time("last_used_at") or _FAR, named(row)),
}
place = st.container()
with st.container(key="key_filters"):
    one, two, three, four, five = st.columns([3, 2, 2, 2, 2], vertical_alignment="bottom")
    with one:
        project = filters.project(now, every="All projects")
    with two:
        grade = filters.choice("grade", "Grade", [letter for letter, _ in GRADES], every="Any grade")
    with three:
        kind = filters.choice("kind", "Kind", sorted({key.kind.value for key in keys}), every="All kinds")
    with four:
        owner = filters.choice("owner", "Owned by", ["user", "service_account", "unknown"], every="Anybody")
    with five:
        state = filters.choice("health", "Health", [health.value for health in reversed(Health)], every="Any health")
    one, two, three, four, five, six = st.columns([3, 2, 2, 2, 2, 2], vertical_alignment="bottom")
    with one:
        order = filters.choice("order", "Order", list(ORDERS)[1:], every="Worst first") or "Worst first"
    with two:
        rule = filters.choice("rule", "Broken rule", [each.id for each in KEY_RULES], every="Any rule")
    with three:
        flagged = filters.switch("flagged", "Risk or problem")
    with four:
        expiring = filters.switch("expiring", "Expiring")
    with five:
        unused = filters.switch("unused", "Unused")
    with six:
        unwatched = filters.switch("unwatched", "Not watched")


def risky(row: KeyRow) -> bool:
    """Whether it works and is a risk all the same."""
    return row.facts.kind in WHY_FLAGGED


def fits(row: KeyRow) -> bool:
    """Whether the filters let it through."""
    key, card, _ = row
    if (project and key.project.name != project) or (grade and card.grade != grade) or (kind and key.kind.value != kind):
        return False
    if (owner and (key.owner_type or "unknown") != owner) or (state and health_of(row).value != state):
        return False
    if flagged and not (row.wrong or risky(row) or any(each.weight >= 20 for each in card.findings)):
        return False
    asked = [name for name, on in (("expires_soon", expiring), ("key_unused", unused), ("key_unwatched", unwatched)) if on]
    return all(name in card.rules for name in [*asked, *([rule] if rule else [])])


chosen = sorted(filter(fits, rows), key=ORDERS[order])
refused = sum(key.health is Health.FAILING for key in keys)
risk = sum(key.kind in WHY_FLAGGED for key in keys)
soon = sum("expires_soon" in row.card.rules for row in rows)
with place:
    if silent:
        first, css = "Nothing is known of the keys while the poller is silent.", "unknown"
    elif refused:
        first, css = f"{refused:,} of {plural(len(keys), 'key')} {'does' if refused == 1 else 'do'} not work.", "failing"
    elif any(key.health is Health.UNKNOWN for key in keys):
        first, css = "No key is refused, but not all have a fresh answer.", "unknown"
    else:
        first, css = f"OpenAI accepts {'the key' if len(keys) == 1 else f'all {len(keys):,} keys'}.", "ok"
    notes = [f"{plural(risk, 'key')} not bound to a project or not meant for a service"] if risk else []
    notes += [f"{plural(soon, 'key')} expiring within {found.policy.expiry_notice.days} days"] if soon else []
    besides = sum(row.status is None for row in rows)
    notes += [f"{plural(besides, 'key')} of these projects nobody watches"] if besides else []
    safe = sum(each.light is Light.SAFE for each in found.rotations)
    notes += [f"{plural(safe, 'replaced key')} safe to delete"] if safe else []
    note = f'<span class="then">{escape("; ".join(notes))}.</span>' if notes else ""
    blocks.show(f'<div class="verdict" role="status"><span class="{css}">{first}</span>{note}</div>')
if not chosen:
    blocks.empty("No key fits these filters.", "Choose all projects, any grade, all kinds, anybody and any health.")
    st.stop()


def line(row: KeyRow) -> tuple[str, ...]:
    """One key as a row of the table."""
    key, card, status = row
    bad, record, project_name = row.wrong, key.record, key.project.name
    proof = link("evidence", project=project_name, key=key.label, verdict="failed", window=filters.window_name()) if bad else ""
    began = since(status.since, now, zone) if status and bad and status.since else ""
    tags = "".join(f'<span class="tag flag">{escape(each.title)}</span>' for each in card.findings[:3])
    more = f'<span class="soft">+{len(card.findings) - 3}</span>' if len(card.findings) > 3 else ""
    told = (
        f'<span class="{"unknown" if silent else "failing"}">{escape(bad)}</span> <span class="soft">{escape(began)}</span> '
        if bad
        else ""
    )
    person = (record.facts.get("owner_name") if record else None) or ""
    kind_of = KINDS_OF_KEYS[key.kind] if key.label else hygiene.OWNERS[key.owner_type]
    flag = (
        f'<span class="tag flag" title="{escape(WHY_FLAGGED[key.kind])}">{escape(kind_of)}</span>'
        if risky(row)
        else escape(kind_of)
    )
    used = row.time("last_used_at")
    expiry = key.expires_in(now)
    css = "failing" if "expires_soon" in card.rules else ""
    linked = f'<a href="{hygiene.key_address(key)}" target="_self"><b>{escape(key.name)}</b></a>'
    tail = f' <span class="soft mono nw">…{escape(key.tail)}</span>' if key.tail else ""
    return (
        f"{linked}{tail}<small>{escape(project_name)}</small>",
        lamp(health_of(row), None if status else "not watched", href=proof),
        hygiene.grade(card, hygiene.key_address(key)),
        told + tags + more or dash(None),
        f"{flag}<small>{escape(person)}</small>",
        f'<span class="{css}">{escape(expiry)}</span>' if expiry else dash("no day" if record else None),
        escape(age(used, now)) if used else dash(None),
        hygiene.light(found.rotation_of(key, turning), key) or dash(None),
        escape(age(status.last_ok_at, now)) if status else dash(None),
    )


box = st.container()
part = filters.rows(len(chosen))
with box:
    columns = [("Key", "name"), ("Health", "nw"), ("Grade", ""), ("What is wrong", "wrong"), ("Kind and owner", "")]
    columns += [("Expires", "nw"), ("Last use at OpenAI", "nw"), ("Rotation", "nw"), ("Last good here", "r nw")]
    blocks.table(columns, [line(row) for row in chosen[part]])
    if len(chosen) > 50:
        until = min(part.stop, len(chosen))
        blocks.show(f'<span class="soft">{part.start + 1:,} to {until:,} of {plural(len(chosen), "key")}.</span>')


def export() -> str:
    """The keys of these filters as CSV."""
    frame = hygiene.export_rows(found, [(row.facts, row.card) for row in chosen], turning)
    frame.insert(2, "health", [health_of(row).value for row in chosen])
    frame.insert(3, "what is wrong", [row.wrong for row in chosen])
    return csv_of(frame)


with st.container(horizontal=True, horizontal_alignment="right"):
    st.download_button("Download CSV", export, "keys.csv", "text/csv", on_click="ignore")
watched = [row.status for row in chosen if row.status]
fleet = {each.name: each for each in data.fleet(now)}
panels.key_diagnoses(watched, fleet, data.open_incidents(lane=Lane.AUTH), now, zone, filters.window_name(), silent=silent)
