"""What nobody watches, on the page of the monitor."""

import tomllib
from datetime import timedelta
from typing import Any

import pytest

from monitor.domain.coverage import KeyMatch, Matched, table_of
from monitor.domain.inventory import ApiKey, KeyKind
from monitor.domain.organization import Item, ItemKind
from monitor.store.engine import open_engine
from monitor.store.organization import OrganizationWriter
from monitor.ui import data
from tests.pages.conftest import Store, Visit, project

P = ItemKind


def writer(store: Store) -> OrganizationWriter:
    return OrganizationWriter(open_engine(store.url), "acme", store.now - timedelta(hours=1))


def one(kind: ItemKind, number: str, home: str | None, **facts: Any) -> Item:
    return Item(kind, number, home, facts)


def quiet(*_: object) -> list[Any]:
    return []


def save(acme: OrganizationWriter, store: Store, *projects: Item, keys: tuple[Item, ...] = ()) -> None:
    acme.save(P.PROJECT, None, store.now, projects, quiet)
    for each in projects:
        acme.save(P.API_KEY, each.id, store.now, [key for key in keys if key.project == each.id], quiet)
    acme.synced(store.now)


def test_without_an_admin_key_it_says_what_one_would_tell(store: Store, visit: Visit) -> None:
    store.fill().beat()
    shown = visit("monitor")
    assert "Only what is configured here is known" in shown.text
    assert "[[organizations]]" in shown.text


def test_what_nobody_watches_and_what_is_gone_are_told_apart(store: Store, visit: Visit) -> None:
    old = ApiKey("cron", "env:CRON", KeyKind.USER_LEGACY)
    store.fill((project("docs"), project("crm"), project("old", keys=(old,)), project("lab", project_id=None))).beat()
    acme = writer(store)
    save(
        acme, store,
        one(P.PROJECT, "proj_docs", "proj_docs", name="docs"),
        one(P.PROJECT, "proj_old", "proj_old", name="old"),
        one(P.PROJECT, "proj_crm", "proj_crm", name="crm", status="archived"),
        one(P.PROJECT, "proj_new", "proj_new", name="<b>Hack & Slay</b>", created_at=1_700_000_000),
        one(P.PROJECT, "proj_lab", "proj_lab", name="lab"),
        keys=(
            one(P.API_KEY, "key_1", "proj_docs", name="backend", redacted_value="sk-…4f2c"),
            one(P.API_KEY, "key_2", "proj_docs", name="<i>script</i>", redacted_value="sk-…9a1b", owner_name="Ada"),
        ),
    )  # fmt: skip
    acme.save_matches(
        [
            KeyMatch("docs", "backend", Matched.ONE, "acme", "key_1", "proj_docs"),
            KeyMatch("crm", "backend", Matched.NONE, "acme"),
            KeyMatch("old", "cron", Matched.NONE, "acme"),
        ],
        store.now,
    )
    shown = visit("monitor")
    assert "1 configured project is gone" in shown.text
    assert "1 configured key is none of the organization's" in shown.text
    assert "2 projects are watched by nobody" in shown.text
    assert "<b>Hack" not in shown.html
    assert "<i>script" not in shown.html
    assert "script</i> (sk-…9a1b)" in shown.text
    assert "Perhaps it is “lab” here" in shown.text
    assert "Key of an old kind" in shown.text
    [code] = [element.value for element in shown.at.code]
    assert [each["project_id"] for each in tomllib.loads(code)["projects"]] == ["proj_new"]


