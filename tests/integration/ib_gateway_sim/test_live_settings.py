"""What of live data is not established at IB, both ways; permissions and types of market data; live bars of a file."""

import asyncio
import datetime as dt
from itertools import pairwise

import pytest

from ib_gateway_sim.market.replayed.contract import ReplayFile
from ib_gateway_sim.market.replayed.market import Replay
from tests.integration.ib_gateway_sim.test_live_outages import (
    ES,
    ask_bars,
    ask_quotes,
    keep_up,
    messages_so_far,
    streams_and_codes,
)
from tests.support.live_readers import NOON_S, do, folded, watched
from tests.support.sim_client import AAPL, EURUSD, RawClient, gateway
from tests.unit.ib_gateway_sim.test_replay import at, written

MSFT = ("0", "MSFT", *AAPL[2:])
CALL = ("0", "AAPL", "OPT", "20260417", "400", "C", "100", "SMART", "", "USD", "", "")


@pytest.mark.parametrize("live_slots", ["held", "free"])
def test_live_requests_hold_a_slot_of_fifty_or_not(live_slots):
    """Who counts only requests that wait for an answer has none left for history when fifty are live."""

    async def work():
        async with gateway(live_slots=live_slots) as (sim, control):
            client = await RawClient.start(sim.port)
            for request_id in range(50):
                await keep_up(client, request_id)
                await do(control, "advance 0.1")  # so that no message waits for its turn
            client.ask_bars(99)
            if live_slots == "free":
                assert (await client.message(17))[1] == "99"
                return
            assert (await client.error())[:2] == (99, 322)
            client.send(25, 1, 7)
            await client.settle()
            client.ask_bars(99)
            assert (await client.message(17))[1] == "99"

    asyncio.run(work())


@pytest.mark.parametrize("rtb_book", ["own", "shared"])
def test_bars_of_five_seconds_are_counted_with_small_bars_or_apart(rtb_book):
    async def work():
        async with gateway(rtb_book=rtb_book, lines=1000) as (sim, control):
            client = await RawClient.start(sim.port)
            for request_id in range(60):
                ask_bars(client, request_id)
                client.send(51, 1, request_id)
                await client.settle()
                await do(control, "advance 0.1")
            client.ask_bars(99, size="5 secs")
            if rtb_book == "own":
                assert (await client.message(17))[1] == "99"
                return
            request_id, code, text = await client.error()
            assert (request_id, code) == (99, 162)
            assert "pacing violation" in text
            await do(control, "advance 601")
            for request_id in range(100, 160):
                client.ask_bars(request_id, size="5 secs", end=f"20260302 15:{request_id - 100:02}:00 UTC", rth=1)
                await do(control, "advance 3")  # no more than five for a contract in two seconds
            ask_bars(client, 200)
            assert (await client.error())[:2] == (200, 420)

    asyncio.run(work())


@pytest.mark.parametrize("tick_pause", [15.0, 0.0])
def test_a_second_stream_of_ticks_of_an_instrument_waits_fifteen_seconds(tick_pause):
    """Who asks for the quotes of an instrument right after its trades is refused, whatever the kind and the client."""

    async def work():
        async with gateway(tick_pause=tick_pause, lines=200) as (sim, control):
            one, two = await RawClient.start(sim.port, 1), await RawClient.start(sim.port, 2)
            one.send(97, 1, *AAPL, "Last", 0, 0)
            one.send(98, 1)
            await one.settle()
            await do(control, "advance 14")
            one.send(97, 2, *MSFT, "BidAsk", 0, 0)
            two.send(97, 3, *AAPL, "BidAsk", 0, 0)
            await one.settle()
            if tick_pause:
                request_id, code, text = await two.error()
                assert (request_id, code) == (3, 10190)
                assert "in 15 seconds" in text
            await do(control, "advance 2")
            two.send(97, 4, *AAPL, "MidPoint", 0, 0)  # what was refused does not count
            await two.settle()
            await do(control, "advance 20")
            open_streams = {each.jobs.count("tick by tick") for each in sim.clients.values()}
            assert open_streams == ({1} if tick_pause else {1, 2})

    asyncio.run(work())


@pytest.mark.parametrize("lines_by", ["request", "contract"])
def test_two_streams_of_a_contract_use_one_line_or_two(lines_by):
    async def work():
        async with gateway(lines_by=lines_by, lines=20) as (sim, control):
            client = await RawClient.start(sim.port)
            await do(control, "take_lines 18")
            for request_id, contract in enumerate((AAPL, AAPL, AAPL, MSFT, MSFT, EURUSD)):
                ask_quotes(client, request_id, contract)
                await client.settle()
                await do(control, "advance 1")
            spoke, _ = await streams_and_codes(client, control)
            assert spoke == ({0, 1} if lines_by == "request" else {0, 1, 2, 3, 4})
            for request_id in (0, 1, 2) if lines_by == "contract" else (0, 1):
                client.send(2, 1, request_id)
            await do(control, "advance 1")
            ask_quotes(client, 9, EURUSD)
            await client.settle()
            assert 9 in (await streams_and_codes(client, control))[0]

    asyncio.run(work())


