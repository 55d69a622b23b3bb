"""The SDK made safe for a monitor: everything explicit, nothing ambient, one attempt, one pool for all keys."""

import os
from collections import OrderedDict
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

import httpx2
import openai

from monitor.openai_api.transport import AiohttpTransport

_KEPT = 20_000
"""Clients kept; each takes about 2 KB. Rotated keys leave old ones behind, the oldest go first."""


def scrub_environment() -> list[str]:
    """Remove every `OPENAI_*` variable from this process; gives the names.

    The SDK applies them to each client: a stray project id would turn every other key red, and an `Authorization` line in
    `OPENAI_CUSTOM_HEADERS` would replace every key, so that a dead one looks healthy.
    """
    names = [name for name in os.environ if name.startswith("OPENAI_")]
    for name in names:
        del os.environ[name]
    return names


class AdminKeyRefused(ValueError):
    """An admin key opens the whole organization; it is never sent where a project's key belongs."""


class _Sdk(openai.AsyncOpenAI):
    """The SDK's client without its first-call thread, which asks for the name of the operating system."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._platform = "Unknown"


class Caller:
    """The SDK bound to one key, project and host, with the methods that probes call."""

    __slots__ = ("chat", "embed", "list_models", "respond", "retrieve_model")

    def __init__(self, sdk: openai.AsyncOpenAI) -> None:
        # Raw responses: parsing the model list costs three times the call. Bound once: the SDK wraps them anew at each access.
        self.list_models = sdk.models.with_raw_response.list
        self.retrieve_model = sdk.models.with_raw_response.retrieve
        self.chat = sdk.chat.completions.with_raw_response.create
        self.embed = sdk.embeddings.with_raw_response.create
        self.respond = sdk.responses.with_raw_response.create


class ApiClient:
    """Makes callers, one for each key, that share one connection pool. An async context manager."""

    def __init__(
        self,
        *,
        timeout: timedelta = timedelta(seconds=10),
        connect_timeout: timedelta = timedelta(seconds=3),
        deadline: timedelta = timedelta(seconds=15),
        max_body: int = 1024 * 1024,
        connections: int = 128,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        """`timeout` is for one read, `deadline` for a whole probe. Another `transport` serves an endpoint within the process."""
        self.deadline = deadline.total_seconds()
        self._http = httpx2.AsyncClient(
            transport=transport or AiohttpTransport(connections=connections, max_body=max_body),
            timeout=httpx2.Timeout(timeout.total_seconds(), connect=connect_timeout.total_seconds()),
            follow_redirects=False,
            trust_env=False,
        )
        self._callers: OrderedDict[tuple[str | None, str | None, str | None, str], Caller] = OrderedDict()

    def caller(self, *, secret: str | None, base_url: str, project: str | None = None, organization: str | None = None) -> Caller:
        """The caller for a key; `secret` None sends no key at all. Raises `AdminKeyRefused`."""
        who = (secret, project, organization, base_url)
        found = self._callers.get(who)
        if found is None:
            found = self._callers[who] = Caller(self._sdk(secret, base_url, project, organization))
            if len(self._callers) > _KEPT:
                self._callers.popitem(last=False)
        return found

    def _sdk(self, secret: str | None, base_url: str, project: str | None, organization: str | None) -> openai.AsyncOpenAI:
        if secret is not None and secret.startswith("sk-admin-"):
            raise AdminKeyRefused("an admin key is not sent to this endpoint")
        return _Sdk(
            api_key=secret or "none",
            admin_api_key="",
            base_url=base_url,
            organization=organization,
            project=project,
            max_retries=0,
            http_client=self._http,
            default_headers={
                # Explicit, though the SDK would send the same: what is passed here beats OPENAI_CUSTOM_HEADERS.
                "Authorization": f"Bearer {secret}" if secret else openai.omit,
                "OpenAI-Project": project if project else openai.omit,
                "OpenAI-Organization": organization if organization else openai.omit,
                "Accept-Encoding": "identity",
            },
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._http.aclose()
