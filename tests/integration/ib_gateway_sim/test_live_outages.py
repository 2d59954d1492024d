"""Streams that end, fall silent or come late: each beside a client that believes what it is told."""

import asyncio

import ib_insync
import pytest

from tests.support.live_readers import NOON_S, do
from tests.support.sim_client import AAPL, EURUSD, RawClient, gateway, refusal

MSFT = ("0", "MSFT", *AAPL[2:])
ES = ("0", "ES", "FUT", "202603", "0.0", "", "", "CME", "", "USD", "", "")


def ask_bars(client, request_id, contract=AAPL, what="TRADES"):
    client.send(50, 3, request_id, *contract, 5, what, 0, "")


def ask_quotes(client, request_id, contract=AAPL):
    client.send(1, 11, request_id, *contract, 0, "", 0, 0, "")


async def keep_up(client, request_id, contract=AAPL, what="TRADES"):
    client.ask_bars(request_id, contract, end="", live=1, what=what, rth=0)
    await client.until(lambda fields: fields[:2] == ["17", str(request_id)])


async def messages_so_far(client):
    """All messages up to the answer to reqCurrentTime."""
    messages = []
    while (fields := await client.read())[0] != "49":
        messages.append(fields)
    return messages


async def streams_and_codes(client, control, seconds=60):
    """Request ids of what is said in so many seconds: 5-second bars, keepUpToDate, quotes; and codes of all errors."""
    client.send(49, 1)
    codes = [int(fields[3]) for fields in await messages_so_far(client) if fields[0] == "4"]
    await do(control, f"advance {seconds}")
    client.send(49, 1)
    spoke, later = spoken(await messages_so_far(client))
    return spoke, codes + later


def spoken(messages):
    """Request ids of live data, and codes of errors."""
    spoke, codes = set(), []
    for fields in messages:
        if fields[0] == "4":
            codes.append(int(fields[3]))
        elif fields[0] in ("1", "2", "46", "50"):
            spoke.add(int(fields[2]))
        elif fields[0] in ("90", "99"):
            spoke.add(int(fields[1]))
    return spoke, codes


def test_a_bust_ends_bars_until_the_old_id_is_cancelled():
    async def work():
        async with gateway() as (sim, control):
            client = await RawClient.start(sim.port)
            ask_bars(client, 1)
            await keep_up(client, 2)
            ask_bars(client, 3, MSFT)
            ask_quotes(client, 4)
            assert (await streams_and_codes(client, control))[0] == {1, 2, 3, 4}
            assert await do(control, "bust AAPL") == {"ok": True, "ended": 2}
            spoke, codes = await streams_and_codes(client, control)
            assert (spoke, codes) == ({3, 4}, [10225, 10225])
            # A client that asks anew and forgets the old ids gets nothing, under a new id or the old one.
            for request_id, code in ((5, 420), (1, 102)):
                ask_bars(client, request_id)
                assert (await client.error())[:2] == (request_id, code)
            for request_id in (6, 2):
                client.ask_bars(request_id, end="", live=1, rth=0)
                assert (await client.error())[:2] == (request_id, 162)
            ask_bars(client, 7, what="MIDPOINT")  # another kind is another stream
            assert (await streams_and_codes(client, control))[0] == {3, 4, 7}
            # One that cancels first gets both again.
            client.send(51, 1, 1)
            client.send(25, 1, 2)
            assert (await client.error())[:2] == (2, 162)
            ask_bars(client, 8)
            await keep_up(client, 9)
            assert (await streams_and_codes(client, control))[0] == {3, 4, 7, 8, 9}
            client.send(51, 1, 1)
            assert (await client.error())[:2] == (1, 300)

    asyncio.run(work())


def test_ib_insync_goes_on_after_a_bust_by_itself():
    async def work():
        async with gateway() as (sim, control):
            ib = ib_insync.IB()
            await ib.connectAsync("127.0.0.1", sim.port, clientId=9)
            apple = ib_insync.Stock("AAPL", "SMART", "USD")
            parts = ib.reqRealTimeBars(apple, 5, "TRADES", False)
            minutes = await ib.reqHistoricalDataAsync(
                apple, "", "1800 S", "1 min", "TRADES", useRTH=True, formatDate=2, keepUpToDate=True
            )
            await do(control, "advance 60")
            assert (await do(control, "bust"))["ended"] == 2
            await ib.reqCurrentTimeAsync()
            before = len(parts), len(minutes)
            await do(control, "advance 120")
            await ib.reqCurrentTimeAsync()
            assert len(parts) > before[0]
            assert len(minutes) > before[1]
            ib.disconnect()

    asyncio.run(work())


