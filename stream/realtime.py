"""`/ws/realtime`: the words of the web front end that there was before. It reads; nothing is ordered here.

On open `{"type": "connection", ...}`. All else is wrapped in `messagebus`, as bare messages are dropped by that front end. An
order book is the one level of the newest quote: no line of market depth is ever opened. That front end subscribes and
unsubscribes its book some 150 times a second without end: what counts is what is wanted after 300 ms of quiet, or after a
second.
"""

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from starlette.types import Receive, Scope, Send

from nautilus.auth.principal import Principal
from nautilus.errors import NautilusError, RateLimited, Unauthorized
from nautilus.http.dependencies import caller_of
from nautilus.live import channels
from nautilus.market import symbols
from nautilus.market.instrument import Instrument
from nautilus.market.symbols import InstrumentName, Selector
from nautilus.monitoring.connection_status import connection_fields
from stream import messages
from stream.frames import BusMessage, Frame, Outgoing
from stream.limits import Bucket, Offences, TooMany
from stream.listener import SocketListener, Subscription, Write
from stream.open_socket import ClientGone, OpenSocket, Path, begin, run
from stream.page_orders import PageOrders, page_fields
from stream.service import Stream
from stream.sign_in import check_address
from stream.wants import key_of

PATH = Path("/ws/realtime")
MESSAGES_PER_S = 20.0
"""Of more than these the last one alone is looked at."""
QUIET_S = 0.3
LONGEST_QUIET_S = 1.0
MOST_BOOKS = 20


