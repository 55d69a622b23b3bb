"""The organization's own record as stored: the write side for the sync that reads it, the read side for everybody else.

What could not be read keeps its last state: only a complete reading of a part makes an item of it gone.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from monitor.domain.changes import ChangeEvent
from monitor.domain.coverage import KeyMatch, Matched
from monitor.domain.organization import (
    NO_ADMIN_KEY,
    OWN_ADMIN_KEY,
    PROJECT_KINDS,
    CostRow,
    Difference,
    Gap,
    Item,
    ItemKind,
    Organization,
    RecordAge,
    UsageRow,
    differences,
)
from monitor.domain.timeline import Window, from_ms, to_ms
from monitor.store import changes, codec, dialect, meta
from monitor.store.engine import reading, writing
from monitor.store.frames import frame
from monitor.store.tables import costs, key_matches, keys, organization_items, organization_parts, organizations, projects, usage

if TYPE_CHECKING:
    import pandas as pd

MINUTES, HOURS, DAYS = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
USAGE_KEPT = {MINUTES: timedelta(days=7), HOURS: timedelta(days=100), DAYS: timedelta(days=400)}
"""By width of the buckets."""
COSTS_KEPT = timedelta(days=400)

_KINDS = {kind.value: kind for kind in ItemKind}
_MILLISECOND = timedelta(milliseconds=1)
_MOST_ID = 300
_MOST_FACTS = 4 << 20
"""Characters; the reader bounds every text and list, so that no JSON is ever cut."""
_ALONE = 10
"""More projects than this that lack the same part for the same reason are one gap."""

_FEW = 500
"""Names that are asked for one by one; where more are, everything is read."""

Tell = Callable[[Sequence[Difference], datetime], Iterable[ChangeEvent]]
"""Puts the differences of a part, and the time of the reading before, into words."""
Place = tuple[str, str | None]
"""A part and the project whose it is; None where it is the organization's."""


@dataclass(frozen=True, slots=True)
class PartState:
    """How far a part of the record is known."""

    read_at: datetime | None = None
    """When it was last read; None where it never was."""
    reason: str | None = None
    """Why it cannot be read now, in words."""
    since: datetime | None = None
    read_until: datetime | None = None
    """Of logs and usage: everything before is known."""


