"""Orders over a socket: every type's life, refusals, brackets, groups, and what the account says of them."""

import asyncio
import pickle

import pytest

from tests.support.sim_client import AAPL, EURUSD, MONDAY_NOON_NS, RawClient, gateway
from tests.support.sim_orders import order, played, statuses

SPX = ("0", "SPX", "IND", "", "0.0", "", "", "CBOE", "", "USD", "", "")
EVENING_NS = MONDAY_NOON_NS + 6 * 3600 * 10**9


@played()
async def test_a_market_order_fills_at_the_ask_and_reports_execution_and_commission(client, sim, control):
    order(client, 1, quantity=10)
    assert (await client.read())[:2] == ["5", "1"]
    assert (await client.read())[:4] == ["3", "1", "PreSubmitted", "0"]
    execution = await client.read()
    assert execution[:5] == ["11", "-1", "1", execution[3], "AAPL"]
    assert len(execution) == 32
    quote = sim.quote(sim.portfolio.open_positions()[0].contract, sim.clock.now_s())
    assert execution[17:20] == ["NASDAQ", "BOT", "10"]
    assert float(execution[20]) == quote.ask
    assert execution[15] == "20260302 12:00:00 US/Eastern"
    assert (await client.read())[0] == "5"
    assert (await client.read())[:5] == ["3", "1", "Filled", "10", "0"]
    assert (await client.read())[0] == "5"
    assert (await client.read())[2:5] == [execution[14], "1", "USD"]
    client.send(61, 1)
    position = await client.message(61)
    assert position[14] == "10"
    assert (await client.read())[0] == "62"


@played()
async def test_a_large_order_fills_in_parts_as_the_quotes_allow(client, sim, control):
    order(client, 1, quantity=2500)
    seen = await statuses(client, 1)
    assert seen == [(1, "PreSubmitted", 0)]
    await control.run("advance 30")
    while seen[-1][1] != "Filled":
        seen += await statuses(client, 1)
    parts = [filled for _, _, filled in seen]
    assert parts == sorted(parts)
    assert parts[-1] == 2500
    assert len(parts) > 2


@played()
async def test_a_limit_order_rests_is_modified_and_fills_when_it_reaches_the_quote(client, sim, control):
    order(client, 1, kind="LMT", limit=100, quantity=5)
    assert await statuses(client, 1) == [(1, "Submitted", 0)]
    await control.run("advance 5")
    client.send(5, 1)
    opened = await client.message(5)
    assert opened[13:18] == ["BUY", "5", "LMT", "100", "0"]
    assert (await client.message(53))[0] == "53"
    order(client, 1, kind="LMT", limit=1000, quantity=5)
    assert (await statuses(client, 2))[-1] == (1, "Filled", 5)
    order(client, 1, kind="LMT", limit=1000, quantity=5)
    assert (await client.error())[:2] == (1, 104)


@played()
async def test_a_cancelled_order_is_202_and_cannot_be_cancelled_again(client, sim, control):
    order(client, 1, kind="LMT", limit=100)
    await statuses(client, 1)
    client.send(4, 1, 1, "")
    assert await statuses(client, 1) == [(1, "Cancelled", 0)]
    assert (await client.error())[:2] == (1, 202)
    client.send(4, 1, 1, "")
    assert (await client.error())[:2] == (1, 10148)
    client.send(4, 1, 77, "")
    assert (await client.error())[:2] == (77, 10147)
    client.send(99, 0)
    completed = await client.message(101)
    assert completed[12:15] == ["BUY", "100", "LMT"]
    assert (await client.message(102)) == ["102"]


@pytest.mark.parametrize(
    ("requested", "code"),
    [
        ({"kind": "PEG MID"}, 387),
        ({"kind": "LMT", "limit": 100.001}, 110),
        ({"quantity": 0}, 434),
        ({"action": "HOLD"}, 321),
        ({"tif": "NOW"}, 321),
        ({"account": "DU1"}, 321),
        ({"contract": SPX}, 203),
        ({"contract": (*AAPL[:1], "NOSUCH", *AAPL[2:])}, 200),
        ({"quantity": 1_000_000}, 201),
    ],
)
def test_refused_orders(requested, code):
    @played()
    async def run(client, sim, control):
        order(client, 4, **requested)
        assert (await client.error())[:2] == (4, code)
        await client.settle()
        client.send(16, 1)
        assert (await client.read())[0] == "53"

    run()


