"""The outbox: a channel gets a message once, from one worker, whatever dies in between; and what was decided can be read."""

import re
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import datetime

import pytest

from monitor.domain.alerting import NotifyReason
from monitor.domain.incidents import Severity
from monitor.domain.taxonomy import Scope
from monitor.store import outbox, queries
from monitor.store.outbox import LEASE, Delivery, DeliveryState, NewMessage, NotSent
from tests.store.conftest import Store
from tests.store.helpers import START, span

FIRST = NewMessage(1, "team-a", NotifyReason.FIRST, "first", "INC-1", "Key refused.")


def enqueue(store: Store, *messages: NewMessage, at: datetime = START) -> int:
    return outbox.enqueue(store.engine, messages, at)


def claim(store: Store, at: datetime = START, worker: str = "a", limit: int = 20) -> list[Delivery]:
    return outbox.claim(store.engine, worker, at, limit)


def states(store: Store) -> list[DeliveryState]:
    return [row.state for row in outbox.log(store.pages)]


# --- once ----------------------------------------------------------------------------------------------------------------


def test_a_message_is_claimed_as_it_was_written(store: Store) -> None:
    assert enqueue(store, FIRST) == 1
    (got,) = claim(store)
    assert (got.incident_id, got.channel, got.reason, got.subject, got.body, got.attempts, got.at) == (
        1, "team-a", NotifyReason.FIRST, "INC-1", "Key refused.", 1, START,
    )  # fmt: skip


def test_a_channel_takes_one_message_of_a_key(store: Store) -> None:
    other_channel, other_key = replace(FIRST, channel="team-b"), replace(FIRST, dedup_key="worsened")
    assert enqueue(store, FIRST, replace(FIRST, subject="again"), other_channel, other_key) == 3
    assert enqueue(store, FIRST, at=START + span("9d")) == 0
    assert [got.subject for got in claim(store)] == ["INC-1"] * 3


def test_one_that_was_delivered_is_not_taken_again(store: Store) -> None:
    enqueue(store, FIRST)
    outbox.delivered(store.engine, claim(store)[0].id, START)
    assert enqueue(store, FIRST, at=START + span("1d")) == 0
    assert claim(store, START + span("9d")) == []


def test_no_message_is_no_trouble(store: Store) -> None:
    assert enqueue(store) == 0
    assert claim(store) == outbox.log(store.pages) == []


def test_the_oldest_come_first_and_no_more_than_asked(store: Store) -> None:
    for number in range(5):
        enqueue(store, replace(FIRST, dedup_key=str(number), subject=str(number)), at=START + (number % 3) * span("1s"))
    later = START + span("5s")
    assert [got.subject for got in claim(store, later, limit=3)] == ["0", "3", "1"]
    assert [got.subject for got in claim(store, later)] == ["4", "2"]


# --- leases, retries -----------------------------------------------------------------------------------------------------


def test_a_claimed_message_is_nobody_elses_until_the_lease_ends(store: Store) -> None:
    enqueue(store, FIRST)
    claim(store, worker="a")
    assert claim(store, START + LEASE - span("1ms"), worker="b") == []
    (got,) = claim(store, START + LEASE, worker="b")
    assert got.attempts == 2


def test_a_failure_is_tried_again_when_it_is_time(store: Store) -> None:
    enqueue(store, FIRST)
    (got,) = claim(store)
    outbox.failed(store.engine, got.id, START, "503 from the channel", START + span("5m"))
    assert claim(store, START + span("4m")) == []
    (again,) = claim(store, START + span("5m"))
    assert again.attempts == 2
    (row,) = outbox.log(store.pages)
    assert (row.state, row.text) == (DeliveryState.WAITING, "503 from the channel")


def test_a_message_that_is_given_up_stays_in_the_log(store: Store) -> None:
    enqueue(store, FIRST)
    outbox.failed(store.engine, claim(store)[0].id, START + span("1d"), "no such channel", None)
    (row,) = outbox.log(store.pages)
    assert (row.state, row.text, row.finished_at, row.due_at) == (
        DeliveryState.FAILED, "no such channel", START + span("1d"), None,
    )  # fmt: skip
    assert claim(store, START + span("9d")) == []