class OrganizationWriter:
    """The only one who writes the record of one organization. Every method is one transaction and may raise `StoreError`."""

    def __init__(self, engine: Engine, name: str, now: datetime) -> None:
        self._engine = engine
        row = {"name": name, "first_seen": to_ms(now)}
        with writing(engine) as connection:
            connection.execute(dialect.insert_new(engine, organizations), row)
            found = connection.execute(sa.select(organizations.c.id).where(organizations.c.name == name))
            self._id: int = found.scalar_one()
        self.name = name
        self._put_item = dialect.upsert(engine, organization_items, put=("facts", "changed_at", "gone_at"))
        self._put_part = dialect.upsert(engine, organization_parts, put=("read_at", "reason", "since", "read_until"))
        self._put_usage = dialect.insert(engine, usage)
        self._put_cost = dialect.upsert(engine, costs, put=("amount",))

    def parts(self) -> dict[Place, PartState]:
        """How far every part is known."""
        with reading(self._engine) as connection:
            return _parts(connection, self._id)

    def items(self, kind: ItemKind, project: str | None = None) -> list[Item]:
        """The items of one part, as they were read last; without those that are gone."""
        with reading(self._engine) as connection:
            return _items_of(connection, self._id, kind, _place(kind, project))

    def known(self, ids: Collection[str]) -> dict[str, Item]:
        """The items with these ids, also those that are gone; where several are, the one that is there."""
        i = organization_items.c
        wanted, found = sorted(ids), {}
        with reading(self._engine) as connection:
            for first in range(0, len(wanted), 500):
                some = [codec.clean(number, _MOST_ID) for number in wanted[first : first + 500]]
                query = sa.select(i.kind, i.project, i.id, i.facts).where(i.organization_id == self._id, i.id.in_(some))
                for kind, project, number, facts in connection.execute(query.order_by(i.gone_at.is_(None))):
                    if kind in _KINDS:
                        home = number if kind == ItemKind.PROJECT else project or None
                        found[number] = Item(_KINDS[kind], number, home, json.loads(facts))
        return found

    def save(
        self, kind: ItemKind, project: str | None, at: datetime, items: Iterable[Item], tell: Tell, reason: str | None = None
    ) -> list[ChangeEvent]:
        """A part was read at `at`, to its end; what changed since it was read before is stored as `tell` puts it. The new events.

        A first reading changes nothing: that something is there already is no news. With a `reason` (not everything in it could be
        understood) nothing is gone because it is missing.
        """
        now, place = to_ms(at), _place(kind, project)
        there = {item.id: item for item in items}
        with writing(self._engine) as connection:
            state = _parts(connection, self._id, (kind.value, place or None), lock=True).get(
                (kind.value, place or None), PartState()
            )
            before = {item.id: item for item in _items_of(connection, self._id, kind, place)}
            if reason is not None:
                there = before | there
            put = [self._item_row(item, place, now) for number, item in there.items() if item != before.get(number)]
            gone = [before[number] for number in before.keys() - there.keys()]
            self._put_item.run(connection, [*put, *(self._item_row(item, place, now, gone_at=now) for item in gone)])
            if kind is ItemKind.PROJECT:
                self._forget_parts_of(connection, [item.id for item in gone], now)
                closed = [number for number, item in there.items() if item.facts.get("status") == "archived"]
                self._forget_gaps_of(connection, closed)
            self._note(connection, (kind.value, place or None), at, reason, at)
            if state.read_at is None:
                return []
            changed = list(differences(before.values(), there.values()))
            return changes.write(connection, self._engine, tell(changed, state.read_at)) if changed else []

    def _item_row(self, item: Item, place: str, now: int, gone_at: int | None = None) -> tuple[object, ...]:
        facts = codec.clean(codec.dumps(dict(item.facts)), _MOST_FACTS)
        return (self._id, item.kind.value, place, codec.clean(item.id, _MOST_ID), facts, now, now, gone_at)

    def _forget_parts_of(self, connection: Connection, gone: Collection[str], now: int) -> None:
        """What belonged to a project that is gone is gone with it, and no more a gap."""
        i, p = organization_items.c, organization_parts.c
        for project in gone:
            left = (i.organization_id == self._id, i.project == project, i.gone_at.is_(None))
            connection.execute(sa.update(organization_items).where(*left).values(gone_at=now, changed_at=now))
            connection.execute(sa.delete(organization_parts).where(p.organization_id == self._id, p.project == project))

    def _forget_gaps_of(self, connection: Connection, archived: Sequence[str]) -> None:
        """Of an archived project nothing can be read: that is no gap. What it had stays as it was."""
        p = organization_parts.c
        for first in range(0, len(archived), 500):
            theirs = (p.organization_id == self._id, p.project.in_(archived[first : first + 500]))
            connection.execute(sa.delete(organization_parts).where(*theirs))

    def mend(self, part: str, at: datetime) -> None:
        """What could not be read of any project can be read again."""
        with writing(self._engine) as connection:
            self._note(connection, (part, None), None, None, at)

    def fail(self, part: str, project: str | None, reason: str, at: datetime) -> None:
        """A part could not be read; what it said last stays."""
        with writing(self._engine) as connection:
            self._note(connection, (part, project), None, reason, at)

    def _note(
        self, connection: Connection, place: Place, read_at: datetime | None, reason: str | None, at: datetime,
        read_until: datetime | None = None,
    ) -> None:  # fmt: skip
        old = _parts(connection, self._id, place).get(place, PartState())
        since = (old.since or at) if reason is not None else None
        known, until = read_at or old.read_at, read_until or old.read_until
        row = (codec.at_ms(known), codec.said(reason, 500), codec.at_ms(since), codec.at_ms(until))
        self._put_part.run(connection, [(self._id, place[0], place[1] or "", *row)])

    def save_audit(self, events: Sequence[ChangeEvent]) -> list[ChangeEvent]:
        """Events of the log; those that are new."""
        return changes.record(self._engine, events)

    def read_until(self, part: str, until: datetime, at: datetime, reason: str | None = None) -> None:
        """A log or usage was read at `at`, and is known until `until`."""
        with writing(self._engine) as connection:
            self._note(connection, (part, None), at, reason, at, until)

    def replace_usage(self, endpoint: str, width: timedelta, starts: Sequence[datetime], rows: Iterable[UsageRow]) -> None:
        """What one endpoint said of these buckets, instead of what it said before: late data changes buckets that were read."""
        u, step = usage.c, round(width / _MILLISECOND)
        sums: dict[tuple[int, str, str, str], list[int]] = defaultdict(lambda: [0, 0, 0, 0])
        for row in rows:
            place = (to_ms(row.start), _id(row.project), _id(row.api_key), _id(row.model))
            for number, count in enumerate((row.requests, row.input_tokens, row.output_tokens, row.cached_tokens)):
                sums[place][number] += count
        replaced = (u.organization_id == self._id, u.width == step, u.endpoint == endpoint)
        with writing(self._engine) as connection:
            for first in range(0, len(starts), 500):
                some = [to_ms(start) for start in starts[first : first + 500]]
                connection.execute(sa.delete(usage).where(*replaced, u.start.in_(some)))
            self._put_usage.run(
                connection,
                [
                    (self._id, step, start, endpoint, *place, *(codec.whole(count) or 0 for count in counts))
                    for (start, *place), counts in sums.items()
                ],
            )

    def replace_costs(self, days: Sequence[datetime], rows: Iterable[CostRow]) -> None:
        """What these days cost, instead of what was known before."""
        c = costs.c
        sums: dict[tuple[int, str, str, str], float] = defaultdict(float)
        for row in rows:
            sums[to_ms(row.day), _id(row.project), _id(row.line_item), _id(row.currency)] += row.amount
        with writing(self._engine) as connection:
            old = sa.delete(costs).where(c.organization_id == self._id, c.day.in_([to_ms(day) for day in days]))
            connection.execute(old)
            self._put_cost.run(connection, [(self._id, *place, amount) for place, amount in sums.items()])

    def save_matches(self, found: Iterable[KeyMatch], at: datetime) -> None:
        """Which of the organization's keys the configured ones are. Keys that the store does not know are left out."""
        p, k = projects.c, keys.c
        present = sa.select(p.name, k.label, k.id).join_from(keys, projects, k.project_id == p.id).where(k.replaced_at.is_(None))
        put = dialect.upsert(self._engine, key_matches, put=("organization_id", "matched", "api_key", "api_key_project", "at"))
        with writing(self._engine) as connection:
            ids = {(name, label): number for name, label, number in connection.execute(present)}
            rows = [
                (ids[each.project, each.label], self._id, each.matched.value, each.api_key, each.api_key_project, to_ms(at))
                for each in found
                if (each.project, each.label) in ids
            ]
            put.run(connection, rows)

    def synced(self, at: datetime) -> None:
        """A round came to its end."""
        with writing(self._engine) as connection:
            row = sa.update(organizations).where(organizations.c.id == self._id)
            connection.execute(row.values(synced_at=to_ms(at)))
            meta.bump(connection)

    def forget_usage(self, now: datetime) -> None:
        """Keep usage and costs no longer than they are of use."""
        u, c = usage.c, costs.c
        with writing(self._engine) as connection:
            for width, age in USAGE_KEPT.items():
                mine = (u.organization_id == self._id, u.width == round(width / _MILLISECOND))
                connection.execute(sa.delete(usage).where(*mine, u.start < to_ms(now - age)))
            connection.execute(sa.delete(costs).where(c.organization_id == self._id, c.day < to_ms(now - COSTS_KEPT)))


