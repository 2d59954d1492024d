"""A market that is read from files: real one-minute bars served in place of generated ones.

What a file does not say is decided so:
- Sessions: a pause of more than 30 minutes between bars is closed time; what trades on is cut where the trade date
  changes: 17:00 Chicago for futures, 17:00 New York for currencies, midnight New York for the rest, but never between
  Friday and Saturday. So every bar of the file lies in a session, and a session that opens on Sunday belongs to Monday.
- Regular hours are 09:30 to 16:00 New York for stocks and indices, for the rest all hours.
- A file holds one price kind; other kinds, and bars shorter than a minute, have no data. Longer bars are made of its
  minutes. A minute is told when it is over, because what was known in its middle is not in the file.
- After the last bar the market is closed for ever.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from hashlib import sha256
from math import gcd
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from ib_gateway_sim.market import calendars, listing
from ib_gateway_sim.market.bar_files import MINUTE_S, STAMPS, read_bars
from ib_gateway_sim.market.bars import INTRADAY_S, SIZES, Bar, dated_bars, merged, merged_slots
from ib_gateway_sim.market.calendars import Session
from ib_gateway_sim.market.contracts import Contract, ContractQuery
from ib_gateway_sim.market.futures import MONTH_CODES, last_trade_date, root_of
from ib_gateway_sim.market.generated import OptionParams, Quote, Tick
from ib_gateway_sim.market.instrument import con_id
from ib_gateway_sim.rules.kinds import bar_kinds

PAUSE_S = 30 * 60
KINDS = ("TRADES", "MIDPOINT", "BID", "ASK", "AGGTRADES")
CLASSES = ("STK", "CASH", "FUT", "IND", "CRYPTO")
REGULAR_HOURS = ("STK", "IND")
"""Classes that have regular hours; of the rest all hours are."""
_CURRENCY_FUTURES = {  # root -> IB's symbol and multiplier
    "6E": ("EUR", "125000"),
    "6B": ("GBP", "62500"),
    "6A": ("AUD", "100000"),
    "6C": ("CAD", "100000"),
    "6J": ("JPY", "12500000"),
    "6S": ("CHF", "125000"),
}
_CURRENCIES = ("USD", "EUR", "GBP", "AUD", "JPY", "CHF", "CAD", "NZD", "SEK", "NOK", "DKK", "HKD", "SGD", "CNH", "MXN")
_COINS = ("BTC", "ETH", "LTC", "BCH", "SOL", "ADA", "XRP", "DOGE")
# zone, hours that the day starts early
_SHIFTED_DAY = {"FUT": ("America/Chicago", 7), "CASH": ("America/New_York", 7), "CRYPTO": ("UTC", 0)}
_TIME_ZONES = {"FUT": "US/Central", "CRYPTO": "UTC"}  # as IB spells them; US/Eastern for the rest
_EXCHANGES = {"CASH": "IDEALPRO", "FUT": "CME", "IND": "CBOE", "CRYPTO": "PAXOS"}  # SMART for the rest
_USUAL_KIND = {"CASH": "MIDPOINT", "CRYPTO": "AGGTRADES"}  # TRADES for the rest


@dataclass(frozen=True, slots=True)
class ReplayFile:
    """One file of one-minute bars (bar_files.py) and what it is."""

    path: Path
    symbol: str  # ES, 6EH4, EURUSD, EUR/USD, AAPL; a future's local symbol names its expiry
    stamp: str = "open"  # what the time of a row is: the bar's "open" or its "close"
    kind: str = ""  # whatToShow of the file; default MIDPOINT for CASH, TRADES otherwise
    sec_type: str = ""  # one of CLASSES; guessed from the symbol when empty
    zone: str = ""  # IANA name of the zone of times without one; empty: UTC
    exchange: str = ""
    currency: str = ""


@dataclass(frozen=True)
class _Tape:
    """One file in memory: bars in order of time, and the sessions made of them."""

    contract: Contract
    kind: str
    zone: ZoneInfo
    bars: tuple[Bar, ...]
    sessions: tuple[Session, ...]
    regular: tuple[Session, ...]

    @cached_property
    def opens(self) -> list[int]:
        return [bar.t for bar in self.bars]

    @cached_property
    def by_date(self) -> dict[bool, dict[date, list[Session]]]:
        """rth -> trade date -> its sessions."""
        table: dict[bool, dict[date, list[Session]]] = {False: {}, True: {}}
        for rth in (False, True):
            for session in self.regular if rth else self.sessions:
                table[rth].setdefault(session.trade_date, []).append(session)
        return table

    def between(self, start_s: float, end_s: float, now_s: float) -> Sequence[Bar]:
        """Bars that open in [start_s, end_s) and are over at now_s."""
        last = min(bisect_left(self.opens, end_s), bisect_right(self.opens, now_s - MINUTE_S))
        return self.bars[bisect_left(self.opens, start_s) : last]

    def opening(self, day: date, rth: bool) -> int | None:
        found = self.by_date[rth].get(day)
        return found[0].open_s if found else None

    def day_bar(self, day: date, rth: bool, now_s: float) -> Bar | None:
        bars = [bar for one in self.by_date[rth].get(day, ()) for bar in self.between(one.open_s, one.close_s, now_s)]
        return merged(bars, bars[0].t, self.kind) if bars else None


class Replay:
    """Serves only the instruments of its files, behind the same methods as Market (market.MarketSource)."""

    def __init__(self, files: list[ReplayFile]) -> None:
        if not files:
            raise ValueError("a replay needs at least one file")
        contents = [_content(file) for file in files]
        digests = [_digest(file, content) for file, content in zip(files, contents, strict=True)]
        self._digest = digests[0] if len(digests) == 1 else sha256(b"".join(digests)).digest()
        tapes = [_tape(file, content) for file, content in zip(files, contents, strict=True)]
        self._tapes = {tape.contract.con_id: tape for tape in tapes}
        if len(self._tapes) < len(tapes):
            raise ValueError("two replay files are of the same instrument")

    @property
    def account(self) -> str:
        return f"SIMR{self._digest.hex()[:8]}"

    @property
    def end_s(self) -> int:
        """Close of the last bar of all files: where market time may start."""
        return max(tape.bars[-1].t + MINUTE_S for tape in self._tapes.values())

    def description(self) -> dict[str, Any]:
        """What the first file holds, for whoever asks for its bars: JSON values; times are RFC 3339 UTC."""
        tape = next(iter(self._tapes.values()))
        contract, regular = tape.contract, tape.by_date[True].values()
        pair = contract.sec_type in ("CASH", "CRYPTO")
        return {
            "account": self.account,
            "symbol": f"{contract.symbol}/{contract.currency}" if pair else contract.local_symbol,
            "asset_class": contract.sec_type,
            "price": tape.kind,
            "bars": len(tape.bars),
            "regular_bars": sum(
                len(tape.between(one.open_s, one.close_s, self.end_s)) for day in regular for one in day
            ),
            "start": _utc(tape.bars[0].t),
            "end": _utc(tape.bars[-1].t + MINUTE_S),
        }

    def find(self, query: ContractQuery, now_s: float) -> list[Contract]:
        found = []
        for tape in self._tapes.values():
            contract = tape.contract
            known_as = query.symbol.upper() in (contract.local_symbol, contract.trading_class)  # all that its user gave
            if (replace(query, symbol="") if known_as else query).matches(contract):
                found.append(replace(contract, exchange=query.exchange) if query.exchange else contract)
        return found

    def search(self, pattern: str, now_s: float) -> list[Contract]:
        text = pattern.strip().upper()
        contracts = [tape.contract for tape in self._tapes.values()] if text else []
        return [one for one in contracts if one.symbol.startswith(text) or one.local_symbol.startswith(text)]

    def derivatives(self, contract: Contract) -> tuple[str, ...]:
        return ()

    def option_params(self, contract: Contract, now_s: float) -> list[OptionParams]:
        return []

    def market_rule(self, rule_id: int) -> Sequence[tuple[float, float]]:
        for tape in self._tapes.values():
            if rule_id in tape.contract.market_rule_ids:
                return ((0.0, tape.contract.min_tick),)
        raise LookupError(f"no market rule {rule_id}")

    def sessions(self, contract: Contract, start_s: float, end_s: float, *, rth: bool) -> list[Session]:
        tape = self._tapes[contract.con_id]
        every = tape.regular if rth else tape.sessions
        return [one for one in every if one.open_s < end_s and one.close_s > start_s]

    def trading_hours(self, contract: Contract, now_s: float, *, liquid: bool, days: int = 7) -> str:
        tape = self._tapes[contract.con_id]
        return calendars.hours_text(tape.zone, lambda day: tape.by_date[liquid].get(day, []), now_s, days)

    def bars(
        self,
        contract: Contract,
        size: str,
        what: str,
        *,
        rth: bool,
        start_s: float,
        end_s: float,
        now_s: float,
    ) -> list[Bar]:
        if size not in SIZES:
            raise ValueError(f"size {size!r} is not one of {', '.join(SIZES)}")
        tape = self._tapes[contract.con_id]
        if what != tape.kind:
            return []
        if size not in INTRADAY_S:
            return dated_bars(
                lambda day: tape.day_bar(day, rth, now_s),
                lambda day: tape.opening(day, rth),
                (tape.sessions[0].trade_date, tape.sessions[-1].trade_date),
                size,
                what,
                start_s,
                min(end_s, now_s),
                now_s,
            )
        size_s = INTRADAY_S[size]
        if size_s < MINUTE_S:
            return []
        result: list[Bar] = []
        for sessions in tape.by_date[rth].values():
            if sessions[0].open_s >= end_s or sessions[-1].close_s <= start_s:
                continue
            shift = calendars.utc_offset_s(tape.zone, sessions[0].open_s)
            first = (start_s + shift) // size_s * size_s - shift
            parts = [
                bar
                for one in sessions
                for bar in tape.between(max(one.open_s, first), min(one.close_s, end_s + size_s), now_s)
            ]
            slots = merged_slots(parts, size_s, shift, what, sessions)
            result += [bar for bar in slots if start_s <= bar.t < end_s]
        return result

    def head_s(self, contract: Contract, what: str, *, rth: bool) -> int | None:
        tape = self._tapes[contract.con_id]
        every = tape.regular if rth else tape.sessions
        return every[0].open_s if what == tape.kind and every else None

    def quote(self, contract: Contract, t_s: float) -> Quote:
        """The last minute that is over, with bid and ask a tick apart about its close: files hold no book."""
        tape = self._tapes[contract.con_id]
        known = tape.between(0, t_s, t_s)
        if not known:
            return Quote(t_s, -1, 0, -1, 0, -1, 0, 0, -1, -1, -1, -1, 0, False, False)
        last, tick = known[-1].close, contract.min_tick
        session = next(one for one in reversed(tape.sessions) if one.open_s <= known[-1].t)
        today = tape.day_bar(session.trade_date, False, t_s)
        before = [one for one in tape.by_date[False] if one < session.trade_date]
        close = tape.day_bar(before[-1], False, t_s) if before else None
        traded = tape.kind in ("TRADES", "AGGTRADES")
        return Quote(
            t_s=t_s,
            bid=last if tape.kind != "ASK" else _on_grid(last - tick, tick),
            bid_size=1,
            ask=last if tape.kind == "ASK" else _on_grid(last + tick, tick),
            ask_size=1,
            last=last if traded else -1,
            last_size=1 if traded else 0,
            last_s=known[-1].t + MINUTE_S - 1 if traded else 0,
            open=today.open if today else -1,
            high=today.high if today else -1,
            low=today.low if today else -1,
            close=close.close if close else -1,
            volume=max(today.volume, 0) if today else 0,
            halted=False,
            is_open=t_s < session.close_s,
        )

    def ticks(
        self,
        contract: Contract,
        kind: str,
        start_s: float,
        end_s: float,
        limit: int,
        *,
        rth: bool = False,
        from_end: bool = False,
    ) -> list[Tick]:
        """None: files hold minutes."""
        return []

    def split(self, contract: Contract, ratio: int, at_s: float) -> int:
        raise ValueError("a replayed instrument does not split")


# ---- reading --------------------------------------------------------------------------------------------------------


def _content(file: ReplayFile) -> bytes:
    try:
        return file.path.read_bytes()
    except OSError as error:
        raise ValueError(f"{file.path.name} cannot be read: {error.strerror}") from None


def _digest(file: ReplayFile, content: bytes) -> bytes:
    """The hash of a file, and of what makes other bars of its rows."""
    options = "".join([file.stamp if file.stamp != "open" else "", file.zone])
    return sha256(content + options.encode()).digest()


def _tape(file: ReplayFile, content: bytes) -> _Tape:
    contract = _contract(file)
    positive = contract.sec_type in ("STK", "CASH", "CRYPTO")  # a future, a spread or an index may fall below zero
    bars = read_bars(file.path.name, content, stamp=file.stamp, zone=file.zone, positive=positive)
    contract = replace(contract, min_tick=_tick_size(bars))
    if contract.sec_type == "FUT":
        contract = _future(contract, bars, file.exchange)
    zone_name, early_hours = _SHIFTED_DAY.get(contract.sec_type, ("America/New_York", 0))
    zone = ZoneInfo(zone_name)
    week = contract.sec_type != "CRYPTO"
    sessions = tuple(_sessions(bars, zone, early_hours, week=week))
    regular = tuple(_regular(sessions)) if contract.sec_type in REGULAR_HOURS else sessions
    return _Tape(contract, contract.kinds[0], zone, tuple(bars), sessions, regular)


def _sessions(bars: Sequence[Bar], zone: ZoneInfo, early_hours: int, *, week: bool) -> Iterator[Session]:
    opened, before = bars[0].t, bars[0].t
    day = _trade_date(opened, zone, early_hours, week)
    for bar in bars[1:]:
        # the trade date can only change on a full hour, and looking it up is slow
        today = day if bar.t // 3600 == before // 3600 else _trade_date(bar.t, zone, early_hours, week)
        if bar.t - before - MINUTE_S > PAUSE_S:
            yield Session(opened, before + MINUTE_S, day)
            opened = bar.t
        elif today != day:
            edge = bar.t // 3600 * 3600
            yield Session(opened, edge, day)
            opened = edge
        before, day = bar.t, today
    yield Session(opened, before + MINUTE_S, day)


def _trade_date(t_s: int, zone: ZoneInfo, early_hours: int, week: bool) -> date:
    """The day a time belongs to; `week`: Saturday belongs to Friday, and Sunday to Monday."""
    local = datetime.fromtimestamp(t_s, zone)
    day = (local.replace(tzinfo=None) + timedelta(hours=early_hours)).date()
    return day if not week else day + timedelta(days={5: -1, 6: 1}.get(day.weekday(), 0))


def _regular(sessions: Iterable[Session]) -> Iterator[Session]:
    """The parts of sessions inside 09:30 to 16:00 New York."""
    zone = ZoneInfo("America/New_York")
    for one in sessions:
        day = one.trade_date
        opens, closes = (
            int(datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone).timestamp())
            for hour, minute in ((9, 30), (16, 0))
        )
        if max(one.open_s, opens) < min(one.close_s, closes):
            yield Session(max(one.open_s, opens), min(one.close_s, closes), day)


# ---- what the file is of --------------------------------------------------------------------------------------------


def _contract(file: ReplayFile) -> Contract:
    """The instrument, as far as its bars do not say more. ValueError names the option that makes no sense."""
    name = file.symbol.strip().upper()
    sec_type = file.sec_type.upper() or _guessed_type(name)
    kind = file.kind.upper() or _USUAL_KIND.get(sec_type, "TRADES")
    _check_options(file, sec_type, kind)
    exchange = file.exchange or _EXCHANGES.get(sec_type, "SMART")
    contract = Contract(
        con_id=con_id("replay", sec_type, name),
        symbol=name,
        sec_type=sec_type,
        exchange=exchange,
        currency=file.currency or "USD",
        local_symbol=name,
        long_name=f"Replay of {file.path.name}",
        calendar="",
        time_zone=_TIME_ZONES.get(sec_type, "US/Eastern"),
        min_tick=0.01,
        kinds=(kind,),
        trading_class=name,
        market_name=name,
        stock_type="COMMON" if sec_type == "STK" else "",
    )
    if sec_type in ("CASH", "CRYPTO"):
        contract = _paired(contract, name)
    primary = "NASDAQ" if sec_type == "STK" and exchange == "SMART" else ""
    valid = tuple(dict.fromkeys(one for one in (exchange, primary) if one))
    return replace(contract, valid_exchanges=valid, primary_exchange=primary, market_rule_ids=(9000,) * len(valid))


def _check_options(file: ReplayFile, sec_type: str, kind: str) -> None:
    name = file.path.name
    if not file.symbol.strip():
        raise ValueError(f"the symbol of {name} is empty; wanted is AAPL, EUR/USD or ESZ6")
    if file.stamp not in STAMPS:
        raise ValueError(f"stamp {file.stamp!r} of {name} is not one of {', '.join(STAMPS)}")
    if sec_type not in CLASSES:
        raise ValueError(f"class {file.sec_type!r} of {name} is not one of {', '.join(CLASSES)}")
    offered = [one for one in KINDS if one in bar_kinds(sec_type)]
    if kind not in offered:
        raise ValueError(f"price {file.kind!r} of {name} is not one of {', '.join(offered)}, those of class {sec_type}")
    try:
        ZoneInfo(file.zone or "UTC")
    except (LookupError, ValueError, OSError):
        raise ValueError(
            f"zone {file.zone!r} of {name} is unknown; wanted is UTC, America/New_York or the like"
        ) from None


def _paired(contract: Contract, name: str) -> Contract:
    """The same as a pair of currencies, or of a coin and a currency, as IB spells it."""
    base, quote = _pair(name, _COINS if contract.sec_type == "CRYPTO" else ()) or (name, contract.currency)
    if base == name and contract.sec_type == "CASH":
        raise ValueError(f"a currency pair is replayed under two names, such as EUR/USD, not {name}")
    local = f"{base}.{quote}"
    known_as = base if contract.sec_type == "CRYPTO" else local
    return replace(
        contract,
        symbol=base,
        currency=quote,
        local_symbol=local,
        trading_class=known_as,
        market_name=known_as,
        con_id=con_id("replay", contract.sec_type, local),
    )


def _future(contract: Contract, bars: Sequence[Bar], exchange: str) -> Contract:
    """Root, month and year of a local symbol such as 6EH4; the year is the first that is not before the file."""
    found = re.fullmatch(rf"([A-Z0-9]+?)([{MONTH_CODES}])([0-9][0-9]?)", contract.local_symbol)
    if not found:
        raise ValueError(f"a future is replayed under its local symbol, such as ESH4 or 6EH4, not {contract.symbol}")
    name, month, digits = found[1], MONTH_CODES.index(found[2]) + 1, found[3]
    year = datetime.fromtimestamp(bars[0].t, UTC).year
    while not str(year).endswith(digits):
        year += 1
    root = root_of(name)
    symbol, multiplier = (name, root.multiplier) if root else _CURRENCY_FUTURES.get(name, (name, "1"))
    end = last_trade_date(root, year, month) if root else _third_wednesday_less_two(year, month)
    return replace(
        contract,
        symbol=symbol,
        trading_class=name,
        market_name=name,
        multiplier=multiplier,
        exchange=exchange or (root.exchange if root else "CME"),
        last_trade_date=f"{end:%Y%m%d}",
        real_expiration_date=f"{end:%Y%m%d}",
        contract_month=f"{year}{month:02}",
    )


def _third_wednesday_less_two(year: int, month: int) -> date:
    """Currency futures end on the second business day before the third Wednesday: a Monday."""
    first = date(year, month, 1)
    return first + timedelta(days=(2 - first.weekday()) % 7 + 12)


def _guessed_type(name: str) -> str:
    if _pair(name, _COINS):
        return "CRYPTO"
    if _pair(name):
        return "CASH"
    listed = {one.contract.symbol: one.contract.sec_type for one in reversed(listing.listed())}
    if listed.get(name) == "IND":
        return "IND"
    found = re.fullmatch(rf"([A-Z0-9]+?)[{MONTH_CODES}][0-9][0-9]?", name)
    return "FUT" if found and (root_of(found[1]) or found[1] in _CURRENCY_FUTURES) else "STK"


def _pair(name: str, bases: Sequence[str] = ()) -> tuple[str, str] | None:
    """The two halves of EUR/USD, EUR.USD or EURUSD, where the first is one of `bases` (none: a currency)."""
    marked = re.fullmatch(r"([A-Z]+)[/.]([A-Z]{3})", name)
    base, quote = (marked[1], marked[2]) if marked else (name[:-3], name[-3:])
    if marked and "/" in name and not bases and base not in _COINS:
        return base, quote  # any other name with a slash is a pair too: XAU/USD
    return (base, quote) if base in (bases or _CURRENCIES) and quote in _CURRENCIES else None


def _tick_size(bars: Sequence[Bar]) -> float:
    """The largest step that all prices of the file are multiples of."""
    prices = {Decimal(repr(price)) for bar in bars for price in bar[1:5]}
    decimals = max(max(-int(price.as_tuple().exponent), 0) for price in prices)
    return (gcd(*(int(price.scaleb(decimals)) for price in prices)) or 1) / 10.0**decimals


# ---- small things ---------------------------------------------------------------------------------------------------


def _utc(t_s: int) -> str:
    return datetime.fromtimestamp(t_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _on_grid(price: float, tick: float) -> float:
    return round(round(price / tick) * tick, 10)
