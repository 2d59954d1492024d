"""Historical data over a socket: windows, every refusal in IB's code, pacing on the virtual clock, live updates."""

import asyncio
import datetime as dt
from pathlib import Path

import pytest

from tests.support.sim_client import AAPL, EURUSD, MONDAY_NOON_NS, RawClient, gateway

ES_FRONT = ("0", "ES", "CONTFUT", "", "0.0", "", "", "CME", "", "USD", "", "")
ES_MARCH = ("0", "ES", "FUT", "202603", "0.0", "", "", "CME", "", "USD", "", "")
SPX = ("0", "SPX", "IND", "", "0.0", "", "", "CBOE", "", "USD", "", "")
BTC = ("0", "BTC", "CRYPTO", "", "0.0", "", "", "PAXOS", "", "USD", "", "")


def utc(at_s):
    return dt.datetime.fromtimestamp(int(at_s), dt.UTC).strftime("%m-%d %H:%M")


async def bars(client, request_id=1, contract=AAPL, **other):
    """The dates of the bars that come."""
    client.ask_bars(request_id, contract, **other)
    fields = await client.message(17)
    assert fields[1] == str(request_id)
    assert len(fields) == 5 + 8 * int(fields[4])
    return fields[5::8]


@pytest.mark.parametrize(
    ("requested", "first", "last", "count"),
    [
        # one trade date back from the one that has begun last; regular hours of Monday so far
        ({"end": "", "duration": "1 D"}, "03-02 14:30", "03-02 16:59", 150),
        ({"end": "", "duration": "2 D"}, "02-27 14:30", "03-02 16:59", 540),
        ({"end": "20260227 21:00:00 UTC", "duration": "1 D"}, "02-27 14:30", "02-27 20:59", 390),
        ({"end": "20260301-12:00:00", "duration": "1 D"}, "02-27 14:30", "02-27 20:59", 390),
        ({"end": "20260227 21:00:00 UTC", "duration": "1 D", "rth": 0}, "02-27 09:00", "02-27 20:59", 720),
        ({"end": "20260227 21:00:00 UTC", "duration": "1 W"}, "02-23 14:30", "02-27 20:59", 1950),
        ({"end": "20260302 15:00:00 UTC", "duration": "1800 S"}, "03-02 14:30", "03-02 14:59", 30),
        ({"end": "20260302 10:00:00 US/Eastern", "duration": "60 S"}, "03-02 14:59", "03-02 14:59", 1),
        ({"end": "20260302 15:00:00 UTC", "duration": "1 D", "size": "5 mins"}, "03-02 14:30", "03-02 14:55", 6),
    ],
)
def test_windows_of_intraday_bars(requested, first, last, count):
    async def work():
        async with gateway() as (sim, _):
            dates = await bars(await RawClient.start(sim.port), **requested)
            assert (utc(dates[0]), utc(dates[-1]), len(dates)) == (first, last, count)

    asyncio.run(work())


@pytest.mark.parametrize(
    ("requested", "dates"),
    [
        ({"size": "1 day", "duration": "3 D"}, ["20260226", "20260227", "20260302"]),
        ({"size": "1 day", "duration": "1 W"}, ["20260224", "20260225", "20260226", "20260227", "20260302"]),
        # a week is labelled by its last trading day, the forming one by today
        ({"size": "1 week", "duration": "2 W"}, ["20260220", "20260227", "20260302"]),
        ({"size": "1 month", "duration": "3 M"}, ["20251231", "20260130", "20260227", "20260302"]),
    ],
)
def test_bars_of_a_day_and_more_count_trade_dates_and_are_labelled_with_them(requested, dates):
    async def work():
        async with gateway() as (sim, _):
            client = await RawClient.start(sim.port)
            assert await bars(client, end="", **requested) == dates

    asyncio.run(work())


