"""The command line: tables for people, `--json` for scripts, and exit codes that a deploy gate can rely on."""

import asyncio
import contextlib
import json
import logging
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from monitor import __version__
from monitor.clock import SystemClock
from monitor.config import ConfigErrors

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from monitor.admin_check import Examined
    from monitor.config import OrganizationSettings
    from monitor.domain.deadlines import Deadline
    from monitor.domain.diagnosis import Diagnosis
    from monitor.domain.incidents import Incident
    from monitor.domain.inventory import Inventory
    from monitor.domain.observation import Observation, WireAnswer
    from monitor.secrets import Secrets
    from monitor.service import Loaded

app = typer.Typer(
    help="A monitor of OpenAI project-scoped API keys.",
    no_args_is_help=True,
    add_completion=False,
    # Its tracebacks print local variables, and one of those may be a key.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
db = typer.Typer(help="The database: schema, backup, integrity, retention.", no_args_is_help=True)
app.add_typer(db, name="db")

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


class Exit(IntEnum):
    """What the exit codes mean."""

    OK = 0
    FAILED = 1
    CONFIGURATION = 2
    INCONCLUSIVE = 3


Config = Annotated[
    Path | None, typer.Option("--config", help="The configuration file; else MONITOR_CONFIG, else monitor.toml here.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line, for scripts.")]
DieWithStdin = Annotated[bool, typer.Option("--die-with-stdin", hidden=True)]


def main() -> None:
    """Run the command line; mistakes are words, never tracebacks."""
    from monitor.store.errors import StoreError

    try:
        app()
    except ConfigErrors as errors:
        _refuse(f"The configuration is wrong in {len(errors.errors)} place(s):", *map(str, errors.errors))
    except StoreError as error:
        _refuse(str(error))
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except BrokenPipeError:
        # Somebody closed the pipe, as `head` does: the interpreter must not try to flush into it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(Exit.FAILED) from None


def _refuse(*lines: str) -> NoReturn:
    for line in lines:
        err.print(escape(line))
    raise SystemExit(Exit.CONFIGURATION)


def _version(wanted: bool) -> None:
    if wanted:
        out.print(f"monitor {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")] = False,
) -> None:
    pass


# Running --------------------------------------------------------------------------------------------------------------------------


@app.command()
def up(
    port: Annotated[
        int | None, typer.Option(help="Of the dashboard; else as configured, 8501 by default.", min=1, max=65535)
    ] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Watch the sample organization, whatever is configured.")] = False,
    config: Config = None,
) -> None:
    """Start poller and dashboard; one Ctrl-C stops both, and nothing is lost.

    With nothing configured this watches the sample organization.
    """
    import uvicorn

    from monitor import service

    _log(logging.WARNING)
    cwd = Path.cwd()
    if config is not None:
        os.environ["MONITOR_CONFIG"] = str(config)
    loaded = service.settle(os.environ, cwd, demo=demo)
    where = loaded.settings.dashboard
    chosen = port or where.port
    if not service.port_is_free(where.address, chosen):
        _refuse(
            f"{where.address}:{chosen} is in use: another program, perhaps another monitor, serves there. Stop it, or choose "
            f"another port: `make run PORT=8502`, --port, or [monitor.dashboard] port."
        )
    _greet(loaded, where.address, chosen)
    os.environ["MONITOR_CONFIG"] = str(loaded.config) if loaded.config else ""
    sys.path.insert(0, str(service.ROOT))
    server = uvicorn.Server(
        uvicorn.Config(
            "app:app",
            host=where.address,
            port=chosen,
            ws="websockets-sansio",
            ws_max_size=200 << 20,
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=2,
        )
    )
    with contextlib.suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        raise SystemExit(Exit.CONFIGURATION)


def _greet(loaded: "Loaded", address: str, port: int) -> None:
    shown = "127.0.0.1" if address in ("0.0.0.0", "::") else address  # noqa: S104 - shown, not bound
    url = f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"
    number = len(loaded.settings.projects)
    if loaded.settings.demo:
        out.print(
            "[bold]Sample organization[/bold]: nothing here is real. An emulator of the OpenAI API runs on this machine; "
            "nothing leaves it."
        )
        out.print(
            "To watch your own: put OPENAI_API_KEY and OPENAI_PROJECT_ID into .env, or copy monitor.example.toml to "
            "monitor.toml; then start again."
        )
    else:
        out.print(f"Watching {number} project{'s' * (number != 1)} from {escape(loaded.settings.source)}.")
    out.print(f"Dashboard: [bold]{url}[/bold]    Ctrl-C stops everything.")


