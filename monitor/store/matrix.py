"""Which project may use which model, as the checks of models say."""

from collections import defaultdict
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Engine

from monitor.domain.health import Health
from monitor.domain.inventory import ProbeKind
from monitor.store import tables
from monitor.store.current import statuses
from monitor.store.engine import reading
from monitor.store.fleet import well
from monitor.store.frames import frame
from monitor.store.register import probe_of

if TYPE_CHECKING:
    import pandas as pd

_NEEDS = {ProbeKind.MODEL_ACCESS: "required", ProbeKind.INFERENCE: "required", ProbeKind.DENIED_MODEL: "denied"}


class _Cell(NamedTuple):
    """What one check says of one model; of several keys the worst counts, of equals the first."""

    order: tuple[int, str]
    health: Health
    failure: str | None
    message: str | None
    at: int | None


def model_matrix(engine: Engine, now: datetime, project: str | None = None) -> "pd.DataFrame":
    """Project × model: `project, model, need` (required|denied), `listed` and `usable` (Health values, or None where not probed),
    `failure`, `message`, `at`. Where several keys are probed, the worst.
    """
    t, s, p = tables.targets.c, tables.target_states.c, tables.projects.c
    query = (
        sa.select(t.id, p.name, t.model, t.probe, t.key, s.last_at, well(now))
        .join_from(tables.targets, tables.projects, p.id == t.project_id)
        .outerjoin(tables.target_states, s.target_id == t.id)
        .where(t.active == 1, t.model != "")
    )
    if project is not None:
        query = query.where(p.name == project)
    asked: dict[tuple[str, str, str], dict[str, _Cell]] = defaultdict(dict)
    with reading(engine) as connection:
        rows = connection.execute(query).all()
        told = statuses(connection, (row[0] for row in rows if not row[-1]), now)
        for number, name, model, code, key, at, is_well in rows:
            probe = probe_of(code)
            cell = _Cell((-Health.HEALTHY.rank, key), Health.HEALTHY, None, None, at)
            if not is_well:
                one = told[number]
                message = one.message if one.failure or one.suspect else None
                cell = _Cell((-one.health.rank, key), one.health, one.failure.value if one.failure else None, message, at)
            question = "listed" if probe is ProbeKind.MODEL_ACCESS else "usable"
            held = asked[name, model, _NEEDS[probe]]
            if question not in held or cell.order < held[question].order:
                held[question] = cell
    columns = ("project", "model", "need", "listed", "usable", "failure", "message", "at")
    return frame(columns, [(*place, *_row(cells)) for place, cells in sorted(asked.items())])


def _row(cells: dict[str, _Cell]) -> tuple[Any, ...]:
    listed, usable = cells.get("listed"), cells.get("usable")
    worst = max(cells.values(), key=lambda cell: (cell.health.rank, cell is usable))
    return (
        listed.health.value if listed else None,
        usable.health.value if usable else None,
        worst.failure,
        worst.message,
        worst.at,
    )
