"""The routes of the portfolio over a real database: each figure by hand, and where it comes from."""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from nautilus.clock import NS_PER_S, parse_rfc3339, rfc3339
from nautilus.db.market import series
from nautilus.db.portfolio import booking, broker, cash, equity
from nautilus.db.portfolio.broker import BrokerPnl
from nautilus.db.portfolio.equity import EquityRow
from nautilus.market.bar import Bar
from nautilus.market.timeframes import timeframe
from nautilus.orders.words import Commission
from nautilus.spans import Spans
from tests.support.order_ledger import ACCOUNT, NOW, findings, ib_says
from tests.support.portfolio_api import CASH, DAY_NS, OTHER, Portfolio, portfolio

D = Decimal
MINUTE = 60 * NS_PER_S
ns = parse_rfc3339


@pytest.fixture
def books(dsn: str, tmp_path: Path) -> Iterator[Portfolio]:
    with portfolio(dsn, tmp_path) as made:
        yield made
        assert findings(made.db) == []


def example(books: Portfolio) -> None:
    """Bought 10 at 100 and 10 at 110, sold 15 at 120; each for a commission of 1. The last price is 130."""
    for n, (quantity, price) in enumerate([(10, "100"), (10, "110"), (-15, "120")]):
        books.fill(n + 1, quantity, price, at=NOW - (30 - n) * MINUTE)
    books.quote(last=130.0)


def only(rows: list[Any]) -> Any:
    (row,) = rows
    return row


# ---- positions -------------------------------------------------------------------------------------------------------


def test_a_position_has_its_cost_its_value_and_what_it_would_make(books: Portfolio) -> None:
    example(books)
    found = only(books.get("/positions")["positions"])
    names = ("account", "symbol", "quantity", "average_price", "cost", "market_value", "unrealized", "stale", "source")
    assert [found[name] for name in names] == [ACCOUNT, "A", "5", "110", "550", "650", "100", False, "executions"]
    assert found["mark"] == {"price": "130", "source": "quote", "as_of": rfc3339(NOW), "stale": False}
    assert found["as_of"] == rfc3339(NOW)


def test_an_old_quote_is_used_and_said_to_be_stale(books: Portfolio) -> None:
    books.fill(1, 10, "100")
    books.quote(last=90.0, seen_at=NOW - 61 * NS_PER_S)
    found = only(books.get("/positions")["positions"])
    assert (found["market_value"], found["stale"], found["mark"]["stale"]) == ("900", True, True)


def test_without_any_price_a_position_has_no_value(books: Portfolio) -> None:
    books.fill(1, 10, "100")
    found = only(books.get("/positions")["positions"])
    assert (found["cost"], found["mark"], found["market_value"], found["unrealized"]) == ("1000", None, None, None)
    assert found["stale"] is True


def test_the_middle_counts_when_the_last_price_lies_outside(books: Portfolio) -> None:
    books.fill(1, 10, "100")
    books.quote(last=90.0, bid=100.0, ask=102.0)
    assert only(books.get("/positions")["positions"])["market_value"] == "1010"


def test_the_value_that_ib_sent_counts_when_no_quote_is_fresh(books: Portfolio) -> None:
    books.fill(1, 10, "100")
    with books.db.transaction() as cursor:
        row = BrokerPnl(ACCOUNT, 1, Decimal(10), Decimal(3), Decimal(20), Decimal(0), Decimal(1020), NOW - MINUTE)
        broker.put_pnl(cursor, [row])
    found = only(books.get("/positions")["positions"])
    assert (found["market_value"], found["mark"]["source"], found["broker"]["unrealized"]) == ("1020", "broker", "20")


@pytest.mark.parametrize("feed", ["delayed", "frozen", "delayed_frozen"])
def test_a_delayed_or_frozen_quote_is_never_fresh(books: Portfolio, feed: str) -> None:
    books.fill(1, 10, "100")
    books.quote(last=100.0, feed=feed, ts=NOW - 15 * MINUTE)
    found = only(books.get("/positions")["positions"])
    assert (found["mark"]["as_of"], found["stale"]) == (rfc3339(NOW - 15 * MINUTE), True)
    with books.db.transaction() as cursor:
        row = BrokerPnl(ACCOUNT, 1, Decimal(10), None, None, None, Decimal(950), NOW - MINUTE)
        broker.put_pnl(cursor, [row])
    assert only(books.get("/positions")["positions"])["mark"]["source"] == "broker"


