"""Contracts of a portfolio: their names, what a price of 1 is worth, and the newest prices that somebody sent."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from nautilus.clock import day_of
from nautilus.db.cursor import Cursor
from nautilus.db.live import quotes
from nautilus.db.market import instruments
from nautilus.db.portfolio import closes
from nautilus.market.instrument import Instrument
from nautilus.orders.facts import magnifier_of, multiplier_of
from nautilus.portfolio.trade_dates import span_of
from nautilus.portfolio.valuing import Prices

MARGINED = frozenset({"FUT", "CFD"})
"""Asset classes whose trades move no cash by their price: gains and losses are settled day by day."""


class Contract(NamedTuple):
    """A contract as a portfolio needs it. unit: multiplier by price magnifier; None where the multiplier is not known, as nobody
    has looked the contract up. instrument: None likewise."""

    con_id: int
    instrument: Instrument | None
    unit: Decimal | None

    @property
    def symbol(self) -> str | None:
        return self.instrument.symbol if self.instrument else None

    @property
    def currency(self) -> str | None:
        return self.instrument.currency if self.instrument else None

    @property
    def asset_class(self) -> str | None:
        return self.instrument.asset_class if self.instrument else None

    def as_dict(self) -> dict[str, Any]:
        """How the API names it."""
        return {
            "con_id": self.con_id,
            "symbol": self.symbol,
            "instrument_id": self.instrument.instrument_id if self.instrument else None,
            "asset_class": self.asset_class,
            "currency": self.currency,
        }


def contracts(cursor: Cursor, con_ids: Iterable[int]) -> dict[int, Contract]:
    """All of these, also those that nobody has looked up."""
    wanted = sorted(set(con_ids))
    known = instruments.several(cursor, wanted)
    details = instruments.several_details(cursor, wanted)
    return {con_id: _contract(con_id, known.get(con_id), details.get(con_id, {})) for con_id in wanted}


def _contract(con_id: int, instrument: Instrument | None, details: Mapping[str, object]) -> Contract:
    multiplier = multiplier_of(instrument) if instrument else None
    return Contract(con_id, instrument, None if multiplier is None else multiplier / magnifier_of(details))


class Newest(NamedTuple):
    """The newest quote, and the last daily close with the end of its trade date (market time in ns)."""

    quote: Prices
    close: Decimal | None = None
    close_at: int | None = None


_OLD_FEEDS = frozenset({"delayed", "delayed_frozen", "frozen"})
"""A delayed quote is a quarter of an hour old when it comes, a frozen one is that of the last close."""


def newest_prices(cursor: Cursor, con_ids: Iterable[int], now: int) -> dict[int, Newest]:
    """What is known of prices; a contract without any has empty ones. now: market time in ns."""
    wanted = sorted(set(con_ids))
    quoted = {row.con_id: row for row in quotes.newest(cursor, wanted)}
    daily = {row.con_id: row for row in closes.newest(cursor, wanted, now)}
    found = {}
    for con_id in wanted:
        row, bar = quoted.get(con_id), daily.get(con_id)
        quote = Prices()
        if row is not None:
            old = row.feed in _OLD_FEEDS
            bid, ask, last, close = map(_decimal, (row.bid, row.ask, row.last, row.close))
            quote = Prices(bid, ask, last, close, row.seen_at, old, row.ts if old else None)
        ended = min(span_of(day_of(bar.ts))[1], now) if bar else None
        found[con_id] = Newest(quote, _decimal(bar.close) if bar else quote.close, ended)
    return found


def _decimal(value: float | None) -> Decimal | None:
    """The shortest decimal that means this float: what IB sent."""
    return None if value is None else Decimal(repr(value))
