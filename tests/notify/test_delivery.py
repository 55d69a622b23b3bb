"""A real poller tells of a real failure: from the first refused check to the message that arrives."""

import time
from collections.abc import Callable
from pathlib import Path

from tests.notify.conftest import Hook
from tests.test_cli import KEY, api, break_it, monitor, started

__all__ = ["api"]

CONFIGURATION = """
[monitor]
dead_man_url = "env:DEAD_MAN"
[monitor.metrics]
port = 0
[monitor.intervals]
auth = "10s"
[[projects]]
name = "emulated"
project_id = "proj_emulated"
base_url = "{api}"
[[projects.keys]]
label = "backend"
secret = "env:EMULATED_KEY"
[[channels]]
name = "on-call"
url = "env:HOOK"
[[routes]]
channel = "on-call"
group_wait = "0s"
"""
PATIENCE = 60.0
"""Seconds: two confirmations and the wait for what belongs to it take some twenty-five."""


def until(true: Callable[[], object]) -> bool:
    """Wait for something that another process does."""
    end = time.monotonic() + PATIENCE
    while not true() and time.monotonic() < end:
        time.sleep(0.1)
    return bool(true())


def test_a_refused_key_is_told_once_and_the_dead_man_is_kept_alive(tmp_path: Path, api: str, hook: Hook) -> None:
    (tmp_path / "monitor.toml").write_text(CONFIGURATION.format(api=api))
    (tmp_path / ".env").write_text(f"EMULATED_KEY={KEY}\nHOOK={hook.url}\nDEAD_MAN=http://127.0.0.1:{hook.port}/alive\n")
    break_it(api, "heal")
    with started("poll", cwd=tmp_path, ready="watching"):
        assert until(lambda: [path for method, path, _ in hook.asked if (method, path) == ("GET", "/alive")])
        break_it(api, "revoke", secret=KEY)
        try:
            assert until(lambda: [path for method, path, _ in hook.asked if method == "POST"])
            time.sleep(3)  # a second message would come within seconds of the first
        finally:
            break_it(api, "restore", secret=KEY)
    messages = [body.decode() for method, _, body in hook.asked if method == "POST"]
    assert len(messages) == 1
    assert "emulated" in messages[0]
    assert KEY not in messages[0]
    assert "INC-1" in monitor("incident", "1", cwd=tmp_path).stdout
