"""Pieces of pages about incidents. Texts from outside are escaped here, as in `blocks`."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

import streamlit as st

from monitor.domain.alerting import NotifyReason, Silence, label
from monitor.domain.health import Health
from monitor.domain.incidents import Event, EventKind, Incident, OpenIncidents, Severity
from monitor.domain.inventory import Target
from monitor.domain.postmortem import EVENT_WORDS, WHO_MENDS, mtta, mttd, mttr, typical
from monitor.domain.taxonomy import Lane, Scope
from monitor.domain.timeline import to_ms
from monitor.domain.words import capital
from monitor.store.intents import Intent
from monitor.store.outbox import DeliveryRow, DeliveryState
from monitor.store.queries import TargetStatus
from monitor.ui import blocks
from monitor.ui.blocks import dash, lamp
from monitor.ui.format import MISSING, age, clock, escape, exact, link, local, number, plural, since, span, title, words
from monitor.ui.theme import look

_HEALTH = {Severity.CRITICAL: Health.FAILING, Severity.WARNING: Health.DEGRADED, Severity.INFO: Health.RESTRICTED}
_MOST_NAMES = 40
_MOST_LINES = 25
"""Of a timeline, before its answers are folded."""


def state(incident: Incident, *, silent: bool = False) -> str:
    """Its severity while it goes on, else how it ended, as a lamp that leads to it."""
    if incident.merged_into is not None:
        return lamp(Health.PAUSED, "merged")
    if not incident.open:
        return lamp(Health.HEALTHY, "over")
    if silent:
        return lamp(Health.UNKNOWN, f"was {incident.severity.value}")
    return lamp(_HEALTH[incident.severity], incident.severity.value)


def address(incident: Incident, window: str) -> str:
    """Where it is shown."""
    return link("incidents", incident=str(incident.id), window=window)


def hit(incident: Incident) -> str:
    """Who is hit, in a word or two."""
    if not incident.projects:
        return '<span class="soft">no project</span>'
    if len(incident.projects) <= 2:
        return escape(", ".join(incident.projects))
    return f'<span title="{escape(", ".join(incident.projects[:_MOST_NAMES]))}">{plural(len(incident.projects), "project")}</span>'


def _taken(incident: Incident, now: datetime) -> str:
    if incident.acknowledged_at is None:
        return '<span class="soft">nobody yet</span>' if incident.open else dash(None)
    when = escape(age(incident.acknowledged_at, now))
    return f'{escape(incident.acknowledged_by or "somebody")} <span class="soft nw">{when}</span>'


def _lasted(incident: Incident, now: datetime) -> str:
    return span(((incident.resolved_at or now) - incident.first_bad_at).total_seconds())


def table(incidents: Iterable[Incident], now: datetime, zone: tzinfo, window: str, *, silent: bool = False) -> None:
    """One row an incident."""
    rows = []
    for one in incidents:
        css = look(_HEALTH[one.severity]).css if one.open and not silent else ""
        again = (
            f' <span class="tag flag">came back{"" if one.reopened == 1 else f" {one.reopened} times"}</span>'
            if one.reopened
            else ""
        )
        merged = f" · explained by INC-{one.merged_into}" if one.merged_into is not None else ""
        named = f'<a href="{address(one, window)}" target="_self" class="{css}">{escape(one.title)}</a>'
        place = f"{escape(label(one))} · {escape(one.cause.scope.value)}"
        # On a telephone the other columns are left out.
        taken = one.acknowledged_by or ("somebody" if one.acknowledged_at else "nobody took it yet" if one.open else "")
        told = " · ".join(part for part in (hit(one), escape(_lasted(one, now)), escape(taken)) if part)
        changed = local(one.diagnosis.changed, now, zone) if one.open and one.diagnosis.changed else ""
        before = f"<small>Changed just before: {escape(changed)}</small>" if changed else ""
        rows.append(
            (
                state(one, silent=silent),
                f'{named}{again}<small>{place}{merged}<span class="more"> · {told}</span></small>{before}',
                hit(one),
                escape(clock(one.first_bad_at, now, zone)),
                escape(_lasted(one, now)),
                escape(capital(WHO_MENDS[one.diagnosis.owner])),
                _taken(one, now),
            )
        )
    columns = [
        ("State", "nw"),
        ("Incident", "name"),
        ("Who is hit", "less"),
        ("Since", "nw"),
        ("For", "nw less"),
        ("Who mends it", "less"),
        ("Taken by", "nw less"),
    ]
    blocks.table(columns, rows)


def as_rows(incidents: Iterable[Incident]) -> list[dict[str, object]]:
    """The same as data: one dictionary an incident, times in UTC, lengths in seconds."""
    return [
        {
            "incident": label(one),
            "title": one.title,
            "state": "merged" if one.merged_into is not None else "open" if one.open else "over",
            "severity": one.severity.value,
            "scope": one.cause.scope.value,
            "failure": one.failure.value,
            "first bad answer": one.first_bad_at,
            "opened": one.opened_at,
            "over": one.resolved_at,
            "MTTD s": _seconds(mttd(one)),
            "MTTA s": _seconds(mtta(one)),
            "MTTR s": _seconds(mttr(one)),
            "came back": one.reopened,
            "taken by": one.acknowledged_by,
            "who mends it": one.diagnosis.owner.value,
            "explained by": f"INC-{one.merged_into}" if one.merged_into is not None else None,
            "projects": " ".join(one.projects),
            "owners": " ".join(one.owners),
            "next step": one.diagnosis.next_step,
        }
        for one in incidents
    ]


def _seconds(length: timedelta | None) -> float | None:
    return None if length is None else length.total_seconds()


FEW = 8
"""Open incidents that are shown above what they explain; the rest is a link."""


def open_ones(incidents: Sequence[Incident], count: int, now: datetime, zone: tzinfo, window: str, *, silent: bool) -> None:
    """The worst of those that go on, above what they explain, and how many more; nothing where there are none."""
    if not incidents:
        return
    blocks.heading("Open before the silence" if silent else "Open incidents", "one for each cause, worst first")
    table(incidents[:FEW], now, zone, window, silent=silent)
    more(count - FEW, window)


def more(count: int, window: str, project: str | None = None) -> None:
    """A link to those that go on (in one project), where some are not shown."""
    if count > 0:
        address = link("incidents", window=window, project=project, open="1")
        blocks.show(f'<a href="{address}" target="_self">{plural(count, "more open incident")}</a>')


# --- the list --------------------------------------------------------------------------------------------------------------


def verdict(going: OpenIncidents, *, silent: bool) -> None:
    """One sentence for everything that is open."""
    many, free, projects = going.count, going.count - going.taken, going.projects
    then = ""
    if silent:
        first, css = "Nothing is known of incidents while the poller is silent.", "unknown"
        then = f"{capital(plural(many, 'incident'))} {'was' if many == 1 else 'were'} open before." if many else ""
    elif going.worst is None:
        first, css = "No incident is open.", "ok"
    else:
        first = f"{plural(many, 'incident')} {'is' if many == 1 else 'are'} open"
        first += f", hitting {plural(len(projects), 'project')}." if projects else "."
        css = look(_HEALTH[going.worst]).css
        nobody = "nobody has taken " + ("it" if many == 1 else "them" if free == many else f"{free:,} of them")
        then = (capital(nobody) if free else "Somebody has taken " + ("it" if many == 1 else "each of them")) + "."
    rest = f'<span class="then">{then}</span>' if then else ""
    blocks.show(f'<div class="verdict" role="status"><span class="{css}">{first}</span>{rest}</div>')


def figures(incidents: Sequence[Incident], many: tuple[int, int], window: str) -> None:
    """How many there were (and are), and how long it usually took: of all, or of those that are read of very many."""
    usual = typical(incidents)
    every, going = many
    of = "median" if len(incidents) >= every else f"median of {len(incidents):,}"
    blocks.figures(
        [
            (f"In the last {window}", number(every), f"{going:,} of them open"),
            ("Found after", _span(usual.mttd), f"from the first bad answer, {of} (MTTD)"),
            ("Taken after", _span(usual.mtta), f"from when it was open, {of} (MTTA)"),
            ("Over after", _span(usual.mttr), f"from the first bad answer, {of} (MTTR)"),
        ]
    )


def _span(length: timedelta | None) -> str:
    return MISSING if length is None else span(length.total_seconds())


def about(silence: Silence) -> str:
    """What a silence is about."""
    parts = [
        f"INC-{silence.incident_id}" if silence.incident_id is not None else "",
        f"project {silence.project}" if silence.project else "",
        f"owner {silence.owner}" if silence.owner else "",
        f"environment {silence.environment}" if silence.environment else "",
        f"lane {silence.lane.value}" if silence.lane else "",
    ]
    return ", ".join(part for part in parts if part) or "everything"


def silence_line(silence: Silence, now: datetime, zone: tzinfo) -> str:
    """Who wants quiet about what, until when and why."""
    why = f": {escape(silence.text)}" if silence.text else ""
    left = span((silence.ends - now).total_seconds())
    return (
        f"<b>{escape(capital(about(silence)))}</b> is silenced until {escape(clock(silence.ends, now, zone))} "
        f'<span class="soft">({escape(left)} more)</span> by {escape(silence.by)}{why}'
    )


_ASKED = {
    "acknowledge": "acknowledge it",
    "comment": "add a comment",
    "silence": "silence it",
    "end_silence": "end a silence",
    "probe_now": "check now",
}


def waiting(asked: Sequence[Intent], *, silent: bool) -> None:
    """What was asked for and is not carried out yet."""
    if asked:
        said = "; ".join(f"{_ASKED.get(each.kind, words(each.kind))}, by {each.by}" for each in asked[:5])
        when = "carried out when the poller runs again" if silent else "carried out within seconds"
        blocks.show(f'<div class="note">Asked for: {escape(said)} – {when}.</div>')


# --- one incident ----------------------------------------------------------------------------------------------------------


def head(one: Incident, now: datetime, zone: tzinfo, window: str, *, silent: bool) -> None:
    """Its name, and one sentence of where it stands."""
    css = "unknown" if silent and one.open else look(_HEALTH[one.severity]).css if one.open else "ok"
    lasted = _lasted(one, now)
    who = f"{plural(len(one.projects), 'project')} hit" if one.projects else "Going on"
    if one.merged_into is not None:
        whole = (
            f'<a href="{link("incidents", incident=str(one.merged_into), window=window)}" target="_self">INC-{one.merged_into}</a>'
        )
        css, then = "unknown", f"A wider incident explains it, and speaks for it: {whole}."
    elif one.resolved_at is not None:
        then = f"Over since {escape(clock(one.resolved_at, now, zone))}; it lasted {escape(lasted)}."
    else:
        taken = f"{one.acknowledged_by or 'somebody'} has taken it" if one.acknowledged_at else "nobody has taken it yet"
        began = since(one.first_bad_at, now, zone)
        then = escape(f"{'Before the silence: ' if silent else ''}{who} {began}; {taken}.")
    again = (
        f'<span class="tag flag">came back {"once" if one.reopened == 1 else f"{one.reopened} times"}</span>'
        if one.reopened
        else ""
    )
    back = f'<a href="{link("incidents", window=window)}" target="_self">All incidents</a>'
    blocks.show(
        f'<div class="facts" style="margin:0 0 .5rem">{back}<span>{escape(label(one))}</span>{state(one, silent=silent)}'
        f'<span class="soft">{escape(one.failure.value)}</span>{again}</div>'
        f'<div class="verdict" role="status"><span class="{css}">{escape(one.title)}</span><span class="then">{then}</span></div>'
    )


def card(one: Incident, targets: Sequence[TargetStatus], now: datetime, zone: tzinfo, window: str, *, silent: bool = False) -> None:
    """The diagnosis. `targets` are those of its project, where it is only one."""
    project = one.projects[0] if len(one.projects) == 1 else None
    blocks.show(_card(one, targets, now, zone, window, project, silent=silent))


def cards(
    open_ones: Iterable[Incident],
    targets: Sequence[TargetStatus],
    now: datetime,
    zone: tzinfo,
    window: str,
    project: str | None = None,
    *,
    silent: bool,
) -> list[str]:
    """What open incidents say (of a project, or each of those it hits), as it was found when they opened: the newest answer need
    not be a bad one.
    """
    said = []
    for one in open_ones:
        taken = f"{one.acknowledged_by or 'somebody'} has taken it" if one.acknowledged_at else "nobody has taken it yet"
        whose = "" if project else f"<b>{hit(one)}</b>"
        named = f"{state(one, silent=silent)}{whose}"
        only = project or (one.projects[0] if len(one.projects) == 1 else None)
        last = f'<span class="soft">{escape(taken)}</span>'
        said.append(_card(one, targets, now, zone, window, only, named, last, silent=silent))
    return said


def explains(one: Incident, target: Target, lane: Lane) -> bool:
    """Whether a check of this lane is ill because of the incident."""
    if one.cause.lane is not lane or f"{target.project}/{target.key}" not in one.keys:
        return False
    return one.cause.scope is not Scope.MODEL or target.model in one.models


def _newest(one: Incident, targets: Sequence[TargetStatus]) -> TargetStatus | None:
    """The check whose bad answer for this cause is the newest."""
    theirs = [each for each in targets if each.last_failure is one.failure and explains(one, each.target, one.failure.lane)]
    return max(theirs, key=lambda each: each.last_at or one.opened_at, default=None)


def _card(
    one: Incident,
    targets: Sequence[TargetStatus],
    now: datetime,
    zone: tzinfo,
    window: str,
    project: str | None,
    named: str = "",
    taken: str = "",
    *,
    silent: bool,
) -> str:
    said = blocks.here(one.diagnosis, now, zone)
    lines = [line for line in said.evidence if not (said.changed and said.changed in line)]  # that is told by itself
    said = said if named else replace(said, changed=None)  # there it has a part of the page
    proof = f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"
    proof = f"<details><summary>what this rests on</summary>{proof}</details>" if named else proof
    colour = look(_HEALTH[one.severity]).css if one.open and not silent else "unknown"
    raw = blocks.raw_answers(window, project=project, failure=one.failure.value)
    began = capital(since(one.first_bad_at, now, zone).removeprefix("since "))
    last_good = f"; last well {age(one.last_good_at, now)}" if one.last_good_at else ""
    heals = f"<dt>Since</dt><dd>{escape(began)}{escape(last_good)}</dd>" if named else ""
    if one.open:
        heals += f"<dt>By itself?</dt><dd>{escape(blocks.passes(one.failure, _newest(one, targets), now, zone))}</dd>"
    where = (
        f'<div class="where">{named}<a href="{address(one, window)}" target="_self">{escape(label(one))}</a>'
        f'<span class="soft">{escape(one.failure.value)}</span>{taken}</div>'
        if named
        else ""
    )
    return (
        f'<div class="card" style="--c:var(--{colour})">{where}<h3>{blocks.inline(said.summary)}</h3><dl>'
        f"{blocks.said_rows(said)}{heals}<dt>Evidence</dt><dd>{proof}{raw}</dd></dl></div>"
    )


def times(one: Incident, now: datetime, zone: tzinfo) -> None:
    """The numbers that are counted."""
    goes_on = f"{_lasted(one, now)} so far" if one.open else MISSING
    acknowledged = f"by {one.acknowledged_by}, {clock(one.acknowledged_at, now, zone)}" if one.acknowledged_at else "nobody has"
    blocks.figures(
        [
            ("Found after (MTTD)", _span(mttd(one)), f"first bad answer {exact(one.first_bad_at, now, zone)}"),
            (
                "Cause named after",
                _span(one.named_at - one.first_bad_at) if one.named_at else MISSING,
                f"opened {exact(one.opened_at, now, zone)}",
            ),
            ("Taken after (MTTA)", _span(mtta(one)), acknowledged),
            (
                "Over after (MTTR)",
                _span(mttr(one)) if one.resolved_at else goes_on,
                f"over {exact(one.resolved_at, now, zone)}" if one.resolved_at else f"{plural(one.ill, 'check')} ill now",
            ),
            (
                "Last good answer",
                clock(one.last_good_at, now, zone) if one.last_good_at else MISSING,
                age(one.last_good_at, now) if one.last_good_at else "none is known",
            ),
        ]
    )


def who(one: Incident, window: str) -> None:
    """Everybody who is or was hit."""
    groups: list[tuple[str, tuple[str, ...], Callable[[str, str], str]]] = [
        ("Projects", one.projects, _project),
        ("Services", one.services, _plain),
        ("Owners", one.owners, _plain),
        ("Environments", one.environments, _plain),
        ("Keys", one.keys, _key),
        ("Models", one.models, _plain),
    ]
    rows = "".join(f"<span>{name}</span><div>{_names(names, shown, window)}</div>" for name, names, shown in groups if names)
    blocks.show(
        f'<div class="tree narrow">{rows}</div>' if rows else '<span class="soft">No project: only the monitor’s own checks.</span>'
    )


def _plain(name: str, _: str) -> str:
    return escape(name)


def _project(name: str, window: str) -> str:
    return f'<a href="{link("project", project=name, window=window)}" target="_self">{escape(name)}</a>'


def _key(name: str, window: str) -> str:
    project, _, key = name.partition("/")
    where = link("evidence", project=project, key=key, verdict="failed", window=window)
    return f'<a href="{where}" target="_self">{escape(name)}</a>'


def _names(names: Sequence[str], shown: Callable[[str, str], str], window: str) -> str:
    """The first as links, the rest folded and without: two thousand links are sent again with every look."""
    first = ", ".join(shown(name, window) for name in names[:_MOST_NAMES])
    rest = names[_MOST_NAMES:]
    return first + (f"<details><summary>and {len(rest):,} more</summary>{escape(', '.join(rest))}</details>" if rest else "")


_MARKS = {
    EventKind.OPENED: "failing",
    EventKind.WIDENED: "failing",
    EventKind.REOPENED: "failing",
    EventKind.CAUSE: "degraded",
    EventKind.RESOLVED: "ok",
    EventKind.ACKNOWLEDGED: "restricted",
    EventKind.COMMENT: "restricted",
    EventKind.SILENCED: "restricted",
    EventKind.CHANGE: "degraded",
}


def timeline(events: Sequence[Event], now: datetime, zone: tzinfo) -> None:
    """What happened, newest first."""
    if not events:
        blocks.empty("Nothing was written down yet.", "What happens to it, and who does what, is told here.")
        return
    told = [event for event in events if event.kind not in (EventKind.CHECK, EventKind.HEALTH)]
    if len(events) <= _MOST_LINES or not told:
        _lines(events, now, zone)
        return
    # The many answers of a wide outage would bury what was done about it.
    _lines(told, now, zone)
    with st.expander("With every answer and change of health"):
        _lines(events, now, zone)


def _lines(events: Sequence[Event], now: datetime, zone: tzinfo) -> None:
    rows = [
        (
            f'<span class="soft">{escape(exact(event.at, now, zone))}</span>',
            f'<span class="{_MARKS.get(event.kind, "soft")}">{escape(capital(EVENT_WORDS[event.kind]))}</span>',
            f"<b>{escape(event.by)}</b>" if event.by else '<span class="soft">monitor</span>',
            (f'<b class="more">{escape(event.by)}: </b>' if event.by else "")
            + f'<span class="said">{escape(local(event.text, now, zone))}</span>',
        )
        for event in reversed(events)
    ]
    blocks.table([("When", "nw"), ("What", "nw"), ("Who", "nw less"), ("", "")], rows)


def evidence(frozen: Mapping[str, object], now: datetime, zone: tzinfo) -> None:
    """What was frozen when it opened."""
    errors = [each for each in _list(frozen.get("errors")) if isinstance(each, dict)]
    if errors:
        blocks.table(
            [
                ("Failure", ""),
                ("HTTP", "r"),
                ("Code", ""),
                ("In OpenAI’s words", ""),
                ("Count", "r"),
                ("Last", "nw"),
                ("Request ids", ""),
            ],
            [_error(each, now, zone) for each in errors],
            css="stack",
        )
    else:
        blocks.empty("No error was frozen.", "It opened without a failed answer of its own.")
    facts = []
    for name, heading in (("first_bad", "First bad answer"), ("last_good", "Last good answer")):
        answer = frozen.get(name)
        if isinstance(answer, dict):
            facts.append(f'<div><div class="sub">{heading} {_raw(answer)}</div>{_answer(answer, now, zone)}</div>')
        else:
            facts.append(f'<div><div class="sub">{heading}</div><span class="soft">None is known.</span></div>')
    blocks.show(f'<div class="pair">{"".join(facts)}</div>')


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _error(each: Mapping[str, Any], now: datetime, zone: tzinfo) -> tuple[str, ...]:
    ids = [
        f'<a href="{link("evidence", request_id=str(one), window="30d")}" target="_self" class="mono">{escape(one)}</a>'
        for one in _list(each.get("request_ids"))
    ]
    more = f"<details><summary>{len(ids) - 2} more</summary>{'<br>'.join(ids[2:])}</details>" if len(ids) > 2 else ""
    return (
        f"{dash(title(each.get('failure')))}",
        dash(each.get("status")),
        f'<span class="mono">{dash(each.get("code"))}</span>',
        dash(each.get("message")),
        dash(each.get("count")),
        escape(_when(each.get("last"), now, zone)),
        "<br>".join(ids[:2]) + more or dash(None),
    )


def _when(value: object, now: datetime, zone: tzinfo) -> str:
    at = _moment(value)
    return exact(at, now, zone) if at else MISSING if value is None else str(value)


def _moment(value: object) -> datetime | None:
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return at.replace(tzinfo=UTC) if at is not None and at.tzinfo is None else at


def _raw(answer: Mapping[str, Any]) -> str:
    at, target = _moment(answer.get("at")), answer.get("target_id")
    if at is None or not isinstance(target, int):
        return ""
    return f'<a href="{link("evidence", target=str(target), at=str(to_ms(at)))}" target="_self">Raw answer</a>'


_NOT_SHOWN = frozenset({"target_id", "limits", "body"})


def _answer(answer: Mapping[str, Any], now: datetime, zone: tzinfo) -> str:
    rows = []
    for name, value in answer.items():
        if name not in _NOT_SHOWN and value not in (None, "", [], {}):
            shown = _when(value, now, zone) if name == "at" else said(value)
            rows.append(f"<span>{escape(capital(words(str(name))))}</span><div>{escape(shown)}</div>")
    return f'<div class="tree narrow">{"".join(rows)}</div>'


def said(value: object) -> str:
    """A stored value in a line."""
    if isinstance(value, dict):
        return ", ".join(f"{words(str(name))} {said(held)}" for name, held in value.items() if held is not None) or MISSING
    if isinstance(value, list):
        return ", ".join(said(each) for each in value) or MISSING
    return MISSING if value is None else f"{value:,.0f}" if isinstance(value, float) else str(value)


def limits(frozen: Mapping[str, object], now: datetime, zone: tzinfo) -> None:
    """The limits that were in force when it opened, as the last answers before had said."""
    rows = []
    for said_by in _list(frozen.get("limits")):
        for each in _list(said_by.get("limits")) if isinstance(said_by, dict) else []:
            if not isinstance(each, dict):
                continue
            window = f" / {said(each['window'])} s" if each.get("window") is not None else ""
            rows.append(
                (
                    dash(said_by.get("project")),
                    dash(said_by.get("key")),
                    f'<span class="mono">{dash(said_by.get("model"))}</span>',
                    dash(each.get("bucket")),
                    _count(each.get("limit")) + escape(window),
                    _count(each.get("remaining")),
                    escape(_when(said_by.get("at"), now, zone)),
                )
            )
    if rows:
        columns = [("Project", ""), ("Key", ""), ("Model", "nw"), ("Limit of", "nw"), ("Limit", "r nw"), ("Remaining", "r nw")]
        blocks.table([*columns, ("Said", "r nw")], rows, css="stack")
    else:
        blocks.show('<span class="soft">No limit of those who were hit was known then.</span>')


def _count(value: object) -> str:
    return escape(number(value)) if isinstance(value, (int, float)) else dash(None)


def deliveries(rows: Sequence[DeliveryRow], now: datetime, zone: tzinfo) -> None:
    """Who was told what, or why nobody was."""
    if not rows:
        blocks.empty(
            "Nobody was told, and nothing was decided yet.",
            "Name <code>[[channels]]</code> and <code>[[routes]]</code> in <code>monitor.toml</code> to be told by Slack, e-mail "
            "and others.",
        )
        return
    blocks.table(
        [("When", "nw"), ("Channel", "nw"), ("State", "nw"), ("Message", ""), ("Why", "")],
        [_delivery(row, now, zone) for row in rows],
        css="stack",
    )


_REASONS = {
    NotifyReason.FIRST: "first message",
    NotifyReason.WORSENED: "it got worse",
    NotifyReason.RESOLVED: "it is over",
    NotifyReason.NEVER_SENT: "nothing to take back",
}
_STATES = {
    DeliveryState.DELIVERED: Health.HEALTHY,
    DeliveryState.TOGETHER: Health.HEALTHY,
    DeliveryState.WAITING: Health.UNKNOWN,
    DeliveryState.FAILED: Health.FAILING,
    DeliveryState.NOT_SENT: Health.PAUSED,
}


def _delivery(row: DeliveryRow, now: datetime, zone: tzinfo) -> tuple[str, ...]:
    why = local(row.text or "", now, zone)
    return (
        f'<span class="soft">{escape(exact(row.at, now, zone))}</span>',
        f"<b>{escape(row.channel)}</b>",
        lamp(_STATES[row.state], words(row.state)),
        dash(local(row.subject or "", now, zone)),
        f"{escape(capital(_REASONS.get(row.reason, words(row.reason))))}{f': {escape(why)}' if why else ''}",
    )
