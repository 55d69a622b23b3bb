"""A poller that is killed at any moment loses nothing it said was stored."""

import random
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from monitor.store import maintenance, tables
from monitor.store.engine import open_engine, reading
from monitor.store.record import Writer
from tests.store.helpers import START, new_store, span, sqlite_url, story

BATCH = 40

RECORD_FOR_EVER = f"""
import sys
from tests.store.helpers import *
writer = Writer(open_engine(sys.argv[1]))
batch = int(sys.argv[2])
while True:
    start = START + batch * {BATCH} * span("1s")
    writer.record(story("ok*30 401 401 429 500 ? ok*5", every="1s", start=start, body="b" * 300), start)
    print(batch, flush=True)
    batch += 1
"""


def killed_while_recording(url: str, first: int, after: float) -> int:
    """Let a process record from batch `first` on and kill it `after` seconds from its first commit; how many batches it told of."""
    with subprocess.Popen([sys.executable, "-c", RECORD_FOR_EVER, url, str(first)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        told = child.stdout.readline()
        until = time.monotonic() + after
        while (left := until - time.monotonic()) > 0 and select.select([child.stdout], [], [], left)[0]:
            told += child.stdout.readline()
        child.send_signal(signal.SIGKILL)
        told += child.stdout.read()
        assert child.wait(180) == -signal.SIGKILL
    # The last line may be cut short: only a whole one was said.
    return told.count(b"\n")


@pytest.mark.parametrize("seed", range(3))
def test_a_killed_poller_lost_nothing_that_it_reported(tmp_path: Path, seed: int) -> None:
    url = sqlite_url(tmp_path / "monitor.db")
    new_store(url)[0].dispose()
    chance = random.Random(seed)
    batches = 0
    for _ in range(2):
        batches += killed_while_recording(url, batches, chance.uniform(0, 0.15))
        engine = open_engine(url)
        at = tables.observations.c.at
        with reading(engine) as connection:
            stored = list(connection.execute(sa.select(at).order_by(at)).scalars())
        assert len(stored) % BATCH == 0  # all of a batch, or nothing of it
        assert len(stored) // BATCH in (batches, batches + 1)  # the last one may be stored though nobody was told
        assert [moment - stored[0] for moment in stored] == [1000 * number for number in range(len(stored))]
        assert maintenance.check(engine) == []
        batches = len(stored) // BATCH
        engine.dispose()


def test_the_next_poller_goes_on_where_the_killed_one_stopped(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "monitor.db")
    new_store(url)[0].dispose()
    batches = killed_while_recording(url, 0, 0.05)
    engine = open_engine(url)
    writer = Writer(engine)
    (known,) = writer.states().values()
    assert known.last_at is not None
    assert known.last_at >= START + (batches * BATCH - 1) * span("1s")
    (done,) = writer.record(story("ok", start=known.last_at + span("1s")), START)
    assert done.state == Writer(open_engine(url)).states()[done.observation.target]
    assert maintenance.check(engine) == []
    engine.dispose()
