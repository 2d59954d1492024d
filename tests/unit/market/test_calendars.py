"""Sessions and what follows for bars: units, slots by the exchange's clock, and what is known."""

from datetime import UTC, date, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nautilus.market.calendar import Calendar, Session, weekdays
from nautilus.market.timeframes import ALL, timeframe
from nautilus.spans import Spans
from tests.support.markets import (
    DAY,
    HOUR,
    MARKETS,
    MINUTE,
    S,
    cme,
    few,
    forex,
    hong_kong,
    known_to,
    label,
    many,
    market,
    ns,
    nyse,
)

NY, CHICAGO = "America/New_York", "America/Chicago"
INTRADAY = [t for t in ALL if t.intraday]
COARSE = [t for t in INTRADAY if t.step_ns >= 5 * MINUTE]
LABELLED = [t for t in ALL if not t.intraday]
moments = st.integers(ns("2023-12-10 00:00"), ns("2024-12-10 00:00"))
markets = st.sampled_from(sorted(MARKETS))


# ---- sessions --------------------------------------------------------------------------------------------------------


def test_a_future_trades_on_the_evening_before_its_date():
    calendar = cme()
    session = calendar.session_at(ns("2024-01-07 17:00", CHICAGO))  # a Sunday
    assert session is not None
    assert session.trade_date == date(2024, 1, 8)
    assert session.close_ns == ns("2024-01-08 16:00", CHICAGO)
    assert calendar.session_at(session.open_ns - 1) is None
    assert calendar.session_at(session.close_ns) is None, "half-open"


def test_trade_dates_leave_out_weekends_and_holidays():
    found = nyse().trade_dates(date(2023, 12, 22), date(2024, 1, 3))
    assert [d.day for d in found] == [22, 26, 27, 28, 29, 2]


@few
@given(markets, moments, st.integers(-DAY, 9 * DAY))
def test_between_finds_what_overlaps(name, start, length):
    calendar, end = MARKETS[name], start + length
    assert calendar.between(start, end) == [
        s for s in calendar.sessions if max(s.open_ns, start) < min(s.close_ns, end) and start < end
    ]


@few
@given(markets, moments)
def test_session_at_a_moment(name, at):
    calendar = MARKETS[name]
    assert calendar.session_at(at) == next((s for s in calendar.sessions if s.open_ns <= at < s.close_ns), None)


def test_sessions_may_come_in_any_order():
    a, b = Session(10, 20, date(2024, 1, 2)), Session(30, 40, date(2024, 1, 2))
    calendar = Calendar.of([b, a], (0, 50), "UTC")
    assert calendar.sessions == (a, b)
    assert calendar.trade_dates(date(2024, 1, 1), date(2024, 1, 9)) == [date(2024, 1, 2)]


# ---- slots -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zone", "name", "at", "start", "end"),
    [
        (NY, "1h", "2024-01-05 09:30", "2024-01-05 09:00", "2024-01-05 10:00"),
        (NY, "2h", "2024-01-05 09:30", "2024-01-05 08:00", "2024-01-05 10:00"),
        (NY, "3h", "2024-01-05 12:00", "2024-01-05 12:00", "2024-01-05 15:00"),
        (NY, "4h", "2024-01-05 09:30", "2024-01-05 08:00", "2024-01-05 12:00"),
        (NY, "8h", "2024-01-05 15:59", "2024-01-05 08:00", "2024-01-05 16:00"),
        (NY, "4h", "2024-07-05 09:30", "2024-07-05 08:00", "2024-07-05 12:00"),
        (NY, "8h", "2024-07-05 23:59", "2024-07-05 16:00", "2024-07-06 00:00"),
        ("Asia/Kolkata", "1h", "2024-01-05 09:15", "2024-01-05 09:00", "2024-01-05 10:00"),
        ("Asia/Kolkata", "30m", "2024-01-05 09:15", "2024-01-05 09:00", "2024-01-05 09:30"),
        ("Asia/Hong_Kong", "4h", "2024-01-05 09:30", "2024-01-05 08:00", "2024-01-05 12:00"),
        # Clocks go forward on 2024-03-10: futures open that Sunday evening on the same grid as on any other.
        (CHICAGO, "4h", "2024-03-10 17:00", "2024-03-10 16:00", "2024-03-10 20:00"),
        (CHICAGO, "4h", "2024-03-10 23:30", "2024-03-10 20:00", "2024-03-11 00:00"),
        (CHICAGO, "8h", "2024-03-10 03:30", "2024-03-10 00:00", "2024-03-10 08:00"),
        # ... and back on 2024-11-03.
        (CHICAGO, "4h", "2024-11-03 17:00", "2024-11-03 16:00", "2024-11-03 20:00"),
        (CHICAGO, "8h", "2024-11-03 23:30", "2024-11-03 16:00", "2024-11-04 00:00"),
    ],
)
def test_slots_follow_the_clock_of_the_exchange(zone, name, at, start, end):
    calendar = market(zone, date(2024, 1, 1), 2, [])
    assert calendar.slot(timeframe(name), ns(at, zone)) == (ns(start, zone), ns(end, zone))


