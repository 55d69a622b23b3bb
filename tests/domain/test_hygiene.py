"""The rules of hygiene: each broken, kept and not known; and the scorecard that adds them up."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.domain.binding import Binding, Tried, concluded
from monitor.domain.coverage import KeyMatch, Matched
from monitor.domain.deadlines import Deadline, DeadlineKind
from monitor.domain.hygiene import Broken, Fine, HygienePolicy, Judgement, NotKnown, grade, scorecard, together, why_not
from monitor.domain.hygiene_facts import DeniedModel, Gathered, KeyFacts, KeyUse, ProjectFacts, Reading, assembled
from monitor.domain.hygiene_rules import KEY_RULES, PROJECT_RULES, TITLES, WEIGHTS, assess
from monitor.domain.inventory import ApiKey, Fingerprint, KeyKind, ProbeKind, Project, Target
from monitor.domain.observation import Observation, Verdict
from monitor.domain.organization import Item, ItemKind, Organization
from monitor.domain.taxonomy import FailureKind

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY = timedelta(days=1)
POLICY = HygienePolicy()
READ = Reading(NOW - timedelta(hours=1))
ALL_READ = dict.fromkeys(ItemKind, READ)
LIMIT = (("max_requests_per_1_minute", 500),)


def ago(days: float) -> int:
    return int((NOW - days * DAY).timestamp())


def project(**facts: Any) -> Project:
    held = ApiKey("backend", "env:KEY", KeyKind.SERVICE_ACCOUNT, Fingerprint("0123456789abcdef…wxyz"))
    given = {"name": "shop", "project_id": "proj_a", "environment": "production", "services": ("api",), "keys": (held,)}
    return Project(**given | facts)


def about(said: dict[str, Any] | None = None, **more: Any) -> ProjectFacts:
    """A project that keeps every rule, but for what is said of its configuration (`said`) and of its record."""
    good: dict[str, Any] = {
        "readings": ALL_READ,
        "record": Item(ItemKind.PROJECT, "proj_a", "proj_a", {"name": "Shop"}),
        "permissions": Item(ItemKind.MODEL_PERMISSIONS, "proj_a", "proj_a", {"mode": "allow_list", "model_ids": ["gpt-4o"]}),
        "spend_limit": Item(ItemKind.SPEND_LIMIT, "proj_a", "proj_a", {"threshold_amount": 100}),
        "limits": {"gpt-4o": (("max_requests_per_1_minute", 100),)},
        "highest": {"gpt-4o": LIMIT},
    }
    return ProjectFacts(project(**(said or {})), **good | more)


def record(**facts: Any) -> Item:
    good = {
        "name": "backend",
        "created_at": ago(60),
        "last_used_at": ago(0),
        "expires_at": ago(-100),
        "owner_type": "service_account",
        "owner_id": "sa_1",
        "owner_project_access": "active",
    }
    return Item(ItemKind.API_KEY, "key_1", "proj_a", {name: value for name, value in (good | facts).items() if value is not None})


def use(month: int = 900, last: float | None = 1, days: int = 95, tokens: int = 90_000, models: tuple[str, ...] = ()) -> KeyUse:
    """`month` calls in 30 days, the last one `last` days ago, in usage that is known for `days`."""
    return KeyUse(NOW - days * DAY, NOW, month, tokens, NOW - last * DAY if last is not None else None, models)


HOST = "https://api.openai.com/v1"


def trial(tried: Tried) -> Binding:
    return Binding(NOW - timedelta(hours=2), tried, HOST, "0123456789abcdef…wxyz", "other")


def key(**facts: Any) -> KeyFacts:
    """A key that keeps every rule, but for what is said."""
    good: dict[str, Any] = {
        "project": about(),
        "label": "backend",
        "kind": KeyKind.SERVICE_ACCOUNT,
        "fingerprint": "0123456789abcdef…wxyz",
        "source": "env:KEY",
        "first_seen": NOW - 10 * DAY,
        "record": record(),
        "record_reading": READ,
        "use": use(),
        "binding": trial(Tried.REFUSED),
        "refuses": True,
        "only_key": True,
    }
    return KeyFacts(**good | facts)


NOT_THERE: dict[str, Any] = {"record": None, "record_reading": Reading()}
KEY_JUDGE = {rule.id: rule.judge for rule in KEY_RULES}
PROJECT_JUDGE = {rule.id: rule.judge for rule in PROJECT_RULES}
STAGING = about({"environment": "staging"})
NOWHERE = about({"environment": None})
USER = record(owner_type="user", owner_id="user_1", owner_name="Mia")

KEYS: list[tuple[str, dict[str, Any], type[Broken | Fine | NotKnown] | None, str]] = [
    ("legacy_key", {"kind": KeyKind.USER_LEGACY, **NOT_THERE}, Broken, "in every project"),
    ("legacy_key", {"kind": KeyKind.USER_UNSCOPED, **NOT_THERE}, Broken, "without a project"),
    ("legacy_key", {"kind": KeyKind.USER_LEGACY}, Fine, ""),
    ("legacy_key", {"kind": KeyKind.PROJECT_USER, **NOT_THERE}, Fine, ""),
    ("legacy_key", {"kind": KeyKind.UNKNOWN, **NOT_THERE}, NotKnown, "cannot be read"),
    ("user_owned", {"record": USER}, Broken, "(Mia)"),
    ("user_owned", {"kind": KeyKind.PROJECT_USER, **NOT_THERE}, Broken, "A person owns"),
    ("user_owned", {"kind": KeyKind.PROJECT_USER}, Fine, ""),  # OpenAI's word counts more than the prefix
    ("user_owned", {"record": USER, "project": STAGING}, None, ""),
    ("user_owned", {"record": USER, "project": NOWHERE}, NotKnown, "add environment"),
    ("user_owned", {"kind": KeyKind.UNKNOWN, **NOT_THERE}, NotKnown, "admin key"),
    ("owner_inactive", {"owner_gone": "its owner is not in the organization any more"}, Broken, "not in the organization"),
    ("owner_inactive", {}, Fine, ""),
    ("owner_inactive", {"record": record(owner_id=None, owner_project_access=None)}, NotKnown, "does not say who"),
    ("owner_inactive", NOT_THERE, NotKnown, "admin key"),
    ("key_shared", {"same_secret": ("batch/main",)}, Broken, "batch/main"),
    ("key_shared", {"same_secret": ("shop/worker",)}, Fine, ""),
    ("key_shared", {"fingerprint": None, **NOT_THERE}, NotKnown, "cannot be read"),
    ("key_shared", {"label": None}, None, ""),
    ("several_workloads", {"same_secret": ("shop/worker",)}, Broken, "shop/worker"),
    ("several_workloads", {"project": about({"services": ("a", "b")})}, Broken, "2 services"),
    ("several_workloads", {"project": about({"services": ("a", "b")}), "only_key": False}, NotKnown, "which uses which"),
    ("several_workloads", {"project": about({"services": ()})}, NotKnown, "add services"),
    ("several_workloads", {}, Fine, ""),
    ("several_workloads", {"label": None}, None, ""),
    ("key_unused", {"record": record(last_used_at=ago(45))}, Broken, "45 days"),
    ("key_unused", {"record": record(last_used_at=ago(29))}, Fine, ""),
    ("key_unused", {"use": use(0, 45)}, Broken, "in 30 days"),
    ("key_unused", {"use": use(0, 75)}, Broken, "in 60 days"),
    ("key_unused", {"use": use(0, None)}, Broken, "in 90 days"),
    ("key_unused", {"use": use(0, None, days=40)}, Broken, "in 30 days"),
    ("key_unused", {"use": use(0, None, days=20)}, NotKnown, "20 days only"),
    ("key_unused", {"use": use(900, tokens=7_200), "own_requests": 1_000}, Broken, "Only this monitor"),
    ("key_unused", {"use": use(900, tokens=90_000), "own_requests": 1_000}, Fine, ""),
    ("key_unused", {"use": use(1_100, tokens=9_900), "own_requests": 1_000}, Fine, ""),
    ("key_unused", {"use": None}, NotKnown, "usage of the organization"),
    ("key_unused", {"use": None, "label": None}, Fine, ""),  # nobody here uses it, so its last use is somebody's
    ("key_unused", {"use": None, "label": None, "record": record(last_used_at=None)}, NotKnown, "usage"),
    ("key_unused", {"use": use(0, None), "record": record(created_at=ago(10))}, Fine, ""),
    ("key_unused", NOT_THERE, NotKnown, "admin key"),
    ("key_old", {"record": record(created_at=ago(181))}, Broken, "181 days old; 180 days are allowed"),
    ("key_old", {"record": record(created_at=ago(179))}, Fine, ""),
    ("key_old", {**NOT_THERE, "first_seen": NOW - 200 * DAY}, Broken, "at least 200 days"),
    ("key_old", {**NOT_THERE, "first_seen": NOW - 20 * DAY}, NotKnown, "admin key"),
    ("no_expiry", {"record": record(expires_at=None)}, Broken, "names no day"),
    ("no_expiry", {}, Fine, ""),
    ("no_expiry", NOT_THERE, NotKnown, "admin key"),
    ("expires_soon", {"record": record(expires_at=ago(-13))}, Broken, "expires in 13 days"),
    ("expires_soon", {"record": record(expires_at=ago(2))}, Broken, "expired 2 days ago"),
    ("expires_soon", {"record": record(expires_at=ago(-15))}, Fine, ""),
    ("expires_soon", {"record": record(expires_at=None)}, None, ""),
    ("expires_soon", NOT_THERE, NotKnown, "admin key"),
    ("not_bound", {"binding": trial(Tried.CROSSED), "refuses": False}, Broken, "counted a call for other"),
    ("not_bound", {"binding": trial(Tried.NOT_REFUSED)}, Broken, "as other keys are"),
    ("not_bound", {"binding": trial(Tried.NOT_REFUSED), "refuses": False}, NotKnown, "does not look at the header"),
    ("not_bound", {"binding": trial(Tried.UNCLEAR)}, NotKnown, "told nothing"),
    ("not_bound", {"binding": None}, NotKnown, "not been tried"),
    ("not_bound", {"binding": trial(Tried.KEPT), "refuses": False}, Fine, ""),
    ("not_bound", {}, Fine, ""),
    ("not_bound", {"label": None}, None, ""),
    ("key_unwatched", {"label": None}, Broken, "nobody is told"),
    ("key_unwatched", {"label": None, "perhaps_watched": True}, NotKnown, "may be a key that is configured"),
    ("key_unwatched", {}, Fine, ""),
]  # fmt: skip


def permissions(mode: str, *models: str) -> Item:
    return Item(ItemKind.MODEL_PERMISSIONS, "proj_a", "proj_a", {"mode": mode, "model_ids": list(models)})


DENIES = {"denied_models": ("o3-pro",)}
UNREAD: dict[str, Any] = {"readings": {}}
PROJECTS: list[tuple[str, ProjectFacts, type[Broken | Fine | NotKnown] | None, str]] = [
    (
        "denied_model_usable",
        about(DENIES, denied=(DeniedModel("o3-pro", True, NOW),)),
        Broken,
        "o3-pro must be refused and answers",
    ),
    ("denied_model_usable", about(DENIES, denied=(DeniedModel("o3-pro", False, NOW),)), Fine, ""),
    ("denied_model_usable", about(DENIES), Fine, ""),
    ("denied_model_usable", about(DENIES, permissions=permissions("allow_list", "o3-pro")), Broken, "permissions allow o3-pro"),
    ("denied_model_usable", about(DENIES, permissions=permissions("deny_list", "o3-pro")), Fine, ""),
    ("denied_model_usable", about(DENIES, permissions=permissions("deny_list")), Broken, "permissions allow"),
    ("denied_model_usable", about(DENIES, permissions=None), Broken, "permissions allow"),
    ("denied_model_usable", about(DENIES, permissions=None, denied=(DeniedModel("o3-pro", False, NOW),)), Fine, ""),
    ("denied_model_usable", about(DENIES, permissions=None, **UNREAD), NotKnown, "not been tried"),
    ("denied_model_usable", about(), None, ""),
    ("no_project_id", about({"project_id": None}), Broken, "No project id"),
    ("no_project_id", about(), Fine, ""),
    ("default_project", about(record=Item(ItemKind.PROJECT, "proj_a", "proj_a", {"name": "Default project"})), Broken, "everybody"),
    ("default_project", about({"project_id": None}, record=None, unbound_keys=1), Broken, "default project"),
    ("default_project", about({"project_id": None}, record=None), NotKnown, "without a project id"),
    ("default_project", about({"environment": "staging"}), None, ""),
    (
        "default_project",
        about({"environment": None}, record=Item(ItemKind.PROJECT, "proj_a", "proj_a", {"name": "default project"})),
        NotKnown,
        "add environment",
    ),
    ("default_project", about(record=None, **UNREAD), NotKnown, "admin key"),
    ("default_project", about(), Fine, ""),
    ("no_model_list", about(permissions=None), Broken, "Every model is allowed"),
    ("no_model_list", about(permissions=permissions("deny_list", "o3-pro")), Broken, "every new and dearer model"),
    ("no_model_list", about(), Fine, ""),
    ("no_model_list", about(permissions=None, **UNREAD), NotKnown, "admin key"),
    ("no_rate_limit", about(limits={"gpt-4o": LIMIT}), Broken, "as high as any project"),
    ("no_rate_limit", about(limits={}), Broken, "no rate limit"),
    ("no_rate_limit", about(), Fine, ""),
    ("no_rate_limit", about(highest={}), NotKnown, "no other project"),
    ("no_rate_limit", about(limits=None, **UNREAD), NotKnown, "admin key"),
    ("no_spend_limit", about(spend_limit=None), Broken, "no spend limit"),
    ("no_spend_limit", about(), Fine, ""),
    ("no_spend_limit", about(spend_limit=None, **UNREAD), NotKnown, "admin key"),
]


def text_of(said: Judgement) -> str:
    return said.reason if isinstance(said, Broken) else said.why if isinstance(said, NotKnown) else ""


@pytest.mark.parametrize(("rule", "facts", "expected", "words"), KEYS)
def test_a_rule_of_keys(rule: str, facts: dict[str, Any], expected: type | None, words: str) -> None:
    said = KEY_JUDGE[rule](key(**facts), POLICY, NOW)
    assert type(said) is (expected or type(None)), said
    assert words in text_of(said)


@pytest.mark.parametrize(("rule", "facts", "expected", "words"), PROJECTS)
def test_a_rule_of_projects(rule: str, facts: ProjectFacts, expected: type | None, words: str) -> None:
    said = PROJECT_JUDGE[rule](facts, POLICY, NOW)
    assert type(said) is (expected or type(None)), said
    assert words in text_of(said)


def test_every_rule_is_tried_broken_kept_and_where_it_can_be_not_known() -> None:
    tried = {(rule, kind) for rule, _, kind, _ in [*KEYS, *PROJECTS]}
    for rule in TITLES:
        assert {(rule, Broken), (rule, Fine)} <= tried, rule
        assert (rule, NotKnown) in tried or rule == "no_project_id", rule


@pytest.mark.parametrize(("rule", "facts"), [(rule, facts) for rule, facts, kind, _ in KEYS if kind is Broken])
def test_what_is_broken_says_the_next_step_and_what_it_rests_on(rule: str, facts: dict[str, Any]) -> None:
    said = KEY_JUDGE[rule](key(**facts), POLICY, NOW)
    assert isinstance(said, Broken)
    assert said.remedy.endswith((".", ")."))
    assert "platform.openai.com → Settings → Project “Shop”" in said.remedy
    assert said.evidence
    assert all(each.text for each in said.evidence)


def test_the_policy_moves_the_lines() -> None:
    strict = HygienePolicy(max_age=30 * DAY, expiry_notice=200 * DAY, production=("live",))
    assert isinstance(KEY_JUDGE["key_old"](key(), strict, NOW), Broken)
    assert isinstance(KEY_JUDGE["expires_soon"](key(), strict, NOW), Broken)
    assert KEY_JUDGE["user_owned"](key(record=USER), strict, NOW) is None
    assert isinstance(KEY_JUDGE["user_owned"](key(record=USER, project=about({"environment": "LIVE"})), strict, NOW), Broken)
    assert KEY_JUDGE["not_bound"](key(), HygienePolicy(try_binding=False), NOW) is None


# The scorecard --------------------------------------------------------------------------------------------------------------------

SAID: dict[str, Judgement] = {"broken": Broken("r", "m"), "fine": Fine(), "unknown": NotKnown("w"), "none": None}
JUDGED = st.lists(st.tuples(st.sampled_from(sorted(WEIGHTS)), st.sampled_from(sorted(SAID))), max_size=40)


def card(judged: list[tuple[str, str]]) -> Any:
    return scorecard("key:a/b", [(rule, WEIGHTS[rule], TITLES[rule], SAID[word]) for rule, word in judged])


@given(JUDGED)
def test_a_score_is_from_0_to_100_or_not_known(judged: list[tuple[str, str]]) -> None:
    made = card(judged)
    known = [word for _, word in judged if word in ("broken", "fine")]
    assert (made.score is None) is (not known)
    assert made.score is None or 0 <= made.score <= 100
    assert (made.score == 100) is (bool(known) and "broken" not in known)
    assert made.grade == grade(made.score)


@given(JUDGED, st.sampled_from(sorted(WEIGHTS)))
def test_one_more_broken_rule_never_raises_a_score(judged: list[tuple[str, str]], rule: str) -> None:
    before, after = card(judged), card([*judged, (rule, "broken")])
    assert before.score is None or after.score <= before.score


@given(JUDGED, st.data())
def test_a_rule_that_breaks_never_raises_a_score_and_one_not_known_moves_none(judged: list[tuple[str, str]], data: Any) -> None:
    if not judged:
        return
    place = data.draw(st.integers(0, len(judged) - 1))
    worse = [*judged[:place], (judged[place][0], "broken"), *judged[place + 1 :]]
    before, after = card(judged), card(worse)
    assert before.score is None or after.score <= before.score
    assert card([*judged, ("key_old", "unknown"), ("key_old", "none")]).score == before.score


@given(st.lists(JUDGED, max_size=5))
def test_together_is_every_rule_of_every_card(parts: list[list[tuple[str, str]]]) -> None:
    made = together("organization", map(card, parts))
    whole = card([each for part in parts for each in part])
    assert (made.broken, made.knowable, made.score) == (whole.broken, whole.knowable, whole.score)
    assert [each.weight for each in made.findings] == sorted((each.weight for each in made.findings), reverse=True)


def test_findings_come_heaviest_first_and_reasons_are_counted() -> None:
    made = card([("no_expiry", "broken"), ("legacy_key", "broken"), ("key_old", "unknown"), ("key_unused", "unknown")])
    assert [each.rule for each in made.findings] == ["legacy_key", "no_expiry"]
    assert made.score == 0
    assert why_not([made]) == [("w", ("older than policy", "unused key"), 2)]


def test_grades() -> None:
    assert [grade(score) for score in (100, 90, 89, 75, 74, 60, 59, 40, 39, 0, None)] == list("AABBCCDDFF–")


# Joining --------------------------------------------------------------------------------------------------------------------------


def gathered(*records: Item, matches: dict[str, tuple[Matched, str | None]] | None = None, **more: Any) -> Gathered:
    items = (Item(ItemKind.PROJECT, "proj_a", "proj_a", {"name": "Shop", "status": "active"}), *records)
    readings = {(kind.value, "proj_a"): READ for kind in ItemKind} | {(kind.value, None): READ for kind in ItemKind}
    found = tuple(KeyMatch("shop", label, how, "acme", number) for label, (how, number) in (matches or {}).items())
    good: dict[str, Any] = {"readings": readings, "matches": found, "never_read": "x"}
    return Gathered((project(),), Organization(items), **good | more)


def keys_of(known: Gathered) -> tuple[KeyFacts, ...]:
    [(_, keys)] = assembled(known)
    return keys


def test_a_configured_key_has_its_record_and_the_rest_is_not_watched() -> None:
    mine, other = record(), replace(record(name="laptop"), id="key_2")
    first, second = keys_of(gathered(mine, other, matches={"backend": (Matched.ONE, "key_1")}))
    assert (first.label, first.api_key, first.subject) == ("backend", "key_1", "key:shop/backend")
    assert (second.label, second.api_key, second.subject, second.perhaps_watched) == (None, "key_2", "key:key_2", False)


@pytest.mark.parametrize(
    ("matches", "why", "perhaps"),
    [
        ({}, "not been compared", True),
        ({"backend": (Matched.AMBIGUOUS, None)}, "several of OpenAI’s keys", True),
        ({"backend": (Matched.NONE, None)}, "none of the organization’s keys", False),
    ],
)
def test_a_key_that_could_not_be_found_says_why(matches: dict[str, Any], why: str, perhaps: bool) -> None:
    first, second = keys_of(gathered(record(), matches=matches))
    assert first.record is None
    assert why in first.record_reading.why
    assert second.perhaps_watched is perhaps


def owner_gone(access: str | None, kind: str, *others: Item, **more: Any) -> str | None:
    mine = record(owner_project_access=access, owner_type=kind, owner_id="who")
    return keys_of(gathered(mine, *others, matches={"backend": (Matched.ONE, "key_1")}, **more))[0].owner_gone


def test_an_owner_is_gone_where_openai_or_a_complete_list_says_so() -> None:
    reader = Item(ItemKind.USER, "who", None, {"role": "reader"})
    boss = Item(ItemKind.USER, "who", None, {"role": "owner"})
    member = Item(ItemKind.MEMBER, "proj_a/who", "proj_a")
    account = Item(ItemKind.SERVICE_ACCOUNT, "who", "proj_a")
    assert "no access" in (owner_gone("inactive", "user", reader, member) or "")
    assert owner_gone("active", "user") is None  # OpenAI's word counts more than a list
    assert "not in the organization" in (owner_gone(None, "user") or "")
    assert "not a member" in (owner_gone(None, "user", reader) or "")
    assert owner_gone(None, "user", reader, member) is None
    assert owner_gone(None, "user", boss) is None
    assert "service account is not" in (owner_gone(None, "service_account") or "")
    assert owner_gone(None, "service_account", account) is None
    assert owner_gone(None, "user", readings={}) is None
    assert owner_gone(None, "service_account", readings={}) is None


def test_limits_are_compared_with_those_that_several_projects_have() -> None:
    low, high = (("max_requests_per_1_minute", 100),), LIMIT
    known = gathered(limits={"proj_a": {"gpt-4o": high}, "proj_b": {"gpt-4o": high}, "proj_c": {"gpt-4o": low}})
    [(facts, _)] = assembled(known)
    assert facts.highest == {"gpt-4o": high}
    [(facts, _)] = assembled(gathered(limits={"proj_a": {"gpt-4o": high}, "proj_c": {"gpt-4o": low}}))
    assert facts.highest == {}  # it may be the only one that was raised


def test_one_secret_in_two_projects_is_found_by_fingerprint_and_by_record() -> None:
    one, two = project(), project(name="batch", project_id="proj_b")
    [(_, mine), (_, others)] = assembled(Gathered((one, two)))
    assert (mine[0].same_secret, others[0].same_secret) == (("batch/backend",), ("shop/backend",))
    other_print = replace(two, keys=(replace(two.keys[0], fingerprint=Fingerprint("ffff…0000")),))
    matches = tuple(KeyMatch(name, "backend", Matched.ONE, "acme", "key_1") for name in ("shop", "batch"))
    [(_, mine), _] = assembled(Gathered((one, other_print), matches=matches))
    assert mine[0].same_secret == ("batch/backend",)


def test_without_an_admin_key_something_is_known_and_the_rest_says_what_it_needs() -> None:
    [found] = assess(Gathered((project(),)), POLICY, NOW)
    assert found.card.score == 100
    assert {each.rule for each in found.card.unknown} >= {
        "owner_inactive",
        "no_spend_limit",
        "no_expiry",
        "key_unused",
        "no_model_list",
    }
    assert all("admin key" in each.why for each in found.card.unknown if each.rule == "no_spend_limit")


def test_nothing_configured_gives_no_card_and_no_score() -> None:
    assert list(assess(Gathered(()), POLICY, NOW)) == []
    assert together("organization", ()).score is None


# The trial of a binding -----------------------------------------------------------------------------------------------------------


def seen(**facts: Any) -> Observation:
    good: dict[str, Any] = {"target": Target(ProbeKind.AUTH, "shop", "backend"), "at": NOW, "verdict": Verdict.OK, "status": 200}
    return Observation(**good | facts)


@pytest.mark.parametrize(
    ("facts", "tried"),
    [
        ({"verdict": Verdict.FAILED, "status": 401, "failure": FailureKind.AUTH_WRONG_PROJECT}, Tried.REFUSED),
        ({"verdict": Verdict.FAILED, "status": 401, "failure": FailureKind.AUTH_WRONG_ORGANIZATION}, Tried.REFUSED),
        ({}, Tried.NOT_REFUSED),
        ({"project_echo": "proj_b"}, Tried.CROSSED),
        ({"verdict": Verdict.FAILED, "failure": FailureKind.AUTH_WRONG_PROJECT, "project_echo": "proj_a"}, Tried.KEPT),
        ({"project_echo": "a slug"}, Tried.NOT_REFUSED),
        ({"verdict": Verdict.FAILED, "status": 401, "failure": FailureKind.AUTH_INVALID_KEY}, Tried.UNCLEAR),
        ({"verdict": Verdict.INCONCLUSIVE, "status": 503, "failure": FailureKind.SERVER_ERROR}, Tried.UNCLEAR),
        ({"verdict": Verdict.FAILED, "status": None, "failure": FailureKind.NETWORK_TIMEOUT}, Tried.UNCLEAR),
    ],
)
def test_what_an_answer_under_another_project_s_id_shows(facts: dict[str, Any], tried: Tried) -> None:
    assert concluded(seen(**facts), "proj_a", "proj_b") is tried


def test_a_trial_of_another_secret_tells_nothing_of_this_one() -> None:
    known = gathered(bindings={("shop", "backend"): replace(trial(Tried.REFUSED), fingerprint="ffff…0000")})
    assert keys_of(known)[0].binding is None
    known = gathered(bindings={("shop", "backend"): trial(Tried.REFUSED)})
    assert keys_of(known)[0].refuses


@pytest.mark.parametrize(
    ("hours", "said"),
    [(20 * 24 - 1, "in 20 days"), (14, "in 1 day"), (1, "today"), (-1, "today"), (-14, "1 day ago"), (-20 * 24, "20 days ago")],
)
def test_a_key_expires_in_as_many_days_as_its_deadline_says(hours: int, said: str) -> None:
    ends = NOW + timedelta(hours=hours)
    assert key(record=record(expires_at=int(ends.timestamp()))).expires_in(NOW) == said
    made = Deadline(kind=DeadlineKind.KEY_EXPIRY, at=ends, title="key", mark="mark", breaks="breaks", next_step="step")
    left = made.days_left(NOW)
    assert left <= 0 or str(left) in said


def test_a_deleted_key_is_not_told_to_lack_an_admin_key() -> None:
    gone = key(
        kind=KeyKind.PROJECT_USER, record=None, record_reading=Reading(None, "none of the organization’s keys looks like it")
    )
    told = KEY_JUDGE["user_owned"](gone, POLICY, NOW)
    assert isinstance(told, Broken)
    assert "admin key" not in " ".join(each.text for each in told.evidence)
