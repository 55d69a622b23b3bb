"""The models that each project is listed, and how keys and projects did on the scorecard."""

import sqlalchemy as sa
from alembic import op

from monitor.store.dialect import Blob, Int, Words

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "catalogues",
        sa.Column("id", Int, nullable=False),
        sa.Column("digest", Blob, nullable=False),
        sa.Column("models", Words, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("digest"),
        sqlite_strict=True,
    )
    op.create_table(
        "project_catalogues",
        sa.Column("project_id", Int, autoincrement=False, nullable=False),
        sa.Column("catalogue_id", Int, nullable=False),
        sa.Column("at", Int, nullable=False),
        sa.PrimaryKeyConstraint("project_id"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "scores",
        sa.Column("subject", Words, autoincrement=False, nullable=False),
        sa.Column("at", Int, autoincrement=False, nullable=False),
        sa.Column("score", Int, nullable=False),
        sa.Column("findings", Words, nullable=False),
        sa.PrimaryKeyConstraint("subject", "at"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
