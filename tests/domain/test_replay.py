"""Observations folded again: what another policy would have made of them."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.domain.correlation import Fleet
from monitor.domain.health import Health, HealthPolicy, HealthState, Transition, advance
from monitor.domain.incidents import Change, EventKind
from monitor.domain.inventory import ProbeKind, Target
from monitor.domain.observation import Observation
from monitor.domain.replay import Again, replay
from monitor.domain.taxonomy import FailureKind, Scope
from tests.store.helpers import CHECKOUT, START, project, span, story

NAMES = ("checkout", "search", "legacy", "batch", "chat")
FLEET = Fleet.of(project(name) for name in NAMES)
EAGER = HealthPolicy(fail_after=1, fail_window=1, definitive_fail_after=1, recover_after=1)


def together(*stories: list[Observation]) -> list[Observation]:
    return sorted((seen for told in stories for seen in told), key=lambda seen: seen.at)


def test_nothing_comes_of_nothing() -> None:
    found = replay([])
    assert (found.transitions, found.incidents, found.observations) == ((), (), 0)


def test_a_dead_key_is_one_incident_with_its_times() -> None:
    found = replay(story("ok*3 401*10 ok*3"), fleet=FLEET)
    assert [(step.old, step.new) for step in found.transitions] == [
        (Health.UNKNOWN, Health.HEALTHY),
        (Health.HEALTHY, Health.FAILING),
        (Health.FAILING, Health.HEALTHY),
    ]
    (incident,) = found.incidents
    assert incident.failure is FailureKind.AUTH_INVALID_KEY
    assert incident.projects == ("checkout",)
    assert incident.first_bad_at == START + span("3m")
    # Confirmed by the second refusal, a minute later; the keeper looks once a second.
    assert incident.opened_at == START + span("4m") + span("1s")
    assert incident.resolved_at == START + span("14m") + span("1s")


@pytest.mark.parametrize(
    ("policy", "incidents"),
    [
        pytest.param(HealthPolicy(), 0, id="as it is"),
        pytest.param(EAGER, 3, id="eager"),
        pytest.param(HealthPolicy(definitive_fail_after=1), 3, id="refusals at once"),
    ],
)
def test_another_policy_would_have_paged_for_single_refusals(policy: HealthPolicy, incidents: int) -> None:
    told = story("ok*20 401 ok*40 401 ok*40 401 ok*5")
    assert len(replay(told, policy, FLEET).incidents) == incidents


def test_one_project_may_be_judged_by_its_own_policy() -> None:
    legacy = Target(ProbeKind.AUTH, "legacy", "backend")
    told = together(story("ok*20 401 ok*5"), story("ok*20 401 ok*5", target=legacy, start=START + span("2s")))
    found = replay(told, HealthPolicy(), FLEET, {"legacy": EAGER})
    assert [incident.projects for incident in found.incidents] == [("legacy",)]


def test_what_comes_back_within_a_quarter_of_an_hour_is_the_same_incident() -> None:
    found = replay(story("ok*3 401*5 ok*5 401*5 ok*3"), fleet=FLEET)
    assert [(incident.reopened, incident.open) for incident in found.incidents] == [(1, False)]
    later = replay(story("ok*3 401*5 ok*30 401*5 ok*3"), fleet=FLEET)
    assert [incident.reopened for incident in later.incidents] == [0, 0]
    assert [incident.id for incident in later.incidents] == [1, 2]


def test_one_outage_is_one_incident_for_everybody() -> None:
    told = together(
        *(
            story("ok*3 timeout*8 ok*3", target=Target(ProbeKind.AUTH, name, "backend"), start=START + number * span("3s"))
            for number, name in enumerate(NAMES)
        )
    )
    found = replay(told, fleet=FLEET)
    (incident,) = found.alone
    assert incident.cause.scope in (Scope.OPENAI, Scope.MONITOR)
    assert incident.projects == tuple(sorted(NAMES))


def test_an_outage_at_the_very_end_still_opens() -> None:
    found = replay(story("ok*3 500 500", every="5s"), fleet=FLEET)
    (incident,) = found.incidents
    assert incident.open
    assert incident.opened_at > START + span("20s")


def test_a_flapping_target_is_one_incident() -> None:
    found = replay(story("ok*10" + " 500 500 500 ok ok" * 12), HealthPolicy(flap_start=0.3, flap_stop=0.2), FLEET)
    assert len(found.incidents) == 1


def test_what_was_before_the_window_only_tells_how_things_stood() -> None:
    told = story("ok*3 401*30 ok*30 401*30")
    since = START + span("70m")
    found = replay(told, fleet=FLEET, since=since)
    assert found.observations == len(told) - 70
    assert found.transitions == ()
    assert [incident.first_bad_at for incident in found.incidents] == [START + span("63m")]


def test_steps_come_in_the_order_of_time_and_are_all_told() -> None:
    again = Again(HealthPolicy(), FLEET)
    steps = [step for seen in story("ok*3 401*5 ok*4") for step in again.take(seen)]
    kinds = [step.events[0].kind if isinstance(step, Change) else step.new for step in steps]
    assert kinds == [Health.HEALTHY, Health.FAILING, EventKind.OPENED, Health.HEALTHY, EventKind.RESOLVED]


WORDS = ("ok", "ok", "ok", "401", "429", "500", "timeout", "?", "quota")


@given(st.lists(st.sampled_from(WORDS), max_size=60), st.sampled_from([HealthPolicy(), EAGER]))
def test_transitions_are_those_of_the_health_itself(words: list[str], policy: HealthPolicy) -> None:
    told = story(" ".join(words))
    state, expected = HealthState(), []
    for seen in told:
        state, transition = advance(state, seen, policy)
        expected += [transition] if transition else []
    assert list(replay(told, policy, FLEET).transitions) == expected


@given(st.lists(st.sampled_from(WORDS), max_size=60))
def test_an_incident_has_its_times_in_order_and_an_end_when_all_is_well(words: list[str]) -> None:
    told = story(" ".join([*words, *["ok"] * 25]))
    for incident in replay(told, fleet=FLEET).incidents:
        assert incident.first_bad_at <= incident.opened_at
        assert incident.resolved_at is not None
        assert incident.opened_at <= incident.resolved_at


def test_the_same_is_found_however_far_apart_the_moments_are_read() -> None:
    told = story("ok*5 401*5 ok*5 500*9 ok*9")
    shifted = [replace(seen, at=seen.at + timedelta(days=300)) for seen in told]
    first, second = replay(told, fleet=FLEET), replay(shifted, fleet=FLEET)
    assert [each.failure for each in first.incidents] == [each.failure for each in second.incidents]
    assert len(first.incidents) == 2
    assert isinstance(first.transitions[0], Transition)
    assert first.transitions[0].target == CHECKOUT
