"""What an answer says, whatever it is wrapped in: OpenAI's JSON in all its shapes, streams, plain text, markup, anything.

Nothing here raises, whatever the bytes.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from monitor.domain.observation import RateLimitHit, WireAnswer
from monitor.domain.ratelimits import parse_hit


class Form(StrEnum):
    """How a failure was worded."""

    ENVELOPE = "envelope"
    """OpenAI's JSON, in any of its shapes."""
    TEXT = "text"
    """Anything else that is not markup: plain text, JSON of somebody else."""
    HTML = "html"


@dataclass(frozen=True, slots=True)
class Said:
    """What a failed answer says, ready to be matched."""

    status: int | None
    """None for a failure inside a success, and where the status is not known."""
    form: Form
    code: str = ""
    """Lower case, like `type` and `text`."""
    type: str = ""
    param: str | None = None
    message: str = ""
    text: str = ""
    """The message in lower case."""
    hit: RateLimitHit | None = None
    edge: bool = False
    """Whether OpenAI or the edge before it spoke, as far as headers and body tell."""


_MOST = 4 * 1024 * 1024
"""Bytes. No failure of OpenAI is longer; more than that is not parsed."""
_READ = 8000
"""Characters of a message that are read."""


def failure_in(answer: WireAnswer) -> Said | None:
    """What the failed `answer` says, or None where it is a good one."""
    if answer.status is None or not 200 <= answer.status < 300:
        return _error_answer(answer)
    if _plainly_good(answer):
        return None
    return _inside_a_success(answer)


# Answers with an error status ---------------------------------------------------------------------------------------------------


def _error_answer(answer: WireAnswer) -> Said:
    body, edge = answer.body, _from_edge(answer)
    parsed = parse_json(body) if body[:64].lstrip()[:1] in (b"{", b"[", b'"', b"\xef") else None
    if isinstance(parsed, str) and parsed.lstrip()[:1] == "{":
        parsed = parse_json(parsed.encode("utf-8", "replace")) or parsed  # JSON that a gateway wrote as text once more
    error = error_of(parsed)
    if error is None and parsed is None:
        error = _cut_off_error(body)
    if error is None and _looks_streamed(answer):
        error = _stream_error(body)
    if error is not None:
        return _said(error, answer.status, edge=edge)
    if isinstance(parsed, dict) and isinstance(detail := parsed.get("detail"), dict):  # FastAPI's way to wrap an error
        form = Form.ENVELOPE if _from_openai(answer) else Form.TEXT
        return _said(error_of(detail) or detail, answer.status, edge=edge, form=form)
    if isinstance(parsed, dict):  # FastAPI's "detail", a gateway's "message": JSON, but not OpenAI's
        words = next((parsed[name] for name in ("message", "detail", "msg", "title") if isinstance(parsed.get(name), str)), "")
        return _spoken(answer.status, Form.ENVELOPE if _from_openai(answer) else Form.TEXT, words, edge=edge or not answer.headers)
    text = parsed if isinstance(parsed, str) else body[:_READ].decode("utf-8", "replace").strip()
    if text[:1] == "<":
        known = not answer.headers and ("cloudflare" in text.lower() or "openai" in text.lower())
        return _spoken(answer.status, Form.HTML, _page_title(text), edge=edge or known)
    if _from_api(answer) or not (answer.headers or body):
        return _spoken(
            answer.status, Form.ENVELOPE, text, edge=edge
        )  # the API itself, or only a status is known: take it by its status
    return _spoken(answer.status, Form.TEXT, text, edge=edge or not answer.headers)


def _spoken(status: int | None, form: Form, message: str, *, edge: bool) -> Said:
    return _said({"message": message}, status, edge=edge, form=form)


def _said(error: dict[str, Any], status: int | None, *, edge: bool, form: Form = Form.ENVELOPE) -> Said:
    message = _text(error.get("message"))[:_READ]
    param = error.get("param")
    return Said(
        status=status,
        form=form,
        code=_text(error.get("code"))[:200].lower(),
        type=_text(error.get("type"))[:200].lower(),
        param=_text(param)[:200] if param is not None else None,
        message=message,
        text=message.lower(),
        hit=parse_hit(message),
        edge=edge,
    )


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return ""
    if isinstance(value, int | float):
        return repr(value) if abs(value) < 1e15 else ""
    if isinstance(value, dict):  # a message within a message
        return value["message"] if isinstance(value.get("message"), str) else ""
    if isinstance(value, list):
        return "; ".join(item for item in value[:5] if isinstance(item, str))
    return ""


