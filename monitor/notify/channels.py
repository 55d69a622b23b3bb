"""The one door to Apprise, and through it to Slack, Teams, e-mail, PagerDuty, webhooks and the rest.

An Apprise URL is a secret: it is read where it lives for every message, so a rotated one needs no restart, and it shows in no
error, log or page.
"""

import logging
import re
from collections.abc import Iterable
from urllib.parse import unquote

from monitor.config import Settings
from monitor.domain.redact import redact
from monitor.notify import messages
from monitor.secrets import Secrets

DEADLINE = 20.0
"""Seconds for one message as a whole, whatever the service does."""
MAX_ERROR = 300


class Channels:
    """The configured channels."""

    def __init__(self, settings: Settings, secrets: Secrets) -> None:
        self._refs = {channel.name: channel.url for channel in settings.channels}
        self._secrets = secrets

    @property
    def names(self) -> tuple[str, ...]:
        """As configured."""
        return tuple(self._refs)

    def send(self, channel: str, subject: str, body: str) -> str | None:
        """Send one message; None if the service took it, else why not, in words that may be shown. Blocks; never raises."""
        ref = self._refs.get(channel)
        if ref is None:
            return "there is no such channel in the configuration any more"
        secret = self._secrets.resolve(ref)
        if secret.value is None:
            return f"{ref}: {secret.problem}"
        try:
            return _send(secret.value, subject, body)
        except Exception as error:  # noqa: BLE001 - 170 services by as many authors: whatever they raise, the others must be told
            return f"the service's plugin broke ({type(error).__name__})"


def test(settings: Settings, secrets: Secrets) -> list[tuple[str, str | None]]:
    """Send a test to every channel: its name, and None or why it did not arrive."""
    channels = Channels(settings, secrets)
    return [(name, channels.send(name, *messages.trial(name))) for name in channels.names]


def _send(url: str, subject: str, body: str) -> str | None:
    # Imported when there is something to send: 0.2 s and 22 MB that most processes never need.
    from apprise import Apprise, AppriseAsset, AppriseResultStatus, NotifyFormat, PersistentStoreMode

    _hush()
    asset = AppriseAsset(
        app_id="Monitor",
        app_desc="OpenAI project monitor",
        app_url="",
        storage_mode=PersistentStoreMode.MEMORY,
        service_timeout=DEADLINE,
        allow_templates=False,
    )
    door = Apprise(asset=asset)
    if not door.add(url) or len(door) != 1:
        return "is no Apprise URL; it looks like slack://… or mailto://…, see https://github.com/caronc/apprise/wiki"
    result = door.notify(body, subject, body_format=NotifyFormat.TEXT, timeout=DEADLINE, log_level=logging.WARNING)
    if result:
        return None
    if result.status is AppriseResultStatus.TIMEOUT:
        return f"no answer within {DEADLINE:.0f} seconds"
    return _shown((entry.message for entry in result.logs()), url)


def _hush() -> None:
    """Keep Apprise and its transport out of the log: they write whole URLs. What they warn of is returned instead."""
    apprise = logging.getLogger("apprise")
    apprise.setLevel(logging.WARNING)
    apprise.propagate = False
    if not apprise.handlers:
        apprise.addHandler(logging.NullHandler())
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # its retries name the path


def _shown(said: Iterable[str], url: str) -> str:
    """What the plugin said, without any part of the URL that could be a secret."""
    text = redact(" ".join(dict.fromkeys(" ".join(line.split()) for line in said)))
    rest = url.partition("://")[2]
    parts = {part for each in (rest, unquote(rest)) for part in re.split(r"[/:@?&=#,]+", each) if len(part) >= 4}
    for part in sorted(parts, key=len, reverse=True):
        text = text.replace(part, "…")
    return text[:MAX_ERROR] or "the service did not take it"
