"""`/ws/realtime` as the front end that there was before opens it: what it is sent, and what its endless loop costs."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from nautilus.db.live import wants
from nautilus.db.live.wants import WantRow
from stream.realtime import PageListener
from tests.support.stream_server import Publishing, StreamServer, wait

BOOK = {"symbol": "AAPL", "venue": "NASDAQ", "asset_class": "STK", "currency": "USD"}


@pytest.fixture
def running(bridge: Publishing, tmp_path: Path) -> Iterator[StreamServer]:
    made = StreamServer(bridge.stored.dsn, tmp_path, anonymous_scopes=("bars:read", "monitoring:read"))
    yield made
    made.stop()


class Page:
    """One socket of the page. `received`: all frames so far, each one object."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.received: list[dict[str, Any]] = []

    def send(self, **message: Any) -> None:
        self.connection.send(json.dumps(message))

    def next(self, kind: str, payload: str = "") -> dict[str, Any]:
        """The next frame of a type and, where it is wrapped, of a payload's type."""
        while True:
            frame = json.loads(self.connection.recv(timeout=30))
            self.received.append(frame)
            if frame["type"] == kind and (not payload or frame["payload"]["type"] == payload):
                return frame  # type: ignore[no-any-return]


@contextmanager
def page(running: StreamServer, **headers: str) -> Iterator[Page]:
    with connect(
        f"ws://{running.address}/ws/realtime", proxy=None, additional_headers=headers, compression=None
    ) as connection:
        yield Page(connection)


def test_both_sockets_of_a_page_are_told_how_the_connection_is(bridge: Publishing, running: StreamServer) -> None:
    with page(running) as first, page(running) as second:
        for one in (first, second):
            hello = one.next("connection")
            assert (hello["status"], set(hello)) == ("connected", {"type", "status", "message"})
            wrapped = one.next("messagebus", "ib_connection")
            assert wrapped["timestamp"] > 10**18, "nanoseconds"
            assert wrapped["topic"] == "events.session.bridge-1"
            assert wrapped["payload"]["data"]["connected"] is True
            assert wrapped["payload"]["data"]["account_id"] == "SIM7"


@pytest.mark.parametrize("looked_up", [True, False])
def test_an_order_book_is_one_level_of_the_newest_quote_in_the_words_of_the_page(
    bridge: Publishing, running: StreamServer, looked_up: bool
) -> None:
    """Also of an instrument of the watch list, which was looked up by its name alone."""
    if not looked_up:
        bridge.stored.rows("DELETE FROM instrument_lookups")
    with page(running) as one:
        one.send(type="subscribe_order_book", **BOOK)
        wait(lambda: quotes_wanted(bridge), "the quote is wanted")
        bridge.quote(100.0)
        market = one.next("messagebus", "ib_market_data")
        assert market["payload"]["data"]["symbol"] == "AAPL"
        assert market["payload"]["data"]["last_price"] == market["payload"]["data"]["last"] == 100.01
        book = one.next("order_book_update")
        assert (book["symbol"], book["venue"]) == ("AAPL", "NASDAQ")
        assert book["bids"] == [{"price": 100.0, "quantity": 3}]
        assert book["asks"] == [{"price": 100.02, "quantity": 4}]
        assert 10**12 < book["timestamp"] < 10**13, "milliseconds"
        one.send(type="unsubscribe_order_book", symbol="AAPL", venue="NASDAQ")
        wait(lambda: not quotes_wanted(bridge), "it is not wanted any more")


def quotes_wanted(bridge: Publishing) -> list[Any]:
    with bridge.stored.db.transaction() as cursor:
        return [want for want in wants.current(cursor) if want.owner.startswith("stream:")]


def test_an_endless_loop_of_subscriptions_costs_little_and_opens_no_depth(
    bridge: Publishing, running: StreamServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    acted: list[float] = []
    follow = PageListener._follow

    async def counted(self: PageListener) -> None:
        acted.append(time.monotonic())
        await follow(self)

    monkeypatch.setattr(PageListener, "_follow", counted)
    seconds, rate = 4, 150
    with page(running) as one:
        one.next("connection")
        began = time.monotonic()
        for n in range(seconds * rate):
            kind = "subscribe_order_book" if n % 2 == 0 else "unsubscribe_order_book"
            one.send(type=kind, **BOOK)
            time.sleep(max(0.0, began + (n + 1) / rate - time.monotonic()))
        one.send(type="subscribe_order_book", **BOOK)
        wait(lambda: quotes_wanted(bridge), "what it wants in the end counts")
        assert len(acted) < seconds * rate / 20, "about once a second"
        bridge.quote(50.0)
        assert one.next("order_book_update")["bids"][0]["price"] == 50.0
        assert {(want.kind, want.con_id) for want in quotes_wanted(bridge)} == {("quotes", 1)}
        assert not [frame for frame in one.received if frame["type"] == "error"]


def test_the_last_word_counts_whatever_came_too_fast_before_it(bridge: Publishing, running: StreamServer) -> None:
    with page(running) as one:
        one.next("connection")
        for n in range(40):
            one.send(type="unsubscribe_order_book" if n % 2 else "subscribe_order_book", **BOOK)
        time.sleep(0.12)  # so long that one message more is allowed
        one.send(type="subscribe_order_book", **BOOK)
        wait(lambda: quotes_wanted(bridge), "what it wants in the end counts", 10)


UNKNOWN = (
    "Echo",
    "[]",
    "{}",
    '{"type": 7}',
    '{"type": "subscribe_order_book", "symbol": 5}',
    '{"type": "get_market_session"}',
    '{"type": "subscribe_order_book", "symbol": "NOPE", "venue": "X"}',
    '{"type": "place_order", "symbol": "AAPL"}',
)


@pytest.mark.parametrize("frame", UNKNOWN)
def test_what_it_does_not_know_is_passed_over(bridge: Publishing, running: StreamServer, frame: str) -> None:
    with page(running) as one:
        one.connection.send(frame)
        one.send(type="subscribe_order_book", **BOOK)
        wait(lambda: quotes_wanted(bridge), "the next message is heard")
        bridge.quote(1.0)
        one.next("order_book_update")


def test_quotes_that_the_caller_wants_by_rest_come_without_a_word(bridge: Publishing, running: StreamServer) -> None:
    with bridge.stored.db.transaction() as cursor:
        wants.put(cursor, "user:5", [WantRow(1, "quotes", "", "", "", 6)], 600)
    with page(running, Authorization=f"Bearer {running.token(5)}") as one:
        wait(lambda: running.stream.hub._index.get("data.quotes.NASDAQ.AAPL"), "it follows the channel")
        bridge.quote(7.0)
        assert one.next("messagebus", "ib_market_data")["payload"]["data"]["bid"] == 7.0
        assert not [frame for frame in one.received if frame["type"] == "order_book_update"]


def test_who_may_not_read_is_told_and_closed(bridge: Publishing, tmp_path: Path) -> None:
    closed = StreamServer(bridge.stored.dsn, tmp_path)
    try:
        for headers in ({}, {"Authorization": "Bearer x.y.z"}):
            with page(closed, **headers) as one:
                assert one.next("connection")["status"] == "unauthorized"
                with pytest.raises(Exception, match="4401"):
                    one.next("connection")
        with page(closed, Authorization=f"Bearer {closed.token(3, 'monitoring:read')}") as one:
            one.next("messagebus", "ib_connection")
            one.send(type="subscribe_order_book", **BOOK)
            one.send(type="subscribe_order_book", **BOOK)
            time.sleep(1.5)
            assert quotes_wanted(bridge) == [], "quotes need bars:read"
    finally:
        closed.stop()
