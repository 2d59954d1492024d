"""Every scenario of orders is played beside a resting order, and does what it says."""

import asyncio

import pytest

from tests.support.sim_client import MONDAY_NOON_NS, RawClient
from tests.support.sim_orders import Believer, messages, order, played, reported_orders, word, words
from tests.support.sim_process import ROOT

FOLDER = ROOT / "ib_gateway_sim" / "scenarios" / "orders"
EVENING_NS = MONDAY_NOON_NS + (11 * 60 + 39) * 60 * 10**9  # 23:39 in New York, the login's zone
RESTING = {"kind": "LMT", "limit": 100, "quantity": 10, "tif": "GTC", "ref": "a"}


async def play(control, name):
    answer = await control.run(f"scenario {FOLDER / name}.txt")
    assert answer["ok"], answer
    await control.run("advance 0.001")


def at(name, start_ns=MONDAY_NOON_NS):
    """A test of one scenario; its complaints on stderr are failures."""

    def wrap(work):
        def run(capsys):
            played(start_ns=start_ns)(work)()
            assert capsys.readouterr().err == ""

        run.__name__ = work.__name__
        return run

    TESTED.add(name)
    return wrap


TESTED: set[str] = set()


@at("acknowledgement_lost")
async def test_acknowledgement_lost(client, sim, control):
    await play(control, "acknowledgement_lost")
    order(client, 1, **RESTING)
    assert await words(client) == []
    assert list((await reported_orders(client))[0]) == [("a", 1_600_000_001)]


@at("order_eaten")
async def test_order_eaten(client, sim, control):
    await play(control, "order_eaten")
    order(client, 1, **RESTING)
    assert await words(client) == []
    assert await reported_orders(client) == ({}, {})


@at("slow_gateway")
async def test_slow_gateway(client, sim, control):
    await play(control, "slow_gateway")
    order(client, 1, **RESTING)
    await words(client)
    client.writer.transport.abort()
    while sim.clients:
        await words(await RawClient.start(sim.port, 2))
        del sim.clients[2]
    await control.run("advance 61")
    assert list((await reported_orders(await RawClient.start(sim.port)))[0]) == [("a", 1_600_000_001)]


@at("restart_rolls_ids_back")
async def test_restart_rolls_ids_back(client, sim, control):
    order(client, 1, **RESTING)
    await words(client)
    await play(control, "restart_rolls_ids_back")
    for order_id in range(2, 6):
        order(client, order_id, **RESTING)
    await words(client)
    assert sim.orders.next_id(1) == 6
    await control.run("advance 90")
    assert sim.orders.next_id(1) == 2
    assert len(sim.orders.every()) == 1


@at("outage_makes_two_of_one")
async def test_outage_makes_two_of_one(client, sim, control):
    order(client, 1, **RESTING)
    await words(client)
    await play(control, "outage_makes_two_of_one")
    await control.run("advance 61")
    assert [each.status for each in sim.orders.every()] == ["Filled", "Submitted"]
    assert len({each.perm_id for each in sim.orders.every()}) == 2


@at("outage_fills_in_parts")
async def test_outage_fills_in_parts(client, sim, control):
    await play(control, "outage_fills_in_parts")
    order(client, 1, **RESTING)
    await words(client)
    await control.run("advance 50")
    assert [word(fields) for fields in await messages(client)] == ["error 1100"]
    await control.run("advance 11")
    answers = await words(client)
    assert answers[0] == "error 1102"
    assert (answers.count("execDetails"), answers.count("commissionReport")) == (3, 0)
    started_s = MONDAY_NOON_NS / 1e9
    assert [round(made.at_s - started_s) for made in sim.orders.executions] == [20, 30, 40]
    victim = await Believer(client).listen()
    await control.run("advance 45")
    assert await words(client) == ["commissionReport"] * 3
    await control.run("advance 20")
    await victim.listen()
    assert victim.filled == 4  # it counts the corrected part a second time
    assert [made.price for made in sim.orders.executions] == [100, 100, 100, 99.5]
    assert sim.portfolio.open_positions()[0].quantity == 10


@at("fills_behind_1100")
async def test_fills_behind_1100(client, sim, control):
    order(client, 1, **RESTING)
    await words(client)
    await play(control, "fills_behind_1100")
    await control.run("advance 11")
    answers = await words(client)
    assert answers[0] == "error 1100"
    assert answers.count("execDetails") == 2


