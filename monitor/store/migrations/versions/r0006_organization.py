"""The organization's own record."""

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """The organization's own record."""
