"""What is wrong is answered by an error that names it; the socket stays open until the limit."""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from nautilus.db.market import instruments
from tests.support.stored_bars import stock
from tests.support.stream_server import BARS, FIVE, QUOTES, Client, Publishing, StreamServer, client


@pytest.fixture
def socket(running: StreamServer) -> Iterator[Client]:
    with client(running, running.token()) as opened:
        opened.next("welcome")
        yield opened


def is_open(socket: Client) -> bool:
    socket.send(op="ping", id="still there")
    return bool(socket.next("pong", id="still there"))


@pytest.mark.parametrize(
    ("name", "detail", "allowed"),
    [
        ("data.candles.X", "is no channel", "data.bars.…"),
        ("data.bars.AAPL.NASDAQ-1-MINUTE-MIDDLE-EXTERNAL", "is not a price", "LAST"),
        ("data.bars.AAPL.NASDAQ-7-MINUTE-LAST-EXTERNAL", "is not a timeframe", "1-MINUTE"),
        ("data.bars.AAPL.NASDAQ-10-SECOND-LAST-EXTERNAL", "has no live stream", "5s"),
        ("data.bars.AAPL.NASDAQ-1-MINUTE-LAST-EXTERNAL@night", "is not a session", "rth"),
        ("data.quotes.AAPL", "names no instrument", "data.quotes.<VENUE>.<SYMBOL>"),
        ("events.epoch", "is no channel", "events.session.…"),
        ("events.series.-1", "names no series", "events.series.<number of a series>"),
        ("x" * 300, "too long", None),
        (7, "is not a text", None),
    ],
)
def test_a_channel_that_cannot_be_is_named_with_what_can_be(
    socket: Client, bridge: Publishing, name: Any, detail: str, allowed: str | None
) -> None:
    socket.send(op="subscribe", id=1, channels=[QUOTES, name])
    error = socket.next("error", op="subscribe", id=1)
    assert error["code"] == "validation-error"
    [field] = error["errors"]
    assert field["field"] == "channels[1]"
    assert detail in field["detail"]
    assert allowed is None or allowed in field["allowed"]
    assert [one["c"] for one in socket.next("ack")["channels"]] == [QUOTES], "the good one is there"
    assert is_open(socket)


def test_an_unknown_instrument_and_a_price_that_its_class_has_not_are_named(socket: Client) -> None:
    socket.send(op="subscribe", channels=["data.quotes.NASDAQ.NOPE", "data.quotes.NASDAQ.AAPL"])
    assert [one["c"] for one in socket.next("ack")["channels"]] == [QUOTES]
    error = socket.next("error")
    assert error["code"] == "unknown-instrument"
    assert "NOPE.NASDAQ" in error["detail"]
    assert "GET /api/v1/market-data/historical/bars" in error["detail"], "a search alone makes nothing known"


def test_what_ib_has_not_of_a_pair_is_refused_with_what_there_is(bridge: Publishing, socket: Client) -> None:
    pair = stock(3, "EUR/USD")._replace(asset_class="CASH", instrument_id="EUR/USD.IDEALPRO", symbol="EUR")
    with bridge.stored.db.transaction() as cursor:
        instruments.store(cursor, pair, {})
    socket.send(
        op="subscribe",
        channels=[
            "data.trades.IDEALPRO.EUR/USD",
            "data.bars.EUR/USD.IDEALPRO-1-MINUTE-LAST-EXTERNAL",
            "data.bars.EUR/USD.IDEALPRO-1-MINUTE-MID-EXTERNAL",
        ],
    )
    assert [one["c"] for one in socket.next("ack")["channels"]] == ["data.bars.EUR/USD.IDEALPRO-1-MINUTE-MID-EXTERNAL"]
    ticks, bars = socket.next("error")["errors"][0], socket.next("error")["errors"][0]
    kinds = ("data.quote_ticks", "data.midpoint_ticks", "data.quotes")
    assert ("no trades of CASH" in ticks["detail"], ticks["allowed"]) == (
        True,
        [f"{kind}.IDEALPRO.EUR/USD" for kind in kinds],
    )
    assert ("LAST does not exist for CASH" in bars["detail"], bars["allowed"]) == (True, ["MID", "BID", "ASK"])


