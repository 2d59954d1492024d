"""The account's books: average cost, realized profit, cash, margin."""

import pytest

from ib_gateway_sim.account.commissions import fill_commission, order_commission
from ib_gateway_sim.account.portfolio import START_CASH, Portfolio
from ib_gateway_sim.market.contracts import Contract


def contract(sec_type="STK", multiplier="", con_id=1):
    return Contract(
        con_id,
        "X",
        sec_type,
        "SMART",
        "USD",
        "X",
        "X",
        "us_stock",
        "US/Eastern",
        0.01,
        ("TRADES",),
        multiplier=multiplier,
    )


def test_a_stock_bought_twice_and_sold_in_part():
    book, stock = Portfolio(), contract()
    assert book.fill(stock, 100, 10.0, 1.0) is None
    assert book.fill(stock, 100, 12.0, 1.0) is None
    position = book.positions[1]
    assert position.average_cost == pytest.approx(11.01)
    assert book.cash == START_CASH - 2202
    assert book.fill(stock, -50, 13.0, 1.0) == pytest.approx(50 * (13 - 11.01) - 1)
    assert position.quantity == 150
    assert position.average_cost == pytest.approx(11.01)
    totals = book.totals(lambda _: 13.0, lambda _: 1.0)
    assert totals.net == pytest.approx(START_CASH + 100 * 3 + 100 * 1 - 3)
    assert totals.margin == pytest.approx(150 * 13 / 2)


def test_a_sale_through_zero_opens_the_other_side_at_its_price():
    book, stock = Portfolio(), contract()
    book.fill(stock, 100, 10.0, 0.0)
    assert book.fill(stock, -150, 11.0, 0.0) == pytest.approx(100)
    position = book.positions[1]
    assert (position.quantity, position.average_cost) == (-50, 11.0)
    assert position.unrealized(10.0) == pytest.approx(50)
    assert book.fill(stock, 50, 10.0, 0.0) == pytest.approx(50)
    assert book.open_positions() == []
    assert book.cash == pytest.approx(START_CASH + 150)


def test_a_future_moves_cash_by_realized_profit_only():
    book, future = Portfolio(), contract("FUT", "50")
    book.fill(future, 2, 5000.0, 4.5)
    assert book.cash == START_CASH
    assert book.positions[1].average_cost == pytest.approx(250_002.25)
    assert book.totals(lambda _: 5010.0, lambda _: 1.0).net == pytest.approx(START_CASH + 1000 - 4.5)
    assert book.fill(future, -2, 5010.0, 4.5) == pytest.approx(1000 - 9)
    assert book.cash == pytest.approx(START_CASH + 1000 - 9)


# Each with the arithmetic of IB's schedule in the test's own numbers.
@pytest.mark.parametrize(
    ("sec_type", "quantity", "price", "fee"),
    [
        ("STK", 100, 10, 1.0),  # 0.50 is below the minimum
        ("STK", 1000, 10, 5.0),
        ("STK", 1000, 0.25, 2.5),  # 1 % of 250
        ("STK", 10, 0.2, 0.02),  # the cap goes before the minimum
        ("FUT", 2, 5000, 4.5),
        ("OPT", 1, 2.0, 1.0),
        ("OPT", 10, 2.0, 6.5),
        ("OPT", 10, 0.07, 5.0),
        ("OPT", 10, 0.02, 2.5),
        ("CASH", 1_000_000, 1.1, 22.0),
        ("CASH", 20_000, 1.1, 2.0),
        ("CRYPTO", 1, 60_000, 108.0),
        ("CRYPTO", 0.01, 60_000, 1.75),
    ],
)
def test_commissions(sec_type, quantity, price, fee):
    assert order_commission(contract(sec_type), quantity, price) == fee


def test_the_minimum_is_for_the_order_and_not_for_each_part():
    stock = contract()
    parts = [fill_commission(stock, (filled, 20.0), 100, 20.0) for filled in (0, 100, 200, 300)]
    assert parts == [1.0, 0.0, 0.5, 0.5]
    assert sum(parts) == order_commission(stock, 400, 20.0)


def test_a_minimum_in_dollars_is_more_in_a_cheaper_currency():
    assert order_commission(contract("CASH"), 10_000, 150.0, dollars=1 / 150) == pytest.approx(300)


# ---- currencies, and bookings that change ----------------------------------------------------------------------------
EURUSD = Contract(5, "EUR", "CASH", "IDEALPRO", "USD", "EUR.USD", "EUR.USD", "fx", "US/Eastern", 0.00005, ("MIDPOINT",))


def dollars(currency):
    return {"USD": 1.0, "EUR": 1.2}[currency]


def test_a_currency_bought_is_cash_in_it_and_the_worth_of_the_account_stays():
    book = Portfolio()
    book.fill(EURUSD, 20_000, 1.2, 2.0)
    assert book.ledgers == {"USD": START_CASH - 24_002, "EUR": 20_000}
    assert book.currencies() == ["USD", "EUR"]
    totals = book.totals(lambda _: 1.2, dollars)
    assert totals.net == pytest.approx(START_CASH - 2)
    assert totals.cash == pytest.approx(START_CASH - 2)
    assert book.positions[5].quantity == 20_000


def test_money_paid_in_is_in_its_own_currency():
    book = Portfolio()
    book.pay("EUR", 1000)
    book.pay("USD", -500)
    assert book.ledgers == {"USD": START_CASH - 500, "EUR": 1000}
    assert book.totals(lambda _: 1.0, dollars).net == pytest.approx(START_CASH - 500 + 1200)


def test_a_corrected_fill_counts_as_if_it_had_been_so():
    book, other, stock = Portfolio(), Portfolio(), contract()
    book.fill(stock, 100, 10.0, 1.0, "a")
    book.fill(stock, 50, 12.0, 1.0, "b")
    book.fill(stock, -60, 13.0, 1.0, "c")
    book.correct("a", 80, 10.5, 1.2)
    other.fill(stock, 80, 10.5, 1.2, "a")
    other.fill(stock, 50, 12.0, 1.0, "b")
    other.fill(stock, -60, 13.0, 1.0, "c")
    assert book == other
    book.correct("a", 0, 10.5, 0.0)
    assert book.positions[1].quantity == -10


def test_a_split_leaves_what_a_position_cost():
    book, stock = Portfolio(), contract()
    book.fill(stock, 100, 10.0, 0.0)
    book.split(stock, 4)
    assert (book.positions[1].quantity, book.positions[1].average_cost) == (400, 2.5)
    assert book.cash == START_CASH - 1000


def test_the_profit_of_a_day_is_from_the_close_before_and_from_the_price_of_what_was_traded():
    book, stock = Portfolio(), contract()
    book.fill(stock, 100, 10.0, 1.0, at_s=50)
    book.fill(stock, 20, 12.0, 0.5, at_s=150)
    assert book.daily(stock, 100, close=11.0, mark=13.0) == pytest.approx(100 * 2 + 20 * 1 - 0.5)
    assert book.daily(stock, 0, close=11.0, mark=13.0) == pytest.approx(100 * 3 + 20 * 1 - 1.5)
