"""How observations become health: a fold, one target at a time, replayable under another policy.

One failure makes a target suspect and asks for a quick second look; it moves nothing by itself.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from monitor.domain.inventory import ProbeKind, Target
from monitor.domain.observation import Observation, Verdict
from monitor.domain.taxonomy import KINDS, LAMPS, FailureKind, Lane


class Health(StrEnum):
    """The state of a target, a lane or a project, worst last but for `paused`."""

    PAUSED = "paused"
    HEALTHY = "healthy"
    UNKNOWN = "unknown"
    RESTRICTED = "restricted"
    """Alive, but may not list models: many least-privilege keys are like that and work in production."""
    DEGRADED = "degraded"
    FAILING = "failing"

    @property
    def rank(self) -> int:
        """Greater is worse."""
        return list(Health).index(self)


@dataclass(frozen=True, slots=True)
class HealthPolicy:
    """How much evidence a change of health needs."""

    fail_after: int = 2
    """Failures among the last `fail_window` checks, for kinds that time may heal."""
    fail_window: int = 3
    definitive_fail_after: int = 2
    """Failures in a row for kinds that settle the cause: the first and one confirmation."""
    recover_after: int = 2
    """Successes in a row."""
    confirm_after: tuple[timedelta, ...] = (timedelta(seconds=5), timedelta(seconds=15))
    """When to look again while suspect or recovering, instead of waiting for the interval."""
    stale_after: float = 3.0
    """Intervals without an answer after which a target is unknown, never green."""


@dataclass(frozen=True, slots=True)
class HealthState:
    """What the fold remembers of one target."""

    health: Health = Health.UNKNOWN
    since: datetime | None = None
    failure: FailureKind | None = None
    """The cause while failing, degraded or restricted."""
    recent: tuple[bool, ...] = ()
    """The last conclusive checks, oldest first; True is a success."""
    last_kind: FailureKind | None = None
    """Of the last conclusive check, whether or not it moved the health."""
    last_at: datetime | None = None
    """Of the last answer of any verdict."""
    last_ok_at: datetime | None = None

    @property
    def suspect(self) -> bool:
        """The last check failed, but the health has not moved yet."""
        return bool(self.recent) and not self.recent[-1] and self.health in (Health.UNKNOWN, Health.HEALTHY)


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of health: history and outbox at once."""

    target: Target
    at: datetime
    old: Health
    new: Health
    failure: FailureKind | None = None


_KEEP = 21
"""Checks remembered, as many as flapping detection looks at."""


def advance(
    state: HealthState,
    observation: Observation,
    policy: HealthPolicy = HealthPolicy(),
) -> tuple[HealthState, Transition | None]:
    """Fold one observation into the state of its target.

    An observation older than the state's last is ignored; an inconclusive one moves nothing but `last_at`.
    """
    at = observation.at
    if state.last_at is not None and at < state.last_at:
        return state, None
    if observation.verdict is Verdict.INCONCLUSIVE:
        return replace(state, last_at=at), None
    ok = observation.verdict is Verdict.OK
    state = replace(
        state,
        recent=(*state.recent, ok)[-_KEEP:],
        last_kind=observation.failure,
        last_at=at,
        last_ok_at=at if ok else state.last_ok_at,
    )
    health, failure = _decide(state, observation, policy)
    if health is state.health:
        return replace(state, failure=failure), None
    moved = replace(state, health=health, since=at, failure=failure)
    return moved, Transition(observation.target, at, state.health, health, failure)


def _decide(state: HealthState, observation: Observation, policy: HealthPolicy) -> tuple[Health, FailureKind | None]:
    recent = state.recent
    if observation.failure is None:
        good = Health.DEGRADED if observation.finding else Health.HEALTHY
        ill = state.health in (Health.FAILING, Health.DEGRADED, Health.RESTRICTED) and state.failure is not None
        if not ill or recent[-policy.recover_after :] == (True,) * policy.recover_after:
            return good, None
        return state.health, state.failure
    kind = observation.failure
    if KINDS[kind].definitive:
        confirmed = recent[-policy.definitive_fail_after :] == (False,) * policy.definitive_fail_after
    else:
        confirmed = recent[-policy.fail_window :].count(False) >= policy.fail_after
    if confirmed:
        return _ill_health(kind, observation.target.probe), kind
    return state.health, state.failure


def _ill_health(kind: FailureKind, probe: ProbeKind) -> Health:
    if kind is FailureKind.AUTH_MISSING_SCOPE and probe in (ProbeKind.AUTH, ProbeKind.MODEL_ACCESS):
        return Health.RESTRICTED
    if kind.lane is Lane.RATE:
        return Health.DEGRADED
    return Health.FAILING


