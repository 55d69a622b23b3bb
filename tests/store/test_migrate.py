"""The schema: from nothing, from an older version, and never from a newer one."""

import contextlib
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

from monitor.domain.timeline import to_ms
from monitor.store import maintenance, queries
from monitor.store.engine import Problem, StoreError, open_engine, reading, writing
from monitor.store.migrate import FOLDER, REVISIONS, current, migrate
from monitor.store.record import Writer
from monitor.store.sketch import compact
from monitor.store.tables import DAY, PROBES, metadata
from tests.store.conftest import Store
from tests.store.helpers import START, ProbeKind, incident, inventory, opened, seed, span, sqlite_url


def test_the_migrated_schema_is_the_one_the_code_means(store: Store) -> None:
    def ours(_item: object, name: str | None, *_: object) -> bool:
        return not (name or "").startswith("observations_")  # PostgreSQL's partitions are not declared

    with reading(store.engine) as connection:
        found = compare_metadata(MigrationContext.configure(connection, opts={"include_object": ours}), metadata)
    assert found == []


def test_a_migrated_table_is_made_word_for_word_as_declared(tmp_path: Path) -> None:
    def schema(name: str, *, migrated: bool) -> dict[str, str]:
        engine = open_engine(f"sqlite:///{tmp_path / name}")
        if migrated:
            migrate(engine)
        else:
            metadata.create_all(engine)
        with reading(engine) as connection:
            found = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").all()
        return {name: " ".join(sql.split()) for name, sql in found if name != "alembic_version"}

    assert schema("a.db", migrated=True) == schema("b.db", migrated=False)


def test_the_revisions_known_here_are_those_of_the_folder() -> None:
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    walked = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    assert tuple(reversed(walked)) == REVISIONS


def test_migrating_twice_changes_nothing(store: Store) -> None:
    before = current(store.engine)
    migrate(store.engine)
    assert current(store.engine) == before == REVISIONS[-1]


def test_a_newer_schema_is_refused_and_left_alone(store: Store) -> None:
    with writing(store.engine) as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreError, match="newer version") as caught:
        migrate(store.engine)
    assert caught.value.problem is Problem.NEWER
    assert current(store.engine) == "9999"


@pytest.mark.parametrize("attempt", range(4))
def test_two_may_open_and_migrate_a_new_database_at_once(url: str, attempt: int) -> None:
    failures: list[BaseException] = []

    def go() -> None:
        try:
            migrate(open_engine(url))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=go) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert current(open_engine(url)) == REVISIONS[-1]


def test_a_database_of_the_first_schema_keeps_everything(tmp_path: Path) -> None:
    told = tmp_path / "told.db"
    known = inventory("checkout", "search")
    seed(sqlite_url(told), known, START, span("50h"), span("1h"), {"search": "ok 401 401"})
    engine = open_engine(sqlite_url(tmp_path / "monitor.db"))
    _upgrade_to(engine, "0001")
    with contextlib.closing(sqlite3.connect(tmp_path / "monitor.db", isolation_level=None)) as raw:
        tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name != 'alembic_version'"
        columns = {
            name: ", ".join(f'"{row[1]}"' for row in raw.execute(f"PRAGMA table_info({name})"))
            for (name,) in raw.execute(tables).fetchall()
        }
        raw.execute("ATTACH ? AS told", (str(told),))
        for name, some in columns.items():
            raw.execute(f"INSERT OR REPLACE INTO main.{name} ({some}) SELECT {some} FROM told.{name}")
        raw.execute("DETACH told")
        before = {name: raw.execute(f"SELECT {some} FROM {name}").fetchall() for name, some in columns.items()}
    assert {name for name, rows in before.items() if rows} >= {"projects", "keys", "observations", "transitions", "target_states"}
    assert current(engine) == "0001"
    migrate(engine)
    assert current(engine) == REVISIONS[-1]
    with contextlib.closing(sqlite3.connect(tmp_path / "monitor.db")) as raw:
        assert {name: raw.execute(f"SELECT {some} FROM {name}").fetchall() for name, some in columns.items()} == before
    assert maintenance.check(engine) == []
    other = open_engine(sqlite_url(told))
    assert _days(engine) == _days(other) != []
    with reading(engine) as connection:
        assert connection.exec_driver_sql("SELECT DISTINCT used_at FROM answers").scalars().all() == [to_ms(START) // DAY * DAY]
    assert Writer(engine).states() == Writer(other).states()
    assert queries.fleet(engine, START) == queries.fleet(other, START)
    opened(engine, incident("search"))
    assert len(queries.incidents(engine, project="search")) == 1


def _days(engine: Engine) -> list[tuple[Any, ...]]:
    """Every day bucket, its sketch by what it says, and every day's failures."""
    with reading(engine) as connection:
        days = connection.exec_driver_sql("SELECT * FROM day_buckets ORDER BY start, project_id, probe").all()
        failures = connection.exec_driver_sql("SELECT * FROM day_failures ORDER BY start, project_id, failure").all()
    return [*((*row[:-1], compact(row[-1])) for row in days), *map(tuple, failures)]


def _upgrade_to(engine: Engine, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def test_a_start_with_nothing_to_do_imports_neither_alembic_nor_pandas(store: Store) -> None:
    code = (
        "import sys; from monitor.store.engine import open_engine; from monitor.store.migrate import migrate;"
        "from monitor.store.record import Writer; from monitor.store import queries;"
        "engine = open_engine(sys.argv[1]); migrate(engine); Writer(engine); queries.heartbeat(engine);"
        "print([name for name in ('alembic', 'pandas', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, store.url], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_a_failed_migration_leaves_an_empty_database(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = open_engine(url)
    with monkeypatch.context() as patch:
        patch.setattr("monitor.store.migrate.FOLDER", FOLDER / "absent")
        with pytest.raises(Exception, match="doesn't exist"):
            migrate(engine)
    assert current(engine) is None
    migrate(engine)
    assert current(engine) == REVISIONS[-1]


def test_every_probe_has_a_number_of_its_own_that_never_changes() -> None:
    assert PROBES == {
        ProbeKind.CONTROL: 1,
        ProbeKind.AUTH: 2,
        ProbeKind.MODEL_ACCESS: 3,
        ProbeKind.INFERENCE: 4,
        ProbeKind.DENIED_MODEL: 5,
    }
    assert set(PROBES) == set(ProbeKind)
