"""The sample organization: its configuration, and a month of history made by the real poller in simulated time.

Nothing is written by hand: probes ask the emulator in process, the writer records the answers, and only the clock is not real.
Run as a program (`python -m monitor.demo FOLDER`) so that the dashboard does not carry the weight.
"""

import asyncio
import gc
import json
import logging
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from monitor.admin_sync import AdminSync
from monitor.clock import SystemClock, VirtualClock, VirtualTimeLoop
from monitor.config import Settings
from monitor.domain.inventory import Target
from monitor.emulator.app import create_app
from monitor.emulator.sample import (
    FUTURE,
    ORGANIZATION,
    PAST,
    SAMPLE_ADMIN_KEY,
    SAMPLE_PROJECTS,
    SampleProject,
    eventful,
    sample_world,
)
from monitor.hygiene_keeper import HygieneKeeper
from monitor.incident_keeper import IncidentKeeper
from monitor.openai_api.transport import in_process
from monitor.organization_keeper import admin_client, opened
from monitor.poller import Poller
from monitor.service import ROOT, Loaded, api_client, load, store_of
from monitor.store import meta, queries
from monitor.store.engine import Problem, StoreError
from monitor.store.lock import WriterLock
from monitor.store.record import Writer

DATABASE = "monitor.db"
_SAMPLE = "sample.json"
_REAL = {
    "control": timedelta(minutes=1),
    "auth": timedelta(minutes=1),
    "model_access": timedelta(minutes=5),
    "inference": timedelta(minutes=15),
}
_SHORT_GAP = timedelta(minutes=2)
_BUILDING = timedelta(seconds=10)
"""Making a month takes longer than this: what passed meanwhile is polled too, or the first page would call the poller silent."""
_FLUSH_AT = 100
_LONGEST_WAIT = timedelta(minutes=20)
ROUND_EVERY = timedelta(days=3)
"""Between two readings of the whole record in the past; in the present it is read every hour."""

Progress = Callable[[float], None]
"""Told the share that is done, from 0 to 1."""


