"""Which streams there are: wants and IB's limits in, changes out; nothing flaps, and whoever waits has a reason."""

from datetime import UTC, datetime

import pytest

from ib_bridge.live.ledger import Ledger, Step
from ib_bridge.live.streams import Stream, StreamState, wanted_streams
from nautilus.db.live.wants import CurrentWant
from nautilus.live.subscriptions import Limits, Source, StreamKey
from tests.support.markets import S
from tests.unit.ib_bridge.live_streams import minutes, quotes

NOW = 1_000_000 * S


def ledger(*streams: Stream, linger_s: float = 30.0, **limits: int) -> Ledger:
    made = Ledger(Limits(**limits), linger_s)
    made.streams = {stream.key: stream for stream in streams}
    return made


def steps(made: Ledger, now: int = NOW, machine_s: float = 0.0) -> list[tuple[Step, int]]:
    return [(change.step, change.stream.key.con_id) for change in made.decide(now, machine_s)]


def wants_of(*streams: Stream) -> dict[StreamKey, object]:
    return {stream.key: stream.want for stream in streams}


def test_bars_of_a_minute_and_longer_are_one_stream_with_the_highest_priority() -> None:
    when = datetime(2026, 1, 1, tzinfo=UTC)
    found = wanted_streams(
        [
            CurrentWant("a", 1, "bars", "5m", "TRADES", "rth", 3, when, None),
            CurrentWant("b", 1, "bars", "1m", "TRADES", "rth", 7, when, None),
            CurrentWant("b", 1, "bars", "5s", "TRADES", "rth", 6, when, None),
            CurrentWant("b", 1, "bars", "1m", "TRADES", "all", 6, when, None),
            CurrentWant("b", 1, "quotes", "", "", "", 6, when, None),
        ]
    )
    assert set(found) == {
        StreamKey(1, "bars:1m", "TRADES", "rth"),
        StreamKey(1, "bars:5s", "TRADES", "rth"),
        StreamKey(1, "bars:1m", "TRADES", "all"),
        StreamKey(1, "quotes"),
    }
    both = found[StreamKey(1, "bars:1m", "TRADES", "rth")]
    assert (both.priority, both.timeframes) == (7, frozenset({"1m", "5m"}))


def test_a_full_budget_takes_from_the_lowest_priority_only_and_says_who_took_it() -> None:
    watch, socket = quotes(1, 3), quotes(2, 6)
    made = ledger(watch, socket, lines=2)
    assert steps(made) == [(Step.START, 2), (Step.START, 1)]
    strategy, other = quotes(3, 9), quotes(4, 6)
    made.streams |= {strategy.key: strategy, other.key: other}
    assert steps(made) == [(Step.STOP, 1), (Step.START, 3)]
    assert (watch.state, watch.reason, watch.evicted_by) == (StreamState.EVICTED, "evicted:priority", strategy.key)
    assert (other.state, other.reason) == (StreamState.WAITING, "no_market_data_line_free")
    for second in range(600):
        assert steps(made, NOW + second * S) == [], "nothing flaps"


def test_a_stream_that_nobody_wants_goes_on_for_the_linger_and_ends_once() -> None:
    stream = quotes()
    made = ledger(stream)
    assert steps(made) == [(Step.START, 1)]
    made.update_wants({}, 100.0)
    assert steps(made, machine_s=129.0) == []
    made.update_wants(wants_of(stream), 129.5)  # type: ignore[arg-type]
    made.update_wants({}, 129.9)
    assert steps(made, machine_s=159.8) == []
    assert steps(made, machine_s=160.0) == [(Step.FORGET, 1)]
    assert steps(made, machine_s=161.0) == []


def test_a_line_that_ib_refuses_lowers_the_budget_and_is_tried_again_after_a_minute() -> None:
    streams = [quotes(n) for n in range(1, 5)]
    made = ledger(*streams, lines=10)
    made.decide(NOW, 0.0)
    refused = streams[3]
    made.refuse(refused, NOW, seconds=60, reason="no_market_data_line_free", code=101, refused=False)
    made.line_refused(NOW)
    assert (made.lines, made.lines_in_use()) == (3, 3)
    assert steps(made, NOW + 59 * S) == []
    assert (refused.state, refused.reason, refused.code) == (StreamState.WAITING, "no_market_data_line_free", 101)
    assert steps(made, NOW + 60 * S) == [(Step.START, 4)]
    assert made.lines == 4


