"""How checks become health: tables of sequences, then what holds for every sequence."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.domain.health import (
    Health,
    HealthPolicy,
    HealthState,
    LaneState,
    TargetHealth,
    Transition,
    advance,
    fresh_health,
    lamps,
    look_again_after,
    overall,
)
from monitor.domain.inventory import ProbeKind, Target
from monitor.domain.observation import Observation, Verdict
from monitor.domain.taxonomy import LAMPS, FailureKind, Lane

K = FailureKind
START = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
LETTERS: dict[str, FailureKind] = {
    "k": K.AUTH_INVALID_KEY,
    "p": K.AUTH_WRONG_PROJECT,
    "s": K.AUTH_MISSING_SCOPE,
    "u": K.AUTH_UNKNOWN,
    "m": K.ACCESS_MODEL_NOT_ALLOWED,
    "q": K.QUOTA_CREDITS,
    "r": K.RATE_REQUESTS,
    "t": K.RATE_TOKENS,
    "e": K.SERVER_ERROR,
    "o": K.SERVER_OVERLOADED,
    "x": K.NETWORK_TIMEOUT,
    "n": K.NETWORK_UNREACHABLE,
}
"""One letter a check. Besides: `.` good, `!` good with a finding, `?` inconclusive."""
ENDS = dict.fromkeys("kpumqeoxn", Health.FAILING) | {"s": Health.RESTRICTED, "r": Health.DEGRADED, "t": Health.DEGRADED}


def check(letter: str, at: datetime = START, probe: ProbeKind = ProbeKind.AUTH) -> Observation:
    """The observation that a letter stands for."""
    target = Target(probe, "prod-chatbot", "backend")
    if letter == "?":
        return Observation(target, at, Verdict.INCONCLUSIVE, failure=K.CLIENT_BAD_REQUEST)
    if letter in ".!":
        return Observation(target, at, Verdict.OK, finding="denied_model_usable" if letter == "!" else None)
    return Observation(target, at, Verdict.FAILED, failure=LETTERS[letter])


POLICY = HealthPolicy()


def fold(letters: str, policy: HealthPolicy = POLICY, probe: ProbeKind = ProbeKind.AUTH) -> tuple[HealthState, list[Transition]]:
    """The state after a check a minute, and every change on the way."""
    state, changes = HealthState(), []
    for number, letter in enumerate(letters):
        state, change = advance(state, check(letter, START + number * MINUTE, probe), policy)
        changes += [change] if change else []
    return state, changes


@pytest.mark.parametrize(
    ("letters", "health", "failure"),
    [
        ("", "unknown", None),
        ("?", "unknown", None),
        (".", "healthy", None),
        # A refused key: the first refusal asks for another look, the second decides.
        ("k", "unknown", None),
        (".k", "healthy", None),
        (".k.", "healthy", None),
        (".k.k.k.k", "healthy", None),
        (".kk", "failing", K.AUTH_INVALID_KEY),
        (".k?k", "failing", K.AUTH_INVALID_KEY),
        # Another refusal is no confirmation of the first.
        (".kp", "healthy", None),
        (".kpp", "failing", K.AUTH_WRONG_PROJECT),
        (".kpk", "failing", K.AUTH_INVALID_KEY),
        # What time may heal: two of three.
        (".x", "healthy", None),
        (".x.x", "failing", K.NETWORK_TIMEOUT),
        (".x..x", "healthy", None),
        (".e.o", "failing", K.SERVER_OVERLOADED),
        (".xn", "failing", K.NETWORK_UNREACHABLE),
        # A timeout never makes a key invalid, and nothing is confirmed by it.
        (".xk", "healthy", None),
        (".kx", "failing", K.NETWORK_TIMEOUT),
        (".xxk", "failing", K.NETWORK_TIMEOUT),
        (".xxkk", "failing", K.AUTH_INVALID_KEY),
        (".kkx", "failing", K.AUTH_INVALID_KEY),
        (".kkxx", "failing", K.NETWORK_TIMEOUT),
        (".kkxkx", "failing", K.AUTH_INVALID_KEY),
        # Restricted: alive. One refusal does not make it dead.
        (".s", "healthy", None),
        (".ss", "restricted", K.AUTH_MISSING_SCOPE),
        (".ssk", "restricted", K.AUTH_MISSING_SCOPE),
        (".ssu", "restricted", K.AUTH_MISSING_SCOPE),
        (".sskk", "failing", K.AUTH_INVALID_KEY),
        (".ss..", "healthy", None),
        # A rate limit degrades.
        (".r", "healthy", None),
        (".rr", "degraded", K.RATE_REQUESTS),
        (".rt", "degraded", K.RATE_TOKENS),
        (".rrt", "degraded", K.RATE_TOKENS),
        (".rrq", "degraded", K.RATE_REQUESTS),
        (".rrqq", "failing", K.QUOTA_CREDITS),
        # Recovery takes two good answers in a row.
        (".kk.", "failing", K.AUTH_INVALID_KEY),
        (".kk.k.", "failing", K.AUTH_INVALID_KEY),
        (".kk.?.", "healthy", None),
        (".kk..", "healthy", None),
        (".kk..k", "healthy", None),
        # A finding degrades at once, though the answer was good, and goes at once.
        ("!", "degraded", None),
        (".!", "degraded", None),
        ("!.", "healthy", None),
        ("mm!!", "degraded", None),
        ("mm!", "failing", K.ACCESS_MODEL_NOT_ALLOWED),
    ],
)
def test_a_sequence_of_checks_ends_in_a_health(letters: str, health: str, failure: FailureKind | None) -> None:
    state, _ = fold(letters)
    assert (state.health, state.failure) == (health, failure)


@pytest.mark.parametrize(("letter", "health"), ENDS.items())
def test_two_failures_of_a_kind_are_enough_and_one_moves_nothing(letter: str, health: Health) -> None:
    once, changes = fold("." + letter)
    assert (once.health, once.suspect, len(changes)) == (Health.HEALTHY, True, 1)
    twice, changes = fold("." + letter * 2)
    assert (twice.health, twice.failure, twice.suspect) == (health, LETTERS[letter], False)
    assert [(change.old, change.new) for change in changes] == [(Health.UNKNOWN, Health.HEALTHY), (Health.HEALTHY, health)]
    assert (changes[-1].failure, changes[-1].at) == (LETTERS[letter], START + 2 * MINUTE)


@pytest.mark.parametrize(
    ("probe", "health"),
    [
        (ProbeKind.AUTH, Health.RESTRICTED),
        (ProbeKind.MODEL_ACCESS, Health.RESTRICTED),
        (ProbeKind.INFERENCE, Health.FAILING),
        (ProbeKind.DENIED_MODEL, Health.FAILING),
    ],
)
def test_a_key_that_may_not_list_models_is_restricted_but_one_that_may_not_infer_fails(probe: ProbeKind, health: Health) -> None:
    assert fold("ss", probe=probe)[0].health is health


@pytest.mark.parametrize(
    ("letters", "policy", "health"),
    [
        ("k", HealthPolicy(definitive_fail_after=1), "failing"),
        (".kk", HealthPolicy(definitive_fail_after=3), "healthy"),
        (".kkk", HealthPolicy(definitive_fail_after=3), "failing"),
        (".x", HealthPolicy(fail_after=1), "failing"),
        (".xx", HealthPolicy(fail_after=3), "healthy"),
        (".x.xx", HealthPolicy(fail_after=3, fail_window=4), "failing"),
        ("kk.", HealthPolicy(recover_after=1), "healthy"),
        ("kk..", HealthPolicy(recover_after=3), "failing"),
        ("kk...", HealthPolicy(recover_after=3), "healthy"),
    ],
)
def test_a_policy_says_how_much_evidence_is_needed(letters: str, policy: HealthPolicy, health: str) -> None:
    assert fold(letters, policy)[0].health == health


def test_timeouts_do_not_confirm_a_refused_key_under_any_patience() -> None:
    state, _ = fold(".xxk", HealthPolicy(fail_after=3))
    assert (state.health, state.failure) == (Health.FAILING, K.NETWORK_TIMEOUT)


@pytest.mark.parametrize(
    "wrong",
    [
        {"fail_after": 0},
        {"fail_window": 22},
        {"recover_after": 0},
        {"fail_after": 4},
        {"definitive_fail_after": -1},
        {"flap_stop": 0.6},
        {"flap_start": 1.1},
    ],
)
def test_a_policy_that_could_never_be_met_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        HealthPolicy(**wrong)  # type: ignore[arg-type]


def test_a_state_knows_since_when_and_when_it_was_last_well() -> None:
    state, _ = fold(".kkk")
    assert state.since == START + 2 * MINUTE
    assert state.last_at == START + 3 * MINUTE
    assert state.last_ok_at == START
    assert state.last_kind is K.AUTH_INVALID_KEY


def test_another_cause_of_the_same_health_is_no_transition() -> None:
    state, changes = fold(".kkxx")
    assert (state.failure, state.since) == (K.NETWORK_TIMEOUT, START + 2 * MINUTE)
    assert len(changes) == 2


@pytest.mark.parametrize(
    ("behind", "counts"),
    [
        (timedelta(milliseconds=1), False),
        (timedelta(minutes=5), False),
        (timedelta(minutes=5, milliseconds=1), True),
        (timedelta(days=400), True),
        (timedelta(), True),
    ],
)
def test_a_late_answer_is_ignored_and_a_clock_set_back_is_not(behind: timedelta, counts: bool) -> None:
    state, _ = fold(".k")
    assert state.last_at is not None
    new, change = advance(state, check("k", state.last_at - behind))
    assert (new is not state) is counts
    assert (change is not None) is counts
    assert new.health is (Health.FAILING if counts else Health.HEALTHY)


@pytest.mark.parametrize(
    ("letters", "seconds"),
    [
        ("", None),
        (".", None),
        (".k", 5),
        ("k", 5),
        (".kp", 15),
        (".x", 5),
        (".kk", None),
        (".kk.", 5),
        (".kk..", None),
        (".r", 60),
        (".rr", None),
        (".rr.", 60),
        (".rr..", None),
        (".ss", None),
        (".ssk", 5),
        (".sskk", None),
        ("!", None),
        ("!k", 5),
        (".k?", 5),
    ],
)
def test_a_suspect_or_recovering_target_is_looked_at_again_soon(letters: str, seconds: int | None) -> None:
    wait = look_again_after(fold(letters)[0])
    assert wait == (timedelta(seconds=seconds) if seconds is not None else None)


def test_a_long_recovery_is_looked_at_twice_then_at_the_interval() -> None:
    policy = HealthPolicy(recover_after=5)
    assert [look_again_after(fold("kk" + "." * n, policy)[0], policy) for n in (1, 2, 3, 4, 5)] == [
        timedelta(seconds=5),
        timedelta(seconds=15),
        None,
        None,
        None,
    ]


def test_a_paused_target_is_not_looked_at_and_stays_what_it_is() -> None:
    paused = HealthState(health=Health.PAUSED, recent=(False,), last_kind=K.AUTH_INVALID_KEY, last_at=START)
    assert look_again_after(paused) is None
    assert not paused.suspect
    assert fresh_health(paused, MINUTE, START + timedelta(days=9)) is Health.PAUSED


@pytest.mark.parametrize(
    ("interval", "age", "fresh"),
    [
        (timedelta(seconds=60), timedelta(), True),
        (timedelta(seconds=60), timedelta(seconds=180), True),
        (timedelta(seconds=60), timedelta(seconds=181), False),
        (timedelta(seconds=5), timedelta(seconds=90), True),
        (timedelta(seconds=5), timedelta(seconds=91), False),
        (timedelta(minutes=15), timedelta(minutes=45), True),
        (timedelta(minutes=15), timedelta(minutes=46), False),
        (timedelta(seconds=60), timedelta(seconds=-180), True),
        (timedelta(seconds=60), timedelta(seconds=-181), False),
    ],
)
@pytest.mark.parametrize("letters", [".", "kk", "rr", "ss"])
def test_late_data_is_unknown_and_so_is_data_from_the_future(
    letters: str, interval: timedelta, age: timedelta, fresh: bool
) -> None:
    state, _ = fold(letters)
    assert state.last_at is not None
    assert fresh_health(state, interval, state.last_at + age) is (state.health if fresh else Health.UNKNOWN)


def test_a_new_target_is_unknown() -> None:
    assert fresh_health(HealthState(), MINUTE, START) is Health.UNKNOWN


def test_an_inconclusive_answer_keeps_a_state_fresh() -> None:
    state, _ = fold("." + "?" * 60)
    assert fresh_health(state, MINUTE, START + 60 * MINUTE) is Health.HEALTHY
    assert state.recent == (True,)


# Lamps --------------------------------------------------------------------------------------------------------------------------


def target(probe: str, health: Health = Health.HEALTHY, failure: FailureKind | None = None, since: int = 0) -> TargetHealth:
    """A target's health, for some minutes after the start."""
    return TargetHealth(ProbeKind(probe), health, failure, START + since * MINUTE)


