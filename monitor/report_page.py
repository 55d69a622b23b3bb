"""How the weekly report looks: one page of HTML that prints well and needs nothing but itself.

First what a manager asks: is something broken, was the promise kept, what has to be done. Every text from outside goes through
`_h`, which escapes it. Times are UTC: a page that is forwarded has no reader's zone.
"""

import html
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import ceil, floor
from pathlib import Path
from urllib.parse import quote

from monitor.domain.alerting import label
from monitor.domain.diagnosis import Diagnosis, context_of, diagnose
from monitor.domain.health import Health
from monitor.domain.incidents import Incident, Severity
from monitor.domain.postmortem import WHO_MENDS, mtta, mttd, mttr, typical
from monitor.domain.sli import COUNTED, Budget, BurnAlert, Counts, availability, error_budget
from monitor.domain.taxonomy import LAMPS, Lane
from monitor.domain.words import capital, digits_of, duration, percent, promise_of
from monitor.store.slo import Level
from monitor.store.status import ProjectStatus

WEEK = timedelta(days=7)
WINDOWS = (WEEK, timedelta(days=28), timedelta(days=90))
PROMISE = WINDOWS[1]
"""The window that the objective is counted over."""
CELLS = 42
"""Of the strip of a week: four hours each."""

_STYLE = Path(__file__).with_name("report.css")

# What it tells -------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Facts:
    """All that one owner's page says."""

    owner: str
    now: datetime
    objective: float
    projects: Sequence[ProjectStatus]
    """Worst first."""
    levels: Mapping[timedelta, Mapping[str, Level]] = field(default_factory=dict)
    """By window, then by project."""
    strips: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    """By project and cell of the week: the part of the checks that failed."""
    burning: Mapping[str, tuple[BurnAlert, ...]] = field(default_factory=dict)
    incidents: Sequence[Incident] = ()
    """Of the week, newest first; those that go on count, however old."""
    silent_since: datetime | None = None
    """The last sign of the poller, where it is silent."""
    demo: bool = False
    dashboard: str | None = None
    """The pages' address, to link to."""

    @property
    def open(self) -> list[Incident]:
        """What goes on, worst first, then oldest."""
        return sorted((one for one in self.incidents if one.open), key=lambda one: (-one.severity.rank, one.first_bad_at))

    def budget(self, project: str, window: timedelta = PROMISE) -> Budget:
        """What the objective leaves one project."""
        level = self.levels.get(window, {}).get(project)
        return error_budget(level.whole if level else Counts(), self.objective, window)

    def together(self, window: timedelta) -> Counts:
        """The valid checks of all of the owner's projects."""
        return sum((level.whole for level in self.levels.get(window, {}).values()), Counts())

    @property
    def missed(self) -> list[str]:
        """The projects that had less than was promised, worst first."""
        budgets = {project.name: self.budget(project.name) for project in self.projects}
        spent = {name: budget.spent or 0 for name, budget in budgets.items() if budget.counts.enough}
        return sorted((name for name, part in spent.items() if part > 1), key=lambda name: -spent[name])


# HTML ----------------------------------------------------------------------------------------------------------------------------


class Html(str):
    """Text that is HTML already, and safe."""

    __slots__ = ()


def _h(template: str, **values: object) -> Html:
    """The template with its blanks filled in: texts are escaped, HTML is not, and what cannot be seen is shown."""
    return Html(template.format_map({name: _safe(value) for name, value in values.items()}))


def _safe(value: object) -> Html:
    if isinstance(value, Html):
        return value
    text = " ".join(str(value).split())
    return Html(html.escape("".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)))


def _join(parts: Iterable[Html], between: str = "") -> Html:
    return Html(between.join(parts))


NOTHING = Html()


