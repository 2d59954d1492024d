"""Streams for tests of what the bridge does with them."""

from typing import Any

from ib_bridge.live.streams import Stream, StreamWant
from nautilus.live.subscriptions import StreamKey
from nautilus.market.instrument import Instrument
from tests.support.markets import MARKETS


def instrument(con_id: int = 1, **more: Any) -> Instrument:
    found = Instrument(
        con_id=con_id,
        instrument_id=f"A{con_id}.NASDAQ",
        symbol=f"A{con_id}",
        asset_class="STK",
        exchange="SMART",
        primary_exchange="NASDAQ",
        currency="USD",
        local_symbol=f"A{con_id}",
        trading_class="NMS",
        expiry="",
        multiplier="",
        min_tick=0.01,
        long_name="",
        time_zone="America/New_York",
        calendar="STK:NASDAQ:America/New_York",
    )
    return found._replace(**more)


def want(priority: int = 6, since_s: float = 0.0, *timeframes: str) -> StreamWant:
    return StreamWant(priority, since_s, frozenset(timeframes or ("1m",)))


def minutes(con_id: int = 1, priority: int = 6, *timeframes: str, **more: Any) -> Stream:
    """A stream of minutes of New York."""
    key = StreamKey(con_id, "bars:1m", "TRADES", "rth")
    stream = Stream(key, instrument(con_id), want(priority, float(con_id), *timeframes), series_id=con_id)
    stream.calendar = MARKETS["nyse"]
    for name, value in more.items():
        setattr(stream, name, value)
    return stream


def quotes(con_id: int = 1, priority: int = 6, **more: Any) -> Stream:
    stream = Stream(StreamKey(con_id, "quotes"), instrument(con_id), StreamWant(priority, float(con_id), frozenset()))
    stream.calendar = MARKETS["nyse"]
    for name, value in more.items():
        setattr(stream, name, value)
    return stream
