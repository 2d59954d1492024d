"""Between a run's engine and the ledger: the words of one for the other. Plain values in, plain values out."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from nautilus.db.orders.orders import OrderRow
from nautilus.db.orders.requests import RequestRow
from nautilus.db.strategies.ledger import RunExecution
from nautilus.market.instrument import Instrument
from nautilus.orders.ticket import OrderType, Origin, Prices, Side, Ticket, Tif

TYPES: Mapping[str, OrderType] = {
    "MARKET": OrderType.MKT,
    "LIMIT": OrderType.LMT,
    "STOP_MARKET": OrderType.STP,
    "STOP_LIMIT": OrderType.STP_LMT,
}
"""Order types of the engine that the ledger has -> ours."""
_ENGINE_TYPES = {ours: theirs for theirs, ours in TYPES.items()}
_AT_BROKER = frozenset({"held", "working", "inactive", "filled"})
_ENDS: Mapping[str, str] = {
    "denied": "denied",
    "rejected": "rejected",
    "cancelled": "canceled",
    "expired": "expired",
}
"""States in which an order is over without being filled -> the engine's word."""
VALID_FOR_S = 30


def ticket_of(message: Mapping[str, Any], instrument: Instrument, account: str) -> Ticket:
    """What a `submit` wants, as a ticket. Prices off the step are rounded to the safe side."""
    return Ticket(
        account=account,
        instrument=instrument,
        side=Side(message["side"]),
        type=TYPES[message["order_type"]],
        quantity=Decimal(message["quantity"]),
        tif=Tif(message["time_in_force"]),
        prices=Prices(_decimal(message["price"]), _decimal(message["trigger_price"])),
        valid_for_s=VALID_FOR_S,
        tags=tuple(message["tags"]),
        allow_duplicate=True,
        round_prices=True,
        origin=Origin.STRATEGY,
    )


class Known(NamedTuple):
    """What an engine knows of one of its orders."""

    accepted: bool = False
    ended: bool = False
    executions: frozenset[str] = frozenset()
    requests: frozenset[str] = frozenset()
    quantity: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None


class News(NamedTuple):
    """Messages `order_event` for the engine, in order, and what it knows afterwards."""

    messages: list[dict[str, Any]]
    known: Known


def news(
    row: OrderRow, executions: Iterable[RunExecution], refused: Iterable[RequestRow], known: Known, *, now: int
) -> News:
    """What the engine does not know yet of an order. now: market time in ns, of what has no time of its own."""
    found: list[dict[str, Any]] = []
    new = [one for one in executions if one.exec_id not in known.executions]
    if not known.accepted and (row.state in _AT_BROKER or new or (row.acknowledged_at is not None and row.alive)):
        found.append(event(row, "accepted", now))
        known = known._replace(
            accepted=True, quantity=row.quantity, limit_price=row.limit_price, stop_price=row.stop_price
        )
    terms = (row.quantity, row.limit_price, row.stop_price)
    if known.accepted and row.alive and terms != (known.quantity, known.limit_price, known.stop_price):
        changed = {
            "quantity": _text(row.quantity),
            "price": _text(row.limit_price),
            "trigger_price": _text(row.stop_price),
        }
        found.append(event(row, "updated", now) | changed)
        known = known._replace(quantity=row.quantity, limit_price=row.limit_price, stop_price=row.stop_price)
    found += [filled(row, one) for one in new]
    known = known._replace(executions=known.executions | {one.exec_id for one in new})
    for request in refused:
        if str(request.id) in known.requests or not row.alive:
            continue
        kind = "modify_rejected" if request.kind == "modify" else "cancel_rejected"
        found.append(event(row, kind, now, request.why))
        known = known._replace(requests=known.requests | {str(request.id)})
    if not known.ended and row.state in _ENDS:
        found.append(event(row, _ENDS[row.state], now, row.why))
        known = known._replace(ended=True)
    return News(found, known)


def event(row: OrderRow, kind: str, at_ns: int, reason: str = "") -> dict[str, Any]:
    """The fields of an `order_event`."""
    return order_event(str(row.idempotency_key), kind, at_ns, venue_order_id=str(row.id), reason=reason)


def order_event(
    client_order_id: str, kind: str, at_ns: int, *, venue_order_id: str | None = None, reason: str = ""
) -> dict[str, Any]:
    """The fields of an `order_event` without numbers."""
    return {
        "client_order_id": client_order_id,
        "kind": kind,
        "at_ns": at_ns,
        "venue_order_id": venue_order_id,
        "reason": reason[:2_000] or None,
    }


def filled(row: OrderRow, one: RunExecution) -> dict[str, Any]:
    """An execution as an `order_event`."""
    return event(row, "filled", one.ts) | {
        "quantity": f"{one.quantity:f}",
        "price": f"{one.price:f}",
        "trade_id": one.exec_id,
        "commission": _text(one.commission),
        "currency": one.commission_currency,
    }


def adopted_order(row: OrderRow) -> dict[str, Any] | None:
    """An open order of an earlier life as the message `orders` has it; None for a type that the engine does not have."""
    kind = _ENGINE_TYPES.get(OrderType(row.type)) if row.type in OrderType.__members__ else None
    if kind is None or row.tif not in ("DAY", "GTC", "IOC", "FOK"):
        return None
    return {
        "client_order_id": str(row.idempotency_key),
        "venue_order_id": str(row.id),
        "con_id": row.con_id,
        "side": row.side,
        "order_type": kind,
        "time_in_force": row.tif,
        "quantity": f"{row.quantity:f}",
        "filled": f"{row.filled:f}",
        "average_price": _text(row.avg_fill_price),
        "price": _text(row.limit_price),
        "trigger_price": _text(row.stop_price),
        "at_ns": row.market_at,
    }


def known_at_start(row: OrderRow, executions: Iterable[RunExecution]) -> Known:
    """What an engine knows of an order that it adopts."""
    return Known(
        accepted=True,
        executions=frozenset(one.exec_id for one in executions),
        quantity=row.quantity,
        limit_price=row.limit_price,
        stop_price=row.stop_price,
    )


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def _text(value: Decimal | None) -> str | None:
    return None if value is None else f"{value:f}"
