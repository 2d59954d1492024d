"""What `make up` says of live data."""

import datetime as dt

import pytest

from dev.up import open_hour


@pytest.mark.parametrize(
    ("now", "opened"),
    [
        ("2026-11-29T13:06:00", "2026-11-30T15:00:00"),  # a Sunday
        ("2026-11-27T15:00:00", "2026-11-30T15:00:00"),  # a Friday, and a clock is never moved back
        ("2026-07-06T03:00:00", "2026-07-06T15:00:00"),  # a Monday night, in summer
    ],
)
def test_a_closed_market_is_opened_on_the_next_weekday(now: str, opened: str) -> None:
    assert open_hour(dt.datetime.fromisoformat(now + "+00:00")) == dt.datetime.fromisoformat(opened + "+00:00")
