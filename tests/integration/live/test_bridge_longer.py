"""Bars longer than a minute, from the first state to history's word: the sockets' chart beside history's."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from nautilus.clock import rfc3339
from tests.integration.live.test_bridge_bars import AAPL_1D, AAPL_1M, AAPL_5M, NOON, PRICES, differences, history, run
from tests.support.live_stack import LiveStack, live_stack
from tests.support.markets import MINUTE, ns
from tests.support.stack import service_stack

AAPL_1H = "data.bars.AAPL.NASDAQ-1-HOUR-LAST-EXTERNAL"
AAPL_4H = "data.bars.AAPL.NASDAQ-4-HOUR-LAST-EXTERNAL"
THIN_5M = "data.bars.THIN.NASDAQ-5-MINUTE-LAST-EXTERNAL"
Chart = dict[str, dict[str, Any]]


@pytest.fixture
def live(request: pytest.FixtureRequest, servers: SimpleNamespace, dsn: str) -> Iterator[LiveStack]:
    start = getattr(request, "param", "2026-03-02T17:00:00Z")
    stepped = ("--clock", "stepped", "--latency", "none", "--start", start)
    with service_stack(servers.group, servers.folder, dsn, *stepped) as stack, live_stack(stack) as made:
        yield made


def chart(live: LiveStack, channel: str, *deaf_to: str) -> Chart:
    """What a listener has, by the rules of docs/live.md. deaf_to: messages and states that he does not hear."""
    bars: Chart = {}
    for message in [m for m in live.all if m["c"] == channel]:
        if message["t"] in deaf_to or message.get("state") in deaf_to:
            continue
        if message["t"] == "bar" and message["state"] == "withdrawn":
            bars.pop(message["ts"], None)
        elif message["t"] == "bar":
            bars[message["ts"]] = message
        elif message["t"] == "confirmed":
            for ts, bar in bars.items():
                if message["start"] <= ts < message["end"]:
                    bars[ts] = {**bar, "state": "confirmed", "version": message["version"]}
    return bars


def between(bars: Chart, start: int, end: int) -> Chart:
    return {ts: bar for ts, bar in bars.items() if rfc3339(start) <= ts < rfc3339(end)}


def settled(bars: Chart, start: int, count: int) -> bool:
    """So many bars from there on are history's."""
    span = between(bars, start, start + count * 5 * MINUTE)
    return len(span) == count and all(
        bar["state"] in ("confirmed", "revised") and bar["version"] for bar in span.values()
    )


def newest_messages(live: LiveStack, channel: str) -> Callable[[], object]:
    return lambda: [m for m in live.all if m["c"] == channel and m.get("state") != "forming"][-12:]


def test_the_five_minutes_of_a_listener_equal_history_in_state_too(live: LiveStack) -> None:
    live.start_bridge()
    live.want("user:1", [live.bars("AAPL", "5m")])
    live.wait_state("AAPL", "live")
    run(live, 660)
    live.wait(
        lambda: settled(chart(live, AAPL_5M), NOON, 2), "two bars are confirmed", 30, newest_messages(live, AAPL_5M)
    )
    end = NOON + 10 * MINUTE
    true = history(live, NOON, end, symbol="AAPL", timeframe="5m")
    assert differences(between(chart(live, AAPL_5M), NOON, end), true, *PRICES, "volume") == []
    deaf = between(chart(live, AAPL_5M, "confirmed"), NOON, end)
    assert not settled(deaf, NOON, 2), "the mutant hears no confirmation"
    assert all(bar["ts"] != rfc3339(end) or bar["state"] == "forming" for bar in chart(live, AAPL_5M).values())


def test_a_minute_that_live_had_otherwise_revises_the_longer_bar(live: LiveStack) -> None:
    live.start_bridge()
    live.sim.command("late AAPL 0.3")
    live.want("user:1", [live.bars("AAPL", "5m")])
    live.wait_state("AAPL", "live")
    run(live, 400)
    live.wait(lambda: settled(chart(live, AAPL_5M), NOON, 1), "it is settled", 30, newest_messages(live, AAPL_5M))
    (revised,) = [m for m in live.messages("bar", AAPL_5M) if m["state"] == "revised" and m["ts"] == rfc3339(NOON)]
    closed = [m for m in live.messages("bar", AAPL_5M) if m["state"] == "closed" and m["ts"] == rfc3339(NOON)]
    assert revised["was"] == {name: closed[0][name] for name in (*PRICES, "volume", "trades")}
    end = NOON + 5 * MINUTE
    true = history(live, NOON, end, symbol="AAPL", timeframe="5m")
    assert differences(between(chart(live, AAPL_5M), NOON, end), true, *PRICES, "volume") == []
    assert differences(between(chart(live, AAPL_5M, "revised"), NOON, end), true, "volume"), "the mutant"


