"""What can be had live: which bars, from which of IB's streams, and on which channel they are published."""

from nautilus.errors import InvalidInput
from nautilus.live import channels
from nautilus.live.channels import Channel
from nautilus.live.subscriptions import StreamKey
from nautilus.market.instrument import Instrument, session_kind
from nautilus.market.timeframes import ALL, Timeframe, timeframe

KINDS: tuple[str, ...] = ("bars", "quotes", "ticks")
PRICES: tuple[str, ...] = ("TRADES", "AGGTRADES", "MIDPOINT", "BID", "ASK")
"""Price kinds of live bars. IB sends no live bars of BID_ASK."""
_MINUTE = timeframe("1m")
_SHORTEST = timeframe("5s")
"""The only bars below a minute that IB sends live (TWS API, real-time bars; read 2026-11)."""
LIVE_TIMEFRAMES: tuple[str, ...] = tuple(t.name for t in ALL if t == _SHORTEST or t.step_ns >= _MINUTE.step_ns)
"""Bars that can be had live. Longer ones than a minute are made of minutes; of days, weeks and months only the one that forms."""
KEPT_TIMEFRAMES: tuple[str, ...] = tuple(name for name in LIVE_TIMEFRAMES if timeframe(name).intraday)
"""Those that the watch list keeps current: a live day is never closed, as its close is an auction's or a settlement price."""


def live_timeframe(name: str) -> Timeframe:
    """The timeframe of a name, ours or IB's. InvalidInput when it does not exist, or cannot be had live."""
    found = timeframe(name)
    if found.name not in LIVE_TIMEFRAMES:
        raise InvalidInput.field("timeframe", f"{found.name} cannot be had live", LIVE_TIMEFRAMES)
    return found


def stream_of(con_id: int, kind: str, frame: str = "", *, price: str = "", session: str = "") -> StreamKey:
    """The stream that serves a want: that of 5-second bars, else that of the minutes of which longer bars are made."""
    if kind != "bars":
        return StreamKey(con_id, kind)
    return StreamKey(con_id, f"bars:{stored_timeframe(frame).name}", price, session)


def stored_timeframe(frame: str) -> Timeframe:
    """The timeframe of the bars that a stream stores for a want of these: 5 seconds or a minute."""
    return _SHORTEST if frame == _SHORTEST.name else _MINUTE


def channel_of(instrument: Instrument, kind: str, frame: str = "", *, price: str = "", session: str = "") -> Channel:
    """The channel on which a want is published. The usual session of an asset class has no mention in the name."""
    if kind != "bars":
        name = instrument.instrument_id
        return channels.quotes(name) if kind == "quotes" else Channel("data.trades", name)
    usual = session_kind(instrument.asset_class, None)
    return channels.bars(instrument.instrument_id, frame, price, "" if session == usual else session)
