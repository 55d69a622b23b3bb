"""The probes: one function per kind of question. A probe asks and says what the answer proves; `observe` does the rest."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from monitor.domain import catalogue
from monitor.domain.inventory import ProbeKind
from monitor.domain.observation import Observation, Verdict
from monitor.domain.taxonomy import KINDS, FailureKind, Lane
from monitor.openai_api.client import ApiClient, Caller
from monitor.openai_api.families import Family, guessed, told
from monitor.openai_api.observe import Answered, ProbeRequest, asserted, observe

Probe = Callable[[ApiClient, ProbeRequest], Awaitable[Observation]]
"""Asks one question of one target. Raises nothing but CancelledError."""


async def control(api: ApiClient, request: ProbeRequest) -> Observation:
    """List models with no key. A well-formed 401 is the good answer: network, TLS, edge and the API's front door are up."""
    bare = replace(request, secret=None, project_id=None, organization=None)
    made = (await observe(api, bare, lambda caller: caller.list_models())).observation
    if made.status == 401 and made.lane is Lane.AUTH:
        return _good(made)
    return made


async def auth(api: ApiClient, request: ProbeRequest) -> Observation:
    """List models with the key: free, and it proves the key, not that it may infer or has money."""
    return await _with_key(api, request, _list)


async def model_access(api: ApiClient, request: ProbeRequest) -> Observation:
    """Look up one model: free; proves that the organization sees it, not that the project may use it."""
    return await _with_key(api, request, _look_up)


async def inference(api: ApiClient, request: ProbeRequest) -> Observation:
    """Call the model, as small as its endpoint allows: the only proof that the project can use it and pay for it."""
    return await _with_key(api, request, _infer)


async def denied_model(api: ApiClient, request: ProbeRequest) -> Observation:
    """Call a model that must be refused: a refusal is the good answer, an answer is a finding, anything else tells nothing."""
    made = await _with_key(api, request, _infer)
    if made.failure in _REFUSALS:
        return replace(_good(made), hint="refused, as it should be")
    if made.verdict is Verdict.OK:
        return replace(made, finding="denied_model_usable")
    return replace(made, verdict=Verdict.INCONCLUSIVE)


PROBES: dict[ProbeKind, Probe] = {
    ProbeKind.CONTROL: control,
    ProbeKind.AUTH: auth,
    ProbeKind.MODEL_ACCESS: model_access,
    ProbeKind.INFERENCE: inference,
    ProbeKind.DENIED_MODEL: denied_model,
}

_REFUSALS = frozenset(
    {
        FailureKind.ACCESS_MODEL_NOT_ALLOWED,
        FailureKind.ACCESS_MODEL_NOT_FOUND,
        FailureKind.ACCESS_MODEL_RETIRED,
        FailureKind.ACCESS_ORGANIZATION_UNVERIFIED,
        FailureKind.ACCESS_POLICY,
    }
)


def _good(made: Observation) -> Observation:
    """The same answer, which is a good one for this question. What it said stays as evidence."""
    return replace(made, verdict=Verdict.OK, failure=None, scope=None, hint=None, body=None)


async def _with_key(
    api: ApiClient, request: ProbeRequest, ask: Callable[[ApiClient, ProbeRequest], Awaitable[Observation]]
) -> Observation:
    """Ask, or say why nothing was asked: without its secret a target is misconfigured, and no question goes out without a key."""
    if request.secret is not None:
        return await ask(api, request)
    kind = FailureKind.CLIENT_CONFIGURATION
    return Observation(
        target=request.target,
        at=request.at,
        verdict=Verdict.FAILED,
        failure=kind,
        code="secret_unreadable",
        scope=KINDS[kind].scope,
        hint=request.problem or "the secret cannot be read",
    )


async def _list(api: ApiClient, request: ProbeRequest) -> Observation:
    answered = await observe(api, request, lambda caller: caller.list_models())
    made = answered.observation
    if not request.catalogue or made.verdict is not Verdict.OK:
        return made
    return replace(made, catalogue=catalogue.read(answered.answer.body))


