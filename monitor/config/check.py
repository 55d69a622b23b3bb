"""Every error of a raw configuration, in our words: what pydantic finds, and what no single value shows.

The second kind (duplicates, keys in clear) is looked for in the raw values, so that it is reported together with the first.
"""

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from monitor.config.errors import ConfigError
from monitor.config.settings import (
    Budget,
    ChannelSettings,
    ConfigFile,
    DashboardSettings,
    HealthOverrides,
    HealthSettings,
    IntervalOverrides,
    Intervals,
    KeySettings,
    MaintenanceSettings,
    MetricsSettings,
    MonitorTable,
    OrganizationSettings,
    PollerSettings,
    ProjectSettings,
    Retention,
    RouteSettings,
    SyncSettings,
)
from monitor.config.values import KEY_IN_CLEAR
from monitor.domain.redact import redact

MOST_ERRORS = 1000
"""Of one file. More than that is not a configuration but another kind of file."""


def cross_errors(raw: Mapping[str, Any], place: str) -> list[ConfigError]:
    """What no single value shows: keys in clear, and names, labels and models given twice."""
    errors = [
        ConfigError(
            place,
            key_path,
            "holds a key in clear; a secret never belongs into this file",
            'Take it out, put it into .env and write "env:NAME" as the secret. Whoever could read the file has the key: rotate it.',
            _project_name(raw, key_path),
        )
        for key_path in _keys_in_clear(raw)
    ]
    projects = raw.get("projects")
    names: dict[str, int] = {}
    for index, project in enumerate(projects if isinstance(projects, list) else ()):
        if not isinstance(project, dict):
            continue
        name = project.get("name")
        if isinstance(name, str):
            first = names.setdefault(name, index)
            if first != index:
                message = f"is the name of projects[{first}] as well"
                errors.append(
                    ConfigError(place, f"projects[{index}].name", message, "Give each project its own name.", redact(name))
                )
        errors += _duplicates_within(project, index, place)
    return [*errors, *_organization_errors(raw, place), *_channel_errors(raw, place)]


def _organization_errors(raw: Mapping[str, Any], place: str) -> Iterator[ConfigError]:
    """Organizations given twice, and an admin key that is also to be used as a project's key."""
    names: dict[str, int] = {}
    admin_keys: set[str] = set()
    for index, organization in enumerate(_tables(raw, "organizations")):
        name, ref = organization.get("name"), organization.get("admin_key")
        if isinstance(name, str) and (first := names.setdefault(name, index)) != index:
            message = f"is the name of organizations[{first}] as well"
            yield ConfigError(place, f"organizations[{index}].name", message, "Give each organization its own name.")
        if isinstance(ref, str):
            admin_keys.add(ref)
    for index, project in enumerate(_tables(raw, "projects") if admin_keys else ()):
        for number, key in enumerate(_tables(project, "keys")):
            if isinstance(ref := key.get("secret"), str) and ref in admin_keys:
                message, fix = "is an organization's admin_key as well", "Name a project's own key: an admin key opens no model."
                path = f"projects[{index}].keys[{number}].secret"
                yield ConfigError(place, path, message, fix, _project_name(raw, path))


def _channel_errors(raw: Mapping[str, Any], place: str) -> Iterator[ConfigError]:
    """Channels given twice, and routes that lead nowhere."""
    names: dict[str, int] = {}
    for index, channel in enumerate(_tables(raw, "channels")):
        name = channel.get("name")
        if isinstance(name, str) and (first := names.setdefault(name, index)) != index:
            message = f"is the name of channels[{first}] as well"
            yield ConfigError(place, f"channels[{index}].name", message, "Give each channel its own name.")
    likely = [name for name in names if len(name) <= 64][:100]
    strangers = [
        (index, name)
        for index, route in enumerate(_tables(raw, "routes"))
        if isinstance(name := route.get("channel"), str) and name not in names
    ]
    for number, (index, name) in enumerate(strangers[:MOST_ERRORS]):
        close = difflib.get_close_matches(name[:64], likely, n=1) if number < 100 else []  # each takes a millisecond
        fix = f'Did you mean "{redact(close[0])}"?' if close else 'Add [[channels]] with that name and url = "env:NAME".'
        yield ConfigError(place, f"routes[{index}].channel", "names no channel", fix)


