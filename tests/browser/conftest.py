"""A running `up --demo` and a real Chromium."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.conftest import PATIENCE, ROOT

SCREENSHOTS = Path(__file__).parent / "screenshots"

READY = """() => {
  const app = document.querySelector('[data-testid="stApp"]');
  return app && app.dataset.testScriptState === 'notRunning' && app.dataset.testConnectionState === 'CONNECTED'
      && !document.querySelector('[data-testid="stSkeleton"]') && document.querySelector('[data-testid="stMainBlockContainer"]')
}"""
"""Without it a screenshot shows grey skeletons."""


def free_port() -> int:
    """A loopback port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def chromium() -> str | None:
    """The browser to drive: the one named, or the first that is installed."""
    names = (os.environ.get("CHROMIUM"), "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next((path for name in names if name and (path := shutil.which(name))), None)


@contextlib.contextmanager
def running(*arguments: str, folder: Path, port: int, seconds: float = 2 * PATIENCE) -> Iterator[str]:
    """`python -m monitor …` in a folder of its own, until the dashboard answers; stopped by one Ctrl-C at the end."""
    for name in ("app.py", "monitor", "pages", ".streamlit"):
        if not (folder / name).exists():
            (folder / name).symlink_to(ROOT / name)
    url = f"http://127.0.0.1:{port}"
    with (folder / "output.txt").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "monitor", *arguments, "--port", str(port)], cwd=folder, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            deadline = time.monotonic() + seconds
            while True:
                with contextlib.suppress(OSError):
                    if urllib.request.urlopen(url + "/_stcore/health", timeout=10).read() == b"ok":
                        break
                assert process.poll() is None, f"it ended with {process.returncode}:\n{(folder / 'output.txt').read_text()}"
                assert time.monotonic() < deadline, f"no answer in {seconds} s:\n{(folder / 'output.txt').read_text()}"
                time.sleep(0.1)
            yield url
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise AssertionError("one Ctrl-C did not stop it") from None


@pytest.fixture(scope="package")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a dashboard over the sample organization."""
    with running("up", "--demo", folder=tmp_path_factory.mktemp("demo"), port=free_port()) as url:
        yield url


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Headless Chromium."""
    path = chromium()
    if path is None:
        pytest.skip("no Chromium on this machine: see tests/browser/install.sh")
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update"]
        started = playwright.chromium.launch(
            executable_path=path, args=[*flags, "--disable-sync", "--no-first-run", "--disable-quic"]
        )
        yield started
        started.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A fresh profile; requests that would leave the machine fail and are reported by the page's console."""
    made = browser.new_context(viewport={"width": 1440, "height": 900}, timezone_id="Europe/Berlin", locale="en-GB")
    made.set_default_timeout(PATIENCE * 1000)
    yield made
    made.close()


class Visitor:
    """A page with the complaints it made."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.complaints: list[str] = []
        page.on(
            "console",
            lambda m: self.complaints.append(f"console: {m.text} ({m.location.get('url')})") if m.type == "error" else None,
        )
        page.on("pageerror", lambda error: self.complaints.append(f"page error: {error}"))
        page.on("request", self._stays_home)

    def _stays_home(self, request: object) -> None:
        url = request.url  # type: ignore[attr-defined]
        if not url.startswith((self.url, self.url.replace("http", "ws", 1), "data:", "blob:")):
            self.complaints.append(f"left the machine: {url}")

    def open(self, path: str) -> Page:
        """Go to a page and wait until Streamlit has drawn it all."""
        self.page.goto(self.url + path)
        return self.settle()

    def settle(self) -> Page:
        """Wait until nothing is running any more."""
        self.page.wait_for_function(READY, timeout=PATIENCE * 1000)
        self.page.wait_for_timeout(300)  # the last element's own drawing; a screenshot has no better signal
        return self.page

    def shoot(self, name: str) -> None:
        """Keep a screenshot."""
        SCREENSHOTS.mkdir(exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


@pytest.fixture
def visitor(context: BrowserContext, demo: str) -> Visitor:
    """Somebody looking at the demo."""
    return Visitor(context.new_page(), demo)
