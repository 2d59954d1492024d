"""Faults of orders, each against a client that does not reckon with it, and against one that asks."""

import asyncio

import pytest

from ib_gateway_sim.market.contracts import ContractQuery
from tests.support.sim_client import AAPL, EURUSD, MONDAY_NOON_NS, RawClient, gateway
from tests.support.sim_orders import Believer, messages, order, played, reported_orders, statuses, words

HALT = (AAPL[0], "HALT", *AAPL[2:])
RESTING = {"kind": "LMT", "limit": 100, "quantity": 10}


async def run_command(control, line):
    answer = await control.run(line)
    assert answer.pop("ok"), answer
    return answer


async def until(true):
    """Lets the simulator go on until something is true of it."""
    for _ in range(1000):
        if true():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it did not become true")


# ---- the box Read-Only API -------------------------------------------------------------------------------------------
@played()
async def test_the_box_read_only_is_ticked_and_unticked(client, sim, control):
    """Who takes an answered question for the gateway's word that there are no orders is wrong while the box is ticked."""
    order(client, 1, **RESTING, ref="a")
    await messages(client)
    await run_command(control, "read_only on")
    for question in ((16, 1), (5, 1), (15, 1, 0), (99, 0)):
        client.send(*question)
    order(client, 2, **RESTING, ref="b")
    client.send(4, 1, 1, "")
    refused = [fields for fields in await messages(client) if fields[0] == "4"]
    assert [(int(fields[2]), int(fields[3])) for fields in refused] == [(-1, 321)] * 4 + [(2, 321), (1, 321)]
    client.send(7, 3, 900, 0, "", "", "", "", "", "")
    assert [fields[0] for fields in await messages(client)] == ["55"], "executions are told all the same"
    await run_command(control, "read_only off")
    assert list((await reported_orders(client))[0]) == [("a", 1_600_000_001)]


# ---- what becomes of messages that were read --------------------------------------------------------------------------
@pytest.mark.parametrize("gone_clients", ["work", "drop"])
def test_an_order_that_was_read_is_worked_though_its_client_dies(gone_clients):
    @played(gone_clients=gone_clients)
    async def run(client, sim, control):
        await run_command(control, "latency 1000")
        order(client, 1, quantity=10, ref="a")
        await words(client)
        client.writer.transport.abort()
        await until(lambda: not sim.clients)
        await control.run("advance 2")
        next_life = await RawClient.start(sim.port)
        _, filled = await reported_orders(next_life)
        worked = gone_clients == "work"
        assert filled == ({"a": 10.0} if worked else {})
        # The victim takes an order without an answer for one that died with the connection, and sends it again.
        order(next_life, sim.orders.next_id(1), quantity=10, ref="a")
        await words(next_life)
        await control.run("advance 2")
        assert sum((await reported_orders(next_life))[1].values()) == (20 if worked else 10)

    run()


@pytest.mark.parametrize("gone_clients", ["work", "drop"])
def test_orders_above_the_message_rate_are_worked_though_their_client_dies(gone_clients):
    @played(gone_clients=gone_clients, lines=20)
    async def run(client, sim, control):
        for order_id in range(1, 16):
            order(client, order_id, **RESTING)
        await until(lambda: len(sim.orders.orders) >= 8)
        client.writer.transport.abort()
        await until(lambda: not sim.clients)
        read = len(sim.orders.orders)
        await control.run("advance 10")
        assert read < 15
        assert len(sim.orders.orders) == (15 if gone_clients == "work" else read)

    run()


@played()
async def test_a_restart_loses_what_was_read_and_gives_its_ids_again(client, sim, control):
    order(client, 1, ref="kept", tif="GTC", **RESTING)
    order(client, 2, ref="untransmitted", transmit=0, **RESTING)
    await words(client)
    await run_command(control, "latency 1000")
    for order_id in range(3, 7):
        order(client, order_id, ref=f"lost {order_id}", **RESTING)
    await words(client)
    assert sim.orders.next_id(1) == 7
    await run_command(control, "restart 5")
    await control.run("advance 10")
    next_life = await RawClient.start(sim.port)
    assert [reference for reference, _ in (await reported_orders(next_life))[0]] == ["kept"]
    assert [each.reference for each in sim.orders.every()] == ["kept"]
    assert not sim.arrivals
    next_life.send(8, 1, 1)
    assert (await next_life.message(9))[2] == "3"
    # The victim knows its orders by their ids: it takes the new order 3 for the one that was lost.
    order(next_life, 3, ref="new", **RESTING)
    await words(next_life)
    await control.run("advance 2")
    assert sim.orders.orders[1, 3].reference == "new"
    # An order of before keeps its id, and can be cancelled by it.
    next_life.send(4, 1, 1, "")
    await words(next_life)
    await control.run("advance 2")
    assert sim.orders.orders[1, 1].status == "Cancelled"


