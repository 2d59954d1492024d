"""Bad input gets a clear answer that names the field and what is allowed, and nothing is written."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.stack import ServiceStack, service_stack

BARS = "/api/v1/market-data/historical/bars"
BACKFILL = "/api/v1/ib/backfill"
STOP = "/api/v1/historical/backfill/stop"


@pytest.fixture
def idle(servers: SimpleNamespace, dsn: str) -> Iterator[ServiceStack]:
    """An API whose bridge never came."""
    with service_stack(servers.group, servers.folder, dsn, settings={"NAUTILUS_SEARCH_WAIT_S": "0.1"}) as made:
        yield made


WRONG: list[tuple[str, dict[str, Any], str, str]] = [
    (BARS, {"symbol": "AAPL", "timeframe": "7m"}, "timeframe", "1m"),
    (BARS, {"symbol": "AAPL", "start": "2026-01-05T10:00:00"}, "start", "Z"),
    (BARS, {"symbol": "AAPL", "start": "yesterday"}, "start", "2024-01-05T14:30:00Z"),
    (BARS, {"symbol": "AAPL", "start": "2026-01-06T00:00:00Z", "end": "2026-01-05T00:00:00Z"}, "start", "before end"),
    (BARS, {"symbol": "AAPL", "limit": "0"}, "limit", "1"),
    (BARS, {"symbol": "AAPL", "limit": "50001"}, "limit", "50000"),
    (BARS, {"symbol": "AAPL", "fields": "open,colour"}, "fields", "vwap"),
    (BARS, {}, "symbol", "instrument_id"),
    (BARS, {"symbol": "AAPL", "instrument_id": "AAPL.NASDAQ"}, "symbol", "instrument_id"),
    (BARS, {"symbol": "AAPL", "asset_class": "SHARE"}, "asset_class", "STK"),
    (BARS, {"symbol": "AA'PL; DROP TABLE series"}, "symbol", "letters"),
    (BARS, {"instrument_id": "AAPL"}, "instrument_id", "AAPL.NASDAQ"),
    (BACKFILL, {"symbol": "AAPL", "timeframe": "7m"}, "timeframe", "1m"),
    (BACKFILL, {"symbol": "AAPL", "timeframe": "1m", "start": "2026-01-05 10:00:00"}, "start", "offset"),
    (BACKFILL, {"symbol": "AAPL", "timeframe": "1m", "start": "2200-01-01T00:00:00Z"}, "start", "future"),
    (
        BACKFILL,
        {"symbol": "AAPL", "timeframe": "1m", "start": "2026-01-06T00:00:00Z", "end": "2026-01-05T00:00:00Z"},
        "body",
        "before end",
    ),
    (BACKFILL, {"symbol": "AAPL", "timeframe": "1m", "duration": "a while"}, "duration", "30 D"),
    (
        BACKFILL,
        {"symbol": "AAPL", "timeframe": "1m", "start": "2026-01-05T00:00:00Z", "days_back": 3},
        "body",
        "days_back",
    ),
    (BACKFILL, {"symbol": "AAPL", "timeframe": "1m", "priority": 10}, "priority", "9"),
    (BACKFILL, {"symbol": "AAPL", "timeframe": "1m", "mode": "gently"}, "mode", "missing"),
    (BACKFILL, {"symbol": "AAPL", "timeframe": "1m", "colour": "red"}, "colour", "not a field"),
    (BACKFILL, {"symbol": "EUR/USD", "timeframe": "1m", "price": "TRADES"}, "price", "MIDPOINT"),
    (BACKFILL, {"symbol": "AAPL", "timeframe": "1m", "session": "night"}, "session", "rth"),
    (BACKFILL, {"timeframe": "1m"}, "symbol", "symbols"),
    (STOP, {"job_id": "the last one"}, "job_id", "job"),
    (STOP, {"job_id": ""}, "job_id", "job"),
]


def test_each_wrong_input_is_answered_with_its_field_and_what_is_allowed(idle: ServiceStack) -> None:
    for path, values, field, hint in WRONG:
        answer = idle.client.get(path, params=values) if path == BARS else idle.client.post(path, json=values)
        body = answer.json()
        assert answer.status_code == 422, (path, values, body)
        assert answer.headers["content-type"] == "application/problem+json"
        assert isinstance(body["detail"], str)
        assert body["errors"][0]["field"] == field, (values, body)
        assert hint in answer.text, (values, body)
        assert body["request_id"] == answer.headers["x-request-id"]
    assert idle.rows("SELECT 1 FROM backfill_jobs") == []
    assert idle.rows("SELECT 1 FROM bridge_commands") == []


def test_a_body_that_is_not_json_is_said_to_be_none(idle: ServiceStack) -> None:
    answer = idle.client.post(BACKFILL, content=b"{symbol: AAPL", headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "body"
    assert "is not JSON" in answer.json()["detail"]
    answer = idle.client.post(STOP, content=b"not json", headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "job_id")


def test_what_does_not_exist_is_not_found(idle: ServiceStack) -> None:
    for path in ("/api/v1/nothing", f"/api/v1/historical/backfill/{'0' * 8}-0000-0000-0000-{'0' * 12}"):
        answer = idle.client.get(path)
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"
    assert idle.client.delete(BARS).status_code == 405


def test_an_instrument_that_nobody_could_look_up_in_time_is_503_with_retry_after(idle: ServiceStack) -> None:
    answer = idle.client.get(BARS, params={"symbol": "AAPL"})
    assert (answer.status_code, answer.json()["code"]) == (503, "instrument-not-resolved")
    assert int(answer.headers["retry-after"]) > 0


def test_without_credentials_nothing_is_told(idle: ServiceStack) -> None:
    headers = {"authorization": ""}
    for path in (BARS, "/api/v1/historical/backfill/status", "/api/v1/ib/session", "/api/v1/auth/me"):
        answer = idle.client.get(path, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
    assert idle.client.get("/health", headers=headers).json() == {"status": "degraded"}
    checks = idle.client.get("/health").json()["checks"]
    assert checks["ib"]["status"] == "down"
    assert checks["database"]["storage"].startswith(
        ("plain PostgreSQL: bars are not stored by column", "TimescaleDB 2.")
    )


def test_an_unknown_symbol_is_404_with_the_words_of_ib(servers: SimpleNamespace, dsn: str) -> None:
    with service_stack(servers.group, servers.folder, dsn, "--latency", "none") as stack:
        stack.start_bridge()
        answer = stack.client.get(BARS, params={"symbol": "NOSUCH"})
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown-instrument")
        assert answer.json()["upstream"]["code"] == 200
        requested = len(stack.rows("SELECT 1 FROM ib_requests"))
        assert stack.client.get(BARS, params={"symbol": "NOSUCH"}).status_code == 404
        assert len(stack.rows("SELECT 1 FROM ib_requests")) == requested  # believed for an hour
        answer = stack.client.get(BARS, params={"symbol": "AAPL", "start": "2200-01-01T00:00:00Z"})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "start")
