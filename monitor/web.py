"""What the poller serves beside polling: `/metrics`, `/healthz`, `/api/status`. On loopback unless told otherwise."""

import contextlib
import json
import logging
import socket
from collections.abc import Iterator
from datetime import timedelta

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from monitor import metrics, status
from monitor.clock import Clock, SystemClock
from monitor.config import Settings
from monitor.domain.sharing import SHARDS
from monitor.poller import Poller
from monitor.store import queries
from monitor.store.engine import Engine, StoreError, open_engine

log = logging.getLogger(__name__)

SILENT = timedelta(minutes=2)
"""Without a commit for longer than this the poller is not well."""


def create_app(poller: Poller, engine: Engine, clock: Clock) -> Starlette:
    """The application; `engine` only reads."""

    async def show_metrics(_: Request) -> Response:
        fleet = await run_in_threadpool(queries.fleet, engine, clock.now())
        synced = await run_in_threadpool(queries.organizations, engine)
        return Response(metrics.exposition(poller, fleet, synced), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def healthz(_: Request) -> Response:
        newest = max(at for at in (poller.started_at, poller.last_commit, poller.last_beat) if at is not None)
        well = clock.now() - newest < SILENT and poller.store_error is None
        age = (clock.now() - newest).total_seconds()
        said = {
            "ok": well,
            "data_age_seconds": round(age, 1),
            "store_error": poller.store_error,
            "config_error": poller.config_error,
            "pollers": len(poller.share.held.pollers) or 1,
            "shares": len(poller.share.held.shards) if poller.share.leases else SHARDS,
            "leads": poller.share.held.leads,
        }
        return JSONResponse(said, 200 if well else 503)

    async def api_status(_: Request) -> Response:
        lines = await run_in_threadpool(lambda: list(status.lines(engine, clock.now())))
        return Response("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), media_type="application/x-ndjson")

    async def unreadable(_: Request, error: Exception) -> Response:
        return JSONResponse({"error": str(error)}, 503)

    routes = [Route("/metrics", show_metrics), Route("/healthz", healthz), Route("/api/status", api_status)]
    return Starlette(routes=routes, exception_handlers={StoreError: unreadable})


class _Quiet(uvicorn.Server):
    """A server that leaves signals to the poller."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(poller: Poller, settings: Settings) -> None:
    """Serve until cancelled. A port that is taken is said once; the poller goes on without."""
    where = settings.metrics
    try:
        listener = socket.create_server(
            (where.address, where.port), family=socket.AF_INET6 if ":" in where.address else socket.AF_INET
        )
    except OSError as error:
        log.warning(
            "no /metrics, /healthz, /api/status: %s:%d cannot be used (%s); set [monitor.metrics] port to another one",
            where.address, where.port, error.strerror,
        )  # fmt: skip
        return
    engine = open_engine(settings.database_url, readonly=True)
    app = create_app(poller, engine, SystemClock())
    server = _Quiet(uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off", timeout_graceful_shutdown=1))
    try:
        await server.serve(sockets=[listener])
    finally:
        listener.close()
        engine.dispose()
