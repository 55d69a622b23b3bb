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
    if any(sign in lowered for sign in _KEY_SIGNS):
        text = _without_keys(text)
    if "t3blbkfj" in lowered:
        text = _TOKEN.sub(_hide_key, text)
    if text.count("%") > 11 or "\\u00" in lowered or "&#" in lowered:
        text = _SPELT_OUT.sub("…", text)
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
    return tail(match[0]) if "T3BlbkFJ" in match[0] else match[0]


# Keys by their first characters. Programs write them in many ways: percent-encoded, as escapes of JSON or HTML, broken by the
# width of a terminal.

_KEY_SIGNS = ("sk", "73k", "%6b", "u006b", "sess", "eyj", "ek_")
_ESCAPE = r"\\{1,4}u00"
_DASH = rf"(?:-|%2d|{_ESCAPE}2d|\\{{1,4}}u201[0-5]|&\#(?:45|x2d);|[\u2010-\u2015\u2212])"
_KEY = re.compile(
    rf"(?:s|%73|{_ESCAPE}73)(?:k|%6b|{_ESCAPE}6b){_DASH}|sess{_DASH}|ek_(?=[a-z0-9]{{16}})|eyJ(?=[\w-]{{6}})",
    re.IGNORECASE,
)
_RUN = re.compile(
    rf"(?:[a-z0-9_*]|{_DASH}|(?:%|{_ESCAPE})(?:2d|3[0-9]|4[1-9a-f]|5[0-9af]|6[1-9a-f]|7[0-9a])|&\#95;|[\u200b-\u200d\u2060\ufeff\u00ad]"
    r"|\\{1,4}u(?:200[bcd]|2060|feff|00ad))*",
    re.IGNORECASE,
)
_JOINT = re.compile(r"(?:[\s\\]|(?<=\\)[rn])+")
"""Between the lines of a key that was broken: breaks, indents, and what stands for them."""
_CODED = re.compile(rf"(?:%|{_ESCAPE})([0-9a-f]{{2}})|{_DASH}|[^\w*]|\\{{1,4}}u(?:200[bcd]|2060|feff|00ad)", re.IGNORECASE)
_SPELT_OUT = re.compile(rf"(?:(?:%|{_ESCAPE})[2-7][0-9a-f]|&\#x?[0-9a-f]{{2,3}};){{12,}}", re.IGNORECASE)
"""Every character encoded: nobody writes words so."""


def _plain(run: str) -> str:
    """A run of key characters without the ways they were written in."""
    if run.isascii() and "%" not in run and "\\" not in run and "&" not in run:
        return run
    return _CODED.sub(lambda found: chr(int(found[1], 16)) if found[1] else "-" if found[0] in "-‐" else "", run)


def _without_keys(text: str) -> str:
    """`text` with each key hidden. What stands before `sk-` stays: it may be the n of an escaped line break."""
    kept: list[str] = []
    at = 0
    while (start := _KEY.search(text, at)) is not None:
        first = start[0][:3].lower()
        end = _end_of_run(text, start.end(), dots=first == "eyj")
        rest = _plain(text[start.end() : end])
        lines, after = _further_lines(text, end)
        if not _is_key(text, start, rest, broken=bool(lines)):
            kept.append(text[at:end])
            at = end
            continue
        kept.append(
            text[at : start.start()] + ("sk-" if first[0] in "s%\\" and first != "ses" else "sess-" if first == "ses" else "")
        )
        whole = start[0] + rest + "".join(lines)
        # Where a line follows that may belong to the key, no end is shown: both together would be more than four characters.
        kept.append("…" if not lines and _after_break(text, end) is not None else tail(whole))
        at = after
    return "".join(kept) + text[at:] if kept else text


def _end_of_run(text: str, at: int, *, dots: bool) -> int:
    run = _RUN.match(text, at)
    end = run.end() if run else at
    while dots and text[end : end + 1] == "." and (more := _RUN.match(text, end + 1)) is not None and more[0]:
        end = more.end()
    return end


def _after_break(text: str, at: int) -> int | None:
    """Where the next line begins if one ends at `at`, or None."""
    joint = _JOINT.match(text, at)
    broken = joint is not None and any(sign in joint[0] for sign in ("\n", "\r", "\\n", "\\r"))
    return joint.end() if joint and broken else None


def _further_lines(text: str, at: int) -> tuple[list[str], int]:
    """The further lines of a key that was broken, and where they end. A line of words is none."""
    lines: list[str] = []
    while (begin := _after_break(text, at)) is not None:
        end = _end_of_run(text, begin, dots=True)
        line = _plain(text[begin:end])
        alone = text[end : end + 1] in ("", "\n", "\r", "\\", '"', "'", "`")
        if not line or not (alone or _is_random(line)):
            break
        lines.append(line)
        at = end
    return lines, at


def _is_random(line: str) -> bool:
    """Whether these characters are no word: digits among letters, capitals after small letters, or no end."""
    letters = any(character.isalpha() for character in line)
    return len(line) >= 20 or (letters and (any(character.isdigit() for character in line) or line[1:] != line[1:].lower()))


_KINDS_OF_KEY = ("proj", "svcacct", "admin", "service", "none")


def _is_key(text: str, start: re.Match[str], rest: str, *, broken: bool) -> bool:
    first = start[0][:3].lower()
    if first in ("eyj", "ek_"):
        return True
    if first == "ses":
        return len(rest) >= 8 or broken
    telling = any(character.isupper() or character.isdigit() or character in "_*" for character in rest)
    if start[0][0] == "S":
        telling = any(character.isdigit() for character in rest)
    before = text[start.start() - 1 : start.start()]
    if not (before.isascii() and (before.isalnum() or before in ("_", "*", "-"))) or not before:
        return len(rest) >= 16 or telling or (broken and rest.lower().startswith(_KINDS_OF_KEY))
    return telling and len(rest) >= 16  # "risk-assessment", "task-queue"


def _hide_mask(match: re.Match[str]) -> str:
    return tail(match[0]) if "***" in match[0] else match[0]


def _value(match: re.Match[str]) -> str:
    return match[1] + tail(match[2])


_PATTERNS: tuple[tuple[tuple[str, ...], re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
    (
        ("bearer", "basic"),
        re.compile(
            r"(?i)((?:bearer|basic)(?:\s|\\{1,4}[rnt])+)(?!(?:auth(?:entication|orization)?|or|tokens?|realm|in|header)\b)([^\s'\",;\\]{6,})"
        ),
        _value,
    ),
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
