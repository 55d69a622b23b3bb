"""An incident as it leaves the monitor: Markdown to write a post-mortem from, JSON for other tools, and the times that are counted.

Pure. Texts from outside stand in code spans and fences, so that none of them becomes a heading, a link or a picture. Times are UTC.
"""

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from statistics import median

from monitor.domain.alerting import label
from monitor.domain.incidents import Event, EventKind, Incident, IncidentRecord
from monitor.domain.organization import NO_ADMIN_KEY, TENANT_LOG, Gap
from monitor.domain.taxonomy import KINDS, Owner
from monitor.domain.what_changed import SOURCES, Explanation, Strength, happened, ranked
from monitor.domain.words import capital, clock, duration

WHO_MENDS = {
    Owner.SERVICE: "whoever runs the service",
    Owner.KEY_OWNER: "the key's owner",
    Owner.PROJECT_ADMIN: "an administrator of the project",
    Owner.ORGANIZATION_OWNER: "an owner of the organization",
    Owner.BILLING: "whoever pays the bills",
    Owner.NETWORK: "the network team",
    Owner.OPENAI: "OpenAI",
    Owner.MONITOR: "whoever runs this monitor",
}
EVENT_WORDS = {
    EventKind.OPENED: "opened",
    EventKind.WIDENED: "widened",
    EventKind.CAUSE: "cause changed",
    EventKind.EXPERIMENT: "experiment",
    EventKind.ACKNOWLEDGED: "acknowledged",
    EventKind.SILENCED: "silenced",
    EventKind.COMMENT: "comment",
    EventKind.NOTIFIED: "message sent",
    EventKind.NOT_NOTIFIED: "no message",
    EventKind.MERGED: "merged",
    EventKind.RESOLVED: "resolved",
    EventKind.REOPENED: "reopened",
    EventKind.CHECK: "answered",
    EventKind.HEALTH: "health",
    EventKind.CHANGE: "changed",
}

# Times --------------------------------------------------------------------------------------------------------------------------


def mttd(incident: Incident) -> timedelta:
    """Time to detect: from the first bad answer until the incident was open."""
    return incident.opened_at - incident.first_bad_at


def mtta(incident: Incident) -> timedelta | None:
    """Time to acknowledge: from open until somebody took it; None where nobody has."""
    return incident.acknowledged_at - incident.opened_at if incident.acknowledged_at else None


def mttr(incident: Incident) -> timedelta | None:
    """Time to recover: from the first bad answer until it was over; None while it goes on."""
    return incident.resolved_at - incident.first_bad_at if incident.resolved_at else None


@dataclass(frozen=True, slots=True)
class Typical:
    """The medians of several incidents; None where none of them got so far."""

    mttd: timedelta | None
    mtta: timedelta | None
    mttr: timedelta | None


def typical(incidents: Iterable[Incident]) -> Typical:
    """How long it usually takes, without those that were merged: another one counts for them."""
    counted = [each for each in incidents if each.merged_into is None]
    return Typical(*(_median(map(each, counted)) for each in (mttd, mtta, mttr)))


def _median(lengths: Iterable[timedelta | None]) -> timedelta | None:
    known = [length.total_seconds() for length in lengths if length is not None]
    return timedelta(seconds=median(known)) if known else None


# Markdown -----------------------------------------------------------------------------------------------------------------------


