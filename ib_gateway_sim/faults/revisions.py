"""History that changes afterwards: minutes to which a trade is added when they are over.

IB's history of the last minutes is corrected now and then, and other vendors send such corrections on a channel of their
own. A revision is one trade more: beyond the high or the low of its minute, and of every second one the last of its
minute. So bars of all sizes agree with each other: highs and lows reach it, volumes and counts sum.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from ib_gateway_sim.faults.live import chance
from ib_gateway_sim.market import calendars
from ib_gateway_sim.market.bars import INTRADAY_S, Bar, period_start
from ib_gateway_sim.market.contracts import Contract
from ib_gateway_sim.market.source import MarketSource

MINUTE_S = 60
_LONGEST_CLOSED_S = 14 * 86_400


class Revision(NamedTuple):
    """A trade that history has from now on in the minute that begins at `minute_s`."""

    minute_s: int
    trade_date: date
    ticks: int  # beyond the minute's high (above 0) or low (below)
    part: float  # its size as a part of the minute's volume
    is_last: bool  # it is the minute's last trade, so the close changes too

    def of(self, bar: Bar, min_tick: float) -> Bar:
        """The minute, or its last part, with this trade."""
        price = round((bar.high if self.ticks > 0 else bar.low) + self.ticks * min_tick, 8)
        close = price if self.is_last else bar.close
        high, low = max(bar.high, price), min(bar.low, price)
        if bar.volume < 0:
            return bar._replace(high=high, low=low, close=close)
        size = max(1, int(bar.volume * self.part)) if bar.volume else 0  # an index has no volume
        known = bar.wap > 0 and size > 0
        wap = round((bar.wap * bar.volume + price * size) / (bar.volume + size), 6) if known else bar.wap
        count = bar.count + 1 if bar.count >= 0 else bar.count
        return bar._replace(high=high, low=low, close=close, volume=bar.volume + size, wap=wap, count=count)


@dataclass
class Revisions:
    """What was changed: contract id -> the changes in their order. They stay when faults are cleared, as a split does."""

    made: dict[int, list[Revision]] = field(default_factory=dict)

    def minutes(self, market: MarketSource, contract: Contract, now_s: float, n: int) -> list[int]:
        """The last n minutes that are over and have a bar, by their start; fewer where two weeks have not so many."""
        what = kind_of(contract)
        found: list[int] = []
        for session in reversed(market.sessions(contract, now_s - _LONGEST_CLOSED_S, now_s, rth=False)):
            end_s = min(session.close_s, int(now_s))
            bars = market.bars(contract, "1m", what, rth=False, start_s=session.open_s, end_s=end_s, now_s=now_s)
            traded = [bar for bar in bars if bar.volume != 0 or contract.sec_type == "IND"]  # fillers are no minutes
            found = [*(bar.t for bar in traded if bar.t + MINUTE_S <= now_s), *found]
            if len(found) >= n:
                break
        return found[-n:]

    def add(self, market: MarketSource, contract: Contract, minutes: Sequence[int]) -> None:
        """Changes these minutes, each once more than before."""
        made = self.made.setdefault(contract.con_id, [])
        for minute_s in minutes:
            made.append(_drawn(market, contract, minute_s, len(made)))

    def apply(
        self,
        market: MarketSource,
        contract: Contract,
        size: str,
        what: str,
        *,
        rth: bool,
        bars: list[Bar],
        now_s: float,
    ) -> list[Bar]:
        """Bars of history with what was changed. `size` is one of market.bars.SIZES."""
        made = self.made.get(contract.con_id, ())
        if not made or not bars or what == "ADJUSTED_LAST":
            return bars
        history = _History(market, contract, size, what, rth, now_s)
        for minute_s in sorted({one.minute_s for one in made}):
            bars = history.changed(bars, [one for one in made if one.minute_s == minute_s])
        return bars


def kind_of(contract: Contract) -> str:
    """The kind of bars in which a change is shown: trades where there are some."""
    return next(kind for kind in ("TRADES", "AGGTRADES", "MIDPOINT", *contract.kinds) if kind in contract.kinds)


def _drawn(market: MarketSource, contract: Contract, minute_s: int, number: int) -> Revision:
    side, size, distance = (
        chance(market.account, "revise", contract.con_id, minute_s, number, each) for each in ("side", "size", "reach")
    )
    session = market.sessions(contract, minute_s, minute_s + MINUTE_S, rth=False)[0]
    ticks = (1 + int(distance * 4)) * (1 if side < 0.5 else -1)
    return Revision(minute_s, session.trade_date, ticks, 0.02 + 0.2 * size, number % 2 == 0)


@dataclass(frozen=True)
class _History:
    """Bars of one kind and size at an instant, to which the changes of a minute are made."""

    market: MarketSource
    contract: Contract
    size: str
    what: str
    rth: bool
    now_s: float

    def changed(self, bars: list[Bar], changes: Sequence[Revision]) -> list[Bar]:
        """The bars with the changes of one minute."""
        minute_s = changes[0].minute_s
        base = self._bars("1m", minute_s, minute_s + MINUTE_S)
        at = self._place(bars, changes[0]) if base else None
        if at is None:
            return bars
        minute = base[0]
        for one in changes:
            minute = one.of(minute, self.contract.min_tick)
        return [*bars[:at], self._with(bars[at], base[0], minute, changes[0]), *bars[at + 1 :]]

    def _bars(self, size: str, start_s: int, end_s: int) -> list[Bar]:
        return self.market.bars(
            self.contract, size, self.what, rth=self.rth, start_s=start_s, end_s=end_s, now_s=self.now_s
        )

    def _place(self, bars: list[Bar], one: Revision) -> int | None:
        """Which of the bars holds the minute; of shorter ones the last of it."""
        if self.size not in INTRADAY_S:
            period = period_start(one.trade_date, self.size)
            dates = [period_start(datetime.fromtimestamp(bar.t, UTC).date(), self.size) for bar in bars]
            return dates.index(period) if period in dates else None
        size_s = INTRADAY_S[self.size]
        if size_s < MINUTE_S:
            parts = self._bars(self.size, one.minute_s, one.minute_s + MINUTE_S)
            return next((n for n, bar in enumerate(bars) if parts and bar.t == parts[-1].t), None)
        shift_s = calendars.utc_offset_s(ZoneInfo(self.contract.time_zone), one.minute_s)
        slot = (one.minute_s + shift_s) // size_s
        return next((n for n, bar in enumerate(bars) if (bar.t + shift_s) // size_s == slot), None)

    def _with(self, bar: Bar, before: Bar, after: Bar, one: Revision) -> Bar:
        """A bar that holds a minute which was `before` and is `after`."""
        if self.size == "1m":
            return after
        volume = bar.volume if bar.volume < 0 else bar.volume + after.volume - before.volume
        return bar._replace(
            high=max(bar.high, after.high),
            low=min(bar.low, after.low),
            close=after.close if self._ends_with(bar, one) else bar.close,
            volume=volume,
            count=bar.count if bar.count < 0 else bar.count + after.count - before.count,
        )

    def _ends_with(self, bar: Bar, one: Revision) -> bool:
        """Whether the minute of a change is the last of a bar in which something happened."""
        after_s = one.minute_s + MINUTE_S
        if self.size in INTRADAY_S:
            size_s = INTRADAY_S[self.size]
            return size_s < MINUTE_S or not any(each.volume for each in self._bars("1m", after_s, bar.t + size_s))
        sessions = self.market.sessions(self.contract, one.minute_s, self.now_s, rth=self.rth)
        period = period_start(one.trade_date, self.size)
        last = [each for each in sessions if period_start(each.trade_date, self.size) == period][-1]
        return last.open_s <= one.minute_s and not any(each.volume for each in self._bars("1m", after_s, last.close_s))
