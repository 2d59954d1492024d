"""The engine's broker in a live run: commands go to the host, which has the order book of record; its events come back.

The engine asks after an order that nobody has confirmed, and after a while calls it rejected, although it may still be sent
and filled. Here it never does: an order stays what the host's last event made of it, however long ago that was.
"""

from decimal import Decimal
from typing import Any

from nautilus_trader.live.clients import ExecutionClient
from nautilus_trader.model import (
    AccountBalance,
    ClientOrderId,
    Currency,
    LiquiditySide,
    Money,
    OrderStatus,
    OrderStatusReport,
    OrderType,
    PositionSide,
    PositionStatusReport,
    Price,
    Quantity,
    TimeInForce,
    TradeId,
    VenueOrderId,
)

from strategy_runner.channel import Channel
from strategy_runner.run import ORDER_TYPES, SIDES, prices_of
from strategy_runner.setup import Prepared

_SIDES = {word: side for side, word in SIDES.items()}
_TYPES: dict[str, OrderType] = {word: kind for kind, word in ORDER_TYPES.items()}
TIMES = {
    TimeInForce.DAY: "DAY",
    TimeInForce.GTC: "GTC",
    TimeInForce.IOC: "IOC",
    TimeInForce.FOK: "FOK",
}
_TIMES = {word: time for time, word in TIMES.items()}


