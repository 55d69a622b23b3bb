"""Several pollers on one PostgreSQL: real processes that are killed, paused and cut off, and an emulator that counts."""

import contextlib
import signal
import time
from pathlib import Path

import pytest

from monitor.store import incidents
from tests.pollers import Scene, scene, secret_of

postgres = pytest.importorskip("tests.postgres")
postgresql, server = postgres.postgresql, postgres.server

LATE = 1.5
"""Seconds that a busy machine may take for what should be at once."""


def live(seconds: float) -> None:
    """Let the processes live: here time is real."""
    time.sleep(seconds)


def assert_nothing_is_missing(one: Scene, until: float | None = None) -> None:
    """No check was recorded twice in its interval, and no gap is longer than interval and lease."""
    assert len(one.asked()) == one.projects * 2 + 1, one.said()
    assert one.doubled() == 0, one.said()
    assert one.longest_gap(until) < one.interval + one.lease + LATE, one.said()


def test_three_share_the_work_and_two_take_over_from_one_that_is_killed(tmp_path: Path, postgresql: str) -> None:
    with scene(tmp_path, postgresql) as one:
        one.start(3)
        one.wait_for_shares(22, 22, 20)
        live(one.interval)
        one.processes[1].kill()
        killed = time.time()
        one.wait_for_shares(32, 32)
        assert one.machine.lived(killed, time.time()) < one.lease + LATE
        live(one.interval)
        until = time.time()
        one.stop()
        assert_nothing_is_missing(one, until)
        assert one.shares() == {}
        # Each request was recorded, but for those of the last second of the one that died.
        assert 0 <= one.endpoint.requests - one.recorded() <= 2 * len(one.asked())


def test_one_that_was_paused_past_its_lease_neither_checks_nor_records_what_it_lost(tmp_path: Path, postgresql: str) -> None:
    with scene(tmp_path, postgresql) as one:
        one.start(2)
        one.wait_for_shares(32, 32)
        live(one.interval)
        one.processes[0].send_signal(signal.SIGSTOP)
        one.wait_for_shares(64)
        live(one.interval)
        one.processes[0].send_signal(signal.SIGCONT)
        one.wait_for_shares(32, 32)
        live(one.interval)
        until = time.time()
        one.stop()
        assert [process.returncode for process in one.processes] == [0, 0], one.said()
        assert_nothing_is_missing(one, until)


def test_the_checks_go_on_while_the_database_is_away_and_every_answer_is_recorded(tmp_path: Path) -> None:
    own = postgres.server_or_none()
    if own is None:
        pytest.skip(postgres.MISSING)
    with contextlib.closing(own), scene(tmp_path, own.empty()) as one:
        one.start(2)
        one.wait_for_shares(32, 32)
        live(one.interval)
        one.engine.dispose()
        own.stop()
        live(one.lease * 1.5)
        own.start()
        live(one.lease)
        until = time.time()
        one.stop()
        assert [process.returncode for process in one.processes] == [0, 0], one.said()
        assert_nothing_is_missing(one, until)
        assert one.longest_gap(until) < one.interval + LATE, one.said()
        assert one.endpoint.requests == one.recorded()


def test_one_incident_is_told_once_whoever_sees_it_and_whoever_leads(tmp_path: Path, postgresql: str) -> None:
    with scene(tmp_path, postgresql, interval=2) as one:
        one.start(2)
        one.wait_for_shares(32, 32)
        live(one.interval)
        one.endpoint.world.trouble("auth.invalid_key", project="proj_3")
        one.endpoint.world.trouble("auth.invalid_key", project="proj_5")
        one.wait(lambda: len(one.endpoint.messages) >= 2)
        leader = next(at for at, share in one.shares().items() if share.leads)
        one.processes[leader].kill()
        one.wait_for_shares(64)
        live(one.interval * 2)
        found = incidents.open_ones(one.engine)
        one.stop()
        assert sorted(name for each in found for name in each.projects) == ["p3", "p5"], one.said()
        assert len(incidents.find(one.engine)) == len(found) == 2, one.said()
        assert len(one.endpoint.messages) == 2
        assert secret_of(3).encode() not in b"".join(one.endpoint.messages)
