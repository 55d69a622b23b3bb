"""A failure in its context: what happened, the likely cause, who mends it, the next step, and what that rests on.

Never more certain than the evidence. One 401 says that a key is refused, not that it was revoked.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from monitor.domain.inventory import ApiKey, KeyKind, Project, Target
from monitor.domain.observation import RateLimitHit
from monitor.domain.ratelimits import never_fits
from monitor.domain.taxonomy import KINDS, FailureKind, Lane, Owner, Scope
from monitor.domain.words import INSTEAD, WORDS, Case, Confidence, Words, amount, capital, clock, duration


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Plain words for one failure in its context."""

    summary: str
    cause: str
    confidence: Confidence
    owner: Owner
    next_step: str
    evidence: tuple[str, ...] = ()
    """What the judgement rests on, one fact a line."""
    changed: str | None = None
    """What changed just before and explains it best, as one sentence; None where nothing that is known does."""
    plain: "Diagnosis | None" = None
    """What was said before that change was known; None where none sharpened it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What is known around a failure. Everything may be missing; the words then say less."""

    project: str | None = None
    key: str | None = None
    """The key's label."""
    last_four: str | None = None
    key_kind: KeyKind = KeyKind.UNKNOWN
    key_problem: str | None = None
    """What is wrong with the secret as configured, as `ApiKey.problem` says it."""
    model: str | None = None
    base_url: str | None = None
    project_id: str | None = None
    scope: Scope | None = None
    reach: Scope | None = None
    """How far the cause reaches, where that is more than one answer can say."""
    hit: RateLimitHit | None = None
    retry_after: float | None = None
    missing_scopes: tuple[str, ...] = ()
    hint: str | None = None
    status: int | None = None
    code: str | None = None
    message: str | None = None
    request_id: str | None = None
    at: datetime | None = None
    """When the answer came."""
    since: datetime | None = None
    """When the failing began."""
    last_ok_at: datetime | None = None
    suspect: bool = False
    """Seen once, not yet confirmed."""
    flapping: bool = False
    """It comes and goes."""
    now: datetime | None = None


class Answered(Protocol):
    """What an Observation and a stored status have in common."""

    @property
    def target(self) -> Target:
        """Whom it was about."""

    @property
    def status(self) -> int | None:
        """HTTP status."""

    @property
    def code(self) -> str | None:
        """OpenAI's code."""

    @property
    def message(self) -> str | None:
        """OpenAI's words as a template."""

    @property
    def request_id(self) -> str | None:
        """OpenAI's id of the request."""

    @property
    def scope(self) -> Scope | None:
        """How far it reaches."""

    @property
    def retry_after(self) -> float | None:
        """Seconds to wait."""

    @property
    def hit(self) -> RateLimitHit | None:
        """The limit that was named."""

    @property
    def hint(self) -> str | None:
        """One fact worth showing."""

    @property
    def missing_scopes(self) -> tuple[str, ...]:
        """Scopes the key lacks."""


def context_of(
    answer: Answered,
    *,
    at: datetime | None = None,
    now: datetime | None = None,
    project: Project | None = None,
    key: ApiKey | None = None,
    since: datetime | None = None,
    last_ok_at: datetime | None = None,
    suspect: bool = False,
    flapping: bool = False,
) -> Context:
    """The context of one answer, with what the inventory knows of its project and key."""
    target = answer.target
    shown = key.fingerprint.partition("…")[2] if key and key.fingerprint else ""
    return Context(
        project=target.project,
        key=target.key,
        last_four=shown or None,
        key_kind=key.kind if key else KeyKind.UNKNOWN,
        key_problem=key.problem if key else None,
        model=target.model,
        base_url=project.base_url if project else target.host,
        project_id=project.project_id if project else None,
        scope=answer.scope,
        hit=answer.hit,
        retry_after=answer.retry_after,
        missing_scopes=answer.missing_scopes,
        hint=answer.hint,
        status=answer.status,
        code=answer.code,
        message=answer.message,
        request_id=answer.request_id,
        at=at,
        since=since,
        last_ok_at=last_ok_at,
        suspect=suspect,
        flapping=flapping,
        now=now,
    )


def diagnose(kind: FailureKind, context: Context = Context()) -> Diagnosis:
    """What a failure of `kind` means in its context."""
    words = _words(kind, context)
    blanks = _blanks(kind, context)
    summary = words.summary.format_map(blanks)
    if context.suspect:
        summary += " Seen once so far: the next look confirms it or clears it."
    if context.flapping:
        summary += " It comes and goes: calls between are answered well."
    return Diagnosis(
        summary=capital(summary),
        cause=capital(words.cause.format_map(blanks)),
        confidence=_confidence(words, context),
        owner=_owner(kind, context),
        next_step=capital(words.next_step.format_map(blanks)),
        evidence=_evidence(kind, context),
    )


