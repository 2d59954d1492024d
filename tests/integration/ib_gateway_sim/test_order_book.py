"""The book of orders stays whole: what commands, outages and groups do to an order is done in full, or not at all."""

from datetime import datetime

import pytest

from tests.support.sim_client import MONDAY_NOON_NS, RawClient
from tests.support.sim_orders import messages, order, played, reported_orders, words

RESTING = {"kind": "LMT", "limit": 100, "quantity": 10}
NOON_S = MONDAY_NOON_NS / 1e9


async def run_command(control, line):
    answer = await control.run(line)
    assert answer.pop("ok"), answer
    return answer


def whole(sim):
    """The order's own count of its fills is that of its executions, and no open order has nothing left."""
    for each in sim.orders.every():
        latest = {made.key: made.shares for made in sim.orders.executions if made.order is each and not made.account}
        assert each.filled == sum(latest.values())
        assert each.remaining > 0 or not each.open
    ids = [made.exec_id for made in sim.orders.executions]
    assert len(ids) == len(set(ids))
    return True


# ---- fills of orders that are held -----------------------------------------------------------------------------------
@pytest.mark.parametrize(("quantity", "status"), [("", "Filled"), ("4", "Submitted")])
def test_an_order_that_waits_for_shares_may_fill_although_it_is_inactive(quantity, status):
    """Told of a real gateway: erdewit/ib_insync#363."""

    @played()
    async def run(client, sim, control):
        await run_command(control, "locate 30")
        order(client, 1, "SELL", kind="LMT", limit=1000, quantity=10, ref="a")
        await words(client)
        assert (await run_command(control, f"fill_now a {quantity}"))["status"] == status
        assert f"orderStatus {status}" in await words(client)
        assert sim.orders.orders[1, 1].why_held == ""
        assert whole(sim)

    run()


@played()
async def test_a_plan_waits_until_the_shares_are_found(client, sim, control):
    await run_command(control, "locate 30")
    await run_command(control, "fill_plan next 4@1,6@60")
    order(client, 1, "SELL", quantity=10)
    await words(client)
    await run_command(control, "advance 29")
    assert sim.orders.executions == []
    await run_command(control, "advance 2")
    assert [made.shares for made in sim.orders.executions] == [4]
    await run_command(control, "advance 60")
    assert sim.orders.orders[1, 1].status == "Filled"
    assert whole(sim)


@played()
async def test_shares_are_found_at_their_time_though_the_plan_fills_later(client, sim, control):
    await run_command(control, "locate 30")
    await run_command(control, "fill_plan next 10@600")
    order(client, 1, "SELL", quantity=10)
    await words(client)
    await run_command(control, "advance 31")
    assert sim.orders.orders[1, 1].status == "Submitted"


@played()
async def test_a_plan_says_nothing_while_the_line_is_gone(client, sim, control):
    await run_command(control, "lost work")
    await run_command(control, "fill_plan next 10@0")
    order(client, 1, quantity=10)
    assert "execDetails" not in await words(client)
    await run_command(control, "advance 10")
    await run_command(control, "restored")
    assert "execDetails" in await words(client)
    assert whole(sim)


@pytest.mark.parametrize("how", ["late", "overtakes"])
def test_the_cancel_of_an_order_that_ib_does_not_have_meets_no_fill(how):
    @played()
    async def run(client, sim, control):
        await run_command(control, f"fill_after_cancel next {how}")
        order(client, 1, transmit=0, **RESTING)
        client.send(4, 1, 1, "")
        assert await words(client) == ["orderStatus Cancelled", "error 202"]
        await run_command(control, "advance 5")
        assert sim.orders.executions == []
        order(client, 2, **RESTING)
        client.send(4, 1, 2, "")
        await words(client)
        await run_command(control, "advance 5")
        assert len(sim.orders.executions) == 1, "it waits for the next one that IB has"
        assert whole(sim)

    run()


