"""How observations become health: a fold, one target at a time, replayable under another policy.

One failure makes a target suspect and asks for a quick second look; it moves nothing by itself.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from monitor.domain.inventory import ProbeKind, Target
from monitor.domain.observation import Observation, Verdict
from monitor.domain.taxonomy import KINDS, KNOWS_BETTER, LAMPS, FailureKind, Lane


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
        return _RANK[self]


_RANK = {health: rank for rank, health in enumerate(Health)}


_KEEP = 21
"""Checks remembered, as many as flapping detection looks at."""
STALE_AT_LEAST = timedelta(seconds=90)
"""No target is late before that, however short its interval."""
_LATEST_ANSWER = timedelta(minutes=5)
"""No answer is later than that: a probe's deadline is some seconds."""


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
    confirm_rate_after: timedelta = timedelta(seconds=60)
    """The same at a rate limit: when a limit per minute has filled again."""
    stale_after: float = 3.0
    """Intervals without an answer after which a target is unknown, never green."""
    flap_start: float = 0.5
    """Weighted part of the last 20 steps between checks that changed, from which on a target flaps."""
    flap_stop: float = 0.25
    """The part below which it has settled."""

    def __post_init__(self) -> None:
        for name in ("fail_after", "fail_window", "definitive_fail_after", "recover_after"):
            if not 1 <= getattr(self, name) <= _KEEP:
                raise ValueError(f"{name} must be from 1 to {_KEEP}, not {getattr(self, name)}")
        if self.fail_after > self.fail_window:
            raise ValueError(f"fail_after ({self.fail_after}) cannot exceed fail_window ({self.fail_window})")
        if not 0 < self.flap_stop < self.flap_start <= 1:
            raise ValueError(f"needs 0 < flap_stop ({self.flap_stop}) < flap_start ({self.flap_start}) ≤ 1")


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
    flapping: bool = False
    """It comes and goes: until it settles, good answers make it degraded and not healthy, so that one trouble stays one."""

    @property
    def suspect(self) -> bool:
        """The last check failed, but the health has not moved yet."""
        return bool(self.recent) and not self.recent[-1] and self.failure is None and self.health is not Health.PAUSED


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of health: history and outbox at once."""

    target: Target
    at: datetime
    old: Health
    new: Health
    failure: FailureKind | None = None


def advance(
    state: HealthState,
    observation: Observation,
    policy: HealthPolicy = HealthPolicy(),
) -> tuple[HealthState, Transition | None]:
    """Fold one observation into the state of its target.

    An observation older than the state's last is ignored; an inconclusive one moves nothing but `last_at`. One that is older by
    more than five minutes is not a late answer: the clock was set back, and the state must not freeze until it catches up.
    """
    at = observation.at
    if state.last_at is not None and timedelta() < state.last_at - at <= _LATEST_ANSWER:
        return state, None
    if observation.verdict is Verdict.INCONCLUSIVE:
        return replace(state, last_at=at), None
    probe = observation.target.probe
    kind = None if observation.verdict is Verdict.OK else observation.failure or FailureKind.UNKNOWN
    recent = (*state.recent, kind is None)[-_KEEP:]
    part = _changing(recent)
    flapping = part >= (policy.flap_stop if state.flapping else policy.flap_start)
    if kind is None:
        health, failure = _after_success(state, recent, policy, finding=observation.finding is not None)
        if flapping and failure is None:
            health, failure = _wavering(state.failure, state.last_kind, probe)
    else:
        health, failure = _after_failure(state, recent, policy, kind, probe)
        if flapping and failure is None:
            health, failure = _wavering(None, kind, probe)
    moved = health is not state.health
    new = HealthState(
        health=health,
        since=at if moved else state.since,
        failure=failure,
        recent=recent,
        last_kind=kind,
        last_at=at,
        last_ok_at=at if kind is None else state.last_ok_at,
        flapping=flapping,
    )
    return new, Transition(observation.target, at, state.health, health, failure) if moved else None


def _after_success(
    state: HealthState, recent: tuple[bool, ...], policy: HealthPolicy, *, finding: bool
) -> tuple[Health, FailureKind | None]:
    last = recent[-policy.recover_after :]
    if state.failure is not None and not (all(last) and len(last) == policy.recover_after):
        return state.health, state.failure
    return Health.DEGRADED if finding else Health.HEALTHY, None


def _after_failure(
    state: HealthState, recent: tuple[bool, ...], policy: HealthPolicy, kind: FailureKind, probe: ProbeKind
) -> tuple[Health, FailureKind | None]:
    again = state.last_kind is not None and _alike(state.last_kind, kind, probe)
    if state.failure is not None:
        # Ill already. Another cause takes over when it comes twice in a row: one timeout does not explain a key that is dead, and
        # one 401 does not make a restricted key a dead one.
        confirmed = again or _alike(state.failure, kind, probe)
    elif KINDS[kind].definitive:
        needed = policy.definitive_fail_after
        confirmed = (needed == 1 or again) and _failed(recent, needed)
        if not confirmed and _failed(recent, policy.fail_window):
            # Nothing but failures, of several causes: ill for sure. What came before is named where it is the vaguer one, because
            # timeouts never make a key invalid.
            confirmed = True
            kind = kind if state.last_kind is None or KINDS[state.last_kind].definitive else state.last_kind
    else:
        confirmed = recent[-policy.fail_window :].count(False) >= policy.fail_after
    return (_ill_health(kind, probe), kind) if confirmed else (state.health, state.failure)


_WEIGHTS = tuple(0.8 + 0.4 * step / (_KEEP - 2) for step in range(_KEEP - 1))
"""Of the steps between checks, oldest first: what happened lately counts half as much again as what was long ago."""


def _changing(recent: tuple[bool, ...]) -> float:
    """The weighted part of the steps from check to check that changed, 0 to 1. Checks that never were count as steady."""
    if all(recent) or not any(recent):
        return 0.0
    steps = zip(recent, recent[1:], _WEIGHTS[1 - len(recent) :], strict=False)
    return sum(weight for before, after, weight in steps if before is not after) / (_KEEP - 1)


def _wavering(confirmed: FailureKind | None, last: FailureKind | None, probe: ProbeKind) -> tuple[Health, FailureKind | None]:
    """What a target is that flaps and by the other rules would be well. A refusal that comes and goes is no dead key."""
    kind = confirmed or last
    if kind is None:
        return Health.HEALTHY, None
    if confirmed is None and kind.lane is Lane.AUTH and KINDS[kind].definitive:
        kind = FailureKind.AUTH_UNKNOWN
    health = _ill_health(kind, probe)
    return (health if health is Health.RESTRICTED else Health.DEGRADED), kind


def _alike(a: FailureKind, b: FailureKind, probe: ProbeKind) -> bool:
    """Whether two failures tell the same story: one kind, or two of one lane that settle nothing and weigh the same."""
    if a is b:
        return True
    settled = KINDS[a].definitive or KINDS[b].definitive
    return a.lane is b.lane and not settled and _ill_health(a, probe) is _ill_health(b, probe)


def _failed(recent: tuple[bool, ...], last: int) -> bool:
    return len(recent) >= last and not any(recent[-last:])


def _ill_health(kind: FailureKind, probe: ProbeKind) -> Health:
    if kind is FailureKind.AUTH_MISSING_SCOPE and probe in (ProbeKind.AUTH, ProbeKind.MODEL_ACCESS):
        return Health.RESTRICTED
    if kind.lane is Lane.RATE:
        return Health.DEGRADED
    return Health.FAILING


def look_again_after(state: HealthState, policy: HealthPolicy = HealthPolicy()) -> timedelta | None:
    """How long until the confirming check, or None where the interval is soon enough.

    Asked after each observation. Suspect targets and recovering ones are looked at again after 5 s, then 15 s; those at a rate
    limit only once, a minute later, because every look counts against the limit. So is a restricted key that is refused for
    another reason, once.
    """
    if not state.recent or state.health is Health.PAUSED:
        return None
    last = state.recent[-1]
    if state.health is Health.RESTRICTED and not last and state.last_kind is not state.failure:
        return policy.confirm_after[0] if policy.confirm_after else None  # it may be dead now: the restriction is no explanation
    if state.failure is not None and not last and state.last_kind is not None and state.last_kind.lane is not state.failure.lane:
        # Ill for another reason, perhaps: asked before long, so that nobody goes on mending what is mended.
        return policy.confirm_rate_after if state.last_kind.lane is Lane.RATE else (policy.confirm_after or (None,))[-1]
    cause = state.failure if last else state.last_kind if state.suspect else None
    if cause is None:
        return None
    streak = 0
    for ok in reversed(state.recent):
        if ok is not last:
            break
        streak += 1
    waits = (policy.confirm_rate_after,) if cause.lane is Lane.RATE else policy.confirm_after
    return waits[streak - 1] if streak <= len(waits) else None


def fresh_health(state: HealthState, interval: timedelta, now: datetime, policy: HealthPolicy = HealthPolicy()) -> Health:
    """The health as it may be shown at `now`: late data is unknown, never green, and so is data from the future."""
    if state.health is Health.PAUSED or state.last_at is None:
        return state.health if state.last_at is not None else Health.UNKNOWN
    allowed = max(interval * policy.stale_after, STALE_AT_LEAST)
    return state.health if abs(now - state.last_at) <= allowed else Health.UNKNOWN


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


PROVES: dict[Lane, frozenset[ProbeKind]] = {
    Lane.AUTH: frozenset({ProbeKind.AUTH, ProbeKind.MODEL_ACCESS, ProbeKind.INFERENCE}),
    Lane.ACCESS: frozenset({ProbeKind.MODEL_ACCESS, ProbeKind.INFERENCE, ProbeKind.DENIED_MODEL}),
    Lane.RATE: frozenset({ProbeKind.INFERENCE}),
    Lane.QUOTA: frozenset({ProbeKind.INFERENCE}),
    Lane.SERVER: frozenset(ProbeKind),
    Lane.NETWORK: frozenset(ProbeKind),
}
"""Which probes' success says that a lane is well. Listing models says nothing of limits or money."""
_PROVED = {probe: tuple(lane for lane, probes in PROVES.items() if probe in probes) for probe in ProbeKind}

