"""Secrets: read where they live, read again when they change, and kept out of everything else.

A rotated key must be noticed without a restart, a file that hangs or never ends must not stop the poller, and a value
must not reach a log, a page or an exception by accident.
"""

import logging
import os
import re
import stat
import time
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any, NoReturn

from dotenv.parser import parse_stream

from monitor.domain.inventory import KeyKind
from monitor.domain.redact import redact

MAX_SECRET_BYTES = 16 * 1024
MAX_DOTENV_BYTES = 1024 * 1024
"""Two thousand keys take 370 KB."""

ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Unreadable(Exception):  # noqa: N818 - it says what the file is
    """A file cannot be read; the text says why, without its path."""


@dataclass(frozen=True, slots=True)
class FileState:
    """What tells one version of a file from the next without reading it."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


def file_state(path: Path | str) -> FileState | None:
    """The state of the file, links followed, or None where there is none (or none that we may see)."""
    try:
        found = os.stat(path)  # noqa: PTH116 - called for every check; pathlib costs as much as the call itself
    except (OSError, ValueError):
        return None
    return FileState(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def read_small_file(path: Path, limit: int) -> bytes:
    """The bytes of a regular file of at most `limit` bytes. Never waits for a FIFO or a device.

    Raises `Unreadable`.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise Unreadable(_not_a_file(path.stat().st_mode))
        # O_NONBLOCK: between the look and the open the file may have become a FIFO, which would wait for a writer.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            mode = os.fstat(handle).st_mode
            if not stat.S_ISREG(mode):
                raise Unreadable(_not_a_file(mode))
            return _read_at_most(handle, limit)
        finally:
            os.close(handle)
    except FileNotFoundError:
        raise Unreadable("does not exist") from None
    except PermissionError:
        raise Unreadable("may not be read by this user (permission denied)") from None
    except OSError as error:
        raise Unreadable(f"cannot be read ({error.strerror or type(error).__name__})") from None
    except ValueError:
        raise Unreadable("has an impossible name") from None


def _read_at_most(handle: int, limit: int) -> bytes:
    chunks = []
    left = limit + 1
    while left > 0 and (chunk := os.read(handle, left)):
        chunks.append(chunk)
        left -= len(chunk)
    if left <= 0:
        raise Unreadable(f"is larger than {limit:,} bytes")
    return b"".join(chunks)


