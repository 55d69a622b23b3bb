"""Deadlines and the use of models from what is stored."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from monitor.domain.access_findings import AccessFindingKind, findings
from monitor.domain.access_standing import cells
from monitor.domain.alerting import Silence
from monitor.domain.catalogue import Catalogue
from monitor.domain.coverage import KeyMatch, Matched
from monitor.domain.deadlines import DeadlineKind
from monitor.domain.inventory import ProbeKind, Target
from monitor.domain.model_access import Access, Listed, Policy, Probed, Ruling, Truth, Use, exposures
from monitor.domain.organization import CostRow, Item, ItemKind, UsageRow
from monitor.store import queries, silences
from monitor.store.engine import writing
from monitor.store.organization import DAYS, NO_ADMIN_KEY, OrganizationWriter
from monitor.store.tables import effective_config
from monitor.store.use import daily_use
from tests.store.conftest import Store
from tests.store.helpers import answer, inventory, project

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
TODAY = NOW.replace(hour=0)
DAY = timedelta(days=1)
K = DeadlineKind


@pytest.fixture
def acme(store: Store) -> OrganizationWriter:
    watched = (
        project("checkout", ("gpt-4o", "gpt-5")),
        project("search", ("gpt-5",), owner="team-b"),
        project("anon", project_id=None),
    )
    store.writer.sync_inventory(inventory(*watched), NOW - DAY)
    return OrganizationWriter(store.engine, "acme", NOW)


def save(acme: OrganizationWriter, kind: ItemKind, project: str | None, number: str, **facts: Any) -> None:
    acme.save(kind, project, NOW, [Item(kind, number, project, facts)], lambda *_: [])


def listed(store: Store, *names: str, **days: date | None) -> None:
    models = Catalogue({"gpt-4o": days.get("four"), "gpt-5": days.get("five")})
    store.writer.record([answer("ok", Target(ProbeKind.AUTH, name, "backend"), NOW, catalogue=models) for name in names], NOW)


def used(acme: OrganizationWriter, *rows: tuple[int, str, str, int]) -> None:
    """Days ago, project, model, requests."""
    made = [UsageRow(TODAY - ago * DAY, DAYS, name, "key_1", model, sent, sent, sent) for ago, name, model, sent in rows]
    acme.replace_usage("completions", DAYS, sorted({each.start for each in made}), made)


def test_use_is_the_average_of_the_complete_days_that_are_known(store: Store, acme: OrganizationWriter) -> None:
    assert daily_use(store.pages, NOW) is None
    used(acme, (0, "proj_a", "gpt-4o", 999))
    assert daily_use(store.pages, NOW) is None
    used(acme, (1, "proj_a", "gpt-4o", 10), (2, "proj_a", "gpt-4o", 30), (2, "proj_b", "gpt-5", 8), (30, "proj_a", "gpt-4o", 10**6))
    assert daily_use(store.pages, NOW) == {("proj_a", "gpt-4o"): Use(20, 40), ("proj_b", "gpt-5"): Use(4, 8)}
    assert daily_use(store.pages, NOW, project="proj_b") == {("proj_b", "gpt-5"): Use(4, 8)}
    assert daily_use(store.pages, NOW, models={"gpt-4o"}) == {("proj_a", "gpt-4o"): Use(20, 40)}
    assert daily_use(store.pages, NOW, models=()) == {}


def test_without_an_admin_key_policy_is_unknown_and_the_rest_is_not(store: Store, acme: OrganizationWriter) -> None:
    with writing(store.engine) as connection:
        connection.execute(sa.text("delete from organizations"))
    listed(store, "checkout", four=date(2026, 12, 4))
    found = {(each.project, each.model): each for each in queries.model_access(store.pages, NOW)}
    one = found["checkout", "gpt-4o"]
    assert (one.policy, one.ruling.why, one.listed, one.use) == (Policy.UNKNOWN, NO_ADMIN_KEY, Listed.LISTED, None)
    assert found["search", "gpt-5"].listed is Listed.UNKNOWN
    calendar = queries.deadlines(store.pages, NOW)
    assert [(each.kind, each.projects) for each in calendar.deadlines] == [(K.MODEL_SHUTDOWN, ("checkout",))]
    assert f"Key expiry: {NO_ADMIN_KEY}." in calendar.open_questions
    in_little(store)


def in_little(store: Store) -> None:
    """What is said of all models in little is what each of them says."""
    whole, found = queries.model_access(store.pages, NOW), queries.access_overview(store.pages, NOW)
    assert {each.project: each.cells for each in found.standings} == cells(whole, NOW.date())
    assert exposures(found.leaving, NOW.date()) == [
        replace(each, who=tuple(map(_needs, each.who))) for each in exposures(whole, NOW.date())
    ]


def _needs(access: Access) -> Access:
    """Without what the overview does not look at."""
    asked = Ruling(Policy.UNKNOWN, "not asked", sure=False)
    return replace(access, ruling=asked, probed=Probed(), truth=Truth.UNKNOWN)


def test_policies_are_joined_by_the_projects_id_or_its_key(store: Store, acme: OrganizationWriter) -> None:
    known = [Item(ItemKind.PROJECT, f"proj_{name}", f"proj_{name}", {"name": name}) for name in ("checkout", "hidden")]
    acme.save(ItemKind.PROJECT, None, NOW, known, lambda *_: [])
    save(acme, ItemKind.MODEL_PERMISSIONS, "proj_checkout", "proj_checkout", mode="allow_list", model_ids=["gpt-5"])
    save(acme, ItemKind.MODEL_PERMISSIONS, "proj_hidden", "proj_hidden", mode="deny_list", model_ids=["gpt-4o"])
    assert {each.policy for each in queries.model_access(store.pages, NOW) if each.project == "search"} == {Policy.UNKNOWN}
    acme.synced(NOW)
    acme.save_matches([KeyMatch("anon", "backend", Matched.ONE, "acme", "key_9", "proj_hidden")], NOW)
    found = queries.model_access(store.pages, NOW)
    assert {(each.project, each.model): each.policy for each in found} == {
        ("anon", "gpt-4o"): Policy.NOT_ALLOWED,
        ("checkout", "gpt-4o"): Policy.NOT_ALLOWED,
        ("checkout", "gpt-5"): Policy.ALLOWED,
        ("search", "gpt-5"): Policy.UNKNOWN,
    }
    assert {each.kind for each in findings(found, NOW.date())} == {AccessFindingKind.NEEDED_NOT_ALLOWED}
    in_little(store)
    assert [each.model for each in queries.model_access(store.pages, NOW, "checkout")] == ["gpt-4o", "gpt-5"]


def test_what_is_used_though_nobody_named_it_counts_where_it_goes(store: Store, acme: OrganizationWriter) -> None:
    listed(store, "checkout", "search", four=date(2026, 12, 4))
    used(acme, (1, "proj_search", "gpt-4o", 70), (1, "proj_checkout", "gpt-4o", 7), (1, "proj_search", "gpt-3", 7))
    found = [(each.project, each.model) for each in queries.model_access(store.pages, NOW)]
    assert ("search", "gpt-4o") in found
    assert ("search", "gpt-3") not in found
    assert [each.model for each in queries.model_access(store.pages, NOW, "search")] == ["gpt-3", "gpt-4o", "gpt-5"]
    shutdowns = [each for each in queries.deadlines(store.pages, NOW).deadlines if each.kind is K.MODEL_SHUTDOWN]
    assert [(each.owner, each.projects) for each in shutdowns] == [("team-b", ("search",)), ("team-a", ("checkout",))]
    in_little(store)


def test_every_kind_of_deadline_is_read(store: Store, acme: OrganizationWriter) -> None:
    soon = int((NOW + 3 * DAY).timestamp())
    save(acme, ItemKind.API_KEY, "proj_checkout", "key_1", name="backend", expires_at=soon, redacted_value="sk-…4f2c")
    save(acme, ItemKind.ADMIN_KEY, None, "admin_1", name="reader", expires_at=soon + 1)
    save(acme, ItemKind.CERTIFICATE, None, "cert_1", name="mtls", expires_at=soon + 2, active=True)
    save(acme, ItemKind.SPEND_LIMIT, "proj_search", "limit_1", threshold_amount=22_000, currency="USD", interval="month")
    save(acme, ItemKind.SPEND_LIMIT, None, "limit_2", threshold_amount=500_000, currency="USD", interval="month")
    acme.save_matches([KeyMatch("checkout", "backend", Matched.ONE, "acme", "key_1", "proj_checkout")], NOW)
    days = [TODAY - ago * DAY for ago in range(1, 20)]
    rows = [CostRow(day, f"proj_{name}", line, cost) for day in days for name, line, cost in
            (("search", "in", 6.0), ("search", "out", 4.0), ("checkout", "in", 200.0))]  # fmt: skip
    acme.replace_costs(days, rows)
    listed(store, "checkout", five=date(2026, 11, 29))
    silences.add(store.engine, Silence(starts=NOW - DAY, until=NOW + DAY, by="ada", project="checkout"))
    window = {"name": "move", "starts": (NOW - DAY).isoformat(), "until": (NOW + 2 * DAY).isoformat(), "projects": ["search"]}
    store.writer.save_effective_config("x", {"maintenance": [window, {"name": "odd"}, 7]}, NOW)
    acme.synced(NOW)
    found = queries.deadlines(store.pages, NOW).deadlines
    assert [each.kind for each in found] == [
        K.SILENCE_END, K.MAINTENANCE_END, K.SPEND_LIMIT, K.KEY_EXPIRY, K.ADMIN_KEY_EXPIRY, K.CERTIFICATE_EXPIRY, K.SPEND_LIMIT,
        K.MODEL_SHUTDOWN,
    ]  # fmt: skip
    assert found[3].title == "key checkout/backend expires"
    assert [each.projects for each in found if each.kind is K.SPEND_LIMIT] == [("search",), ()]


@pytest.mark.parametrize("text", ["null", "[]", '{"maintenance": 7}', '{"maintenance": [{"starts": 1, "until": []}]}', "{}"])
def test_a_configuration_of_another_version_has_no_windows(store: Store, acme: OrganizationWriter, text: str) -> None:
    with writing(store.engine) as connection:
        connection.execute(sa.insert(effective_config), {"at": 1, "source": "x", "text": text})
    assert queries.deadlines(store.pages, NOW).deadlines == ()
