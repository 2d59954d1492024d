"""Silent streams, refused streams, and what history says of a silence."""

import random
from collections import deque
from typing import cast

import pytest

from ib_bridge.live.incidents import LiveIncidents
from ib_bridge.live.probing import lacks
from ib_bridge.live.refusals import Effect, verdict
from ib_bridge.live.streams import FOR_GOOD, Stream, StreamState
from ib_bridge.live.watchdog import Alarm, expect_again, silent, was_right_to_be_silent
from nautilus.live.bars import LiveBar, LiveState
from nautilus.live.folding import LATEST_CLOSE_NS
from nautilus.live.subscriptions import Source
from nautilus.market.bar import Bar
from nautilus.process.transactions import TransactionRunner
from tests.support.markets import MINUTE, S, ns
from tests.unit.ib_bridge.live_streams import minutes, quotes

NOON = ns("2024-03-05 17:00")
MIDNIGHT = ns("2024-03-05 05:00")
OPEN = ns("2024-03-05 14:30")
DAY_S = 390 * 60


def live(stream: Stream, at: int = NOON) -> Stream:
    stream.request, stream.state, stream.last_event_at = 1, StreamState.LIVE, at
    return stream


def alarms(stream: Stream, now: int) -> list[Alarm]:
    return [one.alarm for one in silent([stream], now, 1_000.0)]


def test_a_silent_stream_is_stale_once_and_probed_once() -> None:
    stream = live(minutes())
    assert alarms(stream, NOON + 30 * S) == []
    assert alarms(stream, NOON + 31 * S) == [Alarm.STALE, Alarm.PROBE]
    stream.state, stream.probed = StreamState.STALE, True
    assert alarms(stream, NOON + 500 * S) == []


def test_a_stream_that_seldom_speaks_may_be_silent_for_longer_each_time() -> None:
    stream = live(minutes())
    stream.probed, stream.state = True, StreamState.STALE
    was_right_to_be_silent(stream, NOON + 40 * S)
    stream.state = StreamState.LIVE
    assert alarms(stream, NOON + 79 * S) == []
    assert alarms(stream, NOON + 81 * S)
    slow = live(minutes())
    for n in range(10):
        slow.spoke(NOON + (n - 9) * 20 * S, 0.0)
    assert alarms(slow, NOON + 119 * S) == []
    assert alarms(slow, NOON + 121 * S)


def test_a_bar_that_time_alone_closes_broke_off_where_its_stream_is_lost_or_silent_against_its_habit() -> None:
    steady, slow = live(minutes()), live(minutes())
    for n in range(10):
        steady.spoke(NOON + (n - 9) * 2 * S, 100.0)
        slow.spoke(NOON + (n - 9) * 20 * S, 100.0)
    assert not steady.broke_off(NOON + 10 * S, 110.0)
    assert steady.broke_off(NOON + 11 * S, 111.0)
    assert not steady.broke_off(NOON + 11 * S, 101.0), "what it says is on its way"
    assert not slow.broke_off(NOON + 50 * S, 150.0), "it may have nothing to say"
    slow.lost_at = NOON
    assert slow.broke_off(NOON + S, 101.0)


def arrivals(mean_s: float, until_s: float) -> list[float]:
    """Seconds from the open at which a stream speaks that follows trades: at random, but not within 0.2 s of the last time."""
    source, found = random.Random(7), [0.5]
    while found[-1] < until_s:
        found.append(found[-1] + 0.2 + source.expovariate(1 / (mean_s - 0.2)))
    return found[:-1]


def closed_by_time(times: list[float], until_s: int) -> dict[int, bool]:
    """The minutes that time alone closes, by their ends (s from the open), and whether the stream broke off by then."""
    stream, found, coming = live(minutes(), OPEN), dict[int, bool](), deque(times)
    for end in range(60, until_s + 1, 60):
        over = end + LATEST_CLOSE_NS / S
        while coming and coming[0] <= over:
            at = coming.popleft()
            stream.spoke(OPEN + int(at * S), at)
        if stream.last_event_s < end:
            found[end] = stream.broke_off(OPEN + end * S + LATEST_CLOSE_NS, over)
    return found


