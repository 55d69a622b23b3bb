"""What a reader is told of incidents, and what becomes of what they ask for."""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest

from monitor.domain.alerting import NotifyReason, Silence
from monitor.domain.changes import ChangeEvent, ChangeKind, ChangeSource
from monitor.domain.diagnosis import Context, diagnose
from monitor.domain.incidents import Cause, Change, Event, EventKind, Incident, Severity
from monitor.domain.inventory import Target
from monitor.domain.taxonomy import FailureKind, Lane, Scope
from monitor.domain.what_changed import ranked, sharpened, window_of
from monitor.store import changes, incidents, intents, outbox, silences
from monitor.store.engine import open_engine
from monitor.store.outbox import NewMessage, NotSent
from monitor.ui.format import csv_of, local
from monitor.ui.incidents import as_rows
from tests.pages.conftest import FLEET, Page, Store, Visit, burning, project

NASTY = "<img src=x onerror=alert(1)> **b** `c` [l](javascript:1) \"q\" 's'"


def incident(store: Store, **facts: Any) -> Incident:
    """As the service would open one: the key of `legacy` was refused half an hour ago."""
    began = store.now - timedelta(minutes=31)
    kind = facts.get("failure", FailureKind.AUTH_INVALID_KEY)
    given: dict[str, Any] = {
        "cause": Cause(Scope.KEY, Lane.AUTH, "legacy/backend"),
        "failure": kind,
        "severity": Severity.CRITICAL,
        "first_bad_at": began,
        "opened_at": began + timedelta(seconds=20),
        "named_at": began + timedelta(seconds=20),
        "title": "Key “backend” of legacy: key refused",
        "diagnosis": diagnose(kind, Context(project="legacy", key="backend", since=began, last_ok_at=began)),
        "projects": ("legacy",),
        "keys": ("legacy/backend",),
        "services": ("search",),
        "owners": ("team-a",),
        "ill": 2,
    }
    return Incident(**(given | facts))


def put(store: Store, *those: Incident) -> list[Incident]:
    """Store them, as the service does."""
    made = [Change(one, (Event(one.opened_at, EventKind.OPENED, one.title),)) for one in those]
    return incidents.apply(open_engine(store.url), made, store.now)


def burnt(store: Store, *those: Incident) -> list[Incident]:
    """A burning fleet with these incidents, or with that of `legacy`."""
    store.fill(answer=burning).beat()
    return put(store, *(those or (incident(store),)))


def asked(store: Store) -> Sequence[intents.Intent]:
    return intents.waiting(open_engine(store.url))


def visit_one(visit: Visit, one: Incident, **params: str) -> Page:
    return visit("incidents", incident=str(one.id), **params)


def press(page: Page, label: str) -> Page:
    """Click the button of that name."""
    next(button for button in page.at.button if button.label == label).click().run()
    assert not page.at.exception
    return page


# --- the list --------------------------------------------------------------------------------------------------------------


def test_without_an_incident_the_page_says_that_none_is_open(visit: Visit, store: Store) -> None:
    store.fill().beat()
    text = visit("incidents").text
    assert "No incident is open." in text
    assert "No incident in this window." in text


def test_open_ones_come_first_with_cause_scope_who_is_hit_and_who_mends_it(visit: Visit, store: Store) -> None:
    over = incident(store, title="Something newer", opened_at=store.now - timedelta(minutes=5), resolved_at=store.now)
    burnt(store, over, incident(store))
    page = visit("incidents")
    assert page.html.index("of legacy: key refused") < page.html.index("Something newer")
    assert "1 incident is open, hitting 1 project." in page.text
    assert re.search("INC-2 · key · legacy · 31 min( [0-9]+ s)? · nobody took it yet", page.text)
    assert "The key's owner" in page.text
    assert "nobody yet" in page.text


def test_they_are_data_too(store: Store) -> None:
    over = incident(store, title="=1+1", resolved_at=store.now, acknowledged_by="Ada", acknowledged_at=store.now)
    first, second = as_rows(put(store, incident(store), over))
    assert (first["incident"], first["state"], first["MTTD s"], first["MTTR s"]) == ("INC-1", "open", 20.0, None)
    assert (second["state"], second["taken by"], second["MTTR s"], second["projects"]) == ("over", "Ada", 31 * 60.0, "legacy")
    assert "'=1+1" in csv_of(pd.DataFrame([first, second]))


