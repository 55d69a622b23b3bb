"""Good answers that were packed are found wherever rows are: nobody can tell the difference but by the room they take."""

import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa

from monitor.domain.inventory import ProbeKind, Target
from monitor.domain.observation import Verdict
from monitor.domain.timeline import Window
from monitor.store import maintenance, packs, queries, tables
from monitor.store.engine import StoreError, open_engine, reading, writing
from monitor.store.export import SHEETS, export
from monitor.store.importing import take_in
from monitor.store.incidents import record
from monitor.store.record import Writer
from monitor.store.replay import stored
from monitor.store.status import EvidenceFilter
from tests.store.conftest import Store
from tests.store.helpers import CHECKOUT, START, Keep, answer, incident, inventory, new_store, opened, span, sqlite_url, story

LEGACY = Target(ProbeKind.AUTH, "legacy", "backend")
LOOKUP = Target(ProbeKind.MODEL_ACCESS, "legacy", "backend", "gpt-4o")
BEGAN = START - span("6h")
LATER = START + span("3h")
ALL = Window(BEGAN - span("1h"), LATER)


@pytest.fixture
def told(store: Store) -> Store:
    """Nine hours of three targets: well, ill for a while, and once with another good answer."""
    store.writer.sync_inventory(inventory("checkout", "legacy"), BEGAN)
    store.writer.record(story("ok*200 401*30 ok*100 ? 500 ok*60", target=CHECKOUT, start=BEGAN), START)
    store.writer.record(story("ok*300", target=LEGACY, start=BEGAN + span("7s"), latency_ms=97.3, processing_ms=45.0), START)
    store.writer.record(story("ok*80", target=LEGACY, start=BEGAN + span("8s"), every="90s", status=204), START)
    store.writer.record(story("ok*50", every="5m", target=LOOKUP, start=BEGAN, latency_ms=None), START)
    return store


def counted(store: Store) -> tuple[int, int]:
    """Rows of good answers, and packed good answers."""
    with reading(store.pages) as connection:
        rows = connection.execute(sa.select(sa.func.count()).where(tables.observations.c.notable == 0)).scalar_one()
        return int(rows), int(connection.execute(sa.select(sa.func.coalesce(sa.func.sum(tables.packs.c.count), 0))).scalar_one())


def fold(store: Store, now: datetime = LATER) -> None:
    """Pack all that is over."""
    assert packs.fold_due(store.engine, now, 1000) > 0


def frames(store: Store, tmp_path: Path) -> Iterator[Any]:
    """What everybody who reads single answers is told."""
    for where in (
        EvidenceFilter(),
        EvidenceFilter(project="legacy"),
        EvidenceFilter(project="legacy", verdict=Verdict.OK),
        EvidenceFilter(probe=ProbeKind.MODEL_ACCESS, model="gpt-4o"),
        EvidenceFilter(status=204),
        EvidenceFilter(status=401),
        EvidenceFilter(verdict=Verdict.FAILED),
        EvidenceFilter(project="nobody"),
    ):
        yield queries.observations(store.pages, ALL, where, 5000)
        yield queries.observations(store.pages, ALL, where, 7, 40)
    yield queries.observations(store.pages, Window(BEGAN + span("30m"), BEGAN + span("95m")))
    yield list(stored(store.pages, ALL))
    yield list(stored(store.pages, ALL, ["checkout"]))
    for name, project in (("all", None), ("one", "legacy")):
        file = tmp_path / f"{name}.parquet"
        export(store.pages, SHEETS["observations"], ALL, file, "parquet", project)
        yield pd.read_parquet(file).sort_values(["at", "project", "probe"], ignore_index=True)
    seen = queries.observations(store.pages, ALL, limit=5000)
    for row in seen[::50].itertuples():
        yield queries.observation(store.pages, row.target_id, row.at.to_pydatetime())


def test_packing_changes_nothing_that_anybody_reads(told: Store, tmp_path: Path) -> None:
    before, rows = list(frames(told, tmp_path)), counted(told)[0]
    fold(told)
    assert counted(told) == (0, rows)
    for ours, theirs in zip(frames(told, tmp_path), before, strict=True):
        if isinstance(theirs, pd.DataFrame):
            pd.testing.assert_frame_equal(ours, theirs)
        else:
            assert ours == theirs
    assert maintenance.check(told.engine) == []


