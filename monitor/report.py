"""The weekly report: what each owner's page says, and the files. How it looks is `report_page`'s."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from monitor.domain.incidents import Incident
from monitor.domain.sli import OBJECTIVE
from monitor.domain.taxonomy import FailureKind
from monitor.domain.timeline import Window
from monitor.report_page import CELLS, WEEK, WINDOWS, Facts, page
from monitor.store import incidents, queries, slo
from monitor.store.engine import Engine
from monitor.store.status import ProjectStatus

V = TypeVar("V")

NOBODY = "no owner"
"""Whose page has the projects that name none."""
_MOST_INCIDENTS = 10_000


def facts(
    engine: Engine, now: datetime, owner: str | None = None, objective: float = OBJECTIVE, dashboard: str | None = None
) -> list[Facts]:
    """One for each owner, or for the one who is named; read once for all of them. Raises `StoreError`."""
    fleet = queries.fleet(engine, now)
    owned: dict[str, list[ProjectStatus]] = {}
    for project in fleet:
        owned.setdefault(project.owner or NOBODY, []).append(project)
    wanted = {name: projects for name, projects in sorted(owned.items()) if owner in (None, name)}
    if not wanted:
        return []
    levels = {length: slo.levels(engine, Window.last(length, now, timedelta(hours=1))) for length in WINDOWS}
    burning = slo.burning(engine, now, objective)
    strips = _strips(engine, now)
    found = [one for one in incidents.find(engine, since=now - WEEK, limit=_MOST_INCIDENTS) if one.merged_into is None]
    beat = queries.heartbeat(engine)
    return [
        Facts(
            owner=name,
            now=now,
            objective=objective,
            projects=projects,
            levels={length: _only(there, projects) for length, there in levels.items()},
            strips=_only(strips, projects),
            burning=_only(burning, projects),
            incidents=[one for one in found if _concerns(one, name, projects)],
            silent_since=beat.at if beat and beat.late(now) else None,
            demo=bool(beat and beat.demo),
            dashboard=dashboard,
        )
        for name, projects in wanted.items()
    ]


def _only(found: Mapping[str, V], projects: Iterable[ProjectStatus]) -> dict[str, V]:
    return {project.name: found[project.name] for project in projects if project.name in found}


def _concerns(incident: Incident, owner: str, projects: Iterable[ProjectStatus]) -> bool:
    """Whether it hit the owner's projects, or everybody at once."""
    return not incident.projects or owner in incident.owners or any(project.name in incident.projects for project in projects)


def _strips(engine: Engine, now: datetime) -> dict[str, dict[int, float]]:
    """What failed in each part of the week. A key that only may not list models is restricted: nothing failed."""
    found: dict[str, dict[int, float]] = defaultdict(dict)
    window = Window.last(WEEK, now, timedelta(hours=1))
    columns = ("project", "cell", "ok", "failed", "failure")
    table = queries.strips(engine, window, CELLS)
    for name, cell, ok, failed, failure in zip(*(table[column] for column in columns), strict=True):
        if told := ok + failed:
            found[name][cell] = 0.0 if failure == FailureKind.AUTH_MISSING_SCOPE else failed / told
    return found


def write(
    engine: Engine,
    folder: Path,
    now: datetime,
    owner: str | None = None,
    objective: float = OBJECTIVE,
    dashboard: str | None = None,
) -> list[Path]:
    """Write one page for each owner, or for the one who is named, into `folder`; gives the files. One of the same day is replaced.

    Raises `StoreError` where the database cannot be read, and OSError where the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for each in facts(engine, now, owner, objective, dashboard):
        path = folder / f"{now.astimezone(UTC):%Y-%m-%d}-{_slug(each.owner)}.html"
        number = 2
        while path in written:  # two owners may differ in signs that no file name should have
            path = path.with_name(f"{now.astimezone(UTC):%Y-%m-%d}-{_slug(each.owner)}-{number}.html")
            number += 1
        path.write_text(page(each), encoding="utf-8")
        written.append(path)
    return written


def _slug(name: str) -> str:
    """A name as part of a file name."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:60] or "owner"
