"""The four facts of a model in a project, and what it means where they disagree."""

from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.domain.access_findings import AccessFindingKind as K
from monitor.domain.access_findings import findings
from monitor.domain.catalogue import Catalogue
from monitor.domain.health import Health
from monitor.domain.incidents import Severity
from monitor.domain.inventory import Project
from monitor.domain.model_access import (
    NO_LIST,
    Access,
    Listed,
    Need,
    Permissions,
    Policy,
    Probed,
    Ruling,
    Truth,
    Use,
    exposures,
    form,
    leaving,
    matrix,
    related,
    ruling,
    snapshots,
    truth,
)
from monitor.domain.organization import Item, ItemKind
from monitor.domain.taxonomy import FailureKind
from monitor.domain.words import Confidence

TODAY = date(2026, 11, 20)
ALLOWED, FORBIDDEN, UNKNOWN = Policy.ALLOWED, Policy.NOT_ALLOWED, Policy.UNKNOWN
DENIED_403 = FailureKind.ACCESS_MODEL_NOT_ALLOWED


def names(mode: str, *models: Any, project: str = "proj_a") -> Item:
    return Item(ItemKind.MODEL_PERMISSIONS, project, project, {"mode": mode, "model_ids": list(models)})


@pytest.mark.parametrize(
    ("model", "permissions", "policy", "sure"),
    [
        ("gpt-4.1", None, ALLOWED, True),
        ("gpt-4.1", names("allow_list", "gpt-4.1"), ALLOWED, True),
        ("gpt-4.1-2025-04-14", names("allow_list", "gpt-4.1"), ALLOWED, False),
        ("gpt-4.1", names("allow_list", "gpt-4.1-2025-04-14"), ALLOWED, False),
        ("gpt-4.1-mini", names("allow_list", "gpt-4.1"), FORBIDDEN, True),
        ("gpt-4.1-2025-04-14", names("allow_list", "gpt-4.1-2026-01-01"), FORBIDDEN, True),
        ("gpt-4.1", names("allow_list"), FORBIDDEN, True),
        ("gpt-4.1", names("deny_list", "gpt-4.1"), FORBIDDEN, True),
        ("gpt-4.1-2025-04-14", names("deny_list", "gpt-4.1"), FORBIDDEN, False),
        ("gpt-4.1", names("deny_list", "gpt-4.1-2025-04-14"), FORBIDDEN, False),
        ("gpt-4.1", names("deny_list", "o3"), ALLOWED, True),
        ("gpt-4.1", names("deny_list"), ALLOWED, True),
        ("gpt-4.1", names("block_list", "gpt-4.1"), UNKNOWN, False),
        ("gpt-4.1", Item(ItemKind.MODEL_PERMISSIONS, "p", "p", {}), UNKNOWN, False),
        ("gpt-4.1", Item(ItemKind.MODEL_PERMISSIONS, "p", "p", {"mode": "allow_list", "model_ids": "gpt-4.1"}), UNKNOWN, False),
        ("gpt-4.1", names("allow_list", 7, None, {}), FORBIDDEN, True),
    ],
)
def test_what_the_permissions_say(model: str, permissions: Item | None, policy: Policy, sure: bool) -> None:
    said = ruling(model, permissions, None)
    assert (said.policy, said.sure) == (policy, sure)
    if not sure and policy is not UNKNOWN:
        assert "whether one stands for the other is not documented" in said.why


def test_what_nobody_told_is_unknown() -> None:
    assert ruling("gpt-4.1", names("allow_list", "gpt-4.1"), "no admin key is configured").policy is UNKNOWN
    assert ruling("gpt-4.1", None, None).why == NO_LIST


@given(st.sampled_from(["gpt-4o", "gpt-4o-2024-08-06", "o3", "o3-2025-04-16"]), st.sampled_from(["gpt-4o", "o3", "o3-2025-04-16"]))
def test_to_be_related_goes_both_ways(one: str, other: str) -> None:
    assert related(one, other) == related(other, one)
    assert not related(one, one)


