"""The weekly report: one page for each owner that prints well and needs nothing but itself.

First what a manager asks: is something broken, was the promise kept, what has to be done. `facts` reads, `page` writes HTML; every
text from outside goes through `_h`, which escapes it. Times are UTC: a page that is forwarded has no reader's zone.
"""

import html
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import floor
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from sqlalchemy import Engine

from monitor.domain.alerting import label
from monitor.domain.diagnosis import Diagnosis, context_of, diagnose
from monitor.domain.health import Health
from monitor.domain.incidents import Incident, Severity
from monitor.domain.postmortem import WHO_MENDS, mtta, mttd, mttr, typical
from monitor.domain.sli import OBJECTIVE, Budget, BurnAlert, Counts, availability, error_budget
from monitor.domain.taxonomy import LAMPS, FailureKind, Lane
from monitor.domain.timeline import Window
from monitor.domain.words import capital, duration
from monitor.store import incidents, queries, slo
from monitor.store.slo import Level
from monitor.store.status import ProjectStatus

WEEK = timedelta(days=7)
WINDOWS = (WEEK, timedelta(days=28), timedelta(days=90))
PROMISE = WINDOWS[1]
"""The window that the objective is counted over."""
NOBODY = "no owner"
"""Whose page has the projects that name none."""
_CELLS = 42
"""Of the strip of a week: four hours each."""
_MOST_INCIDENTS = 10_000

V = TypeVar("V")
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
        spent = {project.name: self.budget(project.name).spent or 0 for project in self.projects}
        return sorted((name for name, part in spent.items() if part > 1), key=lambda name: -spent[name])


def facts(
    engine: Engine, now: datetime, owner: str | None = None, objective: float = OBJECTIVE, dashboard: str | None = None
) -> list[Facts]:
    """One for each owner, or for the one who is named; read once for all of them. Raises `StoreError`."""
    fleet = queries.fleet(engine, now)
    owned: dict[str, list[ProjectStatus]] = {}
    for project in fleet:
        owned.setdefault(project.owner or NOBODY, []).append(project)
    wanted = {name: projects for name, projects in sorted(owned.items()) if owner in (None, name)}
    if not wanted:
        return []
    levels = {length: slo.levels(engine, Window.last(length, now, timedelta(hours=1))) for length in WINDOWS}
    burning = slo.burning(engine, now, objective)
    strips = _strips(engine, now)
    found = [one for one in incidents.find(engine, since=now - WEEK, limit=_MOST_INCIDENTS) if one.merged_into is None]
    beat = queries.heartbeat(engine)
    return [
        Facts(
            owner=name,
            now=now,
            objective=objective,
            projects=projects,
            levels={length: _only(there, projects) for length, there in levels.items()},
            strips=_only(strips, projects),
            burning=_only(burning, projects),
            incidents=[one for one in found if _concerns(one, name, projects)],
            silent_since=beat.at if beat and beat.late(now) else None,
            demo=bool(beat and beat.demo),
            dashboard=dashboard,
        )
        for name, projects in wanted.items()
    ]


def _only(found: Mapping[str, V], projects: Iterable[ProjectStatus]) -> dict[str, V]:
    return {project.name: found[project.name] for project in projects if project.name in found}


def _concerns(incident: Incident, owner: str, projects: Iterable[ProjectStatus]) -> bool:
    """Whether it hit the owner's projects, or everybody at once."""
    return not incident.projects or owner in incident.owners or any(project.name in incident.projects for project in projects)


def _strips(engine: Engine, now: datetime) -> dict[str, dict[int, float]]:
    """What failed in each part of the week. A key that only may not list models is restricted: nothing failed."""
    found: dict[str, dict[int, float]] = defaultdict(dict)
    window = Window.last(WEEK, now, timedelta(hours=1))
    columns = ("project", "cell", "ok", "failed", "failure")
    table = queries.strips(engine, window, _CELLS)
    for name, cell, ok, failed, failure in zip(*(table[column] for column in columns), strict=True):
        if told := ok + failed:
            found[name][cell] = 0.0 if failure == FailureKind.AUTH_MISSING_SCOPE else failed / told
    return found


