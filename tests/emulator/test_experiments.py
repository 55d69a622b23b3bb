"""Control experiments against the emulator: cause and owner are right, and never surer than the answers allow."""

from dataclasses import replace
from typing import Any

import pytest

from monitor.domain.diagnosis import Diagnosis
from monitor.domain.differential import ExperimentKind, ExperimentResult
from monitor.domain.inventory import ProbeKind, Target
from monitor.domain.observation import Verdict
from monitor.domain.taxonomy import FailureKind, Owner
from monitor.domain.words import Confidence
from monitor.openai_api.experiments import investigate, run
from monitor.openai_api.observe import ProbeRequest
from monitor.openai_api.probes import PROBES
from tests.emulator.conftest import BASE_URL, KEY, ORGANIZATION, PROJECT, Asker

X = ExperimentKind
OTHER_KEY = "sk-proj-TEST-emulator-not-a-key-0002"
OTHER_PROJECT = "proj_TESTother"
OFFICIAL = "https://api.openai.com/v1"
CERTAIN, LIKELY, POSSIBLE = Confidence.CERTAIN, Confidence.LIKELY, Confidence.POSSIBLE


class Case:
    """Two projects of one organization; the first one fails."""

    def __init__(self, asker: Asker) -> None:
        self.asker = asker
        self.world = asker.world
        self.world.add_project(OTHER_PROJECT, ORGANIZATION, "other")
        self.world.add_key(OTHER_KEY, OTHER_PROJECT)

    def request(self, probe: ProbeKind, model: str | None, **changed: Any) -> ProbeRequest:
        target = Target(probe, "emulated", "backend", model)
        facts = {"base_url": BASE_URL, "secret": KEY, "project_id": PROJECT, "at": self.asker.clock.now()} | changed
        return ProbeRequest(target, **facts)

    async def look(
        self, probe: ProbeKind = ProbeKind.AUTH, model: str | None = None, *, borrow: bool = True, known: Any = None, **changed: Any
    ) -> tuple[Diagnosis, dict[ExperimentKind, ExperimentResult]]:
        """Fail, then find out why."""
        base = self.request(probe, model, **changed)
        good = replace(
            base, target=Target(ProbeKind.AUTH, "other", "main"), secret=OTHER_KEY, project_id=OTHER_PROJECT, organization=None
        )
        seen = await PROBES[probe](self.asker.api, base)
        assert seen.verdict is Verdict.FAILED
        assert seen.failure is not None
        facts = {"same_organization": True, "may_spend": True, "names": {OTHER_PROJECT: "other"}} | (known or {})
        found, results = await investigate(self.asker.api, seen.failure, seen, base, good if borrow else None, **facts)
        text = f"{found}"
        assert KEY not in text
        assert OTHER_KEY not in text
        return found, {result.kind: result for result in results}


@pytest.fixture
def play(run: Any) -> Any:
    """Runs a scene that gets a `Case`."""

    def player(scene: Any) -> Any:
        return run(lambda asker: scene(Case(asker)))

    return player


def test_a_wrong_project_header_is_found_by_leaving_it_out(play: Any) -> None:
    async def scene(case: Case) -> None:
        found, results = await case.look(project_id=OTHER_PROJECT)
        assert (found.confidence, found.owner) == (CERTAIN, Owner.SERVICE)
        assert "accepted without the header" in found.cause
        assert set(results) == {X.WITHOUT_HEADERS}
        # A call is counted for a project, and OpenAI says for which.
        found, _ = await case.look(ProbeKind.INFERENCE, "gpt-4o", project_id=OTHER_PROJECT, known={"names": {PROJECT: "emulated"}})
        assert f"{PROJECT} (“emulated” here)" in found.cause
        assert f"to {PROJECT}" in found.next_step

    play(scene)


def test_a_wrong_organization_header_is_found_too(play: Any) -> None:
    async def scene(case: Case) -> None:
        found, _ = await case.look(organization="org-other")
        assert (found.confidence, found.owner) == (CERTAIN, Owner.SERVICE)
        assert "`organization`" in found.next_step

    play(scene)


