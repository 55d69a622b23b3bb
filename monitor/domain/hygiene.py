"""Key hygiene: what a rule may say of a key or a project, and the scorecard that adds it up. The rules are in `hygiene_rules`.

A score is 100 less the share that the broken rules have of the weight of all rules that could be judged. What cannot be judged
counts for nobody: it makes a score neither better nor worse, and is listed with what it would need.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

GRADES = (("A", 90), ("B", 75), ("C", 60), ("D", 40), ("F", 0))
"""Each with the least score that earns it."""
UNGRADED = "–"


@dataclass(frozen=True, slots=True)
class HygienePolicy:
    """What counts as too old, too soon or unused; `[monitor.hygiene]` of the configuration."""

    max_age: timedelta = timedelta(days=180)
    """A key is replaced when it is older."""
    expiry_notice: timedelta = timedelta(days=14)
    """A key that expires within this time needs somebody now."""
    unused_after: timedelta = timedelta(days=30)
    """A key that nobody used for so long is not needed."""
    quiet_before_delete: timedelta = timedelta(hours=24)
    """An old key must not have been used for so long before it is called safe to delete."""
    production: tuple[str, ...] = ("production", "prod")
    """What projects write under `environment` when they serve customers; compared without regard to capitals."""
    try_binding: bool = True
    """Whether each key is tried under another project's id, once a day, with a free request."""

    def serves_customers(self, environment: str | None) -> bool | None:
        """Whether an environment is production; None where none is named."""
        return None if environment is None else any(environment.casefold() == name.casefold() for name in self.production)


@dataclass(frozen=True, slots=True)
class Evidence:
    """A fact that a judgement rests on, and when it was so."""

    text: str
    at: datetime | None = None
    """None where the fact has no time of its own, such as a line of the configuration."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A rule is broken: why, and the exact next step."""

    reason: str
    remedy: str
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True, slots=True)
class Fine:
    """A rule is kept."""


@dataclass(frozen=True, slots=True)
class NotKnown:
    """A rule cannot be judged: why, in words."""

    why: str


Judgement = Broken | Fine | NotKnown | None
"""None where the rule does not concern the key or project at all."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule broken by one key or project."""

    rule: str
    weight: int
    title: str
    reason: str
    remedy: str
    evidence: tuple[Evidence, ...] = ()
    project: str | None = None
    """The project's name here."""
    key: str | None = None
    """The key's label here, or its name at OpenAI where nobody configured it; None for a rule about the project."""
    subject: str = ""
    """Whose scorecard it stands on."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """One rule that nobody can judge now."""

    rule: str
    title: str
    why: str
    project: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Scorecard:
    """How a key, a project or the organization keeps the rules."""

    subject: str
    """As scores are stored: `organization`, `project:NAME`, `key:NAME/LABEL`, or `key:key_…` of a key that nobody configured."""
    findings: tuple[Finding, ...]
    """The heaviest first."""
    unknown: tuple[Unknown, ...]
    broken: int
    """Weight of the broken rules."""
    knowable: int
    """Weight of all rules that could be judged."""
    project: str | None = None
    key: str | None = None

    @property
    def score(self) -> int | None:
        """From 0 to 100; None where no rule could be judged."""
        return (100 * (self.knowable - self.broken)) // self.knowable if self.knowable else None

    @property
    def grade(self) -> str:
        """`A` to `F`, or a dash."""
        return grade(self.score)

    @property
    def rules(self) -> tuple[str, ...]:
        """The rules that are broken, each once, sorted."""
        return tuple(sorted({each.rule for each in self.findings}))


def grade(score: int | None) -> str:
    """The letter of a score."""
    return UNGRADED if score is None else next((letter for letter, least in GRADES if score >= least), "F")


def scorecard(
    subject: str, judged: Iterable[tuple[str, int, str, Judgement]], project: str | None = None, key: str | None = None
) -> Scorecard:
    """Add up judgements, each with its rule's identifier, weight and title."""
    findings, unknown, broken, knowable = [], [], 0, 0
    for rule, weight, title, said in judged:
        if isinstance(said, Broken):
            findings.append(Finding(rule, weight, title, said.reason, said.remedy, said.evidence, project, key, subject))
            broken += weight
            knowable += weight
        elif isinstance(said, Fine):
            knowable += weight
        elif isinstance(said, NotKnown):
            unknown.append(Unknown(rule, title, said.why, project, key))
    return Scorecard(subject, _heaviest_first(findings), tuple(unknown), broken, knowable, project, key)


def together(subject: str, cards: Iterable[Scorecard], project: str | None = None) -> Scorecard:
    """The scorecard of all of these: every rule of every one of them counts."""
    parts = list(cards)
    return Scorecard(
        subject,
        _heaviest_first(finding for each in parts for finding in each.findings),
        tuple(unknown for each in parts for unknown in each.unknown),
        sum(each.broken for each in parts),
        sum(each.knowable for each in parts),
        project,
    )


def _heaviest_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=lambda each: (-each.weight, each.project or "", each.key or "", each.rule)))


def why_not(cards: Iterable[Scorecard]) -> list[tuple[str, tuple[str, ...], int]]:
    """What cannot be judged: why, which rules (by title, sorted), and how often; the most frequent first."""
    found: dict[str, tuple[set[str], int]] = {}
    for card in cards:
        for each in card.unknown:
            titles, count = found.get(each.why, (set(), 0))
            found[each.why] = (titles | {each.title}, count + 1)
    told = [(why, tuple(sorted(titles)), count) for why, (titles, count) in found.items()]
    return sorted(told, key=lambda each: (-each[2], each[0]))
