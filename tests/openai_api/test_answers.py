"""What is sent is exactly what was configured; what is answered becomes the right observation; no key gets out."""

import base64
import logging
import os
from pathlib import Path

import pytest

from monitor.domain.inventory import ProbeKind
from monitor.domain.observation import Observation, RateLimitSnapshot, Verdict
from monitor.domain.taxonomy import FailureKind, Scope
from monitor.openai_api.client import UnusableKeyError, scrub_environment
from monitor.openai_api.probes import PROBES
from monitor.openai_api.proxies import Proxies
from tests.openai_api.loopback import (
    FROM_OPENAI,
    KEY,
    MODEL,
    NO_KEY,
    PROJECT,
    Asked,
    ask,
    client,
    refusal,
    reply,
    request,
    server,
)

# Answers ------------------------------------------------------------------------------------------------------------------------


async def test_a_good_answer() -> None:
    async with server(reply()) as there:
        seen = await ask(there.url)
    assert (seen.verdict, seen.failure, seen.status, seen.code, seen.body) == (Verdict.OK, None, 200, None, None)
    assert (seen.request_id, seen.processing_ms) == ("req_TEST000", 44.0)
    assert (seen.project_echo, seen.organization_echo) == (PROJECT, "acme-test")
    assert seen.latency_ms is not None
    assert 0 < seen.latency_ms < 2000


@pytest.mark.parametrize(
    ("status", "message", "code", "failure"),
    [
        (401, "Incorrect API key provided: sk-proj-********0000.", "invalid_api_key", FailureKind.AUTH_INVALID_KEY),
        (401, "OpenAI-Project header should match project for API key", "mismatched_project", FailureKind.AUTH_WRONG_PROJECT),
        (
            403,
            "Project `proj_TEST` does not have access to model `gpt-4o`",
            "model_not_found",
            FailureKind.ACCESS_MODEL_NOT_ALLOWED,
        ),
        (403, "Your IP is not authorized", "ip_not_authorized", FailureKind.AUTH_IP_NOT_ALLOWED),
        (404, "The model `gpt-4o` does not exist", "model_not_found", FailureKind.ACCESS_MODEL_NOT_FOUND),
        (429, "You exceeded your current quota", "insufficient_quota", FailureKind.QUOTA_EXHAUSTED),
        (503, "Our servers are currently overloaded", None, FailureKind.SERVER_OVERLOADED),
    ],
)
async def test_a_refusal(status: int, message: str, code: str | None, failure: FailureKind) -> None:
    async with server(refusal(status, message, code)) as there:
        seen = await ask(there.url, ProbeKind.MODEL_ACCESS, "gpt-4o")
    assert (seen.verdict, seen.failure, seen.status, seen.code) == (Verdict.FAILED, failure, status, code)
    assert (seen.request_id, seen.project_echo) == ("req_TEST000", PROJECT)
    assert seen.message is not None
    assert seen.body is not None


async def test_limits_and_the_wait_are_read_from_headers() -> None:
    message = "Rate limit reached for gpt-4o in project proj_TEST000 on requests per min (RPM): Limit 500, Used 500, Requested 1."
    limits = {
        "x-ratelimit-limit-requests": "500",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "60s",
        "retry-after": "7",
    }
    async with server(refusal(429, message, "rate_limit_exceeded", limits)) as there:
        seen = await ask(there.url, ProbeKind.INFERENCE, "gpt-4o")
    assert (seen.failure, seen.retry_after) == (FailureKind.RATE_REQUESTS, 7.0)
    assert seen.limits == (RateLimitSnapshot("requests", 500, 0, 60.0, 60.0),)
    assert seen.hit is not None
    assert (seen.hit.metric, seen.hit.limit, seen.hit.used) == ("requests", 500.0, 500.0)


async def test_a_good_answer_that_names_another_project() -> None:
    async with server(reply(headers=FROM_OPENAI | {"openai-project": "proj_OTHER"})) as there:
        seen = await ask(there.url)
        unknown = await ask(there.url, project_id=None)
    assert (seen.verdict, seen.failure, seen.scope) == (Verdict.FAILED, FailureKind.AUTH_WRONG_PROJECT, Scope.KEY)
    assert unknown.verdict is Verdict.OK


# Requests -----------------------------------------------------------------------------------------------------------------------


async def test_key_project_and_organization_are_sent_as_configured() -> None:
    async with server(reply()) as there:
        await ask(there.url, organization="org-TEST000")
        await ask(there.url, project_id=None)
    both, neither = there.asked
    assert (both.method, both.path) == ("GET", "/v1/models")
    assert both.all("authorization") == [f"Bearer {KEY}"]
    assert both.all("openai-project") == [PROJECT]
    assert both.all("openai-organization") == ["org-TEST000"]
    assert neither.all("openai-project") == neither.all("openai-organization") == []


