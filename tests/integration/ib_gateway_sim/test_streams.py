"""Live data over a socket: what comes, in which order, what is refused, and that it agrees with history."""

import asyncio
from typing import Any

import pytest

from ib_gateway_sim.clock import SECOND_NS
from ib_gateway_sim.market.contracts import ContractQuery
from ib_gateway_sim.market.replayed.contract import ReplayFile
from ib_gateway_sim.market.replayed.market import Replay
from tests.support.sim_client import AAPL, EURUSD, RawClient, gateway
from tests.unit.ib_gateway_sim.test_replay import at, written

MSFT = ("0", "MSFT", *AAPL[2:])
CALL = ("0", "AAPL", "OPT", "20260417", "400", "C", "100", "SMART", "", "USD", "", "")
NOPERM = ("0", "NOPERM", *AAPL[2:])
SPX = ("0", "SPX", "IND", "", "0.0", "", "", "CBOE", "", "USD", "", "")


def ask_quotes(client, request_id, contract=AAPL, generic="", snapshot=0):
    client.send(1, 11, request_id, *contract, 0, generic, snapshot, 0, "")


def ask_ticks(client, request_id, kind="Last", contract=AAPL, count=0, ignore_size=0):
    client.send(97, request_id, *contract, kind, count, ignore_size)


def ask_depth(client, request_id, contract=AAPL, rows=5, smart=1):
    client.send(10, 5, request_id, *contract, rows, smart, "")


def ask_bars(client, request_id, contract=AAPL, what="TRADES", rth=1):
    client.send(50, 3, request_id, *contract, 5, what, rth, "")


def test_quotes_begin_with_parameters_and_type_and_go_on_with_what_changes():
    async def work():
        async with gateway() as (sim, control):
            client = await RawClient.start(sim.port)
            ask_quotes(client, 5, generic="233")
            assert (await client.read())[:3] == ["81", "5", "0.01"]
            assert await client.read() == ["58", "1", "5", "1"]
            first = [await client.read() for _ in range(12)]
            assert [fields[0] + ":" + fields[3] for fields in first[:6]] == ["1:1", "2:0", "1:2", "2:3", "1:4", "2:5"]
            assert float(first[0][4]) <= float(first[2][4])
            assert all(len(fields) == 7 for fields in first if fields[0] == "1")
            await client.settle()
            await control.run("advance 20")
            later = [await client.read() for _ in range(20)]
            assert {fields[2] for fields in later} == {"5"}
            volume = next(fields for fields in later if fields[:4] == ["46", "6", "5", "48"])[4].split(";")
            assert len(volume) == 6
            client.send(2, 1, 5)
            await client.settle()
            await control.run("advance 20")
            assert await client.quiet(0.02)
            client.send(2, 1, 5)
            assert (await client.error())[:2] == (5, 300)

    asyncio.run(work())


def test_a_snapshot_ends():
    async def work():
        async with gateway() as (sim, control):
            client = await RawClient.start(sim.port)
            ask_quotes(client, 6, snapshot=1)
            assert await client.message(57) == ["57", "1", "6"]
            await control.run("advance 20")
            assert await client.quiet(0.02)
            ask_quotes(client, 7, snapshot=1, generic="233")
            assert (await client.error())[:2] == (7, 414)

    asyncio.run(work())


def test_without_permission_delayed_data_come_when_they_are_asked_for():
    async def work():
        async with gateway() as (sim, _):
            client = await RawClient.start(sim.port)
            ask_quotes(client, 1, NOPERM)
            assert (await client.error())[:2] == (1, 354)
            client.send(59, 1, 3)
            ask_quotes(client, 2, NOPERM)
            assert (await client.error())[:2] == (2, 10167)
            assert (await client.message(58))[3] == "3"
            kinds = {(await client.read())[3] for _ in range(10)}
            assert {"66", "67", "68", "69", "70", "71"} <= kinds
            assert not kinds & {"1", "2", "4"}
            client.ask_bars(3, NOPERM)
            assert "No market data permissions for SMART STK" in (await client.error())[2]
            ask_ticks(client, 4, contract=NOPERM)
            assert (await client.error())[:2] == (4, 10189)
            client.send(96, 5, *NOPERM, 0, "", "20260302-15:00:00", 10, "TRADES", 1, 0, "")
            assert (await client.error())[:2] == (5, 10187)
            ask_bars(client, 6, NOPERM)
            assert (await client.error())[:2] == (6, 420)

    asyncio.run(work())


