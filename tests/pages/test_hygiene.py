"""The pages of keys and of hygiene, over fleets with and without the organization's own record."""

import csv
import io
import json
from datetime import timedelta

import pytest

from monitor.domain.inventory import ApiKey, Fingerprint, KeyKind
from monitor.domain.organization import Item, ItemKind
from monitor.store.engine import open_engine
from tests.organization import DAY, Record, api_key, seconds
from tests.pages.conftest import Page, Store, Visit, project
from tests.pages.fleet_hygiene import filled

SECTIONS = ("Worst rules", "Worst projects", "By owner", "From people’s keys to service accounts", "What cannot be judged")


@pytest.fixture
def full(store: Store) -> Store:
    return filled(store).beat()


def rows(page: Page, words: str) -> list[str]:
    return [row for row in page.html.split("<tr>") if words in row]


# Hygiene --------------------------------------------------------------------------------------------------------------------------


def test_nothing_configured_says_what_to_do(visit: Visit, store: Store) -> None:
    store.fill(()).beat()
    assert "No project is configured." in visit("hygiene").text


def test_the_organization_is_graded_and_every_part_is_there(visit: Visit, full: Store) -> None:
    text = visit("hygiene").text
    assert "The organization is graded" in text
    assert "What costs most: user’s key in production" in text
    assert [text.rindex(section) for section in SECTIONS] == sorted(text.rindex(section) for section in SECTIONS)
    assert "% of the keys whose owner is known belong to service accounts." in text


def test_without_an_admin_key_it_says_what_it_would_need(visit: Visit, store: Store) -> None:
    filled(store, admin=False).beat()
    text = visit("hygiene").text
    assert "No admin key is configured" in text
    assert "An admin key that only reads is named in monitor.toml under [[organizations]]" in text
    assert "OpenAI’s record has never been read." in text
    assert "The organization is graded" in text


def test_a_rule_leads_to_the_keys_that_break_it(visit: Visit, full: Store) -> None:
    assert 'href="keys?rule=owner_inactive' in visit("hygiene").html
    assert 'href="hygiene?rule=no_spend_limit' in visit("hygiene").html
    page = visit("keys", rule="owner_inactive")
    assert len(rows(page, "key=")) == 1
    assert "owner gone" in page.text


def test_one_project_shows_its_findings_with_next_step_and_evidence(visit: Visit, full: Store) -> None:
    text = visit("hygiene", project="search").text
    assert "search is graded" in text
    assert "Set a monthly limit in platform.openai.com → Settings → Project “Search” → Limits → Spend limit." in text
    assert "OpenAI says that its owner has no access to the project any more: Mia Member" in text
    assert "Broken by its keys" in text


def test_the_score_over_time_is_drawn(visit: Visit, full: Store) -> None:
    [chart] = visit("hygiene").at.get("plotly_chart")
    assert len(json.loads(chart.proto.spec)["data"]) == 1


def test_filters_leave_what_fits(visit: Visit, full: Store) -> None:
    page = visit("hygiene", owner="team-b")
    assert rows(page, 'href="hygiene?project=docs"')
    assert not rows(page, 'href="hygiene?project=search"')
    assert "No project fits these filters." in visit("hygiene", grade="A", rule="legacy_key").text


def test_the_exports_hold_everything_and_no_formula(visit: Visit, full: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    made: dict[str, str] = {}
    import streamlit as st

    def keep(label: str, data: object, name: str, *args: object, **more: object) -> None:
        made[name] = data() if callable(data) else str(data)

    monkeypatch.setattr(st, "download_button", keep)
    visit("hygiene")
    lines = [json.loads(line) for line in made["scorecard.jsonl"].splitlines()]
    assert [line["kind"] for line in lines][:3] == ["organization", "project", "key"]
    told = list(csv.DictReader(io.StringIO(made["scorecard.csv"])))
    assert {row["key"] for row in told} == {"backend", "key_batch", "laptop <b>"}
    assert all(row["grade"] in "ABCDF" for row in told)
    steps = list(csv.DictReader(io.StringIO(made["migration.csv"])))
    assert {row["state"] for row in steps} == {"to do", "moving"}
    assert "0000000000000001" not in "".join(made.values())


# Keys -----------------------------------------------------------------------------------------------------------------------------


def test_keys_that_openai_lists_and_nobody_watches_are_told(visit: Visit, full: Store) -> None:
    page = visit("keys")
    assert "3 keys of these projects nobody watches" in page.text
    assert "1 key expiring within 14 days" in page.text
    assert rows(page, "not watched")
    assert len(rows(visit("keys", unwatched="1"), "key=")) == 2  # of the third nobody can tell


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ({"owner": "service_account"}, 2),
        ({"expiring": "1"}, 1),
        ({"unused": "1"}, 1),
        ({"grade": "F"}, 2),
        ({"kind": "user_legacy"}, 1),
        ({"health": "failing"}, 1),
        ({"project": "checkout"}, 2),
        ({"flagged": "1", "order": "First to expire"}, 6),
    ],
)
def test_filters_of_keys(visit: Visit, full: Store, filters: dict[str, str], count: int) -> None:
    page = visit("keys", **filters)
    assert len(rows(page, "key=")) == count


