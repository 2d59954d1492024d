"""The old front end's routes of risk, benchmarks and allocations: each figure comes from rows, and what has none is no figure."""

import json
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import functions.frontend.app
from nautilus.clock import label_of
from nautilus.db.cursor import Cursor
from nautilus.db.market import series
from nautilus.db.portfolio import equity
from nautilus.db.portfolio.equity import EquityRow
from nautilus.market.timeframes import timeframe
from nautilus.orders.words import Commission
from nautilus.portfolio.trade_dates import before
from tests.support.order_ledger import ACCOUNT, NOW, execution, ib_says, placed, row_of, sent, status, ticket
from tests.support.portfolio_api import OTHER, Portfolio, instrument, portfolio
from tests.support.stored_bars import Api

MINUTE = 60_000_000_000
LAST = date(2024, 1, 5)
"""The newest trade date that is over."""
SPY, SHARE = 5, 1


class Page(Portfolio):
    """The page's calls, by a reader of one account."""

    page: Api

    def answer(self, path: str, headers: dict[str, str] | None = None, **query: Any) -> Any:
        return self.page.get(f"/api/v1{path}", headers=headers or self.reader, params=query)

    def shown(self, path: str, **query: Any) -> Any:
        found = self.answer(path, **query)
        assert found.status_code == 200, found.text
        return found.json()

    def refusal(self, path: str, **query: Any) -> str:
        found = self.answer(path, **query)
        assert (found.status_code, found.json()["code"]) == (404, "no-figures"), found.text
        assert isinstance(found.json()["detail"], str)
        return str(found.json()["detail"])


@pytest.fixture
def page(dsn: str, tmp_path: Path) -> Iterator[Page]:
    with portfolio(dsn, tmp_path) as made:
        made.__class__ = Page
        assert isinstance(made, Page)
        made.page = made.stored.api(tmp_path, router=functions.frontend.app.router)
        with made.db.transaction() as cursor:
            instrument(cursor, SPY, "SPY")
        yield made


def trade_dates(count: int) -> list[date]:
    """So many trade dates, the newest last."""
    found = [LAST]
    while len(found) < count:
        found.append(before(found[-1]))
    return found[::-1]


def worth(page: Page, *values: int) -> None:
    """The account's equity on the newest trade dates."""
    with page.db.transaction() as cursor:
        for day, value in zip(trade_dates(len(values)), values, strict=True):
            equity.put_day(cursor, EquityRow(ACCOUNT, day, Decimal(value), "USD", "broker", NOW))


def closes(cursor: Cursor, con_id: int, *values: float, price: str = "TRADES") -> None:
    """The daily bars of an instrument on the newest trade dates."""
    found = series.find_or_make(cursor, con_id, timeframe("1d"), price=price, session="rth")
    for day, value in zip(trade_dates(len(values)), values, strict=True):
        cursor.execute(
            "INSERT INTO bars_coarse (series_id, ts, open, high, low, close) VALUES (%s, %s, %s, %s, %s, %s)",
            (found.id, label_of(day), value, value, value, value),
        )


def uneven(count: int, step: int = 1) -> list[int]:
    """Values that rise and fall."""
    return [10_000 + 40 * n * step + (n * 7919 % 13 - 6) * 30 * step for n in range(count)]


def past(page: Page, count: int = 30) -> None:
    """An account with a past, and a market that it is compared with."""
    worth(page, *uneven(count))
    with page.db.transaction() as cursor:
        closes(cursor, SPY, *[400 + n + (n * 7919 % 13 - 6) * 2.0 for n in range(count)])


def held(page: Page) -> None:
    """Five shares at 130, and two of a future, short."""
    page.fill(1, 5, "100", at=NOW - MINUTE)
    page.quote(last=130.0)
    page.fill(2, -2, "5000", con_id=2, at=NOW - MINUTE)
    page.quote(con_id=2, last=5000.0)


def change(page: Page, statement: str) -> None:
    with page.db.transaction() as cursor:
        cursor.execute(statement)


# ---- exposure --------------------------------------------------------------------------------------------------------