def test_a_name_is_an_alias_or_a_snapshot_as_far_as_it_can_be_told() -> None:
    listed = snapshots(Catalogue(dict.fromkeys(["gpt-4o", "gpt-4o-2024-05-13", "gpt-4o-2024-08-06", "gpt-4o-2024-11-20", "o3"])))
    assert form("gpt-4o-2024-08-06", listed) == "snapshot of gpt-4o"
    assert form("gpt-4o", listed) == "alias; listed snapshots: gpt-4o-2024-08-06, gpt-4o-2024-11-20 and 1 more"
    assert form("o3", listed) == form("gpt-4o", {}) == ""


@pytest.mark.parametrize(
    ("need", "called", "failure", "said"),
    [
        (Need.REQUIRED, Health.HEALTHY, None, Truth.USABLE),
        (Need.REQUIRED, Health.FAILING, DENIED_403, Truth.REFUSED),
        (Need.REQUIRED, Health.FAILING, FailureKind.ACCESS_MODEL_RETIRED, Truth.REFUSED),
        (Need.REQUIRED, Health.FAILING, FailureKind.QUOTA_CREDITS, Truth.FAILING),
        (Need.REQUIRED, Health.DEGRADED, FailureKind.RATE_TOKENS, Truth.FAILING),
        (Need.REQUIRED, Health.FAILING, None, Truth.FAILING),
        (Need.REQUIRED, Health.UNKNOWN, DENIED_403, Truth.UNKNOWN),
        (Need.REQUIRED, Health.PAUSED, None, Truth.UNKNOWN),
        (Need.REQUIRED, None, None, Truth.UNKNOWN),
        (Need.DENIED, Health.HEALTHY, None, Truth.REFUSED),
        (Need.DENIED, Health.DEGRADED, None, Truth.USABLE),
        (Need.DENIED, Health.FAILING, FailureKind.AUTH_INVALID_KEY, Truth.UNKNOWN),
        (Need.DENIED, Health.UNKNOWN, None, Truth.UNKNOWN),
    ],
)
def test_what_calls_say(need: Need, called: Health | None, failure: FailureKind | None, said: Truth) -> None:
    assert truth(need, Probed(None, called, failure)) is said


def access(need: Need = Need.REQUIRED, policy: Policy = UNKNOWN, listed: Listed = Listed.UNKNOWN, said: Truth = Truth.UNKNOWN,
           *, sure: bool = True, **more: Any) -> Access:  # fmt: skip
    failure = DENIED_403 if said is Truth.REFUSED else None
    facts = {"project": "checkout", "model": "gpt-4o", "probed": Probed(None, None, failure, failure)} | more
    return Access(need=need, ruling=Ruling(policy, "because", sure), listed=listed, truth=said, **facts)


REQUIRED, DENIED, NONE = Need.REQUIRED, Need.DENIED, Need.NONE
YES, NO, MAYBE = Listed.LISTED, Listed.NOT_LISTED, Listed.UNKNOWN
USABLE, REFUSED, FAILING, DARK = Truth.USABLE, Truth.REFUSED, Truth.FAILING, Truth.UNKNOWN


