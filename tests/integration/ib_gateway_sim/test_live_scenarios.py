"""Every scenario of live data is played beside streams that begin well, and does what it says."""

import asyncio

import pytest

from tests.integration.ib_gateway_sim.test_live_outages import ask_bars, ask_quotes, keep_up, spoken, streams_and_codes
from tests.support.live_readers import do, folded, watched
from tests.support.sim_client import AAPL, EURUSD, RawClient, gateway
from tests.support.sim_process import ROOT

FOLDER = ROOT / "ib_gateway_sim" / "scenarios" / "live"
SUNDAY_NS = 1_772_406_000 * 10**9  # 2026-03-01 23:00 UTC
BARS, LIVE, QUOTES, OTHERS = 1, 2, 3, 4
"""Streams of AAPL, and bars of 5 seconds of EUR/USD."""
ALL = {BARS, LIVE, QUOTES, OTHERS}
# Scenario -> the streams that speak in the three minutes after its first ten, and codes that were told meanwhile.
ENDS: dict[str, tuple[set[int], set[int]]] = {
    "hmds_flap": (ALL - {LIVE}, {2105, 10182, 2106}),
    "data_farm_flap_dead": ({LIVE, OTHERS}, {2103, 2119, 2104}),
    "mute_after_1102": (set(), {1100, 1102, 10182}),
    "healthy_after_1102": (ALL - {LIVE}, {1100, 1102, 10182}),
    "lost_data_1101": (set(), {1100, 1101, 10182}),
    "competing_session": (set(), {10197}),
    "half_open_socket": (set(), set()),
    "bust": ({QUOTES, OTHERS}, {10225}),
    "lines_taken_by_tws": (ALL, set()),
    "revised_minute": (ALL, set()),
    "live_differs": (ALL, set()),
    "thin_day": (ALL, set()),
    "one_stream_mute": (ALL - {BARS}, set()),
    "permission_lost": (ALL, set()),
}


def test_each_scenario_of_the_folder_is_played():
    there = {path.stem for path in FOLDER.glob("*.txt")}
    assert there == set(ENDS) | {"nightly_restart", "week"}
    page = (ROOT / "docs" / "simulator.md").read_text(encoding="utf-8")
    assert [name for name in sorted(there) if f"`{name}`" not in page] == []


async def overheard(client, control, seconds):
    """As `streams_and_codes`, on a socket that answers nothing any more."""
    await do(control, f"advance {seconds}")
    messages = []
    while True:
        try:
            messages.append(await client.read(0.2))
        except TimeoutError:
            return spoken(messages)


async def play(control, name):
    await do(control, f"scenario {FOLDER / name}.txt")


@pytest.mark.parametrize(("name", "streams", "codes"), [(name, *ends) for name, ends in ENDS.items()])
def test_a_scenario_does_what_it_says(name, streams, codes, capsys):
    async def work():
        async with gateway() as (sim, control):
            client = await RawClient.start(sim.port)
            ask_bars(client, BARS)
            await keep_up(client, LIVE)
            ask_quotes(client, QUOTES)
            ask_bars(client, OTHERS, EURUSD, "MIDPOINT")
            await client.settle()
            await play(control, name)
            if name == "half_open_socket":
                assert (await streams_and_codes(client, control, 50))[0] == ALL
                assert (await overheard(client, control, 20))[0] == ALL, "before the socket died"
                spoke, came = await overheard(client, control, 600)
                assert (spoke, set(came)) == (streams, codes)
                assert not client.reader.at_eof(), "nobody said that it is over"
                return
            spoke, came = await streams_and_codes(client, control, 30)
            assert spoke == ALL
            assert not came
            assert set((await streams_and_codes(client, control, 570))[1]) == codes
            assert (await streams_and_codes(client, control, 180))[0] == streams

    asyncio.run(work())
    assert capsys.readouterr().err == ""


def test_the_nightly_restart_refuses_for_two_minutes(capsys):
    async def work():
        async with gateway() as (sim, control):
            client = await RawClient.start(sim.port)
            ask_bars(client, 1)
            await client.settle()
            await play(control, "nightly_restart")
            port = sim.port
            await do(control, "advance 61")
            with pytest.raises(OSError, match=r".*"):
                await RawClient.start(port)
            await do(control, "advance 130")
            again = await RawClient.start(port)
            assert await streams_and_codes(again, control) == (set(), []), "nothing comes unasked"

    asyncio.run(work())
    assert capsys.readouterr().err == ""


def test_live_minutes_differ_where_the_scenario_says_so(capsys):
    async def work():
        async with gateway() as (sim, control):
            client = await RawClient.start(sim.port)
            await play(control, "live_differs")
            await do(control, "advance 1")
            seen = await watched(sim, control, client, contract=AAPL)
            whole = {t: each for t, each in folded(seen.parts).items() if t in seen.history}
            assert len(whole) >= 4
            assert all(whole[t] != seen.history[t] for t in whole)

    asyncio.run(work())
    assert capsys.readouterr().err == ""


def test_the_week_is_played_to_its_end(capsys):
    async def work():
        async with gateway(start_ns=SUNDAY_NS) as (sim, control):
            await play(control, "week")
            await do(control, "advance 400000")
            live = (await do(control, "weather"))["live"]
            assert live["late"]["all"]["share"] == 0.05
            assert sum(map(len, sim.revisions.made.values())) == 3 + 2 + 1
            await do(control, "advance 30000")
            assert not any((await do(control, "weather"))["live"].values())

    asyncio.run(work())
    assert capsys.readouterr().err == ""