def test_the_usual_times_are_counted(visit: Visit, store: Store) -> None:
    burnt(store, incident(store, resolved_at=store.now - timedelta(minutes=1)))
    text = visit("incidents").text
    assert "Found after 20 s" in text
    assert "Over after 30 min" in text


def test_the_window_decides_which_ended_ones_are_shown(visit: Visit, store: Store) -> None:
    old = store.now - timedelta(days=3)
    burnt(store, incident(store, title="An old one", first_bad_at=old, opened_at=old, resolved_at=old + timedelta(hours=1)))
    assert "An old one" not in visit("incidents").text
    assert "An old one" in visit("incidents", window="7d").text


def test_filters_of_the_list(visit: Visit, store: Store) -> None:
    other = incident(store, title="A docs thing", projects=("docs",), owners=("team-b",), keys=(), resolved_at=store.now)
    burnt(store, incident(store), other)
    assert "A docs thing" not in visit("incidents", owner="team-a").text
    assert "of legacy: key refused" not in visit("incidents", project="docs").text
    assert "A docs thing" not in visit("incidents", open="1").text
    assert "of legacy: key refused" not in visit("incidents", scope="openai").text


def test_a_silent_poller_claims_nothing_of_incidents(visit: Visit, store: Store) -> None:
    store.fill(answer=burning).beat(age=timedelta(minutes=5))
    one = put(store, incident(store))[0]
    page = visit("incidents")
    assert "Nothing is known of incidents while the poller is silent. 1 incident was open before." in page.text
    assert "was critical" in page.text
    assert 'class="verdict" role="status"><span class="unknown"' in visit_one(visit, one).html


# --- overview and project --------------------------------------------------------------------------------------------------


def test_one_cause_is_one_line_however_many_projects_it_hits(visit: Visit, store: Store) -> None:
    many = tuple(project(f"p-{number:02}", models=()) for number in range(30))
    dead = {"failure": FailureKind.SERVER_ERROR, "status": 500}
    store.fill(many, lambda target, age: dead, length=timedelta(minutes=15)).beat()
    names = tuple(each.name for each in many)
    put(
        store,
        incident(store, cause=Cause(Scope.OPENAI, Lane.SERVER, ""), title="OpenAI: server error (30 projects)", projects=names),
    )
    text = visit().text
    assert "30 of 30 projects are" in text
    assert "by 1 cause" in text
    assert text.count("OpenAI: server error") == 1
    assert "Besides" not in text


def test_what_no_incident_explains_is_still_named(visit: Visit, store: Store) -> None:
    burnt(store)
    text = visit().text
    assert "2 of 4 projects are broken by 1 cause." in text
    assert "Besides: crm (model not allowed: gpt-4o, since" in text
    assert "Besides: legacy" not in text


def test_the_overview_shows_the_worst_and_counts_the_rest(visit: Visit, store: Store) -> None:
    burnt(store, *(incident(store, title=f"Cause number {number}") for number in range(11)))
    page = visit()
    assert page.text.count("Cause number") == 8
    assert "3 more open incidents" in page.text


def test_an_incident_is_shown_with_its_project_and_not_with_others(visit: Visit, store: Store) -> None:
    one = burnt(store)[0]
    assert f'href="incidents?incident={one.id}&amp;window=24h"' in visit("project", project="legacy").html
    assert f"INC-{one.id}" not in visit("project", project="docs").text


def test_a_project_tells_its_incident_once_and_who_has_taken_it(visit: Visit, store: Store) -> None:
    one = burnt(store)[0]
    page = visit("project", project="legacy")
    assert page.html.count(f'href="incidents?incident={one.id}&amp;window=24h"') == 1
    assert "nobody has taken it yet" in page.text
    put(store, replace(one, acknowledged_at=store.now, acknowledged_by=NASTY))
    page = visit("project", project="legacy")
    assert "has taken it" in page.text
    assert "<img" not in page.html


