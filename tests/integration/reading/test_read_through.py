"""Reads that reach through to IB: what nobody has is looked up, asked for, and there when the read is answered."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.stack import ServiceStack, service_stack

ROOT = "/api/v1/market-data"


@pytest.fixture
def friday(servers: SimpleNamespace, dsn: str) -> Iterator[ServiceStack]:
    """A service stack on a Friday afternoon in New York; market time stands still until it is moved."""
    options = ("--latency", "none", "--clock", "stepped", "--start", "2026-03-06T20:30:30Z")
    with service_stack(servers.group, servers.folder, dsn, *options) as made:
        made.start_bridge()
        yield made


def requests(stack: ServiceStack) -> int:
    """How many historical requests the simulator has received, schedules included."""
    return len(stack.received("reqHistoricalData"))


def test_a_symbol_nobody_knows_is_there_at_first_sight(friday: ServiceStack) -> None:
    chart = {"symbol": "AAPL", "timeframe": "5m", "asset_class": "STK", "exchange": "NASDAQ", "currency": "USD"}
    first = friday.bars(**chart)
    assert first["coverage"]["complete"], first["coverage"]
    assert first["total"] == 4 * 78 + 72
    assert first["candles"][-1]["time"] == "20260306  20:25:00Z"
    spent = requests(friday)
    assert friday.bars(**chart)["candles"] == first["candles"]
    aggregated = friday.bars(**{**chart, "timeframe": "30m"}, start="2026-03-02T00:00:00Z")
    assert aggregated["source"] == "derived from 5m"
    assert aggregated["coverage"]["complete"]
    assert requests(friday) == spent


def test_over_a_weekend_reads_spend_nothing(friday: ServiceStack) -> None:
    chart = {"symbol": "AAPL", "timeframe": "1m", "wait": 5}
    assert friday.bars(**chart)["coverage"]["complete"]
    friday.advance(3600)
    evening = friday.bars(**chart)
    assert evening["total"] == 390
    assert evening["coverage"]["complete"], evening["coverage"]
    spent = requests(friday)
    for hours in (6, 24, 24, 8):  # until Monday, 08:30 UTC
        friday.advance(hours * 3600)
        later = friday.bars(**chart)
        assert later["candles"] == evening["candles"]
        assert later["coverage"]["complete"], later["coverage"]
    assert requests(friday) == spent
    friday.advance(6 * 3600)  # Monday, 14:30:30 UTC: an hour after the open, New York has summer time by now
    monday = friday.bars(**chart)
    assert monday["coverage"]["complete"], monday["coverage"]
    assert monday["candles"][0]["time"] == "20260309  13:30:00Z"
    assert requests(friday) > spent


def test_explain_names_the_request_that_brought_a_bar(friday: ServiceStack) -> None:
    bar = friday.bars(symbol="AAPL", timeframe="1h", wait=5)["candles"][-1]
    body = friday.client.get(
        f"{ROOT}/historical/explain", params={"symbol": "AAPL", "timeframe": "1h", "ts": bar["ts"]}
    ).json()
    assert body["bar"]["close"] == bar["close"]
    assert body["brought_by"]["outcome"] == "ok"
    assert body["chunks"][0]["requests"][0]["id"] == body["brought_by"]["id"]
    covered = friday.client.get(f"{ROOT}/historical/coverage", params={"symbol": "AAPL", "timeframe": "1h"}).json()
    assert covered["summary"]["complete"]
    assert covered["intervals"][0]["state"] == "filled"


def test_unknown_instruments_are_refused_in_ibs_words(friday: ServiceStack) -> None:
    answer = friday.client.get(f"{ROOT}/historical/bars", params={"symbol": "NOSUCH"})
    assert answer.status_code == 404
    assert answer.json()["upstream"]["code"] == 200


def search(stack: ServiceStack, path: str, **query: Any) -> list[dict[str, Any]]:
    answer = stack.client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["instruments"])


def test_searching_asks_ib_once_a_day(friday: ServiceStack) -> None:
    found = search(friday, f"{ROOT}/instruments/search", q="MSF")
    assert found[0]["symbol"] == "MSFT"
    assert found[0]["known"] is False
    matched = len(friday.received("reqMatchingSymbols"))
    assert matched == 1
    assert search(friday, f"{ROOT}/instruments/search", q="msf") == found
    assert len(friday.received("reqMatchingSymbols")) == matched
    # The web front end's words, with its parameters.
    body = search(friday, "/api/v1/ib/instruments/search/MSF", sec_type="STK", max_results=100)
    assert body[0]["contract_id"] == found[0]["con_id"]
    assert body[0]["sec_type"] == "STK"
    futures = search(friday, "/api/v1/ib/instruments/search/ES", sec_type="FUT", max_results=100)
    assert len(futures) > 1
    assert {row["sec_type"] for row in futures} == {"FUT"}
    pairs = search(friday, "/api/v1/ib/instruments/search/EURUSD", sec_type="CASH", max_results=100)
    assert pairs[0]["symbol"] == "EUR"
    sessions = friday.client.get(f"{ROOT}/calendar", params={"symbol": "EURUSD"}).json()
    assert sessions["known"] is None
    one = friday.client.get(f"{ROOT}/instruments/EUR/USD.IDEALPRO").json()
    assert one["asset_class"] == "CASH"
