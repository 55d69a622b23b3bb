"""Catalogues in the store: each list once, each change told once, however many projects and pollers see it."""

from datetime import date, datetime, timedelta

import pytest
import sqlalchemy as sa

from monitor.domain.catalogue import Catalogue
from monitor.domain.changes import ChangeEvent, ChangeKind, ChangeSource
from monitor.domain.inventory import ProbeKind, Target
from monitor.domain.timeline import Window
from monitor.store import queries
from monitor.store.engine import StoreError, reading
from monitor.store.errors import Problem
from monitor.store.record import Writer
from monitor.store.tables import catalogues
from tests.store.conftest import Store
from tests.store.helpers import START, answer, inventory, project

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
EVER = Window(START - timedelta(days=40), START + timedelta(days=40))
JUNE = date(2027, 6, 1)
OLD = Catalogue({"gpt-4o": None, "gpt-5": None})
NEW = Catalogue({"gpt-4o": None, "gpt-5": None, "gpt-6": None})


def listed(store: Store, models: Catalogue, *names: str, at: datetime = START, writer: Writer | None = None) -> None:
    """The auth checks of these projects, which read the list, in one batch."""
    seen = [
        answer("ok", Target(ProbeKind.AUTH, name, "backend"), at + timedelta(milliseconds=place), catalogue=models)
        for place, name in enumerate(names)
    ]
    (writer or store.writer).record(seen, at)


def watch(store: Store, *names: str) -> tuple[str, ...]:
    store.writer.sync_inventory(inventory(*names), START)
    return names


def events(store: Store) -> list[ChangeEvent]:
    return sorted(queries.changes(store.pages, EVER), key=lambda each: (each.at, each.text))


def texts(store: Store) -> list[str]:
    return [each.text for each in events(store)]


def lists(store: Store) -> int:
    with reading(store.pages) as connection:
        return len(connection.execute(sa.select(catalogues.c.id)).all())


def test_nothing_is_known_before_a_list_was_read(store: Store) -> None:
    watch(store, "checkout")
    store.writer.record([answer("ok")], START)
    assert queries.catalogues(store.pages) == {}


def test_what_is_listed_first_is_no_news_and_one_list_serves_all(store: Store) -> None:
    names = watch(store, "checkout", "search", "batch")
    listed(store, OLD, *names)
    listed(store, OLD, *names, at=START + HOUR)
    found = queries.catalogues(store.pages)
    assert {name: each.models for name, each in found.items()} == dict.fromkeys(names, OLD.models)
    assert found["checkout"].since == START
    assert queries.catalogues(store.pages, "search").keys() == {"search"}
    assert lists(store) == 1
    assert events(store) == []


def test_a_change_is_told_with_what_is_known_of_its_time(store: Store) -> None:
    watch(store, "checkout")
    listed(store, OLD, "checkout")
    listed(store, OLD, "checkout", at=START + HOUR)
    listed(store, Catalogue({"gpt-4o": JUNE, "gpt-6": None}), "checkout", at=START + 2 * HOUR)
    found = events(store)
    assert {each.kind for each in found} == {ChangeKind.MODEL_LISTED, ChangeKind.MODEL_DELISTED, ChangeKind.MODEL_SHUTDOWN}
    assert {each.source for each in found} == {ChangeSource.CATALOGUE}
    assert [each.text for each in found] == [
        "OpenAI announced the shutdown of gpt-4o for 2027-06-01: seen by project checkout.",
        "OpenAI lists gpt-6 now: seen by project checkout.",
        "OpenAI no longer lists gpt-5; no shutdown was announced: seen by project checkout.",
    ]
    assert {(each.at, each.after, each.project, each.project_id) for each in found} == {
        (START + 2 * HOUR, START + HOUR, "checkout", "proj_checkout")
    }
    assert [each.model for each in found] == ["gpt-4o", "gpt-6", "gpt-5"]


def test_after_a_restart_the_time_before_is_when_the_old_list_was_first_told(store: Store) -> None:
    watch(store, "checkout")
    listed(store, OLD, "checkout")
    listed(store, OLD, "checkout", at=START + HOUR)
    listed(store, NEW, "checkout", at=START + 9 * HOUR, writer=Writer(store.engine))
    assert [each.after for each in events(store)] == [START]


