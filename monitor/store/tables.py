"""The tables. Times are milliseconds since the epoch, UTC; lengths of time are milliseconds too unless the name says otherwise.

    projects ─► keys               what is configured, and was: a key that is rotated leaves its row behind
        └─────► targets ─► target_states        what each check last answered, and the health folded from it
                   └─────► observations ─► answers      one row per answer; what many answers share is stored once
                   └─────► transitions, limit_buckets
    minute/quarter/hour_buckets, *_failures     counts per project and probe, written with the raw rows

Charts read buckets, never raw rows. The fleet as a whole is kept as project 0 (`FLEET`), so that a chart over every project
reads no more than a chart over one.
"""

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, Index, Table

from monitor.domain.inventory import ProbeKind
from monitor.store.dialect import Blob, Int, Real, Words

metadata = sa.MetaData()

FLEET = 0
"""The project id under which buckets count the checks of every project, those without one (`control`) included."""

PROBES: dict[ProbeKind, int] = {
    ProbeKind.CONTROL: 1,
    ProbeKind.AUTH: 2,
    ProbeKind.MODEL_ACCESS: 3,
    ProbeKind.INFERENCE: 4,
    ProbeKind.DENIED_MODEL: 5,
}
"""Probes as stored. Never renumber: history means these."""

MINUTE, QUARTER, HOUR = 60_000, 900_000, 3_600_000
LIMIT_STEP = 300_000
"""The grain of `limit_buckets`."""


def _key(name: str, kind: sa.types.TypeEngine[Any] = Int) -> "Column[Any]":
    return Column(name, kind, primary_key=True, autoincrement=False, nullable=False)


def _clustered(name: str, *columns: "Column[Any] | Index") -> Table:
    """A table that is its own primary key's index: rows of one series lie together, a third of the size."""
    return Table(name, metadata, *columns, sqlite_with_rowid=False, sqlite_strict=True)


def _plain(name: str, *columns: "Column[Any] | Index | sa.UniqueConstraint") -> Table:
    """A table with rows of any width and a number for each."""
    return Table(name, metadata, *columns, sqlite_strict=True)


meta = _clustered("meta", _key("key", Words), Column("value", Words, nullable=False))

projects = _plain(
    "projects",
    Column("id", Int, primary_key=True),
    Column("name", Words, nullable=False, unique=True),
    Column("active", Int, nullable=False),
    Column("facts", Words, nullable=False, server_default="{}"),
    Column("first_seen", Int, nullable=False),
    Column("removed_at", Int),
)

keys = _plain(
    "keys",
    Column("id", Int, primary_key=True),
    Column("project_id", Int, sa.ForeignKey("projects.id"), nullable=False),
    Column("label", Words, nullable=False),
    Column("fingerprint", Words, nullable=False),
    Column("kind", Words, nullable=False),
    Column("source", Words, nullable=False),
    Column("problem", Words),
    Column("active", Int, nullable=False),
    Column("first_seen", Int, nullable=False),
    Column("replaced_at", Int),
    sa.UniqueConstraint("project_id", "label", "fingerprint"),
)
"""One row per secret ever used under a label; `fingerprint` is empty while the secret was never readable."""

targets = _plain(
    "targets",
    Column("id", Int, primary_key=True),
    Column("project_id", Int, nullable=False),
    Column("probe", Int, nullable=False),
    Column("key", Words, nullable=False),
    Column("model", Words, nullable=False),
    Column("host", Words, nullable=False),
    Column("interval", Int, nullable=False),
    Column("active", Int, nullable=False),
    Column("first_seen", Int, nullable=False),
    sa.UniqueConstraint("project_id", "probe", "key", "model", "host"),
)
"""Absent parts are empty, and project 0, because NULLs would not be unique."""

answers = _plain(
    "answers",
    Column("id", Int, primary_key=True),
    Column("digest", Blob, nullable=False, unique=True),
    Column("verdict", Words, nullable=False),
    Column("failure", Words),
    Column("status", Int),
    Column("code", Words),
    Column("type", Words),
    Column("param", Words),
    Column("message", Words),
    Column("scope", Words),
    Column("hint", Words),
    Column("missing_scopes", Words),
    Column("finding", Words),
    Column("project_echo", Words),
    Column("organization_echo", Words),
    Column("classifier_version", Int, nullable=False),
)
"""What was said, once for all observations that said it: an outage of a day repeats one sentence a million times."""

