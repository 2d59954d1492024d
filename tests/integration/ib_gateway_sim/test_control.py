"""Faults and clock by the control port, as a client sees them."""

import asyncio
import json
import shutil
import signal
import subprocess
import sys

import pytest

from tests.support.sim_client import AAPL, MONDAY_NOON_NS, RawClient, gateway, refusal
from tests.support.sim_process import ROOT, simulator


async def do(control, line):
    answer = await control.run(line)
    assert answer["ok"], answer
    return answer


def test_the_process_says_where_it_listens_and_ends_cleanly():
    with simulator("--seed", "9", "--clock", "rate:50", "--start", "2026-03-02T15:00:00Z") as sim:
        assert sim.ready.keys() == {"event", "host", "port", "control_port", "account"}
        assert sim.ready["account"] == "SIM9"
        clock = sim.command("clock")
        assert (clock["rate"], clock["mode"]) == (50.0, "rate")
        assert 0 <= clock["now_ns"] - 1_772_463_600 * 10**9 < 600 * 10**9
        assert "farm_down <farm>" in sim.command("help")["commands"]
        sim.process.send_signal(signal.SIGINT)
        assert sim.process.wait(10) == 0


def test_the_folder_runs_alone_on_the_standard_library(tmp_path):
    shutil.copytree(ROOT / "ib_gateway_sim", tmp_path / "ib_gateway_sim")
    # -S leaves site-packages out, -E the environment.
    command = [sys.executable, "-S", "-E", "-m", "ib_gateway_sim", "--port", "0"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        port = json.loads(process.stdout.readline())["port"]

        async def work():
            client = await RawClient.start(port)
            client.ask_bars(1, end="20260227 21:00:00 UTC")
            assert int((await client.message(17))[4]) == 30
            client.close()
            await client.writer.wait_closed()

        asyncio.run(work())
    finally:
        process.terminate()
        assert process.wait(10) == 0
        process.stdout.close()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--port", "70000"], "0 to 65535"),
        (["--latency", "slow"], "none, measured"),
        (["--clock", "fast"], "real, rate:<factor>, stepped"),
        (["--clock", "rate:0"], "rate:<above 0>"),
        (["--start", "2026-03-02"], "RFC 3339"),
        (["--replay", "nothing.csv"], "--replay-symbol"),
        (["--stamp", "middle"], "'open', 'close'"),
        (["--login-zone", "Mars"], "--login-zone"),
        (["--max-version", "200"], "157 to 178"),
        (["--scenario", "nothing.txt"], "nothing.txt"),
    ],
)
def test_a_wrong_argument_is_named_with_what_is_allowed(options, named):
    command = [sys.executable, "-m", "ib_gateway_sim", "--port", "0", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20)
    assert done.returncode == 2
    assert options[0] in done.stderr or options[0][2:] in done.stderr
    assert named in done.stderr
    assert "Traceback" not in done.stderr


def test_words_and_json_are_the_same_command():
    async def work():
        async with gateway() as (sim, control):
            await control.listen(0)
            reader, writer = await asyncio.open_connection("127.0.0.1", control.port)
            for line in ("advance 5", '{"cmd": "advance", "seconds": 5}'):
                writer.write(line.encode() + b"\n")
                assert json.loads(await reader.readline())["ok"]
            assert sim.clock.now_ns() == MONDAY_NOON_NS + 10 * 10**9
            writer.close()

    asyncio.run(work())


