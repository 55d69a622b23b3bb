"""Leases, by which several pollers divide the targets."""

import sqlalchemy as sa
from alembic import op

from monitor.store.dialect import Int, Words

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Leases, by which several pollers divide the targets."""
    op.create_table(
        "leases",
        sa.Column("shard", Int, autoincrement=False, nullable=False),
        sa.Column("holder", Words, nullable=True),
        sa.Column("until", Int, nullable=True),
        sa.PrimaryKeyConstraint("shard"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "pollers",
        sa.Column("name", Words, autoincrement=False, nullable=False),
        sa.Column("until", Int, nullable=False),
        sa.Column("inventory", Words, nullable=False),
        sa.PrimaryKeyConstraint("name"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "wanted",
        sa.Column("shard", Int, autoincrement=False, nullable=False),
        sa.Column("target_id", Int, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("shard", "target_id"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
