"""Returns, realised volatility, VWAP, and correlation of series whose markets are open at different times."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import pandas as pd

from nautilus_client.records import Calendar

TRADE_DATES = 252
"""Trade dates of a year."""


def returns(
    frame: pd.DataFrame, *, kind: Literal["log", "simple"] = "log", calendar: Calendar | None = None
) -> "pd.Series[float]":
    """The return from one close to the next, by the stamp of the later bar; the first one has none.

    calendar: returns over the time between two sessions are left out; then the first bar of a session counts from its open.
    """
    close = frame["close"]
    before = close.shift(1)
    if calendar is not None:
        session = pd.Series(sessions_of(frame.index, calendar), index=frame.index)
        first = session.ne(session.shift(1))
        before = before.where(~first, frame["open"])
        before = before.where(session.notna())
    ratio = close / before
    found = np.log(ratio) if kind == "log" else ratio - 1
    return found.rename("return")


def sessions_of(index: pd.DatetimeIndex, calendar: Calendar) -> list[str | None]:
    """The trade date of the session that holds each stamp; None outside of all sessions."""
    opens = pd.DatetimeIndex([one.open for one in calendar.sessions])
    closes = pd.DatetimeIndex([one.close for one in calendar.sessions])
    dates = [one.trade_date for one in calendar.sessions]
    at = opens.searchsorted(pd.DatetimeIndex(index), side="right") - 1
    return [dates[n] if n >= 0 and when < closes[n] else None for n, when in zip(at, index, strict=True)]


def realised_volatility(
    frame: pd.DataFrame, calendar: Calendar, *, annualised: bool = True, overnight: bool = False
) -> "pd.Series[float]":
    """The root of the sum of squared log returns of each trade date.

    annualised: times the root of 252. overnight: with the return from the close before.
    """
    moves = returns(frame, calendar=None if overnight else calendar)
    dates = pd.Series(sessions_of(frame.index, calendar), index=frame.index)
    sums = (moves**2).groupby(dates).sum(min_count=1)
    found = np.sqrt(sums) * (np.sqrt(TRADE_DATES) if annualised else 1.0)
    return found.rename("realised_volatility").rename_axis("trade_date")


def vwap(frame: pd.DataFrame, calendar: Calendar, *, cumulative: bool = False) -> "pd.Series[float]":
    """The price at which the volume of each trade date was traded: by the bars' own vwap, else by (high + low + close) / 3.

    cumulative: from the open of the trade date up to each bar, by its stamp. Dates without volume have none.
    """
    price = (frame["high"] + frame["low"] + frame["close"]) / 3
    if "vwap" in frame:
        price = frame["vwap"].fillna(price)
    dates = pd.Series(sessions_of(frame.index, calendar), index=frame.index)
    volume = frame["volume"]
    value = (price * volume).where(volume > 0, 0.0)
    if cumulative:
        traded = volume.groupby(dates).cumsum()
        return (value.groupby(dates).cumsum() / traded.where(traded > 0)).rename("vwap")
    traded = volume.groupby(dates).sum(min_count=1)
    found = value.groupby(dates).sum(min_count=1) / traded.where(traded > 0)
    return found.rename("vwap").rename_axis("trade_date")


def correlation(
    frames: Mapping[str, pd.DataFrame], *, method: Literal["pearson", "spearman", "kendall"] = "pearson"
) -> pd.DataFrame:
    """Correlation of log returns. Of each pair the bars count at which both have one, so that both returns span the same time.

    Where one market is closed the other's moves are in its next common return, and none is compared with a pause.
    """
    names = list(frames)
    found = pd.DataFrame(np.eye(len(names)), index=names, columns=names)
    for n, one in enumerate(names):
        for other in names[n + 1 :]:
            both = pd.concat([frames[one]["close"], frames[other]["close"]], axis=1, join="inner", keys=[one, other])
            moves = np.log(both).diff().dropna()
            value = moves[one].corr(moves[other], method=method) if len(moves) > 1 else float("nan")
            found.loc[one, other] = found.loc[other, one] = value
    return found
