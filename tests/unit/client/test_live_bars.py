"""Live bars as a client keeps them: each change once, whatever is repeated and however the bytes are cut."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nautilus_client.live_bars import Event, Events, LiveBook

MINUTES = [f"2026-03-02T14:{minute}:00Z" for minute in range(30, 36)]


def row(n, close=1.0, **more):
    return {"ts": MINUTES[n], "open": 1.0, "high": 2.0, "low": 0.5, "close": close, "volume": 10.0, "trades": 3, **more}


def bar(n, state, close=1.0, **more):
    return Event("", "bar", row(n, close, state=state, **more))


def states(bars):
    return [(one.ts // 60_000_000_000 % 60, one.state) for one in bars]


def test_a_bar_forms_closes_and_is_confirmed_once():
    book = LiveBook("AAPL")
    assert states(book.take(bar(0, "forming"))) == [(30, "forming")]
    assert not book.take(bar(0, "forming"))
    assert states(book.take(bar(0, "forming", 1.1))) == [(30, "forming")]
    assert states(book.take(bar(0, "closed", 1.1))) == [(30, "closed")]
    assert not book.take(bar(0, "forming", 1.2)), "a bar that is closed forms no more"
    assert states(book.take(bar(0, "confirmed", 1.1, version=7))) == [(30, "confirmed")]
    assert not book.take(bar(0, "closed", 1.3))
    assert not book.take(bar(0, "revised", 1.3, version=6)), "the higher version counts"
    assert states(book.take(bar(0, "revised", 1.3, version=8))) == [(30, "revised")]


def test_a_range_that_is_confirmed_settles_what_was_closed():
    book = LiveBook("AAPL")
    for n in range(3):
        book.take(bar(n, "closed"))
    book.take(bar(3, "forming"))
    event = Event("", "confirmed", {"start": MINUTES[0], "end": MINUTES[2], "version": 4})
    assert states(book.take(event)) == [(30, "confirmed"), (31, "confirmed")]
    assert not book.take(event)


def test_a_snapshot_after_a_pause_gives_what_was_missed_and_nothing_twice():
    book = LiveBook("AAPL")
    book.take(Event("", "snapshot", {"version": 1, "bars": [row(0)], "provisional": [row(1)], "forming": row(2)}))
    later = {"version": 5, "since_version": 1, "bars": [row(1), row(2)], "provisional": [row(3)], "forming": None}
    assert states(book.take(Event("", "snapshot", later))) == [(31, "confirmed"), (32, "confirmed"), (33, "closed")]
    assert not book.take(Event("", "snapshot", {"version": 5, "since_version": 5, "bars": [row(2)], "provisional": []}))


@pytest.mark.parametrize(("reason", "known"), [("", False), ("live_bars_lost", True)])
def test_provisional_bars_are_dropped_unless_the_server_has_lost_them(reason, known):
    book = LiveBook("AAPL")
    book.take(bar(0, "closed"))
    book.take(Event("", "snapshot", {"version": 1, "reason": reason, "bars": [], "provisional": []}))
    assert (not book.take(bar(0, "closed"))) is known


def test_a_range_that_is_removed_is_forgotten():
    book = LiveBook("AAPL")
    book.take(Event("", "snapshot", {"version": 1, "bars": [row(0), row(1)]}))
    removed = {"version": 2, "removed": [[MINUTES[1], MINUTES[2]]], "bars": [row(1, 1.5)]}
    assert states(book.take(Event("", "snapshot", removed))) == [(31, "confirmed")]


def test_bars_of_before_are_no_news_but_their_revisions_are():
    book = LiveBook("AAPL")
    book.skip_before(1_772_461_920_000_000_000)  # 14:32
    assert not book.take(Event("", "snapshot", {"version": 1, "bars": [row(0), row(1)]}))
    assert states(book.take(bar(1, "revised", 1.5, version=3))) == [(31, "revised")]
    assert states(book.take(bar(2, "closed"))) == [(32, "closed")]


TEXT = (
    ": events follow\n\n"
    'id: e1:5:7\nevent: bar\ndata: {"t":"bar","ts":"' + MINUTES[0] + '","state":"closed"}\n\n'
    'event: heartbeat\r\ndata: {"t":"heartbeat"}\r\n\r\n'
).encode()


@given(st.lists(st.integers(1, 60), max_size=20))
def test_events_are_the_same_however_the_bytes_are_cut(sizes):
    events, at = Events(), 0
    found: list[Event] = []
    for size in [*sizes, len(TEXT)]:
        found += events.feed(TEXT[at : at + size])
        at += size
    assert [(one.id, one.kind) for one in found] == [("e1:5:7", "bar"), ("", "heartbeat")]
    assert json.loads(json.dumps(found[0].data))["state"] == "closed"
