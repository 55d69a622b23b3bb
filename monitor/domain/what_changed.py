"""What changed around an incident, ranked by how well it explains the failure, and what that does to the diagnosis. Pure.

Four things count, the first most: the kind of change against the kind of failure (`explains`), whether it concerns the very key,
model or project, when it happened, and how exactly that is known. Never more certain than the evidence: only what cannot but
fail after such a change is called certain.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import IntEnum

from monitor.domain.changes import ChangeEvent, ChangeKind, ChangeSource
from monitor.domain.diagnosis import Diagnosis
from monitor.domain.differential import alias_of
from monitor.domain.explains import Reach, Rule, rule_of
from monitor.domain.incidents import Incident
from monitor.domain.taxonomy import FailureKind, Lane, Owner
from monitor.domain.timeline import Window, to_ms
from monitor.domain.words import Confidence, capital, clock, duration

BEFORE = timedelta(minutes=30)
AFTER = timedelta(minutes=5)
"""Clocks differ, and what is switched is told to be switched a moment later."""
LONGEST = timedelta(days=2)
"""A difference between readings that lie further apart says too little of when it happened."""


class Strength(IntEnum):
    """How well a change explains a failure, best last."""

    ALSO = 0
    """It changed too, and explains nothing."""
    POSSIBLE = 1
    STRONG = 2
    """It would lead to this failure; others could too."""
    PROOF = 3
    """The record settles the cause."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """One change as an explanation of one incident."""

    event: ChangeEvent
    strength: Strength
    score: float
    """From 0 to 100; for comparing."""
    reach: Reach
    why: str | None
    """`a deleted key is refused`; None where it explains nothing."""
    text: str
    """What was changed, by whom, and how long before the first bad answer: one sentence."""
    cause: str
    """The same without the time, and with why: `Key “backend” (sk-…4f2c) was deleted by ben: a deleted key is refused.`"""


SOURCES: Mapping[ChangeSource, str] = {
    ChangeSource.SYNC: "seen between two readings",
    ChangeSource.AUDIT_LOG: "OpenAI’s audit log",
    ChangeSource.CONFIGURATION: "this monitor’s configuration",
    ChangeSource.CALENDAR: "a date that was known",
    ChangeSource.CATALOGUE: "OpenAI’s list of models",
}
"""How a change is known, in words."""


def window_of(incident: Incident) -> Window:
    """The time in which a change may have led to it."""
    return Window(incident.first_bad_at - BEFORE, incident.first_bad_at + AFTER)


def happened(event: ChangeEvent) -> tuple[datetime, datetime]:
    """The first and the last moment at which it may have happened; the same where it is known exactly."""
    to_ms(event.at)
    if event.after is None:
        return event.at, event.at
    to_ms(event.after)
    return min(event.after, event.at), max(event.after, event.at)


def ranked(incident: Incident, events: Iterable[ChangeEvent]) -> tuple[Explanation, ...]:
    """The changes around an incident, the best explanation first, those that explain nothing last.

    Changes of other projects, and those outside `window_of`, are left out. Every order of `events` gives the same. Raises
    ValueError for a time without a zone.
    """
    window = window_of(incident)
    found = []
    for event in events:
        first, last = happened(event)
        if last >= window.start and first < window.end and last - first <= LONGEST and _is_near(incident, event):
            found.append(_judged(incident, event))
    return tuple(sorted(found, key=lambda each: _place(incident, each)))


def best_of(found: Sequence[Explanation]) -> Explanation | None:
    """The first, where it is strong enough to be told beside the incident."""
    return found[0] if found and found[0].strength >= Strength.STRONG else None


# How well ---------------------------------------------------------------------------------------------------------------------

_SHARES = {Reach.ELSEWHERE: 0, Reach.PART: 50, Reach.ORGANIZATION: 65, Reach.PROJECT: 80, Reach.ITSELF: 100}
"""What is left of a weight, of 100, where the change reaches no nearer than this."""
_STRONG, _POSSIBLE = 70.0, 10.0
"""Scores from which an explanation is called so."""
_KEYS = frozenset({ChangeKind.KEY_CREATED, ChangeKind.KEY_DELETED, ChangeKind.KEY_EXPIRED, ChangeKind.KEY_CHANGED})
_SLOW = frozenset(
    {ChangeKind.IP_ALLOWLIST_CHANGED, ChangeKind.ROLE_CHANGED, ChangeKind.MEMBER_CHANGED, ChangeKind.MEMBER_REMOVED,
     ChangeKind.KEY_CHANGED, ChangeKind.POLICY_CHANGED, ChangeKind.ORGANIZATION_CHANGED}
)  # fmt: skip
"""OpenAI takes up to a quarter of an hour until these are in force everywhere."""
_AT_ONCE, _IN_TIME = timedelta(minutes=5), timedelta(minutes=15)
_CLOCKS = timedelta(minutes=1)
"""By so much two clocks may differ: what is told to be later may have been earlier."""


def _is_near(incident: Incident, event: ChangeEvent) -> bool:
    """Whether it was changed for a project that was hit, or for everybody."""
    return event.project in incident.projects if event.project is not None else event.project_id is None


_TWO_WAYS = frozenset(
    {ChangeKind.SPEND_LIMIT_CHANGED, ChangeKind.MEMBER_CHANGED, ChangeKind.ROLE_CHANGED, ChangeKind.CERTIFICATE_CHANGED,
     ChangeKind.IP_ALLOWLIST_CHANGED}
)  # fmt: skip
_NAMES = re.compile(r"“[^”]*”")
_EASED = re.compile(r"\b(?:was (?:raised|removed|uploaded|created|deleted|deactivated|given)|works|no more|no longer demanded)\b")
_TIGHTENED = re.compile(r"\b(?:was lowered|was set to)\b")
_WITHDRAWN = re.compile(r"\b(?:was deactivated|was deleted|active no more|no longer demanded)\b")
_OF_SOME = re.compile(r"^The usage limit of ")
"""Of a person, group or workspace: whether keys draw on it is published nowhere."""
_TOKEN_REVOKED = re.compile(r"^A token of (?:a )?service account\b.* was revoked")
_STILL_SENT = "while another certificate is demanded, calls that come with this one are refused"
_NOT_SENT = frozenset(
    {"owner", "environment", "services", "tags", "budget", "health", "slo", "intervals", "channels", "routes", "windows", "metrics",
     "retention", "dashboard_url", "dead_man_url", "people", "name"}
)  # fmt: skip
"""Settings of ours that no request depends on."""


def _rule(incident: Incident, event: ChangeEvent) -> Rule | None:
    """The rule for this very change: some kinds can go both ways, and only the words tell which."""
    rule = rule_of(event.kind, incident.failure)
    if rule is None:
        return None
    if event.kind is ChangeKind.CONFIG_CHANGED and event.subject:
        return None if set(event.subject.split(", ")) <= _NOT_SENT else rule
    said = _NAMES.sub("", event.text)
    if incident.failure is FailureKind.AUTH_INVALID_KEY and _TOKEN_REVOKED.search(said):
        return replace(rule, weight=95, why="a revoked token is refused", reach=Reach.PROJECT)
    if event.kind in _TWO_WAYS:
        if event.kind is ChangeKind.CERTIFICATE_CHANGED and _WITHDRAWN.search(said):
            return replace(rule, weight=rule.weight - 5, why=_STILL_SENT)
        if _EASED.search(said):
            return None
        if _OF_SOME.search(said):
            return replace(rule, weight=50, proves=False)
        if event.kind is ChangeKind.SPEND_LIMIT_CHANGED and not _TIGHTENED.search(said):
            return replace(rule, proves=False)
    return rule


def _judged(incident: Incident, event: ChangeEvent) -> Explanation:
    rule, reach = _rule(incident, event), _reach(incident, event)
    share, in_time = _timing(incident, event)
    sentence = _sentence(event)
    if rule is None or reach is Reach.ELSEWHERE:
        return Explanation(event, Strength.ALSO, 0.0, reach, None, _told(incident, event), f"{sentence}.")
    near = reach >= rule.reach and not (rule.whole and reach is not Reach.ORGANIZATION)
    score = round(rule.weight * (100 if near else _share(event, rule, reach)) * share / 10_000, 2)
    if rule.proves and near and in_time:
        strength = Strength.PROOF
    else:
        strength = Strength.STRONG if score >= _STRONG else Strength.POSSIBLE if score >= _POSSIBLE else Strength.ALSO
    mark = ";" if ": " in sentence else ":"
    return Explanation(event, strength, score, reach, rule.why, _told(incident, event), f"{sentence}{mark} {rule.why}.")


def _share(event: ChangeEvent, rule: Rule, reach: Reach) -> int:
    if rule.whole and reach is not Reach.ORGANIZATION:
        return _SHARES[Reach.PART]
    if event.kind in _KEYS and event.key is None:
        return _SHARES[Reach.PART]  # a key of the project, and nobody knows that it is this one
    return _SHARES[reach]


def _reach(incident: Incident, event: ChangeEvent) -> Reach:
    models = event.model is not None and bool(incident.models)
    if models and not any(_same_model(event.model, model) for model in incident.models):
        return Reach.ELSEWHERE
    if event.project is None and event.project_id is None:
        if not models:
            return Reach.ORGANIZATION
        return Reach.ITSELF if len(incident.models) == 1 else Reach.PART
    if event.project not in incident.projects:
        return Reach.ELSEWHERE
    if event.key is not None and f"{event.project}/{event.key}" not in incident.keys:
        return Reach.ELSEWHERE
    others = (len(incident.projects), len(incident.keys) if event.key is not None else 1, len(incident.models) if models else 1)
    if max(others) > 1:
        return Reach.PART
    return Reach.ITSELF if models or event.key is not None else Reach.PROJECT


def _same_model(one: str | None, other: str) -> bool:
    """Whether two names may mean the same model: rules are made for aliases and for snapshots."""
    return one is not None and (one == other or alias_of(one) == other or one == alias_of(other))


def _timing(incident: Incident, event: ChangeEvent) -> tuple[float, bool]:
    """What is left of a weight, of 100, for the time at which it happened, and whether it can have led to the failure."""
    bad, (first, last) = incident.first_bad_at, happened(event)
    noticed = event.source is ChangeSource.CONFIGURATION and bad < first <= bad + _CLOCKS  # it was used before it was looked at
    if first > bad and not noticed:
        return (70.0 if first == last and first - bad <= _CLOCKS else 45.0), False
    share = 100.0 - 10 * min(1.0, max(timedelta(), bad - last) / BEFORE)
    if first < last:
        share -= 3 + 10 * min(1.0, (last - first) / timedelta(hours=2))
    grace = _IN_TIME if event.kind in _SLOW else _AT_ONCE
    settled = incident.failure.lane in (Lane.AUTH, Lane.ACCESS)  # limits and money are reached later than they are lowered
    if settled and incident.last_good_at is not None and incident.last_good_at - last > grace:
        return share * 0.6, False
    return share, True


def _place(incident: Incident, one: Explanation) -> tuple[object, ...]:
    """Where it stands: the same for every order of what is asked."""
    event, (first, last) = one.event, happened(one.event)
    bad = incident.first_bad_at
    apart = max(first - bad, bad - last, timedelta())
    facts = (event.project_id, event.project, event.subject, event.key, event.model, event.actor, event.after and str(event.after))
    return (
        -one.strength, -one.score, -one.reach, apart, last - first, -to_ms(event.at), event.kind.value, event.source.value,
        event.text, event.dedup, tuple(fact or "" for fact in facts), event.id or 0,
    )  # fmt: skip


# Words ------------------------------------------------------------------------------------------------------------------------

_ANSWER = re.compile(r"answer: (\d{3})\b")
_DONE = re.compile(r"\b(?:was|were|is|are|has|have)(?: \w+){1,2}$")


def _sentence(event: ChangeEvent) -> str:
    """What was changed and by whom, without a full stop."""
    said = " ".join(event.text.split()).removesuffix(".")
    actor = " ".join((event.actor or "").split())
    if not actor or said.endswith(f"by {actor}"):
        return said
    return f"{said} by {actor}" if _DONE.search(said) else f"{said}, by {actor}"


def _told(incident: Incident, event: ChangeEvent) -> str:
    """What was changed, by whom and when, as one sentence."""
    said, (first, last), bad = _sentence(event), happened(event), incident.first_bad_at
    answer = next((found[1] for line in incident.diagnosis.evidence if (found := _ANSWER.match(line))), None)
    what = f"the first {answer}" if answer else "the first bad answer"
    comma = "" if _DONE.search(said) or (event.actor and " by " in said and ", by " not in said) else ","
    if first == last:
        apart = abs((bad - first).total_seconds())
        # OpenAI's log tells whole seconds: what is finer would be made up.
        long = "less than a second" if apart < 1 else duration(round(apart))
        when = f"{long} {'before' if first < bad else 'after'} {what}" if apart else f"just at {what}"
        if first > bad and event.source is ChangeSource.CONFIGURATION:
            return f"{said}, noticed {when}."
        return f"{said}{comma} {when}."
    span = f"between {clock(first)} and {clock(last)}"
    if last <= bad:
        return f"{said}{comma} {span}, at least {duration((bad - last).total_seconds())} before {what}."
    relation = f"{what} came at {clock(bad)}" if first <= bad else f"after {what}"
    return f"{said}{comma} {span}; {relation}."


# The diagnosis ----------------------------------------------------------------------------------------------------------------

_SETTINGS = "platform.openai.com → Settings"
_NEXT: Mapping[ChangeKind, tuple[Owner, str]] = {
    ChangeKind.KEY_DELETED: (
        Owner.KEY_OWNER,
        "Create a new key in {place} → API keys and put it into {secret}: a deleted key does not come back.",
    ),
    ChangeKind.KEY_EXPIRED: (
        Owner.KEY_OWNER,
        "Create a new key in {place} → API keys and put it into {secret}: an expired key cannot be prolonged.",
    ),
    ChangeKind.KEY_ROTATED: (
        Owner.SERVICE,
        "Compare {secret} with {place} → API keys: the new one may be cut short, deleted, or another project's.",
    ),
    ChangeKind.KEY_CHANGED: (Owner.KEY_OWNER, "Look at what {key} may do in {place} → API keys, and give it what is missing."),
    ChangeKind.SERVICE_ACCOUNT_DELETED: (
        Owner.PROJECT_ADMIN,
        "Create a service account with a key in {place} → Members and put the key into {secret}: the old one does not come back.",
    ),
    ChangeKind.MEMBER_REMOVED: (
        Owner.PROJECT_ADMIN,
        "Put a key of a service account into {secret}; until then give the key's owner access again in {place} → Members.",
    ),
    ChangeKind.MEMBER_CHANGED: (
        Owner.PROJECT_ADMIN,
        "Put a key of a service account into {secret}; until then give the key's owner access again in {place} → Members.",
    ),
    ChangeKind.PROJECT_ARCHIVED: (
        Owner.SERVICE,
        "Put a key of a living project into {secret}, or take the project out of the configuration.",
    ),
    ChangeKind.RATE_LIMIT_LOWERED: (
        Owner.PROJECT_ADMIN,
        "Raise the limit again in {place} → Limits → Rate limits, or spread the calls over time.",
    ),
    ChangeKind.MODEL_REMOVED: (
        Owner.PROJECT_ADMIN,
        "Allow {model} again in {place} → Limits → Model usage, or move the service to a model that is allowed.",
    ),
    ChangeKind.MODEL_DELISTED: (
        Owner.SERVICE,
        "Move the service and the `models` of {project} to a newer model; see platform.openai.com/docs/deprecations.",
    ),
    ChangeKind.TOOL_DISABLED: (Owner.PROJECT_ADMIN, "Switch the tool on again in {place} → Limits, or let the service do without."),
    ChangeKind.SPEND_LIMIT_CHANGED: (Owner.PROJECT_ADMIN, "Raise the spend limit again in {limits}, or wait until next month."),
    ChangeKind.IP_ALLOWLIST_CHANGED: (
        Owner.ORGANIZATION_OWNER,
        f"Add this machine's public address to the allowlist in {_SETTINGS} → Organization → Security; allow 15 minutes.",
    ),
    ChangeKind.POLICY_CHANGED: (
        Owner.ORGANIZATION_OWNER,
        f"Look at that policy in {_SETTINGS} → Organization and undo it, or give the services what they lack; allow 15 minutes.",
    ),
    ChangeKind.CERTIFICATE_CHANGED: (
        Owner.ORGANIZATION_OWNER,
        f"Let the services present a certificate that is active, or demand none in {_SETTINGS} → Organization → Security.",
    ),
    ChangeKind.CERTIFICATE_EXPIRED: (
        Owner.ORGANIZATION_OWNER,
        f"Upload and activate a new certificate in {_SETTINGS} → Organization → Security, and roll it out.",
    ),
    ChangeKind.CONFIG_CHANGED: (Owner.SERVICE, "Undo or correct that change in monitor.toml: it is read again by itself."),
}
"""Who mends what such a change broke, and how. Where a kind is missing the failure's own words fit."""


