"""Whether the book adds up."""

from decimal import Decimal

import pytest

from nautilus.portfolio.currency import Amount, Translated, at_own_rates, at_rates, translation_gain
from nautilus.portfolio.identity import BookTotals, CashTotals, Identity, book_identity, cash_identity

D = Decimal

# Bought 10 at 100, sold 4 at 110, the price is 105: 40 realized, 30 unrealized.
BOOK = BookTotals(realized=D(40), unrealized=D(30), traded=D(1000 - 440), market_value=D(630))
CASH = CashTotals(before=D(5000), now=D("4437.50"), trades=D(-560), fees=D(2), movements=D("-0.50"))


def test_a_book_that_adds_up():
    assert book_identity(BOOK) == Identity(True, D(0), "identity: holds")


@pytest.mark.parametrize("field", ["realized", "unrealized", "traded", "market_value"])
def test_a_cent_breaks_it(field):
    found = book_identity(BOOK._replace(**{field: getattr(BOOK, field) + D("0.01")}))
    assert found.holds is False
    assert "0.01" in found.text


def test_less_than_a_cent_is_rounding_of_the_broker():
    assert cash_identity(CASH._replace(now=D("4437.5099"))).holds is True
    assert cash_identity(CASH._replace(now=D("4437.49"))).holds is False


def test_cash_that_is_explained():
    assert cash_identity(CASH).holds is True


def test_what_is_not_known_leaves_it_open():
    assert book_identity(BOOK._replace(unpriced=2)).text == "identity: open (2 adjustments)"
    assert (
        book_identity(BOOK._replace(market_value=None, unvalued=1)).text
        == "identity: open (1 position without a price)"
    )
    assert cash_identity(CASH._replace(unpriced=1)).text == "identity: open (1 adjustment)"
    assert cash_identity(CASH._replace(missing_fees=3)).text == "identity: open (3 commissions not known yet)"
    assert cash_identity(CASH._replace(before=None)).holds is None


# ---- currencies ------------------------------------------------------------------------------------------------------


def test_realized_profits_are_translated_at_the_rates_of_their_time():
    amounts = [Amount("USD", D(100)), Amount("EUR", D(50), D("1.10")), Amount("EUR", D(10), D("1.20"))]
    assert at_own_rates(amounts, "USD") == Translated(D(167))


def test_a_rate_that_is_missing_is_named_and_never_one():
    assert at_own_rates([Amount("EUR", D(50))], "USD") == Translated(None, ("EUR",))
    assert at_rates([Amount("EUR", D(5)), Amount("CHF", D(5))], {"EUR": D(1)}, "USD") == Translated(None, ("CHF",))
    assert at_rates([Amount("CHF", D(0))], {}, "USD") == Translated(D(0))


def test_balances_gain_by_rates_alone():
    gain = translation_gain({"USD": D(1000), "EUR": D(200)}, {"EUR": D("1.10")}, {"EUR": D("1.05")}, "USD")
    assert gain == Translated(D(-10))