async def test_nothing_else_is_told() -> None:
    async with server(reply()) as there:
        await ask(there.url)
    names = {name.lower() for name, _ in there.asked[0].headers}
    ours = {"authorization", "openai-project", "accept", "accept-encoding", "user-agent"}
    assert {name for name in names if not name.startswith("x-stainless-")} - {"host", "connection"} == ours
    assert names & {"x-stainless-os", "x-stainless-arch", "x-stainless-runtime-version"} == set()
    assert there.asked[0].all("user-agent")[0].startswith("AsyncOpenAI/Python ")


async def test_keys_that_share_a_pool_are_not_mixed_up() -> None:
    keys = [f"sk-proj-TEST-{number:03}-notakey" for number in range(5)]
    async with server(reply()) as there, client() as api:
        for number, key in enumerate(keys * 2):
            await PROBES[ProbeKind.AUTH](api, request(there.url, secret=key, project_id=f"proj_{number % 5}"))
    sent = [(asked.all("authorization"), asked.all("openai-project")) for asked in there.asked]
    assert sent == [([f"Bearer {key}"], [f"proj_{number}"]) for number, key in enumerate(keys)] * 2


AMBIENT = {
    "OPENAI_API_KEY": "sk-AMBIENT-notakey",
    "OPENAI_ADMIN_KEY": "sk-admin-AMBIENT-notakey",
    "OPENAI_BASE_URL": "http://127.0.0.1:1/v1",
    "OPENAI_CUSTOM_HEADERS": "Authorization: Bearer AMBIENT\nOpenAI-Project: proj_AMBIENT\nX-Ambient: AMBIENT",
    "OPENAI_ORG_ID": "org-AMBIENT",
    "OPENAI_PROJECT_ID": "proj_AMBIENT",
    "OPENAI_WEBHOOK_SECRET": "AMBIENT",
    "OPENAI_LOG": "debug",
}


def _is_ambient(asked: Asked) -> bool:
    return "AMBIENT" in repr(asked)


