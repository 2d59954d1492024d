"""When bars count as closed, for the bridge and for readers."""

import pytest

from nautilus.market.closing import Settle
from nautilus.market.timeframes import timeframe
from tests.support.markets import MINUTE, S, cme, label, ns, nyse
from tests.unit.market.test_farms import STOCK

FUTURE = STOCK._replace(asset_class="FUT")
NY, CHICAGO = "America/New_York", "America/Chicago"


@pytest.mark.parametrize(
    ("settle", "first"), [(Settle(), "10:31:15"), (Settle(120, 0), "10:33:00"), (Settle(0, 9), "10:31:00")]
)
def test_an_intraday_bar_is_closed_so_long_after_its_minute(settle, first):
    bar, at = ns("2024-03-05 10:30", NY), ns(f"2024-03-05 {first}", NY)
    for now, closed in ((at - S, False), (at, True)):
        assert settle.is_closed(nyse(), timeframe("1m"), STOCK, bar, now) is closed
        assert (settle.closed_until(nyse(), timeframe("1m"), STOCK, now) >= bar + MINUTE) is closed


@pytest.mark.parametrize(
    ("settle", "instrument", "calendar", "first"),
    [
        (Settle(), STOCK, nyse(), ns("2024-03-05 16:15", NY)),
        (Settle(0, 3_600), STOCK, nyse(), ns("2024-03-05 17:00", NY)),
        # A future's settlement price comes later: not before the next session opens.
        (Settle(), FUTURE, cme(), ns("2024-03-05 17:15", CHICAGO)),
    ],
)
def test_a_day_is_closed_so_long_after_its_session(settle, instrument, calendar, first):
    day = label("2024-03-05")
    for now, closed in ((first - S, False), (first, True)):
        assert settle.is_closed(calendar, timeframe("1d"), instrument, day, now) is closed
        assert (settle.closed_until(calendar, timeframe("1d"), instrument, now) > day) is closed
