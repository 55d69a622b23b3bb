"""What the pages ask of the store, and the only caches of the product.

Answers are kept under the store's data version and the minute, so a page is as new as the last commit (the overview of a large
fleet: a second or two older) and never waits twice for the same one. Every function may raise `StoreError`; the router turns
that into words.
"""

import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import streamlit as st

from monitor.config import ConfigErrors, find_config, hygiene_policy, load_settings
from monitor.domain.access_findings import AccessFinding, findings
from monitor.domain.access_standing import AccessOverview
from monitor.domain.alerting import Silence
from monitor.domain.assessment import Assessment
from monitor.domain.changes import ChangeEvent
from monitor.domain.deadlines import Calendar
from monitor.domain.hygiene import HygienePolicy
from monitor.domain.incidents import Incident, IncidentRecord, OpenIncidents
from monitor.domain.inventory import ProbeKind
from monitor.domain.model_access import Access
from monitor.domain.organization import Gap
from monitor.domain.sli import OBJECTIVE, Counts, windows
from monitor.domain.taxonomy import Lane
from monitor.domain.timeline import Window, floor
from monitor.store import intents, migrate, queries, slo
from monitor.store.engine import Engine, open_engine, parse
from monitor.store.intents import Intent, Kind
from monitor.store.outbox import DeliveryRow
from monitor.store.queries import (
    ChangeFilter,
    Covering,
    EffectiveConfig,
    EvidenceFilter,
    Heartbeat,
    IncidentFilter,
    KeyStatus,
    ProjectStatus,
    Sharing,
    TargetStatus,
)
from monitor.store.reminders import ReminderRow
from monitor.store.slo import Level

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")
_TICK = timedelta(seconds=5)
DEFAULT_URL = "sqlite:///data/monitor.db"
_KEYS: dict[Any, Any] = dict.fromkeys((Window, EvidenceFilter, ChangeFilter, IncidentFilter, timedelta, ProbeKind, Incident), repr)


def now() -> datetime:
    """The time of this run, aware, UTC."""
    return datetime.now(UTC)


def database_url() -> str:
    """Where the store is: the environment, else the configuration file, else the default place."""
    return os.environ.get("MONITOR_DATABASE_URL") or _configured_url(str(Path.cwd()))


def shown_url() -> str:
    """The same without any password."""
    return parse(database_url()).render_as_string(hide_password=True)


@st.cache_data(ttl=60, max_entries=4, show_spinner=False)
def _configured_url(cwd: str) -> str:
    folder = Path(cwd)
    try:
        return load_settings(find_config(None, os.environ, folder), os.environ, folder).database_url
    except ConfigErrors:
        # The poller says loudly what is wrong; what it stored before can still be read.
        return DEFAULT_URL


@st.cache_resource(max_entries=4, show_spinner=False)
def _engine(url: str) -> Engine:
    engine = open_engine(url, readonly=True)
    try:
        migrate.refuse_newer(engine)
    except BaseException:
        engine.dispose()
        raise
    return engine


_seen: dict[str, tuple[float, int]] = {}
_A_MOMENT = 0.05
"""Seconds for which the version is taken to be what it was: one run asks for it many times."""


def _version(url: str) -> int:
    at, version = _seen.get(url, (-1.0, 0))
    if not 0 <= time.monotonic() - at < _A_MOMENT:
        version = queries.data_version(_engine(url))
        _seen[url] = time.monotonic(), version
    return version


# Statuses are frozen, so that sessions may share them: copying two thousand of them costs more than reading them.
@st.cache_resource(ttl=60, max_entries=64, show_spinner=False, hash_funcs=_KEYS)
def _status(url: str, version: int | str | None, question: str, *args: Any) -> Any:  # noqa: ARG001 - the version is part of the key
    return getattr(queries, question)(_engine(url), *args)


@st.cache_data(ttl=60, max_entries=128, show_spinner=False, hash_funcs=_KEYS)
def _frame(url: str, version: int, question: str, *args: Any) -> "pd.DataFrame":  # noqa: ARG001 - the version is part of the key
    return cast("pd.DataFrame", getattr(queries, question)(_engine(url), *args))


@st.cache_data(ttl=20, max_entries=16, show_spinner=False, hash_funcs=_KEYS)
def _strips(url: str, window: Window, cells: int, names: tuple[str, ...]) -> "pd.DataFrame":
    return queries.strips(_engine(url), window, cells, names)


