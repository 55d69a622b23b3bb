"""One batch of observations inside its transaction, and what the writer remembers between batches."""

import contextlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from operator import itemgetter
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from monitor.domain.health import HealthPolicy, HealthState, Transition, advance, look_again_after
from monitor.domain.inventory import ProbeKind
from monitor.domain.observation import Observation, Verdict
from monitor.domain.timeline import from_ms, to_ms
from monitor.store import codec, dialect
from monitor.store.counts import OPEN, Counts, CountsWriter
from monitor.store.dialect import Int
from monitor.store.engine import reading
from monitor.store.packing import unpack
from monitor.store.register import Register, TargetRow
from monitor.store.tables import (
    DAY,
    FLEET,
    HOUR,
    LIMIT_STEP,
    PROBES,
    answers,
    heartbeats,
    lag_history,
    limit_buckets,
    observations,
    packs,
    probe_use,
    projects,
    target_states,
    transitions,
)

_PAID = frozenset({PROBES[ProbeKind.INFERENCE], PROBES[ProbeKind.DENIED_MODEL]})
_MOST_ANSWERS = 20_000
"""Answers remembered; beyond, all are forgotten and looked up again."""


class Known(NamedTuple):
    """A target between batches."""

    state: HealthState
    newest: int
    """No raw row is newer than this; -1 where there is none. Usually `state.last_at`, but the clock may have been set back."""
    answer_id: int | None


_NEVER = Known(HealthState(), -1, None)


class Policies(NamedTuple):
    """How health is judged."""

    default: HealthPolicy
    of_project: Mapping[str, HealthPolicy]
    """Those of the projects that are judged differently, by name."""


class Memory:
    """What the database holds, as far as folding needs it. Changed by `adopt` alone, after a commit."""

    def __init__(self, engine: Engine) -> None:
        self.known: dict[int, Known] = {}
        self.answers: dict[tuple[Any, ...], int] = {}
        self.day = 0
        """On which these answers were said: the next day they are looked up again, and so marked as used."""
        self.spent: Counter[tuple[int, int]] = Counter()
        """Requests of paid probes, by project and day; the tokens are in `tokens`."""
        self.tokens: Counter[tuple[int, int]] = Counter()
        with reading(engine) as connection:
            self.register = Register.load(connection)
            self._load_states(connection)
            self._load_use(connection)

    def _load_states(self, connection: Connection) -> None:
        c, o = target_states.c, observations.c
        newest = sa.select(o.at).where(o.target_id == c.target_id).order_by(o.at.desc()).limit(1).scalar_subquery()
        columns = (c.target_id, newest, c.answer_id, *(c[name] for name in codec.STATE_COLUMNS))
        for number, at, answer_id, *row in connection.execute(sa.select(*columns)):
            state = codec.state_of(row)
            # Its newest rows may be packed: the state remembers when the last one was.
            newest_at = max(at or -1, to_ms(state.last_at) if state.last_at else -1)
            self.known[number] = Known(state, newest_at, answer_id)

    def _load_use(self, connection: Connection) -> None:
        c, other, p = probe_use.c, probe_use.alias().c, projects.c
        newest = sa.select(sa.func.max(other.day)).where(other.project_id == p.id).scalar_subquery()
        # An outer join, so that each project's newest day is sought by itself: its rows of a year need not be read.
        paid = sa.select(p.id, c.day, c.requests, c.tokens).outerjoin_from(
            projects, probe_use, sa.and_(c.project_id == p.id, c.day == newest, c.probe.in_(_PAID))
        )
        for project_id, day, requests, tokens in connection.execute(paid):
            if day is None:
                continue
            self.spent[project_id, day] += requests
            self.tokens[project_id, day] += tokens

    def spend(self, requests: Mapping[tuple[int, int, int], int], tokens: Mapping[tuple[int, int, int], int]) -> None:
        """Remember what paid probes used, by project, day and probe."""
        for (project_id, day, probe), count in requests.items():
            if probe in _PAID:
                self.spent[project_id, day] += count
                self.tokens[project_id, day] += tokens[project_id, day, probe]