_LIMITS = frozenset({FailureKind.RATE_REQUESTS, FailureKind.RATE_TOKENS, FailureKind.RATE_OTHER})


def _words(kind: FailureKind, context: Context) -> Words:
    """The words for `kind`, or more fitting ones where the context knows more."""
    case = _of_many(kind, context.reach)
    if case is not None:
        return INSTEAD[case]
    if kind is FailureKind.AUTH_INVALID_KEY:
        hint = context.hint or ""
        if "empty value" in hint or ("looks like" in hint and "looks like a key" not in hint):
            case = Case.NOT_A_KEY
        elif context.last_ok_at is not None:
            case = Case.USER_KEY_WORKED if context.key_kind is KeyKind.PROJECT_USER else Case.KEY_WORKED
    elif kind is FailureKind.AUTH_WRONG_PROJECT and "archived" in (context.hint or ""):
        case = Case.ARCHIVED
    elif kind is FailureKind.AUTH_MISSING_SCOPE and any("model.read" in scope for scope in context.missing_scopes):
        case = Case.MAY_NOT_LIST
    elif kind is FailureKind.NETWORK_NOT_OPENAI and "before OpenAI" in (context.hint or ""):
        case = Case.BLOCKED_AT_THE_EDGE
    elif kind is FailureKind.NETWORK_NOT_OPENAI and context.status == 407:
        case = Case.PROXY_LOGIN
    elif kind is FailureKind.CLIENT_CONFIGURATION and context.status is not None:
        case = Case.WRONG_ADDRESS
    elif kind in _LIMITS and context.hit is not None and never_fits(context.hit):
        case = Case.NEVER_FITS if context.hit.limit else Case.LIMIT_OF_ZERO
    elif kind in _LIMITS and context.scope is Scope.PROJECT:
        case = Case.PROJECT_LIMIT
    elif kind in _LIMITS and context.scope is Scope.ORGANIZATION:
        case = Case.ORGANIZATION_LIMIT
    return INSTEAD[case] if case else WORDS[kind]


def _of_many(kind: FailureKind, reach: Scope | None) -> Case | None:
    """What is said of many at once, where one alone would be told otherwise."""
    if reach is Scope.PROJECT and kind is FailureKind.AUTH_INVALID_KEY:
        return Case.ALL_KEYS_OF_A_PROJECT
    if reach is Scope.ORGANIZATION and KINDS[kind].scope is Scope.KEY and kind.lane is Lane.AUTH:
        return Case.KEYS_OF_AN_ORGANIZATION
    if reach is Scope.OPENAI and kind.lane is Lane.AUTH:
        return Case.KEYS_OF_MANY
    if reach in (Scope.OPENAI, Scope.MODEL) and kind is FailureKind.NETWORK_TIMEOUT:
        return Case.SLOW_PLATFORM if reach is Scope.OPENAI else Case.SLOW_MODEL
    if reach is Scope.MONITOR and kind is FailureKind.CLIENT_CONFIGURATION:
        return Case.SECRETS_GONE
    return None


_OWNERS = {
    Case.KEYS_OF_AN_ORGANIZATION: Owner.ORGANIZATION_OWNER,
    Case.KEYS_OF_MANY: Owner.OPENAI,
    Case.SLOW_PLATFORM: Owner.OPENAI,
    Case.SLOW_MODEL: Owner.OPENAI,
    Case.SECRETS_GONE: Owner.MONITOR,
    Case.ALL_KEYS_OF_A_PROJECT: Owner.PROJECT_ADMIN,
}


def _confidence(words: Words, context: Context) -> Confidence:
    """What comes and goes has a cause that does so too: the answer names it, and does not explain that."""
    return Confidence.LIKELY if context.flapping and words.confidence is Confidence.CERTAIN else words.confidence


def _owner(kind: FailureKind, context: Context) -> Owner:
    case = _of_many(kind, context.reach)
    if case is not None:
        return _OWNERS[case]
    if kind in _LIMITS and context.hit is not None and context.hit.limit and never_fits(context.hit):
        return KINDS[FailureKind.RATE_REQUEST_TOO_LARGE].owner
    if kind in _LIMITS and context.scope is Scope.ORGANIZATION:
        return Owner.ORGANIZATION_OWNER
    return KINDS[kind].owner


