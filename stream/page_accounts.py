"""Accounts and positions of pages of the old front end: each as a whole when it has changed, read once for all sockets."""

import asyncio
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from nautilus.db.connection import Database
from nautilus.infra.executors import Executor
from nautilus.portfolio import front_end

EVERY_S = 2.0
"""Positions change with each quote: a page is sent the newest so often."""

Accounts = frozenset[str]


class Shown(NamedTuple):
    """What a page shows of its accounts. account: None without a value of IB. positions: by their key, as the page keeps them."""

    account: dict[str, Any] | None
    positions: dict[str, dict[str, Any]]


class PageAccounts:
    """Reads the accounts that open pages show. `step` is a loop's."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._reads = Executor("page-accounts", 1)
        self._found: Mapping[Accounts, Shown] = {}
        self._pages: dict[object, Accounts] = {}

    def show(self, page: object, accounts: Accounts) -> Shown | None:
        """What was read last of these accounts, which the page shows from now on; None while nothing was."""
        self._pages[page] = accounts
        return self._found.get(accounts)

    def leave(self, page: object) -> None:
        """A page that shows no accounts any more."""
        self._pages.pop(page, None)

    async def step(self) -> None:
        """Read what the pages show."""
        await asyncio.sleep(EVERY_S)
        wanted = {accounts for accounts in self._pages.values() if accounts}
        self._found = await self._reads.run(self._read, wanted) if wanted else {}

    def _read(self, wanted: Collection[Accounts]) -> Mapping[Accounts, Shown]:
        with self._db.transaction(snapshot=True, brief=True) as cursor:
            found = {}
            for accounts in wanted:
                names = sorted(accounts)
                account = front_end.account(cursor, names)
                rows = {row["position_key"]: row for row in front_end.positions(cursor, names)}
                found[accounts] = Shown(None if "message" in account else account, rows)
            return found

    def close(self) -> None:
        self._reads.close()
