"""Deadlines: which there are, when a spend limit is reached, and what cannot be said."""

import math
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.domain.alerting import MaintenanceWindow, Silence
from monitor.domain.coverage import KeyMatch, Matched
from monitor.domain.deadlines import Calendar, Deadline, DeadlineKind, Facts, calendar
from monitor.domain.ics import calendar_file
from monitor.domain.incidents import Severity
from monitor.domain.inventory import Project
from monitor.domain.model_access import Access, Listed, Need, Policy, Ruling, Truth, Use
from monitor.domain.organization import CostRow, Gap, Item, ItemKind, Organization
from monitor.domain.spend import Projection, month_ends, project_spend
from monitor.domain.words import Confidence

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY = timedelta(days=1)
CHECKOUT = Project("checkout", project_id="proj_a", owner="team-a", environment="production")
SEARCH = Project("search", project_id="proj_b", owner="team-b")
K = DeadlineKind


def seconds(ahead: float) -> int:
    return int((NOW + ahead * DAY).timestamp())


def item(kind: ItemKind, number: str, project: str | None = None, **facts: Any) -> Item:
    return Item(kind, number, project, facts)


def known(*items: Item, gaps: tuple[Gap, ...] = (), **more: Any) -> Facts:
    facts: dict[str, Any] = {"projects": (CHECKOUT, SEARCH), "listed": True, "organization": Organization(items, gaps, NOW)} | more
    spent: dict[tuple[str | None, str], dict[datetime, float]] = {}
    for row in facts.pop("costs", ()):
        spent.setdefault((row.project, row.currency), {})[row.day] = row.amount
    return Facts(**facts, costs=spent)


def only(facts: Facts) -> Deadline:
    (one,) = calendar(facts, NOW).deadlines
    return one


def test_without_anything_there_is_nothing_and_it_says_what_is_lacking() -> None:
    gaps = tuple(Gap(kind.value, None, "no admin key is configured") for kind in ItemKind)
    found = calendar(Facts(organization=Organization((), gaps)), NOW)
    assert found.deadlines == ()
    assert found.open_questions == (
        "Key expiry: no admin key is configured.",
        "The day a spend limit is reached: no admin key is configured.",
        "Expiry of certificates: no admin key is configured.",
        "Expiry of admin keys: no admin key is configured.",
        "Model shutdowns: no project was listed its models yet.",
    )


def test_a_key_expires_under_the_name_it_has_here() -> None:
    facts = {"name": "backend key", "redacted_value": "sk-…4f2c", "expires_at": seconds(6), "last_used_at": seconds(-1)}
    match = KeyMatch("checkout", "backend", Matched.ONE, "acme", "key_1", "proj_a")
    one = only(known(item(ItemKind.API_KEY, "key_1", "proj_a", **facts), matches=(match,)))
    assert (one.kind, one.at, one.title) == (K.KEY_EXPIRY, NOW + 6 * DAY, "key checkout/backend expires")
    assert (one.projects, one.owner, one.environments, one.key) == (("checkout",), "team-a", ("production",), "backend")
    assert (one.days_left(NOW), one.severity(NOW)) == (6, Severity.WARNING)
    assert "sk-…4f2c" in one.breaks
    unmatched = only(known(item(ItemKind.API_KEY, "key_1", "proj_b", **facts)))
    assert (unmatched.title, unmatched.key) == ("key search/backend key expires", None)
    lab = item(ItemKind.PROJECT, "proj_x", "proj_x", name="Lab")
    stranger = only(known(item(ItemKind.API_KEY, "key_1", "proj_x", **facts), lab))
    assert (stranger.projects, stranger.owner) == (("Lab",), None)


def test_in_an_archived_project_nothing_ends() -> None:
    gone = item(ItemKind.PROJECT, "proj_a", "proj_a", name="checkout", status="archived")
    key = item(ItemKind.API_KEY, "key_1", "proj_a", name="k", expires_at=seconds(6))
    assert calendar(known(gone, key, limit(), costs=costs()), NOW).deadlines == ()


@pytest.mark.parametrize("expires", [None, "soon", True, -5, 10**18, [], float("nan")])
def test_an_expiry_that_is_none_is_no_deadline(expires: Any) -> None:
    for kind in (ItemKind.API_KEY, ItemKind.ADMIN_KEY, ItemKind.CERTIFICATE):
        assert calendar(known(item(kind, "x", name="x", expires_at=expires)), NOW).deadlines == ()


