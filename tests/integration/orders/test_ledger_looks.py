"""How often a step of an order's way asks the database: what it does not look at is not read, and nothing is read twice."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, cast

import pytest

from nautilus.db.connection import Database
from nautilus.db.cursor import Cursor, Prepared
from nautilus.db.live import quotes
from nautilus.db.live.quotes import QuoteRow
from nautilus.db.orders import orders
from nautilus.db.orders.events import Event
from nautilus.db.orders.orders import OrderRow
from nautilus.orders import sending_checks
from nautilus.orders.ticket import Exit, OrderType, Prices, Ticket, Tif
from nautilus.settings.orders import OrderModeSettings
from tests.support.order_ledger import ACCOUNT, NOW, STOCK, ledger, placed, ticket

CHECKED_BY_THE_FUNCTION_ALONE = ("order_requests WHERE kind = 'modify'", "FROM executions WHERE account")
"""Parts of the statements that count how often a caller placed orders."""


class Looks:
    """A cursor that remembers its statements."""

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor
        self.statements: list[str] = []

    def execute(self, query: Any, values: Any = None) -> Any:
        self.statements.append(f"{query} {values}")
        return self._cursor.execute(query, values)

    def run(self, statement: Prepared, values: Sequence[object]) -> None:
        self.statements.append(f"{statement.sql} {values}")
        self._cursor.run(statement, values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)


@pytest.fixture
def database(dsn: str) -> Iterator[Database]:
    with ledger(dsn) as made:
        yield made


def looks_before_sending(database: Database, what: Ticket) -> list[str]:
    """The statements of the checks just before an order is sent, account, contract and order being held."""
    rows: tuple[OrderRow, ...] = placed(database, what).orders
    newest = QuoteRow(STOCK.con_id, *(100.0,) * 11, halted=False, feed="live", ts=NOW, seen_at=NOW)
    with database.transaction() as cursor:
        quotes.put(cursor, [newest])
        held = orders.hold(cursor, rows[0].id)
        assert held is not None
        looks = Looks(cursor)
        verdict = sending_checks.check(
            cast(Cursor, looks), held, rows, STOCK, now_ns=NOW, settings=OrderModeSettings(), accounts=[ACCOUNT]
        )
    assert not {one.code for one in verdict.refusals} & {"unknown_account", "broker_not_ready"}, (
        "the process knows these"
    )
    return looks.statements


def bracket() -> Ticket:
    profit = Exit(OrderType.LMT, Prices(limit=Decimal(110)), Tif.GTC)
    loss = Exit(OrderType.STP, Prices(stop=Decimal(90)), Tif.GTC)
    return ticket(take_profit=profit, stop_loss=loss)


def test_before_sending_nothing_is_read_that_only_the_function_checks(database: Database) -> None:
    found = looks_before_sending(database, ticket())
    assert not [one for one in found if any(part in one for part in CHECKED_BY_THE_FUNCTION_ALONE)], found
    assert len(found) == len(set(found)), "a statement twice"
    assert len(found) == 3, f"market, account, open orders: {found}"


def test_the_ledger_is_read_once_for_all_orders_of_a_bracket(database: Database) -> None:
    alone = looks_before_sending(database, ticket())
    together = looks_before_sending(database, bracket())
    assert [one for one in together if "account_values" in one] == [one for one in alone if "account_values" in one]
    assert len(together) == len(alone), "its entry is among the open orders"


def test_an_order_and_its_event_are_written_in_one_round_trip(database: Database) -> None:
    row = placed(database, ticket()).orders[0]
    with database.transaction() as cursor:
        held = orders.hold(cursor, row.id)
        assert held is not None
        looks = Looks(cursor)
        orders.update(cast(Cursor, looks), held.order, {"why": "a test"}, Event("test", "process", NOW, "one"))
    written = [one for one in looks.statements if "UPDATE orders" in one or "INTO order_events" in one]
    assert len(written) == 1
    with database.transaction() as cursor:
        cursor.execute("SELECT kind, before, after, text FROM order_events WHERE order_id = %s ORDER BY id", (row.id,))
        assert [tuple(one) for one in cursor.fetchall()][-1] == ("test", "accepted", "accepted", "one")
