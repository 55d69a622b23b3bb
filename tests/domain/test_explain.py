"""Any pasted line becomes an answer: what Python, Node, curl and loggers print, one answer a line, whatever the bytes."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.domain.explain import explain, parse_line, split
from monitor.domain.observation import WireAnswer
from monitor.domain.taxonomy import KINDS, FailureKind, Lane, Owner, Scope
from tests.domain.test_classify import TABLE

FIELDS = ["failure", "lane", "owner", "retry", "retry_after", "scope", "summary", "next_step"]
QUOTA = "You exceeded your current quota, please check your plan and billing details."
KEY = "Incorrect API key provided: sk-FAKE*****************wxyz. You can find your API key at https://platform.openai.com/account/api-keys."
RPM = (
    "Rate limit reached for gpt-4o in organization org-F on requests per min (RPM): Limit 3, Used 3, Requested 1. "
    "Please try again in 20s."
)
ERROR = {"message": KEY, "type": "invalid_request_error", "param": None, "code": "invalid_api_key"}


def read(line: str) -> str | None:
    """The identifier that a line is explained as."""
    failure = explain(parse_line(line)).failure
    return failure.value if failure else None


# The contract -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [kind for kind in FailureKind if kind.lane is not Lane.NETWORK])
def test_every_field_of_the_contract_is_there_in_its_order(kind: FailureKind) -> None:
    _, status, body = next((row for row in TABLE if row[0] == kind.value), ("", 404, b'{"error":{"code":"unknown_url"}}'))
    explained = explain(WireAnswer(status, body=body)).as_json()
    assert list(explained) == FIELDS
    assert explained["failure"] == kind.value
    assert explained["lane"] == kind.lane.value
    assert explained["owner"] in set(Owner)
    assert explained["scope"] is None or explained["scope"] in set(Scope)
    assert explained["retry"] is KINDS[kind].retry_helps
    for sentence in (explained["summary"], explained["next_step"]):
        assert sentence.endswith(".")
        assert "{" not in sentence


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ([], None),
        ([("checkout", "backend", "")], None),  # too short to show: nothing to compare with
        (
            [("checkout", "backend", "wxyz"), ("search", "main", "0001")],
            "It ends in …wxyz, like key “backend” of project “checkout”.",
        ),
        ([("checkout", "backend", "0001")], "as none of the configured keys does"),
        ([("checkout", "backend", "0001"), ("search", "main", "")], "as none of the configured keys whose end is known does"),
    ],
)
def test_a_refused_key_is_told_from_the_configured_ones_by_its_end(keys: list[tuple[str, str, str]], told: str | None) -> None:
    answer = parse_line(json.dumps({"error": ERROR}))
    plain, summary = explain(answer).summary, explain(answer, keys).summary
    assert summary.startswith(plain)
    assert (told in summary) if told else (summary == plain)
    assert explain(parse_line(QUOTA), keys) == explain(parse_line(QUOTA))


def test_a_refused_value_too_short_to_show_its_end_is_nobody_s() -> None:
    answer = parse_line("Incorrect API key provided: hunter2hunter2. You can find your API key at https://platform.openai.com.")
    assert explain(answer, [("checkout", "backend", "ter2")]) == explain(answer)


def test_a_success_has_no_failure_and_nothing_to_do() -> None:
    line = json.dumps({"status": 200, "headers": {"x-request-id": "req_1"}, "body": {"object": "list", "data": []}})
    assert explain(parse_line(line)).as_json() == {
        "failure": None,
        "lane": None,
        "owner": None,
        "retry": False,
        "retry_after": None,
        "scope": None,
        "summary": "A good answer: nothing is wrong.",
        "next_step": "Nothing to do.",
    }


@pytest.mark.parametrize(
    ("status", "headers", "body", "retry_after", "scope"),
    [
        (429, {"Retry-After": "7"}, {"error": {"message": RPM, "code": "rate_limit_exceeded"}}, 7, "organization"),
        (429, [["retry-after-ms", "1500"]], {"error": {"message": RPM, "code": "rate_limit_exceeded"}}, 1.5, "organization"),
        (429, None, {"error": {"message": RPM, "code": "rate_limit_exceeded"}}, 20, "organization"),
        (429, {}, {"error": {"message": "Rate limit reached", "code": "rate_limit_exceeded"}}, None, None),
        (429, {"x-request-id": "req_1", "retry-after": ["9"]}, "", 9, None),
        ("429", {"x-request-id": "req_1", "retry-after": 9}, "", 9, None),
    ],
)
def test_headers_may_be_an_object_or_pairs_and_the_body_text_or_json(
    status: Any, headers: Any, body: Any, retry_after: float | None, scope: str | None
) -> None:
    for written in (body, json.dumps(body) if isinstance(body, dict) else body):
        line = json.dumps({"status": status, "headers": headers, "body": written, "endpoint": "POST /v1/responses"})
        explained = explain(parse_line(line)).as_json()
        assert explained["lane"] == "rate"
        assert (explained["retry_after"], explained["scope"]) == (retry_after, scope)


@pytest.mark.parametrize(
    "record",
    [
        {"status": None, "headers": None, "body": None, "endpoint": None},
        {"status": "x", "headers": "x", "body": 5, "endpoint": 5},
        {"status": True, "headers": [["a"], [1, 2], "ab", None, ["a", None]], "body": [], "endpoint": []},
        {"status": -1, "body": {}},
        {"status": 10**30, "headers": {"a": {"b": 1}}, "body": False},
        {"status": 99.5, "body": "\ud800"},
        {"status": 401},
        {"body": ""},
    ],
)
def test_a_record_with_anything_in_it_is_explained(record: dict[str, Any]) -> None:
    explained = explain(parse_line(json.dumps(record))).as_json()
    assert list(explained) == FIELDS
    json.dumps(explained, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("limit", "requested", "retry", "says"),
    [(0, 1, False, "a limit of 0"), (100, 200, False, "larger than the whole limit"), (100, 20, True, "was reached")],
)
def test_waiting_is_not_advised_where_no_wait_is_long_enough(limit: int, requested: int, retry: bool, says: str) -> None:
    text = f"Rate limit reached for gpt-4o on tokens per min (TPM): Limit {limit}, Used 90, Requested {requested}."
    explained = explain(parse_line(text))
    assert explained.failure is FailureKind.RATE_TOKENS
    assert explained.retry is retry
    assert says in explained.summary


@pytest.mark.parametrize(
    ("status", "headers", "body", "says"),
    [
        (403, {"server": "cloudflare"}, "<html><title>Just a moment...</title>", "before OpenAI"),
        (407, {"server": "squid"}, "", "wants a login"),
    ],
)
def test_who_stands_before_openai_is_named(status: int, headers: dict[str, str], body: str, says: str) -> None:
    explained = explain(parse_line(json.dumps({"status": status, "headers": headers, "body": body})))
    assert explained.failure is FailureKind.NETWORK_NOT_OPENAI
    assert says in explained.summary


# What programs print ------------------------------------------------------------------------------------------------------------

PYTHON_1 = f"openai.AuthenticationError: Error code: 401 - { ({'error': ERROR})!r}"
PASTED = [
    ("auth.invalid_key", PYTHON_1),
    ("auth.invalid_key", f"openai.AuthenticationError: Error code: 401 - {KEY}"),
    ("auth.invalid_key", f"2026-11-23 14:05:20,113 ERROR app.chat: call failed: Error code: 401 - {({'error': ERROR})!r}"),
    ("auth.invalid_key", json.dumps({"error": ERROR})),
    ("auth.invalid_key", json.dumps(ERROR)),
    ("auth.invalid_key", json.dumps({"level": "error", "msg": "failed", "err": json.dumps({"error": ERROR})})),
    ("auth.invalid_key", json.dumps({"level": "error", "status": 401, "message": f"401 {KEY}"})),
    ("auth.invalid_key", "\ufeff" + json.dumps({"error": ERROR})),
    ("auth.invalid_key", "\x00" + json.dumps({"error": ERROR}) + "\x00"),
    ("auth.invalid_key", f"  AuthenticationError: 401 {KEY}\r"),
    ("auth.invalid_key", f"AI_APICallError: {KEY}"),
    ("auth.invalid_key", KEY),
    ("auth.invalid_key", f"Error details: Status: 401, Code: invalid_api_key, Type: invalid_request_error, Message: 401 {KEY}"),
    ("quota.exhausted", f"openai.RateLimitError: Error code: 429 - {QUOTA}"),
    ("quota.exhausted", f"RateLimitError: 429 {QUOTA}\n  status: 429,\n  code: 'insufficient_quota'\n}}"),
    ("quota.exhausted", f"openai.error.RateLimitError: {QUOTA}"),
    ("quota.exhausted", f"litellm.RateLimitError: RateLimitError: OpenAIException - {QUOTA}"),
    ("quota.project_spend", "insufficient_quota: code=project_spend_limit_exceeded"),
    ("rate.requests", f"openai.RateLimitError: Error code: 429 - {RPM}"),
    ("rate.requests", RPM),
    ("rate.other", "HTTP 429 Too Many Requests"),
    ("rate.other", '127.0.0.1 - - "POST https://api.openai.com/v1/responses HTTP/1.1" 429 Too Many Requests'),
    ("access.model_not_allowed", "403 Project `proj_F` does not have access to model `gpt-4o`"),
    ("access.model_not_found", "NotFoundError: 404 The model `x` does not exist or you do not have access to it."),
    ("server.overloaded", "Our servers are currently overloaded. Please try again later."),
    ("server.error", "openai.InternalServerError: Error code: 500"),
    ("server.error", "openai.InternalServerError: <html><title>502 Bad Gateway</title><center>cloudflare</center></html>"),
    ("network.timeout", "openai.APITimeoutError: Request timed out."),
    ("network.timeout", "httpx2.ConnectTimeout: timed out"),
    ("network.unreachable", "openai.APIConnectionError: Connection error."),
    ("network.unreachable", "Error: getaddrinfo ENOTFOUND api.openai.com"),
    ("network.unreachable", "curl: (7) Failed to connect to api.openai.com port 443: Connection refused"),
    ("network.tls", "ssl.SSLCertVerificationError: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed"),
    ("client.configuration", "httpcore.LocalProtocolError: Illegal header value b'Bearer sk-FAKE\\n'"),
    ("network.tls", "x509: certificate signed by unknown authority"),
    ("network.timeout", "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"),
    ("network.unreachable", "dial tcp: lookup api.openai.com: no such host"),
    ("network.unreachable", "TypeError: fetch failed"),
    ("auth.missing_credentials", "openai.OpenAIError: The api_key client option must be set either by passing api_key"),
    ("access.model_not_found", "openai.error.InvalidRequestError: The model: `x` does not exist"),
    ("auth.unknown", "401"),
    ("unknown", "it does not work"),
    ("unknown", "[1, 2, 3]"),
    ("unknown", "{}"),
    (None, 'INFO HTTP Request: POST https://api.openai.com/v1/responses "HTTP/1.1 200 OK"'),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "line"), PASTED)
def test_a_pasted_line_is_explained_whoever_wrote_it(kind: str | None, line: str) -> None:
    assert read(line) == kind
    assert read(f"  {line}\r\n") == kind


def error_rows() -> list[tuple[str, int, dict[str, Any]]]:
    """The answers of the table that are an `error` object with words in it."""
    rows = [(kind, status, json.loads(body)) for kind, status, body in TABLE]
    return [
        (kind, status, body)
        for kind, status, body in rows
        if isinstance(body.get("error"), dict) and (body["error"].get("message") or "").count(" ") > 1
    ]


@pytest.mark.parametrize(("kind", "status", "body"), error_rows())
def test_an_error_of_the_table_means_the_same_in_every_dress(kind: str, status: int, body: dict[str, Any]) -> None:
    escaped = json.dumps(json.dumps(body))
    for line in (
        json.dumps({"status": status, "headers": {}, "body": body}),
        json.dumps({"status": status, "body": json.dumps(body)}),
        f"openai.APIStatusError: Error code: {status} - {body!r}",
        f"2026-11-23T14:05:20Z ERROR status={status} body={json.dumps(body)}",
        f'{{"level":"error","status":{status},"response":{escaped}}}',
        f"HTTP/2 {status}\r\ncontent-type: application/json\r\nx-request-id: req_1\r\n\r\n{json.dumps(body, indent=2)}",
    ):
        assert read(line) == kind, line


BODY, JSON_HEADERS = json.dumps({"error": ERROR}, indent=2), "content-type: application/json\r\nx-request-id: req_1"
SPANNING = {
    "curl -i": f"HTTP/2 401 \r\n{JSON_HEADERS}\r\n\r\n{BODY}\r\n",
    "curl -v": f"* Connected\n> GET /v1/models HTTP/2\n> Authorization: Bearer x\n>\n< HTTP/2 401\n< x-request-id: r\n<\n{BODY}",
    "through a proxy": f"HTTP/1.1 200 Connection established\r\n\r\nHTTP/2 401\r\n{JSON_HEADERS}\r\n\r\n{BODY}",
    "Python": f"Traceback (most recent call last):\n  File 'app.py', line 1, in <module>\n    client.models.list()\n{PYTHON_1}",
    "Node": f"AuthenticationError: 401 {KEY}\n    at main (file:///app/error.mjs:45:20) {{\n  code: 'invalid_api_key'\n}}",
    "JSON": BODY,
}


@pytest.mark.parametrize("pasted", SPANNING.values(), ids=SPANNING)
def test_what_spans_lines_is_one_thing(pasted: str) -> None:
    pieces = split(pasted)
    assert len(pieces) == 1
    assert read(pieces[0]) == "auth.invalid_key"


# One answer a line --------------------------------------------------------------------------------------------------------------


def test_there_is_one_answer_a_line_in_their_order() -> None:
    kinds = [kind for kind, line in PASTED if "\n" not in line]
    lines = [line for _, line in PASTED if "\n" not in line]
    for end in ("\n", "\r\n"):
        assert [read(piece) for piece in split(end.join(lines) + end)] == kinds


def test_json_lines_stay_lines_whatever_their_texts_hold() -> None:
    odd = ["a\u2028b", "a\x85b", "a\x0bb\x0cc", "a\x1cb\x1eb", "a\rb"]
    records = [json.dumps({"status": 401, "headers": {}, "body": text}, ensure_ascii=False) for text in odd]
    assert split("\n".join(records)) == records


def test_empty_input_has_nothing_to_explain() -> None:
    assert split("") == []
    assert split(" \n\r\n\t\n") == []


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {"status": st.sampled_from([200, 401, 429, 503, None])},
            optional={
                "headers": st.just({}),
                "body": st.text(max_size=20) | st.just({"error": ERROR}),
                "endpoint": st.text(max_size=9),
            },
        ),
        min_size=2,
        max_size=8,
    )
)
def test_any_records_give_as_many_answers(records: list[dict[str, Any]]) -> None:
    assert len(split("\n".join(json.dumps(record, ensure_ascii=False) for record in records))) == len(records)


# Whatever the bytes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("auth.invalid_key", json.dumps({"status": 401, "body": {"error": {**ERROR, "noise": "x" * 1_000_000}}})),
        ("auth.invalid_key", json.dumps({"error": ERROR, "noise": ["x" * 1000] * 1000})),
        ("unknown", "x" * 1_000_000),
        ("unknown", '{"a":' * 100_000),
        ("unknown", "\x00" * 1000),
        ("network.not_openai", json.dumps({"status": 401, "body": '{"a":' * 5_000 + "1" + "}" * 5_000})),
    ],
    ids=["1 MB record", "1 MB body", "1 MB words", "deep", "NUL", "deep body"],
)
def test_a_long_or_deep_line_is_explained(kind: str, line: str) -> None:
    assert read(line) == kind


def test_a_key_in_a_pasted_line_does_not_come_back() -> None:
    secret = "sk-proj-TEST-000-notakey-Abcdefgh0123456789Abcdefgh0123456789"
    for line in (
        f"Illegal header value b'Bearer {secret}\\n'",
        f"401 Incorrect API key provided: {secret}. You can find your API key at https://…",
        json.dumps(
            {"status": 404, "body": {"error": {"message": f"The model `{secret}` does not exist", "code": "model_not_found"}}}
        ),
        f"Authorization: Bearer {secret}",
    ):
        assert "Abcdefgh" not in json.dumps(explain(parse_line(line)).as_json())
