"""Raw rows in partitions by month: made ahead, dropped when all in them is old, and no row ever without a place."""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial

import psycopg
import pytest
import sqlalchemy as sa

from monitor.domain.timeline import Window
from monitor.store import maintenance, partitions, queries
from monitor.store.engine import StoreError, open_engine, reading, writing
from monitor.store.status import EvidenceFilter
from tests.postgres import Server
from tests.store.conftest import Store
from tests.store.helpers import START, Keep, answer, new_store, span, sqlite_url

NOVEMBER = START
KEEP_FOR = timedelta(days=60)


@pytest.fixture
def ours(server: Server) -> Iterator[Store]:
    """A store whose partitions are the test's own."""
    url = server.migrated()
    engine, writer = new_store(url)
    pages = open_engine(url, readonly=True)
    for name in placed(engine):
        if name != partitions.REST:
            with writing(engine) as connection:
                connection.exec_driver_sql(f"DROP TABLE {name}")
    yield Store(url, engine, writer, pages)
    pages.dispose()
    engine.dispose()
    server.drop(url)


def placed(engine: sa.Engine) -> dict[str, int]:
    """How many rows each partition holds."""
    with reading(engine) as connection:
        names = [
            name
            for (name,) in connection.exec_driver_sql(
                "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'observations'::regclass ORDER BY 1"
            )
        ]
        return {name: int(connection.exec_driver_sql(f"SELECT count(*) FROM {name}").scalar_one()) for name in names}


def filled(engine: sa.Engine) -> dict[str, int]:
    """The partitions with rows."""
    return {name: count for name, count in placed(engine).items() if count}


def test_every_month_to_come_has_a_partition_and_rows_go_into_that_of_their_month(ours: Store) -> None:
    assert partitions.keep(ours.engine, NOVEMBER, KEEP_FOR) == 0
    told = [datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 30, 23, 59, 59, 999_000, UTC), datetime(2026, 12, 1, tzinfo=UTC)]
    ours.writer.record([answer("ok", at=at) for at in told], NOVEMBER)
    assert placed(ours.engine) == {
        "observations_2026_11": 2,
        "observations_2026_12": 1,
        "observations_2027_01": 0,
        "observations_2027_02": 0,
        "observations_rest": 0,
    }
    assert partitions.keep(ours.engine, NOVEMBER, KEEP_FOR) == 0
    assert len(placed(ours.engine)) == 5


def test_rows_without_a_month_of_their_own_are_kept_and_move_in_when_it_is_made(ours: Store) -> None:
    late = answer("401", at=NOVEMBER - span("200d"))
    ours.writer.record([late, answer("ok", at=NOVEMBER)], NOVEMBER)
    assert filled(ours.engine) == {"observations_rest": 2}
    partitions.keep(ours.engine, NOVEMBER, span("400d"))
    assert filled(ours.engine) == {"observations_2026_11": 1, "observations_rest": 1}
    found = queries.observations(ours.pages, Window(NOVEMBER - span("300d"), NOVEMBER + span("1d")))
    assert len(found) == 2
    assert maintenance.check(ours.engine) == []


def test_a_month_goes_when_the_last_moment_of_it_is_old_and_late_rows_go_one_by_one(ours: Store) -> None:
    partitions.keep(ours.engine, datetime(2026, 9, 10, tzinfo=UTC), KEEP_FOR)
    days = [datetime(2026, 8, 20, tzinfo=UTC), datetime(2026, 9, 30, 23, 59, 59, tzinfo=UTC), datetime(2026, 10, 1, tzinfo=UTC)]
    ours.writer.record([answer("401", at=at) for at in days], NOVEMBER)
    assert filled(ours.engine) == {"observations_2026_09": 1, "observations_2026_10": 1, "observations_rest": 1}
    keep = Keep(observations=span("20d"), failures=span("60d"), minutes=span("60d"), hours=span("90d"))
    end = datetime(2026, 10, 1, tzinfo=UTC) + span("60d")
    maintenance.prune(ours.engine, end - span("1s"), keep)
    assert filled(ours.engine) == {"observations_2026_09": 1, "observations_2026_10": 1}
    maintenance.prune(ours.engine, end, keep)
    assert filled(ours.engine) == {"observations_2026_10": 1}
    assert "observations_2026_09" not in placed(ours.engine)
    ours.writer.record([answer("ok", at=days[1] + span("1s"))], NOVEMBER)
    assert maintenance.check(ours.engine) == []


