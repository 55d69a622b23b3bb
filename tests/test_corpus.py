"""The classifier against real answers from outside, and against answers written from what OpenAI documents."""

import json
from pathlib import Path
from typing import Any

import pytest

from monitor.domain.explain import explain, parse_line
from monitor.domain.observation import WireAnswer

CORPUS = Path(__file__).resolve().parent.parent.parent / "shared" / "corpus" / "wire-responses.json"
RECORDS: list[dict[str, Any]] = json.loads(CORPUS.read_text())["records"] if CORPUS.is_file() else []

pytestmark = pytest.mark.skipif(not RECORDS, reason="the outside corpus is not on this machine")


def _answer(record: dict[str, Any]) -> WireAnswer:
    body = record["body"]
    text = body if isinstance(body, str) else "" if body is None else json.dumps(body)
    headers = tuple((name, value) for name, value in record["headers"] or ())
    return WireAnswer(record["status"], headers, text.encode(), f"{record['method']} {record['path']}")


@pytest.mark.parametrize("record", RECORDS, ids=[record["id"] for record in RECORDS])
def test_every_real_answer_is_read_as_one_of_the_right_kinds(record: dict[str, Any]) -> None:
    failure = explain(_answer(record)).failure
    assert (failure.value if failure else None) in record["accept"]


@pytest.mark.parametrize("record", RECORDS, ids=[record["id"] for record in RECORDS])
def test_the_advice_to_retry_agrees_with_what_helped(record: dict[str, Any]) -> None:
    if record["confidence"] == "low":
        pytest.skip("nobody is sure")
    assert explain(_answer(record)).retry == record["retry_helps"]


@pytest.mark.parametrize("record", RECORDS, ids=[record["id"] for record in RECORDS])
def test_a_json_line_means_the_same_as_the_answer_itself(record: dict[str, Any]) -> None:
    line = {"status": record["status"], "headers": record["headers"], "body": record["body"]}
    line["endpoint"] = f"{record['method']} {record['path']}"
    assert explain(parse_line(json.dumps(line))).as_json() == explain(_answer(record)).as_json()


@pytest.mark.parametrize(
    "record", [r for r in RECORDS if isinstance(r["body"], dict) and "error" in r["body"]], ids=lambda r: r["id"]
)
def test_the_sdk_text_of_an_error_means_the_same_as_the_answer(record: dict[str, Any]) -> None:
    line = f"openai.APIStatusError: Error code: {record['status']} - {record['body']!r}"
    failure = explain(parse_line(line)).failure
    assert (failure.value if failure else None) in record["accept"]