@played()
async def test_a_twin_is_made_of_an_order_that_ib_has(client, sim, control):
    order(client, 1, transmit=0, ref="a", **RESTING)
    await words(client)
    assert "allowed: an order that IB has" in (await control.run("twin a"))["error"]
    assert len(sim.orders.every()) == 1


@played()
async def test_a_manual_order_that_is_over_does_not_fill(client, sim, control):
    order(client, 1, **RESTING)
    await words(client)
    first = (await run_command(control, "manual_order BUY 30 AAPL 100"))["perm_id"]
    second = (await run_command(control, "manual_order BUY 30 AAPL 100"))["perm_id"]
    await run_command(control, f"manual_cancel {second}")
    assert (await run_command(control, "manual_fill last 5"))["perm_id"] == first
    await run_command(control, f"manual_cancel {first}")
    for name in (first, second, "last"):
        assert "allowed: an open order" in (await control.run(f"manual_fill {name}"))["error"]
    (own,) = [each.perm_id for each in sim.orders.orders.values()]
    assert "is of a client" in (await control.run(f"manual_fill {own}"))["error"]
    assert sum(made.shares for made in sim.orders.executions) == 5
    assert whole(sim)


@pytest.mark.parametrize(
    ("faults", "requested", "ends"),
    [
        (["locate 99999"], {"action": "SELL"}, "2026-03-02T21:00:00Z"),
        (["fill_plan next 10@99999"], {}, "2026-03-02T21:00:00Z"),
        ([], {**RESTING, "tif": "GTD", "good_till": "20260303 02:00:00 UTC"}, "2026-03-03T02:00:00Z"),
    ],
)
def test_an_order_ends_at_its_time_though_it_waits_for_longer(faults, requested, ends):
    @played()
    async def run(client, sim, control):
        for line in faults:
            await run_command(control, line)
        order(client, 1, **{"quantity": 10, **requested})
        await words(client)
        end_s = datetime.fromisoformat(ends).timestamp()
        await run_command(control, f"advance {end_s - NOON_S + 2}")
        assert "orderStatus Cancelled" in await words(client)
        assert sim.orders.orders[1, 1].done_s == pytest.approx(end_s, abs=1.1)

    run()


# ---- executions ------------------------------------------------------------------------------------------------------
@played()
async def test_execution_ids_are_given_once_though_executions_vanish(client, sim, control):
    order(client, 1, quantity=10)
    order(client, 2, quantity=10)
    first = await messages(client)
    await run_command(control, "bust_execution last silent")
    order(client, 3, quantity=10)
    ids = [fields[14] for fields in first + await messages(client) if fields[0] == "11"]
    assert len(set(ids)) == len(ids) == 3


@played()
async def test_a_corrected_execution_vanishes_with_all_its_revisions(client, sim, control):
    order(client, 1, quantity=10)
    await words(client)
    await run_command(control, "correct last 250.5 8")
    await run_command(control, "bust_execution last silent")
    assert (await reported_orders(client))[1] == {}
    assert sim.orders.orders[1, 1].filled == 0
    assert "none was made" in (await control.run("bust_execution last"))["error"]
    assert sim.portfolio.open_positions() == []


@played()
async def test_an_execution_is_corrected_to_no_more_than_its_order_asks_for(client, sim, control):
    await run_command(control, "fill_plan next 4@1,3@5")
    order(client, 1, quantity=10)
    await run_command(control, "advance 10")
    await words(client)
    assert "allowed: a number from 0 to 6" in (await control.run("correct last 250 7"))["error"]
    await run_command(control, "correct last 250 6")
    assert (await words(client))[-1] == "orderStatus Filled"
    assert sim.orders.orders[1, 1].status == "Filled"
    assert whole(sim)


