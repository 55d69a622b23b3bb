"""What the audit log tells, in words and in our kinds of change. Pure.

The log names who and when exactly, but not what was before: that is taken from the record as it was read last.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from monitor.domain.changes import ChangeEvent, ChangeKind, ChangeSource
from monitor.domain.drift import Names, Saying, limit_change, limit_words, shown, sign
from monitor.domain.organization import AuditEvent, Item

_K = ChangeKind

_KINDS: Mapping[str, ChangeKind] = {
    "api_key.created": _K.KEY_CREATED,
    "api_key.updated": _K.KEY_CHANGED,
    "api_key.deleted": _K.KEY_DELETED,
    "service_account.created": _K.SERVICE_ACCOUNT_CREATED,
    "service_account.updated": _K.SERVICE_ACCOUNT_CHANGED,
    "service_account.deleted": _K.SERVICE_ACCOUNT_DELETED,
    "user.added": _K.MEMBER_ADDED,
    "user.updated": _K.MEMBER_CHANGED,
    "user.deleted": _K.MEMBER_REMOVED,
    "user.removed": _K.MEMBER_REMOVED,
    "project.created": _K.PROJECT_CREATED,
    "project.updated": _K.PROJECT_CHANGED,
    "project.archived": _K.PROJECT_ARCHIVED,
    "project.deleted": _K.PROJECT_ARCHIVED,
    "rate_limit.updated": _K.RATE_LIMIT_CHANGED,
    "rate_limit.deleted": _K.RATE_LIMIT_CHANGED,
    "organization.updated": _K.ORGANIZATION_CHANGED,
}
_FAMILIES: tuple[tuple[str, ChangeKind], ...] = (
    ("ip_allowlist.", _K.IP_ALLOWLIST_CHANGED),
    ("certificate.", _K.CERTIFICATE_CHANGED),
    ("certificates.", _K.CERTIFICATE_CHANGED),
    ("role.", _K.ROLE_CHANGED),
    ("role_assignment.", _K.ROLE_CHANGED),
    ("resource_role_assignment.", _K.ROLE_CHANGED),
    ("custom_role.", _K.ROLE_CHANGED),
    ("admin_api_key.", _K.ADMIN_KEY_CHANGED),
    ("billing.alerts.", _K.SPEND_ALERT_CHANGED),
    ("billing.overage_limit.", _K.SPEND_LIMIT_CHANGED),
    ("usage_limit.", _K.SPEND_LIMIT_CHANGED),
)


def kind_of(kind: str) -> ChangeKind:
    """Our kind for OpenAI's word; `OTHER` for one that is new."""
    bare = bare_type(kind)
    if bare in _KINDS:
        return _KINDS[bare]
    return next((ours for beginning, ours in _FAMILIES if bare.startswith(beginning)), _K.OTHER)


def bare_type(kind: str) -> str:
    """OpenAI's word without what only says in which of the two logs it stands."""
    return kind.removeprefix("tenant.").replace("project_api_key.", "api_key.")


def mentioned(events: Iterable[AuditEvent]) -> set[str]:
    """The ids that the words for these events need to know more of."""
    found: set[str] = set()
    for event in events:
        found |= {each for each in (event.subject, event.actor, event.project, _principal(event)) if each}
        if event.subject and event.project and event.type.startswith(("rate_limit.", "certificate")):
            found.add(f"{event.project}/{event.subject}")
    return found


def logged(events: Iterable[AuditEvent], names: Names) -> Iterator[tuple[AuditEvent, ChangeEvent]]:
    """Each event with what it means, oldest first. `names.known` is the record as it was before them, as far as it was read."""
    limits: dict[str, Mapping[str, Any]] = {}
    for event in sorted(events, key=lambda each: (each.at, each.id)):
        one = _saying(event, names, limits)
        project_id = event.project or _home(names.known.get(event.subject or ""))
        told = ChangeEvent(
            at=event.at,
            kind=one.kind,
            source=ChangeSource.AUDIT_LOG,
            text=shown(one.text),
            project_id=project_id,
            project=names.project_of(one.key, project_id),
            subject=one.subject,
            key=names.label_of(one.key),
            model=one.model,
            actor=names.who(event.actor),
        )
        yield event, replace(told, dedup=sign(told, event.id))


def _home(item: Item | None) -> str | None:
    return item.project if item is not None else None


