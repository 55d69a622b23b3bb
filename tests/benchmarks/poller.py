"""What a check costs on the whole road, beside the same requests made bare; and two thousand projects a minute held on time.

    python -m tests.benchmarks.poller PROGRAM URL [REQUESTS]      one measured program; prints its figures

Every program runs in its own process, so that CPU and memory are its own; the endpoint in another.
"""

import asyncio
import gc
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from tests.conftest import ROOT

MODELS = ("gpt-4o", "gpt-4o-mini", "gpt-5.1", "o4-mini", "text-embedding-3-small")
PATHS = ("/models", *(f"/models/{name}" for name in MODELS))
"""What one project is asked for: its list of models and five of them."""
AT_ONCE = 64
WARM = 600
REQUESTS = 6_000
ROUNDS = 3
PROJECTS = 2_000
MINUTE = 75.0
"""Seconds that the two thousand projects run: the first round takes a minute."""

# The endpoint -------------------------------------------------------------------------------------------------------------------

_HEADERS = (
    "HTTP/1.1 200 OK\r\nDate: Mon, 23 Nov 2026 10:00:00 GMT\r\nContent-Type: application/json\r\nopenai-version: 2020-10-01\r\n"
    "openai-organization: acme-test\r\nopenai-processing-ms: 44\r\nx-request-id: req_TEST0000000000000000000000000000\r\n"
    "strict-transport-security: max-age=31536000\r\ncf-cache-status: DYNAMIC\r\nX-Content-Type-Options: nosniff\r\n"
    "Set-Cookie: __cf_bm=TEST; path=/; HttpOnly\r\nServer: cloudflare\r\nCF-RAY: 9a2b6f6f9c5f1c2a-FRA\r\n"
)


def _canned(body: object) -> bytes:
    content = json.dumps(body, separators=(",", ":")).encode()
    return f"{_HEADERS}Content-Length: {len(content)}\r\n\r\n".encode() + content


_MODEL = {"object": "model", "created": 1721172741, "owned_by": "system"}
LIST = _canned({"object": "list", "data": [{"id": f"gpt-4o-mini-2024-07-{day:02}", **_MODEL} for day in range(80)]})
ONE = _canned({"id": "gpt-4o", **_MODEL})


class Endpoint(asyncio.Protocol):
    """Canned answers to GET over kept connections: the list of 80 models, or one."""

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        *requests, self._buffer = (self._buffer + data).split(b"\r\n\r\n")
        for request in requests:
            answer = ONE if request.startswith(b"GET /v1/models/") else LIST
            if self._delay:
                asyncio.get_running_loop().call_later(self._delay, self._transport.write, answer)
            else:
                self._transport.write(answer)


async def _serve(delay: float) -> None:
    loop = asyncio.get_running_loop()
    there = await loop.create_server(lambda: Endpoint(delay), "127.0.0.1", 0, backlog=1024)
    print(there.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)  # until our parent goes


@contextmanager
def endpoint(delay: float = 0.0) -> Iterator[str]:
    """An endpoint in a process of its own."""
    command = [sys.executable, "-m", __name__, "endpoint", str(delay)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}/v1"
        process.stdin.close()


# The measured programs ----------------------------------------------------------------------------------------------------------

Get = Callable[[str], Awaitable[object]]


@asynccontextmanager
async def _httpx2(url: str) -> AsyncIterator[Get]:
    import httpx2

    async with httpx2.AsyncClient(headers={"Authorization": "Bearer sk-TEST-notakey"}) as client:
        yield lambda path: client.get(url + path)


@asynccontextmanager
async def _aiohttp(url: str) -> AsyncIterator[Get]:
    import aiohttp

    async with aiohttp.ClientSession(headers={"Authorization": "Bearer sk-TEST-notakey"}) as session:

        async def get(path: str) -> bytes:
            async with session.get(url + path) as response:
                return await response.read()

        yield get


@asynccontextmanager
async def _sdk(url: str) -> AsyncIterator[Get]:
    import httpx2
    import openai

    from monitor.openai_api.transport import AiohttpTransport

    transport = AiohttpTransport(timeout=10, connect_timeout=3, max_body=1024 * 1024)
    async with httpx2.AsyncClient(transport=transport) as http:
        sdk = openai.AsyncOpenAI(api_key="sk-TEST-notakey", base_url=url, max_retries=0, http_client=http)
        models = sdk.models.with_raw_response
        yield lambda path: models.retrieve(path[8:]) if path[8:] else models.list()


BARE = {"httpx2": _httpx2, "aiohttp": _aiohttp, "sdk": _sdk}


async def _bare(program: str, url: str, requests: int) -> dict[str, float]:
    async with BARE[program](url) as get:

        async def some(paths: Iterator[str]) -> None:
            for path in paths:
                await get(path)

        async def all_of(number: int) -> None:
            paths = itertools.islice(itertools.cycle(PATHS), number)
            await asyncio.gather(*(some(paths) for _ in range(AT_ONCE)))

        await all_of(WARM)
        with _measured() as figures:
            await all_of(requests)
            figures["requests"] = requests
    return figures


