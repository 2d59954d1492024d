"""A bridge's name, held by a session lock in the database: no second process works under the same name."""

from typing import Any

from nautilus.db.bridge import name
from nautilus.db.bridge.name import NameHolder
from nautilus.db.connection import Database
from nautilus.infra.executors import Executor
from nautilus.process.errors import CannotStart

_SILENCE_S = 5.0
"""A server that says nothing about the name for so long is cut off from us, or frozen: the name is taken anew."""


class NameLock:
    """The lock on a bridge's name, on a connection of its own. The database may hang over it, so it has a thread too."""

    def __init__(self, database: Database, bridge_id: str, log: Any, taken: str = "") -> None:
        """taken: the sentence of the error when another process holds the name; empty: that for a bridge."""
        self._database = database
        self._bridge_id = bridge_id
        self._taken = taken or (
            f"another process already works as bridge {bridge_id!r}; stop it, or set another NAUTILUS_BRIDGE_ID (and another"
            " NAUTILUS_IB_CLIENT_ID) for this one"
        )
        self._log = log
        self._thread = Executor("name", 1)
        self._connection: Any = None
        self._holder: NameHolder | None = None

    async def take(self) -> None:
        """Hold the name from now on. CannotStart when another process holds it."""
        await self._thread.run(self._take)

    async def keep(self) -> None:
        """Take the name again if its database session ended (a restart). CannotStart when another process has it now."""
        if not await self.is_held():
            await self.take()

    async def is_held(self) -> bool:
        """True while the connection that holds the name lives; what does not is closed."""
        return await self._thread.run(self._is_held)

    def close(self) -> None:
        """Give the name back."""
        if self._connection is not None:
            self._connection.close()

    def _take(self) -> None:
        connection = self._database.connect(_SILENCE_S)
        holder = None
        try:
            holder = name.hold_bridge_name(connection, self._bridge_id, self._holder)
        finally:
            if holder is None:
                connection.close()
        if holder is None:
            raise CannotStart(self._taken)
        self._connection, self._holder = connection, holder

    def _is_held(self) -> bool:
        try:
            name.check_bridge_name(self._connection)
        except Exception as gone:
            # Whatever psycopg2 says: the session is gone, and the lock with it.
            self._log.warning("name-lost", extra={"reason": str(gone).strip() or type(gone).__name__})
            self._connection.close()
            return False
        return True