def test_lines_that_tws_takes_are_refused_though_the_client_counts_them_free():
    async def work():
        async with gateway(lines=10) as (sim, control):
            client = await RawClient.start(sim.port)
            for request_id in range(5):
                ask_quotes(client, request_id)
                await do(control, "advance 1")
            await do(control, "take_lines 5")
            ask_quotes(client, 7)
            assert (await client.error())[:2] == (7, 101)
            assert (await streams_and_codes(client, control))[0] == {0, 1, 2, 3, 4}, "what runs goes on"
            await do(control, "take_lines 0")
            ask_quotes(client, 7)
            await client.settle()
            assert 7 in (await streams_and_codes(client, control))[0]

    asyncio.run(work())


@pytest.mark.parametrize("empty_live", ["refuse", "stream"])
def test_a_live_request_before_the_first_bar_is_refused_or_waits_for_it(empty_live):
    async def work():
        start_ns = (NOON_S - 2 * 3600 - 1800 - 30) * 10**9  # half a minute before the open
        async with gateway(empty_live=empty_live, start_ns=start_ns) as (sim, control):
            client = await RawClient.start(sim.port)
            client.ask_bars(1, end="", live=1, duration="60 S")
            if empty_live == "refuse":
                assert (await client.error())[:2] == (1, 162)
                assert await streams_and_codes(client, control, 120) == (set(), []), "who waits here waits for ever"
                return
            assert (await client.message(17))[4] == "0"
            await client.settle()
            await do(control, "advance 40")
            first = await client.message(90)
            assert int(first[3]) == NOON_S - 2 * 3600 - 1800
            client.ask_bars(2, end="", duration="60 S")

    asyncio.run(work())


def changes(messages, request_id):
    """Prices, sizes and greeks."""
    ids = {"1": 2, "2": 2, "21": 1}
    return [fields for fields in messages if fields[0] in ids and fields[ids[fields[0]]] == str(request_id)]


async def moments(sim, contract, *, live_cadence, step):
    """Market seconds at which a quote stream spoke, seen by so many steps a second."""
    async with sim(live_cadence=live_cadence, lines=2000) as (made, control):
        client = await RawClient.start(made.port)
        ask_quotes(client, 1, contract)
        await client.settle()
        await client.settle()  # the first quotes come after the answer to the first
        spoke = []
        for n in range(int(4 / step)):
            await do(control, f"advance {step}")
            client.send(49, 1)
            if changes(await messages_so_far(client), 1):
                spoke.append(round((n + 1) * step, 3))
        return spoke


def test_each_class_has_its_cadence_where_that_is_asked_for():
    pair = asyncio.run(moments(gateway, EURUSD, live_cadence="class", step=0.005))
    same = asyncio.run(moments(gateway, EURUSD, live_cadence="grid", step=0.005))
    assert pair
    assert any(round(each % 0.25, 3) for each in pair)
    assert not any(round(each % 0.25, 3) % 0.25 for each in same)
    option = asyncio.run(moments(gateway, CALL, live_cadence="class", step=0.05))
    assert option
    assert not any(round(each % 0.1, 3) % 0.1 for each in option)
    assert any(round(each % 0.25, 3) % 0.25 for each in option)


def test_updates_come_after_one_to_five_seconds_where_that_is_asked_for():
    async def gaps(live_cadence):
        async with gateway(live_cadence=live_cadence) as (sim, control):
            client = await RawClient.start(sim.port)
            await keep_up(client, 1)
            await client.settle()
            spoke = []
            for second in range(120):
                await do(control, "advance 1")
                client.send(49, 1)
                if any(fields[0] == "90" for fields in await messages_so_far(client)):
                    spoke.append(second)
            return {later - earlier for earlier, later in pairwise(spoke)}

    assert asyncio.run(gaps("grid")) == {2}
    assert asyncio.run(gaps("class")) == {1, 2, 3, 4, 5}


