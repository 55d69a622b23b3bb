"""The leases of the pollers that share one PostgreSQL. What each takes is `monitor.domain.sharing`'s to decide.

All times are the database's own: no two machines need agree on the time. On SQLite there is one poller and no lease.
"""

import os
import platform
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from monitor.domain.sharing import LEADER, SHARDS, Lease, Rhythm, divide
from monitor.store import dialect
from monitor.store.engine import reading, writing
from monitor.store.errors import Problem, StoreError
from monitor.store.tables import leases, pollers

_ALL = (LEADER, *range(SHARDS))
UNATTENDED = timedelta(seconds=30)
_FORGOTTEN = timedelta(days=1)
_NOW: sa.ColumnElement[int] = sa.cast(sa.func.extract("epoch", sa.func.clock_timestamp()) * 1000, sa.BigInteger)


@dataclass(frozen=True, slots=True)
class Held:
    """What a poller holds after a round."""

    shards: frozenset[int]
    """Those to check and record, `leaving` left out."""
    leaving: frozenset[int]
    """Those to stop checking, and to hand over when their last answer is recorded."""
    leads: bool
    pollers: Mapping[str, str]
    """Everybody who lives, with a digest of what each was told to watch."""


@dataclass(frozen=True, slots=True)
class PollerShare:
    """A poller that lives, as the pages show it."""

    name: str
    shards: int
    leads: bool


@dataclass(frozen=True, slots=True)
class Sharing:
    """How the work is divided."""

    pollers: tuple[PollerShare, ...]
    """Those that live, the leader first; none where one poller needs no lease."""
    unattended: int
    """Shards that nobody has held for `UNATTENDED`: what they watch is not checked."""


def shared(engine: Engine) -> bool:
    """Whether this database takes several pollers."""
    return engine.dialect.name == "postgresql"


def name() -> str:
    """What this poller is called. A process of the same number on a machine of the same name is another one."""
    return f"{platform.node() or 'unknown'}:{os.getpid()}:{secrets.token_hex(2)}"


