"""How scorecards did over time: a row whenever a score changed."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy import Engine

from monitor.domain.timeline import Window, to_ms
from monitor.store import codec, dialect, meta
from monitor.store.engine import reading, writing
from monitor.store.frames import frame
from monitor.store.tables import scores

if TYPE_CHECKING:
    import pandas as pd

_MOST_SUBJECT = 300


def record(engine: Engine, at: datetime, found: Mapping[str, tuple[int, tuple[str, ...]]]) -> int:
    """Store the scores that are not what they were; how many those are. `found` is by subject: score and broken rules.

    Raises `StoreError`.
    """
    s = scores.c
    newest = sa.select(s.subject, sa.func.max(s.at).label("at")).group_by(s.subject).subquery()
    query = sa.select(s.subject, s.score).join_from(newest, scores, sa.and_(s.subject == newest.c.subject, s.at == newest.c.at))
    with reading(engine) as connection:
        before = dict(connection.execute(query).all())
    now = to_ms(at)
    rows = [
        (subject, now, score, codec.dumps(list(rules)))
        for subject, (score, rules) in ((codec.clean(name, _MOST_SUBJECT) or "", each) for name, each in found.items())
        if before.get(subject) != score
    ]
    if rows:
        with writing(engine) as connection:
            dialect.upsert(engine, scores, put=("score", "findings")).run(connection, rows)
            meta.bump(connection)
    return len(rows)


def trend(engine: Engine, subject: str, window: Window) -> "pd.DataFrame":
    """The score of a subject over time: `start` (when it changed), `score`, `rules` (those broken then, as a list).

    What it was when the window began comes first, at the window's start.
    """
    s = scores.c
    mine = s.subject == (codec.clean(subject, _MOST_SUBJECT) or "")
    start, end = to_ms(window.start), to_ms(window.end)
    before = sa.select(sa.func.max(s.at)).where(mine, s.at <= start).scalar_subquery()
    query = sa.select(s.at, s.score, s.findings).where(mine, sa.or_(s.at == before, sa.and_(s.at > start, s.at < end)))
    with reading(engine) as connection:
        rows = [(max(at, start), score, _rules(said)) for at, score, said in connection.execute(query.order_by(s.at))]
    return frame(("start", "score", "rules"), rows)


def _rules(said: str) -> list[str]:
    try:
        found = json.loads(said)
    except ValueError:
        return []
    return [str(each) for each in found] if isinstance(found, list) else []
