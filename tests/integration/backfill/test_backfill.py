"""Backfills through the whole service stack: HTTP, ledger, bridge, TWS protocol, bars in the database, HTTP."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from ib_gateway_sim.market.generated.market import Market
from nautilus.clock import NS_PER_S, parse_rfc3339, rfc3339
from nautilus.spans import Spans
from tests.support.stack import ServiceStack, service_stack

# A Wednesday afternoon in New York, the market open.
NOW = "2026-03-04T17:30:30Z"


def running(servers: SimpleNamespace, dsn: str, queue: Any, clock: str) -> Iterator[ServiceStack]:
    with service_stack(
        servers.group, servers.folder, dsn, "--latency", "none", "--clock", clock, "--start", NOW, queue=queue
    ) as made:
        made.start_bridge()
        yield made


@pytest.fixture
def stack(servers: SimpleNamespace, dsn: str, queue: SimpleNamespace) -> Iterator[ServiceStack]:
    """A service stack whose market time runs 20 times as fast."""
    yield from running(servers, dsn, queue, "rate:20")


@pytest.fixture
def stepped(servers: SimpleNamespace, dsn: str, queue: SimpleNamespace) -> Iterator[ServiceStack]:
    """A service stack whose market time stands still until it is moved."""
    yield from running(servers, dsn, queue, "stepped")


def stored(stack: ServiceStack, instrument_id: str, timeframe: str, price: str = "TRADES") -> list[Any]:
    table = {"1m": "bars_minute", "5m": "bars_minute", "1h": "bars_coarse", "1d": "bars_coarse", "30s": "bars_fine"}[
        timeframe
    ]
    return stack.rows(
        f"SELECT ts, open, high, low, close, volume, vwap, trades FROM {table} WHERE series_id ="
        " (SELECT s.id FROM series s JOIN instruments i USING (con_id) WHERE i.instrument_id = %s AND s.timeframe = %s"
        "  AND s.price = %s) ORDER BY ts",
        instrument_id,
        timeframe,
        price,
    )


def test_bars_nobody_has_arrive_and_are_served(stack: ServiceStack) -> None:
    job = stack.finished(
        stack.backfill(symbol="AAPL", timeframe="1m", start="2026-02-23T00:00:00Z", end="2026-03-04T00:00:00Z")
    )
    assert job["status"] == "succeeded"
    assert job["progress"]["bars_new"] == 7 * 390
    rows = stored(stack, "AAPL.NASDAQ", "1m")
    assert len(rows) == len({row.ts for row in rows}) == 7 * 390

    answer = stack.bars(symbol="AAPL", timeframe="1m", start="2026-03-03T14:30:00Z", end="2026-03-03T21:00:00Z")
    assert answer["total"] == 390
    assert answer["coverage"] == {"complete": True, "missing": []}
    assert answer["source"].startswith("sim:")
    first = answer["candles"][0]
    assert first["time"] == "20260303  14:30:00Z"
    assert [first[k] for k in ("ts", "open", "high", "low", "close", "volume")] == list(rows[6 * 390])[:6]


def test_asking_again_asks_ib_nothing(stack: ServiceStack) -> None:
    body = {"symbol": "AAPL", "timeframe": "1m", "start": "2026-03-02T00:00:00Z", "end": "2026-03-04T00:00:00Z"}
    stack.finished(stack.backfill(**body))
    requested = len(stack.rows("SELECT 1 FROM ib_requests"))
    answer = stack.client.post("/api/v1/ib/backfill", json=body)
    assert (answer.status_code, answer.json()["status"]) == (200, "complete")
    wider = stack.finished(stack.backfill(**(body | {"start": "2026-02-27T00:00:00Z"})))
    assert wider["progress"]["bars_new"] == 390
    assert wider["items"][0]["plan"]["requests"] == 1
    assert len(stack.rows("SELECT 1 FROM ib_requests WHERE kind = 'bars'")) == 2
    assert requested >= 3  # contract, schedule, bars


def test_a_bar_that_still_forms_is_never_stored(stepped: ServiceStack) -> None:
    now = stepped.market_ns()
    stepped.finished(stepped.backfill(symbol="AAPL", timeframe="1m", days_back=1))
    stepped.finished(stepped.backfill(symbol="AAPL", timeframe="1h", days_back=5))
    stepped.finished(stepped.backfill(symbol="AAPL", timeframe="1d", days_back=9))
    # 17:30:30: the bar of 17:29 closed 30 s ago; 17:30 forms.
    assert stored(stepped, "AAPL.NASDAQ", "1m")[-1].ts == parse_rfc3339("2026-03-04T17:29:00Z") < now
    assert stored(stepped, "AAPL.NASDAQ", "1h")[-1].ts == parse_rfc3339("2026-03-04T16:00:00Z")
    assert stored(stepped, "AAPL.NASDAQ", "1d")[-1].ts == parse_rfc3339("2026-03-03T00:00:00Z")
    answer = stepped.bars(symbol="AAPL", timeframe="1m", start="2026-03-04T17:25:00Z", end="2026-03-04T18:00:00Z")
    assert answer["candles"][-1]["time"] == "20260304  17:29:00Z"
    assert [m["state"] for m in answer["coverage"]["missing"]] == ["not_closed_yet"]

    stepped.advance(60)
    stepped.finished(stepped.backfill(symbol="AAPL", timeframe="1m", days_back=1))
    assert stored(stepped, "AAPL.NASDAQ", "1m")[-1].ts == parse_rfc3339("2026-03-04T17:30:00Z")


def test_readers_go_by_the_settle_times_of_the_bridge(stepped: ServiceStack) -> None:
    """Or they would ask each minute for bars that the bridge takes for unfinished."""
    stepped.stop_bridge()
    stepped.start_bridge(settle_intraday_s="150", settle_daily_s="86400")
    # 17:30:30: the bar of 17:26 closed 210 s ago, that of 17:27 only 150, which is long enough; 17:28 is not.
    minutes = {"symbol": "AAPL", "timeframe": "1m", "start": "2026-03-04T17:00:00Z", "end": "2026-03-04T17:30:00Z"}
    days = {"symbol": "AAPL", "timeframe": "1d", "start": "2026-03-02T00:00:00Z", "end": "2026-03-04T00:00:00Z"}
    for body, last, first_open in (
        (minutes, "2026-03-04T17:27:00Z", "2026-03-04T17:28:00Z"),
        (days, "2026-03-02T00:00:00Z", "2026-03-03T00:00:00Z"),
    ):
        stepped.finished(stepped.backfill(**body))
        assert stored(stepped, "AAPL.NASDAQ", body["timeframe"])[-1].ts == parse_rfc3339(last)
        requested = len(stepped.rows("SELECT 1 FROM backfill_jobs"))
        answer = stepped.bars(**body, wait=0)
        assert [(m["start"], m["state"]) for m in answer["coverage"]["missing"]] == [(first_open, "not_closed_yet")]
        assert answer["coverage"]["complete"]
        dry = stepped.client.post("/api/v1/ib/backfill", json=body | {"dry_run": True}).json()
        assert dry["requests"] == 0
        assert [gap["start"] for gap in dry["items"][0]["not_closed_yet"]] == [first_open]
        assert len(stepped.rows("SELECT 1 FROM backfill_jobs")) == requested


def test_the_bars_are_the_simulators_own_to_the_last_digit(stack: ServiceStack) -> None:
    span = ("2026-02-26T00:00:00Z", "2026-03-03T00:00:00Z")
    for body, name in (
        ({"symbol": "EUR/USD"}, "EUR/USD.IDEALPRO"),
        ({"symbol": "ES", "asset_class": "FUT", "exchange": "GLOBEX"}, None),
        ({"symbol": "SPX", "asset_class": "IND"}, "SPX.CBOE"),
    ):
        job = stack.finished(stack.backfill(**body, timeframe="5m", start=span[0], end=span[1]))
        assert job["status"] == "succeeded", job
        found = job["items"][0]["instrument_id"]
        assert name in (None, found)
        price = job["items"][0]["price"]
        first, last = (parse_rfc3339(text) for text in span)
        # IB's answers may reach back further than asked; what they bring is kept.
        rows = [row for row in stored(stack, found, "5m", price) if first <= row.ts < last]
        contract_id = stack.rows("SELECT con_id FROM instruments WHERE instrument_id = %s", found)[0].con_id
        own = own_bars(stack, contract_id, price, *span, rth=job["items"][0]["session"] == "rth")
        assert len(rows) > 100
        assert [tuple(r)[:5] for r in rows] == [(b.t * NS_PER_S, b.open, b.high, b.low, b.close) for b in own]
        if price == "MIDPOINT":
            assert {(r.volume, r.vwap, r.trades) for r in rows} == {(None, None, None)}


def own_bars(
    stack: ServiceStack, con_id: int, what: str, start: str, end: str, *, rth: bool, size: str = "5m"
) -> list[Any]:
    """The simulator's bars, straight from its market, without any protocol between."""
    from ib_gateway_sim.market.contracts import ContractQuery

    market = Market(int(stack.sim.ready["account"].removeprefix("SIM")))
    now = stack.market_ns() / NS_PER_S
    (contract,) = market.find(ContractQuery(con_id=con_id), now)
    first, last = (parse_rfc3339(text) // NS_PER_S for text in (start, end))
    return list(market.bars(contract, size, what, rth=rth, start_s=first, end_s=last, now_s=now))


def test_what_cannot_be_is_said_with_its_reason(stack: ServiceStack) -> None:
    job = stack.finished(stack.backfill(symbol="NOSUCH", timeframe="1m", days_back=3))
    assert job["status"] == "failed"
    assert job["errors"][0]["code"] == "unknown-instrument"
    assert job["errors"][0]["upstream"]["code"] == 200
    old = stack.finished(
        stack.backfill(symbol="AAPL", timeframe="30s", start="2025-06-02T00:00:00Z", end="2025-06-03T00:00:00Z")
    )
    assert old["status"] in ("failed", "partial")
    assert old["items"][0]["plan"]["unavailable"][0]["reason"] == "older_than_six_months"
    assert old["progress"]["requests_sent"] == 0


def test_a_read_of_bars_nobody_has_fills_them_and_waits(stack: ServiceStack) -> None:
    answer = stack.bars(symbol="MSFT", timeframe="5m")
    assert answer["total"] > 0
    assert answer["coverage"]["complete"]
    assert answer["job_id"]
    again = stack.bars(symbol="MSFT", timeframe="5m")
    assert again["candles"] == answer["candles"]


def test_stopping_takes_no_time_counts_right_and_leaves_the_rest_for_later(stepped: ServiceStack) -> None:
    """Market time stands still from the stop to the end, and nothing is asked of IB any more."""
    stack = stepped
    stack.finished(
        stack.backfill(symbol="AAPL", timeframe="1d", start="2026-01-02T00:00:00Z", end="2026-03-04T00:00:00Z")
    )
    body = {"symbol": "AAPL", "timeframe": "1m", "start": "2026-01-05T00:00:00Z", "end": "2026-03-04T00:00:00Z"}
    stack.sim.command("forget")
    stack.sim.command("latency 5000")
    job_id = stack.backfill(**body)

    def progress() -> dict[str, int]:
        return dict(stack.job(job_id)["progress"])

    def under_way() -> int:
        now = progress()
        return now["requests_sent"] - now["chunks_done"]

    def let_one_be_answered() -> None:
        before = progress()["chunks_done"]
        stack.advance(5)
        stack.wait(lambda: progress()["chunks_done"] > before and under_way() > 0, "it is answered, the next is open")

    stack.wait(lambda: under_way() > 0, "a request is open")
    while under_way() < 2:  # the bridge begins with one at a time
        let_one_be_answered()

    answered, stopped_at = progress()["chunks_done"], stack.market_ns()
    answer = stack.client.post("/api/v1/historical/backfill/stop", json={"job_id": job_id})
    assert answer.status_code == 200
    job = stack.finished(job_id)
    assert stack.market_ns() == stopped_at
    assert job["status"] == "stopped"
    cancelled = counted(stack, job, answered)
    there = stored(stack, "AAPL.NASDAQ", "1m")
    assert job["progress"]["bars_new"] == len(there)
    again = stack.client.post("/api/v1/historical/backfill/stop", json={"job_id": job_id}).json()
    assert again["jobs"][0]["status"] == "stopped"

    stack.sim.command("latency none")
    after = stack.backfill(**body)

    def ended() -> bool:
        stack.sim.command("advance 3")  # five in two seconds, says IB
        return bool(stack.job(after)["finished_at"])

    stack.wait(ended, "the rest comes", 60)
    resumed = stack.client.get(f"/api/v1/historical/backfill/{after}/chunks").json()["chunks"]
    # Only what is missing; stretches next to each other that were two requests may be one now.
    assert stack.job(after)["status"] == "succeeded"
    assert spans(resumed) == spans(cancelled)
    assert len(stored(stack, "AAPL.NASDAQ", "1m")) - len(there) == stack.job(after)["progress"]["bars_new"]
    assert stack.rows("SELECT 1 FROM bar_revisions") == []


def counted(stack: ServiceStack, job: dict[str, Any], answered: int) -> list[dict[str, Any]]:
    """The cancelled chunks of a stopped job, after its counters were held against what was asked of the simulator."""
    job_id = job["job_id"]
    requested = stack.rows(
        "SELECT id FROM ib_requests WHERE kind = 'bars' AND chunk_id IN (SELECT chunk_id FROM job_chunks WHERE job_id = %s)",
        job_id,
    )
    chunks = stack.client.get(f"/api/v1/historical/backfill/{job_id}/chunks").json()["chunks"]
    done = [c for c in chunks if c["state"] == "done"]
    cancelled = [c for c in chunks if c["state"] == "cancelled"]
    outcomes = [r["outcome"] for c in chunks for r in c["requests"]]
    assert len(done) + len(cancelled) == len(chunks) == job["progress"]["chunks_total"]
    assert len(done) == job["progress"]["chunks_done"] == answered
    assert sorted(outcomes) == ["cancelled"] * (len(requested) - answered) + ["ok"] * answered
    assert len(outcomes) == len(requested) == job["progress"]["requests_sent"]
    received = [entry for entry in stack.received("reqHistoricalData") if entry["fields"]["barSize"] == "1 min"]
    assert len(received) == len(requested)
    assert len(stack.received("cancelHistoricalData")) == len(requested) - answered
    assert job["progress"]["bars_new"] == sum(c["bars"] for c in done)
    return cancelled


def spans(chunks: list[dict[str, Any]]) -> Spans:
    return Spans((parse_rfc3339(c["start"]), parse_rfc3339(c["end"])) for c in chunks)


def test_while_an_answer_is_stored_the_next_is_fetched_but_no_more_than_that(
    servers: SimpleNamespace, dsn: str
) -> None:
    with service_stack(servers.group, servers.folder, dsn, "--clock", "rate:20", "--start", NOW) as stack:
        stack.start_bridge(max_open_requests="1")
        stack.finished(stack.backfill(symbol="AAPL", timeframe="1d", start="2026-02-02T00:00:00Z"))

        def requests() -> int:
            return sum(one["fields"]["barSize"] == "1 min" for one in stack.received("reqHistoricalData"))

        with stack.db.transaction() as cursor:
            cursor.execute("LOCK TABLE bars_minute IN EXCLUSIVE MODE")
            job = stack.backfill(symbol="AAPL", timeframe="1m", start="2026-01-05T00:00:00Z")
            stack.wait(lambda: requests() == 2, "a second request leaves")
            seen = stack.market_ns()
            stack.wait(lambda: stack.market_ns() > seen + 30 * NS_PER_S, "half a minute of market time")
            stack.wait(
                lambda: stack.session()["activity"]["open_requests"] == 0, "the heartbeat says that none is open"
            )
            assert requests() == 2
        assert stack.finished(job)["status"] == "succeeded"


def test_a_request_that_leaves_late_counts_from_when_it_left(stepped: ServiceStack) -> None:
    """Else the sixth of two seconds would be booked by times that were not true."""
    stack = stepped
    stack.finished(stack.backfill(symbol="AAPL", timeframe="1d", start="2026-02-02T00:00:00Z"))
    with stack.db.transaction() as cursor:
        cursor.execute(
            "CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS"
            " 'BEGIN PERFORM pg_advisory_xact_lock(4711); RETURN NULL; END';"
            " CREATE CONSTRAINT TRIGGER hold AFTER INSERT ON ib_requests DEFERRABLE INITIALLY DEFERRED"
            " FOR EACH ROW EXECUTE FUNCTION hold()"
        )
    with stack.db.transaction() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(4711)")
        job = stack.backfill(symbol="AAPL", timeframe="1m", start="2026-03-02T00:00:00Z")
        waiting = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = 4711"
        stack.wait(lambda: stack.rows(waiting), "the booking is being committed")
        stack.advance(3)
        left = stack.market_ns()
    stack.finished(job)
    (row,) = stack.rows(
        "SELECT sent_at FROM ib_requests WHERE kind = 'bars' AND chunk_id IN (SELECT max(id) FROM backfill_chunks)"
    )
    assert row.sent_at == left


def test_a_head_is_asked_for_once_whatever_the_timeframes(stack: ServiceStack) -> None:
    """Heads count against 60 requests in ten minutes."""
    stack.finished(stack.backfill(symbol="NEWCO", timeframes=["1d", "1h"], start="2024-01-02T00:00:00Z"))
    assert len(stack.received("reqHeadTimestamp")) == 1
    heads = stack.rows("SELECT head_ts FROM series")
    assert {rfc3339(row.head_ts)[:10] for row in heads} == {"2025-09-15"}


def test_without_a_control_port_market_time_is_what_the_gateway_says(servers: SimpleNamespace, dsn: str) -> None:
    """As with a real gateway: its clock is asked by the protocol, here one that stands days in the past."""
    with service_stack(
        servers.group, servers.folder, dsn, "--latency", "none", "--clock", "real", "--start", NOW
    ) as made:
        made.start_bridge(control_port="0")
        body, now = parse_rfc3339(made.session()["market_time"]), made.market_ns()
        assert abs(body - now) < 3 * NS_PER_S
        job = made.finished(made.backfill(symbol="AAPL", timeframe="1m", days_back=2))
        assert job["status"] == "succeeded"
        assert stored(made, "AAPL.NASDAQ", "1m")[-1].ts >= parse_rfc3339("2026-03-04T17:29:00Z")


def test_no_order_message_ever_crosses_the_wire(stack: ServiceStack) -> None:
    stack.finished(stack.backfill(symbol="AAPL", timeframe="1d", days_back=30))
    kinds = {entry["kind"] for entry in stack.sim.command("received")["received"]}
    orders = {"placeOrder", "cancelOrder", "reqGlobalCancel", "reqOpenOrders", "reqAllOpenOrders", "reqAutoOpenOrders"}
    assert "startApi" in kinds
    assert not kinds & (orders | {"reqCompletedOrders", "exerciseOptions"})
