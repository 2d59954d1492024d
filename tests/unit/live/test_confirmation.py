"""When live bars are confirmed, by which request, and what an answer says of them."""

from datetime import date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nautilus.clock import ns_of
from nautilus.live import confirmation
from nautilus.live.bars import LiveState
from nautilus.live.confirmation import MINUTE_NS, LivePrices, Outcome
from nautilus.market.bar import Bar
from nautilus.market.calendar import Calendar, Session
from nautilus.market.timeframes import timeframe
from nautilus.spans import Span, Spans


def at(text: str) -> int:
    return ns_of(datetime.fromisoformat(f"2026-03-{text}:00+00:00"))


CALENDAR = Calendar.of(
    [
        Session(at("03 14:30"), at("03 21:00"), date(2026, 3, 3)),
        Session(at("04 14:30"), at("04 21:00"), date(2026, 3, 4)),
    ],
    (at("01 00:00"), at("05 00:00")),
    "America/New_York",
)
MINUTE = timeframe("1m")
NOW = at("04 15:00")


def bar(minute: int, close: float = 10.0, volume: float | None = 100.0, trades: int | None = 3) -> Bar:
    return Bar(NOW + minute * MINUTE_NS, 10.0, 11.0, 9.0, close, volume, None, trades)


def live(one: Bar, *, closed: bool = True) -> LivePrices:
    return LivePrices(one, closed)


def span(first: int, after: int) -> Span:
    return NOW + first * MINUTE_NS, NOW + after * MINUTE_NS


ALL = Spans.of(*span(-100, 100))


# ---- what an answer says -------------------------------------------------------------------------------------------------


def outcomes(stored: list[Bar], lives: list[LivePrices], before: list[Bar] = [], settled: Spans = ALL) -> list[Outcome]:  # noqa: B006
    return confirmation.outcomes({b.ts: b for b in stored}, {b.ts: b for b in before}, lives, settled)


def test_a_live_bar_is_confirmed_revised_or_withdrawn() -> None:
    history = [bar(0)._replace(vwap=10.1), bar(1, close=10.5)]
    found = outcomes(history, [live(bar(0)), live(bar(1)), live(bar(2))])
    assert [(one.state, one.was, one.exact) for one in found] == [
        (LiveState.CONFIRMED, None, True),
        (LiveState.REVISED, bar(1), False),
        (LiveState.WITHDRAWN, bar(2), False),
    ]
    assert found[0].bar == history[0], "history's own values, with what live never has"


def test_nothing_is_said_of_what_is_not_settled() -> None:
    assert outcomes([bar(0)], [live(bar(0)), live(bar(1))], settled=Spans.of(*span(0, 1))) == [
        Outcome(bar(0), LiveState.CONFIRMED, exact=True)
    ]


def test_a_bar_that_still_formed_is_no_revision() -> None:
    assert outcomes([bar(0, close=10.5)], [live(bar(0), closed=False)]) == [
        Outcome(bar(0, close=10.5), LiveState.CONFIRMED)
    ]


def test_bars_that_nobody_had_are_told_and_those_that_stay_as_they_are_not() -> None:
    assert outcomes([bar(0), bar(1)], [], before=[bar(0)]) == [Outcome(bar(1), LiveState.CONFIRMED)]


def test_history_that_changes_its_mind_is_a_revision() -> None:
    old = bar(0)._replace(vwap=10.0)
    assert outcomes([bar(0, close=9.5)], [], before=[bar(0)]) == [Outcome(bar(0, close=9.5), LiveState.REVISED, bar(0))]
    assert outcomes([bar(0)._replace(vwap=10.1)], [], before=[old])[0].state is LiveState.REVISED


@pytest.mark.parametrize(
    ("was", "now", "state"),
    [
        (100.0, 10_000.0, LiveState.CONFIRMED),
        (10_049.0, 100.0, LiveState.CONFIRMED),
        (None, 10_000.0, LiveState.CONFIRMED),
        (0.1 + 0.2, 0.3, LiveState.CONFIRMED),
        (100.0, 5_000.0, LiveState.REVISED),
        (100.0, 101.0, LiveState.REVISED),
    ],
)
def test_a_unit_of_volume_is_no_revision(was: float | None, now: float, state: LiveState) -> None:
    (one,) = outcomes([bar(0, volume=now)], [live(bar(0, volume=was))])
    assert (one.state, one.exact) == (state, False)
    (stored,) = outcomes([bar(0, volume=now)], [], before=[bar(0, volume=was)])
    assert stored.state is state


def test_prices_that_differ_are_a_revision_whatever_the_volume() -> None:
    (one,) = outcomes([bar(0, close=10.5, volume=10_000.0)], [live(bar(0, volume=100.0))])
    assert one.state is LiveState.REVISED


