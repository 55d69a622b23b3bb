"""Control experiments: which questions tell the causes of a failure apart, and what their answers prove.

Pure. `plan` chooses the questions, `monitor.openai_api.experiments` asks them, `conclude` reads the answers. Whatever an experiment
cannot tell leaves the diagnosis as it was; one that contradicts it makes it less certain.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from monitor.domain.diagnosis import Context, Diagnosis, diagnose
from monitor.domain.inventory import ProbeKind, Project, Target
from monitor.domain.observation import Observation, Verdict
from monitor.domain.taxonomy import FailureKind, Lane, Owner, Scope
from monitor.domain.words import INSTEAD, Case, Confidence, clock

_K = FailureKind


class ExperimentKind(StrEnum):
    """One question that tells two causes apart. Each is one request."""

    CONTROL = "control"
    """List models without a key, at the same host."""
    WITHOUT_HEADERS = "without_headers"
    """The same question with the same key, without the OpenAI-Project and OpenAI-Organization headers."""
    OTHER_KEY = "other_key"
    """List models with the key of another project that works, at the same host."""
    LISTING = "listing"
    """List models with the same key."""
    CALL = "call"
    """Call the model with the same key, as small as possible."""
    LOOK_UP = "look_up"
    """Look the model up with the same key."""
    OTHER_NAME = "other_name"
    """Look up the alias of a snapshot with the same key."""
    LOOK_UP_ELSEWHERE = "look_up_elsewhere"
    """Look the model up with the key of another project."""
    CALL_ELSEWHERE = "call_elsewhere"
    """Call a model with the key of another project."""
    NAMED_HOST = "named_host"
    """List models with the same key at the regional host that OpenAI named."""


PAID = frozenset({ExperimentKind.CALL, ExperimentKind.CALL_ELSEWHERE})
"""Those that use tokens, some 25 each."""


@dataclass(frozen=True, slots=True)
class ExperimentResult:
    """What came of one experiment."""

    kind: ExperimentKind
    observation: Observation | None
    """None where the question could not be asked."""
    at: datetime


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """What may be known of a secret: never more than its echo at OpenAI shows."""

    prefix: str
    """`sk-proj-`, `sk-svcacct-`, `sk-`, …; empty for what looks like no key."""
    last_four: str
    """Empty for a secret shorter than 20 characters."""
    length: int

    @classmethod
    def of(cls, secret: str) -> "KeyFacts":
        """The facts of a secret, which is not kept."""
        prefix = _PREFIX.match(secret)
        return cls(prefix[0] if prefix else "", secret[-4:] if len(secret) >= 20 else "", len(secret))


_PREFIX = re.compile(r"sk-(?:(?:proj|svcacct|service|None)-)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Landscape:
    """What is configured and known around the failure, beside the answer itself."""

    sends_project: bool = False
    """Whether the requests carry an OpenAI-Project header; the next for OpenAI-Organization."""
    sends_organization: bool = False
    key: KeyFacts | None = None
    other_key: KeyFacts | None = None
    """Of the known good key that experiments may borrow."""
    other_project: str | None = None
    """Whose key that is; None where there is no such key."""
    same_organization: bool | None = None
    """Whether that project is of the same organization; None where nobody knows."""
    same_key_as: tuple[str, ...] = ()
    """`project/key` of everything else that is configured with the very same secret."""
    secret_changed_at: datetime | None = None
    """When this secret was first seen under its label."""
    names: Mapping[str, str] = field(default_factory=dict)
    """The configured projects' names by their OpenAI id."""
    model: str | None = None
    """The model to call where the failed target names none: the project's first."""
    may_spend: bool = False
    """Whether calls that use tokens fit into the budget."""
    official: bool = True
    """Whether the host is one of api.openai.com: only then may the key go to another host of it."""


def same_key_elsewhere(target: Target, projects: Iterable[Project]) -> tuple[str, ...]:
    """`project/key` of the other places where the secret of `target` is configured."""
    marks = {(project.name, key.label): key.fingerprint for project in projects for key in project.keys if key.fingerprint}
    mine = marks.pop((target.project or "", target.key or ""), None)
    return tuple(f"{name}/{label}" for (name, label), mark in marks.items() if mark == mine) if mine else ()


# Which experiments ----------------------------------------------------------------------------------------------------------------

