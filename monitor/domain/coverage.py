"""What is configured here beside what the organization says it has: what nobody watches, what is gone, and which key is which."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import count

from monitor.domain.inventory import ApiKey, Project
from monitor.domain.organization import Item, ItemKind, Organization


class Matched(StrEnum):
    """Whether a configured secret was found among the organization's keys. Stored: never rename."""

    ONE = "one"
    AMBIGUOUS = "ambiguous"
    """Several keys look alike in the few characters that OpenAI shows."""
    NONE = "none"
    """No key of the organization looks like it: deleted, of another organization, or mistyped."""


@dataclass(frozen=True, slots=True)
class KeyMatch:
    """Which of OpenAI's keys a configured one is. Holds no part of the secret."""

    project: str
    """Both names are ours."""
    label: str
    matched: Matched
    organization: str
    api_key: str | None = None
    """OpenAI's id (`key_…`) where one was found."""
    api_key_project: str | None = None
    """OpenAI's id of the project that the key belongs to."""


_SHOWN = re.compile(r"([A-Za-z0-9_-]*)(?:\.{2,}|…|\*{2,})([A-Za-z0-9_-]*)", re.ASCII)


def shown_parts(redacted: object) -> tuple[str, str] | None:
    """The beginning and the end that `sk-abc...def` shows; None where it shows too little to tell keys apart."""
    found = _SHOWN.fullmatch(redacted.strip()) if isinstance(redacted, str) else None
    return (found[1], found[2]) if found and len(found[2]) >= 3 else None


def kept(redacted: str | None) -> str | None:
    """What of `sk-abc...def` may be stored: `sk-…def`, no more than its last four characters."""
    parts = shown_parts(redacted)
    return f"sk-…{parts[1][-4:]}" if parts else None


def match(secret: str, project_id: str | None, records: Iterable[Item], named: str | None = None) -> tuple[Matched, Item | None]:
    """The key among `records` (API keys with `redacted_value` as OpenAI sent it) that `secret` is.

    Keys of `project_id` count first; another project's only where none of its own looks alike. Of several that look alike, the one
    with the id `named` is it; a key that does not look like the secret never is. Never None with `Matched.ONE`.
    """
    alike = [item for item in records if _looks_like(secret, item)]
    own = [item for item in alike if project_id is not None and item.project == project_id]
    found = [item for item in alike if item.id == named] or own or alike
    if len(found) == 1:
        return Matched.ONE, found[0]
    return (Matched.AMBIGUOUS if found else Matched.NONE), None


def matches(
    configured: Iterable[tuple[str, str | None, str, str, str | None]], records: Iterable[Item], organization: str, *, whole: bool
) -> Iterator[KeyMatch]:
    """Which records the configured secrets are; each is (our project, its id at OpenAI, our label, secret, the id of the key where
    somebody named it).

    That a secret is no key of the organization, or looks like several, is only said where `records` are all there are (`whole`).
    """
    by_end: dict[str, list[Item]] = defaultdict(list)
    for item in records:
        if (shown := shown_parts(item.facts.get("redacted_value"))) is not None:
            by_end[shown[1]].append(item)
    lengths = {len(end) for end in by_end}
    for project, project_id, label, secret, named in configured:
        alike = [item for length in lengths for item in by_end.get(secret[-length:], ())]
        matched, found = match(secret, project_id, alike, named)
        if whole or (found is not None and found.project == project_id):
            key, home = (found.id, found.project) if found is not None else (None, None)
            yield KeyMatch(project, label, matched, organization, key, home)


def own_admin_key(secret: str | None, records: Collection[Item], *, whole: bool) -> tuple[str | None, str | None]:
    """The id of the admin key that `secret` is, or why that is not certain, in words.

    `records` are the organization's admin keys with `redacted_value` as OpenAI sent it: all there are only where they are `whole`.
    """
    matched, found = match(secret or "", None, records)
    if secret is None:
        return None, "the configured one cannot be read"
    if found is not None and whole:
        return found.id, None
    if matched is Matched.AMBIGUOUS:
        return None, "several look alike in the few characters that OpenAI shows"
    if not whole:
        return None, "some entries of the list could not be understood"
    return None, "none on the list looks like it"


