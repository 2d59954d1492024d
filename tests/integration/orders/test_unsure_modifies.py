"""A modify that IB has not answered comes to an end: by the terms that IB shows, or by a person; and a late one counts."""

from decimal import Decimal

import pytest

from nautilus.errors import Conflict
from nautilus.orders import change
from tests.support.order_process import order_stack


@pytest.fixture
def stack(servers, tmp_path, dsn):
    with order_stack(servers.group, tmp_path, dsn) as made:
        yield made


def lost_modify(stack, **wanted):
    """A modify that was announced and never written, after a new start of the process."""
    stack.start(orders_crash_at="after-request-sending")
    order = stack.place(tif="GTC")
    stack.until(order, "working")
    request = stack.modify(order, **wanted)
    stack.died()
    return order, request


def test_a_modify_that_never_arrived_is_refused_after_ib_has_shown_the_old_terms(stack):
    order, request = lost_modify(stack, quantity="12", limit_price="281.00")
    assert stack.order(order).reserved_quantity == 12
    stack.start()
    stack.wait(lambda: stack.request(request).state == "refused", "the modify ends", tell=stack.log)
    row, ended = stack.order(order), stack.request(request)
    assert "3 rounds of the three questions showed the order with its old terms" in ended.why
    assert (ended.code, row.state, row.quantity, row.limit_price) == (None, "working", 10, Decimal("280"))
    assert (row.reserved_quantity, row.pending) == (10, "")
    second = stack.modify(order, limit_price="282.00")
    stack.wait(lambda: stack.request(second).state == "confirmed", "the next modify is taken", tell=stack.log)
    assert stack.order(order).limit_price == Decimal("282")


def test_while_the_market_is_closed_it_stays_open_and_says_why(stack):
    order, request = lost_modify(stack, limit_price="281.00")
    stack.sim.command("set_clock 2026-03-03T03:00:00Z")
    stack.start()
    stack.wait(lambda: "its market is closed" in stack.request(request).why, "the reason is told", tell=stack.log)
    assert stack.request(request).state == "unknown"
    with stack.db.transaction() as cursor:
        row = change.resolve(cursor, order, "modify_not_done", by="chief", note="seen in TWS", now=stack.market_ns())
    assert (row.state, row.pending) == ("working", "")
    assert stack.request(request).state == "refused"
    with stack.db.transaction() as cursor, pytest.raises(Conflict) as again:
        change.resolve(cursor, order, "modify_not_done", by="chief", note="seen in TWS", now=stack.market_ns())
    assert again.value.code == "modify-not-unknown"


def test_a_modify_that_ib_takes_late_is_confirmed_with_its_reservation(stack):
    stack.start()
    order = stack.place()
    stack.until(order, "working")
    stack.sim.command("latency 3600000")
    request = stack.modify(order, quantity="12", limit_price="281.00")
    stack.wait(lambda: stack.request(request).state == "refused", "the modify ends", tell=stack.log)
    assert stack.order(order).reserved_quantity == 10
    stack.sim.command("latency none")
    stack.sim.command("advance 3700")
    stack.wait(lambda: stack.request(request).state == "confirmed", "IB took it after all", tell=stack.log)
    row = stack.order(order)
    assert (row.quantity, row.limit_price, row.reserved_quantity) == (12, Decimal("281"), 12)
    (incident,) = stack.rows("SELECT code FROM incidents WHERE until IS NULL AND subject = %s", str(order))
    assert incident.code == "order-modify-late"
