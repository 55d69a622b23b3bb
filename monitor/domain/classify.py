"""What an answer means: read the envelope, then the first rule that fits, top to bottom, decides.

Any status, any headers, any bytes give a `Classification`; nothing here raises. Status alone decides nothing while there is a code,
a type or a message to read: `model_not_found` comes as 400, 403 and 404, and a 429 is one of a dozen conditions.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from monitor.domain import ratelimits
from monitor.domain.envelope import Form, Said, failure_in
from monitor.domain.observation import Classification, RateLimitHit, RateLimitSnapshot, TransportFault, Verdict, WireAnswer
from monitor.domain.redact import clean, echoed_key, label, redact, tail, template
from monitor.domain.taxonomy import KINDS, FailureKind, Lane, Scope

__all__ = ["RULES", "Rule", "classify", "template"]

_K = FailureKind


@dataclass(frozen=True, slots=True)
class Rule:
    """A row of the table: it fits when all that it names fits. Of several words one is enough."""

    kind: FailureKind
    code: frozenset[str] = frozenset()
    """Matched against `code` and `type`: older answers carry the reason in `type`."""
    type: frozenset[str] = frozenset()
    status: frozenset[int] = frozenset()
    says: tuple[tuple[str, ...], ...] = ()
    """Phrases of the message. In the table `…` in a phrase stands for any words between."""
    metric: str | None = None
    """What the limit that the message names is counted in; empty for anything but requests and tokens."""
    form: frozenset[Form] = frozenset({Form.ENVELOPE, Form.TEXT})
    edge: bool = False
    """Only when OpenAI or its edge spoke."""

    def fits(self, said: Said) -> bool:
        """Whether this row speaks of what was said."""
        if self.code and said.code not in self.code and said.type not in self.code:
            return False
        if self.status and said.status not in self.status:
            return False
        if said.form not in self.form or (self.edge and not said.edge) or (self.type and said.type not in self.type):
            return False
        if self.metric is not None and (said.hit is None or _counted_in(said.hit) != self.metric):
            return False
        return not self.says or self._is_said(said.text)

    def _is_said(self, text: str) -> bool:
        for phrase in self.says:  # noqa: SIM110 - a plain loop costs half of any(): this is the classifier's innermost
            if phrase[0] in text and (len(phrase) == 1 or _in_order(phrase, text)):
                return True
        return False


def _counted_in(hit: RateLimitHit) -> str | None:
    if hit.metric in ("requests", "tokens"):
        return hit.metric
    return "" if hit.metric else None


def _in_order(phrase: tuple[str, ...], text: str) -> bool:
    at = 0
    for part in phrase:
        at = text.find(part, at)
        if at < 0:
            return False
        at += len(part)
    return True


def _rule(
    kind: FailureKind,
    *says: str,
    code: Iterable[str] = (),
    type: Iterable[str] = (),  # noqa: A002 - OpenAI's word
    status: Iterable[int] = (),
    metric: str | None = None,
    form: Iterable[Form] = (Form.ENVELOPE, Form.TEXT),
    edge: bool = False,
) -> Rule:
    phrases = tuple(tuple(phrase.split("…")) for phrase in says)
    return Rule(kind, frozenset(code), frozenset(type), frozenset(status), phrases, metric, frozenset(form), edge)


_SERVER = range(500, 600)
_REFUSED = (401, 403)
_RATE_CODES = ("rate_limit_exceeded", "rate_limit_error", "rate_limit_reached", "too_many_requests", "429")

_BY_POLICY = tuple(
    f"{refused} {whose}"
    for refused in (
        "not allowed for", "not enabled for", "not permitted for", "not available for", "not allowed by", "disabled for",
        "disabled by", "blocked by", "blocked for", "restricted by",
    )
    for whose in ("this project", "your project", "project proj_", "this organization", "your organization")
)  # fmt: skip
"""How OpenAI says that a project's or organization's own setting refuses something."""

RULES: tuple[Rule, ...] = (
    # Codes of wrong requests that are told by quoting what was sent: first, because what was sent may be any words.
    _rule(_K.CLIENT_BAD_REQUEST, code=["invalid_image_url", "failed_to_download_image", "unknown_parameter", "invalid_prompt"]),
    # The key and who sent it.
    _rule(_K.AUTH_WRONG_PROJECT, code=["mismatched_project", "not_authorized_invalid_project"]),
    _rule(_K.AUTH_WRONG_PROJECT, code=["invalid_project", "project_not_found", "project_archived"], form=[Form.ENVELOPE]),
    _rule(_K.AUTH_WRONG_PROJECT, "project…has been archived and is no longer accessible", "archived projects cannot be used"),
    _rule(_K.AUTH_NO_ORGANIZATION, "not have access to the organization tied to the api key"),
    _rule(_K.AUTH_WRONG_ORGANIZATION, code=["mismatched_organization", "invalid_organization"]),
    _rule(_K.AUTH_NO_ORGANIZATION, code=["no_organization", "organization_membership_required"]),
    _rule(
        _K.AUTH_ACCOUNT_DEACTIVATED,
        code=[
            "account_deactivated",
            "organization_deactivated",
            "access_terminated",
            "account_suspended",
            "organization_suspended",
            "organization_disabled",
        ],
    ),
    _rule(_K.AUTH_IP_NOT_ALLOWED, code=["ip_not_authorized", "ip_not_allowed"]),
    _rule(_K.AUTH_WRONG_REGION_HOST, code=["incorrect_hostname", "data_residency_mismatch"]),
    _rule(_K.ACCESS_REGION_UNSUPPORTED, code=["unsupported_country_region_territory", "unsupported_country"]),
    _rule(_K.AUTH_MISSING_SCOPE, "missing scopes:", "insufficient permissions", "missing scope:", "missing required scope"),
    _rule(_K.AUTH_MISSING_SCOPE, "not have the required permission", "not have the required role", status=_REFUSED),
    _rule(_K.AUTH_MISSING_SCOPE, code=["insufficient_permissions", "missing_scope", "insufficient_scope"]),
    _rule(
        _K.AUTH_MISSING_CREDENTIALS,
        "didn't provide an api key",
        "did not provide an api key",
        "missing bearer",
        "no api key provided",
        "need to provide your api key",
        "must provide an api key",
        "missing authorization header",
        "missing authentication",
    ),
    _rule(_K.AUTH_MISSING_CREDENTIALS, code=["missing_api_key", "missing_authentication", "missing_credentials"]),
    # So say the SDKs themselves, before they send anything.
    _rule(_K.AUTH_MISSING_CREDENTIALS, "api_key client option must be set", "_api_key environment variable is missing"),
    _rule(_K.AUTH_MISSING_CREDENTIALS, "missing credentials. please pass"),
    # Money. First the codes that say which limit, then the umbrella that older answers carry in `type`.
    _rule(_K.QUOTA_CREDITS, code=["credit_balance_exhausted"]),
    _rule(_K.QUOTA_PROJECT_SPEND, code=["project_spend_limit_exceeded"]),
    _rule(_K.QUOTA_ORGANIZATION_SPEND, code=["organization_spend_limit_exceeded", "billing_hard_limit_reached"]),
    _rule(_K.QUOTA_ORGANIZATION_USAGE, code=["organization_usage_limit_exceeded", "usage_limit_reached"]),
    _rule(_K.QUOTA_BILLING_INACTIVE, code=["billing_not_active"]),
    _rule(_K.QUOTA_ORGANIZATION_SPEND, "billing hard limit"),
    _rule(_K.QUOTA_BILLING_INACTIVE, "account is not active", "billing is not active"),
    _rule(_K.QUOTA_CREDITS, "no credits remaining", "credit balance is", "out of credits", "insufficient credits"),
    _rule(_K.QUOTA_CREDITS, "insufficient balance", "prepaid balance", "credits have expired", status=[402, 403, 429]),
    _rule(_K.QUOTA_PROJECT_SPEND, "project…spend limit", "project…monthly budget"),
    _rule(_K.QUOTA_ORGANIZATION_SPEND, "organization…spend limit", "organization…monthly budget"),
    _rule(_K.QUOTA_ORGANIZATION_USAGE, "organization…assigned usage limit"),
    _rule(_K.QUOTA_EXHAUSTED, "exceeded your current quota"),
    _rule(_K.QUOTA_EXHAUSTED, code=["insufficient_quota", "quota_exceeded", "insufficient_user_quota"]),
    # The model.
    _rule(
        _K.ACCESS_ORGANIZATION_UNVERIFIED,
        "organization must be verified",
        "must be verified to",
        "verify organization",
        "verify your organization",
        "organization is not verified",
        "organization verification",
        "verified organizations",
    ),
    _rule(
        _K.ACCESS_MODEL_NOT_ALLOWED,
        "does not have access to model",
        "does not have access to the model",
        "not allowed to sample from this model",
        "not allowed to generate embeddings from this model",
        "not allowed to use this model",
        "project is not allowed to use model",
        "project does not have access to this model",
        *(f"model…{refused}" for refused in _BY_POLICY),
    ),
    _rule(_K.ACCESS_MODEL_RETIRED, code=["model_deprecated", "model_retired", "model_decommissioned"]),
    _rule(
        _K.ACCESS_MODEL_RETIRED,
        "model…has been deprecated",
        "model…is deprecated and",
        "model…has been retired",
        "model…has been shut down",
        "model…has been decommissioned",
        "model…has been removed",
        "model…was shut down",
        "model…has been sunset",
        "model…has been discontinued",
        "model…is no longer available",
        "model…is no longer supported",
    ),
    _rule(_K.ACCESS_MODEL_NOT_FOUND, code=["model_not_found", "invalid_model", "deployment_not_found", "deploymentnotfound"]),
    _rule(
        _K.ACCESS_MODEL_NOT_FOUND,
        "the model…does not exist",
        "requested model…does not exist",
        "that model does not exist",
        "do not have access to the model",
        "don't have access to the model",
        "engine not found",
        "no engine with that id",
        "not have access to this model",
        "invalid model id",
        "no such model",
        "unknown model",
        "model not found",
        "model `…not found",
        "model '…not found",
        'model "…not found',
        status=[400, 401, 403, 404],
    ),
    _rule(
        _K.ACCESS_MODEL_NOT_FOUND,
        "the model `…does not exist",
        "the model: `…does not exist",
        "the requested model '…does not exist",
    ),
    _rule(_K.ACCESS_MODEL_NOT_FOUND, "model…not found", status=[404], form=[Form.ENVELOPE]),
    # The project's policy.
    _rule(_K.ACCESS_POLICY, code=["not_authorized_invalid_key_type"]),
    _rule(_K.ACCESS_POLICY, "does not allow user keys"),
    _rule(_K.ACCESS_POLICY, *_BY_POLICY),
    # What no key, model or policy is to blame for: somebody's request was wrong. Before the texts of limits, because OpenAI quotes
    # what was sent, and that may be any words.
    _rule(
        _K.CLIENT_BAD_REQUEST,
        code=[
            "bio_policy",
            "cyber_policy",
            "content_policy_violation",
            "content_filter",
            "moderation_blocked",
            "context_length_exceeded",
            "string_above_max_length",
            "invalid_image",
            "invalid_image_format",
            "invalid_base64_image",
            "image_too_large",
            "image_too_small",
            "image_parse_error",
            "image_content_policy_violation",
            "invalid_image_mode",
            "image_file_too_large",
            "unsupported_image_media_type",
            "empty_image_file",
            "image_file_not_found",
            "missing_required_parameter",
            "unsupported_parameter",
            "invalid_value",
            "invalid_type",
            "unsupported_value",
            "image_generation_user_error",
            "integer_below_min_value",
            "integer_above_max_value",
            "decimal_below_min_value",
            "decimal_above_max_value",
            "array_above_max_length",
            "array_below_min_length",
            "string_below_min_length",
            "empty_string",
            "empty_array",
        ],
    ),
    _rule(_K.CLIENT_BAD_REQUEST, "maximum context length", "maximum content size", "exceeds the context window"),
    _rule(_K.RATE_SLOW_DOWN, code=["slow_down"]),
    # Overload is said in many words and under any status. `resource_unavailable` is a 429 of flex processing, which costs nothing.
    _rule(
        _K.SERVER_OVERLOADED,
        code=["server_is_overloaded", "service_unavailable_error", "overloaded_error", "engine_overloaded", "model_overloaded"],
    ),
    _rule(_K.SERVER_OVERLOADED, code=["resource_unavailable"]),
    _rule(_K.SERVER_OVERLOADED, "currently overloaded", "overloaded with other requests", "overloaded or not ready"),
    _rule(_K.SERVER_OVERLOADED, "model is at capacity", "currently at capacity", "experiencing high demand"),
    _rule(_K.SERVER_OVERLOADED, "too many requests", "overloaded", "high demand", "high load", "at capacity", status=_SERVER),
    # Rates. The message tells which limit; `type` only helps out: an image limit was seen with type "requests".
    _rule(_K.RATE_REQUEST_TOO_LARGE, "request too large", "request is too large", code=_RATE_CODES),
    _rule(_K.RATE_REQUEST_TOO_LARGE, "request too large", status=[429]),
    _rule(_K.RATE_REQUEST_TOO_LARGE, "request too large for…per min", "request too large for…per day"),
    _rule(_K.RATE_REQUEST_TOO_LARGE, "tokens must be reduced in order to run successfully"),
    _rule(_K.RATE_REQUESTS, "request/min rate limit", "requests/min rate limit", "request/day rate limit"),
    _rule(_K.RATE_SLOW_DOWN, "rate increased too quickly", "increase in your request rate", "slow down", status=[429, 503]),
    _rule(_K.RATE_SLOW_DOWN, "rate is ramping", "ramping up too", "increase traffic gradually"),
    _rule(_K.RATE_REQUESTS, metric="requests"),
    _rule(_K.RATE_TOKENS, metric="tokens"),
    _rule(_K.RATE_OTHER, metric=""),
    # Too much was sent: OpenAI calls that a `server_error` where a file is meant.
    _rule(_K.CLIENT_BAD_REQUEST, status=[413, 414, 431], form=[Form.ENVELOPE]),
    _rule(_K.SERVER_ERROR, code=["server_error", "internal_server_error", "internal_error", "vector_store_timeout", "api_error"]),
    _rule(_K.SERVER_ERROR, "the server had an error"),
    _rule(_K.RATE_TOKENS, code=_RATE_CODES, type=["tokens"]),
    _rule(_K.RATE_REQUESTS, code=_RATE_CODES, type=["requests"]),
    _rule(_K.RATE_TOKENS, status=[429], type=["tokens"]),
    _rule(_K.RATE_REQUESTS, status=[429], type=["requests"]),
    _rule(_K.RATE_TOKENS, "exceeded token rate limit", "token limit", "rate limit reached for tokens"),
    _rule(_K.RATE_REQUESTS, "exceeded call rate limit", "request limit reached"),
    _rule(_K.RATE_REQUESTS, "rate limit reached for requests"),
    _rule(
        _K.RATE_OTHER, "rate limit reached", "rate limit exceeded", "rate-limited", "too many requests", "rate limit is exceeded"
    ),
    _rule(_K.RATE_OTHER, "sending requests too quickly"),
    _rule(_K.RATE_OTHER, code=_RATE_CODES),
    # The same without a code: only the text is left.
    _rule(_K.AUTH_WRONG_PROJECT, "openai-project header should match", "no such project", "archived project"),
    _rule(_K.AUTH_WRONG_PROJECT, "project…has been archived", "project…is archived", "project…was archived"),
    _rule(_K.AUTH_WRONG_PROJECT, "not have access to project", "not have access to the project", status=_REFUSED),
    _rule(_K.AUTH_WRONG_PROJECT, "project…does not exist", "invalid project", status=_REFUSED),
    _rule(_K.AUTH_WRONG_ORGANIZATION, "openai-organization header should match", "no such organization", "invalid organization"),
    _rule(_K.AUTH_WRONG_ORGANIZATION, "not a member of the organization", "not have access to organization", status=_REFUSED),
    _rule(_K.AUTH_NO_ORGANIZATION, "must be a member of an organization", "not a member of any organization"),
    _rule(_K.AUTH_ACCOUNT_DEACTIVATED, "deactivated account", "access was terminated"),
    _rule(
        _K.AUTH_ACCOUNT_DEACTIVATED,
        *(
            f"{who}…{what}"
            for who in ("account", "organization")
            for what in ("been deactivated", "been suspended", "been disabled")
        ),
        "account…been banned",
        "account is deactivated",
    ),
    _rule(
        _K.AUTH_IP_NOT_ALLOWED, "ip is not authorized", "ip not authorized", "ip address…not authorized", "ip address…not allowed"
    ),
    _rule(_K.AUTH_IP_NOT_ALLOWED, "ip address…allowlist", "ip address…allow list", "ip allowlist", "not whitelisted"),
    _rule(_K.AUTH_WRONG_REGION_HOST, "incorrect regional hostname", "make your request to…api.openai.com"),
    _rule(_K.AUTH_WRONG_REGION_HOST, "data residency…api.openai.com"),
    _rule(
        _K.ACCESS_REGION_UNSUPPORTED,
        "country, region, or territory not supported",
        "not available in your country",
        "not supported in your country",
        "api is not available in your region",
        "from your location is not supported",
        "unsupported country",
    ),
    _rule(
        _K.AUTH_INVALID_KEY, code=["invalid_api_key", "api_key_expired", "expired_api_key", "token_expired", "token_invalidated"]
    ),
    _rule(_K.AUTH_INVALID_KEY, code=["token_revoked", "invalid_jwt"]),
    _rule(_K.AUTH_INVALID_KEY, "incorrect api key", "invalid api key", "api key…expired", "api key…revoked", status=_REFUSED),
    _rule(_K.AUTH_INVALID_KEY, "incorrect api key", "invalid api key", "api key has expired", "api key has been revoked"),
    _rule(_K.AUTH_INVALID_KEY, "invalid authentication", "invalid token", "invalid subscription key", status=[401]),
    _rule(_K.AUTH_INVALID_KEY, "api key has been disabled", "authentication token…expired", "token has been invalidated"),
    _rule(_K.CLIENT_CONFIGURATION, code=["unknown_url"]),
    _rule(_K.CLIENT_CONFIGURATION, "invalid url (", "unknown request url"),
    # OAuth: a workload's token was not exchanged for a key. It comes as 400 too, and is no bad request.
    _rule(
        _K.AUTH_UNKNOWN, code=["invalid_grant", "invalid_client", "invalid_subject_token", "invalid_token", "unauthorized_client"]
    ),
    # The envelope alone, by status.
    _rule(_K.AUTH_UNKNOWN, status=_REFUSED, form=[Form.ENVELOPE]),
    _rule(_K.QUOTA_EXHAUSTED, status=[402], form=[Form.ENVELOPE]),
    _rule(_K.NETWORK_TIMEOUT, status=[408], form=[Form.ENVELOPE]),
    _rule(_K.CLIENT_BAD_REQUEST, status=[400, 404, 405, 406, 409, 410, 411, 413, 414, 415, 422, 431], form=[Form.ENVELOPE]),
    _rule(_K.RATE_OTHER, status=[429], form=[Form.ENVELOPE]),
    _rule(_K.SERVER_ERROR, status=_SERVER, form=[Form.ENVELOPE]),
    _rule(_K.CLIENT_BAD_REQUEST, type=["invalid_request_error"], form=[Form.ENVELOPE]),
    _rule(_K.AUTH_UNKNOWN, code=["authentication_error", "permission_error", "unauthorized", "forbidden"], form=[Form.ENVELOPE]),
    # No envelope: the edge before OpenAI, or somebody else altogether.
    _rule(_K.NETWORK_NOT_OPENAI, status=[511], form=list(Form)),
    _rule(_K.SERVER_ERROR, "upstream connect error", "no healthy upstream", "upstream request timeout", "stream timeout"),
    _rule(_K.SERVER_ERROR, status=_SERVER, form=list(Form), edge=True),
    _rule(_K.CLIENT_BAD_REQUEST, status=[413, 414, 431], form=list(Form), edge=True),
    _rule(_K.RATE_OTHER, status=[429], form=list(Form), edge=True),
    _rule(_K.NETWORK_NOT_OPENAI, status=range(200, 600), form=[Form.TEXT, Form.HTML]),
    _rule(_K.NETWORK_NOT_OPENAI, form=[Form.HTML]),
)


def classify(answer: WireAnswer, *, now: datetime | None = None) -> Classification:
    """What `answer` means. `now` serves only to read a `retry-after` that is a date; without it the answer's own date does."""
    status = answer.status
    if answer.fault is not None and (status is None or status < 400 or not answer.body):
        return _transport(answer)
    if status is not None and 300 <= status < 400:
        return _redirect(answer)
    said = failure_in(answer)
    if said is None:
        return _OK
    kind = next((rule.kind for rule in RULES if rule.fits(said)), _K.UNKNOWN)
    return _result(kind, said, answer, now)


