"""The write side: everything that finished in the last moment, in one transaction.

Raw rows, buckets, health and transitions are committed together or not at all, so evidence and state never disagree. What
the writer remembers is changed only after the commit: when that fails, the same batch can be recorded again.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine

from monitor.domain.health import HealthPolicy, HealthState, Transition
from monitor.domain.inventory import Inventory, Target
from monitor.domain.observation import Observation
from monitor.domain.timeline import to_ms
from monitor.store import codec, dialect, meta
from monitor.store.batch import DAY, Batch, Memory, Policies, Statements
from monitor.store.engine import writing
from monitor.store.status import Heartbeat
from monitor.store.sync import sync
from monitor.store.tables import MINUTE, PROBES, effective_config, heartbeats, lag_history

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
    """The only one who writes observations. For one thread at a time."""

    def __init__(self, engine: Engine, policy: HealthPolicy = _POLICY, policies: Mapping[str, HealthPolicy] = _NONE) -> None:
        """`policies` are those of the projects that are judged differently, by name."""
        self._engine = engine
        self._policies = Policies(policy, policies)
        self._statements = Statements(engine)
        self._memory = Memory(engine)

    def judge_by(self, policy: HealthPolicy, policies: Mapping[str, HealthPolicy] = _NONE) -> None:
        """Judge by other policies from now on."""
        self._policies = Policies(policy, policies)

    def sync_inventory(self, inventory: Inventory, now: datetime) -> None:
        """Make projects, keys and targets as configured. What is gone becomes inactive and keeps its history; what comes
        back finds its rows again; a new secret under an old label is a new row of `keys`.
        """
        with writing(self._engine) as connection:
            changed = sync(connection, self._memory.register, inventory, to_ms(now))
            if changed:
                meta.bump(connection)
        if changed:
            self._memory.register = changed

    def record(self, observations: Sequence[Observation], now: datetime) -> list[Recorded]:
        """Commit these observations; what comes back is in their order.

        Raises `StoreError` with nothing changed, so that the same batch may be recorded again, and `ValueError` for a time
        without a zone.
        """
        if not observations:
            return []
        with writing(self._engine) as connection:
            batch = Batch(self._memory, self._statements, self._policies, connection, to_ms(now))
            recorded = [Recorded(seen, *batch.add(seen)) for seen in observations]
            batch.write()
            meta.bump(connection)
        batch.adopt()
        return recorded

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
        text = codec.dumps(asdict(heartbeat) | {"at": at, "started_at": to_ms(heartbeat.started_at)})
        lag = (at - at % MINUTE, heartbeat.host, heartbeat.lag_p99_ms, heartbeat.in_flight, heartbeat.checks)
        with writing(self._engine) as connection:
            dialect.upsert(self._engine, heartbeats, put=["at", "beat"]).run(connection, [(heartbeat.host, at, text)])
            dialect.upsert(self._engine, lag_history, most=["lag_p99_ms", "in_flight"], put=["checks"]).run(connection, [lag])
            meta.bump(connection)

    def save_effective_config(self, source: str, text: Mapping[str, Any], now: datetime) -> None:
        """Remember what the poller runs with; `text` must hold no secret. The same as before is not stored again."""
        c = effective_config.c
        said = codec.dumps(text)
        with writing(self._engine) as connection:
            newest = connection.execute(sa.select(c.source, c.text).order_by(c.id.desc()).limit(1)).first()
            if newest is None or tuple(newest) != (source, said):
                connection.execute(sa.insert(effective_config), {"at": to_ms(now), "source": source, "text": said})
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
                self._statements.use.run(connection, [(*place, count, tokens[place]) for place, count in requests.items()])
                meta.bump(connection)
            self._memory.spend(requests, tokens)