@played()
async def test_orders_that_the_gateway_eats_never_were(client, sim, control):
    await run_command(control, "eat_order 2")
    for order_id in (1, 2, 3):
        order(client, order_id, ref=f"{order_id}", **RESTING)
    await words(client)
    assert [reference for reference, _ in (await reported_orders(client))[0]] == ["3"]
    received = await run_command(control, "received placeOrder")
    assert received["count"] == 3
    assert [entry["fields"]["fault"] for entry in (await run_command(control, "received fault"))["received"]] == [
        "eat_order"
    ] * 2
    assert len(sim.orders.open_orders()) == 1  # the victim counts the three that it wrote


@played()
async def test_ids_that_are_rolled_back_meet_orders_of_before(client, sim, control):
    order(client, 1, ref="old", quantity=10)
    order(client, 2, ref="open", **RESTING)
    await words(client)
    assert (await run_command(control, "ids_rollback 2"))["next_ids"] == {"1": 1}
    client.send(8, 1, 1)
    assert (await client.message(9))[2] == "1"
    # The victim trusts the id: its new order 2 is a change of one that is open; its new order 1 is a second order.
    order(client, 2, ref="new", kind="LMT", limit=99, quantity=20)
    order(client, 1, ref="new too", **RESTING)
    await words(client)
    assert [(each.reference, each.perm_id) for each in sim.orders.every()] == [
        ("old", 1_600_000_001),
        ("new", 1_600_000_002),
        ("new too", 1_600_000_003),
    ]
    assert (await run_command(control, "ids_reset"))["next_ids"] == {"1": 1}
    client.send(8, 1, 1)
    assert (await client.message(9))[2] == "1"
    order(client, 1, ref="newest", **RESTING)  # a change of the order that has the id now, for a victim that trusts it
    await words(client)
    assert [each.reference for each in sim.orders.every()] == ["old", "new", "newest"]


# ---- while the line to IB is gone ------------------------------------------------------------------------------------
@played()
async def test_nothing_is_confirmed_while_the_line_is_gone_and_all_of_it_is_worked_afterwards(client, sim, control):
    order(client, 1, **RESTING)
    order(client, 2, **RESTING)
    await words(client)
    await run_command(control, "lost")
    order(client, 1, kind="LMT", limit=101, quantity=10)
    client.send(4, 1, 2, "")
    order(client, 3, quantity=5)
    victim = await Believer(client).listen()
    await control.run("advance 60")
    await victim.listen()
    assert victim.status == {}
    assert victim.errors == []
    await run_command(control, "restored")
    await victim.listen()
    assert victim.status == {1: "Submitted", 2: "Cancelled", 3: "Filled"}
    assert sim.orders.orders[1, 1].request.number("lmtPrice") == 101
    # The victim gives an order up after five seconds without a word; it is filled.
    assert victim.filled == 5


@pytest.mark.parametrize(("mode", "status"), [("lose", {}), ("work", {1: "PreSubmitted"})])
def test_orders_that_are_sent_during_an_outage_are_lost_or_answered_by_choice(mode, status):
    @played()
    async def run(client, sim, control):
        await run_command(control, f"lost {mode}")
        order(client, 1, quantity=5)
        victim = await Believer(client).listen()
        assert victim.status == status
        await run_command(control, "restored")
        await victim.listen()
        await control.run("advance 2")
        await victim.listen()
        assert victim.filled == (5 if mode == "work" else 0)

    run()