_OK = Classification(Verdict.OK)
_INCONCLUSIVE = frozenset({_K.CLIENT_BAD_REQUEST, _K.UNKNOWN})


def _result(kind: FailureKind, said: Said, answer: WireAnswer, now: datetime | None) -> Classification:
    hit = _storable(said.hit) if said.hit is not None and kind.lane is Lane.RATE else None
    shown = ratelimits.snapshots(answer.headers) if kind.lane is Lane.RATE else ()
    wait = None
    if kind.lane in (Lane.RATE, Lane.QUOTA, Lane.SERVER, Lane.NETWORK):
        wait = ratelimits.retry_after(answer.headers, said.message, shown, now)
    return Classification(
        verdict=Verdict.INCONCLUSIVE if kind in _INCONCLUSIVE else Verdict.FAILED,
        failure=kind,
        code=label(said.code) or None,
        type=label(said.type) or None,
        param=label(said.param) or None,
        message=template(said.message) if said.message else None,
        scope=_scope(kind, said.message, shown),
        retry_after=wait,
        hit=hit,
        missing_scopes=_missing_scopes(said.message) if kind is _K.AUTH_MISSING_SCOPE else (),
        hint=_hint(kind, said),
    )


def _storable(hit: RateLimitHit) -> RateLimitHit:
    """The names in the text are whatever the caller called them."""
    named = (hit.model, hit.pool, hit.project, hit.organization)
    model, pool, project, organization = (redact(name) if name else None for name in named)
    return replace(hit, model=model, pool=pool, project=project, organization=organization)


