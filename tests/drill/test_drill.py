"""Every outage is one incident with the right cause and scope, told once and named in time; `make drill` prints the same."""

import functools
import statistics

import pytest

from monitor.domain.taxonomy import FailureKind
from tests.drill.scenarios import MEDIAN, SCENARIOS, WORST, Scenario
from tests.drill.score import A_FEW, Score, noise, run

scored = functools.cache(run)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_an_outage_is_understood(scenario: Scenario) -> None:
    score: Score = scored(scenario)
    assert score.right, score.line()
    assert len(score.seconds_to_name) == len(scenario.expected)
    assert max(score.seconds_to_name, default=0) < WORST


def test_causes_are_named_soon() -> None:
    assert statistics.median(seconds for scenario in SCENARIOS for seconds in scored(scenario).seconds_to_name) < MEDIAN


def test_every_cause_that_there_is_is_drilled() -> None:
    told = {expected.failure for scenario in SCENARIOS for expected in scenario.expected}
    silent = {FailureKind.UNKNOWN, FailureKind.CLIENT_BAD_REQUEST}  # the two that wake nobody have a scenario of their own
    assert set(FailureKind) - told == silent
    assert len({scenario.name for scenario in SCENARIOS}) == len(SCENARIOS) >= 40


def test_nobody_hears_of_what_always_happens() -> None:
    heard = noise(1, None, A_FEW)
    assert heard["failed"] > 50
    assert (heard["incidents"], heard["messages"]) == (0, 0), heard
