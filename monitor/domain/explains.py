"""Which kind of change explains which kind of failure, how well, and why.

What stands here is judged from the change and the failure alone: whose key it was and when it happened is weighed in
`what_changed`. A pair that is missing explains nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from monitor.domain.changes import ChangeKind
from monitor.domain.taxonomy import FailureKind, Lane


class Reach(IntEnum):
    """How much of what failed the change is about, most last."""

    ELSEWHERE = 0
    """Another key, model or project."""
    PART = 1
    """One of several that failed: it cannot explain the others."""
    ORGANIZATION = 2
    PROJECT = 3
    ITSELF = 4
    """The very key or model that failed."""


@dataclass(frozen=True, slots=True)
class Rule:
    """How well one kind of change explains one kind of failure."""

    weight: int
    """Of 100, where everything else fits. 100 is what the failure is called after; under 50 it is a guess."""
    why: str
    """Ends a sentence that told the change: `a deleted key is refused`."""
    reach: Reach = Reach.ITSELF
    """How near the change has to be to count in full."""
    proves: bool = False
    """Whether such a change, near enough and in time, settles the cause: it cannot but fail then."""
    whole: bool = False
    """Whether only a change of the whole organization counts in full."""


_C, _F, _R = ChangeKind, FailureKind, Rule
_PROJECT, _ORGANIZATION = Reach.PROJECT, Reach.ORGANIZATION

_LOWER = "what fitted into the limit before no longer does"
_MAYBE_LOWER = "it may be lower now where this project needs it"
_SPENT = "what was spent already counts against the new limit"
_MUTUAL = "where mutual TLS is demanded, calls without the certificate are refused"
_OTHER_SECRET = "another secret is sent since then"  # noqa: S105 - words
_OWNER = "a key without an owner who may use the project is refused"
_ROLE = "what a key may do ends where its owner's role ends"
_LIST = "a project may use only the models that its list allows"
_GONE = "OpenAI no longer offers the model"
_ALLOWLIST = "an IP allowlist refuses every address that it lacks"
_SENT = "what is sent, or where to, changed with it"
_TOOL = "a tool that is switched off is refused"
_POLICY = "such a policy decides who may use what"

EXPLAINS: Mapping[ChangeKind, Mapping[FailureKind | Lane, Rule]] = {
    _C.KEY_DELETED: {
        _F.AUTH_INVALID_KEY: _R(99, "a deleted key is refused", proves=True),
        _F.AUTH_UNKNOWN: _R(80, "a deleted key is refused"),
    },
    _C.KEY_EXPIRED: {
        _F.AUTH_INVALID_KEY: _R(100, "an expired key is refused", proves=True),
        _F.AUTH_UNKNOWN: _R(80, "an expired key is refused"),
    },
    _C.KEY_CHANGED: {
        _F.AUTH_MISSING_SCOPE: _R(95, "a key may do only what it was given"),
        _F.AUTH_INVALID_KEY: _R(60, "its permissions or its end may have changed"),
        _F.AUTH_UNKNOWN: _R(60, "its permissions or its end may have changed"),
    },
    _C.KEY_ROTATED: {
        _F.AUTH_INVALID_KEY: _R(90, _OTHER_SECRET),
        _F.AUTH_WRONG_PROJECT: _R(90, _OTHER_SECRET),
        _F.AUTH_WRONG_ORGANIZATION: _R(85, _OTHER_SECRET),
        _F.AUTH_MISSING_CREDENTIALS: _R(85, _OTHER_SECRET),
        _F.CLIENT_CONFIGURATION: _R(90, _OTHER_SECRET),
        Lane.AUTH: _R(75, _OTHER_SECRET),
        Lane.ACCESS: _R(40, _OTHER_SECRET),
        Lane.QUOTA: _R(25, _OTHER_SECRET),
    },
    _C.KEY_CREATED: {_F.AUTH_INVALID_KEY: _R(20, "a new key often takes the place of an old one, which is deleted then")},
    _C.SERVICE_ACCOUNT_DELETED: {
        # Its keys are told as deleted too: that it went with its account says more.
        _F.AUTH_INVALID_KEY: _R(100, "the keys of a service account go with it", proves=True),
        _F.AUTH_UNKNOWN: _R(80, "the keys of a service account go with it"),
    },
    _C.SERVICE_ACCOUNT_CHANGED: {_F.AUTH_MISSING_SCOPE: _R(75, _ROLE), _F.AUTH_INVALID_KEY: _R(25, _ROLE)},
    _C.MEMBER_REMOVED: {
        _F.AUTH_INVALID_KEY: _R(92, _OWNER, proves=True),
        _F.AUTH_NO_ORGANIZATION: _R(100, _OWNER, _ORGANIZATION, whole=True),
        _F.AUTH_MISSING_SCOPE: _R(75, _ROLE),
        Lane.AUTH: _R(55, _OWNER),
    },
    _C.MEMBER_CHANGED: {
        _F.AUTH_INVALID_KEY: _R(94, _OWNER, proves=True),
        _F.AUTH_NO_ORGANIZATION: _R(90, _OWNER),
        _F.AUTH_MISSING_SCOPE: _R(90, _ROLE),
        Lane.AUTH: _R(55, _OWNER),
    },
    _C.ROLE_CHANGED: {
        _F.AUTH_MISSING_SCOPE: _R(85, _ROLE, _PROJECT),
        _F.AUTH_INVALID_KEY: _R(40, _ROLE, _PROJECT),
        _F.AUTH_NO_ORGANIZATION: _R(40, _ROLE, _PROJECT),
    },
    _C.PROJECT_ARCHIVED: {
        _F.AUTH_INVALID_KEY: _R(98, "the keys of an archived project no longer work", _PROJECT, proves=True),
        _F.AUTH_WRONG_PROJECT: _R(98, "the keys of an archived project no longer work", _PROJECT, proves=True),
        Lane.AUTH: _R(75, "the keys of an archived project no longer work", _PROJECT),
        Lane.ACCESS: _R(60, "an archived project may use nothing", _PROJECT),
    },
    _C.PROJECT_CHANGED: {_F.AUTH_WRONG_REGION_HOST: _R(85, "where its data stays decides at which host it answers", _PROJECT)},
    _C.RATE_LIMIT_LOWERED: {
        _F.RATE_REQUESTS: _R(95, _LOWER),
        _F.RATE_TOKENS: _R(95, _LOWER),
        _F.RATE_OTHER: _R(90, _LOWER),
        _F.RATE_REQUEST_TOO_LARGE: _R(95, "one request can be larger than the new limit"),
        _F.RATE_SLOW_DOWN: _R(30, _LOWER),
    },
    _C.RATE_LIMIT_CHANGED: {
        _F.RATE_REQUESTS: _R(60, _MAYBE_LOWER),
        _F.RATE_TOKENS: _R(60, _MAYBE_LOWER),
        _F.RATE_OTHER: _R(60, _MAYBE_LOWER),
        _F.RATE_REQUEST_TOO_LARGE: _R(60, _MAYBE_LOWER),
    },
    _C.MODEL_REMOVED: {
        _F.ACCESS_MODEL_NOT_ALLOWED: _R(100, _LIST, proves=True),
        _F.ACCESS_MODEL_NOT_FOUND: _R(95, "a model that its list lacks is not found by the project", proves=True),
        _F.ACCESS_POLICY: _R(60, _LIST),
    },
    _C.MODEL_DELISTED: {
        _F.ACCESS_MODEL_RETIRED: _R(98, _GONE, proves=True),
        _F.ACCESS_MODEL_NOT_FOUND: _R(90, _GONE),
        _F.ACCESS_MODEL_NOT_ALLOWED: _R(50, _GONE),
    },
    _C.MODEL_SHUTDOWN: {
        _F.ACCESS_MODEL_RETIRED: _R(90, "it has been announced"),
        _F.ACCESS_MODEL_NOT_FOUND: _R(70, "a model that is shut down is not found"),
    },
    _C.TOOL_DISABLED: {
        _F.ACCESS_POLICY: _R(92, _TOOL, _PROJECT),
        _F.CLIENT_BAD_REQUEST: _R(60, _TOOL, _PROJECT),
    },
    _C.SPEND_LIMIT_REACHED: {
        _F.QUOTA_PROJECT_SPEND: _R(98, "it is enforced until the month ends or the limit is raised", _PROJECT, proves=True),
        _F.QUOTA_ORGANIZATION_SPEND: _R(
            98, "it is enforced until the month ends or the limit is raised", _ORGANIZATION, proves=True, whole=True
        ),
        Lane.QUOTA: _R(70, "a limit that is reached stops all calls", _ORGANIZATION),
    },
    _C.SPEND_LIMIT_CHANGED: {
        # That the limit is reached, the failure says itself; why it is reached now, this says.
        _F.QUOTA_PROJECT_SPEND: _R(99, _SPENT, _PROJECT, proves=True),
        _F.QUOTA_ORGANIZATION_SPEND: _R(99, _SPENT, _ORGANIZATION, proves=True, whole=True),
        _F.QUOTA_ORGANIZATION_USAGE: _R(85, _SPENT, _ORGANIZATION, whole=True),
        _F.QUOTA_CREDITS: _R(80, _SPENT, _ORGANIZATION, whole=True),
        _F.QUOTA_EXHAUSTED: _R(80, _SPENT, _ORGANIZATION),
        Lane.QUOTA: _R(70, _SPENT, _ORGANIZATION),
    },
    _C.CERTIFICATE_CHANGED: {
        _F.NETWORK_TLS: _R(75, _MUTUAL, _ORGANIZATION),
        _F.AUTH_UNKNOWN: _R(80, _MUTUAL, _ORGANIZATION),
        Lane.AUTH: _R(45, _MUTUAL, _ORGANIZATION),
    },
    _C.CERTIFICATE_EXPIRED: {
        _F.NETWORK_TLS: _R(85, "an expired certificate is accepted no more", _ORGANIZATION),
        _F.AUTH_UNKNOWN: _R(85, "an expired certificate is accepted no more", _ORGANIZATION),
        Lane.AUTH: _R(50, "an expired certificate is accepted no more", _ORGANIZATION),
    },
    _C.IP_ALLOWLIST_CHANGED: {
        _F.AUTH_IP_NOT_ALLOWED: _R(98, _ALLOWLIST, _ORGANIZATION),
        _F.AUTH_UNKNOWN: _R(40, _ALLOWLIST, _ORGANIZATION),
    },
    _C.POLICY_CHANGED: {
        _F.ACCESS_POLICY: _R(80, _POLICY, _ORGANIZATION),
        _F.AUTH_MISSING_SCOPE: _R(80, _POLICY, _ORGANIZATION),
        _F.AUTH_NO_ORGANIZATION: _R(60, _POLICY, _ORGANIZATION),
        _F.AUTH_UNKNOWN: _R(60, _POLICY, _ORGANIZATION),
        Lane.ACCESS: _R(45, _POLICY, _ORGANIZATION),
        Lane.AUTH: _R(30, _POLICY, _ORGANIZATION),
    },
    _C.ORGANIZATION_CHANGED: {
        _F.AUTH_NO_ORGANIZATION: _R(30, "it concerns everybody in it", _ORGANIZATION),
        _F.ACCESS_ORGANIZATION_UNVERIFIED: _R(40, "it concerns everybody in it", _ORGANIZATION),
        _F.QUOTA_BILLING_INACTIVE: _R(30, "it concerns everybody in it", _ORGANIZATION),
        Lane.AUTH: _R(15, "it concerns everybody in it", _ORGANIZATION),
    },
    _C.CONFIG_CHANGED: {
        _F.AUTH_WRONG_PROJECT: _R(96, _SENT, _PROJECT),
        _F.AUTH_WRONG_ORGANIZATION: _R(96, _SENT, _PROJECT),
        _F.AUTH_WRONG_REGION_HOST: _R(96, _SENT, _PROJECT),
        _F.NETWORK_NOT_OPENAI: _R(96, _SENT, _PROJECT),
        _F.CLIENT_CONFIGURATION: _R(96, _SENT, _PROJECT),
        _F.ACCESS_MODEL_NOT_FOUND: _R(80, "other models may be asked for since then", _PROJECT),
        _F.ACCESS_MODEL_NOT_ALLOWED: _R(80, "other models may be asked for since then", _PROJECT),
        _F.ACCESS_POLICY: _R(40, "other things may be asked for since then", _PROJECT),
        _F.RATE_SLOW_DOWN: _R(20, "more may be asked for since then", _PROJECT),
        Lane.AUTH: _R(75, _SENT, _PROJECT),
        Lane.NETWORK: _R(75, _SENT, _PROJECT),
        Lane.RATE: _R(20, "more may be asked for since then", _PROJECT),
        Lane.UNKNOWN: _R(40, _SENT, _PROJECT),
    },
}


def rule_of(change: ChangeKind, failure: FailureKind) -> Rule | None:
    """How well a kind of change explains a kind of failure; None where it does not."""
    rules = EXPLAINS.get(change, {})
    return rules.get(failure) or rules.get(failure.lane)
