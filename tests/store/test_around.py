"""What changed around an incident as stored, the feed page by page, and how quickly both are read."""

import time
from dataclasses import replace
from typing import Any

import pytest

from monitor.domain.changes import ChangeEvent, ChangeKind, ChangeSource, Family, family_of
from monitor.domain.diagnosis import Context, diagnose
from monitor.domain.organization import NO_ADMIN_KEY
from monitor.domain.postmortem import as_json, markdown
from monitor.domain.taxonomy import FailureKind
from monitor.domain.timeline import Window
from monitor.domain.what_changed import ranked, sharpened
from monitor.store import around, changes, incidents, queries
from monitor.store.changes import ChangeFilter
from monitor.store.organization import OrganizationWriter
from tests.store.conftest import Store, files_only
from tests.store.helpers import START, incident, inventory, opened, span

K = ChangeKind
DAY = Window(START - span("12h"), START + span("12h"))


def change(ago: str = "1m", **facts: Any) -> ChangeEvent:
    given: dict[str, Any] = {
        "at": START - span(ago),
        "kind": K.KEY_DELETED,
        "source": ChangeSource.AUDIT_LOG,
        "text": "Key “backend” was deleted.",
        "project": "checkout",
        "project_id": "proj_checkout",
        "key": "backend",
        "dedup": f"{ago} {sorted(facts.items(), key=str)}",
    }
    return ChangeEvent(**given | facts)


def test_what_counts_is_read_and_nothing_else(store: Store) -> None:
    near = change()
    everybodys = change("2m", project=None, project_id=None, key=None, kind=K.OTHER)
    spanning = change("2m", at=START + span("3h"), after=START - span("1h"), source=ChangeSource.SYNC, kind=K.MODEL_REMOVED)
    far = change("31m")
    others = change("3m", project="other")
    strangers = change("3m", project=None, project_id="proj_nobody")
    later = change("3m", at=START + span("6m"))
    long_after = change("3m", at=START + span("3d"), after=START - span("1h"))
    changes.record(store.engine, [near, everybodys, spanning, far, others, strangers, later, long_after])
    found = around.read(store.pages, incident())
    assert {each.dedup for each in found} == {near.dedup, everybodys.dedup, spanning.dedup}
    (one,) = opened(store.engine, incident())
    record = queries.incident(store.pages, one.id or 0)
    assert record is not None
    assert set(record.changed) == set(found)
    assert record.gaps[0].reason == NO_ADMIN_KEY


def test_of_very_many_the_nearest_are_read(store: Store) -> None:
    many = [change(f"{number}s", kind=K.OTHER, key=None, text=f"thing {number}") for number in range(1, 1700)]
    changes.record(store.engine, [*many, change("40s")])
    found = around.read(store.pages, incident())
    assert any(each.kind is K.KEY_DELETED for each in found)
    assert ranked(incident(), found)[0].event.kind is K.KEY_DELETED


def test_an_incident_of_thousands_of_projects_finds_what_changed_for_one(store: Store) -> None:
    names = tuple(sorted(["checkout", *(f"project-{number}" for number in range(2000))]))
    changes.record(store.engine, [change()])
    assert len(around.read(store.pages, incident(projects=names))) == 1


def test_gaps_are_those_of_the_projects_that_were_hit(store: Store) -> None:
    store.writer.sync_inventory(inventory("checkout", "other"), START)
    record = OrganizationWriter(store.engine, "acme", START)
    record.fail("audit_log", None, "it is closed", START)
    record.fail("rate_limit", "proj_checkout", "it is forbidden", START)
    record.fail("rate_limit", "proj_other", "it is forbidden", START)
    record.fail("usage.completions.60", None, "no matter", START)
    record.synced(START + span("1m"))
    (one,) = opened(store.engine, incident())
    found = queries.incident(store.pages, one.id or 0)
    assert found is not None
    assert {(gap.part, gap.project) for gap in found.gaps} == {("audit_log", None), ("rate_limit", "proj_checkout")}
    assert found.record_read_at == START + span("1m")


