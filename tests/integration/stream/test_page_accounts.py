"""The account and the positions of a page over `/ws/realtime`: as a whole, when they have changed, to who may see them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nautilus.db.connection import Database
from nautilus.db.orders import account_state
from nautilus.orders.words import AccountValue
from tests.integration.stream.test_old_front_end import Page, page
from tests.support.order_ledger import NOW, execution, ib_says, ledger, ticket, working
from tests.support.stream_server import StreamServer, wait

ONE, TWO = "SIM1", "SIM2"


@pytest.fixture
def database(dsn: str) -> Iterator[Database]:
    with ledger(dsn, ONE, TWO) as made:
        yield made


@pytest.fixture
def running(database: Database, dsn: str, tmp_path: Path) -> Iterator[StreamServer]:
    made = StreamServer(dsn, tmp_path)
    wait(lambda: made.stream.accounts == {ONE, TWO}, "the accounts are known")
    yield made
    made.stop()


def owner(running: StreamServer, *accounts: str, scope: str = "orders:read") -> dict[str, str]:
    return {"Authorization": f"Bearer {running.token(1, scope, accounts=accounts or (ONE,))}"}


def worth(database: Database, account: str, value: str) -> None:
    with database.transaction() as cursor:
        account_state.put_values(cursor, [AccountValue(account, "NetLiquidation", "USD", value)], NOW)


def until(one: Page, kind: str, **fields: Any) -> Any:
    """The next payload of a kind with these fields."""
    while True:
        data = one.next("messagebus", kind)["payload"]["data"]
        if fields.items() <= data.items():
            return data


def test_a_page_gets_its_account_and_its_positions_and_each_change(database: Database, running: StreamServer) -> None:
    row = working(database, ticket(quantity=10))
    with page(running, **owner(running)) as one:
        assert until(one, "ib_account")["account_id"] == ONE
        assert until(one, "ib_positions") == {}
        ib_says(database, execution(row, 4, "100"))
        found = until(one, "ib_positions")
        assert [(key, one["position"], one["avg_cost"]) for key, one in found.items()] == [(f"{ONE}:1", 4, 100)]
        worth(database, ONE, "123.5")
        assert until(one, "ib_account", net_liquidation=123.5)["currency"] == "USD"


def test_what_has_not_changed_is_not_sent_again(database: Database, running: StreamServer) -> None:
    with page(running, **owner(running)) as one:
        until(one, "ib_positions")
        for value in ("1", "2", "3"):
            worth(database, ONE, value)
            until(one, "ib_account", net_liquidation=int(value))
        assert sum("ib_positions" in str(frame) for frame in one.received) == 1


def test_a_page_sees_the_accounts_of_its_caller_alone(database: Database, running: StreamServer) -> None:
    worth(database, TWO, "777")
    with page(running, **owner(running)) as one, page(running, **owner(running, scope="bars:read")) as none:
        worth(database, ONE, "5")
        until(one, "ib_account", net_liquidation=5)
        assert "777" not in str(one.received)
        none.connection.ping().wait(30)
        assert "ib_account" not in str(none.received)
        assert "ib_positions" not in str(none.received)
    wait(lambda: not running.stream.page_accounts._pages, "nothing is read for pages that are gone")
