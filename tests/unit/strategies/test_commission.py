"""Commissions of IB's price list, order by order."""

from decimal import Decimal

import pytest

from nautilus.strategies.commission import Terms

FIXED = {"per_unit": "0.005", "rate": "0", "minimum": "1", "most_rate": "0.01"}
FUTURES = {"per_unit": "2.25", "rate": "0", "minimum": "0", "most_rate": None}
PAIRS = {"per_unit": "0", "rate": "0.00002", "minimum": "2", "most_rate": None}


@pytest.mark.parametrize(
    ("terms", "quantity", "value", "charged"),
    [
        (FIXED, "100", "15000", "1"),  # 0.50, but at least a dollar
        (FIXED, "1000", "25000", "5"),
        (FIXED, "10", "2", "0.02"),  # a hundredth of the value, below the minimum
        (FIXED, "1000", "-25000", "5"),
        (PAIRS, "0", "0", "0"),
        (PAIRS, "1000000", "-1100000", "22"),
        (FUTURES, "3", "600000", "6.75"),
        (PAIRS, "20000", "22000", "2"),
        (PAIRS, "1000000", "1100000", "22"),
    ],
)
def test_an_order_is_charged_by_its_terms(terms, quantity, value, charged):
    assert Terms.of(terms).charge(Decimal(quantity), Decimal(value)) == Decimal(charged)
