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
    if "api key provided:" in lowered:
        text = _without_echoes(text)
        lowered = text.lower()
    if "sk-" in lowered or "t3blbkfj" in lowered:
        text = _TOKEN.sub(_hide_key, text)
    if "***" in lowered:
        text = _WORD.sub(_hide_mask, text)
    for signs, pattern, replacement in _PATTERNS:
        for sign in signs:
            if sign in lowered:
                text = pattern.sub(replacement, text)
                break
    return text


_ECHO = re.compile("api key provided:", re.IGNORECASE)
_ECHO_ENDS_WELL = re.compile(r"\. you can ", re.IGNORECASE)
_ECHO_ENDS = re.compile(r"[\"\r\n]|\Z")


def echoed_key(message: str, start: int = 0) -> tuple[int, int] | None:
    """Where in a message (from `start` on) OpenAI echoes the key it refuses, as start and end; None where it echoes none.

    What it echoes is whatever was sent: a key, another provider's, a password, a sentence. Short ones come unmasked.
    """
    lead = _ECHO.search(message, start)
    if lead is None:
        return None
    end = _ECHO_ENDS_WELL.search(message, lead.end(), lead.end() + 1000) or _ECHO_ENDS.search(message, lead.end())
    return lead.end(), end.start() if end else len(message)


def _without_echoes(text: str) -> str:
    at = 0
    while (span := echoed_key(text, at)) is not None:
        begin, end = span
        shown = " " + tail(text[begin:end].strip().strip("'"))
        text = text[:begin] + shown + text[end:]
        at = begin + len(shown)
    return text


def redact_body(body: bytes, limit: int = 4096) -> str:
    """The first `limit` characters of a body as text that is safe to store: redacted, valid UTF-8, no NUL."""
    return clean(redact(body[: 2 * limit].decode("utf-8", "replace")), limit)


def label(text: str | None, limit: int = 120) -> str:
    """A short text of OpenAI's, such as a code or a name, safe to store: redacted, long tokens replaced; empty for None."""
    return clean(_LONG_TOKEN.sub("<id>", redact(text)), limit) if text else ""


