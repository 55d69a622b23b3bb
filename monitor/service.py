"""The only place that wires objects and supervises loops and processes."""

import asyncio
import contextlib
import functools
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from monitor.clock import Clock, SystemClock
from monitor.config import ConfigErrors, ConfigWatcher, Settings, configured, find_config, load_settings, open_secrets
from monitor.domain.diagnosis import Diagnosis, context_of
from monitor.domain.inventory import Inventory, ProbeKind, Target
from monitor.domain.observation import Observation, Verdict
from monitor.secrets import Secrets, install_log_redaction
from monitor.store import maintenance, meta
from monitor.store.engine import open_engine
from monitor.store.errors import StoreError
from monitor.store.lock import WriterLock
from monitor.store.migrate import migrate

if TYPE_CHECKING:
    from httpx2 import AsyncBaseTransport
    from sqlalchemy import Engine

    from monitor.admin_record import Summary
    from monitor.notify.outbox import Teller
    from monitor.openai_api.client import ApiClient
    from monitor.openai_api.observe import ProbeRequest
    from monitor.poller import Poller

log = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parent.parent
DEMO_FOLDER = Path("data/demo")
NOTIFY_EVERY = 2.0
FORGET_EVERY = 3600.0
REMIND_EVERY = 3600.0
"""Seconds."""
REMIND_FIRST = 60.0
"""Seconds after the start: by then the models are listed, and who leads is known."""
_FORGET_RUNS, _FORGET_PAUSE = 100, 5.0
"""A run takes half a million answers at most, and some seconds; what a hundred of them leave waits for the next hour."""
PROMPT_STOP = 8.0
"""Seconds a child gets to end by itself."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A valid configuration with the secrets it refers to."""

    settings: Settings
    secrets: Secrets
    config: Path | None
    cwd: Path
    env: Mapping[str, str]

    def reloader(self) -> "Reloader":
        """To be asked for new settings again and again."""
        return Reloader(self)


