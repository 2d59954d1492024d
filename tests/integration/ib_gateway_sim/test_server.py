"""The gateway over a socket: greeting, versions, several clients, wrong and hostile ones."""

import asyncio
import gc
import os

import pytest

from ib_gateway_sim.wire import codec
from tests.support.sim_client import AAPL, RawClient, gateway


@pytest.mark.parametrize(
    ("offer", "version"), [("v157..176", 176), ("v157..178", 178), ("v100..157", 157), ("v100..225 +PACEAPI", 178)]
)
def test_the_greeting_is_answered_with_the_common_version_and_then_there_is_silence(offer, version):
    async def work():
        async with gateway() as (sim, _):
            client = await RawClient.open(sim.port, offer)
            assert client.version == version
            assert await client.quiet()
            client.send(71, 2, 0, "")
            assert await client.read() == ["15", "1", "SIM7"]
            assert await client.read() == ["9", "1", "1"]
            codes = [(await client.read())[3] for _ in sim.faults.farms]
            assert codes == ["2104"] * 6 + ["2106"] * 3 + ["2158"]
            client.close()

    asyncio.run(work())


@pytest.mark.parametrize("offer", ["v100..156", "v179..225"])
def test_a_client_without_a_common_version_is_closed(offer):
    async def work():
        async with gateway() as (sim, _):
            with pytest.raises(asyncio.IncompleteReadError):
                await RawClient.open(sim.port, offer)

    asyncio.run(work())


def test_a_client_id_in_use_is_326_and_the_end_of_the_second_only():
    async def work():
        async with gateway() as (sim, control):
            first = await RawClient.start(sim.port, 5)
            second = await RawClient.open(sim.port)
            second.send(71, 2, 5, "")
            assert (await second.read())[3] == "326"
            with pytest.raises(asyncio.IncompleteReadError):
                await second.read()
            first.send(49, 1)
            assert await first.message(49) == ["49", "1", "1772470800"]
            await control.run("hold_ids 20")
            first.close()
            while sim.clients:
                await asyncio.sleep(0.001)
            third = await RawClient.open(sim.port)
            third.send(71, 2, 5, "")
            assert (await third.read())[3] == "326"
            await control.run("advance 21")
            await RawClient.start(sim.port, 5)

    asyncio.run(work())


# Positions in contractDetails, of AAPL, at each side of a switch of layouts.
@pytest.mark.parametrize(("version", "request_at", "exchanges_at"), [(163, 2, 18), (164, 1, 16), (178, 1, 16)])
def test_contract_details_change_their_layout_at_164(version, request_at, exchanges_at):
    async def work():
        async with gateway() as (sim, _):
            client = await RawClient.start(sim.port, versions=f"v157..{version}")
            client.ask_details(31)
            fields = await client.message(10)
            assert fields[request_at] == "31"
            assert fields[request_at + 1 : request_at + 3] == ["AAPL", "STK"]
            assert fields[exchanges_at].startswith("SMART,")
            assert await client.message(52) == ["52", "1", "31"]
            client.close()

    asyncio.run(work())


@pytest.mark.parametrize(("version", "count"), [(165, 5), (166, 6)])
def test_errors_carry_one_field_more_from_166_on(version, count):
    async def work():
        async with gateway() as (sim, _):
            client = await RawClient.start(sim.port, versions=f"v157..{version}")
            client.ask_details(3, (*AAPL[:1], "NOSUCH", *AAPL[2:]))
            fields = await client.message(4)
            assert fields[2:4] == ["3", "200"]
            assert len(fields) == count

    asyncio.run(work())


@pytest.mark.parametrize(("version", "per_symbol"), [(175, 7), (176, 9)])
def test_matching_symbols_are_described_from_176_on(version, per_symbol):
    async def work():
        async with gateway() as (sim, _):
            client = await RawClient.start(sim.port, versions=f"v157..{version}")
            client.send(81, 4, "AAPL")
            fields = await client.message(79)
            derivatives = int(fields[8])
            assert fields[1:3] == ["4", "1"]
            assert len(fields) == 3 + per_symbol - 1 + derivatives

    asyncio.run(work())


@pytest.mark.parametrize(("version", "lots"), [(174, 100), (175, 1)])
def test_volumes_of_us_stocks_come_in_lots_below_175(version, lots):
    async def work():
        async with gateway() as (sim, _):
            client = await RawClient.start(sim.port, versions=f"v157..{version}")
            client.ask_bars(1)
            shares = await asyncio.to_thread(_first_volume, sim)
            assert int((await client.message(17))[10]) == shares // lots

    asyncio.run(work())


