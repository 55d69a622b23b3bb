"""From a key that breaks to the message that arrives: the poller as a process, the emulator, and a web hook, all on loopback."""

import json
import sqlite3
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from monitor.domain.alerting import CALM
from monitor.store import intents
from monitor.store.intents import Intent
from tests.conftest import PATIENCE
from tests.notify.conftest import Hook
from tests.test_cli import KEY, api, break_it, monitor, started

__all__ = ["api"]

SETTINGS = """
[monitor]
database_url = "sqlite:///{folder}/monitor.db"
dead_man_url = "env:DEAD_MAN"
[monitor.metrics]
port = 0
[monitor.intervals]
auth = "10s"
[[projects]]
name = "emulated"
base_url = "{api}"
owner = "team-a"
[[projects.keys]]
label = "backend"
secret = "env:EMULATED_KEY"
[[channels]]
name = "hook"
url = "env:HOOK"
[[routes]]
channel = "hook"
group_wait = "1s"
"""


def until(found: Callable[[], object], within: float = PATIENCE) -> None:
    """Wait for what another process does."""
    deadline = time.monotonic() + within
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def ask(folder: Path, query: str) -> list[tuple[object, ...]]:
    """Something of the poller's database; a change is committed."""
    with sqlite3.connect(folder / "monitor.db", timeout=60) as connection:
        return connection.execute(query).fetchall()


def test_a_key_that_breaks_is_told_once_and_that_it_is_over_once(tmp_path: Path, api: str, hook: Hook) -> None:
    (tmp_path / "monitor.toml").write_text(SETTINGS.format(folder=tmp_path, api=api))
    secrets = {"EMULATED_KEY": KEY, "HOOK": hook.url, "DEAD_MAN": f"http://127.0.0.1:{hook.port}/alive"}
    break_it(api, "heal")
    break_it(api, "restore", secret=KEY)

    def check_now() -> None:
        """What the button does; waiting for the interval would take half a minute."""
        wish = Intent(kind="probe_now", by="Ada", at=datetime.now(UTC), project="emulated")
        intents.submit(f"sqlite:///{tmp_path}/monitor.db", wish)

    def told() -> list[str]:
        return [json.loads(body)["title"] for method, _, body in hook.asked if method == "POST"]

    with started("poll", "--config", "monitor.toml", cwd=tmp_path, ready="watching 1 projects", **secrets) as (process, _):
        until(lambda: ("GET", "/alive") in [(method, path) for method, path, _ in hook.asked])
        until(lambda: ask(tmp_path, "SELECT 1 FROM target_states WHERE health = 'healthy' AND last_ok_at IS NOT NULL"))
        break_it(api, "revoke", secret=KEY)
        check_now()
        until(told)
        assert told() == ["Critical · INC-1 · Key “backend” of emulated: key refused"]
        break_it(api, "restore", secret=KEY)
        check_now()
        until(lambda: ask(tmp_path, "SELECT 1 FROM incidents WHERE resolved_at IS NOT NULL"))
        assert len(told()) == 1
        # What is over is told when it stayed so: the database is made to say that this much time has passed.
        ask(tmp_path, f"UPDATE incidents SET resolved_at = resolved_at - {int(CALM.total_seconds() * 1000)}")
        until(lambda: len(told()) > 1)
        time.sleep(3)  # another one would come within seconds
        process.terminate()
        assert process.wait(PATIENCE) == 0
    assert told()[1:] == ["Over · INC-1 · Key “backend” of emulated: key refused"]
    assert "was told (first)" in monitor("incident", "1", cwd=tmp_path, **secrets).stdout
    assert KEY not in "".join(body.decode() for _, _, body in hook.asked)
