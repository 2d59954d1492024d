"""From a child's messages to rows: orders, fills, equity and events of one run, written in batches."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from nautilus.db.cursor import Cursor
from nautilus.db.strategies import leases, writing
from nautilus.db.strategies.leases import Hold
from nautilus.db.strategies.results import FillRow
from nautilus.db.strategies.writing import NewEquity, NewEvent, NewFill, NewOrder, Numbers
from nautilus.strategies.figures import Book, EquityPoint, RunFill

_ONE, _ZERO = Decimal(1), Decimal(0)
_STATES: Mapping[str, str] = {
    "submitted": "submitted",
    "accepted": "accepted",
    "triggered": "accepted",
    "updated": "accepted",
    "rejected": "rejected",
    "denied": "denied",
    "canceled": "cancelled",
    "expired": "expired",
}
"""What happens to an order -> its state afterwards; a fill is counted by its own message."""
MOST_EVENTS = 20_000
"""Signals and log lines of a run that are kept."""
_KEPT_CLOSES = 20_000
RECORDED = frozenset({"order", "fill", "equity", "signal", "log", "fault"})
"""The messages that become rows."""


class Batch(NamedTuple):
    """Rows of a run that are to be stored. orders: by their numbers; first_fill: the number of the first fill."""

    hold: Hold
    orders: Mapping[int, NewOrder]
    first_fill: int
    fills: Sequence[NewFill]
    equity: Sequence[NewEquity]
    events: Sequence[NewEvent]

    def write(self, cursor: Cursor) -> None:
        """Store it, in the caller's transaction. LeaseLost."""
        leases.held(cursor, self.hold)
        run_id = self.hold.run_id
        writing.orders(cursor, run_id, self.orders)
        writing.fills(cursor, run_id, self.first_fill, self.fills)
        writing.equity(cursor, run_id, self.equity)
        writing.events(cursor, run_id, self.events)


