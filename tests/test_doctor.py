"""The doctor: every illness gets a line with a fix, and nothing hangs."""

import http.client
import os
import shutil
import socket
import sqlite3
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from monitor import doctor
from monitor.clock import SystemClock
from monitor.config import ConfigErrors, Settings, load_settings, open_secrets
from monitor.doctor import DoctorLine, Patient, Status
from monitor.domain.observation import TransportFault, WireAnswer
from monitor.store.engine import open_engine
from monitor.store.migrate import migrate
from tests.rights import as_somebody_else, open_folder

KEY = "sk-proj-FAKE-notAKey-000000000000WXYZ"
REFUSED = (
    b'{"error": {"message": "Missing bearer or basic authentication in header", "type": "invalid_request_error", "code": null}}'
)


def ask(base_url: str) -> WireAnswer:
    """The control question, over plain sockets."""
    url = urlsplit(base_url)
    connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=60)
    try:
        connection.request("GET", f"{url.path}/models")
        answer = connection.getresponse()
        return WireAnswer(answer.status, tuple(answer.getheaders()), answer.read(), "GET /v1/models")
    except OSError as error:
        return WireAnswer(None, fault=TransportFault.REFUSED, fault_text=error.strerror)
    finally:
        connection.close()


@contextmanager
def serving(respond: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    """A far side that answers as told; gives its base URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            respond(self)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def refuse(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(401)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("x-request-id", "req_FAKE")
    handler.send_header("Content-Length", str(len(REFUSED)))
    handler.end_headers()
    handler.wfile.write(REFUSED)


@pytest.fixture
def openai() -> Iterator[str]:
    """A host that refuses a request without a key, as OpenAI does."""
    with serving(refuse) as base_url:
        yield base_url


def patient(
    folder: Path, base_url: str, *, extra: str = "", top: str = "", env: dict[str, str] | None = None, database: str = "monitor.db"
) -> Patient:
    """One project at `base_url`, everything else in order."""
    path = folder / "monitor.toml"
    path.write_text(f"""
[monitor]
database_url = "sqlite:///{folder / database}"
{top}
[monitor.dashboard]
port = 0
[monitor.metrics]
port = 0
{extra}
[[projects]]
name = "checkout"
project_id = "proj_checkout"
base_url = "{base_url}"
[[projects.keys]]
secret = "env:CHECKOUT_KEY"
""")
    path.chmod(0o600)
    env = {"CHECKOUT_KEY": KEY} if env is None else env
    loaded: Settings | ConfigErrors
    try:
        loaded = load_settings(path, env, folder)
    except ConfigErrors as errors:
        loaded = errors
    return Patient(loaded, open_secrets(path, env, folder), path, env, folder)


def examine(someone: Patient, **kwargs) -> list[DoctorLine]:
    return doctor.run(someone, kwargs.pop("ask", ask), kwargs.pop("clock", SystemClock()), **kwargs)


def of(lines: list[DoctorLine], name: str) -> list[DoctorLine]:
    return [line for line in lines if line.name.startswith(name)]


def ill(lines: list[DoctorLine]) -> list[DoctorLine]:
    """What is not as it should be, but for packages, which are the machine's."""
    return [line for line in lines if line.status is not Status.OK and line.name != "packages"]


def test_a_healthy_installation_has_nothing_to_mend(tmp_path: Path, openai: str) -> None:
    lines = examine(patient(tmp_path, openai))
    assert ill(lines) == []
    assert {line.name for line in lines} >= {"python", "configuration", "secrets", "disk", "database", f"network {openai}", "clock"}
    [way] = of(lines, "network")
    assert "DNS" in way.message
    assert "TCP" in way.message
    assert "API answered 401" in way.message


def test_no_line_holds_a_secret(tmp_path: Path, openai: str) -> None:
    (tmp_path / ".env").write_text(f"X={KEY}\nbroken {KEY}\n")
    env = {"CHECKOUT_KEY": f'"{KEY}"', "OPENAI_API_KEY": KEY, "HTTPS_PROXY": f"http://user:{KEY}@127.0.0.1:3128"}
    lines = examine(patient(tmp_path, openai, env=env))
    assert "notAKey" not in repr(lines)


def test_every_configuration_error_is_a_line_and_the_rest_is_skipped(tmp_path: Path, openai: str) -> None:
    lines = examine(patient(tmp_path, openai, extra="[monitor.intervals]\nauth = 5\nauht = 6"))
    errors = [line.message for line in ill(lines)]
    assert len(errors) == 2
    assert errors[0].startswith("monitor.toml: monitor.intervals.auht is not a known setting")
    assert all(line.fix for line in ill(lines))
    assert of(lines, "network") == []


def test_a_missing_secret_is_an_error_and_a_dubious_one_a_warning(tmp_path: Path, openai: str) -> None:
    [line] = ill(examine(patient(tmp_path, openai, env={})))
    assert (line.name, line.status) == ("secrets", Status.ERROR)
    assert "CHECKOUT_KEY is set neither" in line.message
    [line] = ill(examine(patient(tmp_path, openai, env={"CHECKOUT_KEY": f"Bearer {KEY}"})))
    assert (line.name, line.status) == ("configuration", Status.WARNING)
    assert line.message == "checkout/default the word Bearer before the key was removed"


def test_dotenv_that_cannot_be_used_is_named(tmp_path: Path, openai: str) -> None:
    (tmp_path / ".env").write_text("A=1\n!!!\n")
    (tmp_path / ".env").chmod(0o600)
    [line] = ill(examine(patient(tmp_path, openai)))
    assert line.message.endswith("has lines that are no NAME=value: 2")
    (tmp_path / ".env").unlink()
    (tmp_path / ".env").mkdir(mode=0o700)
    [line] = ill(examine(patient(tmp_path, openai)))
    assert "is a folder" in line.message


def test_files_that_everybody_may_read_or_change_are_named(tmp_path: Path, openai: str) -> None:
    someone = patient(tmp_path, openai)
    (tmp_path / ".env").write_text("A=1\n")
    (tmp_path / ".env").chmod(0o644)
    (tmp_path / "monitor.toml").chmod(0o666)
    lines = of(examine(someone), "permissions")
    assert [(line.status, line.fix) for line in lines] == [
        (Status.WARNING, f"chmod o= {tmp_path / '.env'}"),
        (Status.ERROR, f"chmod o-w {tmp_path / 'monitor.toml'}"),
    ]


def test_the_addresses_of_channels_and_of_the_dead_man_are_secrets_as_keys_are(tmp_path: Path, openai: str) -> None:
    someone = patient(tmp_path, openai, extra='[[channels]]\nname = "chat"\nurl = "file:chat"\n', top='dead_man_url = "file:alive"')
    for name in ("chat", "alive"):
        (tmp_path / name).write_text("json://127.0.0.1/x")
        (tmp_path / name).chmod(0o644)
    lines = of(examine(someone), "permissions")
    assert [(line.status, line.fix) for line in lines] == [
        (Status.WARNING, f"chmod o= {tmp_path / 'alive'}"),
        (Status.WARNING, f"chmod o= {tmp_path / 'chat'}"),
    ]


def test_ambient_variables_of_the_sdk_are_named_unless_used(tmp_path: Path, openai: str) -> None:
    env = {"CHECKOUT_KEY": KEY, "OPENAI_BASE_URL": "http://evil", "OPENAI_API_KEY": KEY, "OPENAI_LOG": ""}
    [line] = ill(examine(patient(tmp_path, openai, env=env)))
    assert line.message == "set but ignored: OPENAI_API_KEY, OPENAI_BASE_URL"
    alone = {"OPENAI_API_KEY": KEY, "OPENAI_PROJECT_ID": "proj_a", "OPENAI_BASE_URL": openai, "OPENAI_CUSTOM_HEADERS": "A: B"}
    alone["MONITOR_DATABASE_URL"] = f"sqlite:///{tmp_path / 'alone.db'}"
    (tmp_path / "monitor.toml").unlink()
    someone = Patient(load_settings(None, alone, tmp_path), open_secrets(None, alone, tmp_path), None, alone, tmp_path)
    [line] = of(examine(someone), "environment")
    assert line.message == "set but ignored: OPENAI_CUSTOM_HEADERS"


def test_certificates_that_are_not_there_are_an_error(tmp_path: Path, openai: str) -> None:
    env = {"CHECKOUT_KEY": KEY, "SSL_CERT_FILE": "/nowhere/ca.pem"}
    [line] = ill(examine(patient(tmp_path, openai, env=env)))
    assert line.message.startswith("SSL_CERT_FILE names /nowhere/ca.pem")


def test_a_proxy_is_named_without_its_password(tmp_path: Path, openai: str) -> None:
    env = {"CHECKOUT_KEY": KEY, "https_proxy": "http://user:hunter2@127.0.0.1:3128"}
    lines = examine(patient(tmp_path, openai, env=env))
    [line] = of(lines, "environment")
    assert line.message == "requests may pass a proxy: https_proxy=http://…@127.0.0.1:3128"
    [way] = of(lines, "network")
    assert "TCP" not in way.message


def test_a_package_of_another_version_is_a_warning_and_a_missing_one_an_error(
    tmp_path: Path, openai: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "requirements.txt").write_text("# pinned\npydantic==0.0.1  # old\nno-such-package-here[extra]==1.0\n")
    monkeypatch.setattr(doctor, "REQUIREMENTS", tmp_path / "requirements.txt")
    missing, other = of(examine(patient(tmp_path, openai)), "packages")
    assert (missing.status, missing.message) == (Status.ERROR, "no-such-package-here is not installed")
    assert other.status is Status.WARNING
    assert "(tested with 0.0.1)" in other.message


# Database


def test_a_migrated_database_is_well(tmp_path: Path, openai: str) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'monitor.db'}")
    migrate(engine)
    engine.dispose()
    assert ill(examine(patient(tmp_path, openai))) == []


