"""Whatever happens on the wire becomes an observation that says what it was."""

import asyncio
import gzip
import shutil
import socket
import ssl
import subprocess
from pathlib import Path

import pytest

from monitor.domain.inventory import ProbeKind
from monitor.domain.observation import Verdict
from monitor.domain.taxonomy import FailureKind
from tests.openai_api.loopback import FROM_OPENAI, Asked, Road, ask, client, refusal, reply, request, server, until_hung_up

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nx-request-id: req_TEST000\r\n"


async def test_a_refused_connection() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound and not listening: nobody else can take the port
        seen = await ask(f"http://127.0.0.1:{closed.getsockname()[1]}/v1")
    assert (seen.verdict, seen.failure, seen.code) == (Verdict.FAILED, FailureKind.NETWORK_UNREACHABLE, "refused")
    assert seen.hint is not None
    assert "Connection refused" in seen.hint
    assert seen.status is None
    assert seen.latency_ms is not None


async def test_an_unknown_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    seen = await ask("http://api.nowhere.invalid/v1")
    assert (seen.failure, seen.code) == (FailureKind.NETWORK_UNREACHABLE, "dns")
    assert seen.hint is not None
    assert "Name or service not known" in seen.hint


@pytest.mark.parametrize("host", ["a" * 64 + ".invalid", "a..invalid", "xn--.invalid"])
async def test_a_name_that_cannot_be_one_is_no_fault_of_the_key(host: str) -> None:
    seen = await ask(f"http://{host}/v1")
    assert seen.verdict is Verdict.FAILED
    assert seen.hint is not None
    assert "header" not in seen.hint