class Recorder:
    """Keeps what came until a `batch` of it is stored. units: con_id -> what a price of 1 is worth for a quantity of 1."""

    def __init__(self, hold: Hold, units: Mapping[int, Decimal], numbers: Numbers = Numbers(0, 0, 0)) -> None:  # noqa: B008
        self.hold = hold
        self.book = Book()
        self.points: list[EquityPoint] = []
        self.last_denial = ""
        self._units = units
        self._last_order = numbers.orders
        self._first_fill = self._next_fill = numbers.fills + 1
        self._orders: dict[str, tuple[int, NewOrder]] = {}
        self._changed: dict[int, NewOrder] = {}
        self._fills: list[NewFill] = []
        self._equity: list[NewEquity] = []
        self._events: list[NewEvent] = []
        self._counted_events = 0
        self._peak: Decimal | None = None
        self._closes: dict[tuple[int, int], float] = {}

    @property
    def waiting(self) -> int:
        """Rows that are not stored yet."""
        return len(self._changed) + len(self._fills) + len(self._equity) + len(self._events)

    def closed(self, con_id: int, closed_ns: int, close: float) -> None:
        """A bar that is fed: orders that follow from it are measured against its close."""
        self._closes[con_id, closed_ns] = close
        if len(self._closes) > 2 * _KEPT_CLOSES:
            for key in list(self._closes)[:_KEPT_CLOSES]:
                del self._closes[key]

    def known(self, n: int, order: NewOrder) -> None:
        """An order of an earlier life of the run."""
        self._orders[order.client_order_id] = (n, order)

    def order(self, client_order_id: str) -> NewOrder | None:
        found = self._orders.get(client_order_id)
        return found[1] if found else None

    def book_again(self, row: FillRow) -> None:
        """A fill of an earlier life of the run."""
        unit = self._units.get(row.con_id, _ONE)
        self.book.add(
            RunFill(f"{row.n:09d}", row.con_id, row.market_ns, row.side, row.quantity, row.price, row.commission, unit)
        )

    def resumed(self, points: Sequence[EquityPoint]) -> None:
        """The equity of an earlier life of the run: its peak counts."""
        self.points = list(points)
        self._peak = max((one.equity for one in points), default=None)

    # ---- messages ------------------------------------------------------------------------------------------------

    def take(self, message: Mapping[str, Any]) -> None:
        """A message of RECORDED."""
        getattr(self, f"_take_{message['type']}")(message)

    def _take_order(self, message: Mapping[str, Any]) -> None:
        kind, name = message["kind"], message["client_order_id"]
        if name not in self._orders:
            self.decided(
                NewOrder(
                    client_order_id=name,
                    con_id=message["con_id"],
                    decided_ns=message["bar_ns"] or message["at_ns"],
                    decided_price=self.close_of(message["con_id"], message["bar_ns"]),
                    side=message["side"],
                    type=message["order_type"],
                    quantity=Decimal(message["quantity"] or "0"),
                    limit_price=_decimal(message["price"]),
                    stop_price=_decimal(message["trigger_price"]),
                )
            )
        changes: dict[str, Any] = {}
        if kind in _STATES:
            changes["state"] = _STATES[kind]
        if kind == "updated":
            terms = {"quantity": "quantity", "limit_price": "price", "stop_price": "trigger_price"}
            changes |= {ours: Decimal(message[theirs]) for ours, theirs in terms.items() if message[theirs] is not None}
        if kind in ("rejected", "denied"):
            changes["reason"] = message["reason"] or ""
            self.last_denial = message["reason"] or kind
            self.event(NewEvent(message["at_ns"], "denied", {"order": name, "kind": kind, "reason": message["reason"]}))
        self.change(name, **changes)

    def _take_fill(self, message: Mapping[str, Any]) -> None:
        con_id, quantity = message["con_id"], Decimal(message["quantity"])
        fill = RunFill(
            key=f"{self._next_fill:09d}",
            con_id=con_id,
            at_ns=message["at_ns"],
            side=message["side"],
            quantity=quantity,
            price=Decimal(message["price"]),
            commission=Decimal(message["commission"]),
            unit=self._units.get(con_id, _ONE),
        )
        self._next_fill += 1
        effect = self.book.add(fill)
        self._fills.append(
            NewFill(
                client_order_id=message["client_order_id"],
                trade_id=message["trade_id"],
                con_id=con_id,
                market_ns=fill.at_ns,
                side=fill.side,
                quantity=quantity,
                price=fill.price,
                commission=fill.commission,
                currency=message["currency"],
                realized=effect.realized,
                position=effect.position,
            )
        )
        order = self.order(message["client_order_id"])
        if order is not None:
            filled = order.filled + quantity
            state = "filled" if filled >= order.quantity else order.state
            self.change(order.client_order_id, filled=filled, state=state)

    def _take_equity(self, message: Mapping[str, Any]) -> None:
        equity = Decimal(message["equity"])
        self._peak = equity if self._peak is None else max(self._peak, equity)
        drawdown = (self._peak - equity) / self._peak if self._peak > _ZERO else _ZERO
        self.points.append(EquityPoint(message["at_ns"], equity))
        self._equity.append(
            NewEquity(
                message["at_ns"], equity, Decimal(message["cash"]), Decimal(message["unrealized"]), round(drawdown, 10)
            )
        )

    def _take_signal(self, message: Mapping[str, Any]) -> None:
        self.event(NewEvent(message["at_ns"], "signal", {"name": message["name"], **message["body"]}))

    def _take_log(self, message: Mapping[str, Any]) -> None:
        self.event(NewEvent(None, "log", {"level": message["level"], "text": message["text"][:8_000]}))

    def _take_fault(self, message: Mapping[str, Any]) -> None:
        body = {name: message[name] for name in ("exception", "message", "frames")}
        self._events.append(NewEvent(None, "fault", body))

    # ---- rows ----------------------------------------------------------------------------------------------------

    def decided(self, order: NewOrder) -> None:
        """An order that the run has just made."""
        self._last_order += 1
        self._orders[order.client_order_id] = (self._last_order, order)
        self._changed[self._last_order] = order

    def change(self, client_order_id: str, **changes: Any) -> None:
        """What became of an order."""
        n, order = self._orders[client_order_id]
        changed = order._replace(**changes)
        if changed != order:
            self._orders[client_order_id] = (n, changed)
            self._changed[n] = changed

    def event(self, event: NewEvent) -> None:
        """Keep an event, unless there are too many of them already."""
        self._counted_events += 1
        if self._counted_events < MOST_EVENTS:
            self._events.append(event)
        elif self._counted_events == MOST_EVENTS:
            self._events.append(NewEvent(None, "log", {"level": "warning", "text": "further events are not kept"}))

    def close_of(self, con_id: int, closed_ns: int | None) -> Decimal | None:
        close = self._closes.get((con_id, closed_ns)) if closed_ns is not None else None
        return None if close is None else Decimal(repr(close))

    def batch(self) -> Batch:
        """What came since the last batch; the caller stores it, before the next one."""
        found = Batch(self.hold, self._changed, self._first_fill, self._fills, self._equity, self._events)
        self._first_fill += len(self._fills)
        self._changed, self._fills, self._equity, self._events = {}, [], [], []
        return found


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
