"""The SDK made safe for watching: everything explicit, nothing ambient, one attempt per call, one pool for all keys."""

import os
from collections.abc import Awaitable, MutableMapping
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

import httpx2
import openai

from monitor.domain.inventory import KeyKind
from monitor.openai_api.transport import AiohttpTransport, NotedTransport


class UnusableKeyError(ValueError):
    """A secret that must not or cannot be sent. The text never holds any part of it."""


class Caller:
    """The SDK's methods that probes call, with the headers of one key and project. Every answer is raw: parsing the list of models
    would cost three times the call.
    """

    __slots__ = ("_headers", "_sdk")

    def __init__(self, sdk: openai.AsyncOpenAI, headers: dict[str, str]) -> None:
        self._sdk = sdk
        self._headers = headers

    def list_models(self) -> Awaitable[Any]:
        """`GET /models`."""
        return self._sdk.models.with_raw_response.list(extra_headers=self._headers)

    def retrieve_model(self, model: str) -> Awaitable[Any]:
        """`GET /models/{model}`."""
        return self._sdk.models.with_raw_response.retrieve(model, extra_headers=self._headers)

    def chat(self, **body: Any) -> Awaitable[Any]:
        """`POST /chat/completions`."""
        return self._sdk.chat.completions.with_raw_response.create(**body, extra_headers=self._headers)

    def complete(self, **body: Any) -> Awaitable[Any]:
        """`POST /completions`, which the oldest models still need."""
        return self._sdk.completions.with_raw_response.create(**body, extra_headers=self._headers)

    def embed(self, **body: Any) -> Awaitable[Any]:
        """`POST /embeddings`."""
        return self._sdk.embeddings.with_raw_response.create(**body, extra_headers=self._headers)

    def respond(self, **body: Any) -> Awaitable[Any]:
        """`POST /responses`."""
        return self._sdk.responses.with_raw_response.create(**body, extra_headers=self._headers)


class ApiClient:
    """Hands out callers, which share one pool of connections and one client of the SDK per host: two thousand of those would keep
    Python's garbage collector busy for a third of the time. An async context manager.

    `timeout` is for one read, `connect_timeout` for name, TCP and TLS together, `deadline` for a whole probe; `max_body` is in
    bytes. `transport` replaces the network, e.g. by the emulator in process.
    """

    def __init__(
        self,
        *,
        timeout: timedelta = timedelta(seconds=10),
        connect_timeout: timedelta = timedelta(seconds=3),
        deadline: timedelta = timedelta(seconds=15),
        max_body: int = 1024 * 1024,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self.deadline = deadline.total_seconds()
        """Seconds that one probe may take as a whole."""
        self.families: dict[tuple[str, str], str] = {}
        """Endpoint families that answers taught, by base URL and model."""
        self._timeout = timeout.total_seconds()
        self._connect_timeout = connect_timeout.total_seconds()
        self._max_body = max_body
        self._transport = transport
        self._http: httpx2.AsyncClient | None = None
        self._sdks: dict[str, openai.AsyncOpenAI] = {}

    async def __aenter__(self) -> Self:
        self._http = httpx2.AsyncClient(
            transport=self._made_transport(),
            timeout=httpx2.Timeout(self._timeout, connect=self._connect_timeout),
            follow_redirects=False,  # a redirect must be seen, and a key must not follow it to another host
            trust_env=False,
        )
        self._http.headers.clear()  # the SDK has its own; overriding the ones here costs time with every request
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._sdks.clear()
        if self._http is not None:
            await self._http.aclose()

    def _made_transport(self) -> httpx2.AsyncBaseTransport:
        if self._transport is not None:
            return NotedTransport(self._transport, max_body=self._max_body)
        return AiohttpTransport(timeout=self._timeout, connect_timeout=self._connect_timeout, max_body=self._max_body)

    def caller(self, base_url: str, secret: str | None, project_id: str | None = None, organization: str | None = None) -> Caller:
        """The caller for one key; without `secret` one that sends no credentials.

        Raises UnusableKeyError for an admin key, which must never reach these endpoints, and for what no header may hold.
        """
        _check_header(secret, "the key")
        _check_header(project_id, "the project's id")
        _check_header(organization, "the organization's id")
        if secret is not None and KeyKind.hinted_by(secret) is KeyKind.ADMIN:
            raise UnusableKeyError("an admin key is never sent to these endpoints; monitor a project key instead")
        # With the call they beat whatever the client has, such as OPENAI_CUSTOM_HEADERS, which may replace the key.
        headers: dict[str, Any] = {
            "Authorization": f"Bearer {secret}" if secret is not None else openai.omit,
            "OpenAI-Project": project_id if project_id is not None else openai.omit,
            "OpenAI-Organization": organization if organization is not None else openai.omit,
        }
        return Caller(self._sdks.get(base_url) or self._sdk(base_url), headers)

    def _sdk(self, base_url: str) -> openai.AsyncOpenAI:
        made = self._sdks[base_url] = Sdk(
            # Empty, so that a call without a key of its own is refused by the SDK and never sent with another's.
            api_key="",
            admin_api_key="",
            webhook_secret="",
            base_url=base_url,
            max_retries=0,
            timeout=httpx2.Timeout(self._timeout, connect=self._connect_timeout),
            http_client=self._http,
            default_headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **UNSAID},
        )
        return made


UNSAID: dict[str, Any] = dict.fromkeys(
    (
        "X-Stainless-Arch",
        "X-Stainless-Async",
        "X-Stainless-Lang",
        "X-Stainless-OS",
        "X-Stainless-Package-Version",
        "X-Stainless-Runtime",
        "X-Stainless-Runtime-Version",
    ),
    openai.omit,
)
"""What the SDK tells of this machine with every request. Nobody needs it, and handling it costs a tenth of the call."""


USER_AGENT = f"AsyncOpenAI/Python {openai.__version__}"
"""That of the applications: whoever filters by it on the way shall treat us like them."""


class Sdk(openai.AsyncOpenAI):
    """The SDK's client without the thread that its first call takes to ask for the operating system's name.

    Where names are not resolved, the threads are busy with that, and the first check of each key would wait for one.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._platform = "Unknown"


def _check_header(value: str | None, what: str) -> None:
    if value is None:
        return
    if not value:
        raise UnusableKeyError(f"{what} is empty")
    if not (value.isascii() and value.isprintable()) or value != value.strip():
        raise UnusableKeyError(f"{what} has spaces around it, control characters or letters that no header may hold")


def scrub_environment(environ: MutableMapping[str, str] = os.environ) -> tuple[str, ...]:
    """Remove every `OPENAI_…` variable, so that the SDK cannot pick one up; return their names.

    Call it after the settings and the environment's secrets were copied: they may have such names.
    """
    names = tuple(name for name in environ if name.upper().startswith("OPENAI_"))
    for name in names:
        del environ[name]
    return names
