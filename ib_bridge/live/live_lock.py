"""Of the bridges of one database one has the live data, the others stand by.

A second one would request each stream once more at IB, which counts lines by login, and would publish in an epoch of its own:
listeners keep to the newest epoch, and drop what comes in another one.
"""

import asyncio
from typing import Any

from nautilus.db.connection import Database
from nautilus.process.errors import CannotStart
from nautilus.process.name_lock import NameLock

_NAME = "live data"
"""No bridge is called so: a bridge's name has no blank."""
_TAKEN = "another bridge has taken over the live data of this database; started again, this one stands by"
_EACH_S = 1.0


class LiveLock:
    """The lock that the bridge with the live data holds, on a connection of its own. held: this one does."""

    def __init__(self, database: Database, log: Any) -> None:
        self._lock = NameLock(database, _NAME, log, _TAKEN)
        self._log = log
        self.held = False

    async def wait(self) -> None:
        """Wait until no other bridge has the live data, and have them from then on."""
        stands_by = False
        while not self.held:
            try:
                await self._lock.take()
            except CannotStart:
                if not stands_by:
                    self._log.info("live-data-elsewhere")
                stands_by = True
            except Exception as gone:
                # Whatever psycopg2 says of a server that ends or is silent: the next try may meet another one.
                self._log.info("live-lock-not-taken", extra={"reason": str(gone).strip() or type(gone).__name__})
            else:
                self.held = True
                return
            await asyncio.sleep(_EACH_S)

    async def keep(self) -> None:
        """Take the lock again if its database session ended. CannotStart when another bridge has the live data now."""
        if self.held:
            await self._lock.keep()

    def close(self) -> None:
        """Leave the live data to another bridge."""
        self._lock.close()
