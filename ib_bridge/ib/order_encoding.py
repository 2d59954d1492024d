"""An order in IB's words. IB's own spellings live here and die here, as in `translate`.

Prices and quantities go out as the text that the row has, not as floats: both client libraries write a text as it is.
"""

from dataclasses import dataclass
from datetime import UTC
from decimal import Decimal
from typing import Any

from ib_bridge.ib.client import Contract, library
from nautilus.clock import datetime_of
from nautilus.market.instrument import Instrument

_ROUTED = {"STK": "SMART", "OPT": "SMART", "CFD": "SMART", "CASH": "IDEALPRO", "CRYPTO": "PAXOS"}
"""Asset class -> the exchange that orders are sent to; other contracts go where they are listed."""
_TOUCH = frozenset({"STP", "STP_LMT", "MIT", "LIT"})
_LIMITED = frozenset({"LMT", "STP_LMT", "LIT", "LOC", "TRAIL_LIMIT"})
_TRAILING = frozenset({"TRAIL", "TRAIL_LIMIT"})


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderTerms:
    """What an order asks for, as its row says. good_till: market time in ns, of a GTD order. ref: our order's id."""

    ref: str
    account: str
    side: str
    type: str
    tif: str
    quantity: Decimal
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_amount: Decimal | None = None
    trail_percent: Decimal | None = None
    good_till: int | None = None
    outside_rth: bool = False
    oca_group: str = ""
    oca_type: int = 0


def contract_of(instrument: Instrument) -> Contract:
    """The contract by its number alone: a symbol may have changed hands."""
    return Contract(conId=instrument.con_id, exchange=_ROUTED.get(instrument.asset_class, instrument.exchange))


def encode(terms: OrderTerms, *, transmit: bool = True, parent_id: int = 0, what_if: bool = False) -> Any:
    """The library's order. parent_id: the order id of the first order of a bracket; 0 once that is filled.

    An order that is not transmitted waits in the gateway for the one that is, the last of its group.
    """
    order = library.Order(
        action=terms.side,
        totalQuantity=_text(terms.quantity),
        orderType=terms.type.replace("_", " "),
        tif=terms.tif,
        account=terms.account,
        orderRef=terms.ref,
        outsideRth=terms.outside_rth,
        ocaGroup=terms.oca_group,
        ocaType=terms.oca_type,
        transmit=transmit,
        parentId=parent_id,
        whatIf=what_if,
    )
    if terms.type in _LIMITED:
        order.lmtPrice = _text(terms.limit_price)
    if terms.type in _TOUCH:
        order.auxPrice = _text(terms.stop_price)
    if terms.type in _TRAILING:
        order.auxPrice = _text(terms.trail_amount)
        order.trailingPercent = _text(terms.trail_percent)
        order.trailStopPrice = _text(terms.stop_price)
    if terms.good_till is not None and terms.tif == "GTD":
        order.goodTillDate = datetime_of(terms.good_till).astimezone(UTC).strftime("%Y%m%d-%H:%M:%S")
    return order


def _text(number: Decimal | None) -> str:
    """Plain digits, never an exponent; empty: the order has no such value."""
    return "" if number is None else format(number, "f")
