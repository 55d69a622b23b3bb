"""PostgreSQL: raw rows in partitions by time."""

from datetime import UTC, datetime

from alembic import op

from monitor.domain.timeline import from_ms
from monitor.store import partitions

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """PostgreSQL: raw rows in partitions by time. A copy, all or nothing: for the time of it twice the room is needed."""
    connection = op.get_bind()
    if connection.dialect.name != "postgresql":
        return
    op.execute("ALTER TABLE observations RENAME TO observations_whole")
    op.execute("CREATE TABLE observations (LIKE observations_whole INCLUDING DEFAULTS) PARTITION BY RANGE (at)")
    op.execute(f"CREATE TABLE {partitions.REST} PARTITION OF observations DEFAULT")
    now = datetime.now(UTC)
    oldest, newest = connection.exec_driver_sql("SELECT min(at), max(at) FROM observations_whole").one()
    months = set(partitions.ahead(now))
    if oldest is not None:
        # What lies outside is of a clock that was wrong; it goes to the rest.
        first, last = max(from_ms(oldest), now.replace(year=now.year - 2, day=1)), min(from_ms(newest), now)
        months |= set(partitions.between(first, last)) if first <= last else set()
    partitions.make(connection, sorted(months))
    op.execute("INSERT INTO observations SELECT * FROM observations_whole")
    op.execute("DROP TABLE observations_whole")
    op.execute("ALTER TABLE observations ADD CONSTRAINT observations_pkey PRIMARY KEY (target_id, at)")
    op.execute("CREATE INDEX ix_observations_notable ON observations (at) WHERE notable = 1")
    op.execute("CREATE INDEX ix_observations_request ON observations (request_id) WHERE request_id IS NOT NULL")
