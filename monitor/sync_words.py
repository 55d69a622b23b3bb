"""What a sync did, for people and for scripts; and what one without an admin key would gain by it."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from monitor.admin_record import Summary
from monitor.domain.organization import TENANT_LOG, ItemKind
from monitor.domain.words import capital, duration

WITHOUT_ADMIN_KEY = (
    "No organization is configured, so its own record cannot be read. Watching works without it.",
    "With a read-only admin key the monitor also knows: which projects and keys nobody watches, which configured ones are gone,",
    "whose a key is, whether its owner lost access, when it expires and when it was last used; rate limits, model permissions,",
    "hosted tools and spend limits of every project; what is used and what it costs; and who changed what just before it broke.",
    "How: let an owner make an admin key that may only read (platform.openai.com → Settings → Organization → Admin keys,",
    "permission api.management.read), put it where secrets are, and add to monitor.toml:",
    "",
    "    [[organizations]]",
    '    name = "acme"',
    '    admin_key = "env:OPENAI_ADMIN_KEY"     # or file:/run/secrets/openai-admin',
    "",
    "It is sent to /organization/… and nowhere else, and nothing is ever changed there.",
)

_NOUNS = {
    ItemKind.PROJECT.value: "the list of projects",
    ItemKind.USER.value: "people",
    ItemKind.ADMIN_KEY.value: "admin keys",
    ItemKind.API_KEY.value: "keys",
    ItemKind.RATE_LIMIT.value: "rate limits",
    ItemKind.MODEL_PERMISSIONS.value: "model permissions",
    ItemKind.SPEND_LIMIT.value: "spend limits",
    ItemKind.SPEND_ALERT.value: "spend alerts",
    ItemKind.HOSTED_TOOLS.value: "hosted tools",
    ItemKind.SERVICE_ACCOUNT.value: "service accounts",
    ItemKind.MEMBER.value: "members",
    ItemKind.CERTIFICATE.value: "certificates",
    "audit_log": "the audit log",
    TENANT_LOG: "the tenant's audit log",
    "usage": "usage",
    "costs": "costs",
}
_MOST = 20


def noun(part: str) -> str:
    """What a part is called in a sentence."""
    kind = part.partition(".")[0]
    return _NOUNS.get(kind, kind.replace("_", " "))


def under_way(name: str, done: int, parts: int, elapsed: float) -> str:
    """How far a sync is: of so many parts of projects so many are read, after so many seconds."""
    rest = f"; about {duration(elapsed / done * (parts - done))} to go" if done and elapsed >= 5 and parts > done else ""
    return f"Reading {name}: {done:,} of {parts:,} parts of its projects{rest}"


def told(name: str, summary: Summary, now: datetime) -> Iterator[str]:
    """Lines for people."""
    if summary.refused is not None:
        yield f"{name}: nothing could be read: {summary.refused}."
        return
    yield f"{name}: {summary.projects:,} projects read with {summary.requests:,} requests; {len(summary.changes):,} changes."
    parts = sum(count for part, count in summary.read.items() if part in _NOUNS)
    yield f"  read: {', '.join(noun(part) for part in _NOUNS if summary.read[part])} ({parts:,} answers)"
    for event in sorted(summary.changes, key=lambda each: each.at)[-_MOST:]:
        where = f"{event.project}: " if event.project else ""
        yield f"  {event.at:%Y-%m-%d %H:%M} {where}{event.text}{f' By {event.actor}.' if event.actor else ''}"
    if summary.age is not None:
        yield f"  {capital(summary.age.said(now))}."
    if summary.own_key is not None:
        yield f"  admin keys: {summary.own_key}."
    for what, reason, count in gaps(summary):
        yield f"  not read: {what}{f' of {count:,} projects' if count > 1 else ''}: {reason}"


def gaps(summary: Summary) -> list[tuple[str, str, int]]:
    """What could not be read, why, and how often: alike together."""
    found: dict[tuple[str, str], int] = {}
    for (part, project), reason in summary.failed.items():
        place = (noun(part) + (f" of {project}" if project is not None and _alone(summary, part, reason) else ""), reason)
        found[place] = found.get(place, 0) + 1
    return [(what, reason, count) for (what, reason), count in found.items()]


def _alone(summary: Summary, part: str, reason: str) -> bool:
    return sum(part == other and reason == why for (other, _), why in summary.failed.items()) <= 3


def line(name: str, summary: Summary) -> dict[str, Any]:
    """One line for scripts."""
    return {
        "organization": name,
        "projects": summary.projects,
        "requests": summary.requests,
        "refused": summary.refused,
        "read": dict(sorted(summary.read.items())),
        "not_read": [{"part": what, "reason": reason, "count": count} for what, reason, count in gaps(summary)],
        "own_admin_key_problem": summary.own_key,
        "parts_left": summary.left,
        "oldest_read_at": _iso(summary.age.oldest_at if summary.age is not None else None),
        "changes": [
            {
                "at": _iso(event.at),
                "kind": event.kind.value,
                "project": event.project,
                "text": event.text,
                "actor": event.actor,
            }
            for event in summary.changes
        ],
    }


def _iso(at: datetime | None) -> str | None:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z") if at is not None else None