def test_a_query_of_a_day_reads_one_partition(ours: Store) -> None:
    partitions.keep(ours.engine, datetime(2026, 9, 10, tzinfo=UTC), KEEP_FOR)
    sent: list[tuple[str, object]] = []
    sa.event.listen(ours.pages, "before_cursor_execute", lambda *given: sent.append((given[2], given[3])))
    day = Window(datetime(2026, 11, 19, tzinfo=UTC), datetime(2026, 11, 20, tzinfo=UTC))
    queries.observations(ours.pages, day)
    queries.observations(ours.pages, day, EvidenceFilter(project="checkout"))
    asked = [one for one in sent if "observations" in one[0]]
    assert asked
    with reading(ours.engine) as connection:
        for statement, parameters in asked:
            plan = "\n".join(row[0] for row in connection.exec_driver_sql(f"EXPLAIN {statement}", parameters))
            assert "observations_2026_11" in plan
            assert "observations_2026_10" not in plan
            assert partitions.REST not in plan


def test_a_table_in_use_is_left_for_the_next_time(ours: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partitions, "_LOCK_WAIT_MS", 50)
    partitions.keep(ours.engine, datetime(2026, 9, 10, tzinfo=UTC), KEEP_FOR)
    with closing(psycopg.connect(ours.url.replace("+psycopg", ""))) as other:
        other.execute("SELECT count(*) FROM observations")
        with pytest.raises(StoreError, match="too long"):
            partitions.keep(ours.engine, NOVEMBER + span("90d"), KEEP_FOR)
        ours.writer.record([answer("ok", at=NOVEMBER)], NOVEMBER)
    assert partitions.keep(ours.engine, NOVEMBER + span("90d"), KEEP_FOR) > 0


def test_two_pollers_may_make_the_same_month_at_once_while_a_third_records(ours: Store) -> None:
    ours.writer.record([answer("ok", at=NOVEMBER - number * span("1m")) for number in range(40)], NOVEMBER)
    engines = [open_engine(ours.url) for _ in range(2)]
    both, failures = threading.Barrier(3), list[BaseException]()

    def go(work: Callable[[], object]) -> None:
        try:
            both.wait(20)
            work()
        except BaseException as error:
            failures.append(error)

    works: list[Callable[[], object]] = [partial(partitions.keep, engine, NOVEMBER, KEEP_FOR) for engine in engines]
    works.append(
        lambda: ours.writer.record([answer("429", at=NOVEMBER + number * span("1s")) for number in range(1, 40)], NOVEMBER)
    )
    threads = [threading.Thread(target=go, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    for engine in engines:
        engine.dispose()
    assert failures == []
    assert sorted(placed(ours.engine)) == [
        "observations_2026_11",
        "observations_2026_12",
        "observations_2027_01",
        "observations_2027_02",
        "observations_rest",
    ]
    assert sum(placed(ours.engine).values()) == 79
    assert maintenance.check(ours.engine) == []


def test_a_file_needs_none(tmp_path: object) -> None:
    engine, _ = new_store(sqlite_url(tmp_path / "monitor.db"))  # type: ignore[operator]
    assert partitions.keep(engine, NOVEMBER, KEEP_FOR) == 0


def test_months_are_whole_also_at_the_turn_of_the_year() -> None:
    found = partitions.between(datetime(2026, 12, 31, 23, tzinfo=UTC), datetime(2027, 2, 1, tzinfo=UTC))
    assert [f"{month:%Y-%m-%d %H:%M}" for month in found] == ["2026-12-01 00:00", "2027-01-01 00:00", "2027-02-01 00:00"]
