"""The trade dates of accounts: they end at 17:00 in New York, summer and winter, and weekends belong to Monday."""

from datetime import date

import pytest

from nautilus.clock import NS_PER_DAY, NS_PER_HOUR, parse_rfc3339
from nautilus.portfolio.trade_dates import before, span_of, trade_date


@pytest.mark.parametrize(
    ("at", "day"),
    [
        ("2026-03-02T21:59:59.999Z", date(2026, 3, 2)),
        ("2026-03-02T22:00:00Z", date(2026, 3, 3)),
        ("2026-07-01T20:59:59Z", date(2026, 7, 1)),
        ("2026-07-01T21:00:00Z", date(2026, 7, 2)),
        ("2026-03-06T21:59:59Z", date(2026, 3, 6)),
        ("2026-03-06T22:00:00Z", date(2026, 3, 9)),
        ("2026-03-07T12:00:00Z", date(2026, 3, 9)),
        ("2026-03-08T23:00:00Z", date(2026, 3, 9)),
    ],
)
def test_a_time_belongs_to_the_day_that_ends_next(at, day):
    assert trade_date(parse_rfc3339(at)) == day
    begin, end = span_of(day)
    assert begin <= parse_rfc3339(at) < end


def test_days_touch_each_other_and_know_the_clock_change():
    friday, monday = date(2026, 3, 6), date(2026, 3, 9)
    assert before(monday) == friday
    assert span_of(friday)[1] == span_of(monday)[0]
    assert span_of(monday)[1] - span_of(monday)[0] == 3 * NS_PER_DAY - NS_PER_HOUR
