"""Data out and in again: files that pandas reads, and that another store takes in whole."""

import csv
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa

from monitor.domain.inventory import ProbeKind, Target
from monitor.domain.observation import RateLimitHit, RateLimitSnapshot
from monitor.domain.timeline import Window
from monitor.store import maintenance, queries, tables
from monitor.store.engine import open_engine, reading
from monitor.store.errors import StoreError
from monitor.store.export import OBSERVATION_COLUMNS, SHEETS, Form, export
from monitor.store.importing import Imported, WrongFile, take_in
from tests.store.conftest import Store
from tests.store.helpers import CHECKOUT, START, Keep, new_store, sqlite_url, story

BACKUP = Target(ProbeKind.AUTH, "checkout", "backup")
WINDOW = Window(START - timedelta(hours=1), START + timedelta(days=1))
TOLD = "ok*3 429 429 ok 401 401 ? ok"


@pytest.fixture
def told(store: Store) -> Store:
    """A store with a story, one limit in its headers and one evil text."""
    seen = story(TOLD, limits=(RateLimitSnapshot("requests", 500, 12, 1.5, 60.0),), hint='=cmd|"/c calc"!A1,\n“x”')
    seen.append(story("429", start=START + timedelta(hours=2), hit=RateLimitHit("requests", "min", 500, 500, 1))[0])
    store.writer.record(seen, START)
    return store


@pytest.mark.parametrize("form", ["parquet", "csv"])
@pytest.mark.parametrize("name", SHEETS)
def test_every_sheet_is_read_by_pandas(told: Store, tmp_path: Path, name: str, form: Form) -> None:
    file = tmp_path / "out" / f"{name}.{form}"
    rows = export(told.pages, SHEETS[name], WINDOW, file, form)
    frame = pd.read_parquet(file) if form == "parquet" else pd.read_csv(file)
    assert list(frame.columns) == [column for column, _ in SHEETS[name].columns]
    assert len(frame) == rows
    assert rows > 0 or name == "incidents"
    assert not list(file.parent.glob("*.part"))


def test_times_and_counts_are_what_they_were(told: Store, tmp_path: Path) -> None:
    file = tmp_path / "checks.parquet"
    export(told.pages, SHEETS["checks"], WINDOW, file, "parquet")
    frame = pd.read_parquet(file)
    assert frame[["ok", "failed", "inconclusive"]].sum().tolist() == [5, 5, 1]
    assert str(frame["start"].dtype) == "datetime64[ms, UTC]"
    assert frame["p50_ms"].between(118, 122).all()


def test_one_project_or_a_window_is_a_part(told: Store, tmp_path: Path) -> None:
    file = tmp_path / "observations.parquet"
    assert export(told.pages, SHEETS["observations"], WINDOW, file, "parquet", "nobody") == 0
    assert export(told.pages, SHEETS["observations"], Window(START, START + timedelta(minutes=3)), file, "parquet") == 3
    assert export(told.pages, SHEETS["observations"], WINDOW, file, "parquet", CHECKOUT.project) == 11


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_another_store_takes_it_in_whole_and_twice_is_once(told: Store, tmp_path: Path, form: Form) -> None:
    file = tmp_path / f"observations.{form}"
    rows = export(told.pages, SHEETS["observations"], WINDOW, file, form)
    engine, writer = new_store(sqlite_url(tmp_path / "other.db"))
    assert take_in(engine, writer, file) == Imported(rows, 0)
    assert take_in(engine, writer, file) == Imported(0, rows)
    for question in (queries.observations, queries.transitions):
        pd.testing.assert_frame_equal(question(engine, WINDOW), question(told.pages, WINDOW))
    day = timedelta(days=1)
    pd.testing.assert_frame_equal(
        queries.failure_trend(engine, WINDOW, day, "checkout"), queries.failure_trend(told.pages, WINDOW, day, "checkout")
    )
    newest = queries.observations(engine, WINDOW).iloc[0]
    kept = queries.observation(engine, int(newest["target_id"]), newest["at"].to_pydatetime())
    assert kept is not None
    assert kept["hit"]["limit"] == 500
    engine.dispose()


def test_history_that_is_longer_than_figures_stay_open_is_counted_whole(store: Store, tmp_path: Path) -> None:
    """As a store has it that keeps failures for a year: a few rows of many months in one batch."""
    for day in range(200, 0, -10):
        at = START - timedelta(days=day)
        store.writer.record(story("429 ok 429", start=at), at)
    long = Window(START - timedelta(days=300), START)
    rows = export(store.pages, SHEETS["observations"], long, tmp_path / "o.csv", "csv")
    engine, writer = new_store(sqlite_url(tmp_path / "other.db"))
    assert take_in(engine, writer, tmp_path / "o.csv") == Imported(rows, 0)
    for question in (queries.transitions, queries.observations):
        pd.testing.assert_frame_equal(question(engine, long), question(store.pages, long))
    day = timedelta(days=1)
    pd.testing.assert_frame_equal(
        queries.failure_trend(engine, long, day, "checkout"), queries.failure_trend(store.pages, long, day, "checkout")
    )
    assert writer.states() == store.writer.states()
    engine.dispose()