def test_events_of_what_is_not_here_are_refused(socket: Client) -> None:
    socket.send(op="subscribe", channels=["events.session.nobody", "events.series.4711", "events.session.bridge-1"])
    assert [one["c"] for one in socket.next("ack")["channels"]] == ["events.session.bridge-1"]
    bridge, series = socket.next("error"), socket.next("error")
    assert (bridge["code"], bridge["errors"][0]["allowed"]) == ("validation-error", ["events.session.bridge-1"])
    assert (series["code"], "/api/v1/market-data/series" in series["detail"]) == ("unknown-series", True)


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        ({"op": "subscribe"}, "channels"),
        ({"op": "subscribe", "channels": []}, "channels"),
        ({"op": "subscribe", "channels": [BARS], "snapshot": 5}, "snapshot"),
        ({"op": "subscribe", "channels": [BARS], "snapshot": {"bars": 2_001}}, "snapshot.bars"),
        ({"op": "subscribe", "channels": [BARS], "snapshot": {"bars": -1}}, "snapshot.bars"),
        ({"op": "subscribe", "channels": [BARS], "rate_hz": 0}, "rate_hz"),
        ({"op": "subscribe", "channels": [BARS], "forming": "yes"}, "forming"),
        ({"op": "subscribe", "channels": [BARS], "colour": 1}, "colour"),
        ({"op": "subscribe", "channels": [BARS], "id": [1]}, "id"),
        ({"op": "resume", "channels": [BARS]}, "channels"),
        ({"op": "resume", "e": 7, "channels": {BARS: {}}}, "e"),
        ({"op": "resume", "channels": {BARS: {"seq": -1}}}, f"channels[{BARS!r}]"),
        ({"op": "auth"}, "ticket"),
        ({"op": "auth", "ticket": "a", "token": "b"}, "ticket"),
    ],
)
def test_a_field_that_is_wrong_is_named(socket: Client, request_: dict[str, Any], field: str) -> None:
    socket.connection.send(json.dumps(request_))
    error = socket.next("error")
    assert error["op"] == request_["op"]
    assert error["errors"][0]["field"] == field
    assert is_open(socket)


@pytest.mark.parametrize(
    ("frame", "detail"),
    [
        ("{", "is not JSON"),
        ("[1]", "is not a JSON object"),
        ("[" * 9_000, "is not JSON"),
        ('{"op": "buy"}', "is not an operation"),
        ('{"id": 1}', "is not an operation"),
        (b"\x00\x01", "is binary"),
        (json.dumps({"op": "ping", "id": "x" * 20_000}), "bytes are too many"),
    ],
)
def test_a_frame_that_is_no_message_gets_an_error_and_the_third_in_a_minute_closes(
    socket: Client, frame: str | bytes, detail: str
) -> None:
    for _ in range(2):
        socket.connection.send(frame)
        error = socket.next("error")
        assert detail in error["detail"]
        assert is_open(socket)
    socket.connection.send(frame)
    assert socket.closed() == 4429
    assert socket.received[-1] == {**socket.received[-1], "t": "bye", "code": 4429}


def test_too_many_messages_are_not_executed_and_close_in_the_end(socket: Client) -> None:
    with suppress(ConnectionClosed):  # it may be closed before the last one is sent
        for n in range(60):
            socket.send(op="ping", id=n)
    assert socket.closed() == 4429
    answered = [m["id"] for m in socket.received if m["t"] == "pong"]
    assert answered == list(range(len(answered)))
    assert 30 <= len(answered) < 45
    assert [m["code"] for m in socket.received if m["t"] == "error"] == ["rate-limited"] * 3


def test_more_channels_and_quotes_than_allowed_are_refused_and_lose_nothing(bridge: Publishing, tmp_path: Path) -> None:
    running = StreamServer(bridge.stored.dsn, tmp_path, stream_channels_per_socket=3, stream_quotes_per_caller=1)
    try:
        with client(running, running.token()) as socket, client(running, running.token()) as other:
            socket.subscribe(BARS, QUOTES)
            socket.send(op="subscribe", id=2, channels=["events.session.bridge-1", FIVE])
            error = socket.next("error", id=2)
            assert (error["code"], error["errors"][0]["field"]) == ("limit-exceeded", "channels")
            assert "NAUTILUS_STREAM_CHANNELS_PER_SOCKET" in error["errors"][0]["allowed"][0]
            socket.send(op="unsubscribe", id=3, channels=["nothing"])
            assert [one["c"] for one in socket.next("ack", id=3)["channels"]] == [BARS, QUOTES]
            other.send(op="subscribe", id=1, channels=[QUOTES])
            assert "NAUTILUS_STREAM_QUOTES_PER_CALLER" in other.next("error")["errors"][0]["allowed"][0]
            socket.send(op="unsubscribe", id=4, channels=[QUOTES])
            socket.next("ack", id=4)
            other.send(op="subscribe", id=2, channels=[QUOTES])
            assert other.next("ack", id=2)["channels"], "what one gives back the other may have"
        with client(running, running.token()) as socket:
            socket.subscribe(QUOTES)
    finally:
        running.stop()


def test_one_caller_may_have_ten_sockets(bridge: Publishing, tmp_path: Path) -> None:
    running = StreamServer(bridge.stored.dsn, tmp_path, stream_sockets_per_caller=2)
    try:
        with client(running, running.token()) as first, client(running, running.token()) as second:
            first.next("welcome")
            second.next("welcome")
            with client(running, running.token()) as third:
                assert third.next("error")["code"] == "too-many-sockets"
                assert third.closed() == 4429
            with client(running, running.token(2)) as stranger:
                assert stranger.next("welcome")
        with client(running, running.token()) as again:
            assert again.next("welcome")
    finally:
        running.stop()
