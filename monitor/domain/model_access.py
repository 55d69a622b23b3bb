"""Whether a project can use a model, as four sources tell it side by side: need (the configuration here), policy (the project's
model permissions), catalogue (the list of models) and truth (a call). Where they disagree is a finding.

None stands for another: a model can be listed and refused, and a permission that was changed takes effect later. What nobody told
is unknown. Whether a list of permissions that names an alias holds for its snapshots, or the other way round, is not documented:
then the policy is said, and that it is not certain.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from functools import lru_cache

from monitor.domain.catalogue import Catalogue
from monitor.domain.differential import alias_of
from monitor.domain.health import Health
from monitor.domain.inventory import Project
from monitor.domain.organization import Item
from monitor.domain.taxonomy import FailureKind, Lane


class Need(StrEnum):
    """What the configuration here asks of a model."""

    REQUIRED = "required"
    DENIED = "denied"
    NONE = "none"


class Policy(StrEnum):
    """What the project's model permissions say."""

    ALLOWED = "allowed"
    NOT_ALLOWED = "not allowed"
    UNKNOWN = "unknown"


class Listed(StrEnum):
    """What the list of models says."""

    LISTED = "listed"
    NOT_LISTED = "not listed"
    UNKNOWN = "unknown"


class Truth(StrEnum):
    """What a call of the model says."""

    USABLE = "usable"
    REFUSED = "refused"
    FAILING = "failing"
    """It fails for another reason than access, such as money: then access is not known."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Ruling:
    """The policy on one model, and what it rests on."""

    policy: Policy
    why: str
    sure: bool = True


@dataclass(frozen=True, slots=True)
class Probed:
    """What the checks of one model in one project said; None where a question is not asked."""

    looked_up: Health | None = None
    called: Health | None = None
    called_failure: FailureKind | None = None
    failure: FailureKind | None = None
    """The worst of both."""
    message: str | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Use:
    """What reaches a model in a day."""

    requests: float
    tokens: float


_BAD = (Health.FAILING, Health.DEGRADED)


@dataclass(frozen=True, slots=True)
class Access:
    """One model in one project."""

    project: str
    model: str
    need: Need
    ruling: Ruling
    listed: Listed
    truth: Truth
    form: str = ""
    """`snapshot of gpt-4.1`, `alias; listed snapshots: gpt-4.1-2025-04-14`, or nothing."""
    shutdown: date | None = None
    probed: Probed = Probed()
    use: Use | None = None
    """None where usage is not known, or nobody looked."""
    project_id: str | None = None
    owner: str | None = None
    environment: str | None = None

    @property
    def policy(self) -> Policy:
        """What the project's model permissions say."""
        return self.ruling.policy

    @property
    def ill(self) -> bool:
        """Whether the project lacks the model, or can use one that it must not."""
        return self.probed.looked_up in _BAD or self.probed.called in _BAD

    @property
    def wanted(self) -> bool:
        """Whether somebody needs it or uses it."""
        return self.need is Need.REQUIRED or (self.use is not None and self.use.requests > 0)


# The four facts -------------------------------------------------------------------------------------------------------------------

NO_LIST = "the project has no list of models, so all are allowed"


def ruling(model: str, permissions: Item | None, unknown: str | None) -> Ruling:
    """What a project's model permissions say of a model. `unknown` is why they are not known, None where they are."""
    if unknown is not None:
        return Ruling(Policy.UNKNOWN, unknown, sure=False)
    if permissions is None:
        return Ruling(Policy.ALLOWED, NO_LIST)
    mode, names = permissions.facts.get("mode"), permissions.facts.get("model_ids")
    if mode not in ("allow_list", "deny_list") or not isinstance(names, list | tuple):
        return Ruling(Policy.UNKNOWN, "the project's list of models cannot be understood", sure=False)
    kind = "allows only what it names" if mode == "allow_list" else "denies what it names"
    named, other = (Policy.ALLOWED, Policy.NOT_ALLOWED) if mode == "allow_list" else (Policy.NOT_ALLOWED, Policy.ALLOWED)
    if model in names:
        return Ruling(named, f"the project's list {kind}, and names {model}")
    kin = next((name for name in names if isinstance(name, str) and related(name, model)), None)
    if kin is not None:
        why = f"the project's list {kind}, and names {kin}, not {model}: whether one stands for the other is not documented"
        return Ruling(named, why, sure=False)
    return Ruling(other, f"the project's list {kind}, and does not name {model}")


def related(one: str, other: str) -> bool:
    """Whether one name is the alias of the other."""
    return _alias(one) == other or _alias(other) == one


_alias = lru_cache(maxsize=10_000)(alias_of)


def listing(model: str, catalogue: Catalogue | None) -> Listed:
    """What the list says of a model."""
    if catalogue is None:
        return Listed.UNKNOWN
    return Listed.LISTED if model in catalogue else Listed.NOT_LISTED


def snapshots(catalogue: Catalogue) -> dict[str, list[str]]:
    """The listed snapshots by their alias, oldest first."""
    found: dict[str, list[str]] = {}
    for name in sorted(catalogue.models):
        if (alias := _alias(name)) is not None:
            found.setdefault(alias, []).append(name)
    return found


def form(model: str, listed: Mapping[str, Sequence[str]]) -> str:
    """Whether the name is an alias or a snapshot, as far as it can be told; `listed` are the snapshots that a list has."""
    alias = _alias(model)
    if alias is not None:
        return f"snapshot of {alias}"
    snapshots = listed.get(model, ())
    if not snapshots:
        return ""
    more = f" and {len(snapshots) - 2} more" if len(snapshots) > 2 else ""
    return f"alias; listed snapshots: {', '.join(snapshots[-2:])}{more}"