def test_what_passed_is_overdue_for_a_month_and_then_history() -> None:
    one = only(known(item(ItemKind.API_KEY, "k", "proj_a", name="k", expires_at=seconds(-0.1))))
    assert (one.days_left(NOW), one.severity(NOW)) == (-1, Severity.CRITICAL)
    assert calendar(known(item(ItemKind.API_KEY, "k", "proj_a", name="k", expires_at=seconds(-31))), NOW).deadlines == ()


@pytest.mark.parametrize(
    ("ahead", "left", "severity"),
    [
        (0.2, 0, Severity.CRITICAL), (0.6, 1, Severity.CRITICAL), (1.4, 1, Severity.CRITICAL), (1.6, 2, Severity.WARNING),
        (30, 30, Severity.WARNING), (31, 31, Severity.INFO), (-0.2, -1, Severity.CRITICAL), (-3, -3, Severity.CRITICAL),
    ],
)  # fmt: skip
def test_days_are_those_of_the_calendar(ahead: float, left: int, severity: Severity) -> None:
    one = only(known(item(ItemKind.ADMIN_KEY, "a", name="reader", expires_at=seconds(ahead))))
    assert (one.days_left(NOW), one.severity(NOW)) == (left, severity)
    assert "If it is the monitor's own" in one.breaks


@pytest.mark.parametrize(
    ("ours", "title", "breaks"),
    [
        (True, "our admin key “reader” expires", "The monitor reads the organization's record no more"),
        (False, "admin key “reader” expires", "Whoever uses it is refused by the Administration API."),
        (None, "admin key “reader” expires", "If it is the monitor's own, the monitor reads the organization's record no more"),
        ("yes", "admin key “reader” expires", "If it is the monitor's own"),
    ],
)
def test_an_admin_key_is_called_ours_only_where_that_is_certain(ours: Any, title: str, breaks: str) -> None:
    facts = {"name": "reader", "expires_at": seconds(6)} | ({} if ours is None else {"ours": ours})
    one = only(known(item(ItemKind.ADMIN_KEY, "key_1", **facts)))
    assert one.title == title
    assert breaks in one.breaks
    assert ("not the monitor's own" in " ".join(one.evidence)) is (ours is False)
    assert one.mark == only(known(item(ItemKind.ADMIN_KEY, "key_1", **facts | {"ours": True}))).mark


def test_that_our_own_admin_key_is_not_told_apart_is_an_open_question() -> None:
    gap = Gap("admin_key", None, "which one is the monitor's own is not certain: several look alike")
    assert calendar(known(gaps=(gap,)), NOW).open_questions == (f"Expiry of admin keys: {gap.reason}.",)


def test_a_certificate_is_one_deadline_however_many_projects_use_it() -> None:
    facts = {"name": "mtls", "expires_at": seconds(20), "active": True}
    own = item(ItemKind.CERTIFICATE, "cert_1", None, **facts | {"active": False})
    copies = [item(ItemKind.CERTIFICATE, f"{each}/cert_1", each, **facts) for each in ("proj_a", "proj_b")]
    one = only(known(own, *copies))
    assert (one.kind, one.projects, one.owner) == (K.CERTIFICATE_EXPIRY, ("checkout", "search"), None)
    assert only(known(own, copies[0])).owner == "team-a"
    assert only(known(own)).breaks == "Nothing: it is not active anywhere."
    assert only(known(item(ItemKind.CERTIFICATE, "cert_1", None, **facts))).projects == ()


def access(project: str, owner: str | None, use: Use | None = None, need: Need = Need.REQUIRED) -> Access:
    ruling = Ruling(Policy.UNKNOWN, "")
    return Access(
        project, "gpt-4o", need, ruling, Listed.LISTED, Truth.USABLE, shutdown=date(2026, 12, 4), use=use, owner=owner,
        environment="production",
    )  # fmt: skip


def test_a_model_is_one_deadline_for_each_owner_who_will_feel_it() -> None:
    uses = (access("a", "x", Use(1000, 1)), access("b", "x", Use(0, 0)), access("c", "y"), access("d", "z", Use(0, 0), Need.NONE))
    found = calendar(known(accesses=uses), NOW).deadlines
    assert [(each.owner, each.projects) for each in found] == [("x", ("a", "b")), ("y", ("c",))]
    assert (found[0].at, found[0].days_left(NOW), found[0].model) == (datetime(2026, 12, 4, tzinfo=UTC), 14, "gpt-4o")
    assert "about 1,000 requests a day" in found[0].breaks
    assert "how many is not known" in found[1].breaks
    assert found[0].mark != found[1].mark


