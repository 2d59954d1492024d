"""Bars of the generated market, of any size and time."""

from __future__ import annotations

from datetime import date, timedelta
from functools import partial

from ib_gateway_sim.market import calendars
from ib_gateway_sim.market.bars import INTRADAY_S, Bar, dated_bars, filled, merged, merged_slots
from ib_gateway_sim.market.contracts import Contract
from ib_gateway_sim.market.generated.dates import opening_s
from ib_gateway_sim.market.generated.node_bars import View, check_request, node_bars, slot_bars
from ib_gateway_sim.market.generated.paths import LEVELS_S
from ib_gateway_sim.market.generated.prices import Prices
from ib_gateway_sim.market.instruments.instrument import Instrument


class GeneratedBars:
    def __init__(self, prices: Prices) -> None:
        self._prices = prices

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
        one = self._prices.instrument(contract)
        if contract.sec_type == "OPT" and size not in INTRADAY_S:
            return []  # IB keeps no end-of-day bars of options
        if size in INTRADAY_S:
            return self._intraday(one, INTRADAY_S[size], what, rth, start_s, min(end_s, now_s), now_s)
        return dated_bars(
            lambda day: self.day_bar(one, day, what, rth, now_s),
            lambda day: opening_s(contract.calendar, day, rth),
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
        one = self._prices.instrument(contract)
        for day in (one.head + timedelta(days=n) for n in range(400)):
            bar = self.day_bar(one, day, what, rth, float("inf"))
            if bar is not None:
                return opening_s(contract.calendar, day, rth)
        return None

    def _intraday(
        self, one: Instrument, size_s: int, what: str, rth: bool, start_s: float, end_s: float, now_s: float
    ) -> list[Bar]:
        level = next(n for n, step in enumerate(LEVELS_S) if size_s % step == 0)
        result: list[Bar] = []
        for day in calendars.trade_dates(start_s, end_s):
            opening = opening_s(one.contract.calendar, day, False)
            if opening is None:
                continue
            view = self._prices.view(one, day, what, now_s)
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
                requested = [t for t in slots if max(first, start_s) <= t < min(beyond, end_s, now_s)]
                parts = filled(parts, requested, partial(self._traded_before, view, day))
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

    def day_bar(self, one: Instrument, day: date, what: str, rth: bool, now_s: float) -> Bar | None:
        view = self._prices.view(one, day, what, now_s)
        parts = []
        for piece in view.walk.pieces(day, rth=rth):
            if piece.segment.open_s >= now_s:
                continue
            node = view.walk.until(piece.node, now_s)
            parts += node_bars([node], what, piece, view)
        return merged(parts, parts[0].t, what) if parts else None