def test_an_hour_is_packed_when_it_is_over_for_an_hour(store: Store) -> None:
    store.writer.record(story("ok*180", start=START), START)
    fold(store, START + span("119m"))
    assert counted(store) == (180, 0)
    fold(store, START + span("120m"))
    assert counted(store) == (120, 60)
    fold(store, START + span("10h"))
    assert counted(store) == (0, 180)
    assert packs.due(store.engine, START + span("10h")) == []


def test_what_is_not_simply_good_stays_a_row(store: Store) -> None:
    store.writer.record(
        [answer("401"), answer("?", at=START + span("1s")), answer("ok", at=START + span("2s"), finding="usable")], START
    )
    fold(store)
    with reading(store.pages) as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(tables.observations)).scalar_one() == 3


def test_late_answers_join_the_hour_that_is_packed_and_never_replace_one(told: Store) -> None:
    fold(told)
    _, before = counted(told)
    late = [answer("ok", CHECKOUT, BEGAN), answer("ok", CHECKOUT, BEGAN + span("30s")), answer("401", CHECKOUT, BEGAN)]
    for engine_new in (False, True):  # a writer that was there all the time, and one that has just started
        writer = Writer(told.engine) if engine_new else told.writer
        writer.record(late, LATER)
    assert counted(told) == (4, before)
    fold(told)
    assert counted(told) == (0, before + 4)
    seen = queries.observations(told.pages, Window(BEGAN, BEGAN + span("1s")), EvidenceFilter(project="checkout"))
    assert len(seen) == 5
    assert seen["at"].is_unique
    assert maintenance.check(told.engine) == []


def test_a_file_is_taken_in_once_also_when_what_it_says_is_packed(told: Store, tmp_path: Path) -> None:
    file = tmp_path / "observations.parquet"
    rows = export(told.pages, SHEETS["observations"], ALL, file, "parquet")
    fold(told)
    done = take_in(told.engine, told.writer, file)
    assert (done.recorded, done.known) == (0, rows)
    assert export(told.pages, SHEETS["observations"], ALL, file, "parquet") == rows
    engine, writer = new_store(sqlite_url(tmp_path / "other.db"))
    assert take_in(engine, writer, file).recorded == rows
    assert (
        queries.observations(engine, ALL, limit=5000)["at"].tolist()
        == queries.observations(told.pages, ALL, limit=5000)["at"].tolist()
    )
    engine.dispose()


def test_the_story_and_the_evidence_of_an_incident_know_the_good_answers_before_it(told: Store) -> None:
    bad = BEGAN + span("200m")
    (before,) = opened(told.engine, incident("checkout", bad))
    wanted = record(told.pages, before.id)
    fold(told)
    (after,) = opened(told.engine, incident("checkout", bad))
    found = record(told.pages, after.id)
    assert wanted is not None
    assert found is not None
    assert found.evidence["last_good"] == wanted.evidence["last_good"]
    assert found.evidence["last_good"]["at"] == (bad - span("1m")).isoformat(timespec="milliseconds")
    assert [(each.at, each.text) for each in found.events if each.kind.value == "observed"] == [
        (each.at, each.text) for each in wanted.events if each.kind.value == "observed"
    ]
    again = record(told.pages, before.id)
    assert again is not None
    assert again.events == wanted.events


def test_packs_are_forgotten_when_all_in_them_is_old(told: Store) -> None:
    fold(told)
    keep = Keep(observations=span("1d"))
    end = BEGAN + span("1d") + span("90m")
    assert maintenance.prune(told.engine, end, keep).finished
    seen = queries.observations(told.pages, ALL, EvidenceFilter(verdict=Verdict.OK), 5000)
    assert seen["at"].min() == pd.Timestamp(BEGAN + span("1h"))
    assert maintenance.prune(told.engine, end + span("10h"), keep).finished
    assert counted(told) == (0, 0)
    assert len(queries.observations(told.pages, ALL, EvidenceFilter(verdict=Verdict.FAILED))) == 31
    assert maintenance.check(told.engine) == []


