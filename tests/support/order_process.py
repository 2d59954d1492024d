"""The order process as a process of its own, between a database of the test's and a simulator, and short words for its tests.

Orders are rows that the test writes, as the function would after its checks.
"""

import asyncio
import atexit
import itertools
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from dev.environment import environment
from dev.process import Child, Group, free_port
from ib_bridge.ib import translate
from ib_bridge.ib.client import Contract, new_client
from nautilus.clock import NS_PER_S
from nautilus.db.connection import Database
from nautilus.db.live import quotes
from nautilus.db.live.quotes import QuoteRow
from nautilus.db.market import instruments
from nautilus.db.orders import events, notifications, orders, requests, risk_book
from nautilus.db.orders.events import Event, EventRow
from nautilus.db.orders.orders import NewOrder, OrderRow
from nautilus.db.orders.requests import RequestRow
from nautilus.market.instrument import Instrument
from nautilus.orders import change
from nautilus.orders.placing_rows import Caller
from tests.support.sim_process import Simulator, simulator

PATIENCE_S = 60.0
NOON = "2026-03-02T17:00:00Z"
"""A Monday noon in New York."""
_names = itertools.count(1)
_loop = asyncio.Runner()
"""Of all lookups: ib_async remembers the loop in which it was first used, ib_insync takes the one that is set."""
atexit.register(_loop.close)
_known: dict[str, tuple[Instrument, dict[str, Any]]] = {}


async def _described(port: int, symbol: str) -> tuple[Instrument, dict[str, Any]]:
    """Of a stock, or of a pair such as EUR.USD."""
    ib = new_client()
    await ib.client.connectAsync("127.0.0.1", port, 99, 10)
    try:
        base, _, quoted = symbol.partition(".")
        kind, exchange = ("CASH", "IDEALPRO") if quoted else ("STK", "SMART")
        contract = Contract(secType=kind, symbol=base, exchange=exchange, currency=quoted or "USD")
        (details,) = await asyncio.wait_for(ib.reqContractDetailsAsync(contract), 10)
        return translate.instrument(details)
    finally:
        ib.client.disconnect()


