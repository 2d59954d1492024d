"""Options of the simulator, each with a client that reckons with the default alone, and with one that looks."""

import asyncio
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from ib_gateway_sim.__main__ import make_settings, parser
from ib_gateway_sim.session.settings import Settings
from tests.support.sim_client import RawClient, gateway
from tests.support.sim_orders import order, played, words

OPENS = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
"""The first of the bars that `ask_bars` asks for."""


@pytest.mark.parametrize(
    ("options", "changed"),
    [
        (["--lines", "40"], {"lines": 40}),
        (["--max-clients", "2"], {"max_clients": 2}),
        (["--reject-rate"], {"reject_rate": True}),
        (["--steps", "old"], {"steps": "old"}),
        (["--login-zone", "UTC"], {"login_zone": "UTC"}),
        (["--date-zone", "utc"], {"date_zone": "utc"}),
        (["--volume", "lots"], {"volume": "lots"}),
        (["--read-only"], {"read_only": True}),
        (["--max-version", "160"], {"max_version": 160}),
        (["--at-close", "end"], {"at_close": "end"}),
        (["--live-slots", "free"], {"live_slots": "free"}),
        (["--rtb-book", "shared"], {"rtb_book": "shared"}),
        (["--lines-by", "contract"], {"lines_by": "contract"}),
        (["--tick-pause", "0"], {"tick_pause": 0.0}),
        (["--empty-live", "stream"], {"empty_live": "stream"}),
        (["--live-cadence", "class"], {"live_cadence": "class"}),
        (["--master-client", "9"], {"master_client": 9}),
        (["--client-zero", "all"], {"client_zero": "all"}),
        (["--gone-clients", "drop"], {"gone_clients": "drop"}),
        (["--halted", "hold"], {"halted": "hold"}),
        (["--children", "partial"], {"children": "partial"}),
        (["--left-children", "stay"], {"left_children": "stay"}),
        (["--twin-cancel", "next"], {"twin_cancel": "next"}),
        (["--modify-cancelled", "104"], {"modify_cancelled": 104}),
        (["--past-gtd", "cancel"], {"past_gtd": "cancel"}),
        (["--refused", "complete"], {"refused": "complete"}),
        (["--price-range", "3"], {"price_range": 3.0}),
        (["--accounts", "2"], {"accounts": 2}),
        ([], {}),
    ],
)
def test_an_option_reaches_its_setting_and_no_other(options, changed):
    assert make_settings(parser().parse_args(options)) == Settings(**changed)


# ---- times -----------------------------------------------------------------------------------------------------------
def spelled(text):
    """When a text date is, by a reader who looks at its zone."""
    if "-" in text:
        return datetime.strptime(text, "%Y%m%d-%H:%M:%S").replace(tzinfo=UTC)
    clock, _, zone = text.rpartition(" ")
    return datetime.strptime(clock, "%Y%m%d %H:%M:%S").replace(tzinfo=ZoneInfo(zone))


@pytest.mark.parametrize(("date_zone", "naive_is_right"), [("instrument", True), ("login", False), ("utc", False)])
def test_text_dates_name_their_zone(date_zone, naive_is_right):
    async def work():
        async with gateway(date_zone=date_zone, login_zone="Europe/Berlin") as (sim, _):
            client = await RawClient.start(sim.port)
            client.ask_bars(1, format_date=1)
            text = (await client.message(17))[5]
            assert spelled(text) == OPENS
            clock = text.replace("-", " ")[:17]  # the naive client reads the clock of the exchange
            naive = datetime.strptime(clock, "%Y%m%d %H:%M:%S").replace(tzinfo=ZoneInfo("America/New_York"))
            assert (naive == OPENS) == naive_is_right

    asyncio.run(work())


