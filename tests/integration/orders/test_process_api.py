"""The routes of orders before the real order process: many callers at once, the kill switch over a dead socket, a loss, and a
foreign page. Each test has a contract of its own."""

import asyncio
import threading
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import httpx
import pytest

from tests.conftest import database
from tests.support.order_api import ORDERS, order_api
from tests.support.order_ledger import findings
from tests.support.order_process import order_stack

LONGEST_S = 2.0
"""No caller waits for longer behind 39 others of the account, where one alone takes no more than a fortieth of it."""


@pytest.fixture(scope="module")
def shared(servers, server, template, tmp_path_factory):
    folder = tmp_path_factory.mktemp("process")
    with database(server, template) as dsn, order_stack(servers.group, folder, dsn, settings={}) as stack:
        known = "SELECT 1 FROM account_values WHERE tag = 'GrossPositionValue'"
        stack.wait(lambda: stack.rows(known), "IB tells the values of the account", tell=stack.log)
        with order_api(stack, folder) as made:
            yield made


@pytest.fixture
def api(shared):
    shared.limits()
    yield shared
    if "1100" in shared.stack.reason():
        shared.stack.sim.command("restored")
    stack = shared.stack
    stack.sim.command("clear")
    stack.wait(lambda: stack.status() == "ready", "the gate is open again", tell=stack.log)
    shared.resume()
    shared.api.request("DELETE", f"{ORDERS}?account={stack.account}", headers=shared.trader)
    open_ones = (
        "SELECT id, state FROM orders WHERE state IN ('accepted', 'reserved', 'sending', 'sent', 'held', 'working')"
    )
    stack.wait(lambda: not stack.rows(open_ones), "nothing is left", tell=lambda: stack.rows(open_ones))
    assert findings(stack.db) == []


@pytest.fixture
def stack(api):
    return api.stack


def at_once(*work: Callable[[], Any]) -> list[Any]:
    """Each in a thread of its own, begun together."""
    start, found = threading.Barrier(len(work)), [None] * len(work)

    def run(number: int) -> None:
        start.wait()
        found[number] = work[number]()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(work))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


# ---- many at once ----------------------------------------------------------------------------------------------------


def test_one_key_at_two_functions_at_once_is_one_order_which_is_sent_once(api, stack):
    """Ten times: two functions get the same body with the same key together; later another body with that key."""
    stack.instrument = stack.learn("AAPL")
    api.keep_time()
    functions = [api.another(), api.another()]
    found = []
    for number in range(10):
        body = api.body(stack.instrument, limit_price=f"{260 + number}.00")
        sent = api.keyed(f"twice-{number}")
        answers = at_once(
            *(lambda one=one: one.request("POST", ORDERS, json=body, headers=sent) for one in functions)  # noqa: B023
        )
        assert [one.status_code for one in answers] == [202, 202], [one.text for one in answers]
        assert answers[0].json()["id"] == answers[1].json()["id"]
        found.append(answers[0].json()["id"])
        other = functions[number % 2].request("POST", ORDERS, json={**body, "quantity": 11}, headers=sent)
        assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")
    for order in found:
        stack.until(order, "working")
    placed = stack.placed()
    assert [placed.count(order) for order in found] == [1] * 10


async def _timed(call: Any) -> tuple[httpx.Response, float]:
    began = time.monotonic()
    return await call, time.monotonic() - began


def test_of_forty_orders_at_once_with_room_for_ten_exactly_ten_are_accepted_and_sent(api, stack):
    stack.instrument = stack.learn("MSFT")
    held = api.risk()["used"]
    api.limits(gross_exposure=Decimal(held["gross_exposure"]) + 10 * 2_800)
    began = time.monotonic()
    assert api.place(limit_price="1000.00", quantity=1_000).status_code == 422, "a value above the limit"
    alone = time.monotonic() - began
    calls = [
        api.api.client.post(
            ORDERS, json=api.body(stack.instrument, allow_duplicate=True), headers=api.keyed(f"forty-{number}")
        )
        for number in range(40)
    ]

    async def together() -> list[tuple[httpx.Response, float]]:
        return list(await asyncio.gather(*map(_timed, calls)))

    answers = api.api.all(together())[0]
    accepted = [one.json()["id"] for one, _ in answers if one.status_code == 202]
    denied = [one.json() for one, _ in answers if one.status_code == 422]
    assert (len(accepted), len(denied)) == (10, 30)
    assert {check["code"] for one in denied for check in one["checks"]} == {"exposure_limit"}
    assert {one["order"]["reserved"]["quantity"] for one in denied} == {"0"}
    assert max(seconds for _, seconds in answers) < max(LONGEST_S, 40 * alone)
    for order in accepted:
        stack.until(order, "working")
    assert sorted(order for order in stack.placed() if order in accepted) == sorted(accepted)


