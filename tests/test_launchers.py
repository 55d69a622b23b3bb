"""Every way to start the dashboard: it answers, its doors are shut, the poller runs beside it and ends with it."""

import contextlib
import http.client
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from monitor.store import queries
from monitor.store.engine import StoreError, open_engine
from monitor.store.lock import WriterLock
from tests.browser.conftest import free_port
from tests.conftest import PATIENCE, ROOT
from tests.test_cli import KEY, api, environment

__all__ = ["api"]

LAUNCHERS = {
    "monitor up": ["-m", "monitor", "up", "--port", "PORT"],
    "python app.py": [str(ROOT / "app.py"), "--port", "PORT"],
    "uvicorn app:app": ["-m", "uvicorn", "--app-dir", str(ROOT), "app:app", "--port", "PORT", "--timeout-graceful-shutdown", "2"],
    "streamlit run app.py": ["-m", "streamlit", "run", str(ROOT / "app.py"), "--server.port", "PORT"],
}


@contextlib.contextmanager
def launched(command: list[str], folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The dashboard started in a folder that has no Streamlit settings of its own, from when it answers."""
    port = free_port()
    arguments = [argument.replace("PORT", str(port)) for argument in command]
    with (folder / "output.txt").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments], cwd=folder, stdout=output, stderr=subprocess.STDOUT, env=environment(EMULATED_KEY=KEY)
        )
        try:
            deadline = time.monotonic() + PATIENCE
            while True:
                with contextlib.suppress(OSError, http.client.HTTPException):
                    if get(port, "/_stcore/health")[1] == b"ok":
                        break
                assert process.poll() is None, (folder / "output.txt").read_text()
                assert time.monotonic() < deadline, (folder / "output.txt").read_text()
                time.sleep(0.1)
            yield process, port
        finally:
            process.kill()
            process.wait()


def get(port: int, path: str, **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
    """A GET, with its body read."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_it_answers_with_its_doors_shut_and_leaves_nothing_behind(launcher: str, tmp_path: Path, api: str) -> None:
    url = f"sqlite:///{tmp_path}/data/monitor.db"
    (tmp_path / "monitor.toml").write_text(
        f'[monitor]\ndatabase_url = "{url}"\n[monitor.metrics]\nport = 0\n[[projects]]\nname = "emulated"\nbase_url = "{api}"\n'
        '[[projects.keys]]\nlabel = "backend"\nsecret = "env:EMULATED_KEY"\n'
    )
    with launched(LAUNCHERS[launcher], tmp_path) as (process, port):
        page, _ = get(port, "/project?project=emulated")
        assert (page.status, page.headers["x-frame-options"], page.headers["x-content-type-options"]) == (200, "DENY", "nosniff")
        upgrade = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        }
        evil = {"Host": "evil.example", "Origin": "http://evil.example"}
        assert get(port, "/_stcore/stream", **upgrade, **evil)[0].status == 403
        deadline = time.monotonic() + PATIENCE
        while not _seen(url):
            assert time.monotonic() < deadline, (tmp_path / "output.txt").read_text()
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE)
    deadline = time.monotonic() + PATIENCE
    while True:  # the lock is free once the poller has ended
        with contextlib.suppress(StoreError), WriterLock(url):
            break
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert "Traceback" not in (tmp_path / "output.txt").read_text()
    assert KEY not in (tmp_path / "output.txt").read_text()


def test_a_dashboard_that_is_killed_leaves_no_poller(tmp_path: Path, api: str) -> None:
    url = f"sqlite:///{tmp_path}/monitor.db"
    (tmp_path / "monitor.toml").write_text(
        f'[monitor]\ndatabase_url = "{url}"\n[monitor.metrics]\nport = 0\n[[projects]]\nname = "emulated"\nbase_url = "{api}"\n'
        '[[projects.keys]]\nsecret = "env:EMULATED_KEY"\n'
    )
    with launched(LAUNCHERS["monitor up"], tmp_path) as (process, _):
        deadline = time.monotonic() + PATIENCE
        while not _seen(url):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.kill()
        process.wait()
        deadline = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(StoreError), WriterLock(url):
                break
            assert time.monotonic() < deadline, "the poller outlived its dashboard"
            time.sleep(0.1)


def _seen(url: str) -> bool:
    """Whether the poller has recorded an answer."""
    try:
        engine = open_engine(url, readonly=True)
    except StoreError:
        return False
    try:
        return any(project.last_at for project in queries.fleet(engine, datetime.now(UTC)))
    except StoreError:
        return False
    finally:
        engine.dispose()
