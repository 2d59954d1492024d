"""Time zones and dates as the gateway prints them."""

import datetime as dt
from functools import cache
from zoneinfo import ZoneInfo


@cache
def zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def text_date(at_s: float, zone_name: str) -> dt.datetime:
    return dt.datetime.fromtimestamp(at_s, dt.UTC).astimezone(zone(zone_name))
