"""Keeps the incidents: listens to what the poller recorded, asks the neighbours of what broke, and folds it all into incidents.

All decisions are `monitor.domain.correlation`'s; here they get their facts, and what they decide is stored.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice

from monitor.clock import Clock
from monitor.domain.correlation import OPEN_ALONE_AFTER, REOPEN_WITHIN, SAMPLE, Fleet, correlate
from monitor.domain.diagnosis import Context, Diagnosis, context_of, diagnose
from monitor.domain.differential import PAID, ExperimentResult, same_key_elsewhere
from monitor.domain.health import HealthState
from monitor.domain.incidents import Cause, Event, EventKind, Ill, Incident
from monitor.domain.inventory import Inventory, ProbeKind, Target
from monitor.domain.observation import Observation
from monitor.domain.replay import became
from monitor.domain.taxonomy import FailureKind, Lane, Scope
from monitor.domain.what_changed import LONGEST, ranked, sharpened
from monitor.openai_api.experiments import investigate
from monitor.poller import Poller
from monitor.store import around, changes, incidents, intents, troubled
from monitor.store.engine import Engine, StoreError
from monitor.store.record import Recorded

log = logging.getLogger(__name__)

STEP_EVERY = 1.0
"""Seconds between two looks at what is ill."""
SAMPLED_FOR = timedelta(seconds=30)
"""How long an answer is one to the question that was asked because another target failed."""
PAID_SAMPLE = 1
SAMPLE_EVERY = timedelta(seconds=10)
LAST_LOOK = timedelta(seconds=15)
"""Between two looks at one that may be ill by chance."""
PAID_SAMPLE_EVERY = timedelta(minutes=5)
RECORD_COMES_LATE = timedelta(hours=2)
"""After the end of an incident: so long may what changed before it still name its cause."""
MOST_EXPLAINED = 200
CHANGED_BY_SOMEBODY = frozenset({Lane.AUTH, Lane.ACCESS, Lane.RATE, Lane.QUOTA})
"""Where somebody's change may be the cause: a key, a permission, a limit, money."""


