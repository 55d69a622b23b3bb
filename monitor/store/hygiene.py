"""What the rules of hygiene and the rotations are judged by, read for all projects at once.

What many rows say alike is parsed once, and usage is summed by the database.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from monitor.domain.assessment import Assessment, assessment
from monitor.domain.health import fresh_health
from monitor.domain.hygiene import HygienePolicy
from monitor.domain.hygiene_facts import DeniedModel, Gathered, KeyUse, Limits, Reading
from monitor.domain.inventory import ApiKey, Fingerprint, KeyKind, ProbeKind
from monitor.domain.observation import Verdict
from monitor.domain.organization import NO_ADMIN_KEY, Gap, Item, ItemKind, Organization
from monitor.domain.rotation import LOOK_BACK, KeyRecord, KnownUse, Rotation, Sighting, UseRow, rotations
from monitor.domain.timeline import floor, from_ms, to_ms
from monitor.store import bindings, codec, tables
from monitor.store.engine import reading
from monitor.store.organization import DAYS, HOURS, gaps_of, matches_in
from monitor.store.tables import DAY, PROBES, key_matches, organization_items, organization_parts, organizations, usage

_WHOLE = (ItemKind.PROJECT, ItemKind.USER, ItemKind.MODEL_PERMISSIONS, ItemKind.SPEND_LIMIT)
_IDS_ONLY = (ItemKind.MEMBER, ItemKind.SERVICE_ACCOUNT)
_READ = (*_WHOLE, *_IDS_ONLY, ItemKind.API_KEY, ItemKind.RATE_LIMIT)
_ITEMS = {kind.value: kind for kind in _READ}
_PROBING = (PROBES[ProbeKind.INFERENCE], PROBES[ProbeKind.DENIED_MODEL])
_MILLISECOND = timedelta(milliseconds=1)
_FEW = 500
_BY_HOUR = timedelta(days=7)
"""Use is looked at by the hour for no longer: a large organization's hours are millions of rows."""
_NOT_READ = "the organization’s record of it has not been read yet"


def hygiene(engine: Engine, now: datetime, policy: HygienePolicy) -> Assessment:
    """The scorecards, rotations and migration of every project. Raises `StoreError`.

    Of a large organization it takes a second: pages and keepers ask seldom. How a project stands is in `scores`.
    """
    with reading(engine) as connection:
        known, records = _gathered(connection, now)
        turned = _rotations(connection, known, records, now, policy)
        gaps = _gaps(connection)
    return assessment(known, turned, policy, now, gaps)


def _gaps(connection: Connection) -> list[Gap]:
    known = connection.execute(sa.select(organizations.c.id)).scalars().all()
    if not known:
        return [Gap("organization", None, NO_ADMIN_KEY)]
    parts = [kind.value for kind in _READ] + ["usage"]
    return [gap for number in known for gap in gaps_of(connection, number) if gap.part in parts]


# What is configured and observed here ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _KeyRow:
    id: int
    project: str
    label: str
    fingerprint: str
    kind: str
    source: str
    problem: str | None
    active: int
    first_seen: int
    replaced_at: int | None


def _key_rows(connection: Connection) -> list[_KeyRow]:
    k, p = tables.keys.c, tables.projects.c
    columns = (k.id, p.name, k.label, k.fingerprint, k.kind, k.source, k.problem, k.active, k.first_seen, k.replaced_at)
    query = sa.select(*columns).join_from(tables.keys, tables.projects, p.id == k.project_id).where(p.active == 1)
    return [_KeyRow(*tuple(row)) for row in connection.execute(query.order_by(k.id))]


def _gathered(connection: Connection, now: datetime) -> tuple[Gathered, list[KeyRecord]]:
    rows = [row for row in _key_rows(connection) if row.active and row.replaced_at is None]
    keys: dict[str, list[ApiKey]] = defaultdict(list)
    for row in rows:
        printed = Fingerprint(row.fingerprint) if row.fingerprint else None
        keys[row.project].append(ApiKey(row.label, row.source, _kind(row.kind), printed, row.problem))
    p = tables.projects.c
    configured = connection.execute(sa.select(p.name, p.facts).where(p.active == 1).order_by(p.name))
    projects = tuple(codec.project_of(name, facts, tuple(keys[name])) for name, facts in configured)
    found, records = _organization(connection)
    use, nothing = _use(connection, now, [each.item.id for each in records])
    known = Gathered(
        projects,
        found,
        _readings(connection),
        _NOT_READ if _is_read(connection) else NO_ADMIN_KEY,
        tuple(matches_in(connection)),
        {(row.project, row.label): from_ms(row.first_seen) for row in rows},
        _limits(connection),
        use,
        nothing,
        _own_requests(connection, now),
        _denied(connection),
        bindings.read(connection),
    )
    return known, records


