"""Commissions that IB has not sent by itself: its answer to the question for executions has them.

An execution of which IB never sends one keeps none: null, not 0.
"""

from collections.abc import Callable
from datetime import datetime, time
from zoneinfo import ZoneInfo

from ib_bridge.orders.parts import OrderParts
from nautilus.clock import NS_PER_S, datetime_of, ns_of
from nautilus.db.orders import executions

_FIRST_NS, _SECOND_NS = 60 * NS_PER_S, 600 * NS_PER_S
"""So long after a fill its commission is requested: it comes within seconds."""
_LAST = time(23, 50)
"""The last time to ask, in the login's zone: IB forgets executions at midnight."""
_ANSWER_NS = 60 * NS_PER_S
"""So long after the last question a commission that is not there is missing."""


def times_due(fill_ns: int, now_ns: int, zone: ZoneInfo) -> int:
    """How many of the three questions for the commission of a fill are due; 4: and the last one was not answered. Market time."""
    evening = ns_of(datetime.combine(datetime_of(fill_ns).astimezone(zone).date(), _LAST, zone))
    last = max(evening, fill_ns + _SECOND_NS)
    return sum(now_ns >= at for at in (fill_ns + _FIRST_NS, fill_ns + _SECOND_NS, last, last + _ANSWER_NS))


class Commissions:
    """ask: has executions requested. `missing`: how many executions stay without one."""

    def __init__(self, parts: OrderParts, ask: Callable[[], None]) -> None:
        self._parts = parts
        self._ask = ask
        self._zone = ZoneInfo(parts.settings.orders_zone)
        self._requested: dict[tuple[str, str], int] = {}
        self.missing = 0

    async def check(self) -> None:
        """Ask for those that are due. Unavailable: no database."""
        now = self._parts.clock.now_ns()
        late = await self._parts.transactions.run(executions.without_commission, now - _FIRST_NS)
        due = {(row.account, row.exec_id): times_due(row.ts, now, self._zone) for row in late}
        if any(min(times, 3) > self._requested.get(key, 0) for key, times in due.items()):
            self._ask()
        self._requested = due
        self.missing = sum(times == 4 for times in due.values())
