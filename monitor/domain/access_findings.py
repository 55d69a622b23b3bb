"""Where need, policy, catalogue and truth of a model disagree: what that means, and what to do."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from monitor.domain.incidents import Severity
from monitor.domain.model_access import Access, Listed, Need, Policy, Truth
from monitor.domain.taxonomy import KINDS, FailureKind
from monitor.domain.words import Confidence


class AccessFindingKind(StrEnum):
    """What disagrees with what."""

    NOT_ALLOWED_BUT_USABLE = "not_allowed_but_usable"
    ALLOWED_BUT_REFUSED = "allowed_but_refused"
    LISTED_BUT_REFUSED = "listed_but_refused"
    NEEDED_NOT_ALLOWED = "needed_not_allowed"
    NEEDED_BUT_REFUSED = "needed_but_refused"
    """Neither policy nor list is known to explain it."""
    NEEDED_NOT_LISTED = "needed_not_listed"
    DENIED_BUT_USABLE = "denied_but_usable"
    DENIED_BUT_ALLOWED = "denied_but_allowed"
    SHUTTING_DOWN = "shutting_down"


@dataclass(frozen=True, slots=True)
class AccessFinding:
    """One disagreement."""

    kind: AccessFindingKind
    access: Access
    severity: Severity
    sentence: str
    remedy: str
    confidence: Confidence
    """That it is one: less than certain where an alias and its snapshot are two names."""


_K = AccessFindingKind
SOON, VERY_SOON = 30, 7
"""Days before a shutdown from which it is a warning, and from which it is critical."""


def findings(accesses: Iterable[Access], today: date) -> list[AccessFinding]:
    """Every disagreement, worst first; of equals by what it is, then by project and model."""
    found = [finding for access in accesses for finding in _of(access, today)]
    return sorted(found, key=lambda each: (-each.severity.rank, _ORDER[each.kind], each.access.project, each.access.model))


_ORDER = {
    kind: place
    for place, kind in enumerate(
        (
            _K.NEEDED_NOT_ALLOWED, _K.ALLOWED_BUT_REFUSED, _K.LISTED_BUT_REFUSED, _K.NEEDED_BUT_REFUSED, _K.DENIED_BUT_USABLE,
            _K.NOT_ALLOWED_BUT_USABLE, _K.SHUTTING_DOWN, _K.DENIED_BUT_ALLOWED, _K.NEEDED_NOT_LISTED,
        )
    )
}  # fmt: skip


def _of(access: Access, today: date) -> Iterator[AccessFinding]:
    said = _denied(access) if access.need is Need.DENIED else _required(access) if access.need is Need.REQUIRED else None
    if said is None and access.policy is Policy.NOT_ALLOWED and access.truth is Truth.USABLE:
        said = _not_enforced(access)
    if said is not None:
        yield said
    if access.shutdown is not None and access.wanted:
        yield _shutting_down(access, access.shutdown, today)


def _made(kind: AccessFindingKind, access: Access, severity: Severity, sentence: str, remedy: str) -> AccessFinding:
    by_policy = kind not in (_K.LISTED_BUT_REFUSED, _K.NEEDED_BUT_REFUSED, _K.NEEDED_NOT_LISTED)
    sure = access.ruling.sure or access.policy is Policy.UNKNOWN or not by_policy
    if not sure:
        sentence += f" Not certain: {access.ruling.why}."
    return AccessFinding(kind, access, severity, sentence, remedy, Confidence.CERTAIN if sure else Confidence.POSSIBLE)


def _page(access: Access) -> str:
    project = access.project_id or access.project
    return f"platform.openai.com → project {project} → Limits → Model usage"


def _why(access: Access) -> str:
    kind = access.probed.called_failure
    return f" ({KINDS[kind].title})" if kind else ""


def _required(access: Access) -> AccessFinding | None:
    project, model = access.project, access.model
    refused = access.truth is Truth.REFUSED
    if access.policy is Policy.NOT_ALLOWED and access.truth is Truth.USABLE:
        return _not_enforced(access)
    if access.policy is Policy.NOT_ALLOWED:
        then = f", and calls are refused{_why(access)}." if refused else "; whether calls are refused is not known."
        return _made(
            _K.NEEDED_NOT_ALLOWED, access, Severity.CRITICAL if refused else Severity.WARNING,
            f"{project} needs {model}, and its model permissions do not allow it{then}",
            f"Allow {model} in {_page(access)}, or take it out of the project's models in monitor.toml.",
        )  # fmt: skip
    if refused and access.policy is Policy.ALLOWED:
        listed = {Listed.LISTED: " It is listed too.", Listed.NOT_LISTED: " It is not listed: perhaps it is gone."}
        retired = access.probed.called_failure is FailureKind.ACCESS_MODEL_RETIRED
        return _made(
            _K.ALLOWED_BUT_REFUSED, access, Severity.CRITICAL,
            f"{project} is allowed to use {model}, and calls are refused{_why(access)}.{listed.get(access.listed, '')}",
            _move(access) if retired else
            "If the permissions were changed in the last minutes, wait for them to take effect; else look whether the organization "
            "is verified and its tier has the model, and give OpenAI's support the request ids of the raw answers.",
        )  # fmt: skip
    if refused and access.listed is Listed.LISTED:
        return _made(
            _K.LISTED_BUT_REFUSED, access, Severity.CRITICAL,
            f"OpenAI lists {model} to {project}, and refuses its calls{_why(access)}.",
            f"Being listed is no permission: look at {_page(access)}. With an admin key the monitor would know what is allowed.",
        )  # fmt: skip
    if refused:
        gone = "; it is not listed either" if access.listed is Listed.NOT_LISTED else ""
        return _made(
            _K.NEEDED_BUT_REFUSED, access, Severity.CRITICAL,
            f"{project} needs {model}, and calls are refused{_why(access)}{gone}.",
            f"Compare the name with platform.openai.com/docs/models and look at {_page(access)}.",
        )  # fmt: skip
    if access.listed is Listed.NOT_LISTED:
        usable = access.truth is Truth.USABLE
        known = "calls are answered all the same" if usable else "whether calls are answered is not known"
        return _made(
            _K.NEEDED_NOT_LISTED, access, Severity.INFO if usable else Severity.WARNING,
            f"{project} needs {model}, which OpenAI does not list to it; {known}.",
            f"Plan for its end: see platform.openai.com/docs/deprecations whether {model} is to go, and what replaces it.",
        )  # fmt: skip
    return None


def _denied(access: Access) -> AccessFinding | None:
    project, model = access.project, access.model
    if access.truth is Truth.USABLE and access.policy is Policy.NOT_ALLOWED:
        return _not_enforced(access)
    if access.truth is Truth.USABLE:
        open_ = {Policy.ALLOWED: f": {access.ruling.why}"}.get(access.policy, "")
        return _made(
            _K.DENIED_BUT_USABLE, access, Severity.WARNING, f"{project} must not use {model}, and can{open_}.",
            f"Take {model} off the models that the project may use in {_page(access)}.",
        )  # fmt: skip
    if access.policy is Policy.ALLOWED:
        refused = access.truth is Truth.REFUSED
        then = "Calls are refused, but for another reason, which may pass" if refused else "No call has told yet"
        return _made(
            _K.DENIED_BUT_ALLOWED, access, Severity.WARNING,
            f"{project} must not use {model}, and its model permissions allow it: {access.ruling.why}. {then}.",
            f"Deny {model} in {_page(access)}: then it stays refused.",
        )  # fmt: skip
    return None


def _not_enforced(access: Access) -> AccessFinding:
    sentence = f"{access.project} is not allowed to use {access.model}, and calls are answered."
    if access.need is Need.REQUIRED:
        sentence += " It needs the model: that may end at any time."
        remedy = f"Allow {access.model} in {_page(access)} before the permissions take effect."
    else:
        remedy = "If the permissions were changed in the last minutes, wait for them to take effect; else tell OpenAI's support."
    return _made(_K.NOT_ALLOWED_BUT_USABLE, access, Severity.WARNING, sentence, remedy)


def _shutting_down(access: Access, day: date, today: date) -> AccessFinding:
    left = (day - today).days
    when = f"on {day}, in {days(left)}" if left > 0 else f"today, on {day}" if left == 0 else f"{days(-left)} ago, on {day}"
    verb = "is shut down" if left >= 0 else "was to be shut down"
    use = access.use
    asked = "" if use is None else f" {access.project} sends it about {use.requests:,.0f} requests a day."
    asked = asked or " How much it is used is not known: that needs an admin key."
    needs = "needs" if access.need is Need.REQUIRED else "uses"
    severity = Severity.CRITICAL if left <= VERY_SOON else Severity.WARNING if left <= SOON else Severity.INFO
    return AccessFinding(
        _K.SHUTTING_DOWN, access, severity, f"{access.model}, which {access.project} {needs}, {verb} {when}.{asked}",
        _move(access), Confidence.CERTAIN,
    )  # fmt: skip


def _move(access: Access) -> str:
    return f"Move {access.project} to the successor named on platform.openai.com/docs/deprecations; change it in monitor.toml too."


def days(count: int) -> str:
    """`1 day`, `12 days`."""
    return f"{count:,} {'day' if count == 1 else 'days'}"
