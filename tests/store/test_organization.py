"""The organization's own record in the store: what was read, what could not be, what changed, and each change once."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from monitor.domain.changes import ChangeEvent, ChangeKind, ChangeSource
from monitor.domain.coverage import KeyMatch, Matched
from monitor.domain.organization import OWN_ADMIN_KEY, PROJECT_KINDS, CostRow, Difference, Item, ItemKind, RecordAge, UsageRow
from monitor.domain.timeline import Window
from monitor.openai_api.organization import PROJECT_PARTS
from monitor.store import changes, queries
from monitor.store.organization import DAYS, HOURS, MINUTES, NO_ADMIN_KEY, OrganizationWriter
from tests.store.conftest import Store
from tests.store.helpers import START, inventory

HOUR = timedelta(hours=1)
EVER = Window(START - timedelta(days=400), START + timedelta(days=400))


def key(number: str, project: str = "proj_a", **facts: Any) -> Item:
    return Item(ItemKind.API_KEY, number, project, {"name": number, "last_used_at": 5} | facts)


def project(number: str, status: str = "active") -> Item:
    return Item(ItemKind.PROJECT, number, number, {"name": number, "status": status})


def tell(differences: Sequence[Difference], before: datetime) -> Iterator[ChangeEvent]:
    """Words for any difference."""
    for each in differences:
        verb = "new" if each.before is None else "gone" if each.after is None else "changed"
        yield change(f"{each.id} {verb}", dedup=f"{each.id} {verb} {each.changed}", after=before)


def change(text: str = "Key “backend” was deleted.", at: datetime = START, **more: Any) -> ChangeEvent:
    return ChangeEvent(**{"at": at, "kind": ChangeKind.KEY_DELETED, "source": ChangeSource.SYNC, "text": text} | more)


@pytest.fixture
def acme(store: Store) -> OrganizationWriter:
    return OrganizationWriter(store.engine, "acme", START)


def save(
    acme: OrganizationWriter, *items: Item, at: datetime = START, project: str = "proj_a", reason: str | None = None
) -> list[str]:
    made = acme.save(ItemKind.API_KEY, project, at, items, tell, reason)
    return [each.text for each in made]


def ids(items: Iterable[Item]) -> list[str]:
    return sorted(item.id for item in items)


def test_how_old_the_record_is_and_which_admin_key_is_ours(store: Store, acme: OrganizationWriter) -> None:
    assert queries.covering(store.pages).standing == {"acme": (RecordAge(0), None)}
    admin = [Item(ItemKind.ADMIN_KEY, number, None, {"name": number, "ours": number == "a"}) for number in "ab"]
    acme.save(ItemKind.ADMIN_KEY, None, START, admin, tell)
    acme.save(ItemKind.PROJECT, None, START, [project("proj_a"), project("proj_b"), project("proj_c", "archived")], tell)
    save(acme, at=START + HOUR)
    acme.save(ItemKind.MEMBER, "proj_b", START + 2 * HOUR, [], tell)
    acme.fail("rate_limit", "proj_b", "refused", START)
    age, own = queries.covering(store.pages).standing["acme"]
    assert age == RecordAge(16, 14, START + HOUR, "api_key", "proj_a")
    assert own == admin[0]
    acme.save(ItemKind.CERTIFICATE, None, START, [Item(ItemKind.CERTIFICATE, "cert_1", None, {"name": "mtls"})], tell)
    assert queries.covering(store.pages).standing["acme"][0].parts == 18
    odd = [replace(each, facts={"name": each.id, "ours": True}) for each in admin]
    acme.save(ItemKind.ADMIN_KEY, None, START, odd, tell)
    assert queries.covering(store.pages).standing["acme"][1] is None


def test_that_our_admin_key_is_not_told_apart_is_a_gap_of_the_admin_keys(store: Store, acme: OrganizationWriter) -> None:
    acme.fail(OWN_ADMIN_KEY, None, "several look alike", START)
    [gap] = queries.organization(store.pages, kinds=[ItemKind.ADMIN_KEY]).gaps
    assert (gap.part, gap.reason) == ("admin_key", "several look alike")
    assert queries.organization(store.pages, kinds=[ItemKind.API_KEY]).gaps == ()
    acme.mend(OWN_ADMIN_KEY, START)
    assert queries.organization(store.pages).gaps == ()


def test_what_is_read_of_every_project_is_what_the_sync_asks_for() -> None:
    assert [part.kind for part in PROJECT_PARTS] == list(PROJECT_KINDS)


def test_nothing_was_ever_read_and_every_part_says_so(store: Store) -> None:
    found = queries.organization(store.pages)
    assert found.items == ()
    assert found.synced_at is None
    assert {gap.part for gap in found.gaps} == {kind.value for kind in ItemKind}
    assert {gap.reason for gap in found.gaps} == {NO_ADMIN_KEY}
    assert queries.organizations(store.pages) == {}


def test_what_is_read_first_is_no_news(store: Store, acme: OrganizationWriter) -> None:
    assert save(acme, key("key_1"), key("key_2")) == []
    assert queries.changes(store.pages, EVER) == []
    found = queries.organization(store.pages, "acme")
    assert found.of(ItemKind.API_KEY) == (key("key_1"), key("key_2"))
    assert queries.organization(store.pages, "other").items == ()


def test_what_is_new_changed_or_gone_is_told_once(store: Store, acme: OrganizationWriter) -> None:
    save(acme, key("key_1"), key("key_2"))
    told = save(acme, key("key_2", name="renamed"), key("key_3"), at=START + HOUR)
    assert told == ["key_1 gone", "key_2 changed", "key_3 new"]
    assert {each.after for each in queries.changes(store.pages, EVER)} == {START}
    assert save(acme, key("key_2", name="renamed"), key("key_3"), at=START + 2 * HOUR) == []
    assert ids(queries.organization(store.pages).items) == ["key_2", "key_3"]
    assert save(acme, key("key_1"), key("key_2", name="renamed"), key("key_3"), at=START + 3 * HOUR) == ["key_1 new"]


def test_use_is_stored_but_no_news(store: Store, acme: OrganizationWriter) -> None:
    save(acme, key("key_1"))
    assert save(acme, key("key_1", last_used_at=9), at=START + HOUR) == []
    assert queries.organization(store.pages).items[0].facts["last_used_at"] == 9


def test_what_cannot_be_read_keeps_its_state_and_says_since_when(store: Store, acme: OrganizationWriter) -> None:
    save(acme, key("key_1"))
    for hours in (1, 2):
        acme.fail("api_key", "proj_a", "HTTP 500", START + hours * HOUR)
    found = queries.organization(store.pages)
    assert ids(found.items) == ["key_1"]
    [gap] = found.gaps
    assert (gap.part, gap.project, gap.reason, gap.since) == ("api_key", "proj_a", "HTTP 500", START + HOUR)
    assert acme.parts()["api_key", "proj_a"].read_at == START
    assert save(acme, at=START + 3 * HOUR) == ["key_1 gone"]
    assert queries.organization(store.pages).gaps == ()


def test_of_a_reading_that_is_not_whole_nothing_is_gone(store: Store, acme: OrganizationWriter) -> None:
    save(acme, key("key_1"), key("key_2"))
    assert save(acme, key("key_2"), key("key_3"), at=START + HOUR, reason="1 entries could not be understood") == ["key_3 new"]
    found = queries.organization(store.pages)
    assert ids(found.items) == ["key_1", "key_2", "key_3"]
    assert [gap.reason for gap in found.gaps] == ["1 entries could not be understood"]


def test_what_many_projects_lack_alike_is_one_gap(store: Store, acme: OrganizationWriter) -> None:
    for number in range(30):
        acme.fail("rate_limit", f"proj_{number}", "the admin key lacks api.management.read", START)
    acme.fail("usage.completions.60", None, "completions: HTTP 500", START)
    [limits, usage] = queries.organization(store.pages).gaps
    assert (limits.project, limits.reason) == (None, "the admin key lacks api.management.read (30 projects)")
    assert usage.part == "usage"
    assert queries.organization(store.pages, kinds=[ItemKind.API_KEY]).gaps == ()
    assert [gap.project for gap in queries.organization(store.pages, project="proj_7").gaps] == ["proj_7", None]


def test_what_belonged_to_a_project_that_is_gone_is_gone_with_it(store: Store, acme: OrganizationWriter) -> None:
    acme.save(ItemKind.PROJECT, None, START, [project("proj_a"), project("proj_b")], tell)
    save(acme, key("key_1"))
    save(acme, key("key_2", "proj_b"), project="proj_b")
    acme.fail("member", "proj_a", "HTTP 500", START)
    made = acme.save(ItemKind.PROJECT, None, START + HOUR, [project("proj_b")], tell)
    assert [each.text for each in made] == ["proj_a gone"]
    found = queries.organization(store.pages)
    assert ids(found.items) == ["key_2", "proj_b"]
    assert found.gaps == ()
    assert found.project("proj_b") == project("proj_b")
    assert queries.organization(store.pages, project="proj_b").of(ItemKind.PROJECT) == (project("proj_b"),)


def test_two_organizations_do_not_mix(store: Store, acme: OrganizationWriter) -> None:
    other = OrganizationWriter(store.engine, "other", START)
    save(acme, key("key_1"))
    save(other, key("key_2"))
    assert save(acme, key("key_1"), at=START + HOUR) == []
    assert ids(queries.organization(store.pages).items) == ["key_1", "key_2"]
    assert ids(queries.organization(store.pages, "other").items) == ["key_2"]
    assert queries.organization(store.pages).synced_at is None
    acme.synced(START + HOUR)
    assert queries.organizations(store.pages) == {"acme": START + HOUR, "other": None}


def test_hostile_texts_are_stored_harmless(store: Store, acme: OrganizationWriter) -> None:
    save(acme, key("key_1\x00\ud800", name="\x00\ud800 ; DROP TABLE organizations"))
    [item] = queries.organization(store.pages).items
    assert "\x00" not in item.id
    assert item.facts["name"].endswith("; DROP TABLE organizations")


# Changes --------------------------------------------------------------------------------------------------------------------------


def test_a_change_is_kept_once_and_found_by_time_and_project(store: Store) -> None:
    events = [
        change("one", START, dedup="1", project="checkout", project_id="proj_a", key="backend", actor="user-1", model="gpt-4o"),
        change("two", START + HOUR, dedup="2"),
        change("three", START + 2 * HOUR, dedup="3", project="search"),
        change("stranger", START + 2 * HOUR, dedup="4", project_id="proj_x"),
    ]
    stored = changes.record(store.engine, events)
    assert changes.record(store.engine, events) == []
    assert [each.text for each in queries.changes(store.pages, EVER)] == ["stranger", "three", "two", "one"]
    assert [each.text for each in queries.changes(store.pages, EVER, "checkout")] == ["two", "one"]
    assert queries.changes(store.pages, Window(START, START + HOUR)) == [stored[0]]
    assert replace(stored[0], id=None) == events[0]


def test_the_audit_log_s_time_and_actor_count_more_than_two_readings(store: Store) -> None:
    seen = change(at=START + HOUR, dedup="key.deleted key_1", after=START)
    logged = change(at=START + HOUR / 2, dedup="key.deleted key_1", source=ChangeSource.AUDIT_LOG, actor="user-1")
    changes.record(store.engine, [seen])
    assert changes.record(store.engine, [logged]) == []
    [kept] = queries.changes(store.pages, EVER)
    assert (kept.at, kept.source, kept.actor, kept.after) == (START + HOUR / 2, ChangeSource.AUDIT_LOG, "user-1", None)
    changes.record(store.engine, [replace(seen, at=START + 2 * HOUR)])
    assert queries.changes(store.pages, EVER) == [kept]


@pytest.mark.parametrize("ordinary_first", [True, False])
def test_what_stands_in_both_logs_is_kept_once_with_what_either_knows(store: Store, ordinary_first: bool) -> None:
    log = ChangeSource.AUDIT_LOG
    ordinary = change(
        "Ada was changed.", kind=ChangeKind.SERVICE_ACCOUNT_CHANGED, source=log, dedup="audit a1", subject="svc_1",
        project="checkout", project_id="proj_a",
    )  # fmt: skip
    tenants = replace(
        ordinary, dedup="audit tenant t1", at=START + timedelta(seconds=2), project=None, project_id=None, actor="user-1"
    )
    both = [ordinary, tenants] if ordinary_first else [tenants, ordinary]
    for _ in range(2):  # the last hour is read again and again
        for each in both:
            changes.record(store.engine, [each])
    [kept] = queries.changes(store.pages, EVER)
    assert (kept.project, kept.project_id, kept.actor, kept.at) == ("checkout", "proj_a", "user-1", both[0].at)
    version = changes.version(store.pages)
    changes.record(store.engine, both)
    assert changes.version(store.pages) == version
    again = [replace(each, at=each.at + HOUR, dedup=f"{each.dedup}.2") for each in both]
    assert len(changes.record(store.engine, again)) == 1  # an hour later it is another
    twice = replace(ordinary, dedup="audit a3", at=START + timedelta(seconds=4))
    assert len(changes.record(store.engine, [twice])) == 1  # and so is a second entry of the ordinary log
    assert changes.record(store.engine, [replace(tenants, dedup="audit tenant t3", at=twice.at), *both]) == []


@pytest.mark.parametrize("ordinary_first", [True, False])
def test_a_key_that_was_created_stands_in_both_logs_and_once_here(store: Store, ordinary_first: bool) -> None:
    ordinary = change(
        "Key “a”", source=ChangeSource.AUDIT_LOG, dedup="key.created key_1", kind=ChangeKind.KEY_CREATED, project_id="proj_a"
    )
    tenants = replace(ordinary, project_id=None, actor="user-1")
    for each in (ordinary, tenants) if ordinary_first else (tenants, ordinary):
        changes.record(store.engine, [each])
    [kept] = queries.changes(store.pages, EVER)
    assert (kept.project_id, kept.actor) == ("proj_a", "user-1")


def test_what_readings_and_both_logs_tell_is_kept_once(store: Store) -> None:
    seen = change("Bo joined the project.", kind=ChangeKind.MEMBER_ADDED, subject="user-7", project_id="proj_a", after=START - HOUR)
    logged = replace(
        seen, kind=ChangeKind.ROLE_CHANGED, source=ChangeSource.AUDIT_LOG, after=None, text="Bo was given a role in the project.",
        at=START - HOUR / 2, dedup="audit a1", actor="user-1",
    )  # fmt: skip
    changes.record(store.engine, [seen])
    changes.record(store.engine, [logged])
    assert changes.record(store.engine, [replace(logged, dedup="audit tenant t1", at=logged.at + timedelta(seconds=1))]) == []
    [kept] = queries.changes(store.pages, EVER)
    assert (kept.kind, kept.text, kept.actor, kept.dedup) == (ChangeKind.MEMBER_ADDED, seen.text, "user-1", "audit a1")


def test_a_change_without_a_sign_of_its_own_is_still_kept_once(store: Store) -> None:
    assert len(changes.record(store.engine, [change(), change(), change(subject="key_2")])) == 2


# Usage, costs, matches ------------------------------------------------------------------------------------------------------------


def row(start: datetime = START, requests: int = 1, width: timedelta = MINUTES, **more: Any) -> UsageRow:
    facts = {"project": "proj_a", "api_key": None, "model": "gpt-4o", "input_tokens": 10, "output_tokens": 2} | more
    return UsageRow(start=start, width=width, requests=requests, **facts)


def test_late_usage_replaces_what_was_read(store: Store, acme: OrganizationWriter) -> None:
    starts = [START, START + MINUTES]
    acme.replace_usage("completions", MINUTES, starts, [row(requests=3), row(requests=2), row(START + MINUTES, model="o3")])
    acme.replace_usage("embeddings", MINUTES, starts, [row(requests=5, model="text-embedding-3-small")])
    acme.replace_usage("completions", MINUTES, [START], [row(requests=7)])
    found = queries.usage(store.pages, EVER, MINUTES)
    assert list(zip(found["model"], found["requests"], strict=True)) == [("gpt-4o", 7), ("text-embedding-3-small", 5), ("o3", 1)]
    assert found["api_key"].tolist() == [None, None, None]
    assert queries.usage(store.pages, EVER, MINUTES, by=("project",))["requests"].tolist() == [12, 1]
    assert queries.usage(store.pages, EVER, MINUTES, project="proj_b").empty
    assert queries.usage(store.pages, EVER, HOURS).empty
    assert str(found["start"].dtype) == "datetime64[ms, UTC]"


@pytest.mark.parametrize(("width", "by"), [(timedelta(minutes=5), ("project",)), (MINUTES, ("organization_id",))])
def test_usage_that_is_not_kept_is_refused(store: Store, width: timedelta, by: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="not kept"):
        queries.usage(store.pages, EVER, width, by=by)


def test_usage_is_forgotten_by_its_age(store: Store, acme: OrganizationWriter) -> None:
    for width, days in ((MINUTES, 8), (MINUTES, 6), (HOURS, 101), (HOURS, 99), (DAYS, 401), (DAYS, 399)):
        at = START - timedelta(days=days)
        acme.replace_usage("completions", width, [at], [row(at, width=width)])
    acme.replace_costs([START - timedelta(days=401)], [CostRow(START - timedelta(days=401), None, None, 1.0)])
    acme.forget_usage(START)
    long = Window(START - timedelta(days=900), START)
    assert [len(queries.usage(store.pages, long, width)) for width in (MINUTES, HOURS, DAYS)] == [1, 1, 1]
    assert queries.costs(store.pages, long).empty


def test_costs_of_a_day_replace_those_known_before(store: Store, acme: OrganizationWriter) -> None:
    acme.replace_costs([START], [CostRow(START, "proj_a", "gpt-4o, input", 1.5), CostRow(START, "proj_a", None, 1.0)])
    acme.replace_costs([START], [CostRow(START, "proj_a", "gpt-4o, input", 2.5)])
    found = queries.costs(store.pages, EVER)
    assert found[["project", "line_item", "amount", "currency"]].to_numpy().tolist() == [["proj_a", "gpt-4o, input", 2.5, "usd"]]


def test_a_cursor_goes_on_from_where_it_was_and_a_failure_keeps_it(acme: OrganizationWriter) -> None:
    acme.read_until("audit_log", START, START + HOUR)
    acme.fail("audit_log", None, "HTTP 500", START + 2 * HOUR)
    state = acme.parts()["audit_log", None]
    assert (state.read_until, state.read_at, state.reason, state.since) == (START, START + HOUR, "HTTP 500", START + 2 * HOUR)


def test_which_key_is_which_is_kept_with_the_key_and_goes_with_it(store: Store, acme: OrganizationWriter) -> None:
    known = inventory("checkout", "search")
    store.writer.sync_inventory(known, START)
    found = [
        KeyMatch("checkout", "backend", Matched.ONE, "acme", "key_1", "proj_a"),
        KeyMatch("search", "backend", Matched.AMBIGUOUS, "acme"),
        KeyMatch("nobody", "backend", Matched.NONE, "acme"),
    ]
    acme.save_matches(found, START)
    acme.save_matches(found, START + HOUR)
    assert queries.key_matches(store.pages) == found[:2]
    [checkout, search] = known.projects
    rotated = replace(checkout, keys=(replace(checkout.keys[0], fingerprint="ffffffffffffffff…9999"),))  # type: ignore[arg-type]
    store.writer.sync_inventory(replace(known, projects=(rotated, search)), START + HOUR)
    assert [each.project for each in queries.key_matches(store.pages)] == ["search"]