@pytest.mark.parametrize("mean_s", [1, 2, 3])
def test_ordinary_quiet_seconds_of_a_stream_that_follows_trades_are_no_break(mean_s: float) -> None:
    found = closed_by_time(arrivals(mean_s, DAY_S), DAY_S)
    assert len(found) > 5
    assert [end for end, broke in found.items() if broke] == []
    assert DAY_S in found, "nothing comes after the close"


@pytest.mark.parametrize("times", [arrivals(1, 1810), arrivals(3, 1810), [*range(1810)], [*range(0, 1810, 5)]])
def test_a_stream_that_stops_for_good_broke_off_in_the_minute_in_which_it_stops(times: list[float]) -> None:
    found = closed_by_time(times, 1920)
    assert [end for end, broke in found.items() if broke] == [1860, 1920]


@pytest.mark.parametrize(("stops_s", "broke"), [(DAY_S, False), (DAY_S - 6, False), (DAY_S - 30, True)])
def test_silence_behind_a_close_is_not_counted(stops_s: int, broke: bool) -> None:
    assert closed_by_time([*range(stops_s)], DAY_S)[DAY_S] is broke


def test_a_closed_market_and_a_clock_that_runs_ahead_raise_no_alarm() -> None:
    assert alarms(live(minutes(), MIDNIGHT), MIDNIGHT + 3_600 * S) == []
    opened = ns("2024-03-05 14:30")
    stream = live(minutes(), opened - 3_600 * S)
    assert alarms(stream, opened + 30 * S) == [], "silence counts from the open"
    stream.last_event_s = 999.0
    assert alarms(stream, opened + 300 * S) == []


def test_quotes_may_be_silent_for_a_minute() -> None:
    assert alarms(live(quotes()), NOON + 60 * S) == []
    assert alarms(live(quotes()), NOON + 61 * S)


def test_after_a_halt_the_stream_should_speak_again() -> None:
    stream = live(minutes(probe_after_ns=FOR_GOOD, probed=True))
    stream.state = StreamState.STALE
    over = NOON + 1_200 * S
    assert alarms(stream, over) == []
    expect_again(stream, over)
    assert alarms(stream, over + 30 * S) == []
    assert alarms(stream, over + 31 * S) == [Alarm.PROBE]


def bar(ts: int, high: float = 2.0, volume: float = 10.0) -> Bar:
    return Bar(ts, 1.0, high, 1.0, 1.5, volume, None, 1)


def seen(ts: int, volume: float = 10.0, *, partial: bool = False) -> LiveBar:
    return LiveBar(ts, 1.0, 2.0, 1.0, 1.5, volume, 1, LiveState.FORMING, partial)


@pytest.mark.parametrize(
    ("bars", "newest", "sent_from", "expected"),
    [
        ([], None, NOON, False),
        ([bar(NOON)], seen(NOON), NOON, False),
        ([bar(NOON), bar(NOON + MINUTE)], seen(NOON), NOON, True),
        ([bar(NOON), bar(NOON + MINUTE)], None, None, True),
        ([bar(NOON), bar(NOON + MINUTE, volume=0)], seen(NOON), NOON, False),
        ([bar(NOON, volume=11)], seen(NOON), NOON, True),
        ([bar(NOON, high=3)], seen(NOON), NOON, True),
        ([bar(NOON - MINUTE, volume=11)], seen(NOON - MINUTE), NOON, True),
        # Its last word came in the minute of which history has a bar: whether that is younger, nobody knows.
        ([bar(NOON, high=3)], seen(NOON, partial=True), NOON - 1, None),
        ([bar(NOON, volume=9)], seen(NOON), NOON, None),
        ([bar(NOON)], seen(NOON + 5 * S), NOON, None),
        ([bar(NOON)], seen(NOON - MINUTE), NOON + S, None),
        ([bar(NOON)], None, NOON + S, None),
        ([bar(NOON)], None, None, None),
        # It was there from the minute's begin on, and told nothing of it.
        ([bar(NOON)], seen(NOON - MINUTE), NOON - 1, True),
        ([bar(NOON - MINUTE)], seen(NOON - MINUTE), NOON - 1, False),
    ],
)
def test_history_has_more_or_it_has_not_or_nobody_can_know(
    bars: list[Bar], newest: LiveBar | None, sent_from: int | None, expected: bool | None
) -> None:
    assert lacks(bars, NOON + 30 * S, newest, sent_from=sent_from, with_volume=True) is expected


