"""The stream before a real bridge and a simulator, or before a database with one stock and a stand-in for the bridge."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from nautilus.db.connection import Database
from tests.support.live_stack import LiveStack, live_stack
from tests.support.order_ledger import ledger
from tests.support.stack import service_stack
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


@pytest.fixture
def both(
    request: pytest.FixtureRequest, servers: SimpleNamespace, dsn: str, redis_url: str, tmp_path: Path
) -> Iterator[tuple[LiveStack, StreamServer]]:
    """A simulator whose clock is moved by hand, from noon in New York on or from the parameter, and the stream over Redis. A test
    starts the bridge."""
    stepped = ("--clock", "stepped", "--latency", "none", "--start", getattr(request, "param", "2026-03-02T17:00:00Z"))
    with service_stack(servers.group, servers.folder, dsn, *stepped) as stack, live_stack(stack, redis_url) as live:
        made = StreamServer(dsn, tmp_path, redis_url=redis_url, stream_beat_ms=50)
        yield live, made
        made.stop()
