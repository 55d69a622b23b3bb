"""Leases on a real PostgreSQL: two pollers in one process, each with a writer of its own."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import Engine

from monitor.domain.inventory import Check, Inventory, ProbeKind, Project, Target
from monitor.domain.sharing import SHARDS, shard_of
from monitor.store import incidents, leases, queries
from monitor.store.engine import StoreError, open_engine
from monitor.store.errors import Problem
from monitor.store.leases import Held, Leases
from monitor.store.migrate import migrate
from monitor.store.record import Writer
from tests.store.helpers import START, story

postgres = pytest.importorskip("tests.postgres")
postgresql, server = postgres.postgresql, postgres.server

LEASE = timedelta(seconds=300)
"""Long: what happens when one runs out is told to the database, not waited for."""


@pytest.fixture
def engines(postgresql: str) -> Iterator[tuple[Engine, Engine]]:
    """Two pollers' ways to one database."""
    one, other = open_engine(postgresql), open_engine(postgresql)
    migrate(one)
    yield one, other
    one.dispose()
    other.dispose()


def rounds(poller: Leases, *at: float, leaving: frozenset[int] = frozenset(), left: frozenset[int] = frozenset()) -> Held:
    """Rounds at these times; what is held after the last."""
    held = Held(frozenset(), frozenset(), leads=False, pollers={})
    for moment in at:
        held = poller.round(moment, leaving, left, "digest")
    return held


def run_out(engine: Engine, holder: str) -> None:
    """Let time pass for one poller, in the database's eyes."""
    with engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE leases SET until = 1 WHERE holder = '{holder}'")
        connection.exec_driver_sql(f"UPDATE pollers SET until = 1 WHERE name = '{holder}'")


def test_two_divide_the_work_by_handing_over(engines: tuple[Engine, Engine]) -> None:
    a, b = Leases(engines[0], "a", LEASE), Leases(engines[1], "b", LEASE)
    assert len(rounds(a, 0).shards) == SHARDS
    first = rounds(b, 0)
    assert (first.shards, first.leads, set(first.pollers)) == (frozenset(), False, {"a", "b"})
    giving = rounds(a, 1)
    assert (len(giving.shards), len(giving.leaving)) == (32, 32)
    rounds(a, 2, leaving=giving.leaving, left=giving.leaving)
    assert rounds(b, 1).shards == giving.leaving
    divided = queries.sharing(engines[0])
    assert [(each.name, each.shards, each.leads) for each in divided.pollers] == [("a", 32, True), ("b", 32, False)]
    a.release()
    alone = rounds(b, 2)
    assert (len(alone.shards), alone.leads, set(alone.pollers)) == (SHARDS, True, {"b"})


def test_only_one_that_was_in_touch_all_the_time_takes_what_ran_out(engines: tuple[Engine, Engine]) -> None:
    a, b = Leases(engines[0], "a", LEASE), Leases(engines[1], "b", LEASE)
    rounds(a, 0)
    run_out(engines[0], "a")
    every = LEASE.total_seconds() / 5
    assert rounds(b, 0, every).shards == frozenset()  # just started: perhaps all were cut off
    assert rounds(b, 10 * every, 11 * every).shards == frozenset()  # was away
    assert len(rounds(b, *(every * number for number in range(12, 17))).shards) == SHARDS
    assert rounds(a, 1).shards == frozenset()


def test_what_ran_out_and_nobody_took_may_still_be_recorded_and_what_was_taken_may_not(engines: tuple[Engine, Engine]) -> None:
    a, b = Leases(engines[0], "a", LEASE), Leases(engines[1], "b", LEASE)
    rounds(a, 0)
    writer = Writer(engines[0], leases=a)
    run_out(engines[0], "a")
    assert len(writer.record(story("ok ok"), START)) == 2
    rounds(b, *(LEASE.total_seconds() / 5 * number for number in range(6)))
    assert writer.record(story("ok ok", start=START + timedelta(hours=1)), START) == []
    mine, other = Writer(engines[1], leases=b), Target(ProbeKind.AUTH, "checkout", "backend")
    assert mine.states()[other].last_at == START + timedelta(minutes=1)
    assert len(mine.record(story("ok", start=START + timedelta(hours=1)), START)) == 1


