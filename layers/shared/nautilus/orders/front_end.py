"""An order in the words of the web front end that there was before: its list, its socket, and its answer to a new order.

Its numbers are JSON numbers: the page does arithmetic with them. What nobody knows is null, which it shows as `-`.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

from nautilus.clock import microseconds_text
from nautilus.db.orders.orders import OrderRow
from nautilus.errors import Conflict, InvalidInput, Refused, Unavailable
from nautilus.orders.change import Changed
from nautilus.orders.check_case import plain
from nautilus.orders.states import OrderState, RequestState

WAIT_S = 2.0
"""How long the answer to a new order, a modify or a cancel waits for what becomes of it: the page shows a refusal only there."""

_IB_WORDS: Mapping[OrderState, str] = {
    OrderState.WORKING: "Submitted",
    OrderState.HELD: "PreSubmitted",
    OrderState.FILLED: "Filled",
    OrderState.CANCELLED: "Cancelled",
}
"""The states for which the page has a colour. It shows any other word as it is, so the others keep their own: an order that
is unknown, denied or rejected must not look like one that was cancelled."""

_SENTENCES: Mapping[OrderState, str] = {
    OrderState.ACCEPTED: "is stored and not sent yet; it is denied if it cannot be sent in time",
    OrderState.RESERVED: "is being sent",
    OrderState.SENDING: "is being sent",
    OrderState.SENT: "is at IB, which has not confirmed it yet",
    OrderState.HELD: "is at IB, which holds it",
    OrderState.WORKING: "is working at IB",
    OrderState.INACTIVE: "is inactive at IB: refused, or held; it may still fill",
    OrderState.UNKNOWN: "may be at IB or not, nobody knows: do not place it again, look for it in TWS",
    OrderState.DENIED: "is denied and was not sent",
    OrderState.REJECTED: "is rejected by IB",
    OrderState.FILLED: "is filled",
    OrderState.CANCELLED: "is cancelled",
    OrderState.EXPIRED: "is expired",
}
_REPEATED = "the same order was placed a moment ago, so this is taken for a double click"


def order_object(row: OrderRow) -> dict[str, Any]:
    """An order as the page keeps it: a row of its list, and the data of the message `ib_order`, which replaces that row.

    order_id is text, as the page cuts it; total_quantity and filled_quantity are always numbers. timestamp: when the order
    was accepted, machine time in UTC; the page counts by it the orders of today. state and message are ours.
    """
    return {
        "order_id": str(row.id),
        "client_id": row.client_id,
        "account_id": row.account,
        "contract_id": str(row.con_id),
        "symbol": row.symbol,
        "action": row.side,
        "order_type": row.type,
        "time_in_force": row.tif,
        "total_quantity": _number(row.quantity),
        "filled_quantity": _number(row.filled),
        "remaining_quantity": _number(max(row.quantity - row.filled, Decimal(0))),
        "limit_price": _price(row.limit_price),
        "stop_price": _price(row.stop_price),
        "avg_fill_price": _price(row.avg_fill_price),
        "status": status_of(row.state),
        "state": row.state,
        "message": row.why or None,
        "timestamp": microseconds_text(row.accepted_at),
    }


def status_of(state: str) -> str:
    """IB's word where the page has a colour for it, else our own, capitalised."""
    return _IB_WORDS.get(OrderState(state), state.capitalize())


def _number(value: Decimal) -> int | float:
    return int(value) if value == value.to_integral_value() else float(value)


def _price(value: Decimal | None) -> int | float | None:
    return None if value is None else _number(value)


def answer(row: OrderRow, message: str = "") -> dict[str, Any]:
    """The answer about one order. message: what was requested; by default how the order stands."""
    return {"order_id": str(row.id), "message": message or sentence(row), "order": order_object(row)}