def test_a_key_is_told_what_its_incident_found(visit: Visit, store: Store) -> None:
    """Not less than the incident knows, and not the same in other words beside it."""
    said = replace(diagnose(FailureKind.AUTH_INVALID_KEY), cause="Ben deleted it.", changed="Key deleted by Ben.")
    one = burnt(store, incident(store, diagnosis=said))[0]
    for page in (visit("keys"), visit("keys", project="legacy", key="backend")):
        assert "Ben deleted it." in page.text
        assert page.html.count("<h3>") == page.html.count('<div class="card"')
        assert page.text.count("OpenAI refuses") == 1
        assert f"INC-{one.id}" in page.text


@pytest.mark.parametrize(
    ("retry_after", "told"), [(3600.0, "OpenAI said to try again in 1 h, about"), (0.001, "that has passed"), (None, "nobody said")]
)
def test_whether_it_passes_by_itself_is_what_openai_said_last(
    visit: Visit, store: Store, retry_after: float | None, told: str
) -> None:
    def limited(target: Target, _: timedelta) -> dict[str, Any]:
        said = {"failure": FailureKind.RATE_TOKENS, "status": 429, "scope": Scope.PROJECT, "retry_after": retry_after}
        return said if target.project == "legacy" and target.model else {}

    store.fill(answer=limited).beat()
    cause = Cause(Scope.PROJECT, Lane.RATE, "legacy")
    one = put(store, incident(store, cause=cause, failure=FailureKind.RATE_TOKENS, severity=Severity.WARNING))[0]
    assert told in visit_one(visit, one).text
    assert told in visit("project", project="legacy").text


def test_red_marks_lead_to_their_evidence(visit: Visit, store: Store) -> None:
    store.fill(answer=burning).beat()
    assert 'href="evidence?project=legacy&amp;lane=auth&amp;window=24h"' in visit().html
    html = visit("project", project="legacy").html
    assert '<a class="lamp failing" href="evidence?project=legacy&amp;lane=auth' in html
    assert 'href="evidence?project=legacy&amp;key=backend&amp;probe=auth&amp;verdict=failed' in html


# --- one incident ----------------------------------------------------------------------------------------------------------


def test_one_incident_tells_cause_next_step_owner_and_who_is_hit(visit: Visit, store: Store) -> None:
    page = visit_one(visit, burnt(store)[0])
    assert "Key “backend” of legacy: key refused" in page.text
    assert "1 project hit since" in page.text
    assert "nobody has taken it yet" in page.text
    assert "See in platform.openai.com" in page.text
    assert "Found after (MTTD) 20 s" in page.text
    assert "search" in page.text
    assert 'href="project?project=legacy' in page.html


def test_of_very_many_who_are_hit_each_is_named(visit: Visit, store: Store) -> None:
    names = tuple(f"p-{number:04}" for number in range(500))
    page = visit_one(visit, burnt(store, incident(store, projects=names))[0])
    assert "500 projects hit since" in page.text
    assert "and 460 more" in page.text
    assert "p-0499" in page.text
    assert page.html.count('href="project?') == 40


def test_frozen_evidence_leads_to_the_raw_answers(visit: Visit, store: Store) -> None:
    page = visit_one(visit, burnt(store)[0])
    assert "Incorrect API key" in page.text
    assert "invalid_api_key" in page.text
    assert 'href="evidence?request_id=req_0' in page.html
    assert page.html.count("Raw answer</a>") == 2


def test_the_timeline_tells_who_did_what(visit: Visit, store: Store) -> None:
    one = burnt(store)[0]
    event = Event(store.now, EventKind.ACKNOWLEDGED, "Acknowledged.", "Ada")
    incidents.update(open_engine(store.url), one.id or 0, event, acknowledged_at=store.now, acknowledged_by="Ada")
    page = visit_one(visit, one)
    assert "Acknowledged Ada Ada: Acknowledged." in page.text
    assert "Ada has taken it" in page.text
    assert "Acknowledge" not in [button.label for button in page.at.button]


