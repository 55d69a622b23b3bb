"""The tables. Times are milliseconds since the epoch, UTC; lengths of time are milliseconds too unless the name says otherwise.

    projects ─► keys               what is configured, and was: a key that is rotated leaves its row behind
        └─────► targets ─► target_states        what each check last answered, and the health folded from it
                   └─────► observations ─► answers      one row per answer; what many answers share is stored once
                   └─────► packs ─► answers             the good ones, an hour of a target in one row, once it is over
                   └─────► transitions, limit_buckets
    minute/quarter/hour/day_buckets, *_failures     counts per project and probe, written with the raw rows
    incidents ─► incident_projects, incident_events, incident_evidence      with names, not rows: they outlive both
         └─────► outbox ◄─ silences             who was told what, and why somebody was not
    intents                                     what people asked for on a page, until the service has done it
    organizations ─► organization_items, organization_parts, usage, costs      what the Administration API says, and what it did not
        └─────► key_matches ◄─ keys             which of the organization's keys a configured secret is
    change_events                               what changed, there or here; kept for ever
    project_catalogues ─► catalogues            the models that OpenAI lists to a project; many projects are listed the same
    scores                                      how each key and project did on the scorecard, whenever that changed

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

MINUTE, QUARTER, HOUR, DAY = 60_000, 900_000, 3_600_000, 86_400_000
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
    Index("ix_targets_project", "project_id", "active", "probe", "interval"),
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
    Column("used_at", Int, nullable=False, server_default=sa.text("0")),
)
"""What was said, once for all observations that said it: an outage of a day repeats one sentence a million times.

`used_at` is the first moment of the day (UTC) on which it was last said, by the recording clock.
"""

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
GOOD = observations.c.notable == sa.literal_column("0")
Index("ix_observations_good", observations.c.at, sqlite_where=GOOD, postgresql_where=GOOD)
"""`notable` is 1 where an answer was not simply good; only then are `request_id` and `evidence` (JSON: retry_after, hit, limits,
tokens, body) kept, and it stays a row of its own. Good ones are rows for an hour or two, until `packs` takes them; the last index
finds those that are due.
"""

packs = _clustered(
    "packs",
    _key("start"),
    _key("target_id"),
    _key("answer_id"),
    Column("count", Int, nullable=False),
    Column("data", Blob, nullable=False),
)
"""The good answers of a target in an hour that is over, as `packing` writes them: a tenth of the bytes of rows."""

target_states = _plain(
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
    Column("flapping", Int, nullable=False, server_default=sa.text("0")),
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
    return {
        MINUTE: make(f"minute_{suffix}"),
        QUARTER: make(f"quarter_{suffix}"),
        HOUR: make(f"hour_{suffix}"),
        DAY: make(f"day_{suffix}"),
    }


buckets = _grains(_buckets, "buckets")
"""By width in milliseconds. Minutes serve the last hours, quarter hours the last days and the overview's strip, hours the last
weeks, days (UTC) the rest.

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

# Only several pollers need these, and PostgreSQL alone takes several: on SQLite they stay empty.

leases = _clustered("leases", _key("shard"), Column("holder", Words), Column("until", Int))
"""Who may check and record which part of the targets, until when by the database's own clock."""

pollers = _clustered(
    "pollers", _key("name", Words), Column("until", Int, nullable=False), Column("inventory", Words, nullable=False)
)
"""Who lives, until when if nothing more is heard, and a digest of what each was told to watch."""

wanted = _clustered("wanted", _key("shard"), _key("target_id"))
"""Targets that one poller would like another one to ask at once."""

effective_config = _plain(
    "effective_config",
    Column("id", Int, primary_key=True),
    Column("at", Int, nullable=False),
    Column("source", Words, nullable=False),
    Column("text", Words, nullable=False),
)
"""Each configuration the poller ever ran with, without secrets; the newest row is the present one."""

# Incidents and what people are told of them: few rows, kept for ever.

