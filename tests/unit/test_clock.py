"""Time: exact to the nanosecond, and never a guess about a zone."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nautilus.clock import (
    NS_PER_DAY,
    NS_PER_S,
    SAME_TIME,
    MarketTime,
    datetime_of,
    day_of,
    label_of,
    microseconds_text,
    ns_of,
    parse_rfc3339,
    rfc3339,
)
from tests.support.markets import few, many

NOW = 1_704_465_000_123_456_789  # 2024-01-05 14:30:00.123456789Z
times = st.integers(-(2**63) + 1, 2**63 - 1)


@few
@given(times)
def test_same_time_is_the_machines_to_the_nanosecond(ns):
    assert SAME_TIME.at(ns) == ns


@few
@given(st.integers(0, 10**19), st.integers(0, 10**19), st.integers(-(10**15), 10**15))
def test_an_offset_is_kept_exactly(machine, market, passed):
    assert MarketTime(machine, market).at(machine + passed) == market + passed


def test_a_rate_multiplies_what_passed_since():
    market = MarketTime(machine_ns=1_000, market_ns=NOW, rate=20.0)
    assert market.at(1_000) == NOW
    assert market.at(1_000 + NS_PER_S) == NOW + 20 * NS_PER_S
    assert market.at(1_000 - NS_PER_S) == NOW - 20 * NS_PER_S
    assert MarketTime(0, 100, 0.5).at(1_000) == 600


def test_ns_of_known_moments():
    assert ns_of(datetime(1970, 1, 1, tzinfo=UTC)) == 0
    assert ns_of(datetime(2024, 1, 5, 14, 30, tzinfo=UTC)) == 1_704_465_000_000_000_000
    assert ns_of(datetime(2024, 1, 5, 9, 30, 0, 1, tzinfo=timezone(timedelta(hours=-5)))) == 1_704_465_000_000_001_000
    assert ns_of(datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)) == -1_000


def test_a_naive_datetime_has_no_place_in_time():
    with pytest.raises(ValueError, match="without a zone"):
        ns_of(datetime(2024, 1, 5, 14, 30))


@few
@given(times)
def test_datetime_and_back_loses_less_than_a_microsecond(ns):
    assert 0 <= ns - ns_of(datetime_of(ns)) < 1_000


def test_labels_are_midnight_utc():
    assert label_of(date(2024, 1, 5)) == 1_704_412_800_000_000_000
    assert day_of(label_of(date(2024, 1, 5)) + NS_PER_DAY - 1) == date(2024, 1, 5)
    assert day_of(-1) == date(1969, 12, 31)


@few
@given(st.dates(date(1900, 1, 1), date(2200, 1, 1)))
def test_a_label_tells_its_day(day):
    assert day_of(label_of(day)) == day
    assert label_of(day) % NS_PER_DAY == 0


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (NOW, "2024-01-05T14:30:00.123456789Z"),
        (1_704_465_000_500_000_000, "2024-01-05T14:30:00.5Z"),
        (1_704_465_000_000_000_001, "2024-01-05T14:30:00.000000001Z"),
        (-1, "1969-12-31T23:59:59.999999999Z"),
    ],
)
def test_text_has_as_many_decimals_as_it_needs(ns, text):
    assert rfc3339(ns) == text
    assert parse_rfc3339(text) == ns


@many
@given(times)
def test_text_and_back_loses_nothing(ns):
    assert parse_rfc3339(rfc3339(ns)) == ns


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-05T14:30:00Z",
        " 2024-01-05T14:30:00z ",
        "2024-01-05t14:30:00.000Z",
        "2024-01-05 14:30:00+00:00",
        "2024-01-05T09:30:00-05:00",
        "2024-01-05T20:00:00+05:30",
    ],
)
def test_ways_to_write_one_time(text):
    assert parse_rfc3339(text) == 1_704_465_000_000_000_000


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "1704465000",
        "2024-01-05",
        "20240105T143000Z",
        "2024-W01-5T14:30:00Z",
        "2024-01-05T14:30Z",
        "2024-13-05T14:30:00Z",
        "2024-01-05T14:30:60Z",
        "2024-01-05T14:30:00.Z",
        "2024-01-05T14:30:00.1234567890Z",
        "2024-01-05T14:30:00+0500",
        "2024-01-05T14:30:00+99:00",
        "٢٠٢٤-01-05T14:30:00Z",
    ],
)
def test_what_is_no_rfc3339_time(text):
    with pytest.raises(ValueError, match="is not an RFC 3339 time such as 2024-01-05T14:30:00Z"):
        parse_rfc3339(text)


def test_a_naive_text_is_refused_with_what_to_add():
    with pytest.raises(ValueError, match="add an offset"):
        parse_rfc3339("2024-01-05T14:30:00")


@pytest.mark.parametrize(
    "text", ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00", "2262-04-11T23:47:16.854775808Z"]
)
def test_a_time_that_64_bits_cannot_hold_is_refused(text):
    with pytest.raises(ValueError, match="between 1677-09-22 and 2262-04-11"):
        parse_rfc3339(text)


def test_machine_time_as_text_has_six_decimals_and_is_utc() -> None:
    noon = datetime(2024, 1, 5, 12, 0, 0, 5, tzinfo=timezone(timedelta(hours=2)))
    assert microseconds_text(noon) == "2024-01-05T10:00:00.000005Z"
