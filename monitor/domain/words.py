"""The words for each failure, as a tired person reads them at three in the morning.

Blanks such as `{key}` and `{limits_page}` are filled in by `diagnosis`; all may stand in the middle of a sentence.
"""

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, StrEnum, auto

from monitor.domain.taxonomy import FailureKind


class Confidence(StrEnum):
    """How sure the cause is."""

    CERTAIN = "certain"
    """The answer itself says so."""
    LIKELY = "likely"
    POSSIBLE = "possible"
    """One of several: the answer does not tell them apart."""


@dataclass(frozen=True, slots=True)
class Words:
    """What happened, why, how sure that is, and the one thing to do now."""

    summary: str
    cause: str
    confidence: Confidence
    next_step: str


_CERTAIN, _LIKELY, _POSSIBLE = Confidence.CERTAIN, Confidence.LIKELY, Confidence.POSSIBLE
_ORGANIZATION = "platform.openai.com → Settings → Organization"
_K = FailureKind

WORDS: dict[FailureKind, Words] = {
    _K.AUTH_INVALID_KEY: Words(
        "OpenAI refuses {key}.",
        "{hint}Mistyped, cut short when pasted, revoked, deleted or expired: OpenAI gives the same answer for all of these.",
        _POSSIBLE,
        "See in {keys_page} whether the key is still listed; if not, create one and put it into {secret}.",
    ),
    _K.AUTH_WRONG_PROJECT: Words(
        "{key} belongs to another project than the one the request names{project_id}.",
        "The OpenAI-Project header does not match the key. Often an OPENAI_PROJECT_ID stems from another project's environment.",
        _CERTAIN,
        "Compare {project_setting} with {general_page}; correct the id, or use a key of that project.",
    ),
    _K.AUTH_WRONG_ORGANIZATION: Words(
        "{key} does not belong to the organization the request names.",
        "The OpenAI-Organization header does not match the key. A project's key needs no such header.",
        _CERTAIN,
        f"Remove {{organization_setting}}, or set the id shown in {_ORGANIZATION} → General.",
    ),
    _K.AUTH_NO_ORGANIZATION: Words(
        "the owner of {key} is in no organization.",
        "The key belongs to a user who left the organization, or was removed from it.",
        _CERTAIN,
        f"Invite the user again in {_ORGANIZATION} → People, or replace the key by one of a service account.",
    ),
    _K.AUTH_ACCOUNT_DEACTIVATED: Words(
        "OpenAI has deactivated the account behind {key}.",
        "OpenAI closed the account and has written to its owner why. Every key of the account is affected.",
        _CERTAIN,
        "Let the organization's owner find OpenAI's e-mail and answer it at help.openai.com; nothing can be mended here.",
    ),
    _K.AUTH_IP_NOT_ALLOWED: Words(
        "{key} may not be used from this machine's address.",
        "An IP allowlist is on and lacks the address this request came from. A project's list replaces the organization's.",
        _CERTAIN,
        f"Add this machine's public address in {_ORGANIZATION} → Security → IP allowlist; allow 15 minutes.",
    ),
    _K.AUTH_WRONG_REGION_HOST: Words(
        "{project} has to be reached at another regional host.",
        "Its data stays in one region, and {base_url} is not the host of that region.",
        _CERTAIN,
        "Set {base_url_setting} to {host}.",
    ),
    _K.AUTH_MISSING_SCOPE: Words(
        "{key} is alive, but a permission is missing{scopes}.",
        "A restricted key, or its owner's role is too small. If keys of several projects say so at once, it is OpenAI's fault: "
        "that happened in April 2026.",
        _LIKELY,
        "Give the key the missing permission{scopes} in {keys_page}; if it has it, look at its owner's role in the project.",
    ),
    _K.AUTH_MISSING_CREDENTIALS: Words(
        "The request reached OpenAI without a key.",
        "The key is empty or not set, or something on the way removed the Authorization header.",
        _LIKELY,
        "Check that {secret} holds the key, and that no proxy removes the Authorization header.",
    ),
    _K.AUTH_UNKNOWN: Words(
        "OpenAI refuses {key} for a reason the monitor does not know.",
        "The answer is none of the known refusals. OpenAI's own words stand in the evidence.",
        _POSSIBLE,
        "Read OpenAI's words in the evidence, then look at the key in {keys_page}.",
    ),
    _K.ACCESS_MODEL_NOT_ALLOWED: Words(
        "{project} may not use {model}.",
        "The model is not on the list of models this project is allowed to use. The key itself is fine.",
        _CERTAIN,
        "Allow {model} in {limits_page} → Model usage, or take it out of {models}.",
    ),
    _K.ACCESS_MODEL_NOT_FOUND: Words(
        "OpenAI does not find {model} for {project}.",
        "A misspelt name, a model this organization has no access to, or one that is gone: OpenAI gives one answer for all three.",
        _POSSIBLE,
        "Compare the name with platform.openai.com/docs/models; if it is right, look at {limits_page} → Model usage.",
    ),
    _K.ACCESS_MODEL_RETIRED: Words(
        "OpenAI has retired {model}.",
        "The model was shut down and does not come back.",
        _CERTAIN,
        "Move the service and {models} to the successor named on platform.openai.com/docs/deprecations.",
    ),
    _K.ACCESS_ORGANIZATION_UNVERIFIED: Words(
        "the organization must be verified before it may use {model} like this.",
        "OpenAI serves this model or feature to verified organizations only. Key and project are fine.",
        _CERTAIN,
        f"Let an owner click {_ORGANIZATION} → General → Verify Organization; it takes up to 15 minutes to work.",
    ),
    _K.ACCESS_REGION_UNSUPPORTED: Words(
        "OpenAI does not serve the country this request came from.",
        "The public address of this machine, its proxy or its VPN lies in a country that OpenAI does not support.",
        _CERTAIN,
        "Route this machine's traffic to OpenAI through a supported country: change the proxy, VPN or egress.",
    ),
    _K.ACCESS_POLICY: Words(
        "a policy of {project} or its organization forbids this request.",
        "An administrator switched off what was asked for, such as a service tier, a hosted tool, or keys of users.",
        _CERTAIN,
        "Allow it in {limits_page}, or stop asking for it in the service.",
    ),
    _K.RATE_REQUESTS: Words(
        "a {limit} for {model} was reached.{over}",
        "Traffic comes faster than the limit allows. Nothing says if it is the project's or the organization's.{numbers}",
        _LIKELY,
        f"Spread the calls over time; if it goes on, compare {{limits_page}} with {_ORGANIZATION} → Limits.",
    ),
    _K.RATE_TOKENS: Words(
        "a {limit} for {model} was reached.{over}",
        "Tokens are used faster than the limit allows. Nothing says if it is the project's or the organization's.{numbers}",
        _LIKELY,
        f"Send fewer tokens; if it goes on, compare {{limits_page}} with {_ORGANIZATION} → Limits.",
    ),
    _K.RATE_OTHER: Words(
        "a {limit} was reached.{over}",
        "More was asked for at once than OpenAI allows. The answer does not say whose limit it is.{numbers}",
        _LIKELY,
        f"Wait and spread the calls; if it goes on, compare {{limits_page}} with {_ORGANIZATION} → Limits.",
    ),
    _K.RATE_REQUEST_TOO_LARGE: Words(
        "one request is larger than the whole {limit} for {model}.",
        "Waiting does not help: a request of this size never fits.{numbers}",
        _CERTAIN,
        "Send less at once (a shorter input, a lower output cap), or raise the limit in {limits_page}.",
    ),
    _K.RATE_SLOW_DOWN: Words(
        "OpenAI asks to slow down.{over}",
        "Traffic grew faster than OpenAI can follow. This happens inside the limits too.",
        _CERTAIN,
        "Go back to the earlier rate, hold it for 15 minutes, then grow by at most half every 15 minutes.",
    ),
    _K.QUOTA_CREDITS: Words(
        "the organization's prepaid credits are used up. Every project of it is stopped.",
        "The credit balance is empty. Listing models still works; calls do not, and retrying does not help.",
        _CERTAIN,
        f"Add credits in {_ORGANIZATION} → Billing, and switch on auto recharge there.",
    ),
    _K.QUOTA_PROJECT_SPEND: Words(
        "{project} has reached its monthly spend limit and is stopped.",
        "The hard limit of this project is enforced. Other projects go on.",
        _CERTAIN,
        "Raise the spend limit in {limits_page}, or wait until {next_month}.",
    ),
    _K.QUOTA_ORGANIZATION_SPEND: Words(
        "the organization has reached its monthly spend limit. Every project of it is stopped.",
        "The hard limit of the organization is enforced.",
        _CERTAIN,
        f"Raise the spend limit in {_ORGANIZATION} → Limits, or wait until {{next_month}}.",
    ),
    _K.QUOTA_ORGANIZATION_USAGE: Words(
        "the organization has reached the usage limit that OpenAI set for it. Every project of it is stopped.",
        "OpenAI assigns this limit. It is not a setting of yours.",
        _CERTAIN,
        f"Ask OpenAI for a higher limit in {_ORGANIZATION} → Limits.",
    ),
    _K.QUOTA_BILLING_INACTIVE: Words(
        "billing of the organization is not active. Every project of it is stopped.",
        "A payment failed, or no payment method is set.",
        _LIKELY,
        f"Check payment method and open invoices in {_ORGANIZATION} → Billing.",
    ),
    _K.QUOTA_EXHAUSTED: Words(
        "the quota is used up. OpenAI refuses calls until somebody pays or raises a limit.",
        "No credits left, or a monthly limit reached. This older wording of OpenAI's does not say which.",
        _POSSIBLE,
        f"Look at the balance in {_ORGANIZATION} → Billing; if there is money, look at the spend limits in {{limits_page}}.",
    ),
    _K.SERVER_ERROR: Words(
        "OpenAI answered with an error of its own.{over}",
        "A fault on OpenAI's side. Key, settings and money are not to blame.",
        _LIKELY,
        "Wait, and see whether other projects have it too; if it lasts, report it at help.openai.com with the request id.",
    ),
    _K.SERVER_OVERLOADED: Words(
        "OpenAI is overloaded and turned the request away.{over}",
        "More demand at OpenAI than it can serve now. Key, settings and money are not to blame.",
        _CERTAIN,
        "Wait: it passes by itself; if it lasts, let the service use another model.",
    ),
    _K.NETWORK_TIMEOUT: Words(
        "no complete answer from {base_url} in time.",
        "{hint}The network, a proxy or OpenAI is slow. It says nothing about the key.",
        _POSSIBLE,
        "See on the overview whether all projects have it: if so, check this machine's network and proxy, then status.openai.com.",
    ),
    _K.NETWORK_UNREACHABLE: Words(
        "cannot connect to {base_url}.",
        "{hint}Name resolution, a firewall, a proxy or the address is at fault. It says nothing about the key.",
        _LIKELY,
        "Check DNS, firewall and proxy of this machine and {base_url_setting}; `python -m monitor doctor` looks at each.",
    ),
    _K.NETWORK_TLS: Words(
        "no secure connection to {base_url}.",
        "{hint}Root certificates are missing or old on this machine, or a proxy inspects the traffic.",
        _LIKELY,
        "Install the system's ca-certificates, or set SSL_CERT_FILE to a file that holds your company's root certificate.",
    ),
    _K.NETWORK_NOT_OPENAI: Words(
        "something other than OpenAI answered at {base_url}.",
        "{hint}A wrong base URL, a proxy's page, a captive portal, or a block at the edge.",
        _LIKELY,
        "Check that {base_url_setting} is right and ends in /v1; then open it from this machine and read what answers.",
    ),
    _K.CLIENT_BAD_REQUEST: Words(
        "OpenAI finds the request itself wrong. Key, project and money are fine.",
        "A parameter, a feature of the model or the content does not fit. OpenAI's own words stand in the evidence.",
        _LIKELY,
        "Correct the request in the service that sends it; nobody needs to be woken.",
    ),
    _K.CLIENT_CONFIGURATION: Words(
        "{key} cannot be used as it is configured.",
        "{problem}.",
        _CERTAIN,
        "Correct {secret}: the variable or file it names is read again by itself.",
    ),
    _K.UNKNOWN: Words(
        "the monitor does not understand this answer, so it changes nothing.",
        "It is like nothing known of OpenAI. The raw answer is kept.",
        _POSSIBLE,
        "Read the raw answer on the evidence page; if it comes again, report it so that the monitor can learn it.",
    ),
}


