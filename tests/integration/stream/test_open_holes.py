"""A hole that is open when somebody begins to listen: it is told behind the snapshot, and `filled` ends it."""

from collections.abc import Sequence
from typing import Any

from nautilus.clock import rfc3339
from nautilus.coverage.states import CoverageState, Note
from nautilus.db.live import streams
from nautilus.db.live.streams import StreamRow
from nautilus.live.envelope import NOT_FILLED
from nautilus.live.offered import stream_of
from nautilus.spans import Span, Spans
from stream.frames import BusMessage
from stream.holes import Hole, open_holes
from stream.series_snapshot import SeriesSnapshot
from stream.snapshot_messages import is_held_by
from tests.support.live_stack import LiveStack
from tests.support.stored_bars import StoredBars
from tests.support.stream_server import BARS, FIVE, MINUTE, OPEN, Publishing, StreamServer, client

HOLE = (OPEN + 10 * MINUTE, OPEN + 20 * MINUTE)
SLOWLY = {"live_keep_up_to_date": "0", "settle_intraday_s": "900"}
"""Settings with which a hole stays open for a quarter of an hour."""


def run(live: LiveStack, seconds: int) -> None:
    for _ in range(seconds // 10):
        live.advance(10)


def gaps(messages: Sequence[dict[str, Any]], channel: str) -> list[tuple[str, str, str]]:
    return [(m["start"], m["end"], m["reason"]) for m in messages if m["t"] == "gap" and m["c"] == channel]


def test_who_subscribes_while_a_hole_is_open_is_told_of_it_and_of_its_end(both: tuple[LiveStack, StreamServer]) -> None:
    live, running = both
    live.start_bridge(**SLOWLY)
    live.instrument("AAPL")
    with client(running, running.token()) as first:
        first.subscribe(BARS)
        live.wait(lambda: live.received("reqRealTimeBars"), "it is requested")
        run(live, 70)
        live.sim.command("lost")
        live.advance(5)
        live.sim.command("restored maintained")
        run(live, 60)
        gap = first.next("gap")
        live.wait(lambda: live.streams()[0].holes, "its row has the hole", 30, live.streams)
        with client(running, running.token(2)) as late:
            late.subscribe(BARS, FIVE)
            for _ in range(2):
                late.next("gap")
            same = (gap["start"], gap["end"], NOT_FILLED)
            # The channel of five minutes is new to the bridge, too: it may say so as well.
            assert set(gaps(late.received, BARS)) == set(gaps(late.received, FIVE)) == {same}
            kinds = [m["t"] for m in late.received if m.get("c") == BARS]
            assert kinds.index("snapshot") < kinds.index("gap")
            live.wait(lambda: {m["c"] for m in live.messages("gap", FIVE)} == {FIVE}, "the new channel has it", 30)
            run(live, 960)
            for channel in (BARS, FIVE):
                filled = late.next("filled", c=channel)
                assert (filled["start"], filled["end"]) == (gap["start"], gap["end"])
                late._at = 0
            live.wait(lambda: not live.streams()[0].holes, "no hole is left", 30, live.streams)
        with client(running, running.token(3)) as later:
            later.subscribe(BARS)
            later.next("snapshot")
            later.send(op="ping", id=9)
            later.next("pong")
            assert gaps(later.received, BARS) == []


def put_hole(bridge: Publishing, *holes: Span) -> None:
    key = stream_of(bridge.aapl.con_id, "bars", "1m", price="TRADES", session="rth")
    row = StreamRow(*key, "rtb", "live", "", None, "live", 6, OPEN, OPEN, OPEN, Spans(holes), 0)
    with bridge.stored.db.transaction() as cursor:
        streams.put(cursor, "bridge-1", [row])


def held(bridge: Publishing, now: int) -> list[Hole]:
    key = stream_of(bridge.aapl.con_id, "bars", "5m", price="TRADES", session="rth")
    with bridge.stored.db.transaction() as cursor:
        return list(open_holes(cursor, key, market_ns=now))


def test_a_hole_is_open_until_coverage_closes_it_and_has_the_reason_for_which_history_refuses_it(
    stored: StoredBars, bridge: Publishing
) -> None:
    now = OPEN + 60 * MINUTE
    assert held(bridge, now) == [], "there is no stream"
    put_hole(bridge, HOLE)
    assert held(bridge, now) == [Hole(HOLE, NOT_FILLED)], "there is no series"
    stored.record(bridge.aapl, "1m", settled=[(OPEN, HOLE[0] + 5 * MINUTE)])
    assert held(bridge, now) == [Hole(HOLE, NOT_FILLED)]
    middle = HOLE[0] + 7 * MINUTE
    for begin, end, reason in (
        (HOLE[0] + 5 * MINUTE, middle, "one"),
        (middle, HOLE[1], "two"),
    ):
        note = Note((begin, end), CoverageState.UNAVAILABLE, reason, 162, now, now + MINUTE)
        stored.record(bridge.aapl, "1m", noted=[note])
        expected = "two" if reason == "two" else NOT_FILLED
        assert held(bridge, now) == [Hole(HOLE, expected)], "all that is missing is refused, or it is to come"
    assert held(bridge, now + MINUTE) == [Hole(HOLE, NOT_FILLED)], "it is requested again"
    stored.record(bridge.aapl, "1m", settled=[HOLE])
    assert held(bridge, now) == []


def test_the_end_of_a_hole_that_a_snapshot_tells_is_not_taken_for_told() -> None:
    """The row of the stream may be a beat older than the version of the series."""
    fields = {"start": rfc3339(HOLE[0]), "end": rfc3339(HOLE[1]), "version": 5}
    filled = BusMessage("filled", BARS, 3, "{}", fields)
    whole = SeriesSnapshot(1, 5, None)
    assert is_held_by(whole, filled)
    assert not is_held_by(whole._replace(holes=(Hole(HOLE, NOT_FILLED),)), filled)