@st.cache_data(ttl=600, max_entries=16, show_spinner=False, hash_funcs=_KEYS)
def _settled_strips(url: str, window: Window, cells: int, names: tuple[str, ...]) -> "pd.DataFrame":
    return queries.strips(_engine(url), window, cells, names)


@st.cache_resource(ttl=60, max_entries=256, show_spinner=False)
def _drawn(url: str, version: int, tick: datetime, name: str, key: tuple[Any, ...], _make: Callable[[], Any]) -> Any:  # noqa: ARG001
    return _make()


def drawn(name: str, at: datetime, key: tuple[Any, ...], make: Callable[[], T]) -> T:
    """What `make` gives of the fleet, made once for all who look at the same. Ages in it are up to 5 s old; `key` holds all else
    that it depends on, in plain values.
    """
    url, tick = database_url(), floor(at, _TICK)
    version = _paced_version(url)
    return cast("T", _at_hand((url, name, *key), (version, tick), lambda: _drawn(url, version, tick, name, key, make)))


_paces: dict[str, tuple[float, int]] = {}
_PACE, _CHEAP, _LONGEST_PACE = 20, 0.03, 5.0
"""For each second that it took beyond the cheap ones, an answer is good for twenty, but never for longer than five: however much
is written and however many look, the fleet takes a small part of a processor, and a small fleet is always new.
"""


def _paced_version(url: str) -> int:
    """The version of the store that the fleet is shown of: the newest, or the one before while that is young for its cost."""
    until, version = _paces.get(url, (0.0, 0))
    return version if time.monotonic() < until else _version(url)


@st.cache_resource(ttl=60, max_entries=4, show_spinner=False)
def _fleet(url: str, version: int, at: datetime) -> list[ProjectStatus]:
    began = time.monotonic()
    found = queries.fleet(_engine(url), at)
    ended = time.monotonic()
    _paces[url] = ended + min(_LONGEST_PACE, _PACE * max(0.0, ended - began - _CHEAP)), version
    return found


_hands: dict[tuple[Any, ...], tuple[Any, Any]] = {}
_MOST_AT_HAND = 256


def _at_hand(what: tuple[Any, ...], version: Any, ask: Callable[[], Any]) -> Any:
    """What everybody asks for several times in each run, as it was last of this version: a cache of Streamlit takes half a
    millisecond to find anything, which is most of what a refresh would cost.
    """
    held = _hands.get(what)
    if held is None or held[0] != version:
        if len(_hands) >= _MOST_AT_HAND:
            _hands.clear()
        held = _hands[what] = version, ask()
    return held[1]


def _asked(question: str, *args: Any) -> Any:
    url = database_url()
    version = _version(url)
    if args:
        return _status(url, version, question, *args)
    return _at_hand((url, question), version, lambda: _status(url, version, question))


def _table(question: str, *args: Any) -> "pd.DataFrame":
    url = database_url()
    return _frame(url, _version(url), question, *args)


def _minute(at: datetime) -> datetime:
    return floor(at, timedelta(minutes=1))


def heartbeat() -> Heartbeat | None:
    """The poller's newest proof of life, or None where none ever ran."""
    return cast("Heartbeat | None", _asked("heartbeat"))


def sharing() -> Sharing:
    """How several pollers divide the work; of one that is alone, nothing."""
    return cast("Sharing", _asked("sharing"))


def silent(at: datetime) -> bool:
    """Whether nothing may be called healthy, because the poller is late or never ran."""
    beat = heartbeat()
    return beat is None or beat.late(at)


def effective_config() -> EffectiveConfig | None:
    """What the poller runs with."""
    return cast("EffectiveConfig | None", _asked("effective_config"))


@st.cache_resource(ttl=60, max_entries=4, show_spinner=False)
def _covering(url: str, at: datetime) -> Covering:  # noqa: ARG001 - part of the key
    return queries.covering(_engine(url))


def covering(at: datetime) -> Covering:
    """What is configured beside what the organization has. Read once a minute, however much is written: both change slowly."""
    return _covering(database_url(), _minute(at))


def fleet(at: datetime) -> list[ProjectStatus]:
    """Every project, worst first. Shared: not to be changed. A large fleet is not folded anew with every commit."""
    url, minute = database_url(), _minute(at)
    version = _paced_version(url)
    return cast("list[ProjectStatus]", _at_hand((url, "fleet"), (version, minute), lambda: _fleet(url, version, minute)))


