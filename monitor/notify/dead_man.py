"""The dead man's switch: a URL that is asked as long as the monitor lives, so that somebody else notices when it does not."""

import asyncio
import urllib.error
import urllib.request
from datetime import timedelta
from urllib.parse import urlsplit

from monitor import __version__
from monitor.secrets import Secrets

EVERY = timedelta(seconds=60)
TIMEOUT = 10.0
"""Seconds, to connect and for each read."""


async def ping(ref: str, secrets: Secrets) -> str | None:
    """Ask the URL behind `ref` once; None, or why that failed, without the URL: who knows it can keep us alive."""
    secret = secrets.resolve(ref)
    if secret.value is None:
        return f"{ref}: {secret.problem}"
    try:
        async with asyncio.timeout(2 * TIMEOUT):
            return await asyncio.to_thread(_get, secret.value)
    except TimeoutError:
        return f"no answer within {2 * TIMEOUT:.0f} seconds"


def _get(url: str) -> str | None:
    if urlsplit(url).scheme not in ("http", "https"):
        return "is no URL that begins with https:// (or http://)"
    request = urllib.request.Request(url, headers={"User-Agent": f"openai-project-monitor/{__version__}"})  # noqa: S310 - looked at above
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT):  # noqa: S310
            return None
    except urllib.error.HTTPError as error:
        return f"answered {error.code}"
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None)
        return f"could not be reached ({type(reason if isinstance(reason, Exception) else error).__name__})"
