"""One key's story: what it is, how it was, how well it is kept, who uses it, what replaced it, and what befell it."""

from datetime import datetime, tzinfo
from typing import NamedTuple

import streamlit as st

from monitor.domain.assessment import Assessment
from monitor.domain.health import Health
from monitor.domain.hygiene import Scorecard
from monitor.domain.hygiene_facts import KeyFacts
from monitor.domain.taxonomy import Lane
from monitor.domain.timeline import Window
from monitor.domain.words import capital
from monitor.store.queries import IncidentFilter, KeyStatus
from monitor.ui import blocks, charts, data, filters, hygiene, incidents, panels
from monitor.ui.blocks import dash, lamp
from monitor.ui.format import age, clock, escape, link, plural, title
from monitor.ui.panels import KINDS_OF_KEYS


class KeyRow(NamedTuple):
    """A key as it is judged and as it is watched."""

    facts: KeyFacts
    card: Scorecard
    status: KeyStatus | None
    """None where nobody configured it."""

    def health(self, *, silent: bool) -> Health:
        """How it is now; of one that nobody watches nothing is known."""
        return Health.UNKNOWN if silent or self.status is None else self.status.health

    @property
    def wrong(self) -> str:
        """What ails it, in a few words."""
        return (self.status.problem or title(self.status.failure)) if self.status else ""

    def time(self, fact: str) -> datetime | None:
        """A time in OpenAI's record of it."""
        return self.facts.record.time(fact) if self.facts.record else None


def rows(found: Assessment, now: datetime) -> list[KeyRow]:
    """Every key: those configured here, and those that only OpenAI knows."""
    watched = {(key.project, key.label): key for key in data.keys(now)}
    return [KeyRow(key, card, watched.get((key.project.name, key.label or ""))) for key, card in found.all_keys()]


def story(row: KeyRow, found: Assessment, now: datetime, zone: tzinfo, *, silent: bool) -> None:
    """All that is known of one key."""
    key, card, status = row
    project, window = key.project.name, filters.window(now)
    blocks.show(f'<a href="{link("keys", window=filters.window_name())}" target="_self">← All keys</a>')
    _head(row, now, zone, silent=silent)
    if status is not None:
        changes = data.transitions(window, project)
        mine = changes[(changes["key"] == key.label) & (changes["probe"] == "auth")]
        hygiene.history_strip(mine, row.health(silent=silent), key.first_seen, window, now, zone)
        of = data.project(project, now)
        fleet, going_on = {project: of} if of else {}, data.open_incidents(project, lane=Lane.AUTH)
        panels.key_diagnoses([status], fleet, going_on, now, zone, filters.window_name(), silent=silent)
    turn = found.rotation_of(key)
    if turn is not None:
        blocks.heading("Rotation", "may the old key be deleted?")
        hygiene.rotation_card(turn, now, zone)
    if card.findings:
        blocks.heading("Broken rules", "heaviest first")
        hygiene.findings(card.findings, now, zone)
    _use(key, now, zone)
    _befell(key, now, zone, silent=silent)
    if card.unknown:
        blocks.heading("What cannot be judged", "and what it would need")
        hygiene.not_judged([card])


def _head(row: KeyRow, now: datetime, zone: tzinfo, *, silent: bool) -> None:
    """The verdict in a sentence, and what is known of the key."""
    key, card, status = row
    health, name = row.health(silent=silent), f"{row.facts.project.name}/{row.facts.name}"
    if key.label is None:
        said, css = f"Nobody watches {name}: OpenAI lists it, and it is configured nowhere here.", "degraded"
    elif silent:
        said, css = f"Nothing is known of {name} while the poller is silent.", "unknown"
    elif health is Health.FAILING:
        said, css = f"{name} does not work: {row.wrong or 'no reason is known'}.", "failing"
    elif health is Health.UNKNOWN:
        said, css = f"{name} has no fresh answer.", "unknown"
    else:
        said, css = f"{name} works.", "degraded" if card.findings and card.grade not in ("A", "B") else "ok"
    broken = f"{plural(len(card.findings), 'rule')} broken" if card.findings else "no rule broken"
    score = f"{card.score} of 100, " if card.score is not None else "Not graded: no rule can be judged; "
    ends, expiry = row.time("expires_at"), key.expires_in(now)
    runs_out = f" It {'expires' if ends > now else 'expired'} {expiry}." if ends and expiry else ""
    blocks.show(
        f'<div class="verdict" role="status"><span class="{css}">{escape(said)}</span>'
        f'<span class="then">{hygiene.grade(card)} {escape(f"{score}{broken}.{runs_out}")} {lamp(health)}</span></div>'
    )
    _facts(row, now, zone, status)


