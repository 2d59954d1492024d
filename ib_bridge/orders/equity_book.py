"""What accounts are worth, written down: each minute of market time, and at the end of each trade date.

A day without a value near its end gets no row: the process was away, or IB sent none. The log says so, and no other value
is taken.
"""

from collections.abc import Callable, Mapping
from datetime import date

from ib_bridge.orders.parts import OrderParts
from nautilus.clock import NS_PER_S
from nautilus.db.cursor import Cursor
from nautilus.db.portfolio import equity
from nautilus.portfolio.trade_dates import before, span_of, trade_date

_MINUTE = 60 * NS_PER_S
_DAYS_BACK = 5
"""After a start, and over a clock that leaps: a day whose end nobody saw may still have a value from shortly before."""


class EquityBook:
    """`keep` is called each second. standing: since when each account has been followed without a gap (market time in ns)."""

    def __init__(self, parts: OrderParts, standing: Callable[[], Mapping[str, int]]) -> None:
        self._parts = parts
        self._standing = standing
        self._minute = -1
        self._ended: date | None = None

    async def keep(self) -> None:
        """Write the minute that begins, and the days that ended. Unavailable: no database."""
        now = self._parts.clock.now_ns()
        if now // _MINUTE == self._minute:
            return
        accounts = self._parts.gateway.accounts
        await self._parts.transactions.run(equity.put_minutes, accounts, now, self._standing())
        ended = before(trade_date(now))
        if ended != self._ended:
            for account, day in await self._parts.transactions.run(self._end_days, accounts, ended):
                self._parts.log.warning("equity-day-missing", extra={"account": account, "trade_date": str(day)})
            self._ended = ended
        self._minute = now // _MINUTE

    def _end_days(self, cursor: Cursor, accounts: tuple[str, ...], last: date) -> list[tuple[str, date]]:
        """The days up to this one; returns those that have no row."""
        missing, day = [], last
        for _ in range(_DAYS_BACK):
            missing += [(account, day) for account in equity.end_day(cursor, accounts, day, span_of(day))]
            day = before(day)
        return missing
