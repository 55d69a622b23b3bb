"""What is read out of a list of models, and what changed between two."""

import json
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.domain.catalogue import MOST_MODELS, Catalogue, CatalogueChange, changes, moment, read, told
from monitor.domain.changes import ChangeKind

JUNE = date(2027, 6, 1)


def listed(*entries: Any, **more: Any) -> bytes:
    return json.dumps({"object": "list", "data": list(entries)} | more).encode()


def test_a_list_is_read_with_its_days() -> None:
    body = listed({"id": "gpt-5"}, {"id": "gpt-4o", "shutdown_date": "2027-06-01"}, {"id": "gpt-4.1", "shutdown_date": None})
    found = read(body)
    assert found == Catalogue({"gpt-4.1": None, "gpt-4o": JUNE, "gpt-5": None})
    assert list(found.models) == sorted(found.models)
    assert "gpt-5" in found
    assert found.shutdown("gpt-4o") == JUNE
    assert moment(JUNE) == datetime(2027, 6, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"nonsense", b"[]", b"null", b"7", b'{"data": {}}', b'{"data": null}', b'{"object": "list"}', b'{"data": []}',
        b"[" * 100_000, b"\xff\xfe", b'{"data": [1, null, "gpt-4o", [], {"id": 7}, {"id": null}, {}]}',
        listed(*({"id": f"m-{n}"} for n in range(MOST_MODELS + 1))),
        listed({"id": "gpt-4o"}, has_more=True),
    ],
)  # fmt: skip
def test_what_is_no_list_or_not_all_of_one_is_nothing(body: bytes) -> None:
    assert read(body) is None


@pytest.mark.parametrize(
    "name",
    [
        7, None, True, ["gpt-4o"], "", " gpt-4o", "gpt 4o", "gpt-4o\n", "gpt\0", "модель", "m" * 201, "<script>",
        "sk-proj-TEST-not-a-key-0123456789", "ft:gpt-4o:sk-svcacct-TEST-not-a-key-0001", "AKIAIOSFODNN7EXAMPLE", "\ud800",
    ],
)  # fmt: skip
def test_an_id_that_is_none_or_may_be_a_secret_is_left_out(name: Any) -> None:
    assert read(listed({"id": name}, {"id": "gpt-4o"})) == Catalogue({"gpt-4o": None})


@pytest.mark.parametrize(
    "name",
    ["gpt-4o-mini-2024-07-18", "ft:gpt-4o-mini-2024-07-18:acme::abc123", "o3", "text-embedding-3-large", "chatgpt-4o-latest"],
)
def test_the_names_that_openai_gives_are_ids(name: str) -> None:
    assert read(listed({"id": name})) == Catalogue({name: None})


@pytest.mark.parametrize(
    "day", [0, 20270601, 1811808000, "soon", "2027-13-01", "2027-06-01T00:00:00Z", "20270601", "２０２７-06-01", {}, []]
)
def test_a_day_that_is_none_is_not_announced(day: Any) -> None:
    assert read(listed({"id": "gpt-4o", "shutdown_date": day})) == Catalogue({"gpt-4o": None})


@given(st.binary() | st.recursive(st.none() | st.text() | st.integers(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)).map(
    lambda value: json.dumps({"data": value}).encode()
))  # fmt: skip
def test_nothing_breaks_the_reader(body: bytes) -> None:
    found = read(body)
    assert found is None or found.models


def test_what_differs_between_two_lists() -> None:
    before = Catalogue({"gone": JUNE, "moved": JUNE, "safe": JUNE, "same": JUNE, "warned": None})
    after = Catalogue({"moved": date(2027, 9, 1), "new": None, "safe": None, "same": JUNE, "warned": JUNE})
    assert [each.sentence for each in changes(before, after)] == [
        "OpenAI no longer lists gone; its shutdown was announced for 2027-06-01",
        "OpenAI moved the shutdown of moved from 2027-06-01 to 2027-09-01",
        "OpenAI lists new now",
        "OpenAI withdrew the shutdown of safe, announced for 2027-06-01",
        "OpenAI announced the shutdown of warned for 2027-06-01",
    ]
    assert [each.kind for each in changes(before, after)] == [
        ChangeKind.MODEL_DELISTED, ChangeKind.MODEL_SHUTDOWN, ChangeKind.MODEL_LISTED,
        ChangeKind.MODEL_SHUTDOWN, ChangeKind.MODEL_SHUTDOWN,
    ]  # fmt: skip


_LISTS = st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), st.none() | st.dates()).map(Catalogue)


@given(_LISTS, _LISTS)
def test_the_changes_lead_from_one_list_to_the_other(before: Catalogue, after: Catalogue) -> None:
    assert not list(changes(after, after))
    made = dict(before.models)
    for each in changes(before, after):
        if each.kind is ChangeKind.MODEL_DELISTED:
            del made[each.model]
        else:
            made[each.model] = each.after
    assert made == after.models


@pytest.mark.parametrize(
    ("names", "whom"),
    [
        (["checkout"], "project checkout"),
        (["search", "checkout"], "2 projects (checkout, search)"),
        ([f"p-{n:04}" for n in range(2000)], "2,000 projects (p-0000, p-0001, p-0002 and 1,997 more)"),
    ],
)
def test_many_who_see_the_same_are_one_piece_of_news(names: list[str], whom: str) -> None:
    change = CatalogueChange(ChangeKind.MODEL_LISTED, "gpt-6", None, None)
    assert told(change, names) == f"OpenAI lists gpt-6 now: seen by {whom}."
