"""Two thousand projects: going from page to page takes hardly longer than with twenty, however fast the machine is."""

import statistics
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from monitor.store.engine import open_engine
from monitor.store.migrate import migrate
from monitor.store.record import Writer
from tests.benchmarks import fleets, organizations
from tests.benchmarks.pages import move, served
from tests.browser.conftest import READY
from tests.conftest import PATIENCE, ROOT
from tests.meanwhile import meanwhile

pytestmark = pytest.mark.browser

FEW, MANY = 20, 2_000
OPEN = 3_000
"""Incidents that are open with many projects."""
MOVES = {"incidents": "Incidents", "keys": "Keys", "models": "Models", "hygiene": "Hygiene", "deadlines": "Deadlines"}
ROUNDS = 4


def store(path: Path, projects: int, incidents: int) -> str:
    """So many projects, each asked two things, and so many open incidents; the poller has just been here."""
    now, url = datetime.now(UTC).replace(microsecond=0), f"sqlite:///{path}"
    engine = open_engine(url)
    migrate(engine)
    writer, known = Writer(engine), fleets.fleet(projects)
    checks = [check for check in known.checks if check.target.model in (None, fleets.MODELS[0])]
    slow = tuple(replace(check, interval=timedelta(hours=1)) for check in checks)  # so that nothing is late while people look
    writer.sync_inventory(replace(known, checks=slow), now - timedelta(hours=1))
    for minutes in (2, 1):
        writer.record(fleets.answers(slow, now - timedelta(minutes=minutes), ill=3), now)
    organizations.storm(engine, now, incidents, projects)
    fleets.beat(writer, now)
    engine.dispose()
    return url


def beat(*urls: str) -> None:
    """A poller's heart: however slow the machine is, no page says that the poller is silent."""
    for url in urls:
        engine = open_engine(url)
        fleets.beat(Writer(engine), datetime.now(UTC).replace(microsecond=0))
        engine.dispose()


@pytest.fixture(scope="module")
def both(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Page, Page]]:
    """A page over few projects, and one over many."""
    folder, script = tmp_path_factory.mktemp("many"), ROOT / "monitor/ui/main.py"
    urls = store(folder / "few.db", FEW, 10), store(folder / "many.db", MANY, OPEN)
    with served(script, urls[0]) as few, served(script, urls[1]) as many, meanwhile(lambda _: beat(*urls), every=5):
        pages = []
        for address, _ in (few, many):
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.set_default_timeout(PATIENCE * 1000)
            page.goto(address)
            page.wait_for_function(READY, timeout=PATIENCE * 1000)
            pages.append(page)
        yield pages[0], pages[1]
        for page in pages:
            page.close()


def test_moving_on_takes_hardly_longer_with_many_projects(both: tuple[Page, Page]) -> None:
    taken: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in MOVES}
    for _ in range(ROUNDS):
        for name, title in MOVES.items():
            for times, page in zip(taken[name], both, strict=True):
                times.append(move(page, name, title))
    few, many = (sum(statistics.median(times[which][1:]) for times in taken.values()) for which in (0, 1))
    assert many < 2.5 * few, f"{many:.2f} s instead of {few:.2f} s: {taken}"


def test_a_storm_is_counted_and_shown_page_by_page(both: tuple[Page, Page]) -> None:
    page = both[1]
    move(page, "incidents", "Incidents")
    text = page.inner_text('[data-testid="stMainBlockContainer"]')
    assert f"{OPEN:,} incidents are open, hitting {MANY:,} projects." in text
    assert f"1 to 50 of {OPEN:,} incidents" in text
    assert page.locator("table tbody tr").count() <= 60
