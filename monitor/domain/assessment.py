"""The hygiene of everything at one moment: the scorecards of all projects and keys, what rotates, and how far the migration is."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from monitor.domain.hygiene import Evidence, Finding, HygienePolicy, Scorecard, Unknown, together
from monitor.domain.hygiene_facts import Gathered, KeyFacts
from monitor.domain.hygiene_rules import TITLES, WEIGHTS, Assessed, assess
from monitor.domain.migration import Migration, Progress, checklist, progress
from monitor.domain.organization import Gap
from monitor.domain.rotation import Rotation, by_key

ORGANIZATION = "organization"


@dataclass(frozen=True, slots=True)
class RuleCount:
    """How often one rule is broken, and how often nobody can tell."""

    rule: str
    title: str
    weight: int
    broken: int
    unknown: int
    projects: tuple[str, ...]
    """Where it is broken, sorted."""

    @property
    def cost(self) -> int:
        """The weight of all that are broken."""
        return self.weight * self.broken


@dataclass(frozen=True, slots=True)
class Assessment:
    """Every project here with its keys, and the whole."""

    at: datetime
    policy: HygienePolicy
    projects: tuple[Assessed, ...]
    card: Scorecard
    """Of the whole organization: every rule of every project and key."""
    rotations: tuple[Rotation, ...] = ()
    migrations: tuple[Migration, ...] = ()
    progress: Progress = field(default_factory=Progress)
    gaps: tuple[Gap, ...] = ()
    synced_at: datetime | None = None

    def all_keys(self) -> Iterator[tuple[KeyFacts, Scorecard]]:
        """Every key with its scorecard."""
        for each in self.projects:
            yield from zip(each.keys, each.key_cards, strict=True)

    def project(self, name: str) -> Assessed | None:
        """One project."""
        return next((each for each in self.projects if each.name == name), None)

    def rotation_of(self, key: KeyFacts, known: Mapping[str, Rotation] | None = None) -> Rotation | None:
        """The newest rotation that a key has a part in; `known` is `by_key(rotations)`, for who asks often."""
        known = by_key(self.rotations) if known is None else known
        return known.get(key.api_key or "") or known.get(key.fingerprint or "")

    def rules(self, projects: Iterable[Assessed] | None = None) -> list[RuleCount]:
        """Every rule that is broken or cannot be judged somewhere (in these projects, or in all), the costliest first."""
        cards = [self.card] if projects is None else [each.card for each in projects]
        broken: dict[str, list[str]] = {}
        for finding in (finding for card in cards for finding in card.findings):
            broken.setdefault(finding.rule, []).append(finding.project or "")
        unknown = Counter(each.rule for card in cards for each in card.unknown)
        found = [
            RuleCount(rule, TITLES[rule], WEIGHTS[rule], len(broken.get(rule, ())), unknown[rule], _names(broken.get(rule, ())))
            for rule in TITLES
            if rule in broken or rule in unknown
        ]
        return sorted(found, key=lambda each: (-each.cost, -each.weight, each.rule))

    def scores(self) -> dict[str, tuple[int, tuple[str, ...]]]:
        """By subject, the score and the broken rules of everything that could be judged."""
        cards = [self.card, *(each.card for each in self.projects), *(card for each in self.projects for card in each.key_cards)]
        return {card.subject: (card.score, card.rules) for card in cards if card.score is not None}


def _names(projects: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({name for name in projects if name}))


def assessment(
    known: Gathered, rotations: Collection[Rotation], policy: HygienePolicy, now: datetime, gaps: Iterable[Gap] = ()
) -> Assessment:
    """Judge everything that was gathered."""
    projects = tuple(assess(known, policy, now))
    return Assessment(
        now,
        policy,
        projects,
        together(ORGANIZATION, (each.card for each in projects)),
        tuple(rotations),
        tuple(checklist(projects, rotations, policy)),
        progress(projects, known.organization),
        tuple(gaps),
        known.organization.synced_at,
    )


# For scripts ----------------------------------------------------------------------------------------------------------------------


def lines(found: Assessment, names: Collection[str] = ()) -> Iterator[dict[str, Any]]:
    """One object for the organization, then one for each project followed by its keys, the worst first; with `names`, of those
    projects only, and none for the organization.
    """
    if not names:
        yield _organization(found)
    known = by_key(found.rotations)
    for each in sorted(found.projects, key=worst_first):
        if names and each.name not in names:
            continue
        yield _line("project", each.card, owner=each.facts.project.owner, environment=each.facts.project.environment)
        for key, card in zip(each.keys, each.key_cards, strict=True):
            yield _line(
                "key",
                card,
                api_key=key.api_key,
                owner_type=key.owner_type,
                expires_at=moment(key.record.time("expires_at") if key.record else None),
                last_used_at=moment(key.record.time("last_used_at") if key.record else None),
                watched=key.label is not None,
                rotation=_rotation(found.rotation_of(key, known)),
            )


def worst_first(one: Assessed) -> tuple[int, str]:
    """The order of projects: the lowest score first, those that could not be judged last."""
    return (101 if one.card.score is None else one.card.score, one.name)


def _organization(found: Assessment) -> dict[str, Any]:
    counted, done = found.rules(), found.progress
    return {
        "kind": "organization",
        "score": found.card.score,
        "grade": found.card.grade,
        "projects": len(found.projects),
        "findings": [
            {
                "rule": each.rule,
                "weight": each.weight,
                "reason": f"{each.title}: {_times(each.broken)} in {len(each.projects):,} of {len(found.projects):,} projects",
                "remedy": "The lines of its projects and keys say the next step of each.",
                "evidence": [],
                "count": each.broken,
            }
            for each in counted
            if each.broken
        ],
        "unknown": [
            {"rule": rule, "title": title, "why": why, "count": count}
            for (rule, title, why), count in Counter((each.rule, each.title, each.why) for each in found.card.unknown).most_common()
        ],
        "migration": {
            "keys": done.keys,
            "service_accounts": done.service_accounts,
            "users": done.users,
            "unbound": done.unbound,
            "kind_unknown": done.kind_unknown,
            "expiring": done.expiring,
            "no_expiry": done.no_expiry,
            "expiry_unknown": done.expiry_unknown,
            "unwatched": done.unwatched,
            "percent": done.share,
        },
        "synced_at": moment(found.synced_at),
    }


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"


def _line(kind: str, card: Scorecard, **more: Any) -> dict[str, Any]:
    return {
        "kind": kind,
        "project": card.project,
        "key": card.key,
        "score": card.score,
        "grade": card.grade,
        "findings": [finding_line(each) for each in card.findings],
        "unknown": [_unknown(each) for each in card.unknown],
        **more,
    }


def finding_line(finding: Finding) -> dict[str, Any]:
    """One finding by its stable names."""
    return {
        "rule": finding.rule,
        "weight": finding.weight,
        "title": finding.title,
        "key": finding.key,
        "reason": finding.reason,
        "remedy": finding.remedy,
        "evidence": [_evidence(each) for each in finding.evidence],
    }


def _evidence(each: Evidence) -> dict[str, Any]:
    return {"text": each.text, "at": moment(each.at)}


def _unknown(each: Unknown) -> dict[str, Any]:
    return {"rule": each.rule, "title": each.title, "key": each.key, "why": each.why}


def _rotation(one: Rotation | None) -> dict[str, Any] | None:
    if one is None:
        return None
    return {
        "old": one.old.shown,
        "new": one.new.shown,
        "began": moment(one.began),
        "signs": [sign.value for sign in one.signs],
        "light": one.light.value,
        "reasons": list(one.reasons),
        "used_by": [{"model": each.model, "requests": each.requests, "last_at": moment(each.last_at)} for each in one.used_by],
        "holders": list(one.holders),
        "stragglers": list(one.stragglers),
    }


def moment(at: datetime | None) -> str | None:
    """A time as scripts read it: `2026-11-20T12:00:00Z`."""
    return at.isoformat(timespec="seconds").replace("+00:00", "Z") if at else None
