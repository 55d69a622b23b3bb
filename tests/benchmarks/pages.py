"""Pages over 200 projects with 30 days of history, and over 2,000 with 13 months and an organization's record: on the server, and
in Chromium. The large stores are kept in `data/bench`.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from monitor.store.engine import open_engine
from tests.benchmarks import fleets, organizations
from tests.benchmarks.history import NEW, PROJECTS, YEAR
from tests.browser.conftest import READY, chromium, free_port
from tests.conftest import ROOT

MOVES = {
    "project": "Project",
    "incidents": "Incidents",
    "changes": "Changes",
    "keys": "Keys",
    "models": "Models",
    "hygiene": "Hygiene",
    "deadlines": "Deadlines",
    "rate_limits": "Rate limits",
    "evidence": "Evidence",
    "monitor": "Monitor",
}
SERVE = """
import contextlib, gc, sys
import streamlit as st
import uvicorn

@contextlib.asynccontextmanager
async def warm(app):
    import pandas, plotly.graph_objects, sqlalchemy
    gc.collect(); gc.freeze()
    yield

uvicorn.run(st.App(sys.argv[1], lifespan=warm), host="127.0.0.1", port=int(sys.argv[2]), log_level="error", ws="websockets-sansio")
"""


@contextmanager
def served(script: Path, url: str) -> Iterator[tuple[str, int]]:
    """A dashboard process as the launcher makes it, over the database at `url`: its address and its number."""
    port = free_port()
    environment = {**os.environ, "MONITOR_DATABASE_URL": url}
    process = subprocess.Popen([sys.executable, "-c", SERVE, str(script), str(port)], cwd=ROOT, env=environment)
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with suppress(OSError):
                if urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=2).read() == b"ok":
                    break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}", process.pid
    finally:
        process.terminate()
        process.wait(20)


def seconds_to_last_element(browser: Browser, url: str) -> float:
    """From navigation with an empty cache until Streamlit says that nothing is running or loading any more."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    began = time.perf_counter()
    page.goto(url, wait_until="commit")
    page.wait_for_function(READY, timeout=60_000, polling=20)
    took = time.perf_counter() - began
    context.close()
    return took


def move(page: Page, name: str, title: str) -> float:
    """Seconds from a click in the menu until the page is drawn."""
    began = time.perf_counter()
    page.get_by_test_id("stSidebarNav").get_by_role("link", name=title, exact=True).click()
    page.wait_for_url(f"**/{name}*", wait_until="commit")
    page.wait_for_timeout(20)  # until the run has begun: the page before it was ready too
    page.wait_for_function(READY, timeout=60_000, polling=20)
    return time.perf_counter() - began


def seconds_to_move(browser: Browser, *urls: str) -> list[dict[str, float]]:
    """From a click in the menu until the page is drawn, after each was looked at once; of several dashboards in turns."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    pages = [context.new_page() for _ in urls]
    for page, url in zip(pages, urls, strict=True):
        page.goto(url)
        page.wait_for_function(READY, timeout=60_000)
    taken: list[dict[str, list[float]]] = [{name: [] for name in MOVES} for _ in urls]
    for _ in range(4):
        for name, title in MOVES.items():
            for page, times in zip(pages, taken, strict=True):
                page.bring_to_front()
                times[name].append(move(page, name, title))
    context.close()
    return [{name: round(statistics.median(seconds[1:]), 3) for name, seconds in times.items()} for times in taken]


def figures() -> Iterator[dict[str, object]]:
    """Server time of a rerun in ms, and seconds in Chromium: over an empty page, and from page to page."""
    now = datetime.now(UTC).replace(microsecond=0)
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/bench.db"
        fleets.fill(url, now, 200, 30)
        for figure in measured(url, Path(folder)):
            yield {**figure, "projects": 200, "days": 30, "note": fleets.NOTE}
        url = organizations.kept(now, PROJECTS, YEAR)
        for figure in measured(url, Path(folder)):
            yield {**figure, "projects": PROJECTS, "days": YEAR, "note": fleets.NOTE}
        yield from compared(organizations.kept(now, PROJECTS, NEW), url)


def compared(new: str, old: str) -> Iterator[dict[str, object]]:
    """How many times as long all pages together take over thirteen months as over a store with each check's first two answers."""
    path = chromium()
    if path is None:
        yield {"figure": "pages_many_checks_over_few", "skipped": "no Chromium"}
        return
    script = ROOT / "monitor/ui/main.py"
    with sync_playwright() as playwright, served(script, new) as few, served(script, old) as many:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
        rounds = [[seconds_to_last_element(browser, address) for address, _ in (few, many)] for _ in range(9)][2:]
        first = [statistics.median(column) for column in zip(*rounds, strict=True)]
        moves = [sum(pages.values()) for pages in seconds_to_move(browser, few[0], many[0])]
        browser.close()
    counts = {"few": _checks(new), "many": _checks(old), "goal": 1.2}
    yield {"figure": "first_screen_many_checks_over_few", "value": round(first[1] / first[0], 2), **counts}
    yield {"figure": "moves_many_checks_over_few", "value": round(moves[1] / moves[0], 2), **counts}


def _checks(url: str) -> int:
    engine = open_engine(url, readonly=True)
    found = fleets.checks(engine)
    engine.dispose()
    return found


def measured(url: str, folder: Path) -> Iterator[dict[str, object]]:
    """The figures of one store."""
    empty = folder / "empty.py"
    empty.write_text("import streamlit as st\nst.write('empty')\n")
    yield {"figure": "overview_rerun_ms", "value": _server_time(url)}
    path = chromium()
    if path is None:
        yield {"figure": "overview_over_empty_page_s", "skipped": "no Chromium"}
        return
    with sync_playwright() as playwright, served(empty, url) as nothing, served(ROOT / "monitor/ui/main.py", url) as full:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
        rounds = [(seconds_to_last_element(browser, nothing[0]), seconds_to_last_element(browser, full[0])) for _ in range(9)][2:]
        bare, overview = (statistics.median(column) for column in zip(*rounds, strict=True))
        yield {"figure": "overview_over_empty_page_s", "value": round(overview - bare, 3), "empty_s": round(bare, 3), "goal": 0.8}
        for name, seconds in seconds_to_move(browser, full[0])[0].items():
            yield {"figure": f"move_to_{name}_s", "value": seconds, "goal": 0.5}
        browser.close()


def _server_time(url: str) -> float:
    code = (
        "import time, statistics, sys\n"
        "from streamlit.testing.v1 import AppTest\n"
        f"at = AppTest.from_file({str(ROOT / 'monitor/ui/main.py')!r}, default_timeout=60).run()\n"
        "assert not at.exception\n"
        "times = []\n"
        "for _ in range(10):\n"
        "    began = time.perf_counter(); at.run(); times.append(time.perf_counter() - began)\n"
        "print(statistics.median(times) * 1000)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "MONITOR_DATABASE_URL": url},
        capture_output=True,
        text=True,
        check=True,
    )
    return round(float(done.stdout.strip().splitlines()[-1]), 1)
