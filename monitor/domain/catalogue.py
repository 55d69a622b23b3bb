"""The models that OpenAI lists, with the days on which they are shut down, and what changed between two lists.

The list proves nothing about use: whether it follows a project's own permissions is not documented, and models that cannot be
called are listed too.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time

from monitor.domain.changes import ChangeKind
from monitor.domain.redact import redact

MOST_MODELS = 5_000
"""A longer list is no catalogue of OpenAI's, and is not read: a part of it would call the rest gone."""
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,199}", re.ASCII)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What one project was listed. Never empty as read: a list without a model says nothing."""

    models: Mapping[str, date | None] = field(default_factory=dict)
    """The day of the shutdown by model, None where none is announced; sorted by model."""
    since: datetime | None = None
    """When this very list was told first."""

    def __contains__(self, model: object) -> bool:
        return model in self.models

    def shutdown(self, model: str) -> date | None:
        """The day on which a model is shut down; None where none is announced, or the model is not listed."""
        return self.models.get(model)


def moment(day: date) -> datetime:
    """When a day begins, in UTC: from then on a model that is shut down on it may be gone."""
    return datetime.combine(day, time(), UTC)


def read(body: bytes) -> Catalogue | None:
    """The catalogue in an answer of `GET /v1/models`; None where it is none, or not all of one.

    An entry that cannot be understood is left out, and so is an id that holds what looks like a credential. A day that is no day
    counts as not announced.
    """
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return None
    entries = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(entries, list) or len(entries) > MOST_MODELS or answer.get("has_more") is True:
        return None
    found = {
        entry["id"]: _day(entry.get("shutdown_date")) for entry in entries if isinstance(entry, dict) and _is_model(entry.get("id"))
    }
    return Catalogue(dict(sorted(found.items()))) if found else None


def _is_model(name: object) -> bool:
    return isinstance(name, str) and _ID.fullmatch(name) is not None and redact(name) == name


def _day(value: object) -> date | None:
    if not isinstance(value, str) or not _DAY.fullmatch(value):
        return None
    try:
        return date.fromisoformat(value)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class CatalogueChange:
    """One model that is not listed as before."""

    kind: ChangeKind
    """`model.listed`, `model.delisted` or `model.shutdown`."""
    model: str
    before: date | None
    """The announced day before; of a model that was not listed None."""
    after: date | None

    @property
    def sentence(self) -> str:
        """What happened, without whom it concerns: `OpenAI lists gpt-6 now`."""
        if self.kind is ChangeKind.MODEL_LISTED:
            return f"OpenAI lists {self.model} now" + (f", to be shut down on {self.after}" if self.after else "")
        if self.kind is ChangeKind.MODEL_DELISTED:
            told = f"its shutdown was announced for {self.before}" if self.before else "no shutdown was announced"
            return f"OpenAI no longer lists {self.model}; {told}"
        if self.before is None:
            return f"OpenAI announced the shutdown of {self.model} for {self.after}"
        if self.after is None:
            return f"OpenAI withdrew the shutdown of {self.model}, announced for {self.before}"
        return f"OpenAI moved the shutdown of {self.model} from {self.before} to {self.after}"


def changes(before: Catalogue, after: Catalogue) -> Iterator[CatalogueChange]:
    """What differs, by model."""
    for model in sorted(before.models.keys() | after.models.keys()):
        old, new = before.shutdown(model), after.shutdown(model)
        if model not in before:
            yield CatalogueChange(ChangeKind.MODEL_LISTED, model, None, new)
        elif model not in after:
            yield CatalogueChange(ChangeKind.MODEL_DELISTED, model, old, None)
        elif old != new:
            yield CatalogueChange(ChangeKind.MODEL_SHUTDOWN, model, old, new)


_NAMED = 3


def told(change: CatalogueChange, projects: Iterable[str]) -> str:
    """The change as a sentence for the projects that saw it: many are one piece of news, with a few of them named."""
    names = sorted(projects)
    if len(names) == 1:
        whom = f"project {names[0]}"
    elif len(names) <= _NAMED:
        whom = f"{len(names)} projects ({', '.join(names)})"
    else:
        whom = f"{len(names):,} projects ({', '.join(names[:_NAMED])} and {len(names) - _NAMED:,} more)"
    return f"{change.sentence}: seen by {whom}."
