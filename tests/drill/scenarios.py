"""Eighty-odd outages with what the monitor ought to make of each."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from monitor.domain.taxonomy import FailureKind, Scope
from monitor.emulator.world import World
from tests.drill.stage import HOST_A, HOST_B, NAMES, ORGANIZATION_A, ORGANIZATION_B, Stage, id_of, secret_of

K = FailureKind
Break = Callable[[Stage], None]


@dataclass(frozen=True)
class Expected:
    """One incident."""

    failure: FailureKind
    scope: Scope
    subject: str


@dataclass(frozen=True)
class Scenario:
    """An outage: what breaks, what is expected, and for how long it is watched."""

    name: str
    breaks: Break
    expected: tuple[Expected, ...]
    lasts: timedelta = timedelta(minutes=3)
    messages: tuple[str, ...] | None = None
    """Why each message is sent, where it is not one for each incident and, perhaps, one that it is over."""
    names: tuple[str, ...] = NAMES
    """Who is watched. Of another fleet than the usual one only the keys are."""

    def is_right(self, messages: tuple[str, ...]) -> bool:
        """Whether nobody was told too little or too much."""
        if self.messages is not None:
            return messages == self.messages
        return [reason for reason in messages if reason != "resolved"] == ["first"] * len(self.expected)


def _trouble(failure: str, **where: object) -> Break:
    return lambda stage: stage.world.trouble(failure, **where)  # type: ignore[arg-type]


def _world(change: Callable[[World], None]) -> Break:
    return lambda stage: change(stage.world)


def _one(kind: FailureKind, scope: Scope, subject: str) -> tuple[Expected, ...]:
    return (Expected(kind, scope, subject),)


MEDIAN, WORST = 30.0, 90.0
"""Seconds in which a cause is to be named."""
SEEN_BY_INFERENCE = timedelta(minutes=18)
"""Limits, money and permissions show in inference alone, which is asked every 15 minutes."""


def _limits(world: World) -> None:
    world.throttle(id_of("a02"), "gpt-4o", requests=2)
    world.traffic(id_of("a02"), "gpt-4o", requests=30.0)


def _organization_limits(world: World) -> None:
    world.throttle(ORGANIZATION_B, "gpt-5", tokens=50)
    world.traffic(ORGANIZATION_B, "gpt-5", tokens=5000.0)


def _writes(name: str, change: Callable[[str], str]) -> Break:
    """Somebody deploys a secret with a mistake in it."""
    return lambda stage: stage.write_secret(name, change(secret_of(name)))


def _line(error: Callable[[], Exception], *hosts: str) -> Break:
    return lambda stage: stage.line.broken.update(dict.fromkeys(hosts, error))


def _unknown_name() -> Exception:
    return socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def _intercepted() -> Exception:
    return ssl.SSLCertVerificationError(1, "self-signed certificate in certificate chain")


def _everywhere(change: Callable[[World, str], None], names: tuple[str, ...] = NAMES) -> Break:
    def breaks(stage: Stage) -> None:
        for name in names:
            change(stage.world, name)

    return breaks


def _no_secret(stage: Stage) -> None:
    (stage.folder / "a06-web.key").unlink()


def _two_at_once(stage: Stage) -> None:
    stage.world.revoke(secret_of("a01"))
    stage.world.trouble("auth.ip_not_allowed", project=id_of("b02"))


def _no_secrets(stage: Stage) -> None:
    for name in NAMES:
        (stage.folder / f"{name}-web.key").unlink()
    (stage.folder / "a03-worker.key").unlink()


def _both_keys(stage: Stage) -> None:
    stage.world.revoke(secret_of("a03"))
    stage.world.revoke(secret_of("a03", "worker"))


def _one_after_the_other(stage: Stage) -> None:
    stage.world.revoke(secret_of("a01"))
    stage.after(300, "trouble", failure="auth.ip_not_allowed", project=id_of("b02"))
    stage.after(600, "trouble", failure="network.not_openai", project=id_of("a08"))


def _money_twice(stage: Stage) -> None:
    stage.world.trouble("quota.organization_spend", organization=ORGANIZATION_A)
    stage.world.trouble("quota.billing_inactive", organization=ORGANIZATION_B)


def _comes_back(minutes: int) -> Break:
    """Over after three minutes, and there again later."""

    def breaks(stage: Stage) -> None:
        stage.world.revoke(secret_of("a01"))
        stage.after(180, "restore", secret=secret_of("a01"))
        stage.after(180 + 60 * minutes, "revoke", secret=secret_of("a01"))

    return breaks


def _platform_flaps(stage: Stage) -> None:
    for turn in range(10):
        stage.after(240 * turn, "trouble", failure="server.error", seconds=120)


def _clock_jumps(by: timedelta) -> Break:
    def breaks(stage: Stage) -> None:
        stage.world.revoke(secret_of("a01"))
        asyncio.get_running_loop().call_later(90, stage.set_clock, by)

    return breaks


def _platform_starts_again(stage: Stage) -> None:
    stage.world.revoke(secret_of("a01"))
    stage.after(90, "cut", seconds=10)


def _rotation_in_order(stage: Stage) -> None:
    new = secret_of("a04").replace("0001", "0002")
    stage.world.rotate(secret_of("a04"), new, grace=60)
    asyncio.get_running_loop().call_later(30, stage.write_secret, "a04", new)


def _key_in_an_outage(stage: Stage) -> None:
    stage.world.trouble("server.overloaded", organization=ORGANIZATION_B)
    stage.world.revoke(secret_of("a01"))


def _rotation(stage: Stage) -> None:
    stage.world.rotate(secret_of("a04"), secret_of("a04").replace("0001", "0002"))


def _brown_out(stage: Stage) -> None:
    for minute in range(12):
        stage.after(60 * minute, "trouble", failure="server.error", share=0.08)


def _flaps(stage: Stage) -> None:
    for turn in range(12):
        stage.after(240 * turn, "revoke", secret=secret_of("a05"))
        stage.after(240 * turn + 120, "restore", secret=secret_of("a05"))


SCENARIOS: tuple[Scenario, ...] = (
    # One key.
    Scenario("key revoked", _world(lambda w: w.revoke(secret_of("a01"))), _one(K.AUTH_INVALID_KEY, Scope.KEY, "a01/web")),
    Scenario(
        "one of two keys revoked",
        _world(lambda w: w.revoke(secret_of("a03", "worker"))),
        _one(K.AUTH_INVALID_KEY, Scope.KEY, "a03/worker"),
    ),
    Scenario(
        "key of another project",
        _trouble("auth.wrong_project", project=id_of("a01")),
        _one(K.AUTH_WRONG_PROJECT, Scope.KEY, "a01/web"),
    ),
    Scenario(
        "wrong organization header",
        _trouble("auth.wrong_organization", project=id_of("b01")),
        _one(K.AUTH_WRONG_ORGANIZATION, Scope.KEY, "b01/web"),
    ),
    Scenario(
        "owner left", _trouble("auth.no_organization", project=id_of("a04")), _one(K.AUTH_NO_ORGANIZATION, Scope.KEY, "a04/web")
    ),
    Scenario(
        "refused without a reason", _trouble("auth.unknown", project=id_of("a04")), _one(K.AUTH_UNKNOWN, Scope.KEY, "a04/web")
    ),
    Scenario(
        "key no longer sent",
        _trouble("auth.missing_credentials", project=id_of("a04")),
        _one(K.AUTH_MISSING_CREDENTIALS, Scope.KEY, "a04/web"),
    ),
    Scenario(
        "key may no longer infer",
        _world(lambda w: w.restrict(secret_of("a04"), ["api.model.read"])),
        _one(K.AUTH_MISSING_SCOPE, Scope.KEY, "a04/web"),
        SEEN_BY_INFERENCE,
    ),
    Scenario("secret file gone", _no_secret, _one(K.CLIENT_CONFIGURATION, Scope.KEY, "a06/web")),
    Scenario("rotation that the deployment missed", _rotation, _one(K.AUTH_INVALID_KEY, Scope.KEY, "a04/web")),
    Scenario(
        "a key cut short when it was pasted", _writes("a01", lambda s: s[:-9]), _one(K.AUTH_INVALID_KEY, Scope.KEY, "a01/web")
    ),
    Scenario(
        "the name of a variable as key", _writes("a01", lambda _: "OPENAI_API_KEY"), _one(K.AUTH_INVALID_KEY, Scope.KEY, "a01/web")
    ),
    Scenario("a key with a newline at its end", _writes("a01", lambda s: s + "\r\n"), ()),
    Scenario(
        "a key broken over two lines",
        _writes("a01", lambda s: s[:20] + "\n" + s[20:]),
        _one(K.CLIENT_CONFIGURATION, Scope.KEY, "a01/web"),
    ),
    Scenario(
        "the secret of another project",
        _writes("a01", lambda _: secret_of("a02")),
        _one(K.AUTH_WRONG_PROJECT, Scope.KEY, "a01/web"),
    ),
    Scenario(
        "wrong project id after a deployment",
        lambda stage: stage.configure(f'"{id_of("a01")}"', '"proj_DRILLother"'),
        _one(K.AUTH_WRONG_PROJECT, Scope.KEY, "a01/web"),
    ),
    Scenario("a rotation in the right order", _rotation_in_order, (), timedelta(minutes=6)),
    Scenario(
        "back after three minutes, gone again ten later",
        _comes_back(10),
        _one(K.AUTH_INVALID_KEY, Scope.KEY, "a01/web"),
        timedelta(minutes=18),
        ("first", "resolved", "first"),
    ),
    Scenario(
        "back after three minutes, gone again twenty later",
        _comes_back(20),
        _one(K.AUTH_INVALID_KEY, Scope.KEY, "a01/web") * 2,
        timedelta(minutes=26),
        ("first", "resolved", "first"),
    ),
    # One project.
    Scenario("both keys of a project at once", _both_keys, _one(K.AUTH_INVALID_KEY, Scope.PROJECT, "a03")),
    Scenario(
        "IP list of a project",
        _trouble("auth.ip_not_allowed", project=id_of("b02")),
        _one(K.AUTH_IP_NOT_ALLOWED, Scope.PROJECT, "b02"),
    ),
    Scenario(
        "data residency",
        _world(lambda w: w.region(id_of("b03"), "eu.api.openai.com")),
        _one(K.AUTH_WRONG_REGION_HOST, Scope.PROJECT, "b03"),
    ),
    Scenario("project's request limit", _world(_limits), _one(K.RATE_REQUESTS, Scope.PROJECT, "a02"), SEEN_BY_INFERENCE),
    Scenario(
        "project's token limit",
        _trouble("rate.tokens", project=id_of("a02"), own=True),
        _one(K.RATE_TOKENS, Scope.PROJECT, "a02"),
        SEEN_BY_INFERENCE,
    ),
    Scenario(
        "request larger than the limit",
        _trouble("rate.request_too_large", project=id_of("a02")),
        _one(K.RATE_REQUEST_TOO_LARGE, Scope.PROJECT, "a02"),
        SEEN_BY_INFERENCE,
    ),
    Scenario(
        "project's spend limit",
        _trouble("quota.project_spend", project=id_of("a07")),
        _one(K.QUOTA_PROJECT_SPEND, Scope.PROJECT, "a07"),
        SEEN_BY_INFERENCE,
    ),
    Scenario(
        "service tier not allowed",
        _trouble("access.policy", project=id_of("a07")),
        _one(K.ACCESS_POLICY, Scope.PROJECT, "a07"),
        SEEN_BY_INFERENCE,
    ),
    Scenario(
        "one project behind a portal",
        _trouble("network.not_openai", project=id_of("a08")),
        _one(K.NETWORK_NOT_OPENAI, Scope.PROJECT, "a08"),
    ),
    Scenario(
        "one project's calls are cut", _world(lambda w: w.cut(id_of("a08"))), _one(K.NETWORK_UNREACHABLE, Scope.PROJECT, "a08")
    ),
    Scenario(
        "one project is slow",
        _world(lambda w: w.slow_down(40.0, id_of("a08"))),
        _one(K.NETWORK_TIMEOUT, Scope.PROJECT, "a08"),
        timedelta(minutes=4),
    ),
    # Models.
    Scenario(
        "model taken from a project",
        _world(lambda w: w.deny_model("a09", "gpt-5")),
        _one(K.ACCESS_MODEL_NOT_ALLOWED, Scope.MODEL, "a09/gpt-5"),
        SEEN_BY_INFERENCE,
    ),
    Scenario(
        "model retired",
        _world(lambda w: w.retire_model("gpt-4-turbo-preview")),
        _one(K.ACCESS_MODEL_RETIRED, Scope.MODEL, "gpt-4-turbo-preview"),
        SEEN_BY_INFERENCE,
    ),
    Scenario(
        "model name with a typo",
        _world(lambda w: w.models.pop("gpt-5.1")),
        _one(K.ACCESS_MODEL_NOT_FOUND, Scope.MODEL, "b05/gpt-5.1"),
        SEEN_BY_INFERENCE,
    ),
    Scenario(
        "a snapshot is not there, its alias is",
        _world(lambda w: w.models.pop("gpt-5.1-2025-11-13")),
        _one(K.ACCESS_MODEL_NOT_FOUND, Scope.MODEL, "b05/gpt-5.1-2025-11-13"),
        SEEN_BY_INFERENCE,
    ),
    Scenario(
        "one model overloaded",
        _trouble("server.overloaded", model="gpt-5"),
        _one(K.SERVER_OVERLOADED, Scope.MODEL, "gpt-5"),
        SEEN_BY_INFERENCE,
    ),
    Scenario(
        "a model taken from everybody",
        _everywhere(lambda world, name: world.deny_model(id_of(name), "gpt-5")),
        _one(K.ACCESS_MODEL_NOT_ALLOWED, Scope.MODEL, "gpt-5"),
        SEEN_BY_INFERENCE,
    ),
    Scenario(
        "limit lowered below one request",
        _world(lambda w: w.throttle(id_of("a02"), "gpt-5", tokens=5)),
        _one(K.RATE_REQUEST_TOO_LARGE, Scope.PROJECT, "a02"),
        SEEN_BY_INFERENCE,
    ),
    # One organization.
    Scenario(
        "a policy of the organization",
        _trouble("access.policy", organization=ORGANIZATION_A),
        _one(K.ACCESS_POLICY, Scope.ORGANIZATION, ORGANIZATION_A),
        SEEN_BY_INFERENCE,
    ),
    Scenario(
        "data residency of an organization",
        _everywhere(lambda world, name: world.region(id_of(name), "eu.api.openai.com"), NAMES[10:]),
        _one(K.AUTH_WRONG_REGION_HOST, Scope.ORGANIZATION, ORGANIZATION_B),
    ),
    Scenario(
        "two hundred projects of one organization, and not the other two hundred",
        _trouble("auth.ip_not_allowed", organization=ORGANIZATION_A),
        _one(K.AUTH_IP_NOT_ALLOWED, Scope.ORGANIZATION, ORGANIZATION_A),
        names=tuple(f"{letter}{number:03}" for letter in "ab" for number in range(200)),
    ),
    Scenario(
        "credits used up",
        _world(lambda w: w.exhaust_credit(ORGANIZATION_B)),
        _one(K.QUOTA_CREDITS, Scope.ORGANIZATION, ORGANIZATION_B),
        SEEN_BY_INFERENCE,
    ),
    Scenario(
        "organization's spend limit",
        _trouble("quota.organization_spend", organization=ORGANIZATION_A),
        _one(K.QUOTA_ORGANIZATION_SPEND, Scope.ORGANIZATION, ORGANIZATION_A),
        SEEN_BY_INFERENCE,
    ),
    Scenario(
        "OpenAI's usage limit",
        _trouble("quota.organization_usage", organization=ORGANIZATION_A),
        _one(K.QUOTA_ORGANIZATION_USAGE, Scope.ORGANIZATION, ORGANIZATION_A),
        SEEN_BY_INFERENCE,
    ),
    Scenario(
        "billing not active",
        _trouble("quota.billing_inactive", organization=ORGANIZATION_B),
        _one(K.QUOTA_BILLING_INACTIVE, Scope.ORGANIZATION, ORGANIZATION_B),
        SEEN_BY_INFERENCE,
    ),
    Scenario(
        "the old quota code",
        _trouble("quota.exhausted", organization=ORGANIZATION_B),
        _one(K.QUOTA_EXHAUSTED, Scope.ORGANIZATION, ORGANIZATION_B),
        SEEN_BY_INFERENCE,
    ),
    Scenario(
        "organization's token limit",
        _world(_organization_limits),
        _one(K.RATE_TOKENS, Scope.ORGANIZATION, ORGANIZATION_B),
        SEEN_BY_INFERENCE,
    ),
    Scenario(
        "images limit of the organization",
        _trouble("rate.other", organization=ORGANIZATION_B),
        _one(K.RATE_OTHER, Scope.ORGANIZATION, ORGANIZATION_B),
        SEEN_BY_INFERENCE,
    ),
    Scenario(
        "traffic rises too fast",
        _trouble("rate.slow_down", organization=ORGANIZATION_A),
        _one(K.RATE_SLOW_DOWN, Scope.ORGANIZATION, ORGANIZATION_A),
        SEEN_BY_INFERENCE,
    ),
    Scenario(
        "account deactivated",
        _trouble("auth.account_deactivated", organization=ORGANIZATION_B),
        _one(K.AUTH_ACCOUNT_DEACTIVATED, Scope.ORGANIZATION, ORGANIZATION_B),
    ),
    Scenario(
        "IP list of the organization",
        _trouble("auth.ip_not_allowed", organization=ORGANIZATION_A),
        _one(K.AUTH_IP_NOT_ALLOWED, Scope.ORGANIZATION, ORGANIZATION_A),
    ),
    Scenario(
        "organization not verified",
        _trouble("access.organization_unverified", organization=ORGANIZATION_A, model="gpt-5"),
        _one(K.ACCESS_ORGANIZATION_UNVERIFIED, Scope.ORGANIZATION, ORGANIZATION_A),
        SEEN_BY_INFERENCE,
    ),
    # OpenAI.
    Scenario("whole platform overloaded", _trouble("server.overloaded", share=0.9), _one(K.SERVER_OVERLOADED, Scope.OPENAI, "")),
    Scenario(
        "server errors at one region's host",
        _trouble("server.error", organization=ORGANIZATION_B),
        _one(K.SERVER_ERROR, Scope.OPENAI, HOST_B),
    ),
    Scenario(
        "platform-wide missing scopes",
        _trouble("auth.missing_scope", endpoint="/v1/chat", scopes=["model.request"]),
        _one(K.AUTH_MISSING_SCOPE, Scope.OPENAI, ""),
        SEEN_BY_INFERENCE,
    ),
    Scenario("every key refused by mistake", _trouble("auth.invalid_key"), _one(K.AUTH_INVALID_KEY, Scope.OPENAI, "")),
    Scenario("a slow brown-out", _brown_out, _one(K.SERVER_ERROR, Scope.OPENAI, ""), timedelta(minutes=16)),
    Scenario(
        "three calls in ten fail",
        _trouble("server.error", share=0.3),
        _one(K.SERVER_ERROR, Scope.OPENAI, ""),
        timedelta(minutes=20),
    ),
    Scenario(
        "calls fail, lists do not",
        _trouble("server.error", endpoint="/v1/chat"),
        _one(K.SERVER_ERROR, Scope.OPENAI, ""),
        SEEN_BY_INFERENCE,
    ),
    Scenario("a platform that comes and goes", _platform_flaps, _one(K.SERVER_ERROR, Scope.OPENAI, ""), timedelta(minutes=50)),
    Scenario("a hiccup of ten seconds", _trouble("server.error", seconds=10), (), timedelta(minutes=5)),
    Scenario(
        "two thousand projects at once",
        _trouble("auth.invalid_key"),
        _one(K.AUTH_INVALID_KEY, Scope.OPENAI, HOST_A),
        timedelta(minutes=2),
        names=tuple(f"a{number:04}" for number in range(2000)),
    ),
    # Ourselves.
    Scenario("no name is known any more", _line(_unknown_name, HOST_A, HOST_B), _one(K.NETWORK_UNREACHABLE, Scope.MONITOR, "")),
    Scenario(
        "one host refuses connections", _line(ConnectionRefusedError, HOST_B), _one(K.NETWORK_UNREACHABLE, Scope.MONITOR, HOST_B)
    ),
    Scenario("somebody reads along at one host", _line(_intercepted, HOST_B), _one(K.NETWORK_TLS, Scope.MONITOR, HOST_B)),
    Scenario(
        "a line that loses three in ten",
        _world(lambda w: w.cut(share=0.3)),
        _one(K.NETWORK_UNREACHABLE, Scope.MONITOR, ""),
        timedelta(minutes=20),
    ),
    Scenario("the folder of the secrets is gone", _no_secrets, _one(K.CLIENT_CONFIGURATION, Scope.MONITOR, "")),
    Scenario("the clock goes forward", lambda stage: stage.set_clock(timedelta(hours=2)), (), timedelta(minutes=20)),
    Scenario("the clock goes back", lambda stage: stage.set_clock(-timedelta(hours=2)), (), timedelta(minutes=20)),
    Scenario(
        "the clock goes forward during an incident",
        _clock_jumps(timedelta(hours=2)),
        _one(K.AUTH_INVALID_KEY, Scope.KEY, "a01/web"),
        timedelta(minutes=8),
    ),
    Scenario(
        "the clock goes back during an incident",
        _clock_jumps(-timedelta(minutes=30)),
        _one(K.AUTH_INVALID_KEY, Scope.KEY, "a01/web"),
        timedelta(minutes=8),
    ),
    Scenario("our network is cut", _world(lambda w: w.cut()), _one(K.NETWORK_UNREACHABLE, Scope.MONITOR, "")),
    Scenario("our proxy answers for everybody", _trouble("network.not_openai"), _one(K.NETWORK_NOT_OPENAI, Scope.MONITOR, "")),
    Scenario(
        "our country is not supported", _trouble("access.region_unsupported"), _one(K.ACCESS_REGION_UNSUPPORTED, Scope.MONITOR, "")
    ),
    Scenario(
        "no answer from anywhere",
        _world(lambda w: w.slow_down(40.0)),
        _one(K.NETWORK_TIMEOUT, Scope.MONITOR, ""),
        timedelta(minutes=4),
    ),
    Scenario("a certificate nobody trusts", _world(lambda w: w.distrust()), _one(K.NETWORK_TLS, Scope.MONITOR, "")),
    # Nothing of a key.
    Scenario("OpenAI says something new", _trouble("unknown"), (), SEEN_BY_INFERENCE),
    Scenario("our own request is bad", _trouble("client.bad_request"), (), SEEN_BY_INFERENCE),
    # Several at once.
    Scenario(
        "two causes at once",
        _two_at_once,
        (Expected(K.AUTH_INVALID_KEY, Scope.KEY, "a01/web"), Expected(K.AUTH_IP_NOT_ALLOWED, Scope.PROJECT, "b02")),
    ),
    Scenario(
        "a dead key during an outage",
        _key_in_an_outage,
        (Expected(K.AUTH_INVALID_KEY, Scope.KEY, "a01/web"), Expected(K.SERVER_OVERLOADED, Scope.OPENAI, HOST_B)),
    ),
    Scenario(
        "one after the other",
        _one_after_the_other,
        (
            Expected(K.AUTH_INVALID_KEY, Scope.KEY, "a01/web"),
            Expected(K.AUTH_IP_NOT_ALLOWED, Scope.PROJECT, "b02"),
            Expected(K.NETWORK_NOT_OPENAI, Scope.PROJECT, "a08"),
        ),
        timedelta(minutes=14),
    ),
    Scenario(
        "two organizations without money",
        _money_twice,
        (
            Expected(K.QUOTA_ORGANIZATION_SPEND, Scope.ORGANIZATION, ORGANIZATION_A),
            Expected(K.QUOTA_BILLING_INACTIVE, Scope.ORGANIZATION, ORGANIZATION_B),
        ),
        SEEN_BY_INFERENCE,
    ),
    Scenario(
        "the platform starts again during an incident",
        _platform_starts_again,
        # Ten seconds without an answer are written down, and over before anybody was told.
        (Expected(K.AUTH_INVALID_KEY, Scope.KEY, "a01/web"), Expected(K.NETWORK_UNREACHABLE, Scope.MONITOR, "")),
        timedelta(minutes=8),
        ("first",),
    ),
    Scenario("a key that comes and goes", _flaps, _one(K.AUTH_INVALID_KEY, Scope.KEY, "a05/web"), timedelta(minutes=60)),
)
"""Every identifier that a check can meet, every scope, and what is hard: mixtures, rotation, flapping, a slow brown-out."""
