"""The same questions on PostgreSQL: with seeks made dear for nobody but whole reads, an index that is missing shows."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection

from monitor.store.engine import reading
from tests.store.conftest import Store
from tests.store.test_plans import HISTORY, QUESTIONS, filled, sent_by

__all__ = ["filled"]

pytestmark = pytest.mark.parametrize("backend", ["postgresql"])
SCANS = {"Seq Scan", "Index Scan", "Index Only Scan", "Bitmap Index Scan", "Bitmap Heap Scan"}
IN_ORDER = {"Limit", "Append", "Merge Append", "Nested Loop", "Result", "Subquery Scan"}
"""Under a limit, these take no more from an index than they hand on."""


def plans(connection: Connection, sent: list[tuple[str, object]]) -> Iterator[dict[str, Any]]:
    """The plan of each of these statements."""
    connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
    for statement, parameters in sent:
        (plan,) = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters).scalar_one()
        yield plan["Plan"]


def whole_reads(node: dict[str, Any], limited: bool = False) -> Iterator[str]:
    """The tables of history that the plan reads from end to end, with an index or without."""
    kind = node["Node Type"]
    table = re.sub(r"^observations_(\d{4}_\d\d|rest)$", "observations", node.get("Relation Name", ""))
    if kind in SCANS and table in HISTORY and not limited and not _is_sought(node):
        yield table
    below = kind == "Limit" or (limited and kind in IN_ORDER)
    for part in node.get("Plans", ()):
        yield from whole_reads(part, below)


def _is_sought(node: dict[str, Any]) -> bool:
    bitmaps = [part for part in node.get("Plans", ()) if part["Node Type"].startswith("Bitmap")]
    if bitmaps:  # those that are put together with "or" are each sought
        return all(_is_sought(part) for part in bitmaps)
    # A partial index holds only what nobody has taken yet: that may be read from end to end.
    return "Index Cond" in node or node.get("Index Name") == "ix_intents_not_taken"


def test_no_question_of_a_page_reads_a_whole_history(filled: Store) -> None:
    found = {}
    for name, question in QUESTIONS.items():
        sent = sent_by(filled.pages, question)
        with reading(filled.pages) as connection:
            if read := [(plan, some) for plan in plans(connection, sent) if (some := set(whole_reads(plan)))]:
                found[name] = read
    assert found == {}


@pytest.mark.parametrize(
    ("question", "index", "table"),
    [
        ("transitions of one", "ix_transitions_target", "transitions"),
        ("incidents that are open", "ix_incidents_resolved", "incidents"),
    ],
)
def test_an_index_that_is_missing_would_be_found(filled: Store, question: str, index: str, table: str) -> None:
    sent = sent_by(filled.pages, QUESTIONS[question])
    with reading(filled.engine) as connection:  # never committed: the index stays
        if table == "transitions":
            connection.exec_driver_sql("DROP INDEX ix_transitions_at")
        connection.exec_driver_sql(f"DROP INDEX {index}")
        assert table in {table for plan in plans(connection, sent) for table in whole_reads(plan)}
        connection.rollback()
