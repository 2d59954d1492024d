"""Which contract words mean: IB is asked at most once, and its answer is kept."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from ib_bridge.ib import translate
from ib_bridge.ib.codes import UNRESOLVED, meaning
from ib_bridge.ib.requests import IbError
from ib_bridge.reference.booked_requests import BookedRequests
from ib_bridge.reference.market_rules import MarketRules
from nautilus.db.cursor import Cursor
from nautilus.db.market import instruments
from nautilus.errors import Conflict, NautilusError, Unavailable, Upstream
from nautilus.lookup.confirmed import is_confirmed
from nautilus.lookup.identity import FRONT_OLD_AFTER_S
from nautilus.lookup.resolve import known_instrument
from nautilus.market.instrument import Instrument
from nautilus.market.symbols import Selector
from nautilus.process.transactions import TransactionRunner

_NEGATIVE_KEEP_S = 3600
LOOKUPS_AT_ONCE = 8
"""How many lookups of one command or job are under way at IB; the pacing book keeps them within IB's messages per second."""
_RENEWED_AT_ONCE = 20
"""How many old lookups one pass renews, so that it ends soon."""
_NOT_RENEWED_AGAIN_S = 900.0
"""A lookup that could not be renewed is not tried again for so long, or it would keep the others waiting."""


class Contracts:
    """What IB knows about contracts."""

    def __init__(self, transactions: TransactionRunner, requests: BookedRequests, log: Any) -> None:
        self._transactions = transactions
        self._requests = requests
        self._rules = MarketRules(requests, log)
        self._log = log
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._not_renewed: dict[str, float] = {}

    async def instrument(self, selector: Selector, correlation_id: str = "", *, anew: bool = False) -> Instrument:
        """The one instrument a selector means. NotFound, Conflict, or Unavailable when IB could not say.

        anew: IB is asked again unless it was on this day and named the hours of now. What was known before is the answer when
        IB does not answer.
        """
        if await self._transactions.run(self._is_old, selector, anew):
            try:
                await self._candidates(selector, correlation_id)
            except Unavailable as gone:
                self._log.info("lookup-not-renewed", extra={"lookup": selector.key, "reason": gone.detail})
        found = await self._transactions.run(known_instrument, selector)
        if found is not None:
            return found
        await self._candidates(selector, correlation_id)
        found = await self._transactions.run(known_instrument, selector)
        if found is None:
            raise Unavailable(f"IB tells no contract of {selector.words} that still trades", code="ib-unavailable")
        return found

    @staticmethod
    def _is_old(cursor: Cursor, selector: Selector, anew: bool) -> bool:
        """True when what is known about a selector should be looked up again before it is planned with."""
        known = instruments.look_up(cursor, selector)
        if known is None or not known.candidates or (selector.con_id and not anew):
            return False
        if selector.front and not instruments.checked_within(cursor, selector.key, FRONT_OLD_AFTER_S):
            return True
        return anew and not any(is_confirmed(cursor, selector, one) for one in known.candidates)

    async def renew(self) -> None:
        """Ask again for lookups that have grown old, the oldest first. No reader waits for this."""
        if not self._requests.connection.can_resolve:
            return
        now = time.monotonic()
        self._not_renewed = {key: until for key, until in self._not_renewed.items() if until > now}
        for key in await self._transactions.run(instruments.due, _RENEWED_AT_ONCE, without=list(self._not_renewed)):
            try:
                await self._candidates(Selector.of_key(key), "")
            except NautilusError as gone:
                self._not_renewed[key] = now + _NOT_RENEWED_AGAIN_S
                self._log.info("lookup-not-renewed", extra={"lookup": key, "reason": gone.detail})

    async def instruments(
        self, selectors: Sequence[Selector], correlation_id: str = "", *, anew: bool = False
    ) -> dict[str, Instrument | NautilusError]:
        """What each selector means, or why not, by its key. IB is asked about several at a time."""
        room = asyncio.Semaphore(LOOKUPS_AT_ONCE)

        async def one(selector: Selector) -> Instrument | NautilusError:
            async with room:
                try:
                    return await self.instrument(selector, correlation_id, anew=anew)
                except NautilusError as wrong:
                    return wrong

        found = await asyncio.gather(*map(one, selectors))
        return {selector.key: answer for selector, answer in zip(selectors, found, strict=True)}

    async def _candidates(self, selector: Selector, correlation_id: str) -> None:
        """Ask IB what a selector means and keep the answer; who asks the same meanwhile waits for that answer.

        Unavailable when IB could not say.
        """
        key = selector.key
        if key not in self._asking:
            self._asking[key] = asyncio.create_task(self._ask(selector, correlation_id))
            self._asking[key].add_done_callback(lambda _: self._asking.pop(key, None))
        await asyncio.shield(self._asking[key])

    async def _ask(self, selector: Selector, correlation_id: str) -> None:
        if not self._requests.connection.can_resolve:
            raise Unavailable("IB's contract database cannot be reached now", code="ib-unavailable")
        query = translate.contracts(selector)
        try:
            rows = await self._requests.details(query, selector.key, correlation_id)
        except IbError as refused:
            reason = meaning(refused.code, refused.text).reason
            if reason not in UNRESOLVED or not self._requests.connection.can_resolve:
                raise Unavailable(
                    f"IB could not look up {selector.words}",
                    code="ib-unavailable",
                    upstream=Upstream(refused.code, refused.text),
                ) from None
            if reason == "ambiguous_contract":
                raise Conflict(
                    f"{selector.words} means several contracts at IB; say more, such as exchange, currency or expiry",
                    code="ambiguous-instrument",
                    upstream=Upstream(refused.code, refused.text),
                ) from None
            await self._transactions.run(
                instruments.remember,
                selector.key,
                [],
                ib_code=refused.code,
                ib_text=refused.text,
                keep_s=_NEGATIVE_KEEP_S,
            )
            return
        described = translate.listed_once([translate.instrument(row) for row in rows])
        found = await self._rules.complete(described, correlation_id)
        chosen = [one for one, _ in found]
        if selector.front:
            chosen = await self._front(chosen, correlation_id)

        def keep(cursor: Cursor) -> instruments.Renewal | None:
            instruments.store_all(cursor, found)
            numbers = [one.con_id for one in chosen]
            return instruments.remember(cursor, selector.key, numbers, keep_s=_NEGATIVE_KEEP_S)

        renewal = await self._transactions.run(keep)
        if renewal is not None:
            changed = {"from_con_ids": list(renewal.before), "to_con_ids": list(renewal.now)}
            self._log.warning("instrument-changed", extra={"lookup": selector.key, "instrument_changed": changed})

    async def _front(self, months: list[Instrument], correlation_id: str) -> list[Instrument]:
        """Of all months of a future the front one, as IB's continuous future says; else the nearest expiry."""
        months = sorted(months, key=lambda m: m.expiry)
        if len(months) < 2:
            return months
        first = months[0]
        query = translate.continuous(first.symbol, first.exchange, first.currency)
        try:
            rows = await self._requests.details(query, f"CONTFUT|{first.symbol}|{first.exchange}", correlation_id)
        except IbError:
            rows = []
        for row in rows:
            known = [m for m in months if m.con_id == row.contract.conId or m.local_symbol == row.contract.localSymbol]
            if known:
                return known[:1]
        return months[:1]
