"""The models that OpenAI lists to each project, as stored: each distinct list once, and what changed as events.

Most projects are listed the same, and hear of a new model within the same hour: that is one list, and one event.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date, timedelta
from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from monitor.domain.catalogue import Catalogue, CatalogueChange, changes, told
from monitor.domain.changes import ChangeEvent, ChangeKind, ChangeSource
from monitor.domain.observation import Observation
from monitor.domain.timeline import from_ms, to_ms
from monitor.store import changes as events
from monitor.store import codec, dialect
from monitor.store.engine import reading
from monitor.store.register import Register
from monitor.store.tables import catalogues, change_events, project_catalogues, projects

FOLD = timedelta(hours=3)
"""What several projects see within this time of the first is one event: each is listed the models about once an hour."""


class _Told(NamedTuple):
    """A project's list as stored."""

    catalogue_id: int
    digest: bytes
    at: int


class _News(NamedTuple):
    """A change with all who saw it in this batch."""

    group: str
    change: CatalogueChange


class CatalogueWriter:
    """Records catalogues with the observations that brought them, within their transaction."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._read_at: dict[int, int] = {}
        """When each project was last listed the models, which is stored only when they differ."""
        self._reads: dict[int, int] = {}
        self._put = dialect.upsert(engine, project_catalogues, put=("catalogue_id", "at"))

    def write(self, connection: Connection, seen: Sequence[Observation], register: Register) -> None:
        """Store the lists among these observations, and what changed. `adopt` after the commit."""
        self._reads = {}
        newest: dict[str, Observation] = {}
        for each in seen:
            name = each.target.project
            if each.catalogue is not None and name in register.projects and (name not in newest or newest[name].at <= each.at):
                newest[name] = each
        if not newest:
            return
        numbers = {name: register.projects[name].id for name in newest}
        before = _stored(connection, numbers.values())
        lists: dict[int, Catalogue] = {}
        rows: list[tuple[int, int, int]] = []
        news: dict[_News, list[Observation]] = defaultdict(list)
        for name, each in newest.items():
            assert each.catalogue is not None  # noqa: S101 - chosen above
            number, at = numbers[name], to_ms(each.at)
            text = _text(each.catalogue)
            digest, old = blake2b(text.encode(), digest_size=16).digest(), before.get(number)
            if old is not None and at < old.at:
                continue
            self._reads[number] = at
            if old is not None and old.digest == digest:
                continue
            rows.append((number, self._list(connection, digest, text), at))
            if old is not None:
                if old.catalogue_id not in lists:
                    lists[old.catalogue_id] = _list_of(connection, old.catalogue_id)
                for change in changes(lists[old.catalogue_id], each.catalogue):
                    news[_News(_group(register.projects[name].facts), change)].append(each)
        self._put.run(connection, rows)
        for one, who in news.items():
            self._tell(connection, one, who, register, before)
        _forget(connection, lists)

    def adopt(self) -> None:
        """Remember what is committed."""
        self._read_at |= self._reads

    def _list(self, connection: Connection, digest: bytes, text: str) -> int:
        connection.execute(dialect.insert_new(self._engine, catalogues), {"digest": digest, "models": text})
        number: int = connection.execute(sa.select(catalogues.c.id).where(catalogues.c.digest == digest)).scalar_one()
        return number

    def _tell(
        self, connection: Connection, news: _News, who: Sequence[Observation], register: Register, before: dict[int, _Told]
    ) -> None:
        """A new event, or the one of those who saw the same a moment ago with more names."""
        c, first = change_events.c, min(who, key=lambda each: each.at)
        mark = _mark(news)
        recent = (c.at >= to_ms(first.at - FOLD), c.dedup >= mark, c.dedup < mark + "~", c.kind == news.change.kind.value)
        known = connection.execute(sa.select(c.id, c.at, c.project).where(*recent).order_by(c.at.desc()).limit(1)).first()
        if known is not None:
            names = _who_saw(connection, news, known.at, register)
            facts = {"text": codec.said(told(news.change, names)), **_owner(names, register)}
            connection.execute(sa.update(change_events).where(c.id == known.id).values(facts))
            if known.project is not None and len(names) > 1:
                events.renew(connection, self._engine)  # one project's change has become everybody's
            return
        names = sorted({each.target.project or "" for each in who})
        number = register.projects[first.target.project or ""].id
        last = self._read_at.get(number)
        event = ChangeEvent(
            at=first.at,
            kind=news.change.kind,
            source=ChangeSource.CATALOGUE,
            text=told(news.change, names),
            subject=news.change.model,
            model=news.change.model,
            after=from_ms(last if last is not None else before[number].at),
            dedup=f"{mark}{to_ms(first.at)}",
        )
        events.write(connection, self._engine, [replace(event, **_owner(names, register))])


def _owner(names: Sequence[str], register: Register) -> dict[str, Any]:
    """Whose event it is: one project's, or everybody's."""
    if len(names) != 1:
        return {"project": None, "project_id": None}
    row = register.projects[names[0]]
    return {"project": names[0], "project_id": json.loads(row.facts).get("project_id")}


def _mark(news: _News) -> str:
    """The beginning of the keys of one piece of news, whenever it comes."""
    change = news.change
    said = codec.dumps([news.group, change.kind.value, change.model, str(change.before), str(change.after)])
    return f"catalogue:{blake2b(said.encode(), digest_size=12).hexdigest()}:"


def _who_saw(connection: Connection, news: _News, since: int, register: Register) -> list[str]:
    """Who was told another list since the first saw the change, and has it in that list."""
    p, c = project_catalogues.c, catalogues.c
    moved = connection.execute(sa.select(p.project_id, p.catalogue_id).where(p.at >= since)).all()
    lists = connection.execute(sa.select(c.id, c.models).where(c.id.in_({each.catalogue_id for each in moved})))
    having = {number for number, models in lists if _has(_read(models), news.change)}
    names = {row.id: (name, row) for name, row in register.projects.items()}
    here = [names[each.project_id] for each in moved if each.catalogue_id in having and each.project_id in names]
    return sorted(name for name, row in here if _group(row.facts) == news.group)


def _has(models: dict[str, date | None], change: CatalogueChange) -> bool:
    if change.kind is ChangeKind.MODEL_DELISTED:
        return change.model not in models
    return change.model in models and (change.kind is ChangeKind.MODEL_LISTED or models[change.model] == change.after)


@lru_cache(maxsize=10_000)
def _group(facts: str) -> str:
    """Host and organization of a project: within them, what is new for one is the same news for all."""
    told = json.loads(facts)
    return f"{urlsplit(told.get('base_url') or '').netloc} {told.get('organization') or ''}"


def _stored(connection: Connection, numbers: Iterable[int]) -> dict[int, _Told]:
    p, c = project_catalogues.c, catalogues.c
    query = sa.select(p.project_id, p.catalogue_id, c.digest, p.at).join_from(
        project_catalogues, catalogues, c.id == p.catalogue_id
    )
    return {
        number: _Told(catalogue_id, bytes(digest), at)
        for number, catalogue_id, digest, at in connection.execute(query.where(p.project_id.in_(list(numbers))))
    }


def _list_of(connection: Connection, number: int) -> Catalogue:
    return Catalogue(_read(connection.execute(sa.select(catalogues.c.models).where(catalogues.c.id == number)).scalar_one()))


def _forget(connection: Connection, numbers: Iterable[int]) -> None:
    """Lists that nobody is told any more."""
    c, used = catalogues.c, sa.select(project_catalogues.c.catalogue_id)
    numbers = list(numbers)
    if numbers:
        connection.execute(sa.delete(catalogues).where(c.id.in_(numbers), c.id.not_in(used)))


def _text(catalogue: Catalogue) -> str:
    return codec.dumps([[model, day.isoformat() if day else None] for model, day in sorted(catalogue.models.items())])


def _read(text: str) -> dict[str, date | None]:
    return {model: date.fromisoformat(day) if day else None for model, day in json.loads(text)}


# Reading --------------------------------------------------------------------------------------------------------------------------


def find(engine: Engine, project: str | None = None) -> dict[str, Catalogue]:
    """What each project (or one) is listed, by its name; those that were never listed anything are missing."""
    p, c, o = project_catalogues.c, catalogues.c, projects.c
    query = sa.select(o.name, p.catalogue_id, p.at).join_from(project_catalogues, projects, o.id == p.project_id)
    query = query.where(o.active == 1) if project is None else query.where(o.name == codec.clean(project))
    with reading(engine) as connection:
        rows = connection.execute(query).all()
        known = connection.execute(sa.select(c.id, c.models).where(c.id.in_({number for _, number, _ in rows}))).all()
    lists = {number: _read(text) for number, text in known}
    return {name: Catalogue(lists[number], from_ms(at)) for name, number, at in rows}
