"""What a position is worth, and at which price: the newest one that somebody sent, with its source and its age.

Plain values in, plain values out. A price that is old is used and marked as stale; where there is none there is no value.
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

from nautilus.clock import NS_PER_S
from nautilus.portfolio.lots import ZERO

QUOTE_FRESH_NS = 60 * NS_PER_S
"""A quote that is older is stale."""
BROKER_FRESH_NS = 360 * NS_PER_S
"""IB repeats values each three minutes; twice that is stale."""


class Mark(NamedTuple):
    """A price of one unit in the contract's currency. source: `quote`, `broker` (the value that IB sent of the position), `close`
    (the last daily bar or the close of the day before). as_of: market time in ns; None where it is not known."""

    price: Decimal
    source: str
    as_of: int | None
    stale: bool


class Prices(NamedTuple):
    """What was sent about a price. seen_at: when a quote came (market time in ns). old_at: of a quote of a delayed or a frozen
    feed, from when it is, as far as that is known; such a quote is stale however late it came."""

    bid: Decimal | None = None
    ask: Decimal | None = None
    last: Decimal | None = None
    close: Decimal | None = None
    seen_at: int | None = None
    old: bool = False
    old_at: int | None = None


def of_quote(prices: Prices) -> Decimal | None:
    """The last price where it lies between bid and ask, else their middle; without both sides the last price."""
    if prices.bid is None or prices.ask is None or prices.ask < prices.bid:
        return prices.last
    if prices.last is not None and prices.bid <= prices.last <= prices.ask:
        return prices.last
    return (prices.bid + prices.ask) / 2


def mark(now: int, candidates: Iterable[Mark | None]) -> Mark | None:
    """The first that is not stale; else the newest of those that are. now: market time in ns."""
    known = [one for one in candidates if one is not None and (one.as_of is None or one.as_of <= now + NS_PER_S)]
    fresh = next((one for one in known if not one.stale), None)
    return fresh or max(known, key=lambda one: one.as_of or 0, default=None)


def quote_mark(prices: Prices, now: int) -> Mark | None:
    """By a live quote; None without a price in it."""
    price = of_quote(prices)
    if price is None or prices.seen_at is None:
        return None
    if prices.old:
        return Mark(price, "quote", prices.old_at, True)
    return Mark(price, "quote", prices.seen_at, now - prices.seen_at > QUOTE_FRESH_NS)


def broker_mark(
    value: Decimal | None, quantity: Decimal | None, *, unit: Decimal, as_of: int | None, now: int
) -> Mark | None:
    """By the value that IB sent of a whole position. Its currency must be the contract's: the caller takes care."""
    if value is None or quantity is None or quantity == ZERO or as_of is None:
        return None
    return Mark(value / quantity / unit, "broker", as_of, now - as_of > BROKER_FRESH_NS)


def close_mark(price: Decimal | None, as_of: int | None) -> Mark | None:
    """By a close: always stale, as the market may have moved since."""
    return None if price is None else Mark(price, "close", as_of, True)


class Valued(NamedTuple):
    """What a position is worth and what it would make. cost: of its lots, None where nobody knows it; money in the contract's
    currency; None where a price or the multiplier is not known."""

    cost: Decimal | None
    value: Decimal | None
    unrealized: Decimal | None


def valued(quantity: Decimal, cost: Decimal | None, unit: Decimal | None, found: Mark | None) -> Valued:
    value = None if unit is None or found is None else quantity * found.price * unit
    gain = None if value is None or cost is None else value - cost
    return Valued(cost, value, gain)
