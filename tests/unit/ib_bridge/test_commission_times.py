"""When IB is asked for a commission that did not come."""

from zoneinfo import ZoneInfo

import pytest

from ib_bridge.orders.commissions import times_due
from nautilus.clock import parse_rfc3339

_ZONE = ZoneInfo("America/New_York")


@pytest.mark.parametrize(
    ("fill", "now", "times"),
    [
        ("2026-03-02T15:00:00Z", "2026-03-02T15:00:59Z", 0),
        ("2026-03-02T15:00:00Z", "2026-03-02T15:01:00Z", 1),
        ("2026-03-02T15:00:00Z", "2026-03-02T15:10:00Z", 2),
        ("2026-03-02T15:00:00Z", "2026-03-03T04:49:59Z", 2),
        ("2026-03-02T15:00:00Z", "2026-03-03T04:50:00Z", 3),
        ("2026-03-02T15:00:00Z", "2026-03-03T04:51:00Z", 4),
        # Shortly before midnight the last question is the one after ten minutes.
        ("2026-03-03T04:55:00Z", "2026-03-03T04:56:00Z", 1),
        ("2026-03-03T04:55:00Z", "2026-03-03T05:05:00Z", 3),
        ("2026-03-03T04:55:00Z", "2026-03-03T05:06:00Z", 4),
        # In summer the login's midnight is an hour earlier in UTC.
        ("2026-07-01T15:00:00Z", "2026-07-02T03:50:00Z", 3),
    ],
)
def test_three_times_and_then_it_is_missing(fill, now, times):
    assert times_due(parse_rfc3339(fill), parse_rfc3339(now), _ZONE) == times
