"""What a message says: plain words that can be acted on from a telephone, and no secret.

The subject holds all that a lock screen shows; the body begins with what to do.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from urllib.parse import urlencode

from monitor.domain.alerting import Digest, NotifyReason, label
from monitor.domain.deadlines import Deadline
from monitor.domain.incidents import Incident
from monitor.domain.redact import redact
from monitor.domain.reminders import Reminder
from monitor.domain.taxonomy import Owner
from monitor.domain.words import Confidence, capital, clock, duration

MAX_SUBJECT, MAX_BODY, MAX_LINE = 200, 3000, 600
"""In characters. Chats cut at about four thousand, and would cut the link away."""
_NAMED = 8
"""Projects and services that are named before the rest is only counted."""
_DIGEST_LINES = 40
_TOGETHER_LINES = 15

Message = tuple[str, str]
"""Subject and body."""


def message(incident: Incident, reason: NotifyReason, base_url: str | None, now: datetime, why: str = "") -> Message:
    """The message that tells `incident` for `reason`, and `why` it is told again. `base_url` is where the pages are, or None."""
    subject = f"{_opening(incident, reason)} · {label(incident)} · {incident.title}"
    lines = list(_over(incident) if reason is NotifyReason.RESOLVED else _ill(incident, reason, now))
    if why and reason in _AGAIN:
        lines.append(f"Sent again because {why}.")
    return _finish(subject, lines, _link(base_url, incident))


def together(told: Sequence[tuple[Incident, NotifyReason]], base_url: str | None) -> Message:
    """What would be very many messages: how many of what kind, and the first of them."""
    counts = Counter(_opening(each, reason) for each, reason in told)
    subject = f"And {len(told):,} more incidents · {', '.join(f'{many:,} {name.lower()}' for name, many in counts.most_common())}"
    lines = [f"Too much happens at once to be told one by one: {len(told):,} incidents.", ""]
    lines += [f"{_opening(each, reason)} · {label(each)} · {each.title}" for each, reason in told[:_TOGETHER_LINES]]
    if len(told) > _TOGETHER_LINES:
        lines.append(f"… and {len(told) - _TOGETHER_LINES:,} more: see the page of incidents")
    return _finish(subject, lines, f"{base_url.rstrip('/')}/incidents?open=1" if base_url else None)


def digest(found: Digest, base_url: str | None) -> Message:
    """Everything of one stretch of time, what is still open first."""
    still = sum(each.open for each in found.incidents)
    many = "1 incident" if len(found.incidents) == 1 else f"{len(found.incidents)} incidents"
    subject = f"Digest · {many}, {still} still open"
    lines = [f"From {clock(found.starts)} to {clock(found.ends)}.", ""]
    for each in found.incidents[:_DIGEST_LINES]:
        end = f"over after {_length(each.opened_at, each.resolved_at)}" if each.resolved_at else "still open"
        lines.append(f"{label(each)} · {each.title} · since {clock(each.first_bad_at)}, {end}")
    if len(found.incidents) > _DIGEST_LINES:
        lines.append(f"… and {len(found.incidents) - _DIGEST_LINES} more")
    return _finish(subject, lines, f"{base_url.rstrip('/')}/incidents" if base_url else None)


def reminder(found: Reminder, base_url: str | None, now: datetime) -> Message:
    """The deadlines of one owner that are due now, soonest first."""
    first = found.due[0][0]
    if len(found.due) == 1:
        subject = f"{capital(_ahead(first, now))} · {first.title}"
    else:
        whose = f" of {found.owner}" if found.owner else ""
        subject = f"{len(found.due)} deadlines{whose} · {_ahead(first, now)}: {first.title}"
    lines = []
    for each, _ in found.due:
        lines.append(f"{capital(_ahead(each, now))}, {clock(each.at)}: {each.title}")
        lines.append(f"Do: {each.next_step}")
        lines.append(f"Else: {each.breaks}")
        if each.confidence is not Confidence.CERTAIN:
            lines.append(f"How sure: {each.confidence.value}. {' '.join(each.evidence)}")
        if each.projects:
            lines.append(f"Projects: {_some(each.projects)}")
        lines.append("")
    if found.owner:
        lines.append(f"Owner: {found.owner}")
    query = f"?{urlencode({'owner': found.owner})}" if found.owner else ""
    return _finish(subject, lines, f"{base_url.rstrip('/')}/deadlines{query}" if base_url else None)


def _ahead(deadline: Deadline, now: datetime) -> str:
    left = deadline.days_left(now)
    return "passed" if left < 0 else "today" if left == 0 else "tomorrow" if left == 1 else f"in {left} days"


def trial(channel: str) -> Message:
    """What `notify --test` sends."""
    return (
        "Test · the monitor can reach you",
        f"This is a test of the channel “{channel}”. Nothing is broken. Messages about incidents will come the same way.",
    )


_OPENINGS = {
    NotifyReason.WORSENED: "Worse",
    NotifyReason.REMINDER: "Still open",
    NotifyReason.ESCALATION: "Nobody has taken it",
    NotifyReason.RESOLVED: "Over",
}
_AGAIN = (NotifyReason.WORSENED, NotifyReason.REMINDER)
_MENDERS = {
    Owner.SERVICE: "the service that uses the key",
    Owner.KEY_OWNER: "the owner of the key",
    Owner.PROJECT_ADMIN: "an admin of the project",
    Owner.ORGANIZATION_OWNER: "an owner of the organization",
    Owner.BILLING: "who pays: billing",
    Owner.NETWORK: "your network",
    Owner.OPENAI: "OpenAI",
    Owner.MONITOR: "who runs this monitor",
}
_SURE = {Confidence.CERTAIN: "Cause", Confidence.LIKELY: "Likely cause", Confidence.POSSIBLE: "Possible cause"}


def _opening(incident: Incident, reason: NotifyReason) -> str:
    return _OPENINGS.get(reason, capital(incident.severity.value))


def _ill(incident: Incident, reason: NotifyReason, now: datetime) -> Iterator[str]:
    diagnosis = incident.diagnosis
    yield capital(diagnosis.summary)
    yield f"Do: {diagnosis.next_step}"
    yield f"{_SURE[diagnosis.confidence]}: {diagnosis.cause}"
    if diagnosis.changed:
        yield f"Changed just before: {diagnosis.changed}"
    yield f"Who can mend it: {_MENDERS[diagnosis.owner]}"
    yield ""
    yield from _who(incident)
    yield f"Since: {clock(incident.first_bad_at)} ({_length(incident.first_bad_at, now)})"
    if incident.last_good_at is not None:
        yield f"Last good answer: {clock(incident.last_good_at)}"
    if incident.acknowledged_at is not None:
        yield f"Acknowledged by {incident.acknowledged_by or 'somebody'} at {clock(incident.acknowledged_at)}"
    elif reason in (NotifyReason.REMINDER, NotifyReason.ESCALATION):
        yield "Nobody has acknowledged it."
    if incident.reopened:
        yield "It came back: it is called over when it has stayed away for a while."


def _over(incident: Incident) -> Iterator[str]:
    if incident.resolved_at is not None:
        lasted = _length(incident.first_bad_at, incident.resolved_at)
        yield f"Over since {clock(incident.resolved_at)}, after {lasted}."
    yield f"It was: {incident.diagnosis.summary}"
    yield ""
    yield from _who(incident)
    yield f"Began: {clock(incident.first_bad_at)}"


def _who(incident: Incident) -> Iterator[str]:
    for name, values in (
        ("Projects", incident.projects),
        ("Services", incident.services),
        ("Models", incident.models),
        ("Environments", incident.environments),
        ("Owners", incident.owners),
    ):
        if values:
            yield f"{name}: {_some(values)}"


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMED])
    return shown if len(names) <= _NAMED else f"{shown} and {len(names) - _NAMED} more"


def _length(start: datetime, end: datetime | None) -> str:
    return duration(max(0.0, (end - start).total_seconds())) if end is not None else ""


def _link(base_url: str | None, incident: Incident) -> str | None:
    return f"{base_url.rstrip('/')}/incidents?incident={incident.id}" if base_url else None


def _finish(subject: str, lines: Sequence[str], link: str | None) -> Message:
    end = f"\n\n{link}" if link else ""
    body = "\n".join(_plain(line, MAX_LINE) for line in lines)
    return _plain(subject, MAX_SUBJECT), _cut(body, MAX_BODY - len(end)) + end


_CALLS = re.compile(r"<(?=[!@#])|@(?=(?:everyone|here|channel|all)\b)", re.IGNORECASE)
"""What wakes a whole chat: names of projects and texts of OpenAI come from outside."""


def _plain(text: str, limit: int) -> str:
    """One line without credentials, control characters, or words that a chat takes for a call."""
    printable = "".join(each if each.isprintable() else " " for each in redact(text))
    return _cut(_CALLS.sub(lambda found: f"{found[0]} ", printable), limit)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"