def test_what_was_delivered_stays_delivered(store: Store) -> None:
    enqueue(store, FIRST)
    (slow,) = claim(store)
    (quick,) = claim(store, START + LEASE, worker="b")
    outbox.delivered(store.engine, quick.id, START + LEASE)
    outbox.failed(store.engine, slow.id, START + 2 * LEASE, "too late", START + 3 * LEASE)
    outbox.failed(store.engine, slow.id, START + 2 * LEASE, "too late", None)
    outbox.delivered(store.engine, slow.id, START + 3 * LEASE)
    (row,) = outbox.log(store.pages)
    assert (row.state, row.finished_at, row.text) == (DeliveryState.DELIVERED, START + LEASE, None)


def test_one_given_up_that_arrived_all_the_same_was_delivered(store: Store) -> None:
    enqueue(store, FIRST)
    (got,) = claim(store)
    outbox.failed(store.engine, got.id, START, "gave up", None)
    outbox.delivered(store.engine, got.id, START)
    assert states(store) == [DeliveryState.DELIVERED]


@pytest.mark.parametrize("number", [0, -1, 99, 2**70])
def test_a_message_that_is_not_there_changes_nothing(store: Store, number: int) -> None:
    enqueue(store, FIRST)
    outbox.delivered(store.engine, number, START)
    outbox.failed(store.engine, number, START, "no", None)
    assert states(store) == [DeliveryState.WAITING]


# --- the log -------------------------------------------------------------------------------------------------------------


def test_a_reason_for_silence_is_noted_once_until_something_else_happens(store: Store) -> None:
    quiet = NotSent(1, "team-a", NotifyReason.TOO_SOON, "It waits for 15 s.")
    acknowledged = replace(quiet, reason=NotifyReason.ACKNOWLEDGED, why="Ada has it.")
    assert outbox.not_sent(store.engine, [quiet, replace(quiet, channel="team-b"), quiet], START) == 2
    assert outbox.not_sent(store.engine, [quiet], START + span("1s")) == 0
    enqueue(store, FIRST)
    assert outbox.not_sent(store.engine, [acknowledged], START) == 1
    assert outbox.not_sent(store.engine, [acknowledged], START) == 0
    assert outbox.not_sent(store.engine, [quiet], START) == 1
    assert outbox.not_sent(store.engine, [], START) == 0
    told = [(row.channel, row.reason, row.state.value, row.text) for row in outbox.log(store.pages, 1)]
    assert told == [
        ("team-a", NotifyReason.TOO_SOON, "not_sent", "It waits for 15 s."),
        ("team-a", NotifyReason.ACKNOWLEDGED, "not_sent", "Ada has it."),
        ("team-a", NotifyReason.FIRST, "waiting", None),
        ("team-b", NotifyReason.TOO_SOON, "not_sent", "It waits for 15 s."),
        ("team-a", NotifyReason.TOO_SOON, "not_sent", "It waits for 15 s."),
    ]
    assert len(claim(store)) == 1  # what was not to be sent is not


def test_the_log_is_of_one_incident_or_of_all_newest_first(store: Store) -> None:
    enqueue(store, FIRST, replace(FIRST, incident_id=2, dedup_key="b"), replace(FIRST, incident_id=None, dedup_key="digest"))
    assert [row.incident_id for row in queries.deliveries(store.pages)] == [None, 2, 1]
    assert [row.incident_id for row in queries.deliveries(store.pages, 2)] == [2]
    assert [row.incident_id for row in queries.deliveries(store.pages, limit=1)] == [None]


