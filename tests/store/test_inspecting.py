"""Damage inside what is packed is found and named, and hostile bytes neither hang nor crash what reads them."""

import random

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from monitor.store import maintenance, tables
from monitor.store.engine import reading, writing
from monitor.store.packing import Good, pack, unpack
from monitor.store.sketch import compact, sketch, values
from tests.store.conftest import Store
from tests.store.helpers import START, Keep, answer, inventory, span

HOUR = 1_795_000_000_000 // 3_600_000 * 3_600_000


@pytest.fixture
def packed(store: Store) -> Store:
    """A store with an hour that is packed."""
    store.writer.sync_inventory(inventory("checkout"), START)
    store.writer.record([answer("ok", at=START - number * span("1m")) for number in range(120, 240)], START)
    maintenance.prune(store.engine, START, Keep())
    assert maintenance.check(store.engine) == []
    return store


def spoil(store: Store, table: sa.Table, data: bytes) -> None:
    column = table.c.data if table is tables.packs else table.c.sketch
    with reading(store.engine) as connection:
        start = connection.execute(sa.select(sa.func.min(table.c.start))).scalar_one()
    with writing(store.engine) as connection:
        connection.execute(sa.update(table).where(table.c.start == start).values({column.name: data}))


HOSTILE = [b"", b"\xff", b"\xff" * 40, b"\x00" * 9, b"\xff\xff\xff\xff\x7f\x00\x00\x00", random.Random(1).randbytes(200)]


@pytest.mark.parametrize("data", HOSTILE)
def test_a_packed_hour_that_is_damaged_is_named(packed: Store, data: bytes) -> None:
    spoil(packed, tables.packs, data)
    (line,) = maintenance.check(packed.engine)
    assert line.startswith("damaged: packs: hour ")
    assert "of target " in line


def test_a_packed_hour_with_another_count_is_named(packed: Store) -> None:
    with writing(packed.engine) as connection:
        connection.execute(sa.update(tables.packs).values(count=tables.packs.c.count + 1))
    found = maintenance.check(packed.engine)
    assert found
    assert all("were packed" in line for line in found)


@pytest.mark.parametrize("table", tables.buckets.values(), ids=lambda table: table.name)
@pytest.mark.parametrize("data", [b"\xff", b"\xff\xff", b"\xff\xff\xff\xff", sketch([5.0] * 1_000)])
def test_a_sketch_that_is_damaged_is_named(packed: Store, table: sa.Table, data: bytes) -> None:
    spoil(packed, table, data)
    found = maintenance.check(packed.engine)
    assert found
    assert all(line.startswith(f"damaged: {table.name}: ") for line in found)


def test_whoever_waits_hears_what_is_read(packed: Store) -> None:
    told: list[tuple[str, int]] = []
    maintenance.check(packed.engine, lambda table, rows: told.append((table, rows)))
    assert {table for table, _ in told} == {"packs", *(table.name for table in tables.buckets.values())}


@given(st.binary(max_size=64))
def test_bytes_of_any_kind_are_answers_or_an_error(data: bytes) -> None:
    try:
        found = unpack(HOUR, data)
    except ValueError:
        return
    assert all(HOUR <= one.at < HOUR + 3_600_000 for one in (found[0], found[-1]))


@given(st.lists(st.integers(0, 3_599_999), min_size=1, max_size=80, unique=True), st.data())
def test_a_pack_that_is_cut_short_is_an_error(times: list[int], data: st.DataObject) -> None:
    whole = pack(HOUR, [Good(HOUR + at, at * 7 % 90_000, None) for at in times])
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(ValueError, match=r"."):
        unpack(HOUR, whole[:cut])


@given(st.lists(st.floats(0.2, 120_000), max_size=300), st.binary(max_size=40))
def test_a_sketch_tells_how_many_values_it_holds_and_no_bytes_crash_it(latencies: list[float], more: bytes) -> None:
    assert values(sketch(latencies)) == values(compact(sketch(latencies) + b"")) == len(latencies)
    try:
        assert values(sketch(latencies) + more) >= len(latencies)
    except ValueError:
        return
