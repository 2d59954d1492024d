"""What IB does to orders that is hard to know: fills over outages and cancels, corrections, one order that becomes two, words
in any order. One stack for all: each test has a contract of its own, and leaves fair weather behind."""

import asyncio
from decimal import Decimal

import pytest

from nautilus.auth.principal import Client
from nautilus.db.bridge import status
from nautilus.orders import kill
from tests.conftest import database
from tests.support.order_ledger import findings
from tests.support.order_process import order_stack
from tests.support.sim_client import RawClient
from tests.support.sim_orders import order as raw_order

MARKET = {"type": "MKT", "limit_price": None}


@pytest.fixture(scope="module")
def shared(servers, server, template, tmp_path_factory):
    folder = tmp_path_factory.mktemp("process")
    with database(server, template) as dsn, order_stack(servers.group, folder, dsn, settings={}) as made:
        yield made


@pytest.fixture
def stack(shared):
    yield shared
    shared.sim.command("clear")
    shared.wait(lambda: shared.status() == "ready", "the gate is open again", tell=shared.log)
    assert findings(shared.db) == []


def use(stack, symbol):
    """Orders of the test are for this stock, which no other test trades."""
    stack.instrument = stack.learn(symbol)


def position(stack):
    """Ours, and IB's."""
    con_id = stack.instrument.con_id
    ours = stack.rows("SELECT position FROM risk_book WHERE con_id = %s", con_id)
    brokers = stack.rows("SELECT quantity FROM broker_positions WHERE con_id = %s", con_id)
    return (ours[0].position if ours else 0), (brokers[0].quantity if brokers else 0)


def fills(stack, order):
    return stack.rows(
        "SELECT exec_id, revision, quantity, price, commission FROM executions WHERE order_id = %s AND latest"
        " ORDER BY ts, exec_base",
        order,
    )


def incidents(stack, order):
    found = stack.rows("SELECT code FROM incidents WHERE subject = %s AND until IS NULL", str(order))
    return {row.code for row in found}


def times_placed(stack, order):
    return stack.placed().count(str(order))


# ---- fills that nobody saw -------------------------------------------------------------------------------------------


def test_an_order_that_fills_in_parts_over_an_outage_is_one_with_the_corrected_price_and_all_commissions(stack):
    """It rests, the line to IB is gone, it fills in three parts; the last is corrected; commissions come after that."""
    use(stack, "AAPL")
    stack.sim.command("commission_delay 60")
    stack.sim.command("fill_plan next 3@20,3@30,4@40")
    order = stack.place()
    stack.until(order, "working")
    stack.sim.command("lost")
    stack.wait(lambda: "1100" in stack.reason(), "the gate closes", tell=stack.log)
    stack.sim.command("advance 50")
    assert stack.order(order).filled == 0
    stack.sim.command("restored")
    row = stack.until(order, "filled")
    assert [(one.quantity, one.commission) for one in fills(stack, order)] == [(3, None), (3, None), (4, None)]
    stack.sim.command("correct last 279.5")
    stack.wait(lambda: fills(stack, order)[2].revision == 2, "the correction is read", tell=stack.log)
    stack.sim.command("advance 120")
    paid = lambda: [one.commission for one in fills(stack, order)]  # noqa: E731
    stack.wait(lambda: None not in paid(), "commissions come", tell=stack.log)
    assert sum(paid()) > 0
    row = stack.order(order)
    assert [(one.quantity, one.price) for one in fills(stack, order)] == [(3, 280), (3, 280), (4, Decimal("279.5"))]
    assert (row.state, row.filled, row.avg_fill_price, row.reserved_quantity) == ("filled", 10, Decimal("279.8"), 0)
    stack.wait(lambda: position(stack) == (10, 10), "ours is IB's position", tell=lambda: position(stack))
    assert times_placed(stack, order) == 1


# ---- a fill meets a cancel -------------------------------------------------------------------------------------------


