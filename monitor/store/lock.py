"""One poller for one SQLite file."""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from monitor.store.engine import Problem, StoreError, parse, sqlite_path


class WriterLock:
    """Held while a poller runs. A second one is refused, and told who is first; a dead poller holds nothing.

    PostgreSQL takes several writers, so there is nothing to hold.
    """

    def __init__(self, url: str) -> None:
        parsed = parse(url)
        self._path: Path | None = None
        if parsed.get_backend_name() == "sqlite":
            database = sqlite_path(parsed).resolve()  # one file may have several names
            self._path = database.with_name(database.name + ".lock")
        self._file: int | None = None

    def acquire(self) -> None:
        """Take the lock. Raises `StoreError` where another process has it, or the file cannot be made."""
        if self._path is None or self._file is not None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StoreError(Problem.FOLDER, f"{self._path} cannot be made: {error.strerror}") from None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(file, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(file)
            database = self._path.with_suffix("")
            raise StoreError(
                Problem.LOCKED,
                f"another poller (process {holder}) writes to {database}: stop it, or give this one another database",
            ) from None
        os.ftruncate(file, 0)
        os.write(file, f"{os.getpid()}\n".encode())
        self._file = file

    def release(self) -> None:
        """Let another poller start. The file stays: removing it would let two pollers lock two files of one name."""
        if self._file is not None:
            os.ftruncate(self._file, 0)
            os.close(self._file)
            self._file = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()