_KINDS = {kind.value: kind for kind in KeyKind}


def _kind(text: str) -> KeyKind:
    return _KINDS.get(text, KeyKind.UNKNOWN)


def _own_requests(connection: Connection, now: datetime) -> dict[tuple[str, str], int]:
    """Calls that the monitor itself made in the last 30 days: all of a project's with the key that its calls are made with."""
    t, p, u = tables.targets.c, tables.projects.c, tables.probe_use.c
    since = to_ms(now - timedelta(days=30)) // DAY * DAY
    used = (
        sa.select(u.project_id, sa.cast(sa.func.sum(u.requests), sa.BigInteger).label("requests"))
        .where(u.day >= since, u.probe.in_(_PROBING))
        .group_by(u.project_id)
        .subquery()
    )
    asked = sa.select(t.project_id, t.key).where(t.active == 1, t.probe.in_(_PROBING)).distinct().subquery()
    query = (
        sa.select(p.name, asked.c.key, used.c.requests)
        .join_from(tables.projects, used, used.c.project_id == p.id)
        .join(asked, asked.c.project_id == p.id)
    )
    return {(name, label): int(count) for name, label, count in connection.execute(query)}


def _denied(connection: Connection) -> dict[str, tuple[DeniedModel, ...]]:
    """What the last clear answer for each model that must be refused was."""
    t, s, a, p = tables.targets.c, tables.target_states.c, tables.answers.c, tables.projects.c
    query = (
        sa.select(p.name, t.model, a.finding, s.last_at)
        .join_from(tables.targets, tables.target_states, s.target_id == t.id)
        .join(tables.answers, a.id == s.answer_id)
        .join(tables.projects, p.id == t.project_id)
        .where(t.active == 1, t.probe == PROBES[ProbeKind.DENIED_MODEL], a.verdict == Verdict.OK.value)
        .order_by(p.name, t.model)
    )
    found: dict[str, list[DeniedModel]] = defaultdict(list)
    for name, model, finding, at in connection.execute(query):
        found[name].append(DeniedModel(model, finding is not None, codec.moment(at)))
    return {name: tuple(each) for name, each in found.items()}


# What OpenAI says -----------------------------------------------------------------------------------------------------------------


def _is_read(connection: Connection) -> bool:
    return connection.execute(sa.select(organizations.c.id).limit(1)).first() is not None


def _organization(connection: Connection) -> tuple[Organization, list[KeyRecord]]:
    """What the rules need of the record; and every key of it, those that are gone too."""
    i, o = organization_items.c, organizations.c
    mine = i.organization_id.in_(sa.select(o.id))  # said, so that the rows are sought and not looked through
    items: list[Item] = []
    whole = sa.select(i.kind, i.project, i.id, i.facts).where(
        mine, i.kind.in_([kind.value for kind in _WHOLE]), i.gone_at.is_(None)
    )
    for kind, project, number, facts in connection.execute(whole):
        items.append(Item(_ITEMS[kind], number, number if kind == ItemKind.PROJECT else project or None, _facts(facts)))
    ids = sa.select(i.kind, i.project, i.id).where(mine, i.kind.in_([kind.value for kind in _IDS_ONLY]), i.gone_at.is_(None))
    items += [Item(_ITEMS[kind], number, project or None) for kind, project, number in connection.execute(ids)]
    keys = sa.select(i.project, i.id, i.facts, i.gone_at).where(mine, i.kind == ItemKind.API_KEY.value).order_by(i.project, i.id)
    records = [
        KeyRecord(Item(ItemKind.API_KEY, number, project or None, json.loads(facts)), codec.moment(gone))
        for project, number, facts, gone in connection.execute(keys)
    ]
    items += [each.item for each in records if each.gone_at is None]
    ends = connection.execute(sa.select(o.synced_at)).scalars().all()
    known = [at for at in ends if at is not None]
    return Organization(tuple(items), (), from_ms(min(known)) if known and len(known) == len(ends) else None), records


@lru_cache(maxsize=4096)
def _facts(text: str) -> dict[str, Any]:
    """Parsed once for each text, and shared: never changed."""
    found: dict[str, Any] = json.loads(text)
    return found


