"""Instruments by symbol or name: what is known here, and what IB tells of a text, once a day."""

from collections.abc import Mapping, Sequence
from typing import Any

from nautilus.auth.principal import Principal
from nautilus.db.bridge import commands
from nautilus.db.connection import Database
from nautilus.db.cursor import Cursor
from nautilus.db.market import instruments
from nautilus.errors import InvalidInput, NautilusError
from nautilus.infra.executors import Executor
from nautilus.lookup.lookup_commands import LookupCommands
from nautilus.market.instrument import ASSET_CLASSES, Instrument
from nautilus.market.symbols import Selector, is_name, select

_MATCHED = ("STK", "IND", "BOND")
"""Asset classes that IB's symbol search finds; the others are looked up by name."""

# Pairs that IB offers on IDEALPRO (IB's list of currency pairs, read 2026-11), the most traded first.
FOREX_PAIRS: tuple[str, ...] = (
    *("EUR/USD", "USD/JPY", "GBP/USD", "AUD/USD", "USD/CAD", "USD/CHF", "NZD/USD", "EUR/GBP", "EUR/JPY", "EUR/CHF"),
    *("GBP/JPY", "AUD/JPY", "CAD/JPY", "CHF/JPY", "NZD/JPY", "EUR/AUD", "EUR/CAD", "EUR/NZD", "GBP/AUD", "GBP/CAD"),
    *("GBP/CHF", "GBP/NZD", "AUD/CAD", "AUD/CHF", "AUD/NZD", "CAD/CHF", "NZD/CAD", "NZD/CHF", "EUR/SEK", "EUR/NOK"),
    *("USD/SEK", "USD/NOK", "USD/DKK", "EUR/DKK", "USD/HKD", "USD/SGD", "USD/CNH", "USD/MXN", "USD/ZAR", "USD/PLN"),
)


class InstrumentSearch:
    """Searches, in the database and at IB. reads: the threads that ask the database."""

    def __init__(self, database: Database, commands: LookupCommands, *, reads: Executor) -> None:
        self._db = database
        self._commands = commands
        self._reads = reads

    async def search(self, text: str, asset_class: str, most: int, caller: Principal) -> list[dict[str, Any]]:
        """Instruments whose symbol begins with `text` or whose name holds it, best first; of one class, or of all.

        IB is asked too, once a day per text. When it does not answer in time, what is known is the answer.
        """
        name = " ".join(text.upper().split())
        if not name or len(name) > 40 or not name.isprintable():
            raise InvalidInput.field("q", "must be 1 to 40 characters", ["AAPL", "APPLE"])
        kind = asset_class.upper()
        if kind and kind not in ASSET_CLASSES:
            raise InvalidInput.field("sec_type", f"{asset_class!r} is not an asset class", ASSET_CLASSES)
        known, matches, fresh = await self._reads.run(self._find, name, kind, most)
        if not fresh:
            await self._learn(name, kind, caller)
            known, matches, _ = await self._reads.run(self._find, name, kind, most)
        there = {row["con_id"] for row in known}
        found = [*known, *(row for row in matches if row["con_id"] not in there)]
        # A row that cannot be requested by its name helps nobody.
        return sorted((row for row in found if is_name(row["instrument_id"])), key=lambda row: _rank(row, name))[:most]

    def _find(self, name: str, kind: str, most: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]], bool]:
        with self._db.transaction(snapshot=True) as cursor:
            known = [row_of(i, more) for i, more in instruments.matching(cursor, name, kind, most)]
            result = None
            if kind in ("", *_MATCHED):
                result = commands.last_result(cursor, "search", {"pattern": name})
                fresh = result is not None
            else:
                selector = _selector(name, kind)
                fresh = selector is None or instruments.look_up(cursor, selector) is not None
        matches = [row for row in (result or {}).get("matches", ()) if kind in ("", row["asset_class"])]
        return known, matches, fresh

    async def _learn(self, name: str, kind: str, caller: Principal) -> None:
        if kind in ("", *_MATCHED):
            await self._commands.ask([("search", {"pattern": name})], caller)
            return
        selector = _selector(name, kind)
        if selector is not None:
            await self._commands.ask([("resolve", selector.as_dict())], caller)


def _selector(name: str, kind: str) -> Selector | None:
    """The lookup of a name in one asset class; None when it makes no sense there."""
    try:
        return select(symbol=name, asset_class=kind)
    except NautilusError:
        return None


def _rank(row: Mapping[str, Any], name: str) -> tuple[Any, ...]:
    """The symbol itself, then symbols that begin so, then names that hold it; known ones before others."""
    symbol = str(row["symbol"])
    return symbol != name, not symbol.startswith(name), not row["known"], symbol, str(row["expiry"]), row["con_id"]


def row_of(instrument: Instrument, details: Mapping[str, Any]) -> dict[str, Any]:
    """An instrument as answers show it."""
    names = ("con_id", "instrument_id", "symbol", "asset_class", "exchange", "primary_exchange", "currency")
    more = ("local_symbol", "trading_class", "expiry", "multiplier", "min_tick", "long_name", "time_zone")
    return {
        **{name: getattr(instrument, name) for name in (*names, *more)},
        "known": True,
        "details": dict(details),
    }


def listed(cursor: Cursor, asset_class: str, after: int, limit: int) -> list[dict[str, Any]]:
    """Known instruments by number, after one."""
    return [row_of(i, more) for i, more in instruments.listed(cursor, asset_class, after, limit)]


def pairs(known: Sequence[Instrument]) -> list[str]:
    """Currency pairs: those usually traded, then what else is known."""
    return list(dict.fromkeys([*FOREX_PAIRS, *(i.display_symbol for i in known if i.asset_class == "CASH")]))
