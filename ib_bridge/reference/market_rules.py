"""In which steps prices move: IB's market rules, requested once in the life of the process and kept with the instrument.

Contract details name the number of a rule for each exchange; the rule itself is one more request. Orders need it, a
lookup does not: where IB does not answer, the lookup goes on without, and the next one requests it again.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from ib_bridge.ib import translate
from ib_bridge.ib.requests import IbError
from ib_bridge.reference.booked_requests import BookedRequests
from nautilus.errors import Unavailable
from nautilus.market.instrument import Instrument
from nautilus.orders.prices import PRICE_STEPS, RULE


class MarketRules:
    """The rules that IB answered: number -> pairs of texts, from price and step."""

    def __init__(self, requests: BookedRequests, log: Any) -> None:
        self._requests = requests
        self._log = log
        self._known: dict[int, list[list[str]]] = {}

    async def complete(
        self, found: Iterable[tuple[Instrument, Mapping[str, Any]]], correlation_id: str
    ) -> list[tuple[Instrument, dict[str, Any]]]:
        """The instruments with the steps of their rules among their details, as far as IB tells them."""
        return [(one, await self._with_steps(details, correlation_id)) for one, details in found]

    async def _with_steps(self, details: Mapping[str, Any], correlation_id: str) -> dict[str, Any]:
        number = details.get(RULE)
        if not isinstance(number, int):
            return dict(details)
        if number not in self._known:
            await self._ask(number, correlation_id)
        steps = self._known.get(number)
        return {**details, **({PRICE_STEPS: {RULE: number, "steps": steps}} if steps else {})}

    async def _ask(self, number: int, correlation_id: str) -> None:
        try:
            rule = await self._requests.market_rule(number, correlation_id)
        except (IbError, Unavailable) as gone:
            self._log.info("market-rule-not-told", extra={"market_rule": number, "reason": str(gone)})
            return
        steps = translate.price_steps(rule)
        if steps:
            self._known[number] = steps
