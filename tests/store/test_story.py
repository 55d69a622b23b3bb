"""The story of an incident on a real store: answers, changes of health and of what is configured, and who was told."""

from dataclasses import replace

from monitor.domain.alerting import NotifyReason
from monitor.domain.changes import ChangeEvent, ChangeKind, ChangeSource
from monitor.domain.incidents import EventKind, Severity
from monitor.domain.inventory import ApiKey, Fingerprint, KeyKind
from monitor.domain.taxonomy import Scope
from monitor.store import changes, incidents, outbox
from monitor.store.outbox import NewMessage, NotSent
from tests.store.conftest import Store
from tests.store.helpers import START, incident, inventory, opened, project, span, story

REFUSED = "HTTP 401 auth.invalid_key “it said 401”"


def told(store: Store, number: int | None) -> list[tuple[str, str]]:
    record = incidents.record(store.pages, number or 0)
    assert record is not None
    return [(event.kind.value, event.text) for event in record.events]


def keyed(tail: str, owner: str = "team-a"):
    key = ApiKey("backend", "env:CHECKOUT_KEY", KeyKind.SERVICE_ACCOUNT, Fingerprint(f"00000000000000ff…{tail}"))
    return inventory(project("checkout", keys=(key,), owner=owner), "search")


def test_it_tells_answers_changes_and_messages_in_one_order(store: Store) -> None:
    before = {"intervals": {"auth": "60s"}, "projects": [{"name": "checkout", "owner": "team-a"}]}
    store.writer.save_effective_config("monitor.toml", before, START - span("1d"))
    store.writer.sync_inventory(keyed("1234"), START - span("1d"))
    store.writer.save_effective_config("monitor.toml", before | {"intervals": {"auth": "30s"}}, START + span("3m"))
    store.writer.sync_inventory(keyed("5678"), START + span("210s"))
    store.writer.record(story("ok*5 401*3 quota ok*2"), START + span("11m"))
    bad = START + span("5m")
    (one,) = opened(store.engine, incident(at=bad))
    removed = ChangeEvent(
        START + span("4m"), ChangeKind.KEY_DELETED, ChangeSource.AUDIT_LOG, "Key “old” was deleted.", project="checkout"
    )
    elsewhere = replace(removed, project="search", text="Key “other” was deleted.", dedup="other")
    configured = replace(removed, source=ChangeSource.CONFIGURATION, text="told already", dedup="here")
    changes.record(store.engine, [removed, elsewhere, configured])
    message = NewMessage(one.id, "chat", NotifyReason.FIRST, "1:0", "key refused", "…", Severity.CRITICAL, Scope.KEY)
    outbox.enqueue(store.engine, [message], bad + span("40s"))
    (claimed,) = outbox.claim(store.engine, "w", bad + span("40s"))
    outbox.delivered(store.engine, claimed.id, bad + span("41s"))
    outbox.not_sent(store.engine, [NotSent(one.id or 0, "mail", NotifyReason.NOT_ROUTED, "no route")], bad + span("42s"))
    assert told(store, one.id) == [
        ("health", "checkout/backend/auth: unknown → healthy."),
        ("change", "The configuration changed: intervals.auth 60s → 30s."),
        ("change", "Key “backend” of checkout has another secret: …1234 → …5678."),
        ("change", "Key “old” was deleted."),
        ("check", "Last good answer, checkout/backend/auth: HTTP 200."),
        ("check", f"First bad answer, checkout/backend/auth: {REFUSED}, 3 times until 2026-11-20 12:07:00 UTC."),
        ("opened", "Opened."),
        ("notified", "“chat” was told (first): key refused"),
        ("not_notified", "“mail” was not told (not routed): no route"),
        ("health", "checkout/backend/auth: healthy → failing (key refused, auth.invalid_key)."),
        ("check", "Then, checkout/backend/auth: HTTP 429 quota.credits “it said quota”."),
        ("check", "Good again, checkout/backend/auth: HTTP 200, 2 times until 2026-11-20 12:10:00 UTC."),
        ("health", "checkout/backend/auth: failing → healthy."),
    ]


def test_one_check_s_answers_are_no_other_s(store: Store) -> None:
    store.writer.sync_inventory(inventory("checkout", "search"), START - span("1d"))
    store.writer.record(story("ok*5 401*3 ok*2"), START + span("11m"))
    (one,) = opened(store.engine, incident("search", at=START + span("5m")))
    assert [kind for kind, _ in told(store, one.id)] == [EventKind.OPENED.value]
