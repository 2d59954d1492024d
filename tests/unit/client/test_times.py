"""Times that a caller of the client may give, and those that are refused because they could mean two things."""

import datetime as dt
import itertools
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nautilus.clock import parse_rfc3339, rfc3339
from nautilus_client.errors import BadTime
from nautilus_client.times import at, is_date, months, span_ns, text, to_ns

NEW_YORK = ZoneInfo("America/New_York")
NS = 1_772_461_800_000_000_000  # 2026-03-02T14:30:00Z


@pytest.mark.parametrize(
    "value",
    [
        NS,
        "2026-03-02T14:30:00Z",
        "2026-03-02 14:30:00+00:00",
        "2026-03-02T09:30:00-05:00",
        dt.datetime(2026, 3, 2, 14, 30, tzinfo=dt.UTC),
        dt.datetime(2026, 3, 2, 9, 30, tzinfo=NEW_YORK),
        pd.Timestamp("2026-03-02 09:30", tz="America/New_York"),
    ],
)
def test_one_time_in_many_spellings(value):
    assert to_ns(value) == NS


def test_nanoseconds_are_kept():
    assert to_ns("2026-03-02T14:30:00.123456789Z") == NS + 123_456_789
    assert to_ns(pd.Timestamp(NS + 7, tz="UTC")) == NS + 7
    assert text(NS + 120_000_000) == "2026-03-02T14:30:00.12Z"


@pytest.mark.parametrize(
    "value",
    [
        "2026-03-02T14:30:00",
        dt.datetime(2026, 3, 2, 14, 30),
        pd.Timestamp("2026-03-02 14:30"),
        "02/03/2026",
        "2026-13-02T14:30:00Z",
        1_772_461_800,
        1_772_461_800_000,
        True,
        1.5,
        None,
        "now",
        "2026-02-30",
    ],
)
def test_what_could_mean_two_things_is_refused(value):
    with pytest.raises(BadTime, match="start"):
        to_ns(value, NEW_YORK, field="start")


def test_a_date_begins_at_midnight_of_the_zone_and_needs_one():
    assert to_ns("2026-03-02", NEW_YORK) == NS - int(9.5 * 3600) * 10**9
    assert to_ns(dt.date(2026, 7, 1), NEW_YORK) == to_ns("2026-07-01T04:00:00Z")
    with pytest.raises(BadTime, match=r"zone.*write a time, such as 2026-03-02T14:30:00Z"):
        to_ns("2026-03-02")
    assert is_date("2026-03-02")
    assert is_date(dt.date(2026, 3, 2))
    assert not is_date(dt.datetime(2026, 3, 2))


@given(st.integers(10**17, 2**62))
def test_texts_are_those_of_the_server(ns):
    assert parse_rfc3339(text(ns)) == to_ns(text(ns)) == ns
    assert to_ns(rfc3339(ns)) == ns


@pytest.mark.parametrize(("words", "days"), [("1d", 1), ("2w", 14), ("3M", 90), ("1y", 365), ("12h", 0.5)])
def test_lengths(words, days):
    assert span_ns(words) == days * 86_400 * 10**9


@pytest.mark.parametrize("words", ["", "d", "0d", "-1d", "1 month", "1.5d", "d1"])
def test_what_is_no_length_is_refused(words):
    with pytest.raises(BadTime, match="30d"):
        span_ns(words)


@given(st.integers(10**18, 2 * 10**18), st.integers(1, 400 * 86_400 * 10**9))
def test_months_follow_each_other_without_a_gap_and_none_is_longer_than_one(start, length):
    parts = months(start, start + length)
    assert parts[0][0] == start
    assert parts[-1][1] == start + length
    assert all(end == following for (_, end), (following, _) in itertools.pairwise(parts))
    assert all((at(low).year, at(low).month) == (at(high - 1).year, at(high - 1).month) for low, high in parts)
