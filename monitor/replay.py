"""Stored observations read again under another policy: what would have changed, and what would have been told."""

from collections.abc import Collection, Iterator, Mapping
from datetime import timedelta

from monitor.domain.health import HealthPolicy
from monitor.domain.replay import DEFAULT, Again, Replay, Step, moment, replay
from monitor.domain.timeline import Window
from monitor.store.engine import Engine
from monitor.store.replay import fleet, stored

LEAD = timedelta(hours=1)
"""Read before the window, so that what was ill already is no news in it."""


def run(
    engine: Engine,
    window: Window,
    policy: HealthPolicy = DEFAULT,
    policies: Mapping[str, HealthPolicy] | None = None,
    projects: Collection[str] | None = None,
) -> Iterator[Step]:
    """Every change of a target's health and of an incident in the window, in the order of time, as `policy` would have had it.

    `policies` are those of projects that judge differently; `projects` are those to read, None is all. One project alone cannot
    tell its own trouble from everybody's. Raises `StoreError`.
    """
    again = Again(policy, fleet(engine), policies)
    for seen in stored(engine, _led(window), projects):
        yield from (step for step in again.take(seen) if moment(step) >= window.start)
    yield from (step for step in again.finish() if moment(step) >= window.start)


def result(
    engine: Engine,
    window: Window,
    policy: HealthPolicy = DEFAULT,
    policies: Mapping[str, HealthPolicy] | None = None,
    projects: Collection[str] | None = None,
) -> Replay:
    """All of it together: the transitions of the window, and the incidents that went on in it. Raises `StoreError`."""
    return replay(stored(engine, _led(window), projects), policy, fleet(engine), policies, since=window.start)


def _led(window: Window) -> Window:
    return Window(window.start - LEAD, window.end)