@app.command()
def poll(
    once: Annotated[bool, typer.Option("--once", help="Run every check once, record it, and exit.")] = False,
    config: Config = None,
    die_with_stdin: DieWithStdin = False,
) -> None:
    """Run the poller alone: without pages, for a machine of its own or under a service manager."""
    from monitor import service

    _log(logging.INFO)
    loaded = service.load(config, os.environ, Path.cwd())
    if once:
        observations = asyncio.run(service.poll_once(loaded))
        failed = sum(made.failure is not None for made in observations)
        out.print(f"{len(observations)} checks recorded, {failed} of them failed. `monitor status` shows the health they led to.")
        return
    asyncio.run(service.poll(loaded, die_with_stdin=die_with_stdin))


_MOMENTS = ["%Y-%m-%dT%H:%M:%S.%f%z", "%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%d"]


@app.command()
def emulator(
    port: Annotated[int, typer.Option(help="On loopback; 0 takes any.", min=0, max=65535)] = 8180,
    sample: Annotated[bool, typer.Option("--sample", help="The sample organization with its story, not one bare project.")] = False,
    anchor: Annotated[
        datetime | None,
        typer.Option(
            help="The moment that the sample's story is told around (UTC).",
            formats=_MOMENTS,
        ),
    ] = None,
    die_with_stdin: DieWithStdin = False,
) -> None:
    """Run an OpenAI API that can be broken on purpose, for trying things out.

    `POST /_emulator/{verb}` changes its world at run time; `GET /_emulator` lists the verbs.
    """
    from monitor.emulator import sample as samples
    from monitor.emulator import server
    from monitor.service import until_stdin_ends

    moment = (anchor.replace(tzinfo=anchor.tzinfo or UTC) if anchor else SystemClock().now()).timestamp()
    world = samples.sample_world(moment) if sample else server.plain_world()
    try:
        listener = server.listen(port)
    except OSError as error:
        _refuse(f"127.0.0.1:{port} cannot be used ({error.strerror}). Choose another one with --port.")
    base = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    if not die_with_stdin:
        keys = [key.secret for project in samples.SAMPLE_PROJECTS[:1] for key in project.keys] if sample else list(world.keys)
        out.print(f"Emulated API: [bold]{base}[/bold]    a key: {keys[0]}    Ctrl-C stops it.")

    async def serve() -> None:
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(server.serve(world, listener))
            if die_with_stdin:
                parent = group.create_task(until_stdin_ends())
                await asyncio.wait([serving, parent], return_when=asyncio.FIRST_COMPLETED)
                serving.cancel()
                parent.cancel()

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve())


# Asking ---------------------------------------------------------------------------------------------------------------------------


