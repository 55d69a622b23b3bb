"""Every outage is one incident with the right cause and scope, named in time; `make drill` prints the same with its figures."""

import pytest

from tests.drill.scenarios import SCENARIOS, Scenario
from tests.drill.score import run


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_an_outage_is_understood(scenario: Scenario) -> None:
    score = run(scenario)
    assert score.right, score.line()
    assert max(score.seconds_to_name, default=0) < 90