class Statements:
    """What a batch or a heartbeat executes, compiled once."""

    def __init__(self, engine: Engine) -> None:
        *folded, flapping = codec.STATE_COLUMNS
        state_columns = ("target_id", *folded, "answer_id", "latency_us", "request_id", "retry_after", "hit", flapping)
        self.observations = dialect.insert(engine, observations)
        self.answers = dialect.upsert(
            engine, answers, most=["used_at"], columns=("digest", *codec.ANSWER_COLUMNS, "used_at"), key=["digest"]
        )
        self.counts = CountsWriter(engine)
        self.states = dialect.upsert(engine, target_states, put=state_columns[1:], columns=state_columns)
        self.limits = dialect.update(engine, target_states, ("limits", "limits_at"), "target_id")
        self.limit_buckets = dialect.upsert(engine, limit_buckets, put=["limit"], least=["remaining"])
        self.transitions = dialect.insert(engine, transitions, ("target_id", "at", "old", "new", "failure"))
        self.use = dialect.upsert(engine, probe_use, add=["requests", "tokens"])
        self.beat = dialect.upsert(engine, heartbeats, put=["at", "beat"])
        self.lag = dialect.upsert(engine, lag_history, most=["lag_p99_ms", "in_flight"], put=["checks"])


_TAKEN = sa.select(observations.c.at).where(
    observations.c.target_id == sa.bindparam("number"),
    observations.c.at.between(sa.bindparam("at", type_=Int), sa.bindparam("at", type_=Int) + 999),
)
_PACKED = sa.select(packs.c.start, packs.c.data).where(
    packs.c.start.in_((sa.bindparam("first", type_=Int), sa.bindparam("second", type_=Int))),
    packs.c.target_id == sa.bindparam("number", type_=Int),
)