@app.command()
def check(
    project: Annotated[list[str] | None, typer.Option(help="Only this project; may be repeated.")] = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Check now and say what is wrong. Exit code 0: all ok, 1: something failed, 2: configuration, 3: could not tell.

    Nothing is recorded. A key that may infer but not list models is restricted, not failed.
    """
    from monitor import service
    from monitor.config import inventory, secret_errors
    from monitor.domain.inventory import ProbeKind

    _log(logging.ERROR)
    loaded = service.load(config, os.environ, Path.cwd())
    wanted = set(project or [])
    known = {each.name for each in loaded.settings.projects}
    if wanted - known:
        _refuse(f"No such project: {', '.join(sorted(wanted - known))}. Configured are {', '.join(sorted(known)) or 'none'}.")
    missing = [error for error in secret_errors(loaded.settings, loaded.secrets) if not wanted or error.project in wanted]
    if missing:
        raise ConfigErrors(missing)
    plan = inventory(loaded.settings, loaded.secrets, b"check")
    targets = [
        each.target
        for each in plan.checks
        if each.target.probe is not ProbeKind.CONTROL and (not wanted or each.target.project in wanted)
    ]
    if not targets:
        _refuse(
            "There is nothing to check: no project is configured. Copy monitor.example.toml to monitor.toml, or set OPENAI_API_KEY."
        )

    answers = asyncio.run(service.check_now(loaded, targets, plan))
    observations = [seen for seen, _ in answers]
    if as_json:
        for seen, diagnosis in answers:
            _line(_check_line(seen, _said(seen, diagnosis, plan)))
    else:
        _check_table(answers, plan)
    raise SystemExit(_exit_code(observations))


def _exit_code(observations: list["Observation"]) -> Exit:
    from monitor.domain.observation import Verdict

    if any(seen.verdict is Verdict.FAILED and not _only_restricted(seen, observations) for seen in observations):
        return Exit.FAILED
    return Exit.OK if any(seen.verdict is Verdict.OK for seen in observations) else Exit.INCONCLUSIVE


def _only_restricted(seen: "Observation", observations: list["Observation"]) -> bool:
    """Whether a key may merely not list models: it is refused there, and good where it is used."""
    from monitor.domain.inventory import ProbeKind
    from monitor.domain.observation import Verdict
    from monitor.domain.taxonomy import FailureKind

    listing = (ProbeKind.AUTH, ProbeKind.MODEL_ACCESS)
    if seen.failure is not FailureKind.AUTH_MISSING_SCOPE or seen.target.probe not in listing:
        return False
    return any(
        other.verdict is Verdict.OK and other.target.probe is ProbeKind.INFERENCE
        for other in observations
        if (other.target.project, other.target.key) == (seen.target.project, seen.target.key)
    )


def _said(seen: "Observation", sharpened: "Diagnosis | None", plan: "Inventory") -> dict[str, Any] | None:
    """The diagnosis by the contract's names: the sharpened one where experiments were made."""
    from monitor.domain.diagnosis import context_of, diagnose

    if seen.failure is None:
        return None
    project = next((each for each in plan.projects if each.name == seen.target.project), None)
    key = next((each for each in project.keys if each.label == seen.target.key), None) if project else None
    words = sharpened or diagnose(seen.failure, context_of(seen, at=seen.at, now=seen.at, project=project, key=key))
    found = asdict(words)
    return {name: found[name] for name in ("summary", "cause", "confidence", "owner", "next_step")}


def _check_line(seen: "Observation", diagnosis: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "project": seen.target.project,
        "key": seen.target.key,
        "probe": seen.target.probe.value,
        "model": seen.target.model,
        "at": seen.at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "verdict": seen.verdict.value,
        "failure": seen.failure.value if seen.failure else None,
        "lane": seen.lane.value if seen.lane else None,
        "status": seen.status,
        "code": seen.code,
        "request_id": seen.request_id,
        "latency_ms": None if seen.latency_ms is None else round(seen.latency_ms, 1),
        "diagnosis": diagnosis,
    }


_COLOURS = {"ok": "green", "failed": "red", "inconclusive": "yellow", "error": "red", "warning": "yellow"}


def _coloured(word: str) -> str:
    return f"[{_COLOURS.get(word, 'default')}]{word}[/]"


def _check_table(answers: list[tuple["Observation", "Diagnosis | None"]], plan: "Inventory") -> None:
    table = Table("project", "key", "probe", "model", "verdict", "failure", "ms", box=None, pad_edge=False)
    observations = [seen for seen, _ in answers]
    told: dict[str, None] = {}
    for seen, diagnosis in answers:
        target = seen.target
        table.add_row(
            *(escape(text or "") for text in (target.project, target.key, target.probe.value, target.model)),
            "[yellow]restricted[/]" if _only_restricted(seen, observations) else _coloured(seen.verdict.value),
            seen.failure.value if seen.failure else seen.finding or "",
            "" if seen.latency_ms is None else f"{seen.latency_ms:,.0f}",
        )
        if (words := _said(seen, diagnosis, plan)) is not None:
            told[_in_full(words)] = None
    out.print(table)
    for text in told:
        out.print(f"\n{text}")


def _in_full(words: dict[str, Any]) -> str:
    """A diagnosis as it is printed: what, what to do, why and how sure that is, whose it is."""
    from monitor.domain.postmortem import WHO_MENDS

    return (
        f"[bold]{escape(words['summary'])}[/bold]\n  {escape(words['next_step'])}\n"
        f"  [dim]Cause, {words['confidence']}: {escape(words['cause'])}\n  Who mends it: {WHO_MENDS[words['owner']]}[/dim]"
    )


@app.command()
def explain(
    file: Annotated[str, typer.Argument(help="A file, or - for standard input.", show_default=False)] = "-",
    as_json: Json = False,
) -> None:
    """What does this error mean, whose is it, does retrying help?

    Takes pasted log lines, error bodies, or JSON lines with status, headers, body and endpoint. One answer a line, in order.
    """
    from monitor.domain.explain import explain as explained
    from monitor.domain.explain import parse_line, split

    keys = _known_keys()
    for part in split(_read(file)):
        meaning = explained(parse_line(part), keys)
        if as_json:
            _line(meaning.as_json())
            continue
        kind = meaning.failure.value if meaning.failure else "no failure"
        out.print(f"[bold]{kind}[/bold]  {escape(meaning.summary)}")
        if meaning.failure:
            wait = f" after {meaning.retry_after:g} s" if meaning.retry_after is not None else ""
            helps = f"retrying may help{wait}" if meaning.retry else "retrying does not help"
            out.print(f"  {escape(meaning.next_step)}")
            out.print(
                f"  [dim]cause, {meaning.confidence.value if meaning.confidence else 'unknown'}: {escape(meaning.cause)}[/dim]"
            )
            out.print(f"  [dim]owner: {meaning.owner.value.replace('_', ' ') if meaning.owner else 'unknown'} · {helps}[/dim]")


def _known_keys() -> tuple[tuple[str, str, str], ...]:
    """Project, label and last four characters of every configured key, to tell which one an error echoes."""
    from monitor.config import configured, find_config, inventory, load_settings, open_secrets

    cwd, env = Path.cwd(), dict(os.environ)
    try:
        if not configured(None, env, cwd):
            return ()
        path = find_config(None, env, cwd)
        plan = inventory(load_settings(path, env, cwd), open_secrets(path, env, cwd), b"explain")
    except ConfigErrors:
        return ()
    named = (
        (project.name, key.label, (key.fingerprint or "").partition("…")[2]) for project in plan.projects for key in project.keys
    )
    return tuple(each for each in named if each[2])


_MOST_INPUT = 64 * 1024 * 1024


def _read(file: str) -> str:
    if file == "-":
        if sys.stdin.isatty():
            err.print("Paste the error, then Ctrl-D:")
        raw = sys.stdin.buffer.read(_MOST_INPUT)
    else:
        try:
            with Path(file).open("rb") as opened:
                raw = opened.read(_MOST_INPUT)
        except OSError as error:
            _refuse(f"{file} cannot be read: {error.strerror}.")
    return raw.decode("utf-8", "replace")


@app.command()
def status(as_json: Json = False, config: Config = None) -> None:
    """The current health of every project, from the store."""
    from monitor import status as lines

    with _reading(config) as (engine, _):
        found = list(lines.lines(engine, SystemClock().now()))
    if as_json:
        for line in found:
            _line(line)
        return
    beat = found[0]
    sample = " · sample data" if beat["demo"] else ""
    for name, synced in beat["synced"].items():
        out.print(f"the record of {escape(name)} was read {synced or 'never to its end'}")
    out.print(f"poller {beat['state']}" + (f", last heartbeat {beat['heartbeat']}" if beat["heartbeat"] else "") + sample)
    if beat["config_error"]:
        err.print(escape(f"The newest configuration is not taken:\n{beat['config_error']}"))
    table = Table("project", "health", "since", "failure", "auth", "access", "rate", "quota", box=None, pad_edge=False)
    for line in found[1:]:
        lanes = [line["lanes"][lane] for lane in ("auth", "access", "rate", "quota")]
        table.add_row(
            escape(line["project"]), _health(line["health"]), line["since"] or "", line["failure"] or "", *map(_health, lanes)
        )
    out.print(table)


_HEALTH_COLOURS = {"healthy": "green", "failing": "red", "degraded": "yellow", "restricted": "blue"}


def _health(word: str) -> str:
    return f"[{_HEALTH_COLOURS.get(word, 'dim')}]{word}[/]"


@app.command()
def scorecard(
    project: Annotated[list[str] | None, typer.Option(help="Only this project; may be given several times.")] = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """How well keys and projects are kept: a grade for each, the rules that are broken, and the next step.

    JSON is one object a line: the organization, then each project followed by its keys.
    """
    from monitor.domain.assessment import lines, worst_first
    from monitor.store import queries

    with _reading(config) as (engine, loaded):
        found = queries.hygiene(engine, SystemClock().now(), loaded.settings.hygiene.policy)
    unknown = set(project or ()) - {each.name for each in found.projects}
    if unknown:
        _refuse(f"There is no project {', '.join(sorted(unknown))}. `monitor status` lists them.")
    if as_json:
        for line in lines(found, project or ()):
            _line(line)
        return
    if not project:
        done = found.progress
        score = "nothing can be judged yet" if found.card.score is None else f"{found.card.score} of 100"
        accounts = f"{done.service_accounts:,} of {done.keys:,} keys belong to service accounts"
        out.print(f"organization: grade {found.card.grade}, {score}; {accounts}")
    table = Table("project", "key", "grade", "score", "broken, the heaviest first", "not known", box=None, pad_edge=False)
    for each in sorted(found.projects, key=worst_first):
        if project and each.name not in project:
            continue
        for card in (each.card, *each.key_cards):
            about_key = card is not each.card
            broken = [finding.title for finding in card.findings if about_key or finding.key is None]
            table.add_row(
                "" if about_key else escape(each.name),
                escape(card.key or "") if about_key else "",
                card.grade,
                "" if card.score is None else str(card.score),
                escape(", ".join(broken)),
                str(len(card.unknown) or ""),
            )
    out.print(table if found.projects else "No project is configured.")
    for name in project or ():
        one = found.project(name)
        for finding in one.card.findings if one else ():
            where = "/".join(part for part in (finding.project, finding.key) if part)
            out.print(escape(f"\n{where}: {finding.reason}\n  → {finding.remedy}"))


@app.command()
def doctor(as_json: Json = False, config: Config = None) -> None:
    """Configuration, secrets, network path, database, clock: what is wrong, and the fix. Exit code 2 when something is."""
    from monitor import doctor as examination
    from monitor.config import find_config, load_settings, open_secrets

    _log(logging.ERROR)
    cwd, env = Path.cwd(), dict(os.environ)
    path = find_config(config, env, cwd)
    try:
        loaded: Any = load_settings(path, env, cwd)
    except ConfigErrors as errors:
        loaded = errors
    patient = examination.Patient(loaded, open_secrets(path, env, cwd), path, env, cwd)
    lines = examination.run(patient, _ask_control, SystemClock(), ask_admin=lambda each: _ask_admin(each, patient.secrets))
    if as_json:
        for line in lines:
            _line({"name": line.name, "status": line.status.value, "message": line.message, "fix": line.fix or None})
    else:
        for line in lines:
            out.print(f"{_coloured(line.status.value):>8}  [bold]{escape(line.name)}[/bold]  {escape(line.message)}")
            if line.fix:
                out.print(f"          → {escape(line.fix)}")
    if any(line.status is examination.Status.ERROR for line in lines):
        raise SystemExit(Exit.CONFIGURATION)


def _ask_control(base_url: str) -> "WireAnswer":
    from monitor.domain.inventory import ProbeKind, Target
    from monitor.openai_api.client import ApiClient, scrub_environment
    from monitor.openai_api.observe import ProbeRequest, observe

    async def ask() -> "WireAnswer":
        async with ApiClient() as client:
            request = ProbeRequest(target=Target(ProbeKind.CONTROL, host=base_url), at=SystemClock().now(), base_url=base_url)
            return (await observe(client, request, lambda caller: caller.list_models())).answer

    scrub_environment()
    return asyncio.run(ask())


def _ask_admin(organization: "OrganizationSettings", secrets: "Secrets") -> "Examined":
    from monitor.admin_check import examine
    from monitor.openai_api.client import scrub_environment

    scrub_environment()
    return asyncio.run(examine(organization, secrets))


# The organization's own record ----------------------------------------------------------------------------------------------------


@app.command()
def sync(
    organization: Annotated[list[str] | None, typer.Option(help="Only this one; may be repeated.")] = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Read the organization's own record once, with its read-only admin key: projects, keys, limits, permissions, money, use, log.

    Exit code 0: all was read, 2: configuration, 3: some of it could not be read. The poller does the same by itself.
    """
    from monitor import service, sync_words

    _log(logging.ERROR)
    loaded = service.load(config, os.environ, Path.cwd())
    known = {each.name for each in loaded.settings.organizations}
    if not known:
        _refuse(*sync_words.WITHOUT_ADMIN_KEY)
    if unknown := set(organization or ()) - known:
        _refuse(f"No such organization: {', '.join(sorted(unknown))}. Configured are {', '.join(sorted(known))}.")
    with err.status("Reading …") as status:
        began: dict[str, float] = {}

        def tell(name: str, done: int, parts: int) -> None:
            elapsed = time.monotonic() - began.setdefault(name, time.monotonic())
            status.update(escape(sync_words.under_way(name, done, parts, elapsed)))

        summaries = asyncio.run(service.sync_once(loaded, organization, tell))
    for name, summary in summaries.items():
        if as_json:
            _line(sync_words.line(name, summary))
        else:
            for text in sync_words.told(name, summary, SystemClock().now()):
                out.print(escape(text))
    if any(summary.failed for summary in summaries.values()):
        raise SystemExit(Exit.INCONCLUSIVE)


# Incidents ------------------------------------------------------------------------------------------------------------------------


@app.command("incidents")
def list_incidents(
    since: Annotated[str, typer.Option(help="How far back, such as 24h or 7d.")] = "7d",
    only_open: Annotated[bool, typer.Option("--open", help="Only those that go on.")] = False,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """The incidents of the last days, newest first."""
    from monitor.domain.words import duration
    from monitor.store import incidents

    length, now = _length(since), SystemClock().now()
    with _reading(config) as (engine, _):
        found = [each for each in incidents.find(engine, since=now - length, open_only=only_open) if each.merged_into is None]
    if as_json:
        for each in found:
            _line(_incident_line(each))
        return
    table = Table("incident", "severity", "since", "lasted", "what", "projects", "taken by", box=None, pad_edge=False)
    for each in found:
        lasted = ((each.resolved_at or now) - each.first_bad_at).total_seconds()
        table.add_row(
            f"INC-{each.id}",
            f"[{'red' if each.severity == 'critical' else 'yellow'}]{each.severity.value}[/]" if each.open else "[dim]over[/]",
            f"{each.first_bad_at:%Y-%m-%d %H:%M} UTC",
            duration(lasted),
            escape(each.title),
            str(len(each.projects)),
            escape(each.acknowledged_by or ""),
        )
    out.print(table if found else f"No incident in the last {since}.")


def _incident_line(each: "Incident") -> dict[str, Any]:
    from monitor.domain import postmortem

    def seconds(length: timedelta | None) -> float | None:
        return None if length is None else round(length.total_seconds(), 1)

    def moment(at: datetime | None) -> str | None:
        return at.isoformat(timespec="seconds").replace("+00:00", "Z") if at else None

    return {
        "incident": each.id,
        "title": each.title,
        "severity": each.severity.value,
        "open": each.open,
        "failure": each.failure.value,
        "lane": each.failure.lane.value,
        "scope": each.cause.scope.value,
        "subject": each.cause.subject,
        "first_bad_at": moment(each.first_bad_at),
        "opened_at": moment(each.opened_at),
        "acknowledged_at": moment(each.acknowledged_at),
        "acknowledged_by": each.acknowledged_by,
        "resolved_at": moment(each.resolved_at),
        "mttd_seconds": seconds(postmortem.mttd(each)),
        "mtta_seconds": seconds(postmortem.mtta(each)),
        "mttr_seconds": seconds(postmortem.mttr(each)),
        "projects": list(each.projects),
        "services": list(each.services),
        "owners": list(each.owners),
        "summary": each.diagnosis.summary,
        "next_step": each.diagnosis.next_step,
    }


@app.command()
def incident(
    number: Annotated[str, typer.Argument(metavar="ID", help="Such as 12 or INC-12.")],
    form: Annotated[Literal["md", "json"], typer.Option("--format", help="Markdown for people, JSON for programs.")] = "md",
    config: Config = None,
) -> None:
    """One incident with its timeline and evidence, ready for a post-mortem."""
    from monitor.domain import postmortem
    from monitor.store import incidents

    digits = number.upper().removeprefix("INC-")
    with _reading(config) as (engine, _):
        record = incidents.record(engine, int(digits)) if digits.isascii() and digits.isdigit() and len(digits) < 19 else None
    if record is None:
        _refuse(f"There is no incident {number}. `monitor incidents` lists them.")
    sys.stdout.write((postmortem.as_json(record) if form == "json" else postmortem.markdown(record)).rstrip() + "\n")


@app.command()
def deadlines(
    within: Annotated[str, typer.Option(help="How far ahead, such as 14d or 90d.")] = "90d",
    project: Annotated[list[str] | None, typer.Option(help="Only this project; may be given again.")] = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """What ends: keys, certificates, models, spend limits, silences; soonest first."""
    from monitor.store import queries

    ahead, now = _length(within, "--within"), SystemClock().now()
    with _reading(config) as (engine, loaded):
        chosen = _chosen(loaded, project, None)
        calendar = queries.deadlines(engine, now)
    found = [each for each in calendar.deadlines if each.at <= now + ahead]
    if chosen is not None:
        found = [each for each in found if chosen & set(each.projects)]
    if as_json:
        for each in found:
            _line(_deadline_line(each, now))
        return
    table = Table("left", "when", "what", "projects", "owner", "next step", box=None, pad_edge=False)
    for each in found:
        left = each.days_left(now)
        colour = {"critical": "red", "warning": "yellow"}.get(each.severity(now), "dim")
        table.add_row(
            f"[{colour}]{'passed' if left < 0 else f'{left} d'}[/]",
            f"{each.at:%Y-%m-%d %H:%M} UTC",
            escape(each.title),
            escape(", ".join(each.projects[:3]) + (f" and {len(each.projects) - 3} more" if len(each.projects) > 3 else "")),
            escape(each.owner or ""),
            escape(each.next_step),
        )
    out.print(table if found else f"No deadline is known within {within}.")
    for question in calendar.open_questions[:12]:
        err.print(f"[dim]Not known: {escape(question)}[/]")


def _deadline_line(each: "Deadline", now: datetime) -> dict[str, Any]:
    def moment(at: datetime | None) -> str | None:
        return at.isoformat(timespec="seconds").replace("+00:00", "Z") if at else None

    return {
        "kind": each.kind.value,
        "when": moment(each.at),
        "days_left": each.days_left(now),
        "severity": each.severity(now).value,
        "subject": each.title,
        "project": each.projects[0] if len(each.projects) == 1 else None,
        "projects": list(each.projects),
        "key": each.key,
        "model": each.model,
        "owner": each.owner,
        "environments": list(each.environments),
        "breaks": each.breaks,
        "next_step": each.next_step,
        "evidence": list(each.evidence),
        "confidence": each.confidence.value,
        "earliest": moment(each.earliest),
        "latest": moment(each.latest),
    }


@app.command()
def report(
    owner: Annotated[str | None, typer.Option(help="Only the page of this owner.")] = None,
    to: Annotated[Path, typer.Option(help="The folder to write into.")] = Path("data/reports"),
    config: Config = None,
) -> None:
    """The week as one printable HTML page for each owner: broken first, availability, incidents, what to do."""
    from monitor import report as reports

    with _reading(config) as (engine, loaded):
        settings = loaded.settings
        try:
            pages = reports.write(engine, to, SystemClock().now(), owner, settings.slo.objective, settings.dashboard_url)
        except OSError as error:
            _refuse(f"{to} cannot be written: {error.strerror}.")
    if not pages:
        _refuse(f"No project has the owner {owner}." if owner else "There is nothing to report yet: no project was ever watched.")
    for page in pages:
        out.print(escape(str(page)))


@app.command()
def replay(
    since: Annotated[str, typer.Option(help="How far back, such as 24h or 7d.")] = "7d",
    project: Annotated[list[str] | None, typer.Option(help="Only this project; may be repeated.")] = None,
    owner: Annotated[str | None, typer.Option(help="Only the projects of this owner.")] = None,
    fail_after: Annotated[int | None, typer.Option(help="Failures among the last --fail-window checks.", min=1, max=21)] = None,
    fail_window: Annotated[int | None, typer.Option(min=1, max=21)] = None,
    definitive_fail_after: Annotated[
        int | None, typer.Option(help="The same in a row, for causes that settle themselves.", min=1, max=21)
    ] = None,
    recover_after: Annotated[int | None, typer.Option(help="Successes in a row.", min=1, max=21)] = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Read stored observations again under another policy: which incidents would have opened? Nothing is changed."""
    from monitor import replay as replaying
    from monitor.domain.timeline import Window
    from monitor.domain.words import duration
    from monitor.store import incidents

    length, now = _length(since), SystemClock().now()
    asked = {
        "fail_after": fail_after,
        "fail_window": fail_window,
        "definitive_fail_after": definitive_fail_after,
        "recover_after": recover_after,
    }
    with _reading(config) as (engine, loaded):
        try:
            changed: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
            policy = replace(loaded.settings.health_policy, **changed)
        except ValueError as error:
            _refuse(f"That is no policy: {error}.")
        if length > loaded.settings.retention.observations:
            err.print("[yellow]Good answers are kept for a shorter time than that: what lies before looks worse than it was.[/]")
        chosen = _chosen(loaded, project, owner)
        own = {name: replace(each, **changed) for name, each in loaded.settings.health_policies().items()}
        made = replaying.result(engine, Window(now - length, now), policy, own, chosen)
        found = [each for each in incidents.find(engine, since=now - length, limit=5000) if each.merged_into is None]
        real = found if chosen is None else [each for each in found if chosen & set(each.projects)]
    if as_json:
        for each in made.alone:
            _line(_incident_line(each))
        return
    table = Table("opened", "lasted", "severity", "what", box=None, pad_edge=False)
    for each in made.alone:
        lasted = ((each.resolved_at or now) - each.first_bad_at).total_seconds()
        table.add_row(f"{each.opened_at:%Y-%m-%d %H:%M} UTC", duration(lasted), each.severity.value, escape(each.title))
    out.print(table)
    out.print(f"{made.observations} answers: {len(made.alone)} incidents under this policy, {len(real)} in fact.")


def _chosen(loaded: "Loaded", project: list[str] | None, owner: str | None) -> set[str] | None:
    """The names of the projects that were asked for; None is all of them."""
    if not project and owner is None:
        return None
    known = {each.name: each.owner for each in loaded.settings.projects}
    if strangers := set(project or ()) - known.keys():
        _refuse(f"No such project: {', '.join(sorted(strangers))}. Configured are {', '.join(sorted(known)) or 'none'}.")
    names = {name for name in project or known if owner is None or known[name] == owner}
    if not names:
        _refuse(f"No such project has the owner {owner}.")
    return names


@app.command("export")
def export_(
    what: Annotated[
        list[str] | None, typer.Argument(help="observations, checks, failures, transitions, incidents, limits; else all.")
    ] = None,
    to: Annotated[Path, typer.Option(help="The folder to write into.")] = Path("data/export"),
    form: Annotated[Literal["parquet", "csv"], typer.Option("--format")] = "parquet",
    since: Annotated[str, typer.Option(help="How far back, such as 24h or 400d.")] = "30d",
    project: Annotated[str | None, typer.Option(help="Only this project.")] = None,
    config: Config = None,
) -> None:
    """Data for notebooks, one Parquet or CSV file for each table. Holds no secret."""
    from monitor.domain.timeline import Window
    from monitor.store import export

    chosen = list(dict.fromkeys(what or export.SHEETS))
    if unknown := [name for name in chosen if name not in export.SHEETS]:
        _refuse(f"There is no {', '.join(unknown)} to export. There are {', '.join(export.SHEETS)}.")
    now = SystemClock().now()
    window = Window(now - _length(since), now)
    with _reading(config) as (engine, _):
        for name in chosen:
            file = to / f"{name}.{form}"
            with err.status(f"Writing {escape(str(file))} …"):
                rows = export.export(engine, export.SHEETS[name], window, file, form, project)
            out.print(f"{escape(str(file))}  {rows:,} rows")


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="observations.parquet or observations.csv, as `export` writes them.")],
    config: Config = None,
) -> None:
    """Take in observations of another installation, or of an older one. What is here already is left alone.

    A wrong file is refused with its wrong rows, and nothing of it is recorded.
    """
    from monitor import service
    from monitor.store import importing
    from monitor.store.record import Writer

    with service.store_of(_loaded(config).settings) as engine, err.status(f"Reading {escape(str(file))} …"):
        done = importing.take_in(engine, Writer(engine), file)
    out.print(f"{done.recorded:,} observations recorded, {done.known:,} were here already.")


