"""One market behind everything: prices, volumes, quotes and ticks as a pure function of seed, contract and time.

All times are epoch seconds UTC. Nothing here knows a socket, a client or the clock: `now_s` is handed in, and nothing
after it is ever told.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import cache, lru_cache, partial
from hashlib import blake2b
from math import exp
from typing import NamedTuple, Protocol

from ib_gateway_sim.market import calendars, options
from ib_gateway_sim.market.bars import (
    INTRADAY_S,
    SIZES,
    Bar,
    dated_bars,
    days_between,
    filled,
    merged,
    merged_slots,
    midnight_s,
)
from ib_gateway_sim.market.calendars import Session
from ib_gateway_sim.market.contracts import Contract, ContractQuery
from ib_gateway_sim.market.futures import EXPIRED_FUTURE_DAYS, front, root_of
from ib_gateway_sim.market.instrument import Instrument, expiry
from ib_gateway_sim.market.listing import by_con_id, by_symbol, listed
from ib_gateway_sim.market.market_rules import MARKET_RULES
from ib_gateway_sim.market.paths import LEVELS_S, Node, PathTick, joined
from ib_gateway_sim.market.walks import Noise, Piece, Walk

__all__ = ["INTRADAY_S", "SIZES", "Bar", "Market", "MarketSource", "OptionParams", "Quote", "Tick"]


class Quote(NamedTuple):
    """The top of the book and the day so far. A price of -1 whose size is 0 means there is none: prices may be negative.

    `last_s` is the time of the last trade (0: none). `open high low volume` are of the current or last regular
    session; `close` is the one before it. `halted` is IB's tick 49. While the market is shut the last values stay.
    """

    t_s: float
    bid: float
    bid_size: float
    ask: float
    ask_size: float
    last: float
    last_size: float
    last_s: float
    open: float
    high: float
    low: float
    close: float
    volume: float
    halted: bool
    is_open: bool

    @property
    def has_bid(self) -> bool:
        return self.bid_size > 0

    @property
    def has_ask(self) -> bool:
        return self.ask_size > 0

    @property
    def has_last(self) -> bool:
        return self.last_s > 0


class Tick(NamedTuple):
    """One tick. TRADES fills price and size, MIDPOINT price, BID_ASK bid, ask and their sizes; the rest is 0 or ""."""

    t_s: float  # with milliseconds; historical ticks print whole seconds
    price: float
    size: float
    bid: float
    ask: float
    bid_size: float
    ask_size: float
    exchange: str
    conditions: str


class OptionParams(NamedTuple):
    """One secDefOptParams message: the chain of one exchange and trading class."""

    exchange: str
    under_con_id: int
    trading_class: str
    multiplier: str
    expirations: tuple[str, ...]  # yyyymmdd
    strikes: tuple[float, ...]


ADJUSTED_GRID = 10_000  # prices that are divided by splits or less dividends are printed with four decimals
EX_DATES = tuple(date(year, month, 10) for year in range(2004, 2031) for month in (2, 5, 8, 11))


class MarketSource(Protocol):
    """What the server needs of a market; `Market` generates it, `Replay` (replay.py) reads it from files."""

    @property
    def account(self) -> str:
        """The managed account, which spells the source: SIM<seed> or SIMR<8 hex digits of the file's SHA-256>."""

    def find(self, query: ContractQuery, now_s: float) -> list[Contract]:
        """All contracts that answer the query, as reqContractDetails lists them; empty: error 200.

        Other requests want exactly one: several is "ambiguous", also 200.
        """

    def search(self, pattern: str, now_s: float) -> list[Contract]:
        """Contracts whose symbol starts with, or whose name contains the pattern (at most 16): matching symbols."""

    def derivatives(self, contract: Contract) -> tuple[str, ...]:
        """Security types that exist on it (OPT, CFD ...), for the answer to matching symbols."""

    def option_params(self, contract: Contract, now_s: float) -> list[OptionParams]:
        """The option chains on an underlying; empty when there are none."""

    def sessions(self, contract: Contract, start_s: float, end_s: float, *, rth: bool) -> list[Session]:
        """Sessions that overlap [start_s, end_s), whole, in order (also for the future, and before the head)."""

    def trading_hours(self, contract: Contract, now_s: float, *, liquid: bool, days: int = 7) -> str:
        """The tradingHours or liquidHours text from today on: `20221229:0400-20221229:2000;20221231:CLOSED`."""

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
        """Bars that start in [start_s, end_s) and before now_s, in order; the last is cut off at now_s if it forms.

        `size` is one of SIZES, `what` one of contract.kinds (ValueError otherwise; ADJUSTED_LAST with 1d 1w 1M too).
        A 1d, 1w or 1M bar starts with the first session of its day, week (Monday) or month. A CONTFUT is the front
        contract of each time, back-adjusted by ratio. Empty: "no data".
        """

    def head_s(self, contract: Contract, what: str, *, rth: bool) -> int | None:
        """Open of the oldest bar, None when the kind is not served."""

    def quote(self, contract: Contract, t_s: float) -> Quote:
        """Bid, ask, last and day values at an instant."""

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
        """Ticks with start_s <= t < end_s in order, `kind` TRADES, BID_ASK or MIDPOINT (AGGTRADES as TRADES).

        The first `limit`, or with from_end the last; the second of the last one is completed, so more may come.
        """

    def split(self, contract: Contract, ratio: int, at_s: float) -> int:
        """One share becomes `ratio` from the first session opening at or after at_s; returns that opening.

        Older prices are divided and older volumes multiplied once now_s has passed it, as IB adjusts TRADES.
        ValueError when the contract is not a stock or the ratio is below 2.
        """

    def market_rule(self, rule_id: int) -> Sequence[tuple[float, float]]:
        """(low edge, increment) pairs of a price ladder; LookupError for an unknown rule."""