def test_many_answers_do_not_bury_what_was_done(visit: Visit, store: Store) -> None:
    (one,) = burnt(store)
    for number in range(30):
        event = Event(store.now - timedelta(minutes=number), EventKind.HEALTH, f"check {number} moved")
        incidents.update(open_engine(store.url), one.id or 0, event)
    page = visit_one(visit, one)
    assert [each.label for each in page.at.expander] == ["With every answer and change of health"]
    table, whole = (each for each in page.html.split("<table") if '<th class="nw">What</th>' in each)
    assert "of legacy: key refused" in table
    assert "moved" not in table
    assert "check 29 moved" in whole
    assert "of legacy: key refused" in whole


def test_messages_and_silences_say_why(visit: Visit, store: Store) -> None:
    one = burnt(store)[0]
    engine, number = open_engine(store.url), one.id or 0
    outbox.enqueue(engine, [NewMessage(number, "slack", NotifyReason.FIRST, "1:0", "legacy: key refused", "…")], store.now)
    outbox.not_sent(engine, [NotSent(number, "pager", NotifyReason.BELOW_SEVERITY, "is told from critical on")], store.now)
    until = store.now + timedelta(hours=1)
    silences.add(engine, Silence(starts=store.now, until=until, by="Grace", text="known", incident_id=number))
    text = visit_one(visit, one).text
    assert "slack ○ waiting legacy: key refused First message" in text
    assert "pager ‖ not sent – Below severity: is told from critical on" in text
    assert f"INC-{number} is silenced until" in text
    assert "by Grace: known" in text


def test_similar_ones_are_found(visit: Visit, store: Store) -> None:
    day = timedelta(days=2)
    facts = {"first_bad_at": store.now - day, "opened_at": store.now - day, "resolved_at": store.now - day + timedelta(hours=1)}
    old, new = burnt(store, incident(store, title="The one before", **facts), incident(store))
    assert "The one before" in visit_one(visit, new).text
    assert "There was none like it." in visit_one(visit, old).text


def test_a_merged_one_leads_to_the_one_that_explains_it(visit: Visit, store: Store) -> None:
    wide = burnt(store)[0]
    small = put(store, incident(store, merged_into=wide.id, resolved_at=store.now))[0]
    page = visit_one(visit, small)
    assert f"explains it, and speaks for it: INC-{wide.id}" in page.text
    assert f'href="incidents?incident={wide.id}' in page.html


@pytest.mark.parametrize("number", ["7", "0", "999999999999999"])
def test_an_incident_that_is_not_there(visit: Visit, store: Store, number: str) -> None:
    store.fill().beat()
    assert f"There is no incident INC-{int(number)}." in visit("incidents", incident=number).text


@pytest.mark.parametrize("number", ["x", "-1", "1e3", "٣", "9" * 40, "<b>"])
def test_a_number_that_is_none_shows_all_of_them(visit: Visit, store: Store, number: str) -> None:
    burnt(store)
    text = visit("incidents", incident=number).text
    assert "There is no incident “" in text
    assert "1 incident is open" in text


def test_texts_from_outside_stay_texts(visit: Visit, store: Store) -> None:
    said = replace(incident(store).diagnosis, summary=NASTY, cause=NASTY, next_step=NASTY, evidence=(NASTY,))
    names = {"projects": (NASTY,), "keys": (f"{NASTY}/x",), "models": (NASTY,), "services": (NASTY,), "owners": (NASTY,)}
    one = burnt(store, incident(store, title=NASTY, diagnosis=said, **names))[0]
    engine, number = open_engine(store.url), one.id or 0
    incidents.update(
        engine, number, Event(store.now, EventKind.COMMENT, NASTY, NASTY), acknowledged_at=store.now, acknowledged_by=NASTY
    )
    outbox.not_sent(engine, [NotSent(number, NASTY, NotifyReason.SILENCED, NASTY)], store.now)
    silences.add(engine, Silence(starts=store.now, until=store.now + timedelta(hours=1), by=NASTY, text=NASTY, incident_id=number))
    for page in (visit_one(visit, one), visit("incidents"), visit()):
        assert "<img" not in page.html
        assert not page.at.markdown
        assert NASTY in page.text or NASTY.replace("`", "") in page.text


