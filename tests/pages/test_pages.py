"""What a reader of the pages is told, over stores as the poller leaves them."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from monitor.domain.inventory import ProbeKind
from monitor.domain.observation import RateLimitSnapshot, Verdict
from monitor.domain.taxonomy import FailureKind
from monitor.domain.timeline import Window, to_ms
from monitor.store import queries
from monitor.store.engine import open_engine
from monitor.store.queries import EvidenceFilter
from monitor.ui import charts
from monitor.ui.format import clock, csv_of, zone_of
from tests.conftest import ROOT
from tests.pages.conftest import FLEET, PAGES, Page, Store, Visit, burning, project, well


@pytest.mark.parametrize("name", PAGES)
def test_without_a_database_a_page_says_so_and_what_to_do(
    visit: Visit, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MONITOR_DATABASE_URL", f"sqlite:///{tmp_path}/none.db")
    text = visit(name).text
    assert "the poller has not run here" in text
    assert "make run" in text


@pytest.mark.parametrize("name", PAGES)
def test_a_file_that_is_no_database_is_told_apart_from_no_data(
    visit: Visit, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "junk.db").write_bytes(b"not a database at all" * 200)
    monkeypatch.setenv("MONITOR_DATABASE_URL", f"sqlite:///{tmp_path}/junk.db")
    assert "database cannot be read" in visit(name).text


def test_what_a_newer_version_wrote_is_not_shown(visit: Visit, store: Store) -> None:
    store.fill().beat()
    with open_engine(store.url).begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    text = visit().text
    assert "was written by a newer version of the monitor (schema 9999" in text
    assert "healthy" not in text


@pytest.mark.parametrize("name", PAGES)
def test_an_empty_store_shows_the_poller_as_never_started(visit: Visit, store: Store, name: str) -> None:
    assert "The poller has never run" in visit(name).text


@pytest.mark.parametrize("name", PAGES)
def test_every_page_says_how_old_the_data_are_and_in_which_zone(visit: Visit, store: Store, name: str) -> None:
    store.fill().beat()
    text = visit(name).text
    assert "poller running" in text
    assert " old " in text
    assert "times in UTC" in text


@pytest.mark.parametrize("name", PAGES)
def test_every_page_labels_sample_data(visit: Visit, store: Store, name: str) -> None:
    store.fill().beat(demo=True)
    assert "Sample data" in visit(name).text


@pytest.mark.parametrize("name", PAGES)
def test_every_page_shows_a_configuration_that_was_not_taken(visit: Visit, store: Store, name: str) -> None:
    store.fill().beat(config_error="monitor.toml: projects[0].name must not be empty")
    assert "projects[0].name must not be empty" in visit(name).text


def test_all_well_is_one_plain_sentence(visit: Visit, store: Store) -> None:
    store.fill().beat()
    assert "All 4 projects are healthy." in visit().text


def test_the_verdict_names_the_broken_project_its_cause_and_since_when(visit: Visit, store: Store) -> None:
    store.fill(answer=burning).beat()
    text = visit().text
    assert "2 of 4 projects are broken." in text
    assert "legacy (key refused, since" in text
    assert "crm (model not allowed: gpt-4o, since" in text


def test_broken_projects_come_first_and_lead_to_their_page(visit: Visit, store: Store) -> None:
    store.fill(answer=burning).beat()
    html = visit(window="7d").html
    places = [html.index(f">{name}</a>") for name in ("crm", "legacy", "batch", "docs")]
    assert places == sorted(places)
    assert 'href="project?project=legacy&amp;window=7d" target="_self"' in html


def test_a_silent_poller_makes_nothing_green(visit: Visit, store: Store) -> None:
    store.fill(answer=burning).beat(age=timedelta(minutes=5))
    page = visit()
    assert "Nothing is known: the poller has been silent for 5 min" in page.text
    assert "healthy" not in page.text
    assert 'class="lamp ok"' not in page.html
    assert "was: key refused" in page.text


def test_hours_without_data_are_not_green(visit: Visit, store: Store) -> None:
    store.fill(length=timedelta(hours=1)).beat()
    assert "no data" in visit(window="24h").html


def test_the_search_keeps_what_fits(visit: Visit, store: Store) -> None:
    store.fill(answer=burning).beat()
    html = visit(search="TEAM-B").html
    assert ">docs</a>" in html
    assert ">legacy</a>" not in html


def test_only_what_is_not_healthy(visit: Visit, store: Store) -> None:
    store.fill(answer=burning).beat()
    html = visit(broken="1").html
    assert ">legacy</a>" in html
    assert ">docs</a>" not in html


def large_fleet(store: Store) -> None:
    """140 projects, of which the last three are ill."""
    projects = tuple(project(f"p-{number:03}", models=(), owner=f"team-{number % 2}") for number in range(140))
    ill = {"p-137", "p-138", "p-139"}
    dead = {"failure": FailureKind.AUTH_INVALID_KEY, "status": 401}
    store.fill(projects, lambda target, age: dead if target.project in ill else {}, length=timedelta(minutes=10)).beat()


def names_of(page: Page) -> list[str]:
    """The projects of the table, as they stand there."""
    return re.findall(r'<td class="name"><a [^>]*>([^<]*)</a>', page.html)


def test_a_large_fleet_is_turned_page_by_page_the_ill_first(visit: Visit, store: Store) -> None:
    large_fleet(store)
    first, last, beyond = visit(), visit(page="3"), visit(page="999")
    assert names_of(first) == ["p-137", "p-138", "p-139", *(f"p-{number:03}" for number in range(47))]
    assert names_of(last) == names_of(beyond) == [f"p-{number:03}" for number in range(97, 137)]
    assert "101 to 140 of 140 projects" in last.text
    assert [len(names_of(visit(page=wrong))) for wrong in ("0", "-1", "x", "1.5")] == [50] * 4


def test_another_page_is_put_into_the_address_and_another_filter_begins_at_the_first(visit: Visit, store: Store) -> None:
    large_fleet(store)
    page = visit(page="2")
    page.at.selectbox(key="w.owner").select("team-1").run()
    assert "page" not in page.at.query_params
    assert names_of(page)[:3] == ["p-137", "p-139", "p-001"]


def test_projects_come_in_the_order_that_is_asked_for(visit: Visit, store: Store) -> None:
    large_fleet(store)
    assert names_of(visit(order="By name"))[:2] == ["p-000", "p-001"]
    assert names_of(visit(order="By owner"))[:2] == ["p-000", "p-002"]
    assert set(names_of(visit(order="Newest change first"))[:3]) <= {f"p-{number:03}" for number in range(140)}


def test_a_project_says_what_is_wrong_what_to_do_and_who_does_it(visit: Visit, store: Store) -> None:
    store.fill(answer=burning).beat()
    text = visit("project", project="legacy").text
    assert "OpenAI refuses key “backend” (…wxyz), which worked before." in text
    assert "Next step" in text
    assert "The key's owner" in text
    assert "No: it stays until somebody acts" in text


def test_a_rate_limit_says_when_it_is_over(visit: Visit, store: Store) -> None:
    store.fill(answer=burning).beat()
    assert "Yes: OpenAI said to try again in 36 s" in visit("project", project="batch").text


def test_a_project_that_is_well_says_so(visit: Visit, store: Store) -> None:
    store.fill(answer=burning).beat()
    assert "Nothing is wrong: every check of this project passed" in visit("project", project="docs").text


def test_without_a_choice_the_worst_project_is_shown(visit: Visit, store: Store) -> None:
    store.fill(answer=burning).beat()
    assert visit("project").at.selectbox(key="w.project").value == "crm"


def test_failures_stand_in_the_chart_with_their_number(visit: Visit, store: Store) -> None:
    store.fill(answer=burning).beat()
    spec = json.loads(visit("project", project="legacy").at.get("plotly_chart")[0].proto.spec)
    assert [trace["name"] for trace in spec["data"]] == ["key refused"]


def test_keys_are_listed_with_end_and_never_with_more(visit: Visit, store: Store) -> None:
    store.fill(answer=burning).beat()
    page = visit("keys")
    row = next(row for row in page.html.split("<tr>") if "key=backend" in row and ">legacy<" in row)
    assert "✖" in row
    assert "key refused" in row
    assert "…wxyz" in row
    assert "0123456789abcdef" not in page.html


def test_a_legacy_key_is_flagged_with_the_reason(visit: Visit, store: Store) -> None:
    store.fill().beat()
    page = visit("keys")
    assert "OpenAI accepts all 4 keys." in page.text
    assert 'title="It belongs to a user, not to a project' in page.html


def test_the_model_matrix_tells_missing_from_usable(visit: Visit, store: Store) -> None:
    store.fill(answer=burning).beat()
    text = visit("models").text
    assert "model not allowed" in text
    assert "usable" in text


def test_a_denied_model_that_answers_is_a_finding(visit: Visit, store: Store) -> None:
    loose = project("loose", models=(), denied_models=("gpt-5-pro",))
    finding = {"finding": "denied_model_usable"}
    store.fill((loose,), lambda target, age: finding if target.probe is ProbeKind.DENIED_MODEL else {}).beat()
    assert "usable, but denied" in visit("models").text
    assert "gpt-5-pro answers, although the configuration says it must be refused." in visit("project", project="loose").text


def test_rate_limits_are_counted_by_project(visit: Visit, store: Store) -> None:
    store.fill(answer=burning).beat()
    text = visit("rate_limits", window="6h").text
    assert "13 checks turned away with 429 in the last 6h." in text
    assert "batch ■ token limit reached 13" in text


def test_an_unknown_headroom_is_not_zero(visit: Visit, store: Store) -> None:
    said = {"limits": (RateLimitSnapshot("tokens", None, None, None),)}
    store.fill((FLEET[3],), lambda target, age: said if target.model else {}).beat()
    assert "tokens unknown unknown unknown unknown" in visit("rate_limits").text


def test_evidence_is_filtered_by_the_address(visit: Visit, store: Store) -> None:
    store.fill(answer=burning).beat()
    table = visit("evidence", failure="auth.invalid_key", project="legacy").at.dataframe[0].value
    assert set(table["Project"]) == {"legacy"}
    assert set(table["HTTP"]) == {401}
    assert list(table["When"]) == sorted(table["When"], reverse=True)


def test_an_answer_opens_by_its_address_with_all_that_was_kept(visit: Visit, store: Store) -> None:
    store.fill(answer=burning).beat()
    window = Window(store.now - timedelta(hours=2), store.now)
    row = queries.observations(open_engine(store.url), window, EvidenceFilter(project="batch", verdict=Verdict.FAILED)).iloc[0]
    text = visit("evidence", target=str(row["target_id"]), at=str(to_ms(row["at"].to_pydatetime()))).text
    assert "Limit hit: requested 2000" in text
    assert "Raise the project's limit" in text


def test_an_exported_cell_never_begins_a_formula() -> None:
    frame = pd.DataFrame({"message": ["=1+1", "+1", "-1", "@a", " =1", "plain", None], "count": [-1, 2, 3, 4, 5, 6, 7]})
    lines = csv_of(frame).splitlines()[1:]
    assert [line.rpartition(",")[0] for line in lines] == ["'=1+1", "'+1", "'-1", "'@a", "' =1", "plain", ""]
    assert lines[0].endswith(",-1")


def test_the_monitor_page_tells_what_probing_costs(visit: Visit, store: Store) -> None:
    store.fill().beat()
    store.writer.save_effective_config("monitor.toml", {"intervals": {"auth": "PT1M"}, "projects": [{"name": "docs"}]}, store.now)
    text = visit("monitor").text
    assert "The poller runs and is on time." in text
    assert "Paid requests a month" in text
    assert "from monitor.toml" in text


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("window", ["1h", "30d", "13mo"])
def test_a_month_can_be_looked_at(visit: Visit, store: Store, name: str, window: str) -> None:
    store.fill(answer=burning, length=timedelta(days=31), step=timedelta(hours=12)).beat()
    assert "poller running" in visit(name, window=window).text


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize(
    "value", ["<script>alert(1)</script>", "../../etc/passwd", "'; drop table projects; --", "9" * 400, "\x00\u202e", "=1+1", "-1"]
)
def test_an_address_nobody_understands_changes_nothing(visit: Visit, store: Store, name: str, value: str) -> None:
    store.fill(answer=burning).beat()
    names = (
        "window",
        "project",
        "owner",
        "environment",
        "search",
        "order",
        "page",
        "broken",
        "key",
        "model",
        "probe",
        "verdict",
        "lane",
    )
    more = ("failure", "status", "request_id", "target", "at", "kind", "health", "flagged")
    more += ("grade", "rule", "expiring", "unused", "unwatched")
    page = visit(name, **dict.fromkeys(names + more, value))
    assert "There is no window" in page.text
    assert "<script>alert" not in page.html
    assert page.at.segmented_control(key="w.window").value == "24h"


@pytest.mark.parametrize("name", PAGES)
def test_texts_from_outside_are_shown_as_they_are_written(visit: Visit, store: Store, name: str) -> None:
    nasty = "<img src=x onerror=alert(1)> **b** `c` $x$ [l](javascript:1) \"q\" 's'"
    bad = project("docs", owner=nasty, services=(nasty,), models=(nasty,), environment=nasty, project_id=nasty)
    said = {"failure": FailureKind.ACCESS_MODEL_NOT_ALLOWED, "message": nasty, "code": nasty, "hint": nasty}
    store.fill((bad,), lambda target, age: said if target.model else {}).beat(config_error=nasty, host=nasty)
    store.writer.save_effective_config(nasty, {nasty: {nasty: nasty}, "projects": [{"name": nasty}]}, store.now)
    page = visit(name)
    assert "<img" not in page.html
    assert not page.at.markdown
    assert nasty in page.text


@pytest.mark.parametrize("name", PAGES)
def test_a_page_without_the_router_shows_nothing(store: Store, name: str) -> None:
    store.fill(answer=burning).beat()
    at = AppTest.from_file(str(ROOT / "pages" / PAGES[name]), default_timeout=180).run()
    assert not at.exception
    assert not at.main.children


def test_window_and_project_outlive_a_change_of_the_page(visit: Visit, store: Store) -> None:
    store.fill(answer=burning).beat()
    page = visit("project", project="batch", window="7d")
    page.at.query_params.clear()
    page.at.run()
    assert page.at.selectbox(key="w.project").value == "batch"
    assert page.at.segmented_control(key="w.window").value == "7d"


def test_a_choice_is_put_into_the_address(visit: Visit, store: Store) -> None:
    store.fill(answer=burning).beat()
    page = visit()
    page.at.segmented_control(key="w.window").set_value("1h").run()
    assert page.at.query_params["window"] == "1h"
    page.at.selectbox(key="w.owner").select("team-b").run()
    assert page.at.query_params["owner"] == "team-b"
    assert ">legacy</a>" not in page.html


@pytest.mark.parametrize("name", ["Europe/Berlin", "UTC", "Not/AZone", "../../etc/passwd", "", None, "x" * 5000, "\x00", 7])
def test_whatever_a_browser_calls_its_zone_a_time_is_shown(name: object) -> None:
    at = datetime(2026, 1, 5, 12, 30, tzinfo=UTC)
    assert clock(at, at, zone_of(name)) == ("13:30" if name == "Europe/Berlin" else "12:30")


def test_healthy_projects_have_no_diagnosis(visit: Visit, store: Store) -> None:
    store.fill(answer=well).beat()
    assert "Next step" not in visit("project").text


def test_a_missing_database_is_said_once(visit: Visit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONITOR_DATABASE_URL", f"sqlite:///{tmp_path}/none.db")
    assert visit().text.count("the poller has not run here") == 1


def test_a_line_breaks_where_answers_are_missing_and_nowhere_else() -> None:
    at = pd.to_datetime([0, 60, 120, 600, 660], unit="s", utc=True).as_unit("ms")
    frame = pd.DataFrame({"start": at, "p50": 1.0, "p95": 2.0, "p99": 3.0})
    window = Window(datetime(1970, 1, 1, tzinfo=UTC), datetime(1970, 1, 1, 0, 12, tzinfo=UTC))
    line = charts.latency(frame, window, timedelta(minutes=1), zone_of("Europe/Berlin")).data[0]
    assert [value == value for value in line.y] == [True, True, True, False, True, True]
    assert pd.Timestamp(line.x[0]) == pd.Timestamp("1970-01-01 01:00")


def test_a_name_in_a_legend_is_text() -> None:
    frame = pd.DataFrame({"start": pd.to_datetime([0], unit="s", utc=True), "failure": ["<a href=x>"], "count": [1]})
    window = Window(datetime(1970, 1, 1, tzinfo=UTC), datetime(1970, 1, 2, tzinfo=UTC))
    figure = charts.failure_trend(frame, window, timedelta(hours=1), UTC)
    assert figure.data[0].name == "&lt;a href=x&gt;"
