"""Secrets: read where they live, noticed when they change, never shown."""

import copy
import dataclasses
import io
import json
import logging
import os
import pickle
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.domain.inventory import KeyKind
from monitor.secrets import Secret, Secrets, clean, install_log_redaction
from tests.rights import as_somebody_else, open_folder

KEY = "sk-proj-FAKE-notAKey-000000000000WXYZ"
OTHER = "sk-proj-FAKE-notAKey-111111111111ABCD"


@pytest.fixture
def secrets(tmp_path: Path) -> Secrets:
    return Secrets({}, tmp_path / ".env", tmp_path)


def long_ago(path: Path, *, age: int = 3600) -> None:
    """As if the file had not been touched for a while."""
    then = time.time() - age
    os.utime(path, (then, then))


# Where they come from


def test_the_process_environment_counts_before_dotenv(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"A={OTHER}\nB={OTHER}\n")
    found = Secrets({"A": KEY, "B": ""}, tmp_path / ".env", tmp_path)
    assert found.resolve("env:A").value == KEY
    assert found.resolve("env:B").value == OTHER


def test_two_different_values_of_one_variable_are_a_finding(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"A={OTHER}\nB='{KEY}'\n")
    found = Secrets({"A": KEY, "B": KEY}, tmp_path / ".env", tmp_path)
    [sentence] = found.resolve("env:A").findings
    assert "differs between the environment" in sentence
    assert found.resolve("env:B").findings == ()


def test_a_variable_set_nowhere_names_both_places(secrets: Secrets, tmp_path: Path) -> None:
    found = secrets.resolve("env:A")
    assert found.value is None
    assert found.problem == f"A is set neither in the environment nor in {tmp_path / '.env'}"


def test_a_file_is_relative_to_the_folder_of_the_configuration(secrets: Secrets, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY)
    assert secrets.resolve("file:key").value == KEY
    assert secrets.resolve(f"file:{tmp_path / 'key'}").value == KEY


def test_a_tilde_is_the_home_folder(secrets: Secrets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "key").write_text(KEY)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert secrets.resolve("file:~/key").value == KEY
    assert "home folder is unknown" in (secrets.resolve("file:~nobody-of-that-name/key").problem or "")


def test_dotenv_puts_nothing_into_the_environment_and_interpolates_nothing(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"BASE={KEY}\nMADE=${{BASE}}x\n")
    found = Secrets({}, tmp_path / ".env", tmp_path)
    assert found.resolve("env:MADE").value == "${BASE}x"
    assert "BASE" not in os.environ


@pytest.mark.parametrize(
    "line",
    [
        f"A={KEY}",
        f"export A={KEY}",
        f'A="{KEY}"',
        f"A='{KEY}'",
        f"A = {KEY}",
        f"A={KEY} # of the shop",
        f"\ufeffA={KEY}",
        f"A={KEY}\r",
    ],
)
def test_dotenv_is_read_as_people_write_it(tmp_path: Path, line: str) -> None:
    (tmp_path / ".env").write_text(f"{line}\n")
    assert Secrets({}, tmp_path / ".env", tmp_path).resolve("env:A").value == KEY


def test_a_broken_line_of_dotenv_spoils_no_other(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"!!!\nA={KEY}\n")
    assert Secrets({}, tmp_path / ".env", tmp_path).resolve("env:A").value == KEY


