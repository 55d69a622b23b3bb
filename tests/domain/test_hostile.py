"""Whatever comes over the wire gives a result, and no secret gets through."""

import json
import re
import sys
from datetime import datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from monitor.domain.classify import classify, template
from monitor.domain.explain import explain, parse_line, split
from monitor.domain.observation import Classification, TransportFault, Verdict, WireAnswer
from monitor.domain.redact import redact, redact_body

NAMES = [
    "Content-Type", "x-ratelimit-limit-requests", "X-RateLimit-Remaining-Tokens", "x-ratelimit-reset-project-tokens", "Retry-After",
    "retry-after-ms", "location", "server", "x-request-id", "date", "", "x-ratelimit-", "x-ratelimit-limit-",
]  # fmt: skip
ODD = [
    "application/json",
    "text/event-stream",
    "text/html",
    "audio/mpeg",
    "-1",
    "0",
    "9" * 25,
    "1e309",
    "nan",
    "6ms",
    "//",
    "https://[",
]
DATES = ["Mon, 23 Nov 2026 99:99:99 GMT", "Mon, 01 Jan 0001 00:00:00 +9999"]
VALUES = st.one_of(st.text(max_size=30), st.sampled_from(ODD + DATES))
HEADERS = st.lists(st.tuples(st.one_of(st.sampled_from(NAMES), st.text(max_size=20)), VALUES), max_size=6).map(tuple)
JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.sampled_from(["error", "model_not_found"])
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.sampled_from(["error", "message", "code", "type", "param", "status", "object", "response", "data"]), inner
        ),
    ),
    max_leaves=12,
)
BODIES = st.one_of(
    st.binary(max_size=200),
    JSON.map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass")),
    JSON.map(lambda value: b"event: error\ndata: " + json.dumps(value).encode("utf-8", "surrogatepass") + b"\n\n"),
)
STATUS = st.one_of(st.none(), st.sampled_from([200, 204, 301, 400, 401, 403, 404, 429, 500, 503]), st.integers(-5, 1000))


def every_text(found: Classification) -> str:
    """All text that a classification carries."""
    return repr(found)


@settings(max_examples=400, deadline=None)
@given(
    status=STATUS,
    headers=HEADERS,
    body=BODIES,
    fault=st.one_of(st.none(), st.sampled_from(TransportFault)),
    words=st.text(max_size=40),
)
def test_any_answer_gives_a_result_that_a_database_can_take(
    status: int | None, headers: tuple[tuple[str, str], ...], body: bytes, fault: TransportFault | None, words: str
) -> None:
    found = classify(WireAnswer(status, headers, body, "GET /v1/models", fault, words))
    assert (found.failure is None) == (found.verdict is Verdict.OK)
    for text in (found.code, found.type, found.param, found.message, found.hint, *found.missing_scopes):
        if text is not None:
            text.encode("utf-8")
            assert "\x00" not in text
            assert len(text) <= 500


@pytest.mark.parametrize(
    "body",
    [
        b'{"error":' * 10_000 + b"1" + b"}" * 10_000,
        b"[" * 10_000,
        b'{"error":{"code":' + b"9" * 50_000 + b"}}",
        b'{"error":{"message":"\\ud800\\u0000 lone","code":"\\udfff"}}',
        b'{"error":{"message":NaN,"code":Infinity,"type":-Infinity}}',
        b"\xff\xfe\x00\x01" * 50,
        b"\xef\xbb\xbf" + b'{"error":{"message":"x","code":"invalid_api_key"}}',
        b'{"error":{"message":"' + b"a" * 300_000 + b'"}}',
        b"data: " + b"[" * 10_000 + b"\n\n",
        b'data: {"error":' + b"{" * 10_000 + b"\n\n",
        b"<html>" + b"<title>" * 2000,
        b'{"error":[[[]]]}',
        b'{"error":{"message":{"message":{"message":"x"}}}}',
        b"null",
        b'"just a text"',
    ],
    ids=range(15),
)
@pytest.mark.parametrize("status", [None, 200, 401, 429, 503])
def test_bodies_made_to_break_a_parser_give_a_result(status: int | None, body: bytes) -> None:
    assert classify(WireAnswer(status, (), body)).verdict in Verdict


def test_fifty_megabytes_are_read_without_parsing_them() -> None:
    noise = b'{"object":"list","data":["error",' + b'"x",' * 13_000_000 + b'"x"]}'
    assert classify(WireAnswer(200, (("x-request-id", "req_1"),), noise)).verdict in Verdict
    assert classify(WireAnswer(500, (("x-request-id", "req_1"),), noise)).failure == "server.error"


LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz_-"
RANDOM = st.text(alphabet=LETTERS, min_size=22, max_size=100).map(lambda text: re.sub("(..)", r"\g<1>7", text))
"""Digits between letters, so that no stretch of a secret is a word that stands there anyway."""
SECRETS = st.tuples(st.sampled_from(["sk-proj-FAKE", "sk-svcacct-FAKE", "sk-FAKE", "sk-None-FAKE", "sk-admin-FAKE"]), RANDOM).map(
    "".join
)
AROUND = st.sampled_from(
    [
        "{}", "Bearer {}", "key={}&x=1", "'{}'", '"{}"', "Authorization: Bearer {}\\n", "b'Bearer {}\\r\\n'", "x\\n{} y", "({})",
        "Incorrect API key provided: {}. You can find your API key at https://…", "https://user:{}@proxy.example/", "{}{}",
        "api_key: {}", "Missing scopes: {}", "The model `{}` does not exist",
        "Rate limit reached for {} in organization {} on requests per day", "Project `{}` does not have access to model `{}`",
    ]
)  # fmt: skip


def leaks(secret: str, text: str) -> bool:
    """Whether five characters in a row of the secret's random part stand in the text, in any case."""
    random_part, text = secret.split("FAKE", 1)[1].lower(), text.lower()
    return any(random_part[i : i + 5] in text for i in range(len(random_part) - 4))


@settings(max_examples=300, deadline=None)
@given(secret=SECRETS, around=AROUND, place=st.integers(0, 7), status=st.sampled_from([200, 400, 401, 403, 404, 429, 500]))
@example(secret="sk-proj-FAKE" + "abcdefgh" * 6, around="{}", place=0, status=401)
def test_no_more_than_four_characters_of_a_key_get_through_the_classifier(
    secret: str, around: str, place: int, status: int
) -> None:
    text = around.replace("{}", secret)
    wrapped = [
        json.dumps({"error": {"message": text, "type": "x", "param": None, "code": None}}),
        json.dumps({"error": {"message": "x", "type": text, "param": text, "code": text}}),
        json.dumps({"error": text}),
        text,
        f"<html><title>{text}</title></html>",
        json.dumps({"message": text, "code": 404}),
        json.dumps({"detail": text}),
        f'data: {{"type":"error","message":{json.dumps(text)},"code":"x"}}\n\n',
    ][place]
    found = classify(WireAnswer(status, (("location", text), ("x-request-id", "r")), wrapped.encode(), fault_text=text))
    assert not leaks(secret, every_text(found))
    assert not leaks(secret, redact_body(wrapped.encode()))
    assert not leaks(secret, redact(text))
    assert not leaks(secret, template(text))
    assert not leaks(secret, json.dumps(explain(parse_line(wrapped)).as_json(), ensure_ascii=False))


@settings(max_examples=100, deadline=None)
@given(secret=SECRETS, fault=st.sampled_from(TransportFault))
def test_the_words_of_a_transport_fault_leak_no_key(secret: str, fault: TransportFault) -> None:
    found = classify(WireAnswer(None, fault=fault, fault_text=f"Illegal header value b'Bearer {secret}\\n'"))
    assert not leaks(secret, every_text(found))


@settings(max_examples=100, deadline=None)
@given(before=st.integers(0, 60), secret=SECRETS)
def test_a_key_that_the_cap_cuts_in_two_does_not_leak(before: int, secret: str) -> None:
    assert not leaks(secret, redact_body(b"x " * before + secret.encode() + b" tail" * 40, limit=100))


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.text(max_size=300),
        st.builds("".join, st.lists(st.sampled_from(["{", "}", "'", '"', "error", ":", "\\", "\n", "429 ", "["]))),
    )
)
def test_any_pasted_text_is_explained(text: str) -> None:
    for piece in [text, *split(text)]:
        json.dumps(explain(parse_line(piece)).as_json()).encode()


@pytest.mark.parametrize(
    "text",
    [
        "a" * 200_000,
        "sk-" * 60_000,
        "{" * 100_000,
        "_" * 200_000 + "a_b" * 10_000,
        "error code: " * 20_000,
        "{'error': " + "[" * 5_000 + "]" * 5_000 + "}",
        "{'a': " + "(" * 5_000 + ")" * 5_000 + "}",
        '{"a":' * 50_000,
        "HTTP/1.1 200\n" * 20_000,
        "*** " * 50_000,
        "x***" * 50_000,
        "Bearer " * 20_000,
        "api_key=" * 20_000,
        "https://" + "a" * 100_000 + "@",
    ],
    ids=range(14),
)
def test_long_and_twisted_texts_are_explained_in_reasonable_time(text: str) -> None:
    steps = 0

    def count(*_: object) -> None:
        nonlocal steps
        steps += 1

    sys.setprofile(count)  # calls, not seconds: the machine may be busy
    try:
        explain(parse_line(text))
    finally:
        sys.setprofile(None)
    assert steps < 500_000


@given(st.datetimes())
def test_a_naive_clock_is_not_used_and_breaks_nothing(now: datetime) -> None:
    headers = (("retry-after", "Mon, 23 Nov 2026 14:05:50 GMT"),)
    assert classify(WireAnswer(429, headers, b""), now=now).retry_after is None


def test_the_results_of_a_classification_are_plain_values() -> None:
    found = classify(WireAnswer(429, (("retry-after", "3"),), b""))
    assert found.retry_after == timedelta(seconds=3).total_seconds()