def test_equal_prices_of_a_kind_without_volume_prove_nothing() -> None:
    same = bar(NOON)._replace(volume=None)
    assert lacks([same], NOON + 30 * S, seen(NOON)._replace(volume=None), sent_from=NOON, with_volume=False) is None


@pytest.mark.parametrize(
    ("source", "code", "text", "effect", "reason"),
    [
        (Source.MARKET_DATA, 10090, "Part of requested market data is not subscribed.", Effect.NONE, ""),
        (Source.MARKET_DATA, 10167, "Requested market data is not subscribed. Displaying delayed.", Effect.NONE, ""),
        (Source.MARKET_DATA, 2119, "Market data farm is connecting:usfarm", Effect.NONE, ""),
        (Source.MARKET_DATA, 354, "Requested market data is not subscribed.", Effect.BLOCKED, "no_permission"),
        (Source.MARKET_DATA, 10089, "Requires additional subscription for API.", Effect.BLOCKED, "no_permission"),
        (Source.MARKET_DATA, 10168, "Not subscribed. Delayed is not enabled.", Effect.BLOCKED, "no_permission"),
        (Source.MARKET_DATA, 10186, "Not subscribed. Delayed not enabled.", Effect.BLOCKED, "no_permission"),
        (Source.MARKET_DATA, 101, "Max number of tickers has been reached", Effect.BLOCKED, "no_market_data_line_free"),
        (Source.TICK_BY_TICK, 10190, "Max number of tick-by-tick", Effect.BLOCKED, "no_tick_by_tick_stream_free"),
        (Source.TICK_BY_TICK, 10189, "No market data permissions for NYSE STK", Effect.BLOCKED, "no_permission"),
        (Source.REAL_TIME_BARS, 420, "Invalid Real-time Query:pacing violation", Effect.BLOCKED, "real_time_query"),
        (Source.REAL_TIME_BARS, 10225, "Bust event occurred", Effect.BUST, "bust"),
        (Source.KEEP_UP_TO_DATE, 10182, "Failed to request live updates (disconnected).", Effect.LOST, "stream_died"),
        (Source.KEEP_UP_TO_DATE, 322, "Error processing request", Effect.BLOCKED, "no_history_slot_free"),
        (Source.KEEP_UP_TO_DATE, 162, "HMDS query returned no data: A", Effect.BLOCKED, "no_data"),
        (
            Source.KEEP_UP_TO_DATE,
            162,
            "Trading TWS session is connected from a different IP address",
            Effect.COMPETING,
            "",
        ),
        (Source.MARKET_DATA, 10197, "No market data during competing live session", Effect.COMPETING, ""),
        (Source.MARKET_DATA, 99_999, "Something new", Effect.BLOCKED, "unmapped_code"),
    ],
)
def test_each_error_has_its_consequence(source: Source, code: int, text: str, effect: Effect, reason: str) -> None:
    found = verdict(source, code, text, 1)
    assert found.effect is effect
    if reason:
        assert found.reason == reason
    if effect is Effect.BLOCKED:
        assert found.seconds >= 60, "no storm"


def test_an_error_that_passes_is_not_asked_for_without_end() -> None:
    waits = [verdict(Source.KEEP_UP_TO_DATE, 366, "No historical data query found", n) for n in range(1, 6)]
    assert [one.effect for one in waits] == [Effect.LOST] * 4 + [Effect.BLOCKED]
    assert [one.seconds for one in waits] == [10, 20, 30, 40, 300]


def test_what_stays_refused_or_stale_is_an_incident_and_what_passes_is_none() -> None:
    at = [0.0]
    kept = LiveIncidents("b", cast(TransactionRunner, None), None, lambda: at[0])
    refused, stale = quotes(1, state=StreamState.REFUSED, reason="no_permission", code=354), live(minutes(2))
    stale.state = StreamState.STALE
    assert kept.conditions([refused, stale], None) == []
    at[0] = 61.0
    assert [one.code for one in kept.conditions([refused, stale], None)] == ["live-stream-refused"]
    at[0] = 301.0
    found = kept.conditions([refused, stale], 200.0)
    assert {one.code for one in found} == {"live-stream-refused", "live-stream-stale", "bus-down"}
    assert {one.subject for one in found} >= {"data.quotes.NASDAQ.A1", "b"}
    stale.state = StreamState.LIVE
    assert [one.code for one in kept.conditions([stale], None)] == []
