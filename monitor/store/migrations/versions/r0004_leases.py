"""Leases, by which several pollers divide the targets."""

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Leases, by which several pollers divide the targets."""
