"""Orders of the old front end with the order process and the simulator: what its list shows of what IB makes of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from nautilus.db.market import instruments
from nautilus.market.symbols import Selector
from nautilus.orders import front_end
from tests.support.front_end_orders import Page
from tests.support.front_end_page import FORM, drawn
from tests.support.order_process import OrderStack, order_stack
from tests.support.stored_bars import StoredBars

MARKET = {**FORM, "symbol": "AAPL"}
RESTING = {**MARKET, "order_type": "LMT", "limit_price": 290}


@contextmanager
def trading(servers: Any, folder: Path, dsn: str) -> Iterator[tuple[Page, OrderStack]]:
    """The page before an order process that is ready."""
    with order_stack(servers.group, folder, dsn, settings={}) as stack:
        with stack.db.transaction() as cursor:
            instruments.remember(cursor, Selector("STK", "AAPL", "USD").key, [stack.instrument.con_id], keep_s=None)
        stored = StoredBars(dsn, stack.market_ns())
        try:
            yield Page(stored, folder, account=stack.account), stack
        finally:
            stored.close()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer to a new order waits for as long as the machine needs; it comes when the order is on its way."""
    monkeypatch.setattr(front_end, "WAIT_S", 60)


@pytest.mark.usefixtures("patient")
def test_an_order_of_the_page_is_sent_filled_changed_and_cancelled(servers: Any, tmp_path: Path, dsn: str) -> None:
    with trading(servers, tmp_path, dsn) as (page, stack):
        bought = page.placed(MARKET)
        stack.until(UUID(bought), "filled")
        (row,) = drawn(page.send("GET", "").text)
        assert (row["symbol"], row["action"], row["type"], row["price"]) == ("AAPL", "BUY", "MKT", "Market")
        assert (row["quantity"], row["filled"], row["status"]) == ("10", "10", "Filled")
        (order,) = page.listed()
        fills = page.order(bought)["executions"]
        assert order["filled_quantity"] == sum(float(one["quantity"]) for one in fills) == 10
        assert order["avg_fill_price"] > 0

        resting = page.placed(RESTING)
        stack.until(UUID(resting), "working")
        assert page.shown(resting) == "Submitted"
        done = page.send("PUT", f"/{resting}/modify", json={"quantity": 10, "limit_price": 291.5})
        assert (done.status_code, done.json()["order"]["limit_price"]) == (200, 291.5), done.text
        assert page.order(resting)["prices"]["confirmed"]["limit"] == "291.5"
        gone = page.send("DELETE", f"/{resting}/cancel")
        assert (gone.status_code, gone.json()["order"]["status"]) == (200, "Cancelled"), gone.text
        assert page.shown(resting) == "Cancelled"
        assert stack.placed() == [bought, resting, resting], "the third is the change"


def test_a_double_click_is_sent_to_ib_once(servers: Any, tmp_path: Path, dsn: str) -> None:
    with trading(servers, tmp_path, dsn) as (page, stack):
        answers = page.clicks(4, MARKET)
        (number,) = {answer.json()["order_id"] for answer in answers}
        stack.until(UUID(number), "filled")
        assert page.placed(MARKET) == number, "also when it is filled by now"
        assert stack.placed() == [number]
        assert [row.position for row in stack.rows("SELECT position FROM risk_book")] == [10]


@pytest.mark.usefixtures("patient")
def test_what_ib_refuses_is_an_error_of_the_page(servers: Any, tmp_path: Path, dsn: str) -> None:
    with trading(servers, tmp_path, dsn) as (page, stack):
        stack.sim.command('reject_order 201 "Order rejected - reason: no"')
        answer = page.click(RESTING)
        assert (answer.status_code, answer.json()["code"]) == (424, "order-rejected"), answer.text
        assert "Order rejected - reason: no" in answer.json()["detail"]
        assert page.shown(answer.json()["order"]["order_id"]) == "Rejected"


@pytest.mark.usefixtures("patient")
def test_a_change_that_ib_refuses_is_an_error_of_the_page(servers: Any, tmp_path: Path, dsn: str) -> None:
    with trading(servers, tmp_path, dsn) as (page, stack):
        number = page.placed(RESTING)
        stack.until(UUID(number), "working")
        stack.sim.command('reject_next placeOrder 110 "The price is off"')
        wrong = page.send("PUT", f"/{number}/modify", json={"limit_price": 291})
        assert (wrong.status_code, wrong.json()["code"]) == (424, "order-change-refused"), wrong.text
        assert "The price is off" in wrong.json()["detail"]
        stack.sim.command('reject_next cancelOrder 10147 "not found"')
        kept = page.send("POST", f"/{number}/cancel")
        assert (kept.status_code, kept.json()["code"]) == (424, "order-change-refused"), kept.text
        assert (page.shown(number), page.order(number)["prices"]["wanted"]["limit"]) == ("Submitted", "290")


@pytest.mark.usefixtures("patient")
def test_what_the_order_process_denies_is_an_error_of_the_page(servers: Any, tmp_path: Path, dsn: str) -> None:
    with trading(servers, tmp_path, dsn) as (page, stack):
        answer = page.click(RESTING, limit_price=400)
        assert (answer.status_code, answer.json()["code"]) == (422, "order-denied"), answer.text
        assert "price_collar" in answer.json()["detail"]
        assert stack.placed() == []


def test_an_order_that_the_gateway_swallows_becomes_unknown_and_is_not_placed_again(
    servers: Any, tmp_path: Path, dsn: str
) -> None:
    with trading(servers, tmp_path, dsn) as (page, stack):
        stack.sim.command("eat_order 1")
        page.click(RESTING)
        (order,) = page.listed()
        stack.until(UUID(order["order_id"]), "unknown")
        again = page.click(RESTING)
        assert again.status_code in (409, 422), again.text  # by whether the first click was more than ten seconds ago
        assert again.json()["code"] in ("order-unknown", "order-denied")
        assert page.shown(order["order_id"]) == "Unknown"
        assert stack.placed() == [order["order_id"]]


def test_without_the_order_process_an_order_is_stored_and_sent_once_it_is_back(
    servers: Any, tmp_path: Path, dsn: str
) -> None:
    with trading(servers, tmp_path, dsn) as (page, stack):
        stack.stop()
        answer = page.click(RESTING)
        assert answer.status_code == 200, answer.text
        number = answer.json()["order_id"]
        assert "not sent yet" in answer.json()["message"]
        assert page.shown(number) == "Accepted"
        assert "stopped" in page.send("POST", "/refresh").json()["message"]
        stack.start()
        stack.until(UUID(number), "working")
        assert (page.shown(number), stack.placed()) == ("Submitted", [number])