def _first_volume(sim):
    from ib_gateway_sim.market.contracts import ContractQuery

    now_s = sim.clock.now_s()
    (aapl,) = sim.market.find(ContractQuery(symbol="AAPL", sec_type="STK", exchange="SMART", currency="USD"), now_s)
    start_s = 1_772_463_600 - 1800
    return sim.market.bars(aapl, "1m", "TRADES", rth=True, start_s=start_s, end_s=start_s + 60, now_s=now_s)[0].volume


@pytest.mark.parametrize(("version", "text"), [(173, "20260302  09:30:00"), (174, "20260302 09:30:00 US/Eastern")])
def test_text_dates_have_a_zone_from_174_on(version, text):
    async def work():
        async with gateway() as (sim, _):
            client = await RawClient.start(sim.port, versions=f"v157..{version}")
            client.ask_bars(1, format_date=1)
            fields = await client.message(17)
            assert fields[1:5] == ["1", text, text.replace("09:30", "10:00"), "30"]
            assert fields[5] == text

    asyncio.run(work())


def test_a_message_that_cannot_be_read_is_320_and_the_client_goes_on():
    async def work():
        async with gateway() as (sim, _):
            client = await RawClient.start(sim.port)
            client.send(20, 8, "conId")
            client.send("nonsense")
            client.send(100, 9)
            client.send(49, 1)
            assert (await client.error())[:2] == (8, 320)
            assert (await client.message(4))[2:4] == ["-1", "320"]
            assert (await client.error())[:2] == (9, 320)
            assert (await client.message(49))[0] == "49"

    asyncio.run(work())


def test_what_there_is_nothing_of_is_said_in_ibs_codes():
    async def work():
        async with gateway() as (sim, _):
            client = await RawClient.start(sim.port)
            client.send(52, 2, 1, 0, "AAPL", "STK", "SMART", "", "USD", "", "ReportSnapshot", 0, "")
            assert (await client.error())[:2] == (1, 430)
            client.send(22, 2, 10, "STK", "STK.US.MAJOR", "TOP_PERC_GAIN")
            assert (await client.error())[:2] == (2, 165)
            assert await client.message(20) == ["20", "3", "2", "0"]
            for code in (162, 365):
                client.send(23, 1, 2)
                assert (await client.error())[:2] == (2, code)
            client.send(86, 3, 265598, "BRFG", "", "", 10, "")
            assert await client.message(87) == ["87", "3", "0"]

    asyncio.run(work())


def test_old_clients_are_warned_of_fractions_and_get_whole_numbers():
    async def work():
        async with gateway() as (sim, _):
            client = await RawClient.start(sim.port, versions="v100..157")
            bitcoin = ("0", "BTC", "CRYPTO", "", "0.0", "", "", "PAXOS", "", "USD", "", "")
            client.ask_bars(1, bitcoin, what="AGGTRADES", rth=0, size="1 hour", duration="1 D")
            assert (await client.error())[:2] == (1, 2176)
            fields = await client.message(17)
            assert all(volume.isdecimal() for volume in fields[10::8])

    asyncio.run(work())


def test_requests_before_start_api_end_the_connection():
    async def work():
        async with gateway() as (sim, _):
            client = await RawClient.open(sim.port)
            client.send(49, 1)
            with pytest.raises(asyncio.IncompleteReadError):
                await client.read()

    asyncio.run(work())


def test_byte_by_byte_is_as_good_as_whole():
    async def work():
        async with gateway() as (sim, _):
            client = await RawClient.start(sim.port)
            for byte in codec.frame(49, 1) + codec.frame(17, 1):
                client.writer.write(bytes([byte]))
                await client.writer.drain()
                await asyncio.sleep(0)
            assert (await client.read())[0] == "49"
            assert (await client.read())[0] == "15"

    asyncio.run(work())


@pytest.mark.parametrize(
    "hostile",
    [
        b"\xff" * 100,
        b"API\0\xff\xff\xff\xff",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"API\0\0\0\0\x09v157..178" + b"\xff\xff\xff\xff",
        b"API\0\0\0\0\x09v157..178" + (1 << 20).to_bytes(4, "big") + b"x" * (1 << 19) + b"\0" * (1 << 20),
        os.urandom(5000),
    ],
)
def test_a_hostile_client_is_dropped_and_the_others_go_on(hostile):
    async def work():
        async with gateway() as (sim, _):
            good = await RawClient.start(sim.port, 1)
            reader, writer = await asyncio.open_connection("127.0.0.1", sim.port)
            writer.write(hostile)
            async with asyncio.timeout(5):
                try:
                    while await reader.read(1 << 16):
                        pass
                except ConnectionError:
                    pass
            writer.close()
            good.send(49, 1)
            assert (await good.message(49))[0] == "49"
            assert list(sim.clients) == [1]

    asyncio.run(work())


