"""The pages of models and deadlines."""

import time
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from monitor.domain.alerting import NotifyReason
from monitor.domain.catalogue import Catalogue
from monitor.domain.inventory import Check, Inventory, ProbeKind, Project, Target
from monitor.domain.observation import Observation, Verdict
from monitor.domain.organization import Item, ItemKind, UsageRow
from monitor.domain.reminders import dedup_key, digest
from monitor.store import outbox, queries, reminders
from monitor.store.engine import Engine, open_engine
from monitor.store.organization import DAYS, OrganizationWriter
from monitor.store.outbox import NewMessage
from monitor.store.reminders import Unsaid
from monitor.ui import data
from tests.pages.conftest import Page, Store, Visit, burning, project

DAY = timedelta(days=1)
NASTY = "<script>alert(1)</script>](javascript:x) =cmd"


class Record:
    """The organization's record beside a store."""

    def __init__(self, store: Store) -> None:
        self.now = store.now
        self.engine: Engine = open_engine(store.url)
        self.writer = OrganizationWriter(self.engine, "acme", store.now)
        self.store = store

    def save(self, kind: ItemKind, owner: str | None, *items: tuple[str, dict[str, Any]]) -> "Record":
        made = [Item(kind, number, number if kind is ItemKind.PROJECT else owner, facts) for number, facts in items]
        self.writer.save(kind, owner, self.now, made, lambda *_: [])
        return self

    def synced(self) -> "Record":
        self.writer.synced(self.now)
        return self

    def listed(self, models: dict[str, date | None], *names: str) -> "Record":
        seen = [
            Observation(Target(ProbeKind.AUTH, name, "backend"), self.now, Verdict.OK, status=200, catalogue=Catalogue(models))
            for name in names
        ]
        self.store.writer.record(seen, self.now)
        return self

    def key(self, name: str, ahead: float) -> "Record":
        return self.save(ItemKind.API_KEY, f"proj_{name}", (f"key_{name}", {"name": "backend", "expires_at": self.at(ahead)}))

    def at(self, ahead: float) -> int:
        return int((self.now + ahead * DAY).timestamp())

    def day(self, ahead: int) -> date:
        return (self.now + ahead * DAY).date()


@pytest.fixture
def record(store: Store) -> Record:
    return Record(store)


@pytest.fixture(autouse=True)
def _forget() -> None:
    data._calendar.clear()


def four_facts(store: Store, record: Record) -> None:
    """`crm` is allowed gpt-4o and refused; `docs` may not use it and can; `batch` needs what is soon gone."""
    store.fill(answer=burning).beat()
    names = ("legacy", "batch", "crm", "docs")
    record.save(ItemKind.PROJECT, None, *((f"proj_{name}", {"name": name}) for name in names))
    for name, models in (("crm", ["gpt-4o"]), ("docs", ["gpt-5"]), ("batch", ["gpt-4o-2024-08-06"])):
        record.save(ItemKind.MODEL_PERMISSIONS, f"proj_{name}", (f"proj_{name}", {"mode": "allow_list", "model_ids": models}))
    record.synced().listed({"gpt-4o": record.day(12), "gpt-4o-2024-08-06": None}, "batch", "docs")
    start = record.now.replace(hour=0, minute=0, second=0) - DAY
    record.writer.replace_usage("completions", DAYS, [start], [UsageRow(start, DAYS, "proj_batch", "key_1", "gpt-4o", 1234, 5, 5)])


# Models ---------------------------------------------------------------------------------------------------------------------------


def test_nothing_is_watched(visit: Visit, store: Store) -> None:
    store.fill((project("quiet", models=()),)).beat()
    assert "No model is watched." in visit("models").text
    assert "No model of this project is watched." in visit("models", project="quiet").text


def test_the_four_facts_stand_side_by_side(visit: Visit, store: Store, record: Record) -> None:
    four_facts(store, record)
    text = visit("models").text
    assert "cannot be used as needed." in text
    assert "gpt-4o is shut down in 12 days; 2 projects need or use it." in text
    assert "✓ allowed" in text
    assert "✕ not allowed" in text
    assert "≈ allowed" in text
    assert "◷ ends in 12 days" in text
    assert "crm is allowed to use gpt-4o, and calls are refused" in text
    assert "docs is not allowed to use gpt-4o, and calls are answered." in text
    assert "1,234 a day" in text
    assert "alias; listed snapshots: gpt-4o-2024-08-06" in text


