"""Orders that IB calls filled, and of which it names no executions: they are unknown and say so."""

import pytest

from tests.support.order_process import order_stack

MARKET = {"type": "MKT", "limit_price": None}


@pytest.fixture
def stack(servers, tmp_path, dsn):
    with order_stack(servers.group, tmp_path, dsn) as made:
        yield made


def test_a_fill_that_was_taken_back_before_it_was_known_leaves_its_order_unknown(stack):
    stack.sim.command("latency 300")
    stack.start(orders_crash_at="after-write")
    order = stack.place(**MARKET)
    stack.died()
    stack.wait(lambda: stack.sim._say("bust_execution last silent")["ok"], "its fill is taken back")
    stack.start()
    row = stack.until(order, "unknown")
    assert "IB lists it as completed (Filled)" in row.why
    assert "0 of 10" in row.why
    assert row.reserved_quantity == 10, "its reservation stays"
    assert stack.placed() == [str(order)]