def test_exposure_is_that_of_positions_at_their_marks(page: Page) -> None:
    held(page)
    found = page.shown("/risk/exposure/default")
    names = ("total_exposure", "long_exposure", "short_exposure", "net_exposure")
    assert [found[name] for name in names] == ["500650.00", "650.00", "500000.00", "-499350.00"]
    assert [(row["symbol"], row["exposure"]) for row in found["by_instrument"]] == [
        ("ESZ", "-500000.00"),
        ("A", "650.00"),
    ]
    assert sum(row["percentage"] for row in found["by_instrument"]) == pytest.approx(100)
    assert [(row["name"], row["exposure"]) for row in found["by_asset_class"]] == [
        ("FUT", "500000.00"),
        ("STK", "650.00"),
    ]
    assert [(row["name"], row["percentage"]) for row in found["by_currency"]] == [("USD", 100)]
    assert found["concentration"]["largest"] == "ESZ"
    assert found["concentration"]["herfindahl"] == pytest.approx((500_000**2 + 650**2) / 500_650**2, abs=1e-6)


def test_a_position_without_a_price_leaves_exposure_unknown_with_a_reason(page: Page) -> None:
    held(page)
    page.fill(3, 1, "40", con_id=4)
    found = page.shown("/risk/exposure/default")
    assert (found["total_exposure"], found["long_exposure"], found["net_exposure"]) == (None, None, None)
    assert found["why"] == {"total_exposure": "no price, multiplier or exchange rate is known of SAP"}
    page.quote(con_id=4, last=40.0)
    assert page.shown("/risk/exposure/default")["total_exposure"] is None, "its rate is not known"
    page.values(at=NOW, currency="EUR", ExchangeRate="1.1")
    assert page.shown("/risk/exposure/default")["total_exposure"] == "500694.00"


def test_an_empty_account_has_no_exposure(page: Page) -> None:
    found = page.shown("/risk/exposure/default")
    assert (found["total_exposure"], found["by_instrument"], found["why"]) == ("0.00", [], {})
    assert found["concentration"] == {"largest": None, "largest_percentage": None, "herfindahl": None}


# ---- losses ----------------------------------------------------------------------------------------------------------


def test_the_losses_of_the_example(page: Page) -> None:
    """As docs/portfolio.md has it: two falls of 4 and 2 percent among twenty days, and an equity of 10,000."""
    values = [Decimal(10_000)]
    for move in ("0", *["0.01"] * 17, "-0.02", "-0.04"):
        values.insert(0, values[0] / (1 + Decimal(move)))
    with page.db.transaction() as cursor:
        for day, value in zip(trade_dates(21), values, strict=True):
            equity.put_day(cursor, EquityRow(ACCOUNT, day, value, "USD", "broker", NOW))
        closes(cursor, SPY, *[float(400 + n % 3) for n in range(21)])
    found = page.shown("/risk/portfolio/default")
    assert (found["var_1d"], found["expected_shortfall"], found["total_exposure"]) == ("210.00", "400.00", "0.00")
    assert found["why"] == {}


def test_a_loss_needs_enough_trade_dates(page: Page) -> None:
    past(page, 30)
    found = page.shown("/risk/metrics/default")
    known = {name for name, value in found.items() if isinstance(value, str) and name.startswith(("var", "expected"))}
    assert known == {"var_1d_95", "expected_shortfall_95"}
    assert set(found["why"]) == {f"var_{one}" for one in ("1d_99", "1w_95", "1w_99", "1m_95", "1m_99")} | {
        "expected_shortfall_99"
    }
    assert found["why"]["var_1w_95"] == "20 returns of 5 trade dates each are needed, there are 5"


def test_a_page_is_told_nothing_where_it_could_draw_no_null(page: Page) -> None:
    worth(page, *uneven(20))
    assert "20 returns of a trade date are needed, there are 19" in page.refusal("/risk/metrics/default")
    assert "SPY" in page.refusal("/risk/portfolio/default")
    worth(page, *uneven(30))
    assert "SPY" in page.refusal("/risk/metrics/default")
    past(page, 30)
    assert page.shown("/risk/metrics/default")["days"] == 29