async def test_a_resolver_that_hangs_ends_with_the_connect_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    never: asyncio.Future[object] = asyncio.get_running_loop().create_future()

    async def hangs(*_: object, **__: object) -> object:
        return await never

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", hangs)
    seen = await ask("http://api.slow.invalid/v1", api={"connect_timeout": 0.05})
    assert (seen.failure, seen.code) == (FailureKind.NETWORK_TIMEOUT, "connect_timeout")


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate of 127.0.0.1 with its key, in one file."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl")
    both, key = (tmp_path_factory.mktemp("tls") / name for name in ("both.pem", "key.pem"))
    subject = ["-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"]
    new = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    subprocess.run(["openssl", *new, *subject, "-keyout", key, "-out", both], check=True, capture_output=True)
    both.write_text(both.read_text() + key.read_text())
    return both


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    """The server's side."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


async def test_a_certificate_that_nobody_trusts(tls: ssl.SSLContext) -> None:
    async with server(reply(), tls=tls) as there:
        seen = await ask(there.url)
    assert (seen.failure, seen.code, seen.status) == (FailureKind.NETWORK_TLS, "tls", None)
    assert seen.hint is not None
    assert "self-signed certificate" in seen.hint.replace("self signed", "self-signed")
    assert there.asked == []


async def test_a_certificate_that_ssl_cert_file_trusts(
    tls: ssl.SSLContext, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with server(reply(), tls=tls) as there:
        assert (await ask(there.url)).verdict is Verdict.OK
        other = await ask(there.url.replace("127.0.0.1", "localhost"))
    assert (other.failure, other.code) == (FailureKind.NETWORK_TLS, "tls")
    assert other.hint is not None
    assert "mismatch" in other.hint


async def test_plain_http_spoken_to_as_https() -> None:
    async def answers_in_plain_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(reply(400, b"The plain HTTP request was sent to HTTPS port"))
        writer.close()

    there = await asyncio.start_server(answers_in_plain_http, "127.0.0.1", 0)
    async with there:
        seen = await ask(f"https://127.0.0.1:{there.sockets[0].getsockname()[1]}/v1")
    assert (seen.failure, seen.code) == (FailureKind.NETWORK_TLS, "tls")
    assert seen.hint is not None
    assert "wrong version number" in seen.hint


async def test_headers_that_do_not_come() -> None:
    async with server(until_hung_up) as there:
        seen = await ask(there.url, api={"timeout": 0.5})
    assert (seen.failure, seen.code, seen.status) == (FailureKind.NETWORK_TIMEOUT, "read_timeout", None)
    assert len(there.asked) == 1


async def test_a_body_that_trickles_ends_with_the_deadline() -> None:
    async def trickle(asked: Asked, road: Road) -> None:
        reader, writer = road
        writer.write(HEAD + b"Content-Length: 100000\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            try:
                await asyncio.wait_for(reader.read(1), 0.02)
            except TimeoutError:
                continue
            return

    async with server(trickle) as there:
        seen = await ask(there.url, api={"deadline": 0.3})
    assert (seen.failure, seen.code) == (FailureKind.NETWORK_TIMEOUT, "deadline")
    assert (seen.status, seen.request_id) == (200, "req_TEST000")  # evidence for OpenAI's support
    assert seen.latency_ms is not None
    assert 250 <= seen.latency_ms < 20_000


async def test_an_error_that_trickles_is_still_that_error() -> None:
    async def refuse_and_stop(asked: Asked, road: Road) -> None:
        whole = refusal(401, "Incorrect API key provided: sk-proj-*0000.", "invalid_api_key")
        road[1].write(whole.replace(b"Content-Length: ", b"Content-Length: 9"))
        await road[0].read()

    async with server(refuse_and_stop) as there:
        seen = await ask(there.url, api={"timeout": 0.5})
    assert (seen.failure, seen.status) == (FailureKind.AUTH_INVALID_KEY, 401)


async def test_a_body_over_the_limit() -> None:
    async with server(reply(200, b'{"object": "list", "data": [' + b" " * 70_000 + b"]}")) as there:
        seen = await ask(there.url, api={"max_body": 65_536})
        assert (await ask(there.url, api={"max_body": 80_000})).verdict is Verdict.OK
    assert (seen.verdict, seen.code, seen.status) == (Verdict.FAILED, "body_too_large", 200)


async def test_a_body_without_end_is_not_read_on() -> None:
    sent = 0

    async def pour(asked: Asked, road: Road) -> None:
        nonlocal sent
        road[1].write(HEAD + b"\r\n")
        while True:
            road[1].write(b" " * 65_536)
            sent += 65_536
            await road[1].drain()

    async with server(pour) as there:
        seen = await ask(there.url, api={"max_body": 65_536, "deadline": 30, "timeout": 30})
    assert seen.code == "body_too_large"
    assert sent < 20_000_000  # what buffers between take


async def test_a_gzip_bomb() -> None:
    bomb = gzip.compress(b" " * 30_000_000)
    assert len(bomb) < 65_536
    async with server(reply(200, bomb, FROM_OPENAI | {"Content-Encoding": "gzip"})) as there:
        seen = await ask(there.url, api={"max_body": 65_536})
    assert seen.code == "body_too_large"


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_packed_answer_that_nobody_asked_for_is_unpacked(encoding: str) -> None:
    refused = refusal(401, "Incorrect API key provided.", "invalid_api_key").partition(b"\r\n\r\n")[2]
    packed = gzip.compress(refused) if encoding == "gzip" else __import__("zlib").compress(refused)
    async with server(reply(401, packed, FROM_OPENAI | {"Content-Encoding": encoding})) as there:
        seen = await ask(there.url)
    assert seen.failure is FailureKind.AUTH_INVALID_KEY
    assert there.asked[0].all("accept-encoding") == ["identity"]


async def test_a_packed_answer_that_is_not() -> None:
    async with server(reply(200, b"{}", FROM_OPENAI | {"Content-Encoding": "gzip"})) as there:
        seen = await ask(there.url)
    assert (seen.failure, seen.code) == (FailureKind.NETWORK_NOT_OPENAI, "not_http")


@pytest.mark.parametrize(
    "noise", [b"SSH-2.0-OpenSSH_9.2\r\n", b"\x00\x01\x02\xff" * 40, b"HTTP/1.1 999999 What\r\n\r\n", b"\r\n\r\n\r\n"]
)
async def test_bytes_that_are_not_http(noise: bytes) -> None:
    async with server(noise) as there:
        seen = await ask(there.url)
    assert seen.verdict is Verdict.FAILED
    assert seen.code in ("not_http", "reset")
    if noise.strip():
        assert (seen.failure, seen.code) == (FailureKind.NETWORK_NOT_OPENAI, "not_http")


@pytest.mark.parametrize(
    "part", [b"", HEAD, HEAD + b"Content-Length: 1000\r\n\r\n{"], ids=["at once", "in the headers", "in the body"]
)
async def test_a_connection_that_is_closed_too_early(part: bytes) -> None:
    async with server(part) as there:
        seen = await ask(there.url)
    assert (seen.failure, seen.code) == (FailureKind.NETWORK_UNREACHABLE, "reset")


async def test_a_redirect_is_seen_and_not_followed() -> None:
    async with server(reply()) as elsewhere, server(reply(302, b"", {"Location": elsewhere.url + "/models"})) as there:
        seen = await ask(there.url)
    assert (seen.verdict, seen.failure, seen.status) == (Verdict.FAILED, FailureKind.NETWORK_NOT_OPENAI, 302)
    assert elsewhere.asked == []


@pytest.mark.parametrize("status", [200, 403, 511])
async def test_a_captive_portal(status: int) -> None:
    page = b"<!DOCTYPE html><html><head><title>Hotel Wi-Fi</title></head><body>Please log in</body></html>"
    headers = {"Content-Type": "text/html", "Content-Security-Policy": "default-src " + "x" * 20_000}
    async with server(reply(status, page, headers)) as there:
        seen = await ask(there.url)
    assert (seen.verdict, seen.failure, seen.status) == (Verdict.FAILED, FailureKind.NETWORK_NOT_OPENAI, status)


@pytest.mark.parametrize("probe", [ProbeKind.AUTH, ProbeKind.INFERENCE])
async def test_nothing_is_asked_a_second_time(probe: ProbeKind) -> None:
    retried = refusal(503, "The server is overloaded", headers={"retry-after": "0", "x-should-retry": "true"})
    for answer in (retried, refusal(429, "Rate limit reached"), refusal(408, "Timeout"), refusal(409, "Conflict"), until_hung_up):
        async with server(answer) as there:
            await ask(there.url, probe, "gpt-4o", api={"timeout": 0.5})
        assert len(there.asked) == 1


async def test_a_call_that_costs_money_is_not_sent_again_where_the_connection_breaks() -> None:
    async with server(b"") as there:
        seen = await ask(there.url, ProbeKind.INFERENCE, "gpt-4o")
    assert seen.code == "reset"
    assert len(there.asked) == 1


async def test_a_cancelled_probe_is_cancelled() -> None:
    arrived = asyncio.Event()

    async def hold(asked: Asked, road: Road) -> None:
        arrived.set()
        await road[0].read()

    async with server(hold) as there, client() as api:
        from monitor.openai_api.probes import PROBES

        for probe in PROBES:
            arrived.clear()
            task = asyncio.create_task(PROBES[probe](api, request(there.url, probe, "gpt-4o")))
            await arrived.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
    assert len(there.asked) == len(ProbeKind)
