"""Find, read and check the configuration: `monitor.toml`, or for one project the environment alone."""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from monitor.config.check import cross_errors, misspelt, tidy, translated
from monitor.config.errors import ConfigError, ConfigErrors
from monitor.config.settings import ConfigFile, MonitorTable, Settings
from monitor.domain.redact import redact
from monitor.secrets import DotEnv, FileState, Secrets, Unreadable, decode, file_state, read_small_file

FILE_NAME = "monitor.toml"
MAX_FILE_BYTES = 4 * 1024 * 1024
"""Two thousand projects take about 600 KB."""


def find_config(explicit: Path | str | None, env: Mapping[str, str], cwd: Path) -> Path | None:
    """The file to read: `--config`, else `MONITOR_CONFIG`, else `monitor.toml` in `cwd` if it is there; or None.

    A file that was named is returned whether or not it exists: reading it then says so.
    """
    named = explicit or _environment(env, cwd / ".env").get("MONITOR_CONFIG")
    if named:
        return cwd / _expanded(named)
    path = cwd / FILE_NAME
    return path if os.path.lexists(path) else None


def _expanded(path: Path | str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError:  # no home folder: then ~ is a name like any other
        return Path(path)


def configured(explicit: Path | str | None, env: Mapping[str, str], cwd: Path) -> bool:
    """Whether there is anything to monitor: a file, or `OPENAI_API_KEY` or `OPENAI_PROJECT_ID` set. If not: the demo."""
    if find_config(explicit, env, cwd) is not None:
        return True
    known = _environment(env, cwd / ".env")
    return "OPENAI_API_KEY" in known or "OPENAI_PROJECT_ID" in known


def dotenv_path(config: Path | None, cwd: Path) -> Path:
    """The `.env` beside the configuration file, or where there is none, the one in `cwd`."""
    beside = config.parent / ".env" if config else cwd / ".env"
    return beside if os.path.lexists(beside) else cwd / ".env"


def open_secrets(config: Path | None, env: Mapping[str, str], cwd: Path) -> Secrets:
    """The secrets that the settings of `config` refer to. `env` is copied: `OPENAI_*` may be scrubbed afterwards."""
    return Secrets(dict(env), dotenv_path(config, cwd), config.parent if config else cwd)


def _environment(env: Mapping[str, str], dotenv: Path) -> dict[str, str]:
    """`.env` and over it the process environment, empty values left out."""
    return {name: value for values in (DotEnv(dotenv).values(), env) for name, value in values.items() if value}


def load_settings(path: Path | None, env: Mapping[str, str], cwd: Path) -> Settings:
    """Read the settings of `path`, or where it is None those of the environment. Raises `ConfigErrors`, nothing else.

    Secrets are not looked at: one that is missing concerns its project alone (see `secret_errors`).
    """
    known = _environment(env, dotenv_path(path, cwd))
    if path is None:
        raw, place = _raw_from_environment(known), "environment"
    else:
        raw, place = _read_toml(path, cwd), _shown_path(path, cwd)
    errors: list[ConfigError] = []
    monitor = raw.setdefault("monitor", {})
    # A sample keeps to its own database: one named for the real projects must never fill with sample data.
    sample = isinstance(monitor, dict) and monitor.get("demo") is True
    url = None if sample else known.get("MONITOR_DATABASE_URL")
    if url:
        errors += _database_errors(url)
        if isinstance(monitor, dict):
            monitor.pop("database_url", None)
    errors += cross_errors(raw, place)
    try:
        file = ConfigFile.model_validate(raw)
    except ValidationError as error:
        found = translated(error, raw, place)
        errors += found if path else [replace(each, key_path=_variable(each.key_path), project=None) for each in found]
        raise ConfigErrors(tidy(errors)) from None
    if errors:
        raise ConfigErrors(tidy(errors))
    tables = {name: getattr(file.monitor, name) for name in MonitorTable.model_fields}
    if url:
        tables["database_url"] = url
    source = "demo" if file.monitor.demo else "environment" if path is None else str(path)
    return Settings(
        source=source,
        projects=file.projects,
        organizations=file.organizations,
        channels=file.channels,
        routes=file.routes,
        maintenance=file.maintenance,
        **tables,
    )


def _raw_from_environment(known: Mapping[str, str]) -> dict[str, Any]:
    """One project named `default`. It asks for no model: which ones this project may use is not ours to guess."""
    if "OPENAI_API_KEY" not in known and "OPENAI_PROJECT_ID" not in known:
        raise ConfigErrors(
            [
                ConfigError(
                    "environment",
                    "OPENAI_API_KEY",
                    "is not set, and there is no monitor.toml",
                    "Copy monitor.example.toml to monitor.toml, or set OPENAI_API_KEY and OPENAI_PROJECT_ID in .env.",
                )
            ]
        )
    project: dict[str, Any] = {key: known[name].strip() for key, name in _VARIABLES.items() if name in known}
    keys = [{"label": "default", "secret": "env:OPENAI_API_KEY"}]
    return {"projects": [{"name": "default", "keys": keys, **project}]}


_VARIABLES = {"project_id": "OPENAI_PROJECT_ID", "organization": "OPENAI_ORG_ID", "base_url": "OPENAI_BASE_URL"}


def _variable(key_path: str) -> str:
    return _VARIABLES.get(key_path.rpartition(".")[2], key_path)


def _shown_path(path: Path, cwd: Path) -> str:
    return str(path.relative_to(cwd)) if path.is_relative_to(cwd) else str(path)


def _read_toml(path: Path, cwd: Path) -> dict[str, Any]:
    place = _shown_path(path, cwd)

    def failure(message: str, fix: str, key_path: str = "") -> ConfigErrors:
        return ConfigErrors([ConfigError(place, key_path, message, fix)])

    try:
        data = read_small_file(path, MAX_FILE_BYTES)
        text = decode(data)
    except Unreadable as error:
        fix = (
            "Copy monitor.example.toml there, or name another file with --config or MONITOR_CONFIG."
            if not os.path.lexists(path)
            else "Make it a UTF-8 text file that this user may read."
        )
        raise failure(str(error), fix) from None
    if "\x00" in text:
        line = text[: text.index("\x00")].count("\n") + 1
        raise failure(f"contains a NUL byte in line {line}", "Save it as plain UTF-8 text.")
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise failure(
            f"is not valid TOML: {redact(str(error))}", "Mend the line named; strings need quotes, tables brackets."
        ) from None
    except (RecursionError, ValueError, OverflowError):  # thousands of brackets; dates and numbers that no machine holds
        raise failure(
            "is not valid TOML: it is nested too deeply or holds an impossible number or date", "Mend that value."
        ) from None
    if not raw:
        raise failure("is empty", "Copy monitor.example.toml over it, or remove it to see the demo.")
    if not raw.get("projects") and "projects" not in misspelt(raw, ConfigFile):
        raise failure("names nothing to watch", "Add a [[projects]] table with its [[projects.keys]].", "projects")
    return raw


def _database_errors(url: str) -> list[ConfigError]:
    try:
        MonitorTable(database_url=url)
    except ValidationError as error:
        return [replace(found, key_path="MONITOR_DATABASE_URL") for found in translated(error, {}, "environment")]
    return []


class ConfigWatcher:
    """Says when the configuration may have changed, at the cost of a few `stat` calls. Make it before loading, not after."""

    def __init__(self, config: Path | None, cwd: Path) -> None:
        """Watches `config` (or the `monitor.toml` that may yet appear) and the `.env` files that count."""
        file = config or cwd / FILE_NAME
        self._paths = tuple(dict.fromkeys((file, file.parent / ".env", cwd / ".env")))
        self._seen = self._look()

    def changed(self) -> bool:
        """Whether a file changed, came or went since the last call."""
        now = self._look()
        changed, self._seen = now != self._seen, now
        return changed

    def _look(self) -> list[FileState | None]:
        return [file_state(path) for path in self._paths]