def _facts(row: KeyRow, now: datetime, zone: tzinfo, status: KeyStatus | None) -> None:
    key = row.facts
    said = key.record.facts if key.record else {}
    project = key.project.project
    created, used, ends = row.time("created_at"), row.time("last_used_at"), row.time("expires_at")
    no_end = "OpenAI names no day" if key.record else None
    hygiene.facts(
        [
            ("Owned by", hygiene.OWNERS[key.owner_type] + (f": {said['owner_name']}" if said.get("owner_name") else "")),
            ("Its access", said.get("owner_project_access")),
            ("Kind", KINDS_OF_KEYS[key.kind] if key.label else None),
            ("Ends in", f"…{key.tail}" if key.tail else None),
            ("Source", key.source),
            ("Project’s owner", project.owner),
            ("Services", ", ".join(project.services)),
            ("OpenAI’s id", key.api_key),
            ("Created", clock(created, now, zone) if created else None),
            ("First seen here", clock(key.first_seen, now, zone) if key.first_seen else None),
            ("Expires", f"{clock(ends, now, zone)} ({key.expires_in(now)})" if ends else no_end),
            ("Last use at OpenAI", age(used, now) if used else None),
            ("Last good here", age(status.last_ok_at, now) if status else None),
        ]
    )


def _use(key: KeyFacts, now: datetime, zone: tzinfo) -> None:
    """What OpenAI counted, by day and by model."""
    month = Window.last(filters.WINDOWS["30d"], now, filters.WINDOWS["24h"])
    blocks.heading(
        "Use by day", "as OpenAI counts it: calls that were refused are in no figure, and the newest days may still grow"
    )
    number = key.project.project.project_id
    if key.api_key is None or number is None:
        blocks.empty("Its use is not known.", escape(capital(key.record_reading.why)) + ".")
        return
    counted = data.usage(month, number)
    mine = counted[counted["api_key"] == key.api_key]
    if key.use is None and mine.empty:
        blocks.empty("Its use is not known.", "The usage of the organization has not been read: that needs an admin key.")
    elif mine.empty:
        blocks.empty("OpenAI counted no call of it in 30 days.", "Calls that only list models are not counted.")
    else:
        mine = mine.assign(model=mine["model"].fillna("a model"))
        st.plotly_chart(charts.usage(mine, month, zone), config=charts.CONFIG, key="use")
        sums = mine.groupby("model")[["requests", "input_tokens", "output_tokens"]].sum().sort_values("requests", ascending=False)
        last = mine.groupby("model")["start"].max()
        blocks.table(
            [("Model", ""), ("Calls", "r"), ("Tokens in", "r"), ("Tokens out", "r"), ("Last day", "r nw")],
            [
                (
                    f'<span class="mono">{escape(model)}</span>',
                    *(f"{int(value):,}" for value in row),
                    f"{last[model]:%d %b}",
                )
                for model, row in zip(sums.index[:20], sums.to_numpy()[:20], strict=True)
            ],
        )


def _befell(key: KeyFacts, now: datetime, zone: tzinfo, *, silent: bool) -> None:
    """Changes of this key in three months, and the incidents that it was in."""
    project = key.project.name
    quarter = Window.last(filters.WINDOWS["30d"] * 3, now, filters.WINDOWS["1h"])
    blocks.heading("What changed", "of this key, in 90 days")
    changes = [
        each
        for each in data.changes_of(project, quarter)
        if (each.key is not None and each.key == key.label) or (key.api_key is not None and each.subject == key.api_key)
    ]
    if changes:
        told = [(escape(clock(each.at, now, zone)), escape(each.text), dash(each.actor)) for each in changes[:30]]
        blocks.table([("When", "nw"), ("What", ""), ("Who", "nw")], told)
    else:
        blocks.show('<span class="soft">No change of it is known.</span>')
    blocks.heading("Incidents", "it was in, in 90 days")
    lately = data.incidents(IncidentFilter(since=quarter.start, project=project))
    been = [each for each in lately if f"{project}/{key.label}" in each.keys]
    if been:
        incidents.table(been[:20], now, zone, filters.window_name(), silent=silent)
    else:
        blocks.show('<span class="soft">None.</span>')
