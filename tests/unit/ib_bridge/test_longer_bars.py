"""What history says of longer bars, folded of minutes."""

from collections.abc import Callable
from datetime import date

import pytest

from ib_bridge.live.bar_folds import BarFolds, FoldedBar
from ib_bridge.live.longer_bars import LongerBars, Meaning
from nautilus.live.folding import Folding, Part
from nautilus.market.timeframes import timeframe
from nautilus.spans import Spans
from tests.support.markets import MARKETS, MINUTE, known_to, ns, nyse

OPEN = ns("2024-03-05 14:30")
NOTHING = Meaning([], [], [])


def minute(n: int, close: float = 1.0) -> Part:
    return Part(OPEN + n * MINUTE, MINUTE, 1.0, 2.0, 0.5, close, 10.0, 1)


def made(*minutes: int) -> BarFolds:
    folds = BarFolds(lambda: MARKETS["nyse"], timeframe("1m"), from_five_seconds=False, with_fillers=True)
    folds.want(["1m", "5m"])
    folds.learn([], OPEN)
    for n in minutes:
        folds.add(minute(n))
    return folds


def upto(n: int) -> Spans:
    return Spans.of(OPEN, OPEN + n * MINUTE)


def answer(
    folds: BarFolds, covered: Spans, *parts: Part, withdrawn: tuple[int, ...] = (), answered: Spans | None = None
) -> tuple[list[FoldedBar], Meaning]:
    gone = [OPEN + n * MINUTE for n in withdrawn]
    changed, meaning = folds.answer(parts, gone, answered=Spans() if answered is None else answered, covered=covered)
    ((frame, five),) = meaning
    assert frame.name == "5m"
    return changed, five


def at(n: int) -> int:
    return OPEN + n * MINUTE


def test_a_bar_is_confirmed_once_when_all_of_its_slot_is_covered_also_without_trades() -> None:
    folds = made(0, 1, 3, 4)
    assert answer(folds, upto(4)) == ([], NOTHING)
    assert answer(folds, upto(5)) == ([], Meaning([], [], [(at(0), at(5))]))
    assert answer(folds, upto(6)) == ([], NOTHING)


def test_a_range_of_confirmed_bars_ends_where_one_is_not_settled() -> None:
    folds = made(*range(20))
    covered = upto(10) | Spans.of(at(15), at(20))
    assert answer(folds, covered)[1].confirmed == [(at(0), at(10)), (at(15), at(20))]
    assert answer(folds, upto(20))[1].confirmed == [(at(10), at(15))]


def test_a_bar_that_forms_is_not_confirmed_before_coverage_shows_that_it_is_over() -> None:
    folds = made(0, 1, 2)
    assert answer(folds, upto(4)) == ([], NOTHING)
    assert answer(folds, upto(5)) == ([], Meaning([], [], [(at(0), at(5))]))


def test_a_minute_that_history_has_otherwise_revises_with_the_bar_as_it_closed() -> None:
    folds = made(*range(6))
    changed, meaning = answer(folds, upto(2), minute(1)._replace(high=9.0))
    assert [(bar.high, bar.state) for _, bar in changed] == [(9.0, "closed")]
    assert meaning.outcomes == []
    _, meaning = answer(folds, upto(5), minute(4, 3.0))
    (one,) = meaning.outcomes
    assert (one.state, one.bar.high, one.bar.close, one.bar.ts) == ("revised", 9.0, 3.0, at(0))
    assert one.was is not None
    assert (one.was.high, one.was.close) == (2.0, 1.0)
    assert meaning.confirmed == []


def test_a_confirmed_bar_is_revised_however_old_it_is_among_what_is_remembered() -> None:
    folds = made(*range(60))
    answer(folds, upto(60))
    changed, meaning = answer(folds, upto(60), minute(7)._replace(low=0.1))
    assert changed == []
    (one,) = meaning.outcomes
    assert (one.state, one.bar.ts, one.bar.low) == ("revised", at(5), 0.1)
    assert one.was is not None
    assert one.was.low == 0.5