class IncidentKeeper:
    """Folds what is ill into incidents, beside one poller."""

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        tell: Callable[[datetime], object] = lambda _: None,
        lead: Callable[[], object] = lambda: None,
        broke: Callable[[Collection[str]], object] = lambda _: None,
    ) -> None:
        """`tell` is called after every fold, in the thread that writes: it decides who hears of what. `lead` is called before the
        first, and before that which follows a time in which another poller kept the incidents. `broke` is told in which projects
        something broke that a change of theirs may explain: what changed is best asked while it is fresh.
        """
        self._broke = broke
        self._tell = tell
        self._lead = lead
        self._leads = False
        self._heard: dict[Target, datetime] = {}
        """The last answer of everything that is ill anywhere, where several pollers share the targets."""
        self._engine = engine
        self._clock = clock
        self._ill: dict[Target, Ill] = {}
        self._said: dict[Target, Observation] = {}
        """The last answer of everything that is ill."""
        self._asked: dict[tuple[str, str], datetime] = {}
        """When the neighbours at a host were asked, by what for."""
        self._sampled: dict[Target, datetime] = {}
        """Those that were well when they were asked because another one had failed, and when."""
        self._opened: list[Incident] = []
        """New, and not yet looked into."""
        self._investigations: set[asyncio.Task[None]] = set()
        self._inventory: Inventory | None = None
        self._fleet = Fleet.of(())
        self._watched: set[Target] = set()
        self._of_project: dict[str, list[Target]] = {}
        self._neighbours: list[Target] = []
        self._broken: set[str] = set()
        """Projects in which something broke since the last look."""
        self.open_ones: list[Incident] = []
        """What goes on, newest knowledge."""
        self._changes: str | None = None
        """The version of what changed that the diagnoses know of."""
        self._explained: list[Incident] | None = None
        """The open ones when they were last held against what changed."""
        self.changed_at: datetime | None = None
        """When something became ill, sure, ill in another way, or well."""

    # Listening ------------------------------------------------------------------------------------------------------------------

    def note(self, recorded: Sequence[Recorded]) -> None:
        """Take in what was recorded. Cheap: called after every commit."""
        for each in recorded:
            before = self._ill.get(each.observation.target)
            self._take(each.observation, each.state)
            now = self._ill.get(each.observation.target)
            if before is None and now is not None:
                self._neighbours += self._worth_asking(now)
                if now.failure.lane in CHANGED_BY_SOMEBODY and now.target.project is not None:
                    self._broken.add(now.target.project)

    def _take(self, seen: Observation, state: HealthState) -> None:
        """Take in what one target answered last."""
        target, before = seen.target, self._ill.get(seen.target)
        now = became(before, state, seen)
        if now is None:
            self._ill.pop(target, None)
            self._said.pop(target, None)
        else:
            asked = self._sampled.get(target)
            if before.sampled if before else asked is not None and asked <= seen.at <= asked + SAMPLED_FOR:
                now = replace(now, sampled=True)
            self._ill[target] = now
            # A good answer between two bad ones tells nothing of them.
            if seen.failure is now.failure or target not in self._said:
                self._said[target] = seen
        if _state(before) != _state(self._ill.get(target)):
            self.changed_at = self._clock.now()

    def _worth_asking(self, one: Ill) -> Iterator[Target]:
        """The control experiments that cost nothing, or little: who answers now tells whose fault it is."""
        if self._inventory is None:
            return
        target, lane = one.target, one.failure.lane
        paid = lane is Lane.QUOTA and one.failure is not FailureKind.QUOTA_PROJECT_SPEND
        host, mine = self._fleet.host(target), self._of_project.get(target.project or "", ())
        if target.probe is not ProbeKind.AUTH:
            yield from (there for there in mine if there.probe is ProbeKind.AUTH and there.key == target.key)
        if lane in (Lane.AUTH, Lane.CLIENT):
            yield from (there for there in mine if there.probe is ProbeKind.AUTH and there.key != target.key)
        if one.failure is FailureKind.ACCESS_MODEL_NOT_FOUND and target.probe is ProbeKind.MODEL_ACCESS:
            yield replace(target, probe=ProbeKind.INFERENCE)  # a call tells a retired model from a name that never was
        if lane is Lane.ACCESS and target.model is not None and self._is_time((host, target.model), SAMPLE_EVERY):
            yield from self._sample(self._others(target, ProbeKind.MODEL_ACCESS, target.model))
        if lane in (Lane.SERVER, Lane.NETWORK) and target.probe is ProbeKind.INFERENCE:
            yield from self._other_calls(target, mine)
        if lane not in (Lane.AUTH, Lane.NETWORK, Lane.SERVER, Lane.QUOTA):
            return
        if self._is_time((host, "quota" if paid else ""), PAID_SAMPLE_EVERY if paid else SAMPLE_EVERY):
            yield from (each.target for each in self._inventory.checks if _is_control(each.target, host) and each.target != target)
            probe = ProbeKind.INFERENCE if paid else ProbeKind.AUTH
            yield from islice(self._others(target, probe), PAID_SAMPLE) if paid else self._sample(self._others(target, probe))

    def _other_calls(self, target: Target, mine: Iterable[Target]) -> Iterator[Target]:
        """Another model with the same key, the same one elsewhere, another one elsewhere: is it the project, the model, or all?"""
        if not self._is_time((self._fleet.host(target), "calls"), PAID_SAMPLE_EVERY):
            return
        others = (there for there in mine if there.probe is ProbeKind.INFERENCE and there.model != target.model)
        yield from islice(others, PAID_SAMPLE)
        yield from islice(self._others(target, ProbeKind.INFERENCE, target.model), PAID_SAMPLE)
        yield from islice(self._others(target, ProbeKind.INFERENCE, but=target.model), PAID_SAMPLE)

    def _sample(self, others: Iterable[Target]) -> list[Target]:
        """A few of them from far apart: those side by side may have one owner."""
        there, now = list(others), self._clock.now()
        found = there if len(there) <= SAMPLE else [there[len(there) * (2 * at + 1) // (2 * SAMPLE)] for at in range(SAMPLE)]
        self._sampled = {target: at for target, at in self._sampled.items() if now - at <= SAMPLED_FOR}
        self._sampled |= {target: now for target in found if target not in self._ill}
        return found

    def _is_time(self, place: tuple[str, str], every: timedelta) -> bool:
        """Whether these neighbours at a host were not asked of late; from now on they were."""
        now = self._clock.now()
        if timedelta() <= now - self._asked.get(place, now - every) < every:
            return False
        self._asked[place] = now
        return True

    def _others(self, target: Target, probe: ProbeKind, model: str | None = None, but: str | None = None) -> Iterator[Target]:
        """One check of each other project at the same host, of `model` or of any other than `but`."""
        host, seen = self._fleet.host(target), {target.project, None}
        for check in self._inventory.checks if self._inventory else ():
            there = check.target
            fits = there.probe is probe and (model is None or there.model == model) and (but is None or there.model != but)
            if fits and there.project not in seen and self._fleet.host(there) == host:
                seen.add(there.project)
                yield there

    # Folding --------------------------------------------------------------------------------------------------------------------

    async def run(self, poller: Poller) -> None:
        """Fold again and again until cancelled. A store that cannot be written is tried again."""
        wait = STEP_EVERY
        while True:
            await asyncio.sleep(wait)
            try:
                await self.look(poller)
                wait = STEP_EVERY
            except StoreError as error:
                self._leads = False  # what goes on may have changed: it is read again
                log.warning("incidents could not be recorded: %s", error)
                wait = min(wait * 2, 30.0)
            except Exception:
                # A defect here must not end the incidents of everybody else.
                log.exception("the incidents could not be folded")
                wait = min(wait * 2, 30.0)

    async def look(self, poller: Poller) -> None:
        """Ask the neighbours of what broke, carry out what people asked for, and fold what is ill. Raises `StoreError`."""
        if poller.inventory is not self._inventory:
            self._know(poller.inventory)
        if self._neighbours:
            poller.ask_soon(self._neighbours)
            self._neighbours = []
        if not poller.share.held.leads:
            self._broken.clear()
            self._leads, self._ill = False, {target: one for target, one in self._ill.items() if poller.share.holds(target)}
            poller.ask_soon(self._doubtful())
            return
        if not self._leads:
            await poller.in_thread(self._begin)
        elif poller.share.leases is not None:
            await poller.in_thread(self._hear)
        asked = await poller.in_thread(self.step)
        opened, self._opened = self._opened, []
        broken, self._broken = self._broken, set()
        broken |= {name for incident in opened if incident.failure.lane in CHANGED_BY_SOMEBODY for name in incident.projects}
        if broken:
            self._broke(sorted(broken))
        for incident in opened:
            task = asyncio.create_task(self._investigate(poller, incident))
            self._investigations.add(task)
            task.add_done_callback(self._investigations.discard)
        poller.ask_soon([*asked, *filter(poller.share.holds, self._doubtful())])

    def _doubtful(self) -> Iterator[Target]:
        """Trouble of the network or a server: looked at every 15 s until it counts, for most of it is over by then."""
        now = self._clock.now()
        for target, one in self._ill.items():
            healing = one.confirmed and one.failure.lane in (Lane.NETWORK, Lane.SERVER)
            waiting = now - one.since < OPEN_ALONE_AFTER
            if healing and waiting and (target not in self._said or now - self._said[target].at > LAST_LOOK):
                yield target

    def _know(self, inventory: Inventory) -> None:
        """Take another inventory: what is no longer watched is no longer ill."""
        self._inventory = inventory
        self._fleet = Fleet.of(inventory.projects)
        self._watched = {check.target for check in inventory.checks}
        self._of_project = {}
        for target in (check.target for check in inventory.checks):
            self._of_project.setdefault(target.project or "", []).append(target)
        self._ill = {target: one for target, one in self._ill.items() if target in self._watched}

    def _begin(self) -> None:
        """Learn what was ill and what went on before this poller kept the incidents."""
        self._heard = {}
        self._hear()
        self.open_ones = incidents.open_ones(self._engine)
        self._opened = []
        self._lead()
        self._leads = True

    def _hear(self) -> None:
        """Take in what is recorded of everything that is ill, whoever checks it."""
        present = troubled.newest(self._engine)
        changed = [row for row, (target, at) in present.items() if self._heard.get(target) != at and not self._knows(target, at)]
        for seen, state in troubled.read(self._engine, changed):
            if seen.target in self._watched:
                self._take(seen, state)
        self._heard = dict(present.values())
        for target in self._ill.keys() - self._heard.keys():
            del self._ill[target]
            self._said.pop(target, None)

    def _knows(self, target: Target, at: datetime) -> bool:
        """Whether the answer was given here: then more is known of it than what is stored."""
        return target in self._said and self._said[target].at >= at

    def step(self) -> list[Target]:
        """Fold once; gives the targets that somebody asked to be checked now."""
        now = self._clock.now()
        asked = list(self._carry_out(now))
        if not self._ill and not self.open_ones:
            self._explain(now)
            self._tell(now)
            return asked
        lately = incidents.recently_resolved(self._engine, now - REOPEN_WITHIN) if self._ill else []
        folded = correlate(tuple(self._ill.values()), self._fleet, self.open_ones, lately, now, self._describe)
        if folded:
            stored = incidents.apply(self._engine, folded, now)
            fresh = zip(stored, folded, strict=True)
            self._opened += [made for made, change in fresh if change.events and change.events[0].kind is EventKind.OPENED]
            self.open_ones = incidents.open_ones(self._engine)
        self._explain(now)
        self._tell(now)
        return asked

    def _carry_out(self, now: datetime) -> Iterator[Target]:
        """What people asked for on the pages."""
        done = intents.carry_out(self._engine, now)
        if any(intent.kind == "acknowledge" for intent in done):
            self.open_ones = incidents.open_ones(self._engine)
        for intent in done:
            if intent.kind == "probe_now" and self._inventory is not None:
                yield from (check.target for check in self._inventory.checks if check.target.project == intent.project)

    # Experiments ----------------------------------------------------------------------------------------------------------------

    async def _investigate(self, poller: Poller, incident: Incident) -> None:
        """Ask the few questions that tell causes apart, once, and sharpen the diagnosis of a new incident."""
        seen = next(
            (each for each in self._said.values() if each.failure is incident.failure and _is_of(each.target, incident)), None
        )
        base = poller.request(seen.target) if seen else None
        if seen is None or base is None or incident.cause.scope not in (Scope.KEY, Scope.MODEL, Scope.PROJECT):
            return
        good = self._known_good(seen.target)
        project = self._fleet.projects.get(seen.target.project or "")
        key = next((each for each in project.keys if each.label == seen.target.key), None) if project else None
        known = context_of(seen, at=seen.at, now=self._clock.now(), project=project, key=key, since=incident.first_bad_at)
        context = self._alone(known, incident.cause)
        try:
            diagnosis, results = await investigate(
                poller.client,
                incident.failure,
                seen,
                base,
                poller.request(good) if good else None,
                context,
                may_spend=poller.affords_a_call(seen.target) and (good is None or poller.affords_a_call(good)),
                same_organization=self._fleet.organization(good) == self._fleet.organization(seen.target) if good else None,
                same_key_as=same_key_elsewhere(seen.target, self._fleet.projects.values()),
                model=seen.target.model or (project.models[0] if project and project.models else None),
            )
            await poller.count_use([each.observation for each in results if each.observation is not None])
            if results:
                asked = "; ".join(f"{each.kind.value.replace('_', ' ')}: {_heard(each)}" for each in results)
                event = Event(self._clock.now(), EventKind.EXPERIMENT, f"Asked to tell causes apart: {asked}.")
                await poller.in_thread(lambda: self._sharpen(incident, event, diagnosis))
        except StoreError as error:
            log.warning("what the experiments showed could not be recorded: %s", error)
        except Exception:
            log.exception("the experiments for INC-%s could not be made", incident.id)

    def _known_good(self, target: Target) -> Target | None:
        """A key of another project at the same host that is well."""
        if self._inventory is None:
            return None
        ill = {(one.target.project, one.target.key) for one in self._ill.values()}
        host = self._fleet.host(target)
        for check in self._inventory.checks:
            other = check.target
            there = other.probe is ProbeKind.AUTH and other.project != target.project and self._fleet.host(other) == host
            if there and (other.project, other.key) not in ill:
                return other
        return None

    def _sharpen(self, incident: Incident, event: Event, diagnosis: Diagnosis) -> None:
        if incident.id is None:
            return
        current = next((each for each in self.open_ones if each.id == incident.id), None)
        if current is not None and current.failure is incident.failure and current.cause == incident.cause:
            diagnosis = self._with_changes(replace(current, diagnosis=diagnosis))
            incidents.update(self._engine, incident.id, event, diagnosis=diagnosis)
        else:
            incidents.update(self._engine, incident.id, event)
        self.open_ones = incidents.open_ones(self._engine)

    # What changed ---------------------------------------------------------------------------------------------------------------

    def _explain(self, now: datetime) -> None:
        """Hold what goes on, and what has just ended, against what changed around it, whenever one of the two is news."""
        version = changes.version(self._engine)
        news = version != self._changes
        if not news and self.open_ones is self._explained:
            return
        known = {each.id: each.diagnosis for each in self._explained or ()}
        fresh = [each for each in self.open_ones if news or known.get(each.id) != each.diagnosis]
        lately = incidents.recently_resolved(self._engine, now - RECORD_COMES_LATE) if news else []
        young = [each for each in (*fresh, *lately) if now - each.first_bad_at < LONGEST]
        told = [self._tell_cause(each, now) for each in sorted(young, key=lambda each: each.opened_at)[-MOST_EXPLAINED:]]
        if any(told):
            self.open_ones = incidents.open_ones(self._engine)
        self._explained, self._changes = self.open_ones, version

    def _tell_cause(self, incident: Incident, now: datetime) -> bool:
        """Sharpen one diagnosis; whether it is another one now."""
        said = self._with_changes(incident)
        if incident.id is None or said == incident.diagnosis:
            return False
        text = f"What changed explains it: {said.changed}" if said.changed else "What was thought to explain it does not."
        return incidents.update(self._engine, incident.id, Event(now, EventKind.CAUSE, text), diagnosis=said)

    def _with_changes(self, incident: Incident) -> Diagnosis:
        return sharpened(incident, ranked(incident, around.read(self._engine, incident)))

    # Words ----------------------------------------------------------------------------------------------------------------------

    def _describe(self, cause: Cause, kind: FailureKind, members: tuple[Ill, ...]) -> Diagnosis:
        """The words for a cause, from the newest answer that says it."""
        said = [self._said[one.target] for one in members if one.failure is kind and one.target in self._said]
        if not said:
            return diagnose(kind, self._alone(Context(since=members[0].since, now=self._clock.now()), cause))
        seen = max(said, key=lambda each: each.at)
        project = self._fleet.projects.get(seen.target.project or "")
        key = next((each for each in project.keys if each.label == seen.target.key), None) if project else None
        known = context_of(seen, at=seen.at, now=self._clock.now(), project=project, key=key, since=members[0].since)
        return diagnose(kind, self._alone(known, cause))

    def _alone(self, context: Context, cause: Cause) -> Context:
        """The context without the one project or key that happened to say it, where the cause reaches further."""
        if cause.scope in (Scope.ORGANIZATION, Scope.OPENAI, Scope.MONITOR):
            unnamed = replace(context, project=None, key=None, last_four=None, model=None, project_id=None)
            return replace(unnamed, reach=cause.scope)
        if cause.scope is Scope.MODEL and "/" not in cause.subject:
            return replace(context, project=None, key=None, last_four=None, project_id=None, reach=Scope.MODEL)
        if cause.scope is Scope.PROJECT:
            return replace(context, key=None, last_four=None, reach=Scope.PROJECT)
        return context


def _is_of(target: Target, incident: Incident) -> bool:
    return target.project in incident.projects and f"{target.project}/{target.key}" in incident.keys


def _heard(result: ExperimentResult) -> str:
    seen = result.observation
    if seen is None:
        return "left out, the budget of the day is spent" if result.kind in PAID else "could not be asked"
    return seen.failure.value if seen.failure else "ok"


def _state(one: Ill | None) -> tuple[object, ...] | None:
    return (one.failure, one.health, one.confirmed, one.flapping, one.recovering) if one else None


def _is_control(target: Target, host: str) -> bool:
    return target.probe is ProbeKind.CONTROL and target.host == host


__all__ = ["IncidentKeeper"]
