"""The weekly report: what it says, to whom, and that nothing in it can act."""

from dataclasses import replace
from datetime import datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest
from sqlalchemy import Engine

from monitor import report
from monitor.domain.health import Health, LaneState
from monitor.domain.incidents import Cause, Change, Event, EventKind, Severity
from monitor.domain.inventory import ProbeKind, Target
from monitor.domain.sli import Counts
from monitor.domain.taxonomy import LAMPS, FailureKind, Lane, Scope
from monitor.report_page import PROMISE, WINDOWS, Facts, page
from monitor.store import incidents
from monitor.store.record import Writer
from monitor.store.slo import Level
from monitor.store.status import Heartbeat, ProjectStatus
from tests.store.helpers import CHECKOUT, START, incident, inventory, new_store, opened, project, span, sqlite_url, story

NOW = START
HOSTILE = """"><script>alert(1)</script><img src=x onerror=alert(2)>'{0}{style}`\u202e"""


def status(name: str = "checkout", health: Health = Health.HEALTHY, **more: object) -> ProjectStatus:
    facts: dict[str, object] = {
        "name": name,
        "project_id": f"proj_{name}",
        "organization": None,
        "base_url": "https://api.openai.com/v1",
        "environment": "production",
        "owner": "team-a",
        "services": ("web",),
        "tags": (),
        "models": (),
        "denied_models": (),
        "health": health,
        "since": NOW - span("2h"),
        "lamps": {lane: LaneState() for lane in LAMPS},
        "worst": None,
        "keys": 1,
        "targets": 1,
        "last_at": NOW,
    }
    return ProjectStatus(**facts | more)  # type: ignore[arg-type]


def level(ok: int, failed: int = 0, lane: Lane = Lane.QUOTA) -> Level:
    lanes = {each: Counts(ok, failed if each is lane else 0) for each in LAMPS}
    return Level(Counts(ok, failed), lanes, NOW - span("90d"))


def levels(**by_project: Level) -> dict[timedelta, dict[str, Level]]:
    return {length: dict(by_project) for length in WINDOWS}


def facts(*projects: ProjectStatus, **more: object) -> Facts:
    given: dict[str, object] = {"owner": "team-a", "now": NOW, "objective": 0.999, "projects": projects or (status(),)}
    return Facts(**given | more)  # type: ignore[arg-type]


