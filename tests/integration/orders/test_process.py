"""The order process over the simulator's real socket: orders, changes, fills, and what it does when something is wrong."""

import asyncio
from decimal import Decimal

import pytest

from nautilus.clock import NS_PER_S
from nautilus.orders.identity import LAST_ORDER_ID, LAST_REQUEST
from tests.support.chaos_book import orders_of
from tests.support.order_process import order_stack
from tests.support.sim_client import RawClient
from tests.support.sim_orders import order as raw_order

REQUESTS = ("reqExecutions", "reqAccountUpdatesMulti", "reqPnL")
"""All requests of the order process that have a number."""


async def _order_with_the_highest_id(stack):
    """The permId of an order of another client."""
    client = await RawClient.start(stack.sim.port, 7)
    contract = (str(stack.instrument.con_id), "AAPL", "STK", "", "0.0", "", "", "SMART", "", "USD", "", "")
    raw_order(client, LAST_REQUEST, quantity=1, kind="LMT", limit="10", contract=contract, account=stack.account)
    await client.settle()
    client.close()
    return max(one.perm_id for one in orders_of(stack.sim, stack.folder))


@pytest.fixture
def stack(servers, tmp_path, dsn):
    with order_stack(servers.group, tmp_path, dsn, settings={}) as made:
        yield made


def test_a_limit_order_is_sent_once_and_rests(stack):
    order = stack.place()
    row = stack.until(order, "working")
    assert stack.placed() == [str(order)]
    (sent,) = stack.received("placeOrder")
    fields = sent["fields"]
    assert (fields["conId"], fields["exchange"], fields["account"]) == (stack.instrument.con_id, "SMART", stack.account)
    assert (row.client_id, row.order_id, len(row.perm_ids)) == (5, int(fields["orderId"]), 1)
    assert (row.reserved_quantity, row.confirmed_limit) == (10, Decimal("280"))


def test_requests_have_numbers_that_no_order_gets(stack):
    """Another client's order has as high an id as a request, and the gateway tells of it with the open orders."""
    theirs = asyncio.run(_order_with_the_highest_id(stack))
    stack.wait(
        lambda: stack.rows("SELECT 1 FROM orders WHERE perm_ids = %s::bigint[]", [theirs]), "it is seen", tell=stack.log
    )
    order = stack.place()
    row = stack.until(order, "working")
    numbers = {int(one["fields"]["reqId"]) for kind in REQUESTS for one in stack.received(kind)}
    assert len(numbers) >= len(REQUESTS)
    assert row.order_id < 100 < LAST_ORDER_ID < min(numbers)


def test_an_error_about_a_request_is_about_no_order(stack):
    """Old requests have the numbers from which order ids are taken now: an order with such an id would have been rejected."""
    order = stack.place()
    stack.until(order, "working")
    stack.sim.command('reject_next reqExecutions 200 "no"')
    stack.sim.command("drop 5")
    stack.wait(lambda: len(stack.received("reqExecutions")) >= 2, "executions are requested again", tell=stack.log)
    stack.wait(lambda: stack.status() == "ready", "the gate opens again", within_s=90, tell=stack.log)
    assert stack.order(order).state == "working"
    assert stack.rows("SELECT 1 FROM incidents WHERE code = 'order-word-unmatched'") == []


def test_a_market_order_is_filled_with_its_commission(stack):
    order = stack.place(type="MKT", limit_price=None)
    row = stack.until(order, "filled")
    assert (row.filled, row.reserved_quantity) == (10, 0)
    stack.wait(lambda: stack.rows("SELECT 1 FROM executions WHERE commission IS NOT NULL"), "the commission comes")
    (execution,) = stack.rows("SELECT order_id, quantity, price, commission, broker_realized FROM executions")
    assert (execution.order_id, execution.quantity) == (order, 10)
    assert execution.price == row.avg_fill_price
    assert execution.commission > 0
    assert execution.broker_realized is None, "an opening fill realizes nothing, and IB says so by not saying it"
    stack.wait(lambda: stack.rows("SELECT 1 FROM broker_positions WHERE quantity = 10"), "IB tells the position")
    (book,) = stack.rows("SELECT position, reserved_buy FROM risk_book WHERE con_id = %s", stack.instrument.con_id)
    assert (book.position, book.reserved_buy) == (10, 0)


def test_a_cancel_is_written_and_confirmed(stack):
    order = stack.place()
    stack.until(order, "working")
    stack.cancel(order)
    row = stack.until(order, "cancelled")
    assert (row.reserved_quantity, row.pending) == (0, "")
    assert len(stack.received("cancelOrder")) == 1
    (request,) = stack.rows("SELECT state FROM order_requests WHERE order_id = %s", order)
    assert request.state == "confirmed"


def test_a_modify_changes_the_order_at_ib(stack):
    order = stack.place()
    stack.until(order, "working")
    request = stack.modify(order, quantity="12", limit_price="281.00")
    stack.wait(lambda: stack.request(request).state == "confirmed", "the modify is confirmed", tell=stack.log)
    row = stack.order(order)
    assert (row.quantity, row.limit_price, row.pending, row.reserved_quantity) == (12, Decimal("281"), "", 12)
    first, second = stack.received("placeOrder")
    assert first["fields"]["orderId"] == second["fields"]["orderId"]
    assert float(second["fields"]["lmtPrice"]) == 281.0


def test_a_modify_passes_the_checks_of_the_market_before_it_is_sent(stack):
    order = stack.place()
    stack.until(order, "working")
    request = stack.modify(order, limit_price="350.00")
    stack.wait(lambda: stack.request(request).state == "refused", "the modify is refused", tell=stack.log)
    assert "price_collar" in stack.request(request).why
    row = stack.order(order)
    assert (row.state, row.pending, row.limit_price) == ("working", "", Decimal("280"))
    assert len(stack.received("placeOrder")) == 1


def test_a_modify_that_only_makes_an_order_smaller_is_never_kept_back(stack):
    order = stack.place()
    stack.until(order, "working")
    stack.quote(stack.instrument, 200.0)  # its limit of 280 would not pass any more
    request = stack.modify(order, quantity="4")
    stack.wait(lambda: stack.request(request).state == "confirmed", "the modify is confirmed", tell=stack.log)
    assert (stack.order(order).quantity, stack.order(order).reserved_quantity) == (4, 4)


def test_a_bracket_is_sent_as_one_group(stack):
    parent, profit, loss = stack.bracket()
    stack.until(parent, "working")
    for leg in (profit, loss):
        assert stack.until(leg, "held", "working").parent_id == parent
    sent = [one["fields"] for one in stack.received("placeOrder")]
    assert [one["orderRef"] for one in sent] == [str(parent), str(profit), str(loss)]
    assert [bool(one["transmit"]) for one in sent] == [False, False, True]
    assert [one["parentId"] for one in sent] == [0, sent[0]["orderId"], sent[0]["orderId"]]


def test_market_time_is_ibs_from_the_first_message_on(servers, tmp_path, dsn):
    """Without a control port the process learns it from IB. The machine is months ahead of this market."""
    settings = {"control_port": "0", "ib_heartbeat_s": "30"}
    with order_stack(servers.group, tmp_path, dsn, settings=settings) as stack:
        stack.until(stack.place(type="MKT", limit_price=None), "filled")
        (account,) = stack.rows("SELECT opened_at FROM accounts")
        assert abs(account.opened_at - stack.market_ns()) < 300 * NS_PER_S
        stack.wait(
            lambda: stack.rows("SELECT 1 FROM risk_book WHERE position = 10"), "the fill counts as one since then"
        )