@played()
async def test_order_ids_rise_and_every_client_has_its_own(client, sim, control):
    order(client, 5, kind="LMT", limit=100)
    await statuses(client, 1)
    order(client, 3, kind="LMT", limit=100)
    assert (await client.error())[:2] == (3, 103)
    client.send(8, 1, 1)
    assert await client.message(9) == ["9", "1", "6"]
    other = await RawClient.start(sim.port, 2)
    order(other, 1, kind="LMT", limit=100)
    assert await statuses(other, 1) == [(1, "Submitted", 0)]
    other.send(5, 1)
    assert (await other.message(5))[1] == "1"
    assert (await other.message(53))[0] == "53"
    other.send(16, 1)
    assert (await other.message(5))[1] == "5"


@played()
async def test_a_bracket_waits_for_its_last_leg_and_one_exit_cancels_the_other(client, sim, control):
    order(client, 1, kind="LMT", limit=1000, quantity=10, transmit=0)
    order(client, 2, action="SELL", kind="LMT", limit=2000, quantity=10, parent=1, transmit=0)
    await client.settle()
    assert sim.orders.orders[1, 1].status == "PendingSubmit"
    order(client, 3, action="SELL", kind="STP", aux=1, quantity=10, parent=1)
    await client.settle()
    assert [each.status for each in sim.orders.orders.values()] == ["Filled", "Submitted", "PreSubmitted"]
    order(client, 2, action="SELL", kind="LMT", limit=1, quantity=10, parent=1)
    await client.settle()
    assert [each.status for each in sim.orders.orders.values()] == ["Filled", "Filled", "Cancelled"]
    assert sim.portfolio.open_positions() == []


@played()
async def test_an_exit_filled_in_part_shrinks_the_other(client, sim, control):
    order(client, 1, kind="LMT", limit=1000, quantity=2000, transmit=0)
    order(client, 2, action="SELL", kind="LMT", limit=2000, quantity=2000, parent=1, transmit=0)
    order(client, 3, action="SELL", kind="STP", aux=1, quantity=2000, parent=1)
    await client.settle()
    await control.run("advance 30")
    parent, take, stop = sim.orders.orders.values()
    assert parent.status == "Filled"
    order(client, 2, action="SELL", kind="LMT", limit=1, quantity=2000, parent=1)
    await client.settle()
    assert 0 < take.filled < 2000
    assert (stop.status, stop.quantity) == ("PreSubmitted", 2000 - take.filled)
    await control.run("advance 30")
    assert (take.status, stop.status) == ("Filled", "Cancelled")
    assert sim.portfolio.open_positions() == []


@played(start_ns=EVENING_NS)
async def test_an_order_that_waits_for_its_opening_does_not_keep_others_waiting(client, sim, control):
    order(client, 1, quantity=10)
    order(client, 2, kind="LMT", limit=0.5, quantity=20000, contract=EURUSD, tif="GTC")
    await client.settle()
    order(client, 2, kind="LMT", limit=2, quantity=25_000_000, contract=EURUSD, tif="GTC")
    await client.settle()
    (_, currency) = sim.orders.orders.values()
    filled = currency.filled
    assert 0 < filled < 25_000_000
    await control.run("advance 3")
    assert currency.filled > filled


@played()
async def test_a_cancelled_parent_takes_its_children_along(client, sim, control):
    order(client, 1, kind="LMT", limit=100, quantity=10, transmit=0)
    order(client, 2, action="SELL", kind="LMT", limit=2000, quantity=10, parent=1)
    await client.settle()
    client.send(58, 1)
    await client.settle()
    assert {each.status for each in sim.orders.orders.values()} == {"Cancelled"}


@pytest.mark.parametrize("oca_type", [1, 3])
def test_an_oca_group_is_cancelled_or_shrunk(oca_type):
    @played()
    async def run(client, sim, control):
        order(client, 1, kind="LMT", limit=100, quantity=2000, oca="G", oca_type=oca_type)
        order(client, 2, kind="LMT", limit=1000, quantity=2000, oca="G", oca_type=oca_type)
        await client.settle()
        first, second = sim.orders.orders.values()
        assert 0 < second.filled < 2000
        assert first.status == ("Cancelled" if oca_type == 1 else "Submitted")
        assert first.quantity == (2000 if oca_type == 1 else 2000 - second.filled)

    run()