class OrderStack:
    """A database, a simulator, and order processes that the test starts, kills and starts again."""

    def __init__(self, group: Group, folder: Path, dsn: str, sim: Simulator) -> None:
        self.folder = folder
        self.sim = sim
        self.db = Database(dsn, name="test", size=4)
        self._group = group
        self.dsn = dsn
        self.process: Child | None = None
        self.bridge: Child | None = None
        self.port = 0
        self.instrument = self.learn("AAPL")

    @property
    def account(self) -> str:
        return str(self.sim.ready["account"])

    def learn(self, symbol: str, *, anew: bool = False) -> Instrument:
        """Store a stock, or a pair such as EUR.USD, as the bridge would, and a quote of it. anew: its hours of another day."""
        # All simulators here have one seed and begin at one time.
        known = {} if anew else _known
        if symbol not in known:
            asyncio.set_event_loop(_loop.get_loop())
            known[symbol] = _loop.run(_described(self.sim.port, symbol))
        instrument, details = known[symbol]
        with self.db.transaction() as cursor:
            instruments.store(cursor, instrument, details)
        self.quote(instrument, 300.0)
        return instrument

    def quote(self, instrument: Instrument, price: float) -> None:
        """The newest quote, as new as can be for as long as the test runs."""
        row = QuoteRow(
            instrument.con_id, price - 0.01, 100, price + 0.01, 100, price, 100, 1e6, price, price, price, price,
            halted=False, feed="live", ts=self.market_ns(), seen_at=self.market_ns() + 10**15,
        )  # fmt: skip
        with self.db.transaction() as cursor:
            quotes.put(cursor, [row])

    def market_ns(self) -> int:
        return int(self.sim.command("clock")["now_ns"])

    # ---- the process -------------------------------------------------------------------------------------------------

    def launch(self, *, command: Sequence[str] = ("-m", "ib_bridge.orders"), **settings: str) -> Child:
        """Start a process that may give up. command: what Python runs."""
        self.port = free_port()
        given = {
            "env": "test",
            "log_level": "INFO",
            "database_url": self.dsn,
            "ib_port": str(self.sim.port),
            "control_port": str(self.sim.ready["control_port"]),
            "orders_health_port": str(self.port),
            "orders_ask_again_s": "0.2,0.4",
            "orders_ack_timeout_s": "1",
            "ib_heartbeat_s": "1",
            **settings,
        }
        self.process = self._group.start(
            f"orders-{next(_names)}",
            [sys.executable, *command],
            log=self.folder / f"orders-{next(_names)}.log",
            env=environment({f"NAUTILUS_{name.upper()}": value for name, value in given.items()}),
            ready=lambda child: child.logged("orders-started"),
        )
        return self.process

    def start(self, **settings: str) -> Child:
        """Start a process and wait until it may send orders."""
        child = self.launch(**settings)
        ready = lambda: self.status() == "ready" or child.exit_code() is not None  # noqa: E731
        self.wait(ready, "the order process is ready", tell=self.log)
        assert child.exit_code() is None, child.tail()
        return child

    def start_bridge(self, **settings: str) -> Child:
        """A bridge beside the order process, connected."""
        given = {
            "env": "test",
            "database_url": self.dsn,
            "ib_port": str(self.sim.port),
            "control_port": str(self.sim.ready["control_port"]),
            **settings,
        }
        name = f"bridge-{next(_names)}"
        child = self._group.start(
            name,
            [sys.executable, "-m", "ib_bridge"],
            log=self.folder / f"{name}.log",
            env=environment({f"NAUTILUS_{key.upper()}": value for key, value in given.items()}),
            ready=lambda child: child.logged("ib-connected"),
        )
        child.wait_ready(within_s=PATIENCE_S)
        self.bridge = child
        return child

    def status(self) -> str:
        """The state that the process tells; empty when nobody does."""
        rows = self.rows("SELECT state FROM order_process")
        return str(rows[0].state) if rows else ""

    def reason(self) -> str:
        """Why it is in that state; empty when there is no reason, or nobody."""
        rows = self.rows("SELECT reason FROM order_process")
        return str(rows[0].reason) if rows else ""

    def kill(self) -> None:
        """SIGKILL."""
        assert self.process is not None
        self._group.kill_child(self.process)
        self.process = None

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        assert self.process is not None
        child, self.process = self.process, None
        return self._group.stop_child(child)

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        os.kill(self.process.pid, number)

    def died(self) -> None:
        """Wait until the process has killed itself."""
        assert self.process is not None
        child = self.process
        self.wait(lambda: child.exit_code() is not None, "the process dies at its crash point", tell=self.log)
        assert child.exit_code() == -signal.SIGKILL
        self._group.kill_child(child)
        self.process = None

    def log(self) -> str:
        return self.process.tail() if self.process is not None else ""

    # ---- orders ------------------------------------------------------------------------------------------------------

    def new(self, **fields: Any) -> NewOrder:
        """An order that passed its checks: a resting limit order, unless told otherwise."""
        given = {
            "id": uuid4(),
            "principal": "user:1",
            "account": self.account,
            "con_id": self.instrument.con_id,
            "symbol": self.instrument.symbol,
            "instrument_id": self.instrument.instrument_id,
            "side": "BUY",
            "type": "LMT",
            "tif": "DAY",
            "quantity": Decimal(10),
            "limit_price": Decimal("280.00"),
            "origin": "api",
            "state": "accepted",
            "market_at": self.market_ns(),
            "valid_until": self.market_ns() + 3_600 * NS_PER_S,
            "unit_value": Decimal(280),
            **fields,
        }
        return NewOrder(**given)

    def accept(self, *orders_: NewOrder) -> UUID:
        """Write orders as the function does; returns the id of the first."""
        with self.db.transaction() as cursor:
            first = orders_[0]
            risk_book.lock_account(cursor, first.account)
            risk_book.lock_exposure(cursor, first.account, first.con_id)
            for new in orders_:
                orders.insert(cursor, new, Event("accepted", "api", new.market_at, "all checks passed"))
            notifications.notify(cursor)
        return orders_[0].id

    def place(self, **fields: Any) -> UUID:
        return self.accept(self.new(**fields))

    def bracket(self, take_profit: Mapping[str, Any] | None = None, **fields: Any) -> list[UUID]:
        """A bracket: entry, take-profit, stop-loss. take_profit: other fields of it."""
        group = uuid4()
        parent = self.new(group_id=group, group_kind="bracket", group_role="parent", **fields)
        common = {"side": "SELL", "tif": "GTC", "group_id": group, "group_kind": "bracket", "parent_id": parent.id}
        profit = self.new(
            group_role="take_profit",
            reducing=True,
            **{**common, "limit_price": Decimal("330.00"), **(take_profit or {})},
        )
        loss = self.new(
            group_role="stop_loss",
            type="STP",
            reducing=True,
            **{**common, "limit_price": None, "stop_price": Decimal("250.00")},
        )
        self.accept(parent, profit, loss)
        return [parent.id, profit.id, loss.id]

    def cancel(self, order_id: UUID) -> None:
        with self.db.transaction() as cursor:
            change.cancel(cursor, order_id, Caller("user:1"), now=self.market_ns())

    def modify(self, order_id: UUID, **wanted: Any) -> UUID:
        """A modify that passed its checks."""
        request = uuid4()
        with self.db.transaction() as cursor:
            row = orders.lock_with_book(cursor, order_id)
            assert row is not None
            requests.insert(
                cursor,
                request_id=request,
                order_id=order_id,
                account=row.account,
                principal="user:1",
                kind="modify",
                wanted=wanted,
            )
            orders.update(cursor, row, {}, Event("modify-wanted", "api", self.market_ns()))
            notifications.notify(cursor)
        return request

    def order(self, order_id: UUID) -> OrderRow:
        with self.db.transaction() as cursor:
            row = orders.read(cursor, order_id)
        assert row is not None
        return row

    def request(self, request_id: UUID) -> RequestRow:
        with self.db.transaction() as cursor:
            row = requests.read(cursor, request_id)
        assert row is not None
        return row

    def events(self, order_id: UUID) -> list[EventRow]:
        with self.db.transaction() as cursor:
            return events.of_order(cursor, order_id, limit=500)

    def until(self, order_id: UUID, *states: str) -> OrderRow:
        """The order when it has come to one of these states."""
        self.wait(
            lambda: self.order(order_id).state in states,
            f"the order is {' or '.join(states)}",
            tell=lambda: (self.order(order_id), [(e.kind, e.text) for e in self.events(order_id)], self.log()),
        )
        return self.order(order_id)

    # ---- the rest ----------------------------------------------------------------------------------------------------

    def received(self, kind: str) -> list[dict[str, Any]]:
        """What the simulator received of one kind from the order process."""
        return list(self.sim.command(f"received {kind} 50000 0 5")["received"])

    def placed(self) -> list[str]:
        """The references of all orders that reached the simulator, modifies too."""
        return [str(one["fields"]["orderRef"]) for one in self.received("placeOrder")]

    def rows(self, query: str, *values: Any) -> list[Any]:
        with self.db.transaction() as cursor:
            cursor.execute(query, values)
            return list(cursor.fetchall())

    @staticmethod
    def wait(
        true: Callable[[], Any], what: str, within_s: float = PATIENCE_S, tell: Callable[[], Any] = lambda: ""
    ) -> None:
        deadline = time.monotonic() + within_s
        while not true():
            assert time.monotonic() < deadline, f"after {within_s} s still not: {what} {tell()}"
            time.sleep(0.03)

    def close(self) -> None:
        for child in (self.process, self.bridge):
            if child is not None and child.exit_code() is None:
                self._group.kill_child(child)
        self.db.close()


@contextmanager
def order_stack(
    group: Group, folder: Path, dsn: str, *options: str, settings: Mapping[str, str] | None = None
) -> Iterator[OrderStack]:
    """A stack around a simulator with these options; no order process runs yet."""
    folder = folder / f"orders-{os.getpid()}-{next(_names)}"
    folder.mkdir()
    with simulator("--start", NOON, "--master-client", "5", *options) as sim:
        made = OrderStack(group, folder, dsn, sim)
        try:
            if settings is not None:
                made.start(**settings)
            yield made
        finally:
            made.close()
