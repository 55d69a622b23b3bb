"""Secrets taken out of text before anybody stores, logs or shows it. Rather too much than too little."""

import re
from collections.abc import Callable

_SHOWN = 4
_LONG_ENOUGH = 20


def tail(secret: str) -> str:
    """`…` and the last four characters; of a secret shorter than 20 only `…`: four of twelve would be too large a part."""
    return "…" + (secret[-_SHOWN:] if len(secret) >= _LONG_ENOUGH else "")


def redact(text: str) -> str:
    """`text` without anything that looks like a credential; of a key at most its last four characters stay."""
    lowered = text.lower()
    for signs, pattern, replacement in _PATTERNS:
        if any(sign in lowered for sign in signs):
            text = pattern.sub(replacement, text)
    return text


def redact_body(body: bytes, limit: int = 4096) -> str:
    """The first `limit` characters of a body as text that is safe to store: redacted, valid UTF-8, no NUL."""
    return clean(redact(body[: 2 * limit].decode("utf-8", "replace")), limit)


def clean(text: str, limit: int) -> str:
    """`text` as a database and a page can take it: no lone surrogates, no control characters but breaks, at most `limit` long."""
    if not text.isprintable():
        text = _CONTROL.sub("\ufffd", text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


def _key(match: re.Match[str]) -> str:
    return "sk-" + tail(match[0])


def _value(match: re.Match[str]) -> str:
    return match[1] + tail(match[2])


_PATTERNS: tuple[tuple[tuple[str, ...], re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
    # What OpenAI echoes of a refused key is whatever was sent: a password, a sentence, another provider's key.
    (("api key provided",), re.compile(r"(?is)(api key provided:\s*)(.*?)(?=\.\s+you can (?:find|obtain)|[\r\n}]|\Z)"), _value),
    (
        ("bearer", "basic"),
        re.compile(r"(?i)((?:bearer|basic)\s+)(?!(?:auth|or|token|realm|in|header)\b)([^\s'\",;\\]{6,})"),
        _value,
    ),
    (("sk-",), re.compile(r"sk-[A-Za-z0-9_*.-]*(?:[A-Z0-9_*][A-Za-z0-9_*-]{4,}|(?<![A-Za-z0-9]sk-)[A-Za-z0-9_-]{16,})"), _key),
    (("t3blbkfj",), re.compile(r"[A-Za-z0-9_-]*T3BlbkFJ[A-Za-z0-9_-]*"), lambda m: tail(m[0])),
    (("sess-",), re.compile(r"(sess-)([A-Za-z0-9_-]{8,})"), _value),
    (("eyj",), re.compile(r"eyJ[A-Za-z0-9_-]{6,}(?:\.[A-Za-z0-9_-]+){0,2}"), lambda m: tail(m[0])),
    (
        ("aiza", "gsk_", "xai-", "hf_", "ghp_", "gho_", "ghs_", "github_pat_", "akia", "glpat-", "pplx-", "xox"),
        re.compile(
            r"(?:AIza|gsk_|xai-|hf_|gh[pos]_|github_pat_|AKIA|glpat-|pplx-|xox[abp]-)[A-Za-z0-9_-]{10,}",
        ),
        lambda m: tail(m[0]),
    ),
    (("***",), re.compile(r"[^\s'\"`]*\*{3,}[^\s'\"`]*"), lambda m: tail(m[0])),
    (
        ("authorization", "api-key", "api_key", "apikey", "secret", "password", "access_token"),
        re.compile(
            r"(?i)((?:authorization|(?:[a-z0-9]+[-_])*api[-_]?key|(?:[a-z0-9]+[-_])*secret|password|access_token)"
            r"[\"']?\s*[:=]\s*[\"']?(?:(?:bearer|basic)\s+)?)([^\s\"',;}…]{8,})"
        ),
        _value,
    ),
    (("cookie",), re.compile(r"(?i)((?:set-)?cookie[\"']?\s*[:=,]\s*[\"']?)([^\"'\r\n]{8,})"), lambda m: m[1] + "…"),
    (("://",), re.compile(r"(://)[^\s/@'\"]+(?=@)"), lambda m: m[1] + "…"),
)
