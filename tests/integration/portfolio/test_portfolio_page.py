"""The examples of docs/portfolio.md, played as they stand there: what a reader finds on the page is what rows and routes say."""

import re
import time
from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import functions.frontend.app
from nautilus.clock import parse_rfc3339
from nautilus.db.orders import account_state, positions, risk_book
from nautilus.db.portfolio import equity
from nautilus.db.portfolio.equity import EquityRow
from nautilus.orders.words import AccountValue, Position
from nautilus.portfolio import risk_figures
from nautilus.portfolio.importing import ImportDesk
from nautilus.portfolio.trade_dates import span_of
from tests.integration.portfolio.test_superseding import late, missed, parts, position
from tests.support.imports import bought, imported, report
from tests.support.order_ledger import ACCOUNT, NOW
from tests.support.portfolio_api import CASH, Portfolio, portfolio

PAGE = (Path(__file__).parents[3] / "docs" / "portfolio.md").read_text()
MINUTE = 60_000_000_000
D = Decimal


@pytest.fixture
def books(dsn: str, tmp_path: Path) -> Iterator[Portfolio]:
    with portfolio(dsn, tmp_path) as made:
        yield made


def read(page: str, pattern: str) -> list[str]:
    """The figures of an example; commas of thousands are left out."""
    found = re.search(pattern, page)
    assert found is not None, f"the page has no such example: {pattern}"
    return [text.replace(",", "") for text in found.groups()]


def filled(books: Portfolio, *trades: tuple[str, str], fee: str = "1", con_id: int = 1, first: int = 1) -> None:
    """Signed quantity and price, a minute apart, half an hour ago."""
    for n, (quantity, price) in enumerate(trades):
        books.fill(first + n, int(quantity), price, at=NOW - (30 - n) * MINUTE, fee=fee, con_id=con_id)


LOTS = r"Example: bought (\d+) at (\d+), bought (\d+) at (\d+), sold (\d+) at (\d+)\."
VALUE = r"Example: (\d+) with a cost of (\d+), last price (\d+): value (\d+), unrealized (\d+)"
EVENING = r"Example: values of ([\d,]+) at ([\d:]+) and of ([\d,]+) at ([\d:]+)\. The day is worth ([\d,]+);"
DAYS = (
    r"Example: the account was worth ([\d,]+) on Friday at ([\d:]+), got a deposit of ([\d,]+), and is worth ([\d,]+) now\."
    r" The trade date made ([\d,]+) - ([\d,]+) - ([\d,]+) = (\d+), while IB's day may say (-[\d,]+)\."
)
TRIPS = (
    r"Example: (\d+) bought at (\d+) and sold at (\d+) with commissions of (\d+) each: (\d+)\."
    r" (\d+) sold at (\d+) and bought at (\d+): (-\d+)\. Win rate ([\d.]+), expectancy .*? = (\d+), profit factor (\d+) / (\d+)\."
)
RETURNS = (
    r"Example: ([\d,]+), ([\d,]+), then a deposit of ([\d,]+) and ([\d,]+), then ([\d,]+): returns (\S+) %, (\S+) %, (\S+) %;"
    r" together .*? = (\S+) %; the drawdown is (\d+) %\."
)
FILE = (
    r"Example: the account was opened with (\d+) shares\. A file has a purchase of (\d+) from the day before\."
    r" Afterwards the opening is (\d+), the purchase is stored, and the account still holds (\d+)\."
)
EXPOSED = (
    r"Example: (\d+) at (\d+) are an exposure of (\d+)\. With (\d+) short of something else the exposure is ([\d,]+),"
    r" the net exposure (\d+), the largest position (\d+) %, and the Herfindahl index .*? = ([\d.]+)\."
)
LOSS = (
    r"Example: of (\d+) daily returns the two worst are (\S+) % and (\S+) %\..*? = (\S+) %\. With an equity of ([\d,]+) the"
    r" value at risk \(95 %\) is (\d+)\. .*? here of the worst alone, (\d+)\."
)


def traded_as_the_page_says(books: Portfolio, page: str) -> None:
    one, at_one, two, at_two, sold, at_sold = read(page, LOTS)
    _, fee, _, _, _ = read(page, r"gross (\d+); commissions of (\d+) each: fees ([\d. +]+) = ([\d.]+); net ([\d.]+)")
    filled(books, (one, at_one), (two, at_two), (f"-{sold}", at_sold), fee=fee)
    books.quote(last=float(read(page, VALUE)[2]))


