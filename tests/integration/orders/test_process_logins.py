"""Whose gateway it is: accounts of real money, a gateway that is logged in anew as somebody else, one that is read-only, and the
client ids of the data session. What crosses the wire is told by a relay on it, or by the simulator."""

import asyncio
from decimal import Decimal

import pytest

from nautilus.auth.principal import Client
from nautilus.db.bridge import status
from nautilus.orders import kill
from tests.support.login_proxy import CANCEL, GLOBAL_CANCEL, ORDER_BYTES, PLACE, login_proxy
from tests.support.order_api import order_api
from tests.support.order_process import order_stack
from tests.support.sim_client import RawClient

REAL, OTHER, PAPER = "U777", "U778", "DU77"
"""As long as the simulator's SIM7, and of three logins: real money, of somebody else, and paper."""


@pytest.fixture
def stack(servers, tmp_path, dsn):
    with order_stack(servers.group, tmp_path, dsn) as made:
        yield made


def open_trading(stack, account):
    """What an administrator does before an account of real money trades: resume it by name, and list what it may trade."""
    with stack.db.transaction() as cursor:
        kill.resume(cursor, [account], reason="a test", by="user:1", client=Client("local"))
        cursor.execute(
            "INSERT INTO risk_limits (account, name, value, set_by) VALUES (%s, 'allow:STK', 1, 'test')", [account]
        )


# ---- real money ------------------------------------------------------------------------------------------------------


def test_a_live_account_behind_the_port_gets_no_byte_about_an_order_while_the_setting_is_paper(stack, tmp_path):
    """The route denies it, and an order that came past the route, as by a function with other settings, is not sent."""
    with login_proxy(stack.sim.port, stack.account, REAL) as wire:
        stack.launch(ib_port=str(wire.port))
        stack.wait(lambda: "NAUTILUS_ORDERS is paper" in stack.reason(), "it says why", tell=stack.log)
        known = "SELECT 1 FROM broker_positions UNION SELECT 1 FROM account_values WHERE account = %s"
        stack.wait(lambda: stack.rows(known, REAL), "its values are read all the same", tell=stack.log)
        open_trading(stack, REAL)
        past_the_route = stack.place(account=REAL)
        with order_api(stack, tmp_path) as api:
            trader = api.user(9, "orders:read", "orders:write", accounts=(REAL,))
            answer = api.place(headers=trader, account=REAL)
            assert answer.status_code == 422, answer.text
            assert "live_not_enabled" in [check["code"] for check in answer.json()["checks"]]
        before = stack.rows("SELECT heartbeat FROM order_process")[0].heartbeat
        alive = "SELECT 1 FROM order_process WHERE heartbeat > %s + interval '3 s'"
        stack.wait(lambda: stack.rows(alive, before), "it goes on", tell=stack.log)
        assert stack.order(past_the_route).state == "accepted"
        assert stack.status() == "not_ready"
        assert wire.of_kind(*ORDER_BYTES) == []


def test_a_paper_gateway_that_is_logged_in_anew_with_real_money_ends_the_process(stack):
    """It belongs to a database of paper accounts, so that nothing more happens at all."""
    with login_proxy(stack.sim.port, stack.account, PAPER) as wire:
        stack.start(ib_port=str(wire.port))
        stack.until(stack.place(account=PAPER), "working")
        assert len(wire.of_kind(PLACE)) == 1
        process = stack.process
        wire.log_in(REAL)
        orders = [stack.place(account=account, limit_price=Decimal(270)) for account in (PAPER, REAL)]
        stack.wait(lambda: process.exit_code() is not None, "it ends", tell=stack.log)
        assert process.exit_code() == 1
        assert "this database belongs to ib:paper, the gateway serves ib:live" in process.tail()
        assert wire.of_kind(*ORDER_BYTES) == []
        assert {stack.order(order).state for order in orders} == {"accepted"}


