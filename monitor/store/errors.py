"""Why the database cannot be used. Apart from the engine, so that the command line can catch it without loading SQLAlchemy."""

from enum import StrEnum


class Problem(StrEnum):
    """What keeps the database from being used."""

    URL = "url"
    MISSING = "missing"
    FOLDER = "folder"
    READ_ONLY = "read_only"
    LOCKED = "locked"
    NOT_A_DATABASE = "not_a_database"
    DAMAGED = "damaged"
    FULL = "full"
    NEWER = "newer"
    OLDER = "older"
    REFUSED = "refused"
    """The server takes no connections: it is down, and not only for us."""
    UNREACHABLE = "unreachable"
    """The server does not answer us; others may still reach it."""
    FORBIDDEN = "forbidden"
    LEASE = "lease"
    """Another poller has taken over what was to be written."""
    OTHER = "other"


class StoreError(Exception):
    """The database cannot be used; the text says why and what to do, and holds no password."""

    def __init__(self, problem: Problem, text: str) -> None:
        super().__init__(text)
        self.problem = problem
