"""Opening the database, and saying in plain words why it cannot be used."""

import logging
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine
from sqlalchemy.engine import URL, make_url

from monitor.store.errors import Problem, StoreError

__all__ = [
    "Connection",
    "Engine",
    "Problem",
    "StoreError",
    "breathe",
    "explain",
    "open_engine",
    "parse",
    "reading",
    "shown",
    "sqlite_path",
    "writing",
]

log = logging.getLogger(__name__)

LOCK_WAIT_MS = 5_000
"""How long a statement waits for another process that writes."""


def open_engine(url: str, *, readonly: bool = False) -> Engine:
    """The database at `url`. A writer makes a missing SQLite file and its folder; a reader never does.

    Raises `StoreError` when the file or its folder cannot be used. Migrating is a separate step.
    """
    parsed = parse(url)
    if parsed.get_backend_name() != "sqlite":
        return _open_server(parsed, readonly=readonly)
    path = sqlite_path(parsed)
    _check_file(path, readonly=readonly)
    engine = sa.create_engine(parsed, creator=lambda: _connect(path, readonly=readonly))

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A writer takes the write lock at once: one that reads first and writes later fails with "database is locked"
        # whenever another wrote in between, however long it is told to wait.
        connection.exec_driver_sql("BEGIN" if readonly else "BEGIN IMMEDIATE")

    with explained(engine), engine.connect() as connection:
        connection.exec_driver_sql("SELECT count(*) FROM sqlite_master")
    if (kind := network_file_system(path)) and not readonly:
        log.warning("%s lies on a network file system (%s): SQLite's locks are not safe there, keep it on a local disk", path, kind)
    return engine


def parse(url: str) -> URL:
    """The parsed URL. Raises `StoreError` for one that names no database we can use."""
    try:
        parsed = make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        raise StoreError(
            Problem.URL, "the database URL cannot be read; it looks like sqlite:///data/monitor.db or postgresql+psycopg://…"
        ) from None
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise StoreError(Problem.URL, f"the database must be SQLite or PostgreSQL, not {parsed.get_backend_name()}")
    if parsed.drivername not in _DRIVERS:
        raise StoreError(Problem.URL, f"the database URL must begin with sqlite: or postgresql+psycopg:, not {parsed.drivername}:")
    if parsed.get_backend_name() == "postgresql" and url.count("@") > 1:
        # Read on, the rest of the password would pass for the host and be shown as such.
        raise StoreError(Problem.URL, "the database URL holds more than one @: inside a password or a name it is written %40")
    if parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise StoreError(Problem.URL, "the database must be a file: poller and pages are two processes, and memory is not shared")
    return parsed


_DRIVERS = ("sqlite", "sqlite+pysqlite", "postgresql", "postgresql+psycopg")


def sqlite_path(url: URL | str) -> Path:
    """The file of an SQLite URL."""
    return Path(parse(url).database or "") if isinstance(url, str) else Path(url.database or "")


def shown(url: URL) -> str:
    """The database as people know it: the file, or the server's URL without any password."""
    if url.get_backend_name() == "sqlite":
        return url.database or ""
    return url.difference_update_query([name for name in url.query if "password" in name]).render_as_string(hide_password=True)


def _open_server(url: URL, *, readonly: bool) -> Engine:
    return sa.create_engine(
        url,
        pool_pre_ping=True,
        # A line that is cut says nothing: without these, a statement would wait for its answer for a quarter of an hour.
        connect_args={
            "connect_timeout": 5,
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 2,
            "tcp_user_timeout": 8_000,
        },
        # A page that asks twice must see one moment of the store, as SQLite shows it.
        execution_options={"postgresql_readonly": True, "isolation_level": "REPEATABLE READ"} if readonly else {},
    )


def _check_file(path: Path, *, readonly: bool) -> None:
    """Say what SQLite would only call "unable to open database file"."""
    try:
        if path.is_dir():
            raise StoreError(Problem.NOT_A_DATABASE, f"{path} is a folder, not a database")
        if not path.exists():
            if readonly:
                raise StoreError(Problem.MISSING, f"there is no database at {path}: start the poller, it makes one")
            path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(Problem.FOLDER, f"the folder of {path} cannot be used: {error.strerror}") from None


