"""What is wrong with this installation, and the fix: every check answers with a line, none raises, all end in time."""

import os
import shutil
import socket
import ssl
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from monitor import __version__
from monitor.clock import Clock
from monitor.config import ConfigErrors, OrganizationSettings, Settings, admin_key_errors, dotenv_path, findings, secret_errors
from monitor.domain.classify import classify
from monitor.domain.observation import Verdict, WireAnswer
from monitor.domain.redact import redact
from monitor.domain.taxonomy import KINDS, Lane
from monitor.secrets import DotEnv, Secrets

if TYPE_CHECKING:
    from monitor.admin_check import Examined

REQUIREMENTS = Path(__file__).parent.parent / "requirements.txt"


class Status(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class DoctorLine:
    """The answer of one check."""

    name: str
    status: Status
    message: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Patient:
    """What is examined: a configuration as found, valid or not, and where it was found."""

    loaded: Settings | ConfigErrors
    secrets: Secrets
    config: Path | None
    """The file, or None where there is none."""
    env: Mapping[str, str]
    """The process environment, from before `OPENAI_*` was scrubbed."""
    cwd: Path

    @property
    def settings(self) -> Settings | None:
        """The settings, where they are valid."""
        return self.loaded if isinstance(self.loaded, Settings) else None


Ask = Callable[[str], WireAnswer]
"""Puts the control question (list the models, without a key) to a base URL. Has its own deadline and never raises."""
AskAdmin = Callable[[OrganizationSettings], "Examined"]
"""Puts one light question with an organization's admin key. Has its own deadline."""


def run(
    patient: Patient, ask: Ask, clock: Clock, deadline: timedelta = timedelta(seconds=20), ask_admin: AskAdmin | None = None
) -> list[DoctorLine]:
    """Every check, in the order in which to mend things. Takes at most a little over three times `deadline`."""
    lines = [*_packages(), *_configuration(patient), *_secrets(patient), *_permissions(patient), *_ambient(patient)]
    if settings := patient.settings:
        lines += _bounded("database", lambda: _database(settings.database_url), deadline)
        trips = _travel(settings, ask, clock, patient.env, deadline)
        lines += [line for trip in trips for line in trip.lines()]
        if ask_admin is not None:
            lines += _bounded("admin key", lambda: _admin_keys(patient, settings, ask_admin, clock.now()), deadline)
        lines += _clock([trip.skew for trip in trips if trip.skew is not None])
        lines += _ports(settings)
    return lines


def _ok(name: str, message: str) -> DoctorLine:
    return DoctorLine(name, Status.OK, message)


def _warning(name: str, message: str, fix: str) -> DoctorLine:
    return DoctorLine(name, Status.WARNING, message, fix)


def _error(name: str, message: str, fix: str) -> DoctorLine:
    return DoctorLine(name, Status.ERROR, message, fix)


def _bounded(name: str, check: Callable[[], Iterator[DoctorLine]], deadline: timedelta) -> list[DoctorLine]:
    """The lines of a check that may hang, in a thread that is left behind if it does."""
    found: list[list[DoctorLine]] = []

    def collect() -> None:
        try:
            found.append(list(check()))
        except Exception as error:  # noqa: BLE001 - a thread that dies in silence would look like one that hangs
            found.append([_error(name, f"{type(error).__name__} in the monitor itself", "Please report it.")])

    thread = threading.Thread(target=collect, daemon=True)
    thread.start()
    thread.join(deadline.total_seconds())
    return found[0] if found else [_error(name, f"no answer within {deadline.total_seconds():g} s", "Is it reachable from here?")]


# The organization's own record

_SOON = timedelta(days=30)


def _admin_keys(patient: Patient, settings: Settings, ask: AskAdmin, now: datetime) -> Iterator[DoctorLine]:
    """Whether each opens the record. Those that cannot even be read are told with the other secrets."""
    for organization in settings.organizations:
        if patient.secrets.resolve(organization.admin_key, admin=True).problem is not None:
            continue
        name, found = f"admin key of {organization.name}", ask(organization)
        if found.problem is not None:
            yield _error(name, redact(found.problem), "Make a read-only admin key (platform.openai.com → Settings → Admin keys).")
            continue
        may = "it opens the record; no answer tells whether it may also write: make sure that it may only read"
        if found.expires_at is None:
            yield _ok(name, may)
            continue
        left = found.expires_at - now
        until = f"it expires on {found.expires_at:%Y-%m-%d}"
        if left < _SOON:
            days = max(left // timedelta(days=1), 0)
            yield _warning(name, f"{until}, in {_count(days, 'day')}", "Make another and put it in its place: no restart needed.")
        else:
            yield _ok(name, f"{may}; {until}")


# The installation


def _packages() -> Iterator[DoctorLine]:
    python = ".".join(map(str, sys.version_info[:3]))
    yield _ok("python", f"{python}, monitor {__version__}")
    try:
        pinned = _pinned(REQUIREMENTS.read_text(encoding="utf-8"))
    except OSError:
        return  # installed without its requirements.txt: nothing to compare with
    different = []
    for name, wanted in pinned.items():
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            found = "missing"
        if found == "missing":
            yield _error("packages", f"{name} is not installed", "Run `make install`.")
        elif found != wanted:
            different.append(f"{name} {found} (tested with {wanted})")
    if different:
        yield _warning("packages", ", ".join(different), "Run `make install` to get the versions that were tested.")
    else:
        yield _ok("packages", f"{len(pinned)} as tested")


def _pinned(requirements: str) -> dict[str, str]:
    """`name==version` of each line."""
    lines = (line.partition("#")[0].strip() for line in requirements.splitlines())
    return {name.partition("[")[0]: version for name, mark, version in (line.partition("==") for line in lines) if mark}


# Configuration and secrets


def _configuration(patient: Patient) -> Iterator[DoctorLine]:
    settings = patient.settings
    if settings is None:
        assert isinstance(patient.loaded, ConfigErrors)  # noqa: S101 - the other half of the union
        for error in patient.loaded.errors:
            place = ": ".join(part for part in (error.file, error.key_path) if part)
            yield _error("configuration", f"{place} {error.message}", error.fix)
        return
    keys = sum(len(project.keys) for project in settings.projects)
    yield _ok("configuration", f"{settings.source}: {_count(len(settings.projects), 'project')}, {_count(keys, 'key')}")
    for finding in findings(settings, patient.secrets):
        place = "/".join(part for part in (finding.project, finding.key) if part)
        yield _warning("configuration", f"{place} {finding.message}".strip(), finding.fix)


def _secrets(patient: Patient) -> Iterator[DoctorLine]:
    dotenv = DotEnv(dotenv_path(patient.config, patient.cwd))
    dotenv.values()
    if dotenv.problem:
        yield _error("secrets", f"{dotenv.path} {dotenv.problem}", "Make it a UTF-8 text file that this user may read.")
    if dotenv.broken_lines:
        numbers = ", ".join(map(str, dotenv.broken_lines[:5]))
        yield _warning("secrets", f"{dotenv.path} has lines that are no NAME=value: {numbers}", "Mend or remove them.")
    if settings := patient.settings:
        errors = secret_errors(settings, patient.secrets)
        for error in errors:
            yield _error("secrets", f"{error.project}: {error.message}", error.fix)
        keys = sum(len(project.keys) for project in settings.projects)
        for error in (wrong := admin_key_errors(settings, patient.secrets)):
            yield _error("secrets", f"{error.key_path}: {error.message}", error.fix)
        if settings.organizations and not wrong:
            yield _ok("secrets", f"{_count(len(settings.organizations), 'admin key')} can be read")
        if keys > len(errors):
            yield _ok("secrets", f"{_count(keys - len(errors), 'secret')} of {keys} can be read")


def _permissions(patient: Patient) -> Iterator[DoctorLine]:
    files = [dotenv_path(patient.config, patient.cwd)]
    if settings := patient.settings:
        base = patient.config.parent if patient.config else patient.cwd
        refs = {key.secret for project in settings.projects for key in project.keys}
        refs |= {organization.admin_key for organization in settings.organizations}
        refs |= {channel.url for channel in settings.channels}
        refs |= {settings.dead_man_url} if settings.dead_man_url else set()
        files += [base / Path(ref.removeprefix("file:")) for ref in sorted(refs) if ref.startswith("file:") and "~" not in ref]
    for path in files:
        mode = _mode(path)
        if mode & stat.S_IROTH:
            yield _warning("permissions", f"{path} holds secrets and every user of this machine may read it", f"chmod o= {path}")
    if patient.config and _mode(patient.config) & stat.S_IWOTH:
        # Whoever writes it can send every key to a host of their own.
        yield _error("permissions", f"every user of this machine may change {patient.config}", f"chmod o-w {patient.config}")


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except (OSError, ValueError):
        return 0


_USED_WITHOUT_FILE = {"OPENAI_API_KEY", "OPENAI_PROJECT_ID", "OPENAI_ORG_ID", "OPENAI_BASE_URL"}


def _ambient(patient: Patient) -> Iterator[DoctorLine]:
    """Variables that the SDK would obey and the monitor ignores; and those that move its traffic."""
    used = set() if patient.config else _USED_WITHOUT_FILE
    if settings := patient.settings:
        used = used | {key.secret.removeprefix("env:") for project in settings.projects for key in project.keys}
    ignored = sorted(name for name, value in patient.env.items() if name.startswith("OPENAI_") and value and name not in used)
    if ignored:
        yield _warning("environment", f"set but ignored: {', '.join(ignored)}", "Fine here; your services' SDKs do obey them.")
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        if (value := patient.env.get(name)) and not os.path.exists(value):  # noqa: PTH110 - any text, also no path at all
            yield _error(
                "environment", f"{name} names {redact(value)}, which is not there: no certificate can be trusted", f"Unset {name}."
            )
    if proxies := _proxies(patient.env):
        named = ", ".join(f"{name}={_without_password(value)}" for name, value in proxies.items())
        yield _ok("environment", f"requests may pass a proxy: {named}")


def _proxies(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name.lower() in ("http_proxy", "https_proxy", "all_proxy") and value}


def _without_password(value: str) -> str:
    scheme, mark, rest = value.rpartition("://")
    return redact(f"{scheme}{mark}{'…@' if '@' in rest else ''}{rest.rpartition('@')[2]}")


# Database


_LITTLE_SPACE, _NO_SPACE = 1024**3, 64 * 1024**2


def _database(url: str) -> Iterator[DoctorLine]:
    from monitor.store import engine, migrate  # SQLAlchemy takes a third of a second, which other checks need not wait for

    try:
        if engine.parse(url).get_backend_name() == "sqlite":
            path = engine.sqlite_path(url)
            yield from _sqlite_file(path)
            if not path.exists():
                yield _ok("database", f"{path} is not there yet; the first start makes it")
                return
        found = engine.open_engine(url, readonly=True)
        try:
            revision = migrate.current(found)
        finally:
            found.dispose()
    except engine.StoreError as error:
        yield _error("database", str(error), "Mend that, or name another with MONITOR_DATABASE_URL.")
        return
    shown = path if url.startswith("sqlite") else "the server"
    if revision == migrate.REVISIONS[-1]:
        yield _ok("database", f"{shown}: schema {revision}")
    elif revision is None or revision in migrate.REVISIONS:
        yield _warning("database", f"{shown} has an older schema ({revision or 'none'})", "The next start upgrades it.")
    else:
        yield _error(
            "database", f"{shown} is from a newer monitor (schema {revision})", "Upgrade the monitor, or use another database."
        )


def _sqlite_file(path: Path) -> Iterator[DoctorLine]:
    from monitor.store.engine import network_file_system

    folder = path.absolute().parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    for needed in (path, folder):
        if needed.exists() and not os.access(needed, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
            yield _error(
                "database",
                f"{needed} cannot be written by this user",
                "SQLite writes the file and its folder: change owner or mode.",
            )
    free = shutil.disk_usage(folder).free
    if free < _LITTLE_SPACE:
        line = _error if free < _NO_SPACE else _warning
        yield line("disk", f"{free / 1024**2:,.0f} MB are free at {folder}", "Free some space, or shorten [monitor.retention].")
    else:
        yield _ok("disk", f"{free / 1024**3:,.0f} GB are free at {folder}")
    if kind := network_file_system(path):
        yield _warning(
            "disk", f"{path} is on a network file system ({kind}), where locks cannot be trusted", "Keep it on a local disk."
        )


# Network


MOST_HOSTS = 20
_STEP = 5.0
"""Seconds for each of TCP and TLS."""


@dataclass(slots=True)
class _Trip:
    """The way to one base URL, step by step; read by another thread while it goes."""

    base_url: str
    step: str = "DNS"
    done: list[str] = field(default_factory=list)
    failure: tuple[str, str] | None = None
    skew: float | None = None
    """Seconds by which the far clock is ahead of ours."""
    arrived: bool = False

    def lines(self) -> Iterator[DoctorLine]:
        name, way = f"network {self.base_url}", ", ".join(self.done)
        if self.failure:
            message, fix = self.failure
            yield _error(name, f"{self.step}: {message}{f' (before: {way})' if way else ''}", fix)
        elif not self.arrived:
            yield _error(name, f"{self.step}: no answer in time{f' (before: {way})' if way else ''}", _FIXES.get(self.step, ""))
        else:
            yield _ok(name, way)


_FIXES = {
    "DNS": "Check the name, and the resolver of this machine.",
    "TCP": "Check the firewall and the route, or name a proxy in HTTPS_PROXY.",
    "TLS": "Install ca-certificates; behind an inspecting proxy, name its certificate in SSL_CERT_FILE.",
    "API": "Check base_url; a proxy or portal may answer in OpenAI's place.",
}


def _travel(settings: Settings, ask: Ask, clock: Clock, env: Mapping[str, str], deadline: timedelta) -> list[_Trip]:
    """Go to every host at the same time."""
    urls = list(dict.fromkeys(project.base_url for project in settings.projects))[:MOST_HOSTS]
    trips = [_Trip(url) for url in urls]
    direct = not _proxies(env)
    threads = [threading.Thread(target=_go, args=(trip, ask, clock, direct), daemon=True) for trip in trips]
    for thread in threads:
        thread.start()
    until = time.monotonic() + deadline.total_seconds()
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    return trips


def _go(trip: _Trip, ask: Ask, clock: Clock, direct: bool) -> None:
    url = urlsplit(trip.base_url)
    try:
        if direct:  # through a proxy, only the proxy need be reachable
            _connect(trip, url)
        trip.step = "API"
        began = time.monotonic()
        answer = ask(trip.base_url)
        _judge(trip, answer, _since(began), clock.now())
    except ssl.SSLCertVerificationError as error:
        trip.failure = (f"the certificate is not trusted ({error.verify_message})", _FIXES["TLS"])
    except (OSError, UnicodeError) as error:
        trip.failure = (getattr(error, "strerror", None) or type(error).__name__, _FIXES[trip.step])
    except Exception as error:  # noqa: BLE001 - a thread that dies in silence would look like a slow network
        trip.failure = (f"{type(error).__name__} in the monitor itself", "Please report it.")


def _connect(trip: _Trip, url: SplitResult) -> None:
    host, port = url.hostname or "", url.port or (443 if url.scheme == "https" else 80)
    began = time.monotonic()
    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    trip.done.append(f"DNS {_since(began)} ({_count(len(addresses), 'address')})")
    trip.step, began = "TCP", time.monotonic()
    with socket.create_connection((host, port), timeout=_STEP) as plain:
        trip.done.append(f"TCP {_since(began)}")
        if url.scheme == "https":
            trip.step, began = "TLS", time.monotonic()
            with ssl.create_default_context().wrap_socket(plain, server_hostname=host) as tls:
                trip.done.append(f"{tls.version()} {_since(began)}")


def _judge(trip: _Trip, answer: WireAnswer, took: str, now: datetime) -> None:
    found = classify(answer, now=now)
    if answer.status is not None and (found.verdict is Verdict.OK or (found.failure and found.failure.lane is Lane.AUTH)):
        trip.done.append(f"API answered {answer.status} in {took}")
        trip.arrived = True
    else:
        kind = KINDS[found.failure].title if found.failure else "no clear answer"
        said = f"status {answer.status}" if answer.status is not None else answer.fault_text or ""
        trip.failure = (": ".join(part for part in (kind, redact(said)) if part), _FIXES["API"])
    date = next((value for name, value in answer.headers if name.lower() == "date"), None)
    trip.skew = _ahead(date, now) if date else None


def _ahead(date: str, now: datetime) -> float | None:
    """Seconds by which an HTTP date is ahead of `now`, or None where it is no date."""
    try:
        there = parsedate_to_datetime(date)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return (there.replace(tzinfo=there.tzinfo or UTC) - now).total_seconds()


def _clock(skews: list[float]) -> Iterator[DoctorLine]:
    """Of several far clocks the one nearest to ours counts: one wrong host does not make our clock wrong."""
    if not skews:
        return
    ahead = min(skews, key=abs)
    direction = "behind" if ahead > 0 else "ahead"
    message = f"this machine's clock is {abs(ahead):,.0f} s {direction} the answering host's"
    if abs(ahead) > 300:
        yield _error("clock", message, "Turn on time synchronisation (NTP): times of failures are wrong, TLS may fail.")
    elif abs(ahead) > 30:
        yield _warning("clock", message, "Turn on time synchronisation (NTP).")
    else:
        yield _ok("clock", "agrees with the answering host's")


def _since(began: float) -> str:
    return f"{(time.monotonic() - began) * 1000:,.0f} ms"


# Ports


def _ports(settings: Settings) -> Iterator[DoctorLine]:
    for name, address, port in (
        ("dashboard", settings.dashboard.address, settings.dashboard.port),
        ("metrics", settings.metrics.address, settings.metrics.port),
    ):
        if port == 0:
            yield _ok(f"port of the {name}", "any free one")
            continue
        try:
            family = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((address, port))
            yield _ok(f"port of the {name}", f"{address}:{port} is free")
        except OSError as error:
            reason = error.strerror or type(error).__name__
            fix = f"If the monitor runs already, that is it; else choose another port in [monitor.{name}]."
            yield _warning(f"port of the {name}", f"{address}:{port} cannot be used: {reason}", fix)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 'es' if noun.endswith('s') else 's'}"