def _id(text: str | None) -> str:
    return codec.clean(text, _MOST_ID) or ""


def _place(kind: ItemKind, project: str | None) -> str:
    """The project column of an item: a project lies with the organization's own, for it is read with their list."""
    return "" if kind is ItemKind.PROJECT or project is None else project


# Reading --------------------------------------------------------------------------------------------------------------------------


def names(engine: Engine) -> dict[str, datetime | None]:
    """Every organization whose record was ever read, and when a round last ended."""
    o = organizations.c
    with reading(engine) as connection:
        return {name: codec.moment(at) for name, at in connection.execute(sa.select(o.name, o.synced_at).order_by(o.name))}


def organization(
    engine: Engine,
    name: str | None = None,
    *,
    kinds: Collection[ItemKind] | None = None,
    project: str | None = None,
    telling: Mapping[ItemKind, str] | None = None,
) -> Organization:
    """The record of one organization, or of all of them together; with `kinds` and `project` (OpenAI's id) only that part of it,
    and of the kinds in `telling` only what tells that fact.

    Where none was ever read it is empty, with one gap for every part. Reading all of a large organization takes seconds: pages ask
    for what they show.
    """
    o = organizations.c
    query = sa.select(o.id, o.synced_at).order_by(o.name)
    if name is not None:
        query = query.where(o.name == codec.clean(name))
    with reading(engine) as connection:
        known = connection.execute(query).all()
        items: list[Item] = []
        gaps: list[Gap] = []
        for number, _ in known:
            items += _items(connection, number, kinds, project, telling or {})
            gaps += gaps_of(connection, number, kinds, project)
    if not known:
        gaps = [Gap(kind.value, None, NO_ADMIN_KEY) for kind in kinds or ItemKind]
    ends = [at for _, at in known if at is not None]
    return Organization(tuple(items), tuple(gaps), from_ms(min(ends)) if ends and len(ends) == len(known) else None)


