"""A key replaced by another: how that is recognised, how far it is, who still uses the old one, and when it may be deleted.

Nothing here is concluded from silence: without the organization's usage nobody can say that an old key is used no more, and calls
that were refused are in no usage figure.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise

from monitor.domain.health import Health
from monitor.domain.inventory import KeyKind
from monitor.domain.organization import Item
from monitor.domain.taxonomy import FailureKind
from monitor.domain.timeline import EPOCH
from monitor.domain.words import duration

LOOK_BACK = timedelta(days=60)
"""Older replacements are over, or were never meant as one."""
USAGE_MAY_LAG = timedelta(hours=6)
"""Usage comes late; later than that it is not known."""
_MOVES_WITHIN = timedelta(days=14)
_SETTLED = timedelta(days=2)
_LEAST_DAYS = 3


class Sign(StrEnum):
    """How a rotation was recognised. Exported: never rename."""

    CONFIGURED = "configured"
    """A label here holds another secret than before."""
    RECORD = "record"
    """OpenAI has a newer key of the same name, or of the same service account."""
    USE = "use"
    """Use moved from one key to another."""


class Light(StrEnum):
    """Whether the old key may be deleted. Exported: never rename."""

    SAFE = "safe"
    WAIT = "wait"
    UNKNOWN = "unknown"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Sighting:
    """One secret under one label of ours, present or past."""

    project: str
    label: str
    fingerprint: str | None
    kind: KeyKind
    first_seen: datetime
    replaced_at: datetime | None = None
    """None while it is the label's present secret."""
    api_key: str | None = None
    """OpenAI's id of it, where it was found."""
    health: Health = Health.UNKNOWN
    """Of the present secret."""
    failure: FailureKind | None = None
    last_ok_at: datetime | None = None

    @property
    def place(self) -> str:
        """`project/label`."""
        return f"{self.project}/{self.label}"


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """One key of OpenAI's, present or gone."""

    item: Item
    gone_at: datetime | None = None

    @property
    def created(self) -> datetime | None:
        """When OpenAI made it."""
        return self.item.time("created_at")


@dataclass(frozen=True, slots=True)
class UseRow:
    """Calls of one key in one bucket."""

    api_key: str
    model: str
    start: datetime
    width: timedelta
    requests: int


@dataclass(frozen=True, slots=True)
class KnownUse:
    """Use by key, in [since, until)."""

    since: datetime
    until: datetime
    rows: Mapping[str, Sequence[UseRow]]
    """By key, sorted by time. Days where only days are kept, hours for the last week."""


@dataclass(frozen=True, slots=True)
class Side:
    """The old or the new key of a rotation."""

    fingerprint: str | None = None
    api_key: str | None = None
    name: str | None = None
    """What OpenAI calls it."""
    since: datetime | None = None
    kind: KeyKind = KeyKind.UNKNOWN
    owner_type: str | None = None

    @property
    def shown(self) -> str:
        """Words for it: its name, its last four characters, or its id."""
        tail = self.fingerprint.partition("…")[2] if self.fingerprint else ""
        named = f"“{self.name}”" if self.name else self.api_key if not tail else ""
        return " ".join(part for part in (named, f"…{tail}" if tail else "") if part) or "an unreadable key"


@dataclass(frozen=True, slots=True)
class UsedBy:
    """Who still uses the old key: OpenAI counts by model and not by service."""

    model: str
    requests: int
    last_at: datetime


@dataclass(frozen=True, slots=True)
class Rotation:
    """One key replaced by another."""

    project: str | None
    """Its name here; None for a project that is not watched."""
    label: str | None
    """Of the key that was replaced here, where it was."""
    old: Side
    new: Side
    signs: tuple[Sign, ...]
    began: datetime
    """When the new key appeared."""
    light: Light
    reasons: tuple[str, ...]
    """What the light rests on, the decisive first."""
    used_by: tuple[UsedBy, ...] = ()
    holders: tuple[str, ...] = ()
    """Labels here that still hold the old secret, as `project/label`."""
    stragglers: tuple[str, ...] = ()
    """Those of them that are refused since the old key is deleted."""
    events: tuple[tuple[datetime, str], ...] = ()
    """What happened, in order."""

    @property
    def summary(self) -> str:
        """One sentence for the light."""
        return f"{_LIGHTS[self.light]}{self.reasons[0] if self.reasons else ''}"


_LIGHTS = {
    Light.SAFE: "Safe to delete the old key: ",
    Light.WAIT: "Not yet safe to delete the old key: ",
    Light.UNKNOWN: "Whether the old key may be deleted is not known: ",
    Light.DELETED: "The old key is deleted: ",
}