_WHOSE = re.compile(r"\b(?:in|for|your|this) (project|organization)\b", re.IGNORECASE)
"""OpenAI names the project first where both are named."""


def _scope(kind: FailureKind, message: str, shown: Iterable[RateLimitSnapshot]) -> Scope | None:
    """Whose limit a 429 hit stands in its text only, or in the name of the exhausted bucket. Where neither says, nobody knows."""
    if kind.lane is not Lane.RATE or kind is _K.RATE_SLOW_DOWN:
        return KINDS[kind].scope
    whose = _WHOSE.search(message)
    if whose is not None:
        return Scope(whose[1].lower())
    if any(bucket.remaining == 0 and bucket.bucket.startswith("project-") for bucket in shown):
        return Scope.PROJECT
    return None


_SCOPES = re.compile(r"missing scopes?: ?([\w.:-]+(?:, ?[\w.:-]+)*)", re.IGNORECASE)


def _missing_scopes(message: str) -> tuple[str, ...]:
    found = _SCOPES.search(message)
    names = [name.strip(" .") for name in found[1].split(",")] if found else []
    return tuple(label(name) for name in names if name)[:20]


_MODEL = re.compile(r"\b[Mm]odel:? [`'\"]([^`'\"\s]{1,100})[`'\"]")
_HOST = re.compile(r"\b((?:[a-z0-9-]{1,20}\.)?api\.openai\.com)\b", re.IGNORECASE)


