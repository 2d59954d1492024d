"""What goes over the bus: one JSON body per message, complete as a listener gets it, numbered per channel within an epoch.

    {"v":1,"t":"bar","c":"data.bars.…","e":"mik3f9x0a2","seq":812, ...}

v rises only when a field changes its meaning. Readers ignore fields and kinds they do not know. Numbers of a channel are
consecutive: one that is missing was lost. An epoch ends when numbers cannot go on (the publisher is another one, or what it
kept is gone); listeners then resume by the versions of the database. Epochs sort by the time they were made, so that a
straggler of an older one is known as such.
"""

import json
import secrets
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

VERSION = 1
TICKS = frozenset({"trade", "quote_tick", "midpoint_tick"})
"""Kinds of messages of which each counts, and none is urgent."""
STREAMS: Mapping[str, str] = {
    "data.bars.": "bars",
    **dict.fromkeys(("data.quotes.", "data.trades.", "data.quote_ticks.", "data.midpoint_ticks."), "quotes"),
}
"""How a channel begins -> the stream of the bus that carries it; all others go by `events`. The messages of a channel are
numbered together, whatever their kinds, so one stream carries them all: two would be read in another order."""
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_TIME_DIGITS = 9
NOT_FILLED = "not_filled_yet"
"""The reason of a `gap` that is sent to who begins to listen while it is open."""


class Entry(NamedTuple):
    """One message on its way. body: UTF-8 JSON of an object."""

    kind: str
    channel: str
    body: bytes

    @property
    def stream(self) -> str:
        """Which of the bus's streams carries it: `bars`, `quotes` or `events`."""
        return next((stream for begin, stream in STREAMS.items() if self.channel.startswith(begin)), "events")


def new_epoch(machine_ms: int) -> str:
    """The name of an epoch that begins at a machine time (ms since 1970). Later ones sort after it."""
    digits = []
    for _ in range(_TIME_DIGITS):
        machine_ms, digit = divmod(machine_ms, len(_DIGITS))
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits)) + "".join(secrets.choice(_DIGITS) for _ in range(3))


class Sequencer:
    """Numbers the messages of one epoch."""

    def __init__(self, epoch: str) -> None:
        self.epoch = epoch
        self._numbers: Counter[str] = Counter()

    def entry(self, kind: str, channel: str, fields: Mapping[str, Any]) -> Entry:
        """The next message of a channel, from its fields."""
        self._numbers[channel] += 1
        about = {"v": VERSION, "t": kind, "c": channel, "e": self.epoch, "seq": self._numbers[channel]}
        return Entry(kind, channel, json.dumps(about | dict(fields), separators=(",", ":")).encode())

    def copy(self) -> "Sequencer":
        """One that goes on from here, apart from this one."""
        copied = Sequencer(self.epoch)
        copied._numbers = self._numbers.copy()
        return copied

    def last(self, channel: str) -> int:
        """The number of the channel's newest message; 0 when it has none yet."""
        return self._numbers[channel]