def _not_a_file(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "is a folder, not a file"
    return "is not a regular file (a pipe, socket or device could block for ever)"


class Secret:
    """One secret as read now. Its value shows in no repr, str, format, copy, pickle or JSON."""

    __slots__ = ("_value", "findings", "kind", "problem", "ref", "version")

    def __init__(
        self,
        ref: str,
        value: str | None,
        problem: str | None = None,
        findings: tuple[str, ...] = (),
        kind: KeyKind = KeyKind.UNKNOWN,
        version: int = 1,
    ) -> None:
        self.ref = ref
        """Where it comes from: `env:NAME` or `file:PATH`."""
        self._value = value
        self.problem = problem
        """Why it cannot be used, in words; then the value is None."""
        self.findings = findings
        """What is odd although it can be used, one sentence each."""
        self.kind = kind
        """What the prefix hints at, also for a key that is refused."""
        self.version = version
        """Grows by one each time the value behind this reference changes."""

    @property
    def value(self) -> str | None:
        """The secret itself: for the request, and for nothing else."""
        return self._value

    def __repr__(self) -> str:
        state = f"problem={self.problem!r}" if self.problem else "value=hidden"
        return f"Secret({self.ref!r}, {state}, version={self.version})"

    def __format__(self, spec: str) -> str:
        return format(repr(self), spec)

    def __copy__(self) -> "Secret":
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> "Secret":
        return self

    def __getstate__(self) -> NoReturn:
        raise TypeError("a secret is never serialised")

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError("a secret is never serialised")


@dataclass(frozen=True, slots=True, repr=False)
class Cleaned:
    """What is left of a raw value after stripping what people paste along with a key."""

    value: str | None
    problem: str | None = None
    findings: tuple[str, ...] = ()
    kind: KeyKind = KeyKind.UNKNOWN


_INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff\u00ad"
_QUOTES = "\"'`“”„‘’«»"
_PREFIX = re.compile(r"(?:authorization\s*:\s*)?bearer(?:\s+|:\s*)", re.IGNORECASE)
_ASSIGNMENT = re.compile(r"(?:export\s+)?[A-Za-z_][A-Za-z0-9_]*\s*=\s*(?=[\"']?sk-)")
_VARIABLE_NAME = re.compile(r"\$?\{?(?:[A-Z][A-Z0-9]*_)+[A-Z0-9]+\}?")
_PLACEHOLDER = re.compile(
    r"(?:sk-)?(?:proj-)?"
    r"(?:\.{2,}|[x*]{3,}|change[-_ ]?me|(?:your|my|insert|paste|put)[-_ ].*|<.*>|todo|none|null|example|placeholder|secret)",
    re.IGNORECASE,
)


def clean(raw: str, *, admin: bool = False) -> Cleaned:
    """Strip and check a secret as people store it. Never judges by length, and by prefix only admin keys: they are refused, or
    with `admin` all others are.

    Formats changed twice in a year: whether a key is good is for the API to say. What would break the request itself
    (control characters, spaces, letters outside ASCII) is a problem, because the SDK puts the key into its exception.
    """
    value, findings = _unwrap(raw)
    if not value:
        return Cleaned(None, "is empty")
    if problem := _illegal(value):
        return Cleaned(None, problem, findings)
    kind = KeyKind.hinted_by(value)
    if kind is KeyKind.ADMIN and not admin:
        return Cleaned(
            None, "is an admin key, which is refused here: it opens the whole organization; use a project's key", findings, kind
        )
    if admin and kind is not KeyKind.ADMIN:
        wrong = "is no admin key (sk-admin-…), and no other can read the organization's record; make a read-only admin key"
        return Cleaned(None, wrong, findings, kind)
    return Cleaned(value, None, (*findings, *_oddities(value)), kind)


def _unwrap(raw: str) -> tuple[str, tuple[str, ...]]:
    """The value without the wrapping people paste along with it, and what was taken off."""
    value = raw.removeprefix("\ufeff").rstrip("\r\n")
    found: dict[str, None] = {}
    while True:
        before = value
        bare = value.strip()
        if bare != value and bare:
            found["spaces around the key were removed"] = None
        value = bare.strip(_INVISIBLE)
        if value != bare:
            found["invisible characters around the key were removed"] = None
        if len(value) > 1 and value[0] in _QUOTES and value[-1] in _QUOTES:
            value = value[1:-1]
            found["quotes around the key were removed"] = None
        if match := _PREFIX.match(value):
            value = value[match.end() :]
            found["the word Bearer before the key was removed"] = None
        if match := _ASSIGNMENT.match(value):
            value = value[match.end() :]
            found["a NAME= before the key was removed"] = None
        if value == before:
            return value, tuple(found)


def _illegal(value: str) -> str | None:
    """Why no header may hold the value, or None. Names the place, never the key."""
    if "\x00" in value:
        return "contains NUL bytes (saved as UTF-16?); save it as plain UTF-8 text"
    if "\n" in value or "\r" in value:
        return f"has {len(value.splitlines())} lines; it must hold the key and nothing else"
    for position, character in enumerate(value, start=1):
        if character == " ":
            return f"has a space inside, at character {position}"
        if not character.isascii():
            name = unicodedata.name(character, "unnamed")
            return f"has a character outside ASCII at character {position}: U+{ord(character):04X} {name}"
        if not character.isprintable():
            return f"has a control character inside, at character {position} (0x{ord(character):02x})"
    return None


def _oddities(value: str) -> tuple[str, ...]:
    if _VARIABLE_NAME.fullmatch(value):
        return ("looks like the name of an environment variable, not like a key",)
    if _PLACEHOLDER.fullmatch(value):
        return ("looks like a placeholder, not like a key",)
    if value.startswith(("sess-", "eyJ")):
        return ("looks like a browser session's token, not like an API key",)
    return ()


def decode(data: bytes) -> str:
    """Text of a small file: UTF-8, a byte order mark is dropped. Raises `Unreadable`."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise Unreadable("is UTF-16 text; save it as UTF-8") from None
        raise Unreadable(f"is not UTF-8 text (byte {error.start + 1})") from None


_SETTLED_NS = 2_000_000_000
"""A file changed less than this before it was read may change again within one tick of its file system's clock."""


@dataclass(frozen=True, slots=True)
class _Cached:
    state: FileState | None
    settled: bool
    """Whether an equal state means equal contents. Not after a failed reading: that may have been a lack of file handles."""

    def holds(self, state: FileState | None) -> bool:
        return self.settled and self.state == state


class DotEnv:
    """A `.env` file, read again when it changes. Nothing is put into the process environment and nothing is interpolated."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.problem: str | None = None
        """Why the file cannot be used, or None. A file that does not exist is no problem."""
        self.broken_lines: tuple[int, ...] = ()
        """Lines that are no `NAME=value` and were left out."""
        self.generation = 0
        """Grows when a reading gave something else than the one before."""
        self._data: bytes | None = None
        self._values: dict[str, str] = {}
        self._cached: _Cached | None = None

    def values(self) -> Mapping[str, str]:
        """Its variables as of now; empty where there is no readable file."""
        if self.path is None:
            return {}
        state = file_state(self.path)
        if self._cached is None or not self._cached.holds(state):
            old = (self._values, self.problem)
            self._read(self.path, state)
            self._cached = _Cached(state, _is_settled(state) and self.problem is None)
            if (self._values, self.problem) != old:
                self.generation += 1
        return self._values

    def _read(self, path: Path, state: FileState | None) -> None:
        try:
            data = read_small_file(path, MAX_DOTENV_BYTES) if state else b""
            if data == self._data:
                return  # parsing two thousand lines takes 40 ms: too long for each call while the file is not settled
            text = decode(data)
        except Unreadable as error:
            self._data, self._values, self.broken_lines, self.problem = None, {}, (), str(error)
            return
        bindings = list(parse_stream(StringIO(text)))
        self._data, self.problem = data, None
        self._values = {found.key: found.value for found in bindings if found.key and found.value is not None}
        self.broken_lines = tuple(found.original.line for found in bindings if found.error or (found.key and found.value is None))


def _is_settled(state: FileState | None) -> bool:
    """To be asked with the state from before the reading."""
    if state is None:
        return True
    return abs(time.time_ns() - max(state.mtime_ns, state.ctime_ns)) > _SETTLED_NS


@dataclass(slots=True)
class _Entry:
    secret: Secret
    file: _Cached | None = None
    inputs: tuple[str | None, int] | None = None


class Secrets:
    """Resolves `env:NAME` and `file:PATH`. One `stat` a call while nothing changes, so it may be asked before every check."""

    def __init__(self, env: Mapping[str, str], dotenv_path: Path | None, base_dir: Path) -> None:
        """`env` is the process environment (a copy, taken before `OPENAI_*` is scrubbed); relative paths start at `base_dir`."""
        self._env = env
        self._dotenv = DotEnv(dotenv_path)
        self._base_dir = base_dir
        self._entries: dict[tuple[str, bool], _Entry] = {}
        self._paths: dict[str, Path] = {}
        self._known: dict[str, None] = {}
        self.generation = 0
        """Grows whenever a secret (its value, problem or findings) turns out to have changed."""

    def resolve(self, ref: str, *, admin: bool = False) -> Secret:
        """The secret behind `ref` as it is now. Never raises: whatever is wrong is its `problem`.

        An admin key is a problem, or with `admin` any other key is one.
        """
        scheme, _, rest = ref.partition(":")
        if scheme == "env":
            return self._from_environment(ref, rest, admin)
        if scheme == "file":
            return self._from_file(ref, rest, admin)
        return Secret(redact(scheme), None, "has an unknown source; write env:NAME or file:PATH")

    def known_values(self) -> list[str]:
        """Every value resolved so far, rotated ones included: a request with the old one may still fail and be logged."""
        return list(self._known)

    def _from_environment(self, ref: str, name: str, admin: bool) -> Secret:
        from_process = self._env.get(name) or None
        from_file = self._dotenv.values().get(name)
        inputs = (from_process, self._dotenv.generation)
        entry = self._entries.get((ref, admin))
        if entry is not None and entry.inputs == inputs:
            return entry.secret
        return self._store((ref, admin), self._judge_environment(name, from_process, from_file, admin), None, inputs)

    def _judge_environment(self, name: str, from_process: str | None, from_file: str | None, admin: bool) -> Cleaned:
        if from_process is None and from_file is None:
            if self._dotenv.problem:
                return Cleaned(None, f"{name} is not set, and {self._dotenv.path} {self._dotenv.problem}")
            return Cleaned(None, f"{name} is set neither in the environment nor in {self._dotenv.path or '.env'}")
        found = clean(from_process or from_file or "", admin=admin)
        if found.problem:
            return replace(found, problem=f"{name} {found.problem}")
        if from_process and from_file and clean(from_file, admin=admin).value != found.value:
            differ = f"{name} differs between the environment, which counts, and .env: a key rotated in .env goes unseen"
            return replace(found, findings=(*found.findings, differ))
        return found

    def _from_file(self, ref: str, rest: str, admin: bool) -> Secret:
        place = (ref, admin)
        entry = self._entries.get(place)
        path = self._paths.get(ref)
        if path is None:
            try:
                path = self._paths.setdefault(ref, self._base_dir / Path(rest).expanduser())
            except RuntimeError:
                return self._store(place, Cleaned(None, f"{rest}: this user's home folder is unknown"), None, None)
        state = file_state(path)
        if entry is not None and entry.file is not None and entry.file.holds(state):
            return entry.secret
        settled = _is_settled(state)
        try:
            found = clean(decode(read_small_file(path, MAX_SECRET_BYTES)), admin=admin)
        except Unreadable as error:
            settled, found = False, Cleaned(None, str(error))
        if found.problem:
            found = replace(found, problem=f"{path} {found.problem}")
        return self._store(place, found, _Cached(state, settled), None)

    def _store(
        self, place: tuple[str, bool], found: Cleaned, file: _Cached | None, inputs: tuple[str | None, int] | None
    ) -> Secret:
        entry = self._entries.get(place)
        old = entry.secret if entry else None
        if old is not None and (old.value, old.problem, old.findings) == (found.value, found.problem, found.findings):
            secret = old
        else:
            self.generation += 1
            if found.value:
                self._known[found.value] = None
            version = 1 if old is None else old.version + (old.value != found.value)
            secret = Secret(place[0], found.value, found.problem, found.findings, found.kind, version)
        self._entries[place] = _Entry(secret, file, inputs)
        return secret


_SHORTEST_KNOWN = 8
"""A resolved value shorter than this is left to the patterns: replacing every `test` in a log helps nobody."""


def install_log_redaction(secrets: Secrets | None = None) -> None:
    """Keep secrets out of every log record of this process, whatever the logger, handler or formatter.

    Anything key-shaped goes, and every value that `secrets` has resolved whatever its shape. Tracebacks are turned into
    redacted text at once, so that no handler formats (or pickles) the exception itself. Call it again to name other secrets.
    """
    base = logging.getLogRecordFactory()
    base = getattr(base, "unredacted", base)
    formatter = logging.Formatter()

    def cover(text: str) -> str:
        for value in secrets.known_values() if secrets else ():
            if len(value) >= _SHORTEST_KNOWN and value in text:
                text = text.replace(value, "[secret]")
        return redact(text)

    def factory(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = base(*args, **kwargs)
        _cover_message(record, cover)
        if record.exc_info and record.exc_info[0] is not None:
            record.exc_text = cover(formatter.formatException(record.exc_info))
            record.exc_info = None
        if record.stack_info:
            record.stack_info = cover(record.stack_info)
        return record

    factory.unredacted = base  # type: ignore[attr-defined]
    logging.setLogRecordFactory(factory)


def _cover_message(record: logging.LogRecord, cover: Callable[[str], str]) -> None:
    # Arguments keep their places where they can: uvicorn's access log unpacks five of them.
    if isinstance(record.args, tuple):
        record.args = tuple(cover(arg) if isinstance(arg, str) else arg for arg in record.args)
    try:
        message = record.getMessage()
    except Exception:  # noqa: BLE001 - a wrong format string is the caller's bug; the record must still be safe
        message = f"{record.msg} {record.args}"
        record.msg, record.args = cover(message), ()
        return
    covered = cover(message)
    if covered != message:
        record.msg, record.args = covered, ()