_X = ExperimentKind

_PLANS: dict[FailureKind, tuple[ExperimentKind, ...]] = {
    _K.AUTH_INVALID_KEY: (_X.OTHER_KEY,),
    _K.AUTH_WRONG_PROJECT: (_X.WITHOUT_HEADERS,),
    _K.AUTH_WRONG_ORGANIZATION: (_X.WITHOUT_HEADERS,),
    _K.AUTH_NO_ORGANIZATION: (_X.OTHER_KEY,),
    _K.AUTH_ACCOUNT_DEACTIVATED: (_X.OTHER_KEY,),
    _K.AUTH_IP_NOT_ALLOWED: (_X.OTHER_KEY,),
    _K.AUTH_WRONG_REGION_HOST: (_X.NAMED_HOST, _X.OTHER_KEY),
    _K.AUTH_MISSING_SCOPE: (_X.LISTING, _X.CALL, _X.OTHER_KEY),
    _K.AUTH_MISSING_CREDENTIALS: (_X.OTHER_KEY,),
    _K.AUTH_UNKNOWN: (_X.WITHOUT_HEADERS, _X.OTHER_KEY),
    _K.ACCESS_MODEL_NOT_ALLOWED: (_X.LOOK_UP_ELSEWHERE,),
    _K.ACCESS_MODEL_NOT_FOUND: (_X.LOOK_UP, _X.LOOK_UP_ELSEWHERE, _X.OTHER_NAME),
    _K.ACCESS_MODEL_RETIRED: (_X.LOOK_UP_ELSEWHERE, _X.OTHER_NAME),
    _K.ACCESS_REGION_UNSUPPORTED: (_X.CONTROL, _X.OTHER_KEY),
    _K.ACCESS_POLICY: (_X.CALL_ELSEWHERE,),
    _K.QUOTA_CREDITS: (_X.LISTING,),
    _K.QUOTA_PROJECT_SPEND: (_X.LISTING,),
    _K.QUOTA_ORGANIZATION_SPEND: (_X.LISTING,),
    _K.QUOTA_ORGANIZATION_USAGE: (_X.LISTING,),
    _K.QUOTA_BILLING_INACTIVE: (_X.LISTING,),
    _K.QUOTA_EXHAUSTED: (_X.LISTING, _X.CALL_ELSEWHERE),
    _K.SERVER_ERROR: (_X.CONTROL, _X.OTHER_KEY),
    _K.SERVER_OVERLOADED: (_X.CONTROL,),
    _K.NETWORK_TIMEOUT: (_X.CONTROL, _X.OTHER_KEY),
    _K.NETWORK_UNREACHABLE: (_X.CONTROL,),
    _K.NETWORK_TLS: (_X.CONTROL,),
    _K.NETWORK_NOT_OPENAI: (_X.CONTROL,),
}
"""Kinds that are missing have no experiment: at a rate limit every question makes it worse, and where the secret cannot be read
there is nothing to ask with.
"""

_BORROWS = frozenset({_X.OTHER_KEY, _X.LOOK_UP_ELSEWHERE, _X.CALL_ELSEWHERE})
_THE_SAME = {
    _X.CONTROL: ProbeKind.CONTROL,
    _X.LISTING: ProbeKind.AUTH,
    _X.CALL: ProbeKind.INFERENCE,
    _X.LOOK_UP: ProbeKind.MODEL_ACCESS,
}
"""What the failed probe itself was need not be asked again: confirming is not an experiment's work."""


def plan(kind: FailureKind, seen: Observation, landscape: Landscape) -> tuple[ExperimentKind, ...]:
    """The experiments worth their request for a failure of `kind` that `seen` told of."""
    model = seen.target.model or landscape.model

    def possible(experiment: ExperimentKind) -> bool:
        if _THE_SAME.get(experiment) is seen.target.probe or (experiment in PAID and not landscape.may_spend):
            return False
        if experiment in _BORROWS and landscape.other_project is None:
            return False
        match experiment:
            case _X.WITHOUT_HEADERS:
                return (landscape.sends_project or landscape.sends_organization) and seen.code != "project_echo_differs"
            case _X.CALL | _X.LOOK_UP | _X.LOOK_UP_ELSEWHERE | _X.CALL_ELSEWHERE:
                return model is not None
            case _X.OTHER_NAME:
                return model is not None and alias_of(model) is not None
            case _X.NAMED_HOST:
                return landscape.official and named_host(seen) is not None
            case _:
                return True

    return tuple(experiment for experiment in _PLANS.get(kind, ()) if possible(experiment))


