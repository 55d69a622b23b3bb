"""An organization's own record for tests: every row is written by the writer that the sync uses."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine

from monitor.domain.coverage import KeyMatch, Matched
from monitor.domain.organization import Item, ItemKind, UsageRow
from monitor.domain.timeline import floor
from monitor.store.organization import DAYS, HOURS, OrganizationWriter

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
PROJECT_PARTS = (
    ItemKind.API_KEY,
    ItemKind.SERVICE_ACCOUNT,
    ItemKind.MEMBER,
    ItemKind.RATE_LIMIT,
    ItemKind.MODEL_PERMISSIONS,
    ItemKind.SPEND_LIMIT,
)


def seconds(at: datetime) -> int:
    """As OpenAI writes a time."""
    return int(at.timestamp())


def api_key(number: str, project: str, **facts: Any) -> Item:
    """A key of a project."""
    return Item(ItemKind.API_KEY, number, project, {"name": number, "redacted_value": "sk-…0000"} | facts)


class Record:
    """The record of one organization, written part by part."""

    def __init__(self, engine: Engine, now: datetime, name: str = "acme") -> None:
        self.now = now
        self.writer = OrganizationWriter(engine, name, now)

    def save(self, kind: ItemKind, project: str | None, items: Iterable[Item] = (), at: datetime | None = None) -> None:
        """A part was read to its end."""
        self.writer.save(kind, project, at or self.now, items, lambda *_: ())

    def projects(self, names: Mapping[str, str]) -> None:
        """Names by id, with no user, and an organization without a spend limit."""
        items = [Item(ItemKind.PROJECT, number, number, {"name": name, "status": "active"}) for number, name in names.items()]
        self.save(ItemKind.PROJECT, None, items)
        self.save(ItemKind.USER, None, [Item(ItemKind.USER, "user_mia", None, {"name": "Mia", "role": "reader"})])
        self.save(ItemKind.SPEND_LIMIT, None)

    def project(self, number: str, *items: Item) -> None:
        """Every part of a project, read; those without an item are empty."""
        for kind in PROJECT_PARTS:
            self.save(kind, number, [item for item in items if item.kind is kind])

    def matched(self, found: Mapping[tuple[str, str], str], project_ids: Mapping[str, str] | None = None) -> None:
        """Which of OpenAI's keys the labels here are."""
        rows = [
            KeyMatch(project, label, Matched.ONE, self.writer.name, key, (project_ids or {}).get(project))
            for (project, label), key in found.items()
        ]
        self.writer.save_matches(rows, self.now)

    def used(
        self, rows: Iterable[tuple[str, str, timedelta, int]], days: int = 95, project: str = "proj_a", model: str = "gpt-4o"
    ) -> None:
        """Calls of keys, each so long ago: key, model, age, count. Usage is known for so many days until now."""
        told = list(rows)
        for width in (DAYS, HOURS):
            sums: dict[tuple[datetime, str, str], int] = {}
            for key, name, age, count in told:
                place = (floor(self.now - age, width), key, name or model)
                sums[place] = sums.get(place, 0) + count
            first = floor(self.now - days * DAY, width)
            made = [
                UsageRow(at, width, project, key, name, count, 100 * count, 10 * count) for (at, key, name), count in sums.items()
            ]
            made.append(UsageRow(first, width, project, "key_else", model, 1, 100, 10))
            self.writer.replace_usage("completions", width, sorted({row.start for row in made}), made)
            self.writer.read_until(f"usage.completions.{round(width.total_seconds())}", self.now, self.now)