# --- what people ask for ---------------------------------------------------------------------------------------------------


def test_an_acknowledgement_is_a_wish_with_a_name(visit: Visit, store: Store) -> None:
    one = burnt(store)[0]
    page = visit_one(visit, one)
    page.at.text_input(key="w.person").input("Ada").run()
    press(page, "Acknowledge")
    wish = asked(store)[0]
    assert (wish.kind, wish.by, wish.incident_id) == ("acknowledge", "Ada", one.id)
    assert "Asked for: acknowledge it, by Ada – carried out within seconds." in page.text


def test_nothing_is_done_without_a_name(visit: Visit, store: Store) -> None:
    page = press(visit_one(visit, burnt(store)[0]), "Acknowledge")
    assert "Say who you are first" in page.text
    assert not asked(store)


def test_a_name_is_asked_once(visit: Visit, store: Store) -> None:
    one = burnt(store)[0]
    page = visit_one(visit, one)
    page.at.text_input(key="w.person").input("Ada").run()
    page.at.query_params.clear()
    page.at.run()
    page.at.query_params["incident"] = str(one.id)
    page.at.run()
    assert page.at.text_input(key="w.person").value == "Ada"
    assert "Ada" not in str(page.at.query_params)


def test_a_comment_reaches_the_service_as_it_was_written(visit: Visit, store: Store) -> None:
    page = visit_one(visit, burnt(store)[0])
    page.at.text_input(key="w.person").input("Ada").run()
    page.at.text_area(key="incident.comment").input("rolled back")
    press(page, "Add to the timeline")
    assert [(wish.kind, wish.text) for wish in asked(store)] == [("comment", "rolled back")]


def test_a_silence_has_an_end(visit: Visit, store: Store) -> None:
    one = burnt(store)[0]
    page = visit_one(visit, one)
    page.at.text_input(key="w.person").input("Ada").run()
    page.at.selectbox(key="incident.silence.length").select("4 hours")
    page.at.text_input(key="incident.silence.why").input("known")
    press(page, "Silence")
    wish = asked(store)[0]
    assert (wish.kind, wish.incident_id, wish.project, wish.text) == ("silence", one.id, None, "known")
    assert wish.until is not None
    assert timedelta(hours=4) - timedelta(minutes=2) < wish.until - store.now < timedelta(hours=4, minutes=2)


def test_a_whole_project_can_be_silenced(visit: Visit, store: Store) -> None:
    page = visit_one(visit, burnt(store)[0])
    page.at.text_input(key="w.person").input("Ada").run()
    page.at.radio(key="incident.silence.what").set_value("Everything of legacy")
    press(page, "Silence")
    assert [(wish.incident_id, wish.project) for wish in asked(store)] == [(None, "legacy")]


def test_a_silence_can_be_ended(visit: Visit, store: Store) -> None:
    burnt(store)
    until = store.now + timedelta(hours=1)
    number = silences.add(open_engine(store.url), Silence(starts=store.now, until=until, by="Grace", project="legacy"))
    page = visit("incidents")
    assert "Project legacy is silenced until" in page.text
    page.at.text_input(key="w.person").input("Ada").run()
    press(page, "End now")
    assert [(wish.kind, wish.silence_id, wish.by) for wish in asked(store)] == [("end_silence", number, "Ada")]


def test_what_was_asked_waits_for_a_poller(visit: Visit, store: Store) -> None:
    store.fill(answer=burning).beat(age=timedelta(minutes=5))
    page = visit_one(visit, put(store, incident(store))[0])
    page.at.text_input(key="w.person").input("Ada").run()
    assert "when the poller runs again" in press(page, "Check now").text


def test_a_closed_one_can_be_commented_and_not_silenced(visit: Visit, store: Store) -> None:
    page = visit_one(visit, burnt(store, incident(store, resolved_at=store.now))[0])
    labels = [button.label for button in page.at.button]
    assert "Add to the timeline" in labels
    assert not {"Acknowledge", "Silence", "Check now"} & set(labels)
    assert "Over since" in page.text


# --- its card on the page of a project -------------------------------------------------------------------------------------


