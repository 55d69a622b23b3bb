"""Control experiments, asked: each one request through the probes' harness. What they mean is `domain.differential`'s matter."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from monitor.domain import differential
from monitor.domain.diagnosis import Context, Diagnosis, context_of
from monitor.domain.differential import ExperimentKind, ExperimentResult, KeyFacts, Landscape, alias_of, conclude, plan
from monitor.domain.inventory import ProbeKind, Target
from monitor.domain.observation import Observation
from monitor.domain.taxonomy import FailureKind
from monitor.openai_api.client import ApiClient
from monitor.openai_api.observe import ProbeRequest
from monitor.openai_api.probes import PROBES

_X = ExperimentKind


async def run(
    client: ApiClient,
    base: ProbeRequest,
    kinds: Iterable[ExperimentKind],
    known_good: ProbeRequest | None = None,
    *,
    named_host: str | None = None,
    model: str | None = None,
) -> tuple[ExperimentResult, ...]:
    """Ask these questions about the failed request `base`, all at once; raises nothing but CancelledError.

    `known_good` is a request of another project that succeeds; it is borrowed only where it goes to the same base URL. `named_host`
    is the base URL that `differential.named_host` read out of the refusal, `model` the one to call where `base` names none. A call
    is a second request where the model's endpoint is not known yet. The results move no health: they belong to the incident.
    """
    asked = base.target.model or model

    async def ask(kind: ExperimentKind) -> ExperimentResult:
        request = _request(kind, base, known_good, named_host, asked)
        seen: Observation | None = await PROBES[request.target.probe](client, request) if request else None
        return ExperimentResult(kind, seen, base.at)

    return tuple(await asyncio.gather(*(ask(kind) for kind in dict.fromkeys(kinds))))


def _request(
    kind: ExperimentKind, base: ProbeRequest, known_good: ProbeRequest | None, named_host: str | None, model: str | None
) -> ProbeRequest | None:
    """The question that an experiment asks; None where it cannot be asked."""
    if known_good is not None and (known_good.base_url != base.base_url or known_good.secret is None):
        known_good = None  # a key never goes to a host that it is not configured for
    if kind is _X.CONTROL:
        return replace(base, target=Target(ProbeKind.CONTROL, host=base.base_url))
    if kind in (_X.OTHER_KEY, _X.LOOK_UP_ELSEWHERE, _X.CALL_ELSEWHERE):
        if known_good is None:
            return None
        other = replace(known_good, at=base.at)
        if kind is _X.OTHER_KEY:
            return _as(other, ProbeKind.AUTH, None)
        wanted = (known_good.target.model or model) if kind is _X.CALL_ELSEWHERE else model
        probe = ProbeKind.INFERENCE if kind is _X.CALL_ELSEWHERE else ProbeKind.MODEL_ACCESS
        return _as(other, probe, wanted) if wanted else None
    if base.secret is None:
        return None
    match kind:
        case _X.WITHOUT_HEADERS:
            return replace(base, project_id=None, organization=None)
        case _X.LISTING:
            return _as(base, ProbeKind.AUTH, None)
        case _X.NAMED_HOST:
            return replace(_as(base, ProbeKind.AUTH, None), base_url=named_host) if named_host and is_official(named_host) else None
        case _X.OTHER_NAME:
            alias = alias_of(model) if model else None
            return _as(base, ProbeKind.MODEL_ACCESS, alias) if alias else None
        case _:
            probe = ProbeKind.INFERENCE if kind is _X.CALL else ProbeKind.MODEL_ACCESS
            return _as(base, probe, model) if model else None


def _as(request: ProbeRequest, probe: ProbeKind, model: str | None) -> ProbeRequest:
    return replace(request, target=replace(request.target, probe=probe, model=model))


def is_official(base_url: str) -> bool:
    """Whether a base URL is OpenAI's own, of any region."""
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    return parts.scheme == "https" and (host == "api.openai.com" or host.endswith(".api.openai.com"))


async def investigate(
    client: ApiClient,
    kind: FailureKind,
    seen: Observation,
    base: ProbeRequest,
    known_good: ProbeRequest | None = None,
    context: Context | None = None,
    **known: Any,
) -> tuple[Diagnosis, tuple[ExperimentResult, ...]]:
    """Plan, run and conclude: the sharpened diagnosis of `seen`, the answer to `base`, and what it rests on.

    `known` are fields of `Landscape` that the requests do not show. Set `base.at` to now: the results carry it. Calls that would
    tell more but may not be paid for are told as not asked.
    """
    land = landscape(base, known_good, **known)
    kinds = plan(kind, seen, land)
    results = await run(client, base, kinds, known_good, named_host=differential.named_host(seen), model=land.model)
    if known.get("may_spend") is False:
        wanted = plan(kind, seen, replace(land, may_spend=True))
        results += tuple(ExperimentResult(each, None, base.at) for each in wanted if each not in kinds)
    return conclude(kind, seen, results, land, context or context_of(seen, at=seen.at, now=base.at)), results


def landscape(base: ProbeRequest, known_good: ProbeRequest | None = None, **known: Any) -> Landscape:
    """What the requests themselves say of the landscape; `known` are further fields of it."""
    usable = known_good if known_good and known_good.secret and known_good.base_url == base.base_url else None
    facts: dict[str, Any] = {
        "sends_project": base.project_id is not None,
        "sends_organization": base.organization is not None,
        "key": KeyFacts.of(base.secret) if base.secret else None,
        "other_key": KeyFacts.of(usable.secret) if usable and usable.secret else None,
        "other_project": usable.target.project if usable else None,
        "official": is_official(base.base_url),
    }
    return Landscape(**(facts | known))