def _blanks(kind: FailureKind, context: Context) -> dict[str, str]:
    """What the words may name, each ready to stand in the middle of a sentence."""
    project = f"project “{context.project}”" if context.project else "the project"
    settings = f"platform.openai.com → Settings → {capital(project) if context.project else 'Project'}"
    toml = f"{project} in monitor.toml" if context.project else None
    ending = f" (…{context.last_four})" if context.last_four else ""
    hit = context.hit
    named = context.hint.removeprefix("model ") if context.hint and context.hint.startswith("model ") else None
    host = context.hint if context.hint and context.hint.endswith("api.openai.com") else None
    return {
        "key": f"key “{context.key}”{ending}" if context.key else "the key",
        "project": project,
        "model": context.model or (hit.model if hit and hit.model else named or "the model"),
        "project_id": f" ({context.project_id})" if context.project_id else "",
        "base_url": context.base_url or "the base URL",
        "keys_page": f"{settings} → API keys",
        "limits_page": f"{settings} → Limits",
        "general_page": f"{settings} → General",
        "secret": f"the `secret` of {toml}" if toml else "the client's configuration",
        "models": f"the `models` of {toml}" if toml else "what the service asks for",
        "base_url_setting": f"the `base_url` of {toml}" if toml else "the client's base URL",
        "project_setting": f"the `project_id` of {toml}" if toml else "the OPENAI_PROJECT_ID of the client",
        "organization_setting": f"`organization` from {toml}" if toml else "OPENAI_ORG_ID from the client",
        "host": f"https://{host}/v1" if host else "the host of its region, such as https://us.api.openai.com/v1",
        "title": KINDS[kind].title,
        "scopes": f" ({', '.join(context.missing_scopes)})" if context.missing_scopes else "",
        "problem": context.key_problem or context.hint or "the secret cannot be read, or holds what no request can carry",
        "hint": f"{capital(context.hint)}. " if context.hint else "",
        "over": _over(context),
        "limit": _limit(kind, hit),
        "numbers": _numbers(hit),
        "next_month": _next_month(context),
    }


def _over(context: Context) -> str:
    """When it will be over, as a sentence with a space before it; empty where nobody said."""
    if context.retry_after is None:
        return ""
    start = context.at or context.now
    until = f", about {clock(start + timedelta(seconds=context.retry_after))}" if start and context.retry_after >= 60 else ""
    return f" OpenAI says to try again in {duration(context.retry_after)}{until}."


_PER = {"sec": "second", "min": "minute", "hour": "hour", "day": "day"}


_UNNAMED = {FailureKind.RATE_REQUESTS: "request limit", FailureKind.RATE_TOKENS: "token limit"}


def _limit(kind: FailureKind, hit: RateLimitHit | None) -> str:
    if hit is None or hit.metric is None:
        return _UNNAMED.get(kind, "limit")
    number = f"{amount(hit.limit)} " if hit.limit is not None else ""
    return f"limit of {number}{hit.metric}" + (f" per {_PER.get(hit.window, hit.window)}" if hit.window else "")


def _numbers(hit: RateLimitHit | None) -> str:
    if hit is None or hit.limit is None:
        return ""
    used = f"{amount(hit.used)} of {amount(hit.limit)} were used" if hit.used is not None else f"The limit is {amount(hit.limit)}"
    return f" {used}, {amount(hit.requested)} asked for." if hit.requested is not None else f" {used}."


def _next_month(context: Context) -> str:
    at = context.now or context.at
    if at is None:
        return "the first of next month (UTC)"
    at = at.astimezone(UTC)
    return f"{at.year + at.month // 12}-{at.month % 12 + 1:02}-01 (UTC)"


def _evidence(kind: FailureKind, context: Context) -> tuple[str, ...]:
    said = " · ".join(str(part) for part in (context.status, context.code) if part)
    hit = context.hit
    facts = (
        f"answer: {said}" if said else None,
        f"{'it' if kind is FailureKind.NETWORK_NOT_OPENAI else 'OpenAI'} said: {context.message}"
        if context.message and context.status
        else None,
        context.hint,
        f"limit {amount(hit.limit)}, used {amount(hit.used)}, requested {amount(hit.requested)}"
        if hit and hit.limit is not None
        else None,
        f"limit pool: {hit.pool}" if hit and hit.pool else None,
        f"failing since {clock(context.since)}" if context.since else None,
        f"last good answer {clock(context.last_ok_at)}" if context.last_ok_at else None,
        f"request id: {context.request_id}" if context.request_id else None,
        f"identifier: {kind.value}",
    )
    return tuple(fact for fact in facts if fact)
