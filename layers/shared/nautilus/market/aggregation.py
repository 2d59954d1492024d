"""Which timeframes can be made of finer ones, and which never are.

1d is never made of intraday bars: IB's daily close is the auction's or the settlement price, which no minute has.
BID_ASK bars hold averages of two prices, which do not aggregate. Weeks and months are made of days alone.
"""

from nautilus.market.timeframes import ALL, Timeframe


def sources(frame: Timeframe, price: str) -> tuple[Timeframe, ...]:
    """The finer timeframes that `frame` can be aggregated from, the coarsest first: the fewer bars to read, the better."""
    if price == "BID_ASK" or frame.label == "day":
        return ()
    if not frame.intraday:
        return tuple(f for f in ALL if f.label == "day")
    finer = [f for f in ALL if f.intraday and f.step_ns < frame.step_ns and frame.step_ns % f.step_ns == 0]
    return tuple(sorted(finer, key=lambda f: f.step_ns, reverse=True))
