"""Which incidents the order process keeps: what is wrong now and that a person should see."""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from ib_bridge.orders.gate import ProcessStatus
from nautilus.db.cursor import Cursor
from nautilus.db.monitoring import incidents
from nautilus.db.orders import outgoing
from nautilus.db.orders.positions import BreakRow
from nautilus.monitoring.incidents import Condition
from nautilus.process.transactions import TransactionRunner

_NOT_READY_AFTER_S = 60.0
"""The gateway restarts once a day, and is back within a minute."""
_INACTIVE_AFTER_S = 60.0
KEEPER = "order-process"
"""Its incidents are those that it can see at any time; those that a word of IB opened are kept where it is recorded."""


class Circumstances(NamedTuple):
    """What the process knows. lost_words: messages of IB that could not be read or stored."""

    status: ProcessStatus
    mode: str
    guard: str | None
    read_only: bool
    recording: bool
    waiting_words: int
    lost_words: int
    breaks: Sequence[BreakRow]
    commissions_missing: int


class OrderIncidents:
    """Opens and closes them. clock: seconds of machine time that never go back."""

    def __init__(self, transactions: TransactionRunner, log: Any, clock: Callable[[], float] = time.monotonic) -> None:
        self._transactions = transactions
        self._log = log
        self._clock = clock
        self._not_ready_since: float | None = None

    async def keep(self, now: Circumstances) -> None:
        """Open and close incidents by what is so now. Unavailable: no database."""
        changes = await self._transactions.run(self._keep, self._conditions(now))
        for action, rows in (("incident-opened", changes.opened), ("incident-closed", changes.closed)):
            for row in rows:
                self._log.warning(action, extra={"code": row.code, "subject": row.subject, "severity": row.severity})

    def _keep(self, cursor: Cursor, conditions: list[Condition]) -> incidents.Changes:
        return incidents.keep(cursor, KEEPER, [*conditions, *_of_orders(cursor)])

    def _conditions(self, now: Circumstances) -> list[Condition]:
        found: list[Condition] = []
        clock = self._clock()
        is_late = self._is_late(now, clock)
        if now.guard is not None and now.mode != "off":
            found.append(Condition("orders-account-refused", KEEPER, {"reason": now.guard}))
        elif now.read_only and now.mode != "off":
            found.append(Condition("orders-not-allowed", KEEPER, {"reason": now.status.reason}))
        elif is_late:
            found.append(
                Condition("orders-not-ready", KEEPER, {"state": now.status.state, "reason": now.status.reason})
            )
        if not now.recording:
            found.append(Condition("order-words-delayed", KEEPER, {"waiting": now.waiting_words}))
        if now.lost_words:
            found.append(Condition("order-word-lost", KEEPER, {"messages": now.lost_words}))
        if now.commissions_missing:
            found.append(Condition("commission-missing", KEEPER, {"executions": now.commissions_missing}))
        return [*found, *map(_break, now.breaks)]

    def _is_late(self, now: Circumstances, clock: float) -> bool:
        if now.status.open or now.mode == "off":
            self._not_ready_since = None
            return False
        self._not_ready_since = self._not_ready_since if self._not_ready_since is not None else clock
        return clock - self._not_ready_since >= _NOT_READY_AFTER_S


def _break(row: BreakRow) -> Condition:
    detail = {"account": row.account, "con_id": row.con_id, "expected": str(row.expected), "broker": str(row.broker)}
    return Condition("position-break", f"{row.account}:{row.con_id}", detail)


def _of_orders(cursor: Cursor) -> Iterable[Condition]:
    """Orders that IB calls inactive for long without saying why."""
    for row in outgoing.inactive(cursor, _INACTIVE_AFTER_S):
        yield Condition("order-inactive", str(row.id), {"account": row.account, "symbol": row.symbol})
