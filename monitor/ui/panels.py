"""Larger pieces that pages share: tables of keys, checks, changes and answers."""

import json
from collections.abc import Hashable, Mapping, Sequence
from datetime import datetime, tzinfo
from itertools import groupby
from typing import Any

import pandas as pd
import streamlit as st

from monitor.domain.diagnosis import context_of, diagnose
from monitor.domain.health import Health
from monitor.domain.incidents import Incident
from monitor.domain.inventory import KeyKind, ProbeKind, Target
from monitor.domain.observation import Observation, RateLimitHit, Verdict
from monitor.domain.taxonomy import FailureKind, Scope
from monitor.domain.timeline import Window, to_ms
from monitor.store.queries import KeyStatus, ProjectStatus, TargetStatus
from monitor.ui import blocks, data, filters, incidents
from monitor.ui.blocks import dash, lamp
from monitor.ui.format import (
    MISSING,
    age,
    clock,
    escape,
    link,
    milliseconds,
    number,
    plural,
    since,
    span,
    title,
    visible_lines,
    words,
)  # fmt: skip
from monitor.ui.theme import look

KINDS_OF_KEYS = {
    KeyKind.PROJECT_USER: "user's key of the project",
    KeyKind.SERVICE_ACCOUNT: "service account",
    KeyKind.USER_LEGACY: "legacy user key",
    KeyKind.USER_UNSCOPED: "user key without project",
    KeyKind.ADMIN: "admin key",
    KeyKind.UNKNOWN: "kind unknown",
}
_MOST_CARDS = 12
WHY_FLAGGED = {
    KeyKind.USER_LEGACY: "It belongs to a user, not to a project: it works wherever that user may, and goes when the user goes.",
    KeyKind.USER_UNSCOPED: "It is bound to no project, so its use cannot be told apart. Use a service account of the project.",
    KeyKind.ADMIN: "An admin key manages the organization and cannot call models. It does not belong into a service.",
}


def project_strip(name: str, window: Window, zone: tzinfo) -> None:
    """What happened in the window, one project wide."""
    cells = filters.cells(window, 96, 1_000)
    found = blocks.strips(data.strips(window, [name], cells), window, zone, cells, css="tall")
    form = "%H:%M" if window.length.days <= 1 else "%d %b %H:%M"
    ends = "".join(
        f"<span>{at.astimezone(zone):{form}}</span>" for at in (window.start, window.start + window.length / 2, window.end)
    )
    body = found.get(name) or blocks.NO_STRIP.replace('"strip"', '"strip tall"')
    blocks.show(f'<div style="margin-top:.6rem">{body}<div class="ends">{ends}</div></div>')


def diagnoses(
    project: ProjectStatus,
    targets: Sequence[TargetStatus],
    keys: Mapping[str, KeyStatus],
    now: datetime,
    zone: tzinfo,
    window: str,
    open_ones: Sequence[Incident] = (),
    *,
    silent: bool,
) -> None:
    """A card for every cause: those of the open incidents, then what else is ill, worst first. Checks that fail for the same
    reason share one.
    """
    ill = [status for status in targets if status.failure or (status.suspect and status.last_failure)]
    ill = [status for status in ill if not _explained(status, open_ones)]
    cards = incidents.cards(open_ones, targets, now, zone, window, project.name, silent=silent)
    ill.sort(key=_cause)
    groups = [list(group) for _, group in groupby(ill, key=_cause)]
    groups.sort(key=lambda group: (-max(status.health.rank for status in group), group[0].since or now))
    for first, *alike in groups:
        said = blocks.diagnosis_of(first, project, keys.get(first.target.key or ""), now)
        if said:
            cards.append(blocks.diagnosis_card(first, said, now, zone, window, alike))
    cards += [_finding(status, now, zone) for status in targets if status.finding and status.health is Health.DEGRADED]
    if cards:
        blocks.heading("What was wrong before the silence" if silent else "What is wrong", "and what to do")
        blocks.show("".join(cards))
    elif project.health is Health.HEALTHY and not silent:
        blocks.show('<span class="soft">Nothing is wrong: every check of this project passed when it was last made.</span>')