class Reloader:
    """Gives new settings when a file of the configuration changed, None when not. Raises `ConfigErrors`."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self._watcher = ConfigWatcher(loaded.config, loaded.cwd)

    def __call__(self) -> Settings | None:
        if not self._watcher.changed():
            return None
        config = self._loaded.config or find_config(None, self._loaded.env, self._loaded.cwd)
        return load_settings(config, self._loaded.env, self._loaded.cwd)


def load(explicit: Path | None, env: Mapping[str, str], cwd: Path) -> Loaded:
    """Read the configuration. Raises `ConfigErrors`."""
    before_scrubbing = dict(env)
    config = find_config(explicit, before_scrubbing, cwd)
    settings = load_settings(config, before_scrubbing, cwd)
    secrets = open_secrets(config, before_scrubbing, cwd)
    install_log_redaction(secrets)
    return Loaded(settings, secrets, config, cwd, before_scrubbing)


def is_demo(explicit: Path | None, env: Mapping[str, str], cwd: Path) -> bool:
    """Whether nothing is configured, so that the sample organization is watched."""
    return not configured(explicit, env, cwd)


@contextlib.contextmanager
def store_of(settings: Settings) -> "Iterator[Engine]":
    """The database for its one writer, migrated and locked. Raises `StoreError`."""
    with WriterLock(settings.database_url):
        engine = open_engine(settings.database_url)
        try:
            migrate(engine)
            yield engine
        finally:
            engine.dispose()


async def poll(loaded: Loaded, *, die_with_stdin: bool = False) -> None:
    """Poll until a signal says stop (or, with `die_with_stdin`, the parent is gone). Raises `StoreError` where it cannot begin."""
    from monitor.openai_api.client import scrub_environment
    from monitor.web import serve

    scrub_environment()
    settings = loaded.settings
    stop = asyncio.Event()
    _on_signals(stop)
    with store_of(settings) as engine:
        async with api_client(settings) as client, keeping(loaded, engine, client, SystemClock()) as poller:
            log.info("watching %d projects; database %s", len(settings.projects), settings.redacted()["database_url"])
            async with _beside(serve(poller, settings), *([_stop_with_parent(stop)] if die_with_stdin else [])):
                await poller.run(stop)


@contextlib.asynccontextmanager
async def keeping(
    loaded: Loaded, engine: "Engine", client: "ApiClient", clock: Clock, transport: "AsyncBaseTransport | None" = None
) -> "AsyncIterator[Poller]":
    """A poller that is to be run, and all that keeps running beside it until the block ends: incidents, the organization's record,
    messages, scorecards, reminders, retention. `transport` replaces the network of the Administration API.
    """
    from monitor.hygiene_keeper import HygieneKeeper
    from monitor.incident_keeper import IncidentKeeper
    from monitor.notify.outbox import Teller
    from monitor.organization_keeper import OrganizationKeeper, admin_client
    from monitor.poller import Poller
    from monitor.store.leases import Leases, shared
    from monitor.store.leases import name as leases_name
    from monitor.store.record import Writer

    settings = loaded.settings
    leases = Leases(engine, leases_name(), settings.poller.lease) if shared(engine) else None
    leading = leases.leading() if leases else engine
    teller = Teller(leading, settings)
    organizations = OrganizationKeeper(leading, clock, loaded.secrets, admin_client(loaded.secrets, transport))
    keeper = IncidentKeeper(leading, clock, teller.tell, teller.forget, organizations.look_now)
    poller = Poller(
        settings,
        loaded.secrets,
        clock=clock,
        client=client,
        writer=Writer(engine, leases=leases),
        salt=meta.salt(engine),
        reload=loaded.reloader(),
        watch=keeper.note,
        leases=leases,
    )
    async with _beside(
        _forget(poller, leading, clock),
        keeper.run(poller),
        organizations.run(poller),
        _notify(poller, loaded.secrets, teller, engine, clock),
        HygieneKeeper(engine, leading, clock).run(poller),
        _remind(poller, leading, clock),
    ):
        yield poller


@contextlib.asynccontextmanager
async def _beside(*loops: Coroutine[object, object, None]) -> AsyncIterator[None]:
    """Loops that run until the block ends."""
    tasks = [asyncio.create_task(each) for each in loops]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def poll_once(loaded: Loaded) -> list[Observation]:
    """Run and record every check once. Raises `StoreError`."""
    from monitor.openai_api.client import scrub_environment
    from monitor.poller import Poller
    from monitor.store.record import Writer

    scrub_environment()
    with store_of(loaded.settings) as engine:
        async with api_client(loaded.settings) as client:
            poller = Poller(
                loaded.settings, loaded.secrets, clock=SystemClock(), client=client, writer=Writer(engine), salt=meta.salt(engine)
            )
            return [each.observation for each in await poller.run_once()]


async def sync_once(
    loaded: Loaded, names: Collection[str] | None = None, progress: Callable[[str, int, int], object] = lambda *_: None
) -> "dict[str, Summary]":
    """Read the record of each organization (or of these) once, to its end. Raises `StoreError`."""
    from monitor.openai_api.client import scrub_environment
    from monitor.organization_keeper import admin_client, opened

    scrub_environment()
    found: dict[str, Summary] = {}
    with store_of(loaded.settings) as engine:
        for settings in loaded.settings.organizations:
            name = settings.name
            if names and name not in names:
                continue
            client = admin_client(loaded.secrets)
            async with opened(settings, client, engine, SystemClock(), lambda: loaded.settings, loaded.secrets) as sync:
                found[name] = await sync.once(functools.partial(progress, name))
    return found


async def check_now(loaded: Loaded, targets: list[Target], plan: Inventory) -> list[tuple[Observation, Diagnosis | None]]:
    """Ask every target once, without recording, in the order of `targets`. For each failure of a key the few experiments are made
    that tell its causes apart, and sharpen its diagnosis.
    """
    from monitor.domain.differential import same_key_elsewhere
    from monitor.openai_api.client import scrub_environment
    from monitor.openai_api.experiments import investigate
    from monitor.openai_api.probes import PROBES
    from monitor.poller import request_for

    scrub_environment()
    projects = {project.name: project for project in loaded.settings.projects}
    seats = asyncio.Semaphore(loaded.settings.poller.concurrency)
    clock = SystemClock()

    def request(target: Target) -> "ProbeRequest":
        return request_for(loaded.secrets, target, projects.get(target.project or ""), clock.now())

    async with api_client(loaded.settings) as client:

        async def one(target: Target) -> Observation:
            async with seats:
                return await PROBES[target.probe](client, request(target))

        seen = await asyncio.gather(*(one(target) for target in targets))
        well = [each.target for each in seen if each.verdict is Verdict.OK and each.target.probe is ProbeKind.AUTH]
        done: set[tuple[object, ...]] = set()
        found: list[tuple[Observation, Diagnosis | None]] = []
        for each in seen:
            about = (each.target.project, each.target.key, each.failure)
            if each.failure is None or each.verdict is not Verdict.FAILED or about in done:
                found.append((each, None))
                continue
            done.add(about)
            base = request(each.target)
            others = [other for other in well if other.project != each.target.project]
            good = next((other for other in others if projects[other.project or ""].base_url == base.base_url), None)
            project = next((one for one in plan.projects if one.name == each.target.project), None)
            key = next((one for one in project.keys if one.label == each.target.key), None) if project else None
            context = context_of(each, at=each.at, now=each.at, project=project, key=key)
            diagnosis, _ = await investigate(
                client,
                each.failure,
                each,
                base,
                request(good) if good else None,
                context,
                same_key_as=same_key_elsewhere(each.target, plan.projects),
                model=each.target.model or (project.models[0] if project and project.models else None),
            )
            found.append((each, diagnosis))
    return found


def api_client(settings: Settings, transport: "AsyncBaseTransport | None" = None) -> "ApiClient":
    """The client of the API as the settings want it; `transport` replaces the network."""
    from monitor.openai_api.client import ApiClient

    limits = settings.poller
    return ApiClient(
        timeout=limits.timeout,
        connect_timeout=limits.connect_timeout,
        deadline=limits.deadline,
        max_body=limits.max_body,
        transport=transport,
    )


async def _notify(poller: "Poller", secrets: Secrets, teller: "Teller", engine: "Engine", clock: Clock) -> None:
    """Empty the outbox, ping the dead man's switch, and take over the channels of a configuration that was read again."""
    from monitor.notify import dead_man
    from monitor.notify.channels import Channels
    from monitor.notify.outbox import deliver

    settings, worker = poller.settings, f"{socket.gethostname()}:{os.getpid()}"
    channels, pinged = Channels(settings, secrets), -dead_man.EVERY.total_seconds()
    while True:
        await asyncio.sleep(NOTIFY_EVERY)
        if poller.settings is not settings:
            settings = poller.settings
            teller.configure(settings)
            channels = Channels(settings, secrets)
        try:
            if channels.names:
                await deliver(engine, channels, worker, clock.now())
        except StoreError as error:
            log.warning("the outbox cannot be read: %s", error)
        now = time.monotonic()
        if settings.dead_man_url is not None and now - pinged >= dead_man.EVERY.total_seconds() and poller.store_error is None:
            pinged = now
            if (why := await dead_man.ping(settings.dead_man_url, secrets)) is not None:
                log.warning("the dead man's switch could not be told: %s", why)