class Case(Enum):
    """A context that knows more than the kind alone."""

    ARCHIVED = auto()
    """The project was archived."""
    NOT_A_KEY = auto()
    """What was sent does not look like a key of OpenAI."""
    KEY_WORKED = auto()
    """The key was accepted before."""
    USER_KEY_WORKED = auto()
    MAY_NOT_LIST = auto()
    """The scope to list models is missing."""
    BLOCKED_AT_THE_EDGE = auto()
    """Cloudflare refused, before OpenAI saw the request."""
    PROXY_LOGIN = auto()
    WRONG_ADDRESS = auto()
    """OpenAI does not know the path."""
    PROJECT_LIMIT = auto()
    ORGANIZATION_LIMIT = auto()
    NEVER_FITS = auto()
    """The request alone is larger than the limit."""
    LIMIT_OF_ZERO = auto()
    ALL_KEYS_OF_A_PROJECT = auto()
    """Several keys, all refused since the same minutes."""
    KEYS_OF_AN_ORGANIZATION = auto()
    KEYS_OF_MANY = auto()
    """Keys of many projects, and not those of one organization alone."""
    SLOW_PLATFORM = auto()
    SLOW_MODEL = auto()
    SECRETS_GONE = auto()
    """The secrets of many projects cannot be read."""