def key_diagnoses(
    keys: Sequence[KeyStatus],
    fleet: Mapping[str, ProjectStatus],
    open_ones: Sequence[Incident],
    now: datetime,
    zone: tzinfo,
    window: str,
    *,
    silent: bool,
) -> None:
    """A card for everything that ails the first of these keys: what open incidents found, then what no incident explains."""
    every = [(key, key.auth) for key in keys if key.auth and (key.failure or key.auth.suspect)]
    ill = every[:_MOST_CARDS]
    going_on = [one for one in open_ones if any(_explained(status, [one]) for _, status in ill)]
    cards = incidents.cards(going_on, [status for _, status in ill], now, zone, window, silent=silent)
    for key, status in ill:
        said = None if _explained(status, going_on) else blocks.diagnosis_of(status, fleet.get(key.project), key, now)
        if said:
            cards.append(blocks.diagnosis_card(status, said, now, zone, window, named=True))
    if cards:
        blocks.heading("What was wrong before the silence" if silent else "What is wrong", "and what to do")
        blocks.show("".join(cards))
    if len(every) > len(ill):
        blocks.show(f'<span class="soft">and {plural(len(every) - len(ill), "more key")}: choose a project above.</span>')


def _explained(status: TargetStatus, open_ones: Sequence[Incident]) -> bool:
    kind = status.failure
    return kind is not None and any(incidents.explains(one, status.target, kind.lane) for one in open_ones)


def _cause(status: TargetStatus) -> tuple[str, str, str]:
    kind = status.failure or status.last_failure
    lane = kind.lane.value if kind else ""
    about = status.target.model if lane in ("access", "rate") else None
    return (kind.value if kind else "", status.target.key or "", about or "")


def _finding(status: TargetStatus, now: datetime, zone: tzinfo) -> str:
    model = escape(status.target.model or "a model")
    return (
        f'<div class="card" style="--c:var(--degraded)"><div class="where">{lamp(Health.DEGRADED)}'
        f"<span>{escape(words(status.target.probe.value))}</span><span>key {escape(status.target.key)}</span></div>"
        f"<h3>{model} answers, although the configuration says it must be refused.</h3><dl>"
        f'<dt>Next step</dt><dd class="do">Take {model} off the project’s model list at platform.openai.com → Settings → Project → '
        "Limits → Model usage, or out of <code>denied_models</code> in monitor.toml.</dd>"
        "<dt>Who mends it</dt><dd>An administrator of the project</dd>"
        f"<dt>Since</dt><dd>{escape(since(status.since, now, zone).removeprefix('since '))}</dd>"
        "<dt>By itself?</dt><dd>No: it stays until somebody acts.</dd></dl></div>"
    )


def key_name(key: KeyStatus) -> str:
    """Its label and the end of its fingerprint."""
    tail = key.fingerprint.partition("…")[2] if key.fingerprint else ""
    ending = f' <span class="soft mono nw">…{escape(tail)}</span>' if tail else ""
    return f"<b>{escape(key.label)}</b>{ending}"


def key_kind(key: KeyStatus) -> str:
    """What kind of key it is, flagged where that is a risk."""
    said = escape(KINDS_OF_KEYS[key.kind])
    why = WHY_FLAGGED.get(key.kind)
    return f'<span class="tag flag" title="{escape(why)}">{said}</span>' if why else said


def key_table(keys: Sequence[KeyStatus], now: datetime, zone: tzinfo, window: str, *, silent: bool) -> None:
    """The keys of one project."""
    columns = [
        ("Key", "nw"),
        ("Health", "nw"),
        ("What is wrong", ""),
        ("Kind", "less"),
        ("Source", "less"),
        ("First seen", "nw less"),
        ("Last good", "nw less"),
    ]
    rows = []
    for key in keys:
        wrong = key.problem or title(key.failure)
        began = since(key.since, now, zone) if wrong and key.since else ""
        rows.append(
            (
                key_name(key),
                lamp(
                    Health.UNKNOWN if silent else key.health,
                    href=link("evidence", project=key.project, key=key.label, verdict="failed", window=window) if wrong else "",
                ),
                f'{dash(wrong)} <span class="soft">{escape(began)}</span>',
                key_kind(key),
                f'<span class="mono soft">{escape(key.source)}</span>',
                escape(clock(key.first_seen, now, zone)),
                escape(age(key.last_ok_at, now)),
            )
        )
    blocks.table(columns, rows)