class Endpoint:
    """The ASGI application of one path."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = begin(scope, PATH)
        stream: Stream = connection.app.state.stream
        stream.check_open()
        await stream.start()
        check_address(connection)
        try:
            caller = await caller_of(connection)
        except Unauthorized:
            caller = None
        socket = OpenSocket(scope, receive, send)
        with suppress(ClientGone):
            await socket.accept("")
            if caller is None:
                await _refuse(socket, "unauthorized", "sign in: this needs X-API-Key or an access token", 4401)
            else:
                await _serve(stream, socket, caller)


async def _refuse(socket: OpenSocket, status: str, message: str, code: int) -> None:
    await socket.send(_connection(status, message))
    await socket.close(code, status)


def _connection(status: str, message: str) -> str:
    return json.dumps({"type": "connection", "status": status, "message": message})


async def _serve(stream: Stream, socket: OpenSocket, caller: Principal) -> None:
    async def write(frame: Frame) -> None:
        for one in frame.outgoing:
            for text in listener.texts(one):
                await socket.send(text)

    listener = PageListener(stream, caller, write)
    try:
        stream.add(listener)
    except RateLimited as wrong:
        await _refuse(socket, "refused", wrong.detail, 4429)
        return
    settling = asyncio.create_task(listener.settle())
    try:
        listener.say(_connection("connected", "live data follows"))
        listener.show_session()
        listener.orders.follow()
        await run(listener, socket, listener.receive_all(socket), lambda code, reason: ())
    finally:
        settling.cancel()
        await asyncio.gather(settling, return_exceptions=True)
        listener.close()
        stream.remove(listener)


class Book(NamedTuple):
    """An order book that the page wants, in its own words."""

    symbol: str
    venue: str
    asset_class: str = ""
    currency: str = ""

    @property
    def selector(self) -> Selector:
        """The lookup of these words. InvalidInput: they make none."""
        return symbols.select(
            symbol=self.symbol,
            asset_class=self.asset_class or None,
            exchange=self.venue or None,
            currency=self.currency or None,
        )

    @property
    def name(self) -> InstrumentName | None:
        """The name that symbol and venue make: who was looked up by it, or on the watch list, is known by no other words."""
        if not self.venue:
            return None
        return symbols.name_of(f"{self.symbol}.{self.venue}", self.asset_class or None, self.currency or None)


class PageListener(SocketListener):
    """One socket of a page."""

    def __init__(self, stream: Stream, caller: Principal, write: Write) -> None:
        super().__init__(stream.hub, stream.limits, caller, write)
        self.orders = PageOrders(stream, self)
        self._stream = stream
        self._wanted: dict[tuple[str, str], Book] = {}
        self._books: dict[str, set[tuple[str, str]]] = {}
        """Channel of quotes -> the books (symbol, venue) that it is for."""
        self._own: frozenset[int] = frozenset()
        self._session: tuple[object, ...] = ()
        self._bucket = Bucket(MESSAGES_PER_S, round(MESSAGES_PER_S), self.hub.clock())
        self._offences = Offences()
        self._late: str | None = None
        self._changed = asyncio.Event()
        self._changed_at = 0.0

    # ---- what the page sends -------------------------------------------------------------------------------------------

    async def receive_all(self, socket: OpenSocket) -> None:
        """Take what the page sends, without answers, until it has gone."""
        while (frame := await socket.receive()) is not None:
            now = self.hub.clock()
            if isinstance(frame, bytes) or len(frame) > self.limits.stream_frame_bytes:
                if self._offences.add(now):
                    self.end(4429, "three frames that are binary or too large")
                continue
            self._changed_at = now
            if self._bucket.take(now):
                self._take_late()
                self._take(frame)
            else:
                self._late = frame
            self._changed.set()

    def _take_late(self) -> None:
        """Take the last message that came too fast: before a later one, so that the last word counts."""
        late, self._late = self._late, None
        if late is not None:
            self._take(late)

    def _take(self, frame: str) -> None:
        """What a message changes of the books, or of the back-tests that are followed; all others change nothing."""
        try:
            found = json.loads(frame)
        except (ValueError, RecursionError):
            return
        self._stream.page_backtests.take(self, found)
        if not isinstance(found, dict) or found.get("type") not in ("subscribe_order_book", "unsubscribe_order_book"):
            return
        words = {name: found.get(name) or "" for name in Book._fields}
        if not all(isinstance(word, str) for word in words.values()):
            return
        book = Book(**words)
        if found["type"] == "unsubscribe_order_book":
            self._wanted.pop(book[:2], None)
        elif len(self._wanted) < MOST_BOOKS or book[:2] in self._wanted:
            self._wanted[book[:2]] = book

    async def settle(self) -> None:
        """Act on what is wanted, each time the page has been quiet briefly, or a second has passed."""
        while True:
            await self._changed.wait()
            began = self.hub.clock()
            while (
                quiet := self._changed_at + QUIET_S - self.hub.clock()
            ) > 0 and self.hub.clock() - began < LONGEST_QUIET_S:
                await asyncio.sleep(quiet)
            self._changed.clear()
            self._take_late()
            try:
                await self._follow()
            except NautilusError as wrong:
                self._stream.log.info("page-books-refused", extra={"reason": wrong.detail})
            except Exception:
                self._stream.log.exception("page-books-broke")

    # ---- channels ------------------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        """Have the channels of the books that are wanted, and of what the caller wants by itself; leave the others."""
        if not self.caller.may("bars:read"):
            return
        books: dict[str, set[tuple[str, str]]] = {}
        found: dict[str, Instrument] = {}
        for key, book in list(self._wanted.items()):
            instrument = await self._instrument(book)
            if instrument is not None:
                name = channels.quotes(instrument.instrument_id).name
                books.setdefault(name, set()).add(key)
                found[name] = instrument
        own = self._stream.own_quotes.get(self.caller.id, frozenset())
        for instrument in await self._stream.resolving.several(own):
            found.setdefault(channels.quotes(instrument.instrument_id).name, instrument)
        self._own, self._books = own, books
        for name in self.quotes - found.keys():
            self._leave(name)
        for name, instrument in found.items():
            if name not in self.subscriptions:
                self._join(name, instrument)

    async def _instrument(self, book: Book) -> Instrument | None:
        """The instrument of a book, of those that are known; None: nobody knows it, and nothing is shown."""
        try:
            return await self._stream.resolving.instrument(book.selector, book.name)
        except NautilusError:
            return None

    def _join(self, name: str, instrument: Instrument) -> None:
        channel = channels.quotes(instrument.instrument_id)
        try:
            self._stream.shares.take_quotes(self.caller.id, 1)
        except TooMany as wrong:
            self._stream.log.info("page-books-refused", extra={"reason": wrong.detail})
            return
        self.add_channel(Subscription(channel, instrument, held=None))
        self._stream.wants.add(key_of(channel, instrument), self, chart=True)
        newest = self.hub.newest(name)
        if newest is not None:
            self.receive(newest)

    def _leave(self, name: str) -> None:
        subscription = self.remove_channel(name)
        if subscription is not None and subscription.instrument is not None:
            self._stream.wants.remove(key_of(subscription.channel, subscription.instrument), self)
        self._stream.shares.give_quotes(self.caller.id, 1)

    def close(self) -> None:
        self.orders.close()
        self._stream.page_accounts.leave(self)
        self._stream.page_backtests.leave(self)
        for name in self.quotes:
            self._leave(name)
        super().close()

    # ---- what the page is sent -----------------------------------------------------------------------------------------

    def begin_epoch(self, epoch: str) -> None:
        self.outbox.begin_epoch("")
        self.wake()

    def heartbeat(self) -> str:
        times = {"server_time": messages.time_of(self.hub.machine_ns())}
        return json.dumps({"type": "heartbeat", "data": times, "timestamp": times["server_time"]})

    def lagged(self, took_s: float) -> str:
        skipped = self.outbox.take_skipped()
        return _wrapped(
            "stream.lagged", {"type": "lagged", "data": {"skipped": skipped}}, "lagged", self.hub.machine_ns()
        )

    def tick(self, now: float) -> None:
        super().tick(now)
        self.show_session()
        self.orders.follow()
        self.show_accounts()
        if self._stream.own_quotes.get(self.caller.id, frozenset()) != self._own:
            self._changed.set()

    def show_accounts(self) -> None:
        """Send the account and the positions of the caller, and the back-tests that are followed, each when it has changed."""
        for payload in self._stream.page_backtests.changes(self, self.caller):
            topic = f"events.backtests.{payload['backtestId']}"
            self.say(_wrapped(topic, payload, payload["type"], self.hub.machine_ns()))
        for kind, data in self._stream.page_accounts.changes(self, self.caller, self._stream.accounts):
            self.say(_wrapped(f"events.{kind}", {"type": kind, "data": data}, kind, self.hub.machine_ns()))

    def show_session(self) -> None:
        """Send how the connection to IB is, when that has changed."""
        bridge = self._stream.bridge
        if bridge is None or not self.caller.may("monitoring:read"):
            return
        now = (bridge.state, bridge.reason, bridge.since)
        if now != self._session:
            self._session = now
            payload = {"type": "ib_connection", "data": connection_fields(bridge)}
            topic = f"events.session.{bridge.bridge}"
            self.say(_wrapped(topic, payload, "ib_connection", self.hub.machine_ns()))

    def texts(self, outgoing: Outgoing) -> list[str]:
        """The frames of one message."""
        message = outgoing.message
        if message is None:
            return [outgoing.text] if outgoing.text else []
        if message.kind == "order":
            return self._order(message)
        subscription = self.subscriptions.get(message.channel)
        if message.kind != "quote" or subscription is None or subscription.instrument is None:
            return []
        return [self._quote(message, subscription.instrument), *self._order_books(message)]

    def _order(self, message: BusMessage) -> list[str]:
        data = page_fields(message)
        payload = {"type": "ib_order", "data": data}
        return [_wrapped(message.channel, payload, "order", self.hub.machine_ns())] if data is not None else []

    def _quote(self, message: BusMessage, instrument: Instrument) -> str:
        names = ("bid", "ask", "bid_size", "ask_size", "volume", "open", "high", "low", "close", "feed")
        fields = {name: message.fields.get(name) for name in names}
        last = message.fields.get("last")
        data = {"symbol": instrument.display_symbol, "last_price": last, "last": last, **fields}
        known = {name: value for name, value in data.items() if value is not None}
        payload = {"type": "ib_market_data", "data": known}
        return _wrapped(message.channel, payload, "quote", self.hub.machine_ns())

    def _order_books(self, message: BusMessage) -> list[str]:
        found = []
        sides = {name: _level(message.fields, side) for name, side in (("bids", "bid"), ("asks", "ask"))}
        for symbol, venue in sorted(self._books.get(message.channel, ())):
            about = {"type": "order_book_update", "symbol": symbol, "venue": venue, **sides}
            found.append(json.dumps(about | {"timestamp": self.hub.machine_ns() // 1_000_000}))
        return found


def _level(fields: Mapping[str, Any], side: str) -> list[dict[str, float]]:
    """The one level of a side; none where its price or its size is not known, or is not above zero, as the page wants it."""
    price, size = fields.get(side), fields.get(f"{side}_size")
    known = isinstance(price, (int, float)) and isinstance(size, (int, float)) and price > 0 and size > 0
    return [{"price": price, "quantity": size}] if known else []  # type: ignore[dict-item]


def _wrapped(topic: str, payload: Mapping[str, Any], kind: str, now_ns: int) -> str:
    about = {"type": "messagebus", "topic": topic, "payload": payload, "timestamp": now_ns, "message_type": kind}
    return json.dumps(about, separators=(",", ":"))