_REPLACE_KEY = "See in {keys_page} whether the key is still listed; if not, create one and put it into {secret}."

INSTEAD: dict[Case, Words] = {
    Case.ARCHIVED: Words(
        "{project} has been archived at OpenAI: its keys no longer work.",
        "An administrator archived the project. That cannot be undone.",
        _CERTAIN,
        "Put a key of a living project into {secret}, or take the project out of the configuration.",
    ),
    Case.NOT_A_KEY: Words(
        "OpenAI refuses {key}: it does not look like a key of OpenAI.",
        "{hint}A variable was not filled in, or the wrong value was pasted.",
        _LIKELY,
        "Put the real key into {secret}; it is read again by itself.",
    ),
    Case.KEY_WORKED: Words(
        "OpenAI refuses {key}, which worked before.",
        "Revoked, rotated, deleted or expired: OpenAI gives the same answer for all of these.",
        _LIKELY,
        _REPLACE_KEY,
    ),
    Case.USER_KEY_WORKED: Words(
        "OpenAI refuses {key}, which worked before.",
        "Revoked, rotated, deleted or expired, or its owner lost access: it is a user's key and goes when the user goes.",
        _LIKELY,
        _REPLACE_KEY,
    ),
    Case.MAY_NOT_LIST: Words(
        "{key} is alive, but may not list models{scopes}.",
        "A restricted key; many such keys work well in production. If keys of several projects say so at once, it is OpenAI's.",
        _LIKELY,
        "Leave it if the inference check is well; otherwise give the key that permission in {keys_page}.",
    ),
    Case.BLOCKED_AT_THE_EDGE: Words(
        "a block before OpenAI turned this machine away.",
        "{hint}Cloudflare stands before OpenAI and refuses addresses it distrusts, often those of VPNs and shared proxies. "
        "It says nothing about the key.",
        _LIKELY,
        "Reach OpenAI from another address: change this machine's VPN, proxy or egress; see too that {base_url_setting} is right.",
    ),
    Case.PROXY_LOGIN: Words(
        "a proxy on the way to {base_url} wants a login.",
        "{hint}It answered in OpenAI's place, so nothing is known about the key.",
        _CERTAIN,
        "Put user name and password into the proxy's address on this machine (HTTPS_PROXY), or let it pass OpenAI's host.",
    ),
    Case.WRONG_ADDRESS: Words(
        "OpenAI does not know the address that was called.",
        "Something is wrong with {base_url}: most often /v1 is missing at its end, or stands there twice.",
        _LIKELY,
        "Set {base_url_setting} to https://api.openai.com/v1, or to the host of its region with /v1 at the end.",
    ),
    Case.PROJECT_LIMIT: Words(
        "{project} reached its own {limit} for {model}.{over}",
        "Traffic of this project alone comes faster than the limit set for it.{numbers}",
        _CERTAIN,
        "Raise the project's limit in {limits_page} → Rate limits, or spread its calls over time.",
    ),
    Case.ORGANIZATION_LIMIT: Words(
        "the organization reached its {limit} for {model}.{over}",
        "Traffic of all its projects together comes faster than the limit; another project may be using it up.{numbers}",
        _CERTAIN,
        f"Find on the rate limits page who uses it up; raise the limit in {_ORGANIZATION} → Limits, or cap that project.",
    ),
    Case.NEVER_FITS: WORDS[FailureKind.RATE_REQUEST_TOO_LARGE],
    Case.LIMIT_OF_ZERO: Words(
        "{project} gets nothing from {model}: it has a {limit}.",
        "A limit of zero forbids the model, or this kind of use of it. Waiting and retrying do not help.",
        _CERTAIN,
        f"Raise the limit in {{limits_page}} → Rate limits or in {_ORGANIZATION} → Limits, or use another model.",
    ),
    Case.ALL_KEYS_OF_A_PROJECT: Words(
        "OpenAI refuses every key of {project} since the same minutes.",
        "The project was archived or deleted, or somebody replaced all of its keys at once.",
        _LIKELY,
        "See in {general_page} whether the project is still there; if it is, create keys in {keys_page} and deploy them.",
    ),
    Case.KEYS_OF_AN_ORGANIZATION: Words(
        "OpenAI refuses keys of many projects of one organization at once: {title}.",
        "They began together and other organizations are well: something was changed for the organization, or it was closed.",
        _LIKELY,
        f"Let an owner look at {_ORGANIZATION} → General and its audit log, and at OpenAI's e-mails to the owner.",
    ),
    Case.KEYS_OF_MANY: Words(
        "OpenAI refuses keys of many projects at once: {title}.",
        "Keys that worked are refused alike since the same minutes. That is hardly each key's own fault: OpenAI's, or that of "
        "something on the way that changes requests.",
        _LIKELY,
        "See status.openai.com, and change no key for now; if it is quiet there, look at your gateway or proxy and at the "
        "organization's audit log.",
    ),
    Case.SLOW_PLATFORM: Words(
        "OpenAI takes connections and does not answer in time.",
        "{hint}Requests of many projects time out at this host while connections are made: OpenAI is slow, or a proxy is.",
        _POSSIBLE,
        "See status.openai.com; if it is quiet there, look at your proxy. Keys and settings are not to blame.",
    ),
    Case.SLOW_MODEL: Words(
        "calls of {model} are not answered in time, for several projects.",
        "{hint}Other questions at the same host are answered: this model is slow at OpenAI.",
        _LIKELY,
        "Wait, or let the services use another model; see status.openai.com.",
    ),
    Case.SECRETS_GONE: Words(
        "the secrets of many projects cannot be read since the same minutes.",
        "{problem}. So many at once is one cause: the folder, the mount or the variables they come from.",
        _LIKELY,
        "Look on the monitor's machine at the place the secrets are read from; `python -m monitor doctor` names each.",
    ),
}