incidents = _plain(
    "incidents",
    Column("id", Int, primary_key=True),
    Column("scope", Words, nullable=False),
    Column("lane", Words, nullable=False),
    Column("subject", Words, nullable=False),
    Column("failure", Words, nullable=False),
    Column("severity", Words, nullable=False),
    Column("title", Words, nullable=False),
    Column("first_bad_at", Int, nullable=False),
    Column("last_good_at", Int),
    Column("opened_at", Int, nullable=False),
    Column("named_at", Int),
    Column("acknowledged_at", Int),
    Column("acknowledged_by", Words),
    Column("resolved_at", Int),
    Column("reopened", Int, nullable=False),
    Column("merged_into", Int),
    Column("ill", Int, nullable=False),
    Column("diagnosis", Words, nullable=False),
    Column("hit", Words, nullable=False),
    Index("ix_incidents_opened", "opened_at"),
    Index("ix_incidents_resolved", "resolved_at"),
    Index("ix_incidents_failure", "failure", "scope", "opened_at"),
    Index("ix_incidents_subject", "subject", "opened_at"),
)
"""`diagnosis` and `hit` (projects, keys, models, services, owners, environments) are JSON."""

incident_projects = _clustered("incident_projects", _key("project", Words), _key("incident_id"))
"""Who was hit by what: a project's incidents are sought here."""

incident_events = _plain(
    "incident_events",
    Column("id", Int, primary_key=True),
    Column("incident_id", Int, sa.ForeignKey("incidents.id"), nullable=False),
    Column("at", Int, nullable=False),
    Column("kind", Words, nullable=False),
    Column("text", Words, nullable=False),
    Column("by", Words),
    Index("ix_incident_events_incident", "incident_id", "at", "id"),
)

incident_evidence = _plain(
    "incident_evidence",
    Column("incident_id", Int, sa.ForeignKey("incidents.id"), primary_key=True, autoincrement=False),
    Column("at", Int, nullable=False),
    Column("evidence", Words, nullable=False),
)
"""What was known when the incident opened, as JSON, redacted. Written once: it outlives the observations it was taken from."""

outbox = _plain(
    "outbox",
    Column("id", Int, primary_key=True),
    Column("incident_id", Int),
    Column("channel", Words, nullable=False),
    Column("reason", Words, nullable=False),
    Column("dedup_key", Words),
    Column("severity", Words),
    Column("scope", Words),
    Column("subject", Words, nullable=False),
    Column("body", Words, nullable=False),
    Column("state", Words, nullable=False),
    Column("at", Int, nullable=False),
    Column("due_at", Int),
    Column("attempts", Int, nullable=False),
    Column("worker", Words),
    Column("finished_at", Int),
    Column("text", Words),
    sa.UniqueConstraint("channel", "dedup_key"),
    Index("ix_outbox_incident", "incident_id", "channel", "id"),
)
WAITING = outbox.c.state == sa.literal_column("'waiting'")
Index("ix_outbox_due", outbox.c.due_at, sqlite_where=WAITING, postgresql_where=WAITING)
"""Messages, and decisions not to send one (`not_sent`, without a dedup key). `due_at` of a waiting one is when it may be claimed:
now, at its retry, or when the lease of the worker that claimed it ends. `text` is the last error, or why nothing was sent.
"""

silences = _plain(
    "silences",
    Column("id", Int, primary_key=True),
    Column("starts", Int, nullable=False),
    Column("until", Int, nullable=False),
    Column("by", Words, nullable=False),
    Column("text", Words, nullable=False),
    Column("project", Words),
    Column("owner", Words),
    Column("environment", Words),
    Column("lane", Words),
    Column("incident_id", Int),
    Column("ended_at", Int),
    Column("ended_by", Words),
    Index("ix_silences_until", "until"),
)