def _readings(connection: Connection) -> dict[tuple[str, str | None], Reading]:
    """When each part was read; of the organizations' own parts the one that was read the longest ago."""
    q = organization_parts.c
    query = sa.select(q.part, q.project, q.read_at, q.reason).where(
        q.organization_id.in_(sa.select(organizations.c.id)), q.part.in_([kind.value for kind in _READ])
    )
    found: dict[tuple[str, str | None], Reading] = {}
    for part, project, at, reason in connection.execute(query):
        new = Reading(codec.moment(at), reason or _NOT_READ)
        old = found.get((part, project or None))
        if old is None or (old.at is not None and (new.at is None or new.at < old.at)):
            found[part, project or None] = new
    return found


def _limits(connection: Connection) -> dict[str, Limits]:
    i = organization_items.c
    query = sa.select(i.project, i.facts).where(
        i.organization_id.in_(sa.select(organizations.c.id)), i.kind == ItemKind.RATE_LIMIT.value, i.gone_at.is_(None)
    )
    found: dict[str, dict[str, tuple[tuple[str, int], ...]]] = defaultdict(dict)
    for project, facts in connection.execute(query):
        model, values = _limit(facts)
        found[project][model] = values
    return dict(found)


@lru_cache(maxsize=16384)
def _limit(text: str) -> tuple[str, tuple[tuple[str, int], ...]]:
    """Most projects have the same limits, so their texts are few."""
    facts = json.loads(text)
    values = sorted((name, value) for name, value in facts.items() if type(value) is int and name.startswith(("max_", "batch_")))
    return str(facts.get("model")), tuple(values)


# Usage ----------------------------------------------------------------------------------------------------------------------------


def _usage_until(connection: Connection, width: timedelta) -> datetime | None:
    """Until when usage by buckets of `width` is known, of every endpoint that was asked; None where one of them never was."""
    q = organization_parts.c
    wanted = str(round(width.total_seconds()))
    query = sa.select(q.part, q.read_until).where(
        q.organization_id.in_(sa.select(organizations.c.id)), q.part >= "usage.", q.part < "usage/"
    )
    ends = [until for part, until in connection.execute(query) if part.rpartition(".")[2] == wanted]
    return from_ms(min(ends)) if ends and None not in ends else None


def _usage_since(connection: Connection, width: timedelta) -> datetime | None:
    u = usage.c
    first = connection.execute(
        sa.select(sa.func.min(u.start)).where(u.organization_id.in_(sa.select(organizations.c.id)), u.width == _ms(width))
    ).scalar()
    return codec.moment(first)


def _ms(width: timedelta) -> int:
    return round(width / _MILLISECOND)


