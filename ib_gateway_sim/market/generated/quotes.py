"""Quotes and ticks of the generated market."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from datetime import date, timedelta
from hashlib import blake2b

from ib_gateway_sim.market import calendars
from ib_gateway_sim.market.contracts import Contract
from ib_gateway_sim.market.generated.bars import GeneratedBars
from ib_gateway_sim.market.generated.node_bars import View, volume_of
from ib_gateway_sim.market.generated.paths import PathTick
from ib_gateway_sim.market.generated.prices import Prices
from ib_gateway_sim.market.generated.walks import Piece
from ib_gateway_sim.market.instruments.instrument import Instrument
from ib_gateway_sim.market.source import Quote, Side, Tick


class GeneratedQuotes:
    CACHED_CLOSES = 10_000

    def __init__(self, prices: Prices, bars: GeneratedBars) -> None:
        self._prices = prices
        self._bars = bars
        self._closes: dict[tuple[int, date, int, float], float] = {}

    def quote(self, contract: Contract, t_s: float) -> Quote:
        one = self._prices.instrument(contract)
        what = "TRADES" if "TRADES" in contract.kinds else contract.kinds[0]
        day, piece = self._piece_at(one, t_s)
        if piece is None or day is None:
            return Quote(t_s, -1, 0, -1, 0, -1, 0, 0, -1, -1, -1, -1, 0, False, False)
        view = self._prices.view(one, day, what, t_s)
        is_open = t_s < piece.segment.close_s
        last = next(view.walk.ticks(piece.node, 0, t_s * 1000, reverse=True), None)
        at = last.price if last else piece.node.b
        view_last, last = (view, last) if last else self._last_before(one, what, piece.segment.open_s, t_s)
        quoted = "BID" in contract.kinds
        traded = what in ("TRADES", "AGGTRADES") and last is not None
        bid_size, ask_size = _book_sizes(one, last.t_ms if last else 0)
        bar = self._bars.day_bar(one, day, what, True, t_s)
        return Quote(
            t_s=t_s,
            bid=view.price(at - piece.below) if quoted else -1,
            bid_size=bid_size if quoted else 0,
            ask=view.price(at + piece.above) if quoted else -1,
            ask_size=ask_size if quoted else 0,
            last=view_last.price(last.price) if traded and last else -1,
            last_size=volume_of(one, view_last, last.size) if traded and last else 0,
            last_s=last.t_ms / 1000 if traded and last else 0,
            open=bar.open if bar else -1,
            high=bar.high if bar else -1,
            low=bar.low if bar else -1,
            close=self._close_before(one, day, what, t_s, view),
            volume=max(bar.volume, 0) if bar else 0,
            halted=self._halted(one, t_s),
            is_open=is_open,
        )

    def calm_until(
        self, contract: Contract, side: Side, within: tuple[float, float], start_s: float, end_s: float
    ) -> float:
        """See MarketSource: whole ranges of the path that stay between the prices are passed over."""
        one = self._prices.instrument(contract)
        what = "TRADES" if "TRADES" in contract.kinds else contract.kinds[0]
        for at_s, day, piece in self._pieces_between(one, start_s, end_s):
            stands = self.quote(contract, at_s).price(side)
            if stands is None or not within[0] < stands < within[1]:
                return at_s
            view = self._prices.view(one, day, what, at_s)
            offset = {"bid": -piece.below, "ask": piece.above, "last": 0}[side]

            def inside(ticks: int, view: View = view, offset: int = offset) -> bool:
                return within[0] < view.price(ticks + offset) < within[1]

            left_ms = view.walk.leaves_at(piece.node, inside, int(at_s * 1000), int(end_s * 1000) + 1)
            if left_ms is not None:
                return min(max(at_s, (left_ms - 1) / 1000), end_s)  # a tick counts after its time
        return end_s

    def _pieces_between(self, one: Instrument, start_s: float, end_s: float) -> Iterator[tuple[float, date, Piece]]:
        """The segment at start_s and all that open until end_s; with each the time from which it is looked at."""
        day, piece = self._piece_at(one, start_s)
        if day is not None and piece is not None:
            yield start_s, day, piece
        for day in calendars.trade_dates(start_s, end_s):
            for piece in self._prices.view(one, day, "TRADES", end_s).walk.pieces(day, rth=False):
                if start_s < piece.segment.open_s < end_s:
                    yield float(piece.segment.open_s), day, piece

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
        one = self._prices.instrument(contract)
        days = calendars.trade_dates(start_s, end_s)
        for day in reversed(days) if from_end else days:
            found = self._day_ticks(one, day, kind, start_s, end_s, limit, rth, from_end)
            if found:  # an answer never spans sessions
                return found
        return []

    def _day_ticks(
        self, one: Instrument, day: date, kind: str, start_s: float, end_s: float, limit: int, rth: bool, from_end: bool
    ) -> list[Tick]:
        view = self._prices.view(one, day, kind, end_s)
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
            view = self._prices.view(one, day, "TRADES", t_s)
            for piece in reversed(view.walk.pieces(day, rth=False)):
                if piece.segment.open_s <= t_s:
                    return day, piece
        return None, None

    def _last_before(self, one: Instrument, what: str, open_s: int, t_s: float) -> tuple[View, PathTick | None]:
        """The last tick of the segments before the one that opens at open_s, within two weeks."""
        days = calendars.trade_dates(open_s - 14 * 86400, open_s)
        for day in reversed(days):
            view = self._prices.view(one, day, what, t_s)
            for piece in reversed(view.walk.pieces(day, rth=False)):
                if piece.segment.open_s < open_s and piece.node.n:
                    return view, next(view.walk.ticks(piece.node, 0, t_s * 1000, reverse=True), None)
        return self._prices.view(one, days[0], what, t_s), None

    def _close_before(self, one: Instrument, day: date, what: str, t_s: float, view: View) -> float:
        """Close of the last regular session before a trade date, -1 when there is none within two weeks."""
        key = one.contract.con_id, day, view.per_unit, view.factor  # the latter two change at a split and at a roll
        if key not in self._closes:
            days = (day - timedelta(days=back) for back in range(1, 15))
            bars = (self._bars.day_bar(one, when, what, True, t_s) for when in days)
            if len(self._closes) >= self.CACHED_CLOSES:
                self._closes.clear()
            self._closes[key] = next((bar.close for bar in bars if bar), -1)
        return self._closes[key]

    def _halted(self, one: Instrument, t_s: float) -> bool:
        return any(
            session.trade_date in one.halted and session.open_s <= t_s
            for session in calendars.sessions(one.contract.calendar, t_s, t_s + 1, rth=False)
        )


def _tick(one: Instrument, view: View, piece: Piece, tick: PathTick, kind: str) -> Tick:
    t_s = tick.t_ms / 1000
    if kind == "BID_ASK":
        bid_size, ask_size = _book_sizes(one, tick.t_ms)
        bid, ask = view.price(tick.price - piece.below), view.price(tick.price + piece.above)
        return Tick(t_s, 0, 0, bid, ask, bid_size, ask_size, "", "")
    if kind == "MIDPOINT":
        return Tick(t_s, view.price(tick.price + (piece.above - piece.below) / 2), 0, 0, 0, 0, 0, "", "")
    exchange = one.contract.primary_exchange or one.contract.valid_exchanges[0]
    return Tick(t_s, view.price(tick.price), volume_of(one, view, tick.size), 0, 0, 0, 0, exchange, "")


def _book_sizes(one: Instrument, t_ms: int) -> tuple[float, float]:
    """Sizes at the top of the book: whole lots of stocks, a million of a currency, some contracts."""
    noise = blake2b(struct.pack("<qq", one.contract.con_id, t_ms), digest_size=2).digest()
    lot = {"STK": 100, "CFD": 100, "CASH": 1_000_000}.get(one.contract.sec_type, 1)
    if one.volume_unit > 1:
        return (1 + noise[0] % 40) / 100, (1 + noise[1] % 40) / 100
    return lot * (1 + noise[0] % 12), lot * (1 + noise[1] % 12)
