"""Rotations: recognised by three signs, judged by evidence alone, and what of it stands in the checklist."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from monitor.domain.health import Health
from monitor.domain.inventory import KeyKind
from monitor.domain.organization import Item, ItemKind
from monitor.domain.rotation import KeyRecord, KnownUse, Light, Rotation, Sighting, Sign, UseRow, by_key, rotations
from monitor.domain.taxonomy import FailureKind

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
OLD, NEW = "0000000000000001…old1", "0000000000000002…new2"
NAMES = {"proj_a": "shop", "proj_b": "batch"}


def sighting(fingerprint: str, ago: float, replaced: float | None = None, **more: Any) -> Sighting:
    good: dict[str, Any] = {"project": "shop", "label": "backend", "kind": KeyKind.SERVICE_ACCOUNT}
    gone = NOW - replaced * DAY if replaced is not None else None
    healthy = {"health": Health.HEALTHY, "last_ok_at": NOW} if replaced is None else {}
    return Sighting(**good | healthy | {"fingerprint": fingerprint, "first_seen": NOW - ago * DAY, "replaced_at": gone} | more)


def key(
    number: str, ago: float, name: str = "backend", gone: float | None = None, project: str = "proj_a", **facts: Any
) -> KeyRecord:
    told = {"name": name, "created_at": int((NOW - ago * DAY).timestamp())} | facts
    return KeyRecord(Item(ItemKind.API_KEY, number, project, told), NOW - gone * DAY if gone is not None else None)


def used(*rows: tuple[str, float, int], since: float = 50, until: float = 0, model: str = "gpt-4o") -> KnownUse:
    """Calls: of which key, so many days ago, how many."""
    found: dict[str, list[UseRow]] = {}
    for number, ago, count in sorted(rows, key=lambda row: -row[1]):
        found.setdefault(number, []).append(UseRow(number, model, NOW - ago * DAY, HOUR, count))
    return KnownUse(NOW - since * DAY, NOW - until * DAY, found)


def judge(
    sightings: list[Sighting], records: list[KeyRecord] | None = None, use: KnownUse | None = None, quiet: timedelta = DAY
) -> list[Rotation]:
    return rotations(sightings, records or [], use, NAMES, NOW, quiet)


ROTATED = [sighting(OLD, 100, 5, api_key="key_old"), sighting(NEW, 5, api_key="key_new")]
RECORDS = [key("key_old", 200), key("key_new", 6)]
QUIET = used(("key_old", 10, 50), ("key_old", 6, 50), ("key_new", 4, 50), ("key_new", 1, 50))


def one(*args: Any, **more: Any) -> Rotation:
    [found] = judge(*args, **more)
    return found


# Recognising ----------------------------------------------------------------------------------------------------------------------


def test_a_new_secret_under_a_label_is_a_rotation() -> None:
    found = one(ROTATED)
    assert (found.project, found.label, found.signs) == ("shop", "backend", (Sign.CONFIGURED,))
    assert (found.old.fingerprint, found.new.fingerprint) == (OLD, NEW)
    assert found.began == NOW - 5 * DAY


def test_one_secret_all_the_time_is_none() -> None:
    assert judge([sighting(OLD, 100)], [key("key_old", 100)]) == []


def test_a_label_that_turned_twice_has_two_and_one_that_turned_back_ends_where_it_began() -> None:
    third = "0000000000000003…thr3"
    found = judge([sighting(OLD, 50, 30), sighting(NEW, 30, 10), sighting(third, 10)])
    assert [(each.old.fingerprint, each.new.fingerprint) for each in found] == [(NEW, third), (OLD, NEW)]
    back = judge([sighting(OLD, 50), sighting(NEW, 30, 10)])
    assert [(each.old.fingerprint, each.new.fingerprint) for each in back] == [(NEW, OLD)]


def test_what_is_long_over_is_told_no_more() -> None:
    assert judge([sighting(OLD, 400, 61), sighting(NEW, 61)]) == []


@pytest.mark.parametrize(
    ("first", "second"),
    [("backend", "backend"), ("backend", "Backend 2"), ("backend-2025-11", "backend-2026-11"), ("backend old", "backend")],
)
def test_a_newer_key_of_the_same_name_is_a_rotation(first: str, second: str) -> None:
    found = one([], [key("key_old", 200, first), key("key_new", 6, second)])
    assert (found.old.api_key, found.new.api_key, found.signs) == ("key_old", "key_new", (Sign.RECORD,))


def test_other_names_other_projects_and_a_key_made_after_the_old_one_was_gone_are_none() -> None:
    assert judge([], [key("key_old", 200, "backend"), key("key_new", 6, "frontend")]) == []
    assert judge([], [key("key_old", 200), key("key_new", 6, project="proj_b")]) == []
    assert judge([], [key("key_old", 200, gone=20), key("key_new", 6)]) == []


def test_a_newer_key_of_the_same_service_account_is_a_rotation_and_one_of_the_same_person_is_none() -> None:
    robot = {"owner_type": "service_account", "owner_id": "sa_1"}
    person = {"owner_type": "user", "owner_id": "user_1"}
    assert len(judge([], [key("key_old", 200, "a", **robot), key("key_new", 6, "b", **robot)])) == 1
    assert judge([], [key("key_old", 200, "a", **person), key("key_new", 6, "b", **person)]) == []


MOVED = [*((("key_old", ago, 50)) for ago in range(10, 20)), *((("key_new", ago, 50)) for ago in range(1, 10))]


def test_use_that_moves_is_a_rotation_whatever_the_names() -> None:
    records = [key("key_old", 200, "one"), key("key_new", 12, "two")]
    found = one([], records, used(*MOVED))
    assert (found.old.api_key, found.new.api_key, found.signs) == ("key_old", "key_new", (Sign.USE,))


def test_use_that_goes_on_or_of_other_models_is_none() -> None:
    records = [key("key_old", 200, "one"), key("key_new", 12, "two")]
    assert judge([], records, used(*MOVED, ("key_old", 0.5, 1))) == []
    other = used(*MOVED)
    rows = {"key_old": other.rows["key_old"], "key_new": [replace(row, model="o3") for row in other.rows["key_new"]]}
    assert judge([], records, replace(other, rows=rows)) == []
    assert judge([], [key("key_old", 200, "one"), key("key_new", 300, "two")], used(*MOVED)) == []  # the heir is older


def test_three_signs_of_one_rotation_are_one() -> None:
    found = one(ROTATED, RECORDS, used(*MOVED))
    assert found.signs == (Sign.CONFIGURED, Sign.RECORD, Sign.USE)


def test_a_replaced_secret_is_found_among_the_keys_of_its_project_by_its_end() -> None:
    seen = [sighting(OLD, 100, 5), sighting(NEW, 5, api_key="key_new")]
    records = [key("key_old", 200, redacted_value="sk-…old1"), key("key_new", 6, redacted_value="sk-…new2")]
    assert one(seen, records).old.api_key == "key_old"
    twice = [*records, key("key_third", 300, "other", redacted_value="sk-…old1")]
    assert {each.old.api_key for each in judge(seen, twice)} == {None, "key_old"}  # by the record alone; the secret's is not known


# Judging --------------------------------------------------------------------------------------------------------------------------


def test_green_needs_all_the_evidence_and_says_it() -> None:
    found = one(ROTATED, RECORDS, QUIET)
    assert found.light is Light.SAFE
    assert found.reasons == ("no call of it in 1 d, no label here holds it, and the new key is well here (shop/backend).",)
    assert found.summary.startswith("Safe to delete the old key: no call")


@pytest.mark.parametrize(
    ("use", "why"),
    [
        (None, "usage is not known"),
        (used(("key_old", 10, 5), until=0.5), "known until 2026-11-20 00:00:00 UTC only"),
        (used(since=0.5), "known for 12 h only"),
    ],
)
def test_without_usage_nothing_is_called_safe(use: KnownUse | None, why: str) -> None:
    found = one(ROTATED, RECORDS, use)
    assert found.light is Light.UNKNOWN
    assert why in found.reasons[0]


def test_a_key_that_nobody_could_find_at_openai_is_not_known() -> None:
    found = one([sighting(OLD, 100, 5), sighting(NEW, 5)], [], QUIET)
    assert found.light is Light.UNKNOWN
    assert "never found out" in found.reasons[0]


def test_a_key_that_is_still_used_says_by_which_models() -> None:
    rows = [("key_old", 0.2, 40), ("key_old", 0.1, 2), ("key_new", 1, 9)]
    found = one(ROTATED, RECORDS, used(*rows))
    assert found.light is Light.WAIT
    assert found.reasons[0] == "it is still used, 42 calls within 1 d."
    [by] = found.used_by
    assert (by.model, by.requests, by.last_at) == ("gpt-4o", 42, NOW - 0.1 * DAY + HOUR)


def test_a_label_that_still_holds_it_makes_it_wait() -> None:
    found = one([*ROTATED, sighting(OLD, 90, label="worker")], RECORDS, QUIET)
    assert (found.light, found.holders) == (Light.WAIT, ("shop/worker",))
    assert "shop/worker still holds it here." in found.reasons


def test_a_new_key_that_nothing_proves_makes_it_wait() -> None:
    ill = [ROTATED[0], replace(ROTATED[1], health=Health.FAILING)]
    assert one(ill, RECORDS, used(("key_old", 10, 50))).light is Light.WAIT
    assert one(ill, RECORDS, QUIET).light is Light.SAFE  # OpenAI counted calls of it


def test_the_quiet_time_is_the_policy_s() -> None:
    assert one(ROTATED, RECORDS, QUIET, quiet=7 * DAY).light is Light.WAIT


def test_after_deletion_the_stragglers_are_named_and_what_cannot_be_seen_is_said() -> None:
    refused = {"health": Health.FAILING, "failure": FailureKind.AUTH_INVALID_KEY}
    seen = [*ROTATED, sighting(OLD, 90, label="worker", **refused), sighting(OLD, 90, label="cron", health=Health.FAILING)]
    found = one(seen, [key("key_old", 200, gone=0.1), RECORDS[1]], QUIET)
    assert found.light is Light.DELETED
    assert found.stragglers == ("shop/worker",)
    assert found.holders == ("shop/cron", "shop/worker")
    assert found.reasons[0] == "shop/worker still holds it and is refused."
    assert "refused calls are in no usage figure" in found.reasons[-1]


def test_the_timeline_is_in_order() -> None:
    found = one(ROTATED, [key("key_old", 200, gone=0.5), RECORDS[1]], QUIET)
    told = [text for _, text in found.events]
    assert [at for at, _ in found.events] == sorted(at for at, _ in found.events)
    assert [text.split()[0] for text in told] == ["OpenAI", "Last", "shop/backend", "First", "OpenAI"]


def test_a_day_s_bucket_does_not_make_a_key_call_before_it_is_made_or_after_it_is_gone() -> None:
    days = {
        number: [UseRow(number, "gpt-4o", NOW - ago * DAY, DAY, 50) for ago in range(last + 4, last - 1, -1)]
        for number, last in (("key_old", 10), ("key_new", 6))
    }
    records = [key("key_old", 200, "one", gone=9.6), key("key_new", 9.4, "other")]
    found = one([], records, KnownUse(NOW - 50 * DAY, NOW, days))
    assert found.signs == (Sign.USE,)
    assert found.began == NOW - 9.4 * DAY
    assert found.events == (
        (NOW - 9.6 * DAY, "Last call of the old key that is known."),
        (NOW - 9.6 * DAY, "OpenAI lists the old key “one” no more."),
        (NOW - 9.4 * DAY, "OpenAI made the new key “other”."),
        (NOW - 9.4 * DAY, "First call of the new key, as far as usage is known."),
    )
    # What OpenAI counts on a later day is told as it is.
    days["key_old"].append(UseRow("key_old", "gpt-4o", NOW - 8 * DAY, DAY, 5))
    [after] = judge([], records, KnownUse(NOW - 50 * DAY, NOW, days))
    assert (NOW - 7 * DAY, "Last call of the old key that is known.") in after.events


def test_each_key_knows_its_newest_rotation() -> None:
    third = "0000000000000003…thr3"
    newest, before = judge([sighting(OLD, 50, 30), sighting(NEW, 30, 10), sighting(third, 10)])
    known = by_key([newest, before])
    assert (known[OLD], known[NEW], known[third]) == (before, newest, newest)


def test_hostile_names_do_no_harm() -> None:
    names = ["", " ", "\0", "x" * 10_000, "2" * 500 + "!", "<script>", "\N{RIGHT-TO-LEFT OVERRIDE}abc"]
    records = [key(f"key_{number}", number + 1, name) for number, name in enumerate(names)]
    records += [key("key_none", 3, name=7, created_at="soon")]  # type: ignore[arg-type]
    assert judge([], records) == []