def test_trade_dates_that_are_missing_leave_no_figure(page: Page) -> None:
    past(page, 30)
    change(page, "DELETE FROM equity_days WHERE trade_date = '2023-12-20'")
    assert "missing" in page.refusal("/risk/metrics/default")
    found = page.shown("/risk/portfolio/default")
    assert found["var_1d"] is not None, "27 returns of single trade dates are left"


def test_a_deposit_without_a_rate_leaves_no_loss(page: Page) -> None:
    past(page, 30)
    given: dict[str, Any] = {"account": ACCOUNT, "currency": "CHF", "amount": "5", "kind": "deposit"}
    given["at"] = "2023-12-20T12:00:00Z"
    assert page.post("/cash", **given).status_code == 201
    assert "CHF" in page.refusal("/risk/metrics/default")


# ---- charts ----------------------------------------------------------------------------------------------------------


def test_value_at_risk_of_each_trade_date_counts_what_was_known_then(page: Page) -> None:
    past(page, 30)
    found = page.shown("/risk/charts/default", chart_type="var_history")["data"]
    assert len(found) == 10
    assert found[-1]["date"] == LAST.isoformat()
    assert f"{found[-1]['var_1d_95']:.2f}" == page.shown("/risk/portfolio/default")["var_1d"]
    change(page, f"UPDATE equity_days SET net_liquidation = 1 WHERE trade_date = '{LAST}'")
    again = page.shown("/risk/charts/default", chart_type="var_history")["data"]
    assert again[:-1] == found[:-1], "what comes later changes no day before it"


def test_correlations_are_those_of_what_is_held(page: Page) -> None:
    held(page)
    assert [(row["x"], row["y"], row["correlation"]) for row in matrix(page)] == [("ESZ", "A", None)]
    values = [100.0 + n + n * 7919 % 13 for n in range(25)]
    with page.db.transaction() as cursor:
        closes(cursor, SHARE, *values)
        closes(cursor, 2, *(10_000 / value for value in values))
    (row,) = matrix(page)
    assert (row["correlation"] < -0.9, row["days"]) == (True, 24)


def matrix(page: Page) -> list[dict[str, Any]]:
    return list(page.shown("/risk/charts/default", chart_type="correlation_matrix")["data"])


def test_another_chart_is_refused_by_name(page: Page) -> None:
    answer = page.answer("/risk/charts/default", chart_type="pie")
    assert answer.status_code == 422
    assert "chart_type" in answer.json()["detail"]


# ---- benchmarks ------------------------------------------------------------------------------------------------------


def test_a_benchmark_is_made_of_our_daily_bars(page: Page) -> None:
    assert "0 daily bars of SPY" in page.refusal("/performance/benchmarks/SPY")
    past(page, 30)
    found = page.shown("/performance/benchmarks/SPY")
    assert (found["symbol"], found["name"], found["days"], found["last"]) == ("SPY", "SPY", 30, LAST.isoformat())
    assert found["return_period"] == pytest.approx((400 + 29 + (29 * 7919 % 13 - 6) * 2) / (400 - 12) * 100 - 100)
    start = (LAST - timedelta(10)).isoformat() + "T00:00:00.000Z"
    assert "9 daily bars of SPY" in page.refusal("/performance/benchmarks/SPY", start_date=start)
    assert "QQQ" in page.refusal("/performance/benchmarks/QQQ")
    assert page.answer("/performance/benchmarks/spy!").status_code == 422


def test_bars_of_trades_count_before_those_of_quotes(page: Page) -> None:
    with page.db.transaction() as cursor:
        closes(cursor, SPY, *[float(10 + n % 2) for n in range(25)], price="MIDPOINT")
        closes(cursor, SPY, *[float(100 + n) for n in range(25)])
    assert page.shown("/performance/benchmarks/SPY")["return_period"] == pytest.approx(24)


def test_an_account_beside_its_benchmark(page: Page) -> None:
    worth(page, 1000, 1100, 990)
    found = page.shown("/portfolio/default/benchmark-comparison")["comparison"]
    assert [one["return"] for one in found["portfolio"]["performance"]] == [0, 10, pytest.approx(-1)]
    assert (found["benchmark"]["performance"], "SPY" in found["why"]) == ([], True)
    with page.db.transaction() as cursor:
        closes(cursor, SPY, 400.0, 440.0)
    found = page.shown("/portfolio/default/benchmark-comparison", benchmark="SPY")["comparison"]
    assert [one["return"] for one in found["benchmark"]["performance"]] == [0, 10]
    assert [one["return"] for one in found["portfolio"]["performance"]] == [0, -10], "since the same date"
    assert found["why"] is None


