"""The old front end's routes of trades, performance and portfolio: its shapes, and that each figure comes from rows."""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import functions.frontend.app
from nautilus.clock import rfc3339
from nautilus.db.portfolio import booking, equity
from nautilus.db.portfolio.equity import EquityRow
from nautilus.orders.words import Commission
from tests.support.order_ledger import ACCOUNT, NOW, execution, ib_says, placed, row_of, sent, status, ticket
from tests.support.portfolio_api import DAY_NS, OTHER, Portfolio, portfolio
from tests.support.stored_bars import Api

MINUTE = 60_000_000_000


class Page(Portfolio):
    """The page's calls, by a reader of one account."""

    page: Api

    def answer(self, path: str, headers: dict[str, str] | None = None, **query: Any) -> Any:
        return self.page.get(f"/api/v1{path}", headers=headers or self.reader, params=query)

    def shown(self, path: str, **query: Any) -> Any:
        found = self.answer(path, **query)
        assert found.status_code == 200, found.text
        return found.json()


@pytest.fixture
def page(dsn: str, tmp_path: Path) -> Iterator[Page]:
    with portfolio(dsn, tmp_path) as made:
        made.__class__ = Page
        assert isinstance(made, Page)
        made.page = made.stored.api(tmp_path, router=functions.frontend.app.router)
        yield made


def traded(page: Page) -> None:
    """One round trip that won 48, one that lost 14, and one unit that is open; two trade dates of equity."""
    for n, (quantity, price) in enumerate([(10, "100"), (-10, "105"), (-4, "105"), (4, "108"), (1, "100")]):
        page.fill(n + 1, quantity, price, at=NOW - (30 - n) * MINUTE)
    page.quote(last=130.0)
    with page.db.transaction() as cursor:
        for n, worth in enumerate((1000, 1100, 990), start=2):
            equity.put_day(
                cursor, EquityRow(ACCOUNT, date(2024, 1, n), Decimal(worth), "USD", "broker", NOW - DAY_NS + n)
            )


def sql(page: Page, statement: str) -> None:
    with page.db.transaction() as cursor:
        cursor.execute(statement)
        booking.rebook(cursor, ACCOUNT, 1)


# ---- shapes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/trades/", "/trades"])
def test_trades_are_a_bare_list(page: Page, path: str) -> None:
    assert page.shown(path) == []
    traded(page)
    first, *rest = page.shown(path, limit=2, offset=0)
    assert len(rest) == 1
    assert first == {
        "trade_id": "000005.01",
        "execution_id": "000005.01",
        "execution_time": rfc3339(NOW - 26 * MINUTE),
        "symbol": "A",
        "side": "BUY",
        "quantity": "1",
        "price": "100",
        "commission": "1",
        "currency": "USD",
        "venue": "IB",
        "strategy": None,
        "account_id": ACCOUNT,
        "order_id": first["order_id"],
    }
    assert [one["trade_id"] for one in page.shown(path, offset=4)] == ["000001.01"]


def test_the_pages_filters(page: Page) -> None:
    traded(page)
    page.fill(9, 1, "1.1", con_id=3)
    assert page.shown("/trades/", venue="BINANCE") == []
    assert len(page.shown("/trades/", venue="IB")) == 6
    assert [one["symbol"] for one in page.shown("/trades/", symbol="eur")] == ["EUR"]
    assert len(page.shown("/trades/", symbol="", strategy="")) == 6
    assert page.shown("/trades/", strategy="none such") == []
    until = rfc3339(NOW - 28 * MINUTE).replace("Z", ".000Z")
    assert len(page.shown("/trades/", start_date="1970-01-02T00:00:00.000Z", end_date=until)) == 2
    assert page.answer("/trades/", start_date="yesterday").status_code == 422
    assert page.shown("/trades/symbols") == {"symbols": [{"symbol": "A"}, {"symbol": "EUR"}]}
    assert page.shown("/trades/strategies") == {"strategies": []}


