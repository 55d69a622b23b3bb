"""What experiments prove: tables of answers, then what holds for all of them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.domain.diagnosis import Context, context_of, diagnose
from monitor.domain.differential import (
    PAID,
    ExperimentKind,
    ExperimentResult,
    KeyFacts,
    Landscape,
    alias_of,
    conclude,
    echo_of,
    named_host,
    plan,
    same_key_elsewhere,
)
from monitor.domain.inventory import ApiKey, ProbeKind, Project, Target, fingerprint
from monitor.domain.observation import Observation, Verdict
from monitor.domain.taxonomy import FailureKind, Lane, Owner
from monitor.domain.words import Confidence
from tests.domain.test_diagnosis import assert_well_worded

K, X = FailureKind, ExperimentKind
NOW = datetime(2026, 11, 23, 14, 5, 20, tzinfo=UTC)
CERTAIN, LIKELY, POSSIBLE = Confidence.CERTAIN, Confidence.LIKELY, Confidence.POSSIBLE
SURE = [POSSIBLE, LIKELY, CERTAIN]
ALL = Landscape(sends_project=True, other_project="search", same_organization=True, may_spend=True, model="gpt-4o")
ECHO = "what was sent has 36 characters and ends in …0001; it looks like a key"


def seen(failure: FailureKind | None, probe: ProbeKind = ProbeKind.AUTH, **facts: Any) -> Observation:
    """The answer to one question of `checkout`'s key."""
    model = "gpt-4o-2024-08-06" if probe in (ProbeKind.MODEL_ACCESS, ProbeKind.INFERENCE) else None
    verdict = Verdict.OK if failure is None else Verdict.FAILED
    return Observation(Target(probe, "checkout", "backend", model), NOW, verdict, failure=failure, **facts)


def result(kind: ExperimentKind, failure: FailureKind | None = None, **facts: Any) -> ExperimentResult:
    """What an experiment answered."""
    return ExperimentResult(kind, seen(failure, ProbeKind.AUTH, **facts), NOW)


@pytest.mark.parametrize(
    ("kind", "probe", "landscape", "experiments"),
    [
        (K.AUTH_INVALID_KEY, ProbeKind.AUTH, ALL, {X.OTHER_KEY}),
        (K.AUTH_INVALID_KEY, ProbeKind.AUTH, Landscape(), set()),
        (K.AUTH_WRONG_PROJECT, ProbeKind.AUTH, ALL, {X.WITHOUT_HEADERS}),
        (K.AUTH_WRONG_PROJECT, ProbeKind.AUTH, Landscape(), set()),
        # What failed need not be asked again.
        (K.AUTH_MISSING_SCOPE, ProbeKind.AUTH, ALL, {X.CALL, X.OTHER_KEY}),
        (K.AUTH_MISSING_SCOPE, ProbeKind.INFERENCE, ALL, {X.LISTING, X.OTHER_KEY}),
        (K.ACCESS_MODEL_NOT_FOUND, ProbeKind.MODEL_ACCESS, ALL, {X.LOOK_UP_ELSEWHERE, X.OTHER_NAME}),
        (K.NETWORK_TIMEOUT, ProbeKind.CONTROL, Landscape(), set()),
        # Every question counts against a limit, and without a secret there is none to ask with.
        (K.RATE_REQUESTS, ProbeKind.INFERENCE, ALL, set()),
        (K.CLIENT_CONFIGURATION, ProbeKind.AUTH, ALL, set()),
    ],
)
def test_the_questions_fit_the_failure_and_what_there_is_to_ask_with(
    kind: FailureKind, probe: ProbeKind, landscape: Landscape, experiments: set[ExperimentKind]
) -> None:
    assert set(plan(kind, seen(kind, probe), landscape)) == experiments


@given(st.sampled_from(FailureKind), st.sampled_from(ProbeKind), st.booleans(), st.booleans())
def test_a_plan_is_short_and_keeps_to_what_it_may_do(kind: FailureKind, probe: ProbeKind, spend: bool, other: bool) -> None:
    landscape = Landscape(sends_project=True, may_spend=spend, other_project="search" if other else None, model="gpt-4o")
    planned = plan(kind, seen(kind, probe), landscape)
    assert len(planned) == len(set(planned)) <= 3
    assert spend or not PAID & set(planned)
    assert other or not {X.OTHER_KEY, X.LOOK_UP_ELSEWHERE, X.CALL_ELSEWHERE} & set(planned)