def test_a_header_that_nobody_here_sent_was_added_on_the_way(play: Any) -> None:
    async def scene(case: Case) -> None:
        case.world.trouble("auth.wrong_project", project=PROJECT)
        found, _ = await case.look()
        assert (found.confidence, found.owner) == (LIKELY, Owner.NETWORK)

    play(scene)


def test_without_a_header_there_is_nothing_to_leave_out(play: Any) -> None:
    async def scene(case: Case) -> None:
        case.world.trouble("auth.wrong_project", project=PROJECT)
        _, results = await case.look(project_id=None)
        assert results == {}

    play(scene)


@pytest.mark.parametrize(
    ("hits", "same", "confidence", "owner", "words"),
    [
        ({"project": PROJECT}, True, CERTAIN, Owner.PROJECT_ADMIN, "from this very address"),
        ({"project": PROJECT}, None, LIKELY, Owner.PROJECT_ADMIN, "from this very address"),
        ({"organization": ORGANIZATION}, True, LIKELY, Owner.NETWORK, "refused from here too"),
    ],
)
def test_an_address_is_refused_by_one_list_or_by_all(
    play: Any, hits: dict[str, str], same: bool | None, confidence: Confidence, owner: Owner, words: str
) -> None:
    async def scene(case: Case) -> None:
        case.world.trouble("auth.ip_not_allowed", **hits)
        found, _ = await case.look(known={"same_organization": same})
        assert (found.confidence, found.owner) == (confidence, owner)
        assert words in found.cause

    play(scene)


def test_the_regional_host_that_openai_names_is_tried(play: Any) -> None:
    async def scene(case: Case) -> None:
        case.world.trouble("auth.wrong_region_host", project=PROJECT, host="eu.api.openai.com")
        found, results = await case.look(base_url=OFFICIAL)
        # The emulator is one world at every host: what it refuses here it refuses there, so nothing is proven.
        assert X.NAMED_HOST in results
        assert (found.confidence, found.owner) == (POSSIBLE, Owner.SERVICE)
        _, results = await case.look(base_url="https://gateway.internal/v1")
        assert X.NAMED_HOST not in results, "a key for a gateway is not taken to OpenAI"

    play(scene)


def test_a_country_is_no_matter_of_the_key(play: Any) -> None:
    async def scene(case: Case) -> None:
        case.world.trouble("access.region_unsupported")
        found, results = await case.look()
        assert (found.confidence, found.owner) == (CERTAIN, Owner.NETWORK)
        assert set(results) == {X.CONTROL, X.OTHER_KEY}
        case.world.heal()
        case.world.trouble("access.region_unsupported", project=PROJECT)
        found, _ = await case.look()
        assert found.confidence is POSSIBLE, "another key from the same machine is served"

    play(scene)


def test_a_quota_is_told_from_a_dead_key_by_listing(play: Any) -> None:
    async def scene(case: Case) -> None:
        case.world.trouble("quota.organization_usage", organization=ORGANIZATION)
        found, results = await case.look(ProbeKind.INFERENCE, "gpt-4o")
        assert results[X.LISTING].observation is not None
        assert results[X.LISTING].observation.verdict is Verdict.OK
        assert "Listing models works" in found.cause

    play(scene)


@pytest.mark.parametrize(
    ("hits", "confidence", "owner"),
    [
        ({"project": PROJECT}, LIKELY, Owner.PROJECT_ADMIN),
        ({"organization": ORGANIZATION}, LIKELY, Owner.BILLING),
    ],
)
def test_whose_quota_it_is_another_project_tells(play: Any, hits: dict[str, str], confidence: Confidence, owner: Owner) -> None:
    async def scene(case: Case) -> None:
        case.world.trouble("quota.exhausted", **hits)
        found, _ = await case.look(ProbeKind.INFERENCE, "gpt-4o")
        assert (found.confidence, found.owner) == (confidence, owner)
        # Without the money for a call, or without a second project, nobody knows.
        for less in ({"known": {"may_spend": False}}, {"borrow": False}):
            found, results = await case.look(ProbeKind.INFERENCE, "gpt-4o", **less)
            assert {kind for kind, result in results.items() if result.observation is not None} == {X.LISTING}
            assert (found.confidence, found.owner) == (POSSIBLE, Owner.BILLING)
            # What was left out for want of money is told, what could not be asked at all is not.
            assert (X.CALL_ELSEWHERE in results) is ("known" in less)

    play(scene)