def capital(text: str) -> str:
    """The text with its first letter large."""
    return text[:1].upper() + text[1:]


def duration(seconds: float) -> str:
    """`20 ms`, `9.9 s`, `7 min 12 s`, `1 h 8 min`, `4 d 18 h`: two units, read at a glance."""
    if seconds < 0.9995:
        return f"{round(seconds * 1000)} ms"
    if seconds < 59.95:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    whole = round(seconds)
    for size, name, smaller, small in ((86400, "d", 3600, "h"), (3600, "h", 60, "min")):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {name}" + (f" {rest} {small}" if rest else "")
    return f"{whole // 60} min" + (f" {whole % 60} s" if whole % 60 else "")


def amount(number: float | None) -> str:
    """A count with its thousands apart, or `not said`."""
    if number is None:
        return "not said"
    return f"{number:,.0f}" if number == round(number) else f"{number:,}"


def clock(at: datetime) -> str:
    """A moment for texts that leave the page: `2026-11-23 14:05:20 UTC`."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def percent(part: float | None, digits: int = 2) -> str:
    """`99.95 %`, or a dash where it is not known. Never rounded up: 99.996 % is not 100 %."""
    if part is None or part == 1:
        return "–" if part is None else "100 %"
    return f"{math.floor(part * 100 * 10**digits + 1e-6) / 10**digits:.{digits}f} %"


def promise_of(objective: float) -> str:
    """An objective as it is said: `99.9 %`."""
    return f"{objective * 100:.6f}".rstrip("0").rstrip(".") + " %"


def digits_of(objective: float) -> int:
    """Digits of what is held against an objective: one more than it has, and two at least."""
    return max(2, 1 + len(promise_of(objective).partition(".")[2].removesuffix(" %")))
