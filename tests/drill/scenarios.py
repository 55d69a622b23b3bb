"""Forty-odd outages with what the monitor ought to make of each."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from monitor.domain.taxonomy import FailureKind, Scope
from monitor.emulator.world import World
from tests.drill.stage import HOST_B, ORGANIZATION_A, ORGANIZATION_B, Stage, id_of, secret_of

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
    models: dict[str, tuple[str, ...]] = field(default_factory=dict)
    heals: Break | None = None


def _trouble(failure: str, **where: object) -> Break:
    return lambda stage: stage.world.trouble(failure, **where)  # type: ignore[arg-type]


def _world(change: Callable[[World], None]) -> Break:
    return lambda stage: change(stage.world)


def _one(kind: FailureKind, scope: Scope, subject: str) -> tuple[Expected, ...]:
    return (Expected(kind, scope, subject),)


SEEN_BY_INFERENCE = timedelta(minutes=18)
"""Limits, money and permissions show in inference alone, which is asked every 15 minutes."""


def _limits(world: World) -> None:
    world.throttle(id_of("a02"), "gpt-4o", requests=2)
    world.traffic(id_of("a02"), "gpt-4o", requests=30.0)


def _organization_limits(world: World) -> None:
    world.throttle(ORGANIZATION_B, "gpt-5", tokens=50)
    world.traffic(ORGANIZATION_B, "gpt-5", tokens=5000.0)


def _no_secret(stage: Stage) -> None:
    (stage.folder / "a06-web.key").unlink()


def _two_at_once(stage: Stage) -> None:
    stage.world.revoke(secret_of("a01"))
    stage.world.trouble("auth.ip_not_allowed", project=id_of("b02"))


def _key_in_an_outage(stage: Stage) -> None:
    stage.world.trouble("server.overloaded", organization=ORGANIZATION_B)
    stage.world.revoke(secret_of("a01"))


def _rotation(stage: Stage) -> None:
    stage.world.rotate(secret_of("a04"), secret_of("a04").replace("0001", "0002"))


def _brown_out(stage: Stage) -> None:
    for minute in range(12):
        stage.world.at(stage.clock.now().timestamp() + 60 * minute, "trouble", failure="server.error", share=0.08)


def _flaps(stage: Stage) -> None:
    now = stage.clock.now().timestamp()
    for turn in range(12):
        stage.world.at(now + 240 * turn, "revoke", secret=secret_of("a05"))
        stage.world.at(now + 240 * turn + 120, "restore", secret=secret_of("a05"))


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
    # One project.
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
        {"a00": ("gpt-4-turbo-preview",), "b00": ("gpt-4-turbo-preview",)},
    ),
    Scenario(
        "model name with a typo",
        _world(lambda w: w.models.pop("gpt-5.1")),
        _one(K.ACCESS_MODEL_NOT_FOUND, Scope.MODEL, "b05/gpt-5.1"),
        SEEN_BY_INFERENCE,
        {"b05": ("gpt-5.1",)},
    ),
    Scenario(
        "a snapshot is not there, its alias is",
        _world(lambda w: w.models.pop("gpt-5.1-2025-11-13")),
        _one(K.ACCESS_MODEL_NOT_FOUND, Scope.MODEL, "b05/gpt-5.1-2025-11-13"),
        SEEN_BY_INFERENCE,
        {"b05": ("gpt-5.1", "gpt-5.1-2025-11-13")},
    ),
    # One organization.
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
    # Ourselves.
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
    Scenario("a key that comes and goes", _flaps, _one(K.AUTH_INVALID_KEY, Scope.KEY, "a05/web"), timedelta(minutes=60)),
)
"""Every identifier that a check can meet, every scope, and what is hard: mixtures, rotation, flapping, a slow brown-out."""
