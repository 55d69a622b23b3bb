"""Latency sketches."""

import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.store.sketch import COUNTS, ONE, bin_of, compact, percentiles, shortened, sketch, value_of

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
    assert percentiles(shortened(sketch(a) + sketch(b)), fractions) == percentiles(sketch(a + b), fractions)


@settings(deadline=None)
@given(latencies)
def test_compacting_changes_no_answer_and_never_grows(values: list[float]) -> None:
    loose = b"".join(ONE[bin_of(value)] for value in values)
    assert percentiles(compact(loose), (0.1, 0.5, 0.9)) == percentiles(loose, (0.1, 0.5, 0.9))
    assert len(compact(loose)) <= len(loose)
    assert compact(compact(loose)) == compact(loose)
    more = compact(loose) + loose + compact(loose)  # blocks and entries in any order
    assert percentiles(more, (0.1, 0.5, 0.9)) == percentiles(loose * 3, (0.1, 0.5, 0.9))
    assert compact(more) == compact(loose * 3)


def test_a_million_values_stay_small() -> None:
    held = sketch([250.0])
    for _ in range(20):
        held = shortened(held + held)
    assert len(held) < 60
    assert percentiles(held, [0.5])[0] == pytest.approx(250, rel=0.02)


@pytest.mark.parametrize("latency", [0.0, -5.0, 1e-9, 1e12, float("inf")])
def test_absurd_latencies_land_in_the_outermost_bins(latency: float) -> None:
    assert bin_of(latency) in (0, 511)


def test_an_empty_sketch_knows_no_percentile() -> None:
    assert percentiles(b"", [0.5, 0.9]) == [None, None]


def test_every_count_can_be_said_and_the_table_fits_its_seven_bits() -> None:
    assert len(COUNTS) == 127  # and one that says that a block begins
    assert list(COUNTS) == sorted(set(COUNTS))
    assert value_of(bin_of(1000.0)) == pytest.approx(1000, rel=0.02)


KINDS: dict[str, Callable[[random.Random], float]] = {
    "lognormal": lambda dice: dice.lognormvariate(5, 0.4),
    "uniform": lambda dice: dice.uniform(1, 2000),
    "two humps": lambda dice: dice.gauss(90, 4) if dice.random() < 0.7 else dice.gauss(2500, 300),
    "a long tail": lambda dice: 50 * dice.paretovariate(1.3),
    "always the same": lambda _: 133.7,
    "time-outs among good ones": lambda dice: 10_000.0 if dice.random() < 0.02 else dice.expovariate(1 / 120) + 20,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1, 7, 60, 300, 7200])
def test_every_kind_of_latencies_is_told_within_two_percent_from_few_bytes(kind: str, size: int) -> None:
    dice = random.Random(size)
    values = [min(40_000_000, max(0.2, KINDS[kind](dice))) for _ in range(size)]
    parts = [values[first : first + 60] for first in range(0, size, 60)]
    held = compact(b"".join(sketch(part) for part in parts))
    for fraction, found in zip((0.5, 0.95, 0.99), percentiles(held, (0.5, 0.95, 0.99)), strict=True):
        exact = sorted(values)[max(math.ceil(fraction * size - 1e-9), 1) - 1]
        assert found == pytest.approx(exact, rel=0.02)
    assert len(held) <= 2 * size


def test_a_day_of_a_project_takes_a_hundred_and_a_half_bytes() -> None:
    dice = random.Random(1)
    assert len(sketch([dice.lognormvariate(5, 0.4) for _ in range(7200)])) < 150
    assert len(sketch([dice.lognormvariate(5, 0.4) for _ in range(300)])) < 70


@given(st.lists(st.integers(0, 511), max_size=300))
def test_no_run_of_bins_is_too_long_for_a_block(bins: list[int]) -> None:
    loose = b"".join(ONE[index] for index in bins)
    assert percentiles(compact(loose), (0.01, 0.5, 1)) == percentiles(loose, (0.01, 0.5, 1))