def _looks_like(secret: str, item: Item) -> bool:
    parts = shown_parts(item.facts.get("redacted_value"))
    # Shorter than what is shown of it: then beginning and end would overlap and prove nothing.
    return (
        parts is not None
        and len(secret) >= len(parts[0]) + len(parts[1]) + 8
        and secret.startswith(parts[0])
        and secret.endswith(parts[1])
    )


@dataclass(frozen=True, slots=True)
class Coverage:
    """Where configuration and organization differ. Every list is sorted by name; archived projects count as gone."""

    unwatched_projects: tuple[Item, ...] = ()
    """Active at OpenAI, configured nowhere here."""
    unwatched_keys: tuple[Item, ...] = ()
    """Keys of watched projects that no configured secret is."""
    gone_projects: tuple[Project, ...] = ()
    """Configured here with an id that the organization has not, or has archived."""
    unknown_keys: tuple[tuple[Project, ApiKey], ...] = ()
    """Configured keys that are none of the organization's."""
    unproven_keys: tuple[tuple[Project, ApiKey, tuple[Item, ...]], ...] = ()
    """Configured keys that cannot be told apart, with those that end alike; without any where they were never compared."""


def coverage(projects: Collection[Project], organization: Organization, matches: Iterable[KeyMatch]) -> Coverage:
    """Compare. An organization that was never read gives an empty comparison: nothing is called gone that nobody looked for."""
    there = {item.id: item for item in organization.of(ItemKind.PROJECT)}
    if not there:
        return Coverage()
    active = {number for number, item in there.items() if item.facts.get("status") != "archived"}
    watched = {project.project_id for project in projects if project.project_id}
    by_key = {(each.project, each.label): each for each in matches}
    taken = {each.api_key for each in by_key.values() if each.api_key}
    pairs = [(project, key) for project in sorted(projects, key=lambda each: each.name) for key in project.keys]
    keys = organization.of(ItemKind.API_KEY)

    def judged(*outcomes: Matched | None) -> Iterator[tuple[Project, ApiKey]]:
        for project, key in pairs:
            found = by_key.get((project.name, key.label))
            if (found.matched if found else None) in outcomes:
                yield project, key

    return Coverage(
        unwatched_projects=_by_name(there[number] for number in active - watched),
        unwatched_keys=_by_name(item for item in keys if item.project in watched & active and item.id not in taken),
        gone_projects=tuple(
            sorted(
                (project for project in projects if project.project_id and project.project_id not in active),
                key=lambda project: project.name,
            )
        ),
        unknown_keys=tuple(judged(Matched.NONE)),
        unproven_keys=tuple(
            (project, key, _alike(project, key, keys) if (project.name, key.label) in by_key else ())
            for project, key in judged(Matched.AMBIGUOUS, None)
        ),
    )


def _alike(project: Project, key: ApiKey, keys: Iterable[Item]) -> tuple[Item, ...]:
    """The keys that end like a configured one: its own project's, else any."""
    tail = (key.fingerprint or "").partition("…")[2]
    ends = ((item, str(item.facts.get("redacted_value") or "").rpartition("…")[2]) for item in keys)
    found = [item for item, end in ends if end and tail.endswith(end)]
    return _by_name([item for item in found if item.project == project.project_id] or found)


def _by_name(items: Iterable[Item]) -> tuple[Item, ...]:
    return tuple(sorted(items, key=lambda item: (item.name, item.id)))


def table_of(item: Item, taken: Collection[str] = ()) -> str:
    """What to add to `monitor.toml` so that a project of the organization is watched. Nothing in it needs quoting."""
    bare = re.sub(r"[^a-z0-9.]+", "-", item.name.lower()).strip("-.") or re.sub(r"[^a-z0-9]+", "-", item.id.lower()).strip("-")
    name = next(each for number in count(1) if (each := bare[:50] if number == 1 else f"{bare[:50]}-{number}") not in taken)
    variable = re.sub(r"[^A-Z0-9]+", "_", name.upper())
    return "\n".join(
        [
            "[[projects]]",
            f'name = "{name}"',
            f'project_id = "{re.sub(r"[^A-Za-z0-9._:+-]", "", item.id)}"',
            "",
            "[[projects.keys]]",
            'label = "default"',
            f'secret = "env:{variable}_API_KEY"',
        ]
    )
