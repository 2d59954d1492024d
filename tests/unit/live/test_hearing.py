"""A listener hears each message once, nothing of an older epoch, and every loss."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nautilus.live.envelope import Entry, Sequencer, new_epoch
from nautilus.live.hearing import Hearing, ReceivedEntry


def numbers(received: list[ReceivedEntry]) -> list[tuple[str, int]]:
    return [(one.entry.channel, one.fields["seq"]) for one in received]


def hear(hearing: Hearing, entries: list[Entry]) -> list[ReceivedEntry]:
    return [found for entry in entries if (found := hearing.hear(entry)) is not None]


def test_epochs_sort_by_the_time_they_were_made() -> None:
    assert new_epoch(1_764_000_000_000) < new_epoch(1_764_000_000_001) < new_epoch(9_999_999_999_999)


@given(st.lists(st.sampled_from("abc"), max_size=30), st.data())
def test_what_is_told_again_from_some_message_on_counts_once(channels: list[str], data: st.DataObject) -> None:
    """So a publisher does that does not know whether its last beat arrived."""
    numbered = Sequencer("e1")
    entries = [numbered.entry("bar", channel, {}) for channel in channels]
    again = data.draw(st.integers(0, len(entries)))
    upto = data.draw(st.integers(again, len(entries)))
    received = hear(Hearing(), entries[:upto] + entries[again:])
    assert [one.entry for one in received] == entries
    assert all(one.missed == 0 for one in received)


def test_a_loss_is_counted_on_its_channel() -> None:
    numbered = Sequencer("e1")
    a, b = ([numbered.entry("bar", channel, {}) for _ in range(5)] for channel in "ab")
    received = hear(Hearing(), [a[1], b[0], a[4], b[1]])
    assert [one.missed for one in received] == [0, 0, 2, 0]


def test_in_a_later_epoch_numbers_begin_with_one() -> None:
    first, second = Sequencer("e1"), Sequencer("e2")
    hearing = Hearing()
    hear(hearing, [first.entry("bar", "a", {})])
    second.entry("bar", "a", {})
    (received,) = hear(hearing, [second.entry("bar", "a", {})])
    assert (received.new_epoch, received.missed) == (True, 1)
    assert hear(hearing, [first.entry("bar", "a", {})]) == [], "a straggler of the older one"
    assert hearing.numbers() == {"a": 2}


def test_who_joins_has_missed_nothing() -> None:
    numbered = Sequencer("e1")
    for _ in range(7):
        entry = numbered.entry("bar", "a", {})
    received = Hearing().hear(entry)
    assert received is not None
    assert (received.new_epoch, received.missed) == (False, 0)


class Credulous(Hearing):
    """It goes by numbers alone."""

    def hear(self, entry: Entry) -> ReceivedEntry | None:
        self.epoch = ""
        return super().hear(entry)


def test_a_listener_that_ignores_epochs_is_found_wrong() -> None:
    first, second = Sequencer("e1"), Sequencer("e2")
    sent = [first.entry("bar", "a", {}), second.entry("bar", "a", {}), first.entry("bar", "a", {})]
    assert numbers(hear(Hearing(), sent)) == [("a", 1), ("a", 1)]
    with pytest.raises(AssertionError):
        assert numbers(hear(Credulous(), sent)) == [("a", 1), ("a", 1)]