def recovering(target: Target, age: timedelta) -> dict[str, Any]:
    """`legacy` was refused until a moment ago; one good answer does not make it well."""
    return burning(target, age) if age > timedelta() else {}


def test_a_project_tells_what_its_incident_found_also_after_a_good_answer(visit: Visit, store: Store) -> None:
    store.fill(answer=recovering).beat()
    said = replace(incident(store).diagnosis, cause="The key of “batch” is accepted from here, so it is this key.")
    put(store, incident(store, diagnosis=said, models=("gpt-4o",)))
    text = visit("project", project="legacy").text
    assert text.count("so it is this key.") == 1
    assert text.count("OpenAI refuses key “backend”") == 1
    for part in ("INC-1", "Next step", "Who mends it", "31 min", "Raw answers"):
        assert part in text
    assert "so it is this key." not in visit("project", project="batch").text


def test_what_the_incident_does_not_explain_has_a_card_of_its_own(visit: Visit, store: Store) -> None:
    store.fill(answer=burning).beat()
    put(store, incident(store, keys=("legacy/another",)))
    assert visit("project", project="legacy").text.count("OpenAI refuses key “backend”") == 2


# --- moments ---------------------------------------------------------------------------------------------------------------


def test_moments_in_our_words_stand_in_the_readers_zone() -> None:
    now = datetime(2026, 1, 5, 12, 30, tzinfo=UTC)
    said = local("failing since 2026-01-05 11:30:05 UTC, not 2026-99-99 11:30:05 UTC", now, ZoneInfo("Europe/Berlin"))
    assert said == "failing since 12:30:05, not 2026-99-99 11:30:05 UTC"
    assert local("since 2025-12-31 23:30:00 UTC.", now, ZoneInfo("Europe/Berlin")) == "since 1 Jan 00:30:00."


@pytest.mark.parametrize("name", ["project", "keys"])
def test_a_diagnosis_on_a_page_names_no_second_zone(visit: Visit, store: Store, name: str) -> None:
    store.fill(FLEET, burning).beat()
    text = visit(name).text
    assert "failing since" in text
    assert " UTC" not in text.replace("times in UTC", "")


# --- what changed just before ----------------------------------------------------------------------------------------------


def changed(store: Store, one: Incident, **facts: Any) -> Incident:
    """The key was deleted 40 s before, and another was made; as the service does, the diagnosis says so."""
    deleted = ChangeEvent(
        at=one.first_bad_at - timedelta(seconds=40), kind=ChangeKind.KEY_DELETED, source=ChangeSource.AUDIT_LOG,
        text="Key “backend” (sk-…4f2c) was deleted.", project="legacy", key="backend", actor="ben.bauer", dedup="deleted",
    )  # fmt: skip
    made = replace(deleted, kind=ChangeKind.KEY_CREATED, key="spare", text=f"Key “{NASTY}” was created.", actor=NASTY, dedup="made")
    engine = open_engine(store.url)
    changes.record(engine, [replace(deleted, **facts), made])
    said = sharpened(one, ranked(one, changes.find(engine, window_of(one))))
    incidents.update(engine, one.id or 0, Event(store.now, EventKind.CAUSE, "Changed"), diagnosis=said)
    return replace(one, diagnosis=said)


def test_an_incident_tells_what_changed_just_before_best_first(visit: Visit, store: Store) -> None:
    page = visit_one(visit, changed(store, burnt(store)[0]))
    assert "What changed just before" in page.text
    assert "Key “backend” (sk-…4f2c) was deleted by ben.bauer 40 s before the first" in page.text
    assert "A deleted key is refused" in page.text
    assert "explains it" in page.text
    assert "Also changed: 1" in page.text
    assert "Cause, certain" in page.text
    assert "<img src=x" not in page.html


def test_the_overview_and_the_project_tell_it_in_one_line(visit: Visit, store: Store) -> None:
    changed(store, burnt(store)[0])
    assert "Changed just before: Key “backend” (sk-…4f2c) was deleted by ben.bauer" in visit("overview").text
    assert "Key “backend” (sk-…4f2c) was deleted by ben.bauer" in visit("project", project="legacy").text
