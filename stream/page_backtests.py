"""How far back-tests are, for pages of the old front end that follow some: read once for all sockets."""

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

from nautilus.auth.principal import Principal
from nautilus.db.connection import Database
from nautilus.db.strategies import runs
from nautilus.db.strategies.runs import RunRow
from nautilus.infra.executors import Executor
from nautilus.strategies.desk import may_read
from nautilus.strategies.states import OVER, RunState

EVERY_S = 1.0
MOST_FOLLOWED = 20
"""Back-tests of one page."""


class PageBacktests:
    """Reads the back-tests that open pages follow. `step` is a loop's."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._reads = Executor("page-backtests", 1)
        self._found: Mapping[UUID, RunRow] = {}
        self._followed: dict[object, dict[UUID, int]] = {}
        """Page -> back-test -> its version that was sent last; 0: none yet."""

    def take(self, page: object, message: object) -> None:
        """What a message of a page changes of the back-tests that it follows; what is no such message changes nothing."""
        if not isinstance(message, dict):
            return
        number = _id(message.get("backtestId"))
        followed = self._followed.setdefault(page, {})
        if number is None:
            return
        if message.get("type") == "unsubscribe_backtest_progress":
            followed.pop(number, None)
        elif message.get("type") == "subscribe_backtest_progress" and len(followed) < MOST_FOLLOWED:
            followed.setdefault(number, 0)

    def leave(self, page: object) -> None:
        """A page that is gone."""
        self._followed.pop(page, None)

    def changes(self, page: object, caller: Principal) -> Iterator[dict[str, Any]]:
        """The payloads that a page is to be sent now. What is over is followed no longer."""
        followed = self._followed.get(page, {})
        for number, version in list(followed.items()):
            row = self._found.get(number)
            if row is None or row.version == version or not caller.may("orders:read") or not may_read(caller, row):
                continue
            followed[number] = row.version
            if row.state in OVER:
                followed.pop(number)
            yield {"type": _kind(row), "backtestId": str(number), "data": _fields(row)}

    async def step(self) -> None:
        """Read what the pages follow."""
        await asyncio.sleep(EVERY_S)
        wanted = {number for followed in self._followed.values() for number in followed}
        self._found = await self._reads.run(self._read, wanted) if wanted else {}

    def _read(self, wanted: set[UUID]) -> Mapping[UUID, RunRow]:
        with self._db.transaction(snapshot=True, brief=True) as cursor:
            rows = (runs.read(cursor, number) for number in sorted(wanted))
            return {row.id: row for row in rows if row is not None and row.mode == "backtest"}

    def close(self) -> None:
        self._reads.close()


def _id(given: object) -> UUID | None:
    try:
        return UUID(given) if isinstance(given, str) else None
    except ValueError:
        return None


def _kind(row: RunRow) -> str:
    if row.state == RunState.COMPLETED:
        return "backtest_complete"
    return "backtest_error" if row.state in OVER else "backtest_progress"


def _fields(row: RunRow) -> dict[str, Any]:
    whole = row.state == RunState.COMPLETED
    return {
        "status": row.state,
        "progress": 1.0 if whole else row.progress or 0.0,
        "barsDone": row.bars_done,
        "barsTotal": row.bars_total,
        "currentDate": None if row.trade_date is None else row.trade_date.isoformat(),
        "message": row.reason,
        "results": row.metrics if row.state in OVER else None,
    }
