"""Files of real one-minute bars, replayed through the whole system: every bar in the database is the file's, and back."""

import csv
import gzip
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.stack import ServiceStack, service_stack

DATA = Path(__file__).parents[3] / "shared" / "data"
FILES = {
    "6EH4.XCME_1min_bars_20240101_20240131.csv.gz": ("6EH4", "close", "TRADES"),
    "gbpusd-m1-bid-2012.csv.gz": ("GBP/USD", "open", "BID"),
}


def bars_of(file: Path, stamp: str) -> list[tuple[float | int | None, ...]]:
    """(ts of the open, open, high, low, close, volume or None) of every row, read without the simulator's help."""
    shift = timedelta(seconds=60 if stamp == "close" else 0)
    rows = []
    with gzip.open(file, "rt", newline="") as text:
        for row in csv.DictReader(text):
            when = datetime.fromisoformat(row.get("timestamp_utc") or row["timestamp"])
            when = when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
            ts = int((when - shift).timestamp()) * 1_000_000_000
            volume = float(row["volume"]) if row.get("volume") else None
            rows.append((ts, *(float(row[name]) for name in ("open", "high", "low", "close")), volume))
    return sorted(rows)


@pytest.fixture(params=FILES)
def replay(request: pytest.FixtureRequest, servers: SimpleNamespace, dsn: str) -> Iterator[tuple[ServiceStack, Path]]:
    file = DATA / request.param
    if not file.exists():
        pytest.skip(f"the file of real bars {file.name} is not beside this checkout")
    symbol, stamp, price = FILES[request.param]
    options = ["--latency", "none", "--replay", str(file), "--replay-symbol", symbol, "--stamp", stamp]
    options += ["--replay-price", price] if price != "TRADES" else []
    with service_stack(servers.group, servers.folder, dsn, *options) as stack:
        stack.start_bridge(source_replay=file.name.split(".")[0])
        yield stack, file


def test_every_bar_of_the_file_is_in_the_database_once_and_no_other(replay: tuple[ServiceStack, Path]) -> None:
    stack, file = replay
    symbol, stamp, price = FILES[file.name]
    own = bars_of(file, stamp)
    start = datetime.fromtimestamp(own[0][0] // 10**9, UTC) - timedelta(days=1)  # type: ignore[operator]
    job = stack.finished(
        stack.backfill(
            symbol=symbol,
            timeframe="1m",
            price=price,
            start=start.isoformat(),
            **({"asset_class": "FUT"} if symbol == "6EH4" else {}),
        )
    )
    there = stack.rows("SELECT ts, open, high, low, close, volume FROM bars_minute ORDER BY ts")
    assert len(there) == len(own) > 29_000
    assert [tuple(row) for row in there] == own
    assert job["progress"]["bars_new"] == len(own)
    assert stack.session()["source"].startswith("replay:")
