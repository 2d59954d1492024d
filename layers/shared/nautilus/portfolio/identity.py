"""Whether the book adds up, per account and currency, to the cent.

Two equations, which must not be mixed. The book's own: what was made, realized and not, is what the trades left in cash and in
positions. It holds by arithmetic, so that a difference is a fault of ours. The broker's: the cash that IB reports has moved by
what trades, commissions and cash movements explain. A difference there is money that nobody explained yet.
"""

from decimal import Decimal
from typing import NamedTuple

CENT = Decimal("0.01")


class BookTotals(NamedTuple):
    """Of one account and currency since its opening; gross: before commissions.

    realized: of all matches. unrealized: market value less cost of open lots. traded: signed value of all trades (what was
    paid, negative for what was received), the openings included. market_value: of open lots. unpriced: adjustments whose
    price nobody knows; unvalued: positions without a price to value them.
    """

    realized: Decimal | None
    unrealized: Decimal | None
    traded: Decimal
    market_value: Decimal | None
    unpriced: int = 0
    unvalued: int = 0


class CashTotals(NamedTuple):
    """Of one account and currency since its opening. before, now: IB's cash balance; None where IB has not sent it.

    trades: what trades moved, negative for purchases. fees: commissions, positive. movements: interest, dividends, deposits and
    the like, signed. missing_fees: executions and missed fills whose commission
    is not known.
    """

    before: Decimal | None
    now: Decimal | None
    trades: Decimal
    fees: Decimal
    movements: Decimal
    unpriced: int = 0
    missing_fees: int = 0


class Identity(NamedTuple):
    """holds: None where something is not known. difference: what is missing on the right side. text: a sentence for people."""

    holds: bool | None
    difference: Decimal | None
    text: str


def book_identity(totals: BookTotals) -> Identity:
    """realized + unrealized = market value - traded."""
    if totals.unpriced:
        return Identity(None, None, f"identity: open ({_counted(totals.unpriced, 'adjustment')})")
    if totals.realized is None or totals.unrealized is None or totals.market_value is None:
        return Identity(None, None, f"identity: open ({_counted(totals.unvalued, 'position')} without a price)")
    return _compared(totals.realized + totals.unrealized, totals.market_value - totals.traded)


def cash_identity(totals: CashTotals) -> Identity:
    """cash now - cash before = trades - fees + movements."""
    if totals.unpriced:
        return Identity(None, None, f"identity: open ({_counted(totals.unpriced, 'adjustment')})")
    if totals.missing_fees:
        return Identity(None, None, f"identity: open ({_counted(totals.missing_fees, 'commission')} not known yet)")
    if totals.before is None or totals.now is None:
        return Identity(None, None, "identity: open (no cash balance from IB)")
    return _compared(totals.trades - totals.fees + totals.movements, totals.now - totals.before)


def _compared(ours: Decimal, theirs: Decimal) -> Identity:
    missing = theirs - ours
    if abs(missing) < CENT:
        return Identity(True, missing, "identity: holds")
    return Identity(False, missing, f"identity: broken by {missing.quantize(CENT)}")


def _counted(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