def test_the_page_of_performance_gets_every_key(page: Page) -> None:
    empty = page.shown("/performance/aggregate")
    assert [empty[name] for name in ("total_pnl", "unrealized_pnl", "win_rate", "total_trades", "winning_trades")] == [
        0,
        0,
        None,
        0,
        0,
    ]
    traded(page)
    found = page.shown("/performance/aggregate")
    assert set(found) == set(empty)
    assert [found[name] for name in ("total_pnl", "realized_pnl", "unrealized_pnl", "win_rate", "total_trades")] == [
        64,
        34,
        30,
        0.5,
        2,
    ]
    assert (found["winning_trades"], found["max_drawdown"], found["sharpe_ratio"]) == (1, 10, None)
    assert found["daily_returns"] == [0.1, -0.1]
    assert [one["total_pnl"] for one in page.shown("/performance/history")["snapshots"]] == [0, 100, -10]


def test_the_sums_of_trades_are_there_when_all_are_known(page: Page) -> None:
    assert page.answer("/trades/summary").json()["code"] == "no-figures"
    traded(page)
    found = page.shown("/trades/summary")
    assert [found[name] for name in ("total_trades", "win_rate", "net_pnl", "total_commission")] == [5, 50.0, "34", "5"]
    sql(page, "UPDATE executions SET commission = NULL WHERE exec_base = '000002'")
    gone = page.answer("/trades/summary")
    assert (gone.status_code, "commission" in gone.json()["detail"]) == (404, True)


def test_a_file_of_trades(page: Page) -> None:
    traded(page)
    found = page.answer("/trades/export", format="csv", limit="5000")
    lines = found.text.split("\r\n")
    assert (lines[1].split(",")[2:6], len(lines)) == (["A", "BUY", "1", "100"], 7)
    assert page.answer("/trades/export", format="json").json() == page.shown("/trades/")
    assert page.answer("/trades/export", format="excel").status_code == 422


def test_orders_on_their_way(page: Page) -> None:
    assert page.shown("/execution/metrics") == {"metrics": []}
    row = sent(page.db, placed(page.db, ticket(quantity=5, tags=("trend",))).orders[0].id)
    ib_says(page.db, status(row, "Submitted", 77))
    ib_says(page.db, execution(row_of(page.db, row.id), 5, time_ns=NOW))
    (found,) = page.shown("/execution/metrics")["metrics"]
    assert (found["strategy_id"], found["total_trades"], found["fill_rate"]) == ("trend", 1, 1.0)
    assert found["latency_p50"] > 0
    assert found["avg_execution_time_ms"] >= found["latency_p50"]
    assert (found["avg_slippage_bps"], found["execution_cost_bps"]) == (None, None)
    assert page.shown("/execution/metrics", strategy_id="other") == {"metrics": []}
    assert [one["strategy"] for one in page.shown("/execution/trades")["trades"]] == ["trend"]
    assert page.shown("/trades/strategies") == {"strategies": [{"strategy": "trend"}]}


def test_value_by_asset_class(page: Page) -> None:
    traded(page)
    page.fill(9, -2, "5000", con_id=2)
    page.quote(con_id=2, last=5000.0)
    found = page.shown("/portfolio/default/asset-allocations")["allocations"]["allocations"]
    assert {name: one["value"] for name, one in found.items()} == {"FUT": 500_000, "STK": 130}
    assert sum(one["percentage"] for one in found.values()) == pytest.approx(100)


def test_days_of_a_portfolio(page: Page) -> None:
    traded(page)
    found = page.shown(f"/portfolio/{ACCOUNT}/performance-history")["history"]["performance"]
    assert [(one["date"], one["portfolio_value"]) for one in found] == [
        ("2024-01-02", 1000),
        ("2024-01-03", 1100),
        ("2024-01-04", 990),
    ]
    assert [one["daily_return"] for one in found] == [None, 10, -10]
    assert found[2]["cumulative_return"] == pytest.approx(-1)


