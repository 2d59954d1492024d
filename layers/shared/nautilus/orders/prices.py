"""Which prices and quantities an exchange takes: IB's market rules, in Decimal.

A market rule is a list of steps: from a price on, prices are multiples of its step. `minTick` of the contract details is
only the smallest of them (TWS API, minimum price increment). A price off its step is refused with the two prices beside it;
it is rounded only for who asks for that, and then never to a price that is worse for them.
"""

from collections.abc import Mapping, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import NamedTuple

from nautilus.market.instrument import Instrument
from nautilus.orders.ticket import STOPS, OrderType, Prices, Side

NEGATIVE = frozenset({"FUT"})
"""Asset classes that have traded below zero (crude oil, 2020-04-20). A premium or a share has no negative price."""
RULE, PRICE_STEPS = "market_rule", "price_steps"
"""In an instrument's details: the number of the market rule of the exchange where orders go, and that rule as IB sent it
last: {"market_rule": 26, "steps": [["0", "0.01"]]}, texts of a price and of the step that counts from it on."""
MIN_SIZE, SIZE_STEP = "min_size", "size_increment"
"""In an instrument's details: IB's minSize and sizeIncrement, as texts."""
_WHOLE = frozenset({"STK", "CFD", "FUT", "OPT", "FOP"})
"""Classes of which parts are refused through the API (IB's errors 10243 to 10252), whatever sizeIncrement says."""
_COIN_STEP = Decimal("0.00000001")
"""The smallest part of a coin that IB has, where its details do not tell one."""


class PriceStep(NamedTuple):
    """From this price on, prices are multiples of `step`."""

    from_price: Decimal
    step: Decimal


class MarketRule(NamedTuple):
    """What an exchange takes of an instrument. steps: ascending, the first from 0.

    known: the steps are IB's; else the only one is the smallest price increment, and IB may refuse what passes here.
    """

    steps: tuple[PriceStep, ...]
    size_step: Decimal
    min_size: Decimal
    known: bool

    def step_at(self, price: Decimal) -> Decimal:
        """The step that counts at a price; below zero as at the same distance above it."""
        return next(one.step for one in reversed(self.steps) if one.from_price <= abs(price) or one is self.steps[0])

    @property
    def smallest(self) -> Decimal:
        return min(one.step for one in self.steps)

    def takes(self, price: Decimal) -> bool:
        return price % self.step_at(price) == 0

    def beside(self, price: Decimal) -> tuple[Decimal, Decimal]:
        """The nearest prices that are taken: the highest not above, and the lowest not below."""
        return self.toward(price, ROUND_FLOOR), self.toward(price, ROUND_CEILING)

    def toward(self, price: Decimal, rounding: str) -> Decimal:
        """The nearest price that is taken, rounded up or down (ROUND_CEILING, ROUND_FLOOR)."""
        step = self.step_at(price)
        found = (price / step).to_integral_value(rounding) * step
        # Where another step begins, one more round ends at a multiple of that one.
        other = self.step_at(found)
        return found if found % other == 0 else (found / other).to_integral_value(rounding) * other

    def takes_size(self, quantity: Decimal) -> bool:
        return quantity >= self.min_size and quantity % self.size_step == 0


def rule_of(instrument: Instrument, details: Mapping[str, object]) -> MarketRule:
    """The market rule of an instrument, of IB's contract details and market rules (`instruments.details`)."""
    steps = _steps(details)
    smallest = Decimal(repr(instrument.min_tick)) if instrument.min_tick > 0 else Decimal("0.01")
    size = _size_step(instrument.asset_class, _number(details.get(SIZE_STEP)))
    least = max(size, _number(details.get(MIN_SIZE)) or size)
    return MarketRule(steps or (PriceStep(Decimal(0), smallest),), size, least, bool(steps))


def _steps(details: Mapping[str, object]) -> tuple[PriceStep, ...]:
    """The stored steps; none where they are of another rule than the instrument has now, or make no sense."""
    stored = details.get(PRICE_STEPS)
    if not isinstance(stored, Mapping) or stored.get(RULE) != details.get(RULE):
        return ()
    pairs = stored.get("steps")
    if not isinstance(pairs, Sequence) or isinstance(pairs, str):
        return ()
    found = []
    for pair in pairs:
        low, step = (
            (_number(pair[0]), _number(pair[1])) if isinstance(pair, Sequence) and len(pair) == 2 else (None, None)
        )
        if low is None or step is None or low < 0 or step <= 0:
            return ()
        found.append(PriceStep(low, step))
    return tuple(sorted(found))


def _size_step(asset_class: str, given: Decimal | None) -> Decimal:
    if asset_class in _WHOLE:
        return Decimal(1)
    if given is not None and given > 0:
        return given
    return _COIN_STEP if asset_class == "CRYPTO" else Decimal(1)


def _number(text: object) -> Decimal | None:
    """A number that was stored as text; None for anything else, and for what is no number."""
    if not isinstance(text, str):
        return None
    try:
        value = Decimal(text)
    except ArithmeticError:
        return None
    return value if value.is_finite() else None


def rounded(prices: Prices, rule: MarketRule, *, side: Side, order_type: OrderType) -> Prices:
    """The prices on their steps: a limit never worse than it was, a stop never sooner, a trail never closer.

    A buy's limit goes down, a sell's up. A stop waits above the market for a buy and below it for a sell, and the price of an
    order if touched the other way round.
    """
    down_up = (ROUND_FLOOR, ROUND_CEILING)
    limit = down_up[side is Side.SELL]
    stop = down_up[(side is Side.BUY) == (order_type in STOPS)]
    amount = prices.trail_amount
    return Prices(
        None if prices.limit is None else rule.toward(prices.limit, limit),
        None if prices.stop is None else rule.toward(prices.stop, stop),
        None if amount is None else (amount / rule.smallest).to_integral_value(ROUND_CEILING) * rule.smallest,
        prices.trail_percent,
    )
