"""No secret of any shape survives, and words that are none do."""

import json
import re
from collections.abc import Callable
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.domain.inventory import fingerprint
from monitor.domain.redact import clean, echoed_key, label, redact, redact_body, tail, template

LETTERS = "abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ"
RANDOM = st.text(alphabet=LETTERS, min_size=24, max_size=50).map(lambda text: re.sub("(..)", r"\g<1>7", text))
"""Digits between letters, so that no stretch of it is a word that stands there anyway."""
KEYS = [
    "sk-{}",
    "sk-proj-{}",
    "sk-svcacct-{}",
    "sk-service-{}",
    "sk-admin-{}",
    "sk-None-{}",
    "sk-my-chatbot-{}",
    "sk-proj-{}T3BlbkFJ{}",
    "sk-svcacct-{}_-{}",
    "{}T3BlbkFJ{}",
    "sk-ant-api03-{}",
    "sk-or-v1-{}",
    "sess-{}",
    "eyJhbGciOi{}.eyJzdWIi{}.{}",
    "gsk_{}",
    "xai-{}",
    "hf_{}",
    "AIza{}",
    "ghp_{}",
    "github_pat_{}",
    "glpat-{}",
    "pplx-{}",
    "xoxb-{}",
    "AKIA{}",
]
"""Shapes that are known by themselves, wherever they stand."""
NAMED = [
    "Authorization: Bearer {}",
    "authorization: Basic {}",
    "{{'Authorization': 'Bearer {}'}}",
    '{{"api_key": "{}"}}',
    "api-key={}",
    "OPENAI_API_KEY={}",
    "X-Api-Key: {}",
    'client_secret="{}"',
    "password: {}",
    "access_token={}&x=1",
    "Set-Cookie: __cf_bm={}; path=/",
    "cookie: session={}",
    "http://user:{}@proxy.example:8080",
    "postgresql+psycopg://monitor:{}@db.example/monitor",
    "Incorrect API key provided: {}. You can find your API key at https://platform.openai.com/account/api-keys.",
    "Illegal header value b'Bearer {}\\n'",
    "what was sent: {:.8}************************{:.1}",
]
"""Shapes that their surroundings give away."""
AROUND = ["{}", " {} ", "'{}'", '"{}"', "({})", "key:{};", "x\\n{}\\n", "\n{}\n", "«{}»", "{},{}", "?key={}&y=1", "\ufeff{}", "{}."]


def shown(secret: str, text: str, most: int = 4) -> str:
    """A stretch of the secret longer than `most` that stands in the text, or nothing."""
    pieces = (secret[at : at + most + 1] for at in range(len(secret) - most))
    return next((piece for piece in pieces if piece in text), "")


@settings(max_examples=100, deadline=None)
@given(RANDOM, st.sampled_from(AROUND))
@pytest.mark.parametrize("shape", KEYS)
def test_a_key_of_any_shape_is_hidden_wherever_it_stands(shape: str, random: str, around: str) -> None:
    text = around.replace("{}", shape.replace("{}", random))
    assert shown(random, redact(text)) == ""
    assert shown(random, redact(json.dumps({"error": {"message": text}}))) == ""
    assert shown(random, redact(repr(text.encode()))) == ""
    assert shown(random, redact_body(text.encode())) == ""
    assert shown(random, template(text)) == ""
    assert shown(random, label(text)) == ""


@settings(max_examples=60, deadline=None)
@given(RANDOM, st.sampled_from(["sk-proj-", "sk-svcacct-", "sk-admin-", "sk-None-", "sk-"]), st.integers(20, 60))
@pytest.mark.parametrize(
    "written",
    [
        lambda key, _: key.replace("-", "%2D"),
        lambda key, _: "".join(f"%{ord(character):02x}" for character in key),
        lambda key, _: key.replace("-", "\\u002d"),
        lambda key, _: key.replace("-", "&#45;"),
        lambda key, _: key.replace("-", "\u2010"),
        lambda key, at: key[:at] + "\n" + key[at:],
        lambda key, at: key[:at] + "\r\n    " + key[at:],
        lambda key, at: key[:at] + "\\n" + key[at:],
        lambda key, at: key[:at] + "\u200b" + key[at:],
    ],
)
def test_a_key_is_hidden_however_it_is_written(written: Callable[[str, int], str], random: str, prefix: str, at: int) -> None:
    text = written(prefix + random, at)
    for out in (redact(text), redact_body(json.dumps({"error": text}).encode()), template(text), label(text, 500)):
        joined = re.sub(r"\\+(?:[rn]|u200b)|[\s\u200b]", "", unquote(out))
        assert shown(random, joined) == ""


