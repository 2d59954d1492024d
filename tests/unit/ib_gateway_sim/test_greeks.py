"""Option values against numbers of the textbook and against each other."""

from dataclasses import replace

import pytest

from ib_gateway_sim.market.contracts import Contract
from ib_gateway_sim.streams import greeks


def option(right, strike=100.0):
    plain = Contract(1, "X", "OPT", "SMART", "USD", "X", "X", "us_stock", "US/Eastern", 0.01, ("TRADES",))
    return replace(plain, last_trade_date="20260320", strike=strike, right=right)


def test_at_the_money_a_year_at_twenty_percent():
    made = greeks.at_volatility(option("C"), 100.0, 1.0, 0.2)
    assert made.price == pytest.approx(7.9656, abs=1e-4)
    assert made.delta == pytest.approx(0.5398, abs=1e-4)
    assert made.gamma == pytest.approx(0.019848, abs=1e-6)
    assert made.vega == pytest.approx(0.39695, abs=1e-5)
    assert made.theta == pytest.approx(-0.010875, abs=1e-5)


@pytest.mark.parametrize("right", ["C", "P"])
@pytest.mark.parametrize("strike", [80.0, 100.0, 125.0])
def test_the_implied_volatility_leads_back(right, strike):
    price = greeks.value(option(right, strike), 100.0, 0.25, 0.35)
    assert greeks.implied(option(right, strike), 100.0, 0.25, price) == pytest.approx(0.35, abs=1e-9)


def test_puts_and_calls_are_in_parity():
    call, put = (greeks.value(option(right, 90.0), 100.0, 0.5, 0.3) for right in "CP")
    assert call - put == pytest.approx(10.0)


def test_no_volatility_explains_less_than_the_inner_value():
    assert greeks.implied(option("C", 80.0), 100.0, 0.25, 19.0) is None
    assert greeks.at_price(option("C", 80.0), 100.0, 0.25, 19.0).delta is None