def markdown(record: IncidentRecord) -> str:
    """The incident as a document to write a post-mortem from."""
    one, said = record.incident, record.incident.diagnosis
    parts = [
        f"# {label(one)}: {_plain(one.title)}",
        _plain(said.summary),
        _table(("", ""), _facts(one)),
        "## What happened",
        f"**Cause, {said.confidence.value}:** {_plain(said.cause)}",
        f"**Next step:** {_plain(said.next_step)}",
        f"**Who mends it:** {WHO_MENDS[said.owner]}",
        "\n".join(f"- {_code(line)}" for line in said.evidence),
        "## What changed just before",
        *_changed(record),
        "## Who was hit",
        _table(("", ""), _hit(one)),
        "## Timeline",
        _table(("When (UTC)", "What", "Who", ""), (_event(event) for event in record.events))
        if record.events
        else "Nothing was written down.",
        "## Evidence",
        *_evidence(record.evidence),
        "## Lessons and actions",
        "- What went well:\n- What went badly:\n- Where we were lucky:\n- [ ] Action, owner, date:",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _facts(one: Incident) -> list[tuple[str, str]]:
    facts = [
        ("State", "merged into " + f"INC-{one.merged_into}" if one.merged_into else "open" if one.open else "resolved"),
        ("Severity", one.severity.value),
        ("Failure", f"{KINDS[one.failure].title} ({_code(one.failure.value)})"),
        ("Scope", one.cause.scope.value + (f" {_code(one.cause.subject)}" if one.cause.subject else "")),
        ("Last good answer", _when(one.last_good_at)),
        ("First bad answer", _when(one.first_bad_at)),
        ("Opened", _when(one.opened_at)),
        ("Cause named", _when(one.named_at)),
        ("Acknowledged", _when(one.acknowledged_at) + (f" by {_plain(one.acknowledged_by)}" if one.acknowledged_by else "")),
        ("Resolved", _when(one.resolved_at)),
        ("Reopened", "once" if one.reopened == 1 else f"{one.reopened} times" if one.reopened else ""),
        ("MTTD (first bad answer to open)", _span(mttd(one))),
        ("MTTA (open to acknowledged)", _span(mtta(one)) or "nobody has"),
        ("MTTR (first bad answer to over)", _span(mttr(one)) or ("goes on" if one.open else "")),
    ]
    return [(name, value) for name, value in facts if value]


def _hit(one: Incident) -> list[tuple[str, str]]:
    groups = (
        ("Projects", one.projects),
        ("Services", one.services),
        ("Owners", one.owners),
        ("Environments", one.environments),
        ("Keys", one.keys),
        ("Models", one.models),
    )
    found = [(f"{name} ({len(each):,})", ", ".join(_code(name) for name in each)) for name, each in groups if each]
    return found or [("Projects", "none: only the monitor's own questions")]


def _event(event: Event) -> tuple[str, str, str, str]:
    return (
        f"{event.at.astimezone(UTC):%Y-%m-%d %H:%M:%S}",
        EVENT_WORDS[event.kind],
        _plain(event.by or "monitor"),
        _plain(event.text),
    )


FITS = {
    Strength.PROOF: "explains it",
    Strength.STRONG: "likely explains it",
    Strength.POSSIBLE: "may explain it",
    Strength.ALSO: "also changed",
}
"""How well a change explains an incident, in words."""
MOST_CHANGES = 50


def _changed(record: IncidentRecord) -> list[str]:
    found = ranked(record.incident, record.changed)
    parts = []
    if found:
        rows = [
            (FITS[each.strength], _plain(each.text) + (f" ({_plain(each.why)})" if each.why else ""), SOURCES[each.event.source])
            for each in found[:MOST_CHANGES]
        ]
        parts.append(_table(("", "What", "How it is known"), rows))
        if len(found) > MOST_CHANGES:
            parts.append(f"… and {len(found) - MOST_CHANGES:,} more.")
    else:
        parts.append("Nothing that is known of, from 30 minutes before to 5 minutes after.")
    return [*parts, *(f"Not known: {_plain(line)}" for line in not_known(record))]


def not_known(record: IncidentRecord) -> list[str]:
    """What cannot be known of what changed, as sentences."""
    gaps, began = record.gaps, record.incident.first_bad_at
    lines = [_gap(gap) for gap in gaps]
    if record.record_read_at is not None and record.record_read_at < began:
        lines.append(f"The organization's record was read to its end {clock(record.record_read_at)}, before this began.")
    elif record.record_read_at is None and not gaps:
        lines.append("The organization's record has not been read to its end yet.")
    return lines


_PARTS = {"audit_log": "the audit log", TENANT_LOG: "the tenant's audit log", "calendar": "dates"}


def _gap(gap: Gap) -> str:
    """`The audit log cannot be read since …: the admin key lacks …`."""
    if gap.since is None and gap.reason == NO_ADMIN_KEY:
        return "What changed at OpenAI, for no admin key is configured."
    part = _PARTS.get(gap.part, gap.part.replace("_", " "))
    whose = f" of {gap.project}" if gap.project else ""
    since = f" since {clock(gap.since)}" if gap.since else ""
    return f"{capital(part)}{whose} cannot be read{since}: {gap.reason}."


def _evidence(evidence: Mapping[str, object]) -> list[str]:
    """What was frozen when it opened; a shape that this version does not know is given as it is."""
    parts = []
    errors = evidence.get("errors")
    if isinstance(errors, Sequence) and not isinstance(errors, str) and errors:
        rows = [_error(each) for each in errors if isinstance(each, Mapping)]
        parts += ["### Distinct errors", _table(("Failure", "HTTP", "Code", "Count", "Message", "Request ids"), rows)]
    for name, heading in (
        ("first_bad", "First bad answer"),
        ("last_good", "Last good answer"),
        ("limits", "Limits then in force"),
        ("config", "Configuration then in force"),
    ):
        if evidence.get(name):
            value = evidence[name]
            parts += [f"### {heading}", _answer(value) if name in _ANSWERS and isinstance(value, Mapping) else _fenced(value)]
    return parts or ["None was kept."]


_ANSWERS = frozenset({"first_bad", "last_good"})


def _answer(facts: Mapping[str, object]) -> str:
    """One answer as names and values; what is not known is left out."""
    known = [(name, value) for name, value in facts.items() if value not in (None, "", [], {})]
    return _table(("", ""), [(_plain(name), _code(_flat(value))) for name, value in known])


def _flat(value: object) -> object:
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, (list, dict)) else value


