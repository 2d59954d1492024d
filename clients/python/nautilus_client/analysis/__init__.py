"""What is done with bars: resampling by sessions, returns, volatility, VWAP, correlation, gaps. Needs pandas.

Frames are those of `Bars.pandas()`: an index of UTC stamps, float64 columns. Sessions are a `Calendar` of `Client.calendar`.
"""

from typing import TYPE_CHECKING, Any

_HOMES = {
    "resample": "resampling",
    "slots": "resampling",
    "returns": "measures",
    "realised_volatility": "measures",
    "vwap": "measures",
    "correlation": "measures",
    "gap_report": "gaps",
    "candles": "plots",
}
__all__ = list(_HOMES)

if TYPE_CHECKING:
    from nautilus_client.analysis.gaps import gap_report as gap_report
    from nautilus_client.analysis.measures import correlation as correlation
    from nautilus_client.analysis.measures import realised_volatility as realised_volatility
    from nautilus_client.analysis.measures import returns as returns
    from nautilus_client.analysis.measures import vwap as vwap
    from nautilus_client.analysis.plots import candles as candles
    from nautilus_client.analysis.resampling import resample as resample
    from nautilus_client.analysis.resampling import slots as slots


def __getattr__(name: str) -> Any:
    from importlib import import_module

    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)