def test_a_currency_counts_its_trade_date_from_the_evening_before():
    async def work():
        async with gateway() as (sim, _):
            client = await RawClient.start(sim.port)
            dates = await bars(client, 1, EURUSD, end="", duration="1 D", what="MIDPOINT", size="1 hour")
            assert utc(dates[0]) == "03-01 22:15"
            client.ask_bars(2, EURUSD, end="", duration="60 S", what="MIDPOINT", size="1 min")
            fields = await client.message(17)
            assert fields[10:13] == ["-1", "-1", "-1"]

    asyncio.run(work())


@pytest.mark.parametrize(
    ("contract", "requested", "code", "text"),
    [
        (AAPL, {"size": "1 sec"}, 321, "bar size setting is invalid"),
        (AAPL, {"duration": "1D"}, 321, "duration"),
        (AAPL, {"duration": "400 D"}, 321, "must be made in years"),
        (AAPL, {"what": "LAST"}, 321, "What to show"),
        (AAPL, {"end": "2026-03-02"}, 10314, "End Date/Time"),
        (AAPL, {"size": "1 secs", "duration": "1 D"}, 162, "invalid step"),
        (AAPL, {"end": "20260301-12:00:00", "duration": "60 S"}, 162, "HMDS query returned no data: AAPL@SMART Trades"),
        (AAPL, {"end": "20250302-12:00:00", "duration": "60 S", "size": "5 secs"}, 162, "no data"),
        (AAPL, {"what": "ADJUSTED_LAST"}, 321, "End Date/Time"),
        (AAPL, {"what": "AGGTRADES"}, 10299, "TRADES"),
        (AAPL, {"what": "SCHEDULE"}, 10295, "daily"),
        (AAPL, {"live": 1}, 321, "End Date/Time"),
        (AAPL, {"live": 1, "end": "", "what": "BID_ASK"}, 321, "TRADES, MIDPOINT"),
        (EURUSD, {}, 162, "HMDS query returned no data: EUR.USD@IDEALPRO Trades"),
        (SPX, {"what": "MIDPOINT"}, 162, "No historical market data"),
        (BTC, {"what": "TRADES"}, 10299, "AGGTRADES"),
        (ES_FRONT, {}, 10339, "continuous"),
        ((*AAPL[:1], "NOSUCH", *AAPL[2:]), {}, 200, "No security definition"),
        (("0", "ES", *ES_MARCH[2:3], "", *ES_MARCH[4:]), {}, 200, "ambiguous"),
        ((*ES_MARCH[:3], "202312", *ES_MARCH[4:]), {}, 200, "No security definition"),
    ],
)
def test_refusals_have_the_code_and_the_words_of_ib_and_come_alone(contract, requested, code, text):
    async def work():
        async with gateway() as (sim, _):
            client = await RawClient.start(sim.port)
            client.ask_bars(9, contract, **requested)
            answer = await client.error()
            assert answer[:2] == (9, code)
            assert text in answer[2]
            assert await client.quiet(0.02)

    asyncio.run(work())


def test_a_time_without_a_zone_is_login_time_and_warned_about():
    async def work():
        async with gateway() as (sim, _):
            client = await RawClient.start(sim.port)
            client.ask_bars(3, end="20260302 10:00:00", duration="60 S")
            assert (await client.error())[:2] == (3, 2174)
            assert utc((await client.message(17))[5]) == "03-02 14:59"

    asyncio.run(work())


def test_the_old_table_of_steps_by_a_switch():
    async def work():
        async with gateway(steps="old") as (sim, _):
            client = await RawClient.start(sim.port)
            client.ask_bars(1, duration="1 W")
            assert (await client.error())[:2] == (1, 162)

    asyncio.run(work())