def test_a_close_counts_from_the_end_of_its_trade_date(books: Portfolio) -> None:
    books.fill(1, 10, "100")
    books.quote(last=100.0, seen_at=ns("2024-01-05T15:00:00Z"))
    with books.db.transaction() as cursor:
        one = series.find_or_make(cursor, 1, timeframe("1d"), price="TRADES", session="rth")
        at = ns("2024-01-05T00:00:00Z")
        bars = [
            Bar(ts, close, close, close, close, 1.0, None, None)
            for ts, close in ((at, 110.0), (at + 3 * DAY_NS, 120.0))
        ]
        series.apply_changes(cursor, one, bars=bars, settled=Spans.of(at, at + 4 * DAY_NS))
    books.stored.set_time(ns("2024-01-06T01:00:00Z"))
    found = only(books.get("/positions")["positions"])
    assert found["mark"] == {"price": "110", "source": "close", "as_of": "2024-01-05T22:00:00Z", "stale": True}


def test_a_multiplier_counts(books: Portfolio) -> None:
    books.fill(1, -2, "5000.25", con_id=2)
    books.quote(con_id=2, last=5001.25)
    found = only(books.get("/positions")["positions"])
    assert (found["cost"], found["market_value"], found["unrealized"]) == ("-500025", "-500125", "-100")
    assert found["average_price"] == "5000.25"


def test_of_a_contract_that_nobody_looked_up_no_money_is_told(books: Portfolio) -> None:
    books.fill(1, 5, "7", con_id=99)
    found = only(books.get("/positions")["positions"])
    assert (found["con_id"], found["symbol"], found["quantity"], found["cost"]) == (99, None, "5", None)


def test_what_ib_holds_beside_us_is_shown_with_its_break(books: Portfolio) -> None:
    books.broker_holds((1, 7))
    found = only(books.get("/positions")["positions"])
    assert (found["quantity"], found["broker"]["quantity"], found["stale"]) == ("0", "7", True)
    assert found["break_id"] == only(books.get("/breaks", open="true")["breaks"])["id"]


# ---- profit ----------------------------------------------------------------------------------------------------------


def test_profit_by_three_countings(books: Portfolio) -> None:
    example(books)
    ib_says(books.db, Commission("000003.01", Decimal(1), "USD", Decimal("223.50")))
    books.values(currency="BASE", DailyPnL="321", RealizedPnL="223.5", UnrealizedPnL="99")
    found = books.get("/pnl")
    assert found["fifo"] == [
        {"currency": "USD", "matches": 2, "unknown": 0, "gross": "250", "fees": "2.5", "net": "247.5"}
    ]
    assert found["unrealized"] == [{"currency": "USD", "amount": "100"}]
    assert only(found["broker"])["realized"] == "223.5"
    assert found["fees"] == [{"currency": "USD", "fills": 3, "fees": "3", "without_commission": 0}]


def test_the_profit_of_the_trade_date_is_told_apart_from_that_of_the_day_by_ibs_count(books: Portfolio) -> None:
    """IB's day may have begun earlier: 50,000 were lost on Friday, and 700 won since its end."""
    since = only(books.get("/pnl")["trade_dates"])
    assert (since["profit"], since["why"]) == (
        None,
        "the account's worth at the end of the trade date before is not known",
    )
    with books.db.transaction() as cursor:
        equity.put_day(cursor, EquityRow(ACCOUNT, date(2024, 1, 5), D(900_000), "USD", "broker", NOW - DAY_NS))
    books.values(at=NOW, NetLiquidation="902700")
    books.values(currency="BASE", DailyPnL="-49300")
    deposit: dict[str, Any] = {
        "account": ACCOUNT,
        "currency": "USD",
        "amount": "2000",
        "kind": "deposit",
        "at": rfc3339(NOW - MINUTE),
    }
    assert books.post("/cash", **deposit).status_code == 201
    found = books.get("/pnl")
    day = only(found["trade_dates"])
    assert (day["trade_date"], day["since"], day["until"]) == (
        "2024-01-08",
        "2024-01-05T22:00:00Z",
        "2024-01-08T22:00:00Z",
    )
    assert [day[name] for name in ("before", "deposits", "net_liquidation", "profit", "why")] == [
        "900000",
        "2000",
        "902700",
        "700",
        None,
    ]
    assert only(found["broker"])["daily"] == "-49300"


def test_a_trade_date_in_which_ib_sent_nothing_has_no_profit(books: Portfolio) -> None:
    books.values(at=NOW - 4 * DAY_NS, NetLiquidation="900000")
    with books.db.transaction() as cursor:
        equity.put_day(cursor, EquityRow(ACCOUNT, date(2024, 1, 5), D(900_000), "USD", "broker", NOW - DAY_NS))
    day = only(books.get("/pnl")["trade_dates"])
    assert (day["profit"], day["why"]) == (None, "IB has sent no worth of the account since the trade date began")


