"""Stores as the poller leaves them, and pages over them."""

import html
import os
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from monitor.domain.inventory import ApiKey, Check, Fingerprint, Inventory, KeyKind, ProbeKind, Project, Target
from monitor.domain.observation import Observation, RateLimitHit, RateLimitSnapshot, Verdict
from monitor.domain.taxonomy import FailureKind, Scope
from monitor.store.engine import open_engine
from monitor.store.migrate import migrate
from monitor.store.queries import Heartbeat
from monitor.store.record import Writer
from tests.conftest import ROOT

MAIN = ROOT / "monitor/ui/main.py"
PAGES = {
    "overview": "fleet/overview.py",
    "project": "fleet/project.py",
    "incidents": "fleet/incidents.py",
    "changes": "fleet/changes.py",
    "keys": "access/keys.py",
    "models": "access/models.py",
    "hygiene": "access/hygiene.py",
    "deadlines": "access/deadlines.py",
    "rate_limits": "limits/rate_limits.py",
    "evidence": "system/evidence.py",
    "monitor": "system/monitor.py",
}

Answer = Callable[[Target, timedelta], dict[str, Any]]
"""What a target said so long ago: fields of an observation; empty is a good answer."""


def well(target: Target, age: timedelta) -> dict[str, Any]:
    return {}


def burning(target: Target, age: timedelta) -> dict[str, Any]:
    """`legacy` was refused half an hour ago, `batch` is at its token limit, `crm` may not use a model; `docs` is well."""
    if target.project == "legacy" and age <= timedelta(minutes=30):
        return {"failure": FailureKind.AUTH_INVALID_KEY, "status": 401, "code": "invalid_api_key", "message": "Incorrect API key"}
    if target.project == "batch" and target.probe is ProbeKind.INFERENCE:
        hit = RateLimitHit("tokens", "min", 30_000, 29_000, 2_000, "gpt-4o")
        said = {"status": 429, "code": "rate_limit_exceeded", "retry_after": 36.0, "hit": hit, "scope": Scope.PROJECT}
        return {"failure": FailureKind.RATE_TOKENS, **said}
    if target.project == "crm" and target.model:
        return {"failure": FailureKind.ACCESS_MODEL_NOT_ALLOWED, "status": 403, "code": "model_not_found", "message": "no access"}
    return {}


def project(name: str, **facts: Any) -> Project:
    key = ApiKey("backend", f"env:{name.upper()}", KeyKind.SERVICE_ACCOUNT, Fingerprint("0123456789abcdef…wxyz"))
    return Project(name=name, **({"project_id": f"proj_{name}", "owner": "team-a", "models": ("gpt-4o",), "keys": (key,)} | facts))


FLEET = (
    project("legacy", keys=(ApiKey("backend", "env:LEGACY", KeyKind.USER_LEGACY, Fingerprint("0123456789abcdef…wxyz")),)),
    project("batch", environment="staging"),
    project("crm"),
    project("docs", owner="team-b"),
)


class Store:
    """A real SQLite file, written through the real writer."""

    def __init__(self, path: Path) -> None:
        self.now = datetime.now(UTC).replace(microsecond=0)
        self.url = f"sqlite:///{path}"
        engine = open_engine(self.url)
        migrate(engine)
        self.writer = Writer(engine)

    def fill(
        self,
        projects: tuple[Project, ...] = FLEET,
        answer: Answer = well,
        length: timedelta = timedelta(hours=1),
        step: timedelta = timedelta(minutes=5),
    ) -> "Store":
        """Every check of these projects, asked every `step` until now."""
        checks = []
        for each in projects:
            for key in each.keys:
                targets = [Target(ProbeKind.AUTH, each.name, key.label)]
                targets += [Target(ProbeKind.INFERENCE, each.name, key.label, model) for model in each.models]
                targets += [Target(ProbeKind.DENIED_MODEL, each.name, key.label, model) for model in each.denied_models]
                checks += [Check(target, timedelta(minutes=1)) for target in targets]
        self.writer.sync_inventory(Inventory(projects, tuple(checks)), self.now - length)
        age = length
        while age >= timedelta():
            batch = [self._observation(check.target, age, answer(check.target, age), place) for place, check in enumerate(checks)]
            self.writer.record(batch, self.now - age)
            age -= step
        return self

    def _observation(self, target: Target, age: timedelta, said: dict[str, Any], place: int) -> Observation:
        at = self.now - age - timedelta(milliseconds=place + 1)
        verdict = Verdict.FAILED if "failure" in said else Verdict.OK
        limits = (RateLimitSnapshot("tokens", 30_000, 12_345, 35.0, 60.0),) if target.probe is ProbeKind.INFERENCE else ()
        good: dict[str, Any] = {
            "verdict": verdict,
            "status": 200,
            "latency_ms": 120.0,
            "limits": limits,
            "request_id": f"req_{place}",
        }
        return Observation(target=target, at=at, **(good | said))

    def beat(self, age: timedelta = timedelta(), **facts: Any) -> "Store":
        """The poller showed that it lives."""
        at = self.now - age
        given = {
            "at": at,
            "started_at": at,
            "pid": 7,
            "host": "watch-1",
            "version": "1",
            "checks": 9,
            "lag_p99_ms": 3.0,
            "in_flight": 0,
        }
        self.writer.beat(Heartbeat(**(given | facts)))
        return self


class Page:
    """A page after a run, as its reader sees it."""

    def __init__(self, at: AppTest) -> None:
        self.at = at

    @property
    def html(self) -> str:
        """The HTML it sent."""
        return "\n".join(element.proto.body for element in self.at.get("html"))

    @property
    def text(self) -> str:
        """What is read: without tags and styles, with every kind of space as one."""
        bare = re.sub(r"<style>.*?</style>", " ", self.html, flags=re.DOTALL)
        return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", bare)))


Visit = Callable[..., Page]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A new, empty store that the pages read."""
    made = Store(tmp_path / "monitor.db")
    monkeypatch.setenv("MONITOR_DATABASE_URL", made.url)
    return made


@pytest.fixture
def visit() -> Visit:
    """Open a page by its name, with parameters in the address."""

    def open_page(name: str = "overview", **params: str) -> Page:
        at = AppTest.from_file(str(MAIN), default_timeout=180)
        if name != "overview":
            at.switch_page(os.path.relpath(ROOT / "pages" / PAGES[name], MAIN.parent))
        for key, value in params.items():
            at.query_params[key] = value
        at.run()
        assert not at.exception, [each.value for each in at.exception]
        return Page(at)

    return open_page
