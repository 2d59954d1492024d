"""Candles and volume by mplfinance."""

from datetime import date
from pathlib import Path
from typing import Any

from nautilus_client.bars import Bars
from nautilus_client.errors import MissingLibrary, NautilusError
from nautilus_client.timeframes import intraday


def candles(bars: Bars, **options: Any) -> Any:
    """A chart: figure and axes, or None where `savefig=` writes a file. Times are the exchange's; time without trading takes no
    room. options: of `mplfinance.plot`; a `title` of one's own is in place of the one above the candles."""
    try:
        import mplfinance
    except ModuleNotFoundError:
        raise MissingLibrary("mplfinance", "plot") from None
    if not len(bars):
        raise NautilusError(f"{bars.info.series} has no bars to show: {bars.window[0]} to {bars.window[1]}")
    frame = bars.pandas(tz="exchange") if intraday(bars.timeframe) else bars.pandas(dates=True)
    known = frame["volume"].notna().all() if "volume" in frame else False
    usual = {
        "type": "candle",
        "style": "yahoo",
        "volume": bool(known),
        "returnfig": "savefig" not in options,
        "warn_too_much_data": 100_000,
    }
    if "title" not in options:
        usual["axtitle"] = _title(bars, frame.index[0].date(), frame.index[-1].date())
    if isinstance(options.get("savefig"), (str, Path)):  # with room for all labels
        options["savefig"] = {"fname": str(options["savefig"]), "bbox_inches": "tight"}
    return mplfinance.plot(frame.rename(columns=str.capitalize), **{**usual, **options})


def _title(bars: Bars, first: date, last: date) -> str:
    """What is shown: the axis alone has no dates where it spans one day."""
    days = f"{first}" if first == last else f"{first} to {last}"
    zone = f", {bars.zone}" if intraday(bars.timeframe) else ""
    state = "" if bars.complete is not False else f", {len(bars.missing)} ranges missing"
    return f"{bars.instrument_id} {bars.timeframe} {bars.price}, {days}{zone}{state}"
