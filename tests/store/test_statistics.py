"""Statistics for the planner: there after maintenance, fresh, bounded, and no plan is worse for them."""

import time

import pytest
import sqlalchemy as sa

from monitor.store import maintenance, statistics, tables
from monitor.store.engine import reading, writing
from tests.store.conftest import Store, files_only
from tests.store.helpers import START, Keep, answer, inventory, limits, span
from tests.store.test_plans import QUESTIONS, asked, filled, read_whole

__all__ = ["filled"]


def known(store: Store) -> set[str]:
    """The tables that the planner knows the rows of."""
    query = "SELECT DISTINCT tbl FROM sqlite_stat1"
    if store.engine.dialect.name == "postgresql":
        query = "SELECT relname FROM pg_class WHERE reltuples > 0 AND relkind IN ('r', 'p')"
    with reading(store.engine) as connection:
        if store.engine.dialect.name == "sqlite" and not sa.inspect(connection).has_table("sqlite_stat1"):
            return set()
        return set(connection.exec_driver_sql(query).scalars())


def some(store: Store) -> None:
    """A little of everything. Where SQLite cannot be trusted with statistics there are none to look at."""
    if store.engine.dialect.name == "sqlite" and not statistics.trusted():
        pytest.skip("this SQLite answers wrongly when it has statistics")
    if store.engine.dialect.name == "postgresql":  # which tests share
        with writing(store.engine) as connection:
            connection.exec_driver_sql("UPDATE pg_class SET reltuples = -1 WHERE relname = 'observations'")
    store.writer.sync_inventory(inventory("checkout"), START)
    store.writer.record([answer("401", at=START - number * span("1m")) for number in range(50)], START)


def test_maintenance_leaves_statistics_behind(store: Store) -> None:
    some(store)
    assert "observations" not in known(store)
    assert maintenance.prune(store.engine, START, Keep()).finished
    assert "observations" in known(store)  # on PostgreSQL the whole, which it never looks at by itself


def test_they_are_made_anew_when_they_are_old_and_not_before(store: Store) -> None:
    some(store)
    assert statistics.refresh(store.engine, START)
    assert not statistics.refresh(store.engine, START + span("59m"))
    assert statistics.refresh(store.engine, START + span("25h"))
    assert statistics.refresh(store.engine, START)  # the clock was set back


def test_a_run_that_leaves_something_old_leaves_them_for_the_next(store: Store) -> None:
    some(store)
    keep = Keep(observations=span("1m"), failures=span("1m"), minutes=span("1m"), hours=span("1m"))
    assert not maintenance.prune(store.engine, START + span("2d"), keep, slices=1).finished
    assert "observations" not in known(store)


@files_only
def test_a_large_table_is_looked_at_as_fast_as_a_small_one(store: Store) -> None:
    some(store)
    with writing(store.engine) as connection:
        connection.exec_driver_sql(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000)"
            " INSERT INTO transitions (target_id, at, old, new) SELECT i % 500, i, 'a', 'b' FROM n"
        )
    began = time.process_time()
    assert statistics.refresh(store.engine, START)
    assert time.process_time() - began < 0.5
    with reading(store.engine) as connection:
        rows = connection.exec_driver_sql("SELECT stat FROM sqlite_stat1 WHERE tbl = 'transitions'").scalars().all()
    assert rows
    assert all(int(stat.split()[0]) > 50_000 for stat in rows)  # an estimate, from a few hundred rows


@files_only
@pytest.mark.parametrize("question", QUESTIONS)
def test_no_question_reads_a_whole_history_with_them_either(filled: Store, question: str) -> None:
    copied = ", ".join(column.name for column in tables.incidents.columns if column.name != "id")
    with writing(filled.engine) as connection:  # of forty, all may be read
        for _ in range(5):
            connection.exec_driver_sql(f"INSERT INTO incidents ({copied}) SELECT {copied} FROM incidents WHERE resolved_at > 0")
    statistics.refresh(filled.engine, START)
    filled.pages.dispose()
    plan = asked(filled.pages, QUESTIONS[question])
    assert read_whole(plan) == set(), plan


@files_only
def test_an_sqlite_that_answers_wrongly_with_them_keeps_none(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.writer.sync_inventory(inventory("checkout"), START)
    with writing(store.engine) as connection:
        connection.exec_driver_sql("ANALYZE")
    assert "projects" in known(store)
    monkeypatch.setattr(statistics, "trusted", lambda: False)
    assert not statistics.refresh(store.engine, START)
    assert known(store) == set()


@files_only
def test_whatever_sqlite_knows_nothing_young_is_forgotten(store: Store) -> None:
    """With statistics, SQLite 3.40.1 gives of `target IN (…) AND start < …` what is later too."""
    store.writer.sync_inventory(inventory("checkout"), START)
    for hours in range(4):
        at = START + hours * span("1h")
        store.writer.record([answer("ok", at=at, limits=limits(5))], at)
    keep = Keep(*(span("30d") for _ in range(5)))
    with writing(store.engine) as connection:
        connection.exec_driver_sql("ANALYZE")
    store.engine.dispose()
    assert maintenance.prune(store.engine, START + span("9d"), keep).rows == 0
