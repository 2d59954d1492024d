"""The gateway's state and its clients: what every handler of a request may read and change. Sockets are in server/."""

import asyncio
import itertools
import sys
import traceback
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from ib_gateway_sim.account.portfolio import Portfolio, Totals
from ib_gateway_sim.clock import Clock
from ib_gateway_sim.faults.live_bars import LiveBars
from ib_gateway_sim.faults.revisions import Revisions
from ib_gateway_sim.faults.state import Faults
from ib_gateway_sim.market.bars import Bar
from ib_gateway_sim.market.contracts import Contract, ContractQuery
from ib_gateway_sim.market.source import MarketSource, Quote
from ib_gateway_sim.orders.book import OrderBook
from ib_gateway_sim.rules.errors import Violation
from ib_gateway_sim.rules.latency import Latency
from ib_gateway_sim.rules.pacing import MessageRate, PacingBook
from ib_gateway_sim.session.jobs import Jobs
from ib_gateway_sim.session.outbox import Message, Outbox, error_frame
from ib_gateway_sim.session.sent import SentLog
from ib_gateway_sim.session.settings import Settings
from ib_gateway_sim.wire import codec
from ib_gateway_sim.wire.messages import GREETING, MESSAGES, kind_of

_LOG_ENTRIES = 50_000