def _error(each: Mapping[str, object]) -> tuple[str, ...]:
    ids = each.get("request_ids")
    shown = ", ".join(_code(one) for one in ids) if isinstance(ids, Sequence) and not isinstance(ids, str) else ""
    plain = [
        _code(each[name]) if each.get(name) not in (None, "") else "" for name in ("failure", "status", "code", "count", "message")
    ]
    return (*plain, shown)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _fenced(value: object) -> str:
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    fence = "`" * max(3, 1 + _longest_run(text))
    return f"{fence}json\n{text}\n{fence}"


def _code(value: object) -> str:
    """A text from outside as a code span of one line, whatever it holds."""
    text = _visible(value)
    ticks = "`" * (1 + _longest_run(text))
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{ticks}{space}{text}{space}{ticks}"


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall(r"`+", text)), default=0)


_SPECIAL = re.compile(r"([\\*_\[\]<>#~&!])")


def _plain(value: object) -> str:
    """A sentence of one line that may name things from outside. What stands between backticks stays code."""
    parts = _visible(value).split("`")
    if len(parts) % 2 == 0:
        return _SPECIAL.sub(r"\\\1", "'".join(parts))
    return "".join(f"`{part}`" if number % 2 else _SPECIAL.sub(r"\\\1", part) for number, part in enumerate(parts))


def _visible(value: object) -> str:
    text = " ".join(str(value).split())
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def _when(at: datetime | None) -> str:
    return clock(at) if at else ""


def _span(length: timedelta | None) -> str:
    return duration(max(0.0, length.total_seconds())) if length is not None else ""


# JSON ---------------------------------------------------------------------------------------------------------------------------


def as_json(record: IncidentRecord) -> str:
    """The incident with all that is kept of it as one JSON object on one line. Times are ISO 8601 in UTC, stretches are seconds."""
    one = record.incident
    given: dict[str, object] = {"kind": "incident", "id": one.id, "label": label(one), "open": one.open}
    given |= {name: value for name, value in _ready(one).items() if name not in given}
    given["diagnosis"] = {name: value for name, value in _ready(one.diagnosis).items() if name != "plain"}
    given |= {
        "lane": one.cause.lane.value,
        "mttd_seconds": mttd(one).total_seconds(),
        "mtta_seconds": _seconds(mtta(one)),
        "mttr_seconds": _seconds(mttr(one)),
        "changes": [_change(each) for each in ranked(one, record.changed)],
        "changes_not_known": not_known(record),
        "events": [_ready(event) for event in record.events],
        "evidence": record.evidence,
    }
    return json.dumps(given, ensure_ascii=False, default=_basic)


def _change(found: Explanation) -> dict[str, object]:
    event, (first, last) = found.event, happened(found.event)
    return {
        "strength": found.strength.name.lower(),
        "score": found.score,
        "told": found.text,
        "why": found.why,
        "first": first,
        "last": last,
        **{name: getattr(event, name) for name in ("kind", "source", "text", "actor", "project", "key", "model", "subject")},
    }


def _ready(value: object) -> dict[str, object]:
    """A dataclass of ours as names and values."""
    return dataclasses.asdict(value)  # type: ignore[call-overload, no-any-return]


def _basic(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return value.value if isinstance(value, Enum) else str(value)


def _seconds(length: timedelta | None) -> float | None:
    return None if length is None else length.total_seconds()