def test_a_fill_that_overtakes_a_cancel_fills_the_order_and_nothing_is_sent_again(stack):
    """A cancel is sent, the order fills first, and IB answers that there is nothing to cancel (10148)."""
    use(stack, "MSFT")
    order = stack.place()
    stack.until(order, "working")
    cancels = len(stack.received("cancelOrder"))
    stack.sim.command(f"fill_after_cancel {order} overtakes")
    stack.sim.command("ack_delay 30")
    stack.cancel(order)
    refused = "SELECT 1 FROM order_events WHERE order_id = %s AND text LIKE '%%10148%%'"
    stack.wait(lambda: stack.rows(refused, order), "10148 comes, and the fill behind it", tell=stack.log)
    assert stack.order(order).state == "working"
    stack.sim.command("advance 31")
    row = stack.until(order, "filled")
    (request,) = stack.rows("SELECT state FROM order_requests WHERE order_id = %s", order)
    assert request.state in ("overtaken", "refused")
    assert (row.filled, row.reserved_quantity, row.pending) == (10, 0, "")
    stack.wait(lambda: position(stack) == (10, 10), "ours is IB's position", tell=lambda: position(stack))
    assert (times_placed(stack, order), len(stack.received("cancelOrder")) - cancels) == (1, 1)
    assert "order-late-fill" not in incidents(stack, order)


def test_a_fill_that_comes_after_cancelled_is_booked_and_told(stack):
    """A cancel is sent, IB says Cancelled, and seconds later an execution of the same order comes."""
    use(stack, "QQQ")
    order = stack.place()
    stack.until(order, "working")
    stack.sim.command(f"fill_now {order} 4")
    stack.wait(lambda: stack.order(order).filled == 4, "a part fills", tell=stack.log)
    stack.sim.command(f"fill_after_cancel {order} late 5")
    stack.cancel(order)
    before = stack.until(order, "cancelled")
    assert (before.filled, before.reserved_quantity) == (4, 0)
    stack.sim.command("advance 6")
    row = stack.until(order, "filled")
    assert (row.filled, row.reserved_quantity, row.pending) == (10, 0, "")
    assert "order-late-fill" in incidents(stack, order)
    stack.wait(lambda: position(stack) == (10, 10), "ours is IB's position", tell=lambda: position(stack))
    assert times_placed(stack, order) == 1


# ---- words in any order ----------------------------------------------------------------------------------------------


def facts_of(stack, order):
    """What the rows say, without what differs between any two orders."""
    row, (fill,) = stack.order(order), fills(stack, order)
    facts = (row.state, row.filled, row.filled_by_status, row.broker_status, row.pending, len(row.perm_ids))
    return (*facts, row.reserved_quantity, str(row.notices), row.why, fill.quantity, fill.revision, fill.commission)


def end_of(stack, order):
    """The same when all messages of its fill are recorded."""
    stack.until(order, "filled")
    stack.wait(lambda: [one.commission for one in fills(stack, order)] != [None], "the commission comes")
    stack.wait(lambda: stack.order(order).broker_status == "Filled", "IB's last status comes", tell=stack.log)
    return facts_of(stack, order)


def end_after_a_late_status(stack):
    """The same of an order whose first status comes once more long after it has filled."""
    stack.sim.command("status_duplicate 1 40")
    order = stack.place(**MARKET)
    end_of(stack, order)
    stack.sim.command("advance 41")
    statuses = "SELECT 1 FROM order_events WHERE order_id = %s AND kind = 'order-status'"
    stack.wait(lambda: len(stack.rows(statuses, order)) == 3, "the late status is recorded", tell=stack.log)
    return facts_of(stack, order)