def test_a_browser_gets_nowhere():
    async def work():
        async with gateway() as (sim, control):
            await control.listen(0)
            reader, writer = await asyncio.open_connection("127.0.0.1", control.port)
            writer.write(b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\nadvance 5\n")
            assert await reader.read() == b""
            writer.close()
            assert sim.clock.now_ns() == MONDAY_NOON_NS

    asyncio.run(work())


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("", "help"),
        ("dance", "advance"),
        ("advance", "advance <seconds>"),
        ("advance -1", "0 to"),
        ("advance nan", "0 to"),
        ("set_clock yesterday", "RFC 3339"),
        ("farm_down nowhere", "ushmds"),
        ("silent 1 reqNothing", "reqHistoricalData"),
        ("received bars", "reqHistoricalData"),
        ("history_error what", "no_permission"),
        ("drop 99", "nobody"),
        ("latency fast", "measured"),
        ("accept maybe", "refuse"),
        ("scenario /nowhere", "readable"),
        ("restart_daily 25:00", "HH:MM"),
        ('{"cmd": "advance", "minutes": 5}', "advance <seconds>"),
        ('{"cmd"', "JSON"),
        ('"unfinished', "words"),
        ("[1]", "allowed"),
    ],
)
def test_a_wrong_command_says_what_is_allowed(line, reason):
    assert reason in asyncio.run(refusal(line))


def test_what_was_received_is_told_with_kind_fields_and_market_time():
    async def work():
        async with gateway() as (sim, control):
            client = await RawClient.start(sim.port, 3)
            await do(control, "advance 7")
            client.ask_bars(4)
            await client.message(17)
            answer = await do(control, "received reqHistoricalData")
            assert answer["count"] == 1
            (entry,) = answer["received"]
            assert (entry["client_id"], entry["time_ns"]) == (3, MONDAY_NOON_NS + 7 * 10**9)
            assert (entry["fields"]["symbol"], entry["fields"]["duration"]) == ("AAPL", "1800 S")
            other = await RawClient.start(sim.port, 4)
            other.ask_bars(4)
            await other.message(17)
            for line, count in (("", 2), (" 9 0 3", 1), (" 9 0 4", 1), (" 9 0 5", 0), (" 9 0 all", 2)):
                assert (await do(control, f"received reqHistoricalData{line}"))["count"] == count
            everything = (await do(control, "received all 1000 0 4"))["received"]
            assert {entry["client_id"] for entry in everything} == {4}
            assert "client_id 'x'; allowed: a whole number" in (await control.run("received all 9 0 x"))["error"]
            await do(control, "forget")
            assert (await do(control, "received"))["count"] == 0

    asyncio.run(work())


def test_latency_runs_on_the_stepped_clock():
    async def work():
        async with gateway() as (sim, control):
            client = await RawClient.start(sim.port)
            await do(control, "latency 500")
            client.ask_bars(1)
            client.ask_details(2)
            await client.settle()
            await do(control, "advance 0.4")
            assert await client.quiet(0.02)
            await do(control, "advance 0.2")
            assert {(await client.read())[0] for _ in range(3)} == {"17", "10", "52"}
            await do(control, "latency measured")
            client.ask_bars(3, duration="2 W")
            await client.settle()
            await do(control, "advance 5.9")
            assert await client.quiet(0.02)
            await do(control, "advance 0.1")
            assert (await client.message(17))[1] == "3"

    asyncio.run(work())


def test_slow_and_crawling_answers():
    async def work():
        async with gateway() as (sim, control):
            client = await RawClient.start(sim.port)
            await do(control, "latency 1000")
            await do(control, "slow 3")
            client.ask_bars(1)
            await client.settle()
            await do(control, "advance 2.9")
            assert await client.quiet(0.02)
            await do(control, "advance 0.2")
            await client.message(17)
            await do(control, "slow 1")
            await do(control, "crawl 2 10")
            for request_id in (1, 2, 3):
                client.ask_bars(request_id, duration=f"{request_id * 60} S")
            await client.settle()
            await do(control, "advance 1.1")
            assert {(await client.message(17))[1] for _ in range(2)} == {"1", "2"}
            assert await client.quiet(0.02)
            await do(control, "advance 9")
            assert (await client.message(17))[1] == "3"

    asyncio.run(work())


