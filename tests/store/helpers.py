"""Stories and stores for tests: every row is made by the writer itself."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from monitor.domain.diagnosis import Context, diagnose
from monitor.domain.incidents import Cause, Change, Event, EventKind, Incident, Severity
from monitor.domain.inventory import ApiKey, Check, Fingerprint, Inventory, KeyKind, ProbeKind, Project, Target
from monitor.domain.observation import Observation, RateLimitSnapshot, Verdict
from monitor.domain.taxonomy import FailureKind, Lane, Scope
from monitor.store import incidents
from monitor.store.engine import open_engine
from monitor.store.migrate import migrate
from monitor.store.record import Writer

START = datetime(2026, 11, 20, 12, tzinfo=UTC)
CHECKOUT = Target(ProbeKind.AUTH, "checkout", "backend")

_ANSWERS: dict[str, tuple[int | None, FailureKind]] = {
    "401": (401, FailureKind.AUTH_INVALID_KEY),
    "403": (403, FailureKind.ACCESS_MODEL_NOT_ALLOWED),
    "404": (404, FailureKind.ACCESS_MODEL_NOT_FOUND),
    "429": (429, FailureKind.RATE_REQUESTS),
    "tokens": (429, FailureKind.RATE_TOKENS),
    "quota": (429, FailureKind.QUOTA_CREDITS),
    "scope": (403, FailureKind.AUTH_MISSING_SCOPE),
    "500": (500, FailureKind.SERVER_ERROR),
    "503": (503, FailureKind.SERVER_OVERLOADED),
    "timeout": (None, FailureKind.NETWORK_TIMEOUT),
}

_UNITS = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def span(text: str) -> timedelta:
    """`90s`, `5m`, `1h`, … as a length of time."""
    number = text.rstrip("smhd")
    return timedelta(**{_UNITS[text[len(number) :]]: float(number)})


def story(told: str, every: str = "1m", target: Target = CHECKOUT, start: datetime = START, **more: Any) -> list[Observation]:
    """`ok 401 429 ? …` as observations, one each `every`, the first at `start`. `?` could not tell; `ok*9` is nine times."""
    words: list[str] = []
    for word in told.split():
        name, _, times = word.partition("*")
        words += [name] * int(times or 1)
    return [answer(word, target, start + number * span(every), **more) for number, word in enumerate(words)]


def answer(word: str, target: Target = CHECKOUT, at: datetime = START, **more: Any) -> Observation:
    """One word of a story."""
    facts: dict[str, Any] = {"target": target, "at": at, "latency_ms": 120.0} | more
    if word == "ok":
        return Observation(**{"verdict": Verdict.OK, "status": 200, "project_echo": target.project} | facts)
    if word == "?":
        return Observation(**{"verdict": Verdict.INCONCLUSIVE, "failure": FailureKind.UNKNOWN, "status": 418} | facts)
    status, failure = _ANSWERS[word]
    said = {
        "status": status,
        "failure": failure,
        "message": f"it said {word}",
        "request_id": f"req_{at:%H%M%S}",
        "scope": Scope.KEY,
    }
    return Observation(**{"verdict": Verdict.FAILED} | said | facts)


def project(name: str, models: tuple[str, ...] = ("gpt-4o",), **more: Any) -> Project:
    """A project with one key."""
    key = ApiKey("backend", f"env:{name.upper()}_KEY", KeyKind.SERVICE_ACCOUNT, Fingerprint(f"{abs(hash(name)) % 16**8:016x}…1234"))
    return Project(**{"name": name, "project_id": f"proj_{name}", "owner": "team-a", "models": models, "keys": (key,)} | more)


def inventory(*projects: Project | str, every: str = "1m") -> Inventory:
    """These projects, with an auth check a key, a look-up and an inference a model, and the control probe."""
    known = tuple(one if isinstance(one, Project) else project(one) for one in projects)
    return Inventory(known, tuple(Check(target, span(every)) for target in targets(known)))


def targets(projects: Iterable[Project]) -> Iterator[Target]:
    """What is checked of them."""
    yield Target(ProbeKind.CONTROL, host="https://api.openai.com/v1")
    for one in projects:
        for key in one.keys:
            yield Target(ProbeKind.AUTH, one.name, key.label)
            for model in one.models:
                yield Target(ProbeKind.MODEL_ACCESS, one.name, key.label, model)
                yield Target(ProbeKind.INFERENCE, one.name, key.label, model)
            for model in one.denied_models:
                yield Target(ProbeKind.DENIED_MODEL, one.name, key.label, model)


def limits(remaining: int | None, limit: int | None = 100) -> tuple[RateLimitSnapshot, ...]:
    """What the headers said of the request limit."""
    return (RateLimitSnapshot("requests", limit, remaining, 1.5, 60.0),)


def new_store(url: str) -> tuple[Engine, Writer]:
    """An empty store, migrated, with its writer."""
    engine = open_engine(url)
    migrate(engine)
    return engine, Writer(engine)


def sqlite_url(path: Path) -> str:
    """The URL of a file."""
    return f"sqlite:///{path}"


@dataclass(frozen=True)
class Keep:
    """How long what is kept."""

    observations: timedelta = timedelta(days=1)
    failures: timedelta = timedelta(days=3)
    minutes: timedelta = timedelta(days=2)
    quarters: timedelta = timedelta(days=2)
    hours: timedelta = timedelta(days=10)


def seed(
    url: str, known: Inventory, now: datetime, length: timedelta, every: timedelta, told: dict[str, str] | None = None
) -> None:
    """Fill a store up to `now`: every check of `known` answers each `every`, well unless `told` says for its project what the
    last answers were (`{"legacy": "ok 401 401"}`).
    """
    engine, writer = new_store(url)
    writer.sync_inventory(known, now - length)
    steps = length // every
    for step in range(steps):
        at = now - length + step * every
        batch = []
        for place, check in enumerate(known.checks):
            words = (told or {}).get(check.target.project or "", "ok").split()
            word = words[max(0, len(words) - (steps - step))]
            seen = at + timedelta(milliseconds=7 * place % 50_000)
            batch.append(answer(word, check.target, seen, latency_ms=100.0 + (place * 37 + step * 11) % 200))
        writer.record(batch, at)
    engine.dispose()


def incident(name: str = "checkout", at: datetime = START, **more: Any) -> Incident:
    """A key of the project that is refused since `at`, not stored yet."""
    facts: dict[str, Any] = {
        "cause": Cause(Scope.KEY, Lane.AUTH, f"{name}/backend"),
        "failure": FailureKind.AUTH_INVALID_KEY,
        "severity": Severity.CRITICAL,
        "first_bad_at": at,
        "opened_at": at + span("20s"),
        "title": f"Key “backend” of {name}: key refused",
        "diagnosis": diagnose(FailureKind.AUTH_INVALID_KEY, Context(project=name, key="backend", since=at)),
        "projects": (name,),
        "keys": (f"{name}/backend",),
        "ill": 1,
    }
    return Incident(**facts | more)


def opened(engine: Engine, *told: Incident) -> list[Incident]:
    """These incidents as stored, each when it says it was opened."""
    return [
        incidents.apply(engine, [Change(one, (Event(one.opened_at, EventKind.OPENED, "Opened."),))], one.opened_at)[0]
        for one in told
    ]