_FROM_OPENAI = frozenset({Lane.AUTH, Lane.ACCESS, Lane.RATE, Lane.QUOTA})
"""Failures that OpenAI itself answered: whoever got one had a working network and a server that spoke."""


def lamps(targets: Iterable[TargetHealth]) -> dict[Lane, LaneState]:
    """The six lamps of a project, in order: the worst target of each lane, or what its successes prove."""
    found: dict[Lane, LaneState] = {lane: LaneState() for lane in LAMPS}
    for target in targets:
        ill = target.failure.lane if target.failure and target.health.rank > Health.UNKNOWN.rank else None
        spoke = ill in _FROM_OPENAI
        if ill is Lane.CLIENT:
            ill = Lane.AUTH  # a key that cannot be read cannot authenticate
        if target.health is Health.DEGRADED and target.failure is None:
            ill, spoke = Lane.ACCESS, True  # a finding: a denied model is usable
        well, proved = LaneState(Health.HEALTHY, target.since), _PROVED[target.probe] if target.health is Health.HEALTHY else ()
        for lane in LAMPS:
            if lane is ill:
                new = LaneState(target.health, target.since, target.failure)
            elif lane in proved or (spoke and lane in (Lane.SERVER, Lane.NETWORK)):
                new = well
            else:
                continue
            found[lane] = _worse(found[lane], new)
    return found


def _worse(a: LaneState, b: LaneState) -> LaneState:
    """The worse of two, where any knowledge beats none. Of equals the one that knows better, then the one that began first; of two
    healthy ones the later, because only since then are both.
    """
    rank_a = -1 if a.health is Health.UNKNOWN else a.health.rank
    rank_b = -1 if b.health is Health.UNKNOWN else b.health.rank
    if rank_a != rank_b:
        return a if rank_a > rank_b else b
    if (a.failure in KNOWS_BETTER) is not (b.failure in KNOWS_BETTER):
        return a if a.failure in KNOWS_BETTER else b
    if a.since is None or b.since is None:
        return a if b.since is None else b
    return a if (a.since <= b.since) is not (a.health is Health.HEALTHY) else b


def overall(lanes: Iterable[LaneState]) -> LaneState:
    """A project's health: its worst lamp. Unknown only when every lamp is."""
    worst = LaneState()
    for lane in lanes:
        worst = _worse(worst, lane)
    return worst