def by_orders(page: Page, *fills: tuple[int, str, str]) -> None:
    """Fills by orders with a tag each, one after the other: quantity, price, tag. No commission."""
    for n, (quantity, price, tag) in enumerate(fills):
        side = "BUY" if quantity > 0 else "SELL"
        row = sent(page.db, placed(page.db, ticket(side, abs(quantity), tags=(tag,))).orders[0].id)
        ib_says(page.db, status(row, "Submitted", 100 + n))
        word = execution(row_of(page.db, row.id), abs(quantity), price, time_ns=NOW - (30 - n) * MINUTE)
        ib_says(page.db, word, Commission(word.exec_id, Decimal(0), "USD", None))


def test_a_round_trip_belongs_whole_to_the_order_that_ended_it(page: Page) -> None:
    by_orders(page, (10, "100", "in"), (-5, "90", "A"), (-5, "130", "B"), (10, "100", "in"), (-10, "101", "A"))
    found = page.shown("/trades/summary", strategy="A")
    assert [found[name] for name in ("winning_trades", "losing_trades", "net_pnl")] == [1, 0, "-40"]
    assert page.shown("/performance/aggregate", strategy_id="B")["win_rate"] == 1


def test_a_filter_leaves_figures_of_the_whole_account_out(page: Page) -> None:
    traded(page)
    page.fill(9, 1, "1.2", con_id=3)
    page.quote(con_id=3, last=1.1)
    found = page.shown("/performance/aggregate", symbol="EUR")
    assert (found["unrealized_pnl"], found["realized_pnl"]) == (pytest.approx(-0.1), 0)
    assert (found["max_drawdown"], found["sharpe_ratio"], found["daily_returns"]) == (None, None, [])
    assert page.shown("/performance/history", symbol="EUR") == {"snapshots": []}
    tagged = page.shown("/performance/aggregate", strategy_id="x")
    assert (tagged["unrealized_pnl"], tagged["total_pnl"]) == (None, None)
    assert page.answer("/performance/aggregate", venue="BINANCE").status_code == 404
    assert page.shown("/performance/history", venue="BINANCE") == {"snapshots": []}
    assert page.shown("/execution/metrics", venue="BINANCE") == {"metrics": []}


def test_a_commission_in_base_currency_is_taken_off_at_once(page: Page) -> None:
    page.values(at=NOW, currency="EUR", ExchangeRate="1.10")
    page.fill(1, 10, "100", con_id=4, at=NOW - MINUTE, fee="2", currency="USD")
    page.fill(2, -10, "120", con_id=4, fee="3", currency="USD")
    assert page.shown("/performance/aggregate")["realized_pnl"] == pytest.approx(200 * 1.1 - 5)


# ---- each figure comes from rows -------------------------------------------------------------------------------------

CHANGES: dict[tuple[str, str], str] = {
    ("/performance/aggregate", "total_pnl"): "UPDATE executions SET price = 101 WHERE exec_base = '000001'",
    ("/performance/aggregate", "realized_pnl"): "UPDATE executions SET commission = 2 WHERE exec_base = '000002'",
    ("/performance/aggregate", "unrealized_pnl"): "UPDATE live_quotes SET last = 131",
    ("/performance/aggregate", "win_rate"): "UPDATE executions SET price = 90 WHERE exec_base = '000002'",
    (
        "/performance/aggregate",
        "total_trades",
    ): "UPDATE executions SET latest = false WHERE exec_base IN ('000003', '000004')",
    ("/performance/aggregate", "winning_trades"): "UPDATE executions SET price = 90 WHERE exec_base = '000002'",
    ("/performance/aggregate", "profit_factor"): "UPDATE executions SET price = 106 WHERE exec_base = '000002'",
    (
        "/performance/aggregate",
        "max_drawdown",
    ): "UPDATE equity_days SET net_liquidation = 880 WHERE trade_date = '2024-01-04'",
    (
        "/performance/aggregate",
        "daily_returns",
    ): "UPDATE equity_days SET net_liquidation = 1200 WHERE trade_date = '2024-01-03'",
    (
        "/performance/history",
        "snapshots",
    ): "UPDATE equity_days SET net_liquidation = 900 WHERE trade_date = '2024-01-02'",
    ("/trades/summary", "total_trades"): "UPDATE executions SET latest = false WHERE exec_base = '000005'",
    ("/trades/summary", "winning_trades"): "UPDATE executions SET price = 90 WHERE exec_base = '000002'",
    ("/trades/summary", "losing_trades"): "UPDATE executions SET price = 90 WHERE exec_base = '000002'",
    ("/trades/summary", "win_rate"): "UPDATE executions SET price = 90 WHERE exec_base = '000002'",
    ("/trades/summary", "net_pnl"): "UPDATE executions SET price = 104 WHERE exec_base = '000002'",
    ("/trades/summary", "total_commission"): "UPDATE executions SET commission = 3 WHERE exec_base = '000001'",
    ("/portfolio/default/asset-allocations", "allocations"): "UPDATE live_quotes SET last = 131",
    ("/portfolio/default/performance-history", "history"): "DELETE FROM equity_days WHERE trade_date = '2024-01-04'",
}
NO_FIGURES = {"status", "account", "currency", "sharpe_ratio"}
"""Fields that are no figure, or that a few days leave unknown; the Sharpe ratio has a test of its own."""