FAILING, DEGRADED, RESTRICTED, UNKNOWN = Health.FAILING, Health.DEGRADED, Health.RESTRICTED, Health.UNKNOWN


@pytest.mark.parametrize(
    ("targets", "shown"),
    [
        ([], "------"),
        ([target("auth", UNKNOWN)], "------"),
        ([target("control")], "----gg"),
        ([target("auth")], "g---gg"),
        ([target("model_access")], "gg--gg"),
        ([target("inference")], "gggggg"),
        ([target("denied_model")], "-g--gg"),
        # OpenAI refused: so its server spoke, and the network carried it.
        ([target("auth", FAILING, K.AUTH_INVALID_KEY)], "f---gg"),
        ([target("inference", FAILING, K.QUOTA_CREDITS)], "---fgg"),
        ([target("inference", DEGRADED, K.RATE_TOKENS)], "--d-gg"),
        ([target("inference", FAILING, K.ACCESS_MODEL_RETIRED)], "-f--gg"),
        ([target("auth", RESTRICTED, K.AUTH_MISSING_SCOPE)], "r---gg"),
        # Nobody answered: nothing is known of the rest.
        ([target("auth", FAILING, K.NETWORK_TIMEOUT)], "-----f"),
        ([target("auth", FAILING, K.SERVER_ERROR)], "----f-"),
        # Listing works, but there is no money: listing is no proof.
        ([target("auth"), target("inference", FAILING, K.QUOTA_EXHAUSTED)], "g--fgg"),
        # A restricted key that works in production.
        ([target("auth", RESTRICTED, K.AUTH_MISSING_SCOPE), target("inference")], "rggggg"),
        ([target("denied_model", DEGRADED)], "-d--gg"),
        ([target("auth", FAILING, K.CLIENT_CONFIGURATION)], "f-----"),
        ([target("auth"), target("auth", FAILING, K.AUTH_INVALID_KEY)], "f---gg"),
        ([target("auth", UNKNOWN, K.AUTH_INVALID_KEY)], "------"),
        ([target("inference", Health.PAUSED)], "------"),
    ],
)
def test_lamps_show_the_worst_of_each_lane_and_nothing_that_is_not_proven(targets: list[TargetHealth], shown: str) -> None:
    signs = {UNKNOWN: "-", Health.HEALTHY: "g", FAILING: "f", DEGRADED: "d", RESTRICTED: "r"}
    for order in (targets, targets[::-1]):
        found = lamps(order)
        assert tuple(found) == LAMPS
        assert "".join(signs[lamp.health] for lamp in found.values()) == shown


