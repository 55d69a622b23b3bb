"""What people ask for on pages, and the silences that come of it."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from monitor.domain.alerting import Silence
from monitor.domain.taxonomy import Lane
from monitor.store import incidents, intents, queries, silences
from monitor.store.engine import Problem, StoreError
from monitor.store.intents import Intent, Kind
from tests.store.conftest import Store
from tests.store.helpers import START, incident, opened, span, sqlite_url

COMMENT = Intent(kind="comment", by="ada", at=START, incident_id=1, text="It was the deploy.")
QUIET = Silence(starts=START, until=START + span("1h"), by="ada", text="deploy", project="checkout")
HOSTILE = ["", "\0", "\ud800 half", "'; DROP TABLE intents; --", "é" * 10_000, "%s {0} \\"]

# --- intents -------------------------------------------------------------------------------------------------------------


def test_a_wish_is_taken_as_it_was_said_and_once(store: Store) -> None:
    told = [
        COMMENT,
        Intent(kind="silence", by="bob", at=START, project="checkout", until=START + span("1h"), text="deploy"),
        Intent(kind="end_silence", by="bob", at=START, silence_id=3),
        Intent(kind="probe_now", by="eve", at=START, project="search"),
    ]
    told = [replace(each, id=intents.submit(store.url, each)) for each in told]
    assert queries.waiting_intents(store.pages) == told
    assert intents.carry_out(store.engine, START) == told
    assert intents.carry_out(store.engine, START) == queries.waiting_intents(store.pages) == []


def test_pages_see_that_a_wish_was_left_and_taken(store: Store) -> None:
    seen = [queries.data_version(store.pages)]
    intents.submit(store.url, COMMENT)
    seen.append(queries.data_version(store.pages))
    intents.carry_out(store.engine, START)
    seen.append(queries.data_version(store.pages))
    assert seen == sorted(set(seen))


def test_a_wish_makes_no_database(tmp_path: Path) -> None:
    with pytest.raises(StoreError) as caught:
        intents.submit(sqlite_url(tmp_path / "absent" / "monitor.db"), COMMENT)
    assert caught.value.problem is Problem.MISSING
    assert list(tmp_path.iterdir()) == []


def test_a_wish_for_an_older_database_says_what_to_do(store: Store) -> None:
    with store.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE intents RENAME TO gone")
    with pytest.raises(StoreError, match="db upgrade"):
        intents.submit(store.url, COMMENT)


@pytest.mark.parametrize("text", HOSTILE)
def test_any_text_may_be_wished(store: Store, text: str) -> None:
    intents.submit(store.url, replace(COMMENT, by=text, text=text, project=text))
    assert len(intents.carry_out(store.engine, START)) == 1


@pytest.mark.parametrize("number", [-1, 0, 2**63, 2**70])
def test_a_number_that_no_row_has_names_none(store: Store, number: int) -> None:
    intents.submit(store.url, replace(COMMENT, incident_id=number, silence_id=number))
    (taken,) = intents.carry_out(store.engine, START)
    assert (taken.incident_id, taken.silence_id) == (0, 0)


def test_a_secret_in_a_comment_is_not_stored(store: Store) -> None:
    intents.submit(store.url, replace(COMMENT, text="try sk-proj-TEST-000-notakey-abcdefgh"))
    assert "notakey" not in str(queries.waiting_intents(store.pages))


@pytest.mark.parametrize("kind", ["acknowledge", "comment", "silence"])
def test_a_wish_that_could_not_be_carried_out_waits_and_is_carried_out_once(store: Store, kind: Kind) -> None:
    (one,) = opened(store.engine, incident())
    wish = Intent(kind=kind, by="ada", at=START, incident_id=one.id, text="mine", until=START + span("1h"))
    intents.submit(store.url, wish)
    with store.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE incident_events RENAME TO away")
    with pytest.raises(StoreError):
        intents.carry_out(store.engine, START)
    with store.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE away RENAME TO incident_events")
    assert [each.kind for each in queries.waiting_intents(store.pages)] == [kind]
    assert silences.all_(store.pages) == []
    assert [len(intents.carry_out(store.engine, START)) for _ in range(2)] == [1, 0]
    kept = incidents.record(store.pages, one.id or 0)
    assert kept is not None
    assert sum(event.by == "ada" for event in kept.events) == 1
    assert (kept.incident.acknowledged_by == "ada", len(silences.all_(store.pages))) == (kind == "acknowledge", kind == "silence")


@pytest.mark.parametrize("text", HOSTILE)
def test_any_text_is_carried_out(store: Store, text: str) -> None:
    (one,) = opened(store.engine, incident())
    kinds: tuple[Kind, ...] = ("acknowledge", "comment", "silence")
    for kind in kinds:
        intents.submit(store.url, Intent(kind=kind, by=text, at=START, incident_id=one.id, text=text, until=START + span("1h")))
    assert len(intents.carry_out(store.engine, START)) == 3
    kept = incidents.record(store.pages, one.id or 0)
    assert kept is not None
    assert {"acknowledged", "comment", "silenced"} <= {event.kind.value for event in kept.events}


def test_no_secret_of_a_wish_is_stored(store: Store) -> None:
    secret = "sk-proj-TEST-000-notakey-abcdefgh"
    (one,) = opened(store.engine, incident())
    for kind in ("acknowledge", "comment", "silence", "end_silence"):
        wish = Intent(kind=kind, by=secret, at=START, incident_id=one.id, silence_id=1, text=secret, until=START + span("1h"))
        intents.submit(store.url, wish)
    intents.carry_out(store.engine, START)
    found = [incidents.record(store.pages, one.id or 0), incidents.find(store.pages), silences.all_(store.pages)]
    assert "…efgh" in str(found)
    assert "notakey" not in str(found)


TAKE = """
import sys
from monitor.store import intents
from monitor.store.engine import open_engine
from tests.store.helpers import START
engine = open_engine(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
print(*(intent.id for intent in intents.carry_out(engine, START)))
"""


def test_two_services_never_take_the_same_wish(store: Store) -> None:
    told = [intents.submit(store.url, COMMENT) for _ in range(10)]
    services = [
        subprocess.Popen([sys.executable, "-c", TAKE, store.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for service in services:
        assert service.stdout is not None
        assert service.stdout.readline() == "ready\n"
    for service in services:
        assert service.stdin is not None
        service.stdin.write("go\n")
        service.stdin.flush()
    taken = [int(number) for service in services for number in service.communicate(timeout=180)[0].split()]
    assert sorted(taken) == told


# --- silences ------------------------------------------------------------------------------------------------------------


def test_a_silence_comes_back_as_it_was_said(store: Store) -> None:
    full = replace(QUIET, owner="team-a", environment="production", lane=Lane.RATE, incident_id=7)
    number = silences.add(store.engine, full)
    assert silences.active(store.pages, START) == [replace(full, id=number)]


def test_a_silence_is_in_force_from_its_start_until_its_end(store: Store) -> None:
    silences.add(store.engine, QUIET)
    moments = ("-1ms", "0ms", "59m", "1h")
    at = [START - span("1ms"), START, START + span("59m"), START + span("1h")]
    found = [bool(queries.active_silences(store.pages, moment)) for moment in at]
    assert dict(zip(moments, found, strict=True)) == {"-1ms": False, "0ms": True, "59m": True, "1h": False}


def test_a_silence_that_is_ended_says_who_did(store: Store) -> None:
    number = silences.add(store.engine, QUIET)
    at = START + span("10m")
    assert silences.end(store.engine, number, at, "bob")
    assert not silences.end(store.engine, number, at + span("1m"), "eve")
    assert silences.active(store.pages, at) == []
    assert silences.all_(store.pages) == [replace(QUIET, id=number, ended_at=at, ended_by="bob")]


@pytest.mark.parametrize("number", [-1, 0, 99, 2**70])
def test_what_is_not_there_or_over_cannot_be_ended(store: Store, number: int) -> None:
    over = silences.add(store.engine, QUIET)
    assert not silences.end(store.engine, number, START, "bob")
    assert not silences.end(store.engine, over, START + span("2h"), "bob")


def test_every_silence_ever_newest_first(store: Store) -> None:
    told = [silences.add(store.engine, QUIET) for _ in range(3)]
    assert [each.id for each in queries.silences(store.pages)] == told[::-1]
    assert [each.id for each in queries.silences(store.pages, 1)] == told[-1:]


def test_a_silence_needs_an_end_after_its_start(store: Store) -> None:
    with pytest.raises(ValueError, match="ends after it starts"):
        silences.add(store.engine, replace(QUIET, until=START))


@pytest.mark.parametrize("text", HOSTILE)
def test_any_text_may_explain_a_silence(store: Store, text: str) -> None:
    number = silences.add(store.engine, replace(QUIET, by=text, text=text, project=text, owner=text))
    assert silences.end(store.engine, number, START, text)
    assert len(silences.all_(store.pages)) == 1