_TITLE = re.compile(r"<title[^>]{0,200}>([^<]{1,200})", re.IGNORECASE)


def _page_title(text: str) -> str:
    title = _TITLE.search(text)
    return " ".join(title[1].split()) if title else ""


def parse_json(body: bytes) -> Any:
    """The JSON of `body`, or None for whatever is not JSON: cut off, nested or counted without end, bytes without meaning."""
    if len(body) > _MOST:
        return None
    try:
        return json.loads(body.decode("utf-8-sig", "replace"))
    except (ValueError, RecursionError):
        return None


def error_of(parsed: Any) -> dict[str, Any] | None:
    """The error object in any envelope OpenAI was seen to use, or None where there is none."""
    if isinstance(parsed, list):
        parsed = parsed[0] if parsed else None
    if not isinstance(parsed, dict):
        return None
    error = parsed["error"] if parsed.get("error") else parsed.get("errors")
    if isinstance(error, list):
        error = error[0] if error else None
    if isinstance(error, dict) and error:
        inner = error.get("error")
        return inner if isinstance(inner, dict) and inner and not isinstance(error.get("message"), str) else error
    if isinstance(error, str) and error:
        described = parsed.get("error_description")
        if isinstance(described, str):  # OAuth: the name in `error`, the words beside it
            return {"code": error, "message": described}
        return {"message": error, "code": parsed.get("code") or _name_in(error), "type": parsed.get("type")}
    if isinstance(parsed.get("message"), str) and any(parsed.get(name) is not None for name in ("code", "type", "param")):
        return parsed  # the Administration API's bare form, a stream's error event, the `body` of the SDK's exception
    return None


def _name_in(error: str) -> str | None:
    """The text itself where it is a code, such as `invalid_api_key`, and no sentence."""
    return error if "_" in error and error.isidentifier() else None


_CUT_OFF = re.compile(rb'\s*\{\s*"error"\s*:\s*\{')
_MEMBERS = {name: re.compile(rf'"{name}"\s*:\s*"((?:[^"\\]|\\.){{0,2000}})'.encode()) for name in ("message", "type", "code")}


def _cut_off_error(body: bytes) -> dict[str, Any] | None:
    """What can still be read of an error object whose end is missing or garbled."""
    if _CUT_OFF.match(body) is None:
        return None
    found = {name: member.search(body, 0, _READ) for name, member in _MEMBERS.items()}
    error: dict[str, Any] = {name: said[1].decode("utf-8", "replace") for name, said in found.items() if said}
    return error or None


# Failures inside a success ------------------------------------------------------------------------------------------------------

_SIGNS = re.compile(rb'"(?:object|id|data|results|text|deleted|created|input_tokens|model|output)"')
"""Members that good answers of OpenAI begin with."""
_BINARY = ("audio/", "image/", "video/", "application/octet-stream", "multipart/", "application/pdf", "application/zip")
_SPEAKS_PLAINLY = ("/audio/", "/content")
"""Endpoints whose good answers are text: transcripts, subtitles, files."""


def _plainly_good(answer: WireAnswer) -> bool:
    """Whether a cheap look is enough: a JSON object with the marks of an answer and no error anywhere in it."""
    body = answer.body
    return (
        body[:1] == b"{"
        and body[-64:].rstrip()[-1:] == b"}"
        and b'"error"' not in body
        and body.find(b'"failed"', 0, 4096) < 0
        and _SIGNS.search(body, 0, 4096) is not None
        and (b'"data"' in body or not answer.endpoint.endswith("/models"))
    )


def _inside_a_success(answer: WireAnswer) -> Said | None:
    """The failure that a 2xx carries, or None. An incomplete response is a good one: the model answered."""
    body = answer.body
    if _header(answer, "content-type").lower().startswith(_BINARY):
        return None
    if _looks_streamed(answer):
        error = _stream_error(body)
        return _said(error, _status_said(error), edge=True) if error is not None else None
    parsed = parse_json(body)
    if isinstance(parsed, dict):
        error = _failure_of(parsed)
        if error is not None:
            return _said(error, _status_said({**error, "status": error.get("status", parsed.get("status"))}), edge=True)
    if _good_enough(answer, parsed):
        return None
    text = body[:_READ].decode("utf-8", "replace").strip()
    return _spoken(answer.status, Form.HTML if text[:1] == "<" else Form.TEXT, _page_title(text), edge=False)


