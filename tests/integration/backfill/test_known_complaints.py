"""What users of other systems lost bars by, done here: empty days, holes, refusals of yesterday, continuous futures.

docs/backfill.md has the whole list, with the test that holds each point.
"""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from nautilus.clock import NS_PER_S, parse_rfc3339
from tests.conftest import Server, database
from tests.support.stack import ServiceStack, service_stack

START = "2026-03-04T17:30:30Z"


@pytest.fixture(scope="module")
def stack(servers: SimpleNamespace, server: Server, template: str) -> Iterator[ServiceStack]:
    """One service stack for all: each test has an instrument of its own. A request of minutes is a day."""
    options = ("--latency", "none", "--clock", "rate:20", "--start", START)
    with database(server, template) as dsn, service_stack(servers.group, servers.folder, dsn, *options) as made:
        made.start_bridge(chunk_spans="1m=86400")
        yield made


def body_of(symbol: str, first: str, last: str, **more: Any) -> dict[str, Any]:
    return {"symbol": symbol, "timeframe": "1m", "start": f"{first}T00:00:00Z", "end": f"{last}T00:00:00Z"} | more


def requested_ends(stack: ServiceStack, symbol: str) -> list[str]:
    """The days of the requests for bars of a symbol, in order, as IB received them."""
    entries = [entry["fields"] for entry in stack.received("reqHistoricalData")]
    return [f["endDateTime"][:8] for f in entries if f["symbol"] == symbol and f["whatToShow"] != "SCHEDULE"]


def test_an_empty_day_is_stepped_over_and_confirmed(stack: ServiceStack) -> None:
    """Who takes the first empty answer for the end of history loses all that is older."""
    week = body_of("HALT", "2025-09-08", "2025-09-13")  # halted on Wednesday, the 10th
    job = stack.finished(stack.backfill(**week))
    assert job["status"] == "partial"
    answer = stack.bars(**week, limit=5000, wait=0)
    assert answer["total"] == 4 * 390
    assert [(m["state"], m["reason"], m["start"][:10]) for m in answer["coverage"]["missing"]] == [
        ("empty_unconfirmed", "no_data", "2025-09-10")
    ]
    stack.sim.command("advance 1000")
    stack.wait(lambda: stack.bars(**week, limit=5000, wait=0)["coverage"]["complete"], "the second answer proves it")
    assert requested_ends(stack, "HALT").count("20250910") == 2
    explained = stack.client.get(
        "/api/v1/market-data/historical/explain",
        params={"symbol": "HALT", "timeframe": "1m", "ts": "2025-09-10T15:00:00Z"},
    )
    assert explained.status_code == 200, explained.text
    assert "empty" in explained.text


def test_holes_are_filled_from_both_sides(stack: ServiceStack) -> None:
    for day, after in (("2026-02-03", "2026-02-04"), ("2026-02-06", "2026-02-07")):
        stack.finished(stack.backfill(**body_of("MSFT", day, after)))
    whole = body_of("MSFT", "2026-02-02", "2026-02-10")
    job = stack.finished(stack.backfill(**whole))
    assert job["status"] == "succeeded"
    assert sorted(requested_ends(stack, "MSFT")[2:]) == ["20260202", "20260204", "20260205", "20260209"]
    answer = stack.bars(**whole, limit=5000, wait=0)
    assert (answer["total"], answer["coverage"]["complete"]) == (6 * 390, True)


def test_a_refusal_is_believed_for_a_day_and_no_longer(stack: ServiceStack) -> None:
    day = body_of("TLT", "2026-02-03", "2026-02-04")
    # Its exchange's sessions are known then, and IB's refusal meets the bars.
    stack.finished(stack.backfill(**body_of("QQQ", "2026-01-28", "2026-02-10")))
    stack.sim.command("history_error no_permission 1")
    assert stack.finished(stack.backfill(**day))["status"] == "failed"
    assert stack.finished(stack.backfill(**day))["status"] == "partial"
    assert len(requested_ends(stack, "TLT")) == 1, "IB has said no"
    stack.advance(86_400)
    assert stack.finished(stack.backfill(**day))["status"] == "succeeded"
    assert stack.bars(**day, wait=0)["coverage"]["complete"]


def test_a_future_is_its_front_contract_and_one_that_expired_is_still_served(stack: ServiceStack) -> None:
    """A continuous future takes no end and changes under one's feet: it only tells which month is the front."""
    front = stack.finished(stack.backfill(symbol="NQ", asset_class="FUT", timeframe="1h", days_back=3))
    assert front["status"] == "succeeded"
    assert front["items"][0]["instrument_id"] == "NQH6.CME"
    old = {
        "instrument_id": "NQZ5.CME",
        "timeframe": "1h",
        "start": "2025-12-15T00:00:00Z",
        "end": "2025-12-20T00:00:00Z",
    }
    job = stack.finished(stack.backfill(**old))
    assert job["status"] == "succeeded"
    assert job["progress"]["bars_new"] > 60
    kinds = {entry["fields"]["secType"] for entry in stack.received("reqHistoricalData")}
    assert "FUT" in kinds
    assert "CONTFUT" not in kinds
    assert "CONTFUT" in {entry["fields"]["secType"] for entry in stack.received("reqContractDetails")}


def test_minutes_are_older_than_six_months_and_half_minutes_are_not(stack: ServiceStack) -> None:
    """The six months are for bars of 30 seconds and less; who applies them to all cuts a year of minutes to a half."""
    minutes = body_of("SPY", "2025-03-04", "2025-03-05")
    assert stack.finished(stack.backfill(**minutes))["status"] == "succeeded"
    assert stack.bars(**minutes, wait=0)["total"] == 390
    halves = stack.finished(stack.backfill(**minutes | {"timeframe": "30s"}))
    assert halves["items"][0]["plan"]["unavailable"][0]["reason"] == "older_than_six_months"
    assert halves["progress"]["requests_sent"] == 0


def test_a_day_in_summer_time_ends_where_it_ends_in_new_york(stack: ServiceStack) -> None:
    """All times are UTC inside; on 9 March 2025 the clocks of New York change, and the bars move with them."""
    days = body_of("QQQ", "2025-03-07", "2025-03-11")
    stack.finished(stack.backfill(**days))
    stamps = [candle["ts"] for candle in stack.bars(**days, limit=5000, wait=0)["candles"]]
    friday, monday = (parse_rfc3339(text) for text in ("2025-03-07T14:30:00Z", "2025-03-10T13:30:00Z"))
    assert stamps == [
        *range(friday, friday + 390 * 60 * NS_PER_S, 60 * NS_PER_S),
        *range(monday, monday + 390 * 60 * NS_PER_S, 60 * NS_PER_S),
    ]
    naive = stack.client.post("/api/v1/ib/backfill", json=days | {"start": "2025-03-07T00:00:00"})
    assert naive.status_code == 422
