"""PostgreSQL: raw rows in partitions by time."""

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """PostgreSQL: raw rows in partitions by time."""
