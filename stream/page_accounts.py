"""Accounts and positions of pages of the old front end: each as a whole when it has changed, read once for all sockets."""

import asyncio
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

from nautilus.auth.principal import Principal
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
        self._sent: dict[object, Shown] = {}

    def changes(
        self, page: object, caller: Principal, known: Collection[str]
    ) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """What a page is to be sent now, by the kind of its message. known: the accounts that there are; those that the caller
        may use are read from now on."""
        allowed = caller.may("orders:read")
        accounts = self._pages[page] = frozenset(name for name in known if allowed and caller.may_use(name))
        found = self._found.get(accounts)
        if found is None:
            return
        before = self._sent.get(page)
        self._sent[page] = found
        if found.account is not None and (before is None or found.account != before.account):
            yield "ib_account", found.account
        if before is None or found.positions != before.positions:
            yield "ib_positions", found.positions

    def leave(self, page: object) -> None:
        """A page that shows no accounts any more."""
        self._pages.pop(page, None)
        self._sent.pop(page, None)

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
