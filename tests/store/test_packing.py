"""An hour of answers in a few bytes, and back."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.store.packing import TENTH, Good, pack, unpack

START = 1_795_000_000_000 // 3_600_000 * 3_600_000
LENGTHS = st.one_of(st.none(), st.integers(0, 2**40))


@given(st.lists(st.builds(Good, st.integers(START, START + 3_599_999), LENGTHS, LENGTHS), min_size=1, max_size=200))
def test_what_is_packed_comes_back_in_the_order_of_time(told: list[Good]) -> None:
    found = unpack(START, pack(START, told))
    wanted = sorted(told, key=lambda one: one.at)
    assert [one.at for one in found] == [one.at for one in wanted]
    for ours, theirs in zip(found, wanted, strict=True):
        for mine, yours in ((ours.latency_us, theirs.latency_us), (ours.processing_us, theirs.processing_us)):
            assert (mine is None) == (yours is None)  # not known is not zero
            if mine is not None and yours is not None:
                assert abs(mine - yours) <= TENTH / 2


@pytest.mark.parametrize(
    "told", [[Good(START, None, None)], [Good(START + 3_599_999, 0, 0)], [Good(START + 1, 123_400, 45_000)] * 3]
)
def test_what_needs_no_rounding_comes_back_as_it_was(told: list[Good]) -> None:
    assert unpack(START, pack(START, told)) == told


def test_an_answer_a_minute_takes_four_bytes() -> None:
    """Latencies as services have them, and a schedule that is kept to some hundredths of a second."""
    dice = random.Random(7)
    told = [
        Good(
            START + 17_000 + 60_000 * minute + int(dice.expovariate(1 / 20)),
            int(1000 * dice.lognormvariate(5, 0.4)),
            1000 * int(dice.lognormvariate(4.5, 0.4)),
        )
        for minute in range(60)
    ]
    assert len(pack(START, told)) <= 4 * 60