# ---- the kill switch -------------------------------------------------------------------------------------------------


def test_a_kill_over_a_half_open_socket_halts_at_once_and_cancels_first_on_the_next_connection(api, stack):
    """Fifteen orders work, nothing reaches the gateway any more; it is done when IB shows none of them."""
    stack.instrument = stack.learn("QQQ")
    orders = [api.place(limit_price=f"{260 + number}.00").json()["id"] for number in range(15)]
    for order in orders:
        stack.until(order, "working")
    connections = len(stack.rows("SELECT 1 FROM gateway_sessions"))
    cancels, questions = len(stack.received("cancelOrder")), len(stack.received("reqAllOpenOrders"))
    stack.sim.command('reject_next cancelOrder 10147 "OrderId that needs to be cancelled is not found"')
    stack.sim.command("silent 1 reqAllOpenOrders")
    stack.sim.command("half_open 5")
    killed = api.kill()
    assert (killed.status_code, sorted(killed.json()["cancelling"])) == (202, sorted(orders))
    risk = api.risk()
    assert (risk["trading"]["state"], risk["kills"][0]["done"]) == ("halted", None)
    late = api.place()
    assert (late.status_code, late.json()["checks"][0]["code"]) == (422, "trading_halted")

    anew = "SELECT began_at FROM gateway_sessions ORDER BY id"
    stack.wait(lambda: len(stack.rows(anew)) > connections, "it connects anew", tell=stack.log)
    (kill,) = stack.rows("SELECT asked_at FROM kill_orders WHERE done_at IS NULL")
    assert kill.asked_at < stack.rows(anew)[connections].began_at, "halted while nothing could reach the gateway"
    stack.wait(lambda: len(stack.received("cancelOrder")) - cancels >= 15, "the cancels go out", tell=stack.log)
    assert len(stack.received("reqAllOpenOrders")) <= questions + 1, "before the first question has an answer"
    alive = lambda: [order for order in orders if stack.order(order).state != "cancelled"]  # noqa: E731
    stack.wait(lambda: len(alive()) == 1, "all but one are cancelled", tell=stack.log)
    (left,) = alive()
    refused = "SELECT 1 FROM order_requests WHERE order_id = %s AND state = 'refused'"
    stack.wait(lambda: stack.rows(refused, left), "its cancel is refused", tell=stack.log)
    assert stack.order(left).state == "working", "which proves nothing"
    stack.sim.command("drop 5")  # and the questions are answered from now on
    kill_text = lambda: api.risk()["kills"][0]["text"]  # noqa: E731
    stack.wait(lambda: kill_text() == "1 orders are still there, 0 of them unknown", "IB is asked", tell=kill_text)
    assert api.risk()["kills"][0]["done"] is None
    again = api.cancel(left)
    assert again.status_code == 202, again.text
    stack.until(left, "cancelled")
    stack.wait(lambda: api.risk()["kills"][0]["done"] is not None, "the kill is done", tell=api.risk)
    assert api.risk()["kills"][0]["text"] == "IB shows none of these orders any more"


# ---- who waits, and who is not asked ---------------------------------------------------------------------------------