_SNAPSHOT = re.compile(r"(?P<alias>.+?)-(?:\d{4}-\d{2}-\d{2}|\d{4})(?:-preview)?")


def alias_of(model: str) -> str | None:
    """The alias of a snapshot: `gpt-4o` of `gpt-4o-2024-08-06`; None of a name without a date."""
    found = None if model.startswith("ft:") else _SNAPSHOT.fullmatch(model)
    return found["alias"] if found else None


_HOST = re.compile(r"(?:[a-z0-9-]{1,20}\.)?api\.openai\.com")


def named_host(seen: Observation) -> str | None:
    """The base URL at the regional host that OpenAI named, and never another's."""
    return f"https://{seen.hint}/v1" if seen.hint and _HOST.fullmatch(seen.hint) else None


# What they prove ------------------------------------------------------------------------------------------------------------------


class _Answers:
    """The results by kind, and what each says."""

    def __init__(self, results: Sequence[ExperimentResult]) -> None:
        self._seen = {result.kind: result.observation for result in results if result.observation is not None}

    def get(self, kind: ExperimentKind) -> Observation | None:
        """The answer; None where nothing was asked."""
        return self._seen.get(kind)

    def good(self, kind: ExperimentKind) -> bool:
        """The answer was a good one."""
        seen = self._seen.get(kind)
        return seen is not None and seen.verdict is Verdict.OK

    def accepted(self, kind: ExperimentKind) -> bool:
        """OpenAI knew the key: it answered, or refused something else than the key."""
        seen = self._seen.get(kind)
        return self.good(kind) or (
            seen is not None and (seen.lane in (Lane.ACCESS, Lane.RATE, Lane.QUOTA) or seen.failure is _K.AUTH_MISSING_SCOPE)
        )

    def failed(self, kind: ExperimentKind, *failures: FailureKind) -> bool:
        """It failed with one of these."""
        seen = self._seen.get(kind)
        return seen is not None and seen.failure in failures


@dataclass(frozen=True, slots=True)
class _Finding:
    """What the experiments change about a diagnosis; None leaves a part as it was."""

    cause: str | None = None
    confidence: Confidence | None = None
    owner: Owner | None = None
    next_step: str | None = None
    summary: str | None = None


_NOTHING = _Finding()
_NO_LANDSCAPE, _NO_CONTEXT = Landscape(), Context()
_CERTAIN, _LIKELY, _POSSIBLE = Confidence.CERTAIN, Confidence.LIKELY, Confidence.POSSIBLE
_STATUS = "See status.openai.com and whether it passes; change no key and no setting for now."


@dataclass(frozen=True, slots=True)
class _Case:
    """Everything there is to judge from."""

    kind: FailureKind
    seen: Observation
    answers: _Answers
    land: Landscape
    context: Context

    @property
    def other(self) -> str:
        """The project whose key was borrowed."""
        return f"“{self.land.other_project}”"

    @property
    def mine(self) -> str:
        """The project that fails, inside a sentence."""
        return f"project “{self.seen.target.project}”" if self.seen.target.project else "the project"

    @property
    def setting(self) -> str:
        """Its place in the configuration."""
        return f"{self.mine} in monitor.toml"

    @property
    def settings_page(self) -> str:
        """Its place at OpenAI."""
        return f"platform.openai.com → Settings → {self.mine[:1].upper()}{self.mine[1:]}"


def conclude(
    kind: FailureKind,
    seen: Observation,
    results: Sequence[ExperimentResult] = (),
    landscape: Landscape = _NO_LANDSCAPE,
    context: Context = _NO_CONTEXT,
) -> Diagnosis:
    """The diagnosis of a failure of `kind` that `seen` told of, sharpened by what the experiments answered."""
    case = _Case(kind, seen, _Answers(results), landscape, context)
    plain = diagnose(kind, context)
    judge = _JUDGES.get(kind)
    found = judge(case) if judge else _NOTHING
    return Diagnosis(
        summary=found.summary or plain.summary,
        cause=found.cause or plain.cause,
        confidence=found.confidence or plain.confidence,
        owner=found.owner or plain.owner,
        next_step=found.next_step or plain.next_step,
        evidence=(*plain.evidence, *_about_the_secret(case), *(_line(result, landscape) for result in results)),
    )


