"""Sessions and what follows for bars: slots by the exchange's clock, and what is over at a moment."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any
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


# ---- what is over ----------------------------------------------------------------------------------------------------


def until(calendar, name, now, *, settle_s=15, late=False, zone=NY):
    return calendar.closed_until(timeframe(name), ns(now, zone), settle_ns=settle_s * S, late_settlement=late)


@pytest.mark.parametrize(
    ("name", "now", "expected"),
    [
        ("1m", "2024-01-05 10:00:14", "2024-01-05 09:59"),
        ("1m", "2024-01-05 10:00:15", "2024-01-05 10:00"),
        ("5m", "2024-01-05 10:04:59", "2024-01-05 10:00"),
        ("1h", "2024-01-05 09:45", "2024-01-05 09:30"),
        ("1h", "2024-01-05 10:00:15", "2024-01-05 10:00"),
        ("4h", "2024-01-05 11:59", "2024-01-05 09:30"),
        ("8h", "2024-01-05 16:00:14", "2024-01-05 09:30"),
        ("8h", "2024-01-05 16:00:15", "2024-01-05 16:00"),
        ("8h", "2024-07-03 13:00:14", "2024-07-03 09:30"),
        ("8h", "2024-07-03 13:00:15", "2024-07-03 13:00"),
        ("1m", "2024-01-06 12:00:15.7", "2024-01-06 12:00"),
    ],
)
def test_intraday_bars_are_over_with_their_slot_or_session(name, now, expected):
    assert until(nyse(), name, now) == ns(expected, NY)


def test_the_bar_after_a_break_within_a_slot_still_forms():
    """3h bars of Chicago: 15:00 to 16:00, the break, then 17:00 to 18:00, all in one slot of the grid."""
    calendar = cme()
    assert until(calendar, "3h", "2024-01-09 16:30", zone=CHICAGO) == ns("2024-01-09 16:29:45", CHICAGO)
    assert until(calendar, "3h", "2024-01-09 17:30", zone=CHICAGO) == ns("2024-01-09 17:00", CHICAGO)
    assert until(calendar, "3h", "2024-01-09 18:00:15", zone=CHICAGO) == ns("2024-01-09 18:00", CHICAGO)


def test_beyond_what_is_known_only_the_known_and_whole_slots_are_over():
    """A schedule that was fetched at ten in the morning tells today's session and nothing after."""
    whole = nyse(date(2024, 6, 3), 31)  # to the early close of 3 July
    calendar = Calendar(whole.sessions, (whole.known[0], ns("2024-07-03 10:00", NY)), NY)
    assert until(calendar, "8h", "2024-07-03 12:00") == ns("2024-07-03 09:30", NY)
    assert until(calendar, "8h", "2024-07-03 14:00") == ns("2024-07-03 13:00", NY)
    assert until(calendar, "8h", "2024-07-04 11:00") == ns("2024-07-04 08:00", NY), "a session there would be cut so"
    assert until(Calendar.of([], (0, 1), NY), "1h", "2024-07-04 11:30") == ns("2024-07-04 11:00", NY)


@many
@given(markets, st.sampled_from(COARSE), moments, st.integers(0, 1_000))
def test_no_forming_bar_passes_and_none_waits_needlessly(name, t, now, settle_s):
    calendar, at = MARKETS[name], now - settle_s * S
    end = calendar.closed_until(t, now, settle_ns=settle_s * S, late_settlement=False)
    assert end <= at
    for start, over in bars_near(calendar, t, at):
        assert (start < end) == (over <= at), (start, over, at)


