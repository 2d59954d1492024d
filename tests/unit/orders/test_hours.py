"""How a market stands, by the hours that contract details tell."""

import pytest

from nautilus.clock import parse_rfc3339
from nautilus.orders.hours import phase
from tests.unit.orders.cases import FUTURE, stock

WEEK = {
    "trading_hours": "20260102:0400-20260102:2000;20260103:CLOSED;20260105:0400-20260105:2000",
    "liquid_hours": "20260102:0930-20260102:1600;20260103:CLOSED;20260105:0930-20260105:1600",
}


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2026-01-02T09:29:59-05:00", "extended"),
        ("2026-01-02T09:30:00-05:00", "regular"),
        ("2026-01-02T15:59:59-05:00", "regular"),
        ("2026-01-02T16:00:00-05:00", "extended"),
        ("2026-01-02T20:00:00-05:00", "closed"),
        ("2026-01-03T12:00:00-05:00", "closed"),
        ("2026-01-04T12:00:00-05:00", "closed"),
        ("2026-01-06T12:00:00-05:00", None),
        ("2026-01-01T12:00:00-05:00", None),
    ],
)
def test_a_stock_has_regular_and_extended_hours(at, expected):
    assert phase(stock(), WEEK, parse_rfc3339(at)) == expected


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2026-01-04T17:59:00-05:00", "closed"),
        ("2026-01-04T18:30:00-05:00", "regular"),
        ("2026-01-05T16:30:00-05:00", "closed"),
    ],
)
def test_a_futures_session_begins_on_the_evening_before(at, expected):
    hours = {"trading_hours": "20260104:1800-20260105:1600;20260105:1700-20260106:1600"}
    assert phase(FUTURE, hours, parse_rfc3339(at)) == expected


def test_the_older_form_of_hours_is_read():
    hours = {"trading_hours": "20260102:0400-2000", "liquid_hours": "20260102:0930-1600"}
    assert phase(stock(), hours, parse_rfc3339("2026-01-02T10:00:00-05:00")) == "regular"
    night = {"trading_hours": "20260102:1800-1700"}
    assert phase(FUTURE, night, parse_rfc3339("2026-01-03T10:00:00-05:00")) == "regular"


@pytest.mark.parametrize(
    "details", [{}, {"trading_hours": "nonsense"}, {"trading_hours": None}, {"trading_hours": "20269999:0930-1600"}]
)
def test_without_hours_nobody_knows(details):
    assert phase(stock(), details, parse_rfc3339("2026-01-02T10:00:00-05:00")) is None


def test_a_stock_without_regular_hours_is_not_taken_for_open():
    hours = {"trading_hours": WEEK["trading_hours"]}
    assert phase(stock(), hours, parse_rfc3339("2026-01-02T10:00:00-05:00")) is None
