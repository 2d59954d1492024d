"""Instruments for those who ask: from the database, and from IB through the bridge when nobody knows them yet."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any
from uuid import UUID

from nautilus.auth.principal import Principal
from nautilus.db.bridge import commands
from nautilus.db.bridge.status import market_now
from nautilus.db.connection import Database
from nautilus.db.cursor import Cursor
from nautilus.db.market import instruments
from nautilus.errors import InvalidInput, NautilusError, RateLimited, Unavailable
from nautilus.infra.executors import Executor
from nautilus.infra.messages import CommandHint
from nautilus.infra.queue import Queue
from nautilus.log import correlation
from nautilus.lookup.command_watch import CommandWatch
from nautilus.lookup.identity import Identity, identify, identify_by_name, trade_day
from nautilus.market.instrument import ASSET_CLASSES, Instrument
from nautilus.market.symbols import InstrumentName, Selector, is_name, select

MAX_UNKNOWN = 50
"""How many unknown symbols one read has looked up; the others are told to ask again."""
_BATCH = 10
"""How many lookups go into one command: the bridge works on several commands at once."""
_EXPIRES_MORE_S = 30
_MATCHED = ("STK", "IND", "BOND")
"""Asset classes that IB's symbol search tells; the others are asked for by name."""

# Pairs that IB offers on IDEALPRO (IB's list of currency pairs, read 2026-11), the most traded first.
FOREX_PAIRS: tuple[str, ...] = (
    *("EUR/USD", "USD/JPY", "GBP/USD", "AUD/USD", "USD/CAD", "USD/CHF", "NZD/USD", "EUR/GBP", "EUR/JPY", "EUR/CHF"),
    *("GBP/JPY", "AUD/JPY", "CAD/JPY", "CHF/JPY", "NZD/JPY", "EUR/AUD", "EUR/CAD", "EUR/NZD", "GBP/AUD", "GBP/CAD"),
    *("GBP/CHF", "GBP/NZD", "AUD/CAD", "AUD/CHF", "AUD/NZD", "CAD/CHF", "NZD/CAD", "NZD/CHF", "EUR/SEK", "EUR/NOK"),
    *("USD/SEK", "USD/NOK", "USD/DKK", "EUR/DKK", "USD/HKD", "USD/SGD", "USD/CNH", "USD/MXN", "USD/ZAR", "USD/PLN"),
)


def known_instrument(cursor: Cursor, selector: Selector) -> Instrument | None:
    """The instrument a selector means, from what is stored; None when IB was never asked.

    NotFound with IB's words when IB said so within the hour; Conflict with candidates when several fit.
    """
    found = known_identity(cursor, selector)
    return found.instrument if found else None


def known_identity(cursor: Cursor, selector: Selector, name: InstrumentName | None = None) -> Identity | None:
    """The contract that a selector, or a name, means, and how old that knowledge is. Raises as `known_instrument` does."""
    found = instruments.look_up(cursor, selector)
    today = trade_day(market_now(cursor))
    if name is not None:
        by_name = identify_by_name(name, instruments.named(cursor, name), selector, found, today)
        if by_name is not None:
            return by_name
    return identify(selector, found, today, partial(instruments.alike, cursor, selector)) if found is not None else None