def test_while_a_commission_is_missing_there_is_no_net_profit(books: Portfolio) -> None:
    books.fill(1, 10, "100", at=NOW - MINUTE)
    books.fill(2, -10, "120", fee=None)
    found = only(books.get("/pnl")["fifo"])
    assert (found["gross"], found["net"], found["unknown"]) == ("200", None, 1)
    ib_says(books.db, Commission("000002.01", Decimal(2), "USD", None))
    assert only(books.get("/pnl")["fifo"])["net"] == "197"


def test_a_commission_of_another_currency_is_in_no_net_profit(books: Portfolio) -> None:
    books.fill(1, 10, "100", con_id=4, at=NOW - MINUTE, currency="EUR")
    books.fill(2, -10, "120", con_id=4, currency="USD")
    found = only(books.get("/pnl")["fifo"])
    assert (found["currency"], found["gross"], found["net"]) == ("EUR", "200", None)


def test_an_adjustment_without_a_price_makes_the_profit_unknown_until_it_is_told(books: Portfolio) -> None:
    books.fill(1, 10, "100", at=NOW - MINUTE)
    number = books.adjusted(-10, "missed_fills", None)
    assert only(books.get("/pnl")["fifo"])["gross"] is None
    identity = only(books.get("/performance", account=ACCOUNT)["identities"])
    assert identity["book"]["identity"] == "identity: open (1 adjustment)"
    assert books.post(f"/adjustments/{number}/price", price="105").status_code == 200
    assert only(books.get("/pnl")["fifo"])["gross"] == "50"
    assert books.post(f"/adjustments/{number}/price", price="106").json()["code"] == "price-known"
    assert books.post("/adjustments/9999/price", price="106").status_code == 404


def test_a_time_bounds_what_was_closed(books: Portfolio) -> None:
    example(books)
    at = rfc3339(NOW - 28 * MINUTE)
    assert books.get("/pnl", until=at)["fifo"] == []
    assert only(books.get("/pnl", since=at)["fifo"])["gross"] == "250"


# ---- whether it adds up ----------------------------------------------------------------------------------------------


def identity(books: Portfolio, currency: str = "USD") -> Any:
    found = books.get("/performance", account=ACCOUNT)["identities"]
    return only([one for one in found if one["currency"] == currency])


def test_the_books_add_up_to_the_cent(books: Portfolio) -> None:
    example(books)
    # Paid 2,100, received 1,800, three commissions.
    books.values(at=NOW, CashBalance=str(CASH - 300 - 3))
    found = identity(books)
    assert found["book"] == {
        "realized": "250",
        "unrealized": "100",
        "traded": "300",
        "market_value": "650",
        "holds": True,
        "difference": "0",
        "identity": "identity: holds",
    }
    assert found["cash"]["identity"] == "identity: holds"
    assert [found["cash"][name] for name in ("before", "now", "trades", "fees")] == ["10000", "9697", "-300", "3"]


def test_cash_that_nobody_explains_breaks_the_identity_until_it_is_entered(books: Portfolio) -> None:
    example(books)
    books.values(at=NOW, CashBalance=str(CASH - 303 + 12))
    assert identity(books)["cash"]["identity"] == "identity: broken by 12.00"
    given: dict[str, Any] = {
        "account": ACCOUNT,
        "currency": "USD",
        "amount": "12",
        "kind": "dividend",
        "at": rfc3339(NOW - MINUTE),
    }
    assert books.post("/cash", **given).status_code == 201
    assert identity(books)["cash"]["identity"] == "identity: holds"
    assert [(row["kind"], row["amount"], row["source"]) for row in books.get("/cash")["movements"]] == [
        ("dividend", "12", "person")
    ]


def test_cash_of_each_kind_is_a_line_of_its_own(books: Portfolio) -> None:
    """What came and went beside trades; each is a line, and together they are what the identity of cash adds."""
    example(books)
    kinds = {"interest": "1.25", "dividend": "12", "fee": "-10", "tax": "-1.80", "deposit": "500", "withdrawal": "-200"}
    for kind, amount in kinds.items():
        given: dict[str, Any] = {"account": ACCOUNT, "currency": "USD", "amount": amount, "kind": kind}
        assert books.post("/cash", **given, at=rfc3339(NOW - MINUTE)).status_code == 201
    total = sum(map(D, kinds.values()))
    books.values(at=NOW, CashBalance=str(CASH - 303 + total))
    assert {row["kind"]: row["amount"] for row in books.get("/cash")["movements"]} == {
        kind: f"{D(amount).normalize():f}" for kind, amount in kinds.items()
    }
    found = identity(books)
    assert (D(found["cash"]["movements"]), found["cash"]["identity"]) == (total, "identity: holds")
    assert (found["book"]["realized"], found["cash"]["fees"]) == ("250", "3"), (
        "none of them is a profit or a commission"
    )