@pytest.mark.parametrize(("login_zone", "naive_is_right"), [("US/Eastern", True), ("UTC", False)])
def test_a_time_without_a_zone_is_of_the_login(login_zone, naive_is_right):
    """The naive client means the exchange's clock; the careful one names the zone."""

    async def work():
        async with gateway(login_zone=login_zone) as (sim, _):
            client = await RawClient.start(sim.port)
            client.ask_bars(1, end="20260302 10:00:00")
            naive = await client.until(lambda fields: fields[0] == "17" or fields[3] == "162")
            assert (naive[0] == "17" and int(naive[5]) == OPENS.timestamp()) == naive_is_right
            client.ask_bars(2, end="20260302 10:00:00 US/Eastern")
            careful = await client.message(17)
            assert int(careful[5]) == OPENS.timestamp()

    asyncio.run(work())


@pytest.mark.parametrize("latency", ["none", "60000"])
def test_answers_take_their_time(latency):
    @played()
    async def run(client, sim, control):
        assert (await control.run(f"latency {latency}"))["ok"]
        client.ask_bars(1)
        naive = [
            word for _ in range(20) for word in await words(client)
        ]  # it takes bars for missing that are not there at once
        assert ("17" in naive) == (latency == "none")
        await control.run("advance 60")
        careful = "17" in naive or await client.message(17)
        assert careful

    run()


# ---- units and versions ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("volume", "shares"), [("shares", 1), ("lots", 100)])
def test_volumes_are_shares_or_lots(volume, shares):
    """The naive client takes volumes for shares; the careful one asks which unit they have."""

    async def volumes(**settings):
        async with gateway(**settings) as (sim, control):
            client = await RawClient.start(sim.port)
            client.ask_bars(1)
            reported = float((await client.message(17))[10])
            unit = (await control.run("volume_unit"))["stocks"]
            return reported, reported * {"shares": 1, "lots": 100}[unit]

    truth, _ = asyncio.run(volumes())
    naive, careful = asyncio.run(volumes(volume=volume))
    assert (naive == truth) == (shares == 1)
    assert careful == pytest.approx(truth, abs=shares)


@pytest.mark.parametrize("max_version", [160, 178])
def test_a_gateway_may_be_older_than_its_client(max_version):
    """The naive client reads errors as its own version has them, with a sixth field from 166 on."""

    async def work():
        async with gateway(max_version=max_version) as (sim, control):
            client = await RawClient.start(sim.port)
            await control.run("notice 2100 hello")
            fields = await client.message(4)
            naive, careful = 6, 6 if client.version >= 166 else 5
            assert len(fields) == careful
            assert (len(fields) == naive) == (max_version == 178)

    asyncio.run(work())


@pytest.mark.parametrize("max_clients", [2, 32])
def test_so_many_clients_and_no_more(max_clients):
    """The naive client opens a third connection and waits for the answer to its greeting."""

    async def work():
        async with gateway(max_clients=max_clients) as (sim, _):
            for client_id in (1, 2):
                await RawClient.start(sim.port, client_id)
            if max_clients > 2:
                await RawClient.start(sim.port, 3)
                return
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await RawClient.start(sim.port, 3)

    asyncio.run(work())


# ---- orders ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("master_client", [-1, 9])
def test_a_master_client_hears_of_others_orders(master_client):
    """The naive client takes every order that it hears of for one of its own; the careful one looks whose it is."""

    @played(master_client=master_client)
    async def run(client, sim, control):
        other = await RawClient.start(sim.port, 9)
        order(client, 1, kind="LMT", limit=100, quantity=10)
        await words(client)
        other.send(49, 1)
        answers = []
        while (fields := await other.read())[0] != "49":
            answers.append(fields)
        naive = [fields for fields in answers if fields[0] == "3"]
        careful = [fields for fields in naive if fields[9] == "9"]
        assert careful == []
        assert bool(naive) == (master_client == 9)

    run()


@pytest.mark.parametrize("read_only", [False, True])
def test_a_gateway_may_be_read_only(read_only):
    """The naive client takes what it has sent for placed; the careful one waits for a word."""

    @played(read_only=read_only)
    async def run(client, sim, control):
        order(client, 1, kind="LMT", limit=100, quantity=10)
        answers = await words(client)
        naive, careful, truth = 1, sum(each.startswith("openOrder") for each in answers), len(sim.orders.open_orders())
        assert careful == truth
        assert (naive == truth) == (not read_only)

    run()