def test_an_unreadable_dotenv_is_named_in_the_problem(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    found = Secrets({"B": KEY}, tmp_path / ".env", tmp_path)
    assert "is a folder" in (found.resolve("env:A").problem or "")
    assert found.resolve("env:B").value == KEY


@pytest.mark.parametrize("ref", ["", "vault:x", KEY, "env", "file", "env:", "file:", ":", "file:\0", "file:" + "x" * 5000])
def test_a_reference_that_leads_nowhere_is_a_problem_and_no_exception(secrets: Secrets, ref: str) -> None:
    found = secrets.resolve(ref)
    assert found.value is None
    assert found.problem
    assert "notAKey" not in repr(found)


# Noticing changes


def test_a_rotated_file_is_noticed_at_the_next_call(secrets: Secrets, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(KEY)
    first = secrets.resolve("file:key")
    new = tmp_path / "new"
    new.write_text(OTHER)
    new.replace(path)
    second = secrets.resolve("file:key")
    assert (first.value, second.value) == (KEY, OTHER)
    assert (first.version, second.version) == (1, 2)


def test_a_rotation_within_one_tick_of_the_clock_is_noticed(secrets: Secrets, tmp_path: Path) -> None:
    """Same size, same inode, same time: only reading again can tell."""
    path = tmp_path / "key"
    path.write_text(KEY)
    now = time.time_ns()
    os.utime(path, ns=(now, now))
    assert secrets.resolve("file:key").value == KEY
    with path.open("r+") as file:
        file.write(OTHER)
    os.utime(path, ns=(now, now))
    assert secrets.resolve("file:key").value == OTHER


def test_the_links_of_a_kubernetes_volume_are_followed_anew(secrets: Secrets, tmp_path: Path) -> None:
    for name, value in (("one", KEY), ("two", OTHER)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "key").write_text(value)
    (tmp_path / "data").symlink_to("one")
    assert secrets.resolve("file:data/key").value == KEY
    (tmp_path / "data_new").symlink_to("two")
    (tmp_path / "data_new").replace(tmp_path / "data")
    assert secrets.resolve("file:data/key").value == OTHER


def test_a_key_rotated_in_dotenv_is_noticed(secrets: Secrets, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"A={KEY}\n")
    assert secrets.resolve("env:A").value == KEY
    (tmp_path / ".env").write_text(f"A={OTHER}\n")
    found = secrets.resolve("env:A")
    assert (found.value, found.version) == (OTHER, 2)
    (tmp_path / ".env").unlink()
    assert secrets.resolve("env:A").problem


def test_a_vanished_file_is_a_problem_until_it_is_back(secrets: Secrets, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(KEY)
    assert secrets.resolve("file:key").value == KEY
    path.unlink()
    assert secrets.resolve("file:key").problem == f"{path} does not exist"
    path.write_text(KEY)
    assert secrets.resolve("file:key").value == KEY


def test_the_version_stands_still_while_the_value_does(secrets: Secrets, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(KEY)
    first = secrets.resolve("file:key")
    path.write_text(f"{KEY}\n")
    assert secrets.resolve("file:key") is first
    assert secrets.generation == 1


def test_the_generation_tells_whether_anything_changed(secrets: Secrets, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY)
    secrets.resolve("file:key")
    secrets.resolve("env:A")
    before = secrets.generation
    secrets.resolve("file:key")
    secrets.resolve("env:A")
    assert secrets.generation == before
    (tmp_path / ".env").write_text(f"A={KEY}\n")
    secrets.resolve("env:A")
    assert secrets.generation == before + 1


def test_other_variables_of_dotenv_change_nothing_for_this_one(secrets: Secrets, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"A={KEY}\n")
    first = secrets.resolve("env:A")
    (tmp_path / ".env").write_text(f"A={KEY}\nB=1\n")
    assert secrets.resolve("env:A") is first


def test_a_settled_file_is_not_read_again(secrets: Secrets, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(KEY)
    long_ago(path)
    before = path.stat()
    reads = []
    real = os.open

    def counted(name, *args, **kwargs):
        reads.append(name)
        return real(name, *args, **kwargs)

    # The change time cannot be set back, so the clock is put forward instead.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time_ns", lambda: before.st_ctime_ns + 10_000_000_000)
        patch.setattr(os, "open", counted)
        for _ in range(100):
            assert secrets.resolve("file:key").value == KEY
    assert reads == [path]


# Files that are not what they should be


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path.mkdir(), "is a folder"),
        (os.mkfifo, "is not a regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "is not a regular file"),
        (lambda path: path.symlink_to(path), "cannot be read"),
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_bytes(b" \n\n"), "is empty"),
        (lambda path: path.write_bytes(b"\xef\xbb\xbf"), "is empty"),
        (lambda path: path.write_bytes(b"x" * 20_000), "is larger than 16,384 bytes"),
        (lambda path: (path.touch(), os.truncate(path, 1 << 30)), "is larger than 16,384 bytes"),
        (lambda path: path.write_bytes(KEY.encode("utf-16")), "is UTF-16 text"),
        (lambda path: path.write_bytes(b"sk-\xff"), "is not UTF-8 text (byte 4)"),
        (lambda path: path.write_text(f"{KEY}\n{OTHER}\n"), "has 2 lines"),
        (lambda path: path.write_text(f"{KEY[:10]}\0{KEY[10:]}"), "NUL"),
    ],
)
def test_what_no_key_can_be_read_from_is_a_problem(secrets: Secrets, tmp_path: Path, make, words: str) -> None:
    make(tmp_path / "key")
    found = secrets.resolve("file:key")
    assert found.value is None
    assert words in (found.problem or "")
    assert "notAKey" not in (found.problem or "")


def test_a_file_of_somebody_else_is_a_problem_until_it_may_be_read() -> None:
    with open_folder() as folder:
        path = folder / "key"
        path.write_text(KEY)
        path.chmod(0)
        found = Secrets({}, None, folder)
        with as_somebody_else():
            assert "permission denied" in (found.resolve("file:key").problem or "")
        path.chmod(0o644)
        with as_somebody_else():
            assert found.resolve("file:key").value == KEY


# What people paste


@pytest.mark.parametrize(
    ("raw", "finding"),
    [
        (KEY, None),
        (f"{KEY}\n", None),
        (f"{KEY}\r\n", None),
        (f"\ufeff{KEY}", None),
        (f"  {KEY}\t", "spaces"),
        (f"\n{KEY}", "spaces"),
        (f"'{KEY}'", "quotes"),
        (f'"{KEY}"\n', "quotes"),
        (f"“{KEY}”", "quotes"),
        (f"Bearer {KEY}", "Bearer"),
        (f"bearer  {KEY}", "Bearer"),
        (f"Authorization: Bearer {KEY}", "Bearer"),
        (f"OPENAI_API_KEY={KEY}", "NAME="),
        (f"\u200b{KEY}\u200b", "invisible"),
        (f"\u00a0{KEY}", "spaces"),
    ],
)
def test_what_people_paste_with_a_key_is_taken_off_and_said(raw: str, finding: str | None) -> None:
    found = clean(raw)
    assert found.value == KEY
    assert found.problem is None
    if finding is None:
        assert found.findings == ()
    else:
        [sentence] = found.findings
        assert finding in sentence


def test_layers_of_wrapping_come_off_together() -> None:
    found = clean(f" \"Bearer '{KEY}' \" \n")
    assert found.value == KEY
    assert len(found.findings) == 3


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ("", "is empty"),
        (" \n", "is empty"),
        ("''", "is empty"),
        ("sk-proj FAKE", "a space inside, at character 8"),
        ("sk-proj\tFAKE", "a control character inside, at character 8 (0x09)"),
        ("sk-proj\u2011FAKE", "U+2011 NON-BREAKING HYPHEN"),
        ("sk-projé", "at character 8: U+00E9"),
        ("sk-a\nsk-b", "has 2 lines"),
        ("sk-a\x7fb", "0x7f"),
        ("sk-\udcff", "outside ASCII"),
    ],
)
def test_what_no_header_may_hold_is_a_problem(raw: str, words: str) -> None:
    found = clean(raw)
    assert found.value is None
    assert words in (found.problem or "")


