"""A bridge after another: what nobody heard meanwhile is a hole, and the holes of the last one are not forgotten."""

from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from nautilus.clock import parse_rfc3339, rfc3339
from nautilus.spans import Spans
from tests.integration.live.test_bridge_bars import (
    AAPL_1M,
    AAPL_5S,
    NOON,
    PRICES,
    STEPPED,
    differences,
    final,
    history,
    run,
)
from tests.support.live_stack import LiveStack, live_stack
from tests.support.markets import MINUTE, S
from tests.support.stack import service_stack


@pytest.fixture
def live(servers: SimpleNamespace, dsn: str) -> Iterator[LiveStack]:
    with service_stack(servers.group, servers.folder, dsn, *STEPPED) as stack, live_stack(stack) as made:
        yield made


def span_of(message: dict[str, str]) -> tuple[int, int]:
    return parse_rfc3339(message["start"]), parse_rfc3339(message["end"])


def begun(live: LiveStack, count: int) -> None:
    live.wait(lambda: len(live.received("reqRealTimeBars")) == count, "bars of five seconds are requested")


def test_bars_of_five_seconds_that_nobody_heard_while_no_bridge_ran_are_a_gap_that_is_filled(live: LiveStack) -> None:
    live.start_bridge(live_keep_up_to_date="0", settle_intraday_s="5")
    live.want("user:1", [live.bars("AAPL", "5s")])
    begun(live, 1)
    run(live, 60, 10)
    live.wait(lambda: final(live, AAPL_5S), "bars are told")
    newest = max(final(live, AAPL_5S))
    live.stack.kill_bridge()
    live.sim.command("advance 60")
    live.start_bridge(live_keep_up_to_date="0", settle_intraday_s="5")
    begun(live, 2)
    run(live, 20, 5)
    live.wait(lambda: live.messages("gap", AAPL_5S), "the gap is told", 30, live.streams)
    (gap,) = live.messages("gap", AAPL_5S)
    assert gap["reason"] == "bridge_restarted"
    assert newest <= gap["start"] < rfc3339(NOON + MINUTE + 10 * S)
    assert gap["end"] >= rfc3339(NOON + 2 * MINUTE)
    run(live, 180, 60)  # within minutes: it does not wait for the half hour
    live.wait(lambda: live.messages("filled", AAPL_5S), "it is filled", 30, live.streams)
    (filled,) = live.messages("filled", AAPL_5S)
    assert (filled["start"], filled["end"]) == (gap["start"], gap["end"])
    end = NOON + 3 * MINUTE
    true = history(live, NOON, end, symbol="AAPL", timeframe="5s")
    found = {ts: bar for ts, bar in final(live, AAPL_5S).items() if rfc3339(NOON) <= ts < rfc3339(end)}
    assert differences(found, true, *PRICES) == []
    missed = {ts: bar for ts, bar in found.items() if not gap["start"] <= ts < gap["end"]}
    assert differences(missed, true, *PRICES), "the mutant heard nothing of the gap"
    assert live.violations() == []


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_the_holes_of_a_bridge_are_known_after_it_and_filled_by_the_next(live: LiveStack, end: str) -> None:
    live.start_bridge(live_keep_up_to_date="0", settle_intraday_s="900")
    live.want("user:1", [live.bars("AAPL")])
    begun(live, 1)
    run(live, 70, 10)
    live.sim.command("lost")
    live.advance(5)
    live.sim.command("restored maintained")
    run(live, 60, 10)
    live.wait(lambda: live.stream("AAPL").holes, "a hole is known", 30, live.streams)  # type: ignore[union-attr]
    holes = live.wait_state("AAPL", "live").holes
    if end == "stop":
        assert live.stack.stop_bridge() == 0
    else:
        live.stack.kill_bridge()
    assert [row.holes for row in live.streams()] == [holes], "who asks meanwhile sees it"
    live.start_bridge(live_keep_up_to_date="0", settle_intraday_s="5")
    run(live, 120, 20)
    live.wait(lambda: live.messages("filled", AAPL_1M), "it is filled", 30, live.streams)

    def filled() -> bool:
        closed = Spans(span_of(one) for one in live.messages("filled", AAPL_1M))
        return not holes - closed

    live.wait(filled, "all of it is told as filled", 30, lambda: (holes, live.messages("filled", AAPL_1M)))
    live.wait(lambda: not any(row.holes for row in live.streams()), "no hole is left", 30, live.streams)
    assert live.violations() == []


def test_who_wants_a_stream_only_since_the_bridge_was_away_has_missed_nothing(live: LiveStack) -> None:
    live.start_bridge(live_keep_up_to_date="0")
    live.want("user:1", [live.bars("AAPL")])
    begun(live, 1)
    run(live, 70, 10)
    assert live.stack.stop_bridge() == 0
    live.drop("user:1")
    live.sim.command("advance 60")
    live.want("user:2", [live.bars("AAPL")])
    live.start_bridge(live_keep_up_to_date="0")
    begun(live, 2)
    run(live, 80, 20)
    live.wait_state("AAPL", "live")
    assert live.messages("gap", AAPL_1M) == []
