"""What waits for one socket, and which sockets share what is sent."""

import json

import pytest

from stream import frames
from stream.frames import Begin, BusMessage, Frame, Frames
from stream.outbox import Outbox

QUOTES = [f"data.quotes.NASDAQ.X{n}" for n in range(3)]


def quote(channel: str, number: int) -> BusMessage:
    return BusMessage("quote", channel, number, json.dumps({"c": channel, "seq": number}), {})


def quotes(number: int) -> dict[str, BusMessage]:
    """A quote of each channel."""
    return {name: quote(name, number) for name in QUOTES}


def bar(number: int, state: str, ts: str = "1", version: int = 0) -> BusMessage:
    fields = {"c": "bars", "seq": number, "state": state, "ts": ts, "version": version}
    return BusMessage("bar", "bars", number, json.dumps(fields), fields)


def taken(box: Outbox) -> Frame:
    frame = box.take(newest=True)
    assert frame is not None
    return frame


def content(frame: Frame) -> list[tuple[str, int, int]]:
    """Channel, number and `skip` of each message."""
    return [(one["c"], one["seq"], one.get("skip", 0)) for one in json.loads(frame.json)]


def of_all(number: int, skip: int = 0) -> list[tuple[str, int, int]]:
    return [(name, number, skip) for name in QUOTES]


def test_sockets_that_wait_for_the_same_messages_share_the_frame() -> None:
    made = Frames()
    boxes = [Outbox(made) for _ in range(3)]
    for number in (1, 2):
        made.clear()
        newest = quotes(number)
        for box in boxes:
            box.put_quotes(newest)
        first, *others = [taken(box) for box in boxes]
        assert all(one is first for one in others)
        assert content(first) == of_all(number)


def test_a_socket_that_was_sent_less_gets_its_own_skip() -> None:
    made = Frames()
    quick, slow, new = (Outbox(made) for _ in range(3))
    for number in (1, 2, 3):
        made.clear()
        newest = quotes(number)
        for box in (quick, slow, new) if number == 3 else (quick, slow):
            box.put_quotes(newest)
        if number < 3:
            taken(quick)
        if number == 1:
            taken(slow)
    assert slow.skipped == 3, "one of each channel was replaced"
    assert [content(taken(box)) for box in (quick, slow, new)] == [of_all(3), of_all(3, 1), of_all(3)]
    assert quick.skipped == new.skipped == 0


def test_a_quote_that_the_snapshot_has_is_not_sent_again() -> None:
    box = Outbox(Frames())
    box.put('{"c":"snapshot","seq":4}', begin=Begin(QUOTES[0], 4))
    box.put_quotes({QUOTES[0]: quote(QUOTES[0], 4)})
    assert content(taken(box)) == [("snapshot", 4, 0)]
    box.put_quotes({QUOTES[0]: quote(QUOTES[0], 4)})
    assert box.take(newest=True) is None, "no frame without a message"
    box.put_quotes({QUOTES[0]: quote(QUOTES[0], 6)})
    assert content(taken(box)) == [(QUOTES[0], 6, 1)]


def test_a_new_epoch_counts_anew_behind_all_that_waits() -> None:
    box = Outbox(Frames())
    box.put_quotes(quotes(8))
    taken(box)
    box.put_quotes({QUOTES[0]: quote(QUOTES[0], 9)})
    box.begin_epoch('{"c":"reset","seq":0}')
    box.put_quotes(quotes(2))
    assert content(taken(box)) == [(QUOTES[0], 9, 0), ("reset", 0, 0), *of_all(2)]


def test_closed_bars_all_go_and_a_forming_one_goes_in_its_place() -> None:
    box = Outbox(Frames())
    box.put('{"c":"bars","seq":0}', begin=Begin("bars", 0, 1))
    for message in (bar(1, "forming"), bar(2, "closed"), bar(3, "closed", "2"), bar(4, "confirmed", "2", 7)):
        box.add(message)
    box.add(bar(5, "forming", "3"))
    assert box.waiting == 4, "the forming bar that closed is needless"
    assert content(taken(box)) == [("bars", 0, 0), ("bars", 2, 1), ("bars", 3, 0), ("bars", 4, 0), ("bars", 5, 0)]
    assert box.version("bars") == 7
    assert box.take(newest=True) is None


def test_a_forming_bar_of_another_minute_keeps_its_turn() -> None:
    box = Outbox(Frames())
    for message in (bar(1, "forming", "2"), bar(2, "closed", "1")):
        box.add(message)
    assert content(taken(box)) == [("bars", 1, 0), ("bars", 2, 0)]


def test_more_frames_than_are_kept_are_still_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "_MOST_FRAMES", 1)
    made = Frames()
    for name in QUOTES:
        box = Outbox(made)
        box.put_quotes({name: quote(name, 5)})
        assert content(taken(box)) == [(name, 5, 0)]
    assert len(made._made) == 1


def test_a_frame_shared_without_its_numbers_would_tell_a_wrong_skip(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mutant: sockets share a frame whatever was sent to them before."""
    frame = Frames.frame
    monkeypatch.setattr(Frames, "frame", lambda self, messages, before: frame(self, messages, (None,) * len(messages)))
    box = Outbox(Frames())
    for number in (1, 3):
        box.put_quotes(quotes(number))
        got = content(taken(box))
    assert got != of_all(3, 1)


def test_a_frame_that_was_not_sent_is_the_next_one_again_and_counts_as_unsent() -> None:
    box = Outbox(Frames())
    box.put("{}", begin=Begin("bars", 4, 10))
    taken(box)
    box.add(bar(5, "confirmed", version=11))
    box.put_quotes(quotes(1))
    first = taken(box)
    assert (box.version("bars"), box.number("bars"), box.number(QUOTES[0])) == (11, 5, 1)
    box.put_back(first)
    assert (box.version("bars"), box.number("bars"), box.number(QUOTES[0])) == (10, 4, 0)
    box.add(bar(6, "confirmed", version=12))
    assert content(taken(box)) == [("bars", 5, 0), *of_all(1), ("bars", 6, 0)]
    assert (box.version("bars"), box.number("bars")) == (12, 6)
