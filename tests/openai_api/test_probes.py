"""What each question proves."""

from typing import Any

import pytest

from monitor.domain.inventory import ProbeKind
from monitor.domain.observation import Verdict
from monitor.domain.taxonomy import FailureKind
from monitor.openai_api.families import Family, guessed, told
from monitor.openai_api.probes import PROBES
from tests.openai_api.loopback import FROM_OPENAI, MODEL, NO_KEY, ask, client, refusal, reply, request, server

CHAT = {"id": "chatcmpl-TEST", "object": "chat.completion", "choices": [], "usage": {"total_tokens": 9}}
NOT_ALLOWED = "Project `proj_TEST000` does not have access to model `gpt-5`"
ELSEWHERE = "This model is only supported in v1/responses and not in v1/chat/completions."


# Control ------------------------------------------------------------------------------------------------------------------------


async def test_control_asks_without_any_credentials_and_wants_a_401() -> None:
    async with server(refusal(401, NO_KEY)) as there:
        seen = await ask(there.url, ProbeKind.CONTROL)
    assert (seen.verdict, seen.status, seen.failure, seen.request_id) == (Verdict.OK, 401, None, "req_TEST000")
    asked = there.asked[0]
    assert (asked.method, asked.path) == ("GET", "/v1/models")
    assert asked.all("authorization") == asked.all("openai-project") == asked.all("openai-organization") == []


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (refusal(503, "The server is currently overloaded"), FailureKind.SERVER_OVERLOADED),
        (reply(401, b"<html>Log in</html>", {"Content-Type": "text/html"}), FailureKind.NETWORK_NOT_OPENAI),
        (reply(401, b"", {"WWW-Authenticate": 'Basic realm="corp"'}), FailureKind.NETWORK_NOT_OPENAI),
        (reply(200, b"<html>Welcome</html>", {"Content-Type": "text/html"}), FailureKind.NETWORK_NOT_OPENAI),
    ],
)
async def test_control_does_not_take_another_answer(answer: bytes, failure: FailureKind) -> None:
    async with server(answer) as there:
        seen = await ask(there.url, ProbeKind.CONTROL)
    assert (seen.verdict, seen.failure) == (Verdict.FAILED, failure)


# Looking up ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["gpt-4o", "ft:gpt-4o-mini:acme::abc123"])
async def test_model_access_looks_up_one_model(model: str) -> None:
    async with server(reply(200, MODEL)) as there:
        seen = await ask(there.url, ProbeKind.MODEL_ACCESS, model)
    assert (seen.verdict, seen.tokens) == (Verdict.OK, 0)
    assert there.asked[0].method == "GET"
    assert there.asked[0].path.replace("%3A", ":") == f"/v1/models/{model}"


async def test_a_model_without_a_name_is_an_observation() -> None:
    async with server(reply(200, MODEL)) as there:
        seen = await ask(there.url, ProbeKind.MODEL_ACCESS, None)
    assert there.asked == []
    assert (seen.verdict, seen.failure) == (Verdict.FAILED, FailureKind.CLIENT_CONFIGURATION)


# Inference ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "path", "members"),
    [
        ("gpt-4o", "chat/completions", {"max_completion_tokens": 16}),
        ("text-embedding-3-small", "embeddings", {"input": "ping"}),
        ("o3-pro", "responses", {"max_output_tokens": 16, "store": False}),
        ("computer-use-preview", "responses", {"truncation": "auto"}),
        ("gpt-3.5-turbo-instruct", "completions", {"max_tokens": 1}),
        ("ft:gpt-4o-mini:embed::abc", "chat/completions", {}),
    ],
)
async def test_inference_calls_the_endpoint_of_the_model(model: str, path: str, members: dict[str, Any]) -> None:
    async with server(reply(200, CHAT)) as there:
        seen = await ask(there.url, ProbeKind.INFERENCE, model)
    assert (seen.verdict, seen.tokens) == (Verdict.OK, 9)
    asked = there.asked[0]
    assert (asked.method, asked.path) == ("POST", f"/v1/{path}")
    assert asked.json().items() >= ({"model": model} | members).items()
    assert len(there.asked) == 1


@pytest.mark.parametrize(
    "usage", [None, {}, {"total_tokens": "9"}, {"total_tokens": -1}, {"total_tokens": True}, {"total_tokens": 10**12}]
)
async def test_tokens_that_the_answer_does_not_say_sensibly_are_none(usage: object) -> None:
    async with server(reply(200, CHAT | {"usage": usage})) as there:
        assert (await ask(there.url, ProbeKind.INFERENCE, "gpt-4o")).tokens == 0


