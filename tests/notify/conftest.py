"""A web hook on loopback that takes messages, refuses them, or never answers."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


@dataclass
class Hook:
    """What was asked of it, and what it answers: statuses in turn, the last again and again."""

    port: int
    statuses: list[int] = field(default_factory=lambda: [200])
    asked: list[tuple[str, str, bytes]] = field(default_factory=list)
    """Method, path and body."""
    hold: threading.Event | None = None
    """Answers wait for it."""

    @property
    def url(self) -> str:
        """As Apprise writes it; the last part plays the secret."""
        return f"json://127.0.0.1:{self.port}/hooks/T0ken-n0t-a-secret"

    @property
    def said(self) -> list[dict[str, Any]]:
        """The messages that arrived."""
        return [json.loads(body) for _, _, body in self.asked]


@pytest.fixture
def hook() -> Iterator[Hook]:
    found = Hook(0)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.answer()

        def do_GET(self) -> None:
            self.answer()

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status = found.statuses[min(len(found.asked), len(found.statuses) - 1)]
            found.asked.append((self.command, self.path, body))
            if found.hold is not None:
                found.hold.wait(30)
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield found
    if found.hold is not None:
        found.hold.set()
    server.shutdown()
    server.server_close()
    thread.join()