class PipeExecution(ExecutionClient):  # type: ignore[misc]
    """Writes submit, modify and cancel; turns the host's order events into the engine's."""

    def attach(self, channel: Channel, ready: Prepared, adopted: dict[str, list[dict[str, Any]]]) -> None:
        """Give a client that the node has just made its run. adopted: `orders` and `positions` of an earlier life."""
        self._channel, self._ready = channel, ready
        self._adopted = adopted
        self._con_ids = {one.engine.id: con_id for con_id, one in ready.traded.items()}
        self._accepted = {one["client_order_id"] for one in adopted["orders"]}
        self._venue_ids = {one["client_order_id"]: one["venue_order_id"] or "" for one in adopted["orders"]}

    # ---- commands ----------------------------------------------------------------------------------------------------

    async def _submit_order(self, command: Any) -> None:
        order = command.order
        kind, time = ORDER_TYPES.get(order.order_type), TIMES.get(order.time_in_force)
        if kind is None or time is None:
            self.generate_order_denied(order, f"no order of ours: {order.order_type}, {order.time_in_force}")
            return
        self.generate_order_submitted(order)
        self._channel.send(
            "submit",
            client_order_id=str(order.client_order_id),
            con_id=self._con_ids[order.instrument_id],
            side=SIDES[order.side],
            order_type=kind,
            time_in_force=time,
            quantity=str(order.quantity),
            reduce_only=bool(order.is_reduce_only),
            tags=list(order.tags or []),
            bar_ns=self._ready.run.last_bar_ns,
            **prices_of(order),
        )

    async def _submit_order_list(self, command: Any) -> None:
        for order in command.orders:
            self.generate_order_denied(order, "lists of orders are not taken: submit one after the other")

    async def _modify_order(self, command: Any) -> None:
        quantity = None if command.quantity is None else str(command.quantity)
        self._channel.send(
            "modify", client_order_id=str(command.client_order_id), quantity=quantity, **prices_of(command)
        )

    async def _cancel_order(self, command: Any) -> None:
        self._channel.send("cancel", client_order_id=str(command.client_order_id))

    async def _cancel_all_orders(self, command: Any) -> None:
        for order in self.cache.orders_open(instrument_id=command.instrument_id):
            self._channel.send("cancel", client_order_id=str(order.client_order_id))

    # ---- what became of them -----------------------------------------------------------------------------------------

    def order_event(self, event: dict[str, Any]) -> None:
        """Tell the engine what the host says. The same event twice changes nothing: fills have the
        broker's own id, and the engine would take a second acceptance for a new state."""
        order = self.cache.order(ClientOrderId(event["client_order_id"]))
        if order is None:
            self._channel.send("log", level="warning", text=f"event of an unknown order: {event['client_order_id']}")
            return
        if event["venue_order_id"]:
            self._venue_ids[event["client_order_id"]] = event["venue_order_id"]
        venue_id, at = self._venue_id(event["client_order_id"]), event["at_ns"]
        match event["kind"]:
            case "submitted":  # our row is committed; the engine has it as submitted already
                pass
            case "accepted":
                if event["client_order_id"] not in self._accepted:
                    self._accepted.add(event["client_order_id"])
                    self.generate_order_accepted(order, venue_id, at)
            case "rejected" | "denied":
                self.generate_order_rejected(order, event["reason"] or event["kind"], at, False)
            case "canceled":
                self.generate_order_canceled(order, venue_id, at)
            case "expired":
                self.generate_order_expired(order, venue_id, at)
            case "triggered":
                self.generate_order_triggered(order, venue_id, at)
            case "modify_rejected":
                self.generate_order_modify_rejected(order, venue_id, event["reason"] or "", at)
            case "cancel_rejected":
                self.generate_order_cancel_rejected(order, venue_id, event["reason"] or "", at)
            case "updated":
                self._updated(order, event)
            case "filled":
                self._accepted.add(event["client_order_id"])  # an acceptance that comes later is old news
                self._filled(order, event)

    def _updated(self, order: Any, event: dict[str, Any]) -> None:
        quantity = (
            order.quantity if event["quantity"] is None else self._quantity(order.instrument_id, event["quantity"])
        )
        price, trigger = (self._price(order.instrument_id, event[name]) for name in ("price", "trigger_price"))
        venue_id = self._venue_id(event["client_order_id"])
        self.generate_order_updated(order, venue_id, quantity, price, trigger, None, event["at_ns"])

    def _filled(self, order: Any, event: dict[str, Any]) -> None:
        name = order.instrument_id
        instrument = self._ready.traded[self._con_ids[name]].engine
        currency = Currency.from_str(event["currency"] or self._ready.start["currency"])
        self.generate_order_filled(
            order,
            self._venue_id(event["client_order_id"]),
            None,
            TradeId(event["trade_id"]),
            self._quantity(name, event["quantity"]),
            self._price(name, event["price"]),
            instrument.quote_currency,
            Money.from_decimal(Decimal(event["commission"] or "0"), currency),
            LiquiditySide.TAKER,
            event["at_ns"],
        )

    # ---- what the engine asks ----------------------------------------------------------------------------------------

    async def _connect(self) -> None:
        total = Money.from_str(f"{self._ready.start['capital']} {self._ready.start['currency']}")
        nothing = Money.from_decimal(Decimal(0), self._ready.currency)
        self.generate_account_state([AccountBalance(total, nothing, total)], [], True, self.clock.timestamp_ns())

    async def _disconnect(self) -> None:
        pass

    async def _query_account(self, command: Any) -> None:
        await self._connect()

    async def _query_order(self, command: Any) -> None:
        report = await self._generate_order_status_report(command)
        if report is not None:
            self._handle_report(report)

    async def _generate_order_status_report(self, command: Any) -> Any:
        key = command.client_order_id
        order = None if key is None else self.cache.order(key)
        if order is None:
            return next((one for one in self._adopted_reports() if one.client_order_id == key), None)
        # What is known of it, unchanged: silence of the host is no news.
        status = OrderStatus.ACCEPTED if order.status == OrderStatus.SUBMITTED else order.status
        return OrderStatusReport(
            self.account_id,
            order.instrument_id,
            self._venue_id(str(key)),
            order.side,
            order.order_type,
            order.time_in_force,
            status,
            order.quantity,
            order.filled_qty,
            order.ts_init,
            order.ts_last,
            self.clock.timestamp_ns(),
            client_order_id=key,
            price=getattr(order, "price", None),
            trigger_price=getattr(order, "trigger_price", None),
        )

    async def _generate_order_status_reports(self, command: Any) -> list[Any]:
        return self._adopted_reports()

    async def _generate_fill_reports(self, command: Any) -> list[Any]:
        return []

    async def _generate_position_status_reports(self, command: Any) -> list[Any]:
        return [self._position(row) for row in self._adopted["positions"]]

    def _adopted_reports(self) -> list[Any]:
        return [self._adopted_report(row) for row in self._adopted["orders"]]

    def _adopted_report(self, row: dict[str, Any]) -> Any:
        name = self._ready.traded[row["con_id"]].engine.id
        filled = self._quantity(name, row["filled"])
        return OrderStatusReport(
            self.account_id,
            name,
            self._venue_id(row["client_order_id"]),
            _SIDES[row["side"]],
            _TYPES[row["order_type"]],
            _TIMES[row["time_in_force"]],
            OrderStatus.ACCEPTED if filled.is_zero() else OrderStatus.PARTIALLY_FILLED,
            self._quantity(name, row["quantity"]),
            filled,
            row["at_ns"],
            row["at_ns"],
            self.clock.timestamp_ns(),
            client_order_id=ClientOrderId(row["client_order_id"]),
            price=self._price(name, row["price"]),
            trigger_price=self._price(name, row["trigger_price"]),
            avg_px=None if row["average_price"] is None else Decimal(row["average_price"]),
        )

    def _position(self, row: dict[str, Any]) -> Any:
        quantity, now = Decimal(row["quantity"]), self.clock.timestamp_ns()
        side = PositionSide.LONG if quantity > 0 else PositionSide.SHORT if quantity else PositionSide.FLAT
        name = self._ready.traded[row["con_id"]].engine.id
        price = None if row["average_price"] is None else Decimal(row["average_price"])
        size = self._quantity(name, str(abs(quantity)))
        return PositionStatusReport(self.account_id, name, side, size, now, now, avg_px_open=price)

    # ---- words to values ---------------------------------------------------------------------------------------------

    def _venue_id(self, key: str) -> Any:
        """The broker's id of an order; our own until there is one."""
        return VenueOrderId(self._venue_ids.get(key) or key)

    def _quantity(self, name: Any, text: str) -> Any:
        instrument = self._ready.traded[self._con_ids[name]].engine
        return Quantity.from_decimal_dp(Decimal(text), instrument.size_precision)

    def _price(self, name: Any, text: str | None) -> Any:
        digits = self._ready.traded[self._con_ids[name]].digits
        return None if text is None else Price.from_decimal_dp(Decimal(text), digits)
