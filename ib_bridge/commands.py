"""Commands that functions leave for the bridge: resolve an instrument, search for one, reconnect."""

from typing import Any

from ib_bridge.directory import Directory
from ib_bridge.session import Session
from ib_bridge.store import Store
from nautilus.db import commands
from nautilus.errors import NautilusError
from nautilus.instruments import Selector
from nautilus.log import correlated


class Commands:
    """Executes commands one after the other."""

    def __init__(self, bridge: str, store: Store, directory: Directory, session: Session, log: Any) -> None:
        self._bridge = bridge
        self._store = store
        self._directory = directory
        self._session = session
        self._log = log

    async def execute_next(self, only: str | None = None) -> bool:
        """Execute the oldest command (of type `only`); False when there is none. Its failure is its result, never ours."""
        row = await self._store.run(commands.claim, self._bridge, only)
        if row is None:
            return False
        with correlated(row.correlation_id):
            try:
                result = await self._execute(row.type, row.args)
            except NautilusError as wrong:
                await self._failed(row, {"code": wrong.code, "detail": wrong.detail})
            except Exception:
                # Nobody foresaw it: who waits is told, and the next command is not held up.
                self._log.exception("command-broke", extra={"command": row.type})
                await self._failed(row, {"code": "internal-error", "detail": "it broke; the bridge's log says why"})
            else:
                await self._store.run(commands.finish, row.id, self._bridge, result=result)
                self._log.info("command-done", extra={"command": row.type})
        return True

    async def _failed(self, row: Any, error: dict[str, Any]) -> None:
        await self._store.run(commands.finish, row.id, self._bridge, error=error)
        self._log.warning("command-failed", extra={"command": row.type, **error})

    async def _execute(self, type_: str, args: dict[str, Any]) -> dict[str, Any]:
        if type_ == "resolve":
            found = await self._directory.instrument(Selector.of(args))
            return {"con_id": found.con_id, "instrument_id": found.instrument_id}
        if type_ == "search":
            return {"matches": await self._directory.matches(str(args["pattern"]))}
        if type_ == "reconnect":
            self._session.drop()
            return {"reconnecting": True}
        raise NautilusError(f"the bridge cannot {type_} yet", code="unknown-command")