def look_again_after(state: HealthState, policy: HealthPolicy = HealthPolicy()) -> timedelta | None:
    """How long until the confirming check, or None where the interval is soon enough.

    Asked after each observation. Suspect targets and recovering ones are looked at again after 5 s, then 15 s.
    """
    if not state.recent:
        return None
    last = state.recent[-1]
    settled = (state.health in (Health.HEALTHY, Health.PAUSED)) if last else not state.suspect
    if settled or (last and state.failure is None):
        return None
    streak = 0
    for ok in reversed(state.recent):
        if ok is not last:
            break
        streak += 1
    return policy.confirm_after[streak - 1] if streak <= len(policy.confirm_after) else None


def fresh_health(state: HealthState, interval: timedelta, now: datetime, policy: HealthPolicy = HealthPolicy()) -> Health:
    """The health as it may be shown at `now`: late data is unknown, never green."""
    if state.last_at is None:
        return Health.UNKNOWN
    allowed = max(interval * policy.stale_after, timedelta(seconds=90))
    return state.health if now - state.last_at <= allowed or state.health is Health.PAUSED else Health.UNKNOWN


@dataclass(frozen=True, slots=True)
class LaneState:
    """One lamp of a project."""

    health: Health = Health.UNKNOWN
    since: datetime | None = None
    failure: FailureKind | None = None


@dataclass(frozen=True, slots=True)
class TargetHealth:
    """The part of a target's status that lamps are folded from. `health` is already fresh."""

    probe: ProbeKind
    health: Health
    failure: FailureKind | None
    since: datetime | None


_PROVES: dict[Lane, frozenset[ProbeKind]] = {
    Lane.AUTH: frozenset({ProbeKind.AUTH, ProbeKind.MODEL_ACCESS, ProbeKind.INFERENCE}),
    Lane.ACCESS: frozenset({ProbeKind.MODEL_ACCESS, ProbeKind.INFERENCE, ProbeKind.DENIED_MODEL}),
    Lane.RATE: frozenset({ProbeKind.INFERENCE}),
    Lane.QUOTA: frozenset({ProbeKind.INFERENCE}),
    Lane.SERVER: frozenset(ProbeKind),
    Lane.NETWORK: frozenset(ProbeKind),
}
"""Which probes' success says that a lane is well. Listing models says nothing of limits or money."""

_FROM_OPENAI = frozenset({Lane.AUTH, Lane.ACCESS, Lane.RATE, Lane.QUOTA})
"""Failures that OpenAI itself answered: whoever got one had a working network and a server that spoke."""


def lamps(targets: Iterable[TargetHealth]) -> dict[Lane, LaneState]:
    """The six lamps of a project, in order: the worst target of each lane, or what its successes prove."""
    found: dict[Lane, LaneState] = {lane: LaneState() for lane in LAMPS}
    for target in targets:
        ill = target.failure.lane if target.failure and target.health.rank > Health.UNKNOWN.rank else None
        if ill is Lane.CLIENT:
            ill = Lane.AUTH  # a key that cannot be read cannot authenticate
        if target.health is Health.DEGRADED and target.failure is None:
            ill = Lane.ACCESS  # a finding: a denied model is usable
        for lane in LAMPS:
            if lane is ill:
                new = LaneState(target.health, target.since, target.failure)
            elif (target.health is Health.HEALTHY and target.probe in _PROVES[lane]) or (
                ill in _FROM_OPENAI and lane in (Lane.SERVER, Lane.NETWORK)
            ):
                new = LaneState(Health.HEALTHY, target.since)
            else:
                continue
            found[lane] = _worse(found[lane], new)
    return found


def _worse(a: LaneState, b: LaneState) -> LaneState:
    """The worse of two, where any knowledge beats none; of equals the one that began first."""
    rank_a = -1 if a.health is Health.UNKNOWN else a.health.rank
    rank_b = -1 if b.health is Health.UNKNOWN else b.health.rank
    if rank_a != rank_b:
        return a if rank_a > rank_b else b
    if a.since is None or b.since is None:
        return a if b.since is None else b
    return a if a.since <= b.since else b


def overall(lanes: Iterable[LaneState]) -> LaneState:
    """A project's health: its worst lamp. Unknown only when every lamp is."""
    worst = LaneState()
    for lane in lanes:
        worst = _worse(worst, lane)
    return worst