_ASKED: dict[ExperimentKind, str] = {
    _X.CONTROL: "without a key",
    _X.WITHOUT_HEADERS: "the same key without the project and organization headers",
    _X.OTHER_KEY: "the key of {other} from here",
    _X.LISTING: "the same key, listing models",
    _X.CALL: "the same key, calling {model}",
    _X.LOOK_UP: "the same key, looking up {model}",
    _X.OTHER_NAME: "the same key, looking up {model}",
    _X.LOOK_UP_ELSEWHERE: "the key of {other}, looking up {model}",
    _X.CALL_ELSEWHERE: "the key of {other}, calling {model}",
    _X.NAMED_HOST: "the same key at the host that OpenAI named",
}


def _line(result: ExperimentResult, landscape: Landscape) -> str:
    """One experiment as a line of evidence."""
    seen = result.observation
    model = (seen.target.model if seen else None) or "the model"
    asked = _ASKED[result.kind].format(other=f"“{landscape.other_project}”", model=model)
    if seen is None:
        return f"experiment: {asked}: not asked"
    if seen.verdict is Verdict.OK:
        said = "answers as it should" if result.kind is _X.CONTROL else "accepted"
    else:
        said = seen.failure.value if seen.failure else "tells nothing"
    status = f" ({seen.status})" if seen.status else ""
    request = f", request id {seen.request_id}" if seen.request_id else ""
    return f"experiment: {asked}: {said}{status}{request}"


# The key --------------------------------------------------------------------------------------------------------------------------

_ECHO = re.compile(r"has (\d+) characters(?: and ends in …(\S{1,4}))?")


def echo_of(seen: Observation) -> tuple[int, str] | None:
    """The length and the last four characters (or nothing) of what OpenAI says it was sent."""
    found = _ECHO.search(seen.hint or "") if seen.failure is _K.AUTH_INVALID_KEY else None
    return (int(found[1]), found[2] or "") if found else None


def _about_the_secret(case: _Case) -> Iterable[str]:
    """What is known of the secret, where it matters."""
    if case.kind.lane is not Lane.AUTH:
        return
    if case.land.key is not None:
        ending = f" and ends in …{case.land.key.last_four}" if case.land.key.last_four else ""
        yield f"the secret as configured has {case.land.key.length} characters{ending}"
    if case.land.same_key_as:
        yield f"the very same key is configured for {', '.join(case.land.same_key_as[:5])}"
    if case.land.secret_changed_at is not None:
        yield f"this secret is known since {clock(case.land.secret_changed_at)}"