@dataclass(frozen=True, slots=True)
class _Pair:
    project_id: str | None
    old: Side
    new: Side
    began: datetime
    place: tuple[str, str] | None = None


def rotations(
    sightings: Collection[Sighting],
    records: Collection[KeyRecord],
    use: KnownUse | None,
    projects: Mapping[str, str],
    now: datetime,
    quiet: timedelta,
) -> list[Rotation]:
    """Every replacement that began within `LOOK_BACK`, the newest first. `projects` gives our name for OpenAI's ids."""
    by_id = {each.item.id: each for each in records}
    sightings = _identified(sightings, records, projects)
    found: dict[tuple[str, str], tuple[_Pair, list[Sign]]] = {}
    for sign, pairs in (
        (Sign.CONFIGURED, _configured(sightings)),
        (Sign.RECORD, _recorded(records)),
        (Sign.USE, _moved(records, use)),
    ):
        for pair in pairs:
            mark = (pair.old.api_key or pair.old.fingerprint or "", pair.new.api_key or pair.new.fingerprint or "")
            if now - pair.began <= LOOK_BACK and "" not in mark and mark[0] != mark[1]:
                found.setdefault(mark, (pair, []))[1].append(sign)
    judged = [
        _judged(_named(pair, by_id), tuple(signs), sightings, by_id, use, projects, now, quiet) for pair, signs in found.values()
    ]
    return sorted(judged, key=lambda each: (each.began, each.old.shown), reverse=True)


def by_key(rotations: Iterable[Rotation]) -> Mapping[str, Rotation]:
    """The newest rotation of each key, by fingerprint and by OpenAI's id."""
    found: dict[str, Rotation] = {}
    for each in rotations:
        for side in (each.old, each.new):
            for mark in (side.api_key, side.fingerprint):
                if mark:
                    found.setdefault(mark, each)
    return found


# Recognising ----------------------------------------------------------------------------------------------------------------------


def _identified(sightings: Iterable[Sighting], records: Iterable[KeyRecord], projects: Mapping[str, str]) -> list[Sighting]:
    """With OpenAI's id of each secret that only one key of its project ends like: one that was replaced can be compared no more."""
    ends: dict[tuple[str | None, str], list[str]] = defaultdict(list)
    for each in records:
        shown = str(each.item.facts.get("redacted_value") or "").rpartition("…")[2]
        if len(shown) == 4:
            ends[projects.get(each.item.project or ""), shown].append(each.item.id)
    found = []
    for seen in sightings:
        alike = ends.get((seen.project, (seen.fingerprint or "").partition("…")[2]), [])
        found.append(replace(seen, api_key=alike[0]) if seen.api_key is None and len(alike) == 1 else seen)
    return found


def _configured(sightings: Iterable[Sighting]) -> Iterator[_Pair]:
    """A label holds another secret than before."""
    places: dict[tuple[str, str], list[Sighting]] = defaultdict(list)
    for each in sightings:
        if each.fingerprint:
            places[each.project, each.label].append(each)
    for place, held in places.items():
        if len(held) < 2:
            continue
        held.sort(key=lambda each: (each.replaced_at is None, each.replaced_at or each.first_seen))
        for old, new in pairwise(held):
            yield _Pair(None, _sighted(old), _sighted(new), old.replaced_at or new.first_seen, place)


def _sighted(seen: Sighting) -> Side:
    return Side(seen.fingerprint, seen.api_key, None, seen.first_seen, seen.kind)


def _named(pair: _Pair, records: Mapping[str, KeyRecord]) -> _Pair:
    """With what OpenAI calls both sides, and whose they are."""

    def told(side: Side) -> Side:
        record = records.get(side.api_key or "")
        owner = record.item.facts.get("owner_type") if record else None
        return replace(side, name=record.item.name, owner_type=owner) if record else side

    record = records.get(pair.new.api_key or "") or records.get(pair.old.api_key or "")
    project = record.item.project if record else pair.project_id
    return replace(pair, project_id=project, old=told(pair.old), new=told(pair.new))


_NUMBERED = re.compile(r"[\s._-]*(?:v?\d{1,8}|\d{4}-\d\d(?:-\d\d)?|old|new|neu|alt|rotated|copy)$")


def _plain(name: str) -> str:
    """A name without what people add to tell a key from its successor: `Backend-2` as `backend`."""
    plain = name.strip().casefold()[:200]
    return _NUMBERED.sub("", plain) or plain