def test_no_key_that_fits_says_so(visit: Visit, full: Store) -> None:
    assert "No key fits these filters." in visit("keys", grade="A", health="failing").text


def test_a_key_has_its_story(visit: Visit, full: Store) -> None:
    page = visit("keys", project="checkout", key="backend")
    text = page.text
    assert "checkout/backend works." in text
    assert "of 100" in text
    assert "service account: checkout-robot" in text
    assert "It is still used, 640 calls within 1 d." in text
    assert "gpt-4o-mini: 300 calls" in text
    assert "Key “backend” (sk-…new2) was created." in text
    assert "all keys" in text.lower()
    assert len(page.at.get("plotly_chart")) == 1


def test_a_key_that_nobody_configured_has_one_too(visit: Visit, full: Store) -> None:
    text = visit("keys", project="search", key="key_stray").text
    assert "Nobody watches search/laptop <b>: OpenAI lists it, and it is configured nowhere here." in text
    assert "Nobody has used it for 70 days." in text


def test_a_refused_key_says_why_first(visit: Visit, full: Store) -> None:
    text = visit("keys", project="legacy", key="backend").text
    assert "legacy/backend does not work: key refused." in text
    assert "Its use is not known." in text


def test_a_silent_poller_makes_no_key_work(visit: Visit, store: Store) -> None:
    filled(store).beat(age=timedelta(minutes=5))
    text = visit("keys", project="checkout", key="backend").text
    assert "Nothing is known of checkout/backend while the poller is silent." in text
    assert "works." not in text


@pytest.mark.parametrize("key", ["none", "<script>alert(1)</script>", "key_x", "../..", "\N{RIGHT-TO-LEFT OVERRIDE}", "x" * 199])
def test_a_key_that_is_not_there_leads_back(visit: Visit, full: Store, key: str) -> None:
    page = visit("keys", project="checkout", key=key)
    assert "There is no key" in page.text
    assert "<script>alert" not in page.html
    assert 'href="keys' in page.html


def test_a_label_that_several_projects_have_asks_which(visit: Visit, full: Store) -> None:
    assert "Several projects have a key backend." in visit("keys", key="backend").text


NASTY = "<img src=x onerror=alert(1)> **b** `c` $x$ =1+1"


@pytest.mark.parametrize(
    "where", [{}, {"project": "shop"}, {"project": "shop", "key": "backend"}, {"project": "shop", "key": "key_2"}]
)
@pytest.mark.parametrize("page_name", ["keys", "hygiene"])
def test_names_from_openai_are_shown_as_they_are_written(visit: Visit, store: Store, page_name: str, where: dict[str, str]) -> None:
    store.fill((project("shop", environment="production", services=(NASTY, "b")),)).beat()
    engine = open_engine(store.url)
    record = Record(engine, store.now)
    record.projects({"proj_shop": NASTY})
    facts = {"name": NASTY, "owner_name": NASTY, "owner_type": "user", "owner_id": NASTY, "owner_project_access": "inactive"}
    old, new = seconds(store.now - 300 * DAY), seconds(store.now - DAY)
    record.project(
        "proj_shop",
        api_key("key_1", "proj_shop", **facts, created_at=old),
        api_key("key_2", "proj_shop", **facts, created_at=new, expires_at=10**15, last_used_at="soon"),
        Item(ItemKind.MODEL_PERMISSIONS, "proj_shop", "proj_shop", {"mode": NASTY, "model_ids": NASTY}),
    )
    record.matched({("shop", "backend"): "key_1"})
    record.used([("key_1", NASTY, DAY, 5), ("key_2", NASTY, DAY, 5)], project="proj_shop")
    engine.dispose()
    page = visit(page_name, **where)
    assert "<img" not in page.html
    assert not page.at.markdown
    assert "<img src=x onerror=alert(1)>" in page.text


def test_a_large_fleet_is_paged(visit: Visit, store: Store) -> None:
    keys = tuple(
        ApiKey(f"k{number}", f"env:K{number}", KeyKind.PROJECT_USER, Fingerprint(f"{number:016x}…{number:04}"))
        for number in range(2)
    )

    def one(number: int) -> object:
        held = tuple(
            ApiKey(key.label, key.source, key.kind, Fingerprint(f"{number * 2 + place:016x}…{number:04}"))
            for place, key in enumerate(keys)
        )
        return project(f"p{number:04}", environment="production", owner=f"team-{number % 30}", models=(), keys=held)

    store.fill(tuple(one(number) for number in range(2000)), length=timedelta(), step=timedelta(minutes=5)).beat()  # type: ignore[misc]
    page = visit("keys")
    assert len(rows(page, "key=")) == 50
    assert "1 to 50 of 4,000 keys." in page.text
    second = visit("keys", page="80")
    assert "3,951 to 4,000 of 4,000 keys." in second.text
    page = visit("hygiene")
    assert "1 to 25 of 2,000 projects." in page.text
    assert len(page.html) < 200_000


def test_the_project_s_page_shows_its_grade(visit: Visit, full: Store) -> None:
    html = visit("project", project="search").html
    assert 'href="hygiene?project=search"' in html
    assert 'class="grade ' in html