def _invalid_key(case: _Case) -> _Finding:
    """Another key is accepted: it is this one. Which of its many deaths it died, only echo, length and history may hint at."""
    land, answers, hint = case.land, case.answers, case.seen.hint or ""
    if answers.failed(_X.OTHER_KEY, case.kind):
        return _Finding(
            f"The key of {case.other}, which worked, is refused in the same way. Two keys seldom die together: OpenAI, or "
            "something on the way that changes keys, is the better guess.",
            _POSSIBLE,
            Owner.OPENAI,
            _STATUS,
        )
    if case.context.reach is Scope.PROJECT:
        if not answers.accepted(_X.OTHER_KEY):
            return _NOTHING
        return _Finding(
            f"The key of {case.other} is accepted from here, so it is this project: archived or deleted, or all of its keys were "
            "replaced at once."
        )
    this_one = f"The key of {case.other} is accepted from here, so it is this key. " if answers.accepted(_X.OTHER_KEY) else ""
    echo = echo_of(case.seen)
    secret = f"the `secret` of {case.setting}"
    if echo and land.key and (echo[0] != land.key.length or (echo[1] and land.key.last_four and echo[1] != land.key.last_four)):
        shown = f"{echo[0]} characters" + (f" that end in …{echo[1]}" if echo[1] else "")
        return _Finding(
            f"{this_one}OpenAI saw another value than the one that was sent: {shown}. Something on the way replaces the key.",
            _LIKELY,
            Owner.NETWORK,
            "Look at the gateway or proxy between here and OpenAI, and at the key that it puts into the Authorization header.",
        )
    if "empty value" in hint or ("looks like" in hint and "looks like a key" not in hint):
        return _Finding(owner=Owner.SERVICE)
    good = land.other_key
    if land.key and good and land.key.prefix == good.prefix and land.key.length <= good.length - _MISSING:
        return _Finding(
            f"{this_one}It has {land.key.length} characters, where the key of {case.other} has {good.length}: most likely it was "
            "cut short when it was pasted.",
            _LIKELY if this_one else _POSSIBLE,
            Owner.SERVICE,
            f"Paste the whole key into {secret}; it is read again by itself.",
        )
    worked, changed = case.context.last_ok_at, land.secret_changed_at
    if worked is not None and changed is not None and changed > worked:
        return _Finding(
            f"{this_one}The key before it worked; this one was put in its place after the last good answer and never did.",
            _LIKELY,
            Owner.SERVICE,
            f"Compare what was put into {secret} with the key in {case.settings_page} → API keys, or put the earlier one back.",
        )
    if land.same_key_as:
        return _Finding(
            f"{this_one}The same key is configured for {land.same_key_as[0]} too: one of the two got the wrong secret, or both "
            "share a dead one.",
            _POSSIBLE,
            Owner.SERVICE,
            f"Compare {secret} with that of {land.same_key_as[0]}.",
        )
    if not this_one:
        return _NOTHING
    gone = worked is not None
    return _Finding(
        this_one
        + (
            INSTEAD[Case.KEY_WORKED].cause
            if gone
            else "Mistyped, cut short, revoked, deleted or expired: OpenAI gives the same answer for all of these."
        ),
        _LIKELY if gone else _POSSIBLE,
    )


_MISSING = 4
"""Characters that a key lacks before it counts as cut short: keys of one kind differ by fewer."""


def _header(case: _Case) -> _Finding:
    """The same key without the headers."""
    name = "OpenAI-Project" if case.kind is _K.AUTH_WRONG_PROJECT else "OpenAI-Organization"
    setting = "project_id" if case.kind is _K.AUTH_WRONG_PROJECT else "organization"
    seen = case.answers.get(_X.WITHOUT_HEADERS)
    if case.answers.failed(_X.WITHOUT_HEADERS, case.kind):
        return _Finding(
            f"OpenAI complains of the {name} header even where none was sent: something on the way adds one.",
            _LIKELY,
            Owner.NETWORK,
            f"Look at the gateway or proxy between here and OpenAI, and at the {name} header that it adds.",
        )
    if seen is None or not case.answers.accepted(_X.WITHOUT_HEADERS):
        return _NOTHING
    echo = seen.project_echo
    if case.kind is _K.AUTH_WRONG_PROJECT and echo:
        known = case.land.names.get(echo)
        whose = f"{echo} (“{known}” here)" if known else echo
        return _Finding(
            f"The key works without the {name} header, and OpenAI counts the call for {whose}: key and `{setting}` are of two "
            "projects.",
            _CERTAIN,
            Owner.SERVICE,
            f"Set the `{setting}` of {case.setting} to {echo} if that is the right project; otherwise use a key of this one.",
        )
    return _Finding(
        f"The same key is accepted without the header: key and account are fine, the {name} header is wrong.",
        _CERTAIN,
        Owner.SERVICE,
        f"Remove or correct the `{setting}` of {case.setting}.",
    )


def _no_known_reason(case: _Case) -> _Finding:
    if case.answers.accepted(_X.WITHOUT_HEADERS):
        return _Finding(
            "The same key is accepted without the project and organization headers: one of the two is wrong.",
            _LIKELY,
            Owner.SERVICE,
            f"Compare `project_id` and `organization` of {case.setting} with {case.settings_page} → General.",
        )
    if case.answers.failed(_X.OTHER_KEY, case.kind):
        return _Finding(
            f"The key of {case.other} is refused in the same way: it is not this key alone.", _POSSIBLE, Owner.OPENAI, _STATUS
        )
    if case.answers.accepted(_X.OTHER_KEY):
        return _Finding(f"The key of {case.other} is accepted from here: it is this key or its project. OpenAI does not say why.")
    return _NOTHING