def test_a_withdrawn_minute_is_taken_out_of_a_bar_that_forms_or_has_closed() -> None:
    folds = made(0, 1, 5, 6)
    changed, meaning = answer(folds, Spans.of(at(1), at(2)) | Spans.of(at(6), at(7)), withdrawn=(1, 6))
    assert [(bar.ts, bar.volume, bar.state) for _, bar in changed] == [
        (at(0), 10.0, "closed"),
        (at(5), 10.0, "forming"),
    ]
    assert meaning == Meaning(meaning.changed, [], [])


def test_a_bar_without_any_minute_left_is_withdrawn_and_may_form_again() -> None:
    folds = made(0, 1, 5)
    changed, meaning = answer(folds, upto(2), withdrawn=(0, 1))
    assert changed == []
    assert [(one.state, one.bar.ts, one.was == one.bar) for one in meaning.outcomes] == [("withdrawn", at(0), True)]
    _, meaning = answer(folds, upto(5))
    assert meaning == NOTHING
    _, meaning = answer(folds, upto(5), withdrawn=(5,))
    assert [(one.state, one.bar.ts) for one in meaning.outcomes] == [("withdrawn", at(5))]
    again = [bar for frame, bar in folds.add(minute(7)) if frame.name == "5m"]
    assert [(bar.ts, bar.volume, bar.state) for bar in again] == [(at(5), 10.0, "forming")]


def test_a_bar_that_nobody_had_is_told_with_its_values() -> None:
    folds = made(0, 12)
    _, meaning = answer(folds, upto(10), minute(6), answered=upto(10))
    assert [(one.state, one.bar.ts, one.was) for one in meaning.outcomes] == [("confirmed", at(5), None)]


def test_what_is_not_known_whole_is_not_confirmed_until_history_has_told_it() -> None:
    folds = made(0, 1, 2)
    folds.lose((at(3), at(5)))
    folds.add(minute(5))
    assert answer(folds, upto(6)) == ([], NOTHING)
    _, meaning = answer(folds, upto(6), minute(3, 2.0), answered=Spans.of(at(3), at(5)))
    assert [(one.state, one.bar.close) for one in meaning.outcomes] == [("revised", 2.0)]
    folds = made(0, 1, 2)
    folds.lose((at(3), at(5)))
    partial = [bar.partial for frame, bar in folds.add(minute(5)) if frame.name == "5m"]
    assert partial == [True, False]
    _, meaning = answer(folds, upto(6), answered=Spans.of(at(3), at(5)))
    assert [one.state for one in meaning.outcomes] == ["confirmed"], "it was told as partial: its values are told again"


def test_a_timeframe_that_is_wanted_later_is_not_confirmed_anew() -> None:
    folds = made(*range(10))
    answer(folds, upto(5))
    folds.want(["1m"])
    folds.want(["1m", "5m"])
    assert answer(folds, upto(6)) == ([], NOTHING)
    assert answer(folds, upto(10))[1].confirmed == [(at(5), at(10))]


def test_minutes_that_others_brought_make_a_bar_whole_that_began_before_the_stream() -> None:
    folds = BarFolds(lambda: MARKETS["nyse"], timeframe("1m"), from_five_seconds=False, with_fillers=True)
    folds.want(["1m", "5m"])
    assert folds.lacking(at(2), polled=False) == Spans(), "nothing has come: its first answer may bring them"
    partial = [bar.partial for n in (2, 3, 4, 5) for frame, bar in folds.add(minute(n)) if frame.name == "5m"]
    assert partial[:-1] == [True] * (len(partial) - 1)
    assert folds.lacking(at(5) + 1, polled=False) == Spans(), "of the slot that forms now nothing is missing"
    assert answer(folds, upto(5)) == ([], NOTHING), "covered, and not known here"
    _, meaning = answer(folds, upto(5), minute(0, 3.0), minute(1), answered=upto(2))
    (one,) = meaning.outcomes
    assert (one.state, one.bar.ts, one.bar.volume) == ("revised", at(0), 50.0), "it had closed without them"


