"""What a reader is told of what changed: the feed, and what stands on the page of an incident."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from monitor.domain.changes import ChangeEvent, ChangeKind, ChangeSource
from monitor.domain.incidents import Incident
from monitor.domain.organization import ItemKind
from monitor.domain.what_changed import ranked, sharpened
from monitor.store import changes
from monitor.store.engine import open_engine
from monitor.store.organization import OrganizationWriter
from tests.pages.conftest import Store, Visit, burning
from tests.pages.test_incidents import NASTY, incident, put

K = ChangeKind
MINUTE = timedelta(minutes=1)


def change(at: datetime, kind: ChangeKind = K.KEY_DELETED, **facts: Any) -> ChangeEvent:
    given: dict[str, Any] = {
        "source": ChangeSource.AUDIT_LOG,
        "text": "Key “backend” (sk-…wxyz) was deleted.",
        "project_id": "proj_legacy",
        "project": "legacy",
        "key": "backend",
        "actor": "Ben Bauer",
        "dedup": f"{kind.value} {at} {facts.get('text', '')}",
    }
    return ChangeEvent(at=at, kind=kind, **(given | facts))


def synced(store: Store) -> None:
    """An organization whose record was read to its end."""
    writer = OrganizationWriter(open_engine(store.url), "acme", store.now - timedelta(days=1))
    writer.synced(store.now)


def broken(store: Store, *others: ChangeEvent) -> Incident:
    """The key of `legacy` was deleted and refused; other things changed too."""
    store.fill(answer=burning).beat()
    one = incident(store)
    deleted = change(one.first_bad_at - timedelta(seconds=40))
    changes.record(open_engine(store.url), [deleted, *others])
    return put(store, replace(one, diagnosis=sharpened(one, ranked(one, [deleted, *others]))))[0]


def limit(store: Store, **facts: Any) -> ChangeEvent:
    text = "The limit of gpt-4o was lowered: 10,000 → 100 requests a minute; 200,000 → 80,000 tokens a minute."
    given = {"text": text, "key": None, "model": "gpt-4o", "project": "batch", "project_id": "proj_batch"}
    return change(store.now - 70 * MINUTE, K.RATE_LIMIT_LOWERED, **(given | facts))


# The incident -----------------------------------------------------------------------------------------------------------------


def test_an_incident_says_what_changed_just_before_with_the_best_explanation_first(store: Store, visit: Visit) -> None:
    synced(store)
    added = change(store.now - 32 * MINUTE, K.MEMBER_ADDED, text="Ada joined the project.", key=None)
    one = broken(store, added)
    page = visit("incidents", incident=str(one.id))
    text = page.text
    assert text.index("What changed just before") < text.index("Timeline")
    assert "explains it Key “backend” (sk-…wxyz) was deleted by Ben Bauer 40 s before the first bad answer." in text
    assert "A deleted key is refused. How it is known: OpenAI’s audit log." in text
    assert "Also changed: 1 thing" in text
    assert text.index("was deleted by Ben Bauer 40 s") < text.index("Ada joined the project")
    assert "Cause, certain" in text
    assert "Not known" not in text


def test_the_overview_and_the_project_say_it_in_one_line(store: Store, visit: Visit) -> None:
    broken(store)
    said = "Key “backend” (sk-…wxyz) was deleted by Ben Bauer 40 s before the first bad answer."
    assert said in visit().text
    text = visit("project", project="legacy").text
    assert text.count(f"Changed just before {said}") == 1
    assert f"Just before {said}" not in text


def test_without_an_admin_key_it_says_what_one_would_tell(store: Store, visit: Visit) -> None:
    store.fill(answer=burning).beat()
    one = put(store, incident(store))[0]
    text = visit("incidents", incident=str(one.id)).text
    assert "Nothing is known to have changed here." in text
    assert "admin_key" in text


def test_where_the_record_was_read_and_nothing_changed_it_says_so(store: Store, visit: Visit) -> None:
    synced(store)
    store.fill(answer=burning).beat()
    one = put(store, incident(store))[0]
    assert "Nothing changed." in visit("incidents", incident=str(one.id)).text


def test_a_log_that_cannot_be_read_is_said_beside_what_is_known(store: Store, visit: Visit) -> None:
    synced(store)
    writer = OrganizationWriter(open_engine(store.url), "acme", store.now)
    writer.fail("audit_log", None, "the admin key lacks <i>api.audit_logs.read</i>", store.now - timedelta(hours=3))
    one = broken(store)
    text = visit("incidents", incident=str(one.id)).text
    assert "Not known: The audit log cannot be read since " in text
    assert "the admin key lacks <i>api.audit_logs.read</i>" in text


# The feed ---------------------------------------------------------------------------------------------------------------------


def test_the_feed_counts_what_changed_and_names_what_broke_something(store: Store, visit: Visit) -> None:
    synced(store)
    one = broken(store, limit(store))
    page = visit("changes")
    assert "2 changes in the last 24h. 1 incident is explained by a change: INC-" in page.text
    assert f"INC-{one.id} Key “backend” (sk-…wxyz) was deleted by Ben Bauer 40 s before" in page.text
    assert f"explains INC-{one.id}" in page.text
    assert '<span class="chip">10,000 → 100 requests a minute</span>' in page.html
    assert '<span class="chip gone">− backend</span>' in page.html
    assert "OpenAI’s audit log" in page.text


@pytest.mark.parametrize(
    ("asked", "there", "gone"),
    [
        ({"family": "limits"}, "The limit of gpt-4o", "sk-…wxyz) was deleted"),
        ({"family": "keys"}, "sk-…wxyz) was deleted", "The limit of gpt-4o"),
        ({"actor": "Cem"}, "The limit of gpt-4o", "sk-…wxyz) was deleted."),
        ({"text": "GPT-4o"}, "The limit of gpt-4o", "sk-…wxyz) was deleted."),
        ({"project": "batch"}, "The limit of gpt-4o", "sk-…wxyz) was deleted."),
        ({"source": "sync"}, "The limit of gpt-4o", "sk-…wxyz) was deleted."),
    ],
)
def test_filters_live_in_the_address(store: Store, visit: Visit, asked: dict[str, str], there: str, gone: str) -> None:
    store.fill(answer=burning).beat()
    lowered = limit(store, actor="Cem", source=ChangeSource.SYNC, after=store.now - 120 * MINUTE)
    changes.record(open_engine(store.url), [change(store.now - 5 * MINUTE), lowered])
    text = visit("changes", **asked).text
    assert there in text
    assert gone not in text


def test_a_difference_shows_after_which_reading_it_happened(store: Store, visit: Visit) -> None:
    store.fill().beat()
    changes.record(open_engine(store.url), [limit(store, source=ChangeSource.SYNC, after=store.now - 130 * MINUTE)])
    text = visit("changes").text
    assert "Seen between two readings" in text
    assert f"after {store.now - 130 * MINUTE:%H:%M}" in text or "after " in text


def test_nothing_and_nothing_that_fits(store: Store, visit: Visit) -> None:
    store.fill().beat()
    text = visit("changes").text
    assert "Nothing changed in the last 24h." in text
    assert "admin_key" in text
    assert "No change fits these filters." in visit("changes", text="nobody").text


def test_a_silent_poller_has_not_seen_that_nothing_changed(store: Store, visit: Visit) -> None:
    store.fill().beat(age=timedelta(minutes=5))
    text = visit("changes").text
    assert "No change is known in the last 24h: the poller is silent." in text
    assert "Nothing changed" not in text


def test_many_are_turned_page_by_page(store: Store, visit: Visit) -> None:
    store.fill().beat()
    many = [change(store.now - number * MINUTE, K.OTHER, text=f"Thing {number:03} was changed.") for number in range(1, 121)]
    changes.record(open_engine(store.url), many)
    first, last = visit("changes").text, visit("changes", page="3").text
    assert "1 to 50 of 120 changes, newest first." in first
    assert "Thing 001" in first
    assert "Thing 120" not in first
    assert "101 to 120 of 120 changes" in last
    assert "Thing 120" in last


def test_texts_from_outside_stay_texts(store: Store, visit: Visit) -> None:
    store.fill().beat()
    nasty = change(
        store.now - MINUTE, K.MODEL_REMOVED, text=NASTY + ": <b>1</b> → <b>2</b>", actor=NASTY, model="<i>m</i>", subject=NASTY
    )
    changes.record(open_engine(store.url), [nasty])
    html = visit("changes").html
    for bad in ("<img", "<b>1<", "<b>2<", "<i>m"):
        assert bad not in html.replace('<i aria-hidden="true">', "")
    assert "&lt;img src=x" in html


@pytest.mark.parametrize("asked", [{"family": "<b>"}, {"source": "none"}, {"page": "0"}, {"page": "x"}, {"window": "1y"}])
def test_an_address_that_cannot_be_understood_is_answered_all_the_same(store: Store, visit: Visit, asked: dict[str, str]) -> None:
    store.fill().beat()
    changes.record(open_engine(store.url), [change(store.now - MINUTE)])
    assert "1 change in the last 24h." in visit("changes", **asked).text


def test_where_the_record_is_old_or_partly_unreadable_it_says_so(store: Store, visit: Visit) -> None:
    store.fill().beat()
    writer = OrganizationWriter(open_engine(store.url), "acme", store.now)
    writer.fail(ItemKind.RATE_LIMIT.value, None, "the admin key lacks a permission", store.now - timedelta(hours=2))
    writer.synced(store.now - timedelta(hours=5))
    text = visit("changes").text
    assert "Not everything is known. Rate limit cannot be read since" in text
    assert "5 h ago" in text
