"""Judging 2,000 projects with two keys each, an organization's record of all of them and three months of usage."""

import statistics
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from monitor.domain.coverage import KeyMatch, Matched
from monitor.domain.hygiene import HygienePolicy
from monitor.domain.inventory import ApiKey, Check, Fingerprint, Inventory, KeyKind, ProbeKind, Project, Target
from monitor.domain.observation import Observation, Verdict
from monitor.domain.organization import Item, ItemKind, UsageRow
from monitor.store import queries, scores
from monitor.store.engine import open_engine
from monitor.store.migrate import migrate
from monitor.store.organization import DAYS, OrganizationWriter
from monitor.store.record import Writer

PROJECTS, KEYS, LIMITED, USED_DAYS = 2_000, 2, 20, 90
NOW = datetime(2026, 11, 20, tzinfo=UTC)
ROUNDS = 5


def figures() -> Iterator[dict[str, object]]:
    """How long judging takes, and storing what changed."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'monitor.db'}"
        engine = open_engine(url)
        migrate(engine)
        fleet = _configure(Writer(engine))
        _record(OrganizationWriter(engine, "acme", NOW), fleet)
        facts = {"projects": PROJECTS, "keys": PROJECTS * KEYS}
        times = []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            found = queries.hygiene(engine, NOW, HygienePolicy())
            times.append(time.perf_counter() - began)
        first, median = (round(seconds * 1000, 1) for seconds in (times[0], statistics.median(times)))
        yield {"figure": "hygiene_ms", "value": median, "first": first, **facts}
        for name, at in (("scores_first_ms", NOW), ("scores_unchanged_ms", NOW + timedelta(hours=1))):
            began = time.perf_counter()
            scores.record(engine, at, found.scores())
            yield {"figure": name, "value": round((time.perf_counter() - began) * 1000, 1), **facts}
        engine.dispose()


def _configure(writer: Writer) -> tuple[Project, ...]:
    projects, checks = [], []
    for number in range(PROJECTS):
        name = f"project-{number:04}"
        kinds = (KeyKind.SERVICE_ACCOUNT, KeyKind.PROJECT_USER)
        keys = tuple(
            ApiKey(f"key{place}", f"env:KEY_{number}_{place}", kinds[place], Fingerprint(f"{number * 2 + place:016x}…{number:04}"))
            for place in range(KEYS)
        )
        projects.append(
            Project(name, f"proj_{number}", environment="production", owner=f"team-{number % 40}", services=("api",), keys=keys)
        )
        checks += [Check(Target(ProbeKind.AUTH, name, key.label), timedelta(minutes=1)) for key in keys]
    writer.sync_inventory(Inventory(tuple(projects), tuple(checks)), NOW - timedelta(days=100))
    writer.record([Observation(check.target, NOW, Verdict.OK, 100.0, status=200) for check in checks], NOW)
    return tuple(projects)


def _record(writer: OrganizationWriter, fleet: tuple[Project, ...]) -> None:
    def save(kind: ItemKind, project: str | None, items: list[Item]) -> None:
        writer.save(kind, project, NOW, items, lambda *_: ())

    created = int((NOW - timedelta(days=200)).timestamp())
    save(
        ItemKind.PROJECT,
        None,
        [Item(ItemKind.PROJECT, str(each.project_id), each.project_id, {"name": each.name}) for each in fleet],
    )
    matches, usage = [], []
    for number, project in enumerate(fleet):
        own = str(project.project_id)
        held = [
            Item(
                ItemKind.API_KEY,
                f"key_{number}_{place}",
                own,
                {
                    "name": key.label,
                    "created_at": created,
                    "owner_type": "user",
                    "owner_id": "u",
                    "redacted_value": f"sk-…{number:04}",
                },
            )
            for place, key in enumerate(project.keys)
        ]
        save(ItemKind.API_KEY, own, held)
        limits = [
            Item(ItemKind.RATE_LIMIT, f"{own}/rl-{model}", own, {"model": f"model-{model}", "max_requests_per_1_minute": 500})
            for model in range(LIMITED)
        ]
        save(ItemKind.RATE_LIMIT, own, limits)
        for kind in (ItemKind.MEMBER, ItemKind.SERVICE_ACCOUNT, ItemKind.MODEL_PERMISSIONS, ItemKind.SPEND_LIMIT):
            save(
                kind,
                own,
                [Item(kind, f"{own}/{place}", own, {"name": "x"}) for place in range(3)] if kind is ItemKind.MEMBER else [],
            )
        matches += [
            KeyMatch(project.name, key.label, Matched.ONE, "acme", item.id, own)
            for key, item in zip(project.keys, held, strict=True)
        ]
        for day in range(USED_DAYS):
            at = NOW - timedelta(days=day + 1)
            usage += [UsageRow(at, DAYS, own, item.id, model, 100, 1000, 100) for item in held for model in ("gpt-4o", "o3")]
    writer.save_matches(matches, NOW)
    days = [NOW - timedelta(days=day + 1) for day in range(USED_DAYS)]
    writer.replace_usage("completions", DAYS, days, usage)
    writer.read_until("usage.completions.86400", NOW, NOW)
    writer.synced(NOW)
