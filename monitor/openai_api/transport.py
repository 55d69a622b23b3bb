"""The transports under the SDK: aiohttp for the network, a wrapper for any other (the emulator in process).

aiohttp takes half the CPU of httpx2's own transport and stays flat with hundreds of calls in flight. The SDK's adapter for it
reports a refused connection, an unknown name and a bad certificate as timeouts; this one tells them apart.
"""

import asyncio
from collections.abc import Awaitable, Callable

import aiohttp
import httpx2

from monitor.openai_api.faults import fault_of
from monitor.openai_api.proxies import Proxies
from monitor.openai_api.wire import CURRENT, Body, Exchange, find

KEEPALIVE = 120.0
"""Seconds an idle connection is kept: longer than a minute, so that the check of a minute ago has left one open."""
DNS_TTL = 60
"""Seconds. OpenAI's names live five minutes; a moved regional host is noticed within one."""
MAX_HEADER = 64 * 1024
"""Bytes of one header line. Captive portals send policies longer than aiohttp's default of 8 KB."""


class AiohttpTransport(httpx2.AsyncBaseTransport):
    """Sends with aiohttp: one pool for all keys, no cookies, no redirects, no `.netrc`, proxies from the environment.

    Make it while the loop runs that it serves.
    """

    def __init__(self, *, timeout: float, connect_timeout: float, max_body: int) -> None:
        """`timeout` is for one read, in seconds; `connect_timeout` for name, TCP and TLS together."""
        self._max_body = max_body
        self._proxies = Proxies.from_environment()
        # Not `sock_connect` alone: it does not cover a resolver that hangs.
        self._timeout = aiohttp.ClientTimeout(connect=connect_timeout, sock_read=timeout)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,  # the poller bounds concurrency per host; waiting here would count as latency
                keepalive_timeout=KEEPALIVE,
                ttl_dns_cache=DNS_TTL,
                ssl=httpx2.create_ssl_context(),  # the operating system's trust store, or SSL_CERT_FILE
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,  # aiohttp would also send what it finds in ~/.netrc
            skip_auto_headers=("User-Agent", "Accept-Encoding"),
            max_line_size=MAX_HEADER,
            max_field_size=MAX_HEADER,
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send `request` and read the whole answer."""
        return await _noted(request, self._send)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._session.close()

    async def _send(self, request: httpx2.Request, exchange: Exchange) -> None:
        url = request.url
        response = await self._session.request(
            request.method,
            str(url),
            headers=[(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw],
            data=request.content or None,
            allow_redirects=False,
            timeout=self._timeout,
            proxy=self._proxies.of(url.scheme, url.host),
        )
        try:
            exchange.status = response.status
            exchange.headers = response.raw_headers
            body = Body(find(exchange.headers, b"content-encoding"), self._max_body)
            try:
                while chunk := await response.content.readany():
                    body.feed(chunk)
            finally:
                exchange.body = body.taken()
        except BaseException:
            response.close()  # the rest is not wanted: releasing would read on to keep the connection
            raise
        response.release()


class NotedTransport(httpx2.AsyncBaseTransport):
    """Any httpx2 transport, with what goes over it noted."""

    def __init__(self, inner: httpx2.AsyncBaseTransport, *, max_body: int) -> None:
        self._inner = inner
        self._max_body = max_body

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send `request` and read the whole answer."""
        return await _noted(request, self._send)

    async def aclose(self) -> None:
        """Close the transport within."""
        await self._inner.aclose()

    async def _send(self, request: httpx2.Request, exchange: Exchange) -> None:
        response = await self._inner.handle_async_request(request)
        try:
            exchange.status = response.status_code
            exchange.headers = tuple(response.headers.raw)
            body = Body(find(exchange.headers, b"content-encoding"), self._max_body)
            try:
                async for chunk in response.stream:  # type: ignore[union-attr]
                    body.feed(chunk)
            finally:
                exchange.body = body.taken()
        finally:
            await response.aclose()


async def _noted(request: httpx2.Request, send: Callable[[httpx2.Request, Exchange], Awaitable[None]]) -> httpx2.Response:
    """Send; note the answer or the fault; give the SDK its status.

    Whatever goes wrong leaves as a bare `TransportError`, without text and without a cause that somebody might print: the cause of
    an illegal header holds the whole key.
    """
    exchange = CURRENT.get() or Exchange()
    clock = asyncio.get_running_loop().time
    exchange.endpoint = f"{request.method} {request.url.path}"
    exchange.sent = clock()
    try:
        await send(request, exchange)
    except Exception as error:  # noqa: BLE001 - whatever the library below raises is a fault of the wire
        exchange.fault, exchange.fault_text = fault_of(error)
    finally:
        exchange.ended = clock()
    if exchange.fault is not None:
        raise httpx2.TransportError(exchange.fault.value)
    assert exchange.status is not None  # noqa: S101 - set where there is no fault
    # The harness reads the exchange. The SDK gets the status alone: it would parse errors once more, keep cookies, and know more of
    # an answer than it needs.
    return httpx2.Response(exchange.status, request=request)


def in_process(app: Callable[..., Awaitable[None]]) -> httpx2.AsyncBaseTransport:
    """A transport that calls an ASGI application instead of a network: for tests and for the sample organization's past."""
    return httpx2.ASGITransport(app)
