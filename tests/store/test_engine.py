"""Opening a database that cannot be used says why, in words."""

import os
import sqlite3
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from monitor.domain.health import Health
from monitor.store import engine as engine_module
from monitor.store import maintenance, queries
from monitor.store.engine import Problem, StoreError, network_file_system, open_engine, reading, writing
from monitor.store.migrate import migrate
from monitor.store.record import Writer
from tests.store.helpers import START, inventory, new_store, sqlite_url, story

ROOT = os.geteuid() == 0


def problem(url: str, *, readonly: bool = False) -> StoreError:
    """What opening and migrating says."""
    with pytest.raises(StoreError) as caught:
        migrate(open_engine(url, readonly=readonly))
    return caught.value


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("no url at all", "cannot be read"),
        ("mysql://localhost/x", "SQLite or PostgreSQL"),
        ("sqlite://", "must be a file"),
        ("sqlite:///:memory:", "must be a file"),
        ("sqlite+aiosqlite:///monitor.db", "sqlite+aiosqlite"),
        ("postgresql+psycopg2://a@b/c", "postgresql+psycopg2"),
    ],
)
def test_a_url_that_names_no_usable_database_is_refused(url: str, words: str) -> None:
    error = problem(url)
    assert error.problem is Problem.URL
    assert words in str(error)


def test_a_password_never_reaches_the_error() -> None:
    engine = open_engine("postgresql+psycopg://monitor:hunter2@127.0.0.1:1/monitor")
    with pytest.raises(StoreError) as caught:
        queries.data_version(engine)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("password", ["TEST@hunter2", "TEST@hun/hunter2", "TEST@hun?hunter2", "@hunter2@"])
def test_a_password_with_an_at_sign_is_not_taken_for_a_host_and_shown(password: str) -> None:
    error = problem(f"postgresql+psycopg://monitor:{password}@127.0.0.1:1/monitor")
    assert error.problem is Problem.URL
    assert "%40" in str(error)
    assert "hun" not in str(error)


def test_a_missing_folder_is_made_for_a_writer_and_not_for_a_reader(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "deep" / "down" / "monitor.db")
    assert problem(url, readonly=True).problem is Problem.MISSING
    assert not (tmp_path / "deep").exists()
    migrate(open_engine(url))
    assert (tmp_path / "deep" / "down" / "monitor.db").exists()


@pytest.mark.parametrize("name", ["a b.db", "50%.db", "what?.db", "hash#tag.db", "köln-模型.db", "a&mode=memory.db"])
def test_any_file_name_opens_that_very_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    url = sa.URL.create("sqlite", database=str(path)).render_as_string()
    migrate(open_engine(url))
    assert path.exists()
    assert queries.data_version(open_engine(url, readonly=True)) == 0


def test_a_file_that_is_no_database_is_named_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "monitor.db"
    path.write_bytes(b"name,latency\ncheckout,120\n" * 400)
    error = problem(sqlite_url(path))
    assert error.problem is Problem.NOT_A_DATABASE
    assert str(path) in str(error)
    assert path.read_bytes().startswith(b"name,latency")


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "photos.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE photos (id INTEGER)")
    other.close()
    error = problem(sqlite_url(path))
    assert error.problem is Problem.NOT_A_DATABASE
    assert "photos" in str(error)
    with sqlite3.connect(path) as other:
        assert [name for (name,) in other.execute("SELECT name FROM sqlite_master")] == ["photos"]
    other.close()


def test_a_folder_is_not_a_database(tmp_path: Path) -> None:
    assert problem(sqlite_url(tmp_path)).problem is Problem.NOT_A_DATABASE


