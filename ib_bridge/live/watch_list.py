"""The watch list among the wants: what it names is wanted for ever, and names that nobody here knows are looked up at IB."""

import asyncio
import time
from collections.abc import Sequence

from ib_bridge.parts import BridgeParts
from nautilus.errors import NautilusError
from nautilus.infra.loops import Backoff
from nautilus.live import watching
from nautilus.live.watch_series import WatchSeries
from nautilus.market.symbols import select

_EACH_S = 1.0
_AGAIN_S = 300.0
"""Machine time before a name that IB did not know, or could not answer about, is looked up again."""
BACKOFF = Backoff(first_s=1.0, longest_s=5.0)


class WatchList:
    """Keeps the list that holds: one that somebody has set, else `setting`."""

    def __init__(self, setting: Sequence[WatchSeries], parts: BridgeParts) -> None:
        self._setting = setting
        self._transactions = parts.transactions
        self._contracts = parts.directory.contracts
        self._ready = parts.ready
        self._log = parts.log
        self._not_before: dict[str, float] = {}

    async def step(self) -> None:
        """Check the list once. A name that IB has to look up holds up the list alone. Unavailable: the database is away."""
        unresolved = await self._transactions.run(watching.keep, self._setting)
        unknown = {one.series.instrument_id for one in unresolved if one.reason == watching.UNKNOWN}
        due = [name for name in sorted(unknown) if time.monotonic() >= self._not_before.get(name, 0.0)]
        if due and self._ready():
            await self._look_up(due[0])
        else:
            await asyncio.sleep(_EACH_S)

    async def _look_up(self, name: str) -> None:
        self._not_before[name] = time.monotonic() + _AGAIN_S
        try:
            found = await self._contracts.instrument(select(instrument_id=name))
        except NautilusError as wrong:
            self._log.warning("watched-name-not-found", extra={"instrument_id": name, "reason": wrong.detail})
        else:
            self._log.info("watched-name-found", extra={"instrument_id": name, "con_id": found.con_id})
