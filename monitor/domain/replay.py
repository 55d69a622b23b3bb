"""What another policy would have made of what was seen: stored observations folded again, into transitions and incidents.

Pure. It sees the answers at the moments they came: another policy would have asked again at other moments, and its neighbours too,
so times are true to about an interval, and causes are those of the answers alone, without experiments.
"""

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from monitor.domain.correlation import OPEN_AFTER, OPEN_ALONE_AFTER, REOPEN_WITHIN, Fleet, correlate
from monitor.domain.diagnosis import Context, Diagnosis, diagnose
from monitor.domain.health import Health, HealthPolicy, HealthState, Transition, advance
from monitor.domain.incidents import Cause, Change, Ill, Incident
from monitor.domain.inventory import Target
from monitor.domain.observation import Observation
from monitor.domain.taxonomy import FailureKind
from monitor.domain.timeline import floor

Step = Transition | Change
"""What happened: a change of one target's health, or of an incident with the events that tell it."""

_ILL = (Health.FAILING, Health.DEGRADED)
DEFAULT = HealthPolicy()
_STEP = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Replay:
    """All of what a policy would have made of it."""

    transitions: tuple[Transition, ...]
    incidents: tuple[Incident, ...]
    """As they were at the end, in the order in which they opened; numbered from 1, which is not their number in the store."""
    observations: int

    @property
    def alone(self) -> tuple[Incident, ...]:
        """Those that no wider one took in: so many causes would have been told."""
        return tuple(incident for incident in self.incidents if incident.merged_into is None)


def replay(
    observations: Iterable[Observation],
    policy: HealthPolicy = DEFAULT,
    fleet: Fleet | None = None,
    policies: Mapping[str, HealthPolicy] | None = None,
    since: datetime | None = None,
) -> Replay:
    """Fold all of them. `observations` are in the order of time; `policies` are those of projects that judge differently.

    What comes before `since` only tells how things stood then: an incident that was over by then is left out.
    """
    again = Again(policy, fleet, policies)
    transitions: list[Transition] = []
    counted = 0
    for seen in observations:
        inside = since is None or seen.at >= since
        counted += inside
        transitions += [step for step in again.take(seen) if inside and isinstance(step, Transition)]
    for _ in again.finish():
        pass
    incidents = [
        each for each in again.incidents.values() if since is None or each.resolved_at is None or each.resolved_at >= since
    ]
    return Replay(tuple(transitions), tuple(incidents), counted)


def moment(step: Step) -> datetime:
    """When it happened."""
    return step.at if isinstance(step, Transition) else step.events[-1].at


class Again:
    """A fold over observations, one at a time, that says what happened. Its memory grows with targets and incidents alone.

    Incidents are folded each second in which something changed, and when one may be ripe, as beside the poller.
    """

    def __init__(
        self, policy: HealthPolicy = DEFAULT, fleet: Fleet | None = None, policies: Mapping[str, HealthPolicy] | None = None
    ) -> None:
        self._policy = policy
        self._policies = policies or {}
        self._fleet = fleet or Fleet.of(())
        self._states: dict[Target, HealthState] = {}
        self._ill: dict[Target, Ill] = {}
        self._open: dict[int, Incident] = {}
        self._closed: list[Incident] = []
        """Resolved within the last quarter of an hour."""
        self._due: list[datetime] = []
        """A heap of the moments at which to fold; may hold one twice."""
        self._at: datetime | None = None
        """The newest moment."""
        self.incidents: dict[int, Incident] = {}

    def take(self, seen: Observation) -> Iterator[Step]:
        """What this observation, and the time until it, led to."""
        yield from self._until(seen.at)
        target = seen.target
        policy = self._policies.get(target.project or "", self._policy)
        state, transition = advance(self._states.get(target, HealthState()), seen, policy)
        self._states[target] = state
        if transition is not None:
            yield transition
        before = self._ill.pop(target, None)
        now = became(before, state, seen)
        if now is not None:
            self._ill[target] = now
        if now != before:
            following = floor(seen.at, _STEP) + _STEP
            moments = [now.since + wait for wait in (OPEN_AFTER, OPEN_ALONE_AFTER)] if now else []
            for moment in {following, *(each for each in moments if each > following)}:
                heapq.heappush(self._due, moment)

    def finish(self) -> Iterator[Change]:
        """What ripens after the last observation: an outage that had just begun."""
        if self._at is not None:
            yield from self._until(self._at + OPEN_ALONE_AFTER)

    def _until(self, at: datetime) -> Iterator[Change]:
        last = None
        while self._due and self._due[0] <= at:
            moment = heapq.heappop(self._due)
            if moment != last:
                yield from self._fold(moment)
            last = moment
        self._at = at if self._at is None else max(at, self._at)

    def _fold(self, now: datetime) -> Iterator[Change]:
        if not self._ill and not self._open:
            return
        self._closed = [each for each in self._closed if each.resolved_at and now - each.resolved_at <= REOPEN_WITHIN]
        ill, going_on = tuple(self._ill.values()), tuple(self._open.values())
        for change in correlate(ill, self._fleet, going_on, self._closed, now, _describe):
            incident = change.incident
            number = incident.id or len(self.incidents) + 1
            incident = self.incidents[number] = replace(incident, id=number)
            self._closed = [each for each in self._closed if each.id != number]
            if incident.open:
                self._open[number] = incident
            else:
                self._open.pop(number, None)
                self._closed.append(incident)
            if change.events:
                yield replace(change, incident=incident)


def became(before: Ill | None, state: HealthState, seen: Observation) -> Ill | None:
    """What one target is after `seen`: ill, suspect, or None where it is well.

    One that flaps stays ill until it settles, so that one trouble stays one incident.
    """
    if state.failure is not None and state.health in _ILL:
        since = before.since if before and before.failure.lane is state.failure.lane else state.since or seen.at
        fits = seen.failure is state.failure
        scope = seen.scope if fits else before.scope if before else None
        hint = seen.hint if fits else before.hint if before else None
        good = bool(state.recent) and state.recent[-1]
        return Ill(seen.target, state.failure, state.health, since, scope, hint, state.flapping, recovering=good)
    if state.suspect and state.last_kind is not None:
        since = before.since if before and before.failure is state.last_kind else seen.at
        return Ill(seen.target, state.last_kind, state.health, since, seen.scope, seen.hint, confirmed=False)
    if before is not None and state.flapping:
        return replace(before, flapping=True)
    return None


def _describe(cause: Cause, kind: FailureKind, members: Sequence[Ill]) -> Diagnosis:  # noqa: ARG001 - the words of any cause
    """The words of the kind; who reads a replay asks how many and when, not what to do."""
    return diagnose(kind, Context(since=members[0].since))
