"""Documents that cannot lie: what they list is what the code has."""

import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest

from monitor.config import load_settings
from monitor.domain.taxonomy import KINDS, FailureKind
from monitor.domain.timeline import Window
from monitor.store.export import SHEETS, export
from tests.conftest import ROOT
from tests.store.helpers import START, new_store, sqlite_url, story

FAILURES = ROOT / "docs" / "failures.md"


def failure_rows() -> list[str]:
    """The table of docs/failures.md as the code would write it: `python -m tests.test_docs` prints it."""
    rows = []
    for kind, facts in KINDS.items():
        owner = facts.owner.value.replace("_", " ")
        rows.append(f"| `{kind}` | {facts.title} | {owner} | {facts.scope} | {'yes' if facts.retry_helps else 'no'} |")
    return rows


def test_every_failure_kind_is_documented_as_it_is() -> None:
    assert set(KINDS) == set(FailureKind)
    written = [line for line in FAILURES.read_text().splitlines() if line.startswith("| `")]
    assert written == failure_rows()


@pytest.mark.parametrize("command", sorted(set(re.findall(r"python -m monitor ([a-z]+)", (ROOT / "README.md").read_text()))))
def test_every_command_of_the_readme_exists_and_has_help(command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "monitor", command, "--help"], check=False, capture_output=True, text=True, timeout=180, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout


def test_the_readme_s_configuration_loads(tmp_path: Path) -> None:
    blocks = re.findall(r"```toml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (tmp_path / "monitor.toml").write_text("\n".join(blocks))
    found = load_settings(tmp_path / "monitor.toml", {}, tmp_path)
    assert found.projects
    assert found.channels


def test_every_picture_and_page_the_readme_links_is_there() -> None:
    for link in re.findall(r"\]\(([^)#:]+)\)", (ROOT / "README.md").read_text()):
        assert (ROOT / link).is_file(), link


def test_no_file_lies_directly_in_pages() -> None:
    """With one there, Streamlit's old discovery runs a deep-linked page without router and guard on a fresh server."""
    assert list((ROOT / "pages").glob("*.py")) == []


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_the_readme_s_line_of_pandas_reads_an_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    (line,) = [block for block in re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL) if "pd." in block]
    engine, writer = new_store(sqlite_url(tmp_path / "monitor.db"))
    writer.record(story("ok 401 401 429 ok"), START)
    window = Window(START - timedelta(hours=1), START + timedelta(hours=1))
    export(engine, SHEETS["failures"], window, tmp_path / "data" / "export" / f"failures.{form}", form)
    engine.dispose()
    monkeypatch.chdir(tmp_path)
    if form == "csv":
        line = line.replace(
            'read_parquet("data/export/failures.parquet")', 'read_csv("data/export/failures.csv", parse_dates=["start"])'
        )
    found = eval(line.strip(), {"pd": pd})
    assert found.sum().to_dict() == {"auth.invalid_key": 2, "rate.requests": 1}
    assert list(found.index) == [("checkout", pd.Timestamp(START.date(), tz="UTC"))]


if __name__ == "__main__":
    print("\n".join(failure_rows()))