@played()
async def test_stops_are_touched_by_the_last_trade(client, sim, control):
    order(client, 1, action="SELL", kind="STP", aux=1, quantity=1)
    order(client, 2, action="SELL", kind="STP", aux=5000, quantity=1)
    order(client, 3, action="BUY", kind="STP LMT", aux=1, limit=2, quantity=1)
    await client.settle()
    assert [each.status for each in sim.orders.orders.values()] == ["PreSubmitted", "Filled", "Submitted"]


@played()
async def test_a_trailing_stop_follows_and_is_touched(client, sim, control):
    order(client, 1, quantity=10)
    order(client, 2, action="SELL", kind="TRAIL", aux=0.05, quantity=10)
    order(client, 3, action="SELL", kind="TRAIL", percent=50, quantity=10)
    await client.settle()
    trailing, far = sim.orders.orders[1, 2], sim.orders.orders[1, 3]
    assert trailing.status == "PreSubmitted"
    stops = [trailing.stop]
    for _ in range(2000):
        await control.run("advance 5")
        stops.append(trailing.stop)
        if not trailing.open:
            break
    assert trailing.status == "Filled"
    assert stops == sorted(stops)
    assert far.status == "PreSubmitted"


@played(start_ns=EVENING_NS)
async def test_an_order_in_a_closed_market_is_held_to_the_open_and_a_day_order_ends_with_the_session(
    client, sim, control
):
    order(client, 1, quantity=10)
    order(client, 2, kind="LMT", limit=100, quantity=10)
    order(client, 3, kind="LMT", limit=100, quantity=10, tif="GTC")
    order(client, 4, kind="LMT", limit=1000, quantity=10, rth=1)
    assert await statuses(client, 1) == [(1, "PreSubmitted", 0)]
    code, text = (await client.error())[1:]
    assert code == 399
    assert "2026-03-03 09:30:00 US/Eastern" in text
    await client.settle()
    states = lambda: [each.status for each in sim.orders.orders.values()]  # noqa: E731
    assert states() == ["PreSubmitted"] * 3 + ["Filled"]
    await control.run("advance 55805")  # five seconds after the open
    assert states() == ["Filled", "Submitted", "Submitted", "Filled"]
    await control.run("set_clock 2026-03-03T21:00:00Z")
    assert states() == ["Filled", "Cancelled", "Submitted", "Filled"]


@played()
async def test_an_order_is_good_till_its_date(client, sim, control):
    order(client, 1, kind="LMT", limit=100, tif="GTD", good_till="tomorrow")
    assert (await client.error())[:2] == (1, 10314)
    order(client, 2, kind="LMT", limit=100, tif="GTD", good_till="20260302 12:05:00 US/Eastern")
    assert await statuses(client, 1) == [(2, "Submitted", 0)]
    await control.run("advance 299")
    assert await client.quiet(0.02)
    await control.run("advance 2")
    assert await statuses(client, 1) == [(2, "Cancelled", 0)]


@pytest.mark.parametrize(("tif", "filled"), [("IOC", True), ("FOK", False)])
def test_immediate_orders_take_what_there_is_or_nothing(tif, filled):
    @played()
    async def run(client, sim, control):
        order(client, 1, quantity=2000, tif=tif)
        await client.settle()
        (made,) = sim.orders.orders.values()
        assert made.status == "Cancelled"
        assert (made.filled > 0) == filled

    run()


@played()
async def test_a_what_if_order_answers_with_margins_and_is_no_order(client, sim, control):
    order(client, 1, quantity=100, what_if=1)
    fields = await client.message(5)
    assert "PreSubmitted" in fields
    at = fields.index("PreSubmitted")
    before, change, after = (float(fields[at + 1]), float(fields[at + 4]), float(fields[at + 7]))
    assert (before, after) == (0, change)
    assert change > 0
    client.send(16, 1)
    assert (await client.read())[0] == "53"


@played(read_only=True)
async def test_read_only_refuses_orders_cancels_and_questions_for_orders_and_answers_the_rest(client, sim, control):
    order(client, 1)
    client.send(4, 1, 1, "")
    answers = [await client.error() for _ in range(2)]
    assert {answer[1] for answer in answers} == {321}
    assert "Read-Only" in answers[0][2]
    client.send(5, 1)
    assert (await client.read())[:4] == ["4", "2", "-1", "321"]
    client.send(61, 1)
    assert (await client.read())[0] == "62"


@played()
async def test_a_chosen_reject(client, sim, control):
    await control.run("reject_next placeOrder 201 'Order rejected - reason: no'")
    order(client, 1)
    assert await client.error() == (1, 201, "Order rejected - reason: no")
    order(client, 1)
    assert (await client.error())[:2] == (1, 103)


