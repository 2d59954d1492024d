"""Steps of prices and quantities, in Decimal."""

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nautilus.orders.prices import MarketRule, PriceStep, rounded, rule_of
from nautilus.orders.ticket import OrderType, Prices, Side
from tests.unit.orders.cases import CENT, FUTURE, stock

D = Decimal
NICKEL = MarketRule((PriceStep(D(0), D("0.01")), PriceStep(D(3), D("0.05"))), D(1), D(1), True)


@pytest.mark.parametrize(
    ("price", "taken"),
    [("2.99", True), ("3.00", True), ("3.01", False), ("3.05", True), ("2.995", False), ("-2.99", True), ("0", True)],
)
def test_a_price_is_a_multiple_of_the_step_that_counts_there(price, taken):
    assert NICKEL.takes(D(price)) is taken


@pytest.mark.parametrize(
    ("price", "low", "high"),
    [("3.01", "3", "3.05"), ("2.995", "2.99", "3"), ("2.999", "2.99", "3"), ("-0.005", "-0.01", "0"), ("7", "7", "7")],
)
def test_the_prices_beside_one_that_is_refused_are_taken(price, low, high):
    assert NICKEL.beside(D(price)) == (D(low), D(high))


@given(st.decimals("0", "1000", places=4))
def test_rounding_ends_on_a_step_next_to_the_price(price):
    low, high = NICKEL.beside(price)
    assert NICKEL.takes(low)
    assert NICKEL.takes(high)
    assert low <= price <= high
    assert high - low <= D("0.05")
    assert (low == high) is NICKEL.takes(price)


def test_decimal_steps_are_exact_where_floats_are_not():
    fine = MarketRule((PriceStep(D(0), D("0.00005")),), D(1), D(1), True)
    assert fine.takes(D("1.10035"))
    assert 1.10035 % 0.00005 != 0


@pytest.mark.parametrize(
    ("side", "order_type", "limit", "stop"),
    [
        (Side.BUY, OrderType.LMT, "10.02", None),
        (Side.SELL, OrderType.LMT, "10.03", None),
        (Side.BUY, OrderType.STP_LMT, "10.02", "10.03"),
        (Side.SELL, OrderType.STP_LMT, "10.03", "10.02"),
        (Side.BUY, OrderType.MIT, None, "10.02"),
        (Side.SELL, OrderType.LIT, "10.03", "10.03"),
    ],
)
def test_rounding_is_never_to_the_callers_harm(side, order_type, limit, stop):
    given_price = D("10.025")
    wanted = Prices(limit=given_price if limit else None, stop=given_price if stop else None)
    found = rounded(wanted, CENT, side=side, order_type=order_type)
    assert found == Prices(D(limit) if limit else None, D(stop) if stop else None)


def test_a_trail_is_rounded_away_from_the_market_and_a_percentage_stays():
    found = rounded(Prices(trail_amount=D("0.501")), CENT, side=Side.SELL, order_type=OrderType.TRAIL)
    assert found.trail_amount == D("0.51")
    found = rounded(Prices(trail_percent=D("0.501")), CENT, side=Side.SELL, order_type=OrderType.TRAIL)
    assert found == Prices(trail_percent=D("0.501"))


STEPS = {"market_rule": 110, "steps": [["0", "0.01"], ["3", "0.05"]]}


def test_a_rule_that_ib_told_counts():
    rule = rule_of(stock(), {"market_rule": 110, "price_steps": STEPS})
    assert rule == NICKEL


@pytest.mark.parametrize(
    "details",
    [
        {},
        {"market_rule": 26, "price_steps": STEPS},
        {"market_rule": 110, "price_steps": {"market_rule": 110, "steps": "nonsense"}},
        {"market_rule": 110, "price_steps": {"market_rule": 110, "steps": [["0", "0"]]}},
        {"market_rule": 110, "price_steps": {"market_rule": 110, "steps": [["0", 0.01]]}},
        {"market_rule": 110, "price_steps": {"market_rule": 110, "steps": [["0", "NaN"]]}},
        {"market_rule": 110, "price_steps": {"market_rule": 110, "steps": []}},
    ],
)
def test_without_a_rule_that_makes_sense_the_smallest_increment_stands_in(details):
    rule = rule_of(stock(min_tick=0.005), details)
    assert rule.steps == (PriceStep(D(0), D("0.005")),)
    assert not rule.known


@pytest.mark.parametrize(
    ("instrument", "details", "step", "least"),
    [
        (stock(), {"size_increment": "0.0001", "min_size": "0.0001"}, "1", "1"),
        (FUTURE, {}, "1", "1"),
        (stock(asset_class="CRYPTO"), {}, "0.00000001", "0.00000001"),
        (stock(asset_class="CRYPTO"), {"size_increment": "0.0001", "min_size": "0.001"}, "0.0001", "0.001"),
        (stock(asset_class="CASH"), {"size_increment": "0.01", "min_size": "1"}, "0.01", "1"),
        (stock(asset_class="CASH"), {}, "1", "1"),
        (stock(), {"min_size": "100"}, "1", "100"),
    ],
)
def test_quantities_have_steps_too(instrument, details, step, least):
    rule = rule_of(instrument, details)
    assert (rule.size_step, rule.min_size) == (D(step), D(least))
    assert rule.takes_size(D(least))
    assert not rule.takes_size(D(least) + D(step) / 2)
    assert not rule.takes_size(D(least) - D(step))


def test_rounding_the_wrong_way_would_be_seen():
    """The two ways of rounding differ, so the table above can fail."""
    assert CENT.toward(D("10.025"), ROUND_FLOOR) != CENT.toward(D("10.025"), ROUND_CEILING)
