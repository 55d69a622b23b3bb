"""The proxy to go through, from HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY, as the SDK and curl would.

The monitor takes the road that the applications take. Loopback never goes through a proxy.
"""

import urllib.request
from functools import lru_cache
from ipaddress import ip_address


class Proxies:
    """Which proxy serves which host; fixed when the client is made."""

    def __init__(self, proxies: dict[str, str]) -> None:
        self._proxies = proxies
        self.of = lru_cache(maxsize=1024)(self._of) if proxies else _none
        """The proxy for a scheme and a host, or None for a direct connection."""

    @classmethod
    def from_environment(cls) -> "Proxies":
        """The proxies that the environment names."""
        found = urllib.request.getproxies_environment()
        return cls({name: url for name, url in found.items() if name in ("http", "https", "all", "no") and url})

    def _of(self, scheme: str, host: str) -> str | None:
        if _is_loopback(host) or _bypassed(host, self._proxies):
            return None
        proxy = self._proxies.get(scheme) or self._proxies.get("all")
        return None if proxy is None else proxy if "://" in proxy else f"http://{proxy}"


def _bypassed(host: str, proxies: dict[str, str]) -> bool:
    # In the standard library and documented in its source, but missing in the type stubs.
    return bool(urllib.request.proxy_bypass_environment(host, proxies))  # type: ignore[attr-defined]


def _none(scheme: str, host: str) -> str | None:  # noqa: ARG001 - the shape of `of`
    return None


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
