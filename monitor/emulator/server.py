"""The emulator as a program: uvicorn on loopback, until it is told to stop."""

import socket

import uvicorn

from monitor.emulator.app import create_app
from monitor.emulator.world import World


def plain_world() -> World:
    """One organization with one project and one key, for trying things out: `proj_emulated`, `sk-proj-EMULATED-not-a-key-0000`,
    and `sk-admin-EMULATED-not-a-key-0000` that may read the organization's record.
    """
    world = World()
    for name in ("gpt-4o", "gpt-4o-mini", "gpt-5"):
        world.add_model(name)
    world.add_model("gpt-5-pro", family="responses")
    world.add_model("text-embedding-3-small", family="embeddings", latency=0.15)
    world.add_project("proj_emulated", "org-emulated", "emulated")
    world.add_key("sk-proj-EMULATED-not-a-key-0000", "proj_emulated")
    world.administration.add_admin_key(
        "org-emulated", "sk-admin-EMULATED-not-a-key-0000", "emulated", ["api.management.read"], created_at=world.clock()
    )
    return world


def listen(port: int) -> socket.socket:
    """A loopback socket on `port` (0: any). Raises OSError where it is taken."""
    return socket.create_server(("127.0.0.1", port), backlog=512)


async def serve(world: World, listener: socket.socket) -> None:
    """Serve `world` on `listener` until SIGINT or SIGTERM."""
    config = uvicorn.Config(
        create_app(world),
        log_level="critical",
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=1,
        timeout_keep_alive=150,  # longer than the minute between two checks
    )
    await uvicorn.Server(config).serve(sockets=[listener])
