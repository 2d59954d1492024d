"""Which purchase a sale closes: first in, first out, in one account and one contract.

Plain values in, plain values out. Quantities are signed: positive bought, negative sold short. Costs and proceeds are in the
contract's currency, without commissions: those come later than their executions, so that they are added when a match is read
(`fee_share`). Nothing is rounded: where a lot is divided, its last part takes what is left, so that parts always add up.
"""

from collections.abc import Iterable
from decimal import Context, Decimal, Inexact
from typing import NamedTuple

ZERO = Decimal(0)
_EXACT = Context(prec=400, traps=[Inexact])
"""Sums and products without rounding; PostgreSQL's numeric does not round them either."""
_PARTS = Context(prec=400)
_SMALLEST = Decimal("1e-12")
"""A part of a cost is cut to so many decimals; IB's prices have at most eight."""


class Trade(NamedTuple):
    """What changes a position: an execution, an opening, or an adjustment.

    key: its identity, unique in account and contract. ts: market time in ns. quantity: signed. price: of one unit as IB quotes
    it; None where nobody knows it. unit: what a price of 1 is worth for a quantity of 1: multiplier by price magnifier.
    """

    key: str
    ts: int
    quantity: Decimal
    price: Decimal | None
    unit: Decimal = Decimal(1)

    @property
    def value(self) -> Decimal | None:
        """quantity * price * unit: what was paid, negative for what was received."""
        return None if self.price is None else _product(self.quantity, self.price, self.unit)


class Split(NamedTuple):
    """A position was multiplied without money: change is what it gained, or lost."""

    key: str
    ts: int
    change: Decimal


class Lot(NamedTuple):
    """What is left of a trade that opened something. quantity: signed, in today's units. opened: the same in the units of its
    trade, which a split leaves alone. cost: value of what is left; None where its price is not known."""

    key: str
    ts: int
    quantity: Decimal
    opened: Decimal
    cost: Decimal | None


class Match(NamedTuple):
    """A part of a lot that a later trade closed.

    quantity: signed as the lot, in units of the closing. opened: the same in units of the opening. cost, proceeds: what the
    part had cost, and what closing it brought, both signed as values of the lot's side; None where a price is not known.
    flat: whether no lot was left after it, so that a round trip ended.
    """

    opened_key: str
    closed_key: str
    opened_ts: int
    closed_ts: int
    quantity: Decimal
    opened: Decimal
    cost: Decimal | None
    proceeds: Decimal | None
    flat: bool = False

    @property
    def gross(self) -> Decimal | None:
        """Profit before commissions; None while one of both prices is not known."""
        if self.cost is None or self.proceeds is None:
            return None
        return _EXACT.subtract(self.proceeds, self.cost)


Event = Trade | Split


class SplitWithoutPosition(ValueError):
    """A split of a position that is flat, or one that turns it: the facts contradict each other."""


class Booked(NamedTuple):
    """The open lots after an event, the oldest first, and what it closed."""

    lots: tuple[Lot, ...]
    matches: tuple[Match, ...] = ()


def book(lots: tuple[Lot, ...], event: Event) -> Booked:
    """Book one event on the open lots of a contract."""
    if isinstance(event, Split):
        return Booked(_split(lots, event))
    return _trade(lots, event)


def book_all(events: Iterable[Event]) -> Booked:
    """Book events from the beginning of a contract, in the order of (ts, key)."""
    lots: tuple[Lot, ...] = ()
    matches: list[Match] = []
    for event in sorted(events, key=lambda event: (event.ts, event.key)):
        done = book(lots, event)
        lots = done.lots
        matches += done.matches
    return Booked(lots, tuple(matches))


def position(lots: Iterable[Lot]) -> Decimal:
    """The quantity of all open lots."""
    return _sum(lot.quantity for lot in lots)


def cost(lots: Iterable[Lot]) -> Decimal | None:
    """What all open lots cost; None where one of them has no known price."""
    total = ZERO
    for lot in lots:
        if lot.cost is None:
            return None
        total = _EXACT.add(total, lot.cost)
    return total