def _prose(text: str) -> Html:
    """Sentences in which names of settings stand between backticks."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return _safe(text)
    return _join(_h("<code>{part}</code>", part=part) if at % 2 else _kept(part) for at, part in enumerate(parts))


def _kept(part: str) -> Html:
    """Escaped, with the spaces at its ends: they part it from the code beside it."""
    return _h("{before}{part}{after}", before=Html(" " * part.startswith(" ")), part=part, after=Html(" " * part.endswith(" ")))


def page(facts: Facts) -> str:
    """The page of one owner, complete: no script, nothing from elsewhere."""
    return _h(
        """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>OpenAI access, week to {day}: {owner}</title>
<style>
{style}</style>
</head>
<body>
<header><strong>OpenAI access: {owner}</strong><span>Week of {week} (UTC)</span></header>
<main>
{notices}<h1>{headline}</h1>
<p>{lead}</p>
{numbers}
{broken}{todo}{table}{lanes}{incidents}</main>
{footer}
</body>
</html>
""",
        day=_day(facts.now, year=True),
        owner=facts.owner,
        style=Html(_STYLE.read_text(encoding="utf-8")),
        week=f"{_day(facts.now - WEEK)} to {_day(facts.now, year=True)}",
        notices=_notices(facts),
        headline=_headline(facts),
        lead=_lead(facts),
        numbers=_numbers(facts),
        broken=_broken(facts),
        todo=_todo(facts),
        table=_projects(facts),
        lanes=_lanes(facts),
        incidents=_incidents(facts),
        footer=_footer(facts),
    )


def _notices(facts: Facts) -> Html:
    found = []
    if facts.demo:
        found.append(
            _h(
                '<p class="notice">Sample data: nothing here is real. Its quiet days were asked less often than its outages, so '
                "its numbers are worse than such a month would be.</p>\n"
            )
        )
    if facts.silent_since is not None:
        since = _moment(facts.silent_since)
        found.append(_h('<p class="notice">The monitor is silent since {since}: nothing is known from then on.</p>\n', since=since))
    return _join(found)


def _headline(facts: Facts) -> Html:
    """How things stand, in one sentence."""
    by_health = {health: [one.name for one in facts.projects if one.health is health] for health in Health}
    failing, degraded, unknown = (by_health[health] for health in (Health.FAILING, Health.DEGRADED, Health.UNKNOWN))
    number, ill = len(facts.projects), len(failing) + len(degraded)
    if ill:
        parts = [
            _h(
                '{who} <span class="{css}">{be} {state}</span>',
                who=_few(names),
                css=css,
                be="is" if len(names) == 1 else "are",
                state=state,
            )
            for names, css, state in ((failing, "bad", "failing"), (degraded, "warn", "degraded"))
            if names
        ]
        count = _h("{ill} of {number} projects {be} not well: ", ill=ill, number=number, be="is" if ill == 1 else "are")
        return _h("{count}{parts}.", count=count if number > 1 else NOTHING, parts=_join(parts, ", "))
    if len(unknown) == number:
        return Html('How it is now <span class="warn">is not known</span>: there are no fresh data.')
    if unknown:
        return _h('Of {who} there are <span class="warn">no fresh data</span>; all others are well.', who=_few(unknown))
    who = facts.projects[0].name if number == 1 else "Both projects" if number == 2 else f"All {number} projects"
    return _h('{who} {be} <span class="good">well</span> now.', who=who, be="is" if number == 1 else "are")


def _lead(facts: Facts) -> Html:
    """Whether the promise was kept, and how the week was, in two sentences."""
    counts = {project.name: facts.budget(project.name).counts for project in facts.projects}
    known = [name for name, each in counts.items() if each.enough]
    few = [name for name, each in counts.items() if each.valid and not each.enough]
    kept, promise = len(known) - len(facts.missed), promise_of(facts.objective)
    if not known and few:
        said = Html("There were too few checks in the last 28 days to say whether the promise was kept.")
    elif not known:
        said = Html("Nothing was measured in the last 28 days.")
    elif kept == len(known):
        said = _h(
            "{who} kept the promised {promise} over 28 days.",
            who=f"All {kept}" if kept > 2 else "Both" if kept == 2 else "It",
            promise=promise,
        )
    else:
        who = "It did not keep" if len(known) == 1 else "None kept" if not kept else f"{kept} of {len(known)} kept"
        missed = f"; {_few(facts.missed)} did not" if kept else ""
        said = _h('<b class="bad">{who} the promised {promise}</b> over 28 days{missed}.', who=who, promise=promise, missed=missed)
    if known and few:
        said = _h("{said} Of {few} there were too few checks to say.", said=said, few=_few(few))
    number, going_on = len(facts.incidents), len(facts.open)
    if not number:
        week = "No incident this week."
    elif number == 1:
        week = "One incident this week, still open." if going_on else "One incident this week; it is over."
    else:
        week = f"{number} incidents this week, {going_on} still open." if going_on else f"{number} incidents this week, all over."
    return _h("{said} {week}", said=said, week=week)


def _numbers(facts: Facts) -> Html:
    """The week in five numbers."""
    usual = typical(facts.incidents)
    shown = [
        (_counted(facts.together(length), facts.objective), f"available, {length.days} days", _css(facts, length))
        for length in WINDOWS[:2]
    ]
    shown += [
        (_span(usual.mttd), "to detect (MTTD)", ""),
        (_span(usual.mtta), "to acknowledge (MTTA)", ""),
        (_span(usual.mttr), "to mend (MTTR)", ""),
    ]
    cells = [
        _h('<div><b class="{css}">{value}</b><span>{what}</span></div>', css=css, value=value, what=what)
        for value, what, css in shown
    ]
    return _h('<div class="numbers">{cells}</div>\n', cells=_join(cells))


def _css(facts: Facts, length: timedelta) -> str:
    counts = facts.together(length)
    part = availability(counts)
    return "" if part is None or not counts.enough else "good" if part >= facts.objective else "bad"


# What is broken, and what to do --------------------------------------------------------------------------------------------------


def _broken(facts: Facts) -> Html:
    """A card for each open incident, then for what is ill without one."""
    told = {name for one in facts.open for name in one.projects}
    cards = [_incident_card(facts, one) for one in facts.open]
    cards += [
        _project_card(facts, project)
        for project in facts.projects
        if project.health in (Health.FAILING, Health.DEGRADED)
        and project.name not in told
        and project.worst
        and project.worst.failure
    ]
    if not cards:
        return NOTHING
    return _h("<h2>Broken now</h2>\n{cards}", cards=_join(cards))


def _incident_card(facts: Facts, one: Incident) -> Html:
    mine = [project.name for project in facts.projects if project.name in one.projects]
    more = len(one.projects) - len(mine)
    services = sorted({service for project in facts.projects if project.name in mine for service in project.services})
    hit = f"Hits {_few(mine)}" if mine else "Hits everybody"
    hit += f" and {more} project{'s' * (more > 1)} of others" if mine and more > 0 else ""
    hit += f"; services: {_few(services)}" if services else ""
    taken = f"Taken by {one.acknowledged_by}." if one.acknowledged_by else "Nobody has taken it yet."
    return _card(
        "warning" if one.severity is not Severity.CRITICAL else "",
        _h("{link} {title}", link=_link(facts, one), title=one.title),
        one.first_bad_at,
        facts.now,
        one.diagnosis,
        f"{hit}. {taken}",
    )


def _project_card(facts: Facts, project: ProjectStatus) -> Html:
    worst = project.worst
    if worst is None or worst.failure is None:
        return NOTHING
    said = diagnose(
        worst.failure, context_of(worst, at=worst.last_at, now=facts.now, since=worst.since, last_ok_at=worst.last_ok_at)
    )
    css = "" if project.health is Health.FAILING else "warning"
    return _card(css, _h("{name}: {health}", name=project.name, health=project.health.value), project.since, facts.now, said, "")


def _card(css: str, title: Html, since: datetime | None, now: datetime, said: Diagnosis, more: str) -> Html:
    return _h(
        '<section class="card {css}"><div class="top"><h3>{title}</h3><span>{since}</span></div>'
        '<p>{summary} {cause}</p><p class="soft">{more}</p>'
        '<p class="do"><b>Next:</b> {step} <span class="soft">({who})</span></p></section>\n',
        css=css,
        title=title,
        since=f"{_span(now - since)}, since {_moment(since)}" if since else "",
        summary=_prose(said.summary),
        cause=_prose(said.cause),
        more=more,
        step=_prose(said.next_step),
        who=WHO_MENDS[said.owner],
    )


def _todo(facts: Facts) -> Html:
    found = [_h("<li>{what}</li>", what=_prose(what)) for what in _worth_doing(facts)]
    if not found:
        return NOTHING
    heading = "Also worth doing" if facts.open else "Worth doing"
    return _h("<h2>{heading}</h2>\n<ol>{found}</ol>\n", heading=heading, found=_join(found))


_FINDINGS = {
    "denied_model_usable": "{names}: a model that shall be refused can be used. Take it off the project's models on "
    "platform.openai.com → Settings → Project → Limits, or out of `denied_models`.",
    "key_legacy": "{names}: a user key from the time before projects reaches every project of its user. Put one of a service "
    "account in its place.",
    "key_unscoped": "{names}: a user key without a project reaches every project of its user. Put one of a service account in its "
    "place.",
    "no_project_id": "{names}: without `project_id` in monitor.toml nothing proves whose key it is. Add it.",
}


def _worth_doing(facts: Facts) -> Iterator[str]:
    """Beyond what is broken: what goes wrong right now, what is set up badly, budgets that are spent, what comes back."""
    told = {name for one in facts.open for name in one.projects}
    for name, alerts in facts.burning.items():
        if name not in told:
            rate, gone = f"{alerts[0].rate:,.0f}", _span(alerts[0].gone_in)
            yield f"{name} fails {rate} times as often as promised right now: a month's budget would be gone in {gone}."
    for one in facts.open:
        if one.acknowledged_at is None and facts.now - one.opened_at > timedelta(hours=1):
            yield f"{label(one)} has been open for {_span(facts.now - one.opened_at)} and nobody has taken it. Name somebody."
    for finding, text in _FINDINGS.items():
        if names := [project.name for project in facts.projects if finding in project.findings]:
            yield text.format(names=_few(names))
    overspent: dict[Lane, list[str]] = defaultdict(list)
    for name in facts.missed:
        lanes = facts.levels[PROMISE][name].lanes
        worst = max(COUNTED, key=lambda lane: lanes[lane].failed)
        overspent[worst].append(f"{name} ({_times(facts.budget(name).spent or 0)})")
    for lane, names in overspent.items():
        yield f"Error budget of 28 days overspent, most of it for {_LANES[lane]}: {_few(names)}. {_ADVICE[lane]}"
    times: dict[str, int] = defaultdict(int)
    for one in facts.incidents:
        times[one.cause.key] += 1 + one.reopened
    for one in {each.cause.key: each for each in reversed(facts.incidents)}.values():
        if times[one.cause.key] > 1:
            yield f"“{one.title}” came {times[one.cause.key]} times this week. Mend what is behind it."


_LANES = {
    Lane.AUTH: "refused keys",
    Lane.ACCESS: "models that may not be used",
    Lane.RATE: "rate limits",
    Lane.QUOTA: "quota and billing",
    Lane.SERVER: "errors of OpenAI's servers",
}
_ADVICE = {
    Lane.AUTH: "See who rotates these keys, and how the new ones reach the services.",
    Lane.ACCESS: "Agree which models the projects need, and who may change that.",
    Lane.RATE: "Spread the load, or ask for higher limits.",
    Lane.QUOTA: "Set a budget alert below the limit, and name who raises it.",
    Lane.SERVER: "Nothing here mends that: let the services try again later, or have another model to fall back to.",
}

# Tables --------------------------------------------------------------------------------------------------------------------------

_SIGNS = {
    Health.FAILING: ("bad", "✖"),
    Health.DEGRADED: ("warn", "▲"),
    Health.RESTRICTED: ("quiet", "◐"),
    Health.UNKNOWN: ("quiet", "○"),
    Health.PAUSED: ("quiet", "‖"),
    Health.HEALTHY: ("good", "●"),
}


def _projects(facts: Facts) -> Html:
    listed = sorted(facts.projects, key=lambda one: (-one.health.rank, -(facts.budget(one.name).spent or 0), one.name))
    rows = [_project_row(facts, project) for project in listed]
    heads = [_h('<th class="r">{days} days</th>', days=length.days) for length in WINDOWS]
    if len(rows) > 1:
        cells = [
            _h(
                '<td class="r nw {css}">{part}</td>',
                css=_css(facts, length).replace("good", ""),
                part=_counted(facts.together(length), facts.objective),
            )
            for length in WINDOWS
        ]
        rows.append(_h('<tr><td class="name"><b>Together</b></td><td></td><td></td>{cells}<td></td></tr>', cells=_join(cells)))
    return _h(
        "<h2>Availability by project</h2>\n"
        '<div class="scroll"><table><thead><tr><th>Project</th><th>Now</th><th>This week</th>{heads}'
        "<th>Error budget, 28 days at {promise}</th></tr></thead>\n<tbody>{rows}</tbody></table></div>\n",
        heads=_join(heads),
        promise=promise_of(facts.objective),
        rows=_join(rows, "\n"),
    )


def _project_row(facts: Facts, project: ProjectStatus) -> Html:
    css, sign = _SIGNS[project.health]
    about = " · ".join(part for part in (project.environment, *project.services[:3]) if part)
    return _h(
        '<tr><td class="name"><b>{name}</b><small>{about}</small></td><td class="nw {css}">{sign} {health}</td>'
        '<td>{strip}</td>{parts}<td class="budget">{budget}</td></tr>',
        name=project.name,
        about=about,
        css=css,
        sign=sign,
        health=project.health.value,
        strip=_strip(facts.strips.get(project.name, {})),
        parts=_join(_part(facts, project.name, length) for length in WINDOWS),
        budget=_budget(facts.budget(project.name)),
    )


def _part(facts: Facts, name: str, length: timedelta) -> Html:
    level = facts.levels.get(length, {}).get(name)
    if level is None or not level.whole.valid:
        return Html('<td class="r quiet">–</td>')
    part = availability(level.whole)
    short = level.since - (facts.now - length) > max(length / 20, timedelta(hours=12))
    return _h(
        '<td class="r nw {css}">{part}{since}</td>',
        css="" if not level.whole.enough else "bad" if part is not None and part < facts.objective else "",
        part=_counted(level.whole, facts.objective),
        since=_h("<small>since {day}</small>", day=_day(level.since)) if short else NOTHING,
    )


def _budget(budget: Budget) -> Html:
    left, down = budget.left, budget.down
    if left is None or down is None or budget.spent is None:
        return Html('<span class="quiet">no data</span>')
    if not budget.counts.enough:
        return _h('<span class="quiet">{few}: {number}</span>', few=_TOO_FEW, number=budget.counts.valid)
    css = "over" if left < 0 else "low" if left < 0.25 else ""
    said = f"{floor(left * 100)} % left" if left >= 0 else f"{_number(budget.spent)} × the budget"
    return _h(
        '<div class="bar {css}"><i style="width:{width}%"></i></div><small class="{colour}">{said}</small>',
        css=css,
        width=max(0, floor(left * 100)),
        colour="bad" if left < 0 else "",
        said=said,
    )


def _strip(parts: Mapping[int, float]) -> Html:
    """The week in bars of four hours: what failed hangs from the top, what was good stands below, no data is a line."""
    bars = []
    for cell in range(CELLS):
        x = cell * 4
        if cell not in parts:
            bars.append(f'<rect x="{x}" y="20" width="3" height="2" fill="#c5ccd3"/>')
            continue
        bad = 0.0 if not parts[cell] else max(5.0, round(22 * parts[cell], 1))
        if bad < 22:
            bars.append(f'<rect x="{x}" y="{bad:g}" width="3" height="{22 - bad:g}" fill="#9fd3c6"/>')
        if bad:
            bars.append(f'<rect x="{x}" y="0" width="3" height="{bad:g}" fill="#d5451b"/>')
    failed = sum(part > 0 for part in parts.values())
    return _h(
        '<svg class="strip" viewBox="0 0 168 22" preserveAspectRatio="none" role="img" aria-label="{said}">{bars}</svg>',
        said=f"Failed checks in {failed} of {len(parts)} parts of the week",
        bars=Html("".join(bars)),
    )


def _lanes(facts: Facts) -> Html:
    """By project and lane, where anything failed; the rest is one sentence."""
    longest = facts.levels.get(WINDOWS[-1], {})
    failed = [
        project
        for project in facts.projects
        if project.name in longest and any(each.failed for each in longest[project.name].lanes.values())
    ]
    clean = sum(project.name in longest for project in facts.projects) - len(failed)
    if not longest:
        return NOTHING
    said = f"{clean} project{'s' * (clean > 1)} had no failed check in 90 days." if clean else ""
    if not failed:
        return _h('<h2>Availability by cause</h2>\n<p class="well">{said}</p>\n', said=said)
    rows = [
        _h(
            '<tr><td class="name"><b>{name}</b></td>{cells}</tr>',
            name=one.name,
            cells=_join(_lane(facts, one.name, lane) for lane in LAMPS),
        )
        for one in sorted(failed, key=lambda one: availability(longest[one.name].whole) or 0)
    ]
    heads = _join(_h('<th class="r">{lane}</th>', lane=capital(lane.value)) for lane in LAMPS)
    return _h(
        '<h2>Availability by cause</h2>\n<p class="soft">28 days; below, where they differ, 7 and 90 days. {said}</p>\n'
        '<div class="scroll"><table class="lanes"><thead><tr><th>Project</th>{heads}</tr></thead>\n'
        "<tbody>{rows}</tbody></table></div>\n",
        said=said,
        heads=heads,
        rows=_join(rows, "\n"),
    )


def _lane(facts: Facts, name: str, lane: Lane) -> Html:
    shown = []
    for length in WINDOWS:
        level = facts.levels.get(length, {}).get(name)
        shown.append(level.lanes[lane] if level else Counts())
    week, month, quarter = (_counted(counts, facts.objective) for counts in shown)
    known = [part for counts in shown if counts.enough and (part := availability(counts)) is not None]
    missed = shown[1].enough and (availability(shown[1]) or 0) < facts.objective
    css = "quiet" if not known or min(known) == 1 else "bad" if missed else ""
    more = _h("<small>{week} · {quarter}</small>", week=week, quarter=quarter) if len({week, month, quarter}) > 1 else NOTHING
    return _h('<td class="lane"><span class="{css}">{month}</span>{more}</td>', css=css, month=month, more=more)


def _incidents(facts: Facts) -> Html:
    if not facts.incidents:
        return Html('<h2>Incidents of the week</h2>\n<p class="well">None.</p>\n')
    rows = [_incident_row(facts, one) for one in [*facts.open, *(one for one in facts.incidents if not one.open)]]
    return _h(
        "<h2>Incidents of the week</h2>\n"
        '<div class="scroll"><table><thead><tr><th>Incident</th><th>Began (UTC)</th><th class="r">Detected after</th>'
        '<th class="r">Acknowledged after</th><th class="r">Lasted</th></tr></thead>\n<tbody>{rows}</tbody></table></div>\n',
        rows=_join(rows, "\n"),
    )


def _incident_row(facts: Facts, one: Incident) -> Html:
    mine = [project.name for project in facts.projects if project.name in one.projects]
    return _h(
        '<tr><td class="name" style="max-width:none"><b>{link} {title}</b><small>{about}</small></td><td class="nw">{began}</td>'
        '<td class="r nw">{detected}</td><td class="r">{taken}<small>{by}</small></td><td class="r nw">{lasted}</td></tr>',
        link=_link(facts, one),
        title=one.title,
        about=". ".join(part for part in (_few(mine), f"Came back {_times(one.reopened)}" if one.reopened else "") if part),
        began=f"{one.first_bad_at.astimezone(UTC):%a %d %b %H:%M}",
        detected=_span(mttd(one)),
        taken=_span(mtta(one)),
        by=one.acknowledged_by or "",
        lasted=_h('<span class="bad">{span}, goes on</span>', span=_span(facts.now - one.first_bad_at))
        if one.open
        else _span(mttr(one)),
    )


def _link(facts: Facts, one: Incident) -> Html:
    if facts.dashboard is None:
        return _safe(label(one))
    address = f"{facts.dashboard.rstrip('/')}/incidents?incident={quote(str(one.id))}"
    return _h('<a href="{address}">{label}</a>', address=address, label=label(one))


def _footer(facts: Facts) -> Html:
    return _h(
        "<footer><p>{how}</p><p>Written {now}.</p></footer>",
        how=_HOW.format(promise=promise_of(facts.objective)),
        now=_moment(facts.now, year=True),
    )


_HOW = (
    "How it is counted: the good part of the valid checks. Failures of keys, models, limits, quota and OpenAI's servers count "
    "against a project. Network trouble may be the monitor's own: it has its column and counts against nobody. Answers that say "
    "nothing, mistakes in the monitor's configuration, and hours in which it did not look are left out. The error budget is the "
    "part of the checks that the objective of {promise} lets fail. Failed checks are repeated sooner, so an outage weighs somewhat "
    "more than its time. MTTD, MTTA and MTTR are medians of the week: first bad answer to incident, incident to acknowledgement, "
    "first bad answer to recovery."
)


# Words ---------------------------------------------------------------------------------------------------------------------------


def _percent(part: float | None, objective: float) -> str:
    return percent(part, digits_of(objective))


_TOO_FEW = "too few checks"


def _counted(counts: Counts, objective: float) -> str:
    """The share that was good, or that there are too few checks to tell one."""
    return _percent(availability(counts), objective) if counts.enough or not counts.valid else _TOO_FEW


def _times(number: float) -> str:
    return "once" if number == 1 else f"{_number(number)} times"


def _number(number: float) -> str:
    """With one digit where it is small, rounded up: a budget that is overspent is never shown as just used."""
    tenths = ceil(round(number * 10, 6))
    return f"{tenths / 10:,.1f}" if tenths < 100 and tenths % 10 else f"{number:,.0f}"


def _span(length: timedelta | None) -> str:
    return "–" if length is None else duration(max(1, round(length.total_seconds())))


def _day(at: datetime, *, year: bool = False) -> str:
    at = at.astimezone(UTC)
    return f"{at.day} {at:%b %Y}" if year else f"{at.day} {at:%b}"


def _moment(at: datetime, *, year: bool = False) -> str:
    return f"{_day(at, year=year)} {at.astimezone(UTC):%H:%M} UTC"


def _few(names: Sequence[str], most: int = 4) -> str:
    """`a`, `a and b`, `a, b, c and 4 more`."""
    shown = list(names[:most]) if len(names) <= most else [*names[: most - 1], f"{len(names) - most + 1} more"]
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else "".join(shown)