def _account(case: _Case) -> _Finding:
    """One person, or the organization."""
    if case.answers.accepted(_X.OTHER_KEY) and case.land.same_organization:
        who = "The account" if case.kind is _K.AUTH_ACCOUNT_DEACTIVATED else "The owner"
        return _Finding(
            f"{who} behind this key alone: the key of {case.other}, in the same organization, is accepted.",
            _LIKELY,
            Owner.KEY_OWNER if case.kind is _K.AUTH_ACCOUNT_DEACTIVATED else None,
            f"Replace the key by one of a service account in {case.settings_page} → API keys, and put it into the `secret` of "
            f"{case.setting}.",
        )
    if case.answers.failed(_X.OTHER_KEY, case.kind):
        return _Finding(f"The key of {case.other} gets the same answer: the whole organization is affected, not one key.", _LIKELY)
    return _NOTHING


def _address(case: _Case) -> _Finding:
    """Whose allowlist, or whose address."""
    if case.answers.accepted(_X.OTHER_KEY):
        return _Finding(
            f"The key of {case.other} is accepted from this very address: only the allowlist that holds for {case.mine} lacks it.",
            _CERTAIN if case.land.same_organization else _LIKELY,
            Owner.PROJECT_ADMIN,
            f"Add this machine's public address to the IP allowlist of {case.mine}, or where it has none, to the organization's in "
            "platform.openai.com → Settings → Organization → Security → IP allowlist; allow 15 minutes.",
        )
    if case.answers.failed(_X.OTHER_KEY, case.kind):
        return _Finding(
            f"The key of {case.other} is refused from here too: this machine's address changed, or left the "
            "organization's allowlist.",
            _LIKELY,
            Owner.NETWORK,
        )
    return _NOTHING


def _regional_host(case: _Case) -> _Finding:
    host = named_host(case.seen)
    if host and case.answers.accepted(_X.NAMED_HOST):
        return _Finding(
            f"The same key is accepted at {host}: the data of {case.mine} stays in that region.",
            _CERTAIN,
            Owner.SERVICE,
            f"Set the `base_url` of {case.setting} to {host}.",
        )
    if host and case.answers.failed(_X.NAMED_HOST, case.kind, _K.AUTH_INVALID_KEY):
        return _Finding(f"At {host}, which OpenAI names, the key is refused as well: more than the host is wrong.", _POSSIBLE)
    return _NOTHING


def _scope(case: _Case) -> _Finding:
    """A restricted key shows itself by what it may do; the same complaint of an unrestricted key is OpenAI's."""
    answers = case.answers
    if answers.failed(_X.OTHER_KEY, case.kind):
        return _Finding(
            f"The key of {case.other}, which worked, lacks a permission now too. OpenAI did that to all keys once, in April 2026.",
            _LIKELY,
            Owner.OPENAI,
            _STATUS,
        )
    listing_failed = case.seen.target.probe is not ProbeKind.INFERENCE
    if listing_failed and answers.good(_X.CALL):
        return _Finding(
            "A restricted key: it may call the model and may not list models. It does its work.",
            _CERTAIN,
            next_step=f"Nothing needs to be done; to see more, give the key `api.model.read` in {case.settings_page} → API keys.",
        )
    if listing_failed and answers.get(_X.CALL) and answers.accepted(_X.CALL) and not answers.failed(_X.CALL, case.kind):
        return _Finding(
            "A restricted key that may not list models. Calls are refused for another reason, which has its own incident."
        )
    if listing_failed and answers.failed(_X.CALL, case.kind):
        return _Finding(
            "The key may neither list models nor call one: it lost its permissions, or its owner's role was taken away.", _LIKELY
        )
    if not listing_failed and answers.good(_X.LISTING):
        return _Finding(
            "A restricted key: it may list models and lacks the permission to call them, or its owner's role is too small.", _LIKELY
        )
    return _NOTHING


def _no_key_arrived(case: _Case) -> _Finding:
    if case.answers.failed(_X.OTHER_KEY, case.kind):
        return _Finding(
            f"The key of {case.other} does not arrive either: something on the way removes the Authorization header.",
            _LIKELY,
            Owner.NETWORK,
            "Look at the gateway or proxy between here and OpenAI: it must pass the Authorization header on.",
        )
    return _NOTHING


# The model ------------------------------------------------------------------------------------------------------------------------

_GONE = (_K.ACCESS_MODEL_NOT_FOUND, _K.ACCESS_MODEL_RETIRED)


