"""Which parts of the organization's record are read when, and what the log leads to. Nothing here asks anybody."""

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime

from monitor.domain import audit
from monitor.domain.organization import AuditEvent, ItemKind, RecordAge
from monitor.store.organization import Place

DECIDING = (ItemKind.API_KEY, ItemKind.MODEL_PERMISSIONS)
_NEVER = 1e12
"""The age of what was never read, in seconds."""

TOLD_OF: dict[str, tuple[ItemKind, ...]] = {
    "api_key": (ItemKind.API_KEY,),
    "service_account": (ItemKind.SERVICE_ACCOUNT, ItemKind.API_KEY),
    "rate_limit": (ItemKind.RATE_LIMIT,),
    "role": (ItemKind.MEMBER, ItemKind.API_KEY),
    "user": (ItemKind.MEMBER, ItemKind.API_KEY),
    "membership": (ItemKind.MEMBER, ItemKind.API_KEY),
    "certificates": (ItemKind.CERTIFICATE,),
}
"""What is read again of a project when the log tells of a change, by the first word of its type."""
OWN_TOLD_OF: dict[str, tuple[ItemKind, ...]] = {
    "project": (ItemKind.PROJECT,),
    "user": (ItemKind.USER,),
    "membership": (ItemKind.USER,),
    "admin_api_key": (ItemKind.ADMIN_KEY,),
    "certificate": (ItemKind.CERTIFICATE,),
    "certificates": (ItemKind.CERTIFICATE,),
    "billing": (ItemKind.SPEND_LIMIT, ItemKind.SPEND_ALERT),
    "usage_limit": (ItemKind.SPEND_LIMIT,),
}
"""What is read again of the organization's own."""
TOLD = frozenset(kind for kinds in TOLD_OF.values() for kind in kinds)
"""What the log tells of, where it can be read."""

ReadAt = Callable[[Place], datetime | None]
"""When a part was read last; None where it never was."""


def order(
    projects: Iterable[str],
    kinds: Sequence[ItemKind],
    read_at: ReadAt,
    now: datetime,
    watched: Collection[str | None],
    seldom: Collection[ItemKind] | None = None,
) -> list[Place]:
    """What to read of the projects: what decides first, watched before others; then the oldest reading.

    With `seldom` there is no time for everything: then these kinds, and projects that nobody watches, come half as often.
    """
    deciding: list[Place] = []
    rest: list[tuple[float, int, Place]] = []
    for project in sorted(projects, key=lambda number: number not in watched):
        for number, kind in enumerate(kinds):
            place = (kind.value, project)
            if kind in DECIDING:
                deciding.append(place)
                continue
            at = read_at(place)
            age = (now - at).total_seconds() if at is not None else _NEVER
            if seldom is not None:
                age *= (2 if project in watched else 1) * (1 if kind in seldom else 2)
            rest.append((-age, number, place))
    return [*deciding, *(place for *_, place in sorted(rest, key=lambda each: each[:2]))]


def record_age(places: Sequence[Place], read_at: ReadAt) -> RecordAge:
    """How old what is known of these parts is."""
    read = [(at, place) for place in places if (at := read_at(place)) is not None]
    if not read:
        return RecordAge(len(places), len(places))
    at, (kind, project) = min(read)
    return RecordAge(len(places), len(places) - len(read), at, kind, project)


def led_to(
    events: Iterable[tuple[AuditEvent, str | None]], of_person: Callable[[str | None], Iterable[str]]
) -> tuple[list[ItemKind], list[Place]]:
    """What is to be read again after these events, each with its project: of the organization's own, and of the projects.

    `of_person` gives the projects where a person owns keys: what becomes of the person becomes of them.
    """
    own: dict[ItemKind, None] = {}
    places: dict[Place, None] = {}
    for event, project in events:
        word = audit.bare_type(event.type).partition(".")[0]
        own |= dict.fromkeys(OWN_TOLD_OF.get(word, ()))
        about = of_person(audit.person_of(event)) if word in ("user", "membership") else [project] if project else []
        places |= {(kind.value, each): None for each in about for kind in TOLD_OF.get(word, ())}
    return list(own), list(places)
