"""One contract, every backend: a test that takes `url` or `store` runs on each of `BACKENDS`; what is about files says so."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Engine

from monitor.store.engine import open_engine
from monitor.store.record import Writer
from tests.postgres import Server, postgresql, server
from tests.store.helpers import new_store, sqlite_url

__all__ = ["postgresql", "server"]

BACKENDS = ("sqlite", "postgresql")
files_only = pytest.mark.parametrize("backend", ["sqlite"])
"""For what is about SQLite's files, or its plans."""


@dataclass
class Store:
    """A store, as the poller has it and as a page has it."""

    url: str
    engine: Engine
    writer: Writer
    pages: Engine


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """Where the test is to run."""
    return str(request.param)


@pytest.fixture
def url(backend: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """Where an empty database may be made."""
    return sqlite_url(tmp_path / "monitor.db") if backend == "sqlite" else str(request.getfixturevalue("postgresql"))


@pytest.fixture
def store(backend: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Store]:
    """An empty store."""
    if backend == "sqlite":
        yield from _store(sqlite_url(tmp_path / "monitor.db"))
        return
    running: Server = request.getfixturevalue("server")
    yield from _store(running.cleared())


def _store(url: str) -> Iterator[Store]:
    engine, writer = new_store(url)
    pages = open_engine(url, readonly=True)
    yield Store(url, engine, writer, pages)
    pages.dispose()
    engine.dispose()