def test_a_balance_that_may_lack_the_last_trade_is_not_compared(books: Portfolio) -> None:
    example(books)
    books.fill(4, 1, "100", at=NOW - 10 * NS_PER_S)
    books.values(at=NOW, CashBalance="0")
    found = identity(books)["cash"]
    assert (found["holds"], found["identity"]) == (
        None,
        "identity: open (a trade is newer than the cash balance from IB)",
    )


def test_a_late_commission_leaves_the_cash_identity_open(books: Portfolio) -> None:
    books.fill(1, 10, "100", at=NOW - 30 * MINUTE, fee=None)
    books.values(at=NOW, CashBalance="9000")
    assert identity(books)["cash"]["identity"] == "identity: open (1 commission not known yet)"


def test_a_currency_trade_moves_two_balances(books: Portfolio) -> None:
    books.fill(1, 1000, "1.10", con_id=3, at=NOW - 30 * MINUTE, fee="2")
    books.values(at=NOW, CashBalance=str(CASH - 1100 - 2))
    books.values(at=NOW, currency="EUR", CashBalance="1000")
    with books.db.transaction() as cursor:
        cash.open_balances(cursor, ACCOUNT)
    assert identity(books)["cash"]["identity"] == "identity: holds"
    assert identity(books, "EUR")["cash"] == {
        "before": "0",
        "now": "1000",
        "trades": "1000",
        "fees": "0",
        "movements": "0",
        "holds": True,
        "difference": "0",
        "identity": "identity: holds",
    }


def test_futures_settle_day_by_day_so_that_their_cash_is_not_compared(books: Portfolio) -> None:
    books.fill(1, 1, "5000", con_id=2, at=NOW - 30 * MINUTE)
    books.values(at=NOW, CashBalance="9999")
    assert identity(books)["cash"]["identity"] == "identity: open (gains of FUT contracts are settled day by day)"


EVENING = ns("2024-01-08T22:00:00Z")
"""The trade date of Monday, NOW's, ends."""


def gains_of_a_future(books: Portfolio, *, sent_at: int, balance: int) -> str:
    """A future is bought and sold with a gain of 250 dollars for 2 of commissions; then IB sends a balance."""
    books.fill(1, 1, "5000", con_id=2, at=NOW - 30 * MINUTE)
    books.fill(2, -1, "5005", con_id=2, at=NOW - 29 * MINUTE)
    books.values(at=sent_at, CashBalance=str(balance))
    return str(identity(books)["cash"]["identity"])


@pytest.mark.parametrize(("balance", "text"), [(248, "identity: holds"), (249, "identity: broken by 1.00")])
def test_the_cash_of_a_future_is_compared_once_it_is_flat_and_its_last_day_is_over(
    books: Portfolio, balance: int, text: str
) -> None:
    assert gains_of_a_future(books, sent_at=EVENING, balance=int(CASH) + balance) == text


def test_gains_of_a_future_of_this_trade_date_are_not_settled_yet(books: Portfolio) -> None:
    found = gains_of_a_future(books, sent_at=EVENING - 1, balance=int(CASH))
    assert found == "identity: open (gains of FUT contracts are settled day by day)"


def test_gains_of_a_future_that_was_traded_on_the_day_on_which_cash_was_opened_leave_it_open(books: Portfolio) -> None:
    """They are settled in the evening: some of them come after the first balance."""
    (opened,) = books.stored.rows("SELECT min(at) AS at FROM cash_openings")
    books.fill(7, 1, "5000", con_id=2, at=opened.at - 2 * MINUTE)
    books.fill(8, -1, "5005", con_id=2, at=opened.at - MINUTE)
    books.values(at=NOW, CashBalance=str(CASH + 248))
    assert identity(books)["cash"]["identity"] == "identity: open (gains of FUT contracts are settled day by day)"