class Gateway:
    def __init__(
        self, market: MarketSource, clock: Clock, latency: Latency | None = None, settings: Settings | None = None
    ) -> None:
        self.market = market
        self.clock = clock
        self.latency = latency or Latency()
        self.settings = settings or Settings()
        self.port = 0  # where it listens; 0: nowhere
        self.faults = Faults()
        self.revisions = Revisions()
        self.pacing = PacingBook()
        self.numbers = itertools.count()
        self.ticks_requested: dict[int, float] = {}  # conId -> market seconds of its last request for tick-by-tick data
        self.bars_requested: deque[float] = deque()  # market seconds of the requests for real-time bars
        self.portfolios: dict[str, Portfolio] = {}  # account -> what it owns; the first is the market's
        self.open_accounts(self.settings.accounts)
        self.orders = OrderBook(self.settings.next_order_id)
        self.arrivals: deque[Any] = deque()  # messages about orders that were read and are not worked yet, in order
        self.background: dict[str, asyncio.Task[None]] = {}  # name -> work of the gateway itself
        self.clients: dict[int, Client] = {}  # client id -> its connection, once it has signed in
        self.received: deque[dict[str, Any]] = deque(maxlen=_LOG_ENTRIES)
        self.sent = SentLog()
        self.unsaved = False  # whether orders or accounts have changed since they were saved
        self.saver: Callable[[], object] | None = None  # saves them; None: nobody does
        self.save_problem = ""  # why they could not be saved
        self.held_ids: dict[int, int] = {}  # client id -> market time (ns) until which a dead client still holds it
        self._quotes: dict[tuple[int, str], tuple[float, Quote]] = {}  # (conId, exchange) -> (time, the newest)

    # ---- time and log --------------------------------------------------------------------------------------------
    async def wait(self, kind: str) -> None:
        """The latency of a request that is no history."""
        seconds = self.latency.of(kind)
        if seconds > 0:
            await self.clock.sleep(seconds)

    def spawn(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Work of the gateway itself, which goes on when clients leave; one that has the same name is ended."""
        former = self.background.get(name)
        if former is not None:
            former.cancel()
        task = self.background[name] = asyncio.get_running_loop().create_task(work)

        def finished(done: asyncio.Task[None]) -> None:
            work.close()  # one that was ended before its first step
            if self.background.get(name) is done:
                del self.background[name]

        task.add_done_callback(finished)

    def stop(self, prefix: str) -> None:
        """Ends all work whose name begins so."""
        for name in [name for name in self.background if name.startswith(prefix)]:
            self.background.pop(name).cancel()

    def log(self, kind: str, client: "Client", fields: dict[str, Any]) -> None:
        self.received.append(
            {"kind": kind, "client_id": client.client_id, "time_ns": self.clock.now_ns(), "fields": fields}
        )

    def note(self, fault: str, client_id: int, order_id: int) -> None:
        """Records a fault that an order has met, beside what was received."""
        fields = {"fault": fault, "orderId": order_id}
        self.received.append(
            {"kind": "fault", "client_id": client_id, "time_ns": self.clock.now_ns(), "fields": fields}
        )

    def save(self) -> bool:
        """Whether orders and accounts are saved as they are, after an attempt where they were not.

        Called at the end of whatever may have changed them, and before anything leaves to a client, so that nobody receives
        what is not saved. Where it fails it is tried again the next time.
        """
        if not self.unsaved or self.saver is None:
            return True
        try:
            self.saver()
        except Exception as problem:
            if str(problem) != self.save_problem:
                print(f"ib_gateway_sim: orders and accounts cannot be saved: {problem}", file=sys.stderr)
            self.save_problem = str(problem)
            return False
        self.unsaved, self.save_problem = False, ""
        return True

    def broadcast(self, code: int, text: str) -> None:
        """A notice to everybody who has signed in, with id -1."""
        for client in list(self.clients.values()):
            client.error(-1, code, text)

    # ---- prices --------------------------------------------------------------------------------------------------
    def quote(self, contract: Contract, at_s: float) -> Quote:
        """The market's quote; many subscribers of one contract ask for the same instant."""
        key = (contract.con_id, contract.exchange)
        newest = self._quotes.get(key)
        if newest is None or newest[0] != at_s:
            newest = self._quotes[key] = (at_s, self.market.quote(contract, at_s))
        halted = self.faults.orders.halts and self.faults.orders.halted(contract.symbol, at_s)
        return newest[1]._replace(halted=True) if halted else newest[1]

    def history_bars(
        self, contract: Contract, size: str, what: str, *, rth: bool, start_s: int, end_s: int, now_s: float
    ) -> list[Bar]:
        """Bars as history has them, with what was changed afterwards; `size` is one of market.bars.SIZES."""
        bars = self.market.bars(contract, size, what, rth=rth, start_s=start_s, end_s=end_s, now_s=now_s)
        return self.revisions.apply(self.market, contract, size, what, rth=rth, bars=bars, now_s=now_s)

    def live_bars(self, contract: Contract, what: str, *, rth: bool) -> LiveBars:
        """Bars as live streams see them."""
        return LiveBars(self.market, self.faults.live, contract, what, rth)

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
        for pair in self.pair_of(currency) if currency != "USD" else ():
            price = self.mark(pair)
            if price > 0:
                return price if pair.symbol == currency else 1 / price
        return 1.0

    def pair_of(self, currency: str) -> list[Contract]:
        """The pairs of a currency with the dollar; empty where the market has none."""
        queries = [
            ContractQuery(symbol=symbol, sec_type="CASH", currency=other)
            for symbol, other in ((currency, "USD"), ("USD", currency))
        ]
        return [pair for query in queries for pair in self.market.find(query, self.clock.now_s())[:1]]

    # ---- accounts ------------------------------------------------------------------------------------------------
    @property
    def portfolio(self) -> Portfolio:
        """Of the first account."""
        return next(iter(self.portfolios.values()))

    def open_accounts(self, count: int) -> None:
        """So many accounts of one login, all simulated: SIM7, SIM7001, SIM7002. None that there is is closed: orders and
        subscriptions name it."""
        first = self.market.account
        for number in range(len(self.portfolios), count):
            self.portfolios[f"{first}{number:03d}" if number else first] = Portfolio()
        self.unsaved = True

    def account_named(self, text: str) -> str | None:
        """The account of a request, the first where it says none; None for one that there is not."""
        return (text or self.market.account) if text in ("", *self.portfolios) else None

    def totals(self, account: str = "") -> Totals:
        return self.portfolios[account or self.market.account].totals(self.mark, self.dollars)


class Client:
    """One connected client: its id, its version, its open work, and the way of messages to it."""

    def __init__(self, gateway: Gateway, writer: asyncio.StreamWriter) -> None:
        self.gateway = gateway
        self.version = 0
        self.client_id = -1
        self.started = False
        self.gone = False
        self.market_data_type = 1  # 1 live, 2 frozen, 3 delayed, 4 delayed-frozen
        self.rate = MessageRate(gateway.settings.lines // 2)
        self.jobs = Jobs(self.abort, self.failed)
        self.outbox = Outbox(
            writer,
            gateway.settings.slow_reader_bytes,
            self.abort,
            log=gateway.sent,
            now_ns=gateway.clock.now_ns,
            may_leave=gateway.save,
        )
        self.open_heads: set[int] = set()  # head timestamps hold a slot until they are cancelled
        self.dead: dict[
            tuple[str, int], str
        ] = {}  # (family, id) of streams that IB ended and nobody cancelled -> series
        self.account_subscriptions: dict[
            tuple[str, int], str
        ] = {}  # (family, request id) -> the account of a subscription
        self.account_sent: dict[tuple[str, str], str] = {}  # (tag, currency) -> value of account updates
        self.scans: set[int] = set()  # scanner subscriptions
        self.binds_orders = False  # client 0 receives orders placed in TWS, and they get ids of its own
        # Messages about orders that are deferred: (market time in ns, messages of one event), in the order in which they come.
        self.late_words: list[tuple[int, list[Message]]] = []
        self.forgotten = False  # the gateway has restarted: what it had sent is worked no more

    # ---- out -----------------------------------------------------------------------------------------------------
    def greet(self, version: int, time: str) -> None:
        """Settles the version and answers the greeting."""
        self.version = version
        self.outbox.filler = error_frame(-1, 2158, "Sec-def data farm connection is OK:secdefil", version)
        self.outbox.send(GREETING, codec.frame(version, time))

    def send(self, message_id: int, *fields: codec.Value) -> None:
        """One message of its fields. KeyError for an id that is not in wire/messages.py."""
        self.outbox.send(MESSAGES[message_id], codec.frame(message_id, *fields))

    def send_frame(self, frame: bytes) -> None:
        """One message that is ready for the socket."""
        self.outbox.send(kind_of(frame), frame)

    def error(self, request_id: int, code: int, text: str) -> None:
        self.gateway.log("error", self, {"reqId": request_id, "code": code, "text": text})
        self.send_frame(error_frame(request_id, code, text, self.version))

    def refuse(self, request_id: int, violation: Violation) -> None:
        self.error(request_id, violation.code, violation.text)

    def failed(self, request_id: int) -> None:
        """Called in an except block: a fault of the simulator. Tells its user and the client, and goes on."""
        traceback.print_exc(file=sys.stderr)
        self.error(request_id, 322, "Error processing request.-'bX' : cause - the simulator failed, see its log")

    def fail_streams(self, code: int, text: str) -> int:
        """Subscriptions die with an error each; how many did."""
        ended = self.jobs.stop_streams()
        for request_id in ended:
            self.error(request_id, code, text)
        return len(ended)

    # ---- end -----------------------------------------------------------------------------------------------------
    def close(self) -> None:
        """Says goodbye after what is queued."""
        self.outbox.flush()
        self.end()
        self.outbox.close()

    def abort(self) -> None:
        """Drops the socket at once, with what is queued."""
        self.end()
        self.outbox.abort()

    def cut(self, frame: bytes) -> None:
        """Sends the first half of a message, then the socket dies."""
        self.end()
        self.outbox.cut(frame)

    def end(self) -> None:
        """Stops all work for this client."""
        self.gone = True
        self.jobs.stop_all()
