"""IB's data farms: which of them serve the history of an instrument, and the hours at which they rest.

Farms are known by the names that the gateway tells in its notices: `ushmds`, `euhmds`, `cashhmds`, `fundhmds`. IB
publishes no list; their names begin with what they serve.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, time
from typing import Any
from zoneinfo import ZoneInfo

from nautilus.clock import datetime_of
from nautilus.market.instrument import Instrument

_KINDS = {"CASH": "cash", "CMDTY": "cash", "FUND": "fund"}
_SERVED = {"cash": "cash", "fund": "fund", "us": "us", "eu": "eu", "hk": "asia", "h": "asia", "j": "asia", "a": "asia"}
_ASIA = ("Asia", "Australia", "Pacific", "Indian", "Antarctica")
_EUROPE = ("Europe", "Africa", "Arctic")
# Names of the zone database without an area, as IB uses them for exchanges.
_AREAS = {
    **dict.fromkeys(("Hongkong", "Japan", "Singapore", "ROK", "ROC", "PRC", "NZ"), "asia"),
    **dict.fromkeys(("GB", "GB-Eire", "MET", "CET", "WET", "EET", "Israel", "Turkey", "Poland", "Portugal"), "eu"),
}
_NEAR_EUROPE = ("Asia/Jerusalem", "Asia/Tel_Aviv", "Asia/Istanbul", "Asia/Riyadh", "Asia/Dubai", "Asia/Qatar")

_NEW_YORK, _BERLIN, _HONG_KONG = "America/New_York", "Europe/Berlin", "Asia/Hong_Kong"
# IB's servers are reset daily, by region (IB system status page, read 2026-11).
_RESETS: Mapping[str, tuple[tuple[str, time, time], ...]] = {
    "us": ((_NEW_YORK, time(0, 15), time(1, 45)),),
    "eu": ((_BERLIN, time(6, 25), time(7, 45)),),
    "asia": ((_HONG_KONG, time(4, 45), time(6, 5)), (_HONG_KONG, time(20, 15), time(21, 15))),
}
HOME = ("us", "eu")
"""Where the servers may be that a gateway is connected to: unknown, and the two are reset at nearly the same time."""


def region(instrument: Instrument) -> str:
    """Whose farms serve the instrument: cash, fund, us, eu or asia."""
    if instrument.asset_class in _KINDS:
        return _KINDS[instrument.asset_class]
    zone = instrument.time_zone
    area = zone.split("/")[0]
    if zone in _NEAR_EUROPE or area in _EUROPE:
        return "eu"
    return "asia" if area in _ASIA else _AREAS.get(area, "us")


def served_by(farm: str) -> str | None:
    """What a history farm serves, by its name; None when the name says nothing."""
    longest = sorted((prefix for prefix in _SERVED if farm.startswith(prefix)), key=len)
    return _SERVED[longest[-1]] if longest else None


def broken(farms: Mapping[str, Mapping[str, Any]], kind: str) -> list[str]:
    """The farms of a kind (`market`, `history`, `secdef`) that are away. farms: name -> {kind, state}."""
    return [name for name, farm in farms.items() if farm["kind"] == kind and farm["state"] == "broken"]


def away(farms: Mapping[str, Mapping[str, Any]], instrument: Instrument) -> list[str]:
    """The broken farms without which the instrument's history cannot be had.

    Where no farm is known to serve its region, any that is broken may be the one.
    """
    lost = broken(farms, "history")
    mine = region(instrument)
    regional = [name for name, farm in farms.items() if farm["kind"] == "history" and served_by(name) == mine]
    if regional:
        return [name for name in lost if name in regional]
    return [name for name in lost if served_by(name) not in ("cash", "fund")]


def resting(market_ns: int, regions: Iterable[str | None]) -> bool:
    """True at the hours of the nightly reset of one of the regions, and of the weekend's maintenance of all."""
    now = datetime_of(market_ns)
    for zone, start, end in (window for name in regions for window in _RESETS.get(name or "us", _RESETS["us"])):
        if start <= now.astimezone(ZoneInfo(zone)).time() < end:
            return True
    return _weekend(now.astimezone(ZoneInfo(_NEW_YORK)))


def _weekend(local: datetime) -> bool:
    """Friday 23:00 to Saturday 03:00 in New York."""
    friday, saturday = 4, 5
    return (local.weekday() == friday and local.hour >= 23) or (local.weekday() == saturday and local.hour < 3)
