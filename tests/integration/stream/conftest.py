"""A database with one stock, the stand-in for the bridge, and the stream before them."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from nautilus.db.connection import Database
from tests.support.order_ledger import ledger
from tests.support.stored_bars import StoredBars
from tests.support.stream_server import MINUTE, OPEN, Publishing, StreamServer


@pytest.fixture
def database(dsn: str) -> Iterator[Database]:
    """A ledger of two accounts."""
    with ledger(dsn, "SIM1", "SIM2") as made:
        yield made


@pytest.fixture
def stored(dsn: str) -> Iterator[StoredBars]:
    with closing(StoredBars(dsn, OPEN + 120 * MINUTE)) as made:
        yield made


@pytest.fixture
def bridge(stored: StoredBars) -> Iterator[Publishing]:
    """Over notifications of the database."""
    with closing(Publishing(stored)) as made:
        yield made


@pytest.fixture
def running(bridge: Publishing, tmp_path: Path) -> Iterator[StreamServer]:
    """The stream without Redis."""
    made = StreamServer(bridge.stored.dsn, tmp_path)
    yield made
    made.stop()
