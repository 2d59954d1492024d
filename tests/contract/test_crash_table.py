"""The answers of status 200 at which the old front end dies, line by line, on real answers: its page reads them here as there.

Orders have a test of their own (test_front_end_orders.py); a walk in Chromium is tests/e2e/test_front_end_walk.py.
"""

import json
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter

import functions.backfill.app
import functions.bars.app
import functions.frontend.app
import functions.orders.app
import functions.portfolio.app
import functions.strategies.app
from nautilus.market.bar import Bar
from tests.support.front_end_page import bars_drawn, card_drawn, drawn, engine_drawn, positions_drawn, trades_drawn
from tests.support.markets import MINUTE, ns, nyse
from tests.support.order_ledger import ACCOUNT, ib_says, placed, sent, status
from tests.support.portfolio_api import Portfolio, portfolio
from tests.support.stored_bars import Api, stock

PAGES = APIRouter()
for function in ("backfill", "bars", "frontend", "orders", "portfolio", "strategies"):
    PAGES.routes.extend(getattr(functions, function).app.router.routes)

STATUS, ENGINE, CATALOG = "/historical/backfill/status", "/nautilus/engine/status", "/nautilus/data/catalog"
POSITIONS, ORDERS, TRADES, BARS = "/ib/positions", "/ib/orders", "/trades/", "/market-data/historical/bars"
CHART = {"symbol": "AAPL", "asset_class": "STK", "exchange": "NASDAQ", "currency": "USD"}
FRAMES = ["1m", "2m", "5m", "10m", "15m", "30m", "1h", "2h", "4h", "1d", "1w", "1M"]
OPEN = ns("2024-01-08 09:30", "America/New_York")
MINUTES = 30
"""From the open to market time."""
BEGINS = ns("2023-12-18 09:30", "America/New_York")
"""Longer ago than any window of the page of bars that are made of minutes: such a window has them where no minute is missing."""


class Page:
    """The routes of the page before a store, read by somebody with one account."""

    def __init__(self, books: Portfolio, folder: Path) -> None:
        self.books = books
        self.api: Api = books.stored.api(folder, router=PAGES)
        scopes = ("bars:read", "monitoring:read", "orders:read", "orders:write")
        self.reader = books.stored.user(8, *scopes, accounts=[ACCOUNT])

    def text(self, path: str, **query: Any) -> str:
        answer = self.api.get(f"/api/v1{path}", headers=self.reader, params=query)
        assert answer.status_code == 200, answer.text
        return answer.text


@pytest.fixture
def page(dsn: str, tmp_path: Path) -> Iterator[Page]:
    with portfolio(dsn, tmp_path) as books:
        yield Page(books, tmp_path)


def traded(page: Page) -> None:
    """Long and short, a fraction, a contract that nobody looked up, one without a price; a fill without its commission."""
    books = page.books
    books.fill(1, 10, "100")
    books.fill(2, -3, "5000.25", con_id=2, fee=None)
    books.fill(3, 5, "1.2", con_id=777)
    books.fill(4, 20_000, "1.0951", con_id=3)
    books.quote(last=130.0)
    books.broker_holds((1, 10), (4, 2))
    row = sent(books.db, placed(books.db).orders[0].id)
    ib_says(books.db, status(row, "Submitted", 77))
    with books.db.transaction() as cursor:
        cursor.execute("UPDATE risk_book SET position = 0.5 WHERE con_id = 777")


def charted(page: Page) -> None:
    """Bars of one minute and of a day of a stock."""
    stored, one = page.books.stored, stock(con_id=9)
    stored.instrument(one, nyse(date(2023, 12, 1), 60))
    bars = [Bar(OPEN + n * MINUTE, 1.5, 2.0, 1.0, 1.75, None if n % 2 else 10.0, None, None) for n in range(MINUTES)]
    stored.record(one, "1m", bars, settled=[(BEGINS, OPEN + MINUTES * MINUTE)])


# ---- on real answers -------------------------------------------------------------------------------------------------