@dataclass(frozen=True)
class Sample:
    """When the sample was made, and where its emulator listens."""

    anchor: datetime
    port: int

    @classmethod
    def read(cls, folder: Path) -> "Sample | None":
        """What is stored in `folder`, or None where nothing (readable) is."""
        try:
            stored = json.loads((folder / _SAMPLE).read_text())
            return cls(datetime.fromisoformat(stored["anchor"]), int(stored["port"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, folder: Path) -> None:
        """Store it in `folder`."""
        (folder / _SAMPLE).write_text(json.dumps({"anchor": self.anchor.isoformat(), "port": self.port}))


def prepare(folder: Path) -> Path:
    """Make or continue the sample in `folder`, and give its configuration. Shows progress in the terminal.

    Raises `StoreError` where another monitor runs on it, or the history cannot be made.
    """
    now = SystemClock().now()
    # Whoever holds the lock is running on these files: they must not change under it.
    with WriterLock(f"sqlite:///{(folder / DATABASE).resolve()}"):
        sample = _made(folder, now)
    config = _write_config(folder, sample)
    done = subprocess.run([sys.executable, "-m", "monitor.demo", str(folder)], check=False, cwd=ROOT)  # noqa: S603 - our own program
    if done.returncode:
        raise StoreError(Problem.OTHER, f"the sample's history could not be made; remove {folder} and try again")
    return config


def _made(folder: Path, now: datetime) -> Sample:
    """The sample of `folder`, continued, or a new one where there is none or its story is over."""
    sample = Sample.read(folder)
    if sample is None or now - sample.anchor > timedelta(seconds=FUTURE) - timedelta(days=1) or now < sample.anchor:
        for old in folder.glob(f"{DATABASE}*"):
            if old.suffix != ".lock":
                old.unlink(missing_ok=True)
        sample = Sample(now, 0)
    folder.mkdir(parents=True, exist_ok=True)
    sample = Sample(sample.anchor, _usable_port(sample.port))
    sample.write(folder)
    return sample


def emulator_arguments(folder: Path) -> list[str]:
    """The arguments of `monitor emulator` for the sample in `folder`."""
    sample = Sample.read(folder)
    assert sample is not None, "prepare() comes first"  # noqa: S101
    return ["--sample", "--port", str(sample.port), "--anchor", sample.anchor.isoformat()]


def _usable_port(wanted: int) -> int:
    """The port used before if it is free, else another one that is."""
    for port in (wanted, 0):
        try:
            with socket.create_server(("127.0.0.1", port)) as probe:
                return int(probe.getsockname()[1])
        except OSError:
            continue
    raise OSError("no loopback port is free")


# Configuration --------------------------------------------------------------------------------------------------------------------


def _write_config(folder: Path, sample: Sample) -> Path:
    """Write `monitor.toml` and one file a secret: the sample is configured as a user would."""
    secrets = folder / "secrets"
    secrets.mkdir(exist_ok=True, mode=0o700)
    database = (folder / DATABASE).resolve()
    lines = [
        "# The sample organization. Written by the demo at every start; changes are lost.",
        "[monitor]",
        "demo = true",
        f"database_url = {json.dumps(f'sqlite:///{database}')}",
        "",
        "[[organizations]]",
        'name = "harbor-books"',
        f'id = "{ORGANIZATION}"',
        f'admin_key = "file:secrets/{SAMPLE_ADMIN_KEY.label}"',
        f'base_url = "http://127.0.0.1:{sample.port}/v1"',
    ]
    _write_secret(secrets / SAMPLE_ADMIN_KEY.label, SAMPLE_ADMIN_KEY.secret)
    for project in SAMPLE_PROJECTS:
        lines += ["", *_project_table(project, sample.port)]
        for key in project.keys:
            file = secrets / f"{project.name}-{key.label}"
            _write_secret(file, key.secret)
            lines += ["[[projects.keys]]", f'label = "{key.label}"', f'secret = "file:secrets/{file.name}"']
    config = folder / "monitor.toml"
    config.write_text("\n".join(lines) + "\n")
    return config


def _write_secret(file: Path, secret: str) -> None:
    file.write_text(secret)
    file.chmod(0o600)


def _project_table(project: SampleProject, port: int) -> Iterator[str]:
    yield "[[projects]]"
    yield f'name = "{project.name}"'
    if project.bound:
        yield f'project_id = "{project.id}"'
    yield f'organization = "{ORGANIZATION}"'
    yield f'base_url = "http://127.0.0.1:{port}/v1"'
    yield f'owner = "{project.owner}"'
    yield f'environment = "{project.environment}"'
    for name, values in (("services", project.services), ("models", project.models), ("denied_models", project.denied_models)):
        if values:
            yield f"{name} = {json.dumps(list(values))}"


# History --------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Stage:
    """Until when to poll how often."""

    until: datetime
    every: timedelta | None
    """None is as often as configured."""


def _stages(start: datetime, end: datetime, anchor: datetime) -> list[_Stage]:
    """Closely where something happens and in the last day, seldom before: a month at full pace would be three million checks.

    When something begins, as often as configured: so the first bad answer follows as soon as it would in earnest.
    """
    margin, minute = timedelta(minutes=15), timedelta(minutes=1)
    happens = [(_from(begin), _from(over)) for begin, over in eventful(anchor.timestamp())]
    close = [(begin - margin, over + margin) for begin, over in happens]
    begins = [(begin - 0.7 * minute, begin + 3 * minute) for begin, _ in happens]
    edges = {
        end - timedelta(days=7),
        end - timedelta(days=1),
        end - timedelta(minutes=20),
        end,
        *(edge for pair in (*close, *begins) for edge in pair),
    }
    stages = []
    at = start
    for edge in sorted(edge for edge in edges if start < edge <= end):
        age = end - at
        every: timedelta | None = timedelta(hours=8 if age > timedelta(days=7) else 2)
        if age <= timedelta(minutes=20) or any(begin <= at < over for begin, over in begins):
            every = None
        elif age <= timedelta(days=1) or any(begin <= at < over for begin, over in close):
            every = timedelta(minutes=15)
        stages.append(_Stage(edge, every))
        at = edge
    return stages


def _from(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _paced(settings: Settings, every: timedelta | None) -> Settings:
    """The settings with keys asked as seldom as `every`, models half and the free look-ups a quarter as often."""
    if every is None:
        return settings
    slow = settings.intervals.model_copy(update=dict.fromkeys(_REAL, every) | {"inference": every * 2, "model_access": every * 4})
    return settings.model_copy(update={"intervals": slow})


async def _poll_the_past(loaded: Loaded, anchor: datetime, start: datetime, end: datetime, progress: Progress) -> None:
    """Poll from `start` to `end`. To be run in a `VirtualTimeLoop`."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)  # noqa: S101
    clock = VirtualClock(start, loop)
    world = sample_world(anchor.timestamp(), lambda: clock.now().timestamp())
    app = create_app(world)
    [organization] = loaded.settings.organizations
    # Simulated seconds cost nothing, so nobody need be polite in them.
    hasty = organization.model_copy(update={"sync": organization.sync.model_copy(update={"requests_per_second": 100})})
    with store_of(loaded.settings) as engine:
        async with (
            api_client(loaded.settings, in_process(app)) as client,
            opened(
                hasty,
                admin_client(loaded.secrets, in_process(app)),
                engine,
                clock,
                lambda: loaded.settings,
                loaded.secrets,
            ) as sync,
        ):
            await sync.begin()
            writer = Writer(engine)
            keeper = IncidentKeeper(engine, clock, broke=sync.look_now)
            poller = Poller(
                loaded.settings,
                loaded.secrets,
                clock=clock,
                client=client,
                writer=writer,
                salt=meta.salt(engine),
                watch=keeper.note,
            )
            forward = FastForward(poller, keeper, clock)
            scores, policy = HygieneKeeper(engine, engine, clock), loaded.settings.hygiene.policy
            moments = _sync_moments(start, end, anchor)
            syncing = asyncio.create_task(_sync_the_past(sync, clock, moments, lambda: scores.judge(policy)))
            for stage in _stages(start, end, anchor):
                poller.settings = _paced(loaded.settings, stage.every)
                await poller.configure(known_as=loaded.settings)
                await forward.until(stage.until, lambda: progress((clock.now() - start) / (end - start)))
                await poller.beat()
            await forward.end()
            syncing.cancel()
            await asyncio.gather(syncing, return_exceptions=True)
            await sync.once()
            scores.judge(policy)
            await poller.beat()


def _sync_moments(start: datetime, end: datetime, anchor: datetime) -> list[datetime]:
    """When the record is read in the past: seldom, and soon after something happened."""
    often = [start + ROUND_EVERY * number for number in range((end - start) // ROUND_EVERY + 1)]
    after = [_from(seconds) + timedelta(minutes=20) for stretch in eventful(anchor.timestamp()) for seconds in stretch]
    return sorted(at for at in {*often, *after} if start <= at < end)


async def _sync_the_past(sync: AdminSync, clock: VirtualClock, moments: list[datetime], judge: Callable[[], object]) -> None:
    """Read the record at these moments, and judge how well keys are kept: all of it every few days, between them the log and what
    it says has changed.
    """
    whole = clock.now()
    for at in moments:
        await asyncio.sleep(max((at - clock.now()).total_seconds(), 0))
        if at >= whole:
            whole = at + ROUND_EVERY
            await sync.round()
        await sync.read_log()
        judge()


_LOOKS = tuple(timedelta(seconds=seconds) for seconds in (0, 16, 31, 46, 61))
"""When incidents are looked at after something became ill or well: the service does it every second, too often for a month."""


class FastForward:
    """Polls through simulated time in leaps from one due check to the next, where the service looks about every second.

    Commits in batches, but at once where an answer surprises: its confirmation is due in five seconds. To be used in a
    `VirtualTimeLoop`.
    """

    def __init__(self, poller: Poller, keeper: IncidentKeeper, clock: VirtualClock) -> None:
        self._poller = poller
        self._keeper = keeper
        self._seen: datetime | None = None
        self._looks: list[datetime] = []
        self._clock = clock
        self._last = clock.now()
        self._ill: dict[Target, bool] = {}

    async def until(self, moment: datetime, progress: Callable[[], None] = lambda: None) -> None:
        """Poll until `moment`."""
        loop = asyncio.get_running_loop()
        while self._clock.now() < moment:
            again = self._poller.tick()
            next_look = self._looks[0] if self._looks else moment
            wait = min(again - loop.time(), (min(moment, next_look) - self._clock.now()).total_seconds())
            if self._poller.in_flight:
                wait = min(wait, 1.0)  # its answer may surprise, and nothing else may be due for an hour
            await asyncio.sleep(max(wait, 0.05))
            await self._look()
            progress()

    async def end(self) -> None:
        """Let running checks end, record them, and say so."""
        while self._poller.in_flight:  # noqa: ASYNC110 - nobody would set an event
            await asyncio.sleep(0.05)
        await self._poller.flush()
        await self._poller.beat()

    async def _look(self) -> None:
        """Commit and fold incidents if it is time."""
        await self._commit()
        if self._keeper.changed_at not in (None, self._seen):
            self._seen = self._keeper.changed_at
            self._looks = sorted({*self._looks, *(self._clock.now() + after for after in _LOOKS)})
        if self._looks and self._looks[0] <= self._clock.now():
            self._looks = [at for at in self._looks if at > self._clock.now()]
            await self._keeper.look(self._poller)

    async def _commit(self) -> None:
        pending, now = self._poller.pending, self._clock.now()
        surprise = any((seen.failure is not None) is not self._ill.get(seen.target, False) for seen in pending)
        if not (surprise or len(pending) >= _FLUSH_AT or now - self._last > _LONGEST_WAIT):
            return
        self._last = now
        for each in await self._poller.flush():
            self._ill[each.observation.target] = each.state.failure is not None


def make_history(folder: Path, progress: Progress) -> None:
    """Poll in simulated time from where the history of `folder` ends until now."""
    sample = Sample.read(folder)
    assert sample is not None, "prepare() comes first"  # noqa: S101
    loaded = load(folder / "monitor.toml", {}, folder)
    now = SystemClock().now()
    with store_of(loaded.settings) as engine:
        beat = queries.heartbeat(engine)
    start = max(beat.at, sample.anchor - timedelta(seconds=PAST)) if beat else sample.anchor - timedelta(seconds=PAST)
    for least in (_SHORT_GAP, _BUILDING):
        if now - start > least:
            with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
                runner.run(_poll_the_past(loaded, sample.anchor, start, now, progress))
            start, now = now, SystemClock().now()


def _bar() -> Progress:
    """A progress bar in a terminal; a line now and then elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        print("Making a month of sample history …", file=sys.stderr, flush=True)  # noqa: T201
        return lambda share: None  # noqa: ARG005
    shown = Progress(
        TextColumn("Making a month of sample history"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"), console=console
    )
    task = shown.add_task("", total=1.0)
    shown.start()

    def tell(share: float) -> None:
        shown.update(task, completed=share)
        if share >= 1:
            shown.stop()

    return tell


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    # A month of answers is millions of objects that soon are gone: looking for rings among them took a third of the time.
    gc.set_threshold(50_000, 20, 50)
    try:
        make_history(Path(sys.argv[1]), _bar())
    except StoreError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
