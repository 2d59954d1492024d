"""Each bar is given once, in order, however late after its end it is stored, and whenever a run begins or begins again."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from nautilus.clock import NS_PER_S, rfc3339
from nautilus.db.live import provisional, streams
from nautilus.db.live.provisional import ProvisionalBar
from nautilus.db.live.streams import StreamRow
from nautilus.db.market import series
from nautilus.db.strategies import leases, writing
from nautilus.market.bar import Bar
from nautilus.market.timeframes import timeframe
from nautilus.spans import Spans
from nautilus.strategies import history
from nautilus.strategies.states import Mode
from strategy_host.bar_feed import BarFeed, GivenBar
from tests.support.stored_bars import stock
from tests.support.strategy_host import DAYS, MINUTE, StrategyStack, sessions, strategy_stack, waves
from tests.support.strategy_rows import series_of

TODAY = sessions("2026-10-09")[0]
BARS = waves(TODAY)
LATE = [0, 1, 300_000_000, 9 * NS_PER_S]
"""From the end of a bar until its row is there."""
FRESH_NS = 10 * NS_PER_S
"""Beside its own length: a bar that was over for longer is decided on no more."""


class Feeds:
    """The feeds of one run in paper, one after the other."""

    def __init__(self, stack: StrategyStack, **changed: Any) -> None:
        self.stack = stack
        made = stack.run(mode=Mode.PAPER, start_ns=None, end_ns=None, **changed)
        self.given: list[int] = []
        with stack.db.transaction() as cursor:
            (self.run,) = leases.take(cursor, "host", [Mode.PAPER], limit=1, lease_s=60)
            self.fed = [history.fed_series(cursor, one, n, make=True) for n, one in enumerate(made.series)]

    def begin(self, bars: int, *, held_s: float = 0, clock: Callable[[], float] = time.monotonic) -> list[int]:
        """A new feed; the opens of the bars that it warms up with."""
        self.feed = BarFeed(self.run, self.fed, held_s=held_s, clock=clock)
        with self.stack.db.transaction() as cursor:
            found = self.feed.warm_up(cursor, bars)
        self.feed.committed()
        return [bar.opened_ns for bar in found]

    def news(self) -> list[GivenBar]:
        with self.stack.db.transaction() as cursor:
            found = self.feed.news(cursor)
        self.feed.committed()
        self.given += [one.bar.opened_ns for one in found.bars]
        return found.bars

    def lost_news(self) -> list[int]:
        """Of a transaction that is rolled back."""
        found: list[int] = []
        with suppress(ZeroDivisionError), self.stack.db.transaction() as cursor:
            found += [one.bar.opened_ns for one in self.feed.news(cursor).bars]
            raise ZeroDivisionError
        return found

    def done(self, bar: Bar) -> None:
        """The child has worked through a bar."""
        with self.stack.db.transaction() as cursor:
            writing.bar_done(cursor, self.run.id, 0, bar.ts + MINUTE)

    def pass_by(self, *bars: Bar, late_ns: int) -> None:
        for bar in bars:
            self.stack.pass_by(bar, after_ns=late_ns)


@pytest.fixture
def feeds(tmp_path, dsn) -> Iterator[Feeds]:
    with strategy_stack(tmp_path, dsn) as made:
        made.begin_stream(TODAY)
        yield Feeds(made)


def opens(*bars: Bar) -> list[int]:
    return [bar.ts for bar in bars]


@pytest.mark.parametrize("late_ns", LATE)
def test_each_bar_is_given_once_however_late_it_is_stored(feeds, late_ns):
    assert feeds.begin(0) == []
    for bar in BARS[:4]:
        feeds.pass_by(bar, late_ns=late_ns)
        feeds.news()
        assert feeds.news() == []
    assert feeds.given == opens(*BARS[:4])


@pytest.mark.parametrize("late_ns", LATE)
def test_a_bar_that_is_over_when_the_run_begins_is_learned_and_the_next_one_is_given(feeds, late_ns):
    feeds.pass_by(*BARS[:3], late_ns=late_ns)
    assert feeds.begin(10) == opens(*BARS[:3])
    assert feeds.news() == []
    feeds.pass_by(BARS[3], late_ns=late_ns)
    feeds.news()
    assert feeds.given == opens(BARS[3])


@pytest.mark.parametrize("late_ns", LATE)
def test_a_bar_that_is_over_when_the_run_begins_and_stored_later_is_given(feeds, late_ns):
    feeds.stack.bars.set_time(BARS[0].ts + MINUTE + late_ns)
    assert feeds.begin(10) == []
    feeds.pass_by(BARS[0], late_ns=late_ns + NS_PER_S)
    feeds.news()
    feeds.pass_by(BARS[1], late_ns=late_ns)
    feeds.news()
    assert feeds.given == opens(*BARS[:2])


def test_history_before_today_is_learned_too(feeds):
    feeds.stack.store(*DAYS[:-1])
    feeds.pass_by(*BARS[:2], late_ns=NS_PER_S)
    learned = feeds.begin(5)
    assert len(learned) == 5
    assert learned[-2:] == opens(*BARS[:2])


@pytest.mark.parametrize("late_ns", LATE)
def test_a_run_that_begins_again_at_any_time_misses_no_bar_and_decides_on_none_twice(feeds, late_ns):
    """Its process was lost after the second bar, with which the first one had done; the third closed meanwhile."""
    feeds.begin(0)
    for bar in BARS[:2]:
        feeds.pass_by(bar, late_ns=late_ns)
        feeds.news()
        feeds.done(bar)
    feeds.pass_by(BARS[2], late_ns=late_ns)
    assert feeds.begin(10) == opens(*BARS[:2])
    feeds.news()
    assert feeds.given == opens(*BARS[:3])


@pytest.mark.parametrize(("late_ns", "given"), [(0, True), (FRESH_NS - NS_PER_S, True), (FRESH_NS + NS_PER_S, False)])
def test_a_bar_that_nobody_has_done_with_is_given_once_more_while_it_is_new(feeds, late_ns, given):
    feeds.begin(0)
    feeds.pass_by(BARS[0], late_ns=0)
    feeds.news()
    feeds.stack.bars.set_time(BARS[0].ts + 2 * MINUTE + late_ns)
    learned = feeds.begin(10)
    feeds.news()
    assert feeds.given == opens(BARS[0]) * (2 if given else 1)
    assert learned == ([] if given else opens(BARS[0]))


def test_what_comes_too_late_is_learned_alone_and_noted(feeds):
    """History brought two minutes at once that the stream had missed."""
    feeds.begin(0)
    feeds.pass_by(BARS[0], late_ns=0)
    feeds.news()
    feeds.stack.bars.record(feeds.stack.instrument, "1m", BARS[1:3])
    feeds.stack.bars.set_time(BARS[1].ts + 2 * MINUTE + FRESH_NS + NS_PER_S)
    assert [(one.bar.opened_ns, one.state) for one in feeds.news()] == [
        (BARS[1].ts, "warm_up"),
        (BARS[2].ts, "confirmed"),
    ]
    assert feeds.stack.events(feeds.run, "gap") == [{"series": 0, "from": rfc3339(BARS[1].ts), "bars": 1}]


def late_bar(feeds: Feeds) -> None:
    """The first bar is decided on; the second comes too late."""
    feeds.begin(0)
    feeds.pass_by(BARS[0], late_ns=0)
    feeds.news()
    feeds.done(BARS[0])
    feeds.stack.bars.record(feeds.stack.instrument, "1m", BARS[1:2])
    feeds.stack.bars.set_time(BARS[1].ts + 2 * MINUTE + FRESH_NS + NS_PER_S)
    assert [one.state for one in feeds.news()] == ["warm_up"]


def test_a_run_that_begins_again_after_a_late_bar_decides_on_the_next_one(feeds):
    late_bar(feeds)
    feeds.pass_by(BARS[2], late_ns=FRESH_NS + 2 * NS_PER_S)
    assert feeds.begin(10) == opens(BARS[1])
    assert [one.state for one in feeds.news()] == ["closed"]
    assert feeds.given == opens(*BARS[:3])
    assert feeds.begin(10) == opens(BARS[1]), "the last one is given once more"


def test_what_closed_after_a_late_bar_while_nobody_was_there_is_noted(feeds):
    late_bar(feeds)
    noted = feeds.stack.events(feeds.run, "gap")
    feeds.pass_by(*BARS[2:6], late_ns=0)
    feeds.stack.bars.set_time(BARS[20].ts)
    assert feeds.begin(10) == opens(*BARS[1:6])
    missed = {"series": 0, "from": rfc3339(BARS[2].ts), "bars": 4}
    assert feeds.stack.events(feeds.run, "gap") == [*noted, missed]
    assert feeds.news() == []


@pytest.mark.parametrize(("held_s", "states"), [(1e9, []), (0, ["unconfirmed"])])
def test_a_bar_behind_a_hole_waits_for_history_and_then_no_entry_follows_from_it(feeds, held_s, states):
    feeds.begin(0, held_s=held_s)
    feeds.pass_by(BARS[0], late_ns=0)
    feeds.news()
    hole(feeds, Spans.of(BARS[1].ts, BARS[3].ts))
    feeds.pass_by(BARS[3], late_ns=0)
    assert [one.state for one in feeds.news()] == states
    noted = [{"series": 0, "from": rfc3339(BARS[1].ts), "bars": 2}]
    assert feeds.stack.events(feeds.run, "gap") == (noted if states else [])


def test_a_bar_behind_a_hole_that_history_fills_is_given_after_what_was_missing(feeds):
    feeds.begin(0, held_s=1e9)
    feeds.pass_by(BARS[0], late_ns=0)
    feeds.news()
    hole(feeds, Spans.of(BARS[1].ts, BARS[2].ts))
    feeds.pass_by(BARS[2], late_ns=0)
    assert feeds.news() == []
    feeds.stack.bars.record(feeds.stack.instrument, "1m", [BARS[1]])
    hole(feeds, Spans())
    assert [one.state for one in feeds.news()] == ["confirmed", "closed"]
    assert feeds.given == opens(*BARS[:3])


def hole(feeds: Feeds, missed: Spans) -> None:
    """What the stream of its bars has missed, and history has not brought."""
    key = (feeds.stack.instrument.con_id, "bars:1m", "TRADES", "rth")
    row = StreamRow(*key, "kutd", "live", "", None, "live", 6, 1, None, None, missed, 0)
    with feeds.stack.db.transaction() as cursor:
        streams.put(cursor, "bridge", [row])


def test_what_was_not_committed_is_given_again(feeds):
    feeds.begin(0)
    feeds.pass_by(BARS[0], late_ns=NS_PER_S)
    assert feeds.lost_news() == opens(BARS[0])
    feeds.news()
    assert feeds.given == opens(BARS[0])


# ---- bars of five seconds --------------------------------------------------------------------------------------------

FIVE = 5 * NS_PER_S
HELD_S = 30.0


class FiveSeconds:
    """The feed of a run on bars of five seconds, by the market's clock. states: of the bars that it gave, by their number."""

    def __init__(self, stack: StrategyStack) -> None:
        self.feeds = Feeds(stack, series=[series_of(stack.instrument.con_id, "5s")])
        self.now = BARS[0].ts
        self.stack = stack
        stack.bars.set_time(self.now)
        self.feeds.begin(0, held_s=HELD_S, clock=lambda: self.now / NS_PER_S)
        self.states: dict[int, str] = {}

    def closes(self, n: int, *, partial: bool = False, late_ns: int = 0) -> None:
        """A bar is over, and what there is by then is given."""
        ts = BARS[0].ts + n * FIVE
        self.now = ts + FIVE + late_ns
        self.stack.bars.set_time(self.now)
        with self.stack.db.transaction() as cursor:
            row = series.find_or_make(
                cursor, self.stack.instrument.con_id, timeframe("5s"), price="TRADES", session="rth"
            )
            values = (1.0, 2.0, 0.5, 1.5)
            bar = ProvisionalBar(row.id, ts, *values, None, None, "closed", partial, "kutd", self.now)
            provisional.put(cursor, [bar])
        self.states |= {(one.bar.opened_ns - BARS[0].ts) // FIVE: one.state for one in self.feeds.news()}


@pytest.fixture
def five(tmp_path, dsn) -> Iterator[FiveSeconds]:
    with strategy_stack(tmp_path, dsn) as made:
        made.begin_stream(TODAY)
        yield FiveSeconds(made)


@pytest.mark.parametrize("lacking", [{2}, {2, 4}])
def test_bars_behind_one_that_waits_are_decided_on_when_its_wait_is_over(five, lacking):
    for n in range(8):
        five.closes(n, partial=n in lacking)
    assert five.states == {0: "closed", 1: "closed"}
    for n in range(8, 14):
        five.closes(n)
    assert five.states == {n: "unconfirmed" if n in lacking else "closed" for n in range(14)}
    assert list(five.states) == list(range(14))
    assert five.stack.events(five.feeds.run, "gap") == []


def test_a_bar_that_came_too_late_is_learned_alone_though_another_one_waited_before_it(five):
    five.closes(0)
    five.closes(1, partial=True)
    five.closes(2, late_ns=FIVE + FRESH_NS + NS_PER_S)
    assert five.states == {0: "closed"}
    five.closes(8)
    assert five.states == {0: "closed", 1: "unconfirmed", 2: "warm_up", 8: "closed"}


# ---- pairs -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def pair(tmp_path, dsn) -> Iterator[StrategyStack]:
    euro = stock(7, "EUR")._replace(asset_class="CASH", instrument_id="EUR/USD.IDEALPRO", min_tick=0.00005)
    with strategy_stack(tmp_path, dsn, instrument=euro) as made:
        made.begin_stream(TODAY)
        yield made


def closes(stack: StrategyStack, price: str, bar: Bar) -> None:
    """A minute of one side of the market is over."""
    stack.bars.set_time(bar.ts + MINUTE + NS_PER_S)
    with stack.db.transaction() as cursor:
        row = series.find_or_make(cursor, stack.instrument.con_id, timeframe("1m"), price=price, session="rth")
        values = (bar.open, bar.high, bar.low, bar.close)
        now = bar.ts + MINUTE + NS_PER_S
        provisional.put(cursor, [ProvisionalBar(row.id, bar.ts, *values, None, None, "closed", False, "kutd", now)])


def of_pair(stack: StrategyStack, *, fill: str, held_s: float = 1e9) -> Feeds:
    both = [series_of(7, price=price, session="rth") for price in ("BID", "ASK")]
    made = Feeds(stack, series=both, options={"fill": fill})
    made.begin(0, held_s=held_s)
    return made


def test_a_bid_that_fills_at_its_close_waits_for_the_ask_of_its_minute(pair):
    feeds = of_pair(pair, fill="close")
    closes(pair, "BID", BARS[0])
    assert feeds.news() == []
    closes(pair, "ASK", BARS[0])
    assert [(one.bar.series, one.state) for one in feeds.news()] == [(1, "closed"), (0, "closed")]
    closes(pair, "ASK", BARS[1])
    assert [one.bar.series for one in feeds.news()] == [1]
    closes(pair, "BID", BARS[1])
    assert [one.bar.series for one in feeds.news()] == [0]


def test_no_entry_follows_from_a_bid_whose_ask_never_came(pair):
    feeds = of_pair(pair, fill="close", held_s=0)
    closes(pair, "BID", BARS[0])
    assert [(one.bar.series, one.state) for one in feeds.news()] == [(0, "unconfirmed")]


def test_an_order_that_fills_at_the_next_open_needs_no_such_wait(pair):
    feeds = of_pair(pair, fill="next_open")
    closes(pair, "BID", BARS[0])
    assert [(one.bar.series, one.state) for one in feeds.news()] == [(0, "closed")]
