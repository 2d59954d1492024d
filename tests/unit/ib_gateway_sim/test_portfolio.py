"""The account's books: average cost, realized profit, cash, margin."""

import pytest

from ib_gateway_sim.account.portfolio import START_CASH, Portfolio, commission
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
    assert book.fill(stock, 100, 10.0, 1.0, 1.0) is None
    assert book.fill(stock, 100, 12.0, 1.0, 1.0) is None
    position = book.positions[1]
    assert position.average_cost == pytest.approx(11.01)
    assert book.cash == START_CASH - 2202
    assert book.fill(stock, -50, 13.0, 1.0, 1.0) == pytest.approx(50 * (13 - 11.01) - 1)
    assert position.quantity == 150
    assert position.average_cost == pytest.approx(11.01)
    totals = book.totals(lambda _: 13.0, lambda _: 1.0)
    assert totals.net == pytest.approx(START_CASH + 100 * 3 + 100 * 1 - 3)
    assert totals.margin == pytest.approx(150 * 13 / 2)


def test_a_sale_through_zero_opens_the_other_side_at_its_price():
    book, stock = Portfolio(), contract()
    book.fill(stock, 100, 10.0, 0.0, 1.0)
    assert book.fill(stock, -150, 11.0, 0.0, 1.0) == pytest.approx(100)
    position = book.positions[1]
    assert (position.quantity, position.average_cost) == (-50, 11.0)
    assert position.unrealized(10.0) == pytest.approx(50)
    assert book.fill(stock, 50, 10.0, 0.0, 1.0) == pytest.approx(50)
    assert book.open_positions() == []
    assert book.cash == pytest.approx(START_CASH + 150)


def test_a_future_moves_cash_by_realized_profit_only():
    book, future = Portfolio(), contract("FUT", "50")
    book.fill(future, 2, 5000.0, 4.5, 1.0)
    assert book.cash == START_CASH
    assert book.positions[1].average_cost == pytest.approx(250_002.25)
    assert book.totals(lambda _: 5010.0, lambda _: 1.0).net == pytest.approx(START_CASH + 1000 - 4.5)
    assert book.fill(future, -2, 5010.0, 4.5, 1.0) == pytest.approx(1000 - 9)
    assert book.cash == pytest.approx(START_CASH + 1000 - 9)


@pytest.mark.parametrize(
    ("sec_type", "quantity", "price", "fee"),
    [("STK", 100, 10, 1.0), ("STK", 1000, 10, 5.0), ("FUT", 2, 5000, 4.5), ("CASH", 1_000_000, 1.1, 22.0)],
)
def test_commissions(sec_type, quantity, price, fee):
    assert commission(contract(sec_type), quantity, price) == fee
