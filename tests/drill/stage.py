"""A fleet of sixteen projects in two organizations at two hosts, watched at the default intervals in virtual time."""

import asyncio
import atexit
import functools
import shutil
import tempfile
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2

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
BESIDES = {"a08": ("gpt-4-turbo-preview",), "b04": ("gpt-4-turbo-preview",), "b05": ("gpt-5.1", "gpt-5.1-2025-11-13")}
"""What some projects use besides, for what happens to one model."""
WARM = timedelta(minutes=20, seconds=25)
"""Every check was asked at least once, and inference twice; what breaks then, breaks between two checks."""


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


class Line(httpx2.AsyncBaseTransport):
    """The way to the hosts, which may be broken before anybody answers."""

    def __init__(self, inner: httpx2.AsyncBaseTransport) -> None:
        self._inner = inner
        self.broken: dict[str, Callable[[], Exception]] = {}
        """What happens to a connection, by base URL."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        for host, error in self.broken.items():
            if str(request.url).startswith(host):
                raise error()
        return await self._inner.handle_async_request(request)


@dataclass
class Stage:
    """The world and the monitor over it."""

    folder: Path
    clock: VirtualClock
    world: World
    poller: Poller
    keeper: IncidentKeeper
    engine: Any
    line: Line

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

    def configure(self, old: str, new: str) -> None:
        """Another thing that a deployment does: every `old` of `monitor.toml` becomes `new`."""
        config = self.folder / "monitor.toml"
        config.write_text(config.read_text().replace(old, new))

    def set_clock(self, by: timedelta) -> None:
        """The machine's clock jumps; the world's, which is looked at through it, too."""
        self.clock._start += by

    def after(self, wait: float, verb: str, **arguments: Any) -> None:
        """Let something happen to the world in a while."""
        self.world.at(self.clock.now().timestamp() + wait, verb, **arguments)


def _configuration(folder: Path, every: str | None, names: Sequence[str], models: Sequence[str]) -> str:
    text = f'[monitor]\ndatabase_url = "sqlite:///{folder}/drill.db"\n'
    if every is not None:
        text += f'[monitor.intervals]\nauth = "{every}"\nmodel_access = "{every}"\ninference = "{every}"\ncontrol = "{every}"\n'
    for name in names:
        keys = ("web", "worker") if name == "a03" else ("web",)
        listed = ", ".join(f'"{model}"' for model in (*models, *BESIDES.get(name, ())))
        text += f'[[projects]]\nname = "{name}"\nproject_id = "{id_of(name)}"\norganization = "{organization_of(name)}"\n'
        text += f'base_url = "{host_of(name)}"\nowner = "team-{name}"\nmodels = [{listed}]\n'
        for key in keys:
            text += f'[[projects.keys]]\nlabel = "{key}"\nsecret = "file:{name}-{key}.key"\n'
    return text + '[[channels]]\nname = "drill"\nurl = "env:DRILL_CHANNEL"\n[[routes]]\nchannel = "drill"\n'


def _build(world: World, folder: Path, names: Sequence[str]) -> None:
    for model in (*MODELS, *dict.fromkeys(model for some in BESIDES.values() for model in some)):
        world.add_model(model)
    for name in names:
        world.add_project(id_of(name), organization_of(name), name)
        for key in ("web", "worker"):
            world.add_key(secret_of(name, key), id_of(name))
            (folder / f"{name}-{key}.key").write_text(secret_of(name, key))


@functools.cache
def _warm() -> Path:
    """The database of a monitor that has watched the fleet for a while. It is made once, and every scenario begins with a copy, by
    starting the monitor again: as good as going on, for a restart loses nothing.
    """
    kept = Path(tempfile.mkdtemp(prefix="drill-"))
    atexit.register(shutil.rmtree, kept, ignore_errors=True)

    async def act(stage: Stage) -> None:
        await stage.live(seconds=WARM.total_seconds())
        assert not stage.incidents(), "something was wrong before anything was broken"

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(_play(kept, act, START))
    return kept


def perform(
    act: Callable[[Stage], Coroutine[Any, Any, None]],
    every: str | None = None,
    *,
    names: Sequence[str] = NAMES,
    models: Sequence[str] = MODELS,
    running: bool = True,
    warm: bool = False,
) -> None:
    """Play `act` while the monitor runs, in a folder and a database of its own; `every` is the interval of all checks, without it
    each kind has its own; `names` are the projects that are watched, and `models` what each of them uses.

    Without `running` nothing runs by itself: `act` moves the poller on. A `warm` one has run for a while.
    """
    with tempfile.TemporaryDirectory() as name, asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        folder = Path(name)
        if warm:
            for file in _warm().glob("drill.db*"):
                shutil.copy(file, folder)
        start = START + WARM if warm else START
        runner.run(_play(folder, act, start, every, names, models, running=running))


async def _play(
    folder: Path,
    act: Callable[[Stage], Coroutine[Any, Any, None]],
    start: datetime,
    every: str | None = None,
    names: Sequence[str] = NAMES,
    models: Sequence[str] = MODELS,
    *,
    running: bool = True,
) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    clock = VirtualClock(start, loop)
    world = World(lambda: clock.now().timestamp())
    _build(world, folder, names)
    (folder / "monitor.toml").write_text(_configuration(folder, every, names, models))
    loaded = service.load(None, {"DRILL_CHANNEL": "json://127.0.0.1:9"}, folder)
    line = Line(in_process(create_app(world)))
    with service.store_of(loaded.settings) as engine:
        async with service.api_client(loaded.settings, line) as client:
            keeper = IncidentKeeper(engine, clock, Teller(engine, loaded.settings).tell)
            poller = Poller(
                loaded.settings, loaded.secrets, clock=clock, client=client, writer=Writer(engine), salt=meta.salt(engine),
                reload=loaded.reloader(), watch=keeper.note,
            )  # fmt: skip
            stage = Stage(folder, clock, world, poller, keeper, engine, line)
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
