"""What an organization's own record adds to a store of fleets: keys, permissions, limits, use and costs of every project, lists of
models, changes of thirteen months, and open incidents. All of it by the writers that the sync and the keepers use.
"""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import date, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import Engine

from monitor.domain.catalogue import Catalogue
from monitor.domain.changes import ChangeEvent, ChangeKind, ChangeSource
from monitor.domain.coverage import KeyMatch, Matched
from monitor.domain.diagnosis import Context, diagnose
from monitor.domain.hygiene import HygienePolicy
from monitor.domain.incidents import Cause, Change, Event, EventKind, Incident, Severity
from monitor.domain.inventory import Inventory, ProbeKind, Project
from monitor.domain.observation import Observation, Verdict
from monitor.domain.organization import CostRow, Item, ItemKind, UsageRow
from monitor.domain.taxonomy import FailureKind, Lane, Scope
from monitor.store import changes, incidents, queries, scores
from monitor.store.engine import open_engine, writing
from monitor.store.migrate import REVISIONS
from monitor.store.organization import DAYS, OrganizationWriter
from monitor.store.record import Writer
from monitor.store.tables import change_events
from tests.benchmarks import fleets

LIMITED, USED_DAYS = 20, 90
CHANGES = 100_000
_DAY = timedelta(days=1)


def add(url: str, writer: Writer, now: datetime, known: Inventory) -> None:
    """Add all of it but incidents to the store that `writer` fills. One project in three has a list of models, one in two a spend
    limit, one key in fifty expires within a month, and every project needs a model that is to go.
    """
    engine = open_engine(url)
    record = OrganizationWriter(engine, "acme", now)
    projects = known.projects
    _parts(record, projects, now)
    _use(record, projects, now)
    _lists(writer, known, now)
    _changes(engine, projects, now)
    for age in (3 * _DAY, timedelta()):
        scores.record(engine, now - age, queries.hygiene(engine, now - age, HygienePolicy()).scores())
    engine.dispose()


def kept(now: datetime, projects: int, days: int) -> str:
    """The URL of the store that `fleets.kept` keeps, copied, with all of it; made once and brought up to now ever after."""
    folder = fleets.CACHE / f"{REVISIONS[-1]}-{projects}x{days}-whole"
    known = fleets.fleet(projects)
    if not folder.exists():
        plain, _ = fleets.kept(now, projects, days)
        part = folder.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        with closing(sqlite3.connect(plain)) as source, closing(sqlite3.connect(part / "store.db")) as copy:
            source.backup(copy)
        url = f"sqlite:///{part}/store.db"
        add(url, fleets.fill(url, now, projects, days), now, known)
        part.rename(folder)  # with the log that lies beside the file: parts of it may be there alone
    url = f"sqlite:///{folder}/store.db"
    _lists(fleets.fill(url, now, projects, days), known, now)
    return url


def _parts(record: OrganizationWriter, projects: tuple[Project, ...], now: datetime) -> None:
    def save(kind: ItemKind, project: str | None, *items: Item) -> None:
        record.save(kind, project, now, items, lambda *_: ())

    def moment(days: float) -> int:
        return int((now + days * _DAY).timestamp())

    named = [
        Item(ItemKind.PROJECT, str(each.project_id), each.project_id, {"name": each.name, "status": "active"}) for each in projects
    ]
    save(ItemKind.PROJECT, None, *named)
    save(ItemKind.USER, None, *(Item(ItemKind.USER, f"user_{number}", None, {"name": f"Person {number}"}) for number in range(50)))
    save(ItemKind.SPEND_LIMIT, None)
    save(ItemKind.ADMIN_KEY, None, Item(ItemKind.ADMIN_KEY, "admin_1", None, {"name": "monitor", "expires_at": moment(60)}))
    save(ItemKind.CERTIFICATE, None)
    matches = []
    for number, project in enumerate(projects):
        own = str(project.project_id)
        kinds = (
            ("service_account", "sa_1", moment(20 + number / 100) if number % 50 == 0 else None),
            ("user", f"user_{number % 50}", None),
        )
        keys = [
            Item(
                ItemKind.API_KEY,
                f"key_{number}_{place}",
                own,
                {
                    "name": ("backend", "notebook")[place],
                    "created_at": moment(-200 + place),
                    "owner_type": kind,
                    "owner_id": whose,
                    "redacted_value": f"sk-…{number:04}",
                    "last_used_at": moment(-1),
                    **({"expires_at": ends} if ends else {}),
                },
            )
            for place, (kind, whose, ends) in enumerate(kinds)
        ]
        save(ItemKind.API_KEY, own, *keys)
        limits = {"max_requests_per_1_minute": 500, "max_tokens_per_1_minute": 200_000}
        models = (f"model-{place}" for place in range(LIMITED))
        save(
            ItemKind.RATE_LIMIT,
            own,
            *(Item(ItemKind.RATE_LIMIT, f"{own}/rl-{each}", own, {"model": each, **limits}) for each in models),
        )
        members = (f"user_{(number + place) % 50}" for place in range(3))
        save(ItemKind.MEMBER, own, *(Item(ItemKind.MEMBER, each, own, {"role": "member"}) for each in members))
        save(ItemKind.SERVICE_ACCOUNT, own, Item(ItemKind.SERVICE_ACCOUNT, f"sa_{number}", own, {"name": "robot"}))
        allowed = {"mode": "allow_list", "model_ids": [*fleets.MODELS, f"extra-{number % 7}"]}
        save(ItemKind.MODEL_PERMISSIONS, own, *([Item(ItemKind.MODEL_PERMISSIONS, own, own, allowed)] if number % 3 == 0 else []))
        spend = {"threshold_amount": 100_000 + number, "currency": "usd", "interval": "month", "enforcement": "enforcing"}
        save(ItemKind.SPEND_LIMIT, own, *([Item(ItemKind.SPEND_LIMIT, f"{own}/limit", own, spend)] if number % 2 == 0 else []))
        matches.append(KeyMatch(project.name, "backend", Matched.ONE, "acme", keys[0].id, own))
    record.save_matches(matches, now)