def test_an_organization_without_the_tenant_s_log_lacks_nothing_until_it_had_one(store: Store) -> None:
    record = OrganizationWriter(store.engine, "acme", START)
    record.synced(START)
    record.fail("tenant_audit_log", None, "OpenAI knows no such thing (HTTP 404)", START)
    assert around.gaps(store.pages)[0] == ()
    assert [gap.part for gap in queries.organization(store.pages, "acme").gaps] == ["tenant_audit_log"]
    record.read_until("tenant_audit_log", START, START)
    assert around.gaps(store.pages)[0] == ()
    record.fail("tenant_audit_log", None, "the admin key is refused", START + span("1h"))
    assert [(gap.part, gap.since) for gap in around.gaps(store.pages)[0]] == [("tenant_audit_log", START + span("1h"))]


def test_a_sharpened_diagnosis_comes_back_as_it_was_stored(store: Store) -> None:
    one = incident()
    sharp = replace(one, diagnosis=sharpened(one, ranked(one, [change()])))
    (kept,) = opened(store.engine, sharp)
    (back,) = incidents.open_ones(store.pages)
    assert back.diagnosis == sharp.diagnosis
    assert back.diagnosis.plain == one.diagnosis
    changes.record(store.engine, [change()])
    record = queries.incident(store.pages, kept.id or 0)
    assert record is not None
    text = markdown(record)
    assert "## What changed just before" in text
    assert "| explains it | Key “backend” was deleted 1 min before the first bad answer." in text
    assert '"strength": "proof"' in as_json(record)
    assert '"plain"' not in as_json(record)


def test_the_version_moves_with_every_change_and_with_nothing_else(store: Store) -> None:
    assert changes.version(store.pages) is None
    seen = change(source=ChangeSource.SYNC, after=START - span("1h"), dedup="key.deleted key_1", subject="key_1")
    changes.record(store.engine, [seen])
    first = changes.version(store.pages)
    changes.record(store.engine, [seen])
    assert changes.version(store.pages) == first
    changes.record(store.engine, [replace(seen, source=ChangeSource.AUDIT_LOG, after=None, actor="ada")])
    assert changes.version(store.pages) not in (None, first)


# The feed ---------------------------------------------------------------------------------------------------------------------

FEED = [
    change("1m", actor="Ada", kind=K.KEY_DELETED, text="Key “100%_sure” was deleted."),
    change("2m", actor="Ben", kind=K.RATE_LIMIT_LOWERED, model="gpt-4o", text="The limit was lowered."),
    change("3m", actor=None, kind=K.MODEL_REMOVED, model="o3", source=ChangeSource.SYNC, project="mail", text="o3 is gone."),
    change("4m", actor="Ada", kind=K.ORGANIZATION_CHANGED, project=None, project_id=None, text="The organization was changed."),
]


@pytest.mark.parametrize(
    ("where", "told"),
    [
        (ChangeFilter(), [0, 1, 2, 3]),
        (ChangeFilter(project="checkout"), [0, 1, 3]),
        (ChangeFilter(project="mail"), [2, 3]),
        (ChangeFilter(family=Family.LIMITS), [1]),
        (ChangeFilter(family=Family.KEYS), [0]),
        (ChangeFilter(source=ChangeSource.SYNC), [2]),
        (ChangeFilter(actor="Ada"), [0, 3]),
        (ChangeFilter(text="GPT-4O"), [1]),
        (ChangeFilter(text="%_S"), [0]),
        (ChangeFilter(text="%"), [0]),
        (ChangeFilter(text="'; DROP TABLE change_events; --"), []),
        (ChangeFilter(text="x" * 5000), []),
        (ChangeFilter(project="checkout", actor="Ada", text="deleted"), [0]),
    ],
)
def test_filters_say_what_is_told(store: Store, where: ChangeFilter, told: list[int]) -> None:
    changes.record(store.engine, FEED)
    found = changes.page(store.pages, DAY, where)
    assert [FEED.index(next(each for each in FEED if each.dedup == one.dedup)) for one in found] == told
    assert changes.count(store.pages, DAY, where) == len(told)


