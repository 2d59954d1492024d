from datetime import UTC, date, datetime
from decimal import Decimal

from nautilus.clock import NS_PER_DAY, NS_PER_S
from nautilus.strategies.figures import Book, EquityPoint, RunFill, drawdowns, figures

DAY = 1_790_000_000 * NS_PER_S


def utc(at_ns: int) -> date:
    return datetime.fromtimestamp(at_ns // NS_PER_S, UTC).date()


def fill(
    n: int, side: str, quantity: str, price: str, fee: str | None = "1", *, con_id: int = 1, unit: str = "1"
) -> RunFill:
    commission = None if fee is None else Decimal(fee)
    return RunFill(f"{n:09d}", con_id, DAY + n, side, Decimal(quantity), Decimal(price), commission, Decimal(unit))


def booked(*fills: RunFill) -> Book:
    book = Book()
    for one in fills:
        book.add(one)
    return book


def points(*values: str) -> list[EquityPoint]:
    return [EquityPoint(DAY + n * NS_PER_DAY, Decimal(value)) for n, value in enumerate(values)]


def of(book: Book, curve: list[EquityPoint], capital: str = "1000"):
    return figures(book, curve, capital=Decimal(capital), trade_date=utc)


def test_what_a_fill_makes_real_and_the_position_after_it():
    book = Book()
    effects = [
        book.add(one)
        for one in (fill(1, "BUY", "100", "10"), fill(2, "SELL", "150", "11"), fill(3, "BUY", "20", "9", con_id=2))
    ]
    assert [(float(e.realized), float(e.position)) for e in effects] == [(0, 100), (100, -50), (0, 20)]
    assert (book.realized, book.commissions, book.fills) == (Decimal(100), Decimal(3), 3)


def test_a_contract_of_fifty_units_makes_fifty_times_as_much():
    book = booked(fill(1, "BUY", "2", "5000", "4.5", unit="50"), fill(2, "SELL", "2", "5002", "4.5", unit="50"))
    found = of(book, points("1191"))
    assert (found["realized_pnl"], found["commissions"], found["total_pnl"]) == ("200", "9", "191")
    assert (found["unrealized_pnl"], found["expectancy"]) == ("0", "191")


def test_wins_losses_and_rates_after_commissions():
    book = booked(
        fill(1, "BUY", "10", "10", "0"),
        fill(2, "SELL", "10", "13", "0"),
        fill(3, "SELL", "10", "13", "0"),
        fill(4, "BUY", "10", "14", "0"),
        fill(5, "BUY", "10", "10", "1"),
        fill(6, "SELL", "10", "10.1", "1"),
        fill(7, "BUY", "10", "10", "1"),
    )
    found = of(book, points("1019"))
    assert (found["total_trades"], found["winning_trades"], found["losing_trades"]) == (3, 1, 2)
    assert (found["win_rate"], found["profit_factor"]) == ("0.3333333333", "2.7272727273")


def test_without_a_trade_nothing_is_invented():
    found = of(Book(), [])
    assert found["total_trades"] == found["winning_trades"] == 0
    for name in (
        "total_pnl",
        "unrealized_pnl",
        "win_rate",
        "profit_factor",
        "max_drawdown",
        "sharpe_ratio",
        "total_return",
    ):
        assert found[name] is None, name
    assert found["realized_pnl"] == found["commissions"] == "0"


def test_a_commission_that_is_not_known_makes_the_sum_unknown():
    found = of(booked(fill(1, "BUY", "10", "10", None)), points("1000"))
    assert (found["commissions"], found["unrealized_pnl"], found["total_pnl"]) == (None, None, "0")


def test_the_deepest_fall_counts_from_the_capital():
    assert of(Book(), points("900", "1200", "600", "1300"))["max_drawdown"] == "0.5"
    assert of(Book(), points("900", "950"))["max_drawdown"] == "0.1"
    assert drawdowns(points("100", "50", "200", "-100")) == [0, Decimal("0.5"), 0, Decimal("1.5")]


def test_a_sharpe_ratio_needs_twenty_days():
    rising = [f"{1000 + n * (3 if n % 2 else 1)}" for n in range(1, 22)]
    assert of(Book(), points(*rising[:19]))["sharpe_ratio"] is None
    found = of(Book(), points(*rising))
    assert (found["trading_days"], found["total_return"]) == (21, "0.063")
    assert float(str(found["sharpe_ratio"])) > 0


def test_what_is_held_has_its_average_price():
    book = booked(
        fill(1, "BUY", "10", "10", unit="5"), fill(2, "BUY", "30", "12", unit="5"), fill(3, "SELL", "5", "9", con_id=2)
    )
    book.add(fill(4, "BUY", "5", "9", con_id=2))
    assert book.holdings() == [{"con_id": 1, "quantity": "40", "average_price": "11.5"}]