@pytest.mark.parametrize(("fills", "filled"), [("late", 2000), ("none", 0)])
def test_what_rests_at_the_exchange_fills_during_an_outage_and_is_told_afterwards(fills, filled):
    @played()
    async def run(client, sim, control):
        order(client, 1, kind="LMT", limit=100, quantity=2000, ref="a")
        await words(client)
        sim.orders.orders[1, 1].request.values["lmtPrice"] = 1000.0  # the market comes to it during the outage
        await run_command(control, f"lost hold {fills}")
        await control.run("advance 60")
        assert sim.orders.executions == []
        await run_command(control, "restored")
        assert sum(made.shares for made in sim.orders.executions) == filled
        seen = await words(client)
        assert ("execDetails" in seen) == bool(filled)
        times = [made.at_s - MONDAY_NOON_NS / 1e9 for made in sim.orders.executions]
        assert all(0 < time < 60 for time in times)
        assert times == sorted(times)

    run()


@played()
async def test_stops_wait_for_the_end_of_an_outage(client, sim, control):
    order(client, 1, kind="STP", aux=2000, quantity=10)
    await words(client)
    await run_command(control, "lost")
    sim.orders.orders[1, 1].request.values["auxPrice"] = 1.0
    await control.run("advance 60")
    await run_command(control, "restored")
    assert "execDetails" not in await words(client)
    await control.run("advance 2")
    assert len(sim.orders.executions) == 1


# ---- refused ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("refused", ["forget", "complete"])
def test_a_refused_order_is_inactive_and_has_used_its_id_up(refused):
    @played(refused=refused)
    async def run(client, sim, control):
        order(client, 1, quantity=1_000_000, ref="a")
        assert await words(client) == ["error 201", "openOrder Inactive", "orderStatus Inactive"]
        found, _ = await reported_orders(client)
        assert list(found.values()) == (["Inactive"] if refused == "complete" else [])
        order(client, 1, quantity=1, ref="a")  # the victim corrects the order and keeps the id
        assert await client.error() == (1, 103, "Duplicate order id")
        order(client, 2, kind="LMT", limit=100.001)  # refused by the gateway itself: words, and no order
        assert await words(client) == ["error 110"]
        order(client, 2, kind="LMT", limit=100)
        assert (await client.error())[:2] == (2, 103)
        assert sim.orders.next_id(1) == 3

    run()


@pytest.mark.parametrize(
    ("how", "answers"),
    [
        ("", ["error 201"]),
        ("inactive", ["error 201", "openOrder Inactive", "orderStatus Inactive"]),
        ("cancelled", ["orderStatus Cancelled", "error 201"]),
    ],
)
def test_an_order_is_refused_by_choice(how, answers):
    @played()
    async def run(client, sim, control):
        await run_command(control, f"reject_order 201 'Order rejected - reason:no' {how}")
        order(client, 1, **RESTING)
        order(client, 2, **RESTING)
        assert await words(client) == [*answers, "openOrder Submitted", "orderStatus Submitted"]

    run()


@played()
async def test_a_what_if_order_is_refused_or_not_answered_by_choice(client, sim, control):
    await run_command(control, "what_if_lose 1")
    await run_command(control, "what_if_refuse 201 'Order rejected - reason:no'")
    order(client, 1, what_if=1, **RESTING)
    order(client, 2, what_if=1, **RESTING)
    order(client, 3, what_if=1, **RESTING)
    # The victim takes the first answer that comes for that of its first question.
    assert await words(client) == ["error 201", "openOrder PreSubmitted"]
    assert sim.orders.orders == {}
    met = [entry["fields"] for entry in (await run_command(control, "received fault"))["received"]]
    assert met == [{"fault": "what_if_lose", "orderId": 1}, {"fault": "what_if_refuse", "orderId": 2}]


