"""One order that became two at IB, with a permId each: a cancel reaches both, and is confirmed when both are gone."""

import pytest

from nautilus.auth.principal import Client
from nautilus.db.bridge import status
from nautilus.orders import kill
from tests.support.chaos_book import orders_of
from tests.support.order_process import order_stack


@pytest.fixture
def started(servers, tmp_path, dsn):
    """Starts the stack of a test. reaches: what a second cancel by their order id reaches."""
    running = []

    def start(reaches):
        running.append(order_stack(servers.group, tmp_path, dsn, "--twin-cancel", reaches, settings={}))
        return running[0].__enter__()

    yield start
    for one in running:
        one.__exit__(None, None, None)


@pytest.fixture
def stack_of_next(started):
    return started("next")


def doubled(stack):
    """A working order which has become two, as the process knows."""
    order = stack.place()
    stack.until(order, "working")
    stack.sim.command(f"twin {order}")
    stack.wait(lambda: len(stack.order(order).perm_ids) == 2, "both are seen", tell=stack.log)
    return order


def requests_of(stack, order):
    return stack.rows("SELECT state, why, principal FROM order_requests WHERE order_id = %s ORDER BY asked_at", order)


def open_at_ib(stack):
    return sum(one.open for one in orders_of(stack.sim, stack.folder))


def test_a_cancel_reaches_both_and_is_confirmed_when_both_are_gone(stack_of_next):
    stack = stack_of_next
    order = doubled(stack)
    stack.cancel(order)
    row = stack.until(order, "cancelled")
    assert (open_at_ib(stack), len(stack.received("cancelOrder")), row.reserved_quantity) == (0, 2, 0)
    assert [one.state for one in requests_of(stack, order)] == ["confirmed"]


def test_when_one_is_gone_already_a_cancel_ends_the_other(stack_of_next):
    stack = stack_of_next
    order = doubled(stack)
    (first, second) = stack.order(order).perm_ids
    stack.sim.command(f"manual_cancel {first}")
    stack.wait(lambda: stack.order(order).notices, "one is over", tell=stack.log)
    assert stack.order(order).state == "working"
    stack.cancel(order)
    row = stack.until(order, "cancelled")
    assert {one["ended_perm_id"] for one in row.notices if "ended_perm_id" in one} == {first, second}
    assert [one.state for one in requests_of(stack, order)] == ["confirmed"]


def test_a_twin_that_its_order_id_does_not_reach_lives_on_and_the_cancel_says_so(started):
    stack = started("first")
    order = doubled(stack)
    stack.cancel(order)
    refused = lambda: [one for one in requests_of(stack, order) if one.state == "refused"]  # noqa: E731
    stack.wait(refused, "the second cancel is refused", tell=stack.log)
    assert "by a kill with `everything`" in refused()[0].why
    row = stack.order(order)
    assert (row.state, row.pending, row.reserved_quantity, open_at_ib(stack)) == ("working", "", 10, 1)
    assert len(stack.received("cancelOrder")) == 2, "it is not tried for ever"


def test_a_twin_that_shows_up_after_the_cancel_is_cancelled_too(stack_of_next):
    """IB had called the order cancelled, and the cancel was confirmed."""
    stack = stack_of_next
    order = stack.place()
    stack.until(order, "working")
    stack.sim.command("ack_lose")
    stack.sim.command(f"twin {order}")
    stack.cancel(order)
    stack.until(order, "cancelled")
    stack.sim.command("drop 5")
    stack.wait(lambda: len(stack.order(order).perm_ids) == 2, "the other one shows up", tell=stack.log)
    stack.until(order, "cancelled")
    stack.wait(lambda: open_at_ib(stack) == 0, "both are gone", tell=stack.log)
    assert [one.principal for one in requests_of(stack, order)] == ["user:1", "order-process"]


def killed(stack, cancel):
    with stack.db.transaction() as cursor:
        now = status.market_now(cursor)
        kill.kill(cursor, None, reason="a test", by="user:1", client=Client("local"), now=now, cancel=cancel)


def test_a_kill_is_not_done_before_ib_was_asked_and_shows_no_order(started):
    """Our row says cancelled, as IB did of one of two orders; the other one nobody has seen yet, and no cancel reaches it."""
    stack = started("first")
    order = stack.place()
    stack.until(order, "working")
    stack.sim.command("ack_lose")
    stack.sim.command(f"twin {order}")
    killed(stack, "ours")
    left = "SELECT 1 FROM kill_orders WHERE done_at IS NULL AND text = '1 orders are still there, 0 of them unknown'"
    stack.wait(lambda: stack.rows(left), "it says what is left", tell=stack.log)
    killed(stack, "everything")
    stack.wait(
        lambda: not stack.rows("SELECT 1 FROM kill_orders WHERE done_at IS NULL"), "both are done", tell=stack.log
    )
    assert open_at_ib(stack) == 0
