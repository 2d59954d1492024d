"""What IB asks for an order, by asset class, as simulated fills are charged.

IB's fixed prices (interactivebrokers.com, commissions, read 2026-11), for the smallest monthly volume. Exchange fees of
futures differ by contract; one figure for US index futures stands in. Minimums are in US dollars, so that instruments of
another currency have none; the notes of a result say so.
"""

from collections.abc import Mapping
from typing import NamedTuple

from nautilus.market.instrument import Instrument


class Commission(NamedTuple):
    """Of one order, decimal texts in the instrument's currency: per share or contract, plus a fraction of its value, at
    least `minimum`, at most `most_rate` of its value."""

    per_unit: str
    rate: str
    minimum: str
    most_rate: str | None


_US_STOCK = Commission("0.005", "0", "1", "0.01")
_OTHER_STOCK = Commission("0", "0.0005", "0", None)
_PAIR = Commission("0", "0.00002", "2", None)
_FUTURE = Commission("2.25", "0", "0", None)
_BY_CLASS: Mapping[str, Commission] = {"CASH": _PAIR, "FUT": _FUTURE}


def commission_of(instrument: Instrument) -> Commission:
    """What an order in this instrument is charged."""
    if instrument.asset_class == "STK":
        return _US_STOCK if instrument.currency == "USD" else _OTHER_STOCK
    found = _BY_CLASS[instrument.asset_class]
    return found if instrument.currency == "USD" else found._replace(minimum="0")


def notes(instrument: Instrument) -> list[str]:
    """What these commissions leave out, in words."""
    if instrument.currency == "USD":
        return []
    return [f"{instrument.instrument_id}: the least commission of an order, in US dollars, was not charged"]
