"""The service level of one project: what was promised, what was kept, what is left, and how fast it goes."""

import math
from datetime import datetime, timedelta, tzinfo

from monitor.domain.health import Health
from monitor.domain.sli import COUNTED, RULES, BurnRule, Counts, availability, burn_alerts, burn_rate, error_budget
from monitor.domain.taxonomy import LAMPS, Lane
from monitor.domain.words import digits_of, percent, promise_of
from monitor.store.slo import DAYS, Level
from monitor.ui import blocks, filters
from monitor.ui.blocks import lamp
from monitor.ui.data import ServiceLevel
from monitor.ui.format import MISSING, clock, escape, link, number, plural, span

WINDOWS = tuple(timedelta(days=days) for days in DAYS)
MONTH = timedelta(days=30)
LOW = 0.25
"""Of the budget: less than that is said aloud."""
FEW = 3
"""Failed checks that overspend a budget of less than one: a single one may be chance."""

_HOW = (
    "Counted are valid checks only: network faults stand apart and count against no project; the monitor’s own faults, "
    "unreadable answers and hours without checks are left out."
)


def service_level(level: ServiceLevel, project: str, now: datetime, zone: tzinfo, *, silent: bool) -> None:
    """Availability, error budget and burn rate of a project; what is red leads to the answers that failed."""
    promise = promise_of(level.objective)
    blocks.heading("Service level", f"objective: {promise} of the valid checks are good")
    if not any(each.whole.valid or any(lane.valid for lane in each.lanes.values()) for each in level.over.values()):
        blocks.empty(
            f"No valid check in {DAYS[-1]} days: no service level can be told.",
            "It appears with the first answers of OpenAI to this project; no data is not 100 %.",
        )
        return
    boxes = "".join(
        _window(project, length, level.over.get(length), level.objective, now, zone, silent=silent) for length in WINDOWS
    )
    blocks.show(f'<div class="levels">{boxes}</div>')
    _lanes(level, project)
    _burning(level, project, silent=silent)
    blocks.show(f'<div class="note">{escape(_HOW)}</div>')


def _proof(project: str, length: timedelta, lane: Lane | None = None) -> str:
    """Where the answers are that failed in so long a time, or in the next longer window that can be chosen."""
    window = next(name for name, each in filters.WINDOWS.items() if each >= length)
    return link("evidence", project=project, lane=lane.value if lane else None, verdict="failed", window=window)


def _window(
    project: str, length: timedelta, level: Level | None, objective: float, now: datetime, zone: tzinfo, *, silent: bool
) -> str:
    """One window: availability, and the bar of what is left of its budget."""
    counts = level.whole if level else Counts()
    about = f"Last {length.days} days"
    if level and level.since > now - length + timedelta(days=1):
        about += f", checked since {clock(level.since, now, zone)}"
    told = f"{number(counts.failed)} of {plural(counts.valid, 'valid check')} failed"
    return (
        f"<div><small>{escape(about)}</small><b>{percent(availability(counts), digits_of(objective))}</b>"
        f"{_budget(counts, objective, length, _proof(project, length), silent=silent)}<small>{told}</small></div>"
    )


def _budget(counts: Counts, objective: float, length: timedelta, proof: str, *, silent: bool) -> str:
    budget = error_budget(counts, objective, length)
    left, spent = budget.left, budget.spent
    if left is None or spent is None:
        return f'<span class="meter"></span>{lamp(None, "no valid check")}'
    if budget.allowed < 1 and counts.failed < FEW:
        needed = math.ceil(round(1 / (1 - objective), 6))
        return f'<span class="meter"></span>{lamp(None, f"too few checks for an error budget: it takes {needed:,}")}'
    if left < 0:
        health, css, said = Health.FAILING, "out", f"error budget overspent: {_times(spent)} of it used"
    else:
        health, css = (Health.DEGRADED, "low") if left < LOW else (Health.HEALTHY, "")
        said = f"{math.floor(left * 100)} % of the error budget left" + (": nearly gone" if left < LOW else "")
    # Overspent is a full bar: an empty one looks like no data.
    width = 100 if left < 0 else max(1, math.floor(left * 100))
    bar = f'<span class="meter"><i class="{css}" style="width:{width}%"></i></span>'
    shown = Health.UNKNOWN if silent and health is Health.HEALTHY else health
    return bar + lamp(shown, said, href=proof if health is not Health.HEALTHY else "")