def test_what_history_changes_afterwards_revises_the_longer_bar(live: LiveStack) -> None:
    live.start_bridge()
    live.want("user:1", [live.bars("AAPL", "5m")])
    live.wait_state("AAPL", "live")
    run(live, 340)
    live.wait(lambda: settled(chart(live, AAPL_5M), NOON, 1), "it is confirmed", 30, newest_messages(live, AAPL_5M))
    before = chart(live, AAPL_5M)[rfc3339(NOON)]
    live.sim.command("revise AAPL 1")
    run(live, 60)

    def revised() -> list[dict[str, Any]]:
        return [m for m in live.messages("bar", AAPL_5M) if m["state"] == "revised"]

    live.wait(revised, "it is revised", 30, newest_messages(live, AAPL_5M))
    assert revised()[0]["ts"] == rfc3339(NOON)
    assert revised()[0]["was"]["high"] == before["high"]
    assert revised()[-1]["version"] > before["version"]
    true = history(live, NOON, NOON + 5 * MINUTE, symbol="AAPL", timeframe="5m")
    assert differences(between(chart(live, AAPL_5M), NOON, NOON + 5 * MINUTE), true, *PRICES, "volume") == []
    deaf = between(chart(live, AAPL_5M, "revised"), NOON, NOON + 5 * MINUTE)
    assert differences(deaf, true, *PRICES, "volume"), "the mutant hears of no revision"


@pytest.mark.parametrize("live", ["2026-02-24T15:51:30Z"], indirect=True)
def test_a_bar_whose_minutes_history_has_not_is_withdrawn(live: LiveStack) -> None:
    """THIN trades at 15:54 and at 16:00. The trade of 15:54 comes a minute late, in a minute that history has not."""
    live.start_bridge()
    live.sim.command("late THIN 1 60")
    live.want("user:1", [live.bars("THIN", "5m")])
    live.wait_state("THIN", "live")
    run(live, 660)
    start, wrong = ns("2026-02-24 15:50"), ns("2026-02-24 15:55")
    live.wait(lambda: settled(chart(live, THIN_5M), start, 1), "it is confirmed", 30, newest_messages(live, THIN_5M))
    live.wait(
        lambda: rfc3339(wrong) not in chart(live, THIN_5M),
        "what history has not is withdrawn",
        30,
        newest_messages(live, THIN_5M),
    )
    gone = [m for m in live.messages("bar", THIN_5M) if m["state"] == "withdrawn"]
    assert [m["ts"] for m in gone] == [rfc3339(wrong)]
    assert gone[0]["version"]
    assert gone[0]["was"]["close"] == gone[0]["close"]
    true = history(live, start, start + 10 * MINUTE, symbol="THIN", timeframe="5m")
    assert differences(between(chart(live, THIN_5M), start, start + 10 * MINUTE), true, *PRICES) == []
    assert differences(between(chart(live, THIN_5M, "withdrawn"), start, start + 10 * MINUTE), true), "the mutant"


def test_a_series_that_is_polled_has_longer_bars_of_its_minutes(live: LiveStack) -> None:
    live.start_bridge(live_keep_up_to_date="0", live_real_time_bars="1", live_reserved="0")
    live.want("user:1", [live.bars("MSFT", priority=9)])
    live.wait(lambda: live.received("reqRealTimeBars"), "the only stream is in use")
    live.want("user:2", [live.bars("AAPL", frame) for frame in ("5m", "1h", "1d")])
    live.wait(lambda: "poll" in [row.source for row in live.streams()], "it is polled", 30, live.streams)
    run(live, 400)
    live.wait(lambda: settled(chart(live, AAPL_5M), NOON, 1), "it is settled", 30, newest_messages(live, AAPL_5M))
    first = [m for m in live.messages("bar", AAPL_5M) if m["ts"] == rfc3339(NOON)]
    assert {m["state"] for m in first} == {"forming", "confirmed"}, "history alone closes it"
    end = NOON + 5 * MINUTE
    true = history(live, NOON, end, symbol="AAPL", timeframe="5m")
    assert differences(between(chart(live, AAPL_5M), NOON, end), true, *PRICES, "volume") == []
    hour, day = (live.messages("bar", channel)[-1] for channel in (AAPL_1H, AAPL_1D))
    assert (hour["ts"], hour["state"], hour.get("partial", False)) == (rfc3339(NOON), "forming", False)
    assert (day["ts"], day["state"], day.get("partial", False)) == ("2026-03-02T00:00:00Z", "forming", False)
    assert live.violations() == []


@pytest.mark.parametrize("live", ["2026-03-02T17:02:30Z"], indirect=True)
def test_a_stream_that_begins_within_a_slot_has_its_bar_whole_once_history_has_the_first_minutes(
    live: LiveStack,
) -> None:
    live.start_bridge(live_keep_up_to_date="0")
    live.want("user:1", [live.bars("AAPL", "5m")])
    live.wait(lambda: live.received("reqRealTimeBars"), "it is requested")
    run(live, 10, 5)
    live.wait(lambda: live.messages("bar", AAPL_5M), "a bar forms")
    assert live.messages("bar", AAPL_5M)[0]["partial"] is True
    run(live, 240)
    live.wait(lambda: settled(chart(live, AAPL_5M), NOON, 1), "it is settled", 30, newest_messages(live, AAPL_5M))
    bar = chart(live, AAPL_5M)[rfc3339(NOON)]
    assert not bar.get("partial")
    end = NOON + 5 * MINUTE
    true = history(live, NOON, end, symbol="AAPL", timeframe="5m")
    assert differences(between(chart(live, AAPL_5M), NOON, end), true, *PRICES, "volume") == []


