"""The organization's own record, and what changes."""

import sqlalchemy as sa
from alembic import op

from monitor.store.dialect import Int, Real, Words

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "change_events",
        sa.Column("id", Int, nullable=False),
        sa.Column("at", Int, nullable=False),
        sa.Column("kind", Words, nullable=False),
        sa.Column("source", Words, nullable=False),
        sa.Column("text", Words, nullable=False),
        sa.Column("project_id", Words, nullable=True),
        sa.Column("project", Words, nullable=True),
        sa.Column("subject", Words, nullable=True),
        sa.Column("key", Words, nullable=True),
        sa.Column("model", Words, nullable=True),
        sa.Column("actor", Words, nullable=True),
        sa.Column("after", Int, nullable=True),
        sa.Column("dedup", Words, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("dedup"),
        sqlite_strict=True,
    )
    op.create_index("ix_change_events_at", "change_events", ["at"], unique=False)
    op.create_index("ix_change_events_project", "change_events", ["project", "at"], unique=False)
    op.create_table(
        "costs",
        sa.Column("organization_id", Int, autoincrement=False, nullable=False),
        sa.Column("day", Int, autoincrement=False, nullable=False),
        sa.Column("project", Words, autoincrement=False, nullable=False),
        sa.Column("line_item", Words, autoincrement=False, nullable=False),
        sa.Column("currency", Words, autoincrement=False, nullable=False),
        sa.Column("amount", Real, nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "day", "project", "line_item", "currency"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "key_matches",
        sa.Column("key_id", Int, autoincrement=False, nullable=False),
        sa.Column("organization_id", Int, nullable=False),
        sa.Column("matched", Words, nullable=False),
        sa.Column("api_key", Words, nullable=True),
        sa.Column("api_key_project", Words, nullable=True),
        sa.Column("at", Int, nullable=False),
        sa.PrimaryKeyConstraint("key_id"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "organization_items",
        sa.Column("organization_id", Int, autoincrement=False, nullable=False),
        sa.Column("kind", Words, autoincrement=False, nullable=False),
        sa.Column("project", Words, autoincrement=False, nullable=False),
        sa.Column("id", Words, autoincrement=False, nullable=False),
        sa.Column("facts", Words, nullable=False),
        sa.Column("first_seen", Int, nullable=False),
        sa.Column("changed_at", Int, nullable=False),
        sa.Column("gone_at", Int, nullable=True),
        sa.PrimaryKeyConstraint("organization_id", "kind", "project", "id"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "organization_parts",
        sa.Column("organization_id", Int, autoincrement=False, nullable=False),
        sa.Column("part", Words, autoincrement=False, nullable=False),
        sa.Column("project", Words, autoincrement=False, nullable=False),
        sa.Column("read_at", Int, nullable=True),
        sa.Column("reason", Words, nullable=True),
        sa.Column("since", Int, nullable=True),
        sa.Column("read_until", Int, nullable=True),
        sa.PrimaryKeyConstraint("organization_id", "part", "project"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "organizations",
        sa.Column("id", Int, nullable=False),
        sa.Column("name", Words, nullable=False),
        sa.Column("first_seen", Int, nullable=False),
        sa.Column("synced_at", Int, nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
        sqlite_strict=True,
    )
    op.create_table(
        "usage",
        sa.Column("organization_id", Int, autoincrement=False, nullable=False),
        sa.Column("width", Int, autoincrement=False, nullable=False),
        sa.Column("start", Int, autoincrement=False, nullable=False),
        sa.Column("endpoint", Words, autoincrement=False, nullable=False),
        sa.Column("project", Words, autoincrement=False, nullable=False),
        sa.Column("api_key", Words, autoincrement=False, nullable=False),
        sa.Column("model", Words, autoincrement=False, nullable=False),
        sa.Column("requests", Int, nullable=False),
        sa.Column("input_tokens", Int, nullable=False),
        sa.Column("output_tokens", Int, nullable=False),
        sa.Column("cached_tokens", Int, nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "width", "start", "endpoint", "project", "api_key", "model"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
