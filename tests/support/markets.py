"""Calendars that tests share, built from wall-clock hours without the code under test."""

from collections.abc import Collection, Mapping
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, settings

from nautilus.market.calendar import Calendar, Session
from nautilus.market.closing import BarClosing
from nautilus.market.timeframes import Timeframe

S = 1_000_000_000
MINUTE, HOUR, DAY = 60 * S, 3_600 * S, 86_400 * S

# Examples of a property. No deadline: the machine may be busy with other tests.
few = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
many = settings(few, max_examples=200)


def ns(text: str, zone: str = "UTC") -> int:
    """Nanoseconds of a wall-clock text `2024-01-05 09:30[:00]` in a zone."""
    moment = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))
    return round((moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1)) * 1_000


def label(text: str) -> int:
    return ns(f"{text} 00:00")


def market(
    zone: str,
    first: date,
    days: int,
    hours: Collection[tuple[int, int]],
    *,
    closed: Collection[date] = (),
    special: Mapping[date, Collection[tuple[int, int]]] | None = None,
    weekdays: Collection[int] = range(5),
) -> Calendar:
    """Sessions of `days` days: hours in wall-clock minutes after midnight of the trade date, negative the evening before.

    What is known reaches from midnight two days before the first to midnight two days after the last.
    """
    sessions = []
    for n in range(days):
        day = first + timedelta(days=n)
        if day.weekday() not in weekdays or day in closed:
            continue
        for opens, closes in (special or {}).get(day, hours):
            sessions.append(Session(_wall(day, opens, zone), _wall(day, closes, zone), day))
    known = _wall(first - timedelta(days=2), 0, zone), _wall(first + timedelta(days=days + 2), 0, zone)
    return Calendar.of(sessions, known, zone)


def _wall(day: date, minute: int, zone: str) -> int:
    at = datetime.combine(day, time()) + timedelta(minutes=minute)
    return ns(at.isoformat(sep=" "), zone)


def nyse(first: date = date(2023, 12, 1), days: int = 400) -> Calendar:
    """New York, regular hours, with the holidays and early closes of the winter of 2023 and the year 2024."""
    closed = [date(2023, 12, 25), *(date(2024, m, d) for m, d in ((1, 1), (1, 15), (2, 19), (3, 29), (5, 27), (6, 19)))]
    closed += [date(2024, m, d) for m, d in ((7, 4), (9, 2), (11, 28), (12, 25))]
    early = {date(2024, m, d): [(570, 780)] for m, d in ((7, 3), (11, 29), (12, 24))}
    return market("America/New_York", first, days, [(570, 960)], closed=closed, special=early)


def cme(first: date = date(2023, 12, 1), days: int = 400) -> Calendar:
    """Chicago futures: from 17:00 of the evening before to 16:00."""
    return market("America/Chicago", first, days, [(-420, 960)], closed=[date(2023, 12, 25), date(2024, 3, 29)])


def forex(first: date = date(2023, 12, 1), days: int = 400) -> Calendar:
    """IDEALPRO: from 17:15 New York of the evening before to 17:00."""
    return market("America/New_York", first, days, [(-405, 1020)])


def hong_kong(first: date = date(2023, 12, 1), days: int = 400) -> Calendar:
    """A market with a lunch break: two sessions a day."""
    return market("Asia/Hong_Kong", first, days, [(570, 720), (780, 960)])


def sydney(first: date = date(2023, 12, 1), days: int = 400) -> Calendar:
    """East of everything: trade date D opens at 23:00Z of the day before in summer."""
    return market("Australia/Sydney", first, days, [(600, 960)])


MARKETS = {
    "nyse": nyse(),
    "nyse-extended": market("America/New_York", date(2023, 12, 1), 400, [(240, 1200)]),
    "cme": cme(),
    "forex": forex(),
    "hong-kong": hong_kong(),
    "sydney": sydney(),
    "round-the-clock": market("UTC", date(2023, 12, 1), 400, [(0, 1440)], weekdays=range(7)),
}


def closing(calendar: Calendar, frame: Timeframe, *, delay_s: int = 0, late: bool = False) -> BarClosing:
    return BarClosing(calendar, frame, delay_s * S, late)


def known_to(calendar: Calendar, end: int) -> Calendar:
    """The calendar as it was kept when its sessions were known up to `end`: what opens later is not known yet."""
    dates = {s.trade_date for s in calendar.sessions if s.open_ns < end}
    sessions = [s for s in calendar.sessions if s.trade_date in dates]  # the sessions of a date are told together
    return Calendar.of(sessions, (calendar.known[0], end), calendar.time_zone)


def known_from(calendar: Calendar, start: int) -> Calendar:
    """The calendar as it was kept when its sessions were known since `start` only."""
    sessions = [s for s in calendar.sessions if s.close_ns > start]
    return Calendar.of(sessions, (start, calendar.known[1]), calendar.time_zone)


def next_open(calendar: Calendar, at: int) -> int:
    return min(s.open_ns for s in calendar.sessions if s.open_ns >= at)
