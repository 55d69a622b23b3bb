"""The dead man's switch, against a server on loopback."""

import threading
from pathlib import Path

import pytest

from monitor.notify import dead_man
from monitor.secrets import Secrets
from tests.notify.conftest import Hook


def secrets(url: str) -> Secrets:
    return Secrets({"DEAD_MAN": url}, None, Path("/nowhere"))


async def test_it_asks_the_url_once(hook: Hook) -> None:
    assert await dead_man.ping("env:DEAD_MAN", secrets(f"http://127.0.0.1:{hook.port}/ping/1234")) is None
    assert hook.asked == [("GET", "/ping/1234", b"")]


@pytest.mark.parametrize(("status", "words"), [(404, "answered 404"), (500, "answered 500")])
async def test_what_is_wrong_is_told_without_the_url(hook: Hook, status: int, words: str) -> None:
    hook.statuses = [status]
    assert await dead_man.ping("env:DEAD_MAN", secrets(f"http://127.0.0.1:{hook.port}/ping/1234")) == words


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/x", "nonsense", "http://", "http://127.0.0.1:99999/x"])
async def test_only_web_addresses_are_asked(url: str) -> None:
    error = await dead_man.ping("env:DEAD_MAN", secrets(url))
    assert error is not None
    assert "passwd" not in error


async def test_a_server_that_never_answers_is_left_in_time(hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_man, "TIMEOUT", 0.1)
    hook.hold = threading.Event()
    error = await dead_man.ping("env:DEAD_MAN", secrets(f"http://127.0.0.1:{hook.port}/"))
    hook.hold.set()
    assert error is not None


async def test_a_missing_secret_is_told(hook: Hook) -> None:
    assert "env:OTHER" in str(await dead_man.ping("env:OTHER", secrets("x")))
