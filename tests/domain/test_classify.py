"""What OpenAI says and what it means: a table of answers with invented ids, then single aspects of reading them."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from monitor.domain.classify import RULES, classify, template
from monitor.domain.observation import TransportFault, Verdict, WireAnswer
from monitor.domain.taxonomy import FailureKind, Scope

OPENAI = (("content-type", "application/json"), ("x-request-id", "req_1"), ("server", "cloudflare"), ("cf-ray", "1"))
EDGE = (("content-type", "text/html; charset=UTF-8"), ("server", "cloudflare"), ("cf-ray", "8f1"))
NGINX = (("content-type", "text/html"), ("server", "nginx"))
STREAM = (("content-type", "text/event-stream; charset=utf-8"), ("x-request-id", "req_1"))


def error(message: str, code: str | None = None, kind: str | None = "invalid_request_error") -> bytes:
    """An error in OpenAI's commonest envelope."""
    return json.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}}).encode()


def sse(*events: dict[str, Any]) -> bytes:
    """A stream of events."""
    return "".join(f"event: {event.get('type', 'x')}\ndata: {json.dumps(event)}\n\n" for event in events).encode()


def read(status: int | None, body: bytes, headers: tuple[tuple[str, str], ...] = OPENAI, endpoint: str = "") -> str | None:
    """The identifier that an answer is read as."""
    failure = classify(WireAnswer(status, headers, body, endpoint)).failure
    return failure.value if failure else None


SCOPES = "You have insufficient permissions for this operation. Missing scopes: {}. Check that you have the correct role."
LIMIT = "Rate limit reached for {} on {}: Limit {}, Used {}, Requested {}. Please try again in {}."
QUOTA = "You exceeded your current quota, please check your plan and billing details."
OVERLOADED = "Our servers are currently overloaded. Please try again later."


def answers() -> list[tuple[str, int, bytes]]:
    """The table in `answers.txt`: kind, status, body."""
    rows = []
    for line in (Path(__file__).parent / "answers.txt").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        kind, status, code, type_, param, message = line.split(" | ", 5)
        if code == "body":
            rows.append((kind, int(status), message.encode()))
        else:
            given = [None if field == "-" else int(field) if field.isdigit() else field for field in (code, type_, param)]
            fields = dict(zip(("code", "type", "param"), given, strict=True))
            rows.append((kind, int(status), json.dumps({"error": {"message": message, **fields}}).encode()))
    return rows


TABLE = answers()


@pytest.mark.parametrize(("kind", "status", "body"), TABLE)
def test_an_answer_is_read_by_what_it_says(kind: str, status: int, body: bytes) -> None:
    assert read(status, body) == kind


@pytest.mark.parametrize(("kind", "status", "body"), TABLE)
def test_the_same_words_mean_the_same_without_any_header(kind: str, status: int, body: bytes) -> None:
    assert read(status, body, headers=()) == kind


EDGES: list[tuple[str | None, int, bytes, tuple[tuple[str, str], ...]]] = [
    ("network.not_openai", 403, b"<!DOCTYPE html><title>Attention Required! | Cloudflare</title>", EDGE),
    ("network.not_openai", 403, b"<html><title>Just a moment...</title></html>", EDGE),
    ("network.not_openai", 404, b"<html><head><title>404 Not Found</title></head></html>", NGINX),
    ("network.not_openai", 200, b"<html><title>Hotel WiFi</title>Please sign in</html>", NGINX),
    ("network.not_openai", 200, b"Welcome", ()),
    ("network.not_openai", 404, b'{"detail":"Not Found"}', (("server", "uvicorn"),)),
    ("network.not_openai", 403, b"error code: 1020", EDGE),
    ("network.not_openai", 511, b"<html>Network Authentication Required</html>", NGINX),
    ("network.not_openai", 502, b"<html><title>502 Bad Gateway</title></html>", NGINX),
    ("server.error", 502, b"<html><title>502 Bad Gateway</title></html>", EDGE),
    ("server.error", 520, b"<!DOCTYPE html><title>api.openai.com | 520: Web server is returning an unknown error</title>", EDGE),
    ("server.error", 504, b"error code: 504", EDGE),
    ("server.error", 503, b"upstream connect error or disconnect/reset before headers. reset reason: connection termination", ()),
    ("server.error", 503, b"no healthy upstream", (("server", "envoy"),)),
    ("server.error", 500, b"", OPENAI),
    ("server.error", 500, b"Internal Server Error", OPENAI),
    ("auth.unknown", 401, b"", ()),
    ("rate.other", 429, b"", OPENAI),
    ("network.not_openai", 401, b"", (("server", "squid"),)),
    ("rate.other", 429, b"error code: 1015", EDGE),
    ("server.error", 504, b"stream timeout", (("server", "envoy"),)),
    ("client.bad_request", 413, b"<html><title>413 Request Entity Too Large</title></html>", EDGE),
    ("network.not_openai", 413, b"<html><title>413 Request Entity Too Large</title></html>", NGINX),
    ("auth.unknown", 401, b'{"detail":"Unauthorized"}', (("openai-version", "2020-10-01"),)),
    ("network.not_openai", 401, b'{"detail":"Unauthorized"}', (("x-request-id", "of a gateway"),)),
    (None, 204, b"", OPENAI),
    (None, 200, b"", ()),
    (None, 200, b"ID3\x04\x00audio", (("content-type", "audio/mpeg"),)),
    (None, 200, b"1\n00:00:00,000 --> 00:00:02,000\nHello", (("content-type", "text/plain"), ("openai-version", "2020-10-01"))),
]


