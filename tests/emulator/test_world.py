"""The verbs, the story, and what an honest platform shows in its headers."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from monitor.domain.inventory import ProbeKind
from monitor.domain.observation import Verdict
from monitor.domain.taxonomy import FailureKind
from monitor.emulator.app import create_app
from monitor.emulator.limits import Bucket, go_duration
from monitor.emulator.sample import SAMPLE_PROJECTS, sample_world
from monitor.emulator.world import VERBS
from tests.emulator.conftest import KEY, ORGANIZATION, PROJECT, START, Asker


def test_keys_come_and_go(run: Any) -> None:
    async def scene(asker: Asker) -> None:
        world, new = asker.world, KEY.replace("0001", "0002")
        world.revoke(KEY)
        assert (await asker.ask()).failure is FailureKind.AUTH_INVALID_KEY
        world.restore(KEY)
        assert (await asker.ask()).verdict is Verdict.OK
        world.rotate(KEY, new)
        assert (await asker.ask()).failure is FailureKind.AUTH_INVALID_KEY
        assert (await asker.ask(secret=new)).verdict is Verdict.OK

    run(scene)


def test_a_restricted_key_infers_and_does_not_list(run: Any) -> None:
    async def scene(asker: Asker) -> None:
        asker.world.restrict(KEY, ["model.request"])
        made = await asker.ask(ProbeKind.AUTH)
        assert (made.failure, made.status, made.missing_scopes) == (FailureKind.AUTH_MISSING_SCOPE, 403, ("api.model.read",))
        assert (await asker.ask(ProbeKind.INFERENCE)).verdict is Verdict.OK
        assert (await asker.ask(ProbeKind.INFERENCE, "gpt-5-pro")).missing_scopes == ("api.responses.write",)

    run(scene)


def test_models_are_denied_and_retired(run: Any) -> None:
    async def scene(asker: Asker) -> None:
        asker.world.deny_model("emulated", "gpt-4o")
        assert (await asker.ask(ProbeKind.MODEL_ACCESS)).verdict is Verdict.OK  # listing is no proof
        assert (await asker.ask()).failure is FailureKind.ACCESS_MODEL_NOT_ALLOWED
        assert (await asker.ask(ProbeKind.DENIED_MODEL)).verdict is Verdict.OK
        asker.world.allow_model(PROJECT, "gpt-4o")
        assert (await asker.ask(ProbeKind.DENIED_MODEL)).finding == "denied_model_usable"
        asker.world.retire_model("gpt-4o")
        assert (await asker.ask()).failure is FailureKind.ACCESS_MODEL_RETIRED

    run(scene)


def test_a_model_ends_on_the_day_that_was_announced_last(run: Any) -> None:
    async def scene(asker: Asker) -> None:
        world, now = asker.world, START.timestamp()
        days = [(START + timedelta(days=ahead)).date().isoformat() for ahead in (1, 2, 3)]
        world.clock = lambda: now
        world.announce_shutdown("gpt-4o", days[0])
        world.announce_shutdown("gpt-4o", days[1])
        now = (START + timedelta(days=1, hours=1)).timestamp()
        assert (await asker.ask()).verdict is Verdict.OK  # it was put off
        now = (START + timedelta(days=2, hours=1)).timestamp()
        assert (await asker.ask()).failure is FailureKind.ACCESS_MODEL_RETIRED
        world.revive_model("gpt-4o")
        world.announce_shutdown("gpt-4o", days[2])
        world.announce_shutdown("gpt-4o")  # and called off
        now = (START + timedelta(days=9)).timestamp()
        assert (await asker.ask()).verdict is Verdict.OK

    run(scene)


def test_a_key_that_is_held_to_no_project_works_under_any_id(run: Any) -> None:
    async def scene(asker: Asker) -> None:
        asker.world.add_project("proj_other", ORGANIZATION, "other")
        assert (await asker.ask(project_id="proj_other")).failure is FailureKind.AUTH_WRONG_PROJECT
        asker.world.unbind(KEY)
        assert (await asker.ask(project_id="proj_other")).verdict is Verdict.OK
        asker.world.bind(KEY)
        assert (await asker.ask(project_id="proj_other")).failure is FailureKind.AUTH_WRONG_PROJECT

    run(scene)


def test_listing_works_while_there_is_no_money(run: Any) -> None:
    async def scene(asker: Asker) -> None:
        asker.world.exhaust_credit(ORGANIZATION)
        made = await asker.ask()
        assert (made.failure, made.limits) == (FailureKind.QUOTA_CREDITS, ())
        assert (await asker.ask(ProbeKind.AUTH)).verdict is Verdict.OK
        asker.world.add_credit(ORGANIZATION)
        assert (await asker.ask()).verdict is Verdict.OK

    run(scene)


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-5-pro", "text-embedding-3-small"])
def test_every_family_answers_with_the_project_and_its_limits(run: Any, model: str) -> None:
    async def scene(asker: Asker) -> None:
        made = await asker.ask(model=model)
        assert (made.verdict, made.project_echo, made.organization_echo) == (Verdict.OK, PROJECT, "emulated-slug")
        shown = {limit.bucket: limit for limit in made.limits}
        assert shown["requests"].remaining == shown["requests"].limit - 1  # type: ignore[operator]
        assert made.tokens > 0

    run(scene)


def test_zero_token_probes_reach_the_limits_and_use_no_token(run: Any) -> None:
    async def scene(asker: Asker) -> None:
        for model in ("gpt-4o", "gpt-5-pro", "text-embedding-3-small"):
            made = await asker.ask(model=model, inference_mode="zero_token")
            assert (made.verdict, made.tokens, made.status) == (Verdict.OK, 0, 400)

    run(scene)


def test_a_bucket_refills_with_time(run: Any) -> None:
    async def scene(asker: Asker) -> None:
        asker.world.throttle(PROJECT, "gpt-4o", requests=2)
        verdicts = [(await asker.ask()).verdict for _ in range(3)]
        assert verdicts == [Verdict.OK, Verdict.OK, Verdict.FAILED]
        await asyncio.sleep(60)
        assert (await asker.ask()).verdict is Verdict.OK

    run(scene)


def test_a_story_happens_at_its_time_and_troubles_end(run: Any) -> None:
    async def scene(asker: Asker) -> None:
        now = asker.clock.now().timestamp()
        asker.world.at(now + 60, "trouble", failure="server.error", seconds=120)
        assert (await asker.ask()).verdict is Verdict.OK
        await asyncio.sleep(90)
        assert (await asker.ask()).failure is FailureKind.SERVER_ERROR
        await asyncio.sleep(120)
        assert (await asker.ask()).verdict is Verdict.OK

    run(scene)


def test_what_lies_behind_has_happened_and_is_over() -> None:
    anchor = START.timestamp()
    early, late = sample_world(anchor, lambda: anchor - 40 * 86400), sample_world(anchor, lambda: anchor)
    for world in (early, late):
        world.advance()
    legacy = next(project for project in SAMPLE_PROJECTS if project.name == "legacy").keys[0].secret
    assert early.find_key(legacy) is not None
    assert late.find_key(legacy) is None


def test_responses_stream_and_fail_within(run: Any) -> None:
    async def scene(asker: Asker) -> None:
        stream = {"model": "gpt-4o", "input": "ping", "stream": True}
        caller = asker.api.caller("http://127.0.0.1:9/v1", KEY)
        await caller.respond(**stream)

    run(scene)
    world = sample_world(START.timestamp(), START.timestamp)
    key = SAMPLE_PROJECTS[0].keys[0].secret
    client = TestClient(create_app(world))
    world.latency_factor = 0.0
    asked = {"url": "/v1/responses", "headers": {"Authorization": f"Bearer {key}"}}
    body = {"model": "gpt-4o", "input": "ping", "stream": True}
    assert "response.completed" in client.post(**asked, json=body).text  # type: ignore[arg-type]
    world.break_streams()
    failed = client.post(**asked, json=body)  # type: ignore[arg-type]
    assert (failed.status_code, "response.failed" in failed.text) == (200, True)
    counted = client.post("/v1/responses/input_tokens", headers=asked["headers"], json=body)  # type: ignore[arg-type]
    assert counted.json()["object"] == "response.input_tokens"


@pytest.fixture
def client() -> TestClient:
    """The endpoints of a sample world that answers at once."""
    world = sample_world(START.timestamp(), START.timestamp)
    world.latency_factor = 0.0
    return TestClient(create_app(world))


def test_verbs_over_http_change_the_world(client: TestClient) -> None:
    key = SAMPLE_PROJECTS[0].keys[0].secret
    headers = {"Authorization": f"Bearer {key}"}
    assert client.get("/v1/models", headers=headers).status_code == 200
    assert client.post("/_emulator/revoke", json={"secret": key}).json() == {"ok": True}
    assert client.get("/v1/models", headers=headers).json()["error"]["code"] == "invalid_api_key"
    assert set(client.get("/_emulator").json()["verbs"]) == set(VERBS)


@pytest.mark.parametrize(
    ("verb", "body", "word"),
    [
        ("explode", b"{}", "no such verb"),
        ("revoke", b"{}", "secret"),
        ("revoke", b'{"secret": "sk-proj-TEST-nobody-knows-this-0000"}', "no such key"),
        ("revoke", b"[1, 2]", "JSON object"),
        ("revoke", b"{", ""),
        ("revoke", b"[" * 5000, ""),
        ("trouble", b'{"failure": "auth.tired"}', "no such failure"),
        ("throttle", b'{"whose": "x", "model": "gpt-0"}', "no such model"),
    ],
)
def test_a_wrong_verb_is_refused_in_words(client: TestClient, verb: str, body: bytes, word: str) -> None:
    answer = client.post(f"/_emulator/{verb}", content=body)
    assert answer.status_code == 400
    assert word in answer.json()["error"]
    assert "TEST" not in answer.text


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"{", b"\xff\xfe", b'{"model": 3}', b'{"model": ""}', b'{"a":' * 3000])
def test_a_broken_request_is_a_bad_request(client: TestClient, body: bytes) -> None:
    headers = {"Authorization": f"Bearer {SAMPLE_PROJECTS[0].keys[0].secret}"}
    for path in ("chat/completions", "responses", "embeddings"):
        assert client.post(f"/v1/{path}", content=body, headers=headers).status_code == 400
    assert client.get("/v1/nothing", headers=headers).status_code == 404


@given(
    limit=st.integers(1, 10**7),
    steps=st.lists(st.tuples(st.floats(0, 500), st.floats(0, 10**6)), max_size=30),
    others=st.floats(0, 10**7),
)
def test_a_bucket_is_never_overdrawn_nor_overfull(limit: int, steps: list[tuple[float, float]], others: float) -> None:
    bucket, now = Bucket(limit, traffic=lambda _: others), 1000.0
    for pause, wanted in steps:
        now += pause
        before = bucket.remaining(now)
        wait = bucket.take(wanted, now)
        after = bucket.remaining(now)
        assert 0 <= after <= before <= limit
        assert wait >= 0
        if wait:
            assert before < wanted
            assert after == before


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.006, "6ms"),
        (1.182, "1.182s"),
        (864, "14m24s"),
        (1252.666, "20m52.666s"),
        (4105.745, "1h8m25.745s"),
        (60, "1m0s"),
    ],
)
def test_durations_are_written_as_recorded(seconds: float, text: str) -> None:
    assert go_duration(seconds) == text
