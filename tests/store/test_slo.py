"""Service levels from what the writer counted."""

import pytest

from monitor.domain.inventory import ProbeKind, Target
from monitor.domain.sli import Counts
from monitor.domain.taxonomy import LAMPS, Lane
from monitor.domain.timeline import Window
from monitor.store import slo
from tests.store.conftest import Store
from tests.store.helpers import CHECKOUT, START, answer, inventory, span, story

CALL = Target(ProbeKind.INFERENCE, "checkout", "backend", "gpt-4o")
LEGACY = Target(ProbeKind.AUTH, "legacy", "backend")
DAY = Window(START, START + span("1d"))
MONTH = Window(START - span("27d"), START + span("1d"))


@pytest.fixture
def known(store: Store) -> Store:
    store.writer.sync_inventory(inventory("checkout", "legacy"), START)
    return store


def test_lanes_are_counted_apart(known: Store) -> None:
    known.writer.record(story("ok*8 401 401", target=CHECKOUT), START + span("1h"))
    known.writer.record(story("ok*5 quota 429 timeout", target=CALL), START + span("1h"))
    found = slo.lane_counts(known.pages, DAY, "checkout")
    assert list(found.columns) == ["project", "lane", "ok", "failed"]
    assert {row.lane: (row.ok, row.failed) for row in found.itertuples()} == {
        "auth": (13, 2),
        "access": (5, 0),
        "rate": (5, 1),
        "quota": (5, 1),
        "server": (13 + 4, 0),
        "network": (13 + 4, 1),
    }


def test_the_whole_leaves_out_the_network_and_what_could_not_be_told(known: Store) -> None:
    known.writer.record(story("ok*6 401 timeout*3 ?*5", target=CHECKOUT), START + span("1h"))
    assert slo.levels(known.pages, DAY, "checkout")["checkout"].whole == Counts(6, 1)


@pytest.mark.parametrize("window", [Window(START, START + span("6h")), DAY, MONTH], ids=["quarters", "hours", "days"])
def test_every_grain_tells_the_same_of_one_project_and_of_all(known: Store, window: Window) -> None:
    known.writer.record(story("ok*30 500*3 ok*200", target=CHECKOUT), START + span("1h"))
    known.writer.record(story("ok*10 401*10", target=LEGACY), START + span("1h"))
    every = slo.levels(known.pages, window)
    assert every["checkout"].whole == Counts(230, 3)
    assert every["legacy"].whole == Counts(10, 10)
    assert every["legacy"].since == (START if window is not MONTH else START.replace(hour=0))
    for name in ("checkout", "legacy"):
        assert slo.levels(known.pages, window, name) == {name: every[name]}


def test_what_lies_outside_of_the_window_does_not_count(known: Store) -> None:
    known.writer.record(story("401*5", target=CHECKOUT, start=START - span("40d")), START)
    known.writer.record(story("ok*5", target=CHECKOUT), START + span("1h"))
    known.writer.record(story("401*5", target=CHECKOUT, start=START + span("2d")), START + span("2d"))
    level = slo.levels(known.pages, MONTH, "checkout")["checkout"]
    assert level.whole == Counts(5, 0)
    assert level.since == START.replace(hour=0)
    assert slo.levels(known.pages, MONTH)["checkout"] == level


def test_no_data_is_no_level(known: Store) -> None:
    assert slo.levels(known.pages, MONTH) == {}
    assert slo.levels(known.pages, MONTH, "checkout") == {}
    assert slo.levels(known.pages, MONTH, "nobody") == {}
    empty = slo.lane_counts(known.pages, MONTH)
    assert list(empty.columns) == ["project", "lane", "ok", "failed"]
    assert empty.empty


def test_a_project_that_is_no_longer_configured_is_left_out(known: Store) -> None:
    known.writer.record(story("ok*5", target=LEGACY), START + span("1h"))
    known.writer.sync_inventory(inventory("checkout"), START + span("1h"))
    assert "legacy" not in slo.levels(known.pages, DAY)


def test_lanes_come_in_the_order_of_the_lamps(known: Store) -> None:
    known.writer.record([answer("ok", CHECKOUT), answer("ok", LEGACY)], START)
    assert [Lane(name) for name in slo.lane_counts(known.pages, DAY)["lane"]] == [*LAMPS, *LAMPS]


def test_the_table_has_every_window_with_its_budget(known: Store) -> None:
    known.writer.record(story("ok*95 401*5", target=CHECKOUT), START)
    known.writer.record(story("401*9", target=CHECKOUT, start=START - span("20d")), START)
    found = slo.table(known.pages, START + span("2h"), 0.9, "checkout")
    whole = found[found["lane"].isna()].set_index("days")
    assert dict(whole["availability"]) == {7: 0.95, 28: pytest.approx(95 / 109), 90: pytest.approx(95 / 109)}
    assert whole["left"][7] == pytest.approx(0.5)
    assert whole["left"][28] < 0
    rate = found[(found["lane"] == "rate") & (found["days"] == 7)]
    assert rate[["availability", "left"]].isna().all(axis=None)
    assert found[found["lane"] == "network"]["left"].isna().all()
    assert list(slo.table(known.pages, START, project="nobody").columns) == list(found.columns)


def test_who_burns_is_told_while_it_burns(known: Store) -> None:
    known.writer.record(story("ok*360", target=CHECKOUT), START)
    known.writer.record(story("ok*340 401*20", target=LEGACY), START)
    now = START + span("360m")
    burning = slo.burning(known.pages, now)
    assert list(burning) == ["legacy"]
    assert [alert.rule.factor for alert in burning["legacy"]] == [14.4, 6]
    assert burning["legacy"][0].rate == pytest.approx(20 / 60 / 0.001, rel=0.05)
    assert slo.burning(known.pages, now, project="checkout") == {}
    known.writer.record(story("ok*60", target=LEGACY, start=now), now)
    assert slo.burning(known.pages, now + span("1h")) == {}
