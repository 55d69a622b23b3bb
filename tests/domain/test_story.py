"""The story of an incident: everything in one order, and readable also where everything failed at once."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from monitor.domain.health import Health
from monitor.domain.incidents import Event, EventKind
from monitor.domain.inventory import ProbeKind, Target
from monitor.domain.story import MOST, Run, Turn, configured, rotated, whole
from monitor.domain.taxonomy import FailureKind

START = datetime(2026, 11, 20, 12, tzinfo=UTC)
OPENED = Event(START + timedelta(seconds=20), EventKind.OPENED, "Opened.")
EVIDENCE = {
    "last_good": {"at": (START - timedelta(minutes=1)).isoformat(), "project": "p", "key": "k", "probe": "auth", "status": 200},
    "first_bad": {
        "at": START.isoformat(), "project": "p", "key": "k", "probe": "auth", "status": 401, "failure": "auth.invalid_key",
        "message": "Incorrect API key provided",
    },
    "errors": [
        {"failure": "auth.invalid_key", "status": 401, "message": "Incorrect API key provided", "first": START.isoformat()},
        {"failure": "network.timeout", "status": None, "message": None, "first": (START + timedelta(seconds=5)).isoformat()},
    ],
}  # fmt: skip


def turn(number: int = 0, after: float = 10, old: Health = Health.HEALTHY, new: Health = Health.FAILING) -> Turn:
    target = Target(ProbeKind.AUTH, f"p{number}", "k")
    failure = FailureKind.AUTH_INVALID_KEY if new is Health.FAILING else None
    return Turn(START + timedelta(seconds=after), target, old, new, failure)


def test_checks_changes_and_deeds_stand_in_one_order() -> None:
    change = Event(START - timedelta(seconds=40), EventKind.CHANGE, "Key “k” was deleted.")
    told = whole([OPENED], [turn(), turn(after=300, old=Health.FAILING, new=Health.HEALTHY)], EVIDENCE, [change])
    assert [event.kind.value for event in told] == ["check", "change", "check", "check", "health", "opened", "health"]
    assert "Last good answer, p/k/auth: HTTP 200" in told[0].text
    assert "HTTP 401 auth.invalid_key “Incorrect API key provided”" in told[2].text
    assert told[3].text == "For the first time: no HTTP answer network.timeout."
    assert "p0/k/auth: healthy → failing" in told[4].text


def test_two_thousand_that_fail_together_are_one_line() -> None:
    told = whole([OPENED], [turn(number, number / 100) for number in range(2000)], {})
    assert len(told) == 2
    assert "2,000 checks of 2,000 projects: healthy → failing" in told[0].text


def test_what_flaps_for_days_does_not_hide_what_people_did() -> None:
    events = [Event(START + timedelta(hours=number), EventKind.COMMENT, str(number)) for number in range(150)]
    turns = [turn(0, 120 * number, *([Health.HEALTHY, Health.FAILING][:: (1 if number % 2 else -1)])) for number in range(5000)]
    told = whole(events, turns, {})
    assert [event for event in told if event.kind is EventKind.COMMENT] == events
    assert len(told) == MOST
    assert any("4,951 more" in event.text for event in told)
    assert told[-1].text.startswith("p0/k/auth")


def run(words: str, start: float, end: float, count: int, number: int = 0) -> Run:
    message = "Incorrect API key provided" if words == "auth.invalid_key" else None
    said = {"failure": None if words == "ok" else words, "status": 200 if words == "ok" else 401, "message": message}
    target = Target(ProbeKind.AUTH, f"p{number}", "k")
    return Run(target, START + timedelta(seconds=start), START + timedelta(seconds=end), count, words == "ok", said)


def test_each_change_of_what_was_said_is_one_line_with_its_count() -> None:
    runs = [
        run("ok", -780, -60, 12),
        run("auth.invalid_key", 0, 300, 6),
        run("auth.ip_not_allowed", 360, 420, 2),
        run("ok", 480, 900, 8),
    ]
    told = [event.text for event in whole([OPENED], [], EVIDENCE, (), runs)]
    refused = "HTTP 401 auth.invalid_key “Incorrect API key provided”"
    assert told == [
        "Last good answer, p0/k/auth: HTTP 200.",
        f"First bad answer, p0/k/auth: {refused}, 6 times until 2026-11-20 12:05:00 UTC.",
        "For the first time: no HTTP answer network.timeout.",
        "Opened.",
        "Then, p0/k/auth: HTTP 401 auth.ip_not_allowed, 2 times until 2026-11-20 12:07:00 UTC.",
        "Good again, p0/k/auth: HTTP 200, 8 times until 2026-11-20 12:15:00 UTC.",
    ]


def test_twenty_that_say_the_same_are_one_line() -> None:
    runs = [each for number in range(20) for each in (run("ok", -60, -30, 2, number), run("auth.invalid_key", 1, 61, 2, number))]
    told = whole([], [], {}, (), runs)
    assert [event.text.partition(":")[0] for event in told] == [
        "Last good answer, 20 checks of 20 projects",
        "First bad answer, 20 checks of 20 projects",
    ]


def test_what_differs_between_two_configurations_is_told_of_those_who_were_hit_alone() -> None:
    old = {
        "intervals": {"auth": "60s", "control": "60s"},
        "projects": [{"name": "a", "models": ["x"]}, {"name": "b", "owner": "o"}],
    }
    new = {
        "intervals": {"auth": "30s", "control": "60s"},
        "projects": [{"name": "a", "models": ["y"]}, {"name": "b"}, {"name": "c"}],
    }
    change = configured(START, old, new, ("a", "c"))
    assert change is not None
    assert change.text == 'The configuration changed: intervals.auth 60s → 30s; a: models ["x"] → ["y"]; project c is new.'
    assert configured(START, old, {**old, "projects": old["projects"][:1]}, ("a",)) is None
    leak = configured(START, {}, {"note": "sk-proj-TEST-" + "x" * 40}, ())
    assert leak is not None
    assert "x" * 5 not in leak.text


def test_another_secret_is_told_by_its_last_four_characters() -> None:
    assert rotated(START, "p", "k", "00ff…1234", "").text == "Key “k” of p has another secret: …1234 → one that could not be read."


def test_a_story_is_never_longer_than_it_may_be() -> None:
    events = [Event(START + timedelta(hours=number), EventKind.COMMENT, str(number)) for number in range(5000)]
    runs = [run("auth.invalid_key", 120 * number, 120 * number, 1, number) for number in range(900)]
    told = whole(events, [turn(number, 120 * number) for number in range(900)], EVIDENCE, events, runs)
    assert len(told) <= MOST
    assert (told[-1].text, sum("more" in event.text for event in told)) == ("4999", 4)


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


@given(
    st.dictionaries(
        st.sampled_from(["last_good", "first_bad", "errors", "x"]),
        json | st.lists(st.fixed_dictionaries({"first": json, "at": json})),
    )
)
def test_evidence_of_another_version_is_left_out(evidence: dict[str, object]) -> None:
    told = whole([OPENED], [turn()], evidence)
    assert OPENED in told