def write(
    engine: Engine,
    folder: Path,
    now: datetime,
    owner: str | None = None,
    objective: float = OBJECTIVE,
    dashboard: str | None = None,
) -> list[Path]:
    """Write one page for each owner, or for the one who is named, into `folder`; gives the files. One of the same day is replaced.

    Raises `StoreError` where the database cannot be read, and OSError where the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for each in facts(engine, now, owner, objective, dashboard):
        path = folder / f"{now.astimezone(UTC):%Y-%m-%d}-{_slug(each.owner)}.html"
        number = 2
        while path in written:  # two owners may differ in signs that no file name should have
            path = path.with_name(f"{now.astimezone(UTC):%Y-%m-%d}-{_slug(each.owner)}-{number}.html")
            number += 1
        path.write_text(page(each), encoding="utf-8")
        written.append(path)
    return written


def _slug(name: str) -> str:
    """A name as part of a file name."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:60] or "owner"


# HTML --------------------------------------------------------------------------------------------------------------------------------


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
        found.append(_h('<p class="notice">Sample data: nothing here is real.</p>\n'))
    if facts.silent_since is not None:
        since = _moment(facts.silent_since)
        found.append(_h('<p class="notice">The monitor is silent since {since}: nothing is known from then on.</p>\n', since=since))
    return _join(found)


def _headline(facts: Facts) -> Html:
    """How things stand, in one sentence."""
    by_health = {health: [one.name for one in facts.projects if one.health is health] for health in Health}
    failing, degraded, unknown = (by_health[health] for health in (Health.FAILING, Health.DEGRADED, Health.UNKNOWN))
    number = len(facts.projects)
    if failing or degraded:
        parts = []
        if failing:
            parts.append(_h('<span class="bad">{who}</span> failing', who=_who(failing, number)))
        if degraded:
            parts.append(_h('<span class="warn">{who}</span> degraded', who=_who(degraded, number)))
        return _h("{parts}: {names}.", parts=_join(parts, ", "), names=_few([*failing, *degraded]))
    if len(unknown) == number:
        return Html("How the projects are is not known: there are no fresh data.")
    if unknown:
        return _h('Of <span class="warn">{who}</span> there are no fresh data; all others are well.', who=_few(unknown))
    return _h('<span class="good">{who} well.</span>', who=f"All {number} projects are" if number > 1 else f"{by_name(facts)} is")


def by_name(facts: Facts) -> str:
    """The only project."""
    return facts.projects[0].name


def _who(names: Sequence[str], number: int) -> str:
    return f"{len(names)} of {number} project{'s' * (number > 1)} {'is' if len(names) == 1 else 'are'}"


def _lead(facts: Facts) -> Html:
    """Whether the promise was kept, and how the week was, in two sentences."""
    known = [project.name for project in facts.projects if facts.budget(project.name).counts.valid]
    kept, promise = len(known) - len(facts.missed), _percent(facts.objective, facts.objective)
    if not known:
        said = "Nothing was measured in the last 28 days."
    elif kept == len(known):
        said = f"{f'All {kept}' if kept > 1 else 'It'} kept the promised {promise} over 28 days."
    else:
        said = f"{kept} of {len(known)} kept the promised {promise} over 28 days; not {_few(facts.missed)}."
    number, going_on = len(facts.incidents), len(facts.open)
    if number:
        week = f"{number} incident{'s' * (number > 1)} this week, {going_on or 'none'} of them still open."
    else:
        week = "No incident this week."
    return _h("{said} {week}", said=said, week=week)