# ---- allocations to tags ---------------------------------------------------------------------------------------------


def by_order(page: Page, n: int, quantity: int, price: str, *tags: str) -> None:
    row = sent(page.db, placed(page.db, ticket("BUY", quantity, tags=tags)).orders[0].id)
    ib_says(page.db, status(row, "Submitted", 100 + n))
    word = execution(row_of(page.db, row.id), quantity, price, time_ns=NOW - (30 - n) * MINUTE)
    ib_says(page.db, word, Commission(word.exec_id, Decimal(0), "USD", None))


def test_open_lots_belong_to_the_tag_of_the_order_that_opened_them(page: Page) -> None:
    by_order(page, 1, 6, "100", "trend")
    by_order(page, 2, 3, "110", "mean", "slow")
    page.fill(9, 1, "120", at=NOW - MINUTE)
    page.quote(last=130.0)
    found = page.shown("/portfolio/default/strategy-allocations")["allocations"]["strategies"]
    assert [(one["name"], one["value"], one["allocation"], one["pnl"]) for one in found] == [
        ("mean", 390, 30, 60),
        ("none", 130, 10, 10),
        ("trend", 780, 60, 180),
    ]
    page.fill(10, -6, "130", at=NOW)  # first in, first out
    left = page.shown("/portfolio/default/strategy-allocations")["allocations"]["strategies"]
    assert [one["name"] for one in left] == ["mean", "none"]


def test_without_a_price_an_allocation_is_not_known(page: Page) -> None:
    by_order(page, 1, 6, "100", "trend")
    (found,) = page.shown("/portfolio/default/strategy-allocations")["allocations"]["strategies"]
    assert (found["value"], found["allocation"], found["pnl"]) == (None, None, None)


# ---- each figure comes from rows -------------------------------------------------------------------------------------

_QUOTE = "UPDATE live_quotes SET last = last * 1.1"
_DAY = "UPDATE equity_days SET net_liquidation = net_liquidation * 0.8 WHERE trade_date = '2023-12-20'"
_LAST_DAY = f"UPDATE equity_days SET net_liquidation = net_liquidation * 1.2 WHERE trade_date = '{LAST}'"
_BAR = "UPDATE bars_coarse SET close = close * 1.1 WHERE ts = 1703030400000000000"
CHANGES: dict[tuple[str, str], str] = {
    **{
        ("/risk/exposure/default", name): _QUOTE
        for name in (
            "total_exposure",
            "long_exposure",
            "short_exposure",
            "net_exposure",
            "by_instrument",
            "by_currency",
        )
    },
    ("/risk/exposure/default", "by_asset_class"): _QUOTE,
    ("/risk/exposure/default", "concentration"): "UPDATE live_quotes SET last = last * 2 WHERE con_id = 1",
    ("/risk/portfolio/default", "total_exposure"): _QUOTE,
    ("/risk/portfolio/default", "var_1d"): _LAST_DAY,
    ("/risk/portfolio/default", "expected_shortfall"): _DAY,
    ("/risk/portfolio/default", "beta"): _BAR,
    ("/risk/portfolio/default", "equity_of"): f"DELETE FROM equity_days WHERE trade_date = '{LAST}'",
    ("/risk/metrics/default", "var_1d_95"): _DAY,
    ("/risk/metrics/default", "expected_shortfall_95"): _DAY,
    ("/risk/metrics/default", "beta_vs_market"): _BAR,
    ("/risk/metrics/default", "correlation_with_market"): _BAR,
    ("/risk/metrics/default", "portfolio_volatility"): _DAY,
    ("/risk/metrics/default", "sharpe_ratio"): _DAY,
    ("/risk/metrics/default", "max_drawdown"): _DAY,
    (
        "/risk/metrics/default",
        "days",
    ): "DELETE FROM equity_days WHERE trade_date = (SELECT min(trade_date) FROM equity_days)",
    ("/risk/charts/default", "data"): _DAY,
    ("/performance/benchmarks/SPY", "return_period"): f"UPDATE bars_coarse SET close = 500 WHERE ts = {label_of(LAST)}",
    ("/performance/benchmarks/SPY", "volatility"): _BAR,
    ("/performance/benchmarks/SPY", "sharpe_ratio"): _BAR,
    ("/performance/benchmarks/SPY", "days"): f"DELETE FROM bars_coarse WHERE ts = {label_of(LAST)}",
    ("/performance/benchmarks/SPY", "last"): f"DELETE FROM bars_coarse WHERE ts = {label_of(LAST)}",
    ("/performance/benchmarks/SPY", "first"): "DELETE FROM bars_coarse WHERE ts = (SELECT min(ts) FROM bars_coarse)",
    ("/portfolio/default/benchmark-comparison", "comparison"): _BAR,
    ("/portfolio/default/strategy-allocations", "allocations"): _QUOTE,
}
NO_FIGURES = {
    *("portfolio_id", "account", "currency", "as_of", "why", "status", "symbol", "name", "chart_type", "by_sector"),
    *(f"var_{one}" for one in ("1d_99", "1w_95", "1w_99", "1m_95", "1m_99")),
    "expected_shortfall_99",
}
"""Fields that are no figure, or that thirty days leave unknown."""