@pytest.mark.parametrize(
    ("level", "wanted", "codes", "shown"),
    [
        ("full", 1, [], 1),
        ("none", 1, [354], None),
        ("none", 2, [354], None),
        ("none", 3, [10167], 3),
        ("none", 4, [10167], 3),
        ("api", 1, [10089], None),
        ("api", 3, [10167], 3),
        ("not_enabled", 1, [10168], None),
        ("not_enabled", 3, [10167], 3),
        ("no_delayed", 1, [354], None),
        ("no_delayed", 3, [10186], None),
        ("part", 1, [10090], 1),
        ("part", 3, [10090], 1),
        ("part_api", 1, [10091], 1),
    ],
)
def test_permissions_and_types_of_market_data(level, wanted, codes, shown):
    """Who takes every error for the end loses data that flow on (10090, 10091, 10167); who takes none waits for ever."""

    async def work():
        async with gateway() as (sim, control):
            client = await RawClient.start(sim.port)
            await do(control, f"permission AAPL {level}")
            client.send(59, 1, wanted)
            ask_quotes(client, 1)
            client.send(49, 1)
            messages = await messages_so_far(client)
            client.send(49, 1)
            messages += await messages_so_far(client)
            assert [int(fields[3]) for fields in messages if fields[0] == "4"] == codes
            types = [int(fields[3]) for fields in messages if fields[0] == "58"]
            assert types == ([shown] if shown else [])
            kinds = {int(fields[3]) for fields in messages if fields[0] in ("1", "2", "46")}
            if shown is None:
                assert not kinds
            else:
                assert bool(kinds & {1, 2}) == (level == "full")
                assert bool(kinds & {66, 67}) == (shown == 3)
                assert kinds & {4, 8, 68}
            assert ((await streams_and_codes(client, control))[0] == {1}) == (shown is not None)
            ask_bars(client, 2)
            client.ask_bars(3)
            client.send(49, 1)
            refused = [int(fields[3]) for fields in await messages_so_far(client) if fields[0] == "4"]
            assert refused == ([] if level in ("full", "part", "part_api") else [420, 162])

    asyncio.run(work())


def test_a_symbol_without_permission_is_permitted_by_command():
    async def work():
        async with gateway() as (sim, control):
            client = await RawClient.start(sim.port)
            await do(control, "permission NOPERM full")
            ask_quotes(client, 1, ("0", "NOPERM", *AAPL[2:]))
            assert (await client.message(58))[3] == "1"
            assert not (await control.run("permission AAPL some"))["ok"]

    asyncio.run(work())


@pytest.mark.parametrize(("wanted", "types"), [(1, ["1"]), (2, ["1", "2", "1"])])
def test_the_type_changes_at_the_close_and_at_the_open_for_who_asked_for_frozen_data(wanted, types):
    async def work():
        start_ns = (NOON_S + 5 * 3600 - 60) * 10**9  # a minute before the futures' break of an hour
        async with gateway(start_ns=start_ns) as (sim, control):
            client = await RawClient.start(sim.port)
            client.send(59, 1, wanted)
            ask_quotes(client, 1, ES)
            client.send(49, 1)
            messages = await messages_so_far(client)
            await do(control, "advance 120")
            await do(control, "set_clock 2026-03-02T22:59:00Z")
            await do(control, "advance 120")
            client.send(49, 1)
            assert [fields[3] for fields in messages + await messages_so_far(client) if fields[0] == "58"] == types

    asyncio.run(work())


def minutes_of_a_file():
    begun = dt.datetime(2024, 3, 4, 14, 30)
    rows = []
    for n in range(120):
        price = 100 + n % 7 / 10
        rows.append(f"{begun + dt.timedelta(minutes=n)},{price},{price + 0.2},{price - 0.1},{price + 0.1},{1000 + n}")
    return rows


@pytest.mark.parametrize("line", ["", "late AAPL 0.5", "odd_lots AAPL 0.5"])
def test_live_minutes_of_a_replayed_file(tmp_path, line):
    """A minute is told when it is over, once: its middle is not in the file. Bars of five seconds do not exist."""
    market = Replay([ReplayFile(written(tmp_path, minutes_of_a_file()), "AAPL")])

    async def work():
        start_ns = (at("2024-03-04 14:30:00") + 3600) * 10**9
        async with gateway(start_ns=start_ns, market=market) as (sim, control):
            client = await RawClient.start(sim.port)
            if line:
                await do(control, line)
            seen = await watched(sim, control, client, seconds=600)
            assert seen.parts == []
            assert len(seen.history) == 10
            assert folded(list(seen.history.values())) == seen.history
            newest = {t: each for t, each in seen.kept.items() if t in seen.history}
            if not line:
                assert newest == seen.history
                assert len(seen.updates) == len({each.t for each in seen.updates}), "each once"
            else:
                assert newest
                assert all(each.volume != seen.history[t].volume for t, each in newest.items()) or line.startswith(
                    "late"
                )
                assert newest != {t: seen.history[t] for t in newest}

    asyncio.run(work())
