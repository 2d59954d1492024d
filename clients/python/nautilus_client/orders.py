"""Orders: each is placed under a key of its own, so that a lost answer never makes two."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal

from nautilus_client.connection import Connection, new_key
from nautilus_client.records import Order, Record
from nautilus_client.times import Time, text, to_ns

Number = Decimal | int | str
"""A price or quantity. A float is refused: it would have become a binary fraction on its way."""
_NUMBERS = ("quantity", "limit_price", "stop_price", "trail_amount", "trail_percent")
LONGEST_WAIT_S = 10


class Preview(Record):
    """What the checks and IB say of an order that is not placed."""

    passes: bool
    checks: Sequence[Mapping[str, Any]]
    what_if: Mapping[str, Any]


class Orders:
    """The orders of the accounts that the caller may use."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def place(
        self,
        symbol: str | None,
        side: Literal["BUY", "SELL"],
        quantity: Number,
        *,
        type: str = "MKT",
        wait: float = 0,
        key: str | None = None,
        good_till: Time | None = None,
        **fields: Any,
    ) -> Order:
        """Place an order; the answer is the order as it was stored, its state says what became of it.

        wait: seconds for IB's word, at most 10. key: an idempotency key of yours; the same key and order is the same order, also
        after a lost answer. fields: instrument_id or con_id in place of the symbol, limit_price, tif, account, take_profit,
        stop_loss and so on, as in docs/orders.md. OrderDenied says which checks refused it.
        """
        body = self._body(symbol, {**fields, "side": side, "quantity": quantity, "type": type, "good_till": good_till})
        headers = {"Idempotency-Key": key or new_key()}
        return Order(self._connection.call("place", body=body, headers=headers, wait=wait or None))

    def preview(
        self, symbol: str | None, side: Literal["BUY", "SELL"], quantity: Number, *, type: str = "MKT", **fields: Any
    ) -> Preview:
        """All checks, and IB's margin and commission; nothing is stored or sent."""
        body = self._body(symbol, {**fields, "side": side, "quantity": quantity, "type": type})
        return Preview(self._connection.call("preview", body=body))

    def _body(self, symbol: str | None, fields: Mapping[str, Any]) -> dict[str, Any]:
        body = {name: value for name, value in {"symbol": symbol, **fields}.items() if value is not None}
        if "good_till" in body:
            body["good_till"] = text(to_ns(body["good_till"], field="good_till"))
        return _exact(body)

    def list(
        self,
        *,
        open: bool = False,
        account: str | None = None,
        state: str | Sequence[str] | None = None,
        limit: int | None = None,
        **filters: Any,
    ) -> Sequence[Order]:
        """Orders, the newest first. filters: con_id, origin, since."""
        states = state if state is None or isinstance(state, str) else ",".join(state)
        rows = self._connection.every(
            "orders", "orders", open=open, account=account, state=states, limit_rows=limit, **filters
        )
        return [Order(row) for row in rows]

    def get(self, order_id: str, *, wait: float = 0) -> Order:
        """One order. wait: seconds until it is on its way, at most 10."""
        return Order(self._connection.call("order", order_id=order_id, wait=wait or None))

    def events(self, order_id: str) -> Sequence[Mapping[str, Any]]:
        """What happened to it, with the words of IB."""
        return self._connection.every("order-events", "events", order_id=order_id)

    def change(self, order: Order, *, key: str | None = None, **fields: Number) -> Order:
        """Request another quantity or other prices of the order as you saw it; Conflict when it has changed since then."""
        headers = {"If-Match": str(order.version), "Idempotency-Key": key or new_key()}
        return Order(self._connection.call("change", order_id=order.id, body=_exact(fields), headers=headers))

    def cancel(self, order: Order | str) -> Order:
        """Request its end. No check stands before it."""
        return Order(self._connection.call("cancel", order_id=order.id if isinstance(order, Order) else order))

    def cancel_all(self, account: str) -> Mapping[str, Any]:
        """Request the end of all open orders of an account that were placed here."""
        return self._connection.call("cancel-all", account=account)

    def kill(
        self, reason: str, *, accounts: Sequence[str] | None = None, cancel: str | None = None, flatten: bool = False
    ) -> Mapping[str, Any]:
        """Halt trading at once. cancel: none, entries (default), ours, everything; flatten: close the positions, too."""
        from nautilus_client import routes

        body: dict[str, Any] = {"reason": reason, "flatten": flatten}
        body |= {"accounts": list(accounts)} if accounts else {}
        body |= {"cancel": cancel} if cancel else {}
        # To halt twice is to halt: it may be sent again when the answer was lost.
        request = routes.request("kill", body=body)._replace(repeatable=True)
        return self._connection.send(request).record()

    def risk(self) -> Mapping[str, Any]:
        """How the accounts stand, their limits, and the order process."""
        return self._connection.call("risk")


def _exact(body: Mapping[str, Any]) -> dict[str, Any]:
    """The body with decimals as text, those of exits, too."""
    found: dict[str, Any] = {}
    for name, value in body.items():
        if isinstance(value, float):
            raise TypeError(f"{name}: {value!r} is a binary fraction; give a text or a Decimal")
        if isinstance(value, Decimal):
            value = f"{value:f}"
        found[name] = _exact(value) if isinstance(value, Mapping) else value
    return found
