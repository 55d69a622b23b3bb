"""What a message says."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.domain.alerting import Digest, NotifyReason
from monitor.domain.incidents import Severity
from monitor.notify.messages import MAX_BODY, MAX_SUBJECT, digest, message, trial
from tests.notify.examples import MINUTE, NOW, incident

R = NotifyReason
PAGES = "https://monitor.example.com"
KEY = "sk-proj-TEST-000-notakey-notakey-notakey-0000"


@pytest.mark.parametrize(
    ("reason", "subject"),
    [
        (R.FIRST, "Critical · INC-12 · Key “web” of checkout: key refused"),
        (R.WORSENED, "Worse · INC-12 · Key “web” of checkout: key refused"),
        (R.REMINDER, "Still open · INC-12 · Key “web” of checkout: key refused"),
        (R.ESCALATION, "Nobody has taken it · INC-12 · Key “web” of checkout: key refused"),
        (R.RESOLVED, "Over · INC-12 · Key “web” of checkout: key refused"),
    ],
)
def test_the_subject_says_what_a_lock_screen_must(reason: NotifyReason, subject: str) -> None:
    assert message(incident(id=12), reason, PAGES, NOW)[0] == subject


def test_the_body_says_what_to_do_whose_it_is_and_where_to_look() -> None:
    one = incident(id=12)
    lines = message(one, R.FIRST, PAGES + "/", NOW)[1].splitlines()
    assert lines[0] == one.diagnosis.summary[0].upper() + one.diagnosis.summary[1:]
    assert lines[1] == f"Do: {one.diagnosis.next_step}"
    assert lines[2].startswith("Possible cause: ")
    assert "Projects: checkout" in lines
    assert "Services: shop-api" in lines
    assert "Owners: team-shop" in lines
    assert "Since: 2026-11-23 02:03:00 UTC (11 min)" in lines
    assert lines[-1] == f"{PAGES}/incidents?incident=12"


def test_without_an_address_there_is_no_link() -> None:
    assert "http" not in message(incident(id=12), R.RESOLVED, None, NOW)[1]


def test_that_it_is_over_says_how_long_it_lasted() -> None:
    body = message(incident(id=12, resolved_at=NOW), R.RESOLVED, PAGES, NOW)[1]
    assert body.startswith("Over since 2026-11-23 02:14:00 UTC, after 11 min.")
    assert "Do:" not in body


def test_a_reminder_says_who_took_it_or_that_nobody_did() -> None:
    assert "Nobody has acknowledged it." in message(incident(id=12), R.REMINDER, PAGES, NOW)[1]
    again = message(incident(id=12), R.REMINDER, PAGES, NOW, "the silence has ended and it is still open")[1]
    assert "Sent again because the silence has ended and it is still open." in again
    taken = incident(id=12, acknowledged_at=NOW, acknowledged_by="Ada")
    assert "Acknowledged by Ada at 2026-11-23 02:14:00 UTC" in message(taken, R.WORSENED, PAGES, NOW)[1]


def test_two_thousand_projects_are_counted() -> None:
    body = message(incident(id=12, projects=tuple(f"p{number:04}" for number in range(2000))), R.FIRST, PAGES, NOW)[1]
    assert "and 1992 more" in body
    assert len(body) < 2000


def test_no_message_holds_a_key_or_wakes_a_whole_chat() -> None:
    one = incident(id=12, title=f"<!channel> @everyone {KEY}", owners=("@here",), services=("a\nb\x00\u202e",))
    one = replace(one, diagnosis=replace(one.diagnosis, cause=f"it said {KEY}"))
    subject, body = message(one, R.FIRST, PAGES, NOW)
    for text in (subject, body):
        assert "notakey-notakey" not in text
        assert "<!" not in text
        assert "@everyone" not in text
        assert "@here" not in text
    assert "a b" in body


@given(st.text(max_size=5000), st.sampled_from([R.FIRST, R.REMINDER, R.RESOLVED]), st.integers(0, 400))
def test_whatever_comes_the_message_is_short_printable_and_ends_with_the_link(text: str, reason: NotifyReason, many: int) -> None:
    one = incident(id=12, title=text, projects=(text,) * many, owners=(text,) * 8)
    one = replace(one, diagnosis=replace(one.diagnosis, cause=text, next_step=text))
    subject, body = message(one, reason, PAGES, NOW)
    assert len(subject) <= MAX_SUBJECT
    assert len(body) <= MAX_BODY
    assert subject.isprintable()
    assert body.replace("\n", "").isprintable()
    assert body.endswith("/incidents?incident=12")


def test_a_digest_lists_all_in_one_message() -> None:
    shown = (incident(id=12), incident(id=11, severity=Severity.WARNING, resolved_at=NOW))
    subject, body = digest(Digest("chat", "digest:x", NOW - 60 * MINUTE, NOW, shown), PAGES)
    assert subject == "Digest · 2 incidents, 1 still open"
    assert "INC-12 · Key “web” of checkout: key refused · since 2026-11-23 02:03:00 UTC, still open" in body
    assert "over after 10 min" in body
    assert body.endswith(f"{PAGES}/incidents")
    many = digest(Digest("chat", "digest:x", NOW, NOW, tuple(incident(id=number) for number in range(300))), PAGES)[1]
    assert len(many) <= MAX_BODY


def test_a_test_says_that_nothing_is_broken() -> None:
    assert "Nothing is broken" in trial("chat")[1]