def test_what_was_counted_and_forgotten_is_not_counted_again(store: Store, tmp_path: Path) -> None:
    file, other = tmp_path / "o.csv", tmp_path / "older.csv"
    long = Window(START - timedelta(days=300), START)
    for day in (60, 50, 2):
        at = START - timedelta(days=day)
        store.writer.record(story("429 ok*20 ? 429", start=at), at)
    rows = export(store.pages, SHEETS["observations"], long, file, "csv")
    engine, writer = new_store(sqlite_url(tmp_path / "other.db"))
    for day in (70, 60):
        at = START - timedelta(days=day)
        writer.record(story("401 ok*700", start=at, target=BACKUP), at)
    older = export(engine, SHEETS["observations"], long, other, "csv")
    engine.dispose()
    keep = Keep(observations=timedelta(days=5), failures=timedelta(days=55), minutes=timedelta(days=1), hours=timedelta(days=3))
    while not maintenance.prune(store.engine, START, keep).finished:
        pass

    def figures() -> list[Any]:
        with reading(store.engine) as connection:
            days = (tables.buckets[tables.DAY], tables.failures[tables.DAY], tables.probe_use)
            return [sorted(map(tuple, connection.execute(sa.select(table)))) for table in days]

    before = figures()
    assert take_in(store.engine, store.writer, file) == Imported(0, rows)
    assert figures() == before
    # What nobody ever counted here still comes in whole, several batches of it, and once.
    assert take_in(store.engine, store.writer, other) == Imported(older, 0)
    after = figures()
    assert after != before
    while not maintenance.prune(store.engine, START, keep).finished:
        pass
    assert take_in(store.engine, store.writer, other) == Imported(0, older)
    assert figures() == after


def _row(**changed: Any) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(name for name, _ in OBSERVATION_COLUMNS)
    row |= {"at": "2026-11-20T12:00:00+00:00", "project": "p", "key": "k", "probe": "auth", "verdict": "ok", "status": "200"}
    return row | {"classifier_version": "1"} | changed


def _written(path: Path, *rows: dict[str, Any]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [name for name, _ in OBSERVATION_COLUMNS])
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"probe": "nuclear"}, "nuclear"),
        ({"verdict": "perhaps"}, "perhaps"),
        ({"failure": "auth.brand_new"}, "auth.brand_new"),
        ({"at": "yesterday"}, "yesterday"),
        ({"at": "2026-11-20T12:00:00"}, "zone"),
        ({"at": "0001-01-01T00:00:00+00:00"}, "out of reach"),
        ({"latency_ms": "nan"}, "latency_ms"),
        ({"latency_ms": "-1"}, "latency_ms"),
        ({"status": "2.5"}, "status"),
        ({"project": ""}, "without a project"),
        ({"evidence": "[1]"}, "no JSON object"),
        ({"evidence": "{"}, "row 2"),
        ({"evidence": '{"hit": {"bogus": 1}}'}, "bogus"),
        ({"evidence": '{"hit": "per minute"}'}, "hit"),
        ({"evidence": '{"hit": {"limit": "x"}}'}, "x"),
        ({"evidence": '{"hit": {"used": []}}'}, "list"),
        ({"evidence": '{"hit": {"metric": 5}}'}, "metric"),
        ({"evidence": "[" * 100_000}, "too deeply"),
        ({"evidence": '{"limits": [{}]}'}, "bucket"),
        ({"evidence": '{"limits": [{"bucket": 7}]}'}, "bucket"),
        ({"evidence": '{"limits": [7]}'}, "bucket"),
        ({"evidence": '{"tokens": "many"}'}, "many"),
    ],
)
def test_a_wrong_row_is_named_and_nothing_is_recorded(store: Store, tmp_path: Path, changed: dict[str, Any], words: str) -> None:
    file = _written(tmp_path / "o.csv", _row(), _row(**changed))
    with pytest.raises(WrongFile, match="row 2") as raised:
        take_in(store.engine, store.writer, file)
    assert words in str(raised.value)
    assert queries.observations(store.pages, WINDOW).empty


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"\0" * 99, b"a,b\n1,2\n", b"\xff\xfe\0x", b"at\n" + b"x" * 200_000])
def test_what_is_no_export_is_refused(store: Store, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "thing"
    file.write_bytes(content)
    with pytest.raises(WrongFile, match="thing"):
        take_in(store.engine, store.writer, file)
    with pytest.raises(WrongFile):
        take_in(store.engine, store.writer, tmp_path / "absent")


def test_a_secret_that_was_pasted_into_a_file_is_not_stored(store: Store, tmp_path: Path) -> None:
    secret = "sk-proj-" + "FAKE" * 20 + "wxyz"
    told = json.dumps({"body": secret, "hit": {"model": secret}, "limits": [{"bucket": secret, "limit": 5}]})
    row = _row(verdict="failed", failure="unknown", message=f"no {secret}", evidence=told)
    assert take_in(store.engine, store.writer, _written(tmp_path / "o.csv", row)) == Imported(1, 0)
    with reading(store.engine) as connection:
        for table in tables.metadata.sorted_tables:
            assert "FAKEFAKE" not in repr(connection.execute(sa.select(table)).all()), table.name


def test_a_folder_that_cannot_be_made_is_said(told: Store, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        export(told.pages, SHEETS["checks"], WINDOW, tmp_path / "file" / "checks.csv", "csv")
    reader = open_engine(told.url, readonly=True)
    reader.dispose()
