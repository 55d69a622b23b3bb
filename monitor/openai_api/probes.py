"""The probes: one function per kind of question. A probe asks; `observe` bounds, times and classifies."""

from collections.abc import Awaitable, Callable

from monitor.domain.inventory import ProbeKind
from monitor.domain.observation import Observation, Verdict
from monitor.domain.taxonomy import KINDS, FailureKind
from monitor.openai_api.client import ApiClient
from monitor.openai_api.observe import ProbeRequest, observe

Probe = Callable[[ApiClient, ProbeRequest], Awaitable[Observation]]
"""Asks one question of one target. Raises nothing but CancelledError."""


def not_sent(request: ProbeRequest) -> Observation:
    """The observation of a target whose secret cannot be read: nothing is sent."""
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


async def auth(api: ApiClient, request: ProbeRequest) -> Observation:
    """List the models with the key: free, and it proves the key. The list is not parsed: that costs three times the call."""
    if request.secret is None:
        return not_sent(request)
    return await observe(api, request, lambda client: client.models.with_raw_response.list())


async def model_access(api: ApiClient, request: ProbeRequest) -> Observation:
    """Look up one model: free."""
    if request.secret is None:
        return not_sent(request)
    model = request.target.model or ""
    return await observe(api, request, lambda client: client.models.with_raw_response.retrieve(model))


PROBES: dict[ProbeKind, Probe] = {
    ProbeKind.AUTH: auth,
    ProbeKind.MODEL_ACCESS: model_access,
}
