"""What can be traded, as IB describes it, and which bars there are of it.

An instrument is its IB `conId`.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import NamedTuple

from nautilus.errors import InvalidInput

ASSET_CLASSES: tuple[str, ...] = ("STK", "CASH", "FUT", "IND", "CRYPTO", "CFD", "CMDTY", "BOND", "OPT", "FOP")
PRICE_KINDS: tuple[str, ...] = ("TRADES", "MIDPOINT", "BID", "ASK", "BID_ASK", "AGGTRADES")
SESSION_KINDS: tuple[str, ...] = ("rth", "all")
QUOTE_KINDS = frozenset({"MIDPOINT", "BID", "ASK", "BID_ASK"})
"""Kinds that have a bar for every slot of a session, and no volume."""
VOLUME_UNITS: dict[str, str] = {
    "STK": "shares",
    "FUT": "contracts",
    "OPT": "contracts",
    "FOP": "contracts",
    "CRYPTO": "coins",
}
"""Asset class -> what stored volumes count; the others have none, or IB does not say what it counts."""
_TRADED = ("TRADES", "MIDPOINT", "BID", "ASK", "BID_ASK")
_QUOTED = ("MIDPOINT", "BID", "ASK", "BID_ASK")
# Which kinds IB offers for which product (TWS API, historical bars, "available data per product"; read 2026-11).
_OFFERED: dict[str, tuple[str, ...]] = {
    "STK": _TRADED,
    "FUT": _TRADED,
    "OPT": _TRADED,
    "FOP": _TRADED,
    "BOND": _TRADED,
    "IND": ("TRADES",),
    "CASH": _QUOTED,
    "CFD": _QUOTED,
    "CMDTY": _QUOTED,
    "CRYPTO": ("AGGTRADES", *_QUOTED),
}


class Instrument(NamedTuple):
    """One tradable thing, as IB's contract details describe it. `expiry` is yyyymmdd or empty."""

    con_id: int
    instrument_id: str
    symbol: str
    asset_class: str
    exchange: str
    primary_exchange: str
    currency: str
    local_symbol: str
    trading_class: str
    expiry: str
    multiplier: str
    min_tick: float
    long_name: str
    time_zone: str
    calendar: str

    @property
    def display_symbol(self) -> str:
        """The symbol a caller would use again: `EUR/USD` for a pair, the root for a future."""
        return f"{self.symbol}/{self.currency}" if self.asset_class in ("CASH", "CRYPTO") else self.symbol


def volume_unit(instrument: Instrument, price: str) -> str | None:
    """What the volumes of a series count; None where it has none."""
    return None if price in QUOTE_KINDS else VOLUME_UNITS.get(instrument.asset_class)


def sent_in_lots(instrument: Instrument, price: str) -> bool:
    """True for the series whose volumes some gateways send in lots of a hundred: those of US stocks."""
    return instrument.asset_class == "STK" and instrument.currency == "USD" and price not in QUOTE_KINDS


def upper_ascii(text: str) -> str:
    """Upper case of ASCII text; other text stays: `ß` and `ſ` would become letters that nobody typed."""
    return text.strip().upper() if text.isascii() else text


def price_kinds(asset_class: str) -> tuple[str, ...]:
    """The price kinds of bars that IB has of an asset class, the default first."""
    return _OFFERED.get(asset_class, _TRADED)


def price_kind(asset_class: str, given: str | None) -> str:
    """The price kind of a series: as requested, or the default of the asset class. InvalidInput names what exists."""
    offered = price_kinds(asset_class)
    if not given:
        return offered[0]
    kind = upper_ascii(given)
    if kind not in offered:
        raise InvalidInput.field("price", f"{given!r} does not exist for {asset_class}", offered)
    return kind


def session_kind(asset_class: str, given: str | None) -> str:
    """`rth` or `all`: as requested, or the default of the asset class (rth for STK and IND)."""
    if not given:
        return "rth" if asset_class in ("STK", "IND") else "all"
    kind = given.strip().lower()
    if kind not in SESSION_KINDS:
        raise InvalidInput.field("session", f"{given!r} is not a session", SESSION_KINDS)
    return kind


@lru_cache(64)
def kinds(rule: Callable[[str, str | None], str], given: str | None) -> Mapping[str, str]:
    """What `price_kind` or `session_kind` says for each asset class that has what is requested."""
    found = {}
    for asset_class in ASSET_CLASSES:
        with suppress(InvalidInput):
            found[asset_class] = rule(asset_class, given)
    return found
