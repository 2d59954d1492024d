"""Which incidents the bridge keeps: what has been wrong with its connection to IB for long enough that somebody should know."""

import time
from collections.abc import Callable
from typing import Any

from ib_bridge.ib.health import ConnectionState, Health
from ib_bridge.transactions import TransactionRunner
from nautilus.db.monitoring import incidents
from nautilus.monitoring.incidents import Condition

LOST_AFTER_S = 60.0
"""A reconnection within a minute is everyday life: the gateway restarts once a day."""
DEGRADED_AFTER_S = 300.0
"""Farms flap for seconds, and rest for minutes in the nightly reset (IB's page on system status)."""
_WAITS = {
    ConnectionState.DOWN: ("ib-connection-lost", LOST_AFTER_S),
    ConnectionState.DISPLACED: ("ib-connection-lost", LOST_AFTER_S),
    ConnectionState.STARTING: ("ib-connection-lost", LOST_AFTER_S),
    ConnectionState.NEEDS_LOGIN: ("ib-login-needed", LOST_AFTER_S),
    ConnectionState.DEGRADED: ("ib-degraded", DEGRADED_AFTER_S),
}


class ConnectionIncidents:
    """Keeps the incidents of one bridge. clock: seconds of machine time that never go back."""

    def __init__(
        self, bridge: str, transactions: TransactionRunner, log: Any, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._bridge = bridge
        self._transactions = transactions
        self._log = log
        self._clock = clock
        self._code = ""
        self._since = clock()

    async def keep(self, health: Health, language: str | None, unknown_codes: int) -> None:
        """Open and close incidents by what the connection is now. Call it again within seconds. Unavailable: no database."""
        conditions = self.conditions(health, language, unknown_codes)
        changes = await self._transactions.run(incidents.keep, f"bridge:{self._bridge}", conditions)
        for action, rows in (("incident-opened", changes.opened), ("incident-closed", changes.closed)):
            for row in rows:
                self._log.warning(action, extra={"code": row.code, "subject": row.subject, "severity": row.severity})

    def conditions(self, health: Health, language: str | None, unknown_codes: int) -> list[Condition]:
        """What is wrong now, and has been for long enough. The state `down` that follows `displaced` is the same loss."""
        code, after_s = _WAITS.get(health.state, ("", 0.0))
        now = self._clock()
        if code != self._code:
            self._code, self._since = code, now
        found = []
        if code and now - self._since >= after_s:
            found.append(Condition(code, self._bridge, {"state": health.state.value, "reason": health.reason}))
        if language == "other":
            found.append(Condition("ib-other-language", self._bridge, {}))
        if unknown_codes:
            found.append(Condition("ib-unknown-code", self._bridge, {"messages": unknown_codes}))
        return found