@pytest.mark.parametrize("model", ["whisper-1", "dall-e-3", "sora-2", "gpt-4o-realtime-preview", "omni-moderation-latest"])
async def test_what_would_cost_real_money_is_only_looked_up(model: str) -> None:
    async with server(reply(200, MODEL), refusal(404, f"The model `{model}` does not exist", "model_not_found")) as there:
        seen, missing = [await ask(there.url, ProbeKind.INFERENCE, model) for _ in range(2)]
    assert (seen.verdict, missing.verdict) == (Verdict.INCONCLUSIVE, Verdict.FAILED)
    assert {asked.method for asked in there.asked} == {"GET"}


async def test_switched_off_it_is_only_looked_up() -> None:
    async with server(reply(200, MODEL)) as there:
        seen = await ask(there.url, ProbeKind.INFERENCE, "gpt-4o", inference_mode="off")
    assert seen.verdict is Verdict.INCONCLUSIVE
    assert [asked.method for asked in there.asked] == ["GET"]


async def test_the_endpoint_is_learned_from_a_refusal_and_kept() -> None:
    async with server(refusal(404, ELSEWHERE), reply(200, CHAT)) as there, client() as api:
        asked = request(there.url, ProbeKind.INFERENCE, "gpt-9")
        first, second = [await PROBES[ProbeKind.INFERENCE](api, asked) for _ in range(2)]
    assert (first.verdict, second.verdict) == (Verdict.OK, Verdict.OK)
    assert [asked.path for asked in there.asked] == ["/v1/chat/completions", "/v1/responses", "/v1/responses"]


async def test_two_endpoints_that_send_us_to_each_other_end() -> None:
    back = "This model is only supported in v1/chat/completions and not in v1/responses."
    async with server(refusal(404, ELSEWHERE), refusal(404, back), refusal(404, back)) as there, client() as api:
        asked = request(there.url, ProbeKind.INFERENCE, "gpt-9")
        for _ in range(2):
            assert (await PROBES[ProbeKind.INFERENCE](api, asked)).verdict is not Verdict.OK
    assert len(there.asked) <= 4


async def test_words_in_a_good_answer_teach_nothing() -> None:
    said = CHAT | {"choices": [{"message": {"role": "assistant", "content": ELSEWHERE}}]}
    async with server(reply(200, said)) as there, client() as api:
        await PROBES[ProbeKind.INFERENCE](api, request(there.url, ProbeKind.INFERENCE, "gpt-4o"))
        assert api.families == {}
    assert len(there.asked) == 1


async def test_an_answer_cut_off_at_the_limit_is_a_good_one() -> None:
    message = "Could not finish the message because max_tokens or model output limit was reached. Please try again."
    async with server(refusal(400, message)) as there:
        seen = await ask(there.url, ProbeKind.INFERENCE, "o3")
    assert (seen.verdict, seen.failure) == (Verdict.OK, None)


ZERO = "Missing required parameter: 'messages[0].content[0].type'."


@pytest.mark.parametrize("model", ["gpt-4o", "text-embedding-3-small", "o3-pro", "gpt-3.5-turbo-instruct"])
async def test_zero_token_takes_the_refusal_of_its_form_as_proof(model: str) -> None:
    async with server(refusal(400, ZERO, "missing_required_parameter")) as there:
        seen = await ask(there.url, ProbeKind.INFERENCE, model, inference_mode="zero_token")
    assert (seen.verdict, seen.failure, seen.tokens) == (Verdict.OK, None, 0)
    assert len(there.asked) == 1
    said = there.asked[0].json()
    assert said.get("input") == [] or said.get("max_output_tokens") == 1 or said.get("max_tokens") == -1 or "messages" in said


