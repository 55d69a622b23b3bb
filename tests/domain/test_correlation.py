"""One incident for each cause, at the smallest scope that explains it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.domain.correlation import OPEN_AFTER, OPEN_ALONE_AFTER, Fleet, causes, correlate
from monitor.domain.diagnosis import Context, Diagnosis, diagnose
from monitor.domain.health import Health
from monitor.domain.incidents import Cause, Change, EventKind, Ill, Incident, Severity
from monitor.domain.inventory import ApiKey, ProbeKind, Project, Target
from monitor.domain.taxonomy import FailureKind, Lane, Scope

NOW = datetime(2026, 11, 23, 2, 14, tzinfo=UTC)
EARLIER = NOW - timedelta(minutes=2)
HOST = "https://api.openai.com/v1"
NAMES = tuple(f"p{number:02}" for number in range(20))
ORGANIZATION = "org-A"


def project(name: str, organization: str | None = ORGANIZATION, base_url: str = HOST) -> Project:
    """With two keys."""
    keys = (ApiKey("web", "env:A"), ApiKey("worker", "env:B"))
    return Project(
        name,
        organization=organization,
        base_url=base_url,
        owner=f"team-{name}",
        services=(f"api-{name}",),
        environment="production",
        models=("gpt-4o", "gpt-5"),
        keys=keys,
    )


FLEET = Fleet.of(project(name) for name in NAMES)


def ill(
    where: str,
    kind: FailureKind,
    probe: ProbeKind = ProbeKind.AUTH,
    model: str | None = None,
    since: datetime = EARLIER,
    scope: Scope | None = None,
    confirmed: bool = True,
    health: Health = Health.FAILING,
) -> Ill:
    """`project/key`, or a host for the control probe."""
    if probe is ProbeKind.CONTROL:
        return Ill(Target(probe, host=where), kind, health, since, confirmed=confirmed)
    name, _, key = where.partition("/")
    return Ill(Target(probe, name, key or "web", model), kind, health, since, scope, confirmed=confirmed)


def describe(cause: Cause, kind: FailureKind, members: tuple[Ill, ...]) -> Diagnosis:
    return diagnose(kind, Context(project=members[0].target.project))


def step(members: list[Ill], open_ones: list[Incident] = [], lately: list[Incident] = [], now: datetime = NOW) -> list[Change]:  # noqa: B006
    return correlate(members, FLEET, open_ones, lately, now, describe)


def stored(changes: list[Change], first: int = 1) -> list[Incident]:
    """As the store gives them back."""
    return [replace(each.incident, id=each.incident.id or first + number) for number, each in enumerate(changes)]


K = FailureKind


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ([ill("p00/web", K.AUTH_INVALID_KEY)], [(Scope.KEY, "p00/web")]),
        (
            [ill("p00/web", K.AUTH_INVALID_KEY), ill("p00/web", K.AUTH_INVALID_KEY, ProbeKind.INFERENCE, "gpt-4o")],
            [(Scope.KEY, "p00/web")],
        ),
        (
            [ill("p00/web", K.AUTH_INVALID_KEY), ill("p00/worker", K.AUTH_INVALID_KEY)],
            [(Scope.PROJECT, "p00")],
        ),
        # Two that were refused an hour apart, or for two reasons, are two.
        (
            [ill("p00/web", K.AUTH_INVALID_KEY, since=NOW - timedelta(hours=1)), ill("p00/worker", K.AUTH_INVALID_KEY)],
            [(Scope.KEY, "p00/web"), (Scope.KEY, "p00/worker")],
        ),
        (
            [ill("p00/web", K.AUTH_INVALID_KEY), ill("p00/worker", K.AUTH_WRONG_PROJECT)],
            [(Scope.KEY, "p00/web"), (Scope.KEY, "p00/worker")],
        ),
        ([ill("p00/web", K.AUTH_IP_NOT_ALLOWED)], [(Scope.PROJECT, "p00")]),
        ([ill("p00/web", K.CLIENT_CONFIGURATION)], [(Scope.KEY, "p00/web")]),
        ([ill("p00/web", K.ACCESS_MODEL_NOT_ALLOWED, ProbeKind.INFERENCE, "gpt-4o")], [(Scope.MODEL, "p00/gpt-4o")]),
        ([ill("p00/web", K.ACCESS_MODEL_NOT_FOUND, ProbeKind.MODEL_ACCESS, "gpt-4o")], [(Scope.MODEL, "p00/gpt-4o")]),
        (
            [
                ill("p00/web", K.ACCESS_MODEL_RETIRED, ProbeKind.INFERENCE, "gpt-4o"),
                ill("p00/web", K.ACCESS_MODEL_NOT_FOUND, ProbeKind.MODEL_ACCESS, "gpt-4o"),
                ill("p01/web", K.ACCESS_MODEL_NOT_FOUND, ProbeKind.MODEL_ACCESS, "gpt-4o"),
            ],
            [(Scope.MODEL, "gpt-4o")],
        ),
        ([ill("p00/web", K.ACCESS_ORGANIZATION_UNVERIFIED, ProbeKind.INFERENCE, "gpt-5")], [(Scope.ORGANIZATION, ORGANIZATION)]),
        ([ill("p00/web", K.RATE_TOKENS, ProbeKind.INFERENCE, "gpt-5", scope=Scope.PROJECT)], [(Scope.PROJECT, "p00")]),
        (
            [ill("p00/web", K.RATE_TOKENS, ProbeKind.INFERENCE, "gpt-5", scope=Scope.ORGANIZATION)],
            [(Scope.ORGANIZATION, ORGANIZATION)],
        ),
        ([ill("p00/web", K.QUOTA_PROJECT_SPEND, ProbeKind.INFERENCE, "gpt-5")], [(Scope.PROJECT, "p00")]),
        (
            [ill(f"{name}/web", K.QUOTA_CREDITS, ProbeKind.INFERENCE, "gpt-5") for name in NAMES],
            [(Scope.ORGANIZATION, ORGANIZATION)],
        ),
        ([ill(f"{name}/web", K.SERVER_OVERLOADED) for name in NAMES[:7]], [(Scope.OPENAI, HOST)]),
        ([ill(f"{name}/web", K.SERVER_ERROR) for name in NAMES[:3]], [(Scope.OPENAI, HOST)]),
        # What OpenAI does to one project alone is no outage of OpenAI.
        ([ill("p00/web", K.SERVER_ERROR)], [(Scope.PROJECT, "p00")]),
        (
            [
                ill("p00/web", K.SERVER_ERROR),
                ill("p00/web", K.SERVER_ERROR, ProbeKind.MODEL_ACCESS, "gpt-5"),
                ill("p01/web", K.SERVER_ERROR),
            ],
            [(Scope.OPENAI, HOST), (Scope.PROJECT, "p00")],
        ),
        (
            [
                ill("p00/web", K.SERVER_ERROR),
                ill("p00/worker", K.SERVER_ERROR),
                *(ill(f"{name}/web", K.SERVER_ERROR, confirmed=False) for name in NAMES[1:3]),
            ],
            [(Scope.OPENAI, HOST)],
        ),
        (
            [
                ill("p00/web", K.SERVER_ERROR, since=NOW - timedelta(minutes=20)),
                ill("p00/worker", K.SERVER_ERROR, since=NOW - timedelta(minutes=20)),
                *(ill(f"{name}/web", K.SERVER_ERROR, confirmed=False) for name in NAMES[1:3]),
            ],
            [(Scope.OPENAI, HOST), (Scope.PROJECT, "p00")],
        ),
        ([ill("p00/web", K.NETWORK_UNREACHABLE)], [(Scope.PROJECT, "p00")]),
        ([ill("p00/web", K.NETWORK_UNREACHABLE), ill(HOST, K.NETWORK_UNREACHABLE, ProbeKind.CONTROL)], [(Scope.MONITOR, HOST)]),
        ([ill(f"{name}/web", K.NETWORK_UNREACHABLE) for name in NAMES[:12]], [(Scope.MONITOR, HOST)]),
        ([ill(f"{name}/web", K.NETWORK_TIMEOUT) for name in NAMES], [(Scope.OPENAI, HOST)]),
        # One model of a host where others answer.
        ([ill("p00/web", K.SERVER_ERROR, ProbeKind.INFERENCE, "gpt-5")], [(Scope.MODEL, "p00/gpt-5")]),
        ([ill(f"{name}/web", K.SERVER_OVERLOADED, ProbeKind.INFERENCE, "gpt-5") for name in NAMES], [(Scope.MODEL, "gpt-5")]),
        (
            [
                *(ill(f"{name}/web", K.SERVER_ERROR, ProbeKind.INFERENCE, "gpt-5") for name in NAMES),
                ill("p00/web", K.SERVER_ERROR),
            ],
            [(Scope.MODEL, "gpt-5"), (Scope.OPENAI, HOST)],
        ),
        (
            [
                *(ill(f"{name}/web", K.SERVER_ERROR, ProbeKind.INFERENCE, "gpt-5") for name in NAMES),
                *(ill(f"{name}/web", K.SERVER_ERROR, ProbeKind.INFERENCE, "gpt-4o") for name in NAMES[:2]),
            ],
            [(Scope.OPENAI, HOST)],
        ),
        (
            [ill("p00/web", K.SERVER_ERROR, ProbeKind.INFERENCE, "gpt-5"), ill("p00/web", K.SERVER_ERROR)],
            [(Scope.PROJECT, "p00")],
        ),
        (
            [
                *(ill(f"{name}/web", K.SERVER_ERROR, ProbeKind.INFERENCE, "gpt-5") for name in NAMES),
                ill(HOST, K.SERVER_ERROR, ProbeKind.CONTROL),
            ],
            [(Scope.OPENAI, HOST)],
        ),
        ([ill(f"{name}/web", K.NETWORK_TIMEOUT, ProbeKind.INFERENCE, "gpt-5") for name in NAMES], [(Scope.MODEL, "gpt-5")]),
        ([ill("p00/web", K.NETWORK_TIMEOUT, ProbeKind.INFERENCE, "gpt-5")], [(Scope.MODEL, "p00/gpt-5")]),
        ([ill("p00/web", K.NETWORK_UNREACHABLE, ProbeKind.INFERENCE, "gpt-5")], [(Scope.PROJECT, "p00")]),
        # A model that is taken from many at once, or from two.
        (
            [ill(f"{name}/web", K.ACCESS_MODEL_NOT_ALLOWED, ProbeKind.INFERENCE, "gpt-5") for name in NAMES[:3]],
            [(Scope.MODEL, "gpt-5")],
        ),
        (
            [ill(f"{name}/web", K.ACCESS_MODEL_NOT_ALLOWED, ProbeKind.INFERENCE, "gpt-5") for name in NAMES[:2]],
            [(Scope.MODEL, "p00/gpt-5"), (Scope.MODEL, "p01/gpt-5")],
        ),
        # What one administrator did to all of them, and the place where secrets lie.
        (
            [ill(f"{name}/web", K.ACCESS_POLICY, ProbeKind.INFERENCE, "gpt-5") for name in NAMES],
            [(Scope.ORGANIZATION, ORGANIZATION)],
        ),
        ([ill(f"{name}/web", K.AUTH_WRONG_REGION_HOST) for name in NAMES], [(Scope.ORGANIZATION, ORGANIZATION)]),
        ([ill(f"{name}/web", K.CLIENT_CONFIGURATION) for name in NAMES], [(Scope.MONITOR, "")]),
        ([ill(f"{name}/web", K.CLIENT_CONFIGURATION) for name in NAMES[:2]], [(Scope.KEY, "p00/web"), (Scope.KEY, "p01/web")]),
        # Many keys at once are hardly many causes.
        ([ill(f"{name}/web", K.AUTH_MISSING_SCOPE) for name in NAMES[:3]], [(Scope.OPENAI, HOST)]),
        ([ill(f"{name}/web", K.AUTH_IP_NOT_ALLOWED) for name in NAMES[:12]], [(Scope.ORGANIZATION, ORGANIZATION)]),
        # Two that began days apart are two.
        (
            [ill("p00/web", K.AUTH_INVALID_KEY, since=NOW - timedelta(days=3)), ill("p01/web", K.AUTH_INVALID_KEY)],
            [(Scope.KEY, "p00/web"), (Scope.KEY, "p01/web")],
        ),
        # Two causes at once stay two.
        (
            [ill("p00/web", K.QUOTA_PROJECT_SPEND, ProbeKind.INFERENCE, "gpt-5"), ill("p00/worker", K.AUTH_INVALID_KEY)],
            [(Scope.KEY, "p00/worker"), (Scope.PROJECT, "p00")],
        ),
    ],
)
def test_the_smallest_scope_that_explains_all(members: list[Ill], expected: list[tuple[Scope, str]]) -> None:
    assert sorted((cause.scope, cause.subject) for cause in causes(members, FLEET)) == sorted(expected)


def test_a_refusal_of_one_organization_alone_is_that_organizations() -> None:
    fleet = Fleet.of([project(name, "org-A" if number < 8 else "org-B") for number, name in enumerate(NAMES)])
    members = [ill(f"{name}/web", K.AUTH_MISSING_SCOPE) for name in NAMES[:8]]
    assert [(cause.scope, cause.subject) for cause in causes(members, fleet)] == [(Scope.ORGANIZATION, "org-A")]


def test_one_secret_in_three_projects_is_one_dead_key() -> None:
    key = ApiKey("web", "env:A", fingerprint="0f1e…abcd")
    shared = [replace(project(name), keys=(key,)) for name in NAMES[1:4]]
    fleet = Fleet.of([*(project(name) for name in NAMES if name not in NAMES[1:4]), *shared])
    dead = [ill(f"{name}/web", K.AUTH_INVALID_KEY) for name in ("p02", "p03")]
    assert [(cause.scope, cause.subject) for cause in causes(dead, fleet)] == [(Scope.KEY, "p01/web")]
    # A header that is wrong in one of them is no matter of the others.
    wrong = [ill("p02/web", K.AUTH_WRONG_PROJECT)]
    assert [cause.subject for cause in causes(wrong, fleet)] == ["p02/web"]
    (change,) = correlate(dead, fleet, [], [], NOW, describe)
    assert change.incident.title == "Key “web” of p01: key refused (2 projects)"


def test_an_archived_project_is_no_dead_key() -> None:
    (cause,) = causes([replace(ill("p00/web", K.AUTH_WRONG_PROJECT), hint="the project was archived")], FLEET)
    assert (cause.scope, cause.subject) == (Scope.PROJECT, "p00")


def test_a_model_that_is_missing_for_one_and_then_for_two_is_one_incident() -> None:
    first = [ill("p00/web", K.ACCESS_MODEL_NOT_FOUND, ProbeKind.INFERENCE, "gpt-5")]
    opened = stored(step(first))
    members = [*first, ill("p01/web", K.ACCESS_MODEL_NOT_FOUND, ProbeKind.INFERENCE, "gpt-5", since=NOW)]
    changes = step(members, opened, now=NOW + timedelta(minutes=2))
    assert [(change.incident.id, change.incident.cause.subject, change.incident.open) for change in changes] == [(1, "gpt-5", True)]
    left = step(first, stored(changes), now=NOW + timedelta(minutes=9))
    assert [(change.incident.id, change.incident.open) for change in left] == [(1, True)]


def test_one_bad_answer_of_another_model_does_not_make_it_the_platform() -> None:
    members = [ill(f"{name}/web", K.SERVER_ERROR, ProbeKind.INFERENCE, "gpt-5") for name in NAMES[:5]]
    opened = stored(step(members))
    assert [incident.cause.subject for incident in opened] == ["gpt-5"]
    suspect = ill("p07/web", K.SERVER_ERROR, ProbeKind.AUTH, since=NOW, confirmed=False)
    sure = replace(suspect, confirmed=True)
    for other in (suspect, sure):
        assert step([*members, other], opened, now=NOW + timedelta(seconds=10)) == []
    (change,) = step([*members, sure], opened, now=NOW + OPEN_ALONE_AFTER)
    assert (change.incident.id, change.incident.cause.scope) == (1, Scope.OPENAI)


def test_the_secrets_of_everybody_are_no_network() -> None:
    (change,) = step([ill(f"{name}/web", K.CLIENT_CONFIGURATION) for name in NAMES])
    assert change.incident.title == "The monitor's own secrets: configuration (20 projects)"


def test_when_no_host_can_be_reached_it_is_the_monitor() -> None:
    other = "https://eu.api.openai.com/v1"
    fleet = Fleet.of([project(name, base_url=HOST if number % 2 else other) for number, name in enumerate(NAMES)])
    members = [ill(where, K.NETWORK_TIMEOUT, ProbeKind.CONTROL) for where in (HOST, other)]
    assert list(causes(members, fleet)) == [Cause(Scope.MONITOR, Lane.NETWORK, "")]


def test_an_incident_opens_when_its_neighbours_had_time_to_answer() -> None:
    fresh = ill("p00/web", K.AUTH_INVALID_KEY, since=NOW - OPEN_AFTER + timedelta(seconds=1))
    assert step([fresh]) == []
    (change,) = step([fresh], now=NOW + timedelta(seconds=1))
    made = change.incident
    assert (made.severity, made.projects, made.keys, made.owners) == (Severity.CRITICAL, ("p00",), ("p00/web",), ("team-p00",))
    assert (made.first_bad_at, made.title) == (fresh.since, "Key “web” of p00: key refused")
    assert [event.kind for event in change.events] == [EventKind.OPENED]


def test_what_is_just_passing_opens_nothing_and_ends_nothing() -> None:
    passing = replace(ill("p00/web", K.SERVER_ERROR), recovering=True)
    assert step([passing]) == []
    assert step([passing], stored(step([replace(passing, recovering=False)]))) == []


def test_a_suspect_opens_nothing_and_tells_how_far_it_reaches() -> None:
    suspects = [ill(f"{name}/web", K.AUTH_MISSING_SCOPE, confirmed=False) for name in NAMES[:4]]
    assert step(suspects) == []
    (change,) = step([ill("p05/web", K.AUTH_MISSING_SCOPE), *suspects])
    assert change.incident.cause.scope is Scope.OPENAI


def test_nothing_is_said_while_nothing_changes() -> None:
    members = [ill("p00/web", K.AUTH_INVALID_KEY)]
    opened = stored(step(members))
    assert step(members, opened, now=NOW + timedelta(hours=3)) == []


def test_what_ends_is_resolved_and_comes_back_as_the_same() -> None:
    members = [ill("p00/web", K.AUTH_INVALID_KEY)]
    (resolved,) = step([], stored(step(members)), now=NOW + timedelta(minutes=5))
    assert (resolved.incident.resolved_at, resolved.events[0].kind) == (NOW + timedelta(minutes=5), EventKind.RESOLVED)
    again = [ill("p00/web", K.AUTH_INVALID_KEY, since=NOW + timedelta(minutes=9))]
    (change,) = step(again, [], [resolved.incident], now=NOW + timedelta(minutes=10))
    assert (change.incident.id, change.incident.reopened, change.incident.open) == (resolved.incident.id, 1, True)
    (later,) = step(again, [], [resolved.incident], now=NOW + timedelta(minutes=40))
    assert later.incident.id is None


def test_a_key_turns_out_to_be_the_platform() -> None:
    first = [ill("p00/web", K.AUTH_MISSING_SCOPE)]
    opened = stored(step(first))
    members = [*first, *(ill(f"{name}/web", K.AUTH_MISSING_SCOPE, since=NOW) for name in NAMES[1:6])]
    changes = step(members, opened, now=NOW + timedelta(seconds=30))
    assert [(change.incident.id, change.incident.cause.scope) for change in changes] == [(1, Scope.OPENAI)]
    assert len(changes[0].incident.projects) == 6
    assert [event.kind for event in changes[0].events] == [EventKind.WIDENED]


def test_several_narrow_ones_become_one() -> None:
    opened = stored([change for name in NAMES[:2] for change in step([ill(f"{name}/web", K.AUTH_UNKNOWN)])])
    members = [ill(f"{name}/web", K.AUTH_UNKNOWN) for name in NAMES[:12]]
    changes = {change.incident.id: change for change in step(members, opened)}
    assert changes[1].incident.cause.scope is Scope.OPENAI
    assert (changes[2].incident.merged_into, changes[2].incident.open) == (1, False)
    assert len(changes) == 2


def test_what_is_left_of_a_wide_outage_is_no_new_incident() -> None:
    opened = stored(step([ill(f"{name}/web", K.AUTH_MISSING_SCOPE) for name in NAMES]))
    left = [ill("p03/web", K.AUTH_MISSING_SCOPE)]
    changes = step(left, opened, now=NOW + timedelta(minutes=5))
    assert [(change.incident.id, change.incident.open, change.incident.ill) for change in changes] == [(1, True, 1)]
    own = ill("p04/web", K.AUTH_INVALID_KEY, since=NOW + timedelta(minutes=4))
    changes = step([*left, own], stored(changes), now=NOW + timedelta(minutes=6))
    assert [change.incident.title for change in changes] == ["Key “web” of p04: key refused"]


def test_a_sample_that_fails_as_a_whole_speaks_for_those_whom_nobody_asked_yet() -> None:
    fleet = Fleet.of(project(f"q{number:04}") for number in range(2000))
    first, *others = (ill(f"q{number:04}/web", K.AUTH_INVALID_KEY) for number in (7, 300, 1000, 1700))
    assert {cause.scope for cause in causes([first, *others], fleet)} == {Scope.KEY}
    asked = [replace(other, sampled=True, confirmed=False) for other in others]
    assert {cause.scope for cause in causes([first, *asked[:2]], fleet)} == {Scope.KEY}
    assert {cause.scope for cause in causes([first, *asked], fleet)} == {Scope.OPENAI}


def test_two_thousand_projects_are_one_incident() -> None:
    fleet = Fleet.of(project(f"q{number}") for number in range(2000))
    members = [ill(f"q{number}/web", K.SERVER_OVERLOADED) for number in range(2000)]
    (change,) = correlate(members, fleet, [], [], NOW, describe)
    assert (change.incident.cause.scope, len(change.incident.projects)) == (Scope.OPENAI, 2000)
    assert change.incident.title == "OpenAI: overloaded (2000 projects)"


ANYTHING = st.lists(
    st.builds(
        lambda number, kind, probe, age, confirmed, scope: ill(
            HOST if probe is ProbeKind.CONTROL else f"p{number:02}/web", kind, probe,
            None if probe in (ProbeKind.AUTH, ProbeKind.CONTROL) else "gpt-5", NOW - timedelta(seconds=age), scope, confirmed,
        ),
        st.integers(0, 22), st.sampled_from(FailureKind), st.sampled_from(ProbeKind), st.integers(0, 4000), st.booleans(),
        st.sampled_from([None, *Scope]),
    ),
    max_size=40,
    unique_by=lambda one: one.target,
)  # fmt: skip


@given(first=ANYTHING, second=ANYTHING)
def test_whatever_is_ill_belongs_to_exactly_one_incident(first: list[Ill], second: list[Ill]) -> None:
    assert sum(len(members) for members in causes(first, FLEET).values()) == len(first)
    opened = stored(step(first))
    assert len({incident.cause.key for incident in opened}) == len(opened)
    now, open_ones, changes = NOW, opened, []
    for number in range(4):
        now += timedelta(minutes=1)
        changes = step(second, open_ones, now=now)
        changed = {change.incident.id: change.incident for change in changes if change.incident.id is not None}
        after = [changed.get(incident.id, incident) for incident in open_ones]
        after += list(stored([change for change in changes if change.incident.id is None], 100 * (number + 1)))
        open_ones = [incident for incident in after if incident.open]
        assert len({incident.cause.key for incident in open_ones}) == len(open_ones)
        assert second or not open_ones
    assert [change for change in changes if change.events] == []


@pytest.mark.parametrize("kind", [K.SERVER_ERROR, K.NETWORK_UNREACHABLE])
def test_the_question_without_a_key_alone_is_given_as_long_as_any_other_to_pass(kind: K) -> None:
    since = NOW - OPEN_AFTER
    control = ill(HOST, kind, ProbeKind.CONTROL, since=since)
    assert not step([control])
    assert step([control], now=since + OPEN_ALONE_AFTER)
    assert step([control, ill("p00/web", kind, since=since)])


def test_a_label_that_is_a_key_stands_in_no_title() -> None:
    (change,) = step([ill("p00/sk-proj-TEST-000-notakey-abcdefgh", K.AUTH_INVALID_KEY)])
    assert change.incident.title == "Key “sk-…efgh” of p00: key refused"
    assert "notakey" not in "".join(event.text for event in change.events)


@pytest.mark.parametrize("first", ["", HOST])
def test_a_platform_that_is_half_up_is_one_incident_whether_it_shows_at_one_host_or_at_all(first: str) -> None:
    other = "https://eu.api.openai.com/v1"
    fleet = Fleet.of([project("p00"), project("q00", base_url=other)])
    at_one = [ill("p00/web", K.SERVER_ERROR), ill(HOST, K.SERVER_ERROR, ProbeKind.CONTROL)]
    at_all = [*at_one, ill("q00/web", K.SERVER_ERROR), ill(other, K.SERVER_ERROR, ProbeKind.CONTROL)]
    then, again = (at_one, at_all) if first else (at_all, at_one)
    (one,) = stored(correlate(then, fleet, [], [], NOW, describe))
    assert one.cause.subject == first
    over = replace(one, resolved_at=NOW, ill=0)
    (change,) = correlate(again, fleet, [], [over], NOW + timedelta(minutes=5), describe)
    assert (change.incident.id, change.incident.reopened, change.incident.cause.subject) == (one.id, 1, "")
