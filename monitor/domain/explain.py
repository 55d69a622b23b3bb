"""What does this error mean: a line somebody pasted, whatever program wrote it.

A line may be an error body, the text of a Python or Node exception, a log line with JSON in it, the output of curl, only the
message, or a JSON object `{"status", "headers", "body", "endpoint"}`. Nothing here raises, whatever the text.
"""

import ast
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from monitor.domain.classify import RULES, classify
from monitor.domain.diagnosis import Context, diagnose
from monitor.domain.envelope import error_of, parse_json
from monitor.domain.observation import RateLimitHit, TransportFault, WireAnswer
from monitor.domain.ratelimits import never_fits
from monitor.domain.taxonomy import KINDS, FailureKind, Lane, Owner, Scope
from monitor.domain.words import Confidence


@dataclass(frozen=True, slots=True)
class Explanation:
    """What one answer means, for somebody who has nothing but the answer."""

    failure: FailureKind | None
    """None for a success."""
    owner: Owner | None
    retry: bool
    """Whether the same request may succeed later with nobody doing anything."""
    retry_after: float | None
    """Seconds to wait, or None where nobody said."""
    scope: Scope | None
    summary: str
    next_step: str
    cause: str = ""
    """Why, in a sentence; empty for a success. People are told, scripts keep to the contract's fields."""
    confidence: Confidence | None = None

    @property
    def lane(self) -> Lane | None:
        """The family of the failure."""
        return self.failure.lane if self.failure else None

    def as_json(self) -> dict[str, Any]:
        """The contract's fields, in its order."""
        return {
            "failure": self.failure.value if self.failure else None,
            "lane": self.lane.value if self.lane else None,
            "owner": self.owner.value if self.owner else None,
            "retry": self.retry,
            "retry_after": self.retry_after,
            "scope": self.scope.value if self.scope else None,
            "summary": self.summary,
            "next_step": self.next_step,
        }


KnownKey = tuple[str, str, str]
"""A configured key: its project, its label, its last four characters (empty where they are not shown)."""


def explain(answer: WireAnswer, keys: Sequence[KnownKey] = ()) -> Explanation:
    """What `answer` means. With the configured `keys` a refused key is told from theirs by its last four characters."""
    found = classify(answer)
    kind = found.failure
    if kind is None:
        return Explanation(None, None, False, None, None, "A good answer: nothing is wrong.", "Nothing to do.")
    diagnosis = diagnose(
        kind,
        Context(
            scope=found.scope,
            hit=found.hit,
            retry_after=found.retry_after,
            missing_scopes=found.missing_scopes,
            hint=found.hint,
            status=answer.status,
            code=found.code,
            message=found.message,
        ),
    )
    retry = _retry_helps(kind, answer.status, found.hit)
    summary = diagnosis.summary + _whose_key(found.hint or "", keys) if kind is FailureKind.AUTH_INVALID_KEY else diagnosis.summary
    return Explanation(
        kind,
        diagnosis.owner,
        retry,
        found.retry_after,
        found.scope,
        summary,
        diagnosis.next_step,
        diagnosis.cause,
        diagnosis.confidence,
    )


def _retry_helps(kind: FailureKind, status: int | None, hit: RateLimitHit | None) -> bool:
    """Whether the same request may succeed later by itself."""
    if never_fits(hit):
        return False
    return KINDS[kind].retry_helps or (kind is FailureKind.NETWORK_NOT_OPENAI and (status in (408, 429) or (status or 0) >= 500))


_ENDS_IN = re.compile(r"ends in …(\S{4})")


def _whose_key(hint: str, keys: Sequence[KnownKey]) -> str:
    """Whose key was refused, as a sentence with a space before it; empty where the echo or the configuration does not say.

    Four characters may be alike by chance, so a match is a likeness; that none matches is certain.
    """
    found = _ENDS_IN.search(hint)
    known = [key for key in keys if key[2]]
    if found is None or not known:
        return ""
    alike = [f"“{label}” of project “{project}”" for project, label, last_four in known if last_four == found[1]]
    if not alike:
        which = "configured keys" if len(known) == len(keys) else "configured keys whose end is known"
        return f" It ends in …{found[1]}, as none of the {which} does: whoever got this sends another key."
    return f" It ends in …{found[1]}, like key {', '.join(alike[:5])}."


