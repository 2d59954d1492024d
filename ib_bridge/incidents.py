"""Which incidents the bridge keeps: what has been wrong with its connection to IB for long enough that somebody should know."""

import time
from collections.abc import Callable
from typing import Any

from ib_bridge.ib.health import ConnectionState, Health
from nautilus.db.monitoring import incidents
from nautilus.db.monitoring.incidents import Changes
from nautilus.monitoring.incidents import Condition
from nautilus.process.transactions import TransactionRunner

LOST_AFTER_S = 60.0
"""A reconnection within a minute is everyday life: the gateway restarts once a day."""
DEGRADED_AFTER_S = 300.0
"""Farms flap for seconds, and rest for minutes in the nightly reset (IB's page on system status)."""
_LOST = {
    ConnectionState.DOWN: "ib-connection-lost",
    ConnectionState.DISPLACED: "ib-connection-lost",
    ConnectionState.STARTING: "ib-connection-lost",
    ConnectionState.NEEDS_LOGIN: "ib-login-needed",
}


def log_changes(log: Any, changes: Changes) -> None:
    """A line for each incident that was opened or closed."""
    for action, rows in (("incident-opened", changes.opened), ("incident-closed", changes.closed)):
        for row in rows:
            log.warning(action, extra={"code": row.code, "subject": row.subject, "severity": row.severity})


class ConnectionIncidents:
    """Keeps the incidents of one bridge. clock: seconds of machine time that never go back."""

    def __init__(
        self, bridge: str, transactions: TransactionRunner, log: Any, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._bridge = bridge
        self._transactions = transactions
        self._log = log
        self._clock = clock
        self._open: frozenset[str] | None = None
        self._lost_since: float | None = None
        self._degraded_since: float | None = None

    async def keep(self, health: Health, language: str | None, unknown_codes: int) -> None:
        """Open and close incidents by what the connection is now. Call it again within seconds. Unavailable: no database."""
        keeper = f"bridge:{self._bridge}"
        if self._open is None:
            self._open = await self._transactions.run(incidents.open_codes, keeper)
        conditions = self.conditions(health, language, unknown_codes, already_open=self._open)
        changes = await self._transactions.run(incidents.keep, keeper, conditions)
        self._open = frozenset(one.code for one in conditions)
        log_changes(self._log, changes)

    def conditions(
        self, health: Health, language: str | None, unknown_codes: int, *, already_open: frozenset[str] = frozenset()
    ) -> list[Condition]:
        """What is wrong now, and has been for long enough.

        A loss that changes its state is one loss. What is open already, by this process or the one before it, waits no more: it
        holds until the opposite is seen.
        """
        now = self._clock()
        state = health.state
        self._lost_since = (self._lost_since if self._lost_since is not None else now) if state in _LOST else None
        degraded = state is ConnectionState.DEGRADED
        self._degraded_since = (self._degraded_since if self._degraded_since is not None else now) if degraded else None
        found = []
        detail = {"state": state.value, "reason": health.reason}
        is_open = bool(already_open & set(_LOST.values()))
        if self._lost_since is not None and (is_open or now - self._lost_since >= LOST_AFTER_S):
            found.append(Condition(_LOST[state], self._bridge, detail))
        is_open = "ib-degraded" in already_open
        if self._degraded_since is not None and (is_open or now - self._degraded_since >= DEGRADED_AFTER_S):
            found.append(Condition("ib-degraded", self._bridge, detail))
        if language == "other" or (language is None and "ib-other-language" in already_open):
            found.append(Condition("ib-other-language", self._bridge, {}))
        if unknown_codes:
            found.append(Condition("ib-unknown-code", self._bridge, {"messages": unknown_codes}))
        return found
