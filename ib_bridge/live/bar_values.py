"""Bars between IB's units, the database's and those of listeners."""

from ib_bridge.ib.live_callbacks import BarValue
from nautilus.db.live.provisional import ProvisionalBar
from nautilus.live.confirmation import Outcome
from nautilus.live.folding import Part
from nautilus.market.bar import Bar
from nautilus.market.calendar import Calendar
from nautilus.market.timeframes import Timeframe


def part_of(bar: BarValue, calendar: Calendar, frame: Timeframe, now: int) -> Part:
    """A bar as IB sent it."""
    end = calendar.slot_end(frame, bar.ts)
    values = bar.open, bar.high, bar.low, bar.close, bar.volume, bar.trades
    return Part(bar.ts, end - bar.ts, *values, complete=end <= now)


def part_of_row(bar: Bar | ProvisionalBar, frame: Timeframe, end: int, factor: float | None) -> Part:
    """A bar of the database, with its volume in the stream's unit; without it while nobody knows that unit."""
    volume = bar.volume / factor if bar.volume is not None and factor is not None else None
    partial = isinstance(bar, ProvisionalBar) and bar.partial
    return Part(bar.ts, end - bar.ts, bar.open, bar.high, bar.low, bar.close, volume, bar.trades, partial=partial)


def placed(outcome: Outcome, ts: int) -> Outcome:
    """The same of a bar that begins then."""
    return outcome._replace(bar=outcome.bar._replace(ts=ts), was=outcome.was._replace(ts=ts) if outcome.was else None)


def shown(outcome: Outcome, factor: float | None) -> Outcome:
    """With volumes as listeners get them."""
    return outcome._replace(bar=_shown(outcome.bar, factor), was=_shown(outcome.was, factor) if outcome.was else None)


def _shown(bar: Bar, factor: float | None) -> Bar:
    return bar._replace(volume=bar.volume * factor if bar.volume is not None and factor is not None else None)
