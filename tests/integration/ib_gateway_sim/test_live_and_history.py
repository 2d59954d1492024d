"""Live bars that differ from history, and history that changes: each fault beside a client that does not expect it."""

import asyncio
import datetime as dt
import functools
import re

import ib_insync
import pytest

from ib_gateway_sim.market.generated.market import Market
from tests.support.live_readers import NOON_S, Candle, candle, do, folded, watch, watched
from tests.support.sim_client import AAPL, EURUSD, RawClient, gateway, refusal
from tests.support.sim_process import ROOT

PAGE = (ROOT / "docs" / "simulator.md").read_text(encoding="utf-8")
THIN = ("0", "THIN", *AAPL[2:])


def prices(candles):
    return {t: each[1:5] for t, each in candles.items()}


def volumes(candles):
    return {t: each.volume for t, each in candles.items()}


def within(candles, history):
    return {t: each for t, each in candles.items() if t in history}


@functools.cache
def without_fault(**options):
    return asyncio.run(watch(**options))


@pytest.mark.parametrize(("contract", "what"), [(AAPL, "TRADES"), (EURUSD, "MIDPOINT")])
def test_without_a_fault_whoever_believes_live_bars_is_right(contract, what):
    """The reading that is found wrong below; here it has to be right, or it would prove nothing."""
    seen = without_fault(contract=contract, what=what)
    assert prices(within(folded(seen.parts), seen.history)) == prices(seen.history)
    assert within(seen.kept, seen.history) == seen.history
    if what == "TRADES":
        assert folded(seen.parts) == seen.history


@pytest.mark.parametrize(
    ("contract", "what", "line"),
    [
        (AAPL, "TRADES", "late AAPL 0.2"),
        (AAPL, "TRADES", "late AAPL 0.2 20"),
        (AAPL, "TRADES", "late AAPL 0.2 20 own"),
        (AAPL, "TRADES", "late all 0.2"),
        (EURUSD, "MIDPOINT", "late EUR/USD 0.5"),
        (EURUSD, "BID", "late EUR/USD 0.5 7"),
    ],
)
def test_trades_that_come_late_make_whoever_believes_live_bars_wrong(contract, what, line):
    fair = without_fault(contract=contract, what=what)
    seen = asyncio.run(watch(line, contract=contract, what=what))
    again = asyncio.run(watch(line, contract=contract, what=what))
    assert seen == again, "the same seed and the same command: the same bars"
    assert seen.history == fair.history, "history is what it was"
    wrong = within(folded(seen.parts), seen.history)
    assert sum(each != seen.history[t] for t, each in wrong.items()) >= len(seen.history) // 2
    if "own" in line:
        # The careful reader takes each update for the bar that it names. The last bars may lack what is to come.
        right = {t: each for t, each in seen.history.items() if t < max(seen.history)}
        assert within(seen.kept, right) == right
    else:
        assert within(seen.kept, seen.history) != seen.history


@pytest.mark.parametrize(
    "lines",
    [
        ["late MSFT 0.5"],
        ["late AAPL 0.5", "late AAPL 0"],
        ["odd_lots AAPL", "odd_lots AAPL 0"],
        ["step_volume AAPL", "step_volume AAPL off"],
        ["missing_bars AAPL 1", "missing_bars AAPL 0"],
        ["late all 0.5", "odd_lots all", "step_volume all", "missing_bars all 1", "clear"],
    ],
)
def test_faults_of_another_symbol_and_those_that_were_ended_change_nothing(lines):
    seen = asyncio.run(watch(*lines))
    assert folded(seen.parts) == seen.history


def test_late_trades_count_in_the_bar_in_which_they_come():
    """Nothing is lost but what is still to come, so a quarter of an hour has nearly history's volume."""
    seen = asyncio.run(watch("late AAPL 0.5 30", seconds=900))
    live, history = (sum(volumes(each).values()) for each in (folded(seen.parts), seen.history))
    assert 0 < history - live < history / 15
    never = asyncio.run(watch("late AAPL 0.5", seconds=900))
    assert sum(volumes(folded(never.parts)).values()) == pytest.approx(history / 2, rel=0.1)


