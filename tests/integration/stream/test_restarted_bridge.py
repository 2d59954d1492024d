"""What history changes while no bridge runs: in the end the longer bars of a client are those of history, whether it went on
listening or was away and resumes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from nautilus.clock import rfc3339
from tests.integration.stream.test_with_the_bridge import NOON, VALUES, follow
from tests.support.live_stack import LiveStack
from tests.support.markets import MINUTE, ns
from tests.support.stream_server import FIVE, Chart, Client, StreamServer, client

THIN_FIVE = "data.bars.THIN.NASDAQ-5-MINUTE-LAST-EXTERNAL"
FOLDED = {"live_keep_up_to_date": "0"}
"""Settings with which minutes are folded of bars of five seconds: no first answer tells what was before."""
Both = tuple[LiveStack, StreamServer]


def stored(live: LiveStack, symbol: str, start: int, end: int) -> dict[str, tuple[Any, ...]]:
    """The bars of five minutes as the database has them now."""
    window = {"start": rfc3339(start), "end": rfc3339(end)}
    found = live.stack.bars(symbol=symbol, timeframe="5m", **window)["candles"]
    return {rfc3339(int(row["ts"])): tuple(row[name] for name in VALUES) for row in found}


def shown(chart: Chart, start: int, end: int) -> dict[str, tuple[Any, ...]]:
    """The same as a client has them, whatever the state."""
    inside = {ts: bar for ts, bar in chart.bars.items() if rfc3339(start) <= ts < rfc3339(end)}
    return {ts: tuple(bar[name] for name in VALUES) for ts, bar in inside.items()}


def begun_again(live: LiveStack, symbol: str, **settings: str) -> None:
    live.start_bridge(**settings)
    live.wait(lambda: (live.stream(symbol) or SimpleNamespace(source="")).source, "it is requested again")


def resume(running: StreamServer, chart: Chart) -> None:
    """Come back with the version that a client had when it left."""
    with client(running, running.token(2)) as other:
        other.send(op="resume", id=1, e="", channels={chart.channel: {"seq": 0, "version": chart.version}})
        other.next("snapshot", "resumed")
        follow(other, chart)


@contextmanager
def two_bars(running: StreamServer, live: LiveStack) -> Iterator[tuple[Client, Chart, Chart]]:
    """Two bars of five minutes are confirmed to a client that goes on, and to one that has left."""
    chart, left = Chart(FIVE), Chart(FIVE)
    with client(running, running.token()) as socket:
        socket.subscribe(FIVE)
        live.wait(lambda: (live.stream("AAPL") or SimpleNamespace(source="")).source, "it is requested")

        def are_confirmed() -> bool:
            follow(socket, chart)
            return [bar["state"] for _, bar in sorted(chart.bars.items())][:2] == ["confirmed"] * 2

        for _ in range(32):
            live.advance(20)
            follow(socket, chart)
        live.wait(are_confirmed, "two bars are confirmed", 60, lambda: chart.bars)
        with client(running, running.token(2)) as other:
            other.subscribe(FIVE)
            other.next("snapshot")
            follow(other, left)
        yield socket, chart, left


def revised_by_the_next_bridge(live: LiveStack) -> None:
    """The next bridge's own requests see it: three minutes of the second bar."""
    live.sim.command("revise AAPL 3")


def revised_by_a_backfill(live: LiveStack) -> None:
    """A backfill that waits for the next bridge sees it: minutes of the first bar, before all that the bridge requests."""
    live.sim.command("revise AAPL 10")
    live.stack.backfill(
        symbol="AAPL", timeframe="1m", start=rfc3339(NOON), end=rfc3339(NOON + 5 * MINUTE), mode="force"
    )


@pytest.mark.parametrize(
    ("revise", "settings"),
    [
        (revised_by_the_next_bridge, {}),
        (revised_by_the_next_bridge, FOLDED),
        (revised_by_a_backfill, FOLDED),
    ],
    ids=["first-answer", "confirmation", "backfill"],
)
def test_a_longer_bar_that_history_changes_while_no_bridge_runs_is_historys_in_the_end(
    both: Both, revise: Callable[[LiveStack], None], settings: dict[str, str]
) -> None:
    live, running = both
    live.start_bridge(**settings)
    live.instrument("AAPL")
    end = NOON + 10 * MINUTE
    with two_bars(running, live) as (socket, chart, left):
        before = stored(live, "AAPL", NOON, end)
        assert shown(chart, NOON, end) == shown(left, NOON, end) == before
        live.stack.kill_bridge()
        revise(live)
        begun_again(live, "AAPL", **settings)
        for _ in range(9):
            live.advance(20)
            follow(socket, chart)
        live.wait(lambda: stored(live, "AAPL", NOON, end) != before, "history is stored as it is now")

        def is_historys() -> bool:
            follow(socket, chart)
            return shown(chart, NOON, end) == stored(live, "AAPL", NOON, end)

        live.wait(is_historys, "who listens has it", 30, lambda: (chart.bars, stored(live, "AAPL", NOON, end)))
    assert shown(left, NOON, end) != stored(live, "AAPL", NOON, end), "the mutant: who does not resume"
    resume(running, left)
    assert shown(left, NOON, end) == stored(live, "AAPL", NOON, end)
    assert live.violations() == []


@pytest.mark.parametrize("both", ["2026-02-24T15:51:30Z"], indirect=True)
def test_a_longer_bar_whose_minutes_history_withdraws_after_another_bridge_is_withdrawn(both: Both) -> None:
    """THIN trades at 15:54 and at 16:00. The trade of 15:54 comes a minute late, in a minute that history has not."""
    live, running = both
    live.start_bridge()
    live.instrument("THIN")
    live.sim.command("late THIN 1 60")
    chart, left = Chart(THIN_FIVE), Chart(THIN_FIVE)
    wrong, end = ns("2026-02-24 15:55"), ns("2026-02-24 16:00")
    with client(running, running.token()) as socket:
        socket.subscribe(THIN_FIVE)
        live.wait_state("THIN", "live")
        for _ in range(27):
            live.advance(20)
            follow(socket, chart)

        def is_closed() -> bool:
            follow(socket, chart)
            return bool(chart.bars.get(rfc3339(wrong), {}).get("state") == "closed")

        live.wait(is_closed, "it is published as it closed", 30, lambda: chart.bars)
        with client(running, running.token(2)) as other:
            other.subscribe(THIN_FIVE)
            other.next("snapshot")
            follow(other, left)
        assert rfc3339(wrong) in left.bars
        live.stack.kill_bridge()
        begun_again(live, "THIN")
        for _ in range(9):
            live.advance(20)
            follow(socket, chart)

        def is_gone() -> bool:
            follow(socket, chart)
            return rfc3339(wrong) not in chart.bars

        live.wait(is_gone, "it is withdrawn", 30, lambda: chart.bars)
    assert shown(chart, wrong - 5 * MINUTE, end) == stored(live, "THIN", wrong - 5 * MINUTE, end)
    resume(running, left)
    assert shown(left, wrong - 5 * MINUTE, end) == stored(live, "THIN", wrong - 5 * MINUTE, end)
