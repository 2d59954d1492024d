"""One bar, as it is between IB's words and the database."""

from typing import NamedTuple


class Bar(NamedTuple):
    """Prices and volume of one slot.

    ts: ns since the epoch, UTC; the bar's open when intraday, else its date label. volume in shares, contracts or
    units of the base currency; volume, vwap and trades are None where IB sends -1 (quotes have no volume).
    """

    ts: int
    open: float
    high: float
    low: float
    close: float
    volume: float | None
    vwap: float | None
    trades: int | None