@played()
async def test_account_updates_come_again_after_a_fill_and_every_three_minutes(client, sim, control):
    client.send(6, 2, 1, "SIM7")
    first = await client.message(6)
    assert first[-1] == "SIM7"
    assert await client.message(54) == ["54", "1", "SIM7"]
    order(client, 1, quantity=10)
    portfolio = await client.message(7)
    assert len(portfolio) == 20
    assert portfolio[13] == "10"
    await client.message(8)
    await control.run("advance 181")
    assert (await client.message(7))[13] == "10"
    client.send(6, 2, 0, "")
    await client.settle()
    await control.run("advance 400")
    assert await client.quiet(0.02)


@played()
async def test_summaries_are_two_at_a_time(client, sim, control):
    for request_id in (1, 2):
        client.send(62, 1, request_id, "All", "NetLiquidation,BuyingPower")
        assert [(await client.read())[4:6] for _ in range(2)] == [
            ["NetLiquidation", "1000000.00"],
            ["BuyingPower", "4000000.00"],
        ]
        assert (await client.read())[0] == "64"
    client.send(62, 1, 3, "All", "NetLiquidation")
    assert (await client.error())[:2] == (3, 322)
    client.send(63, 1, 1)
    client.send(62, 1, 3, "All", "$LEDGER")
    assert (await client.message(63))[4:7] == ["AccountOrGroup", "SIM7", "BASE"]


@played()
async def test_profit_and_loss_once_a_second(client, sim, control):
    order(client, 1, quantity=10)
    con_id = int((await client.message(11))[3])
    client.send(92, 8, "SIM7", "")
    client.send(94, 9, "SIM7", "", con_id)
    await client.settle()
    await control.run("advance 3")
    seen = [await client.until(lambda each: each[0] in ("94", "95")) for _ in range(6)]
    total = [fields for fields in seen if fields[0] == "94"]
    single = [fields for fields in seen if fields[0] == "95"]
    assert len(total) == len(single) == 3
    assert [fields[1] for fields in total] == ["8"] * 3
    assert single[0][2] == "10"
    assert [fields[3] for fields in total] == [fields[4] for fields in single]


@played()
async def test_executions_are_told_by_filter(client, sim, control):
    order(client, 1, quantity=10)
    order(client, 2, action="SELL", quantity=4)
    for _ in range(2):
        await client.message(59)
    for side, ids in (("", ["1", "2"]), ("SELL", ["2"])):
        client.send(7, 3, 50, 0, "", "", "", "", "", side)
        seen = []
        while (fields := await client.read())[0] != "55":
            if fields[0] == "11":
                assert fields[1] == "50"
                seen.append(fields[2])
        assert seen == ids


@played()
async def test_an_order_on_its_way_is_kept_outside_of_the_task_that_works_it(client, sim, control):
    await control.run("latency 1000")
    order(client, 1, quantity=10, kind="LMT", limit="200")
    await client.settle()
    (arrival,) = sim.arrivals
    assert (arrival.client.client_id, arrival.request.kind, arrival.request.request_id) == (1, "placeOrder", 1)
    assert not sim.orders.orders
    await control.run("advance 1")
    assert not sim.arrivals
    assert sim.orders.orders[1, 1].status == "Submitted"


def test_orders_and_portfolio_can_be_saved_and_another_gateway_goes_on_with_them():
    async def work():
        async with gateway() as (sim, _):
            client = await RawClient.start(sim.port)
            order(client, 1, quantity=10)
            order(client, 2, action="SELL", quantity=10, kind="LMT", limit="1000", tif="GTC")
            await statuses(client, 3)
            saved = pickle.dumps((sim.orders, sim.portfolios))
            assert pickle.loads(saved) == (sim.orders, sim.portfolios)
        async with gateway() as (sim, _):
            sim.orders, sim.portfolios = pickle.loads(saved)
            client = await RawClient.start(sim.port)
            assert sim.orders.next_id(1) == 3
            order(client, 2, action="SELL", quantity=10, kind="LMT", limit="200", tif="GTC")
            assert await statuses(client, 2) == [(2, "Submitted", 0.0), (2, "Filled", 10.0)]
            assert sim.portfolio.open_positions() == []
            assert [each.exec_id[-5:] for each in sim.orders.executions] == ["01.01", "02.01"]

    asyncio.run(work())