@pytest.mark.parametrize(("line", "comes"), [("commission_delay never", False), ("commission_delay 30", True)])
def test_commissions_of_corrections_and_of_an_advisors_shares_are_as_late_as_others(line, comes):
    @played(accounts=3, fa=True)
    async def run(client, sim, control):
        await run_command(control, line)
        order(client, 1, quantity=10)
        answers = await words(client)
        await run_command(control, "correct last 250 4")
        answers += await words(client)
        assert (answers.count("execDetails"), answers.count("commissionReport")) == (4, 0)
        await run_command(control, "advance 31")
        assert ("commissionReport" in await words(client)) == comes

    run()


# ---- outages ---------------------------------------------------------------------------------------------------------
@played()
async def test_an_order_of_an_outage_fills_after_it_was_placed(client, sim, control):
    await run_command(control, "lost work")
    await run_command(control, "advance 30")
    order(client, 1, kind="LMT", limit=1000, quantity=10)
    await words(client)
    await run_command(control, "advance 30")
    await run_command(control, "restored")
    assert [made.at_s - NOON_S >= 30 for made in sim.orders.executions] == [True]


@played()
async def test_a_change_during_an_outage_does_not_fill_the_time_before(client, sim, control):
    order(client, 1, **RESTING)
    await words(client)
    await run_command(control, "lost work")
    await run_command(control, "advance 30")
    order(client, 1, kind="LMT", limit=1000, quantity=10)
    await words(client)
    await run_command(control, "advance 30")
    await run_command(control, "restored")
    assert [made.at_s - NOON_S >= 30 for made in sim.orders.executions] == [True]


@played()
async def test_a_child_of_an_outage_fills_after_it_was_placed(client, sim, control):
    order(client, 1, **RESTING)
    await words(client)
    await run_command(control, "lost work")
    sim.orders.orders[1, 1].request.values["lmtPrice"] = 1000.0  # the market comes to it during the outage
    await run_command(control, "advance 30")
    order(client, 2, "SELL", kind="LMT", limit=1, quantity=10, parent=1)
    await words(client)
    await run_command(control, "advance 30")
    await run_command(control, "restored")
    parent, child = (made.at_s - NOON_S for made in sim.orders.executions)
    assert parent < 30 <= child


@played()
async def test_a_clock_that_goes_back_stops_no_order(client, sim, control):
    order(client, 1, **RESTING)
    await words(client)
    await run_command(control, "set_clock 2026-03-02T16:00:00Z")
    order(client, 1, kind="LMT", limit=1000, quantity=10)
    await run_command(control, "advance 5")
    assert "execDetails" in await words(client)


# ---- messages in their order -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("latency", ["none", "measured", "500"])
def test_messages_about_orders_are_worked_in_their_order(latency):
    @played()
    async def run(client, sim, control):
        await run_command(control, f"latency {latency}")
        order(client, 1, **RESTING)
        client.send(58, 1)
        order(client, 2, **RESTING)
        await words(client)
        await run_command(control, "advance 2")
        assert [each.status for each in sim.orders.orders.values()] == ["Cancelled", "Submitted"]
        assert not sim.arrivals

    run()


@played()
async def test_a_message_that_is_read_while_answers_are_fast_again_does_not_overtake(client, sim, control):
    other = await RawClient.start(sim.port, 2)
    await run_command(control, "latency 1000")
    order(client, 1, **RESTING)
    await words(client)
    await run_command(control, "latency none")
    client.send(4, 1, 1, "")
    order(other, 1, **RESTING)
    await words(other)
    await run_command(control, "advance 2")
    answers = await words(client)
    assert answers == ["openOrder Submitted", "orderStatus Submitted", "orderStatus Cancelled", "error 202"]
    assert [each.client_id for each in sim.orders.every()] == [1, 2]


