"""Words for each failure: complete, honest, no secret in them, whatever is known or not."""

import re
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from string import Formatter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.domain.diagnosis import Context, Diagnosis, context_of, diagnose
from monitor.domain.inventory import ApiKey, KeyKind, ProbeKind, Project, Target, fingerprint
from monitor.domain.observation import Observation, RateLimitHit, Verdict
from monitor.domain.taxonomy import KINDS, FailureKind, Owner, Scope
from monitor.domain.words import INSTEAD, WORDS, Case, Confidence, amount, capital, clock, duration

K = FailureKind
NOW = datetime(2026, 11, 23, 14, 5, 20, tzinfo=UTC)
HIT = RateLimitHit("tokens", "min", 30000, 29000, 5000, "gpt-4o-2024-08-06", "gpt-4o", "proj_F", "org-F")
FULL = Context(
    project="prod-chatbot",
    key="backend",
    last_four="wxyz",
    key_kind=KeyKind.PROJECT_USER,
    key_problem="the file is empty",
    model="gpt-4o",
    base_url="https://api.openai.com/v1",
    project_id="proj_F",
    scope=Scope.PROJECT,
    hit=HIT,
    retry_after=432.0,
    missing_scopes=("api.model.read", "api.responses.write"),
    hint="us.api.openai.com",
    status=429,
    code="rate_limit_exceeded",
    message="Rate limit reached for <model>",
    request_id="req_1",
    at=NOW,
    since=NOW - timedelta(hours=1),
    last_ok_at=NOW - timedelta(hours=2),
    suspect=True,
    now=NOW,
)
SENTENCES = re.compile(r"[A-Z{“].*[.]\Z", re.DOTALL)
BLANK = re.compile(r"\{\w*\}")


def texts(diagnosis: Diagnosis) -> tuple[str, str, str]:
    """What is read: summary, cause, next step."""
    return diagnosis.summary, diagnosis.cause, diagnosis.next_step


def assert_well_worded(diagnosis: Diagnosis) -> None:
    """Whole sentences, no blank left, nothing of Python's."""
    for text in texts(diagnosis):
        assert SENTENCES.match(text), text
        assert not BLANK.search(text), text
        assert not re.search(r"\bNone\b|\bnan\b|\(\)|  |\.\.(?!\.)| [.,]|:\.", text), text
    assert all(diagnosis.evidence)


@pytest.mark.parametrize("kind", list(K))
def test_every_kind_has_words_with_nothing_known_and_with_everything_known(kind: FailureKind) -> None:
    assert_well_worded(diagnose(kind))
    assert_well_worded(diagnose(kind, FULL))
    assert diagnose(kind).evidence == (f"identifier: {kind.value}",)


@pytest.mark.parametrize("missing", [field.name for field in fields(Context)])
@pytest.mark.parametrize("kind", list(K))
def test_every_kind_has_words_with_any_one_fact_missing_or_alone(kind: FailureKind, missing: str) -> None:
    nothing = Context()
    assert_well_worded(diagnose(kind, replace(FULL, **{missing: getattr(nothing, missing)})))
    assert_well_worded(diagnose(kind, replace(nothing, **{missing: getattr(FULL, missing)})))


NUMBER = st.none() | st.floats(0, 1e12) | st.integers(0, 10**9).map(float)
WORD = st.none() | st.text(alphabet="abc xyz-{}%…`", min_size=1, max_size=12)
HITS = st.none() | st.builds(
    RateLimitHit, metric=WORD, window=WORD, limit=NUMBER, used=NUMBER, requested=NUMBER, model=WORD, pool=WORD
)