def test_what_is_missing_of_the_slots_that_form_is_said_once() -> None:
    folds = BarFolds(lambda: MARKETS["nyse"], timeframe("1m"), from_five_seconds=False, with_fillers=True)
    folds.want(["1m", "5m"])
    folds.add(minute(12))
    assert folds.lacking(at(13), polled=False) == Spans.of(at(10), at(12))
    assert folds.lacking(at(13), polled=False) == Spans()
    folds.want(["1m", "5m", "1h"])
    assert folds.lacking(at(13), polled=False) == Spans.of(at(0), at(12)), "a slot is cut at the open"
    assert folds.lacking(at(14), polled=False) == Spans()


def test_a_minute_that_was_partial_is_taken_from_history_though_its_values_are_the_same() -> None:
    folds = made(0, 1)
    folds.add(minute(2)._replace(partial=True))
    assert [folds.needs(at(n)) for n in (0, 2, 3)] == [False, True, True]


def test_polled_minutes_make_bars_that_history_alone_closes() -> None:
    folds = BarFolds(lambda: MARKETS["nyse"], timeframe("1m"), from_five_seconds=False, with_fillers=True)
    folds.want(["1m", "5m"])
    assert folds.lacking(at(2), polled=True) == Spans.of(at(0), at(2))
    changed, meaning = answer(folds, upto(2), minute(0), minute(1), answered=upto(2))
    assert [(bar.state, bar.volume, bar.partial) for _, bar in changed] == [("forming", 20.0, False)]
    assert meaning._replace(changed=[]) == NOTHING
    changed, meaning = answer(folds, upto(5), minute(3), answered=Spans.of(at(2), at(5)))
    assert changed == [], "nothing was traded in the last minute: coverage closes it"
    (one,) = meaning.outcomes
    assert (one.state, one.bar.volume) == ("confirmed", 30.0)