@asynccontextmanager
async def _poller(url: str, projects: int, concurrency: int, interval: str) -> AsyncIterator[Any]:
    """The poller as the service makes it, over a configuration file, keys in the environment and a SQLite file."""
    from monitor.clock import SystemClock
    from monitor.openai_api.client import ApiClient
    from monitor.poller import Poller
    from monitor.service import load, store_of
    from monitor.store import meta
    from monitor.store.record import Writer

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "monitor.toml").write_text(_configuration(url, projects, concurrency, interval))
        keys = {f"KEY_{number}": f"sk-proj-TEST-{number:06}-notakey" for number in range(projects)}
        loaded = load(None, {**keys, "MONITOR_DATABASE_URL": f"sqlite:///{folder}/bench.db"}, folder)
        with store_of(loaded.settings) as engine:
            async with ApiClient() as client:
                yield Poller(
                    loaded.settings,
                    loaded.secrets,
                    clock=SystemClock(),
                    client=client,
                    writer=Writer(engine),
                    salt=meta.salt(engine),
                    reload=loaded.reloader(),
                )


def _configuration(url: str, projects: int, concurrency: int, interval: str) -> str:
    head = f'[monitor.intervals]\nauth = "{interval}"\nmodel_access = "{interval}"\n[monitor.poller]\nconcurrency = {concurrency}\n'
    return head + "".join(
        f'[[projects]]\nname = "project-{number}"\nproject_id = "proj_{number:06}"\nbase_url = "{url}"\ninference = "off"\n'
        f'models = {json.dumps(MODELS)}\nkeys = [{{ label = "backend", secret = "env:KEY_{number}" }}]\n'
        for number in range(projects)
    )


async def _road(url: str, requests: int) -> dict[str, float]:
    """Every check of enough projects once: asked, read, classified and committed in groups, as fast as it goes."""
    async with _poller(url, requests // len(PATHS), AT_ONCE, "60s") as poller:
        await poller.run_once()
        before = poller.checks
        with _measured() as figures:
            await poller.round()
            figures["requests"] = poller.checks - before
        _all_good(poller)
    return figures


def _all_good(poller: Any) -> None:
    """The endpoint needs no key: only the control check may fail."""
    bad = {what: number for what, number in poller.counts.items() if what[1] != "ok" and what[0]}
    assert not bad, bad


async def _minute(url: str) -> dict[str, float]:
    """Two thousand projects on their schedule."""
    async with _poller(url, PROJECTS, 128, "60s") as poller:
        stop = asyncio.Event()
        running = asyncio.create_task(poller.run(stop))
        loop = asyncio.get_running_loop()
        cpu = _cpu()
        lag = loop.create_future()

        def end() -> None:
            lag.set_result(poller.lag_p99_ms())
            stop.set()

        loop.call_later(MINUTE, end)
        await running
        _all_good(poller)
        checks = poller.checks
        cpu_ms = (_cpu() - cpu) / checks * 1000
        return {"lag_p99_ms": await lag, "checks": checks, "cpu_ms": cpu_ms, "rss_mb": _rss_mb()}


@contextmanager
def _measured() -> Iterator[dict[str, float]]:
    """What the block costs by the number of `requests` that it notes."""
    figures: dict[str, float] = {}
    # The poller does it when it starts; the bare loops get the same, so that nobody pays for the garbage of imports.
    gc.collect()
    gc.freeze()
    cpu, wall = _cpu(), time.perf_counter()
    yield figures
    cpu, wall = _cpu() - cpu, time.perf_counter() - wall
    figures.update(cpu_ms=cpu / figures["requests"] * 1000, per_second=figures["requests"] / wall, rss_mb=_rss_mb())


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _rss_mb() -> float:
    """The most memory this process ever had. Not `ru_maxrss`, which a child inherits from its parent."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise AssertionError


# Figures ------------------------------------------------------------------------------------------------------------------------


def _run(program: str, url: str) -> dict[str, float]:
    command = [sys.executable, "-m", __name__, program, url]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": "0"}, stdout=subprocess.PIPE, text=True, check=True
    )
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def figures() -> Iterator[dict[str, object]]:
    """CPU of a check beside bare requests in the same run; lag and memory of two thousand projects."""
    with endpoint() as url:
        names = [*BARE, "road"]
        rounds = [{name: _run(name, url) for name in names} for _ in range(ROUNDS)]

    def median(name: str, figure: str) -> float:
        return statistics.median(each[name][figure] for each in rounds)

    cpu = {name: median(name, "cpu_ms") for name in names}
    for name in names:
        goal = {"goal": 1.0} if name == "road" else {}
        yield {"figure": f"cpu_ms_per_check_{name}", "value": round(cpu[name], 3), **goal}
        yield {"figure": f"checks_per_second_{name}", "value": round(median(name, "per_second"))}
    yield {"figure": "cpu_road_over_bare_sdk", "value": round(cpu["road"] / cpu["sdk"], 2), "goal": 1.6}
    with endpoint(0.25) as url:
        held = _run("minute", url)
    about = {"projects": PROJECTS, "checks": held["checks"], "seconds": MINUTE}
    yield {"figure": "lag_p99_ms_12000_checks_a_minute", "value": round(held["lag_p99_ms"], 1), "goal": 2000, **about}
    yield {"figure": "rss_mb_12000_checks_a_minute", "value": round(held["rss_mb"]), "goal": 250}
    yield {"figure": "cpu_ms_per_check_12000_checks_a_minute", "value": round(held["cpu_ms"], 3)}


def main(program: str, argument: str) -> None:
    """Run one program."""
    if program == "endpoint":
        asyncio.run(_serve(float(argument)))
    elif program == "road":
        print(json.dumps(asyncio.run(_road(argument, REQUESTS))))
    elif program == "minute":
        print(json.dumps(asyncio.run(_minute(argument))))
    else:
        print(json.dumps(asyncio.run(_bare(program, argument, REQUESTS))))


if __name__ == "__main__":
    main(*sys.argv[1:])
