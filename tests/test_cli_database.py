"""`python -m monitor db …` on a server, and the way there from a file."""

from pathlib import Path

import pytest

from monitor.store.engine import open_engine, reading, writing
from monitor.store.migrate import current
from tests.postgres import postgresql, server
from tests.store.helpers import START, inventory, seed, span, sqlite_url
from tests.test_cli import KEY, monitor

__all__ = ["postgresql", "server"]


def test_a_file_is_copied_to_a_server_that_is_then_looked_after(tmp_path: Path, postgresql: str) -> None:
    file = sqlite_url(tmp_path / "monitor.db")
    seed(file, inventory("checkout"), START, span("1h"), span("10m"))
    here = {"OPENAI_API_KEY": KEY, "OPENAI_PROJECT_ID": "proj_a"}
    done = monitor("db", "copy", "--to", postgresql, cwd=tmp_path, MONITOR_DATABASE_URL=file, **here)
    assert done.returncode == 0, done.stderr
    assert "rows copied" in done.stdout
    again = monitor("db", "copy", "--to", postgresql, cwd=tmp_path, MONITOR_DATABASE_URL=file, **here)
    assert again.returncode == 2
    assert "not empty" in again.stderr
    here["MONITOR_DATABASE_URL"] = postgresql
    for command, said in (("upgrade", "up to date"), ("check", "sound"), ("prune", "forgotten")):
        done = monitor("db", command, cwd=tmp_path, **here)
        assert (done.returncode, done.stderr) == (0, "")
        assert said in done.stdout
    engine = open_engine(postgresql)
    assert current(engine) is not None
    engine.dispose()


@pytest.mark.parametrize(("revision", "words"), [("9999", "newer version"), ("0008", "db upgrade")])
def test_nothing_is_forgotten_of_a_database_with_another_schema(tmp_path: Path, revision: str, words: str) -> None:
    file = sqlite_url(tmp_path / "monitor.db")
    seed(file, inventory("checkout"), START - span("3000d"), span("1h"), span("10m"))
    engine = open_engine(file)
    with writing(engine) as connection:
        connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{revision}'")
    done = monitor("db", "prune", cwd=tmp_path, OPENAI_API_KEY=KEY, OPENAI_PROJECT_ID="proj_a", MONITOR_DATABASE_URL=file)
    assert done.returncode == 2
    assert words in done.stderr
    with reading(engine) as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM observations").scalar()
    engine.dispose()


def test_what_a_newer_version_wrote_is_not_told_but_may_be_saved(tmp_path: Path) -> None:
    file = sqlite_url(tmp_path / "monitor.db")
    seed(file, inventory("checkout"), START, span("1h"), span("10m"))
    engine = open_engine(file)
    with writing(engine) as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    engine.dispose()
    here = {"OPENAI_API_KEY": KEY, "OPENAI_PROJECT_ID": "proj_a", "MONITOR_DATABASE_URL": file}
    for command in (("status",), ("export", "--to", "exported"), ("report",)):
        done = monitor(*command, cwd=tmp_path, **here)
        assert (done.returncode, done.stdout) == (2, "")
        assert "written by a newer version of the monitor (schema 9999" in done.stderr
    assert monitor("db", "backup", "copy.db", cwd=tmp_path, **here).returncode == 0


def test_where_there_is_no_file_forgetting_makes_none(tmp_path: Path) -> None:
    file = sqlite_url(tmp_path / "monitor.db")
    done = monitor("db", "prune", cwd=tmp_path, OPENAI_API_KEY=KEY, OPENAI_PROJECT_ID="proj_a", MONITOR_DATABASE_URL=file)
    assert (done.returncode, "no database" in done.stderr) == (2, True)
    assert not (tmp_path / "monitor.db").exists()


def test_a_servers_backup_is_a_command_without_the_password(tmp_path: Path, postgresql: str) -> None:
    url = postgresql.replace("postgres@", "postgres:TEST-pass@")
    done = monitor(
        "db", "backup", "my copy.dump", cwd=tmp_path, OPENAI_API_KEY=KEY, OPENAI_PROJECT_ID="proj_a", MONITOR_DATABASE_URL=url
    )
    assert done.returncode == 2
    plain = postgresql.replace("+psycopg", "")
    assert f"pg_dump --format=custom --file='my copy.dump' {plain}" in done.stderr
    assert "TEST-pass" not in done.stderr