def _model_not_found(case: _Case) -> _Finding:
    answers, model = case.answers, case.seen.target.model or "the model"
    subject = f"The model {case.seen.target.model}" if case.seen.target.model else "The model"
    seen_here = answers.good(_X.LOOK_UP)
    missing_here = answers.failed(_X.LOOK_UP, *_GONE) or case.seen.target.probe is ProbeKind.MODEL_ACCESS
    limits = f"{case.settings_page} → Limits → Model usage"
    if seen_here or (answers.good(_X.LOOK_UP_ELSEWHERE) and case.land.same_organization):
        there = "this key can look it up" if seen_here else f"{case.other}, in the same organization, can look it up"
        return _Finding(
            f"{subject} exists: {there}. So it is not retired, and {case.mine} is not allowed to use it.",
            _LIKELY,
            Owner.PROJECT_ADMIN,
            f"Allow {model} in {limits}, or take it out of the `models` of {case.setting}.",
        )
    if answers.good(_X.LOOK_UP_ELSEWHERE):
        return _Finding(
            f"{subject} exists: {case.other} can look it up. This project, or its organization, has no access to it.",
            _LIKELY,
            Owner.PROJECT_ADMIN,
            f"Look at {limits}; if it is allowed there, the organization has no access: ask its owner.",
        )
    elsewhere = answers.failed(_X.LOOK_UP_ELSEWHERE, *_GONE)
    worked = case.context.last_ok_at is not None
    if answers.good(_X.OTHER_NAME) and missing_here:
        alias = alias_of(model)
        return _Finding(
            f"The alias {alias} is there and this snapshot is not: it was retired"
            + ("." if worked else ", or its date is misspelt."),
            _LIKELY if worked or elsewhere else _POSSIBLE,
            Owner.SERVICE,
            f"Move the service and the `models` of {case.setting} to {alias} or a newer snapshot; "
            "see platform.openai.com/docs/deprecations.",
        )
    if elsewhere and missing_here:
        return _Finding(
            f"{case.other} does not find {model} either: no matter of this project. "
            + ("It worked before, so it was retired." if worked else "Misspelt, retired, or closed to both."),
            _LIKELY if worked else _POSSIBLE,
            Owner.SERVICE,
            "Compare the name with platform.openai.com/docs/models and platform.openai.com/docs/deprecations.",
        )
    return _NOTHING


def _model_not_allowed(case: _Case) -> _Finding:
    model = case.seen.target.model or "the model"
    if case.answers.failed(_X.LOOK_UP_ELSEWHERE, *_GONE):
        return _Finding(
            f"The project may not use {model}, and {case.other} does not find it at all: it may be retired, so allowing it may not "
            "help.",
            _LIKELY,
        )
    if case.answers.good(_X.LOOK_UP_ELSEWHERE):
        return _Finding(
            f"{case.other} can look {model} up: it exists, and only this project's list of models lacks it. The key is fine."
        )
    return _NOTHING


def _model_retired(case: _Case) -> _Finding:
    if case.answers.good(_X.LOOK_UP_ELSEWHERE):
        return _Finding(
            f"OpenAI says it is shut down, and {case.other} can still look it up: perhaps a shutdown that reaches some projects "
            "first.",
            _LIKELY,
        )
    return _NOTHING


# Money, OpenAI, the way -----------------------------------------------------------------------------------------------------------


def _money(case: _Case) -> _Finding:
    listed = " Listing models works: key and project are fine, it is money alone." if case.answers.good(_X.LISTING) else ""
    plain = diagnose(case.kind, case.context)
    if case.kind is not _K.QUOTA_EXHAUSTED:
        return _Finding(plain.cause + listed) if listed and "Listing" not in plain.cause else _NOTHING
    if case.answers.good(_X.CALL_ELSEWHERE) and case.land.same_organization:
        return _Finding(
            f"{case.other}, in the same organization, can still call: there is money. This project reached its own limit.{listed}",
            _LIKELY,
            Owner.PROJECT_ADMIN,
            f"Raise the spend limit in {case.settings_page} → Limits, or wait until next month.",
        )
    lane = getattr(case.answers.get(_X.CALL_ELSEWHERE), "lane", None)
    if lane is Lane.QUOTA and case.land.same_organization:
        return _Finding(
            f"{case.other} is refused for its quota too: credits or a limit of the whole organization are used up.{listed}",
            _LIKELY,
            Owner.BILLING,
        )
    return _Finding(plain.cause + listed) if listed else _NOTHING