def target_table(targets: Sequence[TargetStatus], now: datetime, zone: tzinfo, window: str, *, silent: bool) -> None:
    """Every check with its last answer."""
    columns = [
        ("Health", "nw"),
        ("Check", "nw"),
        ("Key", "nw less"),
        ("Model", "nw"),
        ("Last answer", "say"),
        ("Latency", "r nw less"),
        ("Every", "r nw less"),
        ("Asked", "r nw"),
    ]
    rows = []
    for status in targets:
        said = title(status.last_failure) if status.last_failure else "ok" if status.verdict else ""
        http = f"HTTP {status.status}" if status.status else ""
        rows.append(
            (
                lamp(Health.UNKNOWN if silent else status.health, tip=since(status.since, now, zone), href=_proof(status, window)),
                escape(words(status.target.probe.value)),
                dash(status.target.key),
                f'<span class="mono">{dash(status.target.model)}</span>',
                " · ".join(escape(part) for part in (said, http, status.code) if part) or dash(None),
                escape(milliseconds(status.latency_ms)),
                escape(span(status.interval.total_seconds())),
                escape(age(status.last_at, now)),
            )
        )
    blocks.table(columns, rows)


def _proof(status: TargetStatus, window: str) -> str:
    """Where the answers are that made it ill; nowhere where it is well."""
    if not status.failure:
        return ""
    target = status.target
    where = {"project": target.project, "key": target.key, "model": target.model, "probe": target.probe.value}
    return link("evidence", **where, verdict="failed", window=window)


def changes(frame: pd.DataFrame, now: datetime, zone: tzinfo, most: int = 20) -> None:
    """Changes of health, newest first."""
    if frame.empty:
        blocks.empty("Nothing changed in this window.", "Choose a longer window above to look further back.")
        return
    rows = []
    for row in frame.head(most).to_dict("records"):
        why = f'<br><span class="soft">{escape(title(row["failure"]))}</span>' if row["failure"] else ""
        change = f'<span class="soft">{look(row["old"]).word} →</span> {lamp(row["new"])}{why}'
        rows.append((escape(clock(row["at"].to_pydatetime(), now, zone)), change, f'<span class="soft">{_about(row)}</span>'))
    blocks.table([("When", "nw"), ("Change", ""), ("Check", "")], rows)
    if len(frame) > most:
        blocks.show(f'<span class="soft">and {plural(len(frame) - most, "earlier change")}</span>')


VERDICTS = {"ok": Health.HEALTHY, "failed": Health.FAILING, "inconclusive": Health.UNKNOWN}
VERDICT_WORDS = {"ok": "ok", "failed": "failed", "inconclusive": "unclear"}


def answers(frame: pd.DataFrame, zone: tzinfo) -> None:
    """The newest raw answers."""
    if frame.empty:
        blocks.empty("No answer in this window.", "Choose a longer window above, or look whether the poller runs.")
        return
    rows = []
    for row in frame.to_dict("records"):
        at = row["at"].to_pydatetime()
        status = f"HTTP {row['status']}" if pd.notna(row["status"]) else ""
        said = " · ".join(escape(part) for part in (title(row["failure"]), status) if part)
        address = link("evidence", project=row["project"], target=str(row["target_id"]), at=str(to_ms(at)))
        rows.append(
            (
                f'<a href="{address}" target="_self">{at.astimezone(zone):%H:%M:%S}</a>',
                lamp(VERDICTS.get(row["verdict"]), VERDICT_WORDS.get(row["verdict"])),
                _about(row),
                said,
                escape(milliseconds(row["latency_ms"])),
            )
        )
    blocks.table([("When", "nw"), ("Verdict", "nw"), ("Check", ""), ("Answer", ""), ("Latency", "r nw")], rows)


def _about(row: Mapping[Hashable, Any]) -> str:
    """Which check it was: its probe, key and model."""
    return " · ".join(escape(part) for part in (words(row["probe"]), row["key"], row["model"]) if part)