@pytest.mark.parametrize("probe", ProbeKind)
async def test_the_environment_has_no_effect(probe: ProbeKind, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in AMBIENT.items():
        monkeypatch.setenv(name, value)
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login AMBIENT password AMBIENT\n")
    monkeypatch.setenv("NETRC", str(netrc))
    names = scrub_environment()
    assert set(names) == set(AMBIENT)
    assert not set(AMBIENT) & set(os.environ)
    async with server(refusal(401, NO_KEY) if probe is ProbeKind.CONTROL else reply(200, MODEL)) as there:
        await ask(there.url, probe, "gpt-4o", project_id=None)
    assert len(there.asked) == 1
    assert not _is_ambient(there.asked[0])


@pytest.mark.parametrize("probe", [ProbeKind.CONTROL, ProbeKind.AUTH])
async def test_even_an_environment_that_was_not_scrubbed_replaces_no_credentials(
    probe: ProbeKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in AMBIENT.items():
        monkeypatch.setenv(name, value)
    async with server(refusal(401, NO_KEY)) as there:
        await ask(there.url, probe)
    wanted = [] if probe is ProbeKind.CONTROL else [f"Bearer {KEY}"]
    assert there.asked[0].all("authorization") == wanted
    assert there.asked[0].all("openai-project") == ([] if probe is ProbeKind.CONTROL else [PROJECT])
    assert there.asked[0].all("openai-organization") == []


async def test_cookies_are_not_kept() -> None:
    async with server(reply(headers=FROM_OPENAI | {"Set-Cookie": "__cf_bm=1; Path=/"})) as there, client() as api:
        for _ in range(2):
            await PROBES[ProbeKind.AUTH](api, request(there.url))
    assert there.asked[1].all("cookie") == []


# Keys that cannot be sent -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("probe", [probe for probe in ProbeKind if probe is not ProbeKind.CONTROL])
async def test_an_admin_key_is_never_sent(probe: ProbeKind) -> None:
    async with server(reply()) as there:
        seen = await ask(there.url, probe, "gpt-4o", secret="sk-admin-TEST-000-notakey")
    assert there.asked == []
    assert (seen.failure, seen.latency_ms) == (FailureKind.CLIENT_CONFIGURATION, None) or probe is ProbeKind.DENIED_MODEL
    assert seen.hint is not None
    assert "admin key" in seen.hint


SECRET_PART = "TEST-000-notakey"
ILLEGAL = [
    f"sk-proj-{SECRET_PART}\n",
    f"sk-proj-{SECRET_PART}\r\nX-Evil: 1",
    f" sk-proj-{SECRET_PART}",
    f"sk-proj-{SECRET_PART}\x00",
    f"sk-proj-{SECRET_PART}–é",
    f"sk-proj-{SECRET_PART}\ud800",
    "",
]


@pytest.mark.parametrize("field", ["secret", "project_id", "organization"])
@pytest.mark.parametrize("value", ILLEGAL)
async def test_what_no_header_may_hold(field: str, value: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with server(reply()) as there:
        seen = await ask(there.url, **{field: value})
    assert there.asked == []
    assert (seen.verdict, seen.failure, seen.code) == (Verdict.FAILED, FailureKind.CLIENT_CONFIGURATION, "illegal_request")
    assert SECRET_PART not in repr(seen)
    assert SECRET_PART not in caplog.text


async def test_the_text_of_the_exception_holds_no_key() -> None:
    async with client() as api:
        for value in ILLEGAL:
            with pytest.raises(UnusableKeyError) as raised:
                api.caller("http://127.0.0.1:1/v1", value)
            assert SECRET_PART not in str(raised.value)


async def test_without_a_secret_nothing_is_sent() -> None:
    async with server(reply()) as there:
        seen = await ask(there.url, secret=None, problem="KEY is not set")
    assert there.asked == []
    assert (seen.failure, seen.code, seen.hint) == (FailureKind.CLIENT_CONFIGURATION, "secret_unreadable", "KEY is not set")


# Keys that must not get out -----------------------------------------------------------------------------------------------------


def _holds_the_key(seen: Observation, log: str) -> bool:
    return KEY in repr(seen) or KEY in log or KEY[8:-4] in repr(seen) or KEY[8:-4] in log


@pytest.mark.parametrize("probe", ProbeKind)
async def test_no_key_in_logs(probe: ProbeKind, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    answers = [reply(200, MODEL), refusal(401, f"Incorrect API key provided: {KEY}."), b"", b"noise\r\n\r\n"]
    for answer in answers:
        async with server(answer) as there:
            seen = await ask(there.url, probe, "gpt-4o")
        assert not _holds_the_key(seen, caplog.text)
    assert caplog.records  # something was logged that could have held it


@pytest.mark.parametrize(
    "answer",
    [
        refusal(401, f"Incorrect API key provided: {KEY}. You can find your API key at …"),
        reply(401, {"error": {"message": "no", "code": KEY, "type": KEY, "param": KEY}}),
        reply(403, f"<html><title>{KEY}</title>{KEY}</html>".encode(), {"Content-Type": "text/html"}),
        reply(500, KEY.encode(), {"x-request-id": KEY, "openai-project": KEY, "openai-organization": KEY}),
        reply(302, b"", {"Location": f"http://127.0.0.1/?key={KEY}"}),
        reply(200, f"Bearer {KEY}".encode(), {}),
    ],
)
async def test_a_key_that_comes_back_is_not_kept(answer: bytes) -> None:
    async with server(answer) as there:
        seen = await ask(there.url, ProbeKind.MODEL_ACCESS, "gpt-4o")
    assert seen.verdict is Verdict.FAILED
    assert not _holds_the_key(seen, "")


def test_the_key_is_not_in_the_request_as_text() -> None:
    assert KEY not in repr(request("http://127.0.0.1/v1"))


# Proxies ------------------------------------------------------------------------------------------------------------------------


async def test_the_road_of_the_applications_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    async with server(reply()) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://me:hunter2-hunter2@127.0.0.1:{proxy.port}")
        seen = await ask("http://api.test.invalid/v1")
        async with server(reply()) as there:
            await ask(there.url)  # loopback never goes through a proxy
    assert seen.verdict is Verdict.OK
    assert [asked.path for asked in proxy.asked] == ["http://api.test.invalid/v1/models"]
    assert proxy.asked[0].all("proxy-authorization") == ["Basic " + base64.b64encode(b"me:hunter2-hunter2").decode()]
    assert len(there.asked) == 1


async def test_a_proxy_that_refuses(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with server(reply(407, b"", {})) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:hunter2-hunter2@127.0.0.1:{proxy.port}")
        seen = await ask("https://api.test.invalid/v1")
    assert (seen.failure, seen.status) == (FailureKind.NETWORK_UNREACHABLE, None)
    assert seen.hint is not None
    assert "the proxy answered 407" in seen.hint
    assert proxy.asked[0].method == "CONNECT"
    assert proxy.asked[0].all("authorization") == []
    assert "hunter2" not in repr(seen) + caplog.text


@pytest.mark.parametrize(
    ("scheme", "host", "proxy"),
    [
        ("https", "api.openai.com", "http://secure:1"),
        ("http", "api.openai.com", "http://plain:2"),
        ("https", "gateway.corp.example", None),
        ("https", "localhost", None),
        ("https", "127.0.0.9", None),
        ("https", "::1", None),
        ("https", "127.example.com", "http://secure:1"),
    ],
)
def test_which_proxy(scheme: str, host: str, proxy: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HTTPS_PROXY", "secure:1")
    monkeypatch.setenv("http_proxy", "http://plain:2")
    monkeypatch.setenv("NO_PROXY", "corp.example")
    assert Proxies.from_environment().of(scheme, host) == proxy