@given(st.lists(st.sampled_from(["same", "other", "none"]), min_size=1, max_size=30), st.data())
def test_every_provisional_bar_of_a_settled_range_gets_one_word(kinds: list[str], data: st.DataObject) -> None:
    history = [bar(n, close=10.0 if kind == "same" else 10.5) for n, kind in enumerate(kinds) if kind != "none"]
    before = data.draw(st.lists(st.sampled_from(history), unique=True)) if history else []
    found = outcomes(history, [live(bar(n)) for n in range(len(kinds))], before)
    expected = {"same": LiveState.CONFIRMED, "other": LiveState.REVISED, "none": LiveState.WITHDRAWN}
    assert [one.state for one in found] == [expected[kind] for kind in kinds]


# ---- when, and what is asked ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "series", "minutes"),
    [("1m", 1, 1), ("1m", 20, 1), ("1m", 21, 2), ("1m", 100, 5), ("5s", 1, 30), ("5s", 60, 30), ("5s", 61, 60)],
)
def test_the_more_series_the_longer_the_requests(frame: str, series: int, minutes: int) -> None:
    assert confirmation.period_ns(timeframe(frame), series) == minutes * MINUTE_NS


def missing(closed: Span, covered: Spans = Spans(), refused: Spans = Spans()) -> Spans:  # noqa: B008
    return confirmation.lacking(closed, CALENDAR, MINUTE, covered=covered, refused=refused)


def test_what_is_missing_lies_in_open_time() -> None:
    assert missing((at("03 20:00"), NOW)) == Spans([(at("03 20:00"), at("03 21:00")), (at("04 14:30"), NOW)])
    assert missing(span(-3, 0), Spans.of(*span(-3, -1)), Spans.of(*span(-1, 0))) == Spans()
    assert missing((NOW - MINUTE_NS // 2, NOW)) == Spans.of(*span(-1, 0)), "a slot is missing as a whole"


def due(lacks: Spans, now: int, minutes: int = 2, *, partial: bool = False) -> bool:
    return confirmation.is_due(lacks, CALENDAR, now=now, period=minutes * MINUTE_NS, partial=partial)


def test_a_request_waits_until_it_is_long_enough_or_nothing_more_comes() -> None:
    one = Spans.of(*span(-1, 0))
    assert not due(Spans(), NOW)
    assert not due(one, NOW)
    assert due(one, NOW, minutes=1)
    assert due(one, NOW, partial=True)
    assert due(Spans.of(*span(-2, 0)), NOW)
    last = Spans.of(at("04 20:59"), at("04 21:00"))
    assert due(last, at("04 21:00") + 15 * 10**9), "the session is over"
    assert due(Spans.of(at("03 20:59"), at("03 21:00")), NOW), "it was over yesterday"


def test_a_request_overlaps_by_three_bars_and_is_two_hours_long_at_most() -> None:
    assert confirmation.window(Spans.of(*span(-1, 0)), CALENDAR, MINUTE) == (span(-1, 0), span(-4, 0))
    begin = at("04 14:30")
    assert confirmation.window(Spans.of(begin, begin + MINUTE_NS), CALENDAR, MINUTE) == (
        (begin, begin + MINUTE_NS),
        (begin, begin + MINUTE_NS),
    ), "a night is not asked for"
    long = Spans([(at("03 20:00"), at("03 21:00")), (begin, at("04 20:00"))])
    requested, _ = confirmation.window(long, CALENDAR, MINUTE)
    assert requested == (at("04 18:00"), at("04 20:00"))
    assert confirmation.beyond_one_request(long, requested) == Spans(
        [(at("03 20:00"), at("03 21:00")), (begin, at("04 18:00"))]
    )


def test_an_answer_is_judged_from_its_first_whole_slot_to_the_last_closed_bar() -> None:
    sent = NOW + 20 * 10**9
    assert confirmation.answered_span(
        CALENDAR, MINUTE, sent_at=sent, duration_ns=5 * MINUTE_NS, closed_until=NOW
    ) == span(-4, 0)
    assert confirmation.answered_span(
        CALENDAR, MINUTE, sent_at=NOW, duration_ns=5 * MINUTE_NS, closed_until=NOW
    ) == span(-5, 0)


def test_what_lies_behind_the_last_bar_may_only_be_late() -> None:
    def tail(stamps: list[int], now: int = NOW) -> Spans:
        return confirmation.unproven_tail(
            span(-20, 0), CALENDAR, MINUTE, stamps=[NOW + n * MINUTE_NS for n in stamps], now=now
        )

    assert tail([-20, -1]) == Spans()
    assert tail([-20, -4]) == Spans.of(*span(-3, 0))
    assert tail([-20]) == Spans.of(*span(-15, 0)), "what is older is empty"
    assert tail([]) == Spans.of(*span(-15, 0))
    assert tail([-20], NOW + 15 * MINUTE_NS) == Spans()