def test_which_of_keys_that_look_alike_a_configured_one_is_is_asked(store: Store, visit: Visit) -> None:
    store.fill((project("docs"), project("crm"))).beat()
    acme = writer(store)
    save(
        acme, store,
        one(P.PROJECT, "proj_docs", "proj_docs", name="docs"),
        one(P.PROJECT, "proj_crm", "proj_crm", name="crm"),
        keys=(
            one(P.API_KEY, "key_1", "proj_docs", name="<b>web", redacted_value="sk-…xyz", created_at=1_700_000_000),
            *(one(P.API_KEY, f"key_{n}", "proj_docs", name="batch", redacted_value="sk-…wxyz") for n in range(2, 8)),
        ),
    )  # fmt: skip
    acme.save_matches([KeyMatch("docs", "backend", Matched.AMBIGUOUS, "acme")], store.now)
    shown = visit("monitor")
    assert "2 configured keys cannot be compared" in shown.text
    assert "Which one is it? key_1 (“<b>web”, made " in shown.text
    assert "key_5 (“batch”) and 2 more end alike. Add its key_id under [[projects.keys]] in monitor.toml." in shown.text
    assert "It was not compared yet" in shown.text
    assert "<b>web" not in shown.html


def test_when_all_is_watched_it_says_so_and_which_answers_are_lacking(store: Store, visit: Visit) -> None:
    store.fill((project("docs"),)).beat()
    acme = writer(store)
    key = one(P.API_KEY, "key_1", "proj_docs", name="backend")
    save(acme, store, one(P.PROJECT, "proj_docs", "proj_docs", name="docs"), keys=(key,))
    acme.save_matches([KeyMatch("docs", "backend", Matched.ONE, "acme", "key_1", "proj_docs")], store.now)
    assert "Everything is watched" in visit("monitor").text
    acme.fail("rate_limit", "proj_docs", "the admin key lacks <script>", store.now)
    acme.synced(store.now)
    data._covering.clear()
    shown = visit("monitor")
    assert "Which answers are lacking" in shown.text
    assert "rate limit" in shown.text
    assert "<script>" not in shown.html


@pytest.mark.parametrize(
    ("days", "css", "said"),
    [(None, "", "has no expiry"), (90, "soft", "expires in 90 days"), (20, "degraded", "expires in 20 days"),
     (1, "failing", "expires in 1 day"), (-2, "failing", "expired")],
)  # fmt: skip
def test_until_when_our_own_admin_key_opens_the_record(store: Store, visit: Visit, days: int | None, css: str, said: str) -> None:
    store.fill((project("docs"),)).beat()
    acme = writer(store)
    save(acme, store, one(P.PROJECT, "proj_docs", "proj_docs", name="docs"))
    ends = {} if days is None else {"expires_at": int((store.now + timedelta(days=days)).timestamp())}
    facts = {"name": "<b>reader", "redacted_value": "sk-…7341", "ours": True} | ends
    acme.save(P.ADMIN_KEY, None, store.now, [one(P.ADMIN_KEY, "key_a", None, **facts)], quiet)
    acme.synced(store.now)
    shown = visit("monitor")
    assert f"Our admin key “<b>reader” (sk-…7341) {said}" in shown.text
    assert "<b>reader" not in shown.html
    assert days is None or f'<a class="{css}" href="deadlines"' in shown.html
    assert "7 of 8 parts of its projects were never read; the others are at most" in shown.text
    assert "(oldest: api key of docs)" in shown.text


def test_a_record_that_was_never_read_compares_nothing(store: Store, visit: Visit) -> None:
    store.fill().beat()
    writer(store).fail("project", None, "the admin key is refused (HTTP 401)", store.now)
    shown = visit("monitor")
    assert "Nothing can be compared yet" in shown.text
    assert "the admin key is refused" in shown.text


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("Prod Chatbot", "prod-chatbot"),
        ('x"]\n[[evil]]', "x-evil"),
        ("…", "proj-abc"),
        ("docs", "docs-2"),
        ("ä" * 300, "proj-abc"),
        ("a" * 300, "a" * 50),
    ],
)
def test_a_table_for_the_configuration_is_always_good_toml(name: str, made: str) -> None:
    text = table_of(Item(P.PROJECT, "proj_abc", "proj_abc", {"name": name}), ["docs"])
    [found] = tomllib.loads(text)["projects"]
    assert (found["name"], found["project_id"]) == (made, "proj_abc")
    assert found["keys"][0]["secret"].startswith("env:")