def _status_said(error: dict[str, Any]) -> int | None:
    """The status that a failure inside a success would have had, where it says so."""
    status = error.get("status")
    return status if isinstance(status, int) and 400 <= status < 600 else None


def _good_enough(answer: WireAnswer, parsed: Any) -> bool:
    """Whether a 2xx without a failure in it comes from OpenAI: a stranger's page and a captive portal answer 200 too."""
    body, lists_models = answer.body, answer.endpoint.endswith("/models")
    if isinstance(parsed, dict):
        return "data" in parsed if lists_models else _from_api(answer) or _SIGNS.search(body) is not None
    if not body:
        return answer.status != 200 or (not lists_models and (_from_api(answer) or not answer.headers))
    speaks_plainly = any(part in answer.endpoint for part in _SPEAKS_PLAINLY)
    if body[:64].lstrip()[:1] in (b"<", b"{", b"["):  # a file's lines of JSON and a transcript's "[music]" begin so too
        return _from_api(answer) and (len(body) > _MOST or speaks_plainly)
    return _from_api(answer) or speaks_plainly


_THINGS = ("fine_tuning", "fine-tune", "batch", "thread", "vector_store", "eval", "video", "upload", "file")


def _failure_of(parsed: dict[str, Any]) -> dict[str, Any] | None:
    """The failure of a call that was answered with 200. The failure of a job that was only looked up is not one."""
    kind = parsed.get("object")
    if isinstance(kind, str) and kind.startswith(_THINGS):
        return None
    error = error_of(parsed) if isinstance(parsed.get("error"), dict | list | str) else None
    if error is None and kind == "response" and parsed.get("status") == "failed":
        return {"message": "the response failed without saying why"}
    return error


_A_FAILURE = re.compile(rb'"error"\s*:\s*[^n\s]|"type"\s*:\s*"(?:error|response\.failed)"')


def _looks_streamed(answer: WireAnswer) -> bool:
    head = answer.body[:64].lstrip(b"\xef\xbb\xbf \r\n")
    return head.startswith((b"data:", b"event:", b": ", b"id:")) or _header(answer, "content-type").lower().startswith(
        "text/event-stream"
    )


def _stream_error(body: bytes) -> dict[str, Any] | None:
    """The first failure in a stream of events: it is the specific one, the `response.failed` after it is often generic."""
    for data in _events(body):
        event = parse_json(data) if _A_FAILURE.search(data) else None
        if not isinstance(event, dict):
            continue
        response = event.get("response")
        error = _failure_of({**response, "object": "response"}) if isinstance(response, dict) else error_of(event)
        if error is not None:
            if "status" in event:
                error = {"status": event["status"], **error}
            return {**error, "type": None} if error.get("type") == "error" else error
    return None


def _events(body: bytes) -> Iterator[bytes]:
    """The data of each event; the data lines of one event are joined."""
    lines: list[bytes] = []
    for line in body[:_MOST].splitlines():
        if line.startswith(b"data:"):
            lines.append(line[5:].strip())
        elif lines and not line.strip():
            yield b"\n".join(lines)
            lines = []
    if lines:
        yield b"\n".join(lines)


# Evidence beside the body -------------------------------------------------------------------------------------------------------


def _header(answer: WireAnswer, wanted: str) -> str:
    return next((value for name, value in answer.headers if name.lower() == wanted), "")


def _from_api(answer: WireAnswer) -> bool:
    """Whether the headers show that OpenAI's API answered, not only the edge before it."""
    return any(name[:7].lower() == "openai-" or name.lower() == "x-request-id" for name, _ in answer.headers)


def _from_openai(answer: WireAnswer) -> bool:
    """Whether a header shows it that nobody else sends: many gateways give a request id."""
    return any(name[:7].lower() == "openai-" for name, _ in answer.headers)


def _from_edge(answer: WireAnswer) -> bool:
    """Whether the headers show that OpenAI or the edge before it answered."""
    return _from_api(answer) or any(
        name.lower() == "cf-ray" or (name.lower() == "server" and "cloudflare" in value.lower()) for name, value in answer.headers
    )
