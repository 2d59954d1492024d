"""Orders that wait: conditions, good-after times, orders if touched, orders at the close."""

import pytest

from ib_gateway_sim.market.contracts import ContractQuery
from tests.support.sim_client import EURUSD, MONDAY_NOON_NS
from tests.support.sim_orders import Believer, messages, order, played, reported_orders, words

NEVER, ALWAYS = (3, "a", 1, "20260401 12:00:00 US/Eastern"), (3, "a", 1, "20260301 12:00:00 US/Eastern")
EVENING_NS = MONDAY_NOON_NS + 6 * 3600 * 10**9
AFTERNOON_NS = MONDAY_NOON_NS + 3 * 3600 * 10**9  # an hour before the close


def aapl(sim):
    (contract,) = sim.market.find(
        ContractQuery(symbol="AAPL", sec_type="STK", exchange="SMART", currency="USD"), sim.clock.now_s()
    )
    return contract


def condition(kind, sim, *, holds):
    """A condition about AAPL that holds now, or does not."""
    con_id, more = aapl(sim).con_id, int(holds)
    return {
        "price": (1, "a", more, 1, con_id, "SMART", 0),
        "price of bid and ask": (1, "a", more, 1, con_id, "SMART", 4),
        "midpoint": (1, "a", more, 1, con_id, "SMART", 8),
        "time": (3, "a", more, "20260302 11:00:00 US/Eastern"),
        "margin": (4, "a", more, 50),
        "execution": (5, "a", "STK", "SMART", "MSFT"),
        "volume": (6, "a", more, 1, con_id, "SMART"),
        "percent change": (7, "a", more, -50, con_id, "SMART"),
    }[kind]


@pytest.mark.parametrize(
    "kind",
    ["price", "price of bid and ask", "midpoint", "time", "margin", "volume", "percent change"],
)
def test_an_order_waits_for_its_condition(kind):
    @played()
    async def run(client, sim, control):
        order(client, 1, quantity=10, conditions=(condition(kind, sim, holds=False),))
        order(client, 2, quantity=10, conditions=(condition(kind, sim, holds=True),))
        victim = await Believer(client).listen()
        await control.run("advance 30")
        await victim.listen()
        # The victim takes a market order for filled; the first waits.
        assert victim.status == {1: "PreSubmitted", 2: "Filled"}

    run()


@played()
async def test_an_order_waits_for_an_execution_in_something_else(client, sim, control):
    order(client, 1, quantity=10, conditions=(condition("execution", sim, holds=True),))
    await words(client)
    await control.run("advance 5")
    assert sim.orders.executions == []
    await control.run("manual_order BUY 1 MSFT")
    await words(client)
    await control.run("advance 2")
    assert [made.order.contract.symbol for made in sim.orders.executions] == ["MSFT", "AAPL"]


@pytest.mark.parametrize(
    ("conditions", "filled"),
    [
        ((NEVER, ALWAYS), False),
        (((*NEVER[:1], "o", *NEVER[2:]), ALWAYS), True),
        (((*ALWAYS[:1], "o", *ALWAYS[2:]), NEVER), True),
        (((*NEVER[:1], "o", *NEVER[2:]), ALWAYS, NEVER), False),
    ],
)
def test_conditions_are_joined(conditions, filled):
    @played()
    async def run(client, sim, control):
        order(client, 1, quantity=10, conditions=conditions)
        await words(client)
        assert bool(sim.orders.executions) == filled

    run()


@played()
async def test_a_condition_comes_true_and_its_order_is_sent(client, sim, control):
    later = (3, "a", 1, "20260302 12:01:00 US/Eastern")
    order(client, 1, quantity=10, conditions=(later,))
    order(client, 2, kind="LMT", limit=100, quantity=10, conditions=(later,), cancels=1)
    await words(client)
    await control.run("advance 59")
    assert [each.status for each in sim.orders.orders.values()] == ["PreSubmitted", "PreSubmitted"]
    await control.run("advance 2")
    assert [each.status for each in sim.orders.orders.values()] == ["Filled", "Cancelled"]
    assert sim.orders.executions[0].at_s == MONDAY_NOON_NS // 10**9 + 60


@pytest.mark.parametrize("ignore_rth", [0, 1])
def test_conditions_hold_outside_of_regular_hours_if_the_order_says_so(ignore_rth):
    @played(start_ns=EVENING_NS)
    async def run(client, sim, control):
        order(client, 1, kind="LMT", limit=1000, quantity=10, rth=1, conditions=(ALWAYS,), ignore_rth=ignore_rth)
        await words(client)
        await control.run("advance 5")
        assert bool(sim.orders.executions) == bool(ignore_rth)

    run()