def test_a_thousand_connections_do_not_keep_a_client_out():
    async def work():
        async with gateway() as (sim, control):
            good = await RawClient.start(sim.port, 1)
            connections = [await asyncio.open_connection("127.0.0.1", sim.port) for _ in range(1000)]
            good.send(49, 1)
            assert (await good.message(49))[0] == "49"
            late = await RawClient.start(sim.port, 2)
            late.send(49, 1)
            assert (await late.message(49))[0] == "49"
            assert len(control.server.connected()) <= 64 + 2
            for _, writer in connections:
                writer.transport.abort()

    asyncio.run(work())


def test_thirty_two_clients_and_no_more():
    async def work():
        async with gateway() as (sim, _):
            clients = [await RawClient.start(sim.port, each) for each in range(32)]
            with pytest.raises(asyncio.IncompleteReadError):
                await RawClient.open(sim.port)
            clients[0].close()
            while len(sim.clients) == 32:
                await asyncio.sleep(0.001)
            await RawClient.start(sim.port, 40)

    asyncio.run(work())


def test_a_client_that_does_not_read_is_dropped_before_it_fills_the_memory():
    async def work():
        async with gateway(slow_reader_bytes=200_000) as (sim, _):
            client = await RawClient.start(sim.port)
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            for _ in range(100):  # the machine's socket buffers hold some megabytes
                sim.broadcast(2104, "x" * 500_000)
                await asyncio.sleep(0)
            assert not sim.clients or next(iter(sim.clients.values())).gone

    asyncio.run(work())


def test_no_burst_ends_where_the_official_client_would_lose_it():
    async def work():
        async with gateway() as (sim, _):
            client = await RawClient.start(sim.port)
            plain = len(codec.frame(4, 2, -1, 2100, "", ""))
            sim.broadcast(2100, "x" * (4096 - plain))
            assert (await client.read())[3] == "2100"
            assert (await client.read())[3] == "2158"
            sim.broadcast(2100, "x" * (4095 - plain))
            assert (await client.read())[3] == "2100"
            assert await client.quiet(0.02)

    asyncio.run(work())


def test_above_the_message_rate_requests_wait_their_turn():
    async def work():
        async with gateway() as (sim, control):
            client = await RawClient.start(sim.port)
            for _ in range(60):
                client.send(49, 1)
            times = [int((await client.message(49))[2]) for _ in range(49)]  # startApi was the first of the fifty
            assert set(times) == {1772470800}
            assert await client.quiet()
            await control.run("advance 1")
            assert [int((await client.message(49))[2]) for _ in range(11)] == [1772470801] * 11

    asyncio.run(work())


def test_a_client_that_goes_while_its_messages_wait_frees_its_id():
    async def work():
        async with gateway() as (sim, _):
            client = await RawClient.start(sim.port)
            for _ in range(500):
                client.send(49, 1)
            await client.message(49)
            client.close()
            async with asyncio.timeout(5):
                while sim.clients:
                    await asyncio.sleep(0.001)
            await RawClient.start(sim.port)

    asyncio.run(work())


def test_in_reject_mode_the_third_violation_is_the_end():
    async def work():
        async with gateway(reject_rate=True) as (sim, _):
            client = await RawClient.start(sim.port)
            for _ in range(60):
                client.send(49, 1)
            codes = [(await client.message(4))[3] for _ in range(3)]
            assert codes == ["100"] * 3
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await client.read()

    asyncio.run(work())


def test_a_simulator_that_ends_while_messages_wait_leaves_no_read_behind():
    """asyncio tells of an error that nobody has looked at when its task is thrown away."""
    problems = []

    async def work(client_goes):
        asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context["message"]))
        async with gateway(clock="stepped", lines=4) as (sim, _):
            client = await RawClient.start(sim.port)
            for _ in range(20):
                client.send(49, 1)
            await client.message(49)
            await asyncio.sleep(0)
            if client_goes:
                client.writer.transport.abort()
        for _ in range(10):
            await asyncio.sleep(0)
        gc.collect()

    for client_goes in (True, False):
        asyncio.run(work(client_goes))
        gc.collect()
    assert problems == []
