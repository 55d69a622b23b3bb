"""What changed around an incident: what explains it best comes first, and nothing is said more surely than it is known."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.domain.changes import ChangeEvent, ChangeKind, ChangeSource
from monitor.domain.diagnosis import Context, diagnose
from monitor.domain.explains import EXPLAINS, Reach, rule_of
from monitor.domain.incidents import Cause, Incident, Severity
from monitor.domain.taxonomy import FailureKind, Lane, Owner, Scope
from monitor.domain.what_changed import SOURCES, Explanation, Strength, best_of, happened, ranked, sharpened, window_of
from monitor.domain.words import Confidence

BAD = datetime(2026, 11, 23, 2, 14, 0, tzinfo=UTC)
K, F = ChangeKind, FailureKind
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


def incident(failure: FailureKind = F.AUTH_INVALID_KEY, **facts: Any) -> Incident:
    given: dict[str, Any] = {
        "cause": Cause(Scope.KEY, failure.lane, "legacy/backend"),
        "failure": failure,
        "severity": Severity.CRITICAL,
        "first_bad_at": BAD,
        "opened_at": BAD + 20 * SECOND,
        "title": "It is broken",
        "diagnosis": diagnose(failure, Context(project="legacy", key="backend", status=401, code="invalid_api_key")),
        "projects": ("legacy",),
        "keys": ("legacy/backend",),
        "models": ("gpt-4o",) if failure.lane in (Lane.ACCESS, Lane.RATE) else (),
        "last_good_at": BAD - MINUTE,
        "id": 12,
    }
    return Incident(**given | facts)


def change(kind: ChangeKind = K.KEY_DELETED, ago: timedelta = 40 * SECOND, **facts: Any) -> ChangeEvent:
    given: dict[str, Any] = {
        "at": BAD - ago,
        "kind": kind,
        "source": ChangeSource.AUDIT_LOG,
        "text": f"Something ({kind.value}) was changed.",
        "project_id": "proj_legacy",
        "project": "legacy",
        "dedup": f"{kind.value} {ago}",
    }
    return ChangeEvent(**given | facts)


DELETED = change(text="Key “backend” (sk-…4f2c) was deleted.", key="backend", actor="ben.bauer", subject="key_1")


def first(one: Incident, *events: ChangeEvent) -> Explanation:
    return ranked(one, events)[0]


@pytest.mark.parametrize(
    ("text", "strength", "why"),
    [
        ("The demand for a certificate was activated.", Strength.STRONG, "calls without the certificate are refused"),
        ("The demand for a certificate was deactivated.", Strength.STRONG, "calls that come with this one are refused"),
        ("Certificate “edge” is no longer demanded for the project.", Strength.STRONG, "calls that come with this one"),
        ("Certificate “edge” is active no more.", Strength.STRONG, "calls that come with this one are refused"),
        ("Certificate “was deactivated” was uploaded.", Strength.ALSO, None),
    ],
)
def test_a_certificate_that_is_withdrawn_breaks_whoever_still_presents_it(text: str, strength: Strength, why: str | None) -> None:
    found = first(incident(F.AUTH_UNKNOWN), change(K.CERTIFICATE_CHANGED, text=text))
    assert found.strength is strength
    assert why is None or why in found.cause


OVERAGE = "The organization's limit of overage was "


@pytest.mark.parametrize(
    ("failure", "kind", "text", "strength"),
    [
        (F.QUOTA_ORGANIZATION_SPEND, K.SPEND_LIMIT_CHANGED, OVERAGE + "lowered: limit 5,000 → 100.", Strength.PROOF),
        (F.QUOTA_ORGANIZATION_SPEND, K.SPEND_LIMIT_CHANGED, OVERAGE + "changed.", Strength.STRONG),
        (F.QUOTA_ORGANIZATION_USAGE, K.SPEND_LIMIT_CHANGED, OVERAGE + "changed.", Strength.STRONG),
        (F.QUOTA_CREDITS, K.SPEND_LIMIT_CHANGED, OVERAGE + "changed (limit 100).", Strength.STRONG),
        (F.QUOTA_CREDITS, K.SPEND_LIMIT_CHANGED, OVERAGE + "raised: limit 100 → 5,000.", Strength.ALSO),
        (F.QUOTA_ORGANIZATION_USAGE, K.SPEND_LIMIT_CHANGED, "The usage limit of a person was changed.", Strength.POSSIBLE),
        (F.QUOTA_ORGANIZATION_SPEND, K.SPEND_LIMIT_CHANGED, "The usage limit of a group was lowered: a 2 → 1.", Strength.POSSIBLE),
        (F.QUOTA_ORGANIZATION_USAGE, K.SPEND_LIMIT_CHANGED, "The usage limit of a group was raised: a 1 → 2.", Strength.ALSO),
        (F.ACCESS_POLICY, K.POLICY_CHANGED, "Policy “no eu” was attached.", Strength.STRONG),
        (F.AUTH_MISSING_SCOPE, K.POLICY_CHANGED, "The policy of which products may be used was changed.", Strength.STRONG),
        (F.ACCESS_MODEL_NOT_ALLOWED, K.POLICY_CHANGED, "Policy “no eu” was attached.", Strength.POSSIBLE),
        (F.RATE_TOKENS, K.POLICY_CHANGED, "Policy “no eu” was attached.", Strength.ALSO),
        (F.AUTH_MISSING_SCOPE, K.ROLE_CHANGED, "Role “ops” was withdrawn.", Strength.POSSIBLE),
        (F.AUTH_MISSING_SCOPE, K.ROLE_CHANGED, "Bo was given the roles of group “ops”.", Strength.ALSO),
        (F.AUTH_INVALID_KEY, K.ADMIN_KEY_CHANGED, "Admin key “terraform” was deleted.", Strength.ALSO),
        (F.AUTH_INVALID_KEY, K.OTHER, "The request for a higher usage limit was resolved.", Strength.ALSO),
    ],
)
def test_how_well_what_the_tenant_s_log_tells_explains_a_failure(
    failure: FailureKind, kind: ChangeKind, text: str, strength: Strength
) -> None:
    found = first(incident(failure), change(kind, text=text, **EVERYBODY))
    assert found.strength is strength, found.score


def test_a_revoked_token_explains_that_its_project_s_key_is_refused() -> None:
    revoked = change(K.SERVICE_ACCOUNT_CHANGED, text="A token of service account “nightly” was revoked.")
    assert first(incident(), revoked).cause.endswith("“nightly” was revoked: a revoked token is refused.")
    assert first(incident(), revoked).strength is Strength.STRONG
    named = replace(revoked, text="Service account “A token of service account x was revoked” was changed.")
    assert first(incident(), named).strength is Strength.POSSIBLE
    assert ranked(incident(), [replace(revoked, project="other")]) == ()


# Words ------------------------------------------------------------------------------------------------------------------------


def test_the_sentence_says_what_who_and_how_long_before_the_first_401() -> None:
    said = first(incident(), DELETED)
    assert said.text == "Key “backend” (sk-…4f2c) was deleted by ben.bauer 40 s before the first 401."
    assert said.cause == "Key “backend” (sk-…4f2c) was deleted by ben.bauer: a deleted key is refused."
    assert (said.strength, said.reach) == (Strength.PROOF, Reach.ITSELF)


def test_a_difference_says_between_which_readings_it_happened() -> None:
    seen = replace(DELETED, source=ChangeSource.SYNC, after=BAD - 14 * MINUTE, at=BAD + 46 * MINUTE, actor=None)
    said = first(incident(), seen)
    assert said.text == (
        "Key “backend” (sk-…4f2c) was deleted between 2026-11-23 02:00:00 UTC and 2026-11-23 03:00:00 UTC; "
        "the first 401 came at 2026-11-23 02:14:00 UTC."
    )
    assert said.strength is Strength.PROOF
    before = replace(seen, after=BAD - 20 * MINUTE, at=BAD - 10 * MINUTE)
    assert first(incident(), before).text.endswith(
        "was deleted between 2026-11-23 01:54:00 UTC and 2026-11-23 02:04:00 UTC, at least 10 min before the first 401."
    )


@pytest.mark.parametrize(
    ("text", "actor", "said"),
    [
        ("Limit of gpt-4o: 200,000 → 80,000 tokens a minute.", "ada", "…minute, by ada, 40 s before the first 401."),
        ("Key “x” was deleted by ben.", "ben", "Key “x” was deleted by ben 40 s before the first 401."),
        ("Ada left the project.", None, "Ada left the project, 40 s before the first 401."),
        ("", None, ", 40 s before the first 401."),
    ],
)
def test_other_sentences_are_joined_by_commas(text: str, actor: str | None, said: str) -> None:
    assert first(incident(), replace(DELETED, text=text, actor=actor)).text.endswith(said.removeprefix("…"))


def test_without_a_status_it_is_the_first_bad_answer() -> None:
    one = incident(diagnosis=diagnose(F.NETWORK_TIMEOUT), failure=F.NETWORK_TIMEOUT)
    assert first(one, change(K.CONFIG_CHANGED, 2 * MINUTE)).text.endswith("2 min before the first bad answer.")


def test_what_came_at_the_very_moment_or_after_it_is_said_so() -> None:
    assert first(incident(), replace(DELETED, at=BAD)).text.endswith("by ben.bauer just at the first 401.")
    assert first(incident(), replace(DELETED, at=BAD + 20 * SECOND)).text.endswith("by ben.bauer 20 s after the first 401.")


# Which kind explains which failure --------------------------------------------------------------------------------------------

MODEL, KEY = {"model": "gpt-4o"}, {"key": "backend"}
EVERYBODY = {"project": None, "project_id": None}
BEST: list[tuple[FailureKind, ChangeKind, dict[str, Any]]] = [
    (F.AUTH_INVALID_KEY, K.KEY_DELETED, KEY),
    (F.AUTH_INVALID_KEY, K.KEY_EXPIRED, KEY),
    (F.AUTH_INVALID_KEY, K.KEY_ROTATED, KEY),
    (F.AUTH_INVALID_KEY, K.MEMBER_CHANGED, KEY),
    (F.AUTH_INVALID_KEY, K.PROJECT_ARCHIVED, {}),
    (F.AUTH_INVALID_KEY, K.SERVICE_ACCOUNT_DELETED, {}),
    (F.AUTH_MISSING_SCOPE, K.KEY_CHANGED, KEY),
    (F.AUTH_NO_ORGANIZATION, K.MEMBER_REMOVED, EVERYBODY),
    (F.AUTH_WRONG_PROJECT, K.CONFIG_CHANGED, {}),
    (F.AUTH_IP_NOT_ALLOWED, K.IP_ALLOWLIST_CHANGED, EVERYBODY),
    (F.AUTH_IP_NOT_ALLOWED, K.IP_ALLOWLIST_CHANGED, {}),
    (F.ACCESS_MODEL_NOT_ALLOWED, K.MODEL_REMOVED, MODEL),
    (F.ACCESS_MODEL_NOT_FOUND, K.MODEL_REMOVED, MODEL),
    (F.ACCESS_MODEL_RETIRED, K.MODEL_DELISTED, MODEL | EVERYBODY),
    (F.ACCESS_POLICY, K.TOOL_DISABLED, {}),
    (F.RATE_TOKENS, K.RATE_LIMIT_LOWERED, MODEL),
    (F.RATE_REQUESTS, K.RATE_LIMIT_LOWERED, MODEL),
    (F.QUOTA_PROJECT_SPEND, K.SPEND_LIMIT_REACHED, {}),
    (F.QUOTA_ORGANIZATION_SPEND, K.SPEND_LIMIT_REACHED, EVERYBODY),
    (F.QUOTA_PROJECT_SPEND, K.SPEND_LIMIT_CHANGED, {}),
    (F.NETWORK_NOT_OPENAI, K.CONFIG_CHANGED, {}),
    (F.NETWORK_TLS, K.CERTIFICATE_EXPIRED, EVERYBODY),
]
NOISE = [
    change(kind, number * SECOND, **facts)
    for number, (kind, facts) in enumerate(
        [
            (K.KEY_CREATED, {"key": "other"}),
            (K.MEMBER_ADDED, {}),
            (K.RATE_LIMIT_RAISED, {"model": "gpt-4o"}),
            (K.MODEL_ADDED, {"model": "gpt-4o"}),
            (K.SPEND_ALERT_CHANGED, {}),
            (K.ADMIN_KEY_CHANGED, EVERYBODY),
            (K.PROJECT_CREATED, EVERYBODY),
            (K.TOOL_ENABLED, {}),
            (K.OTHER, EVERYBODY),
            (K.KEY_DELETED, {"key": "other"}),
            (K.RATE_LIMIT_LOWERED, {"model": "o3"}),
            (K.MODEL_REMOVED, {"model": "o3"}),
        ],
        start=1,
    )
]


@pytest.mark.parametrize(("failure", "kind", "facts"), BEST)
def test_the_right_change_is_first_among_many(failure: FailureKind, kind: ChangeKind, facts: dict[str, Any]) -> None:
    right = change(kind, 10 * MINUTE, **facts)
    one = incident(failure, last_good_at=BAD - 14 * MINUTE)
    found = ranked(one, [*NOISE, right])
    assert found[0].event == right
    assert found[0].strength >= Strength.STRONG
    assert found[0].why is not None
    assert best_of(found) == found[0]
    assert len(found) == len(NOISE) + 1


def test_of_what_explains_nothing_the_nearest_is_first_and_none_is_told_beside_the_incident() -> None:
    found = ranked(incident(F.SERVER_ERROR), reversed(NOISE))
    assert [each.strength for each in found] == [Strength.ALSO] * len(NOISE)
    assert best_of(found) is None
    assert found[0].event == NOISE[0] or found[0].reach > Reach.ELSEWHERE


def test_the_same_key_beats_the_same_project_and_that_beats_the_whole_organization() -> None:
    key = change(K.MEMBER_REMOVED, 5 * MINUTE, key="backend")
    project = change(K.MEMBER_REMOVED, 1 * MINUTE)
    everybody = change(K.MEMBER_REMOVED, 10 * SECOND, **EVERYBODY)
    assert [each.event for each in ranked(incident(), [everybody, project, key])] == [key, project, everybody]


def test_another_key_or_model_explains_nothing() -> None:
    (other,) = ranked(incident(), [replace(DELETED, key="worker")])
    assert (other.strength, other.reach, other.why) == (Strength.ALSO, Reach.ELSEWHERE, None)
    (lowered,) = ranked(incident(F.RATE_TOKENS), [change(K.RATE_LIMIT_LOWERED, model="o3")])
    assert lowered.strength is Strength.ALSO


def test_a_rule_about_an_alias_concerns_its_snapshots() -> None:
    one = incident(F.ACCESS_MODEL_NOT_ALLOWED, models=("gpt-4o-2024-08-06",))
    assert first(one, change(K.MODEL_REMOVED, model="gpt-4o")).strength is Strength.PROOF


def test_a_key_nobody_knows_here_may_be_another_one() -> None:
    unknown = first(incident(), replace(DELETED, key=None))
    assert unknown.strength is Strength.POSSIBLE


def test_one_of_several_that_failed_explains_not_all_of_them() -> None:
    one = incident(keys=("legacy/backend", "legacy/worker"), cause=Cause(Scope.PROJECT, Lane.AUTH, "legacy"))
    assert first(one, DELETED).reach is Reach.PART
    assert first(one, DELETED).strength is Strength.POSSIBLE


def test_changes_of_other_projects_are_left_out() -> None:
    assert ranked(incident(), [change(project="other", project_id="proj_o"), change(project=None, project_id="proj_nobody")]) == ()


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (K.SPEND_LIMIT_CHANGED, "The project's spend limit was raised: $100 → $500."),
        (K.SPEND_LIMIT_CHANGED, "The project's spend limit was removed; it was $100."),
    ],
)
def test_what_eases_a_limit_does_not_explain_that_it_is_reached(kind: ChangeKind, text: str) -> None:
    assert first(incident(F.QUOTA_PROJECT_SPEND), change(kind, text=text)).strength is Strength.ALSO


def test_settings_that_reach_no_request_explain_nothing() -> None:
    changed = change(K.CONFIG_CHANGED, subject="owner, tags")
    assert first(incident(F.AUTH_WRONG_PROJECT), changed).strength is Strength.ALSO
    assert first(incident(F.AUTH_WRONG_PROJECT), replace(changed, subject="owner, project_id")).strength is Strength.STRONG


# When -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("after", "at", "counts"),
    [
        (None, -30 * MINUTE, True),
        (None, -30 * MINUTE - SECOND, False),
        (None, 5 * MINUTE - SECOND, True),
        (None, 5 * MINUTE, False),
        (-2 * HOUR, -31 * MINUTE, False),
        (-2 * HOUR, -29 * MINUTE, True),
        (-HOUR, 3 * HOUR, True),
        (6 * MINUTE, HOUR, False),
        (-timedelta(days=3), MINUTE, False),
    ],
)
def test_it_counts_from_half_an_hour_before_until_five_minutes_after(after: timedelta | None, at: timedelta, counts: bool) -> None:
    seen = replace(DELETED, at=BAD + at, after=BAD + after if after is not None else None)
    assert bool(ranked(incident(), [seen])) is counts


def test_before_beats_after_and_near_beats_far() -> None:
    near, far, later = (
        replace(DELETED, dedup="n"),
        replace(DELETED, at=BAD - 20 * MINUTE, dedup="f"),
        replace(DELETED, at=BAD + SECOND),
    )
    one = incident(last_good_at=None)
    assert [each.event for each in ranked(one, [later, far, near])] == [near, far, later]
    assert first(one, later).strength < Strength.PROOF


def test_where_answers_were_good_after_it_it_settles_nothing() -> None:
    early = replace(DELETED, at=BAD - 20 * MINUTE)
    assert first(incident(last_good_at=BAD - 10 * SECOND), early).strength is Strength.POSSIBLE
    assert first(incident(last_good_at=BAD - 19 * MINUTE), early).strength is Strength.PROOF
    slow = change(K.IP_ALLOWLIST_CHANGED, 10 * MINUTE)
    assert first(incident(F.AUTH_IP_NOT_ALLOWED, last_good_at=BAD - SECOND), slow).strength is Strength.STRONG
    lowered = change(K.RATE_LIMIT_LOWERED, 20 * MINUTE, model="gpt-4o")
    assert first(incident(F.RATE_TOKENS, last_good_at=BAD - SECOND), lowered).strength is Strength.STRONG


def test_a_time_without_a_zone_is_refused() -> None:
    naive = BAD.replace(tzinfo=None)
    for event in (replace(DELETED, at=naive), replace(DELETED, after=naive)):
        with pytest.raises(ValueError, match="zone"):
            ranked(incident(), [event])
        with pytest.raises(ValueError, match="zone"):
            happened(event)


# The diagnosis ----------------------------------------------------------------------------------------------------------------


def test_a_deleted_key_makes_the_diagnosis_certain_and_says_what_to_do() -> None:
    one = incident()
    said = sharpened(one, ranked(one, [*NOISE, DELETED]))
    assert one.diagnosis.confidence is Confidence.POSSIBLE
    assert (said.confidence, said.owner) == (Confidence.CERTAIN, Owner.KEY_OWNER)
    assert said.cause == "Key “backend” (sk-…4f2c) was deleted by ben.bauer: a deleted key is refused."
    assert said.next_step == (
        "Create a new key in platform.openai.com → Settings → Project “legacy” → API keys and put it into the `secret` of "
        "project “legacy” in monitor.toml: a deleted key does not come back. Ask ben.bauer whether it was meant."
    )
    assert said.changed == "Key “backend” (sk-…4f2c) was deleted by ben.bauer 40 s before the first 401."
    assert said.evidence[-1] == f"changed just before: {said.changed} (OpenAI’s audit log)"
    assert said.plain == one.diagnosis
    assert said.summary == one.diagnosis.summary


def test_sharpening_again_gives_the_same_and_a_better_change_takes_the_place_of_a_worse_one() -> None:
    one = incident()
    rotated = change(K.KEY_ROTATED, key="backend")
    once = replace(one, diagnosis=sharpened(one, ranked(one, [rotated])))
    assert once.diagnosis.confidence is Confidence.LIKELY
    assert sharpened(once, ranked(once, [rotated])) == once.diagnosis
    twice = sharpened(once, ranked(once, [rotated, DELETED]))
    assert twice == sharpened(one, ranked(one, [rotated, DELETED]))
    assert sharpened(replace(one, diagnosis=twice), ()) == one.diagnosis


def test_what_the_answer_says_stays_certain_and_the_change_is_only_likely() -> None:
    one = incident(F.ACCESS_MODEL_NOT_ALLOWED)
    assert one.diagnosis.confidence is Confidence.CERTAIN
    said = sharpened(one, ranked(one, [change(K.CONFIG_CHANGED, text="The models of legacy were changed.", subject="models")]))
    assert said.confidence is Confidence.CERTAIN
    assert said.owner is one.diagnosis.owner
    assert said.cause.startswith(one.diagnosis.cause)
    assert "Likely because of this: The models of legacy were changed: other models may be asked for since then." in said.cause


def test_a_guess_changes_no_diagnosis() -> None:
    one = incident()
    assert sharpened(one, ranked(one, [change(K.KEY_CREATED), *NOISE])) == one.diagnosis


@pytest.mark.parametrize(("failure", "kind", "facts"), BEST)
def test_every_explanation_gives_a_whole_diagnosis(failure: FailureKind, kind: ChangeKind, facts: dict[str, Any]) -> None:
    one = incident(failure, diagnosis=diagnose(failure, Context(project="legacy", key="backend")))
    said = sharpened(one, ranked(one, [change(kind, **facts)]))
    assert said.changed
    for text in (said.summary, said.cause, said.next_step):
        assert text
        assert "{" not in text
        assert text[0] == text[0].upper()
        assert text.rstrip()[-1] in ".!?)"


# The table --------------------------------------------------------------------------------------------------------------------


def test_every_rule_ends_a_sentence_and_has_a_weight() -> None:
    for kind, rules in EXPLAINS.items():
        for failure, rule in rules.items():
            assert 0 < rule.weight <= 100, (kind, failure)
            assert rule.why == rule.why.strip().rstrip(".")
            assert rule.why[0].islower() or rule.why.startswith(("OpenAI", "IP"))
            assert not rule.proves or rule.weight >= 90
    assert rule_of(K.MEMBER_ADDED, F.AUTH_INVALID_KEY) is None
    assert rule_of(K.KEY_ROTATED, F.AUTH_ACCOUNT_DEACTIVATED) is EXPLAINS[K.KEY_ROTATED][Lane.AUTH]
    assert set(SOURCES) == set(ChangeSource)


def test_a_single_failure_never_explained_by_changes_is_openais_own() -> None:
    for failure in (F.SERVER_ERROR, F.SERVER_OVERLOADED):
        assert all(rule_of(kind, failure) is None for kind in ChangeKind)


# Anything ---------------------------------------------------------------------------------------------------------------------

TEXTS = st.text(max_size=40)
TIMES = st.integers(-45 * 60, 45 * 60).map(lambda seconds: BAD + timedelta(seconds=seconds))
EVENTS = st.builds(
    ChangeEvent,
    at=TIMES,
    kind=st.sampled_from(ChangeKind),
    source=st.sampled_from(ChangeSource),
    text=st.one_of(TEXTS, st.sampled_from(["{braces} %s", "was deleted.", "a\nb\x00c", "<b>x</b>", "by by by"])),
    project=st.sampled_from(["legacy", "other", None]),
    project_id=st.sampled_from(["proj_legacy", None]),
    subject=st.one_of(st.none(), TEXTS),
    key=st.sampled_from(["backend", "worker", None, ""]),
    model=st.sampled_from(["gpt-4o", "gpt-4o-2024-08-06", "o3", None, ""]),
    actor=st.one_of(st.none(), TEXTS),
    after=st.one_of(st.none(), TIMES),
    dedup=TEXTS,
    id=st.one_of(st.none(), st.integers(1, 5)),
)
FAILURES = st.sampled_from(FailureKind)


@settings(max_examples=300, deadline=None)
@given(failure=FAILURES, events=st.lists(EVENTS, max_size=8), data=st.data())
def test_the_order_is_total_and_the_same_whatever_comes_first(
    failure: FailureKind, events: list[ChangeEvent], data: st.DataObject
) -> None:
    one = incident(failure)
    found = ranked(one, events)
    assert ranked(one, data.draw(st.permutations(events))) == found
    assert [each.strength for each in found] == sorted((each.strength for each in found), reverse=True)
    window = window_of(one)
    for each in found:
        begin, end = happened(each.event)
        assert end >= window.start
        assert begin < window.end
        assert 0 <= each.score <= 100
        assert each.text.endswith(".")
        assert "\n" not in each.text


@settings(max_examples=300, deadline=None)
@given(failure=FAILURES, events=st.lists(EVENTS, max_size=5))
def test_any_change_gives_a_diagnosis_and_none_makes_it_less_certain(failure: FailureKind, events: list[ChangeEvent]) -> None:
    one = incident(failure)
    found = ranked(one, events)
    said = sharpened(one, found)
    sure = list(Confidence)
    assert sure.index(said.confidence) <= sure.index(one.diagnosis.confidence)
    assert said.evidence[: len(one.diagnosis.evidence)] == one.diagnosis.evidence
    again = replace(one, diagnosis=said)
    assert sharpened(again, ranked(again, events)) == said


@settings(max_examples=200, deadline=None)
@given(kind=st.sampled_from(ChangeKind), failure=FAILURES, ago=st.integers(0, 29 * 60))
def test_nearer_to_what_failed_never_explains_less(kind: ChangeKind, failure: FailureKind, ago: int) -> None:
    one = incident(failure)
    facts: dict[str, Any] = {"model": "gpt-4o"} if one.models else {"key": "backend"}
    rule = rule_of(kind, failure)
    itself = first(one, change(kind, ago * SECOND, **facts))
    project = first(one, change(kind, ago * SECOND))
    everybody = first(one, change(kind, ago * SECOND, **EVERYBODY))
    if rule is None or not rule.whole:
        assert itself.score >= project.score >= everybody.score
