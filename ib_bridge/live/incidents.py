"""Incidents of live data: streams that stay refused or stale, and a bus over which nothing can be published."""

import time
from collections.abc import Callable, Iterable
from typing import Any

from ib_bridge.incidents import log_changes
from ib_bridge.live.streams import Stream, StreamState
from ib_bridge.live.telling import channels_of
from nautilus.db.monitoring import incidents
from nautilus.errors import Unavailable
from nautilus.live.subscriptions import StreamKey
from nautilus.monitoring.incidents import Condition
from nautilus.process.transactions import TransactionRunner

AFTER_S = {StreamState.REFUSED: 60.0, StreamState.STALE: 300.0}
"""Machine time for which a stream must be so: outages of minutes are everyday life, and IB's farms flap."""
BUS_AFTER_S = 60.0
_CODES = {StreamState.REFUSED: "live-stream-refused", StreamState.STALE: "live-stream-stale"}
_EVERY_S = 5.0


class LiveIncidents:
    """Keeps the incidents of one bridge. clock: seconds of machine time that never go back."""

    def __init__(
        self, bridge: str, transactions: TransactionRunner, log: Any, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._bridge = bridge
        self._transactions = transactions
        self._log = log
        self._clock = clock
        self._since: dict[StreamKey, tuple[StreamState, float]] = {}
        self._kept_at = float("-inf")

    async def keep(self, streams: Iterable[Stream], failing_since: float | None) -> None:
        """Open and close incidents by what holds now. failing_since: by the same clock, since when the bus takes nothing."""
        conditions = self.conditions(streams, failing_since)
        if self._clock() - self._kept_at < _EVERY_S:
            return
        self._kept_at = self._clock()
        try:
            changes = await self._transactions.run(incidents.keep, f"live:{self._bridge}", conditions)
        except Unavailable:
            return
        log_changes(self._log, changes)

    def conditions(self, streams: Iterable[Stream], failing_since: float | None) -> list[Condition]:
        """What is wrong now, and has been for long enough."""
        now = self._clock()
        known, self._since = self._since, {}
        found = []
        for stream in streams:
            if stream.state not in AFTER_S:
                continue
            state, since = known.get(stream.key, (stream.state, now))
            self._since[stream.key] = (stream.state, since if state is stream.state else now)
            if now - self._since[stream.key][1] >= AFTER_S[stream.state]:
                subject = next(iter(channels_of(stream)), str(stream.key))
                detail = {"reason": stream.reason, "ib_code": stream.code}
                found.append(Condition(_CODES[stream.state], subject, detail))
        if failing_since is not None and now - failing_since >= BUS_AFTER_S:
            found.append(Condition("bus-down", self._bridge, {}))
        return found