def sentence(row: OrderRow) -> str:
    """What the order is and how it stands, in words."""
    prices = "".join(f" {name} {plain(value)}" for name, value in _prices(row).items() if value is not None)
    part = f", {plain(row.filled)} of it filled" if 0 < row.filled < row.quantity else ""
    why = f" ({row.why})" if row.why else ""
    what = f"{row.side} {plain(row.quantity)} {row.symbol} {row.type}{prices}"
    return f"{what} {_SENTENCES[OrderState(row.state)]}{part}{why}"


def _prices(row: OrderRow) -> dict[str, Decimal | None]:
    return {
        "limit": row.limit_price,
        "stop": row.stop_price,
        "trail": row.trail_amount,
        "trail percent": row.trail_percent,
    }


def placed(row: OrderRow, *, repeated: bool) -> dict[str, Any]:
    """The answer to a new order, by what became of it meanwhile.

    The page shows that an order was placed, or the sentence of an error; nothing else. So an error is raised for all that the
    user must know: InvalidInput when it is denied, Refused when IB rejects it, Conflict when it is unknown. repeated: it was
    there before; Conflict, too, when it is over by now without being filled.
    """
    text, extra = sentence(row), {"order": order_object(row)}
    if repeated:
        text = f"{_REPEATED}: {text}"
    match row.state:
        case OrderState.DENIED:
            raise InvalidInput(text, code="order-denied", extra={**extra, "checks": row.checks})
        case OrderState.REJECTED:
            raise Refused(text, code="order-rejected", extra=extra)
        case OrderState.UNKNOWN:
            raise Conflict(text, code="order-unknown", extra=extra)
        case OrderState.CANCELLED | OrderState.EXPIRED if repeated:
            raise Conflict(text, code="order-over", extra=extra)
    return answer(row, text)


def changed(done: Changed) -> dict[str, Any]:
    """The answer to a modify or a cancel, by what became of it meanwhile.

    The page shows that it is done, or the sentence of an error. So an error is raised for what is known not to be done: Refused
    when IB refuses it, Conflict when the order is over, or when nobody knows whether it was done.
    """
    request, stands, extra = done.request, sentence(done.order), {"order": order_object(done.order)}
    if request is None or request.state == RequestState.CONFIRMED or _ended_as_wanted(done):
        return answer(done.order, stands)
    match request.state:
        case RequestState.REFUSED:
            text = f"the {request.kind} is refused: {request.why}; {stands}"
            raise Refused(text, code="order-change-refused", extra=extra)
        case RequestState.UNKNOWN:
            text = f"nobody knows whether IB did the {request.kind}; {stands}"
            raise Conflict(text, code="order-change-unknown", extra=extra)
        case RequestState.OVERTAKEN:
            raise Conflict(f"the {request.kind} came too late: {stands}", code="order-over", extra=extra)
    return answer(done.order, f"the {request.kind} is requested, and not confirmed by IB yet; {stands}")


def _ended_as_wanted(done: Changed) -> bool:
    return done.request is not None and done.request.kind == "cancel" and done.order.state == OrderState.CANCELLED


def refreshed(process: Mapping[str, Any] | None) -> dict[str, Any]:
    """The answer to who wants orders, positions or values of accounts anew: they come from IB by themselves, as long as the
    order process runs. process: as `risk_report.process_json` tells it."""
    if process is None:
        return {"message": "no order process ever ran, so nothing comes from IB", "order_process": None}
    message = f"what IB sends is stored as it comes; the order process is {process['state']}"
    return {"message": message, "order_process": process}


_UNCERTAIN = frozenset({"database-unavailable", "database-slow"})
"""Codes of failures that may have come after the commit."""


@contextmanager
def may_be_stored() -> Iterator[None]:
    """A failure to place an order says what the user must know before the next click: it may have come after the commit."""
    try:
        yield
    except Unavailable as away:
        if away.code not in _UNCERTAIN:
            raise
        text = f"{away.detail}; the order may be stored: look at the list of orders before you place it again"
        raise Unavailable(text, code=away.code, retry_after_s=away.retry_after_s or 5) from away
