"""The whole story of an incident: what was done about it, and what its checks said meanwhile, in one order. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from monitor.domain.health import Health
from monitor.domain.incidents import Event, EventKind, Incident
from monitor.domain.inventory import Target
from monitor.domain.taxonomy import KINDS, FailureKind
from monitor.domain.timeline import Window

BEFORE = timedelta(minutes=15)
AFTER = timedelta(minutes=15)
MOST = 200
"""Lines of a story. Beyond, changes of health are left out first: there are thousands where everything fails at once."""
_TOGETHER = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Turn:
    """A change of health of one check that the incident hit."""

    at: datetime
    target: Target
    old: Health
    new: Health
    failure: FailureKind | None


def window_of(incident: Incident, now: datetime) -> Window:
    """The time that the story spans."""
    return Window(incident.first_bad_at - BEFORE, (incident.resolved_at or now) + AFTER)


def whole(
    events: Iterable[Event], turns: Sequence[Turn], evidence: Mapping[str, object], changes: Iterable[Event] = ()
) -> tuple[Event, ...]:
    """Everything in the order of time. `evidence` is what was frozen when it opened; `changes` what changed around it."""
    fixed = [*events, *_checks(evidence), *changes]
    turned = list(_turns(turns))
    told = [*fixed, *turned[: max(0, MOST - len(fixed))]]
    left = len(turned) - (len(told) - len(fixed))
    if left:
        told.append(Event(turned[-1].at, EventKind.HEALTH, f"… and {left:,} more changes of health."))
    return tuple(sorted(told, key=lambda event: (event.at, _ORDER.get(event.kind, 2))))


_ORDER = {EventKind.CHANGE: 0, EventKind.CHECK: 1, EventKind.HEALTH: 2, EventKind.OPENED: 3}
"""At the same moment the cause stands before what it caused."""


def _turns(turns: Sequence[Turn]) -> Iterable[Event]:
    """One line for all checks that went the same way within a minute."""
    groups: dict[tuple[object, ...], list[Turn]] = defaultdict(list)
    for turn in turns:
        minute = (turn.at - datetime.min.replace(tzinfo=UTC)) // _TOGETHER
        groups[minute, turn.old, turn.new, turn.failure].append(turn)
    for alike in groups.values():
        first = alike[0]
        why = f" ({KINDS[first.failure].title.lower()}, {first.failure.value})" if first.failure else ""
        yield Event(first.at, EventKind.HEALTH, f"{_names(alike)}: {first.old.value} → {first.new.value}{why}.")


def _names(turns: Sequence[Turn]) -> str:
    names = sorted({str(turn.target) for turn in turns})
    if len(names) <= 3:
        return ", ".join(names)
    projects = {turn.target.project for turn in turns if turn.target.project}
    return (
        f"{len(names):,} checks of {len(projects):,} projects"
        if len(projects) > 1
        else f"{len(names):,} checks of {names[0].split('/')[0]}"
    )


def _checks(evidence: Mapping[str, object]) -> Iterable[Event]:
    """The last good answer, the first bad one, and the first of every other error that was known when it opened."""
    said = set()
    for name, words in (("last_good", "Last good answer"), ("first_bad", "First bad answer")):
        facts = evidence.get(name)
        if isinstance(facts, Mapping) and (at := _moment(facts.get("at"))):
            said.add(_what(facts))
            place = "/".join(str(facts[part]) for part in ("project", "key", "probe", "model") if facts.get(part))
            yield Event(at, EventKind.CHECK, f"{words}, {place or 'the control probe'}: {_what(facts)}.")
    errors = evidence.get("errors")
    for facts in errors if isinstance(errors, Sequence) and not isinstance(errors, str) else ():
        if isinstance(facts, Mapping) and (at := _moment(facts.get("first"))) and _what(facts) not in said:
            said.add(_what(facts))
            yield Event(at, EventKind.CHECK, f"For the first time: {_what(facts)}.")


def _what(facts: Mapping[str, object]) -> str:
    status = f"HTTP {facts['status']}" if facts.get("status") is not None else "no HTTP answer"
    message = str(facts["message"]) if facts.get("message") else ""
    shown = f"“{message[:160]}{'…' if len(message) > 160 else ''}”" if message else ""
    return " ".join(part for part in (status, str(facts.get("failure") or ""), shown) if part)


def _moment(value: object) -> datetime | None:
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return at if at is None or at.tzinfo is not None else at.replace(tzinfo=UTC)