OWN, GOOD = KeyFacts("sk-proj-", "0001", 36), KeyFacts("sk-proj-", "0002", 36)
BEFORE, AFTER = Context(last_ok_at=NOW - timedelta(hours=1)), NOW - timedelta(minutes=5)


@pytest.mark.parametrize(
    ("answers", "known", "context", "confidence", "owner", "words"),
    [
        ([], {}, Context(), POSSIBLE, Owner.KEY_OWNER, "Mistyped"),
        ([result(X.OTHER_KEY)], {}, Context(), POSSIBLE, Owner.KEY_OWNER, "so it is this key. Mistyped"),
        ([result(X.OTHER_KEY)], {}, BEFORE, LIKELY, Owner.KEY_OWNER, "so it is this key. Revoked"),
        ([result(X.OTHER_KEY)], {"secret_changed_at": AFTER}, BEFORE, LIKELY, Owner.SERVICE, "The key before it worked"),
        ([result(X.OTHER_KEY, K.AUTH_INVALID_KEY)], {}, BEFORE, POSSIBLE, Owner.OPENAI, "Two keys seldom die together"),
        # A borrowed key that could not be asked, or met another trouble, proves nothing.
        ([result(X.OTHER_KEY, K.NETWORK_TIMEOUT)], {}, BEFORE, LIKELY, Owner.KEY_OWNER, "Revoked"),
        ([result(X.OTHER_KEY, K.RATE_REQUESTS)], {}, Context(), POSSIBLE, Owner.KEY_OWNER, "so it is this key"),
        ([result(X.OTHER_KEY)], {"other_key": KeyFacts("sk-proj-", "0002", 164)}, Context(), LIKELY, Owner.SERVICE, "cut short"),
        ([], {"other_key": KeyFacts("sk-proj-", "0002", 164)}, Context(), POSSIBLE, Owner.SERVICE, "cut short"),
        # Keys of another kind have another length.
        ([], {"other_key": KeyFacts("sk-svcacct-", "0002", 167)}, Context(), POSSIBLE, Owner.KEY_OWNER, "Mistyped"),
        ([], {"key": KeyFacts("sk-proj-", "0001", 164)}, Context(), LIKELY, Owner.NETWORK, "replaces the key"),
        ([], {"key": KeyFacts("sk-proj-", "9999", 36)}, Context(), LIKELY, Owner.NETWORK, "replaces the key"),
        ([], {"same_key_as": ("search/main",)}, Context(), POSSIBLE, Owner.SERVICE, "configured for search/main too"),
    ],
)
def test_what_killed_a_key_is_never_surer_than_what_is_known(
    answers: list[ExperimentResult],
    known: dict[str, Any],
    context: Context,
    confidence: Confidence,
    owner: Owner,
    words: str,
) -> None:
    landscape = Landscape(**{"other_project": "search", "key": OWN, "other_key": GOOD} | known)
    found = conclude(K.AUTH_INVALID_KEY, seen(K.AUTH_INVALID_KEY, hint=ECHO), answers, landscape, context)
    assert (found.confidence, found.owner) == (confidence, owner)
    assert words in found.cause


