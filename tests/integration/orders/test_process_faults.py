"""What the order process does when something is wrong: with the gateway, with IB, with the database, with itself."""

import signal
from decimal import Decimal

import pytest

from nautilus.auth.principal import Client
from nautilus.clock import NS_PER_S
from nautilus.db.bridge import status
from nautilus.orders import kill
from tests.support.order_process import order_stack

ORDER_MESSAGES = {"placeOrder", "cancelOrder", "reqAutoOpenOrders", "reqGlobalCancel", "exerciseOptions"}
ORDER_QUESTIONS = {"reqOpenOrders", "reqAllOpenOrders", "reqCompletedOrders"}


@pytest.fixture
def stack(servers, tmp_path, dsn):
    with order_stack(servers.group, tmp_path, dsn) as made:
        yield made


def kinds(stack):
    return {one["kind"] for one in stack.received("all")}


# ---- what is sent at all ---------------------------------------------------------------------------------------------


def test_switched_off_no_order_byte_crosses_the_wire(stack):
    stack.launch(orders="off")
    order = stack.place()
    stack.wait(lambda: stack.rows("SELECT 1 FROM account_values WHERE tag = 'NetLiquidation'"), "values are read")
    stack.wait(lambda: "reqPositions" in kinds(stack), "positions are asked for")
    assert (stack.status(), stack.reason()) == ("not_ready", "orders are switched off (NAUTILUS_ORDERS=off)")
    stack.signal(signal.SIGUSR1)
    assert stack.stop() == 0
    assert not kinds(stack) & (ORDER_MESSAGES | ORDER_QUESTIONS)
    assert stack.order(order).state == "accepted"


def test_the_handshake_asks_for_nothing_by_itself(stack):
    stack.start()
    stack.place()
    stack.wait(stack.placed, "an order arrives")
    sent = kinds(stack)
    assert ORDER_QUESTIONS - {"reqOpenOrders"} <= sent
    assert not sent & {"reqOpenOrders", "reqAutoOpenOrders", "reqAccountUpdates", "reqAccountSummary"}


def test_a_client_id_in_use_is_waited_for_and_never_left(stack):
    stack.sim.command("hold_ids 20")
    stack.start()
    stack.kill()
    child = stack.launch()
    stack.wait(lambda: "client id 5 is in use" in stack.reason(), "it says why it waits", tell=stack.log)
    stack.wait(lambda: stack.status() == "ready", "it gets its id", tell=stack.log)
    assert {one["client_id"] for one in stack.sim.command("received startApi")["received"]} <= {5, 99, -1}
    assert child.exit_code() is None


def test_an_order_that_waited_too_long_is_denied_and_not_sent(stack):
    """It waits for a gateway without IB; one whose time is not over is sent when IB is back."""
    stack.start()
    stack.sim.command("lost hold")
    stack.wait(lambda: "1100" in stack.reason(), "the gate closes", tell=stack.log)
    late, order = stack.place(valid_until=stack.market_ns() - NS_PER_S), stack.place(limit_price=Decimal("279.00"))
    row = stack.until(late, "denied")
    assert row.why.startswith("stale: it could not be sent within its valid_for"), row.why
    assert "broker_not_ready" in {check["code"] for check in row.checks}
    assert row.reserved_quantity == 0
    stack.sim.command("restored")
    stack.until(order, "working")
    assert stack.placed() == [str(order)]


def test_an_order_of_another_account_is_denied(stack):
    stack.start()
    order = stack.place(account="DU1")
    assert "does not manage the account DU1" in stack.until(order, "denied").why
    assert stack.placed() == []


# ---- the connection --------------------------------------------------------------------------------------------------


def test_during_an_outage_nothing_is_sent_and_afterwards_ib_is_asked_first(stack):
    stack.start()
    stack.sim.command("lost hold")
    stack.wait(lambda: "1100" in stack.reason(), "the gate closes", tell=stack.log)
    order = stack.place()
    questions = len(stack.received("reqAllOpenOrders"))
    stack.sim.command("restored")
    stack.until(order, "working")
    times = [one["time_ns"] for one in stack.received("reqAllOpenOrders")[questions:]]
    (sent,) = stack.received("placeOrder")
    assert min(times) < sent["time_ns"]


def test_a_half_open_socket_is_noticed_and_the_order_is_unknown(stack):
    stack.start()
    stack.until(stack.place(limit_price=Decimal("279.00")), "working")
    stack.sim.command("half_open 5")
    order = stack.place()
    row = stack.until(order, "unknown")
    assert "IB never said a word" in row.why
    assert str(order) not in stack.placed()


