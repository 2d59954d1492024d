"""What-if orders: IB says which margin an order needs, no order comes of it, and none that needs it is sent without."""

import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nautilus.orders.preview import WAIT_S
from tests.support.order_desk import ES, ES_PRICE, OrderDeskStack, order_desk

STATED_S = WAIT_S + 1
"""A preview answers within this time: docs/api.md."""


@pytest.fixture
def desk(servers: SimpleNamespace, tmp_path: Path, dsn: str) -> Iterator[OrderDeskStack]:
    with order_desk(servers.group, tmp_path, dsn, settings={}) as made:
        yield made


@pytest.fixture
def future(desk: OrderDeskStack) -> dict[str, Any]:
    """A body for one contract of a future, whose account is asked for the margin."""
    desk.limit("margin_check", 1)
    desk.limit("notional", None)
    desk.limit("position", None)
    return {"con_id": desk.learn(ES, ES_PRICE).con_id, "limit_price": "6200.00"}


def state_of(seen: dict[str, Any], check: int) -> str:
    return str({one["check"]: one["state"] for one in seen["all_checks"]}[check])


def margins(desk: OrderDeskStack) -> list[Any]:
    return desk.stack.rows("SELECT id, state, order_id, text FROM what_ifs ORDER BY asked_at")


# ---- previews --------------------------------------------------------------------------------------------------------


def test_a_preview_tells_margin_and_commission_and_no_order_is_made(
    desk: OrderDeskStack, future: dict[str, Any]
) -> None:
    seen = desk.preview(**future)
    assert seen["passes"], seen
    assert len(seen["all_checks"]) == 23
    assert state_of(seen, 20) == "passed"
    found = seen["what_if"]
    assert found["state"] == "answered", found
    initial = found["initial_margin"]
    assert float(initial["after"]) == float(initial["before"]) + float(initial["change"]) > 0
    assert float(found["commission"]["estimate"]) > 0
    assert found["commission"]["currency"] == "USD"
    # The gateway's own record: one what-if, and nothing that could become an order.
    assert desk.questions() == [True]
    assert desk.stack.rows("SELECT 1 FROM orders") == []
    assert desk.stack.rows("SELECT 1 FROM order_events") == []
    assert desk.stack.rows("SELECT 1 FROM incidents WHERE until IS NULL AND keeper = 'orders'") == []
    assert desk.stack.rows("SELECT 1 FROM risk_book WHERE reserved_buy <> 0") == []


def test_an_order_that_needs_no_margin_check_is_previewed_with_its_margin_too(desk: OrderDeskStack) -> None:
    seen = desk.preview(con_id=desk.stack.instrument.con_id, quantity=10, limit_price="290.00")
    assert seen["passes"], seen
    assert seen["what_if"]["state"] == "answered"
    assert desk.questions() == [True]


def test_a_silent_gateway_is_named_within_the_stated_time(desk: OrderDeskStack, future: dict[str, Any]) -> None:
    desk.stack.sim.command("what_if_lose 1")
    began = time.monotonic()
    seen = desk.preview(**future)
    assert time.monotonic() - began < STATED_S
    assert seen["what_if"]["state"] == "no_answer"
    assert "did not answer" in seen["what_if"]["reason"]
    assert not seen["passes"]
    assert state_of(seen, 20) == "not_known"
    assert {state_of(seen, check) for check in (5, 6, 9, 23)} == {"passed"}
    (refusal,) = seen["checks"]
    assert (refusal["code"], refusal["temporary"]) == ("margin", True)


def test_a_refused_what_if_refuses_the_order(desk: OrderDeskStack, future: dict[str, Any]) -> None:
    desk.stack.sim.command("what_if_refuse 201 'Order rejected - reason:no margin'")
    seen = desk.preview(**future)
    assert (seen["passes"], seen["what_if"]["state"], seen["what_if"]["code"]) == (False, "refused", 201)
    assert "no margin" in seen["what_if"]["reason"]
    assert state_of(seen, 20) == "refused"


def test_ib_is_not_asked_for_an_order_that_nobody_may_place_or_that_makes_no_sense(
    desk: OrderDeskStack, future: dict[str, Any]
) -> None:
    off_step = desk.preview(**{**future, "limit_price": "6200.13"})
    assert off_step["what_if"]["state"] == "not_asked"
    assert "check 6" in off_step["what_if"]["reason"]
    desk.trader = desk.stored.user(8, "orders:read", accounts=[desk.stack.account])
    reader = desk.preview(**future)
    assert reader["what_if"]["state"] == "not_asked"
    assert "check 3" in reader["what_if"]["reason"]
    assert desk.questions() == []