def test_a_file_that_is_no_database_is_an_error(tmp_path: Path, openai: str) -> None:
    (tmp_path / "monitor.db").write_bytes(b"not a database at all" * 100)
    [line] = ill(examine(patient(tmp_path, openai)))
    assert (line.name, line.status) == ("database", Status.ERROR)
    assert "not a database" in line.message


def test_a_database_from_a_newer_monitor_is_an_error_and_an_empty_one_a_warning(tmp_path: Path, openai: str) -> None:
    with sqlite3.connect(tmp_path / "monitor.db") as connection:
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.execute("INSERT INTO alembic_version VALUES ('9999')")
    connection.close()
    [line] = ill(examine(patient(tmp_path, openai)))
    assert (line.status, "newer monitor" in line.message) == (Status.ERROR, True)
    (tmp_path / "monitor.db").unlink()
    sqlite3.connect(tmp_path / "monitor.db").execute("CREATE TABLE t (a)").connection.close()
    [line] = ill(examine(patient(tmp_path, openai)))
    assert (line.status, line.name) == (Status.WARNING, "database")


def test_a_folder_that_cannot_be_written_is_an_error(openai: str) -> None:
    with open_folder() as folder:
        someone = patient(folder, openai, database="data/monitor.db")
        (folder / "data").mkdir()
        (folder / "data").chmod(0o555)
        (folder / "monitor.toml").chmod(0o644)
        # Another user is only asked about the database: threads of the network checks would be that user as well.
        with as_somebody_else():
            lines = list(doctor._sqlite_file(folder / "data" / "monitor.db"))
        assert someone.settings
        [line] = ill(lines)
        assert line.message == f"{folder / 'data'} cannot be written by this user"