def test_a_restart_that_rolls_ids_back_gives_no_id_twice(stack):
    stack.start()
    first = [stack.place() for _ in range(2)]
    for order in first:
        stack.until(order, "working")
    stack.sim.command("ids_rollback 2")
    stack.sim.command("drop 5")
    stack.wait(lambda: len(stack.rows("SELECT 1 FROM gateway_sessions")) == 2, "it connects anew", tell=stack.log)
    second = stack.place()
    stack.until(second, "working")
    ids = [stack.order(order).order_id for order in (*first, second)]
    assert len(set(ids)) == 3
    assert max(ids) == ids[2]


# ---- what IB says ----------------------------------------------------------------------------------------------------


def test_not_found_for_a_live_order_proves_nothing(stack):
    stack.start()
    order = stack.place()
    stack.until(order, "working")
    stack.sim.command('reject_next cancelOrder 10147 "OrderId that needs to be cancelled is not found"')
    stack.cancel(order)
    answered = "SELECT 1 FROM order_requests WHERE order_id = %s AND state = 'refused'"
    stack.wait(lambda: stack.rows(answered, order), "the request is refused", tell=stack.log)
    row = stack.order(order)
    assert (row.state, row.pending, row.reserved_quantity) == ("working", "", 10)


def test_a_modify_of_an_order_that_is_unknown_is_refused_and_does_not_wait(stack):
    stack.start()
    stack.sim.command("eat_order")
    order = stack.place()
    stack.until(order, "unknown")
    request = stack.modify(order, quantity="12", unit_value="300", unit_value_before="280")
    stack.wait(lambda: stack.request(request).state == "refused", "the modify is refused", tell=stack.log)
    row = stack.order(order)
    assert (row.state, row.reserved_quantity, row.unit_value) == ("unknown", 10, 280)
    assert stack.placed() == [str(order)]


@pytest.mark.parametrize(("mutant", "known"), [("none", True), ("forget-early-commissions", False)])
def test_a_commission_that_comes_before_its_fill_is_there_with_it(stack, mutant, known):
    """The mutant is what the messages of a fill in another order would find."""
    stack.start(command=("-m", "tests.support.order_mutants", mutant))
    stack.sim.command("commission_first")
    stack.until(stack.place(type="MKT", limit_price=None), "filled")
    (fill,) = stack.rows("SELECT commission FROM executions")
    assert (fill.commission is not None) is known


def test_a_bracket_of_which_a_leg_is_refused_leaves_no_entry_alone(stack):
    stack.start()
    unknown_type = {
        "type": "TRAIL_LIMIT",  # the simulator has no such type (387)
        "limit_price": Decimal("329.00"),
        "stop_price": Decimal("330.00"),
        "trail_amount": Decimal("1.00"),
    }
    parent, profit, loss = stack.bracket(take_profit=unknown_type)
    stack.until(profit, "rejected")
    for leg in (parent, loss):
        assert stack.until(leg, "cancelled").reserved_quantity == 0
    assert len(stack.placed()) == 3


def test_a_manual_order_is_shown_and_never_touched(stack):
    stack.start()
    stack.sim.command("manual_order BUY 10 AAPL 280")
    found = "SELECT id, state, origin, perm_ids FROM orders WHERE origin = 'external'"
    stack.wait(lambda: stack.rows(found), "the order is adopted", tell=stack.log)
    (row,) = stack.rows(found)
    stack.sim.command(f"manual_fill {row.perm_ids[0]} 4")
    stack.wait(lambda: stack.order(row.id).filled == 4, "its fill counts", tell=stack.log)
    stack.sim.command(f"manual_cancel {row.perm_ids[0]}")
    stack.until(row.id, "cancelled")
    book = "SELECT position FROM risk_book WHERE con_id = %s AND position = 4"
    stack.wait(lambda: stack.rows(book, stack.instrument.con_id), "the position has moved", tell=stack.log)
    assert not kinds(stack) & ORDER_MESSAGES


# ---- the process -----------------------------------------------------------------------------------------------------


def test_a_second_process_does_not_start(stack):
    stack.start()
    first = stack.process
    second = stack.launch(orders_client_id="6")
    stack.wait(lambda: second.exit_code() is not None, "the second one ends")
    assert second.exit_code() == 1
    assert "another order process works on this database already" in second.tail()
    stack.process = first
    assert first.exit_code() is None


def test_a_sleeper_whose_place_was_taken_sends_nothing(stack):
    stack.start()
    sleeper = stack.process
    stack.signal(signal.SIGSTOP)
    stack.rows(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'nautilus-orders'"
        " AND pid <> pg_backend_pid()"
    )
    stack.sim.command("drop 5")
    stack.start()
    order = stack.place()
    stack.until(order, "working")
    holder, stack.process = stack.process, sleeper
    stack.signal(signal.SIGCONT)
    stack.wait(lambda: sleeper.exit_code() is not None, "the sleeper ends", tell=sleeper.tail)
    stack.process = holder
    assert stack.placed() == [str(order)]


