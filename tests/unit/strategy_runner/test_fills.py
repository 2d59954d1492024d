"""Where a back-test's orders fill, and what they cost: never better than the market would have."""

import pytest

from tests.support.strategy_runner import (
    DAY,
    FUTURE,
    MINUTE,
    NS,
    OPEN,
    PAIR,
    STOCK,
    backtest,
    chunk,
    chunks_of,
    columns,
    minutes,
    needs_engine,
    scripted,
    series_of,
)

pytestmark = needs_engine
CLOSES = [101.50, 102.50, 103.00, 104.00]
OPENS = [101.00, 102.00, 102.40, 103.10]
DELAY = 300_000_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return scripted(tmp_path_factory.mktemp("strategies"))


def run(folder, chunks, wanted, **start):
    return backtest(chunks, folder=folder, template="scripted", parameters={"wanted": wanted}, **start)


def test_an_order_fills_at_the_next_open_also_after_the_night(folder):
    night = minutes([108.5, 109.0], [107.0, 108.6], since=OPEN + DAY)
    done = run(folder, [chunk(minutes(CLOSES, OPENS)), chunk(night)], {1: 100, 4: 0, 6: 50})
    assert done.fills == [
        ("BUY", "100", "102.00", OPEN + MINUTE, OPEN + MINUTE + DELAY),
        ("SELL", "100", "107.00", OPEN + 4 * MINUTE, OPEN + DAY + DELAY),
    ]
    # No bar opens after the last decision: its order is left open, and no price of the past fills it.
    assert done.one("result")["positions"] == []
    assert [one["reason"] for one in done.of("order") if one["kind"] == "expired"] == ["the bars end"]


def test_an_order_may_fill_at_the_close_that_it_follows_from(folder):
    done = run(folder, [chunk(minutes(CLOSES, OPENS))], {1: 100, 3: 0}, fill="close")
    assert done.fills == [
        ("BUY", "100", "101.50", OPEN + MINUTE, OPEN + MINUTE),
        ("SELL", "100", "103.00", OPEN + 3 * MINUTE, OPEN + 3 * MINUTE),
    ]


@pytest.mark.parametrize("volume", [None, 0.0])
def test_bars_without_volume_are_traded_on_and_the_result_says_so(folder, volume):
    bars = [(*bar[:6], volume) for bar in minutes(CLOSES, OPENS)]
    done = run(folder, [chunk(bars)], {1: 100_000}, fill="close")
    assert done.fills == [("BUY", "100000", "101.50", OPEN + MINUTE, OPEN + MINUTE)]
    assert any("volume" in one for one in done.one("result")["not_simulated"])
    with_volume = run(folder, [chunk(minutes(CLOSES, OPENS))], {1: 100}, fill="close")
    assert not any("volume" in one for one in with_volume.one("result")["not_simulated"])


@pytest.mark.parametrize("listened", ["BID", "ASK"])
@pytest.mark.parametrize("fill", ["close", "next_open"])
def test_bid_and_ask_of_one_minute_are_both_there_before_a_strategy_acts(folder, listened, fill):
    """Otherwise it buys at the ask of a minute ago."""
    bids, asks = minutes([1.1, 1.1001, 1.1002]), minutes([1.1002, 1.1003, 1.1004])
    kinds = [listened, "ASK" if listened == "BID" else "BID"]
    sides = {"BID": bids, "ASK": asks}
    done = run(
        folder,
        [chunks_of([columns(sides[kind], n) for n, kind in enumerate(kinds)])],
        {2: 1_000, 3: 0} if fill == "close" else {1: 1_000, 2: 0},
        fill=fill,
        instruments=[PAIR],
        series=series_of(PAIR["con_id"], *kinds),
    )
    prices = [one[2] for one in done.fills]
    assert prices == (["1.100300", "1.100200"] if fill == "close" else ["1.100200", "1.100100"])


def test_half_ticks_are_not_rounded(folder):
    bids, asks = minutes([1.121775, 1.121775]), minutes([1.121825, 1.121825])
    done = run(
        folder,
        [chunks_of([columns(bids), columns(asks, 1)])],
        {1: 1_000},
        fill="close",
        instruments=[PAIR],
        series=series_of(PAIR["con_id"], "BID", "ASK"),
    )
    assert [one[2] for one in done.fills] == ["1.121825"]


def test_a_daily_bar_closes_when_the_host_says_so(folder):
    """With the close of its last session, never with its date label and 24 hours."""
    hours = 390 * MINUTE
    bars = [(OPEN + n * DAY, OPEN + n * DAY + hours, 100 + n, 101 + n, 99 + n, 100.5 + n, 1e6) for n in range(3)]
    done = run(folder, [chunk(bars)], {1: 10}, series=series_of(STOCK["con_id"], "TRADES", timeframe="1d"))
    assert done.fills == [("BUY", "10", "101.00", OPEN + hours, OPEN + DAY + DELAY)]


def test_the_minimum_of_a_commission_is_paid_once_per_order(folder):
    """An order of two executions: the volume of a bar does not suffice for it."""
    bars = [(*bar[:6], 400.0) for bar in minutes(CLOSES, OPENS)]
    done = run(folder, [chunk(bars)], {1: 150, 2: 1_150}, fill="close")
    charged = [(one["quantity"], one["commission"]) for one in done.of("fill")]
    assert len(charged) > 2
    orders: dict[str, list[float]] = {}
    for one in done.of("fill"):
        orders.setdefault(one["client_order_id"], []).append(float(one["commission"]))
    assert [round(sum(one), 2) for one in orders.values()] == [1.00, 5.00]


def test_a_future_counts_its_multiplier(folder):
    bars = minutes([5000.0, 5000.0, 5002.0, 5002.0])
    done = run(
        folder,
        [chunk(bars)],
        {1: 2, 3: 0},
        fill="close",
        instruments=[FUTURE],
        series=series_of(FUTURE["con_id"], "TRADES"),
        equity_points=10,
        bars_total=4,
    )
    assert [one["commission"] for one in done.of("fill")] == ["4.50", "4.50"]
    assert float(done.of("equity")[-1]["cash"]) == 100_000 + 2 * 50 * 2 - 9


def test_instruments_of_two_venues_share_one_account(folder):
    other = STOCK | {"con_id": 756733, "instrument_id": "SPY.ARCA", "exchange": "ARCA", "symbol": "SPY"}
    bars = minutes([100.0, 100.0, 110.0, 110.0])
    done = run(
        folder,
        [chunks_of([columns(bars), columns(bars, 1)])],
        {1: 100},
        instruments=[STOCK, other],
        series=[*series_of(STOCK["con_id"], "TRADES"), *series_of(other["con_id"], "TRADES", first=1)],
        equity_points=100,
        fill="close",
    )
    assert [one["con_id"] for one in done.of("fill")] == [STOCK["con_id"]]
    assert float(done.of("equity")[-1]["cash"]) == 100_000 - 1


def test_a_target_is_reached_by_one_order_and_reversed_by_one(folder):
    bars = minutes([100.0 + n for n in range(8)])
    done = run(folder, [chunk(bars)], {1: 100, 2: 100, 3: -50, 5: -20, 6: 0}, fill="close")
    assert [one[:2] for one in done.fills] == [("BUY", "100"), ("SELL", "150"), ("BUY", "30"), ("BUY", "20")]
    assert NS < MINUTE
