"""The first schema."""

import sqlalchemy as sa
from alembic import op

from monitor.store.dialect import Blob, Int, Real, Words

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "answers",
        sa.Column("id", Int, nullable=False),
        sa.Column("digest", Blob, nullable=False),
        sa.Column("verdict", Words, nullable=False),
        sa.Column("failure", Words, nullable=True),
        sa.Column("status", Int, nullable=True),
        sa.Column("code", Words, nullable=True),
        sa.Column("type", Words, nullable=True),
        sa.Column("param", Words, nullable=True),
        sa.Column("message", Words, nullable=True),
        sa.Column("scope", Words, nullable=True),
        sa.Column("hint", Words, nullable=True),
        sa.Column("missing_scopes", Words, nullable=True),
        sa.Column("finding", Words, nullable=True),
        sa.Column("project_echo", Words, nullable=True),
        sa.Column("organization_echo", Words, nullable=True),
        sa.Column("classifier_version", Int, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("digest"),
        sqlite_strict=True,
    )
    op.create_table(
        "effective_config",
        sa.Column("id", Int, nullable=False),
        sa.Column("at", Int, nullable=False),
        sa.Column("source", Words, nullable=False),
        sa.Column("text", Words, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_strict=True,
    )
    op.create_table(
        "heartbeats",
        sa.Column("poller", Words, autoincrement=False, nullable=False),
        sa.Column("at", Int, nullable=False),
        sa.Column("beat", Words, nullable=False),
        sa.PrimaryKeyConstraint("poller"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "hour_buckets",
        sa.Column("start", Int, autoincrement=False, nullable=False),
        sa.Column("project_id", Int, autoincrement=False, nullable=False),
        sa.Column("probe", Int, autoincrement=False, nullable=False),
        sa.Column("ok", Int, nullable=False),
        sa.Column("failed", Int, nullable=False),
        sa.Column("inconclusive", Int, nullable=False),
        sa.Column("sketch", Blob, nullable=True),
        sa.PrimaryKeyConstraint("start", "project_id", "probe"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "hour_failures",
        sa.Column("start", Int, autoincrement=False, nullable=False),
        sa.Column("project_id", Int, autoincrement=False, nullable=False),
        sa.Column("failure", Words, autoincrement=False, nullable=False),
        sa.Column("count", Int, nullable=False),
        sa.PrimaryKeyConstraint("start", "project_id", "failure"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "lag_history",
        sa.Column("start", Int, autoincrement=False, nullable=False),
        sa.Column("poller", Words, autoincrement=False, nullable=False),
        sa.Column("lag_p99_ms", Real, nullable=True),
        sa.Column("in_flight", Int, nullable=False),
        sa.Column("checks", Int, nullable=False),
        sa.PrimaryKeyConstraint("start", "poller"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "limit_buckets",
        sa.Column("target_id", Int, autoincrement=False, nullable=False),
        sa.Column("start", Int, autoincrement=False, nullable=False),
        sa.Column("bucket", Words, autoincrement=False, nullable=False),
        sa.Column("limit", Int, nullable=True),
        sa.Column("remaining", Int, nullable=True),
        sa.PrimaryKeyConstraint("target_id", "start", "bucket"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "meta",
        sa.Column("key", Words, autoincrement=False, nullable=False),
        sa.Column("value", Words, nullable=False),
        sa.PrimaryKeyConstraint("key"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "minute_buckets",
        sa.Column("start", Int, autoincrement=False, nullable=False),
        sa.Column("project_id", Int, autoincrement=False, nullable=False),
        sa.Column("probe", Int, autoincrement=False, nullable=False),
        sa.Column("ok", Int, nullable=False),
        sa.Column("failed", Int, nullable=False),
        sa.Column("inconclusive", Int, nullable=False),
        sa.Column("sketch", Blob, nullable=True),
        sa.PrimaryKeyConstraint("start", "project_id", "probe"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "minute_failures",
        sa.Column("start", Int, autoincrement=False, nullable=False),
        sa.Column("project_id", Int, autoincrement=False, nullable=False),
        sa.Column("failure", Words, autoincrement=False, nullable=False),
        sa.Column("count", Int, nullable=False),
        sa.PrimaryKeyConstraint("start", "project_id", "failure"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "observations",
        sa.Column("target_id", Int, autoincrement=False, nullable=False),
        sa.Column("at", Int, autoincrement=False, nullable=False),
        sa.Column("answer_id", Int, nullable=False),
        sa.Column("notable", Int, nullable=False),
        sa.Column("latency_us", Int, nullable=True),
        sa.Column("processing_us", Int, nullable=True),
        sa.Column("request_id", Words, nullable=True),
        sa.Column("evidence", Words, nullable=True),
        sa.PrimaryKeyConstraint("target_id", "at"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_observations_notable",
        "observations",
        ["at"],
        unique=False,
        sqlite_where=sa.text("notable = 1"),
        postgresql_where=sa.text("notable = 1"),
    )
    op.create_index(
        "ix_observations_request",
        "observations",
        ["request_id"],
        unique=False,
        sqlite_where=sa.text("request_id IS NOT NULL"),
        postgresql_where=sa.text("request_id IS NOT NULL"),
    )
    op.create_table(
        "probe_use",
        sa.Column("project_id", Int, autoincrement=False, nullable=False),
        sa.Column("day", Int, autoincrement=False, nullable=False),
        sa.Column("probe", Int, autoincrement=False, nullable=False),
        sa.Column("requests", Int, nullable=False),
        sa.Column("tokens", Int, nullable=False),
        sa.PrimaryKeyConstraint("project_id", "day", "probe"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "projects",
        sa.Column("id", Int, nullable=False),
        sa.Column("name", Words, nullable=False),
        sa.Column("active", Int, nullable=False),
        sa.Column("facts", Words, server_default="{}", nullable=False),
        sa.Column("first_seen", Int, nullable=False),
        sa.Column("removed_at", Int, nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
        sqlite_strict=True,
    )
    op.create_table(
        "quarter_buckets",
        sa.Column("start", Int, autoincrement=False, nullable=False),
        sa.Column("project_id", Int, autoincrement=False, nullable=False),
        sa.Column("probe", Int, autoincrement=False, nullable=False),
        sa.Column("ok", Int, nullable=False),
        sa.Column("failed", Int, nullable=False),
        sa.Column("inconclusive", Int, nullable=False),
        sa.Column("sketch", Blob, nullable=True),
        sa.PrimaryKeyConstraint("start", "project_id", "probe"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "quarter_failures",
        sa.Column("start", Int, autoincrement=False, nullable=False),
        sa.Column("project_id", Int, autoincrement=False, nullable=False),
        sa.Column("failure", Words, autoincrement=False, nullable=False),
        sa.Column("count", Int, nullable=False),
        sa.PrimaryKeyConstraint("start", "project_id", "failure"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "target_states",
        sa.Column("target_id", Int, autoincrement=False, nullable=False),
        sa.Column("health", Words, nullable=False),
        sa.Column("since", Int, nullable=True),
        sa.Column("failure", Words, nullable=True),
        sa.Column("recent", Words, nullable=False),
        sa.Column("last_kind", Words, nullable=True),
        sa.Column("last_at", Int, nullable=True),
        sa.Column("last_ok_at", Int, nullable=True),
        sa.Column("answer_id", Int, nullable=True),
        sa.Column("latency_us", Int, nullable=True),
        sa.Column("request_id", Words, nullable=True),
        sa.Column("retry_after", Real, nullable=True),
        sa.Column("hit", Words, nullable=True),
        sa.Column("limits", Words, nullable=True),
        sa.Column("limits_at", Int, nullable=True),
        sa.PrimaryKeyConstraint("target_id"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "targets",
        sa.Column("id", Int, nullable=False),
        sa.Column("project_id", Int, nullable=False),
        sa.Column("probe", Int, nullable=False),
        sa.Column("key", Words, nullable=False),
        sa.Column("model", Words, nullable=False),
        sa.Column("host", Words, nullable=False),
        sa.Column("interval", Int, nullable=False),
        sa.Column("active", Int, nullable=False),
        sa.Column("first_seen", Int, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("project_id", "probe", "key", "model", "host"),
        sqlite_strict=True,
    )
    op.create_table(
        "transitions",
        sa.Column("id", Int, nullable=False),
        sa.Column("target_id", Int, nullable=False),
        sa.Column("at", Int, nullable=False),
        sa.Column("old", Words, nullable=False),
        sa.Column("new", Words, nullable=False),
        sa.Column("failure", Words, nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sqlite_strict=True,
    )
    op.create_index("ix_transitions_at", "transitions", ["at"], unique=False)
    op.create_index("ix_transitions_target", "transitions", ["target_id", "at"], unique=False)
    op.create_table(
        "keys",
        sa.Column("id", Int, nullable=False),
        sa.Column("project_id", Int, nullable=False),
        sa.Column("label", Words, nullable=False),
        sa.Column("fingerprint", Words, nullable=False),
        sa.Column("kind", Words, nullable=False),
        sa.Column("source", Words, nullable=False),
        sa.Column("problem", Words, nullable=True),
        sa.Column("active", Int, nullable=False),
        sa.Column("first_seen", Int, nullable=False),
        sa.Column("replaced_at", Int, nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("project_id", "label", "fingerprint"),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"]),
        sqlite_strict=True,
    )
    op.execute("INSERT INTO meta (key, value) VALUES ('data_version', '0')")
