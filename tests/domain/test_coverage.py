"""Which of the organization's admin keys is ours, and how old the record is, in words."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from monitor.domain.coverage import KeyMatch, Matched, coverage, match, own_admin_key
from monitor.domain.inventory import ApiKey, Fingerprint, Project
from monitor.domain.organization import Item, ItemKind, Organization, RecordAge

SECRET = "sk-admin-TESTours-not-a-key-0001"
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def admin(number: str, redacted: Any) -> Item:
    return Item(ItemKind.ADMIN_KEY, number, None, {"name": number, "redacted_value": redacted})


OURS, OTHER = admin("ours", "sk-admin-TES...001"), admin("other", "sk-admin-ABC...xyz")
TWIN = admin("twin", "sk-admin-T...001")


@pytest.mark.parametrize(
    ("secret", "records", "whole", "found", "why"),
    [
        (SECRET, [OTHER, OURS], True, "ours", None),
        (SECRET, [admin("stars", "sk-admin-" + "*" * 30 + "0001")], True, "stars", None),
        (SECRET, [OTHER, OURS, TWIN], True, None, "several look alike"),
        (SECRET, [OTHER, OURS, TWIN], False, None, "several look alike"),
        (SECRET, [OTHER, OURS], False, None, "could not be understood"),
        (SECRET, [OTHER], True, None, "none on the list"),
        (SECRET, [], True, None, "none on the list"),
        (None, [OURS], True, None, "cannot be read"),
        ("sk-admin-TES001", [OURS], True, None, "none on the list"),
        (SECRET, [admin("odd", None), admin("short", "sk-...1"), admin("number", 7), admin("whole", SECRET)], True, None, "none"),
    ],
)
def test_ours_is_the_only_one_that_looks_like_it(
    secret: str | None, records: list[Item], whole: bool, found: str | None, why: str | None
) -> None:
    number, reason = own_admin_key(secret, records, whole=whole)
    assert number == found
    assert (reason is None) is (why is None)
    assert why is None or why in (reason or "")


@pytest.mark.parametrize(
    ("age", "said"),
    [
        (RecordAge(0), "there is no active project"),
        (RecordAge(16, 16), "nothing of its projects was read yet"),
        (RecordAge(16, 0, NOW - timedelta(minutes=58)), "everything is at most 58 min old"),
        (RecordAge(16, 0, NOW + timedelta(minutes=1)), "everything is at most 0 ms old"),
        (
            RecordAge(16_000, 2_000, NOW - timedelta(minutes=3)),
            "2,000 of 16,000 parts of its projects were never read; the others are at most 3 min old",
        ),
    ],
)
def test_how_old_the_record_is_in_words(age: RecordAge, said: str) -> None:
    assert age.said(NOW) == said


MINE = "sk-proj-TESTmine-not-a-key-a1b2"


def listed(number: str, redacted: str, project: str = "proj_docs") -> Item:
    return Item(ItemKind.API_KEY, number, project, {"name": number, "redacted_value": redacted})


LEFT, RIGHT, FAR = listed("key_l", "sk-pro...1b2"), listed("key_r", "sk-pro...1b2"), listed("key_f", "sk-pro...1b2", "proj_far")
STRANGER = listed("key_s", "sk-pro...9z9")


@pytest.mark.parametrize(
    ("records", "named", "matched", "found"),
    [
        ([LEFT, STRANGER], None, Matched.ONE, LEFT),
        ([LEFT, RIGHT], None, Matched.AMBIGUOUS, None),
        ([LEFT, RIGHT], "key_r", Matched.ONE, RIGHT),
        ([LEFT, FAR], None, Matched.ONE, LEFT),
        ([LEFT, FAR], "key_f", Matched.ONE, FAR),
        # Naming a key does not make the secret be one that ends otherwise, or that is gone.
        ([LEFT, RIGHT, STRANGER], "key_s", Matched.AMBIGUOUS, None),
        ([LEFT, RIGHT], "key_gone", Matched.AMBIGUOUS, None),
        ([LEFT], "key_gone", Matched.ONE, LEFT),
        ([STRANGER], "key_s", Matched.NONE, None),
    ],
)
def test_of_keys_that_look_alike_the_one_that_is_named_is_it(
    records: list[Item], named: str | None, matched: Matched, found: Item | None
) -> None:
    assert match(MINE, "proj_docs", records, named) == (matched, found)


@pytest.mark.parametrize(
    ("matched", "tail", "asked"),
    [
        (Matched.AMBIGUOUS, "a1b2", ["key_l", "key_r"]),
        (Matched.AMBIGUOUS, None, []),
        (None, "a1b2", []),
    ],
)
def test_a_key_that_cannot_be_told_apart_is_asked_about(matched: Matched | None, tail: str | None, asked: list[str]) -> None:
    key = ApiKey("backend", "env:KEY", fingerprint=Fingerprint(f"0123456789abcdef…{tail}") if tail else None)
    docs = Project("docs", "proj_docs", keys=(key,))
    shown = [Item(each.kind, each.id, each.project, each.facts | {"redacted_value": "sk-…1b2"}) for each in (LEFT, RIGHT, FAR)]
    home = Item(ItemKind.PROJECT, "proj_docs", "proj_docs", {"name": "docs"})
    matches = [KeyMatch("docs", "backend", matched, "acme")] if matched else []
    [(project, unproven, alike)] = coverage([docs], Organization(items=(home, *shown, STRANGER)), matches).unproven_keys
    assert (project, unproven) == (docs, key)
    assert [item.id for item in alike] == asked