def test_what_a_writer_keeps_of_a_mixed_batch_is_what_it_holds(engines: tuple[Engine, Engine]) -> None:
    a, b = Leases(engines[0], "a", LEASE), Leases(engines[1], "b", LEASE)
    rounds(a, 0)
    rounds(b, 0)
    giving = rounds(a, 1)
    rounds(a, 2, leaving=giving.leaving, left=giving.leaving)
    theirs = rounds(b, 1).shards
    targets = [Target(ProbeKind.AUTH, f"p{number}", "k") for number in range(40)]
    batch = [seen for target in targets for seen in story("ok", target=target)]
    by_a = Writer(engines[0], leases=a).record(batch, START)
    by_b = Writer(engines[1], leases=b).record(batch, START)
    assert {one.observation.target for one in by_b} == {target for target in targets if shard_of(target) in theirs}
    assert {one.observation.target for one in by_a} == set(targets) - {one.observation.target for one in by_b}


def test_one_who_leads_no_more_changes_nothing(engines: tuple[Engine, Engine]) -> None:
    a, b = Leases(engines[0], "a", LEASE), Leases(engines[1], "b", LEASE)
    rounds(a, 0)
    assert incidents.open_ones(a.leading()) == []
    run_out(engines[0], "a")
    rounds(b, *(LEASE.total_seconds() / 5 * number for number in range(6)))
    with pytest.raises(StoreError) as refused:
        incidents.open_ones(a.leading())
    assert refused.value.problem is Problem.LEASE
    assert incidents.open_ones(b.leading()) == []
    assert incidents.open_ones(engines[0]) == []


def test_what_one_asks_the_other_to_check_is_given_out_once(engines: tuple[Engine, Engine]) -> None:
    one, other = Writer(engines[0]), Writer(engines[1])
    target = Target(ProbeKind.AUTH, "checkout", "backend")
    one.record(story("ok", target=target), START)
    other.reload()
    stranger = Target(ProbeKind.AUTH, "nobody knows", "k")
    one.ask_others([target, target, stranger])
    one.ask_others([target])
    assert other.asked_by_others(set(range(SHARDS)) - {shard_of(target)}) == []
    assert other.asked_by_others({shard_of(target)}) == [target]
    assert other.asked_by_others({shard_of(target)}) == []


def test_a_paused_poller_does_not_hold_the_others_up(postgresql: str) -> None:
    one, other = open_engine(postgresql), open_engine(postgresql)
    migrate(one)
    a, b = Leases(one, "a", timedelta(seconds=2)), Leases(other, "b", LEASE)
    rounds(a, 0)
    with one.connect() as connection:
        a.held(connection, range(SHARDS))  # and then nothing: the server ends it after a third of the lease
        assert set(rounds(b, 0).pollers) >= {"b"}
        with pytest.raises(Exception, match="idle-in-transaction"):
            connection.exec_driver_sql("SELECT 1")
    one.dispose()
    other.dispose()


def test_two_that_start_at_once_make_the_same_tables_and_projects(engines: tuple[Engine, Engine]) -> None:
    target = Target(ProbeKind.AUTH, "checkout", "backend")
    told = Inventory((Project("checkout"),), (Check(target, timedelta(minutes=1)),))
    one, other = Writer(engines[0]), Writer(engines[1])
    one.sync_inventory(told, START)
    other.sync_inventory(told, START)  # it has not heard of what the first one made
    assert [each.name for each in queries.fleet(engines[0], START)] == ["checkout"]


def test_a_server_that_is_down_says_so(server: object) -> None:
    url = "postgresql+psycopg://postgres@127.0.0.1:9/nothing"
    with pytest.raises(StoreError) as refused:
        queries.sharing(open_engine(url))
    assert refused.value.problem is Problem.REFUSED


def test_on_sqlite_nobody_asks_for_a_lease(tmp_path: object) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/monitor.db")
    migrate(engine)
    assert not leases.shared(engine)
    assert queries.sharing(engine) == leases.Sharing((), 0)
