"""Bars as live streams see them: history's, or made anew of trades that come late and volumes that differ.

The bars of a stream without a fault are history's own. With one they are made of five-second parts, each of the trades (or
quotes) that have come in by then. What is known of real differences, and their sources: docs/simulator.md, "Live and
history".
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from math import ceil
from typing import NamedTuple
from zoneinfo import ZoneInfo

from ib_gateway_sim.faults.live import Late, LiveFaults, chance, set_for
from ib_gateway_sim.market import calendars
from ib_gateway_sim.market.bars import INTRADAY_S, Bar, merged_slots
from ib_gateway_sim.market.calendars import Session
from ib_gateway_sim.market.contracts import Contract
from ib_gateway_sim.market.source import MarketSource

PART_S = 5
STEP_S = 30
"""Live volume is adjusted about every 30 s, by users of another program that reads IB's feed (2007)."""
MOST_KEPT = 20_000  # parts of one contract and kind: a day and more
_MANY = 1_000_000


class Print(NamedTuple):
    """A trade or a quote as it comes in."""

    at_s: float
    price: float
    size: float


@dataclass
class LiveBars:
    """The live view of one contract and kind. All times are epoch seconds UTC."""

    market: MarketSource
    faults: LiveFaults
    contract: Contract
    what: str  # TRADES MIDPOINT BID ASK
    rth: bool

    def bars(self, size: str, start_s: int, end_s: int, now_s: float) -> list[Bar]:
        """Bars that start in [start_s, end_s) as they are known at now_s; `size` is one of market.bars.SIZES.

        Bars of a day and more are history's: these faults act on shorter ones.
        """
        if size not in INTRADAY_S or not self.faults.touches(self.contract) or not self._has_prints(INTRADAY_S[size]):
            return self._history(size, start_s, end_s, now_s)
        size_s = INTRADAY_S[size]
        shift_s = calendars.utc_offset_s(ZoneInfo(self.contract.time_zone), start_s)
        first_s = (start_s + shift_s) // size_s * size_s - shift_s
        until_s = min(float(end_s + size_s), now_s)
        sessions = self.market.sessions(self.contract, first_s, until_s, rth=self.rth)
        parts = [part for each in sessions for part in self._parts(each, first_s, until_s, now_s)]
        made = merged_slots(parts, max(size_s, PART_S), shift_s, self.what, sessions)
        return [bar for bar in made if start_s <= bar.t < end_s]

    def _history(self, size: str, start_s: int, end_s: int, now_s: float) -> list[Bar]:
        return self.market.bars(self.contract, size, self.what, rth=self.rth, start_s=start_s, end_s=end_s, now_s=now_s)

    def _has_prints(self, size_s: int) -> bool:
        """A replayed file, which knows no calendar, holds minutes of one price; its trades are made of them."""
        return bool(self.contract.calendar) or (self.what == "TRADES" and size_s >= 60)

    # ---- five seconds --------------------------------------------------------------------------------------------
    def _parts(self, session: Session, first_s: int, until_s: float, now_s: float) -> list[Bar]:
        """Parts of one session that start in [first_s, until_s)."""
        before_s = STEP_S if set_for(self.faults.steps, self.contract) else 0
        start_s = max(session.open_s, first_s - before_s)
        start_s -= start_s % PART_S
        end_s = min(float(session.close_s), until_s)
        parts = self._kept(session, start_s, end_s, now_s) if start_s < end_s else []
        if self.what == "TRADES":
            parts = self._stepped(parts, session, now_s)
        return [part for part in parts if part.t >= first_s]

    def _kept(self, session: Session, start_s: int, end_s: float, now_s: float) -> list[Bar]:
        """Parts that start in [start_s, end_s). Those that will not change any more are made once."""
        key = (self.contract.con_id, self.what, self.rth)
        kept = self.faults.parts.setdefault(key, {})
        first_s = next((t for t in range(start_s, ceil(end_s), PART_S) if t not in kept), ceil(end_s))
        result = [part for t in range(start_s, first_s, PART_S) if (part := kept[t]) is not None]
        if first_s >= end_s:
            return result
        made = {part.t: part for part in self._made(session, first_s, end_s, now_s)}
        if len(kept) > MOST_KEPT:
            kept.clear()
        settled_s = min(now_s, end_s) - self.faults.corrected_for_s(self.contract)
        for t in range(first_s, int(settled_s) - PART_S + 1, PART_S):
            kept[t] = made.get(t)
        return [*result, *made.values()]

    def _made(self, session: Session, start_s: int, end_s: float, now_s: float) -> Iterator[Bar]:
        prints = list(self._came_in(session, start_s, end_s, now_s))
        if self.what == "TRADES":
            return map(self._with_odd_lots, _trades(prints))
        return _quotes(prints, start_s, end_s, self._standing(start_s, now_s))

    def _standing(self, at_s: int, now_s: float) -> float:
        """The quote that stands at an instant."""
        before = self.faults.parts[self.contract.con_id, self.what, self.rth].get(at_s - PART_S)
        if before is not None:
            return before.close
        found = self._history("5s", at_s, at_s + PART_S, now_s)
        return found[0].open if found else 0.0

    # ---- trades that come late -----------------------------------------------------------------------------------
    def _came_in(self, session: Session, start_s: int, end_s: float, now_s: float) -> Iterator[Print]:
        """What counts in [start_s, end_s) by now, in order of the time at which it counts."""
        late = set_for(self.faults.late, self.contract)
        if late is None:
            yield from self._prints(session, start_s, end_s, now_s)
            return
        back_s = late.seconds if late.into == "forming" else 0.0
        counted = []
        for each in self._prints(session, start_s - back_s, end_s, now_s):
            at_s = self._counts_at(late, each, now_s)
            if at_s is not None and start_s <= at_s < end_s:
                counted.append(each._replace(at_s=at_s))
        yield from sorted(counted, key=lambda one: one.at_s)

    def _counts_at(self, late: Late, one: Print, now_s: float) -> float | None:
        """The time whose bar has this print; None: no live bar has it (yet)."""
        dice = chance(self.market.account, "late", self.contract.con_id, self.what, one.at_s, one.price, one.size)
        if one.at_s < late.since_s or dice >= late.share:
            return one.at_s
        if late.seconds == 0:
            return None
        if late.into == "forming":
            return one.at_s + late.seconds
        return one.at_s if one.at_s + late.seconds <= now_s else None

    def _prints(self, session: Session, start_s: float, end_s: float, now_s: float) -> Iterator[Print]:
        low_s, high_s = max(float(session.open_s), start_s), min(float(session.close_s), end_s)
        if not self.contract.calendar:
            yield from self._minute_prints(low_s, high_s, now_s)
        elif low_s < high_s:
            kind = "BID_ASK" if self.what in ("BID", "ASK") else self.what
            for tick in self.market.ticks(self.contract, kind, low_s, high_s, _MANY, rth=self.rth):
                yield Print(tick.t_s, {"BID": tick.bid, "ASK": tick.ask}.get(self.what, tick.price), tick.size)

    def _minute_prints(self, low_s: float, high_s: float, now_s: float) -> Iterator[Print]:
        """Of a replayed minute: four trades, a quarter of it each, sent when it is over."""
        for bar in self._history("1m", int(low_s) // 60 * 60, ceil(high_s), now_s):
            for at_s, price in zip((0, 20, 40, 59), (bar.open, bar.high, bar.low, bar.close), strict=True):
                if low_s <= bar.t + at_s < high_s:
                    yield Print(bar.t + at_s, price, max(bar.volume, 0) / 4)

    # ---- volumes that differ -------------------------------------------------------------------------------------
    def _with_odd_lots(self, part: Bar) -> Bar:
        odd = set_for(self.faults.odd_lots, self.contract)
        if odd is None or part.t < odd.since_s or part.volume <= 0:
            return part
        more = part.volume * odd.share * (0.5 + chance(self.market.account, "odd", self.contract.con_id, part.t))
        shares = max(1, int(more))
        return part._replace(volume=part.volume + shares, count=part.count + 1 + shares // 100)

    def _stepped(self, parts: list[Bar], session: Session, now_s: float) -> list[Bar]:
        """The volume of 30 s comes at their end; until then each part with a trade shows one."""
        steps = set_for(self.faults.steps, self.contract)
        if steps is None:
            return parts
        offset_s = PART_S * (1 + self.contract.con_id % 5)  # so a step never ends with a minute
        result: list[Bar] = []
        for number, group in groupby(parts, lambda part: (part.t + offset_s) // STEP_S):
            last_s = (number + 1) * STEP_S - offset_s - PART_S
            several = list(group)
            if several[0].t < steps.since_s or several[-1].volume <= 0:
                result += several
                continue
            result += _one_step(several, last_s, over=now_s > last_s and last_s < session.close_s)
        return result


def _one_step(parts: list[Bar], last_s: int, *, over: bool) -> list[Bar]:
    """Parts of 30 s with one share each, and all the rest in the part that begins at `last_s`, once that has begun."""
    shown = [part._replace(volume=min(part.volume, 1)) for part in parts if part.t < last_s]
    if not over:
        return shown
    rest = sum(part.volume for part in parts) - sum(part.volume for part in shown)
    if parts[-1].t == last_s:
        return [*shown, parts[-1]._replace(volume=rest)]
    price = parts[-1].close
    return [*shown, Bar(last_s, price, price, price, price, rest, price, 0)]


def _trades(prints: list[Print]) -> Iterator[Bar]:
    """Bars of five seconds, none where nothing was traded."""
    for slot, group in groupby(prints, lambda one: int(one.at_s) // PART_S):
        several = list(group)
        prices = [one.price for one in several]
        volume = sum(one.size for one in several)
        wap = round(sum(one.price * one.size for one in several) / volume, 6) if volume else 0
        yield Bar(slot * PART_S, prices[0], max(prices), min(prices), prices[-1], volume, wap, len(several))


def _quotes(prints: list[Print], start_s: int, end_s: float, standing: float) -> Iterator[Bar]:
    """Bars of five seconds: a quote stands until the next one."""
    by_slot = {slot: list(group) for slot, group in groupby(prints, lambda one: int(one.at_s) // PART_S)}
    for slot in range(start_s // PART_S, ceil(end_s / PART_S)):
        prices = [standing, *(one.price for one in by_slot.get(slot, ()))]
        yield Bar(slot * PART_S, standing, max(prices), min(prices), prices[-1], -1, -1, -1)
        standing = prices[-1]