def test_ten_calls_that_wait_and_a_foreign_page_behind_a_proxy_s_key_delay_and_kill_nothing(api, stack):
    """The order waits for a gateway without IB; ten calls wait for the order. A page of somebody else, to whose requests a
    proxy adds its key, changes nothing; the owner's kill is answered at once."""
    stack.instrument = stack.learn("GOOGL")
    key = api.injected_key("orders:read", "orders:write")
    stack.sim.command("lost")
    stack.wait(lambda: "1100" in stack.reason(), "the gate closes", tell=stack.log)
    order = api.place(limit_price="100.00").json()["id"]
    page = {**key, "Origin": "https://elsewhere.example", "Sec-Fetch-Site": "cross-site"}
    client = api.api.client

    async def foreign() -> list[httpx.Response]:
        body, keyed = api.body(stack.instrument), {**page, "Idempotency-Key": "foreign"}
        return [
            await client.post(f"{ORDERS}/kill", json={"reason": "a page"}, headers=page),
            await client.post(ORDERS, json=body, headers=keyed),
            await client.post(f"{ORDERS}/preview", json=body, headers=page),
            await client.patch(f"{ORDERS}/{order}", json={"quantity": 1}, headers={**page, "If-Match": '"1"'}),
            await client.delete(f"{ORDERS}/{order}", headers=page),
            await client.delete(f"{ORDERS}?account={stack.account}", headers=page),
            await client.post(f"{ORDERS}/resume", json={"reason": "a page"}, headers=page),
            await client.post(
                f"{ORDERS}/kill", json={"reason": "a page"}, headers={**key, "Host": "elsewhere.example"}
            ),
        ]

    async def together() -> tuple[list[httpx.Response], list[httpx.Response], httpx.Response, float]:
        polls = [client.get(f"{ORDERS}/{order}?wait=10", headers=api.trader) for _ in range(10)]
        waiting = [asyncio.create_task(one) for one in polls]
        while sum(one.done() for one in waiting) < 5:
            await asyncio.sleep(0.01)
        refused = await foreign()
        unchanged = await client.get(f"{ORDERS}/{order}", headers=api.trader)
        assert unchanged.json()["state"] == "accepted"
        assert sum(not one.done() for one in waiting) == 5
        killed, seconds = await _timed(client.post(f"{ORDERS}/kill", json={"reason": "the owner"}, headers=key))
        return refused, await asyncio.gather(*waiting), killed, seconds

    refused, polls, killed, seconds = api.api.all(together())[0]
    assert [one.status_code for one in refused] == [403] * 8, [one.text for one in refused]
    assert {one.json()["code"] for one in refused} == {"foreign-origin", "foreign-host"}
    assert (killed.status_code, killed.json()["denied"]) == (202, [order]), killed.text
    assert seconds < 8, "the calls would have waited for ten"
    assert sorted(one.json()["state"] for one in polls) == ["accepted"] * 5 + ["denied"] * 5
    (kill,) = stack.rows("SELECT reason FROM kill_orders WHERE reason IN ('a page', 'the owner')")
    assert kill.reason == "the owner"
    stack.sim.command("restored")
    stack.wait(lambda: stack.status() == "ready", "the gate is open again", tell=stack.log)
    assert order not in stack.placed()


# ---- a loss ----------------------------------------------------------------------------------------------------------


def test_a_loss_that_a_mark_makes_lets_only_closing_orders_pass_and_a_restart_keeps_that(api, stack):
    stack.instrument = stack.learn("TSLA")
    bought = api.place(type="MKT", limit_price=None, quantity=500, tif="DAY").json()["id"]
    stack.until(bought, "filled")
    stack.wait(lambda: (api.risk()["daily_pnl"] or "0") != "0", "IB tells the profit of the day", tell=api.risk)
    api.limits(daily_loss_reducing="0.02", daily_loss_halted=None)
    for _ in range(240):  # the rest of the session, in which the price falls at last
        if api.risk()["trading"]["state"] == "reducing":
            break
        stack.sim.command("advance 60")
        stack.quote(stack.instrument, 300.0)
    api.keep_time()
    stack.wait(lambda: api.risk()["trading"]["state"] == "reducing", "the loss reduces", tell=api.risk)
    assert "daily_loss_reducing" in api.risk()["trading"]["reason"]
    opening = api.place(quantity=1)
    assert (opening.status_code, opening.json()["checks"][0]["code"]) == (422, "reducing_only")
    stack.kill()
    stack.start()
    assert api.risk()["trading"]["state"] == "reducing"
    past_the_function = stack.place(quantity=1)
    assert stack.until(past_the_function, "denied").why.startswith("reducing_only")
    closing = api.place(side="SELL", type="MKT", limit_price=None, quantity=500)
    assert closing.status_code == 202, closing.text
    stack.until(closing.json()["id"], "filled")
    assert str(past_the_function) not in stack.placed()
    api.limits(daily_loss_reducing=None)
