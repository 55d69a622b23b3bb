"""Real poller processes on one database, and the emulator that they ask, which writes down every request."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import uvicorn

from monitor.emulator.app import create_app
from monitor.emulator.server import listen
from monitor.emulator.world import World
from monitor.store import leases, tables
from monitor.store.engine import StoreError, open_engine, reading
from monitor.store.leases import PollerShare
from tests.conftest import PATIENCE, ROOT

MODEL = "gpt-4o"


def secret_of(number: int) -> str:
    """The obviously fake key of a project."""
    return f"sk-svcacct-TEST-not-a-key-{number:04}"


class Endpoint:
    """The emulator on loopback, in a thread of its own; `/hook` takes messages."""

    def __init__(self, projects: int) -> None:
        self.world = World()
        self.world.add_model(MODEL)
        for number in range(projects):
            self.world.add_project(f"proj_{number}", "org-TEST", f"p{number}")
            self.world.add_key(secret_of(number), f"proj_{number}")
        self.requests = 0
        self.messages: list[bytes] = []
        self._emulator = create_app(self.world)
        self._listener = listen(0)
        self.port: int = self._listener.getsockname()[1]
        config = uvicorn.Config(
            self._serve, interface="asgi3", log_level="critical", access_log=False, lifespan="off", timeout_keep_alive=150
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._listener],), daemon=True)
        self._thread.start()

    async def _serve(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/hook":
            body, more = b"", True
            while more:
                part = await receive()
                body, more = body + part.get("body", b""), part.get("more_body", False)
            self.messages.append(body)
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        self.requests += 1
        await self._emulator(scope, receive, send)

    def close(self) -> None:
        """Serve no more."""
        self._server.should_exit = True
        self._thread.join(PATIENCE)


class Machine:
    """Notes when the machine stood still: nobody can be on time then."""

    def __init__(self) -> None:
        self.stood_still: list[tuple[float, float]] = []
        """From when to when, in seconds since 1970."""
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        before = time.time()
        while not self._enough.wait(_LOOK):
            now = time.time()
            if now - before > 4 * _LOOK:
                self.stood_still.append((before + _LOOK, now))
            before = now

    def lived(self, start: float, end: float) -> float:
        """The seconds between two moments in which the machine ran."""
        return end - start - sum(max(0.0, min(end, until) - max(start, since)) for since, until in self.stood_still)

    def close(self) -> None:
        """Watch no more."""
        self._enough.set()
        self._thread.join(PATIENCE)


_LOOK = 0.05


@dataclass
class Scene:
    """Several pollers of the same configuration."""

    folder: Path
    url: str
    endpoint: Endpoint
    projects: int
    interval: float
    lease: float
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    machine: Machine = field(default_factory=Machine)

    def __post_init__(self) -> None:
        self.engine = open_engine(self.url)
        every = f'"{round(self.interval * 1000)}ms"' if self.interval % 1 else f'"{round(self.interval)}s"'
        text = f'[monitor.poller]\nlease = "{round(self.lease)}s"\n[monitor.metrics]\nport = 0\n'
        text += f"[monitor.intervals]\nauth = {every}\nmodel_access = {every}\ncontrol = {every}\n"
        text += '[[channels]]\nname = "hook"\nurl = "env:HOOK"\n[[routes]]\nchannel = "hook"\ngroup_wait = "0s"\n'
        for number in range(self.projects):
            text += f'[[projects]]\nname = "p{number}"\nproject_id = "proj_{number}"\nmodels = ["{MODEL}"]\ninference = "off"\n'
            text += f'base_url = "http://127.0.0.1:{self.endpoint.port}/v1"\n[[projects.keys]]\nsecret = "env:KEY_{number}"\n'
        (self.folder / "monitor.toml").write_text(text)

    def start(self, pollers: int = 1) -> None:
        """Start some more."""
        keys = {f"KEY_{number}": secret_of(number) for number in range(self.projects)}
        where = {"MONITOR_DATABASE_URL": self.url, "HOOK": f"json://127.0.0.1:{self.endpoint.port}/hook"}
        for _ in range(pollers):
            with (self.folder / f"poller-{len(self.processes)}.log").open("wb") as output:
                process = subprocess.Popen(
                    [sys.executable, "-m", "monitor", "poll", "--config", str(self.folder / "monitor.toml")],
                    cwd=self.folder, env={**os.environ, **keys, **where, "PYTHONPATH": str(ROOT)}, stdout=output, stderr=output,
                )  # fmt: skip
            self.processes.append(process)

    def shares(self) -> dict[int, PollerShare]:
        """What the living pollers hold, by their place in `processes`."""
        places = {str(process.pid): at for at, process in enumerate(self.processes)}
        with contextlib.suppress(StoreError):  # before the first has made its tables, and while the database is away
            return {places[each.name.split(":")[1]]: each for each in leases.sharing(self.engine).pollers}
        return {}

    def wait(self, until: Callable[[], bool], seconds: float = PATIENCE) -> float:
        """Wait until something is so; how many seconds it took."""
        began = time.monotonic()
        while not until():
            assert time.monotonic() - began < seconds, self.said()
            time.sleep(0.05)
        return time.monotonic() - began

    def wait_for_shares(self, *counts: int) -> None:
        """Wait until the shards are divided like this, whoever holds how many, and one poller leads."""
        self.wait(
            lambda: (
                sorted(each.shards for each in self.shares().values()) == sorted(counts)
                and sum(each.leads for each in self.shares().values()) == 1
            )
        )

    def stop(self) -> None:
        """Let those that live end in peace."""
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
        for process in self.processes:
            process.wait(PATIENCE)

    def said(self) -> str:
        """What the pollers said, for a test that fails."""
        return "\n".join(f"{file.name}:\n{file.read_text()}" for file in sorted(self.folder.glob("*.log")))

    def asked(self) -> dict[int, list[float]]:
        """When each target answered, in seconds, as recorded."""
        o = tables.observations.c
        times: dict[int, list[float]] = defaultdict(list)
        with reading(self.engine) as connection:
            for target, at in connection.execute(sa.select(o.target_id, o.at).order_by(o.target_id, o.at)):
                times[target].append(at / 1000)
        return times

    def recorded(self) -> int:
        """How many answers are recorded."""
        return sum(len(times) for times in self.asked().values())

    def longest_gap(self, until: float | None = None) -> float:
        """The longest time in which a target was not asked, in seconds; with `until`, also after its last answer. Time in which
        the machine stood still does not count.
        """
        ends = [until] if until is not None else []
        pairs = [pair for times in self.asked().values() for pair in pairwise([*times, *ends])]
        return max(self.machine.lived(earlier, later) for earlier, later in pairs)

    def doubled(self) -> int:
        """How many checks were recorded sooner than half an interval after the one before. Where the machine stood still, the one
        before was late, and the next one came in its turn.
        """
        return sum(
            later - earlier < self.interval / 2 and self.machine.lived(earlier - self.interval, earlier) > self.interval / 2
            for times in self.asked().values()
            for earlier, later in pairwise(times)
        )


@contextlib.contextmanager
def scene(folder: Path, url: str, projects: int = 16, interval: float = 3.0, lease: float = 6.0) -> Iterator[Scene]:
    """An endpoint and a configuration; whatever was started is ended."""
    endpoint = Endpoint(projects)
    made = Scene(folder, url, endpoint, projects, interval, lease)
    try:
        yield made
    finally:
        for process in made.processes:
            if process.poll() is None:
                process.kill()
                process.wait(PATIENCE)
        made.machine.close()
        made.engine.dispose()
        endpoint.close()