def test_the_repeated_hour_is_two_slots_of_an_hour():
    calendar = market(NY, date(2024, 11, 1), 5, [])
    first = ns("2024-11-03 01:00", NY)  # 05:00Z, still summer time
    hour = timeframe("1h")
    assert calendar.slot(hour, first + 59 * MINUTE) == (first, first + HOUR)
    assert calendar.slot(hour, first + HOUR) == (first + HOUR, first + 2 * HOUR)
    long_slot = calendar.slot(timeframe("8h"), first)
    assert long_slot == (ns("2024-11-03 00:00", NY), ns("2024-11-03 08:00", NY))
    assert long_slot[1] - long_slot[0] == 9 * HOUR


@many
@given(markets, st.sampled_from(ALL), moments)
def test_slots_tile_the_axis_of_any_market(name, t, at):
    calendar = MARKETS[name]
    start, end = calendar.slot(t, at)
    assert start <= at < end
    assert calendar.slot(t, end - 1) == (start, end) == calendar.slot(t, start)
    assert calendar.slot(t, end)[0] == end
    if t.intraday:
        assert abs(end - start - t.step_ns) <= HOUR
        wall = datetime.fromtimestamp(start / S, ZoneInfo(calendar.time_zone))
        assert (wall.hour * HOUR + wall.minute * MINUTE + wall.second * S) % t.step_ns == 0, (
            "counted from midnight there"
        )


def test_a_bar_ends_with_its_session():
    calendar, hour = nyse(), timeframe("1h")
    assert calendar.slot_end(hour, ns("2024-01-05 09:30", NY)) == ns("2024-01-05 10:00", NY)
    assert calendar.slot_end(timeframe("4h"), ns("2024-01-05 12:00", NY)) == ns("2024-01-05 16:00", NY)
    assert calendar.slot_end(timeframe("8h"), ns("2024-07-03 09:30", NY)) == ns("2024-07-03 13:00", NY), "early close"
    assert calendar.slot_end(timeframe("2h"), ns("2024-07-03 12:00", NY)) == ns("2024-07-03 13:00", NY)
    assert hong_kong().slot_end(hour, ns("2024-01-05 11:30", "Asia/Hong_Kong")) == ns(
        "2024-01-05 12:00", "Asia/Hong_Kong"
    )


# ---- units -----------------------------------------------------------------------------------------------------------


def test_intraday_units_are_sessions_cut_to_the_span():
    calendar, minute = nyse(), timeframe("1m")
    span = ns("2024-07-02 15:00", NY), ns("2024-07-05 10:00", NY)
    assert calendar.units(minute, span) == [
        (ns("2024-07-02 15:00", NY), ns("2024-07-02 16:00", NY)),
        (ns("2024-07-03 09:30", NY), ns("2024-07-03 13:00", NY)),
        (ns("2024-07-05 09:30", NY), ns("2024-07-05 10:00", NY)),
    ]
    assert calendar.units(minute, (ns("2024-07-06 00:00", NY), ns("2024-07-08 00:00", NY))) == []


def test_labelled_units_are_whole_days_weeks_and_months_with_trading():
    calendar = nyse()
    span = label("2023-12-21"), label("2023-12-28")
    days = [(label(f"2023-12-{d}"), label(f"2023-12-{d + 1}")) for d in (21, 22, 26, 27)]
    assert calendar.units(timeframe("1d"), span) == days
    weeks = calendar.units(timeframe("1w"), (label("2023-12-18"), label("2024-01-08")))
    assert weeks == [
        (label(a), label(b)) for a, b in pairwise(["2023-12-18", "2023-12-25", "2024-01-01", "2024-01-08"])
    ]
    months = calendar.units(timeframe("1M"), (label("2024-01-01"), label("2024-03-01")))
    assert months == [(label(a), label(b)) for a, b in pairwise(["2024-01-01", "2024-02-01", "2024-03-01"])]


@many
@given(markets, st.sampled_from(LABELLED), moments, st.integers(1, 120))
def test_labelled_units_hold_each_label_that_trades_once(name, t, start, days):
    """Also where the span begins or ends within a week or month: a bar is where its label is."""
    calendar = MARKETS[name]
    span = label(datetime.fromtimestamp(start / S, UTC).date().isoformat()), 0
    span = span[0], span[0] + days * DAY
    labels = sorted({t.floor(label(s.trade_date.isoformat())) for s in calendar.sessions})
    expected = [(x, min(t.next(x), span[1])) for x in labels if span[0] <= x < span[1]]
    assert calendar.units(t, span) == expected


