"""IB's words into ours: dates, volumes, and what is not there."""

from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ib_bridge.history.volume_units import compared
from ib_bridge.ib import translate
from nautilus.market.timeframes import timeframe
from tests.support.markets import label, ns
from tests.support.stored_bars import stock

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
    ("price", "found", "stored"),
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
def test_what_ib_does_not_know_is_nothing_and_never_minus_one(price, found, stored):
    (bar,) = translate.bars([row(datetime(2024, 3, 5, 14, 30, tzinfo=UTC), *found)], timeframe("1m"), price)
    assert (bar.volume, bar.vwap, bar.trades) == stored


def test_bars_come_sorted_and_once():
    rows = [row(datetime(2024, 3, 5, 14, minute, tzinfo=UTC), volume) for minute, volume in ((31, 1), (30, 2), (31, 3))]
    found = translate.bars(rows, timeframe("1m"), "TRADES")
    assert [(bar.ts, bar.volume) for bar in found] == [(ns("2024-03-05 14:30"), 2.0), (ns("2024-03-05 14:31"), 3.0)]


# ---- shares and lots -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unit", "found", "stored"),
    [
        ("shares", 0.22, 0.22),
        ("shares", 948837.22, 948837.22),
        ("unknown", 948837.22, 948837.22),
        ("lots", 948837.22, 94883722.0),
        ("lots", 0.07, 7.0),
        ("lots", 1.1, 110.0),
    ],
)
def test_volumes_become_shares_with_the_digits_they_came_in(unit, found, stored):
    rows = [row(datetime(2024, 3, 5, 14, 30, tzinfo=UTC), found)]
    (bar,) = translate.bars(rows, timeframe("1m"), "TRADES", volume_unit=unit)
    assert bar.volume == stored


def days(*volumes: float) -> list[Any]:
    return [row(date(2024, 3, day), volume) for day, volume in enumerate(volumes, 4)]


@pytest.mark.parametrize(
    ("modern", "in_lots", "unit"),
    [
        (days(51_234_567, 60_000_012), days(512_345, 600_000), "shares"),
        (days(512_345, 600_000), days(512_345, 600_000), "lots"),
        (days(512_345.67, 600_000.12), days(512_345, 600_000), "lots"),
        # History is adjusted now and then, between the two answers too.
        (days(51_000_000, 60_000_000), days(512_345, 600_000), "shares"),
        # Two days in common decide; the others do not count.
        (days(51_234_567, 60_000_012), days(512_345), "shares"),
        # What cannot be otherwise is neither of these.
        (days(0.4, 3.7, 2.2), days(), "unknown"),
        (days(99, 250), days(0, 2), "unknown"),
        (days(5_123_456, 6_000_001), days(512_345, 600_000), "unknown"),
        ([], days(512_345), "unknown"),
        (days(-1, -1), days(-1, -1), "unknown"),
    ],
)
def test_the_same_days_in_lots_decide_the_unit_and_fractions_do_not(modern, in_lots, unit):
    assert compared(modern, in_lots) == unit


@pytest.mark.parametrize(
    ("exchanges", "kept"),
    [
        (["CME", "QBALGO"], "CME"),
        (["QBALGO", "CME"], "CME"),
        (["SMART", "NYMEX", "QBALGO"], "NYMEX"),
        (["QBALGOIEU", "ICEEU"], "ICEEU"),
        (["SMART"], "SMART"),
        (["CME"], "CME"),
    ],
)
def test_a_contract_that_comes_once_per_exchange_is_the_one_where_it_is_listed(exchanges, kept):
    rows: list[Any] = [(stock(7)._replace(exchange=name), {"n": n}) for n, name in enumerate(exchanges)]
    other: tuple[Any, dict[str, Any]] = (stock(8)._replace(exchange="EUREX"), {})
    found = translate.listed_once([*rows, other])
    assert [(one.con_id, one.exchange) for one, _ in found] == [(7, kept), (8, "EUREX")]
    assert found[0][1] == {"n": exchanges.index(kept)}


# ---- price steps -----------------------------------------------------------------------------------------------------


def described(exchange: str = "SMART", exchanges: str = "SMART,NYSE,CME", rules: str = "26,32,67", **more: Any) -> Any:
    contract = SimpleNamespace(exchange=exchange)
    return SimpleNamespace(contract=contract, validExchanges=exchanges, marketRuleIds=rules, **more)


@pytest.mark.parametrize(
    ("details", "number"),
    [
        (described(), 26),
        (described("CME"), 67),
        (described("ELSEWHERE"), 26),
        (described(rules="26,32"), None),
        (described(exchanges="", rules=""), None),
        (described(rules="26,,67"), None),
        (described(rules="26,-1,67"), None),
    ],
)
def test_the_market_rule_is_the_one_of_the_exchange_where_orders_go(details: Any, number: int | None) -> None:
    assert translate.market_rule(details) == number


def test_price_steps_are_texts_without_exponents() -> None:
    rule = [
        SimpleNamespace(lowEdge=0.0, increment=0.00005),
        SimpleNamespace(lowEdge=3.0, increment=1e-8),
        SimpleNamespace(lowEdge=5.0, increment=0.0),
        SimpleNamespace(lowEdge=float("nan"), increment=1.0),
    ]
    assert translate.price_steps(rule) == [["0", "0.00005"], ["3", "0.00000001"]]


@pytest.mark.parametrize(
    ("size", "text"),
    [(0.0, None), (100.0, "100"), (0.0001, "0.0001"), (1.7976931348623157e308, None), (2**127 - 1, None), ("", None)],
)
def test_a_size_that_ib_did_not_tell_is_none(size: Any, text: str | None) -> None:
    assert translate._size(size) == text
