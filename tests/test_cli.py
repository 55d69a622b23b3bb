"""The command line as scripts use it: real processes, exit codes, JSON lines."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import PATIENCE, ROOT

KEY = "sk-proj-EMULATED-not-a-key-0000"
CHECK_FIELDS = "project key probe model at verdict failure lane status code request_id latency_ms diagnosis"
EXPLAIN_FIELDS = ["failure", "lane", "owner", "retry", "retry_after", "scope", "summary", "next_step"]


def environment(**more: str) -> dict[str, str]:
    """The environment of a shell that knows nothing of us."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "MONITOR_"))}
    return {**kept, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", "COLUMNS": "200", **more}


def monitor(*arguments: str, cwd: Path, text: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    """`python -m monitor …`, run to its end."""
    return subprocess.run(  # noqa: PLW1510 - the code is what is tested
        [sys.executable, "-m", "monitor", *arguments],
        cwd=cwd,
        input=text,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=environment(**env),
    )


def lines(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """Its output as JSON lines."""
    return [json.loads(line) for line in done.stdout.splitlines()]


@contextlib.contextmanager
def started(*arguments: str, cwd: Path, ready: str, **env: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`python -m monitor …` running, from the moment that its output matches `ready`; killed at the end if it still runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "monitor", *arguments],
        cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.PIPE, text=True, env=environment(**env),
    )  # fmt: skip
    assert process.stdout is not None
    said = ""
    try:
        for line in process.stdout:
            said += line
            if re.search(ready, said):
                break
        else:
            raise AssertionError(f"it ended with {process.wait()}:\n{said}")
        yield process, said
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of an emulator program."""
    with started("emulator", "--port", "0", cwd=tmp_path_factory.mktemp("emulator"), ready=r"http://\S+/v1") as (_, said):
        found = re.search(r"http://\S+/v1", said)
        assert found is not None
        yield found[0]


def break_it(api: str, verb: str, **arguments: object) -> None:
    """Change the emulated world."""
    request = urllib.request.Request(api.removesuffix("/v1") + f"/_emulator/{verb}", json.dumps(arguments).encode(), method="POST")
    assert json.load(urllib.request.urlopen(request, timeout=PATIENCE)) == {"ok": True}


@pytest.fixture
def house(tmp_path: Path, api: str) -> Path:
    """A folder with one configured project that the emulator knows."""
    (tmp_path / "monitor.toml").write_text(f"""
[monitor.metrics]
port = 0
[[projects]]
name = "emulated"
project_id = "proj_emulated"
base_url = "{api}"
owner = "team-a"
models = ["gpt-4o-mini"]
[[projects.keys]]
label = "backend"
secret = "env:EMULATED_KEY"
""")
    (tmp_path / ".env").write_text(f"EMULATED_KEY={KEY}\n")
    break_it(api, "heal")
    return tmp_path


def test_check_says_ok_with_every_field_of_the_contract(house: Path) -> None:
    done = monitor("check", "--json", cwd=house)
    assert (done.returncode, done.stderr) == (0, "")
    found = lines(done)
    assert [line["probe"] for line in found] == ["auth", "model_access", "inference"]
    for line in found:
        assert " ".join(line) == CHECK_FIELDS
        assert (line["project"], line["key"], line["verdict"], line["failure"], line["diagnosis"]) == (
            "emulated",
            "backend",
            "ok",
            None,
            None,
        )
    assert "ok" in monitor("check", "--project", "emulated", cwd=house).stdout


def test_check_names_the_cause_and_the_next_step(house: Path, api: str) -> None:
    break_it(api, "trouble", failure="quota.project_spend")
    done = monitor("check", "--json", cwd=house)
    assert done.returncode == 1
    failed = lines(done)[-1]
    assert (failed["failure"], failed["lane"], failed["status"], failed["verdict"]) == (
        "quota.project_spend",
        "quota",
        429,
        "failed",
    )
    assert list(failed["diagnosis"]) == ["summary", "cause", "confidence", "owner", "next_step"]
    assert failed["diagnosis"]["owner"] == "project_admin"
    shown = monitor("check", cwd=house)
    for part in ("summary", "next_step", "cause"):
        assert failed["diagnosis"][part] in " ".join(shown.stdout.split())
    assert "Cause, certain:" in shown.stdout
    assert "Who mends it: an administrator of the project" in shown.stdout
    assert KEY not in done.stdout + done.stderr + shown.stdout + shown.stderr


def test_a_key_that_may_not_list_but_infer_does_not_stop_a_deployment(house: Path, api: str) -> None:
    break_it(api, "restrict", secret=KEY, scopes=["model.request"])
    try:
        done = monitor("check", cwd=house)
        assert (done.returncode, "restricted" in done.stdout) == (0, True)
    finally:
        break_it(api, "restrict", secret=KEY)


def test_check_without_a_clear_answer_is_three(house: Path, api: str) -> None:
    break_it(api, "trouble", failure="unknown")
    text = (house / "monitor.toml").read_text()
    (house / "monitor.toml").write_text(text.replace('models = ["gpt-4o-mini"]', 'models = ["gpt-4o-mini"]\n'))
    break_it(api, "heal")
    break_it(api, "trouble", failure="client.bad_request")
    done = monitor("check", "--json", cwd=house)
    verdicts = {line["probe"]: line["verdict"] for line in lines(done)}
    assert verdicts["inference"] == "inconclusive"
    assert done.returncode == 0  # the key itself is good


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[projects]]\nname = 'a'\nmdoels = []\n", ["mdoels", "projects[0]"]),
        ("[[projects]]\nname = 'a'\n[[projects.keys]]\nsecret = 'env:NOT_THERE'\n", ["NOT_THERE"]),
        ("[[projects]", ["monitor.toml"]),
        ("", ["monitor.toml", "empty"]),
    ],
)
def test_a_wrong_configuration_is_two_with_every_error(tmp_path: Path, text: str, words: list[str]) -> None:
    (tmp_path / "monitor.toml").write_text(text)
    done = monitor("check", "--json", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr


def test_a_project_that_is_not_configured_is_two(house: Path) -> None:
    done = monitor("check", "--project", "chekcout", cwd=house)
    assert (done.returncode, "chekcout" in done.stderr, "emulated" in done.stderr) == (2, True, True)


def test_explain_answers_every_line_in_order(tmp_path: Path) -> None:
    answers = [
        {
            "status": 401,
            "headers": {},
            "body": {"error": {"message": "…", "type": "invalid_request_error", "code": "mismatched_project"}},
        },
        {"status": 200, "headers": [["content-type", "application/json"]], "body": '{"object": "list", "data": []}'},
        {
            "status": 429,
            "headers": {"Retry-After": "20"},
            "body": {"error": {"message": "x", "type": "requests", "code": "rate_limit_exceeded"}},
        },
        "openai.AuthenticationError: Error code: 401 - {'error': {'message': 'no', 'code': 'invalid_api_key'}}",
    ]
    text = "".join((answer if isinstance(answer, str) else json.dumps(answer)) + "\n" for answer in answers)
    done = monitor("explain", "-", "--json", cwd=tmp_path, text=text)
    found = lines(done)
    assert [line["failure"] for line in found] == ["auth.wrong_project", None, "rate.requests", "auth.invalid_key"]
    assert all(list(line) == EXPLAIN_FIELDS for line in found)
    assert (found[2]["retry"], found[2]["retry_after"]) == (True, 20)
    (tmp_path / "error.log").write_text(text)
    assert lines(monitor("explain", "error.log", "--json", cwd=tmp_path)) == found
    said = monitor("explain", "error.log", cwd=tmp_path).stdout
    assert "wrong_project" in said
    assert "cause, certain: The OpenAI-Project header does not match the key." in " ".join(said.split())


def test_explain_survives_what_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "noise").write_bytes(bytes(range(256)) * 50)
    done = monitor("explain", "noise", "--json", cwd=tmp_path)
    assert done.returncode == 0
    assert all(line["failure"] == "unknown" for line in lines(done))
    missing = monitor("explain", "absent.log", cwd=tmp_path)
    assert (missing.returncode, "absent.log" in missing.stderr) == (2, True)


def test_poll_once_then_status_and_the_database_commands(house: Path, api: str) -> None:
    assert monitor("status", cwd=house).returncode == 2  # nothing there yet, and it says so
    break_it(api, "trouble", failure="access.model_not_allowed")
    for _ in range(2):
        done = monitor("poll", "--once", cwd=house)
        assert done.returncode == 0, done.stderr
    found = lines(monitor("status", "--json", cwd=house))
    assert (found[0]["kind"], found[0]["state"]) == ("monitor", "running")
    assert found[0]["heartbeat"].endswith("Z")
    line = found[1]
    assert list(line) == ["kind", "project", "health", "since", "lanes", "failure", "incident"]
    assert list(line["lanes"]) == ["auth", "access", "rate", "quota", "server", "network"]
    assert (line["project"], line["health"], line["failure"]) == ("emulated", "failing", "access.model_not_allowed")
    assert (line["lanes"]["auth"], line["lanes"]["access"]) == ("healthy", "failing")
    assert "failing" in monitor("status", cwd=house).stdout
    assert "up to date" in monitor("db", "upgrade", cwd=house).stdout
    assert "sound" in monitor("db", "check", cwd=house).stdout
    assert monitor("db", "backup", "copy.db", cwd=house).returncode == 0
    again = monitor("db", "backup", "copy.db", cwd=house)
    assert (again.returncode, "copy.db" in again.stderr) == (2, True)
    assert monitor("db", "prune", cwd=house).returncode == 0
    assert KEY.encode() not in (house / "copy.db").read_bytes()
    assert monitor("export", "--to", "out", cwd=house).returncode == 0
    assert "were here already" in monitor("import", "out/observations.parquet", cwd=house).stdout
    wrong = monitor("export", "secrets", cwd=house)
    assert (wrong.returncode, "observations" in wrong.stderr) == (2, True)


def test_a_second_poller_on_the_same_file_is_refused(house: Path) -> None:
    with started("poll", cwd=house, ready="/metrics|metrics|polling|watching"):
        done = monitor("poll", "--once", cwd=house)
        assert done.returncode == 2
        assert "another poller" in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_poller_in_order(house: Path, number: signal.Signals) -> None:
    with started("poll", cwd=house, ready="metrics|watching") as (process, _):
        deadline = time.monotonic() + PATIENCE
        while "emulated" not in monitor("status", "--json", cwd=house).stdout:
            assert time.monotonic() < deadline
        process.send_signal(number)
        said, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0
        assert "Traceback" not in said
    assert "sound" in monitor("db", "check", cwd=house).stdout


def test_a_poller_ends_with_its_parent(house: Path) -> None:
    with started("poll", "--die-with-stdin", cwd=house, ready="metrics|watching") as (process, _):
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None
        assert process.wait(PATIENCE) == 0


def test_a_port_that_is_taken_is_said(house: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        for arguments in (["up", "--port", str(port)], ["emulator", "--port", str(port)]):
            done = monitor(*arguments, cwd=house)
            assert done.returncode == 2
            assert str(port) in done.stderr
            assert "--port" in done.stderr


def test_the_doctor_finds_an_installation_well_and_ill(house: Path) -> None:
    found = lines(monitor("doctor", "--json", cwd=house))
    assert {line["status"] for line in found} <= {"ok", "warning"}
    (house / ".env").write_text("EMULATED_KEY='Bearer sk-admin-FAKE-notAKey-000000000000WXYZ'\n")
    done = monitor("doctor", cwd=house)
    assert done.returncode == 2
    assert "admin" in done.stdout.lower()
    assert "FAKE" not in done.stdout


def test_one_project_from_the_environment(tmp_path: Path, api: str) -> None:
    done = monitor("check", "--json", cwd=tmp_path, OPENAI_API_KEY=KEY, OPENAI_PROJECT_ID="proj_emulated", OPENAI_BASE_URL=api)
    assert (done.returncode, [line["verdict"] for line in lines(done)]) == (0, ["ok"])
    wrong = monitor("check", "--json", cwd=tmp_path, OPENAI_API_KEY=KEY, OPENAI_PROJECT_ID="proj_other", OPENAI_BASE_URL=api)
    assert (wrong.returncode, lines(wrong)[0]["failure"]) == (1, "auth.wrong_project")


@pytest.mark.parametrize(
    "command", ["up", "poll", "check", "explain", "status", "doctor", "emulator", "db", "db backup", "export", "import"]
)
def test_every_command_has_help(tmp_path: Path, command: str) -> None:
    done = monitor(*command.split(), "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert "Usage" in done.stdout


def test_a_closed_pipe_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "many.log").write_text("Error code: 401\n" * 5000)
    done = subprocess.run(  # noqa: PLW1510
        f"{sys.executable} -m monitor explain many.log --json | head -1",
        shell=True, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, env=environment(),
    )  # fmt: skip
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""


def test_incidents_and_notify_before_anything_happened(house: Path) -> None:
    assert monitor("incidents", cwd=house).returncode == 2  # no database yet
    assert monitor("poll", "--once", cwd=house).returncode == 0
    assert (monitor("incidents", "--json", cwd=house).stdout, monitor("incidents", cwd=house).returncode) == ("", 0)
    for words in (["incident", "12"], ["incident", "INC-x"], ["incidents", "--since", "soon"], ["notify", "--test"]):
        done = monitor(*words, cwd=house)
        assert done.returncode == 2
        assert done.stderr
        assert "Traceback" not in done.stderr


def test_explain_says_whose_key_an_error_echoes(house: Path) -> None:
    for ending, word in (("0000", "backend"), ("9999", "none")):
        text = f"Incorrect API key provided: sk-proj-************{ending}. You can find your API key at https://platform.openai.com"
        body = {"error": {"message": text, "type": "invalid_request_error", "param": None, "code": "invalid_api_key"}}
        done = monitor("explain", "--json", cwd=house, text=json.dumps({"status": 401, "headers": {}, "body": body}))
        found = lines(done)[0]
        assert found["failure"] == "auth.invalid_key"
        assert word in f"{found['summary']} {found['next_step']}".lower()


def test_replay_reads_the_projects_that_were_asked_for(house: Path) -> None:
    assert monitor("poll", "--once", cwd=house).returncode == 0
    for asked in ([], ["--owner", "team-a"], ["--project", "emulated"]):
        done = monitor("replay", "--since", "1h", *asked, cwd=house)
        assert done.returncode == 0, done.stderr
        assert re.search(r"^[1-9]\d* answers: 0 incidents", done.stdout, re.MULTILINE), done.stdout
    for wrong in (["--owner", "team-b"], ["--project", "nobody"], ["--project", "emulated", "--owner", "team-b"]):
        done = monitor("replay", *wrong, cwd=house)
        assert (done.returncode, done.stdout) == (2, "")
        assert "No such project" in done.stderr


def test_check_tells_that_a_dead_key_is_configured_twice(house: Path, api: str) -> None:
    config = (house / "monitor.toml").read_text()
    (house / "monitor.toml").write_text(config + config[config.index("[[projects]]") :].replace('"emulated"', '"copy"'))
    (house / ".env").write_text("EMULATED_KEY=sk-proj-EMULATED-not-a-key-9999\n")
    done = monitor("check", "--json", cwd=house)
    causes = {line["project"]: line["diagnosis"]["cause"] for line in reversed(lines(done)) if line["diagnosis"]}
    assert "The same key is configured for copy/backend too" in causes["emulated"]
    assert "The same key is configured for emulated/backend too" in causes["copy"]


def test_scorecard_grades_projects_and_keys(house: Path) -> None:
    assert monitor("scorecard", cwd=house).returncode == 2  # nothing there yet, and it says so
    assert monitor("poll", "--once", cwd=house).returncode == 0
    told = lines(monitor("scorecard", "--json", cwd=house))
    assert [line["kind"] for line in told] == ["organization", "project", "key"]
    for line in told:
        assert {"score", "grade", "findings", "unknown"} <= set(line)
    key = told[2]
    assert (key["project"], key["key"], key["watched"]) == ("emulated", "backend", True)
    assert "admin key" in {each["rule"]: each["why"] for each in key["unknown"]}["no_expiry"]
    shown = monitor("scorecard", "--project", "emulated", cwd=house)
    assert (shown.returncode, "backend" in shown.stdout) == (0, True)
    assert [line["kind"] for line in lines(monitor("scorecard", "--json", "--project", "emulated", cwd=house))] == [
        "project",
        "key",
    ]
    wrong = monitor("scorecard", "--project", "nobody", cwd=house)
    assert (wrong.returncode, "There is no project nobody" in wrong.stderr) == (2, True)
    assert KEY not in monitor("scorecard", "--json", cwd=house).stdout
