"""Amounts in other currencies: at the rate of their time, or of now, and what the difference between both made.

rate: what one unit of a currency is worth in the account's base currency, as IB's tag ExchangeRate says it.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import NamedTuple

from nautilus.portfolio.lots import ZERO


class Amount(NamedTuple):
    """Money of one currency. rate: that of its time; None where it was not known then."""

    currency: str
    value: Decimal
    rate: Decimal | None = None


class Translated(NamedTuple):
    """A sum in the base currency; None where a rate is missing, and which currencies those are."""

    value: Decimal | None
    missing: tuple[str, ...] = ()


def at_own_rates(amounts: Iterable[Amount], base: str) -> Translated:
    """Amounts at the rates that were stored with them: realized profits."""
    return _sum((one.currency, one.value, Decimal(1) if one.currency == base else one.rate) for one in amounts)


def at_rates(amounts: Iterable[Amount], rates: Mapping[str, Decimal], base: str) -> Translated:
    """Amounts at rates of one time: unrealized profits and balances."""
    known = {**rates, base: Decimal(1)}
    return _sum((one.currency, one.value, known.get(one.currency)) for one in amounts)


def translation_gain(
    before: Mapping[str, Decimal], then: Mapping[str, Decimal], now: Mapping[str, Decimal], base: str
) -> Translated:
    """What balances held over a time gained because rates moved: balance before * (rate now - rate then).

    before: balance per currency at the beginning. It is a line of its own, neither realized nor unrealized.
    """
    moved = []
    for currency, balance in before.items():
        if currency == base or balance == ZERO:
            continue
        old, new = then.get(currency), now.get(currency)
        moved.append((currency, balance, None if old is None or new is None else new - old))
    return _sum(moved)


def _sum(parts: Iterable[tuple[str, Decimal, Decimal | None]]) -> Translated:
    total, missing = ZERO, []
    for currency, value, rate in parts:
        if rate is None:
            if value != ZERO:
                missing.append(currency)
            continue
        total += value * rate
    return Translated(None if missing else total, tuple(sorted(set(missing))))
