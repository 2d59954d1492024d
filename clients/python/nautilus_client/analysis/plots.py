"""Candles and volume by mplfinance."""

from pathlib import Path
from typing import Any

from nautilus_client.bars import Bars
from nautilus_client.errors import MissingLibrary, NautilusError
from nautilus_client.timeframes import intraday


def candles(bars: Bars, **options: Any) -> Any:
    """A chart: figure and axes, or None where `savefig=` writes a file. Times are the exchange's; time without trading takes no
    room. options: of `mplfinance.plot`."""
    try:
        import mplfinance
    except ModuleNotFoundError:
        raise MissingLibrary("mplfinance", "plot") from None
    if not len(bars):
        raise NautilusError(f"{bars.info.series} has no bars to show: {bars.window[0]} to {bars.window[1]}")
    frame = bars.pandas(tz="exchange") if intraday(bars.timeframe) else bars.pandas(dates=True)
    known = frame["volume"].notna().all() if "volume" in frame else False
    state = "" if bars.complete is not False else f", {len(bars.missing)} ranges missing"
    usual = {
        "type": "candle",
        "style": "yahoo",
        "volume": bool(known),
        "title": f"{bars.instrument_id} {bars.timeframe} {bars.price}{state}",
        "returnfig": "savefig" not in options,
        "warn_too_much_data": 100_000,
    }
    if isinstance(options.get("savefig"), (str, Path)):  # with room for all labels
        options["savefig"] = {"fname": str(options["savefig"]), "bbox_inches": "tight"}
    return mplfinance.plot(frame.rename(columns=str.capitalize), **{**usual, **options})
