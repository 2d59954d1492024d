"""An order in the words of the web front end: numbers where it does arithmetic, and no state that looks like another one."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from nautilus.db.orders.orders import OrderRow
from nautilus.db.orders.requests import RequestRow
from nautilus.errors import Conflict, InvalidInput, NautilusError, Refused, Unavailable
from nautilus.orders import front_end
from nautilus.orders.change import Changed
from nautilus.orders.states import OrderState

ID = UUID("9e107d9d-3721-4bd2-a5cb-5f1d9b0c7e11")
MOMENT = datetime(2026, 3, 2, 17, 0, 0, 250_000, tzinfo=UTC)


def row(**changes: Any) -> OrderRow:
    known: dict[str, Any] = {
        **dict.fromkeys(OrderRow._fields),
        "id": ID,
        "account": "SIM1",
        "con_id": 265598,
        "symbol": "AAPL",
        "side": "BUY",
        "type": "LMT",
        "tif": "DAY",
        "quantity": Decimal("100.00"),
        "filled": Decimal(0),
        "limit_price": Decimal("187.2500"),
        "state": "working",
        "why": "",
        "checks": [],
        "accepted_at": MOMENT,
    }
    return OrderRow(**(known | changes))


def test_an_order_of_the_page_has_numbers_and_null_where_nothing_is_known() -> None:
    assert json.loads(json.dumps(front_end.order_object(row()))) == {
        "order_id": str(ID),
        "client_id": None,
        "account_id": "SIM1",
        "contract_id": "265598",
        "symbol": "AAPL",
        "action": "BUY",
        "order_type": "LMT",
        "time_in_force": "DAY",
        "total_quantity": 100,
        "filled_quantity": 0,
        "remaining_quantity": 100,
        "limit_price": 187.25,
        "stop_price": None,
        "avg_fill_price": None,
        "status": "Submitted",
        "state": "working",
        "message": None,
        "timestamp": "2026-03-02T17:00:00.250000Z",
    }


def test_every_state_has_a_word_of_its_own_but_those_that_the_page_colours() -> None:
    words = {state.value: front_end.status_of(state) for state in OrderState}
    assert len(set(words.values())) == len(OrderState)
    assert {state: word for state, word in words.items() if word.lower() != state} == {
        "working": "Submitted",
        "held": "PreSubmitted",
    }


@pytest.mark.parametrize("state", OrderState)
def test_every_state_is_told_in_a_sentence(state: OrderState) -> None:
    text = front_end.sentence(row(state=state.value, why="as it is", filled=Decimal(40)))
    assert text.startswith("BUY 100 AAPL LMT limit 187.25 ")
    assert text.endswith(", 40 of it filled (as it is)")


@pytest.mark.parametrize(
    ("state", "repeated", "error", "code"),
    [
        ("denied", False, InvalidInput, "order-denied"),
        ("rejected", False, Refused, "order-rejected"),
        ("unknown", False, Conflict, "order-unknown"),
        ("unknown", True, Conflict, "order-unknown"),
        ("cancelled", True, Conflict, "order-over"),
        ("expired", True, Conflict, "order-over"),
    ],
)
def test_what_the_user_must_know_is_an_error(state: str, repeated: bool, error: type[NautilusError], code: str) -> None:
    with pytest.raises(error) as raised:
        front_end.placed(row(state=state, why="so it is"), repeated=repeated)
    assert raised.value.code == code
    assert "so it is" in raised.value.detail
    assert raised.value.extra["order"]["order_id"] == str(ID)


@pytest.mark.parametrize(
    "state", sorted(set(OrderState) - {OrderState.DENIED, OrderState.REJECTED, OrderState.UNKNOWN})
)
def test_an_order_that_was_placed_is_answered_with_its_id(state: OrderState) -> None:
    answer = front_end.placed(row(state=state.value), repeated=False)
    assert answer["order_id"] == str(ID)
    assert answer["order"] == front_end.order_object(row(state=state.value))


def change(state: str, kind: str = "modify", order: str = "working") -> Changed:
    known: dict[str, Any] = {**dict.fromkeys(RequestRow._fields), "kind": kind, "state": state, "why": "so IB says"}
    return Changed(row(state=order), RequestRow(**known))


@pytest.mark.parametrize(
    ("done", "error", "code"),
    [
        (change("refused"), Refused, "order-change-refused"),
        (change("unknown"), Conflict, "order-change-unknown"),
        (change("overtaken", order="filled"), Conflict, "order-over"),
        (change("overtaken", "cancel", order="filled"), Conflict, "order-over"),
    ],
)
def test_a_change_that_is_not_done_is_an_error(done: Changed, error: type[NautilusError], code: str) -> None:
    with pytest.raises(error) as raised:
        front_end.changed(done)
    assert raised.value.code == code
    assert "BUY 100 AAPL LMT" in raised.value.detail


@pytest.mark.parametrize(
    ("done", "confirmed"),
    [
        (change("confirmed"), True),
        (change("overtaken", "cancel", order="cancelled"), True),
        (change("wanted"), False),
        (change("sending"), False),
        (change("sent", "cancel"), False),
    ],
)
def test_a_change_that_is_stored_says_whether_ib_confirmed_it(done: Changed, confirmed: bool) -> None:
    message = front_end.changed(done)["message"]
    assert ("not confirmed by IB yet" not in message) is confirmed


def failed(code: str) -> Unavailable:
    with pytest.raises(Unavailable) as raised, front_end.may_be_stored():
        raise Unavailable("the database is away", code=code, retry_after_s=7)
    return raised.value


def test_a_failure_after_which_the_order_may_be_stored_says_so() -> None:
    away = failed("database-unavailable")
    assert "look at the list of orders" in away.detail
    assert (away.code, away.retry_after_s) == ("database-unavailable", 7)
    assert failed("database-busy").detail == "the database is away"


def test_without_an_order_process_nothing_is_said_to_come() -> None:
    assert "nothing comes" in front_end.refreshed(None)["message"]
    assert "silent" in front_end.refreshed({"state": "silent"})["message"]