class Reader(HTMLParser):
    """What a browser makes of a page: its elements, its addresses, its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []
        self.words: dict[str, list[str]] = {}
        self.feed(text)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag != "meta":
            self.open.append(tag)
        self._apart(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open
        self._apart(tag)
        assert self.open.pop() == tag

    def _apart(self, tag: str) -> None:
        if tag not in ("a", "code", "span", "b"):
            self.handle_data(" ")

    def handle_data(self, data: str) -> None:
        for tag in set(self.open):
            self.words.setdefault(tag, []).append(data)

    def text(self, tag: str = "body") -> str:
        return " ".join("".join(self.words.get(tag, [])).split())


def read(given: Facts) -> Reader:
    reader = Reader(page(given))
    assert reader.open == []
    return reader


# --- what it says --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("projects", "headline"),
    [
        ([status()], "checkout is well now."),
        ([status("a"), status("b")], "Both projects are well now."),
        ([status("a"), status("b"), status("c")], "All 3 projects are well now."),
        ([status("a", Health.FAILING)], "a is failing."),
        (
            [status("a", Health.FAILING), status("b", Health.DEGRADED), status("c")],
            "2 of 3 projects are not well: a is failing, b is degraded.",
        ),
        ([status("a", Health.UNKNOWN)], "How it is now is not known: there are no fresh data."),
        ([status("a", Health.UNKNOWN), status("b")], "Of a there are no fresh data; all others are well."),
        (
            [status(f"p{number}", Health.FAILING) for number in range(9)],
            "9 of 9 projects are not well: p0, p1, p2 and 6 more are failing.",
        ),
    ],
)
def test_it_begins_with_how_things_stand(projects: list[ProjectStatus], headline: str) -> None:
    assert read(facts(*projects)).text("h1") == headline


@pytest.mark.parametrize(
    ("given", "lead"),
    [
        (facts(), "Nothing was measured in the last 28 days. No incident this week."),
        (facts(levels=levels(checkout=level(1000))), "It kept the promised 99.9 % over 28 days. No incident this week."),
        (
            facts(levels=levels(checkout=level(990, 10))),
            "It did not keep the promised 99.9 % over 28 days. No incident this week.",
        ),
        (
            facts(status("a"), status("b"), levels=levels(a=level(990, 10), b=level(1000)), incidents=[incident(id=3)]),
            "1 of 2 kept the promised 99.9 % over 28 days; a did not. One incident this week, still open.",
        ),
        (
            facts(objective=0.5, levels=levels(checkout=level(60, 40)), incidents=[incident(id=3, resolved_at=NOW)] * 2),
            "It kept the promised 50 % over 28 days. 2 incidents this week, all over.",
        ),
    ],
)
def test_then_says_whether_the_promise_was_kept(given: Facts, lead: str) -> None:
    assert lead in read(given).text("p")


def test_what_is_broken_comes_before_every_table_with_its_next_step() -> None:
    mine = incident(id=12, projects=("checkout", "elsewhere"), first_bad_at=NOW - span("3h"), opened_at=NOW - span("3h"))
    text = read(facts(status(health=Health.FAILING), incidents=[mine])).text()
    assert text.index("Broken now") < text.index("Availability by project") < text.index("Incidents of the week")
    assert "INC-12 Key “backend” of checkout: key refused" in text
    assert "3 h, since 20 Nov 09:00 UTC" in text
    assert "Hits checkout and 1 project of others; services: web. Nobody has taken it yet." in text
    assert "Next: See in platform.openai.com" in text
    assert "(the key's owner)" in text
    assert "INC-12 has been open for 3 h and nobody has taken it." in text


def test_who_took_it_is_named() -> None:
    taken = incident(id=1, opened_at=NOW - span("5h"), acknowledged_at=NOW - span("4h"), acknowledged_by="Ada")
    text = read(facts(status(health=Health.FAILING), incidents=[taken])).text()
    assert "Taken by Ada." in text
    assert "nobody has taken it" not in text
    assert "1 h Ada" in text


def test_the_worst_project_stands_first() -> None:
    given = facts(
        status("well"),
        status("poor"),
        status("broken", Health.FAILING),
        levels=levels(well=level(1000), poor=level(900, 100), broken=level(999, 1)),
    )
    text = read(given).text("tbody")
    assert text.index("broken") < text.index("poor") < text.index("well") < text.index("Together")


@pytest.mark.parametrize(
    ("counts", "shown"),
    [
        ((1_000_000, 0), "100 %"),
        ((999_999, 1), "99.99 %"),  # never rounded up to all of it
        ((999, 1), "99.90 %"),
        ((9_989, 11), "99.89 %"),
        ((0, 100), "0.00 %"),
    ],
)
def test_a_percentage_is_never_rounded_up(counts: tuple[int, int], shown: str) -> None:
    assert f"{shown}available, 7 days" in read(facts(levels=levels(checkout=level(*counts)))).text()


def test_a_finer_objective_has_a_finer_percentage() -> None:
    text = read(facts(objective=0.9995, levels=levels(checkout=level(99_949, 51)))).text()
    assert "did not keep the promised 99.95 %" in text
    assert "99.949 %available" in text


@pytest.mark.parametrize(
    ("counts", "shown"),
    [
        ((10_000, 0), "100 % left"),
        ((9_995, 5), "50 % left"),
        ((9_990, 10), "0 % left"),
        ((9_970, 30), "3 × the budget"),
        ((99_899, 101), "1.1 × the budget"),
        ((0, 0), "no data"),
    ],
)
def test_the_error_budget(counts: tuple[int, int], shown: str) -> None:
    text = read(facts(levels=levels(checkout=level(*counts)))).text("tbody")
    assert shown in text


def test_a_short_history_says_since_when() -> None:
    young = replace(level(1000), since=NOW - span("10d"))
    text = read(facts(levels=levels(checkout=young))).text("tbody")
    assert text.count("since 10 Nov") == 2  # of 28 and of 90 days, not of 7


def test_too_few_checks_are_held_against_nobody() -> None:
    few = facts(status("a"), status("b"), levels=levels(a=level(45, 4), b=level(9990, 1)))
    text = read(few).text()
    assert few.missed == []
    assert "It kept the promised 99.9 % over 28 days. Of a there were too few checks to say." in text
    assert "too few checks: 49" in text
    assert "91." not in text
    alone = read(facts(status("a"), levels=levels(a=level(45, 4)))).text()
    assert "There were too few checks in the last 28 days to say whether the promise was kept." in alone


def test_lanes_are_shown_where_something_failed() -> None:
    given = facts(status("a"), status("b"), levels=levels(a=level(90, 10, Lane.NETWORK), b=level(100)))
    text = read(given).text()
    assert "1 project had no failed check in 90 days." in text
    assert "90.00 %" in text
    clean = read(facts(levels=levels(checkout=level(10)))).text()
    assert "1 project had no failed check in 90 days." in clean


def test_what_to_do_follows_from_budgets_findings_and_what_comes_back() -> None:
    again = [incident(id=number, resolved_at=NOW, at=NOW - span("1h")) for number in (1, 2)]
    given = facts(
        status(findings=("key_legacy", "denied_model_usable")),
        status("other", findings=("key_legacy",)),
        levels=levels(checkout=level(990, 10), other=level(980, 20, Lane.SERVER)),
        incidents=again,
    )
    text = read(given).text("ol")
    assert "checkout and other: a user key from the time before projects" in text
    assert "checkout: a model that shall be refused can be used." in text
    assert "most of it for quota and billing: checkout (10 times)" in text
    assert "most of it for errors of OpenAI's servers: other (20 times)" in text
    assert "came 2 times this week" in text


def test_nothing_to_do_is_no_list() -> None:
    assert "ol" not in read(facts(levels=levels(checkout=level(1000)))).tags


def test_silence_and_samples_are_said_first() -> None:
    text = read(facts(silent_since=NOW - span("2d"), demo=True)).text("main")
    assert text.startswith("Sample data")
    assert text.index("The monitor is silent since 18 Nov 12:00 UTC") < text.index("well now")
    assert "Sample data" not in read(facts()).text()


# --- safety --------------------------------------------------------------------------------------------------------------


def test_no_text_from_outside_becomes_html() -> None:
    hostile = incident(
        id=7,
        title=HOSTILE,
        acknowledged_by=HOSTILE,
        acknowledged_at=NOW,
        projects=(HOSTILE,),
        diagnosis=replace(incident().diagnosis, summary=HOSTILE, cause=HOSTILE, next_step=HOSTILE),
    )
    bad = status(HOSTILE, Health.FAILING, environment=HOSTILE, services=(HOSTILE,), findings=("key_legacy", "no_project_id"))
    given = facts(
        bad,
        owner=HOSTILE,
        incidents=[hostile, hostile],
        levels={length: {HOSTILE: level(1, 9)} for length in WINDOWS},
        dashboard='https://x.example/"><script>',
    )
    plain = facts(
        status("a", Health.FAILING, findings=("key_legacy", "no_project_id")),
        incidents=[replace(hostile, title="t", acknowledged_by="b", projects=("a",), diagnosis=incident().diagnosis)] * 2,
        levels=levels(a=level(1, 9)),
        dashboard="https://x.example",
    )
    found, expected = read(given), read(plain)
    assert [tag for tag in found.tags if tag != "code"] == [tag for tag in expected.tags if tag != "code"]
    assert {name for name, _ in found.attributes} == {name for name, _ in expected.attributes}
    assert "\u202e" not in page(given)
    assert "<script>alert(1)</script>" in found.text()  # it is there to be read


def test_nothing_acts_and_nothing_is_loaded() -> None:
    given = facts(status(health=Health.FAILING), incidents=[incident(id=7)], dashboard="https://monitor.example.com/")
    found = read(given)
    assert not {"script", "iframe", "object", "embed", "link", "form", "base", "img"} & set(found.tags)
    assert not [name for name, _ in found.attributes if name.startswith("on") or name in ("src", "srcset")]
    assert {value for name, value in found.attributes if name == "href"} == {"https://monitor.example.com/incidents?incident=7"}
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in found.attributes
    style = found.text("style")
    assert "url(" not in style
    assert "@import" not in style


def test_without_the_address_of_the_pages_there_are_no_links() -> None:
    assert "a" not in read(facts(status(health=Health.FAILING), incidents=[incident(id=7)])).tags


# --- from a store --------------------------------------------------------------------------------------------------------

LEGACY = Target(ProbeKind.AUTH, "legacy", "backend")
ORPHAN = Target(ProbeKind.AUTH, "orphan", "backend")
LATER = START + span("3h")


@pytest.fixture
def filled(tmp_path: Path) -> Engine:
    """Three projects of three owners; one of them is broken, with an incident."""
    engine, writer = new_store(sqlite_url(tmp_path / "monitor.db"))
    known = inventory(project("checkout", ()), project("legacy", (), owner="Team B/ops"), project("orphan", (), owner=None))
    writer.sync_inventory(known, START)
    for target, told in ((CHECKOUT, "ok*180"), (LEGACY, "ok*150 401*30"), (ORPHAN, "ok*180")):
        writer.record(story(told, target=target), LATER)
    opened(engine, incident("legacy", START + span("150m"), owners=("Team B/ops",)))
    _beat(writer, LATER)
    return engine


def _beat(writer: Writer, at: datetime) -> None:
    writer.beat(Heartbeat(at, START, 1, "here", "1", 1, None, 0))


def test_each_owner_gets_a_page(filled: Engine, tmp_path: Path) -> None:
    written = report.write(filled, tmp_path / "new" / "reports", LATER)
    assert [path.name for path in written] == ["2026-11-20-team-b-ops.html", "2026-11-20-no-owner.html", "2026-11-20-team-a.html"]
    texts = [Reader(path.read_text(encoding="utf-8")).text() for path in written]
    assert "legacy is failing" in texts[0]
    assert "INC-1" in texts[0]
    assert "83.33 %" in texts[0]
    assert "orphan is well now." in texts[1]
    assert "checkout is well now." in texts[2]
    assert "No incident this week." in texts[2]
    assert "legacy" not in texts[2]


def test_one_owner_may_be_asked_for(filled: Engine, tmp_path: Path) -> None:
    assert [path.name for path in report.write(filled, tmp_path, LATER, owner="team-a")] == ["2026-11-20-team-a.html"]
    assert report.write(filled, tmp_path, LATER, owner="nobody of that name") == []
    again = report.write(filled, tmp_path, LATER, owner="team-a")
    assert [path.name for path in again] == ["2026-11-20-team-a.html"]


def test_owners_of_almost_one_name_get_a_file_each(tmp_path: Path) -> None:
    engine, writer = new_store(sqlite_url(tmp_path / "monitor.db"))
    writer.sync_inventory(inventory(project("a", owner="Team A"), project("b", owner="team a"), project("c", owner="…")), START)
    names = {path.name for path in report.write(engine, tmp_path, START)}
    assert names == {"2026-11-20-team-a.html", "2026-11-20-team-a-2.html", "2026-11-20-owner.html"}


def test_an_incident_of_everybody_is_on_every_page_and_a_merged_one_on_none(filled: Engine) -> None:
    everybody = incident("x", LATER, cause=Cause(Scope.MONITOR, Lane.NETWORK, ""), projects=(), keys=(), severity=Severity.WARNING)
    [stored] = opened(filled, everybody)
    merged = replace(incident("checkout", LATER), resolved_at=LATER, merged_into=stored.id, failure=FailureKind.NETWORK_TIMEOUT)
    incidents.apply(filled, [Change(merged, (Event(LATER, EventKind.MERGED, "Merged."),))], LATER)
    found = {each.owner: [one.id for one in each.incidents] for each in report.facts(filled, LATER)}
    assert found == {"Team B/ops": [2, 1], report.NOBODY: [2], "team-a": [2]}


def test_an_incident_that_ended_before_the_week_is_not_told(filled: Engine) -> None:
    found = {each.owner: list(each.incidents) for each in report.facts(filled, LATER + span("30d"))}
    assert len(found["Team B/ops"]) == 1  # it still goes on
    one = found["Team B/ops"][0]
    incidents.update(filled, one.id or 0, Event(LATER, EventKind.RESOLVED, "Over."), resolved_at=LATER)
    assert not any(each.incidents for each in report.facts(filled, LATER + span("30d")))


def test_a_silent_monitor_is_said_and_nothing_is_called_well(filled: Engine) -> None:
    for each in report.facts(filled, LATER + span("1h")):
        assert each.silent_since == LATER
        assert "well" not in read(each).text("h1")


def test_the_week_s_strip_has_what_failed_and_forgives_a_restricted_key(tmp_path: Path) -> None:
    engine, writer = new_store(sqlite_url(tmp_path / "monitor.db"))
    writer.sync_inventory(inventory(project("checkout", ()), project("legacy", ())), START)
    writer.record(story("scope*60", target=CHECKOUT), LATER)
    writer.record(story("ok*30 401*30", target=LEGACY), LATER)
    [found] = report.facts(engine, START + span("1h"))
    assert set(found.strips["checkout"].values()) == {0.0}
    assert set(found.strips["legacy"].values()) == {0.5}
    assert found.levels[PROMISE]["checkout"].whole == Counts(0, 0)


def test_an_empty_store_has_no_report(tmp_path: Path) -> None:
    engine, _ = new_store(sqlite_url(tmp_path / "monitor.db"))
    assert report.write(engine, tmp_path, START) == []