def test_after_a_flap_that_kills_the_farm_is_well_and_its_streams_say_nothing():
    async def work():
        async with gateway() as (sim, control):
            client = await RawClient.start(sim.port)
            ask_bars(client, 1)
            ask_quotes(client, 2)
            await keep_up(client, 3)
            ask_bars(client, 4, EURUSD, "MIDPOINT")
            assert (await do(control, "farm_flap usfarm 3 dead"))["dead"] == 2
            spoke, codes = await streams_and_codes(client, control, 600)
            assert codes == [2103, 2119, 2104], "who believes this believes that all is well"
            assert spoke == {3, 4}
            ask_bars(client, 5)  # the same again, beside the dead one
            assert (await streams_and_codes(client, control))[0] == {3, 4, 5}
            client.send(51, 1, 1)
            client.send(2, 1, 2)
            ask_bars(client, 1)
            ask_quotes(client, 2)
            assert await streams_and_codes(client, control) == ({1, 2, 3, 4, 5}, [])

    asyncio.run(work())


def test_a_flap_of_a_history_farm_that_kills_says_not_even_10182():
    async def work():
        async with gateway() as (sim, control):
            client = await RawClient.start(sim.port)
            await keep_up(client, 1)
            await keep_up(client, 2, EURUSD, "MIDPOINT")
            await do(control, "farm_flap ushmds 3 dead")
            assert await streams_and_codes(client, control) == ({2}, [2105, 2106])
            client.send(25, 1, 1)
            assert (await client.error())[:2] == (1, 162)
            await keep_up(client, 1)
            assert (await streams_and_codes(client, control))[0] == {1, 2}
            await do(control, "farm_flap ushmds 3 alive")
            assert (await streams_and_codes(client, control))[1] == [2105, 10182, 2106]

    asyncio.run(work())


@pytest.mark.parametrize(
    ("streams", "line"), [({1, 2}, "restored"), (set(), "restored maintained mute"), (set(), "restored lost")]
)
def test_1102_promises_nothing(streams, line):
    async def work():
        async with gateway() as (sim, control):
            client = await RawClient.start(sim.port)
            ask_bars(client, 1)
            ask_quotes(client, 2)
            await client.settle()
            await do(control, "lost")
            await do(control, line)
            spoke, codes = await streams_and_codes(client, control)
            assert codes == [1100, 1101 if "lost" in line else 1102]
            assert spoke == streams
            ask_bars(client, 3)
            assert (await streams_and_codes(client, control))[0] == streams | {3}

    asyncio.run(work())


def test_the_nightly_reset_may_leave_streams_mute():
    async def work():
        async with gateway() as (sim, control):
            client = await RawClient.start(sim.port)
            ask_bars(client, 1)
            await client.settle()
            await do(control, "reset_window 90 maintained mute")
            spoke, codes = await streams_and_codes(client, control, 120)
            assert 1102 in codes
            assert spoke == set()
            assert (await streams_and_codes(client, control))[0] == set()

    asyncio.run(work())


@pytest.mark.parametrize(
    ("line", "silent"),
    [
        ("mute AAPL", {1, 2, 3}),
        ("mute AAPL bars", {1}),
        ("mute AAPL quotes", {2}),
        ("mute AAPL keep_up_to_date", {3}),
        ("mute MSFT", {4}),
        ("mute ESH6", {5}),
        ("mute all", {1, 2, 3, 4, 5}),
    ],
)
def test_one_stream_is_silent_and_all_others_are_well(line, silent):
    async def work():
        async with gateway() as (sim, control):
            client = await RawClient.start(sim.port)
            ask_bars(client, 1)
            ask_quotes(client, 2)
            await keep_up(client, 3)
            ask_bars(client, 4, MSFT)
            ask_bars(client, 5, ES)
            assert (await streams_and_codes(client, control))[0] == {1, 2, 3, 4, 5}
            assert (await do(control, line))["muted"] == len(silent)
            assert await streams_and_codes(client, control) == ({1, 2, 3, 4, 5} - silent, [])
            if 1 in silent:
                client.send(51, 1, 1)
                ask_bars(client, 1)
                assert 1 in (await streams_and_codes(client, control))[0]

    asyncio.run(work())