async def _look_up(api: ApiClient, request: ProbeRequest) -> Observation:
    model = request.target.model or ""
    return (await observe(api, request, lambda caller: caller.retrieve_model(model))).observation


async def _infer(api: ApiClient, request: ProbeRequest) -> Observation:
    served = (request.base_url, request.target.model or "")
    learned = api.families.get(served)
    family = Family(learned) if learned else guessed(served[1])
    if family is Family.LOOK_UP or request.inference_mode == "off":
        return _only_looked_up(await _look_up(api, request))
    answered = await _call(api, request, family)
    if learned is None and (other := _served_elsewhere(answered, family)) is not None:
        api.families[served] = other
        answered = await _call(api, request, other)
    return _judged(request, answered)


def _only_looked_up(made: Observation) -> Observation:
    if made.verdict is not Verdict.OK:
        return made
    return replace(
        made, verdict=Verdict.INCONCLUSIVE, hint="looked up only, not called: it exists, whether it answers is not known"
    )


def _served_elsewhere(answered: Answered, family: Family) -> Family | None:
    """The family that a refusal points to. Only a refusal of the form counts, never words in an answer."""
    made = answered.observation
    if made.status not in (400, 404) or made.failure is None:
        return None
    other = told(answered.answer.body)
    return other if other is not family else None


async def _call(api: ApiClient, request: ProbeRequest, family: Family) -> Answered:
    make = (_ZERO if request.inference_mode == "zero_token" else _SMALLEST)[family]
    model = request.target.model or ""
    return await observe(api, request, lambda caller: make(caller, model))


_Make = Callable[[Caller, str], Awaitable[Any]]
_PING = "ping"

# `max_completion_tokens`, because reasoning models refuse `max_tokens`. 16 is the least that /responses accepts.
_SMALLEST: dict[Family, _Make] = {
    Family.CHAT: lambda caller, model: caller.chat(
        model=model, messages=[{"role": "user", "content": _PING}], max_completion_tokens=16
    ),
    Family.RESPONSES: lambda caller, model: caller.respond(
        model=model,
        input=_PING,
        max_output_tokens=16,
        store=False,
        **({"truncation": "auto"} if "computer-use" in model else {}),  # it accepts no other
    ),
    Family.EMBEDDINGS: lambda caller, model: caller.embed(model=model, input=_PING),
    Family.COMPLETIONS: lambda caller, model: caller.complete(model=model, prompt=_PING, max_tokens=1),
}

# Refused for its form after key, project, model and limits were looked at: it costs a request and no token.
_ZERO: dict[Family, _Make] = {
    Family.CHAT: lambda caller, model: caller.chat(
        model=model, messages=[{"role": "user", "content": [{"text": _PING}]}], max_completion_tokens=16
    ),
    Family.RESPONSES: lambda caller, model: caller.respond(model=model, input=_PING, max_output_tokens=1, store=False),
    Family.EMBEDDINGS: lambda caller, model: caller.embed(model=model, input=[]),
    Family.COMPLETIONS: lambda caller, model: caller.complete(model=model, prompt=_PING, max_tokens=-1),
}


def _judged(request: ProbeRequest, answered: Answered) -> Observation:
    made = answered.observation
    if made.verdict is Verdict.OK:
        return replace(made, tokens=_tokens(answered.answer.body))
    if made.failure is not FailureKind.CLIENT_BAD_REQUEST or made.status != 400:
        return made
    if b"model output limit was reached" in answered.answer.body:
        return replace(_good(made), hint="the model answered, and the answer did not fit into 16 tokens")
    # The bare refusal could come from a form check at the door; the headers show that it was looked at for this project.
    if request.inference_mode == "zero_token" and (made.limits or made.project_echo):
        good = replace(_good(made), hint="asked without using a token: proves access, not money")
        return asserted(good, request.project_id)
    return made


def _tokens(body: bytes) -> int:
    """Tokens that a good answer says it used; 0 where it does not say."""
    try:
        used = json.loads(body)["usage"]["total_tokens"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return 0
    return used if type(used) is int and 0 <= used < 10**9 else 0