def test_a_restricted_key_shows_itself_by_what_it_may_do(play: Any) -> None:
    async def scene(case: Case) -> None:
        case.world.restrict(KEY, ["model.request"])
        found, results = await case.look(known={"model": "gpt-4o"})
        assert set(results) == {X.CALL, X.OTHER_KEY}
        assert (found.confidence, found.owner) == (CERTAIN, Owner.KEY_OWNER)
        assert "does its work" in found.cause
        case.world.restrict(KEY, ["api.model.read"])
        found, _ = await case.look(ProbeKind.INFERENCE, "gpt-4o")
        assert (found.confidence, found.owner) == (LIKELY, Owner.KEY_OWNER)
        assert "may list models and lacks the permission to call" in found.cause
        case.world.restrict(KEY, [])
        found, _ = await case.look(known={"model": "gpt-4o"})
        assert (found.confidence, found.owner) == (LIKELY, Owner.KEY_OWNER)
        assert "neither list models nor call" in found.cause

    play(scene)


def test_when_all_keys_lose_a_permission_it_is_openai_s(play: Any) -> None:
    async def scene(case: Case) -> None:
        case.world.trouble("auth.missing_scope", endpoint="/v1/models")
        found, _ = await case.look(known={"model": "gpt-4o"})
        assert (found.confidence, found.owner) == (LIKELY, Owner.OPENAI)

    play(scene)


def test_a_model_that_exists_is_a_matter_of_the_project_s_list(play: Any) -> None:
    async def scene(case: Case) -> None:
        case.world.trouble("access.model_not_found", project=PROJECT, model="gpt-4o")
        found, _ = await case.look(ProbeKind.INFERENCE, "gpt-4o")
        assert (found.confidence, found.owner) == (LIKELY, Owner.PROJECT_ADMIN)
        assert "exists" in found.cause
        case.world.deny_model(PROJECT, "gpt-4o-mini")
        found, _ = await case.look(ProbeKind.INFERENCE, "gpt-4o-mini")
        assert (found.confidence, found.owner) == (CERTAIN, Owner.PROJECT_ADMIN)
        assert "“other” can look gpt-4o-mini up" in found.cause

    play(scene)


def test_a_model_that_nobody_finds_is_no_matter_of_the_project(play: Any) -> None:
    async def scene(case: Case) -> None:
        found, _ = await case.look(ProbeKind.MODEL_ACCESS, "gpt-9")
        assert (found.confidence, found.owner) == (POSSIBLE, Owner.SERVICE)
        assert "no matter of this project" in found.cause
        case.world.retire_model("gpt-4o-mini")
        found, _ = await case.look(ProbeKind.INFERENCE, "gpt-4o-mini")
        assert (found.confidence, found.owner) == (CERTAIN, Owner.SERVICE)

    play(scene)


def test_a_snapshot_whose_alias_lives_was_retired(play: Any) -> None:
    async def scene(case: Case) -> None:
        case.world.add_model("gpt-4o-2024-05-13")
        case.world.retire_model("gpt-4o-2024-05-13")
        found, results = await case.look(ProbeKind.MODEL_ACCESS, "gpt-4o-2024-05-13")
        assert results[X.OTHER_NAME].observation is not None
        assert results[X.OTHER_NAME].observation.target.model == "gpt-4o"
        assert (found.confidence, found.owner) == (LIKELY, Owner.SERVICE)
        assert "gpt-4o or a newer snapshot" in found.next_step

    play(scene)


