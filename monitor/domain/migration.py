"""From people's keys to service accounts: how far the organization is, and for each key the exact next step."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum

from monitor.domain.hygiene import HygienePolicy
from monitor.domain.hygiene_facts import UNBOUND, KeyFacts
from monitor.domain.hygiene_rules import Assessed, project_page
from monitor.domain.organization import Item, ItemKind, Organization
from monitor.domain.rotation import Light, Rotation


class Stage(StrEnum):
    """How far one key is. Exported: never rename."""

    TO_DO = "to do"
    MOVING = "moving"
    """A service account's key is taking its place."""
    DELETABLE = "deletable"
    """Replaced, proven unused, and still there."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do."""

    text: str
    done: bool


@dataclass(frozen=True, slots=True)
class Migration:
    """One key that a person owns, or that belongs to no project."""

    project: str
    key: str
    """Its label here, or its name at OpenAI."""
    subject: str
    owner: str | None
    """Who owns the key, as OpenAI says, or the project's owner here."""
    production: bool | None
    stage: Stage
    steps: tuple[Step, ...]

    @property
    def next_step(self) -> str:
        """The first that is not done."""
        return next((step.text for step in self.steps if not step.done), "")


def checklist(assessed: Iterable[Assessed], rotations: Collection[Rotation], policy: HygienePolicy) -> list[Migration]:
    """Every key that is to become a service account's: production first, then by project."""
    replaced = {each.old.api_key or each.old.fingerprint: each for each in rotations if _to_service_account(each)}
    found = [
        _migration(key, replaced.get(key.api_key or "") or replaced.get(key.fingerprint), policy)
        for one in assessed
        for key in one.keys
        if key.owner_type == "user"
    ]
    return sorted(found, key=lambda each: (each.production is not True, each.project, each.key))


def _to_service_account(rotation: Rotation) -> bool:
    return rotation.new.owner_type == "service_account" or rotation.new.kind == "service_account"


def _migration(key: KeyFacts, rotation: Rotation | None, policy: HygienePolicy) -> Migration:
    project = key.project.project
    page = project_page(key.project, "Members → Service accounts")
    services = ", ".join(project.services) or "every service that uses it"
    held = key.source or f"[[projects.keys]] of {project.name}"
    safe = rotation is not None and rotation.light is Light.SAFE
    moved = rotation is not None and not rotation.used_by and rotation.light in (Light.SAFE, Light.DELETED)
    steps = (
        Step(f"Create a service account in {page}.", rotation is not None),
        Step(f"Put its secret at {held} here, and into {services}.", rotation is not None and key.label is None),
        Step("Watch the use move from the old key to the new one on the key’s page.", moved),
        Step(
            f"Delete the old key{f' …{key.tail}' if key.tail else ''} in {project_page(key.project, 'API keys')}"
            + ("." if safe else " when the light is green."),
            rotation is not None and rotation.light is Light.DELETED,
        ),
    )
    stage = Stage.TO_DO if rotation is None else Stage.DELETABLE if safe else Stage.MOVING
    owner = key.record.facts.get("owner_name") if key.record else None
    production = policy.serves_customers(project.environment)
    return Migration(project.name, key.name, key.subject, str(owner) if owner else project.owner, production, stage, steps)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the whole organization is. Counts of keys: those configured here, and those that OpenAI lists besides."""

    keys: int = 0
    service_accounts: int = 0
    users: int = 0
    """Owned by a person, those without a project included."""
    unbound: int = 0
    """That belong to no project."""
    kind_unknown: int = 0
    expiring: int = 0
    """With a day on which they expire."""
    no_expiry: int = 0
    expiry_unknown: int = 0
    unwatched: int = 0
    """That nobody configured here, in projects that are not watched too."""

    @property
    def share(self) -> int | None:
        """Percent of the keys of a known kind that belong to service accounts; None where no kind is known."""
        known = self.service_accounts + self.users
        return 100 * self.service_accounts // known if known else None


def progress(assessed: Iterable[Assessed], organization: Organization) -> Progress:
    """Count every key once, whoever configured it and however often."""
    owners: list[str | None] = []
    expiries: list[bool | None] = []
    unbound = unwatched = 0
    seen: set[str] = set()
    for one in assessed:
        for key in one.keys:
            mark = key.api_key or key.fingerprint or key.subject
            if mark in seen:
                continue
            seen.add(mark)
            owners.append(key.owner_type)
            expiries.append(_expires(key.record))
            unbound += key.kind in UNBOUND and key.record is None
            unwatched += key.label is None
    for item in organization.of(ItemKind.API_KEY):
        if item.id not in seen:
            seen.add(item.id)
            said = item.facts.get("owner_type")
            owners.append(said if said in ("user", "service_account") else None)
            expiries.append(_expires(item))
            unwatched += 1
    return Progress(
        keys=len(owners),
        service_accounts=owners.count("service_account"),
        users=owners.count("user"),
        unbound=unbound,
        kind_unknown=owners.count(None),
        expiring=expiries.count(True),
        no_expiry=expiries.count(False),
        expiry_unknown=expiries.count(None),
        unwatched=unwatched,
    )


def _expires(record: Item | None) -> bool | None:
    return None if record is None else record.time("expires_at") is not None