@pytest.mark.parametrize(
    ("kind", "probe", "answers", "confidence", "owner", "words"),
    [
        (K.AUTH_WRONG_REGION_HOST, ProbeKind.AUTH, [result(X.NAMED_HOST)], CERTAIN, Owner.SERVICE, "accepted at https://eu."),
        (
            K.AUTH_MISSING_CREDENTIALS,
            ProbeKind.AUTH,
            [result(X.OTHER_KEY, K.AUTH_MISSING_CREDENTIALS)],
            LIKELY,
            Owner.NETWORK,
            "Auth",
        ),
        (K.AUTH_UNKNOWN, ProbeKind.AUTH, [result(X.WITHOUT_HEADERS)], LIKELY, Owner.SERVICE, "one of the two"),
        (K.AUTH_UNKNOWN, ProbeKind.AUTH, [result(X.OTHER_KEY)], POSSIBLE, Owner.KEY_OWNER, "this key or its project"),
        (
            K.AUTH_NO_ORGANIZATION,
            ProbeKind.AUTH,
            [result(X.OTHER_KEY)],
            LIKELY,
            Owner.ORGANIZATION_OWNER,
            "The owner behind this key",
        ),
        (K.ACCESS_MODEL_RETIRED, ProbeKind.INFERENCE, [result(X.LOOK_UP_ELSEWHERE)], LIKELY, Owner.SERVICE, "still look it up"),
        (
            K.ACCESS_MODEL_NOT_ALLOWED,
            ProbeKind.INFERENCE,
            [result(X.LOOK_UP_ELSEWHERE, K.ACCESS_MODEL_NOT_FOUND)],
            LIKELY,
            Owner.PROJECT_ADMIN,
            "may not help",
        ),
        (K.ACCESS_MODEL_NOT_FOUND, ProbeKind.INFERENCE, [result(X.LOOK_UP)], LIKELY, Owner.PROJECT_ADMIN, "not allowed to use"),
        # A model that another project cannot find proves nothing while this project's own look-up was not answered.
        (
            K.ACCESS_MODEL_NOT_FOUND,
            ProbeKind.INFERENCE,
            [result(X.LOOK_UP, K.SERVER_ERROR), result(X.LOOK_UP_ELSEWHERE, K.ACCESS_MODEL_NOT_FOUND)],
            POSSIBLE,
            Owner.SERVICE,
            "Misspelt|misspelt",
        ),
        (K.ACCESS_POLICY, ProbeKind.INFERENCE, [result(X.CALL_ELSEWHERE)], CERTAIN, Owner.PROJECT_ADMIN, "policy of this project"),
        (K.SERVER_ERROR, ProbeKind.AUTH, [result(X.CONTROL, K.SERVER_ERROR)], LIKELY, Owner.OPENAI, "front door"),
        (K.SERVER_ERROR, ProbeKind.AUTH, [result(X.OTHER_KEY)], LIKELY, Owner.OPENAI, "not everywhere"),
        (K.NETWORK_UNREACHABLE, ProbeKind.AUTH, [result(X.CONTROL, K.NETWORK_UNREACHABLE)], LIKELY, Owner.NETWORK, "without a key"),
        (K.NETWORK_UNREACHABLE, ProbeKind.AUTH, [result(X.CONTROL)], POSSIBLE, Owner.NETWORK, "for a moment"),
        (K.NETWORK_TIMEOUT, ProbeKind.AUTH, [result(X.CONTROL, K.SERVER_ERROR)], LIKELY, Owner.OPENAI, "The way is open"),
        (K.NETWORK_TIMEOUT, ProbeKind.AUTH, [result(X.CONTROL)], POSSIBLE, Owner.OPENAI, "took too long"),
    ],
)
def test_an_answer_moves_cause_and_owner_as_far_as_it_reaches(
    kind: FailureKind, probe: ProbeKind, answers: list[ExperimentResult], confidence: Confidence, owner: Owner, words: str
) -> None:
    failed = seen(kind, probe, hint="eu.api.openai.com" if kind is K.AUTH_WRONG_REGION_HOST else None)
    found = conclude(kind, failed, answers, ALL, context_of(failed))
    assert (found.confidence, found.owner) == (confidence, owner)
    assert any(word in found.cause for word in words.split("|")), found.cause


def test_a_finding_names_the_project_that_the_key_belongs_to() -> None:
    landscape = Landscape(sends_project=True, names={"proj_X": "staging"})
    failed = seen(K.AUTH_WRONG_PROJECT)
    found = conclude(
        K.AUTH_WRONG_PROJECT, failed, [result(X.WITHOUT_HEADERS, project_echo="proj_X")], landscape, context_of(failed)
    )
    assert "proj_X (“staging” here)" in found.cause
    assert "Set the `project_id` of project “checkout” in monitor.toml to proj_X" in found.next_step


RESULTS = st.lists(
    st.builds(result, st.sampled_from(ExperimentKind), st.sampled_from([None, *FailureKind]), status=st.sampled_from([None, 401])),
    max_size=3,
    unique_by=lambda each: each.kind,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(FailureKind), st.sampled_from(ProbeKind), RESULTS, st.booleans(), st.booleans())
def test_whatever_comes_back_the_words_are_whole_and_the_evidence_complete(
    kind: FailureKind, probe: ProbeKind, answers: list[ExperimentResult], worked: bool, same: bool
) -> None:
    failed = seen(kind, probe)
    context = Context(project="checkout", key="backend", last_ok_at=NOW - timedelta(hours=1) if worked else None)
    landscape = Landscape(other_project="search", same_organization=same, key=OWN, other_key=GOOD)
    found = conclude(kind, failed, answers, landscape, context)
    assert_well_worded(found)
    assert sum(line.startswith("experiment: ") for line in found.evidence) == len(answers)
    plain = diagnose(kind, context)
    if not any(_telling(each) for each in answers):
        assert SURE.index(found.confidence) <= SURE.index(plain.confidence), "what tells nothing makes nothing surer"