def test_pages_follow_one_another_and_people_are_named_busiest_first(store: Store) -> None:
    changes.record(store.engine, FEED)
    pages = [changes.page(store.pages, DAY, ChangeFilter(), first, 3) for first in (0, 3, 6)]
    assert [[FEED[0].dedup, FEED[1].dedup, FEED[2].dedup], [FEED[3].dedup], []] == [[one.dedup for one in page] for page in pages]
    assert changes.actors(store.pages, DAY) == ["Ada", "Ben"]


def test_every_kind_has_a_family() -> None:
    assert {kind for kind in ChangeKind if family_of(kind) is Family.OTHER} == {ChangeKind.OTHER}


def test_incidents_that_began_in_a_window(store: Store) -> None:
    first, second = opened(store.engine, incident(at=START), incident("mail", at=START + span("2h")))
    assert [one.id for one in incidents.began(store.pages, DAY)] == [second.id, first.id]
    assert incidents.began(store.pages, Window(START + span("1h"), START + span("90m"))) == []


@files_only
def test_a_hundred_thousand_changes_are_read_at_once(store: Store) -> None:
    import sqlalchemy as sa

    from monitor.store.engine import writing
    from monitor.store.tables import change_events

    month = Window(START - span("30d"), START + span("1h"))
    kinds = list(ChangeKind)
    rows = [
        changes.row_of(
            change(
                "1m", at=START - span("26s") * number, kind=kinds[number % len(kinds)], text=f"Thing {number} was changed.",
                project=f"project-{number % 2000}", actor=f"user {number % 40}", dedup=str(number),
            )
        )
        for number in range(100_000)
    ]  # fmt: skip
    with writing(store.engine) as connection:
        connection.execute(sa.insert(change_events), rows)
    one = incident("project-7", diagnosis=diagnose(FailureKind.AUTH_INVALID_KEY, Context()))
    for name, question in {
        "a page": lambda: changes.page(store.pages, month, ChangeFilter()),
        "the last page": lambda: changes.page(store.pages, month, ChangeFilter(), 99_950),
        "a page of a project": lambda: changes.page(store.pages, month, ChangeFilter(project="project-7")),
        "a page of a person": lambda: changes.page(store.pages, month, ChangeFilter(actor="user 7")),
        "a text that nothing holds": lambda: changes.page(store.pages, month, ChangeFilter(text="nothing holds it")),
        "counting": lambda: changes.count(store.pages, month, ChangeFilter()),
        "counting a week": lambda: changes.count(store.pages, Window(month.end - span("7d"), month.end), ChangeFilter()),
        "counting a kind": lambda: changes.count(store.pages, month, ChangeFilter(family=Family.LIMITS)),
        "counting a text": lambda: changes.count(store.pages, month, ChangeFilter(text="thing 77")),
        "who changed something": lambda: changes.actors(store.pages, month),
        "around": lambda: around.read(store.pages, one),
        "the version": lambda: changes.version(store.pages),
    }.items():
        # A machine is slower from one moment to the next: each time is measured beside what a known piece of work takes then.
        took = min(_seconds(question) / _slowness() for _ in range(15))
        most = 0.1 if name == "who changed something" else 0.05  # that one is asked when something changed, and then no more
        assert took < most, f"{name} took {took:.3f} s"


def _slowness() -> float:
    """How many times as long as on a machine where nobody else is busy a piece of work takes now; at least once as long."""
    return max(1.0, _seconds(lambda: sum(range(2_000_000))) / 0.03)


def _seconds(question: Any) -> float:
    """Of processor time: what others do meanwhile is not counted."""
    began = time.process_time()
    question()
    return time.process_time() - began
