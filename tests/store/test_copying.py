"""A whole store moves from a file to a server and back, or not at all."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from monitor.store import copying, maintenance, queries, tables
from monitor.store.copying import Step
from monitor.store.engine import Problem, StoreError, open_engine, reading, writing
from monitor.store.lock import WriterLock
from monitor.store.migrate import current
from monitor.store.record import Writer
from monitor.store.status import Heartbeat
from tests.postgres import Server
from tests.store.helpers import START, answer, incident, inventory, new_store, opened, seed, span, sqlite_url

NOW = START + span("1h")
Databases = Callable[[str], str]


@pytest.fixture
def databases(server: Server, tmp_path: Path) -> Iterator[Databases]:
    """Makes the URL of a new database of that kind."""
    made: list[str] = []

    def new(kind: str) -> str:
        made.append(server.empty() if kind == "postgresql" else sqlite_url(tmp_path / f"{len(made)}.db"))
        return made[-1]

    yield new
    for url in made:
        if url.startswith("postgresql"):
            server.drop(url)


def fill(url: str) -> None:
    """Something of everything that the writer writes."""
    seed(url, inventory("checkout", "search"), START, span("3h"), span("5m"), {"search": "ok 401 401 429 ?"})
    engine = open_engine(url)
    opened(engine, incident("checkout"), incident("search"))
    engine.dispose()


def everything(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table."""
    engine = open_engine(url, readonly=True)
    with reading(engine) as connection:
        found = {
            table.name: [tuple(row) for row in connection.execute(sa.select(table).order_by(*table.primary_key))]
            for table in tables.metadata.sorted_tables
        }
    engine.dispose()
    return found


@pytest.mark.parametrize(("here", "there"), [("sqlite", "postgresql"), ("postgresql", "sqlite"), ("postgresql", "postgresql")])
def test_all_of_it_arrives_and_life_goes_on_there(databases: Databases, here: str, there: str) -> None:
    source, target = databases(here), databases(there)
    fill(source)
    before = everything(source)
    told: list[Step] = []
    assert copying.copy(source, target, NOW, told.append) == sum(map(len, before.values()))
    assert everything(target) == before == everything(source)
    assert {step.table for step in told} == set(before)
    assert all(step.done <= step.rows for step in told)
    engine = open_engine(target)
    assert maintenance.check(engine) == []
    origin = open_engine(source)
    assert queries.fleet(engine, START) == queries.fleet(origin, START)
    origin.dispose()
    writer = Writer(engine)
    writer.sync_inventory(inventory("checkout", "search", "new"), NOW)
    (done,) = writer.record([answer("500", at=NOW, message="never said before")], NOW)
    assert done.transition is not None or done.state.suspect
    (later,) = opened(engine, incident("new"))
    assert later.id == 3
    assert maintenance.check(engine) == []
    engine.dispose()


def test_many_rows_come_in_several_steps_and_months_have_their_partitions(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "BATCH", 10)
    source, target = databases("sqlite"), databases("postgresql")
    engine, writer = new_store(source)
    writer.record([answer("ok", at=START - day * timedelta(days=1)) for day in range(70, 0, -1)], START)
    engine.dispose()
    told: list[Step] = []
    copying.copy(source, target, NOW, told.append)
    assert [step.done for step in told if step.table == "observations"] == [0, 10, 20, 30, 40, 50, 60, 70]
    copied = open_engine(target)
    with reading(copied) as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM observations_2026_10").scalar() == 31
        assert connection.exec_driver_sql("SELECT count(*) FROM observations_rest").scalar() == 0
    copied.dispose()


def refused(source: str, target: str) -> StoreError:
    with pytest.raises(StoreError) as caught:
        copying.copy(source, target, NOW)
    return caught.value


@pytest.mark.parametrize("there", ["sqlite", "postgresql"])
def test_a_target_with_rows_is_refused_and_keeps_them(databases: Databases, there: str) -> None:
    source, target = databases("sqlite"), databases(there)
    fill(source)
    fill(target)
    before = everything(target)
    error = refused(source, target)
    assert error.problem is Problem.NOT_A_DATABASE
    assert "not empty" in str(error)
    assert everything(target) == before


def test_a_target_of_an_older_schema_is_refused_and_not_upgraded(databases: Databases) -> None:
    source, target = databases("sqlite"), databases("sqlite")
    fill(source)
    fill(target)
    engine = open_engine(target)
    with writing(engine) as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0008'")
    assert "not empty" in str(refused(source, target))
    assert current(engine) == "0008"
    engine.dispose()


def test_a_running_poller_is_not_left_behind(databases: Databases) -> None:
    file, server, target = databases("sqlite"), databases("postgresql"), databases("sqlite")
    fill(file)
    with WriterLock(file):
        assert refused(file, target).problem is Problem.LOCKED
    fill(server)
    engine = open_engine(server)
    beat = Heartbeat(NOW - span("20s"), START, 1, "machine-a", "1", 5, None, 0)
    Writer(engine).beat(beat)
    engine.dispose()
    error = refused(server, target)
    assert error.problem is Problem.LOCKED
    assert "machine-a" in str(error)
    assert copying.copy(server, target, NOW + span("1m")) > 0


def test_a_copy_that_breaks_off_leaves_nothing_behind(databases: Databases) -> None:
    source, target = databases("sqlite"), databases("postgresql")
    fill(source)

    def interrupt(step: Step) -> None:
        if step.table == "observations" and step.done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copying.copy(source, target, NOW, interrupt)
    assert {name: len(rows) for name, rows in everything(target).items() if rows} == {"meta": 1}
    assert copying.copy(source, target, NOW) > 0
    assert everything(target) == everything(source)


def test_text_that_a_server_does_not_take_is_made_harmless(databases: Databases) -> None:
    source, target = databases("sqlite"), databases("postgresql")
    fill(source)
    engine = open_engine(source)
    with writing(engine) as connection:
        connection.execute(sa.update(tables.projects).where(tables.projects.c.id == 1).values(facts='{"owner": "a\0b"}'))
    engine.dispose()
    copying.copy(source, target, NOW)
    assert everything(target)["projects"][0][3] == '{"owner": "a\N{REPLACEMENT CHARACTER}b"}'


def test_the_same_database_another_schema_and_no_database_are_refused(databases: Databases, tmp_path: Path) -> None:
    source, target = databases("sqlite"), databases("postgresql")
    fill(source)
    assert refused(source, source).problem is Problem.URL
    assert refused(sqlite_url(tmp_path / "absent.db"), target).problem is Problem.MISSING
    assert refused(source, "postgresql+psycopg://a:TEST-secret@127.0.0.1:1/x").problem is Problem.REFUSED
    engine = open_engine(source)
    with writing(engine) as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0001'")
    engine.dispose()
    assert "db upgrade" in str(refused(source, target))