@pytest.mark.parametrize(
    ("requested", "code"),
    [
        ({"kind": "LMT", "limit": ""}, 321),
        ({"kind": "LMT", "limit": 0}, 321),
        ({"kind": "LMT", "limit": -5}, 110),
        ({"kind": "LMT", "limit": 2950}, 109),
        ({"kind": "STP", "aux": ""}, 403),
        ({"kind": "MIT", "aux": -1}, 403),
        ({"kind": "MOC", "tif": "GTC"}, 111),
        ({"kind": "STP", "aux": 1, "tif": "OPG"}, 111),
        ({"kind": "MOC", "contract": EURUSD}, 387),
        ({"tif": "OPG", "contract": EURUSD}, 387),
        ({"kind": "LMT", "limit": 100, "tif": "GTD", "good_till": "20260301 12:00:00 US/Eastern"}, 201),
        ({"good_after": "soon"}, 10314),
        ({"parent": 77}, 10006),
        ({"algo": ("Magic", 0)}, 439),
        ({"contract": (*AAPL[:7], "", *AAPL[8:])}, 321),
        ({"quantity": 0.5}, 10243),
        ({"what_if": 1, "transmit": 0}, 413),
        ({"conditions": ((1, "a", 1, 100, 999999999, "SMART", 0),)}, 398),
        ({"conditions": ((3, "a", 1, "soon"),)}, 398),
    ],
)
def test_what_ib_would_not_take_is_refused(requested, code):
    @played()
    async def run(client, sim, control):
        order(client, 1, **{"quantity": 10, **requested})
        assert (await client.error())[:2] == (1, code)
        await control.run("advance 2")
        assert sim.orders.executions == []

    run()


@pytest.mark.parametrize(
    ("settings", "requested", "status"),
    [
        ({"price_range": 0.0}, {"kind": "LMT", "limit": 2950}, "Filled"),
        ({"price_range": 3.0}, {"kind": "LMT", "limit": 350}, None),
        (
            {"past_gtd": "cancel"},
            {"kind": "LMT", "limit": 100, "tif": "GTD", "good_till": "20260301 12:00:00 US/Eastern"},
            "Cancelled",
        ),
    ],
)
def test_what_is_not_established_can_be_set(settings, requested, status):
    @played(**settings)
    async def run(client, sim, control):
        order(client, 1, **{"quantity": 10, **requested})
        await words(client)
        await control.run("advance 2")
        assert [each.status for each in sim.orders.orders.values()] == ([status] if status else [])

    run()


@played()
async def test_the_limit_of_an_option_may_be_far_from_the_market(client, sim, control):
    chain = sim.market.find(ContractQuery(symbol="AAPL", sec_type="OPT", exchange="SMART"), sim.clock.now_s())
    option = min(chain, key=lambda each: (sim.mark(each) <= 0, sim.mark(each)))
    far = round(max(sim.mark(option), 0.05) * 12, 1)
    named = (option.con_id, "AAPL", "OPT", option.last_trade_date, option.strike, option.right, option.multiplier)
    order(client, 1, kind="LMT", limit=far, quantity=1, contract=(*named, "SMART", "", "USD", "", ""))
    assert "error 109" not in await words(client)
    assert len(sim.orders.every()) == 1


@pytest.mark.parametrize("code", [201, 104])
def test_the_code_for_a_change_of_a_cancelled_order_can_be_set(code):
    @played(modify_cancelled=code)
    async def run(client, sim, control):
        order(client, 1, **RESTING)
        client.send(4, 1, 1, "")
        await words(client)
        order(client, 1, kind="LMT", limit=101, quantity=10)
        assert (await client.error())[:2] == (1, code)

    run()


# ---- halts -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("halted", ["refuse", "hold"])
def test_what_is_halted_does_not_trade(halted):
    @played(start_ns=1_773_252_000 * 10**9, halted=halted)  # 2026-03-11 14:00 in New York: HALT is halted
    async def run(client, sim, control):
        order(client, 1, quantity=10, contract=HALT)
        victim = await Believer(client).listen()
        assert victim.errors == ([(1, 154)] if halted == "refuse" else [])
        await control.run("advance 5")
        assert (await victim.listen()).filled == 0

    run()


@played()
async def test_a_halt_by_command_ends_after_its_time(client, sim, control):
    order(client, 1, kind="LMT", limit=100, quantity=10)
    await words(client)
    await run_command(control, "halt AAPL 60")
    order(client, 2, quantity=10)
    assert (await client.error())[:2] == (2, 154)
    sim.orders.orders[1, 1].request.values["lmtPrice"] = 1000.0
    sim.clock.hasten()
    await control.run("advance 30")
    assert sim.orders.executions == []  # the victim reckons with a fill: its limit is above the ask
    await control.run("advance 40")
    assert [made.shares for made in sim.orders.executions] == [10]
    assert "AAPL" in (await control.run("halt NOSUCH"))["error"]


