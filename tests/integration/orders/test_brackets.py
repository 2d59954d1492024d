"""A bracket whose entry has filled: what a cancel and a kill do to its exits, and which changes its orders take."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import httpx
import pytest

from tests.support.order_desk import ORDERS, OrderDeskStack, order_desk


@pytest.fixture
def desk(servers: SimpleNamespace, tmp_path: Path, dsn: str) -> Iterator[OrderDeskStack]:
    with order_desk(servers.group, tmp_path, dsn, settings={}) as made:
        yield made


def bracket(desk: OrderDeskStack, **entry: Any) -> list[UUID]:
    """The ids of entry, take-profit and stop-loss."""
    exits: dict[str, Any] = {"take_profit": {"limit_price": "330.00"}, "stop_loss": {"stop_price": "280.00"}}
    answer = desk.post(con_id=desk.stack.instrument.con_id, quantity=10, **exits, **entry)
    assert answer.status_code == 202, answer.text
    return [UUID(answer.json()["id"]), *(UUID(leg["id"]) for leg in answer.json()["legs"])]


def filled(desk: OrderDeskStack) -> list[UUID]:
    """A bracket whose entry has filled and whose exits protect the position."""
    legs = bracket(desk, type="MKT")
    desk.stack.until(legs[0], "filled")
    for leg in legs[1:]:
        desk.stack.until(leg, "working", "held")
    return legs


def patch(desk: OrderDeskStack, order: UUID, **changes: Any) -> httpx.Response:
    headers = {**desk.trader, "If-Match": f'"{desk.stack.order(order).version}"'}
    return desk.api.request("PATCH", f"{ORDERS}/{order}", json=changes, headers=headers)


def kill(desk: OrderDeskStack, **body: Any) -> dict[str, Any]:
    answer = desk.api.request("POST", f"{ORDERS}/kill", json={"reason": "a test", **body}, headers=desk.trader)
    assert answer.status_code == 202, answer.text
    found = str(answer.json()["kills"][0]["id"])
    query = "SELECT 1 FROM kill_orders WHERE id = %s AND done_at IS NOT NULL"
    desk.stack.wait(lambda: desk.stack.rows(query, found), "the kill is done", tell=desk.stack.log)
    return dict(answer.json())


def test_a_kill_of_entries_leaves_the_exits_and_one_of_ours_takes_them(desk: OrderDeskStack) -> None:
    _, *exits = filled(desk)
    assert kill(desk)["cancelling"] == []
    assert {desk.stack.order(leg).state for leg in exits} <= {"working", "held"}
    assert sorted(kill(desk, cancel="ours")["cancelling"]) == sorted(map(str, exits))
    for leg in exits:
        assert desk.stack.until(leg, "cancelled").reserved_quantity == 0
    (book,) = desk.stack.rows("SELECT position, reserved_sell FROM risk_book WHERE position <> 0")
    assert (book.position, book.reserved_sell) == (Decimal(10), Decimal(0))


def test_a_filled_entry_cannot_be_cancelled_and_all_orders_of_the_account_can(desk: OrderDeskStack) -> None:
    entry, *exits = filled(desk)
    over = desk.api.request("DELETE", f"{ORDERS}/{entry}", headers=desk.trader)
    assert (over.status_code, over.json()["code"], over.json()["state"]) == (409, "order-over", "filled")
    assert {desk.stack.order(leg).state for leg in exits} <= {"working", "held"}
    gone = desk.api.request("DELETE", f"{ORDERS}?account={desk.stack.account}", headers=desk.trader)
    assert sorted(gone.json()["cancelled"]) == sorted(map(str, exits))
    for leg in exits:
        desk.stack.until(leg, "cancelled")


def test_the_orders_of_a_bracket_keep_their_quantity_and_change_their_prices(desk: OrderDeskStack) -> None:
    legs = bracket(desk, limit_price="290.00")
    desk.stack.until(legs[0], "working")
    sent = len(desk.stack.placed())
    for leg in legs:
        answer = patch(desk, leg, quantity=12)
        assert answer.status_code == 422, answer.text
        (error,) = answer.json()["errors"]
        assert (error["field"], error["allowed"]) == ("quantity", ["10"])
        assert "exits would end another quantity" in answer.text
    assert len(desk.stack.placed()) == sent
    assert patch(desk, legs[0], limit_price="291.00").status_code == 202
    desk.stack.wait(lambda: desk.stack.order(legs[0]).confirmed_limit == 291, "IB has the price", tell=desk.stack.log)
    assert {desk.stack.order(leg).quantity for leg in legs} == {Decimal(10)}


def test_a_bracket_that_was_not_sent_keeps_its_quantity_too(desk: OrderDeskStack) -> None:
    desk.stack.stop()
    for leg in bracket(desk, limit_price="290.00"):
        assert patch(desk, leg, quantity=12).status_code == 422
        assert desk.stack.order(leg).quantity == 10


def test_an_exit_of_a_filled_entry_takes_a_new_price_without_its_parent(desk: OrderDeskStack) -> None:
    """IB refuses (135) a change that names a parent that is filled."""
    _, profit, _ = filled(desk)
    assert patch(desk, profit, limit_price="335.00").status_code == 202
    desk.stack.wait(lambda: desk.stack.order(profit).confirmed_limit == 335, "IB has the price", tell=desk.stack.log)
    last = desk.stack.received("placeOrder")[-1]["fields"]
    assert (last["orderRef"], int(last["parentId"])) == (str(profit), 0)
