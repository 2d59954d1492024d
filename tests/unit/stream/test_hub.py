"""Which messages of the bus reach which sockets, and in which order."""

import asyncio
import json
import logging
from collections.abc import Mapping

import pytest

from nautilus.live.envelope import Entry
from stream.frames import BusMessage
from stream.hub import Hub

QUOTES = [f"data.quotes.NASDAQ.X{n}" for n in range(3)]


class Recording:
    """A socket that has some channels of quotes, and what the hub gave it."""

    def __init__(self, hub: Hub, *channels: str) -> None:
        self.quotes = frozenset(channels)
        self.got: list[tuple[str, int]] = []
        self.chosen: list[Mapping[str, BusMessage]] = []
        hub.open(self)
        for channel in channels:
            hub.join(self, channel)

    def receive(self, message: BusMessage) -> None:
        self.got.append((message.channel, message.number))

    def receive_quotes(self, newest: Mapping[str, BusMessage]) -> None:
        self.chosen.append(newest)
        self.got += [(channel, one.number) for channel, one in newest.items()]

    def begin_epoch(self, epoch: str) -> None:
        self.got.append((epoch, 0))

    def heal(self, channel: str) -> None:
        self.got.append((f"heal {channel}", 0))

    def beat(self) -> None:
        self.got.append(("beat", 0))


@pytest.fixture
def hub() -> Hub:
    return Hub(logging.getLogger("tests.hub"))


def tell(hub: Hub, *messages: tuple[str, str, int], epoch: str = "a") -> None:
    """Messages of the bus: kind, channel, number."""
    entries = [
        Entry(kind, channel, json.dumps({"e": epoch, "seq": number}).encode()) for kind, channel, number in messages
    ]
    hub.receive(entries, hub.clock())


def beat(hub: Hub) -> None:
    asyncio.run(hub.beat())


def test_a_socket_gets_the_newest_quotes_of_its_channels_at_a_beat(hub: Hub) -> None:
    one, two, same = Recording(hub, *QUOTES[:2]), Recording(hub, QUOTES[2]), Recording(hub, *QUOTES[:2])
    tell(hub, ("quote", QUOTES[0], 1), ("quote", QUOTES[0], 2), ("quote", QUOTES[1], 1))
    assert one.got == []
    beat(hub)
    assert one.got == same.got == [(QUOTES[0], 2), (QUOTES[1], 1), ("beat", 0)]
    assert one.chosen[0] is same.chosen[0], "they share what was chosen"
    assert two.got == [], "nobody visits it"
    beat(hub)
    assert len(one.got) == 3


def test_a_quote_goes_before_what_follows_it_on_its_channel(hub: Hub) -> None:
    one = Recording(hub, QUOTES[0])
    tell(hub, ("quote", QUOTES[0], 1), ("stream", QUOTES[0], 2), ("quote", QUOTES[0], 3))
    beat(hub)
    assert one.got == [(QUOTES[0], 1), (QUOTES[0], 2), (QUOTES[0], 3), ("beat", 0)]


def test_quotes_of_an_epoch_go_before_the_next_one(hub: Hub) -> None:
    one = Recording(hub, QUOTES[0])
    tell(hub, ("quote", QUOTES[0], 7))
    tell(hub, ("epoch", "events.epoch", 1), ("quote", QUOTES[0], 1), epoch="b")
    beat(hub)
    assert one.got == [(QUOTES[0], 7), ("b", 0), (QUOTES[0], 1), ("beat", 0)]


def test_a_socket_that_has_left_gets_nothing_that_waits(hub: Hub) -> None:
    one = Recording(hub, QUOTES[0])
    tell(hub, ("quote", QUOTES[0], 1))
    hub.close(one, QUOTES)
    beat(hub)
    assert one.got == []