def hours(found: list[FoldedBar]) -> list[tuple[int, str, float | None]]:
    """The hours among bars that changed: when they begin, in minutes after the open, their states and volumes."""
    return [((bar.ts - OPEN) // MINUTE, bar.state.value, bar.volume) for frame, bar in found if frame.name == "1h"]


@pytest.mark.parametrize("source", ["the stream", "history"])
def test_minutes_after_an_open_that_no_calendar_knows_yet_wait_for_it(source: str) -> None:
    calendars = [known_to(MARKETS["nyse"], OPEN)]
    folds = BarFolds(lambda: calendars[-1], timeframe("1m"), from_five_seconds=False, with_fillers=True)
    folds.want(["1m", "1h"])
    folds.learn([], OPEN)
    if source == "the stream":
        first = [bar for n in (0, 1) for bar in folds.add(minute(n))]
        assert [frame.name for frame, _ in first] == ["1m"] * len(first), "where the hour begins is not known"
    else:
        folds.answer([minute(0), minute(1)], [], answered=upto(2), covered=upto(2))
    calendars.append(MARKETS["nyse"])
    assert hours(folds.pass_time(at(2))) == [(0, "forming", 20.0)], "the hour is cut at the open"
    assert hours(folds.add(minute(2))) == [(0, "forming", 30.0)]
    changed, meaning = folds.answer([], [2, at(1)], answered=upto(30), covered=upto(30))
    assert changed == []
    ((frame, hour),) = meaning
    assert (frame.name, [(one.state, one.bar.volume) for one in hour.outcomes]) == ("1h", [("confirmed", 20.0)])


def test_a_minute_that_waits_and_is_withdrawn_is_in_no_longer_bar() -> None:
    calendars = [known_to(MARKETS["nyse"], OPEN)]
    folds = BarFolds(lambda: calendars[-1], timeframe("1m"), from_five_seconds=False, with_fillers=True)
    folds.want(["1m", "1h"])
    folds.add(minute(0))
    folds.add(minute(1))
    folds.answer([], [at(0)], answered=upto(1), covered=upto(1))
    folds.want(["1m", "1h", "30m"])
    calendars.append(MARKETS["nyse"])
    assert hours(folds.pass_time(at(2))) == [(0, "forming", 10.0)]


def test_what_others_left_unsettled_is_missing_since_its_slot_began() -> None:
    folds = BarFolds(
        lambda: MARKETS["nyse"],
        timeframe("1m"),
        from_five_seconds=False,
        with_fillers=True,
        unsettled_from=at(58),
    )
    folds.want(["1m", "5m", "1h"])
    folds.add(minute(95))
    assert folds.lacking(at(96), polled=False) == Spans.of(at(30), at(95)), "the hour before was not settled"
    changed, _ = folds.answer([minute(31), minute(58)], [], answered=Spans.of(at(30), at(95)), covered=upto(58))
    assert hours(changed) == [(30, "closed", 20.0)]
    _, meaning = folds.answer([], [], answered=Spans(), covered=upto(95))
    confirmed = {frame.name: each.confirmed for frame, each in meaning}
    assert confirmed == {"5m": [(at(55), at(60))], "1h": [(at(30), at(90))]}


def test_nothing_is_said_to_be_missing_while_no_calendar_knows_where_a_slot_begins() -> None:
    calendars = [known_to(MARKETS["nyse"], OPEN)]
    folds = BarFolds(lambda: calendars[-1], timeframe("1m"), from_five_seconds=False, with_fillers=True)
    folds.want(["1m", "5m"])
    folds.add(minute(3))
    assert folds.lacking(at(4), polled=False) == Spans()
    calendars.append(MARKETS["nyse"])
    assert folds.lacking(at(4), polled=False) == upto(3)


WEEK = (ns("2024-03-04 14:30"), ns("2024-03-04 21:00"))
"""Monday's session; the one of `OPEN` is Tuesday's."""


def weekly(folds: BarFolds, now: int) -> bool:
    """Whether the week that forms is said to be known in part only."""
    found = folds.add(Part(now, MINUTE, 1.0, 1.0, 1.0, 1.0, 1.0, 1, complete=False))
    return [bar.partial for frame, bar in found if frame.name == "1w"][-1]


def test_a_week_is_whole_so_far_when_each_open_minute_is_known_though_no_night_is() -> None:
    folds = BarFolds(lambda: MARKETS["nyse"], timeframe("1m"), from_five_seconds=False, with_fillers=True)
    folds.want(["1m", "1w"])
    folds.learn([], OPEN)
    assert weekly(folds, at(3)), "Monday is not known"
    monday = [Part(WEEK[0] + n * MINUTE, MINUTE, 1.0, 5.0, 1.0, 1.0, 1.0, 1) for n in range(390)]
    folds.answer(monday[:-1], [], answered=Spans.of(WEEK[0], WEEK[1] - MINUTE), covered=Spans())
    assert weekly(folds, at(4)), "its last minute is not known"
    folds.answer(monday[-1:], [], answered=Spans.of(WEEK[1] - MINUTE, WEEK[1]), covered=Spans())
    assert not weekly(folds, at(5))


def test_a_month_whose_first_days_the_calendar_does_not_know_is_partial() -> None:
    short = nyse(date(2024, 3, 6), 20)
    opened = ns("2024-03-06 14:30")
    folds = BarFolds(lambda: short, timeframe("1m"), from_five_seconds=False, with_fillers=True)
    folds.want(["1m", "1M", "1d"])
    folds.learn([], opened)
    found = folds.add(Part(opened, MINUTE, 1.0, 1.0, 1.0, 1.0, 1.0, 1, complete=False))
    assert {frame.name: bar.partial for frame, bar in found} == {"1m": False, "1d": False, "1M": True}


def without_removal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Folding, "remove", lambda *_: [])


def without_coverage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ib_bridge.live.longer_bars._is_settled", lambda slot, *_: slot.closed)


def without_first_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = LongerBars.answer

    def answered(self: LongerBars, word: object) -> Meaning:
        self._was.clear()
        return plain(self, word)  # type: ignore[arg-type]

    monkeypatch.setattr(LongerBars, "answer", answered)


@pytest.mark.parametrize(
    ("mutant", "test"),
    [
        (without_removal, test_a_withdrawn_minute_is_taken_out_of_a_bar_that_forms_or_has_closed),
        (without_removal, test_a_bar_without_any_minute_left_is_withdrawn_and_may_form_again),
        (without_coverage, test_a_bar_is_confirmed_once_when_all_of_its_slot_is_covered_also_without_trades),
        (without_coverage, test_a_range_of_confirmed_bars_ends_where_one_is_not_settled),
        (without_coverage, test_what_is_not_known_whole_is_not_confirmed_until_history_has_told_it),
        (without_first_bar, test_a_minute_that_history_has_otherwise_revises_with_the_bar_as_it_closed),
    ],
)
def test_the_mutants_fail(
    monkeypatch: pytest.MonkeyPatch, mutant: Callable[[pytest.MonkeyPatch], None], test: Callable[[], None]
) -> None:
    mutant(monkeypatch)
    with pytest.raises((AssertionError, ValueError)):
        test()


# ---- what an earlier bridge published --------------------------------------------------------------------------------


def begun_again(*known: int) -> BarFolds:
    """Folds of a bridge that begins in minute 12, when a first answer brings all minutes; some of them were published before."""
    folds = BarFolds(lambda: MARKETS["nyse"], timeframe("1m"), from_five_seconds=False, with_fillers=True)
    folds.want(["1m", "5m"])
    folds.recall(minute(n) for n in known)
    return folds


@pytest.mark.parametrize("changed", [True, False])
def test_a_bar_that_an_earlier_bridge_had_confirmed_is_published_anew_where_history_has_changed_it(
    changed: bool,
) -> None:
    folds = begun_again()
    folds.learn([minute(n) for n in range(12)], OPEN)
    stamps = frozenset({at(7)}) if changed else frozenset()
    _, ((_, meaning),) = folds.answer([], [], answered=Spans(), covered=upto(12), changed=stamps)
    assert meaning.confirmed == ([(at(0), at(5))] if changed else [(at(0), at(10))])
    assert [(one.state, one.bar.ts, one.was) for one in meaning.outcomes] == (
        [("confirmed", at(5), None)] if changed else []
    )


def test_a_bar_of_which_a_minute_changes_is_published_once_its_other_minutes_are_read() -> None:
    folds = begun_again()
    changed, ((_, meaning),) = folds.answer(
        [minute(7)], [], answered=Spans(), covered=upto(12), changed=frozenset({at(7)})
    )
    assert (changed, meaning) == ([], NOTHING), "listeners may have more of it"
    missing = folds.incomplete([at(7)])
    assert missing == Spans.of(at(5), at(10))
    _, ((_, meaning),) = folds.answer([minute(n) for n in range(5, 10)], [], answered=missing, covered=upto(12))
    assert [(one.state, one.bar.ts, one.bar.volume) for one in meaning.outcomes] == [("confirmed", at(5), 50.0)]
    assert folds.incomplete([at(7)]) == Spans(), "all of it is known"


def test_what_history_has_not_answered_yet_is_not_waited_for() -> None:
    folds = begun_again()
    folds.answer([], [], answered=Spans(), covered=upto(8))
    assert folds.incomplete([at(2), at(7)]) == upto(8)


def test_a_bar_of_which_one_minute_is_withdrawn_is_not_before_its_others_are_read() -> None:
    """Two bars of an earlier bridge; the second of them has another minute, which only the database knows."""
    folds = begun_again(2, 7)
    stamps = frozenset({at(2), at(7)})
    _, ((_, meaning),) = folds.answer([], sorted(stamps), answered=Spans(), covered=upto(12), changed=stamps)
    assert meaning == NOTHING
    missing = folds.incomplete(sorted(stamps))
    assert missing == upto(10)
    _, ((_, meaning),) = folds.answer([minute(6)], [], answered=missing, covered=upto(12))
    assert [(one.state, one.bar.ts) for one in meaning.outcomes] == [("withdrawn", at(0)), ("confirmed", at(5))]