def _hint(kind: FailureKind, said: Said) -> str | None:
    if kind is _K.AUTH_WRONG_REGION_HOST:
        host = _HOST.search(said.message)
        return host[1].lower() if host else None
    if kind is _K.AUTH_WRONG_PROJECT and "archived" in said.text:
        return "the project has been archived"
    if kind is _K.AUTH_INVALID_KEY:
        echo = echoed_key(said.message)
        return _about_the_key(said.message[slice(*echo)]) if echo else None
    if kind.lane is Lane.ACCESS:
        model = _MODEL.search(said.message)
        return f"model {clean(redact(model[1]), 100)}" if model else None
    page = f"a page titled “{label(said.message)}”" if said.form is Form.HTML and said.message else None
    if kind is _K.NETWORK_NOT_OPENAI:
        who = _who_answered(said)
        return f"{who}, with {page}" if who and page else who or page
    return page


def _who_answered(said: Said) -> str | None:
    """Who that was not OpenAI answered, where the answer shows it."""
    if said.status == 407:
        return "a proxy asks for a user name and a password"
    if said.status == 511:
        return "the network asks to sign in first"
    if said.status == 403 and said.edge and (said.form is Form.HTML or said.text.startswith("error code: 1")):
        return "the edge before OpenAI refused this machine"
    return None


