"""An incident as it leaves the monitor."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from monitor.domain.diagnosis import Context, diagnose
from monitor.domain.incidents import Cause, Event, EventKind, Incident, IncidentRecord, Severity
from monitor.domain.postmortem import as_json, markdown, mtta, mttd, mttr
from monitor.domain.taxonomy import FailureKind, Lane, Scope

BAD = datetime(2026, 11, 23, 2, 14, 0, tzinfo=UTC)
NASTY = "<img src=x onerror=alert(1)> ``` # heading | [link](javascript:1) **b**\n# next line \u202e"


def incident(**facts: object) -> Incident:
    given: dict[str, object] = {
        "cause": Cause(Scope.KEY, Lane.AUTH, "legacy/backend"),
        "failure": FailureKind.AUTH_INVALID_KEY,
        "severity": Severity.CRITICAL,
        "first_bad_at": BAD,
        "opened_at": BAD + timedelta(seconds=20),
        "title": "Project “legacy”: key refused",
        "diagnosis": diagnose(FailureKind.AUTH_INVALID_KEY, Context(project="legacy", key="backend", last_ok_at=BAD)),
        "projects": ("legacy",),
        "keys": ("legacy/backend",),
        "owners": ("team-a",),
        "id": 12,
    }
    return Incident(**(given | facts))  # type: ignore[arg-type]


OVER = incident(
    acknowledged_at=BAD + timedelta(minutes=3), acknowledged_by="Ada", resolved_at=BAD + timedelta(minutes=41), reopened=1
)


def test_times_are_counted_from_the_first_bad_answer_and_from_when_it_was_open() -> None:
    assert mttd(OVER) == timedelta(seconds=20)
    assert mtta(OVER) == timedelta(minutes=2, seconds=40)
    assert mttr(OVER) == timedelta(minutes=41)


def test_what_did_not_happen_has_no_time() -> None:
    assert mtta(incident()) is None
    assert mttr(incident()) is None


def test_a_document_tells_cause_owner_times_and_who_was_hit() -> None:
    said = markdown(IncidentRecord(OVER, (Event(BAD, EventKind.COMMENT, "rolled back", "Ada"),)))
    assert said.startswith("# INC-12: Project “legacy”: key refused\n")
    assert "| MTTR (first bad answer to over) | 41 min |" in said
    assert "| MTTA (open to acknowledged) | 2 min 40 s |" in said
    assert "2026-11-23 02:14:00 UTC" in said
    assert "**Who mends it:** the key's owner" in said
    assert "| Projects (1) | `legacy` |" in said
    assert "| 2026-11-23 02:14:00 | comment | Ada | rolled back |" in said


def test_an_open_incident_is_not_called_resolved() -> None:
    said = markdown(IncidentRecord(incident()))
    assert "| State | open |" in said
    assert "Resolved |" not in said
    assert "nobody has" in said


def test_evidence_stands_in_the_document() -> None:
    error = {"failure": "auth.invalid_key", "status": 401, "code": "invalid_api_key", "count": 7, "request_ids": ["req_1", "req_2"]}
    evidence = {"errors": [error], "first_bad": {"status": 401, "hint": None}, "config": {"models": ["gpt-4o"]}}
    said = markdown(IncidentRecord(OVER, (), evidence))
    assert "| `auth.invalid_key` | `401` | `invalid_api_key` | `7` |  | `req_1`, `req_2` |" in said
    assert "| status | `401` |" in said
    assert "hint" not in said
    assert '"gpt-4o"' in said


@pytest.mark.parametrize("evidence", [{}, {"errors": "none"}, {"errors": [1, None]}, {"first_bad": [1]}, {"limits": "?"}])
def test_evidence_of_another_shape_breaks_nothing(evidence: dict[str, object]) -> None:
    assert "## Evidence" in markdown(IncidentRecord(OVER, (), evidence))
    assert json.loads(as_json(IncidentRecord(OVER, (), evidence)))["evidence"] == evidence


def test_texts_from_outside_cannot_become_marks() -> None:
    nasty = replace(
        incident(projects=(NASTY,), acknowledged_by=NASTY, acknowledged_at=BAD, title=NASTY),
        diagnosis=replace(OVER.diagnosis, cause=NASTY, evidence=(NASTY,)),
    )
    evidence = {"errors": [{"message": NASTY, "count": 1}], "config": {"name": "```\n# heading"}, "first_bad": {NASTY: NASTY}}
    said = markdown(IncidentRecord(nasty, (Event(BAD, EventKind.COMMENT, NASTY, NASTY),), evidence))
    assert "\u202e" not in said
    assert "\n# next line" not in said
    assert [line for line in said.splitlines() if line.startswith("# ")] == [said.splitlines()[0]]
    # Outside of code an opening bracket has its backslash, so no tag and no link begins.
    outside = [line for line in said.splitlines() if "`" not in line and not line.startswith("|")]
    assert not [line for line in outside if line.replace("\\<", "").replace("\\[", "").strip().startswith(("<", "["))]
    assert "````json" in said


def test_a_row_of_a_table_keeps_its_columns() -> None:
    said = markdown(IncidentRecord(OVER, (Event(BAD, EventKind.COMMENT, "a | b", "x|y"),)))
    row = next(line for line in said.splitlines() if "comment" in line)
    assert row.replace("\\|", "").count("|") == 5


def test_json_is_one_line_with_stable_names() -> None:
    said = as_json(IncidentRecord(OVER, (Event(BAD, EventKind.OPENED, "Opened.\nTwo lines"),)))
    assert "\n" not in said
    read = json.loads(said)
    assert read["id"] == 12
    assert read["label"] == "INC-12"
    assert read["cause"] == {"scope": "key", "lane": "auth", "subject": "legacy/backend"}
    assert read["opened_at"] == "2026-11-23T02:14:20.000Z"
    assert read["mttr_seconds"] == 41 * 60
    assert read["events"] == [{"at": "2026-11-23T02:14:00.000Z", "kind": "opened", "text": "Opened.\nTwo lines", "by": None}]
    assert read["diagnosis"]["confidence"] == "likely"
    assert read["open"] is False