# Spend ----------------------------------------------------------------------------------------------------------------------------


def daily(*costs: float, until: datetime = NOW) -> dict[datetime, float]:
    """Costs of complete days, the last one yesterday."""
    today = until.replace(hour=0)
    return {today - (len(costs) - place) * DAY: cost for place, cost in enumerate(costs)}


def test_a_steady_rate_meets_the_limit_on_its_day() -> None:
    made = project_spend(daily(*[10.0] * 19), 220.0, NOW)
    assert made == Projection(
        datetime(2026, 11, 23, tzinfo=UTC), datetime(2026, 11, 23, tzinfo=UTC), datetime(2026, 11, 23, tzinfo=UTC), 190.0, 10.0, 14
    )


@pytest.mark.parametrize(
    ("costs", "limit", "expected"),
    [
        ([10.0] * 19, 1000.0, None),
        ([10.0] * 19, 305.0, None),
        ([0.0] * 19, 5.0, None),
        ([10.0, 10.0], 100.0, "costs of 2 complete days are known, and 3 are needed"),
        ([], 100.0, "costs of 0 complete days are known, and 3 are needed"),
    ],
)
def test_not_this_month_or_not_known(costs: list[float], limit: float, expected: str | None) -> None:
    assert project_spend(daily(*costs), limit, NOW) == expected


def test_a_limit_that_is_reached_is_reached_now() -> None:
    made = project_spend({NOW.replace(hour=0): 120.0}, 100.0, NOW)
    assert isinstance(made, Projection)
    assert (made.at, made.spent) == (NOW, 120.0)


def test_the_month_begins_anew_on_its_first() -> None:
    second = datetime(2026, 12, 2, 9, tzinfo=UTC)
    made = project_spend(daily(*[50.0] * 14, until=second), 150.0, second)
    assert isinstance(made, Projection)
    assert (made.spent, made.at) == (50.0, datetime(2026, 12, 4, tzinfo=UTC))
    assert month_ends(datetime(2026, 12, 31, 23, 59, tzinfo=UTC)) == datetime(2027, 1, 1, tzinfo=UTC)
    assert month_ends(datetime(2028, 2, 1, tzinfo=UTC)) == datetime(2028, 3, 1, tzinfo=UTC)


def test_days_that_differ_widen_the_interval() -> None:
    made = project_spend(daily(*[1.0, 10.0, 19.0] * 6), 240.0, NOW)
    assert isinstance(made, Projection)
    assert made.earliest < made.at
    assert made.latest is None


@given(
    st.dictionaries(st.integers(-40, 1), st.floats(allow_nan=True, allow_infinity=True, width=32)),
    st.floats(0.01, 1e6),
    st.integers(0, 3 * 366 * 86400).map(lambda after: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=after)),
)
def test_any_costs_give_a_day_of_this_month_or_none(costs: dict[int, float], limit: float, now: datetime) -> None:
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    made = project_spend({today + day * DAY: cost for day, cost in costs.items()}, limit, now)
    if isinstance(made, Projection):
        assert now <= made.earliest <= made.at < month_ends(now) or made.at == now
        assert made.latest is None or made.at <= made.latest < month_ends(now)
        assert math.isfinite(made.spent)


def limit(cents: Any = 22_000, project: str | None = "proj_a", **more: Any) -> Item:
    facts = {"threshold_amount": cents, "currency": "USD", "interval": "month", "enforcement": "inactive"} | more
    return item(ItemKind.SPEND_LIMIT, project or "org", project, **facts)


def costs(project: str | None = "proj_a", currency: str = "usd", days: int = 19, amount: float = 10.0) -> tuple[CostRow, ...]:
    return tuple(CostRow(day, project, None, cost, currency) for day, cost in daily(*[amount] * days).items())