def lots(books: Portfolio, page: str) -> None:
    traded_as_the_page_says(books, page)
    stored = books.stored.rows("SELECT quantity, cost, proceeds FROM lot_matches ORDER BY seq")
    rows = re.findall(r"^\| of the \w+ purchase \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", page, re.MULTILINE)
    assert [(row.quantity, row.cost, row.proceeds, row.proceeds - row.cost) for row in stored] == [
        tuple(map(D, row)) for row in rows
    ]
    left, price, cost = read(page, r"One lot is left: (\d+) at (\d+), cost (\d+)\.")
    (held,) = books.get("/positions")["positions"]
    assert (held["quantity"], held["average_price"], held["cost"], held["lots"]) == (left, price, cost, 1)


def value(books: Portfolio, page: str) -> None:
    traded_as_the_page_says(books, page)
    quantity, cost, last, worth, gain = read(page, VALUE)
    (held,) = books.get("/positions")["positions"]
    assert [held["quantity"], held["cost"], held["mark"]["price"]] == [quantity, cost, last]
    assert [held["market_value"], held["unrealized"]] == [worth, gain]


def profit(books: Portfolio, page: str) -> None:
    traded_as_the_page_says(books, page)
    gross, _, parts, fees, net = read(
        page, r"gross (\d+); commissions of (\d+) each: fees ([\d. +]+) = ([\d.]+); net ([\d.]+)"
    )
    (found,) = books.get("/pnl")["fifo"]
    assert [D(found[name]) for name in ("gross", "fees", "net")] == [D(gross), D(fees), D(net)]
    assert sum(map(D, parts.split(" + "))) == D(fees)
    (unrealized,) = read(page, r"what open lots would make at their marks \| (\d+) \|")
    assert books.get("/pnl")["unrealized"][0]["amount"] == unrealized


def identities(books: Portfolio, page: str) -> None:
    traded_as_the_page_says(books, page)
    realized, open_, worth, one, two, back = read(
        page, r"In the example (\d+) \+ (\d+) = (\d+) - \((\d+) \+ (\d+) - (\d+)\)\."
    )
    first, trades, fees, now = read(
        page, r"With ([\d,]+) first, trades of (-\d+) and fees of (\d+) IB must have ([\d,]+)\."
    )
    books.values(at=NOW, CashBalance=now)
    (found,) = books.get("/performance", account=ACCOUNT)["identities"]
    book, cash = found["book"], found["cash"]
    assert [book["realized"], book["unrealized"], book["market_value"]] == [realized, open_, worth]
    assert D(book["traded"]) == D(one) + D(two) - D(back)
    assert (D(first), cash["trades"], cash["fees"], cash["now"]) == (CASH, trades, fees, now)
    assert (book["holds"], cash["holds"]) == (True, True)


def evening(books: Portfolio, page: str) -> None:
    first, at, later, after, worth = read(page, EVENING)
    day = date(2024, 1, 5)
    with books.db.transaction() as cursor:
        for value_, clock in ((first, at), (later, after)):
            ns = parse_rfc3339(f"2024-01-05T{clock}-05:00")
            account_state.put_values(cursor, [AccountValue(ACCOUNT, "NetLiquidation", "USD", value_)], ns)
            equity.put_minutes(cursor, [ACCOUNT], ns + MINUTE, {})
        assert equity.end_day(cursor, [ACCOUNT], day, span_of(day)) == []
        (row,) = equity.days(cursor, [ACCOUNT])
    assert row.net_liquidation == D(worth)


def two_days(books: Portfolio, page: str) -> None:
    worth, at, deposit, now, *parts, made_, by_ib = read(page, DAYS)
    assert parts == [now, worth, deposit]
    end = parse_rfc3339(f"2024-01-05T{at}:00-05:00")
    assert span_of(date(2024, 1, 5))[1] == end
    with books.db.transaction() as cursor:
        equity.put_day(cursor, EquityRow(ACCOUNT, date(2024, 1, 5), D(worth), "USD", "broker", end))
    books.values(at=NOW, NetLiquidation=now)
    books.values(currency="BASE", DailyPnL=by_ib)
    given: dict[str, Any] = {"account": ACCOUNT, "currency": "USD", "amount": deposit, "kind": "deposit"}
    given["at"] = "2024-01-08T12:00:00Z"
    assert books.post("/cash", **given).status_code == 201
    found = books.get("/pnl")
    assert (found["trade_dates"][0]["profit"], found["broker"][0]["daily"]) == (made_, by_ib)