@played()
async def test_a_halt_is_told_by_a_tick(client, sim, control):
    client.send(1, 11, 5, *AAPL, 0, "", 0, 0, "")
    await control.run("advance 1")
    await run_command(control, "halt AAPL 60")
    await control.run("advance 1")
    halted = [fields for fields in await messages(client) if fields[0] == "45" and fields[3] == "49"]
    assert halted[-1][4] == "1"


# ---- words that are late, lost, doubled ------------------------------------------------------------------------------
@played()
async def test_words_come_late_and_in_their_order(client, sim, control):
    await run_command(control, "ack_delay 10")
    order(client, 1, quantity=10)
    victim = await Believer(client).listen()
    await control.run("advance 9")
    await victim.listen()
    assert victim.status == {}  # it takes the order for lost
    assert sim.orders.orders[1, 1].status == "Filled"
    await control.run("advance 2")
    assert await words(client) == [
        *("openOrder PreSubmitted", "orderStatus PreSubmitted", "execDetails"),
        *("openOrder Filled", "orderStatus Filled", "openOrder Filled", "commissionReport"),
    ]


@played()
async def test_an_order_whose_acknowledgement_is_lost_lives(client, sim, control):
    await run_command(control, "ack_lose 2")
    order(client, 1, ref="a", **RESTING)
    order(client, 2, ref="b", quantity=10)
    victim = await Believer(client).listen()
    assert (victim.status, victim.filled) == ({}, 0)
    found, filled = await reported_orders(client)
    assert [reference for reference, _ in found] == ["a", "b"]
    assert filled == {"b": 10}
    client.send(4, 1, 1, "")
    assert await statuses(client, 1) == [(1, "Cancelled", 0)]


@played()
async def test_a_status_comes_twice_or_never(client, sim, control):
    await run_command(control, "status_duplicate 2")
    order(client, 1, quantity=10)
    answers = await words(client)
    assert answers.count("orderStatus PreSubmitted") == answers.count("orderStatus Filled") == 2
    counted = sum(each == "orderStatus Filled" for each in answers)  # the victim counts words, not executions
    assert counted * 10 != sum(made.shares for made in sim.orders.executions)
    await run_command(control, "status_skip 2")
    order(client, 2, quantity=10)
    victim = await Believer(client).listen()
    assert (victim.status, victim.filled) == ({}, 10)  # it waits for Filled and would wait for ever


@played()
async def test_a_status_comes_a_second_time_when_it_is_not_true_any_more(client, sim, control):
    await run_command(control, "status_duplicate 1 30")
    order(client, 1, quantity=10)
    victim = await Believer(client).listen()
    assert (victim.status[1], victim.filled) == ("Filled", 10)
    await control.run("advance 29")
    assert await words(client) == []
    await control.run("advance 1")
    await victim.listen()
    assert victim.status[1] == "PreSubmitted"  # it takes the last word for the truth


@played()
async def test_words_of_one_event_are_shuffled_and_the_same_each_time(client, sim, control):
    answers = []
    for order_id in (1, 2):
        await run_command(control, "shuffle 2")
        order(client, order_id, quantity=10)
        answers.append(await words(client))
    plain = ["openOrder PreSubmitted", "orderStatus PreSubmitted"]
    assert sorted(answers[0]) == sorted(answers[1])
    assert answers[0][:2] == plain[::-1]
    assert answers[0][2:] != [
        *("execDetails", "openOrder Filled", "orderStatus Filled", "openOrder Filled", "commissionReport")
    ]
    # The victim takes the words in their order for the course of events.
    assert answers[0] != answers[1]
    async with gateway() as (again, its_control):
        other = await RawClient.start(again.port)
        await its_control.run("shuffle 2")
        order(other, 1, quantity=10)
        assert await words(other) == answers[0]


