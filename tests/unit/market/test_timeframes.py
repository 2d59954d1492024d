"""Bar sizes: names, IB's spellings, and the slots of the axis."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nautilus.clock import day_of
from nautilus.errors import InvalidInput
from nautilus.market.timeframes import ALL, NAMES, timeframe
from tests.support.markets import DAY, MINUTE, S, few, label, many, ns

# The list that the gateway itself gives in its error 321.
IB_LIST = (
    "1 secs, 5 secs, 10 secs, 15 secs, 30 secs, 1 min, 2 mins, 3 mins, 5 mins, 10 mins, 15 mins, 20 mins, 30 mins, "
    "1 hour, 2 hours, 3 hours, 4 hours, 8 hours, 1 day, 1W, 1M"
)


def test_every_bar_size_of_ib_and_no_other():
    assert [t.ib for t in ALL] == IB_LIST.split(", ")
    assert " ".join(NAMES) == "1s 5s 10s 15s 30s 1m 2m 3m 5m 10m 15m 20m 30m 1h 2h 3h 4h 8h 1d 1w 1M"


def test_the_length_is_what_the_name_says():
    units = {"s": S, "m": MINUTE, "h": 60 * MINUTE}
    for t in ALL:
        if t.name[-1] in units:
            assert t.step_ns == int(t.name[:-1]) * units[t.name[-1]]
            assert t.intraday
        else:
            assert t.step_ns == DAY
            assert not t.intraday
        assert t.small == (t.name in ("1s", "5s", "10s", "15s", "30s"))


@pytest.mark.parametrize("t", ALL, ids=str)
def test_found_by_either_name(t):
    assert timeframe(t.name) is t
    assert timeframe(t.ib) is t


def test_other_spellings_of_the_documents():
    assert timeframe("1 week").name == "1w"
    assert timeframe("1 month").name == "1M"


@pytest.mark.parametrize("name", ["", "1", "1 sec", "60s", "1H", "1D", "7m", "1min"])
def test_an_unknown_name_tells_the_known_ones(name):
    with pytest.raises(InvalidInput) as wrong:
        timeframe(name)
    assert wrong.value.errors[0].field == "timeframe"
    assert wrong.value.errors[0].allowed == NAMES


@many
@given(st.sampled_from(ALL), st.integers(ns("1990-01-01 00:00"), ns("2100-01-01 00:00")))
def test_slots_tile_the_axis(t, at):
    start, end = t.floor(at), t.next(at)
    assert start <= at < end
    assert t.floor(start) == start == t.floor(end - 1)
    assert t.floor(end) == end
    assert t.ceil(at) in (start, end)
    assert t.ceil(at) >= at
    assert t.ceil(start) == start
    assert t.ceil(start + 1) == end


@few
@given(st.dates(date(1990, 1, 1), date(2100, 1, 1)))
def test_labels_of_weeks_and_months(day):
    at = label(day.isoformat()) + 5 * MINUTE
    week, month = timeframe("1w"), timeframe("1M")
    assert day_of(week.floor(at)) == day - timedelta(days=day.weekday())
    assert week.next(at) - week.floor(at) == 7 * DAY
    assert day_of(month.floor(at)) == day.replace(day=1)
    assert day_of(month.next(at)) == (day.replace(day=28) + timedelta(days=4)).replace(day=1)


def test_the_year_turns():
    month = timeframe("1M")
    assert month.next(label("2024-12-31")) == label("2025-01-01")
    assert month.floor(label("2024-12-31")) == label("2024-12-01")
