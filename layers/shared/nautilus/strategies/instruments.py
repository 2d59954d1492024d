"""Which instruments a strategy can trade, and which series it needs for that."""

from collections.abc import Iterable, Mapping
from decimal import Decimal

from nautilus.errors import InvalidInput

TRADABLE: Mapping[str, frozenset[str]] = {
    "STK": frozenset({"TRADES"}),
    "FUT": frozenset({"TRADES"}),
    "CASH": frozenset({"BID", "ASK"}),
}
"""Asset class -> price kinds whose bars the engine fills orders on: those of a pair need both sides, as it denies every order
on midpoints."""


def missing_prices(asset_class: str, prices: Iterable[str]) -> list[str]:
    """The price kinds that a run of an instrument needs beside these. InvalidInput for what cannot be traded at all."""
    needed = TRADABLE.get(asset_class)
    if needed is None:
        raise InvalidInput.field("series", f"a strategy cannot trade {asset_class}", sorted(TRADABLE))
    return sorted(needed - set(prices))


def digits_of(min_tick: float, in_bars: int) -> int:
    """Decimals that prices of a run have at most: those of the tick, or of its bars, which may have half ticks; 9 at most."""
    exponent = Decimal(repr(min_tick)).normalize().as_tuple().exponent
    return min(_MOST_DIGITS, max(in_bars, -exponent if isinstance(exponent, int) else 0, 0))


_MOST_DIGITS = 9
