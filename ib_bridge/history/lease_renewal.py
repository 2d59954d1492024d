"""The leases of the chunks that are worked on: they are prolonged, and work that nobody wants any more is cancelled."""

import asyncio

from ib_bridge.history.in_flight import InFlight
from nautilus.db.ledger import chunks
from nautilus.process.transactions import TransactionRunner

_RENEW_S = 15.0


class LeaseRenewal:
    """Keeps the leases of what is in flight."""

    def __init__(self, transactions: TransactionRunner, in_flight: InFlight) -> None:
        self._transactions = transactions
        self._in_flight = in_flight

    async def renew(self) -> None:
        """Prolong our leases, and let go of what is not ours or not wanted any more."""
        await asyncio.sleep(_RENEW_S)
        await self.check(renew=True)

    async def check(self, *, renew: bool = False) -> None:
        """Cancel the requests of chunks that no live job wants; with `renew`, prolong the others' leases."""
        held = self._in_flight.leases
        if not held:
            return
        if renew:
            await self._transactions.run(chunks.renew, held)
        for number in await self._transactions.run(chunks.unwanted, held):
            self._in_flight.cancel(number)