def names(at: datetime) -> list[str]:
    """The names of all projects, sorted."""
    return sorted(project.name for project in fleet(at))


def project(name: str, at: datetime) -> ProjectStatus | None:
    """One project."""
    return cast("ProjectStatus | None", _asked("project", name, _minute(at)))


def targets(at: datetime, name: str | None = None) -> list[TargetStatus]:
    """Every target (of one project), worst first."""
    return cast("list[TargetStatus]", _asked("targets", _minute(at), name))


def asked_of(name: str | None = None) -> tuple[list[str], list[str]]:
    """The keys and the models that are checked (of one project)."""
    return cast("tuple[list[str], list[str]]", _asked("asked_of", name))


def keys(at: datetime, name: str | None = None) -> list[KeyStatus]:
    """Every key (of one project), worst first."""
    url = database_url()
    version = _paced_version(url) if name is None else _version(url)  # all of them are as new as the fleet
    return cast("list[KeyStatus]", _status(url, version, "keys", _minute(at), name))


def strips(window: Window, names: Iterable[str], cells: int = 48) -> "pd.DataFrame":
    """What happened to these projects, per cell of the window. Up to 20 s old, because it covers hours; what is settled, ten
    minutes.
    """
    import pandas as pd

    url, shown, count = database_url(), tuple(names), settled(window, cells)
    if not count:
        return _strips(url, window, cells, shown)
    border = window.start + window.length / cells * count
    before = _settled_strips(url, Window(window.start, border), count, shown)
    since = _strips(url, Window(border, window.end), cells - count, shown)
    return pd.concat([before, since.assign(cell=since["cell"] + count)], ignore_index=True)