def test_silent_pacing_and_chosen_refusals_hit_as_many_requests_as_said():
    async def work():
        async with gateway() as (sim, control):
            client = await RawClient.start(sim.port)
            await do(control, "silent 1")
            await do(control, "pacing 1")
            await do(control, "history_error no_permission 1")
            await do(control, "reject_next reqContractDetails 10314 'no such day'")
            for request_id in (1, 2, 3, 4):
                client.ask_bars(request_id)
            client.ask_details(5)
            client.ask_details(6)
            client.ask_bars(1)
            client.send(25, 1, 1)
            errors = [await client.error() for _ in range(4)]
            assert [error[:2] for error in errors] == [(2, 162), (3, 162), (5, 10314), (1, 386)]
            assert errors[0][2].endswith("Historical data request pacing violation")
            assert errors[1][2].endswith("No market data permissions for SMART STK")
            assert await client.error() == (
                1,
                162,
                "Historical Market Data Service error message:API historical data query cancelled: 1",
            )
            seen = [await client.read() for _ in range(3)]
            assert sorted(fields[0] for fields in seen) == ["10", "17", "52"]
            assert await client.quiet(0.02)

    asyncio.run(work())


def test_short_and_duplicate_answers():
    async def work():
        async with gateway() as (sim, control):
            client = await RawClient.start(sim.port)
            await do(control, "short")
            await do(control, "duplicate")
            client.ask_bars(1, end="20260227 21:00:00 UTC", duration="4 D")
            first, second = await client.message(17), await client.message(17)
            assert first == second
            assert int(first[4]) == 2 * 390
            client.ask_bars(2, end="20260227 21:00:00 UTC", duration="4 D")
            assert int((await client.message(17))[4]) == 4 * 390

    asyncio.run(work())


def test_death_in_the_middle_of_a_frame():
    async def work():
        async with gateway() as (sim, control):
            client = await RawClient.start(sim.port)
            await do(control, "cut")
            client.ask_bars(1)
            with pytest.raises(asyncio.IncompleteReadError) as caught:
                await client.message(17)
            assert len(caught.value.partial) > 100

    asyncio.run(work())


def test_drop_and_half_open_sockets():
    async def work():
        async with gateway() as (sim, control):
            one, two = await RawClient.start(sim.port, 1), await RawClient.start(sim.port, 2)
            await do(control, "half_open 1")
            one.send(49, 1)
            assert await one.quiet(0.03)
            assert (await do(control, "drop 2"))["dropped"] == 1
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await two.read()

    asyncio.run(work())


def test_a_restart_drops_everybody_and_the_port_is_closed_for_a_while():
    async def work():
        async with gateway() as (sim, control):
            client = await RawClient.start(sim.port)
            await do(control, "restart 60")
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await client.read()
            with pytest.raises(ConnectionRefusedError):
                await RawClient.open(sim.port)
            await do(control, "advance 61")
            await RawClient.start(sim.port)
            await do(control, "login_needed close")
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await RawClient.open(sim.port)
            await do(control, "login")
            await RawClient.start(sim.port)
            await do(control, "accept mute")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await RawClient.open(sim.port)

    asyncio.run(work())


@pytest.mark.parametrize("line", ["restart 60 mute", "login_needed close", "drop"])
@pytest.mark.parametrize("greeted", [True, False])
def test_a_connection_that_has_not_signed_in_is_dropped_like_all_others(line, greeted):
    async def work():
        async with gateway() as (sim, control):
            if greeted:
                client = await RawClient.open(sim.port)
            else:
                client = RawClient(*await asyncio.open_connection("127.0.0.1", sim.port))
                while not control.server.connected():
                    await asyncio.sleep(0)
            await do(control, line)
            if not greeted:
                client.writer.write(b"API\0\0\0\0\x09v157..178")
            client.send(71, 2, 1, "")
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await client.read()
            assert not sim.clients

    asyncio.run(work())


def test_a_connection_that_has_not_signed_in_becomes_half_open_like_all_others():
    async def work():
        async with gateway() as (sim, control):
            client = await RawClient.open(sim.port)
            assert (await do(control, "half_open"))["muted"] == 1
            client.send(71, 2, 1, "")
            assert await client.quiet()
            assert not sim.clients

    asyncio.run(work())