def standing(engine: Engine) -> dict[str, tuple[RecordAge, Item | None]]:
    """Of each organization: how old what is known of its projects is, and the admin key that reads it where that is certain."""
    i, p, o = organization_items.c, organization_parts.c, organizations.c
    found: dict[str, tuple[RecordAge, Item | None]] = {}
    with reading(engine) as connection:
        for number, name in connection.execute(sa.select(o.id, o.name).order_by(o.name)).all():
            known = sa.select(i.facts).where(i.organization_id == number, i.kind == ItemKind.PROJECT.value, i.gone_at.is_(None))
            active = sum(json.loads(facts).get("status") != "archived" for facts in connection.execute(known).scalars())
            own = [one for one in _items_of(connection, number, ItemKind.ADMIN_KEY, "") if one.facts.get("ours") is True]
            certified = bool(_items_of(connection, number, ItemKind.CERTIFICATE, ""))
            kinds = [kind.value for kind in PROJECT_KINDS if certified or kind is not ItemKind.CERTIFICATE]
            theirs = (p.organization_id == number, p.project != "", p.part.in_(kinds), p.read_at.is_not(None))
            read = connection.execute(sa.select(sa.func.count()).where(*theirs)).scalar_one()
            first = connection.execute(sa.select(p.read_at, p.part, p.project).where(*theirs).order_by(p.read_at).limit(1)).first()
            parts = active * len(kinds)
            oldest = (codec.moment(first[0]), first[1], first[2]) if first is not None else (None, None, None)
            found[name] = RecordAge(parts, max(parts - read, 0), *oldest), own[0] if len(own) == 1 else None
    return found


