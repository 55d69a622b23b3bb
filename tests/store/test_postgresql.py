"""What PostgreSQL alone can do, and can do wrong: several writers, and a server that refuses."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
import sqlalchemy as sa

from monitor.domain.inventory import ProbeKind, Target
from monitor.domain.timeline import Window
from monitor.store import maintenance, meta, queries, tables
from monitor.store.engine import Problem, StoreError, open_engine, reading, writing
from monitor.store.record import Writer
from tests.postgres import MISSING, Server, server_or_none
from tests.store.helpers import START, answer, inventory, new_store, span, story

MINUTES = Window(START - span("1m"), START + span("10m"))


@pytest.fixture
def ours(server: Server) -> str:
    """The URL of an empty store on the server."""
    return server.cleared()


def at_once(*work: Callable[[], None]) -> None:
    """Do all of these at the same time; the first error is the test's."""
    errors: list[BaseException] = []

    def do(one: Callable[[], None]) -> None:
        try:
            one()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=do, args=(one,)) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert errors == []


def test_pollers_that_write_the_same_buckets_lose_no_count_and_no_latency(ours: str) -> None:
    names = ("checkout", "search", "batch")
    engine, first = new_store(ours)
    first.sync_inventory(inventory(*names), START)
    before = queries.data_version(engine)
    rounds, each = 12, 30

    def poller(name: str) -> None:
        own = open_engine(ours)
        writer = Writer(own)
        target = Target(ProbeKind.AUTH, name, "backend")
        for number in range(rounds):
            told = [
                answer(
                    ("ok", "401", "500", "429")[place % 4], target, START + timedelta(milliseconds=100 * (number * each + place)),
                    latency_ms=1.0 + 7 * place, message=f"said {(place if name == 'batch' else -place) % 7} of round {number}",
                )
                for place in range(each)
            ]  # fmt: skip
            writer.record(told if name != "batch" else told[::-1], START)
        own.dispose()

    at_once(*(lambda name=name: poller(name) for name in names))  # type: ignore[misc]
    assert maintenance.check(engine) == []
    counts = queries.check_counts(engine, MINUTES, span("1m"))
    assert counts[["ok", "failed", "inconclusive"]].sum().sum() == len(names) * rounds * each
    trend = queries.latency_trend(engine, MINUTES, span("1m"))
    assert trend["checks"].sum() == len(names) * rounds * each
    assert trend["p99"].max() == pytest.approx(1.0 + 7 * (each - 1), rel=0.05)
    assert queries.data_version(engine) == before + len(names) * rounds
    engine.dispose()


def test_pollers_that_start_at_once_share_one_salt(ours: str) -> None:
    found: list[bytes] = []

    def start() -> None:
        engine = open_engine(ours)
        found.append(meta.salt(engine))
        engine.dispose()

    at_once(*[start] * 6)
    assert len(set(found)) == 1


def test_what_a_page_reads_is_of_one_moment(ours: str) -> None:
    engine, writer = new_store(ours)
    pages = open_engine(ours, readonly=True)
    count = sa.select(sa.func.count()).select_from(tables.observations)
    with reading(pages) as connection:
        assert connection.execute(count).scalar() == 0
        writer.record([answer("ok")], START)
        assert connection.execute(count).scalar() == 0
    with reading(pages) as connection:
        assert connection.execute(count).scalar() == 1
    pages.dispose()
    engine.dispose()


def test_pages_cannot_write_to_the_server(ours: str) -> None:
    new_store(ours)[0].dispose()
    with pytest.raises(StoreError) as caught:
        Writer(open_engine(ours, readonly=True)).sync_inventory(inventory("checkout"), START)
    assert caught.value.problem is Problem.READ_ONLY


def test_a_server_that_goes_and_comes_back_takes_the_same_batch_again() -> None:
    own = server_or_none()
    if own is None:
        pytest.skip(MISSING)
    with contextlib.closing(own):
        engine, writer = new_store(own.empty())
        writer.record(story("ok ok"), START)
        before, batch = writer.states(), story("401 401", start=START + span("5m"))
        own.stop()
        for _ in range(2):
            with pytest.raises(StoreError) as caught:
                writer.record(batch, START)
            assert caught.value.problem in (Problem.REFUSED, Problem.UNREACHABLE)
        assert writer.states() == before
        own.start()
        assert [done.observation for done in writer.record(batch, START)] == batch
        assert len(queries.observations(engine, MINUTES)) == 4
        assert maintenance.check(engine) == []
        engine.dispose()


