"""Day buckets, filled from the hours that are there. When an answer was last said."""

from collections import defaultdict

import sqlalchemy as sa
from alembic import op

from monitor.store.dialect import Blob, Int, Words
from monitor.store.sketch import compact

revision = "0003"
down_revision = "0002"

_DAY = 86_400_000


def upgrade() -> None:
    op.create_table(
        "day_buckets",
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
        "day_failures",
        sa.Column("start", Int, autoincrement=False, nullable=False),
        sa.Column("project_id", Int, autoincrement=False, nullable=False),
        sa.Column("failure", Words, autoincrement=False, nullable=False),
        sa.Column("count", Int, nullable=False),
        sa.PrimaryKeyConstraint("start", "project_id", "failure"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.add_column("answers", sa.Column("used_at", Int, server_default=sa.text("0"), nullable=False))
    connection = op.get_bind()
    for statement in (_COUNTS, _FAILURES, _USED):
        connection.execute(sa.text(statement), {"day": _DAY})
    for (day,) in connection.execute(sa.text("SELECT DISTINCT start FROM day_buckets ORDER BY start")).all():
        _fill_sketches(connection, day)


_COUNTS = """
    INSERT INTO day_buckets (start, project_id, probe, ok, failed, inconclusive)
    SELECT start - start % :day, project_id, probe, sum(ok), sum(failed), sum(inconclusive) FROM hour_buckets
    GROUP BY 1, 2, 3
"""
_FAILURES = """
    INSERT INTO day_failures (start, project_id, failure, count)
    SELECT start - start % :day, project_id, failure, sum(count) FROM hour_failures
    GROUP BY 1, 2, 3
"""
_USED = "UPDATE answers SET used_at = (SELECT coalesce(max(start - start % :day), 0) FROM hour_buckets)"
_HOURS = "SELECT project_id, probe, sketch FROM hour_buckets WHERE start >= :start AND start < :end AND sketch IS NOT NULL"
_SKETCH = "UPDATE day_buckets SET sketch = :sketch WHERE start = :start AND project_id = :project_id AND probe = :probe"


def _fill_sketches(connection: sa.Connection, day: int) -> None:
    """A day at once: a year of hours would not fit into memory."""
    held: dict[tuple[int, int], list[bytes]] = defaultdict(list)
    for project_id, probe, sketch in connection.execute(sa.text(_HOURS), {"start": day, "end": day + _DAY}):
        held[project_id, probe].append(sketch)
    rows = [
        {"start": day, "project_id": project_id, "probe": probe, "sketch": compact(b"".join(some))}
        for (project_id, probe), some in held.items()
    ]
    if rows:
        connection.execute(sa.text(_SKETCH), rows)