def test_minutes_that_a_job_of_the_ledger_brings_make_the_longer_bar_whole(live: LiveStack) -> None:
    """No bridge runs for longer than the two hours that confirming asks for at once: a job brings the rest."""
    settings = {"live_keep_up_to_date": "0", "live_watch": "AAPL.NASDAQ:1m"}
    live.start_bridge(**settings)
    live.want("user:1", [live.bars("AAPL", "4h")])
    live.wait(lambda: live.received("reqRealTimeBars"), "it is requested")
    run(live, 300, 60)
    live.stack.kill_bridge()
    live.sim.command("advance 9600")
    live.start_bridge(**settings)
    live.wait(lambda: len(live.received("reqRealTimeBars")) == 2, "it is requested again")
    run(live, 4 * 3_600 - 300 - 9_600 + 120, 60)
    ts = rfc3339(NOON)

    def settled_bar() -> bool:
        return chart(live, AAPL_4H).get(ts, {}).get("state") in ("confirmed", "revised")

    live.wait(settled_bar, "it is settled", 60, newest_messages(live, AAPL_4H))
    (gap,) = live.messages("gap", AAPL_4H)
    (filled,) = live.messages("filled", AAPL_4H)
    assert (filled["start"], filled["end"]) == (gap["start"], gap["end"])
    assert live.rows("SELECT 1 FROM backfill_jobs WHERE origin = 'live'"), "a job brought a part"
    end = NOON + 4 * 60 * MINUTE
    true = history(live, NOON, end, symbol="AAPL", timeframe="4h")
    assert differences(between(chart(live, AAPL_4H), NOON, end), true, *PRICES, "volume") == []
    assert live.violations() == []


def is_settled(live: LiveStack, channel: str, ts: int) -> Callable[[], bool]:
    return lambda: chart(live, channel).get(rfc3339(ts), {}).get("state") in ("confirmed", "revised")


@pytest.mark.parametrize("live", ["2026-03-02T14:29:00Z"], indirect=True)
def test_the_first_hour_of_a_session_begins_at_its_open_though_the_session_is_known_later(live: LiveStack) -> None:
    """The historical farm is away at the open: minutes come, and nobody knows yet that the market is open since 14:30."""
    live.start_bridge(live_keep_up_to_date="0")
    live.want("user:1", [live.bars("AAPL", frame) for frame in ("1m", "1h", "1d")])
    live.wait(lambda: live.received("reqRealTimeBars"), "it is requested")
    live.sim.command("farm_down ushmds")
    run(live, 180)
    live.wait(lambda: live.messages("bar", AAPL_1M), "minutes are told meanwhile")
    live.sim.command("farm_up ushmds")
    run(live, 1_800)
    opened, end = ns("2026-03-02 14:30"), ns("2026-03-02 15:00")
    live.wait(is_settled(live, AAPL_1H, opened), "it is settled", 60, newest_messages(live, AAPL_1H))
    assert {m["ts"] for m in live.messages("bar", AAPL_1H)} == {rfc3339(opened), rfc3339(end)}
    true = history(live, opened, end, symbol="AAPL", timeframe="1h")
    assert differences(between(chart(live, AAPL_1H), opened, end), true, *PRICES, "volume") == []
    day = live.messages("bar", AAPL_1D)[-1]
    assert day["open"] == true[rfc3339(opened)]["open"], "the day has its first minute"


@pytest.mark.parametrize("live", ["2026-03-02T17:50:00Z"], indirect=True)
def test_bars_that_ended_while_no_bridge_ran_are_published_by_the_next_as_history_has_them(live: LiveStack) -> None:
    live.start_bridge(live_keep_up_to_date="0")
    live.want("user:1", [live.bars("AAPL", frame) for frame in ("5m", "1h")])
    live.wait(lambda: live.received("reqRealTimeBars"), "it is requested")
    run(live, 480)
    live.stack.kill_bridge()
    live.sim.command("advance 180")
    live.start_bridge(live_keep_up_to_date="0")
    live.wait(lambda: len(live.received("reqRealTimeBars")) == 2, "it is requested again")
    run(live, 240)
    end = NOON + 60 * MINUTE
    live.wait(is_settled(live, AAPL_5M, end - 5 * MINUTE), "it is settled", 60, newest_messages(live, AAPL_5M))
    live.wait(is_settled(live, AAPL_1H, NOON), "it is settled", 60, newest_messages(live, AAPL_1H))
    for channel, frame, start in ((AAPL_5M, "5m", end - 5 * MINUTE), (AAPL_1H, "1h", NOON)):
        true = history(live, start, end, symbol="AAPL", timeframe=frame)
        assert differences(between(chart(live, channel), start, end), true, *PRICES, "volume") == []
    assert live.violations() == []