def test_a_bar_that_is_told_again_is_lost_on_a_library_that_looks_at_the_newest_only():
    """ib_insync drops updates of bars before its last one, so its list stays wrong; whoever reads messages is right."""

    async def work():
        async with gateway() as (sim, control):
            ib = ib_insync.IB()
            await ib.connectAsync("127.0.0.1", sim.port, clientId=9)
            raw = await RawClient.start(sim.port)
            await do(control, "late AAPL 0.3 20 own")
            apple = ib_insync.Stock("AAPL", "SMART", "USD")
            bars = await ib.reqHistoricalDataAsync(
                apple, "", "1800 S", "1 min", "TRADES", useRTH=True, formatDate=2, keepUpToDate=True
            )
            seen = await watched(sim, control, raw, seconds=300)
            right = {t: each.volume for t, each in seen.history.items() if t < max(seen.history)}
            await asyncio.wait_for(ib.reqCurrentTimeAsync(), 5)  # everything before it has been read
            library = {int(bar.date.timestamp()): bar.volume for bar in bars if isinstance(bar.date, dt.datetime)}
            assert {t: seen.kept[t].volume for t in right} == right
            assert {t: library[t] * 100 for t in right} != pytest.approx(right, rel=1e-3)
            ib.disconnect()

    asyncio.run(work())


def test_odd_lots_make_live_volume_larger_than_history():
    fair = without_fault()
    seen = asyncio.run(watch("odd_lots AAPL 0.2"))
    live = folded(seen.parts)
    assert seen.history == fair.history
    assert prices(live) == prices(seen.history)
    assert all(live[t].volume > each.volume for t, each in seen.history.items())
    assert sum(volumes(live).values()) == pytest.approx(1.2 * sum(volumes(seen.history).values()), rel=0.05)
    assert all(each.volume > seen.history[t].volume for t, each in within(seen.kept, seen.history).items())


def test_volume_in_steps_is_right_over_half_an_hour_and_wrong_in_every_minute():
    fair = without_fault(seconds=1800)
    seen = asyncio.run(watch("step_volume AAPL", seconds=1800))
    live = folded(seen.parts)
    assert seen.history == fair.history
    assert prices(live) == prices(seen.history)
    wrong = [t for t, each in seen.history.items() if live[t].volume != each.volume]
    assert len(wrong) >= 28
    total = sum(volumes(seen.history).values())
    assert abs(sum(volumes(live).values()) - total) < total / 30
    assert sum(part.volume <= 1 for part in seen.parts) > len(seen.parts) / 2