def test_small_bars_are_paced_on_the_virtual_clock_and_longer_ones_are_not():
    async def work():
        async with gateway() as (sim, control):
            client = await RawClient.start(sim.port)
            codes = []
            for request_id in range(6):
                client.ask_bars(request_id, end=f"20260302 15:0{request_id}:00 UTC", size="5 secs", duration="60 S")
                fields = await client.until(lambda each: each[0] in ("17", "4"))
                codes.append(fields[0] if fields[0] == "17" else fields[3] + fields[4])
            assert codes[:5] == ["17"] * 5
            assert (
                codes[5] == "162Historical Market Data Service error message:Historical data request pacing violation"
            )
            await control.run("advance 2.1")
            client.ask_bars(7, end="20260302 15:00:00 UTC", size="5 secs", duration="60 S")
            assert "pacing" in (await client.error())[2]  # the same as the first within fifteen seconds
            await control.run("advance 15")
            await bars(client, 8, end="20260302 15:00:00 UTC", size="5 secs", duration="60 S")
            for request_id in range(20, 30):
                await bars(client, request_id, duration="60 S")

    asyncio.run(work())


def test_sixty_in_ten_minutes_over_all_clients_with_head_timestamps():
    async def work():
        async with gateway() as (sim, control):
            clients = [await RawClient.start(sim.port, each) for each in (1, 2)]
            for number in range(60):
                client = clients[number % 2]
                client.send(87, number, *AAPL, 0, number % 2, "TRADES", 1)
                opened = "20040102-14:30:00" if number % 2 else "20040102-09:00:00"
                assert (await client.message(88))[1:] == [str(number), opened]
                client.send(90, number)
                await control.run("advance 8")
            clients[0].send(87, 99, *AAPL, 0, 1, "BID", 2)
            assert "pacing" in (await clients[0].error())[2]
            await control.run("advance 121")
            clients[0].send(87, 99, *AAPL, 0, 1, "BID", 2)
            assert (await clients[0].message(88))[1] == "99"

    asyncio.run(work())


def test_who_asks_for_more_than_a_frame_can_hold_is_dropped():
    async def work():
        async with gateway(longest_answer_bytes=10_000) as (sim, _):
            client, other = await RawClient.start(sim.port, 1), await RawClient.start(sim.port, 2)
            client.ask_bars(1, duration="2 D")
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await client.message(17)
            assert len(await bars(other)) == 30

    asyncio.run(work())


def test_fifty_requests_may_be_open_and_a_cancel_frees_a_place():
    async def work():
        async with gateway(lines=1000) as (sim, control):
            client = await RawClient.start(sim.port)
            await control.run("latency 5000")
            for request_id in range(51):
                client.ask_bars(request_id)
            assert (await client.error())[:2] == (50, 322)
            client.ask_bars(7)
            assert (await client.error())[:2] == (7, 386)
            client.send(25, 1, 7)
            assert await client.error() == (
                7,
                162,
                "Historical Market Data Service error message:API historical data query cancelled: 7",
            )
            client.send(25, 1, 7)
            assert (await client.error())[1] == 366
            client.ask_bars(52)
            await client.settle()
            await control.run("advance 5")
            answered = {(await client.message(17))[1] for _ in range(50)}
            assert answered == {str(each) for each in (*range(50), 52)} - {"7"}

    asyncio.run(work())


def test_the_schedule_names_sessions_in_the_zone_of_the_instrument():
    async def work():
        async with gateway() as (sim, _):
            client = await RawClient.start(sim.port)
            client.ask_bars(4, end="20251128 22:00:00 UTC", size="1 day", duration="2 D", what="SCHEDULE")
            assert await client.message(106) == [
                *["106", "4", "20251126-09:30:00", "20251128-13:00:00", "US/Eastern", "2"],
                *["20251126-09:30:00", "20251126-16:00:00", "20251126"],
                *["20251128-09:30:00", "20251128-13:00:00", "20251128"],
            ]

    asyncio.run(work())


def test_one_minute_bars_make_the_hour():
    async def work():
        async with gateway() as (sim, _):
            client = await RawClient.start(sim.port)
            client.ask_bars(1, end="20260302 16:00:00 UTC", duration="3600 S")
            minutes = (await client.message(17))[5:]
            client.ask_bars(2, end="20260302 16:00:00 UTC", duration="3600 S", size="1 hour")
            hour = (await client.message(17))[5:]
            columns = [[float(value) for value in minutes[at::8]] for at in range(8)]
            assert [float(value) for value in hour[1:5]] == [
                columns[1][0],
                max(columns[2]),
                min(columns[3]),
                columns[4][-1],
            ]
            assert float(hour[5]) == sum(columns[5])

    asyncio.run(work())


