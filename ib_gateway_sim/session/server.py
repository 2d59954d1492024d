"""The gateway itself: it listens, greets, reads requests and hands each to the handler of its kind."""

import asyncio
import datetime as dt
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ib_gateway_sim.account import requests as account
from ib_gateway_sim.account.portfolio import Portfolio, Totals
from ib_gateway_sim.clock import SECOND_NS, Clock
from ib_gateway_sim.faults.weather import COMPETING, LOST, Weather
from ib_gateway_sim.history import requests as history
from ib_gateway_sim.market.contracts import Contract, ContractQuery
from ib_gateway_sim.market.generated import MarketSource, Quote
from ib_gateway_sim.orders import book as orders
from ib_gateway_sim.reference import requests as reference
from ib_gateway_sim.rules.latency import Latency
from ib_gateway_sim.rules.limits import RATE_EXCEEDED, RATE_STRIKES, PacingBook
from ib_gateway_sim.session.client import Client
from ib_gateway_sim.streams import requests as streams
from ib_gateway_sim.wire import codec

Handler = Callable[[Client, codec.Request], None]
HANDLERS: dict[str, Handler] = {
    **reference.HANDLERS,
    **history.HANDLERS,
    **streams.HANDLERS,
    **orders.HANDLERS,
    **account.HANDLERS,
}

_MAX_STRANGERS = 64  # connections before startApi; one more drops the oldest of them
_STRANGER_S = 30.0  # machine seconds until startApi
_READ_BYTES = 1 << 16
_MOST_WAITING = 10_000  # messages of one client above its rate; then the socket is left to fill
_LOG_ENTRIES = 50_000


@dataclass
class Settings:
    """What can be chosen when the gateway starts; `docs/simulator.md` explains each."""

    lines: int = 100  # market data lines; half of them is the message rate
    reject_rate: bool = False  # error 100 instead of queueing
    steps: str = "current"  # which table of legal steps: current | old
    login_zone: str = "US/Eastern"
    date_zone: str = "instrument"  # text dates from version 174 on: instrument | login | utc
    volume: str = "shares"  # of US stocks from version 175 on: shares | lots
    read_only: bool = False
    max_clients: int = 32  # what a real gateway allows
    max_version: int = codec.VERSION_CEILING
    next_order_id: int = 1
    quote_s: float = 0.25  # market seconds between two looks at the market for streams