@pytest.mark.parametrize(
    "line",
    [
        "ack_delay 5",
        "ack_lose",
        "status_duplicate",
        "status_skip",
        "shuffle",
        "eat_order",
        "precaution",
        "preset tif GTC",
    ],
)
def test_an_order_that_meets_a_fault_is_in_the_record(line):
    @played()
    async def run(client, sim, control):
        await run_command(control, line)
        order(client, 4, **RESTING)
        await words(client)
        (entry,) = (await run_command(control, "received fault"))["received"]
        assert (entry["client_id"], entry["fields"]) == (1, {"fault": line.split()[0], "orderId": 4})

    run()


# ---- fills by command ------------------------------------------------------------------------------------------------
@played()
async def test_an_order_fills_by_its_plan_and_not_otherwise(client, sim, control):
    await run_command(control, "fill_plan next 30@1,50@5")
    order(client, 1, quantity=100)
    victim = await Believer(client).listen()
    assert victim.filled == 0  # it takes a market order for filled once it is acknowledged
    seen = []
    for _ in range(8):
        await control.run("advance 1")
        seen.append((await victim.listen()).filled)
    assert seen == [30, 30, 30, 30, 80, 80, 80, 80]
    assert victim.status == {1: "Submitted"}
    assert "30@1,70@5" in (await control.run("fill_plan next 30"))["error"]


@played()
async def test_an_order_fills_by_command_whatever_the_market_is(client, sim, control):
    order(client, 1, ref="a", **RESTING)
    await words(client)
    await run_command(control, "lost")
    victim = await Believer(client).listen()
    assert await run_command(control, "fill_now a 4 99.5") == {
        "perm_id": 1_600_000_001,
        "filled": 4,
        "status": "Submitted",
    }
    await victim.listen()
    assert victim.filled == 4  # fills that come after 1100; the victim has stopped to listen
    assert (await run_command(control, "fill_now a"))["status"] == "Filled"
    assert [made.price for made in sim.orders.executions] == [99.5, 100]
    assert "allowed: an open order" in (await control.run("fill_now a"))["error"]
    assert "allowed: last, a" in (await control.run("fill_now b"))["error"]


@played()
async def test_a_fill_comes_after_cancelled(client, sim, control):
    order(client, 1, ref="a", **RESTING)
    await words(client)
    await run_command(control, "fill_after_cancel a late 5")
    client.send(4, 1, 1, "")
    assert await words(client) == ["orderStatus Cancelled", "error 202"]
    victim = sum(each.filled for each in sim.orders.orders.values())  # it books the order as over, with nothing filled
    await control.run("advance 10")
    assert await words(client) == ["execDetails", "commissionReport"]
    assert victim == 0
    assert (await reported_orders(client))[1] == {"a": 10}
    assert sim.portfolio.open_positions()[0].quantity == 10


@played()
async def test_a_fill_overtakes_the_cancel(client, sim, control):
    order(client, 1, ref="a", **RESTING)
    await words(client)
    await run_command(control, "fill_after_cancel next overtakes")
    client.send(4, 1, 1, "")
    victim = await Believer(client).listen()
    assert victim.status == {1: "Filled"}  # a client that takes its own cancel for done is wrong
    assert victim.errors == [(1, 10148)]
    assert victim.filled == 10


# ---- held ------------------------------------------------------------------------------------------------------------
@played()
async def test_a_short_sale_waits_for_its_shares_and_lives(client, sim, control):
    await run_command(control, "locate 30")
    order(client, 1, "SELL", kind="LMT", limit=1, quantity=10)
    assert await words(client) == ["error 404", "openOrder Inactive", "orderStatus Inactive"]
    client.send(16, 1)
    status = await client.message(3)
    assert (status[2], status[10]) == ("Inactive", "locate")  # a victim that takes Inactive for refused is wrong
    await control.run("advance 29")
    assert sim.orders.executions == []
    await control.run("advance 2")
    assert sim.orders.orders[1, 1].status == "Filled"


@played()
async def test_a_located_order_can_be_cancelled(client, sim, control):
    await run_command(control, "locate 30")
    order(client, 1, "SELL", quantity=10)
    client.send(4, 1, 1, "")
    assert (await words(client))[-2:] == ["orderStatus Cancelled", "error 202"]
    await control.run("advance 60")
    assert sim.orders.executions == []


