"""What IB is to send about accounts by itself: values, profit, and the profit of each position.

IB gives the values of an account to one subscription of a connection, and the profit of a contract to one of an account and
contract.
"""

import time
from collections.abc import Mapping
from typing import NamedTuple

from ib_bridge.orders.parts import OrderParts
from nautilus.clock import NS_PER_S
from nautilus.db.cursor import Cursor
from nautilus.db.orders import account_state
from nautilus.db.portfolio import broker, cash
from nautilus.portfolio.trade_dates import span_of, trade_date

_AT_ONCE = 10
"""Requests for profits of positions in a second: orders need the rest of what IB takes."""
_BEFORE_END_NS = 300 * NS_PER_S
"""So long before a trade date ends values are requested anew: IB sends what has changed, and a day needs a value of its own."""
_AGAIN_NS = cash.SETTLED_NS + 10 * NS_PER_S
"""Balances that may lack a fill are requested anew so much later."""
_OLD_NS, _PAUSE_S = 180 * NS_PER_S, 10.0
"""IB repeats every three minutes what has changed. What is older, in market time, is requested anew, so that it has a time of
its own; not more often than once in the pause, in machine time."""

_Contract = tuple[str, int]


class AccountStreams:
    """`step` is called each second while the connection is up. ConnectionError: it went."""

    def __init__(self, parts: OrderParts) -> None:
        self._parts = parts
        self._connection = 0
        self._subscriptions = 0
        self._values: dict[str, tuple[int, int]] = {}
        self._profits: dict[str, int] = {}
        self._of_positions: dict[_Contract, int] = {}
        self._since: dict[str, int] = {}
        self._renewed_at: dict[str, float] = {}

    def standing(self) -> Mapping[str, int]:
        """Since when (market time in ns) each account has been followed without a gap: what IB has sent since then holds,
        however long ago it came, as IB sends all that changes. Empty while IB's servers are away."""
        gateway = self._parts.gateway
        followed = gateway.up and not gateway.servers_lost and gateway.subscriptions == self._subscriptions
        return dict(self._since) if followed else {}

    async def step(self) -> None:
        """Ask for what is not requested yet, and end what nobody needs. Unavailable: no database."""
        gateway = self._parts.gateway
        if gateway.number != self._connection:
            self._connection, self._subscriptions = gateway.number, gateway.subscriptions
            self._values, self._profits, self._of_positions, self._since = {}, {}, {}, {}
        if gateway.servers_lost:
            return
        if gateway.subscriptions != self._subscriptions:
            await self._end_all()
        await self._ask_for_accounts()
        found = await self._parts.transactions.run(_wanted, gateway.accounts, self._parts.clock.now_ns())
        for account in gateway.accounts:
            if self._is_due(account, found):
                await self._ask_for_values(account)
        await self._ask_for_positions(found.watched)

    async def _end_all(self) -> None:
        """After an outage nobody knows which streams live, whatever IB says with 1101 and 1102: end them all."""
        gateway = self._parts.gateway
        values, profits, positions = self._values, self._profits, self._of_positions
        self._values, self._profits, self._of_positions, self._since = {}, {}, {}, {}
        self._subscriptions = gateway.subscriptions
        for request, _ in values.values():
            await self._pass()
            gateway.client.cancelAccountUpdatesMulti(request)
        for request in profits.values():
            await self._pass()
            gateway.client.cancelPnL(request)
        for request in positions.values():
            await self._pass()
            gateway.client.cancelPnLSingle(request)

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
            old = self._values[account][0]
            gateway.value_requests.pop(old, None)
            gateway.client.cancelAccountUpdatesMulti(old)
        request, now = self._request(), self._parts.clock.now_ns()
        self._values[account] = request, now
        self._since.setdefault(account, now)
        self._renewed_at[account] = time.monotonic()
        gateway.value_requests[request] = account
        gateway.client.reqAccountUpdatesMulti(request, account, "", False)

    def _is_due(self, account: str, found: "_Wanted") -> bool:
        """Whether the values of an account are requested anew."""
        now, requested_at = self._parts.clock.now_ns(), self._values[account][1]
        evening = span_of(trade_date(now))[1] - _BEFORE_END_NS
        if requested_at < evening <= now:
            return True
        if account in found.unopened and now - requested_at >= _AGAIN_NS:
            return True
        return account in found.old and time.monotonic() - self._renewed_at[account] >= _PAUSE_S

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


class _Wanted(NamedTuple):
    """unopened: accounts that have positions from a time on, and cash from none. old: whose values are older than that.
    watched: contracts whose profit is wanted."""

    unopened: set[str]
    old: set[str]
    watched: set[_Contract]


def _wanted(cursor: Cursor, accounts: tuple[str, ...], now: int) -> _Wanted:
    return _Wanted(
        set(cash.unopened(cursor, accounts)),
        set(account_state.valued_before(cursor, accounts, now - _OLD_NS)),
        {(row.account, row.con_id) for row in broker.to_watch(cursor, accounts)},
    )
