"""Regular cleaning of the database: requests that were never closed, and rows that are not kept any longer."""

from collections.abc import Callable
from typing import Any

from nautilus.db import retention
from nautilus.db.ledger import requests
from nautilus.infra.executors import Executor
from nautilus.process.transactions import TransactionRunner
from nautilus.settings.bridge import BridgeSettings

UPKEEP_S = 30.0


class Upkeep:
    """Removing old rows may take long, or hang: it has a thread of its own. stopped: called between its batches."""

    def __init__(
        self, settings: BridgeSettings, transactions: TransactionRunner, log: Any, stopped: Callable[[], bool]
    ) -> None:
        self._settings = settings
        self._transactions = transactions
        self._log = log
        self._stopped = stopped
        self._thread = Executor("upkeep", 1)

    async def keep_up(self) -> None:
        """Close the requests whose end could not be written down, and remove old rows."""
        longest_s = self._settings.request_timeout_s + UPKEEP_S
        lost = await self._transactions.run(requests.lose_old, self._settings.bridge_id, longest_s)
        if lost:
            self._log.warning("requests-lost", extra={"requests": lost})
        await self._forget()

    async def _forget(self) -> None:
        """Once a day, when nobody is hurt by it, remove the rows that are not kept any longer."""
        settings = self._settings
        if settings.forget_hour < 0 or not await self._transactions.run(retention.due, settings.forget_hour):
            return
        url, kept = settings.database_url.get_secret_value(), retention.kept_of(settings)
        try:
            removed = await self._thread.run(retention.run, url, kept, self._stopped)
        except retention.Busy:
            return
        self._log.info("old-rows-forgotten", extra={"rows": {what: count for what, count in removed.items() if count}})