@pytest.mark.parametrize(("path", "field"), CHANGES)
def test_a_figure_changes_with_its_rows(page: Page, path: str, field: str) -> None:
    past(page, 30)
    held(page)
    before_it = page.shown(path)[field]
    change(page, CHANGES[path, field])
    assert page.shown(path)[field] != before_it


@pytest.mark.parametrize("path", sorted({path for path, _ in CHANGES}))
def test_every_figure_of_an_answer_has_its_change(page: Page, path: str) -> None:
    past(page, 30)
    held(page)
    assert {field for known, field in CHANGES if known == path} == set(page.shown(path)) - NO_FIGURES


# ---- shapes that the page takes --------------------------------------------------------------------------------------


def drawn(path: str, text: str) -> None:
    """What the page does with an answer: money is text or null, ratios are numbers, lists are lists. TypeError where it dies."""
    body = json.loads(text)
    for name, value in body.items():
        if name.startswith(("total_", "var_", "expected_", "long_", "short_", "net_")):
            if value is not None and not isinstance(value, str):
                raise TypeError(f"{name} is no text")
        elif name in ("beta", "beta_vs_market", "correlation_with_market", "portfolio_volatility", "sharpe_ratio") or (
            name in ("return_period", "volatility", "max_drawdown")
        ):
            if type(value) not in (int, float):
                raise TypeError(f"{value!r}.toFixed is not a function")
        elif (name.startswith("by_") or name == "data") and not isinstance(value, list):
            raise TypeError(f"{name}.map is not a function")
    if path.endswith("strategy-allocations"):
        body["allocations"]["strategies"][0:0] = []
    if path.endswith("benchmark-comparison"):
        body["comparison"]["portfolio"]["performance"][0:0] = body["comparison"]["benchmark"]["performance"][0:0]


PATHS = sorted({path for path, _ in CHANGES})


@pytest.mark.parametrize("filled", [False, True])
@pytest.mark.parametrize("path", PATHS)
def test_the_page_can_draw_every_answer(page: Page, path: str, filled: bool) -> None:
    if filled:
        past(page, 30)
        held(page)
    answer = page.answer(path)
    assert answer.status_code == 200 or not filled
    if answer.status_code == 200:
        drawn(path, answer.text)


@pytest.mark.parametrize(("field", "value"), [("beta", None), ("beta", "1.2"), ("var_1d", 210)])
def test_the_page_dies_of_other_shapes(page: Page, field: str, value: Any) -> None:
    past(page, 30)
    body = page.shown("/risk/portfolio/default")
    drawn("", json.dumps(body))
    with pytest.raises(TypeError):
        drawn("", json.dumps({**body, field: value}))


# ---- rights ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [path for path in PATHS if "default" in path])
def test_nobody_reads_a_portfolio_of_others(page: Page, path: str) -> None:
    assert page.answer(path.replace("default", OTHER)).status_code == 403