@pytest.mark.parametrize(("path", "field"), CHANGES)
def test_a_figure_changes_with_its_rows(page: Page, path: str, field: str) -> None:
    traded(page)
    before = page.shown(path)[field]
    sql(page, CHANGES[path, field])
    assert page.shown(path)[field] != before


@pytest.mark.parametrize("path", sorted({path for path, _ in CHANGES}))
def test_every_figure_of_an_answer_has_its_change(page: Page, path: str) -> None:
    traded(page)
    assert {field for known, field in CHANGES if known == path} == set(page.shown(path)) - NO_FIGURES


def test_the_sharpe_ratio_comes_with_enough_days(page: Page) -> None:
    with page.db.transaction() as cursor:
        weekdays = [date(2024, 1, n) for n in range(1, 32) if date(2024, 1, n).weekday() < 5]
        for n, day in enumerate(weekdays):
            worth = Decimal(1000 + n * 10 + (n % 3) * 7)
            equity.put_day(cursor, EquityRow(ACCOUNT, day, worth, "USD", "broker", NOW + n))
    before = page.shown("/performance/aggregate")["sharpe_ratio"]
    assert before > 0
    sql(page, "UPDATE equity_days SET net_liquidation = 900 WHERE trade_date = '2024-01-19'")
    assert page.shown("/performance/aggregate")["sharpe_ratio"] < before


def test_without_rows_there_is_no_figure(page: Page) -> None:
    assert page.shown("/performance/history") == {"snapshots": []}
    assert page.shown("/portfolio/default/asset-allocations")["allocations"]["allocations"] == {}
    assert page.shown("/portfolio/default/performance-history")["history"]["performance"] == []
    page.fill(1, 10, "100")
    found = page.shown("/performance/aggregate")
    assert (found["total_pnl"], found["unrealized_pnl"], found["max_drawdown"]) == (None, None, None)
    allocated = page.shown("/portfolio/default/asset-allocations")["allocations"]["allocations"]
    assert allocated == {"STK": {"value": None, "percentage": None}}


# ---- rights ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/trades/",
        "/trades/summary",
        "/trades/export",
        "/performance/aggregate",
        "/performance/history",
        "/execution/metrics",
    ],
)
def test_nobody_reads_an_account_of_others(page: Page, path: str) -> None:
    assert page.answer(path, account_id=OTHER).status_code == 403


def test_nobody_reads_a_portfolio_of_others(page: Page) -> None:
    page.fill(1, 1, "5", account=OTHER)
    assert page.answer(f"/portfolio/{OTHER}/performance-history").status_code == 403
    assert page.shown("/trades/") == []
    assert page.shown("/trades/symbols") == {"symbols": []}
    nobody = page.stored.user(11, "orders:read")
    assert page.answer("/portfolio/default/asset-allocations", nobody).status_code == 404
