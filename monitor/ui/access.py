"""What is shown of models: the four facts in one cell, what disagrees, what goes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from monitor.domain.access_findings import SOON, VERY_SOON, AccessFinding, days
from monitor.domain.access_standing import Cell
from monitor.domain.health import Health
from monitor.domain.incidents import Severity
from monitor.domain.model_access import Access, Exposure, Listed, Need, Policy, Truth
from monitor.domain.organization import NO_ADMIN_KEY
from monitor.domain.words import Confidence
from monitor.ui import blocks
from monitor.ui.blocks import lamp
from monitor.ui.format import MISSING, escape, link, number, plural, title

SEVERITIES = {Severity.CRITICAL: Health.FAILING, Severity.WARNING: Health.DEGRADED, Severity.INFO: Health.UNKNOWN}
Counts = Mapping[tuple[Cell, ...], int]
"""How many projects stand each way."""


def count(counts: Counts, fits: Callable[[Cell], bool]) -> int:
    """How many models of all projects fit."""
    return sum(many * sum(map(fits, cells)) for cells, many in counts.items())


def rank(cells: Iterable[Cell]) -> int:
    """For sorting projects: first what lacks a model or has one too many, then what disagrees."""
    every = list(cells)
    return 0 if any(cell.ill for cell in every) else 1 if any(cell.unlike for cell in every) else 2


def cell(access: Access | None, today: date, window: str, *, silent: bool) -> str:
    """Truth first, then policy, list and shutdown: a shape and a word each."""
    if access is None:
        return '<span class="soft none">·</span>'
    facts = [_policy(access), _listed(access)]
    if access.shutdown is not None:
        left = (access.shutdown - today).days
        css = "failing" if left <= VERY_SOON else "degraded" if left <= SOON else "soft"
        said = f"ends in {days(left)}" if left > 0 else "ends today" if left == 0 else f"end passed {days(-left)} ago"
        facts.append(f'<span class="{css}" title="{access.shutdown}">◷ {said}</span>')
    if access.need is Need.NONE:
        facts.append('<span title="Used or allowed, but not named in monitor.toml">not configured</span>')
    return f'{lamp(Health.UNKNOWN) if silent else truth(access, window)}<small class="facts4">{" ".join(facts)}</small>'


def truth(access: Access, window: str = "") -> str:
    """What calls say, as a lamp that leads to the answers where it is bad."""
    probed = access.probed
    proof = ""
    if probed.failure and window:
        proof = link("evidence", project=access.project, model=access.model, verdict="failed", window=window)
    if access.need is Need.DENIED:
        if access.truth is Truth.USABLE:
            return lamp(Health.DEGRADED, "usable, but denied")
        return lamp(probed.called, "refused, as it must be" if access.truth is Truth.REFUSED else None)
    if access.truth is Truth.USABLE:
        return lamp(Health.HEALTHY, "usable" if probed.looked_up in (None, Health.HEALTHY) else "usable, look-up fails")
    if probed.called is None and probed.looked_up is not None and probed.looked_up is not Health.UNKNOWN:
        word = {Health.HEALTHY: "looked up, not called"}.get(probed.looked_up) or title(probed.failure) or None
        return lamp(probed.looked_up, word, "the call itself is not probed", href=proof)
    if probed.called is None:
        return lamp(Health.UNKNOWN, "not called")
    return lamp(probed.called, title(probed.called_failure) or None, f"looked up: {probed.looked_up or 'not asked'}", href=proof)


_POLICIES = {Policy.ALLOWED: ("✓", "allowed"), Policy.NOT_ALLOWED: ("✕", "not allowed"), Policy.UNKNOWN: ("?", "policy")}
_LISTS = {Listed.LISTED: ("✓", "listed"), Listed.NOT_LISTED: ("✕", "not listed"), Listed.UNKNOWN: ("?", "list")}


def _policy(access: Access) -> str:
    shape, word = _POLICIES[access.policy]
    shape = shape if access.ruling.sure or access.policy is Policy.UNKNOWN else "≈"
    wrong = (access.policy is Policy.NOT_ALLOWED) is (access.need is Need.REQUIRED) and access.policy is not Policy.UNKNOWN
    css = "degraded" if wrong and access.need is not Need.NONE else "soft"
    return f'<span class="{css}" title="{escape(access.ruling.why)}">{shape} {word}</span>'


def _listed(access: Access) -> str:
    shape, word = _LISTS[access.listed]
    css = "degraded" if access.listed is Listed.NOT_LISTED and access.need is Need.REQUIRED else "soft"
    return f'<span class="{css}">{shape} {word}</span>'


LEGEND = (
    "Each cell: what a small paid call says, then the project’s model permissions (✓ allowed, ✕ not allowed, ≈ not certain, "
    "because an alias and its snapshot are two names, ? not known) and OpenAI’s list of models. A model can be listed and still "
    "be refused. A dot: not asked for by this project."
)


def unknown_policy(chosen: Mapping[str, tuple[Cell, ...]], counts: Counts) -> str:
    """Of which projects the policies are not known, and why; empty where all are."""
    unknown = {cells: why for cells in counts if (why := sorted({cell.why_unknown for cell in cells if cell.why_unknown}))}
    reasons = sorted({each for why in unknown.values() for each in why})
    if not reasons:
        return ""
    if reasons == [NO_ADMIN_KEY]:
        return "Policy: needs an admin key. Name one in monitor.toml under [[organizations]]; it only reads."
    many = sum(counts[cells] for cells in unknown)
    whose = next(name for name, cells in chosen.items() if cells in unknown) if many == 1 else plural(many, "project")
    shown = "; ".join(reasons[:2])
    return f"Policy of {whose} is not known: {shown}{f'; and {len(reasons) - 2} more reasons' if len(reasons) > 2 else ''}."


def findings_table(found: Sequence[AccessFinding], window: str) -> None:
    """What disagrees, and what to do about it."""
    rows = []
    for each in found:
        about = each.access
        sure = "" if each.confidence is Confidence.CERTAIN else f'<br><small class="soft">{each.confidence.value}</small>'
        word = {Severity.CRITICAL: "critical", Severity.WARNING: "warning", Severity.INFO: "to know"}[each.severity]
        proof = blocks.raw_answers(window, project=about.project, model=about.model) if about.probed.at else ""
        rows.append(
            (
                lamp(SEVERITIES[each.severity], word) + sure,
                f'{blocks.project_link(about.project, window)}<br><span class="mono">{escape(about.model)}</span>',
                f"{escape(each.sentence)}{_words_of(about)}",
                f"<b>{escape(each.remedy)}</b>",
                proof,
            )
        )
    columns = [("How bad", "nw"), ("Where", "nw"), ("What disagrees", "said4"), ("What to do", "said4"), ("", "r nw")]
    blocks.table(columns, rows, css="stack")


def _words_of(access: Access) -> str:
    said = access.probed.message
    return f'<br><span class="soft">OpenAI: {escape(said)}</span>' if said and access.probed.failure else ""


def models_table(counts: Counts, window: str) -> None:
    """One row for each model: what kind of name it is, and who has to do with it."""
    by_model: dict[str, list[tuple[Cell, int]]] = {}
    for cells, many in counts.items():
        for each in cells:
            by_model.setdefault(each.model, []).append((each, many))
    rows = []
    for model, those in sorted(by_model.items()):

        def total(fits: Callable[[Cell], bool], those: Sequence[tuple[Cell, int]] = those) -> int:
            return sum(many for each, many in those if fits(each))

        needed = total(lambda each: each.need is Need.REQUIRED)
        usable = total(lambda each: each.need is Need.REQUIRED and each.truth is Truth.USABLE)
        denied = total(lambda each: each.need is Need.DENIED)
        listed, known = total(lambda each: each.listed is Listed.LISTED), total(lambda each: each.listed is not Listed.UNKNOWN)
        kinds = sorted({each.form for each, _ in those if each.form})
        rows.append(
            (
                f'<a class="mono" href="{link("models", model=model, window=window)}" target="_self">{escape(model)}</a>',
                escape(kinds[0]) if kinds else MISSING,
                f"{needed:,}" if needed else MISSING,
                f"{usable:,}" if needed else MISSING,
                f"{denied:,}" if denied else MISSING,
                f"{listed:,} of {known:,}" if known else "not known",
            )
        )
    columns = [("Model", "nw"), ("Alias or snapshot", ""), ("Needed by", "r"), ("of these usable", "r")]
    blocks.table([*columns, ("Denied by", "r"), ("Listed to", "r nw")], rows)


def left(count: int) -> str:
    """How many days are left, as a lamp."""
    health = Health.FAILING if count <= VERY_SOON else Health.DEGRADED if count <= SOON else Health.UNKNOWN
    return lamp(health, days(count) if count > 0 else "today" if count == 0 else f"{days(-count)} ago")


def exposures_table(found: Sequence[Exposure], window: str) -> None:
    """What goes, when, and who will feel it most."""
    rows = []
    for each in found:
        who = [
            f"{blocks.project_link(one.project, window)} "
            f'<span class="soft">{f"{one.use.requests:,.0f} a day" if one.use else "use not known"}</span>'
            for one in each.who[:6]
        ]
        if len(each.who) > len(who):
            address = link("models", model=each.model, window=window)
            who.append(f'<a href="{address}" target="_self">and {len(each.who) - len(who):,} more</a>')
        rows.append(
            (
                left(each.days_left),
                f"{each.day:%Y-%m-%d}",
                f'<span class="mono">{escape(each.model)}</span>',
                ", ".join(who),
                number(each.requests),
                number(each.tokens),
            )
        )
    columns = [("Left", "nw"), ("Shut down on", "nw"), ("Model", "nw"), ("Who needs or uses it, most first", "")]
    blocks.table([*columns, ("Requests a day", "r nw"), ("Tokens a day", "r nw")], rows, css="stack")


def csv_rows(accesses: Iterable[Access], found: Iterable[AccessFinding], now: datetime) -> list[dict[str, Any]]:
    """Everything that is known of each project and model."""
    by_place: dict[tuple[str, str], list[AccessFinding]] = {}
    for finding in found:
        by_place.setdefault((finding.access.project, finding.access.model), []).append(finding)
    return [
        {
            "project": each.project,
            "model": each.model,
            "alias or snapshot": each.form,
            "need": each.need.value,
            "policy": each.policy.value,
            "policy is certain": each.ruling.sure,
            "policy because": each.ruling.why,
            "listed": each.listed.value,
            "truth": each.truth.value,
            "failure": each.probed.failure.value if each.probed.failure else None,
            "message": each.probed.message,
            "asked": each.probed.at,
            "shut down on": each.shutdown,
            "days left": (each.shutdown - now.date()).days if each.shutdown else None,
            "requests a day": each.use.requests if each.use else None,
            "tokens a day": each.use.tokens if each.use else None,
            "findings": " ".join(one.kind.value for one in by_place.get((each.project, each.model), ())),
            "owner": each.owner,
            "environment": each.environment,
            "project id": each.project_id,
        }
        for each in accesses
    ]
