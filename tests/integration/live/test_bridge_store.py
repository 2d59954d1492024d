"""Live data while the database, the bus or a listener goes away: what is newest is kept, and nobody is left with old words."""

import time
from collections.abc import Iterator
from contextlib import closing
from types import SimpleNamespace

import pytest
import redis

from nautilus.clock import rfc3339
from nautilus.db.live import provisional, wants
from tests.integration.live.test_bridge_bars import AAPL_1M, NOON, final, run
from tests.support.live_stack import LiveStack, live_stack
from tests.support.markets import MINUTE
from tests.support.stack import service_stack

STEPPED = ("--clock", "stepped", "--latency", "none", "--start", "2026-03-02T17:00:00Z")


@pytest.fixture
def live(servers: SimpleNamespace, dsn: str) -> Iterator[LiveStack]:
    with service_stack(servers.group, servers.folder, dsn, *STEPPED) as stack, live_stack(stack) as made:
        yield made


@pytest.fixture
def over_redis(servers: SimpleNamespace, dsn: str, redis_url: str) -> Iterator[LiveStack]:
    with service_stack(servers.group, servers.folder, dsn, *STEPPED) as stack, live_stack(stack, redis_url) as made:
        yield made


def test_what_a_stream_process_wanted_ends_with_its_lease_and_others_go_on(live: LiveStack) -> None:
    live.start_bridge(live_linger_s="0")
    live.want("stream:1", [live.bars("AAPL"), live.bars("AAPL", "5m"), live.quotes("MSFT")], lease_s=3)
    live.want("user:1", [live.bars("AAPL", "15m")])
    live.wait_state("AAPL", "live")
    live.wait_state("MSFT", "live")
    kept = [row for row in live.received("reqHistoricalData") if row["fields"]["keepUpToDate"]]
    assert len(kept) == 1, "three want its bars: one request"
    live.wait(lambda: live.received("cancelMktData"), "what only that process wanted is cancelled")
    live.wait(lambda: [row.kind for row in live.streams()] == ["bars:1m"], "the other stream goes on", 30, live.streams)
    with live.stack.db.transaction() as cursor:
        assert [want.owner for want in wants.current(cursor)] == ["user:1"]
    assert live.received("cancelHistoricalData") == []


def test_provisional_bars_are_stored_until_history_has_answered_and_again_when_the_table_was_emptied(
    live: LiveStack,
) -> None:
    live.start_bridge(settle_intraday_s="300")
    live.want("user:1", [live.bars("AAPL")])
    live.wait_state("AAPL", "live")
    run(live, 200)

    def stored() -> list[str]:
        return [row.state for row in live.rows("SELECT state FROM live_bars ORDER BY ts")]

    live.wait(lambda: stored() == ["closed"] * 3 + ["forming"], "three closed bars and one that forms", 30, stored)
    # What a crash of the server does to an unlogged table.
    live.rows("WITH a AS (DELETE FROM live_bars), b AS (DELETE FROM live_bars_marker) SELECT 1")
    live.advance(5)
    live.wait(lambda: stored() == ["closed"] * 3 + ["forming"], "they are written again", 30, stored)
    with live.stack.db.transaction() as cursor:
        assert provisional.is_whole(cursor)
    live.wait(lambda: [m["reason"] for m in live.messages("gap", AAPL_1M)] == ["live_bars_lost"], "listeners know")


def test_a_stopped_bridge_leaves_what_it_knew_and_no_forming_bars_and_says_so(live: LiveStack) -> None:
    live.start_bridge(settle_intraday_s="300")
    live.want("user:1", [live.bars("AAPL"), live.quotes("AAPL")])
    live.wait_state("AAPL", "live", "bars")
    live.wait_state("AAPL", "live", "quotes")
    run(live, 80)
    live.wait(lambda: final(live, AAPL_1M), "a bar has closed")
    assert live.stack.stop_bridge() == 0
    left = {(row.kind, row.state, row.reason, row.source) for row in live.streams()}
    assert left == {(kind, "wanted", "bridge_stopped", "") for kind in ("bars:1m", "quotes")}
    assert len(live.received("cancelHistoricalData")) == 1
    assert len(live.received("cancelMktData")) == 1
    live.wait(lambda: live.messages("stream", AAPL_1M)[-1]["reason"] == "bridge_stopped", "listeners know")
    live.start_bridge(settle_intraday_s="300")
    live.wait_state("AAPL", "live", "bars")
    rows = live.rows("SELECT ts, state FROM live_bars ORDER BY ts")
    assert [row.state for row in rows].count("forming") <= 1


def test_over_redis_a_flush_costs_an_epoch_and_no_closed_bar(over_redis: LiveStack) -> None:
    live = over_redis
    live.start_bridge()
    live.want("user:1", [live.bars("AAPL"), live.quotes("AAPL")])
    live.wait_state("AAPL", "live", "bars")
    live.wait_state("AAPL", "live", "quotes")
    run(live, 70, 10)
    live.wait(lambda: final(live, AAPL_1M), "a bar has closed")
    first = live.all[-1]["e"]
    with closing(redis.Redis.from_url(live.redis_url)) as client:
        client.flushall()
    run(live, 120, 10)
    live.wait(lambda: len(final(live, AAPL_1M)) >= 3, "bars go on", 30, lambda: final(live, AAPL_1M))
    assert live.all[-1]["e"] > first
    assert set(final(live, AAPL_1M)) >= {rfc3339(NOON + n * MINUTE) for n in range(3)}
    assert live.missed == 0


def test_while_the_database_is_away_quotes_go_on_over_redis_and_rows_follow(over_redis: LiveStack) -> None:
    """The rows of live data cannot be written: somebody holds a lock on them."""
    live = over_redis
    live.start_bridge(statement_timeout_ms="1000")
    live.want("user:1", [live.quotes("AAPL")])
    live.wait_state("AAPL", "live")
    live.advance(2)
    live.wait(lambda: live.messages("quote", "data.quotes.NASDAQ.AAPL"), "a quote is published")
    before = len(live.messages("quote", "data.quotes.NASDAQ.AAPL"))
    with live.stack.db.transaction() as cursor:
        cursor.execute("LOCK TABLE live_quotes IN ACCESS EXCLUSIVE MODE")
        deadline = time.monotonic() + 30
        while len(live.messages("quote", "data.quotes.NASDAQ.AAPL")) <= before + 2:
            assert time.monotonic() < deadline, "quotes stopped with the database"
            live.sim.command("advance 1")

    def agree() -> bool:
        newest = live.messages("quote", "data.quotes.NASDAQ.AAPL")[-1]
        row = live.quote_row("AAPL")
        return (row.bid, row.ask, row.last) == (newest["bid"], newest["ask"], newest["last"])

    live.wait(agree, "the newest quote is stored", 30)