async def arrivals(client, control, begun_s, *, seconds, step=0.5):
    """Market seconds after the start -> the bar ends that came by then, in order of their coming."""
    came = []
    for _ in range(int(seconds / step)):
        await do(control, f"advance {step}")
        client.send(49, 1)
        now_s = await market_s(control)
        bars = [fields for fields in await messages_so_far(client) if fields[0] == "50"]
        came += [(int(fields[3]) + 5 - begun_s, now_s - begun_s) for fields in bars]
    return came


async def market_s(control):
    return (await do(control, "clock"))["now_ns"] / 1e9


@pytest.mark.parametrize("line", ["live_delay 0", "live_delay 1500", "live_delay 1000 2000", "live_delay 12000"])
def test_live_data_come_late_in_their_order_and_none_is_lost(line):
    async def work():
        async with gateway() as (sim, control):
            client = await RawClient.start(sim.port)
            await do(control, line)
            ask_bars(client, 1)
            await client.settle()
            came = await arrivals(client, control, NOON_S, seconds=60)
            words = line.split()[1:]
            delay_s, jitter_s = float(words[0]) / 1000, float(words[1]) / 1000 if len(words) > 1 else 0.0
            assert [end for end, _ in came] == [5 * n for n in range(1, len(came) + 1)]
            assert len(came) == (60 - int(delay_s + jitter_s)) // 5 or jitter_s
            lags = [at - end for end, at in came]
            assert all(delay_s <= lag <= delay_s + jitter_s + 0.5 for lag in lags)
            if jitter_s:
                assert max(lags) - min(lags) >= 0.5
            if delay_s > 1:
                # Who takes a minute for over one second after its end lacks its last part.
                assert [end for end, at in came if end <= 60 and at <= 61][-1] < 60
            return came

    assert asyncio.run(work()) == asyncio.run(work())


def test_a_longer_delay_than_a_period_of_quotes_and_updates_loses_nothing():
    async def work(line):
        async with gateway() as (sim, control):
            client = await RawClient.start(sim.port)
            await do(control, line)
            ask_quotes(client, 1)
            await keep_up(client, 2)
            await client.settle()
            await do(control, "advance 130")
            client.send(49, 1)
            return await messages_so_far(client)

    prompt, late = asyncio.run(work("live_delay 0")), asyncio.run(work("live_delay 5000"))
    for kind in ("90", "1"):
        soon, later = ([fields for fields in each if fields[0] == kind] for each in (prompt, late))
        assert 0 < len(later) < len(soon)
        assert later == soon[: len(later)]


@pytest.mark.parametrize(("at_close", "streams"), [("keep", {1, 2, 3}), ("end", {3})])
def test_bars_may_end_with_their_trade_date(at_close, streams):
    """The futures' break of an hour: whoever waits for the opening waits for ever where streams end."""

    async def work():
        start_ns = (NOON_S + 4 * 3600 + 1800) * 10**9  # half an hour before the break
        async with gateway(start_ns=start_ns, at_close=at_close) as (sim, control):
            client = await RawClient.start(sim.port)
            ask_bars(client, 1, ES)
            await keep_up(client, 2, ES)
            ask_quotes(client, 3, ES)
            assert (await streams_and_codes(client, control))[0] == {1, 2, 3}
            await streams_and_codes(client, control, 3600)  # over the close
            spoke, codes = await streams_and_codes(client, control, 3600)  # and the opening
            assert (spoke, codes) == (streams, [])
            ask_bars(client, 4, ES)
            assert (await streams_and_codes(client, control))[0] == streams | {4}

    asyncio.run(work())


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("bust NOSUCH", "symbol 'NOSUCH'"),
        ("mute NOSUCH", "symbol 'NOSUCH'"),
        ("mute AAPL minutes", "kind 'minutes'; allowed: all, quotes, bars, keep_up_to_date, ticks, depth"),
        ("live_delay -1", "ms '-1'; allowed"),
        ("live_delay 1 x", "jitter 'x'; allowed"),
        ("farm_flap usfarm 3 gone", "streams 'gone'; allowed: alive, dead"),
        ("restored maintained dead", "streams 'dead'; allowed: alive, mute"),
        ("reset_window 9 lost dead", "streams 'dead'; allowed: alive, mute"),
    ],
)
def test_what_is_not_allowed_is_named(line, reason):
    assert reason in asyncio.run(refusal(line))
