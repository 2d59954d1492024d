from decimal import Decimal

import pytest

from nautilus.errors import InvalidInput
from nautilus.strategies.commission import Terms
from nautilus.strategies.instruments import digits_of, missing_prices
from nautilus.strategies.tariffs import commission_of, notes
from tests.support.stored_bars import stock


def test_a_pair_needs_both_sides_and_a_stock_its_trades():
    assert missing_prices("STK", ["TRADES", "BID"]) == []
    assert missing_prices("CASH", ["MIDPOINT"]) == ["ASK", "BID"]
    assert missing_prices("CASH", ["BID"]) == ["ASK"]
    with pytest.raises(InvalidInput, match="cannot trade IND"):
        missing_prices("IND", ["TRADES"])


@pytest.mark.parametrize(
    ("tick", "in_bars", "digits"),
    [(0.01, 0, 2), (0.01, 4, 4), (0.00005, 5, 5), (0.00005, 6, 6), (0.25, 12, 9), (1.0, 0, 0)],
)
def test_prices_have_the_digits_of_the_tick_or_of_the_bars(tick, in_bars, digits):
    assert digits_of(tick, in_bars) == digits


def test_a_hundred_us_shares_cost_the_minimum_and_a_thousand_half_a_cent_each():
    terms = Terms.of(commission_of(stock())._asdict())
    assert terms.charge(Decimal(100), Decimal(30_000)) == 1
    assert terms.charge(Decimal(1_000), Decimal(300_000)) == 5
    assert terms.charge(Decimal(10), Decimal(50)) == Decimal("0.5"), "at most one percent"


def test_a_pair_against_dollars_costs_two_dollars_at_least():
    pair = stock()._replace(asset_class="CASH", symbol="EUR", currency="USD")
    assert Terms.of(commission_of(pair)._asdict()).charge(Decimal(20_000), Decimal(22_000)) == 2
    assert notes(pair) == []


def test_another_currency_has_no_minimum_and_the_notes_say_so():
    pair = stock()._replace(asset_class="CASH", symbol="USD", currency="JPY", instrument_id="USD/JPY.IDEALPRO")
    assert commission_of(pair).minimum == "0"
    assert notes(pair) == ["USD/JPY.IDEALPRO: the least commission of an order, in US dollars, was not charged"]