def _numbers(facts: Facts) -> Html:
    """The week in five numbers."""
    usual = typical(facts.incidents)
    shown = [
        (_percent(availability(facts.together(length)), facts.objective), f"available, {length.days} days", _css(facts, length))
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
    part = availability(facts.together(length))
    return "" if part is None else "good" if part >= facts.objective else "bad"


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
    hit += f" and {more} of others" if mine and more > 0 else ""
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
        '<p class="do"><b>Next:</b>{step} <span class="soft">({who})</span></p></section>\n',
        css=css,
        title=title,
        since=f"{_span(now - since)}, since {_moment(since)}" if since else "",
        summary=said.summary,
        cause=said.cause,
        more=more,
        step=said.next_step,
        who=WHO_MENDS[said.owner],
    )


def _todo(facts: Facts) -> Html:
    found = [_h("<li>{what}</li>", what=what) for what in _worth_doing(facts)]
    if not found:
        return NOTHING
    heading = "Also worth doing" if facts.open else "Worth doing"
    return _h("<h2>{heading}</h2>\n<ol>{found}</ol>\n", heading=heading, found=_join(found))


_FINDINGS = {
    "denied_model_usable": "A model that shall be refused can be used in {names}: take it off the project's list on platform.openai.com, "
    "or from `denied_models`.",
    "key_legacy": "{names}: replace the user key from before projects by one of a service account; it reaches every project of its owner.",
    "key_unscoped": "{names}: replace the user key without a project by one of a service account; it reaches every project of its owner.",
    "no_project_id": "{names}: add `project_id` to monitor.toml; until then nothing proves that the key belongs to the project.",
}


def _worth_doing(facts: Facts) -> Iterator[str]:
    """Beyond what is broken: budgets that are spent, what comes back, what nobody took, what is set up badly."""
    for name, alerts in facts.burning.items():
        alert = alerts[0]
        gone = _span(alert.gone_in)
        yield f"{name} fails {alert.rate:,.0f} times as often as promised right now: a month's budget is gone in {gone}."
    for name in facts.missed:
        spent, level = facts.budget(name).spent or 0, facts.levels[PROMISE][name]
        lane = max(level.lanes, key=lambda each: level.lanes[each].failed if each is not Lane.NETWORK else -1)
        part = level.lanes[lane].failed / level.whole.failed
        yield (
            f"{name} used {_times(spent)} its budget of 28 days, {_percent(part, 0.9)} of it for {_LANES[lane]}: "
            "let nothing risky go out there before that is settled."
        )
    again = Counter(one.cause.key for one in facts.incidents)
    for one in {each.cause.key: each for each in reversed(facts.incidents)}.values():
        times = again[one.cause.key] + sum(each.reopened for each in facts.incidents if each.cause.key == one.cause.key)
        if times > 1:
            yield f"“{one.title}” came {times} times this week: mend what is behind it."
    for one in facts.open:
        if one.acknowledged_at is None and facts.now - one.opened_at > timedelta(hours=1):
            yield f"{label(one)} is open for {_span(facts.now - one.opened_at)} and nobody has taken it: name somebody."
    for finding, text in _FINDINGS.items():
        if names := [project.name for project in facts.projects if finding in project.findings]:
            yield text.format(names=_few(names))


