"""The loop: start what is due, record what finished, look after the configuration, prove to be alive.

`tick()` starts checks and returns at once; everything else is small loops around one step each. Time for scheduling is the
loop's own, which no clock change touches; `clock` only stamps observations.
"""

import asyncio
import contextlib
import gc
import heapq
import itertools
import logging
import os
import platform
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeVar
from urllib.parse import urlsplit

from monitor import __version__
from monitor.clock import Clock
from monitor.config import ConfigErrors, ProjectSettings, Settings, inventory
from monitor.domain.health import HealthState, look_again_after
from monitor.domain.inventory import Check, Inventory, ProbeKind, Target
from monitor.domain.observation import Observation, Verdict
from monitor.domain.sharing import SHARDS, shard_of
from monitor.domain.taxonomy import Lane
from monitor.openai_api.client import ApiClient
from monitor.openai_api.observe import ProbeRequest
from monitor.openai_api.probes import PROBES
from monitor.schedule import FIRST_CHECKS_PER_SECOND, first_delay, next_delay, next_due, phase, resumed_delay
from monitor.secrets import Secrets
from monitor.share import Share
from monitor.store.engine import StoreError
from monitor.store.leases import Leases
from monitor.store.queries import Heartbeat
from monitor.store.record import Recorded, Writer

log = logging.getLogger(__name__)

T = TypeVar("T")

COMMIT_EVERY = 1.0
"""Seconds. What finished within one is one transaction."""
COMMIT_MOST = 500
BACKLOG_MOST = 20_000
"""Observations kept in memory while the store cannot take them; then no more checks are started."""
BEAT_EVERY = 15.0
LOOK_EVERY = 2.0
"""Seconds between looks at the configuration's files."""
LAST_MOMENT = 5.0
"""Seconds that running checks get when the poller stops."""
TOKENS_FOR_A_CALL = 25
CATALOGUE_EVERY = 3600.0
"""Seconds between two readings of the models that a project is listed, where no model newly fails. Checks of its key list them far
more often."""
_Owner = tuple[str | None, str | None]
"""Project and key."""
WAVE_EVERY = 10.0
"""Seconds between two rounds over everything that is ill at a host."""
_HEALS_TOGETHER = (Lane.SERVER, Lane.NETWORK, Lane.QUOTA, Lane.AUTH)
_PAID = (ProbeKind.INFERENCE, ProbeKind.DENIED_MODEL)


@dataclass(slots=True, eq=False)
class Job:
    """A check with its place in the schedule."""

    check: Check
    project: ProjectSettings | None
    """None for control checks, which belong to a host."""
    due: float
    running: bool = False
    ill: Lane | None = None
    """The lane of its failure while it is ill."""
    gone: bool = False
    """No longer checked here."""
    wanted: bool = True
    """Whether the answer of a check that runs counts: not when its target is no longer configured."""

    @property
    def base_url(self) -> str:
        """Where the question goes."""
        return self.project.base_url if self.project else self.check.target.host or ""


def request_for(
    secrets: Secrets, target: Target, project: ProjectSettings | None, at: datetime, *, catalogue: bool = False
) -> ProbeRequest:
    """What a probe needs to put its question. A secret that cannot be used makes a request that is not sent but observed."""
    if project is None:
        return ProbeRequest(target=target, at=at, base_url=target.host or "")
    key = next(key for key in project.keys if key.label == target.key)
    secret = secrets.resolve(key.secret)
    return ProbeRequest(
        target=target,
        at=at,
        base_url=project.base_url,
        secret=secret.value,
        problem=secret.problem,
        project_id=project.project_id,
        organization=project.organization,
        inference_mode=project.inference,
        catalogue=catalogue,
    )


