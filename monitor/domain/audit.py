"""What the audit logs tell, in words and in our kinds of change. Pure.

A log names who and when exactly, but not what was before: that is taken from the record as it was read last. OpenAI keeps two logs,
the second of what concerns the tenant; some of what happens stands in both, under two types and two ids.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from monitor.domain.changes import TENANTS, ChangeEvent, ChangeKind, ChangeSource
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
    "billing.info.updated": _K.ORGANIZATION_CHANGED,
    "service_account.token.revoked": _K.SERVICE_ACCOUNT_CHANGED,
    "membership.accepted": _K.MEMBER_ADDED,
    "membership.revoked": _K.MEMBER_REMOVED,
    "usage_limit.increase_request.updated": _K.OTHER,
    "usage_limit.increase_request.resolved": _K.OTHER,
}
_FAMILIES: tuple[tuple[str, ChangeKind], ...] = (
    ("ip_allowlist.", _K.IP_ALLOWLIST_CHANGED),
    ("certificate.", _K.CERTIFICATE_CHANGED),
    ("certificates.", _K.CERTIFICATE_CHANGED),
    ("role.", _K.ROLE_CHANGED),
    ("group.member.", _K.ROLE_CHANGED),
    ("policy.", _K.POLICY_CHANGED),
    ("product_access_policy.", _K.POLICY_CHANGED),
    ("resource_access.", _K.POLICY_CHANGED),
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


_TENANT = "tenant."
_BOTH: tuple[tuple[str, str], ...] = (
    ("project_api_key.", "api_key."),
    ("role_assignment.", "role.assignment."),
    ("resource_role_assignment.", "role.assignment."),
    ("custom_role.", "role."),
    ("role.metadata.", "role."),
    ("workload_identity.provider.", "workload_identity_provider."),
    ("workload_identity.mapping.", "workload_identity_provider_mapping."),
)
"""How the tenant's log calls what the ordinary one has another word for."""


def bare_type(kind: str) -> str:
    """OpenAI's word without what only says in which of the two logs it stands."""
    bare = kind.removeprefix(_TENANT)
    return next((ours + bare.removeprefix(theirs) for theirs, ours in _BOTH if bare.startswith(theirs)), bare)


def mentioned(events: Iterable[AuditEvent]) -> set[str]:
    """The ids that the words for these events need to know more of."""
    found: set[str] = set()
    for event in events:
        about = (event.subject, event.actor, event.project, _principal(event), _account(event), person_of(event))
        found |= {each for each in about if each}
        if event.subject and event.project and event.type.startswith(("rate_limit.", "certificate")):
            found.add(f"{event.project}/{event.subject}")
    return found


def logged(events: Iterable[AuditEvent], names: Names) -> Iterator[tuple[AuditEvent, ChangeEvent]]:
    """Each event with what it means, oldest first. `names.known` is the record as it was before them, as far as it was read."""
    limits: dict[str, Mapping[str, Any]] = {}
    for event in sorted(events, key=lambda each: (each.at, each.id)):
        one = _saying(event, names, limits)
        project_id = event.project or _resource(event) or _home(names.known.get(_account(event) or event.subject or ""))
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
        entry = f"{TENANTS}{event.id}" if event.type.startswith(_TENANT) else event.id
        yield event, replace(told, dedup=sign(told, entry))


def _home(item: Item | None) -> str | None:
    return item.project if item is not None else None


def _resource(event: AuditEvent) -> str | None:
    """The project that a role is about."""
    kind, number = event.facts.get("resource_type"), event.facts.get("resource_id")
    known = isinstance(kind, str) and "project" in kind and isinstance(number, str) and number.startswith("proj_")
    return number if known else None


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
    if noun == "service_account.token":
        return _token(event, names, verb)
    if noun in ("user", "membership"):
        who, did = person_of(event), _COMINGS.get(verb, _verb(verb))
        return Saying(kind, f"{names.who(who) or 'Somebody'} {did}{_role(event)}.", who)
    if noun == "role.assignment":
        return _role_assignment(event, names, verb)
    if noun == "group.member":
        return _group_member(event, names, verb)
    if noun.startswith(("usage_limit.", "billing.overage_limit")):
        return Saying(kind, f"{_limit_title(event, names, noun)} {_moved(event) or _verb(verb) + _amounts(event)}.", event.subject)
    name = next((facts[fact] for fact in _NAMES if isinstance(facts.get(fact), str)), None)
    if noun in _THINGS:
        thing = _THINGS[noun]
        title = f"{thing} {f'“{name}”' if name else event.subject or 'without a name'}"
        gone = kind is _K.ROLE_CHANGED and verb == "deleted"  # it is a loss, which “deleted” is not for every kind
        return Saying(kind, f"{title} {'was withdrawn' if gone else _verb(verb)}.", event.subject)
    if kind is _K.OTHER and noun not in _TITLES:
        return Saying(
            kind, f"The audit log tells of “{event.type}”{f' ({event.subject})' if event.subject else ''}.", event.subject
        )
    told = _TITLES.get(noun, noun.replace("_", " ").replace(".", " ").capitalize())
    return Saying(kind, f"{told}{f' “{name}”' if name else ''} {_verb(verb)}.", event.subject)


