"""The overview over 200 projects with 30 days of history: server time per rerun, and Chromium's time over an empty page."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from monitor.domain.inventory import ApiKey, Check, Inventory, KeyKind, ProbeKind, Project, Target
from monitor.domain.observation import Observation, Verdict
from monitor.domain.taxonomy import FailureKind
from monitor.store.engine import open_engine
from monitor.store.migrate import migrate
from monitor.store.queries import Heartbeat
from monitor.store.record import Writer
from tests.browser.conftest import READY, chromium, free_port
from tests.conftest import ROOT

PROJECTS = 200
DAYS = 30
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


def fill(url: str, now: datetime) -> None:
    """A month of 200 projects through the real write path: hourly, the last day every ten minutes; a tenth of them burning."""
    projects, checks = [], []
    for number in range(PROJECTS):
        name = f"project-{number:03}"
        key = ApiKey(label="backend", source=f"env:KEY_{number}", kind=KeyKind.SERVICE_ACCOUNT)
        projects.append(
            Project(name=name, project_id=f"proj_{number}", owner=f"team-{number % 12}", models=("gpt-4o",), keys=(key,))
        )
        checks += [
            Check(Target(ProbeKind.AUTH, name, "backend"), timedelta(minutes=1)),
            Check(Target(ProbeKind.INFERENCE, name, "backend", "gpt-4o"), timedelta(minutes=15)),
        ]
    engine = open_engine(url)
    migrate(engine)
    writer = Writer(engine)
    writer.sync_inventory(Inventory(tuple(projects), tuple(checks)), now)
    at = now - timedelta(days=DAYS)
    while at < now:
        ages = now - at
        burning = (at.hour // 3 + at.day) % 10
        writer.record(
            [
                Observation(
                    target=check.target,
                    at=at + timedelta(milliseconds=17 * place),
                    verdict=Verdict.FAILED if place // 2 % 10 == burning and check.target.model else Verdict.OK,
                    failure=FailureKind.RATE_TOKENS if place // 2 % 10 == burning and check.target.model else None,
                    status=429 if place // 2 % 10 == burning and check.target.model else 200,
                    latency_ms=120.0 + place % 70,
                )
                for place, check in enumerate(checks)
            ],
            at,
        )
        at += timedelta(minutes=10) if ages <= timedelta(days=1) else timedelta(hours=1)
    writer.beat(Heartbeat(at=now, started_at=now, pid=1, host="bench", version="bench", checks=1, lag_p99_ms=3.0, in_flight=0))
    engine.dispose()


@contextmanager
def served(script: Path, url: str) -> Iterator[str]:
    """A dashboard process as the launcher makes it, over the database at `url`."""
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
        yield f"http://127.0.0.1:{port}"
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


def figures() -> Iterator[dict[str, object]]:
    """Server time of a rerun in ms, and seconds in Chromium over an empty page."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/bench.db"
        now = datetime.now(UTC).replace(microsecond=0)
        fill(url, now)
        empty = Path(folder) / "empty.py"
        empty.write_text("import streamlit as st\nst.write('empty')\n")
        yield from _server_time(url)
        path = chromium()
        if path is None:
            yield {"figure": "overview_over_empty_page_s", "skipped": "no Chromium"}
            return
        with sync_playwright() as playwright, served(empty, url) as nothing, served(ROOT / "monitor/ui/main.py", url) as full:
            browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
            rounds = [(seconds_to_last_element(browser, nothing), seconds_to_last_element(browser, full)) for _ in range(9)][2:]
            browser.close()
        bare, overview = (statistics.median(column) for column in zip(*rounds, strict=True))
        yield {"figure": "overview_over_empty_page_s", "value": round(overview - bare, 3), "empty_s": round(bare, 3), "goal": 0.6}


def _server_time(url: str) -> Iterator[dict[str, object]]:
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
    yield {
        "figure": "overview_rerun_ms",
        "value": round(float(done.stdout.strip().splitlines()[-1]), 1),
        "projects": PROJECTS,
        "days": DAYS,
    }