def _length(text: str, option: str = "--since") -> timedelta:
    from monitor.config.values import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        _refuse(f"{option} {text}: {error}.")


@app.command()
def notify(
    test: Annotated[bool, typer.Option("--test", help="Send a test message to every channel.")] = False,
    config: Config = None,
) -> None:
    """Who is told what: the configured channels, or with --test a message to each. Exit code 1 when one does not take it."""
    from monitor.notify import channels

    _log(logging.ERROR)
    loaded = _loaded(config)
    if not loaded.settings.channels:
        _refuse("No channel is configured. Add [[channels]] and [[routes]] to monitor.toml; monitor.example.toml shows how.")
    if not test:
        for channel in loaded.settings.channels:
            out.print(f"{escape(channel.name)}  {escape(str(channel.url))}")
        out.print("With --test a message is sent to each.")
        return
    results = channels.test(loaded.settings, loaded.secrets)
    for name, error in results:
        out.print(f"{escape(name)}: " + ("[green]taken[/]" if error is None else f"[red]not taken[/]: {escape(error)}"))
    if any(error is not None for _, error in results):
        raise SystemExit(Exit.FAILED)


# The database ---------------------------------------------------------------------------------------------------------------------


@db.command()
def upgrade(config: Config = None) -> None:
    """Bring the schema up to date. The poller does the same when it starts."""
    from monitor import service

    with service.store_of(_loaded(config).settings):
        out.print("The schema is up to date.")


