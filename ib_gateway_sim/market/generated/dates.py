"""The dates and openings that a generated market counts by."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import cache, lru_cache

from ib_gateway_sim.market import calendars
from ib_gateway_sim.market.bars import days_between, midnight_s

LAST_S = int(datetime(2030, 12, 31, tzinfo=UTC).timestamp())


@lru_cache(maxsize=100_000)
def opening_s(calendar: str, day: date, rth: bool) -> int | None:
    """When the first session of a trade date opens, None when it is closed or outside the table."""
    found = calendars.known_sessions(calendar, day, rth=rth)
    return found[0].open_s if found else None


@cache
def opens_by_s(calendar: str, day: date) -> int:
    """When the first session on or after a date opens."""
    for when in days_between(day, day + timedelta(days=14)):
        opened = opening_s(calendar, when, False)
        if opened is not None:
            return opened
    return midnight_s(day)


def opens_by(calendar: str, day: date, now_s: float) -> bool:
    return opens_by_s(calendar, day) <= now_s


def new_york_date(t_s: float) -> date:
    return datetime.fromtimestamp(t_s, calendars.zone("us_stock")).date()