@pytest.mark.parametrize(
    ("need", "policy", "listed", "said", "kinds"),
    [
        (REQUIRED, ALLOWED, YES, USABLE, []),
        (REQUIRED, UNKNOWN, MAYBE, USABLE, []),
        (REQUIRED, UNKNOWN, MAYBE, DARK, []),
        (REQUIRED, ALLOWED, YES, FAILING, []),
        (REQUIRED, FORBIDDEN, YES, USABLE, [K.NOT_ALLOWED_BUT_USABLE]),
        (REQUIRED, FORBIDDEN, YES, REFUSED, [K.NEEDED_NOT_ALLOWED]),
        (REQUIRED, FORBIDDEN, NO, DARK, [K.NEEDED_NOT_ALLOWED]),
        (REQUIRED, ALLOWED, YES, REFUSED, [K.ALLOWED_BUT_REFUSED]),
        (REQUIRED, ALLOWED, NO, REFUSED, [K.ALLOWED_BUT_REFUSED]),
        (REQUIRED, UNKNOWN, YES, REFUSED, [K.LISTED_BUT_REFUSED]),
        (REQUIRED, UNKNOWN, NO, REFUSED, [K.NEEDED_BUT_REFUSED]),
        (REQUIRED, UNKNOWN, MAYBE, REFUSED, [K.NEEDED_BUT_REFUSED]),
        (REQUIRED, ALLOWED, NO, USABLE, [K.NEEDED_NOT_LISTED]),
        (REQUIRED, UNKNOWN, NO, DARK, [K.NEEDED_NOT_LISTED]),
        (DENIED, FORBIDDEN, YES, REFUSED, []),
        (DENIED, UNKNOWN, YES, REFUSED, []),
        (DENIED, UNKNOWN, YES, USABLE, [K.DENIED_BUT_USABLE]),
        (DENIED, ALLOWED, YES, USABLE, [K.DENIED_BUT_USABLE]),
        (DENIED, FORBIDDEN, YES, USABLE, [K.NOT_ALLOWED_BUT_USABLE]),
        (DENIED, ALLOWED, NO, REFUSED, [K.DENIED_BUT_ALLOWED]),
        (DENIED, ALLOWED, YES, DARK, [K.DENIED_BUT_ALLOWED]),
        (NONE, FORBIDDEN, YES, USABLE, [K.NOT_ALLOWED_BUT_USABLE]),
        (NONE, FORBIDDEN, YES, DARK, []),
    ],
)
def test_disagreement_is_a_finding(need: Need, policy: Policy, listed: Listed, said: Truth, kinds: list[K]) -> None:
    found = findings([access(need, policy, listed, said)], TODAY)
    assert [each.kind for each in found] == kinds
    for each in found:
        assert "checkout" in each.sentence
        assert "gpt-4o" in each.sentence
        assert each.remedy.endswith(".")
        assert each.confidence is Confidence.CERTAIN


def test_a_retired_model_is_not_waited_for_but_left() -> None:
    retired = FailureKind.ACCESS_MODEL_RETIRED
    [found] = findings([access(REQUIRED, ALLOWED, NO, REFUSED, probed=Probed(None, None, retired, retired))], TODAY)
    assert found.remedy.startswith("Move checkout to the successor named on")
    [other] = findings([access(REQUIRED, ALLOWED, NO, REFUSED)], TODAY)
    assert other.remedy.startswith("If the permissions were changed in the last minutes")


def test_what_rests_on_an_alias_is_said_not_to_be_certain() -> None:
    (one,) = findings([access(REQUIRED, FORBIDDEN, YES, DARK, sure=False)], TODAY)
    assert one.confidence is Confidence.POSSIBLE
    assert "Not certain: because." in one.sentence
    (other,) = findings([access(DENIED, UNKNOWN, YES, USABLE, sure=False)], TODAY)
    assert (other.confidence, "Not certain" in other.sentence) == (Confidence.CERTAIN, False)


@pytest.mark.parametrize(
    ("left", "severity", "said"),
    [
        (200, Severity.INFO, "is shut down on 2027-06-08, in 200 days."),
        (30, Severity.WARNING, "in 30 days."),
        (7, Severity.CRITICAL, "in 7 days."),
        (1, Severity.CRITICAL, "in 1 day."),
        (0, Severity.CRITICAL, "is shut down today, on 2026-11-20."),
        (-3, Severity.CRITICAL, "was to be shut down 3 days ago, on 2026-11-17."),
    ],
)
def test_a_shutdown_is_told_with_the_days_left_and_the_use(left: int, severity: Severity, said: str) -> None:
    day = TODAY + timedelta(days=left)
    (one,) = findings([access(REQUIRED, ALLOWED, YES, USABLE, shutdown=day, use=Use(1200, 9))], TODAY)
    assert (one.kind, one.severity) == (K.SHUTTING_DOWN, severity)
    assert said in one.sentence
    assert "about 1,200 requests a day" in one.sentence
    (dark,) = findings([access(REQUIRED, ALLOWED, YES, USABLE, shutdown=day)], TODAY)
    assert "needs an admin key" in dark.sentence
    assert not findings([access(NONE, ALLOWED, YES, DARK, shutdown=day, use=Use(0, 0))], TODAY)
    assert not findings([access(DENIED, FORBIDDEN, YES, REFUSED, shutdown=day)], TODAY)


def test_the_worst_finding_comes_first() -> None:
    mixed = [access(REQUIRED, ALLOWED, NO, USABLE), access(DENIED, UNKNOWN, YES, USABLE), access(REQUIRED, ALLOWED, YES, REFUSED)]
    assert [each.kind for each in findings(mixed, TODAY)] == [K.ALLOWED_BUT_REFUSED, K.DENIED_BUT_USABLE, K.NEEDED_NOT_LISTED]