def test_without_an_admin_key_the_policy_is_said_to_need_one(visit: Visit, store: Store, record: Record) -> None:
    store.fill(answer=burning).beat()
    record.listed({"gpt-4o": record.day(12)}, "batch", "docs")
    with record.engine.begin() as connection:
        connection.exec_driver_sql("delete from organizations")
    text = visit("models").text
    assert "Policy: needs an admin key." in text
    assert "? policy" in text
    assert "How much each is used is not known: usage needs an admin key." in text


def test_only_disagreements_and_one_owner(visit: Visit, store: Store, record: Record) -> None:
    four_facts(store, record)
    text = visit("models", broken="1").text
    assert "docs is not allowed" in text
    text = visit("models", owner="team-b").text
    assert "docs is not allowed" in text
    assert "crm is allowed" not in text
    assert "Every needed model can be used, but something disagrees." in visit("models", project="docs").text


def test_silence_makes_every_model_unknown(visit: Visit, store: Store, record: Record) -> None:
    four_facts(store, record)
    store.beat(timedelta(hours=2))
    with record.engine.begin() as connection:
        connection.exec_driver_sql("delete from heartbeats")
    text = visit("models").text
    assert "Nothing is known of the models while the poller is silent." in text


@pytest.mark.parametrize("page", ["models", "deadlines"])
@pytest.mark.parametrize("value", [NASTY, "x" * 5000, "\0", "-1", "%00", "١", "null", ""])
def test_hostile_addresses_are_left_out(visit: Visit, store: Store, record: Record, page: str, value: str) -> None:
    four_facts(store, record)
    record.key("docs", 6)
    shown = visit(page, project=value, model=value, owner=value, kind=value, page=value, broken=value, window=value)
    assert "<script>alert" not in shown.html


@pytest.mark.parametrize("page", ["models", "deadlines"])
def test_hostile_names_are_shown_as_text(visit: Visit, store: Store, record: Record, page: str) -> None:
    bad = project("docs", owner=NASTY, models=(NASTY,), environment=NASTY, project_id="proj_docs")
    store.fill((bad,), answer=burning).beat()
    record.save(ItemKind.PROJECT, None, ("proj_docs", {"name": NASTY}))
    record.save(ItemKind.MODEL_PERMISSIONS, "proj_docs", ("proj_docs", {"mode": "deny_list", "model_ids": [NASTY, 7, None]}))
    record.save(ItemKind.API_KEY, "proj_docs", ("key_1", {"name": NASTY, "redacted_value": NASTY, "expires_at": record.at(3)}))
    record.synced()
    shown = visit(page)
    assert "<script>alert" not in shown.html
    assert "&lt;script&gt;alert" in shown.html


# Deadlines ------------------------------------------------------------------------------------------------------------------------


def test_an_empty_list_says_what_would_need_an_admin_key(visit: Visit, store: Store) -> None:
    store.fill().beat()
    text = visit("deadlines").text
    assert "No deadline is known, and not all can be: there is no admin key." in text
    assert "need an admin key" in text
    assert "Key expiry: no admin key is configured." in text


def test_an_empty_database(visit: Visit, store: Store) -> None:
    assert "No deadline is known" in visit("deadlines").text
    assert "No model is watched." in visit("models").text


def full(store: Store, record: Record) -> None:
    store.fill().beat()
    record.save(ItemKind.PROJECT, None, *((f"proj_{name}", {"name": name}) for name in ("legacy", "batch", "crm", "docs")))
    record.key("docs", 6).key("crm", -2).key("batch", 20).synced()
    record.listed({"gpt-4o": record.day(60)}, "legacy")


