"""Pieces of pages. Texts from outside are escaped here, at the last moment, and nowhere else."""

import functools
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import replace
from datetime import datetime, timedelta, tzinfo
from typing import TYPE_CHECKING

import streamlit as st

from monitor.domain.diagnosis import Diagnosis, context_of, diagnose
from monitor.domain.health import Health, LaneState
from monitor.domain.incidents import NOTHING_OPEN, OpenIncidents
from monitor.domain.inventory import ApiKey, Fingerprint, Project
from monitor.domain.postmortem import WHO_MENDS
from monitor.domain.recovery import by_itself
from monitor.domain.taxonomy import LAMPS, FailureKind, Lane
from monitor.domain.timeline import Window
from monitor.domain.words import capital
from monitor.store.engine import Problem, StoreError
from monitor.store.queries import EffectiveConfig, Heartbeat, KeyStatus, ProjectStatus, TargetStatus
from monitor.ui.format import MISSING, age, clock, escape, link, local, plural, since, span, title, words, zone_name
from monitor.ui.theme import LOOKS, look

if TYPE_CHECKING:
    import pandas as pd

REFRESH = timedelta(seconds=10)
SOON = timedelta(seconds=2)
"""While something that was asked for is being carried out."""
SLOW = timedelta(minutes=1)
"""Charts and what belongs to them."""
_CODE = re.compile(r"`([^`]+)`")
_ROUTED: ContextVar[bool] = ContextVar("routed", default=False)
_PULSE: ContextVar[Callable[[], None] | None] = ContextVar("pulse", default=None)
"""What all pages draw again and again, until a part of the page takes it along."""


# --- doors -----------------------------------------------------------------------------------------------------------------


@contextmanager
def routed(pulse: Callable[[], None]) -> Iterator[None]:
    """While the router runs a page. `pulse` is what all pages draw again and again; a page that failed before it did has it too."""
    routed, waiting = _ROUTED.set(True), _PULSE.set(pulse)
    try:
        yield
    finally:
        left = _PULSE.get()
        _PULSE.reset(waiting)
        _ROUTED.reset(routed)
        if left is not None:
            live(left, quiet=True)


def guard(*, together: bool = False) -> None:
    """Stop a page that runs without the router: a deep link to a fresh server may do that.

    What all pages draw again and again is drawn here, or `together` with the first live part of a page that surely has one: to be
    run costs more than what is drawn.
    """
    if not _ROUTED.get():
        st.stop()
    if not together:
        live(lambda: None, quiet=True)


def live(draw: Callable[[], None], *, quiet: bool = False, every: timedelta = REFRESH) -> None:
    """Draw now, and again every few seconds without the rest of the page. A `quiet` one leaves it to the page to say that the
    store cannot be read.
    """
    pulse = _PULSE.get() if every <= REFRESH else None
    if pulse is not None:
        _PULSE.set(None)

    @functools.wraps(draw)
    def drawn() -> None:
        if pulse is not None:
            with suppress(StoreError):
                pulse()
        try:
            draw()
        except StoreError as error:
            if not quiet:
                no_database(error)

    st.fragment(drawn, run_every=every)()


def renew() -> None:
    """Run the whole page again every minute: for pages that are cheap and where nothing is being read row by row."""
    try_again(lambda: None, SLOW)


def try_again(works: Callable[[], object], every: timedelta = REFRESH) -> None:
    """Run the whole page again as soon as `works` does, looking every few seconds."""
    looked = False

    def look_again() -> None:
        nonlocal looked
        if looked:  # not in the run that has just failed: that would go round for ever
            with suppress(StoreError):
                works()
                st.rerun()
        looked = True

    st.fragment(look_again, run_every=every)()


def show(body: str) -> None:
    """Put HTML on the page; what came from outside must be escaped already."""
    st.html(f'<div class="m">{body}</div>')


def heading(text: str, explanation: str = "") -> None:
    """A heading with a quiet word of explanation."""
    show(f"<h2>{escape(text)}<small>{escape(explanation)}</small></h2>")


# --- states ----------------------------------------------------------------------------------------------------------------


