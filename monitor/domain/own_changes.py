"""What changed in this monitor itself: its configuration and its secrets, in words. Pure."""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime

from monitor.domain.changes import ChangeEvent, ChangeKind, ChangeSource
from monitor.domain.redact import redact
from monitor.domain.timeline import to_ms

_MOST_SETTINGS = 8

Config = Mapping[str, object]
"""The settings as JSON, without secrets, as they are stored and shown."""


def everybodys(old: Config, new: Config) -> list[str]:
    """What differs for all projects."""
    return list(_differences("", _shared(old), _shared(new)))


def of_project(old: Config, new: Config, name: str) -> list[str]:
    """What differs for one project."""
    before, after = _projects(old), _projects(new)
    if name not in before and name in after:
        return [f"project {name} is new"]
    if name in before and name not in after:
        return [f"project {name} is gone"]
    return list(_differences(f"{name}: ", before.get(name, {}), after.get(name, {})))


def sentence(told: list[str]) -> str:
    """The differences as one sentence."""
    more = f"; and {len(told) - _MOST_SETTINGS:,} more" if len(told) > _MOST_SETTINGS else ""
    return redact(f"The configuration changed: {'; '.join(told[:_MOST_SETTINGS])}{more}.")


def configured(at: datetime, old: Config, new: Config) -> Iterator[ChangeEvent]:
    """One event for what everybody has, and one for each project that differs; `subject` names the settings."""
    before, after = _projects(old), _projects(new)
    for name in (None, *sorted(before.keys() | after.keys())):
        if told := everybodys(old, new) if name is None else of_project(old, new, name):
            number = after.get(name or "", before.get(name or "", {})).get("project_id")
            yield ChangeEvent(
                at=at,
                kind=ChangeKind.CONFIG_CHANGED,
                source=ChangeSource.CONFIGURATION,
                text=sentence(told),
                project_id=number if isinstance(number, str) else None,
                project=name,
                subject=", ".join(_names(old, new) if name is None else _names(before.get(name, {}), after.get(name, {}))),
                dedup=f"{ChangeKind.CONFIG_CHANGED.value} {name or ''} {to_ms(at)}",
            )


def _names(old: Config, new: Config) -> list[str]:
    """The settings that differ, without what belongs to single projects."""
    return [name for name in dict.fromkeys([*old, *new]) if name != "projects" and old.get(name) != new.get(name)]


def _shared(config: Config) -> dict[str, object]:
    return {name: value for name, value in config.items() if name != "projects"}


def _projects(config: Config) -> dict[str, Config]:
    found = config.get("projects")
    return {str(one.get("name")): one for one in found if isinstance(one, Mapping)} if isinstance(found, list) else {}


def _differences(path: str, old: Config, new: Config) -> Iterator[str]:
    for name in dict.fromkeys([*old, *new]):
        before, after = old.get(name), new.get(name)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            yield from _differences(f"{path}{name}.", before, after)
        elif before != after:
            yield f"{path}{name} {_short(before)} → {_short(after)}"


def _short(value: object) -> str:
    said = "unset" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return said if len(said) <= 80 else f"{said[:79]}…"


def secret_replaced(project: str, key: str, old: str, new: str) -> str:
    """Another secret under the same label; `old` and `new` are fingerprints, of which the last four characters are shown."""
    was, now = (f"…{tail}" if (tail := mark.partition("…")[2]) else "one that could not be read" for mark in (old, new))
    return f"Key “{key}” of {project} has another secret: {was} → {now}."


def rotated(at: datetime, project: str, project_id: str | None, key: str, old: str, new: str) -> ChangeEvent:
    """The same as an event."""
    return ChangeEvent(
        at=at,
        kind=ChangeKind.KEY_ROTATED,
        source=ChangeSource.CONFIGURATION,
        text=secret_replaced(project, key, old, new),
        project_id=project_id,
        project=project,
        subject=key,
        key=key,
        dedup=f"{ChangeKind.KEY_ROTATED.value} {project}/{key} {to_ms(at)}",
    )
