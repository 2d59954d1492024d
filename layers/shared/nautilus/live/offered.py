"""What can be had live: which bars, from which of IB's streams, and on which channel they are published."""

from nautilus.errors import InvalidInput
from nautilus.live import channels
from nautilus.live.channels import Channel
from nautilus.live.subscriptions import StreamKey
from nautilus.market.instrument import Instrument, price_kind, price_kinds, session_kind, upper_ascii
from nautilus.market.timeframes import ALL, Timeframe, timeframe

KINDS: tuple[str, ...] = ("bars", "quotes", "ticks")
PRICES: tuple[str, ...] = ("TRADES", "AGGTRADES", "MIDPOINT", "BID", "ASK")
"""Price kinds of live bars. IB sends no live bars of BID_ASK."""
TICK_PRICES: tuple[str, ...] = tuple(channels.TICKS)
"""Of what IB sends ticks: trades, quotes, midpoints."""
_TRADES = TICK_PRICES[0]
_NO_LIVE_TICKS = frozenset({"OPT", "FOP"})
"""Asset classes of which IB has ticks in its history alone (TWS API, tick-by-tick data, read 2026-11)."""
_INDEX_EXCHANGES = frozenset({"CME"})
"""Exchanges of whose indices IB sends ticks (the same page)."""
_MINUTE = timeframe("1m")
_SHORTEST = timeframe("5s")
"""The only bars below a minute that IB sends live (TWS API, real-time bars; read 2026-11)."""
LIVE_TIMEFRAMES: tuple[str, ...] = tuple(t.name for t in ALL if t == _SHORTEST or t.step_ns >= _MINUTE.step_ns)
"""Bars that can be had live. Longer ones than a minute are made of minutes; of days, weeks and months only the one that forms."""
KEPT_TIMEFRAMES: tuple[str, ...] = tuple(name for name in LIVE_TIMEFRAMES if timeframe(name).intraday)
"""Those that the watch list keeps current: a live day is never closed, as its close is an auction's or a settlement price."""


def live_prices(asset_class: str) -> tuple[str, ...]:
    """The price kinds of live bars of an asset class, the default first."""
    return tuple(price for price in price_kinds(asset_class) if price in PRICES)


def live_price(instrument: Instrument, given: str | None) -> str:
    """The price kind of live bars: as requested, or the default of the asset class. InvalidInput names what exists."""
    kind, allowed = instrument.asset_class, live_prices(instrument.asset_class)
    try:
        price = price_kind(kind, given)
    except InvalidInput as wrong:
        raise InvalidInput.field("price", wrong.errors[0].detail, allowed) from None
    if price not in allowed:
        raise InvalidInput.field("price", f"{price} has no live bars", allowed)
    return price


def tick_prices(instrument: Instrument) -> tuple[str, ...]:
    """Of what IB sends ticks of an instrument live, the default first; nothing where it is known to have none, so that nobody
    asks IB for them."""
    kind = instrument.asset_class
    if kind in _NO_LIVE_TICKS or (kind == "IND" and instrument.exchange not in _INDEX_EXCHANGES):
        return ()
    bars = price_kinds(kind)
    return tuple(price for price in TICK_PRICES if price in bars or (price == _TRADES and "AGGTRADES" in bars))


def tick_price(instrument: Instrument, given: str | None) -> str:
    """Of what ticks are wanted: as requested, or the default of the instrument. InvalidInput names what exists."""
    allowed = tick_prices(instrument)
    if not allowed:
        raise InvalidInput.field("kind", lacks_ticks(instrument, given or ""), ("quotes", "bars"))
    price = upper_ascii(given) if given else allowed[0]
    if price not in TICK_PRICES:
        raise InvalidInput.field("price", f"there are no ticks of {given!r}", allowed)
    if price not in allowed:
        raise InvalidInput.field("price", lacks_ticks(instrument, price), allowed)
    return price


def lacks_ticks(instrument: Instrument, price: str) -> str:
    """Why IB has no live ticks of an instrument, or none of this price."""
    kind, name = instrument.asset_class, instrument.instrument_id
    if kind in _NO_LIVE_TICKS:
        return f"{name}: IB sends no ticks of options ({kind}) live"
    if not tick_prices(instrument):
        return f"{name}: IB sends ticks of indices of the CME alone, and this one is of {instrument.exchange}"
    return f"{name}: IB has no {'trades' if price == _TRADES else 'quotes'} of {kind}"


def live_timeframe(name: str) -> Timeframe:
    """The timeframe of a name, ours or IB's. InvalidInput when it does not exist, or cannot be had live."""
    try:
        found = timeframe(name)
    except InvalidInput as wrong:
        raise InvalidInput.field("timeframe", wrong.errors[0].detail, LIVE_TIMEFRAMES) from None
    if found.name not in LIVE_TIMEFRAMES:
        raise InvalidInput.field("timeframe", f"{found.name} cannot be had live", LIVE_TIMEFRAMES)
    return found


def stream_of(con_id: int, kind: str, frame: str = "", *, price: str = "", session: str = "") -> StreamKey:
    """The stream that serves a want: that of 5-second bars, else that of the minutes of which longer bars are made."""
    if kind == "ticks":
        return StreamKey(con_id, kind, price or _TRADES)  # the version before named no price: it had trades alone
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
        return channels.quotes(name) if kind == "quotes" else channels.ticks(name, price or _TRADES)
    usual = session_kind(instrument.asset_class, None)
    return channels.bars(instrument.instrument_id, frame, price, "" if session == usual else session)
