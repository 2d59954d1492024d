"""When a bar counts as closed: one rule for who fetches it and for who tells what is missing.

The waits are settings of the bridge, which publishes them with its session; readers go by what it published.
"""

from typing import NamedTuple

from nautilus.clock import NS_PER_S
from nautilus.market.calendar import Calendar
from nautilus.market.instrument import Instrument
from nautilus.market.timeframes import Timeframe


class Settle(NamedTuple):
    """How long after its close a bar is left to settle, in seconds of market time."""

    intraday_s: int = 15
    daily_s: int = 900

    def _ns(self, frame: Timeframe) -> int:
        return (self.intraday_s if frame.intraday else self.daily_s) * NS_PER_S

    def closed_until(self, calendar: Calendar, frame: Timeframe, instrument: Instrument, now: int) -> int:
        """The end, on the series' axis, of what is closed at market time `now`."""
        return calendar.closed_until(frame, now, settle_ns=self._ns(frame), late_settlement=_late(instrument))

    def undecided_until(self, calendar: Calendar, frame: Timeframe, now: int) -> int | None:
        """The end of what may be closed at market time `now`, where the calendar does not reach so far; else None."""
        return calendar.undecided_until(frame, now, settle_ns=self._ns(frame))

    def is_closed(self, calendar: Calendar, frame: Timeframe, instrument: Instrument, ts: int, now: int) -> bool:
        """True when the bar with this stamp is closed at market time `now`."""
        over = calendar.closed_by(frame, ts, late_settlement=_late(instrument))
        return over + self._ns(frame) <= now


def _late(instrument: Instrument) -> bool:
    """A future's daily close may be its settlement price, which comes hours later."""
    return instrument.asset_class == "FUT"
