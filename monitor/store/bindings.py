"""What came of trying each key under another project's id: the newest trial of each key, with the installation's own few values."""

import json
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from monitor.domain.binding import Binding, Tried
from monitor.domain.health import Health
from monitor.domain.inventory import ProbeKind
from monitor.domain.timeline import from_ms, to_ms
from monitor.store import codec, dialect
from monitor.store.engine import reading, writing
from monitor.store.tables import PROBES, keys, meta, projects, target_states, targets

_PREFIX = "binding:"
_END = "binding;"
"""The first text after all that begin with the prefix."""
_TRIED = {each.value: each for each in Tried}

Place = tuple[str, str]
"""Project and label."""


def put(engine: Engine, place: Place, trial: Binding) -> None:
    """Store the newest trial of a key. Raises `StoreError`."""
    said = {
        "at": to_ms(trial.at),
        "tried": trial.tried.value,
        "host": trial.host,
        "fingerprint": trial.fingerprint,
        "other": trial.other,
    }
    with writing(engine) as connection:
        dialect.upsert(engine, meta, put=["value"]).run(connection, [(_PREFIX + "/".join(place), codec.dumps(said))])


def read(connection: Connection, project: str | None = None) -> dict[Place, Binding]:
    """The newest trial of every key (of one project) that was ever tried."""
    first, end = (_PREFIX, _END) if project is None else (f"{_PREFIX}{project}/", f"{_PREFIX}{project}0")
    rows = connection.execute(sa.select(meta.c.key, meta.c.value).where(meta.c.key >= first, meta.c.key < end))
    found = ((key.removeprefix(_PREFIX).partition("/"), _trial(value)) for key, value in rows)
    return {(name, label): trial for (name, _, label), trial in found if trial is not None}


def _trial(value: str) -> Binding | None:
    """A trial as stored; None for one that another version of the program wrote otherwise."""
    try:
        said: Any = json.loads(value)
        return Binding(from_ms(said["at"]), _TRIED[said["tried"]], said["host"], said["fingerprint"], said["other"])
    except (ValueError, KeyError, TypeError):
        return None


def due(engine: Engine, now: datetime, every: timedelta) -> list[tuple[Place, str]]:
    """The keys that are well and were not tried for so long, with their fingerprints; those never tried first."""
    k, p, t = keys.c, projects.c, targets.c
    query = (
        sa.select(p.name, k.label, k.fingerprint)
        .join_from(keys, projects, k.project_id == p.id)
        .join(targets, sa.and_(t.project_id == p.id, t.key == k.label, t.probe == PROBES[ProbeKind.AUTH], t.active == 1))
        .join(target_states, target_states.c.target_id == t.id)
        .where(k.active == 1, p.active == 1, k.replaced_at.is_(None), target_states.c.health == Health.HEALTHY.value)
    )
    with reading(engine) as connection:
        tried = read(connection)
        present = [((name, label), fingerprint) for name, label, fingerprint in connection.execute(query)]
    waiting = []
    for place, fingerprint in present:
        last = tried.get(place)
        if last is None or last.fingerprint != fingerprint or now - last.at >= every:
            waiting.append((to_ms(last.at) if last is not None and last.fingerprint == fingerprint else 0, place, fingerprint))
    return [(place, fingerprint) for _, place, fingerprint in sorted(waiting)]