def test_without_learning_the_refused_line_is_requested_at_once_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mutant: who forgets what IB refused asks in each sweep."""
    monkeypatch.setattr(Stream, "blocked", lambda self, now: frozenset())
    streams = [quotes(n) for n in range(1, 5)]
    made = ledger(*streams, lines=10)
    made.decide(NOW, 0.0)
    made.refuse(streams[3], NOW, seconds=60, reason="no_market_data_line_free", code=101, refused=False)
    assert steps(made, NOW + S) == [(Step.START, 4)]


def test_what_ib_refuses_by_one_way_is_had_by_the_next() -> None:
    stream = minutes()
    made = ledger(stream)
    had = []
    for reason, code in (("no_data", 162), ("real_time_query", 420), ("", 0)):
        assert steps(made) == [(Step.START, 1)]
        had.append(stream.source)
        made.refuse(stream, NOW, seconds=300, reason=reason, code=code, refused=False)
    assert had == [Source.KEEP_UP_TO_DATE, Source.REAL_TIME_BARS, Source.POLL]


def test_a_stream_without_a_way_tells_why_and_is_tried_again_when_the_first_is_free() -> None:
    stream = quotes()
    made = ledger(stream)
    made.decide(NOW, 0.0)
    made.refuse(stream, NOW, seconds=3_600, reason="no_permission", code=354, refused=True)
    assert steps(made) == []
    assert (stream.state, stream.reason, stream.code) == (StreamState.REFUSED, "no_permission", 354)
    assert steps(made, NOW + 3_599 * S) == []
    assert steps(made, NOW + 3_600 * S) == [(Step.START, 1)]


def test_sixty_new_streams_of_five_second_bars_share_fifty_and_a_reserve() -> None:
    streams = [minutes(n, 3) for n in range(1, 61)]
    made = ledger(*streams, keep_up_to_date=0, real_time_bars=50, reserved=10)
    made.decide(NOW, 0.0)
    made.real_time_bars_begun = [NOW / S] * 40
    for number, stream in enumerate(streams):
        stream.request = number if stream.source is Source.REAL_TIME_BARS else None
    assert sum(1 for s in streams if s.source is Source.REAL_TIME_BARS) == 40
    assert sum(1 for s in streams if s.source is Source.POLL) == 20
    watched = minutes(99, 6)
    made.streams[watched.key] = watched
    made.decide(NOW + S, 1.0)
    assert watched.source is Source.REAL_TIME_BARS


def test_a_polled_stream_takes_what_is_better_as_soon_as_it_is_free() -> None:
    first, second = minutes(1, 6), minutes(2, 6)
    made = ledger(first, second, keep_up_to_date=1, real_time_bars=0)
    made.decide(NOW, 0.0)
    assert (first.source, second.source) == (Source.KEEP_UP_TO_DATE, Source.POLL)
    assert steps(made, NOW + S) == []
    made.update_wants(wants_of(second), 0.0)  # type: ignore[arg-type]
    assert steps(made, NOW + S, 31.0) == [(Step.FORGET, 1), (Step.STOP, 2), (Step.START, 2)]
    sources = {stream.source for stream in made.streams.values()}
    assert sources == {Source.KEEP_UP_TO_DATE}
    assert steps(made, NOW + 2 * S, 32.0) == []


def test_streams_of_five_second_bars_that_are_still_to_be_requested_count_among_the_new_ones() -> None:
    made = ledger(*(minutes(n, 3) for n in range(51)), keep_up_to_date=0)
    assert [step for step, _ in steps(made)].count(Step.START) == 51
    sources = [stream.source for stream in made.streams.values()]
    assert (sources.count(Source.REAL_TIME_BARS), sources.count(Source.POLL)) == (40, 11)
    assert steps(made) == [], "none has been requested yet"
    for number, stream in enumerate(made.streams.values()):
        if stream.source is Source.REAL_TIME_BARS:
            stream.request = number
            made.real_time_bars_begun.append(NOW / S)
    assert steps(made) == []
