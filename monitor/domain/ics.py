"""Deadlines as a calendar file (RFC 5545), for calendars that people look at anyhow."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from hashlib import blake2b

from monitor.domain.deadlines import Deadline

_WIDTH = 75
"""Bytes of a line; a longer one goes on in the next, behind a space."""


def calendar_file(deadlines: Iterable[Deadline], now: datetime) -> str:
    """One event for each deadline, with CRLF line ends. An event keeps its id as long as the day does not move."""
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//openai-key-monitor//deadlines//EN", "CALSCALE:GREGORIAN"]
    for each in deadlines:
        lines += _event(each, now)
    return "".join(f"{folded}\r\n" for line in (*lines, "END:VCALENDAR") for folded in _folded(line))


def _event(deadline: Deadline, now: datetime) -> Iterator[str]:
    said = [deadline.breaks, f"Do: {deadline.next_step}", *deadline.evidence]
    said += [f"Projects: {', '.join(deadline.projects)}"] if deadline.projects else []
    said += [f"Owner: {deadline.owner}"] if deadline.owner else []
    yield "BEGIN:VEVENT"
    yield f"UID:{blake2b(deadline.mark.encode('utf-8', 'replace'), digest_size=16).hexdigest()}@openai-key-monitor"
    yield f"DTSTAMP:{_time(now)}"
    yield f"DTSTART:{_time(deadline.at)}"
    yield f"SUMMARY:{_text(deadline.title[:1].upper() + deadline.title[1:])}"
    yield f"DESCRIPTION:{_text(chr(10).join(said))}"
    yield f"CATEGORIES:{_text(deadline.kind.value)}"
    yield "TRANSP:TRANSPARENT"
    yield "END:VEVENT"


def _time(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y%m%dT%H%M%SZ}"


def _text(value: str) -> str:
    shown = "".join(each if each.isprintable() or each == "\n" else " " for each in value)
    return shown.replace("\\", "\\\\").replace(";", "\\;").replace(",", "\\,").replace("\n", "\\n")


def _folded(line: str) -> Iterator[str]:
    """The line in pieces, none cut within a letter."""
    piece, size = "", 0
    for letter in line:
        more = len(letter.encode("utf-8", "replace"))
        if size + more > _WIDTH:
            yield piece
            piece, size = " ", 1
        piece, size = piece + letter, size + more
    yield piece
