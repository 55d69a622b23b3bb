"""One of three pollers is killed: how long its share stands still, what is lost and what is done twice."""

import contextlib
import tempfile
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from tests.pollers import scene

PROJECTS = 60
INTERVAL = 5.0
LEASE = 15.0


def figures() -> Iterator[dict[str, object]]:
    """Seconds from the kill until the others hold everything; the longest gap of a target, of interval and lease together; checks
    that were recorded twice in an interval, and requests of the living that were not recorded.
    """
    from tests.postgres import server_or_none

    server = server_or_none()
    if server is None:
        return
    folder = tempfile.TemporaryDirectory()
    with contextlib.closing(server), folder as name, scene(Path(name), server.empty(), PROJECTS, INTERVAL, LEASE) as one:
        one.start(3)
        one.wait_for_shares(22, 22, 20)
        time.sleep(2 * INTERVAL)
        one.processes[2].kill()
        began = time.monotonic()
        one.wait_for_shares(32, 32)
        taken = time.monotonic() - began
        time.sleep(2 * INTERVAL)
        until = time.time()
        one.stop()
        about = {"projects": PROJECTS, "interval": INTERVAL, "lease": LEASE}
        yield {"figure": "takeover_seconds", "value": round(taken, 1), "goal": LEASE, **about}
        yield {"figure": "longest_gap_seconds", "value": round(one.longest_gap(until), 1), "goal": INTERVAL + LEASE}
        gaps = [later - earlier for times in one.asked().values() for earlier, later in pairwise([*times, until])]
        yield {"figure": "lost_checks", "value": sum(gap > INTERVAL + LEASE for gap in gaps), "goal": 0}
        yield {"figure": "doubled_checks", "value": one.doubled(), "goal": 0, "checks": one.recorded()}
        yield {"figure": "targets_never_asked", "value": 2 * PROJECTS + 1 - len(one.asked()), "goal": 0}
        lost = one.endpoint.requests - one.recorded()
        yield {"figure": "answers_that_died_with_the_poller", "value": lost, "checks": one.recorded()}