def lamp(health: Health | str | None, word: str | None = None, tip: str = "", href: str = "") -> str:
    """A state as colour, shape and word. With `href`, an address from `link`, it leads to its evidence."""
    how = look(health)
    hint = f' title="{escape(tip)}"' if tip else ""
    if href:
        return (
            f'<a class="lamp {how.css}"{hint} href="{href}" target="_self"><i aria-hidden="true">{how.shape}</i> '
            f"<em>{escape(word or how.word)}</em></a>"
        )
    return f'<span class="lamp {how.css}"{hint}><i aria-hidden="true">{how.shape}</i> <em>{escape(word or how.word)}</em></span>'


def empty(headline: str, what_to_do: str) -> None:
    """There is nothing to show: why, and what to do. `what_to_do` may hold `<code>`."""
    show(f'<div class="empty"><b>{escape(headline)}</b>{what_to_do}</div>')


def banner(health: Health, headline: str, text: str) -> str:
    """Something that must not be overlooked."""
    how = look(health)
    return f'<div class="banner {how.css}" role="alert"><b>{how.shape} {escape(headline)}</b><span>{escape(text)}</span></div>'


def no_database(error: StoreError) -> None:
    """The store cannot be read."""
    missing = error.problem in (Problem.MISSING, Problem.OLDER)
    if missing:
        show('<div class="verdict"><span class="unknown">Nothing is known yet.</span></div>')
        empty(
            "There is no data: the poller has not run here.",
            f"{escape(capital(str(error)))}.<br>Start everything with <code>make run</code>, or only the poller with "
            "<code>python -m monitor poll</code>. This page looks again by itself.",
        )
    else:
        show(
            '<div class="verdict"><span class="unknown">Nothing is known: the database cannot be read.</span></div>'
            + banner(
                Health.FAILING,
                capital(str(error)),
                "“python -m monitor doctor” says how to mend it. This page looks again by itself.",
            )
        )


def data_age(beat: Heartbeat | None, config: EffectiveConfig | None, now: datetime, zone: tzinfo) -> None:
    """How old the data are and whether the poller runs: one quiet line on every page."""
    parts = []
    if beat is not None and beat.late(now):
        parts.append(f"<span>last data <b>{age(beat.at, now)}</b></span>")
    elif beat is not None:
        parts.append(f"<span>data <b>{span((now - beat.at).total_seconds())}</b> old</span>")
        parts.append('<span><span class="ok">●</span> poller running</span>')
    parts.append(f"<span>times in {escape(zone_name(zone))}</span>")
    if (beat is not None and beat.demo) or (config is not None and config.source == "demo"):
        parts.append(
            '<span><span class="tag flag">Sample data</span> not your projects: to connect real ones, copy <span class="mono">'
            'monitor.example.toml</span> to <span class="mono">monitor.toml</span></span>'
        )
    show(f'<div class="age">{"".join(parts)}</div>')


def alarm(beat: Heartbeat | None, now: datetime, zone: tzinfo) -> None:
    """What makes the data untrue, loudly; nothing where the poller runs as it should."""
    loud = ""
    if beat is None:
        loud = banner(
            Health.FAILING,
            "The poller has never run",
            "No check has been made, so nothing here is known. Start it with “make run” or “python -m monitor poll”.",
        )
    elif beat.late(now):
        loud = banner(
            Health.FAILING,
            f"The poller has been silent for {span((now - beat.at).total_seconds())}",
            f"Everything since {clock(beat.at, now, zone)} is unknown. It ran on {beat.host} as process {beat.pid}: "
            "look at its log, then start it again.",
        )
    if beat is not None and beat.config_error:
        loud += banner(Health.DEGRADED, "The newest configuration is not taken; the one before it goes on", beat.config_error)
    if loud:
        show(loud)


# --- the fleet -------------------------------------------------------------------------------------------------------------


def _cause(project: ProjectStatus) -> FailureKind | None:
    return project.worst.failure if project.worst and project.health.rank > Health.UNKNOWN.rank else None