def _tables(raw: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """The tables of a list as far as they are any: others are empty here and an error of their own."""
    listed = raw.get(name)
    return [item if isinstance(item, dict) else {} for item in listed] if isinstance(listed, list) else []


def _duplicates_within(project: Mapping[str, Any], index: int, place: str) -> Iterator[ConfigError]:
    name = project.get("name")
    shown = redact(name) if isinstance(name, str) else None
    keys = project.get("keys")
    labels: dict[str, int] = {}
    for number, key in enumerate(keys if isinstance(keys, list) else ()):
        label = key.get("label", "default") if isinstance(key, dict) else None
        if isinstance(label, str) and (first := labels.setdefault(label, number)) != number:
            message = f"is the label of keys[{first}] as well"
            yield ConfigError(place, f"projects[{index}].keys[{number}].label", message, "Give each key its own label.", shown)
    models: dict[str, str] = {}
    for field in ("models", "denied_models"):
        listed = project.get(field)
        for number, model in enumerate(listed if isinstance(listed, list) else ()):
            here = f"{field}[{number}]"
            if isinstance(model, str) and (before := models.setdefault(model, here)) != here:
                clash = before.partition("[")[0] != field
                message = f"is required in {before} and denied here" if clash else f"is listed in {before} already"
                yield ConfigError(place, f"projects[{index}].{here}", message, "Keep one of the two.", shown)


def _keys_in_clear(raw: Mapping[str, Any]) -> Iterator[str]:
    """The key paths of all strings that hold something that is certainly a key."""
    stack: list[tuple[tuple[str | int, ...], Any]] = [((), raw)]
    while stack:
        path, value = stack.pop()
        if isinstance(value, str) and KEY_IN_CLEAR.search(value):
            yield _dotted(path)
        elif isinstance(value, dict):
            stack += [((*path, key), item) for key, item in value.items()]
        elif isinstance(value, list):
            stack += [((*path, index), item) for index, item in enumerate(value)]


def translated(error: ValidationError, raw: Mapping[str, Any], place: str) -> list[ConfigError]:
    """What pydantic found in `raw`, each error with its key path and without the value."""
    found = []
    for details in error.errors(include_url=False, include_input=False)[:MOST_ERRORS]:
        key_path = _dotted(details["loc"])
        message, fix = _words(details)
        found.append(ConfigError(place, key_path, message, fix, _project_name(raw, key_path)))
    if (more := error.error_count() - MOST_ERRORS) > 0:
        found.append(ConfigError(place, "", f"has {more:,} more errors", "Mend those that are listed first."))
    return found


def tidy(errors: list[ConfigError]) -> list[ConfigError]:
    """One error a place, the first of several, sorted by key path with numbers as numbers."""
    kept: dict[tuple[str, str], ConfigError] = {}
    for error in errors:
        kept.setdefault((error.file, error.key_path), error)
    return sorted(kept.values(), key=lambda error: (error.file, _numbered(error.key_path)))


def _numbered(key_path: str) -> list[tuple[str, int]]:
    """The key path as text and number by turns, so that projects[10] comes after projects[9]."""
    return [(text, int(number or 0)) for text, number in re.findall(r"([^0-9]*)([0-9]{0,9})", key_path)]


def _dotted(path: tuple[str | int, ...]) -> str:
    """`projects[2].keys[0].secret`. Redacted: a key may stand where a name should."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            name = part if re.fullmatch(r"[A-Za-z0-9_-]{1,64}", part) else repr(part[:64])
            text += f".{KEY_IN_CLEAR.sub('***', redact(name))}"
    return text.removeprefix(".")


def _project_name(raw: Mapping[str, Any], key_path: str) -> str | None:
    match = re.match(r"projects\[(\d+)\]", key_path)
    projects = raw.get("projects")
    if not match or not isinstance(projects, list) or int(match[1]) >= len(projects):
        return None
    project = projects[int(match[1])]
    name = project.get("name") if isinstance(project, dict) else None
    return redact(name[:63]) if isinstance(name, str) and name and name.isprintable() else None


_TABLES: dict[str, type[BaseModel]] = {
    "": ConfigFile,
    "monitor": MonitorTable,
    "monitor.intervals": Intervals,
    "monitor.poller": PollerSettings,
    "monitor.dashboard": DashboardSettings,
    "monitor.metrics": MetricsSettings,
    "monitor.retention": Retention,
    "monitor.health": HealthSettings,
    "projects": ProjectSettings,
    "projects.budget": Budget,
    "projects.intervals": IntervalOverrides,
    "projects.health": HealthOverrides,
    "projects.keys": KeySettings,
    "channels": ChannelSettings,
    "routes": RouteSettings,
    "maintenance": MaintenanceSettings,
    "organizations": OrganizationSettings,
    "organizations.sync": SyncSettings,
}
_LISTS = ("organizations", "projects", "projects.keys", "channels", "routes", "maintenance")
"""Those that are written in double brackets."""

_MEANT = {
    "api_key": "secret",
    "apikey": "secret",
    "key": "secret",
    "token": "secret",
    "value": "secret",
    "url": "base_url",
    "endpoint": "base_url",
    "org": "organization",
    "org_id": "organization",
    "organisation": "organization",
    "id": "project_id",
    "model": "models",
    "required_models": "models",
    "team": "owner",
    "env": "environment",
    "host": "address",
    "database": "database_url",
    "db": "database_url",
    "project": "projects",
    "channel": "channels",
    "route": "routes",
    "notifications": "channels",
    "alerts": "channels",
    "webhook": "url",
    "webhook_url": "url",
    "apprise": "url",
    "apprise_url": "url",
    "to": "channel",
    "severity": "min_severity",
    "lane": "lanes",
    "reminder": "remind_every",
    "repeat": "remind_every",
    "escalation": "escalate_after",
    "digest": "digest_every",
    "start": "starts",
    "from": "starts",
    "end": "until",
    "ends": "until",
    "heartbeat_url": "dead_man_url",
    "deadman_url": "dead_man_url",
    "public_url": "dashboard_url",
}


def _meant(key: str, model: type[BaseModel]) -> str | None:
    """The key of `model` that an unknown one probably means."""
    known = list(model.model_fields)
    if (alias := _MEANT.get(key.lower().replace("-", "_"))) in known:
        return alias
    close = difflib.get_close_matches(key.lower().replace("-", "_")[:64], known, n=1)
    return close[0] if close else None


def _unknown_key(path: tuple[str | int, ...]) -> str:
    """How to mend an unknown key: the one that was meant, or the table it belongs into, or what is known here."""
    *table, key = [part for part in path if isinstance(part, str)]
    model = _TABLES.get(".".join(table), ConfigFile)
    if meant := _meant(key, model):
        return f'Did you mean "{meant}"?'
    exact = [(name, key) for name, other in _TABLES.items() if key in other.model_fields]
    close = [(name, meant) for name, other in _TABLES.items() if (meant := _meant(key, other))]
    for name, meant in exact or close:
        brackets = f"[[{name}]]" if name in _LISTS else f"[{name}]" if name else "the top of the file"
        return f'Did you mean "{meant}" in {brackets}?'
    return f"Known here: {', '.join(model.model_fields)}."


def _words(details: ErrorDetails) -> tuple[str, str]:
    """Message and fix for one of pydantic's errors, without the value."""
    kind, context = details["type"], details.get("ctx", {})
    if kind == "ours":
        return context["message"], context["fix"]
    if kind == "extra_forbidden":
        return "is not a known setting", _unknown_key(details["loc"])
    if kind == "missing":
        return "is missing", _MISSING.get(str(details["loc"][-1]), "Add it.")
    if kind == "literal_error":
        return "is none of the allowed words", f"Write one of {context['expected']}."
    if kind in _TYPES:
        return _TYPES[kind]
    if "ge" in context or "le" in context:
        sign, bound = ("at least", context["ge"]) if "ge" in context else ("at most", context["le"])
        return f"must be {sign} {bound:,}", "Choose a number in range."
    return "cannot be used", "See monitor.example.toml."


_MISSING = {
    "name": 'Add a name of small letters, such as name = "prod-chatbot".',
    "keys": 'Add [[projects.keys]] below it, with label = "backend" and secret = "env:NAME".',
    "secret": 'Add secret = "env:NAME" (from the environment or .env) or "file:PATH".',
    "admin_key": 'Add admin_key = "env:NAME" (from the environment or .env) or "file:PATH".',
    "url": 'Add url = "env:NAME"; the variable holds the Apprise URL, such as slack://… or mailto://….',
    "channel": "Add the name of one of the [[channels]].",
    "starts": "Add when it starts, such as starts = 2026-12-01T22:00:00+01:00.",
    "until": "Add when it ends, such as until = 2026-12-02T02:00:00+01:00.",
}
_TYPES = {
    "string_type": ("must be text", "Put it in quotes."),
    "int_type": ("must be a whole number", "Write it without quotes."),
    "bool_type": ("must be true or false", "Write it without quotes."),
    "tuple_type": ("must be a list", "Put it in square brackets; tables of a list need double ones, as in [[projects]]."),
    "model_type": ("must be a table", "Write it as a [table], not as a value."),
    "model_attributes_type": ("must be a table", "Write it as a [table], not as a value."),
}


def misspelt(raw: Mapping[str, Any], model: type[BaseModel]) -> set[str]:
    """The keys that unknown keys of `raw` probably mean."""
    return {meant for key in raw if key not in model.model_fields and (meant := _meant(key, model))}