def _about_the_key(echo: str) -> str:
    """What OpenAI's masked echo tells of what was sent, without more of it than the last four characters.

    The mask keeps the length, which shows a key that was cut short when it was pasted.
    """
    bare = echo.strip().strip("'\"")
    if not bare or bare.lower() in ("none", "null", "undefined"):
        return "an empty value was sent instead of a key"
    ending = tail(bare)
    about = f"what was sent has {len(bare)} characters" + (f" and ends in {ending}" if len(ending) > 1 else "")
    return about + next(
        (f"; {words}" for looks, words in _LOOKS if looks.match(echo.strip())), "; it does not look like an OpenAI key"
    )


_LOOKS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"sk-admin"), "it looks like an admin key"),
    (re.compile(r"sk-(?:ant|or)-|gsk_|xai-|AIza|hf_|pplx-"), "it looks like a key of another provider"),
    (re.compile(r"sk-"), "it looks like a key"),
    (re.compile(r"sess-|eyJ"), "it looks like a session token, not a key"),
    (re.compile(r"https?:"), "it looks like an address"),
    (re.compile(r"bearer\b", re.IGNORECASE), "the word Bearer was sent twice"),
    (re.compile(r"['\"]"), "it is wrapped in quotes"),
    (
        re.compile(r"[$%{<\[]|your|my[-_ ]|\S*(?:api|key|openai|secret)", re.IGNORECASE),
        "it looks like a placeholder or a variable's name, not a key",
    ),
    (re.compile(r".*\s"), "it looks like a sentence, not a key"),
)