def test_a_lamp_is_ill_since_the_first_and_well_since_the_last() -> None:
    ill = [target("auth", FAILING, K.AUTH_INVALID_KEY, 5), target("auth", FAILING, K.AUTH_WRONG_PROJECT, 3)]
    well = [target("inference", since=30), target("inference", since=2)]
    assert lamps(ill)[Lane.AUTH] == LaneState(FAILING, START + 3 * MINUTE, K.AUTH_WRONG_PROJECT)
    assert lamps(well)[Lane.QUOTA] == LaneState(Health.HEALTHY, START + 30 * MINUTE)


@pytest.mark.parametrize(
    ("healths", "worst"),
    [
        ([], UNKNOWN),
        ([UNKNOWN, UNKNOWN], UNKNOWN),
        ([UNKNOWN, Health.HEALTHY], Health.HEALTHY),
        ([Health.HEALTHY, RESTRICTED], RESTRICTED),
        ([RESTRICTED, DEGRADED], DEGRADED),
        ([DEGRADED, FAILING, Health.HEALTHY, UNKNOWN], FAILING),
    ],
)
def test_a_project_is_as_ill_as_its_worst_lamp(healths: list[Health], worst: Health) -> None:
    lanes = [LaneState(health, START) for health in healths]
    assert overall(lanes).health is worst
    assert overall(lanes[::-1]).health is worst


