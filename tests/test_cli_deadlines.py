"""`python -m monitor deadlines`."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from monitor.domain.organization import Item, ItemKind
from monitor.store.engine import open_engine
from monitor.store.organization import OrganizationWriter
from tests.test_cli import api, house, monitor

__all__ = ["api", "house"]


def test_deadlines_are_lines_for_scripts_and_a_table_for_people(house: Path) -> None:
    assert monitor("deadlines", cwd=house).returncode == 2  # no database yet
    assert monitor("db", "upgrade", cwd=house).returncode == 0
    empty = monitor("deadlines", cwd=house)
    assert "No deadline is known within 90d." in empty.stdout
    assert "Not known: Key expiry: no admin key is configured." in empty.stderr
    engine, now = open_engine(f"sqlite:///{house}/data/monitor.db"), datetime.now(UTC)
    acme = OrganizationWriter(engine, "acme", now)
    for name, days in (("one", 6), ("two", 60)):
        facts = {"name": f"[red]{name}", "expires_at": int((now + timedelta(days=days, hours=1)).timestamp())}
        key = Item(ItemKind.API_KEY, f"key_{name}", f"proj_{name}", facts)
        acme.save(ItemKind.API_KEY, f"proj_{name}", now, [key], lambda *_: [])
    acme.synced(now)
    engine.dispose()
    (line,) = monitor("deadlines", "--json", "--within", "30d", cwd=house).stdout.splitlines()
    said = json.loads(line)
    assert (said["kind"], said["severity"], said["projects"]) == ("key_expiry", "warning", ["proj_one"])
    assert said["days_left"] in (6, 7)
    assert said["next_step"]
    assert "[red]two" in monitor("deadlines", cwd=house).stdout
    assert monitor("deadlines", "--json", "--project", "emulated", cwd=house).stdout == ""
    for words in (["--within", "soon"], ["--project", "nobody"]):
        done = monitor("deadlines", *words, cwd=house)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