def test_lines_tick_streams_and_depth_are_limited_over_all_clients():
    async def work():
        async with gateway(lines=40) as (sim, control):
            one, two = await RawClient.start(sim.port, 1), await RawClient.start(sim.port, 2)
            for request_id in range(40):
                ask_quotes((one, two)[request_id % 2], request_id)
                await control.run("advance 0.1")
            ask_quotes(one, 99)
            assert (await one.error())[:2] == (99, 101)
            two.send(2, 1, 1)
            await two.settle()
            ask_quotes(one, 99)
            assert (await one.message(81))[1] == "99"
            for request_id, contract in ((200, AAPL), (201, MSFT), (202, EURUSD)):
                ask_ticks(two, request_id, "BidAsk", contract)
            assert (await two.error())[:2] == (202, 10190)
            for request_id in (300, 301, 302):
                ask_depth(two, request_id)
            ask_depth(two, 303)
            assert (await two.error())[:2] == (303, 309)

    asyncio.run(work())


def test_duplicate_ids_are_refused_and_the_first_goes_on():
    async def work():
        async with gateway() as (sim, _):
            client = await RawClient.start(sim.port)
            for ask, code in ((ask_quotes, 102), (ask_ticks, 322), (ask_depth, 322), (ask_bars, 102)):
                ask(client, 7)
                ask(client, 7)
                assert (await client.error())[:2] == (7, code)

    asyncio.run(work())


def test_the_trades_of_a_minute_are_the_volume_of_its_bar():
    async def work():
        async with gateway() as (sim, control):
            client = await RawClient.start(sim.port)
            ask_ticks(client, 1, "AllLast")
            await client.settle()
            await control.run("advance 60.5")
            client.ask_bars(2, end="20260302 17:01:00 UTC", duration="60 S")
            ticks = []
            while (fields := await client.read())[0] != "17":
                ticks.append(fields)
            sizes = [float(each[5]) for each in ticks if int(each[3]) < 1_772_470_860]
            prices = [float(each[4]) for each in ticks if int(each[3]) < 1_772_470_860]
            _, first, high, low, last, volume, _, count = [float(value) for value in fields[5:]]
            assert (sum(sizes), len(sizes)) == (volume, count)
            assert (prices[0], max(prices), min(prices), prices[-1]) == (first, high, low, last)

    asyncio.run(work())


@pytest.mark.parametrize(("kind", "width"), [("Last", 9), ("AllLast", 9), ("BidAsk", 9), ("MidPoint", 5)])
def test_every_kind_of_tick_by_tick_and_its_past(kind, width):
    async def work():
        async with gateway() as (sim, control):
            client = await RawClient.start(sim.port)
            ask_ticks(client, 1, kind, count=10)
            past = await client.message({"BidAsk": 97, "MidPoint": 96}.get(kind, 98))
            assert int(past[2]) >= 10
            await control.run("advance 30")
            fields = await client.message(99)
            assert len(fields) == width
            assert int(fields[3]) >= 1_772_470_800
            client.send(98, 1)
            await client.settle()
            await control.run("advance 30")
            assert await client.quiet(0.02)

    asyncio.run(work())


def test_currencies_have_no_last_and_indices_no_depth():
    async def work():
        async with gateway() as (sim, _):
            client = await RawClient.start(sim.port)
            ask_ticks(client, 1, "Last", EURUSD)
            assert (await client.error())[:2] == (1, 10189)
            ask_depth(client, 2, SPX)
            assert (await client.error())[:2] == (2, 10092)
            ask_bars(client, 3, EURUSD)
            assert (await client.error())[:2] == (3, 420)
            ask_ticks(client, 4, "Best")
            assert (await client.error())[:2] == (4, 321)

    asyncio.run(work())


