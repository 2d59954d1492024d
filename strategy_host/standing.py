"""How a run in paper or live stands while it goes on: its counts and figures, written for whoever reads it."""

import asyncio
import time
from collections.abc import Callable

from nautilus.db.cursor import Cursor
from nautilus.db.strategies import leases, writing
from nautilus.db.strategies.leases import Hold
from nautilus.db.strategies.runs import RunRow
from nautilus.strategies.options import run_options
from strategy_host import stopping
from strategy_host.following import looped
from strategy_host.parts import HostParts

_EVERY_S = 2.0
_SHARE = 20
"""After figures that took a second to compute, none are for so many seconds: those of a long run take a while."""


class Standing:
    """Of one run. clock: seconds of machine time that never go back."""

    def __init__(self, parts: HostParts, run: RunRow, clock: Callable[[], float] = time.monotonic) -> None:
        self._parts = parts
        self._run = run
        self._options = run_options(run.options)
        self._clock = clock
        self._written: writing.Traces | None = None
        self._not_before = 0.0

    async def write_often(self) -> None:
        """For as long as the run goes on. LeaseLost."""
        await looped(self._parts.log, "standing", self.step, _EVERY_S, event=asyncio.Event())

    async def step(self) -> None:
        """Write counts and figures, where something has come since the last time."""
        began = self._clock()
        if began < self._not_before:
            return
        traces = await self._parts.snapshots.read(writing.traces, self._run.id, self._run.principal)
        if traces == self._written:
            return
        try:
            found = await self._parts.snapshots.read(stopping.outcome, self._run, self._options)
            await self._parts.transactions.run(self._write, found)
        finally:
            self._not_before = self._clock() + _SHARE * (self._clock() - began)
        self._written = traces

    def _write(self, cursor: Cursor, found: dict[str, object]) -> None:
        leases.stand(cursor, Hold(self._run.id, self._run.token), found)
