"""What the project page says of service levels, over stores as the poller leaves them."""

from datetime import timedelta
from typing import Any

import pytest

from monitor.domain.health import Health
from monitor.domain.inventory import Target
from monitor.domain.sli import RULES, Counts
from monitor.domain.taxonomy import FailureKind
from monitor.ui.data import ServiceLevel
from monitor.ui.levels import burn_state
from tests.pages.conftest import FLEET, Store, Visit, project

MINUTE = timedelta(minutes=1)
REFUSED = {"failure": FailureKind.AUTH_INVALID_KEY, "status": 401, "code": "invalid_api_key"}
FAST, SLOW = RULES


def refused(target: Target, age: timedelta) -> dict[str, Any]:
    return REFUSED if target.project == "legacy" else {}


def section(text: str) -> str:
    """What the page says under `Service level`, up to the first chart."""
    assert "Service level" in text
    return text.partition("Service level")[2].partition("Failures by kind")[0]


def promised(store: Store, objective: float) -> Store:
    store.writer.save_effective_config("monitor.toml", {"slo": {"objective": objective}}, store.now)
    return store


def test_a_healthy_project_has_its_whole_budget_and_no_rule_fires(visit: Visit, store: Store) -> None:
    promised(store.fill(step=MINUTE).beat(), 0.95)
    page = visit("project", project="docs")
    said = section(page.text)
    assert "objective: 95 % of the valid checks" in said
    assert said.count("100 % of the error budget left") == 3
    assert "0 of 122 valid checks failed" in said
    assert said.count("quiet") == len(RULES)
    assert "Nothing failed in the last 1 h." in said
    assert "fires" not in said
    assert "Network not counted 100 %" in said


def test_a_burning_project_has_overspent_and_is_told_how_fast(visit: Visit, store: Store) -> None:
    store.fill(answer=refused, step=MINUTE).beat()
    said = section(visit("project", project="legacy").text)
    assert "objective: 99.9 % of the valid checks" in said
    assert "0.00 % ✖ error budget overspent: 1,000× of it used 122 of 122 valid checks failed" in said
    assert "14.4× over 1 h confirmed by the last 5 min 1,000×" in said
    assert said.count("✖ fires At this pace the month’s budget is gone in 43 min 12 s.") == len(RULES)
    assert "overspent" not in section(visit("project", project="docs").text)


def test_what_is_red_leads_to_the_answers_that_failed(visit: Visit, store: Store) -> None:
    store.fill(answer=refused, step=MINUTE).beat()
    html = visit("project", project="legacy").html
    failed = 'href="evidence?project=legacy{}&amp;verdict=failed&amp;window={}"'
    for window in ("7d", "30d", "90d"):
        assert f'<a class="lamp failing" {failed.format("", window)}' in html
        assert f'<a class="failing" {failed.format("&amp;lane=auth", window)}' in html
    for window in ("1h", "6h"):
        assert f'<a class="lamp failing" {failed.format("", window)}' in html
    assert "verdict=failed" not in visit("project", project="docs").html


def test_the_network_counts_against_nobody(visit: Visit, store: Store) -> None:
    def unreachable(target: Target, age: timedelta) -> dict[str, Any]:
        return {"failure": FailureKind.NETWORK_TIMEOUT, "status": None} if age > 30 * MINUTE else {}

    promised(store.fill(answer=unreachable, step=MINUTE).beat(), 0.95)
    said = section(visit("project", project="docs").text)
    assert said.count("100 % of the error budget left") == 3
    assert "Network not counted 50.81 % 60 of 122 failed" in said
    assert "count against no project" in said


def test_without_any_check_nothing_is_made_up(visit: Visit, store: Store) -> None:
    store.fill(projects=FLEET, length=timedelta(), answer=lambda target, age: {"verdict": "inconclusive"}).beat()
    page = visit("project", project="docs")
    said = section(page.text)
    assert "No valid check in 90 days: no service level can be told." in said
    assert "budget left" not in said
    assert "fires" not in said


def test_a_few_checks_are_no_budget(visit: Visit, store: Store) -> None:
    store.fill().beat()
    said = section(visit("project", project="docs").text)
    assert "too few checks for an error budget: it takes 1,000" in said
    assert "0 of 26 valid checks failed" in said
    assert "checked since" in said
    assert "budget left" not in said


def test_a_silent_poller_makes_no_budget_green_and_no_rule_quiet(visit: Visit, store: Store) -> None:
    promised(store.fill(step=MINUTE).beat(age=timedelta(minutes=5)), 0.95)
    page = visit("project", project="docs")
    assert "○ 100 % of the error budget left" in section(page.text)
    assert "quiet" not in section(page.text)


def test_the_objective_of_the_configuration_counts(visit: Visit, store: Store) -> None:
    store.fill(answer=lambda target, age: REFUSED if age == 30 * MINUTE else {}, step=MINUTE).beat()
    promised(store, 0.98)
    said = section(visit("project", project="docs").text)
    assert "18 % of the error budget left: nearly gone 2 of 122 valid checks failed" in said


def test_a_long_window_with_little_in_it_says_so(visit: Visit, store: Store) -> None:
    store.fill((project("old"),), length=timedelta(days=20), step=timedelta(hours=12)).beat()
    said = section(visit("project", project="old").text)
    assert "Last 7 days 100 %" in said
    assert "Last 28 days, checked since" in said


@pytest.mark.parametrize(
    ("long", "short", "health", "said"),
    [
        (Counts(), Counts(), None, "No valid check in the last 1 h."),
        (Counts(60, 0), Counts(5, 0), Health.HEALTHY, "Nothing failed in the last 1 h."),
        (Counts(59, 1), Counts(4, 1), Health.HEALTHY, "Only 1 failed check in 1 h: it takes 3."),
        (Counts(49, 11), Counts(5, 0), Health.HEALTHY, "11 failed checks in 1 h, but it slowed down in the last 5 min."),
        (Counts(49, 11), Counts(), None, "11 failed checks in 1 h, but no check in the last 5 min that could confirm it."),
        (Counts(995, 5), Counts(80, 3), Health.HEALTHY, "5 failed checks: at this pace the month’s budget lasts 6 d."),
        (Counts(9999, 1), Counts(80, 0), Health.HEALTHY, "1 failed check: at this pace the month’s budget lasts the whole month."),
        (Counts(640, 360), Counts(3, 2), Health.FAILING, "At this pace the month’s budget is gone in 2 h."),
    ],
)
def test_what_a_rule_says(long: Counts, short: Counts, health: Health | None, said: str) -> None:
    level = ServiceLevel(0.999, {}, {FAST.long: long, FAST.short: short})
    assert burn_state(level, FAST)[::2] == (health, said)