@played()
async def test_conditions_are_told_as_they_were_sent(client, sim, control):
    requested = condition("price", sim, holds=False)
    order(client, 1, quantity=10, conditions=(requested, NEVER), ignore_rth=1)
    opened = (await messages(client))[0]
    at = opened.index("2", opened.index("PreSubmitted"))
    fields = [str(field) for each in (requested, NEVER) for field in each]
    assert opened[at : at + len(fields) + 3] == ["2", *fields, "1", "0"]


@played()
async def test_an_order_is_good_after_its_time(client, sim, control):
    order(client, 1, quantity=10, good_after="20260302 12:05:00 US/Eastern")
    assert await words(client) == ["openOrder PreSubmitted", "orderStatus PreSubmitted", "error 399"]
    await control.run("advance 299")
    assert sim.orders.executions == []
    await control.run("advance 2")
    assert [made.at_s for made in sim.orders.executions] == [MONDAY_NOON_NS // 10**9 + 300]


@pytest.mark.parametrize(
    ("kind", "action", "aux", "limit", "filled"),
    [
        ("MIT", "BUY", 1000, "", True),
        ("MIT", "BUY", 1, "", False),
        ("MIT", "SELL", 1, "", True),
        ("MIT", "SELL", 1000, "", False),
        ("LIT", "BUY", 1000, 1000, True),
        ("LIT", "BUY", 1000, 100, False),
        ("LIT", "SELL", 1000, 1, False),
    ],
)
def test_orders_if_touched_wait_on_the_other_side_of_a_stop(kind, action, aux, limit, filled):
    @played()
    async def run(client, sim, control):
        order(client, 1, action, kind=kind, aux=aux, limit=limit, quantity=10)
        await words(client)
        await control.run("advance 2")
        assert bool(sim.orders.executions) == filled

    run()


@played(start_ns=AFTERNOON_NS)
async def test_orders_at_the_close_fill_with_the_last_price_of_the_session(client, sim, control):
    order(client, 1, kind="MOC", quantity=2500, ref="market")
    order(client, 2, kind="LOC", limit=1000, quantity=10, ref="within")
    order(client, 3, kind="LOC", limit=100, quantity=10, ref="beyond", rth=1)
    victim = await Believer(client).listen()
    assert set(victim.status.values()) == {"PreSubmitted"}  # it takes a market order for filled at once
    await control.run("advance 3599")
    assert sim.orders.executions == []
    await control.run("advance 2")
    close_s = AFTERNOON_NS / 1e9 + 3600
    last = sim.market.quote(aapl(sim), close_s).last
    assert [(made.at_s, made.price) for made in sim.orders.executions] == [(close_s, last)] * 2
    found, filled = await reported_orders(client)
    assert filled == {"market": 2500, "within": 10}
    assert found["beyond", 1_600_000_003] == "Cancelled"


@pytest.mark.parametrize("start_ns", [AFTERNOON_NS, EVENING_NS])
def test_orders_at_the_open_fill_with_the_first_price_of_the_next_session(start_ns):
    @played(start_ns=start_ns)
    async def run(client, sim, control):
        order(client, 1, tif="OPG", quantity=2500, ref="market")
        order(client, 2, kind="LMT", limit=1000, tif="OPG", quantity=10, ref="within")
        order(client, 3, kind="LMT", limit=100, tif="OPG", quantity=10, ref="beyond", rth=1)
        victim = await Believer(client).listen()
        assert set(victim.status.values()) == {"PreSubmitted"}  # it takes a market order for filled at once
        await control.run("set_clock 2026-03-03T14:29:58Z")
        await words(client)
        await control.run("advance 1")
        assert sim.orders.executions == []
        await control.run("advance 5")
        (session,) = sim.market.sessions(aapl(sim), sim.clock.now_s(), sim.clock.now_s() + 1, rth=True)
        first = sim.market.quote(aapl(sim), session.open_s + 60).open
        assert [made.price for made in sim.orders.executions] == [first] * 2
        found, filled = await reported_orders(client)
        assert filled == {"market": 2500, "within": 10}
        assert found["beyond", 1_600_000_003] == "Cancelled"

    run()


@played(start_ns=AFTERNOON_NS)
async def test_an_order_at_the_close_is_cancelled_before_it(client, sim, control):
    order(client, 1, kind="MOC", quantity=10)
    client.send(4, 1, 1, "")
    await words(client)
    await control.run("advance 4000")
    assert sim.orders.executions == []


@played()
async def test_a_currency_if_touched_looks_at_bid_and_ask(client, sim, control):
    order(client, 1, kind="MIT", aux=2, quantity=20000, contract=EURUSD)
    await words(client)
    await control.run("advance 2")
    assert len(sim.orders.executions) == 1