def missed(books: Portfolio, **given: Any) -> int:
    """10 that IB sold while nobody listened, of 10 that were bought for 1 of commission."""
    books.fill(1, 10, "100", at=NOW - 30 * MINUTE)
    books.broker_holds()
    number = only(books.get("/breaks")["breaks"])["id"]
    body: dict[str, Any] = {
        "kind": "missed_fills",
        "reason": "sold at night",
        "price": "110",
        "at": rfc3339(NOW - 20 * MINUTE),
    }
    answer = books.post(f"/breaks/{number}/resolve", **body, **given)
    assert answer.status_code == 200, answer.text
    return int(answer.json()["adjustment"]["id"])


def test_missed_fills_without_a_commission_leave_profit_and_cash_open(books: Portfolio) -> None:
    missed(books)
    books.values(at=NOW, CashBalance=str(CASH + 100 - 3))
    found = only(books.get("/pnl")["fifo"])
    assert (found["gross"], found["net"], found["unknown"]) == ("100", None, 1)
    assert identity(books)["cash"]["identity"] == "identity: open (1 commission not known yet)"
    assert identity(books)["book"]["identity"] == "identity: holds"


def test_a_person_says_what_missed_fills_have_cost(books: Portfolio) -> None:
    missed(books, commission="2")
    books.values(at=NOW, CashBalance=str(CASH + 100 - 3))
    found = only(books.get("/pnl")["fifo"])
    assert (found["gross"], found["fees"], found["net"]) == ("100", "3", "97")
    assert identity(books)["cash"]["identity"] == "identity: holds"


def test_the_commission_of_missed_fills_can_be_told_later_and_once(books: Portfolio) -> None:
    number = missed(books)
    path = f"/adjustments/{number}/price"
    answer = books.post(path, commission="2")
    assert (answer.json()["commission"], answer.json()["commission_currency"]) == ("2", "USD")
    assert only(books.get("/pnl")["fifo"])["net"] == "97"
    assert books.post(path, commission="3").json()["code"] == "price-known"
    assert books.post(path).json()["errors"][0]["field"] == "price"
    other = books.adjusted(5, "transfer", None, at=NOW - MINUTE)
    refused = books.post(f"/adjustments/{other}/price", commission="1")
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "commission")


def test_an_entry_that_a_statement_has_already_is_entered_when_a_person_insists(books: Portfolio) -> None:
    with books.db.transaction() as cursor:
        new = cash.Movement(ACCOUNT, "USD", Decimal(12), "dividend", NOW - 2 * DAY_NS, "A", "flex", "90001")
        assert cash.put(cursor, new) is not None
    given: dict[str, Any] = {"account": ACCOUNT, "currency": "USD", "amount": "12", "kind": "dividend"}
    assert books.post("/cash", **given, at=rfc3339(NOW - MINUTE)).json()["code"] == "cash-known"
    answer = books.post("/cash", **{**given, "kind": "interest"}, at=rfc3339(NOW - MINUTE))
    assert answer.status_code == 201, answer.text
    assert books.post("/cash", **given, at=rfc3339(NOW - 7 * DAY_NS)).status_code == 201
    assert books.post("/cash", **given, at=rfc3339(NOW - MINUTE), allow_duplicate=True).status_code == 201


@pytest.mark.parametrize(
    "harm",
    [
        "UPDATE lot_matches SET proceeds = proceeds + 0.02",
        "UPDATE lots SET cost = cost - 0.02",
        "UPDATE executions SET price = price + 0.02 WHERE exec_base = '000001'",
    ],
)
def test_two_cents_that_are_wrong_are_seen(books: Portfolio, harm: str) -> None:
    example(books)
    with books.db.transaction() as cursor:
        cursor.execute(harm)
    assert identity(books)["book"]["holds"] is False
    with books.db.transaction() as cursor:  # mended, for the fixture's last look
        cursor.execute("UPDATE executions SET price = 100 WHERE exec_base = '000001'")
        booking.rebook(cursor, ACCOUNT, 1)


# ---- performance -----------------------------------------------------------------------------------------------------


def days(books: Portfolio, *worth: int) -> None:
    with books.db.transaction() as cursor:
        for n, value in enumerate(worth, start=2):
            equity.put_day(
                cursor, EquityRow(ACCOUNT, date(2024, 1, n), Decimal(value), "USD", "broker", NOW - DAY_NS + n)
            )


