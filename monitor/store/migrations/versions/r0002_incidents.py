"""Incidents, their timeline and evidence; the outbox; silences; intents. Whether a target flaps."""

import sqlalchemy as sa
from alembic import op

from monitor.store.dialect import Int, Words

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "incident_projects",
        sa.Column("project", Words, autoincrement=False, nullable=False),
        sa.Column("incident_id", Int, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("project", "incident_id"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "incidents",
        sa.Column("id", Int, nullable=False),
        sa.Column("scope", Words, nullable=False),
        sa.Column("lane", Words, nullable=False),
        sa.Column("subject", Words, nullable=False),
        sa.Column("failure", Words, nullable=False),
        sa.Column("severity", Words, nullable=False),
        sa.Column("title", Words, nullable=False),
        sa.Column("first_bad_at", Int, nullable=False),
        sa.Column("last_good_at", Int, nullable=True),
        sa.Column("opened_at", Int, nullable=False),
        sa.Column("named_at", Int, nullable=True),
        sa.Column("acknowledged_at", Int, nullable=True),
        sa.Column("acknowledged_by", Words, nullable=True),
        sa.Column("resolved_at", Int, nullable=True),
        sa.Column("reopened", Int, nullable=False),
        sa.Column("merged_into", Int, nullable=True),
        sa.Column("ill", Int, nullable=False),
        sa.Column("diagnosis", Words, nullable=False),
        sa.Column("hit", Words, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_strict=True,
    )
    op.create_index("ix_incidents_failure", "incidents", ["failure", "scope", "opened_at"], unique=False)
    op.create_index("ix_incidents_opened", "incidents", ["opened_at"], unique=False)
    op.create_index("ix_incidents_resolved", "incidents", ["resolved_at"], unique=False)
    op.create_index("ix_incidents_subject", "incidents", ["subject", "opened_at"], unique=False)
    op.create_table(
        "intents",
        sa.Column("id", Int, nullable=False),
        sa.Column("at", Int, nullable=False),
        sa.Column("kind", Words, nullable=False),
        sa.Column("by", Words, nullable=False),
        sa.Column("incident_id", Int, nullable=True),
        sa.Column("silence_id", Int, nullable=True),
        sa.Column("project", Words, nullable=True),
        sa.Column("text", Words, nullable=False),
        sa.Column("until", Int, nullable=True),
        sa.Column("taken_at", Int, nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sqlite_strict=True,
    )
    op.create_index(
        "ix_intents_not_taken",
        "intents",
        ["id"],
        unique=False,
        sqlite_where=sa.text("taken_at IS NULL"),
        postgresql_where=sa.text("taken_at IS NULL"),
    )
    op.create_table(
        "outbox",
        sa.Column("id", Int, nullable=False),
        sa.Column("incident_id", Int, nullable=True),
        sa.Column("channel", Words, nullable=False),
        sa.Column("reason", Words, nullable=False),
        sa.Column("dedup_key", Words, nullable=True),
        sa.Column("severity", Words, nullable=True),
        sa.Column("scope", Words, nullable=True),
        sa.Column("subject", Words, nullable=False),
        sa.Column("body", Words, nullable=False),
        sa.Column("state", Words, nullable=False),
        sa.Column("at", Int, nullable=False),
        sa.Column("due_at", Int, nullable=True),
        sa.Column("attempts", Int, nullable=False),
        sa.Column("worker", Words, nullable=True),
        sa.Column("finished_at", Int, nullable=True),
        sa.Column("text", Words, nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("channel", "dedup_key"),
        sqlite_strict=True,
    )
    op.create_index(
        "ix_outbox_due",
        "outbox",
        ["due_at"],
        unique=False,
        sqlite_where=sa.text("state = 'waiting'"),
        postgresql_where=sa.text("state = 'waiting'"),
    )
    op.create_index("ix_outbox_incident", "outbox", ["incident_id", "channel", "id"], unique=False)
    op.create_table(
        "silences",
        sa.Column("id", Int, nullable=False),
        sa.Column("starts", Int, nullable=False),
        sa.Column("until", Int, nullable=False),
        sa.Column("by", Words, nullable=False),
        sa.Column("text", Words, nullable=False),
        sa.Column("project", Words, nullable=True),
        sa.Column("owner", Words, nullable=True),
        sa.Column("environment", Words, nullable=True),
        sa.Column("lane", Words, nullable=True),
        sa.Column("incident_id", Int, nullable=True),
        sa.Column("ended_at", Int, nullable=True),
        sa.Column("ended_by", Words, nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sqlite_strict=True,
    )
    op.create_index("ix_silences_until", "silences", ["until"], unique=False)
    op.create_table(
        "incident_events",
        sa.Column("id", Int, nullable=False),
        sa.Column("incident_id", Int, nullable=False),
        sa.Column("at", Int, nullable=False),
        sa.Column("kind", Words, nullable=False),
        sa.Column("text", Words, nullable=False),
        sa.Column("by", Words, nullable=True),
        sa.ForeignKeyConstraint(["incident_id"], ["incidents.id"]),
        sa.PrimaryKeyConstraint("id"),
        sqlite_strict=True,
    )
    op.create_index("ix_incident_events_incident", "incident_events", ["incident_id", "at", "id"], unique=False)
    op.create_table(
        "incident_evidence",
        sa.Column("incident_id", Int, autoincrement=False, nullable=False),
        sa.Column("at", Int, nullable=False),
        sa.Column("evidence", Words, nullable=False),
        sa.ForeignKeyConstraint(["incident_id"], ["incidents.id"]),
        sa.PrimaryKeyConstraint("incident_id"),
        sqlite_strict=True,
    )
    op.add_column("target_states", sa.Column("flapping", Int, server_default=sa.text("0"), nullable=False))
