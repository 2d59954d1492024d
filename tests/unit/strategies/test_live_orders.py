"""What the engine of a live run gets to know of its orders: everything once, in an order that it can take."""

from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from nautilus.db.orders.order_rows import OrderRow
from nautilus.db.orders.requests import RequestRow
from nautilus.db.strategies.ledger import RunExecution
from nautilus.strategies.live_orders import Known, adopted_order, known_at_start, news

ORDER, REQUEST = UUID(int=1), UUID(int=2)
NOW = 1_000


def order(state: str, **changed: Any) -> OrderRow:
    """A limit order for ten."""
    given: dict[str, Any] = dict.fromkeys(OrderRow._fields) | {
        "id": ORDER,
        "idempotency_key": "mine",
        "state": state,
        "con_id": 265598,
        "side": "BUY",
        "type": "LMT",
        "tif": "DAY",
        "quantity": Decimal(10),
        "filled": Decimal(0),
        "limit_price": Decimal("99.5"),
        "market_at": 5,
        "why": "",
    }
    return OrderRow(**given | changed)


def execution(name: str, quantity: int) -> RunExecution:
    return RunExecution(name, ORDER, 265598, "BUY", Decimal(quantity), Decimal("99.4"), 7, Decimal(1), "USD")


def request(kind: str, why: str = "too late") -> RequestRow:
    given: dict[str, Any] = dict.fromkeys(RequestRow._fields) | {"id": REQUEST, "kind": kind, "why": why}
    return RequestRow(**given)


class Engine:
    """What an engine was sent."""

    def __init__(self, known: Known = Known()) -> None:  # noqa: B008
        self.known = known

    def sees(self, row: OrderRow, *executions: RunExecution, refused: tuple[RequestRow, ...] = ()) -> list[Any]:
        """The kinds of new messages; of a fill its quantity, too."""
        found = news(row, executions, refused, self.known, now=NOW)
        self.known = found.known
        return [one["kind"] if one["kind"] != "filled" else ("filled", one["quantity"]) for one in found.messages]


@pytest.mark.parametrize("state", ["accepted", "reserved", "sending", "sent", "unknown"])
def test_an_order_that_the_broker_has_not_confirmed_is_no_news_however_long(state):
    engine = Engine()
    assert engine.sees(order(state)) == []
    assert engine.sees(order("working")) == ["accepted"]
    assert engine.sees(order("working")) == []


def test_parts_of_a_fill_come_one_by_one_and_each_once():
    engine = Engine()
    first, second = execution("a", 3), execution("b", 7)
    assert engine.sees(order("working"), first) == ["accepted", ("filled", "3")]
    assert engine.sees(order("working"), first) == []
    assert engine.sees(order("filled"), first, second) == [("filled", "7")]
    assert engine.sees(order("filled"), first, second) == [], "IB sends an execution twice after a reconnect"


def test_a_fill_that_overtakes_a_cancel_comes_before_the_end():
    engine = Engine()
    engine.sees(order("working"))
    assert engine.sees(order("cancelled"), execution("a", 4)) == [("filled", "4"), "canceled"]
    assert engine.sees(order("cancelled"), execution("a", 4)) == []


def test_a_fill_before_any_confirmation_brings_it_along():
    assert Engine().sees(order("filled"), execution("a", 10)) == ["accepted", ("filled", "10")]


@pytest.mark.parametrize(
    ("state", "kind"),
    [("rejected", "rejected"), ("denied", "denied"), ("expired", "expired"), ("cancelled", "canceled")],
)
def test_an_end_without_a_fill_comes_once_with_its_reason(state, kind):
    engine = Engine()
    row = order(state, why="201: not enough money")
    (message,) = news(row, (), (), Known(), now=NOW).messages
    assert (message["kind"], message["reason"], message["venue_order_id"]) == (kind, row.why, str(ORDER))
    assert engine.sees(row) == [kind]
    assert engine.sees(row) == []


def test_other_terms_are_an_update_and_those_of_the_beginning_are_none():
    engine = Engine()
    engine.sees(order("working"))
    assert engine.sees(order("working", limit_price=Decimal("99.4"))) == ["updated"]
    assert engine.sees(order("working", limit_price=Decimal("99.4"))) == []


@pytest.mark.parametrize(("kind", "expected"), [("modify", "modify_rejected"), ("cancel", "cancel_rejected")])
def test_a_refused_request_comes_once_while_the_order_lives(kind, expected):
    engine = Engine()
    engine.sees(order("working"))
    assert engine.sees(order("working"), refused=(request(kind),)) == [expected]
    assert engine.sees(order("working"), refused=(request(kind),)) == []
    assert Engine(Known(accepted=True)).sees(order("filled"), refused=(request(kind),)) == []


def test_what_an_engine_adopts_is_no_news():
    row, part = order("working", filled=Decimal(3), avg_fill_price=Decimal("99.4")), execution("a", 3)
    engine = Engine(known_at_start(row, [part]))
    assert engine.sees(row, part) == []
    assert engine.sees(order("filled"), part, execution("b", 7)) == [("filled", "7")]
    message = adopted_order(row)
    assert message is not None
    assert (message["filled"], message["average_price"], message["price"]) == ("3", "99.4", "99.5")


@pytest.mark.parametrize("changed", [{"type": "MOC"}, {"type": "TRAIL"}, {"tif": "OPG"}])
def test_an_order_that_the_engine_has_no_type_for_is_not_adopted(changed):
    assert adopted_order(order("working", **changed)) is None