class View(NamedTuple):
    """How one trade date is shown: whose walk it is, and what turns ticks and shares into prices and volumes."""

    walk: Walk
    per_unit: int  # prices are ticks / per_unit ...
    factor: float  # ... times factor, then rounded to `grid` parts of 1.0 when that is not 0
    grid: int
    shares: int  # volumes are shares times this

    def price(self, ticks: float) -> float:
        """A price as it is printed."""
        if not self.grid:
            return ticks / self.per_unit
        return int(ticks / self.per_unit * self.factor * self.grid + 0.5) / self.grid


class Market:
    """The generated market of one seed; see MarketSource for its methods."""

    CACHED_CLOSES = 10_000

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._noises: dict[str, Noise] = {}
        self._walks: dict[int, Walk] = {}
        self._closes: dict[tuple[int, date, int, float], float] = {}

    @property
    def account(self) -> str:
        return f"SIM{self.seed}"

    # ---- contracts ----

    def find(self, query: ContractQuery, now_s: float) -> list[Contract]:
        today = _new_york_date(now_s)
        found = []
        for one in self._candidates(query, now_s):
            contract = one.contract
            if not query.matches(contract) or today < one.head:
                continue
            if contract.sec_type == "CONTFUT" and "CONTFUT" not in query.types() and not query.con_id:
                continue
            end = expiry(contract)
            if (
                end
                and end < today
                and not (
                    query.include_expired and contract.sec_type == "FUT" and (today - end).days <= EXPIRED_FUTURE_DAYS
                )
            ):
                continue
            found.append(_routed(self._current(one, today), query.exchange))
        return found

    def search(self, pattern: str, now_s: float) -> list[Contract]:
        text, today = pattern.strip().upper(), _new_york_date(now_s)
        shown = [one.contract for one in listed() if one.head <= today] if text else []
        begins = [contract for contract in shown if contract.symbol.startswith(text)]
        names = [contract for contract in shown if contract not in begins and text in contract.long_name.upper()]
        return [contract for contract in begins + names if contract.sec_type != "CFD"][:16]

    def derivatives(self, contract: Contract) -> tuple[str, ...]:
        others = [one.contract for one in by_symbol().get(contract.symbol, ())]
        types = [other.sec_type for other in others if other.under_con_id == contract.con_id]
        if contract.sec_type == "STK" and contract.symbol in options.UNDERLYINGS:
            types.append("OPT")
        return tuple(dict.fromkeys(types))

    def option_params(self, contract: Contract, now_s: float) -> list[OptionParams]:
        if contract.sec_type != "STK" or contract.symbol not in options.UNDERLYINGS:
            return []
        ends = tuple(f"{end:%Y%m%d}" for end in options.expirations(_new_york_date(now_s)))
        strikes = options.strikes(self._spot(contract.symbol, now_s))
        return [
            OptionParams(exchange, contract.con_id, contract.symbol, "100", ends, strikes)
            for exchange in options.EXCHANGES
        ]

    def market_rule(self, rule_id: int) -> Sequence[tuple[float, float]]:
        return MARKET_RULES[rule_id]

    # ---- sessions ----

    def sessions(self, contract: Contract, start_s: float, end_s: float, *, rth: bool) -> list[Session]:
        return calendars.sessions(contract.calendar, start_s, end_s, rth=rth)

    def trading_hours(self, contract: Contract, now_s: float, *, liquid: bool, days: int = 7) -> str:
        name = contract.calendar
        return calendars.hours_text(
            calendars.zone(name), lambda day: calendars.known_sessions(name, day, rth=liquid), now_s, days
        )

    # ---- bars ----

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
        check_request(contract, size, what)
        one = self._instrument(contract)
        if contract.sec_type == "OPT" and size not in INTRADAY_S:
            return []  # IB keeps no end-of-day bars of options
        if size in INTRADAY_S:
            return self._intraday(one, INTRADAY_S[size], what, rth, start_s, min(end_s, now_s), now_s)
        return dated_bars(
            lambda day: self._day_bar(one, day, what, rth, now_s),
            lambda day: _opening(contract.calendar, day, rth),
            (max(one.head, calendars.FIRST), calendars.LAST),
            size,
            what,
            start_s,
            min(end_s, now_s),
            now_s,
        )

    def head_s(self, contract: Contract, what: str, *, rth: bool) -> int | None:
        if what not in contract.kinds:
            return None
        one = self._instrument(contract)
        for day in (one.head + timedelta(days=n) for n in range(400)):
            bar = self._day_bar(one, day, what, rth, float("inf"))
            if bar is not None:
                return _opening(contract.calendar, day, rth)
        return None

    def split(self, contract: Contract, ratio: int, at_s: float) -> int:
        if contract.sec_type != "STK" or ratio < 2:
            raise ValueError(f"only a stock splits, into 2 or more: {contract.sec_type} {contract.symbol} {ratio}")
        for session in calendars.sessions(contract.calendar, at_s, at_s + 14 * 86400, rth=False):
            if session.open_s >= at_s:
                self._walk(self._instrument(contract)).split(session.trade_date, ratio)
                return session.open_s
        raise ValueError("no session opens within two weeks of the split")

    def _intraday(
        self, one: Instrument, size_s: int, what: str, rth: bool, start_s: float, end_s: float, now_s: float
    ) -> list[Bar]:
        level = next(n for n, step in enumerate(LEVELS_S) if size_s % step == 0)
        result: list[Bar] = []
        for day in calendars.trade_dates(start_s, end_s):
            opening = _opening(one.contract.calendar, day, False)
            if opening is None:
                continue
            view = self._view(one, day, what, now_s)
            shift = calendars.utc_offset_s(calendars.zone(one.contract.calendar), opening)
            first = (start_s + shift) // size_s * size_s - shift
            beyond = -((end_s + shift) // -size_s) * size_s - shift
            parts: list[Bar] = []
            for piece in view.walk.pieces(day, rth=rth):
                if piece.segment.open_s >= min(beyond, now_s):
                    continue
                nodes = view.walk.leaves(piece.node, level, first, min(beyond, now_s))
                if nodes and nodes[-1].t1 > now_s:
                    nodes[-1] = view.walk.until(nodes[-1], now_s, level + 1)
                parts += slot_bars(nodes, LEVELS_S[level], size_s, shift, what, piece, view)
            if size_s != LEVELS_S[level]:
                sessions = calendars.day_sessions(one.contract.calendar, day, rth=rth)
                parts = merged_slots(parts, size_s, shift, what, sessions)
            if what == "TRADES" and not rth and size_s >= 60 and one.contract.sec_type == "STK":
                slots = calendars.quiet_slots(one.contract.calendar, day, size_s, shift)
                asked = [t for t in slots if max(first, start_s) <= t < min(beyond, end_s, now_s)]
                parts = filled(parts, asked, partial(self._traded_before, view, day))
            result += [bar for bar in parts if start_s <= bar.t < end_s]
        return result

    @staticmethod
    def _traded_before(view: View, day: date, t_s: float) -> float | None:
        """The price of the last trade of a trade date before an instant."""
        for piece in reversed(view.walk.pieces(day, rth=False)):
            if piece.segment.open_s < t_s and piece.node.n:
                last = next(view.walk.ticks(piece.node, 0, t_s * 1000, reverse=True), None)
                if last is not None:
                    return view.price(last.price)
        return None

    def _day_bar(self, one: Instrument, day: date, what: str, rth: bool, now_s: float) -> Bar | None:
        view = self._view(one, day, what, now_s)
        parts = []
        for piece in view.walk.pieces(day, rth=rth):
            if piece.segment.open_s >= now_s:
                continue
            node = view.walk.until(piece.node, now_s)
            parts += node_bars([node], what, piece, view)
        return merged(parts, parts[0].t, what) if parts else None

    def _view(self, one: Instrument, day: date, what: str, now_s: float) -> View:
        if one.roll:
            return self._continuous_view(one, day, what, now_s)
        walk = self._walk(one)
        divisor = 1
        for at, ratio in walk.splits:
            if day < at and _opens_by(one.contract.calendar, at, now_s):
                divisor *= ratio
        factor = self._dividends(one, day, now_s) if what == "ADJUSTED_LAST" else 1.0
        grid = ADJUSTED_GRID if divisor * factor != 1 else 0
        return View(walk, one.per_unit * divisor, factor, grid, divisor)

    def _continuous_view(self, one: Instrument, day: date, what: str, now_s: float) -> View:
        """The front month of the day, back-adjusted by the ratio at each roll (its carry over the days between)."""
        root = root_of(one.contract.symbol)
        if root is None:
            raise LookupError(f"no futures product {one.contract.symbol}")
        then, last = front(root, day), front(root, _new_york_date(min(now_s, _LAST_S)))
        ahead = ((expiry(last.contract) or day) - (expiry(then.contract) or day)).days
        factor = exp(root.carry * max(ahead, 0) / 365.25)
        grid = one.per_unit * (2 if what == "MIDPOINT" else 1) if factor != 1.0 else 0
        return View(self._walk(then), one.per_unit, factor, grid, 1)

    def _dividends(self, one: Instrument, day: date, now_s: float) -> float:
        """What ADJUSTED_LAST takes off: a quarter of the yearly yield at each ex-date after the day and until now."""
        if not one.yield_year:
            return 1.0
        past = bisect_right(EX_DATES, _new_york_date(min(now_s, _LAST_S)))
        if past and not _opens_by(one.contract.calendar, EX_DATES[past - 1], now_s):
            past -= 1
        return (1 - one.yield_year / 4) ** max(past - bisect_right(EX_DATES, day), 0)

    # ---- quotes and ticks ----

    def quote(self, contract: Contract, t_s: float) -> Quote:
        one = self._instrument(contract)
        what = "TRADES" if "TRADES" in contract.kinds else contract.kinds[0]
        day, piece = self._piece_at(one, t_s)
        if piece is None or day is None:
            return Quote(t_s, -1, 0, -1, 0, -1, 0, 0, -1, -1, -1, -1, 0, False, False)
        view = self._view(one, day, what, t_s)
        is_open = t_s < piece.segment.close_s
        last = next(view.walk.ticks(piece.node, 0, t_s * 1000, reverse=True), None)
        at = last.price if last else piece.node.b
        view_last, last = (view, last) if last else self._last_before(one, what, piece.segment.open_s, t_s)
        quoted = "BID" in contract.kinds
        traded = what in ("TRADES", "AGGTRADES") and last is not None
        bid_size, ask_size = _book_sizes(one, last.t_ms if last else 0)
        bar = self._day_bar(one, day, what, True, t_s)
        return Quote(
            t_s=t_s,
            bid=view.price(at - piece.below) if quoted else -1,
            bid_size=bid_size if quoted else 0,
            ask=view.price(at + piece.above) if quoted else -1,
            ask_size=ask_size if quoted else 0,
            last=view_last.price(last.price) if traded and last else -1,
            last_size=_volume(one, view_last, last.size) if traded and last else 0,
            last_s=last.t_ms / 1000 if traded and last else 0,
            open=bar.open if bar else -1,
            high=bar.high if bar else -1,
            low=bar.low if bar else -1,
            close=self._close_before(one, day, what, t_s, view),
            volume=max(bar.volume, 0) if bar else 0,
            halted=self._halted(one, t_s),
            is_open=is_open,
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
        one = self._instrument(contract)
        days = calendars.trade_dates(start_s, end_s)
        for day in reversed(days) if from_end else days:
            found = self._day_ticks(one, day, kind, start_s, end_s, limit, rth, from_end)
            if found:  # an answer never spans sessions
                return found
        return []

    def _day_ticks(
        self, one: Instrument, day: date, kind: str, start_s: float, end_s: float, limit: int, rth: bool, from_end: bool
    ) -> list[Tick]:
        view = self._view(one, day, kind, end_s)
        pieces = view.walk.pieces(day, rth=rth)
        found: list[Tick] = []
        for piece in reversed(pieces) if from_end else pieces:
            for tick in view.walk.ticks(piece.node, start_s * 1000, end_s * 1000, reverse=from_end):
                if len(found) >= limit and tick.t_ms // 1000 != int(found[-1].t_s):
                    return found[::-1] if from_end else found
                found.append(_tick(one, view, piece, tick, kind))
        return found[::-1] if from_end else found

    def _piece_at(self, one: Instrument, t_s: float) -> tuple[date | None, Piece | None]:
        """The segment that is open at t_s or was the last before it, within two weeks."""
        for day in reversed(calendars.trade_dates(t_s - 14 * 86400, t_s)):
            view = self._view(one, day, "TRADES", t_s)
            for piece in reversed(view.walk.pieces(day, rth=False)):
                if piece.segment.open_s <= t_s:
                    return day, piece
        return None, None

    def _last_before(self, one: Instrument, what: str, open_s: int, t_s: float) -> tuple[View, PathTick | None]:
        """The last tick of the segments before the one that opens at open_s, within two weeks."""
        days = calendars.trade_dates(open_s - 14 * 86400, open_s)
        for day in reversed(days):
            view = self._view(one, day, what, t_s)
            for piece in reversed(view.walk.pieces(day, rth=False)):
                if piece.segment.open_s < open_s and piece.node.n:
                    return view, next(view.walk.ticks(piece.node, 0, t_s * 1000, reverse=True), None)
        return self._view(one, days[0], what, t_s), None

    def _close_before(self, one: Instrument, day: date, what: str, t_s: float, view: View) -> float:
        """Close of the last regular session before a trade date, -1 when there is none within two weeks."""
        key = one.contract.con_id, day, view.per_unit, view.factor  # the latter two change at a split and at a roll
        if key not in self._closes:
            days = (day - timedelta(days=back) for back in range(1, 15))
            bars = (self._day_bar(one, when, what, True, t_s) for when in days)
            if len(self._closes) >= self.CACHED_CLOSES:
                self._closes.clear()
            self._closes[key] = next((bar.close for bar in bars if bar), -1)
        return self._closes[key]

    def _halted(self, one: Instrument, t_s: float) -> bool:
        return any(
            session.trade_date in one.halted and session.open_s <= t_s
            for session in calendars.sessions(one.contract.calendar, t_s, t_s + 1, rth=False)
        )

    # ---- where things are kept ----

    def _candidates(self, query: ContractQuery, now_s: float) -> Sequence[Instrument]:
        if query.con_id:
            one = by_con_id().get(query.con_id) or options.by_con_id(query.con_id)
            return (one,) if one else ()
        name = (query.local_symbol or query.symbol).upper()
        if "OPT" in query.types() and name[:6].strip() in options.UNDERLYINGS:
            spot = self._spot(name[:6].strip(), now_s)
            return list(options.matching(query, spot, _new_york_date(now_s)))
        if not name and query.sec_id:
            return listed()
        return by_symbol().get(name, ())

    def _spot(self, symbol: str, t_s: float) -> float:
        """About what a stock costs at an instant."""
        return self._walk(options.underlying(symbol)).level(t_s)

    def _current(self, one: Instrument, today: date) -> Contract:
        """A continuous future names the month that it stands for."""
        root = root_of(one.contract.symbol) if one.roll else None
        if root is None:
            return one.contract
        month = front(root, today).contract
        return replace(
            one.contract,
            last_trade_date=month.last_trade_date,
            local_symbol=month.local_symbol,
            contract_month=month.contract_month,
            real_expiration_date=month.real_expiration_date,
        )

    def _instrument(self, contract: Contract) -> Instrument:
        one = by_con_id().get(contract.con_id) or options.by_con_id(contract.con_id)
        if one is None:
            raise LookupError(f"no instrument has the contract id {contract.con_id}")
        return one

    def _walk(self, one: Instrument) -> Walk:
        walk = self._walks.get(one.contract.con_id)
        if walk is None:
            walk = self._walks[one.contract.con_id] = Walk(self.seed, one, self._level(one))
        return walk

    def _level(self, one: Instrument) -> Callable[[float], float]:
        """The price in today's shares as a function of time."""
        end = expiry(one.contract)
        end_years = (end - date(2025, 1, 1)).days / 365.25 if end else 0.0
        if one.under:
            spot = self._walk(one.under).level
            return lambda t_s: options.value(one, spot(t_s), end_years - (t_s - _2025_S) / (365.25 * 86400))
        noise = self._noises.setdefault(one.walk, Noise(f"{self.seed}/{one.walk}/".encode()))

        @lru_cache(maxsize=5000)
        def level(t_s: float) -> float:
            years = (t_s - _2025_S) / (365.25 * 86400)
            ahead = one.carry * max(end_years - years, 0.0) if end else 0.0
            return exp(one.trend(years) + one.vol_day * noise.at(t_s) + ahead)

        return level


_2025_S = 1_735_689_600
_LAST_S = int(datetime(2030, 12, 31, tzinfo=UTC).timestamp())


def check_request(contract: Contract, size: str, what: str) -> None:
    """ValueError for a size that does not exist and a kind that the contract does not have in it."""
    if size not in SIZES:
        raise ValueError(f"size {size!r} is not one of {', '.join(SIZES)}")
    if what not in contract.kinds:
        raise ValueError(f"{contract.sec_type} {contract.symbol} has no {what}, only {', '.join(contract.kinds)}")
    if what == "ADJUSTED_LAST" and size in INTRADAY_S:
        raise ValueError("ADJUSTED_LAST exists for 1d, 1w and 1M")


# ---- bars from nodes, bars from bars --------------------------------------------------------------------------------


def slot_bars(
    nodes: list[Node], step_s: int, size_s: int, shift_s: int, what: str, piece: Piece, view: View
) -> list[Bar]:
    """Bars of one segment: its nodes gathered in slots of the wall clock; slots that the segment shares stay parts."""
    if step_s == size_s:
        return node_bars(nodes, what, piece, view)
    slots: dict[int, list[Node]] = {}
    for node in nodes:
        slots.setdefault((node.t0 + shift_s) // size_s, []).append(node)
    return node_bars([joined(group) for group in slots.values()], what, piece, view)


def node_bars(nodes: list[Node], what: str, piece: Piece, view: View) -> list[Bar]:
    """Each node as a bar; without a trade there is none of TRADES, while quotes stand."""
    if what in ("TRADES", "ADJUSTED_LAST", "AGGTRADES"):
        return _trade_bars(nodes, view)
    price = view.price
    stood = [(t0, b, max(b, h), min(b, low), c) for t0, _, b, _, h, low, c, _, _, _ in nodes]
    if what == "BID_ASK":
        below, above = piece.below, piece.above
        return [
            Bar(
                t0,
                price((b + h + low + c) / 4 - below),
                price(h + above),
                price(low - below),
                price((b + h + low + c) / 4 + above),
                -1,
                -1,
                -1,
            )
            for t0, b, h, low, c in stood
        ]
    offset = {"BID": -piece.below, "ASK": piece.above, "MIDPOINT": (piece.above - piece.below) / 2}[what]
    return [
        Bar(t0, price(b + offset), price(h + offset), price(low + offset), price(c + offset), -1, -1, -1)
        for t0, b, h, low, c in stood
    ]


def _trade_bars(nodes: list[Node], view: View) -> list[Bar]:
    contract = view.walk.instrument.contract
    if contract.sec_type == "IND":
        per_unit = view.per_unit
        return [
            Bar(t0, o / per_unit, h / per_unit, low / per_unit, c / per_unit, 0, 0, n)
            for t0, _, _, o, h, low, c, n, _, _ in nodes
            if n
        ]
    price = view.price
    unit = view.walk.instrument.volume_unit
    if unit == 1 and not view.grid:
        per_unit, shares = view.per_unit, view.shares
        return [
            Bar(
                t0,
                o / per_unit,
                h / per_unit,
                low / per_unit,
                c / per_unit,
                v * shares,
                (o + h + low + c) / (4 * per_unit),
                n,
            )
            for t0, _, _, o, h, low, c, n, v, _ in nodes
            if n
        ]
    return [
        Bar(
            t0,
            price(o),
            price(h),
            price(low),
            price(c),
            _volume(view.walk.instrument, view, v),
            price((o + h + low + c) / 4),
            n,
        )
        for t0, _, _, o, h, low, c, n, v, _ in nodes
        if n
    ]


# ---- small things ---------------------------------------------------------------------------------------------------


def _volume(one: Instrument, view: View, shares: int) -> float:
    if one.contract.sec_type == "IND":
        return 0
    return shares / one.volume_unit if one.volume_unit > 1 else shares * view.shares


def _tick(one: Instrument, view: View, piece: Piece, tick: PathTick, kind: str) -> Tick:
    t_s = tick.t_ms / 1000
    if kind == "BID_ASK":
        bid_size, ask_size = _book_sizes(one, tick.t_ms)
        bid, ask = view.price(tick.price - piece.below), view.price(tick.price + piece.above)
        return Tick(t_s, 0, 0, bid, ask, bid_size, ask_size, "", "")
    if kind == "MIDPOINT":
        return Tick(t_s, view.price(tick.price + (piece.above - piece.below) / 2), 0, 0, 0, 0, 0, "", "")
    exchange = one.contract.primary_exchange or one.contract.valid_exchanges[0]
    return Tick(t_s, view.price(tick.price), _volume(one, view, tick.size), 0, 0, 0, 0, exchange, "")


def _book_sizes(one: Instrument, t_ms: int) -> tuple[float, float]:
    """Sizes at the top of the book: whole lots of stocks, a million of a currency, some contracts."""
    noise = blake2b(struct.pack("<qq", one.contract.con_id, t_ms), digest_size=2).digest()
    lot = {"STK": 100, "CFD": 100, "CASH": 1_000_000}.get(one.contract.sec_type, 1)
    if one.volume_unit > 1:
        return (1 + noise[0] % 40) / 100, (1 + noise[1] % 40) / 100
    return lot * (1 + noise[0] % 12), lot * (1 + noise[1] % 12)


def _routed(contract: Contract, exchange: str) -> Contract:
    return replace(contract, exchange=exchange) if exchange and exchange != contract.exchange else contract


@lru_cache(maxsize=100_000)
def _opening(calendar: str, day: date, rth: bool) -> int | None:
    """When the first session of a trade date opens, None when it is closed or outside the table."""
    found = calendars.known_sessions(calendar, day, rth=rth)
    return found[0].open_s if found else None


@cache
def _opens_by_s(calendar: str, day: date) -> int:
    """When the first session on or after a date opens."""
    for when in days_between(day, day + timedelta(days=14)):
        opened = _opening(calendar, when, False)
        if opened is not None:
            return opened
    return midnight_s(day)


def _opens_by(calendar: str, day: date, now_s: float) -> bool:
    return _opens_by_s(calendar, day) <= now_s


def _new_york_date(t_s: float) -> date:
    return datetime.fromtimestamp(t_s, calendars.zone("us_stock")).date()