def _lanes(level: ServiceLevel, project: str) -> None:
    """Availability by lane and window."""
    rows = []
    for lane in LAMPS:
        name = f"{lane.value.capitalize()}" + ("" if lane in COUNTED else ' <span class="tag">not counted</span>')
        counts = [each.lanes[lane] if each else Counts() for each in map(level.over.get, WINDOWS)]
        proofs = [_proof(project, length, lane) for length in WINDOWS]
        told = (_lane(each, level.objective, proof, counted=lane in COUNTED) for each, proof in zip(counts, proofs, strict=True))
        rows.append((name, *told))
    blocks.table([("Availability by lane", "nw"), *((f"{length.days} days", "r nw") for length in WINDOWS)], rows, "sl")


def _lane(counts: Counts, objective: float, proof: str, *, counted: bool) -> str:
    part = availability(counts)
    if part is None:
        return f'<span class="soft" title="no valid check">{MISSING}</span>'
    said = percent(part, digits_of(objective))
    shown = f'<a class="failing" href="{proof}" target="_self">{said}</a>' if counted and part < objective else said
    return f"{shown}<small>{number(counts.failed)} of {number(counts.valid)} failed</small>" if counts.failed else shown


def _burning(level: ServiceLevel, project: str, *, silent: bool) -> None:
    """Every rule with its rates, whether it fires now, and what that means."""
    rows = []
    for rule in RULES:
        health, word, meaning = (None, "unknown", "The poller is silent.") if silent else burn_state(level, rule)
        rates = (_rate(level.lately.get(length, Counts()), level.objective) for length in (rule.long, rule.short))
        proof = _proof(project, rule.long) if health is Health.FAILING else ""
        rows.append((_rule(rule), *rates, lamp(health, word, href=proof), escape(meaning)))
    columns = [
        ("Burn-rate rule", ""),
        ("Over the long window", "r nw"),
        ("Over the short one", "r nw"),
        ("Now", "nw"),
        ("What it means", ""),
    ]
    blocks.table(columns, rows, "sl stack")


def burn_state(level: ServiceLevel, rule: BurnRule) -> tuple[Health | None, str, str]:
    """Whether a rule fires: its health, a word, and a sentence."""
    long, short = _span(rule.long), _span(rule.short)
    counts, confirming = level.lately.get(rule.long, Counts()), level.lately.get(rule.short, Counts())
    rate, rate_now = burn_rate(counts, level.objective), burn_rate(confirming, level.objective)
    if rate is None:
        return None, "unknown", f"No valid check in the last {long}."
    if alerts := burn_alerts(level.lately, level.objective, (rule,)):
        return Health.FAILING, "fires", f"At this pace the month’s budget is gone in {_span(alerts[0].gone_in)}."
    if not counts.failed:
        return Health.HEALTHY, "quiet", f"Nothing failed in the last {long}."
    failed = plural(counts.failed, "failed check")
    if rate < rule.factor:
        lasts = "the whole month" if rate <= 1 else _span(MONTH / rate)
        return Health.HEALTHY, "quiet", f"{failed}: at this pace the month’s budget lasts {lasts}."
    if counts.failed < rule.at_least:
        return Health.HEALTHY, "quiet", f"Only {failed} in {long}: it takes {rule.at_least}."
    if rate_now is None:
        return None, "unknown", f"{failed} in {long}, but no check in the last {short} that could confirm it."
    return Health.HEALTHY, "quiet", f"{failed} in {long}, but it slowed down in the last {short}."


def _rule(rule: BurnRule) -> str:
    return f"<b>{rule.factor:g}×</b> over {_span(rule.long)}<small>confirmed by the last {_span(rule.short)}</small>"


def _rate(counts: Counts, objective: float) -> str:
    rate = burn_rate(counts, objective)
    if rate is None:
        return f'<span class="soft" title="no valid check">{MISSING}</span>'
    return f"{_times(rate)}<small>{number(counts.failed)} of {number(counts.valid)} failed</small>"


def _times(value: float) -> str:
    """`0×`, `3.2×`, `1,000×`; rounded up where small, so that more than one is never shown as one."""
    tenths = math.ceil(round(value * 10, 6)) / 10
    return f"{tenths:g}×" if tenths < 10 else f"{value:,.1f}×" if value < 100 else f"{value:,.0f}×"


def _span(length: timedelta) -> str:
    return span(length.total_seconds())
