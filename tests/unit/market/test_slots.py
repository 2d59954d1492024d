"""Slots of a bar grid: listed, counted, and cut to pages; and where windows end."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nautilus.market import aggregation
from nautilus.market import slots as grid
from nautilus.market.timeframes import ALL, timeframe
from nautilus.market.windows import last_close
from tests.support.markets import DAY, HOUR, MARKETS, MINUTE, few, hong_kong, label, ns, nyse

frames = st.sampled_from([f for f in ALL if f.step_ns >= MINUTE])
markets = st.sampled_from(sorted(MARKETS))
starts = st.integers(ns("2024-01-02 00:00") // MINUTE, ns("2024-12-01 00:00") // MINUTE).map(lambda n: n * MINUTE)
lengths = st.integers(1, 30 * 24 * 60).map(lambda n: n * MINUTE)


@few
@given(markets, frames, starts, lengths)
def test_slots_tile_the_sessions(name, frame, start, length):
    calendar, span = MARKETS[name], (start, start + length)
    slots = grid.on_axis(calendar, frame, span)
    assert list(slots.starts) == sorted(set(slots.starts))
    assert all(span[0] <= at < span[1] for at in slots.starts)
    for at, close in zip(slots.starts, slots.closes, strict=True):
        assert at < close
        if frame.intraday:
            session = calendar.session_at(at)
            assert session is not None
            assert close <= session.close_ns
            assert calendar.slot(frame, at)[0] <= at
            assert close == calendar.slot_end(frame, at)
    units = calendar.units(frame, span)
    if frame.intraday and units and units[0][0] in {session.open_ns for session in calendar.sessions}:
        covered = sum(close - at for at, close in zip(slots.starts, slots.closes, strict=True))
        assert covered >= sum(b - a for a, b in units)


@few
@given(markets, frames, starts, lengths, st.integers(1, 400), st.booleans())
def test_a_page_has_room_for_its_bars_and_no_more(name, frame, start, length, number, backward):
    calendar = MARKETS[name]
    span = (calendar.slot(frame, start)[0], start + length)
    slots = list(grid.on_axis(calendar, frame, span).starts)
    cut = grid.cut_after(calendar, frame, span, number, backward=backward)
    near = [s for s in slots if (s >= cut if backward else s < cut)]
    assert near == (slots[-number:] if backward else slots[:number])
    assert grid.count(calendar, frame, span, 10**9) >= len(slots)


def test_the_first_hour_of_new_york_is_half_an_hour():
    day = (ns("2024-01-08 00:00", "America/New_York"), ns("2024-01-09 00:00", "America/New_York"))
    slots = grid.on_axis(nyse(), timeframe("1h"), day)
    assert slots.starts[0] == ns("2024-01-08 09:30", "America/New_York")
    assert slots.closes[0] == ns("2024-01-08 10:00", "America/New_York")
    assert len(slots.starts) == 7
    early = grid.on_axis(nyse(), timeframe("4h"), (label("2024-07-03"), label("2024-07-04")))
    assert [(c - s) // MINUTE for s, c in zip(early.starts, early.closes, strict=True)] == [150, 60]
    lunch = grid.on_axis(hong_kong(), timeframe("1h"), (label("2024-01-08"), label("2024-01-09")))
    assert len(lunch.starts) == 6


def test_of_a_week_the_first_open_and_the_last_close():
    hours = grid.in_time(nyse(), timeframe("1w"), (label("2024-07-01"), label("2024-07-08")))
    assert hours.starts == [label("2024-07-01")]
    assert hours.opens == [ns("2024-07-01 09:30", "America/New_York")]
    assert hours.closes == [ns("2024-07-05 16:00", "America/New_York")]


@pytest.mark.parametrize(
    ("frame", "price", "names"),
    [
        ("1d", "TRADES", ()),
        ("1h", "BID_ASK", ()),
        ("1w", "TRADES", ("1d",)),
        ("1M", "MIDPOINT", ("1d",)),
        ("3m", "TRADES", ("1m", "30s", "15s", "10s", "5s", "1s")),
        ("8h", "TRADES", ("4h", "2h", "1h", "30m", "20m", "15m", "10m", "5m", "3m", "2m", "1m", "30s", "15s", "10s", "5s", "1s")),
        ("1s", "TRADES", ()),
    ],
)  # fmt: skip
def test_what_can_be_aggregated_from_what(frame, price, names):
    assert tuple(f.name for f in aggregation.sources(timeframe(frame), price)) == names


def test_a_window_ends_at_the_last_close():
    friday, sunday = ns("2024-01-12 16:00", "America/New_York"), ns("2024-01-14 12:00", "America/New_York")
    assert last_close(sunday, timeframe("1m"), nyse()) == friday
    assert last_close(sunday, timeframe("4h"), nyse()) == friday
    assert last_close(label("2024-01-14"), timeframe("1d"), nyse()) == label("2024-01-13")
    open_ = ns("2024-01-12 11:00", "America/New_York")
    assert last_close(open_, timeframe("1m"), nyse()) == open_
    # Where the calendar does not reach, a session may have been held.
    short = nyse(date(2024, 1, 2), 5)
    assert last_close(sunday, timeframe("1m"), short) == sunday
    assert last_close(sunday, timeframe("1m"), None) == sunday
    assert sunday - friday > DAY + HOUR