# --- a server that refuses -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def strict() -> Iterator[Server]:
    """A server that asks for passwords and takes few connections."""
    found = server_or_none("max_connections=6", "superuser_reserved_connections=2", "password_encryption=scram-sha-256")
    if found is None:
        pytest.skip(MISSING)
    with contextlib.closing(found):
        found.execute("CREATE ROLE guest LOGIN PASSWORD 'TEST-right'")
        found.ask_for_password("guest")
        yield found


def refused(url: str, statement: str = "SELECT 1") -> StoreError:
    """What asking at `url` says."""
    engine = open_engine(url)
    try:
        with pytest.raises(StoreError) as caught, writing(engine) as connection:
            connection.exec_driver_sql(statement)
    finally:
        engine.dispose()
    assert "TEST-" not in str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value


def test_a_server_that_is_not_there_is_named() -> None:
    error = refused("postgresql+psycopg://guest:TEST-right@127.0.0.1:1/monitor")
    assert error.problem is Problem.REFUSED
    assert "127.0.0.1:1" in str(error)


@pytest.mark.parametrize("user", ["guest:TEST-wrong", "guest", "stranger"])
def test_a_wrong_user_or_password_is_explained_and_never_shown(strict: Server, user: str) -> None:
    error = refused(strict.url("postgres", user))
    assert error.problem is Problem.FORBIDDEN
    assert "password" in str(error)


def test_a_password_among_the_options_of_the_url_is_not_shown_either(strict: Server) -> None:
    error = refused(strict.url("postgres", "guest") + "?password=TEST-wrong&application_name=monitor")
    assert error.problem is Problem.FORBIDDEN
    assert "application_name=monitor" in str(error)


def test_a_database_that_is_not_there_asks_to_be_made(strict: Server) -> None:
    error = refused(strict.url("absent"))
    assert error.problem is Problem.MISSING
    assert "createdb" in str(error)


def test_a_user_without_rights_is_told_which_are_needed(strict: Server) -> None:
    error = refused(strict.url("postgres", "guest:TEST-right"), "CREATE TABLE public.mine (a int)")
    assert error.problem is Problem.FORBIDDEN
    assert "own its tables" in str(error)


def test_a_crowded_server_says_so(strict: Server) -> None:
    url = strict.url("postgres", "guest:TEST-right")
    crowd = [open_engine(url) for _ in range(4)]
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(StoreError):
            for each in crowd:
                stack.enter_context(reading(each)).exec_driver_sql("SELECT 1")
        error = refused(url)
    for each in crowd:
        each.dispose()
    assert error.problem is Problem.LOCKED
    assert "max_connections" in str(error)


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("SET LOCAL statement_timeout = 20; SELECT pg_sleep(9)", Problem.LOCKED),
        ("DO $$ BEGIN RAISE SQLSTATE '40P01' USING MESSAGE = 'deadlock detected'; END $$", Problem.LOCKED),
        ("DO $$ BEGIN RAISE SQLSTATE '53100' USING MESSAGE = 'could not extend file'; END $$", Problem.FULL),
        ("SET TRANSACTION READ ONLY; CREATE TABLE nothing (a int)", Problem.READ_ONLY),
        ("DO $$ BEGIN RAISE SQLSTATE '57P01' USING MESSAGE = 'terminating connection'; END $$", Problem.UNREACHABLE),
        ("DO $$ BEGIN RAISE SQLSTATE 'XX001' USING MESSAGE = 'invalid page'; END $$", Problem.DAMAGED),
        ("SELECT * FROM observations", Problem.OLDER),
        ("SELECT 1 / 0", Problem.OTHER),
    ],
)
def test_what_the_server_says_later_becomes_words(strict: Server, statement: str, problem: Problem) -> None:
    assert refused(strict.url("postgres"), statement).problem is problem