def gaps(engine: Engine) -> tuple[Gap, ...]:
    """What could not be read of any organization, and why."""
    with reading(engine) as connection:
        known = connection.execute(sa.select(organizations.c.id).order_by(organizations.c.name)).scalars().all()
        return tuple(gap for number in known for gap in gaps_of(connection, number, None, None))


def _items_of(connection: Connection, organization_id: int, kind: ItemKind, place: str) -> list[Item]:
    """One part's items, as they lie together."""
    i = organization_items.c
    here = (i.organization_id == organization_id, i.kind == kind.value, i.project == place, i.gone_at.is_(None))
    return [
        Item(kind, number, number if kind is ItemKind.PROJECT else place or None, json.loads(facts))
        for number, facts in connection.execute(sa.select(i.id, i.facts).where(*here))
    ]


def _items(
    connection: Connection,
    organization_id: int,
    kinds: Collection[ItemKind] | None,
    project: str | None,
    telling: Mapping[ItemKind, str],
) -> list[Item]:
    i = organization_items.c
    query = sa.select(i.kind, i.project, i.id, i.facts).where(i.organization_id == organization_id, i.gone_at.is_(None))
    if kinds is not None:
        query = query.where(i.kind.in_([kind.value for kind in kinds]))
    for kind, fact in telling.items():
        query = query.where(sa.or_(i.kind != kind.value, i.facts.contains(f'"{fact}":', autoescape=True)))
    if project is not None:
        itself = sa.and_(i.kind == ItemKind.PROJECT.value, i.id == project)
        query = query.where(sa.or_(i.project == project, itself))
    return [
        Item(_KINDS[kind], number, number if kind == ItemKind.PROJECT else owner or None, _facts(facts))
        for kind, owner, number, facts in connection.execute(query)
        if kind in _KINDS
    ]


_LONG = 4096
"""Characters of a text that is not worth being kept."""


def _facts(text: str) -> dict[str, Any]:
    """Facts are shared and never changed: many items say the same, and what was read a minute ago is read again."""
    return _short(text) if len(text) <= _LONG else dict(json.loads(text))


@lru_cache(maxsize=32_768)
def _short(text: str) -> dict[str, Any]:
    return dict(json.loads(text))


def _parts(
    connection: Connection, organization_id: int, place: Place | None = None, *, lock: bool = False
) -> dict[Place, PartState]:
    p = organization_parts.c
    query = sa.select(organization_parts).where(p.organization_id == organization_id)
    if lock:  # for PostgreSQL; SQLite lets one write at a time anyhow
        query = query.with_for_update()
    if place is not None:
        query = query.where(p.part == place[0], p.project == (place[1] or ""))
    return {
        (row.part, row.project or None): PartState(
            codec.moment(row.read_at), row.reason, codec.moment(row.since), codec.moment(row.read_until)
        )
        for row in connection.execute(query)
    }


def gaps_of(
    connection: Connection, organization_id: int, kinds: Collection[ItemKind] | None = None, project: str | None = None
) -> list[Gap]:
    """What could not be read, many projects' alike together."""
    p = organization_parts.c
    query = sa.select(p.part, p.reason, p.project, p.since).where(p.organization_id == organization_id, p.reason.is_not(None))
    if kinds is not None:
        finer = [OWN_ADMIN_KEY] if ItemKind.ADMIN_KEY in kinds else []
        query = query.where(p.part.in_([*(kind.value for kind in kinds), *finer]))
    if project is not None:
        query = query.where(p.project.in_(["", project]))
    alike: dict[tuple[str, str], list[tuple[str, int | None]]] = defaultdict(list)
    for part, reason, owner, since in connection.execute(query.order_by(p.part, p.project)):
        alike[part.partition(".")[0], reason].append((owner, since))
    found = []
    for (part, reason), where in alike.items():
        if len(where) > _ALONE:
            since = min((at for _, at in where if at is not None), default=None)
            found.append(Gap(part, None, f"{reason} ({len(where):,} projects)", codec.moment(since)))
        else:
            found += [Gap(part, owner or None, reason, codec.moment(at)) for owner, at in where]
    return found