def _use(record: OrganizationWriter, projects: tuple[Project, ...], now: datetime) -> None:
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    days = [today - _DAY * (number + 1) for number in range(USED_DAYS)]
    for day in days:
        rows = [
            UsageRow(day, DAYS, project.project_id, f"key_{number}_0", model, 100 + number, 1_000, 100)
            for number, project in enumerate(projects)
            for model in fleets.MODELS[:2]
        ]
        record.replace_usage("completions", DAYS, [day], rows)
    record.read_until("usage.completions.86400", now, now)
    spent = [
        CostRow(day, project.project_id, "gpt-4o", 20.0 + number % 40)
        for day in days[:45]
        for number, project in enumerate(projects)
    ]
    record.replace_costs(days[:45], spent)
    record.synced(now)


def _lists(writer: Writer, known: Inventory, now: datetime) -> None:
    ends = dict.fromkeys((fleets.MODELS[2], "o1-preview"), (now + 40 * _DAY).date())
    models: dict[str, date | None] = {**dict.fromkeys((*fleets.MODELS, *(f"model-{number}" for number in range(60))), None), **ends}
    listed = Catalogue(models)
    asked = [check.target for check in known.checks if check.target.probe is ProbeKind.AUTH]
    seen = [Observation(target, now - timedelta(seconds=30), Verdict.OK, 90.0, status=200, catalogue=listed) for target in asked]
    writer.record(seen, now)


def _changes(engine: Engine, projects: tuple[Project, ...], now: datetime) -> None:
    kinds = list(ChangeKind)

    def events() -> Iterator[ChangeEvent]:
        for number in range(CHANGES):
            project = projects[number % len(projects)]
            yield ChangeEvent(
                at=now - 395 * _DAY * number / CHANGES,
                kind=kinds[number % len(kinds)],
                source=ChangeSource.AUDIT_LOG,
                text=f"Thing {number} was changed.",
                project=project.name,
                project_id=project.project_id,
                actor=f"user {number % 40}",
                dedup=str(number),
            )

    rows = [changes.row_of(each) for each in events()]
    with writing(engine) as connection:
        connection.execute(sa.insert(change_events), rows)


def storm(engine: Engine, now: datetime, count: int, projects: int) -> None:
    """So many open incidents of different causes, as when nothing that they have in common is known."""

    def one(number: int) -> Incident:
        name, at = f"project-{number % projects:04}", now - timedelta(seconds=number % 86_400)
        return Incident(
            cause=Cause(Scope.MODEL, Lane.ACCESS, f"{name}/model-{number}"),
            failure=FailureKind.ACCESS_MODEL_NOT_FOUND,
            severity=list(Severity)[number % 3],
            first_bad_at=at,
            opened_at=at,
            title=f"Model “model-{number}” of {name}: not found",
            diagnosis=diagnose(FailureKind.ACCESS_MODEL_NOT_FOUND, Context(project=name, model=f"model-{number}", since=at)),
            projects=(name,),
            models=(f"model-{number}",),
            owners=(f"team-{number % 40}",),
            ill=1,
        )

    for first in range(0, count, 1_000):
        some = map(one, range(first, min(first + 1_000, count)))
        made = [Change(each, (Event(each.opened_at, EventKind.OPENED, "Opened."),)) for each in some]
        incidents.apply(engine, made, now)
