"""Reading the record of two thousand projects at ten requests a second: simulated time, real code, a real database."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import openai

from monitor import service
from monitor.admin_sync import AdminSync
from monitor.clock import VirtualClock, VirtualTimeLoop
from monitor.emulator.app import create_app
from monitor.emulator.world import World
from monitor.openai_api.transport import in_process
from monitor.organization_keeper import Loops, admin_client, opened

PROJECTS = 2_000
MODELS = 40
BARE = 1_000
HOURS = 3
LOOK = 30.0
"""Seconds between two looks at how old the record is."""
START = datetime(2026, 11, 23, 3, tzinfo=UTC)
ADMIN = "sk-admin-BENCH-not-a-key-0001"
ORGANIZATION = "org-BENCH"
BASE = "http://127.0.0.1:9/v1"

Figure = dict[str, Any]


def figures() -> Iterator[Figure]:
    """One round, everything once, how old it gets after, and what a request costs beside the SDK's own call."""
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        yield from runner.run(_measured(Path(folder)))


def _world(clock: VirtualClock) -> World:
    world = World(lambda: clock.now().timestamp())
    for number in range(MODELS):
        world.add_model(f"gpt-bench-{number:02}")
    for number in range(PROJECTS):
        project = f"proj_{number:04}"
        world.add_project(project, ORGANIZATION, f"project-{number:04}", created_at=1.0 + number)
        world.add_key(f"sk-svcacct-BENCH-{number:04}-not-a-key-{number:04}", project, name="backend", created_at=1.0 + number)
    world.administration.add_admin_key(ORGANIZATION, ADMIN, scopes=["api.management.read"], created_at=1.0)
    return world


async def _ages(sync: AdminSync, clock: VirtualClock, until: float) -> AsyncIterator[float]:
    """How old the oldest part is, again and again, from the second round on; in seconds."""
    loop = asyncio.get_running_loop()
    while loop.time() < until:
        await asyncio.sleep(LOOK)
        if (at := sync.age().oldest_at) is not None and clock.now() > START + timedelta(hours=1):
            yield (clock.now() - at).total_seconds()


def _write(folder: Path) -> None:
    (folder / "admin.key").write_text(ADMIN)
    lines = [
        f'[monitor]\ndatabase_url = "sqlite:///{folder}/monitor.db"\n[[organizations]]\nname = "bench"',
        f'admin_key = "file:admin.key"\nbase_url = "{BASE}"',
    ]
    for number in range(PROJECTS):
        (folder / f"{number:04}.key").write_text(f"sk-svcacct-BENCH-{number:04}-not-a-key-{number:04}")
        lines += [
            f'[[projects]]\nname = "project-{number:04}"\nproject_id = "proj_{number:04}"\nbase_url = "{BASE}"',
            f'[[projects.keys]]\nlabel = "backend"\nsecret = "file:{number:04}.key"',
        ]
    (folder / "monitor.toml").write_text("\n".join(lines))


async def _measured(folder: Path) -> list[Figure]:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    clock = VirtualClock(START, loop)
    transport = in_process(create_app(_world(clock)))
    _write(folder)
    loaded = service.load(None, {}, folder)
    [settings] = loaded.settings.organizations
    bare = await _bare(transport)
    with service.store_of(loaded.settings) as engine:
        make = admin_client(loaded.secrets, transport)
        async with opened(settings, make, engine, clock, lambda: loaded.settings, loaded.secrets) as sync:
            await sync.begin()
            began, cpu = loop.time(), time.process_time()
            loops = asyncio.create_task(Loops(sync, clock, loaded.secrets).run())
            await sync.known.wait()
            cpu = time.process_time() - cpu
            first, took = sync.summary, loop.time() - began
            requests = first.requests
            while sync.age().unread:  # noqa: ASYNC110 - nobody tells it
                await asyncio.sleep(LOOK)
            whole, asked = loop.time() - began, sync.requests
            ages = [age async for age in _ages(sync, clock, began + HOURS * 3600)]
            per_hour = (sync.requests - asked) / (HOURS - whole / 3600)
            loops.cancel()
            await asyncio.gather(loops, return_exceptions=True)
    common = {"projects": PROJECTS, "requests_per_second": settings.sync.requests_per_second}
    return [
        {
            "figure": "a round: what decides of every project, and of the rest what fits",
            **common,
            "simulated_seconds": round(took, 1),
            "requests": requests,
            "parts_left_for_turns": first.left,
            "not_read": len(first.failed),
            "limit_seconds": 600,
        },
        {
            "figure": "until every part of every project was read once",
            **common,
            "simulated_minutes": round(whole / 60, 1),
            "parts": sync.age().parts,
            "requests": asked,
            "limit_minutes": 30,
        },
        {
            "figure": "how old the oldest part is, in the second and third hour",
            **common,
            "worst_minutes": round(max(ages) / 60, 1),
            "median_minutes": round(sorted(ages)[len(ages) // 2] / 60, 1),
            "requests_an_hour": round(per_hour),
        },
        {
            "figure": "CPU of a request of the sync, emulator and database with it, beside the SDK's raw call",
            "milliseconds": round(cpu / requests * 1000, 3),
            "bare_milliseconds": round(bare * 1000, 3),
            "ratio": round(cpu / requests / bare, 2),
        },
    ]


async def _bare(transport: Any) -> float:
    """CPU seconds of one raw call of the SDK against the same emulator."""
    async with openai.AsyncOpenAI(
        api_key="",
        admin_api_key=ADMIN,
        base_url=BASE,
        max_retries=0,
        http_client=httpx2.AsyncClient(transport=transport, trust_env=False),
    ) as client:
        ask = client.admin.organization.projects.api_keys.with_raw_response.list
        for number in range(50):
            await ask(f"proj_{number % PROJECTS:04}", limit=100)
        began = time.process_time()
        for number in range(BARE):
            await ask(f"proj_{number % PROJECTS:04}", limit=100)
        return (time.process_time() - began) / BARE