@settings(max_examples=300, deadline=None)
@given(
    kind=st.sampled_from(K),
    context=st.builds(
        Context,
        project=WORD,
        key=WORD,
        model=WORD,
        hint=WORD,
        hit=HITS,
        scope=st.none() | st.sampled_from(Scope),
        retry_after=st.none() | st.floats(0, 31 * 86400),
        status=st.none() | st.integers(100, 599),
        message=WORD,
        missing_scopes=st.lists(st.sampled_from(["model.read", "{x}"]), max_size=3).map(tuple),
        at=st.none() | st.just(NOW),
        last_ok_at=st.none() | st.just(NOW),
        key_kind=st.sampled_from(KeyKind),
        suspect=st.booleans(),
    ),
)
def test_any_context_gives_words(kind: FailureKind, context: Context) -> None:
    diagnosis = diagnose(kind, context)
    assert all(text.endswith(".") for text in texts(diagnosis))
    assert diagnosis.evidence


# Never more certain than the evidence -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", [K.AUTH_INVALID_KEY, K.AUTH_UNKNOWN, K.ACCESS_MODEL_NOT_FOUND, K.QUOTA_EXHAUSTED, K.NETWORK_TIMEOUT, K.UNKNOWN]
)
def test_what_has_several_causes_is_only_possible(kind: FailureKind) -> None:
    assert diagnose(kind).confidence is Confidence.POSSIBLE


@pytest.mark.parametrize(
    "context", [Context(), FULL, Context(last_ok_at=NOW), Context(last_ok_at=NOW, key_kind=KeyKind.PROJECT_USER)]
)
def test_a_refused_key_is_never_certainly_revoked(context: Context) -> None:
    diagnosis = diagnose(K.AUTH_INVALID_KEY, context)
    assert diagnosis.confidence is not Confidence.CERTAIN
    assert "evoked" not in diagnosis.summary
    assert re.search(r"[Rr]evoked.*(?:expired|deleted)", diagnosis.cause)


@pytest.mark.parametrize("kind", [K.NETWORK_TIMEOUT, K.NETWORK_UNREACHABLE])
def test_a_line_that_is_down_says_nothing_of_the_key(kind: FailureKind) -> None:
    assert "says nothing about the key" in diagnose(kind).cause
    assert diagnose(kind).owner is Owner.NETWORK


@pytest.mark.parametrize("kind", list(K))
def test_what_was_seen_once_says_so(kind: FailureKind) -> None:
    assert "Seen once so far" in diagnose(kind, Context(suspect=True)).summary
    assert "Seen once" not in diagnose(kind).summary


@pytest.mark.parametrize("kind", [K.RATE_REQUESTS, K.RATE_TOKENS, K.RATE_OTHER])
@pytest.mark.parametrize(
    ("scope", "owner", "confidence"),
    [
        (None, Owner.PROJECT_ADMIN, Confidence.LIKELY),
        (Scope.PROJECT, Owner.PROJECT_ADMIN, Confidence.CERTAIN),
        (Scope.ORGANIZATION, Owner.ORGANIZATION_OWNER, Confidence.CERTAIN),
    ],
)
def test_whose_limit_it_was_is_certain_only_when_openai_said_so(
    kind: FailureKind, scope: Scope | None, owner: Owner, confidence: Confidence
) -> None:
    diagnosis = diagnose(kind, Context(scope=scope))
    assert (diagnosis.owner, diagnosis.confidence) == (owner, confidence)


@pytest.mark.parametrize("kind", list(K))
def test_the_owner_is_the_taxonomys(kind: FailureKind) -> None:
    assert diagnose(kind).owner is KINDS[kind].owner


# The context in the words -------------------------------------------------------------------------------------------------------


def test_the_words_name_project_key_and_place_to_go() -> None:
    context = Context(project="prod-chatbot", key="backend", last_four="wxyz", last_ok_at=NOW)
    diagnosis = diagnose(K.AUTH_INVALID_KEY, context)
    assert diagnosis.summary == "OpenAI refuses key “backend” (…wxyz), which worked before."
    assert "Project “prod-chatbot” → API keys" in diagnosis.next_step
    assert "`secret` of project “prod-chatbot” in monitor.toml" in diagnosis.next_step


