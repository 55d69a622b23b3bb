"""Very much at once: the worst one by one, everything else together, nothing left out."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.domain.alerting import Decision, NotifyReason
from monitor.domain.flood import FEW, WITHIN, Past, rationed
from monitor.domain.incidents import Incident, Severity
from tests.notify.examples import NOW, incident

MOST = 5
SEVERITIES = (Severity.WARNING, Severity.CRITICAL, Severity.INFO)


def due(count: int, severity: Severity | None = None) -> list[tuple[Incident, Decision]]:
    return [
        (
            incident(id=number, severity=severity or SEVERITIES[number % 3]),
            Decision(send=True, reason=NotifyReason.FIRST, dedup_key=str(number), why=""),
        )
        for number in range(count)
    ]


def test_few_are_told_one_by_one_as_they_come() -> None:
    for count in (0, 1, MOST, MOST + FEW):
        part = rationed(due(count), Past(), MOST, NOW)
        assert (list(part.singly), part.together, part.later) == (due(count), (), ())


def test_of_very_many_the_worst_are_told_one_by_one_and_the_rest_together() -> None:
    part = rationed(due(300), Past(), MOST, NOW)
    assert [each.severity for each, _ in part.singly] == [Severity.CRITICAL] * MOST
    assert len(part.together) == 300 - MOST
    assert part.later == ()


def test_after_a_message_about_many_the_next_waits() -> None:
    past = Past([NOW - timedelta(minutes=1)] * MOST, NOW - timedelta(minutes=4))
    part = rationed(due(40), past, MOST, NOW)
    assert (list(part.singly), len(part.together), len(part.later)) == ([], 0, 40)
    assert part.until == NOW + timedelta(minutes=6)
    late = rationed(due(40), past, MOST, NOW + timedelta(minutes=6))
    assert (len(late.singly), len(late.together), len(late.later)) == (0, 40, 0)
    calm = rationed(due(40), past, MOST, NOW + WITHIN)
    assert (len(calm.singly), len(calm.together)) == (MOST, 35)


@given(st.integers(0, 60), st.lists(st.integers(-1200, 60), max_size=40), st.none() | st.integers(-1200, 0), st.integers(1, 30))
def test_nothing_is_left_out_and_nobody_is_drowned(count: int, singly: list[int], together: int | None, most: int) -> None:
    past = Past([NOW + timedelta(seconds=at) for at in singly], None if together is None else NOW + timedelta(seconds=together))
    part = rationed(due(count), past, most, NOW)
    assert sorted(each.id or 0 for some in (part.singly, part.together, part.later) for each, _ in some) == list(range(count))
    before = sum(-600 < at <= 0 for at in singly)
    assert len(part.singly) <= max(0, most - before) + FEW
    assert not (part.together and part.later)
    assert bool(part.later) is (part.until is not None)


@pytest.mark.parametrize("most", [1, 2])
def test_the_smallest_ration(most: int) -> None:
    part = rationed(due(9, Severity.WARNING), Past(), most, NOW)
    assert [each.id for each, _ in part.singly] == list(range(most))