def _use(connection: Connection, now: datetime, keys: Collection[str]) -> tuple[dict[str, KeyUse], KeyUse | None]:
    """The use of those of these keys that OpenAI counted in 90 days, and what is known of all others.

    A month is summed; of a key that was quiet in it, only the day of its last call is looked for.
    """
    until, since = _usage_until(connection, DAYS), _usage_since(connection, DAYS)
    if until is None or since is None:
        return {}, None
    until = min(until, now)
    u = usage.c
    month, quarter = (to_ms(until - timedelta(days=days)) // DAY * DAY for days in (30, 90))
    counted = (u.organization_id.in_(sa.select(organizations.c.id)), u.width == DAY, u.requests > 0)
    sums = sa.select(u.api_key, u.model, _sum(u.requests), _sum(u.input_tokens), sa.func.max(u.start))
    found: dict[str, _Counted] = defaultdict(_Counted)
    for row in connection.execute(sums.where(*counted, u.start >= month).group_by(u.api_key, u.model)):
        key, model, requests, tokens, last = tuple(row)
        found[key].add(model, int(requests), int(tokens), last)
    quiet = sorted(set(keys) - found.keys())
    if quiet:
        before = sa.select(u.api_key, sa.func.max(u.start)).where(*counted, u.start >= quarter, u.start < month)
        if len(quiet) <= _FEW:
            before = before.where(u.api_key.in_(quiet))
        for key, last in connection.execute(before.group_by(u.api_key)):
            found[key].add("", 0, 0, last)
    return {key: one.use(since, until) for key, one in found.items() if key}, KeyUse(since, until)


class _Counted:
    """The sums of one key over its models."""

    def __init__(self) -> None:
        self._requests = self._tokens = self._last = 0
        self._models: set[str] = set()

    def add(self, model: str, requests: int, tokens: int, last: int) -> None:
        """Count one model's rows."""
        self._requests += requests
        self._tokens += tokens
        self._last = max(self._last, last)
        if requests and model:
            self._models.add(model)

    def use(self, since: datetime, until: datetime) -> KeyUse:
        """All of it."""
        return KeyUse(since, until, self._requests, self._tokens, from_ms(self._last), tuple(sorted(self._models)))


def _sum(what: Any) -> Any:
    return sa.cast(sa.func.sum(what), sa.BigInteger)


# Rotations ------------------------------------------------------------------------------------------------------------------------


def _rotations(
    connection: Connection, known: Gathered, records: list[KeyRecord], now: datetime, policy: HygienePolicy
) -> list[Rotation]:
    rows = _key_rows(connection)
    turned = {
        (row.project, row.label) for row in rows if row.replaced_at is not None and now - from_ms(row.replaced_at) <= LOOK_BACK
    }
    young = {each.item.project for each in records if each.created is not None and now - each.created <= LOOK_BACK}
    numbers = {each.name: each.project_id for each in known.projects}
    young |= {numbers.get(name) for name, _ in turned}
    concerned = [each for each in records if each.item.project in young]
    names = {each.project_id: each.name for each in known.projects if each.project_id}
    touched = {name for name, _ in turned} | {names[number] for number in young if number in names}
    if not turned and not concerned:
        return []
    held = [row for row in rows if row.project in touched or row.replaced_at is None]
    seen = _sightings(connection, held, now)
    use = _key_use(connection, [each.item.id for each in concerned], now, policy.quiet_before_delete)
    return rotations(seen, concerned, use, names, now, policy.quiet_before_delete)


def _sightings(connection: Connection, rows: Iterable[_KeyRow], now: datetime) -> list[Sighting]:
    """Secrets of ours, present and past, with how the present ones are."""
    t, s, p = tables.targets.c, tables.target_states.c, tables.projects.c
    states = (s[name] for name in codec.STATE_COLUMNS)
    query = (
        sa.select(p.name, t.key, t.interval, *states)
        .join_from(tables.targets, tables.target_states, s.target_id == t.id)
        .join(tables.projects, p.id == t.project_id)
        .where(t.active == 1, t.probe == PROBES[ProbeKind.AUTH])
    )
    health = {}
    for name, label, interval, *state in connection.execute(query):
        folded = codec.state_of(state)
        health[name, label] = (fresh_health(folded, timedelta(milliseconds=interval), now), folded)
    pairs = connection.execute(sa.select(key_matches.c.key_id, key_matches.c.api_key))
    matched: dict[int, str | None] = dict(pairs.all())
    found = []
    for row in rows:
        present = row.replaced_at is None
        if present and not row.active:
            continue  # taken out of the configuration
        one = Sighting(
            row.project,
            row.label,
            row.fingerprint or None,
            _kind(row.kind),
            from_ms(row.first_seen),
            codec.moment(row.replaced_at),
            matched.get(row.id),
        )
        if present and (row.project, row.label) in health:
            fresh, folded = health[row.project, row.label]
            one = replace(one, health=fresh, failure=folded.failure, last_ok_at=folded.last_ok_at)
        found.append(one)
    return found


def _key_use(connection: Connection, keys: Collection[str], now: datetime, quiet: timedelta) -> KnownUse | None:
    """The use of these keys: by the hour where it decides whether a key is quiet, by the day before."""
    days, hours = _usage_until(connection, DAYS), _usage_until(connection, HOURS)
    since = _usage_since(connection, DAYS) or _usage_since(connection, HOURS)
    until = hours or days
    if until is None or since is None:
        return None
    until = min(until, now)
    turn = floor(until - min(quiet, _BY_HOUR), DAYS) if hours else until
    rows: dict[str, list[UseRow]] = defaultdict(list)
    for width, first, end in ((DAYS, floor(now - LOOK_BACK, DAYS), turn), (HOURS, turn, until)):
        if first < end:
            for row in _use_rows(connection, keys, width, first, end):
                rows[row.api_key].append(row)
    return KnownUse(since, until, dict(rows))


def _use_rows(connection: Connection, keys: Collection[str], width: timedelta, first: datetime, end: datetime) -> Iterable[UseRow]:
    u, wanted = usage.c, sorted(keys)
    for start in range(0, len(wanted), 500):
        query = (
            sa.select(u.api_key, u.model, u.start, _sum(u.requests))
            .where(
                u.organization_id.in_(sa.select(organizations.c.id)),
                u.width == _ms(width),
                u.start >= to_ms(first),
                u.start < to_ms(end),
                u.api_key.in_(wanted[start : start + 500]),
                u.requests > 0,
            )
            .group_by(u.api_key, u.model, u.start)
            .order_by(u.start)
        )
        for key, model, at, requests in connection.execute(query):
            yield UseRow(key, model, from_ms(at), width, int(requests))