@db.command()
def backup(to: Annotated[Path, typer.Argument(help="A new file.")], config: Config = None) -> None:
    """Copy the database while poller and pages go on."""
    from monitor.store import maintenance

    with _reading(config, newer=True) as (engine, _):
        maintenance.backup(engine, to)
    out.print(f"Copied to {escape(str(to))}.")


@db.command("check")
def db_check(config: Config = None) -> None:
    """Check the file and that everything in it agrees. Exit code 1 when something does not."""
    from monitor.store import maintenance

    with _reading(config, newer=True) as (engine, _), err.status("Reading the database …") as shown:
        found = maintenance.check(engine, lambda table, rows: shown.update(f"{table}: {rows:,} rows read …"))
    for line in found:
        err.print(escape(line))
    if found:
        raise SystemExit(Exit.FAILED)
    out.print("The database is sound.")


@db.command()
def prune(config: Config = None) -> None:
    """Forget what is older than the retention says. May run while the poller does."""
    from monitor.store import maintenance, migrate
    from monitor.store.engine import open_engine

    with _reading(config) as (found, loaded):  # a reader makes no file where there is none
        migrate.require(found)
    engine = open_engine(loaded.settings.database_url)
    rows, now = 0, SystemClock().now()
    try:
        with err.status("Looking for what is old …") as shown:
            while True:
                gone = maintenance.prune(engine, now, loaded.settings.retention, slices=20)
                rows += gone.rows
                if gone.finished:
                    break
                shown.update(f"{rows:,} rows forgotten …")
    finally:
        engine.dispose()
    out.print(f"{rows:,} rows were older than the retention says and are forgotten.")