def test_exposure_is_ranked_by_day_then_use() -> None:
    soon, later = TODAY + timedelta(days=9), TODAY + timedelta(days=90)
    found = exposures(
        [
            access(project="a", model="late", shutdown=later, use=Use(5, 50)),
            access(project="a", model="small", shutdown=soon, use=Use(1, 10)),
            access(project="a", model="large", shutdown=soon, use=Use(10, 100)),
            access(project="b", model="large", shutdown=soon, use=Use(70, 700)),
            access(NONE, project="c", model="large", shutdown=soon, use=Use(0, 0)),
            access(NONE, project="d", model="large", shutdown=soon, use=Use(2, 20)),
            access(project="a", model="stays"),
        ],
        TODAY,
    )
    assert [(each.model, each.days_left, each.requests, each.tokens) for each in found] == [
        ("large", 9, 82, 820), ("small", 9, 1, 10), ("late", 90, 5, 50)
    ]  # fmt: skip
    assert [each.project for each in found[0].who] == ["b", "a", "d"]
    (unknown,) = exposures([access(shutdown=soon)], TODAY)
    assert unknown.requests is None


A = Project("a", project_id="proj_a", models=("gpt-4o",), denied_models=("o3",), owner="team-a")
B = Project("b", models=("gpt-4o",))
LIST = Catalogue({"gpt-4o": TODAY, "gpt-5": TODAY, "o3": None})


def told(**more: Any) -> Permissions:
    facts: dict[str, Any] = {"lists": {}, "projects": ("proj_a",), "unread": {}, "ids": {}} | more
    return Permissions(**facts)


def test_the_matrix_has_what_is_asked_for_and_what_goes_and_is_used() -> None:
    use = {("proj_a", "gpt-5"): Use(3, 3), ("proj_a", "gpt-4.1"): Use(9, 9), ("proj_x", "gpt-5"): Use(1, 1)}
    found = matrix([B, A], told(), {"a": LIST}, {("a", "gpt-4o"): Probed(None, Health.HEALTHY)}, use)
    assert [(each.project, each.model, each.need, each.listed, each.truth) for each in found] == [
        ("a", "gpt-4o", REQUIRED, YES, USABLE),
        ("a", "gpt-5", NONE, YES, DARK),
        ("a", "o3", DENIED, YES, DARK),
        ("b", "gpt-4o", REQUIRED, MAYBE, DARK),
    ]
    assert [each.use for each in found] == [Use(0, 0), Use(3, 3), Use(0, 0), None]
    assert found[0].owner == "team-a"
    assert found[0].shutdown == TODAY
    whole = matrix([A], told(lists={"proj_a": names("allow_list", "o4", 7)}), {"a": LIST}, {}, use, whole=("a",))
    assert [each.model for each in whole] == ["gpt-4.1", "gpt-4o", "gpt-5", "o3", "o4"]
    assert [each.model for each in matrix([A], told(), {}, {}, None, only={"o3"})] == ["o3"]
    assert {each.use for each in matrix([A], told(), {}, {}, None)} == {None}
    assert set(leaving([LIST, LIST])) == {"gpt-4o", "gpt-5"}


@pytest.mark.parametrize(
    ("permissions", "said"),
    [
        (told(), {"a": ALLOWED, "b": UNKNOWN}),
        (told(projects=()), {"a": UNKNOWN, "b": UNKNOWN}),
        (told(ids={"b": "proj_b"}, projects=("proj_a", "proj_b")), {"a": ALLOWED, "b": ALLOWED}),
        (told(unread={None: "no admin key is configured"}), {"a": UNKNOWN, "b": UNKNOWN}),
        (told(unread={"proj_a": "forbidden"}), {"a": UNKNOWN, "b": UNKNOWN}),
        (told(unread={None: "forbidden"}, lists={"proj_a": names("allow_list", "o3")}), {"a": FORBIDDEN, "b": UNKNOWN}),
    ],
)
def test_permissions_are_known_only_where_they_were_read(permissions: Permissions, said: dict[str, Policy]) -> None:
    found = {each.project: each.policy for each in matrix([A, B], permissions, {}, {}, None) if each.model == "gpt-4o"}
    assert found == said
