"""What is wrong with a configuration, in words that never repeat a value."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ConfigError:
    """One thing wrong in the configuration."""

    file: str
    key_path: str
    """Such as `projects[2].keys[0].secret`; empty when the whole file is meant."""
    message: str
    fix: str
    project: str | None = None
    """The project's name, where it has one."""

    def __str__(self) -> str:
        place = f" {self.key_path}" if self.key_path else ""
        place += f' (project "{self.project}")' if self.project else ""
        return f"{self.file}:{place + ':' if place else ''} {self.message}. {self.fix}".rstrip()


class ConfigErrors(Exception):  # noqa: N818 - it is a list of them
    """Everything wrong in the configuration, one error a line."""

    def __init__(self, errors: Iterable[ConfigError]) -> None:
        self.errors = tuple(errors)
        super().__init__(self.errors)

    def __str__(self) -> str:
        return "\n".join(str(error) for error in self.errors)