def _server(case: _Case) -> _Finding:
    if case.answers.failed(_X.CONTROL, _K.SERVER_ERROR, _K.SERVER_OVERLOADED):
        return _Finding(
            "OpenAI fails without any key too: its front door is down. No key and no project is at fault.", next_step=_STATUS
        )
    if case.answers.good(_X.OTHER_KEY):
        return _Finding(f"A fault on OpenAI's side, and not everywhere: the key of {case.other} is answered.")
    return _NOTHING


def _network(case: _Case) -> _Finding:
    control = case.answers.get(_X.CONTROL)
    if control is None:
        return _NOTHING
    if control.lane is Lane.NETWORK:
        return _Finding(
            "It fails without a key too: no key and no project is at fault, but the way to OpenAI, or OpenAI itself.",
            _POSSIBLE if case.kind is _K.NETWORK_TIMEOUT else _LIKELY,
        )
    if control.lane is Lane.SERVER:
        return _Finding("The way is open, and OpenAI fails without any key too.", _LIKELY, Owner.OPENAI, _STATUS)
    if case.answers.good(_X.CONTROL) and case.kind is _K.NETWORK_TIMEOUT:
        called = case.seen.target.probe is ProbeKind.INFERENCE
        what = f"calls of {case.seen.target.model}" if called and case.seen.target.model else "this request"
        return _Finding(
            f"The same host answers at once without a key: the way is open, and {what} took too long at OpenAI.",
            _LIKELY if called else _POSSIBLE,
            Owner.OPENAI,
            "Wait, and see whether other models and projects are slow too; then status.openai.com.",
        )
    if case.answers.good(_X.CONTROL):
        return _Finding(
            "The same host answers without a key by now: the way was interrupted for a moment, or for some connections.", _POSSIBLE
        )
    return _NOTHING


def _country(case: _Case) -> _Finding:
    if case.answers.failed(_X.CONTROL, case.kind) or case.answers.failed(_X.OTHER_KEY, case.kind):
        return _Finding(
            "It is refused whatever the key: the address that this machine's requests come from is at fault.",
            _CERTAIN,
        )
    if case.answers.accepted(_X.OTHER_KEY):
        return _Finding(
            f"OpenAI names the country, and the key of {case.other} is accepted from the same machine: two ways out, or a "
            "rule for this organization.",
            _POSSIBLE,
        )
    return _NOTHING


def _policy(case: _Case) -> _Finding:
    if case.answers.good(_X.CALL_ELSEWHERE):
        return _Finding(f"{case.other} may do the same: it is a policy of this project, not of OpenAI.", owner=Owner.PROJECT_ADMIN)
    return _NOTHING


_JUDGES = {
    _K.AUTH_INVALID_KEY: _invalid_key,
    _K.AUTH_WRONG_PROJECT: _header,
    _K.AUTH_WRONG_ORGANIZATION: _header,
    _K.AUTH_NO_ORGANIZATION: _account,
    _K.AUTH_ACCOUNT_DEACTIVATED: _account,
    _K.AUTH_IP_NOT_ALLOWED: _address,
    _K.AUTH_WRONG_REGION_HOST: _regional_host,
    _K.AUTH_MISSING_SCOPE: _scope,
    _K.AUTH_MISSING_CREDENTIALS: _no_key_arrived,
    _K.AUTH_UNKNOWN: _no_known_reason,
    _K.ACCESS_MODEL_NOT_ALLOWED: _model_not_allowed,
    _K.ACCESS_MODEL_NOT_FOUND: _model_not_found,
    _K.ACCESS_MODEL_RETIRED: _model_retired,
    _K.ACCESS_REGION_UNSUPPORTED: _country,
    _K.ACCESS_POLICY: _policy,
    **dict.fromkeys((kind for kind in FailureKind if kind.lane is Lane.QUOTA), _money),
    **dict.fromkeys((kind for kind in FailureKind if kind.lane is Lane.SERVER), _server),
    **dict.fromkeys((kind for kind in FailureKind if kind.lane is Lane.NETWORK), _network),
}
