"""One writer, many readers, and what is done to a database while both go on."""

import resource
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from monitor.domain.timeline import Window
from monitor.store import limits as store_limits
from monitor.store import maintenance, queries, tables
from monitor.store.engine import Problem, StoreError, open_engine, reading, writing
from monitor.store.lock import WriterLock
from monitor.store.record import Writer
from tests.meanwhile import meanwhile
from tests.store.conftest import Store, files_only
from tests.store.helpers import CHECKOUT, START, Keep, answer, inventory, limits, new_store, span, sqlite_url, story, targets

ALWAYS = Window(START - timedelta(days=400), START + timedelta(days=400))


def raw(store: Store) -> int:
    """Raw observations stored."""
    with reading(store.pages) as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(tables.observations)).scalar_one())


# --- one writer ----------------------------------------------------------------------------------------------------------

_HOLD = (
    "import sys; from monitor.store.lock import WriterLock; WriterLock(sys.argv[1]).acquire(); print('held', flush=True); input()"
)


@contextmanager
def another_poller(url: str) -> Iterator["subprocess.Popen[str]"]:
    """A process that holds the lock."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", _HOLD, url], **pipes) as child:  # type: ignore[call-overload]
        assert child.stdout.readline() == "held\n"
        yield child
        child.kill()


def test_a_second_poller_is_refused_and_told_who_is_first(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "deep" / "monitor.db")
    with another_poller(url) as first:
        with pytest.raises(StoreError) as caught:
            WriterLock(url).acquire()
        assert caught.value.problem is Problem.LOCKED
        assert f"another poller (process {first.pid}) writes to {tmp_path / 'deep' / 'monitor.db'}:" in str(caught.value)
        assert "stop it" in str(caught.value)


def test_a_killed_poller_holds_nothing(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "monitor.db")
    with another_poller(url) as first:
        first.kill()
        first.wait(10)
        with WriterLock(url):
            assert (tmp_path / "monitor.db.lock").read_text() != f"{first.pid}\n"


def test_the_same_file_by_another_name_is_the_same_database(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "also.db").symlink_to(tmp_path / "real" / "monitor.db")
    with WriterLock(sqlite_url(tmp_path / "real" / "monitor.db")):
        for name in ("link/monitor.db", "real/also.db", "real/../real/monitor.db"):
            with pytest.raises(StoreError, match="another poller"):
                WriterLock(sqlite_url(tmp_path / name)).acquire()


def test_a_lock_given_back_can_be_taken_again_and_twice_is_once(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "monitor.db")
    first = WriterLock(url)
    first.acquire()
    first.acquire()
    first.release()
    first.release()
    with WriterLock(url):
        pass


def test_a_server_takes_several_writers(tmp_path: Path) -> None:
    url = "postgresql+psycopg://monitor@127.0.0.1/monitor"
    with WriterLock(url), WriterLock(url):
        pass


def test_a_folder_where_no_lock_can_be_made_is_explained(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(StoreError) as caught:
        WriterLock(sqlite_url(tmp_path / "data" / "monitor.db")).acquire()
    assert caught.value.problem is Problem.FOLDER


# --- readers -------------------------------------------------------------------------------------------------------------


def test_pages_see_whole_batches_only_while_the_poller_writes(store: Store) -> None:
    store.writer.sync_inventory(inventory("checkout"), START)

    def write(number: int) -> None:
        store.writer.record(story("ok*4 401 401 429", every="1s", start=START + number * span("1m")), START)

    seen = []
    write(-1)  # the thread may begin later than we look
    with meanwhile(write):
        for _ in range(25):
            counts = queries.check_counts(store.pages, ALWAYS, span("1h"))
            seen.append(int(counts[["ok", "failed"]].to_numpy().sum()))
            kinds = queries.failure_trend(store.pages, ALWAYS, span("1h"))
            assert int(kinds["count"].sum()) % 3 == 0
            (project,) = queries.fleet(store.pages, START)
            assert project.last_at is not None
            queries.strips(store.pages, ALWAYS)
    assert seen == sorted(seen)
    assert {total % 7 for total in seen} == {0}
    assert maintenance.check(store.engine) == []


# --- backup --------------------------------------------------------------------------------------------------------------


@files_only
def test_a_backup_made_while_the_poller_writes_is_whole_and_ends(store: Store, tmp_path: Path) -> None:
    store.writer.record(story("401 500 " * 4000, every="1s", body="b" * 4000), START)

    def write(number: int) -> None:
        store.writer.record(story("ok ok", start=START + timedelta(days=1) + number * span("2m")), START)

    copy = tmp_path / "copy.db"
    making = threading.Thread(target=maintenance.backup, args=(store.engine, copy), daemon=True)
    with meanwhile(write):
        making.start()
        making.join(20)
        assert not making.is_alive(), "begins again at every commit"
    assert sorted(path.name for path in tmp_path.glob("copy*")) == ["copy.db"]
    restored = open_engine(sqlite_url(copy))
    assert maintenance.check(restored) == []
    found = queries.check_counts(restored, ALWAYS, span("1d"))
    assert int(found["failed"].sum()) == 8000
    assert int(found["ok"].sum()) % 2 == 0
    restored.dispose()


@files_only
def test_a_backup_can_be_recorded_into(store: Store, tmp_path: Path) -> None:
    store.writer.record(story("ok 401 401"), START)
    maintenance.backup(store.engine, tmp_path / "copy.db")
    engine = open_engine(sqlite_url(tmp_path / "copy.db"))
    writer = Writer(engine)
    assert writer.states() == store.writer.states()
    writer.record(story("ok", start=START + span("1h")), START)
    assert maintenance.check(engine) == []
    engine.dispose()


@files_only
def test_a_backup_never_overwrites(store: Store, tmp_path: Path) -> None:
    (tmp_path / "copy.db").write_text("precious")
    with pytest.raises(StoreError, match="already there"):
        maintenance.backup(store.engine, tmp_path / "copy.db")
    assert (tmp_path / "copy.db").read_text() == "precious"


@files_only
def test_a_backup_into_no_folder_names_the_folder_and_not_the_database(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreError) as caught:
        maintenance.backup(store.engine, tmp_path / "absent" / "copy.db")
    assert caught.value.problem is Problem.FOLDER
    assert "absent" in str(caught.value)
    assert str(tmp_path / "monitor.db") not in str(caught.value)


_BACKUP = """
import resource, sys
from pathlib import Path
from monitor.store import maintenance
from monitor.store.engine import StoreError, open_engine
engine = open_engine(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    maintenance.backup(engine, Path(sys.argv[2]))
except StoreError as error:
    print(error.problem, error, sep="|")
"""


@files_only
def test_a_backup_to_a_full_disk_leaves_no_half_of_a_file(store: Store, tmp_path: Path) -> None:
    store.writer.record(story("401*2000", every="1s"), START)
    target = tmp_path / "copies"
    target.mkdir()
    arguments = [sys.executable, "-c", _BACKUP, store.url, str(target / "copy.db")]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=180, check=True)
    problem, text = done.stdout.strip().split("|")
    assert problem == "full"
    assert str(target / "copy.db") in text
    assert str(tmp_path / "monitor.db") not in text
    assert list(target.iterdir()) == []
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 100_000


# --- check ---------------------------------------------------------------------------------------------------------------


def test_a_sound_database_has_nothing_to_report(store: Store) -> None:
    assert maintenance.check(store.engine) == []
    store.writer.sync_inventory(inventory("checkout", "search"), START)
    store.writer.record(story("ok 401 401 ? 429 ok ok", every="20m"), START)
    assert maintenance.check(store.pages) == []


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        ("UPDATE quarter_buckets SET ok = ok + 1 WHERE project_id = 0", "quarter_buckets"),
        ("DELETE FROM observations WHERE at = (SELECT max(at) FROM observations)", "last observation is not stored"),
        ("DELETE FROM observations WHERE at = (SELECT min(at) FROM observations)", "minute_buckets"),
        ("DELETE FROM hour_buckets WHERE project_id = 1", "hour_buckets"),
        ("UPDATE day_buckets SET failed = failed + 1 WHERE project_id = 0", "day_buckets"),
        ("DELETE FROM answers", "an answer that is not stored"),
        ("DELETE FROM targets", "belong to no target"),
        ("UPDATE alembic_version SET version_num = '0000'", "the schema is 0000"),
    ],
)
def test_what_is_wrong_is_found_and_named(store: Store, harm: str, words: str) -> None:
    store.writer.record(story("ok 401 401 ok ok"), START)
    with writing(store.engine) as connection:
        connection.exec_driver_sql(harm)
    assert words in " / ".join(maintenance.check(store.engine))


@files_only
def test_a_page_that_rotted_on_the_disk_is_found(store: Store, tmp_path: Path) -> None:
    store.writer.record(story("401*3000", every="1s", body="b" * 50), START)
    store.engine.dispose()
    store.pages.dispose()
    path = tmp_path / "monitor.db"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(truncate)")
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'observations'").fetchone()
    connection.close()
    with path.open("r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(b"\xff" * 4096)
    problems = maintenance.check(open_engine(store.url, readonly=True))
    assert problems
    assert "damaged" in problems[0]


# --- prune ---------------------------------------------------------------------------------------------------------------


def rows(store: Store, *named: str) -> dict[str, int]:
    """How many rows these tables hold."""
    with reading(store.pages) as connection:
        return {name: int(connection.exec_driver_sql(f"SELECT count(*) FROM {name}").scalar_one()) for name in named}


def test_each_kind_of_history_is_kept_for_its_own_time(store: Store) -> None:
    store.writer.sync_inventory(inventory("checkout"), START)
    for day in range(12):
        at = START - day * span("1d")
        store.writer.record([answer("ok", at=at, limits=limits(5)), answer("429", at=at + span("1s"))], at)
    keep = Keep(observations=span("23h"))  # packed answers go when all of their hour is old
    assert maintenance.prune(store.engine, START + span("1s"), keep).finished
    seen = queries.observations(store.pages, ALWAYS)
    ages = sorted({(row.verdict, round((START - row.at) / span("1d"))) for row in seen.itertuples()})
    assert ages == [("failed", 0), ("failed", 1), ("failed", 2), ("failed", 3), ("ok", 0)]
    assert rows(store, "minute_buckets", "quarter_buckets", "hour_buckets") == {
        "minute_buckets": 4,  # two days, for the project and the fleet
        "quarter_buckets": 4,
        "hour_buckets": 20,
    }
    assert rows(store, "minute_failures", "hour_failures", "limit_buckets", "probe_use") == {
        "minute_failures": 4,
        "hour_failures": 20,
        "limit_buckets": 10,
        "probe_use": 12,
    }
    assert maintenance.check(store.engine) == []


def test_what_is_known_now_outlives_its_evidence(store: Store) -> None:
    store.writer.sync_inventory(inventory("checkout"), START)
    store.writer.record(story("ok 401 401"), START)
    before, moved = store.writer.states(), queries.transitions(store.pages, ALWAYS)
    later = START + span("200d")
    assert maintenance.prune(store.engine, later, Keep()).finished
    assert raw(store) == 0
    assert Writer(store.engine).states() == before
    assert queries.transitions(store.pages, ALWAYS).equals(moved)
    (auth,) = [one for one in queries.targets(store.pages, later) if one.target == CHECKOUT]
    assert auth.message == "it said 401"
    store.writer.record([answer("ok", at=later)], later)
    assert raw(store) == 1
    assert maintenance.check(store.engine) == []


def test_a_poller_that_was_away_for_long_finds_nothing_wrong_after_pruning(store: Store) -> None:
    store.writer.record(story("ok 401 401 429 ? ok", every="7m"), START)
    for days in (1, 2, 3, 5, 20):
        maintenance.prune(store.engine, START + days * span("1d") + span("10m"), Keep())
        assert maintenance.check(store.engine) == [], days


def test_pruning_stops_when_told_and_goes_on_later_with_recording_between(store: Store) -> None:
    store.writer.record(story("ok*12000", every="1s", start=START - span("5d")), START)
    runs = []
    for number in range(100):
        done = maintenance.prune(store.engine, START, Keep(), slices=1)
        runs.append(done.rows)
        store.writer.record([answer("ok", at=START + number * span("1s"))], START)
        if done.finished:
            break
    assert max(runs) <= 5000
    assert raw(store) == len(runs)
    assert maintenance.prune(store.engine, START, Keep()) == maintenance.Pruned(0, finished=True)
    assert maintenance.check(store.engine) == []


def test_pruning_and_recording_at_once_hinder_neither(store: Store, tmp_path: Path) -> None:
    known = inventory(*(f"project-{number}" for number in range(50)))
    store.writer.sync_inventory(known, START)
    hours = [START - number * span("1h") for number in range(60)]
    old = [answer("ok", target, at) for target in targets(known.projects) for at in hours]
    store.writer.record(old, START)
    recorded: list[datetime] = []

    def write(number: int) -> None:
        store.writer.record([answer("ok", at=START + number * span("1s"))], START)
        recorded.append(START + number * span("1s"))

    other = open_engine(store.url)
    with meanwhile(write):
        while not maintenance.prune(other, START, Keep(), slices=5).finished:
            pass
    other.dispose()
    with reading(store.pages) as connection:
        kept = connection.execute(sa.select(sa.func.count()).where(tables.observations.c.at >= 1000 * int(START.timestamp())))
        assert kept.scalar_one() >= len(recorded)
        gone = sa.select(sa.func.count()).where(tables.observations.c.at < 1000 * int((START - span("1d")).timestamp()))
        assert connection.execute(gone).scalar_one() == 0
    assert maintenance.check(store.engine) == []


def test_limits_are_kept_by_the_hour_after_a_week_with_the_least_that_remained(store: Store) -> None:
    store.writer.sync_inventory(inventory("checkout"), START)
    told = [(5, 70), (0, 90), (25, 30), (55, None), (65, 20), (125, 10)]
    for minutes, remaining in told:
        at = START + minutes * span("1m")
        store.writer.record([answer("ok", at=at, limits=limits(remaining, 100 if minutes else None))], at)

    def kept() -> list[tuple[str, float | None, float | None]]:
        found = queries.limits_history(store.pages, Window(START - span("1h"), START + span("5h")), span("5m"), "checkout")
        cells = found[["start", "limit", "remaining"]].astype(object).where(found.notna(), None)
        return [(f"{at:%H:%M}", limit, remaining) for at, limit, remaining in cells.itertuples(index=False)]

    keep = Keep(hours=span("30d"))
    maintenance.prune(store.engine, START + span("2d") + span("90m"), keep)
    assert kept() == [("12:00", 100, 30), ("13:05", 100, 20), ("14:05", 100, 10)]
    late = START + span("7m")
    store.writer.record([answer("ok", at=late, limits=limits(3))], late)
    assert maintenance.prune(store.engine, START + span("2d") + span("3h"), keep).finished
    assert kept() == [("12:00", 100, 30), ("12:05", 100, 3), ("13:00", 100, 20), ("14:00", 100, 10)]
    assert maintenance.prune(store.engine, START + span("9d"), keep) == maintenance.Pruned(0, finished=True)


def test_limits_of_many_targets_are_put_together_some_at_a_time(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_limits, "_TOGETHER", 40)
    known = inventory("a", "b", "c")
    store.writer.sync_inventory(known, START)
    for hour in range(20):
        at = START + hour * span("1h")
        told = [
            answer("ok", check.target, at + minutes * span("1m"), limits=limits(9)) for check in known.checks for minutes in (6, 11)
        ]
        store.writer.record(told, at)
    end = START + span("3d")
    runs = 1
    while not maintenance.prune(store.engine, end, Keep(), slices=2).finished:
        runs += 1
    assert runs > 5
    assert rows(store, "limit_buckets") == {"limit_buckets": 20 * len(known.checks)}


@files_only
def test_an_empty_store_is_pruned_checked_and_copied(store: Store, tmp_path: Path) -> None:
    assert maintenance.prune(store.engine, START, Keep()) == maintenance.Pruned(0, finished=True)
    maintenance.backup(store.engine, tmp_path / "empty.db")
    assert maintenance.check(open_engine(sqlite_url(tmp_path / "empty.db"))) == []
    assert new_store(sqlite_url(tmp_path / "empty.db"))[1].states() == {}