@pytest.mark.parametrize(
    ("name", "status", "code"), [("fill_overtakes_cancel", "Filled", 10148), ("fill_after_cancelled", "Cancelled", 202)]
)
def test_a_fill_meets_the_cancel(name, status, code):
    @played()
    async def run(client, sim, control):
        order(client, 1, **RESTING)
        await words(client)
        await play(control, name)
        client.send(4, 1, 1, "")
        assert (await client.error())[:2] == (1, code)
        await words(client)
        await control.run("advance 10")
        assert [(each.status, each.filled) for each in sim.orders.every()] == [(status, 10)]

    run()


TESTED |= {"fill_overtakes_cancel", "fill_after_cancelled"}


@at("cancel_not_found")
async def test_cancel_not_found(client, sim, control):
    order(client, 1, **RESTING)
    await words(client)
    await play(control, "cancel_not_found")
    client.send(4, 1, 1, "")
    assert await client.error() == (1, 10147, "OrderId that needs to be cancelled is not found.")
    assert sim.orders.orders[1, 1].status == "Submitted"


@at("bracket_leg_refused")
async def test_bracket_leg_refused(client, sim, control):
    await play(control, "bracket_leg_refused")
    order(client, 1, **RESTING, transmit=0)
    order(client, 2, "SELL", kind="LMT", limit=2000, quantity=10, parent=1, ref="take")
    await words(client)
    await control.run("advance 10")
    order(client, 3, "SELL", kind="STP", aux=1, quantity=10, parent=1, ref="stop")
    assert (await words(client))[0] == "error 201"
    await control.run("advance 30")
    assert [each.status for each in sim.orders.every()] == ["Filled", "Submitted", "Inactive"]


@at("words_shuffled_and_doubled")
async def test_words_shuffled_and_doubled(client, sim, control):
    await play(control, "words_shuffled_and_doubled")
    order(client, 1, quantity=10)
    answers = await words(client)
    assert answers.count("orderStatus Filled") == 2
    assert answers[:3] != ["openOrder PreSubmitted", "orderStatus PreSubmitted", "orderStatus PreSubmitted"]


@at("manual_order")
async def test_manual_order(client, sim, control):
    await play(control, "manual_order")
    await control.run("advance 21")
    found, filled = await reported_orders(client)
    assert (list(found.values()), filled) == (["Cancelled"], {"": 10})
    assert [position.quantity for position in sim.portfolio.open_positions()] == [10]


@at("half_open")
async def test_half_open(client, sim, control):
    order(client, 1, **RESTING)
    await words(client)
    await play(control, "half_open")
    await control.run("advance 11")
    client.send(58, 1)
    assert await client.quiet(0.1)
    assert sim.orders.orders[1, 1].open
    await control.run("advance 30")
    again = await RawClient.start(sim.port, 3)
    again.send(58, 1)
    await words(again)
    assert not sim.orders.orders[1, 1].open


@at("fill_before_midnight", EVENING_NS)
async def test_fill_before_midnight(client, sim, control):
    order(client, 1, **RESTING)
    await words(client)
    await play(control, "fill_before_midnight")
    await control.run("advance 2461")
    again = await RawClient.start(sim.port)
    assert await reported_orders(again) == ({}, {})
    again.send(61, 1)
    assert (await again.message(61))[14] == "10"


@at("week")
async def test_week(client, sim, control):
    """Orders all the week by a client that comes again after each loss: the books agree with what was executed."""
    order(client, 1, **RESTING)
    victim = await Believer(client).listen()
    await play(control, "week")
    for step in range(40):
        await control.run("advance 14000")
        try:
            await victim.listen()
        except (asyncio.IncompleteReadError, ConnectionError):
            victim.client = await RawClient.start(sim.port, 1)
        side = ("BUY", "SELL")[step % 2]
        order(victim.client, sim.orders.next_id(1), side, quantity=10 + step, ref=f"{step}")
        await victim.listen()
    every = sim.orders.every()
    assert len({each.perm_id for each in every}) == len(every) == 41
    made = sum(each.shares if each.order.buys else -each.shares for each in sim.orders.executions)
    assert made == sum(position.quantity for position in sim.portfolio.open_positions())
    assert sum(each.filled for each in every) == sum(each.shares for each in sim.orders.executions)
    assert sim.orders.orders[1, 1].open
    # Who listens only, and asks nothing, has missed fills in the week.
    assert victim.filled < sum(each.shares for each in sim.orders.executions)


def test_every_scenario_is_tested_and_documented():
    names = {path.stem for path in FOLDER.glob("*.txt")}
    assert names == TESTED
    page = (ROOT / "docs" / "simulator.md").read_text(encoding="utf-8")
    assert {name for name in names if f"`{name}`" not in page} == set()
