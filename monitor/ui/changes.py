"""Pieces of pages about what changed. Texts from outside are escaped here, as in `blocks`."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta, tzinfo

from monitor.domain.alerting import label
from monitor.domain.changes import ChangeEvent, ChangeKind, family_of
from monitor.domain.incidents import Incident, IncidentRecord
from monitor.domain.organization import NO_ADMIN_KEY, TENANT_LOG, Gap
from monitor.domain.postmortem import FITS, not_known
from monitor.domain.timeline import Window
from monitor.domain.what_changed import AFTER, BEFORE, LONGEST, SOURCES, Explanation, Strength, happened, ranked
from monitor.domain.words import capital
from monitor.ui import blocks
from monitor.ui.blocks import dash
from monitor.ui.format import clock, escape, exact, link, local, plural, span
from monitor.ui.incidents import address

_MARKS = {
    Strength.PROOF: ("failing", "✖"),
    Strength.STRONG: ("degraded", "▲"),
    Strength.POSSIBLE: ("restricted", "◐"),
    Strength.ALSO: ("unknown", "○"),
}
_SIGNS = {
    ChangeKind.MODEL_REMOVED: "−",
    ChangeKind.MODEL_DELISTED: "−",
    ChangeKind.MODEL_ADDED: "+",
    ChangeKind.MODEL_LISTED: "+",
    ChangeKind.TOOL_DISABLED: "−",
    ChangeKind.TOOL_ENABLED: "+",
    ChangeKind.KEY_DELETED: "−",
    ChangeKind.KEY_CREATED: "+",
    ChangeKind.SERVICE_ACCOUNT_DELETED: "−",
    ChangeKind.SERVICE_ACCOUNT_CREATED: "+",
}
"""Of what came or went."""
_STEP = re.compile(r"(?:(?<=: )|(?<=; )|(?<=^))[^;:“”]{0,80}?\S+ → [^;:“”]{1,80}?(?=;|\.?$)")
_EXPLAINS = {Strength.PROOF: "explains", Strength.STRONG: "likely explains", Strength.POSSIBLE: "may explain", Strength.ALSO: ""}
_SHOWN = 6
_MOST_ALSO = 50
_MOST_BROKEN = 3

NEEDS_KEY = (
    "Name an <code>[[organizations]]</code> with a read-only <code>admin_key</code> in <code>monitor.toml</code> to see who "
    "changed keys, limits, models and members at OpenAI."
)


def mark(strength: Strength, href: str = "", words: str = "") -> str:
    """How well a change explains an incident: colour, shape and word."""
    css, shape = _MARKS[strength]
    inner = f'<i aria-hidden="true">{shape}</i> <em>{escape(words or FITS[strength])}</em>'
    if href:
        return f'<a class="lamp {css}" href="{href}" target="_self">{inner}</a>'
    return f'<span class="lamp {css}">{inner}</span>'


def told(event: ChangeEvent, text: str | None = None) -> str:
    """A change as a sentence, with what was and what is now set apart: `10,000 → 100 requests a minute`."""
    said = text or event.text
    parts, last = [], 0
    for found in _STEP.finditer(said):
        parts += [escape(said[last : found.start()]), f'<span class="chip">{escape(found[0].strip())}</span>']
        last = found.end()
    sign = _SIGNS.get(event.kind)
    what = event.model or (event.key if event.kind is not ChangeKind.TOOL_DISABLED else None)
    chip = f' <span class="chip {"gone" if sign == "−" else "came"}">{sign} {escape(what)}</span>' if sign and what else ""
    return "".join(parts) + escape(said[last:]) + chip


# --- one incident ----------------------------------------------------------------------------------------------------------


def around(record: IncidentRecord, now: datetime, zone: tzinfo, window: str) -> None:
    """What changed around an incident, the best explanation first, and what of that cannot be known."""
    found = ranked(record.incident, record.changed)
    blocks.heading(
        "What changed just before", "from 30 minutes before to 5 minutes after the first bad answer, best explanation first"
    )
    good = [each for each in found if each.strength > Strength.ALSO]
    also = [each for each in found if each.strength is Strength.ALSO]
    gaps = not_known(record)
    if good:
        blocks.show("".join(_explanation(each, now, zone) for each in good[:_SHOWN]))
        if len(good) > _SHOWN:
            blocks.show(f'<span class="soft">and {plural(len(good) - _SHOWN, "weaker explanation")}.</span>')
    elif also:
        blocks.show('<div class="soft">Nothing that is known to have changed explains it.</div>')
    elif gaps:
        missing = any(gap.reason == NO_ADMIN_KEY for gap in record.gaps)
        blocks.empty(
            "Nothing is known to have changed here.",
            NEEDS_KEY if missing else escape(" ".join(local(line, now, zone) for line in gaps)),
        )
        gaps = []
    else:
        blocks.empty(
            "Nothing changed.",
            "Neither OpenAI’s record of the organization nor this monitor’s configuration shows any change then.",
        )
    if also:
        rows = "".join(_explanation(each, now, zone) for each in also[:_MOST_ALSO])
        more = f'<span class="soft">and {len(also) - _MOST_ALSO:,} more</span>' if len(also) > _MOST_ALSO else ""
        opened = "" if good else " open"
        blocks.show(f"<details{opened}><summary>Also changed: {plural(len(also), 'thing')}</summary>{rows}{more}</details>")
    if gaps:
        lines = "".join(f"<div>Not known: {escape(local(line, now, zone))}</div>" for line in gaps[:_SHOWN])
        blocks.show(f'<div class="note">{lines}</div>')
    if found:
        feed = link("changes", window=window, project=record.incident.projects[0] if len(record.incident.projects) == 1 else None)
        blocks.show(f'<a href="{feed}" target="_self">Everything that changed</a>')


def _explanation(each: Explanation, now: datetime, zone: tzinfo) -> str:
    why = f"{escape(capital(each.why))}. " if each.why else ""
    return (
        f'<div class="why"><div>{mark(each.strength)}</div><div>{told(each.event, local(each.text, now, zone))}'
        f"<small>{why}How it is known: {escape(SOURCES[each.event.source])}.</small></div></div>"
    )


# --- the feed --------------------------------------------------------------------------------------------------------------


def verdict(
    count: int, began: Sequence[Incident], window: str, page_window: str, now: datetime, zone: tzinfo, *, silent: bool = False
) -> str:
    """How much changed, and what of it broke something."""
    broke = [each for each in began if each.diagnosis.changed]
    first = f"{capital(plural(count, 'change'))} in the last {window}." if count else f"Nothing changed in the last {window}."
    if not count and not broke and silent:
        first = f"No change is known in the last {window}: the poller is silent."
        return f'<div class="verdict" role="status"><span class="unknown">{escape(first)}</span></div>'
    if not count and not broke:
        return f'<div class="verdict" role="status"><span>{escape(first)}</span></div>'
    if not broke:
        then = "None of them is known to have broken anything."
    else:
        # Incidents are counted: one change may have led to several, and an earlier one to what is still open.
        caused = "incident is explained by a change" if len(broke) == 1 else "incidents are explained by changes"
        many = f"{len(broke):,} {caused}" if count else "Something broke because of an earlier one"
        lines = [
            f'<a href="{address(each, page_window)}" target="_self">{escape(label(each))}</a> '
            f"{escape(local(each.diagnosis.changed or '', now, zone))}"
            for each in broke[:_MOST_BROKEN]
        ]
        more = f" And {plural(len(broke) - _MOST_BROKEN, 'more incident')}." if len(broke) > _MOST_BROKEN else ""
        then = f"{many}: " + "<br>".join(lines) + more
    css = "failing" if any(each.open for each in broke) else ""
    return f'<div class="verdict" role="status"><span class="{css}">{escape(first)}</span><span class="then">{then}</span></div>'


def span_of(events: Iterable[ChangeEvent]) -> Window | None:
    """When incidents began that these changes may have led to."""
    times = [happened(event) for event in events]
    if not times:
        return None
    return Window(min(first for first, _ in times) - AFTER, max(last for _, last in times) + BEFORE + timedelta(hours=1))


def broken_by(events: Sequence[ChangeEvent], incidents: Sequence[Incident]) -> Mapping[int, list[tuple[Incident, Explanation]]]:
    """For each change (by its place) the incidents that it may explain, the best explained first."""
    found: dict[int, list[tuple[Incident, Explanation]]] = {}
    for place, event in enumerate(events):
        first, last = happened(event)
        those = []
        for incident in incidents:
            if first - AFTER > incident.first_bad_at or incident.first_bad_at > last + BEFORE or last - first > LONGEST:
                continue
            those += [(incident, each) for each in ranked(incident, [event])]
        if those:
            found[place] = sorted(those, key=lambda one: (-one[1].strength, -one[1].score, one[0].id or 0))
    return found


def feed(
    events: Sequence[ChangeEvent],
    broke: Mapping[int, list[tuple[Incident, Explanation]]],
    now: datetime,
    zone: tzinfo,
    window: str,
) -> None:
    """The changes under the days on which they happened, newest first."""
    today = now.astimezone(zone).date()
    rows: list[tuple[str, ...]] = []
    day: date | None = None
    for place, event in enumerate(events):
        there = event.at.astimezone(zone).date()
        if there != day:
            _table(rows)
            rows, day = [], there
            blocks.heading(_day(there, today))
        rows.append(_row(event, broke.get(place, []), now, zone, window))
    _table(rows)


def _table(rows: Sequence[tuple[str, ...]]) -> None:
    if rows:
        names = ("When", "What changed", "Where", "Who", "How it is known", "Incidents")
        columns = [(name, "") for name in names]
        blocks.table(columns, rows, css="feed stack")


def _day(there: date, today: date) -> str:
    if there == today:
        return "Today"
    if there == today - timedelta(days=1):
        return "Yesterday"
    return f"{there:%A} {there.day} {there:%B}" + (f" {there:%Y}" if there.year != today.year else "")


def _row(
    event: ChangeEvent, broke: Sequence[tuple[Incident, Explanation]], now: datetime, zone: tzinfo, window: str
) -> tuple[str, ...]:
    first, last = happened(event)
    when = f"{last.astimezone(zone):%H:%M:%S}"
    if first < last:
        when = f"{last.astimezone(zone):%H:%M}<small>after {escape(clock(first, last, zone))}</small>"
    where = blocks.project_link(event.project, window) if event.project else escape(event.project_id or "")
    links = []
    for one, each in broke[:_MOST_BROKEN]:
        fits = _EXPLAINS[each.strength]
        links.append(mark(each.strength, address(one, window), f"{fits} {label(one)}" if fits else f"{label(one)} began"))
    if len(broke) > _MOST_BROKEN:
        links.append(f'<span class="soft">and {len(broke) - _MOST_BROKEN:,} more</span>')
    return (
        f'<span title="{escape(exact(last, now, zone))}">{when}</span>',
        f'<span class="tag">{escape(family_of(event.kind).value)}</span> {told(event, local(event.text, now, zone))}',
        where or '<span class="soft">everybody</span>',
        dash(event.actor),
        f'<span class="soft">{escape(capital(SOURCES[event.source]))}</span>',
        "<br>".join(links),
    )


def not_all(gaps: Sequence[Gap], read_at: datetime | None, now: datetime, zone: tzinfo) -> str:
    """What the feed cannot know, as a note; empty where it knows everything."""
    if any(gap.reason == NO_ADMIN_KEY for gap in gaps):
        return f'<div class="note">Only what changed in this monitor and in OpenAI’s list of models is known. {NEEDS_KEY}</div>'
    lines = []
    for gap in gaps[:3]:
        since = f" since {clock(gap.since, now, zone)}" if gap.since else ""
        part = {"audit_log": "The audit log", TENANT_LOG: "The tenant’s audit log"}.get(
            gap.part, capital(gap.part.replace("_", " "))
        )
        whose = f" of {gap.project}" if gap.project else ""
        lines.append(f"{part}{whose} cannot be read{since}: {gap.reason}.")
    if len(gaps) > 3:
        lines.append(f"And {plural(len(gaps) - 3, 'more part')} of the record.")
    if read_at is not None and now - read_at > timedelta(hours=3):
        lines.append(f"The record was last read to its end {span((now - read_at).total_seconds())} ago.")
    if not lines:
        return ""
    return f'<div class="note">Not everything is known. {escape(" ".join(lines))}</div>'