def test_days_stand_in_their_order_with_what_breaks(visit: Visit, store: Store, record: Record) -> None:
    full(store, record)
    text = visit("deadlines").text
    assert "Key crm/backend expires" in text
    assert "1 deadline has passed. Key crm/backend expires: 2 days ago. Next: key docs/backend expires in 6 days." in text
    places = [text.index(part) for part in ("Overdue", "This week", "This month", "Later")]
    assert places == sorted(places)
    assert "OpenAI refuses every call with the key (401)." in text
    assert "not yet: 30 days ahead" in text
    only = visit("deadlines", owner="team-b").text
    assert "Next: key docs/backend expires in 6 days." in only
    assert "batch/backend" not in only
    assert "Next: key batch/backend expires in 20 days." in visit("deadlines", project="batch").text
    assert "Model gpt-4o is shut down" in visit("deadlines", kind="model_shutdown").text
    assert "No deadline fits these filters." in visit("deadlines", kind="model_shutdown", owner="team-b").text


def test_who_was_told_and_who_was_not(visit: Visit, store: Store, record: Record) -> None:
    full(store, record)
    found = {each.projects: each for each in queries.deadlines(record.engine, store.now).deadlines}
    docs, batch, crm = (found[name,] for name in ("docs", "batch", "crm"))
    key = dedup_key([digest(docs, 7), digest(batch, 30)])
    outbox.enqueue(record.engine, [NewMessage(None, "chat", NotifyReason.DEADLINE, key, "2 deadlines", "…")], store.now)
    (claimed,) = outbox.claim(record.engine, "w", store.now)
    outbox.delivered(record.engine, claimed.id, store.now)
    unsaid = Unsaid(digest(crm, 0), "chat", NotifyReason.SILENCED, f"silenced by {NASTY}")
    reminders.note(record.engine, [unsaid, Unsaid(digest(docs, 7), "", NotifyReason.NOT_ROUTED, "no route")], store.now)
    shown = visit("deadlines")
    assert "told chat 7 days ahead" in shown.text
    assert "told chat 30 days ahead" in shown.text
    assert "chat kept quiet (when it had passed): silenced by" in shown.text
    assert "no route sends it" not in shown.text
    assert "<script>alert" not in shown.html


def test_without_a_channel_it_says_so(visit: Visit, store: Store, record: Record) -> None:
    full(store, record)
    store.writer.save_effective_config("x", {"channels": []}, store.now)
    assert "nobody: no channel is configured" in visit("deadlines").text


def test_the_overview_names_the_next_one_only_when_it_is_near(visit: Visit, store: Store, record: Record) -> None:
    store.fill().beat()
    assert "Next deadline" not in visit("overview").text
    data._calendar.clear()
    record.key("docs", 20).synced()
    assert "Next deadline" not in visit("overview").text
    data._calendar.clear()
    record.key("docs", 6).key("batch", 9).key("crm", -1)
    assert "Next deadline: key docs/backend expires in 6 days , and 1 more within 14 days." in visit("overview").text


# Large ----------------------------------------------------------------------------------------------------------------------------


def test_two_thousand_projects_are_turned_page_by_page(visit: Visit, store: Store, record: Record) -> None:
    models = ("gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-5", "gpt-5-mini")
    many = tuple(project(f"p-{number:04}", models=models, owner=f"team-{number % 40}") for number in range(2000))
    asked = [Target(ProbeKind.INFERENCE, each.name, "backend", model) for each in many for model in models]
    _record(store, many, asked, store.now)
    record.listed(dict.fromkeys(models) | {"gpt-5": record.day(9)}, *(each.name for each in many[:500]))
    for each in many[:100]:
        record.key(each.name, 3)
    record.synced()
    for name, said in (("models", "2,000"), ("deadlines", "This week")):
        visit(name)
        began = time.process_time()  # what others do meanwhile is not counted
        text = visit(name, page="2").text
        took = time.process_time() - began
        assert said in text or "p-0050" in text
        assert text.count("p-0") < 1200
        assert took < 8, f"{name} took {took:.1f} s"


def _record(store: Store, many: tuple[Project, ...], asked: list[Target], now: datetime) -> None:
    store.writer.sync_inventory(Inventory(many, tuple(Check(target, timedelta(minutes=15)) for target in asked)), now)
    seen = [Observation(target, now - timedelta(milliseconds=place % 900), Verdict.OK, 99.0) for place, target in enumerate(asked)]
    store.writer.record(seen, now)
    store.beat()


def test_a_page_is_a_page(visit: Visit, store: Store, record: Record) -> None:
    full(store, record)
    shown: Page = visit("deadlines")
    assert {each.label for each in shown.at.get("download_button")} == {"Download CSV", "Calendar file"}
