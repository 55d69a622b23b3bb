"""What is shown of deadlines: the days in their order, and who was told of them."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta, tzinfo
from typing import Any

from monitor.domain.access_findings import days
from monitor.domain.alerting import NotifyReason
from monitor.domain.deadlines import STEPS, Deadline, DeadlineKind
from monitor.domain.health import Health
from monitor.domain.incidents import Severity
from monitor.domain.reminders import PASSED, digest, step
from monitor.domain.words import Confidence, capital
from monitor.store.outbox import DeliveryState
from monitor.store.reminders import ReminderRow
from monitor.ui import blocks
from monitor.ui.blocks import lamp
from monitor.ui.format import clock, escape, link, local, plural, words

KINDS = {
    DeadlineKind.KEY_EXPIRY: "key expiry",
    DeadlineKind.ADMIN_KEY_EXPIRY: "admin key expiry",
    DeadlineKind.CERTIFICATE_EXPIRY: "certificate expiry",
    DeadlineKind.MODEL_SHUTDOWN: "model shutdown",
    DeadlineKind.SPEND_LIMIT: "spend limit",
    DeadlineKind.SILENCE_END: "silence ends",
    DeadlineKind.MAINTENANCE_END: "maintenance ends",
}
GROUPS = ("Overdue", "This week", "This month", "Later")
SOON = 14
"""Days from which on the overview names the next deadline."""
_LOOKS = {Severity.CRITICAL: Health.FAILING, Severity.WARNING: Health.DEGRADED, Severity.INFO: Health.UNKNOWN}
_PLACES = {
    DeadlineKind.MODEL_SHUTDOWN: "models",
    DeadlineKind.SPEND_LIMIT: "project",
    DeadlineKind.SILENCE_END: "incidents",
    DeadlineKind.MAINTENANCE_END: "incidents",
    DeadlineKind.KEY_EXPIRY: "keys",
}
Told = Mapping[str, Sequence[ReminderRow]]
"""What was said, or not and why, by digest; newest first."""


def group(deadline: Deadline, now: datetime) -> str:
    """Under which heading it stands: the next seven days are this week, the next thirty this month."""
    left = deadline.days_left(now)
    return GROUPS[0] if left < 0 else GROUPS[1] if left <= 7 else GROUPS[2] if left <= 30 else GROUPS[3]


def ahead(deadline: Deadline, now: datetime) -> str:
    """`in 6 days`, `tomorrow`, `today`, `3 days ago`."""
    left = deadline.days_left(now)
    if left < 0 and deadline.kind is DeadlineKind.SPEND_LIMIT:
        return "now"
    if left < 0:
        past = (now.date() - deadline.at.date()).days
        return f"{days(past)} ago" if past else "just passed"
    return "today" if left == 0 else "tomorrow" if left == 1 else f"in {days(left)}"


def next_line(deadlines: Iterable[Deadline], now: datetime, window: str) -> str:
    """One quiet line about the next deadline, where it is near; empty otherwise. The end of a quiet is not worth one."""
    quiet = (DeadlineKind.SILENCE_END, DeadlineKind.MAINTENANCE_END)
    coming = (each for each in deadlines if each.kind not in quiet and 0 <= each.days_left(now) <= SOON)
    first = next(coming, None)
    if first is None:
        return ""
    more = sum(1 for _ in coming)
    rest = f", and {plural(more, 'more', 'more')} within {SOON} days" if more else ""
    what = f'<a href="{link("deadlines", window=window)}" target="_self">{escape(first.title)} {ahead(first, now)}</a>'
    return f'<span class="soft">Next deadline: {what}{rest}.</span>'


def by_digest(rows: Iterable[ReminderRow]) -> dict[str, list[ReminderRow]]:
    """The rows by what they are about."""
    found: dict[str, list[ReminderRow]] = {}
    for row in rows:
        for each in row.digests:
            found.setdefault(each, []).append(row)
    return found


_REASONS = {
    NotifyReason.NOT_ROUTED: "nobody: no route sends it to a channel",
    NotifyReason.BELOW_SEVERITY: "not told",
    NotifyReason.SILENCED: "kept quiet",
    NotifyReason.MAINTENANCE: "kept quiet",
    NotifyReason.TOO_LATE: "nobody",
}
_STATES = {DeliveryState.DELIVERED: "told", DeliveryState.WAITING: "on its way to", DeliveryState.FAILED: "could not be told:"}


def who_was_told(deadline: Deadline, told: Told, channels: bool | None, now: datetime, zone: tzinfo) -> str:
    """Who was reminded, when and how far ahead, or why nobody was, as HTML."""
    said = []
    for at_step in (PASSED, *STEPS):
        rows = told.get(digest(deadline, at_step), ())
        far = "when it had passed" if at_step == PASSED else f"{days(at_step)} ahead"
        sent = [row for row in rows if row.state is not DeliveryState.NOT_SENT]
        said += [f"{_STATES[row.state]} <b>{escape(row.channel)}</b> {far}, {escape(clock(row.at, now, zone))}" for row in sent]
        reached = {row.channel for row in sent}
        for row in rows:
            if row.state is DeliveryState.NOT_SENT and row.channel not in reached and not (row.channel == "" and reached):
                whom = f"<b>{escape(row.channel)}</b> " if row.channel else ""
                why = f": {escape(local(row.text, now, zone))}" if row.text and row.reason is not NotifyReason.NOT_ROUTED else ""
                said.append(f"{whom}{_REASONS.get(row.reason, words(row.reason))} ({far}){why}")
    if said:
        return "<br>".join(said[:4])
    if channels is False:
        return '<span class="soft">nobody: no channel is configured</span>'
    if step(deadline, now) is None:
        first = deadline.at - timedelta(days=STEPS[0])
        return f'<span class="soft">not yet: {STEPS[0]} days ahead, on {first:%d %b}</span>'
    return '<span class="soft">not yet</span>'


def table(found: Sequence[Deadline], told: Told, channels: bool | None, now: datetime, zone: tzinfo, window: str) -> None:
    """Deadlines in their order."""
    rows = []
    for each in found:
        page = _PLACES.get(each.kind)
        projects = ", ".join(blocks.project_link(name, window) for name in each.projects[:4])
        if len(each.projects) > 4:
            projects += f" and {len(each.projects) - 4:,} more"
        title = escape(capital(each.title))
        if page is not None:
            where = {"project": each.projects[0] if len(each.projects) == 1 else None, "model": each.model, "key": each.key}
            title = f'<a href="{link(page, window=window, **where)}" target="_self">{title}</a>'
        sure = (
            ""
            if each.confidence is Confidence.CERTAIN
            else f'<br><span class="soft">{each.confidence.value}: {escape(_span(each))}</span>'
        )
        proof = "".join(f"<li>{escape(local(line, now, zone))}</li>" for line in each.evidence)
        evidence = f'<details><summary class="soft">why we say so</summary><ul>{proof}</ul></details>' if proof else ""
        when = f'<span class="soft" title="{each.at:%Y-%m-%d %H:%M} UTC">{escape(clock(each.at, now, zone))}</span>'
        whose = f'<span class="soft">{escape(each.owner or "no owner is known")}</span>'
        rows.append(
            (
                f"{lamp(_LOOKS[each.severity(now)], ahead(each, now))}<br>{when}",
                f'<b>{title}</b><br><span class="soft">{KINDS[each.kind]}</span>{sure}',
                f"{projects or 'the whole organization'}<br>{whose}",
                f"{escape(each.breaks)}{evidence}",
                f"<b>{escape(each.next_step)}</b>",
                who_was_told(each, told, channels, now, zone),
            )
        )
    columns = [
        ("When", "nw"),
        ("What", ""),
        ("Whose", ""),
        ("What breaks", "said4"),
        ("Next step", "said4"),
        ("Who was told", ""),
    ]
    blocks.table(columns, rows, css="dl stack")


def _span(deadline: Deadline) -> str:
    if deadline.earliest is None:
        return "projected"
    if deadline.latest is None:
        return f"from {deadline.earliest:%d %b}, perhaps not this month"
    if deadline.earliest.date() == deadline.latest.date():
        return f"on {deadline.earliest:%d %b}"
    return f"{deadline.earliest:%d %b} to {deadline.latest:%d %b}"


def csv_rows(found: Iterable[Deadline], told: Told, now: datetime) -> list[dict[str, Any]]:
    """Everything that is known of each."""
    rows = []
    for each in found:
        sent = [
            f"{row.channel} {at_step} days ahead at {row.at:%Y-%m-%d %H:%M} UTC ({row.state.value})"
            for at_step in (PASSED, *STEPS)
            for row in told.get(digest(each, at_step), ())
            if row.state is not DeliveryState.NOT_SENT
        ]
        rows.append(
            {
                "kind": each.kind.value,
                "when": each.at,
                "days left": each.days_left(now),
                "what": each.title,
                "projects": " ".join(each.projects),
                "owner": each.owner,
                "environments": " ".join(each.environments),
                "what breaks": each.breaks,
                "next step": each.next_step,
                "severity": each.severity(now).value,
                "confidence": each.confidence.value,
                "earliest": each.earliest,
                "latest": each.latest,
                "evidence": " ".join(each.evidence),
                "told": "; ".join(sent),
            }
        )
    return rows
