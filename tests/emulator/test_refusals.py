"""Every failure of the taxonomy can be provoked, and the real SDK, the probes and the classifier find it again."""

from typing import Any

import pytest

from monitor.domain.inventory import ProbeKind
from monitor.domain.observation import Verdict
from monitor.domain.taxonomy import FailureKind, Scope
from monitor.emulator.answers import REFUSALS
from tests.emulator.conftest import KEY, ORGANIZATION, PROJECT, Asker

CANNOT_TELL = {"client.bad_request", "unknown"}
"""Failures that say nothing of the key: they move no health."""
NOT_ANSWERS = {"network.timeout", "network.unreachable", "network.tls", "client.configuration"}


def test_every_failure_kind_has_its_refusal() -> None:
    assert set(REFUSALS) | NOT_ANSWERS == {kind.value for kind in FailureKind}


@pytest.mark.parametrize("failure", sorted(set(REFUSALS) - {"auth.missing_credentials"}))
def test_a_trouble_is_recognised_for_what_it_is(run: Any, failure: str) -> None:
    async def scene(asker: Asker) -> None:
        assert (await asker.ask()).verdict is Verdict.OK
        asker.world.trouble(failure, project=PROJECT)
        made = await asker.ask()
        assert made.failure == FailureKind(failure)
        assert made.verdict is (Verdict.INCONCLUSIVE if failure in CANNOT_TELL else Verdict.FAILED)
        asker.world.heal(failure)
        assert (await asker.ask()).verdict is Verdict.OK

    run(scene)


@pytest.mark.parametrize(
    ("probe", "failure"),
    [
        (ProbeKind.AUTH, "auth.invalid_key"),
        (ProbeKind.AUTH, "auth.missing_scope"),
        (ProbeKind.AUTH, "auth.ip_not_allowed"),
        (ProbeKind.AUTH, "network.not_openai"),
        (ProbeKind.MODEL_ACCESS, "auth.missing_scope"),
        (ProbeKind.MODEL_ACCESS, "server.overloaded"),
    ],
)
def test_the_free_probes_recognise_what_they_can_see(run: Any, probe: ProbeKind, failure: str) -> None:
    async def scene(asker: Asker) -> None:
        asker.world.trouble(failure)
        assert (await asker.ask(probe)).failure == FailureKind(failure)

    run(scene)


def test_without_a_key_the_control_probe_is_refused_as_it_should_be(run: Any) -> None:
    async def scene(asker: Asker) -> None:
        made = await asker.ask(ProbeKind.CONTROL)
        assert (made.status, made.verdict, made.failure) == (401, Verdict.OK, None)
        asker.world.trouble("server.error")
        assert (await asker.ask(ProbeKind.CONTROL)).failure is FailureKind.SERVER_ERROR

    run(scene)


def test_a_cut_connection_is_no_matter_of_the_key(run: Any) -> None:
    async def scene(asker: Asker) -> None:
        asker.world.cut()
        made = await asker.ask()
        assert made.failure is FailureKind.NETWORK_UNREACHABLE

    run(scene)


def test_an_answer_that_comes_too_late_is_a_timeout(run: Any) -> None:
    async def scene(asker: Asker) -> None:
        asker.world.slow_down(30.0)
        made = await asker.ask()
        assert (made.failure, made.status) == (FailureKind.NETWORK_TIMEOUT, None)
        assert made.latency_ms == pytest.approx(15_000, abs=50)

    run(scene)


@pytest.mark.parametrize("model", ["gpt-9", "gpt-5-pro-max"])
def test_an_unknown_model_is_not_found_by_every_endpoint(run: Any, model: str) -> None:
    async def scene(asker: Asker) -> None:
        for probe in (ProbeKind.MODEL_ACCESS, ProbeKind.INFERENCE):
            assert (await asker.ask(probe, model)).failure is FailureKind.ACCESS_MODEL_NOT_FOUND

    run(scene)


def test_a_limit_of_the_project_and_one_of_the_organization_are_told_apart(run: Any) -> None:
    async def scene(asker: Asker) -> None:
        asker.world.throttle(PROJECT, "gpt-4o", requests=2)
        made = [await asker.ask() for _ in range(3)][-1]
        assert (made.failure, made.scope) == (FailureKind.RATE_REQUESTS, Scope.PROJECT)
        assert made.hit is not None
        assert (made.hit.limit, made.hit.requested, made.hit.project) == (2, 1, PROJECT)
        asker.world.throttle(ORGANIZATION, "gpt-4o-mini", tokens=30)
        made = [await asker.ask(model="gpt-4o-mini") for _ in range(3)][-1]
        assert (made.failure, made.scope) == (FailureKind.RATE_TOKENS, Scope.ORGANIZATION)

    run(scene)


def test_the_key_that_is_echoed_is_masked_and_never_kept(run: Any) -> None:
    async def scene(asker: Asker) -> None:
        asker.world.revoke(KEY)
        made = await asker.ask()
        assert made.failure is FailureKind.AUTH_INVALID_KEY
        assert "TEST" not in repr(made)

    run(scene)


def test_headers_of_the_wrong_project_and_organization_are_refused(run: Any) -> None:
    async def scene(asker: Asker) -> None:
        assert (await asker.ask(project_id="proj_other")).failure is FailureKind.AUTH_WRONG_PROJECT
        assert (await asker.ask(organization="org-other")).failure is FailureKind.AUTH_WRONG_ORGANIZATION
        assert (await asker.ask(organization=ORGANIZATION)).verdict is Verdict.OK

    run(scene)