def test_the_forming_bar_is_kept_up_to_date_and_closed_by_its_last_state():
    async def work():
        async with gateway(start_ns=MONDAY_NOON_NS + 10**9) as (sim, control):
            client = await RawClient.start(sim.port)
            client.ask_bars(5, end="", duration="1800 S", live=1)
            assert utc((await client.message(17))[-8]) == "03-02 17:00"
            await control.run("advance 64")
            updates = [await client.message(90)]
            while updates[-1][3] == updates[0][3]:
                updates.append(await client.message(90))
            assert int(updates[-1][3]) - int(updates[0][3]) == 60
            assert len({tuple(update) for update in updates}) == len(updates) > 10
            closed = updates[-2]
            client.ask_bars(6, end="20260302 17:01:00 UTC", duration="60 S")
            bar = (await client.message(17))[5:]
            # 90 orders its prices open, close, high, low, and its wap before its volume
            assert [closed[at] for at in (3, 4, 6, 7, 5, 9, 8, 2)] == bar
            client.send(25, 1, 5)
            assert (await client.error())[1] == 162

    asyncio.run(work())


def test_live_updates_die_with_their_farm_and_have_to_be_cancelled_first():
    async def work():
        async with gateway() as (sim, control):
            client = await RawClient.start(sim.port)
            client.ask_bars(5, end="", live=1)
            await client.message(17)
            await control.run("farm_down ushmds")
            assert (await client.message(4))[3:5] == ["2105", "HMDS data farm connection is broken:ushmds"]
            await control.run("advance 2")
            assert (await client.error())[:2] == (5, 10182)
            await control.run("farm_up ushmds")
            client.ask_bars(6, end="", live=1)
            assert (await client.error())[:2] == (6, 162)
            client.send(25, 1, 5)
            assert (await client.error())[:2] == (5, 162)
            client.ask_bars(7, end="", live=1)
            assert (await client.message(17))[1] == "7"

    asyncio.run(work())


@pytest.mark.parametrize(("what", "message"), [("MIDPOINT", 96), ("BID_ASK", 97), ("TRADES", 98)])
def test_historical_ticks_of_one_session(what, message):
    async def work():
        async with gateway() as (sim, _):
            client = await RawClient.start(sim.port)
            client.send(96, 1, *AAPL, 0, "", "20260301 12:00:00 UTC", 20, what, 1, 0, "")
            fields = await client.message(message)
            assert int(fields[2]) >= 20
            assert fields[-1] == "1"
            width = {96: 4, 97: 6, 98: 6}[message]
            times = [int(each) for each in fields[3:-1:width]]
            assert times == sorted(times)
            assert utc(times[-1]) == "02-27 20:59"
            client.send(96, 2, *AAPL, 0, "20260302 12:00:00 UTC", "20260302 13:00:00 UTC", 20, what, 1, 0, "")
            assert (await client.error())[:2] == (2, 321)
            client.send(96, 3, *AAPL, 0, "20260302 12:00:00 UTC", "", 2000, what, 1, 0, "")
            assert (await client.error())[:2] == (3, 321)

    asyncio.run(work())


@pytest.mark.parametrize("what", ["HISTORICAL_VOLATILITY", "OPTION_IMPLIED_VOLATILITY", "FEE_RATE", "YIELD_LAST"])
def test_kinds_that_are_not_served_are_documented_and_answered_with_no_data(what):
    document = Path(__file__).parents[3] / "docs" / "simulator.md"
    assert what in document.read_text().partition("are not served")[0]

    async def ask():
        async with gateway() as (sim, _):
            client = await RawClient.start(sim.port)
            client.ask_bars(1, what=what, size="1 day", duration="5 D")
            return await client.error()

    number, code, text = asyncio.run(ask())
    assert (number, code) == (1, 162)
    assert text.endswith(f"HMDS query returned no data: AAPL@SMART {what.title()}")