def fee_share(fee: Decimal | None, part: Decimal, whole: Decimal) -> Decimal | None:
    """The share of a trade's commission that belongs to a part of its quantity; None while IB has not sent the commission."""
    if fee is None or whole == ZERO:
        return fee
    return fee * abs(part) / abs(whole)


# ---- trades ----------------------------------------------------------------------------------------------------------


def _trade(lots: tuple[Lot, ...], trade: Trade) -> Booked:
    """Close lots of the other side, the oldest first; what is left of the trade opens one."""
    left, closes = trade.quantity, 0
    kept: list[Lot] = []
    matches: list[Match] = []
    value_left = trade.value
    for lot in lots:
        if left == ZERO or not _opposite(lot.quantity, left):
            break
        closes += 1
        size = min(abs(lot.quantity), abs(left))
        proceeds = _part_known(value_left, size, abs(left))
        match, rest = _close(lot, size, trade, None if proceeds is None else -proceeds)
        matches.append(match)
        value_left = _minus(value_left, proceeds)
        left = _EXACT.add(left, match.quantity)
        if rest is not None:
            kept.append(rest)
    kept += lots[closes:]
    if matches and not kept:
        matches[-1] = matches[-1]._replace(flat=True)
    if left != ZERO:
        kept.append(Lot(trade.key, trade.ts, left, left, value_left))
    return Booked(tuple(kept), tuple(matches))


def _close(lot: Lot, size: Decimal, trade: Trade, proceeds: Decimal | None) -> tuple[Match, Lot | None]:
    """size: units of the lot that are closed, positive."""
    whole = abs(lot.quantity)
    closed = size.copy_sign(lot.quantity)
    paid, opened = _part_known(lot.cost, size, whole), _part(lot.opened, size, whole)
    match = Match(lot.key, trade.key, lot.ts, trade.ts, closed, opened, paid, proceeds)
    if size == whole:
        return match, None
    rest = lot._replace(
        quantity=_EXACT.subtract(lot.quantity, closed),
        opened=_EXACT.subtract(lot.opened, opened),
        cost=_minus(lot.cost, paid),
    )
    return match, rest


def _opposite(one: Decimal, other: Decimal) -> bool:
    return (one > ZERO) is not (other > ZERO)


# ---- splits ----------------------------------------------------------------------------------------------------------


def _split(lots: tuple[Lot, ...], split: Split) -> tuple[Lot, ...]:
    """Share the change out by the lots' quantities; costs stay."""
    before = position(lots)
    after = _EXACT.add(before, split.change)
    if before == ZERO or after == ZERO or _opposite(before, after):
        text = f"a position of {before} cannot become {after} by a split"
        raise SplitWithoutPosition(text)
    left_change, left_before = split.change, before
    changed = []
    for lot in lots:
        part = _part(left_change, abs(lot.quantity), abs(left_before))
        changed.append(lot._replace(quantity=_EXACT.add(lot.quantity, part)))
        left_change = _EXACT.subtract(left_change, part)
        left_before = _EXACT.subtract(left_before, lot.quantity)
    return tuple(changed)


# ---- exact arithmetic ------------------------------------------------------------------------------------------------


def _part(value: Decimal, size: Decimal, whole: Decimal) -> Decimal:
    """value * size / whole, cut to a number of decimals; all of the value when size is the whole."""
    if size == whole:
        return value
    return _PARTS.divide(_EXACT.multiply(value, size), whole).quantize(_SMALLEST, context=_PARTS).normalize(_PARTS)


def _part_known(value: Decimal | None, size: Decimal, whole: Decimal) -> Decimal | None:
    return None if value is None else _part(value, size, whole)


def _minus(value: Decimal | None, part: Decimal | None) -> Decimal | None:
    return None if value is None or part is None else _EXACT.subtract(value, part)


def _product(*factors: Decimal) -> Decimal:
    found = Decimal(1)
    for factor in factors:
        found = _EXACT.multiply(found, factor)
    return found


def _sum(values: Iterable[Decimal]) -> Decimal:
    total = ZERO
    for value in values:
        total = _EXACT.add(total, value)
    return total