def _connect(path: Path, *, readonly: bool) -> sqlite3.Connection:
    uri = path.absolute().as_uri() + ("?mode=ro" if readonly else "?mode=rwc")
    connection = sqlite3.connect(uri, uri=True, timeout=LOCK_WAIT_MS / 1000, check_same_thread=False)
    try:
        connection.isolation_level = None  # the driver must not begin transactions of its own
        pragmas = [f"busy_timeout={LOCK_WAIT_MS}", "foreign_keys=on", "cache_size=-32768"]
        if not readonly:
            pragmas.append("temp_store=memory")  # readers sort a quarter faster without: rows then share one piece of memory
            # With WAL, NORMAL loses nothing when the process is killed; at a power cut perhaps the last second, never the file.
            _use_wal(connection)
            pragmas += ["synchronous=normal", "journal_size_limit=67108864", "wal_autocheckpoint=4000"]
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _use_wal(connection: sqlite3.Connection) -> None:
    """Turn the file into a WAL database. SQLite does not wait here for another process that is at the same, so we do."""
    until = time.monotonic() + LOCK_WAIT_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode=wal")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname != "SQLITE_BUSY" or time.monotonic() >= until:
                raise
        time.sleep(0.01)


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A transaction that sees one moment of the store. Raises `StoreError`."""
    with explained(engine), engine.connect() as connection:
        yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that is committed as a whole or not at all. Raises `StoreError`."""
    with explained(engine), engine.begin() as connection:
        yield connection


def breathe(began: float) -> None:
    """Leave the lock free for as long as it was held since `began`: whoever waits for it looks again after a few milliseconds."""
    time.sleep(min(0.1, time.monotonic() - began))


@contextmanager
def explained(engine: Engine) -> Iterator[None]:
    """Turn what the driver raises into a `StoreError`."""
    try:
        yield
    except (sa.exc.DBAPIError, sqlite3.Error) as error:
        raise explain(engine.url, error) from None


def explain(url: URL, error: Exception) -> StoreError:
    """What an error of the driver means, and what to do."""
    original: Any = getattr(error, "orig", None) or error
    name = getattr(original, "sqlite_errorname", "") or ""
    where = shown(url)
    first_line = str(original).partition("\n")[0]
    if "no such table" in first_line or "no such column" in first_line or "UndefinedTable" in type(original).__name__:
        return StoreError(Problem.OLDER, f"{where} has no tables of this version yet: run `python -m monitor db upgrade`")
    for prefix, (problem, text) in _WORDS.items():
        if name.startswith(prefix):
            return StoreError(problem, text.format(where=where))
    state = getattr(original, "sqlstate", None) or ""
    # A server that refuses the connection says why in words alone; later it gives a code.
    for sign, (problem, text) in (_STATES if state else _REFUSALS).items():
        if state.startswith(sign) if state else sign in str(original):
            return StoreError(problem, text.format(where=where))
    return StoreError(Problem.OTHER, f"{where}: {first_line}")


_WORDS = {
    "SQLITE_FULL": (Problem.FULL, "{where} cannot grow: the disk is full. Free some space; nothing that was stored is lost"),
    "SQLITE_IOERR_WRITE": (Problem.FULL, "{where} cannot be written: the disk is full, over quota, or failing"),
    "SQLITE_IOERR": (Problem.DAMAGED, "{where} cannot be read or written: the disk or its file system fails"),
    "SQLITE_READONLY": (Problem.READ_ONLY, "{where} is read-only: the poller needs to write the file and its folder"),
    "SQLITE_PERM": (Problem.READ_ONLY, "{where} may not be opened by this user"),
    "SQLITE_BUSY": (Problem.LOCKED, "{where} is locked: another process has been writing for longer than 5 s"),
    "SQLITE_LOCKED": (Problem.LOCKED, "{where} is locked by this process"),
    "SQLITE_PROTOCOL": (Problem.LOCKED, "{where} cannot be locked: is it on a network file system?"),
    "SQLITE_NOTADB": (Problem.NOT_A_DATABASE, "{where} is not a database: another file has that name, or it was overwritten"),
    "SQLITE_CORRUPT": (Problem.DAMAGED, "{where} is damaged or cut short: restore the newest backup, or move it away"),
    "SQLITE_CANTOPEN": (Problem.FOLDER, "{where} cannot be opened: does its folder exist, and may this user write there?"),
}