def test_words_of_a_fill_in_any_order_and_twice_end_in_the_same_rows(stack):
    """Market orders fill while their messages are shuffled and doubled, the commission first or last."""
    use(stack, "IWM")
    plain = end_of(stack, stack.place(**MARKET))
    shuffled = len(stack.sim.command("received fault")["received"])
    orders = []
    for first in range(10):
        stack.sim.command("shuffle 100")
        stack.sim.command("status_duplicate 100")
        stack.sim.command(f"commission_first {1 + first % 2}")
        orders.append(stack.place(**MARKET))
        stack.until(orders[-1], "filled")
    assert {end_of(stack, order) for order in orders} == {plain}
    stack.sim.command("clear")
    assert end_after_a_late_status(stack) == plain
    assert len(stack.sim.command("received fault")["received"]) - shuffled >= 20, "each met both faults"
    stack.wait(lambda: position(stack) == (120, 120), "ours is IB's position", tell=lambda: position(stack))
    assert incidents(stack, orders[0]) == set()


def test_a_process_without_ranks_of_statuses_keeps_a_late_one(stack):
    """The mutant of the test before."""
    use(stack, "TLT")
    plain = end_of(stack, stack.place(**MARKET))
    stack.kill()
    stack.launch(command=("-m", "tests.support.order_mutants", "lose-status-ranks"))
    stack.wait(lambda: stack.status() == "ready", "the mutant is ready", tell=stack.log)
    assert end_after_a_late_status(stack) != plain
    stack.kill()
    stack.start()


# ---- one order, twice at IB ------------------------------------------------------------------------------------------


async def _modify_in_an_outage(stack, row):
    """A process of before, which knows no gate, modifies an order while the line to IB is gone."""
    contract = (str(row.con_id), row.symbol, "STK", "", "0.0", "", "", "SMART", "", "USD", "", "")
    client = await RawClient.start(stack.sim.port, 5)
    stack.sim.command("lost hold")
    raw_order(
        client,
        row.order_id,
        quantity=10,
        kind="LMT",
        limit="281",
        contract=contract,
        ref=str(row.id),
        account=row.account,
    )
    stack.sim.command("restored")
    await client.settle()
    client.close()


def test_an_order_that_became_two_at_ib_is_one_row_halts_and_both_are_cancelled(stack):
    """A modify during an outage, past our gate, leaves two live orders of one reference; one fills after all."""
    use(stack, "SPY")
    order = stack.place()
    row = stack.until(order, "working")
    stack.kill()
    asyncio.run(_modify_in_an_outage(stack, row))
    twins = stack.sim.command(f"twin {order}")["perm_ids"]
    stack.start()
    stack.wait(lambda: set(stack.order(order).perm_ids) == set(twins), "both are seen", tell=stack.log)
    assert "order-twin" in incidents(stack, order)
    halted = "SELECT 1 FROM trading_state WHERE scope = %s AND state = 'halted'"
    stack.wait(lambda: stack.rows(halted, stack.account), "trading is halted")
    assert stack.until(stack.place(), "denied").why.startswith("trading_halted")
    stack.sim.command(f"fill_after_cancel {order} late 5")
    stack.cancel(order)
    ended = "order.notices names the permId that is over"
    stack.wait(lambda: [one for one in stack.order(order).notices if one.get("ended_perm_id")], ended, tell=stack.log)
    assert stack.order(order).state == "working", "the other one lives"
    with stack.db.transaction() as cursor:
        now = status.market_now(cursor)
        kill.kill(cursor, None, reason="twins", by="user:1", client=Client("local"), now=now, cancel="everything")
    stack.until(order, "cancelled")
    stack.sim.command("advance 6")
    stack.wait(lambda: stack.order(order).filled == 10, "the fill that came late is booked", tell=stack.log)
    stack.wait(lambda: position(stack) == (10, 10), "ours is IB's position", tell=lambda: position(stack))
    stack.wait(lambda: not stack.rows("SELECT 1 FROM kill_orders WHERE done_at IS NULL"), "the kill is done")
    assert "order-late-fill" in incidents(stack, order)
    with stack.db.transaction() as cursor:
        for accounts in (None, [stack.account]):
            kill.resume(cursor, accounts, reason="seen", by="user:1", client=Client("local"))