def split(text: str) -> list[str]:
    """What in `text` is explained one by one: its lines, or all of it where it is one document, exception or answer of curl.

    Only line feeds end a line: JSON may hold every other separator that `str.splitlines` knows.
    """
    whole = text.strip()
    lines = [line.removesuffix("\r") for line in text.split("\n") if line.strip()]
    if len(lines) > 1 and (_is_curl(whole) or isinstance(parse_json(_encoded(whole)), dict) or _is_one_exception(lines)):
        return [whole]
    return lines


def _is_curl(text: str) -> bool:
    return _STATUS_LINE.match(text) is not None or (text[:2] in ("* ", "> ") and "\n< HTTP/" in text)


def _is_one_exception(lines: list[str]) -> bool:
    """Node and Python print an exception over several lines: a first line, then indented ones."""
    return lines[0].startswith("Traceback ") or all(line[0] in " \t}])" for line in lines[1:])


_MOST = 200_000
"""Characters of a line that are looked at."""
_READ = 20_000
"""Characters of one that holds no JSON."""


def parse_line(text: str) -> WireAnswer:
    """The answer that a pasted line tells of. What the line does not say (a status, headers) is inferred or left out."""
    text = text.strip().lstrip("\ufeff")[:_MOST]
    parsed = parse_json(_encoded(text)) if text[:1] in "{[" else None
    if isinstance(parsed, dict):
        if _is_record(parsed):
            return _from_record(parsed)
        if error_of(parsed) is not None:
            status = _status(parsed.get("status")) or _status(parsed.get("status_code"))
            return WireAnswer(status, body=_encoded(text))
        if isinstance(parsed.get("object"), str):
            return WireAnswer(200, body=_encoded(text))  # a pasted good answer, or a response that failed inside
        words = " ".join(_strings(parsed))
        answer = _from_words(words)
        status = next((found for name in _STATUS_NAMES if (found := _status(parsed.get(name)))), None)
        return answer if status is None else WireAnswer(status, answer.headers, answer.body, answer.endpoint, answer.fault)
    if _STATUS_LINE.match(text) or "\n< HTTP/" in text:
        return _from_curl(text)
    return _from_words(text)


# JSON lines ---------------------------------------------------------------------------------------------------------------------

_STATUS_NAMES = ("status", "status_code", "statusCode", "http_status", "code")


def _is_record(parsed: dict[str, Any]) -> bool:
    """Whether this is the contract's form. OpenAI's own bodies carry `status` too: beside an `error`, or as a word."""
    if "body" in parsed and ("status" in parsed or "headers" in parsed or "endpoint" in parsed):
        return True
    return "error" not in parsed and _status(parsed.get("status")) is not None and set(parsed) <= {"status", "headers", "endpoint"}


def _from_record(parsed: dict[str, Any]) -> WireAnswer:
    body = parsed.get("body")
    if body is None:
        raw = b""
    elif isinstance(body, str):
        raw = _encoded(body)
    else:
        raw = _encoded(json.dumps(body))
    endpoint = parsed.get("endpoint")
    return WireAnswer(
        _status(parsed.get("status")),
        tuple(_header_pairs(parsed.get("headers"))),
        raw,
        endpoint if isinstance(endpoint, str) else "",
    )


def _header_pairs(headers: Any) -> Iterator[tuple[str, str]]:
    pairs: Iterable[Any] = headers.items() if isinstance(headers, dict) else headers if isinstance(headers, list) else ()
    for pair in pairs:
        if not isinstance(pair, tuple | list) or len(pair) != 2 or not isinstance(pair[0], str):
            continue
        for value in pair[1] if isinstance(pair[1], list) else [pair[1]]:
            if isinstance(value, str | int | float):
                yield pair[0], str(value)


def _status(value: Any) -> int | None:
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit() and len(value.strip()) == 3:
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 100 <= value < 600 else None


