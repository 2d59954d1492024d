"""Commands that functions leave for the bridge: resolve an instrument, search for one, reconnect."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from uuid import UUID

from ib_bridge.ib.connection import IbConnection
from ib_bridge.reference.directory import Directory
from nautilus.db.bridge import commands
from nautilus.db.bridge.commands import Command
from nautilus.errors import NautilusError
from nautilus.log import correlated
from nautilus.market.symbols import Selector
from nautilus.process.transactions import TransactionRunner

_AT_ONCE = 4
"""How many commands a bridge executes at once; `commands.claim` gives each caller's their turn."""


class Commands:
    """Executes commands, several at a time, so that a slow one keeps nobody else waiting.

    done: called when one has ended, as there is room for the next.
    """

    def __init__(
        self,
        bridge: str,
        *,
        transactions: TransactionRunner,
        directory: Directory,
        connection: IbConnection,
        log: Any,
        done: Callable[[], None],
    ) -> None:
        self._bridge = bridge
        self._transactions = transactions
        self._directory = directory
        self._connection = connection
        self._log = log
        self._done = done
        self._under_way: dict[UUID, asyncio.Task[None]] = {}
        self._types: dict[UUID, str] = {}

    async def begin(self, only: str | None = None) -> None:
        """Begin to execute what is queued (of type `only`), as far as there is room. Their failure is their result.

        One search at a time, as IB takes one a second: more of them would only take slots from lookups.
        """
        while len(self._under_way) < _AT_ONCE:
            without = ["search"] if "search" in self._types.values() else []
            row = await self._transactions.run(
                commands.claim, self._bridge, only, busy=list(self._under_way), without=without
            )
            if row is None:
                return
            task = asyncio.create_task(self._run(row))
            self._under_way[row.id], self._types[row.id] = task, row.type
            task.add_done_callback(partial(self._ended, row.id))

    def _ended(self, number: UUID, _: asyncio.Task[None]) -> None:
        self._under_way.pop(number, None)
        self._types.pop(number, None)
        self._done()

    async def stop(self) -> None:
        """Leave what is under way; the next bridge executes it again."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, row: Command) -> None:
        with correlated(row.correlation_id):
            try:
                result = await self._execute(row.type, row.args)
            except NautilusError as wrong:
                error = {"code": wrong.code, "detail": wrong.detail}
            except Exception:
                # Nobody foresaw it: who waits gets an answer, and the next command is not held up.
                self._log.exception("command-broke", extra={"command": row.type})
                error = {"code": "internal-error", "detail": "it broke; the bridge's log says why"}
            else:
                await self._tell(row, result=result)
                return
            await self._tell(row, error=error)

    async def _tell(self, row: Command, *, result: Any = None, error: dict[str, Any] | None = None) -> None:
        try:
            await self._transactions.run(commands.finish, row.id, self._bridge, result=result, error=error)
        except Exception:
            # It stays `running` in our name, and is executed again.
            self._log.exception("command-not-told", extra={"command": row.type})
            return
        if error is None:
            self._log.info("command-done", extra={"command": row.type})
        else:
            self._log.warning("command-failed", extra={"command": row.type, **error})

    async def _execute(self, type_: str, args: dict[str, Any]) -> dict[str, Any]:
        if type_ == "resolve" and "selectors" in args:
            return await self._resolve_several(
                [Selector.of(one) for one in args["selectors"]], anew=args.get("anew") is True
            )
        if type_ == "resolve":
            found = await self._directory.contracts.instrument(Selector.of(args))
            return {"con_id": found.con_id, "instrument_id": found.instrument_id}
        if type_ == "search":
            return {"matches": await self._directory.search.matches(str(args["pattern"]))}
        if type_ == "reconnect":
            self._connection.drop()
            return {"reconnecting": True}
        raise NautilusError(f"the bridge cannot {type_} yet", code="unknown-command")

    async def _resolve_several(self, selectors: Sequence[Selector], *, anew: bool) -> dict[str, Any]:
        """The numbers of those that IB knows, and why not the others, by the keys of their lookups."""
        found = await self._directory.contracts.instruments(selectors, anew=anew)
        failed = {key: one for key, one in found.items() if isinstance(one, NautilusError)}
        return {
            "con_ids": {key: one.con_id for key, one in found.items() if not isinstance(one, NautilusError)},
            "failed": {key: {"code": one.code, "detail": one.detail} for key, one in failed.items()},
        }
