"""What the monitor made of a scenario, beside what it ought to make of it."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from monitor.demo import FastForward
from monitor.domain.incidents import Incident
from tests.drill.scenarios import Expected, Scenario
from tests.drill.stage import MODELS, NAMES, START, Stage, perform

A_FEW = ("a00", "a01", "b00", "b01")
"""Whose noise is listened to at the default intervals: both organizations, both hosts."""
COLD = timedelta(seconds=70)
"""A large fleet, of which only keys are watched: each was asked twice."""


@dataclass(frozen=True)
class Score:
    """One scenario's."""

    name: str
    cause_right: bool
    scope_right: bool
    seconds_to_name: tuple[float, ...]
    """From the first bad answer to the incident with its final cause, for each expected one."""
    seconds_from_break: float | None
    """From the outage itself; what inference alone can see takes up to its interval."""
    incidents: int
    wanted: int
    messages: tuple[str, ...]
    """Why each was sent."""
    told_right: bool
    found: tuple[str, ...]

    @property
    def right(self) -> bool:
        """Whether all is as expected."""
        return self.cause_right and self.scope_right and self.incidents == self.wanted and self.told_right

    def line(self) -> dict[str, Any]:
        """As JSON."""
        more = {} if self.right else {"found": self.found}
        return {
            "scenario": self.name,
            "cause": "right" if self.cause_right else "wrong",
            "scope": "right" if self.scope_right else "wrong",
            "seconds_to_name": [round(seconds, 1) for seconds in self.seconds_to_name],
            "seconds_from_break": None if self.seconds_from_break is None else round(self.seconds_from_break, 1),
            "incidents": self.incidents,
            "messages": list(self.messages),
            **more,
        }


def run(scenario: Scenario) -> Score:
    """Perform and score one scenario."""
    scores: list[Score] = []

    async def act(stage: Stage) -> None:
        await stage.live(seconds=5 if warm else COLD.total_seconds())
        assert not stage.incidents(), "something was wrong before anything was broken"
        broken_at = stage.clock.now()
        scenario.breaks(stage)
        await stage.live(seconds=scenario.lasts.total_seconds())
        made = [incident for incident in stage.incidents() if incident.merged_into is None]
        messages = tuple(row.reason.value for row in stage.messages())
        matches = [_match(expected, made) for expected in scenario.expected]
        hits = [match for match in matches if match is not None]
        scores.append(
            Score(
                scenario.name,
                cause_right=all(any(one.failure is expected.failure for one in made) for expected in scenario.expected),
                scope_right=None not in matches,
                seconds_to_name=tuple((hit.named_at - hit.first_bad_at).total_seconds() for hit in hits if hit.named_at),
                seconds_from_break=max(((hit.named_at - broken_at).total_seconds() for hit in hits if hit.named_at), default=None),
                incidents=len(made),
                wanted=len(scenario.expected),
                messages=messages,
                told_right=scenario.is_right(messages),
                found=tuple(f"{one.cause.key} {one.failure.value}" for one in made),
            )
        )

    warm = scenario.names is NAMES
    perform(act, names=scenario.names, models=MODELS if warm else (), warm=warm)
    return scores[0]


def _match(expected: Expected, made: list[Incident]) -> Incident | None:
    return next(
        (
            one
            for one in made
            if (one.failure, one.cause.scope, one.cause.subject) == (expected.failure, expected.scope, expected.subject)
        ),
        None,
    )


def noise(days: int, every: str | None = "1h", names: Sequence[str] = NAMES) -> dict[str, Any]:
    """Background noise: 1 % cut connections and 5xx, now and then a single 401. Nobody wants to hear of it.

    `every` is the interval of all checks; None is the default one of each kind.
    """
    told: dict[str, Any] = {}

    async def act(stage: Stage) -> None:
        stage.world.trouble("server.error", share=0.006)
        stage.world.cut(share=0.004)
        stage.world.trouble("auth.invalid_key", share=0.0002)
        await stage.poller.configure()
        forward = FastForward(stage.poller, stage.keeper, stage.clock)
        for day in range(1, days + 1):
            await forward.until(START + timedelta(days=day))
            if every is None and day % 10 == 0:
                said = f"{day} days: {len(stage.incidents())} incidents, {len(stage.messages())} messages"
                print(said, file=sys.stderr, flush=True)
        await forward.end()
        failed = sum(count for (_, verdict, _), count in stage.poller.counts.items() if verdict == "failed")
        made = stage.incidents()
        told.update(
            days=days,
            every=every or "defaults",
            projects=len(names),
            checks=stage.poller.checks,
            failed=failed,
            incidents=len(made),
            messages=len(stage.messages()),
            found=[f"{one.cause.key} {one.failure.value}" for one in made][:20],
        )

    perform(act, every=every, names=names, running=False)
    return told
