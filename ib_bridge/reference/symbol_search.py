"""IB's search for symbols, with names that lead back to what it found."""

import asyncio
import time
from typing import Any

from ib_bridge.ib import translate
from ib_bridge.ib.requests import IbError
from ib_bridge.reference.booked_requests import BookedRequests
from ib_bridge.reference.contracts import Contracts
from nautilus.errors import NautilusError, Unavailable, Upstream
from nautilus.market.instrument import Instrument
from nautilus.market.symbols import Selector, leads_back

_SEARCH_PAUSE_S = 1.0
"""Between two symbol searches (TWS API, matching symbols: at least one second)."""


class SymbolSearch:
    """One search at a time."""

    def __init__(self, requests: BookedRequests, contracts: Contracts) -> None:
        self._requests = requests
        self._contracts = contracts
        self._searching = asyncio.Lock()
        self._searched = 0.0

    async def matches(self, pattern: str, correlation_id: str = "") -> list[dict[str, Any]]:
        """What IB's symbol search finds. IB takes one such question per second and login."""
        if not self._requests.connection.can_resolve:
            raise Unavailable("IB's contract database cannot be reached now", code="ib-unavailable")
        async with self._searching:
            await asyncio.sleep(max(0.0, self._searched + _SEARCH_PAUSE_S - time.monotonic()))
            self._searched = time.monotonic()
            try:
                found = await self._requests.matches(pattern, correlation_id)
            except IbError as refused:
                raise Unavailable(
                    f"IB could not search for {pattern}",
                    code="ib-unavailable",
                    upstream=Upstream(refused.code, refused.text),
                ) from None
        rows = [translate.match(one) for one in found]
        return await self._named([row for row in rows if row["con_id"]], correlation_id)

    async def _named(self, rows: list[dict[str, Any]], correlation_id: str) -> list[dict[str, Any]]:
        """Matches under names that lead back to them. IB's search tells no venue of many; contract details do.

        What IB does not describe has no name and is left out. Unavailable when IB could not say.
        """
        unclear = [row for row in rows if not leads_back(row["instrument_id"], row["asset_class"], row["symbol"])]
        described = await self._contracts.instruments(
            [Selector("", "", con_id=row["con_id"]) for row in unclear], correlation_id
        )
        named = []
        for row in rows:
            found = described.get(f"conId={row['con_id']}")
            if isinstance(found, Unavailable):
                raise found
            if isinstance(found, Instrument):
                row = row | {name: getattr(found, name) for name in ("instrument_id", "exchange", "primary_exchange")}
            if not isinstance(found, NautilusError):
                named.append(row)
        return named
