"""What can go wrong, and what is known of each kind before looking at its context.

The identifiers are stable: stored, exported and shown. To add one: a member of `FailureKind`, its row in `KINDS`, a rule
in `classify`, its words in `words`, its fault in the emulator. Tests fail until all five are there.
"""

from dataclasses import dataclass
from enum import StrEnum


class Lane(StrEnum):
    """The family of a failure. The first six are the lamps of a project."""

    AUTH = "auth"
    ACCESS = "access"
    RATE = "rate"
    QUOTA = "quota"
    SERVER = "server"
    NETWORK = "network"
    CLIENT = "client"
    UNKNOWN = "unknown"


LAMPS = (Lane.AUTH, Lane.ACCESS, Lane.RATE, Lane.QUOTA, Lane.SERVER, Lane.NETWORK)


class Scope(StrEnum):
    """Whose fault it is and how far it reaches, smallest first."""

    KEY = "key"
    MODEL = "model"
    PROJECT = "project"
    ORGANIZATION = "organization"
    OPENAI = "openai"
    MONITOR = "monitor"


class Owner(StrEnum):
    """Who can mend it."""

    SERVICE = "service"
    KEY_OWNER = "key_owner"
    PROJECT_ADMIN = "project_admin"
    ORGANIZATION_OWNER = "organization_owner"
    BILLING = "billing"
    NETWORK = "network"
    OPENAI = "openai"
    MONITOR = "monitor"


class FailureKind(StrEnum):
    """The cause of a failed check."""

    AUTH_INVALID_KEY = "auth.invalid_key"
    AUTH_WRONG_PROJECT = "auth.wrong_project"
    AUTH_WRONG_ORGANIZATION = "auth.wrong_organization"
    AUTH_NO_ORGANIZATION = "auth.no_organization"
    AUTH_ACCOUNT_DEACTIVATED = "auth.account_deactivated"
    AUTH_IP_NOT_ALLOWED = "auth.ip_not_allowed"
    AUTH_WRONG_REGION_HOST = "auth.wrong_region_host"
    AUTH_MISSING_SCOPE = "auth.missing_scope"
    AUTH_MISSING_CREDENTIALS = "auth.missing_credentials"
    AUTH_UNKNOWN = "auth.unknown"

    ACCESS_MODEL_NOT_ALLOWED = "access.model_not_allowed"
    ACCESS_MODEL_NOT_FOUND = "access.model_not_found"
    ACCESS_MODEL_RETIRED = "access.model_retired"
    ACCESS_ORGANIZATION_UNVERIFIED = "access.organization_unverified"
    ACCESS_REGION_UNSUPPORTED = "access.region_unsupported"
    ACCESS_POLICY = "access.policy"

    RATE_REQUESTS = "rate.requests"
    RATE_TOKENS = "rate.tokens"
    RATE_OTHER = "rate.other"
    RATE_REQUEST_TOO_LARGE = "rate.request_too_large"
    RATE_SLOW_DOWN = "rate.slow_down"

    QUOTA_CREDITS = "quota.credits"
    QUOTA_PROJECT_SPEND = "quota.project_spend"
    QUOTA_ORGANIZATION_SPEND = "quota.organization_spend"
    QUOTA_ORGANIZATION_USAGE = "quota.organization_usage"
    QUOTA_BILLING_INACTIVE = "quota.billing_inactive"
    QUOTA_EXHAUSTED = "quota.exhausted"

    SERVER_ERROR = "server.error"
    SERVER_OVERLOADED = "server.overloaded"

    NETWORK_TIMEOUT = "network.timeout"
    NETWORK_UNREACHABLE = "network.unreachable"
    NETWORK_TLS = "network.tls"
    NETWORK_NOT_OPENAI = "network.not_openai"

    CLIENT_BAD_REQUEST = "client.bad_request"
    CLIENT_CONFIGURATION = "client.configuration"

    UNKNOWN = "unknown"

    @property
    def lane(self) -> Lane:
        """The family, which is the part before the dot."""
        return _LANES[self]


_LANES = {kind: Lane(kind.value.partition(".")[0]) for kind in FailureKind}


@dataclass(frozen=True, slots=True)
class KindFacts:
    """What holds for a kind whatever its context."""

    title: str
    """A few words for a lamp or a table cell."""
    owner: Owner
    scope: Scope
    retry_helps: bool
    """Whether the same request may succeed later with nobody doing anything."""
    definitive: bool
    """Whether the answer itself settles the cause, so that one confirmation is enough."""


_K, _F = FailureKind, KindFacts