_DOWN = (Problem.REFUSED, "{where} takes no connections: the server is down, or is just starting")
_GONE = (Problem.UNREACHABLE, "{where} cannot be reached: the server went down, or a firewall or a cut line is between")
_SLOW = (Problem.LOCKED, "{where} did not answer in time: a statement waited too long for another one, or was cancelled")
_CROWDED = (Problem.LOCKED, "{where} takes no more connections: raise max_connections, or close what else is connected")
_FORBIDDEN = (Problem.FORBIDDEN, "{where} refuses this user: the poller needs to own its tables, pages need to read them")
_UNKNOWN_USER = (Problem.FORBIDDEN, "{where} refuses the user or the password; the password stands in the URL or in PGPASSWORD")
_ABSENT = (Problem.MISSING, "{where}: the server has no such database; make it with `createdb`")
_REFUSALS = {
    "Connection refused": _DOWN,
    "No such file or directory": _DOWN,
    "the database system is": _DOWN,
    "connection timeout": _GONE,
    "timeout expired": _GONE,
    "No route to host": _GONE,
    "Network is unreachable": _GONE,
    "server closed the connection": _GONE,
    "connection is lost": _GONE,
    "connection is closed": _GONE,
    "failed to resolve host": (Problem.UNREACHABLE, "{where}: there is no host of that name"),
    "authentication failed": _UNKNOWN_USER,
    "no password supplied": _UNKNOWN_USER,
    "no pg_hba.conf entry": _UNKNOWN_USER,
    'role "': _UNKNOWN_USER,
    'database "': _ABSENT,
    "connection slots": _CROWDED,
    "too many": _CROWDED,
}
"""By what the driver says where there is no connection."""
_STATES = {
    "57P03": _DOWN,
    "57P": _GONE,
    "08": _GONE,
    "28": _UNKNOWN_USER,
    "3D": _ABSENT,
    "53300": _CROWDED,
    "53100": (Problem.FULL, "{where} cannot grow: the server's disk is full. Free some space; nothing that was stored is lost"),
    "53": (Problem.FULL, "{where}: the server has run out of memory or disk"),
    "25006": (Problem.READ_ONLY, "{where} is read-only: is it a replica? The poller needs the primary"),
    "42501": _FORBIDDEN,
    "57014": _SLOW,
    "55P03": _SLOW,
    "40": (Problem.LOCKED, "{where}: two writers waited for each other, and one had to give way; it is tried again"),
    "XX001": (Problem.DAMAGED, "{where} is damaged: restore the newest backup"),
}
"""By the beginning of an SQLSTATE; the longer ones first."""


_NETWORK = ("nfs", "cifs", "smb", "9p", "afs", "ceph", "glusterfs", "lustre", "sshfs", "s3fs", "rclone", "davfs")


def network_file_system(path: Path, mounts: Path = Path("/proc/mounts")) -> str | None:
    """The type of the network file system that holds `path`, or None where it is local or cannot be told."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
        folder = path.absolute().parent.resolve()
    except OSError:
        return None
    best, kind = "", ""
    for line in lines:
        fields = line.split()
        if len(fields) < 3:
            continue
        point = fields[1].replace("\\040", " ")
        # A later mount on the same point hides the earlier one.
        if len(point) >= len(best) and (folder == Path(point) or Path(point) in folder.parents):
            best, kind = point, fields[2]
    return kind if kind.removeprefix("fuse.").startswith(_NETWORK) else None