def _strings(value: Any, depth: int = 0) -> Iterator[str]:
    """Every text in a structured log line, outermost first."""
    if isinstance(value, str):
        yield value
    elif depth < 6 and isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item, depth + 1)


# curl ---------------------------------------------------------------------------------------------------------------------------

_STATUS_LINE = re.compile(r"(?:[<*] ?)?HTTP/\d(?:\.\d)? (\d{3})\b[^\n]*")
_HEADER = re.compile(r"(?:< )?([A-Za-z0-9-]{1,80}): ?(.*)")


def _from_curl(text: str) -> WireAnswer:
    """The last answer in the output of `curl -i` or `curl -v`: a proxy's CONNECT and redirects come before it."""
    status: int | None = None
    headers: list[tuple[str, str]] = []
    body: list[str] = []
    in_body = False
    for line in text.splitlines():
        begins = _STATUS_LINE.match(line)
        if begins:
            status, headers, body, in_body = int(begins[1]), [], [], False
        elif status is None or line[:2] in ("> ", "* ", "{ ", "} "):
            continue
        elif not in_body:
            header = _HEADER.match(line)
            if header:
                headers.append((header[1], header[2].strip()))
            else:
                in_body = True
                if line.strip(" <\r"):
                    body.append(line)
        else:
            body.append(line)
    return WireAnswer(status, tuple(headers), _encoded("\n".join(body)))


# Exceptions and log lines -------------------------------------------------------------------------------------------------------

_STATUS_SAID = re.compile(
    r"""error\ code:\s*(\d{3})\b
    |\bHTTP/\d(?:\.\d)?"?\s+(\d{3})\b
    |\bstatus(?:[_\ ]?code)?["']?\s*[:=]?\s*["']?(\d{3})\b
    |(?:Error):?\s{1,5}(\d{3})\s
    |^\s*([2-5]\d\d)\b(?![-.:/])
    |\b(4\d\d|5\d\d)\s+(?:Unauthorized|Forbidden|Not\ Found|Too\ Many\ Requests|Bad\ Request|Internal\ Server\ Error|Bad\ Gateway
        |Service\ Unavailable|Gateway\ Time-?out|\{)""",
    re.VERBOSE | re.IGNORECASE,
)
_CLASSES = (
    ("AuthenticationError", 401),
    ("PermissionDeniedError", 403),
    ("NotFoundError", 404),
    ("ConflictError", 409),
    ("UnprocessableEntityError", 422),
    ("RateLimitError", 429),
    ("BadRequestError", 400),
    ("InvalidRequestError", 400),
    ("ServiceUnavailableError", 503),
    ("InternalServerError", 500),
)
_FAULTS: tuple[tuple[TransportFault, re.Pattern[str]], ...] = tuple(
    (fault, re.compile(words, re.IGNORECASE))
    for fault, words in (
        (
            TransportFault.ILLEGAL_REQUEST,
            r"illegal header value|invalid character in header|UnicodeEncodeError|LocalProtocolError|UnsupportedProtocol",
        ),
        (
            TransportFault.TLS,
            (
                r"certificate.verify.failed|self[- ]signed certificate|SSLError|SSL: |unable to get local issuer|x509: |PKIX path"
                r"|SSLHandshake|SELF_SIGNED_CERT|UNABLE_TO_(?:VERIFY|GET_ISSUER)|ERR_TLS_|CERT_HAS_EXPIRED"
            ),
        ),
        (
            TransportFault.DNS,
            (
                r"name or service not known|getaddrinfo|name resolution|ENOTFOUND|EAI_AGAIN|not resolve host|no such host"
                r"|UnknownHostException|nodename nor servname"
            ),
        ),
        (TransportFault.REFUSED, r"connection refused|ECONNREFUSED"),
        (
            TransportFault.RESET,
            (
                r"connection reset|ECONNRESET|server disconnected|socket hang up|connection aborted|RemoteProtocol|broken pipe"
                r"|closed connection without|unexpected EOF|incomplete chunked read|UND_ERR_SOCKET|EPIPE"
            ),
        ),
        (TransportFault.UNREACHABLE, r"network is unreachable|no route to host|ENETUNREACH|EHOSTUNREACH"),
        (TransportFault.CONNECT_TIMEOUT, r"ConnectTimeout|connect(?:ion)? timed? ?out|UND_ERR_CONNECT_TIMEOUT"),
        (
            TransportFault.READ_TIMEOUT,
            (
                r"APITimeoutError|ReadTimeout|APIConnectionTimeoutError|ETIMEDOUT|timed out|deadline exceeded|Client\.Timeout"
                r"|SocketTimeoutException|UND_ERR_(?:HEADERS|BODY)_TIMEOUT"
            ),
        ),
        (
            TransportFault.UNREACHABLE,
            r"APIConnectionError|\bConnection error\b|fetch failed|failed to establish a new connection|unable to connect to proxy",
        ),
    )
)
_CODES = frozenset(code for rule in RULES for code in rule.code | rule.type if "_" in code)
_CODE_WORD = re.compile(r"[a-z_]{6,60}")
_SET_TO = r"""['"]?\s{0,5}[:=]\s{0,5}(?:'([^'\n]*)'|"([^"\n]*)"|([A-Za-z_]+))"""
_FIELDS = {name: re.compile(rf"\b{name}{_SET_TO}") for name in ("type", "code", "param")}