def test_a_parent_that_is_a_file_is_explained(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    assert problem(sqlite_url(tmp_path / "data" / "monitor.db")).problem is Problem.FOLDER


def test_a_truncated_database_is_found_out(tmp_path: Path) -> None:
    path = tmp_path / "monitor.db"
    engine, writer = new_store(sqlite_url(path))
    writer.sync_inventory(inventory("checkout"), START)
    writer.record(story("ok*3000", every="1s"), START)
    engine.dispose()
    os.truncate(path, path.stat().st_size // 2)
    error = problem(sqlite_url(path), readonly=True)
    assert error.problem is Problem.DAMAGED
    assert "backup" in str(error)


@pytest.mark.skipif(ROOT, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_explained(tmp_path: Path) -> None:  # pragma: no cover - where tests run as root
    tmp_path.chmod(0o555)
    assert problem(sqlite_url(tmp_path / "monitor.db")).problem is Problem.FOLDER


def test_a_writer_without_rights_is_told_that_the_file_is_read_only(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "monitor.db")
    new_store(url)[0].dispose()
    with pytest.raises(StoreError) as caught, writing(open_engine(url, readonly=True)) as connection:
        connection.exec_driver_sql("DELETE FROM meta")
    assert caught.value.problem is Problem.READ_ONLY


def test_pages_cannot_write(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "monitor.db")
    new_store(url)[0].dispose()
    with pytest.raises(StoreError, match="read-only"):
        Writer(open_engine(url, readonly=True)).sync_inventory(inventory("checkout"), START)


def test_a_database_without_tables_asks_for_an_upgrade(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "monitor.db")
    open_engine(url).dispose()
    with pytest.raises(StoreError, match="db upgrade") as caught:
        queries.fleet(open_engine(url, readonly=True), START)
    assert caught.value.problem is Problem.OLDER


def test_a_lock_held_too_long_by_another_process_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "LOCK_WAIT_MS", 30)
    path = tmp_path / "monitor.db"
    _, writer = new_store(sqlite_url(path))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    batch = story("ok ok 401")
    with pytest.raises(StoreError) as caught:
        writer.record(batch, START)
    assert caught.value.problem is Problem.LOCKED
    assert writer.states() == {}
    other.execute("ROLLBACK")
    other.close()
    assert [done.observation for done in writer.record(batch, START)] == batch


def test_a_reader_never_keeps_the_writer_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "LOCK_WAIT_MS", 0)
    url = sqlite_url(tmp_path / "monitor.db")
    _, writer = new_store(url)
    with reading(open_engine(url, readonly=True)) as connection:
        before = connection.exec_driver_sql("SELECT count(*) FROM observations").scalar()
        writer.record(story("ok ok"), START)
        assert connection.exec_driver_sql("SELECT count(*) FROM observations").scalar() == before


def test_two_writers_in_one_process_take_turns(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "monitor.db")
    engine, _ = new_store(url)

    def count() -> None:
        for _ in range(50):
            with writing(engine) as connection:
                seen = connection.exec_driver_sql("SELECT value FROM meta WHERE key = 'data_version'").scalar()
                connection.exec_driver_sql("UPDATE meta SET value = ? WHERE key = 'data_version'", (str(int(seen) + 1),))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert queries.data_version(engine) == 200


def test_a_full_database_loses_no_state_and_takes_the_batch_again(tmp_path: Path) -> None:
    engine, writer = new_store(sqlite_url(tmp_path / "monitor.db"))
    writer.sync_inventory(inventory("checkout"), START)
    writer.record(story("ok ok"), START)
    before = writer.states()
    batch = story("ok*2000 401 401", every="1s", start=START + timedelta(hours=1), body="b" * 2000)

    def small(connection: sqlite3.Connection, _record: object) -> None:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count={pages}")

    engine.dispose()
    sa.event.listen(engine, "connect", small)
    with pytest.raises(StoreError) as caught:
        writer.record(batch, START)
    assert caught.value.problem is Problem.FULL
    assert writer.states() == before
    sa.event.remove(engine, "connect", small)
    engine.dispose()
    done = writer.record(batch, START)
    assert len(done) == 2002
    assert done[-1].state.health is Health.FAILING
    assert maintenance.check(engine) == []


_FILL = """
import resource, sys
from tests.store.helpers import *
from monitor.store.engine import StoreError
engine, writer = new_store(sys.argv[1])
most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, most))
written = 0
def batch():
    return story("ok*500", every="1s", start=START + timedelta(seconds=written))
try:
    while written < 1_000_000:
        writer.record(batch(), START)
        written += 500
except StoreError as error:
    print(written, error.problem, error, sep="|", flush=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
writer.record(batch(), START)
"""


def test_a_disk_that_fills_up_for_real_is_named_and_recording_goes_on_once_there_is_room(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "monitor.db")
    done = subprocess.run([sys.executable, "-c", _FILL, url], capture_output=True, text=True, timeout=180, check=True)
    written, name, text = done.stdout.strip().split("|")
    assert name == "full"
    assert str(tmp_path / "monitor.db") in text
    assert "full" in text
    engine = open_engine(url)
    with reading(engine) as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM observations").scalar() == int(written) + 500 > 500
    assert maintenance.check(engine) == []


def test_network_file_systems_are_told_from_local_ones(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "/dev/sda1 / ext4 rw 0 0\nserver:/export /mnt/share nfs4 rw 0 0\n//nas/x /mnt/with\\040space cifs rw 0 0\n"
        "/dev/sdb1 /mnt/share/local xfs rw 0 0\nvolume /mnt/bricks fuse.glusterfs rw 0 0\nbroken line\n"
    )
    assert network_file_system(Path("/mnt/share/monitor.db"), mounts) == "nfs4"
    assert network_file_system(Path("/mnt/with space/deep/monitor.db"), mounts) == "cifs"
    assert network_file_system(Path("/mnt/bricks/monitor.db"), mounts) == "fuse.glusterfs"
    assert network_file_system(Path("/mnt/share/local/monitor.db"), mounts) is None
    assert network_file_system(Path("/mnt/sharewood/monitor.db"), mounts) is None
    assert network_file_system(Path("/var/monitor.db"), tmp_path / "absent") is None


def test_unlisted_driver_errors_still_become_words() -> None:
    error = engine_module.explain(sa.make_url("sqlite:///x.db"), sqlite3.OperationalError("something new"))
    assert error.problem is Problem.OTHER
    assert "something new" in str(error)
