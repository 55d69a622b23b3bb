"""Every window that pages offer, over thirteen months as retention leaves them: no hole, no count lost, never too many points."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import Engine

from monitor.config.settings import Retention
from monitor.domain.observation import Observation
from monitor.domain.timeline import Window
from monitor.store import maintenance, queries
from monitor.store.engine import open_engine
from monitor.store.grains import MOST
from monitor.ui import data, filters
from tests.store.helpers import CHECKOUT, START, answer, inventory, limits, new_store, span, sqlite_url

NOW = START + span("7m")
BEGAN = NOW - timedelta(days=400)
MINUTE = span("1m")


def told() -> Iterator[Observation]:
    """One check an hour, one a minute since yesterday; each seventh is turned away."""
    at, number = BEGAN, 0
    while at < NOW:
        number += 1
        yield answer("ok" if number % 7 else "429", at=at, latency_ms=100.0 + number % 50, limits=limits(number % 90))
        at += span("1h") if NOW - at > span("26h") else MINUTE


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """The store as it lies there after all these months."""
    path: Path = tmp_path_factory.mktemp("windows") / "monitor.db"
    engine, writer = new_store(sqlite_url(path))
    writer.sync_inventory(inventory("checkout"), BEGAN)
    seen = list(told())
    for first in range(0, len(seen), 500):
        some = seen[first : first + 500]
        writer.record(some, some[-1].at)
    while not maintenance.prune(engine, NOW, Retention(), slices=10_000).finished:
        pass
    assert maintenance.check(engine) == []
    engine.dispose()
    read = open_engine(sqlite_url(path), readonly=True)
    yield read
    read.dispose()


def window_of(name: str) -> Window:
    """The window that the page asks for."""
    length = filters.WINDOWS[name]
    return Window.last(length, NOW, filters.grain(length))


CHARTS: dict[str, tuple[Callable[..., pd.DataFrame], Callable[[Window], timedelta]]] = {
    "failures": (queries.failure_trend, data.bars),
    "checks": (queries.check_counts, data.bars),
    "latency": (queries.latency_trend, data.points),
    "rate limits": (queries.rate_limit_trend, data.bars),
    "limits": (queries.limits_history, data.points),
}


@pytest.mark.parametrize("name", filters.WINDOWS)
@pytest.mark.parametrize("chart", CHARTS)
@pytest.mark.parametrize("project", [None, "checkout"])
@pytest.mark.parametrize("fine", [False, True])
def test_no_trace_has_too_many_points_however_fine_the_step(
    pages: Engine, name: str, chart: str, project: str | None, *, fine: bool
) -> None:
    if chart == "limits" and project is None:
        project = "checkout"
    question, width = CHARTS[chart]
    window = window_of(name)
    found = question(pages, window, MINUTE if fine else width(window), project)
    traces = [column for column in ("failure", "project", "bucket", "model") if column in found]
    longest = found.groupby(traces, dropna=False)["start"].count().max() if traces else len(found)
    assert 0 < longest <= (MOST if fine else 100)
    assert not found.duplicated(["start", *traces]).any()


@pytest.mark.parametrize("name", filters.WINDOWS)
@pytest.mark.parametrize("project", [None, "checkout"])
def test_every_check_of_the_window_is_counted_once_and_the_beginning_is_no_hole(
    pages: Engine, name: str, project: str | None
) -> None:
    window = window_of(name)
    within = [seen for seen in told() if window.start <= seen.at < window.end]
    for step in (data.bars(window), MINUTE):
        found = queries.check_counts(pages, window, step, project)
        counted = int(found[["ok", "failed"]].to_numpy().sum())
        # A bucket that begins before the window is told whole.
        edge = filters.grain(window.length, MOST) if step == MINUTE else step
        least, most = len(within), sum(window.start - edge <= seen.at < window.end for seen in told())
        assert least <= counted <= most
        assert found["start"].min() <= window.start + max(step, span("1h"))
    cells = filters.cells(window, 96, 1_000)
    strip = queries.strips(pages, window, cells, ["checkout"])
    assert abs(int(strip[["ok", "failed"]].to_numpy().sum()) - len(within)) <= 24
    # What is still to come of the last bucket has no cell, and a gap in the middle would be one.
    assert strip["cell"].tolist() == list(range(len(strip)))
    assert len(strip) >= 0.8 * cells or name == "1h"


def test_strips_of_long_windows_have_cells_of_whole_days() -> None:
    assert {name: filters.cells(window_of(name)) for name in filters.WINDOWS} == {
        "1h": 30, "6h": 24, "24h": 48, "7d": 42, "30d": 30, "90d": 45, "13mo": 44,
    }  # fmt: skip
    for name in ("30d", "90d", "13mo"):
        window = window_of(name)
        assert window.length / filters.cells(window) % timedelta(days=1) == timedelta(0)
        assert (window.end.hour, window.end.minute) == (0, 0)


@pytest.mark.parametrize("name", filters.WINDOWS)
@pytest.mark.parametrize("most", [48, 96])
def test_strips_of_which_a_part_is_settled_are_the_strips(
    pages: Engine, name: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MONITOR_DATABASE_URL", sqlite_url(Path(str(pages.url.database))))
    window = window_of(name)
    cells = filters.cells(window, most)
    assert (data.settled(window, cells) > 0) is (window.length > timedelta(days=7))
    found, whole = data.strips(window, ["checkout"], cells), queries.strips(pages, window, cells, ["checkout"])
    pd.testing.assert_frame_equal(found, whole)


def test_what_late_answers_make_anew_hides_no_month(tmp_path: Path) -> None:
    """A month ago minutes were forgotten; one late answer makes one of them again, and nobody takes it for all there was."""
    engine, writer = new_store(sqlite_url(tmp_path / "late.db"))
    seen: list[Any] = [answer("ok", at=NOW - hour * span("1h")) for hour in range(24 * 40)]
    writer.record(seen[::-1], NOW)
    maintenance.prune(engine, NOW, Retention(), slices=10_000)
    window = Window(NOW - timedelta(days=20), NOW - timedelta(days=19, hours=12))
    before = queries.check_counts(engine, window, MINUTE, CHECKOUT.project)["ok"].sum()
    writer.record([answer("ok", at=NOW - timedelta(days=20, minutes=-90))], NOW)
    assert queries.check_counts(engine, window, MINUTE, CHECKOUT.project)["ok"].sum() == before + 1
    engine.dispose()


def test_a_window_longer_than_all_there_is_shows_all_there_is(pages: Engine) -> None:
    everything = Window(BEGAN - timedelta(days=4000), NOW + timedelta(days=4000))
    assert queries.check_counts(pages, everything, MINUTE)[["ok", "failed"]].to_numpy().sum() == len(list(told()))