def test_returns_leave_deposits_out(books: Portfolio) -> None:
    days(books, 1000, 1100, 2100, 1890)
    given: dict[str, Any] = {
        "account": ACCOUNT,
        "currency": "USD",
        "amount": "1000",
        "kind": "deposit",
        "at": "2024-01-04T12:00:00Z",
    }
    assert books.post("/cash", **given).status_code == 201
    found = books.get("/performance", account=ACCOUNT)
    assert [one["return"] for one in found["equity_days"]] == [None, "0.1", "0", "-0.1"]
    assert found["returns"]["total"] == "-0.01"
    assert found["returns"]["drawdown"] == {"share": "0.1", "peak": "2024-01-04", "trough": "2024-01-05", "until": None}
    assert (found["returns"]["sharpe"], found["days"]) == (None, 4)
    assert found["why"] == "volatility, Sharpe ratio and annual return need 20 daily returns; there are 3"


def test_a_deposit_in_the_evening_of_new_york_belongs_to_the_next_trade_date(books: Portfolio) -> None:
    days(books, 1000, 1100, 2100)
    given: dict[str, Any] = {"account": ACCOUNT, "currency": "USD", "amount": "1000", "kind": "deposit"}
    books.post("/cash", **given, at="2024-01-03T22:00:00Z")
    found = books.get("/performance", account=ACCOUNT)["equity_days"]
    assert [(one["deposits"], one["return"]) for one in found] == [("0", None), ("0", "0.1"), ("1000", "0")]


def test_a_deposit_without_a_rate_leaves_returns_unknown(books: Portfolio) -> None:
    days(books, 1000, 1100)
    given: dict[str, Any] = {
        "account": ACCOUNT,
        "currency": "CHF",
        "amount": "5",
        "kind": "deposit",
        "at": "2024-01-03T12:00:00Z",
    }
    books.post("/cash", **given)
    found = books.get("/performance", account=ACCOUNT)
    assert found["returns"]["total"] is None
    assert "CHF" in found["why"]


def test_round_trips_end_where_the_position_is_flat(books: Portfolio) -> None:
    for n, (quantity, price) in enumerate([(10, "100"), (-10, "105"), (-4, "105"), (4, "108"), (2, "100")]):
        books.fill(n + 1, quantity, price, at=NOW - (30 - n) * MINUTE)
    found = books.get("/round-trips")
    assert [(one["side"], one["quantity"], one["net"]) for one in found["round_trips"]] == [
        ("long", "10", "48"),
        ("short", "4", "-14"),
    ]
    counts = only(found["statistics"])
    assert (counts["won"], counts["lost"], counts["win_rate"], counts["expectancy"]) == (1, 1, "0.5", "17")


def test_a_deposit_counts_at_the_rate_of_its_day(books: Portfolio) -> None:
    days(books, 100_000, 205_000)
    books.values(at=ns("2024-01-03T11:00:00Z"), currency="EUR", ExchangeRate="1.05")
    given: dict[str, Any] = {"account": ACCOUNT, "currency": "EUR", "amount": "100000", "kind": "deposit"}
    books.post("/cash", **given, at="2024-01-03T12:00:00Z")
    books.values(at=NOW, currency="EUR", ExchangeRate="1.20")
    assert [one["return"] for one in books.get("/performance", account=ACCOUNT)["equity_days"]] == [None, "0"]


def test_securities_that_are_transferred_are_no_profit(books: Portfolio) -> None:
    days(books, 100_000, 150_000)
    books.adjusted(1000, "transfer", None, at=ns("2024-01-03T12:00:00Z"))
    found = books.get("/performance", account=ACCOUNT)
    assert found["returns"]["total"] is None
    assert "transferred" in found["why"]


def test_trade_dates_that_are_missing_leave_figures_of_a_year_out(books: Portfolio) -> None:
    with books.db.transaction() as cursor:
        for n in range(1, 30):
            equity.put_day(
                cursor, EquityRow(ACCOUNT, date(2024, n % 12 + 1, 2), Decimal(100 + n), "USD", "broker", NOW + n)
            )
    found = books.get("/performance", account=ACCOUNT)
    assert (found["returns"]["annual"], found["returns"]["sharpe"]) == (None, None)
    assert "11 times some are missing" in found["why"]


def test_what_is_closed_in_the_evening_of_new_york_belongs_to_the_next_trade_date(books: Portfolio) -> None:
    evening = ns("2024-01-05T22:30:00Z")
    books.fill(1, 10, "100", at=evening - MINUTE)
    books.fill(2, -10, "90", at=evening)
    friday = books.get("/performance", account=ACCOUNT, first="2024-01-05", last="2024-01-05")
    monday = books.get("/performance", account=ACCOUNT, first="2024-01-08", last="2024-01-08")
    assert (friday["realized"], only(monday["realized"])["gross"]) == ([], "-100")


