"""A whole monitor in virtual time: configuration files, poller, SDK, emulator and a real SQLite file."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from monitor import service
from monitor.clock import VirtualClock, VirtualTimeLoop
from monitor.domain.health import Health
from monitor.domain.inventory import ProbeKind
from monitor.domain.observation import Observation
from monitor.domain.taxonomy import FailureKind, Lane
from monitor.domain.timeline import Window
from monitor.emulator.app import create_app
from monitor.emulator.world import World
from monitor.openai_api.transport import in_process
from monitor.poller import Poller
from monitor.store import maintenance, meta, queries
from monitor.store.engine import Engine
from monitor.store.queries import EvidenceFilter, ProjectStatus
from monitor.store.record import Writer

START = datetime(2026, 11, 23, 3, tzinfo=UTC)
CAST = ("checkout", "search", "batch", "legacy")


def secret_of(name: str) -> str:
    """The obviously fake key of a project."""
    return f"sk-svcacct-TEST-{name}-not-a-key-0001"


def table(name: str, **more: str) -> str:
    """A project's table in `monitor.toml`; `more` are further lines of it, as TOML."""
    lines = {
        "name": f'"{name}"',
        "project_id": f'"proj_{name}"',
        "base_url": '"http://127.0.0.1:9/v1"',
        "models": '["gpt-4o"]',
    } | more
    keys = f'\n[[projects.keys]]\nlabel = "backend"\nsecret = "file:{name}.key"\n'
    return "[[projects]]\n" + "\n".join(f"{key} = {value}" for key, value in lines.items()) + keys


class House:
    """The cast of four projects with a key each, watched."""

    def __init__(self, folder: Path, loop: VirtualTimeLoop, monitor: str, tables: list[str]) -> None:
        self.folder = folder
        self.clock = VirtualClock(START, loop)
        self.world = World(lambda: self.clock.now().timestamp())
        self.world.add_model("gpt-4o")
        self.world.add_model("gpt-5-pro", family="responses")
        for name in CAST:
            self.world.add_project(f"proj_{name}", "org-TEST", name)
            self.world.add_key(secret_of(name), f"proj_{name}")
            self.write_secret(name, secret_of(name))
        self.monitor = f'[monitor]\ndatabase_url = "sqlite:///{folder}/monitor.db"\n{monitor}\n'
        self.configure(*tables)
        self.loaded = service.load(None, {}, folder)
        self.poller: Poller
        self.engine: Engine

    def write_secret(self, name: str, secret: str) -> None:
        """What a deployment does: the file is replaced."""
        (self.folder / f"{name}.key").write_text(secret)

    def configure(self, *tables: str) -> None:
        """Write `monitor.toml`."""
        (self.folder / "monitor.toml").write_text(self.monitor + "\n".join(tables))

    async def live(self, **length: float) -> None:
        """Let time pass."""
        await asyncio.sleep(timedelta(**length).total_seconds())

    def project(self, name: str) -> ProjectStatus:
        """One project as the pages see it now."""
        found = queries.project(self.engine, name, self.clock.now())
        assert found is not None
        return found

    def lamp(self, name: str, lane: Lane) -> Health:
        """One lamp as the pages see it now."""
        return self.project(name).lamps[lane].health

    def failure(self, name: str) -> FailureKind | None:
        """What decides the health of a project."""
        worst = self.project(name).worst
        return worst.failure if worst else None

    def seen(self, name: str, probe: ProbeKind | None = None) -> Any:
        """Its raw observations of the last day."""
        window = Window(self.clock.now() - timedelta(days=1), self.clock.now() + timedelta(seconds=1))
        return queries.observations(self.engine, window, EvidenceFilter(project=name, probe=probe), limit=10_000)


Scene = Callable[[House], Coroutine[Any, Any, None]]
Play = Callable[..., None]


@pytest.fixture
def play(tmp_path: Path) -> Play:
    """Runs a scene while the poller polls; then the database must be sound and hold no secret."""

    def runner(scene: Scene, monitor: str = "", tables: list[str] | None = None) -> None:
        async def live() -> House:
            loop = asyncio.get_running_loop()
            assert isinstance(loop, VirtualTimeLoop)
            house = House(tmp_path, loop, monitor, tables if tables is not None else [table(name) for name in CAST])
            with service.store_of(house.loaded.settings) as house.engine:
                async with service.api_client(house.loaded.settings, in_process(create_app(house.world))) as client:
                    house.poller = Poller(
                        house.loaded.settings, house.loaded.secrets, clock=house.clock, client=client,
                        writer=Writer(house.engine), salt=meta.salt(house.engine), reload=house.loaded.reloader(),
                    )  # fmt: skip
                    stop = asyncio.Event()
                    polling = asyncio.create_task(house.poller.run(stop))
                    try:
                        await scene(house)
                    finally:
                        stop.set()
                        await polling
                assert maintenance.check(house.engine) == []
            return house

        with asyncio.Runner(loop_factory=VirtualTimeLoop) as loop_runner:
            loop_runner.run(live())
        for file in tmp_path.glob("monitor.db*"):
            assert b"TEST-" not in file.read_bytes(), f"a part of a key is in {file.name}"

    return runner


def kinds(observations: list[Observation]) -> set[FailureKind | None]:
    """The failures among them."""
    return {seen.failure for seen in observations}
