"""Reads at the edge of what is known of a market's sessions: none says that it is complete before the calendar was extended."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from nautilus.clock import NS_PER_DAY, NS_PER_S, parse_rfc3339, rfc3339
from tests.conftest import Server, database
from tests.support.stack import ServiceStack, service_stack

START = "2026-02-24T22:30:00Z"
"""A Tuesday, in the hour between two sessions of ES. What is known of its sessions ends with the open at 23:00."""
SERIES = (
    # What is read, and the bar that has closed since: whoever reads nothing meanwhile must not miss it.
    ("2026-02-25T12:00:00Z", "2026-02-24", {"symbol": "ES", "asset_class": "FUT", "timeframe": "1d"}),
    ("2026-02-26T02:00:00Z", "2026-02-25", {"symbol": "AAPL", "timeframe": "1d"}),
    ("2026-02-27T21:30:00Z", "2026-02-01", {"symbol": "MSFT", "timeframe": "1M"}),
    ("2026-02-28T12:00:00Z", "2026-02-23", {"symbol": "EUR/USD", "timeframe": "1w"}),
    ("2026-03-01T23:30:00Z", "2026-02-23", {"symbol": "ES", "asset_class": "FUT", "timeframe": "1w"}),
)


@pytest.fixture(scope="module")
def stack(servers: SimpleNamespace, server: Server, template: str) -> Iterator[ServiceStack]:
    options = ("--latency", "none", "--clock", "stepped", "--start", START)
    with database(server, template) as dsn, service_stack(servers.group, servers.folder, dsn, *options) as made:
        made.start_bridge()
        yield made


def read(stack: ServiceStack, series: dict[str, Any], wait: int = 0) -> tuple[bool, list[int]]:
    answer = stack.bars(**series, start="2026-01-05T00:00:00Z", wait=wait)
    return answer["coverage"]["complete"], [candle["ts"] for candle in answer["candles"]]


def complete(stack: ServiceStack, series: dict[str, Any]) -> list[int]:
    """The stamps, once the answer says that it is complete."""
    stack.wait(lambda: read(stack, series, wait=5)[0], f"{series} is complete")
    return read(stack, series)[1]


def test_a_read_says_complete_only_with_the_newest_closed_bar(stack: ServiceStack) -> None:
    for _, label, series in SERIES:
        assert parse_rfc3339(f"{label}T00:00:00Z") not in complete(stack, series), "not closed yet"
    for moment, label, series in SERIES:
        stack.advance((parse_rfc3339(moment) - stack.market_ns()) / NS_PER_S)
        newest = parse_rfc3339(f"{label}T00:00:00Z")
        at_once, stamps = read(stack, series)
        assert not at_once or newest in stamps, f"{series} at {moment}: complete without {label}"
        assert complete(stack, series)[-1] == newest


def test_a_window_beyond_the_known_sessions_is_not_called_complete(stack: ServiceStack) -> None:
    """The label of a day of which nobody knows the sessions is no day without trading."""
    series = {"symbol": "IWM", "timeframe": "1d"}
    complete(stack, series)
    day = stack.market_ns() // NS_PER_DAY * NS_PER_DAY + NS_PER_DAY  # its open is known, and no more
    stack.advance(3 * 86_400)
    window = {"start": rfc3339(day), "end": rfc3339(day + NS_PER_DAY)}
    first = stack.bars(**series, **window, wait=0)
    states = [gap["state"] for gap in first["coverage"]["missing"]]
    assert not first["coverage"]["complete"]
    assert set(states) <= {"not_asked", "queued"}
    stack.wait(lambda: stack.bars(**series, **window, wait=5)["coverage"]["complete"], "it is complete")
    assert [candle["ts"] for candle in stack.bars(**series, **window)["candles"]] == [day]
