"""Current health as scripts read it: the lines of `status --json` and of `/api/status`."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from monitor.domain.health import Health
from monitor.domain.taxonomy import LAMPS
from monitor.store import incidents, queries
from monitor.store.engine import Engine


def lines(engine: Engine, now: datetime) -> Iterator[dict[str, Any]]:
    """One line for the monitor itself, then one a project, worst first. While the poller is silent everything is unknown."""
    beat = queries.heartbeat(engine)
    late = beat is None or beat.late(now)
    state = "never started" if beat is None else "late" if late else "running"
    yield {
        "kind": "monitor",
        "heartbeat": _time(beat.at if beat else None),
        "state": state,
        "demo": bool(beat and beat.demo),
        "pollers": len(queries.sharing(engine).pollers) or int(state == "running"),
        "config_error": beat.config_error if beat else None,
        "synced": {name: _time(at) for name, at in queries.organizations(engine).items()},
    }
    worst: dict[str, int] = {}
    for incident in sorted(incidents.open_ones(engine), key=lambda each: -each.severity.rank):
        for name in incident.projects:
            worst.setdefault(name, incident.id or 0)
    for project in queries.fleet(engine, now):
        health = Health.UNKNOWN if late else project.health
        ill = not late and project.worst is not None and project.worst.failure is not None
        yield {
            "kind": "project",
            "project": project.name,
            "health": health.value,
            "since": _time(project.since),
            "lanes": {lane.value: (Health.UNKNOWN if late else project.lamps[lane].health).value for lane in LAMPS},
            "failure": project.worst.failure.value if ill and project.worst and project.worst.failure else None,
            "incident": worst.get(project.name),
        }


def _time(at: datetime | None) -> str | None:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z") if at else None
