"""The schema: from nothing, from an older version, and never from a newer one."""

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine

from monitor.store import maintenance, queries
from monitor.store.engine import Problem, StoreError, open_engine, reading, writing
from monitor.store.migrate import FOLDER, REVISIONS, current, migrate
from monitor.store.record import Writer
from monitor.store.tables import PROBES, metadata
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


@pytest.mark.parametrize("revision", REVISIONS[:-1])
def test_a_database_of_any_older_schema_keeps_everything(url: str, tmp_path: Path, revision: str) -> None:
    told = sqlite_url(tmp_path / "told.db")
    seed(told, inventory("checkout", "search"), START, span("2h"), span("10m"), {"search": "ok 401 401"})
    engine, other = open_engine(url), open_engine(told)
    _upgrade_to(engine, revision)
    before = _fill(engine, other)
    assert {name for (name, _), rows in before.items() if rows} >= {
        "projects",
        "keys",
        "observations",
        "transitions",
        "target_states",
    }
    assert current(engine) == revision
    migrate(engine)
    assert current(engine) == REVISIONS[-1]
    with reading(engine) as connection:
        assert {name: _rows(connection, name, columns) for (name, columns) in before} == {
            name: rows for (name, _), rows in before.items()
        }
    assert maintenance.check(engine) == []
    assert Writer(engine).states() == Writer(other).states()
    assert queries.fleet(engine, START) == queries.fleet(other, START)
    opened(engine, incident("search"))
    assert len(queries.incidents(engine, project="search")) == 1
    engine.dispose()
    other.dispose()


def _fill(engine: Engine, told: Engine) -> dict[tuple[str, tuple[str, ...]], list[tuple[Any, ...]]]:
    """Give an older database, in plain SQL, what a store of today was told; the rows it then has, by table and columns."""
    found = {}
    with reading(told) as source, writing(engine) as connection:
        inspector = sa.inspect(connection)
        for name in [table.name for table in metadata.sorted_tables if inspector.has_table(table.name)]:
            columns = tuple(column["name"] for column in inspector.get_columns(name))
            rows = _rows(source, name, columns)
            connection.execute(sa.text(f"DELETE FROM {name}"))
            if rows:
                named = ", ".join(f'"{column}"' for column in columns)
                values = ", ".join(f":{column}" for column in columns)
                given = [dict(zip(columns, row, strict=True)) for row in rows]
                connection.execute(sa.text(f"INSERT INTO {name} ({named}) VALUES ({values})"), given)
                if connection.dialect.name == "postgresql" and "id" in columns:
                    connection.execute(sa.text(f"SELECT setval(pg_get_serial_sequence('{name}', 'id'), max(id)) FROM {name}"))
            found[name, columns] = rows
    return found


def _rows(connection: Connection, name: str, columns: tuple[str, ...]) -> list[tuple[Any, ...]]:
    named = ", ".join(f'"{column}"' for column in columns)
    return sorted((tuple(row) for row in connection.execute(sa.text(f"SELECT {named} FROM {name}"))), key=repr)


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
    done = subprocess.run([sys.executable, "-c", code, store.url], capture_output=True, text=True, timeout=180, check=True)
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
