"""The fleet is folded in half the time: states lie by their numbers in SQLite's own order, and targets by project in an index."""

import sqlalchemy as sa
from alembic import op

from monitor.store.dialect import Int, Real, Words

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.create_index("ix_targets_project", "targets", ["project_id", "active", "probe", "interval"])
    if op.get_bind().dialect.name != "sqlite":
        return
    # Not renamed: the declaration would keep marks of that.
    op.execute("CREATE TEMP TABLE kept_states AS SELECT * FROM target_states")
    op.drop_table("target_states")
    op.create_table(
        "target_states",
        sa.Column("target_id", Int, autoincrement=False, nullable=False),
        sa.Column("health", Words, nullable=False),
        sa.Column("since", Int),
        sa.Column("failure", Words),
        sa.Column("recent", Words, nullable=False),
        sa.Column("last_kind", Words),
        sa.Column("last_at", Int),
        sa.Column("last_ok_at", Int),
        sa.Column("answer_id", Int),
        sa.Column("latency_us", Int),
        sa.Column("request_id", Words),
        sa.Column("retry_after", Real),
        sa.Column("hit", Words),
        sa.Column("limits", Words),
        sa.Column("limits_at", Int),
        sa.Column("flapping", Int, server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("target_id"),
        sqlite_strict=True,
    )
    op.execute("INSERT INTO target_states SELECT * FROM kept_states ORDER BY target_id")
    op.execute("DROP TABLE kept_states")