@pytest.mark.parametrize("raw", ["sk-admin-FAKE-0000000000000000", "'sk-admin-FAKE-0000000000000000'", "Bearer sk-admin-x"])
def test_an_admin_key_is_refused_however_it_is_wrapped(raw: str) -> None:
    found = clean(raw)
    assert found.value is None
    assert found.kind is KeyKind.ADMIN
    assert "admin key" in (found.problem or "")


@pytest.mark.parametrize(
    "raw", ["k", "abc", "sk-FAKE", "A" * 5000, "gateway.token/with+odd=chars", "sk-future-FAKE-2031", "key:secret"]
)
def test_no_key_is_judged_by_length_or_prefix(raw: str) -> None:
    found = clean(raw)
    assert found.value == raw
    assert found.findings == ()


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ("OPENAI_API_KEY", "name of an environment variable"),
        ("${PROD_KEY}", "name of an environment variable"),
        ("your-key-here", "placeholder"),
        ("sk-your-key-here", "placeholder"),
        ("sk-...", "placeholder"),
        ("changeme", "placeholder"),
        ("<secret>", "placeholder"),
        ("xxxxxxxx", "placeholder"),
        ("sk-xxxxxxxx", "placeholder"),
        ("TODO", "placeholder"),
        ("sess-FAKE00000000000000000000", "session"),
        ("eyJhbGciOi.FAKE.FAKE", "session"),
    ],
)
def test_what_is_probably_no_key_is_sent_but_said(raw: str, words: str) -> None:
    found = clean(raw)
    assert found.value == raw
    [sentence] = found.findings
    assert words in sentence