async def _forget(poller: "Poller", engine: "Engine", clock: Clock) -> None:
    """Pack what is over and keep to the retention: every hour, in small steps between which the writer writes."""
    while True:
        await asyncio.sleep(FORGET_EVERY)
        if not poller.share.held.leads:
            continue
        try:
            await _forget_all(engine, poller.settings.retention, clock)
        except StoreError as error:
            log.warning("what is old could not be forgotten: %s", error)


async def _remind(poller: "Poller", engine: "Engine", clock: Clock) -> None:
    """Put reminders of deadlines into the outbox, every hour."""
    from monitor.notify.reminders import remind

    wait = REMIND_FIRST
    while True:
        await asyncio.sleep(wait)
        wait = REMIND_EVERY
        if not poller.share.held.leads:
            continue
        try:
            await asyncio.to_thread(remind, engine, poller.settings, clock.now())
        except StoreError as error:
            log.warning("nobody could be reminded of deadlines: %s", error)


async def _forget_all(engine: "Engine", policy: maintenance.RetentionPolicy, clock: Clock) -> None:
    for _ in range(_FORGET_RUNS):
        done = await asyncio.to_thread(maintenance.prune, engine, clock.now(), policy)
        if done.finished:
            return
        await asyncio.sleep(_FORGET_PAUSE)


