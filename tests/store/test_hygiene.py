"""Hygiene over a real store: what the rules get to know, rotations with their use, scores whenever they change, and trials."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from monitor.domain.assessment import Assessment
from monitor.domain.binding import Binding, Tried
from monitor.domain.coverage import KeyMatch, Matched
from monitor.domain.hygiene import HygienePolicy
from monitor.domain.hygiene_facts import KeyFacts
from monitor.domain.inventory import ApiKey, Fingerprint, KeyKind, ProbeKind, Project, Target
from monitor.domain.observation import Verdict
from monitor.domain.organization import NO_ADMIN_KEY, Item, ItemKind
from monitor.domain.rotation import Light, Sign
from monitor.domain.timeline import Window
from monitor.store import bindings, meta, queries, scores
from monitor.store.engine import reading
from tests.organization import DAY, HOUR, Record, api_key, seconds
from tests.store.conftest import Store
from tests.store.helpers import START, answer, inventory, project

NOW = START
POLICY = HygienePolicy()
EVER = Window(NOW - 400 * DAY, NOW + 400 * DAY)


def shop(mark: int = 1, kind: KeyKind = KeyKind.SERVICE_ACCOUNT, **more: Any) -> Project:
    key = ApiKey("backend", "env:SHOP", kind, Fingerprint(f"{mark:016x}…end{mark}"))
    good: dict[str, Any] = {"project_id": "proj_a", "environment": "production", "services": ("api",), "keys": (key,)}
    return project("shop", **good | more)


def watched(store: Store, *projects: Project, at: Any = NOW, ago: timedelta = timedelta(minutes=1)) -> None:
    """Every check of these projects has just answered well."""
    known = inventory(*projects)
    store.writer.sync_inventory(known, at)
    store.writer.record([answer("ok", check.target, NOW - ago) for check in known.checks], NOW)
    store.writer.record([answer("ok", check.target, NOW - ago / 2) for check in known.checks], NOW)


def judged(store: Store, policy: HygienePolicy = POLICY) -> Assessment:
    return queries.hygiene(store.pages, NOW, policy)


def the_key(store: Store) -> KeyFacts:
    return judged(store).projects[0].keys[0]


def test_an_empty_store_has_nothing_to_judge(store: Store) -> None:
    found = judged(store)
    assert (found.projects, found.card.score, found.rotations, found.synced_at) == ((), None, (), None)


def test_without_an_admin_key_the_configuration_is_judged_and_the_rest_is_not_known(store: Store) -> None:
    watched(store, shop(kind=KeyKind.USER_LEGACY, project_id=None))
    found = judged(store)
    assert {"legacy_key", "user_owned", "no_project_id", "default_project"} == set(found.card.rules)
    assert found.gaps[0].reason == NO_ADMIN_KEY


def test_the_record_of_a_project_reaches_every_rule(store: Store) -> None:
    watched(store, shop())
    record = Record(store.engine, NOW)
    record.projects({"proj_a": "Shop"})
    created = {"created_at": seconds(NOW - 300 * DAY), "last_used_at": seconds(NOW - HOUR), "owner_project_access": "inactive"}
    record.project("proj_a", api_key("key_1", "proj_a", owner_type="user", owner_id="u", **created), api_key("key_2", "proj_a"))
    record.matched({("shop", "backend"): "key_1"})
    found = judged(store)
    [one] = found.projects
    assert [key.api_key for key in one.keys] == ["key_1", "key_2"]
    assert set(one.key_cards[0].rules) == {"user_owned", "owner_inactive", "key_old", "no_expiry"}
    assert "key_unwatched" in one.key_cards[1].rules
    assert {each.rule for each in one.card.findings if each.key is None} == {"no_model_list", "no_spend_limit", "no_rate_limit"}
    assert found.progress.keys == 2


def test_what_is_gone_or_was_never_read_is_not_judged(store: Store) -> None:
    watched(store, shop())
    record = Record(store.engine, NOW)
    record.projects({"proj_a": "Shop"})
    record.writer.fail("spend_limit", "proj_a", "HTTP 403", NOW)
    [one] = judged(store).projects
    assert {each.rule: each.why for each in one.card.unknown}["no_spend_limit"] == "HTTP 403"
    record.save(ItemKind.API_KEY, "proj_a", [api_key("key_1", "proj_a")])
    record.save(ItemKind.API_KEY, "proj_a", [])
    assert [key.api_key for key in judged(store).projects[0].keys] == [None]
    record.projects({"proj_b": "Other"})
    whys = {each.why for each in judged(store).card.unknown}
    assert "the organization whose record is read has no such project" in whys


def test_limits_are_those_of_openai_s_record(store: Store) -> None:
    watched(store, shop(), project("batch", project_id="proj_b"))
    record = Record(store.engine, NOW)
    record.projects({"proj_a": "Shop", "proj_b": "Batch", "proj_c": "C"})
    for number, most in (("proj_a", 100), ("proj_b", 500), ("proj_c", 500)):
        facts = {"model": "gpt-4o", "max_requests_per_1_minute": most, "max_odd": "text"}
        record.project(number, Item(ItemKind.RATE_LIMIT, f"{number}/rl", number, facts))
    rules = {each.name: each.card.rules for each in judged(store).projects}
    assert "no_rate_limit" in rules["batch"]
    assert "no_rate_limit" not in rules["shop"]


def test_use_is_summed_by_the_database(store: Store) -> None:
    watched(store, shop())
    record = Record(store.engine, NOW)
    record.projects({"proj_a": "Shop"})
    record.project("proj_a", api_key("key_1", "proj_a", created_at=seconds(NOW - 100 * DAY)))
    record.matched({("shop", "backend"): "key_1"})
    record.used([("key_1", "gpt-4o", 3 * DAY, 5), ("key_1", "o3", 40 * DAY, 7), ("key_1", "o3", 80 * DAY, 9)])
    use = the_key(store).use
    assert use is not None
    assert (use.requests, use.last_at) == (5, (NOW - 3 * DAY).replace(hour=0))
    assert (use.input_tokens, use.models, use.days()) == (500, ("gpt-4o",), 95)


def test_a_key_in_no_usage_row_was_not_used_as_long_as_usage_is_known(store: Store) -> None:
    watched(store, shop())
    record = Record(store.engine, NOW)
    record.projects({"proj_a": "Shop"})
    record.project("proj_a", api_key("key_1", "proj_a", created_at=seconds(NOW - 100 * DAY)))
    record.matched({("shop", "backend"): "key_1"})
    record.used([("key_9", "gpt-4o", 3 * DAY, 5)])
    nothing = the_key(store).use
    assert nothing is not None
    assert (nothing.requests, nothing.last_at) == (0, None)
    assert "OpenAI counted no call of it in 90 days." in {each.reason for each in judged(store).card.findings}


def test_usage_of_which_one_endpoint_was_never_read_is_not_known(store: Store) -> None:
    watched(store, shop())
    record = Record(store.engine, NOW)
    record.projects({"proj_a": "Shop"})
    record.project("proj_a", api_key("key_1", "proj_a"))
    record.matched({("shop", "backend"): "key_1"})
    record.used([("key_1", "gpt-4o", 3 * DAY, 5)])
    record.writer.fail("usage.embeddings.86400", None, "HTTP 403", NOW)
    assert the_key(store).use is None


def test_our_own_calls_are_not_taken_for_somebody_s(store: Store) -> None:
    watched(store, shop())
    calls = [
        answer("ok", Target(ProbeKind.INFERENCE, "shop", "backend", "gpt-4o"), NOW - n * HOUR, tokens=20) for n in range(1, 40)
    ]
    store.writer.record(calls, NOW)
    assert the_key(store).own_requests >= 39


def test_a_denied_model_that_answered_is_found(store: Store) -> None:
    denied = Target(ProbeKind.DENIED_MODEL, "shop", "backend", "o3-pro")
    watched(store, shop(denied_models=("o3-pro",)))
    assert "denied_model_usable" not in judged(store).card.rules
    store.writer.record([replace(answer("ok", denied, NOW), finding="denied_model_usable")], NOW)
    assert "denied_model_usable" in judged(store).card.rules
    unclear = replace(answer("?", denied, NOW + HOUR), verdict=Verdict.INCONCLUSIVE)
    store.writer.record([unclear], NOW + HOUR)
    assert {each.rule for each in judged(store).card.unknown} >= {"denied_model_usable"}


# Rotations ------------------------------------------------------------------------------------------------------------------------


def rotated(store: Store) -> Record:
    """Two days ago the label changed from key_1 to key_2."""
    watched(store, shop(1), at=NOW - 50 * DAY)
    record = Record(store.engine, NOW)
    record.projects({"proj_a": "Shop"})
    names = {"name": "backend"}
    record.project(
        "proj_a",
        api_key("key_1", "proj_a", created_at=seconds(NOW - 90 * DAY), redacted_value="sk-…end1", **names),
        api_key("key_2", "proj_a", created_at=seconds(NOW - 3 * DAY), redacted_value="sk-…end2", **names),
    )
    record.matched({("shop", "backend"): "key_1"})
    watched(store, shop(2), at=NOW - 2 * DAY)
    record.matched({("shop", "backend"): "key_2"})
    return record


def test_a_rotation_is_told_with_its_use(store: Store) -> None:
    record = rotated(store)
    record.used([("key_1", "gpt-4o", 3 * HOUR, 7), ("key_1", "gpt-4o", 5 * DAY, 70), ("key_2", "gpt-4o", 2 * HOUR, 9)])
    [turn] = judged(store).rotations
    assert (turn.old.api_key, turn.new.api_key, turn.project, turn.label) == ("key_1", "key_2", "shop", "backend")
    assert set(turn.signs) == {Sign.CONFIGURED, Sign.RECORD}
    assert turn.light is Light.WAIT
    assert [each.requests for each in turn.used_by] == [7]


def test_a_quiet_old_key_is_safe_to_delete_and_without_usage_not_known(store: Store) -> None:
    record = rotated(store)
    assert [each.light for each in judged(store).rotations] == [Light.UNKNOWN]
    record.used([("key_1", "gpt-4o", 5 * DAY, 70), ("key_2", "gpt-4o", 2 * HOUR, 9)])
    [turn] = judged(store).rotations
    assert turn.light is Light.SAFE, turn.reasons
    assert judged(store, HygienePolicy(quiet_before_delete=7 * DAY)).rotations[0].light is Light.WAIT


def test_a_label_of_another_project_that_holds_the_old_secret_and_is_refused_is_a_straggler(store: Store) -> None:
    record = rotated(store)
    batch = project(
        "batch", project_id="proj_b", keys=(ApiKey("job", "env:JOB", KeyKind.PROJECT_USER, Fingerprint(f"{1:016x}…end1")),)
    )
    known = inventory(shop(2), batch)
    store.writer.sync_inventory(known, NOW)
    refused = Target(ProbeKind.AUTH, "batch", "job")
    for minutes in (3, 2, 1):
        store.writer.record([answer("401", refused, NOW - timedelta(minutes=minutes))], NOW)
    record.save(ItemKind.API_KEY, "proj_a", [api_key("key_2", "proj_a", name="backend", created_at=seconds(NOW - 3 * DAY))])
    [turn] = [each for each in judged(store).rotations if each.project == "shop"]
    assert turn.light is Light.DELETED
    assert turn.stragglers == ("batch/job",)


# Scores ---------------------------------------------------------------------------------------------------------------------------


def test_a_score_is_stored_when_it_changes(store: Store) -> None:
    assert scores.record(store.engine, NOW, {"organization": (60, ("key_old",)), "project:shop": (50, ())}) == 2
    assert scores.record(store.engine, NOW + HOUR, {"organization": (60, ("no_expiry",)), "project:shop": (50, ())}) == 0
    assert scores.record(store.engine, NOW + 2 * HOUR, {"organization": (70, ("key_old",)), "project:shop": (50, ())}) == 1
    found = queries.score_trend(store.pages, "organization", EVER)
    assert found["score"].tolist() == [60, 70]
    assert found["rules"].tolist() == [["key_old"], ["key_old"]]
    assert queries.score_trend(store.pages, "project:none", EVER).empty


def test_a_trend_begins_with_what_was_before_the_window(store: Store) -> None:
    for days, score in ((10, 40), (5, 60), (1, 80)):
        scores.record(store.engine, NOW - days * DAY, {"organization": (score, ())})
    found = queries.score_trend(store.pages, "organization", Window(NOW - 3 * DAY, NOW))
    assert list(zip(found["start"].tolist(), found["score"].tolist(), strict=True)) == [(NOW - 3 * DAY, 60), (NOW - DAY, 80)]


def test_a_whole_evaluation_is_stored_and_told_to_pages(store: Store) -> None:
    watched(store, shop())
    with reading(store.engine) as connection:
        before = meta.data_version(connection)
    assert scores.record(store.engine, NOW, judged(store).scores()) == 3
    with reading(store.engine) as connection:
        assert meta.data_version(connection) > before
    assert queries.score_trend(store.pages, "key:shop/backend", EVER)["score"].tolist() == [100]


@pytest.mark.parametrize("subject", ["", "key:" + "x" * 5000, "\0", "project:'; drop table scores", "\ud800"])
def test_any_subject_may_be_asked_for(store: Store, subject: str) -> None:
    scores.record(store.engine, NOW, {subject: (1, ("\0",))})
    assert len(queries.score_trend(store.pages, subject, EVER)) in (0, 1)


# Bindings -------------------------------------------------------------------------------------------------------------------------


def trial(at: Any = NOW, tried: Tried = Tried.REFUSED, mark: int = 1) -> Binding:
    return Binding(at, tried, "https://api.openai.com/v1", f"{mark:016x}…end{mark}", "batch")


def test_the_newest_trial_of_a_key_is_kept(store: Store) -> None:
    for tried in (Tried.NOT_REFUSED, Tried.REFUSED):
        bindings.put(store.engine, ("shop", "backend"), trial(tried=tried))
    bindings.put(store.engine, ("shop-2", "backend"), trial())
    with reading(store.pages) as connection:
        assert bindings.read(connection) == {("shop", "backend"): trial(), ("shop-2", "backend"): trial()}
        assert list(bindings.read(connection, "shop")) == [("shop", "backend")]


def test_a_trial_that_another_version_wrote_is_none(store: Store) -> None:
    meta.put(store.engine, "binding:shop/backend", '{"at": 1, "tried": "half"}')
    meta.put(store.engine, "binding:shop/worker", "no json")
    with reading(store.pages) as connection:
        assert bindings.read(connection) == {}


def test_a_key_is_due_while_it_is_well_once_a_day_and_when_its_secret_changes(store: Store) -> None:
    watched(store, shop())
    due = bindings.due(store.pages, NOW, DAY)
    assert [place for place, _ in due] == [("shop", "backend")]
    bindings.put(store.engine, ("shop", "backend"), trial())
    assert bindings.due(store.pages, NOW + 23 * HOUR, DAY) == []
    assert bindings.due(store.pages, NOW + DAY, DAY) == due
    bindings.put(store.engine, ("shop", "backend"), trial(mark=7))
    assert bindings.due(store.pages, NOW + HOUR, DAY) == due
    for minutes in (1, 2, 3):
        store.writer.record([answer("401", Target(ProbeKind.AUTH, "shop", "backend"), NOW + timedelta(minutes=minutes))], NOW)
    assert bindings.due(store.pages, NOW + HOUR, DAY) == []


def test_a_trial_reaches_the_rule(store: Store) -> None:
    watched(store, shop())
    bindings.put(store.engine, ("shop", "backend"), trial(tried=Tried.CROSSED))
    assert "not_bound" in judged(store).card.rules


def test_an_ambiguous_key_says_so(store: Store) -> None:
    watched(store, shop())
    record = Record(store.engine, NOW)
    record.projects({"proj_a": "Shop"})
    record.project("proj_a", api_key("key_1", "proj_a"), api_key("key_2", "proj_a"))
    record.writer.save_matches([KeyMatch("shop", "backend", Matched.AMBIGUOUS, "acme")], NOW)
    assert "several of OpenAI’s keys" in the_key(store).record_reading.why