def test_the_signal_halts_cancels_entries_and_leaves_protection(stack):
    stack.start()
    stack.until(stack.place(type="MKT", limit_price=None), "filled")
    entry = stack.place()
    protection = stack.place(side="SELL", type="STP", limit_price=None, stop_price=Decimal("250.00"), reducing=True)
    for order in (entry, protection):
        stack.until(order, "working", "held")
    stack.wait(lambda: stack.rows("SELECT 1 FROM order_process WHERE state = 'ready'"), "it is ready")
    stack.signal(signal.SIGUSR1)
    stack.until(entry, "cancelled")
    stack.wait(
        lambda: stack.rows("SELECT 1 FROM trading_state WHERE scope = '*' AND state = 'halted'"), "it is written"
    )
    later = stack.place()
    stack.wait(lambda: "SIGUSR1" in stack.reason(), "it says why it sends nothing")
    assert stack.order(protection).state in ("working", "held")
    assert stack.order(later).state in ("accepted", "denied")
    assert str(later) not in stack.placed()


def test_told_to_stop_it_says_farewell(stack):
    stack.start()
    assert stack.stop() == 0
    assert (stack.status(), stack.reason()) == ("stopped", "the order process was stopped")


def test_a_global_cancel_takes_manual_orders_too_and_is_done_when_none_is_left(stack):
    stack.start()
    order = stack.place()
    stack.until(order, "working")
    stack.sim.command("manual_order BUY 10 AAPL 280")
    with stack.db.transaction() as cursor:
        cursor.execute(
            "INSERT INTO kill_orders (id, account, cancel, flatten, by, reason)"
            " VALUES (gen_random_uuid(), '*', 'everything', false, 'test', 'a test')"
        )
    stack.until(order, "cancelled")
    stack.wait(lambda: stack.rows("SELECT 1 FROM kill_orders WHERE done_at IS NOT NULL"), "it is done", tell=stack.log)
    assert len(stack.received("reqGlobalCancel")) == 1
    states = {row.state for row in stack.rows("SELECT state FROM orders")}
    assert states == {"cancelled"}


def test_a_kill_with_flatten_closes_the_position_and_is_done_then_alone(stack):
    """The entry is cancelled first; the closing order is no larger than the position, and passes the halt."""
    stack.start()
    stack.until(stack.place(type="MKT", limit_price=None), "filled")
    entry = stack.place()
    stack.until(entry, "working")
    with stack.db.transaction() as cursor:
        now = status.market_now(cursor)
        kill.kill(cursor, None, reason="a test", by="user:1", client=Client("local"), now=now, flatten=True)
    stack.until(entry, "cancelled")
    stack.wait(lambda: stack.rows("SELECT 1 FROM kill_orders WHERE done_at IS NOT NULL"), "it is done", tell=stack.log)
    (closing,) = stack.rows("SELECT side, type, state FROM orders WHERE origin = 'kill'")
    assert (closing.side, closing.type, closing.state) == ("SELL", "MKT", "filled")
    assert stack.rows("SELECT 1 FROM risk_book WHERE position <> 0") == []
    assert [row.text for row in stack.rows("SELECT text FROM kill_orders")] == [
        "IB shows none of these orders any more, and every position is closed"
    ]


# ---- beside the bridge -----------------------------------------------------------------------------------------------


def test_the_streams_of_accounts_are_this_processs_alone(stack):
    """The bridge's connection asks for data; what it asked for of accounts would come twice, and delay its bars."""
    stack.start()
    stack.start_bridge()
    streams = {"reqPositions", "reqAccountUpdates", "reqAccountUpdatesMulti", "reqExecutions", "reqAccountSummary"}
    clients = {one["client_id"] for one in stack.sim.command("received all")["received"] if one["kind"] in streams}
    assert clients == {5}


# ---- the database ----------------------------------------------------------------------------------------------------


def test_an_order_over_which_the_database_failed_is_sent_by_the_same_life(stack):
    """It is reserved, and the commit that is to announce it fails; nobody but this process will look at it again."""
    stack.start(orders_messages_per_s="2", orders_kept_for_cancels="1", statement_timeout_ms="400")
    orders = [stack.place() for _ in range(4)]
    reserved = "SELECT id FROM orders WHERE state = 'reserved'"
    stack.wait(lambda: stack.rows(reserved), "one waits for its turn", tell=stack.log)
    (row,) = stack.rows(reserved)
    with stack.db.transaction() as cursor:
        cursor.execute("SELECT state FROM orders WHERE id = %s FOR UPDATE", (row.id,))
        assert cursor.fetchone().state == "reserved"
        stack.wait(lambda: "orders-sending-delayed" in stack.log(), "the announcement fails", tell=stack.log)
    for order in orders:
        stack.until(order, "working")
    assert sorted(stack.placed()) == sorted(str(order) for order in orders)
    assert stack.rows("SELECT 1 FROM order_events WHERE kind = 'freed' AND order_id = %s", row.id)
