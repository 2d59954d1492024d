"""What a listener makes of the bus: nothing twice, nothing of an older epoch, and every loss seen."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from nautilus.live.envelope import Entry


class ReceivedEntry(NamedTuple):
    """A message that counts.

    fields: its body. new_epoch: it is the first of an epoch, so that all that was known by number is void. missed: how many
    messages of its channel were lost before it.
    """

    entry: Entry
    fields: Mapping[str, Any]
    new_epoch: bool
    missed: int


class Hearing:
    """The ear of one listener, for all ways by which messages come, in any mixture of them."""

    def __init__(self) -> None:
        self.epoch = ""
        self._last: dict[str, int] = {}
        self._whole = False  # every message of the epoch should have come

    def hear(self, entry: Entry) -> ReceivedEntry | None:
        """What a message says that counts; None for one that came before or is of an older epoch.

        Of a channel's first message within the first epoch that is received nobody can say whether something went before: the
        listener has come in the middle. In each later epoch numbers begin with 1.
        """
        fields = json.loads(entry.body)
        epoch, number = str(fields["e"]), int(fields["seq"])
        if epoch < self.epoch:
            return None
        joined, new_epoch = not self.epoch, epoch > self.epoch
        if new_epoch:
            self._last.clear()
            self._whole = not joined
            self.epoch = epoch
        last = self._last.get(entry.channel, 0 if self._whole else number - 1)
        if number <= last:
            return None
        self._last[entry.channel] = number
        return ReceivedEntry(entry, fields, new_epoch and not joined, number - last - 1)

    def numbers(self) -> Mapping[str, int]:
        """Channel -> number of the newest message received in this epoch."""
        return dict(self._last)