def test_a_futures_day_lies_at_its_trade_date():
    assert cme().units(timeframe("1d"), (label("2024-01-05"), label("2024-01-09"))) == [
        (label("2024-01-05"), label("2024-01-06")),
        (label("2024-01-08"), label("2024-01-09")),
    ]


def test_outside_what_is_known_there_is_nothing():
    calendar = nyse()
    for t in ALL:
        assert not calendar.open_time(t, (ns("2026-01-01 00:00"), ns("2026-02-01 00:00")))
        assert calendar.known_axis(t).covers((ns("2024-01-01 00:00"), ns("2024-12-01 00:00")))
        assert not calendar.known_axis(t) & Spans.of(ns("2025-06-01 00:00"), ns("2026-01-01 00:00"))


@pytest.mark.parametrize(
    ("calendar", "day", "opens", "closes"),
    [
        (nyse(), "2024-01-05", "2024-01-05 14:30", "2024-01-05 21:00"),
        (cme(), "2024-01-08", "2024-01-07 23:00", "2024-01-08 22:00"),
        (forex(), "2024-01-08", "2024-01-07 22:15", "2024-01-08 22:00"),
        (hong_kong(), "2024-01-08", "2024-01-08 01:30", "2024-01-08 08:00"),
        (MARKETS["nyse-extended"], "2024-01-05", "2024-01-05 09:00", "2024-01-06 01:00"),
        (MARKETS["sydney"], "2024-01-08", "2024-01-07 23:00", "2024-01-08 05:00"),
    ],
)
def test_the_real_time_of_a_day(calendar, day, opens, closes):
    at = label(day)
    assert calendar.real_time(timeframe("1d"), (at, at + DAY)) == (ns(opens), ns(closes))


def test_the_real_time_of_weeks_and_of_intraday_spans():
    week = label("2023-12-25"), label("2024-01-01")
    assert nyse().real_time(timeframe("1w"), week) == (ns("2023-12-26 09:30", NY), ns("2023-12-29 16:00", NY))
    assert nyse().real_time(timeframe("1m"), (1, 2)) == (1, 2)
    weekend = label("2024-01-06"), label("2024-01-08")
    assert nyse().real_time(timeframe("1d"), weekend) == weekend, "no session: nothing better to say"


# ---- the stand-in ----------------------------------------------------------------------------------------------------


def test_weekdays_stand_in_for_a_missing_schedule():
    calendar = weekdays(ns("2024-03-07 12:00", NY), ns("2024-03-12 12:00", NY), NY)
    assert [s.trade_date.day for s in calendar.sessions] == [7, 8, 11, 12]
    assert calendar.known == (ns("2024-03-07 12:00", NY), ns("2024-03-12 12:00", NY))
    friday = calendar.sessions[1]
    assert (friday.open_ns, friday.close_ns) == (ns("2024-03-08 00:00", NY), ns("2024-03-09 00:00", NY))
    assert weekdays(ns("2024-03-09 00:00", NY), ns("2024-03-10 12:00", NY), NY).sessions == ()


# ---- the end of what is known ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("known", "name", "first", "after"),
    [
        ("2024-01-08 09:30", "1d", "2023-11-29", "2024-01-08"),  # Monday's open: nothing is said about Monday
        ("2024-01-08 16:00", "1d", "2023-11-29", "2024-01-09"),  # its close: the sessions of a day are told together
        ("2024-01-06 12:00", "1d", "2023-11-29", "2024-01-08"),
        ("2024-01-08 09:30", "1w", "2023-12-04", "2024-01-08"),
        ("2024-01-05 16:00", "1w", "2023-12-04", "2024-01-08"),  # a weekend is left, on which nothing trades
        ("2024-01-05 09:30", "1w", "2023-12-04", "2024-01-01"),
        ("2024-02-01 09:30", "1M", "2023-12-01", "2024-02-01"),
        ("2024-01-31 16:00", "1M", "2023-12-01", "2024-02-01"),
        ("2024-01-31 09:30", "1M", "2023-12-01", "2024-01-01"),
    ],
)
def test_a_day_week_or_month_is_known_when_each_of_its_days_is(known, name, first, after):
    calendar = known_to(nyse(), ns(known, NY))
    assert list(calendar.known_axis(timeframe(name))) == [(label(first), label(after))]


def test_a_day_of_which_the_beginning_is_not_known_is_not_known():
    whole = nyse()
    calendar = Calendar.of(
        [s for s in whole.sessions if s.close_ns > ns("2024-01-09 18:00", NY)],
        (ns("2024-01-09 18:00", NY), whole.known[1]),
        NY,
    )
    assert next(iter(calendar.known_axis(timeframe("1d"))))[0] == label("2024-01-10")
    assert next(iter(calendar.known_axis(timeframe("1w"))))[0] == label("2024-01-15")
    assert next(iter(calendar.known_axis(timeframe("1M"))))[0] == label("2024-02-01")
