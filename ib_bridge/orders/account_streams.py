"""What IB is to send about accounts by itself: values, profit, and the profit of each position.

IB gives the values of an account to one subscription of a connection, and the profit of a contract to one of an account and
contract.
"""

from ib_bridge.orders.parts import OrderParts
from nautilus.clock import NS_PER_S
from nautilus.db.cursor import Cursor
from nautilus.db.portfolio import broker, cash
from nautilus.portfolio.trade_dates import span_of, trade_date

_AT_ONCE = 10
"""Requests for profits of positions in a second: orders need the rest of what IB takes."""
_BEFORE_END_NS = 300 * NS_PER_S
"""So long before a trade date ends values are requested anew: IB sends what has changed, and a day needs a value of its own."""
_AGAIN_NS = cash.SETTLED_NS + 10 * NS_PER_S
"""Balances that may lack a fill are requested anew so much later."""

_Contract = tuple[str, int]


class AccountStreams:
    """`step` is called each second while the connection is up. ConnectionError: it went."""

    def __init__(self, parts: OrderParts) -> None:
        self._parts = parts
        self._connection = 0
        self._values: dict[str, tuple[int, int]] = {}
        self._profits: dict[str, int] = {}
        self._of_positions: dict[_Contract, int] = {}

    async def step(self) -> None:
        """Ask for what is not requested yet, and end what nobody needs. Unavailable: no database."""
        gateway = self._parts.gateway
        if gateway.number != self._connection:
            self._connection = gateway.number
            self._values, self._profits, self._of_positions = {}, {}, {}
        await self._ask_for_accounts()
        unopened, watched = await self._parts.transactions.run(_wanted, gateway.accounts)
        for account in gateway.accounts:
            if self._are_old(account, unopened=account in unopened):
                await self._ask_for_values(account)
        await self._ask_for_positions(watched)

    async def _ask_for_accounts(self) -> None:
        for account in self._parts.gateway.accounts:
            if account not in self._values:
                await self._ask_for_values(account)
            if account not in self._profits:
                await self._pass()
                self._profits[account] = request = self._request()
                self._parts.gateway.pnl_requests[request] = (account, None)
                self._parts.gateway.client.reqPnL(request, account, "")

    async def _ask_for_values(self, account: str) -> None:
        await self._pass(2)
        gateway = self._parts.gateway
        if account in self._values:
            gateway.client.cancelAccountUpdatesMulti(self._values[account][0])
        request = self._request()
        self._values[account] = request, self._parts.clock.now_ns()
        gateway.value_requests[request] = account
        gateway.client.reqAccountUpdatesMulti(request, account, "", False)

    def _are_old(self, account: str, *, unopened: bool) -> bool:
        """Whether the values of an account are requested anew. unopened: it has positions from a time on, and cash from none."""
        now, requested_at = self._parts.clock.now_ns(), self._values[account][1]
        evening = span_of(trade_date(now))[1] - _BEFORE_END_NS
        return requested_at < evening <= now or (unopened and now - requested_at >= _AGAIN_NS)

    async def _ask_for_positions(self, watched: set[_Contract]) -> None:
        gateway = self._parts.gateway
        for key in sorted(self._of_positions.keys() - watched):
            await self._pass()
            request = self._of_positions.pop(key)
            gateway.pnl_requests.pop(request, None)
            gateway.client.cancelPnLSingle(request)
        for key in sorted(watched - self._of_positions.keys())[:_AT_ONCE]:
            await self._pass()
            self._of_positions[key] = request = self._request()
            gateway.pnl_requests[request] = key
            gateway.client.reqPnLSingle(request, key[0], "", key[1])

    async def _pass(self, messages: int = 1) -> None:
        """Wait for IB's rate. ConnectionError when the connection is another one after it."""
        await self._parts.pacer.passed(messages)
        if self._parts.gateway.number != self._connection:
            raise ConnectionError("the connection is another one")

    def _request(self) -> int:
        return self._parts.gateway.request_id()


def _wanted(cursor: Cursor, accounts: tuple[str, ...]) -> tuple[set[str], set[_Contract]]:
    """The accounts without a first balance, and the contracts whose profit is wanted."""
    return set(cash.unopened(cursor, accounts)), {
        (row.account, row.con_id) for row in broker.to_watch(cursor, accounts)
    }