intents = _plain(
    "intents",
    Column("id", Int, primary_key=True),
    Column("at", Int, nullable=False),
    Column("kind", Words, nullable=False),
    Column("by", Words, nullable=False),
    Column("incident_id", Int),
    Column("silence_id", Int),
    Column("project", Words),
    Column("text", Words, nullable=False),
    Column("until", Int),
    Column("taken_at", Int),
)
NOT_TAKEN = intents.c.taken_at.is_(None)
Index("ix_intents_not_taken", intents.c.id, sqlite_where=NOT_TAKEN, postgresql_where=NOT_TAKEN)
"""What people asked for on a page; the service carries it out and notes who did what."""

# The organization's own record, as the Administration API told it last. An absent project, key or model is empty, as in `targets`.

organizations = _plain(
    "organizations",
    Column("id", Int, primary_key=True),
    Column("name", Words, nullable=False, unique=True),
    Column("first_seen", Int, nullable=False),
    Column("synced_at", Int),
)

organization_items = _clustered(
    "organization_items",
    _key("organization_id"),
    _key("kind", Words),
    _key("project", Words),
    _key("id", Words),
    Column("facts", Words, nullable=False),
    Column("first_seen", Int, nullable=False),
    Column("changed_at", Int, nullable=False),
    Column("gone_at", Int),
)
"""`facts` are JSON. When an item was seen last is when its part was read last: a reading that changes nothing writes no item."""

organization_parts = _clustered(
    "organization_parts",
    _key("organization_id"),
    _key("part", Words),
    _key("project", Words),
    Column("read_at", Int),
    Column("reason", Words),
    Column("since", Int),
    Column("read_until", Int),
)
"""When each part was read last, and why it cannot be read since when. Of logs and usage `read_until` is how far they are known."""

usage = _clustered(
    "usage",
    _key("organization_id"),
    _key("width"),
    _key("start"),
    _key("endpoint", Words),
    _key("project", Words),
    _key("api_key", Words),
    _key("model", Words),
    Column("requests", Int, nullable=False),
    Column("input_tokens", Int, nullable=False),
    Column("output_tokens", Int, nullable=False),
    Column("cached_tokens", Int, nullable=False),
)

costs = _clustered(
    "costs",
    _key("organization_id"),
    _key("day"),
    _key("project", Words),
    _key("line_item", Words),
    _key("currency", Words),
    Column("amount", Real, nullable=False),
)

key_matches = _clustered(
    "key_matches",
    _key("key_id"),
    Column("organization_id", Int, nullable=False),
    Column("matched", Words, nullable=False),
    Column("api_key", Words),
    Column("api_key_project", Words),
    Column("at", Int, nullable=False),
)
"""Found out from secrets in memory and what OpenAI shows of its keys; only the outcome is stored."""

change_events = _plain(
    "change_events",
    Column("id", Int, primary_key=True),
    Column("at", Int, nullable=False),
    Column("kind", Words, nullable=False),
    Column("source", Words, nullable=False),
    Column("text", Words, nullable=False),
    Column("project_id", Words),
    Column("project", Words),
    Column("subject", Words),
    Column("key", Words),
    Column("model", Words),
    Column("actor", Words),
    Column("after", Int),
    Column("dedup", Words, nullable=False, unique=True),
    Index("ix_change_events_at", "at"),
    Index("ix_change_events_project", "project", "at"),
)

catalogues = _plain(
    "catalogues",
    Column("id", Int, primary_key=True),
    Column("digest", Blob, nullable=False, unique=True),
    Column("models", Words, nullable=False),
)
"""Lists of models as JSON, `[[id, shutdown date or null], …]`, sorted; each once, however many projects were told it."""

project_catalogues = _clustered(
    "project_catalogues",
    _key("project_id"),
    Column("catalogue_id", Int, nullable=False),
    Column("at", Int, nullable=False),
)
"""What each project was listed last, and since when."""

scores = _clustered(
    "scores",
    _key("subject", Words),
    _key("at"),
    Column("score", Int, nullable=False),
    Column("findings", Words, nullable=False),
)
"""A row whenever the score of `organization`, `project:NAME` or `key:NAME/LABEL` (`key:key_…` of one nobody configured) changed;
`findings` are the broken rules, as a JSON list.
"""
