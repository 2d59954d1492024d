"""Bars longer than a minute, from the first state to history's word: the sockets' chart beside history's."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from nautilus.clock import rfc3339
from tests.integration.live.test_bridge_bars import AAPL_5M, NOON, PRICES, differences, history, run
from tests.support.live_stack import LiveStack, live_stack
from tests.support.markets import MINUTE, ns
from tests.support.stack import service_stack

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