observations = _clustered(
    "observations",
    _key("target_id"),
    _key("at"),
    Column("answer_id", Int, nullable=False),
    Column("notable", Int, nullable=False),
    Column("latency_us", Int),
    Column("processing_us", Int),
    Column("request_id", Words),
    Column("evidence", Words),
)
NOTABLE = observations.c.notable == sa.literal_column("1")
Index("ix_observations_notable", observations.c.at, sqlite_where=NOTABLE, postgresql_where=NOTABLE)
_HAS_REQUEST_ID = observations.c.request_id.is_not(None)
Index("ix_observations_request", observations.c.request_id, sqlite_where=_HAS_REQUEST_ID, postgresql_where=_HAS_REQUEST_ID)
"""`notable` is 1 where an answer was not simply good; only then are `request_id` and `evidence` (JSON: retry_after, hit, limits,
tokens, body) kept. The indexes hold the notable rows alone, so they cost nothing while all is well.
"""

target_states = _clustered(
    "target_states",
    _key("target_id"),
    Column("health", Words, nullable=False),
    Column("since", Int),
    Column("failure", Words),
    Column("recent", Words, nullable=False),
    Column("last_kind", Words),
    Column("last_at", Int),
    Column("last_ok_at", Int),
    Column("answer_id", Int),
    Column("latency_us", Int),
    Column("request_id", Words),
    Column("retry_after", Real),
    Column("hit", Words),
    Column("limits", Words),
    Column("limits_at", Int),
)

transitions = _plain(
    "transitions",
    Column("id", Int, primary_key=True),
    Column("target_id", Int, nullable=False),
    Column("at", Int, nullable=False),
    Column("old", Words, nullable=False),
    Column("new", Words, nullable=False),
    Column("failure", Words),
    Index("ix_transitions_at", "at"),
    Index("ix_transitions_target", "target_id", "at"),
)


def _buckets(name: str) -> Table:
    return _clustered(
        name,
        _key("start"),
        _key("project_id"),
        _key("probe"),
        Column("ok", Int, nullable=False),
        Column("failed", Int, nullable=False),
        Column("inconclusive", Int, nullable=False),
        Column("sketch", Blob),
    )


def _failures(name: str) -> Table:
    return _clustered(name, _key("start"), _key("project_id"), _key("failure", Words), Column("count", Int, nullable=False))


def _grains(make: Callable[[str], Table], suffix: str) -> dict[int, Table]:
    return {MINUTE: make(f"minute_{suffix}"), QUARTER: make(f"quarter_{suffix}"), HOUR: make(f"hour_{suffix}")}


buckets = _grains(_buckets, "buckets")
"""By width in milliseconds. Minutes serve the last hours, quarter hours the last days and the overview's strip, hours the rest.

Time comes first in their keys: a batch then writes a few neighbouring pages instead of one for each project, the overview
reads one stretch, and the oldest are dropped from one end. One project is read by a seek for each bucket.
"""
failures = _grains(_failures, "failures")
"""By width in milliseconds: failed and inconclusive answers by kind."""

limit_buckets = _clustered(
    "limit_buckets",
    _key("target_id"),
    _key("start"),
    _key("bucket", Words),
    Column("limit", Int),
    Column("remaining", Int),
)
"""The least that the headers said remained, per five minutes."""

probe_use = _clustered(
    "probe_use",
    _key("project_id"),
    _key("day"),
    _key("probe"),
    Column("requests", Int, nullable=False),
    Column("tokens", Int, nullable=False),
)
"""What probing used, per UTC day (its first millisecond)."""

heartbeats = _clustered(
    "heartbeats", _key("poller", Words), Column("at", Int, nullable=False), Column("beat", Words, nullable=False)
)
"""One row a poller: its newest beat, as JSON."""

lag_history = _clustered(
    "lag_history",
    _key("start"),
    _key("poller", Words),
    Column("lag_p99_ms", Real),
    Column("in_flight", Int, nullable=False),
    Column("checks", Int, nullable=False),
)
"""The worst of each minute."""

effective_config = _plain(
    "effective_config",
    Column("id", Int, primary_key=True),
    Column("at", Int, nullable=False),
    Column("source", Words, nullable=False),
    Column("text", Words, nullable=False),
)
"""Each configuration the poller ever ran with, without secrets; the newest row is the present one."""
