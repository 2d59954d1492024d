"""The shapes that the old front end needs of orders, and the answers at which its page would die, on real answers."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nautilus.orders import front_end
from nautilus.orders.states import OVER, OrderState
from tests.support.front_end_orders import Page, tradable
from tests.support.front_end_page import FORMS, LIMIT, drawn

NUMBER = (int, float)
FIELDS: dict[str, type | tuple[type, ...]] = {
    "order_id": str,
    "account_id": str,
    "contract_id": str,
    "symbol": str,
    "action": str,
    "order_type": str,
    "time_in_force": str,
    "total_quantity": NUMBER,
    "filled_quantity": NUMBER,
    "remaining_quantity": NUMBER,
    "status": str,
    "state": str,
    "timestamp": str,
}
PERHAPS: dict[str, type | tuple[type, ...]] = {
    "client_id": int,
    "limit_price": NUMBER,
    "stop_price": NUMBER,
    "avg_fill_price": NUMBER,
    "message": str,
}
"""Fields that are null while nothing is known."""


@pytest.fixture
def page(dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    monkeypatch.setattr(front_end, "WAIT_S", 0)
    with tradable(dsn) as stored:
        yield Page(stored, tmp_path)


def assert_shape(order: dict[str, Any]) -> None:
    assert set(order) == set(FIELDS) | set(PERHAPS)
    for name, kind in FIELDS.items():
        assert isinstance(order[name], kind), name
        assert not isinstance(order[name], bool), name
    for name, kind in PERHAPS.items():
        assert order[name] is None or isinstance(order[name], kind), name


@pytest.mark.parametrize("name", FORMS)
def test_every_form_is_placed_and_its_orders_are_drawn(page: Page, name: str) -> None:
    answer = page.click(FORMS[name])
    assert answer.status_code == 200, answer.text
    assert isinstance(answer.json()["order_id"], str)
    text = page.send("GET", "").text
    assert len(drawn(text)) == (3 if name == "BRACKET" else 1)
    for order in json.loads(text)["orders"]:
        assert_shape(order)


def test_orders_in_every_state_are_drawn_with_a_status_each(page: Page) -> None:
    numbers = [page.placed(quantity=n + 1) for n in range(len(OrderState))]
    for order_id, state in zip(numbers, OrderState, strict=True):
        if state is not OrderState.ACCEPTED:
            page.moved(order_id, state)
    text = page.send("GET", "").text
    rows = drawn(text)
    assert len({row["status"] for row in rows}) == len(OrderState)
    coloured = {order["state"] for order in json.loads(text)["orders"] if order["status"] in ("Filled", "Cancelled")}
    assert coloured < OVER, "the page takes no cancel of an order with one of these words"


def test_an_empty_list_is_a_list(page: Page) -> None:
    assert page.send("GET", "").json() == {"orders": []}


@pytest.mark.parametrize(
    ("field", "value"), [("total_quantity", "10"), ("filled_quantity", None), ("order_id", 7), ("limit_price", "99.95")]
)
def test_the_page_dies_of_other_shapes(page: Page, field: str, value: Any) -> None:
    page.placed()
    body = page.send("GET", "").json()
    assert drawn(json.dumps(body))
    body["orders"][0][field] = value
    with pytest.raises(TypeError):
        drawn(json.dumps(body))


def test_every_refusal_has_a_sentence_and_no_object_as_its_detail(page: Page) -> None:
    number = page.placed()
    order = f"/{number}"
    answers = [
        page.click(quantity=0),
        page.click(quantity="x"),
        page.click(symbol="QQQQ"),
        page.click(account_id="SIM99"),
        page.click(headers=page.reader),
        page.send("POST", "/place", content=b"{"),
        page.send("POST", "/place", json=[LIMIT]),
        page.send("PUT", f"{order}/modify", json={}),
        page.send("PUT", f"{order}/modify", json={"quantity": 5000}),
        page.send("DELETE", "/nothing/cancel"),
        page.send("GET", "", {"Authorization": "Bearer null"}),
    ]
    for answer in answers:
        assert answer.status_code >= 400
        assert isinstance(answer.json()["detail"], str), answer.text
        assert len(answer.json()["detail"]) > 10
