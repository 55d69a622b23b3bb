"""Why no whole answer came, read from the exceptions of the libraries below.

Only types and error numbers are read. The texts of libraries name hosts, proxies and, for an illegal header, the whole key.
"""

import errno
import os
import socket
import ssl
from collections.abc import Callable
from typing import Any

import aiohttp
import httpx2

from monitor.domain.observation import TransportFault
from monitor.openai_api.wire import WireFault

Found = tuple[TransportFault, str | None]
"""The fault, and the operating system's words for it."""


def fault_of(error: BaseException) -> Found:
    """What `error`, or what caused it, says of the wire. The first clear word of the chain counts."""
    seen: set[int] = set()
    cause: BaseException | None = error
    vague: Found | None = None
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        found = _read(cause)
        if found is not None and found[0] not in _VAGUE:
            return found
        vague = vague or found
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return vague or (TransportFault.RESET, type(error).__name__)


_VAGUE = frozenset({TransportFault.UNREACHABLE, TransportFault.RESET})
"""Said by wrappers; the cause below may know better."""

_BY_NUMBER = {
    errno.ECONNREFUSED: TransportFault.REFUSED,
    errno.ECONNRESET: TransportFault.RESET,
    errno.ECONNABORTED: TransportFault.RESET,
    errno.EPIPE: TransportFault.RESET,
    errno.ETIMEDOUT: TransportFault.CONNECT_TIMEOUT,
}


def _numbered(error: OSError) -> Found:
    if error.errno is None:
        return TransportFault.UNREACHABLE, None
    return _BY_NUMBER.get(error.errno, TransportFault.UNREACHABLE), os.strerror(error.errno)


_RESOLVER = {
    socket.EAI_NONAME: "Name or service not known",
    socket.EAI_AGAIN: "Temporary failure in name resolution",
    socket.EAI_FAIL: "Non-recoverable failure in name resolution",
}


def _name(error: OSError) -> Found:
    return TransportFault.DNS, _RESOLVER.get(error.errno or 0, "the resolver failed")


def _tls(error: BaseException) -> Found:
    """With OpenSSL's reason, such as `self-signed certificate` or `wrong version number`."""
    reason = getattr(error, "verify_message", None) or getattr(error, "reason", None)
    return TransportFault.TLS, str(reason).replace("_", " ").lower() if reason else None


def _connecting(error: aiohttp.ClientConnectorError) -> Found:
    return _read(error.os_error) or (TransportFault.UNREACHABLE, None)


def _certificate(error: aiohttp.ClientConnectorCertificateError) -> Found:
    return _tls(error.certificate_error)


def _proxy(error: aiohttp.ClientProxyConnectionError) -> Found:
    fault, words = _connecting(error)
    return fault, f"the proxy: {words or 'cannot connect'}"


def _proxy_answer(error: aiohttp.ClientHttpProxyError) -> Found:
    return TransportFault.UNREACHABLE, f"the proxy answered {error.status}"


def _just(fault: TransportFault, words: str | None = None) -> Callable[[BaseException], Found]:
    return lambda _: (fault, words)


_CUT = _just(TransportFault.RESET, "the connection was closed before the answer ended")

_TABLE: tuple[tuple[tuple[type[BaseException], ...], Callable[[Any], Found]], ...] = (
    # The first row whose types fit counts: the narrow ones stand before the wide.
    ((WireFault,), lambda error: (error.fault, error.text)),
    ((aiohttp.ClientConnectorDNSError,), lambda error: _name(error.os_error)),
    ((socket.gaierror,), _name),
    ((aiohttp.ClientConnectorCertificateError,), _certificate),
    ((aiohttp.ClientSSLError,), lambda error: _tls(error.os_error)),
    ((ssl.SSLError, ssl.CertificateError), _tls),
    ((aiohttp.ConnectionTimeoutError, httpx2.ConnectTimeout, httpx2.PoolTimeout), _just(TransportFault.CONNECT_TIMEOUT)),
    ((aiohttp.ServerTimeoutError, httpx2.TimeoutException), _just(TransportFault.READ_TIMEOUT)),
    ((aiohttp.ClientHttpProxyError,), _proxy_answer),
    ((aiohttp.ClientProxyConnectionError,), _proxy),
    ((aiohttp.ClientConnectorError,), _connecting),
    ((aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError), _CUT),
    (
        (aiohttp.InvalidURL, httpx2.InvalidURL, httpx2.UnsupportedProtocol),
        _just(TransportFault.ILLEGAL_REQUEST, "the address cannot be used"),
    ),
    (
        (UnicodeError,),
        _just(TransportFault.DNS, "no host can have this name"),
    ),  # from the codec of names: a label too long or empty
    ((aiohttp.ClientResponseError, httpx2.RemoteProtocolError), _just(TransportFault.NOT_HTTP)),
    ((httpx2.LocalProtocolError, ValueError), _just(TransportFault.ILLEGAL_REQUEST, "a header holds what no header may hold")),
    ((TimeoutError,), lambda error: _numbered(error) if error.errno else (TransportFault.READ_TIMEOUT, None)),
    ((httpx2.ConnectError,), _just(TransportFault.UNREACHABLE)),
    ((httpx2.TransportError,), _just(TransportFault.RESET)),
    ((OSError,), _numbered),
)


def _read(error: BaseException) -> Found | None:
    """What this one exception says, or None where it says nothing."""
    return next((read(error) for types, read in _TABLE if isinstance(error, types)), None)