def matches(engine: Engine) -> list[KeyMatch]:
    """Which of the organization's keys the configured ones are; those that were never compared are missing."""
    with reading(engine) as connection:
        return matches_in(connection)


def matches_in(connection: Connection, keys_there: Collection[str] | None = None) -> list[KeyMatch]:
    """The same within a transaction; with `keys_there`, of these keys of the organization alone."""
    m, k, p, o = key_matches.c, keys.c, projects.c, organizations.c
    query = (
        sa.select(p.name, k.label, m.matched, o.name, m.api_key, m.api_key_project)
        .join_from(key_matches, keys, m.key_id == k.id)
        .join(projects, p.id == k.project_id)
        .join(organizations, o.id == m.organization_id)
        .where(k.replaced_at.is_(None))
        .order_by(p.name, k.label)
    )
    if keys_there is not None and len(keys_there) <= _FEW:
        query = query.where(m.api_key.in_(sorted(keys_there)))
    return [
        KeyMatch(project, label, Matched(matched), name, key, owner)
        for project, label, matched, name, key, owner in connection.execute(query)
    ]


def usage_rows(
    engine: Engine,
    window: Window,
    width: timedelta,
    project: str | None = None,
    by: Sequence[str] = ("project", "api_key", "model"),
) -> "pd.DataFrame":
    """What reached the models: `start`, the columns of `by`, `requests, input_tokens, output_tokens, cached_tokens`.

    `width` is a minute, an hour or a day; `project` is OpenAI's id. The newest buckets are provisional, and no row is no traffic
    only where usage was read: see `Organization.gaps`. Raises ValueError for another width or column.
    """
    if width not in USAGE_KEPT or not set(by) <= {"project", "api_key", "model"}:
        raise ValueError(f"usage is not kept by {width} and {by}")
    u = usage.c
    groups = [u.start, *(u[name] for name in by)]
    sums = [sa.cast(sa.func.sum(u[name]), sa.BigInteger).label(name) for name in _COUNTED]
    chosen = [u.width == round(width / _MILLISECOND), u.start >= to_ms(window.start), u.start < to_ms(window.end)]
    if project is not None:
        chosen.append(u.project == project)
    with reading(engine) as connection:
        mine = u.organization_id.in_(sa.select(organizations.c.id))  # said, so that the rows are sought and not looked through
        query = sa.select(*groups, *sums).where(mine, *chosen).group_by(*groups).order_by(*groups)
        rows = [tuple(value if value != "" else None for value in row) for row in connection.execute(query)]
    return frame(("start", *by, *_COUNTED), rows)


_COUNTED = ("requests", "input_tokens", "output_tokens", "cached_tokens")


def cost_rows(engine: Engine, window: Window, project: str | None = None) -> "pd.DataFrame":
    """What each UTC day cost: `start, project, line_item, amount, currency`. `project` is OpenAI's id."""
    c = costs.c
    chosen = [c.day >= to_ms(window.start), c.day < to_ms(window.end)]
    if project is not None:
        chosen.append(c.project == project)
    columns = (c.day, c.project, c.line_item, c.amount, c.currency)
    with reading(engine) as connection:
        query = sa.select(*columns).where(*chosen).order_by(c.day, c.project, c.line_item)
        rows = [tuple(value if value != "" else None for value in row) for row in connection.execute(query)]
    return frame(("start", "project", "line_item", "amount", "currency"), rows)


def labels(found: Iterable[KeyMatch]) -> Mapping[str, tuple[str, str]]:
    """Project and label here of each of OpenAI's keys that is configured."""
    return {each.api_key: (each.project, each.label) for each in found if each.api_key}
