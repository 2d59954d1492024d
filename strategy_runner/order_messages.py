"""What becomes of a run's orders, as messages. What does not change of an order is read from the engine once: each reading of
one of its values makes a new object."""

from collections.abc import Callable
from typing import Any, NamedTuple

from strategy_runner.run import ORDER_TYPES, SIDES, Run, prices_of


class Ordered(NamedTuple):
    """An order as its messages have it. bar_ns: close of the bar it follows from; None for one of an earlier life."""

    name: str
    con_id: int
    side: str
    order_type: str
    bar_ns: int | None

    def body(self, kind: str, at_ns: int) -> dict[str, Any]:
        return {
            "client_order_id": self.name,
            "kind": kind,
            "at_ns": at_ns,
            "con_id": self.con_id,
            "side": self.side,
            "order_type": self.order_type,
            "bar_ns": self.bar_ns,
        }


class OrderMessages:
    """Writes the messages of one run. order_of: the engine's order of an id, None where it has none."""

    def __init__(self, run: Run, order_of: Callable[[Any], Any]) -> None:
        self._run = run
        self._order_of = order_of
        self._known: dict[Any, Ordered] = {}
        self._con_ids = {one.traded.engine.id: one.traded.con_id for one in run.series}

    def con_id(self, name: Any) -> int:
        return self._con_ids[name]

    def at(self, event: Any) -> int:
        """When it happened: by the market, where the engine has another clock."""
        market = self._run.market_ns
        return int(event.ts_event) if market is None else market

    def ordered(self, event: Any, side: Any, bar_ns: int | None) -> None:
        """An order that the run has made, once. event: what began it, or the order itself."""
        if event.client_order_id in self._known:
            return
        key, order_type = event.client_order_id, ORDER_TYPES.get(event.order_type, "MARKET")
        name, con_id = str(key), self._con_ids[event.instrument_id]
        known = self._known[key] = Ordered(name, con_id, SIDES[side], order_type, bar_ns)
        prices = _NO_PRICES if order_type == "MARKET" else prices_of(event)
        self._run.record.orders += 1
        self._run.record.write(
            "order", **known.body("submitted", self.at(event)), quantity=str(event.quantity), **prices
        )

    def updated(self, event: Any) -> None:
        """Other terms of an order that is open."""
        body = self._of(event.client_order_id).body("updated", self.at(event))
        self._run.record.write("order", **body, quantity=str(event.quantity), **prices_of(event))

    def ended(self, kind: str, event: Any) -> None:
        body = self._of(event.client_order_id).body(kind, self.at(event))
        self._run.record.write("order", **body, reason=str(getattr(event, "reason", "") or "") or None)

    def expired(self, order: Any, reason: str) -> None:
        """An order that is open when the bars end."""
        body = self._of(order.client_order_id).body("expired", self._run.last_bar_ns or 0)
        self._run.record.write("order", **body, reason=reason)

    def filled(self, event: Any) -> None:
        key = event.client_order_id
        known = self._known.get(key)
        if known is None:
            known = Ordered(str(key), self._con_ids[event.instrument_id], SIDES[event.order_side], "", None)
        commission = event.commission
        self._run.record.fill(
            client_order_id=known.name,
            trade_id=str(event.trade_id),
            con_id=known.con_id,
            side=known.side,
            quantity=str(event.last_qty),
            price=str(event.last_px),
            commission="0" if commission is None else str(commission.as_decimal()),
            currency=str(event.currency),
            at_ns=self.at(event),
            bar_ns=known.bar_ns,
        )

    def _of(self, key: Any) -> Ordered:
        known = self._known.get(key)
        if known is None:
            order = self._order_of(key)
            order_type = ORDER_TYPES.get(order.order_type, "MARKET")
            known = Ordered(str(key), self._con_ids[order.instrument_id], SIDES[order.side], order_type, None)
        return known


_NO_PRICES: dict[str, str | None] = {"price": None, "trigger_price": None}
