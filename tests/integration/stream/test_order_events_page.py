"""Orders over `/ws/realtime`, as the front end that there was before keeps them: one message per change, a whole order each."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from nautilus.db.connection import Database
from nautilus.orders.front_end import order_object
from tests.integration.stream.test_old_front_end import Page, page
from tests.support.order_ledger import execution, ib_says, placed, row_of, ticket, working
from tests.support.stream_server import StreamServer, wait

ONE, TWO = "SIM1", "SIM2"


@pytest.fixture
def running(database: Database, dsn: str, tmp_path: Path) -> Iterator[StreamServer]:
    made = StreamServer(dsn, tmp_path)
    wait(lambda: made.stream.accounts == {ONE, TWO}, "the accounts are known")
    yield made
    made.stop()


def until(one: Page, order_id: UUID, **fields: Any) -> dict[str, Any]:
    """The next message about an order with these fields."""
    while True:
        frame = one.next("messagebus", "ib_order")
        data = frame["payload"]["data"]
        if data["order_id"] == str(order_id) and fields.items() <= data.items():
            return frame


def owner(running: StreamServer, *accounts: str, scope: str = "orders:read") -> dict[str, str]:
    return {"Authorization": f"Bearer {running.token(1, scope, accounts=accounts or (ONE,))}"}


def test_both_sockets_of_a_page_get_its_orders_and_each_change(database: Database, running: StreamServer) -> None:
    resting = working(database, ticket(quantity=10))
    with page(running, **owner(running)) as first, page(running, **owner(running)) as second:
        for one in (first, second):
            frame = until(one, resting.id)
            assert frame["topic"] == f"events.orders.{ONE}"
            assert frame["message_type"] == "order"
            assert frame["timestamp"] > 10**18, "nanoseconds"
            assert frame["payload"]["data"] == order_object(row_of(database, resting.id))
        ib_says(database, execution(resting, 4))
        new = placed(database).orders[0]
        for one in (first, second):
            data = until(one, resting.id, filled_quantity=4)["payload"]["data"]
            assert (data["total_quantity"], data["status"]) == (10, "Submitted")
            assert until(one, new.id)["payload"]["data"]["state"] == "accepted"


def test_a_page_that_was_cut_off_learns_how_an_order_ended(database: Database, running: StreamServer) -> None:
    row = working(database, ticket(quantity=10))
    with page(running, **owner(running)) as one:
        until(one, row.id, status="Submitted")
    ib_says(database, execution(row, 10))
    with page(running, **owner(running)) as again:
        assert until(again, row.id)["payload"]["data"]["status"] == "Filled"


def test_a_page_hears_of_the_accounts_of_its_caller_alone(database: Database, running: StreamServer) -> None:
    with page(running, **owner(running)) as one, page(running, **owner(running, scope="bars:read")) as none:
        for each in (one, none):
            each.next("connection")
        wait(lambda: running.stream.hub.has(f"events.orders.{ONE}"), "it follows its account")
        theirs, ours = placed(database, ticket(account=TWO)).orders[0], placed(database).orders[0]
        until(one, ours.id)
        assert str(theirs.id) not in str(one.received)
        none.connection.ping().wait(30)
        assert running.stream.hub._index.keys() == {f"events.orders.{ONE}"}
        [listener] = running.stream.hub._index[f"events.orders.{ONE}"]
        listener.become(listener.caller._replace(accounts=frozenset({TWO})))
        until(one, theirs.id)
        assert running.stream.hub._index.keys() == {f"events.orders.{TWO}"}