def test_missing_bars_make_a_minute_that_looks_whole_wrong():
    seen = asyncio.run(watch("missing_bars AAPL 0.1", seconds=1800))
    fair = without_fault(seconds=1800)
    assert seen.history == fair.history
    live = folded(seen.parts)
    parts = {t: sum(part.t // 60 * 60 == t for part in seen.parts) for t in seen.history}
    lacking = {t for t in seen.history if parts[t] < 12}
    assert 5 <= len(lacking) < 30
    assert {t for t in seen.history if live.get(t) != seen.history[t]} == lacking, "counting the parts tells which"
    assert set(seen.history) - set(seen.kept), "whole minutes of keepUpToDate are silent"


def test_thin_trades_that_come_late_make_minutes_that_history_lacks():
    seen = asyncio.run(watch("late THIN 1 60", contract=THIN, seconds=7200, duration="2 D"))
    real = {t: each for t, each in seen.history.items() if each.volume > 0}
    live = folded([part for part in seen.parts if part.volume > 0])
    assert real
    assert live
    assert set(live) - set(real), "to be withdrawn"


async def bars_of(client, request_id, **other):
    """Bars as history tells them now: start -> the bar."""
    client.ask_bars(request_id, **other)
    fields = await client.message(17)
    return {each.t: each for each in (candle(*fields[at : at + 6]) for at in range(5, len(fields), 8))}


def test_a_live_minute_that_differs_from_history_and_its_revision():
    """Three truths of one minute: live, history when it closed, history after it was revised. Nobody says so."""

    async def work():
        async with gateway() as (sim, control):
            client = await RawClient.start(sim.port)
            await do(control, "late AAPL 0.2")
            seen = await watched(sim, control, client, seconds=120)
            minute = NOON_S + 60
            first = seen.history[minute]
            assert seen.kept[minute] != first
            assert first.volume > seen.kept[minute].volume
            (answered,) = (await do(control, "revise AAPL"))["minutes"]
            assert await client.quiet(), "no message tells of it"
            again = (await bars_of(client, 7, end="", duration="120 S"))[minute]
            assert answered["t"] == minute
            assert (first.volume, first.close) == (answered["was"]["volume"], answered["was"]["close"])
            assert again == Candle(minute, *(answered["now"][name] for name in Candle._fields[1:]))
            assert again != first, "who keeps the first answer is wrong"
            assert (again.close, again.volume) != (first.close, first.volume)
            shown = re.findall(r"open ([\d.]+) high ([\d.]+) low ([\d.]+) close ([\d.]+) volume ([\d,]+)", PAGE)
            documented = [Candle(minute, *(float(each.replace(",", "")) for each in row)) for row in shown]
            assert [seen.kept[minute], first, again] == documented
            # the forming minute of the stream, and the stream itself, know nothing of it
            await do(control, "advance 10")
            update = await client.message(90)
            assert int(update[3]) == minute + 60

    asyncio.run(work())


SIZES = ("5 secs", "30 secs", "1 min", "5 mins", "15 mins", "1 hour", "1 day")


@pytest.mark.parametrize("rth", [1, 0])
def test_a_revision_is_the_same_in_bars_of_every_size(rth):
    async def work():
        async with gateway() as (sim, control):
            client = await RawClient.start(sim.port)
            before, after = {}, {}
            for number, size in enumerate(SIZES):
                spans = {"duration": "1 D", "size": size, "end": "", "rth": rth}
                before[size] = await bars_of(client, number, **spans)
            await do(control, "revise AAPL 3")
            await do(control, "revise AAPL")
            for number, size in enumerate(SIZES):
                spans = {"duration": "1 D", "size": size, "end": "20260302 17:00:00 UTC", "rth": rth}
                after[size] = await bars_of(client, 50 + number, **spans)
            changed = [each for t, each in after["1 min"].items() if each != before["1 min"][t]]
            assert [each.t for each in changed] == [NOON_S - 180, NOON_S - 120, NOON_S - 60]
            whole = folded_all(after["1 min"])
            for size in SIZES:
                same = folded_all(after[size])
                assert same[2:] == whole[2:], size
                if size.endswith(("mins", "hour")):
                    for t, bar in after[size].items():
                        following = min((each for each in after[size] if each > t), default=NOON_S)
                        minutes = {at: each for at, each in after["1 min"].items() if t <= at < following}
                        assert bar == folded_all(minutes), size
                new = {t for t, each in after[size].items() if each != before[size][t]}
                assert 1 <= len(new) <= 3, size

    asyncio.run(work())


def folded_all(bars):
    several = list(bars.values())
    return Candle(
        several[0].t,
        several[0].open,
        max(each.high for each in several),
        min(each.low for each in several),
        several[-1].close,
        sum(each.volume for each in several),
    )


def test_a_revision_stays_when_the_faults_are_cleared_and_is_that_of_its_seed():
    async def work():
        async with gateway() as (sim, control):
            client = await RawClient.start(sim.port)
            old = await bars_of(client, 1, end="", duration="300 S")
            answered = await do(control, "revise AAPL 2")
            await do(control, "clear")
            new = await bars_of(client, 2, end="", duration="300 S")
            assert new != old
            return answered, new

    assert asyncio.run(work()) == asyncio.run(work())


def test_the_last_minutes_of_a_closed_market_are_those_of_its_last_session():
    async def work():
        async with gateway(start_ns=(NOON_S - 24 * 3600) * 10**9) as (_, control):  # a Sunday
            minutes = (await do(control, "revise SPX 2"))["minutes"]
            assert [each["t"] for each in minutes] == [1_772_225_880, 1_772_225_940]  # to Friday's close
            assert all(each["was"]["volume"] == each["now"]["volume"] == 0 for each in minutes)
            assert all(each["was"] != each["now"] for each in minutes)

    asyncio.run(work())


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("late NOSUCH 0.1", "symbol 'NOSUCH'"),
        ("late AAPL 2", "share '2'; allowed: a number from 0 to 1"),
        ("late AAPL 0.1 -1", "seconds"),
        ("late AAPL 0.1 5 later", "into 'later'; allowed: forming, own"),
        ("odd_lots AAPL 11", "share"),
        ("step_volume AAPL maybe", "on 'maybe'; allowed: on, off"),
        ("missing_bars AAPL 1.5", "share"),
        ("revise AAPL 0", "n '0'; allowed: a whole number from 1"),
        ("revise all", "symbol 'all'"),
        ("revise NOSUCH", "symbol"),
    ],
)
def test_what_a_fault_of_live_data_does_not_allow_is_named(line, reason):
    assert reason in asyncio.run(refusal(line))


def test_what_is_set_is_told_and_cleared():
    async def work():
        async with gateway() as (sim, control):
            await do(control, "late EUR/USD 0.5 3")
            answered = (await do(control, "weather"))["live"]
            assert answered["late"]["EUR/USD"]["seconds"] == 3
            await do(control, "clear")
            assert not any((await do(control, "weather"))["live"].values())
            assert isinstance(sim.market, Market)

    asyncio.run(work())