class InstrumentLookup:
    """Looks instruments up, at most `wait_s` seconds at IB. reads, writes: the threads that ask and change the database."""

    def __init__(self, database: Database, queue: Queue, *, wait_s: float, reads: Executor, writes: Executor) -> None:
        self._reads = reads
        self._writes = writes
        self._db = database
        self._queue = queue
        self._wait_s = wait_s
        self._watch = CommandWatch(database)

    async def identity(self, selector: Selector, caller: Principal, name: InstrumentName | None = None) -> Identity:
        """The one contract that a selector, or a name, means, asking IB through the bridge when it is unknown.

        NotFound with IB's words, Conflict with candidates, Unavailable when nobody could say in time.
        """
        found = await self._reads.run(self._known, selector, name)
        if found is not None:
            return found
        failed = await self.look_up([selector], caller)
        found = await self._reads.run(self._known, selector, name)
        if found is None:
            raise failed.get(selector.key) or _unanswered(selector)
        return found

    async def look_up(self, selectors: Sequence[Selector], caller: Principal) -> Mapping[str, NautilusError]:
        """Have IB asked about unknown words, all of them at once, and wait for it together.

        Returns by key what to raise for a selector that is still unknown afterwards. What IB has answered, NotFound and
        the like too, is found in the database.
        """
        wanted = {selector.key: selector for selector in selectors}
        keys = sorted(wanted)
        failed: dict[str, NautilusError] = {key: _too_many(wanted[key]) for key in keys[MAX_UNKNOWN:]}
        batches = [keys[n : n + _BATCH] for n in range(0, len(keys[:MAX_UNKNOWN]), _BATCH)]
        commands = [_resolve([wanted[key] for key in batch]) for batch in batches]
        try:
            numbers = await self._writes.run(self._leave, commands, caller)
        except RateLimited as refused:
            return failed | dict.fromkeys(keys[:MAX_UNKNOWN], refused)
        rows = await self._watch.ended(numbers, self._wait_s)
        for batch, number in zip(batches, numbers, strict=True):
            for key in batch:
                failed[key] = _why_failed(wanted[key], rows.get(number))
        return failed

    def _known(self, selector: Selector, name: InstrumentName | None) -> Identity | None:
        with self._db.transaction(snapshot=True) as cursor:
            return known_identity(cursor, selector, name)

    # ---- searching ---------------------------------------------------------------------------------------------------

    async def search(self, text: str, asset_class: str, most: int, caller: Principal) -> list[dict[str, Any]]:
        """Instruments whose symbol begins with `text` or whose name holds it, best first; of one class, or of all.

        IB is asked too, once a day per text. When it cannot be asked in time, what is known is the answer.
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
        # A row that cannot be asked for by its name helps nobody.
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
            await self._ask("search", {"pattern": name}, caller)
            return
        selector = _selector(name, kind)
        if selector is not None:
            await self._ask("resolve", selector.as_dict(), caller)

    async def _ask(self, type_: str, args: Mapping[str, Any], caller: Principal) -> None:
        """Leave a command for the bridge and wait until it has ended, or for as long as a caller waits."""
        numbers = await self._writes.run(self._leave, [(type_, args)], caller)
        await self._watch.ended(numbers, self._wait_s)

    def _leave(self, batches: Sequence[tuple[str, Mapping[str, Any]]], caller: Principal) -> list[UUID]:
        """Write commands in one transaction. RateLimited when too many of this caller are open."""
        with self._db.transaction() as cursor:
            numbers = [
                commands.request(
                    cursor,
                    type_,
                    args,
                    by=caller.id,
                    correlation_id=correlation.get(),
                    expires_s=self._wait_s + _EXPIRES_MORE_S,
                    most_open=commands.OPEN_PER_CALLER,
                )
                for type_, args in batches
            ]
        for number in numbers:
            self._queue.announce(CommandHint(command_id=number, correlation_id=correlation.get()))
        return numbers


def _resolve(batch: Sequence[Selector]) -> tuple[str, Mapping[str, Any]]:
    """The command that looks these up: type and arguments. IB is asked about the words, whatever venue was named with them."""
    commands = [selector._replace(venue="").as_dict() for selector in batch]
    return "resolve", commands[0] if len(commands) == 1 else {"selectors": commands}


def _unanswered(selector: Selector) -> Unavailable:
    return Unavailable(
        f"{selector.words} is not known yet and IB has not answered in time; ask again", code="instrument-not-resolved"
    )


def _too_many(selector: Selector) -> RateLimited:
    return RateLimited(
        f"{selector.words} is not known yet, and one read has at most {MAX_UNKNOWN} unknown symbols looked up;"
        " ask again for the rest",
        code="too-many-unknown-symbols",
        retry_after_s=1,
    )


def _why_failed(selector: Selector, row: Any | None) -> NautilusError:
    """Why IB could not be asked about a selector, as the row of its command tells; None: it has not ended."""
    if row is None:
        return _unanswered(selector)
    failure = (row.result or {}).get("failed", {}).get(selector.key) or row.error or {}
    return Unavailable(
        f"{selector.words} could not be looked up at IB: {failure.get('detail', 'no answer')}",
        code="instrument-not-resolved",
    )


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
    """An instrument as callers are told."""
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