def inspector(found: Mapping[str, Any], project: ProjectStatus | None, now: datetime, zone: tzinfo) -> None:
    """One observation with its diagnosis, fields, limits and body."""
    at: datetime = found["at"]
    left, right = st.columns([2, 3])
    with left:
        facts = [
            ("When", f"{at.astimezone(zone):%Y-%m-%d %H:%M:%S.%f}"[:-3] + f" ({age(at, now)})"),
            *((words(name).capitalize(), found[name]) for name in ("project", "key", "probe", "model", "verdict", "failure")),
            ("HTTP status", found["status"]),
            *((words(name).capitalize(), found[name]) for name in ("code", "type", "param", "message", "hint", "scope", "finding")),
            ("Missing scopes", ", ".join(found["missing_scopes"])),
            ("Retry after", span(found["retry_after"]) if found["retry_after"] is not None else None),
            ("Latency", milliseconds(found["latency_ms"])),
            ("OpenAI’s own time", milliseconds(found["processing_ms"])),
            ("Request id", found["request_id"]),
            ("Project echo", found["project_echo"]),
            ("Organization echo", found["organization_echo"]),
            ("Tokens", found["tokens"] or None),
            *((f"Limit hit: {words(name)}", value) for name, value in (found["hit"] or {}).items()),
            ("Classifier", f"version {found['classifier_version']}"),
        ]
        blocks.show(tree([(name, value) for name, value in facts if value not in (None, "")]))
    with right:
        kind = kind_of(found["failure"])
        if kind is not None:
            said = blocks.here(
                diagnose(kind, context_of(_observation(found, kind), at=at, now=now, project=blocks.known(project))), now, zone
            )
            evidence = "".join(f"<li>{escape(line)}</li>" for line in said.evidence)
            blocks.show(
                f'<div class="card" style="--c:var(--failing)"><h3>{blocks.inline(said.summary)}</h3><dl>'
                f"{blocks.said_rows(said)}<dt>Evidence</dt><dd><ul>{evidence}</ul></dd></dl></div>"
            )
        limits = [(each.get("bucket"), each.get("limit"), each.get("remaining"), each.get("reset")) for each in found["limits"]]
        if limits:
            columns = [("Limit of", ""), ("Limit", "r"), ("Remaining", "r"), ("Full again in", "r")]
            rows = [
                (escape(bucket), number(limit), number(left_over), escape(span(reset)) if reset is not None else dash(None))
                for bucket, limit, left_over, reset in limits
            ]
            blocks.table(columns, rows)
        if found["body"]:
            blocks.show('<span class="soft">Body, with secrets and ids taken out</span>')
            st.code(pretty(found["body"]), language="json", wrap_lines=True)
        elif kind is not None:
            blocks.show('<span class="soft">The body is kept for the first of a run of equal answers, not for this one.</span>')


def _observation(found: Mapping[str, Any], kind: FailureKind) -> Observation:
    return Observation(
        target=Target(ProbeKind(found["probe"]), found["project"], found["key"], found["model"]),
        at=found["at"],
        verdict=Verdict(found["verdict"]),
        failure=kind,
        status=found["status"],
        code=found["code"],
        message=found["message"],
        request_id=found["request_id"],
        scope=Scope(found["scope"]) if found["scope"] else None,
        retry_after=found["retry_after"],
        hit=RateLimitHit(**found["hit"]) if found["hit"] else None,
        hint=found["hint"],
        missing_scopes=tuple(found["missing_scopes"]),
    )


def kind_of(text: str | None) -> FailureKind | None:
    """The kind of failure, or None where there is none; one of a newer version is unknown."""
    if text is None:
        return None
    return FailureKind(text) if text in {each.value for each in FailureKind} else FailureKind.UNKNOWN


def pretty(body: str) -> str:
    """JSON laid out, anything else as it is."""
    try:
        return visible_lines(json.dumps(json.loads(body), indent=2, ensure_ascii=False))
    except ValueError:
        return visible_lines(body)


def tree(facts: Sequence[tuple[str, object]]) -> str:
    """Names and values; a name with the value `...` is a heading."""
    parts = []
    for name, value in facts:
        parts.append(f"<b>{escape(name)}</b>" if value is ... else f"<span>{escape(name)}</span><div>{escape(value)}</div>")
    return f'<div class="tree">{"".join(parts)}</div>'


def settings(text: Mapping[str, Any], most: int = 50) -> None:
    """A configuration as it is read: simple values first, then its tables, then projects, folded."""
    plain: list[tuple[str, object]] = [
        (words(name).capitalize(), _said(value)) for name, value in text.items() if not isinstance(value, (dict, list))
    ]
    for name, value in text.items():
        if isinstance(value, dict):
            plain += [(words(name).capitalize(), ...), *((words(each), _said(held)) for each, held in value.items())]
    blocks.show(tree(plain))
    projects = [each for each in text.get("projects") or [] if isinstance(each, dict)]
    folded = "".join(
        f"<details><summary>{escape(each.get('name'))}</summary>"
        f"{tree([(words(name), _said(held)) for name, held in each.items()])}</details>"
        for each in projects[:most]
    )
    more = f'<span class="soft">and {len(projects) - most:,} more</span>' if len(projects) > most else ""
    if folded:
        blocks.show(f'<div class="tree"><b>Projects</b></div>{folded}{more}')


def _said(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{words(str(name))} {_said(held)}" for name, held in value.items() if held is not None) or MISSING
    if isinstance(value, list):
        return "; ".join(_said(each) for each in value) or MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    return MISSING if value is None else str(value)
