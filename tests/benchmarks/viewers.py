"""How many people may keep the overview open: bare websocket clients that refresh it as a browser does, while a poller writes."""

import asyncio
import itertools
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import ClientConnection, connect

from monitor.store.engine import open_engine
from monitor.store.record import Writer
from tests.benchmarks import fleets, organizations
from tests.benchmarks.history import PROJECTS, YEAR
from tests.benchmarks.pages import served
from tests.conftest import ROOT

VIEWERS = 150
EVERY = 5.0
SECONDS = 30
GOAL = 300
"""Viewers that keep one core busy."""


class Viewer:
    """A browser's side of Streamlit's protocol: a full run, then a rerun of each fragment that asks to be run again."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._page = ""
        self.fragments: list[str] = []
        self.bytes = 0

    async def open(self) -> None:
        """Load the page."""
        await self._send("")
        await self._finish(1)

    async def refresh(self) -> float:
        """Run every fragment of the page again; gives the seconds until the last had answered."""
        began = time.perf_counter()
        for fragment in self.fragments:
            await self._send(fragment)
            await self._finish(1)
        return time.perf_counter() - began

    async def _send(self, fragment: str) -> None:
        message = BackMsg()
        message.rerun_script.page_script_hash = self._page
        message.rerun_script.fragment_id = fragment
        message.rerun_script.is_auto_rerun = bool(fragment)
        message.rerun_script.context_info.timezone = "Europe/Berlin"
        await self._socket.send(message.SerializeToString())

    async def _finish(self, runs: int) -> None:
        while runs:
            data = await self._socket.recv()
            assert isinstance(data, bytes)
            self.bytes += len(data)
            message = ForwardMsg.FromString(data)
            kind = message.WhichOneof("type")
            if kind == "auto_rerun" and message.auto_rerun.fragment_id not in self.fragments:
                self.fragments.append(message.auto_rerun.fragment_id)
            elif kind == "new_session":
                self._page = message.new_session.page_script_hash
            elif kind == "script_finished":
                runs -= 1


async def watch(url: str, viewers: int, seconds: float, processor: "Processor") -> dict[str, object]:
    """What so many viewers cost: processor time and the time they wait."""
    waits: list[float] = []

    async def sit(viewer: Viewer, first: float, until: float) -> None:
        for turn in itertools.count():
            at = first + turn * EVERY
            if at >= until:
                return
            await asyncio.sleep(max(0.0, at - time.perf_counter()))
            waits.append(await viewer.refresh())

    address = url.replace("http", "ws", 1) + "/_stcore/stream"
    sockets = [await connect(address, subprotocols=["streamlit"], max_size=None, origin=url) for _ in range(viewers)]
    people = [Viewer(socket) for socket in sockets]
    for person in people:
        await person.open()
        await person.refresh()
    sent, spent, began = sum(person.bytes for person in people), processor.seconds(), time.perf_counter()
    await asyncio.gather(*(sit(person, began + EVERY * n / viewers, began + seconds) for n, person in enumerate(people)))
    spent, sent = processor.seconds() - spent, sum(person.bytes for person in people) - sent
    for socket in sockets:
        await socket.close()
    ranked, each = sorted(waits), spent / len(waits)
    return {
        "value": round(EVERY / each),
        "goal": GOAL,
        "refresh_cpu_ms": round(each * 1000, 2),
        "refresh_p50_ms": round(statistics.median(ranked) * 1000, 1),
        "refresh_p95_ms": round(ranked[int(0.95 * (len(ranked) - 1))] * 1000, 1),
        "refreshes": len(ranked),
        "runs_a_refresh": len(people[0].fragments),
        "bytes_a_refresh": round(sent / len(ranked)),
        "viewers": viewers,
    }


class Processor:
    """What a process used."""

    def __init__(self, pid: int) -> None:
        self._stat = Path(f"/proc/{pid}/stat")

    def seconds(self) -> float:
        """Of processor time, since it began."""
        fields = self._stat.read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def write(writer: Writer, projects: int, stop: threading.Event) -> None:
    """Go on as the poller does: each second what is due in it is answered and committed, so that pages have to look again."""
    checks = fleets.fleet(projects).checks
    due = [check for check in checks for _ in range(round(timedelta(minutes=15) / check.interval))]
    second = len(due) // 900 + 1
    place = 0
    while not stop.wait(1.0):
        now = datetime.now(UTC)
        part = dict.fromkeys(due[(place + number) * 7919 % len(due)] for number in range(second))
        writer.record(fleets.answers(tuple(part), now - timedelta(seconds=1), ill=3), now)
        fleets.beat(writer, now)
        place += second


def measure(url: str, writer: Writer, projects: int, viewers: int = VIEWERS, seconds: float = SECONDS) -> dict[str, object]:
    """Serve the store and let people watch it."""
    stop = threading.Event()
    poller = threading.Thread(target=write, args=(writer, projects, stop))
    poller.start()
    try:
        with served(ROOT / "monitor/ui/main.py", url) as (address, pid):
            return asyncio.run(watch(address, viewers, seconds, Processor(pid)))
    finally:
        stop.set()
        poller.join()


def figures() -> Iterator[dict[str, object]]:
    """How many viewers one core carries at 5 s on the overview, and how long they wait: with 200 projects, and
    with 2,000, thirteen months and an organization's record.
    """
    now = datetime.now(UTC).replace(microsecond=0)
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/bench.db"
        yield {"figure": "viewers_a_core", "projects": 200, **measure(url, fleets.fill(url, now, 200, days=2), 200)}
    url = organizations.kept(now, PROJECTS, YEAR)
    yield {"figure": "viewers_a_core", "projects": PROJECTS, **measure(url, Writer(open_engine(url)), PROJECTS)}