def test_words_after_a_key_and_a_broken_line_stay() -> None:
    key = "sk-proj-FAKE" + "a7B" * 12
    assert redact(f"{key}\nplease look at it") == "sk-…\nplease look at it"
    assert redact(f"{key} in org-FAKE of proj_FAKE") == f"sk-…{key[-4:]} in org-FAKE of proj_FAKE"


@settings(max_examples=60, deadline=None)
@given(RANDOM)
@pytest.mark.parametrize("shape", NAMED)
def test_a_secret_that_its_surroundings_give_away_is_hidden(shape: str, random: str) -> None:
    text = shape.format(random, random)
    assert shown(random, redact(text)) == ""
    assert shown(random, redact(redact(text))) == ""


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200))
def test_any_text_can_be_redacted_again_and_grows_no_secret(text: str) -> None:
    once = redact(text)
    assert len(once) <= len(text) + 5 * (text.count("key") + text.count("KEY") + 1) + text.count("…")
    clean(once, 100).encode()
    template(text).encode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "The model `gpt-4o-mini` does not exist or you do not have access to it.",
        "risk-assessment task-queue disk-usage sk-ip",
        "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth.",
        "Missing bearer or basic authentication in header",
        "OpenAI-Project header should match project for API key",
        "max_output_tokens must be at least 16",
        "x-request-id: req_abc",
        "https://platform.openai.com/account/api-keys",
        "gpt-4.1-2025-04-14",
    ],
)
def test_words_that_are_no_secret_stay(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    ("secret", "ending"),
    [
        ("sk-proj-" + "x" * 20 + "wxyz", "…wxyz"),
        ("x" * 16 + "wxyz", "…wxyz"),
        ("x" * 15 + "wxyz", "…"),
        ("hunter2", "…"),
        ("", "…"),
    ],
)
def test_of_a_secret_at_most_the_last_four_characters_are_shown_and_of_a_short_one_none(secret: str, ending: str) -> None:
    assert tail(secret) == ending
    assert fingerprint(secret, b"salt").endswith(ending)


@given(st.text(min_size=1, max_size=80), st.binary(min_size=1, max_size=16))
def test_a_fingerprint_shows_nothing_more_and_depends_on_the_salt(secret: str, salt: bytes) -> None:
    mark = fingerprint(secret, salt)
    assert mark[16] == "…"
    assert len(mark) in (17, 21)
    assert mark != fingerprint(secret, salt + b"x")
    assert mark == fingerprint(secret, salt)


@pytest.mark.parametrize(
    "echo", ["You are *****tep.", "hunter2", "correct horse battery staple", "''", "https://****lETQ", "a. b. c"]
)
def test_whatever_openai_echoes_as_a_key_is_hidden(echo: str) -> None:
    message = f"Incorrect API key provided: {echo}. You can find your API key at https://platform.openai.com/account/api-keys."
    span = echoed_key(message)
    assert span is not None
    assert message[slice(*span)].strip() == echo
    assert redact(message).startswith("Incorrect API key provided: …")
    assert redact(message).endswith(". You can find your API key at https://platform.openai.com/account/api-keys.")


@pytest.mark.parametrize(
    ("text", "limit", "kept"),
    [
        ("a\x00b\x07c\x1b[31m\x7f", 99, "a�b�c�[31m�"),
        ("tab\tand\nline\r\n", 99, "tab\tand\nline\r\n"),
        ("lone \ud800 surrogate", 99, "lone � surrogate"),
        ("x" * 100, 10, "x" * 9 + "…"),
        ("x" * 10, 10, "x" * 10),
        ("ünï — 漢字 🙂", 99, "ünï — 漢字 🙂"),
    ],
)
def test_text_is_made_fit_for_a_database(text: str, limit: int, kept: str) -> None:
    assert clean(text, limit) == kept


def test_a_body_is_capped_and_always_text() -> None:
    assert len(redact_body(b"x" * 100_000)) == 4096
    assert redact_body(b"\xff\xfe\x00") == "���"
    assert redact_body(b"") == ""


def test_a_label_is_short_and_shows_no_long_token() -> None:
    assert label("model_not_found") == "model_not_found"
    assert label("resp_0123456789abcdef0123456789") == "<id>"
    assert len(label("word " * 100)) == 120
    assert label(None) == ""
