"""IB's words into ours: dates, volumes, and what is not there."""

from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ib_bridge import translate
from ib_bridge.volumes import VolumeUnit
from nautilus.timeframes import timeframe
from tests.unit.markets import label, ns
from tests.unit.test_farms import PAIR, STOCK

NEW_YORK = ZoneInfo("America/New_York")


def row(when: Any, volume: float = 7.0, average: float = 10.0, count: int = 3) -> Any:
    return SimpleNamespace(
        date=when, open=10.0, high=11.0, low=9.0, close=10.5, volume=volume, average=average, barCount=count
    )


@pytest.mark.parametrize(
    ("when", "name", "stamp"),
    [
        (datetime(2024, 3, 5, 14, 30, tzinfo=UTC), "1m", ns("2024-03-05 14:30")),
        (datetime(2024, 3, 5, 9, 30, tzinfo=NEW_YORK), "1m", ns("2024-03-05 14:30")),
        (datetime(2024, 3, 5, 14, 30), "1m", ns("2024-03-05 14:30")),
        (date(2024, 3, 5), "1d", label("2024-03-05")),
        (datetime(2024, 3, 5, 0, 0), "1d", label("2024-03-05")),
        # IB labels a week or a month by its last trading day, which moves while it forms.
        (date(2024, 3, 7), "1w", label("2024-03-04")),
        (date(2024, 3, 8), "1w", label("2024-03-04")),
        (date(2024, 3, 28), "1M", label("2024-03-01")),
    ],
)
def test_a_bar_is_placed_by_its_date_never_by_the_digits_of_it(when, name, stamp):
    assert translate.stamp(when, timeframe(name)) == stamp


def test_a_date_for_an_intraday_bar_is_refused():
    with pytest.raises(ValueError, match="came with the date 2024-03-05"):
        translate.stamp(date(2024, 3, 5), timeframe("1m"))


@pytest.mark.parametrize(
    ("price", "told", "stored"),
    [
        ("TRADES", (7.0, 10.0, 3), (7.0, 10.0, 3)),
        ("TRADES", (0.0, 10.0, 0), (0.0, 10.0, 0)),
        ("TRADES", (-1.0, -1.0, -1), (None, None, None)),
        ("TRADES", (7.0, -1.0, -1), (7.0, None, None)),
        ("TRADES", (7.0, 10.0, -1), (7.0, None, None)),
        ("TRADES", (-1.0, 10.0, 3), (None, None, None)),
        ("TRADES", (7.0, -37.3, 40), (7.0, -37.3, 40)),
        ("TRADES", (7.0, -1.0, 40), (7.0, -1.0, 40)),
        ("TRADES", (7.0, 0.0, 40), (7.0, 0.0, 40)),
        ("MIDPOINT", (-1.0, -1.0, -1), (None, None, None)),
        ("MIDPOINT", (0.0, 0.0, 0), (None, None, None)),
    ],
)
def test_what_ib_does_not_know_is_nothing_and_never_minus_one(price, told, stored):
    (bar,) = translate.bars([row(datetime(2024, 3, 5, 14, 30, tzinfo=UTC), *told)], timeframe("1m"), price)
    assert (bar.volume, bar.vwap, bar.trades) == stored


def test_bars_come_sorted_and_once():
    rows = [row(datetime(2024, 3, 5, 14, minute, tzinfo=UTC), volume) for minute, volume in ((31, 1), (30, 2), (31, 3))]
    found = translate.bars(rows, timeframe("1m"), "TRADES")
    assert [(bar.ts, bar.volume) for bar in found] == [(ns("2024-03-05 14:30"), 2.0), (ns("2024-03-05 14:31"), 3.0)]


# ---- shares and lots -------------------------------------------------------------------------------------------------

SHARES, LOTS = [row(None, volume) for volume in range(1, 30)], [row(None, 948837.22)]


@pytest.mark.parametrize(
    ("setting", "rows", "version", "factor"),
    [
        ("auto", SHARES, 176, 1.0),
        ("auto", LOTS, 176, 100.0),
        ("auto", SHARES, 174, 100.0),
        ("auto", SHARES[:5], 176, 1.0),
        ("lots", SHARES, 176, 100.0),
        ("shares", LOTS, 176, 1.0),
    ],
)
def test_volumes_of_us_stocks_become_shares(setting, rows, version, factor):
    assert VolumeUnit(setting).factor(STOCK, rows, version) == factor


def test_the_unit_once_known_stays_and_five_bars_are_not_enough_to_know_it():
    unit = VolumeUnit("auto")
    assert unit.factor(STOCK, SHARES[:5], 176) == 1.0
    assert unit.unit == "unknown"
    assert unit.factor(STOCK, LOTS, 176) == 100.0
    assert unit.factor(STOCK, SHARES, 176) == 100.0
    assert VolumeUnit("auto").factor(PAIR, LOTS, 176) == 1.0, "only of US stocks"
    later = VolumeUnit("auto")
    later.recall("lots")
    assert later.factor(STOCK, SHARES, 176) == 100.0, "what an earlier process had learnt"