def _recorded(records: Iterable[KeyRecord]) -> Iterator[_Pair]:
    """A newer key of the same name, or of the same service account, while the older one was there."""
    groups: dict[tuple[str | None, str], list[KeyRecord]] = defaultdict(list)
    for each in records:
        facts = each.item.facts
        if each.created is None:
            continue
        if isinstance(facts.get("name"), str) and facts["name"].strip():
            groups[each.item.project, "name " + _plain(facts["name"])].append(each)
        if facts.get("owner_type") == "service_account" and facts.get("owner_id"):
            groups[each.item.project, f"owner {facts['owner_id']}"].append(each)
    for (project, _), held in groups.items():
        if len(held) < 2:
            continue
        held.sort(key=lambda each: (each.created or EPOCH, each.item.id))
        for old, new in pairwise(held):
            began = new.created
            if began is not None and (old.gone_at is None or old.gone_at > began):
                yield _Pair(project, _of_record(old), _of_record(new), began)


def _of_record(record: KeyRecord) -> Side:
    return Side(None, record.item.id, record.item.name, record.created, owner_type=record.item.facts.get("owner_type"))


@dataclass(frozen=True, slots=True)
class _Span:
    record: KeyRecord
    first: datetime
    last: datetime
    """The end of the last bucket with a call."""
    days: int
    models: frozenset[str]


def _moved(records: Iterable[KeyRecord], use: KnownUse | None) -> Iterator[_Pair]:
    """One key is used no more, and another one of the project began to call the same models shortly before or after."""
    if use is None:
        return
    spans: dict[str | None, list[_Span]] = defaultdict(list)
    for each in records:
        rows = [row for row in use.rows.get(each.item.id, ()) if row.requests > 0]
        if rows:
            days = len({row.start.date() for row in rows})
            last = max(row.start + row.width for row in rows)
            spans[each.item.project].append(_Span(each, rows[0].start, last, days, frozenset(row.model for row in rows)))
    for project, held in spans.items():
        for old in held:
            if old.days < _LEAST_DAYS or use.until - old.last < _SETTLED:
                continue
            heirs = [
                new
                for new in held
                if new.record.created is not None
                and (old.record.created is None or new.record.created > old.record.created)
                and new.first > old.first
                and new.last > old.last
                and abs(new.first - old.last) <= _MOVES_WITHIN
                and old.models <= new.models
            ]
            heir = min(heirs, key=lambda new: (abs(new.first - old.last), new.record.item.id), default=None)
            if heir is not None:
                made = heir.record.created  # a day's bucket begins before the key that was made on that day
                began = max(heir.first, made) if made is not None else heir.first
                yield _Pair(project, _of_record(old.record), _of_record(heir.record), began)


# Judging --------------------------------------------------------------------------------------------------------------------------


def _judged(
    pair: _Pair,
    signs: tuple[Sign, ...],
    sightings: Collection[Sighting],
    records: Mapping[str, KeyRecord],
    use: KnownUse | None,
    projects: Mapping[str, str],
    now: datetime,
    quiet: timedelta,
) -> Rotation:
    old, new = _completed(pair.old, sightings), _completed(pair.new, sightings)
    present = [each for each in sightings if each.replaced_at is None]
    holders = [each for each in present if _is(each, old)]
    record = records.get(old.api_key or "")
    gone_at = record.gone_at if record else None
    proof = _proof(new, present, use, pair.began)
    light, reasons = _light(old, gone_at, holders, proof, use, now, quiet)
    refused = [each.place for each in holders if each.failure is FailureKind.AUTH_INVALID_KEY] if light is Light.DELETED else []
    place = pair.place or next(((each.project, each.label) for each in present if _is(each, new) or _is(each, old)), None)
    return Rotation(
        place[0] if place else projects.get(pair.project_id or ""),
        place[1] if place else None,
        old,
        new,
        tuple(dict.fromkeys(signs)),
        pair.began,
        light,
        tuple(reasons),
        _used_by(old, use, quiet),
        tuple(sorted(each.place for each in holders)),
        tuple(sorted(refused)),
        tuple(_events(pair, old, new, records, use)),
    )


def _completed(side: Side, sightings: Iterable[Sighting]) -> Side:
    """With the fingerprint here of a key that OpenAI listed."""
    if side.fingerprint is not None or side.api_key is None:
        return side
    seen = next((each for each in sightings if each.api_key == side.api_key and each.fingerprint), None)
    kind = seen.kind if seen else side.kind
    return Side(seen.fingerprint if seen else None, side.api_key, side.name, side.since, kind, side.owner_type)


def _is(seen: Sighting, side: Side) -> bool:
    same = seen.fingerprint is not None and seen.fingerprint == side.fingerprint
    return same or (seen.api_key is not None and seen.api_key == side.api_key)


