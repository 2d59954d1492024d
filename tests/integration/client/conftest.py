"""Stored bars behind a real socket, and a client of them."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from nautilus_client.client import Client
from nautilus_client.retry import RetryPolicy
from tests.support.client_server import served
from tests.support.markets import ns, nyse
from tests.support.stored_bars import StoredBars, stock

NOW = ns("2024-01-12 17:00", "America/New_York")


@pytest.fixture
def stored_bars(dsn: str) -> Iterator[StoredBars]:
    made = StoredBars(dsn, NOW)
    made.instrument(stock(), nyse(date(2023, 11, 1), 90))
    yield made
    made.close()


@pytest.fixture
def url(stored_bars: StoredBars, tmp_path: Path) -> Iterator[str]:
    with served(stored_bars.app(tmp_path)) as found:
        yield found


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Profiles, keys and kept bars of the tests alone."""
    for name in ("NAUTILUS_URL", "NAUTILUS_API_KEY", "NAUTILUS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NAUTILUS_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("NAUTILUS_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    """It tries once: a second try would wait the five seconds that the server names."""
    with Client(url, policy=RetryPolicy(tries=1)) as made:
        yield made