@pytest.mark.parametrize(("kind", "status", "body", "headers"), EDGES)
def test_an_answer_without_an_envelope_is_read_by_who_sent_it(
    kind: str | None, status: int, body: bytes, headers: tuple[tuple[str, str], ...]
) -> None:
    assert read(status, body, headers) == kind


TOO_LARGE = "Request too large for gpt-4o in project proj_F organization org-F on tokens per min (TPM): Limit 1, Requested 30."
STARTED = {"type": "response.created", "response": {"object": "response", "status": "in_progress", "error": None}}
DONE = {"type": "response.completed", "response": {"object": "response", "status": "completed", "error": None, "output": []}}


def failed(code: str, message: str) -> dict[str, Any]:
    """The event that ends a failed stream."""
    return {
        "type": "response.failed",
        "response": {"object": "response", "status": "failed", "error": {"code": code, "message": message}},
    }


def response(**fields: Any) -> bytes:
    """A response that was not streamed."""
    return json.dumps({"id": "resp_1", "object": "response", "error": None, **fields}).encode()


OVERLOAD = {"type": "error", "error": {"code": "server_is_overloaded", "message": OVERLOADED}}
A_TOOL = {"parameters": {"properties": {"error": {"type": "string"}}}}
IN_BAND: list[tuple[str | None, bytes]] = [
    ("server.overloaded", sse(STARTED, OVERLOAD, failed("server_error", "x"))),
    ("rate.request_too_large", sse(STARTED, {"type": "error", "code": "rate_limit_exceeded", "message": TOO_LARGE, "param": None})),
    ("rate.request_too_large", sse(STARTED, failed("rate_limit_exceeded", TOO_LARGE))),
    ("server.error", sse(STARTED, failed("server_error", "An error occurred"))),
    ("auth.wrong_region_host", sse(failed("data_residency_mismatch", "x"))),
    ("client.bad_request", sse(failed("invalid_prompt", "x"))),
    ("quota.exhausted", b'data: {"error":{"message":"' + QUOTA.encode() + b'","type":"insufficient_quota","code":null}}\n\n'),
    ("server.overloaded", sse({"type": "error", "error": {"message": "Selected model is at capacity. Try another."}})),
    ("auth.unknown", sse({"type": "error", "status": 401, "error": {"type": "x", "message": "something quite new"}})),
    (None, sse(STARTED, DONE)),
    (None, b'data: {"object":"chat.completion.chunk","choices":[]}\n\ndata: [DONE]\n\n'),
    ("rate.other", response(status="failed", error={"code": "rate_limit_exceeded", "message": "x"})),
    ("unknown", response(status="failed")),
    ("auth.invalid_key", error("Incorrect API key provided: x.", "invalid_api_key")),
    (None, response(status="incomplete", incomplete_details={"reason": "max_output_tokens"})),
    (None, response(status="completed", tools=[A_TOOL])),
    (None, response(object="fine_tuning.job", status="failed", error={"code": "invalid_file", "message": "x"})),
    (None, b'{"object":"list","data":[]}'),
]


@pytest.mark.parametrize(("kind", "body"), IN_BAND)
def test_a_failure_inside_a_200_is_found_and_nothing_else_is_taken_for_one(kind: str | None, body: bytes) -> None:
    assert read(200, body, STREAM if body[:1] in (b"e", b"d") else OPENAI) == kind


@pytest.mark.parametrize(
    "body", [b'{"hello":"world"}', b"[]", b"{", b'{"object":"list"}', b'{"a":' * 10_000 + b"1" + b"}" * 10_000]
)
def test_a_200_that_is_no_list_of_models_is_not_openai(body: bytes) -> None:
    assert read(200, body, (), "GET /v1/models") == "network.not_openai"


KEY_REFUSED = {"message": "Incorrect API key provided: ''. You can find …", "type": "x", "code": "invalid_api_key"}