@pytest.mark.parametrize(("first", "last"), [("0001-01-01", "9999-12-31"), ("2024-01-06", "2024-01-07")])
def test_odd_dates_are_answered(books: Portfolio, first: str, last: str) -> None:
    assert books.get("/performance", account=ACCOUNT, first=first, last=last)["days"] == 0


def test_a_transfer_with_a_price_moves_no_cash(books: Portfolio) -> None:
    books.adjusted(100, "transfer", "50", at=NOW - 30 * MINUTE)
    books.values(at=NOW, CashBalance=str(CASH))
    assert identity(books)["cash"]["identity"] == "identity: holds"


def test_a_future_that_was_held_from_the_beginning_leaves_cash_open(books: Portfolio) -> None:
    with books.db.transaction() as cursor:
        cursor.execute("INSERT INTO position_openings VALUES (%s, 2, 1, 250000, %s)", (ACCOUNT, NOW - 3 * DAY_NS))
        cursor.execute("INSERT INTO risk_book (account, con_id, position) VALUES (%s, 2, 1)", (ACCOUNT,))
        booking.rebook(cursor, ACCOUNT, 2)
    books.values(at=NOW, CashBalance=str(CASH + 1250))
    assert "settled day by day" in identity(books)["cash"]["identity"]


def test_a_contract_that_nobody_looked_up_may_be_of_any_currency(books: Portfolio) -> None:
    books.fill(1, 10, "100", con_id=99, at=NOW - 30 * MINUTE)
    books.values(at=NOW, CashBalance=str(CASH - 1001))
    assert identity(books)["cash"]["identity"] == "identity: open (contract 99 is not known here)"


def test_a_price_however_large_is_answered(books: Portfolio) -> None:
    books.fill(1, -2000, "1", at=NOW - MINUTE)
    books.adjusted(2000, "missed_fills", "999999999999999")
    assert only(books.get("/pnl")["fifo"])["gross"].startswith("-19999999")


# ---- executions and tables -------------------------------------------------------------------------------------------


def test_executions_come_in_pages(books: Portfolio) -> None:
    example(books)
    first = books.get("/executions", limit=2)
    assert [one["exec_id"] for one in first["executions"]] == ["000003.01", "000002.01"]
    second = books.get("/executions", limit=2, after=first["next_after"])
    assert [one["exec_id"] for one in second["executions"]] == ["000001.01"]
    assert second["next_after"] is None
    assert first["executions"][0]["value"] == "1800"


def test_a_table_of_executions_computes_nothing_in_a_spreadsheet(books: Portfolio) -> None:
    example(books)
    with books.db.transaction() as cursor:
        cursor.execute("UPDATE instruments SET symbol = '=1+1' WHERE con_id = 1")
    answer = books.api.get("/api/v1/portfolio/executions?format=csv", headers=books.reader)
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    lines = answer.text.split("\r\n")
    assert lines[0].startswith("time,account,symbol,con_id,side,quantity,price,value")
    assert lines[1].split(",")[2:7] == ["'=1+1", "1", "SELL", "15", "120"]
    assert len(lines) == 5


def test_a_table_of_equity(books: Portfolio) -> None:
    days(books, 1000, 900)
    answer = books.api.get(f"/api/v1/portfolio/performance?account={ACCOUNT}&format=csv", headers=books.reader)
    assert answer.text.split("\r\n")[2].split(",")[:6] == ["2024-01-03", ACCOUNT, "900", "USD", "0", "-0.1"]


# ---- breaks ----------------------------------------------------------------------------------------------------------


def test_a_person_resolves_a_break_and_the_position_follows(books: Portfolio) -> None:
    books.fill(1, 10, "100", at=NOW - MINUTE)
    books.broker_holds((1, 4))
    found = only(books.get("/breaks")["breaks"])
    assert (found["expected"], found["broker"], found["difference"], found["until"]) == ("10", "4", "-6", None)
    answer = books.post(f"/breaks/{found['id']}/resolve", kind="missed_fills", reason="sold by phone", price="90")
    assert answer.status_code == 200, answer.text
    assert answer.json()["adjustment"]["quantity"] == "-6"
    assert only(books.get("/positions")["positions"])["quantity"] == "4"
    assert only(books.get("/pnl")["fifo"])["gross"] == "-60"
    again = books.post(f"/breaks/{found['id']}/resolve", kind="correction", reason="again")
    assert (again.status_code, again.json()["code"]) == (409, "break-over")