class Leases:
    """The leases of one poller."""

    def __init__(self, engine: Engine, holder: str, lease: timedelta) -> None:
        """`lease` is the time within which the share of a poller that died goes on elsewhere."""
        self.holder = holder
        self.rhythm = Rhythm.of(lease)
        self._engine = engine
        self._term = _ms(self.rhythm.term)
        self._since: float | None = None
        """The first of an unbroken row of rounds."""
        self._last = 0.0
        _be_impatient(engine, self.rhythm.hang)

    def round(self, at: float, leaving: Collection[int], left: Collection[int], inventory: str) -> Held:
        """Renew what is held, take what is free, release what was `left`. `at` is a time that no change of the clock touches.

        Raises `StoreError` with nothing changed.
        """
        if self._since is not None and at - self._last > 2 * self.rhythm.round.total_seconds():
            self._since = None
        settled = self._since is not None and at - self._since >= self.rhythm.term.total_seconds()
        since, self._since = self._since, None
        with writing(self._engine) as connection:
            self._live(connection, inventory)
            rows = self._rows(connection)
            living = self._living(connection)
            moves = divide(rows, self.holder, len(living), leaving, left, settled=settled)
            self._put(connection, moves.keep | moves.take, self.holder)
            self._put(connection, moves.release, None)
        self._since, self._last = at if since is None else since, at
        held = moves.keep | moves.take
        return Held(held - moves.leave - {LEADER}, moves.leave, LEADER in held, living)

    def _live(self, connection: Connection, inventory: str) -> None:
        p = pollers.c
        connection.execute(sa.delete(pollers).where(p.until < _NOW - _ms(_FORGOTTEN)))
        row = {"until": _NOW + self._term, "inventory": inventory}
        if not connection.execute(sa.update(pollers).where(p.name == self.holder).values(row)).rowcount:
            connection.execute(sa.insert(pollers).values(name=self.holder, **row))

    def _rows(self, connection: Connection) -> list[Lease]:
        """Every lease, and nobody else's until the transaction ends: rounds are one at a time, and so are a round and a record."""
        c = leases.c
        query = sa.select(c.shard, c.holder, c.until <= _NOW).order_by(c.shard).with_for_update()
        rows = connection.execute(query).all()
        if len(rows) < len(_ALL):
            connection.execute(dialect.insert_new(self._engine, leases), [{"shard": shard} for shard in _ALL])
            rows = connection.execute(query).all()
        return [Lease(shard, holder, bool(ran_out)) for shard, holder, ran_out in rows]

    def _living(self, connection: Connection) -> dict[str, str]:
        p = pollers.c
        return dict(connection.execute(sa.select(p.name, p.inventory).where(p.until > _NOW)).all())

    def _put(self, connection: Connection, shards: Collection[int], holder: str | None) -> None:
        if shards:
            until = _NOW + self._term if holder else _NOW
            connection.execute(sa.update(leases).where(leases.c.shard.in_(shards)).values(holder=holder, until=until))

    def held(self, connection: Connection, shards: Collection[int]) -> set[int]:
        """Which of these are ours, and stay so until the transaction ends. What has run out is ours until another takes it."""
        return set(connection.execute(_ours(self.holder, shards)).scalars())

    def leading(self) -> Engine:
        """The database for what the leader alone may do: a transaction of one who leads no more raises `StoreError`, so that a
        poller that was paused in the middle of something changes nothing when it wakes.
        """
        engine = self._engine.execution_options()

        @sa.event.listens_for(engine, "begin")
        def _fence(connection: Connection) -> None:
            if not self.held(connection, [LEADER]):
                raise StoreError(Problem.LEASE, "another poller leads now")

        return engine

    def release(self) -> None:
        """Hand everything over and go. Raises `StoreError`."""
        with writing(self._engine) as connection:
            connection.execute(sa.delete(pollers).where(pollers.c.name == self.holder))
            connection.execute(sa.update(leases).where(leases.c.holder == self.holder).values(holder=None, until=_NOW))


def sharing(engine: Engine) -> Sharing:
    """How the work is divided now."""
    if not shared(engine):
        return Sharing((), 0)
    p, c = pollers.c, leases.c
    with reading(engine) as connection:
        living = connection.execute(sa.select(p.name).where(p.until > _NOW)).scalars().all()
        rows = connection.execute(sa.select(c.shard, c.holder).where(c.holder.is_not(None), c.until > _NOW)).all()
        alone = sa.select(sa.func.count()).where(c.shard != LEADER, c.until < _NOW - _ms(UNATTENDED))
        unattended = connection.execute(alone).scalar_one()
    found = [
        PollerShare(one, sum(1 for shard, holder in rows if holder == one and shard != LEADER), (LEADER, one) in rows)
        for one in living
    ]
    return Sharing(tuple(sorted(found, key=lambda each: (not each.leads, each.name))), unattended)


def _ours(holder: str, shards: Collection[int]) -> sa.Select[Any]:
    # In order, as rounds lock them: two that lock in different orders would wait for each other for ever.
    c = leases.c
    return sa.select(c.shard).where(c.holder == holder, c.shard.in_(sorted(shards))).order_by(c.shard).with_for_update(read=True)


def _be_impatient(engine: Engine, hang: timedelta) -> None:
    """Let the server end a transaction that stands still: a paused poller holds locks for which all others wait."""
    engine.dispose()  # those that are open already do not know it yet

    @sa.event.listens_for(engine, "connect")
    def _set(connection: Any, _: object) -> None:
        connection.execute(f"SET idle_in_transaction_session_timeout = {_ms(hang)}")
        connection.commit()


def _ms(length: timedelta) -> int:
    return round(length / timedelta(milliseconds=1))
