"""The real SDK against the emulator, in process, in virtual time."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, TypeVar

import pytest

from monitor.clock import VirtualClock, VirtualTimeLoop
from monitor.domain.inventory import ProbeKind, Target
from monitor.domain.observation import Observation
from monitor.emulator.app import create_app
from monitor.emulator.world import World
from monitor.openai_api.client import ApiClient
from monitor.openai_api.observe import ProbeRequest
from monitor.openai_api.probes import PROBES
from monitor.openai_api.transport import in_process

T = TypeVar("T")

START = datetime(2026, 11, 23, 3, tzinfo=UTC)
KEY = "sk-proj-TEST-emulator-not-a-key-0001"
PROJECT = "proj_TESTemulator"
ORGANIZATION = "org-TESTemulator"
BASE_URL = "http://127.0.0.1:9/v1"


class Asker:
    """A client of a small world with one project and one key."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        self.clock = VirtualClock(START, loop)
        self.world = World(lambda: self.clock.now().timestamp())
        for name in ("gpt-4o", "gpt-4o-mini"):
            self.world.add_model(name)
        self.world.add_model("gpt-5-pro", family="responses")
        self.world.add_model("text-embedding-3-small", family="embeddings")
        self.world.add_project(PROJECT, ORGANIZATION, "emulated", slug="emulated-slug")
        self.world.add_key(KEY, PROJECT)
        self.api = ApiClient(transport=in_process(create_app(self.world)))

    async def ask(self, probe: ProbeKind = ProbeKind.INFERENCE, model: str | None = "gpt-4o", **changed: Any) -> Observation:
        """One probe, as the poller would make it."""
        options: dict[str, Any] = {"base_url": BASE_URL, "secret": KEY, "project_id": PROJECT} | changed
        if probe is ProbeKind.CONTROL:
            target, options = Target(probe, host=BASE_URL), {"base_url": BASE_URL}
        else:
            target = Target(probe, "emulated", "backend", None if probe is ProbeKind.AUTH else model)
        return await PROBES[probe](self.api, ProbeRequest(target=target, at=self.clock.now(), **options))


Run = Callable[[Callable[[Asker], Coroutine[Any, Any, T]]], T]


@pytest.fixture
def run() -> Run[Any]:
    """Runs a scene: a coroutine function that gets an `Asker`."""

    def runner(scene: Callable[[Asker], Coroutine[Any, Any, T]]) -> T:
        async def play() -> T:
            loop = asyncio.get_running_loop()
            assert isinstance(loop, VirtualTimeLoop)
            asker = Asker(loop)
            async with asker.api:
                return await scene(asker)

        with asyncio.Runner(loop_factory=VirtualTimeLoop) as loop_runner:
            return loop_runner.run(play())

    return runner
