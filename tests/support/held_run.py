"""A live run that a test holds as its host, over a ledger whose broker the test plays."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from uuid import UUID

from nautilus.db.auth import users
from nautilus.db.connection import Database
from nautilus.db.orders import requests
from nautilus.db.strategies import leases, runs
from nautilus.db.strategies.leases import Hold
from nautilus.db.strategies.runs import RunRow
from nautilus.log import logger
from nautilus.process.transactions import TransactionRunner
from nautilus.settings.strategies import StrategySettings
from nautilus.strategies.states import Mode, RunState, Wanted
from strategy_host.parts import Fences, HostParts, Snapshots
from strategy_host.run_orders import RunOrders
from tests.support.order_ledger import ACCOUNT, STOCK, caller, ledger, placed, sent, ticket
from tests.support.strategy_rows import insert_run

KEY = "0b7ad4c5-0000-4000-8000-000000000001"
SUBMIT = {
    "type": "submit",
    "client_order_id": "0b7ad4c5-0000-4000-8000-000000000002",
    "con_id": STOCK.con_id,
    "side": "BUY",
    "order_type": "MARKET",
    "time_in_force": "DAY",
    "quantity": "1",
    "price": None,
    "trigger_price": None,
    "reduce_only": False,
    "tags": ["entry"],
    "bar_ns": 1,
}
MODIFY = {"client_order_id": KEY, "quantity": "2", "price": None, "trigger_price": None}


class Messages:
    """The messages for a child, kept."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    async def send(self, kind: str, /, **fields: Any) -> None:
        self.sent.append({"type": kind, **fields})


class Held(NamedTuple):
    """A live run that a host has, with an order at IB."""

    database: Database
    parts: HostParts
    run: RunRow
    order_id: UUID

    @property
    def orders(self) -> RunOrders:
        return RunOrders(self.parts, self.run, {})

    def taken_by_another_host(self) -> None:
        with self.database.transaction() as cursor:
            leases.give_back(cursor, Hold(self.run.id, self.run.token))
            assert len(leases.take(cursor, "another", [Mode.LIVE], limit=1, lease_s=60)) == 1

    def move(self, *states: RunState) -> None:
        with self.database.transaction() as cursor:
            for state in states:
                leases.move(cursor, Hold(self.run.id, self.run.token), state)

    def want(self, wanted: Wanted) -> None:
        """Its owner wants it otherwise."""
        with self.database.transaction() as cursor:
            runs.read(cursor, self.run.id, lock=True)
            runs.want(cursor, self.run.id, wanted, self.run.owner)

    def submit(self, **changes: Any) -> dict[str, Any]:
        """Its strategy submits an order; the answer."""
        messages: Any = Messages()
        asyncio.run(self.orders.submit(messages, SUBMIT | changes, None))
        (answer,) = messages.sent
        return dict(answer)

    def requested(self) -> list[str]:
        with self.database.transaction() as cursor:
            return [one.kind for one in requests.open_of(cursor, self.order_id)]

    def state(self) -> str:
        with self.database.transaction() as cursor:
            cursor.execute("SELECT state FROM strategy_runs WHERE id = %s", (self.run.id,))
            return str(cursor.fetchone()[0])


@contextmanager
def held_run(dsn: str, *, quantity: int = 1, **changed: Any) -> Iterator[Held]:
    """quantity: of its order. changed: fields of the run."""
    with ledger(dsn) as database:
        with database.transaction() as cursor:
            users.create(
                cursor,
                username="owner",
                email=None,
                password_hash="",
                scopes=["strategies:write", "orders:write"],
                accounts=[ACCOUNT],
            )
            insert_run(cursor, Mode.LIVE, STOCK.con_id, account=ACCOUNT, **changed)
            (run,) = leases.take(cursor, "host", [Mode.LIVE], limit=1, lease_s=60)
        order = sent(
            database, placed(database, ticket(quantity=quantity), caller(KEY, principal=run.principal)).orders[0].id
        )
        settings = StrategySettings(env="test", database_url=dsn)
        log = logger("strategy_host", "INFO")
        parts = HostParts(settings, TransactionRunner(database, 2), Snapshots(database, 1), log, Fences())
        yield Held(database, parts, run, order.id)
        parts.snapshots.close()
