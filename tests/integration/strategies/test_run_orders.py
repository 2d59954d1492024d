"""The orders of a live run in the ledger: only the host that has the run leads them, and none begins while it is stopped."""

import asyncio
from collections.abc import Iterator
from typing import Any, NamedTuple
from uuid import UUID

import pytest

from ib_bridge.transactions import TransactionRunner
from nautilus.db.auth import users
from nautilus.db.connection import Database
from nautilus.db.orders import requests
from nautilus.db.strategies import leases
from nautilus.db.strategies.leases import Hold, LeaseLost
from nautilus.db.strategies.runs import RunRow
from nautilus.log import logger
from nautilus.settings.strategies import StrategySettings
from nautilus.strategies.states import Mode, RunState
from strategy_host import stopping
from strategy_host.parts import Fences, HostParts, Snapshots
from strategy_host.run_orders import RunOrders
from tests.support.order_ledger import ACCOUNT, STOCK, caller, counted, ledger, placed, row_of, sent, ticket
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

    def requested(self) -> list[str]:
        with self.database.transaction() as cursor:
            return [one.kind for one in requests.open_of(cursor, self.order_id)]

    def state(self) -> str:
        with self.database.transaction() as cursor:
            cursor.execute("SELECT state FROM strategy_runs WHERE id = %s", (self.run.id,))
            return str(cursor.fetchone()[0])


@pytest.fixture
def held(dsn: str) -> Iterator[Held]:
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
            insert_run(cursor, Mode.LIVE, STOCK.con_id, account=ACCOUNT)
            (run,) = leases.take(cursor, "host", [Mode.LIVE], limit=1, lease_s=60)
        order = sent(database, placed(database, ticket(), caller(KEY, principal=run.principal)).orders[0].id)
        settings = StrategySettings(env="test", database_url=dsn)
        log = logger("strategy_host", "INFO")
        parts = HostParts(settings, TransactionRunner(database, 2), Snapshots(database, 1), log, Fences())
        yield Held(database, parts, run, order.id)
        parts.snapshots.close()


def test_a_host_that_has_lost_a_run_neither_changes_nor_cancels_its_orders(held):
    messages: Any = Messages()
    held.taken_by_another_host()
    with pytest.raises(LeaseLost):
        asyncio.run(held.orders.modify(messages, MODIFY))
    with pytest.raises(LeaseLost):
        asyncio.run(held.orders.cancel(messages, {"client_order_id": KEY}))
    with pytest.raises(LeaseLost):
        asyncio.run(stopping.cancel_orders(held.parts, held.run))
    with pytest.raises(LeaseLost), held.database.transaction() as cursor:
        stopping.fail(cursor, held.run, "it was suspended for a while")
    assert held.requested() == []
    assert held.state() == "queued"


def test_the_host_that_has_a_run_cancels_its_orders(held):
    messages: Any = Messages()
    asyncio.run(held.orders.cancel(messages, {"client_order_id": KEY}))
    assert held.requested() == ["cancel"]
    assert messages.sent == []


def test_a_run_that_fails_is_over_and_its_orders_are_being_cancelled_in_one_step(held):
    held.move(RunState.STARTING)
    with held.database.transaction() as cursor:
        stopping.fail(cursor, held.run, "ZeroDivisionError")
    assert held.requested() == ["cancel"]
    assert held.state() == "error"
    assert counted(held.database, "SELECT count(*) FROM incidents WHERE code = 'strategy-run-ended'") == 1
    assert counted(held.database, "SELECT count(*) FROM strategy_claims") == 0


def test_no_order_begins_while_a_run_is_being_stopped(held):
    """An order that was on its way when the stop came would be left behind by a run that is over."""
    messages: Any = Messages()
    held.move(RunState.STARTING, RunState.RUNNING)
    asyncio.run(held.orders.submit(messages, SUBMIT, None))
    assert counted(held.database, "SELECT count(*) FROM orders") == 2
    held.move(RunState.STOPPING)
    late = SUBMIT | {"client_order_id": "0b7ad4c5-0000-4000-8000-000000000003"}
    asyncio.run(held.orders.submit(messages, late, None))
    assert counted(held.database, "SELECT count(*) FROM orders") == 2
    assert (messages.sent[-1]["kind"], messages.sent[-1]["reason"]) == ("denied", "the run is being stopped")
    assert row_of(held.database, held.order_id).state == "sending"
