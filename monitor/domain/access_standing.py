"""How the models of a whole fleet stand, in little: most projects are alike, and what is alike is said once."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from monitor.domain.access_findings import AccessFindingKind, findings
from monitor.domain.model_access import Access, Listed, Need, Policy, Truth


@dataclass(frozen=True, slots=True)
class Cell:
    """One model of a project, without whose it is."""

    model: str
    need: Need
    truth: Truth
    listed: Listed
    form: str
    ill: bool
    """Whether the project lacks it, or can use it and must not."""
    unlike: bool
    """Whether need, policy, list and truth disagree. What is to be shut down is told by itself: it disagrees with nothing."""
    why_unknown: str = ""
    """Why the policy is not known; empty where it is."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One project and its models."""

    project: str
    owner: str | None
    cells: tuple[Cell, ...]
    """By model. Projects that are alike share them."""


@dataclass(frozen=True, slots=True)
class AccessOverview:
    """What is said of the models of all projects, or of one."""

    standings: tuple[Standing, ...] = ()
    """By project; one that has nothing to do with any model is missing."""
    leaving: tuple[Access, ...] = ()
    """Those of models whose shutdown is announced, as far as need and use go."""


def cells(accesses: Iterable[Access], today: date) -> dict[str, tuple[Cell, ...]]:
    """The models of each project in little."""
    every = list(accesses)
    found = (each for each in findings(every, today) if each.kind is not AccessFindingKind.SHUTTING_DOWN)
    unlike = {(each.access.project, each.access.model) for each in found}
    made: dict[str, list[Cell]] = defaultdict(list)
    for each in every:
        why = each.ruling.why if each.policy is Policy.UNKNOWN else ""
        disagrees = (each.project, each.model) in unlike
        made[each.project].append(Cell(each.model, each.need, each.truth, each.listed, each.form, each.ill, disagrees, why))
    return {project: tuple(those) for project, those in made.items()}
