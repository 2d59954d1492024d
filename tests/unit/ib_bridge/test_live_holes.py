"""Holes of a series and what a new bridge takes over of the last one: plain state."""

from datetime import UTC, datetime

import pytest

from ib_bridge.live import predecessor
from ib_bridge.live.followed import Followed
from ib_bridge.live.predecessor import Left
from nautilus.coverage.states import CoverageState, Note
from nautilus.db.live.provisional import ProvisionalBar
from nautilus.spans import Spans
from tests.support.markets import MARKETS, MINUTE, S, ns
from tests.unit.ib_bridge.live_streams import minutes, quotes

NOON = ns("2024-03-05 17:00")
HOLE = (NOON, NOON + 3 * MINUTE)
WRITTEN = datetime(2026, 3, 2, tzinfo=UTC)


def note(start: int, end: int, reason: str = "no_permission") -> Note:
    span = (NOON + start * MINUTE, NOON + end * MINUTE)
    return Note(span, CoverageState.UNAVAILABLE, reason, None, NOON, None)


def followed() -> Followed:
    one = Followed(minutes().key, NOON, calendar=MARKETS["nyse"])
    one.holes = Spans.of(*HOLE)
    return one


def test_why_a_hole_is_not_filled_is_told_once_for_each_reason_and_only_when_all_of_it_is_refused() -> None:
    one = followed()
    assert one.take_refused([note(0, 2)], Spans()) == (), "a part of it may come"
    assert one.take_refused([note(0, 2)], Spans.of(NOON + 2 * MINUTE, HOLE[1])) == ((HOLE, "no_permission"),)
    assert one.take_refused([note(0, 3)], Spans()) == ()
    assert one.take_refused([note(0, 3, "no_answer")], Spans()) == ((HOLE, "no_answer"),)
    assert one.take_refused([], Spans()) == ()
    assert one.take_refused([note(0, 3, "no_answer")], Spans()) == ((HOLE, "no_answer"),), "it was asked for again"
    one.holes = Spans()
    assert one.take_refused([note(0, 3)], Spans()) == ()


@pytest.mark.parametrize(("kind", "after_s"), [("bars:5s", 15), ("bars:1m", 1)])
def test_bars_of_five_seconds_are_not_looked_at_with_each_that_closes(kind: str, after_s: int) -> None:
    one = Followed(minutes().key._replace(kind=kind), NOON, calendar=MARKETS["nyse"])
    assert one.wants_inspection(NOON, NOON), "it is new"
    one.again, one.closed, one.inspected_at = False, NOON, NOON
    assert not one.wants_inspection(NOON, NOON + 60 * S), "none has closed"
    looked = [seconds for seconds in range(1, 31) if one.wants_inspection(NOON + 5 * S, NOON + seconds * S)]
    assert looked[0] == after_s
    one.again = True
    assert one.wants_inspection(NOON, NOON + S), "a hole, a part, an answer"


def test_holes_in_bars_of_five_seconds_share_ten_requests_in_ten_minutes() -> None:
    one = followed()
    one.key = one.key._replace(kind="bars:5s")
    missing = Spans.of(HOLE[0], HOLE[1] + MINUTE)
    now = one.requested_at = HOLE[1] + MINUTE
    for series in (1, 7):
        assert not one.due(missing, now=now + series * MINUTE - S, series=series)
        assert one.due(missing, now=now + series * MINUTE, series=series)
    one.holes = Spans()
    assert not one.due(missing, now=now + 10 * MINUTE, series=1), "what is no hole waits for the half hour"
    one.holes, one.key = Spans.of(*HOLE), followed().key
    assert not one.due(Spans.of(*HOLE), now=now + 60 * MINUTE, series=100), "minutes have a pace of their own"


def left(**fields: object) -> Left:
    row = minutes(confirmed_until=NOON, holes=Spans.of(*HOLE), last_event_at=NOON + 150 * S).row()
    row = row._replace(bridge="bridge-1", updated_at=WRITTEN)._replace(**fields)  # type: ignore[arg-type]
    return Left({row.key: row}, {})


@pytest.mark.parametrize(
    ("state", "ts", "lost_at"), [("closed", 2, 3), ("forming", 2, 2), ("closed", -1, 1.5), ("", 0, 1.5)]
)
def test_a_stream_was_lost_when_it_had_told_its_newest_bar(state: str, ts: float, lost_at: float) -> None:
    """Where nothing was traded for long, its last word counts; that may have been of the bar before."""
    known, stream = left(), minutes()
    if state:
        bar = ProvisionalBar(1, NOON + int(ts * MINUTE), 1.0, 1.0, 1.0, 1.0, None, None, state, False, "rtb", NOON)
        known.newest[1] = bar
    predecessor.hand_over(known, stream, NOON + 10 * MINUTE)
    assert (stream.confirmed_until, stream.holes) == (NOON, Spans.of(*HOLE))
    assert (stream.lost_at, stream.loss) == (NOON + int(lost_at * MINUTE), "bridge_restarted")
    assert known.streams == {}


def test_who_wants_it_only_since_then_and_a_quote_have_missed_nothing() -> None:
    stream = minutes()
    stream.want = stream.want._replace(since_s=WRITTEN.timestamp() + 1)
    predecessor.hand_over(left(), stream, NOON + 10 * MINUTE)
    assert (stream.lost_at, stream.holes) == (None, Spans())
    of_quotes, known = quotes(), left()
    known.streams[of_quotes.key] = next(iter(known.streams.values()))
    predecessor.hand_over(known, of_quotes, NOON + 10 * MINUTE)
    assert of_quotes.lost_at is None


def test_a_clock_that_went_back_loses_nothing() -> None:
    stream = minutes()
    predecessor.hand_over(left(), stream, NOON - MINUTE)
    assert stream.lost_at is None


def test_what_nobody_wants_any_more_is_forgotten() -> None:
    known = left()
    (key,) = known.streams
    assert predecessor.take_unwanted(known, [key]) == []
    assert predecessor.take_unwanted(known, []) == [key]
    assert known.streams == {}