# Network


def test_a_closed_port_is_told_from_a_name_that_does_not_exist(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        [line] = ill(examine(patient(tmp_path, f"http://127.0.0.1:{closed.getsockname()[1]}/v1")))
    assert line.message.startswith("TCP: Connection refused")
    [line] = [line for line in ill(examine(patient(tmp_path, "http://no-such-host.invalid/v1"))) if line.name.startswith("network")]
    assert line.message.startswith("DNS: ")
    assert line.fix


def test_a_host_without_tls_is_told_from_one_with_a_strange_certificate(tmp_path: Path, openai: str) -> None:
    [line] = ill(examine(patient(tmp_path, openai.replace("http:", "https:"))))
    assert line.message.startswith("TLS: ")
    if shutil.which("openssl"):
        with tls_server(tmp_path) as port:
            [line] = ill(examine(patient(tmp_path, f"https://127.0.0.1:{port}/v1")))
        assert line.message.startswith("TLS: the certificate is not trusted (self")
        assert "ca-certificates" in line.fix


@contextmanager
def tls_server(folder: Path) -> Iterator[int]:
    """A host whose certificate it signed itself."""
    files = ["-keyout", str(folder / "tls.key"), "-out", str(folder / "tls.crt")]
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-subj",
            "/CN=x",
            *files,
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def shake() -> None:
            connection, _ = listener.accept()
            connection.settimeout(60)
            try:
                context.wrap_socket(connection, server_side=True).close()
            except OSError:
                connection.close()

        thread = threading.Thread(target=shake)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(10)


def test_a_portal_that_answers_html_is_not_openai(tmp_path: Path) -> None:
    def portal(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "text/html")
        handler.end_headers()
        handler.wfile.write(b"<html>Please accept our terms</html>")

    with serving(portal) as base_url:
        [line] = ill(examine(patient(tmp_path, base_url)))
    assert line.message.startswith("API: not OpenAI answering: status 200")


def test_a_host_that_never_answers_is_given_up(tmp_path: Path) -> None:
    release = threading.Event()

    def hangs(base_url: str) -> WireAnswer:
        release.wait(60)
        return WireAnswer(None, fault=TransportFault.DEADLINE)

    with serving(refuse) as base_url:
        [line] = ill(examine(patient(tmp_path, base_url), ask=hangs, deadline=timedelta(seconds=3)))
    release.set()
    assert line.message.startswith("API: no answer in time (before: DNS")


def test_a_failing_question_is_a_line_and_not_a_crash(tmp_path: Path, openai: str) -> None:
    def broken(base_url: str) -> WireAnswer:
        raise LookupError(KEY)

    [line] = ill(examine(patient(tmp_path, openai), ask=broken))
    assert "LookupError in the monitor itself" in line.message


# Clock and ports


class Shifted:
    """A clock that is wrong."""

    def __init__(self, by: timedelta) -> None:
        self.by = by

    def now(self) -> datetime:
        return datetime.now(UTC) + self.by


@pytest.mark.parametrize(
    ("by", "status", "words"),
    [
        (timedelta(seconds=5), Status.OK, "agrees"),
        (timedelta(seconds=90), Status.WARNING, "ahead"),
        (timedelta(hours=-1), Status.ERROR, "behind"),
    ],
)
def test_a_wrong_clock_is_noticed(tmp_path: Path, openai: str, by: timedelta, status: Status, words: str) -> None:
    [line] = of(examine(patient(tmp_path, openai), clock=Shifted(by)), "clock")
    assert line.status is status
    assert words in line.message


@pytest.mark.parametrize(
    "date", ["", "yesterday", "Mon, 99 Foo 2026", "Thu, 01 Jan 1970 00:00:00", "\x00", "Mon, 01 Jan 99999 00:00:00 GMT"]
)
def test_any_date_header_is_survived(tmp_path: Path, openai: str, date: str) -> None:
    def dated(base_url: str) -> WireAnswer:
        return WireAnswer(401, (("Date", date),), REFUSED)

    lines = examine(patient(tmp_path, openai), ask=dated)
    assert of(lines, "network")[0].status is Status.OK


def test_a_port_that_is_taken_is_named(tmp_path: Path, openai: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        someone = patient(tmp_path, openai)
        assert someone.settings
        taken_port = someone.settings.metrics.model_copy(update={"port": port})
        lines = list(doctor._ports(someone.settings.model_copy(update={"metrics": taken_port})))
    assert [line.status for line in lines] == [Status.OK, Status.WARNING]
    assert f"127.0.0.1:{port}" in lines[1].message
    assert os.strerror(98) in lines[1].message