def test_packing_and_recording_at_once_lose_nothing(told: Store) -> None:
    """Late answers come in while their very hours are packed, by two at once."""
    rows = counted(told)[0]
    errors: list[BaseException] = []

    def go(work: Callable[[], object]) -> threading.Thread:
        def guarded() -> None:
            try:
                work()
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=guarded)
        thread.start()
        return thread

    def write() -> None:
        for number in range(60):
            told.writer.record([answer("ok", CHECKOUT, BEGAN + number * span("5m") + span("33s"))], LATER)

    def pack() -> None:
        engine = open_engine(told.url)
        for _ in range(30):
            packs.fold_due(engine, LATER, 3)
        engine.dispose()

    for thread in [go(write), go(pack), go(pack)]:
        thread.join(60)
    assert errors == []
    fold(told)
    assert counted(told) == (0, rows + 60)
    assert maintenance.check(told.engine) == []


def test_a_pack_that_is_cut_short_by_a_failure_leaves_every_row(told: Store) -> None:
    before = counted(told)
    (part, *_) = packs.due(told.engine, LATER)
    with writing(told.engine) as connection:
        connection.exec_driver_sql("ALTER TABLE packs RENAME TO gone")
    with pytest.raises(Exception, match="tables of this version"):
        packs.fold(told.engine, part)
    with writing(told.engine) as connection:
        connection.exec_driver_sql("ALTER TABLE gone RENAME TO packs")
    assert counted(told) == before


def test_transactions_stay_short_however_many_answers_there_are(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs, "_AT_ONCE", 100)
    targets = [Target(ProbeKind.AUTH, f"p-{number}", "k") for number in range(7)]
    store.writer.record([one for target in targets for one in story("ok*40", target=target)], START)
    store.writer.record(story("ok*300", every="10s", target=CHECKOUT), START)
    parts = packs.due(store.engine, LATER)
    assert sorted(number for part in parts for number in part.targets) == list(range(1, 9))
    sizes = [packs.fold(store.engine, part) for part in parts]
    assert sum(sizes) == 580
    assert sorted(sizes)[:-1] == sorted(size for size in sizes if size <= 100)


def test_two_days_of_one_answer_a_minute_take_a_ninth_of_the_room(store: Store) -> None:
    if store.engine.dialect.name != "sqlite":
        pytest.skip("pages of SQLite")
    store.writer.record(story("ok*2880", latency_ms=123.4, start=START - timedelta(days=2)), START)

    def room(*names: str) -> int:
        with reading(store.pages) as connection:
            sizes = [
                connection.exec_driver_sql("SELECT count(*) * 4096 FROM dbstat WHERE name = ?", (name,)).scalar_one()
                for name in names
            ]
        return sum(sizes)

    try:
        before = room("observations", "ix_observations_good")
    except Exception:
        pytest.skip("this SQLite was built without dbstat")
    fold(store)
    assert room("packs") < before / 9


@pytest.mark.parametrize("harm", [b"", b"\xff" * 40, b"\x01\x00"])
def test_a_damaged_hour_is_named_by_the_check_and_by_whoever_reads_it(told: Store, harm: bytes) -> None:
    fold(told)
    c = tables.packs.c
    with writing(told.engine) as connection:
        first = connection.execute(sa.select(c.start, c.target_id).order_by(c.start, c.target_id)).first()
        assert first is not None
        connection.execute(sa.update(tables.packs).where(c.start == first[0], c.target_id == first[1]).values(data=harm))
    (problem,) = maintenance.check(told.engine)
    assert problem.startswith("damaged: packs: hour ")
    with pytest.raises(StoreError, match="damaged"):
        queries.observations(told.pages, Window(BEGAN - span("1h"), BEGAN + span("1h")))
    # What is not of that hour is all there.
    assert len(queries.observations(told.pages, Window(START, LATER)))


def test_a_damaged_hour_hinders_no_recording_and_is_not_packed_over(told: Store) -> None:
    fold(told)
    with writing(told.engine) as connection:
        connection.execute(sa.update(tables.packs).values(data=b"\xff" * 40))
    late = BEGAN + span("30m")
    told.writer.record([answer("ok", target=LEGACY, at=late)], LATER)
    assert len(queries.observations(told.pages, Window(LATER, LATER + span("1h")))) == 0
    with pytest.raises(StoreError, match="damaged"):
        packs.fold_due(told.engine, LATER, 1000)
    with reading(told.pages) as connection:
        assert connection.execute(sa.select(sa.func.count()).where(tables.packs.c.data != b"\xff" * 40)).scalar() == 0
        assert connection.execute(sa.select(sa.func.count()).where(tables.observations.c.at >= late.timestamp() * 1000)).scalar()