@pytest.mark.parametrize("contract", [CALL, SPX])
@pytest.mark.parametrize("kind", ["Last", "AllLast", "BidAsk", "MidPoint"])
def test_options_and_indices_of_other_exchanges_than_the_cme_have_no_ticks_live(contract, kind):
    async def work():
        async with gateway() as (sim, _):
            client = await RawClient.start(sim.port)
            ask_ticks(client, 1, kind, contract)
            request_id, code, text = await client.error()
            assert (request_id, code) == (1, 10189)
            assert "not offered" in text

    asyncio.run(work())


def test_real_time_bars_are_the_five_second_bars_of_history():
    async def work():
        async with gateway() as (sim, control):
            client = await RawClient.start(sim.port)
            ask_bars(client, 1)
            await client.settle()
            await control.run("advance 31")
            live = [(await client.message(50))[3:] for _ in range(6)]
            client.ask_bars(2, end="20260302 17:00:30 UTC", duration="30 S", size="5 secs")
            bars = (await client.message(17))[5:]
            assert [value for bar in live for value in bar] == bars

    asyncio.run(work())


def test_sixty_requests_for_real_time_bars_in_ten_minutes():
    async def work():
        async with gateway(lines=1000) as (sim, control):
            client = await RawClient.start(sim.port)
            for request_id in range(61):
                ask_bars(client, request_id)
                client.send(51, 1, request_id)
            assert (await client.error())[:2] == (60, 420)
            assert (await client.error())[:2] == (60, 300)
            await control.run("advance 601")
            ask_bars(client, 70)
            await client.settle()
            await control.run("advance 6")
            assert (await client.message(50))[2] == "70"

    asyncio.run(work())


@pytest.mark.parametrize(("smart", "message", "width"), [(1, 13, 10), (0, 12, 8)])
def test_the_book_begins_at_the_quote_and_is_inserted_row_by_row(smart, message, width):
    async def work():
        async with gateway() as (sim, control):
            client = await RawClient.start(sim.port)
            ask_depth(client, 1, rows=3, smart=smart)
            rows = [await client.message(message) for _ in range(6)]
            assert {len(row) for row in rows} == {width}
            prices = [float(row[-3 if smart else -2]) for row in rows]
            assert prices[0] < prices[1] < prices[2]  # asks
            assert prices[0] > prices[3] > prices[4] > prices[5]
            operation = 5 if smart else 4
            assert {row[operation] for row in rows} == {"0"}
            await control.run("advance 10")
            assert (await client.message(message))[operation] == "1"
            client.send(11, 1, 1, smart)
            await client.settle()
            client.send(11, 1, 1, smart)
            assert (await client.error())[:2] == (1, 310)

    asyncio.run(work())


def test_a_broken_farm_stops_the_quotes_and_nothing_else():
    async def work():
        async with gateway() as (sim, control):
            client = await RawClient.start(sim.port)
            ask_quotes(client, 1)
            ask_quotes(client, 2, EURUSD)
            await client.settle()
            await control.run("farm_down usfarm")
            await client.message(4)
            await control.run("advance 10")
            assert {(await client.read())[2] for _ in range(10)} == {"2"}
            await client.settle()
            await control.run("farm_up usfarm")
            await control.run("advance 10")
            await client.until(lambda fields: fields[0] == "1" and fields[2] == "1")

    asyncio.run(work())


CALL = ("0", "AAPL", "OPT", "20260417", "400", "C", "100", "SMART", "", "USD", "", "")