@played()
async def test_a_warning_in_tws_holds_an_order_without_a_word_until_it_is_clicked(client, sim, control):
    await run_command(control, "precaution")
    order(client, 1, ref="a", quantity=10)
    assert await words(client) == []
    assert await reported_orders(client) == ({}, {})  # neither words nor questions find it: the victim sends another
    await control.run("advance 600")
    assert len((await run_command(control, "click"))["clicked"]) == 1
    assert "execDetails" in await words(client)


@played()
async def test_a_preset_changes_the_order_and_says_so(client, sim, control):
    await run_command(control, "preset tif DAY")
    order(client, 1, tif="GTC", **RESTING)
    assert await words(client) == ["error 10349", "openOrder Submitted", "orderStatus Submitted"]
    client.send(16, 1)
    assert (await client.message(5))[18] == "DAY"  # the victim goes on with GTC, or takes the error for an end
    await words(client)
    await run_command(control, "preset tif off")
    order(client, 2, tif="GTC", **RESTING)
    assert await words(client) == ["openOrder Submitted", "orderStatus Submitted"]


@played()
async def test_margin_can_rise(client, sim, control):
    order(client, 1, kind="LMT", limit=100, quantity=1000)
    assert (await words(client))[0] == "openOrder Submitted"
    await run_command(control, "margin 20")
    order(client, 2, kind="LMT", limit=100, quantity=1000)
    assert (await words(client))[0] == "error 201"


# ---- other people's orders -------------------------------------------------------------------------------------------
@played()
async def test_a_manual_order_has_no_id_and_no_reference(client, sim, control):
    perm_id = (await run_command(control, "manual_order BUY 30 AAPL 100"))["perm_id"]
    other = (await run_command(control, "manual_order SELL 5 AAPL 2000"))["perm_id"]
    assert await words(client) == []
    client.send(16, 1)
    by_id, by_perm_id = {}, {}
    while (fields := await client.read())[0] != "53":
        if fields[0] == "3":
            by_id[fields[1]] = by_perm_id[fields[6]] = fields[2]
    assert by_perm_id == {str(perm_id): "Submitted", str(other): "Submitted"}
    assert by_id == {"0": "Submitted"}  # a victim that knows orders by their id sees one
    await run_command(control, f"manual_fill {perm_id} 10")
    await run_command(control, f"manual_cancel {perm_id}")
    client.send(4, 1, 0, "")
    assert (await client.error())[1] == 10147
    found, filled = await reported_orders(client)
    assert (found["", perm_id], filled) == ("Cancelled", {"": 10})
    assert sim.portfolio.open_positions()[0].quantity == 10
    assert "allowed: a stock" in (await control.run("manual_order BUY 1 NOSUCH"))["error"]


@played()
async def test_client_0_binds_manual_orders_and_hears_of_them(client, sim, control):
    zero = await RawClient.start(sim.port, 0)
    await run_command(control, "manual_order BUY 30 AAPL 100")
    assert await words(zero) == []
    zero.send(15, 1, 1)
    await words(zero)
    perm_id = (await run_command(control, "manual_order BUY 30 AAPL 100"))["perm_id"]
    status = [fields for fields in await messages(zero) if fields[0] == "3"]
    assert [(fields[1], fields[6]) for fields in status] == [("-1", str(perm_id))]
    zero.send(5, 1)
    ids = [int((await zero.message(5))[1]) for _ in range(2)]
    assert ids == [-1, -2]
    zero.send(4, 1, -1, "")
    await words(zero)
    assert [order.status for order in sim.orders.every() if order.perm_id == perm_id] == ["Cancelled"]
    client.send(15, 1, 1)
    assert "327" in await client.message(4)


@pytest.mark.parametrize("client_zero", ["manual", "all"])
def test_the_master_client_hears_of_everybody_and_client_0_by_choice(client_zero):
    @played(client_zero=client_zero)
    async def run(client, sim, control):
        zero, other = await RawClient.start(sim.port, 0), await RawClient.start(sim.port, 9)
        await run_command(control, "master 9")
        order(client, 1, quantity=10)
        answers = await words(client)
        assert await words(other) == answers
        assert await words(zero) == (answers if client_zero == "all" else [])
        order(client, 2, kind="LMT", limit=100.001)
        assert await words(other) == []  # errors are for the one who asked
        await run_command(control, "master off")
        order(client, 3, **RESTING)
        await words(client)
        assert await words(other) == []  # a victim that waits for words about another client's order waits for ever
        order(other, 1, **RESTING)
        assert len(await words(other)) == 2

    run()


