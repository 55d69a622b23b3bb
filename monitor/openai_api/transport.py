"""The wire under the SDK: aiohttp behind httpx2's transport interface, with every way to fail told apart.

aiohttp takes half the CPU of the SDK's own transport and stays flat at high concurrency. The adapter that the SDK brings
reports refused connections, DNS and TLS failures as timeouts; this one says which it was.
"""

import errno
import re
import ssl
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx2

from monitor.domain.observation import TransportFault
from monitor.domain.redact import redact


class WireFault(httpx2.TransportError):
    """No answer, and why. Its text is the system's, never a part of the request; it carries no cause to be logged."""

    def __init__(self, fault: TransportFault, text: str = "") -> None:
        super().__init__(text)
        self.fault = fault


class AiohttpTransport(httpx2.AsyncBaseTransport):
    """One connection pool for all keys and hosts. Follows no redirect, keeps no cookie, reads no `.netrc`.

    A proxy named by the usual environment variables is used for hosts other than this machine, since behind one there is
    no other way out.
    """

    def __init__(self, *, connections: int, max_body: int, context: ssl.SSLContext | None = None) -> None:
        """`connections` at most to one host; `max_body` bytes of one answer, counted after decompression."""
        self._connections = connections
        self._max_body = max_body
        self._context = context
        self._session: aiohttp.ClientSession | None = None
        self._proxies = getproxies()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send, and read the whole answer. Raises `WireFault` where there is none, and nothing else but CancelledError."""
        timeout = request.extensions.get("timeout", {})
        with told_apart():
            async with self._open().request(
                request.method,
                str(request.url),
                headers=request.headers,
                data=await request.aread() or None,
                allow_redirects=False,
                auto_decompress=False,
                compress=False,
                proxy=self._proxy(request.url.scheme, request.url.host),
                timeout=aiohttp.ClientTimeout(sock_connect=timeout.get("connect"), sock_read=timeout.get("read")),
            ) as answer:
                body = await self._read(answer)
        headers = [pair for pair in answer.raw_headers if pair[0].lower() not in _ABOUT_THE_ENCODING]
        return httpx2.Response(answer.status, headers=headers, content=body, request=request)

    async def _read(self, answer: aiohttp.ClientResponse) -> bytes:
        chunks, size = [], 0
        async for chunk in answer.content.iter_any():
            size += len(chunk)
            if size > self._max_body:
                raise WireFault(TransportFault.BODY_TOO_LARGE, f"more than {self._max_body:,} bytes")
            chunks.append(chunk)
        body = b"".join(chunks)
        encoding = answer.headers.get("content-encoding", "").strip().lower()
        return body if encoding in ("", "identity") else self._inflated(body, encoding)

    def _inflated(self, body: bytes, encoding: str) -> bytes:
        """The body of a server that compresses although it was asked not to; a bomb is stopped at the cap."""
        if encoding not in ("gzip", "x-gzip", "deflate"):
            return body
        inflater = zlib.decompressobj(wbits=47 if "gzip" in encoding else 15)
        try:
            plain = inflater.decompress(body, self._max_body + 1)
        except zlib.error:
            return body
        if len(plain) > self._max_body:
            raise WireFault(TransportFault.BODY_TOO_LARGE, f"more than {self._max_body:,} bytes after decompression")
        return plain

    def _proxy(self, scheme: str, host: str) -> str | None:
        if not self._proxies or host in ("localhost", "::1") or host.startswith("127."):
            return None
        proxy = self._proxies.get(scheme) or self._proxies.get("all")
        return proxy if proxy and urlsplit(proxy).scheme in ("http", "https") and not proxy_bypass(host) else None

    def _open(self) -> aiohttp.ClientSession:
        # Made late: a session belongs to the loop that runs.
        if self._session is None or self._session.closed:
            connector = aiohttp.TCPConnector(
                limit=0,
                limit_per_host=self._connections,
                keepalive_timeout=120,  # longer than the longest default interval of `auth`: warm requests are measured
                ttl_dns_cache=30,
                ssl=self._context or httpx2.create_ssl_context(),
            )
            self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False)
        return self._session

    async def aclose(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()


_ABOUT_THE_ENCODING = (b"content-encoding", b"content-length", b"transfer-encoding")
"""Headers that speak of the body as it was on the wire; httpx2 would decode a second time."""


@contextmanager
def told_apart() -> Iterator[None]:
    """Turn whatever aiohttp raises into the one `WireFault` it means."""
    try:
        yield
    except WireFault:
        raise
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        # `from None`: the chain of an illegal header holds the whole key.
        raise _wire_fault(error) from None


def _wire_fault(error: Exception) -> WireFault:
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return WireFault(TransportFault.CONNECT_TIMEOUT)
    if isinstance(error, TimeoutError):
        return WireFault(TransportFault.READ_TIMEOUT)
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return WireFault(TransportFault.DNS, _text(error.os_error))
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        return WireFault(TransportFault.TLS, _text(getattr(error, "certificate_error", None) or getattr(error, "os_error", error)))
    if isinstance(error, aiohttp.ClientConnectorError):
        return _refused(error.os_error)
    if isinstance(error, aiohttp.InvalidURL):
        return WireFault(TransportFault.ILLEGAL_REQUEST, "the address is not one")
    if isinstance(error, aiohttp.ClientProxyConnectionError | aiohttp.ClientHttpProxyError):
        return WireFault(TransportFault.UNREACHABLE, "the proxy did not let it through")
    if isinstance(error, aiohttp.ClientResponseError):
        return WireFault(TransportFault.NOT_HTTP)
    if isinstance(error, aiohttp.ClientConnectionError | aiohttp.ClientPayloadError | OSError):
        return WireFault(TransportFault.RESET, _text(error) if isinstance(error, OSError) else "")
    if isinstance(error, ValueError):
        return WireFault(TransportFault.ILLEGAL_REQUEST, "a header holds what none may hold")
    return WireFault(TransportFault.RESET)


_NO_ROUTE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.EADDRNOTAVAIL)


def _refused(error: OSError) -> WireFault:
    """Why no connection was made. With several addresses the numbers stand only in the text."""
    numbers = {error.errno} if error.errno else {int(number) for number in re.findall(r"\[Errno (\d+)\]", str(error))}
    if errno.ECONNREFUSED in numbers:
        return WireFault(TransportFault.REFUSED, _text(error))
    if errno.ETIMEDOUT in numbers:
        return WireFault(TransportFault.CONNECT_TIMEOUT, _text(error))
    if errno.ECONNRESET in numbers:
        return WireFault(TransportFault.RESET, _text(error))
    return WireFault(TransportFault.UNREACHABLE, _text(error))


def _text(error: object) -> str:
    words = getattr(error, "strerror", None) or getattr(error, "verify_message", None) or str(error)
    return redact(str(words))[:200]
