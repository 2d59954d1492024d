"""Account, contract and order are locked in one round trip: in this order, and each read as it is once the lock is there."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest

from nautilus.db.connection import Database
from nautilus.db.orders import orders, risk_book
from nautilus.db.orders.events import Event
from nautilus.db.orders.orders import Held
from nautilus.db.rows import scalar
from nautilus.errors import Conflict
from nautilus.orders import change
from nautilus.orders.limits import LIMITS
from nautilus.orders.placing_rows import rows_of
from tests.support.order_ledger import ACCOUNT, NOW, caller, ledger, market, placed, seen, ticket

BLOCKED = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@pytest.fixture
def database(dsn: str) -> Iterator[Database]:
    with ledger(dsn) as made:
        yield made


def until_one_waits(database: Database) -> None:
    waited = threading.Event()
    for _ in range(600):
        with database.transaction() as cursor:
            cursor.execute(BLOCKED)
            if scalar(cursor, int):
                return
        waited.wait(0.05)
    raise AssertionError("nobody waits for a lock")


def held(database: Database, order_id: Any) -> Held | None:
    with database.transaction() as cursor:
        return orders.hold(cursor, order_id)


def test_who_waited_for_a_lock_reads_what_was_committed_meanwhile(database: Database) -> None:
    row = placed(database, ticket(quantity=2)).orders[0]
    with ThreadPoolExecutor(1) as pool:
        with database.transaction() as cursor:
            first = orders.hold(cursor, row.id)
            assert first is not None
            waiting: Future[Held | None] = pool.submit(held, database, row.id)
            until_one_waits(database)
            risk_book.move(cursor, ACCOUNT, 1, Decimal(7))
            orders.update(cursor, first.order, {"quantity": Decimal(5)}, Event("test", "process", NOW))
        second = waiting.result(30)
    assert second is not None
    assert seen(second.order.quantity, second.order.version) == (5, row.version + 1)
    assert seen(second.exposure.position, second.exposure.reserved_buy) == (7, 5)
    assert second.account.reserved_value == 500


def test_the_account_is_locked_before_the_contract_and_the_order(database: Database) -> None:
    """While somebody has the account, who waits for it keeps neither of the others from a third one."""
    row = placed(database).orders[0]
    with ThreadPoolExecutor(1) as pool:
        with database.transaction() as cursor:
            risk_book.lock_account(cursor, ACCOUNT)
            waiting = pool.submit(held, database, row.id)
            until_one_waits(database)
            with database.transaction() as third:
                third.execute("SELECT FROM risk_book WHERE account = %s FOR UPDATE NOWAIT", (ACCOUNT,))
                third.execute("SELECT FROM orders WHERE id = %s FOR UPDATE NOWAIT", (row.id,))
        assert waiting.result(30) is not None


def test_rows_that_are_not_there_are_made(database: Database) -> None:
    """An order for an account that the login does not have leaves no row of it: the order can be held all the same."""
    denied = placed(database, ticket(account="SIM9")).orders[0]
    found = held(database, denied.id)
    assert found is not None
    assert seen(found.order, found.account.reserved_value, found.exposure.position) == (denied, 0, 0)
    with database.transaction() as cursor, pytest.raises(Conflict):
        change.cancel(cursor, denied.id, caller(), now=NOW)


def test_an_order_whose_account_nobody_holds_is_not_written(database: Database) -> None:
    """Its reservation would be in no sum."""
    wanted = ticket(account="SIM9")
    (new,) = rows_of(wanted, caller(), market(limits=dict.fromkeys(LIMITS)), ())
    with pytest.raises(LookupError, match="are not held"), database.transaction() as cursor:
        orders.insert(cursor, new, Event("accepted", "api", NOW))
    with database.transaction() as cursor:
        cursor.execute("SELECT count(*) FROM orders")
        assert scalar(cursor, int) == 0