def test_what_a_channel_was_told_of_an_incident(store: Store) -> None:
    worse = replace(FIRST, reason=NotifyReason.WORSENED, dedup_key="w", severity=Severity.CRITICAL, scope=Scope.OPENAI)
    enqueue(store, FIRST, worse, replace(FIRST, incident_id=2, dedup_key="x"), replace(FIRST, channel="team-b"))
    outbox.not_sent(store.engine, [NotSent(1, "team-a", NotifyReason.ALREADY_SENT, "Said.")], START)
    told = outbox.last_sent(store.pages, 1, "team-a")
    assert [(row.reason, row.severity, row.scope, row.at) for row in told] == [
        (NotifyReason.FIRST, None, None, START),
        (NotifyReason.WORSENED, Severity.CRITICAL, Scope.OPENAI, START),
    ]


@pytest.mark.parametrize("text", ["", "\0", "\ud800 half", "'; DROP TABLE outbox; --", "é" * 100_000, "%s {0} \\"])
def test_any_text_is_stored_and_sent(store: Store, text: str) -> None:
    enqueue(store, NewMessage(1, text, NotifyReason.FIRST, text, text, text))
    (got,) = claim(store, worker=text)
    outbox.failed(store.engine, got.id, START, text, None)
    outbox.not_sent(store.engine, [NotSent(1, text, NotifyReason.SILENCED, text)] * 2, START)
    assert len(outbox.log(store.pages)) == 2
    assert len(outbox.last_sent(store.pages, 1, text)) == 1


def test_no_secret_reaches_a_message_or_its_error(store: Store) -> None:
    secret = "sk-proj-TEST-000-notakey-abcdefgh"
    enqueue(store, replace(FIRST, subject=secret, body=secret))
    (got,) = claim(store)
    outbox.failed(store.engine, got.id, START, f"the channel said {secret}", None)
    assert "notakey" not in str((got, outbox.log(store.pages)))


# --- processes -----------------------------------------------------------------------------------------------------------

CLAIM_ALL = """
import sys
from monitor.store import outbox
from monitor.store.engine import open_engine
from tests.store.helpers import START
engine = open_engine(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
while got := outbox.claim(engine, sys.argv[2], START, limit=3):
    for each in got:
        print(each.id, flush=True)
        outbox.delivered(engine, each.id, START)
print("done", flush=True)
"""


def test_two_workers_never_get_the_same_message(store: Store) -> None:
    enqueue(store, *(replace(FIRST, dedup_key=str(number)) for number in range(120)))
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", CLAIM_ALL, store.url, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for name in "ab"
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    told = [worker.communicate(timeout=180)[0].split() for worker in workers]
    assert [lines[-1] for lines in told] == ["done", "done"]
    got = [number for lines in told for number in lines[:-1]]
    assert sorted(map(int, got)) == sorted(row.id for row in outbox.log(store.pages))
    assert set(states(store)) == {DeliveryState.DELIVERED}


DIE_HOLDING = CLAIM_ALL.replace("outbox.delivered(engine, each.id, START)", "sys.stdin.readline()")


def test_what_a_killed_worker_held_is_sent_by_the_next_when_its_lease_ends(store: Store) -> None:
    assert DIE_HOLDING != CLAIM_ALL
    enqueue(store, *(replace(FIRST, dedup_key=str(number)) for number in range(4)))
    with subprocess.Popen(
        [sys.executable, "-c", DIE_HOLDING, store.url, "a"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
        assert worker.stdout.readline() == "ready\n"
        assert int(worker.stdout.readline()) > 0  # it holds three
        worker.send_signal(signal.SIGKILL)
        assert worker.wait(10) == -signal.SIGKILL
    assert len(claim(store, START, worker="b")) == 1  # the one that it had not claimed
    after = claim(store, START + LEASE, worker="b")
    assert sorted(got.attempts for got in after) == [2, 2, 2, 2]


def test_an_error_of_any_length_leaves_the_rest_readable(store: Store) -> None:
    enqueue(store, FIRST)
    outbox.failed(store.engine, claim(store)[0].id, START, "x" * 10**6, None)
    (row,) = outbox.log(store.pages)
    assert re.fullmatch("x{4096}", row.text or "")