def test_the_card_has_a_mode_before_any_job_and_any_bridge(page: Page) -> None:
    assert card_drawn(page.text(STATUS)) == "IBKR"
    page.books.stored.rows("DELETE FROM ib_sessions RETURNING 1")
    assert card_drawn(page.text(STATUS)) == "IBKR"


def test_positions_have_numbers_whatever_is_not_known_of_them(page: Page) -> None:
    assert positions_drawn(page.text(POSITIONS)) == []
    traded(page)
    rows = positions_drawn(page.text(POSITIONS))
    assert [row["position"] for row in rows] == ["10.00", "-3.00", "20000.00", "0.50"]
    assert [row["unrealized_pnl"] for row in rows] == ["300.00", "-", "-", "-"]


def test_orders_and_trades_have_their_shapes_without_and_with_rows(page: Page) -> None:
    assert (drawn(page.text(ORDERS)), trades_drawn(page.text(TRADES))) == ([], [])
    traded(page)
    (order,) = [row for row in drawn(page.text(ORDERS)) if row["status"] == "Submitted"]
    assert (order["quantity"], order["filled"]) == ("1", "0")
    rows = trades_drawn(page.text(TRADES, limit=100, offset=0))
    assert sorted(rows) == ["BUY 10 at 100", "BUY 20000 at 1.0951", "BUY 5 at 1.2", "SELL 3 at 5000.25"]


def test_the_engine_has_a_state_and_there_is_no_catalog(page: Page) -> None:
    assert engine_drawn(page.text(ENGINE)) == "STOPPED"
    answer = page.api.get(f"/api/v1{CATALOG}", headers=page.reader)
    assert (answer.status_code, isinstance(answer.json()["detail"], str)) == (404, True)


@pytest.mark.parametrize("timeframe", FRAMES)
def test_a_chart_of_each_timeframe_has_times_and_numbers_that_it_draws(page: Page, timeframe: str) -> None:
    charted(page)
    times = bars_drawn(page.text(BARS, timeframe=timeframe, **CHART))
    if timeframe in ("1m", "5m"):
        assert len(times) >= MINUTES / int(timeframe[0]) - 1, "the window of the page has bars"
    assert sorted(set(times)) == times


def test_a_chart_without_bars_is_empty(page: Page) -> None:
    page.books.stored.instrument(stock(con_id=9), nyse(date(2023, 12, 1), 60))
    assert bars_drawn(page.text(BARS, timeframe="1h", **CHART)) == []


# ---- answers of which the page dies ----------------------------------------------------------------------------------

CANDLE = {"time": "20240105  14:30:00Z", "open": 1, "high": 2, "low": 1, "close": 1.5, "volume": 10}
POSITION = {"position": 1, "avg_cost": None, "market_price": None, "market_value": None, "unrealized_pnl": None}
DEADLY: list[tuple[Callable[[str], Any], Any]] = [
    (card_drawn, {"service_status": None}),
    (card_drawn, {"controller": {}}),
    (card_drawn, {"controller": {"current_mode": None}}),
    (positions_drawn, {"positions": [POSITION | {"position": "1"}]}),
    (positions_drawn, {"positions": [POSITION | {"position": None}]}),
    (positions_drawn, {"positions": [POSITION | {"unrealized_pnl": "1.5"}]}),
    (trades_drawn, {"trades": []}),
    (engine_drawn, {"success": False, "status": {"error": "away"}}),
    (bars_drawn, {"candles": [CANDLE | {"time": 1704465000}]}),
    (bars_drawn, {"candles": [CANDLE | {"time": "2024-01-05T14:30:00Z"}]}),
    (bars_drawn, {"candles": [CANDLE | {"close": None}]}),
    (bars_drawn, {"candles": [CANDLE | {"open": "1"}]}),
]


@pytest.mark.parametrize(("read", "answer"), DEADLY)
def test_the_page_dies_of_other_shapes(read: Callable[[str], Any], answer: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        read(json.dumps(answer))