def test_only_the_login_that_both_settings_name_gets_orders_and_cancels_of_its_account_alone(stack):
    """Logged in as somebody else, as itself, and as somebody else again: what is wanted waits for the right login."""
    with login_proxy(stack.sim.port, stack.account, OTHER) as wire:
        stack.launch(ib_port=str(wire.port), orders="live", live_account=REAL)
        refused = lambda: f"none of the live accounts {OTHER} stands in NAUTILUS_LIVE_ACCOUNT" in stack.reason()  # noqa: E731
        stack.wait(refused, "it says why", tell=stack.log)
        open_trading(stack, REAL)
        order = stack.place(account=REAL)
        assert wire.of_kind(*ORDER_BYTES) == []

        wire.log_in(REAL)
        stack.until(order, "working")
        assert [fields[0] for fields in wire.of_kind(PLACE)] == [PLACE]

        wire.log_in(OTHER)
        stack.wait(refused, "it says why again", tell=stack.log)
        later = stack.place(account=REAL, limit_price=Decimal(270))
        stack.cancel(order)
        with stack.db.transaction() as cursor:
            now, client = status.market_now(cursor), Client("local")
            kill.kill(cursor, [REAL], reason="a test", by="user:1", client=client, now=now, cancel="everything")
            kill.resume(cursor, [REAL], reason="a test", by="user:1", client=client)
        waits = "SELECT 1 FROM kill_orders WHERE text LIKE '%%logged in to ' || %s || '%%'"
        stack.wait(lambda: stack.rows(waits, OTHER), "the kill says what it waits for", tell=stack.log)
        assert wire.of_kind(*ORDER_BYTES) == []
        assert stack.order(order).state == "working"

        wire.log_in(REAL)
        stack.until(order, "cancelled")
        assert len(wire.of_kind(GLOBAL_CANCEL, CANCEL)) >= 1
        stack.wait(lambda: not stack.rows("SELECT 1 FROM kill_orders WHERE done_at IS NULL"), "the kill is done")
        assert stack.order(later).state == "denied"


# ---- a read-only gateway ---------------------------------------------------------------------------------------------


def placed_or_cancelled(stack):
    return [*stack.received("placeOrder"), *stack.received("cancelOrder"), *stack.received("reqGlobalCancel")]


def test_a_read_only_gateway_gets_no_order_and_no_cancel_before_its_box_is_unticked(stack):
    """It is read-only from the start; then while orders work, and a cancel waits, also one that was refused."""
    stack.sim.command("read_only on")
    stack.launch()
    stack.wait(lambda: "Read-Only" in stack.reason(), "it says why", tell=stack.log)
    order = stack.place()
    incident = (
        "SELECT 1 FROM incidents WHERE code = 'orders-not-allowed' AND until IS NULL AND subject = 'order-process'"
    )
    stack.wait(lambda: stack.rows(incident), "a person is told", tell=stack.log)
    assert (stack.status(), stack.order(order).state) == ("not_ready", "accepted")
    assert placed_or_cancelled(stack) == []
    stack.sim.command("read_only off")
    stack.until(order, "working")
    stack.wait(lambda: not stack.rows(incident), "it is over", tell=stack.log)

    stack.sim.command("read_only on")
    stack.cancel(order)
    refused = "SELECT 1 FROM order_requests WHERE order_id = %s AND state = 'wanted' AND code = 321"
    stack.wait(lambda: stack.rows(refused, order), "the cancel is refused and wanted still", tell=stack.log)
    stack.wait(lambda: "Read-Only" in stack.reason(), "and says why", tell=stack.log)
    assert stack.order(order).state == "working"
    assert len(stack.received("cancelOrder")) == 1
    later = stack.place(limit_price=Decimal(270))
    questions = len(stack.received("reqAllOpenOrders"))
    stack.wait(lambda: len(stack.received("reqAllOpenOrders")) > questions, "it asks again", tell=stack.log)
    assert len(placed_or_cancelled(stack)) == 2, "and tries neither the cancel nor the order"
    stack.sim.command("read_only off")
    assert stack.until(order, "cancelled").reserved_quantity == 0
    assert stack.until(later, "denied").why.startswith("trading_halted")


# ---- client ids ------------------------------------------------------------------------------------------------------


def test_a_data_session_that_rotates_its_client_id_never_takes_the_order_process_s(stack):
    """Ids of the data session are in use by others, the one of the order process is free: it goes on to the next of its own."""
    stack.start()
    stack.kill()

    async def with_ids_in_use():
        others = [await RawClient.start(stack.sim.port, number) for number in (17, 18, 19)]
        await asyncio.to_thread(stack.start_bridge)
        for one in others:
            one.close()
            await one.writer.wait_closed()

    asyncio.run(with_ids_in_use())
    tried = [one["fields"]["clientId"] for one in stack.sim.command("received startApi 1000")["received"]]
    assert tried[-4:] == [17, 18, 19, 20]
    bridges = stack.rows("SELECT client_id FROM ib_sessions")
    assert [row.client_id for row in bridges] == [20]
    stack.start()
    order = stack.place()
    assert stack.until(order, "working").client_id == 5
    clients = [one["client_id"] for one in stack.sim.command("clients")["clients"]]
    assert {5, 20} <= set(clients)
    holder, refused = stack.process, stack.launch(ib_client_id="1")
    stack.process = holder
    stack.wait(lambda: refused.exit_code() is not None, "ids that overlap are refused", tell=stack.log)
    assert "orders_client_id 5 is one of the bridge's (1 to 11, of ib_client_id)" in refused.tail()