def trips(books: Portfolio, page: str) -> None:
    one, bought_at, sold_at, fee, won, two, short_at, back_at, lost, rate, expected, factor, by = read(page, TRIPS)
    filled(books, (one, bought_at), (f"-{one}", sold_at), (f"-{two}", short_at), (two, back_at), fee=fee)
    found = books.get("/round-trips")
    assert [one["net"] for one in found["round_trips"]] == [won, lost]
    (counts,) = found["statistics"]
    assert (counts["win_rate"], counts["expectancy"]) == (rate, expected)
    assert D(counts["profit_factor"]) == round(D(factor) / D(by), 6)


def returned(books: Portfolio, page: str) -> None:
    one, two, deposit, three, four, *shares, whole, fall = read(page, RETURNS)
    with books.db.transaction() as cursor:
        for n, worth in enumerate((one, two, three, four), start=2):
            equity.put_day(cursor, EquityRow(ACCOUNT, date(2024, 1, n), D(worth), "USD", "broker", NOW))
    given: dict[str, Any] = {"account": ACCOUNT, "currency": "USD", "amount": deposit, "kind": "deposit"}
    given["at"] = "2024-01-04T12:00:00Z"
    assert books.post("/cash", **given).status_code == 201
    found = books.get("/performance", account=ACCOUNT)
    assert [D(day["return"]) * 100 for day in found["equity_days"][1:]] == [D(share) for share in shares]
    assert D(found["returns"]["total"]) * 100 == D(whole)
    assert D(found["returns"]["drawdown"]["share"]) * 100 == D(fall)


def file(books: Portfolio, page: str) -> None:
    held, purchase, opening, still = read(page, FILE)
    with books.db.transaction() as cursor:
        cursor.execute("UPDATE accounts SET opened_at = NULL WHERE account = %s", (ACCOUNT,))
        risk_book.lock_account(cursor, ACCOUNT)
        positions.put_all_broker(cursor, ACCOUNT, [Position(ACCOUNT, 1, D(held), D(50))], NOW)
        positions.open_account(cursor, ACCOUNT, NOW)
    imported(ImportDesk(books.db), report([bought(1, int(purchase), seconds=-24 * 3600)]))
    (row,) = books.stored.rows("SELECT quantity FROM position_openings WHERE con_id = 1")
    assert row.quantity == D(opening)
    assert [one["quantity"] for one in books.get("/positions")["positions"]] == [still]
    assert [one["quantity"] for one in books.get("/executions")["executions"]] == [purchase]


def exposed(books: Portfolio, page: str) -> None:
    quantity, price, worth, short, whole, net, largest, herfindahl = read(page, EXPOSED)
    pages = books.stored.api(books.folder, router=functions.frontend.app.router)
    filled(books, (quantity, price))
    books.quote(last=float(price))
    route = "/api/v1/risk/exposure/default"
    assert D(pages.get(route, headers=books.reader).json()["total_exposure"]) == D(worth)
    filled(books, (f"-{short}", "1"), con_id=3, first=9)
    books.quote(con_id=3, last=1.0)
    found = pages.get(route, headers=books.reader).json()
    assert (D(found["total_exposure"]), D(found["net_exposure"])) == (D(whole), D(net))
    concentration = found["concentration"]
    assert (concentration["largest_percentage"], concentration["herfindahl"]) == (float(largest), float(herfindahl))


def loss(_: Portfolio, page: str) -> None:
    count, worst, second, at, worth, risk, shortfall = read(page, LOSS)
    days = [D(worst) / 100, D(second) / 100, *[D("0.01")] * (int(count) - 2)]
    share = risk_figures.value_at_risk(days, D("0.05"))
    mean = risk_figures.expected_shortfall(days, D("0.05"))
    assert share is not None
    assert mean is not None
    assert (-share * 100, share * D(worth), mean * D(worth)) == (D(at), D(risk), D(shortfall))


