"""What every test may use."""

import logging
import os
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# A busy machine is no failure: how long an example takes says nothing of what it shows.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
PATIENCE = 180.0
"""Seconds to wait for what comes soon on a quiet machine, where how soon is not what is tested."""

if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
    # A run starts some hundred programs: each would compile a thousand files, for longer than it then works. The workers of this
    # run are started after this, and keep what they compile too.
    os.environ.setdefault("PYTHONPYCACHEPREFIX", str(ROOT / ".pytest_cache" / "bytecode"))


LONG = (
    "browser/test_pages.py",
    "flows/test_several_pollers.py",
    "browser/test_many.py",
    "test_cli.py",
    "test_cli_sync.py",
    "flows/test_what_changed.py",
    "drill/test_drill.py",
    "test_launchers.py",
    "notify/test_delivery.py",
    "flows/test_reminders.py",
    "test_cli_deadlines.py",
)
"""Files with few tests that take long: a run on several processes begins with them, so that none of them is left at the end."""


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """pytest-xdist would begin with the files of the most tests; it is to keep our order."""
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In a run on several processes long files come first, then those of the most tests; within a file nothing changes."""
    if not hasattr(config, "workerinput"):
        return
    files = Counter(item.path for item in items)
    long = {ROOT / "tests" / name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: (long.get(item.path, len(long)), -files[item.path], str(item.path)))


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the settings of the machine it runs on."""
    for name in list(os.environ):
        if name.startswith(("OPENAI_", "MONITOR_")):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _own_log_records() -> Iterator[None]:
    """What a test makes of log records ends with it."""
    factory = logging.getLogRecordFactory()
    yield
    logging.setLogRecordFactory(factory)


_connect = socket.socket.connect


def _loopback_only(self: socket.socket, address: object) -> None:
    """Connect, unless the address is outside this machine."""
    if self.family in (socket.AF_INET, socket.AF_INET6) and isinstance(address, tuple):
        host = str(address[0])
        if not (host.startswith("127.") or host in ("::1", "localhost")):
            raise AssertionError(f"a test tried to leave the machine: {host}")
    _connect(self, address)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests talk to loopback only; one that does not fails."""
    monkeypatch.setattr(socket.socket, "connect", _loopback_only)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of test data from outside, where there is one."""
    if not SHARED.is_dir():
        pytest.skip("the outside test data is not on this machine")
    return SHARED
