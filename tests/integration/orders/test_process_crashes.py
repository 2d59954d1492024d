"""The order process killed by SIGKILL at each point of an order's way: what the next life makes of it.

One row each of the table of crash windows. An order is sent once, or it is unknown and says so.
"""

from decimal import Decimal

import pytest

from tests.support.order_process import order_stack

MARKET = {"type": "MKT", "limit_price": None}
REFUSED = {"tags": ["refused"]}  # the simulator is told to refuse it


@pytest.fixture
def stack(servers, tmp_path, dsn):
    with order_stack(servers.group, tmp_path, dsn) as made:
        yield made


def crashed(stack, point, **fields):
    """An order over which the process died; the next life is up."""
    if fields == REFUSED:
        stack.sim.command('reject_order 201 "Order rejected - reason: no"')
    stack.start(orders_crash_at=point)
    order = stack.place(**fields)
    stack.died()
    before = stack.order(order)
    stack.start()
    return order, before


def shares(stack):
    return sum(row.quantity for row in stack.rows("SELECT quantity FROM executions WHERE latest"))


def test_accepted_and_not_seen_is_sent_by_the_next_life(stack):
    order = stack.place()
    stack.start()
    stack.until(order, "working")
    assert stack.placed() == [str(order)]


def test_reserved_is_accepted_again_and_sent_once_with_a_new_id(stack):
    order, before = crashed(stack, "after-reserved")
    assert before.state == "reserved"
    row = stack.until(order, "working")
    assert row.order_id > before.order_id
    assert stack.placed() == [str(order)]


@pytest.mark.parametrize("fields", [{}, MARKET, REFUSED], ids=["resting", "market", "refused"])
def test_killed_between_commit_and_write_it_is_unknown_and_never_sent(stack, fields):
    order, before = crashed(stack, "after-sending", **fields)
    assert before.state == "sending"
    row = stack.until(order, "unknown")
    assert stack.placed() == []
    assert row.reserved_quantity == 10, "its reservation stays"
    for part in (f"order id {row.order_id}", "IB never said a word", "did not name it", "IB's next order id is"):
        assert part in row.why
    assert stack.rows(
        "SELECT 1 FROM incidents WHERE code = 'order-unknown' AND until IS NULL AND subject = %s", str(order)
    )
    assert shares(stack) == 0


def test_written_and_not_answered_a_resting_order_is_found_by_its_reference(stack):
    stack.sim.command("latency 300")
    order, before = crashed(stack, "after-write")
    assert (before.state, before.perm_ids) == ("sending", [])
    row = stack.until(order, "working")
    assert (stack.placed(), len(row.perm_ids)) == ([str(order)], 1)


def test_written_and_not_answered_a_market_order_is_found_filled(stack):
    stack.sim.command("latency 300")
    order, before = crashed(stack, "after-write", **MARKET)
    assert (before.state, before.perm_ids) == ("sending", [])
    row = stack.until(order, "filled")
    stack.wait(lambda: stack.rows("SELECT 1 FROM executions WHERE commission IS NOT NULL"), "the commission is found")
    assert (stack.placed(), row.filled, shares(stack)) == ([str(order)], 10, 10)
    assert [held.position for held in stack.rows("SELECT position FROM risk_book")] == [10]
    stack.wait(lambda: stack.rows("SELECT 1 FROM broker_positions WHERE quantity = 10"), "and so says IB")


def test_written_and_refused_unheard_it_is_unknown(stack):
    order, _ = crashed(stack, "after-write", **REFUSED)
    row = stack.until(order, "unknown")
    assert stack.placed() == [str(order)]
    assert (row.reserved_quantity, shares(stack)) == (10, 0)


def test_a_word_that_was_read_and_not_committed_is_learned_again(stack):
    order, before = crashed(stack, "after-word-read")
    assert before.perm_ids == []
    row = stack.until(order, "working")
    assert (stack.placed(), len(row.perm_ids)) == ([str(order)], 1)


@pytest.mark.parametrize("point", ["after-execution-read", "after-execution-commit"])
def test_a_fill_that_was_read_counts_once_and_has_its_commission(stack, point):
    if point == "after-execution-commit":
        stack.sim.command("commission_delay 3")
    order, _ = crashed(stack, point, **MARKET)
    row = stack.until(order, "filled")
    stack.wait(lambda: stack.rows("SELECT 1 FROM executions WHERE commission IS NOT NULL"), "the commission is found")
    assert (stack.placed(), row.filled, shares(stack)) == ([str(order)], 10, 10)


def test_a_refusal_that_was_read_and_not_committed_leaves_it_unknown(stack):
    order, _ = crashed(stack, "after-error-read", **REFUSED)
    stack.until(order, "unknown")
    assert stack.placed() == [str(order)]


@pytest.mark.parametrize("point", ["after-request-sending", "after-request-write"])
def test_a_cancel_is_written_again(stack, point):
    stack.start(orders_crash_at=point)
    order = stack.place()
    stack.until(order, "working")
    stack.cancel(order)
    stack.died()
    stack.start()
    row = stack.until(order, "cancelled")
    assert row.reserved_quantity == 0
    assert len(stack.received("cancelOrder")) in (1, 2)


def test_a_modify_that_may_have_arrived_is_not_sent_again_and_is_known_by_what_ib_shows(stack):
    stack.start(orders_crash_at="after-request-write")
    order = stack.place()
    stack.until(order, "working")
    request = stack.modify(order, limit_price="281.00")
    stack.died()
    stack.start()
    stack.wait(lambda: stack.request(request).state == "confirmed", "IB shows the new price", tell=stack.log)
    assert len(stack.received("placeOrder")) == 2
    assert stack.order(order).limit_price == Decimal("281")


@pytest.mark.parametrize("point", ["after-sending", "after-leg"])
def test_a_bracket_is_wholly_unknown(stack, point):
    stack.start(orders_crash_at=point)
    legs = stack.bracket()
    stack.died()
    stack.start()
    rows = [stack.until(leg, "unknown") for leg in legs]
    assert len(stack.placed()) == (0 if point == "after-sending" else 1)
    assert all(row.reserved_quantity == 10 for row in rows)


def test_a_bracket_that_was_written_is_wholly_known(stack):
    stack.sim.command("latency 300")
    stack.start(orders_crash_at="after-write")
    legs = stack.bracket()
    stack.died()
    stack.start()
    for leg in legs:
        stack.until(leg, "working", "held")
    assert len(stack.placed()) == 3