MISSED = (
    r"Example: (\d+) that were bought at night are booked at (\d+) with a commission of (\d+)\."
    r" A file has (\d+) of them at (\d+), for (\d+)\. The position stays; (\d+) are left of the adjustment, with a commission"
    r" of ([\d.]+); cash has ([\d,]+) and ([\d.]+) less\. A second file has the last (\d+) at (\d+), for ([\d.]+):"
    r" nothing is left, and cash has ([\d,]+) and ([\d.]+) less\."
)


def explained(books: Portfolio, page: str) -> None:
    night, price, fee, *files = read(page, MISSED)
    first, at, cost, left, share, paid, fees, second, last_at, last_cost, all_paid, all_fees = files
    number, desk = missed(books, int(night), price=price, commission=fee), ImportDesk(books.db)
    books.quote(last=130.0)
    imported(desk, report([late(1, int(first), tradePrice=at, ibCommission=f"-{cost}")]))
    assert parts(books, number)[2] == left
    assert D(parts(books, number)[3] or 0) == D(share)
    cash_is(books, CASH - D(paid) - D(fees), int(night))
    imported(desk, report([late(2, int(second), tradePrice=last_at, ibCommission=f"-{last_cost}")]))
    assert parts(books, number)[2] == "0"
    cash_is(books, CASH - D(all_paid) - D(all_fees), int(night))


def cash_is(books: Portfolio, amount: Decimal, held: int) -> None:
    """Our book comes to this cash, if IB's identity holds with it. A person has booked after NOW, when the test runs."""
    books.values(at=time.time_ns(), CashBalance=str(amount))
    (found,) = books.get("/performance", account=ACCOUNT)["identities"]
    assert found["cash"]["identity"] == "identity: holds"
    assert position(books) == held


PLAYED: dict[str, tuple[str, Callable[[Portfolio, str], None]]] = {
    "lots": (LOTS, lots),
    "value": (VALUE, value),
    "profit": (r"example above", profit),
    "identities": (r"In the example", identities),
    "evening": (EVENING, evening),
    "two days": (DAYS, two_days),
    "round trips": (TRIPS, trips),
    "returns": (RETURNS, returned),
    "a file": (FILE, file),
    "exposure": (EXPOSED, exposed),
    "losses": (LOSS, loss),
    "missed fills": (MISSED, explained),
}


@pytest.mark.parametrize("name", PLAYED)
def test_an_example_of_the_page_is_what_rows_and_routes_say(books: Portfolio, name: str) -> None:
    PLAYED[name][1](books, PAGE)


def test_every_example_of_the_page_is_played() -> None:
    covered = [match.span() for pattern, _ in PLAYED.values() for match in re.finditer(pattern, PAGE)]
    for example in re.finditer(r"[Ee]xample", PAGE):
        line = PAGE[example.start() :].partition("\n")[0]
        assert any(begin <= example.start() < end for begin, end in covered), f"nobody plays: {line[:90]}"


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("lots", "| of the second purchase | 5 | 550 | 600 | 50 |", "| of the second purchase | 5 | 550 | 600 | 51 |"),
        ("profit", "net 247.50", "net 247.49"),
        ("identities", "IB must have 9,697", "IB must have 9,698"),
        ("evening", "The day is worth 1,000,250", "The day is worth 1,000,300"),
        ("two days", "= 700, while", "= 2,700, while"),
        ("round trips", "expectancy (48 - 14) / 2 = 17", "expectancy (48 - 14) / 2 = 18"),
        ("returns", "the drawdown is 10 %", "the drawdown is 11 %"),
        ("a file", "the opening is 40", "the opening is 60"),
        ("exposure", "the exposure is 1,300", "the exposure is 650"),
        ("losses", "is 210.", "is 211."),
        ("missed fills", "cash has 2,210 and 1.50 less", "cash has 2,220 and 1.50 less"),
    ],
)
def test_a_wrong_figure_of_the_page_is_found(books: Portfolio, name: str, right: str, wrong: str) -> None:
    assert right in PAGE
    with pytest.raises(AssertionError):
        PLAYED[name][1](books, PAGE.replace(right, wrong))