def _on_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)


async def until_stdin_ends() -> None:
    """The parent holds the other end of our standard input: when it dies in any way, even by SIGKILL, we read its end."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.read(1024):
        pass


async def _stop_with_parent(stop: asyncio.Event) -> None:
    await until_stdin_ends()
    stop.set()


# Processes -----------------------------------------------------------------------------------------------------------------------


class Child:
    """A process that is started again when it ends, more and more seldom, until we stop it."""

    def __init__(self, *arguments: str, cwd: Path) -> None:
        self._arguments = arguments
        self._cwd = cwd
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None
        self.refused: int | None = None
        """The exit code of a child that says it cannot run at all (2): starting it again would not help."""

    def start(self) -> None:
        """Start it, and keep it."""
        self._task = asyncio.create_task(self._keep())

    async def _keep(self) -> None:
        wait = 0.5
        while True:
            began = time.monotonic()
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "monitor",
                *self._arguments,
                stdin=asyncio.subprocess.PIPE,
                cwd=self._cwd,
                env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)},
                start_new_session=True,  # Ctrl-C reaches us alone; we stop our children in order
            )
            code = await self._process.wait()
            if code == 2:
                self.refused = code
                return
            wait = 0.5 if time.monotonic() - began > 60 else min(wait * 2, 30.0)
            log.warning("`monitor %s` ended with %d; it is started again in %.0f s", self._arguments[0], code, wait)
            await asyncio.sleep(wait)

    async def stop(self) -> None:
        """Ask it to end, wait a moment, then end it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), PROMPT_STOP)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def settle(env: Mapping[str, str], cwd: Path, *, demo: bool = False) -> Loaded:
    """The configuration to run with: the sample organization's, made or continued first, where nothing is configured.

    Raises `ConfigErrors`, and `StoreError` where the sample cannot be made.
    """
    if not (demo or is_demo(None, env, cwd)):
        return load(None, env, cwd)
    from monitor import demo as sample

    return load(sample.prepare(cwd / DEMO_FOLDER), env, cwd)


@contextlib.asynccontextmanager
async def children(env: Mapping[str, str], cwd: Path) -> AsyncIterator[Settings]:
    """The processes behind a dashboard: the poller, and for the sample organization the emulator that it watches.

    Gives the settings they run with. Raises `ConfigErrors` and `StoreError` where they cannot run.
    """
    loaded = await asyncio.to_thread(settle, env, cwd)
    arguments = [["poll", "--die-with-stdin", *(["--config", str(loaded.config)] if loaded.config else [])]]
    if loaded.settings.demo and loaded.config is not None:
        from monitor import demo

        arguments.insert(0, ["emulator", "--die-with-stdin", *demo.emulator_arguments(loaded.config.parent)])
    started = [Child(*each, cwd=cwd) for each in arguments]
    try:
        for child in started:
            child.start()
            if child is not started[-1]:
                await _listens(loaded.settings.projects[0].base_url)
        yield loaded.settings
    finally:
        for child in reversed(started):
            await child.stop()


async def _listens(url: str, within: float = 10.0) -> None:
    """Wait until somebody listens at `url`: a poller that is first would record that nobody does."""
    where = urlsplit(url)
    until = time.monotonic() + within
    while time.monotonic() < until:
        try:
            _, writer = await asyncio.open_connection(where.hostname, where.port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return


def port_is_free(address: str, port: int) -> bool:
    """Whether somebody could listen there now."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((address, port))
        except OSError:
            return False
    return True


__all__ = [
    "Child",
    "ConfigErrors",
    "Loaded",
    "api_client",
    "check_now",
    "children",
    "is_demo",
    "load",
    "poll",
    "poll_once",
    "port_is_free",
    "settle",
    "store_of",
    "sync_once",
    "until_stdin_ends",
]