class Poller:
    """Runs every check on its schedule and records the answers."""

    def __init__(
        self,
        settings: Settings,
        secrets: Secrets,
        *,
        clock: Clock,
        client: ApiClient,
        writer: Writer,
        salt: bytes,
        reload: Callable[[], Settings | None] = lambda: None,
        watch: Callable[[Sequence[Recorded]], None] = lambda _: None,
        leases: Leases | None = None,
    ) -> None:
        """`reload` gives new settings when the configuration changed, None when not, and raises `ConfigErrors`; `watch` is told
        what was recorded. With `leases`, which the writer must have too, only the targets that they give are checked.
        """
        self.inventory = Inventory((), ())
        """What is watched now."""
        self.settings = settings
        self.config_error: str | None = None
        self.store_error: str | None = None
        self.checks = 0
        """Finished since the start."""
        self.counts: Counter[tuple[str, str, str]] = Counter()
        """Recorded since the start, by project, verdict and failure."""
        self.last_commit: datetime | None = None
        self.last_beat: datetime | None = None
        self.started_at = clock.now()
        self._secrets = secrets
        self._generation = -1
        self._clock = clock
        self._client = client
        self._writer = writer
        self._salt = salt
        self._reload = reload
        self._watch = watch
        self.share = Share(leases)
        """The part of the targets that is checked here."""
        self._checks: dict[Target, Check] = {}
        self._projects: dict[str, ProjectSettings] = {}
        self._jobs: dict[Target, Job] = {}
        self._leaving: dict[int, list[Job]] = {}
        """Checks of the shards that are handed over when the last of them has ended."""
        self._elsewhere: set[Target] = set()
        """To be asked soon by whoever holds them."""
        self._flushing = asyncio.Lock()
        self._heap: list[tuple[float, int, Job]] = []
        self._number = itertools.count()
        self._seats: dict[str, asyncio.Semaphore] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._finished: list[Observation] = []
        self._lags: deque[tuple[float, float]] = deque()
        self._wake = asyncio.Event()
        self._asleep_until = 0.0
        self._fingerprints: dict[_Owner, str | None] = {}
        self._of_key: dict[_Owner, list[Job]] = {}
        self._ill: set[Job] = set()
        self._catalogue_due: dict[str, float] = {}
        """When the models that a project is listed are read again; of one that is missing, with its next good answer."""
        self._waves: dict[tuple[str, Lane], float] = {}
        # One thread, so that the writer is used by one at a time and commits keep their order.
        self._thread = ThreadPoolExecutor(1, "store")

    # Scheduling -----------------------------------------------------------------------------------------------------------------

    def tick(self) -> float:
        """Start what is due; gives the loop time at which to come again."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        full = len(self._finished) >= BACKLOG_MOST or not self.share.sure(now)
        while self._heap and self._heap[0][0] <= now and not full:
            due, _, job = heapq.heappop(self._heap)
            if job.gone or job.running or job.due != due:
                continue
            job.running = True
            task = loop.create_task(self._run(job))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        return now + COMMIT_EVERY if full or not self._heap else max(self._heap[0][0], now)

    async def _run(self, job: Job) -> None:
        loop, again = asyncio.get_running_loop(), None
        try:
            if self._may_spend(job):
                async with self._seat(job):
                    began = loop.time()
                    if job.gone or not self.share.sure(began):  # while it waited for its seat
                        again = began + COMMIT_EVERY
                        return
                    self._note_lag(began, began - job.due)
                    made = await self._ask(job, began)
                if job.wanted:
                    self._finished.append(made)
                    self.checks += 1
                    if len(self._finished) == COMMIT_MOST:
                        self._wake.set()
        except Exception:
            # A defect in one probe must not end its schedule: it is logged, and the check comes again.
            log.exception("the check %s could not be made", job.check.target)
        finally:
            job.running = False
            self._plan(job, again or next_due(job.due, job.check.interval.total_seconds(), loop.time()))

    async def _ask(self, job: Job, at: float) -> Observation:
        """Put one question to the API. About once an hour the list of models that proves a key is read as well."""
        target, name = job.check.target, job.check.target.project or ""
        reads = target.probe is ProbeKind.AUTH and at >= self._catalogue_due.get(name, at)
        request = request_for(self._secrets, target, job.project, self._clock.now(), catalogue=reads)
        made = await PROBES[target.probe](self._client, request)
        if reads and made.verdict is Verdict.OK:
            self._catalogue_due[name] = at + CATALOGUE_EVERY
        return made

    def _seat(self, job: Job) -> asyncio.Semaphore:
        host = urlsplit(job.base_url).netloc
        found = self._seats.get(host)
        if found is None:
            found = self._seats[host] = asyncio.Semaphore(self.settings.poller.concurrency)
        return found

    def _may_spend(self, job: Job) -> bool:
        """Whether a paid call fits into the project's budget of the day."""
        return job.project is None or job.check.target.probe not in _PAID or self._affords_a_call(job.project)

    def _affords_a_call(self, project: ProjectSettings) -> bool:
        requests, tokens = self._writer.spent_today(project.name, self._clock.now())
        budget = project.budget
        return requests < budget.requests_per_day and tokens + TOKENS_FOR_A_CALL <= budget.tokens_per_day

    def _plan(self, job: Job, due: float) -> None:
        if not job.gone:
            job.due = due
            heapq.heappush(self._heap, (due, next(self._number), job))
            if due < self._asleep_until:
                self._wake.set()

    def _note_lag(self, at: float, lag: float) -> None:
        self._lags.append((at, lag))
        while self._lags[0][0] < at - 60:
            self._lags.popleft()

    def lag_p99_ms(self) -> float | None:
        """How late checks started in the last minute, 99th percentile; None where none did."""
        lags = sorted(lag for _, lag in self._lags)
        return max(0.0, lags[int(len(lags) * 0.99)] * 1000) if lags else None

    @property
    def in_flight(self) -> int:
        """Checks that are running now."""
        return len(self._running)

    @property
    def pending(self) -> Sequence[Observation]:
        """What finished and is not yet recorded."""
        return self._finished

    # Recording ------------------------------------------------------------------------------------------------------------------

    async def flush(self) -> list[Recorded]:
        """Commit what finished. Where the store cannot take it, it is kept and `StoreError` raised."""
        async with self._flushing:
            return await self._flush()

    async def _flush(self) -> list[Recorded]:
        batch, self._finished = self._finished, []
        if not batch:
            return []
        now = self._clock.now()
        try:
            recorded = await self.in_thread(lambda: self._writer.record(batch, now))
        except BaseException:
            self._finished = batch + self._finished
            raise
        self.last_commit = now
        if (lost := len(batch) - len(recorded)) > 0:
            log.warning("%d answers are not recorded: another poller has taken over their targets", lost)
        for each in recorded:
            seen = each.observation
            self.counts[seen.target.project or "", seen.verdict.value, seen.failure.value if seen.failure else ""] += 1
            self._after(each)
        self._watch(recorded)
        return recorded

    def _after(self, recorded: Recorded) -> None:
        """Move the next check of a target where its answer asks for it."""
        job = self._jobs.get(recorded.observation.target)
        if job is None:
            return
        was, job.ill = job.ill, recorded.state.failure.lane if recorded.state.failure else None
        (self._ill.add if job.ill else self._ill.discard)(job)
        if job.ill is Lane.ACCESS and was is not Lane.ACCESS:
            self._catalogue_due.pop(recorded.observation.target.project or "", None)  # does the list still have the model?
        if was is not None and job.ill is None and job.project is not None:
            self._ask_siblings(job, was)
        if job.running:
            return
        delay = next_delay(job.check.target.probe, job.check.interval, recorded.state, recorded.look_again_after)
        if delay != job.check.interval:
            asked = asyncio.get_running_loop().time() - (self._clock.now() - recorded.observation.at).total_seconds()
            self._plan(job, asked + delay.total_seconds())

    def _ask_siblings(self, job: Job, lane: Lane) -> None:
        """What mended one check has most likely mended others: those of the same key are asked at once, and where it was more than
        a key's trouble, those of the host in the seconds that follow.
        """
        now = asyncio.get_running_loop().time()
        for other in self._of_key[job.check.target.project, job.check.target.key]:
            if other.ill is lane and not other.running and other.due > now:
                self._plan(other, now)
        wave = (urlsplit(job.base_url).netloc, lane)
        if lane not in _HEALS_TOGETHER or now - self._waves.get(wave, -WAVE_EVERY) < WAVE_EVERY:
            return
        self._waves[wave] = now
        spread = len(self._ill) / FIRST_CHECKS_PER_SECOND
        for other in self._ill:
            at = now + phase(other.check.target) * spread
            if other.ill is lane and urlsplit(other.base_url).netloc == wave[0] and not other.running and other.due > at:
                self._plan(other, at)

    @property
    def client(self) -> ApiClient:
        """The client that the checks use, for experiments beside them."""
        return self._client

    def request(self, target: Target) -> ProbeRequest | None:
        """What a check of `target` would ask now; None for what is not watched."""
        if target not in self._checks:
            return None
        return request_for(self._secrets, target, self._projects.get(target.project or ""), self._clock.now())

    def affords_a_call(self, target: Target) -> bool:
        """Whether a paid call for the project of `target` fits into its budget of the day."""
        project = next((each for each in self.settings.projects if each.name == target.project), None)
        return project is not None and self._affords_a_call(project)

    async def count_use(self, asked: Sequence[Observation]) -> None:
        """Count experiments in the budgets of the projects whose keys they used. Raises `StoreError`."""
        await self.in_thread(lambda: self._writer.count_use(asked))

    def ask_soon(self, targets: Iterable[Target]) -> None:
        """Ask these now instead of when they are due, or let the poller ask them that checks them. What is running, unknown or
        beyond its budget is left out.
        """
        now = asyncio.get_running_loop().time()
        for target in targets:
            job = self._jobs.get(target)
            if job is not None and not job.running and job.due > now:
                self._plan(job, now)
            elif job is None and target in self._checks:
                self._elsewhere.add(target)

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Do `work` in the one thread that writes to the store."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    # Configuration --------------------------------------------------------------------------------------------------------------

    async def configure(self, known_as: Settings | None = None) -> None:
        """Make the schedule what the settings say. Running checks are not disturbed; what is gone keeps its history.

        `known_as` is what is remembered as configured, where that is not what is run with.
        """
        settings, now = self.settings, self._clock.now()
        wanted = self.inventory = inventory(settings, self._secrets, self._salt)
        self._generation = self._secrets.generation

        def store() -> Mapping[Target, HealthState]:
            self._fingerprints = self._fingerprints or self._writer.fingerprints()
            self._writer.judge_by(settings.health_policy, settings.health_policies())
            self._writer.sync_inventory(wanted, now)
            self._writer.save_effective_config(settings.source, (known_as or settings).redacted(), now)
            return self._writer.states()

        states = await self.in_thread(store)
        fingerprints: dict[_Owner, str | None] = {
            (each.name, key.label): key.fingerprint for each in wanted.projects for key in each.keys
        }
        rotated = {name for name, mark in fingerprints.items() if name in self._fingerprints and self._fingerprints[name] != mark}
        self._fingerprints = fingerprints
        self._projects = {project.name: project for project in settings.projects}
        self._checks = {check.target: check for check in wanted.checks}
        self.share.told(wanted)
        self._schedule(states, rotated)

    def _schedule(self, states: Mapping[Target, HealthState], rotated: Collection[_Owner] = ()) -> None:
        """Make the schedule what is configured and ours. What was asked before, here or elsewhere, comes when it is due."""
        checks = {target: check for target, check in self._checks.items() if self.share.holds(target)}
        self._drop(self._jobs.keys() - checks.keys())
        policy, policies = self.settings.health_policy, self.settings.health_policies()
        start = asyncio.get_running_loop().time()
        resumed: list[tuple[Job, timedelta]] = []
        for target, check in checks.items():
            project = self._projects[target.project] if target.project else None
            job, state = self._jobs.get(target), states.get(target)
            soon = start + first_delay(target, check.interval, len(checks)).total_seconds()
            if job is None:
                job = self._jobs[target] = Job(check, project, 0.0)
                if state is None or state.last_at is None or (target.project, target.key) in rotated:
                    self._plan(job, soon)
                else:
                    job.ill = state.failure.lane if state.failure else None
                    if job.ill is not None:
                        self._ill.add(job)
                    wait = look_again_after(state, policies.get(target.project or "", policy)) or check.interval
                    resumed.append((job, state.last_at + min(wait, check.interval) - self._clock.now()))
            elif (job.check, job.project) != (check, project) or (target.project, target.key) in rotated:
                sooner = check.interval < job.check.interval or project != job.project or (target.project, target.key) in rotated
                job.check, job.project = check, project
                if sooner and not job.running:
                    self._plan(job, min(job.due, soon))
        late = sum(due <= timedelta(0) for _, due in resumed)
        for job, due in resumed:
            self._plan(job, start + resumed_delay(job.check.target, job.check.interval, due, late).total_seconds())
        self._of_key = defaultdict(list)
        for job in self._jobs.values():
            self._of_key[job.check.target.project, job.check.target.key].append(job)
        self._wake.set()

    def _drop(self, targets: Iterable[Target]) -> None:
        """Check these no more. The answer of one that is handed over still counts, that of one no longer configured does not."""
        for target in targets:
            gone = self._jobs.pop(target)
            gone.gone, gone.wanted = True, target in self._checks
            self._ill.discard(gone)

    async def look_after_configuration(self) -> None:
        """Take a changed configuration; keep the old one where the new one is wrong, and say so."""
        try:
            changed = self._reload()
        except ConfigErrors as errors:
            if self.config_error != str(errors):
                log.error("the new configuration is not taken, the old one goes on:\n%s", errors)  # noqa: TRY400 - its text says it all
            self.config_error = str(errors)
            return
        if changed is not None:
            self.settings, self.config_error = changed, None
            log.info("configuration read again: %d projects", len(changed.projects))
        if changed is not None or self._generation != self._secrets.generation:
            await self.configure()

    # Sharing --------------------------------------------------------------------------------------------------------------------

    async def renew(self) -> None:
        """One round of the leases: keep what is ours, hand over what is more than our part, take what is free. Raises `StoreError`.

        A shard that is handed over is first no longer checked, then released, when all its answers are recorded.
        """
        with contextlib.suppress(StoreError):
            await self.flush()
        busy = {shard for shard, jobs in self._leaving.items() if any(job.running for job in jobs)}
        busy |= {shard_of(seen.target) for seen in self._finished}
        before = self.share.held
        began = asyncio.get_running_loop().time()
        held = await self.in_thread(lambda: self.share.renew(began, self._leaving.keys() - busy))
        known = held.shards | held.leaving
        if lost := before.shards - known:
            log.warning("another poller has taken over %d of %d shares: this one did not renew them in time", len(lost), SHARDS)
        self._finished = [seen for seen in self._finished if shard_of(seen.target) in known]
        self._leaving = {shard: self._leaving.get(shard, []) for shard in held.leaving}
        taken = held.shards - before.shards
        self.share.held = replace(held, shards=held.shards - taken)
        elsewhere = [target for target in self._jobs if not self.share.holds(target)]
        for target in elsewhere:
            self._leaving.get(shard_of(target), []).append(self._jobs[target])
        self._drop(elsewhere)
        if taken:
            await self.in_thread(self._writer.reload)  # others recorded meanwhile
            states = await self.in_thread(self._writer.states)
            self.share.held = held
            self._schedule(states)
            _settle()
        if held.shards != before.shards:
            log.info("%d of %d shares are checked here; %d pollers", len(held.shards), SHARDS, len(held.pollers))

    async def exchange(self) -> None:
        """Tell the others what they should ask soon, and ask what they told us. Raises `StoreError`."""
        elsewhere, self._elsewhere = self._elsewhere, set()
        held = self.share.held.shards

        def store() -> list[Target]:
            self._writer.ask_others(elsewhere)
            return self._writer.asked_by_others(held)

        self.ask_soon(target for target in await self.in_thread(store) if target in self._jobs)

    async def _keep_share(self, every: timedelta) -> None:
        """Renew again and again; soon again where the store did not answer, for others wait only so long."""
        while True:
            try:
                await self.renew()
            except StoreError as error:
                self._store_fails(error)
                await asyncio.sleep(min(every.total_seconds(), 1.0))
            else:
                await asyncio.sleep(every.total_seconds())

    # Proof of life --------------------------------------------------------------------------------------------------------------

    def heartbeat(self) -> Heartbeat:
        """How the poller is."""
        return Heartbeat(
            at=self._clock.now(),
            started_at=self.started_at,
            pid=os.getpid(),
            host=platform.node() or "unknown",
            version=__version__,
            checks=self.checks,
            lag_p99_ms=self.lag_p99_ms(),
            in_flight=self.in_flight,
            config_error=self.config_error,
            demo=self.settings.demo,
        )

    async def beat(self) -> None:
        """Store a heartbeat."""
        mine = self.heartbeat()
        await self.in_thread(lambda: self._writer.beat(mine))
        self.last_beat = mine.at

    # Loops ----------------------------------------------------------------------------------------------------------------------

    async def run(self, stop: asyncio.Event) -> None:
        """Poll until `stop` is set; then let running checks end for a moment, record them, and say goodbye."""
        await self.configure()
        _settle()
        keepers = [
            asyncio.create_task(self._every(COMMIT_EVERY, self.flush)),
            asyncio.create_task(self._every(LOOK_EVERY, self.look_after_configuration)),
            asyncio.create_task(self._every(BEAT_EVERY, self.beat, at_once=True)),
        ]
        if self.share.leases is not None:
            keepers.append(asyncio.create_task(self._keep_share(self.share.leases.rhythm.round)))
            keepers.append(asyncio.create_task(self._every(COMMIT_EVERY, self.exchange)))
        stopped = asyncio.create_task(stop.wait())
        stopped.add_done_callback(lambda _: self._wake.set())
        loop = asyncio.get_running_loop()
        try:
            while not stop.is_set():
                again = self.tick()
                # At least 10 ms: twelve thousand checks a minute are due every 5 ms, and need not each wake the loop.
                wait = min(max(again - loop.time(), 0.01), 60.0)
                self._asleep_until = loop.time() + wait
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), wait)
                self._wake.clear()
        finally:
            for task in (*keepers, stopped):
                task.cancel()
            await asyncio.gather(*keepers, stopped, return_exceptions=True)
            await self._end()

    async def run_once(self) -> list[Recorded]:
        """Run every check once, record, and give what was recorded. Raises `StoreError`."""
        await self.configure()
        _settle()
        recorded = await self.round()
        await self.beat()
        return recorded

    async def round(self) -> list[Recorded]:
        """Every configured check once, as fast as it goes. Raises `StoreError`."""
        jobs = list(self._jobs.values())
        for job in jobs:
            job.running, job.due = True, asyncio.get_running_loop().time()
        recorded: list[Recorded] = []
        for at in range(0, len(jobs), COMMIT_MOST):
            await asyncio.gather(*(self._run(job) for job in jobs[at : at + COMMIT_MOST]))
            recorded += await self.flush()
        return recorded

    async def _every(self, seconds: float, step: Callable[[], Awaitable[object]], *, at_once: bool = False) -> None:
        """Repeat a step. A store that cannot be written is said once, and tried again more and more seldom."""
        wait = 0.0 if at_once else seconds
        while True:
            await asyncio.sleep(wait)
            try:
                await step()
            except StoreError as error:
                self._store_fails(error)
                wait = min(max(wait, 0.5) * 2, 30.0)
            else:
                if step == self.flush and self.store_error is not None:
                    log.info("the store is written again")
                    self.store_error = None
                wait = seconds

    def _store_fails(self, error: StoreError) -> None:
        if self.store_error is None:
            log.error("nothing can be recorded, answers are kept in memory: %s", error)
        self.store_error = str(error)

    async def _end(self) -> None:
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=LAST_MOMENT)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        try:
            await self.flush()
            await self.beat()
            if self.share.leases is not None:
                await self.in_thread(self.share.leases.release)
        except StoreError as error:
            log.error("the last answers could not be recorded: %s", error)  # noqa: TRY400 - its text says it all
        self._thread.shutdown(wait=True)


def _settle() -> None:
    """Take what lives as long as we do out of the garbage collector's sight.

    Two thousand projects are 200,000 objects. Looking through them again and again would take a quarter of the CPU, and stop the
    loop for a tenth of a second each time.
    """
    gc.collect()
    gc.freeze()