# Every sequence -----------------------------------------------------------------------------------------------------------------

SEQUENCES = st.text(alphabet="".join(LETTERS) + ".!?", max_size=40)
POLICIES = st.builds(
    HealthPolicy,
    fail_after=st.integers(1, 3),
    fail_window=st.integers(3, 5),
    definitive_fail_after=st.integers(1, 4),
    recover_after=st.integers(1, 4),
)
TIMES = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis wants them so


@settings(max_examples=300, deadline=None)
@given(SEQUENCES, POLICIES, st.sampled_from(ProbeKind))
def test_transitions_chain_and_tell_the_whole_story(letters: str, policy: HealthPolicy, probe: ProbeKind) -> None:
    state, changes = fold(letters, policy, probe)
    health = Health.UNKNOWN
    for change in changes:
        assert change.old is health
        assert change.new is not health
        health = change.new
    assert state.health is health
    assert state.since == (changes[-1].at if changes else None)
    assert (state.failure is not None) >= (health in (Health.FAILING, Health.RESTRICTED))


@settings(max_examples=200, deadline=None)
@given(SEQUENCES, POLICIES)
def test_inconclusive_answers_change_nothing_but_the_age(letters: str, policy: HealthPolicy) -> None:
    with_them, _ = fold(letters.replace("?", "??") + "?", policy)
    without, _ = fold(letters.replace("?", ""), policy)
    nothing = {"since": None, "last_at": None, "last_ok_at": None}
    assert replace(with_them, **nothing) == replace(without, **nothing)  # type: ignore[arg-type]


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="".join(LETTERS).replace("k", "") + ".!?", max_size=12), st.integers(0, 12))
def test_one_refusal_among_answers_of_other_lanes_never_makes_a_key_invalid(others: str, place: int) -> None:
    others = others.translate(str.maketrans({"p": ".", "m": ".", "q": "."}))
    state, _ = fold(others[:place] + "k" + others[place:])
    assert state.failure is not K.AUTH_INVALID_KEY


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(TIMES, st.sampled_from("".join(LETTERS) + ".!?")), max_size=20), TIMES, POLICIES)
def test_whatever_the_clock_does_the_fold_gives_a_state(
    checks: list[tuple[datetime, str]], now: datetime, policy: HealthPolicy
) -> None:
    state = HealthState()
    for at, letter in checks:
        state, _ = advance(state, check(letter, at), policy)
        assert fresh_health(state, MINUTE, now, policy) in Health
        assert look_again_after(state, policy) in (None, *policy.confirm_after, policy.confirm_rate_after)
        assert len(state.recent) <= 21


