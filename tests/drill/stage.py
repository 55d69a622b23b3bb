"""A fleet of sixteen projects in two organizations at two hosts, watched at the default intervals in virtual time."""

import asyncio
import tempfile
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from monitor import service
from monitor.clock import VirtualClock, VirtualTimeLoop
from monitor.domain.incidents import Incident
from monitor.emulator.app import create_app
from monitor.emulator.world import World
from monitor.incident_keeper import IncidentKeeper
from monitor.notify.outbox import Teller
from monitor.openai_api.transport import in_process
from monitor.poller import Poller
from monitor.store import incidents, meta, outbox
from monitor.store.outbox import DeliveryRow, DeliveryState
from monitor.store.record import Writer

START = datetime(2026, 11, 23, 2, tzinfo=UTC)
HOST_A, HOST_B = "http://127.0.0.1:9/v1", "http://127.0.0.2:9/v1"
ORGANIZATION_A, ORGANIZATION_B = "org-DRILLA", "org-DRILLB"
NAMES = tuple(f"a{number:02}" for number in range(10)) + tuple(f"b{number:02}" for number in range(6))
MODELS = ("gpt-4o", "gpt-5")


def id_of(name: str) -> str:
    """The project's id on the platform."""
    return f"proj_DRILL{name}"


def secret_of(name: str, key: str = "web") -> str:
    """The obviously fake secret of a key."""
    return f"sk-svcacct-DRILL-{name}-{key}-not-a-key-0001"


def host_of(name: str) -> str:
    """Where the project is asked."""
    return HOST_A if name.startswith("a") else HOST_B


def organization_of(name: str) -> str:
    """Whose the project is."""
    return ORGANIZATION_A if name.startswith("a") else ORGANIZATION_B


@dataclass
class Stage:
    """The world and the monitor over it."""

    folder: Path
    clock: VirtualClock
    world: World
    poller: Poller
    keeper: IncidentKeeper
    engine: Any

    async def live(self, **length: float) -> None:
        """Let time pass."""
        await asyncio.sleep(timedelta(**length).total_seconds())

    def incidents(self) -> list[Incident]:
        """Every incident there ever was, oldest first."""
        return sorted(incidents.find(self.engine), key=lambda incident: incident.id or 0)

    def messages(self) -> list[DeliveryRow]:
        """What was put into the outbox, oldest first."""
        rows = outbox.log(self.engine, limit=10_000)
        return [row for row in reversed(rows) if row.state is not DeliveryState.NOT_SENT]

    def write_secret(self, name: str, secret: str) -> None:
        """What a deployment does."""
        (self.folder / f"{name}-web.key").write_text(secret)


def _configuration(folder: Path, models: dict[str, tuple[str, ...]], every: str | None, names: Sequence[str]) -> str:
    text = f'[monitor]\ndatabase_url = "sqlite:///{folder}/drill.db"\n'
    if every is not None:
        text += f'[monitor.intervals]\nauth = "{every}"\nmodel_access = "{every}"\ninference = "{every}"\ncontrol = "{every}"\n'
    for name in names:
        keys = ("web", "worker") if name == "a03" else ("web",)
        listed = ", ".join(f'"{model}"' for model in models.get(name, MODELS))
        text += f'[[projects]]\nname = "{name}"\nproject_id = "{id_of(name)}"\norganization = "{organization_of(name)}"\n'
        text += f'base_url = "{host_of(name)}"\nowner = "team-{name}"\nmodels = [{listed}]\n'
        for key in keys:
            text += f'[[projects.keys]]\nlabel = "{key}"\nsecret = "file:{name}-{key}.key"\n'
    return text + '[[channels]]\nname = "drill"\nurl = "env:DRILL_CHANNEL"\n[[routes]]\nchannel = "drill"\n'


def _build(world: World, folder: Path) -> None:
    for model in (*MODELS, "gpt-4-turbo-preview", "gpt-5.1", "gpt-5.1-2025-11-13"):
        world.add_model(model)
    for name in NAMES:
        world.add_project(id_of(name), organization_of(name), name)
        for key in ("web", "worker"):
            world.add_key(secret_of(name, key), id_of(name))
            (folder / f"{name}-{key}.key").write_text(secret_of(name, key))


def perform(
    act: Callable[[Stage], Coroutine[Any, Any, None]],
    models: dict[str, tuple[str, ...]] | None = None,
    every: str | None = None,
    *,
    names: Sequence[str] = NAMES,
    running: bool = True,
) -> None:
    """Play `act` while the monitor runs, in a folder and a database of its own; `every` is the interval of all checks, without it
    each kind has its own; `names` are the projects that are watched.

    Without `running` nothing runs by itself: `act` moves the poller on.
    """

    async def play(folder: Path) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        clock = VirtualClock(START, loop)
        world = World(lambda: clock.now().timestamp())
        _build(world, folder)
        (folder / "monitor.toml").write_text(_configuration(folder, models or {}, every, names))
        loaded = service.load(None, {"DRILL_CHANNEL": "json://127.0.0.1:9"}, folder)
        with service.store_of(loaded.settings) as engine:
            async with service.api_client(loaded.settings, in_process(create_app(world))) as client:
                keeper = IncidentKeeper(engine, clock, Teller(engine, loaded.settings).tell)
                poller = Poller(
                    loaded.settings, loaded.secrets, clock=clock, client=client, writer=Writer(engine), salt=meta.salt(engine),
                    reload=loaded.reloader(), watch=keeper.note,
                )  # fmt: skip
                stage = Stage(folder, clock, world, poller, keeper, engine)
                if not running:
                    await act(stage)
                    return
                stop = asyncio.Event()
                polling, keeping = asyncio.create_task(poller.run(stop)), asyncio.create_task(keeper.run(poller))
                try:
                    await act(stage)
                finally:
                    keeping.cancel()
                    stop.set()
                    await asyncio.gather(polling, keeping, return_exceptions=True)

    with tempfile.TemporaryDirectory() as name, asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(play(Path(name)))