def what_is_wrong(project: ProjectStatus) -> str:
    """A few words for what ails a project; empty where nothing does."""
    worst, cause = project.worst, _cause(project)
    if worst is not None and cause is not None:
        about = worst.target.model if cause.lane in (Lane.ACCESS, Lane.RATE) and worst.target.model else None
        return title(cause) + (f": {about}" if about else "")
    if project.health is Health.DEGRADED and "denied_model_usable" in project.findings:
        return "a denied model is usable" + (f": {worst.target.model}" if worst and worst.target.model else "")
    if project.health is Health.UNKNOWN:
        return "no fresh answer" if project.last_at else "not checked yet"
    if worst is not None and worst.suspect and worst.last_failure:
        return f"{title(worst.last_failure)}, seen once: being confirmed"
    return ""


def verdict(
    fleet: Sequence[ProjectStatus], beat: Heartbeat | None, now: datetime, zone: tzinfo, going: OpenIncidents = NOTHING_OPEN
) -> str:
    """One sentence for the whole fleet, then the tally. What open incidents explain is counted by its cause, not named again."""
    explained = going.projects
    counts = Counter(project.health for project in fleet)
    total = len(fleet)
    then = ""
    if beat is None:
        first, css = "Nothing is known: the poller has never run.", "unknown"
    elif not fleet:
        first, css = "No project is configured.", "unknown"
    elif beat.late(now):
        first, css = f"Nothing is known: the poller has been silent for {span((now - beat.at).total_seconds())}.", "unknown"
        ill = [project for project in fleet if project.health in (Health.FAILING, Health.DEGRADED)]
        named = _rest(ill, explained, now, zone)
        then = f"Before that {plural(len(ill), 'project was', 'projects were')} broken or degraded. {named}".strip() if ill else ""
    elif counts[Health.FAILING]:
        broken = [project for project in fleet if project.health is Health.FAILING]
        first = f"{counts[Health.FAILING]:,} of {plural(total, 'project')} {'is' if len(broken) == 1 else 'are'} broken"
        first, css, then = first + _by(going, broken) + ".", "failing", _rest(broken, explained, now, zone)
    elif counts[Health.DEGRADED]:
        slow = [project for project in fleet if project.health is Health.DEGRADED]
        first, css = (
            f"{counts[Health.DEGRADED]:,} of {plural(total, 'project')} {'is' if len(slow) == 1 else 'are'} degraded",
            "degraded",
        )
        first, then = first + _by(going, slow) + ", none is broken.", _rest(slow, explained, now, zone)
    elif counts[Health.UNKNOWN] == total:
        first, css = f"Nothing is known yet of {'the project' if total == 1 else f'the {total:,} projects'}.", "unknown"
        then = "Nothing failed, but there is no fresh answer yet. New projects are checked within a minute."
    elif counts[Health.UNKNOWN]:
        first, css = f"Nothing is broken, but {plural(counts[Health.UNKNOWN], 'project')} of {total:,} cannot be judged.", "unknown"
    elif counts[Health.RESTRICTED]:
        first, css = f"All {plural(total, 'project')} are alive; {counts[Health.RESTRICTED]:,} with a restricted key.", "ok"
    elif total == 1:
        first, css = f"The project {fleet[0].name} is healthy.", "ok"
    else:
        first, css = f"All {total:,} projects are healthy.", "ok"
    late = beat is None or beat.late(now)
    tally = "".join(
        f'<span><span class="{how.css}">{how.shape}</span> <b>{counts[health]:,}</b> {how.word}</span>'
        for health, how in sorted(LOOKS.items(), key=lambda item: -item[0].rank)
        if counts[health]
    )
    tally = "" if late or not fleet else f'<div class="tally">{tally}</div>'
    rest = f'<span class="then">{then}</span>' if then else ""
    return f'<div class="verdict" role="status"><span class="{css}">{escape(first)}</span>{rest}</div>{tally}'


def _by(going: OpenIncidents, ill: Sequence[ProjectStatus]) -> str:
    causes = going.causes([project.name for project in ill])
    return f" by {plural(causes, 'cause')}" if causes else ""


