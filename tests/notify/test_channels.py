"""The door to Apprise, against a web hook on loopback."""

import logging
import socket
import threading
from pathlib import Path

import pytest

from monitor.config import Settings, load_settings
from monitor.notify import channels
from monitor.notify.channels import Channels
from monitor.secrets import Secrets
from tests.notify.conftest import Hook

CONFIG = """
[[projects]]
name = "checkout"
[[projects.keys]]
secret = "env:CHECKOUT_KEY"
[[channels]]
name = "chat"
url = "file:chat"
[[channels]]
name = "mail"
url = "env:MAIL"
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "monitor.toml").write_text(CONFIG)
    return load_settings(tmp_path / "monitor.toml", {}, tmp_path)


@pytest.fixture
def secrets(tmp_path: Path, hook: Hook) -> Secrets:
    (tmp_path / "chat").write_text(hook.url)
    return Secrets({}, None, tmp_path)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_a_message_arrives_as_it_is(settings: Settings, secrets: Secrets, hook: Hook) -> None:
    assert Channels(settings, secrets).send("chat", "Over · INC-1 · a <b> & c", "Do: this & <that>\n${NAME} *x*") is None
    [said] = hook.said
    assert (said["title"], said["message"]) == ("Over · INC-1 · a <b> & c", "Do: this & <that>\n${NAME} *x*")


def test_a_refusal_is_told_without_the_secret(
    settings: Settings, secrets: Secrets, hook: Hook, caplog: pytest.LogCaptureFixture
) -> None:
    hook.statuses = [500]
    with caplog.at_level(logging.DEBUG):
        error = Channels(settings, secrets).send("chat", "s", "b")
    assert error is not None
    assert "500" in error
    assert "T0ken" not in error + caplog.text


def test_a_service_that_is_away_is_told_without_the_secret(settings: Settings, secrets: Secrets, tmp_path: Path) -> None:
    (tmp_path / "chat").write_text(f"json://user-a1:passw0rd@127.0.0.1:{free_port()}/T0ken-n0t-a-secret")
    error = Channels(settings, secrets).send("chat", "s", "b")
    assert error is not None
    assert "onnection" in error
    assert not any(part in error for part in ("T0ken", "passw0rd", "user-a1"))


def test_a_service_that_never_answers_is_left_in_time(
    settings: Settings, secrets: Secrets, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "DEADLINE", 0.2)
    hook.hold = threading.Event()
    error = Channels(settings, secrets).send("chat", "s", "b")
    hook.hold.set()
    assert error is not None
    assert "no answer within" in error


@pytest.mark.parametrize("url", ["nonsense", "slack://a/b", "", "json://127.0.0.1/a,json://127.0.0.1/b", "ftp://example.com"])
def test_what_is_no_apprise_url_is_told_so(settings: Settings, secrets: Secrets, tmp_path: Path, url: str) -> None:
    (tmp_path / "chat").write_text(url)
    error = Channels(settings, secrets).send("chat", "s", "b")
    assert error is not None
    assert "Apprise URL" in error or "empty" in error


def test_a_rotated_url_needs_no_restart(settings: Settings, secrets: Secrets, hook: Hook, tmp_path: Path) -> None:
    found = Channels(settings, secrets)
    assert found.send("chat", "s", "b") is None
    (tmp_path / "chat").write_text(f"json://127.0.0.1:{hook.port}/hooks/another-one")
    assert found.send("chat", "s", "b") is None
    assert [path for _, path, _ in hook.asked] == ["/hooks/T0ken-n0t-a-secret", "/hooks/another-one"]


def test_a_channel_that_is_gone_is_told_so(settings: Settings, secrets: Secrets) -> None:
    assert "no such channel" in str(Channels(settings, secrets).send("pager", "s", "b"))


def test_the_test_tries_every_channel(settings: Settings, secrets: Secrets, hook: Hook) -> None:
    (chat, fine), (mail, error) = channels.test(settings, secrets)
    assert (chat, fine, mail) == ("chat", None, "mail")
    assert error is not None
    assert "env:MAIL" in error
    assert "MAIL is set neither" in error
    assert hook.said[0]["title"] == "Test · the monitor can reach you"