KINDS: dict[FailureKind, KindFacts] = {
    _K.AUTH_INVALID_KEY: _F("key refused", Owner.KEY_OWNER, Scope.KEY, retry_helps=False, definitive=True),
    _K.AUTH_WRONG_PROJECT: _F("key of another project", Owner.SERVICE, Scope.KEY, retry_helps=False, definitive=True),
    _K.AUTH_WRONG_ORGANIZATION: _F("wrong organization header", Owner.SERVICE, Scope.KEY, retry_helps=False, definitive=True),
    _K.AUTH_NO_ORGANIZATION: _F(
        "owner left the organization", Owner.ORGANIZATION_OWNER, Scope.KEY, retry_helps=False, definitive=True
    ),
    _K.AUTH_ACCOUNT_DEACTIVATED: _F(
        "account deactivated", Owner.ORGANIZATION_OWNER, Scope.ORGANIZATION, retry_helps=False, definitive=True
    ),
    _K.AUTH_IP_NOT_ALLOWED: _F("IP address not allowed", Owner.NETWORK, Scope.PROJECT, retry_helps=False, definitive=True),
    _K.AUTH_WRONG_REGION_HOST: _F("wrong regional host", Owner.SERVICE, Scope.PROJECT, retry_helps=False, definitive=True),
    _K.AUTH_MISSING_SCOPE: _F("scope missing", Owner.KEY_OWNER, Scope.KEY, retry_helps=False, definitive=False),
    _K.AUTH_MISSING_CREDENTIALS: _F("no key sent", Owner.SERVICE, Scope.KEY, retry_helps=False, definitive=True),
    _K.AUTH_UNKNOWN: _F("refused, reason unclear", Owner.KEY_OWNER, Scope.KEY, retry_helps=False, definitive=False),
    _K.ACCESS_MODEL_NOT_ALLOWED: _F("model not allowed", Owner.PROJECT_ADMIN, Scope.MODEL, retry_helps=False, definitive=True),
    _K.ACCESS_MODEL_NOT_FOUND: _F("model not found", Owner.SERVICE, Scope.MODEL, retry_helps=False, definitive=True),
    _K.ACCESS_MODEL_RETIRED: _F("model retired", Owner.SERVICE, Scope.MODEL, retry_helps=False, definitive=True),
    _K.ACCESS_ORGANIZATION_UNVERIFIED: _F(
        "organization not verified", Owner.ORGANIZATION_OWNER, Scope.ORGANIZATION, retry_helps=False, definitive=True
    ),
    _K.ACCESS_REGION_UNSUPPORTED: _F("region not supported", Owner.NETWORK, Scope.MONITOR, retry_helps=False, definitive=True),
    _K.ACCESS_POLICY: _F("refused by project policy", Owner.PROJECT_ADMIN, Scope.PROJECT, retry_helps=False, definitive=True),
    _K.RATE_REQUESTS: _F("request limit reached", Owner.PROJECT_ADMIN, Scope.PROJECT, retry_helps=True, definitive=False),
    _K.RATE_TOKENS: _F("token limit reached", Owner.PROJECT_ADMIN, Scope.PROJECT, retry_helps=True, definitive=False),
    _K.RATE_OTHER: _F("limit reached", Owner.PROJECT_ADMIN, Scope.PROJECT, retry_helps=True, definitive=False),
    _K.RATE_REQUEST_TOO_LARGE: _F(
        "request larger than the limit", Owner.SERVICE, Scope.PROJECT, retry_helps=False, definitive=True
    ),
    _K.RATE_SLOW_DOWN: _F("traffic rises too fast", Owner.SERVICE, Scope.ORGANIZATION, retry_helps=True, definitive=False),
    _K.QUOTA_CREDITS: _F("credits used up", Owner.BILLING, Scope.ORGANIZATION, retry_helps=False, definitive=True),
    _K.QUOTA_PROJECT_SPEND: _F(
        "project spend limit reached", Owner.PROJECT_ADMIN, Scope.PROJECT, retry_helps=False, definitive=True
    ),
    _K.QUOTA_ORGANIZATION_SPEND: _F(
        "organization spend limit reached", Owner.BILLING, Scope.ORGANIZATION, retry_helps=False, definitive=True
    ),
    _K.QUOTA_ORGANIZATION_USAGE: _F(
        "OpenAI's usage limit reached", Owner.ORGANIZATION_OWNER, Scope.ORGANIZATION, retry_helps=False, definitive=True
    ),
    _K.QUOTA_BILLING_INACTIVE: _F("billing not active", Owner.BILLING, Scope.ORGANIZATION, retry_helps=False, definitive=True),
    _K.QUOTA_EXHAUSTED: _F("quota used up", Owner.BILLING, Scope.ORGANIZATION, retry_helps=False, definitive=True),
    _K.SERVER_ERROR: _F("OpenAI server error", Owner.OPENAI, Scope.OPENAI, retry_helps=True, definitive=False),
    _K.SERVER_OVERLOADED: _F("OpenAI overloaded", Owner.OPENAI, Scope.OPENAI, retry_helps=True, definitive=False),
    _K.NETWORK_TIMEOUT: _F("no answer in time", Owner.NETWORK, Scope.MONITOR, retry_helps=True, definitive=False),
    _K.NETWORK_UNREACHABLE: _F("cannot connect", Owner.NETWORK, Scope.MONITOR, retry_helps=True, definitive=False),
    _K.NETWORK_TLS: _F("TLS failed", Owner.NETWORK, Scope.MONITOR, retry_helps=False, definitive=False),
    _K.NETWORK_NOT_OPENAI: _F("not OpenAI answering", Owner.NETWORK, Scope.MONITOR, retry_helps=False, definitive=False),
    _K.CLIENT_BAD_REQUEST: _F("bad request", Owner.SERVICE, Scope.KEY, retry_helps=False, definitive=True),
    _K.CLIENT_CONFIGURATION: _F("configuration", Owner.SERVICE, Scope.KEY, retry_helps=False, definitive=True),
    _K.UNKNOWN: _F("unknown", Owner.MONITOR, Scope.KEY, retry_helps=False, definitive=False),
}

KNOWS_BETTER = frozenset({_K.ACCESS_MODEL_RETIRED})
"""Whoever calls a retired model hears so; whoever looks it up only hears that it is not there."""