def bars_near(calendar, t, at):
    """Every bar of the grid within two days of `at`: (stamp, when it is over), slot by slot from midnight."""
    zone = ZoneInfo(calendar.time_zone)
    day = datetime.fromtimestamp(at / S, zone).date() - timedelta(days=2)
    marks = []
    for _ in range(5):
        minutes = range(0, 1440, max(1, t.step_ns // MINUTE))
        marks += [ns(f"{day} {m // 60:02d}:{m % 60:02d}", calendar.time_zone) for m in minutes]
        day += timedelta(days=1)
    for s in calendar.between(marks[0], marks[-1]):
        for a, b in pairwise(marks):
            if max(a, s.open_ns) < min(b, s.close_ns):
                yield max(a, s.open_ns), min(b, s.close_ns)


def test_a_stocks_day_is_over_with_its_close():
    calendar = nyse()
    day = {"settle_s": 900}
    assert until(calendar, "1d", "2024-01-05 16:14:59", **day) == label("2024-01-05")
    assert until(calendar, "1d", "2024-01-05 16:15", **day) == label("2024-01-06")
    assert until(calendar, "1d", "2024-07-03 13:15", **day) == label("2024-07-04"), "early close"
    assert until(calendar, "1d", "2024-01-07 12:00", **day) == label("2024-01-08"), "a Sunday: all before it is over"
    assert until(calendar, "1d", "2024-01-08 09:00", **day) == label("2024-01-08")
    extended = MARKETS["nyse-extended"]
    assert until(extended, "1d", "2024-01-05 20:14", **day) == label("2024-01-05"), "00:59Z of the 6th, and not over"
    assert until(extended, "1d", "2024-01-05 20:15", **day) == label("2024-01-06")


def test_a_futures_day_is_over_when_the_next_session_opens():
    calendar = cme()
    chicago = {"settle_s": 15, "late": True, "zone": CHICAGO}
    assert until(calendar, "1d", "2024-01-05 16:30", **chicago) == label("2024-01-05"), "the settlement may come yet"
    assert until(calendar, "1d", "2024-01-07 17:00:14", **chicago) == label("2024-01-05")
    assert until(calendar, "1d", "2024-01-07 17:00:15", **chicago) == label("2024-01-08")
    assert until(calendar, "1d", "2024-01-08 17:00:15", **chicago) == label("2024-01-09")
    assert until(calendar, "1d", "2024-01-05 16:00:15", zone=CHICAGO) == label("2024-01-06"), "without settlement"


def test_a_futures_day_whose_next_session_is_not_known_waits_three_days():
    whole = cme(date(2024, 1, 2), 4)
    calendar = Calendar(whole.sessions, (whole.known[0], ns("2024-01-05 16:00", CHICAGO)), CHICAGO)
    friday = label("2024-01-05")
    assert calendar.closed_by(timeframe("1d"), friday, late_settlement=True) == ns("2024-01-08 16:00", CHICAGO)
    assert calendar.closed_by(timeframe("1d"), friday, late_settlement=False) == ns("2024-01-05 16:00", CHICAGO)


def test_an_unknown_day_is_over_at_its_midnight():
    calendar = Calendar.of([], (0, 1), NY)
    friday = label("2024-01-05")
    assert calendar.closed_by(timeframe("1d"), friday, late_settlement=False) == ns("2024-01-06 00:00", NY)
    assert until(calendar, "1d", "2024-01-05 23:59", settle_s=0) == friday
    assert until(calendar, "1d", "2024-01-06 00:00", settle_s=0) == friday + DAY


def test_weeks_and_months_are_over_with_their_last_trade_date():
    calendar = nyse()
    assert until(calendar, "1w", "2024-01-05 16:14", settle_s=900) == label("2024-01-01")
    assert until(calendar, "1w", "2024-01-05 16:15", settle_s=900) == label("2024-01-08")
    assert until(calendar, "1M", "2024-03-28 16:14", settle_s=900) == label("2024-03-01"), "the 29th was Good Friday"
    assert until(calendar, "1M", "2024-03-28 16:15", settle_s=900) == label("2024-04-01")
    future = {"settle_s": 15, "late": True, "zone": CHICAGO}
    assert until(cme(), "1w", "2024-01-06 12:00", **future) == label("2024-01-01")
    assert until(cme(), "1w", "2024-01-07 17:00:15", **future) == label("2024-01-08")
    # May ends on a Friday: on Saturday, 1 June, its last settlement may still be missing.
    assert until(cme(), "1M", "2024-06-01 12:00", **future) == label("2024-05-01")
    assert until(cme(), "1M", "2024-06-02 17:00:15", **future) == label("2024-06-01")


def test_a_week_of_which_the_end_is_not_known_is_over_with_the_week():
    whole = nyse(date(2024, 1, 2), 3)  # Tuesday to Thursday
    calendar = Calendar(whole.sessions, (whole.known[0], ns("2024-01-04 18:00", NY)), NY)
    assert until(calendar, "1w", "2024-01-05 18:00") == label("2024-01-01")
    assert until(calendar, "1w", "2024-01-08 00:00:15") == label("2024-01-08")


@many
@given(markets, st.sampled_from(LABELLED), moments, st.booleans())
def test_no_forming_day_week_or_month_passes_and_none_waits_needlessly(name, t, now, late):
    calendar = MARKETS[name]
    end = calendar.closed_until(t, now, settle_ns=0, late_settlement=late)
    assert t.floor(end) == end
    closes: dict[int, int] = {}
    for session, following in pairwise(calendar.sessions):
        over = following.open_ns if late else session.close_ns
        unit = t.floor(label(session.trade_date.isoformat()))
        closes[unit] = max(over, closes.get(unit, 0))
    for unit, over in closes.items():
        if abs(unit - now) < 60 * DAY:
            assert (unit < end) == (over <= now), (unit, over, now)


@few
@given(markets, st.sampled_from(ALL), moments, st.integers(0, 3 * DAY), st.booleans())
def test_what_is_over_stays_over(name, t, now, later, late):
    calendar = MARKETS[name]
    first = calendar.closed_until(t, now, settle_ns=15 * S, late_settlement=late)
    assert first <= calendar.closed_until(t, now + later, settle_ns=15 * S, late_settlement=late)


# ---- the stand-in ----------------------------------------------------------------------------------------------------


def test_weekdays_stand_in_for_a_missing_schedule():
    calendar = weekdays(ns("2024-03-07 12:00", NY), ns("2024-03-12 12:00", NY), NY)
    assert [s.trade_date.day for s in calendar.sessions] == [7, 8, 11, 12]
    assert calendar.known == (ns("2024-03-07 12:00", NY), ns("2024-03-12 12:00", NY))
    friday = calendar.sessions[1]
    assert (friday.open_ns, friday.close_ns) == (ns("2024-03-08 00:00", NY), ns("2024-03-09 00:00", NY))
    assert weekdays(ns("2024-03-09 00:00", NY), ns("2024-03-10 12:00", NY), NY).sessions == ()


# ---- the edge of what is known ---------------------------------------------------------------------------------------


def known_to(calendar, end):
    """The calendar as it was kept when its sessions were known up to `end`: what opens later is not told yet."""
    dates = {s.trade_date for s in calendar.sessions if s.open_ns < end}
    sessions = [s for s in calendar.sessions if s.trade_date in dates]  # the sessions of a date are told together
    return Calendar.of(sessions, (calendar.known[0], end), calendar.time_zone)


def test_a_futures_day_is_over_where_the_next_session_is_known_to_open():
    """The bridge keeps what is known up to the next open, which is no session of the calendar yet."""
    thursday, opens = label("2024-01-04"), ns("2024-01-04 17:00", CHICAGO)
    calendar = known_to(cme(), opens)
    assert calendar.closed_by(timeframe("1d"), thursday, late_settlement=True) == opens
    assert until(calendar, "1d", "2024-01-05 06:00", settle_s=900, late=True, zone=CHICAGO) == label("2024-01-05")
    later = known_to(cme(), ns("2024-01-04 20:00", CHICAGO))
    assert later.closed_by(timeframe("1d"), thursday, late_settlement=True) == opens, "what is known to open, opens"


def test_a_contract_that_trades_no_more_is_over_after_three_days():
    whole = cme(date(2024, 1, 2), 4)
    calendar = Calendar(whole.sessions, (whole.known[0], ns("2024-02-05 16:00", CHICAGO)), CHICAGO)
    friday = label("2024-01-05")
    assert calendar.closed_by(timeframe("1d"), friday, late_settlement=True) == ns("2024-01-08 16:00", CHICAGO)


def test_a_friday_nobody_knows_of_is_not_settled_on_saturday():
    calendar = known_to(cme(), ns("2024-01-04 17:00", CHICAGO))
    friday = label("2024-01-05")
    assert calendar.closed_by(timeframe("1d"), friday, late_settlement=True) == ns("2024-01-08 00:00", CHICAGO)
    assert calendar.closed_by(timeframe("1d"), friday, late_settlement=False) == ns("2024-01-06 00:00", CHICAGO)


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


@pytest.mark.parametrize(
    ("calendar", "opens", "zone"), [(cme(), "2024-01-07 17:00", CHICAGO), (forex(), "2024-01-07 17:15", NY)]
)
@pytest.mark.parametrize("late", [False, True])
def test_a_week_is_over_on_the_weekend_though_the_next_session_opens_before_monday(calendar, opens, zone, late):
    """Sunday's open is Monday's session: the week before is known whole."""
    short = known_to(calendar, ns(opens, zone))
    over = (
        ns(opens, zone) if late else calendar.real_time(timeframe("1w"), (label("2024-01-01"), label("2024-01-08")))[1]
    )
    assert short.closed_by(timeframe("1w"), label("2024-01-01"), late_settlement=late) == over


@many
@given(markets, st.sampled_from([*COARSE, *LABELLED]), moments, st.integers(0, 20 * DAY), st.booleans())
def test_at_the_edge_of_what_is_known_no_closed_bar_is_left_out_in_silence(name, t, end, later, late):
    """The bridge keeps what is known up to an open. Where a closed bar may be left out, it is said that nobody knows."""
    whole = MARKETS[name]
    end = next_open(whole, end)
    now = end + later
    short = known_to(whole, end)
    asked: dict[str, Any] = {"settle_ns": 15 * S, "late_settlement": late and not t.intraday}
    truth, found = whole.closed_until(t, now, **asked), short.closed_until(t, now, **asked)
    edge = short.undecided_until(t, now, settle_ns=15 * S) or found
    assert not whole.units(t, (max(found, edge), max(truth, found, edge)))


def known_from(calendar, start):
    """The calendar as it was kept when its sessions were known since `start` only."""
    sessions = [s for s in calendar.sessions if s.close_ns > start]
    return Calendar.of(sessions, (start, calendar.known[1]), calendar.time_zone)


@many
@given(markets, st.sampled_from(LABELLED), moments, st.integers(0, 20 * DAY), st.booleans())
def test_where_the_beginning_is_not_known_no_closed_bar_is_left_out_in_silence(name, t, start, later, late):
    whole = MARKETS[name]
    short, now = known_from(whole, start), start + later
    asked: dict[str, Any] = {"settle_ns": 15 * S, "late_settlement": late}
    truth, found = whole.closed_until(t, now, **asked), short.closed_until(t, now, **asked)
    edge = short.undecided_until(t, now, settle_ns=15 * S) or found
    assert not whole.units(t, (max(found, edge), max(truth, found, edge)))


@pytest.mark.parametrize("since", ["2024-01-10 12:00", "2024-01-12 12:00", "2024-01-12 20:00"])
def test_a_week_is_over_on_friday_though_its_monday_is_not_known(since):
    short, friday = known_from(nyse(), ns(since, NY)), ns("2024-01-12 21:00", NY)
    found = short.closed_until(timeframe("1w"), friday, settle_ns=15 * S, late_settlement=False)
    edge = short.undecided_until(timeframe("1w"), friday, settle_ns=15 * S)
    assert label("2024-01-15") == (edge or found)


@many
@given(markets, st.sampled_from(ALL), moments, st.integers(0, 5 * DAY))
def test_before_the_end_of_what_is_known_the_same_is_closed_as_with_all_of_it(name, t, now, before):
    whole = MARKETS[name]
    short = known_to(whole, next_open(whole, now + before))
    asked: dict[str, Any] = {"settle_ns": 15 * S, "late_settlement": False}
    truth, found = whole.closed_until(t, now, **asked), short.closed_until(t, now, **asked)
    assert not whole.units(t, (min(truth, found), max(truth, found)))


@many
@given(markets, st.sampled_from(LABELLED), moments, st.integers(0, 20 * DAY), st.booleans())
def test_at_the_edge_of_what_is_known_no_forming_bar_counts_as_closed(name, t, end, later, at_open):
    whole = MARKETS[name]
    end = next_open(whole, end) if at_open else end
    now = end + later
    short = known_to(whole, end)
    asked: dict[str, Any] = {"settle_ns": 15 * S, "late_settlement": False}
    truth, found = whole.closed_until(t, now, **asked), short.closed_until(t, now, **asked)
    known = [s for s, _ in whole.units(t, (truth, max(truth, found))) if short.known_axis(t).covers((s, t.next(s)))]
    assert not known


def next_open(calendar, at):
    return min(s.open_ns for s in calendar.sessions if s.open_ns >= at)
