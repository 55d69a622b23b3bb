"""What the API says when it refuses, word for word where a real answer was recorded.

One function a failure, named in `REFUSALS` by the identifier that the monitor's taxonomy has for it.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from monitor.emulator.limits import go_duration


@dataclass(frozen=True)
class Ask:
    """What a refusal needs to know of a request."""

    secret: str = ""
    project: str = "proj_unknown"
    organization: str = "org-unknown"
    model: str = "gpt-4o"
    endpoint: str = "/v1/chat/completions"
    detail: Mapping[str, Any] = field(default_factory=dict)
    """The arguments of whoever broke it, such as `scopes` or `host`."""


@dataclass(frozen=True)
class Answer:
    """Status, body and headers beyond the ones that every answer has."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    edge: bool = False
    """Said by the edge before the API: no request id."""


def error(
    status: int,
    message: str,
    code: str | None = None,
    type: str = "invalid_request_error",  # noqa: A002 - OpenAI's word
    param: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """The envelope of almost every refusal."""
    body = {"error": {"message": message, "type": type, "param": param, "code": code}}
    return Answer(status, json.dumps(body, indent=2).encode(), headers or {})


def masked(secret: str) -> str:
    """A key as the API echoes it: first eight characters, asterisks, last four, its length kept."""
    return secret if len(secret) <= 4 else f"{secret[:8]}{'*' * max(len(secret) - 12, 0)}{secret[-4:]}"


def invalid_key(ask: Ask) -> Answer:
    """A key that is unknown, revoked, deleted or expired: no answer tells them apart."""
    text = f"Incorrect API key provided: {masked(ask.secret)}. You can find your API key at https://platform.openai.com/account/api-keys."
    return error(401, text, "invalid_api_key")


def no_key(ask: Ask) -> Answer:
    """No Authorization header. The newer endpoints have newer words."""
    if ask.endpoint.endswith("/responses"):
        return error(
            401, "Missing bearer or basic authentication in header", headers={"www-authenticate": 'Bearer realm="OpenAI API"'}
        )
    text = (
        "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth (i.e. "
        "Authorization: Bearer YOUR_KEY), or as the password field (with blank username) if you're accessing the API from your "
        "browser and are prompted for a username and password. You can obtain an API key from "
        "https://platform.openai.com/account/api-keys."
    )
    return error(401, text)


def missing_scope(ask: Ask) -> Answer:
    """A restricted key. On the model list the error is a bare string, and the status 403."""
    scopes = ", ".join(ask.detail.get("scopes") or ["model.request"])
    text = (
        f"You have insufficient permissions for this operation. Missing scopes: {scopes}. Check that you have the correct role in your "
        "organization (Reader, Writer, Owner) and project (Member, Owner), and if you're using a restricted API key, that it has the "
        "necessary scopes."
    )
    if ask.endpoint == "/v1/models":
        return Answer(403, json.dumps({"error": text}).encode())
    return error(401, text)


def not_allowed(ask: Ask) -> Answer:
    """The project's list of models."""
    return error(403, f"Project `{ask.project}` does not have access to model `{ask.model}`", "model_not_found")


def not_found(ask: Ask) -> Answer:
    """A model that does not exist, or that the organization may not see: one meaning, three shapes."""
    if ask.endpoint.endswith("/responses"):
        return error(400, f"The requested model '{ask.model}' does not exist.", "model_not_found", param="model")
    if ask.endpoint.startswith("/v1/models"):
        return error(404, f"The model '{ask.model}' does not exist", "model_not_found", param="model")
    return error(404, f"The model `{ask.model}` does not exist or you do not have access to it.", "model_not_found")


def retired(ask: Ask) -> Answer:
    """A model after its shutdown date."""
    text = f"The model `{ask.model}` has been deprecated, learn more here: https://platform.openai.com/docs/deprecations"
    return error(404, text, "model_not_found")


def unverified(ask: Ask) -> Answer:
    """A model that wants a verified organization."""
    text = (
        f"Your organization must be verified to use the model `{ask.model}`. Please go to: "
        "https://platform.openai.com/settings/organization/general and click on Verify Organization. If you just verified, it can take "
        "up to 15 minutes for access to propagate."
    )
    return error(404, text, "model_not_found")


def policy(_: Ask) -> Answer:
    """A service tier that the project may not use."""
    text = "Invalid service_tier argument: The requested service tier is not allowed for this project."
    return error(400, text, param="service_tier")


def region(ask: Ask) -> Answer:
    """A key of a project with data residency, at the wrong host."""
    host = ask.detail.get("host") or "eu.api.openai.com"
    text = f"Attempted to access resource with incorrect regional hostname. Please make your request to {host}"
    body = {"error": {"message": text, "type": "invalid_request_error", "code": "incorrect_hostname", "param": None}, "status": 401}
    return Answer(401, json.dumps(body).encode())


def limited(ask: Ask, metric: str, per: str, limit: int, used: int, requested: int, wait: float, *, project: bool) -> Answer:
    """A 429 that names the limit, and how many seconds to wait. Whose limit it is stands in the text alone."""
    short = {"requests": "R", "tokens": "T", "images": "I"}.get(metric, "R") + {"min": "PM", "day": "PD"}.get(per, "PM")
    whose = (
        f"for project {ask.project} organization {ask.organization}"
        if project
        else f"for {ask.model} in organization {ask.organization}"
    )
    text = (
        f"Rate limit reached {whose} on {metric} per {per} ({short}): Limit {limit}, Used {used}, Requested {requested}. Please try again in "
        f"{go_duration(wait)}. Visit https://platform.openai.com/account/rate-limits to learn more."
    )
    kind = metric if metric in ("requests", "tokens") else "requests"
    return error(429, text, "rate_limit_exceeded", kind, headers={"retry-after": str(max(1, math.ceil(wait)))})


def too_large(ask: Ask, limit: int = 30_000, requested: int = 37_313) -> Answer:
    """One request that no waiting makes smaller."""
    text = (
        f"Request too large for {ask.model} in organization {ask.organization} on tokens per min (TPM): Limit {limit}, Requested "
        f"{requested}. The input or output tokens must be reduced in order to run successfully. Visit https://platform.openai.com/account/rate-limits to "
        "learn more."
    )
    return error(429, text, "rate_limit_exceeded", "tokens")


def quota(code: str, text: str, type: str = "insufficient_quota") -> Callable[[Ask], Answer]:  # noqa: A002 - OpenAI's word
    """Money. Such answers carry no limits and nothing to wait for."""
    return lambda _: error(429, text, code, type)


def edge(status: int, title: str) -> Answer:
    """A page of the edge, or of a captive portal: HTML, and no request id."""
    page = f"<!DOCTYPE html>\n<html><head><title>{title}</title></head><body><center><h1>{title}</h1></center></body></html>\n"
    return Answer(
        status, page.encode(), {"content-type": "text/html; charset=UTF-8", "server": "cloudflare", "cf-ray": "8f0-TXL"}, edge=True
    )


_SORRY = (
    "The server had an error processing your request. Sorry about that! You can retry your request, or contact us through our help center "
    "at help.openai.com if you keep seeing this error."
)

REFUSALS: dict[str, Callable[[Ask], Answer]] = {
    "auth.invalid_key": invalid_key,
    "auth.wrong_project": lambda _: error(401, "OpenAI-Project header should match project for API key", "mismatched_project"),
    "auth.wrong_organization": lambda _: error(
        401, "OpenAI-Organization header should match organization for API key", "mismatched_organization"
    ),
    "auth.no_organization": lambda _: error(
        401,
        "You must be a member of an organization to use the API. Please contact us through our help center at help.openai.com.",
        "no_organization",
    ),
    "auth.account_deactivated": lambda _: error(
        401,
        "The OpenAI account associated with this API key has been deactivated. If you are the account owner and believe this is in error, "
        "contact us through our help center at help.openai.com.",
        "account_deactivated",
    ),
    "auth.ip_not_allowed": lambda _: error(401, "Your IP address is not authorized to access this resource.", "ip_not_authorized"),
    "auth.wrong_region_host": region,
    "auth.missing_scope": missing_scope,
    "auth.missing_credentials": no_key,
    "auth.unknown": lambda _: error(401, "Unauthorized", type="unauthorized"),
    "access.model_not_allowed": not_allowed,
    "access.model_not_found": not_found,
    "access.model_retired": retired,
    "access.organization_unverified": unverified,
    "access.region_unsupported": lambda _: error(
        403, "Country, region, or territory not supported", "unsupported_country_region_territory", "request_forbidden"
    ),
    "access.policy": policy,
    "rate.requests": lambda ask: limited(ask, "requests", "min", 500, 500, 1, 0.12, project=bool(ask.detail.get("own"))),
    "rate.tokens": lambda ask: limited(ask, "tokens", "min", 30000, 29800, 640, 0.88, project=bool(ask.detail.get("own"))),
    "rate.other": lambda ask: limited(ask, "images", "min", 5, 5, 1, 12.0, project=False),
    "rate.request_too_large": too_large,
    "rate.slow_down": lambda _: error(
        429,
        "Your organization's traffic has increased too quickly. Reduce the request rate to its original level, keep it there for at least 15 "
        "minutes, then increase it gradually.",
        "slow_down",
        "rate_limit_error",
        headers={"retry-after": "30"},
    ),
    "quota.credits": quota("credit_balance_exhausted", "Your organization has no credits remaining. Add credits to continue."),
    "quota.project_spend": quota("project_spend_limit_exceeded", "This project has reached its monthly spend limit."),
    "quota.organization_spend": quota(
        "organization_spend_limit_exceeded", "Your organization has reached its monthly spend limit."
    ),
    "quota.organization_usage": quota(
        "organization_usage_limit_exceeded", "Your organization has reached the monthly usage limit assigned by OpenAI."
    ),
    "quota.billing_inactive": quota(
        "billing_not_active",
        "Your account is not active, please check your billing details on our website.",
        "billing_not_active",
    ),
    "quota.exhausted": quota(
        "insufficient_quota",
        "You exceeded your current quota, please check your plan and billing details. For more information on this error, read the docs: "
        "https://platform.openai.com/docs/guides/error-codes/api-errors.",
    ),
    "server.error": lambda _: error(500, _SORRY, type="server_error"),
    "server.overloaded": lambda _: error(
        503, "Our servers are currently overloaded. Please try again later.", "server_is_overloaded", "service_unavailable_error"
    ),
    "network.not_openai": lambda _: edge(200, "Welcome to the guest network"),
    "client.bad_request": lambda _: error(400, "Invalid value for 'temperature'.", "invalid_value", param="temperature"),
    "unknown": lambda _: error(418, "A condition that nobody has seen before.", "never_seen_before", "new_type"),
}
"""Every failure that the API itself can answer with.

Four are not answers: `network.timeout` (the verb `slow`), `network.unreachable` (the verb `cut`, or stop the emulator),
`network.tls` (speak https to its plain port) and `client.configuration` (which never leaves the monitor).
"""
