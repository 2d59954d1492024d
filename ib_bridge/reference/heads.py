"""The oldest bar that IB has of a series: requested once a month, where it matters."""

from ib_bridge.ib import translate
from ib_bridge.ib.clock import MarketClock
from ib_bridge.ib.requests import IbError
from ib_bridge.reference.booked_requests import BookedRequests
from nautilus.backfill.plan_rules import HEAD_DAYS, PlanRules
from nautilus.db.market import series
from nautilus.db.market.series import Series
from nautilus.market.instrument import Instrument
from nautilus.process.transactions import TransactionRunner


class Heads:
    """The heads of series."""

    def __init__(self, transactions: TransactionRunner, requests: BookedRequests, clock: MarketClock) -> None:
        self._transactions = transactions
        self._requests = requests
        self._clock = clock

    async def head(
        self, instrument: Instrument, row: Series, start: int, correlation_id: str = "", *, interactive: bool = False
    ) -> int | None:
        """The oldest bar IB has of a series, on its axis, when bars are wanted from so long ago that it matters.

        NotYet when IB's limits allow the request only later.
        """
        if not PlanRules.asks_head(start, self._clock.now_ns()):
            return row.head_ts
        if await self._transactions.run(series.head_is_fresh, row.id, HEAD_DAYS):
            return row.head_ts
        if await self._transactions.run(series.share_head, row, HEAD_DAYS):
            return (await self._transactions.run(series.by_id, row.id)).head_ts
        try:
            answer = await self._requests.head(instrument, row, correlation_id, interactive=interactive)
        except IbError:
            return row.head_ts
        head = translate.head(answer)
        if head is not None:
            await self._transactions.run(series.set_head, row.id, head)
        return head
