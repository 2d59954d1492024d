"""Publish through whichever way works, and begin a new epoch whenever numbers cannot go on.

Redis where there is one. A Redis that fails is tried again for `PATIENCE_S`; then notifications carry the bus, and Redis is
tried every `PATIENCE_S`. Each change of the way begins an epoch, and so does a Redis that has lost the epoch's key. An epoch
begins with the newest message of every channel of the kinds that are states (`quote`, `session`, ...), so that a listener who
receives one knows where things stand; bars it reads from the database.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Protocol

from nautilus.errors import Unavailable
from nautilus.live.envelope import Entry, Sequencer, new_epoch

PATIENCE_S = 5.0
_REST_S = 1.0
STATES = frozenset({"quote", "session", "stream"})
"""Kinds of which the newest message says all."""


class Publisher(Protocol):
    """One way to publish. Unavailable: it does not work now, and what was to be published may be there in part."""

    def begin(self, epoch: str) -> None:
        """Begin an epoch."""

    def publish(self, epoch: str, entries: list[Entry]) -> bool:
        """Publish all, or False where the epoch is not known any more: the rest then goes into the next epoch."""

    def close(self) -> None:
        """Let go of what it holds."""


class Message(NamedTuple):
    """What is to be published: its kind, its channel, and its fields, without those of the envelope."""

    kind: str
    channel: str
    fields: Mapping[str, Any]


class Bus:
    """The publishing side. Not safe to share between threads.

    ways: the first that works carries the bus. database_ms: machine time by the database's clock, in ms since 1970: epochs
    sort by it, and the clocks of two machines differ. began: called with each new epoch. clock: seconds that never go back.
    """

    def __init__(
        self,
        ways: list[Publisher],
        database_ms: Callable[[], int],
        *,
        began: Callable[[str], None] = lambda epoch: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ways = ways
        self._clock = clock
        self._database_ms = database_ms
        self._began = began
        self._way = 0
        self._epoch_ms = 0
        self._numbers: Sequencer | None = None
        self._failing_since: float | None = None
        self._tried_at = float("-inf")
        self._newest: dict[tuple[str, str], Message] = {}
        self._waiting: list[Message] = []

    @property
    def epoch(self) -> str:
        """The present epoch; empty before the first message."""
        return self._numbers.epoch if self._numbers else ""

    def publish(self, messages: Iterable[Message]) -> bool:
        """Publish messages. False: they are kept for the next call, or, when nothing could be published for `PATIENCE_S`, dropped
        with their epoch.
        """
        new = list(messages)
        for message in new:
            if message.kind in STATES:
                self._newest[message.kind, message.channel] = message
        self._waiting += new
        if self._way and self._clock() - self._tried_at >= PATIENCE_S:
            self._tried_at = self._clock()
            if self._start(0):
                return True
        return self._go_on() if self._numbers is not None else self._start_any()

    def _go_on(self) -> bool:
        """Publish what waits in the present epoch."""
        assert self._numbers is not None  # noqa: S101  for the type checker
        way = self._ways[self._way]
        before = self._numbers.copy()
        try:
            if way.publish(self._numbers.epoch, [self._numbers.entry(*message) for message in self._waiting]):
                self._failing_since = None
                self._waiting.clear()
                return True
        except Unavailable:
            # Nobody knows whether they are there: they are sent again under the same numbers, and count once.
            self._numbers = before
            return self._failed()
        return self._start(self._way) or self._failed()

    def _failed(self) -> bool:
        now = self._clock()
        if self._failing_since is None:
            self._failing_since = now
        if now - self._failing_since < PATIENCE_S:
            return False
        self._numbers = None
        self._waiting.clear()
        return self._start_any()

    def _start_any(self) -> bool:
        """Begin an epoch by whichever way works, trying once a second at most."""
        now = self._clock()
        if now - self._tried_at >= _REST_S:
            self._tried_at = now
            if any(self._start(way) for way in range(len(self._ways))):
                return True
        self._waiting.clear()
        return False

    def _start(self, way: int) -> bool:
        """Begin an epoch by a way; False when it does not work."""
        known = [m for key, m in self._newest.items() if not any((w.kind, w.channel) == key for w in self._waiting)]
        first = [Message("epoch", "events.epoch", {}), *known, *self._waiting]
        try:
            # Later than every epoch of this process, should the database's clock have gone back.
            self._epoch_ms = max(self._database_ms(), self._epoch_ms + 1)
            numbers = Sequencer(new_epoch(self._epoch_ms))
            self._ways[way].begin(numbers.epoch)
            if not self._ways[way].publish(numbers.epoch, [numbers.entry(*message) for message in first]):
                return False
        except Unavailable:
            return False
        self._way, self._numbers, self._failing_since = way, numbers, None
        self._waiting.clear()
        self._began(numbers.epoch)
        return True

    def close(self) -> None:
        for way in self._ways:
            way.close()