class Gateway:
    def __init__(
        self, market: MarketSource, clock: Clock, latency: Latency | None = None, settings: Settings | None = None
    ) -> None:
        self.market = market
        self.clock = clock
        self.latency = latency or Latency()
        self.settings = settings or Settings()
        self.weather = Weather()
        self.pacing = PacingBook()
        self.bars_asked: deque[float] = deque()  # market seconds of the requests for real-time bars
        self._quotes: dict[tuple[int, str], tuple[float, Quote]] = {}  # (conId, exchange) -> (asked for, the newest)
        self.portfolio = Portfolio()
        self.orders = orders.OrderBook(self)
        self.clients: dict[int, Client] = {}  # client id -> its connection
        self.received: deque[dict[str, Any]] = deque(maxlen=_LOG_ENTRIES)
        self.port = 0
        self.held_ids: dict[int, int] = {}  # client id -> market time (ns) until which a dead client still holds it
        self._address = ("127.0.0.1", 0)
        self._strangers: dict[Client, asyncio.TimerHandle] = {}
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    # ---- life ----------------------------------------------------------------------------------------------------
    async def listen(self, host: str, port: int) -> None:
        self._server = await asyncio.start_server(self._accept, host, port, limit=_READ_BYTES, backlog=128)
        self.port = self._server.sockets[0].getsockname()[1]
        self._address = (host, self.port)

    async def accept(self, how: str) -> None:
        """yes; refuse (port closed); close (accepted, then closed: a proxy before a dead gateway); mute (no word)."""
        self.weather.accepting = how
        if how == "refuse" and self._server is not None:
            self._server.close()
            self._server = None
        elif how != "refuse" and self._server is None:
            await self.listen(*self._address)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for client in list(self.clients.values()):
            client.close()
        self.orders.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    # ---- time and record -----------------------------------------------------------------------------------------
    async def wait(self, kind: str) -> None:
        """The latency of a request that is no history."""
        seconds = self.latency.of(kind)
        if seconds > 0:
            await self.clock.sleep(seconds)

    def quote(self, contract: Contract, at_s: float) -> Quote:
        """The market's quote; many subscribers of one contract ask for the same instant."""
        key = (contract.con_id, contract.exchange)
        newest = self._quotes.get(key)
        if newest is None or newest[0] != at_s:
            newest = self._quotes[key] = (at_s, self.market.quote(contract, at_s))
        return newest[1]

    # ---- money ---------------------------------------------------------------------------------------------------
    def mark(self, contract: Contract) -> float:
        """The price at which a position is valued: the last trade, or the middle of bid and ask."""
        quote = self.quote(contract, self.clock.now_s())
        if quote.has_last and "TRADES" in contract.kinds:
            return quote.last
        if quote.has_bid and quote.has_ask:
            return round((quote.bid + quote.ask) / 2, 8)
        return quote.close if quote.close != -1 else 0.0

    def dollars(self, currency: str) -> float:
        """US dollars for one unit of a currency, by its currency pair; 1 where the market has none."""
        if currency == "USD":
            return 1.0
        for symbol, other in ((currency, "USD"), ("USD", currency)):
            query = ContractQuery(symbol=symbol, sec_type="CASH", currency=other)
            found = self.market.find(query, self.clock.now_s())
            price = self.mark(found[0]) if found else 0.0
            if price > 0:
                return price if symbol == currency else 1 / price
        return 1.0

    def totals(self) -> Totals:
        return self.portfolio.totals(self.mark, self.dollars)

    def account_changed(self, contract: Contract) -> None:
        for client in self.clients.values():
            account.tell_change(client, contract)

    def log(self, kind: str, client: Client, fields: dict[str, Any]) -> None:
        self.received.append(
            {"kind": kind, "client_id": client.client_id, "time_ns": self.clock.now_ns(), "fields": fields}
        )

    def broadcast(self, code: int, text: str) -> None:
        """A notice to everybody, with id -1."""
        for client in list(self.clients.values()):
            client.error(-1, code, text)

    # ---- connections ---------------------------------------------------------------------------------------------
    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)
        raw = writer.get_extra_info("socket")
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client = Client(self, writer)
        try:
            if self.weather.accepting == "mute":
                await _swallow(reader)
            elif self.weather.accepting == "yes":
                self._watch(client)
                await self._converse(client, reader)
        except (codec.Refused, ConnectionError, TimeoutError, OSError):
            client.abort()
        except asyncio.CancelledError:
            client.abort()
        finally:
            self._forget(client)
            writer.close()

    def _watch(self, client: Client) -> None:
        """A connection that does not come to startApi in time is dropped; of too many, the oldest."""
        if len(self._strangers) >= _MAX_STRANGERS:
            next(iter(self._strangers)).abort()
            self._unwatch(next(iter(self._strangers)))
        self._strangers[client] = asyncio.get_running_loop().call_later(_STRANGER_S, client.abort)

    def _unwatch(self, client: Client) -> None:
        timer = self._strangers.pop(client, None)
        if timer is not None:
            timer.cancel()

    async def _converse(self, client: Client, reader: asyncio.StreamReader) -> None:
        greeting = codec.GreetingReader()
        while (done := greeting.feed(await _read(reader))) is None:
            pass
        offer, rest = done
        version = offer.version(self.settings.max_version)
        if version is None or len(self.clients) >= self.settings.max_clients:
            return
        client.version = version
        client.send(version, self._connection_time())
        frames = codec.FrameReader()
        waiting = deque(frames.feed(rest))
        while True:
            while waiting:
                wait_s = self._turn_s(client)
                if wait_s > 0:
                    await self._read_on(reader, frames, waiting, wait_s)
                if not client.gone:
                    self._receive(client, waiting.popleft())
                if client.gone:
                    return
            waiting += frames.feed(await _read(reader))

    async def _read_on(
        self, reader: asyncio.StreamReader, frames: codec.FrameReader, waiting: deque[bytes], seconds: float
    ) -> None:
        """Waits, and reads meanwhile, so that a client that goes does not stay for what it had sent too fast."""
        turn = asyncio.ensure_future(self.clock.sleep(seconds))
        try:
            while not turn.done():
                if len(waiting) >= _MOST_WAITING:
                    await turn
                    break
                reading = asyncio.ensure_future(_read(reader))
                await asyncio.wait({turn, reading}, return_when=asyncio.FIRST_COMPLETED)
                if reading.done():
                    waiting += frames.feed(reading.result())
                else:
                    reading.cancel()  # nothing is lost: what comes stays in the reader
                    await asyncio.wait({reading})
        finally:
            turn.cancel()

    def _connection_time(self) -> str:
        now = dt.datetime.fromtimestamp(self.clock.now_s(), dt.UTC).astimezone(reference.zone(self.settings.login_zone))
        return now.strftime("%Y%m%d %H:%M:%S ") + (now.tzname() or "UTC")

    def _turn_s(self, client: Client) -> float:
        """Holds a client to the message rate: the seconds to wait; in reject mode the third violation ends it."""
        now_s = self.clock.now_s()
        if not self.settings.reject_rate:
            return client.rate.wait_s(now_s)
        if not client.rate.allowed(now_s):
            client.refuse(-1, RATE_EXCEEDED)
            if client.rate.violations >= RATE_STRIKES:
                client.close()
        return 0.0

    def _receive(self, client: Client, payload: bytes) -> None:
        if client.muted:
            return
        try:
            request = codec.request(payload, client.version)
        except codec.Malformed as problem:
            self.log("malformed", client, {"reason": problem.reason})
            client.error(problem.request_id, 320, f"Error reading request. {problem.reason}")
            return
        self.log(request.kind, client, dict(request.values))
        if request.kind == "startApi":
            self._start(client, request)
        elif not client.started:
            client.close()
        elif self.weather.take_silent(request.kind):
            # Open for ever: it holds its place and its id, and can be cancelled.
            family = history.FAMILY if request.kind == "reqHistoricalData" else request.kind
            client.start(family, request.request_id, _never())
        else:
            self._handle(client, request)

    def _handle(self, client: Client, request: codec.Request) -> None:
        rejection = self.weather.take_reject(request.kind)
        if rejection is not None:
            client.error(request.request_id, *rejection)
            return
        handler = HANDLERS.get(request.kind)
        if handler is None:
            client.error(request.request_id, 320, f"Error reading request. {request.kind} is not simulated")
            return
        try:
            handler(client, request)
        except Exception:
            client.failed(request.request_id)

    def _start(self, client: Client, request: codec.Request) -> None:
        client_id = request.integer("clientId")
        if client.started:
            client.error(-1, 501, "Already connected.")
            return
        held = self.held_ids.get(client_id, 0) > self.clock.now_ns()
        if client_id in self.clients or held:
            client.error(
                -1, 326, "Unable to connect as the client id is already in use. Retry with a unique client id."
            )
            client.close()
            return
        self._unwatch(client)
        client.client_id = client_id
        client.started = True
        self.clients[client_id] = client
        client.send(15, 1, self.market.account)
        client.send(9, 1, self.orders.next_id(client_id))
        for farm in self.weather.farms.values():
            client.error(-1, *farm.notice())
        if self.weather.competing:
            client.error(-1, *COMPETING)
        if not self.weather.upstream:
            client.error(-1, *LOST)

    def _forget(self, client: Client) -> None:
        client.end()
        self._unwatch(client)
        if self.clients.get(client.client_id) is client:
            del self.clients[client.client_id]
            if self.weather.hold_ids_s:
                self.held_ids[client.client_id] = self.clock.now_ns() + int(self.weather.hold_ids_s * SECOND_NS)


async def _read(reader: asyncio.StreamReader) -> bytes:
    data = await reader.read(_READ_BYTES)
    if not data:
        raise ConnectionResetError("the client has gone")
    return data


async def _never() -> None:
    await asyncio.Event().wait()


async def _swallow(reader: asyncio.StreamReader) -> None:
    while await reader.read(_READ_BYTES):
        pass