@pytest.mark.parametrize(
    "body",
    [
        json.dumps(json.dumps({"error": KEY_REFUSED})),
        json.dumps({"detail": KEY_REFUSED}),
        json.dumps({"detail": {"error": KEY_REFUSED}}),
        json.dumps({"error": {"error": KEY_REFUSED}}),
        json.dumps({"errors": [KEY_REFUSED]}),
        json.dumps({"error": KEY_REFUSED})[:60],
        json.dumps({"error": KEY_REFUSED}) * 2,
        '{"error": "invalid_api_key"}',
    ],
)
def test_an_error_is_read_whatever_a_gateway_wrapped_it_in_or_cut_off(body: str) -> None:
    assert read(401, body.encode(), (("server", "uvicorn"),)) == "auth.invalid_key"


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        ("GET /v1/files/file-F/content", b'{"custom_id":"a"}\n{"custom_id":"b","error":null}\n'),
        ("POST /v1/audio/transcriptions", b"[Music]\nHello"),
    ],
)
def test_a_file_and_a_transcript_are_good_answers_however_they_begin(endpoint: str, body: bytes) -> None:
    assert read(200, body, OPENAI, endpoint) is None


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_openai_and_says_where_it_leads(status: int) -> None:
    found = classify(WireAnswer(status, (("Location", "https://portal.example/login?token=abc"),)))
    assert found.failure is FailureKind.NETWORK_NOT_OPENAI
    assert found.hint == "it redirects to portal.example"


FAULTS = {
    TransportFault.CONNECT_TIMEOUT: "network.timeout",
    TransportFault.READ_TIMEOUT: "network.timeout",
    TransportFault.DEADLINE: "network.timeout",
    TransportFault.REFUSED: "network.unreachable",
    TransportFault.DNS: "network.unreachable",
    TransportFault.RESET: "network.unreachable",
    TransportFault.UNREACHABLE: "network.unreachable",
    TransportFault.TLS: "network.tls",
    TransportFault.NOT_HTTP: "network.not_openai",
    TransportFault.BODY_TOO_LARGE: "network.not_openai",
    TransportFault.ILLEGAL_REQUEST: "client.configuration",
}


@pytest.mark.parametrize("fault", list(TransportFault))
def test_every_transport_fault_has_its_kind_and_keeps_its_words(fault: TransportFault) -> None:
    found = classify(WireAnswer(None, fault=fault, fault_text="[Errno 111] gone"))
    assert found.failure is not None
    assert found.failure.value == FAULTS[fault]
    assert found.verdict is Verdict.FAILED
    assert "[Errno 111] gone" in (found.hint or "")


def test_an_error_that_arrived_before_the_line_was_cut_counts() -> None:
    body = error("x", "mismatched_project")
    assert classify(WireAnswer(401, OPENAI, body, fault=TransportFault.RESET)).failure is FailureKind.AUTH_WRONG_PROJECT
    assert classify(WireAnswer(200, OPENAI, b'{"obj', fault=TransportFault.RESET)).failure is FailureKind.NETWORK_UNREACHABLE


def test_a_bad_request_and_the_unknown_are_inconclusive_and_a_good_answer_is_ok() -> None:
    assert classify(WireAnswer(400, OPENAI, error("x", "invalid_value"))).verdict is Verdict.INCONCLUSIVE
    assert classify(WireAnswer(418, OPENAI, error("x"))).verdict is Verdict.INCONCLUSIVE
    assert classify(WireAnswer(None)).verdict is Verdict.INCONCLUSIVE
    assert classify(WireAnswer(404, OPENAI, error("Invalid URL (GET /models)"))).verdict is Verdict.FAILED
    assert classify(WireAnswer(200, OPENAI, b'{"object":"list","data":[]}')).verdict is Verdict.OK


@pytest.mark.parametrize(
    ("whose", "scope"),
    [
        ("project proj_F organization org-F", Scope.PROJECT),
        ("gpt-4o in project proj_F organization org-F", Scope.PROJECT),
        ("gpt-4o in organization org-F", Scope.ORGANIZATION),
        ("organization org-F", Scope.ORGANIZATION),
        ("gpt-4o in organization *****", Scope.ORGANIZATION),
        ("gpt-4o", None),
    ],
)
def test_the_text_of_a_429_tells_whose_limit_was_hit(whose: str, scope: Scope | None) -> None:
    message = LIMIT.format(whose, "tokens per min (TPM)", 100, 90, 20, "6s")
    assert classify(WireAnswer(429, OPENAI, error(message, "rate_limit_exceeded", "tokens"))).scope is scope


def test_the_exhausted_project_bucket_tells_whose_limit_was_hit_where_the_text_does_not() -> None:
    headers = (*OPENAI, ("x-ratelimit-limit-project-tokens", "100"), ("x-ratelimit-remaining-project-tokens", "0"))
    found = classify(WireAnswer(429, headers, error("Rate limit reached", "rate_limit_exceeded", "tokens")))
    assert found.scope is Scope.PROJECT