def test_a_break_that_ended_by_itself_needs_no_adjustment(books: Portfolio) -> None:
    books.fill(1, 10, "100")
    books.broker_holds((1, 4))
    number = only(books.get("/breaks")["breaks"])["id"]
    books.fill(2, -6, "100")
    answer = books.post(f"/breaks/{number}/resolve", kind="correction", reason="too late")
    assert (answer.status_code, answer.json()["code"]) == (409, "break-over")
    books.broker_holds((1, 4))


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"kind": "guess", "reason": "x"}, "kind"),
        ({"kind": "expiry", "reason": ""}, "reason"),
        ({"kind": "expiry", "reason": "x", "price": 1.5}, "price"),
        ({"kind": "expiry", "reason": "x", "at": "yesterday"}, "at"),
        ({"kind": "expiry", "reason": "x", "at": "2999-01-01T00:00:00Z"}, "at"),
    ],
)
def test_what_a_person_says_wrong_is_named(books: Portfolio, body: dict[str, Any], field: str) -> None:
    books.broker_holds((1, 4))
    number = only(books.get("/breaks")["breaks"])["id"]
    answer = books.post(f"/breaks/{number}/resolve", **body)
    assert answer.status_code == 422
    assert field in answer.json()["detail"]
    books.broker_holds()


def test_cash_with_one_id_is_entered_once(books: Portfolio) -> None:
    given: dict[str, Any] = {
        "account": ACCOUNT,
        "currency": "USD",
        "amount": "1",
        "kind": "fee",
        "at": rfc3339(NOW - MINUTE),
        "external_id": "7",
    }
    assert books.post("/cash", **given).status_code == 201
    again = books.post("/cash", **given)
    assert (again.status_code, len(books.get("/cash")["movements"])) == (409, 1), again.text


# ---- rights ----------------------------------------------------------------------------------------------------------

READS = (
    "/accounts",
    "/balances",
    "/cash",
    "/positions",
    "/executions",
    "/round-trips",
    "/pnl",
    "/performance",
    "/breaks",
)


@pytest.mark.parametrize("path", READS)
def test_nobody_reads_an_account_of_others(books: Portfolio, path: str) -> None:
    status, detail = books.refused(path, account=OTHER)
    assert (status, OTHER in detail) == (403, True)


def test_without_a_name_only_the_accounts_of_the_caller_are_meant(books: Portfolio) -> None:
    books.fill(1, 1, "5", account=OTHER)
    books.fill(2, 1, "5")
    assert [one["account"] for one in books.get("/executions")["executions"]] == [ACCOUNT]
    assert [one["account"] for one in books.get("/positions")["positions"]] == [ACCOUNT]
    assert only(books.get("/pnl")["fees"])["fills"] == 1
    assert [one["account"] for one in books.get("/accounts")["accounts"]] == [ACCOUNT]
    assert len(books.get("/executions", books.partner)["executions"]) == 2


@pytest.mark.parametrize("path", ["/breaks/1/resolve", "/adjustments/1/price", "/cash"])
def test_only_an_administrator_says_what_happened(books: Portfolio, path: str) -> None:
    answer = books.post(path, books.reader, kind="expiry", reason="x", price="1")
    assert (answer.status_code, answer.json()["code"]) == (403, "missing-scope")


def test_a_page_begins_at_no_execution_of_others(books: Portfolio) -> None:
    books.fill(1, 1, "5", account=OTHER)
    assert books.refused("/executions", after="000001.01")[0] == 422


# ---- the web front end that there was before -------------------------------------------------------------------------


def test_the_page_gets_numbers_and_no_null_in_the_account(books: Portfolio) -> None:
    books.values(NetLiquidation="10100.5", BuyingPower="4000")
    found = books.get("/api/v1/ib/account")
    assert (found["account_id"], found["net_liquidation"], found["buying_power"]) == (ACCOUNT, 10100.5, 4000)
    assert "excess_liquidity" not in found
    assert None not in found.values()
    assert "message" not in found


def test_the_pages_positions_are_numbers(books: Portfolio) -> None:
    example(books)
    found = only(books.get("/api/v1/ib/positions")["positions"])
    assert found["position_key"] == f"{ACCOUNT}:1"
    assert [found[name] for name in ("position", "avg_cost", "market_price", "market_value", "unrealized_pnl")] == [
        5,
        110,
        130,
        650,
        100,
    ]


def test_who_has_no_account_gets_a_message(books: Portfolio) -> None:
    nobody = books.stored.user(11, "orders:read")
    assert set(books.get("/api/v1/ib/account", nobody)) == {"message"}
    assert books.get("/api/v1/ib/positions", nobody) == {"positions": []}