@pytest.mark.parametrize(
    ("kind", "context", "said"),
    [
        (K.AUTH_INVALID_KEY, Context(hint="an empty value was sent instead of a key"), "does not look like a key"),
        (K.AUTH_INVALID_KEY, Context(last_ok_at=NOW, key_kind=KeyKind.PROJECT_USER), "goes when the user goes"),
        (K.AUTH_WRONG_PROJECT, Context(hint="the project has been archived"), "archived"),
        (K.AUTH_WRONG_REGION_HOST, Context(hint="us.api.openai.com"), "https://us.api.openai.com/v1"),
        (K.AUTH_MISSING_SCOPE, Context(missing_scopes=("api.model.read",)), "may not list models (api.model.read)"),
        (K.AUTH_MISSING_SCOPE, Context(missing_scopes=("api.responses.write",)), "permission is missing (api.responses.write)"),
        (K.CLIENT_CONFIGURATION, Context(status=404), "/v1"),
        (K.CLIENT_CONFIGURATION, Context(key_problem="the file is empty"), "The file is empty."),
        (K.ACCESS_MODEL_NOT_ALLOWED, Context(hint="model o3"), "o3"),
        (K.RATE_TOKENS, Context(scope=Scope.PROJECT, hit=HIT, project="p"), "limit of 30,000 tokens per minute"),
        (K.RATE_TOKENS, Context(hit=HIT), "29,000 of 30,000 were used, 5,000 asked for."),
        (K.RATE_REQUESTS, Context(retry_after=432, at=NOW), "again in 7 min 12 s, about 2026-11-23 14:12:32 UTC."),
        (K.RATE_REQUESTS, Context(retry_after=0.02, at=NOW), "again in 20 ms."),
        (K.QUOTA_PROJECT_SPEND, Context(now=NOW), "2026-12-01 (UTC)"),
        (K.QUOTA_ORGANIZATION_SPEND, Context(now=NOW + timedelta(days=20)), "2027-01-01 (UTC)"),
        (K.QUOTA_ORGANIZATION_SPEND, Context(), "the first of next month (UTC)"),
    ],
)
def test_the_words_use_what_is_known(kind: FailureKind, context: Context, said: str) -> None:
    assert said in " ".join(texts(diagnose(kind, context)))


def test_the_evidence_lists_the_facts() -> None:
    assert diagnose(K.RATE_TOKENS, FULL).evidence == (
        "answer: 429 · rate_limit_exceeded",
        "OpenAI said: Rate limit reached for <model>",
        "us.api.openai.com",
        "limit 30,000, used 29,000, requested 5,000",
        "limit pool: gpt-4o",
        "failing since 2026-11-23 13:05:20 UTC",
        "last good answer 2026-11-23 12:05:20 UTC",
        "request id: req_1",
        "identifier: rate.tokens",
    )


def test_a_context_is_made_of_an_answer_and_shows_no_more_of_the_key_than_its_end() -> None:
    secret = "sk-proj-TEST-000-notakey-0123456789abcdef"
    key = ApiKey("backend", "env:KEY", KeyKind.SERVICE_ACCOUNT, fingerprint(secret, b"salt"))
    project = Project("prod-chatbot", "proj_F", base_url="https://eu.api.openai.com/v1", keys=(key,))
    target = Target(ProbeKind.AUTH, "prod-chatbot", "backend", "gpt-4o")
    answer = Observation(
        target, NOW, Verdict.FAILED, failure=K.AUTH_INVALID_KEY, status=401, code="invalid_api_key", request_id="req_1"
    )
    context = context_of(answer, now=NOW, project=project, key=key)
    assert (context.last_four, context.key_kind, context.project_id) == ("cdef", KeyKind.SERVICE_ACCOUNT, "proj_F")
    for kind in K:
        said = repr(diagnose(kind, context))
        assert "notakey" not in said
        assert secret[-5:] not in said
        assert key.fingerprint is not None
        assert key.fingerprint[:16] not in said


def test_a_control_check_is_diagnosed_by_its_host() -> None:
    answer = Observation(
        Target(ProbeKind.CONTROL, host="https://api.openai.com/v1"), NOW, Verdict.FAILED, failure=K.NETWORK_TIMEOUT
    )
    assert "https://api.openai.com/v1" in diagnose(K.NETWORK_TIMEOUT, context_of(answer)).summary


