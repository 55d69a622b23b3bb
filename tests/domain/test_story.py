"""The story of an incident: everything in one order, and readable also where everything failed at once."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from monitor.domain.health import Health
from monitor.domain.incidents import Event, EventKind
from monitor.domain.inventory import ProbeKind, Target
from monitor.domain.story import MOST, Turn, whole
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
    assert len(told) == MOST + 1
    assert any("4,950 more" in event.text for event in told)


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