def _telling(each: ExperimentResult) -> bool:
    """An answer that tells something: a good one, a refusal by OpenAI itself, or the way's failing."""
    return each.observation is not None and each.observation.lane not in (Lane.CLIENT, Lane.UNKNOWN)


@given(st.sampled_from(FailureKind), st.sampled_from(ProbeKind))
def test_without_experiments_nothing_changes(kind: FailureKind, probe: ProbeKind) -> None:
    failed = seen(kind, probe)
    found, plain = conclude(kind, failed, [], Landscape(), context_of(failed)), diagnose(kind, context_of(failed))
    assert found == plain


def test_what_could_not_be_asked_is_said_and_proves_nothing() -> None:
    failed = seen(K.AUTH_INVALID_KEY)
    found = conclude(K.AUTH_INVALID_KEY, failed, [ExperimentResult(X.OTHER_KEY, None, NOW)], ALL, context_of(failed))
    assert found.confidence is POSSIBLE
    assert found.evidence[-1] == "experiment: the key of “search” from here: not asked"


def test_evidence_of_an_experiment_names_its_request() -> None:
    failed = seen(K.AUTH_IP_NOT_ALLOWED)
    found = conclude(K.AUTH_IP_NOT_ALLOWED, failed, [result(X.OTHER_KEY, status=200, request_id="req_9")], ALL, context_of(failed))
    assert found.evidence[-1] == "experiment: the key of “search” from here: accepted (200), request id req_9"


@pytest.mark.parametrize(
    ("model", "alias"),
    [
        ("gpt-4o-2024-08-06", "gpt-4o"),
        ("gpt-4-0613", "gpt-4"),
        ("gpt-4-1106-preview", "gpt-4"),
        ("gpt-4o", None),
        ("ft:gpt-4o-mini-2024-07-18:acme::abc123", None),
        ("text-embedding-3-small", None),
    ],
)
def test_a_snapshot_has_an_alias(model: str, alias: str | None) -> None:
    assert alias_of(model) == alias


@pytest.mark.parametrize(
    ("hint", "host"),
    [
        ("us.api.openai.com", "https://us.api.openai.com/v1"),
        ("api.openai.com.evil.example", None),
        ("evil.example", None),
        (None, None),
    ],
)
def test_only_openai_s_own_hosts_are_ever_asked(hint: str | None, host: str | None) -> None:
    assert named_host(seen(K.AUTH_WRONG_REGION_HOST, hint=hint)) == host


def test_of_a_key_no_more_is_known_than_its_echo_shows() -> None:
    assert KeyFacts.of("sk-proj-TEST-000-notakey-wxyz") == KeyFacts("sk-proj-", "wxyz", 29)
    assert KeyFacts.of("sk-short") == KeyFacts("sk-", "", 8)
    assert KeyFacts.of("hunter2") == KeyFacts("", "", 7)
    assert echo_of(seen(K.AUTH_INVALID_KEY, hint=ECHO)) == (36, "0001")
    assert echo_of(seen(K.AUTH_INVALID_KEY, hint="what was sent has 9 characters; it looks like a sentence")) == (9, "")
    assert echo_of(seen(K.AUTH_INVALID_KEY)) is None


def test_one_secret_in_two_places_is_noticed() -> None:
    one, two = (fingerprint(f"sk-proj-TEST-000-notakey-{number}", b"salt") for number in (1, 2))

    def project(name: str, mark: Any) -> Project:
        return Project(name, keys=(ApiKey("backend", "env:X", fingerprint=mark),))

    fleet = [project("checkout", one), project("search", one), project("staging", two), project("unset", None)]
    assert same_key_elsewhere(Target(ProbeKind.AUTH, "checkout", "backend"), fleet) == ("search/backend",)
    assert same_key_elsewhere(Target(ProbeKind.AUTH, "staging", "backend"), fleet) == ()
    assert same_key_elsewhere(Target(ProbeKind.AUTH, "unset", "backend"), fleet) == ()


@pytest.mark.parametrize("kind", K)
def test_no_failure_is_worth_more_than_one_paid_call_and_a_rate_limit_none(kind: K) -> None:
    for probe in ProbeKind:
        paid = PAID & set(plan(kind, seen(kind, probe), ALL))
        assert len(paid) <= (0 if kind.lane is Lane.RATE else 1)