def test_a_client_that_greets_after_half_open_is_heard():
    async def work():
        async with gateway() as (sim, control):
            await do(control, "half_open")
            await RawClient.start(sim.port)

    asyncio.run(work())


def test_the_nightly_restart_comes_at_its_hour_every_day():
    async def work():
        async with gateway() as (sim, control):
            answer = await do(control, "restart_daily 23:45 120")
            assert answer["next_ns"] == MONDAY_NOON_NS + int(11.75 * 3600) * 10**9
            for _ in range(2):
                client = await RawClient.start(sim.port)
                await do(control, "advance 42240")
                await client.settle()
                await do(control, "advance 120")
                with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                    await client.read()
                await do(control, "advance 44040")

    asyncio.run(work())


def test_a_restart_is_no_login_and_clear_forgets_what_was_to_come():
    async def work():
        async with gateway() as (sim, control):
            await do(control, "restart 60 refuse")
            await do(control, "login_needed close")
            await do(control, "advance 61")
            assert sim.faults.accepting == "close"
            await do(control, "login")
            assert sim.faults.accepting == "yes"
            await do(control, "restart_daily 23:45")
            await do(control, "farm_flap ushmds 60")
            await do(control, "clear")
            await do(control, "farm_down ushmds")
            await do(control, "advance 200000")
            assert sim.faults.accepting == "yes"
            assert sim.faults.farms["ushmds"].state == "broken"

    asyncio.run(work())


def test_the_reset_window_breaks_farms_holds_requests_and_ends_with_1102():
    async def work():
        async with gateway() as (sim, control):
            client = await RawClient.start(sim.port)
            await do(control, "reset_window 90")
            codes = [(await client.message(4))[3] for _ in range(len(sim.faults.farms) + 1)]
            assert codes == ["2103"] * 6 + ["2105"] * 3 + ["2157", "1100"]
            client.ask_bars(1)
            client.ask_details(2)
            assert (await client.error())[:2] == (2, 200)  # false, as in a real outage
            await do(control, "advance 80")
            assert await client.quiet(0.02)
            await do(control, "advance 11")
            assert (await client.message(4))[3] == "1102"
            assert (await client.message(17))[1] == "1"

    asyncio.run(work())


def test_a_market_data_farm_flaps():
    async def work():
        async with gateway() as (sim, control):
            client = await RawClient.start(sim.port)
            await do(control, "farm_flap usfarm 3")
            await do(control, "farm_inactive ushmds")
            await asyncio.sleep(0)
            await do(control, "advance 4")
            notices = [await client.read() for _ in range(4)]
            assert [fields[3] for fields in notices] == ["2103", "2107", "2119", "2104"]
            client.ask_bars(1)
            assert (await client.message(17))[1] == "1"

    asyncio.run(work())


def test_1101_kills_subscriptions_without_a_word_and_1102_does_not():
    async def work():
        async with gateway() as (sim, control):
            client = await RawClient.start(sim.port)
            client.send(1, 11, 7, *AAPL, 0, "", 0, 0, "")
            await client.message(45)
            for data, lives in (("maintained", True), ("lost", False)):
                await do(control, "lost")
                await do(control, f"restored {data}")
                await client.message(4)
                await client.message(4)
                await do(control, "advance 5")
                assert await client.quiet(0.02) is not lives
                await client.settle()

    asyncio.run(work())


def test_a_competing_session_takes_the_data_away():
    async def work():
        async with gateway() as (sim, control):
            client = await RawClient.start(sim.port)
            client.send(1, 11, 7, *AAPL, 0, "", 0, 0, "")
            await client.message(45)
            await do(control, "competing on")
            assert (await client.error())[:2] == (7, 10197)
            client.ask_bars(8)
            assert "different IP address" in (await client.error())[2]
            await do(control, "competing off")
            client.ask_bars(9)
            assert (await client.message(17))[1] == "9"

    asyncio.run(work())