@given(st.text(max_size=60) | st.text(alphabet="\"' \n\tsk-Bearer\u200b=", max_size=40))
def test_any_text_gives_a_sendable_key_or_a_problem(raw: str) -> None:
    found = clean(raw)
    assert (found.value is None) == (found.problem is not None)
    if found.value is not None:
        assert found.value.isascii()
        assert found.value.isprintable()
        assert " " not in found.value
        assert clean(found.value).value == found.value


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=100))
def test_any_bytes_in_files_resolve_without_exceptions(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key").write_bytes(content)
    (tmp_path / ".env").write_bytes(b"A=" + content)
    found = Secrets({}, tmp_path / ".env", tmp_path)
    for ref in ("file:key", "env:A", "env:B"):
        secret = found.resolve(ref)
        assert (secret.value is None) == (secret.problem is not None)


# Never shown


def test_a_secret_shows_its_value_nowhere() -> None:
    @dataclasses.dataclass
    class Holder:
        secret: Secret

    secret = Secret("env:A", KEY)
    shown = [repr(secret), str(secret), f"{secret}", f"{secret:>80}", f"{secret}", repr([secret]), repr(Holder(secret))]
    shown += [
        repr(dataclasses.asdict(Holder(secret))),
        repr(copy.copy(secret)),
        repr(copy.deepcopy({"a": [secret]})),
        repr(dir(secret)),
    ]
    assert "notAKey" not in "\n".join(shown)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_secret_cannot_be_pickled(protocol: int) -> None:
    with pytest.raises(TypeError, match="never serialised"):
        pickle.dumps(Secret("env:A", KEY), protocol)


def test_a_secret_cannot_become_json_nor_a_dictionary() -> None:
    secret = Secret("env:A", KEY)
    with pytest.raises(TypeError):
        json.dumps(secret)
    with pytest.raises(TypeError):
        vars(secret)
    with pytest.raises(TypeError):
        secret.__getstate__()


# Logs


@pytest.fixture
def log(request: pytest.FixtureRequest):
    """A logger whose lines can be read, and the record factory as it was before."""
    factory = logging.getLogRecordFactory()
    stream = io.StringIO()
    logger = logging.Logger(request.node.name)  # noqa: LOG001 - of this test alone
    logger.addHandler(logging.StreamHandler(stream))
    logger.text = stream.getvalue  # type: ignore[attr-defined]
    yield logger
    logging.setLogRecordFactory(factory)


def test_no_log_line_holds_a_key(log) -> None:
    install_log_redaction()
    log.warning("key %s", KEY)
    log.warning("headers %s", {"Authorization": f"Bearer {KEY}"})
    log.warning(f"inline {KEY}")  # noqa: G004 - what is tested
    log.warning("mapping %(key)s", {"key": KEY})
    log.warning(ValueError(f"Illegal header value b'Bearer {KEY}'"))
    assert log.text().count("\n") == 5
    assert "notAKey" not in log.text()
    assert "0000" not in log.text()


def test_tracebacks_are_redacted_with_their_causes(log) -> None:
    install_log_redaction()
    try:
        try:
            raise KeyError(KEY)
        except KeyError as cause:
            raise ValueError(f"Bearer {KEY}") from cause
    except ValueError:
        log.exception("it failed", stack_info=True)
    assert "Traceback" in log.text()
    assert "ValueError" in log.text()
    assert "notAKey" not in log.text()


def test_no_handler_gets_the_exception_itself(log) -> None:
    """Rich and pickling handlers format the exception, not the text."""
    install_log_redaction()
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]
    log.addHandler(handler)
    try:
        raise ValueError(KEY)
    except ValueError:
        log.exception("it failed")
    assert records[0].exc_info is None
    assert "notAKey" not in str(vars(records[0]))


def test_a_resolved_secret_of_any_shape_is_redacted_also_after_its_rotation(log, secrets: Secrets, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=gateway/FAKE/token\n")
    secrets.resolve("env:A")
    (tmp_path / ".env").write_text("A=another/FAKE/token\n")
    secrets.resolve("env:A")
    install_log_redaction(secrets)
    log.warning("sent %s, before %s", "another/FAKE/token", "gateway/FAKE/token")
    assert log.text() == "sent [secret], before [secret]\n"


def test_harmless_records_keep_their_arguments(log) -> None:
    """Formatters such as uvicorn's access log take them apart."""
    install_log_redaction()
    record = logging.getLogRecordFactory()(
        "uvicorn.access", 20, "f", 1, '%s - "%s %s" %d', ("127.0.0.1:5", "GET", "/?token=1", 200), None
    )
    assert record.args == ("127.0.0.1:5", "GET", "/?token=1", 200)
    covered = logging.getLogRecordFactory()("uvicorn.access", 20, "f", 1, '%s - "%s %s" %d', ("h", "GET", f"/?q={KEY}", 200), None)
    assert isinstance(covered.args, tuple)
    assert len(covered.args) == 4
    assert "notAKey" not in covered.getMessage()


def test_a_wrong_format_string_still_makes_a_safe_record(log, capsys: pytest.CaptureFixture[str]) -> None:
    install_log_redaction()
    log.warning("two %s %s", KEY)  # noqa: PLE1206 - what is tested
    log.warning("%d", KEY)
    assert "notAKey" not in log.text() + capsys.readouterr().err


def test_installing_twice_redacts_once(log) -> None:
    before = logging.getLogRecordFactory()
    install_log_redaction()
    install_log_redaction()
    assert logging.getLogRecordFactory().unredacted is before  # type: ignore[attr-defined]
