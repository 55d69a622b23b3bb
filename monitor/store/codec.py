"""Domain values as they lie in rows, and back."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from monitor.domain.health import Health, HealthState
from monitor.domain.inventory import ApiKey, Project
from monitor.domain.observation import Observation, RateLimitHit, RateLimitSnapshot
from monitor.domain.redact import redact
from monitor.domain.taxonomy import FailureKind, Lane
from monitor.domain.timeline import from_ms, to_ms

MAX_TEXT = 4096
"""Characters of any one text that are kept."""
_MAX_INT = 2**62


def clean(text: str | None, most: int = MAX_TEXT) -> str | None:
    """`text` as every database takes it: no NUL, no half of a surrogate pair, no more than `most` characters."""
    if text is None:
        return None
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode("utf-8")
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")[:most]


def said(text: str | None, most: int = MAX_TEXT) -> str | None:
    """What a person wrote, as it may be stored and shown: without a secret that was pasted into it."""
    return clean(redact(text), most) if text is not None else None


def number(given: int) -> int:
    """A row's number as a column takes it; 0, which no row has, for one that cannot be: people type numbers into addresses."""
    return given if 0 < given < 2**63 else 0


def whole(value: float | None) -> int | None:
    """`value` as a whole number that a column holds; None where it does not fit, for no limit is that large."""
    return int(value) if value is not None and -_MAX_INT < value < _MAX_INT else None


def microseconds(milliseconds: float | None) -> int | None:
    """Milliseconds with a fraction, as whole microseconds."""
    if milliseconds is None:
        return None
    value = milliseconds * 1000 + 0.5
    return int(value) if -_MAX_INT < value < _MAX_INT else None


def milliseconds(microseconds: float | None) -> float | None:
    """The inverse of `microseconds`."""
    return microseconds / 1000 if microseconds is not None else None


def moment(at: int | None) -> datetime | None:
    """The time of a column that may be empty."""
    return from_ms(at) if at is not None else None


def at_ms(at: datetime | None) -> int | None:
    """The inverse of `moment`."""
    return to_ms(at) if at is not None else None


def dumps(value: Any) -> str:
    """Compact JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


# --- what an answer says -------------------------------------------------------------------------------------------------

ANSWER_COLUMNS = (
    "verdict", "failure", "status", "code", "type", "param", "message", "scope", "hint", "missing_scopes", "finding",
    "project_echo", "organization_echo", "classifier_version",
)  # fmt: skip


def shape(seen: Observation) -> tuple[Any, ...]:
    """What the observation shares with others that were answered alike; in the order of `ANSWER_COLUMNS`, not yet clean."""
    return (
        seen.verdict, seen.failure, seen.status, seen.code, seen.type, seen.param, seen.message, seen.scope, seen.hint,
        seen.missing_scopes, seen.finding, seen.project_echo, seen.organization_echo, seen.classifier_version,
    )  # fmt: skip


def answer_row(raw: tuple[Any, ...]) -> tuple[Any, ...]:
    """A shape as columns of `answers`, its digest first."""
    row = tuple(_column(value) for value in raw)
    return (blake2b(dumps(row).encode(), digest_size=16).digest(), *row)


def _column(value: Any) -> Any:
    if isinstance(value, str):
        return clean(str(value))
    if isinstance(value, tuple):
        return clean(" ".join(value)) or None
    return whole(value)


def evidence(seen: Observation, *, repeated: bool) -> str | None:
    """What is worth keeping of this very answer, as JSON; None where there is nothing.

    The body is left out where the answer before said the same: a day's outage must not fill the disk with one sentence.
    """
    facts: dict[str, Any] = {}
    if seen.retry_after is not None:
        facts["retry_after"] = seen.retry_after
    if seen.hit is not None:
        facts["hit"] = _given(seen.hit)
    if seen.limits:
        facts["limits"] = [_given(snapshot) for snapshot in seen.limits]
    if seen.tokens:
        facts["tokens"] = seen.tokens
    if seen.body is not None and not repeated:
        facts["body"] = clean(seen.body)
    return dumps(facts).encode("utf-8", "replace").decode() if facts else None


def _given(value: RateLimitHit | RateLimitSnapshot) -> dict[str, Any]:
    return {name: item for name, item in asdict(value).items() if item is not None}


def limits_text(limits: Sequence[RateLimitSnapshot]) -> str:
    """Snapshots as JSON."""
    return dumps([_given(snapshot) for snapshot in limits]).encode("utf-8", "replace").decode()


def limits_of(text: str | None) -> tuple[RateLimitSnapshot, ...]:
    """The inverse of `limits_text`."""
    return tuple(_snapshot(facts) for facts in json.loads(text)) if text else ()


def _snapshot(facts: Mapping[str, Any]) -> RateLimitSnapshot:
    return RateLimitSnapshot(facts["bucket"], facts.get("limit"), facts.get("remaining"), facts.get("reset"), facts.get("window"))


def hit_text(hit: RateLimitHit | None) -> str | None:
    """A hit as JSON."""
    return dumps(_given(hit)).encode("utf-8", "replace").decode() if hit else None


def hit_of(text: str | None) -> RateLimitHit | None:
    """The inverse of `hit_text`."""
    return RateLimitHit(**json.loads(text)) if text else None


# --- health --------------------------------------------------------------------------------------------------------------

STATE_COLUMNS = ("health", "since", "failure", "recent", "last_kind", "last_at", "last_ok_at", "flapping")
"""`flapping` last: it lies behind all others, because a later schema added it."""


def state_row(state: HealthState) -> tuple[Any, ...]:
    """In the order of `STATE_COLUMNS`."""
    last_at = at_ms(state.last_at)
    return (
        state.health.value,
        at_ms(state.since),
        state.failure.value if state.failure else None,
        _marks(state.recent),
        state.last_kind.value if state.last_kind else None,
        last_at,
        last_at if state.last_ok_at is state.last_at else at_ms(state.last_ok_at),
        int(state.flapping),
    )


@lru_cache(maxsize=4096)
def _marks(recent: tuple[bool, ...]) -> str:
    return "".join("1" if ok else "0" for ok in recent)


def state_of(row: Sequence[Any]) -> HealthState:
    """The inverse of `state_row`."""
    health, since, failure, recent, last_kind, last_at, last_ok_at, flapping = row
    return HealthState(
        Health(health), moment(since), kind_of(failure), tuple(mark == "1" for mark in recent),
        kind_of(last_kind), moment(last_at), moment(last_ok_at), bool(flapping),
    )  # fmt: skip


_KINDS = {kind.value: kind for kind in FailureKind}


def kind_of(text: str | None) -> FailureKind | None:
    """The kind of that name; `unknown` for one that another version of the program wrote."""
    return _KINDS.get(text, FailureKind.UNKNOWN) if text else None


def kinds(*lanes: Lane) -> list[str]:
    """The names of all kinds of these lanes."""
    return [kind.value for kind in FailureKind if kind.lane in lanes]


# --- inventory -----------------------------------------------------------------------------------------------------------


def project_facts(project: Project) -> str:
    """All of a project but its name and its keys, as JSON."""
    facts = asdict(project)
    del facts["name"], facts["keys"]
    return dumps(facts)


@lru_cache(maxsize=16_384)
def project_of(name: str, facts: str, keys: tuple[ApiKey, ...] = ()) -> Project:
    """The inverse of `project_facts`. Parsed once for each text: it changes with the configuration alone."""
    loaded: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in json.loads(facts).items()}
    return Project(name=name, keys=keys, **loaded)