def test_a_scenario_plays_its_lines_at_their_times(tmp_path):
    path = tmp_path / "flap.txt"
    path.write_text("# a flap\n10 farm_down ushmds\n\n12.5 farm_up ushmds\n20 notice 2100 'hello there'\n")

    async def work():
        async with gateway() as (sim, control):
            client = await RawClient.start(sim.port)
            assert (await do(control, f"scenario {path}"))["steps"] == 3
            await asyncio.sleep(0)
            await do(control, "advance 9")
            assert await client.quiet(0.02)
            await do(control, "advance 2")
            assert (await client.read())[3] == "2105"
            await do(control, "advance 2")
            assert (await client.read())[3] == "2106"
            await do(control, "advance 10")
            assert (await client.read())[3:5] == ["2100", "hello there"]
            path.write_text("soon farm_down ushmds")
            assert not (await control.run(f"scenario {path}"))["ok"]
            path.write_text("1 farm_sideways ushmds")
            assert not (await control.run(f"scenario {path}"))["ok"]

    asyncio.run(work())


SILENT = {  # kind of request -> its fields after the id, what cancels it
    "reqMktData": ((1, 11), (*AAPL, 0, "", 0, 0, ""), (2, 1)),
    "reqRealTimeBars": ((50, 3), (*AAPL, 5, "TRADES", 0, ""), (51, 1)),
    "reqTickByTickData": ((97,), (*AAPL, "Last", 0, 0), (98,)),
    "reqMktDepth": ((10, 5), (*AAPL, 5, 0, ""), (11, 1)),
    "reqHeadTimestamp": ((87,), (*AAPL, 0, 0, "TRADES", 2), (90,)),
}


@pytest.mark.parametrize("kind", SILENT)
def test_a_request_that_is_never_answered_holds_its_id_and_is_cancelled_as_any_other(kind):
    head, rest, cancel = SILENT[kind]

    async def work():
        async with gateway() as (sim, control):
            client = await RawClient.start(sim.port)
            await do(control, f"silent 2 {kind}")
            client.send(*head, 5, *rest)
            client.send(*head, 5, *rest)  # the id is in use, which is said, though the next request is silent too
            assert (await client.error())[0] == 5
            await do(control, "advance 30")
            assert len(sim.clients[1].jobs) == 1
            assert await client.quiet()
            client.send(*cancel, 5, *([0] if kind == "reqMktDepth" else []))
            client.send(49, 1)
            assert (await client.read())[0] == "49"  # no error: there was something to cancel
            assert len(sim.clients[1].jobs) == 0
            assert not sim.clients[1].open_heads

    asyncio.run(work())


def test_a_silent_request_holds_its_market_data_line():
    async def work():
        async with gateway() as (sim, control):
            client = await RawClient.start(sim.port)
            await do(control, "take_lines 99")
            head, rest, cancel = SILENT["reqMktData"]
            await do(control, "silent 1 reqMktData")
            client.send(*head, 5, *rest)
            client.send(*head, 6, *rest)
            assert (await client.error())[:2] == (6, 101)
            client.send(*cancel, 5)
            client.send(*head, 7, *rest)
            assert (await client.message(58))[2] == "7"

    asyncio.run(work())


def test_the_cancel_of_a_history_that_was_silent_once_ends_all_of_its_id():
    async def work():
        async with gateway() as (sim, control):
            client = await RawClient.start(sim.port)
            await do(control, "latency 250")
            client.ask_bars(5, end="", live=1, rth=0)
            await client.settle()
            await do(control, "silent 1")
            client.ask_bars(5)
            assert (await client.error())[:2] == (5, 386)
            await do(control, "advance 3")
            client.send(25, 1, 5)
            await client.settle()
            await do(control, "advance 30")
            assert await client.quiet()

    asyncio.run(work())