def test_a_process_that_is_not_there_is_named_and_nobody_waits_for_it(
    desk: OrderDeskStack, future: dict[str, Any]
) -> None:
    desk.stack.stop()
    began = time.monotonic()
    seen = desk.preview(**future)
    assert time.monotonic() - began < WAIT_S
    assert seen["what_if"] == {"state": "not_asked", "reason": "the order process was stopped"}
    assert state_of(seen, 23) == "waits"


# ---- orders ----------------------------------------------------------------------------------------------------------


def test_a_future_is_sent_after_ib_named_its_margin(desk: OrderDeskStack, future: dict[str, Any]) -> None:
    order = desk.placed(**future)
    row = desk.stack.until(order, "working")
    assert desk.questions() == [True, False]
    first, second = [one["fields"] for one in desk.stack.received("placeOrder")]
    same = ("conId", "action", "totalQuantity", "lmtPrice", "orderType", "tif", "account")
    assert [first[name] for name in same] == [second[name] for name in same]
    (question,) = margins(desk)
    assert first["orderRef"] == str(question.id) != str(order)
    assert question.order_id != row.order_id


def test_a_short_sale_needs_it_and_a_stock_that_is_bought_does_not(
    desk: OrderDeskStack, future: dict[str, Any]
) -> None:
    desk.limit("short", 1)
    stock = {"con_id": desk.stack.instrument.con_id, "quantity": 10}
    desk.stack.until(desk.placed(**stock, limit_price="290.00"), "working")
    assert desk.questions() == [False]
    desk.stack.until(desk.placed(**stock, side="SELL", limit_price="310.00"), "working")
    assert desk.questions() == [False, True, False]


def test_while_the_gateway_is_silent_about_it_nothing_is_sent(desk: OrderDeskStack, future: dict[str, Any]) -> None:
    desk.stack.sim.command("what_if_lose 1000")
    order = desk.placed(**future, valid_for_s=4)
    row = desk.stack.until(order, "denied")
    assert "margin" in row.why, row.why
    assert row.reserved_quantity == 0
    assert set(desk.questions()) == {True}


def test_an_order_that_ib_would_refuse_is_denied_with_its_words(desk: OrderDeskStack, future: dict[str, Any]) -> None:
    desk.stack.sim.command("what_if_refuse 201 'Order rejected - reason:no margin'")
    row = desk.stack.until(desk.placed(**future), "denied")
    (check,) = row.checks
    assert (check["check"], check["code"], check["limit"], check["value"]) == (
        20,
        "margin",
        "an order that the broker takes",
        "refused",
    )
    assert "no margin" in row.why
    assert desk.questions() == [True]


@pytest.mark.parametrize(
    "makes_stale",
    [
        "UPDATE what_ifs SET over_at = over_at - interval '11 s'",
        "UPDATE what_ifs SET position = position + 1",
        "UPDATE orders SET sent_at = clock_timestamp() + interval '1 s'",
    ],
)
def test_an_answer_that_is_stale_is_asked_for_again(
    desk: OrderDeskStack, future: dict[str, Any], makes_stale: str
) -> None:
    desk.stack.until(desk.placed(con_id=desk.stack.instrument.con_id, limit_price="290.00"), "working")
    desk.preview(**future)
    assert desk.questions() == [False, True]
    desk.stack.rows(f"{makes_stale} RETURNING 1")
    desk.stack.sim.command("what_if_lose 1")  # what comes next is not taken from the answer before
    desk.stack.until(desk.placed(**future, valid_for_s=2), "denied")
    assert set(desk.questions()[1:]) == {True}


@pytest.mark.parametrize(
    "other", [{"quantity": 2}, {"limit_price": "6190.00"}, {"side": "SELL", "limit_price": "6300.00"}]
)
def test_the_answer_for_another_order_is_not_taken(
    desk: OrderDeskStack, future: dict[str, Any], other: dict[str, Any]
) -> None:
    desk.preview(**future)
    desk.stack.until(desk.placed(**{**future, **other}), "working")
    assert desk.questions() == [True, True, False]


def test_a_fresh_answer_for_the_same_order_is_taken(desk: OrderDeskStack, future: dict[str, Any]) -> None:
    desk.preview(**future)
    desk.stack.until(desk.placed(**future), "working")
    assert desk.questions() == [True, False]


def test_what_the_gateway_was_asked_before_it_went_away_is_asked_again(
    desk: OrderDeskStack, future: dict[str, Any]
) -> None:
    desk.stack.sim.command("what_if_lose 1")
    order = desk.placed(**future)
    desk.stack.wait(lambda: desk.questions() == [True], "IB is asked")
    desk.stack.sim.command("drop 5")
    desk.stack.until(order, "working")
    assert desk.questions() == [True, True, False]
    assert [row.state for row in margins(desk)] == ["failed", "answered"]