def test_what_many_see_within_the_hour_is_one_event(store: Store) -> None:
    names = watch(store, *(f"p-{number:02}" for number in range(40)))
    listed(store, OLD, *names)
    for place in range(0, 40, 5):
        listed(store, NEW, *names[place : place + 5], at=START + HOUR + place * MINUTE)
    (one,) = events(store)
    assert one.text == "OpenAI lists gpt-6 now: seen by 40 projects (p-00, p-01, p-02 and 37 more)."
    assert (one.at, one.project, one.project_id) == (START + HOUR, None, None)
    assert lists(store) == 1  # nobody is told the old one any more


def test_several_pollers_tell_it_once(store: Store) -> None:
    names = watch(store, "checkout", "search")
    other = Writer(store.engine)
    listed(store, OLD, *names)
    listed(store, NEW, "checkout", at=START + HOUR)
    listed(store, NEW, "search", at=START + HOUR + MINUTE, writer=other)
    assert texts(store) == ["OpenAI lists gpt-6 now: seen by 2 projects (checkout, search)."]


def test_what_comes_again_later_is_news_again(store: Store) -> None:
    watch(store, "checkout")
    for number, models in enumerate((OLD, NEW, OLD, NEW)):
        listed(store, models, "checkout", at=START + number * timedelta(days=1))
    assert [each.kind for each in events(store)] == [
        ChangeKind.MODEL_LISTED, ChangeKind.MODEL_DELISTED, ChangeKind.MODEL_LISTED
    ]  # fmt: skip


def test_another_host_or_organization_is_other_news(store: Store) -> None:
    eu = project("eu", base_url="https://eu.api.openai.com/v1")
    other = project("other", organization="org-other")
    store.writer.sync_inventory(inventory("checkout", eu, other), START)
    listed(store, OLD, "checkout", "eu", "other")
    listed(store, NEW, "checkout", "eu", "other", at=START + HOUR)
    assert {each.project for each in events(store)} == {"checkout", "eu", "other"}


def test_who_is_listed_something_else_counts_only_where_it_saw_the_change(store: Store) -> None:
    names = watch(store, "checkout", "search", "batch")
    listed(store, OLD, *names)
    listed(store, NEW, "checkout", "search", at=START + HOUR)
    listed(store, Catalogue({"gpt-4o": None}), "batch", at=START + HOUR + MINUTE)
    assert texts(store) == [
        "OpenAI lists gpt-6 now: seen by 2 projects (checkout, search).",
        "OpenAI no longer lists gpt-5; no shutdown was announced: seen by project batch.",
    ]


def test_a_late_answer_does_not_bring_back_an_old_list(store: Store) -> None:
    watch(store, "checkout")
    listed(store, OLD, "checkout")
    listed(store, NEW, "checkout", at=START + HOUR)
    listed(store, OLD, "checkout", at=START + HOUR - 3 * MINUTE)
    assert queries.catalogues(store.pages)["checkout"].models == NEW.models
    assert len(events(store)) == 1


def test_a_batch_that_was_not_committed_is_recorded_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    watch(store, "checkout")
    listed(store, OLD, "checkout")

    def broken(*_: object) -> None:
        raise StoreError(Problem.OTHER, "disk full")

    with monkeypatch.context() as patched:
        patched.setattr("monitor.store.record.meta.bump", broken)
        with pytest.raises(StoreError):
            listed(store, NEW, "checkout", at=START + HOUR)
    assert events(store) == []
    listed(store, NEW, "checkout", at=START + HOUR)
    assert len(events(store)) == 1


def test_a_long_list_is_kept_whole(store: Store) -> None:
    watch(store, "checkout")
    models = Catalogue({f"ft:gpt-4o:{'x' * 150}:{number:05}": JUNE for number in range(5000)})
    listed(store, models, "checkout")
    assert queries.catalogues(store.pages)["checkout"].models == models.models


def test_a_project_that_is_gone_is_listed_nothing(store: Store) -> None:
    names = watch(store, "checkout", "search")
    listed(store, OLD, *names)
    store.writer.sync_inventory(inventory("search"), START + HOUR)
    assert queries.catalogues(store.pages).keys() == {"search"}


def test_many_in_one_batch_are_one_event(store: Store) -> None:
    names = watch(store, *(f"p-{number:04}" for number in range(300)))
    listed(store, OLD, *names)
    listed(store, NEW, *names, at=START + HOUR)
    assert texts(store) == ["OpenAI lists gpt-6 now: seen by 300 projects (p-0000, p-0001, p-0002 and 297 more)."]
    assert len(queries.catalogues(store.pages)) == 300