@played()
async def test_one_order_becomes_two_live_ones(client, sim, control):
    order(client, 1, ref="a", **RESTING)
    await words(client)
    first, second = (await run_command(control, "twin a"))["perm_ids"]
    victim = await Believer(client).listen()
    assert victim.status == {1: "Submitted"}  # by id there is one order
    found, _ = await reported_orders(client)
    assert found == {("a", first): "Submitted", ("a", second): "Submitted"}
    client.send(4, 1, 1, "")
    await victim.listen()
    assert victim.status == {1: "Cancelled"}  # it is done; the other one fills
    await run_command(control, f"fill_now {second}")
    assert (await victim.listen()).filled == 10
    assert sim.portfolio.open_positions()[0].quantity == 10


@played()
async def test_the_global_cancel_reaches_twins_and_manual_orders(client, sim, control):
    order(client, 1, ref="a", **RESTING)
    await words(client)
    await run_command(control, "twin a")
    await run_command(control, "manual_order BUY 30 AAPL 100")
    client.send(58, 1)
    await words(client)
    assert {each.status for each in sim.orders.every()} == {"Cancelled"}
    assert len(sim.orders.every()) == 3


# ---- what is asked ---------------------------------------------------------------------------------------------------
@played()
async def test_untransmitted_orders_are_seen_by_nobody(client, sim, control):
    order(client, 1, transmit=0, **RESTING)
    await words(client)
    for question in (5, 16):
        client.send(question, 1)
        assert (await client.read())[0] == "53"


@played()
async def test_completed_orders_end_at_midnight_of_the_login_zone(client, sim, control):
    order(client, 1, quantity=10)
    await words(client)
    assert len((await reported_orders(client))[0]) == 1
    await run_command(control, "set_clock 2026-03-03T04:59:00Z")
    assert len((await reported_orders(client))[0]) == 1
    await run_command(control, "set_clock 2026-03-03T05:01:00Z")
    assert await reported_orders(client) == ({}, {})  # a victim that was away over midnight never learns of the fill


@pytest.mark.parametrize(("children", "filled"), [("full", 0), ("partial", 40)])
def test_bracket_children_wake_at_a_full_or_a_partial_fill(children, filled):
    @played(children=children)
    async def run(client, sim, control):
        await run_command(control, "fill_plan entry 40@1")
        order(client, 1, kind="LMT", limit=1000, quantity=100, ref="entry", transmit=0)
        order(client, 2, "SELL", kind="LMT", limit=1, quantity=100, ref="exit", parent=1)
        await words(client)
        await control.run("advance 5")
        assert [each.filled for each in sim.orders.orders.values()] == [40, filled]

    run()


@pytest.mark.parametrize(("left", "open_orders"), [("end", []), ("stay", [("SELL", 100.0, 0)])])
def test_children_of_a_parent_that_ends_in_part_end_with_it_or_stay(left, open_orders):
    @played(left_children=left)
    async def run(client, sim, control):
        await run_command(control, "fill_plan entry 40@1")
        order(client, 1, kind="LMT", limit=1000, quantity=100, ref="entry", transmit=0)
        order(client, 2, "SELL", kind="LMT", limit=1000, quantity=100, ref="exit", parent=1)
        await words(client)
        await control.run("advance 5")
        await run_command(control, "manual_cancel entry")
        found = [("BUY" if one.buys else "SELL", one.remaining, one.parent_id) for one in sim.orders.open_orders()]
        assert found == open_orders

    run()


@pytest.mark.parametrize(("reaches", "left"), [("first", 1), ("next", 0)])
def test_a_second_cancel_reaches_the_other_of_two_orders_or_none(reaches, left):
    @played(twin_cancel=reaches)
    async def run(client, sim, control):
        order(client, 1, kind="LMT", limit=1, quantity=10, ref="a")
        await words(client)
        await run_command(control, "twin a")
        for _ in range(2):
            client.send(4, 1, 1, "")
            await words(client)
        assert len(sim.orders.open_orders()) == left

    run()