def _proof(new: Side, present: Iterable[Sighting], use: KnownUse | None, began: datetime) -> str | None:
    """What shows that the new key works; None where nothing does."""
    for each in present:
        if _is(each, new) and each.health in (Health.HEALTHY, Health.RESTRICTED) and each.last_ok_at is not None:
            return f"the new key is well here ({each.place})"
    rows = use.rows.get(new.api_key or "", ()) if use else ()
    counted = sum(row.requests for row in rows if row.start + row.width > began)
    return f"OpenAI counted {counted:,} calls of the new key" if counted else None


def _light(
    old: Side,
    gone_at: datetime | None,
    holders: Sequence[Sighting],
    proof: str | None,
    use: KnownUse | None,
    now: datetime,
    quiet: timedelta,
) -> tuple[Light, list[str]]:
    if gone_at is not None:
        reasons = [f"OpenAI lists it no more since {gone_at:%Y-%m-%d %H:%M:%S} UTC."]
        refused = [each.place for each in holders if each.failure is FailureKind.AUTH_INVALID_KEY]
        if refused:
            reasons.insert(0, f"{', '.join(sorted(refused))} still holds it and is refused.")
        reasons.append("Who else still sends it cannot be seen: refused calls are in no usage figure.")
        return Light.DELETED, reasons
    waiting = []
    if holders:
        waiting.append(f"{', '.join(sorted(each.place for each in holders))} still holds it here.")
    rows = use.rows.get(old.api_key or "", ()) if use and old.api_key else ()
    last = max((row.start + row.width for row in rows if row.requests > 0), default=None)
    if use is not None and last is not None and last > use.until - quiet:
        calls = sum(row.requests for row in rows if row.start + row.width > use.until - quiet)
        waiting.insert(0, f"it is still used, {calls:,} calls within {duration(quiet.total_seconds())}.")
    if proof is None:
        waiting.append("nothing shows yet that the new key works.")
    blind = None
    if old.api_key is None:
        blind = "which of OpenAI’s keys it is was never found out, so its use is not known (this needs an admin key)."
    elif use is None:
        blind = "the organization’s usage is not known (this needs an admin key)."
    elif now - use.until > USAGE_MAY_LAG:
        blind = f"usage is known until {use.until:%Y-%m-%d %H:%M:%S} UTC only."
    elif use.until - use.since < quiet:
        blind = f"usage is known for {duration((use.until - use.since).total_seconds())} only."
    if waiting:
        return Light.WAIT, waiting + ([blind] if blind else [])
    if blind is not None:
        return Light.UNKNOWN, [blind]
    known = duration(quiet.total_seconds())
    return Light.SAFE, [f"no call of it in {known}, no label here holds it, and {proof}."]


def _used_by(old: Side, use: KnownUse | None, quiet: timedelta) -> tuple[UsedBy, ...]:
    if use is None or old.api_key is None:
        return ()
    sums: dict[str, tuple[int, datetime]] = {}
    for row in use.rows.get(old.api_key, ()):
        end = row.start + row.width
        if row.requests > 0 and end > use.until - quiet:
            count, last = sums.get(row.model, (0, end))
            sums[row.model] = (count + row.requests, max(last, end))
    return tuple(UsedBy(model, count, last) for model, (count, last) in sorted(sums.items(), key=lambda item: -item[1][0]))


def _calls(side: Side, use: KnownUse | None) -> list[UseRow]:
    return [row for row in (use.rows.get(side.api_key or "", ()) if use else ()) if row.requests > 0]


def _holds(row: UseRow, at: datetime | None) -> bool:
    return at is not None and row.start < at < row.start + row.width


def _events(
    pair: _Pair, old: Side, new: Side, records: Mapping[str, KeyRecord], use: KnownUse | None
) -> list[tuple[datetime, str]]:
    found: list[tuple[datetime, str]] = []
    there = records.get(new.api_key or "")
    if there is not None and there.created is not None:
        found.append((there.created, f"OpenAI made the new key {new.shown}."))
    if pair.place is not None:
        found.append((pair.began, f"{'/'.join(pair.place)} here changed from {old.shown} to {new.shown}."))
    record = records.get(old.api_key or "")
    # A key that was made or deleted on a day is counted with the whole day: its calls were after the one and before the other.
    if (first := min(_calls(new, use), key=lambda row: row.start, default=None)) is not None:
        made = there.created if there is not None and _holds(first, there.created) else None
        found.append((made or first.start, "First call of the new key, as far as usage is known."))
    if (last := max(_calls(old, use), key=lambda row: row.start + row.width, default=None)) is not None:
        gone = record.gone_at if record is not None and _holds(last, record.gone_at) else None
        found.append((gone or last.start + last.width, "Last call of the old key that is known."))
    if record is not None and record.gone_at is not None:
        found.append((record.gone_at, f"OpenAI lists the old key {old.shown} no more."))
    return sorted(found, key=lambda each: each[0])
