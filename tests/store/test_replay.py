"""Stored observations read again are what was recorded, and lead to the same."""

import pytest

from monitor import replay
from monitor.domain.health import Health, HealthPolicy, Transition
from monitor.domain.incidents import Change
from monitor.domain.inventory import ProbeKind, Target
from monitor.domain.timeline import Window
from monitor.store import queries
from monitor.store.replay import stored
from tests.store.conftest import Store
from tests.store.helpers import CHECKOUT, START, inventory, span, story

LEGACY = Target(ProbeKind.AUTH, "legacy", "backend")
CONTROL = Target(ProbeKind.CONTROL, host="https://api.openai.com/v1")
WINDOW = Window(START, START + span("6h"))


@pytest.fixture
def known(store: Store) -> Store:
    store.writer.sync_inventory(inventory("checkout", "legacy"), START)
    store.writer.record(story("ok*90 401*30 ok*60 ? 500 ok*3 429 ok*60", target=CHECKOUT), START)
    store.writer.record(story("ok*200", target=LEGACY, start=START + span("7s")), START)
    store.writer.record(story("ok*200", target=CONTROL, start=START + span("9s")), START)
    return store


def test_they_come_back_in_the_order_of_time(known: Store) -> None:
    seen = list(stored(known.pages, WINDOW))
    assert len(seen) == 246 + 400
    assert [each.at for each in seen] == sorted(each.at for each in seen)
    assert {each.target for each in seen} == {CHECKOUT, LEGACY, CONTROL}
    assert {each.target for each in stored(known.pages, WINDOW, {"legacy"})} == {LEGACY}
    assert list(stored(known.pages, WINDOW, {"nobody"})) == []


def test_the_same_policy_finds_what_the_writer_found(known: Store) -> None:
    found = replay.result(known.pages, WINDOW)
    stored = queries.transitions(known.pages, WINDOW)[::-1]
    assert [(step.at, step.old.value, step.new.value) for step in found.transitions] == [
        (row.at.to_pydatetime(), row.old, row.new) for row in stored.itertuples()
    ]
    assert [incident.projects for incident in found.incidents] == [("checkout",)]


def test_another_policy_finds_more(known: Store) -> None:
    eager = HealthPolicy(fail_after=1, fail_window=1, definitive_fail_after=1)
    assert len(replay.result(known.pages, WINDOW, eager).transitions) > len(replay.result(known.pages, WINDOW).transitions)
    only_legacy = replay.result(known.pages, WINDOW, policies={"legacy": eager})
    assert only_legacy.transitions == replay.result(known.pages, WINDOW).transitions


def test_steps_of_the_window_alone_are_told_and_what_was_ill_before_is_no_news(known: Store) -> None:
    steps = list(replay.run(known.pages, Window(START + span("100m"), START + span("6h"))))
    assert [step.new for step in steps if isinstance(step, Transition)] == [Health.HEALTHY]
    assert [step.events[0].kind.value for step in steps if isinstance(step, Change)] == ["resolved"]


def test_an_empty_store_replays_to_nothing(store: Store) -> None:
    assert list(replay.run(store.pages, WINDOW)) == []
    assert replay.result(store.pages, WINDOW).observations == 0