# The words themselves -----------------------------------------------------------------------------------------------------------


def test_every_kind_and_every_case_has_words_and_every_blank_is_known() -> None:
    assert set(WORDS) == set(K)
    assert set(INSTEAD) == set(Case)
    for words in (*WORDS.values(), *INSTEAD.values()):
        assert not {name for text in (words.summary, words.cause, words.next_step) for _, name, _, _ in Formatter().parse(text)} & {
            ""
        }
        assert len(words.summary) < 140


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (0.02, "20 ms"),
        (0.9996, "1 s"),
        (1, "1 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min"),
        (3599.6, "1 h"),
        (9.904, "9.9 s"),
        (60, "1 min"),
        (432, "7 min 12 s"),
        (3600, "1 h"),
        (4105.7, "1 h 8 min"),
        (411480, "4 d 18 h"),
        (86400, "1 d"),
    ],
)
def test_a_duration_is_read_at_a_glance(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@given(st.floats(0, 40 * 86400))
def test_no_duration_shows_sixty_of_anything(seconds: float) -> None:
    assert not re.search(r"\b(?:60 (?:s|min)|24 h|1000 ms)\b", duration(seconds))


def test_small_things_are_written_as_people_write_them() -> None:
    assert [amount(number) for number in (None, 0, 30000.0, 2.5)] == ["not said", "0", "30,000", "2.5"]
    assert (capital("öffnen ABC"), capital("")) == ("Öffnen ABC", "")
    assert clock(datetime.fromisoformat("2026-11-23T15:05:20+01:00")) == "2026-11-23 14:05:20 UTC"


@pytest.mark.parametrize("kind", FailureKind)
def test_what_comes_and_goes_is_said_and_is_never_certain(kind: FailureKind) -> None:
    steady, flapping = diagnose(kind, Context()), diagnose(kind, Context(flapping=True))
    assert_well_worded(flapping)
    assert flapping.summary == f"{steady.summary} It comes and goes: calls between are answered well."
    assert flapping.confidence is (Confidence.LIKELY if steady.confidence is Confidence.CERTAIN else steady.confidence)


@pytest.mark.parametrize(
    ("kind", "reach", "owner", "said"),
    [
        (K.AUTH_INVALID_KEY, Scope.PROJECT, Owner.PROJECT_ADMIN, "every key of project “prod-chatbot”"),
        (K.AUTH_INVALID_KEY, Scope.OPENAI, Owner.OPENAI, "keys of many projects at once: key refused"),
        (K.AUTH_MISSING_SCOPE, Scope.OPENAI, Owner.OPENAI, "keys of many projects at once: scope missing"),
        (K.AUTH_INVALID_KEY, Scope.ORGANIZATION, Owner.ORGANIZATION_OWNER, "of one organization at once"),
        (K.AUTH_IP_NOT_ALLOWED, Scope.ORGANIZATION, KINDS[K.AUTH_IP_NOT_ALLOWED].owner, "may not be used from this machine"),
        (K.NETWORK_TIMEOUT, Scope.OPENAI, Owner.OPENAI, "takes connections and does not answer"),
        (K.NETWORK_TIMEOUT, Scope.MODEL, Owner.OPENAI, "calls of gpt-4o"),
        (K.NETWORK_TIMEOUT, Scope.MONITOR, Owner.NETWORK, "no complete answer"),
        (K.CLIENT_CONFIGURATION, Scope.MONITOR, Owner.MONITOR, "secrets of many projects"),
    ],
)
def test_what_hits_many_is_told_as_one_matter_with_its_owner(kind: K, reach: Scope, owner: Owner, said: str) -> None:
    found = diagnose(kind, replace(FULL, reach=reach, suspect=False))
    assert found.owner is owner
    assert said.lower() in found.summary.lower()
    assert found.confidence is not Confidence.CERTAIN or kind is K.AUTH_IP_NOT_ALLOWED
    assert_well_worded(found)
    assert_well_worded(diagnose(kind, Context(reach=reach)))