def _from_words(text: str) -> WireAnswer:
    error = _embedded_error(text)
    text = text[:_READ]
    status = _status_in(text)
    if error is None and status is not None and status < 300:
        return WireAnswer(status)
    if error is None:
        error = _error_in_words(text)
        if status is None and not _is_known(error):
            fault = next((fault for fault, words in _FAULTS if words.search(text)), None)
            if fault is not None:
                return WireAnswer(None, fault=fault)
    return WireAnswer(status, body=_encoded(json.dumps({"error": error})))


def _is_known(error: dict[str, Any]) -> bool:
    return error.get("code") is not None or "api key" in str(error.get("message")).lower()


def _status_in(text: str) -> int | None:
    found = _STATUS_SAID.search(text)
    if found is not None:
        return _status(next(group for group in found.groups() if group))
    return next((status for name, status in _CLASSES if name in text), None)


def _embedded_error(text: str) -> dict[str, Any] | None:
    """The first error envelope in the text, as JSON, as JSON within JSON, or as Python prints it."""
    for source in (text, text.replace('\\"', '"')) if '\\"' in text else (text,):
        for piece in _objects(source):
            error = error_of(_value(piece))
            if error is not None:
                return error
    return None


def _objects(text: str) -> Iterator[str]:
    """Each outermost `{…}` in the text, at most a few; of those never closed nothing."""
    at, tries = text.find("{"), 0
    while at >= 0 and tries < 8:
        end = _end_of(text, at)
        if end is None:
            at = text.find("{", at + 1)
        else:
            yield text[at:end]
            at = text.find("{", end)
        tries += 1


def _end_of(text: str, start: int) -> int | None:
    """Where the object that begins at `start` ends; braces within quotes do not count."""
    depth, quote, at = 0, "", start
    limit = min(len(text), start + 20_000)
    while at < limit:
        character = text[at]
        if quote:
            if character == "\\":
                at += 1
            elif character == quote:
                quote = ""
        elif character in "'\"":
            quote = character
        elif character == "{":
            depth += 1
            if depth > 50:
                return None
        elif character == "}":
            depth -= 1
            if depth == 0:
                return at + 1
        at += 1
    return None


def _value(piece: str) -> Any:
    parsed = parse_json(_encoded(piece))
    if parsed is not None or piece.count("[") + piece.count("(") > 200:  # deep nesting would exhaust Python's parser
        return parsed
    try:
        return ast.literal_eval(piece)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def _error_in_words(text: str) -> dict[str, Any]:
    """What a text without an envelope says: fields as Node prints them, known codes among its words, and the text itself."""
    error: dict[str, Any] = {"message": text[:4000]}
    for name, field in _FIELDS.items():
        found = field.search(text)
        if found is not None:
            error[name] = found[1] or found[2] or found[3]
    if error.get("code") not in _CODES:
        said = next((word for word in _CODE_WORD.findall(text.lower()) if word in _CODES), None)
        if said is not None:
            error["code"] = said
    return error


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "replace")