def clean(text: str, limit: int) -> str:
    """`text` as a database and a page can take it: no lone surrogates, no control characters but breaks, at most `limit` long."""
    if not text.isprintable():
        text = _CONTROL.sub("\ufffd", text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


_TOKEN = re.compile(r"[A-Za-z0-9_*-]{8,}")
_WORD = re.compile(r"[^\s'\"`]+")


def _hide_key(match: re.Match[str]) -> str:
    """Hide the key in a run of key characters. What stands before `sk-` stays: it may be the n of an escaped line break."""
    token = match[0]
    at = token.find("sk-")
    if at < 0:
        return tail(token) if "T3BlbkFJ" in token else token
    rest = token[at + 3 :]
    telling = any(character.isupper() or character.isdigit() or character in "_*" for character in rest)
    if (at == 0 and (len(rest) >= 16 or telling)) or (telling and len(rest) >= 16):
        return token[:at] + "sk-" + tail(token[at:])
    return token  # "risk-assessment", "task-queue"


def _hide_mask(match: re.Match[str]) -> str:
    return tail(match[0]) if "***" in match[0] else match[0]


def _value(match: re.Match[str]) -> str:
    return match[1] + tail(match[2])


_PATTERNS: tuple[tuple[tuple[str, ...], re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
    (
        ("bearer", "basic"),
        re.compile(
            r"(?i)((?:bearer|basic)\s+)(?!(?:auth(?:entication|orization)?|or|tokens?|realm|in|header)\b)([^\s'\",;\\]{6,})"
        ),
        _value,
    ),
    (("sess-",), re.compile(r"(sess-)([A-Za-z0-9_-]{8,})"), _value),
    (("eyj",), re.compile(r"eyJ[A-Za-z0-9_-]{6,}(?:\.[A-Za-z0-9_-]+){0,2}"), lambda m: tail(m[0])),
    (
        ("aiza", "gsk_", "xai-", "hf_", "ghp_", "gho_", "ghs_", "github_pat_", "akia", "glpat-", "pplx-", "xox"),
        re.compile(
            r"(?:AIza|gsk_|xai-|hf_|gh[pos]_|github_pat_|AKIA|glpat-|pplx-|xox[abp]-)[A-Za-z0-9_-]{10,}",
        ),
        lambda m: tail(m[0]),
    ),
    (
        ("authorization", "api-key", "api_key", "apikey", "secret", "password", "access_token"),
        re.compile(
            r"(?i)((?:authorization|api[-_]?key|secret|password|access_token)"
            r"[\"']?\s*[:=]\s*[\"']?(?:(?:bearer|basic)\s+)?)([^\s\"',;}…]{8,})"
        ),
        _value,
    ),
    (("cookie",), re.compile(r"(?i)((?:set-)?cookie[\"']?\s*[:=,]\s*[\"']?)([^\"'\r\n]{8,})"), lambda m: m[1] + "…"),
    (("://",), re.compile(r"(://)[^\s/@'\"]+(?=@)"), lambda m: m[1] + "…"),
)


_LONG_TOKEN = re.compile(r"(?=[A-Za-z_-]*\d)[A-Za-z0-9_-]{20,}|[A-Za-z0-9_+/=-]{48,}")
"""Whatever it is, it is no word; it may be a secret in a shape that nobody knows."""

_MODELS = (
    ("odel", re.compile(r"(?<=[Mm]odel )[`'\"][^`'\"\s]{1,120}[`'\"]|(?<=[Mm]odel: )[`'\"]?[\w.:/-]{1,120}[`'\"]?")),
    ("reached for ", re.compile(r"(?<=reached for )(?!project |organization |images |requests |tokens )\S+(?= )")),
    ("too large for ", re.compile(r"(?<=too large for )(?!project |organization )\S+(?: \(for limit [^)]*\))?")),
)
_VARIES = re.compile(
    r"""(?P<url>https?://[^\s'"<>]+?(?=[.,;:!?)\]]*(?:['"<>]|\Z)))
    |(?P<email>[\w.+-]{1,64}@[\w-]{1,64}\.[\w.]{1,64}\w)
    |(?P<ip>\b(?:\d{1,3}\.){3}\d{1,3}\b|\b(?:[0-9a-fA-F]{0,4}:){3,7}[0-9a-fA-F]{0,4}\b)
    |(?P<organization>\borg-[\w*-]+)
    |(?P<project>\bproj_[\w*-]+)
    |(?P<request>\breq_[\w*-]+)
    |(?P<id>\b(?:resp|msg|chatcmpl|cmpl|run|thread|asst|file|batch|vs|vsfb|ftjob|key|user|step|call|rs|conv|evt)[_-]\w{8,}
        |\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b
        |(?=[A-Za-z_-]*\d)[A-Za-z0-9_-]{20,}|[A-Za-z0-9_+/=-]{48,})
    |(?P<duration>\b(?:\d+(?:\.\d+)?(?:ms|h|m|s|d))+\b)
    |(?P<n>(?<![A-Za-z\d])\d[\d.,:]*(?<![.,:]))""",
    re.VERBOSE,
)


def template(message: str) -> str:
    """`message` with keys, ids, addresses, model names and numbers replaced: the same cause gives the same words, safe to store."""
    text = redact(message[:2000])
    for sign, pattern in _MODELS:
        if sign in text:
            text = pattern.sub("<model>", text)
    # Word by word, because most words need no look and patterns over whole texts were the classifier's greatest cost.
    words = (word if word.isalpha() else _VARIES.sub(lambda found: f"<{found.lastgroup}>", word) for word in text.split())
    return clean(" ".join(words), 500)
