"""The whole story of an incident: what was done about it, what its checks said, and what changed around it, in one order. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from monitor.domain import own_changes
from monitor.domain.health import Health
from monitor.domain.incidents import Event, EventKind, Incident
from monitor.domain.inventory import Target
from monitor.domain.taxonomy import KINDS, FailureKind
from monitor.domain.timeline import Window
from monitor.domain.words import clock

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


@dataclass(frozen=True, slots=True)
class Run:
    """The same answer of one check, once or several times on end."""

    target: Target
    at: datetime
    until: datetime
    count: int
    good: bool
    said: Mapping[str, object]
    """`failure status message`, as in the evidence."""


def whole(
    events: Iterable[Event],
    turns: Sequence[Turn],
    evidence: Mapping[str, object],
    changes: Iterable[Event] = (),
    runs: Sequence[Run] = (),
) -> tuple[Event, ...]:
    """Everything in the order of time, at most `MOST` lines.

    `evidence` is what was frozen when it opened: it speaks where the raw answers, which `runs` tell of, are gone. `changes` is
    what changed around it.
    """
    checks = [*_runs(runs), *_checks(evidence, runs)]
    told: list[Event] = []
    classes = (
        (list(events), "events"),
        (list(changes), "changes"),
        (checks, "answers"),
        (list(_turns(turns)), "changes of health"),
    )
    for number, (lines, name) in enumerate(classes):
        # One line is kept for each class that may still have to say what it left out.
        told += _thinned(lines, max(1, MOST - len(told) - (len(classes) - 1 - number)), name)
    return tuple(sorted(told, key=lambda event: (event.at, _ORDER.get(event.kind, 2))))


_ORDER = {EventKind.CHANGE: 0, EventKind.CHECK: 1, EventKind.HEALTH: 2, EventKind.OPENED: 3}
"""At the same moment the cause stands before what it caused."""


def _thinned(lines: list[Event], room: int, name: str) -> list[Event]:
    """The first and the last of them, and how many are left out in between."""
    if len(lines) <= room:
        return lines
    lines = sorted(lines, key=lambda event: event.at)
    first, last = room // 2, (room - 1) // 2
    left = lines[first : len(lines) - last]
    gap = Event(left[0].at, left[0].kind, f"… and {len(left):,} more {name} until {clock(left[-1].at)}.")
    return [*lines[:first], gap, *lines[len(lines) - last :]]


def _turns(turns: Sequence[Turn]) -> Iterator[Event]:
    """One line for all checks that went the same way within a minute."""
    groups: dict[tuple[object, ...], list[Turn]] = defaultdict(list)
    for turn in turns:
        groups[_minute(turn.at), turn.old, turn.new, turn.failure].append(turn)
    for alike in groups.values():
        first = alike[0]
        why = f" ({KINDS[first.failure].title.lower()}, {first.failure.value})" if first.failure else ""
        yield Event(first.at, EventKind.HEALTH, f"{_names(alike)}: {first.old.value} → {first.new.value}{why}.")


def _runs(runs: Sequence[Run]) -> Iterator[Event]:
    """Each change of what was said, from the last good answer on; one line for all checks that said the same within a minute."""
    groups: dict[tuple[int, str, str], list[Run]] = defaultdict(list)
    by_target: dict[Target, list[Run]] = defaultdict(list)
    for run in sorted(runs, key=lambda each: each.at):
        by_target[run.target].append(run)
    for those in by_target.values():
        bad = next((number for number, run in enumerate(those) if not run.good), len(those))
        for number, run in list(enumerate(those))[max(0, bad - 1) :]:
            words = _LAST_GOOD if number < bad else "First bad answer" if number == bad else "Good again" if run.good else "Then"
            at = run.until if number < bad else run.at
            groups[_minute(at), words, _what(run.said)].append(run)
    for (_, words, what), alike in groups.items():
        before = words == _LAST_GOOD
        count, until = sum(run.count for run in alike), max(run.until for run in alike)
        times = f", {count:,} times until {clock(until)}" if count > 1 and not before else ""
        at = min(run.until if before else run.at for run in alike)
        yield Event(at, EventKind.CHECK, f"{words}, {_names(alike)}: {what}{times}.")


_LAST_GOOD = "Last good answer"


def _minute(at: datetime) -> int:
    return (at - datetime.min.replace(tzinfo=UTC)) // _TOGETHER


def configured(at: datetime, old: Mapping[str, object], new: Mapping[str, object], projects: Sequence[str]) -> Event | None:
    """What differs between two configurations of this monitor, for everybody and for `projects`; None where nothing does."""
    told = own_changes.everybodys(old, new)
    for name in projects:
        told += own_changes.of_project(old, new, name)
    return Event(at, EventKind.CHANGE, own_changes.sentence(told)) if told else None


def rotated(at: datetime, project: str, key: str, old: str, new: str) -> Event:
    """Another secret under the same label; `old` and `new` are fingerprints."""
    return Event(at, EventKind.CHANGE, own_changes.secret_replaced(project, key, old, new))


def _names(turns: Sequence[Turn | Run]) -> str:
    names = sorted({str(turn.target) for turn in turns})
    if len(names) <= 3:
        return ", ".join(names)
    projects = {turn.target.project for turn in turns if turn.target.project}
    return (
        f"{len(names):,} checks of {len(projects):,} projects"
        if len(projects) > 1
        else f"{len(names):,} checks of {names[0].split('/')[0]}"
    )


def _checks(evidence: Mapping[str, object], runs: Sequence[Run] = ()) -> Iterator[Event]:
    """The last good answer, the first bad one, and the first of every other error that was known when it opened, but for what
    `runs` tell.
    """
    said = {_what(run.said) for run in runs}
    moments = {moment for run in runs for moment in (run.at, run.until)}
    for name, words in (("last_good", _LAST_GOOD), ("first_bad", "First bad answer")):
        facts = evidence.get(name)
        if isinstance(facts, Mapping) and (at := _moment(facts.get("at"))) and at not in moments:
            said.add(_what(facts))
            place = "/".join(str(facts[part]) for part in ("project", "key", "probe", "model") if facts.get(part))
            yield Event(at, EventKind.CHECK, f"{words}, {place or 'the control probe'}: {_what(facts)}.")
    errors = evidence.get("errors")
    for facts in errors if isinstance(errors, Sequence) and not isinstance(errors, str) else ():
        if isinstance(facts, Mapping) and (at := _moment(facts.get("first"))) and _what(facts) not in said:
            said.add(_what(facts))
            count = facts.get("count")
            times = f", {count:,} times until it opened" if isinstance(count, int) and count > 1 else ""
            yield Event(at, EventKind.CHECK, f"For the first time: {_what(facts)}{times}.")


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