def _rest(ill: Sequence[ProjectStatus], explained: Collection[str], now: datetime, zone: tzinfo) -> str:
    """Those of the ill projects that no open incident explains, named."""
    rest = [project for project in ill if project.name not in explained]
    also = "Besides: " if explained and rest else ""
    return f"{also}{_named(rest, now, zone)}." if rest else ""


def _named(projects: Sequence[ProjectStatus], now: datetime, zone: tzinfo, most: int = 4) -> str:
    said = []
    for project in projects[:most]:
        began = f", since {clock(project.since, now, zone)}" if project.since else ""
        said.append(f"<b>{escape(project.name)}</b> ({escape(what_is_wrong(project))}{began})")
    more = len(projects) - most
    return ", ".join(said) + (f" and {more:,} more" if more > 0 else "")


_SHOWN_LANES = (Lane.AUTH, Lane.ACCESS, Lane.RATE, Lane.QUOTA)
FINDINGS = {
    "denied_model_usable": "denied model usable",
    "key_legacy": "legacy user key",
    "key_unscoped": "key without project",
    "no_project_id": "no project id",
}


def fleet_table(
    fleet: Sequence[ProjectStatus], strips: dict[str, str], window: str, now: datetime, zone: tzinfo, *, silent: bool
) -> str:
    """One row a project: lamps, what happened in the window, what is wrong, how old the data are."""
    rows = [_fleet_row(project, strips.get(project.name, NO_STRIP), window, now, zone, silent=silent) for project in fleet]
    lanes = "".join(f'<th class="less">{lane.value.capitalize()}</th>' for lane in _SHOWN_LANES)
    return (
        f'<div class="wide"><table class="t"><thead><tr><th>Project</th>{lanes}<th>Last {escape(window)}</th>'
        '<th class="less">What is wrong</th><th class="r less">Last answer</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _fleet_row(project: ProjectStatus, strip: str, window: str, now: datetime, zone: tzinfo, *, silent: bool) -> str:
    name = escape(project.name)
    bad = link("evidence", project=project.name, verdict="failed", window=window)
    address = link("project", project=project.name, window=window)
    about = " · ".join(escape(part) for part in (project.environment, project.owner) if part)
    cells = []
    for lane in _SHOWN_LANES:
        state = project.lamps[lane]
        href = link("evidence", project=project.name, lane=lane.value, window=window) if state.failure else ""
        cells.append(f'<td class="less">{lane_lamp(LaneState() if silent else state, now, zone, href)}</td>')
    wrong = what_is_wrong(project)
    more = []
    if wrong and project.since and project.health.rank > Health.UNKNOWN.rank:
        more.append(escape(since(project.since, now, zone)))
    more += [
        f"{lane.value} {LOOKS[project.lamps[lane].health].word}" for lane in (Lane.SERVER, Lane.NETWORK) if _ill(project, lane)
    ]
    if silent and wrong:
        wrong = f"unknown now; was: {wrong}"
    css = "unknown" if silent or not wrong else look(project.health).css
    tags = "".join(f'<span class="tag flag">{escape(FINDINGS.get(found, words(found)))}</span>' for found in project.findings)
    said = f'<span class="{css}">{escape(capital(wrong))}</span>' if wrong else ""
    small = f"<small>{' · '.join(more)}</small>" if more else ""
    health = lamp(Health.UNKNOWN if silent else project.health, capital(wrong) or None)
    narrow = f'<span class="more">{health}{small}</span>'
    return (
        f'<tr><td class="name"><a href="{address}" target="_self">{name}</a><small>{about}</small>{narrow}</td>{"".join(cells)}'
        f'<td>{_leading_to(strip, bad)}</td><td class="wrong less">{said}{small}{tags}</td>'
        f'<td class="r nw soft less">{escape(age(project.last_at, now))}</td></tr>'
    )


def _leading_to(strip: str, href: str) -> str:
    """A strip with something bad in it leads to the answers that were bad."""
    return f'<a href="{href}" target="_self" aria-label="what failed">{strip}</a>' if 'class="bad"' in strip else strip


def _ill(project: ProjectStatus, lane: Lane) -> bool:
    return project.lamps[lane].health in (Health.DEGRADED, Health.FAILING)


_QUIET = lamp(Health.HEALTHY, "ok")
_DARK = lamp(Health.UNKNOWN, "unknown")


def lane_lamp(state: LaneState, now: datetime, zone: tzinfo, href: str = "") -> str:
    """One lamp of a project; one that is ill leads to its evidence."""
    if state.health is Health.HEALTHY:
        return _QUIET
    if state.health is Health.UNKNOWN:
        return _DARK
    about = " ".join(part for part in (title(state.failure), since(state.since, now, zone)) if part)
    return lamp(state.health, tip=about, href=href)


# --- strips ----------------------------------------------------------------------------------------------------------------


_MILD = {FailureKind.AUTH_MISSING_SCOPE.value: "restricted"}


def strips(frame: "pd.DataFrame", window: Window, zone: tzinfo, cells: int = 48, css: str = "") -> dict[str, str]:
    """For each project its strip: green where all was well, red as high as the share that failed, a thin line without data."""
    by_project: dict[str, dict[int, tuple[int, int, int, str | None]]] = {}
    columns = (frame[name].tolist() for name in ("project", "cell", "ok", "failed", "inconclusive", "failure"))
    for name, cell, ok, failed, inconclusive, failure in zip(*columns, strict=True):
        by_project.setdefault(name, {})[cell] = (ok, failed, inconclusive, failure)
    width = window.length / cells
    form = "%H:%M" if window.length <= timedelta(days=1) else "%a %d %b %H:%M"
    edges = [f"{(window.start + width * number).astimezone(zone):{form}}" for number in range(cells + 1)]
    return {name: _strip(found, edges, css) for name, found in by_project.items()}


def _strip(found: dict[int, tuple[int, int, int, str | None]], edges: list[str], css: str) -> str:
    parts: list[str] = []
    began, last, checks = 0, "", 0

    def close(end: int) -> None:
        if last and end > began:
            said = "no data" if last == "none" else f"{checks} checks, all ok"
            parts.append(f'<i class="{last}" style="flex:{end - began}" title="{edges[began]}–{edges[end]}: {said}"></i>')

    cells = len(edges) - 1
    for cell in range(cells):
        ok, failed, inconclusive, failure = found.get(cell, (0, 0, 0, None))
        kind = "bad" if failed else "ok" if ok else "maybe" if inconclusive else "none"
        if kind in ("ok", "none"):
            if kind != last:
                close(cell)
                began, last, checks = cell, kind, 0
            checks += ok
            continue
        close(cell)
        last = ""
        place = f"{edges[cell]}–{edges[cell + 1]}"
        if kind == "maybe":
            parts.append(f'<i class="maybe" style="flex:1" title="{place}: {inconclusive} without a clear answer"></i>')
            continue
        share = max(25, round(100 * failed / (ok + failed)))
        colour = "failing" if not failure else "degraded" if failure.startswith("rate.") else _MILD.get(failure, "failing")
        said = f"{place}: {failed} of {ok + failed} failed, mostly {escape(title(failure)) or 'unknown'}"
        parts.append(f'<i class="bad" style="flex:1;--f:{share}%;--c:var(--{colour})" title="{said}"></i>')
    close(cells)
    return f'<div class="strip {css}">{"".join(parts)}</div>'


NO_STRIP = '<div class="strip"><i class="none" style="flex:1" title="no data"></i></div>'


# --- one project -----------------------------------------------------------------------------------------------------------


def project_head(project: ProjectStatus, now: datetime, zone: tzinfo, window: str, badge: str = "", *, silent: bool) -> None:
    """Name, state, six lamps, facts. `badge` is ready HTML, shown with the state."""
    health = Health.UNKNOWN if silent else project.health
    wrong = what_is_wrong(project)
    about = f"{wrong}, {since(project.since, now, zone)}" if wrong and project.since else wrong
    if silent and wrong:
        about = f"before the silence: {wrong}"
    cells = []
    for lane in LAMPS:
        state = LaneState() if silent else project.lamps[lane]
        small = title(state.failure) if state.failure else ""
        if state.since and state.health is not Health.UNKNOWN:
            small = f"{small + ' ' if small else ''}since {clock(state.since, now, zone)}"
        href = link("evidence", project=project.name, lane=lane.value, window=window) if state.failure else ""
        cells.append(
            f"<div><small>{lane.value.capitalize()}</small>{lamp(state.health, href=href)}"
            f'<span class="for">{escape(small)}</span></div>'
        )
    facts = (
        ("Owner", project.owner),
        ("Environment", project.environment),
        ("Services", ", ".join(project.services)),
        ("Project id", project.project_id),
        ("Organization", project.organization),
        ("Tags", ", ".join(project.tags)),
        ("Address", project.base_url),
        ("Last answer", age(project.last_at, now)),
    )
    told = "".join(f"<span><b>{name}</b>{escape(value)}</span>" for name, value in facts if value)
    tags = "".join(f'<span class="tag flag">{escape(FINDINGS.get(found, words(found)))}</span>' for found in project.findings)
    show(
        f'<div class="head"><span class="big">{escape(project.name)}</span>{lamp(health)}{badge}'
        f"<span>{escape(about)}</span>{tags}</div>"
        f'<div class="lamps">{"".join(cells)}</div><div class="facts">{told}</div>'
    )


def known(project: ProjectStatus | None) -> Project | None:
    """What a diagnosis wants to know of a project."""
    if project is None:
        return None
    return Project(project.name, project_id=project.project_id, organization=project.organization, base_url=project.base_url)


def here(said: Diagnosis, now: datetime, zone: tzinfo) -> Diagnosis:
    """The same words with every moment as the reader's clock shows it."""
    return replace(
        said,
        summary=local(said.summary, now, zone),
        cause=local(said.cause, now, zone),
        next_step=local(said.next_step, now, zone),
        evidence=tuple(local(line, now, zone) for line in said.evidence),
        changed=local(said.changed, now, zone) if said.changed else None,
    )


def said_rows(said: Diagnosis) -> str:
    """What to do, who does it, and why it came to it: rows of a card."""
    return (
        f'<dt>Next step</dt><dd class="do">{inline(said.next_step)}</dd>'
        f"<dt>Who mends it</dt><dd>{escape(capital(WHO_MENDS[said.owner]))}</dd>"
        f"<dt>Cause, {escape(said.confidence.value)}</dt><dd>{inline(said.cause)}</dd>"
        + (f"<dt>Changed just before</dt><dd>{escape(said.changed)}</dd>" if said.changed else "")
    )


def passes(kind: FailureKind, newest: TargetStatus | None, now: datetime, zone: tzinfo) -> str:
    """Whether it heals by itself, as the newest bad answer lets hope."""
    told = newest if newest and newest.last_failure else None
    said = by_itself(kind, now, at=told.last_at, retry_after=told.retry_after, hit=told.hit) if told else by_itself(kind, now)
    return local(said, now, zone)


def inline(text: str) -> str:
    """A sentence of ours, escaped, with what stands between backticks as code."""
    return _CODE.sub(r"<code>\1</code>", escape(text))


def diagnosis_of(status: TargetStatus, project: ProjectStatus | None, key: KeyStatus | None, now: datetime) -> Diagnosis | None:
    """What ails a target, in words; None where nothing does."""
    kind = status.failure or (status.last_failure if status.suspect else None)
    if kind is None:
        return None
    held = (
        ApiKey(key.label, key.source, key.kind, Fingerprint(key.fingerprint) if key.fingerprint else None, key.problem)
        if key
        else None
    )
    context = context_of(
        status,
        at=status.last_at,
        now=now,
        project=known(project),
        key=held,
        since=status.since,
        last_ok_at=status.last_ok_at,
        suspect=status.suspect,
    )
    return diagnose(kind, context)


def diagnosis_card(
    status: TargetStatus,
    said: Diagnosis,
    now: datetime,
    zone: tzinfo,
    window: str,
    alike: Sequence[TargetStatus] = (),
    *,
    named: bool = False,
) -> str:
    """What happened, why, who mends it, the next step, since when, and whether it heals by itself."""
    said = here(said, now, zone)
    kind = status.failure or status.last_failure or FailureKind.UNKNOWN
    health = Health.UNKNOWN if status.suspect and not status.failure else status.health
    target = status.target
    where = [f"<b>{escape(target.project)}</b>"] if named else []
    where += [f"<span>{escape(words(target.probe.value))}</span>"]
    where += [f"<span>key {escape(target.key)}</span>"] if target.key else []
    where += [f'<span class="mono">{escape(target.model)}</span>'] if target.model else []
    others = f"<dt>Also</dt><dd>{escape(', '.join(str(other.target).partition('/')[2] for other in alike))}</dd>" if alike else ""
    began = since(status.since, now, zone) if status.failure else f"seen once, {age(status.last_at, now)}"
    last_ok = f"; last well {age(status.last_ok_at, now)}" if status.last_ok_at else "; never well since it is watched"
    evidence = "".join(f"<li>{escape(line)}</li>" for line in said.evidence)
    address = link(
        "evidence",
        project=target.project,
        key=target.key,
        model=target.model,
        probe=target.probe.value,
        window=window,
        failure=kind.value,
    )
    return (
        f'<div class="card" style="--c:var(--{look(health).css})"><div class="where">{lamp(health)}{"".join(where)}'
        f'<span class="soft">{escape(kind.value)}</span></div><h3>{inline(said.summary)}</h3><dl>'
        f"{said_rows(said)}<dt>Since</dt><dd>{escape(capital(began.removeprefix('since ')))}{escape(last_ok)}</dd>"
        f"<dt>By itself?</dt><dd>{escape(passes(kind, status, now, zone))}</dd>{others}"
        f"<dt>Evidence</dt><dd><details><summary>what this rests on</summary><ul>{evidence}</ul></details>"
        f'<a href="{address}" target="_self">Raw answers</a></dd></dl></div>'
    )


def finding(headline: str, where: str, why: str) -> None:
    """Something that works and is a risk all the same."""
    show(
        '<div class="card" style="--c:var(--degraded)"><div class="where"><span class="degraded">⚑</span>'
        f"<span>{escape(where)}</span></div><h3>{escape(capital(headline))}</h3><div>{escape(why)}</div></div>"
    )


# --- tables and figures ------------------------------------------------------------------------------------------------------


def table(columns: Sequence[tuple[str, str]], rows: Iterable[Sequence[str]], css: str = "") -> None:
    """A table of ready HTML cells. A column is its title and its class: `r` right, `nw` unbroken, or nothing.

    On a telephone a `stack` is read row by row: each cell but the first stands on a line of its own, after the title of its column.
    """
    head = "".join(f'<th class="{kind}">{escape(name)}</th>' for name, kind in columns)
    names = [name if place and "stack" in css else "" for place, (name, _) in enumerate(columns)]
    named = [f' data-name="{escape(name)}"' if name else "" for name in names]
    opened = [f'<td class="{kind}"{name}>' for (_, kind), name in zip(columns, named, strict=True)]
    body = "".join("<tr>" + "".join(f"{cell}{said}</td>" for cell, said in zip(opened, row, strict=True)) + "</tr>" for row in rows)
    show(f'<div class="wide"><table class="t {css}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>')


def figures(items: Sequence[tuple[str, str, str]]) -> None:
    """Numbers with their names and a quiet word; all texts plain."""
    cells = "".join(
        f"<div><small>{escape(name)}</small><b>{escape(value)}</b><span>{escape(note)}</span></div>" for name, value, note in items
    )
    show(f'<div class="figures">{cells}</div>')


def project_link(name: str, window: str) -> str:
    """A link to a project's page."""
    return f'<a href="{link("project", project=name, window=window)}" target="_self"><b>{escape(name)}</b></a>'


def raw_answers(window: str, **where: str | None) -> str:
    """A link to the evidence behind a statement."""
    return f'<a href="{link("evidence", window=window, **where)}" target="_self">Raw answers</a>'


def dash(text: object) -> str:
    """The text escaped, or a quiet dash."""
    return escape(text) if text not in (None, "") else f'<span class="soft">{MISSING}</span>'