def test_a_key_cut_short_is_shorter_than_its_like(play: Any) -> None:
    async def scene(case: Case) -> None:
        found, results = await case.look(secret=KEY[:24])
        assert (found.confidence, found.owner) == (LIKELY, Owner.SERVICE)
        assert f"has 24 characters, where the key of “other” has {len(OTHER_KEY)}" in found.cause
        assert set(results) == {X.OTHER_KEY}
        found, _ = await case.look(secret=KEY[:24], borrow=False)
        assert (found.confidence, found.owner) == (POSSIBLE, Owner.KEY_OWNER)

    play(scene)


def test_the_name_of_a_variable_is_no_key(play: Any) -> None:
    async def scene(case: Case) -> None:
        found, _ = await case.look(secret="OPENAI_API_KEY_OF_BILLING")
        assert (found.confidence, found.owner) == (LIKELY, Owner.SERVICE)
        assert "does not look like a key" in found.summary

    play(scene)


def test_a_revoked_key_is_this_key_and_why_stays_open(play: Any) -> None:
    async def scene(case: Case) -> None:
        case.world.revoke(KEY)
        found, _ = await case.look()
        assert (found.confidence, found.owner) == (POSSIBLE, Owner.KEY_OWNER)
        assert "accepted from here, so it is this key" in found.cause

    play(scene)


def test_when_a_good_key_is_refused_alike_no_key_is_blamed(play: Any) -> None:
    async def scene(case: Case) -> None:
        case.world.trouble("auth.invalid_key")
        found, _ = await case.look()
        assert (found.confidence, found.owner) == (POSSIBLE, Owner.OPENAI)
        assert "change no key" in found.next_step

    play(scene)


def test_a_call_that_is_slow_while_the_door_answers_is_openai_s(play: Any) -> None:
    async def scene(case: Case) -> None:
        case.world.slow_down(30.0, project="emulated")
        case.world.slow_down(30.0, project=PROJECT)
        found, results = await case.look(ProbeKind.INFERENCE, "gpt-4o")
        assert (found.confidence, found.owner) == (LIKELY, Owner.OPENAI)
        assert set(results) == {X.CONTROL, X.OTHER_KEY}
        case.world.slow_down(30.0)
        found, _ = await case.look(ProbeKind.INFERENCE, "gpt-4o")
        assert (found.confidence, found.owner) == (POSSIBLE, Owner.NETWORK)

    play(scene)


def test_an_account_is_one_person_s_or_the_organization_s(play: Any) -> None:
    async def scene(case: Case) -> None:
        case.world.trouble("auth.account_deactivated", secret=KEY)
        found, _ = await case.look()
        assert (found.confidence, found.owner) == (LIKELY, Owner.KEY_OWNER)
        case.world.heal()
        case.world.trouble("auth.account_deactivated", organization=ORGANIZATION)
        found, _ = await case.look()
        assert (found.confidence, found.owner) == (LIKELY, Owner.ORGANIZATION_OWNER)

    play(scene)


def test_a_borrowed_key_never_goes_to_another_host(play: Any) -> None:
    async def scene(case: Case) -> None:
        base = case.request(ProbeKind.AUTH, None)
        good = replace(base, target=Target(ProbeKind.AUTH, "other", "main"), secret=OTHER_KEY, base_url="http://127.0.0.1:8/v1")
        [result] = await run(case.asker.api, base, [X.OTHER_KEY], good)
        assert result.observation is None
        [result] = await run(case.asker.api, base, [X.NAMED_HOST], named_host="https://api.openai.com.evil.example/v1")
        assert result.observation is None

    play(scene)


def test_each_experiment_is_asked_once(play: Any) -> None:
    async def scene(case: Case) -> None:
        base = case.request(ProbeKind.INFERENCE, "gpt-4o")
        results = await run(case.asker.api, base, [X.CONTROL, X.LISTING, X.LISTING, X.CALL], None)
        assert [result.kind for result in results] == [X.CONTROL, X.LISTING, X.CALL]
        assert all(result.at == base.at and result.observation for result in results)
        targets = {str(result.observation.target) for result in results if result.observation}
        assert f"{BASE_URL}/control" in targets
        assert FailureKind.UNKNOWN not in {result.observation.failure for result in results if result.observation}

    play(scene)