class Batch:
    """Folds observations and collects rows; `write` sends them, `adopt` remembers them once they are committed."""

    def __init__(self, memory: Memory, statements: Statements, policies: Policies, connection: Connection, now: int) -> None:
        self._memory = memory
        self._statements = statements
        self._policies = policies
        self._connection = connection
        self._now = now
        self._day = now - now % DAY
        self._remembered = memory.answers if memory.day == self._day else {}
        self._admitted = Register()
        self._known: dict[int, Known] = {}
        self._shown: dict[int, tuple[Any, ...]] = {}
        """What is shown of each target's last answer beside its state: latency, request id, wait, limit that was hit."""
        self._limits: dict[int, tuple[Any, ...]] = {}
        self._answers: dict[tuple[Any, ...], int] = {}
        self._counts = Counts()
        self._raw: list[tuple[Any, ...]] = []
        self._times: dict[int, set[int]] = defaultdict(set)
        """When each target answered, of as many rows as were looked through for a free moment."""
        self._looked = 0
        self._limit_rows: list[tuple[Any, ...]] = []
        self._transitions: list[tuple[Any, ...]] = []
        self._tokens: Counter[tuple[int, int, int]] = Counter()

    def answers_of(self, told: Sequence[Observation]) -> list[int]:
        """The rows of what these answers say, new where nobody ever said it.

        All at once and in the order of their digests: two pollers that learn the same would else wait for each other.
        """
        shapes = [codec.shape(seen) for seen in told]
        known = [self._remembered.get(shape) for shape in shapes]
        new = {shape for shape, number in zip(shapes, known, strict=True) if number is None}
        unknown = {shape: codec.answer_row(shape) for shape in new}
        rows = sorted({row[0]: row for row in unknown.values()}.values(), key=itemgetter(0))
        self._statements.answers.run(self._connection, [(*row, self._day) for row in rows])
        numbers: dict[bytes, int] = {}
        c = answers.c
        for first in range(0, len(rows), 5000):
            digests = [row[0] for row in rows[first : first + 5000]]
            found = self._connection.execute(sa.select(c.digest, c.id).where(c.digest.in_(digests)))
            numbers |= {bytes(digest): number for digest, number in found}
        self._answers = {shape: numbers[row[0]] for shape, row in unknown.items()}
        return [number or self._answers[shape] for shape, number in zip(shapes, known, strict=True)]

    def add(self, seen: Observation, answer_id: int) -> tuple[HealthState, Transition | None, timedelta | None]:
        """Fold one observation: the state after it, the change it made, and when to look again."""
        register = self._memory.register
        target = register.targets.get(seen.target) or self._admitted.admit(register, self._connection, seen.target, self._now)
        number = target.id
        known = self._known.get(number) or self._memory.known.get(number, _NEVER)
        at = asked = to_ms(seen.at)
        if at <= known.newest:
            at = self._free(number, at)
        if at != asked or seen.at.microsecond % 1000:
            seen = replace(seen, at=from_ms(at))  # the fold sees the time that is stored, or a restart would remember another
        policy = self._policies.of_project.get(seen.target.project or "", self._policies.default)
        state, transition = advance(known.state, seen, policy)
        taken = state is not known.state
        self._known[number] = Known(state, max(at, known.newest), answer_id if taken else known.answer_id)
        latency, request_id = codec.microseconds(seen.latency_ms), codec.clean(seen.request_id)
        if taken:
            self._shown[number] = (latency, request_id, seen.retry_after, codec.hit_text(seen.hit))
            if seen.limits:
                self._limits[number] = (codec.limits_text(seen.limits), at, number)
        processing = codec.microseconds(seen.processing_ms)
        if seen.verdict is Verdict.OK and seen.finding is None:
            self._raw.append((number, at, answer_id, 0, latency, processing, None, None))
        else:
            evidence = codec.evidence(seen, repeated=answer_id == known.answer_id)
            self._raw.append((number, at, answer_id, 1, latency, processing, request_id, evidence))
        if at >= self._now - OPEN:
            self._count(seen, target, at)
        if transition is not None:
            failure = transition.failure.value if transition.failure else None
            self._transitions.append((number, at, transition.old.value, transition.new.value, failure))
        return state, transition, look_again_after(state, policy)

    def _free(self, number: int, at: int) -> int:
        """The first millisecond from `at` on without an answer of the target: a late one must not replace another."""
        place = {"number": number, "at": at, "first": at - at % HOUR, "second": (at + 999) - (at + 999) % HOUR}
        taken = set(self._connection.execute(_TAKEN, place).scalars())
        for start, data in self._connection.execute(_PACKED, place):
            # One that is damaged hinders nothing new: `db check` names it. Of two answers at one time both can be packed.
            with contextlib.suppress(ValueError):
                taken.update(one.at for one in unpack(start, data))
        for row in self._raw[self._looked :]:
            self._times[row[0]].add(row[1])
        self._looked = len(self._raw)
        while at in taken or at in self._times[number]:
            at += 1
        return at

    def _count(self, seen: Observation, target: TargetRow, at: int) -> None:
        project_id, probe = target.project_id, target.probe
        self._counts.add(project_id, probe, at, seen.verdict, seen.failure, seen.latency_ms)
        if seen.tokens is not None and seen.latency_ms is not None and project_id != FLEET:
            self._tokens[project_id, at - at % DAY, probe] += codec.whole(seen.tokens) or 0
        for limit in seen.limits:
            said = codec.clean(limit.bucket), codec.whole(limit.limit), codec.whole(limit.remaining)
            self._limit_rows.append((target.id, at - at % LIMIT_STEP, *said))

    def write(self) -> None:
        """Send all rows, each table's in the order of its key."""
        do, connection = self._statements, self._connection
        do.observations.run(connection, sorted(self._raw))
        do.counts.write(connection, self._counts)
        do.states.run(connection, [self._state_row(number) for number in sorted(self._shown)])
        do.limits.run(connection, list(self._limits.values()))
        do.limit_buckets.run(connection, sorted(self._limit_rows, key=itemgetter(0, 1, 2)))
        do.transitions.run(connection, self._transitions)
        do.use.run(connection, [(*place, count, self._tokens[place]) for place, count in sorted(self._counts.asked().items())])

    def _state_row(self, number: int) -> tuple[Any, ...]:
        known = self._known[number]
        *folded, flapping = codec.state_row(known.state)
        return (number, *folded, known.answer_id, *self._shown[number], flapping)

    def adopt(self) -> None:
        """Remember what is committed."""
        memory = self._memory
        memory.register.adopt(self._admitted)
        memory.known.update(self._known)
        if memory.day != self._day or len(memory.answers) > _MOST_ANSWERS:
            memory.answers.clear()
            memory.day = self._day
        memory.answers.update(self._answers)
        memory.spend(self._counts.asked(), self._tokens)
