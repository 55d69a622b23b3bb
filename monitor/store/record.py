"""The write side: everything that finished in the last moment, in one transaction.

Raw rows, buckets, health and transitions are committed together or not at all, so evidence and state never disagree. What
the writer remembers is changed only after the commit: when that fails, the same batch can be recorded again.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine

from monitor.domain import own_changes
from monitor.domain.health import HealthPolicy, HealthState, Transition
from monitor.domain.inventory import Inventory, Target
from monitor.domain.observation import Observation
from monitor.domain.sharing import shard_of
from monitor.domain.timeline import to_ms
from monitor.store import changes, codec, dialect, meta
from monitor.store.batch import Batch, Memory, Policies, Statements
from monitor.store.catalogue import CatalogueWriter
from monitor.store.engine import reading, writing
from monitor.store.leases import Leases, shared
from monitor.store.register import Register
from monitor.store.status import Heartbeat
from monitor.store.sync import sync
from monitor.store.tables import DAY, MINUTE, PROBES, effective_config, wanted

_POLICY = HealthPolicy()
_NONE: Mapping[str, HealthPolicy] = {}


@dataclass(frozen=True, slots=True)
class Recorded:
    """One observation after it was committed."""

    observation: Observation
    state: HealthState
    transition: Transition | None
    look_again_after: timedelta | None
    """When the confirming check is due, or None where the interval is soon enough."""


class Writer:
    """The only one who writes observations: of all targets, or of those that its leases give it. For one thread at a time."""

    def __init__(
        self,
        engine: Engine,
        policy: HealthPolicy = _POLICY,
        policies: Mapping[str, HealthPolicy] = _NONE,
        leases: Leases | None = None,
    ) -> None:
        """`policies` are those of the projects that are judged differently, by name."""
        self._engine = engine
        self._leases = leases
        self._policies = Policies(policy, policies)
        self._statements = Statements(engine)
        self._memory = Memory(engine)
        self._catalogues = CatalogueWriter(engine)

    def judge_by(self, policy: HealthPolicy, policies: Mapping[str, HealthPolicy] = _NONE) -> None:
        """Judge by other policies from now on."""
        self._policies = Policies(policy, policies)

    def sync_inventory(self, inventory: Inventory, now: datetime) -> None:
        """Make projects, keys and targets as configured. What is gone becomes inactive and keeps its history; what comes
        back finds its rows again; a new secret under an old label is a new row of `keys`.
        """
        known = self._memory.register
        with writing(self._engine) as connection:
            meta.alone(connection)
            if shared(self._engine):
                known = Register.load(connection)  # another poller may have made the same just now
            changed, rotated = sync(connection, known, inventory, to_ms(now))
            changes.write(connection, self._engine, rotated)
            if changed:
                meta.bump(connection)
        self._memory.register = changed or known

    def reload(self) -> None:
        """Learn again what the database holds: others recorded what is now ours to go on with."""
        self._memory = Memory(self._engine)

    def record(self, observations: Sequence[Observation], now: datetime) -> list[Recorded]:
        """Commit these observations; what comes back is in their order. Those of targets that another poller has taken over are
        left out.

        Raises `StoreError` with nothing changed, so that the same batch may be recorded again, and `ValueError` for a time
        without a zone.
        """
        if not observations:
            return []
        with writing(self._engine) as connection:
            if self._leases is not None:
                ours = self._leases.held(connection, {shard_of(seen.target) for seen in observations})
                observations = [seen for seen in observations if shard_of(seen.target) in ours]
                if not observations:
                    return []
            meta.alone(connection)
            batch = Batch(self._memory, self._statements, self._policies, connection, to_ms(now))
            answered = zip(observations, batch.answers_of(observations), strict=True)
            recorded = [Recorded(seen, *batch.add(seen, answer_id)) for seen, answer_id in answered]
            batch.write()
            self._catalogues.write(connection, observations, self._memory.register)
            meta.bump(connection)
        batch.adopt()
        self._catalogues.adopt()
        return recorded

    def ask_others(self, targets: Iterable[Target]) -> None:
        """Ask whoever holds these targets to check them at once."""
        known = self._memory.register.targets
        rows = sorted({(shard_of(target), known[target].id) for target in targets if target in known})
        if rows:
            with writing(self._engine) as connection:
                dialect.insert(self._engine, wanted, ignore=True).run(connection, rows)

    def asked_by_others(self, shards: Collection[int]) -> list[Target]:
        """Targets of these shards that others would like to be checked at once. Each is given out once."""
        c = wanted.c
        with reading(self._engine) as connection:
            if connection.execute(sa.select(c.shard).limit(1)).first() is None:
                return []
        with writing(self._engine) as connection:
            asked = sa.delete(wanted).where(c.shard.in_(shards)).returning(c.target_id)
            numbers = set(connection.execute(asked).scalars())
        return [target for target, row in self._memory.register.targets.items() if row.id in numbers] if numbers else []

    def fingerprints(self) -> dict[tuple[str | None, str | None], str | None]:
        """The secrets that were last in use, by project and label of the key."""
        return {place: row.fingerprint or None for place, row in self._memory.register.keys.items()}

    def states(self) -> dict[Target, HealthState]:
        """The health of every target that ever answered, as the fold remembers it: not yet judged for its age."""
        known = self._memory.known
        return {target: known[row.id].state for target, row in self._memory.register.targets.items() if row.id in known}

    def spent_today(self, project: str, now: datetime) -> tuple[int, int]:
        """Requests and tokens that the project's paid probes (`inference`, `denied_model`) used since midnight UTC."""
        row = self._memory.register.projects.get(project)
        if row is None:
            return 0, 0
        day = to_ms(now) // DAY * DAY
        return self._memory.spent[row.id, day], self._memory.tokens[row.id, day]

    def beat(self, heartbeat: Heartbeat) -> None:
        """Prove to be alive."""
        at = to_ms(heartbeat.at)
        poller = self._leases.holder if self._leases else heartbeat.host
        text = codec.dumps(asdict(heartbeat) | {"at": at, "started_at": to_ms(heartbeat.started_at)})
        lag = (at - at % MINUTE, poller, heartbeat.lag_p99_ms, heartbeat.in_flight, heartbeat.checks)
        with writing(self._engine) as connection:
            self._statements.beat.run(connection, [(poller, at, text)])
            self._statements.lag.run(connection, [lag])
            meta.bump(connection)

    def save_effective_config(self, source: str, text: Mapping[str, Any], now: datetime) -> None:
        """Remember what the poller runs with, and what changed; `text` must hold no secret. The same is not stored again."""
        c = effective_config.c
        said = codec.dumps(text)
        with writing(self._engine) as connection:
            newest = connection.execute(sa.select(c.source, c.text).order_by(c.id.desc()).limit(1)).first()
            if newest is None or tuple(newest) != (source, said):
                connection.execute(sa.insert(effective_config), {"at": to_ms(now), "source": source, "text": said})
                if newest is not None:
                    told = own_changes.configured(now, json.loads(newest.text), json.loads(said))
                    changes.write(connection, self._engine, told)
                meta.bump(connection)

    def count_use(self, asked: Sequence[Observation]) -> None:
        """Count questions that were put beside the checks, as experiments are: they cost the project as much as checks do."""
        requests: Counter[tuple[int, int, int]] = Counter()
        tokens: Counter[tuple[int, int, int]] = Counter()
        for seen in asked:
            row = self._memory.register.projects.get(seen.target.project or "")
            if row is not None and seen.latency_ms is not None:
                place = (row.id, to_ms(seen.at) // DAY * DAY, PROBES[seen.target.probe])
                requests[place] += 1
                tokens[place] += codec.whole(seen.tokens) or 0
        if requests:
            with writing(self._engine) as connection:
                meta.alone(connection)
                self._statements.use.run(connection, [(*place, count, tokens[place]) for place, count in requests.items()])
                meta.bump(connection)
            self._memory.spend(requests, tokens)