def _saying(event: AuditEvent, names: Names, limits: dict[str, Mapping[str, Any]]) -> Saying:
    kind, bare = kind_of(event.type), bare_type(event.type)
    noun, _, verb = bare.rpartition(".")
    item = names.known.get(event.subject or "")
    facts = {**event.facts, **(item.facts if item is not None else {})}
    if noun == "api_key":
        title = names.key(event.subject, facts)
        return Saying(kind, f"{title} {_verb(verb)}{_scopes(event)}.", event.subject, key=event.subject)
    if noun == "rate_limit":
        return _rate_limit(event, names, limits)
    if noun == "project":
        title = names.project(event.subject or event.project, facts)
        renamed = event.facts.get("title") or event.facts.get("name")
        more = f": it is called “{renamed}”" if verb == "updated" and isinstance(renamed, str) else ""
        return Saying(kind, f"{title} {_verb(verb)}{more}.", event.subject or event.project)
    if noun == "service_account":
        return Saying(kind, f"Service account {_named(event, item)} {_verb(verb)}{_role(event)}.", event.subject)
    if noun == "user":
        did = {"added": "joined the organization", "deleted": _LEFT, "removed": _LEFT}.get(verb, _verb(verb))
        return Saying(kind, f"{names.who(event.subject) or 'Somebody'} {did}{_role(event)}.", event.subject)
    if noun == "role.assignment":
        return _role_assignment(event, names, verb)
    if kind is _K.OTHER:
        return Saying(
            kind, f"The audit log tells of “{event.type}”{f' ({event.subject})' if event.subject else ''}.", event.subject
        )
    told = _TITLES.get(noun, noun.replace("_", " ").replace(".", " ").capitalize())
    name = facts.get("name")
    return Saying(kind, f"{told}{f' “{name}”' if isinstance(name, str) else ''} {_verb(verb)}.", event.subject)


_LEFT = "was removed from the organization"
_TITLES = {
    "ip_allowlist": "The list of allowed addresses",
    "ip_allowlist.config": "The list of allowed addresses",
    "certificate": "Certificate",
    "certificates": "The demand for a certificate",
    "admin_api_key": "Admin key",
    "organization": "The organization",
    "role": "A role",
    "billing.alerts": "The organization's alerts about its bill",
    "billing.overage_limit": "The organization's limit of overage",
}


def _verb(verb: str) -> str:
    return {"updated": "was changed", "added": "was added"}.get(verb) or f"was {verb.replace('_', ' ')}"


def _named(event: AuditEvent, item: Item | None) -> str:
    name = item.name if item is not None else event.facts.get("name")
    return f"“{name}”" if isinstance(name, str) else str(event.subject or "without a name")


def _role(event: AuditEvent) -> str:
    role = event.facts.get("role")
    return f" (role {role})" if isinstance(role, str) else ""


def _scopes(event: AuditEvent) -> str:
    scopes = event.facts.get("scopes")
    return f"; it may {', '.join(map(str, scopes[:8]))}" if isinstance(scopes, list) and scopes else ""


def _rate_limit(event: AuditEvent, names: Names, limits: dict[str, Mapping[str, Any]]) -> Saying:
    """Within one batch the last one's limits are what was before the next."""
    place = f"{event.project}/{event.subject}"
    item = names.known.get(place)
    named = item.facts.get("model") if item is not None else None
    model = str(named) if named else (event.subject or "a model").removeprefix("rl-")
    if event.type.endswith(".deleted"):
        limits[place] = {}
        text = f"The limit of {model} was reset to what OpenAI gives the organization."
        return Saying(_K.RATE_LIMIT_CHANGED, text, event.subject, model)
    before = limits.get(place, item.facts if item is not None else {})
    asked = {name: value for name, value in event.facts.items() if isinstance(value, int) and not isinstance(value, bool)}
    known = {name: before[name] for name in asked if name in before}
    limits[place] = {**before, **asked}
    if asked and not known:
        text = f"The limit of {model} was set to {'; '.join(limit_words(asked))}."
        return Saying(_K.RATE_LIMIT_CHANGED, text, event.subject, model)
    change = limit_change(model, known, asked)
    if change is None:
        return Saying(_K.RATE_LIMIT_CHANGED, f"The limit of {model} was set anew.", event.subject, model)
    return Saying(change.kind, change.text, event.subject, model)


def _principal(event: AuditEvent) -> str | None:
    principal = event.facts.get("principal_id")
    return principal if isinstance(principal, str) else None


def _role_assignment(event: AuditEvent, names: Names, verb: str) -> Saying:
    who = names.who(_principal(event))
    did = {"created": "was given a role in", "deleted": "lost a role in"}.get(verb, "has another role in")
    where = event.facts.get("resource_type") if event.project is None else None
    place = "the organization" if event.project is None and where != "api.project" else "the project"
    return Saying(_K.ROLE_CHANGED, f"{who or 'Somebody'} {did} {place}.", _principal(event) or event.subject)
