"""How much of an instrument an account may come to hold: its position, and what its open orders reserve.

One rule, for the function that accepts an order, the process that sends it and the check that computes all of it anew. Plain
values in, plain values out; quantities are in units of the instrument (shares, contracts, coins, units of a pair's first
currency), values in the account's base currency.
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

from nautilus.orders.ticket import Side

ZERO = Decimal(0)
HUNDRED = Decimal(100)


class Exposure(NamedTuple):
    """What an account holds of an instrument, and what its open orders could add. position: negative when it is short."""

    position: Decimal = ZERO
    reserved_buy: Decimal = ZERO
    reserved_sell: Decimal = ZERO

    def reserved(self, side: Side) -> Decimal:
        """What the open orders of a side could still fill."""
        return self.reserved_buy if side is Side.BUY else self.reserved_sell

    def furthest(self, side: Side, quantity: Decimal = ZERO) -> Decimal:
        """The position if every open order of a side fills, a new one of this quantity too, and none of the other side."""
        return self.position + side.sign * (self.reserved(side) + quantity)


class PendingOrder(NamedTuple):
    """An order that is not over, as the rules look at it. reserved: the quantity that it could still fill.

    group: of orders of which one ends the others (an OCA group, the exits of a bracket); empty for an order alone. together:
    two orders of the group may fill (OCA type 3). asleep: an exit of a bracket whose first order has not filled anything.
    limit, stop: the prices that IB is to have; of a change under way the new ones. entry_of: of the first order of a bracket
    the group of its exits.
    """

    order_id: str
    side: Side
    type: str
    reserved: Decimal
    limit: Decimal | None = None
    stop: Decimal | None = None
    group: str = ""
    together: bool = False
    asleep: bool = False
    unknown: bool = False
    entry_of: str = ""


def reserved_quantity(*, reserves: bool, quantity: Decimal, filled: Decimal, wanted: Decimal | None = None) -> Decimal:
    """What an order could still fill: the larger of its quantity and that of an open change, less what has filled.

    reserves: whether its state holds a reservation (every state but those that are over). Never negative: an order that
    filled more than its quantity reserves nothing.
    """
    largest = quantity if wanted is None else max(quantity, wanted)
    return max(largest - filled, ZERO) if reserves else ZERO


def reserved_value(quantity: Decimal, unit_value: Decimal, *, reducing: bool) -> Decimal:
    """The value that a reserved quantity holds of the account's gross exposure: none for an order that only reduces."""
    return ZERO if reducing else quantity * unit_value


def unit_value(price: Decimal, *, multiplier: Decimal, magnifier: Decimal, rate: Decimal) -> Decimal:
    """The value of one unit in the account's base currency.

    price: in the instrument's currency, or in hundredths of it where IB says so by its magnifier of 100. rate: what one unit of
    the instrument's currency is worth in the base currency. A negative price (a future's) has a value, too.
    """
    return abs(price) * multiplier / magnifier * rate


def pending(orders: Iterable[PendingOrder], side: Side) -> Decimal:
    """What the open orders of a side could fill at most, with what groups rule out.

    Of a group of which one order ends the others only the largest counts. An exit whose first order has not filled cannot
    fill: it does not count, unless that first order is unknown.
    """
    alone, groups = ZERO, dict[str, Decimal]()
    for order in orders:
        if order.side is not side or order.asleep:
            continue
        if not order.group or order.together:
            alone += order.reserved
        else:
            groups[order.group] = max(groups.get(order.group, ZERO), order.reserved)
    return alone + sum(groups.values(), ZERO)


def added(orders: Iterable[PendingOrder], side: Side, quantity: Decimal, *, group: str = "") -> Decimal:
    """How much a new order adds to what is pending on its side.

    group: the OCA group of type 1 or 2 that it joins; of such a group only what goes beyond its largest order counts.
    """
    if not group:
        return quantity
    counted = (one for one in orders if one.group == group and one.side is side and not (one.together or one.asleep))
    return max(quantity - max((one.reserved for one in counted), default=ZERO), ZERO)


def exposure_of(position: Decimal, orders: Iterable[PendingOrder]) -> Exposure:
    """The exposure with each group counted once."""
    kept = tuple(orders)
    return Exposure(position, pending(kept, Side.BUY), pending(kept, Side.SELL))


def is_reducing(exposure: Exposure, side: Side, quantity: Decimal) -> bool:
    """True when an order moves the position strictly toward zero, whatever else fills: never through it.

    quantity: what the order adds (`added`). The open orders of the same side count as filled, so that two orders that close
    one position do not both count as reducing. Those of the other side do not count: they may never fill.
    """
    if exposure.position * side.sign >= ZERO:
        return False
    return exposure.reserved(side) + quantity <= abs(exposure.position)
