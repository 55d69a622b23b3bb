"""Whether an admin key opens the organization's record, and until when: one light question, for `doctor`."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from monitor.config import OrganizationSettings
from monitor.domain.coverage import match
from monitor.domain.organization import ItemKind
from monitor.openai_api.admin import Unreadable
from monitor.openai_api.organization import ORGANIZATION_PARTS, read
from monitor.organization_keeper import admin_client
from monitor.secrets import Secrets

if TYPE_CHECKING:
    from httpx2 import AsyncBaseTransport


@dataclass(frozen=True, slots=True)
class Examined:
    """What the record answered. Whether the key may also write is told by no answer."""

    problem: str | None = None
    """Why it cannot be read, in words."""
    name: str | None = None
    """Of the key on the record, where it is recognised."""
    expires_at: datetime | None = None
    """None where it never expires, or where it is not recognised."""


async def examine(settings: OrganizationSettings, secrets: Secrets, transport: "AsyncBaseTransport | None" = None) -> Examined:
    """Ask for the list of admin keys, and look for this one in it."""
    part = next(part for part in ORGANIZATION_PARTS if part.kind is ItemKind.ADMIN_KEY)
    async with admin_client(secrets, transport)(settings) as client:
        try:
            found = await read(client.ask, part)
        except Unreadable as error:
            return Examined(str(error))
    secret = secrets.resolve(settings.admin_key, admin=True).value
    _, item = match(secret or "", None, found.items)
    return Examined(None, item.name, item.time("expires_at")) if item is not None else Examined()