_ADDRESS = re.compile(r"(?:https?:)?//([^/?#@\s]{1,100})")


def _redirect(answer: WireAnswer) -> Classification:
    location = next((value for name, value in answer.headers if name.lower() == "location"), "")
    host = _ADDRESS.match(location)
    return Classification(
        Verdict.FAILED,
        _K.NETWORK_NOT_OPENAI,
        message="redirect",
        scope=KINDS[_K.NETWORK_NOT_OPENAI].scope,
        hint=f"it redirects to {clean(redact(host[1]), 100)}" if host else "it redirects",
    )


_FAULTS: dict[TransportFault, tuple[FailureKind, str]] = {
    TransportFault.CONNECT_TIMEOUT: (_K.NETWORK_TIMEOUT, "no connection in time"),
    TransportFault.READ_TIMEOUT: (_K.NETWORK_TIMEOUT, "connected, but no answer in time"),
    TransportFault.DEADLINE: (_K.NETWORK_TIMEOUT, "the answer had not ended when the probe's deadline passed"),
    TransportFault.REFUSED: (_K.NETWORK_UNREACHABLE, "connection refused"),
    TransportFault.DNS: (_K.NETWORK_UNREACHABLE, "the name cannot be resolved"),
    TransportFault.RESET: (_K.NETWORK_UNREACHABLE, "the connection was cut"),
    TransportFault.UNREACHABLE: (_K.NETWORK_UNREACHABLE, "no route to the host"),
    TransportFault.TLS: (_K.NETWORK_TLS, "the TLS handshake failed"),
    TransportFault.NOT_HTTP: (_K.NETWORK_NOT_OPENAI, "the answer is not HTTP"),
    TransportFault.BODY_TOO_LARGE: (_K.NETWORK_NOT_OPENAI, "the answer is larger than any of OpenAI's"),
    TransportFault.ILLEGAL_REQUEST: (_K.CLIENT_CONFIGURATION, "the request could not be written"),
}


def _transport(answer: WireAnswer) -> Classification:
    fault = answer.fault
    assert fault is not None  # noqa: S101 - the caller looked
    kind, words = _FAULTS[fault]
    own = label(answer.fault_text, 200)
    return Classification(
        Verdict.FAILED,
        kind,
        code=fault.value,
        message=words,
        scope=KINDS[kind].scope,
        hint=f"{words}: {own}" if own else words,
    )