def settled(window: Window, cells: int) -> int:
    """How many cells of the window are over for a week or longer: only what is recorded very late still changes them."""
    return max(0, (window.length - _SETTLES) // (window.length / cells))


_SETTLES = timedelta(days=7)


def failure_trend(window: Window, name: str | None = None) -> "pd.DataFrame":
    """Failures by kind over time."""
    return _table("failure_trend", window, bars(window), name)


def check_counts(window: Window, name: str | None = None, step: timedelta | None = None) -> "pd.DataFrame":
    """Checks by verdict over time."""
    return _table("check_counts", window, step or bars(window), name)


def latency_trend(window: Window, name: str | None = None, probe: ProbeKind | None = None) -> "pd.DataFrame":
    """Latency percentiles over time."""
    return _table("latency_trend", window, points(window), name, probe)


def rate_limit_trend(window: Window, name: str | None = None) -> "pd.DataFrame":
    """429s by kind over time."""
    return _table("rate_limit_trend", window, bars(window), name)


def limits_history(window: Window, name: str) -> "pd.DataFrame":
    """Limits and what remained of them over time."""
    return _table("limits_history", window, points(window), name)


def limits_now(name: str | None = None) -> "pd.DataFrame":
    """The newest snapshot of every limit."""
    return _table("limits_now", name)


@st.cache_resource(ttl=60, max_entries=8, show_spinner=False)
def _access(url: str, version: int, at: datetime, name: str | None) -> AccessOverview:  # noqa: ARG001 - part of the key
    return queries.access_overview(_engine(url), at, name)


def access_overview(at: datetime, name: str | None = None) -> AccessOverview:
    """How the models of every project (of one) stand, in little. Shared: not to be changed. As new as the fleet."""
    url = database_url()
    return _access(url, _paced_version(url), _minute(at), name)


@st.cache_resource(ttl=60, max_entries=16, show_spinner=False)
def _accesses(
    url: str,
    version: int,  # noqa: ARG001 - part of the key
    at: datetime,
    name: str | None,
    names: tuple[str, ...],
) -> tuple[list[Access], list[AccessFinding]]:
    found = queries.model_access(_engine(url), at, name, names=None if name is not None else names)
    return found, findings(found, at.date())


def model_access(at: datetime, names: Iterable[str], name: str | None = None) -> tuple[list[Access], list[AccessFinding]]:
    """The models of these projects, or all that is known of one, and where they disagree. Shared: not to be changed."""
    url = database_url()
    return _accesses(url, _paced_version(url), _minute(at), name, tuple(names))


@st.cache_resource(ttl=60, max_entries=4, show_spinner=False)
def _calendar(url: str, at: datetime) -> Calendar:
    return queries.deadlines(_engine(url), at)


def deadlines(at: datetime) -> Calendar:
    """Every deadline, soonest first. Read once a minute, however much is written: days do not change so fast."""
    return _calendar(database_url(), _minute(at))


def reminders() -> list[ReminderRow]:
    """Who was reminded of which deadline, or not and why, newest first."""
    return cast("list[ReminderRow]", _asked("reminders"))


def channels() -> bool | None:
    """Whether the poller has a channel to tell people by; None where it is not known."""
    config = effective_config()
    return bool(config.text.get("channels")) if config else None


def transitions(window: Window, name: str | None = None) -> "pd.DataFrame":
    """Changes of health, newest first."""
    return _table("transitions", window, name)


def probe_cost(window: Window) -> "pd.DataFrame":
    """What probing used."""
    return _table("probe_cost", window)


def lag_trend(window: Window) -> "pd.DataFrame":
    """How late checks started."""
    return _table("lag_trend", window, points(window))


def observations(window: Window, where: EvidenceFilter, limit: int = 500) -> "pd.DataFrame":
    """Raw observations, newest first."""
    return _table("observations", window, where, limit)


def observation(target_id: int, at: datetime) -> dict[str, Any] | None:
    """Everything stored of one observation."""
    return queries.observation(_engine(database_url()), target_id, at)


# --- service levels ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ServiceLevel:
    """How well one project was served, and what the objective makes of it."""

    objective: float
    """From 0 to 1."""
    over: Mapping[timedelta, Level]
    """By window, of those that are told; one without any check is missing."""
    lately: Mapping[timedelta, Counts]
    """The valid checks of the windows that the burn-rate rules look at."""


def objective() -> float:
    """What the poller's configuration asks for, from 0 to 1; the default where it says nothing."""
    config = effective_config()
    section = config.text.get("slo") if config else None
    said = section.get("objective") if isinstance(section, dict) else None
    return said if isinstance(said, float) and 0 < said < 1 else OBJECTIVE


def service_level(name: str, at: datetime) -> ServiceLevel:
    """The service level of one project. Read once a minute, however much is written: its windows are long. Not to be changed."""
    over, lately = _levels(database_url(), name, _minute(at))
    return ServiceLevel(objective(), over, lately)


@st.cache_resource(ttl=60, max_entries=64, show_spinner=False)
def _levels(url: str, name: str, at: datetime) -> tuple[dict[timedelta, Level], dict[timedelta, Counts]]:
    engine = _engine(url)
    over, lately = {}, {}
    for length in (timedelta(days=days) for days in slo.DAYS):
        if found := slo.levels(engine, Window.last(length, at, timedelta(hours=1)), name).get(name):
            over[length] = found
    for length in windows():
        found = slo.levels(engine, Window.last(length, at), name).get(name)
        lately[length] = found.whole if found else Counts()
    return over, lately


# --- hygiene -------------------------------------------------------------------------------------------------------------

_MANY = 200
"""Projects from which on judging takes a part of a second."""


def policy() -> HygienePolicy:
    """What the poller's configuration asks of keys; the default where it says nothing."""
    config = effective_config()
    return hygiene_policy(config.text.get("hygiene") if config else None)


def hygiene(at: datetime) -> Assessment:
    """The scorecards of everything, judged once a minute. Not to be changed.

    Of a large fleet once in five, and nobody waits for that: who comes then still gets the last ones.
    """
    url = database_url()
    return _hygiene(url, _minute(at), policy()) if len(fleet(at)) <= _MANY else _hygiene_of_many(url, policy())


@st.cache_resource(ttl=60, max_entries=4, show_spinner=False, hash_funcs={HygienePolicy: repr})
def _hygiene(url: str, at: datetime, asked: HygienePolicy) -> Assessment:
    return queries.hygiene(_engine(url), at, asked)


@st.cache_resource(ttl=300, max_entries=4, show_spinner=False, hash_funcs={HygienePolicy: repr}, refresh_mode="background")
def _hygiene_of_many(url: str, asked: HygienePolicy) -> Assessment:
    return queries.hygiene(_engine(url), now(), asked)


def score_trend(subject: str, window: Window) -> "pd.DataFrame":
    """The score of the organization, a project or a key, whenever it changed."""
    return _table("score_trend", subject, window)


def score(subject: str, at: datetime) -> int | None:
    """The newest score of a project or key, as it was stored last; None where it was never judged."""
    found = score_trend(subject, Window.last(timedelta(hours=1), at))
    return int(found["score"].iloc[-1]) if len(found) else None


def usage(window: Window, project: str) -> "pd.DataFrame":
    """What OpenAI counted by the day for one project (OpenAI's id), by key and model."""
    return _table("usage", window, timedelta(days=1), project, ("api_key", "model"))


def changes_of(name: str, window: Window) -> list[ChangeEvent]:
    """What changed for one project, newest first."""
    return cast("list[ChangeEvent]", _asked("changes", window, name))


# --- incidents -----------------------------------------------------------------------------------------------------------


MOST_INCIDENTS = 500
"""That are read at once."""


def incidents_going() -> OpenIncidents:
    """What goes on, counted. As new as the fleet."""
    url = database_url()
    version = _paced_version(url)
    return cast("OpenIncidents", _at_hand((url, "going"), version, lambda: _status(url, version, "incidents_going")))


def open_incidents(name: str | None = None, most: int = MOST_INCIDENTS, lane: Lane | None = None) -> list[Incident]:
    """Some of those that go on (of one project or lane): the worst first, of these what nobody has taken, then the newest."""
    return incidents(IncidentFilter(open_only=True, project=name, lane=lane.value if lane else None), 0, most)


def incidents(where: IncidentFilter, first: int = 0, most: int = MOST_INCIDENTS) -> list[Incident]:
    """Some of them: open ones first, the worst of them, what nobody has taken; then the newest."""
    return cast("list[Incident]", _asked("incident_page", where, first, most))


def incident_count(where: IncidentFilter) -> tuple[int, int]:
    """How many there are, and how many of them go on."""
    return cast("tuple[int, int]", _asked("incident_count", where))


def incident(number: int) -> IncidentRecord | None:
    """One incident with all that is kept of it."""
    return cast("IncidentRecord | None", _asked("incident", number))


def similar(one: Incident) -> list[Incident]:
    """Earlier incidents like this one."""
    return cast("list[Incident]", _asked("similar_incidents", one))


def deliveries(number: int) -> list[DeliveryRow]:
    """What was sent about an incident, or not and why, newest first."""
    return cast("list[DeliveryRow]", _asked("deliveries", number))


def silences_now(at: datetime) -> list[Silence]:
    """What is kept quiet, the first to end first."""
    return queries.active_silences(_engine(database_url()), at)


def waiting() -> list[Intent]:
    """What was asked for and the service has not taken yet."""
    return cast("list[Intent]", _asked("waiting_intents"))


def ask(kind: Kind, by: str, at: datetime, **facts: Any) -> None:
    """Leave a wish for the service. The only thing that pages write."""
    intents.submit(database_url(), Intent(kind=kind, by=by, at=at, **facts))
    _seen.clear()


# --- what changed --------------------------------------------------------------------------------------------------------


def changes(window: Window, where: ChangeFilter, first: int = 0, most: int = 50) -> list[ChangeEvent]:
    """Some of what changed in the window, newest first."""
    return cast("list[ChangeEvent]", _asked("change_page", window, where, first, most))


def _of_changes(question: str, *args: Any) -> Any:
    """What is asked again only when something changed: most of what is written tells no change."""
    url = database_url()
    return _status(url, _asked("changes_version"), question, *args)


def change_count(window: Window, where: ChangeFilter) -> int:
    """How many changes there are."""
    return cast("int", _of_changes("change_count", window, where))


def change_actors(window: Window) -> list[str]:
    """Who changed something in the window, the busiest first."""
    return cast("list[str]", _of_changes("change_actors", window))


def incidents_begun(window: Window) -> list[Incident]:
    """Incidents that were opened in the window, newest first."""
    return cast("list[Incident]", _asked("incidents_begun", window))


def changes_not_known() -> tuple[tuple[Gap, ...], datetime | None]:
    """Parts of the organization's record that cannot be read, and until when the others are known."""
    return cast("tuple[tuple[Gap, ...], datetime | None]", _asked("changes_not_known"))


def bars(window: Window) -> timedelta:
    """The step of charts made of bars: few enough to be told apart."""
    return window.step(at_most=100)


def points(window: Window) -> timedelta:
    """The step of charts made of lines: wide enough that each point rests on several answers."""
    return window.step(at_most=60)
