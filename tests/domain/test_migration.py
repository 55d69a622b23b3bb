"""From people's keys to service accounts, the whole assessment, and its lines for scripts."""

import json
from datetime import timedelta
from typing import Any

from monitor.domain.assessment import Assessment, assessment, lines
from monitor.domain.coverage import KeyMatch, Matched
from monitor.domain.hygiene import HygienePolicy
from monitor.domain.hygiene_facts import Gathered
from monitor.domain.inventory import ApiKey, Fingerprint, KeyKind
from monitor.domain.migration import Stage
from monitor.domain.organization import Item, ItemKind, Organization
from monitor.domain.rotation import Light, Rotation, Side, Sign
from tests.domain.test_hygiene import NOW, POLICY, READ, project, record

PERSON = ApiKey("backend", "env:SHOP", KeyKind.PROJECT_USER, Fingerprint("0000000000000001…pers"))
ROBOT = ApiKey("worker", "env:WORKER", KeyKind.SERVICE_ACCOUNT, Fingerprint("0000000000000002…robo"))
LEGACY = ApiKey("old", "env:OLD", KeyKind.USER_LEGACY, Fingerprint("0000000000000003…lega"))


def known(*keys: ApiKey, **more: Any) -> Gathered:
    return Gathered((project(keys=keys),), **more)


def found(*keys: ApiKey, rotations: tuple[Rotation, ...] = (), **more: Any) -> Assessment:
    return assessment(known(*keys, **more), rotations, POLICY, NOW)


def turning(light: Light) -> Rotation:
    new = Side("0000000000000009…new9", kind=KeyKind.SERVICE_ACCOUNT)
    return Rotation("shop", "backend", Side(PERSON.fingerprint), new, (Sign.CONFIGURED,), NOW, light, ("because.",))


def test_every_person_s_key_has_its_exact_next_step_and_a_service_account_s_has_none() -> None:
    made = found(PERSON, ROBOT, LEGACY)
    assert [(each.key, each.stage) for each in made.migrations] == [("backend", Stage.TO_DO), ("old", Stage.TO_DO)]
    steps = [step.text for step in made.migrations[0].steps]
    assert "Create a service account in platform.openai.com → Settings → Project “shop” → Members → Service accounts." in steps[0]
    assert "env:SHOP here, and into api." in steps[1]
    assert "…pers" in steps[3]
    assert steps[3].endswith("when the light is green.")
    assert made.migrations[0].next_step == steps[0]


def test_a_key_on_its_way_is_moving_until_its_old_one_may_go() -> None:
    [wait] = found(PERSON, rotations=(turning(Light.WAIT),)).migrations
    assert (wait.stage, wait.steps[0].done, wait.steps[2].done) == (Stage.MOVING, True, False)
    [safe] = found(PERSON, rotations=(turning(Light.SAFE),)).migrations
    assert safe.stage is Stage.DELETABLE


def test_a_turn_to_another_person_s_key_is_no_migration() -> None:
    other = Rotation("shop", "backend", Side(PERSON.fingerprint), Side("x…y", kind=KeyKind.PROJECT_USER), (), NOW, Light.WAIT, ())
    assert found(PERSON, rotations=(other,)).migrations[0].stage is Stage.TO_DO


def test_production_comes_first() -> None:
    one, two = project(name="alpha", environment="staging", keys=(PERSON,)), project(name="beta", keys=(LEGACY,))
    made = assessment(Gathered((one, two)), (), POLICY, NOW)
    assert [each.project for each in made.migrations] == ["beta", "alpha"]


def test_progress_counts_every_key_once() -> None:
    robot = {"owner_type": "service_account"}
    records = (
        record(),
        Item(ItemKind.API_KEY, "key_2", "proj_b", robot | {"name": "b"}),
        Item(ItemKind.API_KEY, "key_3", "proj_b", {"name": "nobody knows"}),
    )
    readings = {(kind.value, number): READ for kind in ItemKind for number in (None, "proj_a", "proj_b")}
    matches = (KeyMatch("shop", "worker", Matched.ONE, "acme", "key_1"),)
    done = found(ROBOT, LEGACY, organization=Organization(records), readings=readings, matches=matches).progress
    assert (done.keys, done.service_accounts, done.users, done.kind_unknown) == (4, 2, 1, 1)
    assert (done.unbound, done.unwatched, done.share) == (1, 2, 66)
    assert (done.expiring, done.no_expiry, done.expiry_unknown) == (1, 2, 1)


def test_nothing_known_is_no_share() -> None:
    assert found(ApiKey("x", "env:X")).progress.share is None
    assert assessment(Gathered(()), (), POLICY, NOW).progress.keys == 0


LINE = ["kind", "project", "key", "score", "grade", "findings", "unknown"]


def test_lines_hold_the_names_that_scripts_rely_on() -> None:
    told = [json.loads(json.dumps(line)) for line in lines(found(PERSON, rotations=(turning(Light.WAIT),)))]
    assert [line["kind"] for line in told] == ["organization", "project", "key"]
    organization, one, key = told
    assert list(one)[:7] == list(key)[:7] == LINE
    assert set(organization) >= {"score", "grade", "findings", "unknown", "migration", "synced_at"}
    assert [each["rule"] for each in key["findings"]] == ["user_owned"]
    assert set(key["findings"][0]) >= {"rule", "weight", "reason", "remedy", "evidence"}
    assert set(key["findings"][0]["evidence"][0]) == {"text", "at"}
    assert key["rotation"]["light"] == "wait"
    assert {each["rule"] for each in key["unknown"]} >= {"key_unused", "owner_inactive"}
    assert one["score"] <= 100


def test_lines_of_some_projects_are_theirs_alone() -> None:
    made = assessment(Gathered((project(), project(name="batch"))), (), HygienePolicy(), NOW)
    assert [(line["kind"], line["project"]) for line in lines(made, ["batch"])] == [("project", "batch"), ("key", "batch")]


def test_scores_are_by_subject_and_leave_out_what_could_not_be_judged() -> None:
    made = found(PERSON)
    assert set(made.scores()) == {"organization", "project:shop", "key:shop/backend"}
    score, rules = made.scores()["key:shop/backend"]
    assert 0 < score < 100
    assert rules == ("user_owned",)


def test_rules_are_counted_by_what_they_cost() -> None:
    two = assessment(
        Gathered((project(keys=(PERSON,)), project(name="batch", project_id=None, keys=(LEGACY,)))), (), POLICY, NOW + timedelta(0)
    )
    counted = {each.rule: each for each in two.rules()}
    assert (counted["user_owned"].broken, counted["user_owned"].cost, counted["user_owned"].projects) == (2, 40, ("batch", "shop"))
    assert [each.rule for each in two.rules()][:2] == ["user_owned", "legacy_key"]
    assert counted["no_spend_limit"].broken == 0
    assert counted["no_spend_limit"].unknown == 2
