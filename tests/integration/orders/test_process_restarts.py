"""What is left of orders when the gateway restarts, the wire breaks within a message, or it is killed again and again."""

import os
import random
from decimal import Decimal
from uuid import UUID

import pytest

from tests.support.login_proxy import PLACE, login_proxy
from tests.support.order_ledger import findings
from tests.support.order_process import order_stack

MARKET = {"type": "MKT", "limit_price": None}
LIVES = int(os.environ.get("ORDER_LIVES", "8"))
"""Lives of the process that are killed at random; `make chaos-orders` has more of everything."""
MIXED = 25


@pytest.fixture
def stack(servers, tmp_path, dsn):
    with order_stack(servers.group, tmp_path, dsn) as made:
        yield made


def unknown_incidents(stack):
    return {
        row.subject
        for row in stack.rows("SELECT subject FROM incidents WHERE code = 'order-unknown' AND until IS NULL")
    }


# ---- the gateway -----------------------------------------------------------------------------------------------------


def test_ids_that_a_restart_gives_anew_are_given_to_no_order_and_no_word_goes_to_two(stack):
    """Four orders are written in the gateway's last second and lost with it; it comes back with ids four lower."""
    stack.start(orders_ack_timeout_s="30")
    stack.until(stack.place(), "working")
    stack.sim.command("latency 60000")
    lost = [stack.place(limit_price=Decimal(270 + number)) for number in range(4)]
    stack.wait(lambda: len(stack.placed()) == 5, "the gateway has read them", tell=stack.log)
    stack.sim.command("latency none")
    stack.sim.command("restart 1")
    rows = [stack.until(order, "unknown") for order in lost]
    assert all(row.reserved_quantity == 10 and "IB never said a word" in row.why for row in rows)
    assert {str(order) for order in lost} <= unknown_incidents(stack)
    begun = [row.next_order_id for row in stack.rows("SELECT next_order_id FROM gateway_sessions ORDER BY id")]
    taken = sorted(row.order_id for row in rows)
    assert begun[-1] <= taken[0], "IB gives the ids of the lost ones anew"

    stack.instrument = stack.learn("MSFT")
    new = [stack.place(limit_price=Decimal(270 + number)) for number in range(4)]
    assert min(stack.until(order, "working").order_id for order in new) > taken[-1]
    stack.sim.command(f"fill_now {new[0]}")
    assert stack.until(new[0], "filled").filled == 10
    assert [stack.order(order).state for order in (*lost, *new[1:])] == ["unknown"] * 4 + ["working"] * 3
    words = [one for order in lost for one in stack.events(order) if one.source == "ib"]
    assert words == []
    assert sorted(stack.placed()) == sorted({*stack.placed()})
    assert findings(stack.db) == []


# ---- a bracket -------------------------------------------------------------------------------------------------------


def test_a_bracket_that_was_reserved_and_not_announced_is_sent_once_and_as_a_whole(stack):
    stack.start(orders_crash_at="after-reserved")
    legs = stack.bracket()
    stack.died()
    assert {stack.order(leg).state for leg in legs} == {"reserved"}
    assert stack.placed() == []
    stack.start()
    for leg in legs:
        stack.until(leg, "working", "held")
    assert stack.placed() == [str(leg) for leg in legs]


def test_a_bracket_whose_messages_break_off_is_wholly_unknown_and_told(stack):
    """The wire is cut within the message of the entry, of the first exit, of the second."""
    with login_proxy(stack.sim.port, stack.account) as wire:
        stack.start(ib_port=str(wire.port))
        for order, symbol in enumerate(("AAPL", "MSFT", "QQQ"), 1):
            stack.instrument = stack.learn(symbol)
            wire.forget()
            wire.cut(order)
            legs = stack.bracket()
            rows = [stack.until(leg, "unknown") for leg in legs]
            assert len(wire.of_kind(PLACE)) == order - 1, "what came before the cut"
            assert all(row.reserved_quantity == 10 and not row.perm_ids for row in rows)
            assert {str(leg) for leg in legs} <= unknown_incidents(stack)
            stack.wait(lambda: stack.status() == "ready", "it connects anew", tell=stack.log)
    assert len(stack.placed()) == 0 + 1 + 2, "and none of them once more"
    assert findings(stack.db) == []


# ---- lives that are killed at random ---------------------------------------------------------------------------------


def _mixed(stack, dice, number):
    """An order of one kind of many; some the gateway refuses, some fill in parts, some rest."""
    kind = number % 5
    if kind == 0:
        return stack.place(**MARKET)
    if kind == 1:
        stack.sim.command('reject_order 201 "Order rejected - reason: beyond funds"')
        return stack.place(limit_price=Decimal(260 + number))
    if kind == 2:
        stack.sim.command("fill_plan next 3@0,3@0,4@1")
    side = "SELL" if kind == 3 and dice.random() < 0.5 else "BUY"
    return stack.place(side=side, limit_price=Decimal(270 if side == "BUY" else 340) + number)


UNDER_WAY = "SELECT id, state FROM orders WHERE state IN ('accepted', 'reserved', 'sending', 'sent')"


def _life(stack, dice, orders, most):
    """A life with some orders, killed after so many events as the dice say, or when nothing more happens in it."""
    happened = lambda: stack.rows("SELECT count(*) AS events FROM order_events")[0].events  # noqa: E731
    stack.launch()
    goal = happened() + dice.randrange(20)
    while len(orders) < most:
        orders.append(_mixed(stack, dice, len(orders)))
    quiet = lambda: stack.status() == "ready" and not stack.rows(UNDER_WAY)  # noqa: E731
    stack.wait(lambda: happened() >= goal or quiet(), "something happens, or all is done", tell=stack.log)
    stack.kill()


@pytest.mark.parametrize("seed", [7])
def test_of_mixed_orders_over_lives_that_are_killed_at_random_none_is_sent_twice(stack, seed):
    """Twenty-five orders; at the end the fills are IB's position, and what is reserved is what the orders say."""
    dice, orders = random.Random(seed), list[UUID]()
    with stack.db.transaction() as cursor:
        cursor.execute("INSERT INTO risk_limits (account, name, value, set_by) VALUES ('*', 'short', 1, 'test')")
        cursor.execute(
            "INSERT INTO risk_limits (account, name, value, set_by) VALUES ('*', 'open_orders', NULL, 'test')"
        )
    for life in range(LIVES):
        _life(stack, dice, orders, MIXED * (life + 1) // LIVES)
    stack.start()
    known = lambda: not stack.rows(UNDER_WAY)  # noqa: E731
    stack.wait(known, "all are known or unknown", tell=lambda: (stack.rows(UNDER_WAY), stack.log()))
    placed = stack.placed()
    assert sorted(placed) == sorted({*placed}), "none twice"
    sides = "SELECT coalesce(sum(CASE side WHEN 'BUY' THEN quantity ELSE -quantity END), 0) AS held FROM executions WHERE latest"

    def held():
        shown = stack.rows("SELECT coalesce(sum(quantity), 0) AS held FROM broker_positions")
        return stack.rows(sides)[0].held, shown[0].held

    stack.wait(lambda: held()[0] == held()[1], "the fills are IB's position", tell=held)
    for row in (stack.order(order) for order in orders):
        assert row.state not in ("accepted", "reserved", "sending"), row
        if row.state == "unknown":
            assert "did not name it" in row.why
            assert str(row.id) in unknown_incidents(stack)
    assert findings(stack.db) == []