@db.command()
def copy(
    to: Annotated[str, typer.Option("--to", help="The URL of an empty database, as MONITOR_DATABASE_URL takes it.")],
    config: Config = None,
) -> None:
    """Copy everything to an empty database, from SQLite to PostgreSQL or back. All or nothing; stop the poller first.

    Then set MONITOR_DATABASE_URL to the new one and start again. The old database stays as it is.
    """
    from monitor.store import copying

    loaded = _loaded(config)

    def tell(step: copying.Step) -> None:
        shown.update(f"{escape(step.table)}: {step.done:,} of {step.rows:,} rows")

    with err.status("Copying …") as shown:
        rows = copying.copy(loaded.settings.database_url, to, SystemClock().now(), tell)
    out.print(
        f"{rows:,} rows copied, every table counted. Set MONITOR_DATABASE_URL (or database_url) to the new one and start again."
    )


def _loaded(config: Path | None) -> "Loaded":
    """The configuration; the sample's where nothing is configured and the sample was made."""
    from monitor import service

    cwd = Path.cwd()
    sample = cwd / service.DEMO_FOLDER / "monitor.toml"
    if service.is_demo(config, os.environ, cwd) and sample.exists():
        return service.load(sample, os.environ, cwd)
    return service.load(config, os.environ, cwd)


@contextlib.contextmanager
def _reading(config: Path | None, *, newer: bool = False) -> Iterator[tuple["Engine", "Loaded"]]:
    """The database, which a newer version may only have written where its rows are not told."""
    from monitor.store import migrate
    from monitor.store.engine import open_engine

    loaded = _loaded(config)
    engine = open_engine(loaded.settings.database_url, readonly=True)
    try:
        if not newer:
            migrate.refuse_newer(engine)
        yield engine, loaded
    finally:
        engine.dispose()


def _line(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")
    sys.stdout.flush()


def _log(level: int) -> None:
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("httpx2").setLevel(logging.WARNING)
