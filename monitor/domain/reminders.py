"""Who is reminded of which deadline, and when: once for each step of days ahead and channel, and a named reason otherwise.

Pure, like `alerting`: what was told before is read from the keys of stored messages, so a restart loses nothing and nobody is
told twice.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from hashlib import blake2b

from monitor.domain.alerting import Decision, NotifyReason, Quiet, Route, quiet_for
from monitor.domain.deadlines import LANES, STEPS, Deadline
from monitor.domain.incidents import Severity
from monitor.domain.words import clock

PASSED = 0
"""The step of a day that has passed."""
TOLD_LATE = timedelta(days=7)
"""A day that passed longer ago than this is told nobody any more: it was noticed otherwise."""
FROM = time(6)
"""UTC: before it nobody is reminded, unless the day comes first. Nobody shall be woken for what has a week."""
MOST_AT_ONCE = 40
"""Deadlines in one message."""
_SENT, _NOT_SENT = "deadline:", "no-deadline:"


def step(deadline: Deadline, now: datetime) -> int | None:
    """The days ahead of the nearest reminder that is due: 30, 14, 7, 1, or 0 where the day has passed; None where none is yet."""
    left = deadline.days_left(now)
    if left < 0:
        return PASSED
    return next((each for each in reversed(STEPS) if left <= each), None)


def digest(deadline: Deadline, at_step: int) -> str:
    """What stands for a deadline and step in the keys of messages."""
    return blake2b(f"{deadline.mark} {at_step}".encode("utf-8", "replace"), digest_size=8).hexdigest()


def dedup_key(digests: Iterable[str]) -> str:
    """The key of a message about these; `told` reads it."""
    return _SENT + ",".join(sorted(digests))


def note_key(digest_: str, reason: NotifyReason) -> str:
    """The key of a note why a channel is not told, so that it is made once."""
    return f"{_NOT_SENT}{digest_}:{reason.value}"


def told(key: str | None) -> tuple[str, ...]:
    """The digests in the key of a message, or of a note."""
    if key is not None and key.startswith(_SENT):
        return tuple(key.removeprefix(_SENT).split(","))
    if key is not None and key.startswith(_NOT_SENT):
        return (key.removeprefix(_NOT_SENT).partition(":")[0],)
    return ()


def concerns(deadline: Deadline, route: Route) -> bool:
    """Whether the route is for this deadline, whatever its severity. One that names no project and no owner is everybody's."""
    lane = LANES.get(deadline.kind)
    if route.escalate_after is not None or (route.lanes and lane not in route.lanes):
        return False
    owners = (deadline.owner,) if deadline.owner else ()
    if not deadline.projects and not owners:
        return True
    given = ((route.projects, deadline.projects), (route.owners, owners), (route.environments, deadline.environments))
    return all(not wanted or not set(wanted).isdisjoint(hit) for wanted, hit in given)


def decide(deadline: Deadline, route: Route, sent: Collection[str], quiet: Sequence[Quiet], now: datetime) -> Decision:
    """Whether the route's channel is reminded of the deadline now, and why or why not.

    `sent` are the digests of what the channel was told. A route that gathers incidents for a digest is told at once: reminders are
    few, and those of a day come together anyhow.
    """
    at_step = step(deadline, now)
    if not concerns(deadline, route):
        return _no(NotifyReason.NOT_ROUTED, "no route sends it to this channel")
    if at_step is None:
        first = deadline.at - timedelta(days=STEPS[0])
        return _no(NotifyReason.TOO_SOON, f"is told {STEPS[0]} days ahead, on {first:%Y-%m-%d}", first)
    if any(digest(deadline, nearer) in sent for nearer in (PASSED, *STEPS) if nearer <= at_step):
        return _no(NotifyReason.ALREADY_SENT, "was told")
    if at_step == PASSED and now - deadline.at > TOLD_LATE:
        return _no(NotifyReason.TOO_LATE, f"passed on {deadline.at:%Y-%m-%d}, before anybody could be told")
    if deadline.begins is not None and deadline.at - deadline.begins < timedelta(days=max(at_step, STEPS[-1])):
        return _no(NotifyReason.TOO_SOON, "was meant to be short: its end is told by what is still open then")
    severity = deadline.severity(now)
    lane = LANES.get(deadline.kind)
    # The end of a quiet breaks nothing, and is still to be known before: it is kept from those alone who are told what is critical.
    wanted = severity.rank >= route.min_severity.rank or (lane is None and route.min_severity is not Severity.CRITICAL)
    if not wanted:
        return _no(NotifyReason.BELOW_SEVERITY, f"is {severity.value}; this channel is told from {route.min_severity.value}")
    # What is about a quiet itself is not kept quiet by it.
    general = (each for each in quiet if each.incident_id is None)
    if lane is not None and (found := quiet_for(deadline.projects, lane, general, now)):
        return _no(found.reason, found.text, found.ends)
    morning = datetime.combine(now.date(), FROM, now.tzinfo)
    if now < morning and not now < deadline.at < morning:
        return _no(NotifyReason.TOO_SOON, f"is told from {clock(morning)}", morning)
    why = "has passed" if at_step == PASSED else f"is {at_step} {'day' if at_step == 1 else 'days'} ahead, or less"
    return Decision(send=True, reason=NotifyReason.DEADLINE, dedup_key=digest(deadline, at_step), why=why)


def _no(reason: NotifyReason, why: str, due: datetime | None = None) -> Decision:
    return Decision(send=False, reason=reason, dedup_key="", why=why, due=due)


_NEAREST_LAST = (NotifyReason.NOT_ROUTED, NotifyReason.BELOW_SEVERITY)


def decide_all(
    deadline: Deadline, routes: Iterable[Route], sent: dict[str, set[str]], quiet: Sequence[Quiet], now: datetime
) -> dict[str, Decision]:
    """One decision for each channel, of all routes that lead to it: a message if one of them sends it, else the nearest to one."""
    found: dict[str, Decision] = {}
    for route in routes:
        decision = decide(deadline, route, sent.get(route.channel, ()), quiet, now)
        other = found.get(route.channel)
        if other is None or _nearness(decision) > _nearness(other):
            found[route.channel] = decision
    return found


def _nearness(decision: Decision) -> int:
    if decision.send:
        return len(_NEAREST_LAST) + 1
    return _NEAREST_LAST.index(decision.reason) if decision.reason in _NEAREST_LAST else len(_NEAREST_LAST)


@dataclass(frozen=True, slots=True)
class Reminder:
    """What a channel is told in one message: the deadlines of one owner that are due now."""

    channel: str
    owner: str | None
    due: tuple[tuple[Deadline, str], ...]
    """Soonest first, with the digest of each."""


def reminders(decided: Iterable[tuple[Deadline, str, Decision]]) -> list[Reminder]:
    """What is to be sent of these deadlines, channels and decisions, folded by channel and owner."""
    gathered: dict[tuple[str, str | None], list[tuple[Deadline, str]]] = {}
    for deadline, channel, decision in decided:
        if decision.send:
            gathered.setdefault((channel, deadline.owner), []).append((deadline, decision.dedup_key))
    found = []
    for (channel, owner), due in gathered.items():
        due.sort(key=lambda each: (each[0].at, each[0].title))
        found += [Reminder(channel, owner, tuple(due[at : at + MOST_AT_ONCE])) for at in range(0, len(due), MOST_AT_ONCE)]
    return found
