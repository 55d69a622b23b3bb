"""Latency sketches."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.store.sketch import COUNTS, ONE, bin_of, compact, merge, percentiles, sketch, value_of

latencies = st.lists(st.floats(0.2, 120_000), min_size=1, max_size=400)


@settings(deadline=None)
@given(latencies, st.sampled_from([0.01, 0.5, 0.9, 0.95, 0.99, 1.0]))
def test_percentiles_are_within_two_percent_of_the_value(values: list[float], fraction: float) -> None:
    exact = sorted(values)[max(math.ceil(fraction * len(values) - 1e-9), 1) - 1]
    (found,) = percentiles(sketch(values), [fraction])
    assert found == pytest.approx(exact, rel=0.02)


@settings(deadline=None)
@given(latencies, latencies)
def test_two_sketches_merged_answer_like_one_over_everything(a: list[float], b: list[float]) -> None:
    fractions = (0.1, 0.5, 0.99)
    assert percentiles(merge(sketch(a), sketch(b)), fractions) == percentiles(sketch(a + b), fractions)


@settings(deadline=None)
@given(latencies)
def test_compacting_changes_no_answer_and_never_grows(values: list[float]) -> None:
    loose = b"".join(ONE[bin_of(value)] for value in values)
    assert percentiles(compact(loose), (0.1, 0.5, 0.9)) == percentiles(loose, (0.1, 0.5, 0.9))
    assert len(compact(loose)) <= len(loose)
    assert compact(compact(loose)) == compact(loose)


def test_a_million_values_stay_small() -> None:
    held = sketch([250.0])
    for _ in range(20):
        held = merge(held, held)
    assert len(held) < 60
    assert percentiles(held, [0.5])[0] == pytest.approx(250, rel=0.02)


@pytest.mark.parametrize("latency", [0.0, -5.0, 1e-9, 1e12, float("inf")])
def test_absurd_latencies_land_in_the_outermost_bins(latency: float) -> None:
    assert bin_of(latency) in (0, 511)


def test_an_empty_sketch_knows_no_percentile() -> None:
    assert percentiles(b"", [0.5, 0.9]) == [None, None]


def test_every_count_can_be_said_and_the_table_fills_its_seven_bits() -> None:
    assert len(COUNTS) == 128
    assert list(COUNTS) == sorted(set(COUNTS))
    assert value_of(bin_of(1000.0)) == pytest.approx(1000, rel=0.02)