# ---- groups ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("filled", "left"), [(4, 6), (10, None), (15, None)])
def test_an_order_of_a_group_that_has_nothing_left_is_cancelled(filled, left):
    @played()
    async def run(client, sim, control):
        for number, quantity in ((1, 100), (2, 10)):
            requested = {**RESTING, "quantity": quantity}
            order(client, number, oca="group", oca_type=2, ref=str(number), **requested)
        await words(client)
        await run_command(control, f"fill_now 1 {filled}")
        other = sim.orders.orders[1, 2]
        assert (other.status, other.remaining) == (("Submitted", left) if left else ("Cancelled", 10))
        assert whole(sim)

    run()


@played()
async def test_an_order_of_a_group_that_has_filled_in_part_keeps_what_it_has(client, sim, control):
    for number in (1, 2):
        order(client, number, oca="group", oca_type=2, ref=str(number), **RESTING)
    await words(client)
    await run_command(control, "fill_now 2 3")  # the first has 7 left
    await run_command(control, "fill_now 1 7")
    assert sim.orders.orders[1, 1].status == "Filled"
    assert sim.orders.orders[1, 2].status == "Cancelled"
    assert whole(sim)


# ---- words in their order --------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("line", "early"), [("ack_delay 0", True), ("clear", True), ("ack_delay 3", False)])
def test_words_do_not_overtake_when_the_delay_ends_or_is_shorter(line, early):
    @played()
    async def run(client, sim, control):
        await run_command(control, "ack_delay 60")
        order(client, 1, **RESTING)
        assert await words(client) == []
        await run_command(control, line)
        client.send(4, 1, 1, "")
        answers = await words(client)
        assert bool(answers) == early
        await run_command(control, "advance 61")
        answers += await words(client)
        assert answers == ["openOrder Submitted", "orderStatus Submitted", "orderStatus Cancelled", "error 202"]

    run()


# ---- beginnings and turns --------------------------------------------------------------------------------------------
def test_a_halt_has_a_beginning():
    """One that is set during an outage does not keep an order from having filled before."""

    @played()
    async def run(client, sim, control):
        order(client, 1, kind="LMT", limit=100, quantity=10)
        await words(client)
        await run_command(control, "lost")
        sim.orders.orders[1, 1].request.values["lmtPrice"] = 1000.0
        await run_command(control, "advance 60")
        await run_command(control, "halt AAPL")
        await run_command(control, "advance 60")
        await run_command(control, "restored")
        assert [made.at_s - NOON_S < 60 for made in sim.orders.executions][:1] == [True]

    run()


@pytest.mark.parametrize("line", ["reject_next placeOrder 201 no", "reject_order 201 no"])
def test_a_refusal_by_choice_does_not_overtake_what_was_sent_before(line):
    @played()
    async def run(client, sim, control):
        await run_command(control, "latency 500")
        client.send(4, 1, 7, "")
        await run_command(control, line)
        order(client, 1, kind="LMT", limit=100, quantity=10)
        await words(client)
        await run_command(control, "advance 2")
        assert await words(client) == ["error 10147", "error 201"]
        order(client, 1, kind="LMT", limit=100, quantity=10)
        await run_command(control, "advance 2")
        assert await words(client) == ["error 103"]

    run()


def test_a_file_that_is_loaded_changes_the_positions_of_who_subscribed(tmp_path):
    """The victim keeps what it was sent at first."""

    @played()
    async def run(client, sim, control):
        await run_command(control, f"orders_save {tmp_path / 'before'}")
        order(client, 1, quantity=10)
        await words(client)
        await run_command(control, f"orders_save {tmp_path / 'after'}")
        client.send(61, 1)
        (first,) = [float(fields[14]) for fields in await messages(client) if fields[0] == "61"]
        for name, quantity in (("before", 0), ("after", 10), ("after", None)):
            await run_command(control, f"orders_load {tmp_path / name}")
            changes = [float(fields[14]) for fields in await messages(client) if fields[0] == "61"]
            assert changes == ([] if quantity is None else [quantity])
        assert first == 10

    run()
