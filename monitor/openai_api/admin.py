"""The one client that may carry an admin key. It sends GET to `/organization/…` and nothing else: its transport refuses everything
else before a byte leaves.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

import httpx2
import openai

from monitor.domain.classify import classify
from monitor.domain.observation import Classification, TransportFault
from monitor.domain.redact import clean, redact
from monitor.domain.taxonomy import KINDS, FailureKind
from monitor.openai_api.client import UNSAID, USER_AGENT, Sdk
from monitor.openai_api.observe import without
from monitor.openai_api.transport import AiohttpTransport, NotedTransport
from monitor.openai_api.wire import CURRENT, Exchange
from monitor.secrets import Secret

MAX_BODY = 16 * 1024 * 1024
"""Bytes of one answer: a page of a hundred keys takes 60 KB, an hour of a large organization's usage by the minute some MB."""


class Unreadable(Exception):  # noqa: N818 - it says what the answer was
    """A part that cannot be read now; the text says why, in words that may be stored and shown."""

    def __init__(
        self, reason: str, *, absent: bool = False, again: bool = False, many: bool = False, retry_after: float | None = None
    ) -> None:
        super().__init__(reason)
        self.absent = absent
        """OpenAI says that there is no such thing (404)."""
        self.again = again
        """Asking again soon may help."""
        self.many = many
        """OpenAI says that there are too many requests (429)."""
        self.retry_after = retry_after
        """Seconds to wait, where the answer said so."""


Ask = Callable[[str, Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
"""Asks for a path below `/organization`, with its parameters, and gives the JSON object. Raises `Unreadable`."""


class ReadOnlyTransport(httpx2.AsyncBaseTransport):
    """Lets GET below one path through and refuses the rest: no defect above it can change anything or take the key elsewhere."""

    def __init__(self, inner: httpx2.AsyncBaseTransport, root: str) -> None:
        """`root` is scheme, host and path of what may be read, such as `https://api.openai.com/v1/organization`."""
        self._inner = inner
        self._root = httpx2.URL(root + "/")

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request that reads the record. Raises `PermissionError` for any other, unsent."""
        url, root = request.url, self._root
        here = (url.scheme, url.host, url.port) == (root.scheme, root.host, root.port)
        if request.method != "GET" or not here or not url.path.startswith(root.path) or "/../" in url.path:
            raise PermissionError(f"{request.method} is not for reading the organization's record")
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        """Close the transport within."""
        await self._inner.aclose()


class AdminClient:
    """Reads what lies below `/organization` with an admin key. An async context manager.

    `secret` gives the admin key as it is now, so that a rotated one is taken without a restart; lengths of time are as for probes.
    `transport` replaces the network.
    """

    def __init__(
        self,
        base_url: str,
        secret: Callable[[], Secret],
        *,
        organization: str | None = None,
        timeout: timedelta = timedelta(seconds=20),
        connect_timeout: timedelta = timedelta(seconds=5),
        deadline: timedelta = timedelta(seconds=40),
        max_body: int = MAX_BODY,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._base_url = base_url
        self._secret = secret
        self._organization = organization
        self._timeout = timeout.total_seconds()
        self._connect_timeout = connect_timeout.total_seconds()
        self._deadline = deadline.total_seconds()
        self._max_body = max_body
        self._transport = transport
        self._http: httpx2.AsyncClient | None = None
        self._sdk: openai.AsyncOpenAI | None = None
        self.requests = 0
        """How many were sent."""

    async def __aenter__(self) -> Self:
        limits = {"timeout": self._timeout, "connect_timeout": self._connect_timeout}
        inner: httpx2.AsyncBaseTransport = (
            NotedTransport(self._transport, max_body=self._max_body)
            if self._transport is not None
            else AiohttpTransport(**limits, max_body=self._max_body)
        )
        timeout = httpx2.Timeout(self._timeout, connect=self._connect_timeout)
        guarded = ReadOnlyTransport(inner, f"{self._base_url}/organization")
        self._http = httpx2.AsyncClient(transport=guarded, timeout=timeout, follow_redirects=False, trust_env=False)
        self._http.headers.clear()
        self._sdk = Sdk(
            api_key="",
            admin_api_key="",
            webhook_secret="",
            base_url=self._base_url,
            max_retries=0,
            timeout=timeout,
            http_client=self._http,
            default_headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **UNSAID},
        )
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._sdk = None
        if self._http is not None:
            await self._http.aclose()

    async def ask(self, path: str, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """`GET /organization/{path}` once; the JSON object. Raises `Unreadable`."""
        secret = self._secret()
        if secret.value is None:
            raise Unreadable(f"the admin key cannot be used: {secret.ref} {secret.problem}")
        assert self._sdk is not None, "to be used as a context manager"  # noqa: S101
        headers: dict[str, Any] = {
            "Authorization": f"Bearer {secret.value}",
            "OpenAI-Project": openai.omit,
            "OpenAI-Organization": self._organization if self._organization is not None else openai.omit,
        }
        exchange = Exchange()
        before = CURRENT.set(exchange)
        try:
            async with asyncio.timeout(self._deadline):
                self.requests += 1
                await self._sdk.get(
                    f"/organization/{path}",
                    cast_to=httpx2.Response,
                    options={"params": parameters, "headers": headers, "security": {"admin_api_key_auth": True}},
                )
        except TimeoutError:
            exchange.fault = TransportFault.DEADLINE
        except Exception as error:  # noqa: BLE001 - the exchange knows what happened; the SDK's words may hold the key
            if exchange.sent is None:
                exchange.fault, exchange.fault_text = TransportFault.ILLEGAL_REQUEST, type(error).__name__
        finally:
            CURRENT.reset(before)
        return _object(exchange, secret.value)


def _object(exchange: Exchange, secret: str) -> Mapping[str, Any]:
    """The JSON object of a good answer. Raises `Unreadable`."""
    answer = without(exchange.answer(), secret)
    meaning = classify(answer)
    if answer.status is None or answer.status >= 300 or answer.fault is not None:
        raise _unreadable(answer.status, meaning)
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Unreadable("the answer is no JSON object: is base_url OpenAI's?", again=True)
    return found


def _unreadable(status: int | None, meaning: Classification) -> Unreadable:
    kind = meaning.failure or FailureKind.UNKNOWN
    again = status in (408, 409, 429) or status is None or status >= 500
    told = {
        FailureKind.AUTH_INVALID_KEY: "the admin key is refused",
        FailureKind.AUTH_WRONG_ORGANIZATION: "the admin key belongs to another organization",
    }.get(kind)
    if kind is FailureKind.AUTH_MISSING_SCOPE:
        told = f"the admin key lacks {' and '.join(meaning.missing_scopes) or 'api.management.read'}"
    elif status == 404:
        told = "OpenAI knows no such thing"
    elif told is None:
        title = KINDS[kind].title
        told = f"{title[0].lower()}{title[1:]}" + (f" ({meaning.hint})" if meaning.hint else "")
    shown = f"{told} (HTTP {status})" if status is not None else told
    reason, wait = clean(redact(shown), 300), meaning.retry_after
    return Unreadable(reason, absent=status == 404, again=again, many=status == 429, retry_after=wait)