def test_options_tell_their_greeks_and_the_calculators_agree():
    async def work():
        async with gateway() as (sim, _):
            client = await RawClient.start(sim.port)
            ask_quotes(client, 1, CALL)
            greeks = {}
            while 13 not in greeks:
                fields = await client.message(21)
                greeks[int(fields[2])] = [float(value) for value in fields[4:]]
            volatility, delta, price, _, gamma, vega, theta, under = greeks[13]
            assert 0 < volatility < 3
            assert 0 < delta < 1
            assert gamma > 0
            assert vega > 0 > theta
            client.send(55, 3, 2, *CALL, volatility, under, 0, "")
            model = (await client.until(lambda each: each[:2] == ["21", "2"]))[4:]
            assert float(model[2]) == pytest.approx(price, rel=1e-6)
            client.send(54, 3, 3, *CALL, price, under, 0, "")
            model = (await client.until(lambda each: each[:2] == ["21", "3"]))[4:]
            assert float(model[0]) == pytest.approx(volatility, rel=1e-6)
            client.send(54, 3, 4, *AAPL, 1, 1, 0, "")
            assert (await client.error())[:2] == (4, 321)

    asyncio.run(work())


def test_generic_ticks_of_the_year():
    async def work():
        async with gateway() as (sim, _):
            client = await RawClient.start(sim.port)
            ask_quotes(client, 1, generic="165,236")
            seen: dict[int, float] = {}
            while 89 not in seen:
                fields = await client.read()
                if fields[0] in ("1", "2", "45"):
                    seen[int(fields[3])] = float(fields[4])
            assert seen[19] <= seen[17] <= seen[15] < seen[16] <= seen[18] <= seen[20]
            assert seen[21] > 1000
            assert seen[46] == 3

    asyncio.run(work())


def test_a_split_adjusts_history_from_its_session_on():
    async def work():
        async with gateway() as (sim, control):
            client = await RawClient.start(sim.port)
            requested: dict[str, Any] = {"end": "20260227 21:00:00 UTC", "size": "1 day", "duration": "1 D"}
            client.ask_bars(1, **requested)
            before = [float(value) for value in (await client.message(17))[6:11]]
            assert (await control.run("split AAPL 4"))["ok"]
            client.ask_bars(2, **requested)
            assert [float(value) for value in (await client.message(17))[6:11]] == before
            await control.run("set_clock 2026-03-03T15:00:00Z")
            client.ask_bars(3, **requested)
            after = [float(value) for value in (await client.message(17))[6:11]]
            assert after[:4] == pytest.approx([price / 4 for price in before[:4]], abs=0.01)
            assert after[4] == pytest.approx(before[4] * 4, rel=1e-3)

    asyncio.run(work())


def test_negative_prices_are_quoted_as_any_others(tmp_path):
    """The day on which oil was sold below zero: a price of -1 is absent only beside a size of 0."""
    rows = ["2020-04-20 18:28:00,-36,-35.5,-37.63,-37.63,120", "2020-04-20 18:29:00,-37.63,-0.5,-38,-37.5,80"]
    market = Replay([ReplayFile(written(tmp_path, rows), "CLK0")])
    oil = ("0", "CL", "FUT", "20200421", "0.0", "", "", "NYMEX", "", "USD", "", "")

    async def work():
        async with gateway(start_ns=at("2020-04-20 18:30:00") * SECOND_NS, market=market) as (sim, _):
            client = await RawClient.start(sim.port)
            ask_quotes(client, 5, contract=oil, generic="221")
            prices: dict[str, float] = {}
            while not {"1", "2", "4", "6", "7", "14", "37"} <= prices.keys():
                fields = await client.read()
                assert fields[0] != "4", fields
                if fields[0] == "1":
                    prices[fields[3]] = float(fields[4])
            assert prices["4"] == prices["1"] == -37.5
            assert (prices["14"], prices["7"]) == (-36.0, -38.0)
            assert prices["1"] < prices["37"] < prices["2"] < 0
            ask_depth(client, 6, contract=oil, smart=0)
            assert float((await client.message(12))[6]) < 0
            (contract,) = market.find(ContractQuery(local_symbol="CLK0"), market.end_s)
            assert sim.mark(contract) == -37.5

    asyncio.run(work())