@pytest.mark.parametrize(
    ("answer", "verdict", "failure"),
    [
        # At the door: nothing shows that it was looked at for this project.
        (
            reply(400, {"error": {"message": ZERO, "type": "invalid_request_error"}}, {}),
            Verdict.INCONCLUSIVE,
            FailureKind.CLIENT_BAD_REQUEST,
        ),
        (refusal(401, "Incorrect API key provided.", "invalid_api_key"), Verdict.FAILED, FailureKind.AUTH_INVALID_KEY),
        (refusal(429, "You exceeded your current quota", "insufficient_quota"), Verdict.FAILED, FailureKind.QUOTA_EXHAUSTED),
        (refusal(400, ZERO, headers={"openai-project": "proj_OTHER"}), Verdict.FAILED, FailureKind.AUTH_WRONG_PROJECT),
    ],
)
async def test_zero_token_takes_nothing_else(answer: bytes, verdict: Verdict, failure: FailureKind) -> None:
    async with server(answer) as there:
        seen = await ask(there.url, ProbeKind.INFERENCE, "gpt-4o", inference_mode="zero_token")
    assert (seen.verdict, seen.failure) == (verdict, failure)


async def test_a_bad_request_of_the_ordinary_mode_is_no_proof() -> None:
    async with server(refusal(400, ZERO, "missing_required_parameter")) as there:
        seen = await ask(there.url, ProbeKind.INFERENCE, "gpt-4o")
    assert (seen.verdict, seen.failure) == (Verdict.INCONCLUSIVE, FailureKind.CLIENT_BAD_REQUEST)


# Denied models ------------------------------------------------------------------------------------------------------------------


async def test_a_denied_model_that_is_refused_is_well() -> None:
    async with server(refusal(403, NOT_ALLOWED, "model_not_found")) as there:
        seen = await ask(there.url, ProbeKind.DENIED_MODEL, "gpt-5")
    assert (seen.verdict, seen.failure, seen.finding) == (Verdict.OK, None, None)


async def test_a_denied_model_that_answers_is_a_finding() -> None:
    async with server(reply(200, CHAT)) as there:
        seen = await ask(there.url, ProbeKind.DENIED_MODEL, "gpt-5")
    assert (seen.verdict, seen.finding, seen.tokens) == (Verdict.OK, "denied_model_usable", 9)


@pytest.mark.parametrize(
    "answer",
    [
        refusal(429, "Rate limit reached for requests"),
        refusal(401, "Incorrect API key provided.", "invalid_api_key"),
        refusal(500, "The server had an error"),
        reply(403, b"<html>blocked</html>", {"Content-Type": "text/html"}),
        b"",
    ],
)
async def test_anything_else_tells_nothing_of_a_denied_model(answer: bytes) -> None:
    async with server(answer) as there:
        seen = await ask(there.url, ProbeKind.DENIED_MODEL, "gpt-5")
    assert (seen.verdict, seen.finding) == (Verdict.INCONCLUSIVE, None)


async def test_a_denied_model_that_is_only_looked_up_is_no_finding() -> None:
    async with server(reply(200, MODEL, FROM_OPENAI)) as there:
        seen = await ask(there.url, ProbeKind.DENIED_MODEL, "dall-e-3")
    assert (seen.verdict, seen.finding) == (Verdict.INCONCLUSIVE, None)


# Families -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("gpt-5.1", Family.CHAT),
        ("GPT-4O", Family.CHAT),
        ("o4-mini", Family.CHAT),
        ("gpt-5-pro", Family.RESPONSES),
        ("gpt-5-codex", Family.RESPONSES),
        ("o3-deep-research", Family.RESPONSES),
        ("text-embedding-ada-002", Family.EMBEDDINGS),
        ("davinci-002", Family.COMPLETIONS),
        ("gpt-4o-mini-tts", Family.LOOK_UP),
        ("gpt-4o-audio-preview", Family.LOOK_UP),
        ("ft:davinci-002:acme:whisper:abc", Family.COMPLETIONS),
        ("", Family.CHAT),
    ],
)
def test_the_family_that_a_name_suggests(model: str, family: Family) -> None:
    assert guessed(model) is family


@pytest.mark.parametrize(
    ("body", "family"),
    [
        (b"This model is only supported in v1/responses and not in v1/chat/completions.", Family.RESPONSES),
        (b"This is not a chat model. Did you mean to use v1/completions?", Family.COMPLETIONS),
        (b"This is a chat model and not supported. Did you mean to use `/v1/chat/completions`?", Family.CHAT),
        (b"use /v1/embeddings instead", Family.EMBEDDINGS),
        (b"Invalid URL (POST /v1/chat/completions)", None),
        (b"\xff\xfe", None),
    ],
)
def test_the_family_that_a_refusal_names(body: bytes, family: Family | None) -> None:
    assert told(body) is family
