"""What is watched: projects, keys without their secrets, and the checks made of them."""

import hashlib
import hmac
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import NewType

Fingerprint = NewType("Fingerprint", str)
"""`<16 hex digits of a keyed hash>…<last four characters>`: the only form of a secret that is stored, logged or shown."""


def fingerprint(secret: str, salt: bytes) -> Fingerprint:
    """The fingerprint of `secret` under this installation's `salt`.

    A secret shorter than 20 characters shows none of its characters: four of twelve would be too large a part.
    """
    digest = hmac.new(salt, secret.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:16]
    return Fingerprint(f"{digest}…{secret[-4:] if len(secret) >= 20 else ''}")


class KeyKind(StrEnum):
    """Who a key belongs to. From the prefix it is a hint; the Administration API knows the truth."""

    PROJECT_USER = "project_user"
    SERVICE_ACCOUNT = "service_account"
    USER_LEGACY = "user_legacy"
    USER_UNSCOPED = "user_unscoped"
    ADMIN = "admin"
    UNKNOWN = "unknown"

    @classmethod
    def hinted_by(cls, secret: str) -> "KeyKind":
        """The kind that the prefix suggests. Never a test of validity: formats changed twice in one year."""
        for prefix, kind in _PREFIXES:
            if secret.startswith(prefix):
                return kind
        return cls.UNKNOWN


_PREFIXES = (
    ("sk-admin-", KeyKind.ADMIN),
    ("sk-proj-", KeyKind.PROJECT_USER),
    ("sk-svcacct-", KeyKind.SERVICE_ACCOUNT),
    ("sk-service-", KeyKind.SERVICE_ACCOUNT),
    ("sk-None-", KeyKind.USER_UNSCOPED),
    ("sk-", KeyKind.USER_LEGACY),
)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key without its secret."""

    label: str
    source: str
    """Where the secret comes from: `env:NAME` or `file:PATH`."""
    kind: KeyKind = KeyKind.UNKNOWN
    fingerprint: Fingerprint | None = None
    """None while the secret cannot be read."""
    problem: str | None = None
    """What is wrong with the secret as configured, in words, or None."""


@dataclass(frozen=True, slots=True)
class Project:
    """One OpenAI project as configured here."""

    name: str
    project_id: str | None = None
    organization: str | None = None
    base_url: str = "https://api.openai.com/v1"
    environment: str | None = None
    owner: str | None = None
    services: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    denied_models: tuple[str, ...] = ()
    keys: tuple[ApiKey, ...] = ()


class ProbeKind(StrEnum):
    """One kind of question put to the API."""

    CONTROL = "control"
    """List models with no key: a well-formed 401 proves that path and API are up."""
    AUTH = "auth"
    """List models with the key and the project header: free; proves the key, not that it may infer or has money."""
    MODEL_ACCESS = "model_access"
    """Look up one model: free; proves that the organization sees it, not that the project may use it."""
    INFERENCE = "inference"
    """A minimal call of one model: the only proof that the project can use it and pay for it."""
    DENIED_MODEL = "denied_model"
    """A minimal call of a model that must be refused: a refusal is ok, an answer is a finding."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a check looks at. `control` targets have a host and nothing else; all others a project and a key."""

    probe: ProbeKind
    project: str | None = None
    key: str | None = None
    model: str | None = None
    host: str | None = None
    """Scheme, host and path of the base URL; for `control` targets only."""

    def __str__(self) -> str:
        """`project/key/probe/model`, for logs."""
        return "/".join(part for part in (self.project or self.host, self.key, self.probe.value, self.model) if part)


@dataclass(frozen=True, slots=True)
class Check:
    """A probe applied to a target on a schedule."""

    target: Target
    interval: timedelta


@dataclass(frozen=True, slots=True)
class Inventory:
    """Everything that is configured at one moment."""

    projects: tuple[Project, ...]
    checks: tuple[Check, ...]
