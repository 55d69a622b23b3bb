"""What is counted, what an objective leaves, and when that goes too fast."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.domain.inventory import ProbeKind
from monitor.domain.sli import (
    RULES,
    BurnRule,
    Counts,
    availability,
    burn_alerts,
    burn_rate,
    by_lane,
    error_budget,
    whole,
    windows,
)
from monitor.domain.taxonomy import LAMPS, FailureKind, Lane

K, P = FailureKind, ProbeKind
HOUR, SIX, FIVE, THIRTY = timedelta(hours=1), timedelta(hours=6), timedelta(minutes=5), timedelta(minutes=30)

few = st.integers(min_value=0, max_value=10_000)
objectives = st.floats(min_value=0.5, max_value=0.99999)


@pytest.mark.parametrize(("counts", "expected"), [(Counts(), None), (Counts(3, 1), 0.75), (Counts(5, 0), 1), (Counts(0, 5), 0)])
def test_availability_is_the_good_part_and_no_data_is_not_everything(counts: Counts, expected: float | None) -> None:
    assert availability(counts) == expected


@pytest.mark.parametrize(
    ("checks", "failures", "lane", "expected"),
    [
        # Listing models proves the key, and says nothing of limits or money.
        ({P.AUTH: Counts(10, 0)}, {}, Lane.AUTH, Counts(10, 0)),
        ({P.AUTH: Counts(10, 0)}, {}, Lane.QUOTA, Counts(0, 0)),
        ({P.INFERENCE: Counts(10, 0)}, {}, Lane.QUOTA, Counts(10, 0)),
        ({P.DENIED_MODEL: Counts(4, 0)}, {}, Lane.ACCESS, Counts(4, 0)),
        ({P.DENIED_MODEL: Counts(4, 0)}, {}, Lane.AUTH, Counts(0, 0)),
        # A refusal fails its own lane, proves server and network, and says nothing of the rest.
        ({P.INFERENCE: Counts(9, 1)}, {K.QUOTA_CREDITS: 1}, Lane.QUOTA, Counts(9, 1)),
        ({P.INFERENCE: Counts(9, 1)}, {K.QUOTA_CREDITS: 1}, Lane.RATE, Counts(9, 0)),
        ({P.INFERENCE: Counts(9, 1)}, {K.QUOTA_CREDITS: 1}, Lane.SERVER, Counts(10, 0)),
        ({P.INFERENCE: Counts(9, 1)}, {K.QUOTA_CREDITS: 1}, Lane.NETWORK, Counts(10, 0)),
        # A timeout proves nothing but itself.
        ({P.AUTH: Counts(9, 1)}, {K.NETWORK_TIMEOUT: 1}, Lane.NETWORK, Counts(9, 1)),
        ({P.AUTH: Counts(9, 1)}, {K.NETWORK_TIMEOUT: 1}, Lane.SERVER, Counts(9, 0)),
        # A key that only may not list models is restricted; it is counted where it is used.
        ({P.AUTH: Counts(0, 60), P.INFERENCE: Counts(4, 0)}, {K.AUTH_MISSING_SCOPE: 60}, Lane.AUTH, Counts(4, 0)),
        ({P.AUTH: Counts(0, 60), P.INFERENCE: Counts(0, 4)}, {K.AUTH_MISSING_SCOPE: 64}, Lane.AUTH, Counts(0, 4)),
        ({P.AUTH: Counts(60, 0), P.INFERENCE: Counts(0, 4)}, {K.AUTH_MISSING_SCOPE: 4}, Lane.AUTH, Counts(60, 4)),
    ],
)
def test_each_lane_counts_what_proves_it(
    checks: dict[ProbeKind, Counts], failures: dict[FailureKind, int], lane: Lane, expected: Counts
) -> None:
    assert by_lane(checks, failures)[lane] == expected


@pytest.mark.parametrize(
    ("kind", "counted"),
    [
        (K.AUTH_INVALID_KEY, True),
        (K.ACCESS_MODEL_RETIRED, True),
        (K.RATE_TOKENS, True),
        (K.QUOTA_CREDITS, True),
        (K.SERVER_OVERLOADED, True),
        (K.NETWORK_UNREACHABLE, False),
        (K.NETWORK_TIMEOUT, False),
        (K.CLIENT_CONFIGURATION, False),
        (K.CLIENT_BAD_REQUEST, False),
        (K.UNKNOWN, False),
    ],
)
def test_what_may_be_the_monitors_own_fault_counts_against_no_project(kind: FailureKind, counted: bool) -> None:
    assert whole({P.INFERENCE: Counts(90, 10)}, {kind: 10}) == Counts(90, 10 if counted else 0)


def test_a_restricted_key_costs_its_project_nothing() -> None:
    assert whole({P.AUTH: Counts(0, 60), P.INFERENCE: Counts(4, 0)}, {K.AUTH_MISSING_SCOPE: 60}) == Counts(4, 0)


@given(
    st.dictionaries(st.sampled_from(ProbeKind), st.builds(Counts, few, few)),
    st.dictionaries(st.sampled_from(FailureKind), few),
)
def test_counts_are_never_negative_and_no_lane_invents_failures(
    checks: dict[ProbeKind, Counts], failures: dict[FailureKind, int]
) -> None:
    lanes = by_lane(checks, failures)
    assert tuple(lanes) == LAMPS
    for lane, counts in lanes.items():
        assert counts.ok >= 0
        assert 0 <= counts.failed <= sum(count for kind, count in failures.items() if kind.lane is lane)
    together = whole(checks, failures)
    assert together.failed <= sum(counts.failed for counts in lanes.values())
    assert together.ok == sum(counts.ok for counts in checks.values())


# --- budget --------------------------------------------------------------------------------------------------------------


def test_a_budget_in_checks_and_in_time() -> None:
    budget = error_budget(Counts(9_995, 5), 0.999, timedelta(days=28))
    assert budget.allowed == pytest.approx(10)
    assert budget.spent == pytest.approx(0.5)
    assert budget.left == pytest.approx(0.5)
    assert budget.time.total_seconds() == pytest.approx(2419.2)  # 40 minutes of 28 days
    assert budget.down is not None
    assert budget.down.total_seconds() == pytest.approx(1209.6)


def test_a_budget_can_be_overspent_and_unknown() -> None:
    overspent = error_budget(Counts(90, 10), 0.99, timedelta(days=7))
    assert overspent.left == pytest.approx(-9)
    unknown = error_budget(Counts(), 0.99, timedelta(days=7))
    assert (unknown.spent, unknown.left, unknown.down) == (None, None, None)


@pytest.mark.parametrize("objective", [0.9, 0.99, 0.995, 0.999, 0.9999])
def test_a_budget_that_is_just_used_is_not_overspent(objective: float) -> None:
    assert (
        error_budget(Counts(round(objective * 100_000), round((1 - objective) * 100_000)), objective, timedelta(days=28)).spent == 1
    )


@pytest.mark.parametrize("objective", [0, 1, -0.1, 1.5])
def test_an_impossible_objective_is_refused(objective: float) -> None:
    with pytest.raises(ValueError, match="objective"):
        error_budget(Counts(1, 0), objective, timedelta(days=7))
    with pytest.raises(ValueError, match="objective"):
        burn_rate(Counts(1, 0), objective)


@given(st.builds(Counts, few, few), few, objectives)
def test_more_failures_never_leave_more(counts: Counts, more: int, objective: float) -> None:
    before = error_budget(counts, objective, timedelta(days=28)).left
    after = error_budget(counts + Counts(0, more), objective, timedelta(days=28)).left
    if before is not None and after is not None:
        assert after <= before + 1e-9


# --- burn rate -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counts", "rate"), [(Counts(999, 1), 1), (Counts(990, 10), 10), (Counts(0, 1), 1000), (Counts(5, 0), 0), (Counts(), None)]
)
def test_the_rate_is_one_where_the_objective_is_just_met(counts: Counts, rate: float | None) -> None:
    found = burn_rate(counts, 0.999)
    assert found is None if rate is None else found == pytest.approx(rate)


CLEAN, BROKEN = Counts(1000, 0), Counts(800, 200)


@pytest.mark.parametrize(
    ("lately", "met"),
    [
        pytest.param({}, [], id="no data"),
        pytest.param(dict.fromkeys(windows(), CLEAN), [], id="all well"),
        pytest.param(dict.fromkeys(windows(), BROKEN), [14.4, 6], id="broken for hours"),
        pytest.param({HOUR: BROKEN, FIVE: CLEAN, SIX: BROKEN, THIRTY: CLEAN}, [], id="over: the short windows are clean"),
        pytest.param({HOUR: CLEAN, FIVE: BROKEN, SIX: CLEAN, THIRTY: BROKEN}, [], id="just begun: the long windows are clean"),
        pytest.param({HOUR: BROKEN, FIVE: BROKEN, SIX: CLEAN, THIRTY: BROKEN}, [14.4], id="fast"),
        pytest.param(
            dict.fromkeys(windows(), Counts(9_920, 80)), [6], id="slow: eight times too fast is less than the first rule wants"
        ),
        pytest.param({HOUR: Counts(58, 2), FIVE: Counts(3, 2)}, [], id="two failed checks are no trend"),
        pytest.param({HOUR: Counts(57, 3), FIVE: Counts(3, 2)}, [14.4], id="three are"),
        pytest.param({HOUR: BROKEN, SIX: BROKEN}, [], id="nothing known of now"),
    ],
)
def test_the_rules(lately: dict[timedelta, Counts], met: list[float]) -> None:
    assert [alert.rule.factor for alert in burn_alerts(lately, 0.999)] == met


def test_the_threshold_itself_is_too_fast() -> None:
    lately = dict.fromkeys((HOUR, FIVE), Counts(98_560, 1_440))
    assert [alert.rule.factor for alert in burn_alerts(lately, 0.999, [BurnRule(14.4, HOUR, FIVE)])] == [14.4]


def test_an_alert_says_how_long_the_budget_lasts() -> None:
    alert = burn_alerts(dict.fromkeys(windows(), Counts(9_700, 300)), 0.999)[0]
    assert alert.rate == pytest.approx(30)
    assert alert.gone_in.total_seconds() == pytest.approx(86_400)


@given(st.dictionaries(st.sampled_from(windows()), st.builds(Counts, few, few)), objectives)
def test_an_alert_never_speaks_of_fewer_failures_than_its_rule_wants(lately: dict[timedelta, Counts], objective: float) -> None:
    for alert in burn_alerts(lately, objective):
        assert alert.rule in RULES
        assert lately[alert.rule.long].failed >= alert.rule.at_least
        assert alert.rate_now >= alert.rule.factor * 0.999