def test_a_spend_limit_is_a_deadline_with_an_interval_and_a_mark_that_does_not_wander() -> None:
    one = only(known(limit(), costs=costs()))
    assert (one.kind, one.at.date(), one.projects, one.owner) == (K.SPEND_LIMIT, date(2026, 11, 23), ("checkout",), "team-a")
    assert (one.confidence, one.earliest is not None) == (Confidence.LIKELY, True)
    assert "190.00 of 220.00 USD are spent this month; 10.00 a day, the median of 14 days." in one.evidence
    tomorrow = calendar(known(limit(), costs=costs(amount=9.9)), NOW + DAY).deadlines[0]
    assert tomorrow.at != one.at
    assert tomorrow.mark == one.mark
    assert only(known(limit(21_000), costs=costs())).mark != one.mark
    assert only(known(limit(), costs=costs(days=13, amount=16.5)[-5:] + costs(days=19)[:0])).confidence is Confidence.POSSIBLE
    assert only(known(limit(project=None), costs=costs(None))).title == "the spend limit of the organization is reached"


@pytest.mark.parametrize("cents", [None, "22000", True, 0, -5, 10**16, float("inf"), float("nan")])
def test_a_threshold_that_is_none_is_no_deadline(cents: Any) -> None:
    assert calendar(known(limit(cents), costs=costs()), NOW) == Calendar()


def test_what_cannot_be_projected_is_said() -> None:
    few = calendar(known(limit(), limit(project="proj_b"), costs=costs(days=1)), NOW)
    assert few.deadlines == ()
    assert any("costs of 1 complete days" in each for each in few.open_questions)
    euro = calendar(known(limit(), costs=costs(currency="eur")), NOW)
    assert "costs of 0 complete days" in euro.open_questions[0]
    yearly = calendar(known(limit(interval="year"), costs=costs()), NOW)
    assert "it does not run by the month" in yearly.open_questions[0]


def test_quiet_ends_too() -> None:
    silence = Silence(starts=NOW - DAY, until=NOW + 2 * DAY, by="ada", text="moving", project="checkout", owner="team-a", id=3)
    over = Silence(starts=NOW - 2 * DAY, until=NOW + DAY, by="ada", ended_at=NOW - DAY)
    window = MaintenanceWindow(name="move", starts=NOW - DAY, until=NOW + DAY, owners=("team-b",))
    nightly = MaintenanceWindow(name="nightly", starts=NOW - DAY, until=NOW + DAY, every=7 * DAY)
    found = calendar(known(silences=(silence, over), windows=(window, nightly)), NOW).deadlines
    assert [(each.kind, each.title, each.owner) for each in found] == [
        (K.MAINTENANCE_END, "the maintenance “move” ends", "team-b"),
        (K.SILENCE_END, "the silence about checkout, team-a ends", "team-a"),
    ]
    assert {each.severity(NOW) for each in found} == {Severity.INFO}


def test_the_soonest_comes_first_and_a_day_that_moves_is_another() -> None:
    def keys(ahead: float) -> Facts:
        later = item(ItemKind.API_KEY, "k1", "proj_a", name="a", expires_at=seconds(ahead))
        return known(later, item(ItemKind.API_KEY, "k2", "proj_a", name="b", expires_at=seconds(3)))

    assert [each.title for each in calendar(keys(9), NOW).deadlines] == ["key checkout/b expires", "key checkout/a expires"]
    assert calendar(keys(9), NOW).deadlines[1].mark != calendar(keys(10), NOW).deadlines[1].mark
    assert calendar(keys(9), NOW).deadlines[1].mark == calendar(keys(9), NOW + DAY).deadlines[1].mark


# The calendar file ----------------------------------------------------------------------------------------------------------------


def test_the_calendar_file_is_folded_and_escaped() -> None:
    nasty = "a,b;c\\d\r\nBEGIN:VEVENT\x00 " + "ü" * 100
    found = calendar(known(item(ItemKind.API_KEY, "k", "proj_a", name=nasty, expires_at=seconds(3))), NOW).deadlines
    text = calendar_file(found, NOW)
    lines = text.split("\r\n")
    assert lines[0] == "BEGIN:VCALENDAR"
    assert lines[-2:] == ["END:VCALENDAR", ""]
    assert sum(line == "BEGIN:VEVENT" for line in lines) == 1
    assert all(len(line.encode()) <= 75 for line in lines)
    whole = text.replace("\r\n ", "")
    assert "DTSTART:20261123T120000Z" in whole
    assert "a\\,b\\;c\\\\d" in whole
    assert "\n" not in text.replace("\r\n", "")
    assert calendar_file([], NOW).count("BEGIN") == 1