_LEFT = "was removed from the organization"
_COMINGS = {
    "added": "joined the organization",
    "accepted": "joined the organization",
    "deleted": _LEFT,
    "removed": _LEFT,
    "revoked": _LEFT,
    "declined": "declined to join the organization",
    "invited": "was invited to the organization",
}
_NAMES = ("name", "group_name", "role_name", "policy_name", "display_name")
_THINGS = {
    "admin_api_key": "Admin key",
    "role": "Role",
    "policy": "Policy",
    "group": "Group",
    "session_policy": "Session policy",
    "sso_connection": "Single sign-on",
    "workload_identity_provider": "Workload identity provider",
    "workload_identity_provider_mapping": "Mapping of a workload identity",
    "workload_identity.binding": "Binding of a workload identity",
    "workload_identity.principal": "Workload identity",
    "resource_share_grant": "Share of a resource",
}
"""What there may be many of, so that it is named."""
_TITLES = {
    "ip_allowlist": "The list of allowed addresses",
    "ip_allowlist.config": "The list of allowed addresses",
    "certificate": "Certificate",
    "certificates": "The demand for a certificate",
    "organization": "The organization",
    "billing.alerts": "An alert about the organization's bill",
    "billing.info": "The organization's billing information",
    "product_access_policy": "The policy of which products may be used",
    "third_party_app_policy": "The policy of which apps of others may be used",
    "resource_access": "The access to a resource",
}


def _verb(verb: str) -> str:
    known = {"updated": "was changed", "added": "was added", "upserted": "was set"}
    return known.get(verb) or f"was {verb.replace('_', ' ')}"


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
    home = event.project or _resource(event)
    place = "the organization" if home is None and where != "api.project" else "the project"
    return Saying(_K.ROLE_CHANGED, f"{who or 'Somebody'} {did} {place}.", _principal(event) or event.subject)


# What stands in the tenant's log alone


def _fact(event: AuditEvent, *names: str) -> str | None:
    return next((found for name in names if isinstance(found := event.facts.get(name), str)), None)


def _account(event: AuditEvent) -> str | None:
    """The service account of an event about one of its tokens."""
    return _fact(event, "service_account_id") if ".token." in event.type else None


def person_of(event: AuditEvent) -> str | None:
    """Who joined or left: a membership has an id of its own."""
    return _fact(event, "user_id") or event.subject


def _token(event: AuditEvent, names: Names, verb: str) -> Saying:
    """A token of a service account is a key of its project. Which one is told where it is one that we know."""
    number = event.subject if event.subject in names.keys else None
    account = _account(event) or event.subject
    item = names.known.get(account or "")
    whose = f"“{item.name}”" if item is not None else _fact(event, "service_account_name", "name") or account
    text = f"A token of {f'service account {whose}' if whose else 'a service account'} {_verb(verb)}."
    return Saying(_K.SERVICE_ACCOUNT_CHANGED, text, event.subject, key=number)


def _group_member(event: AuditEvent, names: Names, verb: str) -> Saying:
    """A group gives its roles to whoever is in it."""
    who, group = _fact(event, "user_id", "member_id", "principal_id"), _fact(event, "group_name", "group_id")
    did = {"added": "was given the roles of", "removed": "lost the roles of"}.get(verb, "has other roles in")
    title = f"group “{group}”" if group else "a group"
    return Saying(_K.ROLE_CHANGED, f"{names.who(who) or 'Somebody'} {did} {title}.", who or event.subject)


_LIMITED = {"workspace": "a workspace", "group": "a group", "user": "a person"}


def _limit_title(event: AuditEvent, names: Names, noun: str) -> str:
    if noun == "usage_limit.increase_request":
        return "The request for a higher usage limit"
    if not noun.startswith("usage_limit."):
        return "The organization's limit of overage"
    whose = noun.rpartition(".")[2]
    person = names.known.get(event.subject or "") if whose == "user" else None
    return f"The usage limit of {person.name if person is not None else _LIMITED.get(whose, whose.replace('_', ' '))}"


_MOST_AMOUNTS = 3


def _numbers(event: AuditEvent) -> dict[str, int]:
    """What an event about a limit tells of it, by OpenAI's own names: in which unit it counts is published nowhere."""
    return {
        name: value
        for name, value in event.facts.items()
        if isinstance(value, int) and not isinstance(value, bool) and not name.endswith(("_id", "_at"))
    }


def _moved(event: AuditEvent) -> str | None:
    """`was lowered: limit 500 → 100`, where the event tells what was before."""
    numbers = _numbers(event)
    for name, old in numbers.items():
        stem = name.removeprefix("previous_").removeprefix("old_")
        new = numbers.get(stem, numbers.get(f"new_{stem}"))
        if stem != name and new is not None and new != old:
            return f"was {'lowered' if new < old else 'raised'}: {stem.replace('_', ' ')} {old:,} → {new:,}"
    return None


def _amounts(event: AuditEvent) -> str:
    told = [f"{name.replace('_', ' ')} {value:,}" for name, value in _numbers(event).items()][:_MOST_AMOUNTS]
    return f" ({', '.join(told)})" if told else ""