_LANES = {
    Lane.AUTH: "refused keys",
    Lane.ACCESS: "models that may not be used",
    Lane.RATE: "rate limits",
    Lane.QUOTA: "quota and billing",
    Lane.SERVER: "errors of OpenAI's servers",
    Lane.NETWORK: "the network",
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
    order = {name: at for at, name in enumerate(facts.missed)}
    listed = sorted(facts.projects, key=lambda one: (-one.health.rank, order.get(one.name, len(order)), one.name))
    rows = [_project_row(facts, project) for project in listed]
    heads = [_h('<th class="r">{days} days</th>', days=length.days) for length in WINDOWS]
    if len(rows) > 1:
        cells = [
            _h('<td class="r nw">{part}</td>', part=_percent(availability(facts.together(length)), facts.objective))
            for length in WINDOWS
        ]
        rows.append(_h('<tr><td class="name"><b>Together</b></td><td></td><td></td>{cells}<td></td></tr>', cells=_join(cells)))
    return _h(
        "<h2>Availability by project</h2>\n"
        '<div class="scroll"><table><thead><tr><th>Project</th><th>Now</th><th>This week</th>{heads}'
        "<th>Error budget, 28 days at {promise}</th></tr></thead>\n<tbody>{rows}</tbody></table></div>\n",
        heads=_join(heads),
        promise=_percent(facts.objective, facts.objective),
        rows=_join(rows, "\n"),
    )


def _project_row(facts: Facts, project: ProjectStatus) -> Html:
    css, sign = _SIGNS[project.health]
    about = " · ".join(part for part in (project.environment, *project.services[:3]) if part)
    return _h(
        '<tr><td class="name"><b>{name}</b><small>{about}</small></td><td class="nw {css}">{sign} {health}</td><td>{strip}</td>{parts}'
        '<td class="budget">{budget}</td></tr>',
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
        css="bad" if part is not None and part < facts.objective else "",
        part=_percent(part, facts.objective),
        since=_h("<small>since {day}</small>", day=_day(level.since)) if short else NOTHING,
    )


def _budget(budget: Budget) -> Html:
    left, down = budget.left, budget.down
    if left is None or down is None or budget.spent is None:
        return Html('<span class="quiet">no data</span>')
    css = "over" if left < 0 else "low" if left < 0.25 else ""
    said = f"{floor(left * 100)} % left" if left >= 0 else f"{_times(budget.spent)} the budget"
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
    for cell in range(_CELLS):
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
        '<div class="scroll"><table><thead><tr><th>Project</th>{heads}</tr></thead>\n<tbody>{rows}</tbody></table></div>\n',
        said=said,
        heads=heads,
        rows=_join(rows, "\n"),
    )


def _lane(facts: Facts, name: str, lane: Lane) -> Html:
    shown = []
    for length in WINDOWS:
        level = facts.levels.get(length, {}).get(name)
        shown.append(availability(level.lanes[lane]) if level else None)
    week, month, quarter = (_percent(part, facts.objective) for part in shown)
    known = [part for part in shown if part is not None]
    css = "quiet" if not known or min(known) == 1 else "bad" if shown[1] is not None and shown[1] < facts.objective else ""
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
        "<footer><p>How it is counted: the good part of the valid checks. Failures of keys, models, limits, quota and OpenAI's servers "
        "count against a project. Network trouble may be the monitor's own: it has its column and counts against nobody. Answers that "
        "say nothing, mistakes in the monitor's configuration, and hours in which it did not look are left out. A budget is the part "
        "of all checks that the objective of {promise} lets fail; failed checks are repeated sooner, so outages weigh rather more than "
        "their time. MTTD, MTTA and MTTR are medians of the week: first bad answer to incident, incident to acknowledgement, first bad "
        "answer to recovery.</p><p>Written {now}.</p></footer>",
        promise=_percent(facts.objective, facts.objective),
        now=_moment(facts.now, year=True),
    )


# Words ---------------------------------------------------------------------------------------------------------------------------


def _percent(part: float | None, objective: float) -> str:
    """Never rounded up: 99.996 % is not 100 %. One digit more than the objective has, and two at least."""
    if part is None:
        return "–"
    scaled = f"{objective * 100:.6f}".rstrip("0").partition(".")[2]
    digits = len(scaled) + (part != objective)
    shown = floor(part * 100 * 10**digits + 1e-9) / 10**digits
    return f"{shown:.{digits}f}".rstrip("0").rstrip(".") + " %" if part in (1, objective) else f"{shown:.{digits}f} %"


def _times(number: float) -> str:
    if number == 1:
        return "once"
    return f"{number:,.1f} times" if number < 10 and number != round(number) else f"{number:,.0f} times"


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
