"""Ticks over sockets and event streams: each of them in its order, whatever it is of; and from IB to both, with the bridge."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nautilus.clock import rfc3339
from nautilus.infra.bus.publishing import Message
from tests.integration.stream.test_events import events
from tests.support.live_stack import LiveStack, live_stack
from tests.support.stack import service_stack
from tests.support.stream_server import OPEN, Publishing, StreamServer, client

STEPPED = ("--clock", "stepped", "--latency", "none", "--start", "2026-03-02T17:00:00Z")
TRADES, QUOTE_TICKS, MIDPOINTS = (f"data.{kind}.NASDAQ.AAPL" for kind in ("trades", "quote_ticks", "midpoint_ticks"))
KINDS = {QUOTE_TICKS: "quote_tick", MIDPOINTS: "midpoint_tick", TRADES: "trade"}
SIDES = {"bid", "bid_size", "ask", "ask_size"}


def tick(channel: str, n: int) -> Message:
    """The n-th tick of a channel."""
    times = {"ts": rfc3339(OPEN), "seen": rfc3339(OPEN)}
    fields: dict[str, Any] = {"price": 100.0 + n}
    if channel == QUOTE_TICKS:
        fields = {"bid": 100.0 + n, "bid_size": 1.0, "ask": 101.0 + n, "ask_size": 2.0, "ask_past_high": True}
    return Message(KINDS[channel], channel, fields | times)


def test_no_tick_is_replaced_by_a_newer_one_however_slowly_a_socket_is_read(
    bridge: Publishing, running: StreamServer
) -> None:
    with client(running, running.token()) as socket:
        ack = socket.subscribe(*KINDS, rate_hz=1)
        assert {one["c"] for one in ack["channels"]} == set(KINDS)
        for _ in KINDS:
            socket.next("snapshot")
        for n in range(20):
            bridge.publish(*(tick(channel, n) for channel in KINDS))
        for channel, kind in KINDS.items():
            socket.collect(
                lambda: sum(m.get("c") == channel and m["t"] == kind for m in socket.received) == 20,  # noqa: B023
                f"all of {channel}",
            )
            found = [m for m in socket.received if m.get("c") == channel and m["t"] == kind]
            assert [m.get("bid", m.get("price")) for m in found] == [100.0 + n for n in range(20)]
            assert [m["seq"] for m in found] == list(range(found[0]["seq"], found[0]["seq"] + 20))
            assert not any("skip" in m for m in found)


def test_what_a_socket_wants_of_ticks_is_a_want_of_its_own_for_each_price(
    bridge: Publishing, running: StreamServer
) -> None:
    with client(running, running.token()) as socket:
        socket.subscribe(QUOTE_TICKS, MIDPOINTS)

        def wanted() -> list[tuple[str, str]]:
            return [tuple(row) for row in bridge.stored.rows("SELECT kind, price FROM live_wants ORDER BY price")]

        socket.collect(lambda: wanted() == [("ticks", "BID_ASK"), ("ticks", "MIDPOINT")], "both are wanted")
        socket.send(op="unsubscribe", id=2, channels=[QUOTE_TICKS])
        socket.collect(lambda: wanted() == [("ticks", "MIDPOINT")], "one is wanted no longer")


def test_event_streams_have_the_ticks_too(bridge: Publishing, running: StreamServer) -> None:
    with events(running, f"{QUOTE_TICKS},{MIDPOINTS}") as reader:
        reader.next("snapshot", QUOTE_TICKS)
        bridge.publish(*(tick(channel, n) for n in range(3) for channel in (QUOTE_TICKS, MIDPOINTS)))
        quotes = [reader.next("quote_tick") for _ in range(3)]
        assert [one["bid"] for one in quotes] == [100.0, 101.0, 102.0]
        assert set(quotes[0]) == {"v", "t", "c", "e", "seq", *SIDES, "ask_past_high", "ts", "seen"}


@pytest.fixture
def both(
    servers: SimpleNamespace, dsn: str, redis_url: str, tmp_path: Path
) -> Iterator[tuple[LiveStack, StreamServer]]:
    with service_stack(servers.group, servers.folder, dsn, *STEPPED) as stack, live_stack(stack, redis_url) as live:
        running = StreamServer(dsn, tmp_path, redis_url=redis_url, stream_beat_ms=50)
        yield live, running
        running.stop()


def test_ticks_of_quotes_come_from_ib_to_a_socket_and_an_event_stream(both: tuple[LiveStack, StreamServer]) -> None:
    live, running = both
    live.start_bridge()
    live.instrument("AAPL")
    with client(running, running.token()) as socket, events(running, QUOTE_TICKS) as reader:
        socket.subscribe(QUOTE_TICKS, MIDPOINTS)
        live.wait(lambda: len(live.streams()) == 2, "both are wanted", 30)
        for _ in range(8):
            live.advance(5)
        live.wait(lambda: [row.state for row in live.streams()] == ["live", "live"], "both speak", 60, live.streams)
        live.advance(20)
        socket.collect(
            lambda: {"quote_tick", "midpoint_tick"} <= {m["t"] for m in socket.received}, "ticks of both kinds"
        )
        first = next(m for m in socket.received if m["t"] == "quote_tick")
        while (same := reader.next("quote_tick"))["seq"] < first["seq"]:
            pass
        assert same["bid"] < same["ask"]
        assert [row["fields"]["tickType"] for row in live.received("reqTickByTickData")] == ["BidAsk", "MidPoint"]
    assert live.violations() == []
