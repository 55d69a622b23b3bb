"""Good answers by the hour, packed. What is there already is packed by the first `prune`, an hour at a time."""

import sqlalchemy as sa
from alembic import op

from monitor.store.dialect import Blob, Int

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.create_table(
        "packs",
        sa.Column("start", Int, autoincrement=False, nullable=False),
        sa.Column("target_id", Int, autoincrement=False, nullable=False),
        sa.Column("answer_id", Int, autoincrement=False, nullable=False),
        sa.Column("count", Int, nullable=False),
        sa.Column("data", Blob, nullable=False),
        sa.PrimaryKeyConstraint("start", "target_id", "answer_id"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    good = sa.text("notable = 0")
    op.create_index("ix_observations_good", "observations", ["at"], sqlite_where=good, postgresql_where=good)
