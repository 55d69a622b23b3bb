"""One contract, every backend: a test that takes `url` or `store` runs on each of `BACKENDS`."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Engine

from monitor.store.engine import open_engine
from monitor.store.record import Writer
from tests.store.helpers import new_store, sqlite_url

BACKENDS = ("sqlite",)


@dataclass
class Store:
    """A store, as the poller has it and as a page has it."""

    url: str
    engine: Engine
    writer: Writer
    pages: Engine


@pytest.fixture(params=BACKENDS)
def url(tmp_path: Path) -> str:
    """Where an empty database may be made."""
    return sqlite_url(tmp_path / "monitor.db")


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """An empty store."""
    engine, writer = new_store(url)
    pages = open_engine(url, readonly=True)
    yield Store(url, engine, writer, pages)
    pages.dispose()
    engine.dispose()
