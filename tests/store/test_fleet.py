"""The fleet as it is asked of the database is the one that folding every target gives."""

import tempfile
from collections import defaultdict
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.domain.health import Health, TargetHealth, lamps, overall
from monitor.domain.inventory import Check, Inventory, ProbeKind, Target
from monitor.domain.observation import Observation
from monitor.domain.timeline import EPOCH, Window
from monitor.store import queries
from monitor.store.status import ProjectStatus, TargetStatus
from tests.store.conftest import Store
from tests.store.helpers import START, answer, inventory, new_store, project, span, sqlite_url

WORDS = ("ok", "ok", "ok", "401", "403", "429", "tokens", "quota", "scope", "500", "timeout", "?", "found")
PROJECTS = ("a", "b", "c")
MODELS = ("gpt-4o", "o3")
INTERVALS = (timedelta(seconds=20), timedelta(minutes=1), timedelta(minutes=5))


def targets_of(name: str) -> list[Target]:
    """What is checked of one project."""
    made = [Target(ProbeKind.AUTH, name, "k")]
    for probe in (ProbeKind.MODEL_ACCESS, ProbeKind.INFERENCE):
        made += [Target(probe, name, "k", model) for model in MODELS]
    return [*made, Target(ProbeKind.DENIED_MODEL, name, "k", "gpt-5-pro")]


TARGETS = [target for name in PROJECTS for target in targets_of(name)] + [
    Target(ProbeKind.CONTROL, host="https://api.openai.com/v1")
]


def told(target: Target, word: str, at: datetime) -> Observation:
    """One answer; only a model that must be refused can be found usable."""
    if word == "found":
        return answer("ok", target, at, finding="denied_model_usable" if target.probe is ProbeKind.DENIED_MODEL else None)
    return answer(word, target, at)


def slowly(found: list[TargetStatus]) -> dict[str, tuple[object, ...]]:
    """Health, since, lamps, worst, targets and newest answer of each project, folded one target at a time."""
    checks: dict[str, list[TargetStatus]] = defaultdict(list)
    for status in sorted(found, key=lambda status: status.id):
        if status.target.project:
            checks[status.target.project].append(status)
    return {name: _folded(mine) for name, mine in checks.items()}


def _folded(mine: list[TargetStatus]) -> tuple[object, ...]:
    lanes = lamps(TargetHealth(one.target.probe, one.health, one.failure, one.since) for one in mine)
    health = overall(lanes.values())
    if health.health is Health.HEALTHY:
        causes = [one for one in mine if one.suspect]
    else:
        causes = [one for one in mine if (one.health, one.failure) == (health.health, health.failure)] or mine
    order = sorted(causes, key=lambda one: (-one.health.rank, one.since is None, one.since or EPOCH))
    newest = max((one.last_at for one in mine if one.last_at), default=None)
    return health.health, health.since, lanes, order[0] if order else None, len(mine), newest


def asked(status: ProjectStatus) -> tuple[object, ...]:
    """The same of a project as the pages get it."""
    return status.health, status.since, status.lamps, status.worst, status.targets, status.last_at


STORIES = st.lists(
    st.tuples(st.sampled_from(TARGETS), st.lists(st.sampled_from(WORDS), min_size=1, max_size=5)), max_size=len(TARGETS)
)
LATER = ("0s", "59999ms", "60s", "60001ms", "89999ms", "90s", "90001ms", "3m", "15m", "900001ms", "1h")


@settings(max_examples=40, deadline=None)
@given(
    stories=STORIES,
    every=st.lists(st.sampled_from(INTERVALS), min_size=len(TARGETS), max_size=len(TARGETS)),
    later=st.sampled_from(LATER),
    behind=st.sampled_from([-1, 0, 1]),
)
def test_the_fleet_is_what_folding_every_target_gives(
    stories: list[tuple[Target, list[str]]], every: list[timedelta], later: str, behind: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        engine, writer = new_store(sqlite_url(Path(folder) / "any.db"))
        checks = tuple(Check(target, interval) for target, interval in zip(TARGETS, every, strict=True))
        writer.sync_inventory(Inventory(tuple(project(name) for name in PROJECTS), checks), START)
        said = [
            told(target, word, START - (len(words) - 1 - number) * span("10s"))
            for target, words in dict(stories).items()
            for number, word in enumerate(words)
        ]
        writer.record(said, START)
        now = START + span(later) + timedelta(microseconds=behind)
        expected = slowly(queries.targets(engine, now))
        assert {one.name: asked(one) for one in queries.fleet(engine, now)} == expected
        assert [one and asked(one) for one in (queries.project(engine, name, now) for name in PROJECTS)] == [
            expected[name] for name in PROJECTS
        ]
        engine.dispose()


def test_strips_of_some_are_those_of_all(store: Store) -> None:
    names = [f"p-{number}" for number in range(5)]
    known = inventory(*names)
    store.writer.sync_inventory(known, START)
    for hour in range(30):
        at = START - hour * span("47m")
        words = ("ok", "401", "429", "?")
        told_then = [answer(words[(place + hour) % 4], check.target, at) for place, check in enumerate(known.checks)]
        store.writer.record(told_then, at)
    for length, cells in (("1d", 48), ("1d", 96), ("6h", 48), ("40m", 8), ("7d", 48), ("30d", 48)):
        window = Window(START - span(length) + span("11m"), START + span("1m"))
        everybody = queries.strips(store.pages, window, cells)
        some = queries.strips(store.pages, window, cells, ["p-1", "p-3", "nobody"])
        wanted = everybody[everybody["project"].isin(["p-1", "p-3"])].reset_index(drop=True)
        assert len(wanted)
        pd.testing.assert_frame_equal(some, wanted)
    assert queries.strips(store.pages, window, 48, []).empty