def truth(need: Need, probed: Probed) -> Truth:
    """What the calls of a model say. A denied model is well when it is refused, and degraded when it can be used."""
    called = probed.called
    if called is None or called in (Health.UNKNOWN, Health.PAUSED):
        return Truth.UNKNOWN
    if need is Need.DENIED:
        return {Health.HEALTHY: Truth.REFUSED, Health.DEGRADED: Truth.USABLE}.get(called, Truth.UNKNOWN)
    if called is Health.HEALTHY:
        return Truth.USABLE
    return Truth.REFUSED if probed.called_failure and probed.called_failure.lane is Lane.ACCESS else Truth.FAILING


@dataclass(frozen=True, slots=True)
class Permissions:
    """What is known of every project's model permissions."""

    lists: Mapping[str, Item]
    """By OpenAI's id of the project."""
    projects: Collection[str]
    """The ids that the organization's record has."""
    unread: Mapping[str | None, str]
    """Why they could not be read, by project; under None for any project."""
    ids: Mapping[str, str]
    """OpenAI's ids of projects that name none here but whose key was found, by name here."""

    def of(self, project: Project) -> tuple[str | None, Item | None, str | None]:
        """The id of a project, its list, and why that is not known."""
        number = project.project_id or self.ids.get(project.name)
        if number is not None and number in self.lists:
            return number, self.lists[number], None
        if None in self.unread:
            return number, None, self.unread[None]
        if number is None:
            return None, None, "no project id is configured"
        if number in self.unread:
            return number, None, self.unread[number]
        return number, None, None if number in self.projects else "the organization's record does not have this project"


def matrix(
    projects: Iterable[Project],
    permissions: Permissions,
    catalogues: Mapping[str, Catalogue],
    probed: Mapping[tuple[str, str], Probed],
    use: Mapping[tuple[str, str], Use] | None,
    whole: Collection[str] = (),
    only: Collection[str] | None = None,
) -> list[Access]:
    """Every model that a project needs, must not have, or uses although its shutdown is announced; of the projects in `whole` also
    what they use otherwise and what their list names. By project and model; with `only`, these models alone.

    `use` is by OpenAI's project id and model, None where usage is not known.
    """
    found = []
    aliases: dict[int, dict[str, list[str]]] = {}  # most projects share one list
    used: dict[str, list[str]] = {}
    for user, model in use or ():
        used.setdefault(user, []).append(model)
    for project in sorted(projects, key=lambda each: each.name):
        number, names, unknown = permissions.of(project)
        catalogue = catalogues.get(project.name)
        listed: Mapping[str, Sequence[str]] = {}
        if catalogue is not None:
            if id(catalogue.models) not in aliases:
                aliases[id(catalogue.models)] = snapshots(catalogue)
            listed = aliases[id(catalogue.models)]
        needs = dict.fromkeys(project.models, Need.REQUIRED) | dict.fromkeys(project.denied_models, Need.DENIED)
        also = set(used.get(number or "", ()))
        if project.name not in whole:
            also = {model for model in also if catalogue is not None and catalogue.shutdown(model)}
        elif names is not None:
            also.update(name for name in names.facts.get("model_ids", ()) if isinstance(name, str))
        for model in sorted(needs.keys() | also):
            if only is not None and model not in only:
                continue
            need = needs.get(model, Need.NONE)
            seen = probed.get((project.name, model), Probed())
            found.append(
                Access(
                    project=project.name,
                    model=model,
                    need=need,
                    ruling=ruling(model, names, unknown),
                    listed=listing(model, catalogue),
                    truth=truth(need, seen),
                    form=form(model, listed),
                    shutdown=catalogue.shutdown(model) if catalogue else None,
                    probed=seen,
                    use=None if use is None or number is None else use.get((number, model), Use(0, 0)),
                    project_id=number,
                    owner=project.owner,
                    environment=project.environment,
                )
            )
    return found


# Exposure to shutdowns ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Exposure:
    """A model whose shutdown is announced, and who will feel it."""

    model: str
    day: date
    days_left: int
    """Negative where the day has passed."""
    who: tuple[Access, ...]
    """Who needs or uses it, the greatest use first."""
    requests: float | None
    """A day, of all of them; None where usage is not known of any."""
    tokens: float | None


def exposures(accesses: Iterable[Access], today: date) -> list[Exposure]:
    """Every announced shutdown that somebody will feel: the soonest first, of one day the greatest use first."""
    by_model: dict[tuple[str, date], list[Access]] = {}
    for each in accesses:
        if each.shutdown is not None and each.wanted:
            by_model.setdefault((each.model, each.shutdown), []).append(each)
    found = [_exposure(model, day, who, today) for (model, day), who in by_model.items()]
    return sorted(found, key=lambda each: (each.day, -(each.requests or 0), -len(each.who), each.model))


def _exposure(model: str, day: date, who: list[Access], today: date) -> Exposure:
    known = [each.use for each in who if each.use is not None]
    ranked = sorted(who, key=lambda each: (-(each.use.requests if each.use else 0), each.project))
    return Exposure(
        model,
        day,
        (day - today).days,
        tuple(ranked),
        sum(use.requests for use in known) if known else None,
        sum(use.tokens for use in known) if known else None,
    )


def leaving(catalogues: Iterable[Catalogue]) -> Iterator[str]:
    """The models whose shutdown is announced in any of these lists."""
    done: set[int] = set()
    for each in catalogues:
        if id(each.models) not in done:  # most projects share one list
            done.add(id(each.models))
            yield from (model for model, day in each.models.items() if day is not None)