def sharpened(incident: Incident, found: Sequence[Explanation]) -> Diagnosis:
    """The incident's diagnosis with what the record of changes adds; as it was without that where nothing explains it well.

    Calling it again with the same gives the same.
    """
    plain, best = incident.diagnosis.plain or incident.diagnosis, best_of(found)
    if best is None:
        return plain
    evidence = (*plain.evidence, f"changed just before: {best.text} ({SOURCES[best.event.source]})")
    told = replace(plain, changed=best.text, evidence=evidence, plain=plain)
    if best.strength is not Strength.PROOF and plain.confidence is Confidence.CERTAIN:
        # What the answer itself says stays certain; why it came to that now is only likely.
        return replace(told, cause=f"{plain.cause} Likely because of this: {best.cause}")
    owner, step = _NEXT.get(best.event.kind, (plain.owner, ""))
    if best.event.kind is ChangeKind.SPEND_LIMIT_CHANGED and best.event.project is None:
        owner = Owner.BILLING
    elif best.event.kind is ChangeKind.IP_ALLOWLIST_CHANGED and best.event.project is not None:
        owner = Owner.PROJECT_ADMIN
    return replace(
        told,
        cause=capital(best.cause),
        confidence=Confidence.CERTAIN if best.strength is Strength.PROOF else Confidence.LIKELY,
        owner=owner,
        next_step=_step(step, incident, best.event) or plain.next_step,
    )


def _step(template: str, incident: Incident, event: ChangeEvent) -> str:
    """The next step with its blanks filled, and whom to ask."""
    if not template:
        return ""
    name = incident.projects[0] if len(incident.projects) == 1 else event.project
    project = f"project “{name}”" if name else "the project"
    place = f"{_SETTINGS} → {capital(project)}"
    step = template.format(
        place=place,
        project=project,
        secret=f"the `secret` of {project} in monitor.toml",
        key=f"key “{event.key}”" if event.key else "the key",
        model=event.model or "the model",
        limits=f"{place} → Limits" if event.project else f"{_SETTINGS} → Organization → Limits",
    )
    asked = event.actor is not None and event.source is ChangeSource.AUDIT_LOG
    return f"{step} Ask {event.actor} whether it was meant." if asked else step
