"""Bars and times as fields of messages, by the client's version."""

import datetime as dt

from ib_gateway_sim.history.query import BarsQuery
from ib_gateway_sim.market.bars import Bar
from ib_gateway_sim.market.contracts import Contract
from ib_gateway_sim.session.gateway import Client
from ib_gateway_sim.times import text_date
from ib_gateway_sim.wire import codec


def bar_fields(client: Client, query: BarsQuery, bar: Bar) -> tuple[codec.Value, ...]:
    """date, open, high, low, close, volume, wap, count."""
    return (
        bar_date(client, query, bar.t),
        bar.open,
        bar.high,
        bar.low,
        bar.close,
        bar_volume(client, query.contract, bar.volume),
        bar.wap,
        bar.count,
    )


def bar_volume(client: Client, contract: Contract, volume: float) -> float:
    """US stocks in lots of 100 for old clients or by setting; whole numbers for clients that know no fractions."""
    if volume <= 0:
        return volume
    lots = client.version < 175 or client.gateway.settings.volume == "lots"
    if lots and contract.sec_type == "STK" and contract.currency == "USD":
        volume = volume // 100
    return int(volume) if client.version < 163 else volume


def bar_date(client: Client, query: BarsQuery, at_s: int) -> str:
    if query.by_date:
        return dt.datetime.fromtimestamp(at_s, dt.UTC).strftime("%Y%m%d")
    if query.format_date == 2:
        return str(at_s)
    if query.format_date == 3:
        name = query.contract.time_zone
        return text_date(at_s, name).strftime("%m%d %H:%M:%S ") + name
    return edge_text(client, query.contract, at_s)


def edge_text(client: Client, contract: Contract, at_s: int) -> str:
    """A time as text: zone-less for old clients, from 174 on with the zone that the settings name."""
    settings = client.gateway.settings
    if client.version < 174:
        return text_date(at_s, settings.login_zone).strftime("%Y%m%d  %H:%M:%S")
    if settings.date_zone == "utc":
        return text_date(at_s, "UTC").strftime("%Y%m%d-%H:%M:%S")
    name = contract.time_zone if settings.date_zone == "instrument" else settings.login_zone
    return text_date(at_s, name).strftime("%Y%m%d %H:%M:%S ") + name