def test_the_missing_scopes_are_listed() -> None:
    found = classify(WireAnswer(401, OPENAI, error(SCOPES.format("api.model.read, api.responses.write"))))
    assert found.missing_scopes == ("api.model.read", "api.responses.write")


def test_the_right_regional_host_is_the_hint() -> None:
    message = "Attempted to access resource with incorrect regional hostname. Please make your request to us.api.openai.com"
    assert classify(WireAnswer(401, OPENAI, error(message, "incorrect_hostname"))).hint == "us.api.openai.com"


@pytest.mark.parametrize(
    ("echo", "says"),
    [
        ("sk-proj-" + "*" * 152 + "wxyz", "164 characters and ends in …wxyz; it looks like a key"),
        ("sk-FAKE**cut", "12 characters; it looks like a key"),
        ("''", "an empty value was sent instead of a key"),
        ("${OPENAI_API_KEY}", "17 characters; it looks like a placeholder or a variable's name, not a key"),
        ("$OPENAI*******_KEY", "18 characters; it looks like a placeholder or a variable's name, not a key"),
        ("https://****lETQ", "16 characters; it looks like an address"),
        ("You are *****tep.", "17 characters; it looks like a sentence, not a key"),
        (
            "sk-ant-a**********************wxyz",
            "34 characters and ends in …wxyz; it looks like a key of another provider",
        ),
        (
            "eyJhbGci*****************abcd",
            "29 characters and ends in …abcd; it looks like a session token, not a key",
        ),
        ("hunter2", "7 characters; it does not look like an OpenAI key"),
    ],
)
def test_the_echo_of_a_refused_key_becomes_words_about_it(echo: str, says: str) -> None:
    body = error(f"Incorrect API key provided: {echo}. You can find your API key at https://….", "invalid_api_key")
    found = classify(WireAnswer(401, OPENAI, body))
    assert (found.hint or "").removeprefix("what was sent has ") == says
    assert found.message is not None
    assert echo.strip("'")[:8] not in found.message or not echo.strip("'")


def test_a_date_to_retry_after_is_read_with_the_given_clock_or_with_the_answers_own() -> None:
    body = error("Slow down", "slow_down", "rate_limit_error")
    headers = (("Retry-After", "Mon, 23 Nov 2026 14:05:50 GMT"), ("Date", "Mon, 23 Nov 2026 14:05:20 GMT"))
    assert classify(WireAnswer(429, headers, body)).retry_after == 30
    assert classify(WireAnswer(429, headers, body), now=datetime(2026, 11, 23, 14, 5, 40, tzinfo=UTC)).retry_after == 10


@pytest.mark.parametrize(
    ("message", "same"),
    [
        (
            "Rate limit reached for gpt-4o in organization org-FAKE1 on requests per min (RPM): Limit 3, Used 3. Try again in 20s.",
            "Rate limit reached for o3 in organization org-FAKE2 on requests per min (RPM): Limit 5, Used 7. Try again in 1m3s.",
        ),
        (
            "Project `proj_FAKEabc1` does not have access to model `gpt-4o`",
            "Project `proj_FAKExyz2` does not have access to model `o3-2025-04-16`",
        ),
        ("Include the request ID req_0123abcd in your email.", "Include the request ID req_9f8e7d in your email."),
        ("Error while downloading https://a.example/x.png.", "Error while downloading https://b.example/y/z.jpg?q=1."),
        ("Write to ann@example.com about 10.0.0.1", "Write to bob.b@mail.example.org about 192.168.7.2"),
    ],
)
def test_the_same_cause_gives_the_same_template(message: str, same: str) -> None:
    assert template(message) == template(same)


def test_a_template_keeps_the_words() -> None:
    assert template("Unsupported parameter: 'stop' is not supported with this model.") == (
        "Unsupported parameter: 'stop' is not supported with this model."
    )


@pytest.mark.parametrize("kind", [kind for kind in FailureKind if kind is not FailureKind.UNKNOWN])
def test_every_kind_is_reached_by_a_rule_or_a_fault(kind: FailureKind) -> None:
    by_fault = {classify(WireAnswer(None, fault=fault)).failure for fault in TransportFault}
    assert kind in {rule.kind for rule in RULES} | by_fault


@pytest.mark.parametrize("kind", [kind for kind in FailureKind if kind is not FailureKind.NETWORK_TLS])
def test_every_kind_but_tls_is_reached_by_an_answer_of_the_tables(kind: FailureKind) -> None:
    reached = {name for name, *_ in TABLE} | {name for name, *_ in EDGES} | set(FAULTS.values())
    assert kind.value in reached
