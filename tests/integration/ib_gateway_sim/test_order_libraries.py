"""ib_insync as the client that believes: what it says of an order, and what the gateway has."""

import asyncio

import pytest
from ib_insync import IB, LimitOrder, MarketOrder, Stock, Trade

from tests.support.sim_client import gateway


def limit(price=100.0, **other):
    return LimitOrder("BUY", 10, price, orderRef="a", **other)


async def nothing(ib, trade):
    """What happens to the order after it was placed."""


async def cancelled(ib, trade):
    ib.cancelOrder(trade.order)


async def changed_off_tick(ib, trade):
    trade.order.lmtPrice = 100.001
    ib.placeOrder(trade.contract, trade.order)


CASES = {
    "its cancel is not found (10147)": (
        "reject_next cancelOrder 10147 'OrderId that needs to be cancelled is not found.'",
        limit(),
        cancelled,
        "Cancelled",
        "Submitted",
    ),
    "it was never there": ("eat_order", limit(), nothing, "PendingSubmit", None),
    "it is there, and no word comes": ("ack_lose", limit(), nothing, "PendingSubmit", "Submitted"),
    "it filled, and no word comes": ("ack_lose", MarketOrder("BUY", 10), nothing, "PendingSubmit", "Filled"),
    "it was refused by the gateway (110)": ("clock", limit(100.001), nothing, "PendingSubmit", None),
    "it waits for a click": ("precaution", limit(), nothing, "PendingSubmit", "PendingSubmit"),
    "its fill comes after its end": ("fill_after_cancel next late 0", limit(), cancelled, "Cancelled", "Cancelled"),
}


async def settle(ib):
    """Until the gateway has answered what was sent before."""
    for _ in range(3):
        await ib.reqCurrentTimeAsync()


@pytest.mark.parametrize("name", CASES)
def test_what_the_library_says_is_not_what_is(name):
    line, requested, then, believed, true = CASES[name]

    async def run():
        async with gateway() as (sim, control):
            ib = IB()
            await ib.connectAsync("127.0.0.1", sim.port, clientId=1, timeout=10)
            (contract,) = await ib.qualifyContractsAsync(Stock("AAPL", "SMART", "USD"))
            assert (await control.run(line))["ok"]
            trade = ib.placeOrder(contract, requested)
            await settle(ib)
            await then(ib, trade)
            await settle(ib)
            await control.run("advance 2")
            await settle(ib)
            assert trade.orderStatus.status == believed
            assert [each.status for each in sim.orders.every()] == ([true] if true else [])
            if "after its end" in name:
                assert sim.orders.every()[0].filled == 10
            ib.disconnect()

    asyncio.run(run())


def test_a_notice_ends_the_order_for_the_library_until_its_next_word():
    async def run():
        async with gateway() as (sim, control):
            ib = IB()
            ends: list[Trade] = []
            await ib.connectAsync("127.0.0.1", sim.port, clientId=1, timeout=10)
            (contract,) = await ib.qualifyContractsAsync(Stock("AAPL", "SMART", "USD"))
            assert (await control.run("preset tif DAY"))["ok"]
            trade = ib.placeOrder(contract, limit())
            trade.cancelledEvent += ends.append
            await settle(ib)
            assert ends == [trade]
            assert sim.orders.every()[0].open
            ib.disconnect()

    asyncio.run(run())


def test_a_refused_change_is_shown_as_if_it_were_made():
    async def run():
        async with gateway() as (sim, _):
            ib = IB()
            await ib.connectAsync("127.0.0.1", sim.port, clientId=1, timeout=10)
            (contract,) = await ib.qualifyContractsAsync(Stock("AAPL", "SMART", "USD"))
            trade = ib.placeOrder(contract, limit())
            await settle(ib)
            await changed_off_tick(ib, trade)
            await settle(ib)
            assert trade.order.lmtPrice == 100.001
            assert sim.orders.every()[0].request.number("lmtPrice") == 100
            ib.disconnect()

    asyncio.run(run())


def test_of_two_live_orders_with_one_id_the_library_shows_the_newest_words():
    async def run():
        async with gateway() as (sim, control):
            ib, asking = IB(), IB()
            await ib.connectAsync("127.0.0.1", sim.port, clientId=1, timeout=10)
            await asking.connectAsync("127.0.0.1", sim.port, clientId=2, timeout=10)
            (contract,) = await ib.qualifyContractsAsync(Stock("AAPL", "SMART", "USD"))
            trade = ib.placeOrder(contract, limit())
            await settle(ib)
            assert (await control.run("twin a"))["ok"]
            await settle(ib)
            ib.cancelOrder(trade.order)
            await settle(ib)
            assert trade.isDone()
            assert [each.order.orderRef for each in await asking.reqAllOpenOrdersAsync()] == ["a"]
            ib.disconnect()
            asking.disconnect()

    asyncio.run(run())
