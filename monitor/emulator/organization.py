"""What an organization has: people, projects, keys, certificates, limits of what may be spent, and its audit log."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from monitor.emulator.shelf import Shelf

if TYPE_CHECKING:
    from monitor.emulator.world import Project

HOSTED_TOOLS = ("file_search", "web_search", "image_generation", "mcp", "code_interpreter")


@dataclass
class User:
    """A person of an organization. `role` is owner or reader."""

    id: str
    organization: str
    email: str
    name: str
    role: str
    added_at: int


@dataclass
class ServiceAccount:
    """What a key of a service belongs to."""

    id: str
    name: str
    role: str
    created_at: int


@dataclass
class KeyRecord:
    """A key of a project, without its secret."""

    id: str
    name: str
    redacted: str
    owner: User | ServiceAccount
    created_at: int
    expires_at: int | None = None
    last_used_at: int | None = None


@dataclass
class AdminKey:
    """A key that may ask the Administration API. `scopes` None is an unrestricted key."""

    secret: str
    organization: str
    record: KeyRecord
    scopes: frozenset[str] | None = None


@dataclass
class Certificate:
    """A certificate for mutual TLS, and where it is active: project ids, or the organization's."""

    id: str
    organization: str
    name: str
    created_at: int
    valid_at: int
    expires_at: int
    active: set[str] = field(default_factory=set)


@dataclass
class SpendLimit:
    """What may be spent in a month, in cents."""

    cents: int
    enforcing: bool = False


@dataclass
class ProjectRecord:
    """What is known of a project beside its models."""

    project: "Project"
    created_at: int
    archived_at: int | None = None
    residency: str | None = None
    keys: Shelf[str] = field(default_factory=Shelf)
    """Secrets, by key id."""
    secrets: list[str] = field(default_factory=list)
    """All there ever were, and those that no list shows."""
    service_accounts: Shelf[ServiceAccount] = field(default_factory=Shelf)
    members: Shelf[tuple[User, str, int]] = field(default_factory=Shelf)
    """User, role and when added."""
    tools_off: set[str] = field(default_factory=set)
    default_tier: str = "standard"
    tiers: str | list[str] = "all"


@dataclass
class Organization:
    """What an organization has."""

    id: str
    projects: Shelf[ProjectRecord] = field(default_factory=Shelf)
    users: Shelf[User] = field(default_factory=Shelf)
    admin_keys: Shelf[AdminKey] = field(default_factory=Shelf)
    certificates: Shelf[Certificate] = field(default_factory=Shelf)
    audit: Shelf[dict[str, Any]] = field(default_factory=Shelf)

    @property
    def owner(self) -> User:
        """Who does what nobody else is named for."""
        return next(user for user in self.users if user.role == "owner")