@given(st.text(alphabet=".kxr", min_size=1, max_size=60))
def test_two_good_answers_in_a_row_always_heal_what_does_not_flap(letters: str) -> None:
    state, _ = fold(letters + "..")
    assert (state.health is Health.HEALTHY and state.failure is None) is not state.flapping


@given(st.text(alphabet="".join(LETTERS) + ".!?", max_size=60), POLICIES)
def test_whatever_flapped_settles_when_nothing_but_good_answers_come(letters: str, policy: HealthPolicy) -> None:
    state, changes = fold(letters + "." * 21, policy)
    assert (state.health, state.failure, state.flapping) == (Health.HEALTHY, None, False)
    assert changes[-1].new is Health.HEALTHY


@pytest.mark.parametrize(
    ("letters", "flapping", "health", "failure"),
    [
        (".k.k.k.k", False, Health.HEALTHY, None),
        # Every other check is refused: never two in a row, so no rule but this sees it. The key is not dead: it works between.
        (".k.k.k.k.k", True, Health.DEGRADED, K.AUTH_UNKNOWN),
        (".k.k.k.k.k.", True, Health.DEGRADED, K.AUTH_UNKNOWN),
        # A third of the checks time out and two good ones follow each: a brown-out.
        ("x.." * 4, False, Health.HEALTHY, None),
        ("x.." * 7, True, Health.DEGRADED, K.NETWORK_TIMEOUT),
        # Noise is not flapping.
        (("." * 6 + "e") * 6, False, Health.HEALTHY, None),
        # What was confirmed keeps its name while it comes and goes, and is called failing while calls fail.
        ("kk.." * 6, True, Health.DEGRADED, K.AUTH_INVALID_KEY),
        ("kk.." * 6 + "kk", True, Health.FAILING, K.AUTH_INVALID_KEY),
        # Settled: well or ill without flapping.
        ("x.." * 7 + "." * 14, False, Health.HEALTHY, None),
        ("x.." * 7 + "x" * 16, False, Health.FAILING, K.NETWORK_TIMEOUT),
        # A restricted key that may list now and then stays a restricted key, and a limit reached now and then a limit.
        ("ss.." * 6, True, Health.RESTRICTED, K.AUTH_MISSING_SCOPE),
        ("r." * 10, True, Health.DEGRADED, K.RATE_REQUESTS),
    ],
)
def test_what_comes_and_goes_is_one_trouble_until_it_settles(
    letters: str, flapping: bool, health: Health, failure: FailureKind | None
) -> None:
    state, _ = fold(letters)
    assert (state.flapping, state.health, state.failure) == (flapping, health, failure)


def test_flapping_begins_at_half_and_ends_below_a_quarter() -> None:
    seen, state = [], HealthState()
    for number, letter in enumerate("x." * 8 + "." * 20):
        state, _ = advance(state, check(letter, START + number * MINUTE))
        seen.append(state.flapping)
    begun, ended = seen.index(True), len(seen) - 1 - seen[::-1].index(True)
    assert all(seen[begun : ended + 1]), "flapping must not itself flap"
    assert begun == 9, "nine of the newest steps weigh just less than half, ten more"
    assert ended > 20, "the second threshold is lower than the first"


def test_thresholds_of_flapping_belong_to_the_policy() -> None:
    patient = HealthPolicy(flap_start=1.0, flap_stop=0.9)
    assert fold("x.." * 7, patient)[0].flapping is False
    assert fold("x." * 11, patient)[0].flapping is True
    assert fold("." * 15 + "x" + ".", HealthPolicy(flap_start=0.1, flap_stop=0.05))[0].flapping is True
